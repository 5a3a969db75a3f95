//! Has a transcriber try a model: only it can tell whether a model works, and only it may die of one.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use capconduit_transcriber_protocol::{Answer, EXIT_WITHOUT_LIBRARY, MAX_LINE, Request};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a large model may take to load from a slow disk.
const LIMIT: Duration = Duration::from_secs(300);

/// How long a transcriber that is done may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// What becomes of a model in a transcriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// It works.
    Passed,
    /// It does not, for this reason.
    Unusable(String),
    /// It could not be tried, for this reason.
    Untried(String),
}

/// The transcriber's program: the one configured, or the one beside this program.
pub fn program(configured: Option<&Path>) -> PathBuf {
    let name = "capconduit-transcriber";
    let beside = || Some(std::env::current_exe().ok()?.with_file_name(name));
    let configured = configured.map(Path::to_owned);
    configured.or_else(beside).unwrap_or_else(|| name.into())
}

/// The program that tries models.
#[derive(Debug, Clone)]
pub struct Transcriber {
    /// Its file.
    pub program: PathBuf,
    /// What it may allocate, in bytes: as much as when it works.
    pub memory: u64,
}

/// Has a transcriber load the model and hear a second of silence.
pub async fn try_out(transcriber: &Transcriber, language: &str, model: &Path) -> Trial {
    let program = &transcriber.program;
    let mut argument = std::ffi::OsString::from(format!("{language}="));
    argument.push(model);
    let spawned = Command::new(program)
        .arg("--model")
        .arg(argument)
        .arg("--memory-limit")
        .arg(transcriber.memory.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            return Trial::Untried(format!(
                "{} cannot be started ({error}): install it there or set transcription.worker",
                program.display()
            ));
        }
    };
    let complaints = tokio::spawn(last_words(child.stderr.take()));
    let trial = timeout(LIMIT, converse(&mut child, language)).await;
    // Its standard input is closed by now, and with that it ends.
    let status = if let Ok(status) = timeout(ENDING, child.wait()).await {
        status.ok()
    } else {
        let _ = child.kill().await;
        None
    };
    let complaints = timeout(ENDING, complaints).await;
    let complaints = complaints.ok().and_then(Result::ok).unwrap_or_default();
    match trial {
        Ok(Talk::Done) => Trial::Passed,
        Ok(Talk::Failed(message)) => Trial::Unusable(message),
        Ok(Talk::Ended { ready }) => ended(program, ready, status, &complaints),
        Err(_) => Trial::Unusable(format!(
            "the transcriber did not come to an end with it within {} s",
            LIMIT.as_secs()
        )),
    }
}

enum Talk {
    Done,
    Failed(String),
    /// It ended, or spoke nonsense, before there was a result.
    Ended {
        ready: bool,
    },
}

async fn converse(child: &mut Child, language: &str) -> Talk {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Talk::Ended { ready: false };
    };
    let mut stdout = BufReader::new(stdout.take(4 * MAX_LINE as u64));
    if !matches!(answer(&mut stdout).await, Some(Answer::Ready { .. })) {
        return Talk::Ended { ready: false };
    }
    let request = Request::Check {
        job: 1,
        language: language.to_owned(),
    };
    let Ok(mut line) = serde_json::to_vec(&request) else {
        return Talk::Ended { ready: true };
    };
    line.push(b'\n');
    if stdin.write_all(&line).await.is_err() {
        return Talk::Ended { ready: true };
    }
    loop {
        match answer(&mut stdout).await {
            Some(Answer::Done { .. }) => return Talk::Done,
            Some(Answer::Failed { message, .. }) => return Talk::Failed(message),
            Some(_) => {}
            None => return Talk::Ended { ready: true },
        }
    }
}

async fn answer(stdout: &mut BufReader<tokio::io::Take<ChildStdout>>) -> Option<Answer> {
    let mut line = String::new();
    stdout.read_line(&mut line).await.ok()?;
    serde_json::from_str(&line).ok()
}

fn ended(program: &Path, ready: bool, status: Option<ExitStatus>, complaints: &str) -> Trial {
    let said = match complaints.trim() {
        "" => String::new(),
        said => format!("; it said: {said}"),
    };
    let code = status.and_then(|status| status.code());
    let signal = status.and_then(|status| status.signal());
    match (code, signal) {
        (Some(EXIT_WITHOUT_LIBRARY), _) => Trial::Untried(format!(
            "{} does not find libvosk.so: docs/transcription.md says how to install it{said}",
            program.display()
        )),
        (_, Some(signal)) if ready => Trial::Unusable(format!(
            "the transcriber died of signal {signal} with it{said}"
        )),
        _ if ready => Trial::Unusable(format!("the transcriber gave up on it{said}")),
        _ => Trial::Untried(format!(
            "{} ended before it was ready{said}",
            program.display()
        )),
    }
}

/// The end of what it says to people.
async fn last_words(stderr: Option<tokio::process::ChildStderr>) -> String {
    const KEPT: usize = 500;
    let Some(mut stderr) = stderr else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let words = lines.join("; ");
    words.chars().filter(|c| !c.is_control()).collect()
}
