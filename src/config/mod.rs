//! The configuration: one TOML file, each key overridable by the environment.
//!
//! A [`Config`] that exists has been checked as a whole; nothing behind it needs to check again. What a
//! value is used for is no business of this module, and secrets are in types that do not print. The keys
//! stand in [`keys::KEYS`] and are described in `docs/configuration.md`.

pub mod keys;
mod problem;
mod reader;
mod security;
mod source;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::network::{ForwardedHeader, Network};
use crate::domain::weak_password::PasswordRule;
use crate::domain::{Claims, SecondFactor, ServerName, sip};
use reader::Reader;

pub use problem::{Error, Origin, Problem};
pub use source::Environment;

/// Read when no other file is named. May be absent: the environment alone can be enough.
pub const DEFAULT_FILE: &str = "/etc/capconduit/capconduit.toml";

/// Everything the daemon is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// This daemon among others.
    pub node: Node,
    /// PostgreSQL.
    pub database: Database,
    /// The FastAGI server.
    pub agi: Agi,
    /// The HTTP API.
    pub http: Http,
    /// Passwords, keys and second factors of accounts.
    pub accounts: Accounts,
    /// The listener for metrics and health.
    pub ops: Ops,
    /// The listener for programs with the internal token, if they have their own.
    pub internal: Option<Internal>,
    /// What an account may have at most.
    pub quotas: Quotas,
    /// How sellers come to their numbers.
    pub dids: Dids,
    /// Decisions and their repair.
    pub routing: Routing,
    /// `[pjsip]`.
    pub pjsip: Pjsip,
    /// The Asterisk servers to observe. May be empty.
    pub asterisk: Vec<Asterisk>,
    /// Recordings.
    pub recording: Recording,
    /// Transcripts.
    pub transcription: Transcription,
    /// How long history is kept.
    pub retention: Retention,
    /// How the daemon ends.
    pub shutdown: Shutdown,
    /// What it says.
    pub log: Log,
    /// What may be meant so and had better not: key, and what to do.
    pub remarks: Vec<(String, String)>,
}

/// `[node]`.
#[derive(Debug, Clone)]
pub struct Node {
    /// Unique among the daemons on one database.
    pub name: String,
}

/// `[database]`.
#[derive(Debug, Clone)]
pub struct Database {
    /// Connection string that PostgreSQL's client library would take; known to parse.
    pub url: SecretString,
    /// As `url`, of a login that owns the tables: for `migrate` and the commands that change accounts. Not given: `url`.
    pub migrate_url: Option<SecretString>,
    /// Certificate authority to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Connections for decisions alone.
    pub route_connections: usize,
    /// Connections for settling and the sweep.
    pub background_connections: usize,
    /// Connections for requests to the HTTP API.
    pub api_connections: usize,
    /// Connections for searches, counts and statistics.
    pub heavy_connections: usize,
    /// Connections for exports.
    pub export_connections: usize,
}

/// `[agi]`.
#[derive(Debug, Clone)]
pub struct Agi {
    /// Where Asterisk asks.
    pub listen: SocketAddr,
    /// Sessions at once.
    pub max_sessions: usize,
}

/// `[http]`.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where the API is served.
    pub listen: SocketAddr,
    /// Connections at once.
    pub max_connections: usize,
    /// Of these: from one address.
    pub connections_per_address: usize,
    /// Certificate and key, where the API is served with TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// It may be reached from other hosts without TLS.
    pub insecure: bool,
    /// Address under which browsers reach the API, if not that of the request: cookies are `Secure` if it is
    /// https.
    pub public_url: Option<Url>,
    /// Origins of other pages that may use the API, as `https://console.example.com`.
    pub cors_origins: Vec<String>,
    /// Changes of what has a version are refused without `If-Match`.
    pub require_if_match: bool,
    /// Peers that are believed who asked them.
    pub trusted_proxies: Vec<Network>,
    /// Where these tell it.
    pub forwarded_header: ForwardedHeader,
    /// What internal callers must present.
    pub internal_token: Option<SecretString>,
    /// The token before that, still taken while callers change over.
    pub previous_internal_token: Option<SecretString>,
    /// A session ends when it was not used for so long.
    pub session_idle: Duration,
    /// A session ends at this age.
    pub session_age: Duration,
    /// How long the remember cookie opens new sessions.
    pub remember: Duration,
    /// Failed logins of a network at one account, or at ten times as many accounts, before it has to wait.
    pub login_attempts: u32,
    /// How long it waits.
    pub login_lock: Duration,
    /// Requests a minute of one account or key.
    pub requests_per_minute: u32,
    /// Requests a minute of one address without login.
    pub anonymous_requests_per_minute: u32,
}

