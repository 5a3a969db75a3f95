//! Jobs, the daemon's transcribers, and the command line, with the real transcriber and tiny real models.

mod cli;
mod faults;
mod lab;
mod queue;
mod working;
