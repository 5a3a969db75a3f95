//! History by month, and the housekeeping that fills, moves and drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use capconduit::domain::DialStatus;
use capconduit::history::store::months::{HistoryTable, Month, WhichMonth};
use capconduit::history::{House, Keep};
use jiff::civil::date;

use crate::support::daemon::DaemonSettings;
use crate::support::world::{Caller, VerdictExt as _, link};
use crate::support::{TestDb, World, eventually};

/// Calls that ended three hours ago, each with a released reservation and an attempt. Their ids count from 1000001.
const ENDED_CALLS: &str = "
    insert into calls (call_id, asterisk_uniqueid, asterisk_linkedid, channel, node_name, incoming_did_number,
                       started_at, ended_at, expires_at)
    select 1000000 + n, 'old.' || n, 'l', 'c', 'a', '+1', now() - interval '4 hours', now() - interval '3 hours', now()
    from generate_series(1, 20000) n;
    insert into reservations (call_id, attempt, link_id, user_id, node_name, state, held_at, ended_at)
    select call_id, 1, 1, 1, 'a', 'released', started_at, ended_at from calls;
    insert into call_attempts (call_id, attempt, reservation_id, user_id, link_id, client_id, endpoint_id, offered_at,
                               ring_timeout_seconds, ended_at, outcome)
    select call_id, 1, call_id, 1, 1, 1, 'client1', started_at, 20, ended_at, 'failed' from calls;";

/// A row of the call log, of a moment.
fn log_row(at: &str) -> String {
    format!(
        "insert into call_logs (incoming_did_number, timestamp_start, call_status)
         values ('+1', '{at}', 'ANSWERED')"
    )
}

async fn keep_house(db: &TestDb) {
    let failures = House::new(db.store(), Vec::new()).round().await;
    assert!(failures.is_empty(), "{failures:?}");
}

/// Keeps house until nothing lies in a default partition any more.
async fn keep_house_until_all_is_moved(db: &TestDb) {
    let mut house = House::new(db.store(), Vec::new());
    let mut rounds = 0;
    loop {
        let mut strays = 0;
        for table in HistoryTable::ALL {
            strays += count(db, &format!("{}_default", table.as_str())).await;
        }
        if strays == 0 {
            return;
        }
        assert!(rounds < 100, "{strays} rows are left");
        rounds += 1;
        house.round().await;
    }
}

/// One round that keeps so much.
async fn drop_old(db: &TestDb, keep: &Keep) -> Vec<capconduit::history::Failure> {
    House::new(db.store(), keep.clone()).round().await
}

async fn count(db: &TestDb, table: &str) -> i64 {
    db.one(&format!("select count(*) from {table}")).await
}

#[tokio::test]
async fn all_calls_that_ended_long_ago_are_forgotten_in_one_round() {
    let db = TestDb::new().await;
    db.run(ENDED_CALLS).await;
    // The slot of this one is held yet: its target's leg was not seen to end.
    db.run("update reservations set state = 'held', ended_at = null where call_id = 1000777")
        .await;
    keep_house(&db).await;
    assert_eq!(count(&db, "calls").await, 1);
    assert_eq!(count(&db, "reservations").await, 1);
    assert_eq!(count(&db, "call_attempts_recent").await, 1);
    assert_eq!(count(&db, "call_attempts").await, 20_000);
    assert_eq!(count(&db, "call_attempts_default").await, 0);
    db.run("update reservations set state = 'released', ended_at = now()")
        .await;
    keep_house(&db).await;
    assert_eq!(count(&db, "calls").await, 0);
    assert_eq!(count(&db, "call_attempts_recent").await, 0);
}

