//! A seller's campaigns and the DIDs tied to them.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::api::{ApiClient, ApiServer};

pub const CAMPAIGNS: &str = "/api/seller/campaigns";

/// Client centres 1 to `count`, of which the last is inactive.
pub async fn add_clients(server: &ApiServer, count: i32) {
    server
        .db
        .run(&format!(
            "insert into clients (client_identifier, name, department, status)
             select 'client' || n, 'Client ' || n, 'Sales', case when n < {count} then 'active' else 'inactive' end
             from generate_series(1, {count}) n"
        ))
        .await;
}

pub async fn add_campaign(seller: &ApiClient, name: &str, status: &str) -> Value {
    let body = json!({
        "name": name, "routingStrategy": "priority", "dialTimeoutSeconds": 25, "status": status,
    });
    seller.post(CAMPAIGNS, body).await.expect(201)
}

async fn add_did(seller: &ApiClient, number: &str) -> Value {
    let did = seller
        .post("/api/seller/dids", json!({ "number": number }))
        .await;
    did.expect(201)["id"].clone()
}

fn path_of(campaign: &Value) -> String {
    format!("{CAMPAIGNS}/{}", campaign["id"])
}

async fn tie(seller: &ApiClient, campaign: &Value, dids: &[&Value]) -> crate::support::api::Answer {
    let path = format!("{}/dids", path_of(campaign));
    seller.put(&path, json!({ "didIds": dids })).await
}

#[tokio::test]
async fn a_campaign_is_added_read_changed_and_deleted() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let campaign = alice
        .post(
            CAMPAIGNS,
            json!({"name": "Sales", "routingStrategy": "weighted", "dialTimeoutSeconds": "25"}),
        )
        .await
        .expect(201);
    assert_eq!(campaign["status"], "active");
    assert_eq!(campaign["dialTimeoutSeconds"], 25);
    assert_eq!(campaign["description"], json!(null));
    assert_eq!(campaign["dids"], json!([]));
    assert_eq!(campaign["clientSettings"], json!([]));
    let one = path_of(&campaign);
    assert_eq!(alice.get(&one).await.expect(200), campaign);

    let changed = alice
        .put(
            &one,
            json!({"status": "paused", "description": "x", "id": 7}),
        )
        .await
        .expect(200);
    assert_eq!(changed["name"], "Sales", "what is not named stays");
    assert_eq!(changed["status"], "paused");
    assert_eq!(changed["id"], campaign["id"]);
    let changed = alice
        .put(&one, json!({"description": null}))
        .await
        .expect(200);
    assert_eq!(changed["description"], json!(null));
    assert_eq!(alice.get(&one).await.expect(200), changed);

    alice.delete(&one).await.expect(204);
    alice.get(&one).await.expect(404);
    alice.delete(&one).await.expect(404);
    let audited: String = server
        .db
        .one("select string_agg(action, ',' order by audit_id) from audit_log where user_id = 3 and object_type = 'campaign'")
        .await;
    assert_eq!(audited, "create,update,update,delete");
}

#[tokio::test]
async fn campaigns_are_listed_by_name_and_status_without_what_belongs_to_them() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    for (name, status) in [("b", "active"), ("c", "paused"), ("a", "inactive")] {
        add_campaign(&alice, name, status).await;
    }
    add_campaign(&server.login("bob").await, "of bob", "active").await;
    let listed = alice.get(CAMPAIGNS).await.expect(200);
    let names: Vec<&Value> = (0..3).map(|i| &listed["items"][i]["name"]).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(listed["total"], 3);
    assert!(listed["items"][0].get("dids").is_none());
    assert!(listed["items"][0].get("clientSettings").is_none());
    let paused = alice
        .get(&format!("{CAMPAIGNS}?status=paused"))
        .await
        .expect(200);
    assert_eq!(paused["items"][0]["name"], "c");
    assert_eq!(paused["total"], 1);
    let second = alice
        .get(&format!("{CAMPAIGNS}?per_page=2&page=2"))
        .await
        .expect(200);
    assert_eq!(second["items"][0]["name"], "c");
    alice
        .get(&format!("{CAMPAIGNS}?status=gone"))
        .await
        .expect(400);
}

