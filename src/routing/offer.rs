//! Where a call goes: the next target, its slot held, or a refusal; one transaction.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, info, warn};

use super::{Arrival, Engine, Error, Offer, Recording, Refusal, RouteRequest, Verdict};
use crate::clock;
use crate::domain::disposition::AfterAttempt;
use crate::domain::{
    Decision, DialStatus, Disposition, HangupCause, LinkId, Question, RefusalReason, Stem, decide,
};
use crate::metrics;
use crate::store::calls::{Attempt, CallUnderWay};
use crate::store::offers::{
    CallRow, Campaign, Claim, Concurrency, Link, Look, Offering, RefusalRow, ResolvedDid,
    RoutingView,
};

/// Decisions overtaken by another transaction are taken again this often. The first try is a guess.
const RETRIES: u32 = 3;

/// A question repeated within this time of an offer, without word of how that went, comes from a dialplan
/// that never saw the offer (its daemon died or hung) and gets the same one.
const REPEAT_WINDOW: jiff::SignedDuration = jiff::SignedDuration::from_secs(15);

/// What one try at a decision came to.
enum Outcome {
    Answer(Verdict),
    /// The state changed under us; look again.
    LookAgain,
}

/// What a decision will write.
enum Plan<'a> {
    Offer(PlannedOffer<'a>),
    Refuse(PlannedRefusal),
    /// What was read does not fit together.
    LookAgain,
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
    pub async fn route(&self, mut request: RouteRequest) -> Result<Verdict, Error> {
        let started = Instant::now();
        if let Some(previous) = request.previous {
            self.settle_previous(&request.arrival, previous).await?;
        }
        let mut tries = 0;
        let verdict = loop {
            tries += 1;
            let may_retry = tries <= RETRIES;
            match self.try_route(&mut request, tries > 1).await {
                Ok(Outcome::Answer(verdict)) => break verdict,
                Ok(Outcome::LookAgain) if may_retry => {}
                Ok(Outcome::LookAgain) => return Err(Error::Overtaken(tries)),
                Err(error)
                    if may_retry && matches!(&error, Error::Store(e) if e.is_contention()) =>
                {
                    debug!(call.uniqueid = %request.arrival.uniqueid, %error, "decision is taken again");
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(500..5_000))).await;
                }
                Err(error) => return Err(error),
            }
        };
        let elapsed = started.elapsed();
        let (label, reason) = match &verdict {
            Verdict::Dial(_) => ("DIAL", "none"),
            Verdict::Reject(refusal) => ("REJECT", refusal.reason.as_str()),
        };
        metrics::route_decision(label, reason, elapsed);
        log_verdict(&request, &verdict, elapsed);
        Ok(verdict)
    }

    /// The first try assumes what is nearly always true: that a call's first question is about a new
    /// call, and that nobody else decides for the same campaign in this millisecond. Should it be wrong,
    /// the claim changes nothing, and the next try looks closely and waits its turn.
    async fn try_route(&self, request: &mut RouteRequest, again: bool) -> Result<Outcome, Error> {
        let arrival = &request.arrival;
        let look = Look {
            concurrency: if again || self.crowds.contains(&arrival.did) {
                Concurrency::Queued
            } else {
                Concurrency::Optimistic
            },
            call: (again || request.previous.is_some()).then_some(&arrival.uniqueid),
        };
        let (view, offering) = self.store.begin_offer(&arrival.did, look).await?;
        let now = clock::now();
        if let Some((call, attempts)) = &view.call {
            let call_id = call.call_id;
            if let Some(over_at) = call.over_at {
                // Its end was reported while this question was on its way; or it is another call.
                offering.abandon().await;
                if request.asked_at <= over_at {
                    return Err(Error::Stale);
                }
                self.store.end_over_call(call_id).await?;
                return Ok(Outcome::LookAgain);
            }
            if !is_same_call(call, arrival) {
                // Asterisk restarted and gave the unique id to a new call: the old one is gone.
                offering.abandon().await;
                warn!(call.id = %call_id, call.uniqueid = %arrival.uniqueid,
                    "unique id of a call under way was used again: the old call is taken for lost");
                self.close_as_lost(call_id).await?;
                // The end just written is the other call's, not this one's.
                request.asked_at = clock::now();
                return Ok(Outcome::LookAgain);
            }
            if let Some(open) = attempts.iter().find(|a| a.ended_at.is_none()).cloned() {
                let caller_id = caller_id_of(&view, open.link_id);
                let announcement = view.campaign.and_then(|c| c.announcement);
                offering.abandon().await;
                // The call may well be talking: a question of the past, from a daemon that stood still,
                // must not end it. What becomes of it the observers will say.
                let repeated = open.answered_at.is_none()
                    && now.duration_since(open.offered_at) < REPEAT_WINDOW;
                if !repeated {
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
        } else if again && request.previous.is_some() {
            // It was under way when we looked first, or ended just before: nobody waits for an answer.
            offering.abandon().await;
            return Err(Error::Stale);
        }
        self.carry_out(request, &view, offering, now).await
    }

    async fn carry_out(
        &self,
        request: &RouteRequest,
        view: &RoutingView,
        offering: Offering,
        now: Timestamp,
    ) -> Result<Outcome, Error> {
        let arrival = &request.arrival;
        let (call, attempts) = match &view.call {
            Some((call, attempts)) => (Some(call), &attempts[..]),
            None => (None, &[][..]),
        };
        let did = view.did.as_ref();
        let row = CallRow {
            call_id: call.map(|c| c.call_id),
            uniqueid: &arrival.uniqueid,
            linkedid: arrival.linkedid(),
            channel: &arrival.channel,
            server: self.server_of(arrival),
            node: &self.settings.node,
            did_number: did.map_or(arrival.did.as_str(), |d| &d.number),
            caller: &arrival.caller,
            at: now,
            asked_at: request.asked_at,
            max_call_seconds: self.settings.max_call_seconds,
        };
        let attempt = attempts.len() as u32 + 1;
        match self.plan(request, view) {
            Plan::LookAgain => {
                // The campaign came up between two statements, or its rotation row is missing.
                offering.abandon().await;
                if let Some(campaign_id) = did.and_then(|d| d.campaign_id) {
                    self.store.add_missing_rows(campaign_id).await?;
                }
                Ok(Outcome::LookAgain)
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
            Plan::Offer(plan) => {
                let recorded = self.settings.records && plan.campaign.recorded;
                let moment = recorded.then(|| Stem::moment(now));
                let claim = Claim {
                    call: row,
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
                let Some((call_id, reservation_id)) = offering.claim(&claim).await? else {
                    // Somebody was quicker, or a usage row is missing; the next look tells them apart.
                    self.crowds.note(&arrival.did);
                    self.store
                        .add_missing_rows(plan.campaign.campaign_id)
                        .await?;
                    return Ok(Outcome::LookAgain);
                };
                Ok(Outcome::Answer(Verdict::Dial(Offer {
                    call_id,
                    attempt,
                    reservation_id,
                    endpoint: plan.endpoint.to_owned(),
                    ring_timeout_seconds: plan.ring_timeout_seconds,
                    caller_id: presented_number(plan.link),
                    recording: recorded.then(|| Recording {
                        stem: Stem::new(now, call_id, attempt),
                        announcement: plan.campaign.announcement.clone(),
                    }),
                })))
            }
        }
    }

    /// What to write and answer, from what was read.
    fn plan<'a>(&self, request: &RouteRequest, view: &'a RoutingView) -> Plan<'a> {
        let (did, campaign) = match resolved(view.did.as_ref(), view.campaign.as_ref()) {
            Ok(Some(found)) => found,
            Ok(None) => return Plan::LookAgain,
            Err(reason) => {
                return Plan::Refuse(PlannedRefusal {
                    reason,
                    disposition: Disposition::RejectedDid,
                    cause: reason.hangup_cause(),
                    decided: None,
                    remarks: Vec::new(),
                });
            }
        };
        let attempts = view.call.as_ref().map_or(&[][..], |(_, attempts)| attempts);
        let question = Question {
            strategy: campaign.strategy,
            rotation: campaign.rotation.clone(),
            candidates: view.links.iter().map(|l| l.candidate.clone()).collect(),
            tried: attempts.iter().map(|a| a.link_id).collect(),
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

fn is_same_call(call: &CallUnderWay, arrival: &Arrival) -> bool {
    let same_number = arrival.did.is_spelling_of(&call.did_number);
    call.channel == arrival.channel && same_number && call.caller_number == arrival.caller.number
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
            did = %crate::domain::number::mask(arrival.did.as_str()),
            caller = ?arrival.caller,
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
            did = %crate::domain::number::mask(arrival.did.as_str()),
            caller = ?arrival.caller,
            reason = refusal.reason.as_str(),
            hangup.cause = refusal.cause.value(),
            duration_ms,
            "call refused: {}",
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
                dialable: true,
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
