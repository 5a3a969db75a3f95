//! How often one may ask: by account or key, and by address for whoever is not logged in.
//!
//! Counted in memory, by each daemon for itself. A limit of so many a minute is kept over
//! [`WINDOW_SECONDS`] at a time: that much of it may come at once.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::access::{Caller, Via};
use super::{Problem, Settings};

/// What may come at once is what the limit allows in so many seconds.
const WINDOW_SECONDS: u32 = 10;

/// After so many requests those are forgotten who have not asked for a while.
const FORGET_EVERY: u32 = 4_096;

/// Who asks, as far as counting goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Account(i32),
    Key(i64),
    Network(IpAddr),
}

type Limiter =
    RateLimiter<Subject, HashMapStateStore<Subject>, DefaultClock, StateInformationMiddleware>;

/// Who asked how often.
pub struct Limits {
    known: Counter,
    anonymous: Counter,
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
        }
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
        let network = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::from((v6.to_bits() >> 64 << 64).to_be_bytes()),
        };
        self.anonymous.count(&Subject::Network(network))
    }
}

impl Counter {
    fn new(per_minute: u32) -> Self {
        let per_minute = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        let at_once = per_minute.get().div_ceil(60 / WINDOW_SECONDS);
        let at_once = NonZeroU32::new(at_once).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(per_minute).allow_burst(at_once);
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
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Standing {
                    limit,
                    remaining: 0,
                    reset: self.quota.replenish_interval() * (limit - 1) + wait,
                    retry_after: Some(wait),
                }
            }
        }
    }
}

impl Standing {
    /// A problem, if it was one request too many.
    pub fn check(self) -> Result<(), Problem> {
        match self.retry_after {
            None => Ok(()),
            Some(wait) => Err(too_many(
                "too_many_requests",
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
pub fn too_many(code: &'static str, message: impl Into<String>, wait: Duration) -> Problem {
    let message = format!("{} Try again in {}.", message.into(), in_words(wait));
    Problem::new(StatusCode::TOO_MANY_REQUESTS, code, message).with_header(
        header::RETRY_AFTER,
        HeaderValue::from(whole_seconds(wait).max(1)),
    )
}

/// For people: `1 second`, `40 seconds`, `15 minutes`. Rounded up, as the header is.
fn in_words(wait: Duration) -> String {
    let seconds = whole_seconds(wait).max(1);
    match seconds {
        1 => "1 second".to_owned(),
        ..=120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// Rounded up: whoever comes then is not too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait_is_told() {
        for (millis, told) in [
            (0, "1 second"),
            (1_001, "2 seconds"),
            (120_000, "120 seconds"),
            (120_001, "3 minutes"),
            (900_000, "15 minutes"),
        ] {
            assert_eq!(in_words(Duration::from_millis(millis)), told);
        }
    }

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
}
