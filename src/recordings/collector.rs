//! Takes finished recordings from where Asterisk writes them to where they are kept.
//!
//! Each daemon looks at its own directory again and again, and asks the database what is known of what it finds.
//! Nobody waits for it: a storage that is full or away means that files stay where they are.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _};
use jiff::SignedDuration;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::object_storage::Key;
use super::spool::{self, Found, Listing};
use super::store::recordings::{RecordedAttempt, StoredFile, StoredRecording};
use super::wav::header::State;
use super::{Error, Places};
use crate::db::Store;
use crate::domain::{Leg, Stem};
use crate::runtime::clock;
use crate::runtime::metrics::{self, RecordingOutcome};
use crate::runtime::telemetry::Chain;

/// Between two looks at the directory.
const LOOK: Duration = Duration::from_millis(1_200);

/// Between two looks at what did not come, and at the room on the disk.
const LOOK_AROUND: Duration = Duration::from_secs(10);

/// A file that is not finished and was not written to for this long has lost its writer. Asterisk writes every
/// two seconds while somebody talks.
const ABANDONED: Duration = Duration::from_secs(10);

/// A recording whose files have not come by then is missing.
const MISSING: SignedDuration = SignedDuration::from_mins(10);

/// A file nobody knows for this long is reported: its call may have been offered just now.
const UNCLAIMED: Duration = Duration::from_secs(3_600);

/// Stems in one question to the database.
const BATCH: usize = 500;

/// Recordings worked on at once.
const AT_ONCE: usize = 4;

/// So many failures of the storage one after the other mean that it is away, and not worth asking in this round.
const AWAY: u32 = 3;

/// Longest wait before a recording that failed is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a round came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Recordings stored.
    pub stored: usize,
    /// Recordings without sound, whose files were removed.
    pub empty: usize,
    /// Recordings that could not be stored and stay.
    pub failed: usize,
    /// Files nobody knows.
    pub unclaimed: usize,
}

/// Takes recordings of one directory.
pub struct Collector {
    places: Places,
    store: Store,
    troubles: HashMap<String, Trouble>,
    /// Names reported, so that each is reported once.
    reported: HashSet<String>,
    storage_fails: bool,
    directory_fails: bool,
    space_is_low: bool,
    /// Stems of recordings expected and seen in the last round.
    in_sight: Vec<String>,
    looked_around: Option<Instant>,
}

struct Trouble {
    failures: u32,
    not_before: Instant,
}

/// What became of the files of one attempt.
enum Done {
    Stored,
    Empty,
    /// Nothing yet.
    Later,
}

impl Collector {
    /// A collector that has not looked yet.
    pub fn new(places: Places, store: Store) -> Self {
        Self {
            places,
            store,
            troubles: HashMap::new(),
            reported: HashSet::new(),
            storage_fails: false,
            directory_fails: false,
            space_is_low: false,
            in_sight: Vec::new(),
            looked_around: None,
        }
    }

