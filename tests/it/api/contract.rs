//! What programs written for CapConduit rely on: paths, statuses, names and shapes, on the sample data.

#![allow(
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    reason = "tables of steps, with bodies made where they are used"
)]

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Answer, ApiClient, ApiServer};

const SAMPLE_DATA: &str = include_str!("../../../sql/sample/sample-data.sql");

const USER: &str = "id username email role status fullName companyName createdAt updatedAt";
const CLIENT: &str = "id clientIdentifier name department status notes createdBy createdAt updatedAt \
                      pjsipEndpoint pjsipAor pjsipAuth";
const ENDPOINT: &str = "id transport aors auth context disallow allow direct_media outbound_auth \
                        from_user from_domain callerid";
const AOR: &str = "id contact max_contacts qualify_frequency";
const AUTH: &str = "id auth_type username realm";
const DID: &str = "id number status description createdAt updatedAt";
const CAMPAIGN: &str = "id name status routingStrategy dialTimeoutSeconds description createdAt updatedAt \
                        dids clientSettings";
const CAMPAIGN_LISTED: &str =
    "id name status routingStrategy dialTimeoutSeconds description createdAt updatedAt";
const LINK: &str = "id client status maxConcurrency totalCallsAllowed currentTotalCalls forwardingPriority \
                    weight createdAt updatedAt";
const LINKED_CLIENT: &str = "id clientIdentifier name department";
const LOG: &str = "id campaign did client incomingDidNumber callerIdNum callerIdName timestampStart \
                   timestampAnswered timestampEnd durationSeconds billsecSeconds callStatus hangupCauseCode \
                   hangupCauseText asteriskUniqueid asteriskLinkedid createdAt";
const PAGE: &str = "items page perPage total pages";

/// A server with the sample data in place of its usual accounts; their passwords are the usual one.
async fn sample() -> ApiServer {
    let server = ApiServer::start().await;
    let hash: String = server
        .db
        .one("select password_hash from users where id = 1")
        .await;
    server
        .db
        .run("truncate users restart identity cascade")
        .await;
    let sql = SAMPLE_DATA.replace(":'hash'", &format!("'{hash}'"));
    server.db.run(&sql).await;
    server
}

