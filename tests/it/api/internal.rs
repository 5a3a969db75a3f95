//! What the dialplan asks and reports.

use capconduit::domain::DialStatus;
use capconduit::routing::Verdict;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::api::{ApiClient, ApiServer};
use crate::support::world::{Caller, engine};

const DID: &str = "+18005550101";
const ROUTE: &str = "/api/internal/route_info?did=%2B18005550101";
const LOG: &str = "/api/internal/log_call";

/// Alice (3) with one campaign of three links, tiers 0, 0 and 1, weights 1, 2 and 3, room for two calls each;
/// Bob (4) with a campaign (2), a DID (2) and a link (4) of his own.
async fn start(strategy: &str) -> ApiServer {
    let server = ApiServer::start().await;
    server
        .db
        .run(&format!(
            "insert into clients (client_identifier, name, status)
                 select 'client' || i, 'Client ' || i, 'active' from generate_series(1, 3) i;
             insert into pjsip_endpoints (id, client_id, context, transport, outbound_auth, callerid)
                 values ('client1', 1, 'from-client', 'tcp', 'auth1', '+1999'),
                        ('client2', 2, 'none', null, null, null), ('client3', 3, 'none', null, null, null);
             insert into pjsip_aors (id, client_id, contact)
                 select 'client' || i, i, 'sip:10.0.0.' || i from generate_series(1, 3) i;
             insert into dids (number, user_id, status)
                 values ('{DID}', 3, 'active'), ('+13105550103', 4, 'active');
             insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
                 values (3, 'Spring', 'active', '{strategy}', 25), (4, 'Autumn', 'active', 'priority', 20);
             insert into campaign_dids values (1, 1), (2, 2);
             insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency,
                 forwarding_priority, weight)
                 values (1, 1, 'active', 2, 0, 1), (1, 2, 'active', 2, 0, 2), (1, 3, 'active', 2, 1, 3),
                        (2, 1, 'active', 2, 0, 1);"
        ))
        .await;
    server
}

fn identifiers(answer: &Value) -> Vec<String> {
    let targets = answer["routingInfo"]["targets"]
        .as_array()
        .expect("targets");
    targets
        .iter()
        .map(|t| t["client_identifier"].as_str().expect("text").to_owned())
        .collect()
}

#[tokio::test]
async fn route_info_has_the_shape_of_the_contract() {
    let server = start("priority").await;
    let answer = server.internal().get(ROUTE).await.expect(200);
    let target = |link: i32, weight: i32, priority: i32, endpoint: [Option<&str>; 4]| {
        json!({
            "campaignClientSettingId": link, "client_id": link, "client_identifier": format!("client{link}"),
            "client_name": format!("Client {link}"), "sip_uri": format!("sip:10.0.0.{link}"),
            "max_concurrency": 2, "weight": weight, "priority": priority,
            "outbound_auth": endpoint[0], "callerid_override": endpoint[1], "context": endpoint[2],
            "transport": endpoint[3],
        })
    };
    let none = [None, None, Some("none"), None];
    assert_eq!(
        answer,
        json!({
            "status": "proceed",
            "routingInfo": {
                "user_id": 3, "campaign_id": 1, "did_id": 1, "routing_strategy": "priority",
                "dial_timeout_seconds": 25,
                "targets": [
                    target(1, 1, 0, [Some("auth1"), Some("+1999"), Some("from-client"), Some("tcp")]),
                    target(2, 2, 0, none),
                    target(3, 3, 1, none),
                ],
            },
        })
    );
}

