//! The call log as CSV.
//!
//! It is read in pieces, each a transaction of its own that begins after the last call of the piece before: a
//! reader who takes his time holds no connection and no snapshot, and the length of the log costs no memory.

use std::io;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::logs::{self, FILTERS, SORT, USER_FILTER};
use crate::accounts::callers::CallersShown;
use crate::accounts::security::{Kind, of_caller};
use crate::calls::store::logs::{CallFilter, CallRow, Order, Position};
use crate::db;
use crate::db::request::Reach;
use crate::domain::Role;
use crate::http::Cut;
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Query;
use crate::http::kit::streams::{Reader, Right, SLOWEST_EXPORT, What, watched};
use crate::runtime::shares::Share;
use crate::runtime::telemetry::Chain;

/// The operations.
pub fn operations() -> Vec<Operation> {
    let export = |path, id, access| {
        Operation::get(path, id, export)
            .access(access)
            .about(
                "All calls that the filters leave, however many, as CSV (RFC 4180, UTF-8, with a header line). \
                 So that no spreadsheet takes a value for a formula, those that begin with `=`, `+`, `-`, `@`, a \
                 tab or a line end begin with an apostrophe, except numbers: a plus and digits. An answer that \
                 breaks off is not complete. An account may have 2 exports under way; one that is read slower than \
                 50 KB/s for half a minute is broken off.",
            )
            .query(&[SORT])
            .query(&FILTERS)
            .answers_other(200, "The calls.", "text/csv")
            .problems(&[400, 429])
    };
    let own = export("/api/seller/calls/export", "exportCalls", Access::Seller)
        .tagged("logs", "Export your calls as CSV");
    let all = export("/api/admin/calls/export", "exportAllCalls", Access::Staff)
        .tagged("logs", "Export the calls of all sellers as CSV")
        .query(&[USER_FILTER]);
    vec![
        own.also_at("/api/seller/logs/export", "exportLoggedCalls"),
        all.also_at("/api/admin/logs/export", "exportAllLoggedCalls"),
        own,
        all,
    ]
}

/// Calls read at once.
const PIECE: i64 = 2_000;

/// Exports under way in this process. They share few connections, and each keeps a piece in memory.
static UNDER_WAY: Semaphore = Semaphore::const_new(64);

/// Longest wait to become one of them.
const WAIT: Duration = Duration::from_secs(5);

/// How often a piece is asked for while no connection can be had; each time waits a second or so.
const TRIES: u32 = 5;

const HEADER: [&str; 22] = [
    "id",
    "timestampStart",
    "timestampAnswered",
    "timestampEnd",
    "durationSeconds",
    "billsecSeconds",
    "callStatus",
    "refusalReason",
    "attempts",
    "campaignId",
    "campaignName",
    "didId",
    "incomingDidNumber",
    "clientId",
    "clientIdentifier",
    "clientName",
    "callerIdNum",
    "callerIdName",
    "hangupCauseCode",
    "hangupCauseText",
    "asteriskUniqueid",
    "asteriskLinkedid",
];

struct Export {
    api: Api,
    reach: Reach,
    filter: CallFilter,
    order: Order,
    /// Also tells whose calls they are.
    for_staff: bool,
    callers: CallersShown,
    after: Option<Position>,
    over: bool,
    _permit: SemaphorePermit<'static>,
    _share: Share<i32>,
}

async fn export(
    State(api): State<Api>,
    caller: Caller,
    cut: Option<Extension<Cut>>,
    query: Query,
) -> Result<Response, Problem> {
    let share = api.streams.export(&caller)?;
    let callers = CallersShown::to(&api, &caller).await?;
    let (filter, _) = logs::filter(&api, &query, &caller).await?;
    let order = logs::order(&query)?;
    let exported = of_caller(Kind::CallsExported, &caller);
    let Ok(Ok(permit)) = tokio::time::timeout(WAIT, UNDER_WAY.acquire()).await else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::TooManyExports,
            "Too many exports are under way. Try again in a minute.",
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("60")));
    };
    let mut export = Export {
        api: api.clone(),
        reach: caller.reach(),
        filter,
        order,
        for_staff: caller.role != Role::User,
        callers,
        after: None,
        over: false,
        _permit: permit,
        _share: share,
    };
    let mut first = String::new();
    let mut header_line: Vec<&str> = HEADER.to_vec();
    if export.for_staff {
        header_line.push("userId");
    }
    first.push_str(&header_line.join(","));
    first.push_str("\r\n");
    // What goes wrong at once is still answered as a problem.
    export.piece(&mut first).await.map_err(Problem::too_slow)?;
    let events = &export.api.security;
    events.note(exported.with(json!({ "filter": query.given() })));
    let span = tracing::Span::current();
    let rest = stream::try_unfold(export, move |mut export| {
        let span = span.clone();
        async move {
            if export.over {
                return Ok(None);
            }
            let mut text = String::new();
            match export.piece(&mut text).await {
                Ok(()) => Ok(Some((Bytes::from(text), export))),
                Err(error) => {
                    span.in_scope(
                        || tracing::warn!(error = %Chain(&error), "an export is broken off"),
                    );
                    Err(io::Error::other("the database failed"))
                }
            }
        }
    });
    let body = futures_util::StreamExt::chain(
        stream::iter([Ok::<_, io::Error>(Bytes::from(first))]),
        rest,
    );
    let cut = cut.map(|Extension(cut)| cut);
    let reader = Reader {
        right: Right::Login(caller),
        what: What::Calls(callers),
    };
    let body = Body::from_stream(watched(api, reader, cut, SLOWEST_EXPORT, body));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    let attachment = HeaderValue::from_static("attachment; filename=\"calls.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, attachment);
    Ok(response)
}

