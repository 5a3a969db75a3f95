use std::time::Duration;

use capconduit::domain::{Language, RecordingLanguage, Segment, Speaker, Word};
use capconduit::runtime::clock::now;
use capconduit::transcripts::store::jobs::{Failure, Lease};
use capconduit::transcripts::store::transcripts::NewTranscript;

use super::lab::{Lab, wav};

const ALL: &[RecordingLanguage] = RecordingLanguage::ALL;
const MINUTE: Duration = Duration::from_secs(60);

async fn claim(lab: &Lab, languages: &[RecordingLanguage], node: &str) -> Option<Lease> {
    let claimed = lab
        .db
        .store()
        .claim_job(languages, node, now(), now() + MINUTE)
        .await;
    claimed.unwrap().map(|job| job.lease)
}

fn transcript() -> NewTranscript {
    let words = vec![Word::new("budget", 100, 500, 0.9)];
    let segment = Segment::new(Some(Speaker::Agent), Some(Language::English), words);
    NewTranscript {
        engine: "vosk",
        engine_version: "0".to_owned(),
        models: [("en".to_owned(), "model".to_owned())].into(),
        audio_ms: 1_000,
        masked: false,
        segments: segment.into_iter().collect(),
    }
}

fn failure(permanent: bool, free: bool) -> Failure<'static> {
    Failure {
        code: "worker_crashed",
        message: "it crashed",
        permanent,
        free,
    }
}

#[tokio::test]
async fn a_job_is_claimed_once_and_only_in_a_language_that_can_be_done() {
    let lab = Lab::new().await;
    lab.record("hi", false, &wav(&[]), &wav(&[])).await;
    let english = lab.record("en", false, &wav(&[]), &wav(&[])).await;
    assert_eq!(claim(&lab, &[RecordingLanguage::Auto], "one").await, None);
    let languages = [RecordingLanguage::English, RecordingLanguage::Auto];
    let (a, b) = tokio::join!(
        claim(&lab, &languages, "one"),
        claim(&lab, &languages, "two")
    );
    assert!(a.is_some() != b.is_some(), "{a:?} {b:?}");
    assert_eq!(a.or(b).unwrap().recording_id.0, english);
    assert!(claim(&lab, ALL, "one").await.is_some());
    assert_eq!(claim(&lab, ALL, "one").await, None);
}

#[tokio::test]
async fn only_the_holder_of_the_lease_finishes_and_only_once() {
    let lab = Lab::new().await;
    lab.record("en", false, &wav(&[]), &wav(&[])).await;
    let store = lab.db.store();
    let first = claim(&lab, ALL, "one").await.unwrap();
    lab.db
        .run("update transcription_jobs set lease_expires_at = now() - interval '1 s'")
        .await;
    let rescued = store.rescue_jobs(now(), Duration::ZERO).await.unwrap();
    assert_eq!((rescued.len(), rescued[0].failed), (1, false));
    assert!(
        !store
            .extend_lease(&first, now() + MINUTE, MINUTE)
            .await
            .unwrap()
    );
    let second = claim(&lab, ALL, "two").await.unwrap();
    assert_eq!(second.attempt, first.attempt + 1);
    for late in [
        &first,
        &Lease {
            node: "two".to_owned(),
            ..first.clone()
        },
    ] {
        assert!(!store.finish_job(late, now(), &transcript()).await.unwrap());
        assert!(!store.give_back_job(late, now()).await.unwrap());
        let failed = store
            .fail_job(late, now(), &failure(true, false), MINUTE)
            .await;
        assert_eq!(failed.unwrap(), None);
    }
    assert!(
        store
            .extend_lease(&second, now() + MINUTE, MINUTE)
            .await
            .unwrap()
    );
    assert!(
        store
            .finish_job(&second, now(), &transcript())
            .await
            .unwrap()
    );
    assert!(
        !store
            .finish_job(&second, now(), &transcript())
            .await
            .unwrap()
    );
    assert_eq!(lab.jobs("done").await, 1);
    assert_eq!(lab.said(1).await, "agent: budget");
}

