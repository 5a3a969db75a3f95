//! Calls under way: finding, settling, ending them.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::sql;
use crate::db::sql::Sql;
use crate::db::transaction::{Parameters, Transaction};
use crate::db::{Error, Store};
use crate::domain::{
    CallId, CallerId, ClientId, DialStatus, DialledNumber, Disposition, HangupCause, HungUpBy,
    LinkId, ReservationId, SeenChannel, ServerName, Stem, SystemName, UniqueId,
};

/// Calls that may be under way under one unique id, each on another Asterisk.
const SAME_UNIQUE_ID: u32 = 4;

/// A call that was seen and whose end is not known.
#[derive(Debug, Clone)]
pub struct CallUnderWay {
    /// The call.
    pub call_id: CallId,
    /// The caller's channel.
    pub uniqueid: String,
    /// What it stands under among the calls under way: the unique id, or that with a number where several share it.
    pub key: String,
    /// Name of the caller's channel.
    pub channel: String,
    /// What its Asterisk calls itself, if the dialplan said.
    pub system_name: Option<String>,
    /// The server on which its channel was seen.
    pub server: Option<ServerName>,
    /// Some daemon compares that server's channels with its calls.
    pub observed: bool,
    /// The number dialled, as in the log.
    pub did_number: String,
    /// The caller's number.
    pub caller_number: Option<String>,
    /// When it was first seen.
    pub started_at: Timestamp,
    /// When it was last refused, if nothing was offered since.
    pub refused_at: Option<Timestamp>,
    /// The reason of that refusal.
    pub refusal_reason: Option<String>,
    /// When its end was reported, though it had never been routed. It is over, and logged.
    pub over_at: Option<Timestamp>,
    /// The database's time when this was read: the only clock that counts.
    pub now: Timestamp,
}

/// A call as the dialplan names it.
#[derive(Debug, Clone, Copy)]
pub struct AskedCall<'a> {
    /// The caller's channel.
    pub uniqueid: &'a UniqueId,
    /// What its Asterisk calls itself, if it was told.
    pub system_name: Option<&'a SystemName>,
    /// Name of the caller's channel; may be empty.
    pub channel: &'a str,
    /// The caller's number.
    pub caller_number: Option<&'a str>,
}

/// A call as an observer names it.
#[derive(Debug, Clone, Copy)]
pub struct SeenCall<'a> {
    /// The server on which it was seen.
    pub server: &'a ServerName,
    /// What that calls itself.
    pub system_name: Option<&'a str>,
    /// The caller's channel.
    pub channel: &'a SeenChannel,
    /// Only calls that this daemon saw first: another server uses the same name.
    pub seen_by: Option<&'a str>,
}

/// What told that a target has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmedBy {
    /// The event of its own channel.
    Event,
    /// It was seen talking with the caller.
    Bridge,
    /// The dialplan's report.
    Report,
}

impl ConfirmedBy {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Bridge => "bridge",
            Self::Report => "report",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Event, Self::Bridge, Self::Report]
            .into_iter()
            .find(|by| by.as_str() == text)
    }
}

/// A target's channel for which a slot waits after its attempt is over.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// The server it is on.
    pub server: &'a ServerName,
    /// The channel; `None` where only another daemon can see it.
    pub leg: Option<&'a UniqueId>,
}

/// One target tried.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its call.
    pub call_id: CallId,
    /// 1 for the first.
    pub attempt: u32,
    /// Its slot.
    pub reservation_id: ReservationId,
    /// The link tried.
    pub link_id: LinkId,
    /// Its client.
    pub client_id: ClientId,
    /// The endpoint dialled.
    pub endpoint: String,
    /// When it was offered.
    pub offered_at: Timestamp,
    /// How long it may ring.
    pub ring_timeout_seconds: u32,
    /// When it answered.
    pub answered_at: Option<Timestamp>,
    /// When it ended; `None` while it goes on.
    pub ended_at: Option<Timestamp>,
    /// What told that it was answered.
    pub confirmed_by: Option<ConfirmedBy>,
    /// How it ended, if that is known.
    pub status: Option<DialStatus>,
    /// Q.850 cause of its end.
    pub cause: Option<HangupCause>,
    /// What it was told to record to.
    pub recording: Option<Stem>,
}

