//! The clients of a seller's campaigns.

use capconduit::domain::DialStatus;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::campaigns::{CAMPAIGNS, add_campaign, add_clients};
use crate::support::api::{ApiClient, ApiServer};
use crate::support::world::{Caller, engine};

fn body(client: i32) -> Value {
    json!({"clientId": client, "maxConcurrency": 10, "forwardingPriority": 1, "weight": 100})
}

/// Alice's campaign 1, and clients 1 to 3 of which the last is inactive.
async fn start() -> (ApiServer, ApiClient, String) {
    let server = ApiServer::start().await;
    add_clients(&server, 3).await;
    let alice = server.login("alice").await;
    let campaign = add_campaign(&alice, "Sales", "active").await;
    let clients = format!("{CAMPAIGNS}/{}/clients", campaign["id"]);
    (server, alice, clients)
}

#[tokio::test]
async fn a_client_is_linked_changed_and_unlinked() {
    let (server, alice, clients) = start().await;
    let mut new = body(1);
    new["currentTotalCalls"] = json!(7);
    new["totalCallsAllowed"] = json!(0);
    let answer = alice.post(&clients, new).await;
    assert!(answer.header("etag").is_some());
    let link = answer.expect(201);
    assert_eq!(link["currentTotalCalls"], 0, "is dropped");
    assert_eq!(link["totalCallsAllowed"], 0);
    assert_eq!(link["status"], "active");
    assert_eq!(
        link["client"],
        json!({"id": 1, "clientIdentifier": "client1", "name": "Client 1", "department": "Sales"})
    );
    let usage: i64 = server.db.one("select count(*) from link_usage").await;
    assert_eq!(usage, 1);
    alice.post(&clients, body(2)).await.expect(201);
    // An inactive client is taken, as CapConduit takes it; it is offered no call.
    alice.post(&clients, body(3)).await.expect(201);

    let one = format!("{clients}/{}", link["id"]);
    let changed = alice
        .put(
            &one,
            json!({"maxConcurrency": 3, "currentTotalCalls": 9, "x": 1}),
        )
        .await
        .expect(200);
    assert_eq!(changed["maxConcurrency"], 3);
    assert_eq!(changed["totalCallsAllowed"], 0, "what is not named stays");
    assert_eq!(changed["currentTotalCalls"], 0);
    let changed = alice
        .put(
            &one,
            json!({"totalCallsAllowed": null, "status": "inactive"}),
        )
        .await
        .expect(200);
    assert_eq!(changed["totalCallsAllowed"], json!(null));
    let campaign = alice.get(&format!("{CAMPAIGNS}/1")).await.expect(200);
    assert_eq!(campaign["clientSettings"][0], changed);

    alice.delete(&one).await.expect(204);
    alice.delete(&one).await.expect(404);
    let audited: String = server
        .db
        .one("select string_agg(action, ',' order by audit_id) from audit_log where object_type = 'link'")
        .await;
    assert_eq!(audited, "create,create,create,update,update,delete");
}

#[tokio::test]
async fn what_a_link_cannot_be_is_refused() {
    let (_server, alice, clients) = start().await;
    let past = json!(2_147_483_648_u64);
    for (field, value) in [
        ("clientId", json!("x")),
        ("clientId", past.clone()),
        ("maxConcurrency", json!(0)),
        ("maxConcurrency", past.clone()),
        ("maxConcurrency", json!(null)),
        ("forwardingPriority", json!(-1)),
        ("forwardingPriority", past.clone()),
        ("weight", json!(0)),
        ("weight", past.clone()),
        ("totalCallsAllowed", json!(-1)),
        ("totalCallsAllowed", past.clone()),
        ("status", json!("paused")),
    ] {
        let mut new = body(1);
        new[field] = value.clone();
        let errors = alice.post(&clients, new).await.expect(400);
        assert!(
            errors["errors"][field][0].is_string(),
            "{field} {value}: {errors}"
        );
    }
    for field in ["clientId", "maxConcurrency", "forwardingPriority", "weight"] {
        let mut new = body(1);
        new.as_object_mut().expect("an object").remove(field);
        alice.post(&clients, new).await.expect(400);
    }
    alice.post(&clients, body(99)).await.expect(404);
    alice.post(&clients, body(-1)).await.expect(404);
    let link = alice.post(&clients, body(1)).await.expect(201);
    let one = format!("{clients}/{}", link["id"]);
    for wrong in [
        json!({"clientId": 1}),
        json!({"clientId": null, "weight": 2}),
        json!({"clientId": 2, "weight": 2}),
        json!({"currentTotalCalls": 7}),
        json!({"weight": past}),
    ] {
        alice.put(&one, wrong.clone()).await.expect(400);
    }
    let most = json!(i32::MAX);
    let extreme = json!({
        "maxConcurrency": most, "forwardingPriority": most, "weight": most, "totalCallsAllowed": most,
    });
    alice.put(&one, extreme).await.expect(200);
}

