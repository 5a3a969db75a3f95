//! Ends that wait for the database, on disk as well: a daemon that is ended, or killed, during an outage loses none.
//!
//! One line of JSON for each, appended and synced when the report is kept, all cleared when none waits. A line that is
//! read again though its end was settled does no harm: settling twice changes nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Arrival, Dialled, EndReport};
use crate::domain::{
    CallerId, DialStatus, DialledNumber, HangupCause, LinkedId, ReservationId, SystemName, UniqueId,
};
use crate::runtime::clock;

/// The file's name in the daemon's directory.
const FILE: &str = "ends-to-settle.jsonl";

/// Longest file that is read, in bytes: far more than the queue holds.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

pub(super) struct Spool {
    file: Mutex<File>,
}

/// A report as it is written. When it was heard is told by this host's clock, and read by it.
#[derive(Serialize, Deserialize)]
struct Line {
    heard_at: Timestamp,
    uniqueid: String,
    linkedid: Option<String>,
    channel: String,
    did: String,
    caller_number: Option<String>,
    caller_name: Option<String>,
    system_name: Option<String>,
    status: Option<String>,
    cause: Option<u8>,
    answered_seconds: Option<u32>,
    dialed_seconds: Option<u32>,
    /// As argument 5 of `end`; absent where it was not said.
    dialled: Option<String>,
    #[serde(default)]
    overdue: bool,
}

impl Spool {
    /// Opens the file in a directory, and returns what waits in it.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Vec<(EndReport, Instant)>)> {
        let path = directory.join(FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)?;
        let mut text = String::new();
        (&mut file).take(MAX_BYTES).read_to_string(&mut text)?;
        let mut reports = Vec::new();
        for line in text.lines() {
            // The last line of a daemon that was killed may be cut short.
            match serde_json::from_str::<Line>(line).ok().and_then(Line::read) {
                Some(report) => reports.push(report),
                None => {
                    warn!(file = %path.display(), "a line of the ends to settle cannot be read: left out");
                }
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        Ok((
            Self {
                file: Mutex::new(file),
            },
            reports,
        ))
    }

    /// Writes a report, which is on disk when this returns.
    pub(super) fn append(&self, report: &EndReport, heard: Instant) -> io::Result<()> {
        let mut line = serde_json::to_string(&Line::of(report, heard))?;
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())?;
        file.sync_data()
    }

    /// Clears the file if nothing waits any more, which is looked at while nobody writes.
    pub(super) fn clear_if(&self, nothing_waits: impl FnOnce() -> bool) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if !nothing_waits() {
            return Ok(());
        }
        file.seek(SeekFrom::Start(0))?;
        file.set_len(0)
    }
}

impl Line {
    fn of(report: &EndReport, heard: Instant) -> Self {
        let arrival = &report.arrival;
        let ago = SignedDuration::try_from(heard.elapsed()).unwrap_or_default();
        let now = clock::now();
        Self {
            heard_at: now.checked_sub(ago).unwrap_or(now),
            uniqueid: arrival.uniqueid.as_str().to_owned(),
            linkedid: arrival.linkedid.as_ref().map(|id| id.as_str().to_owned()),
            channel: arrival.channel.clone(),
            did: arrival.did.as_str().to_owned(),
            caller_number: arrival.caller.number.clone(),
            caller_name: arrival.caller.name.clone(),
            system_name: (arrival.system_name.as_ref()).map(|name| name.as_str().to_owned()),
            status: report.status.map(|status| status.as_str().to_owned()),
            cause: report.cause.map(HangupCause::value),
            answered_seconds: report.answered_seconds,
            dialed_seconds: report.dialed_seconds,
            dialled: match report.dialled {
                Dialled::Unsaid => None,
                Dialled::Nothing => Some(String::new()),
                Dialled::Fallback => Some("fallback".to_owned()),
                Dialled::Reservation(id) => Some(id.to_string()),
            },
            overdue: report.overdue,
        }
    }

