//! Accounts, as administrators manage them.

use std::time::{Duration, Instant};

use capconduit::accounts::store::users::{self, NewUser};
use capconduit::db::request::Reach;
use capconduit::domain::UserId;
use serde_json::{Value, json};

use crate::support::World;
use crate::support::api::{ApiClient, ApiServer, PASSWORD};
use crate::support::eventually;
use crate::support::world::{Caller, VerdictExt, engine, link};

const USERS: &str = "/api/admin/users";

fn carol() -> Value {
    json!({"username": "carol", "email": "carol@leads.example", "password": "a long password", "role": "user"})
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

/// Login attempt; the status of the answer.
async fn login(server: &ApiServer, username: &str, password: &str) -> u16 {
    let body = json!({"username": username, "password": password});
    server
        .anonymous()
        .post("/api/auth/login", body)
        .await
        .status
}

async fn is_in(client: &ApiClient) -> bool {
    client.get("/api/auth/status").await.status == 200
}

#[tokio::test]
async fn an_account_is_added_read_changed_and_deleted() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let answer = admin.post(USERS, carol()).await;
    let tag = answer.header("etag").expect("a tag").to_owned();
    let user = answer.expect(201);
    assert_eq!(user["username"], "carol");
    assert_eq!(user["status"], "active", "by default");
    assert_eq!(user["fullName"], json!(null));
    let keys: Vec<&String> = user.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "callersShown",
            "companyName",
            "createdAt",
            "email",
            "fullName",
            "id",
            "role",
            "status",
            "updatedAt",
            "username"
        ]
    );
    assert_eq!(login(&server, "carol", "a long password").await, 200);
    let one = format!("{USERS}/{}", user["id"]);
    let read = admin.get(&one).await;
    assert_eq!(read.header("etag"), Some(tag.as_str()));
    assert_eq!(read.expect(200), user);

    let change = json!({"fullName": "Carol", "companyName": "C & Co", "username": "eve", "password": "x", "id": 1});
    let changed = admin.put(&one, change).await.expect(200);
    assert_eq!(changed["username"], "carol", "is dropped");
    assert_eq!(changed["fullName"], "Carol");
    let changed = admin.put(&one, json!({"fullName": null})).await.expect(200);
    assert_eq!(changed["fullName"], json!(null));
    assert_eq!(changed["companyName"], "C & Co", "what is not named stays");
    admin
        .put(
            &one,
            json!({"username": "eve", "password": "a long password"}),
        )
        .await
        .expect(400);

    let careful = admin.with_header("if-match", &tag);
    careful
        .put(&one, json!({"role": "staff"}))
        .await
        .expect(412);
    careful
        .put(&format!("{one}/password"), json!({"password": "12345678"}))
        .await
        .expect(412);
    careful.delete(&one).await.expect(412);

    admin.delete(&one).await.expect(204);
    admin.get(&one).await.expect(404);
    admin.delete(&one).await.expect(404);
    admin.put(&one, json!({"role": "staff"})).await.expect(404);
    admin
        .put(&format!("{one}/password"), json!({"password": "12345678"}))
        .await
        .expect(404);
    let audited: String = server
        .db
        .one("select string_agg(action, ',' order by audit_id) from audit_log where object_type = 'user'")
        .await;
    assert_eq!(audited, "create,update,update,delete");
    let leaked: i64 = server
        .db
        .one("select count(*) from audit_log where concat(before, after) ~ 'hash|argon|long password'")
        .await;
    assert_eq!(leaked, 0);
}

#[tokio::test]
async fn accounts_are_listed_by_name_and_page() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let listed = admin.get(USERS).await.expect(200);
    let names: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["username"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["admin", "alice", "bob", "staff"]);
    assert_eq!(listed["total"], 4);
    let second = admin
        .get(&format!("{USERS}?page=2&per_page=3"))
        .await
        .expect(200);
    assert_eq!(second["items"][0]["username"], "staff");
    assert_eq!(second["pages"], 2);
    admin
        .get(&format!("{USERS}?page=99999999999999999999"))
        .await
        .expect(400);
}

