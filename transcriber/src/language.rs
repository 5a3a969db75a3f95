//! Which language an utterance was in, by what each language's model made of it.
//!
//! A model that hears a language it does not know still finds words, and often believes in them; but it finds more and
//! shorter ones, and leaves gaps. So an utterance belongs to the model with the highest sum of
//!
//! - the mean confidence of its words by their length: what decides in most cases,
//! - a tenth of the share of speech its words cover, against the model that covers most,
//! - less a twentieth of the number of its words, against the model that needs most.
//!
//! Models about as sure as each other are no evidence at all: then the track goes on in the language it was in. What
//! this comes to is measured in `README.md`.

use capconduit_transcriber_protocol::Word;

const COVERAGE: f64 = 0.1;
const WORDS: f64 = 0.05;
/// Less of a difference is none.
const EQUAL: f64 = 0.005;

/// Chooses a language for each utterance of a track.
#[derive(Debug, Default)]
pub struct Chooser {
    before: Option<usize>,
}

impl Chooser {
    /// The place of the language of an utterance, among what the models heard in the same stretch of sound; none if no
    /// model heard a word.
    pub fn choose(&mut self, heard: &[Vec<Word>]) -> Option<usize> {
        let most_covered = heard.iter().map(|words| length(words)).fold(1.0, f64::max);
        let most_words = heard.iter().map(Vec::len).max()?.max(1) as f64;
        let scores: Vec<Option<f64>> = heard
            .iter()
            .map(|words| {
                (!words.is_empty()).then(|| {
                    confidence(words) + COVERAGE * length(words) / most_covered
                        - WORDS * words.len() as f64 / most_words
                })
            })
            .collect();
        let highest = scores.iter().flatten().copied().reduce(f64::max)?;
        let high = |place: &usize| scores[*place].is_some_and(|score| score > highest - EQUAL);
        let chosen = self
            .before
            .filter(|before| *before < scores.len())
            .filter(high)
            .or_else(|| {
                let is_highest = |score: &Option<f64>| score.is_some_and(|score| score >= highest);
                scores.iter().position(is_highest)
            });
        self.before = chosen;
        chosen
    }
}

/// Of words, together, in milliseconds.
fn length(words: &[Word]) -> f64 {
    words.iter().map(duration).sum()
}

fn duration(word: &Word) -> f64 {
    word.end_ms.saturating_sub(word.start_ms).max(1) as f64
}

fn confidence(words: &[Word]) -> f64 {
    let sum: f64 = words
        .iter()
        .map(|word| f64::from(word.confidence) * duration(word))
        .sum();
    sum / length(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words in a row, each of so many milliseconds and so sure.
    fn words(words: &[(u64, f32)]) -> Vec<Word> {
        let mut end_ms = 0;
        words
            .iter()
            .map(|(length, confidence)| {
                let start_ms = end_ms;
                end_ms += length;
                Word {
                    word: "x".to_owned(),
                    start_ms,
                    end_ms,
                    confidence: *confidence,
                }
            })
            .collect()
    }

    #[test]
    fn the_surer_model_has_the_utterance() {
        let mut chooser = Chooser::default();
        let sure = words(&[(300, 1.0), (400, 0.95)]);
        let unsure = words(&[(200, 0.9), (300, 0.4), (200, 1.0)]);
        assert_eq!(chooser.choose(&[sure.clone(), unsure.clone()]), Some(0));
        assert_eq!(chooser.choose(&[unsure.clone(), sure.clone()]), Some(1));
        assert_eq!(chooser.choose(&[unsure.clone(), unsure, sure]), Some(2));
    }

    #[test]
    fn of_models_as_sure_the_one_that_hears_more_in_fewer_words_has_it() {
        let whole = words(&[(500, 1.0)]);
        let part = words(&[(200, 1.0)]);
        let pieces = words(&[(200, 1.0), (300, 1.0)]);
        for other in [part, pieces] {
            assert_eq!(Chooser::default().choose(&[other, whole.clone()]), Some(1));
        }
    }

    #[test]
    fn without_evidence_a_track_goes_on_in_its_language() {
        let mut chooser = Chooser::default();
        let same = [words(&[(300, 1.0)]), words(&[(300, 1.0)])];
        assert_eq!(chooser.choose(&same), Some(0));
        assert_eq!(chooser.choose(&[vec![], words(&[(300, 0.3)])]), Some(1));
        assert_eq!(chooser.choose(&same), Some(1));
    }

    #[test]
    fn where_nobody_heard_anything_there_is_no_language() {
        assert_eq!(Chooser::default().choose(&[]), None);
        assert_eq!(Chooser::default().choose(&[vec![], vec![]]), None);
    }
}
