//! The API's document (`OpenAPI` 3.1), made of the table of operations.

use std::collections::BTreeSet;

use axum::http::Method;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::access::Access;
use super::form::Form;
use super::operation::{Content, Meta};

/// Builds the document. The same operations give the same text.
pub fn document(operations: &[&Meta]) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut forms = Map::new();
    let mut paths = Map::new();
    let mut tags = BTreeSet::new();
    for meta in operations {
        tags.insert(meta.tag);
        let mut responses = Map::new();
        for answer in &meta.answers {
            let response = responses
                .entry(answer.status.to_string())
                .or_insert_with(|| json!({ "description": answer.about }));
            match &answer.content {
                Content::Nothing => {}
                Content::Json(schema) => {
                    response["content"]["application/json"]["schema"] =
                        schema(&mut generator).to_value();
                }
                Content::Other(media_type) => {
                    response["content"][*media_type]["schema"] = json!({ "type": "string" });
                }
                Content::Binary(media_type) => {
                    response["content"][*media_type] = json!({});
                }
            }
        }
        for status in problems(meta) {
            let component = json!({ "$ref": format!("#/components/responses/{status}") });
            responses.entry(status.to_string()).or_insert(component);
        }
        let mut operation = json!({
            "operationId": meta.id,
            "tags": [meta.tag],
            "summary": meta.summary,
            "responses": responses,
            "security": security(meta),
        });
        let about = about(meta);
        if !about.is_empty() {
            operation["description"] = json!(about);
        }
        let parameters = parameters(meta);
        if !parameters.is_empty() {
            operation["parameters"] = json!(parameters);
        }
        if let Some(form) = meta.form {
            forms.insert(form.name.to_owned(), form.schema());
            operation["requestBody"] = request_body(meta, form);
        }
        paths.entry(meta.path).or_insert_with(|| json!({}))[meta.method.as_str().to_lowercase()] =
            operation;
    }
    let mut schemas = generator.take_definitions(true);
    schemas.extend(forms);
    schemas.insert("Problem".into(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "capconduit",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Manage call sellers, call centres and campaigns, and read what became of their calls.",
        },
        "servers": [{ "url": "/" }],
        "tags": tags.iter().map(|tag| json!({ "name": tag })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problem_responses(),
            "securitySchemes": {
                "session": { "type": "apiKey", "in": "cookie", "name": "session" },
                "apiKey": { "type": "http", "scheme": "bearer" },
                "internalToken": { "type": "apiKey", "in": "header", "name": "X-Internal-API-Token" },
            },
        },
    })
}

fn about(meta: &Meta) -> String {
    let who = match meta.access {
        Access::Public => "For anybody.",
        Access::SignedIn => "For every account.",
        Access::Seller => "For sellers.",
        Access::Staff => "For administrators and staff.",
        Access::Admin => "For administrators.",
        Access::Internal => "For programs with the internal token.",
    };
    match (meta.about, meta.session_only) {
        ("", false) => who.to_owned(),
        ("", true) => format!("{who} Not for API keys."),
        (about, false) => format!("{about}\n\n{who}"),
        (about, true) => format!("{about}\n\n{who} Not for API keys."),
    }
}

fn security(meta: &Meta) -> Value {
    match (meta.access, meta.session_only) {
        (Access::Public, _) => json!([]),
        (Access::Internal, _) => json!([{ "internalToken": [] }]),
        (_, true) => json!([{ "session": [] }]),
        (_, false) => json!([{ "session": [] }, { "apiKey": [] }]),
    }
}

/// What can go wrong, as far as it follows from what the operation is.
fn problems(meta: &Meta) -> BTreeSet<u16> {
    let mut statuses: BTreeSet<u16> = meta.problems.iter().copied().collect();
    statuses.extend([429, 500, 503]);
    match meta.access {
        Access::Public => {}
        Access::Internal => {
            statuses.insert(401);
        }
        _ => statuses.extend([401, 403]),
    }
    if takes_idempotency_key(meta) {
        statuses.extend([400, 409, 422]);
    }
    if meta.path.contains('{') {
        statuses.insert(404);
    }
    if meta.form.is_some() {
        statuses.extend([400, 408, 413, 415]);
    }
    statuses
}

/// The guard carries out a request with such a key once.
fn takes_idempotency_key(meta: &Meta) -> bool {
    meta.method == Method::POST && !matches!(meta.access, Access::Public | Access::Internal)
}

fn parameters(meta: &Meta) -> Vec<Value> {
    let in_path = meta
        .path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .map(|name| {
            let schema = match name {
                "name" => json!({ "type": "string" }),
                _ => json!({ "type": "integer", "minimum": 1 }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        });
    let in_query = meta.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name, "in": "query",
            "description": parameter.about,
            "schema": parameter.kind.schema(),
        })
    });
    let mut parameters: Vec<Value> = in_path.chain(in_query).collect();
    parameters.extend(meta.headers.iter().map(|header| {
        json!({
            "name": header.name, "in": "header",
            "description": header.about,
            "schema": header.kind.schema(),
        })
    }));
    if meta.problems.contains(&412) {
        parameters.push(json!({
            "name": "If-Match", "in": "header",
            "description": "ETag of the version the change is meant for; another version answers 412.",
            "schema": { "type": "string" },
        }));
    }
    if takes_idempotency_key(meta) {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header",
            "description": "A key of your choice for this request. Sent again with it within 24 hours, it is not \
                            carried out again: the same answer comes, with `Idempotent-Replayed: true`. Answers \
                            with 429 or 5xx, and those over 64 KiB, are not kept.",
            "schema": { "type": "string", "pattern": "^[!-~]{1,255}$" },
        }));
    }
    parameters
}

fn request_body(meta: &Meta, form: &Form) -> Value {
    let mut content =
        json!({ "schema": { "$ref": format!("#/components/schemas/{}", form.name) } });
    if let Some(example) = meta.example {
        content["example"] = serde_json::from_str(example).unwrap_or(Value::Null);
    }
    json!({ "required": !meta.body_optional, "content": { "application/json": content } })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "Why a request was not carried out: `message`, or `errors` by field.",
        "properties": {
            "message": { "type": "string", "description": "For people." },
            "errors": {
                "type": "object",
                "description": "Messages by field, nested as the body is; `_schema` for the body as a whole.",
            },
            "code": { "type": "string", "description": "For programs." },
            "requestId": { "type": "string", "description": "Names the request in the daemon's log." },
        },
        "required": ["code", "requestId"],
    })
}

fn problem_responses() -> Value {
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
        (502, "Asterisk did not do it."),
        (416, "The range begins after the end."),
        (422, "The Idempotency-Key was used for another request."),
        (429, "Too many requests; try again later."),
        (500, "Something went wrong in the daemon."),
        (503, "The daemon cannot do it now; try again in a moment."),
    ];
    let mut responses = Map::new();
    for (status, description) in about {
        responses.insert(
            status.to_string(),
            json!({
                "description": description,
                "content": { "application/json": {
                    "schema": { "$ref": "#/components/schemas/Problem" } } },
            }),
        );
    }
    Value::Object(responses)
}
