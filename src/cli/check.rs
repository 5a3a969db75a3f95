//! `capconduit check`: would a start succeed, and would calls be answered?

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use jiff::SignedDuration;

use crate::app;
use crate::ari::rest::Rest;
use crate::clock;
use crate::config::Config;
use crate::domain::Language;
use crate::recording::{self, Places};
use crate::storage::{Key, Storage};
use crate::store::{Store, migrate};
use crate::telemetry::Chain;
use crate::transcription::models::{self, CheckError};
use crate::transcription::process::StartError;

/// How long each outside answer may take.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut report = Report { failed: false };
    good("configuration", "is complete");
    check_database(config, &mut report).await;
    check_asterisk(config, &mut report).await;
    check_recording(config, &mut report).await;
    check_transcription(config, &mut report).await;
    check_port(config, &mut report).await;
    Ok(if report.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn good(what: &str, state: &str) {
    println!("ok    {what}: {state}");
}

fn note(what: &str, remark: &str) {
    println!("note  {what}: {remark}");
}

struct Report {
    failed: bool,
}

impl Report {
    fn bad(&mut self, what: &str, problem: &str, remedy: &str) {
        self.failed = true;
        println!("FAIL  {what}: {problem}");
        println!("      {remedy}");
    }
}

async fn check_database(config: &Config, report: &mut Report) {
    let client = match tokio::time::timeout(LIMIT, super::owner(config)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            let problem = Chain(&error).to_string();
            return report.bad(
                "database",
                &problem,
                "see that PostgreSQL runs and that database.url names it, a user and a database",
            );
        }
        Err(_) => {
            return report.bad(
                "database",
                "does not answer",
                "see that host and port in database.url are right and not filtered",
            );
        }
    };
    good("database", "answers");
    match migrate::check(&client).await {
        Ok(()) => good("schema", &format!("is at version {}", migrate::CURRENT)),
        Err(error @ migrate::Error::Behind { .. }) => {
            return report.bad(
                "schema",
                &error.to_string(),
                "`capconduit migrate` is safe beside a running daemon of the previous version",
            );
        }
        Err(error) => {
            let remedy =
                "restore the migrations this program was built with, or the matching program";
            return report.bad("schema", &Chain(&error).to_string(), remedy);
        }
    }
    let pooled = match Store::new(&app::store_settings(config)) {
        Ok(store) => store.ping().await.map_err(|e| Chain(&e).to_string()),
        Err(error) => Err(Chain(&error).to_string()),
    };
    match pooled {
        Ok(()) => good("database role", "the daemon may switch to capconduit_app"),
        Err(problem) => report.bad(
            "database role",
            &problem,
            "as a superuser: grant capconduit_app to <the user of database.url>",
        ),
    }
}

async fn check_asterisk(config: &Config, report: &mut Report) {
    if config.asterisk.is_empty() {
        note(
            "asterisk",
            "none is configured: slots rest on the dialplan's reports and the hard time limit",
        );
    }
    for asterisk in &config.asterisk {
        let what = format!("asterisk {}", asterisk.name);
        let rest = match app::ari_server(asterisk, config) {
            Ok(server) => Rest::new(Arc::new(server), LIMIT),
            Err(error) => {
                let remedy = "mend the [[asterisk]] table of the configuration";
                report.bad(&what, &error.to_string(), remedy);
                continue;
            }
        };
        match rest {
            Ok(rest) => check_answers(&what, &rest, report).await,
            Err(error) => bad_ari(&what, &error, report),
        }
    }
}

/// What a call needs of Asterisk: asked of Asterisk itself, as its files may be anywhere.
const NEEDED_MODULES: [(&str, &str); 5] = [
    ("res_agi.so", "the dialplan cannot ask this daemon"),
    ("chan_pjsip.so", "no call comes or goes"),
    ("app_dial.so", "no target can be dialled"),
    (
        "res_config_odbc.so",
        "call centres in the database are not seen",
    ),
    (
        "app_stack.so",
        "the hangup handler cannot report the end of a call",
    ),
];

