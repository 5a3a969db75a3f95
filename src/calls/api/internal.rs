//! For the dialplan and other programs beside it: what would become of a call, and records of calls that the
//! daemon did not carry.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::calls::store::internal::{Address, Record, Recorded};
use crate::domain::{Check, DialledNumber, LinkId, RefusalReason};
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::form::{Field, Form, Rule, Unknown};
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::Access;
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{ParameterKind, Query, parameter};
use crate::http::kit::{body, trace, words};
use crate::routing::Explanation;

/// The operations.
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/internal/route_info", "getRouteInfo", route_info)
            .tagged("internal", "Ask where a call would go")
            .about(
                "The targets that could take a call to this number now, in the order a call would try them: the \
                 same decision as for a call, on the same data, without claiming anything. Targets at a cap, \
                 of calls at a time or in total, are left out; calls under way count. Where there is none, it is \
                 404 with a `rejectReason`.",
            )
            .access(Access::Internal)
            .query(&[parameter(
                "did",
                ParameterKind::Text,
                "The number exactly as it is stored, its plus percent-encoded: `%2B18005550101`.",
            )])
            .answers::<RouteInfo>(200, "Where it would go.")
            .problems(&[400, 404]),
        Operation::post("/api/internal/log_call", "logCall", log_call)
            .tagged("internal", "Record a call")
            .about(
                "For calls that the daemon did not carry. A record with status ANSWERED and a link's id counts one \
                 call on that link. Each unique id is recorded once: 409 means that it is in the log, or will be \
                 when the daemon's own call ends. Ids that do not belong together are refused.",
            )
            .access(Access::Internal)
            .body(&CALL_RECORD)
            .example(
                r#"{"incomingDidNumber": "+18005550101", "timestampStart": "2026-01-31T12:00:00Z", "callStatus": "ANSWERED", "asteriskUniqueid": "1769860800.17", "userId": 3, "campaignId": 1, "campaignClientSettingId": 1, "durationSeconds": 60, "billsecSeconds": 50}"#,
            )
            .answers::<CallRecorded>(201, "It is recorded.")
            .problems(&[404, 409]),
    ]
}

const MAX_INT: i64 = i32::MAX as i64;
const MIN_INT: i64 = i32::MIN as i64;

const fn id(name: &'static str) -> Field {
    Field::integer(name, MIN_INT, MAX_INT).nullable()
}

static CALL_RECORD: Form = Form {
    name: "CallRecord",
    fields: &[
        Field::line("incomingDidNumber", 1, 50).required(),
        Field::moment("timestampStart").required(),
        Field::text("callStatus", 0, 50, Rule::Line)
            .required()
            .about("Kept in upper case."),
        Field::line("asteriskUniqueid", 1, 50).required(),
        Field::line("asteriskLinkedid", 0, 50).nullable(),
        id("userId"),
        id("campaignId"),
        id("didId"),
        id("clientId"),
        id("campaignClientSettingId").about("Kept, and looked at, where the status is ANSWERED."),
        Field::line("callerIdNum", 0, 50).nullable(),
        Field::line("callerIdName", 0, 100).nullable(),
        Field::moment("timestampAnswered").nullable(),
        Field::moment("timestampEnd").nullable(),
        Field::integer("durationSeconds", 0, MAX_INT).nullable(),
        Field::integer("billsecSeconds", 0, MAX_INT).nullable(),
        Field::integer("hangupCauseCode", MIN_INT, MAX_INT).nullable(),
        Field::line("hangupCauseText", 0, 50).nullable(),
    ],
    unknown: Unknown::Drop,
    at_least_one: false,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallRecord {
    incoming_did_number: String,
    timestamp_start: Timestamp,
    call_status: String,
    asterisk_uniqueid: String,
    asterisk_linkedid: Option<String>,
    user_id: Option<i32>,
    campaign_id: Option<i32>,
    did_id: Option<i32>,
    client_id: Option<i32>,
    campaign_client_setting_id: Option<i32>,
    caller_id_num: Option<String>,
    caller_id_name: Option<String>,
    timestamp_answered: Option<Timestamp>,
    timestamp_end: Option<Timestamp>,
    duration_seconds: Option<i32>,
    billsec_seconds: Option<i32>,
    hangup_cause_code: Option<i32>,
    hangup_cause_text: Option<String>,
}

/// That a call is in the log.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CallRecorded {
    /// `success`.
    status: &'static str,
    message: &'static str,
    /// Its id in the log.
    #[serde(rename = "cdrId")]
    cdr_id: i64,
}

