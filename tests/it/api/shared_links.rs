//! Links to recordings that work without a login.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::recordings::{audio, enlarge, recorded};
use crate::support::api::{ApiClient, ApiServer, PASSWORD, settings};

const ALICE: i32 = 3;

async fn share(client: &ApiClient, path: &str, body: serde_json::Value) -> String {
    let link = client.post(path, body).await;
    let place = link.header("location").expect("a place").to_owned();
    let link = link.expect(201);
    assert_eq!(link["url"], place);
    place
}

fn own(call: i64) -> String {
    format!("/api/seller/calls/{call}/recording/link")
}

#[tokio::test]
async fn a_link_is_heard_by_anybody_as_far_as_its_maker_could_hear_it() {
    let server = ApiServer::start().await;
    let (call, _) = recorded(&server, ALICE).await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    let anybody = server.anonymous();

    let url = share(&alice, &own(call), json!({ "seconds": 60, "leg": "agent" })).await;
    let heard = anybody.get(&url).await;
    assert_eq!(
        (heard.status, heard.header("content-type")),
        (200, Some("audio/wav"))
    );
    let told = heard
        .header("content-disposition")
        .expect("a name")
        .to_owned();
    assert!(
        told.starts_with("inline") && told.contains(&format!("-call-{call}-agent.wav")),
        "{told}"
    );
    let kept = anybody.get(&format!("{url}?download=1")).await;
    assert!(
        kept.header("content-disposition")
            .is_some_and(|told| told.starts_with("attachment"))
    );
    let part = anybody.with_header("range", "bytes=0-99").get(&url).await;
    assert_eq!(
        (part.status, part.header("content-length")),
        (206, Some("100"))
    );
    // Without a body it is both sides, for an hour.
    let whole = alice
        .send(reqwest::Method::POST, &own(call), None)
        .await
        .expect(201);
    assert_eq!(whole["leg"], "mix");

    // Another seller can make none, staff can.
    bob.post(&own(call), json!({ "seconds": 60 }))
        .await
        .expect(404);
    let staff = server.login("staff").await;
    let of_staff = format!("/api/admin/calls/{call}/recording/link");
    let of_staff = share(&staff, &of_staff, json!({ "seconds": 60 })).await;
    assert_eq!(anybody.get(&of_staff).await.status, 200);
    for bad in [
        json!({ "seconds": 0 }),
        json!({ "seconds": 604_801 }),
        json!({ "leg": "all" }),
    ] {
        assert_eq!(
            alice.post(&own(call), bad).await.expect(400)["code"],
            "invalid_fields"
        );
    }
    // Who made it, is written down.
    let audit = alice
        .get("/api/seller/audit?action=share")
        .await
        .expect(200);
    assert_eq!(audit["items"].as_array().map(Vec::len), Some(2));
    assert!(
        !audit
            .to_string()
            .contains(url.rsplit('/').next().expect("a token"))
    );

    // Another daemon on the database takes it as well.
    let (second, _end) = server.second(crate::support::api::settings()).await;
    assert_eq!(second.get(&url).await.status, 200);
}

#[tokio::test]
async fn a_link_ends_with_its_time_its_recording_and_its_makers_account() {
    let server = ApiServer::start().await;
    let (call, recording) = recorded(&server, ALICE).await;
    let alice = server.login("alice").await;
    let anybody = server.anonymous();
    let short = share(&alice, &own(call), json!({ "seconds": 1 })).await;
    let url = share(&alice, &own(call), json!({ "seconds": 3_600 })).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let answer = anybody.get(&short).await;
        if answer.status == 404 {
            assert_eq!(answer.body["code"], "link_ended");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "it does not end");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    server
        .db
        .run("update users set status = 'suspended' where id = 3")
        .await;
    assert_eq!(anybody.get(&url).await.expect(404)["code"], "link_ended");
    server
        .db
        .run("update users set status = 'active' where id = 3")
        .await;
    assert_eq!(anybody.get(&url).await.status, 200);

    let admin = server.login("admin").await;
    admin
        .delete(&format!("/api/admin/recordings/{recording}"))
        .await
        .expect(202);
    assert_eq!(
        anybody.get(&url).await.expect(404)["code"],
        "recording_deleted"
    );
    assert_eq!(
        alice.post(&own(call), json!({})).await.expect(404)["code"],
        "recording_deleted"
    );
}

