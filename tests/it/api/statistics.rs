//! Calls, counted by more than one thing, in a time zone, with empty times.

use serde_json::{Value, json};

use super::events::sellers_campaign;
use crate::support::api::{ApiClient, ApiServer};

/// Alice's calls: three answered around the end of summer time in Berlin, one refused a day later; one of Bob's.
async fn start() -> (ApiServer, ApiClient) {
    let server = ApiServer::start().await;
    sellers_campaign(&server.db, 3, "+18005550101", &[1, 2]).await;
    sellers_campaign(&server.db, 4, "+18005550102", &[]).await;
    server
        .db
        .run(
            "insert into call_logs (user_id, campaign_id, client_id, campaign_client_setting_id, incoming_did_number,
                     caller_id_num, timestamp_start, timestamp_answered, timestamp_end, duration_seconds,
                     billsec_seconds, call_status, refusal_reason, hangup_cause_code, asterisk_uniqueid)
             select c.seller, c.seller - 2, c.client, c.client, '+18005550101', c.caller, c.at::timestamptz,
                    c.at::timestamptz + make_interval(secs => c.rang), c.at::timestamptz + interval '1 minute', 60, 50,
                    c.status, c.reason, c.cause, 'u' || c.at
             from (values
                 (3, 1, '+1', '2026-10-25T00:30:00Z', 4, 'ANSWERED', null, 16),
                 (3, 1, '+2', '2026-10-25T01:30:00Z', 8, 'ANSWERED', null, 16),
                 (3, 2, '+1', '2026-10-25T01:40:00Z', 20, 'ANSWERED', null, 17),
                 (3, null, '+1', '2026-10-26T10:00:00Z', null, 'REJECTED_DID', 'did_inactive', 1),
                 (4, null, '+9', '2026-10-26T10:00:00Z', 2, 'ANSWERED', null, 16)
             ) c (seller, client, caller, at, rang, status, reason, cause)",
        )
        .await;
    let alice = server.login("alice").await;
    (server, alice)
}

const RANGE: &str = "start_date=2026-10-25&end_date=2026-10-26&tz=Europe/Berlin";

async fn counted(client: &ApiClient, side: &str, query: &str) -> Value {
    let path = format!("/api/{side}/statistics?{RANGE}&{query}");
    client.get(&path).await.expect(200)
}

/// `key=calls`, and where counted by two things `key/key=calls`.
fn rows(counted: &Value) -> String {
    let key = |key: &Value| key.as_str().unwrap_or("-").to_owned();
    let rows = counted["rows"].as_array().expect("rows");
    let rows: Vec<_> = rows
        .iter()
        .map(|row| match row.get("then") {
            Some(then) => format!(
                "{}/{}={}",
                key(&row["key"]),
                key(&then["key"]),
                row["calls"]
            ),
            None => format!("{}={}", key(&row["key"]), row["calls"]),
        })
        .collect();
    rows.join(" ")
}

#[tokio::test]
async fn times_are_those_of_the_zone_also_where_its_clock_goes_back() {
    let (_server, alice) = start().await;
    let hours = counted(&alice, "seller", "group_by=hour").await;
    assert_eq!(
        rows(&hours),
        "2026-10-25T02:00:00+02:00=1 2026-10-25T02:00:00+01:00=2 2026-10-26T11:00:00+01:00=1"
    );
    assert_eq!(hours["from"], "2026-10-24T22:00:00.000000+00:00");
    assert_eq!(hours["before"], "2026-10-26T23:00:00.000000+00:00");
    assert_eq!(hours["tz"], "Europe/Berlin");
    for (by, expected) in [
        ("day", "2026-10-25=3 2026-10-26=1"),
        ("week", "2026-10-19=3 2026-10-26=1"),
        ("month", "2026-10=4"),
        ("weekday_hour", "1-11=1 7-02=3"),
        ("reason", "-=3 did_inactive=1"),
        ("hangup_cause", "16=2 1=1 17=1"),
        ("link", "1=2 2=1 -=1"),
        ("day,client", "2026-10-25/1=2 2026-10-25/2=1 2026-10-26/-=1"),
        ("client,day", "1/2026-10-25=2 2/2026-10-25=1 -/2026-10-26=1"),
    ] {
        let counted = counted(&alice, "seller", &format!("group_by={by}")).await;
        assert_eq!(rows(&counted), expected, "{by}");
        assert_eq!(counted["groupBy"], by);
    }
}

