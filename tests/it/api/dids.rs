//! A seller's numbers.

use capconduit::domain::Claims;
use capconduit::http::api::Settings;
use serde_json::{Value, json};

use crate::support::api::{ApiClient, ApiServer, settings};
use crate::support::world::{Caller, engine};

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

async fn start_with(claims: Claims) -> ApiServer {
    ApiServer::start_with(Settings {
        claims,
        ..settings()
    })
    .await
}

async fn claim(client: &ApiClient, number: &str) -> Value {
    client
        .post(DIDS, json!({ "number": number }))
        .await
        .expect(201)
}

/// Without what differs between any two answers.
fn without_request_id(mut problem: Value) -> Value {
    problem["requestId"] = json!(null);
    problem
}

#[tokio::test]
async fn a_seller_cannot_take_anothers_number_by_spelling_it_otherwise() {
    let server = ApiServer::start().await;
    server
        .db
        .run("insert into dids (number, user_id, status) values ('18005550100', 3, 'active')")
        .await;
    let bob = server.login("bob").await;
    let answer = bob.post(DIDS, json!({"number": "+18005550100"})).await;
    assert_eq!(answer.expect(409)["code"], "number_taken");
    let owner: i32 = server.db.one("select user_id from dids").await;
    assert_eq!(owner, 3);
}

#[tokio::test]
async fn what_is_said_of_a_taken_number_does_not_depend_on_who_has_it() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let mut told = Vec::new();
    for (number, user, status) in [
        ("+18005550100", 4, "active"),
        ("18005550100", 4, "inactive"),
        ("1-800-555-0100", 4, "pending"),
        ("+18005550100", 3, "active"),
    ] {
        server
            .db
            .run(&format!(
                "delete from dids;
                 insert into dids (number, user_id, status, description)
                     values ('{number}', {user}, '{status}', 'secret plan')"
            ))
            .await;
        let answer = alice.post(DIDS, json!({"number": "+18005550100"})).await;
        told.push(without_request_id(answer.expect(409)));
    }
    assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:#?}");
    // Nor does a simulation tell a number of another seller from one that nobody has.
    server
        .db
        .run("update dids set user_id = 4, status = 'active'")
        .await;
    let asked = ["%2B18005550100", "18005550100", "%2B18005550199", "..."];
    let mut told = Vec::new();
    for did in asked {
        let path = format!("/api/seller/simulate?did={did}");
        told.push(without_request_id(alice.get(&path).await.expect(404)));
    }
    assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:#?}");
}

#[tokio::test]
async fn a_claimed_number_works_once_staff_has_confirmed_it() {
    let server = start_with(Claims::Confirm).await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    let staff = server.login("staff").await;
    let did = claim(&alice, "+18005550100").await;
    assert_eq!(did["status"], "pending");
    let (id, one) = (&did["id"], format!("{DIDS}/{}", did["id"]));

    // The seller sees it, describes it, ties it; it cannot confirm it.
    let pending = alice.get(&format!("{DIDS}?status=pending")).await;
    assert_eq!(pending.expect(200)["total"], 1);
    alice
        .put(&one, json!({"description": "A"}))
        .await
        .expect(200);
    for status in ["active", "inactive"] {
        let refused = alice.put(&one, json!({ "status": status })).await;
        assert_eq!(refused.expect(409)["code"], "did_pending");
    }
    let refused = alice.put(&one, json!({"status": "pending"})).await;
    refused.expect(400);
    alice
        .post(DIDS, json!({"number": "+18005550101", "status": "active"}))
        .await
        .expect(201);
    assert_eq!(
        server
            .db
            .one::<i64>("select count(*) from dids where status = 'pending'")
            .await,
        2
    );
    let taken = bob.post(DIDS, json!({"number": "+18005550100"})).await;
    assert_eq!(taken.expect(409)["code"], "number_taken");

    // Staff sees who claims what, in any spelling.
    let found = staff
        .get("/api/admin/dids?status=pending&number=1-800-555-0100")
        .await
        .expect(200);
    assert_eq!(found["total"], 1);
    assert_eq!(
        found["items"][0]["user"],
        json!({"id": 3, "username": "alice"})
    );
    let confirm = format!("/api/admin/dids/{id}/confirm");
    alice.post(&confirm, json!({})).await.expect(403);
    let confirmed = staff
        .post(&confirm, json!({"reason": "contract seen"}))
        .await
        .expect(200);
    assert_eq!(confirmed["status"], "active");
    let again = staff.post(&confirm, json!({})).await.expect(409);
    assert_eq!(again["code"], "did_not_pending");

    // From then on it is the seller's to switch.
    for status in ["inactive", "active"] {
        let changed = alice.put(&one, json!({ "status": status })).await;
        assert_eq!(changed.expect(200)["status"], status);
    }
    let audited: String = server
        .db
        .one(&format!(
            "select string_agg(concat_ws(':', actor, action, reason), ',' order by audit_id)
             from audit_log where object_type = 'did' and object_id = '{id}' and user_id = 3"
        ))
        .await;
    assert_eq!(
        audited,
        "alice:create,alice:update,staff:confirm:contract seen,alice:update,alice:update"
    );
}

