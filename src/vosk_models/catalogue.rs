//! The official Vosk models of the languages that are transcribed here.
//!
//! Sizes are the publisher's, rounded, and for people only: nothing is checked against them.

use crate::domain::Language;

/// Where the publisher keeps them, each as `NAME.zip`.
pub const PUBLISHER: &str = "https://alphacephei.com/vosk/models";

/// A model the publisher offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its name, that of its archive without `.zip`.
    pub name: &'static str,
    /// The language it hears.
    pub language: Language,
    /// Size of the archive in MB, about.
    pub download_mb: u32,
    /// What it is good for.
    pub good_for: &'static str,
    /// Under which licence the publisher gives it.
    pub licence: &'static str,
    /// Installed when only the language is named.
    pub small: bool,
}

const fn model(
    name: &'static str,
    language: Language,
    download_mb: u32,
    good_for: &'static str,
    small: bool,
) -> Known {
    Known {
        name,
        language,
        download_mb,
        good_for,
        licence: "Apache-2.0",
        small,
    }
}

/// By language, small before large.
pub const CATALOGUE: &[Known] = &[
    model(
        "vosk-model-small-en-us-0.15",
        Language::English,
        40,
        "US English; light on memory, the one to begin with",
        true,
    ),
    model(
        "vosk-model-en-us-0.22-lgraph",
        Language::English,
        128,
        "US English; between small and large",
        false,
    ),
    model(
        "vosk-model-en-us-0.22",
        Language::English,
        1800,
        "US English; most accurate, needs gigabytes of memory per worker",
        false,
    ),
    model(
        "vosk-model-small-en-in-0.4",
        Language::English,
        36,
        "Indian English; light on memory",
        false,
    ),
    model(
        "vosk-model-en-in-0.5",
        Language::English,
        1000,
        "Indian English, telephone and broadcast; needs gigabytes of memory per worker",
        false,
    ),
    model(
        "vosk-model-small-hi-0.22",
        Language::Hindi,
        42,
        "Hindi; light on memory, the one to begin with",
        true,
    ),
    model(
        "vosk-model-hi-0.22",
        Language::Hindi,
        1500,
        "Hindi; most accurate, needs gigabytes of memory per worker",
        false,
    ),
];

/// The model of a name.
pub fn find(name: &str) -> Option<&'static Known> {
    CATALOGUE.iter().find(|known| known.name == name)
}

/// The model to begin with.
pub fn small(language: Language) -> Option<&'static Known> {
    CATALOGUE
        .iter()
        .find(|known| known.small && known.language == language)
}

/// All names.
pub fn names() -> Vec<&'static str> {
    CATALOGUE.iter().map(|known| known.name).collect()
}

/// The language in the name of a model, as in `vosk-model-small-hi-0.22`; `None` if there is none or more than one.
pub fn language_in(name: &str) -> Option<Language> {
    if let Some(known) = find(name) {
        return Some(known.language);
    }
    let mut found = name.split('-').filter_map(Language::parse);
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_one_model_to_begin_with() {
        for language in Language::ALL {
            let of_it = CATALOGUE.iter().filter(|k| k.language == *language);
            assert_eq!(of_it.filter(|k| k.small).count(), 1, "{language}");
        }
    }

    #[test]
    fn names_tell_their_language() {
        for known in CATALOGUE {
            let mut codes = known.name.split('-').filter_map(Language::parse);
            assert_eq!(codes.next(), Some(known.language), "{}", known.name);
        }
        assert_eq!(language_in("tiny-hi-8k"), Some(Language::Hindi));
        assert_eq!(language_in("model"), None);
        assert_eq!(language_in("model-en-hi"), None);
    }
}
