//! Requests sent again: a POST with an `Idempotency-Key` is carried out once, its answer is given again.
//!
//! The work goes on when the client goes away, so that the answer is there when it comes back. What is not
//! guarded: a daemon that dies between a change and its answer; a minute later the request is taken for new.

use std::panic::AssertUnwindSafe;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::code::Code;
use super::gates::Pass;
use super::principal::Caller;
use super::problem::Problem;
use super::store::{Begun, DEAD, Kept, Key};
use super::{body, trace};
use crate::http::api::Api;
use crate::runtime::digest::hex;
use crate::runtime::telemetry::Chain;

/// Larger answers are not kept.
const MAX_KEPT: usize = 64 * 1024;

/// Headers that belong to an answer.
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// In the extensions of an answer: what to keep in place of its body, which holds a secret.
#[derive(Debug, Clone)]
pub struct KeepInstead(pub Vec<u8>);

/// The key of a request, if it has one.
pub fn key_of(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let text = key.to_str().ok().filter(|text| {
        (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    });
    match (text, keys.next()) {
        (Some(text), None) => Ok(Some(text)),
        _ => Err(Problem::bad_request(
            Code::BadIdempotencyKey,
            "Send one Idempotency-Key of 1 to 255 visible ASCII characters.",
        )),
    }
}

/// Carries out a request with a key, once.
pub async fn serve(
    api: &Api,
    caller: &Caller,
    key: &str,
    request: Request,
    next: Next,
    pass: Pass,
) -> Result<Response, Problem> {
    let (parts, unread) = request.into_parts();
    let bytes = body::read_bytes(Request::from_parts(parts.clone(), unread)).await?;
    let key = Key {
        user_id: caller.user_id,
        hash: hex(&Sha256::digest(key.as_bytes())),
        request_hash: hash_of(key, &parts, &bytes),
    };
    let attempt = match api.store.begin_idempotent(&key).await? {
        Begun::Fresh(attempt) => attempt,
        Begun::Answered(kept) => return Ok(replay(kept)),
        Begun::AtWork => {
            return Err(Problem::conflict(
                Code::RequestAtWork,
                "The first request with this Idempotency-Key is still at work. Send it again in a moment.",
            )
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
        Begun::Other => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Code::IdempotencyKeyReused,
                "This Idempotency-Key came with another request before. Use a new key for each request.",
            ));
        }
    };
    let request = Request::from_parts(parts, Body::from(bytes));
    let api = api.clone();
    let work = tokio::spawn(trace::within(async move {
        // As long as the work goes on, whoever waits for it.
        let _pass = pass;
        // Done before others may take it for dead.
        let answered =
            tokio::time::timeout(DEAD / 2, AssertUnwindSafe(next.run(request)).catch_unwind());
        // The hook of a panic has logged what happened and where; the deadline is the outermost layer's.
        let response = match answered.await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) | Err(_) => Problem::internal().into_response(),
        };
        settle(&api, &key, attempt, response).await
    }));
    work.await.map_err(|error| {
        tracing::error!(%error, "the task of a request died");
        Problem::internal()
    })
}

/// Hashed with the key itself, which is not kept: a password in a body cannot be guessed from it.
fn hash_of(key: &str, parts: &axum::http::request::Parts, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    for part in [key, parts.method.as_str(), path] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(body);
    hash.finalize().into()
}

/// Keeps the answer, or frees the key where it is none to keep.
async fn settle(api: &Api, key: &Key, attempt: Timestamp, response: Response) -> Response {
    let status = response.status();
    let size = response.body().size_hint().exact();
    let keep = !status.is_server_error()
        && status != StatusCode::TOO_MANY_REQUESTS
        // Nothing was done, and doing it again costs no more than looking it up.
        && !(status.is_client_error() && status != StatusCode::CONFLICT)
        && size.is_some_and(|size| size <= MAX_KEPT as u64);
    let (parts, unread) = response.into_parts();
    let (settled, response) = if keep {
        // Of a known, small size: it is there already.
        let bytes = to_bytes(unread, MAX_KEPT).await.unwrap_or_default();
        let instead = parts.extensions.get::<KeepInstead>();
        let kept = Kept {
            status: i32::from(status.as_u16()),
            headers: Value::Object(kept_headers(&parts.headers)),
            body: instead.map_or_else(|| bytes.to_vec(), |instead| instead.0.clone()),
        };
        let settled = api.store.keep_answer(key, attempt, &kept).await;
        (settled, Response::from_parts(parts, Body::from(bytes)))
    } else {
        let settled = api.store.free_key(key, attempt).await;
        (settled, Response::from_parts(parts, unread))
    };
    if let Err(error) = settled {
        tracing::warn!(error = %Chain(&error), "the answer for an Idempotency-Key cannot be kept");
    }
    response
}

fn kept_headers(headers: &HeaderMap) -> Map<String, Value> {
    KEPT_HEADERS
        .iter()
        .filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            Some((name.to_string(), value.into()))
        })
        .collect()
}

fn replay(kept: Kept) -> Response {
    let status = u16::try_from(kept.status).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let Some(status) = status else {
        tracing::error!(status = kept.status, "a kept answer has no status");
        return Problem::internal().into_response();
    };
    let mut response = (status, Bytes::from(kept.body)).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    for name in KEPT_HEADERS {
        let value = kept.headers[name.as_str()].as_str();
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(
        HeaderName::from_static("idempotent-replayed"),
        HeaderValue::from_static("true"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_visible() {
        let read = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_bytes(value).expect("a value");
                headers.append(IDEMPOTENCY_KEY, value);
            }
            key_of(&headers)
                .map(|key| key.map(str::to_owned))
                .map_err(|problem| problem.code().as_str())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"a-1"]), Ok(Some("a-1".into())));
        assert_eq!(read(&[&[b'x'; 255]]), Ok(Some("x".repeat(255))));
        for bad in [&b""[..], b"a b", "ä".as_bytes(), &[b'x'; 256]] {
            assert_eq!(read(&[bad]), Err("bad_idempotency_key"), "{bad:?}");
        }
        assert_eq!(read(&[b"a", b"a"]), Err("bad_idempotency_key"));
    }
}
