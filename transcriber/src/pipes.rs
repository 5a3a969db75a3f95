//! Requests in and answers out, a line each.
//!
//! All in one thread: with a second one alive, each of the many small allocations of the recogniser and each of its
//! shared pointers is atomic, which costs some percent. That nobody waits any more is seen when answering: progress is
//! told every second. (The signal that Linux can send at a parent's death would come at the death of the parent's
//! *thread* that started this process, which may be one of a pool.)

use std::io::{self, BufRead, BufReader, Read, StdinLock, Write};

use capconduit_transcriber_protocol::{Answer, MAX_LINE, Request, Word};
use rustix::process::{Pid, getppid};
use thiserror::Error;

/// Why there is nothing more to be said.
#[derive(Debug, Error)]
pub enum PipeError {
    /// Standard input.
    #[error("cannot read requests")]
    Read(#[source] io::Error),
    /// A line beyond all bounds.
    #[error("a request of more than {MAX_LINE} bytes is not taken")]
    TooLong,
    /// Not a request.
    #[error("not a request of this protocol")]
    NotARequest(#[source] serde_json::Error),
    /// Standard output.
    #[error("cannot write answers")]
    Write(#[source] io::Error),
    /// Nobody to answer.
    #[error("the process that started this is gone")]
    Alone,
    /// An answer that cannot be written down.
    #[error("cannot put an answer into a line")]
    Encode(#[source] serde_json::Error),
}

/// What is asked for.
pub struct Requests {
    input: BufReader<StdinLock<'static>>,
    line: Vec<u8>,
}

impl Requests {
    /// On standard input.
    pub fn new() -> Self {
        Self {
            input: BufReader::new(io::stdin().lock()),
            line: Vec::new(),
        }
    }

    /// The next one; none when there are no more.
    pub fn next(&mut self) -> Result<Option<Request>, PipeError> {
        loop {
            self.line.clear();
            let mut bounded = (&mut self.input).take(MAX_LINE as u64 + 1);
            let read = bounded
                .read_until(b'\n', &mut self.line)
                .map_err(PipeError::Read)?;
            if read == 0 {
                return Ok(None);
            }
            if read > MAX_LINE {
                return Err(PipeError::TooLong);
            }
            if !self.line.trim_ascii().is_empty() {
                let request = serde_json::from_slice(&self.line);
                return request.map(Some).map_err(PipeError::NotARequest);
            }
        }
    }
}

/// What is answered.
pub struct Answers {
    output: io::Stdout,
    parent: Option<Pid>,
}

impl Answers {
    /// On standard output.
    pub fn new() -> Self {
        Self {
            output: io::stdout(),
            parent: getppid(),
        }
    }

    /// Sends one.
    pub fn send(&mut self, answer: &Answer) -> Result<(), PipeError> {
        let line = serde_json::to_vec(answer).map_err(PipeError::Encode)?;
        self.write(line)
    }

    /// Sends what was said, as several utterances if it is too much for one line.
    pub fn utterance(
        &mut self,
        job: i64,
        speaker: &str,
        language: &str,
        words: Vec<Word>,
    ) -> Result<(), PipeError> {
        let mut waiting = vec![words];
        while let Some(words) = waiting.pop() {
            let answer = Answer::Utterance {
                job,
                speaker: speaker.to_owned(),
                language: language.to_owned(),
                words,
            };
            let line = serde_json::to_vec(&answer).map_err(PipeError::Encode)?;
            let Answer::Utterance { mut words, .. } = answer else {
                continue;
            };
            if line.len() < MAX_LINE {
                self.write(line)?;
            } else if words.len() > 1 {
                let later = words.split_off(words.len() / 2);
                waiting.extend([later, words]);
            } else {
                eprintln!("capconduit-transcriber: a word too long for a line was left out");
            }
        }
        Ok(())
    }

    fn write(&mut self, mut line: Vec<u8>) -> Result<(), PipeError> {
        if getppid() != self.parent {
            return Err(PipeError::Alone);
        }
        line.push(b'\n');
        let mut output = self.output.lock();
        output
            .write_all(&line)
            .and_then(|()| output.flush())
            .map_err(PipeError::Write)
    }
}