/// `[accounts]`.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// How long an API key lives, unless it is said.
    pub key_default: Duration,
    /// The longest that one may live.
    pub key_max: Duration,
    /// What passwords must be.
    pub password_rule: PasswordRule,
    /// Whose second factor is asked for.
    pub second_factor: SecondFactor,
    /// What second factors are sealed with. Without it there can be none.
    pub sealing_key: Option<SecretString>,
    /// The key before that: what it sealed is still opened.
    pub previous_sealing_key: Option<SecretString>,
}

/// `[ops]`.
#[derive(Debug, Clone)]
pub struct Ops {
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub listen: SocketAddr,
}

/// `[internal]`.
#[derive(Debug, Clone)]
pub struct Internal {
    /// Where `/api/internal/*` is served, and nowhere else.
    pub listen: SocketAddr,
    /// Who may connect.
    pub allow: Vec<Network>,
    /// Connections at once.
    pub max_connections: usize,
}

/// `[quotas]`: what an account may have where staff said nothing else; without it as much as it likes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quotas {
    /// DIDs.
    pub dids: Option<u32>,
    /// Campaigns.
    pub campaigns: Option<u32>,
    /// Links, of all campaigns together.
    pub links: Option<u32>,
    /// API keys.
    pub keys: Option<u32>,
    /// Stored recordings, in GB of 10^9 bytes.
    pub recordings_gb: Option<u32>,
}

/// `[dids]`.
#[derive(Debug, Clone)]
pub struct Dids {
    /// Who may add numbers.
    pub claims: Claims,
}

/// `[pjsip]`.
#[derive(Debug, Clone)]
pub struct Pjsip {
    /// Contexts that the API lets an endpoint have, beside `capconduit-none`.
    pub contexts: Vec<String>,
}

/// `[routing]`.
#[derive(Debug, Clone)]
pub struct Routing {
    /// A decision later than this is no use to the dialplan.
    pub answer_deadline: Duration,
    /// How long one call may ring, all attempts together.
    pub ring_budget: Duration,
    /// A call older than this is over, whatever was seen of it.
    pub max_call: Duration,
    /// How often open calls are compared with live channels.
    pub sweep_interval: Duration,
}

/// One `[[asterisk]]`.
#[derive(Debug, Clone)]
pub struct Asterisk {
    /// Our name for it.
    pub name: ServerName,
    /// Of its HTTP server, with its prefix but without `/ari`.
    pub url: Url,
    /// ARI user.
    pub username: String,
    /// ARI password.
    pub password: SecretString,
}

/// `[recording]`.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Where Asterisk writes recordings. Without it nothing is recorded.
    pub directory: Option<PathBuf>,
    /// Where finished ones are kept.
    pub storage: Option<RecordingStorage>,
    /// Days they are kept at least, whatever their campaign says.
    pub retention_min_days: Option<u32>,
    /// Days they are kept at most.
    pub retention_max_days: Option<u32>,
}

/// Where finished recordings are kept.
#[derive(Debug, Clone)]
pub enum RecordingStorage {
    /// Below a directory.
    Directory(PathBuf),
    /// In S3-compatible object storage.
    S3(S3),
}

/// A place in S3-compatible object storage.
#[derive(Debug, Clone)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// What the names of its objects begin with; may be empty.
    pub prefix: String,
    /// The server, if not Amazon's.
    pub endpoint: Option<Url>,
    /// Region of the bucket.
    pub region: String,
    /// Key id and secret; without them those of the environment are used.
    pub credentials: Option<(String, SecretString)>,
}

