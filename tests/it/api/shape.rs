//! What all answers have in common: shapes of errors, lists, versions, headers, and what the document says of them.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{ApiClient, ApiServer, settings};

const DIDS: &str = "/api/seller/dids";

async fn add_dids(client: &ApiClient, count: usize) {
    for n in 0..count {
        let number = format!("+1800555{:04}", 100 + n);
        client
            .post(DIDS, json!({ "number": number }))
            .await
            .expect(201);
    }
}

#[tokio::test]
async fn problems_have_the_shape_of_rfc_9457_for_those_who_ask_for_it() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let asking = alice.with_header("accept", "application/json, application/problem+json");

    let answer = asking.get("/api/seller/dids/77").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let id = answer.header("x-request-id").expect("an id").to_owned();
    let problem = answer.expect(404);
    assert_eq!(problem["type"], "/docs/errors#not_found");
    assert_eq!(
        (&problem["status"], &problem["code"]),
        (&json!(404), &json!("not_found"))
    );
    assert_eq!(problem["instance"], format!("/api/seller/dids/77#{id}"));
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    assert!(problem.get("message").is_none() && problem.get("errors").is_none());

    let problem = asking
        .post(DIDS, json!({ "number": 1, "a/b": 2 }))
        .await
        .expect(400);
    assert_eq!(problem["code"], "invalid_fields");
    let errors = problem["errors"].as_array().expect("a list");
    let pointers: HashSet<&str> = errors
        .iter()
        .filter_map(|e| e["pointer"].as_str())
        .collect();
    assert_eq!(pointers, HashSet::from(["#/number", "#/a~1b"]));

    // Before anybody knows who asks, and where nothing is.
    let stranger = server
        .anonymous()
        .with_header("accept", "application/problem+json");
    assert_eq!(
        stranger.get(DIDS).await.expect(401)["code"],
        "not_logged_in"
    );
    assert_eq!(stranger.get("/nowhere").await.expect(404)["status"], 404);

    // All others get what they always got.
    let answer = alice.get("/api/seller/dids/77").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(
        answer
            .header("vary")
            .is_some_and(|vary| vary.contains("accept"))
    );
    let problem = answer.expect(404);
    let keys: Vec<&String> = problem.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["code", "message", "requestId"]);
}

#[tokio::test]
async fn where_a_problem_leads_its_code_is_explained() {
    let server = ApiServer::start().await;
    let page = server.anonymous().get("/docs/errors").await;
    assert_eq!(page.status, 200);
    for code in capconduit::http::kit::code::Code::ALL {
        assert!(
            page.text.contains(&format!("id=\"{}\"", code.as_str())),
            "{code:?}"
        );
    }
}

