//! Load on the daemon's HTTP API. `scripts/bench http` fills a database and calls this for each figure.
//!
//! `cargo bench --bench http -- logs --addr 127.0.0.1:8080 --connections 8 --seconds 5`
//!
//! Closed loop: each connection asks again as soon as it has its answer; latency ends at the answer's last
//! byte. Sessions are those that `sql/bench/http.sql` makes. Results are one line of `key=value`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Parser, Subcommand};

mod connection;
mod flood;
mod load;
mod process;
mod storm;

use connection::{Connection, Question};

#[derive(Parser)]
#[command(about = "HTTP load")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args, Clone)]
struct Target {
    /// The API.
    #[arg(long)]
    addr: SocketAddr,
    /// Sellers there are.
    #[arg(long, default_value_t = 1_000)]
    sellers: u32,
    /// DIDs there are.
    #[arg(long, default_value_t = 10_000)]
    dids: u32,
    /// The internal token.
    #[arg(long, default_value = "")]
    token: String,
    /// Process whose memory to report.
    #[arg(long, default_value_t = 0)]
    server_pid: u32,
}

#[derive(Args, Clone, Copy)]
struct Loop {
    /// Connections at once.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Before that, unmeasured.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
}

#[derive(Subcommand)]
enum Command {
    /// The first page of the log, each time of another seller.
    Logs {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Loop,
        /// By cursor, without a count.
        #[arg(long)]
        cursor: bool,
    },
    /// A page of seller 1's log by cursor, far back; before that, its first.
    Deep {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Loop,
        /// Number of the page.
        #[arg(long, default_value_t = 600)]
        page: u32,
    },
    /// Where would a call go?
    RouteInfo {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Loop,
    },
    /// Records of calls, each of a new one.
    LogCall {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Loop,
    },
    /// The whole log of a seller as CSV, and what memory it costs.
    Export {
        #[command(flatten)]
        target: Target,
        /// Whose.
        #[arg(long, default_value_t = 1)]
        seller: u32,
    },
    /// One request with a session of the administrator.
    Admin {
        #[command(flatten)]
        target: Target,
        /// As in `DELETE`.
        method: String,
        /// As in `/api/admin/users/6`.
        path: String,
    },
    /// One seller's heavy requests and slowly read exports; measures nothing.
    Flood {
        #[command(flatten)]
        target: Target,
        /// Connections with heavy requests.
        #[arg(long, default_value_t = 64)]
        heavy: usize,
        /// Connections with exports.
        #[arg(long, default_value_t = 70)]
        readers: usize,
        /// How long.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
    },
    /// A short list of a seller that floods nothing.
    List {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Loop,
    },
    /// Logins of many accounts at the same time, each tried again when it is told to, and what memory they cost.
    Storm {
        #[command(flatten)]
        target: Target,
        /// Accounts, one connection each: `bench-seller1` and so on.
        #[arg(long, default_value_t = 500)]
        logins: u32,
        /// Of all of them.
        #[arg(long)]
        password: String,
        /// How long each tries.
        #[arg(long, default_value_t = 120.0)]
        seconds: f64,
    },
    /// Failed logins, of a name that exists and of names that do not, by turns: times must not tell.
    Logins {
        #[command(flatten)]
        target: Target,
        /// Of each kind.
        #[arg(long, default_value_t = 40)]
        attempts: u32,
    },
}

fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let cli = Cli::parse_from(std::env::args().filter(|argument| argument != "--bench"));
    let Some(command) = cli.command else {
        println!("nothing to do; see --help");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(command))
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Logs {
            target,
            load,
            cursor,
        } => {
            let path = if cursor {
                "/api/seller/logs?cursor=start"
            } else {
                "/api/seller/logs"
            };
            let ask = move |_, sellers| Question::of_seller(fastrand::u32(1..=sellers), path);
            load::closed(&target, load, 200, ask).await
        }
        Command::Deep { target, load, page } => deep(&target, load, page).await,
        Command::RouteInfo { target, load } => {
            let (token, dids) = (target.token.clone(), target.dids);
            let ask = move |_, _| {
                let did = format!("%2B1555{:07}", fastrand::u32(1..=dids));
                Question::internal(
                    &token,
                    "GET",
                    &format!("/api/internal/route_info?did={did}"),
                )
            };
            load::closed(&target, load, 200, ask).await
        }
        Command::LogCall { target, load } => {
            let (token, dids) = (target.token.clone(), target.dids);
            let run = format!("b{:x}", fastrand::u64(..));
            let ask = move |turn, sellers| {
                Question::internal(&token, "POST", "/api/internal/log_call")
                    .with_json(&record(&run, turn, dids, sellers))
            };
            load::closed(&target, load, 201, ask).await
        }
        Command::Export { target, seller } => export(&target, seller).await,
        Command::Admin {
            target,
            method,
            path,
        } => {
            let mut connection = Connection::open(target.addr).await?;
            let begun = Instant::now();
            let question = Question::of_session("bench-session-admin", &method, &path);
            let answer = connection.ask(&question).await?;
            println!(
                "status={} ms={:.1}",
                answer.status,
                begun.elapsed().as_secs_f64() * 1e3
            );
            ensure!(answer.status < 400, "{}", answer.text());
            Ok(())
        }
        Command::Flood {
            target,
            heavy,
            readers,
            seconds,
        } => flood::flood(&target, heavy, readers, seconds).await,
        Command::List { target, load } => {
            let ask = move |_, _| Question::of_seller(2, "/api/seller/dids");
            load::closed(&target, load, 200, ask).await
        }
        Command::Storm {
            target,
            logins,
            password,
            seconds,
        } => storm::storm(&target, logins, &password, seconds).await,
        Command::Logins { target, attempts } => logins(&target, attempts).await,
    }
}

