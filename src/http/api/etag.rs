//! Versions of what is read, so that nobody overwrites a change he has not seen (RFC 9110, 8.8.3 and 13.1.1).

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Problem;

/// The version of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// Made of what changes with every change: ids and times in microseconds.
    pub fn of(parts: &[i64]) -> Self {
        // Fixed keys: the same on every daemon and after a restart.
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        Self(format!("\"{:016x}\"", hasher.finish()))
    }

    /// Refuses a change of another version than the one named by `If-Match`, if one is.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut named = headers
            .get_all(header::IF_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .peekable();
        if named.peek().is_none() || named.any(|tag| tag == "*" || tag == self.0) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "changed_meanwhile",
            "This was changed since you read it. Read it again, then repeat your change.",
        ))
    }
}

/// JSON with its version.
#[derive(Debug)]
pub struct Tagged<T>(pub Tag, pub T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.1).into_response();
        if let Ok(tag) = HeaderValue::from_str(&self.0.0) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}
