//! Who may not see callers sees no number whole, and no name, wherever they are shown.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fair_shares::many_calls;
use crate::support::api::{ApiClient, ApiServer};
use crate::support::eventually;

const NUMBER: &str = "+14155550001";
const SHORTENED: &str = "+141•••01";

async fn world() -> (ApiServer, ApiClient) {
    let server = ApiServer::start().await;
    server
        .db
        .run(
            "insert into call_logs (id, user_id, incoming_did_number, caller_id_num, caller_id_name, timestamp_start,
                                    timestamp_end, duration_seconds, billsec_seconds, call_status)
                 values (1, 3, '+18005550100', '+14155550001', 'Carla Caller', now(), now(), 1, 1, 'ANSWERED'),
                        (2, 3, '+18005550100', '+14155550002', 'Other Caller', now(), now(), 1, 1, 'ANSWERED');
             insert into calls (call_id, asterisk_uniqueid, asterisk_linkedid, channel, node_name, user_id,
                                incoming_did_number, caller_id_num, caller_id_name, started_at, expires_at)
                 values (7, '7.1', '7.1', 'PJSIP/x-1', 'n', 3, '+18005550100', '+14155550001', 'Carla Caller', now(),
                         now() + interval '1 hour')",
        )
        .await;
    let admin = server.login("admin").await;
    (server, admin)
}

/// All that shows callers to sellers, as text. Of the stream of events the first one.
async fn all_that_shows_callers(client: &ApiClient) -> Vec<(&'static str, String)> {
    let mut shown = Vec::new();
    for path in [
        "/api/seller/logs",
        "/api/seller/logs/1",
        "/api/seller/logs/export",
        "/api/seller/calls",
        "/api/seller/logs?caller=%2B14155550001",
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        shown.push((path, answer.text));
    }
    let mut stream = client.http.get(format!("{}/api/events", client.base));
    for (name, value) in &client.headers {
        stream = stream.header(name, value);
    }
    let mut stream = stream.send().await.expect("a stream");
    let first = stream.chunk().await.expect("reads").expect("an event");
    shown.push(("/api/events", String::from_utf8_lossy(&first).into_owned()));
    shown
}

#[tokio::test]
async fn without_the_permission_no_number_is_shown_whole_and_no_name() {
    let (server, admin) = world().await;
    let alice = server.login("alice").await;
    for (path, text) in all_that_shows_callers(&alice).await {
        assert!(text.contains(NUMBER), "as before: {path}: {text}");
    }
    let change = json!({"callersShown": false});
    let changed = admin.put("/api/admin/users/3", change).await.expect(200);
    assert_eq!(changed["callersShown"], false);
    for (path, text) in all_that_shows_callers(&alice).await {
        assert!(text.contains(SHORTENED), "{path}: {text}");
        assert!(
            !text.contains("4155550001") && !text.contains("Caller,"),
            "{path}: {text}"
        );
        assert!(!text.contains("Carla"), "{path}: {text}");
    }
    // Others see what they saw.
    let staff = server.login("staff").await;
    let all = staff.get("/api/admin/logs").await.expect(200);
    assert!(all.to_string().contains(NUMBER));
}

#[tokio::test]
async fn without_the_permission_a_caller_is_found_by_the_whole_number_only() {
    let (server, admin) = world().await;
    admin
        .put("/api/admin/users/3", json!({"callersShown": false}))
        .await
        .expect(200);
    let alice = server.login("alice").await;
    let found = alice
        .get("/api/seller/logs?caller=%2B14155550001")
        .await
        .expect(200);
    assert_eq!(found["total"], 1);
    for search in ["caller=%2B1415555*", "q=5550001", "q=Carla"] {
        for path in [
            "/api/seller/logs",
            "/api/seller/logs/export",
            "/api/seller/statistics",
        ] {
            let refused = alice.get(&format!("{path}?{search}")).await.expect(403);
            assert_eq!(refused["code"], "callers_hidden", "{path} {search}");
        }
    }
    // With the permission again it is as before.
    admin
        .put("/api/admin/users/3", json!({"callersShown": true}))
        .await
        .expect(200);
    let found = alice.get("/api/seller/logs?q=Carla").await.expect(200);
    assert_eq!(
        found["items"][0]["callerIdName"],
        Value::from("Carla Caller")
    );
}

