//! The house keeps its order: imports go one way between folders, SQL stands in `sql`, and what the base is made of names
//! no capability.

use std::path::Path;

use crate::support::files_below;

/// What the files of a folder may name of this crate. `app`, `cli` and `http/api` put everything together. A new line
/// here is a decision: which capability knows which.
fn allowed(folder: &str) -> Option<&'static [&'static str]> {
    Some(match folder {
        "domain" => &[],
        "config" => &["domain"],
        "runtime" => &["config"],
        "db" | "vosk_models" => &["domain", "runtime"],
        "http" => &["domain", "http::api", "http::kit", "runtime"],
        "http::kit" => &[
            // Still to be cut: the state that all operations share, and the sets of words and streams of others.
            "accounts",
            "calls",
            "http::api",
            "recordings",
            "routing",
            "transcripts",
            "db",
            "domain",
            "http",
            "runtime",
        ],
        "routing" => &["calls", "db", "domain", "runtime"],
        "asterisk::agi" | "asterisk::ari" => &["domain", "routing", "runtime"],
        "accounts" => &["db", "domain", "http::api", "http::kit", "runtime"],
        "catalogue" => &["accounts", "db", "domain", "http::api", "http::kit"],
        "recordings" => &[
            "accounts",
            "db",
            "domain",
            "http",
            "http::api",
            "http::kit",
            "runtime",
            "transcripts",
        ],
        "transcripts" => &[
            "accounts",
            "db",
            "domain",
            "http::api",
            "http::kit",
            "recordings",
            "runtime",
        ],
        "calls" => &[
            "accounts",
            "catalogue",
            "db",
            "domain",
            "http",
            "http::api",
            "http::kit",
            "recordings",
            "routing",
            "runtime",
            "transcripts",
        ],
        "privacy" => &[
            "db",
            "domain",
            "http::api",
            "http::kit",
            "recordings",
            "runtime",
        ],
        "history" => &["db", "runtime"],
        "app" | "cli" | "http::api" | "lib" | "main" => return None,
        other => panic!("src/{other} has no line here"),
    })
}

/// The folder of a file or path, as the table above names it.
fn folder_of(segments: &[&str]) -> String {
    match segments {
        ["http", part @ ("api" | "kit"), ..] | ["asterisk", part, ..] => {
            format!("{}::{part}", segments[0])
        }
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    }
}

/// The first two segments of every `crate::…` path in a source text, groups taken apart.
fn named(source: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for rest in source.split("crate::").skip(1) {
        for path in in_group(rest) {
            let mut segments = path.splitn(2, "::");
            let first = word(segments.next().unwrap_or_default());
            let below = segments.next().map(in_group).unwrap_or_default();
            if below.is_empty() {
                paths.push(folder_of(&[first]));
            }
            for path in below {
                paths.push(folder_of(&[first, word(&path)]));
            }
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

/// The paths of a group in braces, or the one path that a text begins with.
fn in_group(text: &str) -> Vec<String> {
    let Some(group) = text.strip_prefix('{') else {
        return vec![text.chars().take(80).collect()];
    };
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                items.last_mut().unwrap().push(c);
            }
        }
    }
    items.iter().map(|item| item.trim().to_owned()).collect()
}

fn word(path: &str) -> &str {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
    &path[..end.unwrap_or(path.len())]
}

/// The code of a file; comments may point anywhere.
fn code(file: &Path) -> String {
    let source = std::fs::read_to_string(file).unwrap();
    let lines = source.lines().filter(|l| !l.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Every source file with its path below `src`, in segments without ending.
fn sources() -> Vec<(std::path::PathBuf, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files_below(&root);
    let sources = files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"));
    sources
        .map(|path| {
            let below = path.strip_prefix(&root).unwrap().with_extension("");
            let segments = below.iter().map(|s| s.to_str().unwrap().to_owned());
            let segments = segments.collect();
            (path, segments)
        })
        .collect()
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for (file, segments) in sources() {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let folder = match segments[..] {
            ["asterisk", "mod"] => continue,
            _ => folder_of(&segments),
        };
        let Some(allowed) = allowed(&folder) else {
            continue;
        };
        looked_at += 1;
        for named in named(&code(&file)) {
            let own = named == folder || (folder == "http" && named.starts_with("http"));
            if !own && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{} names crate::{named}", file.display()));
            }
        }
    }
    assert!(looked_at > 150, "only {looked_at} files were looked at");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_capability_runs_the_statements_of_another() {
    let known = [
        "accounts",
        "calls",
        "catalogue",
        "privacy",
        "recordings",
        "routing",
        "transcripts",
    ];
    for (file, segments) in sources() {
        let own = segments[0].as_str();
        if matches!(own, "app" | "cli" | "lib" | "main") || !known.contains(&own) {
            continue;
        }
        for other in known.iter().filter(|other| **other != own) {
            let names = code(&file).contains(&format!("crate::{other}::store::sql"));
            assert!(!names, "{} names statements of {other}", file.display());
        }
    }
}

#[test]
fn the_domain_knows_no_runtime_and_no_database() {
    for (file, segments) in sources() {
        if segments[0] != "domain" {
            continue;
        }
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
fn sql_stands_in_files_of_its_own_and_in_the_command_line_only() {
    for (file, segments) in sources() {
        if matches!(segments[0].as_str(), "db" | "cli") {
            continue;
        }
        let code = code(&file);
        for word in ["select ", "insert into", "tokio_postgres::Client"] {
            let found = code.contains(&format!("\"{word}"));
            let store = segments.iter().any(|s| s == "store");
            assert!(store || !found, "{} has {word}", file.display());
        }
    }
}

#[test]
fn every_field_that_the_page_on_logs_names_is_logged() {
    let page = include_str!("../../docs/observability.md");
    let table = page.split("| field | meaning |").nth(1).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| {
        let first = row.split('|').nth(1).unwrap_or_default();
        first.split('`').skip(1).step_by(2).collect::<Vec<_>>()
    });
    let code: String = sources().iter().map(|(file, _)| code(file)).collect();
    let mut count = 0;
    for name in names {
        let logged = [" =", ","].iter().any(|end| {
            let field = format!("{name}{end}");
            let starts = code.match_indices(&field).map(|(at, _)| at);
            let mut before = starts.map(|at| code[..at].chars().next_back());
            before.any(|c| c.is_some_and(|c| c.is_whitespace() || c == '('))
        });
        assert!(logged, "`{name}` is documented and never logged");
        count += 1;
    }
    assert!(count >= 15, "only {count} fields were found");
}
