//! What explains the API: its document, the page that shows it, and the page of its errors. All come from here whole: no
//! other host is asked, and the pages' policy lets the browser ask none.
//!
//! They are compressed once, and have a version, so that a reader who has them is told so.

use std::io::Write as _;
use std::sync::{LazyLock, OnceLock};

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;

use super::Api;
use crate::http::kit::accept::names;
use crate::http::kit::code::Code;
use crate::http::kit::etag::Tag;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static DOCUMENT: LazyLock<Part> =
    LazyLock::new(|| Part::new("application/json", super::document().to_string()));
static PAGE: LazyLock<Part> =
    LazyLock::new(|| Part::new("text/html; charset=utf-8", include_str!("assets/docs.html")));
static ERRORS: LazyLock<Part> = LazyLock::new(|| Part::new("text/html; charset=utf-8", errors()));
static SCRIPT: LazyLock<Part> = LazyLock::new(|| {
    Part::new(
        "text/javascript; charset=utf-8",
        include_str!("assets/docs.js"),
    )
});
static STYLE: LazyLock<Part> =
    LazyLock::new(|| Part::new("text/css; charset=utf-8", include_str!("assets/docs.css")));

/// The document, the pages and what they load.
pub fn routes() -> Router<Api> {
    let part =
        |part: &'static LazyLock<Part>| get(async move |headers: HeaderMap| part.answer(&headers));
    Router::new()
        .route("/", get(root))
        .route("/api/openapi.json", part(&DOCUMENT))
        .route("/docs", part(&PAGE))
        .route("/docs/errors", part(&ERRORS))
        .route("/docs/docs.js", part(&SCRIPT))
        .route("/docs/docs.css", part(&STYLE))
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

/// A text that is the same for everybody as long as the daemon runs.
struct Part {
    media_type: &'static str,
    text: Bytes,
    tag: Tag,
    gzip: OnceLock<Bytes>,
    brotli: OnceLock<Bytes>,
}

impl Part {
    fn new(media_type: &'static str, text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self {
            media_type,
            tag: Tag::of_text(&text),
            text,
            gzip: OnceLock::new(),
            brotli: OnceLock::new(),
        }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let (coding, text) = if names(headers, header::ACCEPT_ENCODING, "br") {
            (Some("br"), self.brotli.get_or_init(|| brotli(&self.text)))
        } else if names(headers, header::ACCEPT_ENCODING, "gzip") {
            (Some("gzip"), self.gzip.get_or_init(|| gzip(&self.text)))
        } else {
            (None, &self.text)
        };
        let fixed: [(HeaderName, &'static str); 7] = [
            (header::CONTENT_TYPE, self.media_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept-encoding"),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            ),
        ];
        let mut response = text.clone().into_response();
        let put = response.headers_mut();
        for (name, value) in fixed {
            put.insert(name, HeaderValue::from_static(value));
        }
        if let Some(tag) = self.tag.header() {
            put.insert(header::ETAG, tag);
        }
        if let Some(coding) = coding {
            put.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        response
    }
}

fn gzip(text: &Bytes) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    // Writing to memory does not fail.
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.map_or_else(|_| text.clone(), Bytes::from)
}

fn brotli(text: &Bytes) -> Bytes {
    let mut compressed = Vec::new();
    {
        let mut encoder = brotli::CompressorWriter::new(&mut compressed, 4_096, 9, 22);
        // Writing to memory does not fail.
        let _ = encoder.write_all(text);
    }
    compressed.into()
}

/// The page of errors: `type` of a problem leads to one of its rows.
fn errors() -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Errors of the API</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<link rel=\"stylesheet\" href=\"/docs/docs.css\">\n\
         <h1>Errors of the API</h1>\n<p>Each has a <code>code</code> for programs. <a href=\"/docs\">All \
         operations</a></p>\n<table>\n<tr><th>code</th><th>status</th><th>meaning</th></tr>\n",
    );
    for code in Code::ALL {
        let statuses: Vec<String> = code.statuses().iter().map(u16::to_string).collect();
        let (name, meaning) = (code.as_str(), code.meaning());
        page.push_str(&format!(
            "<tr id=\"{name}\"><td><code>{name}</code></td><td>{}</td><td>{meaning}</td></tr>\n",
            statuses.join(", ")
        ));
    }
    page.push_str("</table>\n</html>\n");
    page
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn compressed_it_is_the_same_text() {
        let text = Bytes::from("the same text, ".repeat(1_000));
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&gzip(&text)[..])
            .read_to_string(&mut unpacked)
            .expect("gzip");
        assert_eq!(unpacked, text);
        unpacked.clear();
        brotli::Decompressor::new(&brotli(&text)[..], 4_096)
            .read_to_string(&mut unpacked)
            .expect("brotli");
        assert_eq!(unpacked, text);
    }

    #[test]
    fn a_coding_is_taken_if_it_is_named() {
        let accepts = |text: &'static str, coding| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(text));
            names(&headers, header::ACCEPT_ENCODING, coding)
        };
        assert!(accepts("gzip, deflate, br", "br"));
        assert!(accepts("GZIP;q=0.5", "gzip"));
        assert!(!accepts("gzip;q=0", "gzip"));
        assert!(!accepts("identity", "gzip"));
    }
}