async fn check_answers(what: &str, rest: &Rest, report: &mut Report) {
    let info = match rest.info().await {
        Ok(info) => info,
        Err(error) => return bad_ari(what, &error, report),
    };
    let major = info.version.split('.').next();
    let major = major.and_then(|v| v.parse::<u32>().ok());
    if major.is_some_and(|major| major < 20) {
        let problem = format!("is version {}", info.version);
        return report.bad(what, &problem, "install Asterisk 20 or newer");
    }
    good(what, &format!("version {} answers on ARI", info.version));
    match rest.running_modules().await {
        Ok(running) => {
            let missing = NEEDED_MODULES
                .iter()
                .filter(|(module, _)| !running.iter().any(|name| name == module));
            let mut complete = true;
            for (module, effect) in missing {
                complete = false;
                let problem = format!("{module} does not run: {effect}");
                report.bad(
                    what,
                    &problem,
                    "load it in modules.conf and see Asterisk's log",
                );
            }
            if complete {
                good(what, "the modules a call needs are running");
            }
        }
        Err(error) => bad_ari(what, &error, report),
    }
}

fn bad_ari(what: &str, error: &crate::ari::rest::Error, report: &mut Report) {
    report.bad(
        what,
        &Chain(error).to_string(),
        "see that http.conf and ari.conf are loaded (asterisk-config has working ones)",
    );
}

async fn check_recording(config: &Config, report: &mut Report) {
    let storage = match app::storage(config) {
        Ok(storage) => storage,
        Err(error) => {
            return report.bad(
                "recording storage",
                &Chain(&error).to_string(),
                "see docs/recordings.md",
            );
        }
    };
    if let Some(directory) = &config.recording.directory {
        check_recording_directory(directory, report);
    } else {
        note(
            "recording",
            "recording.directory is not set: nothing is recorded",
        );
    }
    let Some(storage) = storage else {
        return;
    };
    let what = "recording storage";
    match try_storage(&storage).await {
        Ok(()) => good(
            what,
            &format!("{} stores, reads and deletes", storage.location()),
        ),
        Err(error) => report.bad(
            what,
            &Chain(&*error).to_string(),
            "see that recording.storage is there, has room, and that this user may write to it",
        ),
    }
    if let Some(directory) = &config.recording.directory {
        check_recordings(config, storage, directory, report).await;
    }
}

/// Asterisk and the daemon share this directory; each must be able to write in it.
fn check_recording_directory(directory: &Path, report: &mut Report) {
    let what = "recording.directory";
    let path = directory.display();
    if let Err(error) = tempfile_in(directory) {
        return report.bad(
            what,
            &format!("{path}: {error}"),
            "make it with mode 2770, owned by Asterisk's user and a group this user is in",
        );
    }
    match recording::space(directory) {
        Ok(space) if space.is_low() => note(
            what,
            &format!("{path} has only {} MiB free", space.free / (1 << 20)),
        ),
        Ok(space) => good(
            what,
            &format!(
                "{path} can be read and written, {} GiB free",
                space.free / (1 << 30)
            ),
        ),
        Err(error) => report.bad(what, &format!("{path}: {error}"), "see that it is mounted"),
    }
}

/// Lists the directory, and writes and deletes a file in it.
fn tempfile_in(directory: &Path) -> std::io::Result<()> {
    std::fs::read_dir(directory)?;
    let file = directory.join(format!(".capconduit-check-{}", std::process::id()));
    std::fs::write(&file, b"")?;
    std::fs::remove_file(&file)
}

async fn try_storage(storage: &Storage) -> anyhow::Result<()> {
    let text = format!("check/{}-{}", std::process::id(), fastrand::u64(..));
    let key = Key::parse(&text).context("a key")?;
    let file = std::env::temp_dir().join(format!("capconduit-check-{}", fastrand::u64(..)));
    let content = b"capconduit check";
    std::fs::write(&file, content)?;
    let tried = async {
        storage.put(&file, &key).await?;
        let read = storage.read(&key, 0..content.len() as u64).await?;
        let read: Vec<_> = read.try_collect().await?;
        anyhow::ensure!(
            read.concat() == content,
            "it gives back other bytes than it was given"
        );
        Ok(())
    };
    let tried = tried.await;
    let _ = std::fs::remove_file(&file);
    let deleted = storage.delete(&key).await;
    tried?;
    Ok(deleted?)
}

