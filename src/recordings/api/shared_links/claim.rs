//! What a link to a recording says, and its signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::domain::{Leg, UserId};

/// Says what is signed, so that nothing else that the key might sign passes for it.
const CONTEXT: &[u8] = b"capconduit recording link 2\0";

/// What a link says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Who is heard.
    pub leg: Leg,
    /// The attempt that was recorded.
    pub attempt: i32,
    /// The account that made it.
    pub maker: UserId,
    /// How often all links of that account had been ended by then: at any other number it is over.
    pub epoch: i32,
    /// The API key that it was made with: when that is revoked, it is over.
    pub api_key: Option<i64>,
    /// What it opens.
    pub recording_id: i64,
    /// Whose recording that is.
    pub call_id: i64,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

impl Claim {
    const BYTES: usize = 45;

    fn write(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = match self.leg {
            Leg::Mix => 0,
            Leg::Caller => 1,
            Leg::Agent => 2,
        };
        bytes[1..5].copy_from_slice(&self.attempt.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.maker.0.to_be_bytes());
        bytes[9..13].copy_from_slice(&self.epoch.to_be_bytes());
        // Ids begin at 1.
        bytes[13..21].copy_from_slice(&self.api_key.unwrap_or_default().to_be_bytes());
        bytes[21..29].copy_from_slice(&self.recording_id.to_be_bytes());
        bytes[29..37].copy_from_slice(&self.call_id.to_be_bytes());
        bytes[37..].copy_from_slice(&self.expires.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(i64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let short = |at: usize| Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            leg: match bytes.first()? {
                0 => Leg::Mix,
                1 => Leg::Caller,
                2 => Leg::Agent,
                _ => return None,
            },
            attempt: short(1)?,
            maker: UserId(short(5)?),
            epoch: short(9)?,
            api_key: Some(long(13)?).filter(|id| *id != 0),
            recording_id: long(21)?,
            call_id: long(29)?,
            expires: long(37)?,
        })
    }

    /// As it stands in the address.
    pub fn sign(self, key: &[u8]) -> String {
        let mut bytes = self.write().to_vec();
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &signed(&bytes));
        bytes.extend_from_slice(signature.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token says, before anybody knows whether it is true; with its signature.
    pub fn parse(token: &str) -> Option<(Self, Vec<u8>)> {
        // Nothing longer is decoded.
        if token.len() != (Self::BYTES + 32).div_ceil(3) * 4 - 1 {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let signature = bytes.split_off(Self::BYTES);
        Some((Self::read(&bytes)?, signature))
    }

    /// Whether it was signed with this key.
    pub fn is_signed(self, key: &[u8], signature: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::verify(&key, &signed(&self.write()), signature).is_ok()
    }
}

fn signed(claim: &[u8]) -> Vec<u8> {
    [CONTEXT, claim].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim {
            leg: Leg::Agent,
            attempt: 2,
            maker: UserId(3),
            epoch: 5,
            api_key: Some(9),
            recording_id: 17,
            call_id: 4_711,
            expires: 1_800_000_000,
        }
    }

    #[test]
    fn a_link_says_what_was_signed() {
        let token = claim().sign(&[7; 32]);
        let (read, signature) = Claim::parse(&token).expect("a token");
        assert_eq!(read, claim());
        assert!(read.is_signed(&[7; 32], &signature));
        assert!(!read.is_signed(&[8; 32], &signature));
        let by_session = Claim {
            api_key: None,
            ..claim()
        };
        let (read, _) = Claim::parse(&by_session.sign(&[7; 32])).expect("a token");
        assert_eq!(read.api_key, None);
    }

    #[test]
    fn no_bit_of_a_link_can_be_another() {
        let token = claim().sign(&[7; 32]);
        let bytes = URL_SAFE_NO_PAD.decode(&token).expect("bytes");
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let parsed = Claim::parse(&URL_SAFE_NO_PAD.encode(forged));
            let passes =
                parsed.is_some_and(|(claim, signature)| claim.is_signed(&[7; 32], &signature));
            assert!(!passes, "bit {bit}");
        }
        for text in [
            "",
            "x",
            &token[1..],
            &format!("{token}A"),
            &format!("{token}=="),
        ] {
            assert!(Claim::parse(text).is_none(), "{text}");
        }
    }
}
