//! The transcriber as a process: its options, its limits, its memory, its end.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use capconduit_transcriber_protocol::{Answer, EXIT_WITHOUT_LIBRARY, FailureCode, MAX_LINE};

use crate::support::{EN, ModelCopy, Outcome, Transcriber, fixture, samples, sound, write_wav};

const MEBIBYTE: u64 = 1 << 20;

#[test]
fn it_ends_with_its_input() {
    let mut transcriber = Transcriber::start();
    transcriber.close_input();
    let (status, complaints) = transcriber.end();
    assert!(status.success(), "{complaints}");
    assert_eq!(complaints, "");
}

#[test]
fn what_was_asked_before_the_end_is_answered_before_the_end() {
    let mut transcriber = Transcriber::start();
    let path = fixture("en_digits.wav");
    let request = serde_json::json!({"type": "transcribe", "job": 1, "languages": ["en"], "max_seconds": 60,
        "tracks": [{"path": path, "channel": 0, "speaker": "caller"}]});
    transcriber.write(format!("{request}\n{request}\n\n{request}").as_bytes());
    transcriber.close_input();
    for _ in 0..3 {
        transcriber.outcome(1).done();
    }
    assert!(transcriber.end().0.success());
}

#[test]
fn it_does_not_outlive_the_process_that_started_it() {
    // A shell starts it, says its number, and is then killed in the middle of a long job; nothing else holds the
    // transcriber's input.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long.wav");
    write_wav(&path, 8000, 1, &sound("en_digits.wav").repeat(1000));
    let request = serde_json::json!({"type": "transcribe", "job": 1, "languages": ["en"], "max_seconds": 7200,
        "tracks": [{"path": path, "channel": 0, "speaker": "caller"}]});
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("echo \"$2\" | \"$0\" --model \"$1\" --readable / & wait")
        .arg(env!("CARGO_BIN_EXE_capconduit-transcriber"))
        .arg(format!("en={}", fixture(EN).display()))
        .arg(request.to_string());
    let mut shell = Transcriber::spawn(&mut shell).expect_ready();
    assert!(matches!(shell.answer(), Some(Answer::Progress { .. })));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(shell.pid().cast_signed()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    // Its output ends without the job's end.
    assert!(matches!(shell.outcome(1), Outcome::Died));
    let (_, complaints) = shell.end();
    assert!(complaints.contains("is gone"), "{complaints}");
}

#[test]
fn it_ends_when_nobody_reads_its_answers() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_capconduit-transcriber"))
        .arg("--model")
        .arg(format!("en={}", fixture(EN).display()))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let _ = writeln!(
        child.stdin.as_ref().unwrap(),
        r#"{{"type":"check","job":1,"language":"en"}}"#
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(complaints.contains("cannot write answers"), "{complaints}");
}

#[test]
fn what_is_no_request_ends_it_with_a_word_why() {
    for (line, word) in [
        (&b"hello\n"[..], "not a request of this protocol: expected"),
        (b"{\"type\":\"sing\"}\n", "unknown variant `sing`"),
        (b"\xff\xff\n", "not a request"),
        (&vec![b' '; MAX_LINE + 2], "more than 1048576 bytes"),
    ] {
        let mut transcriber = Transcriber::start();
        transcriber.write(line);
        let (status, complaints) = transcriber.end();
        assert_eq!(status.code(), Some(3));
        assert!(complaints.contains(word), "{complaints}");
    }
}

#[test]
fn options_that_cannot_be_are_refused() {
    for arguments in [&["--model", "en"][..], &[], &["--nice", "-5"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_capconduit-transcriber"))
            .args(arguments)
            .env_clear()
            .output()
            .unwrap();
        assert_ne!(
            output.status.code(),
            Some(EXIT_WITHOUT_LIBRARY),
            "libvosk is missing: run scripts/fetch-vosk and try again"
        );
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        assert!(output.stderr.starts_with(b"capconduit-transcriber: "));
    }
}

#[test]
fn without_the_library_it_ends_with_the_status_agreed_upon() {
    // Alone in a directory, its run path leads nowhere.
    let directory = tempfile::tempdir().unwrap();
    let alone = directory.path().join("capconduit-transcriber");
    fs::copy(env!("CARGO_BIN_EXE_capconduit-transcriber"), &alone).unwrap();
    if ["/usr/local/lib", "/usr/lib", "/lib"]
        .iter()
        .any(|place| Path::new(place).join("libvosk.so").exists())
    {
        return;
    }
    let output = Command::new(&alone)
        .arg("--help")
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(EXIT_WITHOUT_LIBRARY));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("libvosk.so"), "{complaint}");
}

