//! Calls that were closed without a report, and what a report that comes after all says of them.

use jiff::Timestamp;
use tokio_postgres::types::ToSql;

use super::calls::{AskedCall, Attempt, AttemptEnd, CallEnd, CallUnderWay, Outcome};
use super::sql;
use crate::db::rows::reader;
use crate::db::transaction::{Parameters, Transaction};
use crate::db::{Error, Store};
use crate::domain::{DialStatus, HangupCause, HungUpBy, ReservationId, SystemName};

/// A call whose end was seen or inferred, locked for correction.
pub struct Closed {
    /// The call.
    pub call: CallUnderWay,
    /// Its attempts, in order.
    pub attempts: Vec<Attempt>,
    /// When it ended.
    pub ended_at: Timestamp,
    transaction: Transaction,
}

/// What a report is about, beside the call's names.
#[derive(Debug, Clone, Copy)]
pub struct Reported {
    /// The slot that was dialled on, if it is named.
    pub reservation: Option<ReservationId>,
    /// Seconds since the end, if that is known.
    pub ago: Option<f64>,
}

impl Store {
    /// Locks the closed call that a report is about, if its end was not reported before. Ended calls are remembered for
    /// two hours.
    pub async fn settle_closed(
        &self,
        asked: AskedCall<'_>,
        reported: Reported,
    ) -> Result<Option<Closed>, Error> {
        let transaction = Transaction::on(self.for_settling().await?);
        let which: Parameters<'_> = &[
            &asked.uniqueid.as_str(),
            &asked.system_name.map(SystemName::as_str),
            &asked.channel,
            &asked.caller_number,
            &reported.reservation.map(|id| id.0),
            &reported.ago,
        ];
        let read = async {
            transaction.begin().await?;
            let rows = transaction.run(sql::LOCK_CLOSED_CALL, which).await?;
            let Some(row) = rows.first() else {
                return Ok(None);
            };
            let call = CallUnderWay::from_row(row)?;
            let ended_at: Timestamp = reader(sql::LOCK_CLOSED_CALL, row).column("ended_at")?;
            let attempts = transaction
                .run(sql::ATTEMPTS_BY_ID, &[&call.call_id.0])
                .await?;
            Ok(Some((call, Attempt::from_rows(&attempts)?, ended_at)))
        };
        let found = read.await;
        match found {
            Ok(Some((call, attempts, ended_at))) => Ok(Some(Closed {
                call,
                attempts,
                ended_at,
                transaction,
            })),
            other => {
                transaction.roll_back(other.as_ref().err()).await;
                other.map(|_| None)
            }
        }
    }
}

impl Closed {
    /// Writes what the report says into the record. `true` if it had another outcome, or another target.
    pub async fn amend(
        self,
        attempt: Option<(u32, &AttemptEnd)>,
        end: &CallEnd,
    ) -> Result<bool, Error> {
        let call_id = self.call.call_id.0;
        let stands = self.call.refused_at.is_some() && !end.overrules_refusal;
        let values = attempt
            .filter(|_| !stands)
            .map(|(number, end)| AmendedAttempt::of(number, end));
        let parameters = values.as_ref().map(|values| values.parameters(&call_id));
        let close: Parameters<'_> = &[
            &call_id,
            &end.target.map(|(client, _)| client.0),
            &end.target.map(|(_, link)| link.0),
            &end.answered_at,
            &(end.billed_seconds as i32),
            &end.disposition.as_str(),
            &end.cause.map(|c| i32::from(c.value())),
            &end.cause.map(HangupCause::text),
            &(end.attempts as i32),
            &end.overrules_refusal,
            &end.hung_up_by.map(HungUpBy::as_str),
        ];
        let expect: Parameters<'_> = &[&call_id, &self.ended_at];
        let mut statements = Vec::with_capacity(3);
        if let Some(parameters) = &parameters {
            statements.push((sql::AMEND_ATTEMPT, &parameters[..]));
            // Files of an attempt that was answered after all.
            statements.push((sql::EXPECT_RECORDINGS, expect));
        }
        statements.push((sql::AMEND_CALL, close));
        let rows = self.transaction.run_and_commit(&statements).await?;
        rows.first().map_or(Ok(false), |row| {
            reader(sql::AMEND_CALL, row).column("is_other")
        })
    }
}

/// The values of `amend_attempt.sql`.
struct AmendedAttempt {
    number: i32,
    answered: bool,
    outcome: &'static str,
    status: Option<&'static str>,
    cause: Option<i32>,
    answered_at: Option<Timestamp>,
}

impl AmendedAttempt {
    fn of(number: u32, end: &AttemptEnd) -> Self {
        Self {
            number: number as i32,
            answered: end.outcome == Outcome::Answered,
            outcome: end.outcome.as_str(),
            status: end.status.map(DialStatus::as_str),
            cause: end.cause.map(|c| i32::from(c.value())),
            answered_at: end.answered_at,
        }
    }

    fn parameters<'a>(&'a self, call_id: &'a i64) -> [&'a (dyn ToSql + Sync); 7] {
        [
            call_id,
            &self.number,
            &self.answered,
            &self.outcome,
            &self.status,
            &self.cause,
            &self.answered_at,
        ]
    }
}
