//! Reading what a decision needs and writing what it decided, in one short transaction.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::types::Json;

use super::calls::{Attempt, CallUnderWay, keys_of};
use super::sql;
use crate::db::transaction::{Parameters, Transaction};
use crate::db::{Error, Store};
use crate::domain::{
    CallId, CallerId, CampaignId, Candidate, ClientId, Decision, DialledNumber, DidId, Disposition,
    HangupCause, LinkId, Question, RefusalReason, ReservationId, Rotation, ServerName, Strategy,
    SystemName, UniqueId, UserId,
};

/// The DID behind a dialled number.
#[derive(Debug, Clone)]
pub struct ResolvedDid {
    /// The DID.
    pub did_id: DidId,
    /// As stored.
    pub number: String,
    /// The DID's status is active.
    pub did_active: bool,
    /// Its owner.
    pub user_id: UserId,
    /// The owner's status is active.
    pub owner_active: bool,
    /// The owner's active campaign that takes its calls.
    pub campaign_id: Option<CampaignId>,
    /// How many active campaigns claim it: 0 or 1, unless rows were written past our checks.
    pub campaigns: i64,
}

/// How a campaign routes.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Its strategy.
    pub strategy: Strategy,
    /// `dial_timeout_seconds`.
    pub ring_timeout_seconds: u32,
    /// Whose turn it is.
    pub rotation: Rotation,
    /// Counts the moves of the rotation.
    pub turn: i64,
    /// The stored rotation could not be read and starts anew.
    pub rotation_was_unreadable: bool,
    /// Its calls are recorded.
    pub recorded: bool,
    /// The sound file that says so to both sides.
    pub announcement: Option<String>,
}

/// A link of the campaign: what the decision looks at, and what dialling needs.
#[derive(Debug, Clone)]
pub struct Link {
    /// For the decision.
    pub candidate: Candidate,
    /// The client's name.
    pub client_name: String,
    /// PJSIP endpoint id, if there is one.
    pub endpoint: Option<String>,
    /// Caller id override of the endpoint.
    pub caller_id: Option<String>,
}

/// Everything a decision looks at, in one view of the database.
#[derive(Debug, Clone)]
pub struct RoutingView {
    /// When this was read, by the database's clock.
    pub looked_at: Timestamp,
    /// The calls under way under the unique id asked about, with their attempts: one as a rule, more where several
    /// Asterisks give the same unique ids.
    pub calls: Vec<(CallUnderWay, Vec<Attempt>)>,
    /// The DID, if there is one.
    pub did: Option<ResolvedDid>,
    /// The campaign, if the DID has an active one.
    pub campaign: Option<Campaign>,
    /// Its links.
    pub links: Vec<Link>,
    /// Campaigns of the DID that are not active: looked for only where none is.
    pub closed: Vec<ClosedCampaign>,
}

/// A campaign that would take a DID's calls if it were active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedCampaign {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Its name.
    pub name: String,
    /// Its status: `paused` or `inactive`.
    pub status: String,
}

/// As a decision's remark and the command line show it: `campaign 2 Sales: paused`.
impl std::fmt::Display for ClosedCampaign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name.escape_debug();
        write!(f, "campaign {} {name}: {}", self.campaign_id, self.status)
    }
}

/// How a decision deals with others of the same campaign at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// Reads without a lock; the claim finds out whether somebody was quicker. Best where nobody is.
    Optimistic,
    /// Takes its turn at the campaign's lock, which it keeps until it has claimed.
    Queued,
}

/// What is read besides the DID's routing.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// How to deal with others.
    pub concurrency: Concurrency,
    /// The call to look for among those under way. A call taken for new that is not makes the claim fail.
    pub call: Option<&'a UniqueId>,
    /// What the Asterisk that asks calls itself: a client that registers must have registered there. `None`: anywhere.
    pub system_name: Option<&'a SystemName>,
}

/// What follows a [`RoutingView`]: decide on it quickly, then [`claim`](Self::claim) or
/// [`refuse`](Self::refuse).
pub struct Offering {
    transaction: Transaction,
}

