//! `route,<did>,<linkedid>,<previous DIALSTATUS>,<previous HANGUPCAUSE>,<reservation>,<announces>,<tags>,<server>`: where
//! does this call go next? The words of `<announces>` and `<tags>` are taken and mean nothing yet.
//!
//! The answer is one exchange as a rule. Every variable is set in every answer, so that nothing of an
//! earlier one is left, and the verdict last: a dialplan that sees it has all the others.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::Said;

use crate::asterisk::agi::fault::{Fault, Faults};
use crate::asterisk::agi::session::Session;
use crate::asterisk::agi::wire::{self, CommandError, Environment};
use crate::asterisk::agi::{Router, vars};
use crate::domain::candidate::is_endpoint_id;
use crate::domain::{DialStatus, HangupCause, ReservationId};
use crate::routing::{Offer, PreviousAttempt, Refusal, RouteRequest, Verdict};

pub(super) fn request(
    environment: &Environment<'_>,
    peer: SocketAddr,
    patience: Duration,
) -> Result<RouteRequest, Fault> {
    let asked = Instant::now();
    let said = Said {
        did: environment.argument(1),
        linkedid: environment.argument(2),
        system_name: environment.argument(8),
    };
    let reservation = environment.argument(5);
    Ok(RouteRequest {
        arrival: super::arrival(environment, peer, &said)?,
        previous: previous(
            &environment.argument(3).unwrap_or_default(),
            &environment.argument(4).unwrap_or_default(),
        ),
        about: reservation
            .and_then(|id| id.parse().ok())
            .map(ReservationId),
        asked: asked.into_std(),
        deadline: (asked + patience).into_std(),
    })
}

/// An empty status is that of a call that has not dialled yet. One that Asterisk has learnt since we
/// did is a failure of the target: asking on is safe, offering the same target again is not.
fn previous(status: &str, cause: &str) -> Option<PreviousAttempt> {
    let status = match DialStatus::parse(status) {
        Some(status) => status,
        None if status.is_empty() => return None,
        None => DialStatus::ChanUnavail,
    };
    let cause = HangupCause::parse(cause);
    Some(PreviousAttempt { status, cause })
}

pub(super) async fn run<R: Router>(
    session: &mut Session,
    router: &R,
    request: RouteRequest,
    faults: &Faults,
) -> Result<(), Fault> {
    // After a standstill of ours there may be questions whose askers have long gone elsewhere.
    session.refuse_if_left()?;
    let deadline = Instant::from_std(request.deadline);
    let verdict = super::in_time(session, deadline, faults, router.route(request)).await?;
    match verdict {
        None => {
            debug!("the verdict came too late and was not sent");
            Ok(())
        }
        Some(Verdict::Dial(offer)) => dial(session, &offer).await,
        Some(Verdict::Reject(refusal)) => reject(session, &refusal).await,
    }
}

async fn dial(session: &mut Session, offer: &Offer) -> Result<(), Fault> {
    if !is_endpoint_id(&offer.endpoint) {
        let name = vars::ENDPOINT;
        return Err(Fault::Unsendable(CommandError::NotPlain { name }));
    }
    let timeout = offer.ring_timeout_seconds.to_string();
    let call = offer.call_id.to_string();
    let attempt = offer.attempt.to_string();
    let reservation = offer.reservation_id.to_string();
    let recording = offer.recording.as_ref();
    let announcement = recording.and_then(|r| r.announcement.as_deref());
    let mut values = [
        (vars::ENDPOINT, &*offer.endpoint),
        (vars::TIMEOUT, &*timeout),
        (vars::CALL, &*call),
        (vars::ATTEMPT, &*attempt),
        (vars::RESERVATION, &*reservation),
        (vars::CALLERID, offer.caller_id.as_deref().unwrap_or("")),
        (vars::RECORDING, recording.map_or("", |r| r.stem.as_str())),
        (vars::ANNOUNCEMENT, announcement.unwrap_or("")),
        (vars::REASON, ""),
        (vars::CAUSE, ""),
        (vars::VERDICT, "DIAL"),
    ];
    // Free text goes first and by itself, and is then left out of the common line.
    let mut kept = 0;
    for i in 0..values.len() {
        let (name, value) = values[i];
        let free_text = matches!(name, vars::CALLERID | vars::ANNOUNCEMENT);
        if free_text && !wire::is_plain(value) {
            session.set_variable(name, value).await?;
        } else {
            values[kept] = values[i];
            kept += 1;
        }
    }
    session.set_variables(&values[..kept]).await
}

async fn reject(session: &mut Session, refusal: &Refusal) -> Result<(), Fault> {
    let call = refusal.call_id.to_string();
    let cause = refusal.cause.to_string();
    let values = [
        (vars::ENDPOINT, ""),
        (vars::TIMEOUT, ""),
        (vars::CALL, &*call),
        (vars::ATTEMPT, ""),
        (vars::RESERVATION, ""),
        (vars::CALLERID, ""),
        (vars::RECORDING, ""),
        (vars::ANNOUNCEMENT, ""),
        (vars::REASON, refusal.reason.as_str()),
        (vars::CAUSE, &*cause),
        (vars::VERDICT, "REJECT"),
    ];
    session.set_variables(&values).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_previous_attempt_is_read() {
        assert_eq!(previous("", ""), None);
        assert_eq!(previous("", "16"), None);
        let busy = previous("BUSY", "17").expect("an attempt");
        assert_eq!(busy.status, DialStatus::Busy);
        assert_eq!(busy.cause, Some(HangupCause::USER_BUSY));
        let strange = previous("NEWSTATUS", "x").expect("an attempt");
        assert_eq!(strange.status, DialStatus::ChanUnavail);
        assert_eq!(strange.cause, None);
    }

    #[test]
    fn an_endpoint_cannot_carry_a_second_target() {
        assert!(is_endpoint_id("acme_callcenter-1.eu"));
        for id in [
            "",
            "a&PJSIP/b",
            "a@b",
            "a/b",
            "a,b",
            "${x}",
            "a b",
            "a\n",
            "sip:a",
        ] {
            assert!(!is_endpoint_id(id), "{id:?}");
        }
    }
}
