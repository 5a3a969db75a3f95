//! The engine: offers a call to a target, settles what became of it, repairs what was missed.
//!
//! It is the only writer of calls, attempts and reservations. It knows nothing of FastAGI, ARI or HTTP:
//! the edges hand it what they were told, in the words of [`crate::domain`], and it answers. Every verb
//! may be called twice with the same facts; the second time changes nothing.

pub mod bulkhead;
mod crowds;
mod explain;
mod late;
mod legs;
mod offer;
mod reconcile;
mod settle;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::{
    CallId, CallerId, DialStatus, DialledNumber, HangupCause, LinkedId, RefusalReason,
    ReservationId, ServerName, Stem, UniqueId,
};
use crate::store::{self, Store};

pub use explain::Explanation;
pub use reconcile::{OpenCalls, Repairs};

/// What is known of a call from the channel that brought it.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The caller's channel; names the call.
    pub uniqueid: UniqueId,
    /// Shared by all channels of the conversation. The unique id where the dialplan did not say.
    pub linkedid: Option<LinkedId>,
    /// Name of the caller's channel, as `PJSIP/trunk-00000007`, at most 80 characters.
    pub channel: String,
    /// The number dialled.
    pub did: DialledNumber,
    /// Who called.
    pub caller: CallerId,
    /// Address the question came from: tells which Asterisk the call is on.
    pub peer: Option<IpAddr>,
}

/// How the attempt before this question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousAttempt {
    /// `DIALSTATUS`.
    pub status: DialStatus,
    /// `HANGUPCAUSE`.
    pub cause: Option<HangupCause>,
}

/// "Where does this call go (next)?"
#[derive(Debug, Clone)]
pub struct RouteRequest {
    /// The call.
    pub arrival: Arrival,
    /// `None` at the first question of a call.
    pub previous: Option<PreviousAttempt>,
    /// When it came. A call that ended after that wants no answer any more.
    pub asked_at: Timestamp,
}

/// The answer to a [`RouteRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Dial this target now. Its slot is held.
    Dial(Offer),
    /// Hang up.
    Reject(Refusal),
}

/// A target offered to a call, its slot held until the attempt is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The call.
    pub call_id: CallId,
    /// 1 for the first target of the call, then 2, …
    pub attempt: u32,
    /// The slot held.
    pub reservation_id: ReservationId,
    /// PJSIP endpoint id.
    pub endpoint: String,
    /// How long it may ring, in seconds, at least 1.
    pub ring_timeout_seconds: u32,
    /// Number to present instead of the caller's.
    pub caller_id: Option<String>,
    /// What to record it as, if it is recorded.
    pub recording: Option<Recording>,
}

/// How an attempt is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// What the names of its files begin with.
    pub stem: Stem,
    /// The sound file both sides hear before they are connected.
    pub announcement: Option<String>,
}

/// Why a call is hung up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The call.
    pub call_id: CallId,
    /// The reason code.
    pub reason: RefusalReason,
    /// What to tell the caller's carrier.
    pub cause: HangupCause,
}

/// What the dialplan says it last dialled on, in the `end` report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialled {
    /// It does not say; the report is about the last attempt.
    Unsaid,
    /// It never received an offer, or asked for one and got none.
    Nothing,
    /// The static fallback destination, which no cap knows.
    Fallback,
    /// The target of this reservation.
    Reservation(ReservationId),
}

/// The dialplan's report at the end of a call.
#[derive(Debug, Clone)]
pub struct EndReport {
    /// The call.
    pub arrival: Arrival,
    /// `DIALSTATUS` of the last dial; `None` if there was none.
    pub status: Option<DialStatus>,
    /// `HANGUPCAUSE`.
    pub cause: Option<HangupCause>,
    /// `ANSWEREDTIME`: seconds from answer to end.
    pub answered_seconds: Option<u32>,
    /// `DIALEDTIME`: seconds from dial to end.
    pub dialed_seconds: Option<u32>,
    /// What was dialled.
    pub dialled: Dialled,
}

/// What the engine is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of this daemon.
    pub node: String,
    /// Seconds a call may ring in all, over all its attempts.
    pub ring_budget_seconds: u32,
    /// Hard limit of a call's life in seconds; the dialplan cuts it there.
    pub max_call_seconds: u32,
    /// There is a place for recordings, so that campaigns may have some.
    pub records: bool,
    /// The Asterisk servers observed, with the addresses their calls come from.
    pub servers: Vec<(ServerName, Vec<IpAddr>)>,
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    store: Store,
    settings: Arc<Settings>,
    late: Arc<late::LateReports>,
    crowds: Arc<crowds::Crowds>,
    legs: Arc<legs::TargetLegs>,
}

/// Why the engine could not answer or settle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The state changed under the decision more often than it is worth trying again.
    #[error("the decision was overtaken by other changes {0} times")]
    Overtaken(u32),
    /// The call ended after the question was asked, or the question is one of the past.
    #[error("the call is over, or not where its question places it")]
    Stale,
}

impl Error {
    /// Short name for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Store(error) if error.is_contention() => "contention",
            Self::Store(error) if error.is_lost_connection() => "database_unavailable",
            Self::Store(_) => "database_error",
            Self::Overtaken(_) => "overtaken",
            Self::Stale => "stale",
        }
    }

    /// Nothing is wrong with the request; it may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => {
                error.is_contention() || error.is_overload() || error.is_lost_connection()
            }
            Self::Overtaken(_) => true,
            Self::Stale => false,
        }
    }
}

impl Engine {
    /// An engine over a database.
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            settings: Arc::new(settings),
            late: Arc::default(),
            crowds: Arc::default(),
            legs: Arc::default(),
        }
    }

    /// The Asterisk a call is on, told by the address that asked. Loopback is loopback, whichever.
    fn server_of(&self, arrival: &Arrival) -> Option<&ServerName> {
        let peer = arrival.peer?.to_canonical();
        self.settings
            .servers
            .iter()
            .find(|(_, addresses)| {
                addresses.iter().any(|a| {
                    let address = a.to_canonical();
                    address == peer || (address.is_loopback() && peer.is_loopback())
                })
            })
            .map(|(name, _)| name)
    }
}

impl Arrival {
    /// The linked id, or the unique id where the dialplan gave none.
    fn linkedid(&self) -> &str {
        let linkedid = self.linkedid.as_ref();
        linkedid.map_or(self.uniqueid.as_str(), LinkedId::as_str)
    }
}
