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
