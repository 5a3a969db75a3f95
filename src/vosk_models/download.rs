//! Fetches one large file, in as many attempts as it takes, without fetching a byte twice.
//!
//! What has come stays in `<file>.part` beside a note on where it came from, so that a later run of the program goes
//! on where this one ended. Invariant: bytes of two versions of the file are never put together knowingly; what is
//! put together unknowingly, from a server that names no version, is found by the archive's own checksums.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt as _, BufWriter};

use super::{Event, Watch};
use crate::runtime::telemetry::Chain;

/// What is left free on the file system.
pub(super) const MARGIN: u64 = 64 << 20;

/// Redirections followed.
const MAX_REDIRECTS: usize = 5;

/// Attempts in all, however much each of them brought.
const MAX_ATTEMPTS: u32 = 200;

/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A download that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client could not be made.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The server said no.
    #[error("{url} answered {status}{}", hint(*status))]
    Refused {
        /// What was asked for.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// The connection broke or did not come about, again and again.
    #[error("{url} could not be fetched; run the command again to go on from byte {have}")]
    Broken {
        /// What was asked for.
        url: String,
        /// What is here of it.
        have: u64,
        /// Why.
        source: reqwest::Error,
    },
    /// It ended early or answered strangely, again and again.
    #[error(
        "{url} could not be fetched: {problem}; run the command again to go on from byte {have}"
    )]
    Strange {
        /// What was asked for.
        url: String,
        /// What is here of it.
        have: u64,
        /// What was odd.
        problem: String,
    },
    /// Larger than any model.
    #[error("{url} is longer than {limit} bytes, which no model is")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// It would fill the file system.
    #[error(
        "{} has {} MB free and {} MB are needed: make room or choose another \
         transcription.model_directory", directory.display(), available / 1_000_000, needed / 1_000_000
    )]
    NoSpace {
        /// Where.
        directory: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => {
            ": see that the address is right (`capconduit model list` names the models)"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": this host may not have it",
        _ => "",
    }
}

/// How patiently something is fetched.
#[derive(Debug, Clone)]
pub struct Download {
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for the next bytes.
    pub read: Duration,
    /// Failures in a row, without a byte between them, after which it gives up.
    pub failures: u32,
    /// Wait after the first failure; doubled after each further one.
    pub first_wait: Duration,
    /// Longest file taken.
    pub max_bytes: u64,
}

impl Default for Download {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            read: Duration::from_secs(30),
            failures: 5,
            first_wait: Duration::from_millis(500),
            max_bytes: 8 << 30,
        }
    }
}

/// What came so far, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    url: String,
    /// A strong entity tag, or the date of the last change.
    version: Option<String>,
    total: Option<u64>,
}

enum Failure {
    /// Another attempt may do better.
    Passing(Error),
    /// None will.
    Final(Error),
}

