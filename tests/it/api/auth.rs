//! Login, sessions and what they protect.

use std::time::{Duration, Instant};

use argon2::password_hash::PasswordHasher as _;
use capconduit::domain::network::Network;
use capconduit::http::api::Settings;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Answer, ApiClient, ApiServer, INTERNAL_TOKEN, PASSWORD, settings};
use crate::support::eventually;

const LOGIN: &str = "/api/auth/login";
const STATUS: &str = "/api/auth/status";
const SESSIONS: &str = "/api/auth/sessions";
const DIDS: &str = "/api/seller/dids";

async fn login(client: &ApiClient, username: &str, password: &str) -> Answer {
    let body = json!({"username": username, "password": password});
    client.post(LOGIN, body).await
}

/// A client that sends these cookies.
fn with_cookies(client: &ApiClient, cookies: &str) -> ApiClient {
    let mut client = client.clone();
    client.headers = vec![("cookie".into(), cookies.into())];
    client
}

fn remembered(client: &ApiClient, answer: &Answer) -> ApiClient {
    let token = answer.cookie("remember_token").expect("a remember cookie");
    with_cookies(client, &format!("remember_token={token}"))
}

fn cookies_of(answer: &Answer) -> Vec<&str> {
    let cookies = answer.headers.get_all("set-cookie").iter();
    cookies.map(|c| c.to_str().expect("text")).collect()
}

#[tokio::test]
async fn a_login_opens_a_session_until_logout() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    anonymous.get(STATUS).await.expect(401);
    let answer = login(&anonymous, "alice", PASSWORD).await;
    let cookies = cookies_of(&answer);
    assert_eq!(cookies.len(), 3);
    assert!(cookies[2].starts_with("device=") && cookies[2].contains("Max-Age="));
    assert!(cookies[0].starts_with("session=") && !cookies[0].contains("Max-Age"));
    assert!(cookies[1].starts_with("remember_token=") && cookies[1].contains("Max-Age=864000"));
    for cookie in cookies {
        for attribute in ["; HttpOnly", "; SameSite=Lax", "; Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains("Secure"), "{cookie}");
    }
    assert_eq!(answer.body["user"]["username"], "alice");
    assert!(!answer.text.contains("$argon2"));

    let alice = server.login("alice").await;
    let status = alice.get(STATUS).await.expect(200);
    assert_eq!(status["logged_in"], true);
    let out = alice.post("/api/auth/logout", json!(null)).await;
    let cookies = cookies_of(&out);
    assert_eq!(cookies.len(), 2);
    assert!(cookies.iter().all(|cookie| cookie.contains("Max-Age=0")));
    out.expect(200);
    assert_eq!(alice.get(STATUS).await.expect(401)["code"], "session_ended");
    alice
        .post("/api/auth/logout", json!(null))
        .await
        .expect(401);
    // The other login of the same account lives.
    assert_eq!(
        server.db.one::<i64>("select count(*) from sessions").await,
        1
    );
    let tokens: i64 = server
        .db
        .one("select count(*) from sessions where length(token_hash) = 32 and token_hash <> remember_hash")
        .await;
    assert_eq!(tokens, 1, "only hashes are kept");
}

#[tokio::test]
async fn cookies_are_secure_behind_https() {
    let server = ApiServer::start_with(Settings {
        secure_cookies: true,
        ..settings()
    })
    .await;
    let answer = login(&server.anonymous(), "alice", PASSWORD).await;
    let cookies = cookies_of(&answer);
    assert_eq!(cookies.len(), 3);
    assert!(cookies.iter().all(|cookie| cookie.contains("; Secure")));
}

#[tokio::test]
async fn a_wrong_login_says_nothing() {
    let server = ApiServer::start().await;
    server
        .db
        .run("update users set status = 'suspended' where username = 'bob'")
        .await;
    let anonymous = server.anonymous();
    let mut messages = Vec::new();
    for (username, password) in [
        ("alice", "wrong"),
        ("nobody", PASSWORD),
        ("Alice", PASSWORD),
        ("bob", "wrong"),
        ("alice", ""),
        ("", PASSWORD),
    ] {
        let began = Instant::now();
        let answer = login(&anonymous, username, password).await;
        assert!(answer.headers.get("set-cookie").is_none());
        let body = answer.expect(401);
        assert!(began.elapsed() >= Duration::from_millis(400), "{username}");
        messages.push((body["code"].clone(), body["message"].clone()));
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "{messages:?}");
    let body = login(&anonymous, "bob", PASSWORD).await.expect(401);
    assert_eq!(body["code"], "account_not_active");
}

