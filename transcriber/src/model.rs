//! A model as files: whether all are there that Vosk cannot do without, its name and its sampling rate.
//!
//! Vosk says of a model that it cannot load no more than that; this says which file is missing. It knows the two
//! layouts there are: `am/`, `conf/` and `graph/`, and the older one with all files in one place.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Rate of a model that does not name one, Kaldi's default.
const DEFAULT_RATE: u32 = 16_000;
/// Longest configuration file read.
const MAX_CONFIGURATION: u64 = 1 << 20;

/// A model's directory that has been looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// Where it is.
    pub directory: PathBuf,
    /// What it is called: the directory's name, links followed.
    pub name: String,
    /// Samples a second it was made for.
    pub rate: u32,
}

/// What is wrong with a model's directory.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ModelError {
    /// It is not there.
    #[error("there is no directory {0}")]
    Absent(PathBuf),
    /// It cannot be looked into.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
    /// Nothing in it is of a model.
    #[error("{0} holds no Vosk model: it has neither am/final.mdl nor final.mdl")]
    NoModel(PathBuf),
    /// A file is not there.
    #[error("{directory} is incomplete: {file} is missing")]
    Missing {
        /// The model.
        directory: PathBuf,
        /// The file, or one of some.
        file: String,
    },
    /// A file has nothing in it.
    #[error("{directory} is incomplete: {file} is empty")]
    Empty {
        /// The model.
        directory: PathBuf,
        /// The file.
        file: String,
    },
    /// A rate that cannot be worked with.
    #[error("{directory}/{file} asks for {rate} Hz: expected 8000 to 48000")]
    Rate {
        /// The model.
        directory: PathBuf,
        /// The file.
        file: String,
        /// What it says.
        rate: String,
    },
}

/// Looks a model's directory through.
pub fn inspect(directory: &Path) -> Result<ModelFiles, ModelError> {
    let entries = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_some(),
        Err(problem) => {
            return Err(match problem.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                    ModelError::Absent(directory.to_owned())
                }
                _ => ModelError::Unreadable(directory.to_owned(), problem.to_string()),
            });
        }
    };
    // Which layout it is: by the acoustic model, or by any other part of it if just that was not copied.
    let new = ["am", "conf", "graph"].map(|part| directory.join(part).exists());
    let (conf, graph) = if new.contains(&true) {
        present(directory, "am/final.mdl")?;
        present(directory, "conf/model.conf")?;
        ("conf/", "graph/")
    } else if entries && directory.join("final.mdl").exists() {
        present(directory, "final.mdl")?;
        ("", "")
    } else {
        return Err(ModelError::NoModel(directory.to_owned()));
    };
    let features = format!("{conf}mfcc.conf");
    present(directory, &features)?;
    if directory.join(format!("{graph}HCLG.fst")).exists() {
        present(directory, &format!("{graph}HCLG.fst"))?;
    } else {
        for file in ["HCLr.fst", "Gr.fst"] {
            present(directory, &format!("{graph}{file}"))?;
        }
    }
    Ok(ModelFiles {
        directory: directory.to_owned(),
        name: name(directory),
        rate: rate(directory, &features)?,
    })
}

/// Files that many models have and this one has not, or not with anything in them: a hint why it cannot be loaded.
pub fn doubtful(directory: &Path) -> Vec<&'static str> {
    [
        "graph/words.txt",
        "graph/disambig_tid.int",
        "graph/phones/word_boundary.int",
    ]
    .into_iter()
    .filter(|file| {
        directory.join("graph").exists()
            && !fs::metadata(directory.join(file)).is_ok_and(|metadata| metadata.len() > 0)
    })
    .collect()
}

fn present(directory: &Path, file: &str) -> Result<(), ModelError> {
    let (directory, file) = (directory.to_owned(), file.to_owned());
    match fs::metadata(directory.join(&file)) {
        Ok(metadata) if metadata.is_file() && metadata.len() == 0 => {
            Err(ModelError::Empty { directory, file })
        }
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(ModelError::Missing { directory, file }),
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => {
            Err(ModelError::Missing { directory, file })
        }
        Err(problem) => Err(ModelError::Unreadable(
            directory.join(file),
            problem.to_string(),
        )),
    }
}

