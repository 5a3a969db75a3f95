//! Campaigns as their sellers manage them, with the DIDs tied to them.
//!
//! A DID is in one active campaign of its owner at most, or nobody could say who takes its calls. Whoever ties
//! DIDs, or activates a campaign, locks the campaign first, then the DIDs, and looks then.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::links::LinkRow;
use crate::db::request::Reach;
use crate::db::request::Request;
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "catalogue/sql/campaigns";
        AVAILABLE_CLIENTS = "available_clients",
        COUNT = "count",
        COUNT_AVAILABLE_CLIENTS = "count_available_clients",
        CREATE = "create",
        DELETE = "delete",
        DIDS = "dids",
        DID_IN_USE = "did_in_use",
        EXISTS = "exists",
        LIST = "list",
        LOCK = "lock",
        LOCK_CALLS = "lock_calls",
        LOCK_DIDS = "lock_dids",
        ONE = "one",
        TIE = "tie",
        TIE_ONE = "tie_one",
        UNTIE = "untie",
        UNTIE_ONE = "untie_one",
        UPDATE = "update",
    }
}

/// What a campaign records, and what becomes of it.
#[derive(Debug, Clone)]
pub struct CampaignRecording {
    /// Whether its calls are recorded.
    pub enabled: bool,
    /// `en`, `hi` or `auto`.
    pub language: String,
    /// Name of the sound file both sides hear first.
    pub announcement: Option<String>,
    /// Days after which its recordings are deleted; `None`: never.
    pub retention_days: Option<i32>,
    /// Long numbers are masked in its transcripts.
    pub mask_numbers: bool,
}

/// A change of what a campaign records; what is `None` stays.
#[derive(Debug, Default)]
pub struct RecordingChange<'a> {
    /// Whether its calls are recorded.
    pub enabled: Option<bool>,
    /// New language.
    pub language: Option<&'a str>,
    /// New announcement, which may be none.
    pub announcement: Option<Option<&'a str>>,
    /// New retention, which may be for ever.
    pub retention_days: Option<Option<i32>>,
    /// Whether long numbers are masked.
    pub mask_numbers: Option<bool>,
}

/// A campaign.
#[derive(Debug, Clone)]
pub struct CampaignRow {
    /// Its id.
    pub id: i32,
    /// Its seller.
    pub owner: UserId,
    /// The seller's name.
    pub username: String,
    /// Its name, unique among its owner's.
    pub name: String,
    /// `active`, `inactive` or `paused`.
    pub status: String,
    /// `priority`, `round_robin` or `weighted`.
    pub routing_strategy: String,
    /// How long a target rings.
    pub dial_timeout_seconds: i32,
    /// What its owner says of it.
    pub description: Option<String>,
    /// What it records.
    pub recording: CampaignRecording,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed, apart from its ties and links.
    pub updated_at: Timestamp,
}

/// Which campaigns are listed; what is `None` does not matter.
#[derive(Debug, Default)]
pub struct CampaignFilter<'a> {
    /// Those of this seller.
    pub user_id: Option<i32>,
    /// Those of this status.
    pub status: Option<&'a str>,
    /// Those with this strategy.
    pub routing_strategy: Option<&'a str>,
    /// Those with this DID.
    pub did_id: Option<i32>,
    /// Those that are linked to this client.
    pub client_id: Option<i32>,
    /// Those with this text in name or description.
    pub text: Option<&'a str>,
}

/// A DID tied to a campaign.
#[derive(Debug, Clone)]
pub struct TiedDidRow {
    /// Its id.
    pub id: i32,
    /// E.164 with plus.
    pub number: String,
    /// What its owner says of it.
    pub description: Option<String>,
    /// `active` or `inactive`.
    pub status: String,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A campaign with what belongs to it.
#[derive(Debug)]
pub struct WholeCampaign {
    /// The campaign.
    pub campaign: CampaignRow,
    /// Its DIDs, by id.
    pub dids: Vec<TiedDidRow>,
    /// Its links, by tier.
    pub links: Vec<LinkRow>,
}

/// A campaign to be made.
#[derive(Debug)]
pub struct NewCampaignRow<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its status.
    pub status: &'a str,
    /// Its strategy.
    pub routing_strategy: &'a str,
    /// How long a target rings.
    pub dial_timeout_seconds: i32,
    /// What its owner says of it.
    pub description: Option<&'a str>,
    /// What it records.
    pub recording: CampaignRecording,
}

/// A change of a campaign; what is `None` stays.
#[derive(Debug)]
pub struct CampaignChange<'a> {
    /// New name.
    pub name: Option<&'a str>,
    /// New status.
    pub status: Option<&'a str>,
    /// New strategy.
    pub routing_strategy: Option<&'a str>,
    /// New ringing time.
    pub dial_timeout_seconds: Option<i32>,
    /// New description, which may be none.
    pub description: Option<Option<&'a str>>,
    /// What it records.
    pub recording: RecordingChange<'a>,
}

