//! Staff manages sellers' campaigns, links and DIDs, by the handlers that sellers use.

use serde_json::{Value, json};

use super::campaigns::{CAMPAIGNS, add_campaign, add_clients};
use crate::support::api::{ApiClient, ApiServer};

const ALL: &str = "/api/admin/campaigns";

async fn start() -> (ApiServer, ApiClient, ApiClient) {
    let server = ApiServer::start().await;
    add_clients(&server, 4).await;
    let (alice, staff) = (server.login("alice").await, server.login("staff").await);
    (server, alice, staff)
}

fn link(client: i32, priority: i32) -> Value {
    json!({"clientId": client, "maxConcurrency": 5, "forwardingPriority": priority, "weight": 10})
}

async fn audited(server: &ApiServer, what: &str) -> String {
    server
        .db
        .one(&format!(
            "select coalesce(string_agg(concat_ws(':', action, object_type, actor, user_id), ',' order by audit_id), '')
             from audit_log where object_type in ({what})"
        ))
        .await
}

#[tokio::test]
async fn staff_makes_reads_changes_and_deletes_a_sellers_campaign() {
    let (server, alice, staff) = start().await;
    let new = json!({"userId": 3, "name": "Sales", "routingStrategy": "priority", "dialTimeoutSeconds": 25});
    let made = staff.post(ALL, new.clone()).await.expect(201);
    assert_eq!(made["user"], json!({"id": 3, "username": "alice"}));
    staff.post(ALL, new).await.expect(409);
    let one = format!("{ALL}/{}", made["id"]);
    let hers = format!("{CAMPAIGNS}/{}", made["id"]);

    // The seller sees the same, without whose it is.
    let seen = alice.get(&hers).await.expect(200);
    assert_eq!(seen["name"], "Sales");
    assert!(seen.get("user").is_none(), "{seen}");

    let read = staff.get(&one).await;
    let tag = read.header("etag").expect("a tag").to_owned();
    let careful = staff.with_header("if-match", &tag);
    careful
        .put(&one, json!({"status": "paused"}))
        .await
        .expect(200);
    careful
        .put(&one, json!({"status": "active"}))
        .await
        .expect(412);
    let wrong = staff
        .put(&one, json!({"satus": "active", "name": "x"}))
        .await;
    assert!(wrong.expect(400)["errors"].get("satus").is_some());
    assert_eq!(alice.get(&hers).await.expect(200)["status"], "paused");

    for (user, expected) in [(1, 400), (99, 400), (4, 201)] {
        let new = json!({"userId": user, "name": "Sales", "routingStrategy": "weighted", "dialTimeoutSeconds": 5});
        staff.post(ALL, new).await.expect(expected);
    }
    let nobodys = json!({"name": "x", "routingStrategy": "weighted", "dialTimeoutSeconds": 5});
    staff.post(ALL, nobodys).await.expect(400);
    alice.get(&one).await.expect(403);

    staff.delete(&one).await.expect(204);
    staff.delete(&one).await.expect(404);
    alice.get(&hers).await.expect(404);
    assert_eq!(
        audited(&server, "'campaign'").await,
        "create:campaign:staff:3,update:campaign:staff:3,create:campaign:staff:4,delete:campaign:staff:3"
    );
    let told = alice
        .get("/api/seller/audit?object_type=campaign")
        .await
        .expect(200);
    assert_eq!(told["items"].as_array().expect("a list").len(), 3, "{told}");
}

