//! What the daemons hand out signed: their keys, and who stands behind it.

use super::request::Reach;
use super::rows::reader;
use super::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/shared";
        FIND_KEY = "find_key",
        MAKE_KEY = "make_key",
    }
}

/// A key, and the account that had something signed with it.
#[derive(Debug)]
pub struct SigningKey {
    /// 32 bytes.
    pub key: Vec<u8>,
    /// Role and status of the account; none if it is deleted.
    pub account: Option<(String, String)>,
}

impl Store {
    /// The key of a purpose, if it has one, with the state of an account.
    pub async fn signing_key(
        &self,
        purpose: &str,
        user_id: UserId,
    ) -> Result<Option<SigningKey>, Error> {
        let rows = self
            .once(Reach::Everything, sql::FIND_KEY, &[&purpose, &user_id.0])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let get = reader(sql::FIND_KEY, row);
        let role: Option<String> = get.column("role")?;
        let status: Option<String> = get.column("status")?;
        Ok(Some(SigningKey {
            key: get.column("key")?,
            account: role.zip(status),
        }))
    }

    /// Gives a purpose this key, unless it has one: then that stays.
    pub async fn make_signing_key(&self, purpose: &str, key: &[u8; 32]) -> Result<(), Error> {
        self.once(Reach::Everything, sql::MAKE_KEY, &[&purpose, &&key[..]])
            .await?;
        Ok(())
    }
}
