//! Models are fetched from a server on the loopback, unpacked, verified and tried.

mod archive_server;
mod command;
mod fetching;
mod packing;
mod switching;
mod trying;

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capconduit::vosk_models::{
    Download, Event, InstallError, Installed, Installer, Limits, Source, Trial, Try, Wanted,
};
use jiff::Timestamp;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use archive_server::ArchiveServer;

/// Our models' names, as the tests' archives have them.
const ENGLISH: &str = "vosk-model-tiny-en-digits-8k";
const HINDI: &str = "vosk-model-tiny-hi-digits-8k";

fn fixture(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures/vosk").join(name)
}

/// The files of a model of the fixtures, by path within the archive.
fn files_of(name: &str) -> Vec<(String, Vec<u8>)> {
    fn walk(directory: &Path, path: &str, files: &mut Vec<(String, Vec<u8>)>) {
        let mut entries: Vec<_> = std::fs::read_dir(directory).unwrap().flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                walk(&entry.path(), &path, files);
            } else {
                files.push((path, std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    let mut files = Vec::new();
    walk(&fixture(name), name, &mut files);
    files
}

fn zip_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        zip.start_file(path.as_str(), SimpleFileOptions::default())
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A model's archive as the publisher would make it.
fn archive(name: &str) -> Vec<u8> {
    zip_of(&files_of(name))
}

/// The SHA-256 of an archive, in hexadecimal.
fn sum_of(bytes: &[u8]) -> String {
    let (sum, _) = capconduit::runtime::digest::sha256(bytes).unwrap();
    capconduit::runtime::digest::hex(&sum)
}

/// Trials that always end so.
fn answering(trial: Trial) -> Try {
    Arc::new(move |_, _| Box::pin(std::future::ready(trial.clone())))
}

/// A model directory and a server.
struct World {
    directory: TempDir,
    server: ArchiveServer,
    installer: Installer,
    events: Arc<Mutex<Vec<Event>>>,
}

impl World {
    async fn new(bytes: Vec<u8>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = Arc::clone(&events);
        let installer = Installer {
            directory: directory.path().join("models"),
            try_out: answering(Trial::Untried("nobody is there".to_owned())),
            download: Download {
                first_wait: Duration::from_millis(1),
                read: Duration::from_secs(5),
                failures: 3,
                ..Download::default()
            },
            limits: Limits::default(),
            watch: Arc::new(move |event| sink.lock().unwrap().push(event)),
        };
        Self {
            directory,
            server: ArchiveServer::start(bytes).await,
            installer,
            events,
        }
    }

    async fn english() -> Self {
        Self::new(archive(ENGLISH)).await
    }

    async fn install(&self, name: &str) -> Result<Installed, InstallError> {
        self.install_with(name, None).await
    }

    async fn install_with(
        &self,
        name: &str,
        sha256: Option<&str>,
    ) -> Result<Installed, InstallError> {
        let source = Source::parse(&self.server.url(name))?;
        let wanted = Wanted::new(&source, None, None, sha256)?;
        self.installer.install(&wanted, Timestamp::UNIX_EPOCH).await
    }

    /// In the model directory.
    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join("models").join(name)
    }

    fn part(&self) -> PathBuf {
        self.at(&format!(".download/{ENGLISH}.zip.part"))
    }

    /// What is in the model directory but the lock, the directory of downloads and hidden rests.
    fn visible(&self) -> Vec<String> {
        self.names(|name| !name.starts_with('.'))
    }

    fn rests(&self) -> Vec<String> {
        self.names(|name| name.starts_with('.') && name != ".lock" && name != ".download")
    }

    fn names(&self, which: impl Fn(&str) -> bool) -> Vec<String> {
        let entries = std::fs::read_dir(self.at("")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| which(name)).collect();
        names.sort();
        names
    }

    fn resumed_at(&self) -> Vec<u64> {
        let events = self.events.lock().unwrap();
        let resumed = events.iter().filter_map(|event| match event {
            Event::Resuming { at } => Some(*at),
            _ => None,
        });
        resumed.collect()
    }
}

/// That an installed model has the files of the fixture it was made of.
fn assert_same_files(directory: &Path, name: &str) {
    for (path, bytes) in files_of(name) {
        let (_, below) = path.split_once('/').unwrap();
        assert!(
            std::fs::read(directory.join(below)).unwrap() == bytes,
            "{path} differs"
        );
    }
}
