//! The second factor: set up, asked for, lost.

use capconduit::accounts::totp;
use capconduit::domain::SecondFactor;
use capconduit::http::api::Settings;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{
    Accounts, Answer, ApiClient, ApiServer, PASSWORD, SEALING_KEY, accounts, sealing_keys, settings,
};

const LOGIN: &str = "/api/auth/login";
const STATUS: &str = "/api/auth/status";
const TOTP: &str = "/api/auth/totp";

/// Settings with another rule of who needs one.
fn with_mode(second_factor: SecondFactor) -> Settings {
    Settings {
        accounts: Accounts {
            second_factor,
            ..accounts()
        },
        ..settings()
    }
}

/// The secret of base 32 text.
fn secret_of(begun: &Value) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let text = begun["secret"].as_str().expect("a secret");
    let (mut bits, mut count, mut bytes) = (0_u64, 0, Vec::new());
    for letter in text.chars() {
        bits = bits << 5 | ALPHABET.find(letter).expect("base 32") as u64;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}

/// The step of now, so many steps later, by the database's clock.
async fn step(server: &ApiServer, later: i64) -> i64 {
    let now: i64 = server
        .db
        .one("select extract(epoch from now())::bigint")
        .await;
    now / totp::PERIOD + later
}

/// Sets up a second factor; its secret and recovery codes. The code used is of the step before this one.
async fn set_up(server: &ApiServer, client: &ApiClient) -> (Vec<u8>, Vec<String>) {
    let begun = client.post(TOTP, json!(null)).await.expect(201);
    let secret = secret_of(&begun);
    let code = totp::code(&secret, step(server, -1).await);
    let path = "/api/auth/totp/confirm";
    let confirmed = client.post(path, json!({ "code": code })).await.expect(200);
    let codes = confirmed["recoveryCodes"].as_array().expect("codes");
    let codes = codes.iter().map(|c| c.as_str().unwrap().to_owned());
    (secret, codes.collect())
}

async fn login_with(client: &ApiClient, username: &str, more: Value) -> Answer {
    let mut body = json!({"username": username, "password": PASSWORD});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    client.post(LOGIN, body).await
}

fn session_of(server: &ApiServer, answer: &Answer) -> ApiClient {
    let session = answer.cookie("session").expect("a session");
    server
        .anonymous()
        .with_header("cookie", &format!("session={session}"))
}

#[tokio::test]
async fn a_login_needs_a_code_once_the_factor_is_confirmed() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let alice = server.login("alice").await;
    let other = server.login("alice").await;
    let none = alice.get(TOTP).await.expect(200);
    assert_eq!(
        (&none["enabled"], &none["required"]),
        (&json!(false), &json!(false))
    );
    let begun = alice.post(TOTP, json!(null)).await.expect(201);
    let uri = begun["uri"].as_str().expect("a uri");
    assert!(
        uri.starts_with("otpauth://totp/capconduit:alice?secret="),
        "{uri}"
    );
    // Until it is confirmed nothing has changed, and it may be begun again.
    login_with(&anonymous, "alice", json!({})).await.expect(200);
    let (secret, codes) = set_up(&server, &alice).await;
    assert_ne!(secret, secret_of(&begun));
    assert_eq!(codes.len(), 10);
    other.get(STATUS).await.expect(401);
    alice.get(STATUS).await.expect(200);
    let refused = alice.post(TOTP, json!(null)).await.expect(409);
    assert_eq!(refused["code"], "second_factor_exists");
    let state = alice.get(TOTP).await.expect(200);
    assert_eq!(
        (&state["enabled"], &state["recoveryCodesLeft"]),
        (&json!(true), &json!(10))
    );

    let asked = login_with(&anonymous, "alice", json!({})).await;
    assert!(asked.headers.get("set-cookie").is_none());
    assert_eq!(asked.expect(401)["code"], "second_factor_required");
    // A wrong password is told first, and as ever.
    let body = json!({"username": "alice", "password": "wrong", "code": "123456"});
    assert_eq!(
        anonymous.post(LOGIN, body).await.expect(401)["code"],
        "wrong_login"
    );
    let code = totp::code(&secret, step(&server, 0).await);
    let answer = login_with(&anonymous, "alice", json!({ "code": code })).await;
    session_of(&server, &answer).get(STATUS).await.expect(200);
    // The same code again, and the one before it, are worth nothing.
    for code in [code, totp::code(&secret, step(&server, -1).await)] {
        let again = login_with(&anonymous, "alice", json!({ "code": code })).await;
        assert_eq!(again.expect(401)["code"], "second_factor_wrong");
    }
    // Another account has none.
    login_with(&anonymous, "bob", json!({})).await.expect(200);
    login_with(&anonymous, "bob", json!({"code": "123456"}))
        .await
        .expect(200);

    // Nothing of it can be read in the database.
    let kept: String = server
        .db
        .one("select concat(encode(t.sealed, 'hex'), (select string_agg(encode(hash, 'hex'), '') from recovery_codes),
                            (select string_agg(a::text, '') from audit_log a))
              from totp_secrets t")
        .await;
    let hex = capconduit::runtime::digest::hex(&secret);
    assert!(!kept.contains(&hex) && !kept.contains(&totp::base32(&secret)));
    assert!(codes.iter().all(|code| !kept.contains(code.as_str())));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_code_used_many_times_at_once_one_opens() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (secret, codes) = set_up(&server, &alice).await;
    let anonymous = server.anonymous();
    let code = totp::code(&secret, step(&server, 0).await);
    for proof in [json!({ "code": code }), json!({ "recoveryCode": codes[0] })] {
        let logins = (0..4).map(|_| login_with(&anonymous, "alice", proof.clone()));
        let answers = join_all(logins).await;
        let opened = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(opened, 1, "{proof}");
    }
}