/// An answered call of now, consistent in its ids with `sql/bench/http.sql`.
fn record(run: &str, turn: u64, dids: u32, sellers: u32) -> String {
    let did = fastrand::u32(1..=dids);
    let campaign = (did - 1) % (dids / 2) + 1;
    let link = campaign + (dids / 2) * fastrand::u32(0..4);
    let now = jiff::Timestamp::now();
    format!(
        r#"{{"incomingDidNumber":"+1555{did:07}","timestampStart":"{now}","callStatus":"ANSWERED",
            "asteriskUniqueid":"{run}.{turn}","asteriskLinkedid":"{run}.{turn}","userId":{},
            "campaignId":{campaign},"didId":{did},"campaignClientSettingId":{link},
            "callerIdNum":"+4930555001","timestampAnswered":"{now}","timestampEnd":"{now}",
            "durationSeconds":30,"billsecSeconds":25,"hangupCauseCode":16}}"#,
        (did - 1) % sellers + 1
    )
}

async fn deep(target: &Target, load: Loop, page: u32) -> anyhow::Result<()> {
    let mut connection = Connection::open(target.addr).await?;
    let mut cursor = "start".to_owned();
    let mut reached = 1;
    while reached < page {
        let path = format!("/api/seller/logs?cursor={cursor}");
        let answer = connection.ask(&Question::of_seller(1, &path)).await?;
        ensure!(answer.status == 200, "{}", answer.text());
        let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let Some(next) = body["nextCursor"].as_str() else {
            bail!("seller 1 has {reached} pages only: fill in more records");
        };
        next.clone_into(&mut cursor);
        reached += 1;
    }
    for (name, cursor) in [("first", "start".to_owned()), ("deep", cursor)] {
        print!("{name}: ");
        let path = format!("/api/seller/logs?cursor={cursor}");
        load::closed(target, load, 200, move |_, _| Question::of_seller(1, &path)).await?;
    }
    Ok(())
}

async fn export(target: &Target, seller: u32) -> anyhow::Result<()> {
    let before = process::resident_kib(target.server_pid);
    process::forget_peak(target.server_pid);
    let mut connection = Connection::open(target.addr).await?;
    let question = Question::of_seller(seller, "/api/seller/logs/export");
    let begun = Instant::now();
    let (mut bytes, mut lines) = (0, 0_usize);
    let status = connection
        .stream(&question, |chunk| {
            bytes += chunk.len();
            lines += chunk.split(|byte| *byte == b'\n').count() - 1;
        })
        .await
        .context("the export broke off")?;
    ensure!(status == 200, "answered {status}");
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "rows={} bytes={bytes} seconds={seconds:.2} rows_per_second={:.0} rss_before_kib={before} rss_peak_kib={}",
        lines.saturating_sub(1),
        lines as f64 / seconds,
        process::peak_kib(target.server_pid)
    );
    Ok(())
}

async fn logins(target: &Target, attempts: u32) -> anyhow::Result<()> {
    let mut connection = Connection::open(target.addr).await?;
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..attempts * 2 {
        let known = turn % 2 == 0;
        let name = if known {
            "bench-admin".to_owned()
        } else {
            format!("bench-none{turn}")
        };
        let body = format!(r#"{{"username":"{name}","password":"a wrong password"}}"#);
        let begun = Instant::now();
        let question = Question::plain("POST", "/api/auth/login").with_json(&body);
        let answer = connection.ask(&question).await?;
        ensure!(answer.status == 401, "{}: {}", answer.status, answer.text());
        times[usize::from(!known)].push(begun.elapsed());
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let [known, unknown] = &mut times;
    println!(
        "known_ms={:.2} unknown_ms={:.2}",
        median(known),
        median(unknown)
    );
    Ok(())
}