/// What became of an attempt, for `call_attempts.outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Talked.
    Answered,
    /// The target did not take it.
    Failed,
    /// The caller hung up first.
    Abandoned,
    /// The offer never reached the dialplan.
    NotDialled,
    /// Its end was neither reported nor seen.
    Lost,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Answered,
        Self::Failed,
        Self::Abandoned,
        Self::NotDialled,
        Self::Lost,
    ];

    /// Its name in the tables and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::NotDialled => "not_dialled",
            Self::Lost => "lost",
        }
    }
}

/// The end of the open attempt of a call.
#[derive(Debug, Clone, Copy)]
pub struct AttemptEnd {
    /// What became of it.
    pub outcome: Outcome,
    /// Asterisk's word for it.
    pub status: Option<DialStatus>,
    /// Q.850 cause.
    pub cause: Option<HangupCause>,
    /// When it was answered, if it was.
    pub answered_at: Option<Timestamp>,
    /// When it ended.
    pub at: Timestamp,
}

/// The end of a call, for its row in the log.
#[derive(Debug, Clone)]
pub struct CallEnd {
    /// How it ended.
    pub disposition: Disposition,
    /// When.
    pub at: Timestamp,
    /// When it was answered, if it was.
    pub answered_at: Option<Timestamp>,
    /// Seconds from the first to the last moment.
    pub duration_seconds: u32,
    /// Seconds from answer to end; 0 without answer.
    pub billed_seconds: u32,
    /// Q.850 cause.
    pub cause: Option<HangupCause>,
    /// The target that answered, or the last one tried.
    pub target: Option<(ClientId, LinkId)>,
    /// Targets tried.
    pub attempts: u32,
    /// Who ended it, where that is known.
    pub hung_up_by: Option<HungUpBy>,
    /// It was answered, though not by a target: what was logged at a refusal does not stand.
    pub overrules_refusal: bool,
    /// The dialplan told it; else it was inferred, and a report that comes after all corrects it.
    pub reported: bool,
}

/// A call locked for settling: whoever else would settle it waits.
pub struct Settling {
    /// The call.
    pub call: CallUnderWay,
    /// Its attempts, in order.
    pub attempts: Vec<Attempt>,
    transaction: Transaction,
}

/// A call that never reached `route`, as its end reported it.
#[derive(Debug)]
pub struct UnroutedCall<'a> {
    /// Caller's channel.
    pub uniqueid: &'a UniqueId,
    /// Linked id, or the unique id.
    pub linkedid: &'a str,
    /// Name of the caller's channel.
    pub channel: &'a str,
    /// Asterisk server, if known.
    pub server: Option<&'a ServerName>,
    /// This daemon.
    pub node: &'a str,
    /// The number dialled.
    pub did: &'a DialledNumber,
    /// The caller.
    pub caller: &'a CallerId,
    /// What the Asterisk calls itself.
    pub system_name: Option<&'a SystemName>,
    /// The slot it was dialled on, if its dialplan names one: then it was routed.
    pub reservation: Option<ReservationId>,
    /// Nobody knows how long ago it ended.
    pub overdue: bool,
    /// Seconds since its end.
    pub ended_ago: f64,
    /// Seconds it lasted.
    pub duration_seconds: u32,
    /// Seconds it talked; `None`: it was not answered.
    pub answered_seconds: Option<u32>,
    /// How it ended.
    pub disposition: Disposition,
    /// Q.850 cause.
    pub cause: Option<HangupCause>,
}

/// The keys under which calls with this unique id may stand.
pub fn keys_of(uniqueid: &UniqueId) -> Vec<String> {
    let id = uniqueid.as_str();
    let others = (2..=SAME_UNIQUE_ID).map(|n| format!("{id}@{n}"));
    std::iter::once(id.to_owned()).chain(others).collect()
}