#[tokio::test]
async fn what_a_campaign_cannot_be_is_refused() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let good = json!({"name": "a", "routingStrategy": "priority", "dialTimeoutSeconds": 25});
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("  ")),
        ("name", json!("a\u{0}")),
        ("name", json!("a".repeat(101))),
        ("name", json!(7)),
        ("routingStrategy", json!("random")),
        ("dialTimeoutSeconds", json!(0)),
        ("dialTimeoutSeconds", json!(2_147_483_648_u64)),
        ("dialTimeoutSeconds", json!("10.5")),
        ("dialTimeoutSeconds", json!(true)),
        ("dialTimeoutSeconds", json!(null)),
        ("status", json!("gone")),
        ("description", json!("a\u{0}")),
        ("description", json!("a".repeat(10_001))),
        ("dids", json!([1])),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let errors = alice.post(CAMPAIGNS, body).await.expect(400);
        assert!(
            errors["errors"][field][0].is_string(),
            "{field} {value}: {errors}"
        );
    }
    for field in ["name", "routingStrategy", "dialTimeoutSeconds"] {
        let mut body = good.clone();
        body.as_object_mut().expect("an object").remove(field);
        let errors = alice.post(CAMPAIGNS, body).await.expect(400);
        assert!(errors["errors"][field][0].is_string(), "{field}: {errors}");
    }
    let one = path_of(&alice.post(CAMPAIGNS, good.clone()).await.expect(201));
    alice.put(&one, json!({"id": 4})).await.expect(400);
    alice.put(&one, json!({"name": null})).await.expect(400);

    let taken = alice.post(CAMPAIGNS, good.clone()).await.expect(409);
    assert_eq!(taken["code"], "name_taken");
    add_campaign(&alice, "b", "active").await;
    alice.put(&one, json!({"name": "b"})).await.expect(409);
    alice.put(&one, json!({"name": "a"})).await.expect(200);
    let bob = server.login("bob").await;
    bob.post(CAMPAIGNS, good).await.expect(201);
}

#[tokio::test]
async fn another_sellers_campaign_is_not_yours() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let campaign = add_campaign(&alice, "Sales", "active").await;
    let one = path_of(&campaign);
    bob.get(&one).await.expect(404);
    let refused = bob.put(&one, json!({"name": "x"})).await.expect(403);
    assert_eq!(refused["code"], "not_yours");
    bob.delete(&one).await.expect(403);
    tie(&bob, &campaign, &[]).await.expect(404);
    for gone in ["999", "99999999999"] {
        let gone = format!("{CAMPAIGNS}/{gone}");
        bob.get(&gone).await.expect(404);
        bob.put(&gone, json!({"name": "x"})).await.expect(404);
        bob.delete(&gone).await.expect(404);
        bob.put(&format!("{gone}/dids"), json!({"didIds": []}))
            .await
            .expect(404);
    }
    for nobody in ["admin", "staff"] {
        let nobody = server.login(nobody).await;
        nobody.get(CAMPAIGNS).await.expect(403);
        nobody.get(&one).await.expect(403);
        nobody
            .get("/api/seller/campaigns/available_clients")
            .await
            .expect(403);
    }
    server.anonymous().get(CAMPAIGNS).await.expect(401);
    assert_eq!(alice.get(&one).await.expect(200), campaign);
}

