use std::time::Duration;

use capconduit::transcripts::Status;

use super::lab::{Lab, fixture, repeated, wav};

#[tokio::test]
async fn a_recording_becomes_one_transcript_with_the_right_words_and_speakers() {
    let lab = Lab::new().await;
    let recording = lab.record_call().await;
    let daemon = lab.start(lab.settings("one"));
    lab.wait_for("done", 1).await;
    daemon.stop().await;
    let said = lab.said(recording).await;
    assert_eq!(
        said.lines().next().unwrap(),
        "agent: hello sales support",
        "{said}"
    );
    for (speaker, words) in [
        (
            "caller",
            "hello yes five zero zero nine two seven three thank you",
        ),
        (
            "agent",
            "hello sales support budget house price yes thank you",
        ),
    ] {
        let of_speaker = said
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{speaker}: ")));
        assert_eq!(of_speaker.collect::<Vec<_>>().join(" "), words);
    }
    let kept: String = lab
        .db
        .one(
            "select format('%s %s %s %s %s %s', language, engine, models ->> 'en', words, masked,
                 search @@ transcript_query('budget') and not search @@ transcript_query('refund'))
             from transcripts",
        )
        .await;
    assert_eq!(kept, "en vosk vosk-model-tiny-en-digits-8k 20 f t");
    let first_word: String = lab
        .db
        .one(
            "select string_agg(key, ',' order by key) from transcript_segments,
                 jsonb_object_keys(words -> 0) as key where segment = 1",
        )
        .await;
    assert_eq!(first_word, "confidence,endMs,startMs,word");
    let in_time: bool = lab
        .db
        .one(
            "select bool_and(start_ms >= before) from (select start_ms, coalesce(lag(start_ms) over
                 (order by segment), 0) as before from transcript_segments) s",
        )
        .await;
    assert!(in_time);
}

#[tokio::test]
async fn each_language_has_its_model_and_auto_takes_the_surer() {
    let lab = Lab::new().await;
    let (english, hindi) = (fixture("en_digits.wav"), fixture("hi_digits.wav"));
    let (english, hindi) = (
        std::fs::read(english).unwrap(),
        std::fs::read(hindi).unwrap(),
    );
    let both = lab.record("auto", false, &english, &hindi).await;
    let one = lab.record("hi", false, &hindi, &wav(&[0; 1_600])).await;
    let daemon = lab.start(lab.settings("one"));
    lab.wait_for("done", 2).await;
    daemon.stop().await;
    let words = "एक दो तीन चार पांच छह सात आठ नौ शून्य";
    assert_eq!(
        lab.said(one).await.replace("\ncaller:", ""),
        format!("caller: {words}")
    );
    let languages: String = lab
        .db
        .one(&format!(
            "select string_agg(distinct speaker || ' ' || language, ',' order by speaker || ' ' || language)
             from transcript_segments where recording_id = {both}"
        ))
        .await;
    assert_eq!(languages, "agent hi,caller en");
    let found: i64 = lab
        .db
        .one("select count(*) from transcripts where search @@ transcript_query('शून्य')")
        .await;
    assert_eq!(found, 2);
}

#[tokio::test]
async fn long_numbers_are_masked_before_they_are_kept() {
    let lab = Lab::new().await;
    let digits = std::fs::read(fixture("en_digits.wav")).unwrap();
    let masked = lab.record("en", true, &digits, &wav(&[0; 1_600])).await;
    let plain = lab.record("en", false, &digits, &wav(&[0; 1_600])).await;
    let daemon = lab.start(lab.settings("one"));
    lab.wait_for("done", 2).await;
    daemon.stop().await;
    assert!(lab.said(plain).await.contains("four"));
    assert_eq!(lab.said(masked).await, "caller: # # # # # # # # # #");
    let kept: String = lab
        .db
        .one(&format!(
            "select format('%s %s %s', t.masked, t.words, s.words::text || t.search::text)
             from transcripts t join transcript_segments s using (recording_id) where t.recording_id = {masked}"
        ))
        .await;
    assert!(
        kept.starts_with("t 10 ") && !kept.contains("seven"),
        "{kept}"
    );
}

#[tokio::test]
async fn two_daemons_share_the_jobs() {
    let lab = Lab::new().await;
    for _ in 0..24 {
        lab.record_words().await;
    }
    let one = lab.start(lab.settings("one"));
    let two = lab.start(lab.settings("two"));
    lab.wait_for("done", 24).await;
    one.stop().await;
    two.stop().await;
    let shared: String = lab
        .db
        .one(
            "select format('%s %s %s %s', count(distinct node_name), max(attempts),
                 (select count(*) from transcripts), (select count(*) from transcript_segments where segment = 1))
             from transcription_jobs",
        )
        .await;
    assert_eq!(shared, "2 1 24 24");
}

#[tokio::test]
async fn urgent_jobs_come_first() {
    let lab = Lab::new().await;
    for _ in 0..4 {
        lab.record_words().await;
    }
    lab.db
        .run("update transcription_jobs set priority = job_id")
        .await;
    let daemon = lab.start(lab.settings("one"));
    lab.wait_for("done", 4).await;
    daemon.stop().await;
    let order: String = lab
        .db
        .one("select string_agg(job_id::text, ',' order by finished_at) from transcription_jobs")
        .await;
    assert_eq!(order, "4,3,2,1");
}

#[tokio::test]
async fn a_daemon_that_ends_gives_its_job_back_and_leaves_no_process() {
    let lab = Lab::new().await;
    let long = repeated("en_words.wav", 400);
    let recording = lab.record("en", false, &long, &wav(&[0; 1_600])).await;
    let daemon = lab.start(lab.settings("one"));
    lab.wait_for("running", 1).await;
    daemon.stop().await;
    let state: String = lab
        .db
        .one("select format('%s %s %s', state, max_attempts - attempts, lease_expires_at) from transcription_jobs")
        .await;
    assert_eq!(state, "queued 3 ");
    lab.wait_for_no_process().await;
    let next = lab.start(lab.settings("two"));
    lab.wait_for("done", 1).await;
    next.stop().await;
    let words = lab
        .said(recording)
        .await
        .split_whitespace()
        .filter(|w| *w == "budget")
        .count();
    assert!((395..=405).contains(&words), "{words}");
}

#[tokio::test]
async fn it_stands_as_its_models_do() {
    let lab = Lab::new().await;
    let mut daemon = lab.start(lab.settings("one"));
    daemon.wait_for("ready", |s| *s == Status::Ready).await;
    daemon.stop().await;
    std::fs::remove_dir_all(lab.directory.path().join("models")).unwrap();
    let mut daemon = lab.start(lab.settings("one"));
    daemon.wait_for("unused", |s| *s == Status::NotUsed).await;
    // Without a model no transcriber is needed.
    daemon.stop().await;
    let mut settings = lab.settings("one");
    settings
        .places
        .named
        .insert("en".to_owned(), lab.model("elsewhere"));
    settings.rounds = Duration::from_secs(1);
    let mut daemon = lab.start(settings);
    let status = daemon
        .wait_for("degraded", |s| matches!(s, Status::Degraded(_)))
        .await;
    assert!(
        format!("{status:?}").contains("mend transcription.models.en"),
        "{status:?}"
    );
    daemon.stop().await;
}
