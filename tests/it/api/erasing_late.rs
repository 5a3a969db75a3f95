//! What was on its way while somebody was erased, reports that come twice, and names that were taken before.

use std::time::Duration;

use capconduit::domain::DialStatus;
use capconduit::privacy;
use serde_json::{Value, json};

use super::erasures::{dump, finish, lines_with, world};
use super::events::sellers_campaign;
use crate::support::api::{ApiClient, ApiServer};
use crate::support::world::{Caller, VerdictExt, engine};

const NUMBER: &str = "+14155550001";
const DID: &str = "+18005550100";

async fn erase_caller(server: &ApiServer, admin: &ApiClient) -> Value {
    let asked = json!({"number": NUMBER, "reason": "a letter"});
    let made = admin.post("/api/admin/erasures", asked).await.expect(202);
    finish(server, admin, &made["id"]).await
}

async fn erase_seller(server: &ApiServer, admin: &ApiClient) -> Value {
    admin
        .put("/api/admin/users/3", json!({"status": "suspended"}))
        .await
        .expect(200);
    let asked = json!({"reason": "contract ended"});
    let made = admin.post("/api/admin/users/3/erase", asked).await;
    finish(server, admin, &made.expect(202)["id"]).await
}

/// Settles the end of a call of [`NUMBER`] that a daemon kept on its disk `hours` ago, as after a restart.
async fn arrives(server: &ApiServer, uniqueid: &str, hours: i64) {
    let line = json!({
        "uniqueid": uniqueid, "linkedid": uniqueid, "channel": "PJSIP/trunk-0000abcd", "did": DID,
        "caller_number": NUMBER, "caller_name": "Erin Eraser", "system_name": "pbx1", "status": "ANSWER", "cause": 16,
        "answered_seconds": 50, "dialed_seconds": 60, "dialled": "fallback",
    });
    settles(server, line, 60 * hours).await;
}

/// Settles an end that was heard so many minutes ago, and kept on disk.
async fn settles(server: &ApiServer, mut line: Value, minutes: i64) {
    let directory = tempfile::tempdir().expect("a directory");
    let heard: String = (server.db)
        .one(&format!(
            "select to_char((now() - interval '{minutes} minutes') at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        ))
        .await;
    line["heard_at"] = json!(heard);
    let file = directory.path().join("ends-to-settle.jsonl");
    std::fs::write(file, format!("{line}\n")).expect("writes");
    let engine = engine(&server.db, "b");
    engine.keep_ends_in(directory.path()).expect("reads");
    engine.settle_late_reports().await.expect("settles");
}

async fn looks(server: &ApiServer) {
    server
        .db
        .run("update erasures set look_at = now() where look_at is not null")
        .await;
    privacy::round("node", &server.db.store(), None, Duration::ZERO)
        .await
        .expect("works");
}

#[tokio::test]
async fn an_end_that_waited_in_a_daemon_brings_no_erased_caller_back() {
    let server = world().await;
    let admin = server.login("admin").await;
    let report = erase_caller(&server, &admin).await;
    assert!(report["watchedUntil"].is_string(), "{report}");
    let erased = report["rows"]["call_logs"].as_i64().expect("a count");

    arrives(&server, "late.1", 2).await;
    // What she does afterwards is a new call.
    server
        .db
        .run(
            "insert into call_logs (user_id, incoming_did_number, caller_id_num, timestamp_start, timestamp_end,
                                    duration_seconds, billsec_seconds, call_status)
             values (3, '+18005550100', '+14155550001', now() + interval '1 second', now() + interval '1 hour', 1, 1,
                     'ANSWERED')",
        )
        .await;
    let late = "select caller_id_num from call_logs where asterisk_uniqueid = 'late.1'";
    assert_eq!(server.db.one::<String>(late).await, NUMBER, "it arrived");
    looks(&server).await;
    assert_eq!(
        server
            .db
            .one::<Value>(
                "select to_json(caller_id_num) from call_logs where asterisk_uniqueid = 'late.1'"
            )
            .await,
        report["pseudonym"]
    );
    let left: i64 = server
        .db
        .one(
            "select count(*) from (
                select caller_id_num, caller_id_name from call_logs union all
                select caller_id_num, caller_id_name from calls where asterisk_uniqueid = 'late.1') c
             where caller_id_num = '+14155550001' or caller_id_name = 'Erin Eraser'",
        )
        .await;
    // The national spelling was not named, so its call keeps the name.
    assert_eq!(left, 2, "the new call, and the national spelling's name");
    let address = format!("/api/admin/erasures/{}", report["id"]);
    let told = admin.get(&address).await.expect(200);
    assert_eq!(told["rows"]["call_logs"], erased + 1);

    // What waited longer than anybody looks has forgotten who called.
    arrives(&server, "late.2", 25).await;
    let forgotten: Option<String> = server
        .db
        .one("select max(caller_id_num || caller_id_name) from call_logs where asterisk_uniqueid = 'late.2'")
        .await;
    assert_eq!(forgotten, None);
    let kept: i64 = server
        .db
        .one("select count(*) from call_logs where asterisk_uniqueid = 'late.2'")
        .await;
    assert_eq!(kept, 1, "no record is lost");

    server
        .db
        .run("update erasures set watched_until = now()")
        .await;
    looks(&server).await;
    let keys: i64 = server.db.one("select count(*) from erasure_keys").await;
    assert_eq!(keys, 0);
    assert_eq!(
        admin.get(&address).await.expect(200)["watchedUntil"],
        Value::Null
    );
}

