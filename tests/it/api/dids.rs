//! A seller's numbers.

use serde_json::json;

use crate::support::api::ApiServer;

const DIDS: &str = "/api/seller/dids";

#[tokio::test]
async fn a_did_is_added_read_changed_and_deleted() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let answer = alice
        .post(
            DIDS,
            json!({"number": "+18005550101", "description": "Landing page"}),
        )
        .await;
    let did = answer.expect(201);
    assert_eq!(did["number"], "+18005550101");
    assert_eq!(did["status"], "active");
    let one = format!("{DIDS}/{}", did["id"]);

    assert_eq!(alice.get(&one).await.expect(200), did);
    let listed = alice.get(DIDS).await.expect(200);
    assert_eq!(listed["items"], json!([did]));
    assert_eq!((&listed["total"], &listed["pages"]), (&json!(1), &json!(1)));

    let changed = alice
        .put(&one, json!({"status": "inactive"}))
        .await
        .expect(200);
    assert_eq!(
        changed["description"], "Landing page",
        "what is not named stays"
    );
    let changed = alice
        .put(&one, json!({"description": null, "number": "+18005550199"}))
        .await
        .expect(200);
    assert_eq!(changed["description"], json!(null));
    assert_eq!(changed["number"], "+18005550101", "is dropped");

    alice.delete(&one).await.expect(204);
    alice.get(&one).await.expect(404);
    let audited: String = server
        .db
        .one("select string_agg(action, ',' order by audit_id) from audit_log where user_id = 3")
        .await;
    assert_eq!(audited, "create,update,update,delete");
}

#[tokio::test]
async fn a_change_of_another_version_is_refused() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let answer = alice.post(DIDS, json!({"number": "+18005550101"})).await;
    let tag = answer.header("etag").expect("a tag").to_owned();
    let one = format!("{DIDS}/{}", answer.expect(201)["id"]);
    let careful = alice.with_header("if-match", &tag);
    careful
        .put(&one, json!({"status": "inactive"}))
        .await
        .expect(200);
    careful
        .put(&one, json!({"status": "active"}))
        .await
        .expect(412);
    careful.delete(&one).await.expect(412);
    assert_eq!(alice.get(&one).await.expect(200)["status"], "inactive");
}

#[tokio::test]
async fn numbers_are_strict_and_belong_to_one_seller() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    for number in [
        json!("18005550101"),
        json!("+08005550101"),
        json!("+18005550101\n"),
        json!("+1٨٠٠555"),
        json!("+1"),
        json!("+1234567890123456"),
        json!(18_005_550_101_i64),
        json!(null),
        json!(""),
    ] {
        let errors = alice
            .post(DIDS, json!({ "number": number }))
            .await
            .expect(400);
        assert!(
            errors["errors"]["number"][0].is_string(),
            "{number}: {errors}"
        );
    }
    alice
        .post(DIDS, json!({"number": "+18005550101"}))
        .await
        .expect(201);
    bob.post(DIDS, json!({"number": "+18005550101"}))
        .await
        .expect(409);
    let errors = alice
        .post(DIDS, json!({"number": "+18005550102", "owner": 4}))
        .await
        .expect(400);
    assert!(errors["errors"]["owner"][0].is_string());
}

#[tokio::test]
async fn another_sellers_did_is_not_there() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let did = alice
        .post(DIDS, json!({"number": "+18005550101"}))
        .await
        .expect(201);
    let one = format!("{DIDS}/{}", did["id"]);
    bob.get(&one).await.expect(404);
    bob.put(&one, json!({"status": "inactive"}))
        .await
        .expect(404);
    bob.delete(&one).await.expect(404);
    assert_eq!(bob.get(DIDS).await.expect(200)["items"], json!([]));
    server.login("admin").await.get(DIDS).await.expect(403);
    for path in [
        "/api/seller/dids/x",
        "/api/seller/dids/-1",
        "/api/seller/dids/1/",
        "/api/seller/dids/99999999999",
    ] {
        alice.get(path).await.expect(404);
    }
}
