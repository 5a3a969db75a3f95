//! The `capconduit` program: reads the command line, does it, says how it went.

use std::process::ExitCode;

fn main() -> ExitCode {
    capconduit::cli::main()
}
