//! Brings a model here: fetched, compared, unpacked beside, looked at, tried, and only then put in its place.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use reqwest::Url;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::download::{self, Download, MARGIN};
use super::manifest::{self, Damage, Manifest, missing_parts, parts_expected, sha256_of};
use super::sums;
use super::trial::{Trial, Try};
use super::unpack::{self, Limits, make_directory};
use super::{Event, Known, PUBLISHER, Watch, find, language_in, names, small};
use crate::domain::Language;
use crate::runtime::digest::hex;

/// An installation that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such model.
    #[error(
        "there is no model {name:?}; name a language (en, hi), an http:// or https:// address of a zip file, or one \
         of: {}", names().join(", ")
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Not an address of an archive.
    #[error("{address:?} is not the address of a model: {problem}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Nothing tells the language.
    #[error("the name {name:?} does not tell the language: add --language en or --language hi")]
    Language {
        /// The model.
        name: String,
    },
    /// Not a checksum.
    #[error("a SHA-256 is 64 hexadecimal digits, which {0:?} is not")]
    NotASum(String),
    /// Nobody says what an archive must be.
    #[error(
        "{url} is {why}: say with --sha256 what the archive must be (`sha256sum` tells it of a copy that you trust)"
    )]
    NoSum {
        /// The archive.
        url: String,
        /// What makes it needed.
        why: &'static str,
    },
    /// It is not what it was the first time.
    #[error(
        "the archive of {name} has SHA-256 {found}, and the first one that was installed here had {first}: it was \
         removed. If the publisher has a new one, give its sum with --sha256, or take the line out of {}", file.display()
    )]
    AnotherSum {
        /// The model.
        name: String,
        /// Of the archive.
        found: String,
        /// Of the first.
        first: String,
        /// Where that is kept.
        file: PathBuf,
    },
    /// The model directory cannot be used.
    #[error(
        "cannot use the model directory {}: run this as a user who may write there (the daemon's own, for instance \
         `sudo -u capconduit …`) or set transcription.model_directory", path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else installs.
    #[error("another installation into {} is under way; wait for it to end", .0.display())]
    Busy(PathBuf),
    /// A language's name is taken.
    #[error(
        "{} is no link, so it cannot be made to point to the new model: rename it to the name of the model in it and \
         run the command again", .0.display()
    )]
    NotALink(PathBuf),
    /// It could not be fetched.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// It is not the file that was wanted.
    #[error(
        "the archive has SHA-256 {found}, not {wanted}: it was removed; see where each of the two comes from"
    )]
    Sum {
        /// Of the archive.
        found: String,
        /// As given.
        wanted: String,
    },
    /// It could not be unpacked.
    #[error("the model was not installed{}", after(source))]
    Unpack {
        /// Why.
        source: unpack::Error,
    },
    /// Not a model, or half of one.
    #[error("the archive holds no whole Vosk model: {} missing ({})", .0.join(", "), parts_expected())]
    Incomplete(Vec<&'static str>),
    /// The transcriber cannot use it.
    #[error("the model cannot be used and was not installed: {0}")]
    Unusable(String),
    /// A file could not be read or written.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn after(source: &unpack::Error) -> &'static str {
    if source.of_archive() {
        "; what was fetched is removed, run the command again to fetch it anew"
    } else {
        ""
    }
}

/// What is to be installed.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name: that of its directory.
    pub name: String,
    /// The archive.
    pub url: Url,
    /// The language it is to be used for.
    pub language: Language,
    /// Checksum the archive must have.
    pub sha256: Option<String>,
}

/// What an archive is asked for by.
#[derive(Debug, Clone)]
pub enum Source {
    /// A model of the catalogue.
    Known(&'static Known),
    /// An address.
    Address(Url),
}

impl Source {
    /// Reads a language, a name of the catalogue, or an address.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Some(known) = Language::parse(text).and_then(small).or_else(|| find(text)) {
            return Ok(Self::Known(known));
        }
        if !text.contains("://") {
            let name = text.to_owned();
            return Err(Error::Unknown { name });
        }
        Ok(Self::Address(address(text)?))
    }
}

