//! API keys, and requests sent again.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{ApiClient, ApiServer, PASSWORD};
use crate::support::eventually;

const KEYS: &str = "/api/auth/keys";
const STATUS: &str = "/api/auth/status";
const DIDS: &str = "/api/seller/dids";

/// A program with a key of these scopes.
async fn program(server: &ApiServer, owner: &ApiClient, scopes: &[&str]) -> (ApiClient, Value) {
    let made = owner
        .post(KEYS, json!({"name": "a program", "scopes": scopes}))
        .await
        .expect(201);
    let key = made["key"].as_str().expect("a key");
    let bearer = format!("Bearer {key}");
    (
        server.anonymous().with_header("authorization", &bearer),
        made,
    )
}

#[tokio::test]
async fn a_key_is_shown_once_and_opens_until_it_is_revoked() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (client, made) = program(&server, &alice, &["write", "read"]).await;
    let key = made["key"].as_str().expect("a key");
    let parts: Vec<&str> = key.split('_').collect();
    assert_eq!((parts[0], parts[1].len(), parts[2].len()), ("cck", 12, 40));
    assert_eq!(made["prefix"], parts[1]);
    assert_eq!(made["scopes"], json!(["read", "write"]));
    let kept: String = server
        .db
        .one("select concat(k::text, ' ', encode(secret_hash, 'escape'), ' ', (select string_agg(a::text, '') from audit_log a)) from api_keys k")
        .await;
    assert!(!kept.contains(parts[2]), "{kept}");
    let hashed = format!("select secret_hash = sha256('{key}') from api_keys");
    assert!(server.db.one::<bool>(&hashed).await);

    client.get(STATUS).await.expect(200);
    client
        .post(DIDS, json!({"number": "+18005550101"}))
        .await
        .expect(201);
    let listed = alice.get(KEYS).await;
    assert!(!listed.text.contains(parts[2]));
    let listed = listed.expect(200);
    assert_eq!(listed[0]["prefix"], parts[1]);
    assert!(listed[0]["lastUsedAt"].is_string());
    assert_eq!(listed[0]["revokedAt"], json!(null));
    let via: String = server
        .db
        .one("select via from audit_log where object_type = 'did'")
        .await;
    assert_eq!(via, format!("key:{}", made["id"]));

    let path = format!("{KEYS}/{}", made["id"]);
    server.login("bob").await.delete(&path).await.expect(404);
    alice.delete(&path).await.expect(204);
    alice.delete(&path).await.expect(404);
    assert_eq!(
        client.get(STATUS).await.expect(401)["code"],
        "wrong_api_key"
    );
    assert!(alice.get(KEYS).await.expect(200)[0]["revokedAt"].is_string());
    let audited: String = server
        .db
        .one("select string_agg(action, ',' order by audit_id) from audit_log where object_type = 'key' and user_id = 3")
        .await;
    assert_eq!(audited, "create,revoke");
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let did = json!({"number": "+18005550101"});
    let refused = |answer: crate::support::api::Answer| {
        assert_eq!(answer.expect(403)["code"], "scope_missing");
    };
    let (reader, _) = program(&server, &alice, &["read"]).await;
    reader.get(DIDS).await.expect(200);
    refused(reader.post(DIDS, did.clone()).await);
    let head = reader.send(Method::HEAD, DIDS, None).await;
    assert_eq!(head.status, 200);
    let (writer, _) = program(&server, &alice, &["dids:write"]).await;
    let made = writer.post(DIDS, did).await.expect(201);
    refused(writer.get(DIDS).await);
    refused(writer.get(STATUS).await);
    let (dids, _) = program(&server, &alice, &["dids:read"]).await;
    dids.get(DIDS).await.expect(200);
    refused(dids.delete(&format!("{DIDS}/{}", made["id"])).await);
    refused(dids.get(STATUS).await);
    writer
        .delete(&format!("{DIDS}/{}", made["id"]))
        .await
        .expect(204);

    // Sessions and keys are not for keys, whatever their scopes.
    let (all, _) = program(&server, &alice, &["read", "write"]).await;
    for (method, path) in [
        (Method::GET, KEYS),
        (Method::POST, KEYS),
        (Method::DELETE, "/api/auth/keys/1"),
        (Method::GET, "/api/auth/sessions"),
        (Method::DELETE, "/api/auth/sessions"),
        (Method::PUT, "/api/auth/password"),
        (Method::POST, "/api/auth/logout"),
    ] {
        let answer = all.send(method, path, Some(&json!({"a": 1}))).await;
        assert_eq!(answer.expect(403)["code"], "session_only", "{path}");
    }
    // The role decides as well.
    let admin = server.login("admin").await;
    let (admins, _) = program(&server, &admin, &["read", "write"]).await;
    assert_eq!(
        admins.get(DIDS).await.expect(403)["code"],
        "role_not_allowed"
    );
    assert_eq!(
        admins.get(STATUS).await.expect(200)["user"]["role"],
        "admin"
    );
    let staff = server.login("staff").await;
    let (staffs, _) = program(&server, &staff, &["auth:read"]).await;
    assert_eq!(
        staffs.get(STATUS).await.expect(200)["user"]["role"],
        "staff"
    );
    // Another seller's things are not there.
    let (bobs, _) = program(&server, &server.login("bob").await, &["read"]).await;
    alice
        .post(DIDS, json!({"number": "+18005550102"}))
        .await
        .expect(201);
    assert_eq!(bobs.get(DIDS).await.expect(200)["total"], 0);
}

