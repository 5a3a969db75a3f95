use capconduit::db::connect_as_owner;
use capconduit::db::migrate::{self, CURRENT, Error, migrate};

use crate::support::TestDb;

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_starting_on_an_empty_database_all_come_up() {
    for _ in 0..5 {
        let db = TestDb::empty().await;
        let mut starts = Vec::new();
        for _ in 0..4 {
            let settings = db.settings();
            starts.push(tokio::spawn(async move {
                let mut client = connect_as_owner(&settings).await.expect("connects");
                let applied = migrate(&mut client).await.expect("migrates").len();
                migrate::check(&client).await.expect("is current");
                applied
            }));
        }
        let mut applied = 0;
        for start in starts {
            applied += start.await.unwrap();
        }
        assert_eq!(applied, CURRENT as usize);
    }
}

#[tokio::test]
async fn a_schema_that_is_behind_ahead_or_changed_is_named() {
    let db = TestDb::empty().await;
    let behind = db.store().check_schema().await.unwrap_err();
    assert!(
        behind.to_string().contains("run `capconduit migrate`"),
        "{behind}"
    );

    let db = TestDb::new().await;
    db.store().check_schema().await.expect("is current");
    db.run("insert into schema_migrations values (99, 'future', 'x', now())")
        .await;
    assert!(matches!(
        migrate::check(&db.owner).await,
        Err(Error::Ahead { found: 99 })
    ));

    db.run(
        "delete from schema_migrations where version = 99;
            update schema_migrations set checksum = 'other' where version = 2",
    )
    .await;
    assert!(matches!(
        migrate::check(&db.owner).await,
        Err(Error::Changed { version: 2, .. })
    ));
}