#[tokio::test]
async fn minutes_are_counted_of_six_hours_at_most() {
    let (_server, alice) = start().await;
    let path = |query: &str| format!("/api/seller/statistics?group_by=minute&{query}");
    let hours = "start_date=2026-10-25T00:00:00Z&end_date=2026-10-25T05:59:59Z&tz=Europe/Berlin";
    let counted = alice.get(&path(hours)).await.expect(200);
    assert_eq!(
        rows(&counted),
        "2026-10-25T02:30:00+02:00=1 2026-10-25T02:30:00+01:00=1 2026-10-25T02:40:00+01:00=1"
    );
    let filled = alice.get(&path(&format!("{hours}&fill=true"))).await;
    let filled = filled.expect(200);
    assert_eq!(filled["rows"].as_array().expect("rows").len(), 360);
    assert_eq!(filled["rows"][30]["calls"], 1);
    // The last six hours.
    let last = alice.get(&path("fill=true")).await.expect(200);
    assert!((360..=361).contains(&last["rows"].as_array().expect("rows").len()));
    let day = "start_date=2026-10-25&end_date=2026-10-25";
    let refused = alice.get(&path(day)).await.expect(400);
    assert_eq!(refused["code"], "bad_parameter");
}

#[tokio::test]
async fn empty_times_are_filled() {
    let (_server, alice) = start().await;
    let hours = counted(&alice, "seller", "group_by=hour&fill=true").await;
    let shown = hours["rows"].as_array().expect("rows");
    assert_eq!(shown.len(), 49, "a day of 25 hours and one of 24");
    assert_eq!(shown[0]["key"], "2026-10-25T00:00:00+02:00");
    assert_eq!(shown[0]["calls"], 0);
    assert_eq!(shown[0]["averageDurationSeconds"], json!(null));
    assert_eq!(
        shown
            .iter()
            .map(|row| row["calls"].as_i64().expect("a count"))
            .sum::<i64>(),
        4
    );
    let both = counted(&alice, "seller", "group_by=client,day&fill=true").await;
    assert_eq!(
        rows(&both),
        "1/2026-10-25=2 1/2026-10-26=0 2/2026-10-25=1 2/2026-10-26=0 -/2026-10-25=0 -/2026-10-26=1"
    );
    let week = counted(&alice, "seller", "group_by=weekday_hour&fill=true").await;
    assert_eq!(week["rows"].as_array().expect("rows").len(), 168);
    let nothing = counted(&alice, "seller", "group_by=day&fill=true&caller=%2B777").await;
    assert_eq!(rows(&nothing), "2026-10-25=0 2026-10-26=0");
}

#[tokio::test]
async fn waiting_times_and_callers_are_counted_where_asked_for() {
    let (server, alice) = start().await;
    let plain = counted(&alice, "seller", "group_by=month").await;
    assert!(plain["rows"][0].get("uniqueCallers").is_none(), "{plain}");
    let details = counted(&alice, "seller", "group_by=month&details=true").await;
    let row = &details["rows"][0];
    assert_eq!(row["ringSecondsMedian"], 8.0);
    assert_eq!(row["ringSecondsP90"], 17.6);
    assert_eq!(row["uniqueCallers"], 2);

    let staff = server.login("staff").await;
    let sellers = counted(&staff, "admin", "group_by=user").await;
    assert_eq!(rows(&sellers), "3=4 4=1");
    assert_eq!(sellers["rows"][1]["name"], "bob");
    let by_two = counted(&staff, "admin", "group_by=user,status").await;
    assert_eq!(rows(&by_two), "3/ANSWERED=3 3/REJECTED_DID=1 4/ANSWERED=1");
    for wrong in [
        "group_by=user",
        "group_by=day,day",
        "group_by=day,hour",
        "group_by=day,client,did",
        "group_by=client&fill=true",
        "tz=Mars/Olympus",
        "fill=yes",
    ] {
        alice
            .get(&format!("/api/seller/statistics?{wrong}"))
            .await
            .expect(400);
    }
}

#[tokio::test]
async fn days_of_lists_are_those_of_the_zone() {
    let (_server, alice) = start().await;
    for (query, expected) in [
        ("start_date=2026-10-25&end_date=2026-10-25", 3),
        (
            "start_date=2026-10-25&end_date=2026-10-25&tz=America/New_York",
            0,
        ),
        (
            "start_date=2026-10-24&end_date=2026-10-24&tz=America/New_York",
            3,
        ),
    ] {
        let listed = alice
            .get(&format!("/api/seller/logs?{query}"))
            .await
            .expect(200);
        assert_eq!(listed["total"], expected, "{query}");
        let csv = alice.get(&format!("/api/seller/logs/export?{query}")).await;
        assert_eq!(csv.text.lines().count(), expected as usize + 1, "{query}");
    }
    alice
        .get("/api/seller/audit?start_date=2026-10-25&tz=Asia/Kolkata")
        .await
        .expect(200);
    alice.get("/api/seller/logs?tz=Nowhere").await.expect(400);
}
