//! Clients: call centres with their PJSIP objects.

use serde_json::{Value, json};

use crate::support::api::{ApiClient, ApiServer};
use crate::support::eventually;

const CLIENTS: &str = "/api/admin/clients";

/// The smallest body of a new client.
fn body(id: &str) -> Value {
    json!({
        "clientIdentifier": id,
        "name": "Alpha",
        "pjsip": {
            "endpoint": {"id": id, "aors": id, "context": "capconduit-none"},
            "aor": {"id": id, "contact": "sip:alpha@127.0.0.1:5071"},
        },
    })
}

fn with_auth(id: &str, auth: &str) -> Value {
    let mut body = body(id);
    body["pjsip"]["auth"] =
        json!({"id": auth, "username": "u", "password": "secret; word", "realm": "r"});
    body["pjsip"]["endpoint"]["outbound_auth"] = json!(auth);
    body
}

/// A body with another value at a place such as `/pjsip/aor/contact`.
fn set(mut body: Value, place: &str, value: Value) -> Value {
    let (object, key) = place.rsplit_once('/').unwrap();
    body.pointer_mut(object).unwrap()[key] = value;
    body
}

async fn created(client: &ApiClient, body: Value) -> (String, Value) {
    let client = client.post(CLIENTS, body).await.expect(201);
    (format!("{CLIENTS}/{}", client["id"]), client)
}

#[tokio::test]
async fn a_client_is_added_with_all_its_objects_and_read_by_asterisk() {
    let server = ApiServer::start().await;
    let staff = server.login("staff").await;
    let answer = staff.post(CLIENTS, body("client_alpha")).await;
    let tag = answer.header("etag").expect("a tag").to_owned();
    let client = answer.expect(201);
    let times = (client["createdAt"].clone(), client["updatedAt"].clone());
    assert_eq!(
        client,
        json!({
            "id": 1, "clientIdentifier": "client_alpha", "name": "Alpha", "department": null, "status": "active", "access": "open",
            "notes": null, "register": false, "registered": null, "createdBy": 2, "createdAt": times.0, "updatedAt": times.1,
            "pjsipEndpoint": {
                "id": "client_alpha", "transport": null, "aors": "client_alpha", "auth": null,
                "context": "capconduit-none", "disallow": "all", "allow": "ulaw,alaw,gsm", "direct_media": "no",
                "media_encryption": "no", "outbound_auth": null, "from_user": null, "from_domain": null, "callerid": null,
            },
            "pjsipAor": {
                "id": "client_alpha", "contact": "sip:alpha@127.0.0.1:5071", "max_contacts": 1,
                "qualify_frequency": 60,
            },
            "pjsipAuth": null,
        })
    );
    let read = staff.get(&format!("{CLIENTS}/1")).await;
    assert_eq!(read.header("etag"), Some(tag.as_str()));
    assert_eq!(read.expect(200), client);

    let mut full = with_auth("client.beta-2", "auth_to_beta");
    full["department"] = json!("Sales");
    full["status"] = json!("inactive");
    full["notes"] = json!("two\nlines");
    full["pjsip"]["aor"]["contact"] = json!("sip:b;x@gw:5061;transport=tcp;lr");
    full["pjsip"]["aor"]["max_contacts"] = json!("3");
    full["pjsip"]["endpoint"]["callerid"] = json!("\"Bäta\" <+18005550101>");
    full["pjsip"]["endpoint"]["from_user"] = json!("+18005550101");
    full["pjsip"]["endpoint"]["from_domain"] = json!("sip.example.com");
    full["pjsip"]["endpoint"]["unknown"] = json!("is dropped");
    full["pjsip"]["aor"]["unknown"] = json!(1);
    full["pjsip"]["auth"]["unknown"] = json!(null);
    let (one, client) = created(&staff, full).await;
    assert_eq!(
        client["pjsipAuth"],
        json!({"id": "auth_to_beta", "auth_type": "userpass", "username": "u", "realm": "r"})
    );
    assert_eq!(client["pjsipAor"]["max_contacts"], 3);
    assert_eq!(staff.get(&one).await.expect(200), client);

    // What Asterisk sees: nothing of an inactive client; then values that it reads as one each.
    server.db.run("set role capconduit_asterisk").await;
    let seen = "select string_agg(id, ',' order by id) from ps_endpoints";
    assert_eq!(server.db.one::<String>(seen).await, "client_alpha");
    staff
        .put(&one, json!({"status": "active"}))
        .await
        .expect(200);
    let contact: String = server
        .db
        .one("select contact from ps_aors where id = 'client.beta-2'")
        .await;
    assert_eq!(contact, "sip:b^3Bx@gw:5061^3Btransport=tcp^3Blr");
    let password: String = server.db.one("select password from ps_auths").await;
    assert_eq!(password, "secret^3B word");
    server.db.run("reset role").await;
    let kept: String = server.db.one("select password from pjsip_auths").await;
    assert_eq!(kept, "secret; word");
    let leaked: i64 = server
        .db
        .one("select count(*) from audit_log where concat(before, after) ~ 'secret|password'")
        .await;
    assert_eq!(leaked, 0);
    let audited: String = server
        .db
        .one("select string_agg(action || ' ' || object_id || ' ' || actor, ',' order by audit_id) from audit_log")
        .await;
    assert_eq!(audited, "create 1 staff,create 2 staff,update 2 staff");
}

