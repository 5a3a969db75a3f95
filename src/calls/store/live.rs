//! Calls under way and the decisions about calls, as people look at them.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::Row;

use super::logs::CallFilter;
use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::{Error, Store};
use crate::domain::{
    CallId, CampaignId, ClientId, LinkId, SeenChannel, ServerName, UniqueId, UserId,
};

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "calls/sql/live";
        CAMPAIGN_NAME = "campaign_name",
        CALL_OWNER = "call_owner",
        CHANGES = "changes",
        CHANNEL = "channel",
        CLIENT_NAMES = "client_names",
        DECISIONS = "decisions",
        ENDED = "ended",
        LIST = "list",
        ONE = "one",
        SNAPSHOT = "snapshot",
        VISIBLE = "visible",
        WATCHERS = "watchers",
    }
}

/// A call under way.
#[derive(Debug, Clone)]
pub struct LiveCallRow {
    /// The call.
    pub call_id: CallId,
    /// The number dialled.
    pub did_number: String,
    /// The caller's number.
    pub caller_number: Option<String>,
    /// The caller's name.
    pub caller_name: Option<String>,
    /// Its campaign, if it has one.
    pub campaign_id: Option<CampaignId>,
    /// The campaign's name, if it is still there.
    pub campaign_name: Option<String>,
    /// When it was first seen.
    pub started_at: Timestamp,
    /// When it was refused, if nothing was offered since.
    pub refused_at: Option<Timestamp>,
    /// The reason of that refusal.
    pub refusal_reason: Option<String>,
    /// The Asterisk it is on, once known.
    pub server: Option<String>,
    /// The daemon that was asked first.
    pub node: String,
    /// Who has it now.
    pub target: Option<LiveTarget>,
}

/// Who a call under way is with.
#[derive(Debug, Clone)]
pub struct LiveTarget {
    /// Answered, rather than offered.
    pub confirmed: bool,
    /// 1 for the call's first target.
    pub attempt: i32,
    /// The link.
    pub link_id: LinkId,
    /// Its client.
    pub client_id: ClientId,
    /// The client's name, if it is still there.
    pub client_name: Option<String>,
    /// The endpoint dialled.
    pub endpoint: String,
    /// When it was offered.
    pub offered_at: Timestamp,
    /// When it answered.
    pub answered_at: Option<Timestamp>,
}

impl LiveCallRow {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::LIST, row);
        let attempt: Option<i32> = get.column("attempt")?;
        let target = match attempt {
            None => None,
            Some(attempt) => Some(LiveTarget {
                confirmed: get.column::<&str>("state")? == "confirmed",
                attempt,
                link_id: LinkId(get.column("link_id")?),
                client_id: ClientId(get.column("client_id")?),
                client_name: get.column("client_name")?,
                endpoint: get.column("endpoint_id")?,
                offered_at: get.column("offered_at")?,
                answered_at: get.column("answered_at")?,
            }),
        };
        Ok(Self {
            call_id: CallId(get.column("call_id")?),
            did_number: get.column("incoming_did_number")?,
            caller_number: get.column("caller_id_num")?,
            caller_name: get.column("caller_id_name")?,
            campaign_id: get.column::<Option<i32>>("campaign_id")?.map(CampaignId),
            campaign_name: get.column("campaign_name")?,
            started_at: get.column("started_at")?,
            refused_at: get.column("refused_at")?,
            refusal_reason: get.column("refusal_reason")?,
            server: get.column("server_name")?,
            node: get.column("node_name")?,
            target,
        })
    }
}

/// A call as events tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCall {
    /// The call.
    pub call_id: CallId,
    /// Its tenant; none where nobody has the number.
    pub user_id: Option<UserId>,
    /// The number dialled.
    pub did_number: String,
    /// The caller's number.
    pub caller_number: Option<String>,
    /// Its campaign, if it has one.
    pub campaign_id: Option<CampaignId>,
    /// The campaign's name, if it is still there.
    pub campaign_name: Option<String>,
    /// When it was first seen.
    pub started_at: Timestamp,
    /// When it was refused, if nothing was offered since.
    pub refused_at: Option<Timestamp>,
    /// Targets tried so far, in order.
    pub attempts: Vec<SeenAttempt>,
}

/// A target tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenAttempt {
    /// 1 for the first.
    pub attempt: i32,
    /// The link.
    pub link_id: LinkId,
    /// The client.
    pub client_id: ClientId,
    /// The client's name, if it is still there.
    pub client_name: Option<String>,
    /// The endpoint dialled.
    pub endpoint: String,
    /// When it was offered.
    pub offered_at: Timestamp,
    /// When it answered.
    pub answered_at: Option<Timestamp>,
    /// When that ended.
    pub ended_at: Option<Timestamp>,
}

