//! Whether a model works: only a transcriber can tell, and only it may die of one.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::domain::Language;

/// What becomes of a model in a transcriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// It works.
    Passed,
    /// It does not, for this reason.
    Unusable(String),
    /// It could not be tried, for this reason.
    Untried(String),
}

/// Has a transcriber try the model in a directory.
pub type Try = Arc<dyn Fn(Language, PathBuf) -> BoxFuture<'static, Trial> + Send + Sync>;
