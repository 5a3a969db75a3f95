//! Examples of answers, made of their schemas: each property has the value that its name calls for.
//!
//! Written by hand they would be right on the day they were written. These change with the types.

use serde_json::{Map, Value, json};

/// Deeper than any answer.
const DEEPEST: usize = 12;

/// Values by the name of a property. What is not here gets one by its type.
const BY_NAME: &[(&str, &str)] = &[
    ("address", r#""192.0.2.10""#),
    ("actor", r#""root_admin""#),
    ("allow", r#""ulaw,alaw,gsm""#),
    ("answerRate", "0.82"),
    ("aors", r#""client_alpha_sales""#),
    ("asteriskLinkedid", r#""1769860800.17""#),
    ("asteriskUniqueid", r#""1769860800.17""#),
    ("audioMs", "61240"),
    ("billsecSeconds", "54"),
    ("caller", r#""+14155550001""#),
    ("callerIdName", r#""Pat""#),
    ("callerIdNum", r#""+14155550001""#),
    ("callerName", r#""Pat""#),
    ("callerNumber", r#""+14155550001""#),
    ("clientIdentifier", r#""client_alpha_sales""#),
    ("client_identifier", r#""client_alpha_sales""#),
    ("companyName", r#""Leads Ltd""#),
    ("confidence", "0.97"),
    ("contact", r#""sip:alpha@192.0.2.20:5060""#),
    ("context", r#""capconduit-none""#),
    ("did", r#""+18005550101""#),
    ("disallow", r#""all""#),
    ("durationMs", "61240"),
    ("durationSeconds", "61"),
    ("email", r#""alice@leads.example""#),
    ("endpoint", r#""client_alpha_sales""#),
    ("engine", r#""vosk""#),
    ("fullName", r#""Alice Example""#),
    ("hangupCauseCode", "16"),
    ("hangupCauseText", r#""Normal Clearing""#),
    ("has_more", "false"),
    ("hasMore", "false"),
    ("incomingDidNumber", r#""+18005550101""#),
    ("leg", r#""mix""#),
    ("logged_in", "true"),
    ("message", r#""Done.""#),
    ("name", r#""Sales US""#),
    ("nextCursor", "null"),
    ("node", r#""pbx1""#),
    ("number", r#""+18005550101""#),
    ("objectId", r#""1""#),
    ("page", "1"),
    ("pages", "1"),
    ("perPage", "20"),
    ("prefix", r#""h7k2m9p4q3rs""#),
    ("requestId", r#""qgkc47qtjngm8p4p""#),
    ("server", r#""pbx1""#),
    (
        "sha256",
        r#""9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08""#,
    ),
    ("sip_uri", r#""PJSIP/client_alpha_sales""#),
    ("text", r#""our prices""#),
    ("total", "1"),
    ("url", r#""/api/shared/recordings/AQAAAAAAABJn""#),
    ("userAgent", r#""curl/8.5.0""#),
    ("username", r#""seller_alice""#),
    ("via", r#""session:17""#),
    ("weight", "100"),
    ("word", r#""prices""#),
];

/// An example of what a schema describes; `schemas` are those that it may name.
pub fn of(schema: &Value, schemas: &Map<String, Value>) -> Value {
    example("", schema, schemas, 0)
}

fn example(name: &str, schema: &Value, schemas: &Map<String, Value>, depth: usize) -> Value {
    if depth > DEEPEST {
        return Value::Null;
    }
    let below = |schema: &Value| example(name, schema, schemas, depth + 1);
    if let Some(named) = schema["$ref"].as_str() {
        let named = named.rsplit('/').next().and_then(|name| schemas.get(name));
        return named.map_or(Value::Null, below);
    }
    if let Some(word) = schema["enum"].as_array().and_then(|words| words.first()) {
        return word.clone();
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let something = choices.iter().find(|schema| schema["type"] != "null");
            return something.map_or(Value::Null, below);
        }
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    if let Some((_, json)) = BY_NAME.iter().find(|(known, _)| *known == name) {
        let value: Value = serde_json::from_str(json).unwrap_or(Value::Null);
        if fits(&value, &kinds) {
            return value;
        }
    }
    match kinds.first().copied() {
        Some("object") => object(schema, schemas, depth),
        Some("array") => {
            let item = &schema["items"];
            if item.is_object() {
                json!([below(item)])
            } else {
                json!([])
            }
        }
        Some("string") if schema["format"] == "date-time" => {
            json!("2026-01-31T12:00:00.123456+00:00")
        }
        Some("string") => json!("text"),
        Some("integer") => json!(1),
        Some("number") => json!(0.5),
        Some("boolean") => json!(true),
        _ => Value::Null,
    }
}

fn object(schema: &Value, schemas: &Map<String, Value>, depth: usize) -> Value {
    let mut object = Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        object.insert(name.clone(), example(name, property, schemas, depth + 1));
    }
    Value::Object(object)
}

fn fits(value: &Value, kinds: &[&str]) -> bool {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    kinds.contains(&kind)
}
