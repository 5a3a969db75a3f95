//! Peaks of a recording, for the waveform that a player shows.
//!
//! They are found once from the stored file, as it streams from the storage, by a thread for such work, and then kept in
//! memory: a file never changes. Few are read at a time, and none for longer than `LIMIT`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt as _;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::recordings::{ATTEMPT, Audible, LEGS, of_call, refused, stored};
use crate::domain::Leg;
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::etag::{self, Tag};
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Ids, Parameter, ParameterKind, Query, parameter};
use crate::recordings::store::views::RecordingBrief;
use crate::recordings::wav::header as wav;
use crate::recordings::wav::header::Sound;
use crate::recordings::wav::peaks::{A_SECOND, Meter, thinned};

/// The operations on peaks.
pub fn operations() -> Vec<Operation> {
    let peaks = |path, id, access| {
        Operation::get(path, id, peaks)
            .heavy()
            .access(access)
            .about(
                "For the waveform that a player shows: the loudest sample of each tenth of a second, of each leg. For long \
                 recordings several tenths are taken together, and so for `points`, so that no leg has more. The answer \
                 has an `ETag`. What cannot be heard is 404 as for the recording itself; 422 `recording_unreadable` if \
                 a file is no WAV file of 16-bit samples.",
            )
            .query(&[LEG, ATTEMPT, POINTS])
            .answers::<Peaks>(200, "The peaks.")
            .answers_nothing(304, "The version in `If-None-Match` is the present one.")
            .problems(&[400, 422, 503])
    };
    let own = peaks(
        "/api/seller/calls/{id}/recording/peaks",
        "getRecordingPeaks",
        Access::Seller,
    )
    .tagged("recordings", "Read the waveform of a call's recording");
    let any = peaks(
        "/api/admin/calls/{id}/recording/peaks",
        "getAnyRecordingPeaks",
        Access::Staff,
    )
    .tagged("recordings", "Read the waveform of any call's recording");
    vec![
        own.also_at(
            "/api/seller/logs/{id}/recording/peaks",
            "getLoggedRecordingPeaks",
        ),
        any.also_at(
            "/api/admin/logs/{id}/recording/peaks",
            "getAnyLoggedRecordingPeaks",
        ),
        own,
        any,
    ]
}

/// Most points of a leg: an hour at ten a second.
const MOST_POINTS: usize = 36_000;

const LEG: Parameter = parameter(
    "leg",
    ParameterKind::Choice(LEGS),
    "Only of this leg. Unless given, of caller and agent; of `mix` where only that is there.",
);

const POINTS: Parameter = parameter(
    "points",
    ParameterKind::Integer,
    "Most points of a leg, such as the pixels there are: 1 to 36,000, which it is unless given.",
);

/// Files that are being read for their peaks.
static AT_WORK: Semaphore = Semaphore::const_new(2);

/// So long a file may take, with waiting: an hour of sound is read in a second from a disk.
const LIMIT: Duration = Duration::from_secs(60);

/// Peaks that are kept, all together: some 200 hours of one leg.
const KEPT_BYTES: usize = 8 << 20;

/// The peaks of a recording.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Peaks {
    /// How long the longest leg plays.
    duration_ms: u64,
    /// Points in a second: 10, or less for long recordings and with `points`.
    per_second: f64,
    legs: PeaksOfLegs,
}

/// Peaks by leg. Each is base64 of one byte a point: 0 is silence, 255 the loudest sample there can be.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct PeaksOfLegs {
    /// What the caller said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    caller: Option<String>,
    /// What the agent said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    agent: Option<String>,
    /// Both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    mix: Option<String>,
}

/// The peaks of a file, ten a second.
#[derive(Debug)]
struct OfFile {
    duration_ms: u64,
    peaks: Vec<u8>,
}

/// What was found last, by checksum of the file.
static KEPT: Mutex<VecDeque<(String, Arc<OfFile>)>> = Mutex::new(VecDeque::new());

fn kept(sha256: &str) -> Option<Arc<OfFile>> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let at = kept.iter().position(|(of, _)| of == sha256)?;
    // What is asked for last is forgotten last.
    let entry = kept.remove(at)?;
    let found = Arc::clone(&entry.1);
    kept.push_back(entry);
    Some(found)
}

fn keep(sha256: &str, found: &Arc<OfFile>) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|(of, _)| of != sha256);
    kept.push_back((sha256.to_owned(), Arc::clone(found)));
    let size = |(of, found): &(String, Arc<OfFile>)| of.len() + found.peaks.len() + 100;
    let mut all: usize = kept.iter().map(size).sum();
    while all > KEPT_BYTES {
        let Some(oldest) = kept.pop_front() else {
            break;
        };
        all -= size(&oldest);
    }
}

/// Whose peaks: the leg asked for, or both sides, or what there is.
fn legs(asked: Option<Leg>, recording: &RecordingBrief) -> Vec<Leg> {
    if let Some(leg) = asked {
        return vec![leg];
    }
    let is_there = |leg: &Leg| recording.files.iter().any(|file| file.leg == leg.as_str());
    let sides: Vec<Leg> = [Leg::Caller, Leg::Agent]
        .into_iter()
        .filter(is_there)
        .collect();
    if sides.is_empty() {
        vec![Leg::Mix]
    } else {
        sides
    }
}

