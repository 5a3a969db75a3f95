//! Where a call goes: the next target, its slot held, or a refusal; one transaction.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tracing::{debug, info};

use super::bulkhead::Purpose;
use super::inquiry::{Inquiry, Times, has_same_number, is_same_channel};
use super::store::calls::{Attempt, CallUnderWay, free_key};
use super::store::offers::{
    CallRow, Campaign, Claim, Concurrency, Link, Look, Offering, RefusalRow, ResolvedDid,
    RoutingView,
};
use super::{Arrival, Engine, Error, Offer, Recording, Refusal, RouteRequest, Verdict};
use crate::domain::disposition::AfterAttempt;
use crate::domain::{
    Check, Decision, DialStatus, Disposition, HangupCause, LinkId, Question, RefusalReason, Stem,
    decide,
};
use crate::runtime::metrics;

/// Decisions overtaken by another transaction are taken again this often. The first try is a guess.
const RETRIES: u32 = 3;

/// A question repeated within this time of an offer, without word of how that went, comes from a dialplan
/// that never saw the offer (its daemon died or hung) and gets the same one.
const REPEAT_WINDOW: SignedDuration = SignedDuration::from_secs(15);

/// What one try at a decision came to.
enum Outcome {
    Answer(Verdict),
    /// The state changed under us; look again.
    LookAgain,
    /// Somebody else was quicker; look again, and wait for the turn.
    Overtaken,
    /// Another transaction holds a row of this link for longer than it is worth waiting: the next target.
    Locked(LinkId),
    /// There are targets with room, but the rows of all of them are locked.
    AllLocked,
}

/// What a decision will write.
enum Plan<'a> {
    Offer(PlannedOffer<'a>),
    Refuse(PlannedRefusal),
    /// What was read does not fit together.
    LookAgain,
    /// There are targets with room, but somebody else holds their rows.
    AllLocked,
}

struct PlannedOffer<'a> {
    did: &'a ResolvedDid,
    campaign: &'a Campaign,
    link: &'a Link,
    endpoint: &'a str,
    ring_timeout_seconds: u32,
    question: Question,
    decision: Decision,
    remarks: Vec<String>,
}

struct PlannedRefusal {
    reason: RefusalReason,
    disposition: Disposition,
    cause: HangupCause,
    decided: Option<(Question, Decision)>,
    remarks: Vec<String>,
}

impl Engine {
    /// Answers where a call goes.
    pub async fn route(&self, request: RouteRequest) -> Result<Verdict, Error> {
        let started = Instant::now();
        if let Some(previous) = request.previous {
            self.settle_previous(&request.arrival, previous, request.about)
                .await?;
        }
        let sighting = (self.sightings).find(&request.arrival.uniqueid, &request.arrival.channel);
        let mut inquiry = Inquiry::new(request, sighting);
        let verdict = self.answer(&mut inquiry).await?;
        let elapsed = started.elapsed();
        let (label, reason) = match &verdict {
            Verdict::Dial(_) => ("DIAL", "none"),
            Verdict::Reject(refusal) => ("REJECT", refusal.reason.as_str()),
        };
        metrics::route_decision(label, reason, elapsed);
        log_verdict(&inquiry.request, &verdict, elapsed);
        Ok(verdict)
    }

