//! Where finished recordings are kept: a directory, or S3-compatible object storage.
//!
//! Objects are named by keys of our own making, such as `2026/11/21/<stem>-caller.wav`. It knows neither calls
//! nor the database. Invariants: an object is there whole or not at all, also after a crash, once
//! [`put`](Storage::put) has returned it stays, and nothing outside of the storage's root is ever touched.

mod directory;
mod key;
#[cfg(feature = "s3")]
mod s3;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use secrecy::SecretString;
use tokio::time::timeout;

use directory::Directory;
pub use directory::open_regular;
pub use key::Key;

/// A file system or server that does not answer a small request for this long is taken for gone.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// An hour of a call is 58 MB; whoever takes this long for it is taken for gone.
const TRANSFER_LIMIT: Duration = Duration::from_secs(600);

/// What is read at a time, about.
const CHUNK: usize = 64 * 1024;

/// Where to keep recordings.
#[derive(Debug, Clone)]
pub enum Settings {
    /// Below a directory.
    Directory(PathBuf),
    /// In S3-compatible object storage. Needs the cargo feature `s3`.
    S3(S3Settings),
}

/// A place in S3-compatible object storage.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// What the names of its objects begin with; may be empty.
    pub prefix: String,
    /// The server, if not Amazon's.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: String,
    /// Key id and secret; without them those of the environment are used.
    pub credentials: Option<(String, SecretString)>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program has no S3.
    #[error(
        "recordings are to be kept in {0}, and this capconduit was built without S3: build it with \
         `cargo build --release --features s3`, or set recording.storage to a directory"
    )]
    NoS3(String),
    /// The settings of S3 do not fit together.
    #[error("recordings cannot be kept in {location}")]
    Settings {
        /// Where.
        location: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such object.
    #[error("{location} has no {key}")]
    NotFound {
        /// Where.
        location: String,
        /// What.
        key: String,
    },
    /// The storage's own answer.
    #[error("cannot {action} {key} in {location}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// Where.
        location: String,
        /// What.
        key: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer at all.
    #[error("cannot {action} {key}: {location} does not answer")]
    Silent {
        /// What was tried.
        action: &'static str,
        /// Where.
        location: String,
        /// What.
        key: String,
    },
}

/// Bytes of an object, in order.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// A place for recordings. Cheap to clone.
#[derive(Clone)]
pub struct Storage {
    place: Arc<Place>,
    location: Arc<str>,
}

enum Place {
    Directory(Directory),
    #[cfg(feature = "s3")]
    S3(s3::S3),
}

/// Why a place did not do what was asked.
enum Refusal {
    NotFound,
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Other(Box::new(error)),
        }
    }
}

impl Storage {
    /// Prepares the use of a storage. Nothing is touched yet, so a storage that is away is no error.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        let location = settings.location();
        let place = match settings {
            Settings::Directory(root) => Place::Directory(Directory::new(root.clone())),
            #[cfg(feature = "s3")]
            Settings::S3(settings) => {
                Place::S3(s3::S3::new(settings).map_err(|source| Error::Settings {
                    location: location.clone(),
                    source,
                })?)
            }
            #[cfg(not(feature = "s3"))]
            Settings::S3(_) => return Err(Error::NoS3(location)),
        };
        Ok(Self {
            place: Arc::new(place),
            location: location.into(),
        })
    }

    /// Where it is: a directory, or `s3://bucket/prefix`. Kept with each recording.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Keeps a copy of a file under a key; the file itself stays where it is. In a directory on the same file
    /// system the copy is a second name of the file. What was there under the key is replaced.
    pub async fn put(&self, file: &Path, key: &Key) -> Result<(), Error> {
        let work = async {
            match &*self.place {
                Place::Directory(directory) => directory.put(file, key).await,
                #[cfg(feature = "s3")]
                Place::S3(s3) => s3.put(file, key).await,
            }
        };
        self.within(TRANSFER_LIMIT, "store", key, work).await
    }

    /// How long an object is, in bytes.
    pub async fn length(&self, key: &Key) -> Result<u64, Error> {
        let work = async {
            match &*self.place {
                Place::Directory(directory) => directory.length(key).await,
                #[cfg(feature = "s3")]
                Place::S3(s3) => s3.length(key).await,
            }
        };
        self.within(REQUEST_LIMIT, "find", key, work).await
    }

    /// The bytes of an object from `range.start` up to, not including, `range.end`. An object that is shorter is
    /// an error, told here or when its end is reached.
    pub async fn read(&self, key: &Key, range: Range<u64>) -> Result<ByteStream, Error> {
        let work = async {
            match &*self.place {
                Place::Directory(directory) => directory.read(key, range).await,
                #[cfg(feature = "s3")]
                Place::S3(s3) => s3.read(key, range).await,
            }
        };
        self.within(REQUEST_LIMIT, "read", key, work).await
    }

    /// The directory, where it is one.
    pub fn directory(&self) -> Option<&Path> {
        match &*self.place {
            Place::Directory(directory) => Some(directory.root()),
            #[cfg(feature = "s3")]
            Place::S3(_) => None,
        }
    }

    /// The object's path, where it is a file of this machine.
    pub fn local_path(&self, key: &Key) -> Option<PathBuf> {
        match &*self.place {
            Place::Directory(directory) => Some(directory.path(key)),
            #[cfg(feature = "s3")]
            Place::S3(_) => None,
        }
    }

    /// Copies an object into a new file, which must not be there yet. Returns its length. On an error a part of
    /// it may have been written.
    pub async fn fetch(&self, key: &Key, to: &Path) -> Result<u64, Error> {
        let length = self.length(key).await?;
        let mut stream = self.read(key, 0..length).await?;
        let work = async {
            use futures_util::TryStreamExt as _;
            use tokio::io::AsyncWriteExt as _;

            let mut file = tokio::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(to)
                .await
                .map_err(|e| Refusal::Other(Box::new(e)))?;
            while let Some(bytes) = stream.try_next().await? {
                file.write_all(&bytes).await?;
            }
            file.flush().await?;
            Ok(length)
        };
        self.within(TRANSFER_LIMIT, "fetch", key, work).await
    }

    /// Deletes an object. One that is not there is deleted already.
    pub async fn delete(&self, key: &Key) -> Result<(), Error> {
        let work = async {
            match &*self.place {
                Place::Directory(directory) => directory.delete(key).await,
                #[cfg(feature = "s3")]
                Place::S3(s3) => s3.delete(key).await,
            }
        };
        match self.within(REQUEST_LIMIT, "delete", key, work).await {
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        action: &'static str,
        key: &Key,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Error> {
        let location = || self.location.to_string();
        let key = key.as_str();
        match timeout(limit, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Refusal::NotFound)) => Err(Error::NotFound {
                location: location(),
                key: key.to_owned(),
            }),
            Ok(Err(Refusal::Other(source))) => Err(Error::Failed {
                action,
                location: location(),
                key: key.to_owned(),
                source,
            }),
            Err(_) => Err(Error::Silent {
                action,
                location: location(),
                key: key.to_owned(),
            }),
        }
    }
}

impl Settings {
    /// Where it is: a directory, or `s3://bucket/prefix`.
    pub fn location(&self) -> String {
        match self {
            Self::Directory(root) => root.display().to_string(),
            Self::S3(s3) if s3.prefix.is_empty() => format!("s3://{}", s3.bucket),
            Self::S3(s3) => format!("s3://{}/{}", s3.bucket, s3.prefix),
        }
    }
}
