//! A transcriber to talk to, models to break and files to feed it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

use capconduit_transcriber_protocol::{
    Answer, EXIT_WITHOUT_LIBRARY, FailureCode, Job, Request, Track, Word,
};

/// Longer than this nothing takes, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub const EN: &str = "vosk-model-tiny-en-digits-8k";
pub const HI: &str = "vosk-model-tiny-hi-digits-8k";

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/vosk")
        .join(name)
}

/// What is said in the samples: file, language, channel, words.
pub fn samples() -> Vec<(String, String, u16, String)> {
    let text = fs::read_to_string(fixture("samples.tsv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            let channel = u16::from(fields[2] == "right");
            (
                fields[0].to_owned(),
                fields[1].to_owned(),
                channel,
                fields[3].to_owned(),
            )
        })
        .collect()
}

/// A running transcriber.
pub struct Transcriber {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    complaints: Option<thread::JoinHandle<String>>,
}

impl Transcriber {
    /// With both models.
    pub fn start() -> Self {
        Self::with(&[("en", &fixture(EN)), ("hi", &fixture(HI))])
    }

    pub fn with(models: &[(&str, &Path)]) -> Self {
        let transcriber = Self::starting(models, &[]);
        transcriber.expect_ready()
    }

    /// One that may not get as far as being ready. Its environment is empty, as under the daemon: what it finds it finds
    /// by its own run path.
    pub fn starting(models: &[(&str, &Path)], options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capconduit-transcriber"));
        for (language, directory) in models {
            command
                .arg("--model")
                .arg(format!("{language}={}", directory.display()));
        }
        Self::spawn(command.args(options))
    }

    /// One that may read the fixtures, and what tests write.
    pub fn spawn(command: &mut Command) -> Self {
        if command.get_program() != "sh" {
            command.arg("--readable").arg(fixture(""));
            command.arg("--readable").arg(std::env::temp_dir());
        }
        Self::spawn_bare(command)
    }

    /// As it is.
    pub fn spawn_bare(command: &mut Command) -> Self {
        let mut child = command
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, answers) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut errors = child.stderr.take().unwrap();
        let complaints = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            input: child.stdin.take(),
            child,
            answers,
            complaints: Some(complaints),
        }
    }

    pub fn expect_ready(mut self) -> Self {
        match self.answer() {
            Some(Answer::Ready {
                protocol,
                engine_version,
                lacks,
            }) => {
                if !lacks.is_empty() {
                    eprintln!("no whole sandbox here: {lacks:?}");
                }
                assert_eq!(protocol, capconduit_transcriber_protocol::VERSION);
                assert_eq!(engine_version, "0.3.45");
            }
            other => {
                let (status, complaints) = self.end();
                assert!(
                    status.code() != Some(EXIT_WITHOUT_LIBRARY),
                    "libvosk is missing: run scripts/fetch-vosk and try again ({complaints})"
                );
                panic!("{other:?} instead of ready, {status}: {complaints}");
            }
        }
        self
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub fn ask(&mut self, request: &Request) {
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        self.write(&line);
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// The next answer; none when there will be no more.
    pub fn answer(&mut self) -> Option<Answer> {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) => Some(serde_json::from_str(&line).unwrap_or_else(|problem| {
                panic!("not an answer ({problem}): {line}");
            })),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no answer for {PATIENCE:?}"),
        }
    }

    /// Asks for a transcription and waits for its end.
    pub fn transcribe(&mut self, languages: &[&str], tracks: &[(&Path, u16, &str)]) -> Outcome {
        self.transcribe_at_most(languages, tracks, 7200)
    }

    pub fn transcribe_at_most(
        &mut self,
        languages: &[&str],
        tracks: &[(&Path, u16, &str)],
        max_seconds: u32,
    ) -> Outcome {
        let job = Job {
            job: 11,
            languages: languages.iter().map(|&language| language.into()).collect(),
            tracks: tracks
                .iter()
                .map(|&(path, channel, speaker)| Track {
                    path: path.to_owned(),
                    channel,
                    speaker: speaker.to_owned(),
                })
                .collect(),
            max_seconds,
        };
        self.ask(&Request::Transcribe(job));
        self.outcome(11)
    }

    pub fn check(&mut self, language: &str) -> Outcome {
        self.ask(&Request::Check {
            job: 12,
            language: language.to_owned(),
        });
        self.outcome(12)
    }

    pub fn outcome(&mut self, number: i64) -> Outcome {
        let mut utterances = Vec::new();
        let mut progress = Vec::new();
        loop {
            match self.answer() {
                None => return Outcome::Died,
                Some(Answer::Progress {
                    job,
                    audio_ms,
                    total_ms,
                }) => {
                    assert_eq!(job, number);
                    progress.push((audio_ms, total_ms));
                }
                Some(Answer::Utterance {
                    job,
                    speaker,
                    language,
                    words,
                }) => {
                    assert_eq!(job, number);
                    assert!(!words.is_empty());
                    utterances.push(Utterance {
                        speaker,
                        language,
                        words,
                    });
                }
                Some(Answer::Done {
                    job,
                    audio_ms,
                    models,
                }) => {
                    assert_eq!(job, number);
                    return Outcome::Done(Transcript {
                        utterances,
                        progress,
                        audio_ms,
                        models,
                    });
                }
                Some(Answer::Failed { job, code, message }) => {
                    assert_eq!(job, number);
                    return Outcome::Failed(code, message);
                }
                Some(answer @ Answer::Ready { .. }) => panic!("unexpected: {answer:?}"),
            }
        }
    }

    /// Memory it holds, in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Waits for its end, which must come by itself.
    pub fn end(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let complaints = self.complaints.take().unwrap().join().unwrap();
        (status, complaints)
    }

    /// The signal it died of.
    pub fn signal(&mut self) -> Option<i32> {
        self.end().0.signal()
    }
}

