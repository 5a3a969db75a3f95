//! Recordings to transcribe, daemons that do it, and their transcribers to be killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use capconduit::recordings::object_storage;
use capconduit::recordings::object_storage::Storage;
use capconduit::transcripts::models::{Places, View};
use capconduit::transcripts::process::Program;
use capconduit::transcripts::{Service, Settings, Status};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{TestDb, eventually};

/// Longer than any of this takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Files in `tests/fixtures/vosk`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/vosk")
        .join(name)
}

/// The real transcriber.
pub fn transcriber() -> PathBuf {
    let program =
        Path::new(env!("CARGO_BIN_EXE_capconduit")).with_file_name("capconduit-transcriber");
    assert!(
        program.exists(),
        "{} is not built: run scripts/fetch-vosk, then cargo build -p capconduit-transcriber (with the profile of \
         this test)",
        program.display()
    );
    program
}

/// A channel of a WAV file with two, as a file of its own.
fn channel_of(stereo: &Path, channel: usize) -> Vec<u8> {
    let bytes = std::fs::read(stereo).unwrap();
    let data = bytes.windows(4).position(|w| w == b"data").unwrap() + 8;
    let samples: Vec<u8> = bytes[data..]
        .chunks_exact(4)
        .flat_map(|frame| [frame[2 * channel], frame[2 * channel + 1]])
        .collect();
    wav(&samples)
}

