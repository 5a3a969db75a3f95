//! Answers made shorter on their way, where that pays and gives nothing away.

use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::operation::Served;

/// Below it an answer fits in a packet anyhow.
const SMALLEST: u16 = 1_024;

/// Quick, and most of what can be had.
const LEVEL: CompressionLevel = CompressionLevel::Precise(4);

/// For whoever accepts gzip or brotli. Not for streams of events, which must not wait to be full; not for sound, which
/// is asked for by ranges; not beside secrets, whose length it would tell.
pub fn layer() -> CompressionLayer<impl Predicate> {
    let worthwhile = SizeAbove::new(SMALLEST)
        .and(NotForContentType::SSE)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::const_new("audio/"))
        .and(without_secrets);
    CompressionLayer::new()
        .quality(LEVEL)
        .compress_when(worthwhile)
}

fn without_secrets(
    status: StatusCode,
    _: Version,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> bool {
    let served = extensions.get::<Served>().map_or("", |served| served.path);
    status != StatusCode::PARTIAL_CONTENT
        && !headers.contains_key(header::SET_COOKIE)
        && !served.starts_with("/api/auth/")
        && !served.starts_with("/api/internal/")
}
