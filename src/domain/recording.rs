//! Recordings: what is recorded, in which language, under which name.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::CallId;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in the database and in the API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),*
                }
            }

            /// Reads its name.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named!(
    /// A language that is transcribed, by its ISO 639-1 code.
    Language {
        /// English.
        English = "en",
        /// Hindi.
        Hindi = "hi",
    }
);

named!(
    /// The language of a campaign's calls.
    RecordingLanguage {
        /// English.
        English = "en",
        /// Hindi.
        Hindi = "hi",
        /// Each utterance may be in another.
        Auto = "auto",
    }
);

impl RecordingLanguage {
    /// The languages a transcriber needs models of.
    pub fn languages(self) -> &'static [Language] {
        match self {
            Self::English => &[Language::English],
            Self::Hindi => &[Language::Hindi],
            Self::Auto => Language::ALL,
        }
    }
}

named!(
    /// A file of a recording.
    Leg {
        /// What the caller said.
        Caller = "caller",
        /// What the caller heard: the agent.
        Agent = "agent",
        /// Both.
        Mix = "mix",
    }
);

impl Leg {
    /// What follows the stem in the names of the files Asterisk writes, by direction of the caller's channel.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Caller => "-rx.wav",
            Self::Agent => "-tx.wav",
            Self::Mix => "-mix.wav",
        }
    }
}

named!(
    /// Who speaks. Each is recorded on a leg of its own, so nobody has to guess.
    Speaker {
        /// The caller.
        Caller = "caller",
        /// The client's agent.
        Agent = "agent",
    }
);

/// The name an attempt is recorded under: when it was offered, the call, the attempt, as in
/// `20261121T081500Z-4711-1`. Of letters, digits and `-` only: it is part of file names, and of a shell's words
/// on other people's systems.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stem(String);

impl Stem {
    /// The stem of an attempt offered at a time.
    pub fn new(at: Timestamp, call_id: CallId, attempt: u32) -> Self {
        let moment = Self::moment(at);
        Self(format!("{moment}-{call_id}-{attempt}"))
    }

    /// What the stems of attempts offered at a time begin with, for whoever does not know the call's id yet.
    pub fn moment(at: Timestamp) -> String {
        let at = at.to_zoned(TimeZone::UTC);
        at.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    /// Reads a stem; `None` for anything [`new`](Self::new) does not make.
    pub fn parse(text: &str) -> Option<Self> {
        let stem = Self(text.to_owned());
        let (call_id, attempt) = stem.parts()?;
        let (date, time) = text.get(..16)?.split_once('T')?;
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let at = date.len() == 8 && digits(date) && digits(time.strip_suffix('Z')?);
        // No second way to write the same one.
        let canonical = format!("{}-{call_id}-{attempt}", &text[..16]);
        (at && call_id.0 > 0 && canonical == text).then_some(stem)
    }

    /// Takes the name of a file apart; `None` for a file of somebody else's.
    pub fn of_file(name: &str) -> Option<(Self, Leg)> {
        Leg::ALL.iter().find_map(|leg| {
            let stem = name.strip_suffix(leg.suffix())?;
            Some((Self::parse(stem)?, *leg))
        })
    }

    /// The call and the attempt.
    pub fn call(&self) -> (CallId, u32) {
        self.parts().unwrap_or((CallId(0), 0))
    }

    /// The day in it, as `2026/11/21`.
    pub fn day(&self) -> String {
        let text = &self.0;
        format!("{}/{}/{}", &text[..4], &text[4..6], &text[6..8])
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> Option<(CallId, u32)> {
        let (call_id, attempt) = self.0.get(17..)?.split_once('-')?;
        Some((CallId(call_id.parse().ok()?), attempt.parse().ok()?))
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_tells_its_call() {
        let at: Timestamp = "2026-11-21T08:15:00.9Z".parse().unwrap();
        let stem = Stem::new(at, CallId(4711), 2);
        assert_eq!(stem.as_str(), "20261121T081500Z-4711-2");
        assert_eq!(stem.call(), (CallId(4711), 2));
        assert_eq!(stem.day(), "2026/11/21");
        assert_eq!(Stem::parse(stem.as_str()), Some(stem.clone()));
        let file = Stem::of_file("20261121T081500Z-4711-2-tx.wav");
        assert_eq!(file, Some((stem, Leg::Agent)));
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in [
            "",
            "x-rx.wav",
            "20261121T081500Z-4711-rx.wav",
            "20261121T081500Z-04711-2-rx.wav",
            "20261121T081500Z-4711-2-rx.wav.tmp",
            "20261121T081500Z-4711-2-rx.WAV",
            "../20261121T081500Z-4711-2-rx.wav",
            "20261121T081500Z-+4711-2-rx.wav",
            "20261121T0815000-4711-2-rx.wav",
            "2026é121T081500Z-4711-2-rx.wav",
        ] {
            assert_eq!(Stem::of_file(name), None, "{name}");
        }
    }
}
