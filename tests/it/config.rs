//! The configuration as an operator meets it: file, environment, credentials, and their description.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use capconduit::config::keys::{Fallback, KEYS, variable};
use capconduit::config::{Config, Environment, Error, LogFormat, Transcription};
use secrecy::ExposeSecret as _;

const FILE: &str = "/etc/capconduit/capconduit.toml";
const URL: (&str, &str) = ("CAPCONDUIT_DATABASE__URL", "postgresql://u:p@127.0.0.1/db");

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, Error> {
    let environment = Environment::new(variables.iter().copied(), Some("host1"));
    Config::parse(Path::new(FILE), text, &environment)
}

fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match parse(text, variables) {
        Err(Error::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

#[test]
fn one_variable_is_enough_to_begin_with() {
    let config = parse("", &[URL]).unwrap();
    assert_eq!(config.node.name, "host1");
    assert_eq!(config.agi.listen.to_string(), "127.0.0.1:4573");
    assert_eq!(config.routing.answer_deadline, Duration::from_millis(1200));
    assert_eq!(config.log.format, LogFormat::Auto);
    assert!(config.asterisk.is_empty());
}

#[test]
fn history_is_kept_unless_a_number_of_months_says_otherwise() {
    let config = parse("", &[URL]).unwrap();
    assert_eq!(config.retention.decisions_months, None);
    let file = "[retention]\ndecisions_months = 6\ncall_logs_months = 36\n";
    let config = parse(file, &[URL]).unwrap();
    assert_eq!(config.retention.decisions_months, Some(6));
    assert_eq!(config.retention.call_logs_months, Some(36));
    assert_eq!(config.retention.audit_log_months, None);
    let found = problems("[retention]\naudit_log_months = 0\n", &[URL]);
    assert!(found[0].contains("from 1 to 600"), "{found:?}");
}

#[test]
fn keys_end_and_second_factors_need_a_key_to_be_sealed_with() {
    let key = "sealing_key = \"0123456789abcdef0123456789abcdef\"";
    let accounts = |lines: &str| format!("[accounts]\n{lines}\n");
    let config = parse("", &[URL]).unwrap();
    assert_eq!(
        config.accounts.key_default,
        Duration::from_secs(90 * 86_400)
    );
    assert!(config.accounts.password_rule.refuse_common);
    assert!(config.accounts.sealing_key.is_none());
    for mode in ["staff", "all"] {
        let mode = format!("second_factor = \"{mode}\"");
        let found = problems(&accounts(&mode), &[URL]);
        assert!(found[0].contains("accounts.sealing_key"), "{found:?}");
        let config = parse(&accounts(&format!("{mode}\n{key}")), &[URL]).unwrap();
        assert!(config.accounts.sealing_key.is_some());
    }
    for (lines, said) in [
        ("sealing_key = \"short\"", "at least 32 characters"),
        ("previous_sealing_key = \"short\"", "at least 32 characters"),
        ("key_default_days = 400", "at most accounts.key_max_days"),
        ("key_max_days = 0", "from 1 to 3650"),
        ("password_min_length = 7", "from 8 to 128"),
        ("common_passwords = \"no\"", "refuse or allow"),
        ("second_factor = \"yes\"", "off, optional, staff or all"),
    ] {
        let found = problems(&accounts(lines), &[URL]);
        assert!(found[0].contains(said), "{found:?}");
        assert!(!found[0].contains("short"), "{found:?}");
    }
    let found = problems("[database]\nmigrate_url = \"s3cret@\"\n", &[URL]);
    assert!(
        found[0].contains("is not a PostgreSQL connection string"),
        "{found:?}"
    );
    assert!(!found[0].contains("s3cret"), "{found:?}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = r#"
        [database]
        url_file = "/nowhere"
        route_connections = 0x10
        [[asterisk]]
        name = "pbx1"
        url = "http://10.0.0.1:8088/pbx/ari/"
        username = "cc"
        password = "from the file"
        [transcription.models]
        en = "/models/en"
    "#;
    let variables = [
        URL,
        ("CAPCONDUIT_ASTERISK__0__PASSWORD", "from the environment"),
        ("CAPCONDUIT_ASTERISK__1__NAME", "pbx2"),
        ("CAPCONDUIT_ASTERISK__1__URL", "https://pbx2"),
        ("CAPCONDUIT_ASTERISK__1__USERNAME", "cc"),
        ("CAPCONDUIT_ASTERISK__1__PASSWORD", "second"),
        ("CAPCONDUIT_TRANSCRIPTION__MODELS__EN_US", "/models/en-us"),
        ("CAPCONDUIT_LOG__LEVEL", ""),
        ("CAPCONDUIT_CONFIG", "belongs to the command line"),
    ];
    let config = parse(file, &variables).unwrap();
    assert_eq!(config.database.route_connections, 16);
    assert_eq!(config.database.url.expose_secret(), URL.1);
    let [first, second] = &config.asterisk[..] else {
        panic!("two servers expected");
    };
    assert_eq!(first.url.as_str(), "http://10.0.0.1:8088/pbx");
    assert_eq!(first.password.expose_secret(), "from the environment");
    assert_eq!(second.name.as_str(), "pbx2");
    assert_eq!(config.transcription.models.len(), 2);
    assert!(config.transcription.models.contains_key("en-us"));
    assert_eq!(config.log.level, "info");
}

#[test]
fn all_problems_are_reported_at_once_with_their_places() {
    let file = "[agi]\nlisten = \"localhost\"\nlistn = 1\n[agii]\n[asterisk]\nname = 3\n\
                [ops]\nlisten = 5\n[routing]\nanswer_deadline_ms = 2000\nmax_call_seconds = \"x\"\n";
    let found = problems(
        file,
        &[
            ("CAPCONDUIT_AGI__LISTN", "x"),
            ("CAPCONDUIT_AGI_MAX_SESSIONS", "5"),
            ("CAPCONDUIT_LOG__FORMAT", "xml"),
        ],
    )
    .join("\n");
    for expected in [
        "capconduit.toml:2: agi.listen: must be ADDRESS:PORT such as 127.0.0.1:4573 or [::1]:4573, \
         not \"localhost\"",
        "capconduit.toml:3: agi.listn: unknown key; in [agi] there are: listen, max_sessions",
        "capconduit.toml:4: agii: unknown section; there are: node, database,",
        "capconduit.toml:5: asterisk: must be a list: write [[asterisk]]",
        "capconduit.toml:8: ops.listen: must be a string in quotation marks, not a whole number",
        "capconduit.toml:10: routing.answer_deadline_ms: must be a whole number from 100 to 1400, \
         not 2000",
        "capconduit.toml:11: routing.max_call_seconds: must be a whole number from 60 to 86400, not \
         the string \"x\"",
        "CAPCONDUIT_AGI__LISTN: unknown setting; in [agi] there are: listen, max_sessions",
        "CAPCONDUIT_AGI_MAX_SESSIONS: sets nothing; did you mean CAPCONDUIT_AGI__MAX_SESSIONS?",
        "CAPCONDUIT_LOG__FORMAT: log.format: must be auto, human or json, not \"xml\"",
        "database.url: missing (required): write `url = …` under [database] in \
         /etc/capconduit/capconduit.toml, or set CAPCONDUIT_DATABASE__URL",
    ] {
        assert!(found.contains(expected), "no {expected:?} in:\n{found}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_reported_without_quoting_it() {
    let found = problems("[database]\nurl = \"postgres://u:hunter2@h\n", &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("capconduit.toml:2: not TOML"),
        "{found:?}"
    );
    assert!(!found[0].contains("hunter2"), "{found:?}");
}

#[test]
fn odd_shapes_are_problems_too() {
    for (text, expected) in [
        ("\"agi.listen\" = \"127.0.0.1:1\"", "unknown section"),
        ("agi = 5", "agi: must be a table [agi], not a whole number"),
        (
            "asterisk = [1]",
            "asterisk.0: must be a table, not a whole number",
        ),
        ("[[asterisk]]", "asterisk.0: is empty"),
        (
            "[[agi]]\nlisten = 1",
            "agi: must be a table [agi], not a list",
        ),
        ("agi.listen.port = 1", "agi.listen: must be a string"),
        ("agi.max_sessions = 99999999999999999999", "from 1 to 20000"),
        ("agi.max_sessions = -1", "from 1 to 20000, not -1"),
    ] {
        let found = problems(text, &[URL]).join("\n");
        assert!(found.contains(expected), "no {expected:?} in:\n{found}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_and_no_variable_stops_the_reader(text in "\\PC{0,60}\n[\\[\\]a-z_.= \"0-9\n]{0,120}", value in "\\PC{0,40}") {
        let variables = [
            ("CAPCONDUIT_DATABASE__URL", value.as_str()),
            ("CAPCONDUIT_ASTERISK__3__URL", &value),
            ("CAPCONDUIT_AGI__LISTEN", &value),
            ("CAPCONDUIT_LOG__LEVEL", &value),
        ];
        drop(parse(&text, &variables));
    }
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let server =
        "[[asterisk]]\nname = \"pbx\"\nurl = \"http://h\"\nusername = \"u\"\npassword = \"p\"\n";
    let file = format!(
        "{server}{server}[agi]\nlisten = \"0.0.0.0:9464\"\n\
         [routing]\nring_budget_seconds = 600\nmax_call_seconds = 600\n"
    );
    let found = problems(&file, &[URL]).join("\n");
    for expected in [
        "asterisk.1.name: pbx is the name of another [[asterisk]]",
        "ops.listen: 127.0.0.1:9464 collides with agi.listen",
        "routing.max_call_seconds: must be more than routing.ring_budget_seconds",
    ] {
        assert!(found.contains(expected), "no {expected:?} in:\n{found}");
    }
}

#[test]
fn pages_of_other_sites_are_listed_one_by_one_and_over_https() {
    let listed = |text: &str| {
        let file = format!("[http]\ncors_origins = \"{text}\"\n");
        parse(&file, &[URL]).map(|config| config.http.cors_origins)
    };
    assert_eq!(parse("", &[URL]).unwrap().http.cors_origins, [""; 0]);
    assert_eq!(
        listed("https://Console.example.com, http://localhost:5173,https://b.example:8443/")
            .unwrap(),
        [
            "https://console.example.com",
            "http://localhost:5173",
            "https://b.example:8443"
        ]
    );
    for bad in [
        "*",
        "https://*.example.com",
        "http://console.example.com",
        "https://a.example/app",
        "null",
        "a.example",
        "https://u:p@a.example",
        "https://a.example?x",
        "https://a.example,",
        "ftp://a.example",
    ] {
        assert!(listed(bad).is_err(), "{bad}");
    }
}

#[test]
fn if_match_is_optional_or_required() {
    let required = |text: &str| {
        let file = format!("[http]\nif_match = \"{text}\"\n");
        parse(&file, &[URL]).map(|config| config.http.require_if_match)
    };
    assert!(!parse("", &[URL]).unwrap().http.require_if_match);
    assert!(required("required").unwrap());
    assert!(!required("optional").unwrap());
    assert!(required("true").is_err());
}

#[test]
fn what_anybody_on_the_network_could_use_does_not_start_in_silence() {
    const OPEN: &str = "[http]\nlisten = \"0.0.0.0:8080\"\n";
    let found = problems(OPEN, &[URL]).join("\n");
    for way_out in [
        "http.tls_certificate_file",
        "http.public_url",
        "http.insecure = true",
    ] {
        assert!(found.contains(way_out), "{found}");
    }
    for secure in [
        "insecure = true\n",
        "public_url = \"https://calls.example\"\n",
        "tls_certificate_file = \"/c\"\ntls_key_file = \"/k\"\n",
    ] {
        let config = parse(&format!("{OPEN}{secure}"), &[URL]).unwrap();
        let told = config.remarks.iter().any(|(key, _)| key == "http.insecure");
        assert_eq!(told, secure.starts_with("insecure"), "{:?}", config.remarks);
    }
    // A public address without TLS is no way out.
    let plain = format!("{OPEN}public_url = \"http://calls.example\"\n");
    assert!(problems(&plain, &[URL])[0].contains("http.listen"));
    let half = problems("[http]\ntls_key_file = \"/k\"\n", &[URL]);
    assert!(half[0].contains("go together"), "{half:?}");
    let quoted = problems("[http]\ninsecure = \"yes\"\n", &[URL]);
    assert!(quoted[0].contains("true or false"), "{quoted:?}");
}

#[test]
fn a_short_token_is_refused_where_others_could_try_it_and_told_elsewhere() {
    let short = ("CAPCONDUIT_HTTP__INTERNAL_TOKEN", "x");
    let config = parse("", &[URL, short]).unwrap();
    assert_eq!(config.remarks[0].0, "http.internal_token");
    let open = "[http]\nlisten = \"0.0.0.0:8080\"\ninsecure = true\n";
    let found = problems(open, &[URL, short]);
    assert!(found[0].contains("shorter than 32 characters"), "{found:?}");
    let long = (
        "CAPCONDUIT_HTTP__INTERNAL_TOKEN",
        "0123456789abcdef0123456789abcdef",
    );
    let config = parse("", &[URL, long]).unwrap();
    assert!(config.remarks.is_empty(), "{:?}", config.remarks);
}

#[test]
fn a_database_elsewhere_is_reached_with_tls_or_by_saying_so() {
    let remote = (
        "CAPCONDUIT_DATABASE__URL",
        "postgresql://u:p4ss@db.example/calls",
    );
    let found = problems("", &[remote]);
    assert!(found[0].contains("sslmode=require"), "{found:?}");
    assert!(!found[0].contains("p4ss"), "{found:?}");
    let said = (
        "CAPCONDUIT_DATABASE__URL",
        "postgresql://u:p@db.example/calls?sslmode=disable",
    );
    parse("", &[said]).unwrap();
    parse("[database]\nca_file = \"/ca.pem\"\n", &[remote]).unwrap();
}

#[test]
fn secrets_that_every_user_may_read_are_told_of() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("capconduit.toml");
    let environment = Environment::new(std::iter::empty::<(&str, &str)>(), Some("host1"));
    let remarks = |mode, text: &str| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        Config::load(Some(&file), &environment).unwrap().remarks
    };
    let with_secret = format!("[database]\nurl = \"{}\"\n", URL.1);
    let told = remarks(0o644, &with_secret);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.contains("chmod 640"), "{told:?}");
    assert!(remarks(0o640, &with_secret).is_empty());
}

#[test]
fn a_port_without_a_password_that_others_reach_is_told_of() {
    let config = parse("[agi]\nlisten = \"0.0.0.0:4573\"\n", &[URL]).unwrap();
    assert_eq!(config.remarks[0].0, "agi.listen");
}

#[test]
fn a_server_that_lacks_a_key_is_reported_with_both_ways_to_set_it() {
    let found = problems("", &[URL, ("CAPCONDUIT_ASTERISK__0__URL", "ftp://h")]).join("\n");
    assert!(found.contains("CAPCONDUIT_ASTERISK__0__NAME"), "{found}");
    assert!(found.contains("[[asterisk]] (number 0"), "{found}");
    assert!(found.contains("CAPCONDUIT_ASTERISK__0__URL: asterisk.0.url: must be the http"));
}

#[test]
fn secrets_come_from_files_and_credentials_too() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "s3cret token\r\n").unwrap();
    std::fs::write(
        directory.path().join("database.url"),
        "host=/run/pg dbname=x\n",
    )
    .unwrap();
    let path = directory.path().to_str().unwrap();
    let variables = [
        ("CREDENTIALS_DIRECTORY", path),
        (
            "CAPCONDUIT_HTTP__INTERNAL_TOKEN_FILE",
            token.to_str().unwrap(),
        ),
    ];

    let config = parse("", &variables).unwrap();
    assert_eq!(config.database.url.expose_secret(), "host=/run/pg dbname=x");
    let token = config.http.internal_token.as_ref().unwrap();
    assert_eq!(token.expose_secret(), "s3cret token");
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("s3cret") && !shown.contains("/run/pg"),
        "{shown}"
    );

    let twice = problems(
        "[database]\nurl = \"host=h\"\nurl_file = \"/x\"\n",
        &variables,
    );
    assert!(
        twice
            .join("\n")
            .contains("is set together with database.url_file")
    );
    assert!(twice.join("\n").contains("is also given as credential"));
}

#[test]
fn a_secret_that_cannot_be_used_is_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "hunter2\nhunter3\n").unwrap();
    let found = problems(
        "[http]\ninternal_token = 42424242\n",
        &[
            (
                "CAPCONDUIT_DATABASE__URL",
                "postgres://u:hunter2@h:hunter3/d?hunter2=1",
            ),
            ("CAPCONDUIT_ASTERISK__0__NAME", "a"),
            ("CAPCONDUIT_ASTERISK__0__URL", "http://u:hunter2@h"),
            ("CAPCONDUIT_ASTERISK__0__USERNAME", "u"),
            (
                "CAPCONDUIT_ASTERISK__0__PASSWORD_FILE",
                file.to_str().unwrap(),
            ),
        ],
    )
    .join("\n");
    assert!(found.contains("database.url: is not a PostgreSQL connection string"));
    assert!(found.contains("asterisk.0.password_file: must be one line of text"));
    assert!(found.contains("http.internal_token: must be a string in quotation marks"));
    for secret in ["hunter2", "hunter3", "42424242"] {
        assert!(!found.contains(secret), "{secret} in:\n{found}");
    }
}

