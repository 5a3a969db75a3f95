//! What the command line says where something is not as it should be.

use crate::support::TestDb;
use crate::support::daemon::DaemonSettings;

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
async fn accounts_are_listed() {
    let db = TestDb::new().await;
    db.run(
        "insert into users (username, email, password_hash, role, status)
         values ('carol', 'carol@example.com', '', 'user', 'suspended'), ('adam', 'a@example.com', '', 'admin', 'active')",
    )
    .await;
    let settings = DaemonSettings::new("a", &db.url);
    let listed = |more: &[&str]| {
        let output = settings.command("user").arg("list").args(more).output();
        let output = output.expect("runs");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        let names = text.lines().skip(1).map(|line| line.split('\t').nth(1));
        names
            .map(|name| name.expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]), ["adam", "carol"]);
    assert_eq!(listed(&["--role", "admin"]), ["adam"]);
    assert_eq!(listed(&["--status", "suspended"]), ["carol"]);

    let refused = settings
        .command("user")
        .args(["create", "c\u{430}rol", "--email", "x@example.com"])
        .output()
        .expect("runs");
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn the_apis_document_is_printed_without_configuration() {
    let settings = DaemonSettings::new("a", "postgres://nowhere/nothing");
    let output = settings.command("openapi").output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document, capconduit::http::api::document());
}
