//! Passwords that everybody tries first.

use std::collections::HashSet;
use std::sync::LazyLock;

/// A few hundred that stand at the head of every list of guesses, one a line, in lower case.
const COMMON: &str = include_str!("common_passwords.txt");

static COMMON_SET: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let lines = COMMON.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).collect()
});

/// What passwords must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordRule {
    /// Fewest characters.
    pub min_length: usize,
    /// Those that everybody tries are refused.
    pub refuse_common: bool,
}

/// What is wrong with a password, as a sentence to its owner.
pub fn weakness(password: &str, rule: PasswordRule, username: &str, email: &str) -> Option<String> {
    if password.chars().count() < rule.min_length {
        return Some(format!(
            "Must have at least {} characters.",
            rule.min_length
        ));
    }
    if !rule.refuse_common {
        return None;
    }
    if password.trim().is_empty() {
        return Some("Must hold more than blanks.".to_owned());
    }
    let mut characters = password.chars();
    let first = characters.next();
    if characters.all(|c| Some(c) == first) {
        return Some("Must be more than one character again and again.".to_owned());
    }
    let folded = password.trim().to_lowercase();
    let bare = bare(&folded);
    let name = email.split_once('@').map_or(email, |(name, _)| name);
    for (what, own) in [
        ("user name", username),
        ("e-mail address", email),
        ("name of the e-mail address", name),
    ] {
        let own = own.to_lowercase();
        if !own.is_empty() && (folded == own || bare == own) {
            return Some(format!(
                "Must not be the {what}, with or without digits around it."
            ));
        }
    }
    if COMMON_SET.contains(folded.as_str()) {
        return Some(
            "Is one of the passwords that everybody tries. Take several words that do not belong together.".to_owned(),
        );
    }
    None
}

/// Without the digits and signs that people put around a word.
fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(password: &str) -> bool {
        let rule = PasswordRule {
            min_length: 8,
            refuse_common: true,
        };
        weakness(password, rule, "seller_alice", "alice.archer@example.com").is_some()
    }

    #[test]
    fn what_everybody_tries_is_refused() {
        for bad in [
            "password",
            "PassWord",
            "12345678",
            "qwertyuiop",
            "Password1",
            "letmein123",
            "        ",
            "\u{a0}\u{a0}\u{a0}\u{a0}\u{a0}\u{a0}\u{a0}\u{a0}",
            "aaaaaaaaaa",
            "seller_alice",
            "Seller_Alice",
            "seller_alice2026!",
            "alice.archer",
            "alice.archer@example.com",
            "short",
            "capconduit",
        ] {
            assert!(refused(bad), "{bad}");
        }
        for good in [
            "a long password",
            "correct horse battery staple",
            "pässwörd mit Umlaut",
            "x7#kQ2!v",
            "alice likes tea",
        ] {
            assert!(!refused(good), "{good}");
        }
    }

    #[test]
    fn the_rule_can_be_told_otherwise() {
        let lenient = PasswordRule {
            min_length: 8,
            refuse_common: false,
        };
        assert_eq!(weakness("password", lenient, "a", "a@b.c"), None);
        let strict = PasswordRule {
            min_length: 12,
            refuse_common: true,
        };
        let said = weakness("elevenchars", strict, "a", "a@b.c");
        assert_eq!(said.as_deref(), Some("Must have at least 12 characters."));
        assert_eq!(weakness("zwölf zeichen", strict, "a", "a@b.c"), None);
    }

    #[test]
    fn the_list_is_in_lower_case_and_holds_none_twice() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(lines.len() >= 300, "{}", lines.len());
        assert_eq!(COMMON_SET.len(), lines.len());
        for line in lines {
            assert_eq!(line, line.to_lowercase().trim());
            assert!(line.chars().count() >= 6, "{line}");
        }
    }
}
