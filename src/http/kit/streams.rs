//! Answers that go on: shares of each account and each link, an end for those who do not read, for logins that are over,
//! and for what is not there any more.
//!
//! What is sent is looked at from outside the sending ([`watched`]): a reader that takes nothing keeps the sender
//! waiting, and so would keep it from finding out. Invariant: a stream ends within [`LOGIN_LOOK`] and a moment of its login or
//! link, of the recording that is sent, and of the right to see what it shows, and soon after `READING_WINDOW` of
//! reading too slowly, whatever the peer does.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use tokio::task::JoinHandle;

use super::code::Code;
use super::principal::Caller;
use super::problem::Problem;
use crate::accounts::callers::CallersShown;
use crate::accounts::guard::still_holds;
use crate::domain::UserId;
use crate::http::Cut;
use crate::http::api::Api;
use crate::recordings::api::recordings::Heard;
use crate::recordings::api::shared_links;
use crate::runtime::digest;
use crate::runtime::metrics;
use crate::runtime::shares::{Share, Shares};

/// Exports of one account at once.
const EXPORTS: usize = 2;

/// Recordings that one account is being sent at once.
const DOWNLOADS: usize = 4;

/// Recordings that are being sent, in all.
pub const MOST_DOWNLOADS: usize = 128;

/// Of these: by links. The rest is for accounts.
const BY_LINKS: usize = MOST_DOWNLOADS / 2;

/// By all links that one account has made.
const BY_LINKS_OF_ONE: usize = 12;

/// By one link: a player asks for several parts at once.
const BY_ONE_LINK: usize = 4;

/// How often it is looked whether a stream may go on.
pub const LOGIN_LOOK: Duration = Duration::from_secs(3);

/// A reader is measured over so much time in which there was something for it to read.
const READING_WINDOW: Duration = Duration::from_secs(30);

/// Who reads an export slower over a window, in bytes a second, keeps a place from others.
pub const SLOWEST_EXPORT: u64 = 50_000;

/// Who reads a recording slower. Players read as fast as they play: 16,000 bytes a second of the plainest telephone
/// audio.
pub const SLOWEST_LISTENER: u64 = 8_000;

/// What is handed on at once: small enough that a slow reader is seen as one.
const FRAME: usize = 64 * 1024;

/// Which account has how many streams open.
#[derive(Default)]
pub struct Streams {
    exports: Shares<i32>,
    downloads: Shares<Holder>,
}

/// Who is sent recordings, as far as shares go. Readers of links have shares of their own: none is its maker's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// An account.
    Account(i32),
    /// Whoever has this link: the SHA-256 of its token.
    Link([u8; 32]),
    /// Whoever has a link that this account has made.
    LinksOf(i32),
    /// Whoever has a link.
    Links,
}

impl Streams {
    /// A place for an export.
    pub fn export(&self, caller: &Caller) -> Result<Share<i32>, Problem> {
        let share = self.exports.take(caller.user_id.0, EXPORTS);
        share.ok_or_else(|| {
            too_many(
                Code::TooManyExports,
                format!("This account has {EXPORTS} exports under way. Begin the next when one has ended."),
            )
        })
    }

    /// A place for a recording.
    pub fn download(&self, right: &Right) -> Result<Vec<Share<Holder>>, Problem> {
        let (shares, who) = match right {
            Right::Login(caller) => (
                vec![(Holder::Account(caller.user_id.0), DOWNLOADS)],
                format!("This account is being sent {DOWNLOADS} recordings."),
            ),
            Right::Link(maker, token) => (
                vec![
                    (Holder::Link(digest::of_text(token)), BY_ONE_LINK),
                    (Holder::LinksOf(maker.0), BY_LINKS_OF_ONE),
                    (Holder::Links, BY_LINKS),
                ],
                "Too many people listen by this link, or by others, at the moment.".to_owned(),
            ),
        };
        // Those that were had before one is refused are given back.
        let shares = shares
            .into_iter()
            .map(|(holder, most)| self.downloads.take(holder, most));
        shares.collect::<Option<_>>().ok_or_else(|| {
            too_many(
                Code::TooManyDownloads,
                format!("{who} Ask for the next when one has ended."),
            )
        })
    }
}

fn too_many(code: Code, message: String) -> Problem {
    metrics::http_refused("stream");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, code, message)
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
}

/// How a reader reads.
#[derive(Debug, Default)]
struct Pace {
    /// Bytes it took in this window.
    taken: u64,
    /// How long there was something for it to take.
    time: Duration,
    /// Since when there is.
    since: Option<Instant>,
}

impl Pace {
    /// It asks for more.
    fn asks(&mut self) {
        if let Some(since) = self.since.take() {
            self.time += since.elapsed();
        }
    }

    fn given(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        self.since = Some(Instant::now());
    }