#[tokio::test]
async fn refusals_come_in_the_order_of_the_contract() {
    let server = start("priority").await;
    let internal = server.internal();
    let reason = async |path: &str| {
        let body = internal.get(path).await.expect(404);
        assert_eq!(body["status"], "reject");
        assert!(body.get("routingInfo").is_none());
        body["rejectReason"].as_str().expect("a reason").to_owned()
    };
    for unknown in [
        "%2B18005550199",
        "+18005550101",
        "18005550101",
        "%2B1800%205550101",
        "x",
    ] {
        let path = format!("/api/internal/route_info?did={unknown}");
        assert_eq!(reason(&path).await, "did_not_found", "{unknown}");
    }
    // From the last reason to the first: each hides those after it.
    for (change, expected) in [
        (
            "update campaign_client_settings set total_calls_allowed = 0",
            "no_eligible_clients_available",
        ),
        (
            "update clients set status = 'inactive'",
            "no_active_clients_in_campaign",
        ),
        (
            "update campaigns set status = 'paused'",
            "no_active_campaign_for_did",
        ),
        (
            "update users set status = 'suspended' where id = 3",
            "owner_inactive",
        ),
        ("update dids set status = 'inactive'", "did_inactive"),
    ] {
        server.db.run(change).await;
        assert_eq!(reason(ROUTE).await, expected);
    }
    for bad in [
        "",
        "?did=",
        "?did=%00",
        &format!("?did={}", "1".repeat(51)),
        "?number=1",
    ] {
        let path = format!("/api/internal/route_info{bad}");
        let body = internal.get(&path).await.expect(400);
        assert!(body["message"].is_string(), "{bad}");
    }
}

#[tokio::test]
async fn targets_come_in_the_order_the_next_call_tries_them() {
    for strategy in ["priority", "round_robin", "weighted"] {
        let server = start(strategy).await;
        let engine = engine(&server.db, "node");
        let internal = server.internal();
        let mut firsts = Vec::new();
        for _ in 0..6 {
            let before: String = server
                .db
                .one("select string_agg(r::text, ' ') from campaign_rotations r")
                .await;
            let told = identifiers(&internal.get(ROUTE).await.expect(200));
            let again = identifiers(&internal.get(ROUTE).await.expect(200));
            assert_eq!(told, again, "asking changes nothing");
            let after: String = server
                .db
                .one("select string_agg(r::text, ' ') from campaign_rotations r")
                .await;
            assert_eq!(before, after, "asking moves no turn");

            let caller = Caller::new().dialling(DID);
            let mut tried = Vec::new();
            let mut verdict = caller.route(&engine).await;
            while let Verdict::Dial(offer) = verdict {
                tried.push(offer.endpoint);
                verdict = caller.route_after(&engine, DialStatus::Busy).await;
            }
            caller.end(&engine, Some(DialStatus::Busy)).await;
            assert_eq!(told, tried, "{strategy}");
            firsts.push(tried[0].clone());
        }
        let distinct: std::collections::BTreeSet<_> = firsts.iter().collect();
        let expected = if strategy == "priority" { 1 } else { 2 };
        assert_eq!(distinct.len(), expected, "{strategy}: {firsts:?}");
        let (calls, held): (i64, i64) = (
            server
                .db
                .one("select count(*) from calls where ended_at is null")
                .await,
            server
                .db
                .one("select sum(held + confirmed) from link_usage")
                .await,
        );
        assert_eq!((calls, held), (0, 0));
    }
}

#[tokio::test]
async fn calls_under_way_take_their_targets_out() {
    let server = start("priority").await;
    let engine = engine(&server.db, "node");
    let internal = server.internal();
    for expected in [3, 3, 2, 2, 1, 1] {
        let answer = internal.get(ROUTE).await.expect(200);
        assert_eq!(identifiers(&answer).len(), expected);
        Caller::new().dialling(DID).route(&engine).await;
    }
    let body = internal.get(ROUTE).await.expect(404);
    assert_eq!(body["rejectReason"], "no_eligible_clients_available");
}

#[tokio::test]
async fn the_token_opens_and_nothing_else() {
    let server = start("priority").await;
    let wrong = server
        .anonymous()
        .with_header("x-internal-api-token", "wrong");
    for client in [
        server.anonymous(),
        wrong,
        server.login("admin").await,
        server.login("alice").await,
    ] {
        client.get(ROUTE).await.expect(401);
        client.post(LOG, record("1.1")).await.expect(401);
    }
    assert_eq!(logged(&server).await, 0);
}

/// An answered call on link 1.
fn record(uniqueid: &str) -> Value {
    json!({
        "incomingDidNumber": DID, "timestampStart": "2026-01-31T12:00:00Z", "callStatus": "ANSWERED",
        "asteriskUniqueid": uniqueid, "userId": 3, "campaignId": 1, "didId": 1, "clientId": 1,
        "campaignClientSettingId": 1,
    })
}

