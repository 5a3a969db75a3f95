//! `capconduit check`: would a start succeed, and would calls be answered?

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use jiff::SignedDuration;

use crate::app;
use crate::asterisk::ari::rest::{self, Rest};
use crate::catalogue::store::clients::ClientRow;
use crate::config::Config;
use crate::db;
use crate::db::request::Reach;
use crate::db::{Store, migrate};
use crate::domain::{Language, ServerIdentity, ServerName, UserId};
use crate::http::Trouble;
use crate::recordings;
use crate::recordings::Places;
use crate::recordings::object_storage::{Key, Storage};
use crate::routing::{self, ConflictKind};
use crate::runtime::clock;
use crate::runtime::telemetry::Chain;
use crate::transcripts::models::{self, CheckError};
use crate::transcripts::process::StartError;

/// How long each outside answer may take.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut report = Report { failed: false };
    good("configuration", "is complete");
    for (key, remark) in &config.remarks {
        note(key, remark);
    }
    check_certificate(config, &mut report);
    check_database(config, &mut report).await;
    check_asterisk(config, &mut report).await;
    check_proxies(config);
    check_host_name(config).await;
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
                "see that PostgreSQL runs and that database.url, and database.migrate_url where it is set, name it, a user \
                 and a database",
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
    check_login(config).await;
    match migrate::check(&client).await {
        Ok(()) => good("schema", &format!("is at version {}", migrate::CURRENT)),
        Err(error @ migrate::Error::Behind { .. }) => {
            return report.bad(
                "schema",
                &error.to_string(),
                "`capconduit migrate` is safe beside a running daemon of the previous version",
            );
        }
        Err(error @ migrate::Error::Ahead { .. }) => {
            return report.bad(
                "schema",
                &error.to_string(),
                "a daemon that runs goes on; this program does not start one",
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
    check_api_roles(config, report).await;
    match pooled {
        Ok(()) => good("database role", "the daemon may switch to capconduit_app"),
        Err(problem) => report.bad(
            "database role",
            &problem,
            "as a superuser: grant capconduit_app to <the user of database.url>",
        ),
    }
}

/// What the daemon's login could do beyond the roles it switches to. Whoever takes the daemon over can do it too.
async fn check_login(config: &Config) {
    const POWERS: &str = "select current_user::text as login, r.rolsuper, r.rolcreaterole, exists (
            select from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'public' and c.relkind in ('r', 'p') and pg_has_role(c.relowner, 'usage')) as owns
        from pg_roles r where r.rolname = current_user";
    let what = "database login";
    let asked = async {
        let client = db::connect_as_owner(&app::store_settings(config)).await?;
        anyhow::Ok(client.query_one(POWERS, &[]).await?)
    };
    let Ok(Ok(row)) = tokio::time::timeout(LIMIT, asked).await else {
        // The look at the roles below says why.
        return;
    };
    let login: String = row.get("login");
    let powers: Vec<&str> = [
        ("rolsuper", "is a superuser"),
        ("rolcreaterole", "may create roles"),
        ("owns", "owns the tables"),
    ]
    .into_iter()
    .filter_map(|(column, power)| row.get::<_, bool>(column).then_some(power))
    .collect();
    if powers.is_empty() {
        return good(
            what,
            &format!("{login} owns nothing and may not create roles"),
        );
    }
    note(
        what,
        &format!(
            "{login}, with which the daemon logs in, {}: row level security and the audit log hold only as long as nobody \
             takes the daemon over. Give database.url a login that has nothing but the roles capconduit_app, \
             capconduit_api and capconduit_admin, and set database.migrate_url to this one (docs/configuration.md)",
            powers.join(" and ")
        ),
    );
}

/// The API works in a role of its own for each request.
async fn check_api_roles(config: &Config, report: &mut Report) {
    let Ok(store) = Store::new(&app::store_settings(config)) else {
        // Said elsewhere.
        return;
    };
    for (role, reach) in [
        ("capconduit_api", Reach::Tenant(UserId(0))),
        ("capconduit_admin", Reach::Everything),
    ] {
        match store.request(reach).await {
            Ok(_) => good("database role", &format!("the API may switch to {role}")),
            Err(error) => report.bad(
                "database role",
                &Chain(&error).to_string(),
                &format!("as a superuser: grant {role} to <the user of database.url>"),
            ),
        }
    }
}

async fn check_asterisk(config: &Config, report: &mut Report) {
    if config.asterisk.is_empty() {
        note(
            "asterisk",
            "none is configured: slots rest on the dialplan's reports and the hard time limit",
        );
    }
    let client = some_client(config).await;
    let mut seen: Vec<Identity> = Vec::new();
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
            Ok(rest) => {
                if !check_answers(&what, &rest, report).await {
                    continue;
                }
                match check_settings(
                    &what,
                    &asterisk.name,
                    &rest,
                    config,
                    client.as_deref(),
                    report,
                )
                .await
                {
                    Ok(identity) => seen.push(identity),
                    Err(error) => bad_ari(&what, &error, report),
                }
            }
            Err(error) => bad_ari(&what, &error, report),
        }
    }
    check_identities(&seen, report);
    if let Err(error) = check_observers(&seen, config, report).await {
        note(
            "asterisk",
            &format!("what other daemons see is not known: {error:#}"),
        );
    }
}

