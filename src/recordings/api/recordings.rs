//! Recordings: heard by those whose calls they are of, and looked after by operators.
//!
//! What is heard streams from the storage as fast as the reader takes it: it holds a chunk of it in memory, and no
//! connection of the database. Deleting is the daemon's work; here it is asked for.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::{Stream, TryStreamExt as _, stream};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::accounts::security::{Kind, of_caller};
use crate::db::keyset::{END_OF_TIME, NO_LENGTH};
use crate::db::request::{Change, Reach, Request};
use crate::domain::{Leg, UserId};
use crate::http::Cut;
use crate::http::api::Api;
use crate::http::kit::body::Input;
use crate::http::kit::code::Code;
use crate::http::kit::cursor::{ListPart, Mark, Ordered, Place, TOTAL};
use crate::http::kit::form::{Field, Form, Unknown};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::period::{Bound, bound};
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Ids, Parameter, ParameterKind, Query, parameter};
use crate::http::kit::range::Part;
use crate::http::kit::streams::{
    Holder, MOST_DOWNLOADS, Reader, Right, SLOWEST_LISTENER, What, watched,
};
use crate::http::kit::words;
use crate::http::kit::words::RECORDING_STATES as STATES;
use crate::http::kit::zone::TZ;
use crate::recordings::object_storage::{ByteStream, Error as StorageError, Key, Storage};
use crate::recordings::store::views::{
    CallRecording, FileRow, RecordingBrief, RecordingFilter, RecordingRow,
};
use crate::runtime::shares::Share;
use crate::runtime::telemetry::Chain;

