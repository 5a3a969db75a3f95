//! Grants: which sellers may send calls to a client that is not open to all.

use jiff::Timestamp;

use crate::db::Error;
use crate::db::request::Request;
use crate::db::rows::reader;
use crate::domain::{ClientId, UserId};

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "catalogue/sql/grants";
        GRANT = "grant",
        LIST = "list",
        TAKE = "take",
    }
}

/// A grant.
#[derive(Debug, Clone)]
pub struct GrantRow {
    /// The seller.
    pub user_id: UserId,
    /// The seller's name.
    pub username: String,
    /// Name of who gave it.
    pub granted_by: String,
    /// When.
    pub granted_at: Timestamp,
}

impl Request {
    /// The grants of a client, by name of the seller.
    pub async fn grants(&self, client: ClientId) -> Result<Vec<GrantRow>, Error> {
        let rows = self.rows(sql::LIST, &[&client.0]).await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::LIST, row);
                Ok(GrantRow {
                    user_id: UserId(get.column("user_id")?),
                    username: get.column("username")?,
                    granted_by: get.column("granted_by")?,
                    granted_at: get.column("granted_at")?,
                })
            })
            .collect()
    }

    /// Grants a seller the use of a client; both were locked. Whether there was no such grant.
    pub async fn grant(&self, client: ClientId, seller: UserId, by: &str) -> Result<bool, Error> {
        let made = self.row(sql::GRANT, &[&client.0, &seller.0, &by]).await?;
        Ok(made.is_some())
    }

    /// Takes a grant away. Whether there was one.
    pub async fn take_grant(&self, client: ClientId, seller: UserId) -> Result<bool, Error> {
        let taken = self.row(sql::TAKE, &[&client.0, &seller.0]).await?;
        Ok(taken.is_some())
    }
}