fn address(text: &str) -> Result<Url, Error> {
    let wrong = |problem| Error::Address {
        address: text.to_owned(),
        problem,
    };
    let url = Url::parse(text).map_err(|_| wrong("it cannot be read"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated: it holds a password.
        return Err(Error::Address {
            address: url.host_str().unwrap_or_default().to_owned(),
            problem: "it must be without user and password",
        });
    }
    Ok(url)
}

impl Wanted {
    /// Puts together what the command line says. `publisher` is where models of the catalogue are.
    pub fn new(
        source: &Source,
        publisher: Option<&str>,
        language: Option<Language>,
        sha256: Option<&str>,
    ) -> Result<Self, Error> {
        let url = match source {
            Source::Address(url) => url.clone(),
            Source::Known(known) => {
                let base = publisher.unwrap_or(PUBLISHER).trim_end_matches('/');
                address(&format!("{base}/{}.zip", known.name))?
            }
        };
        let last = url.path_segments().and_then(|mut s| s.next_back());
        let name = last.and_then(|last| last.strip_suffix(".zip"));
        let fits = |name: &&str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            (1..=100).contains(&name.len())
                && name.bytes().all(plain)
                && !name.starts_with(['.', '-'])
                && Language::parse(name).is_none()
        };
        let Some(name) = name.filter(fits).map(ToOwned::to_owned) else {
            return Err(Error::Address {
                address: url.to_string(),
                problem: "it must end in the model's name (letters, digits, - _ .) and .zip",
            });
        };
        let Some(language) = language.or_else(|| language_in(&name)) else {
            return Err(Error::Language { name });
        };
        let sha256 = match sha256.map(str::to_ascii_lowercase) {
            Some(sum) if sum.len() != 64 || !sum.bytes().all(|b| b.is_ascii_hexdigit()) => {
                return Err(Error::NotASum(sum));
            }
            sum => sum,
        };
        Ok(Self {
            name,
            url,
            language,
            sha256,
        })
    }
}

impl Wanted {
    /// Refuses what nobody vouches for: a checksum must be given of anything but the publisher's own models, and of
    /// whatever comes without TLS.
    pub fn check_origin(&self, source: &Source) -> Result<(), Error> {
        let why = match source {
            _ if self.sha256.is_some() => return Ok(()),
            Source::Address(_) => "not of the catalogue",
            Source::Known(_) if self.url.scheme() != "https" => {
                "fetched without TLS, so that anybody on the way can change it"
            }
            Source::Known(_) => return Ok(()),
        };
        let mut url = self.url.clone();
        // It may hold a key.
        url.set_query(None);
        let url = url.to_string();
        Err(Error::NoSum { url, why })
    }
}

/// How and where models are installed.
#[derive(Clone)]
pub struct Installer {
    /// The model directory.
    pub directory: PathBuf,
    /// Who tries them.
    pub try_out: Try,
    /// How patiently archives are fetched.
    pub download: Download,
    /// What an archive may hold.
    pub limits: Limits,
    /// Who is told.
    pub watch: Watch,
}

/// A model that is in its place now.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Its directory.
    pub directory: PathBuf,
    /// SHA-256 of its archive, in hexadecimal.
    pub archive_sha256: String,
    /// It was there already and is whole; nothing was fetched.
    pub already: bool,
    /// What a transcriber said.
    pub trial: Trial,
    /// What its language used before.
    pub before: Option<PathBuf>,
}

/// The model that the link of a language points to.
pub fn linked(directory: &Path, language: Language) -> Option<PathBuf> {
    let target = fs::read_link(directory.join(language.as_str())).ok()?;
    Some(directory.join(target))
}

