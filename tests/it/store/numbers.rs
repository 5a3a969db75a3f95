//! One DID a number, however it is spelt: the key, the index, and the migration that makes it.

use std::path::Path;

use capconduit::db::connect_as_owner;
use capconduit::db::migrate::{Error, check, migrate};
use capconduit::domain::DialledNumber;
use tokio_postgres::Client;

use crate::support::{TestDb, eventually};

const NUMBERS: i32 = 9;

/// A database as the version before left it, with two sellers.
async fn before_numbers() -> TestDb {
    let db = TestDb::empty().await;
    db.run(
        "create table schema_migrations (
             version int primary key, name text not null, checksum text not null,
             applied_at timestamptz not null default now());
         grant select on schema_migrations to public",
    )
    .await;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/migrations");
    let files = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let (version, name) = name.split_once('_').unwrap();
        let version: i32 = version.parse().unwrap();
        if version >= NUMBERS {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        db.run(&format!("begin; {text}; commit")).await;
        db.owner
            .execute(
                "insert into schema_migrations (version, name, checksum)
                 values ($1, $2, encode(sha256(convert_to($3, 'UTF8')), 'hex'))",
                &[&version, &name, &text],
            )
            .await
            .unwrap();
    }
    db.run(
        "insert into users (username, email, password_hash, role, status)
         values ('a', 'a@x', 'x', 'user', 'active'), ('b', 'b@x', 'x', 'user', 'active')",
    )
    .await;
    db
}

async fn another_session(db: &TestDb) -> Client {
    connect_as_owner(&db.settings()).await.expect("connects")
}

#[tokio::test]
async fn the_program_and_the_database_make_the_same_key_of_a_number() {
    let db = TestDb::new().await;
    for number in [
        "+18005550101",
        "18005550101",
        "+1 (800) 555-0101",
        "1.800.555/0101",
        "0018005550101",
        "*98",
        "#31#+4930",
        "Sales Desk",
        "+",
        "-.()",
        "",
    ] {
        let key: Option<String> = db.one(&format!("select did_key('{number}')")).await;
        // A program's number comes without blanks; they do not count.
        assert_eq!(
            key,
            DialledNumber::from_untrusted(number).key(),
            "{number:?}"
        );
    }
    // What only other programs could have stored.
    let odd = "select did_key(E'+1800\\u00A0555\\u20110101\\r\\n')";
    assert_eq!(
        db.one::<Option<String>>(odd).await.as_deref(),
        Some("18005550101")
    );
}

#[tokio::test]
async fn a_number_is_refused_in_another_spelling_whoever_writes_it() {
    let db = before_numbers().await;
    let mut client = another_session(&db).await;
    db.run("insert into dids (number, user_id, status) values ('18005550100', 1, 'active')")
        .await;
    migrate(&mut client).await.expect("migrates");
    for (number, taken) in [
        ("+18005550100", true),
        ("1 800 555 0100", true),
        ("18005550100\n", true),
        ("0018005550100", false),
        ("8005550100", false),
        ("+18005550101", false),
    ] {
        let written = db
            .owner
            .execute(
                "insert into dids (number, user_id, status) values ($1, 2, 'active')",
                &[&number],
            )
            .await;
        let constraint = written.as_ref().err().map(|error| {
            let error = error.as_db_error().expect("an answer of the server");
            error.constraint().unwrap_or_default().to_owned()
        });
        let expected = taken.then(|| "dids_digits_key".to_owned());
        assert_eq!(constraint, expected, "{number:?}");
    }
    let changed = db
        .owner
        .execute(
            "update dids set number = '1-800-555-0100' where number = '+18005550101'",
            &[],
        )
        .await;
    assert!(changed.is_err(), "a change is guarded as well");
}

