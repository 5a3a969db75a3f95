//! The files of a recording, where a transcriber can open them.

use std::path::PathBuf;

use super::store::jobs::JobFiles;
use crate::domain::Speaker;
use crate::recordings::object_storage;
use crate::recordings::object_storage::{Key, Storage};

/// Files to listen to. Copies made for it go with it.
#[derive(Debug)]
pub struct Files {
    /// Who speaks in which.
    pub legs: Vec<(Speaker, PathBuf)>,
    _copies: Option<Copies>,
}

/// Why there is nothing to listen to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They are in a storage this daemon knows nothing of.
    #[error(
        "the recording is kept in {location} and this daemon knows {ours} only: set recording.storage alike on \
         all daemons"
    )]
    Elsewhere {
        /// Where they are.
        location: String,
        /// What this daemon uses.
        ours: String,
    },
    /// Its name in the database is none.
    #[error("{0:?} is no name of an object")]
    Key(String),
    /// The storage's answer.
    #[error(transparent)]
    Storage(#[from] object_storage::Error),
    /// No room for a copy.
    #[error("cannot make a directory for copies in {}", path.display())]
    Copies {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// It lies with this recording; another would be found.
    pub fn is_of_recording(&self) -> bool {
        match self {
            Self::Key(_) | Self::Elsewhere { .. } => true,
            Self::Storage(error) => matches!(error, object_storage::Error::NotFound { .. }),
            Self::Copies { .. } => false,
        }
    }
}

/// Makes the files of a job available, copying those that are not files of this machine.
pub async fn fetch(storage: &Storage, job: &JobFiles) -> Result<Files, Error> {
    let storage = storage_of(storage, &job.location)?;
    let mut copies = None;
    let mut legs = Vec::new();
    for (speaker, key) in &job.legs {
        let key = Key::parse(key).ok_or_else(|| Error::Key(key.clone()))?;
        let path = if let Some(path) = storage.local_path(&key) {
            path
        } else {
            let directory = match &mut copies {
                Some(copies) => copies,
                none => none.insert(Copies::new()?),
            };
            let path = directory.0.join(format!("{speaker}.wav"));
            storage.fetch(&key, &path).await?;
            path
        };
        legs.push((*speaker, path));
    }
    Ok(Files {
        legs,
        _copies: copies,
    })
}

/// The storage a recording is in: usually the one in use, else a directory used before.
fn storage_of(storage: &Storage, location: &str) -> Result<Storage, Error> {
    if location == storage.location() {
        return Ok(storage.clone());
    }
    if location.starts_with('/') {
        let before = object_storage::Settings::Directory(location.into());
        return Ok(Storage::open(&before)?);
    }
    Err(Error::Elsewhere {
        location: location.to_owned(),
        ours: storage.location().to_owned(),
    })
}

/// A directory of our own that is removed when it is dropped.
#[derive(Debug)]
struct Copies(PathBuf);

impl Copies {
    fn new() -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt as _;

        let name = format!(
            "capconduit-{}-{:016x}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = std::env::temp_dir().join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        match made {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(Error::Copies { path, source }),
        }
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "copies of a recording cannot be removed");
        }
    }
}
