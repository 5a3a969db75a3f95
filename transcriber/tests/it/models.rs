//! Models as they should not be. Each is met by a transcriber of its own, as some end it.

use std::os::unix::fs::symlink;

use capconduit_transcriber_protocol::FailureCode::ModelUnusable;

use crate::support::{EN, HI, ModelCopy, Outcome, Transcriber, fixture};

const ABORTED: i32 = 6;

fn refused(model: &ModelCopy) -> String {
    let mut transcriber = Transcriber::with(&[("en", model.path())]);
    let message = transcriber.check("en").failed(ModelUnusable);
    // It is still there, and a job hears the same.
    let path = fixture("en_digits.wav");
    let again = transcriber.transcribe(&["en"], &[(&path, 0, "caller")]);
    assert_eq!(again.failed(ModelUnusable), message);
    message
}

#[test]
fn good_models_pass_and_are_named_after_where_they_really_are() {
    let mut transcriber = Transcriber::start();
    assert_eq!(transcriber.check("en").done().models["en"], EN);
    assert_eq!(transcriber.check("hi").done().models["hi"], HI);
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("en");
    symlink(fixture(EN).canonicalize().unwrap(), &link).unwrap();
    let mut transcriber = Transcriber::with(&[("en", &link)]);
    assert_eq!(transcriber.check("en").done().models["en"], EN);
}

#[test]
fn a_language_without_a_model_is_said_to_be_one() {
    let mut transcriber = Transcriber::with(&[("en", &fixture(EN))]);
    let message = transcriber.check("fr").failed(ModelUnusable);
    assert_eq!(
        message,
        "there is no model of language \"fr\" (there are: en)"
    );
    let message = transcriber
        .transcribe(&["en", "fr"], &[(&fixture("en_digits.wav"), 0, "caller")])
        .failed(ModelUnusable);
    assert!(message.contains("\"fr\""));
}

#[test]
fn a_model_that_is_not_there_is_looked_for_again() {
    let model = ModelCopy::of(EN);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("en");
    let mut transcriber = Transcriber::with(&[("en", &path)]);
    let message = transcriber.check("en").failed(ModelUnusable);
    assert!(message.contains("there is no directory"), "{message}");
    std::fs::write(&path, "").unwrap();
    let message = transcriber.check("en").failed(ModelUnusable);
    assert!(message.contains("there is no directory"), "{message}");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let message = transcriber.check("en").failed(ModelUnusable);
    assert!(message.contains("holds no Vosk model"), "{message}");
    std::fs::remove_dir(&path).unwrap();
    symlink(model.path(), &path).unwrap();
    transcriber.check("en").done();
}

#[test]
fn what_a_half_copied_model_lacks_is_named() {
    for file in [
        "am/final.mdl",
        "conf/model.conf",
        "conf/mfcc.conf",
        "graph/HCLr.fst",
        "graph/Gr.fst",
    ] {
        let model = ModelCopy::of(EN);
        model.write(file, b"");
        let message = refused(&model);
        assert!(message.contains(&format!("{file} is empty")), "{message}");
        model.remove(file);
        let message = refused(&model);
        assert!(message.contains(&format!("{file} is missing")), "{message}");
    }
    for file in ["graph/words.txt", "graph/disambig_tid.int"] {
        let model = ModelCopy::of(EN);
        model.remove(file);
        let message = refused(&model);
        assert!(message.contains(file), "{message}");
    }
}

#[test]
fn damaged_models_are_refused() {
    for file in ["am/final.mdl", "graph/HCLr.fst", "graph/Gr.fst"] {
        let model = ModelCopy::of(EN);
        let whole = model.read(file);
        model.write(file, &whole[..whole.len() / 2]);
        let message = refused(&model);
        assert!(message.contains("Install it anew"), "{message}");
        model.write(file, b"this is no part of a model");
        let message = refused(&model);
        assert!(message.contains("Install it anew"), "{message}");
    }
    let model = ModelCopy::of(EN);
    model.replace("conf/mfcc.conf", "=8000", "=0");
    let message = refused(&model);
    assert!(message.contains("asks for 0 Hz"), "{message}");
}

#[test]
fn a_word_list_that_cannot_be_read_back_is_a_fault_of_the_model() {
    for spelling in ["ze\"ro", "ze\\ro"] {
        let model = ModelCopy::of(EN);
        model.replace("graph/words.txt", "zero", spelling);
        let mut transcriber = Transcriber::with(&[("en", model.path())]);
        let path = fixture("en_digits.wav");
        let message = transcriber
            .transcribe(&["en"], &[(&path, 0, "caller")])
            .failed(ModelUnusable);
        assert!(message.contains("word list"), "{message}");
        // It can go on with something else.
        let path = fixture("en_words.wav");
        let outcome = transcriber.transcribe(&["en"], &[(&path, 0, "caller")]);
        assert!(outcome.done().text().starts_with("hello"));
    }
}

#[test]
fn a_model_that_ends_its_process_ends_this_one_and_no_answer_pretends_otherwise() {
    for request in ["check", "transcribe"] {
        let model = ModelCopy::of(EN);
        // Without silence phones Kaldi fails an assertion.
        model.write("conf/model.conf", b"\n");
        let mut transcriber = Transcriber::with(&[("en", model.path())]);
        let outcome = if request == "check" {
            transcriber.check("en")
        } else {
            transcriber.transcribe(&["en"], &[(&fixture("en_digits.wav"), 0, "caller")])
        };
        assert!(matches!(outcome, Outcome::Died), "{outcome:?}");
        assert_eq!(transcriber.signal(), Some(ABORTED));
    }
}