#[tokio::test]
async fn what_a_change_does_not_name_stays_credentials_too() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let (one, before) = created(&admin, with_auth("c", "auth_c")).await;
    for change in [
        json!({"name": "Renamed"}),
        json!({"name": "Renamed", "pjsip": {}}),
        json!({"pjsip": {"endpoint": {"callerid": "x", "id": "other"}, "aor": {"id": "other", "x": 1}}}),
        json!({"department": "D", "clientIdentifier": "other", "createdBy": 1, "pjsipAuth": null}),
        json!({"pjsip": {"auth": {"id": "auth_c"}}}),
        json!({"pjsip": {"auth": {"id": "auth_c", "realm": null, "password_hash": "x"}}}),
    ] {
        admin.put(&one, change).await.expect(200);
    }
    let after = admin.get(&one).await.expect(200);
    assert_eq!(after["name"], "Renamed");
    assert_eq!(after["clientIdentifier"], "c");
    assert_eq!(after["pjsipEndpoint"]["id"], "c");
    assert_eq!(after["pjsipEndpoint"]["outbound_auth"], "auth_c");
    assert_eq!(after["pjsipEndpoint"]["callerid"], "x");
    assert_eq!(
        after["pjsipEndpoint"]["allow"],
        before["pjsipEndpoint"]["allow"]
    );
    assert_eq!(after["pjsipAor"], before["pjsipAor"]);
    assert_eq!(
        after["pjsipAuth"],
        json!({"id": "auth_c", "auth_type": "userpass", "username": "u", "realm": null})
    );
    let password = "select coalesce(password, 'none') from pjsip_auths";
    assert_eq!(server.db.one::<String>(password).await, "secret; word");

    let change =
        json!({"pjsip": {"auth": {"id": "auth_c", "password": "new", "auth_type": "md5"}}});
    admin.put(&one, change).await.expect(200);
    assert_eq!(server.db.one::<String>(password).await, "new");
    let change = json!({"pjsip": {"auth": {"id": "auth_c", "password": null}}});
    admin.put(&one, change).await.expect(200);
    assert_eq!(server.db.one::<String>(password).await, "none");

    let refused = admin
        .put(&one, json!({"pjsip": {"auth": {"id": "auth_other"}}}))
        .await
        .expect(400);
    assert!(refused["message"].as_str().unwrap().contains("auth_c"));
    let errors = admin
        .put(&one, json!({"pjsip": {"auth": {"realm": "x"}}}))
        .await
        .expect(400);
    assert!(errors["errors"]["pjsip"]["auth"]["id"][0].is_string());
}

