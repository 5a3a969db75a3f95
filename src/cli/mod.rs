//! The command line: one file per command that is more than a few lines.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused (`route` would refuse the call, `server declare-dead` found
//! the server observed, `erase seller` found the account in use), 4 there is no such server, call, slot, account or
//! erasure, 78 the configuration cannot be used (`EX_CONFIG` of
//! sysexits.h).

mod by_hand;
mod check;
mod erase;
mod migrate;
mod model;
mod route;
mod transcribe;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, Environment, Transcription};
use crate::db::migrate as schema;
use crate::db::migrate::Error as SchemaProblem;
use crate::runtime::telemetry::{self, Chain};
use crate::{app, db};

/// The configuration cannot be used.
const EXIT_CONFIG: u8 = 78;

/// How long a failed command may look whether the schema is the reason.
const SCHEMA_LIMIT: Duration = Duration::from_secs(5);

/// Routes calls for Asterisk: decides, caps and records them.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    /// Configuration file; /etc/capconduit/capconduit.toml if there is one and no other is named.
    #[arg(long, global = true, env = "CAPCONDUIT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// End a call by hand.
    #[command(subcommand)]
    Call(by_hand::CallCommand),
    /// Run the daemon.
    Serve,
    /// Bring the database schema up to date.
    Migrate(migrate::Arguments),
    /// Check configuration, database, schema and Asterisk, and say how to mend what is wrong.
    Check,
    /// Erase a caller or a seller from all tables, as the API does, and print the report.
    #[command(subcommand)]
    Erase(erase::Command),
    /// Print the API's document (`OpenAPI` 3.1, JSON). Needs no configuration and no database.
    Openapi,
    /// List, install and check the models that recordings are transcribed with. Needs no database.
    #[command(subcommand)]
    Model(model::Command),
    /// Free a slot by hand.
    #[command(subcommand)]
    Reservation(by_hand::ReservationCommand),
    /// Show the Asterisk servers, or declare one dead.
    #[command(subcommand)]
    Server(by_hand::ServerCommand),
    /// Show where a call would go now. Claims and changes nothing.
    Route(route::Arguments),
    /// Transcribe a WAV file and print what was said. Needs no database.
    Transcribe(transcribe::Arguments),
    /// Manage accounts.
    #[command(subcommand)]
    User(user::Command),
}

/// Runs the command of the process and returns its exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = Environment::of_process();
    let file = arguments.config.as_deref();
    if matches!(arguments.command, Command::Openapi) {
        return print_document();
    }
    // What needs no database asks for no setting of one.
    if let Command::Model(command) = arguments.command {
        return match Transcription::load(file, &environment) {
            Ok(config) => finish(async move { model::run(&command, &config).await }, false),
            Err(error) => config_error(&error),
        };
    }
    if let Command::Transcribe(arguments) = arguments.command {
        return match arguments.configured(file, &environment) {
            Ok(config) => finish(
                async move { transcribe::run(&arguments, config.as_ref()).await },
                false,
            ),
            Err(error) => config_error(&error),
        };
    }
    let config = match Config::load(file, &environment) {
        Ok(config) => config,
        Err(error) => return config_error(&error),
    };
    let serving = matches!(arguments.command, Command::Serve);
    if serving && let Err(error) = telemetry::init(&config.log) {
        eprintln!("capconduit: {}", Chain(&error));
        return ExitCode::from(EXIT_CONFIG);
    }
    finish(run(arguments.command, config), serving)
}

/// Prints the API's document, as `/api/openapi.json` has it.
fn print_document() -> ExitCode {
    use std::io::Write as _;
    let document = format!("{:#}\n", crate::http::api::document());
    // Whoever reads only the begin, as `head` does, has what it wants.
    match std::io::stdout().write_all(document.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capconduit: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does the work and says how it went.
fn finish(work: impl Future<Output = anyhow::Result<ExitCode>>, serving: bool) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("capconduit: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(work);
    // What still hangs in a name look-up must not hold up the end.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(error) => {
            let chain = Chain(error.as_ref());
            if serving {
                tracing::error!(error = %chain, "capconduit ends");
            } else {
                eprintln!("capconduit: {chain}");
            }
            ExitCode::FAILURE
        }
    }
}

fn config_error(error: &config::Error) -> ExitCode {
    eprintln!("capconduit: {}", Chain(error));
    ExitCode::from(EXIT_CONFIG)
}

async fn run(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => app::serve(config).await.map(|()| ExitCode::SUCCESS),
        Command::Migrate(arguments) => migrate::run(&arguments, &config).await,
        Command::Check => check::run(&config).await,
        Command::Route(arguments) => {
            let ran = route::run(&arguments, &config).await;
            or_schema(ran, &config).await
        }
        Command::Call(command) => {
            let ran = by_hand::call(&command, &config).await;
            or_schema(ran, &config).await
        }
        Command::Erase(command) => {
            let ran = erase::run(&command, &config).await;
            or_schema(ran, &config).await
        }
        Command::Reservation(command) => {
            let ran = by_hand::reservation(&command, &config).await;
            or_schema(ran, &config).await
        }
        Command::Server(command) => {
            let ran = by_hand::server(&command, &config).await;
            or_schema(ran, &config).await
        }
        Command::User(command) => {
            let ran = user::run(&command, &config).await;
            or_schema(ran, &config).await
        }
        Command::Openapi => Ok(print_document()),
        Command::Model(command) => model::run(&command, &config.transcription).await,
        Command::Transcribe(arguments) => {
            transcribe::run(&arguments, Some(&config.transcription)).await
        }
    }
}

/// What a command failed with; or, where the schema is not what this program needs, that: a table that is not there
/// yet says nothing to who has to make it.
async fn or_schema<T>(ran: anyhow::Result<T>, config: &Config) -> anyhow::Result<T> {
    let Err(failure) = ran else { return ran };
    let looked = tokio::time::timeout(SCHEMA_LIMIT, async {
        schema::check(&owner(config).await.ok()?).await.err()
    });
    match looked.await {
        Ok(Some(problem @ (SchemaProblem::Behind { .. } | SchemaProblem::Ahead { .. }))) => {
            Err(problem.into())
        }
        _ => Err(failure),
    }
}

/// A connection in the role of `database.migrate_url`, or else of `database.url`, itself.
async fn owner(config: &Config) -> Result<tokio_postgres::Client, db::ConnectError> {
    db::connect_as_owner(&app::owner_settings(config)).await
}

/// Rows as columns, each as wide as its widest cell.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}
