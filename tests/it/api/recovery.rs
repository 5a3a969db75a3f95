//! Access taken back: keys, sessions and roles; what needs a session that has just logged in.

use capconduit::db::connect_as_owner;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Accounts, ApiClient, ApiServer, PASSWORD, accounts, settings};
use crate::support::eventually;

const KEYS: &str = "/api/auth/keys";
const STATUS: &str = "/api/auth/status";
const USERS: &str = "/api/admin/users";
const REAUTHENTICATE: &str = "/api/auth/reauthenticate";

/// A program with a key of an account.
async fn program(server: &ApiServer, owner: &ApiClient, scopes: &[&str]) -> (ApiClient, Value) {
    let body = json!({"name": "a program", "scopes": scopes});
    let made = owner.post(KEYS, body).await.expect(201);
    let bearer = format!("Bearer {}", made["key"].as_str().expect("a key"));
    let client = server.anonymous().with_header("authorization", &bearer);
    (client, made)
}

async fn is_in(client: &ApiClient) -> bool {
    client.get(STATUS).await.status == 200
}

/// The sessions that are there logged in so long ago.
async fn age_sessions(server: &ApiServer, minutes: u32) {
    let sql = format!(
        "update sessions set authenticated_at = now() - interval '{minutes} minutes',
                             created_at = now() - interval '{minutes} minutes'"
    );
    server.db.run(&sql).await;
}

