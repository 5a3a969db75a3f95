//! The checksums of the archives that were installed first, by name of the model.
//!
//! The publisher tells none, so the first archive of a model is taken on trust (its TLS certificate says who sent it),
//! and any later one of that name must be the same. Who knows a sum from elsewhere may write it into the file before.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Its file in the model directory: JSON, name to SHA-256 in hexadecimal.
pub const FILE: &str = "known-sums.json";

/// What is known, by name.
pub type Sums = BTreeMap<String, String>;

/// Where it is.
pub fn place(models: &Path) -> PathBuf {
    models.join(FILE)
}

/// What is known; nothing without a file. Blocks.
pub fn read(models: &Path) -> io::Result<Sums> {
    match std::fs::read(place(models)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Sums::new()),
        Err(error) => Err(error),
    }
}

/// Writes one down, unless there is one already and nobody said that this is the right one. Blocks.
pub fn note(models: &Path, name: &str, sum: &str, vouched: bool) -> io::Result<()> {
    let mut sums = read(models)?;
    if sums.contains_key(name) && !vouched {
        return Ok(());
    }
    sums.insert(name.to_owned(), sum.to_owned());
    let text = serde_json::to_string_pretty(&sums)? + "\n";
    let new = models.join(".known-sums.new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, place(models))
}
