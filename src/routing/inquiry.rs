//! A question while it is being answered: what was found out so far, and its times by the database's clock.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::sightings::Sighting;
use super::store::calls::CallUnderWay;
use super::{Arrival, RouteRequest};
use crate::domain::{CallId, LinkId, ServerName, SystemName};

/// A question with what was found out about it so far.
pub(super) struct Inquiry {
    pub(super) request: RouteRequest,
    /// Links that were locked by somebody else.
    pub(super) locked: Vec<LinkId>,
    /// Where the caller's channel is seen.
    pub(super) sighting: Option<Sighting>,
    /// The call of the same channel that ended for this one to begin.
    pub(super) before: Option<CallId>,
    pub(super) tries: u32,
}

impl Inquiry {
    pub(super) fn new(request: RouteRequest, sighting: Option<Sighting>) -> Self {
        Self {
            request,
            locked: Vec::new(),
            sighting,
            before: None,
            tries: 0,
        }
    }
}

/// The times of one look, all of the database's clock.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) looked_at: Timestamp,
    pub(super) asked_at: Timestamp,
    pub(super) deadline: Timestamp,
}

impl Times {
    /// What is known of a question's times by our own clock, seen from the look's. Read just after the answer of the
    /// look: so the question counts as asked a little earlier than it was, and as given up a little earlier than it
    /// will be.
    pub(super) fn of(request: &RouteRequest, looked_at: Timestamp) -> Self {
        let now = Instant::now();
        let span = |duration: Duration| SignedDuration::try_from(duration).unwrap_or_default();
        let since = span(now.saturating_duration_since(request.asked));
        let left = span(request.deadline.saturating_duration_since(now));
        Self {
            looked_at,
            asked_at: looked_at.checked_sub(since).unwrap_or(looked_at),
            deadline: looked_at.checked_add(left).unwrap_or(looked_at),
        }
    }
}

pub(super) fn has_same_number(call: &CallUnderWay, arrival: &Arrival) -> bool {
    arrival.did.is_spelling_of(&call.did_number)
}

/// Whether the call that asks is on the channel of a call under way. A unique id and a channel's name come again on
/// other servers: the server must be the same where both are known, else the caller.
pub(super) fn is_same_channel(
    call: &CallUnderWay,
    arrival: &Arrival,
    seen_on: Option<&ServerName>,
) -> bool {
    let asked = arrival.system_name.as_ref().map(SystemName::as_str);
    let same_system = match (call.system_name.as_deref(), asked) {
        (Some(stored), Some(asked)) => Some(stored == asked),
        _ => None,
    };
    let same_server = match (&call.server, seen_on) {
        (Some(stored), Some(seen)) => Some(stored == seen),
        _ => None,
    };
    // Where another channel reported its end, the name may not have been told.
    let other_channel = call.channel != arrival.channel && !call.channel.is_empty();
    if same_system == Some(false) || same_server == Some(false) || other_channel {
        return false;
    }
    let known = same_system.is_some() || same_server.is_some();
    known || call.caller_number == arrival.caller.number
}