fn name(directory: &Path) -> String {
    let resolved = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    resolved.file_name().map_or_else(
        || resolved.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn rate(directory: &Path, file: &str) -> Result<u32, ModelError> {
    let path = directory.join(file);
    let unreadable =
        |problem: std::io::Error| ModelError::Unreadable(path.clone(), problem.to_string());
    if fs::metadata(&path).map_err(unreadable)?.len() > MAX_CONFIGURATION {
        return Err(ModelError::Unreadable(
            path,
            "it is far too long for a configuration".to_owned(),
        ));
    }
    let text = fs::read(&path).map_err(unreadable)?;
    match rate_of(&String::from_utf8_lossy(&text)) {
        None => Ok(DEFAULT_RATE),
        Some(Ok(rate)) => Ok(rate),
        Some(Err(rate)) => Err(ModelError::Rate {
            directory: directory.to_owned(),
            file: file.to_owned(),
            rate,
        }),
    }
}

/// What a configuration of features says of the rate, the last word counting; `Err` if it is no rate to work with.
fn rate_of(text: &str) -> Option<Result<u32, String>> {
    text.lines()
        .filter_map(|line| {
            line.split('#')
                .next()?
                .trim()
                .strip_prefix("--sample-frequency")
        })
        .filter_map(|rest| rest.trim_start().strip_prefix('='))
        .next_back()
        .map(|value| {
            let value = value.trim();
            match value.parse::<f64>() {
                Ok(rate) if (8_000.0..=48_000.0).contains(&rate) => Ok(rate.ceil() as u32),
                _ => Err(value.chars().take(40).collect()),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_found_where_it_is_named() {
        assert_eq!(rate_of("--use-energy=false\n"), None);
        assert_eq!(rate_of("--sample-frequency=8000\n"), Some(Ok(8000)));
        assert_eq!(
            rate_of("  --sample-frequency = 16000.0 # Hz"),
            Some(Ok(16_000))
        );
        assert_eq!(rate_of("#--sample-frequency=8000"), None);
        assert_eq!(rate_of("--sample-frequency=0"), Some(Err("0".to_owned())));
        assert_eq!(rate_of("--sample-frequency=x"), Some(Err("x".to_owned())));
    }

    #[test]
    fn both_layouts_are_known_and_what_is_missing_is_named() {
        for files in [
            &[
                "am/final.mdl",
                "conf/model.conf",
                "conf/mfcc.conf",
                "graph/HCLr.fst",
                "graph/Gr.fst",
            ][..],
            &[
                "am/final.mdl",
                "conf/model.conf",
                "conf/mfcc.conf",
                "graph/HCLG.fst",
            ],
            &["final.mdl", "mfcc.conf", "HCLG.fst"],
        ] {
            let whole = tempfile::tempdir().unwrap();
            let write = |file: &str, text: &str| {
                let path = whole.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            assert!(matches!(inspect(whole.path()), Err(ModelError::NoModel(_))));
            for file in files {
                write(file, "x");
            }
            let model = inspect(whole.path()).unwrap();
            assert_eq!(model.rate, DEFAULT_RATE);
            assert_eq!(
                model.name,
                whole.path().file_name().unwrap().to_str().unwrap()
            );
            for file in files {
                write(file, "");
                let problem = inspect(whole.path()).unwrap_err().to_string();
                assert!(problem.contains(&format!("{file} is empty")), "{problem}");
                fs::remove_file(whole.path().join(file)).unwrap();
                let problem = inspect(whole.path()).unwrap_err().to_string();
                assert!(
                    problem.contains("is missing") || problem.contains("no Vosk model"),
                    "{problem}"
                );
                write(file, "x");
            }
        }
        let absent = Path::new("/nowhere/at/all");
        assert_eq!(inspect(absent), Err(ModelError::Absent(absent.to_owned())));
    }
}
