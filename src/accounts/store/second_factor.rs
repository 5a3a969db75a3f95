//! Second factors: sealed secrets, attempts at their codes, recovery codes.
//!
//! Invariant: an attempt is counted before its code is looked at, and a code that was taken is never taken again, however
//! many try at once.

use std::time::Duration;

use jiff::Timestamp;

use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "accounts/sql/totp";
        ACCEPT = "accept",
        ADD_CODES = "add_codes",
        ATTEMPT = "attempt",
        BEGIN = "begin",
        CONFIRM = "confirm",
        REMOVE = "remove",
        REMOVE_CODES = "remove_codes",
        RESEAL = "reseal",
        STATE = "state",
        USE_CODE = "use_code",
    }
}

/// An attempt that may go on.
#[derive(Debug)]
pub struct Attempt {
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// The last step whose code was taken.
    pub last_step: i64,
    /// Seconds since 1970, by the database's clock.
    pub now: i64,
    /// Should it fail, the factor is locked.
    pub last_one: bool,
}

/// The second factor of an account.
#[derive(Debug, Clone, Copy)]
pub struct FactorState {
    /// Since when it holds; `None`: it waits for its first code.
    pub confirmed_at: Option<Timestamp>,
    /// So long no code is looked at; zero: it is not locked.
    pub wait: Duration,
    /// Recovery codes that were not used.
    pub codes_left: i64,
}

impl Store {
    /// Counts an attempt at a code of this account. With attempt `allowed` it is locked, unless that succeeds. `None`:
    /// it is locked, or there is nothing to attempt. `unconfirmed`: also one that waits for its first code.
    pub async fn attempt_factor(
        &self,
        user: UserId,
        allowed: u32,
        lock: Duration,
        unconfirmed: bool,
    ) -> Result<Option<Attempt>, Error> {
        let allowed = i32::try_from(allowed).unwrap_or(i32::MAX);
        let rows = self
            .once(
                Reach::Everything,
                sql::ATTEMPT,
                &[&user.0, &allowed, &lock.as_secs_f64(), &unconfirmed],
            )
            .await?;
        let row = rows.first();
        row.map(|row| {
            let get = reader(sql::ATTEMPT, row);
            Ok(Attempt {
                sealed: get.column("sealed")?,
                last_step: get.column("last_step")?,
                now: get.column("now")?,
                last_one: get.column("last_one")?,
            })
        })
        .transpose()
    }

    /// Takes the code of a step, once. `false` if it, or a later one, was taken before.
    pub async fn accept_code(&self, user: UserId, step: i64) -> Result<bool, Error> {
        let rows = self
            .once(Reach::Everything, sql::ACCEPT, &[&user.0, &step])
            .await?;
        Ok(!rows.is_empty())
    }

    /// Keeps the same secret sealed with another key.
    pub async fn reseal_factor(&self, user: UserId, old: &[u8], new: &[u8]) -> Result<(), Error> {
        self.once(Reach::Everything, sql::RESEAL, &[&user.0, &old, &new])
            .await?;
        Ok(())
    }

    /// Uses a recovery code, once. `false` if it is none that is left.
    pub async fn use_recovery_code(&self, user: UserId, hash: &[u8; 32]) -> Result<bool, Error> {
        let rows = self
            .once(Reach::Everything, sql::USE_CODE, &[&user.0, &&hash[..]])
            .await?;
        Ok(!rows.is_empty())
    }

    /// The second factor of an account, if it has one or is about to.
    pub async fn factor(&self, user: UserId) -> Result<Option<FactorState>, Error> {
        let rows = self.once(Reach::Everything, sql::STATE, &[&user.0]).await?;
        let row = rows.first();
        row.map(|row| {
            let get = reader(sql::STATE, row);
            let wait: f64 = get.column("wait")?;
            Ok(FactorState {
                confirmed_at: get.column("confirmed_at")?,
                wait: Duration::try_from_secs_f64(wait).unwrap_or_default(),
                codes_left: get.column("codes_left")?,
            })
        })
        .transpose()
    }

    /// Keeps a secret to be confirmed. `false`: the account has a second factor.
    pub async fn begin_factor(&self, user: UserId, sealed: &[u8]) -> Result<bool, Error> {
        let rows = self
            .once(Reach::Everything, sql::BEGIN, &[&user.0, &sealed])
            .await?;
        Ok(!rows.is_empty())
    }
}

impl Request {
    /// The second factor holds from now on. `false` if it did before, or is not there any more.
    pub async fn confirm_factor(&self, user: UserId) -> Result<bool, Error> {
        Ok(!self.rows(sql::CONFIRM, &[&user.0]).await?.is_empty())
    }

    /// Gives an account other recovery codes: their SHA-256.
    pub async fn set_recovery_codes(&self, user: UserId, hashes: &[Vec<u8>]) -> Result<(), Error> {
        self.rows(sql::REMOVE_CODES, &[&user.0]).await?;
        self.rows(sql::ADD_CODES, &[&user.0, &hashes]).await?;
        Ok(())
    }

    /// Removes the second factor of an account and its recovery codes. `false` if it has none.
    pub async fn remove_factor(&self, user: UserId) -> Result<bool, Error> {
        self.rows(sql::REMOVE_CODES, &[&user.0]).await?;
        Ok(!self.rows(sql::REMOVE, &[&user.0]).await?.is_empty())
    }
}
