//! Errors as clients see them: one shape, a code for programs, a sentence for people, no internals.
//!
//! Whoever accepts `application/problem+json` gets the shape of RFC 9457 instead.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::code::Code;
use super::trace;
use crate::db;
use crate::routing;
use crate::runtime::telemetry::Chain;

/// Media type of problems as RFC 9457 has them.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not carried out. Nothing was changed.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: Code,
    message: String,
    /// Messages by field; takes the place of the message.
    errors: Option<Map<String, Value>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A search that the database gave up: say how to make it easier.
    pub fn too_slow(error: crate::db::Error) -> Self {
        if error.is_overload() {
            return Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::TooSlow,
                "This takes too long. Narrow it with start_date and end_date, or go through the calls with a cursor.",
            );
        }
        error.into()
    }

    /// A problem with a code for programs and a sentence that says what is wrong and how to mend it.
    pub fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        debug_assert!(
            code.statuses().contains(&status.as_u16()),
            "{code:?} does not come with {status}"
        );
        Self {
            status,
            code,
            message: message.into(),
            errors: None,
            headers: Vec::new(),
        }
    }

    /// 400.
    pub fn bad_request(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400 with messages by field, nested as the body is.
    pub fn fields(errors: Map<String, Value>) -> Self {
        Self {
            errors: Some(errors),
            ..Self::bad_request(Code::InvalidFields, "Some fields are not valid.")
        }
    }

    /// 400 with one message about one field.
    pub fn field(name: &str, message: impl Into<String>) -> Self {
        let mut errors = Map::new();
        errors.insert(name.to_owned(), json!([message.into()]));
        Self::fields(errors)
    }

    /// 401.
    pub fn unauthorized(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    /// 403.
    pub fn forbidden(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 404: there is no such thing, or it is none of the caller's business.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Code::NotFound,
            format!("There is no such {what}."),
        )
    }

    /// 409.
    pub fn conflict(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 503: there is too much at work now. Nothing is wrong with the request, nor with the database.
    pub fn overloaded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::Overloaded,
            "There is too much to do right now. Try again in a moment.",
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("2"))
    }

    /// 500. What happened goes to the log, not to the client.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::InternalError,
            "Something went wrong here. The request id leads to the details in the log.",
        )
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// With a header more.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The body, with keys of its own beside the usual ones.
    pub fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        match &self.errors {
            Some(errors) => body.insert("errors".into(), errors.clone().into()),
            None => body.insert("message".into(), self.message.clone().into()),
        };
        body.insert("code".into(), self.code.as_str().into());
        body.insert("requestId".into(), trace::request_id().into());
        body
    }

    /// The body as RFC 9457 has it.
    fn details(&self) -> Value {
        let request_id = trace::request_id();
        let code = self.code.as_str();
        let mut details = json!({
            "type": format!("/docs/errors#{code}"),
            "title": self.code.meaning(),
            "status": self.status.as_u16(),
            "detail": self.message,
            "instance": format!("{}#{request_id}", trace::path()),
            "code": code,
            "requestId": request_id,
        });
        if let Some(errors) = &self.errors {
            let mut list = Vec::new();
            point_at(errors, "#", &mut list);
            details["errors"] = json!(list);
        }
        details
    }
}

/// Each message with the place in the body that it is about (RFC 6901, as the fragment of an address).
fn point_at(errors: &Map<String, Value>, above: &str, list: &mut Vec<Value>) {
    for (name, below) in errors {
        // About the body as a whole.
        let pointer = if name == "_schema" {
            above.to_owned()
        } else {
            let name = name.replace('~', "~0").replace('/', "~1");
            let name = form_urlencoded::byte_serialize(name.as_bytes())
                .collect::<String>()
                .replace('+', "%20")
                .replace("%7E", "~");
            format!("{above}/{name}")
        };
        match below {
            Value::Object(fields) => point_at(fields, &pointer, list),
            Value::Array(messages) => {
                list.extend(
                    messages
                        .iter()
                        .map(|message| json!({ "pointer": pointer, "detail": message })),
                );
            }
            message => list.push(json!({ "pointer": pointer, "detail": message })),
        }
    }
}

/// Among the extensions of an answer that refused a request because its account has enough at work: the same request
/// need not be looked at again for a moment.
#[derive(Debug, Clone)]
pub struct Full(pub Problem);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let full = matches!(self.code, Code::TooManyAtOnce | Code::TooManyExports);
        let full = full.then(|| Full(self.clone()));
        let mut response = if trace::wants_problem_json() {
            let mut response = (self.status, Json(self.details())).into_response();
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
            response
        } else {
            (self.status, Json(self.body())).into_response()
        };
        response
            .headers_mut()
            .append(header::VARY, HeaderValue::from_static("accept"));
        response.headers_mut().extend(self.headers);
        if let Some(full) = full {
            response.extensions_mut().insert(full);
        }
        response
    }
}

impl From<db::Error> for Problem {
    fn from(error: db::Error) -> Self {
        let busy = |message| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
        };
        if error.is_exhausted() {
            // Counted by pool; the database is well.
            tracing::debug!(error = %Chain(&error), "a request found all connections in use");
            return Self::overloaded();
        }
        if error.is_lost_connection() {
            tracing::warn!(error = %Chain(&error), "a request found no database");
            return busy("The database does not answer. Try again in a moment.");
        }
        if error.is_overload() {
            tracing::warn!(error = %Chain(&error), "a request met others at work");
            return busy("Others are at work on this. Try again in a moment.");
        }
        tracing::error!(error = %Chain(&error), "a request failed");
        Self::internal()
    }
}

impl From<routing::Error> for Problem {
    fn from(error: routing::Error) -> Self {
        match error {
            routing::Error::Store(error) => error.into(),
            other => {
                tracing::warn!(error = %Chain(&other), "a request failed");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Code::Unavailable,
                    "Others are at work on this. Try again in a moment.",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_point_at_the_place_in_the_body() {
        let errors = json!({
            "number": ["Is required."],
            "pjsip": { "a/b ~c": ["Wrong.", "Long."] },
            "_schema": ["Must be an object."],
        });
        let mut list = Vec::new();
        point_at(errors.as_object().expect("an object"), "#", &mut list);
        let pointers: Vec<&str> = list.iter().filter_map(|e| e["pointer"].as_str()).collect();
        assert_eq!(
            pointers,
            ["#", "#/number", "#/pjsip/a~1b%20~0c", "#/pjsip/a~1b%20~0c"]
        );
    }
}
