//! Failed logins: who has to wait. Shared by all daemons; a restart forgets nothing.

use std::time::Duration;

use super::request::Reach;
use super::rows::reader;
use super::{Error, Store};

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/throttle";
        CLEAR = "clear",
        COUNT = "count",
        FORGET = "forget",
        LOCKED = "locked",
    }
}

impl Store {
    /// How long some subjects have to wait before they may try again, if any has to.
    pub async fn login_wait(&self, subjects: &[&str]) -> Result<Option<Duration>, Error> {
        let rows = self
            .once(Reach::Everything, sql::LOCKED, &[&subjects])
            .await?;
        let wait: f64 = match rows.first() {
            Some(row) => reader(sql::LOCKED, row).column("wait")?,
            None => 0.0,
        };
        let wait = Duration::try_from_secs_f64(wait).unwrap_or_default();
        Ok((!wait.is_zero()).then_some(wait))
    }

    /// Counts a failed login; with the last one allowed the subject is locked. Whether it is, by this one.
    pub async fn count_failed_login(
        &self,
        subject: &str,
        allowed: u32,
        lock: Duration,
    ) -> Result<bool, Error> {
        let allowed = i32::try_from(allowed).unwrap_or(i32::MAX);
        let rows = self
            .once(
                Reach::Everything,
                sql::COUNT,
                &[&subject, &allowed, &lock.as_secs_f64()],
            )
            .await?;
        let failures: i32 = match rows.first() {
            Some(row) => reader(sql::COUNT, row).column("failures")?,
            None => 0,
        };
        Ok(failures == allowed)
    }

    /// Forgets the failed logins of a subject.
    pub async fn clear_failed_logins(&self, subject: &str) -> Result<(), Error> {
        self.once(Reach::Everything, sql::CLEAR, &[&subject])
            .await?;
        Ok(())
    }
}
