//! Objects in S3-compatible object storage.

use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path as FilePath;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, ObjectStore as _, ObjectStoreExt as _, RetryConfig,
    WriteMultipart,
};
use secrecy::ExposeSecret as _;
use tokio::task::spawn_blocking;

use super::{ByteStream, Key, Refusal, S3Settings, open_regular};

/// Longer objects are sent in parts of this size: a part, not an hour of talk, is in memory and is sent again.
const PART: u64 = 8 * 1024 * 1024;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// For the whole of a request: a part at 2 Mbit/s.
const REQUEST_LIMIT: Duration = Duration::from_secs(40);

const RETRIES: usize = 2;

pub(super) struct S3 {
    bucket: AmazonS3,
    prefix: Path,
}

impl S3 {
    pub(super) fn new(
        settings: &S3Settings,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        // One crypto library for the whole process; whoever was first has installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plain = settings
            .endpoint
            .as_ref()
            .is_some_and(|endpoint| endpoint.starts_with("http://"));
        let client = ClientOptions::new()
            .with_allow_http(plain)
            .with_connect_timeout(CONNECT_LIMIT)
            .with_timeout(REQUEST_LIMIT);
        let retries = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES,
            retry_timeout: REQUEST_LIMIT,
        };
        // The environment may hold credentials, or say where a machine's role has them.
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_client_options(client)
            .with_retry(retries);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if let Some((id, secret)) = &settings.credentials {
            builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(secret.expose_secret());
        }
        Ok(Self {
            bucket: builder.build()?,
            prefix: Path::parse(&settings.prefix)?,
        })
    }

    pub(super) async fn put(&self, file: &FilePath, key: &Key) -> Result<(), Refusal> {
        let path = file.to_owned();
        let other = |error: io::Error| Refusal::Other(Box::new(error));
        let opened = spawn_blocking(move || {
            let file = open_regular(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        let (file, length): (std::fs::File, u64) = opened
            .await
            .map_err(io::Error::other)
            .and_then(|opened| opened)
            .map_err(other)?;
        let object = self.path(key);
        if length <= PART {
            let (bytes, _) = next_part(file).await.map_err(other)?;
            self.bucket.put(&object, bytes.into()).await?;
            return Ok(());
        }
        let upload = self.bucket.put_multipart(&object).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART as usize);
        match send(&mut upload, file).await {
            Ok(()) => {
                upload.finish().await?;
                Ok(())
            }
            Err(refusal) => {
                // Parts left behind cost money. A second error would tell no more than the first.
                let _ = upload.abort().await;
                Err(refusal)
            }
        }
    }

    pub(super) async fn length(&self, key: &Key) -> Result<u64, Refusal> {
        Ok(self.bucket.head(&self.path(key)).await?.size)
    }

    pub(super) async fn read(&self, key: &Key, range: Range<u64>) -> Result<ByteStream, Refusal> {
        if range.is_empty() {
            // S3 has no empty ranges.
            self.length(key).await?;
            return Ok(futures_util::stream::empty().boxed());
        }
        let wanted = range.end - range.start;
        let options = GetOptions::new().with_range(Some(range));
        let found = self.bucket.get_opts(&self.path(key), options).await?;
        let there = found.range.end - found.range.start;
        if there != wanted {
            let short = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(Refusal::Other(Box::new(short)));
        }
        Ok(found.into_stream().map_err(io::Error::other).boxed())
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<(), Refusal> {
        self.bucket.delete(&self.path(key)).await?;
        Ok(())
    }

    fn path(&self, key: &Key) -> Path {
        let below = key.as_str().split('/');
        below.fold(self.prefix.clone(), |path, word| path.join(word))
    }
}

/// Sends a file in parts, two on their way at once at most.
async fn send(upload: &mut WriteMultipart, mut file: std::fs::File) -> Result<(), Refusal> {
    loop {
        let (part, rest) = next_part(file)
            .await
            .map_err(|e| Refusal::Other(Box::new(e)))?;
        if part.is_empty() {
            return Ok(());
        }
        upload.wait_for_capacity(2).await?;
        upload.put(part);
        file = rest;
    }
}

async fn next_part(file: std::fs::File) -> io::Result<(Bytes, std::fs::File)> {
    let read = spawn_blocking(move || {
        let mut part = Vec::new();
        (&file).take(PART).read_to_end(&mut part)?;
        Ok((Bytes::from(part), file))
    });
    read.await.map_err(io::Error::other)?
}

impl From<object_store::Error> for Refusal {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            error => Self::Other(Box::new(error)),
        }
    }
}