#[tokio::test]
async fn a_login_is_one_json_object_of_two_texts() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    for body in [
        json!({"username": "alice"}),
        json!({"password": PASSWORD}),
        json!({"username": "alice", "password": null}),
        json!({"username": 7, "password": PASSWORD}),
        json!({"username": "alice", "password": PASSWORD, "remember": true}),
        json!({"username": "al\u{0}ice", "password": PASSWORD}),
        json!({"username": "alice", "password": "a\u{0}"}),
        json!({"username": "x".repeat(501), "password": PASSWORD}),
        json!({"username": "alice", "password": "x".repeat(1001)}),
        json!({}),
        json!([]),
    ] {
        anonymous.post(LOGIN, body).await.expect(400);
    }
    login(&anonymous, &"x".repeat(500), &"x".repeat(1000))
        .await
        .expect(401);
    let body = format!(r#"{{"username": "alice", "password": "{PASSWORD}"}}"#);
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
    ] {
        let answer = anonymous.send_raw(Method::POST, LOGIN, kind, body.clone());
        answer.await.expect(415);
    }
}

#[tokio::test]
async fn bcrypt_hashes_are_taken_and_replaced() {
    let server = ApiServer::start().await;
    let long = "ä".repeat(50);
    let hashes = [
        ("alice", "$2b$", "password"),
        ("bob", "$2a$", "password"),
        ("staff", "$2y$", long.as_str()),
    ];
    for (username, kind, password) in hashes {
        let hash = bcrypt::hash_with_salt(password, 4, [1; 16]).expect("a hash");
        let hash = hash.to_string().replacen("$2b$", kind, 1);
        server
            .db
            .run(&format!(
                "update users set password_hash = '{hash}' where username = '{username}'"
            ))
            .await;
    }
    let anonymous = server.anonymous();
    login(&anonymous, "alice", "passwort").await.expect(401);
    let kept: String = server
        .db
        .one("select password_hash from users where username = 'alice'")
        .await;
    assert!(kept.starts_with("$2b$"), "a wrong password changes nothing");
    for (username, _, password) in hashes {
        // Several at once meet the hash before and after it is replaced.
        let logins = (0..4).map(|_| login(&anonymous, username, password));
        for answer in join_all(logins).await {
            answer.expect(200);
        }
        let kept: String = server
            .db
            .one(&format!(
                "select password_hash from users where username = '{username}'"
            ))
            .await;
        assert!(
            kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{kept}"
        );
        login(&anonymous, username, password).await.expect(200);
    }
}

#[tokio::test]
async fn outdated_argon2_hashes_are_replaced() {
    let server = ApiServer::start().await;
    let params = argon2::Params::new(8 * 1024, 1, 1, None).expect("parameters");
    let weak = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash = weak.hash_password(b"password").expect("a hash");
    server
        .db
        .run(&format!(
            "update users set password_hash = '{hash}' where username = 'alice'"
        ))
        .await;
    login(&server.anonymous(), "alice", "password")
        .await
        .expect(200);
    let kept: String = server
        .db
        .one("select password_hash from users where username = 'alice'")
        .await;
    assert!(kept.contains("m=19456,t=2,p=1"), "{kept}");
}

#[tokio::test]
async fn parallel_logins_each_get_a_session_of_their_own() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let logins = (0..12).map(|_| login(&anonymous, "alice", PASSWORD));
    let mut tokens = Vec::new();
    for answer in join_all(logins).await {
        tokens.push(answer.cookie("session").expect("a session").to_owned());
        answer.expect(200);
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 12);
    // A token that somebody planted before the login stays worthless.
    let planted = with_cookies(&anonymous, "session=planted");
    let answer = login(&planted, "alice", PASSWORD).await;
    assert_ne!(answer.cookie("session"), Some("planted"));
    planted.get(STATUS).await.expect(401);
}