#[tokio::test]
async fn only_administrators_manage_accounts() {
    let server = ApiServer::start().await;
    server.anonymous().get(USERS).await.expect(401);
    for name in ["staff", "alice"] {
        let client = server.login(name).await;
        for path in [USERS, "/api/admin/users/3", "/api/admin/users/999"] {
            let refused = client.get(path).await.expect(403);
            assert!(refused["message"].as_str().unwrap().contains("[admin]"));
        }
        client.post(USERS, carol()).await.expect(403);
        client
            .put("/api/admin/users/4", json!({"role": "admin"}))
            .await
            .expect(403);
        client
            .put(
                "/api/admin/users/4/password",
                json!({"password": "12345678"}),
            )
            .await
            .expect(403);
        client.delete("/api/admin/users/4").await.expect(403);
    }
    let changed: i64 = server
        .db
        .one("select count(*) from users where role = 'admin'")
        .await;
    assert_eq!(changed, 1);
}

#[tokio::test]
async fn each_wrong_field_is_named() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    for (field, value) in [
        ("username", json!("ab")),
        ("username", json!("x".repeat(81))),
        ("username", json!(" carol")),
        ("username", json!("car\u{0}ol")),
        ("username", json!(7)),
        ("username", json!(null)),
        ("email", json!("carol")),
        ("email", json!("carol@example")),
        ("email", json!("carol@example.com\n")),
        (
            "email",
            json!(format!("{}@{}.example", "c".repeat(60), "x".repeat(60))),
        ),
        ("password", json!("1234567")),
        ("password", json!("x".repeat(1001))),
        ("password", json!("1234567\u{0}")),
        ("role", json!("root")),
        ("role", json!(null)),
        ("status", json!("asleep")),
        ("fullName", json!("x".repeat(101))),
        ("companyName", json!(12)),
        ("id", json!(1)),
        ("password_hash", json!("x")),
    ] {
        let errors = admin
            .post(USERS, with(carol(), field, value.clone()))
            .await
            .expect(400);
        assert!(
            errors["errors"][field][0].is_string(),
            "{field} {value}: {errors}"
        );
    }
    for missing in ["username", "email", "password", "role"] {
        let mut body = carol();
        body.as_object_mut().unwrap().remove(missing);
        let errors = admin.post(USERS, body).await.expect(400);
        assert!(errors["errors"][missing][0].is_string(), "{errors}");
    }
    for (field, value) in [
        ("email", json!(null)),
        ("email", json!("x")),
        ("role", json!("root")),
        ("status", json!(1)),
        ("fullName", json!("a\nb")),
    ] {
        let errors = admin
            .put("/api/admin/users/3", json!({ field: value }))
            .await
            .expect(400);
        assert!(errors["errors"][field][0].is_string(), "{errors}");
    }
    for body in [
        json!({"password": "short"}),
        json!({"password": "12345678", "x": 1}),
        json!({"password": null}),
    ] {
        admin
            .put("/api/admin/users/3/password", body)
            .await
            .expect(400);
    }
    // Passwords of any script and beyond the 72 bytes of bcrypt.
    let long = "pässwörd".repeat(100);
    admin
        .post(USERS, with(carol(), "password", json!(long)))
        .await
        .expect(201);
    assert_eq!(login(&server, "carol", &long).await, 200);
    for path in [
        "/api/admin/users/x",
        "/api/admin/users/99999999999",
        "/api/admin/users/3/",
    ] {
        admin.get(path).await.expect(404);
    }
}

