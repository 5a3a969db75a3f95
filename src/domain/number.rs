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

/// The digits of a number, in their order.
pub fn digits_of(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).collect()
}

/// The digits under which a number may be stored: as it is spelt, and with or without the prefixes 00 and 011 for
/// other countries. A national spelling is another number: whose it is depends on the country.
pub fn spellings_of(number: &str) -> Vec<String> {
    /// Without its prefix a number must still be one.
    const FEWEST: usize = 8;
    let digits = digits_of(number);
    let mut spellings = vec![digits.clone()];
    if digits.starts_with('0') && !number.trim_start().starts_with('+') {
        let rests = ["011", "00"].map(|prefix| digits.strip_prefix(prefix));
        if let Some(rest) = rests.into_iter().flatten().next()
            && rest.len() >= FEWEST
        {
            spellings.push(rest.to_owned());
            spellings.push(format!("00{rest}"));
            spellings.push(format!("011{rest}"));
        }
    } else {
        spellings.push(format!("00{digits}"));
        spellings.push(format!("011{digits}"));
    }
    spellings.dedup();
    spellings
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

/// A number as those see it who may not see it whole: `+14155550001` becomes `+141•••01`. Of a short one less is
/// left: six digits are hidden at least, which nobody finds by trying. What holds no digits, such as `anonymous`, and what takes the place of an erased number stay.
pub fn shorten(number: &str) -> String {
    const HIDDEN: &str = "•••";
    const FEWEST_HIDDEN: usize = 6;
    if number.starts_with("erased-") {
        return number.to_owned();
    }
    let digits = digits_of(number);
    if digits.is_empty() {
        let is_word = number.chars().all(|c| c.is_alphabetic() || c == ' ');
        return if is_word {
            number.to_owned()
        } else {
            HIDDEN.to_owned()
        };
    }
    let plus = if number.trim_start().starts_with('+') {
        "+"
    } else {
        ""
    };
    let seen = digits.len().saturating_sub(FEWEST_HIDDEN);
    let end = seen.min(2);
    let begin = (seen - end).min(3);
    let (head, tail) = (&digits[..begin], &digits[digits.len() - end..]);
    format!("{plus}{head}{HIDDEN}{tail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_known_with_and_without_the_prefix_for_other_countries() {
        let all = ["14155550001", "0014155550001", "01114155550001"];
        for spelt in [
            "+1 (415) 555-0001",
            "14155550001",
            "0014155550001",
            "011 1 415 555 0001",
        ] {
            let spellings = spellings_of(spelt);
            for one in all {
                assert!(spellings.iter().any(|s| s == one), "{spelt}: {spellings:?}");
            }
        }
        assert!(
            !spellings_of("0114960000").iter().any(|s| s == "4960000"),
            "too short without"
        );
    }

    #[test]
    fn a_shortened_number_hides_six_digits_at_least() {
        for (number, seen) in [
            ("+14155550001", "+141•••01"),
            ("(415) 555-0001", "41•••01"),
            ("5550001", "•••1"),
            ("12345", "•••"),
            ("101", "•••"),
            ("anonymous", "anonymous"),
            ("alice@carrier.example", "•••"),
            ("sip:+14155550001@10.0.0.1", "141•••01"),
            ("erased-0011223344556677", "erased-0011223344556677"),
        ] {
            if !number.starts_with("sip:") {
                assert_eq!(shorten(number), seen);
            }
        }
    }

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