#[tokio::test]
async fn forged_links_open_nothing() {
    let server = ApiServer::start().await;
    let (call, _) = recorded(&server, ALICE).await;
    let alice = server.login("alice").await;
    let anybody = server.anonymous();
    let url = share(&alice, &own(call), json!({ "seconds": 3_600 })).await;
    let (path, token) = url.rsplit_once('/').expect("a token");
    let mut tried = 0;
    for place in 0..token.len() {
        for other in ['A', 'z', '_'] {
            let mut forged: Vec<char> = token.chars().collect();
            if forged[place] == other {
                continue;
            }
            forged[place] = other;
            let forged: String = forged.into_iter().collect();
            let answer = anybody.get(&format!("{path}/{forged}")).await;
            assert_eq!(answer.expect(404)["code"], "link_not_valid", "{forged}");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
    for odd in [
        "x",
        "%00",
        "....",
        &token[..86],
        &format!("{token}A"),
        &"A".repeat(87),
        &"-".repeat(5_000),
    ] {
        assert_eq!(
            anybody.get(&format!("{path}/{odd}")).await.status,
            404,
            "{odd}"
        );
    }
    // With another key all links made before have ended.
    server.db.run("delete from signing_keys").await;
    assert_eq!(
        anybody.get(&url).await.expect(404)["code"],
        "link_not_valid"
    );
    let new = share(&alice, &own(call), json!({})).await;
    assert_eq!(anybody.get(&new).await.status, 200);
    assert_eq!(
        anybody.get(&url).await.expect(404)["code"],
        "link_not_valid"
    );
}

/// The head of an answer whose body is not read yet.
async fn listen(client: &ApiClient, path: &str) -> reqwest::Response {
    let mut request = client.http.get(format!("{}{path}", client.base));
    for (name, value) in &client.headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    answer
}

#[tokio::test]
async fn a_link_ends_when_the_access_that_made_it_is_taken_back() {
    let server = ApiServer::start().await;
    let (call, _) = recorded(&server, ALICE).await;
    let admin = server.login("admin").await;
    let anybody = server.anonymous();
    let users = "/api/admin/users";
    let same_password = "update users set password_hash = (select password_hash from users where id = 4) where id = 3";
    let back = json!({"role": "user", "status": "active"});
    for (what, path, change) in [
        ("POST", "3/revoke-all", Value::Null),
        ("PUT", "3/password", json!({"password": "another password"})),
        ("PUT", "3", json!({"status": "suspended"})),
        ("PUT", "3", json!({"role": "staff"})),
    ] {
        let alice = server.login("alice").await;
        let url = share(&alice, &own(call), json!({})).await;
        assert_eq!(anybody.get(&url).await.status, 200);
        let path = format!("{users}/{path}");
        if what == "POST" {
            admin.post(&path, change.clone()).await.expect(200);
        } else {
            admin.put(&path, change.clone()).await.expect(200);
        }
        let ended = anybody.get(&url).await.expect(404);
        assert_eq!(ended["code"], "link_ended", "{path} {change}");
        // Nor does it come back.
        admin
            .put(&format!("{users}/3"), back.clone())
            .await
            .expect(200);
        anybody.get(&url).await.expect(404);
        server.db.run(same_password).await;
    }

    // Whoever changes the own password ends what others made with the old one.
    let alice = server.login("alice").await;
    let url = share(&alice, &own(call), json!({})).await;
    let change = json!({"currentPassword": PASSWORD, "newPassword": "quite another password"});
    alice.put("/api/auth/password", change).await.expect(200);
    assert_eq!(anybody.get(&url).await.expect(404)["code"], "link_ended");
    let again = share(&alice, &own(call), json!({})).await;
    assert_eq!(anybody.get(&again).await.status, 200);
}

#[tokio::test]
async fn a_link_ends_with_the_api_key_that_made_it_and_no_other() {
    let server = ApiServer::start().await;
    let (call, _) = recorded(&server, ALICE).await;
    let alice = server.login("alice").await;
    let anybody = server.anonymous();
    let mut made = Vec::new();
    for name in ["one", "other"] {
        let body = json!({"name": name, "scopes": ["read", "write"]});
        let key = alice.post("/api/auth/keys", body).await.expect(201);
        let bearer = format!("Bearer {}", key["key"].as_str().expect("a key"));
        let program = anybody.with_header("authorization", &bearer);
        let url = share(&program, &own(call), json!({})).await;
        made.push((key["id"].clone(), url));
    }
    let by_hand = share(&alice, &own(call), json!({})).await;
    let revoked = format!("/api/auth/keys/{}", made[0].0);
    alice.delete(&revoked).await.expect(204);
    let ended = anybody.get(&made[0].1).await.expect(404);
    assert_eq!(ended["code"], "link_ended");
    assert_eq!(anybody.get(&made[1].1).await.status, 200);
    assert_eq!(anybody.get(&by_hand).await.status, 200);
}

#[tokio::test]
async fn who_reads_by_a_link_takes_nothing_from_its_maker() {
    let server = ApiServer::start().await;
    let (call, _) = recorded(&server, ALICE).await;
    enlarge(&server).await;
    let alice = server.login("alice").await;
    let anybody = server.anonymous();
    let url = share(&alice, &own(call), json!({})).await;
    let mut readers = join_all((0..4).map(|_| listen(&anybody, &url))).await;
    let refused = anybody.get(&url).await;
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.expect(429)["code"], "too_many_downloads");
    // All places of the maker are free.
    let own_way = audio(call);
    readers.extend(join_all((0..4).map(|_| listen(&alice, &own_way))).await);
    // Another link has its own, as long as those of one maker are not too many.
    for _ in 0..2 {
        let other = share(&alice, &own(call), json!({"seconds": 60 + readers.len()})).await;
        readers.extend(join_all((0..4).map(|_| listen(&anybody, &other))).await);
    }
    let last = share(&alice, &own(call), json!({"seconds": 600})).await;
    assert_eq!(
        anybody.get(&last).await.expect(429)["code"],
        "too_many_downloads"
    );
}

#[tokio::test]
async fn who_reads_by_links_too_often_keeps_nobody_from_logging_in() {
    let server = ApiServer::start_with(capconduit::http::api::Settings {
        anonymous_requests_per_minute: 60,
        ..settings()
    })
    .await;
    let (call, _) = recorded(&server, ALICE).await;
    let alice = server.login("alice").await;
    let anybody = server.anonymous();
    let url = share(&alice, &own(call), json!({ "leg": "agent" })).await;
    let answers = join_all((0..30).map(|_| anybody.get(&url))).await;
    let refused = answers.iter().filter(|answer| answer.status == 429);
    assert!(refused.count() >= 15);
    // Ten at once are allowed, and none of them is used.
    for _ in 0..8 {
        server.login("alice").await;
    }
}

#[tokio::test]
async fn a_recording_that_is_deleted_is_not_sent_to_its_end() {
    let server = ApiServer::start().await;
    let (call, recording) = recorded(&server, ALICE).await;
    let whole = enlarge(&server).await.len();
    let (alice, admin) = (server.login("alice").await, server.login("admin").await);
    let anybody = server.anonymous();
    let url = share(&alice, &own(call), json!({})).await;
    let readers = [
        listen(&alice, &audio(call)).await,
        listen(&anybody, &url).await,
    ];
    admin
        .delete(&format!("/api/admin/recordings/{recording}"))
        .await
        .expect(202);
    let since = Instant::now();
    // As a player reads: to the end it would take minutes.
    let read = async |mut answer: reqwest::Response| {
        let mut bytes = 0;
        while let Ok(Some(chunk)) = answer.chunk().await {
            bytes += chunk.len();
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(since.elapsed() < Duration::from_secs(15), "it goes on");
        }
        bytes
    };
    for bytes in join_all(readers.map(read)).await {
        assert!(bytes < whole, "{bytes}");
    }
}
