//! Pages of other sites that may use the API: those that are listed, and no others (the Fetch standard's CORS).
//!
//! The list is `http.cors_origins`. What it lets in, [`crate::accounts::guard::check_origin`] takes for one of us too.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Origins as browsers write them: `https://console.example.com`.
pub type Origins = Arc<[HeaderValue]>;

const METHODS: &str = "GET, HEAD, POST, PUT, DELETE";

/// What a page may send.
const TAKEN: &str = "accept, authorization, content-type, idempotency-key, if-match, if-none-match, if-range, \
    last-event-id, range, traceparent, x-request-id";

/// What a page may read beyond the ordinary.
const SHOWN: &str = "accept-ranges, content-disposition, content-length, content-range, deprecation, etag, \
    idempotent-replayed, link, location, ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after, sunset, \
    traceparent, x-request-id";

/// How long a browser need not ask again, in seconds.
const KEPT: &str = "600";

/// The origins, as headers have them.
pub fn origins(listed: &[String]) -> Origins {
    let values = listed
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok());
    values.collect()
}

/// Answers what browsers ask beforehand, and lets listed pages read answers.
pub async fn layer(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let listed = origin.filter(|origin| origins.contains(origin));
    let asks_beforehand = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &listed {
        Some(_) if asks_beforehand => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            let put = response.headers_mut();
            insert(put, header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            insert(put, header::ACCESS_CONTROL_ALLOW_HEADERS, TAKEN);
            insert(put, header::ACCESS_CONTROL_MAX_AGE, KEPT);
            response
        }
        _ => next.run(request).await,
    };
    let put = response.headers_mut();
    put.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = listed {
        put.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        insert(put, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        insert(put, header::ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN);
    }
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
