//! What the command line says where something is not as it should be.

use crate::support::TestDb;
use crate::support::World;
use crate::support::daemon::DaemonSettings;
use crate::support::world::{DID, link};

#[tokio::test]
async fn commands_on_a_database_without_schema_say_what_makes_it() {
    let db = TestDb::empty().await;
    let settings = DaemonSettings::new("a", &db.url);
    let commands: [&[&str]; 3] = [
        &["route", "--did", "+18005550101"],
        &["user", "password", "carol"],
        &[
            "user",
            "create",
            "carol",
            "--email",
            "c@example.com",
            "--role",
            "admin",
        ],
    ];
    for words in commands {
        let output = settings
            .command(words[0])
            .args(&words[1..])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(
            said.contains("run `capconduit migrate`"),
            "{words:?}: {said}"
        );
        assert!(!said.contains("does not exist"), "{words:?}: {said}");
    }
}

#[tokio::test]
async fn the_decision_by_hand_names_a_paused_campaign() {
    let world = World::new("priority", &[link(1)]).await;
    world.db.run("update campaigns set status = 'paused'").await;
    let settings = DaemonSettings::new("a", &world.db.url);
    let mut command = settings.command("route");
    let output = (command.args(["--did", DID, "--explain"]))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("campaign  1 campaign: paused\n"), "{said}");
    assert!(
        said.ends_with("REJECT no_active_campaign_for_did (campaign 1 campaign: paused)\n"),
        "{said}"
    );
}

#[tokio::test]
async fn a_command_that_fails_on_a_right_schema_tells_its_own_failure() {
    let db = TestDb::new().await;
    let settings = DaemonSettings::new("a", &db.url);
    let mut command = settings.command("user");
    let output = command.args(["password", "nobody"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no user"), "{said}");
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_with_what_was_tried() {
    for (url, told) in [
        (
            "postgres://someone:secret@127.0.0.1:1/nowhere",
            "127.0.0.1:1 (database nowhere, user someone)",
        ),
        // An @ in the password that was not written %40: half of it becomes the host.
        (
            "postgres://someone:sec@ret@127.0.0.1:1/nowhere",
            "is written %40",
        ),
    ] {
        let settings = DaemonSettings::new("a", url);
        let mut command = settings.command("route");
        let output = command.args(["--did", "+1"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(told), "{said}");
        assert!(!said.contains("secret") && !said.contains("ret@"), "{said}");
    }
}