/// A key for a further call with this unique id; `None` if there are too many.
pub fn free_key(uniqueid: &UniqueId, taken: &[&str]) -> Option<String> {
    keys_of(uniqueid)
        .into_iter()
        .find(|key| !taken.contains(&key.as_str()))
}

impl Store {
    /// Locks the call under way that a dialplan names, if there is one, and reads its attempts.
    pub async fn settle(&self, asked: AskedCall<'_>) -> Result<Option<Settling>, Error> {
        let system_name = asked.system_name.map(SystemName::as_str);
        let keys = keys_of(asked.uniqueid);
        let which: Parameters<'_> = &[&keys, &system_name, &asked.channel, &asked.caller_number];
        self.settle_locked(sql::LOCK_CALL, which, &keys).await
    }

    /// As [`settle`](Self::settle), for the call of a channel that was seen.
    pub async fn settle_seen(&self, seen: SeenCall<'_>) -> Result<Option<Settling>, Error> {
        let keys = keys_of(&seen.channel.uniqueid);
        let which: Parameters<'_> = &[
            &keys,
            &seen.server.as_str(),
            &seen.system_name,
            &seen.channel.name,
            &seen.channel.created_at,
            &seen.seen_by,
        ];
        self.settle_locked(sql::LOCK_SEEN_CALL, which, &keys).await
    }

    async fn settle_locked(
        &self,
        lock: Sql,
        which: Parameters<'_>,
        keys: &[String],
    ) -> Result<Option<Settling>, Error> {
        let transaction = Transaction::on(self.for_settling().await?);
        let read = async {
            let call = transaction.prepare(lock).await?;
            let attempts = transaction.prepare(sql::ATTEMPTS_OF_CALL).await?;
            let by_key: Parameters<'_> = &[&keys];
            let (begun, call, attempts) = tokio::join!(
                biased;
                transaction.begin(),
                transaction.query(lock, &call, which),
                transaction.query(sql::ATTEMPTS_OF_CALL, &attempts, by_key),
            );
            begun?;
            call_with_attempts(&call?, &attempts?)
        };
        let found = read.await;
        settling(transaction, found).await
    }

    /// As [`settle`](Self::settle), by our own id.
    pub async fn settle_by_id(&self, call_id: CallId) -> Result<Option<Settling>, Error> {
        let transaction = Transaction::on(self.for_background().await?);
        let read = async {
            transaction.begin().await?;
            let call = transaction.run(sql::LOCK_CALL_BY_ID, &[&call_id.0]).await?;
            let attempts = transaction.run(sql::ATTEMPTS_BY_ID, &[&call_id.0]).await?;
            call_with_attempts(&call, &attempts)
        };
        let found = read.await;
        settling(transaction, found).await
    }

    /// Gives back the slot of an attempt that is over and waited for its target's channel. `false` if it did not.
    pub async fn release_reservation(
        &self,
        call: CallId,
        attempt: u32,
        state: SlotEnd,
    ) -> Result<bool, Error> {
        let client = self.for_call().await?;
        let attempt = attempt as i32;
        let parameters: Parameters<'_> = &[&call.0, &attempt, &state.as_str()];
        let rows = crate::db::pool::rows(&client, sql::RELEASE_RESERVATION, parameters).await?;
        Ok(!rows.is_empty())
    }

    /// Lets go of a call that was over before it was routed.
    pub async fn end_over_call(&self, call_id: CallId) -> Result<(), Error> {
        let client = self.for_call().await?;
        crate::db::pool::rows(&client, sql::END_OVER_CALL, &[&call_id.0]).await?;
        Ok(())
    }

    /// Logs a call that never reached `route`. `false` if a call with its unique id is in the log or under
    /// way.
    ///
    /// `key` where other calls are under way under its unique id.
    pub async fn log_unrouted(
        &self,
        call: &UnroutedCall<'_>,
        key: Option<&str>,
    ) -> Result<bool, Error> {
        let client = self.for_settling().await?;
        let rows = crate::db::pool::rows(
            &client,
            sql::LOG_UNROUTED_CALL,
            &[
                &call.uniqueid.as_str(),
                &call.linkedid,
                &call.channel,
                &call.server.map(ServerName::as_str),
                &call.node,
                &call.did.lookup_keys(),
                &call.did.as_str(),
                &call.caller.number,
                &call.caller.name,
                &call.ended_ago,
                &f64::from(call.duration_seconds),
                &call.answered_seconds.map(f64::from),
                &call.disposition.as_str(),
                &call.cause.map(|c| i32::from(c.value())),
                &call.cause.map(HangupCause::text),
                &call.system_name.map(SystemName::as_str),
                &key,
                &call.reservation.map(|id| id.0),
                &call.overdue,
            ],
        )
        .await?;
        Ok(!rows.is_empty())
    }
}