#[tokio::test]
async fn what_is_no_living_key_is_refused() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (client, made) = program(&server, &alice, &["read"]).await;
    let key = made["key"].as_str().expect("a key").to_owned();
    let other = format!(
        "{}{}",
        &key[..key.len() - 1],
        if key.ends_with('a') { "b" } else { "a" }
    );
    let basic = format!("Basic {key}");
    for value in [
        "",
        "Bearer",
        "Bearer ",
        &key,
        &basic,
        "Bearer nonsense",
        "Bearer cck_abcdefghijkm_abcdefghijkmnpqrstuvwxyz23456789abcdefgh",
        &format!("Bearer {key}x"),
        &format!("Bearer {other}"),
        "Bearer cck_%00_\u{e4}",
    ] {
        let answer = server
            .anonymous()
            .with_header("authorization", value)
            .get(STATUS)
            .await;
        assert!(answer.header("www-authenticate").is_some());
        assert_eq!(answer.status, 401, "{value:?}");
        // The header decides, also where a cookie would do.
        let both = alice.with_header("authorization", value).get(STATUS).await;
        assert_eq!(both.status, 401, "{value:?}");
    }
    let twice = client.with_header("authorization", &format!("Bearer {key}"));
    twice.get(STATUS).await.expect(401);
    server
        .anonymous()
        .with_header("authorization", &format!("bearer {key}"))
        .get(STATUS)
        .await
        .expect(200);
    // A key is no browser: where it comes from does not matter.
    let bob = server.login("bob").await;
    let (bobs, _) = program(&server, &bob, &["write"]).await;
    bobs.with_header("origin", "https://evil.example.com")
        .post(DIDS, json!({"number": "+18005550109"}))
        .await
        .expect(201);

    for (change, back) in [
        (
            "update users set status = 'suspended' where id = 3",
            "update users set status = 'active' where id = 3",
        ),
        (
            "update api_keys set expires_at = now()",
            "update api_keys set expires_at = null",
        ),
        (
            "update api_keys set revoked_at = now()",
            "update api_keys set revoked_at = null",
        ),
    ] {
        server.db.run(change).await;
        client.get(STATUS).await.expect(401);
        server.db.run(back).await;
        client.get(STATUS).await.expect(200);
    }
}

#[tokio::test]
async fn the_use_of_a_key_is_noted_once_a_minute() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (client, _) = program(&server, &alice, &["read"]).await;
    for answer in join_all((0..8).map(|_| client.get(STATUS))).await {
        answer.expect(200);
    }
    let row = "select xmin::text::bigint from api_keys";
    let noted: i64 = server.db.one(row).await;
    client.get(STATUS).await.expect(200);
    assert_eq!(server.db.one::<i64>(row).await, noted);
    server
        .db
        .run("update api_keys set last_used_at = now() - interval '61 seconds'")
        .await;
    client.get(STATUS).await.expect(200);
    let now = "select last_used_at > now() - interval '10 seconds' from api_keys";
    assert!(server.db.one::<bool>(now).await);
}

