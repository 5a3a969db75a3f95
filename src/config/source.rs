//! Turns the file, the environment and the credentials directory into one flat list of values by path.
//!
//! Knows where each value stands, not what it means. Invariant: what is not a known key ends as a
//! problem that names it, never in silence.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Known};
use super::problem::{Origin, Problem};

/// What the process was given besides the file. A value, so that tests need not change their process.
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    host_name: Option<String>,
}

impl Environment {
    /// Of this process.
    pub fn of_process() -> Self {
        // The kernel's word is hidden from a unit with `ProcSubset=pid`.
        let host_name = ["/proc/sys/kernel/hostname", "/etc/hostname"]
            .iter()
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .map(|name| name.trim().to_owned())
            .find(|name| !name.is_empty());
        Self {
            variables: std::env::vars_os().collect(),
            host_name,
        }
    }

    /// Made up.
    pub fn new<K: Into<OsString>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (K, V)>,
        host_name: Option<&str>,
    ) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
            host_name: host_name.map(ToOwned::to_owned),
        }
    }

    /// The name of the host.
    pub(super) fn host_name(&self) -> Option<&str> {
        self.host_name.as_deref()
    }

    /// Where systemd put the credentials of the unit.
    pub(super) fn credentials_directory(&self) -> Option<PathBuf> {
        self.variables
            .get(&OsString::from("CREDENTIALS_DIRECTORY"))
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
    }
}

/// A value as it was written. No `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) enum Written {
    /// A string of the file.
    String(String),
    /// A whole number of the file.
    Integer(i128),
    /// `true` or `false` of the file.
    Boolean(bool),
    /// Text of a variable or a default, which has no type.
    Untyped(String),
    /// Another type, which no key has.
    Other(&'static str),
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) written: Written,
    pub(super) origin: Origin,
}

/// Values by path.
pub(super) type Entries = BTreeMap<String, Entry>;

