//! The stream of what happens to calls.

use std::time::{Duration, Instant};

use capconduit::domain::{CallFact, DialStatus};
use capconduit::http;
use capconduit::routing::{Engine, Offer};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::api::{ApiClient, ApiServer, settings};
use crate::support::world::{Caller, VerdictExt, engine, server as pbx};
use crate::support::{PATIENCE, TestDb};

const ALICE: &str = "+18005550101";
const BOB: &str = "+18005550102";
const EVENTS: &str = "/api/events";

/// A campaign of a seller with a DID and links to these clients, which are made where missing.
pub async fn sellers_campaign(db: &TestDb, user: i32, did: &str, clients: &[i32]) {
    db.run(&format!(
        "insert into dids (number, user_id, status) values ('{did}', {user}, 'active');
         insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
             values ({user}, 'campaign of {user}', 'active', 'priority', 20);
         insert into campaign_dids
             select max(c.id), max(d.id) from campaigns c, dids d where c.user_id = {user} and d.user_id = {user}"
    ))
    .await;
    for client in clients {
        db.run(&format!(
            "insert into clients (id, client_identifier, name, status)
                 values ({client}, 'client{client}', 'Client {client}', 'active') on conflict do nothing;
             insert into pjsip_endpoints (id, client_id, context)
                 values ('client{client}', {client}, 'none') on conflict do nothing;
             insert into pjsip_aors (id, client_id, contact)
                 values ('client{client}', {client}, 'sip:127.0.0.1:5999') on conflict do nothing;
             insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency,
                     forwarding_priority, weight)
                 select id, {client}, 'active', 100, 0, 1 from campaigns where user_id = {user}"
        ))
        .await;
    }
}

/// The target of an offer answers.
pub async fn confirm(engine: &Engine, caller: &Caller, offer: &Offer) {
    let fact = CallFact::Answered {
        caller: caller.seen(),
        endpoint: offer.endpoint.clone(),
    };
    let heard = std::time::Instant::now();
    engine.observe(&pbx(), fact, heard).await.expect("observes");
}