async fn audited(server: &ApiServer) -> String {
    server
        .db
        .one("select string_agg(concat_ws(' ', actor, action, object_type, object_id, 'of', user_id), '; ' order by audit_id)
              from audit_log where actor in ('admin', 'staff') and object_type in ('key', 'session', 'user')")
        .await
}

#[tokio::test]
async fn staff_sees_and_ends_what_opens_an_account() {
    let server = ApiServer::start().await;
    let (admin, staff) = (server.login("admin").await, server.login("staff").await);
    let alice = server.login("alice").await;
    let other = server.login("alice").await;
    let (first, made) = program(&server, &alice, &["read"]).await;
    let (second, _) = program(&server, &alice, &["read"]).await;
    for (client, name) in [(&admin, "admin"), (&staff, "staff")] {
        let keys = client.get(&format!("{USERS}/3/keys")).await.expect(200);
        assert_eq!(keys.as_array().map(Vec::len), Some(2), "{name}");
        assert_eq!(keys[1]["prefix"], made["prefix"]);
        let text = client.get(&format!("{USERS}/3/keys")).await.text;
        assert!(!text.contains(made["key"].as_str().expect("a key")));
        let sessions = client.get(&format!("{USERS}/3/sessions")).await.expect(200);
        assert_eq!(sessions.as_array().map(Vec::len), Some(2), "{name}");
        assert_eq!(sessions[0]["current"], false, "{name}");
    }
    let key = format!("{USERS}/3/keys/{}", made["id"]);
    // Only as a key of that account.
    let elsewhere = format!("{USERS}/4/keys/{}", made["id"]);
    staff.delete(&elsewhere).await.expect(404);
    staff.delete(&key).await.expect(204);
    staff.delete(&key).await.expect(404);
    assert!(!is_in(&first).await && is_in(&second).await);

    let sessions = admin.get(&format!("{USERS}/3/sessions")).await.expect(200);
    let newest = format!("{USERS}/3/sessions/{}", sessions[0]["id"]);
    admin.delete(&newest).await.expect(204);
    admin.delete(&newest).await.expect(404);
    let still_in = [is_in(&alice).await, is_in(&other).await];
    assert_eq!(still_in.iter().filter(|is| **is).count(), 1);

    let ended = staff
        .post(&format!("{USERS}/3/revoke-all"), json!(null))
        .await
        .expect(200);
    assert_eq!(
        (&ended["sessionsEnded"], &ended["keysRevoked"]),
        (&json!(1), &json!(1))
    );
    for client in [&alice, &other, &first, &second] {
        assert!(!is_in(client).await);
    }
    // The seller reads it in its own log, without the address.
    let alice = server.login("alice").await;
    let log = alice.get("/api/seller/audit?object_type=key").await;
    let log = log.expect(200);
    assert_eq!(log["items"][0]["actor"], "staff");
    assert_eq!(log["items"][0]["address"], json!(null));
    assert_eq!(
        audited(&server).await,
        format!(
            "staff revoke key {} of 3; admin end session {} of 3; staff revoke_all user 3 of 3",
            made["id"], sessions[0]["id"]
        )
    );
}

#[tokio::test]
async fn staff_leaves_administrators_and_other_staff_alone() {
    let server = ApiServer::start().await;
    let (admin, staff) = (server.login("admin").await, server.login("staff").await);
    for user in [1, 2] {
        for (method, path) in [
            (Method::GET, "keys"),
            (Method::GET, "sessions"),
            (Method::DELETE, "keys/1"),
            (Method::DELETE, "sessions/1"),
            (Method::POST, "revoke-all"),
        ] {
            let path = format!("{USERS}/{user}/{path}");
            let refused = staff.send(method, &path, None).await.expect(403);
            assert_eq!(refused["code"], "role_not_allowed", "{path}");
        }
    }
    assert!(is_in(&admin).await && is_in(&staff).await);
    let alice = server.login("alice").await;
    for path in ["3/keys", "3/sessions", "999/keys"] {
        alice.get(&format!("{USERS}/{path}")).await.expect(403);
    }
    for path in ["999/keys", "999/sessions", "99999999999/keys/1"] {
        let path = format!("{USERS}/{path}");
        let method = if path.ends_with('1') {
            Method::DELETE
        } else {
            Method::GET
        };
        admin.send(method, &path, None).await.expect(404);
    }
    admin
        .post(&format!("{USERS}/2/revoke-all"), json!(null))
        .await
        .expect(200);
    assert!(!is_in(&staff).await);
}

#[tokio::test]
async fn a_key_does_not_outlive_password_suspension_or_role() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let password = json!({"password": "another password"});
    for (path, change, back) in [
        ("3/password", password.clone(), json!({"status": "active"})),
        (
            "3",
            json!({"status": "suspended"}),
            json!({"status": "active"}),
        ),
        (
            "3",
            json!({"status": "inactive"}),
            json!({"status": "active"}),
        ),
        ("3", json!({"role": "admin"}), json!({"role": "user"})),
    ] {
        server
            .db
            .run("update users set password_hash = (select password_hash from users where id = 4) where id = 3")
            .await;
        let alice = server.login("alice").await;
        let (key, _) = program(&server, &alice, &["read", "write"]).await;
        assert!(is_in(&key).await);
        admin
            .put(&format!("{USERS}/{path}"), change.clone())
            .await
            .expect(200);
        assert!(!is_in(&key).await, "{change}");
        admin.put(&format!("{USERS}/3"), back).await.expect(200);
        assert!(!is_in(&key).await, "for good: {change}");
        assert!(!is_in(&alice).await, "{change}");
    }
    let living: i64 = server
        .db
        .one("select count(*) from api_keys where revoked_at is null")
        .await;
    assert_eq!(living, 0);
}

#[tokio::test]
async fn a_key_never_gains_a_role_however_that_was_changed() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (key, made) = program(&server, &alice, &["read", "write"]).await;
    // Not through the API, so nothing was revoked.
    server
        .db
        .run("update users set role = 'admin' where id = 3")
        .await;
    key.get(USERS).await.expect(401);
    key.get(STATUS).await.expect(401);
    server
        .db
        .run("update users set role = 'user' where id = 3")
        .await;
    key.get(STATUS).await.expect(200);
    // A daemon of the version before names no role.
    server
        .db
        .run(
            "insert into api_keys (user_id, name, prefix, secret_hash, scopes)
             select user_id, 'old', 'abcdefghijkm', secret_hash, scopes from api_keys",
        )
        .await;
    let role: String = server
        .db
        .one("select role from api_keys where name = 'old'")
        .await;
    assert_eq!(role, "user");
    let listed = alice.get(KEYS).await.expect(200);
    assert_eq!(listed[0]["endless"], true, "{listed}");
    assert_eq!(listed[1]["endless"], false, "{listed}");
    assert_eq!(listed[1]["id"], made["id"]);
}