/// The values of the text of a file.
pub(super) fn from_file(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Entries {
    let lines = Lines { path, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut entries = Entries::new();
    if errors.is_empty() {
        walk("", table.get_ref(), &lines, &mut entries, problems);
    }
    problems.extend(errors.iter().map(|error| {
        Problem {
            // Not the error's own text: that quotes the line, which may hold a password.
            origin: Some(lines.origin(error.span().unwrap_or_default())),
            key: String::new(),
            message: format!("not TOML: {}", error.message().trim()),
        }
    }));
    entries
}

struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Lines<'_> {
    fn origin(&self, span: Range<usize>) -> Origin {
        let before = self.text.as_bytes().iter().take(span.start);
        Origin::File {
            path: self.path.to_owned(),
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
        }
    }
}

fn walk(
    prefix: &str,
    table: &DeTable<'_>,
    lines: &Lines<'_>,
    entries: &mut Entries,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in table {
        let path = join(prefix, name.get_ref());
        let origin = lines.origin(name.span());
        let mut wrong = |message: String| {
            problems.push(Problem {
                origin: Some(origin.clone()),
                key: path.clone(),
                message,
            });
        };
        // A name in quotation marks may hold dots, and is no path for that.
        let known = match name.get_ref() {
            dotted if dotted.contains('.') => Known::Nothing,
            _ => keys::known(&path),
        };
        match (known, value.get_ref()) {
            (Known::Nothing, _) => wrong(unknown(prefix)),
            (Known::Table, DeValue::Table(inner)) => walk(&path, inner, lines, entries, problems),
            (Known::Table, other) => {
                wrong(format!(
                    "must be a table [{path}], not {}",
                    type_name(other)
                ));
            }
            (Known::List, DeValue::Array(items)) => {
                for (n, item) in items.iter().enumerate() {
                    let path = join(&path, &n.to_string());
                    walk_item(&path, item, lines, entries, problems);
                }
            }
            (Known::List, other) => wrong(format!(
                "must be a list: write [[{path}]] with two brackets on each side, not {}",
                type_name(other)
            )),
            (Known::Key | Known::FileOf, value) => {
                let written = match value {
                    DeValue::String(text) => Written::String(text.clone().into_owned()),
                    DeValue::Integer(number) => {
                        match i128::from_str_radix(number.as_str(), number.radix()) {
                            Ok(number) => Written::Integer(number),
                            Err(_) => Written::Other("a number of that size"),
                        }
                    }
                    DeValue::Boolean(value) => Written::Boolean(*value),
                    other => Written::Other(type_name(other)),
                };
                entries.insert(path, Entry { written, origin });
            }
        }
    }
}

fn walk_item(
    path: &str,
    item: &Spanned<DeValue<'_>>,
    lines: &Lines<'_>,
    entries: &mut Entries,
    problems: &mut Vec<Problem>,
) {
    match (keys::known(path), item.get_ref()) {
        (Known::Table, DeValue::Table(inner)) => {
            // An entry that sets nothing must still be seen as one, and its missing keys be named.
            if inner.is_empty() {
                problems.push(Problem {
                    origin: Some(lines.origin(item.span())),
                    key: path.to_owned(),
                    message: "is empty".to_owned(),
                });
            }
            walk(path, inner, lines, entries, problems);
        }
        (_, other) => problems.push(Problem {
            origin: Some(lines.origin(item.span())),
            key: path.to_owned(),
            message: match keys::known(path) {
                Known::Table => format!("must be a table, not {}", type_name(other)),
                _ => "is one too many".to_owned(),
            },
        }),
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

fn unknown(table: &str) -> String {
    let names = keys::names_in(table).join(", ");
    if table.is_empty() {
        format!("unknown section; there are: {names}")
    } else {
        format!("unknown key; in [{table}] there are: {names}")
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The values of the environment. An empty variable counts as not set.
pub(super) fn from_environment(environment: &Environment, problems: &mut Vec<Problem>) -> Entries {
    let mut entries = Entries::new();
    for (name, value) in &environment.variables {
        let Some(name) = name.to_str() else { continue };
        if !name.starts_with(keys::VARIABLE_PREFIX) || value.is_empty() {
            continue;
        }
        let mut wrong = |message: String| {
            problems.push(Problem {
                origin: Some(Origin::Variable(name.to_owned())),
                key: String::new(),
                message,
            });
        };
        let Some(path) = keys::path_of_variable(name) else {
            if let Some(meant) = meant_by(name) {
                wrong(format!("sets nothing; did you mean {meant}?"));
            }
            continue;
        };
        match (keys::known(&path), value.to_str()) {
            (Known::Key | Known::FileOf, Some(text)) => {
                let entry = Entry {
                    written: Written::Untyped(text.to_owned()),
                    origin: Origin::Variable(name.to_owned()),
                };
                entries.insert(path, entry);
            }
            (Known::Key | Known::FileOf, None) => wrong("is not UTF-8".to_owned()),
            (Known::Table | Known::List, _) => wrong("names a section, not a key".to_owned()),
            (Known::Nothing, _) => wrong(unknown_variable(&path)),
        }
    }
    entries
}

fn unknown_variable(path: &str) -> String {
    let table = path.rsplit_once('.').map_or("", |(table, _)| table);
    let names = keys::names_in(table).join(", ");
    match keys::known(table) {
        Known::Table | Known::List => format!("unknown setting; in [{table}] there are: {names}"),
        _ => format!(
            "unknown setting; sections are: {}",
            keys::names_in("").join(", ")
        ),
    }
}

/// The variable that was meant by one written with a single underscore between section and key. Others
/// without a double underscore may belong to scripts around us.
fn meant_by(name: &str) -> Option<String> {
    let flat = name.to_lowercase();
    let flat = flat.strip_prefix("capconduit_")?;
    keys::KEYS
        .iter()
        .find(|key| key.path.replace('.', "_") == flat)
        .map(|key| keys::variable(key.path))
}
