use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use capconduit::transcripts::{Settings, Status};

use super::lab::{Lab, fixture, repeated, wav};

/// A transcriber that does as a damaged one would: passes its check, and then this for every job.
fn transcriber_that(lab: &Lab, does: &str) -> PathBuf {
    let program = lab.directory.path().join("transcriber");
    let script = format!(
        "#!/bin/sh\n\
         echo '{{\"type\":\"ready\",\"protocol\":1,\"engine_version\":\"0\"}}'\n\
         while read -r line; do case $line in\n\
         *'\"check\"'*) echo '{{\"type\":\"done\",\"job\":0,\"audio_ms\":0,\"models\":{{\"en\":\"m\"}}}}';;\n\
         *) {does};;\n\
         esac; done\n"
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    program
}

fn with_program(mut settings: Settings, program: PathBuf) -> Settings {
    settings.program.path = program;
    settings
}

#[tokio::test]
async fn transcribers_killed_all_the_time_lose_and_double_nothing() {
    let lab = Lab::new().await;
    let audio = repeated("en_words.wav", 20);
    for _ in 0..24 {
        lab.record("en", false, &audio, &wav(&[0; 1_600])).await;
    }
    let mut settings = lab.settings("one");
    settings.workers = 2;
    let daemon = lab.start(settings);
    let mut killed = 0;
    while lab.jobs("done").await < 24 && killed < 30 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        killed += lab.kill_processes();
    }
    assert!(killed > 0, "all was done before anything was killed");
    lab.wait_for("done", 24).await;
    daemon.stop().await;
    let kept: String = lab
        .db
        .one(
            "select format('%s %s', count(*), count(distinct words)) from transcripts where words between 195 and 205",
        )
        .await;
    assert!(kept.starts_with("24 "), "{kept}");
    lab.wait_for_no_process().await;
}

#[tokio::test]
async fn a_job_whose_daemon_is_gone_is_done_by_another_or_given_up() {
    let lab = Lab::new().await;
    let recording = lab.record_call().await;
    lab.record_words().await;
    lab.db
        .run(
            "update transcription_jobs set state = 'running', node_name = 'gone', attempts = 1,
                 lease_expires_at = now() - interval '1 s';
             update transcription_jobs set attempts = 3 where job_id = 2",
        )
        .await;
    let daemon = lab.start(lab.settings("one"));
    lab.wait_for("done", 1).await;
    lab.wait_for("failed", 1).await;
    daemon.stop().await;
    assert!(
        lab.said(recording)
            .await
            .contains("agent: hello sales support")
    );
    let code: String = lab
        .db
        .one("select error_code || ': ' || error_message from transcription_jobs where state = 'failed'")
        .await;
    assert!(code.starts_with("worker_lost: daemon gone "), "{code}");
}

#[tokio::test]
async fn bad_files_fail_with_their_reason_and_hold_up_nobody() {
    let lab = Lab::new().await;
    let good = std::fs::read(fixture("en_words.wav")).unwrap();
    let silence = wav(&vec![0; 32_000]);
    lab.record("en", false, b"this is no sound", &good).await;
    lab.record("en", false, &silence, &silence).await;
    lab.record("en", false, &good, &good).await;
    std::fs::remove_file(lab.storage_root().join("r3-caller.wav")).unwrap();
    let fine = lab.record_words().await;
    lab.db
        .run("update transcription_jobs set priority = 10 - job_id")
        .await;
    let daemon = lab.start(lab.settings("one"));
    lab.wait_for("failed", 3).await;
    lab.wait_for("done", 1).await;
    daemon.stop().await;
    let codes: String = lab
        .db
        .one(
            "select string_agg(format('%s %s %s', job_id, error_code, attempts), ', ' order by job_id)
             from transcription_jobs where state = 'failed'",
        )
        .await;
    assert_eq!(codes, "1 unsupported_format 1, 2 silent 1, 3 unreadable 3");
    assert!(lab.said(fine).await.starts_with("caller: hello yes"));
}