/// The same with other fields.
fn with(uniqueid: &str, fields: Value) -> Value {
    let mut record = record(uniqueid);
    let Value::Object(fields) = fields else {
        panic!("an object")
    };
    for (name, value) in fields {
        record[name] = value;
    }
    record
}

async fn logged(server: &ApiServer) -> i64 {
    server.db.one("select count(*) from call_logs").await
}

async fn counted(server: &ApiServer) -> Vec<i32> {
    server
        .db
        .one("select array_agg(current_total_calls order by id) from campaign_client_settings")
        .await
}

#[tokio::test]
async fn a_record_is_stored_as_it_was_sent_and_counts_once() {
    let server = start("priority").await;
    let internal = server.internal();
    let body = with(
        "1.1",
        json!({
            "callStatus": "Answered", "asteriskLinkedid": "1.0", "callerIdNum": "+1555", "callerIdName": "Carol",
            "timestampStart": "2026-01-31T13:00:00.5+01:00", "timestampAnswered": "2026-01-31T12:00:05",
            "timestampEnd": "1999-12-31 23:59:59", "durationSeconds": "60", "billsecSeconds": 50.7,
            "hangupCauseCode": 16, "hangupCauseText": "Normal Clearing", "somethingElse": [1, 2],
        }),
    );
    let answer = internal.post(LOG, body.clone()).await.expect(201);
    assert_eq!(answer["status"], "success");
    assert!(answer["message"].is_string());
    let stored: Value = server
        .db
        .one(&format!(
            "select to_jsonb(l) - 'created_at' - 'timestamp_start' - 'timestamp_answered' - 'timestamp_end'
                 || jsonb_build_object('start', extract(epoch from timestamp_start)::text,
                                       'answered', extract(epoch from timestamp_answered)::text,
                                       'end', extract(epoch from timestamp_end)::text)
             from call_logs l where id = {}",
            answer["cdrId"]
        ))
        .await;
    assert_eq!(
        stored,
        json!({
            "id": answer["cdrId"], "user_id": 3, "campaign_id": 1, "did_id": 1, "client_id": 1,
            "campaign_client_setting_id": 1, "incoming_did_number": DID, "caller_id_num": "+1555",
            "caller_id_name": "Carol", "duration_seconds": 60, "billsec_seconds": 50,
            "call_status": "ANSWERED", "hangup_cause_code": 16, "hangup_cause_text": "Normal Clearing",
            "asterisk_uniqueid": "1.1", "asterisk_linkedid": "1.0", "refusal_reason": null, "attempts": 0, "server_name": null, "hangup_by": null,
            "start": "1769860800.500000", "answered": "1769860805.000000", "end": "946684799.000000",
        })
    );
    assert_eq!(counted(&server).await, [1, 0, 0, 0]);

    let again = internal.post(LOG, body).await.expect(409);
    assert!(again["message"].is_string());
    assert_eq!(counted(&server).await, [1, 0, 0, 0]);

    // Another status counts nothing, and no link is kept, known or not.
    for (uniqueid, link) in [("1.2", 1), ("1.3", 4), ("1.4", 999)] {
        let body = with(
            uniqueid,
            json!({"callStatus": "busy", "campaignClientSettingId": link}),
        );
        let answer = internal.post(LOG, body).await.expect(201);
        let kept: Option<i32> = server
            .db
            .one(&format!(
                "select campaign_client_setting_id from call_logs where id = {}",
                answer["cdrId"]
            ))
            .await;
        assert_eq!(kept, None);
    }
    // Nothing but the required fields.
    let least = json!({"incomingDidNumber": "100", "timestampStart": "9999-01-01T00:00:00Z",
                       "callStatus": "ANSWERED", "asteriskUniqueid": "1.5"});
    internal.post(LOG, least).await.expect(201);
    let body = json!({"incomingDidNumber": "100", "timestampStart": "1970-01-01T00:00:00Z", "callStatus": "",
                      "asteriskUniqueid": "1.6", "userId": null, "callerIdNum": "", "timestampEnd": null});
    internal.post(LOG, body).await.expect(201);
    assert_eq!(counted(&server).await, [1, 0, 0, 0]);
    assert_eq!(logged(&server).await, 6);

    // The id of the link alone is enough, and the cap is no matter.
    server
        .db
        .run("update campaign_client_settings set total_calls_allowed = 1 where id = 1")
        .await;
    let body = json!({"incomingDidNumber": "100", "timestampStart": "2026-01-31T12:00:00Z",
                      "callStatus": "ANSWERED", "asteriskUniqueid": "1.7", "campaignClientSettingId": 1});
    internal.post(LOG, body).await.expect(201);
    assert_eq!(counted(&server).await, [2, 0, 0, 0]);
}

