//! Jobs that transcribe recordings: how far they are, and another try for those that failed.

use axum::Json;
use axum::extract::{Request as HttpRequest, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::db::keyset::END_OF_TIME;
use crate::db::request::{Change, Request};
use crate::domain::UserId;
use crate::http::api::Api;
use crate::http::kit::body::read_optional;
use crate::http::kit::code::Code;
use crate::http::kit::cursor::{ListPart, Mark, Ordered, Place, TOTAL};
use crate::http::kit::form::{Field, Form, Unknown};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Ids, Parameter, ParameterKind, Query, parameter};
use crate::http::kit::{shown, words};
use crate::recordings::api::recordings::{ATTEMPT, CALL_FILTER, call_filter, nothing, of_call};
use crate::transcripts::store::jobs;
use crate::transcripts::store::views::{JobFilter, JobRow};

/// The operations on jobs.
pub fn operations() -> Vec<Operation> {
    let read = |path, id, access| {
        Operation::get(path, id, read)
            .access(access)
            .about("404 with the code `transcription_not_found` if the call is not transcribed.")
            .query(&[ATTEMPT])
            .answers::<Transcription>(200, "How far it is.")
    };
    let own = read(
        "/api/seller/calls/{id}/transcription",
        "getTranscription",
        Access::Seller,
    )
    .tagged("transcripts", "Read how far the transcription of a call is");
    let any = read(
        "/api/admin/calls/{id}/transcription",
        "getAnyTranscription",
        Access::Staff,
    )
    .tagged(
        "transcripts",
        "Read how far the transcription of any call is",
    );
    vec![
        own.also_at(
            "/api/seller/logs/{id}/transcription",
            "getLoggedTranscription",
        ),
        any.also_at(
            "/api/admin/logs/{id}/transcription",
            "getAnyLoggedTranscription",
        ),
        own,
        any,
        Operation::get("/api/admin/transcription-jobs", "listTranscriptionJobs", list)
            .tagged("transcripts", "List the jobs of transcription")
            .about("`state=failed` lists those that were given up.")
            .access(Access::Staff)
            .query(&[TOTAL])
            .query(&FILTERS)
            .heavy()
            .answers::<ListPart<Job>>(200, "Jobs, newest first unless sorted otherwise.")
            .problems(&[400]),
        Operation::post(
            "/api/admin/transcription-jobs/{id}/retry",
            "retryTranscription",
            retry,
        )
        .tagged("transcripts", "Transcribe again what failed")
        .about(
            "Queues a job that failed or was cancelled for three more attempts. Refused with 409 for a job that is done \
             (`transcription_done`) or under way (`transcription_under_way`), and if its recording is not stored \
             (`recording_not_stored`).",
        )
        .access(Access::Staff)
        .body_if_any(&RETRY)
        .example(r#"{"language": "hi", "priority": 10}"#)
        .answers::<Job>(200, "The job, queued.")
        .problems(&[409]),
    ]
}

const LANGUAGES: &[&str] = &["en", "hi", "auto"];

/// Orders of jobs.
const SORTS: &[&str] = &[
    "-id",
    "id",
    "-finishedAt",
    "finishedAt",
    "-priority",
    "priority",
];

/// Those of them that are times.
const TIMES: &[&str] = &["finishedAt"];

const FILTERS: [Parameter; 8] = [
    parameter(
        "q",
        ParameterKind::Text,
        "Only jobs with this text in the name of seller or daemon, or in the error, at most 100 characters.",
    ),
    parameter(
        "sort",
        ParameterKind::Choice(SORTS),
        "The order; with a minus the other way round. `-id`, the newest first, unless given. What has not ended comes \
         last of `finishedAt`.",
    ),
    parameter(
        "cursor",
        ParameterKind::Text,
        "`nextCursor` of the page before. Without it, the newest jobs.",
    ),
    parameter(
        "per_page",
        ParameterKind::Integer,
        "Jobs on a page, at most 200; 50 unless said.",
    ),
    parameter(
        "state",
        ParameterKind::Choice(&jobs::STATES),
        "Only jobs of this state.",
    ),
    parameter(
        "language",
        ParameterKind::Choice(LANGUAGES),
        "Only jobs in this language.",
    ),
    parameter(
        "user_id",
        ParameterKind::Integer,
        "Only jobs of this seller's calls, also after the seller was deleted.",
    ),
    CALL_FILTER,
];

static RETRY: Form = Form {
    name: "TranscriptionRetry",
    fields: &[
        Field::choice("language", LANGUAGES)
            .about("What is spoken, if it was not what was thought."),
        Field::integer("priority", -1_000, 1_000).about("Higher is done first; others have 0."),
        Field::line("reason", 1, 500).about("Kept in the audit log."),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Debug, Default, Deserialize)]
struct Retry {
    language: Option<String>,
    priority: Option<i32>,
    reason: Option<String>,
}

/// What went wrong.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JobError {
    /// For programs.
    code: String,
    /// For people.
    message: Option<String>,
}

/// How far the transcription of a call is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transcription {
    /// `waiting` (for the recording), `queued`, `running`, `done`, `failed` or `cancelled`.
    #[schemars(with = "words::JobState")]
    state: String,
    /// `en`, `hi` or `auto`.
    #[schemars(with = "words::CallLanguage")]
    language: String,
    /// How often it was begun.
    attempts: i32,
    /// How often it is begun at most.
    max_attempts: i32,
    /// How much of the recording is done.
    progress_ms: Option<i64>,
    /// What went wrong last.
    error: Option<JobError>,
    created_at: Moment,
    started_at: Option<Moment>,
    finished_at: Option<Moment>,
    /// While it is queued: it does not begin earlier.
    next_attempt_at: Option<Moment>,
}

