//! Call centres that register: dialled while registered, passed over at once while not.

use capconduit::domain::RefusalReason;

use crate::support::World;
use crate::support::world::{Caller, VerdictExt, link};

/// Client 1 registers, client 2 of the next tier is at a fixed address.
async fn world() -> World {
    let mut second = link(2);
    second.tier = 1;
    let world = World::new("priority", &[link(1), second]).await;
    world
        .db
        .run(
            "update clients set registers = true where id = 1;
             update pjsip_aors set contact = '' where client_id = 1",
        )
        .await;
    world
}

/// As Asterisk writes it.
async fn register(world: &World, server: Option<&str>, seconds_left: i32) {
    let server = server.map_or("null".to_owned(), |s| format!("'{s}'"));
    world
        .db
        .run(&format!(
            "insert into ps_contacts (id, uri, expiration_time, reg_server, endpoint)
             values ('client1^3B@0123', 'sip:client1@192.0.2.7:40001',
                     extract(epoch from now())::bigint + {seconds_left}, {server}, 'client1')"
        ))
        .await;
}

#[tokio::test]
async fn a_client_that_registers_is_offered_calls_only_while_it_has() {
    let world = world().await;
    let engine = world.engine("a");
    let caller = Caller::new().on("pbx-a");
    assert_eq!(caller.route(&engine).await.offer().endpoint, "client2");
    let verdict =
        "select ranking -> 1 ->> 'verdict' from decisions order by decided_at desc limit 1";
    assert_eq!(world.db.one::<String>(verdict).await, "not_registered");
    caller.end(&engine, None).await;

    for (server, seconds_left, asks, expected) in [
        (Some("pbx-a"), 60, "pbx-a", "client1"),
        // Its address translator lets only the server in with which it registered.
        (Some("pbx-b"), 60, "pbx-a", "client2"),
        (None, 60, "pbx-a", "client1"),
        (Some(""), 60, "pbx-a", "client1"),
        // Asterisk's clock may be a little behind, and it forgets contacts itself.
        (Some("pbx-a"), -30, "pbx-a", "client1"),
        (Some("pbx-a"), -90, "pbx-a", "client2"),
    ] {
        register(&world, server, seconds_left).await;
        let caller = Caller::new().on(asks);
        let offer = caller.route(&engine).await.offer();
        assert_eq!(offer.endpoint, expected, "{server:?} {seconds_left} {asks}");
        caller.end(&engine, None).await;
        // What asks by hand asks for no server.
        let explained = engine.explain(&caller.arrival().did).await.expect("reads");
        let chosen = explained.decided.and_then(|(_, d)| d.chosen()).map(|l| l.0);
        assert_eq!(chosen, Some(if seconds_left < -60 { 2 } else { 1 }));
        world.db.run("delete from ps_contacts").await;
    }
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_campaign_whose_only_client_is_not_registered_has_no_active_one() {
    let world = world().await;
    let engine = world.engine("a");
    world
        .db
        .run("update campaign_client_settings set status = 'inactive' where client_id = 2")
        .await;
    let caller = Caller::new();
    let refusal = caller.route(&engine).await.refusal();
    assert_eq!(refusal.reason, RefusalReason::NoActiveClientsInCampaign);
    caller.end(&engine, None).await;
    world.assert_quiet().await;
}

#[tokio::test]
async fn asterisk_sees_the_contacts_that_registered_with_it_and_may_write_no_other_table() {
    let world = world().await;
    let db = &world.db;
    register(&world, Some("pbx-a"), 60).await;
    // The same address registers with another server, which sees nothing of the first.
    db.run("set capconduit.system_name = 'pbx-b'; set role capconduit_asterisk")
        .await;
    let seen = "select count(*) from ps_contacts";
    assert_eq!(db.one::<i64>(seen).await, 0);
    register(&world, Some("pbx-b"), 60).await;
    assert_eq!(db.one::<i64>(seen).await, 1);
    db.run("update ps_contacts set expiration_time = 1").await;
    db.run("delete from ps_contacts").await;
    db.run("set capconduit.system_name = 'pbx-a'").await;
    let left: i64 = db
        .one("select expiration_time from ps_contacts where id = 'client1^3B@0123'")
        .await;
    assert!(left > 1, "another server's contact was changed");
    for forbidden in [
        "select count(*) from pjsip_contacts",
        "delete from pjsip_contacts",
        "update ps_endpoints set context = 'x'",
        "update ps_auths set password = 'x'",
    ] {
        assert!(
            db.owner.batch_execute(forbidden).await.is_err(),
            "{forbidden}"
        );
    }
}

#[tokio::test]
async fn nobody_is_known_by_a_name_without_a_password() {
    let world = world().await;
    let seen = "select concat_ws(' ', identify_by, auth, rewrite_contact) from ps_endpoints where id = 'client1'";
    let aor = "select concat_ws(' ', coalesce(contact, 'none'), remove_existing) from ps_aors where id = 'client1'";
    assert_eq!(world.db.one::<String>(seen).await, "ip yes");
    assert_eq!(world.db.one::<String>(aor).await, "none yes");
    for (username, kind, password, expected) in [
        ("client1", "userpass", "", "ip yes"),
        ("other", "userpass", "a long password", "ip yes"),
        ("client1", "google_oauth", "a long password", "ip yes"),
        (
            "client1",
            "userpass",
            "a long password",
            "auth_username a1 yes",
        ),
        ("client1", "md5", "a long password", "auth_username a1 yes"),
    ] {
        world
            .db
            .run(&format!(
                "delete from pjsip_auths;
                 insert into pjsip_auths (id, client_id, auth_type, username, password)
                 values ('a1', 1, '{kind}', '{username}', '{password}')"
            ))
            .await;
        assert_eq!(
            world.db.one::<String>(seen).await,
            expected,
            "{username} {kind} {password}"
        );
    }
}

#[tokio::test]
async fn credentials_of_type_md5_are_a_hash_or_a_password() {
    let world = world().await;
    let hash = "0123456789ABCDEF0123456789abcdef";
    let seen = "select concat_ws(' ', auth_type, password, md5_cred) from ps_auths";
    for (password, expected) in [
        (hash, "md5 0123456789abcdef0123456789abcdef".to_owned()),
        ("no hash", "userpass no hash".to_owned()),
    ] {
        world
            .db
            .run(&format!(
                "delete from pjsip_auths;
                 insert into pjsip_auths (id, client_id, auth_type, username, password)
                 values ('a1', 1, 'md5', 'client1', '{password}')"
            ))
            .await;
        assert_eq!(world.db.one::<String>(seen).await, expected);
    }
}
