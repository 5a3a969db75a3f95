//! What became of an attempt or a call: reported by the dialplan, observed by ARI, or inferred.
//!
//! All of it takes the call's row lock first, so facts about one call follow one another, and changes
//! only what is still open, so the second of two equal facts changes nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, info, warn};

use super::{Arrival, Dialled, EndReport, Engine, Error, PreviousAttempt};
use crate::clock;
use crate::domain::{CallFact, CallId, DialStatus, Disposition, HangupCause, ServerName, UniqueId};
use crate::metrics;
use crate::store::calls::{Attempt, AttemptEnd, CallEnd, Outcome, Settling, UnroutedCall};

/// The log's columns are 32 bits wide; what claims to have lasted longer is not believed.
const MAX_SECONDS: i64 = i32::MAX as i64;

/// How long the end of a call may take to settle before it is kept for later. With the wait for the target's
/// channel it stays below the time the dialplan's report has.
const SETTLE_LIMIT: Duration = Duration::from_millis(900);

/// What is known of the end of a call beyond its stored attempts.
#[derive(Debug, Clone, Copy)]
struct Ending {
    at: Timestamp,
    /// Status of the last dial, if it was told.
    status: Option<DialStatus>,
    cause: Option<HangupCause>,
    answered_seconds: Option<u32>,
    /// Whether the status is about the open attempt or about something else that was dialled.
    about_attempt: bool,
    /// Nobody reported or saw the end; it is inferred.
    lost: bool,
}

impl Ending {
    /// An end of which no more is known than that it has come.
    fn unreported(at: Timestamp) -> Self {
        Self {
            at,
            status: None,
            cause: None,
            answered_seconds: None,
            about_attempt: true,
            lost: false,
        }
    }
}

impl Engine {
    /// The attempt before this question is over.
    pub(super) async fn settle_previous(
        &self,
        arrival: &Arrival,
        previous: PreviousAttempt,
    ) -> Result<(), Error> {
        let at = clock::now();
        self.target_gone(arrival).await;
        let Some(settling) = self.store.settle(&arrival.uniqueid).await? else {
            return Ok(());
        };
        let Some(open) = settling.open_attempt().cloned() else {
            settling.leave().await;
            return Ok(());
        };
        let end = attempt_end(
            &open,
            &Ending {
                status: Some(previous.status),
                cause: previous.cause,
                ..Ending::unreported(at)
            },
        );
        debug!(call.uniqueid = %arrival.uniqueid, offer.attempt = open.attempt,
            dial.status = previous.status.as_str(), "attempt over");
        Ok(settling.end_attempt(&end).await?)
    }

    /// Settles and closes the call the dialplan reports as ended. Reported twice, or after it was
    /// observed to end, nothing changes. Where the database is away, the report is kept for later.
    pub async fn end(&self, report: EndReport) -> Result<(), Error> {
        let now = clock::now();
        self.target_gone(&report.arrival).await;
        // A database that stands still gives no error: its silence is one.
        match tokio::time::timeout(SETTLE_LIMIT, self.settle_end(&report, now)).await {
            Ok(Err(error)) if error.is_transient() && self.late.keep(report.clone(), now) => {
                warn!(%error, "the end of a call cannot be settled now: it is kept for later");
                Ok(())
            }
            Ok(settled) => settled,
            Err(_) => {
                self.late.keep(report, now);
                warn!("the database does not answer: the end of a call is kept for later");
                Ok(())
            }
        }
    }

    pub(super) async fn settle_end(&self, report: &EndReport, now: Timestamp) -> Result<(), Error> {
        let arrival = &report.arrival;
        // Twice: the question of this call may be claiming for it this very moment.
        let mut settling = self.store.settle(&arrival.uniqueid).await?;
        if settling.is_none() && !self.log_unrouted(report, now).await? {
            settling = self.store.settle(&arrival.uniqueid).await?;
        }
        let Some(settling) = settling else {
            return Ok(());
        };
        let about_attempt = match report.dialled {
            Dialled::Unsaid => true,
            Dialled::Nothing | Dialled::Fallback => false,
            Dialled::Reservation(id) => settling
                .attempts
                .last()
                .is_some_and(|a| a.reservation_id == id),
        };
        let ending = Ending {
            at: now,
            status: report.status,
            // Where the caller gives up, Asterisk still has the cause of an earlier attempt.
            cause: match report.status {
                Some(DialStatus::Cancel) => Some(HangupCause::NORMAL),
                _ => report.cause,
            },
            answered_seconds: report.answered_seconds,
            about_attempt,
            lost: false,
        };
        close(settling, &ending).await
    }