#[tokio::test]
async fn credentials_are_added_and_removed_with_what_names_them() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let (one, _) = created(&admin, body("c")).await;
    let change = json!({"pjsip": {
        "auth": {"id": "auth_c", "username": "u", "password": "p"},
        "endpoint": {"outbound_auth": "auth_c", "auth": "elsewhere"},
    }});
    let changed = admin.put(&one, change).await.expect(200);
    assert_eq!(changed["pjsipAuth"]["auth_type"], "userpass", "by default");
    assert_eq!(changed["pjsipEndpoint"]["outbound_auth"], "auth_c");
    let changed = admin
        .put(&one, json!({"pjsip": {"auth": null}}))
        .await
        .expect(200);
    assert_eq!(changed["pjsipAuth"], json!(null));
    assert_eq!(changed["pjsipEndpoint"]["outbound_auth"], json!(null));
    assert_eq!(
        changed["pjsipEndpoint"]["auth"], "elsewhere",
        "named other credentials"
    );
    let rows: i64 = server.db.one("select count(*) from pjsip_auths").await;
    assert_eq!(rows, 0);
    admin
        .put(&one, json!({"pjsip": {"auth": null}}))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_change_shows_in_the_version_and_in_the_time_of_its_object() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let (one, _) = created(&admin, with_auth("c", "auth_c")).await;
    let times = "select concat_ws(' ', e.config_updated_at = c.created_at, a.config_updated_at = c.created_at,
                     u.config_updated_at = c.created_at, c.updated_at = c.created_at)
                 from clients c join pjsip_endpoints e on e.client_id = c.id
                 join pjsip_aors a on a.client_id = c.id join pjsip_auths u on u.client_id = c.id";
    assert_eq!(server.db.one::<String>(times).await, "t t t t");
    let change = json!({"pjsip": {"aor": {"contact": "sip:b@127.0.0.1"}, "endpoint": {"context": "capconduit-none"}}});
    admin.put(&one, change).await.expect(200);
    assert_eq!(server.db.one::<String>(times).await, "t f t f");
    let tag = admin.get(&one).await.header("etag").unwrap().to_owned();
    let careful = admin.with_header("if-match", &tag);
    let change = json!({"pjsip": {"auth": {"id": "auth_c", "password": "new"}}});
    careful.put(&one, change.clone()).await.expect(200);
    assert_eq!(server.db.one::<String>(times).await, "t f f f");
    careful.put(&one, change).await.expect(412);
    careful.delete(&one).await.expect(412);
    let tag = admin.get(&one).await.header("etag").unwrap().to_owned();
    // A change written straight to the tables counts too.
    server
        .db
        .run("update pjsip_endpoints set allow = 'opus', config_updated_at = now()")
        .await;
    let late = admin.with_header("if-match", &tag);
    late.put(&one, json!({"name": "X"})).await.expect(412);
}

#[tokio::test]
async fn clients_are_listed_by_name_status_and_page() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    for (id, name, status) in [
        ("c1", "Beta", "active"),
        ("c2", "Alpha", "inactive"),
        ("c3", "Alpha", "active"),
    ] {
        let body = set(
            set(with_auth(id, &format!("auth_{id}")), "/name", json!(name)),
            "/status",
            json!(status),
        );
        created(&admin, body).await;
    }
    // Rows written straight to the tables may lack objects.
    server
        .db
        .run("insert into clients (client_identifier, name, status) values ('bare', 'Zeta', 'active')")
        .await;
    let ids = |listed: &Value| -> Vec<String> {
        let items = listed["items"].as_array().unwrap().iter();
        items
            .map(|item| item["clientIdentifier"].as_str().unwrap().to_owned())
            .collect()
    };
    let listed = admin.get(CLIENTS).await.expect(200);
    assert_eq!(ids(&listed), ["c2", "c3", "c1", "bare"]);
    assert_eq!(listed["total"], 4);
    assert_eq!(listed["items"][0]["pjsipAuth"]["id"], "auth_c2");
    assert_eq!(listed["items"][3]["pjsipEndpoint"], json!(null));
    let active = admin
        .get(&format!("{CLIENTS}?status=active&per_page=2&page=1"))
        .await
        .expect(200);
    assert_eq!(ids(&active), ["c3", "c1"]);
    assert_eq!((&active["total"], &active["pages"]), (&json!(3), &json!(2)));
    admin
        .get(&format!("{CLIENTS}?status=asleep"))
        .await
        .expect(400);

    // And get them by a change.
    let bare = format!("{CLIENTS}/4");
    let errors = admin
        .put(&bare, json!({"pjsip": {"aor": {"max_contacts": 2}}}))
        .await
        .expect(400);
    assert!(errors["errors"]["pjsip"]["aor"]["contact"][0].is_string());
    let change =
        json!({"pjsip": {"aor": {"contact": "sip:bare@127.0.0.1"}, "endpoint": {"allow": "opus"}}});
    let changed = admin.put(&bare, change).await.expect(200);
    assert_eq!(changed["pjsipEndpoint"]["aors"], "bare");
    assert_eq!(changed["pjsipEndpoint"]["context"], "capconduit-none");
    assert_eq!(changed["pjsipAor"]["qualify_frequency"], 60);
}

#[tokio::test]
async fn staff_and_administrators_manage_clients_and_sellers_do_not() {
    let server = ApiServer::start().await;
    let (one, _) = created(&server.login("admin").await, body("c")).await;
    server.anonymous().get(CLIENTS).await.expect(401);
    let alice = server.login("alice").await;
    for path in [CLIENTS, &one, "/api/admin/clients/99"] {
        let refused = alice.get(path).await.expect(403);
        assert!(
            refused["message"]
                .as_str()
                .unwrap()
                .contains("[admin, staff]")
        );
    }
    alice.post(CLIENTS, body("d")).await.expect(403);
    alice.put(&one, json!({"name": "X"})).await.expect(403);
    alice.delete(&one).await.expect(403);
    let staff = server.login("staff").await;
    staff.get(CLIENTS).await.expect(200);
    staff.put(&one, json!({"name": "X"})).await.expect(200);
    staff.delete(&one).await.expect(204);
    staff.get(&one).await.expect(404);
    staff.put(&one, json!({"name": "X"})).await.expect(404);
    staff.delete(&one).await.expect(404);
    staff
        .get("/api/admin/clients/99999999999")
        .await
        .expect(404);
}

