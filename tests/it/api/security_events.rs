//! What concerns security is noted, and read by those whom it concerns.

use reqwest::Method;
use serde_json::{Value, json};

use capconduit::domain::network::Network;

use crate::support::api::{ApiClient, ApiServer, PASSWORD};
use crate::support::eventually;

const OWN: &str = "/api/auth/security-events";
const ALL: &str = "/api/admin/security-events";

async fn count(server: &ApiServer, event: &str) -> i64 {
    let sql = format!("select count(*) from security_events where event = '{event}'");
    server.db.one(&sql).await
}

async fn noted(server: &ApiServer, event: &str, times: i64) {
    eventually(&format!("{times} times {event}"), async || {
        count(server, event).await == times
    })
    .await;
}

async fn events(client: &ApiClient, path: &str) -> Vec<Value> {
    let page = client.get(path).await.expect(200);
    page["items"].as_array().expect("events").clone()
}

#[tokio::test]
async fn logins_failures_locks_and_logouts_are_noted_without_secrets() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let alice = server.login("alice").await;
    for (username, password) in [("alice", "s3cret guess"), ("my password typed here", "x")] {
        let body = json!({"username": username, "password": password});
        anonymous.post("/api/auth/login", body).await.expect(401);
    }
    // The fifth failure of an account locks it.
    for _ in 0..4 {
        let body = json!({"username": "alice", "password": "s3cret guess"});
        anonymous.post("/api/auth/login", body).await.expect(401);
    }
    alice
        .post("/api/auth/logout", json!(null))
        .await
        .expect(200);
    noted(&server, "logout", 1).await;
    noted(&server, "login_locked", 1).await;
    let kept: String = server
        .db
        .one("select string_agg(e::text, ' ') from security_events e")
        .await;
    for secret in ["s3cret", "typed here", PASSWORD] {
        assert!(!kept.contains(secret), "{kept}");
    }
    let admin = server.login("admin").await;
    noted(&server, "login", 2).await;
    let failed = events(&admin, &format!("{ALL}?event=login_failed")).await;
    assert_eq!(failed.len(), 6);
    assert_eq!(failed[0]["actor"], "alice");
    assert_eq!(failed[0]["address"], "127.0.0.1");
    assert_eq!(failed[0]["detail"]["reason"], "wrong_login");
    let stranger = events(&admin, &format!("{ALL}?event=login_failed&per_page=5")).await;
    assert_eq!(stranger[4]["actor"], json!(null));
    assert_eq!(stranger[4]["detail"]["knownAccount"], false);
    let login = events(&admin, &format!("{ALL}?event=login&actor=alice")).await;
    assert_eq!(login.len(), 1);
    assert_eq!(login[0]["detail"]["secondFactor"], "none");
}

#[tokio::test]
async fn what_is_taken_away_is_noted_with_its_filter() {
    let server = ApiServer::start().await;
    let (alice, staff) = (server.login("alice").await, server.login("staff").await);
    let path = "/api/seller/logs/export?start_date=2026-01-01&caller=4155550001";
    alice.get(path).await;
    staff
        .get("/api/admin/logs?transcript=price&user_id=3")
        .await;
    noted(&server, "calls_exported", 1).await;
    noted(&server, "transcripts_searched", 1).await;
    // The next page is the same search, other words are another.
    let path = "/api/admin/logs?user_id=3&transcript";
    staff.get(&format!("{path}=price&page=2&per_page=10")).await;
    staff.get(&format!("{path}=refund")).await;
    noted(&server, "transcripts_searched", 2).await;
    let own = events(&alice, &format!("{OWN}?event=calls_exported")).await;
    let filter = &own[0]["detail"]["filter"];
    assert_eq!(
        filter,
        &json!({"start_date": "2026-01-01", "caller": "4155550001"})
    );
    assert_eq!(own[0]["userId"], 3);
    let searched = events(&staff, &format!("{OWN}?event=transcripts_searched")).await;
    assert_eq!(searched.len(), 2);
    assert_eq!(searched[1]["detail"]["filter"]["transcript"], "price");
    assert_eq!(searched[0]["actor"], "staff");
    // What an operation does not know is refused, and nothing is taken away.
    let long = "x".repeat(5_000);
    alice
        .get(&format!("/api/seller/logs/export?q=y&odd={long}"))
        .await
        .expect(400);
    alice.get("/api/seller/logs/export?q=y").await.expect(200);
    noted(&server, "calls_exported", 2).await;
    let longest: i32 = server
        .db
        .one("select max(length(detail::text)) from security_events")
        .await;
    assert!(longest < 400, "{longest}");
}

