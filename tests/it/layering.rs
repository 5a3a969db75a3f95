//! Imports go inward: edges -> routing -> store -> domain, and edges never know each other.

use std::path::{Path, PathBuf};

/// What the files of a module may name of this crate. `app` and `cli` put everything together.
fn allowed(module: &str) -> Option<&'static [&'static str]> {
    const LEAVES: &[&str] = &[];
    Some(match module {
        "domain" => &["domain"],
        "clock" | "digest" | "password" | "sealing" | "shares" | "totp" | "telemetry"
        | "metrics" | "supervisor" | "config" | "wav" => match module {
            "supervisor" => &["supervisor", "telemetry"],
            "telemetry" => &["telemetry", "config"],
            "config" => &["config", "domain"],
            "metrics" => &["metrics"],
            "wav" => &["wav"],
            _ => LEAVES,
        },
        "store" => &["store", "digest", "domain", "metrics", "telemetry"],
        "routing" => &["routing", "store", "domain", "clock", "metrics"],
        "erasure" => &["erasure", "recording", "store", "telemetry"],
        "house" => &["house", "store", "metrics", "telemetry"],
        "agi" => &["agi", "routing", "domain", "clock", "metrics"],
        "ari" => &["ari", "routing", "domain", "clock", "metrics"],
        "models" => &["models", "digest", "domain", "telemetry"],
        "storage" => &["storage", "domain"],
        "recording" => &[
            "recording",
            "storage",
            "store",
            "digest",
            "domain",
            "clock",
            "metrics",
            "telemetry",
            "wav",
        ],
        "transcription" => &[
            "transcription",
            "storage",
            "store",
            "domain",
            "clock",
            "metrics",
            "telemetry",
        ],
        "http" => &[
            "http",
            "routing",
            "storage",
            "store",
            "digest",
            "domain",
            "clock",
            "metrics",
            "password",
            "sealing",
            "shares",
            "supervisor",
            "telemetry",
            "totp",
            "wav",
        ],
        _ => return None,
    })
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// The first segment of every `crate::…` path in a source text, groups taken apart.
fn named_modules(source: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for rest in source.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => modules.push(std::mem::take(&mut item)),
                    _ if depth == 0 => item.push(c),
                    _ => {}
                }
            }
            modules.push(item);
        } else {
            modules.push(rest.to_owned());
        }
    }
    modules
        .into_iter()
        .map(|path| {
            let path = path.trim_start();
            let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
            path[..end.unwrap_or(path.len())].to_owned()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn imports_go_inward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for file in files(&root) {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.iter().next().unwrap().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        let Some(allowed) = allowed(module) else {
            continue;
        };
        looked_at += 1;
        let source = std::fs::read_to_string(&file).unwrap();
        // Comments may point anywhere.
        let lines = source.lines().filter(|l| !l.trim_start().starts_with("//"));
        let code: Vec<&str> = lines.collect();
        for named in named_modules(&code.join("\n")) {
            if !allowed.contains(&named.as_str()) {
                wrong.push(format!("{} names crate::{named}", relative.display()));
            }
        }
    }
    assert!(looked_at > 40, "only {looked_at} files were looked at");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_domain_knows_no_runtime_and_no_database() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain");
    for file in files(&root) {
        let source = std::fs::read_to_string(&file).unwrap();
        for word in [
            "async fn",
            "tokio",
            "tracing::",
            "Timestamp::now",
            "metrics::",
        ] {
            assert!(!source.contains(word), "{} has {word}", file.display());
        }
    }
}

#[test]
fn sql_stands_in_the_store_and_the_command_line_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files(&root) {
        let relative = file.strip_prefix(&root).unwrap();
        if relative.starts_with("store") || relative.starts_with("cli") {
            continue;
        }
        let source = std::fs::read_to_string(&file).unwrap();
        for word in ["select ", "insert into", "tokio_postgres::Client"] {
            let code = source
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let found = code
                .filter(|line| line.contains(&format!("\"{word}")))
                .count();
            assert_eq!(found, 0, "{} has {word}", relative.display());
        }
    }
}
