//! What may stand in PJSIP objects. Asterisk reads them as they are kept, so what it would take for something else,
//! a second address, a second value, a line of its own, is refused before it is kept.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a text is one address to dial: `sip:` or `sips:`, optional user, host, optional port and parameters
/// (RFC 3261, 25.1), without header fields. Commas, which part addresses in Asterisk, are refused everywhere.
pub fn is_contact(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return false;
    }
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let (host, parameters) = match rest.split_once(';') {
        Some((host, parameters)) => (host, Some(parameters)),
        None => (rest, None),
    };
    user.is_none_or(is_user_info)
        && is_host_and_port(host)
        && parameters.is_none_or(|parameters| parameters.split(';').all(is_parameter))
}

/// Whether a text is the user of an address, without password.
pub fn is_user(text: &str) -> bool {
    !text.is_empty() && is_escaped(text, |b| is_unreserved(b) || b"&=+$;/#".contains(&b))
}

fn is_user_info(text: &str) -> bool {
    match text.split_once(':') {
        None => is_user(text),
        Some((user, password)) => {
            is_user(user) && is_escaped(password, |b| is_unreserved(b) || b"&=+$".contains(&b))
        }
    }
}

/// Whether a text is a host, with or without port.
pub fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => return address.parse::<Ipv6Addr>().is_ok(),
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => {
                return port.strip_prefix(':').is_some_and(is_port);
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    is_host(host) && port.is_none_or(is_port)
}

/// A name or an IPv4 address. Underscores are no part of host names, and of many all the same.
fn is_host(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253
        && name.split('.').all(is_label)
        && (!numeric || text.parse::<Ipv4Addr>().is_ok())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_parameter(text: &str) -> bool {
    let allowed = |b: u8| is_unreserved(b) || b"[]/:&+$".contains(&b);
    let mut parts = text.splitn(2, '=');
    parts.all(|part| !part.is_empty() && is_escaped(part, allowed))
}

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&b)
}

/// All bytes are allowed ones or `%` with two hexadecimal digits that stand for a character one can see.
fn is_escaped(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return false;
            };
            if !(0x20..0x7f).contains(&(high * 16 + low)) {
                return false;
            }
        } else if !allowed(b) {
            return false;
        }
    }
    true
}

/// Whether a text can name a context, transport or credentials: letters, digits, `_`, `.`, `-`, and `+`, `:`, `@`, `/`
/// behind the first character.
pub fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    text.bytes().next().is_some_and(plain) && text.bytes().all(|b| plain(b) || b"+:@/".contains(&b))
}

/// Whether a text is names parted by commas, with blanks around them or without.
pub fn is_name_list(text: &str) -> bool {
    names(text).all(is_name)
}

/// The names of a list.
pub fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|name| name.trim_matches(' '))
}

/// Whether a text can list codecs, as in `ulaw,alaw` or `!all,opus`. May be empty.
pub fn is_codec_list(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_.,!&|:- ".contains(&b))
}

