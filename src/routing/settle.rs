//! What became of an attempt or a call: reported by the dialplan, observed by ARI, or inferred.
//!
//! All of it takes the call's row lock first, so facts about one call follow one another, and changes
//! only what is still open, so the second of two equal facts changes nothing.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tracing::{debug, info, warn};

use super::bulkhead::Purpose;
use super::sightings::Remaining;
use super::store::calls::{
    Attempt, AttemptEnd, CallEnd, CallUnderWay, ConfirmedBy, Outcome, SeenCall, Settling, SlotEnd,
    UnroutedCall, Waiting, keys_of,
};
use super::store::closed::Reported;
use super::{Arrival, Dialled, EndReport, Engine, Error, PreviousAttempt};
use crate::domain::{
    CallFact, CallId, DialStatus, Disposition, HangupCause, ReservationId, SeenChannel, SeenHangup,
    ServerName, UniqueId, hung_up_by,
};
use crate::runtime::metrics;

/// The log's columns are 32 bits wide; what claims to have lasted longer is not believed.
const MAX_SECONDS: i64 = i32::MAX as i64;

/// How long the end of a call may take to settle before it is kept for later: below the time the dialplan's report
/// has, and below the time that sessions have at the daemon's own end.
const SETTLE_LIMIT: Duration = Duration::from_millis(600);

/// What is known of the end of a call beyond its stored attempts.
#[derive(Debug, Clone, Copy)]
struct Ending {
    /// How long ago it was heard of, when the database was asked for its time. All times in the books are the
    /// database's. Taken before asking: so an end never counts as earlier than it came, and a question that was asked
    /// before it is found out.
    ago: Duration,
    /// Status of the last dial, if it was told.
    status: Option<DialStatus>,
    cause: Option<HangupCause>,
    answered_seconds: Option<u32>,
    /// Whether the status is about the open attempt or about something else that was dialled.
    about: About,
    /// Nobody reported or saw the end; it is inferred.
    lost: bool,
    /// Which side asked for it.
    hangup: SeenHangup,
    /// The dialplan told it.
    reported: bool,
}

/// What a status is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The open attempt, as nothing else was said.
    Attempt,
    /// The open attempt, which was named.
    NamedAttempt,
    /// Something else that was dialled.
    Other,
}

impl Ending {
    /// An end of which no more is known than that it has come.
    fn unreported(ago: Duration) -> Self {
        Self {
            ago,
            status: None,
            cause: None,
            answered_seconds: None,
            about: About::Attempt,
            lost: false,
            hangup: SeenHangup::Unseen,
            reported: false,
        }
    }

    /// What the dialplan reports, about the last of these attempts or something else.
    fn reported(report: &EndReport, last: Option<&Attempt>, ago: Duration) -> Self {
        let about = match report.dialled {
            Dialled::Unsaid => About::Attempt,
            Dialled::Reservation(id) if last.is_some_and(|a| a.reservation_id == id) => {
                About::NamedAttempt
            }
            Dialled::Nothing | Dialled::Fallback | Dialled::Reservation(_) => About::Other,
        };
        Self {
            status: report.status,
            // Where the caller gives up, Asterisk still has the cause of an earlier attempt.
            cause: match report.status {
                Some(DialStatus::Cancel) => Some(HangupCause::NORMAL),
                _ => report.cause,
            },
            answered_seconds: report.answered_seconds,
            about,
            reported: true,
            ..Self::unreported(ago)
        }
    }

    /// When it came, by the database's clock.
    fn at(&self, now: Timestamp) -> Timestamp {
        let ago = SignedDuration::try_from(self.ago).unwrap_or_default();
        now.checked_sub(ago).unwrap_or(now)
    }

    fn is_about_attempt(&self) -> bool {
        self.about != About::Other
    }
}

/// Where a call was seen, owned so that it may outlive what told it.
struct Seen<'a> {
    server: &'a ServerName,
    channel: &'a SeenChannel,
    system_name: Option<String>,
    contested: bool,
}

impl Engine {
    fn seen<'a>(&self, server: &'a ServerName, channel: &'a SeenChannel) -> Seen<'a> {
        let (system_name, contested) = self.sightings.standing(server);
        Seen {
            server,
            channel,
            system_name,
            contested,
        }
    }

