//! What an installed model is made of, written beside it, so that damage is found before it is heard.
//!
//! A damaged model may load and hear nonsense, or end or hang the process that loads it. Blocks: hashing takes seconds.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::runtime::digest::{self, hex};

/// Its file in the model's directory.
pub const FILE: &str = "capconduit-model.json";

/// More than any manifest has.
const MAX_BYTES: u64 = 8 << 20;

/// An installed model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Where it came from.
    pub url: String,
    /// SHA-256 of the archive, in hexadecimal.
    pub archive_sha256: String,
    /// Length of the archive.
    pub archive_bytes: u64,
    /// When.
    pub installed_at: Timestamp,
    /// Its files, by path.
    pub files: Vec<Entry>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Path below the model's directory.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// Something wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It is not there.
    #[error("{} is missing", .0.display())]
    Missing(PathBuf),
    /// It is shorter than it was.
    #[error("{} is cut short: {found} bytes of {bytes}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// Its length when it was installed.
        bytes: u64,
    },
    /// It holds something else.
    #[error("{} is not what was installed", .0.display())]
    Changed(PathBuf),
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Manifest {
    /// Of the model in a directory; `None` if it has none, as when it was copied by hand.
    pub fn read(model: &Path) -> io::Result<Option<Self>> {
        let mut text = Vec::new();
        match File::open(model.join(FILE)) {
            Ok(file) => file.take(MAX_BYTES).read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let manifest = serde_json::from_slice(&text)?;
        Ok(Some(manifest))
    }

    /// The files below a directory, as they are now.
    pub(super) fn entries(model: &Path) -> io::Result<Vec<Entry>> {
        let mut paths = Vec::new();
        walk(model, Path::new(""), &mut paths)?;
        paths.retain(|path| path != Path::new(FILE));
        paths.sort();
        paths
            .into_iter()
            .map(|path| {
                let (sha256, bytes) = sha256_of(&model.join(&path))?;
                Ok(Entry {
                    path,
                    bytes,
                    sha256: hex(&sha256),
                })
            })
            .collect()
    }

    /// What has happened to the files since.
    pub fn verify(&self, model: &Path) -> Vec<Damage> {
        self.files.iter().filter_map(|e| e.verify(model)).collect()
    }
}

impl Entry {
    fn verify(&self, model: &Path) -> Option<Damage> {
        let full = model.join(&self.path);
        let path = self.path.clone();
        let found = match fs::metadata(&full) {
            Ok(found) => found.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Some(Damage::Missing(path)),
            Err(source) => return Some(Damage::Unreadable { path, source }),
        };
        if found < self.bytes {
            let bytes = self.bytes;
            return Some(Damage::Truncated { path, found, bytes });
        }
        match sha256_of(&full) {
            Ok((sha256, _)) if found == self.bytes && hex(&sha256) == self.sha256 => None,
            Ok(_) => Some(Damage::Changed(path)),
            Err(source) => Some(Damage::Unreadable { path, source }),
        }
    }
}

fn walk(root: &Path, below: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            walk(root, &path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// Checksum and length of a file.
pub(super) fn sha256_of(path: &Path) -> io::Result<([u8; 32], u64)> {
    digest::sha256(File::open(path)?)
}

/// What every model has, in the layout of Vosk's models of today and of before 2020.
pub fn parts_expected() -> &'static str {
    "am/final.mdl, conf/mfcc.conf, conf/model.conf and graph/HCLG.fst or graph/HCLr.fst with graph/Gr.fst"
}

/// Which of the parts that every model has are not in a directory, or empty.
pub fn missing_parts(model: &Path) -> Vec<&'static str> {
    let there = |part: &&str| {
        let found = fs::metadata(model.join(part));
        found.is_ok_and(|found| found.is_file() && found.len() > 0)
    };
    let old = there(&"final.mdl") && !there(&"am/final.mdl");
    let (parts, whole, split): (&[&str], _, [&str; 2]) = if old {
        (&["mfcc.conf"], "HCLG.fst", ["HCLr.fst", "Gr.fst"])
    } else {
        (
            &["am/final.mdl", "conf/mfcc.conf", "conf/model.conf"],
            "graph/HCLG.fst",
            ["graph/HCLr.fst", "graph/Gr.fst"],
        )
    };
    let mut missing: Vec<_> = parts.iter().filter(|p| !there(p)).copied().collect();
    if !there(&whole) {
        missing.extend(split.iter().filter(|p| !there(p)));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_named() {
        let model = tempfile::tempdir().unwrap();
        let at = |name: &str| model.path().join(name);
        fs::create_dir(at("am")).unwrap();
        for name in ["a", "b", "c", "am/d"] {
            fs::write(at(name), name.repeat(10)).unwrap();
        }
        let manifest = Manifest {
            name: "m".to_owned(),
            url: String::new(),
            archive_sha256: String::new(),
            archive_bytes: 0,
            installed_at: Timestamp::UNIX_EPOCH,
            files: Manifest::entries(model.path()).unwrap(),
        };
        assert!(manifest.verify(model.path()).is_empty());
        fs::remove_file(at("am/d")).unwrap();
        fs::write(at("a"), "aaaaa").unwrap();
        fs::write(at("b"), "bbbbbbbbbB").unwrap();
        fs::write(at("c"), "c".repeat(11)).unwrap();
        let found: Vec<_> = manifest.verify(model.path());
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "a is cut short: 5 bytes of 10",
                "am/d is missing",
                "b is not what was installed",
                "c is not what was installed",
            ]
        );
    }
}
