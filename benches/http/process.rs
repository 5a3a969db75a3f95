//! Memory of another process, from `/proc`.

use std::fs;

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// Its highest value since [`forget_peak`].
pub fn peak_kib(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// From now on the peak is counted anew.
pub fn forget_peak(pid: u32) {
    if let Err(error) = fs::write(format!("/proc/{pid}/clear_refs"), "5") {
        eprintln!("the peak of memory includes what came before: {error}");
    }
}

fn status(pid: u32, key: &str) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with(key))?;
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .unwrap_or(0)
}
