//! The call log: lists, one call, exports, statistics.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::api::{ApiClient, ApiServer};

const LOGS: &str = "/api/seller/logs";

/// Alice (3) has DID 1, campaign 1 and client 1, Bob (4) has DID 2, campaign 2 and client 2.
async fn start() -> ApiServer {
    let server = ApiServer::start().await;
    server
        .db
        .run(
            "insert into clients (client_identifier, name, status)
                 values ('alpha', 'Alpha Sales', 'active'), ('beta', 'Beta Support', 'active');
             insert into dids (number, user_id, status)
                 values ('+18005550101', 3, 'active'), ('+13105550103', 4, 'active');
             insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
                 values (3, 'Spring', 'active', 'priority', 20), (4, 'Autumn', 'active', 'priority', 20);",
        )
        .await;
    server
}

/// A call of Alice's.
async fn call(server: &ApiServer, uniqueid: &str, start: &str, status: &str) -> i64 {
    server
        .db
        .one(&format!(
            "insert into call_logs (user_id, campaign_id, did_id, client_id, incoming_did_number, caller_id_num,
                 caller_id_name, timestamp_start, timestamp_answered, timestamp_end, duration_seconds,
                 billsec_seconds, call_status, hangup_cause_code, hangup_cause_text, asterisk_uniqueid,
                 asterisk_linkedid, attempts)
             values (3, 1, 1, 1, '+18005550101', '+15551234567', 'Carol', '{start}', '{start}', '{start}', 12, 7,
                 '{status}', 16, 'Normal Clearing', '{uniqueid}', 'l{uniqueid}', 1)
             returning id"
        ))
        .await
}

/// Changes a call afterwards.
async fn set(server: &ApiServer, id: i64, what: &str) {
    let sql = format!("update call_logs set {what} where id = {id}");
    server.db.run(&sql).await;
}

fn ids(page: &Value) -> Vec<i64> {
    let items = page["items"].as_array().expect("items");
    items
        .iter()
        .map(|i| i["id"].as_i64().expect("an id"))
        .collect()
}

async fn listed(client: &ApiClient, query: &str) -> Vec<i64> {
    ids(&client.get(&format!("{LOGS}?{query}")).await.expect(200))
}