/// Who asks, `METHOD path`, the body (null: none), the status, and the keys the answer must have: its own,
/// or with `*` before them those of each item, in a list or an array.
type Step = (&'static str, &'static str, Value, u16, &'static str);

/// Who can ask, logged in once.
struct Callers(BTreeMap<&'static str, ApiClient>);

impl Callers {
    async fn of(server: &ApiServer) -> Self {
        Self(BTreeMap::from([
            ("nobody", server.anonymous()),
            ("admin", server.login("platform_admin").await),
            ("staff", server.login("ops_staff").await),
            ("alice", server.login("seller_alice").await),
            ("bob", server.login("seller_bob").await),
            ("program", server.internal()),
        ]))
    }

    async fn walk(&self, steps: Vec<Step>) {
        let mut wrong = Vec::new();
        for (who, what, body, status, keys) in steps {
            let answer = self.ask(who, what, &body).await;
            let complaint = complaint(&answer, status, keys);
            if let Some(complaint) = complaint {
                wrong.push(format!(
                    "{who}: {what} {body}\n    {complaint}\n    {}",
                    answer.text
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    async fn ask(&self, who: &str, what: &str, body: &Value) -> Answer {
        let (method, path) = what.split_once(' ').expect("METHOD path");
        let method: Method = method.parse().expect("a method");
        let body = (!body.is_null()).then_some(body);
        self.0[who].send(method, path, body).await
    }

    #[track_caller]
    fn get<'a>(&'a self, who: &str, path: &'a str) -> impl Future<Output = Value> + 'a {
        let client = self.0[who].clone();
        async move { client.get(path).await.expect(200) }
    }
}

fn complaint(answer: &Answer, status: u16, keys: &str) -> Option<String> {
    if answer.status != status {
        return Some(format!("answered {}, not {status}", answer.status));
    }
    if answer.header("x-request-id").is_none() {
        return Some("has no X-Request-Id".into());
    }
    if status == 204 {
        return (!answer.text.is_empty()).then(|| "204 has a body".into());
    }
    let body = &answer.body;
    if status >= 400 && keys.is_empty() {
        let described = body["message"].is_string() || body["errors"].is_object();
        let coded = body["code"].is_string() && body["requestId"].is_string();
        return (!described || !coded).then(|| "is no problem as promised".into());
    }
    let secret = if status < 400 { secret_in(body) } else { None };
    if let Some(secret) = secret {
        return Some(format!("shows {secret}"));
    }
    match keys.strip_prefix('*') {
        None => missing(body, keys),
        Some(keys) => {
            let (items, page) = match body {
                Value::Array(items) => (items, None),
                list => (list["items"].as_array()?, missing(list, PAGE)),
            };
            if items.is_empty() {
                return Some("has no items to look at".into());
            }
            page.or_else(|| items.iter().find_map(|item| missing(item, keys)))
        }
    }
}

fn missing(object: &Value, keys: &str) -> Option<String> {
    let has: BTreeSet<&str> = match object.as_object() {
        Some(object) => object.keys().map(String::as_str).collect(),
        None => return Some("is no object".into()),
    };
    let lacks: Vec<&str> = keys
        .split_whitespace()
        .filter(|key| !has.contains(key))
        .collect();
    (!lacks.is_empty()).then(|| format!("lacks {lacks:?}"))
}

/// A key that no answer may have.
fn secret_in(value: &Value) -> Option<&str> {
    match value {
        Value::Object(object) => object.iter().find_map(|(key, value)| {
            let secret = key.to_lowercase().contains("hash") || key == "password";
            if secret {
                Some(key.as_str())
            } else {
                secret_in(value)
            }
        }),
        Value::Array(items) => items.iter().find_map(secret_in),
        _ => None,
    }
}

const NONE: Value = Value::Null;

fn with(base: &Value, changes: Value) -> Value {
    let mut body = base.clone();
    for (key, value) in changes.as_object().expect("an object") {
        body[key] = value.clone();
    }
    body
}

fn without(base: &Value, key: &str) -> Value {
    let mut body = base.clone();
    body.as_object_mut().expect("an object").remove(key);
    body
}

#[tokio::test]
async fn conventions_hold_everywhere() {
    let server = sample().await;
    let callers = Callers::of(&server).await;
    callers
        .walk(vec![
            ("nobody", "GET /health", NONE, 200, "status message"),
            ("nobody", "GET /health/", NONE, 404, ""),
            ("nobody", "GET /api/nothing", NONE, 404, ""),
            ("nobody", "GET /", NONE, 404, ""),
            ("alice", "GET /api/seller/dids/", NONE, 404, ""),
            ("alice", "GET /api/seller/dids/1x", NONE, 404, ""),
            ("alice", "PATCH /api/seller/dids/1", json!({}), 405, ""),
            ("alice", "DELETE /api/seller/dids", NONE, 405, ""),
            ("alice", "POST /api/seller/dids", NONE, 415, ""),
            ("alice", "POST /api/seller/dids", json!({}), 400, ""),
            ("alice", "POST /api/seller/dids", json!([]), 400, ""),
            ("nobody", "GET /api/auth/status", NONE, 401, ""),
            (
                "alice",
                "GET /api/auth/status",
                NONE,
                200,
                "logged_in message user",
            ),
            (
                "nobody",
                "POST /api/auth/login",
                json!({"username": "x"}),
                400,
                "errors",
            ),
            (
                "nobody",
                "POST /api/auth/login",
                json!({"username": "x", "password": "y"}),
                401,
                "",
            ),
            (
                "nobody",
                "POST /api/auth/login",
                json!({"username": "x", "password": "y", "z": 1}),
                400,
                "errors",
            ),
        ])
        .await;
    let alice = &callers.0["alice"];
    for (method, status) in [(Method::HEAD, 200), (Method::OPTIONS, 204)] {
        let answer = alice.send(method.clone(), "/api/seller/dids", None).await;
        let fine = answer.status == status || (method == Method::OPTIONS && answer.status == 200);
        assert!(fine && answer.text.is_empty(), "{method}: {answer:?}");
    }
    for (kind, body, status) in [
        (Some("application/json"), "{", 400),
        (Some("application/json"), "null", 400),
        (Some("application/json"), "", 400),
        (Some("text/plain"), "{}", 415),
        (None, "{}", 415),
    ] {
        let answer = alice
            .send_raw(Method::POST, "/api/seller/dids", kind, body)
            .await;
        assert_eq!(answer.status, status, "{kind:?} {body}: {}", answer.text);
        let described = answer.body["message"].is_string() || answer.body["errors"].is_object();
        assert!(described, "{}", answer.text);
    }
    // Times have microseconds and an offset.
    let did = callers.get("alice", "/api/seller/dids/1").await;
    let time = did["createdAt"].as_str().expect("a time");
    assert!(
        time.ends_with("+00:00") && time.len() == "2026-01-31T12:00:00.123456+00:00".len(),
        "{time}"
    );
    let role = callers.ask("alice", "GET /api/admin/users", &NONE).await;
    assert!(
        role.expect(403)["message"]
            .as_str()
            .expect("text")
            .contains("admin")
    );
}

#[tokio::test]
async fn lists_come_by_page() {
    let server = sample().await;
    let callers = Callers::of(&server).await;
    for (path, query, page, per_page, items) in [
        ("/api/seller/dids", "", 1, 20, 3),
        ("/api/seller/dids", "?page=x&per_page=y", 1, 20, 3),
        ("/api/seller/dids", "?page=0&per_page=0", 1, 20, 3),
        ("/api/seller/dids", "?page=-5&per_page=-1", 1, 20, 3),
        ("/api/seller/dids", "?page=2&per_page=2", 2, 2, 1),
        ("/api/seller/dids", "?page=99", 99, 20, 0),
        ("/api/seller/dids", "?status=active", 1, 20, 2),
        ("/api/seller/campaigns", "", 1, 20, 2),
        ("/api/seller/campaigns", "?status=paused", 1, 20, 0),
        ("/api/seller/logs", "", 1, 50, 4),
        ("/api/seller/logs", "?per_page=0", 1, 20, 4),
        ("/api/seller/logs", "?per_page=3&page=2", 2, 3, 1),
    ] {
        let url = format!("{path}{query}");
        let list = callers.get("alice", &url).await;
        let told = (
            &list["page"],
            &list["perPage"],
            list["items"].as_array().map(Vec::len),
        );
        assert_eq!(told, (&json!(page), &json!(per_page), Some(items)), "{url}");
    }
    for path in ["/api/admin/users", "/api/admin/clients"] {
        let list = callers.get("admin", &format!("{path}?per_page=2")).await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{path}");
        assert!(list["total"].as_i64() >= Some(4), "{path}");
    }
    for (who, path) in [
        ("alice", "/api/seller/dids"),
        ("alice", "/api/seller/campaigns"),
        ("alice", "/api/seller/logs"),
        ("admin", "/api/admin/users"),
        ("admin", "/api/admin/clients"),
    ] {
        let many = callers.get(who, &format!("{path}?per_page=30000")).await;
        assert!(
            many["perPage"].as_i64() <= Some(200),
            "{path}: {}",
            many["perPage"]
        );
        let url = format!("GET {path}?page=99999999999999999999");
        let far = callers.ask(who, &url, &NONE).await;
        assert!(matches!(far.status, 200 | 400), "{path}: {}", far.text);
    }
}

#[tokio::test]
async fn users_are_managed_as_the_contract_has_it() {
    let server = sample().await;
    let callers = Callers::of(&server).await;
    let new = json!({"username": "seller_carol", "email": "carol@calls.example",
                     "password": "long enough", "role": "user"});
    let users = "POST /api/admin/users";
    callers
        .walk(vec![
            ("admin", "GET /api/admin/users", NONE, 200, USER_ITEMS),
            ("admin", "GET /api/admin/users/3", NONE, 200, USER),
            ("admin", users, new.clone(), 201, USER),
            ("admin", users, new.clone(), 409, ""),
            (
                "admin",
                users,
                with(&new, json!({"username": "other"})),
                409,
                "",
            ),
            (
                "admin",
                users,
                with(&new, json!({"extra": 1})),
                400,
                "errors",
            ),
            (
                "admin",
                users,
                with(&new, json!({"username": "ab"})),
                400,
                "errors",
            ),
            (
                "admin",
                users,
                with(&new, json!({"username": "x".repeat(81)})),
                400,
                "errors",
            ),
            (
                "admin",
                users,
                with(&new, json!({"username": 12345})),
                400,
                "errors",
            ),
            (
                "admin",
                users,
                with(&new, json!({"username": "a\u{0}bc"})),
                400,
                "errors",
            ),
            (
                "admin",
                users,
                with(&new, json!({"email": "no address"})),
                400,
                "errors",
            ),
            (
                "admin",
                users,
                with(&new, json!({"email": null})),
                400,
                "errors",
            ),
            (
                "admin",
                users,
                with(&new, json!({"password": "short"})),
                400,
                "errors",
            ),
            (
                "admin",
                users,
                with(&new, json!({"role": "root"})),
                400,
                "errors",
            ),
            (
                "admin",
                users,
                with(&new, json!({"status": "gone"})),
                400,
                "errors",
            ),
            ("admin", users, without(&new, "role"), 400, "errors"),
            ("admin", users, without(&new, "password"), 400, "errors"),
            ("admin", "GET /api/admin/users/6", NONE, 200, USER),
            ("admin", "GET /api/admin/users/999", NONE, 404, ""),
            (
                "admin",
                "PUT /api/admin/users/6",
                json!({"fullName": "Carol", "username": "dropped"}),
                200,
                USER,
            ),
            (
                "admin",
                "PUT /api/admin/users/6",
                json!({"fullName": null}),
                200,
                USER,
            ),
            (
                "admin",
                "PUT /api/admin/users/6",
                json!({"username": "dropped"}),
                400,
                "",
            ),
            ("admin", "PUT /api/admin/users/6", json!({}), 400, ""),
            (
                "admin",
                "PUT /api/admin/users/6",
                json!({"email": "alice@leads.example"}),
                409,
                "",
            ),
            (
                "admin",
                "PUT /api/admin/users/6",
                json!({"status": "asleep"}),
                400,
                "errors",
            ),
            (
                "admin",
                "PUT /api/admin/users/999",
                json!({"fullName": "X"}),
                404,
                "",
            ),
            (
                "admin",
                "PUT /api/admin/users/6/password",
                json!({"password": "another one"}),
                200,
                "message",
            ),
            (
                "admin",
                "PUT /api/admin/users/6/password",
                json!({"password": "short"}),
                400,
                "errors",
            ),
            (
                "admin",
                "PUT /api/admin/users/6/password",
                json!({"password": "another one", "x": 1}),
                400,
                "errors",
            ),
            (
                "admin",
                "PUT /api/admin/users/999/password",
                json!({"password": "another one"}),
                404,
                "",
            ),
            ("admin", "DELETE /api/admin/users/1", NONE, 403, ""),
            ("admin", "DELETE /api/admin/users/6", NONE, 204, ""),
            ("admin", "DELETE /api/admin/users/6", NONE, 404, ""),
            ("staff", "GET /api/admin/users", NONE, 403, ""),
            ("alice", "GET /api/admin/users", NONE, 403, ""),
            ("alice", "DELETE /api/admin/users/4", NONE, 403, ""),
            ("nobody", "GET /api/admin/users", NONE, 401, ""),
        ])
        .await;
    // The last administrator stays one.
    for change in [json!({"role": "staff"}), json!({"status": "suspended"})] {
        let answer = callers
            .ask("admin", "PUT /api/admin/users/1", &change)
            .await;
        assert!(
            matches!(answer.status, 403 | 409),
            "{change}: {}",
            answer.text
        );
    }
    let names = callers.get("admin", "/api/admin/users").await;
    let names: Vec<_> = names["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| &u["username"])
        .collect();
    assert_eq!(
        names,
        [
            "ops_staff",
            "platform_admin",
            "seller_alice",
            "seller_bob",
            "seller_pending"
        ]
    );
}

static USER_ITEMS: &str = "*id username email role status fullName companyName createdAt updatedAt";

#[tokio::test]
async fn clients_are_managed_as_the_contract_has_it() {
    let server = sample().await;
    let callers = Callers::of(&server).await;
    let new = json!({
        "clientIdentifier": "client_eps", "name": "Epsilon",
        "pjsip": {
            "endpoint": {"id": "client_eps", "aors": "client_eps", "context": "capconduit-none"},
            "aor": {"id": "client_eps", "contact": "sip:eps@192.0.2.5:5060"},
            "auth": {"id": "auth_to_eps", "username": "eps", "password": "a secret"},
        },
    });
    let bad = |pointer: &str, value: Value| {
        let mut body = new.clone();
        *body.pointer_mut(pointer).expect("there") = value;
        body
    };
    let clients = "POST /api/admin/clients";
    let put = "PUT /api/admin/clients/5";
    callers
        .walk(vec![
            (
                "admin",
                "GET /api/admin/clients",
                NONE,
                200,
                "*id clientIdentifier name department status notes createdBy createdAt updatedAt \
              pjsipEndpoint pjsipAor pjsipAuth",
            ),
            (
                "staff",
                "GET /api/admin/clients?status=inactive",
                NONE,
                200,
                PAGE,
            ),
            (
                "admin",
                "GET /api/admin/clients?status=paused",
                NONE,
                400,
                "",
            ),
            ("admin", clients, new.clone(), 201, CLIENT),
            ("admin", clients, new.clone(), 409, ""),
            (
                "admin",
                clients,
                with(&new, json!({"extra": 1})),
                400,
                "errors",
            ),
            ("admin", clients, without(&new, "pjsip"), 400, "errors"),
            ("admin", clients, without(&new, "name"), 400, "errors"),
            ("admin", clients, bad("/name", json!("")), 400, "errors"),
            (
                "admin",
                clients,
                bad("/pjsip/endpoint/id", json!("other")),
                400,
                "",
            ),
            (
                "admin",
                clients,
                bad("/pjsip/aor/id", json!("other")),
                400,
                "",
            ),
            (
                "admin",
                clients,
                bad("/pjsip/aor/contact", json!("")),
                400,
                "errors",
            ),
            (
                "admin",
                clients,
                bad("/pjsip/endpoint/context", json!("")),
                400,
                "errors",
            ),
            ("admin", "GET /api/admin/clients/5", NONE, 200, CLIENT),
            ("admin", "GET /api/admin/clients/99", NONE, 404, ""),
            ("admin", put, json!({"name": "Eps"}), 200, CLIENT),
            (
                "admin",
                put,
                json!({"name": "Eps", "clientIdentifier": "dropped"}),
                200,
                CLIENT,
            ),
            (
                "admin",
                put,
                json!({"pjsip": {"aor": {"max_contacts": "2"}}}),
                200,
                CLIENT,
            ),
            (
                "admin",
                put,
                json!({"pjsip": {"aor": {"max_contacts": 0}}}),
                400,
                "errors",
            ),
            ("admin", put, json!({"pjsip": {"other": {}}}), 400, "errors"),
            ("admin", put, json!({"status": "gone"}), 400, "errors"),
            (
                "admin",
                "PUT /api/admin/clients/99",
                json!({"name": "X"}),
                404,
                "",
            ),
            ("admin", "DELETE /api/admin/clients/1", NONE, 409, ""),
            ("alice", "GET /api/admin/clients", NONE, 403, ""),
            ("nobody", "GET /api/admin/clients", NONE, 401, ""),
        ])
        .await;
    let client = callers.get("admin", "/api/admin/clients/5").await;
    assert_eq!(client["clientIdentifier"], "client_eps");
    assert_eq!(client["pjsipAor"]["max_contacts"], 2);
    assert_eq!(client["pjsipEndpoint"]["disallow"], "all");
    assert_eq!(
        client["pjsipAuth"]["id"], "auth_to_eps",
        "absent means unchanged"
    );
    for (part, keys) in [
        ("pjsipEndpoint", ENDPOINT),
        ("pjsipAor", AOR),
        ("pjsipAuth", AUTH),
    ] {
        assert_eq!(missing(&client[part], keys), None, "{part}");
    }
    let answer = callers
        .ask("admin", put, &json!({"pjsip": {"auth": null}}))
        .await;
    assert_eq!(answer.expect(200)["pjsipAuth"], NONE);
    callers
        .walk(vec![
            ("admin", "DELETE /api/admin/clients/5", NONE, 204, ""),
            ("admin", "DELETE /api/admin/clients/5", NONE, 404, ""),
        ])
        .await;
}

#[tokio::test]
async fn dids_are_managed_as_the_contract_has_it() {
    let server = sample().await;
    let callers = Callers::of(&server).await;
    callers
        .walk(vec![
            (
                "alice",
                "GET /api/seller/dids",
                NONE,
                200,
                "*id number status description createdAt updatedAt",
            ),
            ("alice", "GET /api/seller/dids?status=paused", NONE, 400, ""),
            (
                "alice",
                "POST /api/seller/dids",
                json!({"number": "+18005550199"}),
                201,
                DID,
            ),
            (
                "bob",
                "POST /api/seller/dids",
                json!({"number": "+18005550199"}),
                409,
                "",
            ),
            (
                "alice",
                "POST /api/seller/dids",
                json!({"number": "18005550199"}),
                400,
                "errors",
            ),
            ("alice", "GET /api/seller/dids/5", NONE, 200, DID),
            ("bob", "GET /api/seller/dids/5", NONE, 404, ""),
            (
                "alice",
                "PUT /api/seller/dids/5",
                json!({"status": "inactive", "number": "+1999"}),
                200,
                DID,
            ),
            (
                "alice",
                "PUT /api/seller/dids/5",
                json!({"number": "+1999"}),
                400,
                "",
            ),
            (
                "bob",
                "PUT /api/seller/dids/5",
                json!({"status": "active"}),
                404,
                "",
            ),
            ("bob", "DELETE /api/seller/dids/5", NONE, 404, ""),
            ("alice", "DELETE /api/seller/dids/5", NONE, 204, ""),
            ("alice", "DELETE /api/seller/dids/5", NONE, 404, ""),
            ("admin", "GET /api/seller/dids", NONE, 403, ""),
            ("staff", "GET /api/seller/dids", NONE, 403, ""),
            ("nobody", "GET /api/seller/dids", NONE, 401, ""),
        ])
        .await;
}

#[tokio::test]
async fn campaigns_and_links_are_managed_as_the_contract_has_it() {
    let server = sample().await;
    let callers = Callers::of(&server).await;
    let new = json!({"name": "Night", "routingStrategy": "weighted", "dialTimeoutSeconds": "30"});
    let link = json!({"clientId": 1, "maxConcurrency": 5, "forwardingPriority": 0, "weight": 10.7});
    let campaigns = "POST /api/seller/campaigns";
    let links = "POST /api/seller/campaigns/5/clients";
    callers
        .walk(vec![
            ("alice", "GET /api/seller/campaigns", NONE, 200, "*id name status routingStrategy dialTimeoutSeconds description createdAt updatedAt"),
            ("alice", "GET /api/seller/campaigns?status=gone", NONE, 400, ""),
            ("alice", campaigns, new.clone(), 201, CAMPAIGN),
            ("alice", campaigns, new.clone(), 409, ""),
            ("alice", campaigns, with(&new, json!({"x": 1})), 400, "errors"),
            ("alice", campaigns, with(&new, json!({"name": ""})), 400, "errors"),
            ("alice", campaigns, with(&new, json!({"routingStrategy": "random"})), 400, "errors"),
            ("alice", campaigns, with(&new, json!({"dialTimeoutSeconds": 0})), 400, "errors"),
            ("alice", campaigns, with(&new, json!({"dialTimeoutSeconds": "10.5"})), 400, "errors"),
            ("alice", campaigns, with(&new, json!({"dialTimeoutSeconds": true})), 400, "errors"),
            ("alice", campaigns, with(&new, json!({"dialTimeoutSeconds": 1_i64 << 40})), 400, "errors"),
            ("alice", "GET /api/seller/campaigns/5", NONE, 200, CAMPAIGN),
            ("bob", "GET /api/seller/campaigns/5", NONE, 404, ""),
            ("alice", "GET /api/seller/campaigns/999", NONE, 404, ""),
            ("alice", "PUT /api/seller/campaigns/5", json!({"status": "paused", "x": 1}), 200, CAMPAIGN),
            ("alice", "PUT /api/seller/campaigns/5", json!({"x": 1}), 400, ""),
            ("alice", "PUT /api/seller/campaigns/5", json!({"name": "Sales US"}), 409, ""),
            ("alice", "PUT /api/seller/campaigns/999", json!({"status": "paused"}), 404, ""),
            ("alice", "PUT /api/seller/campaigns/5/dids", json!({"didIds": [4, "4"]}), 200, "message"),
            ("alice", "PUT /api/seller/campaigns/5/dids", json!({"didIds": []}), 200, "message"),
            ("alice", "PUT /api/seller/campaigns/5/dids", json!({"didIds": [3]}), 403, ""),
            ("alice", "PUT /api/seller/campaigns/5/dids", json!({"didIds": [999]}), 403, ""),
            ("alice", "PUT /api/seller/campaigns/5/dids", json!({}), 400, ""),
            ("alice", "PUT /api/seller/campaigns/5/dids", json!({"didIds": "4"}), 400, "errors"),
            ("bob", "PUT /api/seller/campaigns/5/dids", json!({"didIds": []}), 404, ""),
            ("alice", links, link.clone(), 201, LINK),
            ("alice", links, link.clone(), 409, ""),
            ("alice", links, with(&link, json!({"clientId": 999})), 404, ""),
            ("alice", links, with(&link, json!({"clientId": 2, "maxConcurrency": 0})), 400, "errors"),
            ("alice", links, with(&link, json!({"clientId": 2, "weight": 0})), 400, "errors"),
            ("alice", links, with(&link, json!({"clientId": 2, "forwardingPriority": -1})), 400, "errors"),
            ("alice", links, without(&link, "weight"), 400, "errors"),
            ("alice", "PUT /api/seller/campaigns/5/clients/8", json!({"weight": 20, "x": 1}), 200, LINK),
            ("alice", "PUT /api/seller/campaigns/5/clients/8", json!({"totalCallsAllowed": null}), 200, LINK),
            ("alice", "PUT /api/seller/campaigns/5/clients/8", json!({"clientId": 2}), 400, ""),
            ("alice", "PUT /api/seller/campaigns/5/clients/8", json!({"x": 2}), 400, ""),
            ("alice", "PUT /api/seller/campaigns/1/clients/8", json!({"weight": 1}), 404, ""),
            ("alice", "PUT /api/seller/campaigns/5/clients/999", json!({"weight": 1}), 404, ""),
            ("alice", "DELETE /api/seller/campaigns/1/clients/8", NONE, 404, ""),
            ("alice", "DELETE /api/seller/campaigns/5/clients/8", NONE, 204, ""),
            ("alice", "DELETE /api/seller/campaigns/5/clients/8", NONE, 404, ""),
            ("alice", "DELETE /api/seller/campaigns/5", NONE, 204, ""),
            ("alice", "DELETE /api/seller/campaigns/5", NONE, 404, ""),
            ("alice", "GET /api/seller/campaigns/available_clients", NONE, 200, "*id clientIdentifier name department"),
            ("admin", "GET /api/seller/campaigns", NONE, 403, ""),
            ("nobody", "GET /api/seller/campaigns", NONE, 401, ""),
        ])
        .await;
    // Of another seller: 403 in the contract; 404 tells less. Either, and nothing changes.
    for (what, body) in [
        ("PUT /api/seller/campaigns/3", json!({"status": "paused"})),
        ("DELETE /api/seller/campaigns/3", NONE),
        (links.replace('5', "3").leak() as &str, link.clone()),
        (
            "PUT /api/seller/campaigns/3/clients/5",
            json!({"weight": 1}),
        ),
        ("DELETE /api/seller/campaigns/3/clients/5", NONE),
    ] {
        let answer = callers.ask("alice", what, &body).await;
        assert!(
            matches!(answer.status, 403 | 404),
            "{what}: {}",
            answer.text
        );
    }
    let listed = callers.get("alice", "/api/seller/campaigns").await;
    assert_eq!(missing(&listed["items"][0], CAMPAIGN_LISTED), None);
    let campaign = callers.get("alice", "/api/seller/campaigns/1").await;
    assert_eq!(
        missing(&campaign["dids"][0], "id number description status"),
        None
    );
    let settings = campaign["clientSettings"].as_array().expect("links");
    let order: Vec<_> = settings.iter().map(|link| &link["id"]).collect();
    assert_eq!(order, [1, 2], "by priority");
    assert_eq!(missing(&settings[0], LINK), None);
    assert_eq!(missing(&settings[0]["client"], LINKED_CLIENT), None);
    assert_eq!(settings[0]["currentTotalCalls"], 1);
    let available = callers
        .get("alice", "/api/seller/campaigns/available_clients")
        .await;
    assert_eq!(
        available.as_array().map(Vec::len),
        Some(3),
        "the active ones"
    );
}

#[tokio::test]
async fn call_records_are_read_as_the_contract_has_it() {
    let server = sample().await;
    let callers = Callers::of(&server).await;
    let logs = callers.get("alice", "/api/seller/logs").await;
    let items = logs["items"].as_array().expect("items");
    assert_eq!(
        missing(&logs, PAGE).or_else(|| missing(&items[0], LOG)),
        None
    );
    assert_eq!(missing(&items[0]["campaign"], "id name"), None);
    assert_eq!(missing(&items[0]["did"], "id number"), None);
    assert_eq!(
        missing(&items[0]["client"], "id name clientIdentifier"),
        None
    );
    let starts: Vec<_> = items.iter().map(|i| i["timestampStart"].as_str()).collect();
    assert!(
        starts.is_sorted_by(|a, b| a >= b),
        "newest first: {starts:?}"
    );
    for (query, count) in [
        ("campaign_id=1", 3),
        ("campaign_id=3", 0),
        ("campaign_id=x", 4),
        ("campaign_id=0", 4),
        ("did_id=2", 1),
        ("client_id=2", 3),
        ("call_status=ANSWERED", 3),
        ("call_status=answered", 0),
        ("start_date=2020-01-01", 4),
        ("start_date=2020-01-01&end_date=2020-12-31", 0),
        ("end_date=9999-12-31", 4),
    ] {
        let found = callers
            .get("alice", &format!("/api/seller/logs?{query}"))
            .await;
        assert_eq!(
            found["items"].as_array().map(Vec::len),
            Some(count),
            "{query}"
        );
    }
    callers
        .walk(vec![
            (
                "alice",
                "GET /api/seller/logs?start_date=yesterday",
                NONE,
                400,
                "",
            ),
            (
                "alice",
                "GET /api/seller/logs?end_date=2026-02-30",
                NONE,
                400,
                "",
            ),
            ("admin", "GET /api/seller/logs", NONE, 403, ""),
            ("nobody", "GET /api/seller/logs", NONE, 401, ""),
        ])
        .await;
}

#[tokio::test]
async fn the_dial_plans_programs_ask_and_report_as_the_contract_has_it() {
    let server = sample().await;
    let callers = Callers::of(&server).await;
    let route = "/api/internal/route_info?did=%2B18005550101";
    let info = callers.get("program", route).await;
    assert_eq!(info["status"], "proceed");
    assert_eq!(info.get("rejectReason"), None);
    let routing = &info["routingInfo"];
    let keys = "user_id campaign_id did_id routing_strategy dial_timeout_seconds targets";
    assert_eq!(missing(routing, keys), None);
    let keys = "campaignClientSettingId client_id client_identifier client_name sip_uri max_concurrency \
                weight priority outbound_auth callerid_override context transport";
    assert_eq!(missing(&routing["targets"][0], keys), None);
    let targets: Vec<_> = routing["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["client_id"])
        .collect();
    assert_eq!(targets, [1, 2]);

    server
        .db
        .run("update users set status = 'suspended' where id = 4")
        .await;
    for (did, reason) in [
        ("%2B10000000000", "did_not_found"),
        ("+18005550101", "did_not_found"), // the + is a blank
        ("%2B442075550104", "did_inactive"),
        ("%2B13105550103", "owner_inactive"),
    ] {
        let url = format!("GET /api/internal/route_info?did={did}");
        let refused = callers.ask("program", &url, &NONE).await.expect(404);
        assert_eq!(refused["status"], "reject", "{did}");
        assert_eq!(refused["rejectReason"], reason, "{did}");
        assert_eq!(refused.get("routingInfo"), None);
    }
    let record = json!({
        "incomingDidNumber": "+18005550101", "timestampStart": "2026-01-31T12:00:00Z",
        "callStatus": "answered", "asteriskUniqueid": "contract.1", "userId": 3, "campaignId": 1,
        "didId": 1, "clientId": 1, "campaignClientSettingId": 1, "durationSeconds": 30,
    });
    let log = "POST /api/internal/log_call";
    let other = |changes: Value| {
        with(
            &with(&record, json!({"asteriskUniqueid": "contract.2"})),
            changes,
        )
    };
    callers
        .walk(vec![
            ("program", "GET /api/internal/route_info", NONE, 400, ""),
            (
                "program",
                "GET /api/internal/route_info?did=",
                NONE,
                400,
                "",
            ),
            (
                "nobody",
                "GET /api/internal/route_info?did=1",
                NONE,
                401,
                "",
            ),
            ("admin", "GET /api/internal/route_info?did=1", NONE, 401, ""),
            (
                "program",
                log,
                with(&record, json!({"unknown": "dropped"})),
                201,
                "status message cdrId",
            ),
            ("program", log, record.clone(), 409, ""),
            (
                "program",
                log,
                without(&record, "callStatus"),
                400,
                "status message errors",
            ),
            (
                "program",
                log,
                other(json!({"timestampStart": 1})),
                400,
                "status message errors",
            ),
            (
                "program",
                log,
                other(json!({"durationSeconds": -1})),
                400,
                "status message errors",
            ),
            (
                "program",
                log,
                other(json!({"callStatus": "x".repeat(51)})),
                400,
                "status message errors",
            ),
            (
                "program",
                log,
                other(json!({"campaignClientSettingId": 999})),
                404,
                "",
            ),
            ("nobody", log, record.clone(), 401, ""),
        ])
        .await;
    let answer = callers
        .ask("program", log, &other(json!({"campaignId": 999})))
        .await;
    assert!((400..500).contains(&answer.status), "{}", answer.text);
    let program = &callers.0["program"];
    for (kind, body) in [
        (Some("text/plain"), "{}"),
        (Some("application/json"), "[]"),
        (Some("application/json"), "null"),
        (Some("application/json"), "{"),
    ] {
        let answer = program
            .send_raw(Method::POST, "/api/internal/log_call", kind, body)
            .await;
        assert_eq!(answer.status, 400, "{kind:?} {body}: {}", answer.text);
    }
    // Exactly one more, in upper case; and an unanswered one counts nothing.
    let unanswered = other(json!({"callStatus": "NOANSWER"}));
    callers.ask("program", log, &unanswered).await.expect(201);
    let count: i32 = server
        .db
        .one("select current_total_calls from campaign_client_settings where id = 1")
        .await;
    assert_eq!(count, 2);
    let stored: String = server
        .db
        .one("select string_agg(call_status, ',' order by id) from call_logs where asterisk_uniqueid like 'contract%'")
        .await;
    assert_eq!(stored, "ANSWERED,NOANSWER");
}
