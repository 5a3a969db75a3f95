//! Decisions: why a call went where it went, and where one would go now.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::live::Named;
use crate::calls::store::live::{DecisionRow, OfferRow};
use crate::domain::{
    CallId, Candidate, CapKind, Check, ClientId, Decision, DialledNumber, Disposition, LinkId,
    Question, RankedTarget, RefusalReason, Role,
};
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::form::parse_moment;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Ids, Parameter, ParameterKind, Query, parameter};
use crate::http::kit::words;
use crate::routing::Explanation;
use crate::runtime::clock;

/// The operations on decisions.
pub fn operations() -> Vec<Operation> {
    let decisions = |path, id, access| {
        Operation::get(path, id, decisions)
            .tagged("calls", "Explain where a call went")
            .about(
                "Every decision about the call, with all candidates and why each was taken or not. The \
                 id is that of a call under way or of its record in the log.",
            )
            .access(access)
            .answers::<CallDecisions>(200, "The decisions, in order.")
    };
    let simulate = |path, id, access| {
        Operation::get(path, id, simulate)
            .tagged("calls", "Show where a call would go now")
            .about(
                "Decides as for a new call, by the same code on the same data, and changes nothing: no \
                 turn, no cap, no record.",
            )
            .access(access)
            .query(&SIMULATION)
            .answers::<Simulation>(200, "What the answer would be.")
            .problems(&[400])
    };
    vec![
        decisions(
            "/api/seller/calls/{id}/decisions",
            "explainCall",
            Access::Seller,
        ),
        decisions(
            "/api/admin/calls/{id}/decisions",
            "explainAnyCall",
            Access::Staff,
        ),
        simulate("/api/seller/simulate", "simulate", Access::Seller).problems(&[404]),
        simulate("/api/admin/simulate", "simulateAny", Access::Staff),
    ]
}

const SIMULATION: [Parameter; 3] = [
    parameter(
        "did",
        ParameterKind::Text,
        "The number dialled, in any spelling; a leading plus is percent-encoded (%2B). Required.",
    ),
    parameter(
        "callerId",
        ParameterKind::Text,
        "The caller's number. No rule looks at it yet.",
    ),
    parameter(
        "at",
        ParameterKind::Moment,
        "The time of the call, as 2026-01-31T12:00:00Z; now unless said. Caps and turns are always those \
         of now.",
    ),
];

/// What was decided about a call.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallDecisions {
    call_id: i64,
    /// None for a call that was never routed here.
    decisions: Vec<RecordedDecision>,
}

/// A decision as it was recorded.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedDecision {
    decided_at: Moment,
    /// 1 for the call's first.
    attempt: i32,
    /// `DIAL` or `REJECT`.
    #[schemars(with = "words::DecisionVerdict")]
    verdict: String,
    /// Why it was refused: a code.
    #[schemars(with = "Option<words::RefusedFor>")]
    reason: Option<String>,
    /// The same for people.
    explanation: String,
    campaign: Option<Named>,
    /// The campaign's strategy then.
    #[schemars(with = "Option<words::RoutingStrategy>")]
    strategy: Option<String>,
    /// The link chosen.
    chosen: Option<Chosen>,
    /// All links of the campaign, those that could take the call first, in the order to try.
    candidates: Vec<Assessed>,
    remarks: Vec<String>,
    /// The daemon that decided.
    node: String,
}

/// The link that was chosen, and what came of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chosen {
    link_id: i32,
    client: Option<Named>,
    endpoint: Option<String>,
    offered_at: Option<Moment>,
    ring_timeout_seconds: Option<i32>,
    answered_at: Option<Moment>,
    ended_at: Option<Moment>,
    /// `answered`, `failed`, `abandoned`, `not_dialled`, `lost`; null until it has ended.
    #[schemars(with = "Option<words::AttemptOutcome>")]
    outcome: Option<String>,
    #[schemars(with = "Option<words::DialResult>")]
    dial_status: Option<String>,
    hangup_cause_code: Option<i32>,
}

/// A link as a decision looked at it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assessed {
    /// Place in the order to try; null if it could not take the call.
    place: Option<usize>,
    link_id: i32,
    client: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    forwarding_priority: Option<i32>,
    weight: Option<u32>,
    /// Calls at the same time.
    concurrency: Option<Use>,
    /// Calls answered so far, and those offered now.
    total: Option<Use>,
    /// `eligible`, or the check it failed.
    #[schemars(with = "words::CandidateVerdict")]
    verdict: &'static str,
    /// The same for people.
    explanation: String,
}

