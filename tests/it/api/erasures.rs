//! Callers and sellers are erased from everything there is: the proof is a search for their bytes.

use capconduit::runtime::digest::hex;
use std::time::Duration;

use capconduit::privacy;
use capconduit::privacy::store::Sought;
use capconduit::recordings::Places;
use capconduit::recordings::object_storage::{Settings, Storage};
use serde_json::{Value, json};

use crate::support::TestDb;
use crate::support::api::{ApiClient, ApiServer};
use crate::support::postgres;

const NUMBER: &str = "+14155550001";
const NAME: &str = "Erin Eraser";
const OTHER: &str = "+14155550002";

/// Calls of the caller in every spelling and of another one, with all that is kept of calls.
pub(super) async fn world() -> ApiServer {
    let server = ApiServer::start().await;
    let storage = server.storage.path().display().to_string();
    for file in ["first", "held", "other"] {
        std::fs::write(server.storage.path().join(file), format!("sound of {file}")).unwrap();
    }
    let sql = r#"
        insert into dids (number, user_id, status, description)
            values ('+18005550100', 3, 'active', 'complaints of (415) 555-0001 and others');
        insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds, description)
            values (3, 'Campaign of Alice', 'active', 'priority', 20, 'without 415.555.0001');
        insert into call_logs (id, user_id, campaign_id, incoming_did_number, caller_id_num, caller_id_name,
                               timestamp_start, timestamp_end, duration_seconds, billsec_seconds, call_status)
            select n, 3, 1, '+18005550100', spelt, 'Erin Eraser', '2024-02-01'::timestamptz + n * interval '100 days',
                   now() - interval '5 minutes', 60, 50, 'ANSWERED'
            from unnest(array['+14155550001', '14155550001', '0014155550001', '01114155550001', '+1 (415) 555-0001',
                              '4155550001', '+14155550001@carrier.example']) with ordinality u (spelt, n);
        insert into call_logs (id, user_id, incoming_did_number, caller_id_num, caller_id_name, timestamp_start,
                               timestamp_end, duration_seconds, billsec_seconds, call_status)
            select 1000 + n, 3, '+18005550100', '+14155550002', 'Other Caller', now() - n * interval '1 hour',
                   now() - interval '5 minutes', 30, 20, 'ANSWERED'
            from generate_series(1, 2000) n;
        insert into calls (call_id, asterisk_uniqueid, asterisk_linkedid, channel, node_name, user_id, campaign_id,
                           incoming_did_number, caller_id_num, caller_id_name, started_at, ended_at, expires_at)
            values (7, '7.1', '7.1', 'Local/14155550001@in-00000001;1', 'n', 3, 1, '+18005550100', '+14155550001',
                    'Erin Eraser', now() - interval '4 hours', now() - interval '3 hours', now());
        insert into decisions (call_id, attempt, user_id, node_name, decided_at, verdict, reason, question, remarks)
            select n, 1, 3, 'n', now(), 'REJECT', 'no_target',
                   '{"caller": "+1 415 555 0001", "callerName": "Erin Eraser", "kept": 14155550002}',
                   array['seen 14155550001 before']
            from generate_series(1, 2) n;
        insert into audit_log (actor_id, actor, via, user_id, action, object_type, object_id, before, after, reason)
            values (3, 'alice', 'session:1', 3, 'export', 'calls', '14155550001', '{"q": "+1 415-555-0001"}',
                    '{"callerIdNum": 14155550001}', 'asked by 415 555 0001'),
                   (3, 'alice', 'session:1', 3, 'update', 'did', '1', '{"number": "+18005550100"}',
                    '{"note": "12141555500013 is no number of hers"}', null);
        insert into idempotency_keys (user_id, idempotency_key, request_hash, status, headers, body)
            values (3, 'k', '\x00', 201, '{}',
                    convert_to('{"callerIdNum":"+14155550001","callerIdName":"Erin \"E\" Eraser","status":"ok"}', 'UTF8'));
        insert into recordings (recording_id, call_id, attempt, user_id, stem, state, language, mask_numbers, started_at,
                                expected_at, stored_at, location, hold_reason, remark)
            overriding system value
            values (1, 1, 1, 3, '20260101T000000Z-1-1', 'stored', 'en', false, now(), now(), now(), '{storage}', null,
                    'a call of +14155550001'),
                   (2, 2, 1, 3, '20260101T000000Z-2-1', 'stored', 'en', false, now(), now(), now(), '{storage}',
                    'case 12', null),
                   (3, 1001, 1, 3, '20260101T000000Z-1001-1', 'stored', 'en', false, now(), now(), now(), '{storage}',
                    null, null),
                   (4, 3, 1, 3, '20260101T000000Z-3-1', 'missing', 'en', false, now(), now(), null, null, null, null);
        insert into recording_files (recording_id, leg, user_id, object_key, bytes, sha256)
            values (1, 'mix', 3, 'first', 14, '\x00'), (2, 'mix', 3, 'held', 13, '\x00'), (3, 'mix', 3, 'other', 14, '\x00');
        insert into transcripts (recording_id, call_id, user_id, language, engine, engine_version, models, audio_ms,
                                 words, created_at, search)
            values (1, 1, 3, 'en', 'e', '1', '{}', 1, 1, now(), to_tsvector('english', 'Erin Eraser 14155550001'));
        insert into transcript_segments (recording_id, segment, speaker, language, start_ms, end_ms, text, confidence, words)
            values (1, 1, 'caller', 'en', 0, 1, 'Erin Eraser, 415-555-0001', 1, '[{"word": "14155550001"}]')"#;
    server.db.run(&sql.replace("{storage}", &storage)).await;
    server
}

