//! What this process may take of the machine: memory, no core files, and the processor only when nobody else wants it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::param::page_size;
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit, setsid};
use thiserror::Error;

/// Why a limit could not be set.
#[derive(Debug, Error)]
pub enum LimitError {
    /// Of memory.
    #[error("cannot limit the address space to {0} bytes")]
    Memory(u64, #[source] Errno),
    /// Of core files.
    #[error("cannot do without core files")]
    Core(#[source] Errno),
    /// Of the processor.
    #[error("cannot be nice by {0}")]
    Nice(i32, #[source] Errno),
}

/// Sets all limits.
pub fn set(memory: Option<u64>, niceness: i32) -> Result<(), LimitError> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // A core file would hold what was said.
    setrlimit(Resource::Core, none).map_err(LimitError::Core)?;
    if let Some(bytes) = memory {
        // Never more than somebody else allowed.
        let allowed = getrlimit(Resource::As).maximum;
        let most = allowed.map_or(bytes, |allowed| allowed.min(bytes));
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(Resource::As, limit).map_err(|problem| LimitError::Memory(bytes, problem))?;
    }
    nice(niceness).map_err(|problem| LimitError::Nice(niceness, problem))?;
    Ok(())
}

/// How likely the kernel is to end this process, of all, for want of memory: -1000 to 1000.
const EXPENDABLE: &str = "500";

/// Lets others go first, as far as the system lets itself be told.
///
/// Where Linux groups processes by session (`sched_autogroup_enabled`), niceness counts within a session only: in the
/// daemon's, this would take from the database as much as the daemon does. So it has a session of its own, which is as
/// nice as it is.
pub fn stand_back(niceness: i32) {
    let _ = setsid();
    let _ = std::fs::write("/proc/self/autogroup", niceness.clamp(-20, 19).to_string());
    let _ = std::fs::write("/proc/self/oom_score_adj", EXPENDABLE);
}

/// Held open: a sandbox lets nobody open it.
static PAGES_TAKEN: OnceLock<File> = OnceLock::new();

/// Opens what [`room`] reads later.
pub fn prepare() {
    if let Ok(file) = File::open("/proc/self/statm") {
        let _ = PAGES_TAKEN.set(file);
    }
}

/// What is left of the address space, if it is limited and that can be found out.
pub fn room() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let mut text = [0; 128];
    let length = PAGES_TAKEN.get()?.read_at(&mut text, 0).ok()?;
    let pages = std::str::from_utf8(&text[..length]).ok()?;
    let taken: u64 = pages.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(taken * page_size() as u64))
}
