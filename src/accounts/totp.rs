//! Codes that change every 30 seconds (RFC 6238 with SHA-1 and six digits, as every authenticator app has them), and the
//! codes for those who lost theirs. A leaf: it keeps nothing.

use ring::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Seconds that a code is shown.
pub const PERIOD: i64 = 30;

/// Digits of a code.
pub const DIGITS: usize = 6;

/// Steps before and after the present one whose codes are taken too: clocks differ, and people type slowly.
const WINDOW: i64 = 1;

/// Bytes of a secret: as many as the hash has (RFC 4226, 4).
const SECRET: usize = 20;

/// Recovery codes that are given at once.
pub const RECOVERY_CODES: usize = 10;

/// Letters and digits of one, 80 bits: nobody finds it from its hash.
const RECOVERY_LETTERS: usize = 16;

/// A new secret.
pub fn new_secret() -> Result<Vec<u8>, getrandom::Error> {
    let mut secret = vec![0; SECRET];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}

/// The code of a step: seconds since 1970, divided by [`PERIOD`].
pub fn code(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes.last().copied().unwrap_or_default() & 0xf);
    let four = bytes.get(offset..offset + 4).unwrap_or_default();
    let number = four.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) & 0x7fff_ffff;
    format!("{:0width$}", number % 1_000_000, width = DIGITS)
}

/// The step whose code this is, of those around `now` (seconds since 1970) and after `last`, the last one that was taken.
/// Looks at all of them, so that time tells nothing.
pub fn step_of(secret: &[u8], given: &str, now: i64, last: i64) -> Option<i64> {
    let given: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    let present = now.div_euclid(PERIOD);
    let mut found = None;
    for step in present - WINDOW..=present + WINDOW {
        let right = bool::from(code(secret, step).as_bytes().ct_eq(given.as_bytes()));
        if right && step > last && found.is_none() {
            found = Some(step);
        }
    }
    found
}

/// A secret as people type it (RFC 4648, base 32 without padding).
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for part in bytes.chunks(5) {
        let mut five = [0; 5];
        five[..part.len()].copy_from_slice(part);
        let number = five.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
        for place in 0..(part.len() * 8).div_ceil(5) {
            let digit = number >> (35 - 5 * place) & 31;
            text.push(char::from(ALPHABET[digit as usize]));
        }
    }
    text
}

/// The address that authenticator apps read from a QR code.
pub fn uri(issuer: &str, account: &str, secret: &[u8]) -> String {
    let (issuer, account) = (percent_encoded(issuer), percent_encoded(account));
    let secret = base32(secret);
    format!(
        "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={PERIOD}"
    )
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A recovery code from random letters: in groups, as people copy it.
pub fn new_recovery_code(
    letters: impl Fn(usize) -> Result<String, getrandom::Error>,
) -> Result<String, getrandom::Error> {
    let letters = letters(RECOVERY_LETTERS)?;
    let groups: Vec<&str> = (0..RECOVERY_LETTERS / 4)
        .map(|n| &letters[4 * n..4 * n + 4])
        .collect();
    Ok(groups.join("-"))
}

/// What is kept of a recovery code, however it is typed.
pub fn recovery_hash(code: &str) -> [u8; 32] {
    let plain: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    Sha256::digest(plain.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B: its last six digits.
        for (at, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(SEED, at / PERIOD), expected, "{at}");
        }
    }

    #[test]
    fn a_code_is_taken_half_a_minute_early_or_late_and_never_twice() {
        let now = 1_234_567_890;
        let present = now / PERIOD;
        for step in present - 1..=present + 1 {
            assert_eq!(step_of(SEED, &code(SEED, step), now, 0), Some(step));
        }
        for step in [present - 2, present + 2] {
            assert_eq!(step_of(SEED, &code(SEED, step), now, 0), None);
        }
        let (given, typed) = (code(SEED, present), "005 924");
        assert_eq!(step_of(SEED, typed, now, 0), Some(present));
        assert_eq!(step_of(SEED, &given, now, present), None);
        for wrong in ["", "5924", "0059240", "00592x", "００５９２４"] {
            assert_eq!(step_of(SEED, wrong, now, 0), None, "{wrong}");
        }
    }

    #[test]
    fn base_32_is_that_of_the_rfc() {
        // RFC 4648, 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
        assert_eq!(
            uri("cap conduit", "jörg", b"foobar"),
            "otpauth://totp/cap%20conduit:j%C3%B6rg?secret=MZXW6YTBOI&issuer=cap%20conduit\
             &algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn a_recovery_code_is_the_same_however_it_is_typed() {
        let letters = |n: usize| Ok("abcdefghijkmnpqr"[..n].to_owned());
        let code = new_recovery_code(letters).expect("letters");
        assert_eq!(code, "abcd-efgh-ijkm-npqr");
        for typed in ["ABCDEFGHIJKMNPQR", " abcd efgh ijkm npqr\n"] {
            assert_eq!(recovery_hash(typed), recovery_hash(&code));
        }
        assert_ne!(recovery_hash("abcd"), recovery_hash(&code));
    }
}