fn places(server: &ApiServer) -> Places {
    Places {
        directory: server.storage.path().join("spool"),
        storage: Storage::open(&Settings::Directory(server.storage.path().to_owned())).unwrap(),
    }
}

/// Lets a daemon work until the erasure is done, and gives its report.
pub(super) async fn finish(server: &ApiServer, admin: &ApiClient, id: &Value) -> Value {
    let (store, places) = (server.db.store(), places(server));
    for _ in 0..20 {
        let round = privacy::round("node", &store, Some(&places), Duration::ZERO);
        round.await.expect("works");
        let report = admin
            .get(&format!("/api/admin/erasures/{id}"))
            .await
            .expect(200);
        if report["state"] == "done" {
            return report;
        }
    }
    panic!("not done");
}

/// All that the database holds, as its own program writes it.
pub(super) fn dump(db: &TestDb) -> String {
    let dumped = postgres::unprivileged(&postgres::binaries().join("pg_dump"))
        .args(["--no-owner", "--inserts", &format!("--dbname={}", db.url)])
        .current_dir("/")
        .output()
        .expect("runs pg_dump");
    let errors = String::from_utf8_lossy(&dumped.stderr);
    assert!(dumped.status.success(), "{errors}");
    String::from_utf8_lossy(&dumped.stdout).into_owned()
}

/// Lines in which a text stands, however its digits are spelt; bytes are searched as what they say too.
pub(super) fn lines_with<'a>(dump: &'a str, sought: &str) -> Vec<&'a str> {
    let plain: String = sought.chars().filter(char::is_ascii_digit).collect();
    let in_hex = hex(sought.as_bytes());
    let digits_in_hex = hex(plain.as_bytes());
    let bare = |line: &str| line.replace([' ', '-', '(', ')', '.', '/'], "");
    dump.lines()
        .filter(|line| {
            line.contains(sought)
                || line.contains(&in_hex)
                || (plain.len() > 5
                    && (bare(line).contains(&plain) || line.contains(&digits_in_hex)))
        })
        .collect()
}