#[tokio::test]
async fn after_too_many_failures_a_network_waits_at_an_account_on_every_daemon() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let (second, _end) = server.second(settings()).await;
    for username in ["alice", "nobody"] {
        for (client, _) in [&anonymous, &second, &anonymous, &second, &anonymous]
            .iter()
            .zip(0..)
        {
            login(client, username, "wrong").await.expect(401);
        }
        for client in [&anonymous, &second] {
            let answer = login(client, username, PASSWORD).await;
            let wait: u64 = answer
                .header("retry-after")
                .expect("a time")
                .parse()
                .expect("s");
            assert!((1..=60).contains(&wait), "{wait}");
            assert_eq!(answer.expect(429)["code"], "too_many_failed_logins");
        }
    }
    login(&anonymous, "bob", PASSWORD).await.expect(200);
    // A restart forgets nothing; the end of the lock does, and a success clears the account.
    let (third, _end) = server.second(settings()).await;
    login(&third, "alice", PASSWORD).await.expect(429);
    server
        .db
        .run("update login_failures set locked_until = now() - interval '1 second' where subject like 'pair:%';
              delete from login_failures where subject like 'account:%'")
        .await;
    for _ in 0..4 {
        login(&third, "alice", "wrong").await.expect(401);
    }
    login(&third, "alice", PASSWORD).await.expect(200);
    for _ in 0..4 {
        login(&third, "alice", "wrong").await.expect(401);
    }
    login(&third, "alice", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_network_waits_that_failed_at_ten_times_as_many_accounts() {
    let server = ApiServer::start_with(Settings {
        login_attempts: 1,
        ..settings()
    })
    .await;
    let anonymous = server.anonymous();
    for n in 0..10 {
        login(&anonymous, &format!("name{n}"), "wrong")
            .await
            .expect(401);
    }
    let refused = login(&anonymous, "alice", PASSWORD).await.expect(429);
    assert!(
        refused["message"]
            .as_str()
            .is_some_and(|text| text.contains("from your network")),
        "{refused}"
    );
    assert_eq!(
        server
            .db
            .one::<String>(
                "select object_type || ' ' || object_id from audit_log where action = 'lock'"
            )
            .await,
        "network 127.0.0.0/24"
    );
    let subject: String = server
        .db
        .one("select subject from login_failures where subject like 'network:%'")
        .await;
    assert_eq!(subject, "network:127.0.0.0/24");
}

#[tokio::test]
async fn guesses_at_once_pass_no_limit() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let guesses = (0..12).map(|_| login(&anonymous, "alice", "wrong"));
    let answers = join_all(guesses).await;
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    assert!(answers.iter().all(|a| [401, 429].contains(&a.status)));
    let at_once = capconduit::accounts::password::workers();
    assert!((5..5 + at_once).contains(&looked_at), "{looked_at}");
}

#[tokio::test]
async fn a_session_ends_when_unused_and_at_its_age_and_with_its_account() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let touched = "update sessions set last_seen_at = now() - interval '59 seconds'";
    server.db.run(touched).await;
    let xmin: i64 = server
        .db
        .one("select xmin::text::bigint from sessions")
        .await;
    alice.get(STATUS).await.expect(200);
    let same: i64 = server
        .db
        .one("select xmin::text::bigint from sessions")
        .await;
    assert_eq!(same, xmin, "within a minute nothing is written");
    server
        .db
        .run("update sessions set last_seen_at = now() - interval '61 seconds', idle_expires_at = now() + interval '1 second'")
        .await;
    let polls = (0..8).map(|_| alice.get(STATUS));
    for answer in join_all(polls).await {
        answer.expect(200);
    }
    let kept: bool = server
        .db
        .one("select last_seen_at > now() - interval '10 seconds' and idle_expires_at > now() + interval '3500 seconds' from sessions")
        .await;
    assert!(kept);

    server
        .db
        .run("update users set status = 'suspended' where username = 'alice'")
        .await;
    alice.get(STATUS).await.expect(401);
    server
        .db
        .run("update users set status = 'active' where username = 'alice'")
        .await;
    alice.get(STATUS).await.expect(200);
    server
        .db
        .run("update sessions set expires_at = now()")
        .await;
    alice.get(STATUS).await.expect(401);
    server
        .db
        .run("update sessions set expires_at = now() + interval '1 day', idle_expires_at = now()")
        .await;
    alice.get(STATUS).await.expect(401);
}

