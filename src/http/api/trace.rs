//! Around every request: an id, a span, a deadline, a net for panics, the headers of every answer.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use super::Problem;
use super::operation::Served;
use crate::metrics;

/// Time a handler has to begin its answer.
const DEADLINE: Duration = Duration::from_secs(30);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static REQUEST_ID: String;
}

/// The id of the request being served; empty outside of one.
pub fn request_id() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}

/// Work of the request being served, in a task of its own.
pub fn within<F: Future>(work: F) -> impl Future<Output = F::Output> {
    REQUEST_ID
        .scope(request_id(), work)
        .instrument(tracing::Span::current())
}

/// 80 random bits as 16 letters and digits.
fn new_request_id() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bits = fastrand::u128(..);
    (0..16)
        .map(|_| {
            let letter = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
            char::from(letter)
        })
        .collect()
}

/// The outermost layer.
pub async fn layer(request: Request, next: Next) -> Response {
    let id = new_request_id();
    let span = tracing::info_span!(
        "http",
        request.id = %id,
        method = %request.method(),
        path = request.uri().path(),
    );
    REQUEST_ID
        .scope(id.clone(), serve(request, next, id))
        .instrument(span)
        .await
}

async fn serve(request: Request, next: Next, id: String) -> Response {
    let method = request.method().clone();
    let started = Instant::now();
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(response)) => response,
        // The hook of the panic has logged what happened and where.
        Ok(Err(_)) => Problem::internal().into_response(),
        Err(_) => {
            tracing::error!("a request took longer than {DEADLINE:?}");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_slow",
                "This took too long and was given up. Ask for less at a time.",
            )
            .into_response()
        }
    };
    let elapsed = started.elapsed();
    let served = response.extensions().get::<Served>();
    let route = served.map_or("none", |served| served.path);
    metrics::http_request(
        route,
        method_label(&method),
        response.status().as_u16(),
        elapsed,
    );
    tracing::debug!(
        status = response.status().as_u16(),
        elapsed_ms = elapsed.as_secs_f64() * 1e3,
        "answered"
    );
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// A closed set, whatever a peer sends.
fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
