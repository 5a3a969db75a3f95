//! The fuzz targets' corpora, run as a plain test.

use std::{fs, path::Path};

#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

fn each(corpus: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(corpus);
    let mut files = 0;
    for entry in fs::read_dir(directory).expect("a corpus") {
        run(&fs::read(entry.expect("a file").path()).expect("readable"));
        files += 1;
    }
    assert!(files > 0, "the corpus {corpus} is empty");
}

#[test]
fn the_environment_corpus_holds() {
    each("environment", fuzz::environment);
}

#[test]
fn the_reply_corpus_holds() {
    each("reply", fuzz::reply);
}

#[test]
fn the_command_corpus_holds() {
    each("command", fuzz::command);
}