#[tokio::test]
async fn each_wrong_field_is_named_where_it_stands() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let long = |n: usize| json!("x".repeat(n));
    for (place, value) in [
        ("/clientIdentifier", json!("a b")),
        ("/clientIdentifier", json!("a&b")),
        ("/clientIdentifier", json!("a@b")),
        ("/clientIdentifier", json!("")),
        ("/clientIdentifier", long(41)),
        ("/clientIdentifier", json!("c\u{0}")),
        ("/name", json!("")),
        ("/name", json!(" ")),
        ("/name", long(101)),
        ("/name", json!(null)),
        ("/department", long(101)),
        ("/status", json!("paused")),
        ("/notes", json!("\u{0}")),
        ("/notes", long(20_001)),
        ("/extra", json!(1)),
        ("/pjsip", json!(null)),
        ("/pjsip", json!([])),
        ("/pjsip/extra", json!({})),
        ("/pjsip/endpoint", json!(null)),
        ("/pjsip/endpoint/id", json!(7)),
        ("/pjsip/endpoint/aors", json!("")),
        ("/pjsip/endpoint/aors", json!("c;d")),
        ("/pjsip/endpoint/aors", json!("other")),
        ("/pjsip/endpoint/context", json!("")),
        ("/pjsip/endpoint/context", json!("a\nb")),
        ("/pjsip/endpoint/context", json!("from-internal")),
        ("/pjsip/endpoint/context", long(81)),
        ("/pjsip/endpoint/transport", json!("udp;x")),
        ("/pjsip/endpoint/transport", long(41)),
        ("/pjsip/endpoint/auth", json!("a b")),
        ("/pjsip/endpoint/outbound_auth", long(41)),
        ("/pjsip/endpoint/allow", json!("ulaw\nalaw")),
        ("/pjsip/endpoint/allow", json!(null)),
        ("/pjsip/endpoint/disallow", long(201)),
        ("/pjsip/endpoint/direct_media", json!("maybe")),
        ("/pjsip/endpoint/from_user", json!("a@b")),
        ("/pjsip/endpoint/from_domain", json!("a b")),
        ("/pjsip/endpoint/callerid", json!("a\r\nb")),
        ("/pjsip/endpoint/callerid", long(81)),
        ("/pjsip/aor/contact", json!("")),
        ("/pjsip/aor/contact", json!("alpha")),
        ("/pjsip/aor/contact", json!("sip:a@b,sip:c@d")),
        ("/pjsip/aor/contact", json!("sip:a@b\n")),
        ("/pjsip/aor/contact", json!(null)),
        (
            "/pjsip/aor/contact",
            json!(format!("sip:{}@b", "x".repeat(255))),
        ),
        ("/pjsip/aor/max_contacts", json!(0)),
        ("/pjsip/aor/max_contacts", json!(2_147_483_648_u64)),
        ("/pjsip/aor/max_contacts", json!("1.5")),
        ("/pjsip/aor/max_contacts", json!(true)),
        ("/pjsip/aor/max_contacts", json!(null)),
        ("/pjsip/aor/qualify_frequency", json!(-1)),
        ("/pjsip/aor/qualify_frequency", json!(86_401)),
        ("/pjsip/auth/id", json!("")),
        ("/pjsip/auth/id", long(41)),
        ("/pjsip/auth/auth_type", json!("plain")),
        ("/pjsip/auth/username", long(81)),
        ("/pjsip/auth/realm", json!("a\tb")),
        ("/pjsip/auth/password", long(129)),
        ("/pjsip/auth/password", json!("a\nb")),
        ("/pjsip/auth/password", json!("a\u{0}b")),
        ("/pjsip/auth/password", json!("a^3Bb")),
    ] {
        let errors = admin
            .post(CLIENTS, set(with_auth("c", "auth_c"), place, value.clone()))
            .await
            .expect(400);
        let message = errors["errors"].pointer(&format!("{place}/0"));
        assert!(
            message.is_some_and(Value::is_string),
            "{place} {value}: {errors}"
        );
    }
    let made: i64 = server.db.one("select count(*) from clients").await;
    assert_eq!(made, 0);
}