#[tokio::test]
async fn the_dids_of_a_campaign_are_replaced_as_a_whole() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let bob = server.login("bob").await;
    let campaign = add_campaign(&alice, "Sales", "active").await;
    let (one, two) = (
        add_did(&alice, "+18005550101").await,
        add_did(&alice, "+18005550102").await,
    );
    let of_bob = add_did(&bob, "+18005550103").await;
    let dids = async || {
        let read = alice.get(&path_of(&campaign)).await.expect(200);
        let dids = read["dids"].as_array().expect("a list").clone();
        dids.iter().map(|d| d["id"].clone()).collect::<Vec<_>>()
    };

    let said = tie(&alice, &campaign, &[&two, &one, &two])
        .await
        .expect(200);
    assert!(said["message"].is_string());
    assert_eq!(dids().await, [one.clone(), two.clone()]);
    let read = alice.get(&path_of(&campaign)).await.expect(200);
    assert_eq!(
        read["dids"][0],
        json!({"id": one, "number": "+18005550101", "description": null, "status": "active"})
    );
    for foreign in [&of_bob, &json!(999), &json!(-1)] {
        let refused = tie(&alice, &campaign, &[&one, foreign]).await.expect(403);
        assert_eq!(refused["code"], "not_your_dids");
    }
    assert_eq!(dids().await.len(), 2, "a refusal changes nothing");
    for wrong in [
        json!("1"),
        json!(["x"]),
        json!(null),
        json!([4_294_967_296_u64]),
    ] {
        let path = format!("{}/dids", path_of(&campaign));
        alice
            .put(&path, json!({ "didIds": wrong }))
            .await
            .expect(400);
        alice.put(&path, json!({"ids": []})).await.expect(400);
    }
    tie(&alice, &campaign, &[&two]).await.expect(200);
    assert_eq!(dids().await, [two]);
    tie(&alice, &campaign, &[]).await.expect(200);
    assert!(dids().await.is_empty());
    let audited: Value = server
        .db
        .one(
            "select before from audit_log where action = 'set_dids' order by audit_id desc limit 1",
        )
        .await;
    assert_eq!(audited["didIds"].as_array().expect("a list").len(), 1);
}

#[tokio::test]
async fn a_did_is_in_one_active_campaign() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let did = add_did(&alice, "+18005550101").await;
    let active = add_campaign(&alice, "active", "active").await;
    let other = add_campaign(&alice, "other", "inactive").await;
    tie(&alice, &active, &[&did]).await.expect(200);
    tie(&alice, &other, &[&did]).await.expect(200);
    let refused = alice
        .put(&path_of(&other), json!({"status": "active"}))
        .await
        .expect(409);
    assert_eq!(refused["code"], "did_in_use");
    // What does not make it active is fine, and so is a change of one that is.
    alice
        .put(&path_of(&other), json!({"status": "paused"}))
        .await
        .expect(200);
    alice
        .put(&path_of(&active), json!({"status": "active", "name": "x"}))
        .await
        .expect(200);
    tie(&alice, &active, &[&did]).await.expect(200);

    let third = add_campaign(&alice, "third", "active").await;
    assert_eq!(
        tie(&alice, &third, &[&did]).await.expect(409)["code"],
        "did_in_use"
    );
    alice
        .put(&path_of(&active), json!({"status": "paused"}))
        .await
        .expect(200);
    tie(&alice, &third, &[&did]).await.expect(200);
}

#[tokio::test]
async fn of_campaigns_activated_at_once_one_gets_the_did() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let did = add_did(&alice, "+18005550101").await;
    let mut paused = vec![];
    let mut bare = vec![];
    for n in 0..4 {
        let campaign = add_campaign(&alice, &format!("paused {n}"), "paused").await;
        tie(&alice, &campaign, &[&did]).await.expect(200);
        paused.push(campaign);
        bare.push(add_campaign(&alice, &format!("active {n}"), "active").await);
    }
    let activations = paused.iter().map(async |campaign| {
        let change = json!({"status": "active"});
        alice.put(&path_of(campaign), change).await.status
    });
    let ties = bare
        .iter()
        .map(async |campaign| tie(&alice, campaign, &[&did]).await.status);
    let (activations, ties) = tokio::join!(join_all(activations), join_all(ties));
    let mut statuses = [activations, ties].concat();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    let active: i64 = server
        .db
        .one("select count(*) from campaign_dids t join campaigns c on c.id = t.campaign_id where c.status = 'active'")
        .await;
    assert_eq!(active, 1);
}

#[tokio::test]
async fn replacements_at_once_follow_one_another() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let campaign = add_campaign(&alice, "Sales", "active").await;
    let mut dids = vec![];
    for n in 1..=8 {
        dids.push(add_did(&alice, &format!("+1800555010{n}")).await);
    }
    for _ in 0..4 {
        let sets = dids.windows(2).map(async |pair| {
            tie(&alice, &campaign, &[&pair[0], &pair[1]])
                .await
                .expect(200)
        });
        join_all(sets).await;
        let read = alice.get(&path_of(&campaign)).await.expect(200);
        let ids: Vec<_> = (0..2).map(|i| read["dids"][i]["id"].clone()).collect();
        assert_eq!(read["dids"].as_array().expect("a list").len(), 2);
        assert!(dids.windows(2).any(|pair| pair == ids), "{ids:?}");
    }
}