/// What was recorded and never arrived.
async fn check_recordings(
    config: &Config,
    storage: Storage,
    directory: &Path,
    report: &mut Report,
) {
    let what = "recordings";
    let Ok(store) = Store::new(&app::store_settings(config)) else {
        // Said before.
        return;
    };
    let now = clock::now();
    let location = storage.location().to_owned();
    let counts = store.count_recordings(now - SignedDuration::from_hours(24), now, &location);
    match counts.await {
        Ok(counts) => {
            if counts.missing > 0 {
                let missing = counts.missing;
                note(
                    what,
                    &format!(
                        "{missing} of the last day are missing: Asterisk wrote no files, or none with sound"
                    ),
                );
            }
            if counts.elsewhere {
                note(
                    what,
                    &format!("some that should be deleted are not kept in {location}"),
                );
            }
        }
        Err(error) => {
            return report.bad(
                what,
                &Chain(&error).to_string(),
                "see the lines on the database",
            );
        }
    }
    let places = Places {
        directory: directory.to_owned(),
        storage,
    };
    match recording::collector::unclaimed(&places, &store).await {
        Ok(0) => good(what, "every file belongs to a call"),
        Ok(files) => note(
            what,
            &format!(
                "{files} files in {} belong to no call: look at them, and move or delete them",
                directory.display()
            ),
        ),
        Err(error) => note(what, &Chain(&error).to_string()),
    }
}

/// Can what is recorded be transcribed? Nobody has to.
async fn check_transcription(config: &Config, report: &mut Report) {
    let what = "transcription";
    let program = app::transcription_program(&config.transcription);
    let places = app::model_places(&config.transcription);
    let unknown = config.transcription.models.keys();
    for language in unknown.filter(|language| Language::parse(language).is_none()) {
        note(
            what,
            &format!("transcription.models.{language} is not used: languages are en and hi"),
        );
    }
    let models: Vec<_> = Language::ALL
        .iter()
        .map(|language| (*language, places.of(*language)))
        .filter(|(_, (directory, named))| *named || directory.is_dir())
        .collect();
    if models.is_empty() {
        let install = "no model is installed; `capconduit model install en` (or hi) changes that";
        if config.transcription.worker.is_some() && !program.path.is_file() {
            let missing = StartError::Missing(program.path);
            report.bad(what, &missing.to_string(), "or remove transcription.worker");
        }
        return note(what, &format!("recordings are not transcribed: {install}"));
    }
    for (language, (directory, _)) in models {
        let what = format!("{what} {language}");
        match models::check(&program, language, &directory).await {
            Ok(name) => good(&what, &format!("the transcriber can use {name}")),
            Err(CheckError::Start(error)) => {
                let remedy =
                    "docs/transcription.md says how to install the transcriber and libvosk";
                return report.bad("transcription", &Chain(&error).to_string(), remedy);
            }
            Err(error) => {
                let problem = format!("{}: {}", directory.display(), Chain(&error));
                let remedy = format!(
                    "`capconduit model check` looks closer; `capconduit model install {language}` replaces it"
                );
                report.bad(&what, &problem, &remedy);
            }
        }
    }
}

async fn check_port(config: &Config, report: &mut Report) {
    for (key, address) in [
        ("agi.listen", config.agi.listen),
        ("ops.listen", config.ops.listen),
    ] {
        match tokio::net::TcpListener::bind(address).await {
            Ok(_) => good(key, &format!("{address} is free")),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                note(
                    key,
                    &format!("{address} is in use, by a running daemon perhaps"),
                );
            }
            Err(error) => {
                let problem = format!("{address}: {error}");
                report.bad(key, &problem, "choose an address of this host");
            }
        }
    }
}
