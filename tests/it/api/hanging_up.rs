//! Ending calls under way, and who is said to have ended them.

use std::sync::Arc;

use capconduit::asterisk::ari::rest::Rest;
use capconduit::db::request::Reach;
use capconduit::domain::{CallFact, CallId, DialStatus, SeenChannel, ServerIdentity};
use capconduit::routing::{Dialled, Engine, Switch, Verdict};
use serde_json::json;

use super::events::sellers_campaign;
use crate::support::api::ApiServer;
use crate::support::fake_ari::FakeAri;
use crate::support::journal::Journal;
use crate::support::world::{Caller, DID, VerdictExt, compare_on, engine, live, server as pbx};

/// Alice's campaign takes the calls of its DID; the API's daemon watches the Asterisk.
async fn start() -> (ApiServer, FakeAri, Journal) {
    let server = ApiServer::start().await;
    sellers_campaign(&server.db, 3, DID, &[1, 2]).await;
    let journal = Journal::new();
    let asterisk = FakeAri::start(&journal).await;
    (server, asterisk, journal)
}

fn watch(server: &ApiServer, asterisk: &FakeAri) {
    attach(&server.engine, asterisk);
}

fn attach(engine: &Engine, asterisk: &FakeAri) {
    let settings = Arc::new(asterisk.server("api"));
    let rest = Rest::new(settings, std::time::Duration::from_secs(5)).expect("a client");
    let switch: Arc<dyn Switch> = Arc::new(rest);
    engine.attach(pbx(), switch);
}

/// A call that rings at its first target, and its id.
async fn ringing(server: &ApiServer) -> (Caller, i64) {
    let caller = Caller::new();
    caller.appears(&server.engine);
    let offer = caller.route(&server.engine).await.offer();
    caller.dials(&server.engine, &offer.endpoint);
    (caller, offer.call_id.0)
}

fn listed(caller: &Caller, name: &str) -> String {
    json!([{ "id": caller.uniqueid.as_str(), "name": name, "state": "Up" }]).to_string()
}

#[tokio::test]
async fn a_call_is_ended_by_its_seller_and_by_staff_through_its_asterisk() {
    let (server, asterisk, journal) = start().await;
    watch(&server, &asterisk);
    let (caller, id) = ringing(&server).await;
    asterisk.set_channels(&listed(&caller, &caller.channel));
    let (alice, staff) = (server.login("alice").await, server.login("staff").await);
    let own = format!("/api/seller/calls/{id}/hangup");
    let any = format!("/api/admin/calls/{id}/hangup");

    let told = alice
        .post(&own, json!({"reason": "Abuse"}))
        .await
        .expect(200);
    assert_eq!(told, json!({"callId": id, "hungUp": true}));
    let order = format!("DELETE /ari/channels/{}?reason=normal", caller.uniqueid);
    journal.wait_for(&order, 1).await;
    staff.post(&any, json!({})).await.expect(200);
    let audited: String = server
        .db
        .one(
            "select string_agg(concat_ws(':', actor, user_id, object_id, reason), ',' order by audit_id)
             from audit_log where action = 'hang_up'",
        )
        .await;
    assert_eq!(audited, format!("alice:3:{id}:Abuse,staff:3:{id}"));

    // A channel of that id that is another call's is left alone; so is one that has gone.
    asterisk.set_channels(&listed(&caller, "PJSIP/other-00000001"));
    assert_eq!(
        staff.post(&any, json!({})).await.expect(200)["hungUp"],
        false
    );
    asterisk.set_channels("[]");
    assert_eq!(
        staff.post(&any, json!({})).await.expect(200)["hungUp"],
        false
    );

    // Nobody else's.
    let bob = server.login("bob").await;
    bob.post(&own, json!({})).await.expect(404);
    bob.post(&any, json!({})).await.expect(403);
    caller.end(&server.engine, Some(DialStatus::Cancel)).await;
    alice.post(&own, json!({})).await.expect(404);
}

#[tokio::test]
async fn a_call_that_cannot_be_ended_here_says_why() {
    let (server, asterisk, _journal) = start().await;
    let staff = server.login("staff").await;
    let unseen = Caller::new();
    let offer = unseen.route(&server.engine).await.offer();
    let path = format!("/api/admin/calls/{}/hangup", offer.call_id);
    let refused = staff.post(&path, json!({})).await.expect(409);
    assert_eq!(refused["code"], "not_seen_yet", "{refused}");

    let (caller, id) = ringing(&server).await;
    let path = format!("/api/admin/calls/{id}/hangup");
    let refused = staff.post(&path, json!({})).await.expect(409);
    assert_eq!(refused["code"], "not_watched_here", "{refused}");

    watch(&server, &asterisk);
    asterisk.set_channels(&listed(&caller, &caller.channel));
    asterisk.make_user_read_only();
    let refused = staff.post(&path, json!({})).await.expect(502);
    assert_eq!(refused["code"], "asterisk_failed");
    staff
        .post("/api/admin/calls/999999/hangup", json!({}))
        .await
        .expect(404);
}