/// `[transcription]`.
#[derive(Debug, Clone)]
pub struct Transcription {
    /// The transcriber's program, if not beside the daemon's.
    pub worker: Option<PathBuf>,
    /// Transcribers at once.
    pub workers: usize,
    /// What one of them may allocate, in bytes.
    pub worker_memory: u64,
    /// Longest recording transcribed.
    pub max_audio: Duration,
    /// How long transcribing may take, in lengths of the audio.
    pub time_factor: u32,
    /// Where models are installed.
    pub model_directory: PathBuf,
    /// Model directory by language, where it is not `<model_directory>/<language>`.
    pub models: BTreeMap<String, PathBuf>,
}

/// `[retention]`: whole months kept beside the current one; without it all are.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Of the call log.
    pub call_logs_months: Option<u32>,
    /// Of the targets tried.
    pub call_attempts_months: Option<u32>,
    /// Of the decisions.
    pub decisions_months: Option<u32>,
    /// Of the audit log.
    pub audit_log_months: Option<u32>,
    /// Of what concerns security.
    pub security_events_months: Option<u32>,
}

/// `[shutdown]`.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// How long begun work may take to end.
    pub drain: Duration,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// Form of a line.
    pub format: LogFormat,
    /// Filter directives; known to parse.
    pub level: String,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Reads and checks the whole configuration. Without `file`, [`DEFAULT_FILE`] is read if it exists.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Error> {
        let (path, text) = read_file(file)?;
        Self::parse(path, &text, environment)
    }

    /// Checks the text of a file together with the environment. `path` is for messages only.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, Error> {
        let mut reader = sources(path, text, environment)?;
        let config = reader.config();
        finish(config, reader.problems)
    }
}

impl Transcription {
    /// Reads and checks `[transcription]` alone, for what needs no database and no telephony: the rest need not be
    /// there yet. Otherwise as [`Config::load`].
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Error> {
        let (path, text) = read_file(file)?;
        let mut reader = sources(path, &text, environment)?;
        let transcription = reader.transcription();
        finish(transcription, reader.problems)
    }
}

/// The file to read and its text.
fn read_file(file: Option<&Path>) -> Result<(&Path, String), Error> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((path, text)),
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok((path, String::new()))
        }
        Err(source) => {
            let path = path.to_owned();
            Err(Error::Read { path, source })
        }
    }
}

fn sources<'a>(
    path: &'a Path,
    text: &str,
    environment: &'a Environment,
) -> Result<Reader<'a>, Error> {
    let mut problems = Vec::new();
    let from_file = source::from_file(path, text, &mut problems);
    let broken_file = !problems.is_empty() && from_file.is_empty();
    let from_environment = source::from_environment(environment, &mut problems);
    if broken_file {
        // Everything in it would be reported as missing.
        return Err(Error::Invalid(problems));
    }
    Ok(Reader::new(
        path,
        from_file,
        from_environment,
        environment,
        problems,
    ))
}

fn finish<T>(read: Option<T>, mut problems: Vec<Problem>) -> Result<T, Error> {
    match read {
        Some(read) if problems.is_empty() => Ok(read),
        _ => {
            // In the order of the file, then the rest as found.
            problems.sort_by_key(|problem| match &problem.origin {
                Some(Origin::File { line, .. }) => *line,
                _ => usize::MAX,
            });
            Err(Error::Invalid(problems))
        }
    }
}

