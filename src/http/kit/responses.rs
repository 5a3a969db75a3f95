//! Answers in the API's document: what they hold, their headers, examples, and problems.

use std::collections::BTreeSet;

use axum::http::Method;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::examples;
use super::operation::{Content, Meta};
use super::principal::Access;
use super::problem::PROBLEM_JSON;

/// The answers of an operation when all goes well. `versioned` are the paths of things with an `ETag`.
pub fn answers(
    meta: &Meta,
    versioned: &BTreeSet<&str>,
    generator: &mut SchemaGenerator,
) -> Map<String, Value> {
    let mut answers = Map::new();
    for answer in &meta.answers {
        let response = answers
            .entry(answer.status.to_string())
            .or_insert_with(|| json!({ "description": answer.about }));
        let mut list = false;
        match &answer.content {
            Content::Nothing => {}
            Content::Json(schema) => {
                let schema = schema(generator).to_value();
                let name = schema["$ref"].as_str().unwrap_or_default();
                list = name.ends_with("List");
                response["content"]["application/json"]["schema"] = schema;
            }
            Content::Other(media_type) => {
                response["content"][*media_type]["schema"] = json!({ "type": "string" });
            }
            Content::Binary(media_type) => {
                response["content"][*media_type] =
                    json!({ "schema": { "type": "string", "format": "binary" } });
            }
            Content::Events(events) => {
                let schemas: Map<String, Value> = events
                    .iter()
                    .map(|(name, schema)| ((*name).to_owned(), schema(generator).to_value()))
                    .collect();
                response["content"]["text/event-stream"] = json!({
                    "schema": { "type": "string" },
                    "x-events": schemas,
                });
            }
        }
        let mut names = vec!["X-Request-Id"];
        if meta.access != Access::Internal {
            names.extend(["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]);
        }
        if list {
            names.push("Link");
        }
        let made = answer.status == 201;
        if made && !matches!(meta.access, Access::Internal) {
            names.push("Location");
        }
        let one = format!("{}/{{id}}", meta.path);
        let is_json = matches!(answer.content, Content::Json(_));
        let versioned = versioned.contains(meta.path) || made && versioned.contains(one.as_str());
        if versioned && is_json && meta.method != Method::DELETE {
            names.push("ETag");
        }
        response["headers"] = names
            .into_iter()
            .map(|name| {
                let reference = format!("#/components/headers/{name}");
                (name.to_owned(), json!({ "$ref": reference }))
            })
            .collect::<Map<String, Value>>()
            .into();
        if versioned && meta.method == Method::GET {
            answers.insert(
                "304".into(),
                json!({ "description": "The version in `If-None-Match` is the present one." }),
            );
        }
    }
    answers
}

/// Headers that many answers have.
pub fn headers() -> Value {
    let number = json!({ "type": "integer", "minimum": 0 });
    let text = json!({ "type": "string" });
    let all = [
        (
            "X-Request-Id",
            "Names the request in the daemon's log.",
            &text,
        ),
        (
            "ETag",
            "The version: for `If-Match` and `If-None-Match`.",
            &text,
        ),
        ("Location", "The address of what was made.", &text),
        (
            "Link",
            "The next part of the list (`rel=\"next\"`), if there is one (RFC 8288).",
            &text,
        ),
        (
            "RateLimit-Limit",
            "Requests that may come at once.",
            &number,
        ),
        ("RateLimit-Remaining", "How many of them are left.", &number),
        (
            "RateLimit-Reset",
            "Seconds until all are there again.",
            &number,
        ),
    ];
    all.into_iter()
        .map(|(name, about, schema)| {
            let header = json!({ "description": about, "schema": schema });
            (name.to_owned(), header)
        })
        .collect::<Map<String, Value>>()
        .into()
}

/// Gives each answer in JSON an example.
pub fn add_examples(paths: &mut Value, schemas: &Map<String, Value>) {
    let operations = paths.as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in operations
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        let answers = operation["responses"].as_object_mut().into_iter().flatten();
        for (_, answer) in answers {
            if let Some(content) = answer.pointer_mut("/content/application~1json") {
                let example = examples::of(&content["schema"], schemas);
                content["example"] = example;
            }
        }
    }
}

/// Both shapes of problems.
pub fn problem_schemas() -> Map<String, Value> {
    let code = json!({ "$ref": "#/components/schemas/ErrorCode" });
    let request_id =
        json!({ "type": "string", "description": "Names the request in the daemon's log." });
    let problem = json!({
        "type": "object",
        "description": "Why a request was not carried out: `message`, or `errors` by field.",
        "properties": {
            "message": { "type": "string", "description": "For people." },
            "errors": {
                "type": "object",
                "description": "Messages by field, nested as the body is; `_schema` for the body as a whole.",
                "additionalProperties": true,
            },
            "code": code,
            "requestId": request_id,
        },
        "required": ["code", "requestId"],
        "examples": [{
            "errors": { "number": ["Is required."] },
            "code": "invalid_fields", "requestId": "qgkc47qtjngm8p4p",
        }],
    });
    let details = json!({
        "type": "object",
        "description": "The same for those who accept `application/problem+json` (RFC 9457).",
        "properties": {
            "type": { "type": "string", "format": "uri-reference", "description": "Where the code is explained." },
            "title": { "type": "string", "description": "What the code means." },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "For people." },
            "instance": { "type": "string", "format": "uri-reference", "description": "Path and request id." },
            "code": code,
            "requestId": request_id,
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "pointer": {
                            "type": "string",
                            "description": "The place in the body, a JSON pointer as fragment: `#/pjsip/aor/contact`.",
                        },
                        "detail": { "type": "string", "description": "For people." },
                    },
                    "required": ["pointer", "detail"],
                },
            },
        },
        "required": ["type", "title", "status", "detail", "instance", "code", "requestId"],
    });
    [("Problem", problem), ("ProblemDetails", details)]
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

/// Problems by status.
pub fn problems() -> Value {
    let about = [
        (400, "Something in the request is not valid."),
        (401, "Not logged in, or wrong credentials."),
        (403, "Not allowed."),
        (404, "There is no such thing."),
        (405, "There is no such method here."),
        (408, "The body did not arrive in time."),
        (409, "It conflicts with what is there."),
        (412, "It was changed since it was read."),
        (413, "The body is too large."),
        (415, "The body is not JSON."),
        (416, "The range begins after the end."),
        (
            422,
            "The Idempotency-Key was used for another request, or a file cannot be read.",
        ),
        (428, "Changes are taken only with If-Match here."),
        (429, "Too many requests; try again later."),
        (500, "Something went wrong in the daemon."),
        (502, "Asterisk does not do it."),
        (503, "The daemon cannot do it now; try again in a moment."),
        (504, "Another daemon did not do it in time."),
    ];
    let named =
        |name: &str| json!({ "schema": { "$ref": format!("#/components/schemas/{name}") } });
    about
        .into_iter()
        .map(|(status, description)| {
            let response = json!({
                "description": description,
                "headers": { "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } },
                "content": { "application/json": named("Problem"), PROBLEM_JSON: named("ProblemDetails") },
            });
            (status.to_string(), response)
        })
        .collect::<Map<String, Value>>()
        .into()
}
