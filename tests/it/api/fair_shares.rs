//! No account and no address takes the API from the others.

use std::time::Duration;

use capconduit::domain::network::Network;
use capconduit::http;
use capconduit::http::api::Settings;
use futures_util::future::join_all;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::api::{ApiClient, ApiServer, INTERNAL_TOKEN, settings};
use crate::support::eventually;
use crate::support::world::engine;

const STATUS: &str = "/api/auth/status";
const DIDS: &str = "/api/seller/dids";
const SEARCH: &str = "/api/seller/logs?q=zzz";
const EXPORT: &str = "/api/seller/logs/export";

/// A connection that asked for something and reads when it likes.
struct Reader(TcpStream);

impl Reader {
    async fn open(server: &ApiServer, client: &ApiClient, path: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // What it does not read is left to the daemon.
        socket.set_recv_buffer_size(32 * 1024).expect("is set");
        let mut stream = socket.connect(server.address).await.expect("connects");
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n");
        for (name, value) in &client.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.expect("writes");
        Self(stream)
    }

    /// The first line of the answer; reads no more than it must.
    async fn status(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.expect("a byte"));
        }
        String::from_utf8(line).expect("text")
    }

    /// Reads to the end, slowly; whether the answer was whole.
    async fn rest(&mut self) -> bool {
        let mut last = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match self.0.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    last.extend_from_slice(&buffer[..read]);
                    let keep = last.len().saturating_sub(16);
                    last.drain(..keep);
                }
            }
        }
        last.ends_with(b"\r\n0\r\n\r\n")
    }
}

/// So many calls of Alice that no socket buffer takes their export whole.
pub(super) async fn many_calls(server: &ApiServer) {
    server
        .db
        .run(
            "insert into call_logs (id, user_id, incoming_did_number, caller_id_num, caller_id_name, timestamp_start,
                    timestamp_end, duration_seconds, billsec_seconds, call_status, asterisk_uniqueid, asterisk_linkedid)
             select nextval('call_logs_id_seq'), 3, '+18005550101', '+15550001111', repeat('x', 80),
                    now() - n * interval '1 second', now(), 60, 50, 'ANSWERED', 'u' || n, 'u' || n
             from generate_series(1, 60000) n",
        )
        .await;
}

