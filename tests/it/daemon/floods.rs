//! Floods of requests beside the daemon's real work.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::TestDb;
use crate::support::daemon::{Daemon, DaemonSettings};

/// What the daemon has in memory: now, and at most so far; in MiB.
fn memory(daemon: &Daemon) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("runs");
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a number") / 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

#[tokio::test]
async fn five_hundred_logins_at_once_take_little_memory() {
    let db = TestDb::new().await;
    let daemon = DaemonSettings::new("flooded", &db.url)
        .with("HTTP__CONNECTIONS_PER_ADDRESS", "1000")
        .with("HTTP__ANONYMOUS_REQUESTS_PER_MINUTE", "1000000")
        .start();
    daemon.wait_ready().await;
    let client = reqwest::Client::new();
    let url = format!("http://{}/api/auth/login", daemon.http);
    let logins = (0..500).map(|n| {
        // As many networks as there are logins would have to be: here all are one, and each name is another.
        let body = json!({"username": format!("nobody{n}"), "password": "wrong"});
        client.post(&url).json(&body).send()
    });
    let mut looked_at = 0;
    for answer in join_all(logins).await {
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        let retry = answer.headers().contains_key("retry-after");
        let body: serde_json::Value = answer.json().await.expect("JSON");
        match status {
            401 => looked_at += 1,
            503 => assert!(retry && body["code"] == "overloaded", "{body}"),
            429 => assert!(retry && body["code"] == "too_many_failed_logins", "{body}"),
            _ => panic!("{status} {body}"),
        }
    }
    assert!(looked_at > 0);
    let (now, most) = memory(&daemon);
    assert!(most < 100, "{most} MiB at most, {now} MiB now");
    // It is as well as before.
    assert_eq!(daemon.get("/readyz").await.0, 200);
    let answer = daemon.route("1.1", &[]).await.expect("an answer");
    assert!(format!("{answer:?}").contains("VERDICT"), "{answer:?}");
}
