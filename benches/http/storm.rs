//! Many who log in at the same moment, as after a restart of an exchange or in an attack.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::connection::{Connection, Question};
use crate::{Target, process};

#[derive(Default)]
struct Tally {
    logged_in: u32,
    /// Answers that told to try again later.
    later: u32,
    /// Connections that were closed, and answers that were neither.
    errors: u32,
}

/// Logs all of them in at once; who is told to try again does so after as long as it was told.
pub async fn storm(
    target: &Target,
    logins: u32,
    password: &str,
    seconds: f64,
) -> anyhow::Result<()> {
    process::forget_peak(target.server_pid);
    let before = process::resident_kib(target.server_pid);
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(seconds);
    let all_there = Arc::new(Barrier::new(logins as usize));
    let mut workers = JoinSet::new();
    for n in 1..=logins {
        let body = format!(r#"{{"username":"bench-seller{n}","password":"{password}"}}"#);
        let (addr, all_there) = (target.addr, Arc::clone(&all_there));
        workers.spawn(async move {
            let question = Question::plain("POST", "/api/auth/login").with_json(&body);
            let mut tally = Tally::default();
            let mut connection = Connection::open(addr).await.ok();
            all_there.wait().await;
            while Instant::now() < end {
                if connection.is_none() {
                    connection = Connection::open(addr).await.ok();
                }
                let status = match &mut connection {
                    Some(open) => open.ask(&question).await.map(|answer| answer.status),
                    None => Err(std::io::ErrorKind::NotConnected.into()),
                };
                match status {
                    Ok(200) => {
                        tally.logged_in += 1;
                        break;
                    }
                    Ok(429 | 503) => tally.later += 1,
                    _ => {
                        tally.errors += 1;
                        connection = None;
                    }
                }
                // As `Retry-After: 1` says, and not all again in the same moment.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(800..1_600))).await;
            }
            tally
        });
    }
    let mut all = Tally::default();
    while let Some(tally) = workers.join_next().await {
        let tally = tally?;
        all.logged_in += tally.logged_in;
        all.later += tally.later;
        all.errors += tally.errors;
    }
    println!(
        "logged_in={} later={} errors={} seconds={:.1} rss_before_kib={before} rss_peak_kib={}",
        all.logged_in,
        all.later,
        all.errors,
        begun.elapsed().as_secs_f64(),
        process::peak_kib(target.server_pid)
    );
    Ok(())
}
