//! Takes typed values out of the flat list, and collects what is wrong with them.
//!
//! Precedence is decided here and nowhere else: environment, then file, then credential, then default.
//! A method that returns `None` for a value that was set has noted the problem.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::keys::{self, FILE_SUFFIX, Fallback};
use super::problem::{Origin, Problem};
use super::source::{Entries, Entry, Environment, Written};

/// Longer than any password, token or connection string.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The values of all sources, and the problems found so far.
pub(super) struct Reader<'a> {
    file: &'a Path,
    environment: &'a Environment,
    /// Of the environment over the file, secrets apart.
    entries: Entries,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// `file` is named in advice also when it does not exist.
    pub(super) fn new(
        file: &'a Path,
        from_file: Entries,
        from_environment: Entries,
        environment: &'a Environment,
        problems: Vec<Problem>,
    ) -> Self {
        let mut reader = Self {
            file,
            environment,
            entries: from_file,
            problems,
        };
        reader.refuse_pairs(&from_environment);
        for path in from_environment.keys() {
            // `url` in the environment also replaces `url_file` in the file, and the reverse.
            reader.entries.remove(&companion(path));
        }
        let from_file = reader.entries.clone();
        reader.refuse_pairs(&from_file);
        reader.entries.extend(from_environment);
        reader
    }

    /// Within one source, a secret and its file contradict each other.
    fn refuse_pairs(&mut self, entries: &Entries) {
        for (path, entry) in entries {
            if keys::find(path).is_some_and(|key| key.secret)
                && entries.contains_key(&companion(path))
            {
                let message = format!("is set together with {}; keep one", companion(path));
                self.note(path, Some(entry.origin.clone()), message);
            }
        }
    }

    /// Notes a problem.
    pub(super) fn note(&mut self, path: &str, origin: Option<Origin>, message: impl Into<String>) {
        self.problems.push(Problem {
            origin,
            key: path.to_owned(),
            message: message.into(),
        });
    }

    /// Where the value of a key stands.
    pub(super) fn origin(&self, path: &str) -> Option<Origin> {
        self.entries.get(path).map(|entry| entry.origin.clone())
    }

    /// How many entries the list has.
    pub(super) fn list_len(&self, list: &str) -> usize {
        let prefix = format!("{list}.");
        let positions = self.entries.keys().filter_map(|path| {
            let position = path.strip_prefix(&prefix)?.split('.').next()?;
            position.parse::<usize>().ok()
        });
        positions.max().map_or(0, |last| last + 1)
    }

    /// The names set in a table whose keys the user names.
    pub(super) fn names_in(&self, table: &str) -> Vec<String> {
        let prefix = format!("{table}.");
        let names = self.entries.keys().filter_map(|p| p.strip_prefix(&prefix));
        names.map(ToOwned::to_owned).collect()
    }

    fn entry(&mut self, path: &str) -> Option<Entry> {
        if let Some(entry) = self.entries.get(path) {
            return Some(entry.clone());
        }
        let default = |text: &str| Entry {
            written: Written::Untyped(text.to_owned()),
            origin: Origin::Default,
        };
        match keys::find(path)?.fallback {
            Fallback::Value(text) => Some(default(text)),
            Fallback::Nothing => None,
            Fallback::HostName => {
                let name = self.environment.host_name().map(default);
                if name.is_none() {
                    self.note_missing(path, "the host has no name to take instead");
                }
                name
            }
            Fallback::Required => {
                self.note_missing(path, "required");
                None
            }
        }
    }

    fn note_missing(&mut self, path: &str, why: &str) {
        let (table, name) = path.rsplit_once('.').unwrap_or(("", path));
        let list = table.split_once('.').map(|(list, n)| (list, n.to_owned()));
        let place = match list {
            Some((list, n)) => format!("[[{list}]] (number {n}, counted from 0)"),
            None => format!("[{table}]"),
        };
        let file = self.file.display();
        let variable = keys::variable(path);
        let secret = if keys::find(path).is_some_and(|key| key.secret) {
            format!(
                "; a secret may also be in a file named by `{name}{FILE_SUFFIX}` or in the systemd \
                 credential `{path}`"
            )
        } else {
            String::new()
        };
        let message = format!(
            "missing ({why}): write `{name} = …` under {place} in {file}, or set {variable}{secret}"
        );
        self.note(path, None, message);
    }

    /// A string.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        let entry = self.entry(path)?;
        match entry.written {
            Written::String(text) | Written::Untyped(text) => Some(text),
            Written::Integer(_) => self.refuse_type(path, entry.origin, "a whole number"),
            Written::Boolean(_) => self.refuse_type(path, entry.origin, "true or false"),
            Written::Other(found) => self.refuse_type(path, entry.origin, found),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, path: &str) -> Option<bool> {
        let entry = self.entry(path)?;
        let shown = match entry.written {
            Written::Boolean(value) => return Some(value),
            Written::Untyped(text) => match text.as_str() {
                "true" => return Some(true),
                "false" => return Some(false),
                _ => format!("{text:?}"),
            },
            Written::String(text) => format!("the string {text:?}"),
            Written::Integer(number) => number.to_string(),
            Written::Other(found) => found.to_owned(),
        };
        let message = format!("must be true or false, without quotation marks, not {shown}");
        self.note(path, Some(entry.origin), message);
        None
    }

    /// Keys of secrets that are set, and where they stand.
    pub(super) fn secrets(&self) -> Vec<(String, Origin)> {
        let is_secret = |path: &str| keys::find(path).is_some_and(|key| key.secret);
        let set = self.entries.iter().filter(|(path, _)| is_secret(path));
        set.map(|(path, entry)| (path.clone(), entry.origin.clone()))
            .collect()
    }

    fn refuse_type<T>(&mut self, path: &str, origin: Origin, found: &str) -> Option<T> {
        let message = format!("must be a string in quotation marks, not {found}");
        self.note(path, Some(origin), message);
        None
    }

    /// A string that `parse` accepts.
    pub(super) fn parsed<T>(
        &mut self,
        path: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(path)?;
        let value = parse(&text);
        if value.is_none() {
            // An address written with user and password is refused, and must not be shown for that.
            let shown = match text.chars().take(80).collect::<String>() {
                text if text.contains('@') => "what stands there".to_owned(),
                text => format!("{text:?}"),
            };
            let message = format!("must be {expected}, not {shown}");
            self.note(path, self.origin(path), message);
        }
        value
    }

    /// An address to listen on.
    pub(super) fn address(&mut self, path: &str) -> Option<SocketAddr> {
        let expected = "ADDRESS:PORT such as 127.0.0.1:4573 or [::1]:4573";
        self.parsed(path, expected, |text| text.parse().ok())
    }

    /// An absolute path: a relative one would depend on where the daemon was started.
    pub(super) fn path(&mut self, path: &str) -> Option<PathBuf> {
        self.parsed(path, "an absolute path", |text| {
            Some(PathBuf::from(text)).filter(|path| path.is_absolute())
        })
    }

    /// A whole number within the range of its key.
    pub(super) fn number(&mut self, path: &str) -> Option<u64> {
        let (low, high) = keys::find(path)?.range?;
        let entry = self.entry(path)?;
        let (number, shown) = match entry.written {
            Written::Integer(number) => (Some(number), number.to_string()),
            Written::Untyped(text) => (text.parse().ok(), format!("{text:?}")),
            Written::String(text) => (None, format!("the string {text:?}")),
            Written::Boolean(_) => (None, "true or false".to_owned()),
            Written::Other(found) => (None, found.to_owned()),
        };
        let number = number.and_then(|number| u64::try_from(number).ok());
        let number = number.filter(|number| (low..=high).contains(number));
        if number.is_none() {
            let message = format!("must be a whole number from {low} to {high}, not {shown}");
            self.note(path, Some(entry.origin), message);
        }
        number
    }

    /// [`Self::number`], where a `usize` is wanted.
    pub(super) fn count(&mut self, path: &str) -> Option<usize> {
        self.number(path).and_then(|n| usize::try_from(n).ok())
    }

    /// [`Self::number`] of seconds.
    pub(super) fn seconds(&mut self, path: &str) -> Option<Duration> {
        self.number(path).map(Duration::from_secs)
    }

    /// A secret. Never shown, whatever is wrong with it.
    pub(super) fn secret(&mut self, path: &str) -> Option<SecretString> {
        let file_key = companion(path);
        let credential = (self.environment.credentials_directory())
            .map(|directory| directory.join(path))
            .filter(|file| file.exists());
        let set = self.origin(path).or_else(|| self.origin(&file_key));
        if let (Some(file), Some(origin @ Origin::File { .. })) = (&credential, &set) {
            let message = format!("is also given as credential {}; keep one", file.display());
            self.note(path, Some(origin.clone()), message);
        }
        match (set, credential) {
            (Some(_), _) if self.entries.contains_key(&file_key) => {
                let file = self.path(&file_key)?;
                self.secret_file(&file_key, self.origin(&file_key), &file)
            }
            (None, Some(file)) => {
                self.secret_file(path, Some(Origin::Credential(file.clone())), &file)
            }
            _ => {
                let text = self.text(path)?;
                self.one_line(path, self.origin(path), text)
            }
        }
    }

    fn secret_file(
        &mut self,
        path: &str,
        origin: Option<Origin>,
        file: &Path,
    ) -> Option<SecretString> {
        let mut text = String::new();
        let read = std::fs::File::open(file)
            .and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text));
        if let Err(error) = read {
            self.note(
                path,
                origin,
                format!("cannot read {}: {error}", file.display()),
            );
            return None;
        }
        if text.len() as u64 > MAX_SECRET_BYTES {
            let message = format!("{} is too long for a secret", file.display());
            self.note(path, origin, message);
            return None;
        }
        // Editors and `echo` end a file with a line feed that is no part of the secret.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        self.one_line(path, origin, text.to_owned())
    }

    fn one_line(
        &mut self,
        path: &str,
        origin: Option<Origin>,
        text: String,
    ) -> Option<SecretString> {
        if text.is_empty() || text.chars().any(char::is_control) {
            let message = "must be one line of text, neither empty nor with control characters";
            self.note(path, origin, message);
            return None;
        }
        Some(text.into())
    }
}

/// `database.url` for `database.url_file`, and the reverse; for other keys a path nothing has.
fn companion(path: &str) -> String {
    match path.strip_suffix(FILE_SUFFIX) {
        Some(key) if keys::find(key).is_some_and(|key| key.secret) => key.to_owned(),
        _ => format!("{path}{FILE_SUFFIX}"),
    }
}