/// A DID that another active campaign has.
#[derive(Debug)]
pub struct DidInUse {
    /// The DID.
    pub number: String,
    /// The campaign that has it.
    pub campaign_id: i32,
    /// Its name.
    pub campaign_name: String,
}

/// A client that may be linked.
#[derive(Debug)]
pub struct AvailableClientRow {
    /// Its id.
    pub id: i32,
    /// Its name in Asterisk.
    pub client_identifier: String,
    /// Its name.
    pub name: String,
    /// Its department.
    pub department: Option<String>,
}

impl CampaignRow {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            id: get.column("id")?,
            owner: UserId(get.column("user_id")?),
            username: get.column("username")?,
            name: get.column("name")?,
            status: get.column("status")?,
            routing_strategy: get.column("routing_strategy")?,
            dial_timeout_seconds: get.column("dial_timeout_seconds")?,
            description: get.column("description")?,
            recording: CampaignRecording {
                enabled: get.column("recording_enabled")?,
                language: get.column("recording_language")?,
                announcement: get.column("recording_announcement")?,
                retention_days: get.column("recording_retention_days")?,
                mask_numbers: get.column("mask_numbers")?,
            },
            created_at: get.column("created_at")?,
            updated_at: get.column("updated_at")?,
        })
    }
}

impl TiedDidRow {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::DIDS, row);
        Ok(Self {
            id: get.column("id")?,
            number: get.column("number")?,
            description: get.column("description")?,
            status: get.column("status")?,
            updated_at: get.column("updated_at")?,
        })
    }
}

impl Store {
    /// A part of the campaigns in an order (`name`, `createdAt`, `updatedAt`, `id`; with a minus the other way
    /// round), and how many there are.
    pub async fn campaigns(
        &self,
        reach: Reach,
        filter: &CampaignFilter<'_>,
        sort: &str,
        (limit, offset): (i64, i64),
    ) -> Result<(Vec<CampaignRow>, i64), Error> {
        let owner = reach.owner().or(filter.user_id);
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &owner,
            &filter.status,
            &filter.routing_strategy,
            &filter.did_id,
            &filter.client_id,
            &filter.text,
        ];
        let counted = self.once_planned(reach, sql::COUNT, &parameters).await?;
        let total = counted.first().map_or(0, |row| row.get("total"));
        parameters.extend([&sort as &(dyn ToSql + Sync), &limit, &offset]);
        let rows = self.once_planned(reach, sql::LIST, &parameters).await?;
        let campaigns = rows.iter().map(|row| CampaignRow::from_row(sql::LIST, row));
        Ok((campaigns.collect::<Result<_, _>>()?, total))
    }

    /// A campaign with what belongs to it.
    pub async fn campaign(&self, reach: Reach, id: i32) -> Result<Option<WholeCampaign>, Error> {
        let request = self.request(reach).await?;
        let whole = match request.row(sql::ONE, &[&reach.owner(), &id]).await? {
            None => None,
            Some(row) => {
                let campaign = CampaignRow::from_row(sql::ONE, &row)?;
                Some(request.whole_campaign(campaign).await?)
            }
        };
        request.commit().await?;
        Ok(whole)
    }

    /// A part of the clients that a seller may link, by name, with a text in identifier, name or department if one
    /// is given, and how many there are.
    pub async fn available_clients(
        &self,
        owner: UserId,
        text: Option<&str>,
        sort: &str,
        (limit, offset): (i64, i64),
    ) -> Result<(Vec<AvailableClientRow>, i64), Error> {
        let reach = Reach::Tenant(owner);
        let counted = self
            .once(reach, sql::COUNT_AVAILABLE_CLIENTS, &[&text])
            .await?;
        let total = counted.first().map_or(0, |row| row.get("total"));
        let rows = self
            .once(
                reach,
                sql::AVAILABLE_CLIENTS,
                &[&text, &limit, &offset, &sort],
            )
            .await?;
        let clients: Result<_, Error> = rows
            .iter()
            .map(|row| {
                let get = reader(sql::AVAILABLE_CLIENTS, row);
                Ok(AvailableClientRow {
                    id: get.column("id")?,
                    client_identifier: get.column("client_identifier")?,
                    name: get.column("name")?,
                    department: get.column("department")?,
                })
            })
            .collect();
        Ok((clients?, total))
    }
}

impl Request {
    /// A campaign within reach; neither it nor its ties and links are changed by others until the end of the
    /// transaction.
    pub async fn lock_campaign(&self, id: i32) -> Result<Option<CampaignRow>, Error> {
        let row = self.row(sql::LOCK, &[&self.owner(), &id]).await?;
        row.map(|row| CampaignRow::from_row(sql::LOCK, &row))
            .transpose()
    }

