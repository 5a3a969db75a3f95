//! `scripts/render-asterisk-config`: what it takes, what it refuses, what it prints.

use std::path::Path;
use std::process::{Command, Output};

/// Runs it with these variables and no other but PATH.
fn render(directory: &Path, variables: &[(&str, &str)]) -> Output {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/scripts/render-asterisk-config"
    );
    let mut command = Command::new(script);
    command.arg(directory).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(variables.iter().copied());
    command.output().expect("runs")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_misspelt_variable_is_refused_with_the_one_that_was_meant() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, told) in [
        ("TRUNK_MACTH", "is TRUNK_MATCH meant?"),
        ("FALBACK_DIAL", "is FALLBACK_DIAL meant?"),
        ("RTP_FIRST", "begins like one"),
    ] {
        let output = render(directory.path(), &[(name, "192.0.2.1")]);
        let told_us = said(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {told_us}");
        assert!(told_us.contains(told), "{name}: {told_us}");
    }
    // Those of others are none of its business.
    let others = [("PGPASSFILE", "/x"), ("LANGUAGE", "C"), ("ODBCINI", "/x")];
    let output = render(directory.path(), &others);
    assert!(output.status.success(), "{}", said(&output.stderr));
}

#[test]
fn contacts_need_the_database_only_where_call_centres_register() {
    let directory = tempfile::tempdir().expect("a directory");
    let read = |file: &str| std::fs::read_to_string(directory.path().join(file)).expect("rendered");
    let is_used = || {
        ["sorcery.conf", "extconfig.conf"].map(|file| {
            let text = read(file);
            let mut lines = text.lines().filter(|line| !line.starts_with(';'));
            lines.any(|line| line.contains("ps_contacts"))
        })
    };
    assert!(render(directory.path(), &[]).status.success());
    assert_eq!(is_used(), [false, false]);
    let output = render(directory.path(), &[("REGISTRATION", "yes")]);
    assert!(output.status.success(), "{}", said(&output.stderr));
    assert_eq!(is_used(), [true, true]);
    assert!(!read("sorcery.conf").contains('@'), "a mark is left");
}

#[test]
fn the_values_used_are_printed_and_no_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = render(
        directory.path(),
        &[
            ("TRUNK_MATCH", "198.51.100.0/28"),
            ("COUNTRY_CODE", "44"),
            ("NATIONAL_PREFIX", "0"),
            ("ARI_PASSWORD", "hush-ari"),
            ("ASTERISK_PG_PASSWORD", "hush-database"),
        ],
    );
    let printed = said(&output.stdout);
    assert!(output.status.success(), "{}", said(&output.stderr));
    for wanted in ["198.51.100.0/28", "AGI_URL ", "capconduit check"] {
        assert!(printed.contains(wanted), "{printed}");
    }
    assert!(!printed.contains("hush"), "{printed}");
    let dialplan = std::fs::read_to_string(directory.path().join("extensions.conf"));
    let dialplan = dialplan.expect("is there");
    assert!(dialplan.contains("\nCC_COUNTRY_CODE=44\nCC_NATIONAL_PREFIX=0\n"));
}

#[test]
fn values_that_need_others_say_so() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, value, told) in [
        ("NATIONAL_PREFIX", "0", "need a COUNTRY_CODE"),
        ("TLS_BIND", "127.0.0.1:5061", "needs TLS_CERT_FILE"),
        ("TLS_CERT_FILE", "/x.pem", "need a TLS_BIND"),
    ] {
        let output = render(directory.path(), &[(name, value)]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let told_us = said(&output.stderr);
        assert!(told_us.contains(told), "{name}: {told_us}");
    }
}