/// The operations on recordings.
pub fn operations() -> Vec<Operation> {
    let hear = |path, id, access| {
        Operation::get(path, id, hear)
            .access(access)
            .about(
                "Both sides, or one of them. The answer has a strong `ETag`; a single range of bytes may be asked for \
                 with `Range` (and `If-Range`), several are answered with the whole. HEAD tells size and version. What \
                 cannot be heard is 404, by `code`: `recording_not_found` (nothing was recorded), `recording_pending` \
                 (its files are not stored yet), `recording_missing` (they never came), `recording_deleted`, \
                 `leg_not_found`; `not_found` if there is no such call. If the storage fails: 503, \
                 `recording_unavailable`. An account may be sent 4 recordings at a time; one that is read slower than \
                 it plays is broken off, and can be gone on with by `Range`.",
            )
            .query(&[LEG, ATTEMPT, DOWNLOAD])
            .headers(&RANGE_HEADERS)
            .answers_binary(200, "The recording.", "audio/wav")
            .answers_binary(206, "The part of it that `Range` asks for.", "audio/wav")
            .answers_nothing(304, "The version in `If-None-Match` is the present one.")
            .problems(&[400, 416, 429])
    };
    let manage = [
        Operation::get("/api/admin/recordings", "listRecordings", list)
            .tagged("recordings", "List recordings")
            .about("Also those that are missing: `state=missing`.")
            .query(&[TOTAL])
            .query(&FILTERS)
            .answers::<ListPart<Recording>>(200, "Recordings, newest first unless sorted otherwise.")
            .heavy()
            .problems(&[400]),
        Operation::put("/api/admin/recordings/{id}/hold", "holdRecording", hold)
            .tagged("recordings", "Hold a recording")
            .about(
                "A legal hold: it is not deleted, whatever its age, until it is released. Another reason takes the \
                 place of the one before.",
            )
            .body(&HOLD)
            .example(r#"{"reason": "Complaint 4711, until it is settled"}"#)
            .answers::<Recording>(200, "The recording.")
            .problems(&[409]),
        Operation::delete("/api/admin/recordings/{id}/hold", "releaseRecording", release)
            .tagged("recordings", "Hold a recording no longer")
            .about("If it has outlived its time, it is deleted soon. Doing it twice changes nothing more.")
            .answers::<Recording>(200, "The recording."),
        Operation::delete("/api/admin/recordings/{id}", "deleteRecording", delete)
            .tagged("recordings", "Delete a recording and its transcript")
            .about(
                "From now on nobody is given it; its files and its transcript are deleted soon, and the row that says \
                 so stays. Refused with 409 while it is held (`recording_held`), and before its files are stored \
                 (`recording_not_stored`).",
            )
            .answers::<Recording>(202, "It is going to be deleted.")
            .problems(&[409]),
    ];
    let own = hear(
        "/api/seller/calls/{id}/recording",
        "getRecording",
        Access::Seller,
    )
    .tagged("recordings", "Hear the recording of a call");
    let any = hear(
        "/api/admin/calls/{id}/recording",
        "getAnyRecording",
        Access::Staff,
    )
    .tagged("recordings", "Hear the recording of any call");
    let mut operations = vec![
        own.also_at("/api/seller/logs/{id}/recording", "getLoggedRecording"),
        any.also_at("/api/admin/logs/{id}/recording", "getAnyLoggedRecording"),
        own,
        any,
    ];
    operations.extend(manage.map(|operation| operation.access(Access::Staff)));
    operations
}

/// Who can be heard.
pub const LEGS: &[&str] = &["mix", "caller", "agent"];

const LEG: Parameter = parameter(
    "leg",
    ParameterKind::Choice(LEGS),
    "Who is heard: the caller, the agent, or, unless given, both (`mix`).",
);

/// To keep, rather than to play.
pub const DOWNLOAD: Parameter = parameter(
    "download",
    ParameterKind::Choice(&["true", "false"]),
    "`true`, or `1`: the browser keeps it as a file, rather than plays it.",
);

/// For calls with several recordings.
pub const ATTEMPT: Parameter = parameter(
    "attempt",
    ParameterKind::Integer,
    "The attempt that was recorded, as in the call's `offers`. Unless given, the latest whose recording is stored.",
);

/// What players ask for parts with.
pub const RANGE_HEADERS: [Parameter; 3] = [
    parameter("Range", ParameterKind::Text, "As `bytes=0-65535`."),
    parameter(
        "If-Range",
        ParameterKind::Text,
        "The `ETag` of the version that the range is of; of another, all is sent.",
    ),
    parameter(
        "If-None-Match",
        ParameterKind::Text,
        "The `ETag` of a version that need not be sent again.",
    ),
];

/// Orders of recordings.
const SORTS: &[&str] = &[
    "-id",
    "id",
    "-startedAt",
    "startedAt",
    "-durationMs",
    "durationMs",
    "-deleteAfter",
    "deleteAfter",
];

/// Those of them that are times.
const TIMES: &[&str] = &["startedAt", "deleteAfter"];

const FILTERS: [Parameter; 12] = [
    TZ,
    parameter(
        "q",
        ParameterKind::Text,
        "Only recordings with this text in the name of seller, campaign or files, in the reason of the hold or in the \
         remark, at most 100 characters. By numbers, look for the call.",
    ),
    parameter(
        "sort",
        ParameterKind::Choice(SORTS),
        "The order; with a minus the other way round. `-id`, the newest first, unless given. What has no length is \
         shorter than all, what is never deleted comes last of `deleteAfter`.",
    ),
    parameter(
        "cursor",
        ParameterKind::Text,
        "`nextCursor` of the page before. Without it, the newest recordings.",
    ),
    parameter(
        "per_page",
        ParameterKind::Integer,
        "Recordings on a page, at most 200; 50 unless said.",
    ),
    parameter(
        "state",
        ParameterKind::Choice(STATES),
        "Only recordings of this state.",
    ),
    parameter(
        "held",
        ParameterKind::Choice(&["true", "false"]),
        "Only those that are held, or only the others.",
    ),
    parameter(
        "user_id",
        ParameterKind::Integer,
        "Only recordings of this seller's calls, also after the seller was deleted.",
    ),
    parameter(
        "campaign_id",
        ParameterKind::Integer,
        "Only recordings of this campaign's calls.",
    ),
    CALL_FILTER,
    parameter(
        "start_date",
        ParameterKind::Moment,
        "Only recordings begun on this day (`YYYY-MM-DD`) or later; or at this time (RFC 3339, with offset) or later.",
    ),
    parameter(
        "end_date",
        ParameterKind::Moment,
        "Only recordings begun on this day (`YYYY-MM-DD`) or earlier; or at this time (RFC 3339, with offset) or earlier.",
    ),
];

/// Only what belongs to one call.
pub const CALL_FILTER: Parameter = parameter(
    "call_id",
    ParameterKind::Integer,
    "Only of the call with this id.",
);

static HOLD: Form = Form {
    name: "RecordingHold",
    fields: &[Field::line("reason", 1, 500)
        .required()
        .about("Why it is held. Kept with the recording and in the audit log.")],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

/// Recordings that are being sent. Each has a file or a connection to the storage open.
static UNDER_WAY: Semaphore = Semaphore::const_new(MOST_DOWNLOADS);

/// Longest wait to become one of them.
const WAIT: Duration = Duration::from_secs(5);

/// A storage that sends nothing for so long is taken for gone.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
struct Hold {
    reason: String,
}

/// The recording of a call, as its log shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordingOfCall {
    /// `expected`, `stored`, `missing` or `deleted`.
    #[schemars(with = "words::RecordingState")]
    state: String,
    /// The attempt that was recorded.
    attempt: i32,
    /// `en`, `hi` or `auto`.
    #[schemars(with = "words::CallLanguage")]
    language: String,
    started_at: Moment,
    /// How long it plays; null until it is stored.
    duration_ms: Option<i64>,
    /// What there is to be heard: `mix`, `caller`, `agent`.
    #[schemars(with = "Vec<words::RecordingLeg>")]
    legs: Vec<String>,
    /// When it will be deleted; null: never, or not yet known.
    delete_after: Option<Moment>,
}

/// A file of a recording.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordingFile {
    /// `caller`, `agent` or `mix`.
    #[schemars(with = "words::RecordingLeg")]
    leg: String,
    /// Its name in the storage.
    key: String,
    bytes: i64,
    /// In hexadecimal digits.
    sha256: String,
    /// Samples a second.
    sample_rate: Option<i32>,
    duration_ms: Option<i64>,
}

