//! What operators and sellers see: calls under way, decisions, simulations, the audit log, the docs page.

use capconduit::domain::DialStatus;
use serde_json::{Value, json};

use super::events::{confirm, sellers_campaign};
use crate::support::api::ApiServer;
use crate::support::world::{Caller, VerdictExt, engine};

const ALICE: &str = "+18005550101";
const BOB: &str = "+18005550102";

/// Alice (user 3) with two links, the first with a concurrency cap of one, and Bob (user 4) with one.
async fn two_sellers() -> ApiServer {
    let server = ApiServer::start().await;
    sellers_campaign(&server.db, 3, ALICE, &[1, 2]).await;
    sellers_campaign(&server.db, 4, BOB, &[2]).await;
    server
        .db
        .run("update campaign_client_settings set max_concurrency = 1 where id = 1")
        .await;
    server
}

#[tokio::test]
async fn calls_under_way_are_listed_with_where_they_stand() {
    let server = two_sellers().await;
    let engine = engine(&server.db, "node-a");
    let alice = server.login("alice").await;
    let path = "/api/seller/calls";
    assert_eq!(alice.get(path).await.expect(200)["total"], 0);

    let talking = Caller::new().dialling(ALICE);
    let offer = talking.route(&engine).await.offer();
    confirm(&engine, &talking, &offer).await;
    let ringing = Caller::new().dialling(ALICE);
    ringing.route(&engine).await.offer();
    let others = Caller::new().dialling(BOB);
    others.route(&engine).await.offer();
    let nobodys = Caller::new().dialling("+19995550000");
    nobodys.route(&engine).await.refusal();

    let listed = alice.get(path).await.expect(200);
    assert_eq!((&listed["total"], &listed["pages"]), (&json!(2), &json!(1)));
    let (newest, oldest) = (&listed["items"][0], &listed["items"][1]);
    assert_eq!(newest["state"], "offered");
    assert_eq!(newest["target"]["name"], "Client 2");
    assert_eq!(newest["target"]["answeredAt"], Value::Null);
    assert_eq!(oldest["callId"], offer.call_id.0);
    assert_eq!(oldest["state"], "talking");
    assert_eq!(oldest["did"], ALICE);
    assert_eq!(oldest["callerNumber"], "+15550001111");
    assert_eq!(oldest["callerName"], "Test Caller");
    assert_eq!(oldest["campaign"]["name"], "campaign of 3");
    assert_eq!(oldest["target"]["clientId"], 1);
    assert_eq!(oldest["target"]["endpoint"], "client1");
    assert_eq!(oldest["target"]["linkId"], 1);
    assert_eq!(oldest["target"]["attempt"], 1);
    assert!(oldest["target"]["answeredAt"].is_string());
    assert!(oldest["ageSeconds"].is_i64());
    assert_eq!(
        (&oldest["server"], &oldest["node"]),
        (&json!("pbx"), &json!("node-a"))
    );

    let page = alice
        .get("/api/seller/calls?per_page=1&page=2")
        .await
        .expect(200);
    assert_eq!(page["items"], json!([oldest]));
    let beyond = alice.get("/api/seller/calls?page=9").await.expect(200);
    assert_eq!(
        (&beyond["items"], &beyond["total"]),
        (&json!([]), &json!(2))
    );

    let all = server
        .login("staff")
        .await
        .get("/api/admin/calls")
        .await
        .expect(200);
    assert_eq!(all["total"], 4);
    assert_eq!(all["items"][0]["state"], "refused");
    assert_eq!(all["items"][0]["reason"], "did_not_found");
    assert_eq!(all["items"][0]["campaign"], Value::Null);
    alice.get("/api/admin/calls").await.expect(403);
    server.login("admin").await.get(path).await.expect(403);
    server.anonymous().get(path).await.expect(401);
    alice
        .get("/api/seller/calls?page=99999999999999999999")
        .await
        .expect(400);

    ringing.end(&engine, Some(DialStatus::NoAnswer)).await;
    assert_eq!(alice.get(path).await.expect(200)["total"], 1);
}

