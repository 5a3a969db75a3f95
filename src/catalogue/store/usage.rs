//! What links' calls use of their caps, and how operators steer it.
//!
//! A correction of a count locks the link's row, as claims and answers do: no answer at the same time is lost.

use tokio_postgres::Row;

use crate::db::request::Reach;
use crate::db::request::Request;
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "catalogue/sql/usage";
        COUNT = "count",
        LIST = "list",
        LOCK_CLIENT = "lock_client",
        LOCK_LINK = "lock_link",
        OF_CAMPAIGN = "of_campaign",
        SET_CLIENT_STATUS = "set_client_status",
        SET_COUNTER = "set_counter",
    }
}

/// The use of a link.
#[derive(Debug)]
pub struct UsageRow {
    /// The link.
    pub link_id: i32,
    /// Its campaign.
    pub campaign_id: i32,
    /// Name of the campaign.
    pub campaign_name: String,
    /// Owner of the campaign.
    pub user_id: i32,
    /// Name of the owner.
    pub username: String,
    /// The client.
    pub client_id: i32,
    /// The client's name in Asterisk.
    pub client_identifier: String,
    /// The client's name.
    pub client_name: String,
    /// The client's department.
    pub client_department: Option<String>,
    /// Whether the client takes calls at all.
    pub client_status: String,
    /// Status of the link.
    pub status: String,
    /// Most calls at once.
    pub max_concurrency: i32,
    /// Most answered calls.
    pub total_calls_allowed: Option<i32>,
    /// Calls answered.
    pub current_total_calls: i32,
    /// Calls offered, not answered yet.
    pub held: i32,
    /// Calls answered that go on.
    pub confirmed: i32,
}

/// Which links; what is `None` does not matter.
#[derive(Debug, Clone, Copy)]
pub struct UsageFilter<'a> {
    /// Of this campaign.
    pub campaign_id: Option<i32>,
    /// To this client.
    pub client_id: Option<i32>,
    /// Of this seller.
    pub user_id: Option<i32>,
    /// Of this status.
    pub status: Option<&'a str>,
    /// With this text in the names of campaign or client.
    pub text: Option<&'a str>,
}

/// A link that is steered.
#[derive(Debug, Clone, Copy)]
pub struct SteeredLink {
    /// Its id.
    pub id: i32,
    /// Its campaign.
    pub campaign_id: i32,
    /// Owner of the campaign.
    pub owner: UserId,
}

/// A client that is steered.
#[derive(Debug)]
pub struct SteeredClient {
    /// Its id.
    pub id: i32,
    /// Its name in Asterisk.
    pub client_identifier: String,
    /// Its name.
    pub name: String,
    /// Its department.
    pub department: Option<String>,
    /// `active` or `inactive`.
    pub status: String,
}

impl UsageRow {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            link_id: get.column("link_id")?,
            campaign_id: get.column("campaign_id")?,
            campaign_name: get.column("campaign_name")?,
            user_id: get.column("user_id")?,
            username: get.column("username")?,
            client_id: get.column("client_id")?,
            client_identifier: get.column("client_identifier")?,
            client_name: get.column("client_name")?,
            client_department: get.column("client_department")?,
            client_status: get.column("client_status")?,
            status: get.column("status")?,
            max_concurrency: get.column("max_concurrency")?,
            total_calls_allowed: get.column("total_calls_allowed")?,
            current_total_calls: get.column("current_total_calls")?,
            held: get.column("held")?,
            confirmed: get.column("confirmed")?,
        })
    }
}

impl Store {
    /// The use of the links of a campaign within reach, by tier.
    pub async fn usage_of_campaign(
        &self,
        reach: Reach,
        campaign_id: i32,
    ) -> Result<Option<Vec<UsageRow>>, Error> {
        let rows = self
            .once(reach, sql::OF_CAMPAIGN, &[&reach.owner(), &campaign_id])
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        rows.iter()
            .filter(|row| row.get::<_, Option<i32>>("link_id").is_some())
            .map(|row| UsageRow::from_row(sql::OF_CAMPAIGN, row))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A part of the links with their use in an order (`id`, `-live`: most calls first, `-share`: nearest to its cap
    /// first, `campaign`, `client`), and how many there are.
    pub async fn usage(
        &self,
        filter: UsageFilter<'_>,
        sort: &str,
        (limit, offset): (i64, i64),
    ) -> Result<(Vec<UsageRow>, i64), Error> {
        let UsageFilter {
            campaign_id,
            client_id,
            user_id,
            status,
            text,
        } = filter;
        let reach = Reach::Everything;
        let counted = self
            .once_planned(
                reach,
                sql::COUNT,
                &[&campaign_id, &client_id, &user_id, &status, &text],
            )
            .await?;
        let total = counted.first().map_or(0, |row| row.get("total"));
        let rows = self
            .once_planned(
                reach,
                sql::LIST,
                &[
                    &campaign_id,
                    &client_id,
                    &user_id,
                    &status,
                    &text,
                    &sort,
                    &limit,
                    &offset,
                ],
            )
            .await?;
        let usage = rows.iter().map(|row| UsageRow::from_row(sql::LIST, row));
        Ok((usage.collect::<Result<_, _>>()?, total))
    }
}

impl Request {
    /// A link, whoever's it is, which nobody else changes, and no call counts on, until the end of the
    /// transaction.
    pub async fn lock_any_link(&self, id: i32) -> Result<Option<SteeredLink>, Error> {
        let row = self.row(sql::LOCK_LINK, &[&id]).await?;
        row.map(|row| {
            let get = reader(sql::LOCK_LINK, &row);
            Ok(SteeredLink {
                id: get.column("id")?,
                campaign_id: get.column("campaign_id")?,
                owner: UserId(get.column("user_id")?),
            })
        })
        .transpose()
    }

    /// Sets the count of answered calls of a link that was locked.
    pub async fn set_counter(&self, link_id: i32, total: i32) -> Result<(), Error> {
        self.rows(sql::SET_COUNTER, &[&link_id, &total]).await?;
        Ok(())
    }

    /// A client, which nobody else changes until the end of the transaction.
    pub async fn lock_client_status(&self, id: i32) -> Result<Option<SteeredClient>, Error> {
        let row = self.row(sql::LOCK_CLIENT, &[&id]).await?;
        row.map(|row| {
            let get = reader(sql::LOCK_CLIENT, &row);
            Ok(SteeredClient {
                id: get.column("id")?,
                client_identifier: get.column("client_identifier")?,
                name: get.column("name")?,
                department: get.column("department")?,
                status: get.column("status")?,
            })
        })
        .transpose()
    }

    /// Sets the status of a client that was locked.
    pub async fn set_client_status(&self, id: i32, status: &str) -> Result<(), Error> {
        self.rows(sql::SET_CLIENT_STATUS, &[&id, &status]).await?;
        Ok(())
    }
}