/// Do the daemons that share the database mean the same machines by the same names?
async fn check_observers(
    seen: &[Identity],
    config: &Config,
    report: &mut Report,
) -> anyhow::Result<()> {
    if seen.is_empty() {
        return Ok(());
    }
    let store = Store::new(&app::store_settings(config))?;
    let (observers, known) = (store.observers().await?, store.servers().await?);
    for one in seen {
        let identity = ServerIdentity {
            entity_id: Some(one.entity_id.clone()),
            system_name: one.system_name.clone(),
            startup_time: None,
            version: String::new(),
        };
        let warnings = routing::conflicts(&one.name, &identity, &observers);
        let by_name = warnings.iter().any(|w| w.kind == ConflictKind::Name);
        for warning in &warnings {
            let remedy = "the lines of `capconduit server list` are what the daemons see";
            report.bad(&one.what, &warning.text, remedy);
        }
        let row = known.iter().find(|row| row.name == one.name.as_str());
        let was = row.filter(|row| row.declared_dead_at.is_none());
        let was = was.and_then(|row| row.entity_id.as_ref());
        if !by_name && was.is_some_and(|was| *was != one.entity_id) {
            note(
                &one.what,
                &format!(
                    "another Asterisk had the name {0} before (another entity id): if that one is gone for good and calls of \
                     it are still under way, say `capconduit server declare-dead {0}`",
                    one.name
                ),
            );
        }
    }
    Ok(())
}

/// Who an Asterisk says it is.
struct Identity {
    /// Which `[[asterisk]]`.
    what: String,
    name: ServerName,
    system_name: Option<String>,
    entity_id: String,
}

/// Calls are told apart by the Asterisk they are on.
fn check_identities(seen: &[Identity], report: &mut Report) {
    for (n, one) in seen.iter().enumerate() {
        if seen.len() > 1 && one.system_name.is_none() {
            report.bad(
                &one.what,
                "has no system name, and there are several: their calls cannot be told apart",
                "set `systemname` in its asterisk.conf to a name of its own and restart it",
            );
        }
        for other in &seen[..n] {
            if one.entity_id == other.entity_id {
                report.bad(
                    &one.what,
                    &format!("is the same Asterisk as {}, or a copy of it (entity id {})", other.what, one.entity_id),
                    "name each Asterisk once; a copied one needs an `entityid` of its own in asterisk.conf",
                );
            } else if one.system_name.is_some() && one.system_name == other.system_name {
                let name = one.system_name.as_deref().unwrap_or_default();
                report.bad(
                    &one.what,
                    &format!(
                        "has the system name of {}, {name}: their calls cannot be told apart",
                        other.what
                    ),
                    "give each a `systemname` of its own in asterisk.conf and restart it",
                );
            }
        }
    }
}