async fn hide_from(admin: &ApiClient, user: i32) {
    let path = format!("/api/admin/users/{user}");
    let hidden = json!({"callersShown": false});
    admin.put(&path, hidden).await.expect(200);
}

#[tokio::test]
async fn without_the_permission_nobody_finds_a_caller_by_trying() {
    let (server, admin) = world().await;
    hide_from(&admin, 3).await;
    let alice = server.login("alice").await;
    let lists = [
        "/api/seller/logs",
        "/api/seller/statistics",
        "/api/seller/logs/export",
    ];
    let tried = async |n: usize| {
        let path = format!("{}?caller=%2B141555500{n:02}", lists[n % lists.len()]);
        alice.get(&path).await
    };
    for n in 0..30 {
        assert_eq!(tried(n).await.status, 200, "{n}");
    }
    for n in 30..60 {
        let refused = tried(n).await;
        assert!(refused.header("retry-after").is_some());
        assert_eq!(refused.expect(429)["code"], "too_many_callers", "{n}");
    }
    // What was looked for already, and everything else, is as it was.
    assert_eq!(tried(1).await.status, 200);
    alice.get("/api/seller/logs").await.expect(200);
    // Another account has its own count, and who sees callers has none.
    let bob = server.login("bob").await;
    for n in 0..40 {
        let path = format!("/api/seller/logs?caller=%2B141555500{n:02}");
        bob.get(&path).await.expect(200);
    }
}

#[tokio::test]
async fn an_export_under_way_ends_when_callers_are_hidden() {
    let (server, admin) = world().await;
    many_calls(&server).await;
    let alice = server.login("alice").await;
    let mut request = alice
        .http
        .get(format!("{}/api/seller/logs/export", alice.base));
    for (name, value) in &alice.headers {
        request = request.header(name, value);
    }
    let mut export = request.send().await.expect("an answer");
    assert_eq!(export.status(), 200);
    hide_from(&admin, 3).await;
    let since = Instant::now();
    // Read faster than slow readers are broken off, and not as fast as it would be over.
    let whole = loop {
        match export.chunk().await {
            Ok(Some(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(None) => break true,
            Err(_) => break false,
        }
        assert!(since.elapsed() < Duration::from_secs(20), "it goes on");
    };
    assert!(!whole);
}

#[tokio::test]
async fn without_the_permission_no_list_shows_whom_somebody_looked_for() {
    let (server, admin) = world().await;
    let alice = server.login("alice").await;
    alice
        .get("/api/seller/logs/export?caller=%2B14155550001")
        .await;
    alice.get("/api/seller/logs/export?q=Carla").await;
    let own = "/api/auth/security-events?event=calls_exported";
    let of_all = "/api/admin/security-events?event=calls_exported";
    eventually("both are noted", async || {
        let noted = alice.get(own).await.expect(200);
        noted["items"]
            .as_array()
            .is_some_and(|items| items.len() == 2)
    })
    .await;
    let shown = alice.get(own).await;
    assert!(shown.text.contains(NUMBER) && shown.text.contains("Carla"));
    // What was changed may name callers, too.
    server
        .db
        .run(
            "insert into audit_log (actor, via, user_id, action, object_type, object_id, after)
                 values ('x', 'cli', 3, 'create', 'call', '1', '{\"callerIdNum\": \"+14155550001\", \"callerIdName\": \"Carla\"}')",
        )
        .await;
    hide_from(&admin, 3).await;
    hide_from(&admin, 2).await;
    let staff = server.login("staff").await;
    for (client, path) in [
        (&alice, own),
        (&alice, "/api/seller/audit?object_type=call"),
        (&staff, of_all),
        (&staff, "/api/admin/audit?object_type=call"),
    ] {
        let list = client.get(path).await;
        assert_eq!(list.status, 200, "{path}: {}", list.text);
        assert!(list.text.contains(SHORTENED), "{path}: {}", list.text);
        for hidden in ["4155550001", "Carla"] {
            assert!(!list.text.contains(hidden), "{path}: {}", list.text);
        }
    }
    let whole = admin.get(of_all).await;
    assert!(whole.text.contains(NUMBER) && whole.text.contains("Carla"));
}
