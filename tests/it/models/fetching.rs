//! Connections that break, servers that cannot resume, files that change meanwhile.

use std::time::Duration;

use capconduit::vosk_models::{DownloadError, InstallError, Trial};

use super::{ENGLISH, World, answering, archive, assert_same_files};

#[tokio::test]
async fn a_model_is_installed() {
    let world = World::english().await;
    let installed = world.install(ENGLISH).await.unwrap();
    assert_eq!(installed.directory, world.at(ENGLISH));
    assert!(matches!(installed.trial, Trial::Untried(_)));
    assert_same_files(&world.at(ENGLISH), ENGLISH);
    assert_same_files(&world.at("en"), ENGLISH);
    assert_eq!(world.visible(), ["en", ENGLISH]);
    assert!(world.rests().is_empty(), "{:?}", world.rests());
    assert!(!world.part().exists());

    let again = world.install(ENGLISH).await.unwrap();
    assert!(again.already);
    assert_eq!(world.server.asked().len(), 1);
}

#[tokio::test]
async fn a_cut_connection_is_resumed_and_no_byte_comes_twice() {
    let world = World::english().await;
    let whole = archive(ENGLISH).len();
    world.server.change(|s| s.cuts = vec![whole / 2, 1000]);
    world.install(ENGLISH).await.unwrap();
    assert_same_files(&world.at(ENGLISH), ENGLISH);
    let asked = world.server.asked();
    let ranges: Vec<_> = asked.iter().map(|a| a.range.clone()).collect();
    let from = |n: usize| Some(format!("bytes={n}-"));
    assert_eq!(ranges, [None, from(whole / 2), from(whole / 2 + 1000)]);
    assert_eq!(asked[1].if_range.as_deref(), Some("\"one\""));
    assert_eq!(world.server.sent(), whole);
}

#[tokio::test]
async fn a_later_run_goes_on_where_an_earlier_one_gave_up() {
    let world = World::english().await;
    let whole = archive(ENGLISH).len();
    world
        .server
        .change(|s| s.cuts = vec![whole / 3, 0, 0, 0, 0]);
    let error = world.install(ENGLISH).await.unwrap_err();
    assert!(
        matches!(error, InstallError::Download(DownloadError::Broken { have, .. }) if have == whole as u64 / 3),
        "{error:?}"
    );
    assert!(world.visible().is_empty());
    world.server.change(|s| s.cuts.clear());
    world.install(ENGLISH).await.unwrap();
    assert_eq!(world.server.sent(), whole);
    assert_eq!(world.resumed_at().first(), Some(&(whole as u64 / 3)));
    assert_same_files(&world.at(ENGLISH), ENGLISH);
}

