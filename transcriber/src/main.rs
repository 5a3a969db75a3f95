//! Transcribes recordings with Vosk for the daemon.

fn main() {}