/// The call a decision is written for.
#[derive(Debug, Clone, Copy)]
pub struct CallRow<'a> {
    /// The call to go on with; `None` makes a new one.
    pub call_id: Option<CallId>,
    /// Caller's channel.
    pub uniqueid: &'a UniqueId,
    /// Linked id, or the unique id.
    pub linkedid: &'a str,
    /// Name of the caller's channel, at most 80 characters.
    pub channel: &'a str,
    /// What its Asterisk calls itself, if it was told.
    pub system_name: Option<&'a SystemName>,
    /// The server on which its channel was seen, and when that says it was made.
    pub seen: Option<(&'a ServerName, Option<Timestamp>)>,
    /// The server its address suggests.
    pub likely_server: Option<&'a ServerName>,
    /// What a new call stands under, where others are under way under its unique id.
    pub key: Option<&'a str>,
    /// This daemon.
    pub node: &'a str,
    /// Number as stored with the DID, or as dialled.
    pub did_number: &'a str,
    /// The caller.
    pub caller: &'a CallerId,
    /// When it was looked at. This and the two below are times of the database.
    pub at: Timestamp,
    /// When the question came, at the latest.
    pub asked_at: Timestamp,
    /// When the asker gives up, at the earliest.
    pub deadline: Timestamp,
    /// The call of the same channel that ended for this one to begin.
    pub before: Option<CallId>,
    /// Hard limit of a call's life, in seconds.
    pub max_call_seconds: u32,
}

/// A claim to write.
#[derive(Debug)]
pub struct Claim<'a> {
    /// The call.
    pub call: CallRow<'a>,
    /// The DID.
    pub did: &'a ResolvedDid,
    /// The campaign.
    pub campaign: &'a Campaign,
    /// The chosen link's client.
    pub client_id: ClientId,
    /// The chosen link.
    pub link_id: LinkId,
    /// Its endpoint.
    pub endpoint: &'a str,
    /// Which attempt of the call this is.
    pub attempt: u32,
    /// How long it may ring.
    pub ring_timeout_seconds: u32,
    /// What the stem of its recording begins with, see [`Stem::moment`]; `None`: it is not recorded.
    ///
    /// [`Stem::moment`]: crate::domain::Stem::moment
    pub recording: Option<&'a str>,
    /// What was asked.
    pub question: &'a Question,
    /// What was decided.
    pub decision: &'a Decision,
    /// Anything a reader of the record should know.
    pub remarks: &'a [String],
}

/// A refusal to write.
#[derive(Debug)]
pub struct RefusalRow<'a> {
    /// The call.
    pub call: CallRow<'a>,
    /// The DID, if found.
    pub did: Option<&'a ResolvedDid>,
    /// The attempt that could not be made.
    pub attempt: u32,
    /// Why.
    pub reason: RefusalReason,
    /// For the log.
    pub disposition: Disposition,
    /// What the caller's carrier is told.
    pub cause: HangupCause,
    /// Question and decision, when it came to them.
    pub decided: Option<(&'a Question, &'a Decision)>,
    /// The last target tried.
    pub last_tried: Option<(ClientId, LinkId)>,
    /// Anything a reader of the record should know.
    pub remarks: &'a [String],
}

impl Store {
    /// Reads everything a decision looks at, in one round trip.
    pub async fn begin_offer(
        &self,
        number: &DialledNumber,
        look: Look<'_>,
    ) -> Result<(RoutingView, Offering), Error> {
        let transaction = Transaction::on(self.for_call().await?);
        match read_view(&transaction, number, look).await {
            Ok(view) => Ok((view, Offering { transaction })),
            Err(error) => {
                transaction.roll_back(Some(&error)).await;
                Err(error)
            }
        }
    }

    /// Reads what a decision would look at now. Locks and changes nothing.
    pub async fn routing_view(&self, number: &DialledNumber) -> Result<RoutingView, Error> {
        let transaction = Transaction::on(self.for_question().await?);
        let look = Look {
            concurrency: Concurrency::Optimistic,
            call: None,
            system_name: None,
        };
        let view = read_view(&transaction, number, look).await;
        transaction.roll_back(view.as_ref().err()).await;
        view
    }