/// The identifier of an active client that can be dialled, to ask Asterisk for.
async fn some_client(config: &Config) -> Option<String> {
    let store = Store::new(&app::store_settings(config)).ok()?;
    let (clients, _) = store
        .clients((Some("active"), None, None), "name", (100, 0))
        .await
        .ok()?;
    let complete = |client: &ClientRow| client.endpoint.is_some() && client.aor.is_some();
    clients
        .into_iter()
        .find(complete)
        .map(|c| c.client_identifier)
}

/// What differs between Asterisk's configuration and ours.
async fn check_settings(
    what: &str,
    name: &ServerName,
    rest: &Rest,
    config: &Config,
    client: Option<&str>,
    report: &mut Report,
) -> Result<Identity, rest::Error> {
    let asked_at = clock::now();
    let pong = rest.ping().await?;
    if let Some(at) = pong.at {
        // Its clock was read between our question and its answer.
        let behind = asked_at.duration_since(at);
        let ahead = at.duration_since(clock::now());
        let offset = behind.max(ahead);
        if offset > MAX_CLOCK_OFFSET {
            let direction = if behind > ahead { "behind" } else { "ahead of" };
            report.bad(
                what,
                &format!(
                    "its clock is {} s {direction} this host's",
                    offset.as_secs()
                ),
                "run NTP on both hosts",
            );
        } else {
            good(what, "its clock agrees with this host's");
        }
    }
    match client {
        Some(client) => check_endpoint(what, rest, client, report).await?,
        None => note(
            what,
            "there is no active client yet to look for in its realtime configuration",
        ),
    }
    check_globals(what, rest, config, report).await?;
    Ok(Identity {
        what: what.to_owned(),
        name: name.clone(),
        system_name: rest.variable("SYSTEMNAME").await?,
        entity_id: pong.entity_id,
    })
}

/// Does Asterisk find a call centre of the database, and as it should be?
async fn check_endpoint(
    what: &str,
    rest: &Rest,
    client: &str,
    report: &mut Report,
) -> Result<(), rest::Error> {
    let remedy = "see its log, `odbc show` and `pjsip show endpoint`: driver, odbc.ini, password and rights of \
                  capconduit_asterisk, sorcery.conf, extconfig.conf";
    let Some(settings) = rest.endpoint(client).await? else {
        let problem =
            format!("does not find the endpoint {client} of the database: calls to it fail");
        report.bad(what, &problem, remedy);
        return Ok(());
    };
    if !rest.has_aor(client).await? {
        let problem =
            format!("does not find the address {client} of the database: calls to it fail");
        report.bad(what, &problem, remedy);
        return Ok(());
    }
    let is = |attribute: &str, wanted: &str| {
        let found = settings.iter().find(|s| s.attribute == attribute);
        found.is_none_or(|s| s.value == wanted)
    };
    if !is("identify_by", "ip") || !is("allow_transfer", "no") && !is("allow_transfer", "false") {
        report.bad(
            what,
            &format!(
                "knows the endpoint {client} by its name alone, or lets it transfer calls: a stranger may dial what its \
                 context dials"
            ),
            "let sorcery.conf read the view ps_endpoints of the present schema; an endpoint of that name in pjsip.conf \
             comes before it",
        );
    } else {
        good(
            what,
            &format!("finds the call centre {client} in the database"),
        );
    }
    Ok(())
}

