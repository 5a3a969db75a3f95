//! The command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use thiserror::Error;

/// What `--help` prints.
pub const HELP: &str = "\
Transcribes recordings with Vosk. Requests come in on standard input and answers go out on standard output,
one JSON object a line; capconduit starts it and talks to it.

Usage: capconduit-transcriber --model LANGUAGE=DIRECTORY [--model …] [OPTIONS]

  --model LANGUAGE=DIRECTORY  the Vosk model of a language; once for each language
  --readable DIRECTORY        where recordings are; once for each; nothing else than these and the models can be read
  --memory-limit BYTES        most address space the process may take (default: no limit)
  --nice N                    0 to 19: how far to step back behind other processes (default: 19)
  --help                      prints this
  --version                   prints the version
";

/// How to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The directory of each language's model.
    pub models: BTreeMap<String, PathBuf>,
    /// Where recordings are.
    pub readable: Vec<PathBuf>,
    /// Most bytes of address space.
    pub memory_limit: Option<u64>,
    /// Added to the process's nice value.
    pub nice: i32,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// To run.
    Run(Options),
    /// [`HELP`].
    Help,
    /// The version.
    Version,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// An option nobody knows.
    #[error("unknown option {0}; see --help")]
    Unknown(String),
    /// An option without its value.
    #[error("{0} needs a value; see --help")]
    Missing(&'static str),
    /// A value that cannot be.
    #[error("{option} cannot be {value:?}: expected {expected}")]
    Invalid {
        /// Which.
        option: &'static str,
        /// Its value.
        value: OsString,
        /// What it could be.
        expected: &'static str,
    },
    /// A language twice.
    #[error("there are two models of language {0}")]
    Twice(String),
    /// Nothing to transcribe with.
    #[error("no --model is given; see --help")]
    NoModel,
}

/// Reads the arguments, without the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, OptionsError> {
    let mut options = Options {
        models: BTreeMap::new(),
        readable: Vec::new(),
        memory_limit: None,
        nice: 19,
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(Command::Help),
            Some("--version" | "-V") => return Ok(Command::Version),
            Some("--model") => {
                let value = value("--model", &mut arguments)?;
                let (language, directory) = model(value)?;
                if options.models.insert(language.clone(), directory).is_some() {
                    return Err(OptionsError::Twice(language));
                }
            }
            Some("--readable") => {
                let directory = value("--readable", &mut arguments)?;
                options.readable.push(PathBuf::from(directory));
            }
            Some("--memory-limit") => {
                let expected = "a number of bytes";
                let value = value("--memory-limit", &mut arguments)?;
                let bytes = number("--memory-limit", value, expected, |bytes: &u64| *bytes > 0)?;
                options.memory_limit = Some(bytes);
            }
            Some("--nice") => {
                let value = value("--nice", &mut arguments)?;
                options.nice = number("--nice", value, "0 to 19", |nice| (0..=19).contains(nice))?;
            }
            _ => {
                return Err(OptionsError::Unknown(
                    argument.to_string_lossy().into_owned(),
                ));
            }
        }
    }
    if options.models.is_empty() {
        return Err(OptionsError::NoModel);
    }
    Ok(Command::Run(options))
}

fn value(
    option: &'static str,
    arguments: &mut impl Iterator<Item = OsString>,
) -> Result<OsString, OptionsError> {
    arguments.next().ok_or(OptionsError::Missing(option))
}

/// `LANGUAGE=DIRECTORY`. Vosk takes a path as text, so it has to be some.
fn model(value: OsString) -> Result<(String, PathBuf), OptionsError> {
    match value.to_str().and_then(|text| text.split_once('=')) {
        Some((language, directory)) if !language.is_empty() && !directory.is_empty() => {
            Ok((language.to_owned(), PathBuf::from(directory)))
        }
        _ => Err(OptionsError::Invalid {
            option: "--model",
            value,
            expected: "LANGUAGE=DIRECTORY, in UTF-8",
        }),
    }
}

fn number<N: std::str::FromStr>(
    option: &'static str,
    value: OsString,
    expected: &'static str,
    fits: impl Fn(&N) -> bool,
) -> Result<N, OptionsError> {
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .filter(fits)
        .ok_or(OptionsError::Invalid {
            option,
            value,
            expected,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, OptionsError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_whole_line_is_understood() {
        let line = "--model en=/m/en --model hi=/m/h=i --readable /r --memory-limit 1000 --nice 5";
        let expected = Options {
            models: [("en", "/m/en"), ("hi", "/m/h=i")]
                .map(|(language, path)| (language.to_owned(), PathBuf::from(path)))
                .into(),
            readable: vec![PathBuf::from("/r")],
            memory_limit: Some(1000),
            nice: 5,
        };
        assert_eq!(parsed(line), Ok(Command::Run(expected)));
        assert_eq!(parsed("--model en=/m --help"), Ok(Command::Help));
        assert_eq!(parsed("--version"), Ok(Command::Version));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("", "no --model is given; see --help"),
            ("--model", "--model needs a value; see --help"),
            (
                "--model en",
                "--model cannot be \"en\": expected LANGUAGE=DIRECTORY, in UTF-8",
            ),
            (
                "--model en=a --model en=b",
                "there are two models of language en",
            ),
            (
                "--model en=a --memory-limit 0",
                "--memory-limit cannot be \"0\": expected a number of bytes",
            ),
            ("--nice 20", "--nice cannot be \"20\": expected 0 to 19"),
            ("--speed 2", "unknown option --speed; see --help"),
        ] {
            assert_eq!(parsed(line).unwrap_err().to_string(), expected);
        }
    }
}
