//! Links to recordings that work without a login.

use serde_json::json;

use super::recordings::recorded;
use crate::support::api::{ApiClient, ApiServer};

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
