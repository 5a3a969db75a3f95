//! The directory Asterisk writes to. Everything here blocks.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use super::Error;
use super::object_storage::open_regular;
use super::wav::header::{self, State};
use crate::domain::{Leg, Stem};
use crate::runtime::digest;

/// Names looked at in one go: bounds memory, not what is found in the end.
const MOST_NAMES: usize = 100_000;

/// What we write there ourselves begins so.
const OURS: &str = ".capconduit-";

/// What is in the directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Files of recordings, by stem.
    pub(super) stems: BTreeMap<String, (Stem, Vec<Leg>)>,
    /// Files with other names.
    pub(super) foreign: Vec<String>,
}

/// A file of a recording.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) leg: Leg,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Since it was last written to.
    pub(super) rested: Duration,
    pub(super) state: State,
    file: File,
}

impl Found {
    pub(super) fn has_sound(&self) -> bool {
        self.state != State::Empty
    }
}

pub(super) fn list(directory: &Path) -> Result<Listing, Error> {
    let failed = |source| Error::Spool {
        action: "list",
        path: directory.to_owned(),
        source,
    };
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(directory)
        .map_err(failed)?
        .take(MOST_NAMES)
    {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        match Stem::of_file(&name) {
            Some((stem, leg)) => {
                let known = listing.stems.entry(stem.as_str().to_owned());
                known.or_insert_with(|| (stem, Vec::new())).1.push(leg);
            }
            // Directories are no recordings: the storage may be one.
            None if name.starts_with(OURS) || entry.file_type().is_ok_and(|t| t.is_dir()) => {}
            None => listing.foreign.push(name.into_owned()),
        }
    }
    Ok(listing)
}

/// How long ago a file was written to. `None` if it is gone.
pub(super) fn rested(path: &Path) -> Option<Duration> {
    age(&std::fs::symlink_metadata(path).ok()?)
}

fn age(metadata: &std::fs::Metadata) -> Option<Duration> {
    let modified = metadata.modified().ok()?;
    // A clock that was set back makes files of the future: not old.
    Some(
        SystemTime::now()
            .duration_since(modified)
            .unwrap_or_default(),
    )
}

pub(super) fn path(directory: &Path, stem: &Stem, leg: Leg) -> PathBuf {
    directory.join(format!("{stem}{}", leg.suffix()))
}

/// Opens and reads what there is of a recording, and takes a lock on it that ends with the last of the files.
/// `None` if somebody else has it, or has just been through with it.
pub(super) fn take(
    directory: &Path,
    stem: &Stem,
    legs: &[Leg],
) -> Result<Option<Vec<Found>>, Error> {
    let mut found = Vec::with_capacity(legs.len());
    for leg in legs {
        let path = path(directory, stem, *leg);
        match look(*leg, &path) {
            Ok(file) => found.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(Error::Spool {
                    action: "read",
                    path,
                    source,
                });
            }
        }
    }
    // All daemons of a directory take the files in this order, so the first is enough. A file system without
    // locks must do without: what is done twice is done once.
    found.sort_by_key(|f| f.leg);
    if let Some(first) = found.first() {
        let lock = FlockOperation::NonBlockingLockExclusive;
        if let Err(rustix::io::Errno::WOULDBLOCK) = rustix::fs::flock(&first.file, lock) {
            return Ok(None);
        }
        if std::fs::symlink_metadata(&first.path).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

fn look(leg: Leg, path: &Path) -> io::Result<Found> {
    let file = open_regular(path)?;
    let metadata = file.metadata()?;
    let mut start = Vec::with_capacity(header::LENGTH as usize);
    (&file).take(header::LENGTH).read_to_end(&mut start)?;
    Ok(Found {
        leg,
        path: path.to_owned(),
        bytes: metadata.len(),
        rested: age(&metadata).unwrap_or_default(),
        state: header::read(&start, metadata.len()),
        file,
    })
}

/// Writes the sizes into the header of a file whose writer died.
pub(super) fn repair(found: &mut Found) -> Result<(), Error> {
    let State::Unfinished(sound) = found.state else {
        return Ok(());
    };
    let failed = |source| Error::Spool {
        action: "repair",
        path: found.path.clone(),
        source,
    };
    let write = |file: &File| -> io::Result<()> {
        for (at, bytes) in sound.sizes() {
            file.write_all_at(&bytes, at)?;
        }
        file.sync_all()
    };
    let mut options = File::options();
    options.write(true).custom_flags(nofollow());
    match options.open(&found.path) {
        Ok(file) => write(&file).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // Asterisk's alone to write; but the directory is ours, too.
            let copied = copy_and(&found.path, &mut found.file, write);
            found.file = copied.map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    found.state = State::Finished(sound);
    Ok(())
}

fn nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits() as i32
}

fn copy_and(
    path: &Path,
    file: &mut File,
    change: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<File> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!("{OURS}{name}"));
    let mut copy = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .custom_flags(nofollow())
        .open(&beside)?;
    let made = (|| {
        file.seek(SeekFrom::Start(0))?;
        io::copy(file, &mut copy)?;
        change(&copy)?;
        std::fs::rename(&beside, path)
    })();
    if made.is_err() {
        // A second error would tell no more than the first.
        let _ = std::fs::remove_file(&beside);
    }
    made.map(|()| copy)
}

/// The digest of a file, and its length.
pub(super) fn digest(found: &mut Found) -> Result<([u8; 32], u64), Error> {
    let read = found
        .file
        .seek(SeekFrom::Start(0))
        .and_then(|_| digest::sha256(&found.file));
    read.map_err(|source| Error::Spool {
        action: "read",
        path: found.path.clone(),
        source,
    })
}

/// Deletes files. One that is gone is deleted already; one that was exchanged meanwhile is another file.
pub(super) fn remove(files: &[Found]) -> Result<(), Error> {
    for found in files {
        let same = std::fs::symlink_metadata(&found.path).is_ok_and(|there| {
            let ours = found.file.metadata();
            ours.is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        });
        if !same {
            continue;
        }
        match std::fs::remove_file(&found.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Spool {
                    action: "delete",
                    path: found.path.clone(),
                    source: error,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Room on the file system of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

impl Space {
    /// Little enough that somebody must act: below 5 % or 1 GiB.
    pub fn is_low(&self) -> bool {
        self.free < 1 << 30 || self.free < self.total / 20
    }
}

/// Room on the file system of a directory.
pub fn space(directory: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(Space {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        total: found.f_blocks.saturating_mul(found.f_frsize),
    })
}