/// A recording, as those see it who look after it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    id: i64,
    call_id: i64,
    /// The attempt that was recorded.
    attempt: i32,
    /// The seller at the time of the call.
    user_id: Option<i32>,
    /// Null once the seller is deleted.
    username: Option<String>,
    campaign_id: Option<i32>,
    /// Null once the campaign is deleted.
    campaign_name: Option<String>,
    /// `expected`, `stored`, `missing` or `deleted`.
    #[schemars(with = "words::RecordingState")]
    state: String,
    /// `en`, `hi` or `auto`.
    #[schemars(with = "words::CallLanguage")]
    language: String,
    /// Whether long numbers are masked in its transcript.
    mask_numbers: bool,
    started_at: Moment,
    /// Since when its files are waited for.
    expected_at: Moment,
    stored_at: Option<Moment>,
    deleted_at: Option<Moment>,
    /// Where its files are: a directory, or `s3://bucket/prefix`.
    location: Option<String>,
    duration_ms: Option<i64>,
    /// Size of all its files.
    bytes: i64,
    files: Vec<RecordingFile>,
    /// The header of a file told no length, as after a crash; it was taken from the file's.
    repaired: bool,
    /// Days it is kept; null: for ever.
    retention_days: Option<i32>,
    /// It is deleted soon after this time, unless it is held. Null: never.
    delete_after: Option<Moment>,
    /// Why it is held; null: it is not.
    hold_reason: Option<String>,
    /// What was strange about it.
    remark: Option<String>,
    /// State of the job that transcribes it.
    #[schemars(with = "Option<words::JobState>")]
    transcription_state: Option<String>,
}

impl RecordingOfCall {
    /// As the log shows it.
    pub fn of(row: &RecordingBrief) -> Self {
        let gone = row.due || row.state == "deleted";
        let files = row.files.iter().filter(|_| !gone);
        Self {
            state: if gone { "deleted" } else { &row.state }.to_owned(),
            attempt: row.attempt,
            language: row.language.clone(),
            started_at: Moment(row.started_at),
            duration_ms: row.duration_ms,
            legs: files.map(|file| file.leg.clone()).collect(),
            delete_after: row.delete_after.map(Moment),
        }
    }
}

