//! The audit log: who changed what.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::accounts::callers::CallersShown;
use crate::accounts::store::audit::{AuditFilter, AuditRow};
use crate::domain::Role;
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::cursor::{ListPart, Mark, Ordered, Place, TOTAL};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Parameter, ParameterKind, Query, parameter};
use crate::http::kit::words;
use crate::http::kit::zone::{TZ, zone};

/// The operations on the audit log.
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/seller/audit", "listAudit", list)
            .heavy()
            .tagged("audit", "List the changes of your things")
            .about("Whoever made them. Where others made them from is not shown.")
            .access(Access::Seller)
            .query(&[TOTAL])
            .query(&FILTERS)
            .answers::<ListPart<AuditEntry>>(200, "Changes, newest first unless sorted otherwise.")
            .problems(&[400]),
        Operation::get("/api/admin/audit", "listAllAudit", list)
            .heavy()
            .tagged("audit", "List all changes")
            .about("Staff sees that an account was changed and by whom, not what stands in it.")
            .access(Access::Staff)
            .query(&[TOTAL])
            .query(&FILTERS)
            .query(&[parameter(
                "user_id",
                ParameterKind::Integer,
                "Only changes of this seller's things.",
            )])
            .answers::<ListPart<AuditEntry>>(200, "Changes, newest first unless sorted otherwise.")
            .problems(&[400]),
    ]
}

/// Orders of the audit log and of security events.
pub(crate) const SORTS: &[&str] = &["-at", "at"];

/// The order of the audit log and of security events.
pub(crate) const SORT: Parameter = parameter(
    "sort",
    ParameterKind::Choice(SORTS),
    "Newest first unless given; without the minus oldest first.",
);

const FILTERS: [Parameter; 11] = [
    TZ,
    parameter(
        "q",
        ParameterKind::Text,
        "Only changes with this text in the actor's name, the id, the reason, `before` or `after`, at most 100 \
         characters.",
    ),
    SORT,
    parameter(
        "cursor",
        ParameterKind::Text,
        "`nextCursor` of the page before. Without it, the newest changes.",
    ),
    parameter(
        "per_page",
        ParameterKind::Integer,
        "Entries on a page, at most 200; 50 unless said.",
    ),
    parameter(
        "actor",
        ParameterKind::Text,
        "Only changes by this account or program.",
    ),
    parameter(
        "object_type",
        ParameterKind::Text,
        "Only changes of such things: `did`, `campaign`, `link`, …",
    ),
    parameter(
        "object_id",
        ParameterKind::Text,
        "Only changes of the thing with this id.",
    ),
    parameter(
        "action",
        ParameterKind::Text,
        "Only such changes: `create`, `update`, `delete`, …",
    ),
    parameter(
        "start_date",
        ParameterKind::Moment,
        "Only changes on or after this day (UTC), as 2026-01-31.",
    ),
    parameter(
        "end_date",
        ParameterKind::Moment,
        "Only changes on or before this day (UTC), as 2026-01-31.",
    ),
];

/// A change.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    id: i64,
    at: Moment,
    actor_id: Option<i32>,
    /// Account or program that made it.
    actor: String,
    /// How it was let in: `session:<id>`, `key:<id>`, `internal`, `cli`, `login`.
    via: Option<String>,
    /// The seller whose thing was changed.
    user_id: Option<i32>,
    #[schemars(with = "words::AuditAction")]
    action: String,
    #[schemars(with = "words::AuditObject")]
    object_type: String,
    object_id: String,
    /// The thing before the change, as the API shows it.
    before: Option<Value>,
    /// The thing after the change.
    after: Option<Value>,
    reason: Option<String>,
    request_id: Option<String>,
    address: Option<String>,
}