#[tokio::test]
async fn the_remember_cookie_renews_a_session_once() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let first = login(&anonymous, "alice", PASSWORD).await;
    let browser = remembered(&anonymous, &first);
    // Also where the session cookie is there but has ended.
    let browser = with_cookies(
        &browser,
        &format!("session=ended; {}", browser.headers[0].1),
    );
    let renewed = browser.get(STATUS).await;
    let cookies = cookies_of(&renewed);
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(
        cookies
            .iter()
            .all(|c| c.contains("HttpOnly") && c.contains("SameSite=Lax"))
    );
    assert_ne!(
        renewed.cookie("remember_token"),
        first.cookie("remember_token")
    );
    let session = renewed.cookie("session").expect("a session");
    let next = with_cookies(&anonymous, &format!("session={session}"));
    let answer = next.get(STATUS).await;
    assert!(cookies_of(&answer).is_empty());
    answer.expect(200);
    let old = first.cookie("session").expect("a session");
    let old = with_cookies(&anonymous, &format!("session={old}"));
    old.get(STATUS).await.expect(401);

    // The new one renews it again; a logout by remember cookie ends it all.
    let again = remembered(&anonymous, &renewed).get(STATUS).await;
    let last = remembered(&anonymous, &again);
    let out = last.post("/api/auth/logout", json!(null)).await;
    assert!(cookies_of(&out).iter().all(|c| c.contains("Max-Age=0")));
    out.expect(200);
    last.get(STATUS).await.expect(401);
    assert_eq!(
        server.db.one::<i64>("select count(*) from sessions").await,
        0
    );
}

#[tokio::test]
async fn parallel_requests_share_one_renewal() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let first = login(&anonymous, "alice", PASSWORD).await;
    let browser = remembered(&anonymous, &first);
    let answers = join_all((0..20).map(|_| browser.get(STATUS))).await;
    let renewals: Vec<&Answer> = answers
        .iter()
        .filter(|answer| !cookies_of(answer).is_empty())
        .collect();
    assert_eq!(renewals.len(), 1);
    let session = renewals[0].cookie("session").expect("a session");
    let next = with_cookies(&anonymous, &format!("session={session}"));
    next.get(STATUS).await.expect(200);
    for answer in answers {
        answer.expect(200);
    }
    next.get(STATUS).await.expect(200);
}

#[tokio::test]
async fn a_remember_token_used_long_after_it_was_replaced_ends_the_session() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let first = login(&anonymous, "alice", PASSWORD).await;
    let stolen = remembered(&anonymous, &first);
    let renewed = stolen.get(STATUS).await;
    let honest = remembered(&anonymous, &renewed);
    let again = honest.get(STATUS).await;
    let session = again.cookie("session").expect("a session");
    let honest = with_cookies(&anonymous, &format!("session={session}"));
    honest.get(STATUS).await.expect(200);
    server
        .db
        .run(
            "update replaced_remember_tokens set replaced_at = replaced_at - interval '11 seconds'",
        )
        .await;
    stolen.get(STATUS).await.expect(401);
    honest.get(STATUS).await.expect(401);
    remembered(&anonymous, &again).get(STATUS).await.expect(401);
    assert_eq!(
        server.db.one::<i64>("select count(*) from sessions").await,
        0
    );
}