impl Download {
    /// Fetches `url` into `part` and returns its length. `part` may hold the beginning already.
    pub async fn fetch(&self, url: &Url, part: &Path, watch: &Watch) -> Result<u64, Error> {
        let client = self.client(url)?;
        let mut in_a_row = 0;
        for attempt in 1.. {
            let before = length(part).await;
            let error = match self.attempt(&client, url, part, watch).await {
                Ok(length) => return Ok(length),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error)) => error,
            };
            in_a_row = if length(part).await > before {
                1
            } else {
                in_a_row + 1
            };
            if in_a_row >= self.failures || attempt >= MAX_ATTEMPTS {
                return Err(error);
            }
            let wait = self.first_wait * 2u32.pow(in_a_row - 1);
            let wait = wait.min(LONGEST_WAIT).mul_f64(0.5 + fastrand::f64());
            watch(Event::Retrying {
                problem: Chain(&error).to_string(),
                wait,
            });
            tokio::time::sleep(wait).await;
        }
        unreachable!("the loop ends by itself")
    }

    fn client(&self, url: &Url) -> Result<Client, Error> {
        let builder = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .connect_timeout(self.connect)
            .read_timeout(self.read)
            .user_agent(concat!("capconduit/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::custom(|attempt| {
                let downgraded = attempt.url().scheme() != "https"
                    && attempt.previous().iter().any(|url| url.scheme() == "https");
                if downgraded {
                    attempt.error("a redirection from https to http is not followed")
                } else if attempt.previous().len() > MAX_REDIRECTS {
                    attempt.error("too many redirections")
                } else {
                    attempt.follow()
                }
            }));
        // A proxy of the environment reaches the world for us, but not our own host.
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let own = host == "localhost"
            || address
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        let builder = if own { builder.no_proxy() } else { builder };
        builder.build().map_err(Error::Client)
    }

    async fn attempt(
        &self,
        client: &Client,
        url: &Url,
        part: &Path,
        watch: &Watch,
    ) -> Result<u64, Failure> {
        let note = read_note(part)
            .await
            .filter(|note| note.url == url.as_str());
        let have = if note.is_some() {
            length(part).await
        } else {
            0
        };
        let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(RANGE, format!("bytes={have}-"));
            if let Some(version) = note.as_ref().and_then(|note| note.version.as_ref()) {
                request = request.header(IF_RANGE, version);
            }
        }
        let response = request
            .send()
            .await
            .map_err(|source| broken(url, have, source))?;
        let strange = |problem: &str| {
            Failure::Passing(Error::Strange {
                url: url.to_string(),
                have,
                problem: problem.to_owned(),
            })
        };
        let known_total = note.as_ref().and_then(|note| note.total);
        match response.status() {
            StatusCode::OK => {
                if have > 0 {
                    watch(Event::StartingOver);
                }
                let note = Note {
                    url: url.to_string(),
                    version: version_of(response.headers()),
                    total: response.content_length(),
                };
                self.start(part, &note).await?;
                self.receive(response, url, part, 0, note.total, watch)
                    .await
            }
            StatusCode::PARTIAL_CONTENT if have > 0 => {
                let range = Range::of(response.headers());
                let version = version_of(response.headers());
                let of_note = note.and_then(|note| note.version);
                let same = range.is_some_and(|range| {
                    range.start == Some(have)
                        && (range.total.is_none()
                            || known_total.is_none()
                            || range.total == known_total)
                }) && (version.is_none() || of_note.is_none() || version == of_note);
                if !same {
                    forget(part).await;
                    return Err(strange("the rest it sends is of another file"));
                }
                watch(Event::Resuming { at: have });
                let total = known_total.or(range.and_then(|range| range.total));
                self.receive(response, url, part, have, total, watch).await
            }
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                let total = Range::of(response.headers()).and_then(|range| range.total);
                if total.or(known_total) == Some(have) {
                    return Ok(have);
                }
                forget(part).await;
                Err(strange("what was fetched is of another file"))
            }
            status
                if status.is_server_error()
                    || matches!(
                        status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    ) =>
            {
                Err(strange(&format!("the server answers {status}")))
            }
            status => Err(Failure::Final(Error::Refused {
                url: url.to_string(),
                status,
            })),
        }
    }

    async fn start(&self, part: &Path, note: &Note) -> Result<(), Failure> {
        forget(part).await;
        let path = note_of(part);
        let text = serde_json::to_vec(note).unwrap_or_default();
        let written = tokio::fs::write(&path, text).await;
        written.map_err(|source| Failure::Final(Error::Write { path, source }))
    }

    /// Appends the body to what is there.
    async fn receive(
        &self,
        mut response: Response,
        url: &Url,
        part: &Path,
        have: u64,
        total: Option<u64>,
        watch: &Watch,
    ) -> Result<u64, Failure> {
        let too_large = || {
            Failure::Final(Error::TooLarge {
                url: url.to_string(),
                limit: self.max_bytes,
            })
        };
        if let Some(total) = total {
            if total > self.max_bytes {
                return Err(too_large());
            }
            let directory = part.parent().unwrap_or(part);
            let needed = total.saturating_sub(have) + MARGIN;
            room(directory, needed).map_err(Failure::Final)?;
        }
        let wrong = |source: io::Error| {
            let path = part.to_owned();
            Failure::Final(Error::Write { path, source })
        };
        let file = tokio::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(part)
            .await
            .map_err(wrong)?;
        let mut file = BufWriter::with_capacity(1 << 16, file);
        let mut done = have;
        watch(Event::Downloading { done, total });
        let ended = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    done += chunk.len() as u64;
                    if done > total.unwrap_or(self.max_bytes) {
                        return Err(too_large());
                    }
                    file.write_all(&chunk).await.map_err(wrong)?;
                    watch(Event::Downloading { done, total });
                }
                Ok(None) => break Ok(()),
                Err(source) => break Err(broken(url, done, source)),
            }
        };
        // What has come is kept, however it ended.
        file.flush().await.map_err(wrong)?;
        file.into_inner().sync_all().await.map_err(wrong)?;
        ended?;
        if total.is_some_and(|total| done < total) {
            return Err(Failure::Passing(Error::Strange {
                url: url.to_string(),
                have: done,
                problem: "it ended early".to_owned(),
            }));
        }
        Ok(done)
    }
}