impl AuditEntry {
    /// As the caller may see it: where others were when they made it is not a seller's business.
    fn of(row: AuditRow, caller: &Caller, callers: CallersShown) -> Self {
        let whole = caller.role != Role::User || row.actor_id == Some(caller.user_id.0);
        // Staff cannot read accounts, and reads no more of them here.
        let content = caller.role != Role::Staff || row.object_type != "user";
        Self {
            id: row.audit_id,
            at: Moment(row.at),
            actor_id: row.actor_id,
            actor: row.actor,
            via: whole.then_some(row.via),
            user_id: row.user_id,
            action: row.action,
            object_type: row.object_type,
            object_id: row.object_id,
            before: callers.kept(row.before.filter(|_| content)),
            after: callers.kept(row.after.filter(|_| content)),
            reason: row.reason,
            request_id: row.request_id.filter(|_| whole),
            address: row.address.filter(|_| whole),
        }
    }
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
) -> Result<Json<ListPart<AuditEntry>>, Problem> {
    let per_page = query.per_page(50)?;
    let callers = CallersShown::to(&api, &caller).await?;
    callers.check_search(&api, &caller, &query)?;
    let (from, to) = days(&query, &zone(&query)?)?;
    let order = Ordered::read(&query, Mark::AUDIT, SORTS)?;
    let filter = AuditFilter {
        sort: order.sort,
        after: order.after.map(|place| place.id),
        text: query.checked("q", 100)?,
        // Staff is not shown what stands in accounts, and does not find it.
        searches_accounts: caller.role != Role::Staff,
        user_id: match caller.role {
            Role::User => Some(caller.user_id.0),
            Role::Admin | Role::Staff => query.only_id("user_id")?,
        },
        actor: query.checked("actor", 100)?,
        object_type: query.checked("object_type", 100)?,
        object_id: query.checked("object_id", 100)?,
        action: query.checked("action", 100)?,
        from,
        to,
    };
    // One more than asked for tells whether there is another page.
    let rows = api
        .store
        .audit_log(caller.reach(), &filter, per_page + 1)
        .await
        .map_err(Problem::too_slow)?;
    let total = if query.flag("total")? {
        let total = api.store.audit_total(caller.reach(), &filter).await;
        Some(total.map_err(Problem::too_slow)?)
    } else {
        None
    };
    Ok(Json(ListPart::of(
        rows,
        per_page,
        total,
        |row| order.next(Place::of_id(row.audit_id)),
        |row| AuditEntry::of(row, &caller, callers),
    )))
}

/// The time from the beginning of the first day asked for to the end of the last.
pub(crate) fn days(
    query: &Query,
    zone: &TimeZone,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
    let from = day(query, "start_date")?.map(|day| start_of(day, zone));
    // The last day there is has no day after it: then nothing ends the time asked for.
    let to = day(query, "end_date")?
        .and_then(|day| day.tomorrow().ok())
        .map(|day| start_of(day, zone));
    Ok((from, to))
}

fn day(query: &Query, name: &str) -> Result<Option<Date>, Problem> {
    let Some(text) = query.text(name) else {
        return Ok(None);
    };
    // jiff reads more than this: times, other spellings.
    let shaped = text.len() == 10
        && text.bytes().enumerate().all(|(i, b)| match i {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
    match text.parse() {
        Ok(day) if shaped => Ok(Some(day)),
        _ => Err(Problem::bad_request(
            Code::BadParameter,
            format!("`{name}` must be a day such as 2026-01-31."),
        )),
    }
}

/// The last moment there is, for days that end after it.
fn start_of(day: Date, zone: &TimeZone) -> Timestamp {
    let zoned = day.to_zoned(zone.clone());
    zoned.map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_and_the_last_one_at_the_end_of_time() {
        let query =
            Query::parse("a=2026-01-31&b=9999-12-31&c=2026-02-30&d=20260131&e=2026-01-31T10");
        let start = |name: &str| {
            let day = day(&query, name).ok().flatten();
            day.map(|day| start_of(day, &TimeZone::UTC))
        };
        assert_eq!(
            start("a").map(|at| at.to_string()).as_deref(),
            Some("2026-01-31T00:00:00Z")
        );
        assert_eq!(start("b"), Some(Timestamp::MAX));
        for bad in ["c", "d", "e"] {
            assert!(day(&query, bad).is_err(), "{bad}");
        }
    }
}