    /// Settles what an observer of an Asterisk server saw.
    pub async fn observe(&self, server: &ServerName, fact: CallFact) -> Result<(), Error> {
        match fact {
            // Seen is enough, see `sight`.
            CallFact::Dialled { .. } => Ok(()),
            CallFact::Answered {
                caller,
                endpoint,
                at,
            } => self.observe_answer(&caller, &endpoint, at).await,
            CallFact::AttemptFailed {
                caller,
                endpoint,
                status,
                at: _,
            } => self.observe_failure(&caller, &endpoint, status).await,
            CallFact::Gone { channel, cause, at } => {
                self.legs.gone(server, &channel).await;
                let Some(settling) = self.store.settle(&channel).await? else {
                    return Ok(());
                };
                info!(call.id = %settling.call.call_id, call.uniqueid = %channel, server = %server,
                    "call ended without a report; its channel was seen to go");
                let ending = Ending {
                    cause,
                    ..Ending::unreported(at)
                };
                close(settling, &ending).await
            }
        }
    }

    async fn observe_answer(
        &self,
        caller: &UniqueId,
        endpoint: &str,
        at: Timestamp,
    ) -> Result<(), Error> {
        let offered = |attempt: &Attempt| attempt.endpoint == endpoint;
        if let Some((settling, open)) = self.unanswered_attempt(caller, offered).await? {
            debug!(call.uniqueid = %caller, offer.attempt = open.attempt, "attempt answered");
            settling
                .confirm(open.attempt, at.max(open.offered_at))
                .await?;
        }
        Ok(())
    }

    async fn observe_failure(
        &self,
        caller: &UniqueId,
        endpoint: &str,
        status: DialStatus,
    ) -> Result<(), Error> {
        let offered = |attempt: &Attempt| attempt.endpoint == endpoint;
        if let Some((settling, open)) = self.unanswered_attempt(caller, offered).await? {
            settling.note_status(open.attempt, status, None).await?;
        }
        Ok(())
    }

    /// The dialplan holds an offer we know of, yet is talking to somebody else: the offer never reached
    /// it, and its slot is free.
    pub(super) async fn release_undialled(
        &self,
        caller: &UniqueId,
        attempt: u32,
    ) -> Result<(), Error> {
        let same = |open: &Attempt| open.attempt == attempt;
        if let Some((settling, open)) = self.unanswered_attempt(caller, same).await? {
            let ending = Ending {
                about_attempt: false,
                ..Ending::unreported(clock::now())
            };
            settling.end_attempt(&attempt_end(&open, &ending)).await?;
        }
        Ok(())
    }

    /// A call under way, locked, with its open attempt, if that is the one meant and not known to be
    /// answered.
    pub(super) async fn unanswered_attempt(
        &self,
        caller: &UniqueId,
        meant: impl Fn(&Attempt) -> bool,
    ) -> Result<Option<(Settling, Attempt)>, Error> {
        let Some(settling) = self.store.settle(caller).await? else {
            return Ok(None);
        };
        let open = settling
            .open_attempt()
            .filter(|a| a.answered_at.is_none() && meant(a))
            .cloned();
        if let Some(open) = open {
            return Ok(Some((settling, open)));
        }
        settling.leave().await;
        Ok(None)
    }

    /// Ends a call whose end nobody reported or saw.
    pub(super) async fn close_as_lost(&self, call_id: CallId) -> Result<(), Error> {
        let Some(settling) = self.store.settle_by_id(call_id).await? else {
            return Ok(());
        };
        if settling.open_attempt().is_some() {
            metrics::reservations_expired(1);
        }
        let ending = Ending {
            lost: true,
            ..Ending::unreported(clock::now())
        };
        close(settling, &ending).await
    }

    /// `false` if the call is in the log already, or came under way.
    async fn log_unrouted(&self, report: &EndReport, now: Timestamp) -> Result<bool, Error> {
        let arrival = &report.arrival;
        let seconds = i64::from(report.dialed_seconds.unwrap_or(0));
        let started_at = earlier(now, seconds);
        let answered_at = (report.status == Some(DialStatus::Answer))
            .then(|| earlier(now, i64::from(report.answered_seconds.unwrap_or(0))));
        let end = call_end(
            started_at,
            answered_at,
            report.answered_seconds,
            now,
            Disposition::of_last_attempt(report.status),
            report.cause,
        );
        let logged = self
            .store
            .log_unrouted(&UnroutedCall {
                uniqueid: &arrival.uniqueid,
                linkedid: arrival.linkedid(),
                channel: &arrival.channel,
                server: self.server_of(arrival),
                node: &self.settings.node,
                did: &arrival.did,
                caller: &arrival.caller,
                started_at,
                end: &end,
            })
            .await?;
        if logged {
            metrics::reconcile_repairs("unrouted_call", 1);
            info!(call.uniqueid = %arrival.uniqueid, disposition = end.disposition.as_str(),
                "logged a call that ended without having been routed here");
        }
        Ok(logged)
    }
}