#[tokio::test]
async fn keys_end_after_90_days_and_within_a_year() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let days = "select round(extract(epoch from expires_at - now()) / 86400)::int from api_keys order by key_id desc limit 1";
    for body in [
        json!({"name": "a", "scopes": ["read"]}),
        json!({"name": "a", "scopes": ["read"], "expiresAt": null}),
    ] {
        let made = alice.post(KEYS, body).await.expect(201);
        assert!(made["expiresAt"].is_string(), "{made}");
        assert_eq!(server.db.one::<i32>(days).await, 90);
    }
    let in_days = async |days: u32| -> String {
        let sql = format!(
            "select to_char(now() + interval '{days} days', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        );
        server.db.one(&sql).await
    };
    let body = json!({"name": "a", "scopes": ["read"], "expiresAt": in_days(365).await});
    alice.post(KEYS, body).await.expect(201);
    assert_eq!(server.db.one::<i32>(days).await, 365);
    let body = json!({"name": "a", "scopes": ["read"], "expiresAt": in_days(367).await});
    let errors = alice.post(KEYS, body).await.expect(400);
    let said = errors["errors"]["expiresAt"][0]
        .as_str()
        .expect("a message");
    assert!(said.contains("365 days"), "{said}");
}

#[tokio::test]
async fn what_a_stolen_cookie_must_not_do_needs_the_password_again() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let key = json!({"name": "a", "scopes": ["read"]});
    let carol = json!({"username": "carol", "email": "carol@leads.example", "password": "seven quiet harbours",
                       "role": "admin"});
    let requests = [
        (
            Method::PUT,
            "/api/admin/users/3/password",
            json!({"password": "seven quiet harbours"}),
        ),
        (Method::PUT, "/api/admin/users/3", json!({"role": "staff"})),
        (Method::POST, USERS, carol.clone()),
        (Method::POST, KEYS, key),
        (Method::POST, "/api/auth/totp", json!(null)),
        (Method::DELETE, "/api/auth/totp", json!(null)),
        (Method::DELETE, "/api/admin/users/3/totp", json!(null)),
    ];
    let send = async |client: &ApiClient, (method, path, body): &(Method, &str, Value)| {
        let body = Some(body).filter(|body| !body.is_null());
        client.send(method.clone(), path, body).await
    };
    age_sessions(&server, 6).await;
    for request in &requests {
        let refused = send(&admin, request).await.expect(403);
        assert_eq!(refused["code"], "fresh_login_required", "{request:?}");
    }
    // What is not about access goes on, and so do accounts of sellers.
    let mut seller = carol.clone();
    seller["role"] = json!("user");
    admin.post(USERS, seller).await.expect(201);
    let change = json!({"fullName": "Alice", "role": "user"});
    admin.put("/api/admin/users/3", change).await.expect(200);

    let wrong = admin
        .post(REAUTHENTICATE, json!({"password": "wrong"}))
        .await
        .expect(403);
    assert_eq!(wrong["code"], "wrong_password");
    assert_eq!(send(&admin, &requests[0]).await.status, 403);
    admin
        .post(REAUTHENTICATE, json!({"password": PASSWORD}))
        .await
        .expect(200);
    let statuses = [200, 200, 409, 201, 201, 204, 404];
    for (request, status) in requests.iter().zip(statuses) {
        send(&admin, request).await.expect(status);
    }
    // Another session of the same account is as old as it was.
    let other = server.login("admin").await;
    age_sessions(&server, 4).await;
    send(&other, &requests[3]).await.expect(201);
}

#[tokio::test]
async fn a_renewed_session_is_no_fresh_one() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    let body = json!({"username": "admin", "password": PASSWORD});
    let answer = anonymous.post("/api/auth/login", body).await;
    let remember = answer
        .cookie("remember_token")
        .expect("a cookie")
        .to_owned();
    age_sessions(&server, 6).await;
    let mut browser = anonymous.clone();
    browser.headers = vec![("cookie".into(), format!("remember_token={remember}"))];
    let renewed = browser.get(STATUS).await;
    let session = renewed.cookie("session").expect("a cookie").to_owned();
    browser.headers = vec![("cookie".into(), format!("session={session}"))];
    let body = json!({"password": "seven quiet harbours"});
    let refused = browser.put("/api/admin/users/3/password", body).await;
    assert_eq!(refused.expect(403)["code"], "fresh_login_required");
}