impl Drop for Transcriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub enum Outcome {
    Done(Transcript),
    Failed(FailureCode, String),
    Died,
}

impl Outcome {
    pub fn done(self) -> Transcript {
        match self {
            Self::Done(transcript) => transcript,
            other => panic!("{other:?} instead of done"),
        }
    }

    /// Its message, given that it failed with this code.
    pub fn failed(self, expected: FailureCode) -> String {
        match self {
            Self::Failed(code, message) if code == expected => message,
            other => panic!("{other:?} instead of {expected:?}"),
        }
    }
}

#[derive(Debug)]
pub struct Transcript {
    pub utterances: Vec<Utterance>,
    pub progress: Vec<(u64, u64)>,
    pub audio_ms: u64,
    pub models: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct Utterance {
    pub speaker: String,
    pub language: String,
    pub words: Vec<Word>,
}

impl Transcript {
    pub fn words(&self) -> impl Iterator<Item = &Word> {
        self.utterances.iter().flat_map(|said| &said.words)
    }

    pub fn text(&self) -> String {
        text(self.words())
    }

    pub fn text_of(&self, speaker: &str) -> String {
        let by = |said: &&Utterance| said.speaker == speaker;
        text(
            self.utterances
                .iter()
                .filter(by)
                .flat_map(|said| &said.words),
        )
    }
}

pub fn text<'a>(words: impl Iterator<Item = &'a Word>) -> String {
    words
        .map(|word| word.word.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A copy of a model, to be changed.
pub struct ModelCopy {
    directory: tempfile::TempDir,
}

impl ModelCopy {
    pub fn of(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy(&fixture(name), directory.path());
        Self { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, file: &str, content: &[u8]) {
        fs::write(self.path().join(file), content).unwrap();
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path().join(file)).unwrap()
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path().join(file)).unwrap();
    }

    pub fn replace(&self, file: &str, old: &str, new: &str) {
        let text = String::from_utf8(self.read(file)).unwrap();
        assert!(text.contains(old));
        self.write(file, text.replace(old, new).as_bytes());
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// The samples of a mono file.
pub fn sound(name: &str) -> Vec<i16> {
    let reader = hound::WavReader::open(fixture(name)).unwrap();
    reader.into_samples().map(Result::unwrap).collect()
}

pub fn write_wav(path: &Path, rate: u32, channels: u16, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in samples {
        writer.write_sample(*sample).unwrap();
    }
    writer.finalize().unwrap();
}
