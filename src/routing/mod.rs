//! The engine: offers a call to a target, settles what became of it, repairs what was missed.
//!
//! It is the only writer of calls, attempts and reservations. It knows nothing of FastAGI, ARI or HTTP:
//! the edges hand it what they were told, in the words of [`crate::domain`], and it answers. Every verb
//! may be called twice with the same facts; the second time changes nothing.

pub mod bulkhead;
mod contention;
mod explain;
mod gate;
mod hangups;
mod inquiry;
mod late;
mod offer;
mod reconcile;
mod servers;
mod settle;
mod sightings;
mod spool;
pub mod store;
mod sweep;
mod switches;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use self::store::calls::AskedCall;
use crate::db;
use crate::db::Store;
use crate::domain::{
    CallId, CallerId, DialStatus, DialledNumber, HangupCause, LinkedId, RefusalReason,
    ReservationId, ServerName, Stem, SystemName, UniqueId,
};

pub use explain::Explanation;
pub use reconcile::{OpenCalls, Repairs};
pub use servers::{ConflictKind, DeclaredDead, Warning, conflicts};
pub use switches::{HangUpOrder, NoHangUp, Ordered, Switch};

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
    /// What the Asterisk calls itself, if the dialplan said.
    pub system_name: Option<SystemName>,
    /// Address the question came from: a hint at the Asterisk the call is on, no more.
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
    /// The slot `previous` is about, if the dialplan said. Another attempt that is open was offered in an answer that
    /// was lost: it is offered again.
    pub about: Option<ReservationId>,
    /// When it came. A call that ended after that wants no answer any more.
    pub asked: Instant,
    /// When its asker gives up: nothing is claimed or recorded for it after that.
    pub deadline: Instant,
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
    /// Whoever sent it had left before it was read, and will have told somebody else: nobody knows how old it is.
    pub overdue: bool,
}

impl EndReport {
    /// The slot that it names, if it does.
    fn reservation(&self) -> Option<ReservationId> {
        match self.dialled {
            Dialled::Reservation(id) => Some(id),
            Dialled::Unsaid | Dialled::Nothing | Dialled::Fallback => None,
        }
    }
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
    contention: Arc<contention::Contention>,
    sightings: Arc<sightings::Sightings>,
    suspects: Arc<reconcile::Suspects>,
    bulkhead: bulkhead::Bulkhead,
    gate: Arc<gate::Gate>,
    switches: Arc<switches::Switches>,
}

/// Why the engine could not answer or settle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be read or written.
    #[error(transparent)]
    Store(#[from] db::Error),
    /// The state changed under the decision more often than it is worth trying again.
    #[error("the decision was overtaken by other changes {0} times")]
    Overtaken(u32),
    /// The call ended after the question was asked, or the question is one of the past.
    #[error("the call is over, or not where its question places it")]
    Stale,
    /// The asker has given up before it could be answered.
    #[error("the question could not be answered in time")]
    Late,
    /// Every target that could take the call is locked by somebody else.
    #[error("the rows of every target that has room are locked by other transactions")]
    Locked,
    /// Calls of the same campaign hold their share of the connections.
    #[error(transparent)]
    Crowded(#[from] bulkhead::Crowded),
    /// PostgreSQL has a new primary, and calls were not compared with Asterisk since.
    #[error(
        "calls are compared with Asterisk after a failover of PostgreSQL: nothing is claimed before that"
    )]
    Comparing,
    /// Another machine uses the name of an Asterisk server.
    #[error("{0}")]
    Contested(String),
    /// Many calls seem to have ended at once. The next comparison decides.
    #[error(
        "{lost} of {open} open calls have no channel, though Asterisk was not restarted: it is asked again first"
    )]
    Implausible {
        /// Calls without a channel.
        lost: usize,
        /// Calls compared.
        open: usize,
    },
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
            Self::Late => "late",
            Self::Locked => "locked",
            Self::Crowded(_) => "crowded",
            Self::Comparing => "comparing",
            Self::Contested(_) => "contested_server",
            Self::Implausible { .. } => "implausible",
        }
    }

    /// Nothing is wrong with the request; it may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => {
                error.is_contention() || error.is_overload() || error.is_lost_connection()
            }
            Self::Overtaken(_)
            | Self::Late
            | Self::Locked
            | Self::Crowded(_)
            | Self::Comparing
            | Self::Implausible { .. } => true,
            Self::Stale | Self::Contested(_) => false,
        }
    }
}

impl Engine {
    /// An engine over a database.
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            bulkhead: bulkhead::Bulkhead::new(store.route_connections()),
            gate: Arc::new(gate::Gate::new(store.cluster())),
            store,
            settings: Arc::new(settings),
            late: Arc::default(),
            contention: Arc::default(),
            sightings: Arc::default(),
            suspects: Arc::default(),
            switches: Arc::default(),
        }
    }

    /// The Asterisk that the address suggests which asked, if it is one only. A hint: several may share an address, and an
    /// address may be given to another machine.
    fn likely_server(&self, arrival: &Arrival) -> Option<&ServerName> {
        let peer = arrival.peer?;
        let mut servers = self.settings.servers.iter();
        let has = |(_, addresses): &&(ServerName, Vec<IpAddr>)| {
            addresses.iter().any(|address| same_host(*address, peer))
        };
        let (first, _) = servers.find(has)?;
        servers.find(has).is_none().then_some(first)
    }
}

/// Loopback is loopback, whichever.
fn same_host(a: IpAddr, b: IpAddr) -> bool {
    let (a, b) = (a.to_canonical(), b.to_canonical());
    a == b || (a.is_loopback() && b.is_loopback())
}

impl Arrival {
    /// The call, as the tables of calls under way know it.
    fn call(&self) -> AskedCall<'_> {
        AskedCall {
            uniqueid: &self.uniqueid,
            system_name: self.system_name.as_ref(),
            channel: &self.channel,
            caller_number: self.caller.number.as_deref(),
        }
    }

    /// The linked id, or the unique id where the dialplan gave none.
    fn linkedid(&self) -> &str {
        let linkedid = self.linkedid.as_ref();
        linkedid.map_or(self.uniqueid.as_str(), LinkedId::as_str)
    }
}