#[tokio::test]
async fn names_and_addresses_are_taken_in_any_case() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    for (username, email, code) in [
        ("alice", "alice@example.com", "username_taken"),
        ("ALICE", "new@example.com", "username_taken"),
        ("carol", "Alice@Example.com", "email_taken"),
    ] {
        let body = with(
            with(carol(), "username", json!(username)),
            "email",
            json!(email),
        );
        let refused = admin.post(USERS, body).await.expect(409);
        assert_eq!(refused["code"], code, "{refused}");
    }
    let refused = admin
        .put("/api/admin/users/3", json!({"email": "BOB@example.com"}))
        .await
        .expect(409);
    assert_eq!(refused["code"], "email_taken");
    // Its own address, in another case, is nobody else's.
    admin
        .put("/api/admin/users/3", json!({"email": "Alice@example.com"}))
        .await
        .expect(200);
    // Rows that differ in case only, from before, can still be changed.
    server
        .db
        .run(
            "insert into users (username, email, password_hash, role, status)
              values ('Bob', 'Bob@example.com', 'x', 'user', 'active')",
        )
        .await;
    admin
        .put(
            "/api/admin/users/5",
            json!({"email": "Bob@example.com", "fullName": "B"}),
        )
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_accounts_made_at_once_one_is_made() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let mut posts = Vec::new();
    for i in 0..16 {
        let admin = admin.clone();
        let name = if i % 2 == 0 { "carol" } else { "Carol" };
        let body = with(carol(), "username", json!(name));
        posts.push(tokio::spawn(
            async move { admin.post(USERS, body).await.status },
        ));
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
    let made: i64 = server
        .db
        .one("select count(*) from users where lower(username) = 'carol'")
        .await;
    assert_eq!(made, 1);
}

#[tokio::test]
async fn the_last_active_administrator_stays_one() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    // An administrator who is not active does not count.
    let asleep = with(
        with(carol(), "role", json!("admin")),
        "status",
        json!("inactive"),
    );
    let asleep = admin.post(USERS, asleep).await.expect(201);
    for change in [json!({"role": "staff"}), json!({"status": "suspended"})] {
        let refused = admin.put("/api/admin/users/1", change).await.expect(403);
        assert_eq!(refused["code"], "last_admin");
    }
    admin
        .put(
            "/api/admin/users/1",
            json!({"fullName": "Ada", "role": "admin"}),
        )
        .await
        .expect(200);
    let refused = admin.delete("/api/admin/users/1").await.expect(403);
    assert_eq!(refused["code"], "own_account");

    let other = format!("{USERS}/{}", asleep["id"]);
    admin
        .put(&other, json!({"status": "active"}))
        .await
        .expect(200);
    admin
        .put("/api/admin/users/1", json!({"role": "staff"}))
        .await
        .expect(200);
    assert!(!is_in(&admin).await, "another role, another login");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_administrators_who_end_each_other_at_once_leave_one() {
    for round in 0..3 {
        let server = ApiServer::start().await;
        server
            .db
            .run("update users set role = 'admin' where username = 'staff'")
            .await;
        let (first, second) = (server.login("admin").await, server.login("staff").await);
        let work = |client: ApiClient, id: i32| async move {
            let path = format!("{USERS}/{id}");
            match round {
                0 => client.put(&path, json!({"role": "user"})).await.status,
                1 => {
                    let change = json!({"status": "inactive"});
                    client.put(&path, change).await.status
                }
                _ => client.delete(&path).await.status,
            }
        };
        let statuses = tokio::join!(tokio::spawn(work(first, 2)), tokio::spawn(work(second, 1)));
        let left: i64 = server
            .db
            .one("select count(*) from users where role = 'admin' and status = 'active'")
            .await;
        assert_eq!(left, 1, "{statuses:?}");
    }
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_and_only_the_new_one_opens_more() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    let alice = server.login("alice").await;
    admin
        .put(
            "/api/admin/users/3/password",
            json!({"password": "another password"}),
        )
        .await
        .expect(200);
    assert!(!is_in(&alice).await);
    assert_eq!(login(&server, "alice", PASSWORD).await, 401);
    assert_eq!(login(&server, "alice", "another password").await, 200);
    assert!(is_in(&admin).await, "others stay");
    let audited: String = server
        .db
        .one("select action || concat(before, after) from audit_log")
        .await;
    assert!(audited.starts_with("set_password") && !audited.contains("argon"));
}

#[tokio::test]
async fn an_account_that_is_not_active_any_more_is_logged_out_for_good() {
    let server = ApiServer::start().await;
    let admin = server.login("admin").await;
    for status in ["inactive", "suspended", "pending_approval"] {
        let alice = server.login("alice").await;
        admin
            .put("/api/admin/users/3", json!({ "status": status }))
            .await
            .expect(200);
        assert!(!is_in(&alice).await);
        admin
            .put("/api/admin/users/3", json!({"status": "active"}))
            .await
            .expect(200);
        assert!(!is_in(&alice).await, "the old session stays ended");
    }
    let alice = server.login("alice").await;
    admin
        .put(
            "/api/admin/users/3",
            json!({"fullName": "Alice", "status": "active"}),
        )
        .await
        .expect(200);
    assert!(is_in(&alice).await, "nothing that matters has changed");
}

