//! What a measurement found, as one line of `key=value`.

use std::{fmt, io, time::Duration};

use crate::{Target, call::Verdict, process};

/// Sessions of one measurement.
#[derive(Default)]
pub struct Tally {
    latencies: Vec<Duration>,
    dial: usize,
    reject: usize,
    pong: usize,
    none: usize,
    errors: usize,
}

impl Tally {
    pub fn count(&mut self, latency: Duration, outcome: &io::Result<Verdict>) {
        match outcome {
            Err(_) => self.errors += 1,
            Ok(verdict) => {
                self.latencies.push(latency);
                match verdict {
                    Verdict::Dial => self.dial += 1,
                    Verdict::Reject => self.reject += 1,
                    Verdict::Pong => self.pong += 1,
                    Verdict::None => self.none += 1,
                }
            }
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.dial += other.dial;
        self.reject += other.reject;
        self.pong += other.pong;
        self.none += other.none;
        self.errors += other.errors;
    }

    fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let index = (share * last as f64).round() as usize;
        self.latencies
            .get(index)
            .map_or(0.0, |l| l.as_secs_f64() * 1e3)
    }
}

/// CPU time spent so far by the processes watched.
#[derive(Clone, Copy)]
pub struct Cpu {
    server: Option<f64>,
    postgres: Option<f64>,
}

impl Cpu {
    pub fn now(target: &Target) -> Self {
        Self {
            server: target.server_pid.map(process::cpu_seconds),
            postgres: target.postgres_pid.map(process::family_cpu_seconds),
        }
    }
}

/// A finished measurement.
pub struct Report {
    pub tally: Tally,
    pub elapsed: Duration,
    pub cpu: [Cpu; 2],
}

impl Report {
    /// Prints the line.
    pub fn print(mut self) {
        self.tally.latencies.sort_unstable();
        println!("{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let sessions = tally.latencies.len();
        let rate = sessions as f64 / self.elapsed.as_secs_f64();
        write!(f, "sessions={sessions} per_second={rate:.0}")?;
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
            write!(f, " {name}_ms={:.3}", tally.percentile(share))?;
        }
        write!(
            f,
            " errors={} dial={} reject={} pong={} none={}",
            tally.errors, tally.dial, tally.reject, tally.pong, tally.none
        )?;
        let [before, after] = self.cpu;
        let spent = [
            ("server", before.server.zip(after.server)),
            ("postgres", before.postgres.zip(after.postgres)),
        ];
        for (name, cpu) in spent {
            if let Some((before, after)) = cpu {
                let each = (after - before) * 1e6 / sessions.max(1) as f64;
                write!(f, " {name}_cpu_us={each:.1}")?;
            }
        }
        Ok(())
    }
}