    fn seen_call<'a>(&'a self, seen: &'a Seen<'a>) -> SeenCall<'a> {
        SeenCall {
            server: seen.server,
            system_name: seen.system_name.as_deref(),
            channel: seen.channel,
            seen_by: seen.contested.then_some(self.settings.node.as_str()),
        }
    }

    /// The attempt before this question is over, unless the question is about an earlier one: then the open one was
    /// offered in an answer that was lost.
    pub(super) async fn settle_previous(
        &self,
        arrival: &Arrival,
        previous: PreviousAttempt,
        about: Option<ReservationId>,
    ) -> Result<(), Error> {
        let heard = Instant::now();
        let remaining = self.target_gone(arrival).await;
        let _seat = (self.bulkhead)
            .enter(Purpose::Settle, &arrival.did, SETTLE_LIMIT)
            .await?;
        let ago = heard.elapsed();
        let Some(settling) = self.store.settle(arrival.call()).await? else {
            return Ok(());
        };
        let open = settling.open_attempt().cloned();
        let Some(open) = open.filter(|open| about.is_none_or(|id| id == open.reservation_id))
        else {
            settling.leave().await;
            return Ok(());
        };
        let end = attempt_end(
            &open,
            &Ending {
                status: Some(previous.status),
                cause: previous.cause,
                about: if about.is_some() {
                    About::NamedAttempt
                } else {
                    About::Attempt
                },
                ..Ending::unreported(ago)
            },
            settling.call.now,
        );
        debug!(call.uniqueid = %arrival.uniqueid, offer.attempt = open.attempt,
            dial.status = previous.status.as_str(), "attempt over");
        let slot = Slot::of(&settling, &remaining);
        settling
            .end_attempt(open.attempt, &end, slot.waiting())
            .await?;
        self.wait_for_leg(&slot, open.call_id, open.attempt).await
    }

    /// Settles and closes the call the dialplan reports as ended. Reported twice, or after it was
    /// observed to end, nothing changes. Where the database is away, the report is kept for later.
    pub async fn end(&self, report: EndReport) -> Result<(), Error> {
        let heard = Instant::now();
        let _settled = self.late.settle(&report.arrival.uniqueid, heard);
        // A database that stands still gives no error: its silence is one.
        match tokio::time::timeout(SETTLE_LIMIT, self.settle_end(&report, heard)).await {
            Ok(Err(error)) if error.is_transient() && self.late.keep(report.clone(), heard) => {
                warn!(%error, "the end of a call cannot be settled now: it is kept for later");
                Ok(())
            }
            Ok(settled) => settled,
            Err(_) => {
                self.late.keep(report, heard);
                warn!("the database does not answer: the end of a call is kept for later");
                Ok(())
            }
        }
    }

    pub(super) async fn settle_end(&self, report: &EndReport, heard: Instant) -> Result<(), Error> {
        let arrival = &report.arrival;
        let remaining = self.target_gone(arrival).await;
        // A target's wish is heard before its channel is gone, for which was waited.
        let hangup = (self.sightings).hangup_of(&arrival.uniqueid, &arrival.channel);
        let _seat = (self.bulkhead)
            .enter(Purpose::Settle, &arrival.did, SETTLE_LIMIT)
            .await?;
        let ago = heard.elapsed();
        // A call that is over already, first: a report of unknown age may be about that, and not the channel's next.
        if report.overdue && self.amend(report, heard).await? {
            return Ok(());
        }
        // Twice: the question of this call may be claiming for it this very moment.
        let mut settling = self.store.settle(arrival.call()).await?;
        if settling.is_none() {
            if self.log_unrouted(report, heard, None).await? {
                return Ok(());
            }
            settling = self.store.settle(arrival.call()).await?;
        }
        let Some(settling) = settling else {
            // Its unique id may be another Asterisk's call's.
            for key in keys_of(&arrival.uniqueid).iter().skip(1) {
                if self.log_unrouted(report, heard, Some(key.as_str())).await? {
                    return Ok(());
                }
            }
            return self.amend(report, heard).await.map(drop);
        };
        let named = report.reservation();
        let is_earlier =
            named.is_some_and(|id| !settling.attempts.iter().any(|a| a.reservation_id == id));
        // Whether it is about this call cannot be told; the channel's end, when it comes, can.
        let is_doubtful = report.overdue
            && named.is_none()
            && (self.sightings)
                .find(&arrival.uniqueid, &arrival.channel)
                .is_some();
        let began = settling.call.started_at;
        if is_earlier || is_doubtful || Ending::unreported(ago).at(settling.call.now) < began {
            // It was kept while the channel began its next call; the one it is about was closed then.
            settling.leave().await;
            if !is_doubtful {
                self.amend(report, heard).await?;
            }
            return Ok(());
        }
        let ending = Ending {
            hangup,
            ..Ending::reported(report, settling.attempts.last(), ago)
        };
        self.close(settling, &ending, &remaining).await
    }

    /// A call that another daemon, or an observer, ended before this report came: what the dialplan says is more than
    /// what was seen. `false` if there is none.
    async fn amend(&self, report: &EndReport, heard: Instant) -> Result<bool, Error> {
        let about = Reported {
            reservation: report.reservation(),
            ago: (!report.overdue).then(|| heard.elapsed().as_secs_f64()),
        };
        let found = (self.store).settle_closed(report.arrival.call(), about);
        let Some(mut closed) = found.await? else {
            return Ok(false);
        };
        let (now, ended_at) = (closed.call.now, closed.ended_at);
        // The attempt that was open to the end is so again.
        let open = closed.attempts.last_mut().filter(|last| {
            last.ended_at.is_some_and(|at| at >= ended_at)
                || about.reservation == Some(last.reservation_id)
        });
        if let Some(open) = open {
            open.ended_at = None;
        }
        let ago = Duration::try_from(now.duration_since(ended_at)).unwrap_or_default();
        let ending = Ending::reported(report, closed.attempts.last(), ago);
        let open = closed.attempts.iter().find(|a| a.ended_at.is_none());
        let attempt = open.map(|open| (open.attempt, attempt_end(open, &ending, now)));
        let attempt_end = attempt.as_ref().map(|(_, end)| end);
        let end = call_end(
            &closed.call,
            &closed.attempts,
            attempt_end,
            &ending,
            ended_at,
        );
        let settled = attempt.as_ref().map(|(number, end)| (*number, end));
        let (call_id, disposition) = (closed.call.call_id, end.disposition.as_str());
        if closed.amend(settled, &end).await? {
            metrics::reconcile_repairs("late_report", 1);
            info!(call.id = %call_id, call.uniqueid = %report.arrival.uniqueid, disposition,
                "the end of a call was reported after it had been seen: its record is corrected");
        }
        Ok(true)
    }

    /// Settles what an observer of an Asterisk server saw, when it was heard.
    pub async fn observe(
        &self,
        server: &ServerName,
        fact: CallFact,
        heard: Instant,
    ) -> Result<(), Error> {
        match fact {
            // Seen is enough, see `sight`.
            CallFact::Made(_) | CallFact::Dialled { .. } | CallFact::HangupRequested { .. } => {
                Ok(())
            }
            CallFact::Answered { caller, endpoint } => {
                self.observe_answer(server, &caller, &endpoint, heard).await
            }
            CallFact::AttemptFailed {
                caller,
                endpoint,
                status,
            } => {
                self.observe_failure(server, &caller, &endpoint, status)
                    .await
            }
            CallFact::Gone { channel, cause } => {
                self.observe_end(server, &channel, cause, heard).await
            }
        }
    }

    async fn observe_end(
        &self,
        server: &ServerName,
        channel: &SeenChannel,
        cause: Option<HangupCause>,
        heard: Instant,
    ) -> Result<(), Error> {
        // What was reported says more than that the channel is gone.
        if self.late.is_about(&channel.uniqueid) {
            self.settle_late_reports().await?;
        }
        if let Some((call, attempt)) = self.sightings.take_waiting(server, &channel.uniqueid) {
            let freed = (self
                .store
                .release_reservation(call, attempt, SlotEnd::Released))
            .await?;
            debug!(call.id = %call, offer.attempt = attempt, freed, "the target's channel is gone");
        }
        let remaining = self.sightings.remaining_of(server, &channel.uniqueid);
        let seen = self.seen(server, channel);
        let ago = heard.elapsed();
        let Some(settling) = self.store.settle_seen(self.seen_call(&seen)).await? else {
            return Ok(());
        };
        info!(call.id = %settling.call.call_id, call.uniqueid = %channel.uniqueid, server = %server,
            "call ended without a report; its channel was seen to go");
        let ending = Ending {
            cause,
            hangup: self.sightings.hangup_on(server, &channel.uniqueid),
            ..Ending::unreported(ago)
        };
        self.close(settling, &ending, &remaining).await
    }

    async fn observe_answer(
        &self,
        server: &ServerName,
        caller: &SeenChannel,
        endpoint: &str,
        heard: Instant,
    ) -> Result<(), Error> {
        let offered = |attempt: &Attempt| attempt.endpoint == endpoint;
        self.confirm_seen(server, caller, offered, ConfirmedBy::Event, heard)
            .await
            .map(drop)
    }

    /// Confirms the open attempt of a call that was seen, if it is the one meant and not known to be answered.
    pub(super) async fn confirm_seen(
        &self,
        server: &ServerName,
        caller: &SeenChannel,
        meant: impl Fn(&Attempt) -> bool,
        by: ConfirmedBy,
        heard: Instant,
    ) -> Result<bool, Error> {
        let seen = self.seen(server, caller);
        let call = self.seen_call(&seen);
        let ago = heard.elapsed();
        let Some((settling, open)) = self.unanswered_attempt(call, meant).await? else {
            return Ok(false);
        };
        let at = Ending::unreported(ago).at(settling.call.now);
        debug!(call.uniqueid = %caller.uniqueid, offer.attempt = open.attempt, "attempt answered");
        let found = Some((&call, self.settings.node.as_str()));
        settling
            .confirm(open.attempt, at.max(open.offered_at), by, found)
            .await?;
        Ok(true)
    }

    async fn observe_failure(
        &self,
        server: &ServerName,
        caller: &SeenChannel,
        endpoint: &str,
        status: DialStatus,
    ) -> Result<(), Error> {
        let offered = |attempt: &Attempt| attempt.endpoint == endpoint;
        let seen = self.seen(server, caller);
        let found = self.unanswered_attempt(self.seen_call(&seen), offered);
        if let Some((settling, open)) = found.await? {
            settling.note_status(open.attempt, status, None).await?;
        }
        Ok(())
    }

    /// The dialplan holds an offer we know of, yet is talking to somebody else: the offer never reached
    /// it, and its slot is free.
    pub(super) async fn release_undialled(
        &self,
        server: &ServerName,
        caller: &SeenChannel,
        attempt: u32,
    ) -> Result<(), Error> {
        let same = |open: &Attempt| open.attempt == attempt;
        let seen = self.seen(server, caller);
        let found = self.unanswered_attempt(self.seen_call(&seen), same);
        if let Some((settling, open)) = found.await? {
            let ending = Ending {
                about: About::Other,
                ..Ending::unreported(Duration::ZERO)
            };
            let end = attempt_end(&open, &ending, settling.call.now);
            settling.end_attempt(open.attempt, &end, None).await?;
        }
        Ok(())
    }

    /// The target has left a call that goes on without it: transferred, or sent elsewhere. Its slot is free.
    pub(super) async fn release_departed(
        &self,
        server: &ServerName,
        caller: &SeenChannel,
        attempt: u32,
    ) -> Result<(), Error> {
        let seen = self.seen(server, caller);
        let Some(settling) = self.store.settle_seen(self.seen_call(&seen)).await? else {
            return Ok(());
        };
        let open = settling.open_attempt().cloned();
        let Some(open) = open.filter(|a| a.attempt == attempt && a.answered_at.is_some()) else {
            settling.leave().await;
            return Ok(());
        };
        info!(call.id = %open.call_id, call.uniqueid = %caller.uniqueid, offer.attempt = attempt,
            "the target has left the call, which goes on without it: its slot is freed");
        let ending = Ending::unreported(Duration::ZERO);
        let end = attempt_end(&open, &ending, settling.call.now);
        Ok(settling.end_attempt(attempt, &end, None).await?)
    }

    /// A call under way, locked, with its open attempt, if that is the one meant and not known to be
    /// answered.
    async fn unanswered_attempt(
        &self,
        call: SeenCall<'_>,
        meant: impl Fn(&Attempt) -> bool,
    ) -> Result<Option<(Settling, Attempt)>, Error> {
        let Some(settling) = self.store.settle_seen(call).await? else {
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
    pub(super) async fn close_as_lost(&self, call_id: CallId) -> Result<bool, Error> {
        let Some(settling) = self.store.settle_by_id(call_id).await? else {
            return Ok(false);
        };
        if settling.open_attempt().is_some() {
            metrics::reservations_expired(1);
        }
        let ending = Ending {
            lost: true,
            ..Ending::unreported(Duration::ZERO)
        };
        self.close(settling, &ending, &Remaining::Nothing).await?;
        Ok(true)
    }

    /// Takes back the slot of a call's open attempt, which counts as lost; the call goes on.
    pub(super) async fn release_attempt(
        &self,
        call_id: CallId,
        attempt: u32,
    ) -> Result<bool, Error> {
        let Some(settling) = self.store.settle_by_id(call_id).await? else {
            // Its call is not under way: what is left of it is taken back.
            return Ok(self.store.expire_reservations(call_id).await? > 0);
        };
        let open = settling.open_attempt().cloned();
        let Some(open) = open.filter(|open| open.attempt == attempt) else {
            settling.leave().await;
            return Ok(false);
        };
        let ending = Ending {
            lost: true,
            ..Ending::unreported(Duration::ZERO)
        };
        let end = attempt_end(&open, &ending, settling.call.now);
        settling.end_attempt(attempt, &end, None).await?;
        Ok(true)
    }

    /// Ends a call because its channel has begun another one.
    pub(super) async fn close_before_next(
        &self,
        call_id: CallId,
        arrival: &Arrival,
    ) -> Result<(), Error> {
        // The target may be on its way out still.
        let remaining = self.target_gone(arrival).await;
        let Some(settling) = self.store.settle_by_id(call_id).await? else {
            return Ok(());
        };
        let ending = Ending::unreported(Duration::ZERO);
        self.close(settling, &ending, &remaining).await
    }

    /// `false` if the call is in the log already, or came under way. `key` where its unique id is another call's.
    async fn log_unrouted(
        &self,
        report: &EndReport,
        heard: Instant,
        key: Option<&str>,
    ) -> Result<bool, Error> {
        let arrival = &report.arrival;
        let sighting = self.sightings.find(&arrival.uniqueid, &arrival.channel);
        let answered = report.status == Some(DialStatus::Answer);
        let call = UnroutedCall {
            uniqueid: &arrival.uniqueid,
            linkedid: arrival.linkedid(),
            channel: &arrival.channel,
            server: sighting.as_ref().map(|s| &s.server),
            node: &self.settings.node,
            did: &arrival.did,
            caller: &arrival.caller,
            system_name: arrival.system_name.as_ref(),
            reservation: report.reservation(),
            overdue: report.overdue,
            ended_ago: heard.elapsed().as_secs_f64(),
            duration_seconds: report.dialed_seconds.unwrap_or(0).min(MAX_SECONDS as u32),
            answered_seconds: answered.then(|| report.answered_seconds.unwrap_or(0)),
            disposition: Disposition::of_last_attempt(report.status),
            cause: report.cause,
        };
        let logged = self.store.log_unrouted(&call, key).await?;
        if logged {
            metrics::reconcile_repairs("unrouted_call", 1);
            info!(call.uniqueid = %arrival.uniqueid, disposition = call.disposition.as_str(),
                "logged a call that ended without having been routed here");
        }
        Ok(logged)
    }

    /// A slot that was left open for the target's channel is released when that is seen to go; should it have gone
    /// while this was written, at once.
    async fn wait_for_leg(&self, slot: &Slot, call: CallId, attempt: u32) -> Result<(), Error> {
        let Slot::Waits(server, Some(leg)) = slot else {
            return Ok(());
        };
        if !self.sightings.note_waiting(server, leg, call, attempt) {
            (self
                .store
                .release_reservation(call, attempt, SlotEnd::Released))
            .await?;
        }
        Ok(())
    }

    /// Closes a locked call.
    async fn close(
        &self,
        settling: Settling,
        ending: &Ending,
        remaining: &Remaining,
    ) -> Result<(), Error> {
        let call = &settling.call;
        if call.over_at.is_some() {
            // Logged when its end was reported.
            settling.leave().await;
            return Ok(());
        }
        let at = ending.at(call.now).max(call.started_at);
        let open = settling.open_attempt().cloned();
        let attempt = open
            .as_ref()
            .map(|open| (open.attempt, attempt_end(open, ending, call.now)));
        let attempt_end = attempt.as_ref().map(|(_, end)| end);
        let end = call_end(call, &settling.attempts, attempt_end, ending, at);
        let (call_id, duration_seconds) = (call.call_id, end.duration_seconds);
        let refused = call.refused_at.is_some() && !end.overrules_refusal;
        let slot = match &attempt {
            // What was never dialled has no channel; what is lost is not seen.
            Some((_, end)) if end.outcome != Outcome::NotDialled && !ending.lost => {
                Slot::of(&settling, remaining)
            }
            _ => Slot::Free,
        };
        let settled = attempt.as_ref().map(|(number, end)| (*number, end));
        let closed = settling.end_call(settled, &end, slot.waiting()).await?;
        if let Some((number, _)) = attempt {
            self.wait_for_leg(&slot, call_id, number).await?;
        }
        if closed {
            let disposition = if refused {
                "refused"
            } else {
                end.disposition.as_str()
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
}

/// What becomes of a slot whose attempt is over.
#[derive(Debug, Clone)]
enum Slot {
    /// It is given back.
    Free,
    /// It waits for the target's channel on a server; which one that is only its observer knows, if not said.
    Waits(ServerName, Option<UniqueId>),
}

impl Slot {
    /// The target's channel may still be there: as we see, or as another daemon sees that watches the server.
    fn of(settling: &Settling, remaining: &Remaining) -> Self {
        match (remaining, &settling.call.server) {
            (Remaining::Leg(server, leg), _) => Self::Waits(server.clone(), Some(leg.clone())),
            (Remaining::Unknown(server), _) => Self::Waits(server.clone(), None),
            (Remaining::Unseen, Some(server)) if settling.call.observed => {
                Self::Waits(server.clone(), None)
            }
            _ => Self::Free,
        }
    }

    fn waiting(&self) -> Option<Waiting<'_>> {
        match self {
            Self::Free => None,
            Self::Waits(server, leg) => Some(Waiting {
                server,
                leg: leg.as_ref(),
            }),
        }
    }
}

/// How a call ended, from its attempts and what is known of its end.
fn call_end(
    call: &CallUnderWay,
    attempts: &[Attempt],
    open_end: Option<&AttemptEnd>,
    ending: &Ending,
    at: Timestamp,
) -> CallEnd {
    let open = attempts.iter().find(|a| a.ended_at.is_none());
    let talked_before = attempts
        .iter()
        .find(|a| a.ended_at.is_some() && a.answered_at.is_some());
    let talks_now = open.filter(|_| open_end.is_some_and(|end| end.outcome == Outcome::Answered));
    let talked = talked_before.or(talks_now);
    let fallback_answered =
        !ending.is_about_attempt() && ending.status == Some(DialStatus::Answer) && talked.is_none();
    // The attempt that talked, or else the last that was really dialled.
    let target = talked
        .or(open.filter(|_| open_end.is_some_and(|end| end.outcome != Outcome::NotDialled)))
        .or_else(|| attempts.iter().rfind(|a| a.ended_at.is_some()))
        .filter(|_| !fallback_answered);
    let reported = i64::from(ending.answered_seconds.unwrap_or(0));
    let answered_at = match (talked_before, talks_now) {
        (Some(before), _) => before.answered_at,
        (None, Some(_)) => open_end.and_then(|end| end.answered_at),
        (None, None) => fallback_answered.then(|| earlier(at, reported).max(call.started_at)),
    };
    // Talking ended with the target, which may have left before the caller.
    let talked_until = talked_before.and_then(|a| a.ended_at).unwrap_or(at);
    let last_status = attempts.iter().rev().find_map(|a| a.status);
    let disposition = match ending.status.or(last_status) {
        _ if answered_at.is_some() => Disposition::Answered,
        // What the log says of a refused call stands; see `close_call.sql`.
        status if !ending.lost => Disposition::of_last_attempt(status),
        _ => last_status.map_or(Disposition::Failed, |s| {
            Disposition::of_last_attempt(Some(s))
        }),
    };
    let duration = seconds_between(call.started_at, at);
    CallEnd {
        disposition,
        at,
        answered_at,
        duration_seconds: duration,
        billed_seconds: answered_at.map_or(0, |answered| {
            // What was reported is about the last that was dialled.
            let reported = ending.answered_seconds.filter(|_| talked_before.is_none());
            billed_seconds(answered, talked_until, reported).min(duration)
        }),
        cause: ending.cause,
        target: target.map(|a| (a.client_id, a.link_id)),
        attempts: attempts.len() as u32,
        hung_up_by: hung_up_by(
            ending.hangup,
            ending.status,
            disposition,
            call.refused_at.is_some(),
        )
        .filter(|_| !ending.lost),
        overrules_refusal: fallback_answered,
        reported: ending.reported,
    }
}

/// Seconds talked. Asterisk counts from the answer it saw itself, which may be that of a menu before the target: what
/// it says counts as far as the target has talked that long.
fn billed_seconds(answered: Timestamp, until: Timestamp, reported: Option<u32>) -> u32 {
    let milliseconds = until.duration_since(answered).as_millis().max(0);
    let seen = u32::try_from(milliseconds / 1_000).unwrap_or(u32::MAX);
    match reported {
        // Both clocks count whole seconds from moments that differ by a little.
        Some(reported) if reported <= seen.saturating_add(1) => reported,
        _ => seen,
    }
}

fn seconds_between(start: Timestamp, end: Timestamp) -> u32 {
    end.duration_since(start).as_secs().clamp(0, MAX_SECONDS) as u32
}

/// How the open attempt of a call ended.
fn attempt_end(open: &Attempt, ending: &Ending, now: Timestamp) -> AttemptEnd {
    let about = ending.is_about_attempt();
    let reported_answer = about && ending.status == Some(DialStatus::Answer);
    // Where the dialplan is silent, what was observed stands.
    let status = ending.status.filter(|_| about).or(open.status);
    // What was only inferred, the dialplan's word takes back; what the target's own channel said, only a word that
    // names the attempt.
    let inferred = open.confirmed_by != Some(ConfirmedBy::Event);
    let denied = about
        && (inferred || ending.about == About::NamedAttempt)
        && matches!(
            ending.status,
            Some(
                DialStatus::Busy
                    | DialStatus::NoAnswer
                    | DialStatus::Congestion
                    | DialStatus::ChanUnavail
            )
        );
    let outcome = if open.answered_at.is_some() && !denied || reported_answer {
        Outcome::Answered
    } else if ending.lost && status.is_none() {
        Outcome::Lost
    } else if !about && open.status.is_none() {
        Outcome::NotDialled
    } else {
        match status {
            None | Some(DialStatus::Cancel) => Outcome::Abandoned,
            Some(_) => Outcome::Failed,
        }
    };
    let at = ending.at(now).max(open.offered_at);
    let answered_at = (outcome == Outcome::Answered).then(|| {
        let reported = ending
            .answered_seconds
            .map_or(at, |seconds| earlier(at, i64::from(seconds)));
        open.answered_at.unwrap_or(reported).max(open.offered_at)
    });
    AttemptEnd {
        outcome,
        status,
        cause: ending.cause.filter(|_| about),
        answered_at,
        at,
    }
}

fn earlier(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_sub(SignedDuration::from_secs(seconds))
        .unwrap_or(at)
}