#[tokio::test]
async fn a_deleted_account_takes_what_is_its_own_and_leaves_the_rest() {
    let server = ApiServer::start().await;
    server
        .db
        .run(
            "insert into clients (client_identifier, name, status, created_by) values ('c', 'C', 'active', 3);
             insert into dids (number, user_id, status) values ('+18005550101', 3, 'active'), ('+18005550102', 4, 'active');
             insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
                 values (3, 'of alice', 'active', 'priority', 20), (4, 'of bob', 'active', 'priority', 20);
             insert into campaign_dids values (1, 1);
             insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency,
                 forwarding_priority, weight) values (1, 1, 'active', 1, 0, 1), (2, 1, 'active', 1, 0, 1);
             insert into api_keys (user_id, name, prefix, secret_hash, scopes) values (3, 'k', 'p', 'x', '{}');
             insert into call_logs (user_id, did_id, campaign_id, client_id, incoming_did_number, timestamp_start,
                 call_status) values (3, 1, 1, 1, '+18005550101', now(), 'ANSWERED')",
        )
        .await;
    let alice = server.login("alice").await;
    let admin = server.login("admin").await;
    admin.delete("/api/admin/users/3").await.expect(204);
    assert!(!is_in(&alice).await);
    let left: String = server
        .db
        .one(
            "select concat_ws(',', (select count(*) from dids), (select count(*) from campaigns),
                 (select count(*) from campaign_dids), (select count(*) from campaign_client_settings),
                 (select count(*) from api_keys), (select count(*) from sessions where user_id = 3),
                 (select coalesce(created_by, 0) from clients),
                 (select concat(user_id, did_id, campaign_id, client_id) from call_logs))",
        )
        .await;
    assert_eq!(left, "1,1,0,1,0,0,0,1", "the client and its call stay");
}

#[tokio::test]
async fn a_seller_with_many_records_is_deleted_quickly_and_the_records_let_go_later() {
    let server = ApiServer::start().await;
    server
        .db
        .run(
            "insert into clients (client_identifier, name, status) values ('c', 'C', 'active');
             insert into dids (number, user_id, status) values ('+18005550101', 3, 'active');
             insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
                 select 3, 'campaign ' || n, 'active', 'priority', 20 from generate_series(1, 20) n;
             insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency,
                 forwarding_priority, weight) select id, 1, 'active', 1, 0, 1 from campaigns;
             insert into call_logs (user_id, did_id, campaign_id, client_id, campaign_client_setting_id,
                     incoming_did_number, timestamp_start, call_status)
                 select 3, 1, 1 + n % 20, 1, 1 + n % 20, '+18005550101', now() - n * interval '1 second', 'ANSWERED'
                 from generate_series(1, 10000) n",
        )
        .await;
    let admin = server.login("admin").await;
    let begun = Instant::now();
    admin.delete("/api/admin/users/3").await.expect(204);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let seen = server.db.store().user(Reach::Everything, UserId(3)).await;
    assert!(seen.expect("reads").is_none());

    let store = server.db.store();
    eventually("all references are cleared", || async {
        store
            .clear_deleted_references(20_000)
            .await
            .expect("clears");
        let left: i64 = server
            .db
            .one(
                "select count(*) from call_logs where num_nonnulls(user_id, did_id, campaign_id,
                      campaign_client_setting_id) > 0",
            )
            .await;
        left == 0
    })
    .await;
    let kept: i64 = server
        .db
        .one("select count(*) from call_logs where client_id = 1")
        .await;
    assert_eq!(kept, 10_000, "the client is still there");
}

