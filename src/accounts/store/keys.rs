//! API keys: programs that act for an account, by hashed secret.

use jiff::Timestamp;
use tokio_postgres::Row;

use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "accounts/sql/keys";
        COUNT = "count",
        CREATE = "create",
        FIND = "find",
        FORGET = "forget",
        LIST = "list",
        LOCK_OWNER = "lock_owner",
        REVOKE = "revoke",
        REVOKE_ALL = "revoke_all",
        TOUCH = "touch",
    }
}

/// A key, without its secret.
#[derive(Debug, Clone)]
pub struct KeyRow {
    /// Its id.
    pub key_id: i64,
    /// What its owner calls it.
    pub name: String,
    /// The part of it that names it.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Networks that it was used from, the latest new one first, 20 at most.
    pub networks: Vec<String>,
}

/// A new key.
#[derive(Debug)]
pub struct NewKey<'a> {
    /// Whose.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: &'a str,
    /// The part of it that names it.
    pub prefix: &'a str,
    /// SHA-256 of the whole key.
    pub hash: &'a [u8; 32],
    /// What it may do.
    pub scopes: &'a [String],
    /// When it ends.
    pub expires_at: Timestamp,
    /// The role that the account has: the key is good for no other.
    pub role: &'a str,
}

/// A key that somebody presents, with its account.
#[derive(Debug)]
pub struct PresentedKey {
    /// Its id.
    pub key_id: i64,
    /// Whose.
    pub user_id: UserId,
    /// The account's name.
    pub username: String,
    /// The account's role.
    pub role: String,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Neither revoked nor over, and of an active account.
    pub usable: bool,
    /// Its use was not noted within the last minute.
    pub stale: bool,
}

impl KeyRow {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            key_id: get.column("key_id")?,
            name: get.column("name")?,
            prefix: get.column("prefix")?,
            scopes: get.column("scopes")?,
            created_at: get.column("created_at")?,
            expires_at: get.column("expires_at")?,
            last_used_at: get.column("last_used_at")?,
            revoked_at: get.column("revoked_at")?,
            networks: get.column("networks")?,
        })
    }
}

impl Store {
    /// A user's keys, the newest first.
    pub async fn keys(&self, reach: Reach, user: UserId) -> Result<Vec<KeyRow>, Error> {
        let rows = self.once(reach, sql::LIST, &[&user.0]).await?;
        rows.iter()
            .map(|row| KeyRow::from_row(sql::LIST, row))
            .collect()
    }

    /// The key with a prefix. Whether it is the right one is for the caller to see.
    pub async fn find_key(&self, prefix: &str) -> Result<Option<PresentedKey>, Error> {
        let rows = self.authenticate_once(sql::FIND, &[&prefix]).await?;
        rows.first()
            .map(|row| {
                let get = reader(sql::FIND, row);
                Ok(PresentedKey {
                    key_id: get.column("key_id")?,
                    user_id: UserId(get.column("user_id")?),
                    username: get.column("username")?,
                    role: get.column("role")?,
                    hash: get.column("secret_hash")?,
                    scopes: get.column("scopes")?,
                    usable: get.column("usable")?,
                    stale: get.column("stale")?,
                })
            })
            .transpose()
    }

    /// Notes that a key was used.
    pub async fn touch_key(&self, key_id: i64) -> Result<(), Error> {
        self.authenticate_once(sql::TOUCH, &[&key_id]).await?;
        Ok(())
    }
}

impl Request {
    /// How many usable keys a user has. Nobody adds one until the transaction ends.
    pub async fn lock_and_count_keys(&self, user: UserId) -> Result<i64, Error> {
        self.rows(sql::LOCK_OWNER, &[&user.0]).await?;
        let row = self.one(sql::COUNT, &[&user.0]).await?;
        reader(sql::COUNT, &row).column("usable")
    }

    /// Adds a key.
    pub async fn create_key(&self, new: &NewKey<'_>) -> Result<KeyRow, Error> {
        let row = self
            .one(
                sql::CREATE,
                &[
                    &new.user_id.0,
                    &new.name,
                    &new.prefix,
                    &&new.hash[..],
                    &new.scopes,
                    &new.expires_at,
                    &new.role,
                ],
            )
            .await?;
        KeyRow::from_row(sql::CREATE, &row)
    }

    /// Revokes all keys of a user for good; returns how many. Lock or change the account first, in the same transaction: a
    /// key that is being made then waits for it, and is not made.
    pub async fn revoke_keys_of(&self, user: UserId) -> Result<usize, Error> {
        Ok(self.rows(sql::REVOKE_ALL, &[&user.0]).await?.len())
    }

    /// Revokes a key of a user; none if there is none that is not yet revoked.
    pub async fn revoke_key(&self, user: UserId, key_id: i64) -> Result<Option<KeyRow>, Error> {
        let row = self.row(sql::REVOKE, &[&user.0, &key_id]).await?;
        row.map(|row| KeyRow::from_row(sql::REVOKE, &row))
            .transpose()
    }
}