#[tokio::test]
async fn staff_links_ties_and_orders_for_a_seller() {
    let (server, alice, staff) = start().await;
    add_campaign(&alice, "Sales", "active").await;
    let given = json!({"userId": 3, "number": "+18005550100"});
    let did = staff.post("/api/admin/dids", given).await.expect(201);
    let bobs = json!({"userId": 4, "number": "+18005550101"});
    let bobs = staff.post("/api/admin/dids", bobs).await.expect(201);

    let clients = format!("{ALL}/1/clients");
    let first = staff.post(&clients, link(1, 0)).await.expect(201);
    let second = staff.post(&clients, link(2, 1)).await.expect(201);
    staff.post(&clients, link(2, 1)).await.expect(409);
    staff.post(&clients, link(99, 1)).await.expect(404);
    let unknown = json!({"clientId": 3, "maxConcurrency": 1, "forwardingPriority": 0, "weight": 1, "maxConcurency": 9});
    staff.post(&clients, unknown).await.expect(400);
    let one = format!("{clients}/{}", first["id"]);
    staff
        .put(&one, json!({"maxConcurrency": 7}))
        .await
        .expect(200);
    let hers = format!("{CAMPAIGNS}/1/clients/{}", first["id"]);
    let read = alice.get(&hers).await;
    let tag = read.header("etag").expect("a tag").to_owned();
    assert_eq!(read.expect(200)["maxConcurrency"], 7);
    let careful = alice.with_header("if-match", &tag);
    careful.put(&hers, json!({"weight": 3})).await.expect(200);
    alice
        .get(&format!("{CAMPAIGNS}/1/clients/999"))
        .await
        .expect(404);
    server.login("bob").await.get(&hers).await.expect(404);
    staff.get(&format!("{ALL}/1/usage")).await.expect(200);

    let dids = format!("{ALL}/1/dids");
    staff
        .put(&dids, json!({"didIds": [did["id"], bobs["id"]]}))
        .await
        .expect(403);
    staff
        .put(&dids, json!({"didIds": [did["id"]]}))
        .await
        .expect(200);
    staff
        .put(
            &format!("/api/admin/dids/{}", did["id"]),
            json!({"description": "x"}),
        )
        .await
        .expect(200);

    let order = format!("{ALL}/1/order");
    let places = json!({"links": [
        {"linkId": first["id"], "forwardingPriority": 1, "weight": 70},
        {"linkId": second["id"], "forwardingPriority": 0, "weight": 30},
    ]});
    let campaign = staff.put(&order, places).await.expect(200);
    assert_eq!(campaign["clientSettings"][0]["id"], second["id"]);
    assert_eq!(campaign["user"]["username"], "alice");
    assert_eq!(
        audited(&server, "'link', 'did', 'campaign'").await,
        "create:campaign:alice:3,create:did:staff:3,create:did:staff:4,create:link:staff:3,create:link:staff:3,\
         update:link:staff:3,update:link:alice:3,set_dids:campaign:staff:3,update:did:staff:3,\
         order_links:campaign:staff:3"
    );
    staff.delete(&one).await.expect(204);
    staff.delete(&format!("{ALL}/1")).await.expect(204);
}