type CallWithAttempts = (CallUnderWay, Vec<Attempt>);

fn call_with_attempts(call: &[Row], attempts: &[Row]) -> Result<Option<CallWithAttempts>, Error> {
    let Some(call) = call.first() else {
        return Ok(None);
    };
    let call = CallUnderWay::from_row(call)?;
    let mut attempts = Attempt::from_rows(attempts)?;
    attempts.retain(|attempt| attempt.call_id == call.call_id);
    Ok(Some((call, attempts)))
}

/// How a slot ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotEnd {
    /// Given back.
    Released,
    /// Taken back: nobody reported or saw the end.
    Expired,
}

impl SlotEnd {
    fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

async fn settling(
    transaction: Transaction,
    found: Result<Option<CallWithAttempts>, Error>,
) -> Result<Option<Settling>, Error> {
    match found {
        Ok(Some((call, attempts))) => Ok(Some(Settling {
            call,
            attempts,
            transaction,
        })),
        other => {
            transaction.roll_back(other.as_ref().err()).await;
            other.map(|_| None)
        }
    }
}

impl Settling {
    /// The attempt that goes on.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|a| a.ended_at.is_none())
    }

    /// The open attempt was answered: it keeps its slot and consumes one unit of the total cap. `seen`: on which server
    /// daemon and channel the call was found, if it was on none that is known.
    pub async fn confirm(
        self,
        attempt: u32,
        at: Timestamp,
        by: ConfirmedBy,
        seen: Option<(&SeenCall<'_>, &str)>,
    ) -> Result<(), Error> {
        let attempt = attempt as i32;
        let parameters: Parameters<'_> = &[
            &self.call.call_id.0,
            &attempt,
            &at,
            &by.as_str(),
            &seen.map(|(seen, _)| seen.server.as_str()),
            &seen.map(|(_, node)| node),
            &seen.and_then(|(seen, _)| seen.channel.created_at),
        ];
        let confirmed = self
            .transaction
            .run_and_commit(&[(sql::CONFIRM, parameters)])
            .await;
        confirmed.map(|_| ())
    }

    /// Notes how an attempt went, as far as is known; frees nothing.
    pub async fn note_status(
        self,
        attempt: u32,
        status: DialStatus,
        cause: Option<HangupCause>,
    ) -> Result<(), Error> {
        let attempt = attempt as i32;
        let cause = cause.map(|c| i32::from(c.value()));
        let parameters: Parameters<'_> =
            &[&self.call.call_id.0, &attempt, &status.as_str(), &cause];
        let noted = self
            .transaction
            .run_and_commit(&[(sql::NOTE_ATTEMPT_STATUS, parameters)])
            .await;
        noted.map(|_| ())
    }

