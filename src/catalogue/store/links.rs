//! Links of campaigns to clients, as sellers manage them. What their calls used is counted elsewhere.

use jiff::Timestamp;
use tokio_postgres::Row;

use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "catalogue/sql/links";
        CLIENT_STANDINGS = "client_standings",
        CREATE = "create",
        DELETE = "delete",
        EXISTS = "exists",
        LOCK = "lock",
        LOCK_ALL = "lock_all",
        OF_CAMPAIGN = "of_campaign",
        ONE = "one",
        ORDER = "order",
        UPDATE = "update",
    }
}

/// A link with its client.
#[derive(Debug, Clone)]
pub struct LinkRow {
    /// Its id.
    pub id: i32,
    /// The campaign it belongs to.
    pub campaign_id: i32,
    /// The client it leads to.
    pub client_id: i32,
    /// The client's name in Asterisk.
    pub client_identifier: String,
    /// The client's name.
    pub client_name: String,
    /// The client's department.
    pub client_department: Option<String>,
    /// `active` or `inactive`.
    pub status: String,
    /// Most calls at once.
    pub max_concurrency: i32,
    /// Most answered calls ever, if there is such a cap.
    pub total_calls_allowed: Option<i32>,
    /// Calls answered.
    pub current_total_calls: i32,
    /// Its tier; lower is tried first.
    pub forwarding_priority: i32,
    /// Its share in a weighted campaign.
    pub weight: i32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed; calls do not count as a change.
    pub updated_at: Timestamp,
}

/// A link to be made.
#[derive(Debug)]
pub struct NewLinkRow<'a> {
    /// Its client.
    pub client_id: i32,
    /// Its status.
    pub status: &'a str,
    /// Most calls at once.
    pub max_concurrency: i32,
    /// Most answered calls ever.
    pub total_calls_allowed: Option<i32>,
    /// Its tier.
    pub forwarding_priority: i32,
    /// Its share.
    pub weight: i32,
}

/// Whether a client may be linked by a seller.
#[derive(Debug, Clone, Copy)]
pub struct ClientStanding {
    /// The client.
    pub client_id: i32,
    /// It takes calls of this seller.
    pub is_granted: bool,
}

/// Where a link stands in its campaign.
#[derive(Debug, Clone, Copy)]
pub struct LinkPlace {
    /// The link.
    pub link_id: i32,
    /// Its tier.
    pub forwarding_priority: i32,
    /// Its share.
    pub weight: i32,
}

/// A change of a link; what is `None` stays.
#[derive(Debug, Default)]
pub struct LinkChange<'a> {
    /// New status.
    pub status: Option<&'a str>,
    /// New cap of calls at once.
    pub max_concurrency: Option<i32>,
    /// New cap of answered calls, which may be none.
    pub total_calls_allowed: Option<Option<i32>>,
    /// New tier.
    pub forwarding_priority: Option<i32>,
    /// New share.
    pub weight: Option<i32>,
}

impl LinkRow {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            id: get.column("id")?,
            campaign_id: get.column("campaign_id")?,
            client_id: get.column("client_id")?,
            client_identifier: get.column("client_identifier")?,
            client_name: get.column("client_name")?,
            client_department: get.column("client_department")?,
            status: get.column("status")?,
            max_concurrency: get.column("max_concurrency")?,
            total_calls_allowed: get.column("total_calls_allowed")?,
            current_total_calls: get.column("current_total_calls")?,
            forwarding_priority: get.column("forwarding_priority")?,
            weight: get.column("weight")?,
            created_at: get.column("created_at")?,
            updated_at: get.column("updated_at")?,
        })
    }
}

impl Store {
    /// A link within reach.
    pub async fn link(
        &self,
        reach: Reach,
        campaign_id: i32,
        id: i32,
    ) -> Result<Option<LinkRow>, Error> {
        let rows = self
            .once(reach, sql::ONE, &[&campaign_id, &id, &reach.owner()])
            .await?;
        let row = rows.first();
        row.map(|row| LinkRow::from_row(sql::ONE, row)).transpose()
    }
}

impl Request {
    /// The links of a campaign, by tier.
    pub async fn links(&self, campaign_id: i32) -> Result<Vec<LinkRow>, Error> {
        let rows = self.rows(sql::OF_CAMPAIGN, &[&campaign_id]).await?;
        rows.iter()
            .map(|row| LinkRow::from_row(sql::OF_CAMPAIGN, row))
            .collect()
    }

