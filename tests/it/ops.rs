//! The ops listener as scrapers, load balancers and rude peers meet it.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::net::SocketAddr;
use std::time::Duration;

use capconduit::http::{Limits, bind, ops, serve};
use capconduit::runtime::metrics;
use capconduit::runtime::supervisor::{EndRequest, Readiness, Supervisor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::support::PATIENCE;

struct Daemon {
    address: SocketAddr,
    readiness: Readiness,
    requests: mpsc::Sender<EndRequest>,
    run: JoinHandle<Result<(), capconduit::runtime::supervisor::Error>>,
}

async fn start(limits: Limits) -> Daemon {
    let mut supervisor = Supervisor::new();
    let signals = supervisor.signals();
    let readiness = Readiness::new(signals.drain.clone());
    let recorder = metrics::recorder().unwrap();
    let router = ops::router(recorder.handle(), readiness.clone());
    let listener = bind(([127, 0, 0, 1], 0).into(), "ops.listen")
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    supervisor.spawn_until_stop("ops", serve(listener, router, limits, signals.stop));
    let (requests, receiver) = mpsc::channel(2);
    let run = tokio::spawn(supervisor.run(receiver, PATIENCE));
    Daemon {
        address,
        readiness,
        requests,
        run,
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(PATIENCE, read).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

/// Waits until the peer closes, and says how long that took.
async fn closed(mut stream: TcpStream) -> Duration {
    let begin = Instant::now();
    let mut rest = Vec::new();
    // A reset is as good an end as a close.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap();
    begin.elapsed()
}

#[tokio::test]
async fn health_metrics_and_errors_are_served() {
    let daemon = start(Limits::OPS).await;

    let (status, _, body) = ask(daemon.address, "GET", "/healthz").await;
    assert_eq!(status, 200);
    assert!(body.contains("alive"), "{body}");

    let (status, head, body) = ask(daemon.address, "GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(
        body.contains("\ncapconduit_build_info{version=\""),
        "{body}"
    );

    for (method, path, expected, code) in [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/metrics", 405, "method_not_allowed"),
    ] {
        let (status, head, body) = ask(daemon.address, method, path).await;
        assert_eq!(status, expected);
        assert!(head.contains("content-type: application/json"), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["code"], code);
    }
}

#[tokio::test]
async fn readiness_follows_the_components_and_ends_with_the_drain() {
    let daemon = start(Limits::OPS).await;
    let database = daemon.readiness.component("database");
    daemon.readiness.component("ari").not_configured();

    let shown = |body: &str, line: &str| body.lines().any(|l| l == line);
    let (_, _, body) = ask(daemon.address, "GET", "/metrics").await;
    for line in [
        "capconduit_ready 0",
        "capconduit_component_ready{component=\"ari\"} 1",
        "capconduit_component_ready{component=\"database\"} 0",
        "capconduit_component_degraded{component=\"database\"} 0",
    ] {
        assert!(shown(&body, line), "no {line} in {body}");
    }
    assert!(body.contains("\nprocess_resident_memory_bytes "), "{body}");

    let (status, _, body) = ask(daemon.address, "GET", "/readyz").await;
    assert_eq!(status, 503);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["components"]["database"]["reason"], "starting");

    database.ready();
    let (status, _, body) = ask(daemon.address, "GET", "/readyz").await;
    assert_eq!(status, 200, "{body}");

    daemon.requests.send(EndRequest("test")).await.unwrap();
    timeout(PATIENCE, daemon.run)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let report = daemon.readiness.report();
    assert!(report.draining && !report.ready);
    assert!(TcpStream::connect(daemon.address).await.is_err());
}

#[tokio::test]
async fn readyz_answers_503_while_others_drain() {
    let mut supervisor = Supervisor::new();
    let signals = supervisor.signals();
    let readiness = Readiness::new(signals.drain.clone());
    readiness.component("agi").ready();
    let router = ops::router(metrics::recorder().unwrap().handle(), readiness);
    let listener = bind(([127, 0, 0, 1], 0).into(), "ops.listen")
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    supervisor.spawn_until_stop("ops", serve(listener, router, Limits::OPS, signals.stop));
    // A session that lasts until the test has seen enough.
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    supervisor.spawn("agi", async move { drop(finished.await) });
    let (requests, receiver) = mpsc::channel(2);
    let run = tokio::spawn(supervisor.run(receiver, PATIENCE));

    requests.send(EndRequest("test")).await.unwrap();
    timeout(PATIENCE, signals.drain.cancelled()).await.unwrap();
    let (status, _, body) = ask(address, "GET", "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("\"draining\":true"), "{body}");
    finish.send(()).unwrap();
    timeout(PATIENCE, run).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn rude_peers_are_closed_and_do_not_keep_others_out() {
    let limits = Limits {
        connections: 3,
        header_timeout: Duration::from_millis(300),
        ..Limits::OPS
    };
    let daemon = start(limits).await;
    let silent = TcpStream::connect(daemon.address).await.unwrap();
    let mut half = TcpStream::connect(daemon.address).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\nX-Slow: ")
        .await
        .unwrap();
    let mut idle = TcpStream::connect(daemon.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();

    // All places are taken; this one waits in the queue until the others have been closed.
    let (status, _, _) = ask(daemon.address, "GET", "/healthz").await;
    assert_eq!(status, 200);
    for stream in [silent, half, idle] {
        assert!(closed(stream).await < PATIENCE);
    }
}

#[tokio::test]
async fn the_end_does_not_wait_for_peers_that_do_not_end() {
    let limits = Limits {
        header_timeout: Duration::from_secs(600),
        drain: Duration::from_millis(100),
        ..Limits::OPS
    };
    let daemon = start(limits).await;
    let mut half = TcpStream::connect(daemon.address).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: ")
        .await
        .unwrap();
    assert_eq!(ask(daemon.address, "GET", "/healthz").await.0, 200);

    daemon.requests.send(EndRequest("test")).await.unwrap();
    timeout(PATIENCE, daemon.run)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    closed(half).await;
}

#[test]
fn the_document_lists_every_metric_with_its_labels_and_no_other() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/observability.md")).unwrap();
    let described: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter(|(name, _)| name.starts_with("capconduit_") || name.starts_with("process_"))
        .filter_map(|(metric, rest)| Some((metric, rest.split_once(" | ")?.0)))
        .collect();
    let known: Vec<(String, &str)> = metrics::ALL
        .iter()
        .chain(metrics::SCRAPED)
        .map(|metric| {
            let name = metric.name;
            let labels = match metric.labels {
                [] => String::new(),
                labels => format!("{{{}}}", labels.join(",")),
            };
            let kind = match metric.kind {
                metrics::Kind::Counter => "counter",
                metrics::Kind::Gauge => "gauge",
                metrics::Kind::Seconds => "histogram",
            };
            (format!("{name}{labels}"), kind)
        })
        .collect();
    let known: Vec<(&str, &str)> = known.iter().map(|(n, k)| (n.as_str(), *k)).collect();
    assert_eq!(described, known);
}

#[tokio::test]
async fn a_port_in_use_names_the_key_to_change() {
    let taken = bind(([127, 0, 0, 1], 0).into(), "ops.listen")
        .await
        .unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind(address, "http.listen").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("change `http.listen`"), "{text}");
    assert!(text.contains(&address.to_string()), "{text}");
}

#[tokio::test]
async fn a_peer_that_never_reads_loses_its_place() {
    let big = axum::Router::new()
        .route("/big", axum::routing::get(async || vec![0_u8; 64 << 20]))
        .route("/small", axum::routing::get(async || "small"));
    let limits = Limits {
        connections: 1,
        age: Duration::from_millis(200),
        drain: Duration::from_millis(100),
        ..Limits::OPS
    };
    let listener = bind(([127, 0, 0, 1], 0).into(), "ops.listen")
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let end = tokio_util::sync::CancellationToken::new();
    let served = tokio::spawn(serve(listener, big, limits, end.clone()));

    let mut stuck = TcpStream::connect(address).await.unwrap();
    stuck
        .write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(ask(address, "GET", "/small").await.0, 200);
    end.cancel();
    timeout(PATIENCE, served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let daemon = start(Limits::OPS).await;
    for request in [
        format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(100_000)),
        format!(
            "GET /healthz HTTP/1.1\r\nHost: h\r\n{}\r\n",
            "X-More: 1\r\n".repeat(1_000)
        ),
    ] {
        let mut stream = TcpStream::connect(daemon.address).await.unwrap();
        // The answer may come, and the connection end, before all is sent.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 414"),
            "{answer:?}"
        );
    }
}
