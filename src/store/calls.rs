//! Calls under way: finding, settling, ending them.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::rows::reader;
use super::sql;
use super::transaction::{Parameters, Transaction};
use super::{Error, Store};
use crate::domain::{
    CallId, CallerId, ClientId, DialStatus, DialledNumber, Disposition, HangupCause, LinkId,
    ReservationId, ServerName, Stem, UniqueId,
};

/// A call that was seen and whose end is not known.
#[derive(Debug, Clone)]
pub struct CallUnderWay {
    /// The call.
    pub call_id: CallId,
    /// Name of the caller's channel.
    pub channel: String,
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
}

/// One target tried.
#[derive(Debug, Clone)]
pub struct Attempt {
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
    /// When it ended; `None` while its slot is taken.
    pub ended_at: Option<Timestamp>,
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
    fn as_str(self) -> &'static str {
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
    /// When it must have started.
    pub started_at: Timestamp,
    /// How it ended.
    pub end: &'a CallEnd,
}

impl Store {
    /// Locks the call under way with this unique id, if there is one, and reads its attempts.
    pub async fn settle(&self, uniqueid: &UniqueId) -> Result<Option<Settling>, Error> {
        let transaction = Transaction::on(self.for_settling().await?);
        let read = async {
            let call = transaction.prepare(sql::LOCK_CALL).await?;
            let attempts = transaction.prepare(sql::ATTEMPTS_OF_CALL).await?;
            let id = uniqueid.as_str();
            let by_id: Parameters<'_> = &[&id];
            let (begun, call, attempts) = tokio::join!(
                biased;
                transaction.begin(),
                transaction.query(sql::LOCK_CALL, &call, by_id),
                transaction.query(sql::ATTEMPTS_OF_CALL, &attempts, by_id),
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
            let Some(row) = call.first() else {
                return Ok(None);
            };
            let uniqueid: String = reader(sql::LOCK_CALL_BY_ID, row).column("asterisk_uniqueid")?;
            let attempts = transaction.run(sql::ATTEMPTS_OF_CALL, &[&uniqueid]).await?;
            call_with_attempts(&call, &attempts)
        };
        let found = read.await;
        settling(transaction, found).await
    }

    /// Lets go of a call that was over before it was routed.
    pub async fn end_over_call(&self, call_id: CallId) -> Result<(), Error> {
        let client = self.for_call().await?;
        super::pool::rows(&client, sql::END_OVER_CALL, &[&call_id.0]).await?;
        Ok(())
    }

    /// Logs a call that never reached `route`. `false` if a call with its unique id is in the log or under
    /// way.
    pub async fn log_unrouted(&self, call: &UnroutedCall<'_>) -> Result<bool, Error> {
        let client = self.for_settling().await?;
        let end = call.end;
        let rows = super::pool::rows(
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
                &call.started_at,
                &end.at,
                &end.answered_at,
                &(end.duration_seconds as i32),
                &(end.billed_seconds as i32),
                &end.disposition.as_str(),
                &end.cause.map(|c| i32::from(c.value())),
                &end.cause.map(HangupCause::text),
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
    Ok(Some((
        CallUnderWay::from_row(call)?,
        Attempt::from_rows(attempts)?,
    )))
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
    /// The attempt whose slot is still taken.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|a| a.ended_at.is_none())
    }

    /// The open attempt was answered: it keeps its slot and consumes one unit of the total cap.
    pub async fn confirm(self, attempt: u32, at: Timestamp) -> Result<(), Error> {
        let attempt = attempt as i32;
        let parameters: Parameters<'_> = &[&self.call.call_id.0, &attempt, &at];
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

    /// The open attempt is over; the call goes on.
    pub async fn end_attempt(self, end: &AttemptEnd) -> Result<(), Error> {
        let values = SettledAttempt::of(self.call.call_id, end);
        let ended = self
            .transaction
            .run_and_commit(&[(sql::SETTLE_ATTEMPT, &values.parameters())])
            .await;
        ended.map(|_| ())
    }

    /// The call is over: its open attempt is settled and its row written. `false` if it was over before.
    pub async fn end_call(self, attempt: &AttemptEnd, call: &CallEnd) -> Result<bool, Error> {
        let now_answered = attempt.outcome == Outcome::Answered;
        let recorded = self.attempts.iter().any(|a| {
            let answered = a.answered_at.is_some() || a.ended_at.is_none() && now_answered;
            a.recording.is_some() && answered
        });
        let attempt = SettledAttempt::of(self.call.call_id, attempt);
        let attempt = attempt.parameters();
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
        ];
        let expect: Parameters<'_> = &[&self.call.call_id.0, &call.at];
        let settle = (sql::SETTLE_ATTEMPT, &attempt[..]);
        let close = (sql::CLOSE_CALL, close);
        let work = self.transaction;
        let rows = if recorded {
            let expect = (sql::EXPECT_RECORDINGS, expect);
            work.run_and_commit(&[settle, expect, close]).await?
        } else {
            work.run_and_commit(&[settle, close]).await?
        };
        Ok(!rows.is_empty())
    }

    /// Changes nothing.
    pub async fn leave(self) {
        self.transaction.roll_back(None).await;
    }
}

/// The values of `settle_attempt.sql`.
pub(super) struct SettledAttempt {
    call_id: i64,
    answered: bool,
    state: &'static str,
    at: Timestamp,
    outcome: &'static str,
    status: Option<&'static str>,
    cause: Option<i32>,
    answered_at: Option<Timestamp>,
}

impl SettledAttempt {
    pub(super) fn of(call_id: CallId, end: &AttemptEnd) -> Self {
        Self {
            call_id: call_id.0,
            answered: end.outcome == Outcome::Answered,
            // A slot nobody reported free is taken back rather than given back.
            state: match end.outcome {
                Outcome::Lost => "expired",
                _ => "released",
            },
            at: end.at,
            outcome: end.outcome.as_str(),
            status: end.status.map(DialStatus::as_str),
            cause: end.cause.map(|c| i32::from(c.value())),
            answered_at: end.answered_at,
        }
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.call_id,
            &self.answered,
            &self.state,
            &self.at,
            &self.outcome,
            &self.status,
            &self.cause,
            &self.answered_at,
        ]
    }
}