#[tokio::test]
async fn calls_are_listed_newest_first_in_the_shape_of_the_contract() {
    let server = start().await;
    let alice = server.login("alice").await;
    let old = call(&server, "1.1", "2026-01-30 12:00:00.123456Z", "ANSWERED").await;
    let new = call(&server, "1.2", "2026-01-31 12:00:00Z", "REJECTED_CC").await;
    set(
        &server,
        new,
        "refusal_reason = 'no_eligible_clients_available', client_id = null, attempts = 0",
    )
    .await;

    let page = alice.get(LOGS).await.expect(200);
    assert_eq!(ids(&page), [new, old]);
    for (key, value) in [
        ("page", json!(1)),
        ("perPage", json!(50)),
        ("total", json!(2)),
        ("pages", json!(1)),
        ("nextCursor", json!(null)),
    ] {
        assert_eq!(page[key], value, "{key}");
    }
    let created: String = server
        .db
        .one(&format!(
            "select to_char(created_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US+00:00') from call_logs where id = {old}"
        ))
        .await;
    assert_eq!(
        page["items"][1],
        json!({
            "state": "ended",
            "id": old,
            "campaign": {"id": 1, "name": "Spring"},
            "did": {"id": 1, "number": "+18005550101"},
            "client": {"id": 1, "name": "Alpha Sales", "clientIdentifier": "alpha"},
            "incomingDidNumber": "+18005550101",
            "callerIdNum": "+15551234567",
            "callerIdName": "Carol",
            "timestampStart": "2026-01-30T12:00:00.123456+00:00",
            "timestampAnswered": "2026-01-30T12:00:00.123456+00:00",
            "timestampEnd": "2026-01-30T12:00:00.123456+00:00",
            "durationSeconds": 12,
            "billsecSeconds": 7,
            "callStatus": "ANSWERED",
            "hangupCauseCode": 16,
            "hangupCauseText": "Normal Clearing",
            "hangupBy": "unknown",
            "asteriskUniqueid": "1.1",
            "asteriskLinkedid": "l1.1",
            "createdAt": created,
            "refusalReason": null,
            "attempts": 1,
        })
    );
    assert_eq!(page["items"][0]["client"], json!(null));
    assert_eq!(
        page["items"][0]["refusalReason"],
        "no_eligible_clients_available"
    );

    // References that lead nowhere, cleared or not yet.
    server
        .db
        .run("delete from campaigns where id = 1; delete from dids where id = 1; delete from clients where id = 1;
              update call_logs set campaign_id = 1, did_id = 1, client_id = 1")
        .await;
    let item = &alice.get(LOGS).await.expect(200)["items"][1];
    assert_eq!(
        (&item["campaign"], &item["did"], &item["client"]),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!(item["incomingDidNumber"], "+18005550101");
}

#[tokio::test]
async fn filters_leave_what_they_say() {
    let server = start().await;
    let alice = server.login("alice").await;
    let a = call(&server, "1.1", "2026-01-30 00:00:00Z", "ANSWERED").await;
    let b = call(&server, "1.2", "2026-01-30 23:59:59.999999Z", "BUSY").await;
    let c = call(&server, "1.3", "2026-01-31 00:00:00Z", "REJECTED_DID").await;
    set(
        &server,
        b,
        "duration_seconds = 600, caller_id_num = '+442075550104', caller_id_name = 'Ärzte 100%',
         campaign_id = null, incoming_did_number = '+442075550104'",
    )
    .await;
    set(
        &server,
        c,
        "duration_seconds = null, client_id = null, refusal_reason = 'did_inactive', did_id = null,
         caller_id_num = '(555) 987-6543'",
    )
    .await;
    let cases: &[(&str, &[i64])] = &[
        ("", &[c, b, a]),
        ("start_date=2026-01-31", &[c]),
        ("end_date=2026-01-30", &[b, a]),
        ("start_date=2026-01-30&end_date=2026-01-30", &[b, a]),
        ("end_date=9999-12-31", &[c, b, a]),
        ("start_date=9999-12-31", &[]),
        ("start_date=0001-01-01", &[c, b, a]),
        ("start_date=2026-01-31T01:00:00%2B01:00", &[c]),
        ("end_date=2026-01-31T00:00:00Z", &[c, b, a]),
        ("end_date=2026-01-30T23:59:59Z", &[a]),
        ("campaign_id=1", &[c, a]),
        ("campaign_id=x&did_id=0&client_id=1.5", &[c, b, a]),
        ("campaign_id=2", &[]),
        ("campaign_id=99999999999999999999", &[c, b, a]),
        ("campaign_id=9999999999", &[]),
        ("did_id=1", &[b, a]),
        ("client_id=1", &[b, a]),
        ("call_status=BUSY", &[b]),
        ("call_status=busy", &[]),
        ("call_status=BUSY,ANSWERED", &[b, a]),
        ("call_status=' or 1=1 --", &[]),
        ("refusal_reason=did_inactive", &[c]),
        ("did=%2B442075550104", &[b]),
        ("did=+442075550104", &[b]),
        ("caller=%2B15551234567", &[a]),
        ("caller=%2B1555", &[]),
        ("caller=%2B1555*", &[a]),
        ("min_duration=600", &[b]),
        ("max_duration=12", &[a]),
        ("min_duration=12&max_duration=12", &[a]),
        ("q=carol", &[c, a]),
        ("q=0%25", &[b]),
        ("q=_", &[]),
        ("q=alpha", &[b, a]),
        ("q=spring", &[c, a]),
        ("q=5559876", &[c]),
        ("q=555+123", &[a]),
        ("q=(207)+555", &[b]),
        ("q=nobody", &[]),
        ("sort=timestamp_start", &[a, b, c]),
        ("sort=-duration", &[b, a, c]),
        ("sort=duration", &[c, a, b]),
        ("user_id=4", &[c, b, a]),
        ("per_page=2", &[c, b]),
        ("per_page=2&page=2", &[a]),
        ("per_page=2&page=3", &[]),
    ];
    for (query, expected) in cases {
        let answer = alice.get(&format!("{LOGS}?{query}")).await.expect(200);
        assert_eq!(ids(&answer), *expected, "{query}");
        if !query.contains("page") {
            assert_eq!(answer["total"], json!(expected.len()), "{query}");
        }
    }
    let beyond = alice
        .get(&format!("{LOGS}?per_page=2&page=7"))
        .await
        .expect(200);
    assert_eq!(
        (&beyond["page"], &beyond["total"], &beyond["pages"]),
        (&json!(7), &json!(3), &json!(2))
    );
}

#[tokio::test]
async fn malformed_filters_are_refused_everywhere() {
    let server = start().await;
    let alice = server.login("alice").await;
    for malformed in [
        "start_date=x",
        "start_date=2026-02-30",
        "end_date=31.01.2026",
        "end_date=2026-01-31T12:00:00",
        "start_date=2026-01-31%00",
        "min_duration=x",
        "min_duration=-1",
        "max_duration=99999999999",
        "sort=name",
        "cursor=x",
        "call_status=%00",
        "q=%00",
        "caller=%00",
        "did=%00",
        "refusal_reason=%00",
        "page=99999999999999999999",
    ] {
        for path in [LOGS, "/api/seller/logs/export", "/api/seller/statistics"] {
            let only_lists = malformed.starts_with("cursor") || malformed.starts_with("page");
            let only_calls = malformed.starts_with("sort");
            if (only_lists && path != LOGS) || (only_calls && path.ends_with("statistics")) {
                continue;
            }
            let answer = alice.get(&format!("{path}?{malformed}")).await;
            let body = answer.expect(400);
            assert!(body["message"].is_string(), "{path}?{malformed}");
        }
    }
}

#[tokio::test]
async fn a_cursor_passes_equal_times_and_new_calls_without_repeating_or_missing_any() {
    let server = start().await;
    let alice = server.login("alice").await;
    // Seven times of ten calls each, in all kinds of durations.
    server
        .db
        .run(
            "insert into call_logs (user_id, incoming_did_number, timestamp_start, call_status, duration_seconds)
             select 3, '1', timestamptz '2026-01-31 12:00:00Z' + i / 10 * interval '1 second', 'BUSY',
                    nullif(i % 4, 0)
             from generate_series(0, 69) i",
        )
        .await;
    for sort in SORTS {
        let expected = listed(&alice, &format!("sort={sort}&per_page=200")).await;
        assert_eq!(expected.len() % 70, 0);
        let mut seen = Vec::new();
        let mut cursor = "start".to_owned();
        for round in 0.. {
            assert!(round < 100, "no end");
            let path = format!("{LOGS}?sort={sort}&per_page=9&cursor={cursor}");
            let page = alice.get(&path).await.expect(200);
            assert_eq!(
                (&page["total"], &page["page"], &page["pages"]),
                (&json!(null), &json!(null), &json!(null))
            );
            assert_eq!(page["perPage"], 9);
            seen.extend(ids(&page));
            // They come while somebody reads.
            if sort == "-timestamp_start" {
                call(
                    &server,
                    &format!("new{round}"),
                    "2026-02-01 12:00:00Z",
                    "BUSY",
                )
                .await;
            }
            match page["nextCursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{sort}");
        server
            .db
            .run("delete from call_logs where asterisk_uniqueid like 'new%'")
            .await;
    }
    // A counted page leads on to the others.
    let first = alice.get(&format!("{LOGS}?per_page=35")).await.expect(200);
    let cursor = first["nextCursor"].as_str().expect("more");
    let second = alice
        .get(&format!("{LOGS}?per_page=35&cursor={cursor}"))
        .await
        .expect(200);
    let both: BTreeSet<i64> = ids(&first).into_iter().chain(ids(&second)).collect();
    assert_eq!(both.len(), 70);
    assert_eq!(second["nextCursor"], json!(null));
    for wrong in ["sort=timestamp_start", "sort=duration"] {
        let path = format!("{LOGS}?{wrong}&cursor={cursor}");
        assert_eq!(alice.get(&path).await.expect(400)["code"], "bad_cursor");
    }
}

const SORTS: [&str; 4] = [
    "-timestamp_start",
    "timestamp_start",
    "-duration",
    "duration",
];

#[tokio::test]
async fn one_call_tells_whom_it_was_offered_to() {
    let server = start().await;
    let alice = server.login("alice").await;
    let id = call(&server, "1.1", "2026-01-30 12:00:00Z", "ANSWERED").await;
    server
        .db
        .run(&format!(
            "insert into call_attempts (call_id, attempt, reservation_id, user_id, link_id, client_id, endpoint_id,
                 offered_at, ring_timeout_seconds, answered_at, ended_at, outcome, dial_status, hangup_cause_code)
             values ({id}, 2, 2, 3, 2, 2, 'beta', '2026-01-30 12:00:05Z', 20, '2026-01-30 12:00:07Z',
                     '2026-01-30 12:01:00Z', 'answered', 'ANSWER', 16),
                    ({id}, 1, 1, 3, 1, 1, 'alpha', '2026-01-30 12:00:00Z', 20, null,
                     '2026-01-30 12:00:05Z', 'failed', 'BUSY', 17)"
        ))
        .await;
    let one = format!("{LOGS}/{id}");
    let read = alice.get(&one).await.expect(200);
    assert_eq!(read["id"], json!(id));
    assert_eq!(read["campaign"]["name"], "Spring");
    assert_eq!(
        read["offers"],
        json!([
            {"attempt": 1, "clientId": 1, "endpoint": "alpha", "offeredAt": "2026-01-30T12:00:00.000000+00:00",
             "answeredAt": null, "endedAt": "2026-01-30T12:00:05.000000+00:00", "outcome": "failed",
             "dialStatus": "BUSY", "hangupCauseCode": 17},
            {"attempt": 2, "clientId": 2, "endpoint": "beta", "offeredAt": "2026-01-30T12:00:05.000000+00:00",
             "answeredAt": "2026-01-30T12:00:07.000000+00:00", "endedAt": "2026-01-30T12:01:00.000000+00:00",
             "outcome": "answered", "dialStatus": "ANSWER", "hangupCauseCode": 16},
        ])
    );
    server.login("bob").await.get(&one).await.expect(404);
    for id in ["0", "x", "-1", "9223372036854775807", "9223372036854775808"] {
        alice.get(&format!("{LOGS}/{id}")).await.expect(404);
    }
    let staff = server.login("staff").await;
    let read = staff
        .get(&format!("/api/admin/logs/{id}"))
        .await
        .expect(200);
    assert_eq!(
        (&read["userId"], &read["offers"][1]["endpoint"]),
        (&json!(3), &json!("beta"))
    );
}

#[tokio::test]
async fn sellers_see_their_own_calls_only_and_staff_sees_all() {
    let server = start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let a = call(&server, "1.1", "2026-01-30 12:00:00Z", "ANSWERED").await;
    let b = call(&server, "1.2", "2026-01-31 12:00:00Z", "BUSY").await;
    // Bob's call, with what is Alice's written into it.
    set(&server, b, "user_id = 4").await;
    assert_eq!(listed(&alice, "").await, [a]);
    assert_eq!(listed(&alice, "user_id=4&campaign_id=2").await, [0_i64; 0]);
    let page = bob.get(LOGS).await.expect(200);
    assert_eq!(ids(&page), [b]);
    assert_eq!(page["items"][0]["campaign"], json!(null), "not his to see");
    assert_eq!(page["items"][0]["did"], json!(null), "not his to see");

    let staff = server.login("staff").await;
    let all = staff.get("/api/admin/logs").await.expect(200);
    assert_eq!(ids(&all), [b, a]);
    assert_eq!(all["items"][0]["userId"], 4);
    let one = staff.get("/api/admin/logs?user_id=3").await.expect(200);
    assert_eq!(ids(&one), [a]);
    let text = alice.get("/api/seller/logs/export").await.text;
    assert!(text.contains("1.1") && !text.contains("1.2"), "{text}");

    for path in ["logs", "logs/1", "logs/export", "statistics"] {
        for role in [&staff, &server.login("admin").await] {
            role.get(&format!("/api/seller/{path}")).await.expect(403);
        }
        alice.get(&format!("/api/admin/{path}")).await.expect(403);
        for side in ["seller", "admin"] {
            let nobody = server.anonymous();
            nobody.get(&format!("/api/{side}/{path}")).await.expect(401);
        }
    }
}

#[tokio::test]
async fn an_export_holds_every_call_and_no_formula() {
    let server = start().await;
    let alice = server.login("alice").await;
    // More than two pieces.
    server
        .db
        .run(
            "insert into call_logs (user_id, incoming_did_number, timestamp_start, call_status, asterisk_uniqueid)
             select 3, '+18005550101', timestamptz '2026-01-31 12:00:00Z' + i / 100 * interval '1 second', 'BUSY',
                    'u' || i
             from generate_series(1, 4500) i",
        )
        .await;
    let odd = call(&server, "odd", "2026-02-01 12:00:00Z", "ANSWERED").await;
    set(
        &server,
        odd,
        "caller_id_num = '=1+1', caller_id_name = '@cmd \"x\", Müller', hangup_cause_text = '-5'",
    )
    .await;
    server
        .db
        .run("update campaigns set name = '+cmd' where id = 1")
        .await;

    let answer = alice.get("/api/seller/logs/export").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename=\"calls.csv\"")
    );
    let lines: Vec<&str> = answer.text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 1 + 4_501);
    assert_eq!(
        lines[0],
        "id,timestampStart,timestampAnswered,timestampEnd,durationSeconds,billsecSeconds,callStatus,\
         refusalReason,attempts,campaignId,campaignName,didId,incomingDidNumber,clientId,clientIdentifier,\
         clientName,callerIdNum,callerIdName,hangupCauseCode,hangupCauseText,asteriskUniqueid,asteriskLinkedid"
    );
    let at = "2026-02-01T12:00:00.000000+00:00";
    assert_eq!(
        lines[1],
        format!(
            "{odd},{at},{at},{at},12,7,ANSWERED,,1,1,'+cmd,1,+18005550101,1,alpha,Alpha Sales,'=1+1,\
             \"'@cmd \"\"x\"\", Müller\",16,'-5,odd,lodd"
        )
    );
    let uniqueids: BTreeSet<&str> = lines[2..]
        .iter()
        .map(|line| line.split(',').nth(20).expect("a unique id"))
        .collect();
    assert_eq!(uniqueids.len(), 4_500);

    let few = alice
        .get("/api/seller/logs/export?call_status=ANSWERED&sort=duration")
        .await;
    assert_eq!(few.text.lines().count(), 2);
    let none = alice
        .get("/api/seller/logs/export?campaign_id=2")
        .await
        .text;
    assert_eq!(none.lines().count(), 1, "the header line is always there");
    let staff = server.login("staff").await;
    let all = staff.get("/api/admin/logs/export?user_id=3").await.text;
    assert!(all.lines().next().is_some_and(|l| l.ends_with(",userId")));
    assert!(all.lines().nth(1).is_some_and(|l| l.ends_with(",3")));
}