    /// Whether it was too slow over a window that is full; a new one begins then.
    fn too_slow(&mut self, slowest: u64) -> bool {
        let time = self.time + self.since.map_or(Duration::ZERO, |since| since.elapsed());
        if time < READING_WINDOW {
            return false;
        }
        let slow = (self.taken as f64) < time.as_secs_f64() * slowest as f64;
        *self = Self {
            since: self.since.map(|_| Instant::now()),
            ..Self::default()
        };
        slow
    }
}

/// By what right somebody reads.
#[derive(Debug)]
pub enum Right {
    /// A login.
    Login(Caller),
    /// A link to a recording that this account has made, and its token.
    Link(UserId, String),
}

/// What somebody reads.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// The call log, with callers as far as they were shown at the start.
    Calls(CallersShown),
    /// A recording.
    Recording(Heard),
}

/// Who reads what.
#[derive(Debug)]
pub struct Reader {
    /// By what right.
    pub right: Right,
    /// What.
    pub what: What,
}

impl Reader {
    /// Whose account is behind it.
    fn account(&self) -> UserId {
        match &self.right {
            Right::Login(caller) => caller.user_id,
            Right::Link(maker, _) => *maker,
        }
    }

    /// Why it must not go on; none if it may.
    async fn ended(&self, api: &Api) -> Result<Option<&'static str>, Problem> {
        let reach = match &self.right {
            Right::Login(caller) if still_holds(api, caller).await? => caller.reach(),
            Right::Login(_) => return Ok(Some("its login has ended")),
            Right::Link(_, token) => match shared_links::reach_of(api, token).await? {
                Some(reach) => reach,
                None => return Ok(Some("its link has ended")),
            },
        };
        Ok(match self.what {
            What::Recording(heard) if !heard.is_there(api, reach).await? => {
                Some("the recording is deleted")
            }
            What::Calls(shown) if !shown.holds(api, reach, self.account()).await? => {
                Some("whether its account sees callers has changed")
            }
            What::Recording(_) | What::Calls(_) => None,
        })
    }
}

/// Ends with what it is for.
struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is sent to a reader, in small pieces, as long as it reads and still may; else its connection is cut.
pub fn watched(
    api: Api,
    reader: Reader,
    cut: Option<Cut>,
    slowest: u64,
    source: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let pace = Arc::new(Mutex::new(Pace::default()));
    let looked_at = Arc::clone(&pace);
    let span = tracing::Span::current();
    let watcher = tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOGIN_LOOK).await;
            let slow = looked_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .too_slow(slowest);
            let why = if slow {
                Some("it is read too slowly")
            } else {
                // While the database is away nothing has ended.
                reader.ended(&api).await.unwrap_or_default()
            };
            if let Some(why) = why {
                span.in_scope(|| {
                    tracing::info!(
                        user.id = reader.account().0,
                        "an answer is broken off: {why}"
                    );
                });
                if slow {
                    metrics::http_refused("reader");
                }
                if let Some(cut) = cut {
                    cut.0.cancel();
                }
                return;
            }
        }
    });
    let sending = Sending {
        source: source.boxed(),
        left: Bytes::new(),
        pace,
        watcher: Watcher(watcher),
    };
    stream::try_unfold(sending, |mut sending| async move {
        Ok(sending.next().await?.map(|frame| (frame, sending)))
    })
}

struct Sending {
    source: BoxStream<'static, io::Result<Bytes>>,
    left: Bytes,
    pace: Arc<Mutex<Pace>>,
    watcher: Watcher,
}

impl Sending {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let pace = |change: &dyn Fn(&mut Pace)| {
            change(&mut self.pace.lock().unwrap_or_else(PoisonError::into_inner));
        };
        pace(&Pace::asks);
        // Where there is no connection to cut, the answer ends here.
        if self.watcher.0.is_finished() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        while self.left.is_empty() {
            match self.source.next().await {
                Some(piece) => self.left = piece?,
                None => return Ok(None),
            }
        }
        let frame = self.left.split_to(FRAME.min(self.left.len()));
        pace(&|pace| pace.given(frame.len()));
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_too_little_over_a_window_is_too_slow() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        let read = |taken, waited, since| {
            Pace {
                taken,
                time: Duration::from_secs(waited),
                since,
            }
            .too_slow(SLOWEST_EXPORT)
        };
        assert!(!read(0, 29, None), "not yet");
        assert!(read(1_400_000, 31, None));
        assert!(!read(1_600_000, 31, None));
        assert!(read(1_000, 0, ago(31)), "it takes nothing at all");
        // Nothing was there for it: the source is slow, not the reader.
        assert!(!read(0, 0, None));
    }

    #[test]
    fn each_window_is_measured_by_itself() {
        let mut pace = Pace {
            taken: 10_000_000,
            time: Duration::from_secs(31),
            since: None,
        };
        assert!(!pace.too_slow(SLOWEST_EXPORT));
        pace.time = Duration::from_secs(31);
        assert!(
            pace.too_slow(SLOWEST_EXPORT),
            "what it took before does not count"
        );
    }
}
