//! Which language an utterance was in, by what each language's model made of it.

use capconduit_transcriber_protocol::Word;

/// The place of the language whose model is surest, among what each of them heard in the same stretch of sound;
/// none if no model heard a word.
///
/// The measure is the mean confidence of the words by their length.
pub fn surest(heard: &[Vec<Word>]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (place, words) in heard.iter().enumerate() {
        if words.is_empty() {
            continue;
        }
        let score = score(words);
        if best.is_none_or(|(_, highest)| score > highest) {
            best = Some((place, score));
        }
    }
    best.map(|(place, _)| place)
}

fn score(words: &[Word]) -> f64 {
    let (mut sum, mut length) = (0.0, 0.0);
    for word in words {
        let duration = word.end_ms.saturating_sub(word.start_ms).max(1) as f64;
        sum += f64::from(word.confidence) * duration;
        length += duration;
    }
    sum / length
}
