//! Models as the real transcriber finds them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ENGLISH, HINDI, World, archive, files_of, sum_of, zip_of};

fn transcriber() -> PathBuf {
    let program =
        Path::new(env!("CARGO_BIN_EXE_capconduit")).with_file_name("capconduit-transcriber");
    assert!(
        program.exists(),
        "{} is not built: run scripts/fetch-vosk, then cargo build",
        program.display()
    );
    program
}

/// Status, standard output, standard error of `capconduit model`.
fn model(world: &World, program: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_capconduit"))
        .env_clear()
        .env("CAPCONDUIT_TRANSCRIPTION__MODEL_DIRECTORY", world.at(""))
        .env("CAPCONDUIT_TRANSCRIPTION__WORKER", program)
        .arg("model")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_works_is_said_to_work() {
    let sum = sum_of(&archive(HINDI));
    let world = World::new(archive(HINDI)).await;
    let url = world.server.url(HINDI);
    let (code, out, err) = model(&world, &transcriber(), &["install", &url, "--sha256", &sum]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("the transcriber can use it"), "{out}{err}");
    let (code, out, _) = model(&world, &transcriber(), &["check"]);
    assert_eq!(code, Some(0));
    assert!(
        out.contains("ok    hi (vosk-model-tiny-hi-digits-8k)"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_ends_the_transcriber_is_not_installed() {
    for (file, content) in [
        // Each part is there, and Vosk does not survive it, or does not load it.
        (
            "conf/mfcc.conf",
            "--sample-frequency=8000\n--frame-shift=0\n",
        ),
        ("graph/HCLr.fst", "not a graph"),
    ] {
        let mut files = files_of(ENGLISH);
        let path = format!("{ENGLISH}/{file}");
        let found = files.iter_mut().find(|(name, _)| *name == path).unwrap();
        found.1 = content.as_bytes().to_vec();
        let sum = sum_of(&zip_of(&files));
        let world = World::new(zip_of(&files)).await;
        let url = world.server.url(ENGLISH);
        let (code, _, err) = model(&world, &transcriber(), &["install", &url, "--sha256", &sum]);
        assert_eq!(code, Some(1), "{file}");
        assert!(
            err.contains("cannot be used and was not installed"),
            "{err}"
        );
        assert!(world.visible().is_empty(), "{:?}", world.visible());
        assert!(world.rests().is_empty(), "{:?}", world.rests());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_libvosk_a_model_is_installed_and_said_to_be_untried() {
    let sum = sum_of(&archive(ENGLISH));
    let world = World::english().await;
    // Away from its library.
    let alone = world.directory.path().join("capconduit-transcriber");
    std::fs::copy(transcriber(), &alone).unwrap();
    let url = world.server.url(ENGLISH);
    let (code, _, err) = model(&world, &alone, &["install", &url, "--sha256", &sum]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("could not be tried"), "{err}");
    assert!(err.contains("libvosk"), "{err}");
    let (code, out, _) = model(&world, &alone, &["check"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("note  en"), "{out}");
}