    async fn answer(&self, inquiry: &mut Inquiry) -> Result<Verdict, Error> {
        loop {
            inquiry.tries += 1;
            if Instant::now() >= inquiry.request.deadline {
                return Err(Error::Late);
            }
            let left = inquiry
                .request
                .deadline
                .saturating_duration_since(Instant::now());
            let number = &inquiry.request.arrival.did;
            // Kept while this try has a connection.
            let _seat = (self.bulkhead).enter(Purpose::Decide, number, left).await?;
            // A locked target was no try: the next one is asked at once, for as long as the asker waits.
            let may_retry = inquiry.tries <= RETRIES;
            match self.try_route(inquiry).await {
                Ok(Outcome::Answer(verdict)) => return Ok(verdict),
                Ok(Outcome::Locked(link)) => {
                    inquiry.locked.push(link);
                    inquiry.tries -= 1;
                }
                // From the first again: a lock may be gone by now.
                Ok(Outcome::AllLocked) if may_retry => inquiry.locked.clear(),
                Ok(Outcome::AllLocked) => return Err(Error::Locked),
                Ok(Outcome::LookAgain) if may_retry => {}
                Ok(Outcome::Overtaken) if may_retry => {
                    self.contention.note(&inquiry.request.arrival.did);
                }
                Ok(Outcome::LookAgain | Outcome::Overtaken) => {
                    return Err(Error::Overtaken(inquiry.tries));
                }
                Err(error)
                    if may_retry && matches!(&error, Error::Store(e) if e.is_contention()) =>
                {
                    debug!(call.uniqueid = %inquiry.request.arrival.uniqueid, %error,
                        "decision is taken again");
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(500..5_000))).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The first try assumes what is nearly always true: that a call's first question is about a new
    /// call, and that nobody else decides for the same campaign in this millisecond. Should it be wrong,
    /// the claim changes nothing, and the next try looks closely and waits its turn.
    async fn try_route(&self, inquiry: &mut Inquiry) -> Result<Outcome, Error> {
        let request = &inquiry.request;
        let arrival = &request.arrival;
        let again = inquiry.tries > 1 || !inquiry.locked.is_empty();
        let look = Look {
            concurrency: if inquiry.tries > 1 || self.contention.contains(&arrival.did) {
                Concurrency::Queued
            } else {
                Concurrency::Optimistic
            },
            call: (again || request.previous.is_some() || request.about.is_some())
                .then_some(&arrival.uniqueid),
            system_name: arrival.system_name.as_ref(),
        };
        let (view, offering) = self.store.begin_offer(&arrival.did, look).await?;
        let times = Times::of(request, view.looked_at);
        if let Some(campaign) = view.did.as_ref().and_then(|did| did.campaign_id) {
            self.bulkhead.learn(&arrival.did, campaign);
        }
        if !self
            .gate
            .is_open(self.settings.servers.iter().map(|(server, _)| server))
        {
            offering.abandon().await;
            return Err(Error::Comparing);
        }
        let Some((call, attempts)) = self.call_of(arrival, &view) else {
            if again && request.previous.is_some() {
                // It was under way when we looked first, or ended just before: nobody waits for an answer.
                offering.abandon().await;
                return Err(Error::Stale);
            }
            return self.carry_out(inquiry, &view, None, offering, times).await;
        };
        let call_id = call.call_id;
        if let Some(over_at) = call.over_at {
            // Its end was reported while this question was on its way; or it is another call.
            offering.abandon().await;
            if times.asked_at <= over_at {
                return Err(Error::Stale);
            }
            self.store.end_over_call(call_id).await?;
            return Ok(Outcome::LookAgain);
        }
        let talked = attempts
            .last()
            .filter(|last| last.answered_at.is_some() && request.previous.is_none());
        let is_over = talked.is_some_and(|last| {
            last.ended_at.is_some() || self.sightings.is_alone(&arrival.uniqueid, &arrival.channel)
        });
        if is_over || !has_same_number(call, arrival) {
            // The caller's channel is here again after its call: transferred back, or sent on by a menu.
            offering.abandon().await;
            info!(call.id = %call_id, call.uniqueid = %arrival.uniqueid,
                "the caller's channel asks for another call: the one before is over");
            self.close_before_next(call_id, arrival).await?;
            inquiry.before = Some(call_id);
            return Ok(Outcome::LookAgain);
        }
        if let Some(open) = attempts.iter().find(|a| a.ended_at.is_none()).cloned() {
            let caller_id = caller_id_of(&view, open.link_id);
            let announcement = view.campaign.and_then(|c| c.announcement);
            offering.abandon().await;
            // The call may well be talking: a question of the past, from a daemon that stood still,
            // must not end it. What becomes of it the observers will say. A dialplan that speaks of an earlier
            // offer never saw this one.
            let lost = request.about.is_some_and(|id| id != open.reservation_id);
            let young = times.looked_at.duration_since(open.offered_at) < REPEAT_WINDOW;
            if open.answered_at.is_some() || !(lost || young) {
                return Err(Error::Stale);
            }
            return Ok(Outcome::Answer(Verdict::Dial(Offer {
                call_id,
                attempt: open.attempt,
                reservation_id: open.reservation_id,
                endpoint: open.endpoint,
                ring_timeout_seconds: open.ring_timeout_seconds,
                caller_id,
                recording: open.recording.map(|stem| Recording { stem, announcement }),
            })));
        }
        let found = Some((call, attempts));
        self.carry_out(inquiry, &view, found, offering, times).await
    }

    /// Which of the calls under way with its unique id is the one that asks. Others are on other servers, or of before
    /// a restart of Asterisk: what becomes of them their observers say.
    fn call_of<'a>(
        &self,
        arrival: &Arrival,
        view: &'a RoutingView,
    ) -> Option<(&'a CallUnderWay, &'a [Attempt])> {
        let sighting = self.sightings.find(&arrival.uniqueid, &arrival.channel);
        let seen_on = sighting.as_ref().map(|s| &s.server);
        view.calls
            .iter()
            .find(|(call, _)| is_same_channel(call, arrival, seen_on))
            .map(|(call, attempts)| (call, &attempts[..]))
    }

    async fn carry_out(
        &self,
        inquiry: &Inquiry,
        view: &RoutingView,
        found: Option<(&CallUnderWay, &[Attempt])>,
        offering: Offering,
        times: Times,
    ) -> Result<Outcome, Error> {
        let arrival = &inquiry.request.arrival;
        let call = found.map(|(call, _)| call);
        let attempts = found.map_or(&[][..], |(_, attempts)| attempts);
        let did = view.did.as_ref();
        let taken: Vec<&str> = view.calls.iter().map(|(c, _)| c.key.as_str()).collect();
        let key = match (call, taken.is_empty()) {
            (None, false) => {
                Some(free_key(&arrival.uniqueid, &taken).ok_or(Error::Overtaken(inquiry.tries))?)
            }
            _ => None,
        };
        let row = CallRow {
            call_id: call.map(|c| c.call_id),
            uniqueid: &arrival.uniqueid,
            linkedid: arrival.linkedid(),
            channel: &arrival.channel,
            system_name: arrival.system_name.as_ref(),
            seen: (inquiry.sighting.as_ref()).map(|s| (&s.server, s.channel.created_at)),
            likely_server: self.likely_server(arrival),
            key: key.as_deref(),
            node: &self.settings.node,
            did_number: did.map_or(arrival.did.as_str(), |d| &d.number),
            caller: &arrival.caller,
            at: times.looked_at,
            asked_at: times.asked_at,
            before: inquiry.before,
            deadline: times.deadline,
            max_call_seconds: self.settings.max_call_seconds,
        };
        let attempt = attempts.len() as u32 + 1;
        match self.plan(inquiry, view, attempts) {
            Plan::LookAgain => {
                // The campaign came up between two statements, or its rotation row is missing.
                offering.abandon().await;
                if let Some(campaign_id) = did.and_then(|d| d.campaign_id) {
                    self.store.add_missing_rows(campaign_id).await?;
                }
                Ok(Outcome::LookAgain)
            }
            Plan::AllLocked => {
                offering.abandon().await;
                Ok(Outcome::AllLocked)
            }
            // Nobody waits for the answer any more.
            _ if Instant::now() >= inquiry.request.deadline => {
                offering.abandon().await;
                Err(Error::Late)
            }
            // The caller has left while the database was silent; the end waits for it too.
            _ if (self.late).has_ended_since(&arrival.uniqueid, inquiry.request.asked) => {
                offering.abandon().await;
                Err(Error::Stale)
            }
            Plan::Refuse(plan) => {
                let refusal = RefusalRow {
                    call: row,
                    did,
                    attempt,
                    reason: plan.reason,
                    disposition: plan.disposition,
                    cause: plan.cause,
                    decided: plan.decided.as_ref().map(|(q, d)| (q, d)),
                    last_tried: attempts.last().map(|a| (a.client_id, a.link_id)),
                    remarks: &plan.remarks,
                };
                Ok(match offering.refuse(&refusal).await? {
                    Some(call_id) => Outcome::Answer(Verdict::Reject(Refusal {
                        call_id,
                        reason: plan.reason,
                        cause: plan.cause,
                    })),
                    None => Outcome::LookAgain,
                })
            }
            Plan::Offer(plan) => self.claim(&plan, row, attempt, offering).await,
        }
    }

    async fn claim(
        &self,
        plan: &PlannedOffer<'_>,
        call: CallRow<'_>,
        attempt: u32,
        offering: Offering,
    ) -> Result<Outcome, Error> {
        let recorded = self.settings.records && plan.campaign.recorded;
        let moment = recorded.then(|| Stem::moment(call.at));
        let claim = Claim {
            call,
            did: plan.did,
            campaign: plan.campaign,
            client_id: plan.link.candidate.client_id,
            link_id: plan.link.candidate.link_id,
            endpoint: plan.endpoint,
            attempt,
            ring_timeout_seconds: plan.ring_timeout_seconds,
            recording: moment.as_deref(),
            question: &plan.question,
            decision: &plan.decision,
            remarks: &plan.remarks,
        };
        let claimed = match offering.claim(&claim).await {
            // Queueing for the campaign is over by now: what is locked belongs to the link.
            Err(error) if error.is_lock_timeout() => return Ok(Outcome::Locked(claim.link_id)),
            claimed => claimed?,
        };
        let Some((call_id, reservation_id)) = claimed else {
            // Somebody was quicker, or a usage row is missing; the next look tells them apart.
            self.store
                .add_missing_rows(plan.campaign.campaign_id)
                .await?;
            return Ok(Outcome::Overtaken);
        };
        Ok(Outcome::Answer(Verdict::Dial(Offer {
            call_id,
            attempt,
            reservation_id,
            endpoint: plan.endpoint.to_owned(),
            ring_timeout_seconds: plan.ring_timeout_seconds,
            caller_id: presented_number(plan.link),
            recording: recorded.then(|| Recording {
                stem: Stem::new(call.at, call_id, attempt),
                announcement: plan.campaign.announcement.clone(),
            }),
        })))
    }

    /// What to write and answer, from what was read.
    fn plan<'a>(&self, inquiry: &Inquiry, view: &'a RoutingView, attempts: &[Attempt]) -> Plan<'a> {
        let request = &inquiry.request;
        let (did, campaign) = match resolved(view.did.as_ref(), view.campaign.as_ref()) {
            Ok(Some(found)) => found,
            Ok(None) => return Plan::LookAgain,
            Err(reason) => {
                return Plan::Refuse(PlannedRefusal {
                    reason,
                    disposition: Disposition::RejectedDid,
                    cause: reason.hangup_cause(),
                    decided: None,
                    remarks: view.closed.iter().map(ToString::to_string).collect(),
                });
            }
        };
        let question = Question {
            strategy: campaign.strategy,
            rotation: campaign.rotation.clone(),
            candidates: view.links.iter().map(|l| l.candidate.clone()).collect(),
            tried: attempts.iter().map(|a| a.link_id).collect(),
            locked: inquiry.locked.clone(),
        };
        let decision = decide(&question);
        let ring_seconds_left = self.ring_seconds_left(attempts);
        let call_over = request
            .previous
            .is_some_and(|p| p.status.after_attempt() == AfterAttempt::CallOver);
        let remarks = remarks(did, campaign, ring_seconds_left, call_over);