#[tokio::test]
async fn an_export_that_fails_breaks_off() {
    let server = start().await;
    let alice = server.login("alice").await;
    // More than fits between the daemon and a reader who waits.
    server
        .db
        .run(
            "insert into call_logs (user_id, incoming_did_number, timestamp_start, call_status, caller_id_name,
                                    asterisk_linkedid)
             select 3, '1', timestamptz '2026-01-31 12:00:00Z' + i * interval '1 second', 'BUSY',
                    repeat('x', 100), repeat('y', 50)
             from generate_series(1, 100000) i",
        )
        .await;
    let mut request = alice
        .http
        .get(format!("{}/api/seller/logs/export", alice.base));
    for (name, value) in &alice.headers {
        request = request.header(name, value);
    }
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut read = answer.chunk().await.expect("begins").expect("begins").len();
    server.db.run("alter table call_logs rename to gone").await;
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "ended as if it were complete after {read} bytes");
}

#[tokio::test]
async fn calls_are_counted_by_what_was_asked() {
    let server = start().await;
    let alice = server.login("alice").await;
    for (i, (start, status)) in [
        ("2026-01-30 10:10:00Z", "ANSWERED"),
        ("2026-01-30 10:50:00Z", "ANSWERED"),
        ("2026-01-30 11:00:00Z", "BUSY"),
        ("2026-01-31 10:00:00Z", "ABANDONED"),
        ("2026-01-31 10:00:01Z", "REJECTED_CC"),
    ]
    .into_iter()
    .enumerate()
    {
        call(&server, &format!("1.{i}"), start, status).await;
    }
    server
        .db
        .run("update call_logs set campaign_id = null, client_id = null, did_id = null, billsec_seconds = null,
                     duration_seconds = null
              where call_status = 'REJECTED_CC'")
        .await;
    let other = call(&server, "1.9", "2026-01-30 10:10:00Z", "ANSWERED").await;
    set(&server, other, "user_id = 4").await;
    let range = "start_date=2026-01-30&end_date=2026-01-31";
    let counted = async |query: &str| {
        let path = format!("/api/seller/statistics?{range}&{query}");
        alice.get(&path).await.expect(200)
    };
    let by_campaign = counted("group_by=campaign").await;
    assert_eq!(by_campaign["groupBy"], "campaign");
    assert_eq!(by_campaign["from"], "2026-01-30T00:00:00.000000+00:00");
    assert_eq!(by_campaign["before"], "2026-02-01T00:00:00.000000+00:00");
    assert_eq!(
        by_campaign["rows"],
        json!([
            {"key": "1", "id": 1, "name": "Spring", "calls": 4, "answered": 2, "refused": 0, "abandoned": 1,
             "failed": 1, "billedSeconds": 28, "averageDurationSeconds": 12.0, "answerRate": 0.5},
            {"key": null, "calls": 1, "answered": 0, "refused": 1, "abandoned": 0, "failed": 0,
             "billedSeconds": 0, "averageDurationSeconds": null, "answerRate": 0.0},
        ])
    );
    let keys = async |query: &str| -> Vec<(Value, i64)> {
        let rows = counted(query).await["rows"].clone();
        rows.as_array()
            .expect("rows")
            .iter()
            .map(|row| (row["key"].clone(), row["calls"].as_i64().expect("calls")))
            .collect()
    };
    assert_eq!(
        keys("group_by=day").await,
        [(json!("2026-01-30"), 3), (json!("2026-01-31"), 2)]
    );
    assert_eq!(keys("").await, keys("group_by=day").await);
    assert_eq!(
        keys("group_by=hour").await,
        [
            (json!("2026-01-30T10:00:00+00:00"), 2),
            (json!("2026-01-30T11:00:00+00:00"), 1),
            (json!("2026-01-31T10:00:00+00:00"), 2)
        ]
    );
    assert_eq!(
        keys("group_by=status").await,
        [
            (json!("ANSWERED"), 2),
            (json!("ABANDONED"), 1),
            (json!("BUSY"), 1),
            (json!("REJECTED_CC"), 1)
        ]
    );
    assert_eq!(
        counted("group_by=client").await["rows"][0]["name"],
        "Alpha Sales"
    );
    assert_eq!(
        counted("group_by=did").await["rows"][0]["name"],
        "+18005550101"
    );
    assert_eq!(
        keys("group_by=status&call_status=BUSY").await,
        [(json!("BUSY"), 1)]
    );
    let staff = server.login("staff").await;
    let all = staff
        .get(&format!("/api/admin/statistics?{range}&group_by=status"))
        .await
        .expect(200);
    assert_eq!(all["rows"][0]["calls"], 3);
}

#[tokio::test]
async fn statistics_look_at_400_days_at_most() {
    let server = start().await;
    let alice = server.login("alice").await;
    let recent = alice.get("/api/seller/statistics").await.expect(200);
    assert_eq!(recent["groupBy"], "day");
    let future = alice.get("/api/seller/statistics?start_date=9999-12-31");
    assert_eq!(future.await.expect(200)["rows"], json!([]));
    for refused in [
        "group_by=caller",
        "start_date=2020-01-01&end_date=2026-01-01",
        "start_date=2026-02-01&end_date=2026-01-01",
        "end_date=9999-12-31",
        "start_date=x",
    ] {
        let path = format!("/api/seller/statistics?{refused}");
        assert_eq!(alice.get(&path).await.status, 400, "{refused}");
    }
}

#[tokio::test]
async fn a_large_total_is_remembered_for_those_only_who_could_count_it() {
    let server = start().await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    let admin = server.login("admin").await;
    let total =
        async |client: &ApiClient, path: &str| client.get(path).await.expect(200)["total"].clone();
    let more = |count: i32| {
        format!(
            "insert into call_logs (user_id, incoming_did_number, timestamp_start, call_status)
             select 3, '+18005550101', now(), 'ANSWERED' from generate_series(1, {count})"
        )
    };
    server.db.run(&more(2_000)).await;
    assert_eq!(total(&alice, LOGS).await, 2_000);
    server.db.run(&more(1)).await;
    assert_eq!(
        total(&alice, LOGS).await,
        2_001,
        "so far it is counted each time"
    );
    server.db.run(&more(1)).await;
    assert_eq!(total(&alice, LOGS).await, 2_001, "it is remembered");
    let page = format!("{LOGS}?page=2&per_page=200");
    assert_eq!(total(&alice, &page).await, 2_001);
    let since = format!("{LOGS}?start_date=2026-01-01");
    assert_eq!(
        total(&alice, &since).await,
        2_002,
        "another time, not asked for yet"
    );
    assert_eq!(total(&bob, LOGS).await, 0);
    let of_alice = "/api/admin/logs?user_id=3";
    assert_eq!(
        total(&admin, of_alice).await,
        2_002,
        "the administrator had not asked yet"
    );
}

#[tokio::test]
async fn a_page_far_down_is_found_by_index() {
    let server = start().await;
    server
        .db
        .run(
            "insert into call_logs (user_id, incoming_did_number, timestamp_start, call_status)
             select 3 + i % 2, '1', now() - i * interval '10 seconds', 'BUSY' from generate_series(1, 20000) i;
             analyze call_logs",
        )
        .await;
    let statement = capconduit::calls::store::logs::sql::LIST.text;
    let nothing = ["null"; 16].join(", ");
    server
        .db
        .run(&format!(
            "create function pg_temp.plan(after timestamptz) returns text language plpgsql as $f$
             declare line text; whole text := '';
             begin
                 for line in execute format('explain execute page(3, {nothing}, %L, 10000, %L, null, 51, 0)',
                                            '-timestamp_start', after) loop
                     whole := whole || line || e'\\n';
                 end loop;
                 return whole;
             end $f$;
             set plan_cache_mode = force_custom_plan;
             set capconduit.user_id = '3';
             grant execute on function pg_temp.plan(timestamptz) to capconduit_api;
             prepare page as {statement};
             set role capconduit_api"
        ))
        .await;
    let plan: String = server
        .db
        .one("select pg_temp.plan(now() - interval '1 day')")
        .await;
    let on_log: Vec<&str> = plan
        .lines()
        .filter(|line| line.contains("Scan") && line.contains("call_logs"))
        .collect();
    assert!(!on_log.is_empty(), "{plan}");
    assert!(
        on_log
            .iter()
            .filter(|line| line.contains("rows=") && !line.contains("rows=1 "))
            .all(|line| line.contains("Index Scan")),
        "{plan}"
    );
    assert!(plan.contains("ROW(timestamp_start, id) <"), "{plan}");
    assert!(!plan.contains("Seq Scan on call_logs_2"), "{plan}");
}

#[tokio::test]
async fn exports_at_once_are_whole_and_what_takes_too_long_says_so() {
    let server = start().await;
    let alice = server.login("alice").await;
    call(&server, "1.1", "2026-01-30 12:00:00Z", "ANSWERED").await;
    for _ in 0..5 {
        let exports = (0..2).map(|_| alice.get("/api/seller/logs/export"));
        for export in join_all(exports).await {
            assert_eq!((export.status, export.text.lines().count()), (200, 2));
        }
    }
    // The log is locked for longer than anybody waits for a lock.
    server
        .db
        .run("begin; lock table call_logs in access exclusive mode")
        .await;
    let slow = [LOGS, "/api/seller/logs/export", "/api/seller/statistics"];
    for answer in join_all(slow.map(|path| alice.get(path))).await {
        assert_eq!(answer.expect(503)["code"], "too_slow");
    }
    server.db.run("rollback").await;
    alice.get(LOGS).await.expect(200);
}
