//! Failed logins: who has to wait. Shared by all daemons; a restart forgets nothing.

use std::time::Duration;

use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "accounts/sql/throttle";
        ACCOUNTS_TRIED = "accounts_tried",
        ADD_DEVICE = "add_device",
        BCRYPT_COST = "bcrypt_cost",
        CLEAR = "clear",
        COUNT = "count",
        FORGET = "forget",
        FORGET_DEVICES = "forget_devices",
        FORGET_TRIES = "forget_tries",
        SEE_DEVICE = "see_device",
        STANDING = "standing",
        TRY = "try",
        UNLOCK = "unlock",
    }
}

/// So long a browser that does not log in again is still known.
pub const DEVICE_KEPT: Duration = Duration::from_secs(180 * 86_400);

/// Browsers known of one account.
const MOST_DEVICES: i64 = 50;

/// What failed logins are counted by.
#[derive(Debug, Clone)]
pub struct Subjects {
    /// A browser that logged in before.
    pub device: Option<String>,
    /// An account, tried from a network.
    pub pair: String,
    /// A network.
    pub network: String,
    /// An account.
    pub account: String,
}

/// How a login stands before it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct LoginStanding {
    /// The browser logged in to this account before.
    pub known_device: bool,
    /// How long this browser has to wait.
    pub device_wait: Duration,
    /// How long this network has to wait at this account.
    pub pair_wait: Duration,
    /// How long this network has to wait at any account.
    pub network_wait: Duration,
    /// Failures at this account lately, from everywhere.
    pub failures: u32,
}

/// What counting a failure came to.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// Failures so far.
    pub failures: u32,
    /// This one locked the subject.
    pub locks: bool,
}

impl Store {
    /// How a login to the account of this name stands. `device` is the SHA-256 of the browser's token; `window` is how
    /// long failures of the account count.
    pub async fn login_standing(
        &self,
        username: &str,
        device: Option<&[u8; 32]>,
        subjects: &Subjects,
        window: Duration,
    ) -> Result<LoginStanding, Error> {
        let device = device.map(|hash| &hash[..]);
        let rows = self
            .authenticate_once(
                sql::STANDING,
                &[
                    &device,
                    &username,
                    &subjects.device.as_deref().unwrap_or_default(),
                    &subjects.pair,
                    &subjects.network,
                    &subjects.account,
                    &window.as_secs_f64(),
                ],
            )
            .await?;
        let row = rows.first();
        let row = row.ok_or_else(|| Error::row(sql::STANDING.name, "no row"))?;
        let get = reader(sql::STANDING, row);
        let wait = |column| -> Result<Duration, Error> {
            let seconds: f64 = get.column(column)?;
            Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
        };
        Ok(LoginStanding {
            known_device: get.column("known")?,
            device_wait: wait("device_wait")?,
            pair_wait: wait("pair_wait")?,
            network_wait: wait("network_wait")?,
            failures: get.column::<i32>("failures")?.unsigned_abs(),
        })
    }

    /// Counts a failed login; with the last one allowed the subject is locked. Whether it is, by this one.
    pub async fn count_failed_login(
        &self,
        subject: &str,
        allowed: u32,
        lock: Duration,
    ) -> Result<Counted, Error> {
        let allowed = i32::try_from(allowed).unwrap_or(i32::MAX);
        let rows = self
            .authenticate_once(sql::COUNT, &[&subject, &allowed, &lock.as_secs_f64()])
            .await?;
        let row = rows.first();
        let row = row.ok_or_else(|| Error::row(sql::COUNT.name, "no row"))?;
        let get = reader(sql::COUNT, row);
        Ok(Counted {
            failures: get.column::<i32>("failures")?.unsigned_abs(),
            locks: get.column("locks")?,
        })
    }

    /// Notes that a network failed at an account; returns at how many it did within `window`.
    pub async fn count_accounts_tried(
        &self,
        network: &str,
        account: &str,
        window: Duration,
    ) -> Result<u32, Error> {
        self.authenticate_once(sql::TRY, &[&network, &account])
            .await?;
        let rows = self
            .authenticate_once(sql::ACCOUNTS_TRIED, &[&network, &window.as_secs_f64()])
            .await?;
        let row = rows.first();
        let row = row.ok_or_else(|| Error::row(sql::ACCOUNTS_TRIED.name, "no row"))?;
        let accounts: i64 = reader(sql::ACCOUNTS_TRIED, row).column("accounts")?;
        Ok(u32::try_from(accounts).unwrap_or(u32::MAX))
    }

    /// Forgets the failed logins of some subjects.
    pub async fn clear_failed_logins(&self, subjects: &[&str]) -> Result<(), Error> {
        self.authenticate_once(sql::CLEAR, &[&subjects]).await?;
        Ok(())
    }

    /// Notes that a browser with a known token logged in to an account again. `false`: it is none that did before.
    pub async fn see_device(&self, user: UserId, token_hash: &[u8; 32]) -> Result<bool, Error> {
        let rows = self
            .authenticate_once(sql::SEE_DEVICE, &[&user.0, &&token_hash[..]])
            .await?;
        Ok(!rows.is_empty())
    }

    /// Knows a browser from now on.
    pub async fn add_device(&self, user: UserId, token_hash: &[u8; 32]) -> Result<(), Error> {
        self.authenticate_once(sql::ADD_DEVICE, &[&user.0, &&token_hash[..], &MOST_DEVICES])
            .await?;
        Ok(())
    }

    /// The highest cost of a bcrypt hash that an account has.
    pub async fn bcrypt_cost(&self) -> Result<Option<u32>, Error> {
        let rows = self.authenticate_once(sql::BCRYPT_COST, &[]).await?;
        let cost: Option<i32> = match rows.first() {
            Some(row) => reader(sql::BCRYPT_COST, row).column("cost")?,
            None => None,
        };
        Ok(cost.and_then(|cost| u32::try_from(cost).ok()))
    }
}

impl Request {
    /// Forgets the failed logins of an account, named by its subject and by what its pairs begin with; returns how many
    /// locks that lifted. Needs [`Reach::Everything`].
    pub async fn unlock_logins(
        &self,
        user: UserId,
        account: &str,
        pairs: &str,
    ) -> Result<i64, Error> {
        let row = self.one(sql::UNLOCK, &[&account, &pairs, &user.0]).await?;
        reader(sql::UNLOCK, &row).column("locks")
    }
}

impl Store {
    /// Forgets failed logins that count no more, and browsers that did not come for long.
    pub(crate) async fn forget_logins(&self) -> Result<(), Error> {
        let everything = Reach::Everything;
        self.once(everything, sql::FORGET, &[]).await?;
        self.once(everything, sql::FORGET_TRIES, &[]).await?;
        let kept = DEVICE_KEPT.as_secs_f64();
        self.once(everything, sql::FORGET_DEVICES, &[&kept]).await?;
        Ok(())
    }
}
