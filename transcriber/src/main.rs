//! Transcribes recordings with Vosk for the daemon: `README.md` beside the package's manifest tells how.
//!
//! Vosk ends its process when a model is not what it should be, and may never come back from one; so it lives here,
//! where only the job at hand is lost. This process keeps limits on itself and goes into a sandbox before it reads anything: it
//! can read nothing but models and recordings at hand, and write nothing but answers.

mod engine;
mod job;
mod limits;
mod pipes;

use std::process::ExitCode;

use capconduit_transcriber::options::{self, Command, Options};
use capconduit_transcriber::sandbox;
use capconduit_transcriber_protocol::{Answer, Request, VERSION};

use crate::engine::Engine;
use crate::pipes::{Answers, Requests};

/// The libvosk this is made for and `scripts/fetch-vosk` obtains.
const ENGINE_VERSION: &str = "0.3.45";
/// Exit status for options that cannot be.
const USAGE: u8 = 2;
/// Exit status when the other side does not keep to the protocol or is gone.
const PROTOCOL: u8 = 3;
/// Exit status when the limits cannot be set.
const LIMITS: u8 = 4;
/// Exit status when there is no sandbox to be had, though the kernel could make one.
const SANDBOX: u8 = 5;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!(
                "capconduit-transcriber {} for libvosk {ENGINE_VERSION}",
                env!("CARGO_PKG_VERSION")
            );
            return ExitCode::SUCCESS;
        }
        Err(problem) => return stop(USAGE, &problem),
    };
    limits::stand_back(options.nice);
    if let Err(problem) = limits::set(options.memory_limit, options.nice) {
        return stop(LIMITS, &problem);
    }
    limits::prepare();
    let lacks = match sandbox::enter(&readable(&options)) {
        Ok(lacks) => lacks,
        Err(problem) => return stop(SANDBOX, &problem),
    };
    let mut answers = Answers::new();
    let mut engine = Engine::new(options.models);
    let mut requests = Requests::new();
    let ready = Answer::Ready {
        protocol: VERSION,
        engine_version: ENGINE_VERSION.to_owned(),
        lacks,
    };
    let served = answers
        .send(&ready)
        .and_then(|()| serve(&mut requests, &mut answers, &mut engine));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => stop(PROTOCOL, &problem),
    }
}

/// Models, and where recordings are.
fn readable(options: &Options) -> Vec<std::path::PathBuf> {
    let models = options.models.values();
    let models = models.flat_map(|directory| sandbox::places_of_model(directory));
    models.chain(options.readable.iter().cloned()).collect()
}

fn serve(
    requests: &mut Requests,
    answers: &mut Answers,
    engine: &mut Engine,
) -> Result<(), pipes::PipeError> {
    while let Some(request) = requests.next()? {
        match request {
            Request::Transcribe(job) => job::transcribe(&job, engine, answers)?,
            Request::Check { job, language } => job::check(job, &language, engine, answers)?,
        }
    }
    Ok(())
}

fn stop(status: u8, problem: &dyn std::error::Error) -> ExitCode {
    let mut text = problem.to_string();
    let mut cause = problem.source();
    while let Some(problem) = cause {
        text.push_str(": ");
        text.push_str(&problem.to_string());
        cause = problem.source();
    }
    eprintln!("capconduit-transcriber: {text}");
    ExitCode::from(status)
}
