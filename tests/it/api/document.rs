//! The API's document.

use std::collections::HashSet;

use capconduit::http::kit::code::Code;
use serde_json::Value;

use crate::support::api::ApiServer;

/// The committed copy, for people and programs that have no daemon at hand.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

#[test]
fn the_committed_document_is_that_of_the_code() {
    let mut now = serde_json::to_string_pretty(&capconduit::http::api::document()).expect("JSON");
    now.push('\n');
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    if committed != now {
        // Written where it can be compared; UPDATE_DOCUMENT=1 takes it over.
        if std::env::var_os("UPDATE_DOCUMENT").is_some() {
            std::fs::write(COMMITTED, now).expect("writes");
            return;
        }
        panic!("docs/openapi.json is not what the code says: run the tests with UPDATE_DOCUMENT=1");
    }
}

/// Each place that a value or what is in it refers to.
fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(place) if name == "$ref" => vec![place],
                _ => references(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn what_the_document_refers_to_is_in_it() {
    let document = capconduit::http::api::document();
    let found = references(&document);
    assert!(found.len() > 1_000, "{} references", found.len());
    for place in found {
        let within = place.strip_prefix('#').expect("a place of the document");
        assert!(document.pointer(within).is_some(), "{place} is not there");
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let server = ApiServer::start().await;
    let answer = server.anonymous().get("/api/openapi.json").await;
    assert_eq!(answer.expect(200), capconduit::http::api::document());
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md");

/// What stands between the marks in docs/api.md.
fn table_of_codes() -> String {
    let mut table = String::from("\n| code | status | |\n| --- | --- | --- |\n");
    let mut codes = Code::ALL.to_vec();
    codes.sort_by_key(|code| code.statuses()[0]);
    for code in codes {
        let statuses: Vec<String> = code.statuses().iter().map(u16::to_string).collect();
        let (name, statuses) = (code.as_str(), statuses.join(", "));
        table.push_str(&format!("| `{name}` | {statuses} | {} |\n", code.meaning()));
    }
    table.push('\n');
    table
}

#[test]
fn the_page_lists_the_codes_that_there_are_and_no_others() {
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let (before, rest) = page.split_once("<!-- codes").expect("a mark");
    let (mark, rest) = rest.split_once("-->\n").expect("its end");
    let (table, after) = rest.split_once("<!-- end of codes").expect("a mark");
    if table != table_of_codes() {
        if std::env::var_os("UPDATE_DOCUMENT").is_some() {
            let page = format!(
                "{before}<!-- codes{mark}-->\n{}<!-- end of codes{after}",
                table_of_codes()
            );
            std::fs::write(PAGE, page).expect("writes");
            return;
        }
        panic!(
            "docs/api.md does not list the codes there are: run the tests with UPDATE_DOCUMENT=1"
        );
    }
}

/// A code is a [`Code`]: a body that is put together by hand has none of its own.
#[test]
fn no_answer_has_a_code_that_is_not_listed() {
    let known: HashSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http");
    let mut folders = vec![std::path::PathBuf::from(folder)];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for mark in ["\"code\": \"", "\"code\".into(), \"", "(\"code\", \""] {
                for (at, _) in text.match_indices(mark) {
                    let code = text[at + mark.len()..]
                        .split('"')
                        .next()
                        .unwrap_or_default();
                    // Of a second factor, in an example.
                    let is_digits = code.bytes().all(|b| b.is_ascii_digit());
                    assert!(
                        is_digits || known.contains(code),
                        "{}: {code}",
                        path.display()
                    );
                }
            }
            looked += 1;
        }
    }
    assert!(looked > 30, "{looked}");
}

fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let mut operations = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            operations.push((format!("{method} {path}"), operation.clone()));
        }
    }
    operations
}

#[test]
fn each_operation_says_who_may_use_it_and_has_examples() {
    let document = capconduit::http::api::document();
    for (name, operation) in operations(&document) {
        let roles = operation["x-roles"].as_array().map_or(0, Vec::len);
        let open = name.contains("/api/internal/")
            || name.contains("/api/shared/")
            || name.ends_with("/api/auth/login");
        assert_eq!(roles == 0, open, "{name}");
        let security = operation["security"].to_string();
        if let Some(scope) = operation["x-scope"].as_str() {
            assert!(security.contains(scope), "{name}");
            let action = if name.starts_with("get ") {
                "read"
            } else {
                "write"
            };
            assert!(scope.ends_with(action), "{name}: {scope}");
        }
        for (status, answer) in operation["responses"].as_object().expect("answers") {
            let Some(content) = answer.pointer("/content/application~1json") else {
                continue;
            };
            let schema = &content["schema"];
            assert!(
                fits(&content["example"], schema, &document, 0),
                "{name} {status}: {}",
                content["example"]
            );
        }
    }
}

/// As far as types, required properties and sets of words go.
fn fits(value: &Value, schema: &Value, document: &Value, depth: usize) -> bool {
    if depth > 30 {
        return true;
    }
    let fits = |value: &Value, schema: &Value| fits(value, schema, document, depth + 1);
    if let Some(reference) = schema["$ref"].as_str() {
        let named = document
            .pointer(&reference[1..])
            .expect("what is referred to");
        return fits(value, named);
    }
    if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        return choices.iter().any(|schema| fits(value, schema));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return false;
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return true,
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let whole_for_any = kind == "integer" && kinds.contains(&"number");
    if !kinds.contains(&kind) && !whole_for_any {
        return false;
    }
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, &schema["items"])),
        Value::Object(object) => {
            let required = schema["required"].as_array().into_iter().flatten();
            let there = required
                .filter_map(Value::as_str)
                .all(|name| object.contains_key(name));
            let sound = |(name, value): (&String, &Value)| fits(value, &schema["properties"][name]);
            there && object.iter().all(sound)
        }
        _ => true,
    }
}

#[test]
fn answers_have_names_closed_sets_and_fields_that_are_there() {
    let document = capconduit::http::api::document();
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    for name in schemas.keys() {
        assert!(!name.starts_with("Listed"), "{name}");
        assert!(
            !name.ends_with(|c: char| c.is_ascii_digit()),
            "{name}: two types of one name"
        );
    }
    for (schema, field) in [
        ("User", "role"),
        ("User", "status"),
        ("Did", "status"),
        ("Campaign", "status"),
        ("Campaign", "routingStrategy"),
        ("LoggedCall", "callStatus"),
        ("LoggedCall", "refusalReason"),
        ("OfferOfCall", "outcome"),
        ("OfferOfCall", "dialStatus"),
        ("Recording", "state"),
        ("Job", "state"),
        ("Assessed", "verdict"),
        ("AuditEntry", "action"),
        ("AuditEntry", "objectType"),
        ("Problem", "code"),
    ] {
        let property = &schemas[schema]["properties"][field];
        let text = property.to_string();
        let named = text
            .split("#/components/schemas/")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let set = named.map(|name| schemas[name].to_string()).unwrap_or(text);
        assert!(set.contains("\"enum\""), "{schema}.{field}: {set}");
    }
    // A field that may be null is there all the same.
    let required = schemas["LoggedCall"]["required"].to_string();
    for field in ["timestampAnswered", "campaign", "refusalReason"] {
        assert!(required.contains(&format!("\"{field}\"")), "{field}");
    }
}
