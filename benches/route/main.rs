//! Load on the daemon's FastAGI side, and a raw server to compare it with.
//!
//! `cargo bench --bench route -- closed --connections 64 --seconds 5 --addr 127.0.0.1:4573`
//!
//! A session is: connect, Asterisk's environment with one write a line, answer whatever the server asks,
//! until it closes; latency ends at the close, where a dialplan goes on. Results are one line of
//! `key=value`, so that `scripts/bench` can put rounds side by side.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

mod call;
mod load;
mod process;
mod raw_server;
mod report;
mod stub_server;

#[derive(Parser)]
#[command(about = "FastAGI load")]
struct Cli {
    /// Threads of the runtime; 1 is the cheapest generator.
    #[arg(long, global = true, default_value_t = 1)]
    threads: usize,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// The plainest server: GET VARIABLE, two SET VARIABLE, close; no limits, no parsing, no decision.
    RawServer {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        addr: SocketAddr,
    },
    /// The daemon's FastAGI side over an engine that answers at once, without a database.
    StubServer {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        addr: SocketAddr,
    },
    /// A fixed number of sessions at once, each followed by the next.
    Closed {
        #[command(flatten)]
        target: Target,
        /// Sessions at once.
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// How long to measure.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Before that, unmeasured.
        #[arg(long, default_value_t = 0.5)]
        warmup: f64,
    },
    /// Calls at a fixed rate, whatever the server does; latency counts from when a call was due.
    Open {
        #[command(flatten)]
        target: Target,
        /// Calls a second.
        #[arg(long, default_value_t = 500.0)]
        rate: f64,
        /// How long to measure.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Calls that are routed and stay up: what memory do they cost?
    Hold {
        #[command(flatten)]
        target: Target,
        /// Calls held at once.
        #[arg(long, default_value_t = 2_000)]
        calls: usize,
    },
    /// Peers that send half an environment and wait: what memory do they cost, and are others served?
    Silent {
        #[command(flatten)]
        target: Target,
        /// Peers.
        #[arg(long, default_value_t = 5_000)]
        connections: usize,
        /// How long to probe while they wait.
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
    },
}

#[derive(Args, Clone)]
struct Target {
    /// The server.
    #[arg(long)]
    addr: SocketAddr,
    /// Script to call.
    #[arg(long, default_value = "route")]
    script: String,
    /// Numbers to call, in turn.
    #[arg(long = "did", default_value = "18005550100")]
    dids: Vec<String>,
    /// When each routed call is ended: its `end` session is never counted.
    #[arg(long, value_enum, default_value_t = Ends::Never)]
    end: Ends,
    /// How the environment is written.
    #[arg(long, value_enum, default_value_t = Writes::Line)]
    env_writes: Writes,
    /// Process whose CPU time and memory to report.
    #[arg(long)]
    server_pid: Option<u32>,
    /// PostgreSQL's postmaster, whose CPU time to report with all its children's.
    #[arg(long)]
    postgres_pid: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ends {
    /// Not at all.
    Never,
    /// After the measurement.
    After,
    /// Right after its route session, by the same worker.
    Inline,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Writes {
    /// One write a line, as Asterisk does.
    Line,
    /// All in one.
    One,
}

fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let cli = Cli::parse_from(std::env::args().filter(|argument| argument != "--bench"));
    let Some(command) = cli.command else {
        println!("nothing to do; see --help");
        return Ok(());
    };
    let runtime = if cli.threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(cli.threads);
        builder
    }
    .enable_all()
    .build()?;
    let seconds = Duration::from_secs_f64;
    runtime.block_on(async {
        match command {
            Command::RawServer { addr } => raw_server::serve(addr).await,
            Command::StubServer { addr } => stub_server::run(addr).await,
            Command::Closed {
                target,
                connections,
                seconds: measured,
                warmup,
            } => load::closed(target, connections, seconds(warmup), seconds(measured)).await,
            Command::Open {
                target,
                rate,
                seconds: measured,
            } => load::open(target, rate, seconds(measured)).await,
            Command::Hold { target, calls } => load::hold(target, calls).await,
            Command::Silent {
                target,
                connections,
                seconds: measured,
            } => load::silent(target, connections, seconds(measured)).await,
        }
    })
}