#[tokio::test]
async fn two_daemons_that_keep_house_at_once_archive_each_attempt_once() {
    let db = TestDb::new().await;
    db.run(ENDED_CALLS).await;
    let mut a = House::new(db.store(), Vec::new());
    let mut b = House::new(db.store(), Vec::new());
    let (first, second) = tokio::join!(a.round(), b.round());
    assert!(
        first.is_empty() && second.is_empty(),
        "{first:?} {second:?}"
    );
    assert_eq!(count(&db, "calls").await, 0);
    assert_eq!(count(&db, "call_attempts_recent").await, 0);
    assert_eq!(count(&db, "call_attempts").await, 20_000);
}

#[tokio::test]
async fn a_chore_that_fails_keeps_no_other_from_being_done() {
    let db = TestDb::new().await;
    db.run(ENDED_CALLS).await;
    db.run(
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
         create trigger refuse before delete on calls execute function refuse()",
    )
    .await;
    db.run("drop table call_logs_2027_02, decisions_2027_02")
        .await;
    let failures = drop_old(&db, &Vec::new()).await;
    let failed: Vec<&str> = failures.iter().map(|failure| failure.chore).collect();
    assert_eq!(failed, ["forget_calls"]);
    assert_eq!(count(&db, "call_logs_2027_02").await, 0);
}

#[tokio::test]
async fn attempts_of_a_call_are_found_under_way_and_after_it_was_forgotten() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    caller.route_after(&engine, DialStatus::Busy).await.offer();
    assert_eq!(count(&world.db, "call_attempts_recent").await, 2);
    keep_house(&world.db).await;
    assert_eq!(count(&world.db, "call_attempts_recent").await, 2);

    caller.end(&engine, Some(DialStatus::Answer)).await;
    let outcomes = "select string_agg(outcome, ',' order by attempt) from call_attempts";
    assert_eq!(world.db.one::<String>(outcomes).await, "failed,answered");
    world
        .db
        .run("update calls set ended_at = ended_at - interval '1 day'")
        .await;
    keep_house(&world.db).await;
    assert_eq!(count(&world.db, "call_attempts_recent").await, 0);
    assert_eq!(world.db.one::<String>(outcomes).await, "failed,answered");
    let months: i64 = world
        .db
        .one(
            "select count(*) from call_attempts
             where month = date_trunc('month', offered_at at time zone 'UTC')::date",
        )
        .await;
    assert_eq!(months, 2);
}

#[tokio::test]
async fn statements_of_a_call_know_one_partition_of_its_attempts() {
    let db = TestDb::new().await;
    let store = db.store();
    let first = date(2027, 3, 1);
    for n in 0..24 {
        let month = WhichMonth::Of(first.saturating_add(jiff::Span::new().months(n)));
        let made = store.make_month(HistoryTable::CallAttempts, month, 1).await;
        made.unwrap();
    }
    let tables: i64 = db
        .one("select count(*) from pg_inherits where inhparent = 'call_attempts'::regclass")
        .await;
    assert!(tables > 24, "{tables}");
    for (name, values) in [
        ("call_under_way", "array['u']"),
        ("attempts_of_call", "array['u']"),
        ("note_attempt_status", "1, 1, 'BUSY', null"),
        ("confirm", "1, 1, now(), 'event', null, null, null"),
        (
            "settle_attempt",
            "1, 1, true, 'released', now(), 'answered', null, null, null, false, null, null",
        ),
    ] {
        let path = format!("{}/src/routing/sql/{name}.sql", env!("CARGO_MANIFEST_DIR"));
        let statement = std::fs::read_to_string(path).unwrap();
        db.run(&format!("prepare looked as {statement}")).await;
        let rows = db
            .owner
            .query(&format!("explain execute looked({values})"), &[])
            .await
            .unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        db.run("deallocate looked").await;
        assert!(plan.contains("call_attempts_recent"), "{name}: {plan}");
        assert!(!plan.contains("call_attempts_2"), "{name}: {plan}");
    }
}