    /// A link of a campaign, which nobody else changes, and no call counts on, until the end of the transaction.
    pub async fn lock_link(&self, campaign_id: i32, id: i32) -> Result<Option<LinkRow>, Error> {
        let row = self.row(sql::LOCK, &[&campaign_id, &id]).await?;
        row.map(|row| LinkRow::from_row(sql::LOCK, &row))
            .transpose()
    }

    /// Whether a campaign, whoever's it is, has such a link.
    pub async fn link_exists(&self, campaign_id: i32, id: i32) -> Result<bool, Error> {
        let row = self.one(sql::EXISTS, &[&id, &campaign_id]).await?;
        reader(sql::EXISTS, &row).column("there")
    }

    /// Those of these clients that there are, and whether a seller may link them.
    pub async fn client_standings(
        &self,
        owner: UserId,
        client_ids: &[i32],
    ) -> Result<Vec<ClientStanding>, Error> {
        let rows = self
            .rows(sql::CLIENT_STANDINGS, &[&owner.0, &client_ids])
            .await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::CLIENT_STANDINGS, row);
                Ok(ClientStanding {
                    client_id: get.column("client_id")?,
                    is_granted: get.column("is_granted")?,
                })
            })
            .collect()
    }

    /// Makes links of a campaign that was locked: those whose client is not linked yet. [`Error::broken`] tells
    /// whether a client is gone.
    pub async fn create_links(
        &self,
        campaign_id: i32,
        new: &[NewLinkRow<'_>],
    ) -> Result<Vec<LinkRow>, Error> {
        let clients: Vec<_> = new.iter().map(|link| link.client_id).collect();
        let statuses: Vec<_> = new.iter().map(|link| link.status).collect();
        let at_once: Vec<_> = new.iter().map(|link| link.max_concurrency).collect();
        let totals: Vec<_> = new.iter().map(|link| link.total_calls_allowed).collect();
        let tiers: Vec<_> = new.iter().map(|link| link.forwarding_priority).collect();
        let weights: Vec<_> = new.iter().map(|link| link.weight).collect();
        let made = self
            .rows(
                sql::CREATE,
                &[
                    &campaign_id,
                    &clients,
                    &statuses,
                    &at_once,
                    &totals,
                    &tiers,
                    &weights,
                ],
            )
            .await?;
        let ids: Vec<i32> = made
            .iter()
            .map(|row| reader(sql::CREATE, row).column("id"))
            .collect::<Result<_, _>>()?;
        let mut links = self.links(campaign_id).await?;
        links.retain(|link| ids.contains(&link.id));
        Ok(links)
    }

    /// Puts links of a campaign that was locked in another order.
    pub async fn order_links(&self, campaign_id: i32, places: &[LinkPlace]) -> Result<(), Error> {
        let ids: Vec<_> = places.iter().map(|place| place.link_id).collect();
        let tiers: Vec<_> = places
            .iter()
            .map(|place| place.forwarding_priority)
            .collect();
        let weights: Vec<_> = places.iter().map(|place| place.weight).collect();
        // In their order, as claims and deletions do.
        self.rows(sql::LOCK_ALL, &[&campaign_id]).await?;
        self.rows(sql::ORDER, &[&campaign_id, &ids, &tiers, &weights])
            .await?;
        Ok(())
    }

    /// Changes a link that was locked.
    pub async fn update_link(
        &self,
        campaign_id: i32,
        id: i32,
        change: &LinkChange<'_>,
    ) -> Result<LinkRow, Error> {
        let (given, total) = (
            change.total_calls_allowed.is_some(),
            change.total_calls_allowed.flatten(),
        );
        self.rows(
            sql::UPDATE,
            &[
                &id,
                &given,
                &total,
                &change.status,
                &change.max_concurrency,
                &change.forwarding_priority,
                &change.weight,
            ],
        )
        .await?;
        self.own_change(campaign_id, id).await
    }

    /// Deletes a link that was locked.
    pub async fn delete_link(&self, id: i32) -> Result<(), Error> {
        self.rows(sql::DELETE, &[&id]).await?;
        Ok(())
    }

    async fn own_change(&self, campaign_id: i32, id: i32) -> Result<LinkRow, Error> {
        let row = self
            .one(sql::ONE, &[&campaign_id, &id, &self.owner()])
            .await?;
        LinkRow::from_row(sql::ONE, &row)
    }
}