impl Export {
    /// Writes the next calls.
    async fn piece(&mut self, text: &mut String) -> Result<(), db::Error> {
        let rows = self.read().await?;
        self.over = (rows.len() as i64) < PIECE;
        self.after = rows.last().map(CallRow::position);
        for mut row in rows {
            row.caller_id_num = self.callers.number(row.caller_id_num);
            row.caller_id_name = self.callers.name(row.caller_id_name);
            write_call(text, &row, self.for_staff);
        }
        Ok(())
    }

    async fn read(&self) -> Result<Vec<CallRow>, db::Error> {
        let mut tries = 1;
        loop {
            let asked = self.api.store.exported_calls(
                self.reach,
                &self.filter,
                self.order,
                self.after,
                PIECE,
            );
            match asked.await {
                // Others export too, or the database is away for a moment.
                Err(error) if error.is_lost_connection() && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                read => return read,
            }
        }
    }
}

fn write_call(text: &mut String, row: &CallRow, for_staff: bool) {
    let time = |time: jiff::Timestamp| Moment(time).to_string();
    let number = |number: Option<i32>| number.map(|n| n.to_string()).unwrap_or_default();
    let words = |words: &Option<String>| safe(words.as_deref().unwrap_or_default());
    let (client_id, client_name, client_identifier) = match &row.client {
        Some((id, name, identifier)) => (Some(*id), safe(name), safe(identifier)),
        None => (None, String::new(), String::new()),
    };
    let fields = [
        row.id.to_string(),
        time(row.timestamp_start),
        row.timestamp_answered.map(time).unwrap_or_default(),
        row.timestamp_end.map(time).unwrap_or_default(),
        number(row.duration_seconds),
        number(row.billsec_seconds),
        safe(&row.call_status),
        words(&row.refusal_reason),
        row.attempts.to_string(),
        number(row.campaign.as_ref().map(|(id, _)| *id)),
        safe(row.campaign.as_ref().map_or("", |(_, name)| name)),
        number(row.did.as_ref().map(|(id, _)| *id)),
        safe(&row.incoming_did_number),
        number(client_id),
        client_identifier,
        client_name,
        words(&row.caller_id_num),
        words(&row.caller_id_name),
        number(row.hangup_cause_code),
        words(&row.hangup_cause_text),
        words(&row.asterisk_uniqueid),
        words(&row.asterisk_linkedid),
    ];
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        write_field(text, field);
    }
    if for_staff {
        text.push(',');
        text.push_str(&number(row.user_id));
    }
    text.push_str("\r\n");
}

/// RFC 4180, 2.
fn write_field(text: &mut String, field: &str) {
    if field.contains(['"', ',', '\r', '\n']) {
        text.push('"');
        text.push_str(&field.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(field);
    }
}

/// A text that no spreadsheet takes for a formula.
fn safe(text: &str) -> String {
    let plain_number = text
        .strip_prefix('+')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) && !plain_number {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_a_formula_and_numbers_stay_numbers() {
        for (value, written) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2", "'-2"),
            ("+1800=x", "'+1800=x"),
            ("+", "'+"),
            ("\tx", "'\tx"),
            ("+18005550101", "+18005550101"),
            ("Smith", "Smith"),
            ("", ""),
        ] {
            assert_eq!(safe(value), written);
        }
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let mut text = String::new();
        for field in ["a", "b,c", "d \"e\"", "f\r\ng"] {
            write_field(&mut text, field);
            text.push('|');
        }
        assert_eq!(text, "a|\"b,c\"|\"d \"\"e\"\"\"|\"f\r\ng\"|");
    }
}