impl RecordingFile {
    fn of(row: FileRow) -> Self {
        Self {
            leg: row.leg,
            key: row.key,
            bytes: row.bytes,
            sha256: row.sha256,
            sample_rate: row.sample_rate,
            duration_ms: row.duration_ms,
        }
    }
}

impl Recording {
    fn of(row: RecordingRow) -> Self {
        Self {
            id: row.recording_id,
            call_id: row.call_id,
            attempt: row.attempt,
            user_id: row.user_id,
            username: row.username,
            campaign_id: row.campaign_id,
            campaign_name: row.campaign_name,
            state: row.state,
            language: row.language,
            mask_numbers: row.mask_numbers,
            started_at: Moment(row.started_at),
            expected_at: Moment(row.expected_at),
            stored_at: row.stored_at.map(Moment),
            deleted_at: row.deleted_at.map(Moment),
            location: row.location,
            duration_ms: row.duration_ms,
            bytes: row.files.iter().map(|file| file.bytes).sum(),
            files: row.files.into_iter().map(RecordingFile::of).collect(),
            repaired: row.repaired,
            retention_days: row.retention_days,
            delete_after: row.delete_after.map(Moment),
            hold_reason: row.hold_reason,
            remark: row.remark,
            transcription_state: row.job_state,
        }
    }
}

/// What was recorded of a call that the caller may see.
pub(crate) async fn of_call(
    api: &Api,
    caller: &Caller,
    call_id: i64,
    query: &Query,
) -> Result<CallRecording, Problem> {
    let attempt = query.id(ATTEMPT.name)?;
    let found = api
        .store
        .recording_of_call(caller.reach(), caller.owner(), call_id, attempt)
        .await?;
    found.ok_or_else(|| Problem::not_found("call"))
}

/// 404, with a code that says why there is nothing to give.
pub(crate) fn nothing(code: Code, message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, code, message)
}

pub(crate) fn unavailable() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Code::RecordingUnavailable,
        "The storage of recordings does not give it out now. Try again in a minute; the log of the daemon says why.",
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from_static("60"))
}

/// A recording, if it is one that can be heard.
pub(crate) fn stored(found: Option<RecordingBrief>) -> Result<RecordingBrief, Problem> {
    let Some(recording) = found else {
        return Err(nothing(
            Code::RecordingNotFound,
            "This call was not recorded.",
        ));
    };
    let state = match recording.state.as_str() {
        _ if recording.due => "deleted",
        state => state,
    };
    match state {
        "stored" => Ok(recording),
        "expected" => Err(nothing(
            Code::RecordingPending,
            "The recording of this call is not stored yet. Try again in a minute.",
        )),
        "missing" => Err(nothing(
            Code::RecordingMissing,
            "This call was to be recorded, but no files of it came.",
        )),
        _ => Err(nothing(
            Code::RecordingDeleted,
            "The recording of this call has been deleted.",
        )),
    }
}

/// A recording that is being heard.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    call_id: i64,
    recording_id: i64,
    attempt: i32,
}

impl Heard {
    /// This one of a call.
    pub fn of(call_id: i64, recording: &RecordingBrief) -> Self {
        Self {
            call_id,
            recording_id: recording.recording_id,
            attempt: recording.attempt,
        }
    }

    /// Whether it is still there for somebody who may see so much.
    pub async fn is_there(self, api: &Api, reach: Reach) -> Result<bool, Problem> {
        let found = api
            .store
            .recording_of_call(reach, reach.owner(), self.call_id, Some(self.attempt))
            .await?;
        let recording = found.and_then(|found| found.recording);
        let recording = recording.filter(|found| found.recording_id == self.recording_id);
        Ok(stored(recording).is_ok())
    }
}

/// The file of a side.
pub(crate) fn file_of(recording: &RecordingBrief, leg: Leg) -> Result<&FileRow, Problem> {
    let file = recording.files.iter().find(|f| f.leg == leg.as_str());
    file.ok_or_else(|| {
        let there: Vec<&str> = recording.files.iter().map(|f| f.leg.as_str()).collect();
        nothing(
            Code::LegNotFound,
            format!(
                "The recording of this call has no file `{leg}`. There are: {}.",
                there.join(", ")
            ),
        )
    })
}

