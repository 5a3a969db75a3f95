//! What is in use stays in use until its successor is there.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use capconduit::vosk_models::{InstallError, Manifest};

use super::{ENGLISH, World, archive, assert_same_files, files_of, zip_of};

/// The English model under another name.
fn renamed(name: &str) -> Vec<u8> {
    let files = files_of(ENGLISH).into_iter();
    let renamed = files.map(|(path, bytes)| (path.replacen(ENGLISH, name, 1), bytes));
    zip_of(&renamed.collect::<Vec<_>>())
}

#[tokio::test]
async fn a_language_goes_over_to_a_new_model_in_one_step_and_the_old_one_stays() {
    let world = World::english().await;
    world.install(ENGLISH).await.unwrap();
    world.server.change(|s| s.bytes = renamed("other-en"));

    // Somebody looks all the time: there must always be a whole model.
    let link = world.at("en");
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut looks = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                std::fs::metadata(link.join("am/final.mdl")).expect("there is a model");
                std::fs::metadata(link.join("graph/Gr.fst")).expect("there is a model");
                looks += 1;
            }
            looks
        })
    };
    let installed = world.install("other-en").await.unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(watcher.join().unwrap() > 0);

    assert_eq!(installed.before, Some(world.at(ENGLISH)));
    assert_eq!(
        std::fs::read_link(world.at("en")).unwrap(),
        Path::new("other-en")
    );
    assert_eq!(world.visible(), ["en", "other-en", ENGLISH]);
    assert_same_files(&world.at(ENGLISH), ENGLISH);

    // And back, without fetching anything.
    let asked = world.server.asked().len();
    assert!(world.install(ENGLISH).await.unwrap().already);
    assert_eq!(
        std::fs::read_link(world.at("en")).unwrap(),
        Path::new(ENGLISH)
    );
    assert_eq!(world.server.asked().len(), asked);
}

#[tokio::test]
async fn a_failed_installation_leaves_the_old_model_in_use() {
    let world = World::english().await;
    world.install(ENGLISH).await.unwrap();
    world.server.change(|s| {
        s.bytes = renamed("other-en");
        s.cuts = vec![1000, 0, 0, 0, 0];
    });
    world.install("other-en").await.unwrap_err();
    world.server.change(|s| {
        s.cuts.clear();
        s.bytes = b"no archive".to_vec();
        s.etag = Some("\"two\"");
    });
    world.install("other-en").await.unwrap_err();
    assert_eq!(
        std::fs::read_link(world.at("en")).unwrap(),
        Path::new(ENGLISH)
    );
    assert_same_files(&world.at("en"), ENGLISH);
    assert_eq!(world.visible(), ["en", ENGLISH]);
    assert!(world.rests().is_empty());
}

#[tokio::test]
async fn a_damaged_model_is_replaced_by_a_whole_one() {
    let world = World::english().await;
    world.install(ENGLISH).await.unwrap();
    let path = world.at("en/am/final.mdl");
    let before = std::fs::metadata(world.at(ENGLISH)).unwrap().ino();
    std::fs::write(&path, b"damage").unwrap();
    let installed = world.install(ENGLISH).await.unwrap();
    assert!(!installed.already);
    assert_same_files(&world.at("en"), ENGLISH);
    assert_ne!(std::fs::metadata(world.at(ENGLISH)).unwrap().ino(), before);
    assert!(world.rests().is_empty(), "{:?}", world.rests());
}

#[tokio::test]
async fn two_installations_exclude_each_other() {
    let world = World::english().await;
    world.server.change(|s| {
        s.cuts = vec![1000];
        s.stalls = true;
    });
    let mut installer = world.installer.clone();
    installer.download.read = std::time::Duration::from_secs(60);
    let source = capconduit::vosk_models::Source::parse(&world.server.url(ENGLISH)).unwrap();
    let wanted = capconduit::vosk_models::Wanted::new(&source, None, None, None).unwrap();
    let first = tokio::spawn(async move {
        installer
            .install(&wanted, jiff::Timestamp::UNIX_EPOCH)
            .await
    });
    crate::support::eventually("the first one downloads", async || {
        !world.server.asked().is_empty()
    })
    .await;
    let error = world.install(ENGLISH).await.unwrap_err();
    assert!(matches!(error, InstallError::Busy(_)), "{error:?}");
    first.abort();
    let _ = first.await;
    world.server.change(|s| s.stalls = false);
    world.install(ENGLISH).await.unwrap();
}

#[tokio::test]
async fn what_a_killed_installation_left_is_cleared_away() {
    let world = World::english().await;
    std::fs::create_dir_all(world.at(".install-x/am")).unwrap();
    std::fs::write(world.at(".install-x/am/final.mdl"), "half").unwrap();
    std::os::unix::fs::symlink("x", world.at(".link-en")).unwrap();
    world.install(ENGLISH).await.unwrap();
    assert!(world.rests().is_empty(), "{:?}", world.rests());
}

#[tokio::test]
async fn a_directory_named_as_a_language_is_not_touched() {
    let world = World::english().await;
    std::fs::create_dir_all(world.at("en/am")).unwrap();
    let error = world.install(ENGLISH).await.unwrap_err();
    assert!(matches!(error, InstallError::NotALink(_)), "{error:?}");
    assert!(world.server.asked().is_empty());
    assert!(world.at("en/am").is_dir());
}

#[tokio::test]
async fn the_manifest_tells_where_a_model_came_from_and_what_it_is_made_of() {
    let world = World::english().await;
    world.install(ENGLISH).await.unwrap();
    let manifest = Manifest::read(&world.at(ENGLISH)).unwrap().unwrap();
    assert_eq!(manifest.name, ENGLISH);
    assert_eq!(manifest.url, world.server.url(ENGLISH));
    assert_eq!(manifest.archive_bytes, archive(ENGLISH).len() as u64);
    assert_eq!(manifest.files.len(), files_of(ENGLISH).len());
    assert!(manifest.verify(&world.at(ENGLISH)).is_empty());
    // Whoever installs, the daemon reads.
    let mode = |name: &str| std::fs::metadata(world.at(name)).unwrap().mode() & 0o777;
    assert_eq!(mode(ENGLISH), 0o755);
    assert_eq!(mode("en/am/final.mdl"), 0o644);
    assert_eq!(mode("en/capconduit-model.json"), 0o644);
}