impl Installer {
    /// Installs a model and has its language use it. What was in use stays until the last moment, and stays
    /// installed.
    pub async fn install(&self, wanted: &Wanted, at: Timestamp) -> Result<Installed, Error> {
        let cache = self.directory.join(".download");
        for path in [&self.directory, &cache] {
            make_directory(path).map_err(|source| self.unusable(source))?;
        }
        let _lock = self.lock()?;
        self.remove_leftovers();
        let link = self.directory.join(wanted.language.as_str());
        let found = fs::symlink_metadata(&link);
        if found.is_ok_and(|found| !found.is_symlink()) {
            return Err(Error::NotALink(link));
        }
        let place = self.directory.join(&wanted.name);
        if let Some(manifest) = whole(place.clone(), wanted).await {
            (self.watch)(Event::Trying);
            let trial = (self.try_out)(wanted.language, place.clone()).await;
            if let Trial::Unusable(problem) = trial {
                return Err(Error::Unusable(problem));
            }
            let before = self.point(wanted)?;
            return Ok(Installed {
                directory: place,
                archive_sha256: manifest.archive_sha256,
                already: true,
                trial,
                before,
            });
        }
        let part = cache.join(format!("{}.zip.part", wanted.name));
        let archive_bytes = self.download.fetch(&wanted.url, &part, &self.watch).await?;
        let archive_sha256 = self.compare(wanted, &part).await?;

        let new = NewDirectory(self.directory.join(format!(".install-{}", wanted.name)));
        let unpacked = self.unpack(&part, &new.0).await;
        let missing = missing_parts(&new.0);
        match unpacked {
            Err(Error::Unpack { source }) if source.of_archive() => {
                download::forget(&part).await;
                return Err(Error::Unpack { source });
            }
            Ok(()) if !missing.is_empty() => {
                download::forget(&part).await;
                return Err(Error::Incomplete(missing));
            }
            unpacked => unpacked?,
        }
        (self.watch)(Event::Trying);
        let trial = (self.try_out)(wanted.language, new.0.clone()).await;
        if let Trial::Unusable(problem) = trial {
            return Err(Error::Unusable(problem));
        }
        let mut url = wanted.url.clone();
        // It may hold a key.
        url.set_query(None);
        let manifest = Manifest {
            name: wanted.name.clone(),
            url: url.to_string(),
            archive_sha256: archive_sha256.clone(),
            archive_bytes,
            installed_at: at,
            files: Vec::new(),
        };
        let directory = new.0.clone();
        blocking(move || describe(manifest, &directory)).await?;
        self.put(&new.0, &place)?;
        let before = self.point(wanted)?;
        if find(&wanted.name).is_some() {
            let noted = sums::note(
                &self.directory,
                &wanted.name,
                &archive_sha256,
                wanted.sha256.is_some(),
            );
            noted.map_err(|source| self.no_sums(source))?;
        }
        download::forget(&part).await;
        Ok(Installed {
            directory: place,
            archive_sha256,
            already: false,
            trial,
            before,
        })
    }

    fn unusable(&self, source: io::Error) -> Error {
        let path = self.directory.clone();
        Error::Directory { path, source }
    }

    /// Held as long as the file is open.
    fn lock(&self) -> Result<File, Error> {
        let path = self.directory.join(".lock");
        let opened = File::options().create(true).append(true).open(&path);
        let file = opened.map_err(|source| self.unusable(source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Busy(self.directory.clone())),
            Err(error) => Err(Error::Io {
                path,
                source: error.into(),
            }),
        }
    }

    /// What an installation left that was killed. Nobody else's, as we have the lock.
    fn remove_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(".install-") || name.starts_with(".old-") {
                let _ = fs::remove_dir_all(entry.path());
            } else if name.starts_with(".link-") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Of the first archive of a model that was installed here.
    fn first_sum(&self, name: &str) -> Result<Option<String>, Error> {
        let known = sums::read(&self.directory).map_err(|source| self.no_sums(source))?;
        Ok(known.get(name).map(|sum| sum.to_ascii_lowercase()))
    }

    fn no_sums(&self, source: io::Error) -> Error {
        let path = sums::place(&self.directory);
        Error::Io { path, source }
    }

    async fn compare(&self, wanted: &Wanted, part: &Path) -> Result<String, Error> {
        (self.watch)(Event::Hashing);
        let path = part.to_owned();
        let hashed = blocking(move || {
            let hashed = sha256_of(&path);
            hashed.map_err(|source| Error::Io { path, source })
        });
        let found = hex(&hashed.await?.0);
        match &wanted.sha256 {
            Some(sum) if *sum != found => {
                download::forget(part).await;
                let wanted = sum.clone();
                Err(Error::Sum { found, wanted })
            }
            None if find(&wanted.name).is_some() => {
                let first = self.first_sum(&wanted.name)?;
                match first {
                    Some(first) if first != found => {
                        download::forget(part).await;
                        Err(Error::AnotherSum {
                            name: wanted.name.clone(),
                            found,
                            first,
                            file: sums::place(&self.directory),
                        })
                    }
                    _ => Ok(found),
                }
            }
            _ => Ok(found),
        }
    }

    async fn unpack(&self, part: &Path, new: &Path) -> Result<(), Error> {
        let (part, new) = (part.to_owned(), new.to_owned());
        let (limits, watch) = (self.limits, self.watch.clone());
        let directory = self.directory.clone();
        blocking(move || {
            let wrong = |source| Error::Unpack { source };
            let archive = unpack::open(&part, &limits).map_err(wrong)?;
            download::room(&directory, archive.declared + MARGIN)?;
            make_directory(&new).map_err(|source| Error::Io {
                path: new.clone(),
                source,
            })?;
            archive.unpack_into(&new, &watch).map_err(wrong)
        })
        .await
    }