/// A file that is there to be heard.
pub(crate) struct Audible {
    pub(crate) storage: Storage,
    pub(crate) key: Key,
    /// How long it was when it was stored.
    pub(crate) bytes: u64,
    /// Its version: the checksum, quoted.
    pub(crate) tag: String,
    file_name: String,
}

impl Audible {
    /// The file of a leg, where it can be read.
    pub(crate) fn find(
        api: &Api,
        call_id: i64,
        leg: Leg,
        recording: &RecordingBrief,
    ) -> Result<Self, Problem> {
        let file = file_of(recording, leg)?;
        let Some(storage) = api.storage.clone() else {
            tracing::error!(
                call.id = call_id,
                "a recording is asked for, but recording.directory and recording.storage are not set"
            );
            return Err(unavailable());
        };
        if recording.location.as_deref() != Some(storage.location()) {
            tracing::error!(
                call.id = call_id,
                location = recording.location,
                storage = storage.location(),
                "a recording is not where recording.storage is: bring its files there, and say so in recordings.location"
            );
            return Err(unavailable());
        }
        let (Some(key), Ok(bytes)) = (Key::parse(&file.key), u64::try_from(file.bytes)) else {
            tracing::error!(
                call.id = call_id,
                key = file.key,
                "a recording's key is none"
            );
            return Err(unavailable());
        };
        let day = recording.started_at.to_zoned(TimeZone::UTC).date();
        Ok(Self {
            storage,
            key,
            bytes,
            tag: format!("\"{}\"", file.sha256),
            file_name: format!("{day}-call-{call_id}-{leg}.wav"),
        })
    }

    /// Whether the storage has all of it.
    pub(crate) async fn check(&self) -> Result<(), Problem> {
        let length = self
            .storage
            .length(&self.key)
            .await
            .map_err(|e| refused(&e))?;
        if length == self.bytes {
            return Ok(());
        }
        tracing::error!(
            key = %self.key,
            storage = self.storage.location(),
            length,
            expected = self.bytes,
            "a recording in the storage is not as long as it was"
        );
        Err(unavailable())
    }
}

pub(crate) fn refused(error: &StorageError) -> Problem {
    tracing::error!(error = %Chain(error), "a recording cannot be read");
    unavailable()
}

async fn hear(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
    query: Query,
    method: Method,
    headers: HeaderMap,
    cut: Option<Extension<Cut>>,
) -> Result<Response, Problem> {
    let leg = query.choice(LEG.name, LEGS)?.and_then(Leg::parse);
    let leg = leg.unwrap_or(Leg::Mix);
    let found = of_call(&api, &caller, id, &query).await?;
    let recording = stored(found.recording)?;
    let cut = cut.map(|Extension(cut)| cut);
    let played = of_caller(Kind::RecordingPlayed, &caller)
        .about("call", id)
        .with(json!({ "leg": leg.as_str() }));
    let reader = Reader {
        what: What::Recording(Heard::of(id, &recording)),
        right: Right::Login(caller),
    };
    let to = (reader, cut);
    let response = play(&api, id, leg, &recording, &query, (&method, &headers), to).await?;
    if method != Method::HEAD && response.status().is_success() {
        let what = format!("{id} {}", leg.as_str());
        api.security.note_once(&what, played);
    }
    Ok(response)
}