#[tokio::test]
async fn what_is_missing_and_what_may_not_be_null_is_named() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    for (place, part) in [
        ("", "clientIdentifier"),
        ("", "name"),
        ("", "pjsip"),
        ("/pjsip", "aor"),
        ("/pjsip/aor", "contact"),
        ("/pjsip/endpoint", "aors"),
        ("/pjsip/auth", "id"),
    ] {
        let mut body = with_auth("c", "auth_c");
        let object = body.pointer_mut(place).unwrap().as_object_mut().unwrap();
        object.remove(part);
        let errors = admin.post(CLIENTS, body).await.expect(400);
        let message = errors["errors"].pointer(&format!("{place}/{part}/0"));
        assert!(
            message.is_some_and(Value::is_string),
            "{place}/{part}: {errors}"
        );
    }
    let (one, _) = created(&admin, with_auth("c", "auth_c")).await;
    for change in [
        json!({"name": null}),
        json!({"pjsip": null}),
        json!({"pjsip": {"extra": 1}}),
        json!({"pjsip": {"aor": null}}),
        json!({"pjsip": {"aor": {"contact": "sip:"}}}),
        json!({"pjsip": {"endpoint": {"context": null}}}),
        json!({"pjsip": {"endpoint": {"aors": "other"}}}),
        json!({"pjsip": {"endpoint": {"direct_media": null}}}),
    ] {
        let errors = admin.put(&one, change).await.expect(400);
        assert!(errors["errors"].is_object(), "{errors}");
    }
    for nothing in [json!({}), json!({"clientIdentifier": "d"}), json!(null)] {
        admin.put(&one, nothing).await.expect(400);
    }
}

#[tokio::test]
async fn an_endpoint_gets_into_no_context_that_the_operator_has_not_listed() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let mut without = body("a");
    let endpoint = without["pjsip"]["endpoint"].as_object_mut().unwrap();
    endpoint.remove("context");
    let (one, made) = created(&admin, without).await;
    assert_eq!(made["pjsipEndpoint"]["context"], "capconduit-none");

    // The test's configuration lists `agents`.
    let context = |name: &str| json!({"pjsip": {"endpoint": {"context": name}}});
    let changed = admin.put(&one, context("agents")).await.expect(200);
    assert_eq!(changed["pjsipEndpoint"]["context"], "agents");
    let errors = admin.put(&one, context("from-internal")).await.expect(400);
    let message = errors["errors"]["pjsip"]["endpoint"]["context"][0].as_str();
    assert!(
        message.unwrap().contains("capconduit-none, agents"),
        "{errors}"
    );

    // Rows from before are shown, and changed in all else.
    let old = "update pjsip_endpoints set context = 'from-internal'";
    server.db.run(old).await;
    let seen = admin.get(&one).await.expect(200);
    assert_eq!(seen["pjsipEndpoint"]["context"], "from-internal");
    let change = json!({"pjsip": {"endpoint": {"context": "from-internal", "allow": "opus"}}});
    let changed = admin.put(&one, change).await.expect(200);
    assert_eq!(changed["pjsipEndpoint"]["allow"], "opus");
    admin
        .put(&one, context("capconduit-none"))
        .await
        .expect(200);
    admin.put(&one, context("from-internal")).await.expect(400);
}

#[tokio::test]
async fn the_ids_of_endpoint_and_address_are_the_clients() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    for place in ["/pjsip/endpoint/id", "/pjsip/aor/id", "/clientIdentifier"] {
        let refused = admin
            .post(CLIENTS, set(body("c"), place, json!("other")))
            .await
            .expect(400);
        assert!(refused["message"].is_string(), "{refused}");
        assert_eq!(refused["code"], "ids_differ");
    }
}

