//! Around every request: an id, a span, a deadline, a net for panics, the headers of every answer.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use super::code::Code;
use super::operation::Served;
use super::problem::PROBLEM_JSON;
use super::problem::Problem;
use super::{accept, etag};
use crate::runtime::metrics;

/// Time a handler has to begin its answer.
const DEADLINE: Duration = Duration::from_secs(30);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest id of a request that is taken over from whoever asks.
const MAX_REQUEST_ID: usize = 64;

/// What is known of the request being served, wherever it is served.
#[derive(Debug, Default)]
struct Asked {
    id: String,
    uri: Uri,
    problem_json: bool,
    /// Leads to the next part of the list that is answered.
    next: Mutex<Option<String>>,
}

tokio::task_local! {
    static ASKED: Arc<Asked>;
}

fn asked() -> Arc<Asked> {
    ASKED.try_with(Clone::clone).unwrap_or_default()
}

/// The id of the request being served; empty outside of one.
pub fn request_id() -> String {
    asked().id.clone()
}

/// Its path.
pub fn path() -> String {
    asked().uri.path().to_owned()
}

/// Whether it asks for problems in the shape of RFC 9457.
pub fn wants_problem_json() -> bool {
    asked().problem_json
}

/// Notes where the list goes on that is going to be answered: the header `Link` will say so.
pub fn note_next(cursor: &str) {
    let asked = asked();
    let mut next = asked.next.lock().unwrap_or_else(PoisonError::into_inner);
    *next = Some(cursor.to_owned());
}

/// Work of the request being served, in a task of its own.
pub fn within<F: Future>(work: F) -> impl Future<Output = F::Output> {
    ASKED
        .scope(asked(), work)
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

/// The one value of a header.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The id that a request brings along, if it is one that harms no log.
fn given_request_id(headers: &HeaderMap) -> Option<String> {
    let id = one(headers, &X_REQUEST_ID)?;
    let harmless = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let sane = (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(harmless);
    sane.then(|| id.to_owned())
}

/// A trace that a request belongs to (W3C Trace Context).
#[derive(Debug, PartialEq, Eq)]
struct Trace<'a> {
    id: &'a str,
    flags: &'a str,
}

impl<'a> Trace<'a> {
    fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut parts = one(headers, &TRACEPARENT)?.split('-');
        let version = parts.next()?;
        let (id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let zero = |text: &str| text.bytes().all(|b| b == b'0');
        // Later versions may have more parts.
        let whole = version != "00" || parts.next().is_none();
        let sane = hex(version, 2) && version != "ff" && hex(id, 32) && hex(parent, 16);
        (sane && hex(flags, 2) && whole && !zero(id) && !zero(parent)).then_some(Self { id, flags })
    }

    /// As the answer tells it: our part of the trace has an id of its own.
    fn answered(&self) -> String {
        let part = fastrand::u64(1..);
        format!("00-{}-{part:016x}-{}", self.id, self.flags)
    }
}

/// The outermost layer.
pub async fn layer(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let id = given_request_id(headers).unwrap_or_else(new_request_id);
    let span = tracing::info_span!(
        "http",
        request.id = %id,
        method = %request.method(),
        path = shown(request.uri().path()),
        trace.id = tracing::field::Empty,
    );
    let traceparent = Trace::of(headers).map(|trace| {
        span.record("trace.id", trace.id);
        trace.answered()
    });
    let asked = Arc::new(Asked {
        id,
        uri: request.uri().clone(),
        problem_json: accept::names(headers, header::ACCEPT, PROBLEM_JSON),
        next: Mutex::default(),
    });
    let serving = serve(request, next, Arc::clone(&asked), traceparent);
    ASKED.scope(asked, serving).instrument(span).await
}

/// The address of another part of the list: the same, with another cursor.
fn with_cursor(uri: &Uri, cursor: &str) -> String {
    let query = uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "cursor" && name != "page" {
            pairs.append_pair(&name, &value);
        }
    }
    pairs.append_pair("cursor", cursor);
    format!("{}?{}", uri.path(), pairs.finish())
}

async fn serve(
    request: Request,
    next: Next,
    asked: Arc<Asked>,
    traceparent: Option<String>,
) -> Response {
    let method = request.method().clone();
    let known_versions = etag::known(request.method(), request.headers());
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
                Code::TooSlow,
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
    etag::leave_out_known(&mut response, &known_versions);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&asked.id) {
        headers.insert(X_REQUEST_ID, id);
    }
    if let Some(value) = traceparent.and_then(|value| HeaderValue::try_from(value).ok()) {
        headers.insert(TRACEPARENT, value);
    }
    let next = asked.next.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cursor) = next.as_deref() {
        let first = with_cursor(&asked.uri, super::cursor::START);
        let next = with_cursor(&asked.uri, cursor);
        let links = format!("<{next}>; rel=\"next\", <{first}>; rel=\"first\"");
        if let Ok(links) = HeaderValue::try_from(links) {
            headers.insert(header::LINK, links);
        }
    }
    drop(next);
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

/// What paths begin with whose rest opens a recording to whoever reads it.
pub const SHARED: &str = "/api/shared/recordings/";

/// A path as logs may have it: a link opens what it names to whoever reads it.
fn shown(path: &str) -> &str {
    if path.starts_with(SHARED) {
        "/api/shared/recordings/…"
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn an_id_is_taken_over_if_it_is_short_and_harmless() {
        let given = |values: &[&'static str]| given_request_id(&headers(&X_REQUEST_ID, values));
        assert_eq!(given(&["gw-1.A_b"]), Some("gw-1.A_b".to_owned()));
        for bad in [
            "",
            "a b",
            "a\tb",
            "a\"b",
            "x;y",
            "1234567890123456789012345678901234567890123456789012345678901234x",
        ] {
            assert_eq!(given(&[bad]), None, "{bad:?}");
        }
        assert_eq!(given(&["a", "b"]), None);
    }

    #[test]
    fn a_trace_is_taken_over_if_it_is_one() {
        let of = |text: &'static str| {
            let headers = headers(&TRACEPARENT, &[text]);
            Trace::of(&headers).map(|trace| trace.answered())
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let answered = of(good).expect("a trace");
        assert!(
            answered.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
            "{answered}"
        );
        assert!(answered.ends_with("-01") && answered.len() == good.len() && answered != good);
        assert!(of("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later").is_some());
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn problem_json_is_for_those_who_name_it() {
        let wants = |text: &'static str| {
            accept::names(
                &headers(&header::ACCEPT, &[text]),
                header::ACCEPT,
                PROBLEM_JSON,
            )
        };
        assert!(wants("application/problem+json"));
        assert!(wants("application/json, Application/Problem+JSON;q=0.5"));
        for not in [
            "*/*",
            "application/json",
            "application/problem+json;q=0",
            "",
        ] {
            assert!(!wants(not), "{not}");
        }
    }

    #[test]
    fn the_next_part_has_the_same_filters() {
        let uri: Uri = "/api/x?q=a%26b&page=3&cursor=old"
            .parse()
            .expect("an address");
        assert_eq!(with_cursor(&uri, "new"), "/api/x?q=a%26b&cursor=new");
    }

    #[test]
    fn no_log_has_a_link() {
        assert_eq!(
            shown("/api/shared/recordings/secret"),
            "/api/shared/recordings/…"
        );
        assert_eq!(shown("/api/seller/dids"), "/api/seller/dids");
    }
}