        let chosen = decision
            .chosen()
            .filter(|_| ring_seconds_left > 0 && !call_over)
            .and_then(|id| view.links.iter().find(|l| l.candidate.link_id == id))
            .and_then(|link| Some((link, link.endpoint.as_deref()?)));
        if let Some((link, endpoint)) = chosen {
            return Plan::Offer(PlannedOffer {
                did,
                campaign,
                link,
                endpoint,
                ring_timeout_seconds: campaign.ring_timeout_seconds.min(ring_seconds_left),
                question,
                decision,
                remarks,
            });
        }
        if decision.chosen().is_none()
            && decision
                .ranking
                .iter()
                .any(|t| t.verdict == Check::LinkLocked)
        {
            return Plan::AllLocked;
        }
        let reason = decision.refusal();
        let (disposition, cause) = match attempts.last() {
            Some(last) => after_attempts(last, request),
            None => (decision.refusal_disposition(), reason.hangup_cause()),
        };
        Plan::Refuse(PlannedRefusal {
            reason,
            disposition,
            cause,
            decided: Some((question, decision)),
            remarks,
        })
    }

    /// Seconds the call may still ring.
    fn ring_seconds_left(&self, attempts: &[Attempt]) -> u32 {
        let rung: i64 = attempts
            .iter()
            .filter_map(|a| Some(a.ended_at?.duration_since(a.offered_at).as_secs()))
            .sum();
        let rung = u32::try_from(rung.max(0)).unwrap_or(u32::MAX);
        self.settings.ring_budget_seconds.saturating_sub(rung)
    }
}