#[tokio::test]
async fn every_id_belongs_to_one_client() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    created(&admin, with_auth("c", "auth_c")).await;
    // Objects in the way that stand under other clients.
    server
        .db
        .run(
            "insert into clients (id, client_identifier, name, status) values (50, 'x', 'X', 'active');
             insert into pjsip_endpoints (id, client_id, context) values ('d', 50, 'x');
             insert into pjsip_aors (id, client_id, contact) values ('e', 50, 'sip:x@x')",
        )
        .await;
    for (body, code) in [
        (body("c"), "client_identifier_taken"),
        (body("d"), "endpoint_taken"),
        (body("e"), "aor_taken"),
        (with_auth("f", "auth_c"), "auth_taken"),
    ] {
        let refused = admin.post(CLIENTS, body).await.expect(409);
        assert_eq!(refused["code"], code, "{refused}");
    }
    let (one, _) = created(&admin, body("g")).await;
    let change =
        json!({"name": "Renamed", "pjsip": {"auth": {"id": "auth_c", "password": "stolen"}}});
    let refused = admin.put(&one, change).await.expect(409);
    assert_eq!(refused["code"], "auth_taken");
    assert_eq!(
        admin.get(&one).await.expect(200)["name"],
        "Alpha",
        "nothing is half done"
    );
    let password: String = server.db.one("select password from pjsip_auths").await;
    assert_eq!(password, "secret; word");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_clients_made_at_once_one_is_made() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let mut posts = Vec::new();
    for _ in 0..16 {
        let admin = admin.clone();
        posts.push(tokio::spawn(async move {
            admin.post(CLIENTS, with_auth("c", "auth_c")).await.status
        }));
    }
    let mut statuses = Vec::new();
    for post in posts {
        statuses.push(post.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(
        statuses[1..].iter().all(|status| *status == 409),
        "{statuses:?}"
    );
    let rows: String = server
        .db
        .one(
            "select concat((select count(*) from clients), (select count(*) from pjsip_endpoints),
                 (select count(*) from pjsip_aors), (select count(*) from pjsip_auths))",
        )
        .await;
    assert_eq!(rows, "1111");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_different_parts_at_once_are_both_kept() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let (one, _) = created(&admin, body("c")).await;
    for round in 0..5 {
        let callerid = format!("caller {round}");
        let user = format!("user{round}");
        let (a, b) = tokio::join!(
            admin.put(&one, json!({"pjsip": {"endpoint": {"callerid": callerid}}})),
            admin.put(&one, json!({"pjsip": {"endpoint": {"from_user": user}}})),
        );
        assert_eq!((a.status, b.status), (200, 200));
        let client = admin.get(&one).await.expect(200);
        assert_eq!(client["pjsipEndpoint"]["callerid"], callerid.as_str());
        assert_eq!(client["pjsipEndpoint"]["from_user"], user.as_str());
    }
}

const LINKED: &str = "
    insert into dids (number, user_id, status) values ('+18005550101', 3, 'active');
    insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
        values (3, 'one', 'active', 'priority', 20);
    insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency, forwarding_priority, weight)
        values (1, 1, 'active', 1, 0, 1)";

#[tokio::test]
async fn a_client_that_takes_calls_is_not_deleted() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let (one, _) = created(&admin, with_auth("c", "auth_c")).await;
    server.db.run(LINKED).await;
    server
        .db
        .run(
            "insert into call_logs (client_id, campaign_client_setting_id, incoming_did_number, timestamp_start,
                 call_status) values (1, 1, '+1', now(), 'ANSWERED')",
        )
        .await;
    let refused = admin.delete(&one).await.expect(409);
    assert_eq!(refused["code"], "client_in_use");
    server
        .db
        .run("update campaigns set status = 'paused'")
        .await;
    server
        .db
        .run("update campaign_client_settings set status = 'inactive'; update campaigns set status = 'active'")
        .await;
    admin.delete(&one).await.expect(204);
    let left: String = server
        .db
        .one(
            "select concat((select count(*) from pjsip_endpoints), (select count(*) from pjsip_aors),
                 (select count(*) from pjsip_auths), (select count(*) from campaign_client_settings),
                 (select count(*) from call_logs), (select count(*) from call_logs
                     where num_nonnulls(client_id, campaign_client_setting_id) > 0))",
        )
        .await;
    assert_eq!(left, "000010", "its call stays in the log");
    let audited: String = server
        .db
        .one("select before #>> '{pjsipAuth,id}' from audit_log where action = 'delete'")
        .await;
    assert_eq!(audited, "auth_c");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_be_deleted_while_it_is_being_tied() {
    // Three ways to become tied, each begun before the delete and committed after it has begun.
    for (before, tie) in [
        ("", LINKED),
        (
            "update campaign_client_settings set status = 'inactive'",
            "update campaign_client_settings set status = 'active'",
        ),
        (
            "update campaigns set status = 'paused'",
            "update campaigns set status = 'active'",
        ),
    ] {
        let server = ApiServer::start().await;
        let admin = server.login("admin").await;
        let (one, _) = created(&admin, body("c")).await;
        if !before.is_empty() {
            server.db.run(LINKED).await;
            server.db.run(before).await;
        }
        let seller = capconduit::db::connect_as_owner(&server.db.settings())
            .await
            .expect("connects");
        seller
            .batch_execute(&format!("begin; {tie}"))
            .await
            .expect("ties");
        let deleting = {
            let admin = admin.clone();
            let one = one.clone();
            tokio::spawn(async move { admin.delete(&one).await })
        };
        eventually("the delete waits for the tie", || async {
            let waiting: i64 = server
                .db
                .one("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()")
                .await;
            waiting == 1
        })
        .await;
        seller.batch_execute("commit").await.expect("commits");
        deleting.await.unwrap().expect(409);
        admin.get(&one).await.expect(200);
    }
}

