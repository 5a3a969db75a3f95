//! Many DIDs or links in one request.

use serde_json::{Value, json};

use super::campaigns::{CAMPAIGNS, add_campaign, add_clients};
use crate::support::api::ApiServer;

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
