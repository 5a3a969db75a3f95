//! From an offer to the kept file: what is expected, collected, repaired, reported, deleted.

mod collecting;
mod keeping;
mod offering;
mod storage;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use capconduit::domain::{DialStatus, Leg, Stem};
use capconduit::recordings::Places;
use capconduit::recordings::collector::{Collector, Round};
use capconduit::recordings::object_storage::{Settings, Storage};
use capconduit::routing::Engine;
use tempfile::TempDir;

use crate::support::World;
use crate::support::world::{Caller, VerdictExt, link};

/// A world whose campaign records, a directory Asterisk would write to, and a storage.
struct Studio {
    world: World,
    engine: Engine,
    spool: TempDir,
    stored: TempDir,
}

impl Studio {
    async fn new() -> Self {
        let world = World::new("priority", &[link(1), link(2)]).await;
        world
            .db
            .run("update campaigns set recording_enabled = true, recording_language = 'hi'")
            .await;
        Self {
            engine: world.engine("a"),
            world,
            spool: tempfile::tempdir().unwrap(),
            stored: tempfile::tempdir().unwrap(),
        }
    }

    fn places(&self) -> Places {
        Places {
            directory: self.spool.path().to_owned(),
            storage: Storage::open(&Settings::Directory(self.stored.path().join("kept"))).unwrap(),
        }
    }

    fn collector(&self) -> Collector {
        Collector::new(self.places(), self.world.db.store())
    }

    async fn round(&self) -> Round {
        self.collector().round().await.unwrap()
    }

    /// A call that is offered, and what it is told to record to.
    async fn offered(&self) -> (Caller, Stem) {
        let caller = Caller::new();
        let offer = caller.route(&self.engine).await.offer();
        (caller, offer.recording.expect("is recorded").stem)
    }

    /// A call that was answered and is over.
    async fn talked(&self) -> Stem {
        let (caller, stem) = self.offered().await;
        caller.end(&self.engine, Some(DialStatus::Answer)).await;
        stem
    }

    /// A file as Asterisk leaves it.
    fn write(&self, stem: &Stem, leg: Leg, content: &[u8]) -> PathBuf {
        let path = self.spool.path().join(format!("{stem}{}", leg.suffix()));
        std::fs::write(&path, content).unwrap();
        path
    }

    fn write_all(&self, stem: &Stem) {
        for leg in Leg::ALL {
            self.write(stem, *leg, &wav(16_000, true));
        }
    }

    fn spool_files(&self) -> Vec<String> {
        files(self.spool.path())
    }

    fn kept(&self, stem: &Stem, leg: Leg) -> PathBuf {
        let day = stem.day();
        let root = self.stored.path().join("kept");
        root.join(format!("{day}/{stem}-{leg}.wav"))
    }

    async fn state(&self) -> String {
        let sql = "select coalesce(string_agg(r.state || ' ' || coalesce(j.state, 'none') ||
                       coalesce(' ' || j.error_code, ''), ', ' order by r.recording_id), '')
                   from recordings r left join transcription_jobs j using (recording_id)";
        self.world.db.one(sql).await
    }
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A sound file of 8000 samples a second and so many samples; unfinished, its header tells no length.
fn wav(samples: u32, finished: bool) -> Vec<u8> {
    let bytes = samples * 2;
    let (riff, data) = if finished {
        (bytes + 36, bytes)
    } else {
        (0, 0)
    };
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend(riff.to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    file.extend(data.to_le_bytes());
    for sample in 0..samples {
        let tone = f64::from(sample) * 0.3;
        file.extend(((tone.sin() * 9_000.0) as i16).to_le_bytes());
    }
    file
}

/// Makes a file look as if it was written to so long ago.
fn age(path: &Path, by: Duration) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - by).unwrap();
}
