//! Every key there is, with its default and range, in one table.
//!
//! The reader takes defaults from here, the check for unknown keys and the test of
//! `docs/configuration.md` go by it: a key cannot be read without standing here. It must not know what
//! a key is used for.

/// What holds when a key is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This value, written as in an environment variable.
    Value(&'static str),
    /// Nothing: the feature behind it is off.
    Nothing,
    /// The name of the host.
    HostName,
    /// An error: the daemon cannot work without it.
    Required,
}

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted path. `<n>` stands for the position in a list, `<language>` for a name of the user's.
    pub path: &'static str,
    /// What holds when it is not set.
    pub fallback: Fallback,
    /// Smallest and largest value of a number.
    pub range: Option<(u64, u64)>,
    /// A secret may also come from the file named in `<key>_file` or from a systemd credential.
    pub secret: bool,
}

const fn key(path: &'static str, fallback: Fallback) -> Key {
    Key {
        path,
        fallback,
        range: None,
        secret: false,
    }
}

const fn number(path: &'static str, default: &'static str, low: u64, high: u64) -> Key {
    Key {
        path,
        fallback: Fallback::Value(default),
        range: Some((low, high)),
        secret: false,
    }
}

const fn optional_number(path: &'static str, low: u64, high: u64) -> Key {
    Key {
        path,
        fallback: Fallback::Nothing,
        range: Some((low, high)),
        secret: false,
    }
}

const fn secret(path: &'static str, fallback: Fallback) -> Key {
    Key {
        path,
        fallback,
        range: None,
        secret: true,
    }
}

/// All keys, in the order of the document.
pub const KEYS: &[Key] = &[
    key("node.name", Fallback::HostName),
    secret("database.url", Fallback::Required),
    secret("database.migrate_url", Fallback::Nothing),
    key("database.ca_file", Fallback::Nothing),
    number("database.route_connections", "10", 1, 100),
    number("database.background_connections", "4", 1, 100),
    number("database.api_connections", "8", 1, 100),
    number("database.heavy_connections", "4", 1, 100),
    number("database.export_connections", "2", 1, 20),
    key("agi.listen", Fallback::Value("127.0.0.1:4573")),
    number("agi.max_sessions", "2000", 1, 20_000),
    key("http.listen", Fallback::Value("127.0.0.1:8080")),
    number("http.max_connections", "1000", 1, 20_000),
    number("http.connections_per_address", "64", 1, 20_000),
    key("http.tls_certificate_file", Fallback::Nothing),
    key("http.tls_key_file", Fallback::Nothing),
    key("http.insecure", Fallback::Value("false")),
    key("http.public_url", Fallback::Nothing),
    key("http.cors_origins", Fallback::Nothing),
    key("http.if_match", Fallback::Value("optional")),
    key("http.trusted_proxies", Fallback::Nothing),
    key("http.forwarded_header", Fallback::Value("x-forwarded-for")),
    secret("http.internal_token", Fallback::Nothing),
    secret("http.previous_internal_token", Fallback::Nothing),
    number("http.session_idle_minutes", "720", 1, 10_080),
    number("http.session_hours", "168", 1, 8_760),
    number("http.remember_days", "30", 1, 365),
    number("http.login_attempts", "10", 1, 1_000),
    number("http.login_lock_minutes", "15", 1, 1_440),
    number("http.requests_per_minute", "600", 1, 1_000_000),
    number("http.anonymous_requests_per_minute", "600", 1, 1_000_000),
    key("internal.listen", Fallback::Nothing),
    key("internal.allow", Fallback::Nothing),
    number("internal.max_connections", "200", 1, 20_000),
    number("accounts.key_default_days", "90", 1, 3_650),
    number("accounts.key_max_days", "365", 1, 3_650),
    number("accounts.password_min_length", "8", 8, 128),
    key("accounts.common_passwords", Fallback::Value("refuse")),
    key("accounts.second_factor", Fallback::Value("optional")),
    secret("accounts.sealing_key", Fallback::Nothing),
    secret("accounts.previous_sealing_key", Fallback::Nothing),
    key("ops.listen", Fallback::Value("127.0.0.1:9464")),
    optional_number("quotas.dids", 0, 10_000_000),
    optional_number("quotas.campaigns", 0, 10_000_000),
    optional_number("quotas.links", 0, 10_000_000),
    optional_number("quotas.keys", 0, 100),
    optional_number("quotas.recordings_gb", 0, 1_000_000),
    key("dids.claims", Fallback::Value("open")),
    number("routing.answer_deadline_ms", "1200", 100, 1400),
    number("routing.ring_budget_seconds", "120", 5, 3600),
    number("routing.max_call_seconds", "14400", 60, 86_400),
    number("routing.sweep_interval_seconds", "5", 1, 30),
    key("pjsip.contexts", Fallback::Value("capconduit-none")),
    key("asterisk.<n>.name", Fallback::Required),
    key("asterisk.<n>.url", Fallback::Required),
    key("asterisk.<n>.username", Fallback::Required),
    secret("asterisk.<n>.password", Fallback::Required),
    key("recording.directory", Fallback::Nothing),
    key("recording.storage", Fallback::Nothing),
    key("recording.s3_endpoint", Fallback::Nothing),
    key("recording.s3_region", Fallback::Value("us-east-1")),
    key("recording.s3_access_key_id", Fallback::Nothing),
    secret("recording.s3_secret_access_key", Fallback::Nothing),
    optional_number("recording.retention_min_days", 1, 36_500),
    optional_number("recording.retention_max_days", 1, 36_500),
    key("transcription.worker", Fallback::Nothing),
    number("transcription.workers", "1", 1, 64),
    number("transcription.worker_memory_mib", "4096", 384, 262_144),
    number("transcription.max_audio_minutes", "240", 1, 1_440),
    number("transcription.time_factor", "2", 1, 20),
    key(
        "transcription.model_directory",
        Fallback::Value("/var/lib/capconduit/models"),
    ),
    key("transcription.models.<language>", Fallback::Nothing),
    optional_number("retention.call_logs_months", 1, 600),
    optional_number("retention.call_attempts_months", 1, 600),
    optional_number("retention.decisions_months", 1, 600),
    optional_number("retention.audit_log_months", 1, 600),
    optional_number("retention.security_events_months", 1, 600),
    number("shutdown.drain_seconds", "30", 0, 600),
    key("log.format", Fallback::Value("auto")),
    key("log.level", Fallback::Value("info")),
];