    /// Makes the rows a campaign's decisions lock, where they were lost.
    pub async fn add_missing_rows(&self, campaign_id: CampaignId) -> Result<(), Error> {
        let client = self.for_call().await?;
        crate::db::pool::rows(&client, sql::ADD_MISSING_ROTATION, &[&campaign_id.0]).await?;
        crate::db::pool::rows(&client, sql::ADD_MISSING_USAGE, &[&campaign_id.0]).await?;
        Ok(())
    }
}

pub(crate) async fn read_view(
    transaction: &Transaction,
    number: &DialledNumber,
    look: Look<'_>,
) -> Result<RoutingView, Error> {
    let keys = number.lookup_keys();
    let by_number: Parameters<'_> = &[&keys];
    let system_name = look.system_name.map(SystemName::as_str);
    let for_view: Parameters<'_> = &[&keys, &system_name];
    let view = transaction.prepare(sql::ROUTING_VIEW).await?;
    let turn_lock = match look.concurrency {
        Concurrency::Queued => Some(transaction.prepare(sql::LOCK_CAMPAIGN).await?),
        Concurrency::Optimistic => None,
    };
    let find_call = match look.call {
        Some(_) => Some(transaction.prepare(sql::CALL_UNDER_WAY).await?),
        None => None,
    };
    let take_turn = async {
        if let Some(turn_lock) = &turn_lock {
            // Sent together: what is awaited here is sent when first polled, as below.
            let (begun, locked) = tokio::join!(
                biased;
                transaction.begin(),
                transaction.query(sql::LOCK_CAMPAIGN, turn_lock, by_number),
            );
            begun?;
            locked?;
        }
        Ok(())
    };
    let find_call = async {
        match (&find_call, look.call) {
            (Some(statement), Some(uniqueid)) => {
                let keys = keys_of(uniqueid);
                let by_key: Parameters<'_> = &[&keys];
                let found = transaction.query(sql::CALL_UNDER_WAY, statement, by_key);
                found.await
            }
            _ => Ok(Vec::new()),
        }
    };
    // Sent in this order, in one go; each statement sees what was committed before it starts.
    let (turn, call, view) = tokio::join!(
        biased;
        take_turn,
        find_call,
        transaction.query(sql::ROUTING_VIEW, &view, for_view),
    );
    turn?;
    let (call, view) = (call?, view?);
    let calls = call
        .chunk_by(|a, b| a.get::<_, i64>("call_id") == b.get::<_, i64>("call_id"))
        .map(|rows| Ok((CallUnderWay::from_row(&rows[0])?, Attempt::from_rows(rows)?)))
        .collect::<Result<_, Error>>()?;
    let first = view
        .first()
        .ok_or_else(|| Error::row(sql::ROUTING_VIEW.name, "no row"))?;
    let did = ResolvedDid::from_row(first)?;
    Ok(RoutingView {
        looked_at: crate::db::rows::reader(sql::ROUTING_VIEW, first).column("looked_at")?,
        calls,
        closed: closed_campaigns(transaction, did.as_ref()).await?,
        did,
        campaign: Campaign::from_row(first)?,
        links: view
            .iter()
            .filter(|row| row.get::<_, Option<i32>>("link_id").is_some())
            .map(Link::from_row)
            .collect::<Result<_, _>>()?,
    })
}

/// A round trip of its own, paid only by calls that no campaign takes.
async fn closed_campaigns(
    transaction: &Transaction,
    did: Option<&ResolvedDid>,
) -> Result<Vec<ClosedCampaign>, Error> {
    let Some(did) = did.filter(|d| d.did_active && d.owner_active && d.campaign_id.is_none())
    else {
        return Ok(Vec::new());
    };
    let statement = transaction.prepare(sql::CLOSED_CAMPAIGNS).await?;
    let of_did: Parameters<'_> = &[&did.did_id.0, &did.user_id.0];
    let rows = (transaction.query(sql::CLOSED_CAMPAIGNS, &statement, of_did)).await?;
    rows.iter()
        .map(|row| {
            let get = crate::db::rows::reader(sql::CLOSED_CAMPAIGNS, row);
            Ok(ClosedCampaign {
                campaign_id: CampaignId(get.column("campaign_id")?),
                name: get.column("name")?,
                status: get.column("status")?,
            })
        })
        .collect()
}