/// One method per section. Each reads all its keys before it gives up on any: that is how all problems
/// are found at once.
impl Reader<'_> {
    fn config(&mut self) -> Option<Config> {
        let node = self.node();
        let database = self.database();
        let agi = self.agi();
        let http = self.http();
        let accounts = self.accounts();
        let ops = self.address("ops.listen").map(|listen| Ops { listen });
        let internal = self.internal();
        let mut quota = |path| self.number(path).map(|n| n as u32);
        let quotas = Quotas {
            dids: quota("quotas.dids"),
            campaigns: quota("quotas.campaigns"),
            links: quota("quotas.links"),
            keys: quota("quotas.keys"),
            recordings_gb: quota("quotas.recordings_gb"),
        };
        let expected = "open, confirm or staff";
        let claims = self.parsed("dids.claims", expected, Claims::parse);
        let routing = self.routing();
        let pjsip = self.pjsip();
        let asterisk = self.asterisk();
        let recording = self.recording();
        let transcription = self.transcription();
        let retention = self.retention();
        let drain = self.seconds("shutdown.drain_seconds");
        let log = self.log();
        let config = Config {
            node: node?,
            database: database?,
            agi: agi?,
            http: http?,
            accounts: accounts?,
            ops: ops?,
            internal,
            quotas,
            dids: Dids { claims: claims? },
            routing: routing?,
            pjsip: pjsip?,
            asterisk,
            recording: recording?,
            transcription: transcription?,
            retention,
            shutdown: Shutdown { drain: drain? },
            log: log?,
            remarks: Vec::new(),
        };
        self.refuse_shared_addresses(&config);
        self.refuse_insecure(&config);
        let remarks = self.remarks(&config);
        Some(Config { remarks, ..config })
    }

    fn node(&mut self) -> Option<Node> {
        let expected = "1 to 64 printable ASCII characters without blanks";
        let name = self.parsed("node.name", expected, ServerName::parse)?;
        Some(Node {
            name: name.to_string(),
        })
    }

    fn database(&mut self) -> Option<Database> {
        let url = self.secret("database.url");
        let migrate_url = self.secret("database.migrate_url");
        let ca_file = self.path("database.ca_file");
        let route_connections = self.count("database.route_connections");
        let background_connections = self.count("database.background_connections");
        let api_connections = self.count("database.api_connections");
        let heavy_connections = self.count("database.heavy_connections");
        let export_connections = self.count("database.export_connections");
        for (path, url) in [
            ("database.url", &url),
            ("database.migrate_url", &migrate_url),
        ] {
            let Some(url) = url else { continue };
            if url
                .expose_secret()
                .parse::<tokio_postgres::Config>()
                .is_ok()
            {
                continue;
            }
            // The parser's own words may quote a piece of the password.
            let message = "is not a PostgreSQL connection string: write \
                postgresql://USER:PASSWORD@HOST/DATABASE (with @ / ? # % in the password \
                percent-encoded; sslmode is disable, prefer or require) or \
                host=… user=… password=… dbname=…";
            let origin = self
                .origin(path)
                .or_else(|| self.origin(&format!("{path}_file")));
            self.note(path, origin, message);
        }
        Some(Database {
            url: url?,
            migrate_url,
            ca_file,
            route_connections: route_connections?,
            background_connections: background_connections?,
            api_connections: api_connections?,
            heavy_connections: heavy_connections?,
            export_connections: export_connections?,
        })
    }

    fn networks(&mut self, path: &str, expected: &str) -> Option<Vec<Network>> {
        self.parsed(path, expected, |text| {
            let parts = text.split(',');
            parts.map(|part| Network::parse(part.trim())).collect()
        })
    }

    fn agi(&mut self) -> Option<Agi> {
        let listen = self.address("agi.listen");
        let max_sessions = self.count("agi.max_sessions");
        Some(Agi {
            listen: listen?,
            max_sessions: max_sessions?,
        })
    }

    fn http(&mut self) -> Option<Http> {
        let listen = self.address("http.listen");
        let max_connections = self.count("http.max_connections");
        let connections_per_address = self.count("http.connections_per_address");
        let certificate = self.path("http.tls_certificate_file");
        let key = self.path("http.tls_key_file");
        if certificate.is_some() != key.is_some() {
            let path = "http.tls_certificate_file";
            let message = "and http.tls_key_file go together: set both or neither";
            self.note(path, self.origin(path), message);
        }
        let insecure = self.flag("http.insecure");
        let expected = "the http:// or https:// address under which browsers reach the API, such as \
                        https://calls.example.com";
        let public_url = self.parsed("http.public_url", expected, |text| {
            let url = Url::parse(text).ok()?;
            let plain = matches!(url.scheme(), "http" | "https") && url.has_host();
            (plain && url.path() == "/" && url.query().is_none()).then_some(url)
        });
        let expected = "origins of pages, separated by commas, such as https://console.example.com; http only of this \
                        machine, and no *";
        let cors_origins = self.parsed("http.cors_origins", expected, |text| {
            text.split(',')
                .map(|origin| origin_of(origin.trim()))
                .collect()
        });
        let require_if_match =
            self.parsed("http.if_match", "optional or required", |text| match text {
                "optional" => Some(false),
                "required" => Some(true),
                _ => None,
            });
        let trusted_proxies = self.networks(
            "http.trusted_proxies",
            "addresses or networks (10.0.0.0/8) of reverse proxies, separated by commas",
        );
        let expected = "x-forwarded-for or forwarded";
        let forwarded_header = self.parsed("http.forwarded_header", expected, |text| {
            match text.to_ascii_lowercase().as_str() {
                "x-forwarded-for" => Some(ForwardedHeader::XForwardedFor),
                "forwarded" => Some(ForwardedHeader::Forwarded),
                _ => None,
            }
        });
        let internal_token = self.secret("http.internal_token");
        let previous_internal_token = self.secret("http.previous_internal_token");
        let session_idle = self.number("http.session_idle_minutes");
        let session_age = self.number("http.session_hours");
        let remember = self.number("http.remember_days");
        let login_attempts = self.number("http.login_attempts");
        let login_lock = self.number("http.login_lock_minutes");
        let requests_per_minute = self.number("http.requests_per_minute");
        let anonymous = self.number("http.anonymous_requests_per_minute");
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Some(Http {
            listen: listen?,
            max_connections: max_connections?,
            connections_per_address: connections_per_address?,
            tls: certificate.zip(key),
            insecure: insecure?,
            public_url,
            cors_origins: cors_origins.unwrap_or_default(),
            require_if_match: require_if_match?,
            trusted_proxies: trusted_proxies.unwrap_or_default(),
            forwarded_header: forwarded_header?,
            internal_token,
            previous_internal_token,
            session_idle: minutes(session_idle?),
            session_age: minutes(session_age? * 60),
            remember: minutes(remember? * 24 * 60),
            login_attempts: login_attempts? as u32,
            login_lock: minutes(login_lock?),
            requests_per_minute: requests_per_minute? as u32,
            anonymous_requests_per_minute: anonymous? as u32,
        })
    }

    fn internal(&mut self) -> Option<Internal> {
        let listen = self.address("internal.listen");
        let allow = self.networks(
            "internal.allow",
            "addresses or networks (10.0.0.0/8) of the programs, separated by commas",
        );
        let max_connections = self.count("internal.max_connections");
        if listen.is_none() && allow.is_some() {
            let path = "internal.allow";
            let message = "says who may connect to internal.listen, which is not set";
            self.note(path, self.origin(path), message);
        }
        Some(Internal {
            listen: listen?,
            allow: allow.unwrap_or_default(),
            max_connections: max_connections?,
        })
    }

    fn accounts(&mut self) -> Option<Accounts> {
        let default_days = self.number("accounts.key_default_days");
        let max_days = self.number("accounts.key_max_days");
        let min_length = self.count("accounts.password_min_length");
        let expected = "refuse or allow";
        let refuse_common = self.parsed("accounts.common_passwords", expected, |text| match text {
            "refuse" => Some(true),
            "allow" => Some(false),
            _ => None,
        });
        let expected = "off, optional, staff or all";
        let second_factor = self.parsed("accounts.second_factor", expected, SecondFactor::parse);
        let sealing_key = self.sealing_key("accounts.sealing_key");
        let previous_sealing_key = self.sealing_key("accounts.previous_sealing_key");
        if sealing_key.is_none()
            && matches!(second_factor, Some(SecondFactor::Staff | SecondFactor::All))
        {
            let path = "accounts.second_factor";
            let message =
                "asks for second factors, which are kept sealed: set accounts.sealing_key too";
            self.note(path, self.origin(path), message);
        }
        let days = |n: u64| Duration::from_secs(n * 24 * 3_600);
        let (default_days, max_days) = (default_days?, max_days?);
        if default_days > max_days {
            let path = "accounts.key_default_days";
            let message = "must be at most accounts.key_max_days";
            self.note(path, self.origin(path), message);
        }
        Some(Accounts {
            key_default: days(default_days),
            key_max: days(max_days),
            password_rule: PasswordRule {
                min_length: min_length?,
                refuse_common: refuse_common?,
            },
            second_factor: second_factor?,
            sealing_key,
            previous_sealing_key,
        })
    }

    fn sealing_key(&mut self, path: &str) -> Option<SecretString> {
        let key = self.secret(path)?;
        if key.expose_secret().chars().count() < SEALING_KEY_MIN {
            let origin = self
                .origin(path)
                .or_else(|| self.origin(&format!("{path}_file")));
            let message = format!(
                "must have at least {SEALING_KEY_MIN} characters, made at random: `openssl rand -base64 32`"
            );
            self.note(path, origin, message);
        }
        Some(key)
    }

    fn routing(&mut self) -> Option<Routing> {
        let answer_deadline = self.number("routing.answer_deadline_ms");
        let ring_budget = self.seconds("routing.ring_budget_seconds");
        let max_call = self.seconds("routing.max_call_seconds");
        let sweep_interval = self.seconds("routing.sweep_interval_seconds");
        let routing = Routing {
            answer_deadline: Duration::from_millis(answer_deadline?),
            ring_budget: ring_budget?,
            max_call: max_call?,
            sweep_interval: sweep_interval?,
        };
        if routing.max_call <= routing.ring_budget {
            let path = "routing.max_call_seconds";
            let message = "must be more than routing.ring_budget_seconds";
            self.note(path, self.origin(path), message);
        }
        Some(routing)
    }

    fn pjsip(&mut self) -> Option<Pjsip> {
        let expected = "names of dialplan contexts, separated by commas";
        let contexts = self.parsed("pjsip.contexts", expected, |text| {
            let names: Vec<_> = sip::names(text).map(str::to_owned).collect();
            let sound = |name: &String| sip::is_name(name) && name.len() <= 80;
            names.iter().all(sound).then_some(names)
        })?;
        Some(Pjsip { contexts })
    }

    fn asterisk(&mut self) -> Vec<Asterisk> {
        let mut servers: Vec<Asterisk> = Vec::new();
        for n in 0..self.list_len("asterisk") {
            let name_key = format!("asterisk.{n}.name");
            let Some(server) = self.server(n) else {
                continue;
            };
            if servers.iter().any(|other| other.name == server.name) {
                let message = format!("{} is the name of another [[asterisk]]", server.name);
                self.note(&name_key, self.origin(&name_key), message);
            }
            servers.push(server);
        }
        servers
    }

    fn server(&mut self, n: usize) -> Option<Asterisk> {
        let key = |name: &str| format!("asterisk.{n}.{name}");
        let expected = "1 to 64 printable ASCII characters without blanks";
        let name = self.parsed(&key("name"), expected, ServerName::parse);
        let expected = "the http:// or https:// address of Asterisk's HTTP server, without user, \
                        password and query, such as http://127.0.0.1:8088";
        let url = self.parsed(&key("url"), expected, server_url);
        let expected = "a user name without colon";
        let username = self.parsed(&key("username"), expected, |text| {
            let fits = !text.is_empty() && !text.chars().any(|c| c == ':' || c.is_control());
            fits.then(|| text.to_owned())
        });
        let password = self.secret(&key("password"));
        Some(Asterisk {
            name: name?,
            url: url?,
            username: username?,
            password: password?,
        })
    }

    fn recording(&mut self) -> Option<Recording> {
        let directory = self.path("recording.directory");
        let endpoint = self.parsed(
            "recording.s3_endpoint",
            "the http:// or https:// address of an S3-compatible server",
            |text| {
                let url = Url::parse(text).ok()?;
                (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
            },
        );
        let region = self.text("recording.s3_region");
        let key_id = self.text("recording.s3_access_key_id");
        let secret = self.secret("recording.s3_secret_access_key");
        let expected = "an absolute directory or s3://BUCKET/PREFIX";
        let place = self.parsed("recording.storage", expected, |text| {
            if let Some(place) = text.strip_prefix("s3://") {
                let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
                return (!bucket.is_empty()).then(|| {
                    let prefix = prefix.trim_matches('/').to_owned();
                    Err((bucket.to_owned(), prefix))
                });
            }
            text.starts_with('/').then(|| Ok(PathBuf::from(text)))
        });
        if key_id.is_some() != secret.is_some() {
            let path = "recording.s3_access_key_id";
            let message = "and recording.s3_secret_access_key go together: set both or neither";
            self.note(path, self.origin(path), message);
        }
        let storage = match place {
            Some(Ok(directory)) => Some(RecordingStorage::Directory(directory)),
            Some(Err((bucket, prefix))) => Some(RecordingStorage::S3(S3 {
                bucket,
                prefix,
                endpoint,
                region: region?,
                credentials: key_id.zip(secret),
            })),
            // Beside what Asterisk writes: on the same file system, so that storing is renaming.
            None => directory
                .as_ref()
                .map(|d| RecordingStorage::Directory(d.join("stored"))),
        };
        let mut days = |path| self.number(path).and_then(|n| u32::try_from(n).ok());
        let retention_min_days = days("recording.retention_min_days");
        let retention_max_days = days("recording.retention_max_days");
        if let (Some(fewest), Some(most)) = (retention_min_days, retention_max_days)
            && fewest > most
        {
            let path = "recording.retention_min_days";
            let message = "must not be more than recording.retention_max_days";
            self.note(path, self.origin(path), message);
        }
        Some(Recording {
            directory,
            storage,
            retention_min_days,
            retention_max_days,
        })
    }

    fn transcription(&mut self) -> Option<Transcription> {
        let worker = self.path("transcription.worker");
        let workers = self.count("transcription.workers");
        let memory = self.number("transcription.worker_memory_mib");
        let minutes = self.number("transcription.max_audio_minutes");
        let time_factor = self.number("transcription.time_factor");
        let model_directory = self.path("transcription.model_directory");
        let table = "transcription.models";
        let models = self.names_in(table).into_iter().filter_map(|language| {
            let directory = self.path(&format!("{table}.{language}"))?;
            Some((language, directory))
        });
        let models = models.collect();
        Some(Transcription {
            worker,
            workers: workers?,
            worker_memory: memory? << 20,
            max_audio: Duration::from_secs(minutes? * 60),
            time_factor: time_factor? as u32,
            model_directory: model_directory?,
            models,
        })
    }

    fn retention(&mut self) -> Retention {
        let mut months = |path| self.number(path).and_then(|n| u32::try_from(n).ok());
        Retention {
            call_logs_months: months("retention.call_logs_months"),
            call_attempts_months: months("retention.call_attempts_months"),
            decisions_months: months("retention.decisions_months"),
            audit_log_months: months("retention.audit_log_months"),
            security_events_months: months("retention.security_events_months"),
        }
    }

    fn log(&mut self) -> Option<Log> {
        let format = self.parsed("log.format", "auto, human or json", |text| match text {
            "auto" => Some(LogFormat::Auto),
            "human" => Some(LogFormat::Human),
            "json" => Some(LogFormat::Json),
            _ => None,
        });
        let expected = "a level (error, warn, info, debug, trace) or filter directives such as \
                        info,capconduit::asterisk::ari=debug";
        let level = self.parsed("log.level", expected, |text| {
            let filter = tracing_subscriber::EnvFilter::builder().parse(text);
            filter.is_ok().then(|| text.to_owned())
        });
        Some(Log {
            format: format?,
            level: level?,
        })
    }

    fn refuse_shared_addresses(&mut self, config: &Config) {
        let mut listeners = vec![
            ("agi.listen", config.agi.listen),
            ("http.listen", config.http.listen),
            ("ops.listen", config.ops.listen),
        ];
        listeners.extend(
            config
                .internal
                .iter()
                .map(|i| ("internal.listen", i.listen)),
        );
        for (n, (path, address)) in listeners.iter().enumerate() {
            for (other, taken) in &listeners[..n] {
                let same_host = address.ip() == taken.ip()
                    || address.ip().is_unspecified()
                    || taken.ip().is_unspecified();
                if address.port() != 0 && address.port() == taken.port() && same_host {
                    let message = format!("{address} collides with {other}");
                    self.note(path, self.origin(path), message);
                }
            }
        }
    }
}

/// The fewest characters of a key to seal with: 32 letters and digits are 160 bits.
const SEALING_KEY_MIN: usize = 32;

/// Takes the base address with or without the `/ari` that people copy along.
/// An origin as browsers write it. Its pages may use the API with the cookies of whoever sees them: so only https, but
/// for this machine's own.
fn origin_of(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let own = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let sound = match url.scheme() {
        "https" => url.has_host(),
        "http" => own,
        _ => false,
    };
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let bare = url.username().is_empty() && url.password().is_none() && !text.contains('*');
    (sound && plain && bare).then(|| url.origin().ascii_serialization())
}

fn server_url(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/ari").unwrap_or(path).to_owned();
    url.set_path(&path);
    plain.then_some(url)
}