/// The use of a cap.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Use {
    used: i64,
    /// Null is no limit.
    limit: Option<i64>,
}

impl Assessed {
    fn of(
        place: usize,
        target: &RankedTarget,
        candidate: Option<&Candidate>,
        names: &HashMap<ClientId, String>,
        endpoint: Option<String>,
    ) -> Self {
        let use_of = |kind| {
            let cap = candidate?.caps.iter().find(|cap| cap.kind == kind)?;
            Some(Use {
                used: cap.used,
                limit: cap.limit,
            })
        };
        let (concurrency, total) = (use_of(CapKind::Concurrency), use_of(CapKind::Total));
        let place = (target.verdict == Check::Eligible).then_some(place);
        Self {
            place,
            link_id: target.link_id.0,
            client: candidate.map(|c| named(c.client_id, names)),
            endpoint,
            forwarding_priority: candidate.map(|c| c.tier),
            weight: candidate.map(|c| c.weight),
            concurrency,
            total,
            verdict: target.verdict.as_str(),
            explanation: explain(target.verdict, place, concurrency, total),
        }
    }
}

fn named(client: ClientId, names: &HashMap<ClientId, String>) -> Named {
    Named {
        id: client.0,
        name: names.get(&client).cloned(),
    }
}

/// A verdict in a sentence.
fn explain(
    verdict: Check,
    place: Option<usize>,
    concurrency: Option<Use>,
    total: Option<Use>,
) -> String {
    let filled = |cap: Option<Use>, what: &str| match cap {
        Some(Use { limit: Some(0), .. }) => ": it is 0, which lets no call through.".to_owned(),
        Some(Use {
            used,
            limit: Some(limit),
        }) => format!(": {used} of {limit} {what}."),
        _ => ".".to_owned(),
    };
    match verdict {
        Check::Eligible => match place {
            Some(1) => "Can take the call, and is the first to try.".to_owned(),
            Some(place) => format!("Can take the call; number {place} in the order to try."),
            None => "Can take the call.".to_owned(),
        },
        Check::LinkInactive => "The link between campaign and client is not active.".to_owned(),
        Check::ClientInactive => "The client is not active.".to_owned(),
        Check::NotGranted => {
            "The client takes calls of sellers with a grant only, and this seller has none."
                .to_owned()
        }
        Check::NoEndpoint => {
            "The client cannot be dialled: it has no endpoint with an address.".to_owned()
        }
        Check::NotRegistered => {
            "The client has to register with Asterisk, and has not: nobody knows where it is."
                .to_owned()
        }
        Check::ConcurrencyCapReached => {
            format!("At its concurrency cap{}", filled(concurrency, "in use"))
        }
        Check::TotalCapReached => format!(
            "At its total cap{}",
            filled(total, "answered or being offered")
        ),
        Check::AlreadyTried => "This call was offered to it before.".to_owned(),
        Check::LinkLocked => {
            "Another transaction held its row for too long: it was passed over.".to_owned()
        }
    }
}

/// A reason in a sentence.
fn explain_refusal(reason: &str) -> String {
    let known = RefusalReason::ALL
        .into_iter()
        .find(|r| r.as_str() == reason);
    match known {
        None => format!("Refused: {reason}."),
        Some(RefusalReason::DidNotFound) => "No DID has this number.".to_owned(),
        Some(RefusalReason::DidInactive) => "The DID is not active.".to_owned(),
        Some(RefusalReason::OwnerInactive) => {
            "The account of the DID's owner is not active.".to_owned()
        }
        Some(RefusalReason::NoActiveCampaignForDid) => {
            "No active campaign takes the calls of this DID.".to_owned()
        }
        Some(RefusalReason::NoActiveClientsInCampaign) => {
            "The campaign has no active link to an active client that can be dialled.".to_owned()
        }
        Some(RefusalReason::NoEligibleClientsAvailable) => {
            "Every client of the campaign that could take calls is at a cap or was tried before."
                .to_owned()
        }
    }
}

/// A sentence with the campaigns that it is about: `…: campaign 2 Sales: paused.`
fn with_closed(sentence: String, closed: &[String]) -> String {
    if closed.is_empty() {
        return sentence;
    }
    let closed = closed.join(", ");
    format!("{} ({closed}).", sentence.trim_end_matches('.'))
}