    fn read(self) -> Option<(EndReport, Instant)> {
        let ago = clock::now().duration_since(self.heard_at);
        let ago = Duration::try_from(ago).unwrap_or_default();
        let now = Instant::now();
        let report = EndReport {
            arrival: Arrival {
                uniqueid: UniqueId::parse(&self.uniqueid)?,
                linkedid: self.linkedid.as_deref().and_then(LinkedId::parse),
                channel: self.channel,
                did: DialledNumber::from_untrusted(&self.did),
                caller: CallerId {
                    number: self.caller_number,
                    name: self.caller_name,
                },
                system_name: self.system_name.as_deref().and_then(SystemName::parse),
                peer: None,
            },
            status: self.status.as_deref().and_then(DialStatus::parse),
            cause: self.cause.and_then(HangupCause::new),
            answered_seconds: self.answered_seconds,
            dialed_seconds: self.dialed_seconds,
            dialled: match self.dialled.as_deref() {
                None => Dialled::Unsaid,
                Some("") => Dialled::Nothing,
                Some("fallback") => Dialled::Fallback,
                Some(id) => Dialled::Reservation(ReservationId(id.parse().ok()?)),
            },
            overdue: self.overdue,
        };
        Some((report, now.checked_sub(ago).unwrap_or(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(uniqueid: &str, dialled: Dialled) -> EndReport {
        EndReport {
            arrival: Arrival {
                uniqueid: UniqueId::parse(uniqueid).expect("a unique id"),
                linkedid: LinkedId::parse("1.0"),
                channel: "PJSIP/trunk-1".to_owned(),
                did: DialledNumber::from_untrusted("+18005550100"),
                caller: CallerId::from_untrusted("+15550001111", "Ann \"A\""),
                system_name: SystemName::parse("pbx1"),
                peer: None,
            },
            status: Some(DialStatus::Answer),
            cause: Some(HangupCause::NORMAL),
            answered_seconds: Some(61),
            dialed_seconds: None,
            dialled,
            overdue: true,
        }
    }

    #[test]
    fn what_waits_is_there_after_a_restart_and_a_cut_line_costs_only_itself() {
        let directory = tempfile::tempdir().expect("a directory");
        let (spool, waiting) = Spool::open(directory.path()).expect("opens");
        assert!(waiting.is_empty());
        let all = [
            Dialled::Unsaid,
            Dialled::Nothing,
            Dialled::Fallback,
            Dialled::Reservation(ReservationId(42)),
        ];
        let heard = Instant::now().checked_sub(Duration::from_secs(7));
        for dialled in all {
            let report = report("1.1", dialled);
            spool
                .append(&report, heard.expect("up for so long"))
                .expect("writes");
        }
        let path = directory.path().join(FILE);
        let mut file = OpenOptions::new().append(true).open(path).expect("there");
        file.write_all(b"{\"uniqueid\":\"1.").expect("writes");
        drop(spool);

        let (spool, waiting) = Spool::open(directory.path()).expect("opens");
        let read: Vec<Dialled> = waiting.iter().map(|(report, _)| report.dialled).collect();
        assert_eq!(read, all);
        let (first, heard) = &waiting[0];
        assert!((7..9).contains(&heard.elapsed().as_secs()));
        let expected = report("1.1", Dialled::Unsaid);
        assert_eq!(format!("{first:?}"), format!("{expected:?}"));
        spool.append(&expected, Instant::now()).expect("writes");
        let again = Spool::open(directory.path()).expect("opens").1;
        assert_eq!(again.len(), all.len() + 1, "the cut line costs only itself");
        spool.clear_if(|| false).expect("looks");
        assert!(!Spool::open(directory.path()).expect("opens").1.is_empty());
        spool.clear_if(|| true).expect("clears");
        assert!(Spool::open(directory.path()).expect("opens").1.is_empty());
    }
}