/// Globals of the dialplan that must agree with our configuration.
async fn check_globals(
    what: &str,
    rest: &Rest,
    config: &Config,
    report: &mut Report,
) -> Result<(), rest::Error> {
    let ours = config.routing.max_call.as_secs();
    match rest.variable("MAX_CALL_SECONDS").await? {
        None => note(
            what,
            "its dialplan has no MAX_CALL_SECONDS: see that no call lasts longer than routing.max_call_seconds",
        ),
        Some(theirs) => match theirs.parse::<u64>() {
            Ok(theirs) if (1..=ours).contains(&theirs) => {
                good(what, "no call lasts longer than routing.max_call_seconds");
            }
            _ => report.bad(
                what,
                &format!(
                    "its dialplan ends calls after MAX_CALL_SECONDS = {theirs}, and routing.max_call_seconds is {ours}: a \
                     longer call that is not seen counts as over"
                ),
                "make MAX_CALL_SECONDS in its extensions.conf at most routing.max_call_seconds, and more than 0",
            ),
        },
    }
    let mut asked = Vec::new();
    for name in ["AGI_URL", "AGI_URL_BACKUP"] {
        asked.extend(rest.variable(name).await?);
    }
    let port = config.agi.listen.port();
    let names_us = |url: &String| agi_port(url) == Some(port);
    if asked.is_empty() {
        note(
            what,
            "its dialplan has no AGI_URL: see that it asks this daemon",
        );
    } else if asked.iter().any(names_us) {
        good(what, &format!("its dialplan asks a daemon on port {port}"));
    } else {
        report.bad(
            what,
            &format!(
                "its dialplan asks {}, and this daemon listens on {}",
                asked.join(" and "),
                config.agi.listen
            ),
            "make AGI_URL in its extensions.conf and agi.listen agree",
        );
    }
    Ok(())
}

/// The port of `agi://HOST[:PORT]`.
fn agi_port(url: &str) -> Option<u16> {
    let host = url.strip_prefix("agi://")?.split('/').next()?;
    // Colons of an IPv6 address are in brackets.
    match host.rsplit_once(':') {
        Some((_, port)) if !port.contains(']') => port.parse().ok(),
        _ => Some(4573),
    }
}

/// Behind a proxy that is not trusted all visitors count as one address: their logins and requests limit each other.
fn check_proxies(config: &Config) {
    let http = &config.http;
    if http.public_url.is_some() && http.trusted_proxies.is_empty() {
        note(
            "proxies",
            "http.public_url says that browsers come by another address, and http.trusted_proxies is empty: behind a \
             reverse proxy all of them count as one address. Add the proxy's address or network to it",
        );
    }
}

/// How long the name of this host may take to be looked up.
const NAME_LIMIT: Duration = Duration::from_millis(500);

/// Asterisk looks up the name of its host where sound is bound to no address.
async fn check_host_name(config: &Config) {
    let local = |url: &reqwest::Url| {
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']);
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    };
    let asterisk_is_here = config.asterisk.iter().any(|asterisk| local(&asterisk.url));
    let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") else {
        return;
    };
    let name = name.trim();
    if !asterisk_is_here {
        return;
    }
    let looked_up = tokio::time::timeout(NAME_LIMIT, tokio::net::lookup_host((name, 0))).await;
    let problem = match looked_up {
        Ok(Ok(_)) => return good("host name", &format!("{name} can be looked up")),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} ms", NAME_LIMIT.as_millis()),
    };
    note(
        "host name",
        &format!(
            "{name} cannot be looked up ({problem}), and where sound is bound to no address Asterisk does that for every \
             call: add the name to /etc/hosts, or see MEDIA_ADDRESS in asterisk-config/README.md"
        ),
    );
}

/// More than this between the clocks of two hosts is told.
const MAX_CLOCK_OFFSET: SignedDuration = SignedDuration::from_secs(2);

/// What a call needs of Asterisk: asked of Asterisk itself, as its files may be anywhere.
const NEEDED_MODULES: [(&str, &str); 13] = [
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
    (
        "app_originate.so",
        "the end of a call that its caller ended is not reported",
    ),
    ("app_mixmonitor.so", "calls end before they are dialled"),
    (
        "app_verbose.so",
        "the dialplan breaks off where it would log",
    ),
    ("func_callerid.so", "the dialplan cannot see who calls"),
    ("func_channel.so", "the hangup handler is not set"),
    (
        "func_global.so",
        "calls from an IVR are billed from its answer",
    ),
    (
        "func_strings.so",
        "the dialplan cannot look at what it was told",
    ),
    (
        "func_timeout.so",
        "a daemon that hangs holds the call for ever",
    ),
];

/// What call centres that register need besides: not every installation has such.
const REGISTERING_MODULES: [&str; 2] = [
    "res_pjsip_registrar.so",
    "res_pjsip_endpoint_identifier_user.so",
];

