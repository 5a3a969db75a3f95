//! Finished recordings: taken from where Asterisk writes them, registered, kept, deleted when they are too old.
//!
//! Asterisk writes the files of an attempt under the stem it was told. Once the call is over they are put into the
//! [`object_storage`], written down, and only then deleted where they were: a crash at any moment means that
//! some of it is done again. Invariants: no sound is deleted that is not stored, or whose time is not over; nothing
//! here can hold up or fail a call.

pub mod api;
pub mod collector;
pub mod object_storage;
pub mod retention;
mod spool;
pub mod store;
pub mod wav;

use std::path::PathBuf;

pub use spool::{Space, space};

use self::object_storage::Storage;
use crate::db;

/// Where recordings come from and go to.
#[derive(Clone)]
pub struct Places {
    /// Where Asterisk writes.
    pub directory: PathBuf,
    /// Where they are kept.
    pub storage: Storage,
}

/// What went wrong with recordings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory Asterisk writes to.
    #[error("cannot {action} {path}")]
    Spool {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] db::Error),
    /// The storage.
    #[error(transparent)]
    Storage(#[from] object_storage::Error),
}