/// A change of the catalogue, as the audit log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueChange {
    /// Its entry in the audit log.
    pub audit_id: i64,
    /// When.
    pub at: Timestamp,
    /// Account or program that made it.
    pub actor: String,
    /// The seller whose thing was changed.
    pub user_id: Option<UserId>,
    /// What was done.
    pub action: String,
    /// To what kind of thing.
    pub object_type: String,
    /// To which.
    pub object_id: String,
}

/// A call that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedCall {
    /// The call, with all its attempts.
    pub call: SeenCall,
    /// When.
    pub ended_at: Timestamp,
    /// As in the log.
    pub status: Option<String>,
    /// Why it was refused, if it was.
    pub reason: Option<String>,
    /// The client it was with last.
    pub client_id: Option<ClientId>,
}

impl SeenCall {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        Ok(Self {
            call_id: CallId(get.column("call_id")?),
            user_id: get.column::<Option<i32>>("user_id")?.map(UserId),
            did_number: get.column("incoming_did_number")?,
            caller_number: get.column("caller_id_num")?,
            campaign_id: get.column::<Option<i32>>("campaign_id")?.map(CampaignId),
            campaign_name: get.column("campaign_name")?,
            started_at: get.column("started_at")?,
            refused_at: get.column("refused_at")?,
            attempts: Vec::new(),
        })
    }
}

impl SeenAttempt {
    fn from_row(sql: Sql, row: &Row) -> Result<Option<Self>, Error> {
        let get = reader(sql, row);
        let Some(attempt) = get.column("attempt")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            attempt,
            link_id: LinkId(get.column("link_id")?),
            client_id: ClientId(get.column("client_id")?),
            client_name: get.column("client_name")?,
            endpoint: get.column("endpoint_id")?,
            offered_at: get.column("offered_at")?,
            answered_at: get.column("answered_at")?,
            ended_at: get.column("ended_at")?,
        }))
    }
}

/// A decision as it was recorded.
#[derive(Debug, Clone)]
pub struct DecisionRow {
    /// Which attempt of the call it was about.
    pub attempt: i32,
    /// When.
    pub decided_at: Timestamp,
    /// `DIAL` or `REJECT`.
    pub verdict: String,
    /// Why it was refused.
    pub reason: Option<String>,
    /// The daemon that decided.
    pub node: String,
    /// The campaign.
    pub campaign_id: Option<CampaignId>,
    /// The campaign's name, if it is still there.
    pub campaign_name: Option<String>,
    /// The link chosen.
    pub link_id: Option<LinkId>,
    /// All it depended on.
    pub question: Option<Value>,
    /// All candidates with their verdicts, in order.
    pub ranking: Option<Value>,
    /// What else there was to say.
    pub remarks: Vec<String>,
    /// What came of it.
    pub offer: Option<OfferRow>,
}

/// An offer and what came of it.
#[derive(Debug, Clone)]
pub struct OfferRow {
    /// The client.
    pub client_id: ClientId,
    /// The endpoint dialled.
    pub endpoint: String,
    /// When.
    pub offered_at: Timestamp,
    /// How long it might ring.
    pub ring_timeout_seconds: i32,
    /// When it answered.
    pub answered_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// `answered`, `failed`, `abandoned`, `not_dialled`, `lost`.
    pub outcome: Option<String>,
    /// `DIALSTATUS`.
    pub dial_status: Option<String>,
    /// Q.850 cause.
    pub hangup_cause_code: Option<i32>,
}

impl DecisionRow {
    /// None where a call has no decision.
    fn from_row(row: &Row) -> Result<Option<Self>, Error> {
        let get = reader(sql::DECISIONS, row);
        if get.column::<Option<i64>>("decision_id")?.is_none() {
            return Ok(None);
        }
        let offer = match get.column::<Option<i32>>("client_id")? {
            None => None,
            Some(client) => Some(OfferRow {
                client_id: ClientId(client),
                endpoint: get.column("endpoint_id")?,
                offered_at: get.column("offered_at")?,
                ring_timeout_seconds: get.column("ring_timeout_seconds")?,
                answered_at: get.column("answered_at")?,
                ended_at: get.column("ended_at")?,
                outcome: get.column("outcome")?,
                dial_status: get.column("dial_status")?,
                hangup_cause_code: get.column("hangup_cause_code")?,
            }),
        };
        Ok(Some(Self {
            attempt: get.column("attempt")?,
            decided_at: get.column("decided_at")?,
            verdict: get.column("verdict")?,
            reason: get.column("reason")?,
            node: get.column("node_name")?,
            campaign_id: get.column::<Option<i32>>("campaign_id")?.map(CampaignId),
            campaign_name: get.column("campaign_name")?,
            link_id: get.column::<Option<i32>>("link_id")?.map(LinkId),
            question: get.column("question")?,
            ranking: get.column("ranking")?,
            remarks: get.column("remarks")?,
            offer,
        }))
    }
}