async fn peaks(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
    query: Query,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let leg = query.choice(LEG.name, LEGS)?.and_then(Leg::parse);
    let most = points(&query)?;
    let found = of_call(&api, &caller, id, &query).await?;
    let recording = stored(found.recording)?;
    let mut files = Vec::new();
    for leg in legs(leg, &recording) {
        files.push((leg, Audible::find(&api, id, leg, &recording)?));
    }
    let tags: Vec<&str> = files.iter().map(|(_, file)| file.tag.as_str()).collect();
    let tag = Tag::of_text(format!("{} {most}", tags.join(" ")).as_bytes());
    let mut response = if tag.is_among(&etag::known(&method, &headers)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut found = Vec::new();
        for (leg, file) in &files {
            found.push((*leg, of_file(file).await?));
        }
        Json(shown(&found, most)).into_response()
    };
    let put = response.headers_mut();
    put.insert(header::ETAG, tag.header().ok_or_else(Problem::internal)?);
    // Kept by who asked, and asked for again each time: a recording may be deleted.
    let revalidated = HeaderValue::from_static("private, no-cache");
    put.insert(header::CACHE_CONTROL, revalidated);
    Ok(response)
}

fn points(query: &Query) -> Result<usize, Problem> {
    let Some(text) = query.text(POINTS.name) else {
        return Ok(MOST_POINTS);
    };
    match text.trim().parse() {
        Ok(points @ 1..=MOST_POINTS) => Ok(points),
        _ => Err(Problem::bad_request(
            Code::BadParameter,
            format!("`points` must be a whole number from 1 to {MOST_POINTS}."),
        )),
    }
}

/// At most so many points of each leg, of the same length in all of them.
fn shown(found: &[(Leg, Arc<OfFile>)], most: usize) -> Peaks {
    let longest = found.iter().map(|(_, of)| of.peaks.len()).max();
    let together = longest.unwrap_or_default().div_ceil(most).max(1);
    let mut legs = PeaksOfLegs::default();
    for (leg, of) in found {
        let text = STANDARD.encode(thinned(&of.peaks, together));
        *match leg {
            Leg::Caller => &mut legs.caller,
            Leg::Agent => &mut legs.agent,
            Leg::Mix => &mut legs.mix,
        } = Some(text);
    }
    let longest = found.iter().map(|(_, of)| of.duration_ms).max();
    Peaks {
        duration_ms: longest.unwrap_or_default(),
        per_second: f64::from(A_SECOND) / together as f64,
        legs,
    }
}

/// The peaks of a file: those that are known, or those in the storage.
async fn of_file(file: &Audible) -> Result<Arc<OfFile>, Problem> {
    if let Some(found) = kept(&file.tag) {
        return Ok(found);
    }
    let work = async {
        let Ok(_turn) = AT_WORK.acquire().await else {
            return Err(Problem::internal());
        };
        // Another request may have found them meanwhile.
        if let Some(found) = kept(&file.tag) {
            return Ok(found);
        }
        file.check().await?;
        let found = Arc::new(measure(file).await?);
        keep(&file.tag, &found);
        Ok(found)
    };
    timeout(LIMIT, work).await.unwrap_or_else(|_| {
        tracing::warn!(key = %file.key, limit = ?LIMIT, "the peaks of a recording were not found in time");
        Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::TooSlow,
            "The recording could not be read in time. Try again in a minute.",
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("60")))
    })
}

/// Reads a file from its beginning to its end, and holds a few pieces of it at a time.
async fn measure(file: &Audible) -> Result<OfFile, Problem> {
    let mut stream = file
        .storage
        .read(&file.key, 0..file.bytes)
        .await
        .map_err(|e| refused(&e))?;
    let mut start = Vec::new();
    let mut next = async || -> Result<Option<bytes::Bytes>, Problem> {
        stream.try_next().await.map_err(|error| {
            tracing::error!(key = %file.key, error = %error, "a recording cannot be read for its peaks");
            super::recordings::unavailable()
        })
    };
    while (start.len() as u64) < wav::LENGTH
        && let Some(piece) = next().await?
    {
        start.extend_from_slice(&piece);
    }
    let sound = match wav::read(&start, file.bytes) {
        wav::State::Finished(sound) | wav::State::Unfinished(sound) => sound,
        wav::State::Empty => {
            return Ok(OfFile {
                duration_ms: 0,
                peaks: Vec::new(),
            });
        }
        wav::State::Foreign => return Err(unreadable(file)),
    };
    let (pieces, mut to_measure) = mpsc::channel::<bytes::Bytes>(4);
    let measuring = tokio::task::spawn_blocking(move || {
        let mut meter = Meter::new(&sound);
        while let Some(piece) = to_measure.blocking_recv() {
            meter.feed(&piece);
        }
        meter.finish()
    });
    let _ = pieces
        .send(start.split_off(wav::LENGTH as usize).into())
        .await;
    while let Some(piece) = next().await? {
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let peaks = measuring.await.map_err(|error| {
        tracing::error!(key = %file.key, error = %error, "the peaks of a recording were not found");
        Problem::internal()
    })?;
    Ok(OfFile {
        duration_ms: Sound::duration_ms(&sound),
        peaks,
    })
}

fn unreadable(file: &Audible) -> Problem {
    tracing::warn!(key = %file.key, "a recording has no header that Asterisk writes: no peaks can be shown");
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        Code::RecordingUnreadable,
        "The file of this recording is no WAV file of 16-bit samples, or its beginning is broken: it has no waveform. The \
         file itself is given out as it is.",
    )
}