    /// Whether there is such a campaign, whoever's it is.
    pub async fn campaign_exists(&self, id: i32) -> Result<bool, Error> {
        let row = self.one(sql::EXISTS, &[&id]).await?;
        reader(sql::EXISTS, &row).column("there")
    }

    /// A campaign with what belongs to it.
    pub async fn whole_campaign(&self, campaign: CampaignRow) -> Result<WholeCampaign, Error> {
        let dids = self
            .rows(sql::DIDS, &[&campaign.owner.0, &campaign.id])
            .await?;
        let dids = dids.iter().map(TiedDidRow::from_row);
        let dids = dids.collect::<Result<_, _>>()?;
        let links = self.links(campaign.id).await?;
        Ok(WholeCampaign {
            campaign,
            dids,
            links,
        })
    }

    /// Makes a campaign. [`Error::broken`] tells whether the name is taken.
    pub async fn create_campaign(
        &self,
        owner: UserId,
        new: &NewCampaignRow<'_>,
    ) -> Result<CampaignRow, Error> {
        let row = self
            .one(
                sql::CREATE,
                &[
                    &owner.0,
                    &new.name,
                    &new.status,
                    &new.routing_strategy,
                    &new.dial_timeout_seconds,
                    &new.description,
                    &new.recording.enabled,
                    &new.recording.language,
                    &new.recording.announcement,
                    &new.recording.retention_days,
                    &new.recording.mask_numbers,
                ],
            )
            .await?;
        CampaignRow::from_row(sql::CREATE, &row)
    }

    /// Changes a campaign that was locked. [`Error::broken`] tells whether the name is taken.
    pub async fn update_campaign(
        &self,
        id: i32,
        change: &CampaignChange<'_>,
    ) -> Result<CampaignRow, Error> {
        let (given, description) = (change.description.is_some(), change.description.flatten());
        let recording = &change.recording;
        let row = self
            .one(
                sql::UPDATE,
                &[
                    &id,
                    &given,
                    &description,
                    &change.name,
                    &change.status,
                    &change.routing_strategy,
                    &change.dial_timeout_seconds,
                    &recording.enabled,
                    &recording.language,
                    &recording.announcement.is_some(),
                    &recording.announcement.flatten(),
                    &recording.retention_days.is_some(),
                    &recording.retention_days.flatten(),
                    &recording.mask_numbers,
                ],
            )
            .await?;
        CampaignRow::from_row(sql::UPDATE, &row)
    }

    /// Deletes a campaign that was locked.
    pub async fn delete_campaign(&self, id: i32) -> Result<(), Error> {
        self.rows(sql::LOCK_CALLS, &[&id]).await?;
        self.rows(sql::DELETE, &[&id]).await?;
        Ok(())
    }

    /// Locks those of these DIDs that are a seller's, and says which they are, by id.
    pub async fn lock_dids(&self, owner: UserId, ids: &[i32]) -> Result<Vec<i32>, Error> {
        let rows = self.rows(sql::LOCK_DIDS, &[&owner.0, &ids]).await?;
        rows.iter()
            .map(|row| reader(sql::LOCK_DIDS, row).column("id"))
            .collect()
    }

    /// One of these DIDs, which were locked, that another active campaign has.
    pub async fn did_in_use(
        &self,
        owner: UserId,
        campaign_id: i32,
        ids: &[i32],
    ) -> Result<Option<DidInUse>, Error> {
        let row = self
            .row(sql::DID_IN_USE, &[&owner.0, &campaign_id, &ids])
            .await?;
        row.map(|row| {
            let get = reader(sql::DID_IN_USE, &row);
            Ok(DidInUse {
                number: get.column("number")?,
                campaign_id: get.column("campaign_id")?,
                campaign_name: get.column("campaign_name")?,
            })
        })
        .transpose()
    }

    /// Ties exactly these DIDs, which were locked, to a campaign that was locked.
    pub async fn tie_dids(&self, campaign_id: i32, ids: &[i32]) -> Result<(), Error> {
        self.rows(sql::UNTIE, &[&campaign_id, &ids]).await?;
        self.rows(sql::TIE, &[&campaign_id, &ids]).await?;
        Ok(())
    }

    /// Ties a DID, which was locked, to a campaign that was locked. Whether it was not tied before.
    pub async fn tie_did(&self, campaign_id: i32, did_id: i32) -> Result<bool, Error> {
        let tied = self.row(sql::TIE_ONE, &[&campaign_id, &did_id]).await?;
        Ok(tied.is_some())
    }

    /// Unties a DID from a campaign that was locked. Whether it was tied before.
    pub async fn untie_did(&self, campaign_id: i32, did_id: i32) -> Result<bool, Error> {
        let untied = self.row(sql::UNTIE_ONE, &[&campaign_id, &did_id]).await?;
        Ok(untied.is_some())
    }
}