#[tokio::test]
async fn heavy_requests_of_one_seller_keep_nobody_else_waiting() {
    let server = ApiServer::start().await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    // Whoever looks into the log waits.
    server
        .db
        .run("begin; lock table call_logs in access exclusive mode")
        .await;
    let flood = tokio::spawn({
        let alice = alice.clone();
        async move { join_all((0..64).map(|_| alice.get(SEARCH))).await }
    });
    for n in 0..20 {
        bob.get(DIDS).await.expect(200);
        bob.get(STATUS).await.expect(200);
        if n % 5 == 0 {
            server.login("bob").await;
        }
    }
    // There is room for another's search, too: it waits for the table, not for Alice.
    let search = tokio::spawn({
        let bob = bob.clone();
        async move { bob.get(SEARCH).await }
    });
    // Alice's other requests are as they were.
    alice.get(DIDS).await.expect(200);
    server.db.run("rollback").await;
    search.await.expect("no panic").expect(200);
    let answers = flood.await.expect("no panic");
    let refused: Vec<_> = answers.iter().filter(|a| a.status == 429).collect();
    assert!(refused.len() >= 10, "{}", refused.len());
    for answer in refused {
        assert_eq!(answer.body["code"], "too_many_at_once");
        assert!(answer.header("retry-after").is_some());
    }
    eventually("Alice may search again", async || {
        alice.get(SEARCH).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn an_exhausted_pool_is_not_called_a_lost_database() {
    let server = ApiServer::start().await;
    let sellers = ["alice", "bob", "staff", "admin"];
    let mut clients = Vec::new();
    for name in sellers {
        clients.push(server.login(name).await);
    }
    server
        .db
        .run("begin; lock table dids in access exclusive mode")
        .await;
    // Four of each account take all eight connections, for the two seconds that a lock is waited for.
    let waiting: Vec<_> = clients
        .iter()
        .flat_map(|client| (0..4).map(move |_| client))
        .map(|client| {
            let client = client.clone();
            let path =
                if client.headers == clients[2].headers || client.headers == clients[3].headers {
                    "/api/admin/dids/1"
                } else {
                    DIDS
                };
            tokio::spawn(async move { client.get(path).await })
        })
        .collect();
    let answers: Vec<_> = join_all(waiting)
        .await
        .into_iter()
        .map(|answer| answer.expect("no panic"))
        .collect();
    server.db.run("rollback").await;
    let overloaded = answers
        .iter()
        .find(|answer| answer.body["code"] == "overloaded")
        .expect("one that found no connection");
    assert_eq!(overloaded.status, 503);
    assert!(overloaded.header("retry-after").is_some());
    let told = overloaded.body["message"].as_str().expect("a text");
    assert!(!told.contains("database"), "{told}");
}

#[tokio::test]
async fn one_reader_does_not_take_all_exports() {
    let server = ApiServer::start().await;
    many_calls(&server).await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut reader = Reader::open(&server, &alice, EXPORT).await;
        assert!(reader.status().await.contains("200"));
        slow.push(reader);
    }
    let refused = alice.get(EXPORT).await;
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.expect(429)["code"], "too_many_exports");
    bob.get(EXPORT).await.expect(200);
    slow.pop();
    eventually("a place is free", async || {
        let mut reader = Reader::open(&server, &alice, EXPORT).await;
        reader.status().await.contains("200")
    })
    .await;
    assert!(slow[0].rest().await, "who reads gets it whole");
}

#[tokio::test]
async fn what_is_being_sent_ends_with_the_login_though_nobody_reads_it() {
    let server = ApiServer::start().await;
    many_calls(&server).await;
    let stolen = server.login("alice").await;
    let own = server.login("alice").await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut reader = Reader::open(&server, &stolen, EXPORT).await;
        assert!(reader.status().await.contains("200"));
        slow.push(reader);
    }
    own.get(EXPORT).await.expect(429);
    server
        .db
        .run("delete from sessions where session_id = (select min(session_id) from sessions)")
        .await;
    // Nothing is read meanwhile: both places are free because both exports were broken off.
    eventually("both exports have been broken off", async || {
        let mut both = Vec::new();
        for _ in 0..2 {
            let mut reader = Reader::open(&server, &own, EXPORT).await;
            both.push(reader.status().await.contains("200"));
        }
        both == [true, true]
    })
    .await;
    for mut reader in slow {
        assert!(!reader.rest().await, "it is not whole");
    }
}

#[tokio::test]
async fn unknown_tokens_are_not_looked_up_again_and_again() {
    let server = ApiServer::start().await;
    let hash: [u8; 32] = Sha256::digest(b"made up").into();
    let mut stranger = server.anonymous();
    stranger.headers = vec![("cookie".into(), "session=made up".into())];
    stranger.get(STATUS).await.expect(401);
    // Were it looked up, it would be found now.
    let hex = capconduit::runtime::digest::hex(&hash);
    server
        .db
        .run(&format!(
            "insert into sessions (user_id, token_hash, remember_hash, idle_expires_at, expires_at,
                    remember_expires_at, address, user_agent)
             values (3, '\\x{hex}', '\\x00', 'infinity', 'infinity', 'infinity', '', '')"
        ))
        .await;
    stranger.get(STATUS).await.expect(401);
    let (other, _end) = server.second(settings()).await;
    let mut known = other;
    known.headers.clone_from(&stranger.headers);
    known.get(STATUS).await.expect(200);
}