#[tokio::test]
async fn a_remember_cookie_ends_with_its_time_and_its_account() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let first = login(&anonymous, "alice", PASSWORD).await;
    let browser = remembered(&anonymous, &first);
    server
        .db
        .run("update users set status = 'inactive' where username = 'alice'")
        .await;
    browser.get(STATUS).await.expect(401);
    server
        .db
        .run("update users set status = 'active' where username = 'alice'")
        .await;
    server
        .db
        .run("update sessions set remember_expires_at = now()")
        .await;
    browser.get(STATUS).await.expect(401);
    with_cookies(&anonymous, "remember_token=unknown")
        .get(STATUS)
        .await
        .expect(401);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let server = ApiServer::start().await;
    let (one, two, three) = (
        server.login("alice").await,
        server.login("alice").await,
        server.login("alice").await,
    );
    let bob = server.login("bob").await;
    let listed = one.get(SESSIONS).await.expect(200);
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), 3);
    let mut keys: Vec<&String> = listed[0].as_object().expect("object").keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "address",
            "createdAt",
            "current",
            "expiresAt",
            "id",
            "lastSeenAt",
            "userAgent"
        ]
    );
    assert_eq!(listed[0]["address"], "127.0.0.1");
    let current = |listed: &[Value]| -> Vec<Value> {
        let current = listed.iter().filter(|s| s["current"] == true);
        current.map(|s| s["id"].clone()).collect()
    };
    let mine = current(listed);
    assert_eq!(mine.len(), 1);
    let listed = two.get(SESSIONS).await.expect(200);
    let second = current(listed.as_array().expect("a list"));
    assert_ne!(mine, second);

    let path = format!("{SESSIONS}/{}", second[0]);
    bob.delete(&path).await.expect(404);
    one.delete(&path).await.expect(204);
    one.delete(&path).await.expect(404);
    two.get(STATUS).await.expect(401);
    three.get(STATUS).await.expect(200);
    one.delete(SESSIONS).await.expect(200);
    three.get(STATUS).await.expect(401);
    one.get(STATUS).await.expect(200);
    bob.get(STATUS).await.expect(200);
    for path in [
        "/api/auth/sessions/x",
        "/api/auth/sessions/99999999999999999999",
    ] {
        one.delete(path).await.expect(404);
    }
    let audited: i64 = server
        .db
        .one("select count(*) from audit_log where object_type = 'session' and action = 'end' and user_id = 3")
        .await;
    assert_eq!(audited, 2);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    const PATH: &str = "/api/auth/password";
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let alice = server.login("alice").await;
    let other = server.login("alice").await;
    let third = remembered(&anonymous, &login(&anonymous, "alice", PASSWORD).await);
    let change = |current: &str, new: &str| json!({"currentPassword": current, "newPassword": new});
    for body in [
        change(PASSWORD, "short77"),
        change(PASSWORD, PASSWORD),
        change(PASSWORD, &"x".repeat(1001)),
        change(PASSWORD, "nul\u{0}characters"),
        json!({"newPassword": "another password"}),
        json!({"currentPassword": PASSWORD, "newPassword": "another password", "x": 1}),
    ] {
        alice.put(PATH, body).await.expect(400);
    }
    let refused = alice.put(PATH, change("wrong", "another password")).await;
    assert_eq!(refused.expect(403)["code"], "wrong_password");
    anonymous
        .put(PATH, change(PASSWORD, "another password"))
        .await
        .expect(401);
    other.get(STATUS).await.expect(200);

    alice
        .put(PATH, change(PASSWORD, "another password"))
        .await
        .expect(200);
    alice.get(STATUS).await.expect(200);
    other.get(STATUS).await.expect(401);
    third.get(STATUS).await.expect(401);
    login(&anonymous, "alice", PASSWORD).await.expect(401);
    login(&anonymous, "alice", "another password")
        .await
        .expect(200);
    let audited: i64 = server
        .db
        .one(
            "select count(*) from audit_log where action = 'change_password' and actor_id = 3
              and via like 'session:%' and before is null and after is null",
        )
        .await;
    assert_eq!(audited, 1);

    // Whoever took over a session cannot guess on.
    for _ in 0..5 {
        alice
            .put(PATH, change("wrong", "a third password"))
            .await
            .expect(403);
    }
    alice
        .put(PATH, change("another password", "a third password"))
        .await
        .expect(429);
}

#[tokio::test]
async fn a_login_waits_for_a_change_of_password_under_way() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    server
        .db
        .run("begin; update users set password_hash = 'changed' where username = 'alice'; delete from sessions where user_id = 3")
        .await;
    let attempt = tokio::spawn(async move { login(&anonymous, "alice", PASSWORD).await });
    // It waits on the row when the change is made.
    eventually("the login waits", || async {
        let waiting = "select count(*) from pg_locks where not granted";
        server.db.one::<i64>(waiting).await > 0
    })
    .await;
    server.db.run("commit").await;
    attempt.await.expect("ends").expect(401);
    assert_eq!(
        server.db.one::<i64>("select count(*) from sessions").await,
        0
    );
}

