//! One transcriber process: how it is started, asked, listened to, and ended.
//!
//! It is another's program as far as trust goes: it gets no environment, its lines are bounded, what it says to
//! people reaches the log in small doses, it can read nothing but models and what is laid out for it, and it does not
//! outlive its [`Process`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use capconduit_transcriber_protocol::{
    Answer, EXIT_WITHOUT_LIBRARY, MAX_LINE, Request, Track, VERSION,
};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::desk::{Desk, LaidOut};

/// Name of the program, beside this one if nothing else is configured.
pub const PROGRAM: &str = "capconduit-transcriber";

/// How long a process may take from its start to its first word.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to read a request.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long a process that closed its output may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Answers that wait for us; then the process waits.
const ANSWERS: usize = 64;

/// Longest line for people that is looked at.
const MAX_REMARK: usize = 2_000;

/// So many lines for people reach the log in each [`REMARKS_PERIOD`] of a process.
const REMARKS: u32 = 10;

/// See [`REMARKS`].
const REMARKS_PERIOD: Duration = Duration::from_secs(30);

/// Whether it was said that transcribers are not in a whole sandbox.
static TOLD: AtomicBool = AtomicBool::new(false);

/// How to start a transcriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// What it may allocate, in bytes.
    pub memory: u64,
}

/// Why there is no transcriber.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such program.
    #[error(
        "there is no transcriber {}: install it there, or name it with transcription.worker (see \
         docs/transcription.md)", .0.display()
    )]
    Missing(PathBuf),
    /// libvosk is missing.
    #[error(
        "the transcriber {} does not find libvosk.so: put it into ../lib/capconduit beside the transcriber's \
         directory, in a checkout with scripts/fetch-vosk (see docs/transcription.md)", .0.display()
    )]
    Library(PathBuf),
    /// It cannot be run.
    #[error("the transcriber {} cannot be started", path.display())]
    Spawn {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No room for the recordings it is to read.
    #[error("cannot make a directory for recordings in {}", path.display())]
    Desk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is of another version.
    #[error(
        "the transcriber {} speaks version {found} of the protocol, this program version {VERSION}: install the \
         one that came with this program", path.display()
    )]
    Protocol {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It ended, or did not say that it is ready.
    #[error("the transcriber {} {problem}", path.display())]
    NotReady {
        /// The program.
        path: PathBuf,
        /// What it did.
        problem: String,
    },
}

impl StartError {
    /// It was there and could be run, and then something else was wrong: another start may go well.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Spawn { .. } | Self::NotReady { .. } | Self::Desk { .. }
        )
    }
}

/// How a process went away in the middle of something, or why it had to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Death {
    /// Of itself: a signal such as that of an assertion, or an exit.
    #[error("the transcriber crashed ({0})")]
    Crashed(String),
    /// Somebody or the kernel, short of memory perhaps, ended it.
    #[error("the transcriber was killed from outside (signal {0})")]
    Killed(i32),
    /// It said what it should not.
    #[error("the transcriber does not keep to the protocol: {0}")]
    Protocol(String),
    /// It said nothing any more.
    #[error("the transcriber gave no sign of life for {} s", .0.as_secs())]
    Silent(Duration),
}

/// A running transcriber. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    answers: mpsc::Receiver<Result<Answer, String>>,
    loaded: BTreeSet<String>,
    /// Version of libvosk.
    pub engine_version: String,
    /// What the kernel lacks for its sandbox, in words.
    pub lacks: Vec<String>,
    /// Where it finds recordings.
    desk: Desk,
}