    /// The open attempt is over; the call goes on. Its slot may wait for the target's channel.
    pub async fn end_attempt(
        self,
        attempt: u32,
        end: &AttemptEnd,
        waiting: Option<Waiting<'_>>,
    ) -> Result<(), Error> {
        let values = SettledAttempt::of(self.call.call_id, attempt, end, waiting);
        let ended = self
            .transaction
            .run_and_commit(&[(sql::SETTLE_ATTEMPT, &values.parameters())])
            .await;
        ended.map(|_| ())
    }

    /// The call is over: its open attempt is settled and its row written. `false` if it was over before.
    pub async fn end_call(
        self,
        attempt: Option<(u32, &AttemptEnd)>,
        call: &CallEnd,
        waiting: Option<Waiting<'_>>,
    ) -> Result<bool, Error> {
        let now_answered = attempt.is_some_and(|(_, end)| end.outcome == Outcome::Answered);
        let recorded = self.attempts.iter().any(|a| {
            let answered = match a.ended_at {
                Some(_) => a.answered_at.is_some(),
                None => now_answered,
            };
            a.recording.is_some() && answered
        });
        let attempt = attempt
            .map(|(number, end)| SettledAttempt::of(self.call.call_id, number, end, waiting));
        let attempt = attempt.as_ref().map(SettledAttempt::parameters);
        let close: Parameters<'_> = &[
            &self.call.call_id.0,
            &call.at,
            &call.target.map(|(client, _)| client.0),
            &call.target.map(|(_, link)| link.0),
            &call.answered_at,
            &(call.duration_seconds as i32),
            &(call.billed_seconds as i32),
            &call.disposition.as_str(),
            &call.cause.map(|c| i32::from(c.value())),
            &call.cause.map(HangupCause::text),
            &(call.attempts as i32),
            &call.overrules_refusal,
            &call.hung_up_by.map(HungUpBy::as_str),
            &call.reported,
        ];
        let expect: Parameters<'_> = &[&self.call.call_id.0, &call.at];
        let mut statements = Vec::with_capacity(3);
        if let Some(attempt) = &attempt {
            statements.push((sql::SETTLE_ATTEMPT, &attempt[..]));
        }
        if recorded {
            statements.push((sql::EXPECT_RECORDINGS, expect));
        }
        statements.push((sql::CLOSE_CALL, close));
        let rows = self.transaction.run_and_commit(&statements).await?;
        Ok(!rows.is_empty())
    }

    /// Changes nothing.
    pub async fn leave(self) {
        self.transaction.roll_back(None).await;
    }
}

/// The values of `settle_attempt.sql`.
struct SettledAttempt<'a> {
    call_id: i64,
    attempt: i32,
    answered: bool,
    state: &'static str,
    at: Timestamp,
    outcome: &'static str,
    status: Option<&'static str>,
    cause: Option<i32>,
    answered_at: Option<Timestamp>,
    waits: bool,
    server: Option<&'a str>,
    leg: Option<&'a str>,
}

impl<'a> SettledAttempt<'a> {
    fn of(call_id: CallId, attempt: u32, end: &AttemptEnd, waiting: Option<Waiting<'a>>) -> Self {
        Self {
            call_id: call_id.0,
            attempt: attempt as i32,
            answered: end.outcome == Outcome::Answered,
            // A slot nobody reported free is taken back rather than given back.
            state: match end.outcome {
                Outcome::Lost => SlotEnd::Expired,
                _ => SlotEnd::Released,
            }
            .as_str(),
            at: end.at,
            outcome: end.outcome.as_str(),
            status: end.status.map(DialStatus::as_str),
            cause: end.cause.map(|c| i32::from(c.value())),
            answered_at: end.answered_at,
            waits: waiting.is_some(),
            server: waiting.map(|w| w.server.as_str()),
            leg: waiting.and_then(|w| w.leg).map(UniqueId::as_str),
        }
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 12] {
        [
            &self.call_id,
            &self.attempt,
            &self.answered,
            &self.state,
            &self.at,
            &self.outcome,
            &self.status,
            &self.cause,
            &self.answered_at,
            &self.waits,
            &self.server,
            &self.leg,
        ]
    }
}
