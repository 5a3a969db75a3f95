//! What accounts may be called.

/// Most characters of an e-mail address.
pub const EMAIL_MAX: usize = 120;

/// Whether a text can be an e-mail address: a name, `@`, a domain of two labels or more. Strict enough to find
/// slips, not a judgement on what some mail server accepts (RFC 5321, 4.1.2).
pub fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else {
        return false;
    };
    let of_name = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let of_domain = |c: char| c.is_alphanumeric() || c == '-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(of_domain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.chars().count() <= EMAIL_MAX
        && name.len() <= 64
        && name
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(of_name))
        && domain.contains('.')
        && domain.split('.').all(is_label)
}

/// Whether a text can be a name to log in with, whatever its length: nothing invisible in it or around it.
pub fn is_username(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.trim() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_has_a_name_and_a_domain() {
        for good in [
            "alice@leads.example",
            "a.b+c@x-y.co",
            "o'neil@example.com",
            "1@2.3",
            "jörg@müller.example",
        ] {
            assert!(is_email(good), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "alice",
            "alice@",
            "@example.com",
            "alice@example",
            "alice@example.",
            "alice@.com",
            "alice@-x.com",
            "a@b@c.com",
            "a b@c.com",
            "a..b@c.com",
            ".a@c.com",
            "alice@example.com\n",
            "alice@exa\u{0}mple.com",
            "a@c.com,b@c.com",
            "<a@c.com>",
            &long,
        ] {
            assert!(!is_email(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_username_has_nothing_invisible_around_it() {
        assert!(is_username("alice archer"));
        for bad in [" alice", "alice ", "al\tice", "   ", "alice\u{a0}"] {
            assert!(!is_username(bad), "{bad:?}");
        }
    }
}
