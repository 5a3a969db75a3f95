//! Who may not see callers sees no number whole, and no name, wherever they are shown.

use serde_json::{Value, json};

use crate::support::api::{ApiClient, ApiServer};

const NUMBER: &str = "+14155550001";
const SHORTENED: &str = "+1415•••0001";

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