/// A stream being read.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(client: &ApiClient) -> Self {
        let response = request(client).await;
        assert_eq!(response.status(), 200);
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event: name, data, id. None when the stream ends. Comments are skipped.
    async fn next(&mut self) -> Option<(String, Value, Option<String>)> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let mut lines = block.lines();
                    lines.find_map(|line| Some(line.strip_prefix(name)?.trim_start().to_owned()))
                };
                if let Some(name) = field("event:") {
                    let data = serde_json::from_str(&field("data:").expect("data"));
                    return Some((name, data.expect("JSON"), field("id:")));
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("something within a minute") {
                Ok(Some(chunk)) => self
                    .text
                    .push_str(std::str::from_utf8(&chunk).expect("text")),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    async fn expect(&mut self, name: &str) -> Value {
        // Comments show that it is alive, for ever.
        let next = tokio::time::timeout(PATIENCE, self.next()).await;
        let (event, data, _) = next.expect(name).expect("the stream goes on");
        assert_eq!(event, name, "{data}");
        data
    }
}

async fn request(client: &ApiClient) -> reqwest::Response {
    let mut request = client.http.get(format!("{}{EVENTS}", client.base));
    for (name, value) in &client.headers {
        request = request.header(name, value);
    }
    request.send().await.expect("an answer")
}

#[tokio::test]
async fn a_call_is_followed_from_start_to_end() {
    let server = ApiServer::start().await;
    sellers_campaign(&server.db, 3, ALICE, &[1]).await;
    // Another daemon on the same database.
    let engine = engine(&server.db, "node-b");
    let response = request(&server.login("alice").await).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    drop(response);
    let mut stream = Stream::open(&server.login("alice").await).await;
    assert_eq!(stream.expect("snapshot").await["calls"], json!([]));

    let caller = Caller::new().dialling(ALICE);
    let offer = caller.route(&engine).await.offer();
    let (name, started, id) = stream.next().await.expect("an event");
    assert_eq!(name, "call.started");
    assert_eq!(started["callId"], offer.call_id.0);
    assert_eq!(started["did"], ALICE);
    assert_eq!(started["callerNumber"], "+15550001111");
    assert_eq!(started["campaignId"], 1);
    assert!(started["at"].is_string());
    let (name, offered, next_id) = stream.next().await.expect("an event");
    assert_eq!(name, "call.offered");
    assert_eq!(
        (&offered["clientId"], &offered["attempt"]),
        (&json!(1), &json!(1))
    );
    assert!(id.is_some() && id != next_id, "{id:?} {next_id:?}");

    confirm(&engine, &caller, &offer).await;
    assert_eq!(stream.expect("call.answered").await["clientId"], 1);
    // Who comes now sees it in the snapshot.
    let mut late = Stream::open(&server.login("alice").await).await;
    let snapshot = late.expect("snapshot").await;
    assert_eq!(snapshot["calls"][0]["callId"], offer.call_id.0);
    assert_eq!(snapshot["calls"][0]["state"], "talking");

    caller.end(&engine, Some(DialStatus::Answer)).await;
    for stream in [&mut stream, &mut late] {
        let ended = stream.expect("call.ended").await;
        assert_eq!(ended["status"], "ANSWERED");
        assert_eq!(ended["callId"], offer.call_id.0);
        assert_eq!(ended["clientId"], 1);
    }
}

#[tokio::test]
async fn sellers_hear_of_their_own_calls_and_staff_of_all() {
    let server = ApiServer::start().await;
    sellers_campaign(&server.db, 3, ALICE, &[1]).await;
    sellers_campaign(&server.db, 4, BOB, &[1]).await;
    let engine = engine(&server.db, "node-b");
    let bobs = Caller::new().dialling(BOB);
    let bobs_id = bobs.route(&engine).await.offer().call_id.0;

    let mut alice = Stream::open(&server.login("alice").await).await;
    let mut bob = Stream::open(&server.login("bob").await).await;
    let mut staff = Stream::open(&server.login("staff").await).await;
    assert_eq!(alice.expect("snapshot").await["calls"], json!([]));
    assert_eq!(bob.expect("snapshot").await["calls"][0]["callId"], bobs_id);
    assert_eq!(
        staff.expect("snapshot").await["calls"][0]["callId"],
        bobs_id
    );

    bobs.end(&engine, Some(DialStatus::NoAnswer)).await;
    assert_eq!(staff.expect("call.ended").await["status"], "NOANSWER");
    assert_eq!(bob.expect("call.ended").await["callId"], bobs_id);
    // A call refused for want of a DID is nobody's, one to Alice's number hers.
    let nobodys = Caller::new().dialling("+19995550000");
    nobodys.route(&engine).await.refusal();
    nobodys.end(&engine, None).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(staff.next().await.expect("an event"));
    }
    assert_eq!(seen[1].0, "call.ended");
    assert_eq!(seen[1].1["reason"], "did_not_found");
    let alices = Caller::new().dialling(ALICE);
    let id = alices.route(&engine).await.offer().call_id.0;
    assert_eq!(alice.expect("call.started").await["callId"], id);
    assert_eq!(staff.expect("call.started").await["callId"], id);
    assert_eq!(staff.expect("call.offered").await["callId"], id);
    // Bob's next word is of his own next call.
    let bobs = Caller::new().dialling(BOB);
    let id = bobs.route(&engine).await.offer().call_id.0;
    assert_eq!(bob.expect("call.started").await["callId"], id);
}

#[tokio::test]
async fn an_account_has_ten_streams_and_gets_the_place_of_a_closed_one_back() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(Stream::open(&alice).await);
    }
    let refused = alice.get(EVENTS).await;
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.expect(429)["code"], "too_many_streams");
    Stream::open(&server.login("bob").await).await;
    streams.pop();
    crate::support::eventually("a place is free again", || async {
        request(&alice).await.status() == 200
    })
    .await;
    server.anonymous().get(EVENTS).await.expect(401);
}

