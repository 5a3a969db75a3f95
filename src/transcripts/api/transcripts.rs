//! What was said in a call, in the form the reader wants; and how matches of a search are shown.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::accounts::security::{Kind, of_caller};
use crate::domain::transcript::{self, Segment, Word};
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Ids, Parameter, ParameterKind, Query, parameter};
use crate::http::kit::words;
use crate::recordings::api::recordings::{ATTEMPT, nothing, of_call, put_private};
use crate::transcripts::store::views::{JobRow, MatchRow, TranscriptRow};

/// The operations on transcripts.
pub fn operations() -> Vec<Operation> {
    let read = |path, id, access| {
        Operation::get(path, id, read)
            .access(access)
            .about(
                "As JSON with each word's time, as the words alone, or as subtitles (WebVTT, SubRip). Without `format` \
                 the header `Accept` decides. What is not there is 404, by `code`: `transcript_pending` (it is being \
                 made, or will be), `transcript_failed` (the message says why), `transcript_not_found`; `not_found` if \
                 there is no such call.",
            )
            .query(&[FORMAT, ATTEMPT])
            .answers::<Transcript>(200, "What was said.")
            .answers_other(200, "What was said.", Format::Text.media_type())
            .answers_other(200, "What was said.", Format::Vtt.media_type())
            .answers_other(200, "What was said.", Format::Srt.media_type())
            .problems(&[400])
    };
    let own = read(
        "/api/seller/calls/{id}/transcript",
        "getTranscript",
        Access::Seller,
    )
    .tagged("transcripts", "Read what was said in a call");
    let any = read(
        "/api/admin/calls/{id}/transcript",
        "getAnyTranscript",
        Access::Staff,
    )
    .tagged("transcripts", "Read what was said in any call");
    vec![
        own.also_at("/api/seller/logs/{id}/transcript", "getLoggedTranscript"),
        any.also_at("/api/admin/logs/{id}/transcript", "getAnyLoggedTranscript"),
        own,
        any,
    ]
}

/// Forms of a transcript.
pub const FORMATS: &[&str] = &["json", "text", "vtt", "srt"];

const FORMAT: Parameter = parameter(
    "format",
    ParameterKind::Choice(FORMATS),
    "The form of the answer.",
);

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Text,
    Vtt,
    Srt,
}

impl Format {
    const ALL: [Self; 4] = [Self::Json, Self::Text, Self::Vtt, Self::Srt];

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain",
            Self::Vtt => "text/vtt",
            Self::Srt => "application/x-subrip",
        }
    }

    fn asked(query: &Query, headers: &HeaderMap) -> Result<Self, Problem> {
        let named = query.choice(FORMAT.name, FORMATS)?;
        let named = FORMATS.iter().position(|format| Some(*format) == named);
        Ok(match named {
            Some(n) => Self::ALL[n],
            None => Self::accepted(headers),
        })
    }

    /// The form a reader likes best; JSON if it says nothing, or nothing that there is.
    fn accepted(headers: &HeaderMap) -> Self {
        let ranges = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let mut best = (0, Self::Json);
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|p| p.strip_prefix("q=")?.parse::<f32>().ok());
            // In thousandths, as weights are written.
            let weight = (weight.unwrap_or(1.0).clamp(0.0, 1.0) * 1_000.0) as u32;
            let format = match media_type.as_str() {
                "*/*" | "application/*" => Some(Self::Json),
                "text/*" => Some(Self::Text),
                named => Self::ALL.into_iter().find(|f| f.media_type() == named),
            };
            if let Some(format) = format
                && weight > best.0
            {
                best = (weight, format);
            }
        }
        best.1
    }
}

/// What was said in a call.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transcript {
    call_id: i64,
    /// What was expected to be spoken: `en`, `hi` or `auto`.
    #[schemars(with = "words::CallLanguage")]
    language: String,
    /// What recognised it.
    engine: String,
    engine_version: String,
    /// By language: name of the model.
    models: Map<String, Value>,
    /// How long the recording plays.
    audio_ms: i64,
    /// How many words there are.
    words: i32,
    /// 0 to 1: how sure the recogniser is, all in all; null without words.
    confidence: Option<f64>,
    /// Whether long numbers in it were masked.
    masked: bool,
    created_at: Moment,
    /// In the order of their beginnings.
    segments: Vec<SpokenSegment>,
}

/// What one side said without a pause.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpokenSegment {
    /// `caller` or `agent`.
    #[schemars(with = "Option<words::Speaker>")]
    speaker: Option<String>,
    /// `en` or `hi`.
    #[schemars(with = "Option<words::SpokenLanguage>")]
    language: Option<String>,
    /// From the beginning of the recording.
    start_ms: u64,
    end_ms: u64,
    text: String,
    /// 0 to 1.
    confidence: f64,
    words: Vec<SpokenWord>,
}

/// A word.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpokenWord {
    word: String,
    start_ms: u64,
    end_ms: u64,
    /// 0 to 1.
    confidence: f64,
}

/// A part of a call in which words were spoken that were looked for.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptMatch {
    /// `caller` or `agent`.
    #[schemars(with = "words::Speaker")]
    speaker: String,
    /// From the beginning of the recording.
    start_ms: i64,
    /// HTML: what was said, escaped, with the words found between `<mark>` and `</mark>`.
    text: String,
}