/// Where a call would go.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteInfo {
    /// `proceed`.
    status: &'static str,
    routing_info: RoutingInfo,
}

/// How a call would be routed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RoutingInfo {
    user_id: i32,
    campaign_id: i32,
    did_id: i32,
    /// `priority`, `round_robin` or `weighted`.
    #[serde(rename = "routing_strategy")]
    #[schemars(with = "words::RoutingStrategy")]
    strategy: &'static str,
    dial_timeout_seconds: u32,
    /// One or more, in the order to try them.
    targets: Vec<RouteTarget>,
}

/// A target that could take a call.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RouteTarget {
    /// The link.
    #[serde(rename = "campaignClientSettingId")]
    link_id: i32,
    client_id: i32,
    client_identifier: String,
    client_name: String,
    sip_uri: String,
    max_concurrency: i32,
    weight: u32,
    priority: i32,
    outbound_auth: Option<String>,
    callerid_override: Option<String>,
    context: Option<String>,
    transport: Option<String>,
}

async fn route_info(State(api): State<Api>, query: Query) -> Result<Response, Problem> {
    let Some(number) = query.checked("did", DialledNumber::MAX_CHARS)? else {
        return Err(Problem::bad_request(
            Code::BadParameter,
            "`did` is missing: send the dialled number, its plus as %2B.",
        ));
    };
    let dialled = DialledNumber::from_untrusted(number);
    let (explanation, addresses) = api.engine.explain_with_addresses(&dialled).await?;
    Ok(match routed(number, explanation, addresses) {
        Ok(routing) => Json(RouteInfo {
            status: "proceed",
            routing_info: routing,
        })
        .into_response(),
        Err(reason) => {
            let body = json!({
                "status": "reject",
                "rejectReason": reason.as_str(),
                "code": reason.as_str(),
                "requestId": trace::request_id(),
            });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
    })
}

fn routed(
    number: &str,
    explanation: Explanation,
    mut addresses: Vec<Address>,
) -> Result<RoutingInfo, RefusalReason> {
    // Calls are routed by any spelling; this question is about the number as it is stored.
    let did = explanation.did.filter(|did| did.number == number);
    let did = did.ok_or(RefusalReason::DidNotFound)?;
    if let Some(reason) = explanation.refusal {
        return Err(reason);
    }
    let (Some(campaign), Some((_, decision))) = (explanation.campaign, explanation.decided) else {
        return Err(RefusalReason::NoActiveCampaignForDid);
    };
    let mut address_of = |link_id: LinkId| {
        let at = addresses.iter().position(|a| a.link_id == link_id)?;
        Some(addresses.swap_remove(at))
    };
    let targets: Vec<RouteTarget> = decision
        .ranking
        .iter()
        .filter(|target| target.verdict == Check::Eligible)
        .filter_map(|target| {
            let link = explanation
                .links
                .iter()
                .find(|link| link.candidate.link_id == target.link_id)?;
            // Missing only where it was deleted between one look and the other.
            let address = address_of(target.link_id)?;
            Some(RouteTarget {
                link_id: target.link_id.0,
                client_id: link.candidate.client_id.0,
                client_identifier: address.client_identifier,
                client_name: link.client_name.clone(),
                sip_uri: address.contact,
                max_concurrency: address.max_concurrency,
                weight: link.candidate.weight,
                priority: link.candidate.tier,
                outbound_auth: address.outbound_auth,
                callerid_override: address.caller_id,
                context: address.context,
                transport: address.transport,
            })
        })
        .collect();
    if targets.is_empty() {
        return Err(RefusalReason::NoActiveClientsInCampaign);
    }
    Ok(RoutingInfo {
        user_id: did.user_id.0,
        campaign_id: campaign.campaign_id.0,
        did_id: did.did_id.0,
        strategy: campaign.strategy.as_str(),
        dial_timeout_seconds: campaign.ring_timeout_seconds,
        targets,
    })
}

/// Errors of its own shape: those who ask know it.
async fn log_call(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let bytes = body::read_bytes(request).await?;
    Ok(match recorded(&api, &bytes).await {
        Ok(id) => {
            let recorded = CallRecorded {
                status: "success",
                message: "The call is recorded.",
                cdr_id: id,
            };
            (StatusCode::CREATED, Json(recorded)).into_response()
        }
        Err(problem) if problem.status() == StatusCode::BAD_REQUEST => {
            let mut body = problem.body();
            body.insert("status".into(), "error".into());
            body.entry("message")
                .or_insert_with(|| "Some fields are not valid.".into());
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
        Err(problem) => problem.into_response(),
    })
}

async fn recorded(api: &Api, bytes: &[u8]) -> Result<i64, Problem> {
    let object = body::parse_object(bytes)?;
    let read = CALL_RECORD.read(object).map_err(Problem::fields)?;
    let record: CallRecord = serde_json::from_value(Value::Object(read)).map_err(|error| {
        tracing::error!(%error, "a checked body does not fit its type");
        Problem::internal()
    })?;
    let status = record.call_status.to_uppercase();
    if status.chars().count() > 50 {
        // Some letters become two.
        return Err(Problem::field(
            "callStatus",
            "May have 50 characters at most in upper case.",
        ));
    }
    let longer = |(billed, whole): (i32, i32)| billed > whole;
    if record
        .billsec_seconds
        .zip(record.duration_seconds)
        .is_some_and(longer)
    {
        return Err(Problem::field(
            "billsecSeconds",
            "Must not be more than durationSeconds: what is billed is a part of the call.",
        ));
    }
    let counts = status == "ANSWERED";
    let outcome = api
        .store
        .record_call(&Record {
            asterisk_uniqueid: &record.asterisk_uniqueid,
            asterisk_linkedid: record.asterisk_linkedid.as_deref(),
            user_id: record.user_id,
            campaign_id: record.campaign_id,
            did_id: record.did_id,
            client_id: record.client_id,
            counts_on: record.campaign_client_setting_id.filter(|_| counts),
            incoming_did_number: &record.incoming_did_number,
            caller_id_num: record.caller_id_num.as_deref(),
            caller_id_name: record.caller_id_name.as_deref(),
            timestamp_start: record.timestamp_start,
            timestamp_answered: record.timestamp_answered,
            timestamp_end: record.timestamp_end,
            duration_seconds: record.duration_seconds,
            billsec_seconds: record.billsec_seconds,
            call_status: &status,
            hangup_cause_code: record.hangup_cause_code,
            hangup_cause_text: record.hangup_cause_text.as_deref(),
        })
        .await?;
    match outcome {
        Recorded::As(id) => Ok(id),
        Recorded::Known => Err(Problem::conflict(
            Code::AlreadyRecorded,
            "A call with this asteriskUniqueid is in the log already. Nothing was counted.",
        )),
        Recorded::UnderWay => Err(Problem::conflict(
            Code::CallUnderWay,
            "capconduit carries the call with this asteriskUniqueid and records it itself. Nothing was counted.",
        )),
        Recorded::NoLink => Err(Problem::not_found(
            "link (campaignClientSettingId); nothing was recorded",
        )),
        Recorded::Nothing(field) => Err(Problem::field(
            field,
            "There is no such thing. Leave it out, or send null.",
        )),
        Recorded::Foreign(field) => Err(Problem::field(
            field,
            "Belongs to another seller or campaign than the other ids say.",
        )),
    }
}