#[tokio::test]
async fn a_damaged_model_keeps_only_its_own_language_waiting() {
    let lab = Lab::new().await;
    let model = lab.model("hi").join("am/final.mdl");
    let sound = std::fs::read(&model).unwrap();
    std::fs::write(&model, &sound[..1_000]).unwrap();
    let hindi = std::fs::read(fixture("hi_digits.wav")).unwrap();
    let waiting = lab.record("hi", false, &hindi, &wav(&[0; 1_600])).await;
    lab.record("auto", false, &hindi, &wav(&[0; 1_600])).await;
    lab.record_words().await;
    let mut daemon = lab.start(lab.settings("one"));
    let status = daemon
        .wait_for("degraded", |s| matches!(s, Status::Degraded(_)))
        .await;
    assert!(
        format!("{status:?}").contains("capconduit model install hi"),
        "{status:?}"
    );
    lab.wait_for("done", 1).await;
    let untouched: String = lab
        .db
        .one("select format('%s %s', count(*), max(attempts)) from transcription_jobs where state = 'queued'")
        .await;
    assert_eq!(untouched, "2 0");
    std::fs::write(&model, &sound).unwrap();
    lab.wait_for("done", 3).await;
    assert!(lab.said(waiting).await.contains("शून्य"));
    daemon.wait_for("ready", |s| *s == Status::Ready).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_model_that_went_is_named_and_readiness_stays_degraded_while_a_recording_waits() {
    let lab = Lab::new().await;
    let mut daemon = lab.start(lab.settings("one"));
    daemon.wait_for("ready", |s| *s == Status::Ready).await;
    let hindi = std::fs::read(fixture("hi_digits.wav")).unwrap();
    let (there, away) = (lab.model("hi"), lab.model("away"));
    std::fs::rename(&there, &away).unwrap();
    lab.record("auto", false, &hindi, &wav(&[0; 1_600])).await;
    let is_told = |status: &Status| {
        let Status::Degraded(told) = status else {
            return false;
        };
        assert!(
            !told.starts_with("en:") && !told.contains("; en:"),
            "{told}"
        );
        told.contains("`capconduit model install hi`") && !told.contains("install en")
    };
    daemon
        .wait_for("degraded for want of a model", is_told)
        .await;
    // A recording in English is none of its business, and changes nothing of that.
    lab.record_words().await;
    lab.wait_for("done", 1).await;
    daemon.wait_for("still degraded", is_told).await;
    std::fs::rename(&away, &there).unwrap();
    lab.wait_for("done", 2).await;
    daemon.wait_for("ready", |s| *s == Status::Ready).await;
    daemon.stop().await;
}

#[tokio::test]
async fn without_a_transcriber_jobs_wait_and_somebody_is_told_what_to_do() {
    let lab = Lab::new().await;
    lab.record_words().await;
    let program = lab.directory.path().join("transcriber");
    let mut daemon = lab.start(with_program(lab.settings("one"), program.clone()));
    let status = daemon
        .wait_for("degraded", |s| matches!(s, Status::Degraded(_)))
        .await;
    let status = format!("{status:?}");
    assert!(
        status.contains("there is no transcriber") && status.contains("docs/"),
        "{status}"
    );
    // One that cannot find its library ends as the dynamic linker has it.
    std::fs::write(&program, "#!/bin/sh\nexit 127\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let status = daemon
        .wait_for("library", |s| format!("{s:?}").contains("libvosk.so"))
        .await;
    assert!(
        format!("{status:?}").contains("scripts/fetch-vosk"),
        "{status:?}"
    );
    let untouched: String = lab
        .db
        .one("select format('%s %s', state, attempts) from transcription_jobs")
        .await;
    assert_eq!(untouched, "queued 0");
    // And then it is there.
    std::fs::remove_file(&program).unwrap();
    let real = format!(
        "#!/bin/sh\nexec {} \"$@\"\n",
        super::lab::transcriber().display()
    );
    std::fs::write(&program, real).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    lab.wait_for("done", 1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_model_that_ends_job_after_job_is_laid_aside() {
    let lab = Lab::new().await;
    for _ in 0..6 {
        lab.record_words().await;
    }
    lab.db
        .run("update transcription_jobs set max_attempts = 1")
        .await;
    let crashing = transcriber_that(&lab, "kill -ABRT $$");
    let mut daemon = lab.start(with_program(lab.settings("one"), crashing));
    let status = daemon
        .wait_for("laid aside", |s| format!("{s:?}").contains("jobs in a row"))
        .await;
    lab.wait_for("failed", 3).await;
    daemon.stop().await;
    assert!(
        format!("{status:?}").contains("model install en"),
        "{status:?}"
    );
    let rest: String = lab
        .db
        .one(
            "select format('%s %s %s', count(*) filter (where state = 'queued' and attempts = 0),
                 min(error_code), min(error_message)) from transcription_jobs",
        )
        .await;
    assert!(
        rest.starts_with("3 worker_crashed the transcriber crashed (signal: 6"),
        "{rest}"
    );
}

#[tokio::test]
async fn nonsense_and_lines_without_end_cost_an_attempt() {
    for (does, code) in [
        ("echo nonsense", "worker_fault"),
        (
            "head -c 2000000 /dev/zero | tr '\\0' x; sleep 60",
            "worker_fault",
        ),
        (
            "echo '{\"type\":\"progress\",\"job\":77,\"audio_ms\":1,\"total_ms\":2}'",
            "worker_fault",
        ),
        ("exit 0", "worker_crashed"),
    ] {
        let lab = Lab::new().await;
        lab.record_words().await;
        lab.db
            .run("update transcription_jobs set max_attempts = 1")
            .await;
        let bad = transcriber_that(&lab, does);
        let daemon = lab.start(with_program(lab.settings("one"), bad));
        lab.wait_for("failed", 1).await;
        daemon.stop().await;
        let found: String = lab
            .db
            .one("select error_code from transcription_jobs")
            .await;
        assert_eq!(found, code, "{does}");
    }
}

#[tokio::test]
async fn a_recording_deleted_while_it_is_heard_leaves_nothing() {
    let lab = Lab::new().await;
    let long = repeated("en_words.wav", 200);
    lab.record("en", false, &long, &wav(&[0; 1_600])).await;
    let mut settings = lab.settings("one");
    settings.lease = Duration::from_millis(400);
    let daemon = lab.start(settings);
    lab.wait_for("running", 1).await;
    lab.db
        .run(
            "begin; select 1 from recordings for update;
             delete from transcription_jobs; delete from recording_files;
             update recordings set state = 'deleted', deleted_at = now(); commit",
        )
        .await;
    // The next job is done by the same slot, so the first is over.
    lab.record_words().await;
    lab.wait_for("done", 1).await;
    daemon.stop().await;
    let kept: i64 = lab
        .db
        .one("select count(*) from transcripts where recording_id = 1")
        .await;
    assert_eq!(kept, 0);
}
