//! `capconduit check`: would a start succeed, and would calls be answered?

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::app;
use crate::ari::rest::Rest;
use crate::config::Config;
use crate::store::{Store, migrate};
use crate::telemetry::Chain;

/// How long each outside answer may take.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut report = Report { failed: false };
    good("configuration", "is complete");
    check_database(config, &mut report).await;
    check_asterisk(config, &mut report).await;
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
