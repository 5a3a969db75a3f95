//! The shapes of load.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc, task::JoinSet, time::sleep};

use crate::{
    Ends, Target,
    call::{self, Verdict},
    process,
    report::{Cpu, Report, Tally},
};

/// Workers that send what is not measured.
const QUIET_WORKERS: usize = 16;

type Calls = Vec<(usize, String)>;

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

pub async fn closed(
    target: Target,
    connections: usize,
    warmup: Duration,
    seconds: Duration,
) -> anyhow::Result<()> {
    let target = Arc::new(target);
    let phase = Arc::new(AtomicU8::new(WARMING));
    let mut workers = JoinSet::new();
    for worker in 0..connections {
        workers.spawn(work(Arc::clone(&target), worker, Arc::clone(&phase)));
    }
    sleep(warmup).await;
    let before = Cpu::now(&target);
    let begun = Instant::now();
    phase.store(MEASURING, Ordering::Relaxed);
    sleep(seconds).await;
    phase.store(OVER, Ordering::Relaxed);
    let elapsed = begun.elapsed();
    let cpu = [before, Cpu::now(&target)];
    let (mut tally, mut calls) = (Tally::default(), Calls::new());
    while let Some(done) = workers.join_next().await {
        let (counted, routed) = done?;
        tally.merge(counted);
        calls.extend(routed);
    }
    let report = Report {
        tally,
        elapsed,
        cpu,
    };
    report.print();
    finish(target, calls).await
}

async fn work(target: Arc<Target>, worker: usize, phase: Arc<AtomicU8>) -> (Tally, Calls) {
    let (mut tally, mut calls) = (Tally::default(), Calls::new());
    for turn in worker.. {
        let begun = Instant::now();
        let (outcome, uniqueid) = route(&target, turn).await;
        let latency = begun.elapsed();
        match phase.load(Ordering::Relaxed) {
            MEASURING => tally.count(latency, &outcome),
            OVER => {
                calls.push((turn, uniqueid));
                break;
            }
            _ => {}
        }
        match target.end {
            Ends::Never => {}
            Ends::After => calls.push((turn, uniqueid)),
            Ends::Inline => hang_up(&target, turn, &uniqueid).await,
        }
    }
    (tally, calls)
}

pub async fn open(target: Target, rate: f64, seconds: Duration) -> anyhow::Result<()> {
    let target = Arc::new(target);
    let (due, mut calls_due) = mpsc::unbounded_channel();
    // The runtime's timer is a millisecond wide; a thread's sleep is not.
    let pace = std::thread::spawn(move || {
        let begun = Instant::now();
        for number in 0.. {
            let at = Duration::from_secs_f64(f64::from(number) / rate);
            if at >= seconds {
                break;
            }
            std::thread::sleep((begun + at).saturating_duration_since(Instant::now()));
            if due.send(begun + at).is_err() {
                break;
            }
        }
    });
    let before = Cpu::now(&target);
    let begun = Instant::now();
    let mut sessions = JoinSet::new();
    let mut turn = 0;
    while let Some(due) = calls_due.recv().await {
        let target = Arc::clone(&target);
        sessions.spawn(async move {
            let (outcome, uniqueid) = route(&target, turn).await;
            let latency = due.elapsed();
            if target.end == Ends::Inline {
                hang_up(&target, turn, &uniqueid).await;
            }
            (latency, outcome, turn, uniqueid)
        });
        turn += 1;
    }
    let (mut tally, mut calls) = (Tally::default(), Calls::new());
    while let Some(done) = sessions.join_next().await {
        let (latency, outcome, turn, uniqueid) = done?;
        tally.count(latency, &outcome);
        calls.push((turn, uniqueid));
    }
    let elapsed = begun.elapsed();
    let cpu = [before, Cpu::now(&target)];
    let report = Report {
        tally,
        elapsed,
        cpu,
    };
    report.print();
    let _ = pace.join();
    finish(target, calls).await
}

pub async fn hold(target: Target, calls: usize) -> anyhow::Result<()> {
    let resident = |target: &Target| target.server_pid.map_or(0, process::resident_kib);
    let before = resident(&target);
    let target = Arc::new(target);
    let mut workers = JoinSet::new();
    for worker in 0..QUIET_WORKERS {
        let target = Arc::clone(&target);
        workers.spawn(async move {
            let (mut tally, mut held) = (Tally::default(), Calls::new());
            for turn in (worker..calls).step_by(QUIET_WORKERS) {
                let begun = Instant::now();
                let (outcome, uniqueid) = route(&target, turn).await;
                tally.count(begun.elapsed(), &outcome);
                held.push((turn, uniqueid));
            }
            (tally, held)
        });
    }
    let begun = Instant::now();
    let (mut tally, mut held) = (Tally::default(), Calls::new());
    while let Some(done) = workers.join_next().await {
        let (counted, routed) = done?;
        tally.merge(counted);
        held.extend(routed);
    }
    let cpu = [Cpu::now(&target); 2];
    let elapsed = begun.elapsed();
    let after = resident(&target);
    print!("rss_before_kib={before} rss_held_kib={after} ");
    let report = Report {
        tally,
        elapsed,
        cpu,
    };
    report.print();
    finish(target, held).await
}

pub async fn silent(target: Target, connections: usize, seconds: Duration) -> anyhow::Result<()> {
    let resident = |target: &Target| target.server_pid.map_or(0, process::resident_kib);
    let before = resident(&target);
    let cpu_before = Cpu::now(&target);
    let mut peers = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut peer = TcpStream::connect(target.addr).await?;
        // One that was put out already may refuse it.
        let _ = peer.write_all(b"agi_network: yes\nagi_network_scr").await;
        peers.push(peer);
    }
    let during = resident(&target);
    let mut tally = Tally::default();
    let begun = Instant::now();
    let mut turn = 0;
    while begun.elapsed() < seconds {
        let asked = Instant::now();
        let (outcome, uniqueid) = route(&target, turn).await;
        tally.count(asked.elapsed(), &outcome);
        if target.script == "route" {
            hang_up(&target, turn, &uniqueid).await;
        }
        turn += 1;
    }
    let elapsed = begun.elapsed();
    let cpu = [cpu_before, Cpu::now(&target)];
    print!("peers={connections} rss_before_kib={before} rss_during_kib={during} ");
    let report = Report {
        tally,
        elapsed,
        cpu,
    };
    report.print();
    Ok(())
}

async fn route(target: &Target, turn: usize) -> (io::Result<Verdict>, String) {
    let uniqueid = call::unique_id();
    let outcome = call::ask(target, did(target, turn), &uniqueid).await;
    (outcome, uniqueid)
}

async fn hang_up(target: &Target, turn: usize, uniqueid: &str) {
    if let Err(error) = call::end(target, did(target, turn), uniqueid).await {
        eprintln!("end of {uniqueid}: {error}");
    }
}

fn did(target: &Target, turn: usize) -> &str {
    &target.dids[turn % target.dids.len()]
}

/// Ends the calls that the measurement has left, if they shall be.
async fn finish(target: Arc<Target>, calls: Calls) -> anyhow::Result<()> {
    if target.end != Ends::After {
        return Ok(());
    }
    let calls = Arc::new(calls);
    let mut workers = JoinSet::new();
    for worker in 0..QUIET_WORKERS {
        let (target, calls) = (Arc::clone(&target), Arc::clone(&calls));
        workers.spawn(async move {
            for (turn, uniqueid) in calls.iter().skip(worker).step_by(QUIET_WORKERS) {
                hang_up(&target, *turn, uniqueid).await;
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done?;
    }
    Ok(())
}