#[tokio::test]
async fn links_are_put_in_order_all_at_once_or_not_at_all() {
    let (server, alice, _staff) = start().await;
    add_campaign(&alice, "Sales", "active").await;
    let clients = format!("{CAMPAIGNS}/1/clients");
    for client in 1..=3 {
        alice.post(&clients, link(client, client)).await.expect(201);
    }
    let order = format!("{CAMPAIGNS}/1/order");
    let place =
        |id: i32, priority: i32| json!({"linkId": id, "forwardingPriority": priority, "weight": 1});
    for (places, expected) in [
        (json!([place(1, 0), place(2, 0)]), "missing: 3"),
        (
            json!([place(1, 0), place(2, 0), place(3, 0), place(1, 1)]),
            "more than once: 1",
        ),
        (
            json!([place(1, 0), place(2, 0), place(3, 0), place(9, 1)]),
            "these ids: 9",
        ),
        (json!([place(1, 0), place(2, -1), place(3, 0)]), "0 to"),
        (json!([]), "missing: 1, 2, 3"),
    ] {
        let refused = alice
            .put(&order, json!({"links": places}))
            .await
            .expect(400);
        assert!(
            refused["errors"].to_string().contains(expected),
            "{refused}"
        );
    }
    let before = alice.get(&format!("{CAMPAIGNS}/1")).await;
    let tag = before.header("etag").expect("a tag").to_owned();
    let places = json!({"links": [place(3, 0), place(1, 1), place(2, 2)]});
    let careful = alice.with_header("if-match", &tag);
    let changed = careful.put(&order, places.clone()).await;
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    let ids: Vec<_> = changed.expect(200)["clientSettings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|link| link["id"].clone())
        .collect();
    assert_eq!(ids, [3, 1, 2]);
    careful.put(&order, places.clone()).await.expect(412);
    // The same again changes and notes nothing.
    alice.put(&order, places.clone()).await.expect(200);
    let noted: i64 = server
        .db
        .one("select count(*) from audit_log where action = 'order_links'")
        .await;
    assert_eq!(noted, 1);
    let bob = server.login("bob").await;
    bob.put(&order, places).await.expect(403);
}

#[tokio::test]
async fn a_did_is_tied_and_untied_alone() {
    let (server, alice, _staff) = start().await;
    add_campaign(&alice, "Sales", "active").await;
    add_campaign(&alice, "Other", "active").await;
    let mut ids = Vec::new();
    for number in ["+18005550100", "+18005550101"] {
        let did = alice
            .post("/api/seller/dids", json!({ "number": number }))
            .await;
        ids.push(did.expect(201)["id"].clone());
    }
    let dids = format!("{CAMPAIGNS}/1/dids");
    for id in &ids {
        alice.post(&dids, json!({ "didId": id })).await.expect(200);
    }
    let again = alice
        .post(&dids, json!({ "didId": ids[0] }))
        .await
        .expect(200);
    assert_eq!(again["number"], "+18005550100");
    let other = format!("{CAMPAIGNS}/2/dids");
    let taken = alice
        .post(&other, json!({ "didId": ids[0] }))
        .await
        .expect(409);
    assert_eq!(taken["code"], "did_in_use");
    alice.post(&dids, json!({"didId": 999})).await.expect(403);

    let free = alice
        .get("/api/seller/dids?assigned=false")
        .await
        .expect(200);
    assert_eq!(free["total"], 0);
    let first = format!("{dids}/{}", ids[0]);
    server.login("bob").await.delete(&first).await.expect(404);
    alice.delete(&first).await.expect(204);
    alice.delete(&first).await.expect(404);
    alice
        .post(&other, json!({ "didId": ids[0] }))
        .await
        .expect(200);
    let tied = alice
        .get("/api/seller/dids?campaign_id=1")
        .await
        .expect(200);
    assert_eq!(tied["items"][0]["number"], "+18005550101");
    let noted: i64 = server
        .db
        .one("select count(*) from audit_log where action = 'set_dids'")
        .await;
    assert_eq!(noted, 4);
}

#[tokio::test]
async fn lists_are_filtered_searched_and_sorted() {
    let (server, alice, staff) = start().await;
    for (name, strategy) in [
        ("Beta", "weighted"),
        ("Alpha", "priority"),
        ("Gamma 100%", "priority"),
    ] {
        let new = json!({"name": name, "routingStrategy": strategy, "dialTimeoutSeconds": 5});
        alice.post(CAMPAIGNS, new).await.expect(201);
    }
    let bob = server.login("bob").await;
    add_campaign(&bob, "Alpha", "paused").await;
    alice
        .post(&format!("{CAMPAIGNS}/1/clients"), link(2, 0))
        .await
        .expect(201);
    for (number, description) in [("+18005550100", "Landing"), ("+442071838750", "London")] {
        let new = json!({"number": number, "description": description});
        alice.post("/api/seller/dids", new).await.expect(201);
    }
    let names = async |client: &ApiClient, path: &str, field: &str| {
        let listed = client.get(path).await.expect(200);
        let items = listed["items"].as_array().expect("a list").clone();
        let shown: Vec<_> = items
            .iter()
            .map(|item| item[field].as_str().expect("text").to_owned())
            .collect();
        shown.join(",")
    };
    for (query, expected) in [
        ("", "Alpha,Beta,Gamma 100%"),
        ("?sort=-name", "Gamma 100%,Beta,Alpha"),
        ("?sort=createdAt", "Beta,Alpha,Gamma 100%"),
        ("?q=aMM", "Gamma 100%"),
        ("?q=0%25", "Gamma 100%"),
        ("?routing_strategy=weighted", "Beta"),
        ("?client_id=2", "Beta"),
        ("?user_id=4", "Alpha,Beta,Gamma 100%"),
    ] {
        assert_eq!(
            names(&alice, &format!("{CAMPAIGNS}{query}"), "name").await,
            expected,
            "{query}"
        );
    }
    assert_eq!(
        names(&staff, &format!("{ALL}?user_id=4"), "name").await,
        "Alpha"
    );
    assert_eq!(
        names(&staff, &format!("{ALL}?q=alpha&sort=createdAt"), "name").await,
        "Alpha,Alpha"
    );
    for (query, expected) in [
        ("", "+18005550100,+442071838750"),
        ("?sort=-number", "+442071838750,+18005550100"),
        ("?q=london", "+442071838750"),
        ("?q=(800)+555", "+18005550100"),
        ("?number=442071838750", "+442071838750"),
        ("?assigned=true", ""),
    ] {
        assert_eq!(
            names(&alice, &format!("/api/seller/dids{query}"), "number").await,
            expected,
            "{query}"
        );
    }
    for wrong in ["sort=nam", "campaign_id=none", "assigned=maybe"] {
        alice
            .get(&format!("/api/seller/dids?{wrong}"))
            .await
            .expect(400);
    }
    staff.get(&format!("{ALL}?user_id=alice")).await.expect(400);

    let available = format!("{CAMPAIGNS}/available_clients");
    let page = alice.get(&format!("{available}?per_page=2&page=2")).await;
    assert_eq!(page.header("x-total-count"), Some("3"));
    assert_eq!(page.expect(200)[0]["name"], "Client 3");
    let found = alice
        .get(&format!("{available}?q=client2"))
        .await
        .expect(200);
    assert_eq!(found.as_array().expect("a list").len(), 1);
}