/// Which calls under way are listed; what is `None` does not matter.
#[derive(Debug, Default)]
pub struct LiveFilter<'a> {
    /// As of the log, but for what only ended calls have: statuses and words that were spoken. Durations are their ages.
    pub calls: CallFilter,
    /// `routing`, `offered`, `talking` or `refused`.
    pub state: Option<&'a str>,
    /// The oldest first.
    pub oldest_first: bool,
}

/// The caller's channel of a call under way.
#[derive(Debug)]
pub struct LiveChannelRow {
    /// The channel.
    pub channel: SeenChannel,
    /// The Asterisk it was seen on.
    pub server: Option<ServerName>,
    /// What that Asterisk calls itself, if it was told.
    pub system_name: Option<String>,
    /// The daemon that saw it, where several Asterisks use the name.
    pub seen_by: Option<String>,
}

impl Request {
    /// The seller of a call that is under way or ended within hours, if it is one's.
    pub async fn owner_of_call(&self, call: CallId) -> Result<Option<UserId>, Error> {
        let row = self.row(sql::CALL_OWNER, &[&call.0]).await?;
        let Some(row) = row else { return Ok(None) };
        let owner: Option<i32> = reader(sql::CALL_OWNER, &row).column("user_id")?;
        Ok(owner.map(UserId))
    }
}

impl Store {
    /// A part of the calls under way, newest first, and how many there are.
    pub async fn live_calls(
        &self,
        reach: Reach,
        filter: &LiveFilter<'_>,
        (limit, offset): (i64, i64),
    ) -> Result<(Vec<LiveCallRow>, i64), Error> {
        let calls = &filter.calls;
        let owner = reach.owner().or(calls.user_id);
        let rows = self
            .once(
                reach,
                sql::LIST,
                &[
                    &owner,
                    &limit,
                    &offset,
                    &calls.campaign_id,
                    &calls.client_id,
                    &filter.state,
                    &calls.from,
                    &calls.before,
                    &calls.did_id,
                    &calls.refusal_reason,
                    &calls.did_number,
                    &calls.caller,
                    &calls.caller_is_prefix,
                    &calls.min_duration,
                    &calls.max_duration,
                    &calls.text,
                    &calls.digits,
                    &filter.oldest_first,
                ],
            )
            .await?;
        let total = rows.first().map_or(0, |row| row.get("total"));
        let calls = rows
            .iter()
            .filter(|row| row.get::<_, Option<i64>>("call_id").is_some())
            .map(LiveCallRow::from_row);
        Ok((calls.collect::<Result<_, _>>()?, total))
    }

    /// A call, if it is under way.
    pub async fn live_call(
        &self,
        reach: Reach,
        call_id: i64,
    ) -> Result<Option<LiveCallRow>, Error> {
        let rows = self
            .once(reach, sql::ONE, &[&reach.owner(), &call_id])
            .await?;
        rows.first().map(LiveCallRow::from_row).transpose()
    }

    /// The channel of a call under way within reach.
    pub async fn live_channel(
        &self,
        reach: Reach,
        call: CallId,
    ) -> Result<Option<LiveChannelRow>, Error> {
        let rows = self
            .once(reach, sql::CHANNEL, &[&reach.owner(), &call.0])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let get = reader(sql::CHANNEL, row);
        let uniqueid: String = get.column("asterisk_uniqueid")?;
        let server: Option<String> = get.column("server_name")?;
        Ok(Some(LiveChannelRow {
            channel: SeenChannel {
                uniqueid: UniqueId::parse(&uniqueid)
                    .ok_or_else(|| Error::row(sql::CHANNEL.name, "a unique id that is none"))?,
                name: get.column("channel")?,
                created_at: get.column("channel_created_at")?,
            },
            server: server.as_deref().and_then(ServerName::parse),
            system_name: get.column("system_name")?,
            seen_by: get.column("seen_by")?,
        }))
    }

    /// The daemons that watch an Asterisk now.
    pub async fn watchers(&self, server: &ServerName) -> Result<Vec<String>, Error> {
        let rows = self
            .once(Reach::Everything, sql::WATCHERS, &[&server.as_str()])
            .await?;
        rows.iter()
            .map(|row| reader(sql::WATCHERS, row).column("node_name"))
            .collect()
    }