#[tokio::test]
async fn recovery_codes_open_once_each_and_can_be_renewed() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let alice = server.login("alice").await;
    let (_, codes) = set_up(&server, &alice).await;
    let typed = codes[0].to_uppercase().replace('-', " ");
    let answer = login_with(&anonymous, "alice", json!({ "recoveryCode": typed })).await;
    let client = session_of(&server, &answer);
    for wrong in [codes[0].as_str(), "abcd-efgh-ijkm-npqr", ""] {
        let answer = login_with(&anonymous, "alice", json!({ "recoveryCode": wrong })).await;
        assert_eq!(answer.expect(401)["code"], "second_factor_wrong");
    }
    assert_eq!(client.get(TOTP).await.expect(200)["recoveryCodesLeft"], 9);
    let path = "/api/auth/totp/recovery-codes";
    let renewed = client.post(path, json!(null)).await.expect(200);
    let answer = login_with(&anonymous, "alice", json!({ "recoveryCode": codes[1] })).await;
    answer.expect(401);
    let code = &renewed["recoveryCodes"][0];
    let answer = login_with(&anonymous, "alice", json!({ "recoveryCode": code })).await;
    answer.expect(200);
    // A repeated request does not bring them again.
    let keyed = client.with_header("idempotency-key", "codes");
    keyed.post(path, json!(null)).await.expect(200);
    let again = keyed.post(path, json!(null)).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(200)["recoveryCodes"], json!(null));
}

#[tokio::test]
async fn wrong_codes_lock_the_factor_for_a_while() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let alice = server.login("alice").await;
    let (secret, codes) = set_up(&server, &alice).await;
    let wrong = json!({"code": "abcdef"});
    // As many as `login_attempts` of the tests.
    let tries = (0..8).map(|_| login_with(&anonymous, "alice", wrong.clone()));
    let answers = join_all(tries).await;
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(looked_at, 5);
    let code = totp::code(&secret, step(&server, 0).await);
    let right = json!({ "code": code });
    let locked = login_with(&anonymous, "alice", right.clone()).await;
    let wait: u64 = locked
        .header("retry-after")
        .expect("a time")
        .parse()
        .expect("s");
    assert!((1..=60).contains(&wait));
    assert_eq!(locked.expect(429)["code"], "too_many_wrong_codes");
    // Nobody else waits, and a recovery code opens and frees.
    login_with(&anonymous, "bob", json!({})).await.expect(200);
    let answer = login_with(&anonymous, "alice", json!({ "recoveryCode": codes[0] })).await;
    answer.expect(200);
    login_with(&anonymous, "alice", wrong.clone())
        .await
        .expect(401);
    let code = totp::code(&secret, step(&server, 0).await);
    login_with(&anonymous, "alice", json!({ "code": code }))
        .await
        .expect(200);
    // So does time.
    for _ in 0..5 {
        login_with(&anonymous, "alice", wrong.clone())
            .await
            .expect(401);
    }
    login_with(&anonymous, "alice", wrong.clone())
        .await
        .expect(429);
    server
        .db
        .run("update totp_secrets set locked_until = now() - interval '1 second'")
        .await;
    for _ in 0..4 {
        login_with(&anonymous, "alice", wrong.clone())
            .await
            .expect(401);
    }
    let code = totp::code(&secret, step(&server, 1).await);
    login_with(&anonymous, "alice", json!({ "code": code }))
        .await
        .expect(200);
}