#[tokio::test]
async fn a_stream_ends_with_its_login() {
    let server = ApiServer::start().await;
    let mut stream = Stream::open(&server.login("alice").await).await;
    stream.expect("snapshot").await;
    server
        .db
        .run("update users set status = 'suspended' where username = 'alice'")
        .await;
    let asked = Instant::now();
    assert_eq!(stream.next().await, None);
    assert!(asked.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn streams_end_when_the_daemon_drains() {
    let other = ApiServer::start().await;
    let listener = http::bind("127.0.0.1:0".parse().expect("address"), "http.listen").await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let end = CancellationToken::new();
    let router = http::api::router(other.db.store(), engine(&other.db, "api"), None, settings());
    let limits = http::Limits {
        // Far longer than the test may take: streams end by themselves, they are not cut off.
        drain: Duration::from_secs(600),
        ..http::Limits::API
    };
    let served = tokio::spawn(http::serve(listener, router, limits, end.clone()));
    let mut alice = other.login("alice").await;
    alice.base = format!("http://{address}");
    let mut stream = Stream::open(&alice).await;
    stream.expect("snapshot").await;
    end.cancel();
    assert_eq!(stream.next().await, None);
    let drained = tokio::time::timeout(Duration::from_secs(5), served).await;
    drained.expect("drains at once").expect("without panic");
}

#[tokio::test]
async fn a_stream_that_cannot_keep_up_is_told_so_and_goes_on() {
    let server = ApiServer::start().await;
    let mut stream = Stream::open(&server.login("alice").await).await;
    stream.expect("snapshot").await;
    // More news at once than are kept.
    server
        .db
        .run(
            "insert into calls (asterisk_uniqueid, asterisk_linkedid, channel, node_name, user_id,
                 incoming_did_number, started_at, expires_at)
             select n, n, 'c', 'n', 3, '+1', now(), now() + interval '1 hour'
             from generate_series(1, 5000) n",
        )
        .await;
    let missed = stream.expect("lagged").await["missed"].as_i64();
    assert!(missed >= Some(900), "{missed:?}");
    let snapshot = stream.expect("snapshot").await;
    assert_eq!(snapshot["calls"].as_array().map(Vec::len), Some(5_000));
    server
        .db
        .run("update calls set ended_at = now() where call_id = 7")
        .await;
    assert_eq!(stream.expect("call.ended").await["callId"], 7);
}

#[tokio::test]
async fn who_looks_at_a_catalogue_is_told_of_its_changes_and_of_nobody_elses() {
    let server = ApiServer::start().await;
    let (admin, alice, bob) = (
        server.login("admin").await,
        server.login("alice").await,
        server.login("bob").await,
    );
    let old = alice
        .post("/api/seller/dids", json!({"number": ALICE}))
        .await;
    old.expect(201);
    let mut streams = [
        Stream::open(&admin).await,
        Stream::open(&alice).await,
        Stream::open(&bob).await,
    ];
    for stream in &mut streams {
        stream.expect("snapshot").await;
    }
    let [all, hers, his] = &mut streams;
    let made = bob.post("/api/seller/dids", json!({"number": BOB})).await;
    let made = made.expect(201)["id"].to_string();
    let did = json!({"number": "+18005550103", "userId": 3});
    let given = admin.post("/api/admin/dids", did).await.expect(201)["id"].to_string();
    // What was before a stream is not told; nor what is another's.
    for (stream, expected) in [
        (all, vec![(&made, "bob"), (&given, "admin")]),
        (hers, vec![(&given, "admin")]),
        (his, vec![(&made, "bob")]),
    ] {
        for (id, actor) in expected {
            let change = stream.expect("catalogue.changed").await;
            assert_eq!(change["objectType"], "did", "{change}");
            assert_eq!(change["objectId"], json!(id));
            assert_eq!(
                (&change["actor"], &change["action"]),
                (&json!(actor), &json!("create"))
            );
        }
    }
}