#[tokio::test]
async fn numbers_stored_twice_stop_the_migration_before_it_changes_anything() {
    let db = before_numbers().await;
    let mut client = another_session(&db).await;
    db.run(
        "insert into dids (id, number, user_id, status, created_at) values
             (11, '18005550100', 1, 'active', '2026-01-02'), (12, '+18005550100', 2, 'active', '2026-01-03'),
             (13, '1 800 555 0100', 2, 'inactive', '2026-01-01'), (14, '+4930123', 1, 'active', now()),
             (15, '...', 1, 'inactive', now()), (16, '---', 2, 'inactive', now())",
    )
    .await;
    let rows = "select string_agg(d::text, '|' order by id) from dids d";
    let before: String = db.one(rows).await;

    let refused = migrate(&mut client).await.unwrap_err();
    let told = std::error::Error::source(&refused).and_then(|error| error.source());
    let told = told.expect("the server's words").to_string();
    for part in [
        "1 number(s) stand in the table dids more than once",
        "18005550100: DID 13 '1 800 555 0100' of user 2 (inactive), DID 11 '18005550100' of user 1 (active), \
         DID 12 '+18005550100' of user 2 (active)",
        "where id in (11, 12);",
    ] {
        assert!(told.contains(part), "no {part:?} in: {told}");
    }
    assert!(!told.contains("4930123"), "{told}");
    assert_eq!(db.one::<String>(rows).await, before);
    let behind = check(&db.owner).await;
    assert!(
        matches!(behind, Err(Error::Behind { found: 8 })),
        "{behind:?}"
    );

    // The remedy it names, taken literally.
    let remedy = told.split("behind the number: ").nth(1).expect("a remedy");
    let remedy = remedy.split(';').next().expect("a statement");
    db.run(remedy).await;
    migrate(&mut client).await.expect("migrates now");
    let kept: String = db
        .one("select string_agg(id || ':' || number || ':' || status, ',' order by id) from dids where id < 14")
        .await;
    assert_eq!(
        kept,
        "11:18005550100 x11:inactive,12:+18005550100 x12:inactive,13:1 800 555 0100:inactive"
    );
}

#[tokio::test]
async fn calls_look_numbers_up_while_the_migration_waits_and_works() {
    let db = before_numbers().await;
    db.run("insert into dids (number, user_id, status) values ('+18005550100', 1, 'active')")
        .await;
    // A daemon of the version before has its statements prepared, and goes on with them.
    let older = another_session(&db).await;
    older
        .batch_execute("set role capconduit_app; set lock_timeout = '200ms'")
        .await
        .unwrap();
    let look_up = older
        .prepare("select id from dids where number = any ($1::text[]) order by array_position($1, number::text)")
        .await
        .unwrap();
    let keys = vec!["18005550100".to_owned(), "+18005550100".to_owned()];
    // A backup reads the table and does not end.
    let backup = another_session(&db).await;
    backup
        .batch_execute("begin; select count(*) from dids")
        .await
        .unwrap();

    let settings = db.settings();
    let migrating = tokio::spawn(async move {
        let mut client = connect_as_owner(&settings).await.expect("connects");
        migrate(&mut client).await
    });
    eventually("the migration holds the table", async || {
        db.one::<bool>(
            "select exists (select from pg_locks where relation = 'dids'::regclass and granted
                            and mode = 'ExclusiveLock')",
        )
        .await
    })
    .await;
    for _ in 0..20 {
        let found = older.query(&look_up, &[&keys]).await.expect("looks up");
        assert_eq!(found.len(), 1);
    }
    assert!(!migrating.is_finished(), "the backup still reads");
    backup.batch_execute("commit").await.unwrap();
    let applied = migrating.await.unwrap().expect("migrates");
    assert!(applied.iter().any(|m| m.version == NUMBERS));
    let found = older.query(&look_up, &[&keys]).await.expect("looks up");
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_number_is_looked_up_by_index_in_the_daemons_role() {
    let db = TestDb::new().await;
    db.run("set role capconduit_app; set enable_seqscan = off; set plan_cache_mode = force_generic_plan")
        .await;
    let statement = capconduit::routing::store::sql::LOCK_CAMPAIGN.text;
    db.run(&format!("prepare look (text[]) as {statement}"))
        .await;
    let plan = db
        .owner
        .query("explain execute look (array['18005550100'])", &[])
        .await
        .unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    assert!(
        plan.iter().any(|line| line.contains("dids_digits_key")),
        "{plan:#?}"
    );
}