#[tokio::test]
async fn a_key_is_asked_for_in_full() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    for (field, body) in [
        ("name", json!({"scopes": ["read"]})),
        ("name", json!({"name": " ", "scopes": ["read"]})),
        ("name", json!({"name": "x".repeat(101), "scopes": ["read"]})),
        ("scopes", json!({"name": "a"})),
        ("scopes", json!({"name": "a", "scopes": []})),
        ("scopes", json!({"name": "a", "scopes": "read"})),
        (
            "scopes",
            json!({"name": "a", "scopes": ["read", "everything"]}),
        ),
        ("scopes", json!({"name": "a", "scopes": [1]})),
        (
            "expiresAt",
            json!({"name": "a", "scopes": ["read"], "expiresAt": "2020-01-01T00:00:00Z"}),
        ),
        (
            "expiresAt",
            json!({"name": "a", "scopes": ["read"], "expiresAt": "soon"}),
        ),
        (
            "owner",
            json!({"name": "a", "scopes": ["read"], "owner": 4}),
        ),
    ] {
        let errors = alice.post(KEYS, body.clone()).await.expect(400);
        assert!(errors["errors"][field][0].is_string(), "{body}: {errors}");
    }
    let in_a_month = jiff::Timestamp::now() + std::time::Duration::from_secs(30 * 86_400);
    let in_a_month = jiff::Timestamp::from_second(in_a_month.as_second()).expect("a time");
    let body =
        json!({"name": "a", "scopes": ["read", "read"], "expiresAt": in_a_month.to_string()});
    let made = alice.post(KEYS, body).await.expect(201);
    assert_eq!(made["scopes"], json!(["read"]));
    let shown = in_a_month
        .strftime("%Y-%m-%dT%H:%M:%S.000000+00:00")
        .to_string();
    assert_eq!(made["expiresAt"], shown);
    server.anonymous().get(KEYS).await.expect(401);

    server
        .db
        .run(
            "insert into api_keys (user_id, name, prefix, secret_hash, scopes)
             select 3, 'many', 'many' || n, '', '{read}' from generate_series(1, 97) n",
        )
        .await;
    let body = json!({"name": "a", "scopes": ["read"]});
    let answers = join_all((0..6).map(|_| alice.post(KEYS, body.clone()))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers
        .iter()
        .filter(|answer| answer.body["code"] == "too_many_keys");
    assert_eq!((made, refused.count()), (2, 4));
}

#[tokio::test]
async fn a_request_sent_again_is_answered_again() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let body = json!({"number": "+18005550101"});
    let keyed = alice.with_header("idempotency-key", "one");
    let first = keyed.post(DIDS, body.clone()).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let again = keyed.post(DIDS, body.clone()).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    for name in ["etag", "content-type"] {
        assert!(first.header(name).is_some(), "{name}");
        assert_eq!(first.header(name), again.header(name), "{name}");
    }
    assert_ne!(first.header("x-request-id"), again.header("x-request-id"));
    assert_eq!(first.text, again.text);
    assert_eq!((first.status, again.status), (201, 201));

    // Another request with the same key is not taken for it.
    let other = keyed.post(DIDS, json!({"number": "+18005550102"})).await;
    assert_eq!(other.expect(422)["code"], "idempotency_key_reused");
    let elsewhere = keyed.post(&format!("{DIDS}?a=1"), body.clone()).await;
    elsewhere.expect(422);
    // Another account's key is its own.
    let taken = bob
        .with_header("idempotency-key", "one")
        .post(DIDS, body.clone())
        .await;
    assert_eq!(taken.expect(409)["code"], "number_taken");
    let taken = bob
        .with_header("idempotency-key", "one")
        .post(DIDS, body.clone())
        .await;
    assert_eq!(
        taken.header("idempotent-replayed"),
        Some("true"),
        "refusals are kept"
    );
    taken.expect(409);
    // Through an API key of the same account it is the same request.
    let (program, _) = program(&server, &alice, &["write"]).await;
    let again = program
        .with_header("idempotency-key", "one")
        .post(DIDS, body.clone())
        .await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    // Other methods take no notice.
    keyed.get(DIDS).await.expect(200);
    for bad in ["", "a b", &"x".repeat(256)] {
        let answer = alice
            .with_header("idempotency-key", bad)
            .post(DIDS, body.clone())
            .await;
        assert_eq!(answer.expect(400)["code"], "bad_idempotency_key", "{bad:?}");
    }
    // A day later it is forgotten.
    server
        .db
        .run("update idempotency_keys set created_at = now() - interval '24 hours'")
        .await;
    let answer = keyed.post(DIDS, body).await;
    assert_eq!(answer.header("idempotent-replayed"), None);
    answer.expect(409);
}

