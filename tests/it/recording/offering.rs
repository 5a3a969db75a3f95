use capconduit::domain::DialStatus;
use capconduit::routing::{Engine, Settings};

use super::Studio;
use crate::support::World;
use crate::support::world::{Caller, VerdictExt, link};

const STEMS: &str = "select string_agg(coalesce(recording_stem, 'none'), ',' order by call_id, attempt) from call_attempts";

#[tokio::test]
async fn an_offer_names_the_stem_that_its_attempt_keeps() {
    let studio = Studio::new().await;
    let (caller, stem) = studio.offered().await;
    let kept: String = studio.world.db.one(STEMS).await;
    assert_eq!(kept, stem.as_str());
    // The same question again, as from a dialplan that never saw the answer.
    let again = caller.route(&studio.engine).await.offer();
    assert_eq!(again.recording.unwrap().stem, stem);
    // The next target is another recording.
    let next = caller
        .route_after(&studio.engine, DialStatus::Busy)
        .await
        .offer();
    let next = next.recording.unwrap().stem;
    assert_eq!(next.call(), (stem.call().0, 2));
    let kept: String = studio.world.db.one(STEMS).await;
    assert_eq!(kept, format!("{stem},{next}"));
}

#[tokio::test]
async fn both_sides_are_told_where_the_campaign_says_so() {
    let studio = Studio::new().await;
    let sql = "update campaigns set recording_announcement = 'consent_en'";
    studio.world.db.run(sql).await;
    let caller = Caller::new();
    for _ in 0..2 {
        let offer = caller.route(&studio.engine).await.offer();
        let announcement = offer.recording.unwrap().announcement;
        assert_eq!(announcement.as_deref(), Some("consent_en"));
    }
}

#[tokio::test]
async fn nothing_is_recorded_unless_campaign_and_daemon_both_can() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    assert_eq!(caller.route(&engine).await.offer().recording, None);
    caller.end(&engine, Some(DialStatus::Answer)).await;

    world
        .db
        .run("update campaigns set recording_enabled = true")
        .await;
    let nowhere = Engine::new(
        world.db.store(),
        Settings {
            node: "b".to_owned(),
            ring_budget_seconds: 120,
            max_call_seconds: 14_400,
            records: false,
            servers: Vec::new(),
        },
    );
    let caller = Caller::new();
    assert_eq!(caller.route(&nowhere).await.offer().recording, None);
    caller.end(&nowhere, Some(DialStatus::Answer)).await;
    let kept: String = world.db.one(STEMS).await;
    assert_eq!(kept, "none,none");
    let rows: i64 = world.db.one("select count(*) from recordings").await;
    assert_eq!(rows, 0);
    world.assert_quiet().await;
}

#[tokio::test]
async fn the_end_of_an_answered_call_expects_its_recording_once() {
    let studio = Studio::new().await;
    let (caller, stem) = studio.offered().await;
    caller.end(&studio.engine, Some(DialStatus::Answer)).await;
    caller.end(&studio.engine, Some(DialStatus::Answer)).await;
    assert_eq!(studio.state().await, "expected waiting");
    let expected: String = studio
        .world
        .db
        .one(
            "select concat_ws(' ', r.stem, r.user_id, r.campaign_id, r.language, r.mask_numbers,
                              j.language, j.user_id, j.call_id = r.call_id)
             from recordings r join transcription_jobs j using (recording_id)",
        )
        .await;
    assert_eq!(expected, format!("{stem} 1 1 hi f hi 1 t"));
    studio.world.assert_quiet().await;
}

#[tokio::test]
async fn a_call_nobody_answered_expects_nothing() {
    let studio = Studio::new().await;
    let (caller, _) = studio.offered().await;
    caller.end(&studio.engine, Some(DialStatus::Cancel)).await;
    assert_eq!(studio.state().await, "");
}

#[tokio::test]
async fn only_the_attempt_that_talked_is_expected() {
    let studio = Studio::new().await;
    let (caller, _) = studio.offered().await;
    let next = caller
        .route_after(&studio.engine, DialStatus::NoAnswer)
        .await
        .offer();
    caller.end(&studio.engine, Some(DialStatus::Answer)).await;
    let stems: String = studio
        .world
        .db
        .one("select string_agg(stem, ',') from recordings")
        .await;
    assert_eq!(stems, next.recording.unwrap().stem.as_str());
}

#[tokio::test]
async fn of_a_campaign_that_is_gone_the_careful_settings_count() {
    let studio = Studio::new().await;
    studio
        .world
        .db
        .run("update campaigns set recording_retention_days = 7")
        .await;
    let (caller, _) = studio.offered().await;
    studio.world.db.run("delete from campaigns").await;
    caller.end(&studio.engine, Some(DialStatus::Answer)).await;
    let wanted: String = studio
        .world
        .db
        .one("select concat_ws(' ', language, mask_numbers, retention_days) from recordings")
        .await;
    assert_eq!(wanted, "en t");
}
