//! Models that transcribers hear with: which there are, how one comes here, whether it is whole.
//!
//! A leaf: it knows neither jobs nor database nor configuration. Invariant: a directory in the model directory whose
//! name does not begin with a dot was put there in one step, complete; what is being made has a hidden name, and
//! what was in use stays in use until its successor is there.

mod catalogue;
mod download;
mod install;
mod manifest;
mod sums;
mod trial;
mod unpack;

pub use catalogue::{CATALOGUE, Known, PUBLISHER, find, language_in, names, small};
pub use download::{Download, Error as DownloadError};
pub use install::{Error as InstallError, Installed, Installer, Source, Wanted, linked};
pub use manifest::{Damage, FILE as MANIFEST, Manifest, missing_parts, parts_expected};
pub use sums::FILE as KNOWN_SUMS;
pub use trial::{Trial, Try};
pub use unpack::{Error as UnpackError, Limits};

use std::sync::Arc;
use std::time::Duration;

/// What an installation is doing.
#[derive(Debug, Clone)]
pub enum Event {
    /// Bytes have come.
    Downloading {
        /// So many so far.
        done: u64,
        /// Of so many.
        total: Option<u64>,
    },
    /// The server sends the rest of what an earlier attempt got.
    Resuming {
        /// So much is here.
        at: u64,
    },
    /// The server sends all of it again: it cannot resume, or has another file now.
    StartingOver,
    /// The connection failed; it is tried again.
    Retrying {
        /// Why.
        problem: String,
        /// After so long.
        wait: Duration,
    },
    /// The archive's checksum is worked out.
    Hashing,
    /// Files have been written.
    Unpacking {
        /// Bytes so far.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// A transcriber loads the model and listens to a second of silence.
    Trying,
}

/// Who is told. Called from several threads, often.
pub type Watch = Arc<dyn Fn(Event) + Send + Sync>;
