//! Secrets that must be read again, sealed with a key of the configuration: who has the database only has nothing.
//!
//! AES-256-GCM with a random nonce. A sealed secret is bound to its purpose: moved to another row it does not open. It
//! names its key, so that one sealed with another key is told from one that was tampered with.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};

/// First byte of what is sealed this way.
const VERSION: u8 = 1;

/// Bytes that name the key.
const KEY_NAME: usize = 4;

/// A key to seal with. Cheap to make; never printed.
pub struct SealingKey {
    key: LessSafeKey,
    name: [u8; KEY_NAME],
}

/// The key of now, and the one before it while what that sealed is sealed anew.
#[derive(Debug)]
pub struct SealingKeys {
    /// Seals, and opens.
    pub current: SealingKey,
    /// Only opens.
    pub previous: Option<SealingKey>,
}

impl SealingKeys {
    /// Seals a secret for a purpose, with the key of now.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, Error> {
        self.current.seal(purpose, secret)
    }

    /// Opens what was sealed for a purpose, and says whether it was sealed with the key before.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<(Vec<u8>, bool), Error> {
        match (self.current.open(purpose, sealed), &self.previous) {
            (Err(Error::OtherKey), Some(previous)) => Ok((previous.open(purpose, sealed)?, true)),
            (opened, _) => Ok((opened?, false)),
        }
    }
}

/// Why a secret was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel gives no randomness.
    #[error("the kernel gives no randomness")]
    Randomness,
    /// It was sealed with another key.
    #[error("the secret was sealed with another key than accounts.sealing_key")]
    OtherKey,
    /// It is not what was sealed, or not for this.
    #[error("the sealed secret is damaged")]
    Damaged,
}

impl SealingKey {
    /// From the text of the configuration: a long random text, not a password.
    #[expect(
        clippy::missing_panics_doc,
        reason = "a digest has the length of the key"
    )]
    pub fn new(text: &str) -> Self {
        let derived = |purpose: &str| -> [u8; 32] {
            let mut hash = Sha256::new();
            hash.update(purpose);
            hash.update(text);
            hash.finalize().into()
        };
        let unbound = UnboundKey::new(&AES_256_GCM, &derived("capconduit sealing key 1\0"));
        let named = derived("capconduit name of sealing key 1\0");
        let mut name = [0; KEY_NAME];
        name.copy_from_slice(&named[..KEY_NAME]);
        Self {
            key: LessSafeKey::new(unbound.expect("32 bytes are the length of the key")),
            name,
        }
    }

    /// Seals a secret for a purpose.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| Error::Randomness)?;
        let mut sealed = vec![VERSION];
        sealed.extend(self.name);
        sealed.extend(nonce);
        let mut body = secret.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(purpose), &mut body)
            .map_err(|_| Error::Damaged)?;
        sealed.extend(body);
        Ok(sealed)
    }

    /// Opens what was sealed for a purpose.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(Error::Damaged)?;
        let (name, rest) = rest.split_at_checked(KEY_NAME).ok_or(Error::Damaged)?;
        if name != self.name {
            return Err(Error::OtherKey);
        }
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Error::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Damaged)?;
        let mut body = body.to_vec();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(purpose), &mut body)
            .map_err(|_| Error::Damaged)?;
        Ok(opened.to_vec())
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_with_its_key_for_its_purpose_as_it_was() {
        let key = SealingKey::new(&"k".repeat(32));
        let sealed = key.seal("totp:3", b"a secret").expect("seals");
        assert_eq!(key.open("totp:3", &sealed), Ok(b"a secret".to_vec()));
        assert_ne!(sealed, key.seal("totp:3", b"a secret").expect("seals"));
        assert!(!sealed.windows(8).any(|part| part == b"a secret"));
        assert_eq!(key.open("totp:4", &sealed), Err(Error::Damaged));
        let other = SealingKey::new(&"l".repeat(32));
        assert_eq!(other.open("totp:3", &sealed), Err(Error::OtherKey));
        let keys = SealingKeys {
            current: SealingKey::new(&"l".repeat(32)),
            previous: Some(SealingKey::new(&"k".repeat(32))),
        };
        assert_eq!(
            keys.open("totp:3", &sealed),
            Ok((b"a secret".to_vec(), true))
        );
        let anew = keys.seal("totp:3", b"a secret").expect("seals");
        assert_eq!(
            keys.open("totp:3", &anew),
            Ok((b"a secret".to_vec(), false))
        );
        assert_eq!(key.open("totp:3", &anew), Err(Error::OtherKey));
        for at in 5..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open("totp:3", &changed), Err(Error::Damaged), "{at}");
        }
        for length in 0..sealed.len() {
            assert!(key.open("totp:3", &sealed[..length]).is_err(), "{length}");
        }
    }
}