#[tokio::test]
async fn attempts_are_counted_pauses_grow_and_the_last_one_is_a_dead_letter() {
    let lab = Lab::new().await;
    lab.record("en", false, &wav(&[]), &wav(&[])).await;
    let store = lab.db.store();
    let begin = now();
    let mut pauses = Vec::new();
    for attempt in 1..=3 {
        let lease = store
            .claim_job(ALL, "one", begin + MINUTE * 60, begin + MINUTE * 61)
            .await;
        let lease = lease.unwrap().unwrap().lease;
        assert_eq!(lease.attempt, attempt);
        let state = store
            .fail_job(&lease, begin, &failure(false, false), MINUTE)
            .await
            .unwrap();
        assert_eq!(
            state.unwrap(),
            if attempt < 3 { "queued" } else { "failed" }
        );
        let pause: f64 = lab
            .db
            .one(&format!(
                "select extract(epoch from not_before - '{begin}')::float8 from transcription_jobs"
            ))
            .await;
        pauses.push(pause);
    }
    assert!(
        (30.0..=60.0).contains(&pauses[0]) && (60.0..=120.0).contains(&pauses[1]),
        "{pauses:?}"
    );
    let kept: String = lab
        .db
        .one("select error_code || ' ' || error_message from transcription_jobs where finished_at is not null")
        .await;
    assert_eq!(kept, "worker_crashed it crashed");
}

#[tokio::test]
async fn an_attempt_that_was_cut_off_by_others_does_not_count_within_reason() {
    let lab = Lab::new().await;
    lab.record("en", false, &wav(&[]), &wav(&[])).await;
    let store = lab.db.store();
    let mut attempts = 0;
    let state = loop {
        attempts += 1;
        let late = now() + MINUTE * 60;
        let lease = store
            .claim_job(ALL, "one", late, late + MINUTE)
            .await
            .unwrap()
            .unwrap()
            .lease;
        let state = store
            .fail_job(&lease, now(), &failure(false, true), MINUTE)
            .await
            .unwrap()
            .unwrap();
        if state != "queued" {
            break state;
        }
    };
    assert_eq!((state.as_str(), attempts), ("failed", 14));
}

#[tokio::test]
async fn of_a_recording_deleted_meanwhile_nothing_is_kept() {
    let lab = Lab::new().await;
    lab.record("en", false, &wav(&[]), &wav(&[])).await;
    let store = lab.db.store();
    let lease = claim(&lab, ALL, "one").await.unwrap();
    assert!(store.job_files(lease.recording_id).await.unwrap().is_some());
    lab.db
        .run("update recordings set state = 'deleted', deleted_at = now()")
        .await;
    assert!(store.job_files(lease.recording_id).await.unwrap().is_none());
    assert!(
        !store
            .finish_job(&lease, now(), &transcript())
            .await
            .unwrap()
    );
    assert_eq!(
        lab.db.one::<i64>("select count(*) from transcripts").await,
        0
    );
    assert!(store.drop_job(&lease, now()).await.unwrap());
    assert_eq!(lab.jobs("cancelled").await, 1);
}

#[tokio::test]
async fn jobs_nobody_can_do_are_not_read_through() {
    let lab = Lab::new().await;
    lab.db
        .run(
            "insert into recordings (call_id, attempt, stem, state, language, mask_numbers, started_at, expected_at,
                 stored_at, location)
             select n, 1, 'r' || n, 'stored', 'hi', false, now(), now(), now(), '/x' from generate_series(1, 20000) n;
             insert into transcription_jobs (recording_id, call_id, language, state, not_before, created_at)
             select recording_id, call_id, 'hi', 'queued', now(), now() from recordings;
             update transcription_jobs set language = 'en' where recording_id = 20000",
        )
        .await;
    lab.db.run("vacuum analyze transcription_jobs").await;
    lab.db
        .run("set enable_seqscan = off; set plan_cache_mode = force_generic_plan")
        .await;
    let claim = capconduit::transcripts::store::sql::CLAIM_JOB.text;
    let prepared = format!("prepare claim as {claim}");
    lab.db.run(&prepared).await;
    let plan = lab
        .db
        .owner
        .query(
            "explain (analyze, costs off, timing off) execute claim ('{en}', 'one', now(), now())",
            &[],
        )
        .await
        .unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(
        plan.contains("transcription_jobs_queue_idx") && !plan.contains("Rows Removed"),
        "{plan}"
    );
    assert_eq!(lab.jobs("running").await, 1);
}
