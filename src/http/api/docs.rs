//! The page that shows the document of the API. It comes from here whole: no other host is asked, and its
//! policy lets the browser ask none.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::Api;

const PAGE: &str = include_str!("assets/docs.html");
const SCRIPT: &str = include_str!("assets/docs.js");
const STYLE: &str = include_str!("assets/docs.css");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and what it loads.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/", get(root))
        .route(
            "/docs",
            get(async || part("text/html; charset=utf-8", PAGE)),
        )
        .route(
            "/docs/docs.js",
            get(async || part("text/javascript; charset=utf-8", SCRIPT)),
        )
        .route(
            "/docs/docs.css",
            get(async || part("text/css; charset=utf-8", STYLE)),
        )
}

/// A browser that was only given the host is shown the page; a program is told that there is nothing here.
async fn root(headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter();
    let mut accept = accept.filter_map(|value| value.to_str().ok());
    if accept.any(|types| types.contains("text/html")) {
        Redirect::to("/docs").into_response()
    } else {
        super::not_found().await.into_response()
    }
}

fn part(media_type: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-cache"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    (
        headers.map(|(name, value)| (name, HeaderValue::from_static(value))),
        text,
    )
        .into_response()
}