async fn decisions(
    State(api): State<Api>,
    caller: Caller,
    Ids([call]): Ids<1>,
) -> Result<Json<CallDecisions>, Problem> {
    let found = api.store.decisions(caller.reach(), CallId(call)).await?;
    let rows = found.ok_or_else(|| Problem::not_found("call"))?;
    let read: Vec<_> = rows.into_iter().map(Recorded::of).collect();
    let mut clients: Vec<i32> = read.iter().flat_map(Recorded::clients).collect();
    clients.sort_unstable();
    clients.dedup();
    let names = api.store.client_names(caller.reach(), &clients).await?;
    Ok(Json(CallDecisions {
        call_id: call,
        decisions: read.into_iter().map(|d| d.show(&names)).collect(),
    }))
}

/// A decision with its documents read.
struct Recorded {
    row: DecisionRow,
    question: Option<Question>,
    ranking: Vec<RankedTarget>,
}

impl Recorded {
    fn of(mut row: DecisionRow) -> Self {
        // What an older or a newer daemon wrote may not be readable here; the rest still is.
        let unreadable = |remarks: &mut Vec<String>, what| {
            remarks.push(format!(
                "the recorded {what} cannot be read by this version"
            ));
        };
        let question = read::<Question>(row.question.take()).unwrap_or_else(|()| {
            unreadable(&mut row.remarks, "question");
            None
        });
        let ranking = read::<Vec<RankedTarget>>(row.ranking.take()).unwrap_or_else(|()| {
            unreadable(&mut row.remarks, "ranking");
            None
        });
        Self {
            row,
            question,
            ranking: ranking.unwrap_or_default(),
        }
    }

    fn candidate(&self, link: LinkId) -> Option<&Candidate> {
        let candidates = &self.question.as_ref()?.candidates;
        candidates.iter().find(|c| c.link_id == link)
    }

    fn clients(&self) -> impl Iterator<Item = i32> {
        let candidates = self.question.iter().flat_map(|q| &q.candidates);
        let offered = self.row.offer.iter().map(|offer| offer.client_id.0);
        candidates.map(|c| c.client_id.0).chain(offered)
    }

    fn show(self, names: &HashMap<ClientId, String>) -> RecordedDecision {
        let candidates = (1..)
            .zip(&self.ranking)
            .map(|(place, target)| {
                let candidate = self.candidate(target.link_id);
                Assessed::of(place, target, candidate, names, None)
            })
            .collect();
        let strategy = self
            .question
            .as_ref()
            .map(|q| q.strategy.as_str().to_owned());
        let chosen = self.row.link_id.map(|link| {
            let candidate = self.candidate(link);
            Chosen::of(link, candidate, self.row.offer.as_ref(), names)
        });
        let explanation = match (&self.row.reason, &chosen) {
            (Some(reason), _) if reason == RefusalReason::NoActiveCampaignForDid.as_str() => {
                with_closed(explain_refusal(reason), &self.row.remarks)
            }
            (Some(reason), _) => explain_refusal(reason),
            (None, Some(chosen)) => {
                let name = chosen.client.as_ref().and_then(|c| c.name.as_deref());
                match name {
                    Some(name) => format!("Offered to {name}."),
                    None => format!("Offered to link {}.", chosen.link_id),
                }
            }
            (None, None) => String::new(),
        };
        let row = self.row;
        RecordedDecision {
            decided_at: Moment(row.decided_at),
            attempt: row.attempt,
            verdict: row.verdict,
            reason: row.reason,
            explanation,
            campaign: row.campaign_id.map(|id| Named {
                id: id.0,
                name: row.campaign_name,
            }),
            strategy,
            chosen,
            candidates,
            remarks: row.remarks,
            node: row.node,
        }
    }
}

impl Chosen {
    fn of(
        link: LinkId,
        candidate: Option<&Candidate>,
        offer: Option<&OfferRow>,
        names: &HashMap<ClientId, String>,
    ) -> Self {
        let client = candidate
            .map(|c| c.client_id)
            .or(offer.map(|o| o.client_id));
        Self {
            link_id: link.0,
            client: client.map(|id| named(id, names)),
            endpoint: offer.map(|o| o.endpoint.clone()),
            offered_at: offer.map(|o| Moment(o.offered_at)),
            ring_timeout_seconds: offer.map(|o| o.ring_timeout_seconds),
            answered_at: offer.and_then(|o| o.answered_at).map(Moment),
            ended_at: offer.and_then(|o| o.ended_at).map(Moment),
            outcome: offer.and_then(|o| o.outcome.clone()),
            dial_status: offer.and_then(|o| o.dial_status.clone()),
            hangup_cause_code: offer.and_then(|o| o.hangup_cause_code),
        }
    }
}

fn read<T: DeserializeOwned>(document: Option<Value>) -> Result<Option<T>, ()> {
    document
        .map(serde_json::from_value)
        .transpose()
        .map_err(|_| ())
}