#[test]
fn a_named_file_must_exist_and_the_default_one_need_not() {
    let environment = Environment::new([URL], Some("host1"));
    let missing = Path::new("/nonexistent/capconduit.toml");
    assert!(matches!(
        Config::load(Some(missing), &environment),
        Err(Error::Read { .. })
    ));
    if !Path::new(FILE).exists() {
        assert!(Config::load(None, &environment).is_ok());
    }
}

#[test]
fn the_shipped_example_is_valid_and_shows_the_defaults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("systemd/capconduit.toml")).unwrap();
    parse(&text, &[URL]).unwrap();

    for key in KEYS {
        let name = key.path.rsplit('.').next().unwrap_or_default();
        let shown = match key.fallback {
            Fallback::Value(value) if key.range.is_some() || value == "false" => {
                format!("# {name} = {value}\n")
            }
            Fallback::Value(value) => format!("# {name} = \"{value}\"\n"),
            _ => continue,
        };
        assert!(text.contains(&shown), "no {shown:?} in the example");
    }
    // What is commented out must be as valid as the rest.
    let live: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(|line| line.starts_with('[') || line.contains(" = "))
        .filter(|line| !line.contains("_file") && !line.starts_with("url = \"host"))
        .collect();
    parse(
        &live.join("\n"),
        &[
            ("CAPCONDUIT_ASTERISK__0__PASSWORD", "p"),
            ("CAPCONDUIT_RECORDING__S3_SECRET_ACCESS_KEY", "s"),
        ],
    )
    .unwrap();
}

