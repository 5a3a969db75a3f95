//! Errors as clients see them: one shape, a code for programs, a sentence for people, no internals.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::trace;
use crate::routing;
use crate::store;
use crate::telemetry::Chain;

/// Why a request was not carried out. Nothing was changed.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Messages by field; takes the place of the message.
    errors: Option<Map<String, Value>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with a code for programs and a sentence that says what is wrong and how to mend it.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            errors: None,
            headers: Vec::new(),
        }
    }

    /// 400.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400 with messages by field, nested as the body is.
    pub fn fields(errors: Map<String, Value>) -> Self {
        Self {
            errors: Some(errors),
            ..Self::bad_request("invalid_fields", "Some fields are not valid.")
        }
    }

    /// 400 with one message about one field.
    pub fn field(name: &str, message: impl Into<String>) -> Self {
        let mut errors = Map::new();
        errors.insert(name.to_owned(), json!([message.into()]));
        Self::fields(errors)
    }

    /// 401.
    pub fn unauthorized(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    /// 403.
    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 404: there is no such thing, or it is none of the caller's business.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("There is no such {what}."),
        )
    }

    /// 409.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 500. What happened goes to the log, not to the client.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Something went wrong here. The request id leads to the details in the log.",
        )
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
    pub fn code(&self) -> &'static str {
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
        body.insert("code".into(), self.code.into());
        body.insert("requestId".into(), trace::request_id().into());
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        let busy = |message| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
        };
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
                    "unavailable",
                    "Others are at work on this. Try again in a moment.",
                )
            }
        }
    }
}