#[tokio::test]
async fn every_list_goes_on_by_cursor_and_says_so() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    add_dids(&alice, 5).await;

    let mut path = format!("{DIDS}?per_page=2&status=active&cursor=start");
    let mut seen = Vec::new();
    for part in 1.. {
        let answer = alice.get(&path).await;
        let link = answer.header("link").map(str::to_owned);
        let page = answer.expect(200);
        assert_eq!(
            (&page["total"], &page["pages"], &page["page"]),
            (&json!(5), &json!(3), &json!(part))
        );
        let items = page["items"].as_array().expect("items");
        seen.extend(items.iter().map(|did| did["number"].clone()));
        let Some(cursor) = page["nextCursor"].as_str() else {
            assert_eq!((link, &page["hasMore"], part), (None, &json!(false), 3));
            break;
        };
        assert_eq!(page["hasMore"], true);
        let link = link.expect("a link");
        let next = format!("<{DIDS}?per_page=2&status=active&cursor={cursor}>; rel=\"next\"");
        assert!(link.starts_with(&next), "{link}");
        path = next[1..next.find('>').expect("an end")].to_owned();
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by_key(|number| number.as_str().unwrap_or_default().to_owned()));

    // The audit log has been read by cursor always.
    let audit = alice.get("/api/seller/audit?per_page=2").await;
    assert!(
        audit
            .header("link")
            .is_some_and(|link| link.contains("rel=\"next\""))
    );
    let audit = audit.expect(200);
    let cursor = audit["nextCursor"].as_str().expect("a cursor").to_owned();
    let next = alice
        .get(&format!("/api/seller/audit?per_page=2&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(
        (next["items"].as_array().map(Vec::len), &next["hasMore"]),
        (Some(2), &json!(true))
    );
    // It counts for whoever asks.
    assert_eq!(next.get("total"), None);
    let counted = alice
        .get(&format!(
            "/api/seller/audit?per_page=2&total=true&cursor={cursor}"
        ))
        .await
        .expect(200);
    assert_eq!(counted["total"], 5);
    let staff = server.login("staff").await;
    for list in [
        "/api/admin/audit?action=create",
        "/api/admin/recordings?state=stored",
        "/api/admin/transcription-jobs?state=failed",
    ] {
        let counted = staff.get(&format!("{list}&total=true")).await.expect(200);
        let expected = if list.contains("audit") { 5 } else { 0 };
        assert_eq!(counted["total"], expected, "{list}");
    }
    // A cursor is for one list.
    for path in [
        format!("{DIDS}?cursor={cursor}"),
        format!("{DIDS}?cursor=x"),
        "/api/seller/audit?cursor=17".into(),
    ] {
        assert_eq!(
            alice.get(&path).await.expect(400)["code"],
            "bad_cursor",
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_was_made_says_where_it_is() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let made = alice.post(DIDS, json!({ "number": "+18005550101" })).await;
    let place = made.header("location").expect("a place").to_owned();
    let did = made.expect(201);
    assert_eq!(place, format!("{DIDS}/{}", did["id"]));
    assert_eq!(alice.get(&place).await.expect(200), did);

    let made = alice
        .post(
            "/api/seller/campaigns",
            json!({
                "name": "Sales", "routingStrategy": "priority", "dialTimeoutSeconds": 20,
            }),
        )
        .await;
    let place = made.header("location").expect("a place").to_owned();
    made.expect(201);
    alice.get(&place).await.expect(200);

    // Kept for whoever sends it again.
    let again = alice.with_header("idempotency-key", "one");
    let first = again.post(DIDS, json!({ "number": "+18005550102" })).await;
    let second = again.post(DIDS, json!({ "number": "+18005550102" })).await;
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.header("location"), second.header("location"));
}

#[tokio::test]
async fn what_a_reader_has_is_not_sent_again() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    add_dids(&alice, 1).await;
    for path in [
        "/api/seller/dids/1",
        "/api/openapi.json",
        "/docs",
        "/docs/errors",
    ] {
        let whole = alice.get(path).await;
        let tag = whole.header("etag").expect(path).to_owned();
        assert_eq!(whole.status, 200, "{path}");
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            "*".into(),
        ] {
            let known = alice.with_header("if-none-match", &known).get(path).await;
            assert_eq!((known.status, known.text.as_str()), (304, ""), "{path}");
            assert_eq!(known.header("etag"), Some(tag.as_str()));
        }
        let other = alice.with_header("if-none-match", "\"x\"").get(path).await;
        assert_eq!(other.status, 200, "{path}");
    }
    let tag = alice.get("/api/seller/dids/1").await;
    let tag = tag.header("etag").expect("a tag").to_owned();
    alice
        .put("/api/seller/dids/1", json!({ "description": "x" }))
        .await
        .expect(200);
    let changed = alice
        .with_header("if-none-match", &tag)
        .get("/api/seller/dids/1")
        .await;
    assert_eq!(changed.status, 200);
}

#[tokio::test]
async fn where_it_is_demanded_changes_say_of_which_version_they_are() {
    let mut demanding = settings();
    demanding.require_if_match = true;
    let server = ApiServer::start_with(demanding).await;
    let alice = server.login("alice").await;
    add_dids(&alice, 1).await;
    let one = "/api/seller/dids/1";
    let refused = alice.put(one, json!({ "description": "x" })).await;
    assert_eq!(refused.expect(428)["code"], "if_match_required");
    assert_eq!(
        alice.delete(one).await.expect(428)["code"],
        "if_match_required"
    );
    let tag = alice
        .get(one)
        .await
        .header("etag")
        .expect("a tag")
        .to_owned();
    let sure = alice.with_header("if-match", &tag);
    sure.put(one, json!({ "description": "x" }))
        .await
        .expect(200);
    assert_eq!(
        sure.delete(one).await.expect(412)["code"],
        "changed_meanwhile"
    );
    let about = alice.get("/api/about").await.expect(200);
    assert_eq!(about["features"]["ifMatchRequired"], true);
}

#[tokio::test]
async fn long_answers_are_compressed_but_secrets_and_streams_are_not() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    add_dids(&alice, 20).await;
    let coding = |client: &ApiClient, path: &'static str, accept: &'static str| {
        let client = client.with_header("accept-encoding", accept);
        async move {
            let answer = client.get(path).await;
            assert_eq!(answer.status, 200, "{path}");
            answer.header("content-encoding").map(str::to_owned)
        }
    };
    for (accept, expected) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("gzip, br", Some("br")),
        ("identity", None),
    ] {
        for path in ["/api/seller/dids?per_page=50", "/api/openapi.json", "/docs"] {
            assert_eq!(
                coding(&alice, path, accept).await.as_deref(),
                expected,
                "{path} {accept}"
            );
        }
    }
    // Short, and about the account itself.
    assert_eq!(coding(&alice, "/api/seller/dids/1", "gzip").await, None);
    assert_eq!(coding(&alice, "/api/auth/sessions", "gzip").await, None);
    let events = alice
        .http
        .get(format!("{}/api/events", alice.base))
        .header("accept-encoding", "gzip");
    let events = alice
        .headers
        .iter()
        .fold(events, |request, (name, value)| request.header(name, value));
    let events = events.send().await.expect("an answer");
    assert_eq!(events.headers().get("content-encoding"), None);
}

