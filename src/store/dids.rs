//! DIDs as their sellers manage them.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::request::Request;
use super::rows::reader;
use super::sql::Sql;
use super::{Error, Store};
use crate::domain::UserId;
use crate::store::request::Reach;

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/dids";
        COUNT = "count",
        CREATE = "create",
        DELETE = "delete",
        LIST = "list",
        LOCK = "lock",
        ONE = "one",
        UPDATE = "update",
    }
}

/// A DID.
#[derive(Debug, Clone)]
pub struct DidRow {
    /// Its id.
    pub id: i32,
    /// E.164 with plus.
    pub number: String,
    /// `active` or `inactive`.
    pub status: String,
    /// What its owner says of it.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A change of a DID; what is `None` stays.
#[derive(Debug)]
pub struct DidChange<'a> {
    /// New description, which may be none.
    pub description: Option<Option<&'a str>>,
    /// New status.
    pub status: Option<&'a str>,
}

impl DidRow {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            id: get.column("id")?,
            number: get.column("number")?,
            status: get.column("status")?,
            description: get.column("description")?,
            created_at: get.column("created_at")?,
            updated_at: get.column("updated_at")?,
        })
    }
}

impl Store {
    /// A part of a seller's DIDs by number, and how many there are.
    pub async fn dids(
        &self,
        owner: UserId,
        status: Option<&str>,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<DidRow>, i64), Error> {
        let reach = Reach::Tenant(owner);
        let counted = self.once(reach, sql::COUNT, &[&owner.0, &status]).await?;
        let total = counted.first().map_or(0, |row| row.get("total"));
        let rows = self
            .once(reach, sql::LIST, &[&owner.0, &status, &limit, &offset])
            .await?;
        let dids = rows.iter().map(|row| DidRow::from_row(sql::LIST, row));
        Ok((dids.collect::<Result<_, _>>()?, total))
    }

    /// A DID of a seller.
    pub async fn did(&self, owner: UserId, id: i32) -> Result<Option<DidRow>, Error> {
        let rows = self
            .once(Reach::Tenant(owner), sql::ONE, &[&owner.0, &id])
            .await?;
        let row = rows.first();
        row.map(|row| DidRow::from_row(sql::ONE, row)).transpose()
    }
}

impl Request {
    /// A DID of a seller, which nobody else changes until the end of the transaction.
    pub async fn lock_did(&self, owner: UserId, id: i32) -> Result<Option<DidRow>, Error> {
        let row = self.row(sql::LOCK, &[&owner.0, &id]).await?;
        row.map(|row| DidRow::from_row(sql::LOCK, &row)).transpose()
    }

    /// Makes a DID. [`Error::broken`] tells whether the number is taken.
    pub async fn create_did(
        &self,
        owner: UserId,
        number: &str,
        description: Option<&str>,
        status: &str,
    ) -> Result<DidRow, Error> {
        let row = self
            .one(sql::CREATE, &[&owner.0, &number, &description, &status])
            .await?;
        DidRow::from_row(sql::CREATE, &row)
    }

    /// Changes a DID that was locked.
    pub async fn update_did(
        &self,
        owner: UserId,
        id: i32,
        change: &DidChange<'_>,
    ) -> Result<DidRow, Error> {
        let (given, description) = (change.description.is_some(), change.description.flatten());
        let row = self
            .one(
                sql::UPDATE,
                &[&owner.0, &id, &given, &description, &change.status],
            )
            .await?;
        DidRow::from_row(sql::UPDATE, &row)
    }

    /// Deletes a DID that was locked.
    pub async fn delete_did(&self, owner: UserId, id: i32) -> Result<(), Error> {
        self.rows(sql::DELETE, &[&owner.0, &id]).await?;
        Ok(())
    }
}