#[tokio::test]
async fn nothing_of_an_erased_caller_is_found_in_a_dump_or_in_the_storage() {
    let server = world().await;
    let admin = server.login("admin").await;
    let careful = admin.with_header("idempotency-key", "erase-1");
    assert!(
        lines_with(&dump(&server.db), "4155550001").len() > 15,
        "the search finds"
    );
    let asked = json!({"number": NUMBER, "alsoAs": ["(415) 555-0001"], "reason": "a letter"});
    let made = careful.post("/api/admin/erasures", asked).await;
    let place = made.header("location").map(str::to_owned);
    let made = made.expect(202);
    assert_eq!(place, Some(format!("/api/admin/erasures/{}", made["id"])));
    assert_eq!(made["state"], "queued");
    assert!(made["notReached"].to_string().contains("Backups"));
    let report = finish(&server, &admin, &made["id"]).await;
    assert_eq!(report["error"], Value::Null);
    let rows = &report["rows"];
    assert_eq!(
        *rows,
        json!({"audit_log": 1, "call_logs": 7, "calls": 1, "campaigns": 1, "decisions": 2, "dids": 1,
               "idempotency_keys": 1, "recordings": 1}),
    );
    let recordings = json!({"deleted": 2, "left": 0, "held": [2]});
    assert_eq!(report["recordings"], recordings);

    let dumped = dump(&server.db);
    let found = lines_with(&dumped, "4155550001");
    // What only contains the digits, as a part of others, is no number of hers.
    let found: Vec<_> = found
        .iter()
        .filter(|l| !l.contains("12141555500013"))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    for name in [NAME, "Eraser", "Erin"] {
        assert!(
            lines_with(&dumped, name).is_empty(),
            "{:#?}",
            lines_with(&dumped, name)
        );
    }
    assert!(dumped.contains("12141555500013") && dumped.contains("14155550002"));
    let files = |name: &str| server.storage.path().join(name).exists();
    assert_eq!(
        [files("first"), files("held"), files("other")],
        [false, true, true]
    );

    // Sums and repeated callers stay right: seven calls of one caller, two thousand of another.
    let counted: String = server
        .db
        .one(
            "select string_agg(calls || ' ' || seconds || ' ' || named, ', ' order by calls)
             from (select count(*) as calls, sum(duration_seconds) as seconds, count(caller_id_name) as named
                   from call_logs group by caller_id_num) c",
        )
        .await;
    assert_eq!(counted, "7 420 0, 2000 60000 2000");
    let pseudonym: String = server
        .db
        .one("select caller_id_num from call_logs where id = 1")
        .await;
    assert_eq!(made["pseudonym"], pseudonym);
    // What would lead back goes when nothing can arrive any more.
    assert!(report["watchedUntil"].is_string(), "{report}");
    let over = "update erasures set watched_until = now(), look_at = now()";
    server.db.run(over).await;
    privacy::round("node", &server.db.store(), None, Duration::ZERO)
        .await
        .expect("works");
    let left: i64 = server
        .db
        .one(
            "select (select count(*) from erasure_keys) + (select count(*) from erasure_calls)
                     + (select count(*) from idempotency_keys where idempotency_key <> 'k')",
        )
        .await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_dry_run_counts_the_same_and_changes_nothing() {
    let server = world().await;
    let admin = server.login("admin").await;
    let rows = "select md5(string_agg(t::text, '|' order by t::text)) from call_logs t";
    let before: String = server.db.one(rows).await;
    let asked = json!({"number": "0014155550001", "alsoAs": ["4155550001"], "reason": "a look", "dryRun": true});
    let made = admin.post("/api/admin/erasures", asked).await.expect(202);
    let report = finish(&server, &admin, &made["id"]).await;
    assert_eq!(report["rows"]["call_logs"], 7);
    assert_eq!(report["rows"]["decisions"], 2);
    let recordings = json!({"deleted": 0, "left": 2, "held": [2]});
    assert_eq!(report["recordings"], recordings);
    assert_eq!(server.db.one::<String>(rows).await, before);
    let due: i64 = server
        .db
        .one("select count(*) from recordings where delete_after is not null")
        .await;
    assert_eq!(due, 0);
}

#[tokio::test]
async fn a_call_under_way_is_erased_when_it_has_ended() {
    let server = world().await;
    let admin = server.login("admin").await;
    server.db.run("update calls set ended_at = null").await;
    let asked = json!({"number": NUMBER, "reason": "a letter"});
    let made = admin.post("/api/admin/erasures", asked).await.expect(202);
    let address = format!("/api/admin/erasures/{}", made["id"]);
    let store = server.db.store();
    let round = privacy::round("node", &store, None, Duration::from_secs(3_600));
    assert_eq!(round.await.unwrap(), 0);
    let report = admin.get(&address).await.expect(200);
    assert_eq!(
        (&report["state"], &report["waitsFor"]),
        (&json!("waiting"), &json!("calls"))
    );
    assert_eq!(
        server
            .db
            .one::<String>("select caller_id_num from calls")
            .await,
        NUMBER
    );
    // It ends, and its record is written as that of any call.
    server
        .db
        .run(
            "update calls set ended_at = now() - interval '3 hours';
             insert into call_logs (id, user_id, incoming_did_number, caller_id_num, caller_id_name, timestamp_start,
                                    timestamp_end, duration_seconds, billsec_seconds, call_status)
                 select 8, user_id, incoming_did_number, caller_id_num, caller_id_name, started_at, ended_at, 1, 1, 'ANSWERED'
                 from calls;
             update erasures set not_before = now()",
        )
        .await;
    finish(&server, &admin, &made["id"]).await;
    let left: i64 = server
        .db
        .one("select (select count(*) from call_logs where caller_id_num = '+14155550001')
                     + (select count(*) from calls where caller_id_num = '+14155550001' or caller_id_name is not null)")
        .await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_erasure_goes_on_where_a_killed_daemon_left_it_and_counts_nothing_twice() {
    let server = world().await;
    let admin = server.login("admin").await;
    let asked = json!({"number": NUMBER, "alsoAs": ["4155550001"], "reason": "a letter"});
    let made = admin.post("/api/admin/erasures", asked).await.expect(202);
    let store = server.db.store();
    let lease = Duration::from_secs(60);
    // Each step by a daemon that is killed after it: the next one has to wait for its lease to run out.
    for n in 0..60 {
        let Some(claimed) = store
            .claim_erasure(&format!("node-{n}"), lease)
            .await
            .unwrap()
        else {
            panic!("nothing to do after {n} steps")
        };
        assert!(
            store.claim_erasure("other", lease).await.unwrap().is_none(),
            "one holder at a time"
        );
        let step = store.erasure_step(&claimed, lease, 4).await.unwrap();
        server
            .db
            .run("update erasures set lease_expires_at = now() - interval '1 second'")
            .await;
        let counted: bool = server
            .db
            .one("select counts ? 'call_logs' from erasures")
            .await;
        if counted || step == capconduit::privacy::store::Step::EndOfPass {
            break;
        }
    }
    let report = finish(&server, &admin, &made["id"]).await;
    assert_eq!(report["rows"]["call_logs"], 7);
    assert_eq!(report["rows"]["audit_log"], 1);
}

#[tokio::test]
async fn nothing_of_an_erased_seller_is_found_but_sums_stay_right() {
    let server = world().await;
    let admin = server.login("admin").await;
    server
        .db
        .run(
            "update users set username = 'alice_sells', email = 'alice@leads.example', full_name = 'Alice Seller',
                              company_name = 'Leads of Alice' where id = 3;
             insert into audit_log (actor_id, actor, via, user_id, action, object_type, object_id, after, address)
                 values (3, 'alice_sells', 'session:1', 3, 'create', 'did', '1', '{\"number\": \"+18005550100\"}', '192.0.2.77'),
                        (1, 'admin', 'session:2', null, 'update', 'user', '3', '{\"email\": \"alice@leads.example\"}', '192.0.2.1')",
        )
        .await;
    let asked = json!({"reason": "contract ended"});
    let address = "/api/admin/users/3/erase";
    let refused = admin.post(address, asked.clone()).await.expect(409);
    assert_eq!(refused["code"], "not_suspended");
    admin
        .put("/api/admin/users/3", json!({"status": "suspended"}))
        .await
        .expect(200);
    let made = admin.post(address, asked.clone()).await.expect(202);
    let report = finish(&server, &admin, &made["id"]).await;
    assert_eq!(report["recordings"]["held"], json!([2]));
    assert_eq!(report["recordings"]["deleted"], 3);
    let dumped = dump(&server.db);
    for gone in [
        "alice_sells",
        "alice@leads.example",
        "Alice Seller",
        "Leads of Alice",
        "Campaign of Alice",
        "+18005550100",
        "8005550100",
        NAME,
        "Other Caller",
        OTHER,
        "192.0.2.77",
    ] {
        assert!(
            lines_with(&dumped, gone).is_empty(),
            "{gone}: {:#?}",
            lines_with(&dumped, gone)
        );
    }
    let counted: String = server
        .db
        .one("select string_agg(calls::text, ' ' order by calls) from (select count(*) as calls from call_logs
              where user_id = 3 group by caller_id_num) c")
        .await;
    // A seller's callers are told apart by their digits, as they were.
    assert_eq!(counted, "1 1 1 4 2000");
    let again = admin.post(address, asked).await.expect(409);
    assert_eq!(again["code"], "erased_already");
    let shown = admin.get("/api/admin/users/3").await.expect(200);
    assert_eq!(shown["username"], "erased-3");
    assert_eq!(shown["status"], "suspended");
}

#[tokio::test]
async fn a_request_that_would_keep_the_number_or_find_too_much_is_refused() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    for (body, field) in [
        (json!({"number": "12345", "reason": "short"}), "number"),
        (
            json!({"number": "call me", "reason": "no number"}),
            "number",
        ),
        (json!({"number": NUMBER}), "reason"),
        (
            json!({"number": NUMBER, "reason": "asked by +1 415 555 0001"}),
            "reason",
        ),
        (
            json!({"number": NUMBER, "alsoAs": ["0001"], "reason": "x"}),
            "alsoAs",
        ),
    ] {
        let refused = admin.post("/api/admin/erasures", body).await.expect(400);
        assert!(refused["errors"][field].is_array(), "{refused}");
    }
    let staff = server.login("staff").await;
    let asked = json!({"number": NUMBER, "reason": "a letter"});
    staff.post("/api/admin/erasures", asked).await.expect(403);
    admin
        .put("/api/admin/users/1", json!({"fullName": "x"}))
        .await
        .expect(200);
    let own = admin
        .post("/api/admin/users/1/erase", json!({"reason": "x"}))
        .await
        .expect(403);
    assert_eq!(own["code"], "not_a_seller");
}

#[tokio::test]
async fn the_daemon_and_the_database_hash_alike() {
    let db = TestDb::new().await;
    let sought = Sought::new([7; 32], ["14155550001"]);
    let sql = "select 'erased-' || left(encode(erasure_hash(decode(repeat('07', 32), 'hex'), '14155550001'), 'hex'), 16)";
    assert_eq!(sought.pseudonym("14155550001"), db.one::<String>(sql).await);
}

#[tokio::test]
async fn every_column_that_is_named_as_a_callers_is_a_place_to_look_at() {
    let db = TestDb::new().await;
    let forgotten: Option<String> = db
        .one(
            "select string_agg(c.table_name || '.' || c.column_name, ', ')
             from information_schema.columns c
             join pg_class t on t.relname = c.table_name and t.relkind in ('r', 'p') and not t.relispartition
             where c.table_schema = 'public' and c.column_name like '%caller%'
               -- What a call centre is shown, as its operator says.
               and c.table_name <> 'pjsip_endpoints'
               and c.data_type in ('character varying', 'text', 'jsonb')
               and not exists (select from erasure_places p
                               where p.table_name = c.table_name and p.column_name = c.column_name)",
        )
        .await;
    assert_eq!(forgotten, None);
}
