//! Versions of what is read, so that nobody overwrites a change he has not seen, and nobody reads again what he has
//! (RFC 9110, 8.8.3 and 13.1).

use std::fmt::Display;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::code::Code;
use super::problem::Problem;
use super::trace;
use crate::runtime::digest;

/// The version of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// Made of what changes with every change: ids and times in microseconds.
    pub fn of(parts: &[i64]) -> Self {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_be_bytes()).collect();
        Self::of_text(&bytes)
    }

    /// Of the text itself: half of its SHA-256, so that every daemon of every version gives the same.
    pub fn of_text(text: &[u8]) -> Self {
        Self(format!("\"{}\"", digest::hex(&Sha256::digest(text)[..16])))
    }

    /// Whether it is one of the versions that the reader has.
    pub fn is_among(&self, known: &[String]) -> bool {
        is_among(&self.0, known)
    }

    /// As the header says it.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
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
            Code::ChangedMeanwhile,
            "This was changed since you read it. Read it again, then repeat your change.",
        ))
    }
}

/// The versions that a reader has, of what it reads.
pub fn known(method: &Method, headers: &HeaderMap) -> Vec<String> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Vec::new();
    }
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().to_owned())
        .collect()
}

/// Whether a version is one of those that the reader has. Weakly compared: the same content, however it is coded.
fn is_among(version: &str, known: &[String]) -> bool {
    let strip = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    known
        .iter()
        .any(|tag| tag == "*" || strip(tag) == strip(version))
}

/// Leaves out the body of an answer whose version the reader has: 304.
pub fn leave_out_known(response: &mut Response, known: &[String]) {
    if known.is_empty() || response.status() != StatusCode::OK {
        return;
    }
    let version = response.headers().get(header::ETAG);
    let Some(version) = version.and_then(|tag| tag.to_str().ok()) else {
        return;
    };
    if is_among(version, known) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        for name in [
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
        ] {
            response.headers_mut().remove(name);
        }
    }
}

/// 201, with the address of what was made: below the address it was made at.
pub fn created_below(id: impl Display, made: impl IntoResponse) -> Response {
    let mut response = (StatusCode::CREATED, made).into_response();
    if let Ok(place) = HeaderValue::try_from(format!("{}/{id}", trace::path())) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
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