    /// Puts the new directory where the model belongs, in one step.
    fn put(&self, new: &Path, place: &Path) -> Result<(), Error> {
        let wrong = |source: io::Error| Error::Io {
            path: place.to_owned(),
            source,
        };
        if fs::symlink_metadata(place).is_err() {
            fs::rename(new, place).map_err(wrong)?;
        } else if renameat_with(CWD, new, CWD, place, RenameFlags::EXCHANGE).is_err() {
            // Not every file system can exchange. The damaged one makes room.
            let old = self.directory.join(".old-model");
            fs::rename(place, &old).map_err(wrong)?;
            fs::rename(new, place).map_err(wrong)?;
            let _ = fs::remove_dir_all(old);
        }
        sync(&self.directory)
    }

    /// Has the link of the language point to the model, in one step.
    fn point(&self, wanted: &Wanted) -> Result<Option<PathBuf>, Error> {
        let before = linked(&self.directory, wanted.language);
        let link = self.directory.join(wanted.language.as_str());
        let new = self.directory.join(format!(".link-{}", wanted.language));
        let wrong = |source| Error::Io {
            path: link.clone(),
            source,
        };
        symlink(&wanted.name, &new).map_err(wrong)?;
        fs::rename(&new, &link).map_err(wrong)?;
        sync(&self.directory)?;
        Ok(before)
    }
}

/// A directory that is removed again unless it was renamed meanwhile.
struct NewDirectory(PathBuf);

impl Drop for NewDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The manifest of the model that is wanted, if it is installed and nothing has happened to it.
async fn whole(place: PathBuf, wanted: &Wanted) -> Option<Manifest> {
    let wanted = wanted.clone();
    let looked = blocking(move || {
        let manifest = Manifest::read(&place).ok().flatten();
        Ok(manifest.filter(|manifest| {
            let mut url = wanted.url.clone();
            url.set_query(None);
            let same = match &wanted.sha256 {
                Some(sum) => manifest.archive_sha256 == *sum,
                None => manifest.url == url.as_str(),
            };
            let damage: Vec<Damage> = if same {
                manifest.verify(&place)
            } else {
                Vec::new()
            };
            same && damage.is_empty() && missing_parts(&place).is_empty()
        }))
    });
    looked.await.ok().flatten()
}

/// Writes the manifest of the files in a directory, and everything to the disk.
fn describe(mut manifest: Manifest, directory: &Path) -> Result<(), Error> {
    let wrong = |source| Error::Io {
        path: directory.to_owned(),
        source,
    };
    manifest.files = Manifest::entries(directory).map_err(wrong)?;
    let text = serde_json::to_vec_pretty(&manifest).map_err(|e| wrong(e.into()))?;
    let path = directory.join(manifest::FILE);
    fs::write(&path, text).map_err(wrong)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&path, readable).map_err(wrong)?;
    sync(&path)?;
    let mut directories = vec![directory];
    for entry in &manifest.files {
        directories.extend(entry.path.ancestors().skip(1));
    }
    directories.sort_unstable();
    directories.dedup();
    for below in directories {
        sync(&directory.join(below))?;
    }
    Ok(())
}

/// Writes a file's or a directory's contents to the disk.
fn sync(path: &Path) -> Result<(), Error> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Io {
            path: PathBuf::new(),
            source: io::Error::other(error),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Result<Wanted, Error> {
        Wanted::new(&Source::parse(text)?, None, None, None)
    }

    #[test]
    fn a_language_means_its_small_model() {
        let hindi = wanted("hi").unwrap();
        assert_eq!(hindi.name, "vosk-model-small-hi-0.22");
        assert_eq!(hindi.language, Language::Hindi);
        let expected = "https://alphacephei.com/vosk/models/vosk-model-small-hi-0.22.zip";
        assert_eq!(hindi.url.as_str(), expected);
    }

    #[test]
    fn an_unknown_name_lists_those_there_are() {
        let error = wanted("vosk-model-xx").unwrap_err().to_string();
        assert!(error.contains("vosk-model-small-en-us-0.15"), "{error}");
    }

    #[test]
    fn addresses_must_lead_to_an_archive() {
        for address in [
            "ftp://example.com/m-en.zip",
            "https://example.com/",
            "https://example.com/m-en.tar.gz",
            "https://example.com/en.zip",
            "https://example.com/.zip",
            "https://example.com/..zip",
            "https://example.com/a%2Fb-en.zip",
            "https://user:pass@example.com/m-en.zip",
            "https://example.com/model.zip",
        ] {
            assert!(wanted(address).is_err(), "{address}");
        }
        let good = wanted("http://127.0.0.1:81/a/m-en-1.zip?key=1").unwrap();
        assert_eq!(
            (good.name.as_str(), good.language),
            ("m-en-1", Language::English)
        );
    }
}
