use capconduit::domain::Leg;
use capconduit::recording::retention;

use super::Studio;

async fn stored(studio: &Studio) {
    let stem = studio.talked().await;
    studio.write_all(&stem);
    assert_eq!(studio.round().await.stored, 1);
}

#[tokio::test]
async fn a_recording_whose_time_is_over_goes_with_all_that_was_said() {
    let studio = Studio::new().await;
    stored(&studio).await;
    stored(&studio).await;
    studio
        .world
        .db
        .run(
            "insert into transcripts (recording_id, call_id, user_id, language, engine, engine_version, models,
                                      audio_ms, words, created_at, search)
             select recording_id, call_id, user_id, language, 'e', '1', '{}', 1, 1, now(), to_tsvector('simple', 'word')
             from recordings;
             insert into transcript_segments (recording_id, segment, speaker, language, start_ms, end_ms, text,
                                              confidence, words)
             select recording_id, 1, 'caller', 'hi', 0, 1, 'word', 1, '[]' from recordings;
             update recordings set delete_after = now() - interval '1 second' where recording_id = (select min(recording_id) from recordings)",
        )
        .await;
    let deleted = retention::round(&studio.places(), &studio.world.db.store()).await;
    assert_eq!(deleted.unwrap(), 1);
    assert_eq!(studio.state().await, "deleted none, stored queued");
    let left: String = studio
        .world
        .db
        .one(
            "select concat_ws(' ', (select count(*) from recording_files), (select count(*) from transcripts),
                              (select count(*) from transcript_segments))",
        )
        .await;
    assert_eq!(left, "3 1 1");
    let stem: String = studio
        .world
        .db
        .one("select stem from recordings order by recording_id limit 1")
        .await;
    let stem = capconduit::domain::Stem::parse(&stem).unwrap();
    for leg in Leg::ALL {
        assert!(!studio.kept(&stem, *leg).exists());
    }
    // Files of it that a crash left behind do not bring it back.
    studio.write_all(&stem);
    studio.round().await;
    assert!(studio.spool_files().is_empty());
    assert_eq!(studio.state().await, "deleted none, stored queued");
}

#[tokio::test]
async fn one_that_is_held_stays_and_so_does_one_that_is_kept_elsewhere() {
    let studio = Studio::new().await;
    for _ in 0..3 {
        stored(&studio).await;
    }
    studio
        .world
        .db
        .run(
            "update recordings set delete_after = now() - interval '1 day';
             update recordings set hold_reason = 'case 12'
                 where recording_id = (select min(recording_id) from recordings);
             update recordings set location = '/elsewhere'
                 where call_id = (select max(call_id) from recordings)",
        )
        .await;
    let deleted = retention::round(&studio.places(), &studio.world.db.store()).await;
    assert_eq!(deleted.unwrap(), 1);
    assert_eq!(
        studio.state().await,
        "stored queued, deleted none, stored queued"
    );
    let store = studio.world.db.store();
    let now = capconduit::clock::now();
    let places = studio.places();
    let counts = store.count_recordings(now, now, places.storage.location());
    assert!(counts.await.unwrap().elsewhere);
}

#[tokio::test]
async fn a_storage_that_is_away_deletes_nothing_and_is_asked_again() {
    let studio = Studio::new().await;
    stored(&studio).await;
    let due = "update recordings set delete_after = now() - interval '1 day'";
    studio.world.db.run(due).await;
    let root = studio.stored.path().join("kept");
    let aside = studio.stored.path().join("aside");
    std::fs::rename(&root, &aside).unwrap();
    let store = studio.world.db.store();
    assert!(retention::round(&studio.places(), &store).await.is_err());
    assert_eq!(studio.state().await, "stored queued");
    std::fs::rename(&aside, &root).unwrap();
    assert_eq!(retention::round(&studio.places(), &store).await.unwrap(), 1);
}
