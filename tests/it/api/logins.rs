//! Who may try a password: nobody locks another out, and nobody finds out who has an account.

use std::time::{Duration, Instant};

use capconduit::domain::network::{ForwardedHeader, Network};
use capconduit::http::api::Settings;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::api::{Answer, ApiClient, ApiServer, PASSWORD, settings};

const LOGIN: &str = "/api/auth/login";

async fn login(client: &ApiClient, username: &str, password: &str) -> Answer {
    let body = json!({"username": username, "password": password});
    client.post(LOGIN, body).await
}

/// Behind a proxy of ours, so that a client can come from anywhere.
async fn start() -> ApiServer {
    ApiServer::start_with(behind_proxy()).await
}

fn behind_proxy() -> Settings {
    Settings {
        trusted_proxies: vec![Network::parse("127.0.0.0/8").expect("a network")],
        ..settings()
    }
}

fn from(server: &ApiServer, address: &str) -> ApiClient {
    server.anonymous().with_header("x-forwarded-for", address)
}

async fn fail(client: &ApiClient, username: &str, times: usize) {
    for _ in 0..times {
        login(client, username, "wrong").await.expect(401);
    }
}

fn minutes_of(answer: Answer) -> (u64, Value) {
    let wait = answer.header("retry-after").expect("a time").parse();
    (wait.expect("seconds"), answer.expect(429))
}

#[tokio::test]
async fn who_fails_at_an_account_locks_only_its_own_network_out() {
    let server = start().await;
    let thief = from(&server, "203.0.113.9");
    fail(&thief, "admin", 5).await;
    let (wait, body) = minutes_of(login(&thief, "admin", PASSWORD).await);
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(body["code"], "too_many_failed_logins");
    let told = body["message"].as_str().expect("a text");
    assert!(
        told.contains("seconds") || told.contains("minute"),
        "{told}"
    );
    login(&from(&server, "203.0.113.77"), "admin", PASSWORD)
        .await
        .expect(429);
    // Elsewhere, and at other accounts, nobody is concerned.
    login(&from(&server, "198.51.100.1"), "admin", PASSWORD)
        .await
        .expect(200);
    login(&thief, "alice", PASSWORD).await.expect(200);
    let told: String = server
        .db
        .one(
            "select actor || ' ' || object_type || ' ' || object_id || ' ' || coalesce(user_id::text, '-') || ' ' ||
                    (after ->> 'network') from audit_log where action = 'lock'",
        )
        .await;
    assert_eq!(told, "login user 1 - 203.0.113.0/24");
}

#[tokio::test]
async fn a_browser_that_logged_in_before_has_its_own_way_in() {
    let server = start().await;
    let office = from(&server, "203.0.113.9");
    let first = login(&office, "alice", PASSWORD).await;
    let device = first.cookie("device").expect("a cookie").to_owned();
    fail(&office, "alice", 5).await;
    login(&office, "alice", PASSWORD).await.expect(429);
    let browser = office.with_header("cookie", &format!("device={device}"));
    let answer = login(&browser, "alice", PASSWORD).await;
    assert_eq!(answer.cookie("device"), None, "it has one already");
    answer.expect(200);
    // It is known at this account only, has a count of its own, and falls back to the network's.
    fail(&browser, "bob", 5).await;
    login(&browser, "bob", PASSWORD).await.expect(429);
    fail(&browser, "alice", 5).await;
    login(&browser, "alice", PASSWORD).await.expect(200);
    server
        .db
        .run("delete from login_failures where subject like 'device:%'")
        .await;
    fail(&office, "alice", 5).await;
    fail(&browser, "alice", 5).await;
    login(&browser, "alice", PASSWORD).await.expect(429);
    let kept: i64 = server
        .db
        .one("select count(*) from login_devices where length(token_hash) = 32")
        .await;
    assert_eq!(kept, 1, "only a hash is kept, once");
}

#[tokio::test]
async fn failures_from_everywhere_slow_an_account_down_and_lock_nobody_out() {
    let server = start().await;
    for n in 0..7 {
        fail(&from(&server, &format!("198.51.{n}.1")), "alice", 1).await;
    }
    let began = Instant::now();
    login(&from(&server, "203.0.113.9"), "alice", PASSWORD)
        .await
        .expect(200);
    // 7 failures with 5 allowed: 250 ms, twice doubled.
    assert!(began.elapsed() >= Duration::from_secs(1));
    let began = Instant::now();
    login(&from(&server, "203.0.113.9"), "bob", PASSWORD)
        .await
        .expect(200);
    assert!(began.elapsed() < Duration::from_secs(1) || cfg!(debug_assertions));
}