#[tokio::test]
async fn pages_of_other_sites_may_not_ask() {
    let server = ApiServer::start_with(Settings {
        public_origin: Some("https://calls.example.com".into()),
        ..settings()
    })
    .await;
    let anonymous = server.anonymous();
    let alice = server.login("alice").await;
    let reached = server.anonymous().base;
    let body = json!({"number": "+18005550101"});
    for (name, value) in [
        ("origin", "https://evil.example.com"),
        // Where the address is configured, what a request calls it does not count.
        ("origin", reached.as_str()),
        ("origin", "null"),
        ("origin", "https://calls.example.com.evil.example.com"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let refused = login(&anonymous.with_header(name, value), "alice", PASSWORD).await;
        assert_eq!(refused.expect(403)["code"], "foreign_origin");
        let foreign = alice.with_header(name, value);
        foreign.post(DIDS, body.clone()).await.expect(403);
        foreign
            .post("/api/auth/logout", json!(null))
            .await
            .expect(403);
        foreign.delete(SESSIONS).await.expect(403);
        foreign.get(STATUS).await.expect(200);
    }
    let unnamed = ApiServer::start().await;
    let reached = unnamed.anonymous().base;
    for (server, origin) in [(&server, "https://calls.example.com"), (&unnamed, &reached)] {
        let anonymous = server.anonymous().with_header("origin", origin);
        login(&anonymous, "alice", PASSWORD).await.expect(200);
        let alice = server.login("alice").await;
        let same = alice.with_header("origin", origin);
        let did = same.post(DIDS, body.clone()).await.expect(201);
        same.delete(&format!("{DIDS}/{}", did["id"]))
            .await
            .expect(204);
    }
    // A form of another site can send text, not JSON.
    let answer = alice.send_raw(Method::POST, DIDS, Some("text/plain"), body.to_string());
    answer.await.expect(415);
    alice.get(STATUS).await.expect(200);
}

#[tokio::test]
async fn the_internal_token_is_compared_as_a_whole() {
    let server = ApiServer::start_with(Settings {
        internal_tokens: vec![
            "new-token".to_owned().into(),
            INTERNAL_TOKEN.to_owned().into(),
        ],
        anonymous_requests_per_minute: 120,
        ..settings()
    })
    .await;
    let ask = |token: &str| {
        let client = server
            .anonymous()
            .with_header("x-internal-api-token", token);
        async move { client.get("/api/internal/route_info?did=%2B1").await.status }
    };
    let alice = server.login("alice").await;
    let refused = alice.get("/api/internal/route_info?did=%2B1").await.status;
    assert!(
        [401, 404].contains(&refused),
        "a session does not help: {refused}"
    );
    if refused == 404 {
        return;
    }
    for wrong in [
        "",
        "n",
        "new-toke",
        "new-tokenn",
        "NEW-TOKEN",
        &INTERNAL_TOKEN[1..],
    ] {
        assert_eq!(ask(wrong).await, 401, "{wrong:?}");
    }
    for right in ["new-token", INTERNAL_TOKEN] {
        assert_ne!(ask(right).await, 401);
    }
    // Guesses are limited by address; the right token is not.
    let mut answers = Vec::new();
    while !answers.contains(&429) && answers.len() < 1_000 {
        answers.push(ask("wrong").await);
    }
    assert!(answers.contains(&429), "{answers:?}");
    for _ in 0..30 {
        assert_ne!(ask("new-token").await, 429);
    }
}

#[tokio::test]
async fn who_asks_too_often_waits() {
    let server = ApiServer::start_with(Settings {
        requests_per_minute: 60,
        anonymous_requests_per_minute: 30,
        ..settings()
    })
    .await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let mut left = Vec::new();
    for _ in 0..10 {
        let answer = alice.get(STATUS).await;
        assert_eq!(answer.header("ratelimit-limit"), Some("10"));
        assert!(answer.header("ratelimit-reset").is_some());
        left.push(
            answer
                .header("ratelimit-remaining")
                .expect("a number")
                .to_owned(),
        );
        answer.expect(200);
    }
    assert_eq!(left.first().map(String::as_str), Some("9"));
    let too_many = loop {
        let answer = alice.get(STATUS).await;
        if answer.status == 429 {
            break answer;
        }
        answer.expect(200);
    };
    assert_eq!(too_many.header("ratelimit-remaining"), Some("0"));
    assert_eq!(too_many.header("retry-after"), Some("1"));
    assert_eq!(too_many.expect(429)["code"], "too_many_requests");
    bob.get(STATUS).await.expect(200);

    // Failed authentication counts for the address; a right session is not held back by it.
    let stranger = with_cookies(&server.anonymous(), "session=unknown");
    let mut refusals = Vec::new();
    for _ in 0..20 {
        refusals.push(stranger.get(STATUS).await.status);
    }
    assert!(
        refusals.contains(&401) && refusals.contains(&429),
        "{refusals:?}"
    );
    let mut logins = Vec::new();
    for _ in 0..10 {
        logins.push(login(&server.anonymous(), "alice", PASSWORD).await.status);
    }
    assert!(logins.contains(&429), "{logins:?}");
    bob.get(STATUS).await.expect(200);
}

#[tokio::test]
async fn what_is_over_is_forgotten() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    for _ in 0..3 {
        login(&anonymous, "alice", PASSWORD).await.expect(200);
    }
    login(&anonymous, "bob", "wrong").await.expect(401);
    server
        .db
        .run(
            "update sessions set remember_expires_at = now() - interval '1 second' where session_id <= 2;
             update sessions set idle_expires_at = now() - interval '1 second' where session_id = 1;
             update login_failures set last_at = now() - interval '25 hours' where subject like 'account:%';
             update login_tries set last_at = now() - interval '25 hours';
             update login_devices set last_seen_at = now() - interval '181 days' where device_id = 1;
             insert into idempotency_keys (user_id, idempotency_key, request_hash, created_at)
             values (3, 'old', '', now() - interval '25 hours'), (3, 'new', '', now())",
        )
        .await;
    server.db.store().forget_expired().await.expect("forgets");
    let left: String = server
        .db
        .one(
            "select (select string_agg(session_id::text, ',' order by session_id) from sessions)
                || ' ' || (select string_agg(split_part(subject, ':', 1), ',') from login_failures)
                || ' ' || (select count(*) from login_tries)
                || ' ' || (select string_agg(device_id::text, ',' order by device_id) from login_devices)
                || ' ' || (select string_agg(idempotency_key, ',') from idempotency_keys)",
        )
        .await;
    assert_eq!(left, "2,3 pair 0 2,3 new");
}