/// A daemon `daemon-b` that watches the Asterisk, which the API's daemon does not.
async fn another_watches(server: &ApiServer, asterisk: &FakeAri) -> Engine {
    server
        .db
        .run(
            "insert into server_observers (server_name, node_name, heartbeat)
             values ('pbx', 'daemon-b', clock_timestamp() + interval '1 hour')",
        )
        .await;
    let engine = engine(&server.db, "daemon-b");
    attach(&engine, asterisk);
    engine
}

#[tokio::test]
async fn a_call_that_another_daemon_watches_is_ended_by_that_daemon() {
    let (server, asterisk, journal) = start().await;
    let other = another_watches(&server, &asterisk).await;
    let (caller, id) = ringing(&server).await;
    asterisk.set_channels(&listed(&caller, &caller.channel));
    let (alice, staff) = (server.login("alice").await, server.login("staff").await);
    let working = {
        let other = other.clone();
        tokio::spawn(async move {
            loop {
                other.carry_out_orders().await.expect("works");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
    };
    let own = format!("/api/seller/calls/{id}/hangup");
    let told = alice.post(&own, json!({"reason": "Abuse"})).await;
    assert_eq!(told.expect(200), json!({"callId": id, "hungUp": true}));
    let order = format!("DELETE /ari/channels/{}?reason=normal", caller.uniqueid);
    journal.wait_for(&order, 1).await;
    let any = format!("/api/admin/calls/{id}/hangup");
    asterisk.set_channels("[]");
    let told = staff.post(&any, json!({})).await.expect(200);
    assert_eq!(told["hungUp"], false);
    asterisk.set_channels(&listed(&caller, &caller.channel));
    asterisk.make_user_read_only();
    let refused = staff.post(&any, json!({})).await.expect(502);
    assert_eq!(refused["code"], "asterisk_failed");
    working.abort();
    let audited: i64 = server
        .db
        .one("select count(*) from audit_log where action = 'hang_up'")
        .await;
    assert_eq!(audited, 3);
}

#[tokio::test]
async fn an_order_that_nobody_takes_in_time_is_never_carried_out() {
    let (server, asterisk, journal) = start().await;
    let other = another_watches(&server, &asterisk).await;
    let (caller, id) = ringing(&server).await;
    asterisk.set_channels(&listed(&caller, &caller.channel));
    let staff = server.login("staff").await;
    let asked = std::time::Instant::now();
    let path = format!("/api/admin/calls/{id}/hangup");
    let refused = staff.post(&path, json!({})).await.expect(504);
    assert_eq!(refused["code"], "order_not_taken", "{refused}");
    assert!(asked.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!(other.carry_out_orders().await.expect("works"), 0);
    // Nor does a daemon take one while another machine has its Asterisk's name.
    server
        .db
        .run(
            "insert into hangup_orders (call_id, server_name, expires_at)
                 select call_id, server_name, now() + interval '1 hour' from calls where server_name is not null;
             update server_observers set contested = true",
        )
        .await;
    assert_eq!(other.carry_out_orders().await.expect("works"), 0);
    server
        .db
        .run("update server_observers set contested = false")
        .await;
    assert_eq!(other.carry_out_orders().await.expect("works"), 1);
    let order = format!("DELETE /ari/channels/{}?reason=normal", caller.uniqueid);
    journal.wait_for(&order, 1).await;
    assert_eq!(
        other.carry_out_orders().await.expect("works"),
        0,
        "taken once"
    );
}

#[tokio::test]
async fn only_the_call_that_was_meant_is_ended() {
    let (server, asterisk, journal) = start().await;
    watch(&server, &asterisk);
    let (caller, id) = ringing(&server).await;
    // A channel of that id and name that was made at another time is another's.
    server
        .db
        .run("update calls set channel_created_at = '2026-01-01T00:00:00Z'")
        .await;
    let made = |at: &str| {
        json!([{"id": caller.uniqueid.as_str(), "name": caller.channel, "state": "Up", "creationtime": at}])
            .to_string()
    };
    asterisk.set_channels(&made("2026-01-02T00:00:00.000+0000"));
    let staff = server.login("staff").await;
    let path = format!("/api/admin/calls/{id}/hangup");
    let told = staff.post(&path, json!({})).await.expect(200);
    assert_eq!(told["hungUp"], false);
    asterisk.set_channels(&made("2026-01-01T00:00:00.000+0000"));
    // The call ends between being found and being ended, and its channel carries the next one.
    let found = server.engine.find_to_hang_up(Reach::Everything, CallId(id));
    let order = found.await.expect("looks").expect("finds");
    caller.end(&server.engine, Some(DialStatus::Cancel)).await;
    caller.route(&server.engine).await.offer();
    let done = order.carry_out(&server.engine).await.expect("looks");
    assert_eq!(done, Ok(false));
    let deleted = format!("DELETE /ari/channels/{}?reason=normal", caller.uniqueid);
    assert_eq!(journal.count(&deleted), 0);
}

#[tokio::test]
async fn a_call_of_a_name_that_two_asterisks_use_is_not_ended() {
    let (server, asterisk, _journal) = start().await;
    watch(&server, &asterisk);
    let (caller, id) = ringing(&server).await;
    asterisk.set_channels(&listed(&caller, &caller.channel));
    let identity = ServerIdentity {
        system_name: Some("pbx-1".to_owned()),
        ..ServerIdentity::default()
    };
    let channels = [live(caller.seen(), true)];
    compare_on(&server.engine, &pbx(), &identity, &channels, None)
        .await
        .expect("compares");
    server
        .db
        .run("update calls set system_name = 'other'")
        .await;
    let staff = server.login("staff").await;
    let path = format!("/api/admin/calls/{id}/hangup");
    let refused = staff.post(&path, json!({})).await.expect(409);
    assert_eq!(refused["code"], "server_contested", "{refused}");
}

async fn said(server: &ApiServer, id: i64) -> String {
    let alice = server.login("alice").await;
    let call = alice
        .get(&format!("/api/seller/logs/{id}"))
        .await
        .expect(200);
    call["hangupBy"].as_str().expect("a word").to_owned()
}

fn asks(engine: &Engine, channel: SeenChannel, soft: bool) {
    engine.sight(&pbx(), &CallFact::HangupRequested { channel, soft });
}

fn answers(engine: &Engine, caller: &Caller, endpoint: &str) {
    let fact = CallFact::Answered {
        caller: caller.seen(),
        endpoint: endpoint.to_owned(),
    };
    engine.sight(&pbx(), &fact);
}

fn goes(engine: &Engine, channel: SeenChannel) {
    engine.sight(
        &pbx(),
        &CallFact::Gone {
            channel,
            cause: None,
        },
    );
}

#[tokio::test]
async fn who_asked_first_for_the_end_is_said_to_have_hung_up() {
    let (server, _asterisk, _journal) = start().await;
    let engine = &server.engine;
    for (side, expected) in [
        ("caller", "caller"),
        ("target", "target"),
        ("soft", "system"),
    ] {
        let (caller, id) = ringing(&server).await;
        let leg = caller.leg("client1");
        answers(engine, &caller, "client1");
        match side {
            "target" => {
                asks(engine, leg.clone(), false);
                // What follows from it is no wish of its own.
                asks(engine, caller.seen(), true);
            }
            soft => asks(engine, caller.seen(), soft == "soft"),
        }
        goes(engine, leg);
        goes(engine, caller.seen());
        caller.end(engine, Some(DialStatus::Answer)).await;
        assert_eq!(said(&server, id).await, expected, "{side}");
    }
}

#[tokio::test]
async fn a_target_that_declines_has_not_ended_the_call() {
    let (server, _asterisk, _journal) = start().await;
    let engine = &server.engine;
    let (caller, id) = ringing(&server).await;
    asks(engine, caller.leg("client1"), false);
    goes(engine, caller.leg("client1"));
    let second = caller.route_after(engine, DialStatus::Busy).await.offer();
    caller.dials(engine, &second.endpoint);
    answers(engine, &caller, &second.endpoint);
    asks(engine, caller.seen(), false);
    goes(engine, caller.leg(&second.endpoint));
    caller.end(engine, Some(DialStatus::Answer)).await;
    assert_eq!(said(&server, id).await, "caller");
}

#[tokio::test]
async fn what_was_not_seen_is_not_guessed() {
    let (server, _asterisk, _journal) = start().await;
    let engine = &server.engine;
    // No observer.
    let caller = Caller::new();
    let id = caller.route(engine).await.offer().call_id.0;
    caller.end(engine, Some(DialStatus::Answer)).await;
    assert_eq!(said(&server, id).await, "unknown");
    // The dialplan's own word.
    let caller = Caller::new();
    let id = caller.route(engine).await.offer().call_id.0;
    caller.end(engine, Some(DialStatus::Cancel)).await;
    assert_eq!(said(&server, id).await, "caller");
    // Refused, and nobody else asked.
    let caller = Caller::new();
    caller.appears(engine);
    let first = caller.route(engine).await.offer();
    goes(engine, caller.leg(&first.endpoint));
    caller.route_after(engine, DialStatus::Busy).await.offer();
    let Verdict::Reject(refusal) = caller.route_after(engine, DialStatus::Busy).await else {
        panic!("there is a third target");
    };
    let report = caller.report(None, Dialled::Nothing);
    engine.end(report).await.expect("settles");
    assert_eq!(said(&server, refusal.call_id.0).await, "system");
    // Under way, before its end.
    let listed = server.login("staff").await;
    listed
        .get("/api/admin/calls?state=talking&client_id=1")
        .await
        .expect(200);
}
