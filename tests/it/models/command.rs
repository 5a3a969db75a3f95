//! `capconduit model`, as typed.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{ENGLISH, HINDI, World, archive, fixture, sum_of};
use crate::support::eventually;

/// The command, without database, configuration file and environment.
fn command(models: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capconduit"));
    command
        .env_clear()
        .env("CAPCONDUIT_TRANSCRIPTION__MODEL_DIRECTORY", models)
        // These tests are of the files; what a transcriber makes of them is tested where there is one.
        .env("CAPCONDUIT_TRANSCRIPTION__WORKER", "/nowhere/transcriber")
        .arg("model")
        .args(arguments);
    command
}

fn run(world: &World, arguments: &[&str]) -> (Option<i32>, String, String) {
    said(&command(&world.at(""), arguments).output().unwrap())
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_installed_by_name_from_a_mirror_and_listed() {
    let world = World::new(archive(HINDI)).await;
    let mirror = format!("http://{}/mirror/", world.server.address);
    let (code, _, err) = run(&world, &["install", "hi", "--mirror", &mirror]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("without TLS") && err.contains("--sha256"),
        "{err}"
    );
    let sum = sum_of(&archive(HINDI));
    let (code, out, err) = run(
        &world,
        &["install", "hi", "--mirror", &mirror, "--sha256", &sum],
    );
    assert_eq!(code, Some(0), "{out}{err}");
    let asked = world.server.asked();
    assert_eq!(asked[0].path, "/mirror/vosk-model-small-hi-0.22.zip");
    assert!(out.contains("hi uses it now"), "{out}");
    assert!(out.contains("as demanded"), "{out}");
    assert!(err.contains("could not be tried"), "{err}");
    assert!(!err.contains('\u{1b}'), "{err:?}");

    let (code, out, _) = run(&world, &["list"]);
    assert_eq!(code, Some(0));
    let line = |name: &str| out.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(
        line("vosk-model-small-hi-0.22").contains("used for hi"),
        "{out}"
    );
    assert!(line("vosk-model-en-us-0.22 ").contains("~1.8 GB"), "{out}");
    assert!(
        out.contains("en has no model yet: capconduit model install en"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_and_addresses_are_explained() {
    let world = World::english().await;
    let (code, _, err) = run(&world, &["install", "vosk-model-klingon"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("vosk-model-small-en-us-0.15"), "{err}");
    let (code, _, err) = run(&world, &["install", "http://127.0.0.1:1/model.zip"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("--language"), "{err}");
    let address = "https://127.0.0.1:1/tiny-en.zip";
    let (code, _, err) = run(&world, &["install", address]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("not of the catalogue") && err.contains("sha256sum"),
        "{err}"
    );
    let (code, _, err) = run(&world, &["install", "en", "--sha256", "abc"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("64 hexadecimal"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_what_is_wrong_and_how_to_mend_it() {
    let world = World::english().await;
    let (code, out, _) = run(&world, &["check"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("capconduit model install en"), "{out}");

    let (code, ..) = run(
        &world,
        &[
            "install",
            &world.server.url(ENGLISH),
            "--sha256",
            &sum_of(&archive(ENGLISH)),
        ],
    );
    assert_eq!(code, Some(0));
    let (code, out, _) = run(&world, &["check"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("every file is as installed"), "{out}");

    std::fs::write(world.at("en/graph/HCLr.fst"), "x").unwrap();
    std::fs::remove_file(world.at("en/conf/model.conf")).unwrap();
    for arguments in [&["check"][..], &["check", "en"], &["check", ENGLISH]] {
        let (code, out, _) = run(&world, arguments);
        assert_eq!(code, Some(1));
        assert!(out.contains("graph/HCLr.fst is cut short"), "{out}");
        assert!(out.contains("conf/model.conf is missing"), "{out}");
        let mend = format!("capconduit model install {}", world.server.url(ENGLISH));
        assert!(out.contains(&mend), "{out}");
    }
    let (code, ..) = run(
        &world,
        &[
            "install",
            &world.server.url(ENGLISH),
            "--sha256",
            &sum_of(&archive(ENGLISH)),
        ],
    );
    assert_eq!(code, Some(0));
    assert_eq!(run(&world, &["check"]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_a_model_that_was_half_copied_by_hand() {
    let world = World::english().await;
    let half = world.at("vosk-model-small-hi-0.22");
    std::fs::create_dir_all(half.join("am")).unwrap();
    std::fs::copy(
        fixture(HINDI).join("am/final.mdl"),
        half.join("am/final.mdl"),
    )
    .unwrap();
    let (code, out, _) = run(&world, &["check"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("conf/model.conf is missing"), "{out}");
    assert!(
        out.contains("capconduit model install vosk-model-small-hi-0.22"),
        "{out}"
    );

    let elsewhere = half.to_str().unwrap();
    let (code, out, _) = run(&world, &["check", elsewhere]);
    assert_eq!(code, Some(1), "{out}");
    let (code, out, _) = run(&world, &["check", "/nowhere/model"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("/nowhere/model cannot be read"), "{out}");

    std::fs::remove_dir_all(&half).unwrap();
    std::os::unix::fs::symlink("vosk-model-small-hi-0.22", world.at("hi")).unwrap();
    let (code, out, _) = run(&world, &["check"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("FAIL"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_directory_that_cannot_be_written_is_named() {
    let world = World::english().await;
    // Root may write anywhere but into what is no directory.
    let file = world.directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let sum = sum_of(&archive(ENGLISH));
    let arguments = ["install", &world.server.url(ENGLISH), "--sha256", &sum];
    for place in [
        file.as_path(),
        &file.join("models"),
        Path::new("/proc/models"),
    ] {
        let (code, _, err) = said(&command(place, &arguments).output().unwrap());
        assert_eq!(code, Some(1));
        assert!(err.contains(&place.display().to_string()), "{err}");
        assert!(err.contains("transcription.model_directory"), "{err}");
    }
    assert!(world.server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_installation_is_gone_on_with() {
    let world = World::english().await;
    let whole = archive(ENGLISH).len();
    world.server.change(|s| {
        s.cuts = vec![whole / 2];
        s.stalls = true;
    });
    let mut child = command(
        &world.at(""),
        &[
            "install",
            &world.server.url(ENGLISH),
            "--sha256",
            &sum_of(&archive(ENGLISH)),
        ],
    )
    .stdout(Stdio::null())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    // What is written is not all that came, as it is written in larger pieces.
    let part = world.part();
    eventually("half of it is here", async || {
        std::fs::metadata(&part).is_ok_and(|found| found.len() > 100_000)
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = std::fs::metadata(&part).unwrap().len();
    world.server.change(|s| s.stalls = false);
    let (code, _, err) = run(
        &world,
        &[
            "install",
            &world.server.url(ENGLISH),
            "--sha256",
            &sum_of(&archive(ENGLISH)),
        ],
    );
    assert_eq!(code, Some(0), "{err}");
    let range = world.server.asked()[1].range.clone();
    assert_eq!(range, Some(format!("bytes={kept}-")));
    assert_eq!(world.server.asked()[1].sent as u64, whole as u64 - kept);
}