/// What the answer to a call would be.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    /// The number as it was understood.
    number: String,
    caller_id: Option<String>,
    /// The DID, if there is one.
    did: Option<SimulatedDid>,
    /// The campaign that takes its calls, if one does.
    campaign: Option<SimulatedCampaign>,
    /// `DIAL` or `REJECT`.
    #[schemars(with = "words::DecisionVerdict")]
    verdict: &'static str,
    /// Why it would be refused: a code.
    #[schemars(with = "Option<words::RefusedFor>")]
    reason: Option<&'static str>,
    /// The verdict for people.
    explanation: String,
    /// What the caller's carrier would be told of a refusal (Q.850).
    cause: Option<Cause>,
    /// What the log would say of a refusal.
    #[schemars(with = "Option<words::CallStatus>")]
    call_status: Option<&'static str>,
    /// All links of the campaign, those that could take the call first, in the order to try.
    targets: Vec<Assessed>,
    /// Where no campaign takes the calls: those the DID is tied to that would if they were active.
    closed_campaigns: Vec<ClosedCampaign>,
    remarks: Vec<String>,
}

/// A campaign that is not active.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClosedCampaign {
    id: i32,
    name: String,
    /// `paused` or `inactive`.
    status: String,
}

/// A DID as a decision sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SimulatedDid {
    id: i32,
    number: String,
    active: bool,
    user_id: i32,
    owner_active: bool,
}

/// A campaign as a decision sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SimulatedCampaign {
    id: i32,
    name: Option<String>,
    #[schemars(with = "words::RoutingStrategy")]
    routing_strategy: &'static str,
    dial_timeout_seconds: u32,
}

/// A hangup cause.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Cause {
    code: u8,
    text: &'static str,
}

/// Simulations read on the connections of what can wait, and may not keep all of them.
static SIMULATIONS: Semaphore = Semaphore::const_new(1);

/// How long one waits for others.
const SIMULATION_WAIT: Duration = Duration::from_secs(5);

/// A time this far from now is another time.
const ABOUT_NOW: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

async fn simulate(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<Simulation>, Problem> {
    let Some(did) = query.checked("did", DialledNumber::MAX_CHARS)? else {
        return Err(Problem::bad_request(
            Code::BadParameter,
            "`did` is required: the number dialled, as %2B18005550101.",
        ));
    };
    let caller_id = query.checked("callerId", 50)?.map(str::to_owned);
    let mut remarks = Vec::new();
    if let Some(text) = query.checked("at", 64)? {
        // An unencoded plus of the offset arrives as a blank.
        let at = parse_moment(text).or_else(|| parse_moment(&plus_again(text)));
        let Some(at) = at else {
            return Err(Problem::bad_request(
                Code::BadParameter,
                "`at` must be a date and time such as 2026-01-31T12:00:00Z, or be left out for now.",
            ));
        };
        if at.duration_since(clock::now()).abs() > ABOUT_NOW {
            remarks.push(
                "Nothing depends on the time of day yet: status, caps and turns are those of now."
                    .to_owned(),
            );
        }
    }
    let number = DialledNumber::from_untrusted(did);
    if caller.role == Role::User {
        // Before the decision is made: how long that takes would tell that there is a DID of somebody else.
        let own = match number.key() {
            Some(key) => api.store.is_own_did(caller.user_id, &key).await?,
            None => false,
        };
        if !own {
            return Err(Problem::not_found("DID of yours"));
        }
    }
    let explanation = {
        let turn = tokio::time::timeout(SIMULATION_WAIT, SIMULATIONS.acquire()).await;
        let _turn = turn.map_err(|_| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
                "Too many simulations at once. Try again in a moment.",
            )
        })?;
        api.engine.explain(&number).await?
    };
    let owner = explanation.did.as_ref().map(|did| did.user_id);
    if caller.role == Role::User && owner != Some(caller.user_id) {
        return Err(Problem::not_found("DID of yours"));
    }
    let campaign = match &explanation.campaign {
        None => None,
        Some(campaign) => Some(SimulatedCampaign {
            id: campaign.campaign_id.0,
            name: api
                .store
                .campaign_name(caller.reach(), campaign.campaign_id)
                .await?,
            routing_strategy: campaign.strategy.as_str(),
            dial_timeout_seconds: campaign.ring_timeout_seconds,
        }),
    };
    Ok(Json(Simulation::of(
        &number,
        caller_id,
        &explanation,
        campaign,
        remarks,
    )))
}

