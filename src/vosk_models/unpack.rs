//! Unpacks an archive that may be anything.
//!
//! Invariant: nothing is written outside the directory given, nothing but plain files and directories is made, and no
//! more than the limits allow, whatever the archive's own tables say. Blocks: call it from a thread that may.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::{Event, Watch};

/// An archive that was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the archive {}", path.display())]
    Open {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a zip file, or one with damage.
    #[error("the archive is damaged or no zip file")]
    Damaged(#[source] ZipError),
    /// An entry's bytes are not those that were packed.
    #[error("the archive is damaged at {name:?}")]
    DamagedEntry {
        /// The entry.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// An entry that no model has.
    #[error("the archive is refused: {name:?} {problem}")]
    Refused {
        /// The entry.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More than one directory at the top, or none.
    #[error(
        "the archive is refused: it must hold one directory with all files in it, as Vosk's models do"
    )]
    NotOneDirectory,
    /// Larger than any model.
    #[error("the archive is refused: unpacked it is more than {limit} {unit}, which no model is")]
    TooLarge {
        /// How much is taken.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Whether the archive itself is at fault, so that it is of no further use.
    pub fn of_archive(&self) -> bool {
        !matches!(self, Self::Open { .. } | Self::Write { .. })
    }
}

/// How much an archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files and directories.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of all files for each of the archive; what a recogniser has learnt hardly compresses.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 16 << 30,
            ratio: 40,
        }
    }
}

impl Limits {
    fn bytes_of(&self, archive: u64) -> u64 {
        let by_ratio = archive.saturating_mul(self.ratio).max(1 << 20);
        self.bytes.min(by_ratio)
    }
}

/// An opened archive whose tables are in order.
pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    limit: u64,
    /// What its tables say; the truth may be more.
    pub(super) declared: u64,
}

/// Opens it and looks through its tables.
pub(super) fn open(path: &Path, limits: &Limits) -> Result<Archive, Error> {
    let wrong = |source| Error::Open {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(wrong)?;
    let length = file.metadata().map_err(wrong)?.len();
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(Error::Damaged)?;
    if zip.len() as u64 > limits.entries {
        return Err(Error::TooLarge {
            limit: limits.entries,
            unit: "files",
        });
    }
    let limit = limits.bytes_of(length);
    let mut declared: u64 = 0;
    let mut top: Option<String> = None;
    for n in 0..zip.len() {
        let entry = zip.by_index_raw(n).map_err(Error::Damaged)?;
        let name = entry.name().map_err(Error::Damaged)?.into_owned();
        let refused = |problem| Error::Refused {
            name: name.clone(),
            problem,
        };
        if entry.is_symlink() {
            return Err(refused("is a link"));
        }
        // The type in the mode, where the packing system had one.
        let kind = entry.unix_mode().unwrap_or(0) & 0o170_000;
        if !matches!(kind, 0 | 0o100_000 | 0o040_000) {
            return Err(refused("is no plain file"));
        }
        if entry.encrypted() {
            return Err(refused("is encrypted"));
        }
        let inside = inside(&name).map_err(refused)?;
        let first = inside.components().next();
        let first = first.map(|c| c.as_os_str().to_string_lossy().into_owned());
        let in_top = entry.is_dir() || inside.components().count() > 1;
        if !in_top || (top.is_some() && top != first) {
            return Err(Error::NotOneDirectory);
        }
        top = first;
        declared = declared.saturating_add(entry.size());
    }
    if top.is_none() {
        return Err(Error::NotOneDirectory);
    }
    if declared > limit {
        return Err(too_large(limit));
    }
    Ok(Archive {
        zip,
        limit,
        declared,
    })
}

fn too_large(limit: u64) -> Error {
    Error::TooLarge {
        limit,
        unit: "bytes",
    }
}

/// The path in an entry's name, if it leads nowhere else.
fn inside(name: &str) -> Result<PathBuf, &'static str> {
    if name.contains('\\') || name.chars().any(char::is_control) || name.len() > 1_000 {
        return Err("has a name no model's file has");
    }
    let path = Path::new(name);
    if path.as_os_str().is_empty() || !path.components().all(|c| matches!(c, Component::Normal(_)))
    {
        return Err("leads out of the archive's directory");
    }
    Ok(path.components().collect())
}

impl Archive {
    /// Writes everything below the archive's one directory into `directory`, which must exist, and to the disk.
    pub(super) fn unpack_into(mut self, directory: &Path, watch: &Watch) -> Result<(), Error> {
        let mut left = self.limit;
        let mut buffer = vec![0; 1 << 17];
        for n in 0..self.zip.len() {
            let mut entry = self.zip.by_index(n).map_err(Error::Damaged)?;
            let name = entry.name().map_err(Error::Damaged)?.into_owned();
            let refused = |problem| Error::Refused {
                name: name.clone(),
                problem,
            };
            let below: PathBuf = inside(&name)
                .map_err(refused)?
                .components()
                .skip(1)
                .collect();
            let path = directory.join(&below);
            let wrong = |source| Error::Write {
                path: path.clone(),
                source,
            };
            if entry.is_dir() {
                make_directory(&path).map_err(wrong)?;
                continue;
            }
            if let Some(parent) = path.parent() {
                make_directory(parent).map_err(wrong)?;
            }
            let mut options = OpenOptions::new();
            let opened = options.write(true).create_new(true).mode(0o644).open(&path);
            let mut file = match opened {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(refused("is there twice"));
                }
                Err(error) => return Err(wrong(error)),
            };
            loop {
                let count = match entry.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(source) => {
                        let name = name.clone();
                        return Err(Error::DamagedEntry { name, source });
                    }
                };
                left = left
                    .checked_sub(count as u64)
                    .ok_or(too_large(self.limit))?;
                file.write_all(&buffer[..count]).map_err(wrong)?;
                watch(Event::Unpacking {
                    done: self.limit - left,
                    total: self.declared,
                });
            }
            // Readable by the daemon, whoever installs and whatever their mask.
            let all = fs::Permissions::from_mode(0o644);
            file.set_permissions(all).map_err(wrong)?;
            file.sync_all().map_err(wrong)?;
        }
        Ok(())
    }
}

/// Makes a directory that everybody may read, with those above it.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    let fresh = !path.is_dir();
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    if fresh {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "/etc/passwd",
            "m/../../x",
            "../x",
            "m\\..\\x",
            "./m/x",
            "",
            "m/x\0",
            "m/x\n",
        ] {
            assert!(inside(name).is_err(), "{name:?}");
        }
        assert_eq!(
            inside("m/am/final.mdl"),
            Ok(PathBuf::from("m/am/final.mdl"))
        );
        assert_eq!(inside("m/am/"), Ok(PathBuf::from("m/am")));
    }

    #[test]
    fn small_archives_may_grow_to_a_megabyte_at_least() {
        let limits = Limits::default();
        assert_eq!(limits.bytes_of(100), 1 << 20);
        assert_eq!(limits.bytes_of(1 << 30), 16 << 30);
    }
}