/// Closes a locked call.
async fn close(settling: Settling, ending: &Ending) -> Result<(), Error> {
    let call = &settling.call;
    if call.over_at.is_some() {
        // Logged when its end was reported.
        settling.leave().await;
        return Ok(());
    }
    let open = settling.open_attempt().cloned();
    let attempt = open.as_ref().map_or_else(
        || AttemptEnd {
            // There is none to settle; the statement finds no row.
            outcome: Outcome::Lost,
            status: None,
            cause: None,
            answered_at: None,
            at: ending.at,
        },
        |open| attempt_end(open, ending),
    );
    let talked = settling.attempts.iter().find(|a| a.answered_at.is_some());
    let fallback_answered =
        !ending.about_attempt && ending.status == Some(DialStatus::Answer) && talked.is_none();
    // The attempt that talked, or else the last that was really dialled.
    let target = talked
        .or(open
            .as_ref()
            .filter(|_| attempt.outcome != Outcome::NotDialled))
        .or_else(|| settling.attempts.iter().rfind(|a| a.ended_at.is_some()))
        .filter(|_| !fallback_answered);
    let answered_at = talked
        .and_then(|a| a.answered_at)
        .or(attempt.answered_at)
        .or_else(|| {
            fallback_answered
                .then(|| earlier(ending.at, i64::from(ending.answered_seconds.unwrap_or(0))))
        });
    let last_status = settling.attempts.iter().rev().find_map(|a| a.status);
    let disposition = match ending.status.or(last_status) {
        _ if answered_at.is_some() => Disposition::Answered,
        // What the log says of a refused call stands; see `close_call.sql`.
        status if !ending.lost => Disposition::of_last_attempt(status),
        _ => last_status.map_or(Disposition::Failed, |s| {
            Disposition::of_last_attempt(Some(s))
        }),
    };
    let at = ending.at.max(call.started_at);
    let end = CallEnd {
        target: target.map(|a| (a.client_id, a.link_id)),
        attempts: settling.attempts.len() as u32,
        ..call_end(
            call.started_at,
            answered_at,
            ending.answered_seconds.filter(|_| answered_at.is_some()),
            at,
            disposition,
            ending.cause,
        )
    };
    let (call_id, duration_seconds) = (call.call_id, end.duration_seconds);
    let refused = call.refused_at.is_some();
    if settling.end_call(&attempt, &end).await? {
        let disposition = if refused {
            "refused"
        } else {
            disposition.as_str()
        };
        info!(
            call.id = %call_id,
            disposition,
            hangup.cause = end.cause.map(HangupCause::value),
            duration_seconds,
            billed_seconds = end.billed_seconds,
            "call ended: {disposition}"
        );
    }
    Ok(())
}

/// How the open attempt of a call ended.
fn attempt_end(open: &Attempt, ending: &Ending) -> AttemptEnd {
    let reported_answer = ending.about_attempt && ending.status == Some(DialStatus::Answer);
    // Where the dialplan is silent, what was observed stands.
    let status = ending
        .status
        .filter(|_| ending.about_attempt)
        .or(open.status);
    let outcome = if open.answered_at.is_some() || reported_answer {
        Outcome::Answered
    } else if ending.lost && status.is_none() {
        Outcome::Lost
    } else if !ending.about_attempt && open.status.is_none() {
        Outcome::NotDialled
    } else {
        match status {
            None | Some(DialStatus::Cancel) => Outcome::Abandoned,
            Some(_) => Outcome::Failed,
        }
    };
    let at = ending.at.max(open.offered_at);
    let answered_at = (outcome == Outcome::Answered).then(|| {
        let reported = ending
            .answered_seconds
            .map_or(at, |seconds| earlier(at, i64::from(seconds)));
        open.answered_at.unwrap_or(reported).max(open.offered_at)
    });
    AttemptEnd {
        outcome,
        status,
        cause: ending.cause.filter(|_| ending.about_attempt),
        answered_at,
        at,
    }
}

fn call_end(
    started_at: Timestamp,
    answered_at: Option<Timestamp>,
    answered_seconds: Option<u32>,
    at: Timestamp,
    disposition: Disposition,
    cause: Option<HangupCause>,
) -> CallEnd {
    let seconds_since =
        |start: Timestamp| at.duration_since(start).as_secs().clamp(0, MAX_SECONDS) as u32;
    CallEnd {
        disposition,
        at,
        answered_at,
        duration_seconds: seconds_since(started_at),
        // Asterisk counts from the answer it saw itself; where it did not say, we do.
        billed_seconds: answered_at.map_or(0, |answered| {
            answered_seconds.unwrap_or(seconds_since(answered))
        }),
        cause,
        target: None,
        attempts: 0,
    }
}

fn earlier(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_sub(SignedDuration::from_secs(seconds))
        .unwrap_or(at)
}
