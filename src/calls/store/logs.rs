//! The call log, as people read it.

use std::time::Instant;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::db::keyset::END_OF_TIME;
use crate::db::request::Reach;
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::{Error, Store, totals};

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "calls/sql/logs";
        ATTEMPTS = "attempts",
        COUNT = "count",
        COUNT_PLAIN = "count_plain",
        LIST = "list",
        ONE = "one",
        PLAIN = "plain",
    }
}

type Parameter = dyn ToSql + Sync;

/// Which calls are asked for; what is `None` leaves all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Of this seller.
    pub user_id: Option<i32>,
    /// Begun at this time or later.
    pub from: Option<Timestamp>,
    /// Begun before this time.
    pub before: Option<Timestamp>,
    /// Of this campaign.
    pub campaign_id: Option<i32>,
    /// On this DID.
    pub did_id: Option<i32>,
    /// Of this client.
    pub client_id: Option<i32>,
    /// Of one of these statuses.
    pub statuses: Option<Vec<String>>,
    /// Refused for this reason.
    pub refusal_reason: Option<String>,
    /// On this dialled number.
    pub did_number: Option<String>,
    /// From this number.
    pub caller: Option<String>,
    /// Only the beginning of [`Self::caller`] is given.
    pub caller_is_prefix: bool,
    /// At least so long.
    pub min_duration: Option<i32>,
    /// At most so long.
    pub max_duration: Option<i32>,
    /// With this somewhere in its numbers and names.
    pub text: Option<String>,
    /// The digits of [`Self::text`], if it is a number.
    pub digits: Option<String>,
    /// In which these words were spoken.
    pub spoken: Option<String>,
    /// Of these, found before by their words.
    pub found: Option<Vec<i64>>,
}

/// The order of a list. What is equal is ordered by id in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    Newest,
    /// Oldest first.
    Oldest,
    /// Longest first.
    Longest,
    /// Shortest first; calls without duration come before all.
    Shortest,
}

/// The call at which a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Its id.
    pub id: i64,
    /// When it began.
    pub timestamp_start: Timestamp,
    /// How long it took; -1 if that is not known.
    pub duration_seconds: i32,
}

/// A call of the log.
#[derive(Debug, Clone)]
pub struct CallRow {
    /// Its id.
    pub id: i64,
    /// Its seller.
    pub user_id: Option<i32>,
    /// Its campaign and the campaign's name, while there is one.
    pub campaign: Option<(i32, String)>,
    /// Its DID and the DID's number, while there is one.
    pub did: Option<(i32, String)>,
    /// Its client, the client's name and identifier, while there is one.
    pub client: Option<(i32, String, String)>,
    /// The dialled number.
    pub incoming_did_number: String,
    /// The caller's number.
    pub caller_id_num: Option<String>,
    /// The caller's name.
    pub caller_id_name: Option<String>,
    /// When it began.
    pub timestamp_start: Timestamp,
    /// When it was answered.
    pub timestamp_answered: Option<Timestamp>,
    /// When it ended.
    pub timestamp_end: Option<Timestamp>,
    /// How long it took.
    pub duration_seconds: Option<i32>,
    /// How long it was answered.
    pub billsec_seconds: Option<i32>,
    /// How it ended.
    pub call_status: String,
    /// Why, as a code.
    pub hangup_cause_code: Option<i32>,
    /// Why, in words.
    pub hangup_cause_text: Option<String>,
    /// Who ended it: `caller`, `target` or `system`; none where that is not known.
    pub hangup_by: Option<String>,
    /// Asterisk's id of the caller's channel.
    pub asterisk_uniqueid: Option<String>,
    /// Asterisk's id of the call.
    pub asterisk_linkedid: Option<String>,
    /// Why it was refused, if it was.
    pub refusal_reason: Option<String>,
    /// How many targets it was offered to.
    pub attempts: i32,
    /// When this was written.
    pub created_at: Timestamp,
}

/// A target that a call was offered to.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    /// From 1.
    pub attempt: i32,
    /// The client.
    pub client_id: i32,
    /// Its endpoint.
    pub endpoint: String,
    /// When it was offered.
    pub offered_at: Timestamp,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What came of it.
    pub outcome: Option<String>,
    /// Asterisk's status.
    pub dial_status: Option<String>,
    /// Why it ended, as a code.
    pub hangup_cause_code: Option<i32>,
}

impl CallFilter {
    /// The seller, if only seller and time are asked for.
    fn plain(&self) -> Option<i32> {
        let rest = Self {
            user_id: None,
            from: None,
            before: None,
            ..self.clone()
        };
        self.user_id.filter(|_| rest == Self::default())
    }

