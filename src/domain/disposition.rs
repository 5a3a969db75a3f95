//! How an attempt and a call ended: Asterisk's `DIALSTATUS` and our disposition, and the one mapping
//! between them.

use serde::{Deserialize, Serialize};

/// Asterisk's `DIALSTATUS` after `Dial()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DialStatus {
    /// The target answered.
    Answer,
    /// The target is busy.
    Busy,
    /// The ring timeout passed.
    NoAnswer,
    /// The caller hung up while it rang.
    Cancel,
    /// The target's side is congested.
    Congestion,
    /// The endpoint is unknown or unreachable, or refused the call (SIP 603).
    ChanUnavail,
    /// The called party's screening refused the call.
    DontCall,
    /// The called party's screening sent the caller to "torture".
    Torture,
    /// `Dial()` was called with wrong arguments.
    InvalidArgs,
}

/// What follows for the call when an attempt has ended so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterAttempt {
    /// The next eligible target is tried.
    TryNext,
    /// The call is over.
    CallOver,
}

impl DialStatus {
    /// All of them, with Asterisk's spelling.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Answer, "ANSWER"),
        (Self::Busy, "BUSY"),
        (Self::NoAnswer, "NOANSWER"),
        (Self::Cancel, "CANCEL"),
        (Self::Congestion, "CONGESTION"),
        (Self::ChanUnavail, "CHANUNAVAIL"),
        (Self::DontCall, "DONTCALL"),
        (Self::Torture, "TORTURE"),
        (Self::InvalidArgs, "INVALIDARGS"),
    ];

    /// `None` for text Asterisk does not use, the empty one included.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(status, _)| *status)
    }

    /// Asterisk's spelling.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(status, _)| *status == self)
            .map_or("", |(_, name)| *name)
    }

    /// The policy by cause: whatever is the target's doing goes on to the next one, whatever is the
    /// caller's doing, or a finished conversation, ends the call.
    pub fn after_attempt(self) -> AfterAttempt {
        match self {
            Self::Answer | Self::Cancel => AfterAttempt::CallOver,
            Self::Busy
            | Self::NoAnswer
            | Self::Congestion
            | Self::ChanUnavail
            | Self::DontCall
            | Self::Torture
            | Self::InvalidArgs => AfterAttempt::TryNext,
        }
    }
}

/// `call_logs.call_status`: how the call ended for the seller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// Caller and target talked.
    Answered,
    /// The last target tried was busy.
    Busy,
    /// The last target tried did not answer in time.
    NoAnswer,
    /// The caller hung up before an answer.
    Abandoned,
    /// The last target tried could not be reached, or the end of the call was not seen.
    Failed,
    /// Refused: the DID, its owner or its campaign takes no calls, or the campaign has no clients.
    RejectedDid,
    /// Refused: every target that could take the call is at its concurrency cap.
    RejectedConcurrency,
    /// Refused: every target that could take the call is at its total cap.
    RejectedTotal,
}

impl Disposition {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Busy,
        Self::NoAnswer,
        Self::Abandoned,
        Self::Failed,
        Self::RejectedDid,
        Self::RejectedConcurrency,
        Self::RejectedTotal,
    ];

    /// The text stored in `call_logs.call_status` and shown by the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "ANSWERED",
            Self::Busy => "BUSY",
            Self::NoAnswer => "NOANSWER",
            Self::Abandoned => "ABANDONED",
            Self::Failed => "FAILED",
            Self::RejectedDid => "REJECTED_DID",
            Self::RejectedConcurrency => "REJECTED_CC",
            Self::RejectedTotal => "REJECTED_TOTAL",
        }
    }

    /// The disposition of a call whose last attempt ended with `status`. No status means that the
    /// caller was gone before `Dial()` reported one.
    pub fn of_last_attempt(status: Option<DialStatus>) -> Self {
        match status {
            Some(DialStatus::Answer) => Self::Answered,
            Some(DialStatus::Busy) => Self::Busy,
            Some(DialStatus::NoAnswer) => Self::NoAnswer,
            Some(DialStatus::Cancel) | None => Self::Abandoned,
            Some(
                DialStatus::Congestion
                | DialStatus::ChanUnavail
                | DialStatus::DontCall
                | DialStatus::Torture
                | DialStatus::InvalidArgs,
            ) => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dial_statuses_are_read_as_asterisk_writes_them() {
        for (status, name) in DialStatus::ALL {
            assert_eq!(DialStatus::parse(name), Some(status));
            assert_eq!(status.as_str(), name);
        }
        assert_eq!(DialStatus::parse(""), None);
        assert_eq!(DialStatus::parse("answer"), None);
    }

    #[test]
    fn the_targets_failures_go_on_and_the_callers_do_not() {
        for status in [
            DialStatus::Busy,
            DialStatus::NoAnswer,
            DialStatus::Congestion,
            DialStatus::ChanUnavail,
        ] {
            assert_eq!(status.after_attempt(), AfterAttempt::TryNext);
        }
        assert_eq!(DialStatus::Cancel.after_attempt(), AfterAttempt::CallOver);
        assert_eq!(DialStatus::Answer.after_attempt(), AfterAttempt::CallOver);
    }
}
