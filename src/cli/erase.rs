//! `capconduit erase`: callers and sellers, by whoever can reach the database.
//!
//! The same request, job and report as the API's. The command works on it itself, beside daemons or without any; what has to
//! wait (for calls to end, for files that only a daemon reaches) is left to the daemons if it takes longer than was asked for.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::by_hand::{EXIT_REFUSED, command_line, not_there, store};
use crate::config::Config;
use crate::db::Store;
use crate::db::request::{Change, Reach, Request};
use crate::domain::UserId;
use crate::privacy;
use crate::privacy::api::{noted as noted_erasure, report as erasure_report};
use crate::privacy::store::{ErasureRow, NewErasure, Sought, Unfit};

/// Between two looks at an erasure that waits, or that a daemon works on.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Erase a caller: a pseudonym takes the place of the number, names are emptied, recordings are deleted.
    Caller {
        /// The number, with its country code; `-` reads it from standard input, so that it is in no list of processes.
        number: String,
        /// Another spelling of the same number, such as the national one. May be given up to five times.
        #[arg(long, value_name = "NUMBER")]
        also_as: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Erase a seller, whose account must be suspended.
    Seller {
        /// Name of the account, or its id.
        account: String,
        #[command(flatten)]
        how: How,
    },
    /// Print the report of an erasure.
    Report {
        /// Its id.
        id: i64,
    },
}

#[derive(Debug, Args)]
pub(super) struct How {
    /// Why, without the number: it is kept, in the report and in the audit log.
    #[arg(long)]
    reason: String,
    /// Count what would be changed, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// How many seconds to wait for the end. Daemons go on after that; 0 leaves all of it to them.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u32,
}

/// An erasure is asked for, or is refused and why.
type Asked = Result<ErasureRow, String>;

pub(super) async fn run(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    let store = store(config)?;
    let (asked, how) = match command {
        Command::Report { id } => {
            let Some(row) = store.erasure(*id).await? else {
                return Ok(not_there("erasure", &id.to_string()));
            };
            return print(row);
        }
        Command::Caller {
            number,
            also_as,
            how,
        } => (caller(&store, number, also_as, how).await?, how),
        Command::Seller { account, how } => {
            let Some(id) = find(&store, account).await? else {
                return Ok(not_there("account", account));
            };
            (seller(&store, id, how).await?, how)
        }
    };
    let row = match asked {
        Ok(row) => row,
        Err(why) => {
            eprintln!("capconduit: {why}");
            return Ok(ExitCode::from(EXIT_REFUSED));
        }
    };
    let limit = Duration::from_secs(how.wait.into());
    let row = carry_out(&store, config, row, limit).await?;
    if row.state != "done" {
        let why = match row.waits_for.as_deref() {
            Some("calls") => "it waits for calls to end",
            Some(_) => "it waits for recordings to be deleted",
            None => "it is not done yet",
        };
        eprintln!(
            "capconduit: {why}; daemons go on with it. See `capconduit erase report {}`",
            row.erasure_id
        );
    }
    print(row)
}

async fn caller(
    store: &Store,
    number: &str,
    also_as: &[String],
    how: &How,
) -> anyhow::Result<Asked> {
    let mut read = String::new();
    if number == "-" {
        let mut input = std::io::stdin().take(100);
        input
            .read_to_string(&mut read)
            .context("cannot read the number")?;
    } else {
        number.clone_into(&mut read);
    }
    let reason = reason(how)?;
    if also_as.len() > 5 {
        bail!("--also-as may be given up to five times");
    }
    let (sought, pseudonym) =
        Sought::caller(read.trim(), also_as, reason).map_err(|why| match why {
            Unfit::Number => anyhow::anyhow!("the number must be one of 6 to 18 digits"),
            Unfit::AlsoAs => anyhow::anyhow!("each --also-as must be a number of 6 to 18 digits"),
            Unfit::Reason => anyhow::anyhow!("leave the number out of --reason: it is kept"),
            Unfit::NoKey => anyhow::anyhow!("the kernel gives no randomness"),
        })?;
    let request = store.request(Reach::Everything).await?;
    let new = NewErasure {
        account: None,
        pseudonym: &pseudonym,
        dry_run: how.dry_run,
        reason,
        requested_by: None,
        sought: &sought,
    };
    begin(request, &new).await.map(Ok)
}

async fn seller(store: &Store, id: UserId, how: &How) -> anyhow::Result<Asked> {
    let reason = reason(how)?;
    let request = store.request(Reach::Everything).await?;
    let Some(account) = request.lock_user(id).await? else {
        return Ok(Err(format!("account {} is gone", id.0)));
    };
    let name = &account.username;
    if account.role != "user" {
        return Ok(Err(format!(
            "account {name} is no seller's: delete it instead"
        )));
    }
    if account.status != "suspended" {
        return Ok(Err(format!(
            "suspend account {name} first: an active one makes new traces while old ones are erased"
        )));
    }
    if !how.dry_run && request.is_erased(id).await? {
        return Ok(Err(format!(
            "account {name} was erased, or is being erased"
        )));
    }
    let (sought, pseudonym) = Sought::seller(id)
        .ok()
        .context("the kernel gives no randomness")?;
    let new = NewErasure {
        account: Some(id),
        pseudonym: &pseudonym,
        dry_run: how.dry_run,
        reason,
        requested_by: None,
        sought: &sought,
    };
    begin(request, &new).await.map(Ok)
}

/// The account of that name; else the one with that id.
async fn find(store: &Store, account: &str) -> anyhow::Result<Option<UserId>> {
    if let Some(found) = store.credentials(account).await? {
        return Ok(Some(found.user.id));
    }
    let Ok(id) = account.parse() else {
        return Ok(None);
    };
    let found = store.user(Reach::Everything, UserId(id)).await?;
    Ok(found.map(|user| user.id))
}

fn reason(how: &How) -> anyhow::Result<&str> {
    let reason = how.reason.trim();
    let fits = (1..=500).contains(&reason.chars().count()) && !reason.contains(char::is_control);
    if !fits {
        bail!("--reason must be one line of 1 to 500 characters");
    }
    Ok(reason)
}

/// Keeps a request, and notes it.
async fn begin(request: Request, new: &NewErasure<'_>) -> anyhow::Result<ErasureRow> {
    let row = request.create_erasure(new).await?;
    request
        .audit(&Change {
            actor: &command_line(),
            tenant: None,
            action: "erase",
            object_type: "erasure",
            object_id: row.erasure_id.to_string(),
            before: None,
            after: Some(noted_erasure(&row)),
            reason: Some(new.reason),
        })
        .await?;
    request.commit().await?;
    Ok(row)
}

/// Works on what waits until this one is done, for `limit` at most. A daemon may have it: then it is looked at.
async fn carry_out(
    store: &Store,
    config: &Config,
    mut row: ErasureRow,
    limit: Duration,
) -> anyhow::Result<ErasureRow> {
    let node = format!("{} (command line)", config.node.name);
    let until = Instant::now() + limit;
    while row.state != "done" {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        // Broken off at any moment it loses nothing: its lease runs out, and a daemon goes on.
        let worked = privacy::round(&node, store, None, LOOK);
        if let Ok(worked) = tokio::time::timeout(left, worked).await {
            worked?;
        }
        let found = store.erasure(row.erasure_id).await?;
        row = found.context("the request is gone")?;
        if row.state != "done" {
            tokio::time::sleep(LOOK.min(left)).await;
        }
    }
    Ok(row)
}

fn print(row: ErasureRow) -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string_pretty(&erasure_report(row))?);
    Ok(ExitCode::SUCCESS)
}