    /// The parameters $1 to $17 of every statement with these filters.
    pub(crate) fn parameters(&self) -> [&Parameter; 17] {
        [
            &self.user_id,
            &self.from,
            &self.before,
            &self.campaign_id,
            &self.did_id,
            &self.client_id,
            &self.statuses,
            &self.refusal_reason,
            &self.did_number,
            &self.caller,
            &self.caller_is_prefix,
            &self.min_duration,
            &self.max_duration,
            &self.text,
            &self.digits,
            &self.spoken,
            &self.found,
        ]
    }
}

/// Parameters of a list beyond the filters.
struct PageKeys {
    order: &'static str,
    id: Option<i64>,
    time: Option<Timestamp>,
    duration: Option<i32>,
    limit: i64,
    offset: i64,
}

impl PageKeys {
    fn of(order: Order, after: Option<Position>, limit: i64, offset: i64) -> Self {
        Self {
            order: order.as_str(),
            id: after.map(|position| position.id),
            time: after.map(|position| position.timestamp_start),
            duration: after.map(|position| position.duration_seconds),
            limit,
            offset,
        }
    }

    fn parameters<'a>(&'a self, filter: &'a CallFilter) -> Vec<&'a Parameter> {
        let mut parameters = filter.parameters().to_vec();
        let keys: [&Parameter; 6] = [
            &self.order,
            &self.id,
            &self.time,
            &self.duration,
            &self.limit,
            &self.offset,
        ];
        parameters.extend(keys);
        parameters
    }
}

impl Order {
    /// As the query parameter `sort`, and the statement, write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "-timestamp_start",
            Self::Oldest => "timestamp_start",
            Self::Longest => "-duration",
            Self::Shortest => "duration",
        }
    }
}

impl CallRow {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        let campaign_id: Option<i32> = get.column("campaign_id")?;
        let did_id: Option<i32> = get.column("did_id")?;
        let client_id: Option<i32> = get.column("client_id")?;
        let campaign_name: Option<String> = get.column("campaign_name")?;
        let did_number: Option<String> = get.column("did_number")?;
        let client_name: Option<String> = get.column("client_name")?;
        let client_identifier: Option<String> = get.column("client_identifier")?;
        Ok(Self {
            id: get.column("id")?,
            user_id: get.column("user_id")?,
            campaign: campaign_id.zip(campaign_name),
            did: did_id.zip(did_number),
            client: client_id
                .zip(client_name)
                .zip(client_identifier)
                .map(|((id, name), identifier)| (id, name, identifier)),
            incoming_did_number: get.column("incoming_did_number")?,
            caller_id_num: get.column("caller_id_num")?,
            caller_id_name: get.column("caller_id_name")?,
            timestamp_start: get.column("timestamp_start")?,
            timestamp_answered: get.column("timestamp_answered")?,
            timestamp_end: get.column("timestamp_end")?,
            duration_seconds: get.column("duration_seconds")?,
            billsec_seconds: get.column("billsec_seconds")?,
            call_status: get.column("call_status")?,
            hangup_cause_code: get.column("hangup_cause_code")?,
            hangup_cause_text: get.column("hangup_cause_text")?,
            hangup_by: get.column("hangup_by")?,
            asterisk_uniqueid: get.column("asterisk_uniqueid")?,
            asterisk_linkedid: get.column("asterisk_linkedid")?,
            refusal_reason: get.column("refusal_reason")?,
            attempts: get.column("attempts")?,
            created_at: get.column("created_at")?,
        })
    }

    fn from_rows(sql: Sql, rows: &[Row]) -> Result<Vec<Self>, Error> {
        let read = |row| Self::from_row(sql, row);
        rows.iter().map(read).collect()
    }

    /// Where a page that ends with it ended.
    pub fn position(&self) -> Position {
        Position {
            id: self.id,
            timestamp_start: self.timestamp_start,
            duration_seconds: self.duration_seconds.unwrap_or(-1),
        }
    }
}

impl AttemptRow {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::ATTEMPTS, row);
        Ok(Self {
            attempt: get.column("attempt")?,
            client_id: get.column("client_id")?,
            endpoint: get.column("endpoint_id")?,
            offered_at: get.column("offered_at")?,
            answered_at: get.column("answered_at")?,
            ended_at: get.column("ended_at")?,
            outcome: get.column("outcome")?,
            dial_status: get.column("dial_status")?,
            hangup_cause_code: get.column("hangup_cause_code")?,
        })
    }
}

fn total_of(rows: &[Row]) -> Option<i64> {
    rows.first().map(|row| row.get("total"))
}