/// The recording, or the part of it that is asked for.
pub(crate) async fn play(
    api: &Api,
    call_id: i64,
    leg: Leg,
    recording: &RecordingBrief,
    query: &Query,
    (method, headers): (&Method, &HeaderMap),
    (reader, cut): (Reader, Option<Cut>),
) -> Result<Response, Problem> {
    let keep = query.choice(DOWNLOAD.name, &["1", "true", "0", "false"])?;
    let keep = matches!(keep, Some("1" | "true"));
    let file = Audible::find(api, call_id, leg, recording)?;
    let part = Part::of(method, headers, &file.tag, file.bytes);
    let (status, range) = match part {
        Part::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
        Part::Whole => (StatusCode::OK, 0..file.bytes),
        Part::Range(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Beyond => {
            let end = Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                Code::RangeNotSatisfiable,
                format!(
                    "The range begins after the end: there are {} bytes.",
                    file.bytes
                ),
            );
            let size = value(format!("bytes */{}", file.bytes))?;
            return Err(end.with_header(header::CONTENT_RANGE, size));
        }
    };
    let length = range.end - range.start;
    let body = if status == StatusCode::NOT_MODIFIED {
        Body::empty()
    } else {
        file.check().await?;
        if *method == Method::HEAD || length == 0 {
            Body::empty()
        } else {
            let source = stream_of(api, &reader, &file, range.clone()).await?;
            let api = api.clone();
            Body::from_stream(watched(api, reader, cut, SLOWEST_LISTENER, source))
        }
    };
    let mut response = (status, body).into_response();
    let put = response.headers_mut();
    put.insert(header::ETAG, value(file.tag)?);
    put.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    put_private(put);
    if status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    put.insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    put.insert(header::CONTENT_LENGTH, value(length.to_string())?);
    let how = if keep { "attachment" } else { "inline" };
    let disposition = format!("{how}; filename=\"{}\"", file.file_name);
    put.insert(header::CONTENT_DISPOSITION, value(disposition)?);
    if status == StatusCode::PARTIAL_CONTENT {
        let (first, last) = (range.start, range.end - 1);
        let told = format!("bytes {first}-{last}/{}", file.bytes);
        put.insert(header::CONTENT_RANGE, value(told)?);
    }
    Ok(response)
}

/// Nobody but who asked may keep it, and no browser may take it for something else.
pub(crate) fn put_private(headers: &mut HeaderMap) {
    let private = HeaderValue::from_static("private, no-store");
    headers.insert(header::CACHE_CONTROL, private);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(HeaderName::from_static("x-content-type-options"), nosniff);
}

fn value(text: String) -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(text).map_err(|_| Problem::internal())
}

/// A recording on its way.
struct Sending {
    stream: ByteStream,
    _permit: SemaphorePermit<'static>,
    _shares: Vec<Share<Holder>>,
}

async fn stream_of(
    api: &Api,
    reader: &Reader,
    file: &Audible,
    range: std::ops::Range<u64>,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Problem> {
    let shares = api.streams.download(&reader.right)?;
    let Ok(Ok(permit)) = timeout(WAIT, UNDER_WAY.acquire()).await else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::TooManyDownloads,
            "Too many recordings are being sent. Try again in a minute.",
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("60")));
    };
    let stream = file
        .storage
        .read(&file.key, range)
        .await
        .map_err(|e| refused(&e))?;
    let sending = Sending {
        stream,
        _permit: permit,
        _shares: shares,
    };
    let span = tracing::Span::current();
    Ok(stream::try_unfold(sending, move |mut sending| {
        let span = span.clone();
        async move {
            let next = timeout(SILENCE, sending.stream.try_next()).await;
            let next = next.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match next {
                Ok(chunk) => Ok::<_, io::Error>(chunk.map(|chunk: Bytes| (chunk, sending))),
                Err(error) => {
                    span.in_scope(
                        || tracing::error!(error = %Chain(&error), "a recording is broken off"),
                    );
                    Err(error)
                }
            }
        }
    }))
}

/// The id of a call in a filter; what is none is an error, or everything would be shown.
pub(crate) fn call_filter(query: &Query) -> Result<Option<i64>, Problem> {
    let Some(text) = query.text(CALL_FILTER.name) else {
        return Ok(None);
    };
    match text.trim().parse() {
        Ok(id) => Ok(Some(id)),
        Err(_) => Err(Problem::bad_request(
            Code::BadParameter,
            "`call_id` must be the id of a call: a whole number.",
        )),
    }
}

/// Where a recording stands in an order.
fn place(row: &RecordingRow, field: &str) -> Place {
    let id = row.recording_id;
    match field {
        "startedAt" => Place::of_time(row.started_at, id),
        "deleteAfter" => Place::of_time(row.delete_after.unwrap_or(END_OF_TIME), id),
        "durationMs" => Place {
            key: row.duration_ms.unwrap_or(NO_LENGTH),
            id,
        },
        _ => Place::of_id(id),
    }
}

