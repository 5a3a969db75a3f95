//! What operators see of caps, and how they steer calls at once.

use capconduit::domain::DialStatus;
use capconduit::routing::{Engine, Verdict};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::campaigns::{CAMPAIGNS, add_campaign, add_clients};
use crate::support::api::{ApiClient, ApiServer};
use crate::support::world::{Caller, VerdictExt, engine};

/// Alice's campaign 1 takes the calls, by its link 1 to client 1.
async fn start() -> (ApiServer, ApiClient, Engine) {
    let server = ApiServer::start().await;
    add_clients(&server, 3).await;
    server
        .db
        .run(
            "insert into pjsip_endpoints (id, client_id, context) select 'client' || id, id, 'none' from clients;
             insert into pjsip_aors (id, client_id, contact) select 'client' || id, id, 'sip:127.0.0.1' from clients",
        )
        .await;
    let alice = server.login("alice").await;
    add_campaign(&alice, "Sales", "active").await;
    link(&alice, 1, 100).await;
    let did = alice
        .post("/api/seller/dids", json!({"number": "+18005550100"}))
        .await
        .expect(201);
    let dids = json!({"didIds": [did["id"]]});
    alice
        .put(&format!("{CAMPAIGNS}/1/dids"), dids)
        .await
        .expect(200);
    let engine = engine(&server.db, "calls");
    (server, alice, engine)
}

async fn link(alice: &ApiClient, client: i32, max_concurrency: i32) {
    let link = json!({
        "clientId": client, "maxConcurrency": max_concurrency, "forwardingPriority": client, "weight": 1,
        "totalCallsAllowed": 1_000,
    });
    let path = format!("{CAMPAIGNS}/1/clients");
    alice.post(&path, link).await.expect(201);
}

/// Whether a new call would be taken; it is ended at once.
async fn takes_calls(engine: &Engine) -> bool {
    let caller = Caller::new();
    let verdict = engine.route(caller.question()).await.expect("answers");
    let taken = matches!(verdict, Verdict::Dial(_));
    caller.end(engine, None).await;
    taken
}

async fn push(client: &ApiClient, path: &str) -> Value {
    client.send(Method::POST, path, None).await.expect(200)
}

async fn audited(server: &ApiServer, object_type: &str) -> String {
    server
        .db
        .one(&format!(
            "select coalesce(string_agg(action || ':' || actor || ':' || coalesce(reason, '-'), ',' order by audit_id), '')
             from audit_log where object_type = '{object_type}' and action in ('pause', 'resume', 'correct_counter')"
        ))
        .await
}

#[tokio::test]
async fn usage_shows_calls_offered_answered_and_left() {
    let (server, alice, engine) = start().await;
    link(&alice, 2, 5).await;
    let ringing = Caller::new();
    engine
        .route(ringing.question())
        .await
        .expect("answers")
        .offer();
    let over = Caller::new();
    engine
        .route(over.question())
        .await
        .expect("answers")
        .offer();
    over.end(&engine, Some(DialStatus::Answer)).await;

    let path = format!("{CAMPAIGNS}/1/usage");
    let usage = alice.get(&path).await.expect(200);
    assert_eq!(usage["campaignId"], 1);
    assert_eq!(usage["live"], 1);
    assert_eq!(
        usage["links"][0],
        json!({
            "linkId": 1, "status": "active", "clientStatus": "active", "maxConcurrency": 100,
            "client": {"id": 1, "clientIdentifier": "client1", "name": "Client 1", "department": "Sales"},
            "live": 1, "held": 1, "confirmed": 0,
            "totalCallsAllowed": 1_000, "currentTotalCalls": 1, "totalLeft": 999,
        })
    );
    assert_eq!(usage["links"].as_array().expect("a list").len(), 2);
    alice
        .put(
            &format!("{CAMPAIGNS}/1/clients/2"),
            json!({"totalCallsAllowed": null}),
        )
        .await
        .expect(200);
    let usage = alice.get(&path).await.expect(200);
    assert_eq!(usage["links"][1]["totalLeft"], json!(null));

    let bare = add_campaign(&alice, "Bare", "active").await;
    let bare = format!("{CAMPAIGNS}/{}/usage", bare["id"]);
    assert_eq!(alice.get(&bare).await.expect(200)["links"], json!([]));
    let bob = server.login("bob").await;
    bob.get(&path).await.expect(404);
    bob.get(&format!("{CAMPAIGNS}/999/usage")).await.expect(404);
    server.login("staff").await.get(&path).await.expect(403);
}

