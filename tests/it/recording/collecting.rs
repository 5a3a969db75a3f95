use std::time::Duration;

use capconduit::domain::{DialStatus, Leg, Stem};
use capconduit::recordings::collector::Round;
use sha2::{Digest as _, Sha256};

use super::{Studio, age, wav};
use crate::support::eventually;

#[tokio::test]
async fn a_recorded_call_is_stored_with_all_its_legs() {
    let studio = Studio::new().await;
    let sql = "update campaigns set recording_retention_days = 30";
    studio.world.db.run(sql).await;
    let (caller, stem) = studio.offered().await;
    studio.write(&stem, Leg::Caller, &wav(16_000, true));
    studio.write(&stem, Leg::Agent, &wav(8_000, true));
    studio.write(&stem, Leg::Mix, &wav(16_000, true));
    // The call is not over yet.
    assert_eq!(studio.round().await, Round::default());
    caller.end(&studio.engine, Some(DialStatus::Answer)).await;
    assert_eq!(studio.round().await.stored, 1);

    assert_eq!(studio.state().await, "stored queued");
    assert!(studio.spool_files().is_empty());
    let agent = std::fs::read(studio.kept(&stem, Leg::Agent)).unwrap();
    assert_eq!(agent, wav(8_000, true));
    let row = studio
        .world
        .db
        .owner
        .query_one(
            "select object_key, bytes, sha256, sample_rate, f.duration_ms as leg_ms, f.user_id,
                    r.duration_ms as whole_ms, r.repaired,
                    r.delete_after = r.stored_at + interval '30 days' as thirty_days
             from recording_files f join recordings r using (recording_id) where leg = 'agent'",
            &[],
        )
        .await
        .unwrap();
    let digest: [u8; 32] = Sha256::digest(&agent).into();
    let key = format!("{}/{stem}-agent.wav", stem.day());
    assert_eq!(row.get::<_, String>("object_key"), key);
    assert_eq!(row.get::<_, i64>("bytes"), 16_044);
    assert_eq!(row.get::<_, Vec<u8>>("sha256"), digest);
    assert_eq!(row.get::<_, i32>("sample_rate"), 8_000);
    assert_eq!(row.get::<_, i64>("leg_ms"), 1_000);
    assert_eq!(row.get::<_, i64>("whole_ms"), 2_000);
    assert_eq!(row.get::<_, i32>("user_id"), 1);
    assert!(!row.get::<_, bool>("repaired"));
    assert!(row.get::<_, bool>("thirty_days"));
    assert_eq!(studio.round().await, Round::default());
}

#[tokio::test]
async fn a_header_that_a_crash_left_is_repaired() {
    let studio = Studio::new().await;
    let stem = studio.talked().await;
    for leg in Leg::ALL {
        // An odd byte at the end is half a sample.
        let mut cut = wav(16_000, false);
        cut.push(7);
        studio.write(&stem, *leg, &cut);
    }
    assert_eq!(
        studio.round().await,
        Round::default(),
        "it may be written to"
    );
    for leg in Leg::ALL {
        let path = studio.spool.path().join(format!("{stem}{}", leg.suffix()));
        age(&path, Duration::from_secs(11));
    }
    assert_eq!(studio.round().await.stored, 1);
    let mut whole = wav(16_000, true);
    whole.push(7);
    assert_eq!(std::fs::read(studio.kept(&stem, Leg::Mix)).unwrap(), whole);
    let repaired: bool = studio.world.db.one("select repaired from recordings").await;
    assert!(repaired);
    let length: i64 = studio
        .world
        .db
        .one("select duration_ms from recordings")
        .await;
    assert_eq!(length, 2_000);
}

#[tokio::test]
async fn what_was_never_answered_and_holds_no_sound_is_removed() {
    let studio = Studio::new().await;
    let (caller, stem) = studio.offered().await;
    for leg in Leg::ALL {
        let path = studio.write(&stem, *leg, &wav(0, false));
        age(&path, Duration::from_secs(11));
    }
    caller.end(&studio.engine, Some(DialStatus::Cancel)).await;
    assert_eq!(studio.round().await.empty, 1);
    assert!(studio.spool_files().is_empty());
    assert_eq!(studio.state().await, "");
}

#[tokio::test]
async fn an_answered_call_without_sound_has_nothing_to_transcribe() {
    let studio = Studio::new().await;
    let stem = studio.talked().await;
    let path = studio.write(&stem, Leg::Caller, &wav(0, true));
    age(&path, Duration::from_secs(11));
    assert_eq!(studio.round().await.empty, 1);
    assert!(studio.spool_files().is_empty());
    assert_eq!(studio.state().await, "missing cancelled recording_empty");
}

#[tokio::test]
async fn sound_of_a_call_nobody_saw_answered_is_kept() {
    let studio = Studio::new().await;
    let (caller, stem) = studio.offered().await;
    studio.write_all(&stem);
    caller.end(&studio.engine, Some(DialStatus::Cancel)).await;
    assert_eq!(studio.round().await.stored, 1);
    assert_eq!(studio.state().await, "stored queued");
    let language: String = studio.world.db.one("select language from recordings").await;
    assert_eq!(language, "hi");
}

#[tokio::test]
async fn files_that_come_after_all_are_no_longer_missing() {
    let studio = Studio::new().await;
    let stem = studio.talked().await;
    let earlier = "update recordings set expected_at = now() - interval '11 minutes'";
    studio.world.db.run(earlier).await;
    let mut collector = studio.collector();
    collector.round().await.unwrap();
    collector.look_around().await;
    assert_eq!(studio.state().await, "missing cancelled recording_missing");
    studio.write_all(&stem);
    assert_eq!(collector.round().await.unwrap().stored, 1);
    assert_eq!(studio.state().await, "stored queued");
}