impl Process {
    /// Starts a transcriber with these models and waits until it is ready.
    pub async fn start(
        program: &Program,
        models: &BTreeMap<String, PathBuf>,
    ) -> Result<Self, StartError> {
        let path = || program.path.clone();
        let desk = Desk::new().map_err(|source| StartError::Desk {
            path: std::env::temp_dir(),
            source,
        })?;
        let mut command = Command::new(&program.path);
        for (language, directory) in models {
            let mut model = OsString::from(format!("{language}="));
            model.push(directory);
            command.arg("--model").arg(model);
        }
        command
            .arg("--readable")
            .arg(desk.path())
            .args(["--memory-limit", &program.memory.to_string()])
            .env_clear()
            .current_dir("/")
            // It takes a session of its own: a terminal's Ctrl-C is for us, who put the jobs back first.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StartError::Missing(path()),
            _ => StartError::Spawn {
                path: path(),
                source,
            },
        })?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            let source = io::Error::other("no pipes");
            return Err(StartError::Spawn {
                path: path(),
                source,
            });
        };
        let (sender, answers) = mpsc::channel(ANSWERS);
        // Both end with the process, whose ends of the pipes they read.
        tokio::spawn(read_answers(stdout, sender));
        tokio::spawn(pass_on_remarks(stderr, child.id().unwrap_or_default()));
        let mut process = Self {
            child,
            stdin,
            answers,
            loaded: BTreeSet::new(),
            engine_version: String::new(),
            lacks: Vec::new(),
            desk,
        };
        let not_ready = |problem: String| StartError::NotReady {
            path: path(),
            problem,
        };
        match process.answer_within(START_LIMIT).await {
            Ok(Answer::Ready {
                protocol: VERSION,
                engine_version,
                lacks,
            }) => {
                if !lacks.is_empty() && !TOLD.swap(true, Ordering::Relaxed) {
                    warn!(
                        lacks = lacks.join("; "),
                        "transcribers are not in a whole sandbox here: use models of publishers that you trust"
                    );
                }
                process.engine_version = engine_version;
                process.lacks = lacks;
                Ok(process)
            }
            Ok(Answer::Ready { protocol, .. }) => Err(StartError::Protocol {
                path: path(),
                found: protocol,
            }),
            Ok(_) => Err(not_ready(
                "begins with something else than that it is ready".into(),
            )),
            Err(death) => Err(match process.status().await {
                Some(status) if status.code() == Some(EXIT_WITHOUT_LIBRARY) => {
                    StartError::Library(path())
                }
                Some(status) => not_ready(format!("ended before it was ready ({status})")),
                None => not_ready(death.to_string()),
            }),
        }
    }

    /// Its number at the kernel.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Puts the files of a job where it can read them, which is nowhere else. They are taken away with what is returned.
    pub async fn lay_out(&self, tracks: &mut [Track]) -> io::Result<LaidOut> {
        self.desk.lay_out(tracks).await
    }

    /// Asks for something.
    pub async fn ask(&mut self, request: &Request) -> Result<(), Death> {
        let line = serde_json::to_string(request).map_err(|e| Death::Protocol(e.to_string()))?;
        if line.len() >= MAX_LINE {
            return Err(Death::Protocol("a request is too long".to_owned()));
        }
        let line = line + "\n";
        match timeout(WRITE_LIMIT, self.stdin.write_all(line.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.death().await),
            Err(_) => Err(Death::Silent(WRITE_LIMIT)),
        }
    }

    /// The next answer. May be dropped and called again: no answer is lost.
    pub async fn answer_within(&mut self, limit: Duration) -> Result<Answer, Death> {
        match timeout(limit, self.answers.recv()).await {
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(problem))) => Err(Death::Protocol(problem)),
            Ok(None) => Err(self.death().await),
            Err(_) => Err(Death::Silent(limit)),
        }
    }

    /// Whether it has the models of all these languages in memory.
    pub fn has_loaded(&self, languages: &[String]) -> bool {
        languages.iter().all(|l| self.loaded.contains(l))
    }

    /// It has the models of these languages in memory.
    pub(super) fn note_loaded(&mut self, languages: &[String]) {
        self.loaded.extend(languages.iter().cloned());
    }

    /// Whether it has ended meanwhile.
    pub fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended, as it seems to have.
    async fn death(&mut self) -> Death {
        let Some(status) = self.status().await else {
            return Death::Protocol("it closed its output and went on".to_owned());
        };
        match status.signal() {
            // KILL, TERM, INT, HUP: nobody sends these to himself.
            Some(signal @ (9 | 15 | 2 | 1)) => Death::Killed(signal),
            _ => Death::Crashed(status.to_string()),
        }
    }

    async fn status(&mut self) -> Option<ExitStatus> {
        let ended = timeout(END_LIMIT, self.child.wait()).await;
        ended.ok().and_then(Result::ok)
    }

    /// Ends it now and waits until it is gone.
    pub async fn kill(mut self) {
        if timeout(END_LIMIT, self.child.kill()).await.is_err() {
            warn!("a transcriber does not die; it is left to the kernel");
        }
    }
}

/// The transcriber's program: the one configured, or the one beside this program.
pub fn program_path(configured: Option<&Path>) -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.with_file_name(PROGRAM));
    let configured = configured.map(Path::to_owned);
    configured.or_else(beside).unwrap_or_else(|| PROGRAM.into())
}

async fn read_answers(
    stdout: impl AsyncRead + Unpin,
    answers: mpsc::Sender<Result<Answer, String>>,
) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut stdout).take(MAX_LINE as u64 + 1);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let answer = match line.strip_suffix(b"\n") {
            Some(line) => {
                serde_json::from_slice(line).map_err(|e| format!("a line is no answer: {e}"))
            }
            // The end in the middle of a line: how it ended says more.
            None if line.len() <= MAX_LINE => return,
            None => Err("a line is too long".to_owned()),
        };
        let broken = answer.is_err();
        if answers.send(answer).await.is_err() || broken {
            return;
        }
    }
}

/// Passes on what it says to people, until it ends.
async fn pass_on_remarks(stderr: impl AsyncRead + Unpin, process: u32) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    let (mut since, mut said, mut kept_back) = (Instant::now(), 0, 0_u32);
    loop {
        line.clear();
        let mut bounded = (&mut stderr).take(MAX_REMARK as u64);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if since.elapsed() > REMARKS_PERIOD {
            if kept_back > 0 {
                warn!(
                    process,
                    lines = kept_back,
                    "a transcriber said more than is logged"
                );
            }
            (since, said, kept_back) = (Instant::now(), 0, 0);
        }
        let text = String::from_utf8_lossy(&line);
        let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
        if text.is_empty() {
            continue;
        }
        if said < REMARKS {
            said += 1;
            warn!(process, remark = text, "a transcriber has something to say");
        } else {
            kept_back += 1;
        }
    }
    if kept_back > 0 {
        warn!(
            process,
            lines = kept_back,
            "a transcriber said more than is logged"
        );
    }
}
