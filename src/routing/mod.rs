//! The engine: offers a call to a target, settles what became of it, repairs what was missed.
//!
//! It is the only writer of calls, attempts and reservations. It knows nothing of FastAGI, ARI or HTTP:
//! the edges hand it what they were told, in the words of [`crate::domain`], and it answers. Every verb
//! may be called twice with the same facts; the second time changes nothing.

use std::net::IpAddr;

use crate::domain::{
    CallFact, CallId, CallerId, DialStatus, DialledNumber, HangupCause, LinkedId, LiveChannel,
    RefusalReason, ReservationId, ServerName, UniqueId,
};

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
    /// File stem to record to.
    pub recording: Option<String>,
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

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {}

/// Open calls as they stood before a list of live channels was taken.
pub struct OpenCalls {}

/// What a reconciliation repaired.
#[derive(Debug, Default)]
pub struct Repairs {}

/// Placeholder.
#[derive(Debug, thiserror::Error)]
#[error("engine error")]
pub struct Error;

impl Engine {
    /// Answers where a call goes.
    pub async fn route(&self, _request: RouteRequest) -> Result<Verdict, Error> {
        Err(Error)
    }
    /// Settles and closes the call.
    pub async fn end(&self, _report: EndReport) -> Result<(), Error> {
        Err(Error)
    }
    /// Settles what an observer of `server` saw.
    pub async fn observe(&self, _server: &ServerName, _fact: CallFact) -> Result<(), Error> {
        Err(Error)
    }
    /// The open calls that live on `server` or on no known server. Take this list **before** the list of
    /// channels: then a call in it that has no channel is really gone.
    pub async fn open_calls(&self, _server: &ServerName) -> Result<OpenCalls, Error> {
        Err(Error)
    }
    /// Settles the calls whose channels are gone and adopts those that live.
    pub async fn reconcile(
        &self,
        _server: &ServerName,
        _open: OpenCalls,
        _live: &[LiveChannel],
    ) -> Result<Repairs, Error> {
        Err(Error)
    }
}
