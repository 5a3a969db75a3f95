//! Passwords: how they are kept and compared.
//!
//! New ones are kept as Argon2id. Those of CapConduit are bcrypt hashes; they are taken, and replaced at the
//! first login ([`is_outdated`]).

use std::sync::LazyLock;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Hashing takes 19 MiB and some ten milliseconds; more at once than there are cores only costs memory.
static AT_WORK: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Semaphore::new(cores)
});

/// Hash of a password that nobody has.
static NOBODYS: LazyLock<String> = LazyLock::new(|| {
    let mut bytes = [0_u8; 16];
    // Should the kernel have no randomness: no account has this hash, so it opens nothing.
    let _ = getrandom::fill(&mut bytes);
    hash(&format!("{bytes:?}")).unwrap_or_default()
});

/// A bcrypt hash of this cost takes a good ten seconds; one beyond it is no hash that anybody made.
const MAX_BCRYPT_COST: u32 = 17;

/// A hash could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash a password: {0}")]
pub struct HashError(String);

/// Argon2id with the crate's default cost (19 MiB, 2 passes, as OWASP recommends), as PHC string.
pub fn hash(password: &str) -> Result<String, HashError> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    Ok(hash.map_err(|e| HashError(e.to_string()))?.to_string())
}

/// Whether this is the password of the hash: Argon2, or bcrypt, which looks at the first 72 bytes.
pub fn verify(password: &str, hash: &str) -> bool {
    if is_bcrypt(hash) {
        let cost: Option<u32> = hash.get(4..6).and_then(|cost| cost.parse().ok());
        return cost.is_some_and(|cost| cost <= MAX_BCRYPT_COST)
            && bcrypt::verify(password, hash).unwrap_or(false);
    }
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// Does the work of [`verify`] for an account that does not exist.
pub fn verify_nobodys(password: &str) {
    std::hint::black_box(verify(password, &NOBODYS));
}

fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"]
        .iter()
        .any(|prefix| hash.starts_with(prefix))
}

/// Whether [`hash`] would make another kind of hash now.
pub fn is_outdated(hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        return true;
    };
    let now = Params::default();
    let params = Params::try_from(&hash);
    Algorithm::try_from(hash.algorithm.as_str()) != Ok(Algorithm::Argon2id)
        || hash.version != Some(Version::default().into())
        || !params.is_ok_and(|then| {
            (then.m_cost(), then.t_cost(), then.p_cost())
                == (now.m_cost(), now.t_cost(), now.p_cost())
        })
}

/// A place among the few that may work on passwords at once.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held, not looked at")] SemaphorePermit<'static>);

/// Waits for a turn.
pub async fn turn() -> Option<Turn> {
    // The semaphore is never closed.
    AT_WORK.acquire().await.ok().map(Turn)
}

impl Turn {
    /// Runs work on passwords where it blocks nobody.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        tokio::task::spawn_blocking(work).await.ok()
    }
}

/// Runs work on passwords where it blocks nobody, a few at a time.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    turn().await?.run(work).await
}

/// Random letters and digits, five bits each, none that look alike.
pub fn random_letters(count: usize) -> Result<String, getrandom::Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0_u8; count];
    getrandom::fill(&mut bytes)?;
    let letters = bytes.iter().map(|byte| ALPHABET[usize::from(byte % 32)]);
    Ok(letters.map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As CapConduit makes them, but quicker.
    fn bcrypt_hash(password: &str) -> String {
        let hash = bcrypt::hash_with_salt(password, 4, [7; 16]).expect("a hash");
        hash.to_string()
    }

    #[test]
    fn bcrypt_hashes_of_every_age_verify_and_are_outdated() {
        let hash = bcrypt_hash("pässword");
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let hash = hash.replacen("$2b$", prefix, 1);
            assert!(verify("pässword", &hash), "{hash}");
            assert!(!verify("password", &hash), "{hash}");
            assert!(is_outdated(&hash));
        }
        // Known from the paper's implementation.
        assert!(verify(
            "U*U",
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
        ));
    }

    #[test]
    fn bcrypt_compares_72_bytes() {
        let hash = bcrypt_hash(&"x".repeat(80));
        assert!(verify(&"x".repeat(72), &hash));
        assert!(verify(&format!("{}y", "x".repeat(72)), &hash));
        assert!(!verify(&"x".repeat(71), &hash));
    }

    #[test]
    fn argon2_is_outdated_with_other_parameters_only() {
        let current = hash("a").expect("a hash");
        assert!(verify("a", &current) && !verify("b", &current));
        assert!(!is_outdated(&current));
        let weaker = Argon2::new(
            Algorithm::Argon2id,
            Version::default(),
            Params::new(8 * 1024, 1, 1, None).expect("parameters"),
        );
        let weaker = weaker.hash_password(b"a").expect("a hash").to_string();
        assert!(verify("a", &weaker));
        assert!(is_outdated(&weaker));
    }

    #[test]
    fn what_is_no_hash_has_no_password() {
        for broken in [
            "",
            "!",
            "$2b$12$short",
            "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$argon2id$x",
        ] {
            assert!(!verify("", broken) && !verify("a", broken), "{broken}");
        }
    }
}