#[tokio::test]
async fn the_sample_data_can_be_read_and_changed() {
    let server = ApiServer::start().await;
    let sample = include_str!("../../../sql/sample/sample-data.sql").replace(":'hash'", "'x'");
    let own: String = sample
        .lines()
        .filter(|line| !line.starts_with('\\'))
        .collect::<Vec<_>>()
        .join("\n");
    // The accounts of the tests stand where those of the sample would.
    let from = own.find("insert into clients").expect("clients");
    let to = own.find("insert into dids").expect("DIDs");
    server.db.run(&own[from..to]).await;
    let staff = server.login("staff").await;
    let listed = staff.get(CLIENTS).await.expect(200);
    assert_eq!(listed["total"], 4);
    let gamma = staff.get(&format!("{CLIENTS}/3")).await.expect(200);
    assert_eq!(gamma["clientIdentifier"], "client_gamma_intake");
    assert_eq!(gamma["pjsipAuth"]["id"], "auth_to_gamma");
    assert_eq!(gamma["pjsipEndpoint"]["outbound_auth"], "auth_to_gamma");
    // What was read can be sent back.
    for id in 1..=4 {
        let one = format!("{CLIENTS}/{id}");
        let client = staff.get(&one).await.expect(200);
        let mut pjsip = json!({"endpoint": client["pjsipEndpoint"], "aor": client["pjsipAor"]});
        if !client["pjsipAuth"].is_null() {
            pjsip["auth"] = client["pjsipAuth"].clone();
        }
        let same = json!({"name": client["name"], "notes": client["notes"], "pjsip": pjsip});
        let after = staff.put(&one, same).await.expect(200);
        assert_eq!(after["pjsipEndpoint"], client["pjsipEndpoint"]);
    }
}

#[tokio::test]
async fn a_value_from_before_the_checks_is_named_when_it_is_in_the_way() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let (one, _) = created(&admin, body("c")).await;
    server
        .db
        .run(
            "alter table pjsip_endpoints drop constraint pjsip_endpoints_direct_media_check;
             update pjsip_endpoints set direct_media = 'outgoing';
             alter table pjsip_endpoints add constraint pjsip_endpoints_direct_media_check
                 check (direct_media in ('yes', 'no', 'nonat', 'update')) not valid",
        )
        .await;
    admin.put(&one, json!({"name": "X"})).await.expect(200);
    let change = json!({"pjsip": {"endpoint": {"allow": "opus"}}});
    let errors = admin.put(&one, change).await.expect(400);
    assert!(errors["errors"]["pjsip"]["endpoint"]["direct_media"][0].is_string());
    let change = json!({"pjsip": {"endpoint": {"allow": "opus", "direct_media": "no"}}});
    admin.put(&one, change).await.expect(200);
}

#[tokio::test]
async fn a_client_that_registers_needs_a_password_and_no_address() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let mut new = body("client_reg");
    new["register"] = json!(true);
    new["pjsip"]["aor"] = json!({"id": "client_reg"});

    // Without credentials, with a short password, or with a name of its own, anybody or nobody could register.
    let errors = admin.post(CLIENTS, new.clone()).await.expect(400);
    assert!(errors["errors"]["register"][0].is_string(), "{errors}");
    new["pjsip"]["auth"] = json!({"id": "auth_reg", "password": "short"});
    let errors = admin.post(CLIENTS, new.clone()).await.expect(400);
    let said = &errors["errors"]["pjsip"]["auth"]["password"][0];
    assert!(said.as_str().is_some_and(|s| s.contains("12")), "{errors}");
    new["pjsip"]["auth"] =
        json!({"id": "auth_reg", "username": "x", "password": "a long password"});
    admin.post(CLIENTS, new.clone()).await.expect(400);
    assert_eq!(
        server.db.one::<i64>("select count(*) from clients").await,
        0
    );

    new["pjsip"]["auth"] = json!({"id": "auth_reg", "password": "a long password"});
    new["pjsip"]["endpoint"]["media_encryption"] = json!("sdes");
    let (one, client) = created(&admin, new).await;
    assert_eq!(client["register"], true);
    assert_eq!(client["registered"], false);
    assert_eq!(client["pjsipAuth"]["username"], "client_reg");
    assert_eq!(client["pjsipAor"]["contact"], "");
    assert_eq!(client["pjsipEndpoint"]["media_encryption"], "sdes");
    let seen = "select concat_ws(' ', identify_by, auth, media_encryption) from ps_endpoints";
    assert_eq!(
        server.db.one::<String>(seen).await,
        "auth_username auth_reg sdes"
    );

    server
        .db
        .run(
            "insert into ps_contacts (id, uri, expiration_time, endpoint)
             values ('c', 'sip:c@192.0.2.1', extract(epoch from now()) + 60, 'client_reg')",
        )
        .await;
    assert_eq!(admin.get(&one).await.expect(200)["registered"], true);
    let listed = admin.get(CLIENTS).await.expect(200);
    assert_eq!(listed["items"][0]["registered"], true);

    // What it needs cannot be taken away while it registers, nor can it go back to an address that is not there.
    admin
        .put(&one, json!({"pjsip": {"auth": null}}))
        .await
        .expect(400);
    let errors = admin
        .put(&one, json!({"register": false}))
        .await
        .expect(400);
    assert!(errors["errors"]["pjsip"]["aor"]["contact"][0].is_string());
    let back =
        json!({"register": false, "pjsip": {"auth": null, "aor": {"contact": "sip:a@192.0.2.1"}}});
    let client = admin.put(&one, back).await.expect(200);
    assert_eq!(client["register"], false);
    assert_eq!(client["registered"], Value::Null);
    assert_eq!(server.db.one::<String>(seen).await, "ip sdes");
}

