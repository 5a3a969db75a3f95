//! What was said in a recording: words, the utterances they form, and how they are written down.
//!
//! A segment's text, times and confidence always follow from its words, so that what is masked in the words is
//! masked everywhere.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::{Language, Speaker};

/// What recognisers write for a sound that is no word they know.
const UNKNOWN: &str = "[unk]";

/// A word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Word {
    /// As the recogniser spells it.
    pub word: String,
    /// Milliseconds from the beginning of the recording.
    pub start_ms: u64,
    /// Milliseconds from the beginning of the recording; not before `start_ms`.
    pub end_ms: u64,
    /// 0 to 1: how much surer the recogniser is of it than of anything else.
    #[serde(serialize_with = "thousandths")]
    pub confidence: f32,
}

impl Word {
    /// A word; what cannot be is made the nearest that can.
    pub fn new(word: &str, start_ms: u64, end_ms: u64, confidence: f32) -> Self {
        // A line feed or a blank in a word would make two of it wherever text is taken apart again.
        let word = word.split_whitespace().collect::<Vec<_>>().join("_");
        Self {
            word: word.replace(char::is_control, ""),
            start_ms,
            end_ms: end_ms.max(start_ms),
            confidence: if confidence.is_finite() {
                confidence.clamp(0.0, 1.0)
            } else {
                0.0
            },
        }
    }

    fn is_known(&self) -> bool {
        !self.word.is_empty() && self.word != UNKNOWN
    }

    fn weight(&self) -> f64 {
        (self.end_ms - self.start_ms).max(1) as f64
    }
}

/// What one person said without a pause.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    /// Who, if the recording tells: one of a single channel does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker: Option<Speaker>,
    /// In which language, if that is known: of a model named by its directory it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Beginning of the first word.
    pub start_ms: u64,
    /// End of the last word.
    pub end_ms: u64,
    /// The words, with a blank between.
    pub text: String,
    /// Mean of the words', by their duration.
    #[serde(serialize_with = "thousandths")]
    pub confidence: f32,
    /// The words.
    pub words: Vec<Word>,
}

impl Segment {
    /// The segment of some words; `None` if none of them is one.
    pub fn new(
        speaker: Option<Speaker>,
        language: Option<Language>,
        words: Vec<Word>,
    ) -> Option<Self> {
        let words: Vec<Word> = words.into_iter().filter(Word::is_known).collect();
        let start_ms = words.iter().map(|word| word.start_ms).min()?;
        let end_ms = words.iter().map(|word| word.end_ms).max()?;
        let confidence = confidence_of(&words)?;
        Some(Self {
            speaker,
            language,
            start_ms,
            end_ms,
            text: text_of(&words),
            confidence,
            words,
        })
    }

    /// Puts other words in place of its own, one for each.
    pub(super) fn reword(&mut self, rewrite: impl Fn(usize, &str) -> Option<String>) {
        for (n, word) in self.words.iter_mut().enumerate() {
            if let Some(other) = rewrite(n, &word.word) {
                word.word = other;
            }
        }
        self.text = text_of(&self.words);
    }
}

fn text_of(words: &[Word]) -> String {
    let words: Vec<&str> = words.iter().map(|word| word.word.as_str()).collect();
    words.join(" ")
}

fn confidence_of<'a>(words: impl IntoIterator<Item = &'a Word>) -> Option<f32> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for word in words {
        sum += f64::from(word.confidence) * word.weight();
        weights += word.weight();
    }
    (weights > 0.0).then(|| (sum / weights).clamp(0.0, 1.0) as f32)
}

/// The utterances of all legs in the order of their beginnings.
pub fn merge(mut segments: Vec<Segment>) -> Vec<Segment> {
    segments.sort_by_key(|segment| (segment.start_ms, segment.end_ms, segment.speaker));
    segments
}

/// Mean confidence of all words, by their duration; `None` without words.
pub fn confidence(segments: &[Segment]) -> Option<f32> {
    confidence_of(segments.iter().flat_map(|segment| &segment.words))
}

/// How many words there are.
pub fn word_count(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| segment.words.len()).sum()
}

/// The words alone, one segment a line.
pub fn to_text(segments: &[Segment]) -> String {
    let mut text = String::new();
    for segment in segments {
        text.push_str(&segment.text);
        text.push('\n');
    }
    text
}

/// As WebVTT, with the speakers as voices.
pub fn to_vtt(segments: &[Segment]) -> String {
    let mut vtt = String::from("WEBVTT\n");
    for segment in segments {
        let text = segment.text.replace('&', "&amp;");
        let text = text.replace('<', "&lt;").replace('>', "&gt;");
        let voice = segment.speaker.map_or(String::new(), |speaker| {
            format!("<v {}>", speaker_name(speaker))
        });
        let times = Times::of(segment, '.');
        vtt.push_str(&format!("\n{times}\n{voice}{text}\n"));
    }
    vtt
}