#[tokio::test]
async fn a_server_that_cannot_resume_sends_all_of_it_again() {
    let world = World::english().await;
    let whole = archive(ENGLISH).len();
    world.server.change(|s| {
        s.ranges = false;
        s.cuts = vec![whole / 2];
    });
    world.install(ENGLISH).await.unwrap();
    let asked = world.server.asked();
    assert_eq!((asked[1].status, asked[1].sent), (200, whole));
    assert_same_files(&world.at(ENGLISH), ENGLISH);
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_fetched_anew() {
    let mut other = archive(ENGLISH);
    // Same length, so that only the tag tells.
    let last = other.len() - 30;
    other[last..].fill(b'x');
    let world = World::new(other).await;
    world.server.change(|s| s.cuts = vec![1000, 0, 0, 0, 0]);
    world.install(ENGLISH).await.unwrap_err();
    world.server.change(|s| {
        s.bytes = archive(ENGLISH);
        s.etag = Some("\"two\"");
        s.cuts.clear();
    });
    world.install(ENGLISH).await.unwrap();
    let asked = world.server.asked();
    let last = asked.last().unwrap();
    assert_eq!(last.if_range.as_deref(), Some("\"one\""));
    assert_eq!(last.status, 200);
    assert_same_files(&world.at(ENGLISH), ENGLISH);
}

#[tokio::test]
async fn without_tags_a_rest_of_the_same_length_is_taken() {
    let world = World::english().await;
    let whole = archive(ENGLISH).len();
    world.server.change(|s| {
        s.etag = None;
        s.cuts = vec![5000];
    });
    world.install(ENGLISH).await.unwrap();
    assert_eq!(world.server.sent(), whole);
    assert_same_files(&world.at(ENGLISH), ENGLISH);
}

#[tokio::test]
async fn without_tags_a_mixture_is_found_by_the_archives_checksums_and_removed() {
    let whole = archive(ENGLISH);
    let world = World::new(vec![7; whole.len()]).await;
    world.server.change(|s| {
        s.etag = None;
        s.cuts = vec![5000, 0, 0, 0, 0];
    });
    world.install(ENGLISH).await.unwrap_err();
    world.server.change(|s| {
        s.bytes = whole;
        s.cuts.clear();
    });
    let error = world.install(ENGLISH).await.unwrap_err();
    assert!(matches!(error, InstallError::Unpack { .. }), "{error:?}");
    assert!(!world.part().exists());
    world.install(ENGLISH).await.unwrap();
    assert_same_files(&world.at(ENGLISH), ENGLISH);
}

#[tokio::test]
async fn a_complete_file_whose_installation_failed_is_not_fetched_again() {
    let mut world = World::english().await;
    let whole = archive(ENGLISH).len();
    let trial = world.installer.try_out.clone();
    world.installer.try_out = answering(Trial::Unusable("it is not".to_owned()));
    let error = world.install(ENGLISH).await.unwrap_err();
    assert!(matches!(error, InstallError::Unusable(_)), "{error:?}");
    assert!(world.visible().is_empty());
    assert!(world.rests().is_empty(), "{:?}", world.rests());
    world.installer.try_out = trial;
    world.install(ENGLISH).await.unwrap();
    assert_eq!(world.server.sent(), whole);
    assert_eq!(world.server.asked().last().unwrap().status, 416);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_one_without_the_file_is_not() {
    let world = World::english().await;
    world.server.change(|s| s.statuses = vec![503, 429]);
    world.install(ENGLISH).await.unwrap();
    assert_eq!(world.server.asked().len(), 3);

    let world = World::english().await;
    world.server.change(|s| s.statuses = vec![404]);
    let error = world.install(ENGLISH).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("404") && said.contains("model list"),
        "{said}"
    );
    assert_eq!(world.server.asked().len(), 1);
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for_for_ever() {
    let mut world = World::english().await;
    world.installer.download.read = Duration::from_millis(100);
    world.server.change(|s| {
        s.cuts = vec![1000];
        s.stalls = true;
    });
    // The first answer stalls; the rest comes with the next.
    world.install(ENGLISH).await.unwrap();
    assert_eq!(world.resumed_at(), [1000]);
}

#[tokio::test]
async fn a_length_that_is_not_told_is_no_hindrance() {
    let world = World::english().await;
    world.server.change(|s| s.length = false);
    world.install(ENGLISH).await.unwrap();
    assert_same_files(&world.at(ENGLISH), ENGLISH);
}

#[tokio::test]
async fn more_than_any_model_has_is_not_taken() {
    let mut world = World::english().await;
    world.installer.download.max_bytes = 10_000;
    let error = world.install(ENGLISH).await.unwrap_err();
    assert!(matches!(
        error,
        InstallError::Download(DownloadError::TooLarge { .. })
    ));
}

#[tokio::test]
async fn another_checksum_is_refused_and_the_file_removed() {
    let world = World::english().await;
    let wrong = "0".repeat(64);
    let error = world.install_with(ENGLISH, Some(&wrong)).await.unwrap_err();
    let InstallError::Sum { found, .. } = error else {
        panic!("{error:?}");
    };
    assert!(world.visible().is_empty());
    assert!(!world.part().exists());
    let right = found.to_uppercase();
    let installed = world.install_with(ENGLISH, Some(&right)).await.unwrap();
    assert_eq!(installed.archive_sha256, found);
}

#[tokio::test]
async fn an_archive_of_the_catalogue_is_what_it_was_the_first_time() {
    const NAME: &str = "vosk-model-small-en-us-0.15";
    let world = World::english().await;
    let first = world.install(NAME).await.unwrap();
    let known = std::fs::read_to_string(world.at("known-sums.json")).unwrap();
    assert!(known.contains(&first.archive_sha256), "{known}");
    // Elsewhere somebody knew another sum before.
    std::fs::remove_dir_all(world.at(NAME)).unwrap();
    let other = "0".repeat(64);
    std::fs::write(
        world.at("known-sums.json"),
        format!("{{\"{NAME}\": \"{other}\"}}"),
    )
    .unwrap();
    let error = world.install(NAME).await.unwrap_err();
    assert!(matches!(error, InstallError::AnotherSum { .. }), "{error}");
    assert!(error.to_string().contains("known-sums.json"), "{error}");
    assert!(!world.at(NAME).exists());
    // Whoever says what it must be is believed.
    let sum = first.archive_sha256.as_str();
    world.install_with(NAME, Some(sum)).await.unwrap();
    std::fs::remove_dir_all(world.at(NAME)).unwrap();
    world.install(NAME).await.unwrap();
}
