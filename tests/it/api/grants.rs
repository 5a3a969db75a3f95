//! Which sellers may send calls to a client.

use serde_json::json;

use super::events::sellers_campaign;
use crate::support::api::{ApiClient, ApiServer};
use crate::support::world::{Caller, DID, VerdictExt};

const CLIENT: &str = "/api/admin/clients/1";

/// Alice's campaign sends the calls of its DID to client 1.
async fn start() -> (ApiServer, ApiClient, ApiClient) {
    let server = ApiServer::start().await;
    sellers_campaign(&server.db, 3, DID, &[1]).await;
    let (alice, staff) = (server.login("alice").await, server.login("staff").await);
    (server, alice, staff)
}

#[tokio::test]
async fn a_link_takes_calls_while_its_client_is_open_or_granted_to_its_seller() {
    let (server, alice, staff) = start().await;
    let engine = &server.engine;
    let open = staff.get(CLIENT).await.expect(200);
    assert_eq!(open["access"], "open");
    let first = Caller::new();
    first.route(engine).await.offer();

    staff
        .put(CLIENT, json!({"access": "granted"}))
        .await
        .expect(200);
    let second = Caller::new();
    let refused = second.route(engine).await.refusal();
    assert_eq!(refused.reason.as_str(), "no_active_clients_in_campaign");
    let path = format!("/api/seller/calls/{}/decisions", refused.call_id);
    let told = alice.get(&path).await.expect(200);
    assert!(told.to_string().contains("not_granted"), "{told}");

    let grant = format!("{CLIENT}/grants/3");
    let given = staff
        .send(reqwest::Method::PUT, &grant, None)
        .await
        .expect(200);
    assert_eq!(given["user"]["username"], "alice");
    assert_eq!(given["grantedBy"], "staff");
    let third = Caller::new();
    third.route(engine).await.offer();

    staff.delete(&grant).await.expect(204);
    staff.delete(&grant).await.expect(404);
    let fourth = Caller::new();
    fourth.route(engine).await.refusal();
    let audited: String = server
        .db
        .one(
            "select string_agg(concat_ws(':', action, actor, user_id), ',' order by audit_id)
             from audit_log where object_type = 'client'",
        )
        .await;
    assert_eq!(audited, "update:staff,grant:staff:3,take_grant:staff:3");

    staff
        .send(reqwest::Method::PUT, &format!("{CLIENT}/grants/1"), None)
        .await
        .expect(404);
    staff
        .send(reqwest::Method::PUT, "/api/admin/clients/99/grants/3", None)
        .await
        .expect(404);
    alice.get(&format!("{CLIENT}/grants")).await.expect(403);
}

#[tokio::test]
async fn a_client_that_is_not_granted_is_as_one_that_is_not_there() {
    let (server, alice, staff) = start().await;
    let bob = server.login("bob").await;
    sellers_campaign(&server.db, 4, "+18005550177", &[]).await;
    staff
        .put(CLIENT, json!({"access": "granted"}))
        .await
        .expect(200);
    staff
        .send(reqwest::Method::PUT, &format!("{CLIENT}/grants/3"), None)
        .await
        .expect(200);

    let available = "/api/seller/campaigns/available_clients";
    assert_eq!(bob.get(available).await.expect(200), json!([]));
    assert_eq!(alice.get(available).await.expect(200)[0]["id"], 1);
    let link = |client: i32| json!({"clientId": client, "maxConcurrency": 1, "forwardingPriority": 0, "weight": 1});
    let mut told = Vec::new();
    for client in [1, 99] {
        let mut refused = bob
            .post("/api/seller/campaigns/2/clients", link(client))
            .await
            .expect(404);
        refused["requestId"].take();
        told.push(refused);
    }
    assert_eq!(told[0], told[1]);
    let refused = staff
        .post("/api/admin/campaigns/2/clients", link(1))
        .await
        .expect(409);
    assert_eq!(refused["code"], "not_granted");
    staff
        .send(reqwest::Method::PUT, &format!("{CLIENT}/grants/4"), None)
        .await
        .expect(200);
    bob.post("/api/seller/campaigns/2/clients", link(1))
        .await
        .expect(201);
    let granted = staff.get(&format!("{CLIENT}/grants")).await.expect(200);
    assert_eq!(granted.as_array().expect("a list").len(), 2);
}
