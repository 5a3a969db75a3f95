//! Sessions: who is logged in, by hashed token.

use std::time::Duration;

use super::Error;
use super::Store;
use super::request::Reach;
use super::rows::reader;
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/sessions";
        END = "end",
        FIND = "find",
        OPEN = "open",
    }
}

/// A login.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Whose.
    pub user_id: UserId,
    /// SHA-256 of the session cookie's token.
    pub token_hash: &'a [u8; 32],
    /// SHA-256 of the remember cookie's token.
    pub remember_hash: &'a [u8; 32],
    /// It ends when not used for so long.
    pub idle: Duration,
    /// It ends at this age.
    pub age: Duration,
    /// So long the remember cookie opens a new one.
    pub remember: Duration,
    /// Where the login came from.
    pub address: &'a str,
    /// What the client calls itself.
    pub user_agent: &'a str,
}

/// A living session of an active account.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub session_id: i64,
    /// Whose.
    pub user_id: UserId,
    /// The account's name.
    pub username: String,
    /// The account's role.
    pub role: String,
}

impl Store {
    /// Opens a session.
    pub async fn open_session(&self, new: &NewSession<'_>) -> Result<(), Error> {
        self.once(
            Reach::Everything,
            sql::OPEN,
            &[
                &new.user_id.0,
                &&new.token_hash[..],
                &&new.remember_hash[..],
                &new.idle.as_secs_f64(),
                &new.age.as_secs_f64(),
                &new.remember.as_secs_f64(),
                &new.address,
                &new.user_agent,
            ],
        )
        .await?;
        Ok(())
    }

    /// The living session of a token.
    pub async fn find_session(&self, token_hash: &[u8; 32]) -> Result<Option<Session>, Error> {
        let rows = self
            .once(Reach::Everything, sql::FIND, &[&&token_hash[..]])
            .await?;
        rows.first()
            .map(|row| {
                let get = reader(sql::FIND, row);
                Ok(Session {
                    session_id: get.column("session_id")?,
                    user_id: UserId(get.column("user_id")?),
                    username: get.column("username")?,
                    role: get.column("role")?,
                })
            })
            .transpose()
    }

    /// Ends a session of a user. `false` if there was none.
    pub async fn end_session(&self, user: UserId, session_id: i64) -> Result<bool, Error> {
        let rows = self
            .once(Reach::Everything, sql::END, &[&user.0, &session_id])
            .await?;
        Ok(!rows.is_empty())
    }
}