#[tokio::test]
async fn other_requests_of_an_address_keep_nobody_from_logging_in() {
    let server = ApiServer::start_with(Settings {
        anonymous_requests_per_minute: 12,
        ..settings()
    })
    .await;
    let anonymous = server.anonymous();
    let mut refused = false;
    for _ in 0..8 {
        refused |= anonymous.get("/api/auth/status").await.status == 429;
    }
    assert!(refused);
    login(&anonymous, "alice", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn an_administrator_unlocks_an_account() {
    let server = start().await;
    let thief = from(&server, "203.0.113.9");
    fail(&thief, "alice", 5).await;
    login(&thief, "alice", PASSWORD).await.expect(429);
    let admin = server.login("admin").await;
    for client in [server.login("staff").await, server.login("bob").await] {
        let refused = client.post("/api/admin/users/3/unlock", json!(null)).await;
        refused.expect(403);
    }
    let unlock = async |id: &str| {
        let path = format!("/api/admin/users/{id}/unlock");
        admin.post(&path, json!(null)).await
    };
    unlock("99").await.expect(404);
    let told = unlock("3").await.expect(200);
    assert!(
        told["message"]
            .as_str()
            .is_some_and(|t| t.contains("Unlocked")),
        "{told}"
    );
    login(&thief, "alice", PASSWORD).await.expect(200);
    let audited: String = server
        .db
        .one("select actor || ' ' || object_id || ' ' || user_id from audit_log where action = 'unlock'")
        .await;
    assert_eq!(audited, "admin 3 3");
}

/// The longest of some wrong logins at once, and how many were looked at.
async fn longest(client: &ApiClient, username: &str) -> Duration {
    let one = async || {
        let began = Instant::now();
        login(client, username, "wrong").await.expect(401);
        began.elapsed()
    };
    let times = join_all((0..8).map(|_| one())).await;
    times.into_iter().max().expect("some")
}

#[tokio::test]
async fn time_tells_nothing_about_the_kind_of_a_hash() {
    let server = ApiServer::start_with(Settings {
        login_attempts: 1_000,
        ..settings()
    })
    .await;
    let hash = bcrypt::hash_with_salt("password", 12, [1; 16]).expect("a hash");
    server
        .db
        .run(&format!(
            "update users set password_hash = '{hash}' where username = 'alice'"
        ))
        .await;
    let anonymous = server.anonymous();
    // Where time told, eight of bcrypt would take several times as long as eight of Argon2.
    let migrated = longest(&anonymous, "alice").await;
    let ours = longest(&anonymous, "bob").await;
    let nobodys = longest(&anonymous, "nobody").await;
    for (one, other) in [(migrated, ours), (migrated, nobodys), (ours, nobodys)] {
        let ratio = one.as_secs_f64() / other.as_secs_f64();
        assert!(
            (0.4..2.5).contains(&ratio),
            "{migrated:?} {ours:?} {nobodys:?}"
        );
    }
}

#[tokio::test]
async fn proxies_name_who_asked_them_in_one_header_with_or_without_port() {
    let address_of = async |settings: Settings, headers: &[(&str, &str)]| -> String {
        let server = ApiServer::start_with(settings).await;
        let mut client = server.anonymous();
        for (name, value) in headers {
            client = client.with_header(name, value);
        }
        login(&client, "alice", PASSWORD).await.expect(200);
        server
            .db
            .one::<String>("select address from sessions")
            .await
    };
    let x = "x-forwarded-for";
    assert_eq!(
        address_of(behind_proxy(), &[(x, "203.0.113.9:5678")]).await,
        "203.0.113.9"
    );
    assert_eq!(
        address_of(
            behind_proxy(),
            &[
                (x, "6.6.6.6, [2001:db8::9]:80, 127.0.0.7"),
                ("forwarded", "for=7.7.7.7")
            ]
        )
        .await,
        "2001:db8::9"
    );
    let forwarded = || Settings {
        forwarded_header: ForwardedHeader::Forwarded,
        ..behind_proxy()
    };
    assert_eq!(
        address_of(
            forwarded(),
            &[
                (x, "7.7.7.7"),
                ("forwarded", "for=\"[2001:db8::9]:4711\";proto=https")
            ]
        )
        .await,
        "2001:db8::9"
    );
}

#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_noticed() {
    let plain = settings();
    let seen = plain.untrusted_proxy.clone();
    let server = ApiServer::start_with(plain).await;
    server.login("alice").await;
    assert_eq!(seen.seen(), None);
    login(&from(&server, "203.0.113.9"), "alice", PASSWORD)
        .await
        .expect(200);
    assert_eq!(seen.seen(), Some("127.0.0.1".parse().expect("an address")));
}