#[tokio::test]
async fn calls_under_way_are_found_without_reading_ended_ones() {
    let server = ApiServer::start().await;
    server
        .db
        .run(
            "insert into calls (asterisk_uniqueid, asterisk_linkedid, channel, node_name, user_id,
                 incoming_did_number, started_at, ended_at, expires_at)
             select n, n, 'c', 'n', 3, '+1', now(), case when n > 20 then now() - interval '1 hour' end, now()
             from generate_series(1, 100000) n;
             analyze calls",
        )
        .await;
    for (role, name, arguments, index) in [
        (
            "capconduit_api",
            "list",
            "(3, 20, 0, null, null, null, null, null, null, null, null, null, null, null, null, null, null, false)",
            "calls_uniqueid_under_way_key",
        ),
        (
            "capconduit_admin",
            "list",
            "(null, 20, 0, null, null, null, null, null, null, null, null, null, null, null, null, null, null, false)",
            "calls_uniqueid_under_way_key",
        ),
        (
            "capconduit_admin",
            "snapshot",
            "",
            "calls_uniqueid_under_way_key",
        ),
        (
            "capconduit_admin",
            "ended",
            "('{1,2,3}', now() - interval '10 seconds', '{4,5}')",
            "calls_ended_at_idx",
        ),
    ] {
        let statement = capconduit::calls::store::live::sql::ALL
            .iter()
            .find(|sql| sql.name == format!("calls/sql/live/{name}"))
            .expect("a statement");
        server
            .db
            .run(&format!(
                "begin; set local role {role}; set local capconduit.user_id = '3'; prepare looked as {}",
                statement.text
            ))
            .await;
        let plan = server
            .db
            .owner
            .query(
                &format!("explain (analyze, buffers off) execute looked{arguments}"),
                &[],
            )
            .await
            .expect("explains");
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        server.db.run("rollback; deallocate looked").await;
        assert!(plan.contains(index), "{role}: {plan}");
        assert!(!plan.contains("Seq Scan on calls"), "{role}: {plan}");
    }
}

#[tokio::test]
async fn every_decision_about_a_call_is_explained() {
    let server = two_sellers().await;
    let engine = engine(&server.db, "node-a");
    let first = Caller::new().dialling(ALICE);
    first.route(&engine).await.offer();
    let second = Caller::new().dialling(ALICE);
    let offer = second.route(&engine).await.offer();
    second
        .route_after(&engine, DialStatus::Busy)
        .await
        .refusal();
    let path = format!("/api/seller/calls/{}/decisions", offer.call_id);

    let alice = server.login("alice").await;
    let explained = alice.get(&path).await.expect(200);
    assert_eq!(explained["callId"], offer.call_id.0);
    let [dialled, refused] = &explained["decisions"].as_array().expect("a list")[..] else {
        panic!("{explained}");
    };
    assert_eq!(dialled["verdict"], "DIAL");
    assert_eq!(dialled["attempt"], 1);
    assert_eq!(dialled["explanation"], "Offered to Client 2.");
    assert_eq!(dialled["strategy"], "priority");
    assert_eq!(dialled["campaign"]["name"], "campaign of 3");
    assert_eq!(dialled["chosen"]["linkId"], 2);
    assert_eq!(dialled["chosen"]["endpoint"], "client2");
    assert_eq!(dialled["chosen"]["dialStatus"], "BUSY");
    assert_eq!(dialled["candidates"][0]["place"], 1);
    assert_eq!(
        dialled["candidates"][0]["client"],
        json!({"id": 2, "name": "Client 2"})
    );
    assert_eq!(dialled["candidates"][1]["place"], Value::Null);
    assert_eq!(
        dialled["candidates"][1]["verdict"],
        "concurrency_cap_reached"
    );
    assert_eq!(
        dialled["candidates"][1]["concurrency"],
        json!({"used": 1, "limit": 1})
    );
    assert_eq!(
        dialled["candidates"][1]["explanation"],
        "At its concurrency cap: 1 of 1 in use."
    );
    assert_eq!(refused["verdict"], "REJECT");
    assert_eq!(refused["reason"], "no_eligible_clients_available");
    let verdicts: Vec<&Value> = refused["candidates"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| &c["verdict"])
        .collect();
    assert!(verdicts.contains(&&json!("already_tried")), "{refused}");

    // Ended, its client deleted, it is explained all the same; forgotten by the tables of calls under way, too.
    second.end(&engine, Some(DialStatus::Busy)).await;
    server
        .db
        .run("delete from clients where id = 2; delete from calls")
        .await;
    let later = alice.get(&path).await.expect(200);
    assert_eq!(
        later["decisions"][0]["candidates"][0]["client"],
        json!({"id": 2, "name": null})
    );
    assert_eq!(later["decisions"][0]["explanation"], "Offered to link 2.");

    server.login("bob").await.get(&path).await.expect(404);
    let admin = format!("/api/admin/calls/{}/decisions", offer.call_id);
    let seen = server.login("staff").await.get(&admin).await.expect(200);
    assert_eq!(seen, later);
    alice.get(&admin).await.expect(403);
    for missing in ["999999", "99999999999999999999", "x", "-1"] {
        alice
            .get(&format!("/api/seller/calls/{missing}/decisions"))
            .await
            .expect(404);
    }
}

