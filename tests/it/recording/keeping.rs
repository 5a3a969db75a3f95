use capconduit::domain::Leg;
use capconduit::recordings::retention::{self, Limits};

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
    let now = capconduit::runtime::clock::now();
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

/// How many days each recording is kept, from its storing on.
async fn kept_days(studio: &Studio) -> String {
    let sql = "select string_agg(coalesce(extract(days from delete_after - stored_at)::text, 'ever'), ' ' order by recording_id)
               from recordings";
    studio.world.db.one(sql).await
}

#[tokio::test]
async fn what_a_campaign_and_the_platform_say_now_counts_for_what_is_stored() {
    let studio = Studio::new().await;
    for _ in 0..3 {
        stored(&studio).await;
    }
    let store = studio.world.db.store();
    let limits = |fewest, most| Limits { fewest, most };
    assert_eq!(kept_days(&studio).await, "ever ever ever");
    // One somebody asked to be deleted keeps its time, whatever the days.
    let asked = "update recordings set delete_after = stored_at + interval '3 days'
                 where recording_id = (select max(recording_id) from recordings)";
    studio.world.db.run(asked).await;
    let apply = async |limits| retention::apply(&store, limits, 0).await.unwrap();
    assert_eq!(apply(limits(None, Some(30))).await, 0);
    assert_eq!(kept_days(&studio).await, "30 30 3");
    studio
        .world
        .db
        .run("update campaigns set recording_retention_days = 90")
        .await;
    apply(limits(None, Some(30))).await;
    assert_eq!(kept_days(&studio).await, "30 30 3");
    apply(limits(None, Some(365))).await;
    assert_eq!(kept_days(&studio).await, "90 90 3");
    studio
        .world
        .db
        .run("update campaigns set recording_retention_days = 7")
        .await;
    apply(limits(Some(20), Some(365))).await;
    assert_eq!(kept_days(&studio).await, "20 20 3");
    apply(Limits::default()).await;
    assert_eq!(kept_days(&studio).await, "7 7 3");
    studio
        .world
        .db
        .run("update campaigns set recording_retention_days = null")
        .await;
    apply(limits(Some(20), None)).await;
    assert_eq!(kept_days(&studio).await, "ever ever 3");
}
