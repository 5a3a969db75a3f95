//! DIDs as their sellers manage them.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::request::{Broken, Request};
use super::rows::reader;
use super::sql::Sql;
use super::{Error, Store};
use crate::domain::UserId;
use crate::store::request::Reach;

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/dids";
        ALL_SELLERS = "all",
        ANY = "any",
        CONFIRM = "confirm",
        COUNT = "count",
        COUNT_ALL = "count_all",
        CREATE = "create",
        DELETE = "delete",
        IS_OWN = "is_own",
        LIST = "list",
        LOCK = "lock",
        LOCK_ANY = "lock_any",
        ONE = "one",
        SELLER = "seller",
        UPDATE = "update",
    }
}

/// A DID.
#[derive(Debug, Clone)]
pub struct DidRow {
    /// Its id.
    pub id: i32,
    /// E.164 with plus, where it came by the API.
    pub number: String,
    /// `active`, `inactive` or `pending`.
    pub status: String,
    /// What its owner says of it.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A DID and whose it is.
#[derive(Debug, Clone)]
pub struct OwnedDid {
    /// The DID.
    pub did: DidRow,
    /// Its seller.
    pub owner: UserId,
    /// The seller's name.
    pub username: String,
}

/// Which DIDs of all sellers are listed.
#[derive(Debug, Default)]
pub struct DidFilter<'a> {
    /// Those of this status.
    pub status: Option<&'a str>,
    /// Those of this seller.
    pub user_id: Option<i32>,
    /// The one with this key, see [`DialledNumber::key`](crate::domain::DialledNumber::key).
    pub key: Option<&'a str>,
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

impl OwnedDid {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            did: DidRow::from_row(sql, row)?,
            owner: UserId(get.column("user_id")?),
            username: get.column("username")?,
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

    /// Whether the DID with this key is a seller's. Looks at nobody else's, so that the answer takes as long for
    /// another seller's number as for one that nobody has.
    pub async fn is_own_did(&self, owner: UserId, key: &str) -> Result<bool, Error> {
        let rows = self
            .once(Reach::Tenant(owner), sql::IS_OWN, &[&owner.0, &key])
            .await?;
        Ok(rows.first().is_some_and(|row| row.get("own")))
    }

    /// A part of all sellers' DIDs by id, and how many there are.
    pub async fn all_dids(
        &self,
        filter: &DidFilter<'_>,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<OwnedDid>, i64), Error> {
        let reach = Reach::Everything;
        let DidFilter {
            status,
            user_id,
            key,
        } = filter;
        let counted = self
            .once_planned(reach, sql::COUNT_ALL, &[status, user_id, key])
            .await?;
        let total = counted.first().map_or(0, |row| row.get("total"));
        let rows = self
            .once_planned(
                reach,
                sql::ALL_SELLERS,
                &[status, user_id, key, &limit, &offset],
            )
            .await?;
        let dids = rows
            .iter()
            .map(|row| OwnedDid::from_row(sql::ALL_SELLERS, row));
        Ok((dids.collect::<Result<_, _>>()?, total))
    }

    /// A DID of any seller.
    pub async fn any_did(&self, id: i32) -> Result<Option<OwnedDid>, Error> {
        let rows = self.once(Reach::Everything, sql::ANY, &[&id]).await?;
        let row = rows.first();
        row.map(|row| OwnedDid::from_row(sql::ANY, row)).transpose()
    }
}

impl Request {
    /// A DID of a seller, which nobody else changes until the end of the transaction.
    pub async fn lock_did(&self, owner: UserId, id: i32) -> Result<Option<DidRow>, Error> {
        let row = self.row(sql::LOCK, &[&owner.0, &id]).await?;
        row.map(|row| DidRow::from_row(sql::LOCK, &row)).transpose()
    }

    /// Makes a DID. [`is_number_taken`] tells whether the number is one already.
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

    /// How many DIDs of a seller are pending.
    pub async fn pending_dids(&self, owner: UserId) -> Result<i64, Error> {
        let row = self.one(sql::COUNT, &[&owner.0, &Some("pending")]).await?;
        reader(sql::COUNT, &row).column("total")
    }

    /// Whether there is such a seller, who is then not deleted until the end of the transaction.
    pub async fn lock_seller(&self, id: UserId) -> Result<bool, Error> {
        Ok(self.row(sql::SELLER, &[&id.0]).await?.is_some())
    }

    /// A DID of any seller, which nobody else changes until the end of the transaction.
    pub async fn lock_any_did(&self, id: i32) -> Result<Option<OwnedDid>, Error> {
        let row = self.row(sql::LOCK_ANY, &[&id]).await?;
        row.map(|row| OwnedDid::from_row(sql::LOCK_ANY, &row))
            .transpose()
    }

    /// Confirms a pending DID that was locked.
    pub async fn confirm_did(&self, id: i32) -> Result<OwnedDid, Error> {
        self.one(sql::CONFIRM, &[&id]).await?;
        self.own_change(id).await
    }

    /// A DID as this transaction left it.
    pub async fn own_change(&self, id: i32) -> Result<OwnedDid, Error> {
        OwnedDid::from_row(sql::ANY, &self.one(sql::ANY, &[&id]).await?)
    }

    /// Deletes a DID that was locked.
    pub async fn delete_did(&self, owner: UserId, id: i32) -> Result<(), Error> {
        self.rows(sql::DELETE, &[&owner.0, &id]).await?;
        Ok(())
    }
}

/// Whether a DID could not be made because its number is one already, in this spelling or another.
pub fn is_number_taken(error: &Error) -> bool {
    matches!(
        error.broken(),
        Some(Broken::Unique("dids_number_key" | "dids_digits_key"))
    )
}