    /// Looks again and again. May be dropped at any moment.
    pub async fn run(mut self) -> Infallible {
        loop {
            match self.round().await {
                Ok(_) => {
                    if self
                        .looked_around
                        .is_none_or(|at| at.elapsed() > LOOK_AROUND)
                    {
                        self.looked_around = Some(Instant::now());
                        self.look_around().await;
                    }
                }
                Err(problem) => self.cannot_look(&problem),
            }
            tokio::time::sleep(LOOK.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        }
    }

    fn cannot_look(&mut self, problem: &Error) {
        match problem {
            Error::Spool { .. } if self.directory_fails => {}
            Error::Spool { .. } => {
                self.directory_fails = true;
                error!(error = %Chain(problem),
                    "recordings cannot be collected: see that recording.directory is there and this user may read and write in it");
            }
            // Whoever looks at the database says so.
            _ => {
                warn!(error = %Chain(problem), "recordings cannot be collected now; it is tried again");
            }
        }
    }

    /// Looks at everything in the directory once.
    pub async fn round(&mut self) -> Result<Round, Error> {
        let directory = self.places.directory.clone();
        let listing = blocking(move || spool::list(&directory)).await?;
        if std::mem::take(&mut self.directory_fails) {
            info!("recordings are collected again");
        }
        let mut round = Round::default();
        let mut in_sight = Vec::new();
        let stems: Vec<&(Stem, Vec<Leg>)> = listing.stems.values().collect();
        for batch in stems.chunks(BATCH) {
            let names: Vec<Stem> = batch.iter().map(|(stem, _)| stem.clone()).collect();
            let mut known: HashMap<Stem, RecordedAttempt> = self
                .store
                .recordings_of(&names)
                .await?
                .into_iter()
                .map(|attempt| (attempt.stem.clone(), attempt))
                .collect();
            let mut over = Vec::new();
            for (stem, legs) in batch {
                match known.remove(stem) {
                    None => round.unclaimed += self.unclaimed(stem, legs),
                    Some(attempt) => {
                        if attempt.state.as_deref() == Some("expected") {
                            in_sight.push(stem.as_str().to_owned());
                        }
                        if attempt.over && self.may_try(stem) {
                            over.push((attempt, legs.clone()));
                        }
                    }
                }
            }
            self.finish_all(over, &mut round).await;
        }
        round.unclaimed += self.foreign(&listing);
        metrics::recordings_unclaimed(round.unclaimed);
        self.forget(&listing);
        self.in_sight = in_sight;
        Ok(round)
    }

    async fn finish_all(&mut self, over: Vec<(RecordedAttempt, Vec<Leg>)>, round: &mut Round) {
        let failures = AtomicU32::new(0);
        let (places, store, failures) = (&self.places, &self.store, &failures);
        let work = over.into_iter().map(|(attempt, legs)| {
            async move {
                if failures.load(Ordering::Relaxed) >= AWAY {
                    return (attempt.stem, Ok(Done::Later));
                }
                let done = finish(places, store, &attempt, &legs).await;
                match &done {
                    Err(Error::Storage(_)) => {
                        failures.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(Done::Stored) => failures.store(0, Ordering::Relaxed),
                    _ => {}
                }
                (attempt.stem, done)
            }
            .boxed()
        });
        let work: Vec<_> = work.collect();
        let done: Vec<(Stem, Result<Done, Error>)> = futures_util::stream::iter(work)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (stem, done) in done {
            match done {
                Ok(Done::Later) => {}
                Ok(Done::Empty) => {
                    round.empty += 1;
                    self.troubles.remove(stem.as_str());
                    metrics::recordings(RecordingOutcome::Empty, 1);
                }
                Ok(Done::Stored) => {
                    round.stored += 1;
                    self.troubles.remove(stem.as_str());
                    metrics::recordings(RecordingOutcome::Stored, 1);
                    if std::mem::take(&mut self.storage_fails) {
                        info!("recordings can be stored again");
                    }
                }
                Err(problem) => {
                    round.failed += 1;
                    metrics::recordings(RecordingOutcome::Failed, 1);
                    self.trouble(&stem, &problem);
                }
            }
        }
    }

    fn trouble(&mut self, stem: &Stem, problem: &Error) {
        let trouble = self
            .troubles
            .entry(stem.as_str().to_owned())
            .or_insert(Trouble {
                failures: 0,
                not_before: Instant::now(),
            });
        let first = trouble.failures == 0;
        let wait = Duration::from_secs(1 << trouble.failures.min(6)).min(LONGEST_WAIT);
        trouble.failures += 1;
        trouble.not_before = Instant::now() + wait.mul_f64(0.75 + 0.5 * fastrand::f64());
        match problem {
            Error::Storage(_) => {
                if !std::mem::replace(&mut self.storage_fails, true) {
                    error!(recording = %stem, error = %Chain(problem),
                        "a recording cannot be stored: it stays where Asterisk wrote it until the storage is mended");
                }
            }
            Error::Spool { .. } if first => error!(recording = %stem, error = %Chain(problem),
                "a recording cannot be collected: see that this user may read and write in recording.directory"),
            Error::Spool { .. } => {}
            Error::Store(_) => warn!(recording = %stem, error = %Chain(problem),
                "a recording cannot be written down now; it is tried again"),
        }
    }

    fn may_try(&self, stem: &Stem) -> bool {
        let trouble = self.troubles.get(stem.as_str());
        trouble.is_none_or(|t| t.not_before <= Instant::now())
    }

    /// Files with the stem of an attempt that the database does not know. Returns how many are old enough that
    /// it never will.
    fn unclaimed(&mut self, stem: &Stem, legs: &[Leg]) -> usize {
        let directory = &self.places.directory;
        let old = legs.iter().filter(|leg| {
            let path = spool::path(directory, stem, **leg);
            is_old(&path)
        });
        let old = old.count();
        if old > 0 && self.reported.insert(stem.as_str().to_owned()) {
            warn!(recording = %stem, directory = %directory.display(),
                "a recording belongs to no attempt in the database: it is left where it is");
        }
        old
    }

    /// Files with names that no recording has. Returns how many are old enough to be no work in progress.
    fn foreign(&mut self, listing: &Listing) -> usize {
        let directory = &self.places.directory;
        let mut old = 0;
        for name in &listing.foreign {
            if !is_old(&directory.join(name)) {
                continue;
            }
            old += 1;
            if self.reported.insert(name.clone()) {
                warn!(file = name, directory = %directory.display(),
                    "a file is not one of a recording: it is left where it is");
            }
        }
        old
    }

    /// What is gone from the directory need not be remembered.
    fn forget(&mut self, listing: &Listing) {
        let there = |name: &String| listing.stems.contains_key(name);
        self.troubles.retain(|stem, _| there(stem));
        if self.reported.len() > listing.stems.len() + listing.foreign.len() {
            let foreign: HashSet<&String> = listing.foreign.iter().collect();
            self.reported
                .retain(|name| there(name) || foreign.contains(name));
        }
    }

    /// What did not come, and how much room there is. After a round that went well.
    pub async fn look_around(&mut self) {
        if let Err(problem) = self.give_up_late().await {
            warn!(error = %Chain(&problem), "late recordings cannot be looked for now; it is tried again");
        }
        match spool::space(&self.places.directory) {
            Ok(space) => {
                metrics::recording_free_bytes(space.free);
                let low = space.is_low();
                if low && !self.space_is_low {
                    warn!(free_bytes = space.free, total_bytes = space.total,
                        directory = %self.places.directory.display(),
                        "the disk Asterisk records to is nearly full");
                }
                self.space_is_low = low;
            }
            Err(problem) => warn!(error = %problem, "the room for recordings cannot be told"),
        }
        // A storage that is away tells so where a recording cannot be stored.
        if let Some(Ok(space)) = (self.places.storage.directory()).map(spool::space) {
            metrics::storage_free_bytes(space.free);
        }
    }

    async fn give_up_late(&mut self) -> Result<(), Error> {
        let now = clock::now();
        let in_sight: Vec<&str> = self.in_sight.iter().map(String::as_str).collect();
        let missing = self
            .store
            .miss_recordings(now - MISSING, now, &in_sight)
            .await?;
        metrics::recordings(RecordingOutcome::Missing, missing.len() as u64);
        for stem in &missing {
            warn!(
                recording = stem,
                "no file of a recording has come: it is missing"
            );
        }
        let location = self.places.storage.location();
        let counts = self.store.count_recordings(now, now, location).await?;
        metrics::recordings_waiting(counts.expected.max(0) as u64);
        Ok(())
    }
}

/// How many files of the directory belong to no attempt, for so long that they never will.
pub async fn unclaimed(places: &Places, store: &Store) -> Result<usize, Error> {
    let mut collector = Collector::new(places.clone(), store.clone());
    let directory = places.directory.clone();
    let listing = blocking(move || spool::list(&directory)).await?;
    let mut unclaimed = collector.foreign(&listing);
    let stems: Vec<&(Stem, Vec<Leg>)> = listing.stems.values().collect();
    for batch in stems.chunks(BATCH) {
        let names: Vec<Stem> = batch.iter().map(|(stem, _)| stem.clone()).collect();
        let known = store.recordings_of(&names).await?;
        let known: HashSet<&Stem> = known.iter().map(|attempt| &attempt.stem).collect();
        for (stem, legs) in batch {
            if !known.contains(stem) {
                unclaimed += collector.unclaimed(stem, legs);
            }
        }
    }
    Ok(unclaimed)
}

fn is_old(path: &Path) -> bool {
    spool::rested(path).is_some_and(|rested| rested >= UNCLAIMED)
}

/// Stores the files of an attempt whose call is over, if they are complete.
async fn finish(
    places: &Places,
    store: &Store,
    attempt: &RecordedAttempt,
    legs: &[Leg],
) -> Result<Done, Error> {
    let stem = &attempt.stem;
    let (directory, named, legs) = (places.directory.clone(), stem.clone(), legs.to_vec());
    let Some(files) = blocking(move || spool::take(&directory, &named, &legs)).await? else {
        return Ok(Done::Later);
    };
    let waiting = |file: &Found| {
        let finished = matches!(file.state, State::Finished(_));
        !finished && file.rested < ABANDONED
    };
    if files.iter().any(waiting) {
        return Ok(Done::Later);
    }
    if attempt.state.as_deref() == Some("deleted") {
        // A crash came between the two.
        blocking(move || spool::remove(&files)).await?;
        return Ok(Done::Later);
    }
    if !files.iter().any(Found::has_sound) {
        if attempt.state.is_some() {
            store.recording_is_empty(stem, clock::now()).await?;
        }
        blocking(move || spool::remove(&files)).await?;
        return Ok(Done::Empty);
    }
    let Prepared { files, repaired } = blocking(move || prepare(files)).await?;
    let mut stored = Vec::with_capacity(files.len());
    for (file, sha256) in &files {
        let key = Key::of(stem, file.leg);
        places.storage.put(&file.path, &key).await?;
        let sound = match file.state {
            State::Finished(sound) => Some(sound),
            _ => None,
        };
        stored.push(StoredFile {
            leg: file.leg,
            key: key.as_str().to_owned(),
            bytes: file.bytes,
            sha256: *sha256,
            sample_rate: sound.map(|s| s.sample_rate),
            duration_ms: match file.state {
                State::Empty => Some(0),
                _ => sound.map(|s| s.duration_ms()),
            },
        });
    }
    let strange = files.iter().any(|(f, _)| f.state == State::Foreign);
    let kept = StoredRecording {
        stem,
        location: places.storage.location(),
        repaired,
        remark: strange.then_some("a file is not the sound file Asterisk should have written"),
        files: &stored,
        at: clock::now(),
    };
    if !store.keep_recording(&kept).await? {
        // Deleted this very moment; the next look sees it.
        return Ok(Done::Later);
    }
    let (call_id, number) = stem.call();
    info!(call.id = %call_id, offer.attempt = number, recording = %stem, repaired,
        bytes = stored.iter().map(|f| f.bytes).sum::<u64>(),
        duration_ms = stored.iter().filter_map(|f| f.duration_ms).max(),
        "recording stored");
    let files: Vec<Found> = files.into_iter().map(|(file, _)| file).collect();
    blocking(move || spool::remove(&files)).await?;
    Ok(Done::Stored)
}

/// Files that are as they will be stored, with their digests.
struct Prepared {
    files: Vec<(Found, [u8; 32])>,
    repaired: bool,
}

/// Repairs headers and reads digests: what takes long.
fn prepare(found: Vec<Found>) -> Result<Prepared, Error> {
    let mut repaired = false;
    let mut files = Vec::with_capacity(found.len());
    for mut file in found {
        if matches!(file.state, State::Unfinished(_)) {
            spool::repair(&mut file)?;
            repaired = true;
        }
        let (digest, bytes) = spool::digest(&mut file)?;
        file.bytes = bytes;
        files.push((file, digest));
    }
    Ok(Prepared { files, repaired })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => Err(Error::Spool {
            action: "work in",
            path: "recording.directory".into(),
            source: std::io::Error::other(panicked),
        }),
    }
}