#[test]
fn the_document_describes_every_key_with_its_default_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/configuration.md")).unwrap();
    let rows: BTreeMap<&str, (&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.splitn(3, " | ");
            let key = cells.next()?.strip_suffix('`')?;
            Some((key, (cells.next()?, cells.next()?)))
        })
        .collect();

    for key in KEYS {
        let (default, meaning) = rows
            .get(key.path)
            .unwrap_or_else(|| panic!("{} is not described", key.path));
        let expected = match key.fallback {
            Fallback::Value(value) => format!("`{value}`"),
            Fallback::Nothing => "nothing".to_owned(),
            Fallback::HostName => "host name".to_owned(),
            Fallback::Required => "required".to_owned(),
        };
        assert_eq!(*default, expected, "default of {}", key.path);
        assert_eq!(meaning.starts_with("Secret."), key.secret, "{}", key.path);
        if let Some((low, high)) = key.range {
            let range = format!("{low} to {high}");
            assert!(meaning.contains(&range), "{} lacks {range:?}", key.path);
        }
    }
    for key in rows.keys() {
        assert!(KEYS.iter().any(|k| k.path == *key), "{key} is no key");
    }
    assert_eq!(variable("agi.max_sessions"), "CAPCONDUIT_AGI__MAX_SESSIONS");
}

#[test]
fn what_needs_no_database_needs_no_setting_of_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("capconduit.toml");
    std::fs::write(
        &file,
        "[transcription]\nworkers = 3\nmodel_directory = \"/m\"\n",
    )
    .unwrap();
    let variables = [("CAPCONDUIT_TRANSCRIPTION__MODELS__HI", "/models/hi")];
    let environment = Environment::new(variables, None);
    let transcription = Transcription::load(Some(&file), &environment).unwrap();
    assert_eq!(transcription.workers, 3);
    assert_eq!(transcription.model_directory, Path::new("/m"));
    assert_eq!(transcription.models["hi"], Path::new("/models/hi"));
    std::fs::write(&file, "[transcription]\nworkers = 0\nx = 1\n").unwrap();
    let error = Transcription::load(Some(&file), &environment).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("transcription.workers: must be"), "{error}");
    assert!(error.contains("transcription.x: unknown key"), "{error}");
}
