//! What all lists have: a search, orders, and cursors that lead to every row once, also where many rows are alike.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::api::{ApiClient, ApiServer};
use crate::support::eventually;

const ALICE: i32 = 3;
const BOB: i32 = 4;

/// Lists without pages: their length has a bound of its own, and all of them is sent.
const WHOLE: &[&str] = &[
    "listGrants",
    "listKeys",
    "listKeysOfUser",
    "listServers",
    "listSessions",
    "listSessionsOfUser",
];

#[test]
fn every_list_that_goes_on_has_a_search_and_orders() {
    let document = capconduit::http::api::document();
    let mut lists = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let operation = &item["get"];
        let id = operation["operationId"].as_str().unwrap_or_default();
        if !id.starts_with("list") || WHOLE.contains(&id) {
            continue;
        }
        lists += 1;
        let parameters = operation["parameters"].as_array().expect("parameters");
        for name in ["q", "sort"] {
            let is_there = parameters.iter().any(|p| p["name"] == name);
            assert!(is_there, "{path} has no {name}");
        }
    }
    assert!(lists > 15, "{lists} lists");
}

/// Every item of a list in an order, a few at a time; and each of them once.
async fn walk(client: &ApiClient, list: &str, query: &str) -> Vec<Value> {
    let mut items: Vec<Value> = Vec::new();
    let mut cursor = "start".to_owned();
    loop {
        let path = format!("{list}?{query}&per_page=4&cursor={cursor}");
        let page = client.get(&path).await.expect(200);
        items.extend(page["items"].as_array().expect("items").iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
        assert!(items.len() < 1_000, "{path} has no end");
    }
    let ids: HashSet<String> = items.iter().map(|item| item["id"].to_string()).collect();
    assert_eq!(ids.len(), items.len(), "{list}?{query} gives items twice");
    items
}

fn ids(items: &[Value]) -> Vec<i64> {
    items
        .iter()
        .map(|item| item["id"].as_i64().expect("an id"))
        .collect()
}

/// Recordings of which many are alike in everything but their ids, each with its job.
async fn fill(server: &ApiServer) {
    server
        .db
        .run(&format!(
            "insert into recordings (call_id, attempt, user_id, stem, state, language, mask_numbers, started_at,
                 expected_at, stored_at, location, duration_ms, delete_after, hold_reason, remark)
             select n, 1, case when n % 2 = 0 then {ALICE} else {BOB} end, '20260101T000000Z-' || n || '-1',
                    case when n % 5 = 0 then 'missing' else 'stored' end, 'en', false,
                    timestamptz '2026-01-01 00:00:00+00' + (n % 3) * interval '1 hour', now(),
                    case when n % 5 <> 0 then now() end, '/x', case when n % 5 <> 0 then n % 4 * 1000 end,
                    case when n % 3 = 0 then timestamptz '2027-01-01 00:00:00+00' end,
                    case when n = 7 then 'Complaint of 3 May' end, case when n = 8 then 'Header was REPAIRED' end
             from generate_series(1, 30) n;
             insert into transcription_jobs (recording_id, call_id, user_id, language, state, not_before, priority,
                 node_name, error_code, error_message, created_at, finished_at)
             select recording_id, call_id, user_id, 'en', case when call_id % 2 = 0 then 'failed' else 'queued' end,
                    now(), call_id % 3 - 1, 'node-' || call_id % 4,
                    case when call_id % 2 = 0 then 'unreadable' end, case when call_id = 4 then 'No Header there' end,
                    now(), case when call_id % 2 = 0 then timestamptz '2026-02-01 00:00:00+00' end
             from recordings"
        ))
        .await;
}

/// Whether each item's key is not before the one of the item before; ids decide among the same.
fn assert_sorted(items: &[Value], sort: &str, key: impl Fn(&Value) -> String) {
    let down = sort.starts_with('-');
    for pair in items.windows(2) {
        let place = |item: &Value| (key(item), item["id"].as_i64().expect("an id"));
        let (a, b) = (place(&pair[0]), place(&pair[1]));
        assert!(
            if down { a > b } else { a < b },
            "{sort}: {a:?}, then {b:?}"
        );
    }
}

