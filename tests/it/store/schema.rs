use capconduit::app::statements::{OF_API, OF_DAEMON};

use crate::support::{TestDb, files_below};

#[tokio::test]
async fn every_statement_can_be_prepared_by_the_daemons_role() {
    let db = TestDb::new().await;
    db.run("set role capconduit_app").await;
    for statement in OF_DAEMON.iter().copied().flatten() {
        let prepared = db.owner.prepare(statement.text).await;
        assert!(prepared.is_ok(), "{}: {prepared:?}", statement.name);
    }
}

#[tokio::test]
async fn every_statement_of_the_api_can_be_prepared_by_its_role() {
    let db = TestDb::new().await;
    db.run("set role capconduit_admin").await;
    for statement in OF_API.iter().copied().flatten() {
        let prepared = db.owner.prepare(statement.text).await;
        assert!(prepared.is_ok(), "{}: {prepared:?}", statement.name);
    }
}

#[test]
fn every_file_of_statements_is_used() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let known: Vec<&str> = [OF_DAEMON, OF_API]
        .concat()
        .into_iter()
        .flatten()
        .map(|statement| statement.name)
        .collect();
    let files = files_below(&root);
    let statements = files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "sql"));
    let mut count = 0;
    for path in statements {
        let path = path.with_extension("");
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        assert!(known.contains(&name), "{name}.sql");
        count += 1;
    }
    assert!(count > 200, "only {count} files were looked at");
}

#[tokio::test]
async fn the_daemons_roles_own_nothing_and_bypass_nothing() {
    let db = TestDb::new().await;
    let owned: i64 = db
        .one(
            "select count(*) from pg_class c join pg_roles r on r.oid = c.relowner
              where r.rolname like 'capconduit%'",
        )
        .await;
    assert_eq!(owned, 0);
    let mighty: i64 = db
        .one(
            "select count(*) from pg_roles where rolname like 'capconduit%'
              and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)",
        )
        .await;
    assert_eq!(mighty, 0);
}

#[tokio::test]
async fn every_table_with_an_owner_has_row_level_security() {
    let db = TestDb::new().await;
    let open: Vec<String> = db
        .owner
        .query(
            "select c.relname::text from pg_class c
             join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id' and not a.attisdropped
             where c.relkind in ('r', 'p') and not c.relispartition
               and (not c.relrowsecurity
                    or not exists (select from pg_policy p where p.polrelid = c.oid
                                   and p.polname = 'tenant'))",
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(open.is_empty(), "{open:?}");
}

#[tokio::test]
async fn a_tenants_role_sees_its_own_rows_only() {
    let db = TestDb::new().await;
    db.run(
        "insert into users (username, email, password_hash, role, status)
             values ('a', 'a@x', 'x', 'user', 'active'), ('b', 'b@x', 'x', 'user', 'active');
         insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
             values (1, 'of a', 'active', 'priority', 20), (2, 'of b', 'active', 'priority', 20);
         grant select on campaigns, campaign_rotations to capconduit_api",
    )
    .await;
    db.run("begin; set local role capconduit_api; set local capconduit.user_id = '2'")
        .await;
    assert_eq!(
        db.one::<String>("select string_agg(name, ',') from campaigns")
            .await,
        "of b"
    );
    assert_eq!(
        db.one::<i64>("select count(*) from campaign_rotations")
            .await,
        1
    );
    db.run("rollback; begin; set local role capconduit_api")
        .await;
    assert_eq!(db.one::<i64>("select count(*) from campaigns").await, 0);
    db.run("rollback").await;
}

#[tokio::test]
async fn asterisk_reads_the_realtime_views_and_nothing_else() {
    let db = TestDb::new().await;
    db.run(
        "insert into clients (client_identifier, name, status)
             values ('on', 'On', 'active'), ('off', 'Off', 'inactive');
         insert into pjsip_endpoints (id, client_id, context) values ('on', 1, 'x'), ('off', 2, 'x');
         set role capconduit_asterisk",
    )
    .await;
    assert_eq!(
        db.one::<String>("select string_agg(id, ',') from ps_endpoints")
            .await,
        "on"
    );
    for forbidden in ["users", "pjsip_auths", "call_logs", "clients"] {
        let read = db
            .owner
            .query(&format!("select 1 from {forbidden} limit 1"), &[])
            .await;
        assert!(read.is_err(), "{forbidden}");
    }
}

#[tokio::test]
async fn every_foreign_key_has_an_index() {
    let db = TestDb::new().await;
    let bare: Vec<String> = db
        .owner
        .query(
            "select con.conrelid::regclass::text || '.' || a.attname
             from pg_constraint con
             join pg_attribute a on a.attrelid = con.conrelid and a.attnum = con.conkey[1]
             where con.contype = 'f' and con.conparentid = 0 and not exists (
                 select from pg_index i where i.indrelid = con.conrelid
                 and i.indkey[0] = con.conkey[1])",
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(bare.is_empty(), "{bare:?}");
}

/// Words in backticks.
fn quoted(text: &str) -> std::collections::BTreeSet<String> {
    let parts = text.split('`').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_on_the_architecture_names_every_table_and_role() {
    let page = include_str!("../../../docs/architecture.md");
    let (_, tables) = page.split_once("\n## Tables\n").expect("a section");
    let (tables, roles) = tables.split_once("\nFour roles ").expect("a paragraph");
    let db = TestDb::new().await;
    let found_by = async |query: &str| -> std::collections::BTreeSet<String> {
        let rows = db.owner.query(query, &[]).await.expect("reads");
        rows.iter().map(|row| row.get(0)).collect()
    };
    let there = found_by(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition",
    )
    .await;
    let named: std::collections::BTreeSet<String> = tables
        .lines()
        // What a row says besides is no table.
        .flat_map(|line| match line.strip_prefix("| ") {
            Some(row) => quoted(row.split(" | ").next().unwrap_or_default()),
            None if line.contains("](") => std::collections::BTreeSet::new(),
            None => quoted(line),
        })
        .collect();
    // A partition is named where it is one of its own kind.
    let parts = "select relname::text from pg_class where relispartition and relkind = 'r'";
    let parts = found_by(parts).await;
    let missing: Vec<_> = there.difference(&named).collect();
    let made_up: Vec<_> = named
        .iter()
        .filter(|name| !there.contains(*name) && !parts.contains(*name))
        .collect();
    assert!(
        missing.is_empty() && made_up.is_empty(),
        "missing: {missing:?}, not there: {made_up:?}"
    );
    let there =
        found_by("select rolname::text from pg_roles where rolname like 'capconduit\\_%'").await;
    let named = quoted(roles).into_iter();
    let named: std::collections::BTreeSet<String> = named
        .filter(|word| word.starts_with("capconduit_"))
        .collect();
    assert_eq!(named, there);
}