#[tokio::test]
async fn passwords_are_noted_by_who_set_them_and_changed_secrets_by_name() {
    let server = ApiServer::start().await;
    let (admin, alice) = (server.login("admin").await, server.login("alice").await);
    let change = json!({"currentPassword": PASSWORD, "newPassword": "seven quiet harbours"});
    alice.put("/api/auth/password", change).await.expect(200);
    let body = json!({"password": "eight quiet harbours"});
    admin
        .put("/api/admin/users/3/password", body)
        .await
        .expect(200);
    let body = json!({"password": PASSWORD});
    admin
        .post("/api/auth/reauthenticate", body)
        .await
        .expect(200);
    for event in ["password_changed", "password_set", "reauthenticated"] {
        noted(&server, event, 1).await;
    }
    let set = events(&admin, &format!("{ALL}?event=password_set")).await;
    assert_eq!(
        (&set[0]["actor"], &set[0]["objectId"]),
        (&json!("admin"), &json!("3"))
    );

    let client = json!({
        "clientIdentifier": "eps", "name": "Epsilon",
        "pjsip": {
            "endpoint": {"id": "eps", "aors": "eps", "context": "capconduit-none", "auth": "auth_eps"},
            "aor": {"id": "eps", "contact": "sip:eps@192.0.2.1:5060"},
            "auth": {"id": "auth_eps", "username": "eps", "password": "first secret"}}});
    let made = admin.post("/api/admin/clients", client).await.expect(201);
    let path = format!("/api/admin/clients/{}", made["id"]);
    for change in [
        json!({"pjsip": {"auth": {"id": "auth_eps", "password": "second secret"}}}),
        json!({"name": "Eps"}),
    ] {
        admin.put(&path, change).await.expect(200);
    }
    let log = admin
        .get("/api/admin/audit?object_type=client&action=update")
        .await;
    assert!(!log.text.contains("second secret"));
    let log = log.expect(200);
    assert_eq!(log["items"][0]["after"]["pjsipAuth"].get("password"), None);
    assert_eq!(log["items"][1]["after"]["pjsipAuth"]["password"], "changed");
    assert_eq!(log["items"][1]["before"]["pjsipAuth"].get("password"), None);
    assert_eq!(log["items"][1]["objectId"], made["id"].to_string());
}

