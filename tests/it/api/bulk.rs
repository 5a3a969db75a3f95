//! Many DIDs or links in one request.

use std::time::Duration;

use capconduit::accounts::api::quotas::Quotas;
use capconduit::domain::Claims;
use capconduit::http::api::Settings;
use serde_json::{Value, json};

use super::campaigns::{CAMPAIGNS, add_campaign, add_clients};
use crate::support::api::{ApiServer, settings};

fn statuses(answer: &Value) -> Vec<u64> {
    let rows = answer["rows"].as_array().expect("rows");
    rows.iter()
        .map(|row| row["status"].as_u64().expect("a status"))
        .collect()
}

#[tokio::test]
async fn many_dids_are_added_and_each_row_is_answered() {
    let server = ApiServer::start().await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    bob.post("/api/seller/dids", json!({"number": "+18005550102"}))
        .await
        .expect(201);
    let new = json!({"dids": [
        {"number": "+18005550100", "description": "A"},
        {"number": "18005550101"},
        {"number": "+18005550102"},
        {"number": "+18005550100"},
        {"number": "+18005550103", "satus": "inactive"},
        7,
        {"number": "+18005550104", "status": "inactive"},
    ]});
    let bulk = "/api/seller/dids/bulk";
    let made = alice.post(bulk, new.clone()).await.expect(200);
    assert_eq!(
        statuses(&made),
        [201, 400, 409, 409, 400, 400, 201],
        "{made}"
    );
    assert_eq!(
        (made["created"].clone(), made["failed"].clone()),
        (json!(2), json!(5))
    );
    assert_eq!(made["rows"][2]["code"], "number_taken");
    assert_eq!(made["rows"][3]["code"], "repeated");
    assert!(made["rows"][4]["errors"].get("satus").is_some());
    let id = &made["rows"][6]["id"];
    let did = alice
        .get(&format!("/api/seller/dids/{id}"))
        .await
        .expect(200);
    assert_eq!(did["status"], "inactive");
    let again = alice.post(bulk, new).await.expect(200);
    assert_eq!(again["created"], 0);
    let audited: String = server
        .db
        .one(
            "select string_agg(concat_ws(':', actor, user_id, after ->> 'number'), ',' order by audit_id)
             from audit_log where object_type = 'did' and user_id = 3",
        )
        .await;
    assert_eq!(audited, "alice:3:+18005550100,alice:3:+18005550104");
    for wrong in [
        json!({"dids": []}),
        json!({"dids": {}}),
        json!({"dids": vec![json!({}); 1_001]}),
    ] {
        alice.post(bulk, wrong).await.expect(400);
    }
    let many: Vec<Value> = (0..1_000)
        .map(|n| json!({"number": format!("+4930{:07}", n + 1)}))
        .collect();
    let given = json!({"userId": 4, "dids": many});
    let staff = server.login("staff").await;
    let made = staff.post("/api/admin/dids/bulk", given).await.expect(200);
    assert_eq!(made["created"], 1_000);
    let total = staff.get("/api/admin/dids?user_id=4").await.expect(200)["total"].clone();
    assert_eq!(total, 1_001);
}

#[tokio::test]
async fn many_clients_are_linked_and_each_row_is_answered() {
    let server = ApiServer::start().await;
    add_clients(&server, 4).await;
    let (alice, staff) = (server.login("alice").await, server.login("staff").await);
    add_campaign(&alice, "Sales", "active").await;
    let link = |client: i32| json!({"clientId": client, "maxConcurrency": 1, "forwardingPriority": 0, "weight": 1});
    alice
        .post(&format!("{CAMPAIGNS}/1/clients"), link(1))
        .await
        .expect(201);
    let new =
        json!({"links": [link(1), link(2), link(2), link(4), link(99), {"clientId": 3}, link(3)]});
    let bulk = format!("{CAMPAIGNS}/1/clients/bulk");
    server
        .login("bob")
        .await
        .post(&bulk, new.clone())
        .await
        .expect(403);
    let made = alice.post(&bulk, new.clone()).await.expect(200);
    assert_eq!(
        statuses(&made),
        [409, 201, 409, 201, 404, 400, 201],
        "{made}"
    );
    let codes: Vec<_> = [0, 2]
        .map(|row: usize| made["rows"][row]["code"].clone())
        .to_vec();
    assert_eq!(codes, ["already_linked", "repeated"]);
    let made = staff
        .post("/api/admin/campaigns/1/clients/bulk", new)
        .await
        .expect(200);
    assert_eq!(made["created"], 0);
    let usage: i64 = server.db.one("select count(*) from link_usage").await;
    assert_eq!(usage, 4);
}

