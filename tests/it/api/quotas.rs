//! What an account may have at most.

use capconduit::accounts::api::quotas::Quotas;
use capconduit::http::api::Settings;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::api::{ApiServer, settings};

const DIDS: &str = "/api/seller/dids";
const CAMPAIGNS: &str = "/api/seller/campaigns";
const OWN: &str = "/api/seller/limits";
const ALICES: &str = "/api/admin/users/3/limits";

#[tokio::test]
async fn without_limits_an_account_has_as_much_as_it_likes() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let limits = alice.get(OWN).await.expect(200);
    for kind in ["dids", "campaigns", "links", "keys", "recordingBytes"] {
        let expected = json!({"used": 0, "most": null, "setByStaff": false});
        assert_eq!(limits[kind], expected, "{kind}");
    }
    alice
        .post(DIDS, json!({"number": "+18005550101"}))
        .await
        .expect(201);
    assert_eq!(alice.get(OWN).await.expect(200)["dids"]["used"], 1);
}

#[tokio::test]
async fn no_more_is_made_than_the_limit_however_many_ask_at_once() {
    let server = ApiServer::start_with(Settings {
        quotas: Quotas {
            dids: Some(3),
            ..Quotas::default()
        },
        ..settings()
    })
    .await;
    let alice = server.login("alice").await;
    let numbers = (0..8).map(|n| format!("+1800555010{n}"));
    let made = numbers.map(|number| {
        let alice = alice.clone();
        async move { alice.post(DIDS, json!({ "number": number })).await }
    });
    let mut statuses = Vec::new();
    for answer in join_all(made).await {
        if answer.status == 409 {
            assert_eq!(answer.body["code"], "quota_exceeded");
        }
        statuses.push(answer.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 201, 409, 409, 409, 409, 409]);
    // Another account has its own; and what is deleted makes room.
    let bob = server.login("bob").await;
    bob.post(DIDS, json!({"number": "+18005550199"}))
        .await
        .expect(201);
    let id: i32 = server
        .db
        .one("select min(id) from dids where user_id = 3")
        .await;
    alice.delete(&format!("{DIDS}/{id}")).await.expect(204);
    alice
        .post(DIDS, json!({"number": "+18005550198"}))
        .await
        .expect(201);
}

#[tokio::test]
async fn staff_sets_limits_for_an_account() {
    let server = ApiServer::start_with(Settings {
        quotas: Quotas {
            campaigns: Some(1),
            ..Quotas::default()
        },
        ..settings()
    })
    .await;
    let (alice, staff) = (server.login("alice").await, server.login("staff").await);
    alice.get(ALICES).await.expect(403);
    staff.get("/api/admin/users/1/limits").await.expect(404);
    for bad in [
        json!({}),
        json!({"dids": -1}),
        json!({"dids": "many"}),
        json!({"calls": 1}),
    ] {
        staff.put(ALICES, bad).await.expect(400);
    }
    let campaign = |n: u32| json!({"name": format!("c{n}"), "routingStrategy": "priority", "dialTimeoutSeconds": 20});
    alice.post(CAMPAIGNS, campaign(1)).await.expect(201);
    let refused = alice.post(CAMPAIGNS, campaign(2)).await.expect(409);
    assert_eq!(refused["code"], "quota_exceeded");
    let limits = staff
        .put(ALICES, json!({"campaigns": 2, "recordingBytes": 0}))
        .await
        .expect(200);
    let expected = json!({"used": 1, "most": 2, "setByStaff": true});
    assert_eq!(limits["campaigns"], expected);
    alice.post(CAMPAIGNS, campaign(2)).await.expect(201);
    alice.post(CAMPAIGNS, campaign(3)).await.expect(409);
    // As many recordings as it may: none more are begun.
    let id: i32 = server.db.one("select min(id) from campaigns").await;
    let record = json!({"recordingEnabled": true});
    let path = format!("{CAMPAIGNS}/{id}");
    let refused = alice.put(&path, record.clone()).await.expect(409);
    assert_eq!(refused["code"], "quota_exceeded");
    staff
        .put(ALICES, json!({"campaigns": null, "recordingBytes": null}))
        .await
        .expect(200);
    alice.put(&path, record).await.expect(200);
    let limits = alice.get(OWN).await.expect(200);
    let expected = json!({"used": 2, "most": 1, "setByStaff": false});
    assert_eq!(limits["campaigns"], expected, "what is there stays");
    let audited: i64 = server
        .db
        .one("select count(*) from audit_log where action = 'set_limits' and user_id = 3")
        .await;
    assert_eq!(audited, 2);
}

#[tokio::test]
async fn links_and_keys_are_limited_too() {
    let server = ApiServer::start_with(Settings {
        quotas: Quotas {
            links: Some(1),
            keys: Some(1),
            ..Quotas::default()
        },
        ..settings()
    })
    .await;
    server
        .db
        .run(
            "insert into clients (client_identifier, name, status)
             values ('a', 'A', 'active'), ('b', 'B', 'active')",
        )
        .await;
    let alice = server.login("alice").await;
    let campaign = json!({"name": "c", "routingStrategy": "priority", "dialTimeoutSeconds": 20});
    let campaign = alice.post(CAMPAIGNS, campaign).await.expect(201);
    let links = format!("{CAMPAIGNS}/{}/clients", campaign["id"]);
    let link = |client: u32| json!({"clientId": client, "maxConcurrency": 1, "forwardingPriority": 0, "weight": 1, "status": "active"});
    alice.post(&links, link(1)).await.expect(201);
    let refused = alice.post(&links, link(2)).await.expect(409);
    assert_eq!(refused["code"], "quota_exceeded");
    let key = json!({"name": "one", "scopes": ["read"]});
    alice.post("/api/auth/keys", key.clone()).await.expect(201);
    let refused = alice.post("/api/auth/keys", key).await.expect(409);
    assert_eq!(refused["code"], "quota_exceeded");
}
