//! The API's document (`OpenAPI` 3.1), made of the table of operations.

use std::collections::BTreeSet;

use axum::http::Method;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::form::Form;
use super::operation::Meta;
use super::principal::{Access, scope};
use super::{responses, words};

/// Builds the document. The same operations give the same text.
pub fn document(operations: &[&Meta]) -> Value {
    // As answers are written: a field that may be null is there all the same.
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut forms = Map::new();
    let mut paths = Map::new();
    let mut tags = BTreeSet::new();
    let versioned: BTreeSet<&str> = operations
        .iter()
        .filter(|meta| meta.problems.contains(&412))
        .map(|meta| meta.path)
        .collect();
    for meta in operations {
        tags.insert(meta.tag);
        let mut answers = responses::answers(meta, &versioned, &mut generator);
        for status in problems(meta) {
            let component = json!({ "$ref": format!("#/components/responses/{status}") });
            answers.entry(status.to_string()).or_insert(component);
        }
        let mut operation = json!({
            "operationId": meta.id,
            "tags": [meta.tag],
            "summary": meta.summary,
            "responses": answers,
            "security": security(meta),
        });
        let roles: Vec<&str> = meta
            .access
            .roles()
            .iter()
            .map(|role| role.as_str())
            .collect();
        if !roles.is_empty() {
            operation["x-roles"] = json!(roles);
        }
        if let Some((scope, wider)) = scopes(meta) {
            operation["x-scope"] = json!(scope);
            operation["x-scope-wider"] = json!(wider);
        }
        if let Some(path) = meta.alias_of {
            operation["x-alias-of"] = json!(path);
        }
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
    words::register(&mut generator);
    let mut schemas = generator.take_definitions(true);
    words::join_described(&mut schemas);
    let mut forms = Value::Object(forms);
    words::name_sets(&mut forms, &schemas);
    if let Value::Object(forms) = forms {
        schemas.extend(forms);
    }
    schemas.extend(responses::problem_schemas());
    let mut paths = Value::Object(paths);
    words::name_sets(&mut paths, &schemas);
    responses::add_examples(&mut paths, &schemas);
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
            "responses": responses::problems(),
            "headers": responses::headers(),
            "securitySchemes": {
                "session": {
                    "type": "apiKey", "in": "cookie", "name": "session",
                    "description": "Set by `POST /api/auth/login`.",
                },
                "apiKey": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "cck_…",
                    "description": "Made by `POST /api/auth/keys`. It may do what one of the scopes named beside it allows.",
                },
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
    let mut parts = Vec::new();
    if let Some(path) = meta.alias_of {
        parts.push(format!(
            "The same as `{} {path}`. Both addresses stay.",
            meta.method
        ));
    }
    if !meta.about.is_empty() {
        parts.push(meta.about.to_owned());
    }
    parts.push(if meta.session_only {
        format!("{who} Not for API keys.")
    } else {
        who.to_owned()
    });
    if meta.fresh {
        parts.push(
            "Only within 5 minutes of a log-in or of `POST /api/auth/reauthenticate`; later it is 403, \
             `fresh_login_required`."
                .to_owned(),
        );
    }
    parts.join("\n\n")
}

/// The scope that an API key needs for it, and the wider one that does as well.
fn scopes(meta: &Meta) -> Option<(String, &'static str)> {
    let by_key = !meta.access.roles().is_empty() && !meta.session_only;
    by_key.then(|| scope(meta.tag, &meta.method))
}

/// Each way in by itself is enough.
fn security(meta: &Meta) -> Value {
    match (meta.access, scopes(meta)) {
        (Access::Public, _) => json!([]),
        (Access::Internal, _) => json!([{ "internalToken": [] }]),
        (_, None) => json!([{ "session": [] }]),
        (_, Some((scope, wider))) => {
            json!([{ "session": [] }, { "apiKey": [scope] }, { "apiKey": [wider] }])
        }
    }
}

/// What can go wrong, as far as it follows from what the operation is.
fn problems(meta: &Meta) -> BTreeSet<u16> {
    let mut statuses: BTreeSet<u16> = meta.problems.iter().copied().collect();
    // A parameter that is not known is a 400, everywhere if the request prefers strict handling.
    statuses.extend([400, 429, 500, 503]);
    match meta.access {
        Access::Public => {}
        Access::Internal => {
            statuses.insert(401);
        }
        _ => statuses.extend([401, 403]),
    }
    if takes_idempotency_key(meta) {
        statuses.extend([409, 422]);
    }
    if meta.path.contains('{') {
        statuses.insert(404);
    }
    if meta.form.is_some() {
        statuses.extend([408, 413, 415]);
    }
    if statuses.contains(&412) {
        statuses.insert(428);
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
                "token" => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{87}$" }),
                _ => json!({ "type": "integer", "minimum": 1 }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        });
    let in_query = meta.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name, "in": "query",
            "description": parameter.about,
            "schema": parameter.schema(),
        })
    });
    let mut parameters: Vec<Value> = in_path.chain(in_query).collect();
    parameters.extend(meta.headers.iter().map(|header| {
        json!({
            "name": header.name, "in": "header",
            "description": header.about,
            "schema": header.schema(),
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