#[tokio::test]
async fn of_parallel_links_to_one_client_one_is_made() {
    let (server, alice, clients) = start().await;
    let answers = join_all((0..16).map(|_| alice.post(&clients, body(1)))).await;
    let mut statuses: Vec<_> = answers.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|s| *s == 409), "{statuses:?}");
    let links: i64 = server
        .db
        .one("select count(*) from campaign_client_settings")
        .await;
    assert_eq!(links, 1);
    let refused = alice.post(&clients, body(1)).await.expect(409);
    assert_eq!(refused["code"], "already_linked");
}

#[tokio::test]
async fn links_of_others_and_of_other_campaigns_are_told_apart() {
    let (server, alice, clients) = start().await;
    let bob = server.login("bob").await;
    let link = alice.post(&clients, body(1)).await.expect(201);
    let one = format!("{clients}/{}", link["id"]);
    let other = add_campaign(&alice, "Other", "active").await;
    let of_bob = add_campaign(&bob, "Of Bob", "active").await;
    let change = || json!({"weight": 2});

    bob.post(&clients, body(2)).await.expect(403);
    bob.put(&one, change()).await.expect(403);
    bob.delete(&one).await.expect(403);
    for (seller, campaign) in [
        (&alice, &other["id"]),
        (&bob, &of_bob["id"]),
        (&alice, &of_bob["id"]),
        (&bob, &other["id"]),
        (&alice, &json!(999)),
        (&alice, &json!(99_999_999_999_i64)),
    ] {
        let elsewhere = format!("{CAMPAIGNS}/{campaign}/clients/{}", link["id"]);
        seller.put(&elsewhere, change()).await.expect(404);
        seller.delete(&elsewhere).await.expect(404);
    }
    alice
        .post(&format!("{CAMPAIGNS}/999/clients"), body(1))
        .await
        .expect(404);
    alice
        .put(&format!("{clients}/999"), change())
        .await
        .expect(404);
    for nobody in ["admin", "staff"] {
        let nobody = server.login(nobody).await;
        nobody.post(&clients, body(2)).await.expect(403);
        nobody.put(&one, change()).await.expect(403);
    }
    let weight: i32 = server
        .db
        .one("select weight from campaign_client_settings")
        .await;
    assert_eq!(weight, 100);
}

#[tokio::test]
async fn a_change_of_another_version_of_a_link_is_refused() {
    let (_server, alice, clients) = start().await;
    let answer = alice.post(&clients, body(1)).await;
    let tag = answer.header("etag").expect("a tag").to_owned();
    let one = format!("{clients}/{}", answer.expect(201)["id"]);
    let careful = alice.with_header("if-match", &tag);
    careful.put(&one, json!({"weight": 2})).await.expect(200);
    careful.put(&one, json!({"weight": 3})).await.expect(412);
    careful.delete(&one).await.expect(412);
}

#[tokio::test]
async fn a_seller_cannot_write_what_calls_count() {
    let (server, alice, clients) = start().await;
    alice.post(&clients, body(1)).await.expect(201);
    for write in [
        "update campaign_client_settings set current_total_calls = 0",
        "update link_usage set held = 0",
        "insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency,
             forwarding_priority, weight, current_total_calls) values (1, 2, 'active', 1, 0, 1, 7)",
    ] {
        server
            .db
            .run("begin; set local role capconduit_api; set local capconduit.user_id = '3'")
            .await;
        let written = server.db.owner.execute(write, &[]).await;
        let error = written.expect_err(write);
        assert_eq!(error.code().expect("a state").code(), "42501", "{write}");
        server.db.run("rollback").await;
    }
}

#[tokio::test]
async fn a_live_call_outlives_its_link_and_its_campaign() {
    let (server, alice, clients) = start().await;
    server
        .db
        .run(
            "insert into pjsip_endpoints (id, client_id, context) select 'client' || id, id, 'none' from clients;
             insert into pjsip_aors (id, client_id, contact) select 'client' || id, id, 'sip:127.0.0.1' from clients",
        )
        .await;
    let did = alice
        .post("/api/seller/dids", json!({"number": "+18005550100"}))
        .await
        .expect(201);
    alice
        .put(
            &format!("{CAMPAIGNS}/1/dids"),
            json!({"didIds": [did["id"]]}),
        )
        .await
        .expect(200);
    let engine = engine(&server.db, "calls");
    for path in ["link", "campaign"] {
        let link = alice.post(&clients, body(1)).await.expect(201);
        let caller = Caller::new();
        crate::support::world::VerdictExt::offer(
            engine.route(caller.question()).await.expect("answers"),
        );
        let doomed = match path {
            "link" => format!("{clients}/{}", link["id"]),
            _ => format!("{CAMPAIGNS}/1"),
        };
        alice.delete(&doomed).await.expect(204);
        caller.end(&engine, Some(DialStatus::Answer)).await;
        let status: String = server
            .db
            .one(&format!(
                "select call_status from call_logs where asterisk_uniqueid = '{}'",
                caller.uniqueid.as_str()
            ))
            .await;
        assert_eq!(status, "ANSWERED", "{path}");
        let open: i64 = server
            .db
            .one("select count(*) from calls where ended_at is null")
            .await;
        assert_eq!(open, 0, "{path}");
    }
}
