//! Objects as files below a directory.
//!
//! Every name is opened from the directory before it, and a symbolic link is an error: whoever may write there
//! cannot lead us elsewhere. A file gets its name only when all of it is on disk.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt as _;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use tokio::io::AsyncReadExt as _;
use tokio::task::spawn_blocking;

use super::{ByteStream, CHUNK, Key, Refusal};

const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o750);
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

pub(super) struct Directory {
    root: PathBuf,
}

/// Opens a file to read, if it is one: neither a link nor a device nor a pipe.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    regular(file)
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

impl Directory {
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    pub(super) async fn put(&self, file: &Path, key: &Key) -> Result<(), Refusal> {
        let (root, file, key) = (self.root.clone(), file.to_owned(), key.clone());
        // A source that is not there is no object that is not there.
        blocking(move || put(&root, &file, &key))
            .await
            .map_err(|e| Refusal::Other(Box::new(e)))
    }

    pub(super) async fn length(&self, key: &Key) -> Result<u64, Refusal> {
        let file = self.open(key).await?;
        Ok(file.metadata().await?.len())
    }

    pub(super) async fn read(&self, key: &Key, range: Range<u64>) -> Result<ByteStream, Refusal> {
        let (root, key) = (self.root.clone(), key.clone());
        let start = range.start;
        let file = blocking(move || {
            let mut file = open(&root, &key)?;
            file.seek(SeekFrom::Start(start))?;
            Ok(file)
        });
        let file = tokio::fs::File::from_std(file.await?);
        let left = range.end.saturating_sub(range.start);
        let chunks =
            futures_util::stream::try_unfold((file, left), |(mut file, left)| async move {
                if left == 0 {
                    return Ok(None);
                }
                let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
                let read = file.read(&mut chunk).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                chunk.truncate(read);
                Ok(Some((Bytes::from(chunk), (file, left - read as u64))))
            });
        Ok(chunks.boxed())
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<(), Refusal> {
        let (root, key) = (self.root.clone(), key.clone());
        Ok(blocking(move || delete(&root, &key)).await?)
    }

    async fn open(&self, key: &Key) -> Result<tokio::fs::File, Refusal> {
        let (root, key) = (self.root.clone(), key.clone());
        let file = blocking(move || open(&root, &key)).await?;
        Ok(tokio::fs::File::from_std(file))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

fn put(root: &Path, file: &Path, key: &Key) -> io::Result<()> {
    let mut source = open_regular(file)?;
    // Asterisk does not sync what it writes.
    source.sync_all()?;
    let (folders, name) = key.parts();
    let mut directory = open_or_make(root)?;
    for folder in folders {
        directory = make_below(&directory, folder)?;
    }
    if !link(&source, &directory, name)? {
        copy(&mut source, &directory, name)?;
    }
    rustix::fs::fsync(&directory)?;
    Ok(())
}

/// Gives the file a second name; `false` where that cannot be, and a copy is needed.
fn link(source: &File, directory: &OwnedFd, name: &str) -> io::Result<bool> {
    let opened = format!("/proc/self/fd/{}", source.as_raw_fd());
    let follow = AtFlags::SYMLINK_FOLLOW;
    match rustix::fs::linkat(rustix::fs::CWD, opened, directory, name, follow) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => {
            let there = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let ours = rustix::fs::fstat(source)?;
            Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino))
        }
        Err(error) if error == rustix::io::Errno::NOSPC => Err(error.into()),
        // Another file system, one without links, or the file is another user's.
        Err(_) => Ok(false),
    }
}

fn copy(source: &mut File, directory: &OwnedFd, name: &str) -> io::Result<()> {
    let unfinished = format!(".{name}.part");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(directory, &unfinished, flags, FILE_MODE)?;
    // One that a crash left is nobody's; one that is being written is locked.
    rustix::fs::flock(&target, FlockOperation::NonBlockingLockExclusive)?;
    let ours = rustix::fs::fstat(&target)?;
    let there = rustix::fs::statat(directory, &unfinished, AtFlags::SYMLINK_NOFOLLOW)?;
    if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino) {
        return Err(io::Error::other("somebody else has just stored it"));
    }
    let mut target = File::from(target);
    let copied = (|| {
        target.set_len(0)?;
        source.rewind()?;
        io::copy(source, &mut target)?;
        target.sync_all()?;
        rustix::fs::renameat(directory, &unfinished, directory, name)?;
        Ok(())
    })();
    if copied.is_err() {
        // The room it takes may be what is missing. A second error would tell no more than the first.
        let _ = rustix::fs::unlinkat(directory, &unfinished, AtFlags::empty());
    }
    copied
}

fn open(root: &Path, key: &Key) -> io::Result<File> {
    let (folders, name) = key.parts();
    let mut directory = open_root(root)?;
    for folder in folders {
        directory = open_below(&directory, folder)?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
    regular(File::from(file))
}

fn delete(root: &Path, key: &Key) -> io::Result<()> {
    let (folders, name) = key.parts();
    // A storage that is not there is away, and has lost nothing.
    let mut directory = open_root(root).map_err(|error| {
        io::Error::other(format!("the directory itself cannot be opened: {error}"))
    })?;
    for folder in folders {
        directory = open_below(&directory, folder)?;
    }
    rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
    Ok(())
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(root, DIRECTORY, Mode::empty())?)
}

/// The root may be new; what it is in must be there.
fn open_or_make(root: &Path) -> io::Result<OwnedFd> {
    match open_root(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match rustix::fs::mkdir(root, DIRECTORY_MODE) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(parent) = root.parent() {
                rustix::fs::fsync(open_root(parent)?)?;
            }
            open_root(root)
        }
        other => other,
    }
}

fn open_below(directory: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = DIRECTORY | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

fn make_below(directory: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match open_below(directory, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match rustix::fs::mkdirat(directory, name, DIRECTORY_MODE) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            rustix::fs::fsync(directory)?;
            open_below(directory, name)
        }
        other => other,
    }
}