#[tokio::test]
async fn an_end_that_waited_in_a_daemon_brings_nothing_of_an_erased_seller_back() {
    let server = world().await;
    let admin = server.login("admin").await;
    let report = erase_seller(&server, &admin).await;
    assert!(report["watchedUntil"].is_string(), "{report}");
    arrives(&server, "late.1", 2).await;
    assert!(!lines_with(&dump(&server.db), DID).is_empty(), "it arrived");
    looks(&server).await;
    for gone in [DID, NUMBER, "Erin Eraser"] {
        let found = dump(&server.db);
        let found = lines_with(&found, gone);
        let found: Vec<_> = found
            .iter()
            .filter(|line| !line.contains("public.audit_log"))
            .collect();
        assert!(found.is_empty(), "{gone}: {found:#?}");
    }
}

/// A call through a trunk of an Asterisk without a system name, which ended some minutes ago.
async fn ended_call(server: &ApiServer) -> Caller {
    sellers_campaign(&server.db, 3, crate::support::world::DID, &[1, 2]).await;
    let mut caller = Caller::new();
    NUMBER.clone_into(&mut caller.number);
    "PJSIP/trunk-0000abcd".clone_into(&mut caller.channel);
    caller.route(&server.engine).await.offer();
    caller.end(&server.engine, Some(DialStatus::Cancel)).await;
    server
        .db
        .run(
            "update calls set ended_at = ended_at - interval '5 minutes', started_at = started_at - interval '5 minutes';
             update call_logs set timestamp_end = timestamp_end - interval '5 minutes',
                                  timestamp_start = timestamp_start - interval '5 minutes'",
        )
        .await;
    caller
}

/// A second daemon, which was told of that end too, settles it only now.
async fn records_after_a_second_report(server: &ApiServer, caller: &Caller, minutes: i64) -> i64 {
    let line = json!({
        "uniqueid": caller.uniqueid.as_str(), "linkedid": caller.uniqueid.as_str(), "channel": caller.channel,
        "did": crate::support::world::DID, "caller_number": NUMBER, "caller_name": "Test Caller", "status": "CANCEL",
        "cause": 16, "dialed_seconds": 9, "dialled": "",
    });
    settles(server, line, minutes).await;
    server.db.one("select count(*) from call_logs").await
}

#[tokio::test]
async fn a_report_that_comes_again_after_its_caller_was_erased_makes_no_second_record() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let caller = ended_call(&server).await;
    let report = erase_caller(&server, &admin).await;
    assert_eq!(report["rows"], json!({"call_logs": 1, "calls": 1}));
    assert_eq!(records_after_a_second_report(&server, &caller, 5).await, 1);
}