#[tokio::test]
async fn a_key_in_a_new_network_is_noted_once() {
    let server = ApiServer::start_with(capconduit::http::api::Settings {
        trusted_proxies: vec![Network::parse("127.0.0.1").expect("a network")],
        ..crate::support::api::settings()
    })
    .await;
    let alice = server.login("alice").await;
    let body = json!({"name": "a", "scopes": ["read"]});
    let made = alice.post("/api/auth/keys", body).await.expect(201);
    let bearer = format!("Bearer {}", made["key"].as_str().expect("a key"));
    let program = server.anonymous().with_header("authorization", &bearer);
    let (second, _end) = server.second(crate::support::api::settings()).await;
    for from in [
        "192.0.2.1",
        "192.0.2.99",
        "198.51.100.7",
        "2001:db8::1",
        "2001:db8::2",
    ] {
        let client = program.with_header("x-forwarded-for", from);
        client.get("/api/auth/status").await.expect(200);
    }
    // Another daemon knows no more of it than the database.
    let elsewhere = second.with_header("authorization", &bearer);
    elsewhere.get("/api/auth/status").await.expect(200);
    noted(&server, "key_new_network", 4).await;
    let networks: String = server
        .db
        .one("select string_agg(network, ' ' order by network) from api_key_networks")
        .await;
    assert_eq!(
        networks,
        "127.0.0.0/24 192.0.2.0/24 198.51.100.0/24 2001:db8::/64"
    );
    let first: String = server
        .db
        .one("select string_agg(detail ->> 'network', ' ') from security_events where (detail ->> 'firstUse')::boolean")
        .await;
    assert_eq!(first, "192.0.2.0/24");
    let listed = alice.get("/api/auth/keys").await.expect(200);
    let listed = listed[0]["networks"].as_array().expect("networks");
    assert_eq!(listed.len(), 4);
    // A wrong key of the same prefix is no use of it.
    let wrong = server
        .anonymous()
        .with_header(
            "authorization",
            &format!("{}x", &bearer[..bearer.len() - 1]),
        )
        .with_header("x-forwarded-for", "203.0.113.1");
    wrong.get("/api/auth/status").await;
    assert_eq!(count(&server, "key_new_network").await, 4);
}

#[tokio::test]
async fn each_reads_what_concerns_him() {
    let server = ApiServer::start().await;
    let (admin, staff) = (server.login("admin").await, server.login("staff").await);
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    noted(&server, "login", 4).await;
    for (client, name) in [
        (&alice, "alice"),
        (&bob, "bob"),
        (&staff, "staff"),
        (&admin, "admin"),
    ] {
        let own = events(client, OWN).await;
        assert_eq!(own.len(), 1, "{name}");
        assert_eq!(own[0]["actor"], name);
        assert_eq!(own[0]["address"], "127.0.0.1");
    }
    assert_eq!(events(&admin, ALL).await.len(), 4);
    let seen = events(&staff, ALL).await;
    assert!(
        seen.iter().all(|event| event["actor"] != "admin"),
        "{seen:?}"
    );
    assert_eq!(seen.len(), 3);
    alice.get(ALL).await.expect(403);
    // What staff did with a seller's call concerns the seller, who does not see where from.
    server
        .db
        .run(
            "insert into security_events (at, event, actor_id, actor, actor_role, user_id, object_type, object_id, address)
             values (now(), 'recording_played', 2, 'staff', 'staff', 3, 'call', '7', '192.0.2.1')",
        )
        .await;
    let own = events(&alice, &format!("{OWN}?event=recording_played")).await;
    assert_eq!(
        (&own[0]["actor"], &own[0]["address"]),
        (&json!("staff"), &json!(null))
    );
    assert!(
        events(&bob, &format!("{OWN}?event=recording_played"))
            .await
            .is_empty()
    );
    // Pages, days and what is none.
    let page = admin.get(&format!("{ALL}?per_page=3")).await.expect(200);
    let cursor = page["nextCursor"].as_str().expect("a cursor");
    let rest = events(&admin, &format!("{ALL}?per_page=3&cursor={cursor}")).await;
    assert_eq!(rest.len(), 2);
    assert!(
        events(&admin, &format!("{ALL}?end_date=2020-01-01"))
            .await
            .is_empty()
    );
    for bad in ["event=x", "cursor=x", "start_date=x"] {
        admin.get(&format!("{ALL}?{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn a_login_waits_for_no_event() {
    let server = ApiServer::start().await;
    server
        .db
        .run("begin; lock table security_events in access exclusive mode")
        .await;
    let alice = server.login("alice").await;
    alice.get("/api/seller/dids").await.expect(200);
    assert_eq!(
        alice
            .send(Method::POST, "/api/auth/logout", None)
            .await
            .status,
        200
    );
    server.db.run("commit").await;
    noted(&server, "login", 1).await;
    noted(&server, "logout", 1).await;
}