#[tokio::test]
async fn a_hundred_at_once_make_one() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let keyed = alice.with_header("idempotency-key", "once");
    let body = json!({"name": "a program", "scopes": ["read"]});
    let answers = join_all((0..100).map(|_| keyed.post(KEYS, body.clone()))).await;
    let mut fresh = 0;
    for answer in answers {
        match answer.status {
            201 if answer.header("idempotent-replayed").is_none() => fresh += 1,
            201 => assert_eq!(answer.body["key"], json!(null), "a secret is not kept"),
            409 => {
                assert_eq!(answer.body["code"], "request_at_work");
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
            _ => panic!("{}", answer.text),
        }
    }
    assert_eq!(fresh, 1);
    let again = keyed.post(KEYS, body).await.expect(201);
    assert_eq!(again["name"], "a program");
    assert_eq!(
        server.db.one::<i64>("select count(*) from api_keys").await,
        1
    );
}

#[tokio::test]
async fn what_failed_here_is_tried_again() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let keyed = alice.with_header("idempotency-key", "one");
    let body = json!({"number": "+18005550101"});
    server.db.run("alter table dids rename to dids_away").await;
    keyed.post(DIDS, body.clone()).await.expect(500);
    server.db.run("alter table dids_away rename to dids").await;
    let answer = keyed.post(DIDS, body).await;
    assert_eq!(answer.header("idempotent-replayed"), None);
    answer.expect(201);
}

#[tokio::test]
async fn a_request_whose_daemon_died_is_taken_over_after_a_minute() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let keyed = alice.with_header("idempotency-key", "one");
    let body = json!({"number": "+18005550101"});
    keyed.post(DIDS, body.clone()).await.expect(201);
    server
        .db
        .run("delete from dids; update idempotency_keys set status = null, body = null, created_at = now() - interval '58 seconds'")
        .await;
    keyed.post(DIDS, body.clone()).await.expect(409);
    server
        .db
        .run("update idempotency_keys set created_at = now() - interval '60 seconds'")
        .await;
    keyed
        .post(DIDS, json!({"number": "+18005550102"}))
        .await
        .expect(422);
    let answers = join_all((0..10).map(|_| keyed.post(DIDS, body.clone()))).await;
    assert!(
        answers
            .iter()
            .all(|answer| [201, 409].contains(&answer.status))
    );
    assert_eq!(server.db.one::<i64>("select count(*) from dids").await, 1);
    keyed.post(DIDS, body).await.expect(201);
}

#[tokio::test]
async fn the_work_goes_on_when_the_client_goes_away() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let keyed = alice.with_header("idempotency-key", "one");
    let body = json!({"number": "+18005550101"});
    // The insert waits until the client is gone.
    server
        .db
        .run("begin; lock table dids in exclusive mode")
        .await;
    let sent = tokio::spawn({
        let (keyed, body) = (keyed.clone(), body.clone());
        async move { keyed.post(DIDS, body).await }
    });
    eventually("the insert waits", || async {
        server
            .db
            .one::<i64>("select count(*) from pg_locks where not granted")
            .await
            > 0
    })
    .await;
    sent.abort();
    assert!(sent.await.is_err());
    assert_eq!(
        keyed.post(DIDS, body.clone()).await.expect(409)["code"],
        "request_at_work"
    );
    server.db.run("commit").await;
    eventually("the answer is kept", || async {
        server
            .db
            .one::<i64>("select count(*) from idempotency_keys where status = 201")
            .await
            == 1
    })
    .await;
    let answer = keyed.post(DIDS, body).await;
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
    answer.expect(201);
}

#[tokio::test]
async fn a_body_with_a_key_has_the_usual_limits() {
    let server = ApiServer::start().await;
    let alice = server
        .login("alice")
        .await
        .with_header("idempotency-key", "one");
    let large = vec![b' '; 300 * 1024];
    let answer = alice.send_raw(Method::POST, DIDS, Some("application/json"), large);
    answer.await.expect(413);
    let answer = alice.send_raw(Method::POST, DIDS, Some("text/plain"), "{}");
    answer.await.expect(415);
    let kept: i64 = server.db.one("select count(*) from idempotency_keys").await;
    assert_eq!(kept, 0, "what is refused is not kept");
    // A login takes no key.
    let anonymous = server.anonymous().with_header("idempotency-key", "login");
    let body = json!({"username": "alice", "password": PASSWORD});
    anonymous
        .post("/api/auth/login", body.clone())
        .await
        .expect(200);
    let second = anonymous.post("/api/auth/login", body).await;
    assert_eq!(second.header("idempotent-replayed"), None);
    second.expect(200);
}
