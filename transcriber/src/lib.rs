//! The parts of the transcriber that know nothing of Vosk: its options, WAV files, audio, what belongs to a model,
//! and which language an utterance was in. Nothing here may link to libvosk, so that it is tested without it.

pub mod audio;
pub mod language;
pub mod model;
pub mod options;
pub mod sandbox;
pub mod wav;