#[tokio::test]
async fn a_report_that_comes_again_after_its_seller_was_erased_makes_no_second_record() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let caller = ended_call(&server).await;
    erase_seller(&server, &admin).await;
    assert_eq!(records_after_a_second_report(&server, &caller, 5).await, 1);
}

#[tokio::test]
async fn a_call_that_has_just_ended_is_waited_for_and_so_is_a_channel_that_tells_the_number() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let mut caller = ended_call(&server).await;
    let asked = json!({"number": NUMBER, "reason": "a letter"});
    for (minutes, channel) in [
        (0, "PJSIP/trunk-0000abcd"),
        (10, "Local/14155550001@in-0000abcd;1"),
    ] {
        channel.clone_into(&mut caller.channel);
        let just_ended = format!("now() - interval '{minutes} minutes'");
        server
            .db
            .run(&format!(
                "update calls set ended_at = {just_ended}, channel = '{channel}', caller_id_num = '{NUMBER}',
                                  started_at = now() - interval '1 hour';
                 update call_logs set timestamp_end = {just_ended}, caller_id_num = '{NUMBER}'"
            ))
            .await;
        let made = admin
            .post("/api/admin/erasures", asked.clone())
            .await
            .expect(202);
        let store = server.db.store();
        let wait = Duration::from_secs(3_600);
        privacy::round("node", &store, None, wait)
            .await
            .expect("works");
        let address = format!("/api/admin/erasures/{}", made["id"]);
        let report = admin.get(&address).await.expect(200);
        assert_eq!(
            (&report["state"], &report["waitsFor"]),
            (&json!("waiting"), &json!("calls")),
            "{report}"
        );
        assert_eq!(
            records_after_a_second_report(&server, &caller, minutes).await,
            1
        );
        server
            .db
            .run(
                "update calls set ended_at = ended_at - interval '3 hours';
                 update call_logs set timestamp_end = timestamp_end - interval '3 hours';
                 update erasures set not_before = now()",
            )
            .await;
        let report = finish(&server, &admin, &made["id"]).await;
        assert_eq!(report["rows"]["calls"], 1, "{report}");
        let found = dump(&server.db);
        assert!(lines_with(&found, NUMBER).is_empty(), "{found}");
    }
}

#[tokio::test]
async fn names_that_erased_accounts_get_are_refused_and_one_that_is_taken_is_not_in_the_way() {
    let server = world().await;
    let admin = server.login("admin").await;
    for (username, email, field) in [
        ("erased-3", "a@leads.example", "username"),
        ("Erased-carol", "a@leads.example", "username"),
        ("carol", "erased-3@erased.invalid", "email"),
    ] {
        let new = json!({"username": username, "email": email, "password": "a very long password", "role": "user"});
        let refused = admin.post("/api/admin/users", new).await.expect(400);
        assert!(refused["errors"][field].is_array(), "{refused}");
    }
    let email = json!({"email": "erased-3@Erased.invalid"});
    admin.put("/api/admin/users/4", email).await.expect(400);
    // As somebody could have done before.
    server
        .db
        .run(
            "update users set username = 'Erased-3' where id = 4;
             insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
                 values (3, 'erased-1', 'active', 'priority', 20)",
        )
        .await;
    let report = erase_seller(&server, &admin).await;
    assert_eq!(report["error"], Value::Null);
    let pseudonym = report["pseudonym"].as_str().expect("a name");
    assert!(
        pseudonym.starts_with("erased-3-") && pseudonym.len() > 12,
        "{pseudonym}"
    );
    let account = admin.get("/api/admin/users/3").await.expect(200);
    assert_eq!(account["username"], pseudonym);
    let actors: i64 = server
        .db
        .one("select count(distinct actor) from audit_log where actor_id = 3")
        .await;
    assert_eq!(actors, 1);
    let named: bool = server
        .db
        .one("select bool_and(name like 'erased-' || id || '%') from campaigns where user_id = 3")
        .await;
    assert!(named);
}