/// DID and campaign, the reason there is none, or `None` if what was read does not fit together.
pub(super) fn resolved<'a>(
    did: Option<&'a ResolvedDid>,
    campaign: Option<&'a Campaign>,
) -> Result<Option<(&'a ResolvedDid, &'a Campaign)>, RefusalReason> {
    let did = did.ok_or(RefusalReason::DidNotFound)?;
    if !did.did_active {
        return Err(RefusalReason::DidInactive);
    }
    if !did.owner_active {
        return Err(RefusalReason::OwnerInactive);
    }
    let wanted = did
        .campaign_id
        .ok_or(RefusalReason::NoActiveCampaignForDid)?;
    let locked = campaign.filter(|c| c.campaign_id == wanted);
    Ok(locked.map(|campaign| (did, campaign)))
}

/// A call that was offered to somebody ends as its last attempt did, whatever there is to say of the rest.
fn after_attempts(last: &Attempt, request: &RouteRequest) -> (Disposition, HangupCause) {
    let status = request.previous.map(|p| p.status).or(last.status);
    let cause = match status {
        Some(DialStatus::Answer | DialStatus::Cancel) => HangupCause::NORMAL,
        Some(DialStatus::NoAnswer) => HangupCause::NO_ANSWER,
        Some(DialStatus::Congestion | DialStatus::ChanUnavail) => HangupCause::NO_CIRCUIT,
        _ => HangupCause::USER_BUSY,
    };
    (Disposition::of_last_attempt(status), cause)
}

