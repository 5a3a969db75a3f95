//! What accounts may be called.

/// Most characters of an e-mail address.
pub const EMAIL_MAX: usize = 120;

/// With this begin the names of accounts that were erased.
const ERASED: &str = "erased-";

/// Whether an e-mail address is one that erased accounts get.
pub fn is_of_erased(email: &str) -> bool {
    let domain = email.rsplit('@').next().unwrap_or_default();
    domain.eq_ignore_ascii_case("erased.invalid")
}

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

/// Whether a text can be the name of a new account, whatever its length: ASCII letters, digits, dots, underscores and
/// hyphens, beginning with a letter or digit. No two such names look alike but by case, which is compared apart; a
/// Cyrillic a or an invisible character would make one account look like another in the audit log. Nor may it begin with
/// `erased-`, as the names of erased accounts do. Accounts that exist keep their names.
pub fn is_username(text: &str) -> bool {
    let of_name = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let is_of_erased = || {
        let start = text.as_bytes().get(..ERASED.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(ERASED.as_bytes()))
    };
    text.bytes().all(of_name)
        && !is_of_erased()
        && text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
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
    fn new_usernames_do_not_look_like_others() {
        for good in ["alice", "seller_alice-2", "Acme.Leads", "7up"] {
            assert!(is_username(good), "{good}");
        }
        for bad in [
            "",
            " alice",
            "alice archer",
            "al\tice",
            "seller_\u{430}lice",
            "x\u{202e}ecila",
            "zero\u{200b}width",
            "_alice",
            "jörg",
            "erased-3",
            "Erased-hans",
        ] {
            assert!(!is_username(bad), "{bad:?}");
        }
    }
}
