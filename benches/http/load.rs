//! The closed loop.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::connection::{Connection, Question};
use crate::{Loop, Target};

#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    errors: usize,
    /// The first answer that was not as expected.
    sample: Option<String>,
}

/// Asks over and over on every connection; prints what was measured.
pub async fn closed(
    target: &Target,
    load: Loop,
    expected: u16,
    ask: impl Fn(u64, u32) -> Question + 'static,
) -> anyhow::Result<()> {
    let ask = Rc::new(ask);
    let turn = Rc::new(Cell::new(0_u64));
    let begin = Instant::now() + Duration::from_secs_f64(load.warmup);
    let end = begin + Duration::from_secs_f64(load.seconds);
    let (addr, sellers) = (target.addr, target.sellers);
    let local = LocalSet::new();
    let workers: Vec<_> = (0..load.connections)
        .map(|_| {
            let (ask, turn) = (Rc::clone(&ask), Rc::clone(&turn));
            local.spawn_local(async move {
                let mut tally = Tally::default();
                let mut connection = Connection::open(addr).await?;
                loop {
                    turn.set(turn.get() + 1);
                    let question = ask(turn.get(), sellers);
                    let asked = Instant::now();
                    if asked >= end {
                        return anyhow::Ok(tally);
                    }
                    let answer = connection.ask(&question).await;
                    let latency = asked.elapsed();
                    let problem = match answer {
                        Ok(answer) if answer.status == expected => None,
                        Ok(answer) => Some(format!("{} {}", answer.status, answer.text())),
                        Err(error) => {
                            connection = Connection::open(addr).await?;
                            Some(error.to_string())
                        }
                    };
                    if asked >= begin {
                        tally.latencies.push(latency);
                        tally.errors += usize::from(problem.is_some());
                    }
                    tally.sample = tally.sample.or(problem);
                }
            })
        })
        .collect();
    local.await;
    let mut all = Tally::default();
    for worker in workers {
        let tally = worker.await??;
        all.latencies.extend(tally.latencies);
        all.errors += tally.errors;
        all.sample = all.sample.or(tally.sample);
    }
    if let Some(sample) = &all.sample {
        eprintln!("not as expected: {sample}");
    }
    all.latencies.sort_unstable();
    let at = |share: f64| {
        let last = all.latencies.len().saturating_sub(1);
        let latency = all.latencies.get((share * last as f64).round() as usize);
        latency.map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    };
    println!(
        "requests={} per_second={:.0} p50_ms={:.3} p99_ms={:.3} max_ms={:.3} errors={}",
        all.latencies.len(),
        all.latencies.len() as f64 / load.seconds,
        at(0.5),
        at(0.99),
        at(1.0),
        all.errors
    );
    Ok(())
}
