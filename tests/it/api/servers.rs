//! Servers, and what staff and the command line end by hand.

use serde_json::{Value, json};

use crate::support::api::ApiServer;
use crate::support::daemon::DaemonSettings;
use crate::support::world::{Caller, VerdictExt, engine};

const SERVERS: &str = "/api/admin/servers";

/// Alice's campaign with one link, and two calls offered on server `pbx`; their call and reservation ids.
async fn start() -> (ApiServer, [(i64, i64); 2]) {
    let server = ApiServer::start().await;
    server
        .db
        .run(
            "insert into dids (number, user_id, status) values ('+18005550100', 3, 'active');
             insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
                 values (3, 'campaign', 'active', 'priority', 20);
             insert into campaign_dids values (1, 1);
             insert into clients (client_identifier, name, status) values ('client1', 'Client 1', 'active');
             insert into pjsip_endpoints (id, client_id, context) values ('client1', 1, 'none');
             insert into pjsip_aors (id, client_id, contact) values ('client1', 1, 'sip:192.0.2.1');
             insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency,
                     forwarding_priority, weight)
                 values (1, 1, 'active', 10, 0, 1);
             insert into servers (name, entity_id, system_name, version, observer, heartbeat)
                 values ('pbx', '00:11', 'pbx-a', '20.5.0', 'node-b', now())",
        )
        .await;
    let engine = engine(&server.db, "calls");
    let mut calls = [(0, 0); 2];
    for call in &mut calls {
        let offer = Caller::new().route(&engine).await.offer();
        *call = (offer.call_id.0, offer.reservation_id.0);
    }
    (server, calls)
}

async fn unseen(server: &ApiServer) {
    server
        .db
        .run("update servers set heartbeat = now() - interval '2 minutes'")
        .await;
}

async fn audited(server: &ApiServer) -> String {
    server
        .db
        .one(
            "select coalesce(string_agg(concat_ws(':', actor, action, object_type, object_id, reason), ','
                                        order by audit_id), '') from audit_log
             where action in ('release', 'declare_dead')",
        )
        .await
}

#[tokio::test]
async fn staff_declares_a_server_dead_that_nobody_sees() {
    let (server, _) = start().await;
    let staff = server.login("staff").await;
    let listed = staff.get(SERVERS).await.expect(200);
    assert_eq!(listed[0]["name"], "pbx");
    assert_eq!(listed[0]["observer"], "node-b");
    assert_eq!(listed[0]["entityId"], "00:11");
    assert_eq!(listed[0]["callsUnderWay"], 2);
    assert_eq!(listed[0]["declaredDeadAt"], Value::Null);

    let dead = format!("{SERVERS}/pbx/declare-dead");
    let refused = staff.post(&dead, json!({})).await.expect(409);
    assert_eq!(refused["code"], "server_observed");
    assert!(refused["message"].to_string().contains("node-b"));
    for unknown in ["other", "a%20b", "%ff"] {
        let path = format!("{SERVERS}/{unknown}/declare-dead");
        staff.post(&path, json!({})).await.expect(404);
    }
    assert_eq!(audited(&server).await, "", "nothing was done");

    unseen(&server).await;
    let done = staff.post(&dead, json!({"reason": "burnt"})).await;
    assert_eq!(done.expect(200), json!({"name": "pbx", "callsEnded": 2}));
    let listed = staff.get(SERVERS).await.expect(200);
    assert_eq!(listed[0]["declaredDeadBy"], "staff");
    assert_eq!(listed[0]["callsUnderWay"], 0);
    assert_eq!(
        audited(&server).await,
        "staff:declare_dead:server:pbx:burnt"
    );
    let alice = server.login("alice").await;
    alice.get(SERVERS).await.expect(403);
    alice.post(&dead, json!({})).await.expect(403);
}

#[tokio::test]
async fn staff_releases_a_call_or_a_slot_once() {
    let (server, [(call, _), (_, slot)]) = start().await;
    let admin = server.login("admin").await;
    let release = format!("/api/admin/calls/{call}/release");
    let done = admin
        .post(&release, json!({"reason": "gone"}))
        .await
        .expect(200);
    assert_eq!(done, json!({ "callId": call }));
    admin.post(&release, json!({})).await.expect(404);
    let free = format!("/api/admin/reservations/{slot}/release");
    let answer = admin
        .send(reqwest::Method::POST, &free, None)
        .await
        .expect(200);
    assert_eq!(answer, json!({ "reservationId": slot }));
    admin.post(&free, json!({})).await.expect(404);
    assert_eq!(
        audited(&server).await,
        format!("admin:release:call:{call}:gone,admin:release:reservation:{slot}")
    );
    let held: i64 = server.db.one("select sum(held) from link_usage").await;
    assert_eq!(held, 0);
    let alice = server.login("alice").await;
    alice.post(&release, json!({})).await.expect(403);
    alice.post(&free, json!({})).await.expect(403);
}

#[tokio::test]
async fn the_command_line_ends_by_hand_and_says_how_it_went_by_its_exit_code() {
    let (server, [(call, _), (_, slot)]) = start().await;
    let settings = DaemonSettings::new("cli", &server.db.url);
    let run = |arguments: &[&str]| {
        let mut command = settings.command(arguments[0]);
        let output = command.args(&arguments[1..]).output().expect("runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, shown, _) = run(&["server", "list"]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("pbx") && shown.contains("node-b"), "{shown}");
    let (code, _, told) = run(&["server", "declare-dead", "pbx"]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("node-b"), "{told}");
    assert_eq!(run(&["server", "declare-dead", "other"]).0, Some(4));
    let (call, slot) = (call.to_string(), slot.to_string());
    assert_eq!(
        run(&["call", "release", &call, "--reason", "gone"]).0,
        Some(0)
    );
    assert_eq!(run(&["call", "release", &call]).0, Some(4));
    assert_eq!(run(&["reservation", "release", &slot]).0, Some(0));
    assert_eq!(run(&["reservation", "release", &slot]).0, Some(4));
    unseen(&server).await;
    let (code, shown, _) = run(&["server", "declare-dead", "pbx"]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("1 of its calls"), "{shown}");
    assert_eq!(
        audited(&server).await,
        format!(
            "command line:release:call:{call}:gone,command line:release:reservation:{slot},\
             command line:declare_dead:server:pbx"
        )
    );
}
