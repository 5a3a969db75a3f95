//! How often one may ask: by account or key, and by address for whoever is not logged in.
//!
//! Counted in memory, by each daemon for itself. A limit of so many a minute is kept over
//! `WINDOW_SECONDS` at a time: that much of it may come at once.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::code::Code;
use super::principal::{Caller, Via};
use super::problem::Problem;
use super::recent::Recent;
use crate::domain::UserId;
use crate::domain::network::Network;
use crate::http::api::Settings;
use crate::runtime::digest;

/// What may come at once is what the limit allows in so many seconds.
const WINDOW_SECONDS: u32 = 10;

/// Addresses remembered that have asked too often.
const MOST_REFUSED: usize = 50_000;

/// Different numbers that an account which does not see callers may look for in an hour; as many may come at once.
pub const NUMBERS_PER_HOUR: u32 = 30;

/// The same number is not another one for so long: a search is read page by page, and repeated.
const SAME_NUMBER: Duration = Duration::from_secs(3_600);

/// Numbers remembered for that.
const MOST_NUMBERS: usize = 50_000;

/// After so many requests those are forgotten who have not asked for a while.
const FORGET_EVERY: u32 = 4_096;

/// Who asks, as far as counting goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Account(i32),
    Key(i64),
    Network(Network),
}

type Limiter =
    RateLimiter<Subject, HashMapStateStore<Subject>, DefaultClock, StateInformationMiddleware>;

/// Who asked how often.
pub struct Limits {
    known: Counter,
    anonymous: Counter,
    /// Logins are counted apart: nobody is kept from them by what else comes from the same address.
    logins: Counter,
    /// Nor does what everybody may read, such as recordings by links, count with anything else.
    strangers: Counter,
    /// Numbers of callers that were looked for by those who do not see them.
    numbers: Counter,
    /// Accounts with the SHA-256 of a number they have looked for.
    sought: Recent<(i32, [u8; 32]), ()>,
    /// Addresses that have asked too often just now.
    refused: Recent<Network, Instant>,
}

struct Counter {
    limiter: Limiter,
    quota: Quota,
    asked: AtomicU32,
}

/// How a caller stands, as its answers tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests that may come at once.
    limit: u32,
    /// How many of them are left.
    remaining: u32,
    /// When all are there again.
    reset: Duration,
    /// When the next one will be served, if this one is not.
    retry_after: Option<Duration>,
}

impl Limits {
    /// Nobody has asked yet.
    pub fn new(settings: &Settings) -> Self {
        Self {
            known: Counter::new(settings.requests_per_minute),
            anonymous: Counter::new(settings.anonymous_requests_per_minute),
            logins: Counter::new(settings.anonymous_requests_per_minute),
            strangers: Counter::new(settings.anonymous_requests_per_minute),
            numbers: Counter::hourly(NUMBERS_PER_HOUR),
            sought: Recent::new(MOST_NUMBERS),
            refused: Recent::new(MOST_REFUSED),
        }
    }

    /// Counts a search for a caller's number by an account that does not see callers: how long to wait, if it was one
    /// number too many.
    pub fn number_sought(&self, account: UserId, number: &str) -> Option<Duration> {
        let sought = (account.0, digest::of_text(number));
        if self.sought.get(&sought).is_some() {
            return None;
        }
        let standing = self.numbers.count(&Subject::Account(account.0));
        if standing.retry_after.is_none() {
            self.sought.put(sought, (), SAME_NUMBER);
        }
        standing.retry_after
    }

    /// Counts a request of somebody known.
    pub fn known(&self, caller: &Caller) -> Standing {
        self.known.count(&match caller.via {
            Via::Session(_) => Subject::Account(caller.user_id.0),
            Via::Key(id) => Subject::Key(id),
        })
    }

    /// Counts a request of nobody known. Who has one IPv6 address has a whole /64.
    pub fn anonymous(&self, address: IpAddr) -> Standing {
        let network = network_of(address);
        let standing = self.anonymous.count(&Subject::Network(network));
        if let Some(wait) = standing.retry_after {
            self.refused.put(network, Instant::now() + wait, wait);
        }
        standing
    }

    /// Counts a login.
    pub fn login(&self, address: IpAddr) -> Standing {
        self.logins.count(&Subject::Network(network_of(address)))
    }

    /// Counts a request for what everybody may read.
    pub fn stranger(&self, address: IpAddr) -> Standing {
        self.strangers.count(&Subject::Network(network_of(address)))
    }

    /// Refuses an address that has asked too often as nobody known, without counting: before anything is looked up.
    pub fn check_anonymous(&self, address: IpAddr) -> Result<(), Standing> {
        let Some(until) = self.refused.get(&network_of(address)) else {
            return Ok(());
        };
        let wait = until.saturating_duration_since(Instant::now());
        Err(self.anonymous.refused(wait))
    }
}

/// Who has one IPv6 address has a whole /64.
fn network_of(address: IpAddr) -> Network {
    match address {
        IpAddr::V4(_) => address.into(),
        IpAddr::V6(_) => Network::around(address),
    }
}

impl Counter {
    fn new(per_minute: u32) -> Self {
        let per_minute = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        let at_once = per_minute.get().div_ceil(60 / WINDOW_SECONDS);
        let at_once = NonZeroU32::new(at_once).unwrap_or(NonZeroU32::MIN);
        Self::of(Quota::per_minute(per_minute).allow_burst(at_once))
    }