#[tokio::test]
async fn files_in_sight_are_not_missing_however_long_they_wait() {
    let studio = Studio::new().await;
    let stem = studio.talked().await;
    studio.write(&stem, Leg::Caller, &wav(16_000, false));
    let earlier = "update recordings set expected_at = now() - interval '1 hour'";
    studio.world.db.run(earlier).await;
    let mut collector = studio.collector();
    collector.round().await.unwrap();
    collector.look_around().await;
    assert_eq!(studio.state().await, "expected waiting");
}

#[tokio::test]
async fn files_nobody_knows_are_reported_and_left_alone() {
    let studio = Studio::new().await;
    let nobodys = Stem::parse("20261121T081500Z-999999-1").unwrap();
    let fresh = Stem::parse("20261121T081500Z-999998-1").unwrap();
    let old = studio.write(&nobodys, Leg::Caller, &wav(100, true));
    age(&old, Duration::from_secs(3_700));
    studio.write(&fresh, Leg::Caller, &wav(100, true));
    let notes = studio.spool.path().join("notes.txt");
    std::fs::write(&notes, b"remember").unwrap();
    age(&notes, Duration::from_secs(3_700));
    std::fs::create_dir(studio.spool.path().join("stored")).unwrap();
    // A stem of another time than the attempt's is not the attempt's.
    let (_, stem) = studio.offered().await;
    let (call, attempt) = stem.call();
    let other = Stem::parse(&format!("20200101T000000Z-{call}-{attempt}")).unwrap();
    let other = studio.write(&other, Leg::Mix, &wav(100, true));
    age(&other, Duration::from_secs(3_700));

    assert_eq!(studio.round().await.unclaimed, 3);
    assert_eq!(studio.spool_files().len(), 5);
}

#[tokio::test]
async fn a_link_is_not_followed() {
    let studio = Studio::new().await;
    let stem = studio.talked().await;
    let secret = studio.stored.path().join("secret");
    std::fs::write(&secret, wav(100, true)).unwrap();
    let path = studio.spool.path().join(format!("{stem}-rx.wav"));
    std::os::unix::fs::symlink(&secret, path).unwrap();
    assert_eq!(studio.round().await.failed, 1);
    assert!(secret.exists());
    assert_eq!(studio.state().await, "expected waiting");
}

#[tokio::test]
async fn a_storage_that_fails_loses_nothing() {
    let studio = Studio::new().await;
    let stem = studio.talked().await;
    studio.write_all(&stem);
    // Where the directory should be is a file.
    let root = studio.stored.path().join("kept");
    std::fs::write(&root, b"in the way").unwrap();
    let mut collector = studio.collector();
    assert_eq!(collector.round().await.unwrap().failed, 1);
    assert_eq!(collector.round().await.unwrap().failed, 0, "not at once");
    assert_eq!(studio.spool_files().len(), 3);
    assert_eq!(studio.state().await, "expected waiting");
    std::fs::remove_file(&root).unwrap();
    let collector = tokio::sync::Mutex::new(collector);
    eventually("it is stored", || async {
        collector.lock().await.round().await.unwrap().stored == 1
    })
    .await;
    assert_eq!(studio.state().await, "stored queued");
    assert!(studio.spool_files().is_empty());
}

#[tokio::test]
async fn a_crash_between_any_two_steps_is_made_good() {
    let studio = Studio::new().await;
    let stem = studio.talked().await;
    // Stored, not written down.
    studio.write_all(&stem);
    let places = studio.places();
    let key = capconduit::recordings::object_storage::Key::of(&stem, Leg::Caller);
    let path = studio.spool.path().join(format!("{stem}-rx.wav"));
    places.storage.put(&path, &key).await.unwrap();
    assert_eq!(studio.round().await.stored, 1);
    // Written down, not removed; meanwhile it was transcribed.
    let done = "update transcription_jobs set state = 'done', finished_at = now()";
    studio.world.db.run(done).await;
    studio.write_all(&stem);
    assert_eq!(studio.round().await.stored, 1);
    assert_eq!(studio.state().await, "stored done");
    assert!(studio.spool_files().is_empty());
    let files: i64 = studio
        .world
        .db
        .one("select count(*) from recording_files")
        .await;
    assert_eq!(files, 3);
}

#[tokio::test]
async fn two_daemons_on_one_directory_store_each_recording_once() {
    let studio = Studio::new().await;
    let mut stems = Vec::new();
    for _ in 0..25 {
        let stem = studio.talked().await;
        studio.write_all(&stem);
        stems.push(stem);
    }
    let (mut one, mut two) = (studio.collector(), studio.collector());
    let (first, second) = tokio::join!(one.round(), two.round());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.failed, second.failed), (0, 0));
    one.round().await.unwrap();
    assert!(studio.spool_files().is_empty());
    for stem in &stems {
        for leg in Leg::ALL {
            assert_eq!(
                std::fs::read(studio.kept(stem, *leg)).unwrap(),
                wav(16_000, true)
            );
        }
    }
    let sql = "select count(*) from recordings join transcription_jobs j using (recording_id)
               where recordings.state = 'stored' and j.state = 'queued'";
    let stored: i64 = studio.world.db.one(sql).await;
    assert_eq!(stored, 25);
}