#[tokio::test]
async fn who_guesses_tokens_is_stopped_before_the_database_and_stops_nobody_known() {
    let server = ApiServer::start_with(Settings {
        anonymous_requests_per_minute: 60,
        ..settings()
    })
    .await;
    let alice = server.login("alice").await;
    alice.get(STATUS).await.expect(200);
    let mut refused = 0;
    for n in 0..40 {
        let mut stranger = server.anonymous();
        stranger.headers = vec![("cookie".into(), format!("session=guess-{n}"))];
        let answer = stranger.get(STATUS).await;
        if answer.status == 429 {
            refused += 1;
            assert!(answer.header("retry-after").is_some());
        }
    }
    assert!(refused >= 20, "{refused}");
    alice.get(STATUS).await.expect(200);
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_a_trusted_proxy_as_many_as_there_are() {
    let server = ApiServer::start().await;
    for (exempt, open) in [(vec![], 4), (vec!["127.0.0.0/8"], 8)] {
        let listener = http::bind("127.0.0.1:0".parse().expect("address"), "http.listen").await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let end = CancellationToken::new();
        let router = http::api::router(
            server.db.store(),
            engine(&server.db, "api"),
            None,
            settings(),
        );
        let limits = http::Limits {
            from_one: 4,
            header_timeout: Duration::from_secs(600),
            exempt: exempt
                .iter()
                .map(|text| Network::parse(text).expect("a network"))
                .collect(),
            ..http::Limits::API
        };
        tokio::spawn(http::serve(listener, router, limits, end.clone()));
        let _end = end.drop_guard();
        let mut kept = Vec::new();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            let asked = stream
                .write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
                .await;
            let mut begin = [0; 12];
            let answered = asked.is_ok() && stream.read_exact(&mut begin).await.is_ok();
            if answered {
                assert_eq!(&begin, b"HTTP/1.1 200");
                kept.push(stream);
            }
        }
        assert_eq!(kept.len(), open);
        drop(kept.pop());
        eventually("a place is free again", async || {
            let Ok(mut stream) = TcpStream::connect(address).await else {
                return false;
            };
            let asked = stream
                .write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
                .await;
            asked.is_ok() && stream.read_u8().await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn programs_may_have_a_listener_of_their_own() {
    let server = ApiServer::start().await;
    let apart = || Settings {
        internal_apart: true,
        ..settings()
    };
    let routers = || {
        let engine = engine(&server.db, "api");
        http::api::routers(server.db.store(), engine, None, apart())
    };
    let serve = async |router, allowed: &[&str]| {
        let listener = http::bind("127.0.0.1:0".parse().expect("address"), "internal.listen").await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let limits = http::Limits {
            allowed: allowed
                .iter()
                .map(|text| Network::parse(text).expect("a network"))
                .collect(),
            ..http::Limits::API
        };
        let end = CancellationToken::new();
        tokio::spawn(http::serve(listener, router, limits, end.clone()));
        (format!("http://{address}"), end.drop_guard())
    };
    let routers = routers();
    let (outside, _outside) = serve(routers.outside, &[]).await;
    let (inside, _inside) = serve(routers.inside.clone(), &["127.0.0.1"]).await;
    let (elsewhere, _elsewhere) = serve(routers.inside, &["192.0.2.0/24"]).await;
    let mut program = server.anonymous();
    program.headers = vec![("x-internal-api-token".into(), INTERNAL_TOKEN.into())];
    let question = "/api/internal/route_info?did=%2B18005550101";
    let ask = async |base: &str, path: &str| {
        let mut program = program.clone();
        program.base = base.to_owned();
        program.get(path).await
    };
    ask(&outside, question).await.expect(404);
    ask(&outside, "/health").await.expect(200);
    let answer = ask(&inside, question).await;
    assert_ne!(answer.body["code"], "not_found", "{}", answer.text);
    ask(&inside, DIDS).await.expect(404);
    ask(&inside, "/api/openapi.json").await.expect(404);
    let refused = program.http.get(format!("{elsewhere}/health")).send().await;
    assert!(refused.is_err(), "it may not connect");
}

#[tokio::test]
async fn refused_requests_are_not_kept() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let keyed = alice.with_header("idempotency-key", "one");
    for _ in 0..2 {
        let answer = keyed.post(DIDS, json!({"number": ""})).await;
        assert_eq!(answer.header("idempotent-replayed"), None);
        answer.expect(400);
    }
    let kept: i64 = server.db.one("select count(*) from idempotency_keys").await;
    assert_eq!(kept, 0);
}