#[tokio::test]
async fn where_it_is_required_a_session_without_one_sets_it_up_first() {
    let server = ApiServer::start_with(with_mode(SecondFactor::Staff)).await;
    let anonymous = server.anonymous();
    // Sellers need none.
    let answer = login_with(&anonymous, "alice", json!({})).await.expect(200);
    assert_eq!(answer.get("required"), None);
    let answer = login_with(&anonymous, "admin", json!({})).await;
    assert_eq!(answer.body["required"], "second_factor_setup");
    let admin = session_of(&server, &answer);
    for (method, path) in [
        (Method::GET, "/api/admin/users"),
        (Method::GET, "/api/auth/keys"),
        (Method::DELETE, "/api/auth/sessions"),
        (Method::DELETE, TOTP),
    ] {
        let refused = admin.send(method, path, None).await.expect(403);
        assert_eq!(refused["code"], "second_factor_setup_required", "{path}");
    }
    assert_eq!(
        admin.get(STATUS).await.expect(200)["required"],
        "second_factor_setup"
    );
    set_up(&server, &admin).await;
    admin.get("/api/admin/users").await.expect(200);
    // Removed again, the next request needs it again.
    admin.delete(TOTP).await.expect(204);
    admin.get("/api/admin/users").await.expect(403);

    // A password that must be changed comes first.
    server
        .db
        .run("update users set must_change_password = true where id = 2")
        .await;
    let answer = login_with(&anonymous, "staff", json!({})).await;
    let staff = session_of(&server, &answer);
    let refused = staff.post(TOTP, json!(null)).await.expect(403);
    assert_eq!(refused["code"], "password_change_required");
    let body = json!({"currentPassword": PASSWORD, "newPassword": "seven quiet harbours"});
    staff.put("/api/auth/password", body).await.expect(200);
    set_up(&server, &staff).await;
    staff.get("/api/admin/audit").await.expect(200);
}

#[tokio::test]
async fn administrators_reset_what_somebody_lost() {
    let server = ApiServer::start().await;
    let (admin, staff) = (server.login("admin").await, server.login("staff").await);
    let alice = server.login("alice").await;
    set_up(&server, &alice).await;
    let path = "/api/admin/users/3/totp";
    alice.delete(path).await.expect(403);
    staff.delete(path).await.expect(204);
    staff.delete(path).await.expect(404);
    login_with(&server.anonymous(), "alice", json!({}))
        .await
        .expect(200);
    let codes: i64 = server.db.one("select count(*) from recovery_codes").await;
    assert_eq!(codes, 0);
    let refused = admin.delete("/api/admin/users/1/totp").await.expect(403);
    assert_eq!(refused["code"], "own_account");
    staff.delete("/api/admin/users/1/totp").await.expect(403);
    let audited: String = server
        .db
        .one(
            "select string_agg(concat_ws(' ', actor, action, object_id), ', ' order by audit_id)
              from audit_log where object_type = 'second_factor'",
        )
        .await;
    assert_eq!(audited, "alice confirm 3, staff reset 3");
}

#[tokio::test]
async fn reauthentication_asks_for_the_code_too() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (secret, _) = set_up(&server, &alice).await;
    let path = "/api/auth/reauthenticate";
    let refused = alice
        .post(path, json!({"password": PASSWORD}))
        .await
        .expect(403);
    assert_eq!(refused["code"], "second_factor_required");
    let code = totp::code(&secret, step(&server, 0).await);
    let body = json!({"password": PASSWORD, "code": code});
    alice.post(path, body.clone()).await.expect(200);
    let refused = alice.post(path, body).await.expect(403);
    assert_eq!(refused["code"], "second_factor_wrong");
}

#[tokio::test]
async fn without_a_key_to_seal_with_there_is_no_second_factor() {
    let server = ApiServer::start_with(Settings {
        accounts: Accounts {
            sealing_key: None,
            ..accounts()
        },
        ..settings()
    })
    .await;
    let alice = server.login("alice").await;
    let refused = alice.post(TOTP, json!(null)).await.expect(409);
    assert_eq!(refused["code"], "sealing_key_missing");

    // One that was set up before the key was lost: the code cannot be checked, a recovery code can.
    let (second, _end) = server.second(settings()).await;
    let mut second = second;
    second.headers.clone_from(&alice.headers);
    let (secret, codes) = set_up(&server, &second).await;
    let anonymous = server.anonymous();
    let code = totp::code(&secret, step(&server, 0).await);
    let answer = login_with(&anonymous, "alice", json!({ "code": code })).await;
    assert_eq!(answer.expect(503)["code"], "second_factor_unavailable");
    let answer = login_with(&anonymous, "alice", json!({ "recoveryCode": codes[0] })).await;
    answer.expect(200);

    // With another key and the one before it the secret is sealed anew, and the one before is not needed any more.
    let other = "another key of the tests, which is as long";
    for previous in [Some(SEALING_KEY), None] {
        let (changed, _end) = server
            .second(Settings {
                accounts: Accounts {
                    sealing_key: Some(sealing_keys(other, previous)),
                    ..accounts()
                },
                ..settings()
            })
            .await;
        server.db.run("update totp_secrets set last_step = 0").await;
        let code = totp::code(&secret, step(&server, 0).await);
        login_with(&changed, "alice", json!({ "code": code }))
            .await
            .expect(200);
    }

    // Switched off, the password is enough.
    let (third, _end) = server.second(with_mode(SecondFactor::Off)).await;
    login_with(&third, "alice", json!({})).await.expect(200);
}
