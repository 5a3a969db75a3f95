//! Passwords: how they are kept and compared.
//!
//! New ones are kept as Argon2id. Those of CapConduit are bcrypt hashes; they are taken, and replaced at the
//! first login ([`is_outdated`]). Who may work on them when is `turns`' business.

mod turns;

use std::cell::RefCell;
use std::sync::LazyLock;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;

pub use turns::{LONGEST_WAIT, Overloaded, Turn, WAITING, off_thread, turn, workers};

/// A hash of a password that nobody has.
static NOBODYS: LazyLock<String> = LazyLock::new(|| {
    let mut bytes = [0_u8; 16];
    // Should the kernel have no randomness: no account has this hash, so it opens nothing.
    let _ = getrandom::fill(&mut bytes);
    hash(&format!("{bytes:?}")).unwrap_or_default()
});

/// A bcrypt hash of this cost takes a good ten seconds; one beyond it is no hash that anybody made.
const MAX_BCRYPT_COST: u32 = 17;

/// An Argon2 hash that takes more than this is not looked at: it would take the daemon's memory.
const MAX_MEMORY_KIB: u32 = 256 * 1024;

/// A hash could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash a password: {0}")]
pub struct HashError(String);

thread_local! {
    /// What Argon2 works in: taken with a thread's first hash (19 MiB) and kept. Only the threads of `turns` hash, and
    /// the command line.
    static MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Hashes into `out`.
fn argon2_into(
    argon2: &Argon2<'_>,
    password: &str,
    salt: &[u8],
    out: &mut [u8],
) -> Result<(), HashError> {
    let blocks = argon2.params().block_count();
    let hashed = if blocks > Params::default().block_count() {
        // Of somebody else's parameters, until the next login: not kept.
        let mut more = vec![Block::default(); blocks];
        argon2.hash_password_into_with_memory(password.as_bytes(), salt, out, &mut more)
    } else {
        MEMORY.with_borrow_mut(|memory| {
            memory.resize(Params::default().block_count(), Block::default());
            argon2.hash_password_into_with_memory(password.as_bytes(), salt, out, memory)
        })
    };
    hashed.map_err(|error| HashError(error.to_string()))
}

/// Argon2id with the crate's default cost (19 MiB, 2 passes, as OWASP recommends), as PHC string.
pub fn hash(password: &str) -> Result<String, HashError> {
    let failed = |error: &dyn std::fmt::Display| HashError(error.to_string());
    let argon2 = Argon2::default();
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(|e| failed(&e))?;
    let mut out = [0_u8; Params::DEFAULT_OUTPUT_LEN];
    argon2_into(&argon2, password, &salt, &mut out)?;
    let hash = PasswordHash {
        algorithm: Algorithm::default().ident(),
        version: Some(Version::default().into()),
        params: ParamsString::try_from(argon2.params()).map_err(|e| failed(&e))?,
        salt: Some(Salt::new(&salt).map_err(|e| failed(&e))?),
        hash: Some(Output::new(&out).map_err(|e| failed(&e))?),
    };
    Ok(hash.to_string())
}

/// Whether this is the password of the hash: Argon2, or bcrypt, which looks at the first 72 bytes.
pub fn verify(password: &str, hash: &str) -> bool {
    if is_bcrypt(hash) {
        return cost_of(hash).is_some() && bcrypt::verify(password, hash).unwrap_or(false);
    }
    verify_argon2(password, hash).unwrap_or(false)
}

fn verify_argon2(password: &str, hash: &str) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash
        .version
        .map_or(Ok(Version::default()), Version::try_from);
    let params = Params::try_from(&hash).ok()?;
    if params.m_cost() > MAX_MEMORY_KIB {
        return None;
    }
    let (salt, kept) = (hash.salt?, hash.hash?);
    let mut made = vec![0_u8; kept.len()];
    let argon2 = Argon2::new(algorithm, version.ok()?, params);
    argon2_into(&argon2, password, &salt, &mut made).ok()?;
    Some(bool::from(made.ct_eq(kept.as_bytes())))
}

/// As [`verify`], but a wrong password takes the same work whatever hash the account has, and if there is no account:
/// an Argon2 hash and, while some account has a bcrypt hash, that much bcrypt. `bcrypt_cost` is the highest cost of
/// any account.
pub fn verify_evenly(password: &str, hash: Option<&str>, bcrypt_cost: Option<u32>) -> bool {
    let bcrypt_cost = bcrypt_cost.map(|cost| cost.min(MAX_BCRYPT_COST));
    let own = hash.filter(|hash| is_bcrypt(hash)).and_then(cost_of);
    if hash.is_some_and(|hash| verify(password, hash)) {
        return true;
    }
    if own.is_some() || hash.is_none() {
        std::hint::black_box(verify(password, &NOBODYS));
    }
    // Each step of the cost doubles the work: 2^c + 2^c + 2^(c+1) + … + 2^(max-1) = 2^max.
    let missing = match (own, bcrypt_cost) {
        (Some(own), Some(max)) => own..max,
        (None, Some(max)) => max..max + 1,
        (_, None) => 0..0,
    };
    for cost in missing {
        let _ = std::hint::black_box(bcrypt::hash_with_salt(password, cost, [0; 16]));
    }
    false
}

fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"]
        .iter()
        .any(|prefix| hash.starts_with(prefix))
}

/// The cost of a bcrypt hash, if it is one that anybody made.
fn cost_of(hash: &str) -> Option<u32> {
    let cost = hash.get(4..6)?.parse().ok()?;
    (cost <= MAX_BCRYPT_COST).then_some(cost)
}

/// Whether [`hash`](hash()) would make another kind of hash now.
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
    use argon2::password_hash::PasswordHasher as _;

    use super::*;

    fn hash(password: &str) -> String {
        super::hash(password).expect("a hash")
    }

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
        let current = hash("a");
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

    #[test]
    fn a_hash_is_what_the_crate_itself_would_make() {
        let ours = hash("pässword");
        let parsed = PasswordHash::new(&ours).expect("a hash");
        let salt = parsed.salt.expect("a salt");
        let theirs = Argon2::default()
            .hash_password_with_salt("pässword".as_bytes(), &salt)
            .expect("a hash");
        assert_eq!(theirs.to_string(), ours);
        assert_ne!(ours, hash("pässword"), "each has a salt of its own");
    }

    #[test]
    fn hashes_with_more_memory_than_ours_are_taken_up_to_a_limit() {
        let more = Params::new(32 * 1024, 1, 1, None).expect("parameters");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::default(), more);
        let hash = argon2.hash_password(b"a").expect("a hash").to_string();
        assert!(verify("a", &hash) && !verify("b", &hash));
        let beyond = hash.replace("m=32768", "m=4194304");
        assert!(!verify("a", &beyond));
    }

    #[test]
    fn a_password_is_right_whatever_else_is_worked_through() {
        let (old, new) = (bcrypt_hash("a"), hash("a"));
        for kinds in [None, Some(4), Some(6)] {
            for kept in [&old, &new] {
                assert!(verify_evenly("a", Some(kept), kinds));
                assert!(!verify_evenly("b", Some(kept), kinds));
            }
            assert!(!verify_evenly("a", None, kinds));
        }
    }
}
