//! Where a transcriber finds the recordings of its job, and nothing else.
//!
//! A transcriber is in a sandbox that lets it read one directory, its own. The files of a job lie there while it works on
//! them: as links where the file system allows it, else as copies.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use capconduit_transcriber_protocol::Track;

/// A directory of our own that is removed when it is dropped.
#[derive(Debug)]
pub struct Desk(PathBuf);

/// Files on a desk. Removed when dropped.
#[derive(Debug)]
pub struct LaidOut {
    files: BTreeMap<PathBuf, PathBuf>,
}

impl Desk {
    /// An empty one, below the directory for temporary files.
    pub fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;

        let name = format!(
            "capconduit-{}-{:016x}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Lays the files of these tracks out, and has the tracks say where.
    pub async fn lay_out(&self, tracks: &mut [Track]) -> io::Result<LaidOut> {
        let mut laid = LaidOut {
            files: BTreeMap::new(),
        };
        for track in tracks {
            let known = laid.files.iter().find(|(_, from)| **from == track.path);
            let place = if let Some((place, _)) = known {
                place.clone()
            } else {
                let place = self.0.join(format!("{}.wav", laid.files.len() + 1));
                let (from, to) = (track.path.clone(), place.clone());
                laid.files.insert(place.clone(), track.path.clone());
                tokio::task::spawn_blocking(move || link_or_copy(&from, &to))
                    .await
                    .map_err(io::Error::other)??;
                place
            };
            track.path = place;
        }
        Ok(laid)
    }
}

/// Removes what daemons left that were killed: it may be the last link to a recording that was deleted meanwhile.
pub fn clear_away() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let parts: Option<Vec<&str>> = name.to_str().map(|name| name.split('-').collect());
        let Some(["capconduit", process, random]) = parts.as_deref() else {
            continue;
        };
        let ours = process.parse::<u32>().is_ok() && random.len() == 16;
        let alive = Path::new("/proc").join(process).exists();
        if ours && !alive && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // Another user's stays.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Links cost nothing, but there are none to another file system, or to files of others.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    // A link to a symbolic link would lead out of the sandbox again.
    let Ok(from) = std::fs::canonicalize(from) else {
        // Whoever is to read it says why it cannot.
        return Ok(());
    };
    if std::fs::hard_link(&from, to).is_ok() {
        return Ok(());
    }
    match std::fs::copy(&from, to) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(error),
        // What may not be read is told of by its reader, as a file that is not there.
        Ok(_) | Err(_) => Ok(()),
    }
}

impl LaidOut {
    /// A message with the names that people know.
    pub fn told(&self, message: &str) -> String {
        self.files
            .iter()
            .fold(message.to_owned(), |message, (place, from)| {
                message.replace(&*place.to_string_lossy(), &from.to_string_lossy())
            })
    }
}

impl Drop for LaidOut {
    fn drop(&mut self) {
        for place in self.files.keys() {
            if let Err(error) = std::fs::remove_file(place)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(file = %place.display(), %error, "a file that was laid out for a transcriber cannot be removed");
            }
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "the directory of a transcriber cannot be removed");
        }
    }
}
