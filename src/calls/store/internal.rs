//! What other programs of the telephone system ask and report.

use jiff::Timestamp;
use tokio_postgres::Row;

use crate::db::request::Reach;
use crate::db::rows::reader;
use crate::db::transaction::Transaction;
use crate::db::{Error, Store};
use crate::domain::{DialledNumber, LinkId};
use crate::routing::store::offers::{Concurrency, Look, RoutingView, read_view};

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "calls/sql/internal";
        ADDRESSES = "addresses",
        LOCK_UNIQUEID = "lock_uniqueid",
        LOG_CALL = "log_call",
    }
}

/// What dialling a link's client needs beyond what the decision looks at.
#[derive(Debug, Clone)]
pub struct Address {
    /// The link.
    pub link_id: LinkId,
    /// Calls at the same time.
    pub max_concurrency: i32,
    /// The client's identifier.
    pub client_identifier: String,
    /// Where it is reached.
    pub contact: String,
    /// Dialplan context of its endpoint.
    pub context: Option<String>,
    /// Transport of its endpoint.
    pub transport: Option<String>,
    /// Its endpoint's name for authentication with it.
    pub outbound_auth: Option<String>,
    /// Its endpoint's caller id.
    pub caller_id: Option<String>,
}

/// A call that somebody else carried.
#[derive(Debug)]
pub struct Record<'a> {
    /// Asterisk's id of the caller's channel.
    pub asterisk_uniqueid: &'a str,
    /// Asterisk's id of the call.
    pub asterisk_linkedid: Option<&'a str>,
    /// The seller.
    pub user_id: Option<i32>,
    /// The campaign.
    pub campaign_id: Option<i32>,
    /// The DID.
    pub did_id: Option<i32>,
    /// The client.
    pub client_id: Option<i32>,
    /// The link on which the call counts.
    pub counts_on: Option<i32>,
    /// The dialled number.
    pub incoming_did_number: &'a str,
    /// The caller's number.
    pub caller_id_num: Option<&'a str>,
    /// The caller's name.
    pub caller_id_name: Option<&'a str>,
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
    pub call_status: &'a str,
    /// Why, as a code.
    pub hangup_cause_code: Option<i32>,
    /// Why, in words.
    pub hangup_cause_text: Option<&'a str>,
}

/// What became of a [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the log under this id.
    As(i64),
    /// A call with this unique id is there already.
    Known,
    /// The daemon carries a call with this unique id and records it itself.
    UnderWay,
    /// There is no such link, or it can count no more.
    NoLink,
    /// This field names something that does not exist.
    Nothing(&'static str),
    /// This field names something of another seller or campaign than the rest.
    Foreign(&'static str),
}

impl Address {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::ADDRESSES, row);
        Ok(Self {
            link_id: LinkId(get.column("link_id")?),
            max_concurrency: get.column("max_concurrency")?,
            client_identifier: get.column("client_identifier")?,
            contact: get.column("contact")?,
            context: get.column("context")?,
            transport: get.column("transport")?,
            outbound_auth: get.column("outbound_auth")?,
            caller_id: get.column("callerid")?,
        })
    }
}

impl Recorded {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let get = reader(sql::LOG_CALL, row);
        let is = |column| get.column::<bool>(column);
        if let Some(id) = get.column("id")? {
            return Ok(Self::As(id));
        }
        if is("logged")? {
            return Ok(Self::Known);
        }
        if is("under_way")? {
            return Ok(Self::UnderWay);
        }
        for (column, field) in [
            ("user_known", "userId"),
            ("campaign_known", "campaignId"),
            ("did_known", "didId"),
            ("client_known", "clientId"),
        ] {
            if !is(column)? {
                return Ok(Self::Nothing(field));
            }
        }
        if !is("link_known")? {
            return Ok(Self::NoLink);
        }
        for (column, field) in [
            ("campaign_fits", "campaignId"),
            ("did_fits", "didId"),
            ("link_fits", "campaignClientSettingId"),
        ] {
            if !is(column)? {
                return Ok(Self::Foreign(field));
            }
        }
        // Deleted this moment.
        Ok(Self::NoLink)
    }
}

impl Store {
    /// What a decision looks at, and what dialling needs, in one round trip. Locks and changes nothing.
    pub async fn routing_view_with_addresses(
        &self,
        number: &DialledNumber,
    ) -> Result<(RoutingView, Vec<Address>), Error> {
        let transaction = Transaction::on(self.for_question().await?);
        let statement = transaction.prepare(sql::ADDRESSES).await?;
        let look = Look {
            concurrency: Concurrency::Optimistic,
            call: None,
            system_name: None,
        };
        let exactly = number.as_str();
        let by_number: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[&exactly];
        // Sent together.
        let (view, rows) = tokio::join!(
            biased;
            read_view(&transaction, number, look),
            transaction.query(sql::ADDRESSES, &statement, by_number),
        );
        let read = view.and_then(|view| {
            let addresses = rows?
                .iter()
                .map(Address::from_row)
                .collect::<Result<_, _>>();
            Ok((view, addresses?))
        });
        transaction.roll_back(read.as_ref().err()).await;
        read
    }

    /// Puts a call that somebody else carried into the log, once, and counts it.
    pub async fn record_call(&self, record: &Record<'_>) -> Result<Recorded, Error> {
        // One plan serves all, and none may be made for tables that happen to be small.
        let preamble = format!(
            "{}; set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off",
            Reach::Everything.preamble()
        );
        let transaction = Transaction::on(self.for_request().await?);
        let rows = transaction
            .run_all(
                Some(&preamble),
                &[
                    // In a statement of its own: the next one then sees what others wrote before.
                    (sql::LOCK_UNIQUEID, &[&record.asterisk_uniqueid]),
                    (
                        sql::LOG_CALL,
                        &[
                            &record.asterisk_uniqueid,
                            &record.asterisk_linkedid,
                            &record.user_id,
                            &record.campaign_id,
                            &record.did_id,
                            &record.client_id,
                            &record.counts_on,
                            &record.incoming_did_number,
                            &record.caller_id_num,
                            &record.caller_id_name,
                            &record.timestamp_start,
                            &record.timestamp_answered,
                            &record.timestamp_end,
                            &record.duration_seconds,
                            &record.billsec_seconds,
                            &record.call_status,
                            &record.hangup_cause_code,
                            &record.hangup_cause_text,
                        ],
                    ),
                ],
            )
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::row(sql::LOG_CALL.name, "no row"))?;
        Recorded::from_row(row)
    }
}
