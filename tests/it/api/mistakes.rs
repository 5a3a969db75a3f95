//! What is misspelt is told.

use serde_json::json;

use super::campaigns::{CAMPAIGNS, add_campaign};
use crate::support::api::ApiServer;

#[tokio::test]
async fn unknown_parameters_are_errors_but_on_the_contracts_lists() {
    let server = ApiServer::start().await;
    let (alice, staff) = (server.login("alice").await, server.login("staff").await);
    for path in [
        "/api/seller/logs/export?campaing_id=9",
        "/api/seller/statistics?group=hour",
        "/api/seller/audit?object=did",
        "/api/seller/calls?campaign=1",
    ] {
        let refused = alice.get(path).await.expect(400);
        assert_eq!(refused["code"], "unknown_parameter", "{path}");
        assert!(
            refused["message"].to_string().contains("Known: "),
            "{refused}"
        );
    }
    for path in [
        "/api/admin/recordings?user=3",
        "/api/admin/transcription-jobs?stat=done",
        "/api/admin/usage?campaing_id=1",
        "/api/admin/campaigns?usr_id=3",
        "/api/admin/logs?campaing_id=1",
    ] {
        let refused = staff.get(path).await.expect(400);
        assert_eq!(refused["code"], "unknown_parameter", "{path}");
    }
    for path in ["/api/seller/logs", "/api/seller/dids", CAMPAIGNS] {
        let asked = format!("{path}?campaing_id=1&%0ax=2");
        let answer = alice.get(&asked).await;
        assert_eq!(
            answer.header("x-ignored"),
            Some("?x, campaing_id"),
            "{path}"
        );
        answer.expect(200);
        let strict = alice.with_header("prefer", "handling=strict");
        assert_eq!(
            strict.get(&asked).await.expect(400)["code"],
            "unknown_parameter"
        );
        assert!(alice.get(path).await.header("x-ignored").is_none());
    }
    // Who may not ask is not told what could be asked.
    alice.get("/api/admin/usage?x=1").await.expect(403);
    server
        .anonymous()
        .get("/api/seller/statistics?x=1")
        .await
        .expect(401);
}

#[tokio::test]
async fn filters_that_mean_nothing_are_errors_but_on_the_contracts_list() {
    let server = ApiServer::start().await;
    let (alice, staff) = (server.login("alice").await, server.login("staff").await);
    alice
        .get("/api/seller/logs?campaign_id=none")
        .await
        .expect(200);
    let strict = alice.with_header("prefer", "handling=strict");
    strict
        .get("/api/seller/logs?campaign_id=none")
        .await
        .expect(400);
    for path in [
        "/api/seller/logs/export?campaign_id=none",
        "/api/seller/statistics?client_id=0",
    ] {
        alice.get(path).await.expect(400);
    }
    for path in [
        "/api/admin/logs?user_id=alice",
        "/api/admin/recordings?user_id=alice",
        "/api/admin/audit?user_id=x",
    ] {
        staff.get(path).await.expect(400);
    }
}

#[tokio::test]
async fn fields_that_the_contract_drops_are_listed() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    add_campaign(&alice, "Sales", "active").await;
    let one = format!("{CAMPAIGNS}/1");
    let change = json!({"name": "x", "satus": "paused"});
    let answer = alice.put(&one, change.clone()).await;
    assert_eq!(answer.header("x-ignored"), Some("satus"));
    assert_eq!(answer.expect(200)["status"], "active");
    let strict = alice.with_header("prefer", "handling=strict");
    let refused = strict.put(&one, change).await.expect(400);
    assert!(
        refused["errors"]["satus"]
            .to_string()
            .contains("Known: name"),
        "{refused}"
    );
    let admin = server.login("admin").await;
    let answer = admin
        .put(
            "/api/admin/users/4",
            json!({"satus": "suspended", "fullName": "x"}),
        )
        .await;
    assert_eq!(answer.header("x-ignored"), Some("satus"));
    answer.expect(200);
}

#[tokio::test]
async fn accounts_are_filtered_searched_and_sorted() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let names = async |query: &str| {
        let listed = admin
            .get(&format!("/api/admin/users?{query}"))
            .await
            .expect(200);
        let items = listed["items"].as_array().expect("a list").clone();
        let names: Vec<_> = items
            .iter()
            .map(|user| user["username"].as_str().expect("a name").to_owned())
            .collect();
        names.join(",")
    };
    assert_eq!(names("").await, "admin,alice,bob,staff");
    assert_eq!(names("role=user&sort=-username").await, "bob,alice");
    assert_eq!(names("q=LICE@").await, "alice");
    assert_eq!(names("status=suspended").await, "");
    admin.get("/api/admin/users?role=seller").await.expect(400);
    for name in ["seller_\u{430}lice", "x\u{202e}ecila", "al ice"] {
        let new = json!({"username": name, "email": "n@example.com", "password": "a long password", "role": "user"});
        admin.post("/api/admin/users", new).await.expect(400);
    }
}
