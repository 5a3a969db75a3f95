use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;

use super::lab::{Lab, fixture, transcriber};
use crate::support::TestDb;
use crate::support::daemon::DaemonSettings;

fn transcribe(arguments: &[&str], variables: &[(&str, &Path)]) -> Output {
    transcriber();
    let mut command = Command::new(env!("CARGO_BIN_EXE_capconduit"));
    command.env_clear().arg("transcribe").args(arguments);
    for (name, value) in variables {
        command.env(name, value);
    }
    command.output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_file_is_transcribed_without_any_configuration() {
    let model = fixture("vosk-model-tiny-en-digits-8k");
    let model = model.to_str().unwrap();
    for (file, said) in [
        (
            "en_digits.wav",
            "zero one two three four five six seven eight nine",
        ),
        (
            "en_words.wav",
            "hello yes sales budget price house no support thank you",
        ),
    ] {
        let file = fixture(file);
        let output = transcribe(&[file.to_str().unwrap(), "--model", model], &[]);
        assert_eq!(text(&output.stdout).replace('\n', " ").trim(), said);
        assert_eq!(
            (output.status.code(), text(&output.stderr).as_str()),
            (Some(0), "")
        );
    }
}

#[test]
fn of_two_channels_the_left_is_the_caller() {
    let models = [(
        "CAPCONDUIT_TRANSCRIPTION__MODELS__EN",
        fixture("vosk-model-tiny-en-digits-8k"),
    )];
    let models: Vec<(&str, &Path)> = models.iter().map(|(n, p)| (*n, p.as_path())).collect();
    let file = fixture("en_call_stereo.wav");
    let file = file.to_str().unwrap();
    let vtt = text(&transcribe(&[file, "--format", "vtt"], &models).stdout);
    assert!(
        vtt.starts_with("WEBVTT\n\n00:00:00.") && vtt.contains("<v Agent>hello sales support\n"),
        "{vtt}"
    );
    let srt = text(&transcribe(&[file, "--format", "srt"], &models).stdout);
    assert!(
        srt.starts_with("1\n00:00:00,") && srt.contains("Caller: hello yes\n"),
        "{srt}"
    );
    let json = transcribe(&[file, "--format", "json", "--language", "en"], &models);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["words"], 20);
    assert_eq!(json["segments"][0]["speaker"], "agent");
    assert_eq!(json["segments"][0]["words"][0]["word"], "hello");
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do() {
    let file = fixture("en_words.wav");
    let file = file.to_str().unwrap();
    let model = fixture("vosk-model-tiny-en-digits-8k");
    let model = model.to_str().unwrap();
    let readme = fixture("README.md");
    let nowhere = Path::new("/nowhere/transcriber");
    let no_models: &[(&str, &Path)] = &[(
        "CAPCONDUIT_TRANSCRIPTION__MODEL_DIRECTORY",
        Path::new("/nowhere"),
    )];
    let no_worker: &[(&str, &Path)] = &[("CAPCONDUIT_TRANSCRIPTION__WORKER", nowhere)];
    for (arguments, variables, said) in [
        (vec![file], no_models, "capconduit model install en"),
        (
            vec![file, "--language", "auto"],
            no_models,
            "capconduit model install en",
        ),
        (
            vec![file, "--model", model],
            no_worker,
            "there is no transcriber /nowhere/transcriber",
        ),
        (
            vec!["/nowhere.wav", "--model", model],
            &[],
            "cannot read /nowhere.wav",
        ),
        (
            vec![readme.to_str().unwrap(), "--model", model],
            &[],
            "(unsupported_format)",
        ),
        (
            vec![file, "--model", "/nowhere"],
            &[],
            "there is no model in /nowhere",
        ),
        (
            vec![file, "--model", env!("CARGO_MANIFEST_DIR")],
            &[],
            "(model_unusable)",
        ),
    ] {
        let output = transcribe(&arguments, variables);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[tokio::test]
async fn the_daemon_transcribes_shows_it_and_routes_whatever_becomes_of_it() {
    let lab = Lab::new().await;
    lab.record_call().await;
    let storage = lab.storage_root();
    let settings = DaemonSettings::new("one", &lab.db.url)
        .with(
            "RECORDING__DIRECTORY",
            lab.directory.path().join("spool").to_str().unwrap(),
        )
        .with("RECORDING__STORAGE", storage.to_str().unwrap())
        .with(
            "TRANSCRIPTION__MODEL_DIRECTORY",
            lab.directory.path().join("models").to_str().unwrap(),
        );
    std::fs::create_dir(lab.directory.path().join("spool")).unwrap();
    let daemon = settings.start();
    daemon.wait_component("transcription", "\"ready\"").await;
    lab.wait_for("done", 1).await;
    crate::support::eventually("counted", async || {
        let (_, metrics) = daemon.get("/metrics").await;
        metrics.contains("capconduit_transcription_jobs{state=\"done\"} 1")
            && metrics.contains("capconduit_transcription_audio_seconds_total 17")
            && metrics.contains("capconduit_transcription_workers{state=\"idle\"} 1")
    })
    .await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await, Some(0));
    lab.wait_for_no_process().await;

    let check = settings.command("check").output().unwrap();
    let check = text(&check.stdout);
    assert!(
        check.contains("ok    transcription en: the transcriber can use vosk-model-tiny-en"),
        "{check}"
    );

    std::fs::write(lab.model("en").join("conf/model.conf"), "--nonsense=1\n").unwrap();
    let settings = settings.with("TRANSCRIPTION__WORKER", "/nowhere/transcriber");
    let daemon = settings.start();
    daemon
        .wait_component("transcription", "there is no transcriber")
        .await;
    daemon.wait_ready().await;
    let verdict = daemon.route("1795.1", &[]).await.unwrap();
    assert_eq!(verdict.get("CAPCONDUIT_REASON"), "did_not_found");
    let check = settings.command("check").output().unwrap();
    let check = text(&check.stdout);
    assert!(
        check.contains("FAIL  transcription: there is no transcriber /nowhere"),
        "{check}"
    );
    daemon.kill();
}

#[tokio::test]
async fn who_wants_no_transcripts_is_not_bothered() {
    let db = TestDb::new().await;
    let settings =
        DaemonSettings::new("one", &db.url).with("TRANSCRIPTION__MODEL_DIRECTORY", "/nowhere");
    let check = settings.command("check").output().unwrap();
    let check = text(&check.stdout);
    assert!(
        check.contains("note  transcription: recordings are not transcribed"),
        "{check}"
    );
    let daemon = settings.start();
    daemon
        .wait_component("transcription", "not configured")
        .await;
    daemon.wait_ready().await;
}