    /// So many an hour, which may all come at once.
    fn hourly(per_hour: u32) -> Self {
        Self::of(Quota::per_hour(
            NonZeroU32::new(per_hour).unwrap_or(NonZeroU32::MIN),
        ))
    }

    fn of(quota: Quota) -> Self {
        Self {
            limiter: RateLimiter::hashmap(quota).with_middleware(),
            quota,
            asked: AtomicU32::new(0),
        }
    }

    fn count(&self, subject: &Subject) -> Standing {
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        let limit = self.quota.burst_size().get();
        match self.limiter.check_key(subject) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Standing {
                    limit,
                    remaining,
                    reset: self.quota.replenish_interval() * (limit - remaining.min(limit)),
                    retry_after: None,
                }
            }
            Err(until) => self.refused(until.wait_time_from(DefaultClock::default().now())),
        }
    }

    fn refused(&self, wait: Duration) -> Standing {
        let limit = self.quota.burst_size().get();
        Standing {
            limit,
            remaining: 0,
            reset: self.quota.replenish_interval() * (limit - 1) + wait,
            retry_after: Some(wait),
        }
    }
}

impl Standing {
    /// How long to wait, if it was one request too many.
    pub fn wait(self) -> Option<Duration> {
        self.retry_after
    }

    /// A problem, if it was one request too many.
    pub fn check(self) -> Result<(), Problem> {
        match self.retry_after {
            None => Ok(()),
            Some(wait) => Err(too_many(
                Code::TooManyRequests,
                format!("Too many requests; {} may come at once.", self.limit),
                wait,
            )),
        }
    }

    /// Tells the client.
    pub fn put_on(self, headers: &mut HeaderMap) {
        for (name, value) in [
            ("ratelimit-limit", u64::from(self.limit)),
            ("ratelimit-remaining", u64::from(self.remaining)),
            ("ratelimit-reset", whole_seconds(self.reset)),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }
}

/// 429, to be tried again after a while, which the message ends with.
pub fn too_many(code: Code, message: impl Into<String>, wait: Duration) -> Problem {
    let message = format!("{} Try again in {}.", message.into(), in_words(wait));
    Problem::new(StatusCode::TOO_MANY_REQUESTS, code, message).with_header(
        header::RETRY_AFTER,
        HeaderValue::from(whole_seconds(wait).max(1)),
    )
}

/// Rounded up: whoever comes then is not too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1_000) as u64
}

/// As people say it, rounded up.
pub fn in_words(wait: Duration) -> String {
    let seconds = wait.as_millis().div_ceil(1_000).max(1);
    match (seconds, seconds.div_ceil(60)) {
        (1, _) => "1 second".to_owned(),
        (2..=90, _) => format!("{seconds} seconds"),
        (_, minutes) => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sixth_of_a_minutes_requests_may_come_at_once() {
        let counter = Counter::new(60);
        let subject = Subject::Account(1);
        for left in (0..10).rev() {
            let standing = counter.count(&subject);
            assert_eq!((standing.limit, standing.remaining), (10, left));
            assert_eq!(standing.retry_after, None);
        }
        let standing = counter.count(&subject);
        let wait = standing.retry_after.expect("one too many");
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert!(standing.reset <= Duration::from_secs(10));
        assert_eq!(standing.check().expect_err("refused").status(), 429);
        assert_eq!(counter.count(&Subject::Account(2)).remaining, 9);
        assert_eq!(counter.count(&Subject::Key(1)).remaining, 9);
    }

    #[test]
    fn any_limit_lets_one_through() {
        for per_minute in [0, 1, 5] {
            let counter = Counter::new(per_minute);
            let subject = Subject::Account(1);
            assert_eq!(counter.count(&subject).retry_after, None);
            assert!(counter.count(&subject).retry_after.is_some());
        }
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let counter = Counter::new(1);
        let limits = Limits {
            known: Counter::new(1),
            anonymous: counter,
            logins: Counter::new(1),
            strangers: Counter::new(1),
            numbers: Counter::hourly(1),
            sought: Recent::new(10),
            refused: Recent::new(10),
        };
        let ask = |address: &str| {
            limits
                .anonymous(address.parse().expect("an address"))
                .retry_after
        };
        assert_eq!(ask("2001:db8::1"), None);
        assert!(ask("2001:db8::2:0:0:1").is_some());
        assert_eq!(ask("2001:db8:0:1::1"), None);
        assert_eq!(ask("192.0.2.1"), None);
        assert_eq!(ask("192.0.2.2"), None);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let standing = limits.check_anonymous(address("2001:db8::9"));
        assert!(standing.expect_err("asked too often").check().is_err());
        assert!(limits.check_anonymous(address("192.0.2.2")).is_ok());
        assert_eq!(limits.login(address("2001:db8::9")).retry_after, None);
    }

    #[test]
    fn who_has_not_asked_for_a_while_is_forgotten() {
        // A thousand a second: within milliseconds each is as good as new.
        let counter = Counter::new(60_000_000);
        for id in 0..(FORGET_EVERY as i32 * 20) {
            counter.count(&Subject::Account(id));
        }
        assert!(counter.limiter.len() < FORGET_EVERY as usize * 10);
    }

    #[test]
    fn waits_are_told_in_words() {
        for (seconds, words) in [
            (0.2, "1 second"),
            (45.0, "45 seconds"),
            (90.5, "2 minutes"),
            (800.0, "14 minutes"),
        ] {
            assert_eq!(in_words(Duration::from_secs_f64(seconds)), words);
        }
    }
}