#[tokio::test]
async fn operators_see_the_usage_of_all_sellers() {
    let (server, alice, _engine) = start().await;
    link(&alice, 2, 5).await;
    let bob = server.login("bob").await;
    let of_bob = add_campaign(&bob, "Of Bob", "active").await;
    let new = json!({"clientId": 2, "maxConcurrency": 1, "forwardingPriority": 0, "weight": 1});
    bob.post(&format!("{CAMPAIGNS}/{}/clients", of_bob["id"]), new)
        .await
        .expect(201);
    let all = "/api/admin/usage";
    for role in ["staff", "admin"] {
        let operator = server.login(role).await;
        let listed = operator.get(all).await.expect(200);
        assert_eq!(listed["total"], 3);
        assert_eq!(listed["items"][2]["linkId"], 3);
        assert_eq!(
            listed["items"][2]["user"],
            json!({"id": 4, "username": "bob"})
        );
        assert_eq!(
            listed["items"][0]["campaign"],
            json!({"id": 1, "name": "Sales"})
        );
        for (filter, ids) in [
            ("user_id=4", vec![3]),
            ("client_id=2", vec![2, 3]),
            ("campaign_id=1", vec![1, 2]),
            ("campaign_id=1&client_id=2", vec![2]),
            ("user_id=99999999999", vec![]),
            ("per_page=2&page=2", vec![3]),
        ] {
            let listed = operator.get(&format!("{all}?{filter}")).await.expect(200);
            let items = listed["items"].as_array().expect("a list");
            let found: Vec<_> = items.iter().map(|i| i["linkId"].as_i64()).collect();
            let ids: Vec<_> = ids.into_iter().map(Some).collect();
            assert_eq!(found, ids, "{filter}");
        }
    }
    alice.get(all).await.expect(403);
    server.anonymous().get(all).await.expect(401);
}

#[tokio::test]
async fn a_paused_link_gets_no_more_calls_until_it_is_resumed() {
    let (server, alice, engine) = start().await;
    let staff = server.login("staff").await;
    for (operator, link) in [
        (&alice, format!("{CAMPAIGNS}/1/clients/1")),
        (&staff, "/api/admin/links/1".to_owned()),
    ] {
        assert!(takes_calls(&engine).await, "{link}");
        let live = Caller::new();
        engine
            .route(live.question())
            .await
            .expect("answers")
            .offer();
        let paused = push(operator, &format!("{link}/pause")).await;
        assert_eq!(paused["status"], "inactive");
        assert!(!takes_calls(&engine).await, "{link}");
        let again = push(operator, &format!("{link}/pause")).await;
        assert_eq!(again, paused, "is no change");
        live.end(&engine, Some(DialStatus::Answer)).await;
        let reason = json!({"reason": "Back"});
        let resumed = operator.post(&format!("{link}/resume"), reason).await;
        let resumed = resumed.expect(200);
        assert_eq!(resumed["status"], "active");
        assert_eq!(resumed["id"], 1);
        assert!(takes_calls(&engine).await, "{link}");
    }
    assert_eq!(
        audited(&server, "link").await,
        "pause:alice:-,resume:alice:Back,pause:staff:-,resume:staff:Back"
    );
    let of_alice: i64 = server
        .db
        .one("select count(*) from audit_log where action = 'pause' and user_id = 3")
        .await;
    assert_eq!(of_alice, 2, "the owner can see what staff did");
}

#[tokio::test]
async fn a_paused_client_gets_no_more_calls_in_any_campaign() {
    let (server, alice, engine) = start().await;
    let staff = server.login("staff").await;
    let pause = "/api/admin/clients/1/pause";
    let reason = json!({"reason": "Their lines are down"});
    let paused = staff.post(pause, reason.clone()).await.expect(200);
    assert_eq!(
        paused,
        json!({
            "id": 1, "clientIdentifier": "client1", "name": "Client 1", "department": "Sales",
            "status": "inactive",
        })
    );
    staff.post(pause, reason).await.expect(200);
    assert!(!takes_calls(&engine).await);
    assert_eq!(
        alice.get(&format!("{CAMPAIGNS}/1/usage")).await.expect(200)["links"][0]["clientStatus"],
        "inactive"
    );
    push(&staff, "/api/admin/clients/1/resume").await;
    assert!(takes_calls(&engine).await);
    assert_eq!(
        audited(&server, "client").await,
        "pause:staff:Their lines are down,resume:staff:-"
    );
}

#[tokio::test]
async fn levers_are_for_those_they_belong_to() {
    let (server, alice, _engine) = start().await;
    let bob = server.login("bob").await;
    let staff = server.login("staff").await;
    let refused = async |client: &ApiClient, path: &str| {
        let answer = client.send(Method::POST, path, None).await;
        answer.status
    };
    for lever in ["pause", "resume"] {
        let own = format!("{CAMPAIGNS}/1/clients/1/{lever}");
        assert_eq!(refused(&bob, &own).await, 403);
        assert_eq!(refused(&staff, &own).await, 403);
        assert_eq!(refused(&server.anonymous(), &own).await, 401);
        for gone in ["1/clients/9", "9/clients/1", "1/clients/99999999999"] {
            let gone = format!("{CAMPAIGNS}/{gone}/{lever}");
            assert_eq!(refused(&alice, &gone).await, 404, "{gone}");
        }
        for kind in ["links", "clients"] {
            let any = format!("/api/admin/{kind}/1/{lever}");
            assert_eq!(refused(&alice, &any).await, 403);
            let gone = format!("/api/admin/{kind}/9/{lever}");
            assert_eq!(refused(&staff, &gone).await, 404);
        }
    }
    let counter = json!({"currentTotalCalls": 0, "reason": "x"});
    alice
        .put("/api/admin/links/1/counter", counter)
        .await
        .expect(403);
    assert_eq!(audited(&server, "link").await, "");
}

