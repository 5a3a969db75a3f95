//! What the daemons hand out signed: their keys, and who stands behind it.

use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "recordings/sql/shared";
        END_LINKS = "end_links",
        FIND_KEY = "find_key",
        MAKE_KEY = "make_key",
    }
}

/// A key, and the account that had something signed with it.
#[derive(Debug)]
pub struct SigningKey {
    /// 32 bytes.
    pub key: Vec<u8>,
    /// The account; none if it is deleted.
    pub account: Option<Signer>,
}

/// An account that had something signed.
#[derive(Debug)]
pub struct Signer {
    /// `admin`, `staff` or `user`.
    pub role: String,
    /// `active`, `inactive`, `pending_approval` or `suspended`.
    pub status: String,
    /// How often all its links were ended.
    pub links_epoch: i32,
    /// The API key that was asked about is not revoked; true where none was.
    pub api_key_stands: bool,
}

impl Store {
    /// The key of a purpose, if it has one, with the state of an account, and of one of its API keys.
    pub async fn signing_key(
        &self,
        purpose: &str,
        user_id: UserId,
        api_key: Option<i64>,
    ) -> Result<Option<SigningKey>, Error> {
        let rows = self
            .once(
                Reach::Everything,
                sql::FIND_KEY,
                &[&purpose, &user_id.0, &api_key],
            )
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let get = reader(sql::FIND_KEY, row);
        let role: Option<String> = get.column("role")?;
        let status: Option<String> = get.column("status")?;
        let links_epoch: Option<i32> = get.column("links_epoch")?;
        let api_key_stands = get.column("api_key_stands")?;
        let account = role.zip(status).zip(links_epoch);
        Ok(Some(SigningKey {
            key: get.column("key")?,
            account: account.map(|((role, status), links_epoch)| Signer {
                role,
                status,
                links_epoch,
                api_key_stands,
            }),
        }))
    }

    /// Gives a purpose this key, unless it has one: then that stays.
    pub async fn make_signing_key(&self, purpose: &str, key: &[u8; 32]) -> Result<(), Error> {
        self.once(Reach::Everything, sql::MAKE_KEY, &[&purpose, &&key[..]])
            .await?;
        Ok(())
    }
}

impl Request {
    /// Ends all links to recordings that an account has made. Needs [`Reach::Everything`].
    pub async fn end_links_of(&self, user: UserId) -> Result<(), Error> {
        self.rows(sql::END_LINKS, &[&user.0]).await?;
        Ok(())
    }
}