/// A key that sorts as text: numbers and nothing before all, times that never come after all.
fn text_of(value: &Value, nothing: &str) -> String {
    match value {
        Value::Null => nothing.to_owned(),
        Value::Number(number) => format!("{:020}", number.as_i64().expect("a whole number") + 10),
        Value::String(text) => text.clone(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn recordings_and_jobs_are_ordered_and_no_cursor_loses_one_of_those_that_are_alike() {
    let server = ApiServer::start().await;
    fill(&server).await;
    let staff = server.login("staff").await;
    for (list, fields) in [
        (
            "/api/admin/recordings",
            &["id", "startedAt", "durationMs", "deleteAfter"][..],
        ),
        (
            "/api/admin/transcription-jobs",
            &["id", "finishedAt", "priority"],
        ),
    ] {
        for field in fields {
            // What has no length is the shortest; what has no time comes last.
            let nothing = if *field == "durationMs" { "" } else { "9999" };
            for sort in [format!("-{field}"), (*field).to_owned()] {
                let items = walk(&staff, list, &format!("sort={sort}")).await;
                assert_eq!(items.len(), 30, "{list} {sort}");
                assert_sorted(&items, &sort, |item| text_of(&item[*field], nothing));
                let some = walk(&staff, list, &format!("sort={sort}&user_id={ALICE}")).await;
                assert_eq!(some.len(), 15, "{list} {sort}");
            }
        }
        // The list's own order is the one it had.
        let newest = ids(&walk(&staff, list, "").await);
        assert_eq!(newest, ids(&walk(&staff, list, "sort=-id").await));
        let total = staff
            .get(&format!("{list}?total=true&sort=id&user_id={ALICE}"))
            .await;
        assert_eq!(total.expect(200)["total"], 15);

        let page = staff
            .get(&format!("{list}?sort=id&per_page=2"))
            .await
            .expect(200);
        let cursor = page["nextCursor"].as_str().expect("a cursor");
        let of_another = staff.get(&format!("{list}?cursor={cursor}")).await;
        assert_eq!(of_another.expect(400)["code"], "bad_cursor");
        let unknown = staff.get(&format!("{list}?sort=size")).await;
        assert_eq!(unknown.expect(400)["code"], "bad_parameter");
    }
}

#[tokio::test]
async fn recordings_and_jobs_are_found_by_text() {
    let server = ApiServer::start().await;
    fill(&server).await;
    let staff = server.login("staff").await;
    for (query, found) in [
        ("recordings?q=complaint", 1),
        ("recordings?q=repaired", 1),
        ("recordings?q=ALICE", 15),
        ("recordings?q=Z-17-1", 1),
        ("recordings?q=alice&state=missing", 3),
        ("recordings?q=%25", 0),
        ("transcription-jobs?q=no+header", 1),
        ("transcription-jobs?q=unreadable", 15),
        ("transcription-jobs?q=NODE-3", 7),
        ("transcription-jobs?q=bob", 15),
        ("transcription-jobs?q=_", 0),
    ] {
        let page = staff.get(&format!("/api/admin/{query}&total=true")).await;
        let page = page.expect(200);
        assert_eq!(page["total"], found, "{query}");
        assert_eq!(
            page["items"].as_array().expect("items").len(),
            found,
            "{query}"
        );
    }
    let long = format!("/api/admin/recordings?q={}", "x".repeat(101));
    assert_eq!(staff.get(&long).await.expect(400)["code"], "bad_parameter");
}

#[tokio::test]
async fn the_orders_of_recordings_and_jobs_have_indexes() {
    let server = ApiServer::start().await;
    server
        .db
        .run(&format!(
            "insert into recordings (call_id, attempt, user_id, stem, state, language, mask_numbers, started_at,
                 expected_at, stored_at, location, duration_ms)
             select n, 1, {ALICE}, 's-' || n, 'stored', 'en', false, now() - n * interval '1 second', now(), now(), '/x', n
             from generate_series(1, 20000) n;
             insert into transcription_jobs (recording_id, call_id, user_id, language, state, not_before, created_at,
                 finished_at)
             select recording_id, call_id, user_id, 'en', 'done', now(), now(), now() from recordings;
             analyze recordings; analyze transcription_jobs"
        ))
        .await;
    for (table, key, id) in [
        ("recordings", "started_at", "recording_id"),
        ("recordings", "coalesce(duration_ms, -1)", "recording_id"),
        (
            "recordings",
            "coalesce(delete_after, timestamptz '9999-12-30 00:00:00+00')",
            "recording_id",
        ),
        (
            "transcription_jobs",
            "coalesce(finished_at, timestamptz '9999-12-30 00:00:00+00')",
            "job_id",
        ),
        ("transcription_jobs", "priority", "job_id"),
    ] {
        for way in ["", " desc"] {
            let sql =
                format!("explain select {id} from {table} order by {key}{way}, {id}{way} limit 50");
            let rows = server.db.owner.query(&sql, &[]).await.expect("a plan");
            let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let sorts = plan.iter().any(|line| line.contains("Sort"));
            assert!(!sorts, "{sql}: {plan:#?}");
        }
    }
}

#[tokio::test]
async fn logs_of_changes_and_events_go_both_ways_and_hide_what_they_hide_from_searches_too() {
    let server = ApiServer::start().await;
    server
        .db
        .run(&format!(
            r#"insert into audit_log (actor_id, actor, via, user_id, action, object_type, object_id, before, after, reason,
                   request_id, address)
               select 2, 'admin', 'session:1', {ALICE}, 'update', 'did', n, ('{{"number": "+1555000' || n || '"}}')::jsonb, null,
                      case when n = 5 then 'Asked by telephone' end, 'req', '192.0.2.77'
               from generate_series(1, 9) n;
               insert into audit_log (actor_id, actor, via, user_id, action, object_type, object_id, after)
               values (2, 'admin', 'session:1', {ALICE}, 'update', 'user', '3', '{{"fullName": "Secret Name"}}');
               insert into security_events (at, event, actor_id, actor, actor_role, user_id, object_type, object_id, detail,
                   address, user_agent)
               select now(), 'recording_played', 2, 'admin', 'admin', {ALICE}, 'call', n, '{{"leg": "mix"}}',
                      '192.0.2.77', 'Player/1'
               from generate_series(1, 9) n;
               insert into erasures (kind, pseudonym, dry_run, reason, state, started_at, finished_at)
               select 'caller', 'erased-' || n, true, case when n = 3 then 'Letter' else 'Mail' end, 'done', now(), now()
               from generate_series(1, 9) n"#
        ))
        .await;
    let (admin, staff, alice) = (
        server.login("admin").await,
        server.login("staff").await,
        server.login("alice").await,
    );
    eventually("the log-ins are noted", async || {
        let noted = "select count(*) from security_events where event = 'login'";
        server.db.one::<i64>(noted).await == 3
    })
    .await;
    for (client, list, sort) in [
        (&alice, "/api/seller/audit", "at"),
        (&admin, "/api/admin/audit", "at"),
        (&admin, "/api/admin/security-events", "at"),
        (&alice, "/api/auth/security-events", "at"),
        (&admin, "/api/admin/erasures", "createdAt"),
    ] {
        let newest = ids(&walk(client, list, "").await);
        let mut oldest = ids(&walk(client, list, &format!("sort={sort}")).await);
        oldest.reverse();
        assert!(newest.len() >= 9, "{list}");
        assert_eq!(newest, oldest, "{list}");
        assert_eq!(
            newest,
            ids(&walk(client, list, &format!("sort=-{sort}")).await)
        );
    }
    for (client, query, found) in [
        (&alice, "/api/seller/audit?q=telephone", 1),
        (&alice, "/api/seller/audit?q=%2B15550007", 1),
        (&alice, "/api/seller/audit?q=192.0.2.77", 0),
        (&admin, "/api/admin/audit?q=secret+name", 1),
        (&staff, "/api/admin/audit?q=secret+name", 0),
        (&staff, "/api/admin/audit?q=%2B1555000", 9),
        (&admin, "/api/admin/security-events?q=192.0.2.77", 9),
        (&alice, "/api/auth/security-events?q=192.0.2.77", 0),
        (&alice, "/api/auth/security-events?q=player", 0),
        (&alice, "/api/auth/security-events?q=mix", 9),
        (&admin, "/api/admin/erasures?q=letter", 1),
        (&admin, "/api/admin/erasures?q=ERASED-4", 1),
    ] {
        let page = client.get(query).await.expect(200);
        assert_eq!(
            page["items"].as_array().expect("items").len(),
            found,
            "{query}: {page}"
        );
    }
}

#[tokio::test]
async fn calls_under_way_are_searched_and_ordered_as_those_of_the_log() {
    let server = ApiServer::start().await;
    server
        .db
        .run(&format!(
            "insert into calls (asterisk_uniqueid, asterisk_linkedid, channel, node_name, user_id, incoming_did_number,
                 caller_id_num, caller_id_name, started_at, expires_at)
             select 'c.' || n, 'c.' || n, 'PJSIP/c', 'n', {ALICE}, '+1555010' || n, '+1444000' || n,
                    case when n = 3 then 'Zoe Baker' end, now() - n / 2 * interval '10 minutes', now() + interval '1 hour'
             from generate_series(1, 9) n"
        ))
        .await;
    let alice = server.login("alice").await;
    let list = "/api/seller/calls";
    let newest = walk(&alice, list, "").await;
    let mut oldest = walk(&alice, list, "sort=timestamp_start").await;
    oldest.reverse();
    assert_eq!(ids(&newest).len(), 9);
    assert_eq!(ids(&newest), ids(&oldest));
    assert_eq!(
        ids(&oldest),
        ids(&walk(&alice, list, "sort=duration").await)
    );
    for (query, found) in [
        ("q=zoe", 1),
        ("q=444-0007", 1),
        ("q=5550102", 1),
        ("did=%2B15550104", 1),
        ("caller=%2B14440005", 1),
        ("caller=%2B1444*", 9),
        ("min_duration=2000", 2),
        ("max_duration=500", 1),
        ("did_id=77", 0),
        ("refusal_reason=no_did", 0),
    ] {
        let page = alice.get(&format!("{list}?{query}")).await.expect(200);
        assert_eq!(page["total"], found, "{query}: {page}");
    }
    for query in ["transcript=price", "call_status=ANSWERED"] {
        let refused = alice.get(&format!("{list}?{query}")).await.expect(400);
        let said = refused["message"].as_str().expect("a message");
        assert!(said.contains("state=ended"), "{said}");
    }
    // Whoever is not shown callers does not find them piece by piece either.
    server
        .db
        .run(&format!(
            "update users set callers_shown = false where id = {ALICE}"
        ))
        .await;
    for query in ["q=444", "caller=%2B144*"] {
        let refused = alice.get(&format!("{list}?{query}")).await.expect(403);
        assert_eq!(refused["code"], json!("callers_hidden"), "{query}");
    }
}

#[tokio::test]
async fn clients_that_may_be_linked_are_ordered() {
    let server = ApiServer::start().await;
    server
        .db
        .run(
            "insert into clients (client_identifier, name, status)
             values ('b', 'One', 'active'), ('a', 'Two', 'active'), ('c', 'Three', 'active')",
        )
        .await;
    let alice = server.login("alice").await;
    for (sort, expected) in [
        ("name", "bca"),
        ("-name", "acb"),
        ("clientIdentifier", "abc"),
        ("-clientIdentifier", "cba"),
    ] {
        let path = format!("/api/seller/campaigns/available_clients?sort={sort}");
        let clients = alice.get(&path).await.expect(200);
        let clients = clients.as_array().expect("a list").iter();
        let identifiers: Vec<&str> = clients
            .map(|client| client["clientIdentifier"].as_str().expect("an identifier"))
            .collect();
        assert_eq!(identifiers.concat(), expected, "{sort}");
    }
}
