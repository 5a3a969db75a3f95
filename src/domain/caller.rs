//! The caller as Asterisk presents it: untrusted text, made storable.

use std::fmt;

use super::number::mask;

/// Caller id number and name, free of control and direction-changing characters and cut to the width of
/// their columns. Absent where Asterisk says `unknown` or nothing printable is left.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CallerId {
    /// `call_logs.caller_id_num`, at most 50 characters.
    pub number: Option<String>,
    /// `call_logs.caller_id_name`, at most 100 characters.
    pub name: Option<String>,
}

impl CallerId {
    /// Cleans what came from the network.
    pub fn from_untrusted(number: &str, name: &str) -> Self {
        Self {
            number: clean(number, 50),
            name: clean(name, 100),
        }
    }
}

/// As it may stand in a log: the number, masked; nothing where there is none.
impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number.as_deref().map(mask);
        f.write_str(&number.unwrap_or_default())
    }
}

/// The same: no form of it shows the number.
impl fmt::Debug for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn clean(text: &str, max_chars: usize) -> Option<String> {
    let cleaned: String = text
        .chars()
        .filter(|c| !c.is_control() && !is_direction_mark(*c))
        .take(max_chars)
        .collect();
    let cleaned = cleaned.trim();
    (!cleaned.is_empty() && cleaned != "unknown").then(|| cleaned.to_owned())
}

/// Unicode's bidirectional controls (UAX #9), which can make a log line or a page read wrongly.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_log_shows_the_masked_number_and_no_word_of_the_program() {
        let caller = CallerId::from_untrusted("+18005550101", "Alice");
        assert_eq!(caller.to_string(), "**********01");
        assert_eq!(format!("{caller:?}"), "**********01");
        assert_eq!(format!("{:?}", CallerId::default()), "");
    }

    #[test]
    fn hostile_names_keep_their_harmless_characters() {
        let caller =
            CallerId::from_untrusted("+4930\n555\0", "\"; drop table x; -- ${EXTEN}\u{202e}");
        assert_eq!(caller.number.as_deref(), Some("+4930555"));
        assert_eq!(
            caller.name.as_deref(),
            Some("\"; drop table x; -- ${EXTEN}")
        );
    }

    #[test]
    fn asterisks_unknown_is_absent() {
        assert_eq!(
            CallerId::from_untrusted("unknown", "unknown"),
            CallerId::default()
        );
        assert_eq!(CallerId::from_untrusted("", "\t "), CallerId::default());
    }

    proptest! {
        #[test]
        fn any_text_becomes_storable(number in any::<String>(), name in any::<String>()) {
            let caller = CallerId::from_untrusted(&number, &name);
            for (text, max) in [(caller.number, 50), (caller.name, 100)] {
                if let Some(text) = text {
                    prop_assert!(text.chars().count() <= max && !text.is_empty());
                    prop_assert!(!text.contains('\0') && !text.contains('\n'));
                }
            }
        }
    }
}