#[tokio::test]
async fn of_many_reports_of_one_call_one_is_stored_and_counted() {
    let server = start("priority").await;
    let internal = server.internal();
    let post = |uniqueid: &str| {
        let internal = internal.clone();
        let body = record(uniqueid);
        async move { internal.post(LOG, body).await.status }
    };
    let statuses = join_all((0..64).map(|_| post("1.1"))).await;
    assert_eq!(statuses.iter().filter(|s| **s == 201).count(), 1);
    assert_eq!(statuses.iter().filter(|s| **s == 409).count(), 63);
    let ids: Vec<String> = (0..64).map(|i| format!("2.{i}")).collect();
    let statuses = join_all(ids.iter().map(|id| post(id))).await;
    assert!(statuses.iter().all(|s| *s == 201), "{statuses:?}");
    assert_eq!(logged(&server).await, 65);
    assert_eq!(counted(&server).await, [65, 0, 0, 0]);
}

#[tokio::test]
async fn a_call_that_the_daemon_carries_is_recorded_by_the_daemon() {
    let server = start("priority").await;
    let engine = engine(&server.db, "node");
    let internal = server.internal();
    let caller = Caller::with_uniqueid("9.1").dialling(DID);
    caller.route(&engine).await;
    let body = internal.post(LOG, record("9.1")).await.expect(409);
    assert_eq!(body["code"], "call_under_way");
    caller.end(&engine, Some(DialStatus::Answer)).await;
    let body = internal.post(LOG, record("9.1")).await.expect(409);
    assert_eq!(body["code"], "already_recorded");
    assert_eq!(logged(&server).await, 1);
    assert_eq!(counted(&server).await, [1, 0, 0, 0]);
}

#[tokio::test]
async fn ids_that_do_not_exist_or_belong_together_are_refused() {
    let server = start("priority").await;
    let internal = server.internal();
    for field in ["userId", "campaignId", "didId", "clientId"] {
        for id in [0, -1, 999] {
            let mut body = with("1.1", json!({}));
            body[field] = json!(id);
            let errors = internal.post(LOG, body).await.expect(400);
            assert!(errors["errors"][field][0].is_string(), "{field}: {errors}");
        }
    }
    for link in [0, 999] {
        let body = with("1.1", json!({"campaignClientSettingId": link}));
        let answer = internal.post(LOG, body).await.expect(404);
        assert!(answer["message"].is_string());
    }
    for (fields, field) in [
        (
            json!({"campaignClientSettingId": 4}),
            "campaignClientSettingId",
        ),
        (
            json!({"campaignClientSettingId": 4, "campaignId": null}),
            "campaignClientSettingId",
        ),
        (
            json!({"campaignClientSettingId": 4, "campaignId": null, "userId": null}),
            "campaignClientSettingId",
        ),
        (json!({"campaignId": 2}), "campaignId"),
        (json!({"didId": 2}), "didId"),
        (json!({"didId": 2, "userId": null}), "didId"),
        (json!({"userId": 4}), "campaignId"),
    ] {
        let answer = internal.post(LOG, with("1.1", fields.clone())).await;
        let errors = answer.expect(400);
        assert!(errors["errors"][field][0].is_string(), "{fields}: {errors}");
    }
    assert_eq!(logged(&server).await, 0);
    assert_eq!(counted(&server).await, [0, 0, 0, 0]);
}

async fn refused(client: &ApiClient, fields: Value) -> Value {
    let answer = client.post(LOG, with("1.1", fields.clone())).await;
    assert_eq!(answer.status, 400, "{fields}: {}", answer.text);
    assert_eq!(answer.body["status"], "error", "{fields}");
    assert!(answer.body["message"].is_string(), "{fields}");
    answer.body["errors"].clone()
}