#[tokio::test]
async fn a_refused_claim_is_free_for_whose_number_it_is() {
    let server = start_with(Claims::Confirm).await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    let staff = server.login("staff").await;
    let did = claim(&bob, "+18005550100").await;
    let refuse = format!("/api/admin/dids/{}/refuse", did["id"]);
    let why = json!({"reason": "not yours"});
    staff.post(&refuse, why).await.expect(204);
    staff.post(&refuse, json!({})).await.expect(404);
    assert_eq!(bob.get(DIDS).await.expect(200)["total"], 0);
    let audit = bob.get("/api/seller/audit?action=refuse").await.expect(200);
    assert_eq!(audit["items"][0]["reason"], "not yours");

    let did = claim(&alice, "+18005550100").await;
    let confirm = format!("/api/admin/dids/{}/confirm", did["id"]);
    staff.post(&confirm, json!({})).await.expect(200);
    let refuse = format!("/api/admin/dids/{}/refuse", did["id"]);
    let refused = staff.post(&refuse, json!({})).await.expect(409);
    assert_eq!(refused["code"], "did_not_pending");
}

#[tokio::test]
async fn a_pending_number_takes_no_calls() {
    let server = start_with(Claims::Confirm).await;
    let alice = server.login("alice").await;
    let did = claim(&alice, "+18005550100").await;
    server
        .db
        .run(
            "insert into clients (client_identifier, name, status) values ('client1', 'Client 1', 'active');
             insert into pjsip_endpoints (id, client_id, context) values ('client1', 1, 'none');
             insert into pjsip_aors (id, client_id, contact) values ('client1', 1, 'sip:192.0.2.1');
             insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
                 values (3, 'campaign', 'active', 'priority', 20);
             insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency,
                     forwarding_priority, weight)
                 values (1, 1, 'active', 10, 0, 1)",
        )
        .await;
    let tied = alice
        .put(
            "/api/seller/campaigns/1/dids",
            json!({"didIds": [did["id"]]}),
        )
        .await;
    tied.expect(200);
    let engine = engine(&server.db, "calls");
    let verdict = format!("{:?}", Caller::new().route(&engine).await);
    assert!(verdict.contains("DidInactive"), "{verdict}");
    let staff = server.login("staff").await;
    let confirm = format!("/api/admin/dids/{}/confirm", did["id"]);
    staff.post(&confirm, json!({})).await.expect(200);
    let verdict = format!("{:?}", Caller::new().route(&engine).await);
    assert!(verdict.starts_with("Dial"), "{verdict}");
}

