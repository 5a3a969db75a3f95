//! What is said is what is written.

use std::path::Path;

use crate::support::{EN, HI, ModelCopy, Transcriber, fixture, samples, sound, text, write_wav};
use capconduit_transcriber_protocol::Word;

#[test]
fn every_sample_gives_the_words_that_were_said() {
    let mut transcriber = Transcriber::start();
    for (file, language, channel, said) in samples() {
        let path = fixture(&file);
        let transcript = transcriber
            .transcribe(&[&language], &[(&path, channel, "caller")])
            .done();
        assert_eq!(transcript.text(), said, "{file}, channel {channel}");
        let model = if language == "en" { EN } else { HI };
        assert_eq!(transcript.models[&language], model);
        assert_eq!(transcript.models.len(), 1);
        let (reader, length) = (
            hound::WavReader::open(&path).unwrap(),
            transcript.audio_ms * 8,
        );
        assert!(u64::from(reader.duration()).abs_diff(length) <= 8);
    }
}

#[test]
fn each_channel_is_its_own_speaker_and_both_share_one_clock() {
    let mut transcriber = Transcriber::start();
    let path = fixture("en_call_stereo.wav");
    let transcript = transcriber
        .transcribe(&["en"], &[(&path, 0, "caller"), (&path, 1, "agent")])
        .done();
    for (file, _, channel, said) in samples() {
        if file == "en_call_stereo.wav" {
            let speaker = ["caller", "agent"][usize::from(channel)];
            assert_eq!(transcript.text_of(speaker), said);
        }
    }
    // In the sample they take turns, so by time their words are a conversation.
    let mut turns: Vec<_> = transcript
        .utterances
        .iter()
        .map(|said| {
            (
                said.words[0].start_ms,
                said.speaker.as_str(),
                text(said.words.iter()),
            )
        })
        .collect();
    turns.sort();
    let speakers: Vec<_> = turns.iter().map(|(_, speaker, _)| *speaker).collect();
    assert_eq!(speakers, ["agent", "caller"].repeat(4));
    let (heard, total) = transcript.progress[0];
    assert_eq!(heard, 0);
    assert!(total.abs_diff(2 * transcript.audio_ms) <= 2);
    assert!(transcript.progress.is_sorted());
}

#[test]
fn words_have_their_times_and_confidence() {
    let mut transcriber = Transcriber::start();
    let path = fixture("en_digits.wav");
    let digits = transcriber
        .transcribe(&["en"], &[(&path, 0, "caller")])
        .done();
    let words: Vec<_> = digits.words().cloned().collect();
    plausible(&words, digits.audio_ms);

    // Ten seconds later everything is ten seconds later.
    let directory = tempfile::tempdir().unwrap();
    let later = directory.path().join("later.wav");
    let samples = [vec![0; 80_000], sound("en_digits.wav")].concat();
    write_wav(&later, 8000, 1, &samples);
    let later = transcriber
        .transcribe(&["en"], &[(&later, 0, "caller")])
        .done();
    assert_eq!(later.text(), digits.text());
    for (late, early) in later.words().zip(&words) {
        let shift = late.start_ms - early.start_ms;
        assert!(shift.abs_diff(10_000) <= 60, "{late:?} {early:?}");
    }
}

fn plausible(words: &[Word], audio_ms: u64) {
    for word in words {
        let length = word.end_ms - word.start_ms;
        assert!((90..1500).contains(&length), "{word:?}");
        assert!((0.0..=1.0).contains(&word.confidence), "{word:?}");
        assert!(word.end_ms <= audio_ms, "{word:?}");
    }
    for pair in words.windows(2) {
        assert!(pair[0].end_ms <= pair[1].start_ms, "{pair:?}");
    }
}

#[test]
fn any_rate_and_a_whole_header_of_any_kind_give_the_same_words() {
    let mut transcriber = Transcriber::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sample.wav");
    let low = sound("en_words.wav");
    for factor in [2, 6] {
        let (mut upsampler, mut high) = (
            capconduit_transcriber::audio::Upsampler::new(factor),
            Vec::new(),
        );
        upsampler.push(&low, &mut high);
        upsampler.finish(&mut high);
        write_wav(&path, 8000 * factor, 1, &high);
        let transcript = transcriber
            .transcribe(&["en"], &[(&path, 0, "caller")])
            .done();
        assert_eq!(
            transcript.text(),
            "hello yes sales budget price house no support thank you"
        );
    }
}

#[test]
fn a_model_for_a_higher_rate_hears_telephone_sound() {
    let model = ModelCopy::of(EN);
    model.replace(
        "conf/mfcc.conf",
        "--sample-frequency=8000",
        "--sample-frequency=16000",
    );
    let mut transcriber = Transcriber::with(&[("en", model.path())]);
    transcriber.check("en").done();
    let path = fixture("en_digits.wav");
    let transcript = transcriber
        .transcribe(&["en"], &[(&path, 0, "caller")])
        .done();
    assert_eq!(
        transcript.text(),
        "zero one two three four five six seven eight nine"
    );
    let words: Vec<_> = transcript.words().cloned().collect();
    plausible(&words, transcript.audio_ms);
}

#[test]
fn each_utterance_is_kept_in_its_own_language() {
    let mut transcriber = Transcriber::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mixed.wav");
    let pause = vec![0; 8000];
    let files = [
        ("en", "en_digits.wav"),
        ("hi", "hi_digits.wav"),
        ("en", "en_words.wav"),
        ("hi", "hi_digits.wav"),
        ("en", "en_noisy.wav"),
    ];
    let mixed: Vec<i16> = files
        .iter()
        .flat_map(|(_, file)| [sound(file), pause.clone()].concat())
        .collect();
    write_wav(&path, 8000, 1, &mixed);
    for languages in [["en", "hi"], ["hi", "en"]] {
        let transcript = transcriber
            .transcribe(&languages, &[(&path, 0, "caller")])
            .done();
        assert_eq!(transcript.models.len(), 2);
        let mut heard: Vec<(String, String)> = Vec::new();
        for said in &transcript.utterances {
            let words = text(said.words.iter());
            match heard.last_mut() {
                Some((language, before)) if *language == said.language => {
                    *before += " ";
                    *before += &words;
                }
                _ => heard.push((said.language.clone(), words)),
            }
        }
        let all = samples();
        let expected: Vec<_> = files
            .iter()
            .map(|(language, file)| {
                let sample = all.iter().find(|sample| sample.0 == *file).unwrap();
                ((*language).to_owned(), sample.3.clone())
            })
            .collect();
        assert_eq!(heard, expected);
    }
    for (file, language, channel, said) in samples() {
        let path: &Path = &fixture(&file);
        let transcript = transcriber
            .transcribe(&["hi", "en"], &[(path, channel, "caller")])
            .done();
        assert_eq!(transcript.text(), said, "{file}");
        for utterance in &transcript.utterances {
            assert_eq!(utterance.language, language, "{file}");
        }
    }
}