/// Suffix of the keys that name a file to read a secret from.
pub(super) const FILE_SUFFIX: &str = "_file";

/// More servers than any site has; keeps a typing error from asking for four billion.
const MAX_LIST: usize = 64;

/// What a path in a file or variable name turns out to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// A key.
    Key,
    /// The `_file` companion of a secret key.
    FileOf,
    /// A table that holds keys.
    Table,
    /// A list of tables (`[[asterisk]]`).
    List,
    /// Nothing we know.
    Nothing,
}

/// Looks a path up.
pub(super) fn known(path: &str) -> Known {
    if find(path).is_some() {
        return Known::Key;
    }
    let of_file = path.strip_suffix(FILE_SUFFIX).and_then(find);
    if of_file.is_some_and(|key| key.secret) {
        return Known::FileOf;
    }
    let depth = path.split('.').count();
    for key in KEYS {
        let mut rest = key.path.split('.').skip(depth);
        if let Some(next) = rest.next()
            && key
                .path
                .split('.')
                .zip(path.split('.'))
                .all(|(p, s)| segment_matches(p, s))
        {
            return if next == "<n>" {
                Known::List
            } else {
                Known::Table
            };
        }
    }
    Known::Nothing
}

/// The key a concrete path is an instance of.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| {
        key.path.split('.').count() == path.split('.').count()
            && key
                .path
                .split('.')
                .zip(path.split('.'))
                .all(|(p, s)| segment_matches(p, s))
    })
}

fn segment_matches(pattern: &str, segment: &str) -> bool {
    match pattern {
        "<n>" => segment
            .parse::<usize>()
            .is_ok_and(|n| n < MAX_LIST && n.to_string() == segment),
        "<language>" => is_language(segment),
        _ => pattern == segment,
    }
}

/// `en`, `en-us`, `cmn`: what transcripts are labelled with.
fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let primary = parts.next().unwrap_or_default();
    (2..=3).contains(&primary.len())
        && primary.bytes().all(|b| b.is_ascii_lowercase())
        && parts.all(|part| {
            (2..=8).contains(&part.len())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

/// The names a table may hold, for the message about one it may not.
pub(super) fn names_in(table: &str) -> Vec<&'static str> {
    let depth = if table.is_empty() {
        0
    } else {
        table.split('.').count()
    };
    let mut names: Vec<&str> = KEYS
        .iter()
        .filter(|key| {
            depth == 0
                || key
                    .path
                    .split('.')
                    .zip(table.split('.'))
                    .all(|(p, s)| segment_matches(p, s))
        })
        .filter_map(|key| key.path.split('.').nth(depth))
        .collect();
    names.dedup();
    names
}

/// The environment variable of a path.
pub fn variable(path: &str) -> String {
    let name = path.replace('-', "_").replace('.', "__").to_uppercase();
    format!("{VARIABLE_PREFIX}{name}")
}

/// What the names of our environment variables begin with.
pub(super) const VARIABLE_PREFIX: &str = "CAPCONDUIT_";

/// The path an environment variable sets: the reverse of [`variable`].
pub(super) fn path_of_variable(name: &str) -> Option<String> {
    let rest = name.strip_prefix(VARIABLE_PREFIX)?;
    if !rest.contains("__") {
        return None;
    }
    let path = rest
        .split("__")
        .collect::<Vec<_>>()
        .join(".")
        .to_lowercase();
    // A variable name cannot hold the hyphen of `en-us`.
    Some(match path.strip_prefix("transcription.models.") {
        Some(language) => format!("transcription.models.{}", language.replace('_', "-")),
        None => path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_its_variable_lead_to_each_other() {
        for key in KEYS {
            let path = key.path.replace("<n>", "3").replace("<language>", "en-us");
            assert_eq!(path_of_variable(&variable(&path)), Some(path.clone()));
            assert_eq!(find(&path).map(|found| found.path), Some(key.path));
        }
    }

    #[test]
    fn tables_lists_and_strangers_are_told_apart() {
        assert!(matches!(known("agi"), Known::Table));
        assert!(matches!(known("asterisk"), Known::List));
        assert!(matches!(known("asterisk.0"), Known::Table));
        assert!(matches!(known("transcription.models"), Known::Table));
        assert!(matches!(known("database.url_file"), Known::FileOf));
        for stranger in [
            "agii",
            "agi.listen_file",
            "agi.listen.port",
            "asterisk.64.url",
            "asterisk.00.url",
            "transcription.models.English",
        ] {
            assert!(matches!(known(stranger), Known::Nothing), "{stranger}");
        }
    }
}