/// Whether it is worth asking more.
async fn check_answers(what: &str, rest: &Rest, report: &mut Report) -> bool {
    let info = match rest.info().await {
        Ok(info) => info,
        Err(error) => {
            bad_ari(what, &error, report);
            return false;
        }
    };
    let major = info.version.split('.').next();
    let major = major.and_then(|v| v.parse::<u32>().ok());
    if major.is_some_and(|major| major < 20) {
        let problem = format!("is version {}", info.version);
        report.bad(what, &problem, "install Asterisk 20 or newer");
        return false;
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
            for module in REGISTERING_MODULES {
                if !running.iter().any(|name| name == module) {
                    note(
                        what,
                        &format!("{module} does not run: no call centre can register"),
                    );
                }
            }
        }
        Err(error) => {
            bad_ari(what, &error, report);
            return false;
        }
    }
    true
}

fn bad_ari(what: &str, error: &crate::asterisk::ari::rest::Error, report: &mut Report) {
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
    match recordings::space(directory) {
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
    match recordings::collector::unclaimed(&places, &store).await {
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
    if let Some((language, (directory, _))) = models.first()
        && let Ok(lacks) = models::lacks(&program, *language, directory).await
    {
        for lack in lacks {
            note("transcriber sandbox", &lack);
        }
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

fn check_certificate(config: &Config, report: &mut Report) {
    match app::tls(config) {
        Ok(Some(tls)) => {
            good("http.tls_certificate_file", "certificate and key fit");
            let expiry = tls.expiry();
            match expiry.and_then(|expiry| expiry.trouble(clock::now())) {
                Some(trouble @ Trouble::Over(_)) => report.bad(
                    "http.tls_certificate_file",
                    &trouble.to_string(),
                    "put a new certificate, and its key, there: the daemon takes them up within 10 seconds",
                ),
                Some(trouble @ Trouble::Soon(..)) => note(
                    "http.tls_certificate_file",
                    &format!("{trouble}: see that whatever renews it does"),
                ),
                None => {}
            }
        }
        Ok(None) => {}
        Err(error) => report.bad(
            "http.tls_certificate_file",
            &format!("{error:#}"),
            "both are PEM files that the daemon's user may read; the certificate's file holds its chain",
        ),
    }
}

async fn check_port(config: &Config, report: &mut Report) {
    for (key, address) in [
        ("agi.listen", config.agi.listen),
        ("http.listen", config.http.listen),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_an_agi_address_is_read() {
        for (url, port) in [
            ("agi://127.0.0.1:4574", Some(4574)),
            ("agi://127.0.0.1", Some(4573)),
            ("agi://[::1]:4575", Some(4575)),
            ("agi://[::1]", Some(4573)),
            ("agi://pbx/route", Some(4573)),
            ("hagi://pbx", None),
            ("agi://pbx:x", None),
        ] {
            assert_eq!(agi_port(url), port, "{url}");
        }
    }

    #[test]
    fn several_asterisks_are_told_apart() {
        let identity = |what: &str, system_name: Option<&str>, entity_id: &str| Identity {
            what: what.to_owned(),
            name: ServerName::parse(what).expect("a name"),
            system_name: system_name.map(str::to_owned),
            entity_id: entity_id.to_owned(),
        };
        let is_bad = |seen: &[Identity]| {
            let mut report = Report { failed: false };
            check_identities(seen, &mut report);
            report.failed
        };
        assert!(!is_bad(&[identity("a", None, "1")]));
        assert!(!is_bad(&[
            identity("a", Some("a"), "1"),
            identity("b", Some("b"), "2")
        ]));
        assert!(is_bad(&[
            identity("a", Some("a"), "1"),
            identity("b", None, "2")
        ]));
        assert!(is_bad(&[
            identity("a", Some("a"), "1"),
            identity("b", Some("b"), "1")
        ]));
        assert!(is_bad(&[
            identity("a", Some("a"), "1"),
            identity("b", Some("a"), "2")
        ]));
    }
}