#[tokio::test]
async fn the_decisions_of_a_call_are_looked_for_in_the_months_of_the_call() {
    let db = TestDb::new().await;
    let store = db.store();
    for n in 0..24 {
        let month = WhichMonth::Of(date(2027, 3, 1).saturating_add(jiff::Span::new().months(n)));
        let made = store.make_month(HistoryTable::Decisions, month, 1).await;
        made.unwrap();
    }
    db.run(
        "insert into call_logs (id, incoming_did_number, timestamp_start, call_status)
         values (1, '+1', '2028-03-15', 'ANSWERED');
         set enable_hashjoin = off; set enable_mergejoin = off; set enable_seqscan = off",
    )
    .await;
    let path = format!(
        "{}/src/calls/sql/live/decisions.sql",
        env!("CARGO_MANIFEST_DIR")
    );
    let statement = std::fs::read_to_string(path).unwrap();
    db.run(&format!("prepare looked as {statement}")).await;
    let rows = db
        .owner
        .query("explain (analyze, costs off) execute looked(1, null)", &[])
        .await
        .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let looked_at: Vec<&String> = plan
        .iter()
        .filter(|line| line.contains(" on decisions_2") && !line.contains("never executed"))
        .collect();
    assert!(looked_at.len() <= 2, "{}", plan.join("\n"));
}

#[tokio::test]
async fn the_months_of_a_table_are_alike_and_open_to_nobody() {
    let db = TestDb::new().await;
    keep_house(&db).await;
    for table in HistoryTable::ALL {
        let table = table.as_str();
        // Indexes, CHECKs and columns of each partition, without the names of tables.
        let shapes: i64 = db
            .one(&format!(
                "select count(distinct shape) from (
                     select (select string_agg(replace(regexp_replace(pg_get_indexdef(x.indexrelid),
                                               'INDEX \\S+ ON \\S+', ''), 'ONLY ', ''), ';'
                                               order by regexp_replace(pg_get_indexdef(x.indexrelid), '^.* USING', ''))
                             from pg_index x where x.indrelid = i.inhrelid
                               and pg_get_indexdef(x.indexrelid) !~ '_default_(month|decided_at)_idx')
                            || (select string_agg(pg_get_constraintdef(c.oid), ';' order by pg_get_constraintdef(c.oid))
                                from pg_constraint c where c.conrelid = i.inhrelid)
                            || (select string_agg(a.attname || a.atttypid || a.attnotnull
                                                  || coalesce(pg_get_expr(d.adbin, d.adrelid), ''), ';'
                                                  order by a.attname)
                                from pg_attribute a
                                left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                                where a.attrelid = i.inhrelid and a.attnum > 0 and not a.attisdropped) as shape
                     from pg_inherits i where i.inhparent = '{table}'::regclass) shapes"
            ))
            .await;
        assert_eq!(shapes, 1, "{table}");
        let without_key: Option<String> = db
            .one(&format!(
                "select string_agg(i.inhrelid::regclass::text, ',') from pg_inherits i
                 where i.inhparent = '{table}'::regclass
                   and not exists (select from pg_index x where x.indrelid = i.inhrelid and x.indisprimary)"
            ))
            .await;
        assert_eq!(without_key, None, "{table}");
        let open: Option<String> = db
            .one(&format!(
                "select string_agg(i.inhrelid::regclass || ' to ' || r.rolname, ', ')
                 from pg_inherits i
                 cross join (values ('capconduit_app'), ('capconduit_api'), ('capconduit_admin')) r (rolname)
                 where i.inhparent = '{table}'::regclass
                   and i.inhrelid <> 'call_attempts_recent'::regclass
                   and has_table_privilege(r.rolname, i.inhrelid, 'select, insert, update, delete, truncate')"
            ))
            .await;
        assert_eq!(open, None, "{table}");
    }
    // The one partition that statements name has the rights and policies of the whole.
    let differences: i64 = db
        .one(
            "select count(*) from (
                 (select polname, polcmd::text, polroles::text, pg_get_expr(polqual, polrelid) from pg_policy
                  where polrelid = 'call_attempts'::regclass
                  except
                  select polname, polcmd::text, polroles::text, pg_get_expr(polqual, polrelid) from pg_policy
                  where polrelid = 'call_attempts_recent'::regclass)
                 union all
                 (select null, null, null, acl::text from
                      (select unnest(relacl) acl from pg_class where oid = 'call_attempts'::regclass
                       except
                       select unnest(relacl) from pg_class where oid = 'call_attempts_recent'::regclass) a)) d",
        )
        .await;
    assert_eq!(differences, 0);
}