async fn list(State(api): State<Api>, query: Query) -> Result<Json<ListPart<Recording>>, Problem> {
    let per_page = query.per_page(50)?;
    let filter = RecordingFilter {
        text: query.checked("q", 100)?,
        state: query.choice("state", STATES)?,
        held: query
            .choice("held", &["true", "false"])?
            .map(|held| held == "true"),
        user_id: query.only_id("user_id")?,
        campaign_id: query.only_id("campaign_id")?,
        call_id: call_filter(&query)?,
        from: bound(&query, "start_date", Bound::Start)?,
        to: bound(&query, "end_date", Bound::End)?,
    };
    // One more than asked for tells whether there is another page.
    let order = Ordered::read(&query, Mark::RECORDINGS, SORTS)?;
    let rows = api
        .store
        .recordings(&filter, &order.keyset(TIMES)?, per_page + 1)
        .await
        .map_err(Problem::too_slow)?;
    let total = if query.flag("total")? {
        let total = api.store.recordings_total(&filter).await;
        Some(total.map_err(Problem::too_slow)?)
    } else {
        None
    };
    Ok(Json(ListPart::of(
        rows,
        per_page,
        total,
        |row| order.next(place(row, order.field())),
        Recording::of,
    )))
}

async fn lock(request: &Request, id: i64) -> Result<RecordingRow, Problem> {
    let row = request.lock_recording(id).await?;
    row.ok_or_else(|| Problem::not_found("recording"))
}

/// Notes what was done to a recording that was locked before, commits, and shows it.
async fn finish(
    request: Request,
    caller: &Caller,
    action: &'static str,
    before: RecordingRow,
    reason: Option<&str>,
) -> Result<Recording, Problem> {
    let id = before.recording_id;
    let after = lock(&request, id).await?;
    // Its seller reads of the deletion, but neither of holds nor of places.
    let tenant = before.user_id.filter(|_| action == "delete").map(UserId);
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant,
            action,
            object_type: "recording",
            object_id: id.to_string(),
            before: Some(audited(&before)),
            after: Some(audited(&after)),
            reason,
        })
        .await?;
    request.commit().await?;
    Ok(Recording::of(after))
}

/// What the audit log keeps of a recording.
fn audited(row: &RecordingRow) -> Value {
    json!({
        "callId": row.call_id,
        "attempt": row.attempt,
        "state": row.state,
        "deleteAfter": row.delete_after.map(Moment),
        "holdReason": row.hold_reason,
    })
}

async fn hold(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
    Input(hold): Input<Hold>,
) -> Result<Json<Recording>, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let before = lock(&request, id).await?;
    if before.state == "deleted" {
        return Err(Problem::conflict(
            Code::RecordingDeleted,
            "This recording has been deleted: there is nothing to hold.",
        ));
    }
    let reason = Some(hold.reason.as_str());
    request.hold_recording(id, reason).await?;
    let after = finish(request, &caller, "hold", before, reason).await?;
    Ok(Json(after))
}

async fn release(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
) -> Result<Json<Recording>, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let before = lock(&request, id).await?;
    if before.hold_reason.is_none() {
        request.commit().await?;
        return Ok(Json(Recording::of(before)));
    }
    request.hold_recording(id, None).await?;
    let after = finish(request, &caller, "release", before, None).await?;
    Ok(Json(after))
}

async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
) -> Result<Response, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let before = lock(&request, id).await?;
    let after = match before.state.as_str() {
        _ if before.hold_reason.is_some() => {
            return Err(Problem::conflict(
                Code::RecordingHeld,
                "This recording is held. Release it first: DELETE /api/admin/recordings/{id}/hold.",
            ));
        }
        // Done already.
        "deleted" => {
            request.commit().await?;
            Recording::of(before)
        }
        "stored" => {
            request.expire_recording(id).await?;
            finish(request, &caller, "delete", before, None).await?
        }
        _ => {
            return Err(Problem::conflict(
                Code::RecordingNotStored,
                "This recording has no files that could be deleted.",
            ));
        }
    };
    Ok((StatusCode::ACCEPTED, Json(after)).into_response())
}
