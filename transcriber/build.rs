//! Links the transcriber to libvosk without needing it: to a stub with the library's function names and nothing
//! in them, made here with the linker's compiler.
//!
//! The stub is only there for the linker. It is named by a linker argument and not by a search path, because cargo
//! puts search paths below its target directory into `LD_LIBRARY_PATH`, which beats a program's own run path: the stub
//! would be loaded instead of the library. What is loaded is what the run path finds, beside the program or in
//! `../lib/capconduit` (see `scripts/fetch-vosk`), or else on the system's own path; if that is nothing, the dynamic
//! linker says so and the program ends with status 127.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// What the crate `vosk-sys` declares.
const FUNCTIONS: &[&str] = &[
    "vosk_batch_model_free",
    "vosk_batch_model_new",
    "vosk_batch_model_wait",
    "vosk_batch_recognizer_accept_waveform",
    "vosk_batch_recognizer_finish_stream",
    "vosk_batch_recognizer_free",
    "vosk_batch_recognizer_front_result",
    "vosk_batch_recognizer_get_pending_chunks",
    "vosk_batch_recognizer_new",
    "vosk_batch_recognizer_pop",
    "vosk_batch_recognizer_set_nlsml",
    "vosk_gpu_init",
    "vosk_gpu_thread_init",
    "vosk_model_find_word",
    "vosk_model_free",
    "vosk_model_new",
    "vosk_recognizer_accept_waveform",
    "vosk_recognizer_accept_waveform_f",
    "vosk_recognizer_accept_waveform_s",
    "vosk_recognizer_final_result",
    "vosk_recognizer_free",
    "vosk_recognizer_new",
    "vosk_recognizer_new_grm",
    "vosk_recognizer_new_spk",
    "vosk_recognizer_partial_result",
    "vosk_recognizer_reset",
    "vosk_recognizer_result",
    "vosk_recognizer_set_max_alternatives",
    "vosk_recognizer_set_nlsml",
    "vosk_recognizer_set_partial_words",
    "vosk_recognizer_set_spk_model",
    "vosk_recognizer_set_words",
    "vosk_set_log_level",
    "vosk_spk_model_free",
    "vosk_spk_model_new",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CC");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let directory = out.join("link");
    fs::create_dir_all(&directory).expect("OUT_DIR can be written");
    make_stub(&directory);
    println!("cargo::rustc-link-arg-bins=-L{}", directory.display());
    println!("cargo::rustc-link-arg-bins=-Wl,-rpath,$ORIGIN");
    println!("cargo::rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../lib/capconduit");
}

fn make_stub(directory: &Path) {
    let source = directory.join("vosk.c");
    let mut text = String::new();
    for name in FUNCTIONS {
        text.push_str(&format!("void {name}(void) {{ __builtin_trap(); }}\n"));
    }
    fs::write(&source, text).expect("OUT_DIR can be written");
    let compiler = env::var_os("RUSTC_LINKER")
        .or_else(|| env::var_os("CC"))
        .unwrap_or_else(|| "cc".into());
    // No -soname: the library has none either.
    let made = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-nostdlib", "-o"])
        .arg(directory.join("libvosk.so"))
        .arg(&source)
        .status();
    match made {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} could not make a library: {status}", compiler.display()),
        Err(problem) => panic!(
            "{} could not be started: {problem}; set CC to a C compiler",
            compiler.display()
        ),
    }
}
