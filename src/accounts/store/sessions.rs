//! Sessions: who is logged in, by hashed token.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;

use crate::db::Error;
use crate::db::Store;
use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "accounts/sql/sessions";
        END = "end",
        END_OF_USER = "end_of_user",
        FIND = "find",
        FORGET = "forget",
        HOLDS = "holds",
        LIST = "list",
        OPEN = "open",
        REFRESH = "refresh",
        REPLACED = "replaced",
        RESUME = "resume",
        SET_PASSWORD = "set_password",
    }
}

/// A browser sends several requests at once: so long after a remember token was replaced, the old one still
/// shows who asks.
const GRACE: Duration = Duration::from_secs(10);

/// So long after its password was given a session may change what others must not.
pub const FRESH: Duration = Duration::from_secs(5 * 60);

/// Least time between two notes of a session being used.
const TOUCH: Duration = Duration::from_secs(60);

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    /// One ends when not used for so long.
    pub idle: Duration,
    /// One ends at this age.
    pub age: Duration,
    /// So long the remember cookie renews it.
    pub remember: Duration,
}

/// The tokens of a session, as they are kept.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// SHA-256 of the session cookie's token.
    pub session: &'a [u8; 32],
    /// SHA-256 of the remember cookie's token.
    pub remember: &'a [u8; 32],
}

/// A login.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Whose.
    pub user_id: UserId,
    /// The hash that the password was checked against.
    pub password_hash: &'a str,
    /// Its tokens.
    pub tokens: Tokens<'a>,
    /// How long it lives.
    pub lives: Lives,
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
    /// Its password was for one log-in only and must be changed first.
    pub must_change_password: bool,
    /// The account has a second factor.
    pub has_factor: bool,
    /// The password was given within [`FRESH`].
    pub fresh: bool,
}

/// What a session token led to.
#[derive(Debug)]
pub enum FoundSession {
    /// A session that lives, of an active account.
    Living(Session),
    /// A session that has ended, or whose account is not active.
    Ended,
    /// Nothing, and never will.
    Unknown,
}

/// What a remember token led to.
#[derive(Debug)]
pub enum Remembered {
    /// A session with new tokens; the remember cookie lives for so long.
    Renewed(Session, Duration),
    /// A session that another request has just given new tokens.
    Shared(Session),
    /// Nothing: unknown, over, or the account is not active.
    Nothing,
    /// It was replaced long ago: two use the same token. That session has ended.
    Stolen {
        /// The session that it was.
        session_id: i64,
        /// Whose.
        user_id: UserId,
    },
}

/// A session as its user sees it.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Its id.
    pub session_id: i64,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen_at: Timestamp,
    /// When it ends if it is not used again.
    pub ends_at: Timestamp,
    /// Where it was opened, or last renewed.
    pub address: String,
    /// What the client calls itself.
    pub user_agent: String,
}

impl Session {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            session_id: get.column("session_id")?,
            user_id: UserId(get.column("user_id")?),
            username: get.column("username")?,
            role: get.column("role")?,
            must_change_password: get.column("must_change_password")?,
            has_factor: get.column("has_factor")?,
            fresh: get.column("fresh")?,
        })
    }
}

impl Store {
    /// Opens a session; its id. None if the account is not active any more, or its password has changed.
    pub async fn open_session(&self, new: &NewSession<'_>) -> Result<Option<i64>, Error> {
        let rows = self
            .authenticate_once(
                sql::OPEN,
                &[
                    &new.user_id.0,
                    &&new.tokens.session[..],
                    &&new.tokens.remember[..],
                    &new.lives.idle.as_secs_f64(),
                    &new.lives.age.as_secs_f64(),
                    &new.lives.remember.as_secs_f64(),
                    &new.address,
                    &new.user_agent,
                    &new.password_hash,
                ],
            )
            .await?;
        let opened = rows.first();
        opened
            .map(|row| reader(sql::OPEN, row).column("session_id"))
            .transpose()
    }

    /// The session of a token. Notes its use, once a minute at most.
    pub async fn find_session(
        &self,
        token_hash: &[u8; 32],
        idle: Duration,
    ) -> Result<FoundSession, Error> {
        // A session that ends after a minute without use is noted more often.
        let touch = TOUCH.min(idle / 4);
        let rows = self
            .authenticate_once(
                sql::FIND,
                &[
                    &&token_hash[..],
                    &idle.as_secs_f64(),
                    &touch.as_secs_f64(),
                    &FRESH.as_secs_f64(),
                ],
            )
            .await?;
        let Some(row) = rows.first() else {
            return Ok(FoundSession::Unknown);
        };
        Ok(if reader(sql::FIND, row).column("living")? {
            FoundSession::Living(Session::from_row(sql::FIND, row)?)
        } else {
            FoundSession::Ended
        })
    }