#[tokio::test]
async fn sweeps_clear_what_a_deleted_seller_left_while_calls_are_routed() {
    let world = World::new("priority", &[link(1)]).await;
    world
        .db
        .run(
            "insert into users (id, username, email, password_hash, role, status)
                 values (77, 'gone', 'gone@example.com', 'x', 'user', 'active');
             insert into call_logs (user_id, incoming_did_number, timestamp_start, call_status)
                 select 77, '+1', now() - n * interval '1 second', 'ANSWERED' from generate_series(1, 5000) n;
             delete from users where id = 77",
        )
        .await;
    let referring = "select count(*) from call_logs where user_id = 77";
    let left: i64 = world.db.one(referring).await;
    assert_eq!(left, 4_500, "the delete clears a few itself");
    let router = engine(&world.db, "a");
    let sweeper = engine(&world.db, "b");
    // An end of the month's report that comes late holds a record; the sweep goes around it.
    let mut reporter = capconduit::db::connect_as_owner(&world.db.settings())
        .await
        .expect("connects");
    let held = reporter.transaction().await.expect("begins");
    held.execute(
        "update call_logs set attempts = 1 where id = (select max(id) from call_logs where user_id = 77)",
        &[],
    )
    .await
    .expect("updates");
    let calls = async {
        for _ in 0..20 {
            let caller = Caller::new();
            caller.route(&router).await.offer();
            caller.end(&router, None).await;
        }
    };
    let (swept, ()) = tokio::join!(sweeper.sweep(), calls);
    swept.expect("sweeps");
    assert_eq!(
        world.db.one::<i64>(referring).await,
        1,
        "the one that is held"
    );
    world
        .db
        .run("update deleted_references set deleted_at = now() - interval '2 minutes'")
        .await;
    sweeper.sweep().await.expect("sweeps");
    let noted = "select count(*) from deleted_references";
    assert_eq!(
        world.db.one::<i64>(noted).await,
        1,
        "noted until all are cleared"
    );
    held.commit().await.expect("commits");
    sweeper.sweep().await.expect("sweeps");
    assert_eq!(world.db.one::<i64>(referring).await, 0);
    assert_eq!(world.db.one::<i64>(noted).await, 0);
    world.assert_quiet().await;
}

#[tokio::test]
async fn records_of_a_world_that_was_filled_anew_keep_their_seller() {
    let world = World::new("priority", &[link(1)]).await;
    let seller = "insert into users (id, username, email, password_hash, role, status)
                      values (77, 'again', 'again@example.com', 'x', 'user', 'active')";
    world.db.run(seller).await;
    world.db.run("delete from users where id = 77").await;
    world.db.run(seller).await;
    world
        .db
        .run(
            "insert into call_logs (user_id, incoming_did_number, timestamp_start, call_status)
                 values (77, '+1', now(), 'ANSWERED')",
        )
        .await;
    engine(&world.db, "a").sweep().await.expect("sweeps");
    let kept = "select count(*) from call_logs where user_id = 77";
    assert_eq!(world.db.one::<i64>(kept).await, 1);
    let noted = "select count(*) from deleted_references";
    assert_eq!(world.db.one::<i64>(noted).await, 0);
}

#[tokio::test]
async fn the_command_line_minds_the_same_names_and_notes_what_it_makes() {
    let server = ApiServer::start().await;
    let mut owner = capconduit::db::connect_as_owner(&server.db.settings())
        .await
        .expect("connects");
    let mut user = NewUser {
        username: "Alice",
        email: "new@example.com",
        password_hash: "x",
        role: "admin",
        status: "active",
        full_name: None,
        company_name: None,
        must_change_password: false,
    };
    let taken = users::create(&mut owner, &user).await;
    assert!(matches!(taken, Err(users::Error::Taken("username"))));
    user.username = "dora";
    user.email = "BOB@example.com";
    let taken = users::create(&mut owner, &user).await;
    assert!(matches!(taken, Err(users::Error::Taken("email"))));
    user.email = "dora@example.com";
    let id = users::create(&mut owner, &user).await.expect("makes it");
    let noted: String = server
        .db
        .one("select concat_ws(' ', via, action, object_type, object_id, after ->> 'username') from audit_log")
        .await;
    assert_eq!(noted, format!("cli create user {id} dora"));
}