#[tokio::test]
async fn a_callers_request_id_and_trace_go_on() {
    let server = ApiServer::start().await;
    let client = server
        .anonymous()
        .with_header("x-request-id", "gateway-17.a")
        .with_header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        );
    let answer = client.get(DIDS).await;
    assert_eq!(answer.header("x-request-id"), Some("gateway-17.a"));
    let trace = answer.header("traceparent").expect("a trace");
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace.ends_with("-01"));
    assert_eq!(answer.expect(401)["requestId"], "gateway-17.a");
    // What could harm a log is replaced.
    let client = server
        .anonymous()
        .with_header("x-request-id", "a b\"")
        .with_header("traceparent", "00-x");
    let answer = client.get(DIDS).await;
    assert_eq!(answer.header("x-request-id").map(str::len), Some(16));
    assert_eq!(answer.header("traceparent"), None);
}

#[tokio::test]
async fn pages_of_listed_sites_may_use_the_api_and_no_others() {
    const CONSOLE: &str = "https://console.example.com";
    let mut open = settings();
    open.cors_origins = vec![CONSOLE.to_owned()];
    open.public_origin = Some("https://calls.example.com".to_owned());
    let server = ApiServer::start_with(open).await;
    let alice = server.login("alice").await;

    let ask = |origin: &str| {
        server
            .anonymous()
            .with_header("origin", origin)
            .with_header("access-control-request-method", "PUT")
            .with_header("access-control-request-headers", "content-type")
    };
    let asked = ask(CONSOLE)
        .send(Method::OPTIONS, "/api/seller/dids/1", None)
        .await;
    assert_eq!(asked.status, 204);
    assert_eq!(asked.header("access-control-allow-origin"), Some(CONSOLE));
    assert_eq!(
        asked.header("access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(asked.header("access-control-max-age"), Some("600"));
    assert!(
        asked
            .header("access-control-allow-methods")
            .is_some_and(|m| m.contains("PUT"))
    );
    assert!(
        asked
            .header("access-control-allow-headers")
            .is_some_and(|h| h.contains("if-match"))
    );

    let read = alice.with_header("origin", CONSOLE).get(DIDS).await;
    assert_eq!(read.header("access-control-allow-origin"), Some(CONSOLE));
    assert!(
        read.header("access-control-expose-headers")
            .is_some_and(|h| h.contains("etag"))
    );
    read.expect(200);
    alice
        .with_header("origin", CONSOLE)
        .post(DIDS, json!({ "number": "+18005550101" }))
        .await
        .expect(201);
    // Errors can be read, too.
    let refused = server
        .anonymous()
        .with_header("origin", CONSOLE)
        .get(DIDS)
        .await;
    assert_eq!(
        (
            refused.status,
            refused.header("access-control-allow-origin")
        ),
        (401, Some(CONSOLE))
    );

    let host = server.address.to_string();
    for foreign in [
        "https://evil.example",
        "http://console.example.com",
        "https://console.example.com.evil.example",
        "null",
        "*",
        "https://console.example.com:8443",
        &format!("http://{host}"),
    ] {
        let asked = ask(foreign)
            .send(Method::OPTIONS, "/api/seller/dids/1", None)
            .await;
        assert_eq!(
            asked.header("access-control-allow-origin"),
            None,
            "{foreign}"
        );
        let read = alice.with_header("origin", foreign).get(DIDS).await;
        assert_eq!(
            read.header("access-control-allow-origin"),
            None,
            "{foreign}"
        );
        assert!(
            read.header("vary")
                .is_some_and(|vary| vary.contains("origin"))
        );
        // With public_url set the name of the request is not enough either.
        let write = alice
            .with_header("origin", foreign)
            .post(DIDS, json!({ "number": "+18005550102" }))
            .await;
        assert_eq!(write.expect(403)["code"], "foreign_origin", "{foreign}");
    }
    alice
        .with_header("origin", "https://calls.example.com")
        .delete("/api/seller/dids/1")
        .await
        .expect(204);
}

#[tokio::test]
async fn one_noun_finds_calls_under_way_and_ended_ones() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let staff = server.login("staff").await;
    let id: i64 = server
        .db
        .one(
            "insert into call_logs (user_id, incoming_did_number, timestamp_start, timestamp_end, duration_seconds,
                 billsec_seconds, call_status, attempts)
             values (3, '+18005550101', now() - interval '1 hour', now(), 60, 0, 'ABANDONED', 0) returning id",
        )
        .await;
    assert_eq!(alice.get("/api/seller/calls").await.expect(200)["total"], 0);
    let ended = alice.get("/api/seller/calls?state=ended").await.expect(200);
    assert_eq!(ended, alice.get("/api/seller/logs").await.expect(200));
    assert_eq!(
        (&ended["items"][0]["id"], &ended["items"][0]["state"]),
        (&json!(id), &json!("ended"))
    );
    let call = alice.get(&format!("/api/seller/calls/{id}")).await;
    let tag = call.header("etag").expect("a version").to_owned();
    let call = call.expect(200);
    assert_eq!(
        call,
        alice
            .get(&format!("/api/seller/logs/{id}"))
            .await
            .expect(200)
    );
    let known = alice
        .with_header("if-none-match", &tag)
        .get(&format!("/api/seller/calls/{id}"))
        .await;
    assert_eq!(known.status, 304);
    bob.get(&format!("/api/seller/calls/{id}"))
        .await
        .expect(404);
    assert_eq!(
        staff
            .get(&format!("/api/admin/calls/{id}"))
            .await
            .expect(200)["userId"],
        3
    );
    for part in ["recording", "transcript", "transcription"] {
        let (new, old) = (
            format!("/api/seller/calls/{id}/{part}"),
            format!("/api/seller/logs/{id}/{part}"),
        );
        let (new, old) = (
            alice.get(&new).await.expect(404),
            alice.get(&old).await.expect(404),
        );
        assert_eq!(new["code"], old["code"], "{part}");
    }
    let export = alice.get("/api/seller/calls/export").await;
    assert_eq!(export.text, alice.get("/api/seller/logs/export").await.text);
    let counted = alice
        .get("/api/seller/calls/statistics?group_by=status")
        .await
        .expect(200);
    assert_eq!(
        counted["rows"],
        alice
            .get("/api/seller/statistics?group_by=status")
            .await
            .expect(200)["rows"]
    );
    // With a cursor the log counts only who asks for it.
    let log = alice
        .get("/api/seller/calls?state=ended&cursor=start&total=true")
        .await
        .expect(200);
    assert_eq!((&log["total"], &log["page"]), (&json!(1), &Value::Null));
    assert_eq!(
        alice.get("/api/seller/calls?state=x").await.expect(400)["code"],
        "bad_parameter"
    );

    // A key for calls under way alone does not read the log.
    let key = alice
        .post(
            "/api/auth/keys",
            json!({ "name": "k", "scopes": ["calls:read"] }),
        )
        .await
        .expect(201);
    let key = format!("Bearer {}", key["key"].as_str().expect("a key"));
    let program = server.anonymous().with_header("authorization", &key);
    program.get("/api/seller/calls").await.expect(200);
    for path in [
        "/api/seller/calls?state=ended".to_owned(),
        format!("/api/seller/calls/{id}"),
    ] {
        assert_eq!(
            program.get(&path).await.expect(403)["code"],
            "scope_missing",
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_call_under_way_is_read_by_its_id() {
    let server = ApiServer::start().await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    server
        .db
        .run(
            "insert into calls (asterisk_uniqueid, asterisk_linkedid, channel, node_name, incoming_did_number, user_id,
                 started_at, expires_at)
             values ('1.1', '1.1', 'c', 'api', '+18005550101', 3, now(), now() + interval '1 hour')",
        )
        .await;
    let list = alice.get("/api/seller/calls?state=live").await.expect(200);
    let id = list["items"][0]["id"].as_i64().expect("an id");
    assert_eq!(list["items"][0]["callId"], id);
    let call = alice
        .get(&format!("/api/seller/calls/{id}"))
        .await
        .expect(200);
    assert_eq!(
        (&call["id"], &call["state"]),
        (&json!(id), &json!("routing"))
    );
    bob.get(&format!("/api/seller/calls/{id}"))
        .await
        .expect(404);
    // The log has what has ended.
    alice
        .get(&format!("/api/seller/logs/{id}"))
        .await
        .expect(404);
}

#[tokio::test]
async fn a_server_says_what_it_is() {
    let server = ApiServer::start().await;
    server.anonymous().get("/api/about").await.expect(401);
    let about = server
        .login("bob")
        .await
        .get("/api/about")
        .await
        .expect(200);
    assert_eq!(
        (&about["name"], &about["role"]),
        (&json!("capconduit"), &json!("user"))
    );
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["limits"]["perPage"], 200);
    assert_eq!(about["features"]["recording"], true);
}
