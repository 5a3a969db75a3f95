//! Files as they should not be, one after another in one process, which goes on after each.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use capconduit_transcriber_protocol::FailureCode::{
    self, Silent, Truncated, Unreadable, UnsupportedFormat,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{Outcome, Transcriber, fixture, sound, write_wav};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.at(name), bytes).unwrap();
        self.at(name)
    }

    fn wav(&self, name: &str, channels: u16, samples: &[i16]) -> PathBuf {
        write_wav(&self.at(name), 8000, channels, samples);
        self.at(name)
    }
}

fn heard(transcriber: &mut Transcriber, path: &Path) -> Outcome {
    transcriber.transcribe(&["en"], &[(path, 0, "caller")])
}

#[test]
fn each_bad_file_fails_with_its_own_code_and_says_what_it_is() {
    let files = Files::new();
    let good = fs::read(fixture("en_digits.wav")).unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    mknodat(CWD, files.at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = UnixListener::bind(files.at("socket")).unwrap();
    std::os::unix::fs::symlink(files.at("loop"), files.at("loop")).unwrap();
    let cases = [
        (files.bytes("empty", b""), Truncated, "the file is empty"),
        (files.bytes("begun", b"RIFF"), Truncated, "4 bytes"),
        (
            files.bytes("half", &good[..good.len() / 2]),
            Truncated,
            "there should be 81834 bytes of sound and there are 40895",
        ),
        (
            files.bytes("huge", &changed(40, &[0xfe, 0xff, 0xff, 0xff])),
            Truncated,
            "4294967294 bytes",
        ),
        (
            files.bytes("header", &good[..30]),
            Truncated,
            "\"fmt \" should have 16 bytes",
        ),
        (
            files.bytes("text", b"hello, this is no sound at all"),
            UnsupportedFormat,
            "begins with \"hello, this ",
        ),
        (
            files.bytes("ogg", b"OggS\0\x02\0\0\0\0\0\0"),
            UnsupportedFormat,
            "OggS",
        ),
        (
            files.bytes("eight", &changed(34, &[8])),
            UnsupportedFormat,
            "8-bit samples",
        ),
        (
            files.bytes("float", &changed(20, &[3])),
            UnsupportedFormat,
            "floating point",
        ),
        (
            files.bytes("alaw", &changed(20, &[6])),
            UnsupportedFormat,
            "A-law",
        ),
        (
            files.bytes("mulaw", &changed(20, &[7])),
            UnsupportedFormat,
            "mu-law",
        ),
        (
            files.bytes("none", &changed(22, &[0])),
            UnsupportedFormat,
            "0 channels",
        ),
        (
            files.bytes("three", &changed(22, &[3])),
            UnsupportedFormat,
            "3 channels",
        ),
        (
            files.bytes("slow", &changed(24, &7999_u32.to_le_bytes())),
            UnsupportedFormat,
            "7999 Hz",
        ),
        (
            files.bytes("fast", &changed(24, &48_001_u32.to_le_bytes())),
            UnsupportedFormat,
            "48001 Hz",
        ),
        (
            files.bytes("still", &changed(24, &0_u32.to_le_bytes())),
            UnsupportedFormat,
            "0 Hz",
        ),
        (files.0.path().to_owned(), UnsupportedFormat, "a directory"),
        (files.at("pipe"), UnsupportedFormat, "a named pipe"),
        (files.at("socket"), UnsupportedFormat, "a socket"),
        ("/dev/zero".into(), UnsupportedFormat, "a device"),
        (files.at("absent"), Unreadable, "No such file"),
        (files.at("loop"), Unreadable, "symbolic links"),
        (
            files.wav("no-samples", 1, &[]),
            Silent,
            "nothing can be heard",
        ),
        (
            files.wav("zeros", 1, &vec![0; 16_000]),
            Silent,
            "nothing can be heard",
        ),
        (
            files.wav("idle", 1, &[8, -8].repeat(8000)),
            Silent,
            "nothing can be heard",
        ),
    ];
    let mut transcriber = Transcriber::start();
    for (path, code, part) in cases {
        let outcome = heard(&mut transcriber, &path);
        let Outcome::Failed(found, message) = outcome else {
            panic!("{}: {outcome:?}", path.display());
        };
        assert_eq!(found, code, "{message}");
        assert!(message.contains(part), "{message}");
    }
    let whole = heard(&mut transcriber, &fixture("en_digits.wav")).done();
    assert!(whole.text().ends_with("eight nine"));
}

#[test]
fn a_file_nobody_may_read_is_unreadable() {
    use std::os::unix::fs::PermissionsExt;
    // Root may read anything.
    if rustix::process::geteuid().is_root() {
        return;
    }
    let files = Files::new();
    let path = files.wav("secret", 1, &[1; 8000]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let message = heard(&mut Transcriber::start(), &path).failed(FailureCode::Unreadable);
    assert!(message.contains("Permission denied"), "{message}");
}

#[test]
fn a_recording_whose_writer_died_is_heard_to_its_end() {
    let files = Files::new();
    let mut transcriber = Transcriber::start();
    let good = fs::read(fixture("en_digits.wav")).unwrap();
    for length in [0, u32::MAX] {
        let mut unfinished = good.clone();
        unfinished[4..8].copy_from_slice(&length.to_le_bytes());
        unfinished[40..44].copy_from_slice(&length.to_le_bytes());
        // Half a sample at the end, as it comes.
        unfinished.push(1);
        let path = files.bytes("unfinished", &unfinished);
        let transcript = heard(&mut transcriber, &path).done();
        assert_eq!(
            transcript.text(),
            "zero one two three four five six seven eight nine"
        );
    }
}

#[test]
fn length_is_checked_before_anything_is_heard() {
    let mut transcriber = Transcriber::start();
    let path = fixture("en_digits.wav");
    let tracks = [(path.as_path(), 0, "caller")];
    let message = transcriber
        .transcribe_at_most(&["en"], &tracks, 5)
        .failed(FailureCode::TooLong);
    assert!(
        message.contains("is 6 s long and at most 5 s are taken"),
        "{message}"
    );
    transcriber.transcribe_at_most(&["en"], &tracks, 6).done();

    // What a header claims counts, not what would have to be read.
    let files = Files::new();
    let sparse = files.wav("sparse", 1, &[]);
    let file = fs::OpenOptions::new().write(true).open(&sparse).unwrap();
    file.set_len(3 << 30).unwrap();
    transcriber
        .transcribe_at_most(&["en"], &[(&sparse, 0, "caller")], 7200)
        .failed(FailureCode::TooLong);
}

#[test]
fn one_silent_leg_of_two_is_normal_and_one_bad_leg_fails_the_job() {
    let files = Files::new();
    let mut transcriber = Transcriber::start();
    let silent = files.wav("silent", 1, &vec![0; 40_000]);
    let spoken = fixture("en_words.wav");
    let transcript = transcriber
        .transcribe(&["en"], &[(&silent, 0, "caller"), (&spoken, 0, "agent")])
        .done();
    assert_eq!(transcript.text_of("caller"), "");
    assert!(transcript.text_of("agent").starts_with("hello yes"));
    assert_eq!(transcript.audio_ms, 6071);
    transcriber
        .transcribe(&["en"], &[(&silent, 0, "caller"), (&silent, 0, "agent")])
        .failed(FailureCode::Silent);
    let bad = files.bytes("bad", b"RIFF");
    transcriber
        .transcribe(&["en"], &[(&spoken, 0, "caller"), (&bad, 0, "agent")])
        .failed(FailureCode::Truncated);
    let message = transcriber
        .transcribe(&["en"], &[(&spoken, 1, "caller")])
        .failed(FailureCode::UnsupportedFormat);
    assert!(message.contains("1 channel"), "{message}");
}

#[test]
fn jobs_that_ask_for_nothing_are_refused() {
    let mut transcriber = Transcriber::start();
    transcriber
        .transcribe(&["en"], &[])
        .failed(FailureCode::UnsupportedFormat);
    transcriber
        .transcribe(&[], &[(&fixture("en_digits.wav"), 0, "caller")])
        .failed(FailureCode::ModelUnusable);
}

#[test]
fn a_file_that_shrinks_under_the_reader_is_truncated() {
    let files = Files::new();
    let hour: Vec<i16> = sound("en_digits.wav").repeat(120);
    let path = files.wav("shrinking", 1, &hour);
    let mut transcriber = Transcriber::start();
    let request = serde_json::json!({"type": "transcribe", "job": 11, "languages": ["en"], "max_seconds": 7200,
        "tracks": [{"path": path, "channel": 0, "speaker": "caller"}]});
    transcriber.write(format!("{request}\n").as_bytes());
    // Its first answer comes when the header has been read.
    transcriber.answer();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1000).unwrap();
    let message = transcriber.outcome(11).failed(FailureCode::Truncated);
    assert!(message.contains("shorter while it was read"), "{message}");
}