impl Offering {
    /// Takes the slot and commits: one round trip. `None` if the slot is no longer there or somebody else
    /// took the turn, in which case nothing was changed.
    pub async fn claim(self, claim: &Claim<'_>) -> Result<Option<(CallId, ReservationId)>, Error> {
        let call = &claim.call;
        let rotation = (claim.decision.rotation_after != claim.question.rotation)
            .then_some(Json(&claim.decision.rotation_after));
        let rows = self
            .transaction
            .run_and_commit(&[(
                sql::CLAIM,
                &[
                    &call.call_id.map(|id| id.0),
                    &claim.link_id.0,
                    &(claim.attempt as i32),
                    &call.uniqueid.as_str(),
                    &call.linkedid,
                    &call.channel,
                    &call.seen.map(|(server, _)| server.as_str()),
                    &call.node,
                    &claim.did.user_id.0,
                    &claim.campaign.campaign_id.0,
                    &claim.did.did_id.0,
                    &call.did_number,
                    &call.caller.number,
                    &call.caller.name,
                    &call.at,
                    &f64::from(call.max_call_seconds),
                    &claim.client_id.0,
                    &claim.endpoint,
                    &(claim.ring_timeout_seconds as i32),
                    &Json(claim.question),
                    &Json(&claim.decision.ranking),
                    &claim.remarks,
                    &rotation,
                    &claim.campaign.turn,
                    &call.deadline,
                    &call.asked_at,
                    &claim.recording,
                    &call.system_name.map(SystemName::as_str),
                    &call.likely_server.map(ServerName::as_str),
                    &call.seen.map(|_| call.node),
                    &call.seen.and_then(|(_, created_at)| created_at),
                    &call.key,
                    &call.before.map(|id| id.0),
                ],
            )])
            .await?;
        Ok(rows.first().map(|row| {
            (
                CallId(row.get("call_id")),
                ReservationId(row.get("reservation_id")),
            )
        }))
    }

    /// Records the refusal and commits. `None` if the call to go on with has ended meanwhile.
    pub async fn refuse(self, refusal: &RefusalRow<'_>) -> Result<Option<CallId>, Error> {
        let call = &refusal.call;
        let rows = self
            .transaction
            .run_and_commit(&[(
                sql::REFUSE,
                &[
                    &call.call_id.map(|id| id.0),
                    &call.uniqueid.as_str(),
                    &call.linkedid,
                    &call.channel,
                    &call.seen.map(|(server, _)| server.as_str()),
                    &call.node,
                    &refusal.did.map(|d| d.user_id.0),
                    &refusal.did.and_then(|d| d.campaign_id).map(|id| id.0),
                    &refusal.did.map(|d| d.did_id.0),
                    &call.did_number,
                    &call.caller.number,
                    &call.caller.name,
                    &call.at,
                    &f64::from(call.max_call_seconds),
                    &refusal.reason.as_str(),
                    &(refusal.attempt as i32),
                    &json(refusal.decided.map(|(question, _)| question)),
                    &json(refusal.decided.map(|(_, decision)| &decision.ranking)),
                    &refusal.remarks,
                    &refusal.last_tried.map(|(client, _)| client.0),
                    &refusal.last_tried.map(|(_, link)| link.0),
                    &refusal.disposition.as_str(),
                    &i32::from(refusal.cause.value()),
                    &refusal.cause.text(),
                    &call.asked_at,
                    &call.deadline,
                    &call.system_name.map(SystemName::as_str),
                    &call.likely_server.map(ServerName::as_str),
                    &call.seen.map(|_| call.node),
                    &call.seen.and_then(|(_, created_at)| created_at),
                    &call.key,
                    &call.before.map(|id| id.0),
                ],
            )])
            .await?;
        Ok(rows.first().map(|row| CallId(row.get("call_id"))))
    }

    /// Changes nothing.
    pub async fn abandon(self) {
        self.transaction.roll_back(None).await;
    }
}

fn json<T: Serialize + std::fmt::Debug>(value: Option<&T>) -> Option<Json<&T>> {
    value.map(Json)
}