#[tokio::test]
async fn a_month_without_partition_loses_no_row_and_gets_its_partition_later() {
    let db = TestDb::new().await;
    db.run(&log_row("2031-05-06 07:08:09Z")).await;
    assert_eq!(count(&db, "call_logs_default").await, 1);
    keep_house_until_all_is_moved(&db).await;
    assert_eq!(count(&db, "call_logs_default").await, 0);
    assert_eq!(count(&db, "call_logs_2031_05").await, 1);
    assert_eq!(count(&db, "call_logs").await, 1);
}

#[tokio::test]
async fn a_daemon_of_an_earlier_version_makes_its_months() {
    let db = TestDb::new().await;
    db.run(&log_row("2031-05-06 07:08:09Z")).await;
    db.run("set role capconduit_app").await;
    let made = "select ensure_call_log_partitions('2031-05-20', 2)";
    assert_eq!(db.one::<i32>(made).await, 2);
    assert_eq!(db.one::<i32>(made).await, 0);
    db.run("reset role").await;
    assert_eq!(count(&db, "call_logs_2031_05").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_old_months_is_moved_to_them_and_no_record_is_refused_meanwhile() {
    let db = TestDb::new().await;
    let over = Arc::new(AtomicBool::new(false));
    let recording = tokio::spawn({
        let over = Arc::clone(&over);
        let settings = db.settings();
        async move {
            let client = capconduit::db::connect_as_owner(&settings).await.unwrap();
            client
                .batch_execute("set role capconduit_app; set lock_timeout = '200ms'; set statement_timeout = '1s'")
                .await
                .unwrap();
            let mut written = 0_i64;
            while !over.load(Ordering::Relaxed) {
                client
                    .batch_execute(&log_row("now"))
                    .await
                    .expect("a new record");
                written += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            written
        }
    });
    let import = "
        insert into call_logs (incoming_did_number, timestamp_start, call_status)
        select '+1', timestamptz '2024-01-01 00:00Z' + n * interval '547 days' / 200000, 'ANSWERED'
        from generate_series(0, 199999) n";
    db.run(import).await;
    assert!(count(&db, "call_logs_default").await >= 200_000);
    keep_house_until_all_is_moved(&db).await;
    over.store(true, Ordering::Relaxed);
    let written = recording.await.unwrap();
    assert_eq!(count(&db, "call_logs").await, 200_000 + written);
    let months: i64 = db
        .one("select count(distinct tableoid) from call_logs where timestamp_start < '2026-01-01'")
        .await;
    assert_eq!(months, 18);
    let misplaced: i64 = db
        .one(
            "select count(*) from call_logs
             where tableoid::regclass::text <> to_char(timestamp_start at time zone 'UTC', '\"call_logs_\"YYYY_MM')",
        )
        .await;
    assert_eq!(misplaced, 0);
}

#[tokio::test]
async fn a_month_with_many_rows_becomes_several_partitions() {
    let db = TestDb::new().await;
    db.run(
        "insert into call_logs (incoming_did_number, timestamp_start, call_status)
         select '+1', timestamptz '2024-02-01 00:00Z' + n * interval '1 hour', 'ANSWERED'
         from generate_series(0, 500) n;
         insert into call_logs (incoming_did_number, timestamp_start, call_status)
         select '+1', '2024-02-25 12:00:00Z', 'ANSWERED' from generate_series(1, 300) n",
    )
    .await;
    let store = db.store();
    let february = WhichMonth::Of(date(2024, 2, 9));
    let mut calls = 0;
    loop {
        let done = store
            .make_month(HistoryTable::CallLogs, february, 100)
            .await;
        if done.unwrap() == Month::There {
            break;
        }
        calls += 1;
        assert!(calls < 20);
    }
    assert_eq!(count(&db, "call_logs_default").await, 0);
    assert_eq!(count(&db, "call_logs").await, 801);
    // 801 rows by the hundred; the 300 of one moment are not divided.
    assert!((6..=9).contains(&calls), "{calls}");
    let whole: bool = db
        .one(
            "select min(from_time) = '2024-02-01Z' and max(to_time) = '2024-03-01Z'
             from history_months('call_logs') where from_time < '2025-01-01'",
        )
        .await;
    assert!(whole);
}

#[tokio::test]
async fn of_a_large_default_partition_nothing_is_read_under_a_lock() {
    let db = TestDb::new().await;
    db.run(
        "insert into call_logs (incoming_did_number, timestamp_start, call_status, caller_id_name)
         select '+1', '2019-01-01', 'ANSWERED', repeat('x', 100) from generate_series(1, 300000)",
    )
    .await;
    let store = db.store();
    let month = WhichMonth::Of(date(2031, 5, 1));
    let make = async || {
        store
            .make_month(HistoryTable::CallLogs, month, 1000)
            .await
            .unwrap()
    };
    let guards = "select count(*) from pg_constraint where conname like 'no_rows_of%'";
    assert_eq!(make().await, Month::Prepared);
    assert_eq!(db.one::<i64>(guards).await, 1);
    // Its validation waits for nobody who reads or writes.
    let writer = capconduit::db::connect_as_owner(&db.settings())
        .await
        .unwrap();
    let old_row = log_row("2019-01-02");
    writer
        .batch_execute(&format!(
            "begin; {old_row}; select count(*) from call_logs_default"
        ))
        .await
        .unwrap();
    assert_eq!(make().await, Month::Prepared);
    writer.batch_execute("commit").await.unwrap();
    assert_eq!(make().await, Month::Made);
    assert_eq!(make().await, Month::There);
    assert_eq!(db.one::<i64>(guards).await, 0);
    db.run(&log_row("2031-05-06")).await;
    assert_eq!(count(&db, "call_logs_2031_05").await, 1);
}

/// Rows of each table in October 2020, November 2020 and now.
async fn old_and_new(db: &TestDb) {
    for (n, at) in ["2020-10-15", "2020-11-15", "now"].iter().enumerate() {
        db.run(&log_row(at)).await;
        db.run(&format!(
            "insert into call_attempts (call_id, attempt, reservation_id, user_id, link_id, client_id, endpoint_id,
                                        offered_at, ring_timeout_seconds, month)
             values ({n}, 1, 1, 1, 1, 1, 'x', '{at}', 1, date_trunc('month', timestamptz '{at}'));
             insert into decisions (call_id, attempt, node_name, decided_at, verdict, reason)
             values (1, 1, 'a', '{at}', 'REJECT', 'did_not_found');
             insert into audit_log (at, actor, via, action, object_type, object_id)
             values ('{at}', 'a', 'cli', 'create', 'user', '1');
             insert into security_events (at, event) values ('{at}', 'login')"
        ))
        .await;
    }
    keep_house_until_all_is_moved(db).await;
}

#[tokio::test]
async fn months_are_kept_for_ever_unless_the_configuration_says_otherwise() {
    let db = TestDb::new().await;
    old_and_new(&db).await;
    for table in HistoryTable::ALL {
        assert_eq!(count(&db, table.as_str()).await, 3, "{table:?}");
    }
    let keep: Keep = HistoryTable::ALL.map(|table| (table, 24)).to_vec();
    let failures = drop_old(&db, &keep).await;
    assert!(failures.is_empty(), "{failures:?}");
    for table in HistoryTable::ALL {
        assert_eq!(count(&db, table.as_str()).await, 1, "{table:?}");
    }
}

#[tokio::test]
async fn a_month_is_dropped_whole_and_not_before_all_of_it_is_old_enough() {
    let db = TestDb::new().await;
    db.run(
        "insert into call_logs (incoming_did_number, timestamp_start, call_status)
         select '+1', date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' - n * interval '1 month',
                'ANSWERED'
         from generate_series(0, 5) n",
    )
    .await;
    keep_house_until_all_is_moved(&db).await;
    let keep = vec![(HistoryTable::CallLogs, 3)];
    drop_old(&db, &keep).await;
    // This month and three whole ones.
    assert_eq!(count(&db, "call_logs").await, 4);
}

#[tokio::test]
async fn a_month_of_the_log_stays_while_recordings_of_its_calls_do() {
    let db = TestDb::new().await;
    old_and_new(&db).await;
    db.run(
        "insert into recordings (call_id, attempt, stem, state, language, mask_numbers, started_at, expected_at,
                                 stored_at, location)
         select id, 1, 'stem', 'stored', 'en', false, timestamp_start, timestamp_start, timestamp_start, '/here'
         from call_logs where timestamp_start < '2020-11-01'",
    )
    .await;
    let keep = vec![(HistoryTable::CallLogs, 24)];
    drop_old(&db, &keep).await;
    // October stays, November was dropped.
    assert_eq!(count(&db, "call_logs").await, 2);
    db.run("update recordings set state = 'deleted', deleted_at = now()")
        .await;
    drop_old(&db, &keep).await;
    assert_eq!(count(&db, "call_logs").await, 1);
}

#[tokio::test]
async fn a_month_somebody_reads_is_dropped_when_he_is_done_and_holds_up_no_record_until_then() {
    let db = TestDb::new().await;
    old_and_new(&db).await;
    let reader = capconduit::db::connect_as_owner(&db.settings())
        .await
        .unwrap();
    reader
        .batch_execute("begin; select count(*) from call_logs")
        .await
        .unwrap();
    let keep = vec![(HistoryTable::CallLogs, 24)];
    let writer = capconduit::db::connect_as_owner(&db.settings())
        .await
        .unwrap();
    writer
        .batch_execute("set lock_timeout = '200ms'")
        .await
        .unwrap();
    let write = async {
        for _ in 0..50 {
            writer
                .batch_execute(&log_row("now"))
                .await
                .expect("a new record");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (failures, ()) = tokio::join!(drop_old(&db, &keep), write);
    let [failure] = &failures[..] else {
        panic!("{failures:?}");
    };
    assert_eq!(failure.chore, "drop_months");
    assert!(failure.error.is_contention());
    reader.batch_execute("rollback").await.unwrap();
    assert!(drop_old(&db, &keep).await.is_empty());
    assert_eq!(count(&db, "call_logs").await, 51);
}

#[tokio::test]
async fn a_daemon_drops_what_its_configuration_says_and_shows_rows_without_a_month() {
    let db = TestDb::new().await;
    old_and_new(&db).await;
    let daemon = DaemonSettings::new("a", &db.url)
        .with("RETENTION__DECISIONS_MONTHS", "12")
        .start();
    eventually("old decisions are dropped", async || {
        count(&db, "decisions").await == 1
    })
    .await;
    assert_eq!(count(&db, "audit_log").await, 3);
    eventually("the metrics say so", async || {
        let (_, metrics) = daemon.get("/metrics").await;
        metrics.contains(r#"capconduit_partitions_dropped_total{table="decisions"} 2"#)
            && metrics.contains(r#"capconduit_partition_default_rows{table="call_logs"} 0"#)
    })
    .await;
}
