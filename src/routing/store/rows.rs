//! Rows of the statements of calls, as types.

use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::calls::{Attempt, CallUnderWay, ConfirmedBy};
use super::offers::{Campaign, Link, ResolvedDid};
use super::sql;
use crate::db::Error;
use crate::db::rows::reader;
use crate::domain::candidate::is_endpoint_id;
use crate::domain::{
    CallId, CampaignId, Candidate, Cap, CapKind, ClientId, DialStatus, DidId, HangupCause, LinkId,
    ReservationId, Rotation, ServerName, Stem, Strategy, UserId,
};

impl ResolvedDid {
    /// `None` where there is no such DID.
    pub(crate) fn from_row(row: &Row) -> Result<Option<Self>, Error> {
        let get = reader(sql::ROUTING_VIEW, row);
        let Some(did_id) = get.column::<Option<i32>>("did_id")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            did_id: DidId(did_id),
            number: get.column("number")?,
            did_active: get.column("did_active")?,
            user_id: UserId(get.column("user_id")?),
            owner_active: get.column("owner_active")?,
            campaign_id: get.column::<Option<i32>>("campaign_id")?.map(CampaignId),
            campaigns: get.column("campaigns")?,
        }))
    }
}

impl Campaign {
    /// `None` where no campaign takes the calls, or its rotation row is missing.
    pub(crate) fn from_row(row: &Row) -> Result<Option<Self>, Error> {
        let get = reader(sql::ROUTING_VIEW, row);
        let campaign_id: Option<i32> = get.column("campaign_id")?;
        let turn: Option<i64> = get.column("turn")?;
        let (Some(campaign_id), Some(turn)) = (campaign_id, turn) else {
            return Ok(None);
        };
        let strategy: String = get.column("routing_strategy")?;
        // A document that is no rotation, or no document at all, must not end routing.
        let rotation = get.column::<Json<Rotation>>("state");
        Ok(Some(Self {
            campaign_id: CampaignId(campaign_id),
            strategy: Strategy::parse(&strategy).ok_or_else(|| {
                Error::row(
                    sql::ROUTING_VIEW.name,
                    format!("routing_strategy is {strategy:?}"),
                )
            })?,
            ring_timeout_seconds: get.column::<i32>("dial_timeout_seconds")?.max(1) as u32,
            turn,
            rotation_was_unreadable: rotation.is_err(),
            recorded: get.column("recording_enabled")?,
            announcement: get.column("recording_announcement")?,
            rotation: rotation.map(|Json(rotation)| rotation).unwrap_or_default(),
        }))
    }
}

impl Link {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::ROUTING_VIEW, row);
        let endpoint: Option<String> = get.column("endpoint_id")?;
        let held = i64::from(get.column::<i32>("held")?);
        let confirmed = i64::from(get.column::<i32>("confirmed")?);
        let answered = i64::from(get.column::<i32>("current_total_calls")?);
        let has_address: bool = get.column("has_address")?;
        let candidate = Candidate {
            link_id: LinkId(get.column("link_id")?),
            client_id: ClientId(get.column("client_id")?),
            tier: get.column("forwarding_priority")?,
            weight: get.column::<i32>("weight")?.max(1) as u32,
            link_active: get.column("link_active")?,
            client_active: get.column("client_active")?,
            granted: get.column("granted")?,
            registered: get.column("registered")?,
            dialable: has_address && endpoint.as_deref().is_some_and(is_endpoint_id),
            caps: vec![
                Cap {
                    kind: CapKind::Concurrency,
                    used: held + confirmed,
                    limit: Some(i64::from(get.column::<i32>("max_concurrency")?)),
                },
                Cap {
                    kind: CapKind::Total,
                    used: answered + held,
                    limit: get
                        .column::<Option<i32>>("total_calls_allowed")?
                        .map(i64::from),
                },
            ],
        };
        Ok(Self {
            candidate,
            client_name: get.column("client_name")?,
            endpoint,
            caller_id: get.column("callerid")?,
        })
    }
}

impl CallUnderWay {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::CALL_UNDER_WAY, row);
        Ok(Self {
            call_id: CallId(get.column("call_id")?),
            uniqueid: get.column("asterisk_uniqueid")?,
            key: get.column("uniqueid_under_way")?,
            channel: get.column("channel")?,
            system_name: get.column("system_name")?,
            server: get
                .column::<Option<String>>("server_name")?
                .and_then(|name| ServerName::parse(&name)),
            observed: get.column("observed")?,
            did_number: get.column("incoming_did_number")?,
            caller_number: get.column("caller_id_num")?,
            started_at: get.column("started_at")?,
            refused_at: get.column("refused_at")?,
            refusal_reason: get.column("refusal_reason")?,
            over_at: get.column("over_at")?,
            now: get.column("now")?,
        })
    }
}

impl Attempt {
    /// The attempts in these rows; a row without attempt number holds none.
    pub(crate) fn from_rows(rows: &[Row]) -> Result<Vec<Self>, Error> {
        rows.iter()
            .filter(|row| row.get::<_, Option<i32>>("attempt").is_some())
            .map(Self::from_row)
            .collect()
    }

    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::ATTEMPTS_OF_CALL, row);
        let status: Option<String> = get.column("dial_status")?;
        let cause: Option<i32> = get.column("hangup_cause_code")?;
        Ok(Self {
            call_id: CallId(get.column("call_id")?),
            attempt: get.column::<i32>("attempt")?.unsigned_abs(),
            reservation_id: ReservationId(get.column("reservation_id")?),
            link_id: LinkId(get.column("link_id")?),
            client_id: ClientId(get.column("client_id")?),
            endpoint: get.column("endpoint_id")?,
            offered_at: get.column("offered_at")?,
            ring_timeout_seconds: get.column::<i32>("ring_timeout_seconds")?.unsigned_abs(),
            answered_at: get.column("answered_at")?,
            ended_at: get.column("ended_at")?,
            confirmed_by: get
                .column::<Option<String>>("confirmed_by")?
                .as_deref()
                .and_then(ConfirmedBy::parse),
            status: status.as_deref().and_then(DialStatus::parse),
            cause: cause
                .and_then(|c| u8::try_from(c).ok())
                .and_then(HangupCause::new),
            // A stem that is none was written by somebody else, who may look for its files.
            recording: get
                .column::<Option<String>>("recording_stem")?
                .and_then(|stem| Stem::parse(&stem)),
        })
    }
}