/// Whether a text means in Asterisk what it says here: no control characters, no blanks at its ends, which would be
/// cut, and no `^` with two digits behind it, which would be decoded.
pub fn is_plain(text: &str) -> bool {
    let is_digit = |b: &u8| b.is_ascii_digit() || (b'A'..=b'F').contains(b);
    let coded = text
        .as_bytes()
        .windows(3)
        .any(|w| w[0] == b'^' && is_digit(&w[1]) && is_digit(&w[2]));
    !text.chars().any(char::is_control) && text.trim() == text && !coded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_that_asterisk_dials_pass() {
        for good in [
            "sip:alpha@127.0.0.1:5071",
            "sip:127.0.0.1",
            "sips:agent@pbx.example.com",
            "SIP:agent@pbx",
            "sip:agent@pbx.example.com:5061;transport=udp;lr",
            "sip:+18005550101@[2001:db8::1]:5060;transport=tcp",
            "sip:[::1]",
            "sip:1001:secret@10.0.0.1",
            "sip:99%23+18005550101;phone-context=x@gw_1.internal",
            "sip:99#1800@gw.example.com.",
            "sip:a@b;maddr=[::1];x",
        ] {
            assert!(is_contact(good), "{good}");
        }
    }

    #[test]
    fn what_is_no_address_or_more_than_one_is_refused() {
        for bad in [
            "",
            "alpha",
            "alpha@127.0.0.1",
            "tel:+18005550101",
            "sip:",
            "sip:@host",
            "sip:a@",
            "sip:a@host:",
            "sip:a@host:0",
            "sip:a@host:65536",
            "sip:a@host:+50",
            "sip:a@host:5060:1",
            "sip:a@300.1.1.1",
            "sip:a@1.2.3",
            "sip:a@-host",
            "sip:a@host..x",
            "sip:a@[::1",
            "sip:a@[::g]",
            "sip:a@[::1]x",
            "sip:a@::1",
            "sip:a@host;",
            "sip:a@host;;lr",
            "sip:a@host;transport=",
            "sip:a@host;=udp",
            "sip:a@host,sip:b@host",
            "sip:a,b@host",
            "sip:a@host;x=a,b",
            "sip:a@host?Replaces=1",
            "sip:a%0d%0aX@host",
            "sip:a%00@host",
            "sip:a%4@host",
            "sip:a b@host",
            " sip:a@host",
            "sip:a@host ",
            "sip:a@host\r\nX: y",
            "sip:a@host\u{0}",
            "sip:ä@host",
            "sip:a@hóst",
            "<sip:a@host>",
            "\"A\" <sip:a@host>",
            "sip:a@host^3Btransport=tcp",
            "sip:a@b@host",
        ] {
            assert!(!is_contact(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_contact_never_holds_what_parts_values_or_lines(text in "(sip:)?[ -~\\n\\r\\t,;@:a-c0-9\\[\\].%äñ]{0,40}") {
            if is_contact(&text) {
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
                let parting = text.contains([',', '"', '<', '>', '\\', '^', '?']);
                prop_assert!(!parting);
            }
        }

        #[test]
        fn an_address_of_sound_parts_passes(
            user in proptest::option::of("[a-zA-Z0-9_.+-]{1,20}"),
            host in "[a-z][a-z0-9]{0,10}(\\.[a-z][a-z0-9]{0,10}){0,3}",
            port in proptest::option::of(1_u16..),
            parameter in proptest::option::of("[a-z]{1,8}(=[a-z0-9.]{1,8})?"),
        ) {
            let mut text = "sip:".to_owned();
            if let Some(user) = user {
                text += &format!("{user}@");
            }
            text += &host;
            if let Some(port) = port {
                text += &format!(":{port}");
            }
            if let Some(parameter) = parameter {
                text += &format!(";{parameter}");
            }
            prop_assert!(is_contact(&text), "{text}");
        }
    }

    #[test]
    fn names_lists_and_codecs_are_plain() {
        assert!(is_name("transport-udp") && is_name("0.0.0.0-udp") && is_name("auth_to_gamma"));
        for bad in ["", "a b", "a;b", "a,b", "/x", "a\n", "ä"] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name_list("a") && is_name_list("a, b,c"));
        assert!(!is_name_list("") && !is_name_list("a,,b") && !is_name_list("a;b"));
        assert_eq!(names("a, b").collect::<Vec<_>>(), ["a", "b"]);
        assert!(is_codec_list("!all,ulaw:20, alaw") && is_codec_list(""));
        assert!(!is_codec_list("ulaw;alaw") && !is_codec_list("ulaw\nalaw"));
    }

    #[test]
    fn plain_text_arrives_as_it_is() {
        for good in ["", "a;b", "\"Näme\" <+1800>", "^", "^3", "^3b", "a^b"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in [" a", "a ", "a\nb", "a^3Bb", "\u{0}", "\u{85}"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }
}