#[test]
fn it_finds_the_library_beside_itself_and_where_it_is_installed() {
    let built = Path::new(env!("CARGO_BIN_EXE_capconduit-transcriber"));
    let library = built.with_file_name("../lib/capconduit/libvosk.so");
    if !library.exists() {
        // Then it is one of the system's, and other tests show that it is found.
        return;
    }
    let library = library.canonicalize().unwrap();
    for place in ["bin", "lib/capconduit"] {
        let root = tempfile::tempdir().unwrap();
        for directory in ["bin", "lib/capconduit"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let program = root.path().join("bin/capconduit-transcriber");
        fs::copy(built, &program).unwrap();
        symlink(&library, root.path().join(place).join("libvosk.so")).unwrap();
        let output = Command::new(&program)
            .arg("--version")
            .env_clear()
            .output()
            .unwrap();
        assert!(output.status.success(), "{place}: {output:?}");
        assert!(output.stdout.ends_with(b"for libvosk 0.3.45\n"));
    }
}

#[test]
fn it_steps_back_and_leaves_no_core_file() {
    let models = [("en", fixture(EN))];
    let models = models
        .each_ref()
        .map(|(name, path)| (*name, path.as_path()));
    let transcriber = Transcriber::starting(&models, &["--memory-limit", "2000000000"]);
    let transcriber = transcriber.expect_ready();
    let limits = fs::read_to_string(format!("/proc/{}/limits", transcriber.pid())).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..]
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(limit("Max core file size"), "0 0");
    assert_eq!(limit("Max address space"), "2000000000 2000000000");
    let stat = fs::read_to_string(format!("/proc/{}/stat", transcriber.pid())).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(fields[16], "19");
}

#[test]
fn a_memory_limit_that_is_too_small_is_said_to_be_one() {
    // Without that, libvosk would ask for memory for ever.
    for megabytes in [60, 100, 150, 200] {
        let limit = format!("{megabytes}000000");
        let model = fixture(EN);
        let models = [("en", model.as_path())];
        let mut transcriber =
            Transcriber::starting(&models, &["--memory-limit", &limit]).expect_ready();
        let path = fixture("en_words.wav");
        let message = transcriber
            .transcribe(&["en"], &[(&path, 0, "caller")])
            .failed(FailureCode::ModelUnusable);
        assert!(message.contains("limit of memory leaves"), "{message}");
    }
    let model = fixture(EN);
    let models = [("en", model.as_path())];
    let mut transcriber =
        Transcriber::starting(&models, &["--memory-limit", "400000000"]).expect_ready();
    transcriber.check("en").done();
}

#[test]
fn a_model_too_large_for_the_memory_limit_is_said_to_be_perhaps_that() {
    let model = ModelCopy::of(EN);
    let mut words = model.read("graph/words.txt");
    for number in 23..2_000_000 {
        words.extend(format!("word{number} {number}\n").bytes());
    }
    model.write("graph/words.txt", &words);
    let models = [("en", model.path())];
    let mut transcriber =
        Transcriber::starting(&models, &["--memory-limit", "100000000"]).expect_ready();
    let message = transcriber.check("en").failed(FailureCode::ModelUnusable);
    assert!(
        message.contains("the limit of memory is too low"),
        "{message}"
    );
}

#[test]
fn two_hundred_files_leave_no_more_than_they_should() {
    let mut transcriber = Transcriber::start();
    let samples = samples();
    let mut after_ten = 0;
    for count in 0..200 {
        let (file, language, channel, said) = &samples[count % samples.len()];
        let path = fixture(file);
        let transcript = transcriber
            .transcribe(&[language], &[(&path, *channel, "caller")])
            .done();
        assert_eq!(transcript.text(), *said);
        if count == 9 {
            after_ten = transcriber.resident();
        }
    }
    let growth = transcriber.resident().saturating_sub(after_ten);
    eprintln!("{} KiB grown over 190 files", growth / 1024);
    assert!(growth < 32 * MEBIBYTE, "{growth} bytes");
}

#[test]
fn an_hour_is_heard_in_constant_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hour.wav");
    let piece = sound("en_words.wav");
    let times = 3600 * 8000 / piece.len() + 1;
    write_wav(&path, 8000, 1, &piece.repeat(times));
    let mut transcriber = Transcriber::start();
    let request = serde_json::json!({"type": "transcribe", "job": 1, "languages": ["en"], "max_seconds": 7200,
        "tracks": [{"path": path, "channel": 0, "speaker": "caller"}]});
    transcriber.write(format!("{request}\n").as_bytes());
    let (mut words, mut early, mut most, mut last_progress) = (0, 0, 0, 0);
    loop {
        match transcriber.answer() {
            Some(Answer::Progress { audio_ms, .. }) => {
                assert!(audio_ms <= last_progress + 31_000);
                last_progress = audio_ms;
                let resident = transcriber.resident();
                most = most.max(resident);
                if audio_ms < 300_000 {
                    early = most;
                }
            }
            Some(Answer::Utterance { words: more, .. }) => words += more.len(),
            Some(Answer::Done { audio_ms, .. }) => {
                assert!(audio_ms >= 3_600_000);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    eprintln!("{} KiB early, {} KiB at most", early / 1024, most / 1024);
    assert!(most - early < 32 * MEBIBYTE, "{early} then {most} bytes");
    // Ten words each time it is said; where it is cut in the middle, one may be lost.
    assert!(words * 100 > times * 10 * 99, "{words} of {}", times * 10);
}