    /// Gives the session of a remember token new tokens.
    pub async fn resume_session(
        &self,
        remember_hash: &[u8; 32],
        tokens: Tokens<'_>,
        lives: Lives,
        address: &str,
    ) -> Result<Remembered, Error> {
        let rows = self
            .authenticate_once(
                sql::RESUME,
                &[
                    &&remember_hash[..],
                    &&tokens.session[..],
                    &&tokens.remember[..],
                    &lives.idle.as_secs_f64(),
                    &lives.age.as_secs_f64(),
                    &address,
                    &FRESH.as_secs_f64(),
                ],
            )
            .await?;
        if let Some(row) = rows.first() {
            let left: f64 = reader(sql::RESUME, row).column("remember_seconds")?;
            let left = Duration::try_from_secs_f64(left).unwrap_or_default();
            return Ok(Remembered::Renewed(
                Session::from_row(sql::RESUME, row)?,
                left,
            ));
        }
        // A statement later: what another request replaced meanwhile is seen.
        let rows = self
            .authenticate_once(
                sql::REPLACED,
                &[
                    &&remember_hash[..],
                    &GRACE.as_secs_f64(),
                    &FRESH.as_secs_f64(),
                ],
            )
            .await?;
        let Some(row) = rows.first() else {
            return Ok(Remembered::Nothing);
        };
        let session = Session::from_row(sql::REPLACED, row)?;
        let get = reader(sql::REPLACED, row);
        if get.column("late")? {
            self.end_session(session.user_id, session.session_id)
                .await?;
            return Ok(Remembered::Stolen {
                session_id: session.session_id,
                user_id: session.user_id,
            });
        }
        Ok(if get.column("usable")? {
            Remembered::Shared(session)
        } else {
            Remembered::Nothing
        })
    }

    /// Ends a session of a user. `false` if there was none.
    pub async fn end_session(&self, user: UserId, session_id: i64) -> Result<bool, Error> {
        let rows = self
            .authenticate_once(sql::END, &[&user.0, &session_id])
            .await?;
        Ok(!rows.is_empty())
    }

    /// Whether a session or an API key still lives, and its account is active and has this role.
    pub async fn login_holds(
        &self,
        user: UserId,
        role: &str,
        session_id: Option<i64>,
        key_id: Option<i64>,
    ) -> Result<bool, Error> {
        let rows = self
            .authenticate_once(sql::HOLDS, &[&user.0, &role, &session_id, &key_id])
            .await?;
        Ok(rows.first().is_some_and(|row| row.get("holds")))
    }

    /// Notes that a session has proved who it is. `false` if it has ended, or the password is not the one of the hash any
    /// more.
    pub async fn refresh_session(
        &self,
        user: UserId,
        session_id: i64,
        password_hash: &str,
    ) -> Result<bool, Error> {
        let rows = self
            .once(
                Reach::Everything,
                sql::REFRESH,
                &[&user.0, &session_id, &password_hash],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// A user's sessions, the last seen first.
    pub async fn sessions(&self, reach: Reach, user: UserId) -> Result<Vec<SessionRow>, Error> {
        let rows = self.once(reach, sql::LIST, &[&user.0]).await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::LIST, row);
                Ok(SessionRow {
                    session_id: get.column("session_id")?,
                    created_at: get.column("created_at")?,
                    last_seen_at: get.column("last_seen_at")?,
                    ends_at: get.column("ends_at")?,
                    address: get.column("address")?,
                    user_agent: get.column("user_agent")?,
                })
            })
            .collect()
    }

    /// Keeps the same password in another way. `false` if it was changed meanwhile.
    pub async fn rehash(&self, user: UserId, old: &str, new: &str) -> Result<bool, Error> {
        let rows = self
            .once(
                Reach::Everything,
                sql::SET_PASSWORD,
                &[&user.0, &new, &old, &false],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// Forgets what nobody can use any more: sessions, keys, failed logins, answers kept for repeated requests.
    pub async fn forget_expired(&self) -> Result<(), Error> {
        let day = crate::http::kit::store::KEPT.as_secs_f64();
        let everything = Reach::Everything;
        self.once(everything, sql::FORGET, &[]).await?;
        self.once(everything, super::keys::sql::FORGET, &[]).await?;
        self.forget_logins().await?;
        self.once(everything, crate::http::kit::store::sql::FORGET, &[&day])
            .await?;
        let most = crate::http::kit::store::MOST_KEPT;
        self.once(
            everything,
            crate::http::kit::store::sql::FORGET_BEYOND,
            &[&most],
        )
        .await?;
        Ok(())
    }
}

impl Request {
    /// Ends all sessions of a user; returns how many. Change or lock the account first, in the same
    /// transaction: a login under way then waits for it. Needs [`Reach::Everything`].
    pub async fn end_sessions_of(&self, user: UserId) -> Result<usize, Error> {
        self.end_sessions_but(user, None).await
    }

    /// As [`Self::end_sessions_of`], but one stays.
    pub async fn end_sessions_but(&self, user: UserId, stays: Option<i64>) -> Result<usize, Error> {
        let ended = self.rows(sql::END_OF_USER, &[&user.0, &stays]).await?;
        Ok(ended.len())
    }

    /// As [`Store::login_holds`], of a session.
    pub async fn session_holds(
        &self,
        user: UserId,
        role: &str,
        session_id: i64,
    ) -> Result<bool, Error> {
        let none = None::<i64>;
        let row = self
            .one(sql::HOLDS, &[&user.0, &role, &Some(session_id), &none])
            .await?;
        reader(sql::HOLDS, &row).column("holds")
    }

    /// Ends a session of a user. `false` if there was none.
    pub async fn end_session(&self, user: UserId, session_id: i64) -> Result<bool, Error> {
        let ended = self.rows(sql::END, &[&user.0, &session_id]).await?;
        Ok(!ended.is_empty())
    }

    /// Changes an account's password. `false` if it is not the one of `old` any more.
    pub async fn change_password(&self, user: UserId, old: &str, new: &str) -> Result<bool, Error> {
        let changed = self
            .rows(sql::SET_PASSWORD, &[&user.0, &new, &old, &true])
            .await?;
        Ok(!changed.is_empty())
    }
}
