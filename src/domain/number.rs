//! Numbers as they arrive: the dialled one is looked up, a caller's is masked before it is logged; and who may
//! add numbers.

use std::fmt;

/// The number a caller dialled, cleaned for look-up.
///
/// Carriers spell a DID with or without a plus, other programs store it with blanks, dashes or parentheses. It is
/// one DID all the same: what is compared is its [`key`](Self::key).
#[derive(Clone, PartialEq, Eq)]
pub struct DialledNumber(String);

impl DialledNumber {
    /// Longest number kept, in characters: the width of `call_logs.incoming_did_number`.
    pub const MAX_CHARS: usize = 50;

    /// Keeps the printable ASCII characters, at most [`Self::MAX_CHARS`]; the result may be empty and
    /// then matches no DID.
    pub fn from_untrusted(text: &str) -> Self {
        Self(
            text.chars()
                .filter(char::is_ascii_graphic)
                .take(Self::MAX_CHARS)
                .collect(),
        )
    }

    /// The cleaned text, for storing and for logs: it is a number of the operator's, not the caller's.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What all spellings of the number have in common, as the database's function `did_key` has it: letters,
    /// digits, `*` and `#`. `None` for a number that cannot be a DID.
    pub fn key(&self) -> Option<String> {
        key_of(&self.0)
    }

    /// Keys to look for, `did_key(number) = any (…)`: one, or none.
    pub fn lookup_keys(&self) -> Vec<String> {
        self.key().into_iter().collect()
    }

    /// Whether this is another spelling of a stored number, or the same.
    pub fn is_spelling_of(&self, stored: &str) -> bool {
        self.0 == stored || (self.key().is_some() && self.key() == key_of(stored))
    }
}

/// As the SQL function `did_key`. A test compares the two.
fn key_of(number: &str) -> Option<String> {
    let counts = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '*' | '#');
    let key: String = number.chars().filter(counts).collect();
    (!key.is_empty()).then_some(key)
}

/// How sellers come to their DIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claims {
    /// A seller adds any number that nobody has, and it works at once.
    Open,
    /// A seller adds a number, and staff confirms it before it works.
    Confirm,
    /// Only staff adds numbers, for sellers.
    Staff,
}

impl Claims {
    /// Reads `dids.claims`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "open" => Some(Self::Open),
            "confirm" => Some(Self::Confirm),
            "staff" => Some(Self::Staff),
            _ => None,
        }
    }
}

impl fmt::Debug for DialledNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is a number in E.164 form: a plus, a digit from 1 to 9, then 1 to 14 digits (ITU-T E.164,
/// 6.1).
pub fn is_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else {
        return false;
    };
    (2..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
}

/// Hides all but the last two characters, for logs: `+18005550101` becomes `**********01`.
pub fn mask(number: &str) -> String {
    let length = number.chars().count();
    let hidden = length.saturating_sub(2);
    number
        .chars()
        .enumerate()
        .map(|(i, c)| if i < hidden || length <= 4 { '*' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_did_is_found_in_every_spelling() {
        let key = |text| DialledNumber::from_untrusted(text).key();
        for spelling in [
            "+18005550101",
            "18005550101",
            "+1 (800) 555-0101",
            "1.800.555/0101",
            "+1800555\u{2011}0101\r\n",
        ] {
            assert_eq!(key(spelling).as_deref(), Some("18005550101"), "{spelling}");
        }
        // Another number, or none of this kind.
        for other in [
            "0018005550101",
            "01118005550101",
            "8005550101",
            "*18005550101",
        ] {
            assert_ne!(key(other), key("+18005550101"), "{other}");
        }
        assert_eq!(key("Sales").as_deref(), Some("Sales"));
        for nothing in ["", "+", "\r\n\0", "-.()"] {
            assert_eq!(key(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn spellings_are_of_the_stored_number_or_not() {
        let is = |dialled, stored| DialledNumber::from_untrusted(dialled).is_spelling_of(stored);
        assert!(is("18005550101", "+1 800 555 0101"));
        assert!(is("+", "+"), "what is no number is itself");
        assert!(!is("+", "-"));
        assert!(!is("18005550101", "+18005550102"));
    }

    #[test]
    fn masks_keep_two_characters_of_long_numbers_only() {
        assert_eq!(mask("+18005550101"), "**********01");
        assert_eq!(mask("911"), "***");
        assert_eq!(mask(""), "");
    }

    proptest! {
        #[test]
        fn cleaned_numbers_are_always_storable(text in any::<String>()) {
            let number = DialledNumber::from_untrusted(&text);
            prop_assert!(number.as_str().len() <= DialledNumber::MAX_CHARS);
            prop_assert!(number.as_str().bytes().all(|b| b.is_ascii_graphic()));
        }
    }
}
