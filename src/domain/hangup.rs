//! Who ended a call: said where it was seen, never guessed.

use super::{DialStatus, Disposition};

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HungUpBy {
    /// The caller's side.
    Caller,
    /// The target's side.
    Target,
    /// This side: a limit, an operator, or the dialplan once it had nobody left to try.
    System,
}

impl HungUpBy {
    /// As tables and API write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Target => "target",
            Self::System => "system",
        }
    }
}

/// What an observer saw of the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenHangup {
    /// No observer of ours sees the call.
    Unseen,
    /// No side asked for a hangup, as far as was seen.
    Nobody,
    /// This side asked first.
    Asked(HungUpBy),
}

/// Who ended a call, from what was seen of its end, the dialplan's status of its last dial, and how it ended. `None`:
/// it is not known.
pub fn hung_up_by(
    seen: SeenHangup,
    status: Option<DialStatus>,
    disposition: Disposition,
    refused: bool,
) -> Option<HungUpBy> {
    let answered = disposition == Disposition::Answered;
    match seen {
        SeenHangup::Asked(HungUpBy::Target) if !answered => None,
        SeenHangup::Asked(by) => Some(by),
        // The status says so itself.
        _ if !answered && status == Some(DialStatus::Cancel) => Some(HungUpBy::Caller),
        // The dialplan hangs up a call that was refused or found nobody.
        SeenHangup::Nobody if refused || (!answered && status.is_some()) => Some(HungUpBy::System),
        SeenHangup::Nobody | SeenHangup::Unseen => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ended_a_call_is_said_only_where_it_was_seen() {
        use DialStatus::{Answer, Busy, Cancel};
        use Disposition::{Abandoned, Answered};
        use HungUpBy::{Caller, System, Target};
        use SeenHangup::{Asked, Nobody, Unseen};
        let busy = Disposition::of_last_attempt(Some(Busy));
        let refused = Disposition::of_last_attempt(None);
        for (seen, status, how, is_refused, expected) in [
            (Asked(Caller), Some(Answer), Answered, false, Some(Caller)),
            (Asked(Target), Some(Answer), Answered, false, Some(Target)),
            (Asked(System), Some(Answer), Answered, false, Some(System)),
            (Nobody, Some(Answer), Answered, false, None),
            (Unseen, Some(Answer), Answered, false, None),
            (Unseen, Some(Cancel), Abandoned, false, Some(Caller)),
            (Asked(System), Some(Cancel), Abandoned, false, Some(System)),
            // A target that declines does not end the call.
            (Asked(Target), Some(Busy), busy, false, None),
            (Nobody, Some(Busy), busy, false, Some(System)),
            (Unseen, Some(Busy), busy, false, None),
            (Nobody, None, refused, true, Some(System)),
            (Asked(Caller), None, refused, true, Some(Caller)),
            (Unseen, None, refused, true, None),
        ] {
            let by = hung_up_by(seen, status, how, is_refused);
            assert_eq!(by, expected, "{seen:?} {status:?} {how:?}");
        }
    }
}
