//! What operators and their tools ask: metrics, and whether the daemon lives and is ready.
//!
//! It checks nothing itself, so that it answers also when everything else is stuck. Without password:
//! its listener belongs on the loopback or an inner network.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use crate::runtime::metrics::{self, Standing};
use crate::runtime::supervisor::Readiness;

#[derive(Clone)]
struct Ops {
    metrics: PrometheusHandle,
    readiness: Readiness,
}

/// The router of the ops listener.
pub fn router(metrics: PrometheusHandle, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(render_metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Ops { metrics, readiness })
}

async fn render_metrics(State(ops): State<Ops>) -> impl IntoResponse {
    let format = "text/plain; version=0.0.4; charset=utf-8";
    let report = ops.readiness.report();
    let standings: Vec<_> = (report.components.iter())
        .map(|(component, shown)| Standing {
            component,
            ready: shown.state != "not ready",
            degraded: shown.state == "degraded",
        })
        .collect();
    let text = ops.metrics.render() + &metrics::scraped(report.ready, &standings);
    ([(header::CONTENT_TYPE, format)], text)
}

/// The process answers, which is all that a restart could mend.
async fn healthz() -> impl IntoResponse {
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({ "status": "alive", "version": version }))
}

async fn readyz(State(ops): State<Ops>) -> impl IntoResponse {
    let report = ops.readiness.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(report))
}

async fn not_found() -> Response {
    let message = "There is only /metrics, /healthz and /readyz here.";
    error(StatusCode::NOT_FOUND, "not_found", message)
}

async fn method_not_allowed() -> Response {
    let message = "Only GET and HEAD are allowed here.";
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}