#[tokio::test]
async fn bad_records_are_refused_in_the_shape_of_this_operation() {
    let server = start("priority").await;
    let internal = server.internal();
    let long = |n: usize| "x".repeat(n);
    for (field, values) in [
        (
            "incomingDidNumber",
            vec![
                json!(""),
                json!(" "),
                json!(null),
                json!(1),
                json!(long(51)),
                json!("1\u{0}"),
            ],
        ),
        (
            "asteriskUniqueid",
            vec![
                json!(""),
                json!("\u{0}"),
                json!(null),
                json!(1.1),
                json!(long(51)),
                json!("a\nb"),
            ],
        ),
        (
            "callStatus",
            vec![
                json!(null),
                json!(7),
                json!(long(51)),
                json!("ß".repeat(26)),
                json!("\u{0}"),
            ],
        ),
        (
            "timestampStart",
            vec![
                json!(1_700_000_000),
                json!("yesterday"),
                json!(null),
                json!(""),
                json!("0001-01-01T00:00:00Z"),
                json!("99999-01-01T00:00:00Z"),
                json!("2026-02-30T00:00:00Z"),
            ],
        ),
        ("timestampEnd", vec![json!(5), json!("x")]),
        ("asteriskLinkedid", vec![json!(long(51)), json!(1)]),
        ("callerIdNum", vec![json!(long(51)), json!("\u{0}")]),
        ("callerIdName", vec![json!(long(101))]),
        ("hangupCauseText", vec![json!(long(51))]),
        (
            "durationSeconds",
            vec![json!(-1), json!(2_147_483_648_u64), json!("x"), json!(true)],
        ),
        ("billsecSeconds", vec![json!(-1), json!(1e300)]),
        (
            "hangupCauseCode",
            vec![json!(2_147_483_648_u64), json!("16.5")],
        ),
        (
            "userId",
            vec![json!(2_147_483_648_u64), json!("x"), json!([1])],
        ),
        (
            "campaignClientSettingId",
            vec![json!(2_147_483_648_u64), json!(u64::MAX), json!({})],
        ),
    ] {
        for value in values {
            let mut fields = json!({});
            fields[field] = value;
            let errors = refused(&internal, fields.clone()).await;
            assert!(errors[field][0].is_string(), "{fields}: {errors}");
        }
    }
    let errors = internal
        .post(LOG, json!({"callStatus": "BUSY"}))
        .await
        .expect(400)["errors"]
        .clone();
    for field in ["incomingDidNumber", "timestampStart", "asteriskUniqueid"] {
        assert!(errors[field][0].is_string(), "{field}");
    }
}

#[tokio::test]
async fn what_is_no_record_at_all_is_refused() {
    let server = start("priority").await;
    let internal = server.internal();
    for (content_type, body) in [
        (Some("application/json"), "{"),
        (Some("application/json"), ""),
        (Some("application/json"), "[]"),
        (Some("application/json"), "[1]"),
        (Some("application/json"), "null"),
        (Some("application/json"), "{}"),
        (Some("application/json"), "7"),
        (Some("text/plain"), "callStatus=ANSWERED"),
        (None, "hello"),
        (None, ""),
    ] {
        let answer = internal
            .send_raw(reqwest::Method::POST, LOG, content_type, body)
            .await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        assert!(answer.body["message"].is_string(), "{body}");
    }
    let huge = format!("{{\"callStatus\": \"{}\"}}", "x".repeat(300 * 1024));
    let answer = internal
        .send_raw(reqwest::Method::POST, LOG, Some("application/json"), huge)
        .await;
    answer.expect(413);
    // JSON under another name is JSON all the same.
    let body = record("1.9").to_string();
    let answer = internal
        .send_raw(reqwest::Method::POST, LOG, Some("text/plain"), body)
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(logged(&server).await, 1);
    assert_eq!(counted(&server).await, [1, 0, 0, 0]);
}

#[tokio::test]
async fn more_billed_seconds_than_the_call_lasted_are_refused() {
    let server = start("priority").await;
    let body = with(
        "1.7",
        json!({ "callStatus": "Answered", "durationSeconds": 9, "billsecSeconds": 10 }),
    );
    let refused = server.internal().post(LOG, body).await.expect(400);
    assert!(refused["errors"]["billsecSeconds"].is_array(), "{refused}");
}
