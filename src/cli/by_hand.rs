//! `capconduit server`, `call` and `reservation`: the servers, and what is ended by hand.

use std::process::ExitCode;

use clap::Subcommand;

use crate::app;
use crate::calls::store::servers::ServerRow;
use crate::config::Config;
use crate::db::Store;
use crate::db::request::{Actor, Change, Reach};
use crate::domain::{CallId, ReservationId, ServerName};
use crate::routing::DeclaredDead;

/// It was not done: the server is observed.
pub(super) const EXIT_REFUSED: u8 = 3;

/// There is no such server, call or slot to end.
pub(super) const EXIT_NOT_THERE: u8 = 4;

#[derive(Debug, Subcommand)]
pub(super) enum ServerCommand {
    /// Show the Asterisk servers that daemons have observed.
    List,
    /// End the calls of a server that does not come back. Refused while a daemon observes it.
    DeclareDead {
        /// Its name in `[[asterisk]]`.
        name: String,
        /// Why, for the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum CallCommand {
    /// End a call in the books and free its slot. Hangs nobody up: only for calls that are over.
    Release(Released),
}

#[derive(Debug, Subcommand)]
pub(super) enum ReservationCommand {
    /// Free one slot; its call goes on without it.
    Release(Released),
}

#[derive(Debug, clap::Args)]
pub(super) struct Released {
    /// Its id.
    id: i64,
    /// Why, for the audit log.
    #[arg(long)]
    reason: Option<String>,
}

pub(super) async fn server(command: &ServerCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let store = store(config)?;
    let (name, reason) = match command {
        ServerCommand::List => {
            print!("{}", listed(&store.servers().await?));
            return Ok(ExitCode::SUCCESS);
        }
        ServerCommand::DeclareDead { name, reason } => (name, reason.as_deref()),
    };
    let Some(name) = ServerName::parse(name) else {
        return Ok(not_there("server", name));
    };
    let dead = app::engine(config)?
        .declare_server_dead(&name, "command line")
        .await?;
    match dead {
        DeclaredDead::Done { calls } => {
            note(&store, "declare_dead", "server", name.as_str(), reason).await?;
            println!("server {name} is declared dead; {calls} of its calls have ended");
            Ok(ExitCode::SUCCESS)
        }
        DeclaredDead::Observed {
            observer,
            seconds_ago,
        } => {
            eprintln!(
                "capconduit: daemon {observer} saw server {name} {seconds_ago} seconds ago: it is not dead"
            );
            Ok(ExitCode::from(EXIT_REFUSED))
        }
        DeclaredDead::Unknown => Ok(not_there("server", name.as_str())),
    }
}

pub(super) async fn call(command: &CallCommand, config: &Config) -> anyhow::Result<ExitCode> {
    let CallCommand::Release(Released { id, reason }) = command;
    let (engine, call_id) = (app::engine(config)?, CallId(*id));
    if !engine.is_releasable(call_id).await? {
        return Ok(not_there("call under way", &id.to_string()));
    }
    note_release(config, "call", *id, reason.as_deref()).await?;
    if !engine.release_call(call_id).await? {
        return Ok(not_there("call under way", &id.to_string()));
    }
    println!("call {id} has ended and its slot is free; nobody was hung up");
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn reservation(
    command: &ReservationCommand,
    config: &Config,
) -> anyhow::Result<ExitCode> {
    let ReservationCommand::Release(Released { id, reason }) = command;
    let (engine, reservation_id) = (app::engine(config)?, ReservationId(*id));
    if !engine.is_open(reservation_id).await? {
        return Ok(not_there("open reservation", &id.to_string()));
    }
    note_release(config, "reservation", *id, reason.as_deref()).await?;
    if !engine.release_reservation(reservation_id).await? {
        return Ok(not_there("open reservation", &id.to_string()));
    }
    println!("slot {id} is free; nobody was hung up");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn store(config: &Config) -> anyhow::Result<Store> {
    Ok(Store::new(&app::store_settings(config))?)
}

pub(super) fn not_there(what: &str, which: &str) -> ExitCode {
    eprintln!("capconduit: there is no {what} {}", which.escape_debug());
    ExitCode::from(EXIT_NOT_THERE)
}

async fn note_release(
    config: &Config,
    object_type: &'static str,
    id: i64,
    reason: Option<&str>,
) -> anyhow::Result<()> {
    note(
        &store(config)?,
        "release",
        object_type,
        &id.to_string(),
        reason,
    )
    .await
}

/// Who the audit log says it was.
pub(super) fn command_line() -> Actor {
    Actor {
        user_id: None,
        name: "command line".to_owned(),
        via: "cli".to_owned(),
        request_id: String::new(),
        address: String::new(),
    }
}

/// As the API does: a release is noted before it is made.
async fn note(
    store: &Store,
    action: &'static str,
    object_type: &'static str,
    object_id: &str,
    reason: Option<&str>,
) -> anyhow::Result<()> {
    let request = store.request(Reach::Everything).await?;
    request
        .audit(&Change {
            actor: &command_line(),
            tenant: None,
            action,
            object_type,
            object_id: object_id.to_owned(),
            before: None,
            after: None,
            reason,
        })
        .await?;
    request.commit().await?;
    Ok(())
}

fn listed(servers: &[ServerRow]) -> String {
    if servers.is_empty() {
        return "no daemon has observed a server yet\n".to_owned();
    }
    let mut rows =
        vec![["server", "observer", "seen", "calls", "Asterisk", "state"].map(str::to_owned)];
    for server in servers {
        rows.push([
            server.name.clone(),
            server.observer.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{} s ago", server.seconds_ago),
            server.calls_under_way.to_string(),
            server.version.clone().unwrap_or_else(|| "-".to_owned()),
            match (&server.declared_dead_at, &server.declared_dead_by) {
                (Some(at), by) => format!("dead, said {} at {at}", by.as_deref().unwrap_or("-")),
                (None, _) => "-".to_owned(),
            },
        ]);
    }
    super::table(&rows)
}