/// As `SubRip` subtitles, with the speakers' names before what they say.
pub fn to_srt(segments: &[Segment]) -> String {
    let mut srt = String::new();
    for (n, segment) in segments.iter().enumerate() {
        let name = segment.speaker.map_or(String::new(), |speaker| {
            format!("{}: ", speaker_name(speaker))
        });
        // An arrow would read as another line of times.
        let text = segment.text.replace("-->", "->");
        let times = Times::of(segment, ',');
        let blank = if n == 0 { "" } else { "\n" };
        srt.push_str(&format!("{blank}{}\n{times}\n{name}{text}\n", n + 1));
    }
    srt
}

fn speaker_name(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Caller => "Caller",
        Speaker::Agent => "Agent",
    }
}

/// When a segment is shown, as both kinds of subtitles write it.
struct Times {
    start_ms: u64,
    end_ms: u64,
    point: char,
}

impl Times {
    fn of(segment: &Segment, point: char) -> Self {
        Self {
            start_ms: segment.start_ms,
            // Readers refuse a cue that ends when it begins.
            end_ms: segment.end_ms.max(segment.start_ms + 1),
            point,
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let point = self.point;
        let time = |ms: u64| {
            let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
            let (seconds, ms) = (ms / 1_000 % 60, ms % 1_000);
            format!("{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}")
        };
        write!(f, "{} --> {}", time(self.start_ms), time(self.end_ms))
    }
}

/// More digits of a confidence say nothing, and a float of 32 bits has strange ones as one of 64.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn thousandths<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((f64::from(*value) * 1_000.0).round() / 1_000.0)
}

macro_rules! as_its_name {
    ($($name:ident),*) => {
        $(impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        })*
    };
}
as_its_name!(Language, Speaker);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(speaker: Option<Speaker>, start_ms: u64, text: &str) -> Segment {
        let words = text.split(' ').zip(0..);
        let words = words.map(|(word, n)| {
            let at = start_ms + n * 400;
            Word::new(word, at, at + 300, 0.9)
        });
        Segment::new(speaker, Some(Language::English), words.collect()).unwrap()
    }

    fn conversation() -> Vec<Segment> {
        merge(vec![
            said(Some(Speaker::Caller), 1_200, "hello yes"),
            said(Some(Speaker::Caller), 3_661_000, "thank you"),
            said(Some(Speaker::Agent), 2_500, "sales & <support>"),
        ])
    }

    #[test]
    fn legs_are_merged_in_the_order_of_time() {
        let text = to_text(&conversation());
        assert_eq!(text, "hello yes\nsales & <support>\nthank you\n");
        assert_eq!(word_count(&conversation()), 7);
    }

    #[test]
    fn subtitles_name_the_speakers() {
        assert_eq!(
            to_vtt(&conversation()),
            "WEBVTT\n\n00:00:01.200 --> 00:00:01.900\n<v Caller>hello yes\n\n\
             00:00:02.500 --> 00:00:03.600\n<v Agent>sales &amp; &lt;support&gt;\n\n\
             01:01:01.000 --> 01:01:01.700\n<v Caller>thank you\n"
        );
        assert_eq!(
            to_srt(&conversation()[..2]),
            "1\n00:00:01,200 --> 00:00:01,900\nCaller: hello yes\n\n\
             2\n00:00:02,500 --> 00:00:03,600\nAgent: sales & <support>\n"
        );
        let nobody = said(None, 0, "one");
        assert!(to_vtt(&[nobody]).ends_with("\none\n"));
    }

    #[test]
    fn as_json_it_is_what_the_api_shows() {
        let mut segment = said(Some(Speaker::Caller), 0, "one");
        let expected = json!({
            "speaker": "caller", "language": "en", "startMs": 0, "endMs": 300, "text": "one",
            "confidence": 0.9,
            "words": [{ "word": "one", "startMs": 0, "endMs": 300, "confidence": 0.9 }],
        });
        assert_eq!(serde_json::to_value(&segment).unwrap(), expected);
        segment.speaker = None;
        assert!(serde_json::to_value(&segment).unwrap()["speaker"].is_null());
    }

    #[test]
    fn a_long_word_counts_for_more_and_an_unknown_sound_for_nothing() {
        let words = vec![
            Word::new("one", 0, 300, 1.0),
            Word::new(UNKNOWN, 300, 9_000, 0.1),
            Word::new("two", 9_000, 9_100, 0.2),
        ];
        let segment = Segment::new(None, None, words).unwrap();
        assert_eq!(segment.text, "one two");
        assert!((confidence(&[segment]).unwrap() - 0.8).abs() < 1e-6);
        assert_eq!(confidence(&[]), None);
        let noise = vec![Word::new(UNKNOWN, 0, 10, 1.0), Word::new(" \n", 0, 10, 1.0)];
        assert_eq!(Segment::new(None, None, noise), None);
    }

    #[test]
    fn what_cannot_be_is_made_the_nearest_that_can() {
        let word = Word::new("a\nb\u{7}", 500, 400, f32::NAN);
        assert_eq!((word.word.as_str(), word.end_ms), ("a_b", 500));
        assert!(word.confidence.abs() < f32::EPSILON);
        let vtt = to_vtt(&[Segment::new(None, None, vec![word]).unwrap()]);
        assert!(vtt.contains("00:00:00.500 --> 00:00:00.501"), "{vtt}");
    }
}