fn remarks(
    did: &ResolvedDid,
    campaign: &Campaign,
    ring_seconds_left: u32,
    call_over: bool,
) -> Vec<String> {
    let mut remarks = Vec::new();
    if did.campaigns > 1 {
        remarks.push(format!(
            "the DID is in {} active campaigns; the lowest id wins",
            did.campaigns
        ));
    }
    if campaign.rotation_was_unreadable {
        remarks.push("the stored rotation could not be read and starts anew".to_owned());
    }
    if ring_seconds_left == 0 {
        remarks.push("the call has used up its ringing time".to_owned());
    }
    if call_over {
        remarks.push("the previous attempt ended the call".to_owned());
    }
    remarks
}

fn caller_id_of(view: &RoutingView, link_id: LinkId) -> Option<String> {
    view.links
        .iter()
        .find(|l| l.candidate.link_id == link_id)
        .and_then(presented_number)
}

/// The number of an endpoint's caller id, written as `"Name" <number>` or as the number alone.
fn presented_number(link: &Link) -> Option<String> {
    let text = link.caller_id.as_deref()?;
    let number = match (text.rfind('<'), text.rfind('>')) {
        (Some(open), Some(close)) if open < close => &text[open + 1..close],
        _ => text,
    };
    let number: String = number
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '(' | ')'))
        .collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let valid = (3..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then_some(number)
}

fn log_verdict(request: &RouteRequest, verdict: &Verdict, elapsed: Duration) {
    let arrival = &request.arrival;
    let duration_ms = elapsed.as_secs_f64() * 1_000.0;
    match verdict {
        Verdict::Dial(offer) => info!(
            call.id = %offer.call_id,
            call.uniqueid = %arrival.uniqueid,
            call.linkedid = arrival.linkedid(),
            did = arrival.did.as_str(),
            caller = %arrival.caller,
            reservation.id = %offer.reservation_id,
            offer.attempt = offer.attempt,
            target.endpoint = offer.endpoint,
            duration_ms,
            "call offered to {}",
            offer.endpoint
        ),
        Verdict::Reject(refusal) => info!(
            call.id = %refusal.call_id,
            call.uniqueid = %arrival.uniqueid,
            call.linkedid = arrival.linkedid(),
            did = arrival.did.as_str(),
            caller = %arrival.caller,
            reason = refusal.reason.as_str(),
            hangup.cause = refusal.cause.value(),
            duration_ms,
            "call to {} refused: {}",
            arrival.did.as_str(),
            refusal.reason.as_str()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Candidate, ClientId};

    fn link(caller_id: &str) -> Link {
        Link {
            candidate: Candidate {
                link_id: LinkId(1),
                client_id: ClientId(1),
                tier: 0,
                weight: 1,
                link_active: true,
                client_active: true,
                granted: true,
                dialable: true,
                registered: true,
                caps: vec![],
            },
            client_name: String::new(),
            endpoint: None,
            caller_id: Some(caller_id.to_owned()),
        }
    }

    #[test]
    fn the_number_of_a_caller_id_is_presented() {
        let number = |text| presented_number(&link(text));
        assert_eq!(number("+18005550101").as_deref(), Some("+18005550101"));
        assert_eq!(
            number("\"Acme 24\" <+1 (800) 555-0101>").as_deref(),
            Some("+18005550101")
        );
        for text in ["", "Acme", "<>", "\"A\" <12>", "800${X}", "><"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }
}