/// `2026-01-31T12:00:00 01:00` was `…+01:00`.
fn plus_again(text: &str) -> String {
    match text.rsplit_once(' ') {
        Some((moment, offset)) => format!("{moment}+{offset}"),
        None => text.to_owned(),
    }
}

impl Simulation {
    fn of(
        number: &DialledNumber,
        caller_id: Option<String>,
        explanation: &Explanation,
        campaign: Option<SimulatedCampaign>,
        mut remarks: Vec<String>,
    ) -> Self {
        let links = &explanation.links;
        let names: HashMap<ClientId, String> = links
            .iter()
            .map(|l| (l.candidate.client_id, l.client_name.clone()))
            .collect();
        let decision = explanation.decided.as_ref().map(|(_, decision)| decision);
        let ranking = decision.map_or(&[][..], |decision| &decision.ranking);
        let targets = (1..)
            .zip(ranking)
            .map(|(place, target)| {
                let link = links.iter().find(|l| l.candidate.link_id == target.link_id);
                let candidate = link.map(|l| &l.candidate);
                let endpoint = link.and_then(|l| l.endpoint.clone());
                Assessed::of(place, target, candidate, &names, endpoint)
            })
            .collect();
        let refusal = explanation.refusal;
        let closed: Vec<_> = (explanation.closed.iter().map(ToString::to_string)).collect();
        let told = if let Some(reason) = refusal {
            with_closed(explain_refusal(reason.as_str()), &closed)
        } else {
            let chosen = decision.and_then(Decision::chosen);
            let link = links.iter().find(|l| Some(l.candidate.link_id) == chosen);
            link.map_or_else(String::new, |l| {
                format!("The call would be offered to {}.", l.client_name)
            })
        };
        let campaigns = explanation.did.as_ref().map_or(0, |did| did.campaigns);
        if campaigns > 1 {
            remarks.push(format!(
                "The DID is in {campaigns} active campaigns; the lowest id wins."
            ));
        }
        if explanation
            .campaign
            .as_ref()
            .is_some_and(|c| c.rotation_was_unreadable)
        {
            remarks.push("The stored rotation could not be read and starts anew.".to_owned());
        }
        Self {
            number: number.as_str().to_owned(),
            caller_id,
            did: explanation.did.as_ref().map(|did| SimulatedDid {
                id: did.did_id.0,
                number: did.number.clone(),
                active: did.did_active,
                user_id: did.user_id.0,
                owner_active: did.owner_active,
            }),
            campaign,
            verdict: if refusal.is_some() { "REJECT" } else { "DIAL" },
            reason: refusal.map(RefusalReason::as_str),
            explanation: told,
            cause: refusal.map(|reason| Cause {
                code: reason.hangup_cause().value(),
                text: reason.hangup_cause().text(),
            }),
            call_status: refusal.map(|_| match decision {
                Some(decision) => decision.refusal_disposition().as_str(),
                None => Disposition::RejectedDid.as_str(),
            }),
            targets,
            closed_campaigns: (explanation.closed.iter())
                .map(|c| ClosedCampaign {
                    id: c.campaign_id.0,
                    name: c.name.clone(),
                    status: c.status.clone(),
                })
                .collect(),
            remarks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_told_in_sentences() {
        let cap = |used, limit| Some(Use { used, limit });
        let told = |verdict, concurrency, total| explain(verdict, None, concurrency, total);
        assert_eq!(
            told(Check::ConcurrencyCapReached, cap(5, Some(5)), None),
            "At its concurrency cap: 5 of 5 in use."
        );
        assert_eq!(
            told(Check::TotalCapReached, None, cap(7, Some(7))),
            "At its total cap: 7 of 7 answered or being offered."
        );
        assert_eq!(
            told(Check::TotalCapReached, None, cap(0, Some(0))),
            "At its total cap: it is 0, which lets no call through."
        );
        assert_eq!(
            told(Check::TotalCapReached, None, None),
            "At its total cap."
        );
        assert_eq!(
            explain(Check::Eligible, Some(2), None, None),
            "Can take the call; number 2 in the order to try."
        );
        for reason in RefusalReason::ALL {
            let told = explain_refusal(reason.as_str());
            assert!(!told.starts_with("Refused"), "{told}");
        }
        assert_eq!(explain_refusal("new_rule"), "Refused: new_rule.");
    }

    #[test]
    fn a_plus_that_became_a_blank_is_a_plus_again() {
        let at = parse_moment(&plus_again("2026-01-31T12:00:00 01:00")).expect("a time");
        assert_eq!(at.to_string(), "2026-01-31T11:00:00Z");
    }
}