/// A WAV file at 8 kHz.
pub fn wav(samples: &[u8]) -> Vec<u8> {
    let length = samples.len() as u32;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((length + 36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(8_000_u32.to_le_bytes());
    file.extend(16_000_u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend(samples);
    file
}

/// What is said in a mono fixture, so many times over.
pub fn repeated(name: &str, times: usize) -> Vec<u8> {
    let bytes = std::fs::read(fixture(name)).unwrap();
    let data = bytes.windows(4).position(|w| w == b"data").unwrap() + 8;
    wav(&bytes[data..].repeat(times))
}

/// A database, a storage and models.
pub struct Lab {
    pub db: TestDb,
    pub directory: tempfile::TempDir,
}

impl Lab {
    pub async fn new() -> Self {
        let db = TestDb::new().await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("storage")).unwrap();
        let models = directory.path().join("models");
        // As `capconduit model install` leaves them.
        for language in ["en", "hi"] {
            let name = format!("vosk-model-tiny-{language}-digits-8k");
            copy(&fixture(&name), &models.join(&name));
            std::os::unix::fs::symlink(&name, models.join(language)).unwrap();
        }
        Self { db, directory }
    }

    pub fn model(&self, language: &str) -> PathBuf {
        self.directory.path().join("models").join(language)
    }

    pub fn storage_root(&self) -> PathBuf {
        self.directory.path().join("storage")
    }

    /// A stored recording with its job in the queue; its number.
    pub async fn record(&self, language: &str, mask: bool, caller: &[u8], agent: &[u8]) -> i64 {
        let id: i64 = self
            .db
            .one(&format!(
                "insert into recordings (call_id, attempt, stem, state, language, mask_numbers, started_at,
                     expected_at, stored_at, location)
                 select n, 1, 'r' || n, 'stored', '{language}', {mask}, now(), now(), now(), '{}'
                 from (select coalesce(max(recording_id), 0) + 1 as n from recordings) m
                 returning recording_id",
                self.storage_root().display()
            ))
            .await;
        for (leg, bytes) in [("caller", caller), ("agent", agent)] {
            std::fs::write(self.storage_root().join(format!("r{id}-{leg}.wav")), bytes).unwrap();
            self.db
                .run(&format!(
                    "insert into recording_files (recording_id, leg, object_key, bytes, sha256, duration_ms)
                     values ({id}, '{leg}', 'r{id}-{leg}.wav', {length}, '', {length} / 16)",
                    length = bytes.len()
                ))
                .await;
        }
        self.db
            .run(&format!(
                "insert into transcription_jobs (recording_id, call_id, language, state, not_before, created_at)
                 values ({id}, {id}, '{language}', 'queued', now(), now())"
            ))
            .await;
        id
    }

    /// A call of which every word is known.
    pub async fn record_call(&self) -> i64 {
        let stereo = fixture("en_call_stereo.wav");
        let (caller, agent) = (channel_of(&stereo, 0), channel_of(&stereo, 1));
        self.record("en", false, &caller, &agent).await
    }

    /// A short one.
    pub async fn record_words(&self) -> i64 {
        let words = std::fs::read(fixture("en_words.wav")).unwrap();
        self.record("en", false, &words, &wav(&[0; 1_600])).await
    }

    /// The real transcriber, as nice as the tests and no nicer.
    fn eager_transcriber(&self) -> PathBuf {
        // Links, not copies: a file just written may be still open in a child that another test starts.
        let link = |name: &str, file: &Path| {
            let path = self.directory.path().join(name);
            if !path.exists() {
                std::os::unix::fs::symlink(file, &path).unwrap();
            }
            path
        };
        link("capconduit-transcriber", &transcriber());
        link("eager-transcriber", &fixture("eager-transcriber"))
    }

    pub fn settings(&self, node: &str) -> Settings {
        let program = Program {
            path: self.eager_transcriber(),
            memory: 2 << 30,
        };
        let places = Places {
            directory: self.directory.path().join("models"),
            named: BTreeMap::new(),
        };
        let quick = Duration::from_millis(100);
        Settings {
            poll: Duration::from_millis(50),
            lease: Duration::from_secs(10),
            first_pause: quick,
            rounds: quick,
            try_models: quick,
            ..Settings::new(node, program, places)
        }
    }

    pub fn start(&self, settings: Settings) -> Running {
        let storage = object_storage::Settings::Directory(self.storage_root());
        let storage = Storage::open(&storage).unwrap();
        let service = Service::new(settings, self.db.store(), storage);
        let stop = CancellationToken::new();
        let view = service.view();
        Running {
            view,
            task: tokio::spawn(service.run(stop.clone())),
            stop,
        }
    }

    /// Jobs in a state.
    pub async fn jobs(&self, state: &str) -> i64 {
        let sql = format!("select count(*) from transcription_jobs where state = '{state}'");
        self.db.one(&sql).await
    }

    /// Waits until so many jobs are in a state; not for ever where their number stays the same.
    pub async fn wait_for(&self, state: &str, jobs: i64) {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let now = self.jobs(state).await;
            if now == jobs {
                break;
            }
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                let all: String = self
                    .db
                    .one(
                        "select coalesce(string_agg(format('%s %s %s %s', job_id, state, attempts, error_message),
                             '; ' order by job_id), '') from transcription_jobs",
                    )
                    .await;
                panic!("not {jobs} {state}: {all}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What was said, as `speaker: text`, a segment a line.
    pub async fn said(&self, recording: i64) -> String {
        let sql = format!(
            "select coalesce(string_agg(speaker || ': ' || text, E'\\n' order by segment), '')
             from transcript_segments where recording_id = {recording}"
        );
        self.db.one(&sql).await
    }

    /// The transcribers that work with the models of this lab.
    pub fn processes(&self) -> Vec<u32> {
        let models = self.directory.path().join("models");
        let models = models.to_str().unwrap();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let command = std::fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).into_owned();
            (command.contains("--memory-limit") && command.contains(models)).then_some(id)
        })
        .collect()
    }

    /// The kernel may take a moment to bury what was killed.
    pub async fn wait_for_no_process(&self) {
        eventually("no process", async || self.processes().is_empty()).await;
    }

    /// Ends them all, as the kernel does when memory is short; says how many there were.
    pub fn kill_processes(&self) -> usize {
        let processes = self.processes();
        for id in &processes {
            let process = i32::try_from(*id).ok().and_then(Pid::from_raw);
            let _ = kill_process(process.expect("a process id"), Signal::KILL);
        }
        processes.len()
    }
}

/// A daemon's part in transcribing.
pub struct Running {
    pub view: watch::Receiver<View>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Running {
    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("ends")
            .expect("does not panic");
    }

    /// Waits until it stands so.
    pub async fn wait_for(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let reached = self.view.wait_for(|view| wanted(&Status::of(view)));
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        let view = reached.unwrap_or_else(|_| panic!("never {what}"));
        Status::of(&view.expect("runs"))
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