#[tokio::test]
async fn the_database_does_not_let_a_seller_confirm_its_own_claim() {
    let server = start_with(Claims::Confirm).await;
    claim(&server.login("alice").await, "+18005550100").await;
    server
        .db
        .run("set role capconduit_api; set capconduit.user_id = '3'")
        .await;
    let activated = server
        .db
        .owner
        .execute("update dids set status = 'active'", &[])
        .await;
    let error = activated.expect_err("is refused");
    assert_eq!(
        error.code().map(tokio_postgres::error::SqlState::code),
        Some("42501")
    );
    // What leaves it pending is fine.
    let described = "update dids set status = 'pending', description = 'x'";
    server.db.run(described).await;
}

#[tokio::test]
async fn claims_that_wait_are_limited() {
    let server = start_with(Claims::Confirm).await;
    server
        .db
        .run(
            "insert into dids (number, user_id, status)
             select '+1800555' || n, 3, 'pending' from generate_series(1000, 1199) n",
        )
        .await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    let refused = alice.post(DIDS, json!({"number": "+49301"})).await;
    assert_eq!(refused.expect(409)["code"], "too_many_pending");
    claim(&bob, "+49301").await;
}

#[tokio::test]
async fn staff_alone_gives_numbers_where_it_is_configured_so() {
    let server = start_with(Claims::Staff).await;
    let alice = server.login("alice").await;
    let staff = server.login("staff").await;
    let given = "/api/admin/dids";
    let new = json!({"userId": 3, "number": "+18005550100", "description": "Landing page"});
    let did = staff.post(given, new.clone()).await.expect(201);
    assert_eq!(did["status"], "active");
    assert_eq!(did["user"]["username"], "alice");

    // Taken or free: a seller is told the same.
    let mut told = Vec::new();
    for number in ["+18005550100", "+18005550101"] {
        let refused = alice.post(DIDS, json!({ "number": number })).await;
        told.push(without_request_id(refused.expect(403)));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0]["code"], "given_by_staff");

    // Staff is told whose it is.
    let again = json!({"userId": 4, "number": "+18005550100"});
    let conflict = staff.post(given, again).await.expect(409);
    assert!(
        conflict["message"].to_string().contains("alice"),
        "{conflict}"
    );
    for (user, expected) in [(1, 400), (99, 400), (4, 201)] {
        let new = json!({"userId": user, "number": "+18005550102"});
        staff.post(given, new).await.expect(expected);
    }

    // The seller has it as any other, and staff can take it away.
    let one = format!("{DIDS}/{}", did["id"]);
    let paused = alice.put(&one, json!({"status": "inactive"})).await;
    paused.expect(200);
    let any = format!("{given}/{}", did["id"]);
    let read = staff.get(&any).await;
    let tag = read.header("etag").expect("a tag").to_owned();
    assert_eq!(read.expect(200)["status"], "inactive");
    let careful = staff.with_header("if-match", "\"other\"");
    careful.delete(&any).await.expect(412);
    let careful = staff.with_header("if-match", &tag);
    careful.delete(&any).await.expect(204);
    staff.get(&any).await.expect(404);
    alice.get(&one).await.expect(404);
}

#[tokio::test]
async fn staff_lists_dids_of_all_sellers() {
    let server = ApiServer::start().await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    claim(&alice, "+18005550100").await;
    claim(&bob, "+18005550101").await;
    let staff = server.login("staff").await;
    let total = async |query: &str| {
        let listed = staff.get(&format!("/api/admin/dids{query}")).await;
        listed.expect(200)["total"].clone()
    };
    assert_eq!(total("").await, 2);
    assert_eq!(total("?user_id=4").await, 1);
    assert_eq!(total("?status=pending").await, 0);
    assert_eq!(total("?number=18005550101").await, 1);
    assert_eq!(total("?number=%2B").await, 0);
    staff.get("/api/admin/dids?status=x").await.expect(400);
    alice.get("/api/admin/dids").await.expect(403);
}