impl Store {
    /// A part of the log: what comes after a position, then after `offset` calls more. With `count`, also how
    /// many calls there are in all; a number beyond some thousands may be a minute old.
    pub async fn logged_calls(
        &self,
        reach: Reach,
        filter: &CallFilter,
        order: Order,
        after: Option<Position>,
        limit: i64,
        offset: i64,
        count: bool,
    ) -> Result<(Vec<CallRow>, Option<i64>), Error> {
        if let (Some(seller), Order::Newest) = (filter.plain(), order) {
            let part = (after, limit, offset);
            return self.newest_calls(reach, seller, filter, part, count).await;
        }
        let page = PageKeys::of(order, after, limit, offset);
        let parameters = page.parameters(filter);
        let rows = self.once_planned(reach, sql::LIST, &parameters).await?;
        let calls = CallRow::from_rows(sql::LIST, &rows)?;
        // What ends before the limit tells how many there are.
        let ended = (calls.len() as i64) < limit && (!calls.is_empty() || offset == 0);
        let total = match count {
            false => None,
            true if ended && after.is_none() => Some(offset + calls.len() as i64),
            true => {
                let counted = self
                    .once_planned(reach, sql::COUNT, &filter.parameters())
                    .await?;
                counted.first().map(|row| row.get("total"))
            }
        };
        Ok((calls, total))
    }

    async fn newest_calls(
        &self,
        reach: Reach,
        seller: i32,
        filter: &CallFilter,
        (after, limit, offset): (Option<Position>, i64, i64),
        count: bool,
    ) -> Result<(Vec<CallRow>, Option<i64>), Error> {
        let from = filter.from.unwrap_or(Timestamp::UNIX_EPOCH);
        let before = filter.before.unwrap_or(END_OF_TIME);
        let (time, id) = after.map_or((END_OF_TIME, i64::MAX), |p| (p.timestamp_start, p.id));
        let listed: [&Parameter; 7] = [&seller, &from, &before, &time, &id, &limit, &offset];
        let asked = (reach, seller, from, before);
        let remembered = if count {
            self.totals.get(&asked, Instant::now())
        } else {
            None
        };
        let most = totals::EXACT + 1;
        let counted: [&Parameter; 4] = [&seller, &from, &before, &most];
        let statements: [(Sql, &[&Parameter]); 2] =
            [(sql::PLAIN, &listed), (sql::COUNT_PLAIN, &counted)];
        let counts = usize::from(count && remembered.is_none());
        let mut answers = self
            .read_by_index(reach, &statements[..=counts], false)
            .await?
            .into_iter();
        let rows = answers.next().unwrap_or_default();
        let calls = CallRow::from_rows(sql::PLAIN, &rows)?;
        if let Some((total, recount)) = remembered {
            if let Some(recount) = recount {
                tokio::spawn(self.clone().recount(asked, recount));
            }
            return Ok((calls, Some(total)));
        }
        let mut total = answers.next().and_then(|rows| total_of(&rows));
        if total == Some(most) {
            let began = Instant::now();
            total = self.count_all(asked).await?;
            if let Some(total) = total {
                self.totals.note(asked, total, began);
            }
        }
        Ok((calls, total))
    }

    async fn count_all(
        &self,
        (reach, seller, from, before): totals::Asked,
    ) -> Result<Option<i64>, Error> {
        let counted: [&Parameter; 4] = [&seller, &from, &before, &i64::MAX];
        let answers = self
            .read_by_index(reach, &[(sql::COUNT_PLAIN, &counted)], true)
            .await?;
        Ok(answers.first().and_then(|rows| total_of(rows)))
    }

    /// Counts anew what was remembered, while nobody waits. If that fails, who asks next tries again, and is told
    /// why once the total is too old.
    async fn recount(self, asked: totals::Asked, turn: totals::Recount) {
        let began = Instant::now();
        if let Ok(Some(total)) = self.count_all(asked).await {
            turn.note(total, began);
        }
    }

    /// As [`Self::logged_calls`], on a connection for exports.
    pub async fn exported_calls(
        &self,
        reach: Reach,
        filter: &CallFilter,
        order: Order,
        after: Option<Position>,
        limit: i64,
    ) -> Result<Vec<CallRow>, Error> {
        let page = PageKeys::of(order, after, limit, 0);
        let parameters = page.parameters(filter);
        let rows = self.once_for_export(reach, sql::LIST, &parameters).await?;
        CallRow::from_rows(sql::LIST, &rows)
    }

    /// One call of a seller (`None`: of anybody).
    pub async fn logged_call(
        &self,
        reach: Reach,
        owner: Option<i32>,
        id: i64,
    ) -> Result<Option<CallRow>, Error> {
        let rows = self.once(reach, sql::ONE, &[&owner, &id]).await?;
        let row = rows.first();
        row.map(|row| CallRow::from_row(sql::ONE, row)).transpose()
    }

    /// Whom a call of a seller (`None`: of anybody) was offered to.
    pub async fn attempts_of_logged_call(
        &self,
        reach: Reach,
        owner: Option<i32>,
        id: i64,
    ) -> Result<Vec<AttemptRow>, Error> {
        let rows = self.once(reach, sql::ATTEMPTS, &[&owner, &id]).await?;
        rows.iter().map(AttemptRow::from_row).collect()
    }
}