#[tokio::test]
async fn an_unreadable_record_and_a_call_without_decision_are_shown_as_far_as_they_go() {
    let server = two_sellers().await;
    let engine = engine(&server.db, "node-a");
    let call = Caller::new().dialling(ALICE);
    let id = call.route(&engine).await.offer().call_id;
    server
        .db
        .run("update decisions set question = '{\"odd\": 1}', ranking = '7'")
        .await;
    let alice = server.login("alice").await;
    let path = format!("/api/seller/calls/{id}/decisions");
    let decision = alice.get(&path).await.expect(200)["decisions"][0].clone();
    assert_eq!(decision["chosen"]["client"]["name"], "Client 1");
    assert_eq!(decision["candidates"], json!([]));
    assert_eq!(decision["remarks"].as_array().map(Vec::len), Some(2));
    server.db.run("delete from decisions").await;
    assert_eq!(alice.get(&path).await.expect(200)["decisions"], json!([]));
}

/// Everything that a live decision changes.
const STATE: &str = "select concat_ws(' ', (select string_agg(r::text, ',') from campaign_rotations r),
    (select string_agg(u::text, ',' order by link_id) from link_usage u),
    (select string_agg(s::text, ',' order by id) from campaign_client_settings s),
    (select count(*) from decisions), (select count(*) from calls), (select count(*) from reservations),
    (select count(*) from call_attempts), (select count(*) from call_logs))";

