//! What an observer of Asterisk has seen, in the words of calls rather than of channels and events.

use jiff::Timestamp;

use super::{DialStatus, HangupCause, UniqueId};

/// One observed fact. Facts may arrive late, twice, out of order or not at all; settling the same one
/// twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFact {
    /// A channel was made for a target dialled for this caller. It is there until it is [`Self::Gone`].
    Dialled {
        /// The caller's channel.
        caller: UniqueId,
        /// The target's channel.
        leg: UniqueId,
    },
    /// The endpoint dialled for this caller answered.
    Answered {
        /// The caller's channel.
        caller: UniqueId,
        /// Endpoint id of the answering channel, as in `PJSIP/<endpoint>-0000002a`.
        endpoint: String,
        /// Asterisk's time of the event.
        at: Timestamp,
    },
    /// A dial of this endpoint ended without an answer. The status is ARI's, which differs from the
    /// dialplan's `DIALSTATUS` in places and may be about one of several contacts: it is noted until the
    /// dialplan has its say, and frees nothing.
    AttemptFailed {
        /// The caller's channel.
        caller: UniqueId,
        /// Endpoint id of the dialled channel.
        endpoint: String,
        /// Its outcome; never [`DialStatus::Answer`].
        status: DialStatus,
        /// Asterisk's time of the event.
        at: Timestamp,
    },
    /// A channel no longer exists.
    Gone {
        /// The channel, a caller's or any other.
        channel: UniqueId,
        /// Why it went.
        cause: Option<HangupCause>,
        /// Asterisk's time of the event.
        at: Timestamp,
    },
}

/// A channel in Asterisk's own list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveChannel {
    /// Its unique id.
    pub uniqueid: UniqueId,
    /// Its name, as `PJSIP/trunk-00000007`.
    pub name: String,
    /// It is up. A caller's channel is answered only when a target has answered.
    pub answered: bool,
    /// What its dialplan is dialling or talking to, as `PJSIP/<endpoint>`; `None` when it is not in
    /// `Dial()`, or Asterisk did not say.
    pub dials: Option<String>,
    /// When it was made, if Asterisk said so in a form we could read.
    pub created_at: Option<Timestamp>,
}