#[tokio::test]
async fn rows_that_exist_already_take_no_room_below_a_limit() {
    let quotas = Quotas {
        dids: Some(3),
        links: Some(3),
        ..Quotas::default()
    };
    let server = ApiServer::start_with(Settings {
        quotas,
        ..settings()
    })
    .await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    let did = |n: i32| json!({"number": format!("+1800555010{n}")});
    bob.post("/api/seller/dids", did(0)).await.expect(201);
    alice.post("/api/seller/dids", did(1)).await.expect(201);
    let bulk = "/api/seller/dids/bulk";
    let new = json!({"dids": [did(0), did(1), did(2), did(3), did(4)]});
    let made = alice.post(bulk, new).await.expect(200);
    assert_eq!(statuses(&made), [409, 409, 201, 201, 409], "{made}");
    let codes = [0, 1, 4].map(|row: usize| made["rows"][row]["code"].clone());
    assert_eq!(codes, ["number_taken", "number_taken", "quota_exceeded"]);
    // Sent again by who has as much as it may.
    let again = json!({"dids": [did(1), did(2), did(5)]});
    let made = alice.post(bulk, again).await.expect(200);
    let codes = [0, 1, 2].map(|row: usize| made["rows"][row]["code"].clone());
    assert_eq!(codes, ["number_taken", "number_taken", "quota_exceeded"]);

    add_clients(&server, 5).await;
    add_campaign(&alice, "Sales", "active").await;
    let link = |client: i32| json!({"clientId": client, "maxConcurrency": 1, "forwardingPriority": 0, "weight": 1});
    let bulk = format!("{CAMPAIGNS}/1/clients/bulk");
    let two = json!({"links": [link(1), link(2)]});
    alice.post(&bulk, two).await.expect(200);
    let new = json!({"links": [link(1), link(2), link(3), link(4)]});
    let made = alice.post(&bulk, new).await.expect(200);
    assert_eq!(statuses(&made), [409, 409, 201, 409], "{made}");
    let codes = [0, 3].map(|row: usize| made["rows"][row]["code"].clone());
    assert_eq!(codes, ["already_linked", "quota_exceeded"]);
}

#[tokio::test]
async fn claims_beyond_those_that_may_wait_are_refused_by_row() {
    let server = ApiServer::start_with(Settings {
        claims: Claims::Confirm,
        ..settings()
    })
    .await;
    server
        .db
        .run(
            "insert into dids (number, user_id, status)
             select '+1800555' || n, 3, 'pending' from generate_series(1000, 1198) n",
        )
        .await;
    let alice = server.login("alice").await;
    let new =
        json!({"dids": [{"number": "+18005551000"}, {"number": "+49301"}, {"number": "+49302"}]});
    let made = alice.post("/api/seller/dids/bulk", new).await.expect(200);
    assert_eq!(statuses(&made), [409, 201, 409], "{made}");
    let codes = [0, 2].map(|row: usize| made["rows"][row]["code"].clone());
    assert_eq!(codes, ["number_taken", "too_many_pending"]);
}

#[tokio::test]
async fn a_client_that_is_deleted_meanwhile_is_its_own_rows_fault() {
    let server = ApiServer::start().await;
    add_clients(&server, 3).await;
    let alice = server.login("alice").await;
    add_campaign(&alice, "Sales", "active").await;
    // Deleted, and not committed yet: the request finds it, and waits for it where it links.
    let deleting = capconduit::db::connect_as_owner(&server.db.settings())
        .await
        .expect("connects");
    deleting
        .batch_execute("begin; delete from clients where id = 2")
        .await
        .expect("deletes");
    let bulk = format!("{CAMPAIGNS}/1/clients/bulk");
    let link = |client: i32| json!({"clientId": client, "maxConcurrency": 1, "forwardingPriority": 0, "weight": 1});
    let new = json!({"links": [link(1), link(2), link(3)]});
    let asked = tokio::spawn(async move { alice.post(&bulk, new).await });
    let waits = "select count(*) from pg_stat_activity
                 where wait_event_type = 'Lock' and datname = current_database()";
    while server.db.one::<i64>(waits).await == 0 {
        assert!(!asked.is_finished(), "it does not wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    deleting.batch_execute("commit").await.expect("commits");
    let made = asked.await.expect("asks").expect(200);
    assert_eq!(statuses(&made), [201, 404, 201], "{made}");
    assert_eq!(made["rows"][1]["code"], "not_found");
}