#[tokio::test]
async fn the_command_line_makes_accounts_and_new_passwords() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_capconduit"))
            .args(arguments)
            .env_clear()
            .env("CAPCONDUIT_DATABASE__URL", &server.db.url)
            .output()
            .expect("runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let secret = text.split("shown only here: ").nth(1);
        let secret = secret.map(|secret| secret.trim().to_owned());
        (output.status.success(), secret, output.stderr)
    };
    let made = run(&["user", "create", "carol", "--email", "carol@example.com"]);
    let (true, Some(first), _) = made else {
        panic!("{made:?}")
    };
    let session = login(&anonymous, "carol", &first).await;
    let carol = remembered(&anonymous, &session);
    for _ in 0..5 {
        login(&anonymous, "carol", "wrong").await.expect(401);
    }
    login(&anonymous, "carol", &first).await.expect(429);

    let (true, Some(second), _) = run(&["user", "password", "carol"]) else {
        panic!("no new password")
    };
    carol.get(STATUS).await.expect(401);
    login(&anonymous, "carol", &first).await.expect(401);
    login(&anonymous, "carol", &second).await.expect(200);
    let (done, secret, said) = run(&["user", "password", "nobody"]);
    assert!(!done && secret.is_none());
    assert!(String::from_utf8_lossy(&said).contains("there is no user"));
    let audited: String = server
        .db
        .one("select string_agg(action || ':' || object_id || ':' || user_id, ',' order by audit_id) from audit_log where via = 'cli'")
        .await;
    assert_eq!(audited, "create:5:5,change_password:5:5");
}

#[tokio::test]
async fn a_proxy_is_believed_if_it_is_trusted() {
    let address = |proxies: Vec<std::net::IpAddr>| async move {
        let server = ApiServer::start_with(Settings {
            trusted_proxies: proxies.into_iter().map(Network::from).collect(),
            ..settings()
        })
        .await;
        let forwarded = server
            .anonymous()
            .with_header("x-forwarded-for", "198.51.100.1, ::ffff:203.0.113.9");
        login(&forwarded, "alice", PASSWORD).await.expect(200);
        server
            .db
            .one::<String>("select address from sessions")
            .await
    };
    assert_eq!(
        address(vec!["127.0.0.1".parse().expect("an address")]).await,
        "203.0.113.9"
    );
    assert_eq!(address(vec![]).await, "127.0.0.1");
}
