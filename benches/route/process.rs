//! CPU time and memory of other processes, from `/proc`.

use std::fs;

/// `USER_HZ`, 100 on every Linux there is.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds of a process and of the children it has reaped.
pub fn cpu_seconds(pid: u32) -> f64 {
    stat(pid).map_or(0.0, |stat| stat.ticks / TICKS_PER_SECOND)
}

/// CPU seconds of a process and all its children, living or reaped.
pub fn family_cpu_seconds(parent: u32) -> f64 {
    let children: f64 = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .filter(|stat| stat.parent == parent)
        .map(|stat| stat.ticks / TICKS_PER_SECOND)
        .sum();
    children + cpu_seconds(parent)
}

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .unwrap_or(0)
}

struct Stat {
    parent: u32,
    ticks: f64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold blanks and parentheses; fields count from behind it.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields
        .get(11..15)?
        .iter()
        .filter_map(|f| f.parse::<f64>().ok())
        .sum();
    let parent = fields.get(1)?.parse().ok()?;
    Some(Stat { parent, ticks })
}
