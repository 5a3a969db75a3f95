//! Requests in and answers out, a line each.
//!
//! Requests are read in a thread of their own, so that the end of them is seen while a job is under way: if they ended
//! because the process that sent them is gone, nobody waits for the job, and this process ends at once. (The signal
//! that Linux can send at a parent's death would come at the death of the parent's *thread* that started this process,
//! which may be one of a pool.)

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use capconduit_transcriber_protocol::{Answer, MAX_LINE, Request, Word};
use rustix::process::getppid;
use thiserror::Error;

/// How often to look, after the last request, whether there is still somebody to answer.
const LOOK_FOR_PARENT: Duration = Duration::from_millis(200);

/// Why there is nothing more to be said.
#[derive(Debug, Error)]
pub enum PipeError {
    /// No thread to read in.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
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
    /// An answer that cannot be written down.
    #[error("cannot put an answer into a line")]
    Encode(#[source] serde_json::Error),
}

type Line = Result<Request, PipeError>;

/// What is asked for.
pub struct Requests {
    lines: Receiver<Line>,
}

impl Requests {
    /// Begins to read standard input.
    pub fn listen() -> Result<Self, PipeError> {
        let parent = getppid();
        let (sender, lines) = sync_channel(1);
        thread::Builder::new()
            .name("requests".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                read(&sender);
                // The jobs already taken are finished, unless their answers can reach nobody.
                drop(sender);
                loop {
                    thread::sleep(LOOK_FOR_PARENT);
                    if getppid() != parent {
                        eprintln!("capconduit-transcriber: the process that started this is gone");
                        std::process::exit(i32::from(crate::PROTOCOL));
                    }
                }
            })
            .map_err(PipeError::Thread)?;
        Ok(Self { lines })
    }

    /// The next one; none when there are no more.
    pub fn next(&mut self) -> Result<Option<Request>, PipeError> {
        self.lines.recv().ok().transpose()
    }
}

fn read(sender: &SyncSender<Line>) {
    let mut input = BufReader::new(io::stdin().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        let request = match (&mut input)
            .take(MAX_LINE as u64 + 1)
            .read_until(b'\n', &mut line)
        {
            Ok(0) => return,
            Ok(_) if line.len() > MAX_LINE => Err(PipeError::TooLong),
            Ok(_) if line.trim_ascii().is_empty() => continue,
            Ok(_) => serde_json::from_slice(&line).map_err(PipeError::NotARequest),
            Err(problem) => Err(PipeError::Read(problem)),
        };
        let last = request.is_err();
        if sender.send(request).is_err() || last {
            return;
        }
    }
}

/// What is answered.
pub struct Answers {
    output: io::Stdout,
}

impl Answers {
    /// On standard output.
    pub fn new() -> Self {
        Self {
            output: io::stdout(),
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
        line.push(b'\n');
        let mut output = self.output.lock();
        output
            .write_all(&line)
            .and_then(|()| output.flush())
            .map_err(PipeError::Write)
    }
}