/// More digits say nothing.
fn thousandths(value: f32) -> f64 {
    (f64::from(value) * 1_000.0).round() / 1_000.0
}

impl Transcript {
    fn of(row: TranscriptRow, segments: Vec<Segment>) -> Self {
        Self {
            call_id: row.call_id,
            language: row.language,
            engine: row.engine,
            engine_version: row.engine_version,
            models: match row.models {
                Value::Object(models) => models,
                _ => Map::new(),
            },
            audio_ms: row.audio_ms,
            words: row.words,
            confidence: row.confidence.map(thousandths),
            masked: row.masked,
            created_at: Moment(row.created_at),
            segments: segments.into_iter().map(SpokenSegment::of).collect(),
        }
    }
}

impl SpokenSegment {
    fn of(segment: Segment) -> Self {
        let words = segment.words.into_iter();
        Self {
            speaker: segment.speaker.map(|s| s.as_str().to_owned()),
            language: segment.language.map(|l| l.as_str().to_owned()),
            start_ms: segment.start_ms,
            end_ms: segment.end_ms,
            text: segment.text,
            confidence: thousandths(segment.confidence),
            words: words.map(SpokenWord::of).collect(),
        }
    }
}

impl SpokenWord {
    fn of(word: Word) -> Self {
        Self {
            word: word.word,
            start_ms: word.start_ms,
            end_ms: word.end_ms,
            confidence: thousandths(word.confidence),
        }
    }
}

impl TranscriptMatch {
    /// As the log shows it.
    pub fn of(row: MatchRow) -> Self {
        Self {
            speaker: row.speaker,
            start_ms: row.start_ms,
            text: marked_html(&row.marked),
        }
    }
}

/// A text as the database marks it, as HTML.
fn marked_html(marked: &str) -> String {
    let mut html = String::with_capacity(marked.len() + 32);
    for c in marked.chars() {
        match c {
            '\u{2}' => html.push_str("<mark>"),
            '\u{3}' => html.push_str("</mark>"),
            '\u{4}' | '<' => html.push_str("&lt;"),
            '\u{5}' | '&' => html.push_str("&amp;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

async fn read(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::asked(&query, &headers)?;
    let found = of_call(&api, &caller, id, &query).await?;
    let Some(recording) = found.recording else {
        return Err(nothing(
            Code::TranscriptNotFound,
            "This call was not recorded, so it has no transcript.",
        ));
    };
    if recording.due || recording.state == "deleted" {
        return Err(nothing(
            Code::TranscriptNotFound,
            "The transcript of this call was deleted with its recording.",
        ));
    }
    let asked = (caller.reach(), caller.owner(), recording.recording_id);
    let there = if found.transcribed {
        api.store.transcript(asked.0, asked.1, asked.2).await?
    } else {
        None
    };
    let (row, segments) = there.ok_or_else(|| not_there(found.job))?;
    let event = of_caller(Kind::TranscriptRead, &caller).about("call", id);
    api.security.note_once(&id.to_string(), event);
    let text = match format {
        Format::Json => {
            let mut response = Json(Transcript::of(row, segments)).into_response();
            put_private(response.headers_mut());
            vary(response.headers_mut());
            return Ok(response);
        }
        Format::Text => transcript::to_text(&segments),
        Format::Vtt => transcript::to_vtt(&segments),
        Format::Srt => transcript::to_srt(&segments),
    };
    let mut response = text.into_response();
    let put = response.headers_mut();
    let media_type = format!("{}; charset=utf-8", format.media_type());
    let media_type = HeaderValue::try_from(media_type).map_err(|_| Problem::internal())?;
    put.insert(header::CONTENT_TYPE, media_type);
    put_private(put);
    vary(put);
    Ok(response)
}

fn vary(headers: &mut HeaderMap) {
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
}

/// Why there is no transcript of a recording.
fn not_there(job: Option<JobRow>) -> Problem {
    let Some(job) = job else {
        return nothing(Code::TranscriptNotFound, "This call is not transcribed.");
    };
    match job.state.as_str() {
        "waiting" | "queued" | "running" => nothing(
            Code::TranscriptPending,
            "The transcript of this call is not ready yet. Try again later.",
        ),
        "failed" => {
            let why = job.error_message.or(job.error_code).unwrap_or_default();
            nothing(
                Code::TranscriptFailed,
                format!("This call could not be transcribed: {why}"),
            )
        }
        _ => nothing(Code::TranscriptNotFound, "This call has no transcript."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a value"));
        Format::accepted(&headers)
    }

    #[test]
    fn the_form_a_reader_likes_best_is_taken() {
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Json);
        for (accept, format) in [
            ("*/*", Format::Json),
            ("text/vtt", Format::Vtt),
            ("Text/Plain; q=0.5, application/x-subrip", Format::Srt),
            ("text/html, text/*;q=0.1", Format::Text),
            ("image/png", Format::Json),
            ("text/vtt;q=0", Format::Json),
            ("text/vtt;q=x, ;;,", Format::Vtt),
        ] {
            assert_eq!(accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn what_was_said_is_never_markup() {
        assert_eq!(
            marked_html("\u{4}b> \u{2}price\u{3} \u{5} \"it's\" <i>&"),
            "&lt;b&gt; <mark>price</mark> &amp; &quot;it&#39;s&quot; &lt;i&gt;&amp;"
        );
    }
}
