//! Names of objects.

use std::fmt;

use crate::domain::{Leg, Stem};

/// The name of an object: words of letters, digits, `-`, `_` and `.`, none beginning with `.`, with `/` between
/// them. So it never leads out of a directory, and never meets the names of unfinished files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Where a file of a recording is kept.
    pub fn of(stem: &Stem, leg: Leg) -> Self {
        Self(format!("{}/{stem}-{leg}.wav", stem.day()))
    }

    /// Reads a key, as of a row in the database. `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let good = |word: &str| {
            (1..=200).contains(&word.len()) && !word.starts_with('.') && word.bytes().all(allowed)
        };
        let words = text.split('/').count();
        (words <= 16 && text.split('/').all(good)).then(|| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The words before the last, and the last.
    pub(super) fn parts(&self) -> (Vec<&str>, &str) {
        let mut words: Vec<&str> = self.0.split('/').collect();
        let name = words.pop().unwrap_or_default();
        (words, name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recordings_file_is_kept_under_its_day() {
        let stem = Stem::parse("20261121T081500Z-4711-2").unwrap();
        let key = Key::of(&stem, Leg::Caller);
        assert_eq!(
            key.as_str(),
            "2026/11/21/20261121T081500Z-4711-2-caller.wav"
        );
        assert_eq!(Key::parse(key.as_str()), Some(key));
    }

    #[test]
    fn nothing_leads_out() {
        for text in [
            "", "/", "/a", "a/", "a//b", "..", "a/../b", ".a", "a/.b", "a\0", "a b", "é", "a\\b",
        ] {
            assert_eq!(Key::parse(text), None, "{text:?}");
        }
    }
}