#[tokio::test]
async fn the_version_of_a_campaign_moves_with_ties_and_links_but_not_with_calls() {
    let server = ApiServer::start().await;
    add_clients(&server, 2).await;
    let alice = server.login("alice").await;
    let did = add_did(&alice, "+18005550101").await;
    let campaign = add_campaign(&alice, "Sales", "active").await;
    let one = path_of(&campaign);
    let tag = async || {
        let answer = alice.get(&one).await;
        answer.header("etag").expect("a tag").to_owned()
    };
    let mut tags = vec![tag().await];
    tie(&alice, &campaign, &[&did]).await.expect(200);
    tags.push(tag().await);
    let link = json!({"clientId": 1, "maxConcurrency": 1, "forwardingPriority": 0, "weight": 1});
    let link = alice
        .post(&format!("{one}/clients"), link)
        .await
        .expect(201);
    tags.push(tag().await);
    let link = format!("{one}/clients/{}", link["id"]);
    alice.put(&link, json!({"weight": 2})).await.expect(200);
    tags.push(tag().await);
    let answer = alice.put(&one, json!({"name": "Other"})).await;
    assert_eq!(answer.header("etag"), Some(tag().await.as_str()));
    tags.push(tag().await);
    let distinct: std::collections::HashSet<_> = tags.iter().collect();
    assert_eq!(distinct.len(), tags.len(), "{tags:?}");

    server
        .db
        .run("update campaign_client_settings set current_total_calls = current_total_calls + 1")
        .await;
    assert_eq!(&tag().await, tags.last().expect("some"));
    let careful = alice.with_header("if-match", &tags[0]);
    careful.put(&one, json!({"name": "x"})).await.expect(412);
    careful.delete(&one).await.expect(412);
    careful
        .put(&format!("{one}/dids"), json!({"didIds": []}))
        .await
        .expect(412);
    let careful = alice.with_header("if-match", &tag().await);
    careful.delete(&one).await.expect(204);
}

#[tokio::test]
async fn a_campaign_is_read_with_all_that_belongs_to_it_in_order() {
    let server = ApiServer::start().await;
    add_clients(&server, 30).await;
    let alice = server.login("alice").await;
    let campaign = add_campaign(&alice, "Sales", "active").await;
    server
        .db
        .run(
            "insert into dids (number, user_id, status) select '+1800555' || n, 3, 'active' from generate_series(1000, 1030) n;
             insert into campaign_dids select 1, id from dids;
             insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency, forwarding_priority, weight)
                 select 1, id, 'active', 1, 30 - id, 1 from clients",
        )
        .await;
    let read = alice.get(&path_of(&campaign)).await.expect(200);
    assert_eq!(read["dids"].as_array().expect("a list").len(), 31);
    let links = read["clientSettings"].as_array().expect("a list");
    let tiers: Vec<_> = links
        .iter()
        .map(|l| l["forwardingPriority"].as_i64())
        .collect();
    assert_eq!(tiers.len(), 30);
    assert!(tiers.is_sorted(), "{tiers:?}");
}

#[tokio::test]
async fn clients_that_may_be_linked_are_the_active_ones_by_name() {
    let server = ApiServer::start().await;
    add_clients(&server, 3).await;
    let alice = server.login("alice").await;
    let path = "/api/seller/campaigns/available_clients";
    assert_eq!(
        alice.get(path).await.expect(200),
        json!([
            {"id": 1, "clientIdentifier": "client1", "name": "Client 1", "department": "Sales"},
            {"id": 2, "clientIdentifier": "client2", "name": "Client 2", "department": "Sales"},
        ])
    );
    server
        .db
        .run("insert into clients (client_identifier, name, status) select 'x' || n, 'x', 'active' from generate_series(1, 600) n")
        .await;
    let all = alice.get(path).await.expect(200);
    assert_eq!(all.as_array().expect("a bare list").len(), 500);
}