    /// Those of some calls that are within reach, under way or ended lately.
    pub async fn visible_calls(&self, reach: Reach, calls: &[i64]) -> Result<Vec<i64>, Error> {
        let rows = self.once(reach, sql::VISIBLE, &[&calls]).await?;
        rows.iter()
            .map(|row| reader(sql::VISIBLE, row).column("call_id"))
            .collect()
    }

    /// All calls under way, of everybody.
    pub async fn calls_seen(&self) -> Result<Vec<SeenCall>, Error> {
        let rows = self.once(Reach::Everything, sql::SNAPSHOT, &[]).await?;
        let mut calls: Vec<SeenCall> = Vec::new();
        for row in &rows {
            let id: i64 = row.get("call_id");
            if calls.last().is_none_or(|call| call.call_id.0 != id) {
                calls.push(SeenCall::from_row(sql::SNAPSHOT, row)?);
            }
            if let (Some(call), Some(attempt)) =
                (calls.last_mut(), SeenAttempt::from_row(sql::SNAPSHOT, row)?)
            {
                call.attempts.push(attempt);
            }
        }
        Ok(calls)
    }

    /// Those of `calls` that have ended, and all that ended since a moment, but for `known`.
    pub async fn calls_ended(
        &self,
        calls: &[i64],
        since: Timestamp,
        known: &[i64],
    ) -> Result<Vec<EndedCall>, Error> {
        let rows = self
            .once(Reach::Everything, sql::ENDED, &[&calls, &since, &known])
            .await?;
        let mut ended: Vec<EndedCall> = Vec::new();
        for row in &rows {
            let get = reader(sql::ENDED, row);
            let id: i64 = get.column("call_id")?;
            if ended.last().is_none_or(|call| call.call.call_id.0 != id) {
                ended.push(EndedCall {
                    call: SeenCall::from_row(sql::ENDED, row)?,
                    ended_at: get.column("call_ended_at")?,
                    status: get.column("call_status")?,
                    reason: get.column("refusal_reason")?,
                    client_id: get.column::<Option<i32>>("last_client_id")?.map(ClientId),
                });
            }
            if let (Some(call), Some(attempt)) =
                (ended.last_mut(), SeenAttempt::from_row(sql::ENDED, row)?)
            {
                call.call.attempts.push(attempt);
            }
        }
        Ok(ended)
    }

    /// Changes of the catalogue since a moment, but for `known`.
    pub async fn catalogue_changes(
        &self,
        since: Timestamp,
        known: &[i64],
    ) -> Result<Vec<CatalogueChange>, Error> {
        let rows = self
            .once(Reach::Everything, sql::CHANGES, &[&since, &known])
            .await?;
        rows.iter()
            .map(|row| {
                let get = reader(sql::CHANGES, row);
                Ok(CatalogueChange {
                    audit_id: get.column("audit_id")?,
                    at: get.column("at")?,
                    actor: get.column("actor")?,
                    user_id: get.column::<Option<i32>>("user_id")?.map(UserId),
                    action: get.column("action")?,
                    object_type: get.column("object_type")?,
                    object_id: get.column("object_id")?,
                })
            })
            .collect()
    }

    /// The decisions about a call, in order; none where there is no such call.
    pub async fn decisions(
        &self,
        reach: Reach,
        call: CallId,
    ) -> Result<Option<Vec<DecisionRow>>, Error> {
        let rows = self
            .once(reach, sql::DECISIONS, &[&call.0, &reach.owner()])
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let decisions = rows.iter().map(DecisionRow::from_row);
        let decisions: Vec<_> = decisions.collect::<Result<_, _>>()?;
        Ok(Some(decisions.into_iter().flatten().collect()))
    }

    /// The names of clients, of those that are still there.
    pub async fn client_names(
        &self,
        reach: Reach,
        clients: &[i32],
    ) -> Result<HashMap<ClientId, String>, Error> {
        if clients.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self.once(reach, sql::CLIENT_NAMES, &[&clients]).await?;
        let names = rows.iter().map(|row| {
            let get = reader(sql::CLIENT_NAMES, row);
            Ok((ClientId(get.column("id")?), get.column("name")?))
        });
        names.collect()
    }

    /// The name of a campaign, if it is still there.
    pub async fn campaign_name(
        &self,
        reach: Reach,
        campaign: CampaignId,
    ) -> Result<Option<String>, Error> {
        let rows = self.once(reach, sql::CAMPAIGN_NAME, &[&campaign.0]).await?;
        let row = rows.first();
        row.map(|row| reader(sql::CAMPAIGN_NAME, row).column("name"))
            .transpose()
    }
}