#[tokio::test]
async fn an_api_key_sets_no_password_and_makes_no_administrator() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let (key, _) = program(&server, &admin, &["users:write", "users:read"]).await;
    let carol = json!({"username": "carol", "email": "carol@leads.example", "password": "seven quiet harbours"});
    let with_role = |role: &str| {
        let mut carol = carol.clone();
        carol["role"] = json!(role);
        carol
    };
    let password = json!({"password": "seven quiet harbours", "currentPassword": PASSWORD});
    for user in [1, 3] {
        let path = format!("{USERS}/{user}/password");
        let refused = key.put(&path, password.clone()).await.expect(403);
        assert_eq!(refused["code"], "session_only");
    }
    for (path, method, body) in [
        ("/api/admin/users/3", Method::PUT, json!({"role": "admin"})),
        (USERS, Method::POST, with_role("admin")),
        (USERS, Method::POST, with_role("staff")),
    ] {
        let refused = key.send(method, path, Some(&body)).await.expect(403);
        assert_eq!(refused["code"], "session_only", "{body}");
    }
    key.post(USERS, with_role("user")).await.expect(201);
    let change = json!({"status": "suspended", "role": "user"});
    key.put("/api/admin/users/3", change).await.expect(200);
    let admins: i64 = server
        .db
        .one("select count(*) from users where role <> 'user'")
        .await;
    assert_eq!(admins, 2);
}

#[tokio::test]
async fn an_administrators_own_password_needs_the_current_one() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let path = "/api/admin/users/1/password";
    let new = "seven quiet harbours";
    let refused = admin.put(path, json!({"password": new})).await.expect(403);
    assert_eq!(refused["code"], "current_password_required");
    let body = json!({"password": new, "currentPassword": "wrong"});
    let refused = admin.put(path, body).await.expect(403);
    assert_eq!(refused["code"], "wrong_password");
    let body = json!({"password": new, "currentPassword": PASSWORD});
    admin.put(path, body).await.expect(200);
    assert!(!is_in(&admin).await);
    let body = json!({"username": "admin", "password": new});
    let login = server.anonymous().post("/api/auth/login", body).await;
    login.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_while_access_is_taken_back_does_not_live() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let alice = server.login("alice").await;
    // The account is locked, so that both wait; who waits first is served first.
    let other = connect_as_owner(&server.db.settings())
        .await
        .expect("connects");
    other
        .batch_execute("begin; select from users where id = 3 for update")
        .await
        .expect("locks");
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let taken = tokio::spawn(async move {
        admin
            .post(&format!("{USERS}/3/revoke-all"), json!(null))
            .await
    });
    eventually("the first waits", async || {
        server.db.one::<i64>(waiting).await == 1
    })
    .await;
    let made = tokio::spawn(async move {
        let body = json!({"name": "a", "scopes": ["read"]});
        alice.post(KEYS, body).await
    });
    eventually("both wait", async || {
        server.db.one::<i64>(waiting).await == 2
    })
    .await;
    other.batch_execute("commit").await.expect("lets go");
    taken.await.expect("ends").expect(200);
    let refused = made.await.expect("ends").expect(401);
    assert_eq!(refused["code"], "session_ended");
    let keys: i64 = server.db.one("select count(*) from api_keys").await;
    assert_eq!(keys, 0);
}

