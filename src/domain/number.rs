//! Numbers as they arrive: the dialled one is looked up, any number is masked before it is logged.

use std::fmt;

/// The number a caller dialled, cleaned for look-up.
///
/// DIDs are kept in E.164 with a leading `+`. Carriers send them with or without it, so
/// [`lookup_keys`](Self::lookup_keys) gives both spellings, the one dialled first.
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

    /// The cleaned text, for storing. Use [`fmt::Display`] for logs: it masks.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Spellings to look for in `dids.number`, the dialled one first. Empty for a number that cannot
    /// be a DID.
    pub fn lookup_keys(&self) -> Vec<String> {
        let digits = self.0.strip_prefix('+').unwrap_or(&self.0);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return if self.0.is_empty() {
                Vec::new()
            } else {
                vec![self.0.clone()]
            };
        }
        if self.0.starts_with('+') {
            vec![self.0.clone(), digits.to_owned()]
        } else {
            vec![self.0.clone(), format!("+{digits}")]
        }
    }
}

impl fmt::Debug for DialledNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DialledNumber({})", mask(&self.0))
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
    fn a_did_is_found_with_and_without_plus() {
        let keys = |text| DialledNumber::from_untrusted(text).lookup_keys();
        assert_eq!(keys("+18005550101"), ["+18005550101", "18005550101"]);
        assert_eq!(keys("18005550101"), ["18005550101", "+18005550101"]);
        assert_eq!(keys("sales"), ["sales"]);
        assert!(keys("").is_empty());
        assert!(keys("\r\n\0").is_empty());
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