#[tokio::test]
async fn a_lever_takes_a_reason_or_nothing() {
    let (server, alice, _engine) = start().await;
    let pause = format!("{CAMPAIGNS}/1/clients/1/pause");
    for (kind, body, status) in [
        (Some("application/json"), "", 200),
        (Some("application/json"), "{}", 200),
        (None, "", 200),
        (Some("text/plain"), "reason", 415),
        (None, r#"{"reason": "x"}"#, 415),
        (Some("application/json"), "{", 400),
        (Some("application/json"), "[]", 400),
        (Some("application/json"), r#"{"reason": 7}"#, 400),
        (Some("application/json"), r#"{"reason": ""}"#, 400),
        (Some("application/json"), r#"{"reason": "a\u0000"}"#, 400),
        (Some("application/json"), r#"{"why": "x"}"#, 400),
    ] {
        let answer = alice.send_raw(Method::POST, &pause, kind, body).await;
        assert_eq!(answer.status, status, "{kind:?} {body}: {}", answer.text);
    }
    assert_eq!(audited(&server, "link").await, "pause:alice:-");
}

#[tokio::test]
async fn a_counter_is_corrected_with_a_reason() {
    let (server, _alice, _engine) = start().await;
    let staff = server.login("staff").await;
    let path = "/api/admin/links/1/counter";
    let set = staff
        .put(path, json!({"currentTotalCalls": 40, "reason": "a"}))
        .await;
    let before = set.header("etag").expect("a tag").to_owned();
    assert_eq!(set.expect(200)["currentTotalCalls"], 40);
    let added = staff.put(path, json!({"delta": -3, "reason": "b"})).await;
    assert_eq!(added.header("etag"), Some(before.as_str()));
    assert_eq!(added.expect(200)["currentTotalCalls"], 37);
    for wrong in [
        json!({"currentTotalCalls": 1}),
        json!({"reason": "x"}),
        json!({"currentTotalCalls": 1, "delta": 1, "reason": "x"}),
        json!({"currentTotalCalls": -1, "reason": "x"}),
        json!({"currentTotalCalls": 1_000_000_001, "reason": "x"}),
        json!({"currentTotalCalls": null, "reason": "x"}),
        json!({"delta": -38, "reason": "x"}),
        json!({"delta": 1_000_000_000, "reason": "x"}),
        json!({"delta": i64::MIN, "reason": "x"}),
        json!({"delta": 1, "reason": "x\u{0}"}),
        json!({"delta": 1, "reason": " "}),
        json!({"delta": 1, "reason": "x", "linkId": 2}),
    ] {
        staff.put(path, wrong.clone()).await.expect(400);
    }
    let gone = "/api/admin/links/9/counter";
    let body = json!({"delta": 1, "reason": "x"});
    staff.put(gone, body).await.expect(404);
    assert_eq!(
        audited(&server, "link").await,
        "correct_counter:staff:a,correct_counter:staff:b"
    );
    let noted: String = server
        .db
        .one("select (before ->> 'currentTotalCalls') || ' ' || (after ->> 'currentTotalCalls') from audit_log order by audit_id desc limit 1")
        .await;
    assert_eq!(noted, "40 37");
}

#[tokio::test]
async fn no_answered_call_is_lost_to_a_correction_at_the_same_time() {
    let (server, _alice, engine) = start().await;
    let admin = server.login("admin").await;
    let callers: Vec<_> = (0..20).map(|_| Caller::new()).collect();
    for caller in &callers {
        engine
            .route(caller.question())
            .await
            .expect("answers")
            .offer();
    }
    let answers = callers
        .iter()
        .map(|caller| caller.end(&engine, Some(DialStatus::Answer)));
    let corrections = (0..10).map(async |_| {
        let body = json!({"delta": 5, "reason": "calls from before"});
        let answer = admin.put("/api/admin/links/1/counter", body).await;
        answer.expect(200)
    });
    tokio::join!(join_all(answers), join_all(corrections));
    let total: i32 = server
        .db
        .one("select current_total_calls from campaign_client_settings")
        .await;
    assert_eq!(total, 70);
    let drift = server.db.store().usage_drift().await.expect("reads");
    assert!(drift.is_empty(), "{drift:?}");
}