#[tokio::test]
async fn a_password_for_one_login_is_changed_there() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let once = "once and no more";
    let body = json!({"username": "carol", "email": "carol@leads.example", "password": once, "role": "user",
                      "mustChangePassword": true});
    let carol = admin.post(USERS, body).await.expect(201);
    assert_eq!(carol.get("mustChangePassword"), None, "the shape stays");
    let body = json!({"password": once, "mustChangePassword": true});
    admin
        .put("/api/admin/users/3/password", body)
        .await
        .expect(200);
    for name in ["carol", "alice"] {
        let body = json!({"username": name, "password": once});
        let answer = server.anonymous().post("/api/auth/login", body).await;
        assert_eq!(answer.body["required"], "password_change");
        let session = answer.cookie("session").expect("a session");
        let client = server
            .anonymous()
            .with_header("cookie", &format!("session={session}"));
        let status = client.get(STATUS).await.expect(200);
        assert_eq!(status["required"], "password_change");
        for (method, path) in [
            (Method::GET, "/api/seller/dids"),
            (Method::GET, KEYS),
            (Method::POST, KEYS),
            (Method::POST, "/api/auth/totp"),
            (Method::GET, "/api/events"),
        ] {
            let body = json!({"name": "a", "scopes": ["read"]});
            let body = Some(&body).filter(|_| method == Method::POST);
            let refused = client.send(method, path, body).await;
            if refused.status == 404 {
                continue;
            }
            assert_eq!(
                refused.expect(403)["code"],
                "password_change_required",
                "{path}"
            );
        }
        let change = json!({"currentPassword": once, "newPassword": "seven quiet harbours"});
        client.put("/api/auth/password", change).await.expect(200);
        client.get("/api/seller/dids").await.expect(200);
        let status = client.get(STATUS).await.expect(200);
        assert_eq!(status.get("required"), None);
    }
    // A hash that is only kept in another way changes nothing of it.
    let hash = bcrypt::hash_with_salt(once, 4, [1; 16]).expect("a hash");
    server
        .db
        .run(&format!(
            "update users set password_hash = '{hash}', must_change_password = true where id = 4"
        ))
        .await;
    let body = json!({"username": "bob", "password": once});
    for _ in 0..2 {
        let answer = server
            .anonymous()
            .post("/api/auth/login", body.clone())
            .await;
        assert_eq!(answer.expect(200)["required"], "password_change");
    }
}

#[tokio::test]
async fn passwords_that_everybody_tries_cannot_be_set() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let user = |password: &str| json!({"username": "seller_carol", "email": "carol.c@leads.example", "password": password, "role": "user"});
    for bad in [
        "password",
        "PassWord123",
        "12345678",
        "seller_carol",
        "Seller_Carol",
        "carol.c@leads.example",
        "        ",
        "aaaaaaaaaaaa",
    ] {
        let errors = admin.post(USERS, user(bad)).await.expect(400);
        assert!(
            errors["errors"]["password"][0].is_string(),
            "{bad}: {errors}"
        );
    }
    let made = admin
        .post(USERS, user("seven quiet harbours"))
        .await
        .expect(201);
    let path = format!("{USERS}/{}/password", made["id"]);
    let errors = admin.put(&path, json!({"password": "Carol.C2026"})).await;
    assert!(errors.expect(400)["errors"]["password"][0].is_string());
    let alice = server.login("alice").await;
    let change = json!({"currentPassword": PASSWORD, "newPassword": "qwertyuiop"});
    let errors = alice.put("/api/auth/password", change).await.expect(400);
    assert!(errors["errors"]["newPassword"][0].is_string());

    // The rule is the operator's.
    let mut rule = accounts().password_rule;
    rule.min_length = 14;
    rule.refuse_common = false;
    let (second, _end) = server
        .second(capconduit::http::api::Settings {
            accounts: Accounts {
                password_rule: rule,
                ..accounts()
            },
            ..settings()
        })
        .await;
    let mut second = second;
    second.headers.clone_from(&admin.headers);
    let errors = second
        .put(&path, json!({"password": "13 characters"}))
        .await
        .expect(400);
    let said = errors["errors"]["password"][0].as_str().expect("a message");
    assert!(said.contains("14"), "{said}");
    second
        .put(&path, json!({"password": "password123456"}))
        .await
        .expect(200);
}

#[tokio::test]
async fn staff_reads_no_more_of_accounts_in_the_audit_log_than_elsewhere() {
    let server = ApiServer::start().await;
    let (admin, staff) = (server.login("admin").await, server.login("staff").await);
    admin
        .put("/api/admin/users/3", json!({"fullName": "Alice Archer"}))
        .await
        .expect(200);
    staff.get("/api/admin/users/3").await.expect(403);
    let path = "/api/admin/audit?object_type=user";
    let seen = staff.get(path).await;
    assert!(!seen.text.contains("example.com") && !seen.text.contains("Archer"));
    assert_eq!(seen.expect(200)["items"][0]["action"], "update");
    let seen = admin.get(path).await.expect(200);
    assert_eq!(seen["items"][0]["after"]["fullName"], "Alice Archer");
}
