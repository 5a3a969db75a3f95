//! Closed sets of words, as the API's document names them.
//!
//! A field says `#[schemars(with = "…")]` with one of these: what it holds stays text in Rust and in the database,
//! and programs made from the document get a type. Each set is the list that the code itself goes by.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::code::Code;
use crate::db::request;
use crate::domain::{
    Check, DialStatus, Disposition, Language, Leg, RecordingLanguage as OfCalls, RefusalReason,
    Role as OfAccounts,
};
use crate::routing::store::calls::Outcome;
use crate::transcripts::store::jobs;

/// Statuses of an account.
pub const ACCOUNT_STATUSES: &[&str] = &["active", "inactive", "pending_approval", "suspended"];

/// Statuses of what is only switched on and off.
pub const ACTIVE: &[&str] = &["active", "inactive"];

/// Statuses of a DID.
pub const DID_STATUSES: &[&str] = &["active", "inactive", "pending"];

/// Statuses of a campaign.
pub const CAMPAIGN_STATUSES: &[&str] = &["active", "inactive", "paused"];

/// States of a recording.
pub const RECORDING_STATES: &[&str] = &["expected", "stored", "missing", "deleted"];

const STRATEGIES: &[&str] = &["priority", "round_robin", "weighted"];

/// Whether words that are not in the list may come.
enum Set {
    Closed,
    Open,
}

fn schema(words: &[&'static str], about: &str, set: &Set) -> Schema {
    match set {
        Set::Closed => json_schema!({ "type": "string", "description": about, "enum": words }),
        Set::Open => json_schema!({
            "description": about,
            "anyOf": [{ "type": "string", "enum": words }, { "type": "string" }],
        }),
    }
}

/// Makes the sets known that no answer names, but parameters and bodies.
pub fn register(generator: &mut SchemaGenerator) {
    generator.subschema_for::<ErrorCode>();
    generator.subschema_for::<StatisticsGrouping>();
    generator.subschema_for::<CallsState>();
    generator.subschema_for::<CallOrder>();
    generator.subschema_for::<TranscriptForm>();
}

/// Names a closed set wherever its words stand in a document: a program gets one type for them, not many.
pub fn name_sets(document: &mut Value, schemas: &Map<String, Value>) {
    let mut named: Vec<(BTreeSet<&str>, &str)> = Vec::new();
    for (name, schema) in schemas {
        if let Some(words) = set_of(schema) {
            named.push((words, name));
        }
    }
    put_names(document, &named);
}

/// Makes one list of the words of each set that is described word by word: of such, few generators make a type.
pub fn join_described(schemas: &mut Map<String, Value>) {
    for schema in schemas.values_mut() {
        let Some(each) = schema["oneOf"].as_array() else {
            continue;
        };
        let described: Option<Vec<(&str, &str)>> = each
            .iter()
            .map(|one| Some((one["const"].as_str()?, one["description"].as_str()?)))
            .collect();
        let Some(described) = described else {
            continue;
        };
        let words: Vec<&str> = described.iter().map(|(word, _)| *word).collect();
        let about: Vec<String> = described
            .iter()
            .map(|(word, about)| format!("- `{word}`: {about}"))
            .collect();
        let about = about.join("\n");
        let set = schema["description"].as_str().unwrap_or_default();
        *schema =
            json!({ "type": "string", "enum": words, "description": format!("{set}\n\n{about}") });
    }
}

fn set_of(schema: &Value) -> Option<BTreeSet<&str>> {
    let words = schema["enum"]
        .as_array()
        .filter(|_| schema["type"] == "string")?;
    words.iter().map(Value::as_str).collect()
}

fn put_names(value: &mut Value, named: &[(BTreeSet<&str>, &str)]) {
    if let Some(words) = set_of(value)
        && let Some((_, name)) = named.iter().find(|(set, _)| *set == words)
        && let Some(schema) = value.as_object_mut()
    {
        schema.remove("type");
        schema.remove("enum");
        let reference = format!("#/components/schemas/{name}");
        schema.insert("$ref".into(), reference.into());
        return;
    }
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| put_names(value, named)),
        Value::Object(fields) => {
            for (name, value) in fields {
                // Examples hold no schemas.
                if name != "example" && name != "examples" {
                    put_names(value, named);
                }
            }
        }
        _ => {}
    }
}