#[tokio::test]
async fn a_simulation_answers_as_the_next_call_and_changes_nothing() {
    let server = two_sellers().await;
    server
        .db
        .run(
            "update campaigns set routing_strategy = 'round_robin' where user_id = 3;
              update campaign_client_settings set max_concurrency = 5 where id = 1",
        )
        .await;
    let engine = engine(&server.db, "node-a");
    let admin = server.login("staff").await;
    let alice = server.login("alice").await;
    for expected in ["client1", "client2", "client1"] {
        let before: String = server.db.one(STATE).await;
        let told = admin
            .get("/api/admin/simulate?did=%2B18005550101&callerId=%2B15550001111")
            .await
            .expect(200);
        assert_eq!(
            alice
                .get("/api/seller/simulate?did=%2B18005550101&callerId=%2B15550001111")
                .await
                .expect(200),
            told
        );
        assert_eq!(server.db.one::<String>(STATE).await, before);
        assert_eq!(told["verdict"], "DIAL");
        assert_eq!(
            (&told["reason"], &told["cause"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(told["targets"][0]["endpoint"], expected);
        assert_eq!(told["targets"][0]["place"], 1);
        assert_eq!(told["targets"][1]["place"], 2);
        assert_eq!(told["campaign"]["name"], "campaign of 3");
        assert_eq!(told["campaign"]["routingStrategy"], "round_robin");
        assert_eq!(told["did"]["number"], ALICE);
        assert_eq!(told["callerId"], "+15550001111");
        let offer = Caller::new().dialling(ALICE).route(&engine).await.offer();
        assert_eq!(
            offer.endpoint, expected,
            "the call goes where the simulation said"
        );
    }
}

#[tokio::test]
async fn a_simulated_refusal_says_why() {
    let server = two_sellers().await;
    server
        .db
        .run("update campaign_client_settings set total_calls_allowed = 0 where campaign_id = 2")
        .await;
    let admin = server.login("admin").await;
    let told = admin
        .get("/api/admin/simulate?did=18005550102")
        .await
        .expect(200);
    assert_eq!(told["verdict"], "REJECT");
    assert_eq!(told["reason"], "no_eligible_clients_available");
    assert_eq!(told["callStatus"], "REJECTED_TOTAL");
    assert_eq!(told["cause"]["code"], 17);
    assert_eq!(told["targets"][0]["verdict"], "total_cap_reached");
    assert_eq!(told["targets"][0]["total"], json!({"used": 0, "limit": 0}));
    let unknown = admin
        .get("/api/admin/simulate?did=%2B19995550000")
        .await
        .expect(200);
    assert_eq!(unknown["reason"], "did_not_found");
    assert_eq!(unknown["cause"]["code"], 1);
    assert_eq!(
        (&unknown["did"], &unknown["targets"]),
        (&Value::Null, &json!([]))
    );
}

#[tokio::test]
async fn a_paused_campaign_is_named_wherever_a_refusal_is_explained() {
    let server = two_sellers().await;
    // Bob's campaign is tied to Alice's DID past our checks: it does not count, and is not shown.
    server
        .db
        .run(
            "update campaigns set status = 'paused', name = 'Empty';
             alter table campaign_dids disable trigger user;
             insert into campaign_dids values (2, 1)",
        )
        .await;
    let alice = server.login("alice").await;
    let told = alice
        .get("/api/seller/simulate?did=%2B18005550101")
        .await
        .expect(200);
    assert_eq!(told["reason"], "no_active_campaign_for_did");
    assert_eq!(
        told["explanation"],
        "No active campaign takes the calls of this DID (campaign 1 Empty: paused)."
    );
    assert_eq!(
        told["closedCampaigns"],
        json!([{"id": 1, "name": "Empty", "status": "paused"}])
    );

    let engine = engine(&server.db, "node-a");
    let refused = Caller::new().dialling(ALICE).route(&engine).await.refusal();
    let path = format!("/api/seller/calls/{}/decisions", refused.call_id);
    let recorded = alice.get(&path).await.expect(200);
    let decision = &recorded["decisions"][0];
    assert_eq!(decision["reason"], "no_active_campaign_for_did");
    assert_eq!(decision["remarks"], json!(["campaign 1 Empty: paused"]));
    assert_eq!(decision["explanation"], told["explanation"]);

    // With no campaign at all there is nothing to name.
    server.db.run("delete from campaign_dids").await;
    let told = alice
        .get("/api/seller/simulate?did=%2B18005550101")
        .await
        .expect(200);
    assert_eq!(told["closedCampaigns"], json!([]));
    assert_eq!(
        told["explanation"],
        "No active campaign takes the calls of this DID."
    );
}

#[tokio::test]
async fn a_simulation_is_of_ones_own_dids_and_of_now() {
    let server = two_sellers().await;
    let alice = server.login("alice").await;
    let path = "/api/seller/simulate";
    alice
        .get(&format!("{path}?did=%2B18005550102"))
        .await
        .expect(404);
    alice
        .get(&format!("{path}?did=%2B19995550000"))
        .await
        .expect(404);
    server.login("staff").await.get(path).await.expect(403);
    alice.get("/api/admin/simulate?did=1").await.expect(403);
    let long = "1".repeat(51);
    for bad in [
        "",
        "?did=",
        "?did=%00",
        &format!("?did={long}"),
        "?did=%2B18005550101&at=yesterday",
        "?did=%2B18005550101&at=2026-13-01T00:00:00Z",
        "?did=%2B18005550101&callerId=%00",
    ] {
        alice.get(&format!("{path}{bad}")).await.expect(400);
    }
    let now = format!(
        "{path}?did=%2B18005550101&at={}",
        capconduit::runtime::clock::now()
    );
    assert_eq!(alice.get(&now).await.expect(200)["remarks"], json!([]));
    for other in ["2031-01-31T12:00:00Z", "2031-01-31T12:00:00+01:00"] {
        let told = alice
            .get(&format!("{path}?did=%2B18005550101&at={other}"))
            .await
            .expect(200);
        assert_eq!(told["remarks"].as_array().map(Vec::len), Some(1), "{told}");
    }
}

#[tokio::test]
async fn the_audit_log_is_read_page_by_page() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    for n in 0..5 {
        let did = json!({ "number": format!("+1800555010{n}") });
        alice.post("/api/seller/dids", did).await.expect(201);
    }
    server
        .db
        .run(
            "insert into audit_log (at, actor_id, actor, via, user_id, action, object_type, object_id, address)
             values ('2026-01-31T23:59:59.9Z', 1, 'admin', 'session:9', 3, 'correct_counter', 'link', '7', '192.0.2.1'),
                    ('2026-02-01T00:00:00Z', 1, 'admin', 'session:9', null, 'create', 'client', '7', '192.0.2.1')",
        )
        .await;
    let staff = server.login("staff").await;
    let mut path = "/api/admin/audit?per_page=3".to_owned();
    let mut ids = Vec::new();
    loop {
        let page = staff.get(&path).await.expect(200);
        let items = page["items"].as_array().expect("a list");
        ids.extend(items.iter().map(|item| item["id"].as_i64().expect("an id")));
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        assert_eq!(items.len(), 3);
        path = format!("/api/admin/audit?per_page=3&cursor={cursor}");
    }
    assert_eq!(ids.len(), 7);
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");

    let count = async |query: &str| {
        let page = staff
            .get(&format!("/api/admin/audit?{query}"))
            .await
            .expect(200);
        page["items"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(count("actor=alice").await, 5);
    assert_eq!(count("object_type=link").await, 1);
    assert_eq!(count("object_type=client&object_id=7").await, 1);
    assert_eq!(count("user_id=3").await, 6);
    assert_eq!(count("action=correct_counter").await, 1);
    assert_eq!(count("start_date=2026-02-01&end_date=2026-02-01").await, 1);
    assert_eq!(count("start_date=2026-01-31&end_date=2026-01-31").await, 1);
    assert_eq!(count("end_date=9999-12-31").await, 7);
    assert_eq!(count("start_date=9999-12-31").await, 0);
}

#[tokio::test]
async fn sellers_read_the_changes_of_their_own_things() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let did = json!({ "number": "+18005550101" });
    alice
        .post("/api/seller/dids", did.clone())
        .await
        .expect(201);
    server
        .db
        .run(
            "insert into audit_log (actor_id, actor, via, user_id, action, object_type, object_id, request_id, address)
             values (1, 'admin', 'session:9', 3, 'pause', 'link', '7', 'r', '192.0.2.1')",
        )
        .await;
    alice.get("/api/seller/audit?user_id=4").await.expect(400);
    let page = alice.get("/api/seller/audit").await.expect(200);
    let (theirs, own) = (&page["items"][0], &page["items"][1]);
    assert_eq!(
        (&page["items"].as_array().map(Vec::len), &page["nextCursor"]),
        (&Some(2), &Value::Null)
    );
    assert_eq!(theirs["actor"], "admin");
    assert_eq!(theirs["action"], "pause");
    for hidden in ["via", "address", "requestId"] {
        assert_eq!(theirs[hidden], Value::Null, "{hidden}");
        assert!(own[hidden].is_string(), "{hidden}");
    }
    assert_eq!(
        (&own["action"], &own["objectType"], &own["before"]),
        (&json!("create"), &json!("did"), &Value::Null)
    );
    assert_eq!(own["after"]["number"], did["number"]);
    assert_eq!(
        bob.get("/api/seller/audit").await.expect(200)["items"],
        json!([])
    );
    alice.get("/api/admin/audit").await.expect(403);
    server
        .login("staff")
        .await
        .get("/api/seller/audit")
        .await
        .expect(403);
    for bad in [
        "cursor=x",
        "cursor=-1",
        "cursor=99999999999999999999",
        "start_date=2026-02-30",
        "end_date=31.01.2026",
        "start_date=2026-01-31T00:00:00Z",
        "actor=%00",
    ] {
        alice
            .get(&format!("/api/seller/audit?{bad}"))
            .await
            .expect(400);
    }
}

#[tokio::test]
async fn a_browser_that_knows_only_the_host_finds_the_docs_page() {
    let server = ApiServer::start().await;
    let anybody = server.anonymous();
    let types = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
    let answer = anybody.with_header("accept", types).get("/").await;
    // The client follows.
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("docs.js"), "{}", answer.text);
    let answer = anybody.get("/").await;
    assert_eq!(answer.expect(404)["code"], "not_found");
}

#[tokio::test]
async fn the_docs_page_asks_no_other_host_and_runs_no_inline_code() {
    let server = ApiServer::start().await;
    let anybody = server.anonymous();
    for (path, kind) in [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/docs.js", "text/javascript; charset=utf-8"),
        ("/docs/docs.css", "text/css; charset=utf-8"),
    ] {
        let answer = anybody.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(kind));
        assert_eq!(
            answer.header("content-security-policy"),
            Some(
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                 img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
        );
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        for word in [
            "http://",
            "https://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!answer.text.contains(word), "{path} has {word}");
        }
    }
    let page = anybody.get("/docs").await.text;
    for word in ["style=", " onclick", " onload", "javascript:", "<style"] {
        assert!(!page.contains(word), "the page has {word}");
    }
    let scripts: Vec<&str> = page
        .match_indices("<script")
        .map(|(at, _)| &page[at..])
        .collect();
    assert_eq!(scripts.len(), 1);
    assert!(
        scripts[0].starts_with("<script src=\"/docs/docs.js\" defer></script>"),
        "{}",
        scripts[0]
    );
    assert!(page.contains("<link rel=\"stylesheet\" href=\"/docs/docs.css\">"));
    anybody.post("/docs", json!({})).await.expect(405);
}
