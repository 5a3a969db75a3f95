//! DIDs as their sellers manage them, and staff for them.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::db::request::Reach;
use crate::db::request::{Broken, Request};
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "catalogue/sql/dids";
        CONFIRM = "confirm",
        COUNT = "count",
        COUNT_PENDING = "count_pending",
        CREATE = "create",
        CREATE_MANY = "create_many",
        DELETE = "delete",
        IS_OWN = "is_own",
        LIST = "list",
        LOCK = "lock",
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
    /// Its seller.
    pub owner: UserId,
    /// The seller's name.
    pub username: String,
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

/// Which DIDs are listed; what is `None` does not matter.
#[derive(Debug, Default)]
pub struct DidFilter<'a> {
    /// Those of this status.
    pub status: Option<&'a str>,
    /// Those of this seller.
    pub user_id: Option<i32>,
    /// The one with this key, see [`DialledNumber::key`](crate::domain::DialledNumber::key).
    pub key: Option<&'a str>,
    /// Those with this text in number or description.
    pub text: Option<&'a str>,
    /// Those that are tied to a campaign, or to none.
    pub assigned: Option<bool>,
    /// Those that are tied to this campaign.
    pub campaign_id: Option<i32>,
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
            owner: UserId(get.column("user_id")?),
            username: get.column("username")?,
            number: get.column("number")?,
            status: get.column("status")?,
            description: get.column("description")?,
            created_at: get.column("created_at")?,
            updated_at: get.column("updated_at")?,
        })
    }
}

impl Store {
    /// A part of the DIDs in an order (`number`, `createdAt`, `updatedAt`, `id`; with a minus the other way round), and
    /// how many there are.
    pub async fn dids(
        &self,
        reach: Reach,
        filter: &DidFilter<'_>,
        sort: &str,
        (limit, offset): (i64, i64),
    ) -> Result<(Vec<DidRow>, i64), Error> {
        let owner = reach.owner().or(filter.user_id);
        let digits: Option<String> = filter
            .text
            .map(|text| text.chars().filter(char::is_ascii_digit).collect())
            .filter(|digits: &String| !digits.is_empty());
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &owner,
            &filter.status,
            &filter.key,
            &filter.text,
            &digits,
            &filter.assigned,
            &filter.campaign_id,
        ];
        let counted = self.once_planned(reach, sql::COUNT, &parameters).await?;
        let total = counted.first().map_or(0, |row| row.get("total"));
        parameters.extend([&sort as &(dyn ToSql + Sync), &limit, &offset]);
        let rows = self.once_planned(reach, sql::LIST, &parameters).await?;
        let dids = rows.iter().map(|row| DidRow::from_row(sql::LIST, row));
        Ok((dids.collect::<Result<_, _>>()?, total))
    }

    /// A DID within reach.
    pub async fn did(&self, reach: Reach, id: i32) -> Result<Option<DidRow>, Error> {
        let rows = self.once(reach, sql::ONE, &[&reach.owner(), &id]).await?;
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
}

impl Request {
    /// A DID within reach, which nobody else changes until the end of the transaction.
    pub async fn lock_did(&self, id: i32) -> Result<Option<DidRow>, Error> {
        let row = self.row(sql::LOCK, &[&self.owner(), &id]).await?;
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

    /// Makes DIDs with numbers, descriptions and statuses, but for numbers that are DIDs already.
    pub async fn create_dids(
        &self,
        owner: UserId,
        new: &[(&str, Option<&str>, &str)],
    ) -> Result<Vec<DidRow>, Error> {
        let numbers: Vec<_> = new.iter().map(|did| did.0).collect();
        let descriptions: Vec<_> = new.iter().map(|did| did.1).collect();
        let statuses: Vec<_> = new.iter().map(|did| did.2).collect();
        let rows = self
            .rows(
                sql::CREATE_MANY,
                &[&owner.0, &numbers, &descriptions, &statuses],
            )
            .await?;
        rows.iter()
            .map(|row| DidRow::from_row(sql::CREATE_MANY, row))
            .collect()
    }

    /// Changes a DID that was locked.
    pub async fn update_did(&self, id: i32, change: &DidChange<'_>) -> Result<DidRow, Error> {
        let (given, description) = (change.description.is_some(), change.description.flatten());
        let row = self
            .one(sql::UPDATE, &[&id, &given, &description, &change.status])
            .await?;
        DidRow::from_row(sql::UPDATE, &row)
    }

    /// How many DIDs of a seller are pending.
    pub async fn pending_dids(&self, owner: UserId) -> Result<i64, Error> {
        let row = self.one(sql::COUNT_PENDING, &[&owner.0]).await?;
        reader(sql::COUNT_PENDING, &row).column("total")
    }

    /// Whether there is such a seller, who is then not deleted until the end of the transaction.
    pub async fn lock_seller(&self, id: UserId) -> Result<bool, Error> {
        Ok(self.row(sql::SELLER, &[&id.0]).await?.is_some())
    }

    /// Confirms a pending DID that was locked.
    pub async fn confirm_did(&self, id: i32) -> Result<DidRow, Error> {
        DidRow::from_row(sql::CONFIRM, &self.one(sql::CONFIRM, &[&id]).await?)
    }

    /// Deletes a DID that was locked.
    pub async fn delete_did(&self, id: i32) -> Result<(), Error> {
        self.rows(sql::DELETE, &[&id]).await?;
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