fn broken(url: &Url, have: u64, source: reqwest::Error) -> Failure {
    let url = url.to_string();
    let lasting = source.is_redirect() || source.is_builder();
    let source = source.without_url();
    let error = Error::Broken { url, have, source };
    if lasting {
        Failure::Final(error)
    } else {
        Failure::Passing(error)
    }
}

/// Our own configuration, not the client's: that one asks the process for a provider, and for certificates even
/// where nothing is encrypted.
fn tls() -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// That so many bytes are free.
pub(super) fn room(directory: &Path, needed: u64) -> Result<(), Error> {
    // A file system that does not tell will tell when it is full.
    let Ok(found) = rustix::fs::statvfs(directory) else {
        return Ok(());
    };
    let available = found.f_bavail.saturating_mul(found.f_frsize);
    if available < needed {
        return Err(Error::NoSpace {
            directory: directory.to_owned(),
            needed,
            available,
        });
    }
    Ok(())
}

/// What a range is asked for with: only what changes with every byte of the file will do.
fn version_of(headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(ToOwned::to_owned);
    let tag = text(ETAG).filter(|tag| tag.starts_with('"'));
    tag.or_else(|| text(LAST_MODIFIED))
}

/// Of a `Content-Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    start: Option<u64>,
    total: Option<u64>,
}

impl Range {
    fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(CONTENT_RANGE)?.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        Some(Self {
            start: range
                .split_once('-')
                .and_then(|(start, _)| start.parse().ok()),
            total: total.parse().ok(),
        })
    }
}

fn note_of(part: &Path) -> PathBuf {
    part.with_extension("json")
}

async fn read_note(part: &Path) -> Option<Note> {
    let text = tokio::fs::read(note_of(part)).await.ok()?;
    serde_json::from_slice(&text).ok()
}

async fn length(part: &Path) -> u64 {
    tokio::fs::metadata(part)
        .await
        .map_or(0, |found| found.len())
}

/// Removes what was fetched.
pub(super) async fn forget(part: &Path) {
    let _ = tokio::fs::remove_file(part).await;
    let _ = tokio::fs::remove_file(note_of(part)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let range = |start, total| Some(Range { start, total });
        assert_eq!(Range::parse("bytes 5-9/10"), range(Some(5), Some(10)));
        assert_eq!(Range::parse("bytes 5-9/*"), range(Some(5), None));
        assert_eq!(Range::parse("bytes */10"), range(None, Some(10)));
        assert_eq!(Range::parse("lines 5-9/10"), None);
    }

    #[test]
    fn a_weak_tag_tells_no_version() {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, "W/\"1\"".parse().unwrap());
        assert_eq!(version_of(&headers), None);
        headers.insert(ETAG, "\"1\"".parse().unwrap());
        assert_eq!(version_of(&headers).as_deref(), Some("\"1\""));
    }
}