macro_rules! words {
    ($($name:ident, $set:ident, $about:literal, $words:expr;)*) => {
        $(
            #[doc = $about]
            #[derive(Debug)]
            pub struct $name;

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    let words: Vec<&'static str> = $words;
                    schema(&words, $about, &Set::$set)
                }
            }
        )*
    };
}

words! {
    Role, Closed, "What an account may do: `user` is a seller.",
        OfAccounts::ALL.iter().map(|role| role.as_str()).collect();
    AccountStatus, Closed, "Whether an account may log in: only an active one.", ACCOUNT_STATUSES.to_vec();
    ActiveStatus, Closed, "Whether it counts in routing.", ACTIVE.to_vec();
    DidStatus, Closed, "Only an active DID takes calls; a pending one waits for staff to confirm it.",
        DID_STATUSES.to_vec();
    CampaignStatus, Closed, "Only an active campaign takes calls.", CAMPAIGN_STATUSES.to_vec();
    RoutingStrategy, Closed, "How the targets of a tier are ordered.", STRATEGIES.to_vec();
    CallStatus, Open,
        "How a call ended. Other words come from records that other programs made, with `log_call`.",
        Disposition::ALL.iter().map(|status| status.as_str()).collect();
    RefusedFor, Closed, "Why a call was refused, in the order of the checks.",
        RefusalReason::ALL.iter().map(|reason| reason.as_str()).collect();
    DialResult, Closed, "Asterisk's `DIALSTATUS` of an attempt.",
        DialStatus::ALL.iter().map(|(_, name)| *name).collect();
    AttemptOutcome, Closed, "What became of an attempt.",
        Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
    DecisionVerdict, Closed, "What the dialplan was told to do.", vec!["DIAL", "REJECT"];
    CandidateVerdict, Closed, "`eligible`, or the first check that a candidate failed.",
        Check::ALL.iter().map(|check| check.as_str()).collect();
    RecordingState, Closed, "Where a recording stands: only a stored one can be heard.",
        RECORDING_STATES.to_vec();
    JobState, Closed, "Where a transcription stands; `waiting` is for the recording.", jobs::STATES.to_vec();
    CallLanguage, Closed, "The language of a campaign's calls: `auto` is either, found out for each utterance.",
        OfCalls::ALL.iter().map(|language| language.as_str()).collect();
    SpokenLanguage, Closed, "A language, by its ISO 639-1 code.",
        Language::ALL.iter().map(|language| language.as_str()).collect();
    RecordingLeg, Closed, "Who is heard: both, the caller, or the agent.",
        Leg::ALL.iter().map(|leg| leg.as_str()).collect();
    Speaker, Closed, "Who spoke.", vec!["caller", "agent"];
    AuditObject, Open, "What kind of thing was changed. Others may come.", request::OBJECTS.to_vec();
    AuditAction, Open, "What was done. Others may come.", request::ACTIONS.to_vec();
    StatisticsGrouping, Closed, "What calls are counted by.", crate::calls::api::statistics::GROUPS.to_vec();
    CallsState, Closed, "Calls under way, or ended ones.", crate::calls::api::live::STATES.to_vec();
    CallOrder, Closed, "The order of ended calls.", crate::calls::api::logs::SORTS.to_vec();
    TranscriptForm, Closed, "The form of a transcript.", crate::transcripts::api::transcripts::FORMATS.to_vec();
    ErrorCode, Open, "Why a request was not carried out, for programs. Others may come.",
        Code::ALL.iter().map(|code| code.as_str()).collect();
}