/// A job of transcription.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    id: i64,
    recording_id: i64,
    call_id: i64,
    /// The seller at the time of the call.
    user_id: Option<i32>,
    #[serde(flatten)]
    transcription: Transcription,
    /// Higher is done first.
    priority: i32,
    /// The daemon that has it, or had it last.
    node: Option<String>,
    /// While it is running: until when that daemon is believed to be at it.
    lease_expires_at: Option<Moment>,
}

/// The transcription of a call, as its log shows it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TranscriptionOfCall {
    /// `waiting`, `queued`, `running`, `done`, `failed` or `cancelled`.
    #[schemars(with = "words::JobState")]
    state: String,
    /// `en`, `hi` or `auto`.
    #[schemars(with = "words::CallLanguage")]
    language: String,
}

impl TranscriptionOfCall {
    /// As the log shows it.
    pub fn of(row: JobRow) -> Self {
        Self {
            state: row.state,
            language: row.language,
        }
    }
}

impl Transcription {
    fn of(row: JobRow) -> Self {
        Self {
            next_attempt_at: (row.state == "queued").then_some(Moment(row.not_before)),
            state: row.state,
            language: row.language,
            attempts: row.attempts,
            max_attempts: row.max_attempts,
            progress_ms: row.progress_ms,
            error: row.error_code.map(|code| JobError {
                code,
                message: row.error_message,
            }),
            created_at: Moment(row.created_at),
            started_at: row.started_at.map(Moment),
            finished_at: row.finished_at.map(Moment),
        }
    }
}

impl Job {
    fn of(mut row: JobRow) -> Self {
        Self {
            id: row.job_id,
            recording_id: row.recording_id,
            call_id: row.call_id,
            user_id: row.user_id,
            priority: row.priority,
            node: row.node_name.take(),
            lease_expires_at: row.lease_expires_at.map(Moment),
            transcription: Transcription::of(row),
        }
    }
}

async fn read(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
    query: Query,
) -> Result<Json<Transcription>, Problem> {
    let found = of_call(&api, &caller, id, &query).await?;
    let job = found.job.ok_or_else(|| {
        nothing(
            Code::TranscriptionNotFound,
            "This call is not transcribed: it was not recorded.",
        )
    })?;
    Ok(Json(Transcription::of(job)))
}

/// Where a job stands in an order.
fn place(row: &JobRow, field: &str) -> Place {
    match field {
        "finishedAt" => Place::of_time(row.finished_at.unwrap_or(END_OF_TIME), row.job_id),
        "priority" => Place {
            key: row.priority.into(),
            id: row.job_id,
        },
        _ => Place::of_id(row.job_id),
    }
}

async fn list(State(api): State<Api>, query: Query) -> Result<Json<ListPart<Job>>, Problem> {
    let per_page = query.per_page(50)?;
    let filter = JobFilter {
        text: query.checked("q", 100)?,
        state: query.choice("state", &jobs::STATES)?,
        language: query.choice("language", LANGUAGES)?,
        user_id: query.only_id("user_id")?,
        call_id: call_filter(&query)?,
    };
    // One more than asked for tells whether there is another page.
    let order = Ordered::read(&query, Mark::JOBS, SORTS)?;
    let rows = api
        .store
        .transcription_jobs(&filter, &order.keyset(TIMES)?, per_page + 1)
        .await
        .map_err(Problem::too_slow)?;
    let total = if query.flag("total")? {
        let total = api.store.transcription_jobs_total(&filter).await;
        Some(total.map_err(Problem::too_slow)?)
    } else {
        None
    };
    Ok(Json(ListPart::of(
        rows,
        per_page,
        total,
        |row| order.next(place(row, order.field())),
        Job::of,
    )))
}

async fn lock(request: &Request, id: i64) -> Result<(JobRow, bool), Problem> {
    let found = request.lock_job(id).await?;
    found.ok_or_else(|| Problem::not_found("job"))
}

async fn retry(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
    body: HttpRequest,
) -> Result<Json<Job>, Problem> {
    let given: Option<Retry> = read_optional(body, &RETRY).await?;
    let given = given.unwrap_or_default();
    let request = api.store.request(caller.reach()).await?;
    let (before, stored) = lock(&request, id).await?;
    let refused = match before.state.as_str() {
        "done" => Some((
            Code::TranscriptionDone,
            "This recording has its transcript already.",
        )),
        "failed" | "cancelled" if stored => None,
        "failed" | "cancelled" => Some((
            Code::RecordingNotStored,
            "The recording of this job is not stored: there is nothing to transcribe.",
        )),
        _ => Some((
            Code::TranscriptionUnderWay,
            "This job has not failed: it waits, or is at work.",
        )),
    };
    if let Some((code, message)) = refused {
        return Err(Problem::conflict(code, message));
    }
    request
        .retry_job(id, given.language.as_deref(), given.priority)
        .await?;
    let (after, _) = lock(&request, id).await?;
    let tenant = before.user_id.map(UserId);
    let (before, after) = (Job::of(before), Job::of(after));
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant,
            action: "retry",
            object_type: "transcription_job",
            object_id: id.to_string(),
            before: shown(&before),
            after: shown(&after),
            reason: given.reason.as_deref(),
        })
        .await?;
    request.commit().await?;
    Ok(Json(after))
}