fn registering(identifier: &str) -> Value {
    let mut new = body(identifier);
    new["register"] = json!(true);
    new["pjsip"]["aor"] = json!({"id": identifier});
    new["pjsip"]["auth"] = json!({"id": identifier, "password": "a long password"});
    new
}

#[tokio::test]
async fn no_client_registers_with_a_name_that_asterisk_takes_for_anothers() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    created(&admin, registering("centre_1")).await;
    // Asterisk looks for contacts with LIKE, in which _ is any character: either of two would do harm.
    for other in ["centre-1", "centrex1", "c_ntre_1", "_______1"] {
        let errors = admin.post(CLIENTS, registering(other)).await.expect(400);
        let said = errors["errors"]["register"][0].as_str().expect("a message");
        assert!(said.contains("`_`"), "{other}: {said}");
    }
    // Others are none that it would be taken for; nor are those that do not register.
    created(&admin, registering("centre_2")).await;
    created(&admin, registering("centre_1b")).await;
    let mut fixed = registering("centre-1");
    fixed["register"] = json!(false);
    fixed["pjsip"]["aor"]["contact"] = json!("sip:a@192.0.2.1");
    let (one, _) = created(&admin, fixed).await;
    let errors = admin.put(&one, json!({"register": true})).await.expect(400);
    assert!(errors["errors"]["register"][0].is_string(), "{errors}");
    // Rows that are written without the API neither.
    let row = "update clients set registers = true where client_identifier = 'centre-1'";
    let refused = server
        .db
        .owner
        .execute(row, &[])
        .await
        .expect_err("refused");
    let refused = refused.as_db_error().expect("by the database").message();
    assert!(refused.contains("centre_1"), "{refused}");
}

#[tokio::test]
async fn a_client_that_registers_from_now_on_is_at_its_old_address_no_more() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let (one, client) = created(&admin, with_auth("alpha", "alpha")).await;
    assert_ne!(client["pjsipAor"]["contact"], "");
    let errors = admin
        .put(
            &one,
            json!({"register": true, "pjsip": {"aor": {"contact": "sip:b@192.0.2.2"}}}),
        )
        .await
        .expect(400);
    assert!(
        errors["errors"]["pjsip"]["aor"]["contact"][0].is_string(),
        "{errors}"
    );
    let now = json!({"register": true, "pjsip": {"auth":
        {"id": "alpha", "username": "alpha", "auth_type": "userpass", "password": "a long password"}}});
    let client = admin.put(&one, now).await.expect(200);
    assert_eq!(client["register"], true);
    // A daemon that knows nothing of registrations looks here, and has nowhere to send calls to.
    let contact = "select contact from pjsip_aors where id = 'alpha'";
    assert_eq!(server.db.one::<String>(contact).await, "");
    assert_eq!(client["pjsipAor"]["contact"], "");
}

#[tokio::test]
async fn credentials_that_asterisk_cannot_use_are_refused_and_stay_where_they_are() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let mut new = with_auth("c", "auth_c");
    new["pjsip"]["auth"]["auth_type"] = json!("google_oauth");
    let errors = admin.post(CLIENTS, new).await.expect(400);
    let said = &errors["errors"]["pjsip"]["auth"]["auth_type"][0];
    assert!(
        said.as_str().is_some_and(|s| s.contains("token")),
        "{errors}"
    );

    let (one, _) = created(&admin, with_auth("c", "auth_c")).await;
    server
        .db
        .run("update pjsip_auths set auth_type = 'google_oauth'")
        .await;
    let change =
        json!({"pjsip": {"auth": {"id": "auth_c", "auth_type": "google_oauth", "realm": "x"}}});
    admin.put(&one, change).await.expect(200);
}
