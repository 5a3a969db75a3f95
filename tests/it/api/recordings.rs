//! Recordings and transcripts: heard, read, searched, and looked after.

use std::path::PathBuf;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::campaigns::CAMPAIGNS;
use crate::support::api::{Answer, ApiClient, ApiServer};
use crate::support::eventually;

const ALICE: i32 = 3;
const BOB: i32 = 4;

/// Longer than several chunks of the storage.
const BYTES: usize = 300_007;

/// A call of a seller that was answered.
pub(super) async fn call(server: &ApiServer, user: i32) -> i64 {
    let sql = format!(
        "insert into call_logs (user_id, incoming_did_number, timestamp_start, timestamp_answered, timestamp_end,
             duration_seconds, billsec_seconds, call_status, attempts)
         values ({user}, '+18005550101', now() - interval '1 hour', now(), now(), 60, 50, 'ANSWERED', 1)
         returning id"
    );
    server.db.one(&sql).await
}

/// A recording of a call that nothing is known of yet, and its job.
pub(super) async fn expected(server: &ApiServer, call: i64, attempt: i32, user: i32) -> i64 {
    server
        .db
        .one(&format!(
            "with made as (
                 insert into recordings (call_id, attempt, user_id, stem, state, language, mask_numbers, started_at,
                     expected_at)
                 values ({call}, {attempt}, {user}, '20261121T081500Z-{call}-{attempt}', 'expected', 'en', false,
                     '2026-11-21 08:15:00Z', now())
                 returning recording_id
             ), job as (
                 insert into transcription_jobs (recording_id, call_id, user_id, language, state, not_before,
                     created_at)
                 select recording_id, {call}, {user}, 'en', 'waiting', now(), now() from made
             )
             select recording_id from made"
        ))
        .await
}

fn content(leg: &str) -> Vec<u8> {
    (0..BYTES)
        .map(|n| (n % 251) as u8 ^ leg.as_bytes()[0])
        .collect()
}

fn path(server: &ApiServer, recording: i64, leg: &str) -> PathBuf {
    server
        .storage
        .path()
        .join(format!("2026/11/21/{recording}-{leg}.wav"))
}

/// Stores the files of a recording, as the daemon does.
async fn store(server: &ApiServer, recording: i64) {
    let location = server.storage.path().display();
    for leg in ["caller", "agent", "mix"] {
        let file = path(server, recording, leg);
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("makes it");
        std::fs::write(&file, content(leg)).expect("writes");
        let sha256 = sha(&content(leg));
        server
            .db
            .run(&format!(
                "insert into recording_files (recording_id, leg, user_id, object_key, bytes, sha256, sample_rate,
                     duration_ms)
                 select {recording}, '{leg}', user_id, '2026/11/21/{recording}-{leg}.wav', {BYTES}, '\\x{sha256}',
                     8000, 18750
                 from recordings where recording_id = {recording}"
            ))
            .await;
    }
    server
        .db
        .run(&format!(
            "update recordings set state = 'stored', stored_at = now(), location = '{location}', duration_ms = 18750
                 where recording_id = {recording};
             update transcription_jobs set state = 'queued' where recording_id = {recording}"
        ))
        .await;
}

pub(super) fn sha(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    let mut hexadecimal = String::new();
    for byte in sha2::Sha256::digest(bytes) {
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    hexadecimal
}

/// A recorded call: its id and its recording's.
pub(super) async fn recorded(server: &ApiServer, user: i32) -> (i64, i64) {
    let call = call(server, user).await;
    let recording = expected(server, call, 1, user).await;
    store(server, recording).await;
    (call, recording)
}

/// Makes all recordings of both sides larger than what sockets hold, so that the daemon waits for its readers.
pub(super) async fn enlarge(server: &ApiServer) -> Vec<u8> {
    let large = vec![7_u8; 24 << 20];
    let file = server.storage.path().join("large.wav");
    std::fs::write(&file, &large).expect("writes");
    server
        .db
        .run(&format!(
            "update recording_files set object_key = 'large.wav', bytes = {} where leg = 'mix'",
            large.len()
        ))
        .await;
    large
}

/// What was said: speaker, language and text of each segment.
async fn said(server: &ApiServer, recording: i64, segments: &[(&str, &str, &str)]) {
    server
        .db
        .run(&format!(
            "insert into transcripts (recording_id, call_id, user_id, language, engine, engine_version, models,
                 audio_ms, words, confidence, created_at, search)
             select recording_id, call_id, user_id, 'auto', 'vosk', '0.3.45', '{{\"en\": \"small-en\"}}', 18750, 7,
                 0.875, now(), '' from recordings where recording_id = {recording};
             update transcription_jobs set state = 'done', finished_at = now(), attempts = 1
                 where recording_id = {recording}"
        ))
        .await;
    for (n, (speaker, language, text)) in segments.iter().enumerate() {
        let start = n * 1_000;
        let words: Vec<Value> = text
            .split(' ')
            .map(|word| json!({"word": word, "startMs": start, "endMs": start + 900, "confidence": 0.9}))
            .collect();
        let words = json!(words).to_string().replace('\'', "''");
        let text = text.replace('\'', "''");
        server
            .db
            .run(&format!(
                "insert into transcript_segments (recording_id, segment, user_id, speaker, language, start_ms,
                     end_ms, text, confidence, words)
                 select recording_id, {n}, user_id, '{speaker}', '{language}', {start}, {start} + 900, '{text}',
                     0.9, '{words}' from recordings where recording_id = {recording};
                 update transcripts set search = search || to_tsvector(transcript_dictionary('{language}'), '{text}')
                     where recording_id = {recording}"
            ))
            .await;
    }
}

struct Heard {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default()
    }
}

async fn hear(client: &ApiClient, method: Method, path: &str, headers: &[(&str, &str)]) -> Heard {
    let url = format!("{}{path}", client.base);
    let mut request = client.http.request(method, url);
    for (name, value) in &client.headers {
        request = request.header(name, value);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    Heard {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        bytes: response.bytes().await.expect("a body").to_vec(),
    }
}

pub(super) fn audio(call: i64) -> String {
    format!("/api/seller/logs/{call}/recording")
}

#[track_caller]
pub(super) fn code(answer: Answer, status: u16) -> String {
    let body = answer.expect(status);
    body["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn a_campaign_says_what_it_records_and_the_audit_log_who_said_so() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let plain = json!({"name": "a", "routingStrategy": "priority", "dialTimeoutSeconds": 25});
    let made = alice.post(CAMPAIGNS, plain.clone()).await.expect(201);
    for (field, value) in [
        ("recordingEnabled", json!(false)),
        ("recordingLanguage", json!("en")),
        ("recordingAnnouncement", json!(null)),
        ("recordingRetentionDays", json!(null)),
        ("maskNumbers", json!(false)),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    let settings = json!({
        "recordingEnabled": true, "recordingLanguage": "auto", "recordingAnnouncement": "this-call_is-recorded",
        "recordingRetentionDays": "30", "maskNumbers": true,
    });
    let one = format!("{CAMPAIGNS}/{}", made["id"]);
    let changed = alice.put(&one, settings.clone()).await.expect(200);
    let mut expected = settings.clone();
    expected["recordingRetentionDays"] = json!(30);
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&changed[field], value, "{field}");
    }
    // What is absent stays, null clears.
    let change = json!({"recordingAnnouncement": null, "recordingRetentionDays": null});
    let cleared = alice.put(&one, change).await.expect(200);
    assert_eq!(cleared["recordingEnabled"], true);
    assert_eq!(cleared["recordingLanguage"], "auto");
    assert_eq!(cleared["maskNumbers"], true);
    assert_eq!(cleared["recordingAnnouncement"], json!(null));
    assert_eq!(cleared["recordingRetentionDays"], json!(null));
    assert_eq!(alice.get(&one).await.expect(200), cleared);
    let listed = alice.get(CAMPAIGNS).await.expect(200);
    assert_eq!(listed["items"][0]["recordingEnabled"], true);

    let mut whole = plain.clone();
    whole["name"] = json!("b");
    for (field, value) in expected.as_object().expect("an object") {
        whole[field] = value.clone();
    }
    let whole = alice.post(CAMPAIGNS, whole).await.expect(201);
    assert_eq!(whole["recordingAnnouncement"], "this-call_is-recorded");

    for (field, value) in [
        ("recordingEnabled", json!("true")),
        ("recordingEnabled", json!(1)),
        ("recordingEnabled", json!(null)),
        ("recordingLanguage", json!("fr")),
        ("recordingLanguage", json!(null)),
        ("recordingAnnouncement", json!("")),
        ("recordingAnnouncement", json!("../etc/passwd")),
        ("recordingAnnouncement", json!("a.wav")),
        ("recordingAnnouncement", json!("a b")),
        ("recordingAnnouncement", json!("a\n")),
        ("recordingAnnouncement", json!("é")),
        ("recordingAnnouncement", json!("a".repeat(65))),
        ("recordingRetentionDays", json!(0)),
        ("recordingRetentionDays", json!(36_501)),
        ("recordingRetentionDays", json!(true)),
        ("maskNumbers", json!("no")),
    ] {
        let refused = alice.put(&one, json!({field: value})).await.expect(400);
        assert!(refused["errors"][field][0].is_string(), "{field} {value}");
        let mut body = plain.clone();
        body["name"] = json!("c");
        body[field] = value.clone();
        let refused = alice.post(CAMPAIGNS, body).await.expect(400);
        assert!(refused["errors"][field][0].is_string(), "{field} {value}");
    }
    let audited: String = server
        .db
        .one(
            "select (before ->> 'recordingEnabled') || ' ' || (after ->> 'recordingEnabled') || ' '
                 || (after ->> 'recordingAnnouncement') || ' ' || actor
             from audit_log where object_type = 'campaign' and action = 'update' order by audit_id limit 1",
        )
        .await;
    assert_eq!(audited, "false true this-call_is-recorded alice");
}

#[tokio::test]
async fn each_leg_is_heard_as_a_whole_and_in_parts() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (call, recording) = recorded(&server, ALICE).await;
    let mix = audio(call);
    for (query, leg) in [
        ("", "mix"),
        ("?leg=mix", "mix"),
        ("?leg=caller", "caller"),
        ("?leg=agent&attempt=1", "agent"),
    ] {
        let heard = hear(&alice, Method::GET, &format!("{mix}{query}"), &[]).await;
        assert_eq!(heard.status, 200, "{query}");
        assert!(heard.bytes == content(leg), "{query}");
        for (name, value) in [
            ("content-type", "audio/wav"),
            ("content-length", "300007"),
            ("accept-ranges", "bytes"),
            ("cache-control", "private, no-store"),
            ("x-content-type-options", "nosniff"),
            ("etag", &format!("\"{}\"", sha(&content(leg)))),
            (
                "content-disposition",
                &format!("inline; filename=\"2026-11-21-call-{call}-{leg}.wav\""),
            ),
        ] {
            assert_eq!(heard.header(name), value, "{query} {name}");
        }
        let told = hear(&alice, Method::HEAD, &format!("{mix}{query}"), &[]).await;
        assert_eq!((told.status, told.bytes.len()), (200, 0));
        for name in ["content-type", "content-length", "etag", "accept-ranges"] {
            assert_eq!(told.header(name), heard.header(name), "{name}");
        }
    }
    let whole = content("mix");
    let tag = format!("\"{}\"", sha(&whole));
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99999", 0, 99_999),
        ("bytes=70000-", 70_000, BYTES - 1),
        ("bytes=-1", BYTES - 1, BYTES - 1),
        ("bytes=-999999999", 0, BYTES - 1),
        ("bytes=300006-999999999", BYTES - 1, BYTES - 1),
    ] {
        for condition in [None, Some(tag.as_str())] {
            let mut headers = vec![("range", range)];
            headers.extend(condition.map(|tag| ("if-range", tag)));
            let part = hear(&alice, Method::GET, &mix, &headers).await;
            assert_eq!(part.status, 206, "{range}");
            let expected = format!("bytes {first}-{last}/{BYTES}");
            assert_eq!(part.header("content-range"), expected);
            assert!(part.bytes == whole[first..=last], "{range}");
            assert_eq!(part.header("etag"), tag);
        }
    }
    for range in ["bytes=300007-", "bytes=-0", "bytes=99999999999999999999-"] {
        let beyond = hear(&alice, Method::GET, &mix, &[("range", range)]).await;
        assert_eq!(beyond.status, 416, "{range}");
        assert_eq!(beyond.header("content-range"), "bytes */300007");
        let problem: Value = serde_json::from_slice(&beyond.bytes).expect("JSON");
        assert_eq!(problem["code"], "range_not_satisfiable");
    }
    for headers in [
        [("range", "bytes=0-1,3-4"), ("accept", "*/*")],
        [("range", "bytes=5-4"), ("accept", "*/*")],
        [("range", "lines=0-1"), ("accept", "*/*")],
        [("range", "bytes=0-1"), ("if-range", "\"another\"")],
        [
            ("range", "bytes=0-1"),
            ("if-range", "Sat, 21 Nov 2026 08:15:00 GMT"),
        ],
    ] {
        let all = hear(&alice, Method::GET, &mix, &headers).await;
        assert_eq!((all.status, all.bytes.len()), (200, BYTES), "{headers:?}");
    }
    // Ranges are for GET.
    let head = hear(&alice, Method::HEAD, &mix, &[("range", "bytes=0-1")]).await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, "300007")
    );
    let known = hear(&alice, Method::GET, &mix, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status, known.bytes.len()), (304, 0));

    let admin = server.login("admin").await;
    let any = format!("/api/admin/logs/{call}/recording?leg=caller");
    assert!(hear(&admin, Method::GET, &any, &[]).await.bytes == content("caller"));
    for leg in ["both", "../mix", "mix.wav", "%00", "..%2Fmix", "Mix"] {
        let answer = alice.get(&format!("{mix}?leg={leg}")).await;
        assert_eq!(code(answer, 400), "bad_parameter", "{leg}");
    }
    for id in [
        "..%2F1",
        "1%2F..",
        "-1",
        "1.wav",
        "0x1",
        "99999999999999999999",
    ] {
        let answer = alice.get(&format!("/api/seller/logs/{id}/recording")).await;
        assert_eq!(answer.status, 404, "{id}");
    }
    server
        .db
        .run(&format!(
            "delete from recording_files where recording_id = {recording} and leg = 'agent'"
        ))
        .await;
    let answer = alice.get(&format!("{mix}?leg=agent")).await;
    assert_eq!(code(answer, 404), "leg_not_found");
}

#[tokio::test]
async fn what_cannot_be_heard_says_why() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let nobody = call(&server, ALICE).await;
    assert_eq!(
        code(alice.get(&audio(nobody)).await, 404),
        "recording_not_found"
    );
    assert_eq!(code(alice.get(&audio(999_999)).await, 404), "not_found");
    let (bobs, _) = recorded(&server, BOB).await;
    assert_eq!(code(alice.get(&audio(bobs)).await, 404), "not_found");

    let pending = call(&server, ALICE).await;
    let recording = expected(&server, pending, 1, ALICE).await;
    assert_eq!(
        code(alice.get(&audio(pending)).await, 404),
        "recording_pending"
    );
    let set = |what: &'static str| {
        let sql = format!("update recordings set {what} where recording_id = {recording}");
        async { server.db.run(&{ sql }).await }
    };
    set("state = 'missing'").await;
    assert_eq!(
        code(alice.get(&audio(pending)).await, 404),
        "recording_missing"
    );
    set("state = 'expected'").await;
    store(&server, recording).await;
    alice
        .get(&format!("{}?attempt=2", audio(pending)))
        .await
        .expect(404);
    // Its time is over: it is gone for everybody, though its files are not yet.
    set("delete_after = now() - interval '1 second'").await;
    assert_eq!(
        code(alice.get(&audio(pending)).await, 404),
        "recording_deleted"
    );
    set("hold_reason = 'court'").await;
    let held = hear(&alice, Method::GET, &audio(pending), &[]).await;
    assert_eq!(held.status, 200);
    set("hold_reason = null, delete_after = null").await;

    // What the storage does not have as it should is no 404: it may come back.
    let location = server.storage.path().display();
    let mut outside = tempfile::NamedTempFile::new_in(server.storage.path().parent().expect("one"))
        .expect("a file");
    std::io::Write::write_all(&mut outside, &content("mix")).expect("writes");
    let leading_out = format!(
        "update recordings set location = '{location}';
         update recording_files set object_key = '../{}' where leg = 'mix'",
        outside.path().file_name().expect("a name").display()
    );
    for spoil in ["short", "gone", "directory", "link", "elsewhere", "key"] {
        let file = path(&server, recording, "mix");
        match spoil {
            "short" => std::fs::write(&file, "RIFF").expect("writes"),
            "gone" => std::fs::remove_file(&file).expect("removes"),
            "directory" => std::fs::create_dir(&file).expect("makes"),
            "link" => {
                std::fs::remove_dir(&file).expect("removes");
                std::os::unix::fs::symlink(outside.path(), &file).expect("links");
            }
            "elsewhere" => set("location = '/somewhere/else'").await,
            _ => server.db.run(&leading_out).await,
        }
        let answer = alice.get(&audio(pending)).await;
        assert!(answer.header("retry-after").is_some(), "{spoil}");
        assert_eq!(code(answer, 503), "recording_unavailable", "{spoil}");
    }
    server
        .db
        .run("update recordings set state = 'deleted', deleted_at = now(); delete from recording_files")
        .await;
    assert_eq!(
        code(alice.get(&audio(pending)).await, 404),
        "recording_deleted"
    );
}

#[tokio::test]
async fn of_several_recordings_the_latest_stored_one_is_given() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (call, first) = recorded(&server, ALICE).await;
    let second = expected(&server, call, 2, ALICE).await;
    let details = format!("/api/seller/logs/{call}");
    let shown = alice.get(&details).await.expect(200);
    assert_eq!(shown["recording"]["attempt"], 1);
    assert_eq!(
        code(alice.get(&format!("{}?attempt=2", audio(call))).await, 404),
        "recording_pending"
    );
    store(&server, second).await;
    let shown = alice.get(&details).await.expect(200);
    assert_eq!(shown["recording"]["attempt"], 2);
    said(&server, first, &[("agent", "en", "the first one")]).await;
    let transcript = format!("/api/seller/logs/{call}/transcript?format=text");
    assert_eq!(
        code(alice.get(&transcript).await, 404),
        "transcript_pending"
    );
    let answer = alice.get(&format!("{transcript}&attempt=1")).await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (200, "the first one\n")
    );
}

#[tokio::test]
async fn a_slow_reader_holds_no_connection_and_breaking_off_leaves_nothing() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (call, _) = recorded(&server, ALICE).await;
    let large = enlarge(&server).await;
    let mut readers = vec![];
    for _ in 0..4 {
        let mut request = alice.http.get(format!("{}{}", alice.base, audio(call)));
        for (name, value) in &alice.headers {
            request = request.header(name, value);
        }
        let mut response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert!(response.chunk().await.expect("a chunk").is_some());
        readers.push(response);
    }
    // No more of one account at once; everything else is served.
    let refused = alice.get(&audio(call)).await;
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.expect(429)["code"], "too_many_downloads");
    alice
        .get(&format!("/api/seller/logs/{call}"))
        .await
        .expect(200);
    let mut last = readers.pop().expect("a reader");
    drop(readers);
    let mut bytes = 0;
    while let Some(chunk) = last.chunk().await.expect("goes on") {
        bytes += chunk.len();
    }
    assert!(bytes > 20 << 20 && bytes < large.len(), "{bytes}");
    let whole = hear(&alice, Method::GET, &audio(call), &[]).await;
    assert!(whole.bytes == large);
}

#[tokio::test]
async fn what_was_said_is_read_in_four_forms() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (call, recording) = recorded(&server, ALICE).await;
    said(
        &server,
        recording,
        &[
            ("caller", "en", "what are your prices"),
            ("agent", "hi", "कीमत <b> & सौ"),
        ],
    )
    .await;
    let one = format!("/api/seller/logs/{call}/transcript");
    let answer = alice.get(&one).await;
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    let json = answer.expect(200);
    for (key, value) in [
        ("callId", json!(call)),
        ("language", json!("auto")),
        ("engine", json!("vosk")),
        ("engineVersion", json!("0.3.45")),
        ("models", json!({"en": "small-en"})),
        ("audioMs", json!(18_750)),
        ("words", json!(7)),
        ("confidence", json!(0.875)),
        ("masked", json!(false)),
    ] {
        assert_eq!(json[key], value, "{key}");
    }
    assert!(json["createdAt"].is_string());
    let segment = &json["segments"][0];
    assert_eq!(segment["words"].as_array().expect("words").len(), 4);
    let word = json!({"word": "prices", "startMs": 0, "endMs": 900, "confidence": 0.9});
    assert_eq!(segment["words"][3], word);
    assert_eq!(segment["text"], "what are your prices");
    assert_eq!(segment["speaker"], "caller");
    assert_eq!(json["segments"][1]["language"], "hi");
    assert_eq!(json["segments"][1]["startMs"], 1_000);

    let text = "what are your prices\nकीमत <b> & सौ\n";
    let vtt = "WEBVTT\n\n00:00:00.000 --> 00:00:00.900\n<v Caller>what are your prices\n\n\
               00:00:01.000 --> 00:00:01.900\n<v Agent>कीमत &lt;b&gt; &amp; सौ\n";
    let srt = "1\n00:00:00,000 --> 00:00:00,900\nCaller: what are your prices\n\n\
               2\n00:00:01,000 --> 00:00:01,900\nAgent: कीमत <b> & सौ\n";
    for (format, media_type, expected) in [
        ("text", "text/plain", text),
        ("vtt", "text/vtt", vtt),
        ("srt", "application/x-subrip", srt),
    ] {
        let named = alice.get(&format!("{one}?format={format}")).await;
        let accepted = alice.with_header("accept", media_type).get(&one).await;
        for answer in [named, accepted] {
            assert_eq!((answer.status, answer.text.as_str()), (200, expected));
            let full = format!("{media_type}; charset=utf-8");
            assert_eq!(answer.header("content-type"), Some(full.as_str()));
            assert_eq!(answer.header("vary"), Some("accept"));
        }
    }
    // What is named counts for more than what is accepted.
    let vtt = alice.with_header("accept", "text/vtt");
    assert!(
        vtt.get(&format!("{one}?format=json"))
            .await
            .body
            .is_object()
    );
    let answer = alice.get(&format!("{one}?format=pdf")).await;
    assert_eq!(code(answer, 400), "bad_parameter");
    let staff = server.login("staff").await;
    let any = format!("/api/admin/logs/{call}/transcript?format=text");
    assert_eq!(staff.get(&any).await.text, text);
    let bob = server.login("bob").await;
    assert_eq!(code(bob.get(&one).await, 404), "not_found");
}

#[tokio::test]
async fn a_transcript_that_is_not_there_says_why_and_its_job_how_far_it_is() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let call = call(&server, ALICE).await;
    let (one, job) = (
        format!("/api/seller/logs/{call}/transcript"),
        format!("/api/seller/logs/{call}/transcription"),
    );
    assert_eq!(code(alice.get(&one).await, 404), "transcript_not_found");
    assert_eq!(code(alice.get(&job).await, 404), "transcription_not_found");
    let details = alice
        .get(&format!("/api/seller/logs/{call}"))
        .await
        .expect(200);
    assert_eq!(details["recording"], json!(null));
    assert_eq!(details["transcription"], json!(null));

    let recording = expected(&server, call, 1, ALICE).await;
    assert_eq!(code(alice.get(&one).await, 404), "transcript_pending");
    let state = alice.get(&job).await.expect(200);
    for (key, value) in [
        ("state", json!("waiting")),
        ("language", json!("en")),
        ("attempts", json!(0)),
        ("maxAttempts", json!(3)),
        ("progressMs", json!(null)),
        ("error", json!(null)),
        ("startedAt", json!(null)),
        ("finishedAt", json!(null)),
        ("nextAttemptAt", json!(null)),
    ] {
        assert_eq!(state[key], value, "{key}");
    }
    store(&server, recording).await;
    let state = alice.get(&job).await.expect(200);
    assert_eq!(state["state"], "queued");
    assert!(state["nextAttemptAt"].is_string());
    server
        .db
        .run(
            "update transcription_jobs set state = 'running', attempts = 1, node_name = 'n', progress_ms = 5000,
                 started_at = now(), lease_expires_at = now()",
        )
        .await;
    assert_eq!(code(alice.get(&one).await, 404), "transcript_pending");
    assert_eq!(alice.get(&job).await.expect(200)["progressMs"], 5_000);
    server
        .db
        .run(
            "update transcription_jobs set state = 'failed', attempts = 3, lease_expires_at = null,
                 finished_at = now(), error_code = 'truncated', error_message = 'the file ends too early'",
        )
        .await;
    let failed = alice.get(&one).await.expect(404);
    assert_eq!(failed["code"], "transcript_failed");
    let message = failed["message"].as_str().expect("a message");
    assert!(message.contains("the file ends too early"), "{message}");
    let state = alice.get(&job).await.expect(200);
    let error = json!({"code": "truncated", "message": "the file ends too early"});
    assert_eq!(state["error"], error);
    server
        .db
        .run("update transcription_jobs set state = 'cancelled'")
        .await;
    assert_eq!(code(alice.get(&one).await, 404), "transcript_not_found");

    said(&server, recording, &[("agent", "en", "hello")]).await;
    let details = alice
        .get(&format!("/api/seller/logs/{call}"))
        .await
        .expect(200);
    assert_eq!(
        details["transcription"],
        json!({"state": "done", "language": "en"})
    );
    let shown = &details["recording"];
    assert_eq!(shown["state"], "stored");
    assert_eq!(shown["durationMs"], 18_750);
    assert_eq!(shown["legs"], json!(["agent", "caller", "mix"]));
    alice.get(&one).await.expect(200);
    server
        .db
        .run("update recordings set delete_after = now() - interval '1 second'")
        .await;
    assert_eq!(code(alice.get(&one).await, 404), "transcript_not_found");
    let details = alice
        .get(&format!("/api/seller/logs/{call}"))
        .await
        .expect(200);
    assert_eq!(details["recording"]["state"], "deleted");
    assert_eq!(details["recording"]["legs"], json!([]));
}

// --- searching ------------------------------------------------------------------------------------

fn ids(page: &Value) -> Vec<i64> {
    let items = page["items"].as_array().expect("items").iter();
    items.map(|i| i["id"].as_i64().expect("an id")).collect()
}

async fn found(client: &ApiClient, words: &str) -> Vec<i64> {
    ids(&search(client, words).await.expect(200))
}

async fn search(client: &ApiClient, words: &str) -> Answer {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("transcript", words);
    client
        .get(&format!("/api/seller/logs?{}", query.finish()))
        .await
}

/// Calls in which something was said: an English and a Hindi one of Alice's, one of Bob's.
async fn spoken(server: &ApiServer) -> (i64, i64, i64) {
    let (english, recording) = recorded(server, ALICE).await;
    said(
        server,
        recording,
        &[
            ("agent", "en", "how may i help you"),
            ("caller", "en", "what are your prices"),
            ("agent", "en", "the price is ten dollars"),
            ("agent", "en", "prices & <b>delivery</b> aren't \"free\""),
            ("caller", "en", "a fourth time prices"),
        ],
    )
    .await;
    let (hindi, recording) = recorded(server, ALICE).await;
    said(
        server,
        recording,
        &[
            ("caller", "hi", "किताबों की कीमत क्या है"),
            ("agent", "en", "one moment please"),
        ],
    )
    .await;
    let (bobs, recording) = recorded(server, BOB).await;
    said(
        server,
        recording,
        &[("agent", "en", "bob has secret prices")],
    )
    .await;
    recorded(server, ALICE).await;
    (english, hindi, bobs)
}

#[tokio::test]
async fn calls_are_found_by_what_was_said_in_any_form_of_the_words() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (english, hindi, _) = spoken(&server).await;
    for (words, calls) in [
        ("price", vec![english]),
        ("PRICES", vec![english]),
        ("price help", vec![english]),
        ("price moment", vec![]),
        ("price or moment", vec![hindi, english]),
        ("\"ten dollars\"", vec![english]),
        ("\"dollars ten\"", vec![]),
        ("delivery -price", vec![]),
        ("moment -price", vec![hindi]),
        ("किताब", vec![hindi]),
        ("किताबें", vec![hindi]),
        ("कीमत moment", vec![hindi]),
        ("secret", vec![]),
        ("bob", vec![]),
        ("a:* | b & (", vec![]),
        ("'; drop table transcripts; --", vec![]),
    ] {
        assert_eq!(found(&alice, words).await, calls, "{words}");
    }
    let page = search(&alice, "price").await.expect(200);
    assert_eq!(page["total"], 1);
    assert_eq!(
        page["items"][0]["transcriptMatches"],
        json!([
            {"speaker": "caller", "startMs": 1_000, "text": "what are your <mark>prices</mark>"},
            {"speaker": "agent", "startMs": 2_000, "text": "the <mark>price</mark> is ten dollars"},
            {"speaker": "agent", "startMs": 3_000, "text":
             "<mark>prices</mark> &amp; &lt;b&gt;delivery&lt;/b&gt; aren&#39;t &quot;free&quot;"},
        ])
    );
    let page = search(&alice, "किताब").await.expect(200);
    let matches = &page["items"][0]["transcriptMatches"];
    assert_eq!(matches[0]["text"], "<mark>किताबों</mark> की कीमत क्या है");
    // Segments with some of the words are shown too.
    let page = search(&alice, "help dollars").await.expect(200);
    let matches = page["items"][0]["transcriptMatches"]
        .as_array()
        .expect("matches");
    assert_eq!(matches.len(), 2, "{matches:?}");
    // Without a search nothing of it is shown.
    let page = alice.get("/api/seller/logs").await.expect(200);
    assert!(page["items"][0].get("transcriptMatches").is_none());

    for nothing in ["", " ", "the", "the of", "!!!", "\"\""] {
        let refused = search(&alice, nothing).await;
        assert_eq!(code(refused, 400), "nothing_to_look_for", "{nothing:?}");
    }
    for bad in ["a\u{0}b".to_owned(), "a".repeat(201)] {
        assert_eq!(code(search(&alice, &bad).await, 400), "bad_parameter");
    }
}

#[tokio::test]
async fn what_was_said_is_looked_for_in_exports_statistics_and_all_calls_too() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (english, _, bobs) = spoken(&server).await;
    let export = alice.get("/api/seller/logs/export?transcript=price").await;
    let lines: Vec<&str> = export.text.lines().collect();
    assert_eq!((export.status, lines.len()), (200, 2), "{}", export.text);
    assert!(lines[1].starts_with(&format!("{english},")));
    let cursor = alice
        .get("/api/seller/logs?transcript=price&cursor=start&sort=duration")
        .await;
    assert_eq!(ids(&cursor.expect(200)), [english]);
    let counted = alice
        .get("/api/seller/statistics?transcript=price&group_by=status")
        .await;
    assert_eq!(counted.expect(200)["rows"][0]["calls"], 1);

    let staff = server.login("staff").await;
    let all = staff
        .get("/api/admin/logs?transcript=price")
        .await
        .expect(200);
    assert_eq!(ids(&all), [bobs, english]);
    let text = all["items"][0]["transcriptMatches"][0]["text"].as_str();
    assert_eq!(text, Some("bob has secret <mark>prices</mark>"));
    let his = staff
        .get("/api/admin/logs?transcript=price&user_id=4")
        .await;
    assert_eq!(ids(&his.expect(200)), [bobs]);

    // What is to be deleted is not shown any more.
    server
        .db
        .run("update recordings set delete_after = now() - interval '1 second'")
        .await;
    let page = search(&alice, "price").await.expect(200);
    for item in page["items"].as_array().expect("items") {
        assert_eq!(item["transcriptMatches"], json!([]));
    }
}

#[tokio::test]
async fn what_was_said_is_for_keys_with_that_scope() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let (call, recording) = recorded(&server, ALICE).await;
    said(&server, recording, &[("agent", "en", "our prices")]).await;
    let mut made = vec![];
    for scopes in [
        json!(["logs:read"]),
        json!(["logs:read", "transcripts:read"]),
        json!(["read"]),
    ] {
        let key = alice
            .post("/api/auth/keys", json!({"name": "k", "scopes": scopes}))
            .await
            .expect(201);
        let bearer = format!("Bearer {}", key["key"].as_str().expect("a key"));
        made.push(server.anonymous().with_header("authorization", &bearer));
    }
    let one = format!("/api/seller/logs/{call}");
    for key in &made {
        key.get(&one).await.expect(200);
    }
    for path in [
        format!("{one}/transcript"),
        format!("{one}/transcription"),
        "/api/seller/logs?transcript=price".to_owned(),
        "/api/seller/logs/export?transcript=price".to_owned(),
    ] {
        assert_eq!(
            code(made[0].get(&path).await, 403),
            "scope_missing",
            "{path}"
        );
        for key in &made[1..] {
            assert_eq!(key.get(&path).await.status, 200, "{path}");
        }
    }
    for (key, status) in [(&made[0], 403), (&made[1], 403), (&made[2], 200)] {
        let heard = hear(key, Method::GET, &format!("{one}/recording"), &[]).await;
        assert_eq!(heard.status, status);
    }
}

/// Transcripts of two sellers: `often` in each, `seldom` in one of a thousand.
async fn many(server: &ApiServer, count: i64) {
    server
        .db
        .run(&format!(
            "insert into call_logs (user_id, incoming_did_number, timestamp_start, duration_seconds, call_status)
                 select 3 + i % 2, '1', now() - i * interval '10 seconds', 60, 'ANSWERED'
                 from generate_series(1, {count}) i;
             insert into recordings (call_id, attempt, user_id, stem, state, language, mask_numbers, started_at,
                     expected_at, stored_at, location)
                 select id, 1, user_id, 's' || id, 'stored', 'en', false, now(), now(), now(), 'x' from call_logs;
             insert into transcripts (recording_id, call_id, user_id, language, engine, engine_version, models,
                     audio_ms, words, created_at, search)
                 select recording_id, call_id, user_id, 'en', 'e', '1', '{{}}', 1, 1, now(),
                        to_tsvector('english', 'often ' || case when call_id % 1000 < 2 then 'seldom ' else '' end
                                               || md5(call_id::text) || ' ' || md5((call_id + 1)::text))
                 from recordings;
             insert into transcript_segments (recording_id, segment, user_id, speaker, language, start_ms, end_ms,
                     text, confidence, words)
                 select recording_id, 1, user_id, 'agent', 'en', 0, 1,
                        'often' || case when call_id % 1000 < 2 then ' seldom' else '' end, 1, '[]'
                 from transcripts;
             select gin_clean_pending_list('transcripts_search_idx');
             analyze call_logs, transcripts, recordings, transcript_segments"
        ))
        .await;
}

#[tokio::test]
async fn a_search_meets_every_call_however_many_there_are() {
    let server = ApiServer::start().await;
    many(&server, 6_000).await;
    let alice = server.login("alice").await;
    // More than are looked up by their words: 3,000 of hers.
    let mut seen = vec![];
    let mut cursor = "start".to_owned();
    loop {
        let path = format!("/api/seller/logs?transcript=often&per_page=200&cursor={cursor}");
        let page = alice.get(&path).await.expect(200);
        seen.extend(ids(&page));
        let first = &page["items"][0]["transcriptMatches"][0]["text"];
        assert!(
            first
                .as_str()
                .is_some_and(|t| t.starts_with("<mark>often</mark>")),
            "{first}"
        );
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    let hers: i64 = server
        .db
        .one("select count(*) from call_logs where user_id = 3")
        .await;
    assert_eq!(seen.len() as i64, hers);
    let mut each = seen.clone();
    each.sort_unstable();
    each.dedup();
    assert_eq!(each.len(), seen.len());
    let page = alice
        .get("/api/seller/logs?transcript=often")
        .await
        .expect(200);
    assert_eq!(page["total"], hers);
    let seldom: i64 = server
        .db
        .one("select count(*) from call_logs where user_id = 3 and id % 1000 < 2")
        .await;
    let page = alice
        .get("/api/seller/logs?transcript=seldom")
        .await
        .expect(200);
    assert_eq!(page["total"], seldom);
}

#[tokio::test]
async fn seldom_words_are_found_by_index_and_frequent_ones_in_the_order_of_calls() {
    let server = ApiServer::start().await;
    many(&server, 20_000).await;
    let plans = |statement: &'static str, values: &str| {
        let sql = format!(
            "create or replace function pg_temp.plan() returns text language plpgsql as $f$
             declare line text; whole text := '';
             begin
                 for line in execute $e$explain execute one({values})$e$ loop whole := whole || line || e'\\n';
                 end loop;
                 return whole;
             end $f$;
             set plan_cache_mode = force_custom_plan;
             set capconduit.user_id = '3';
             grant execute on function pg_temp.plan() to capconduit_api, capconduit_admin;
             prepare one as {statement}"
        );
        let db = &server.db;
        async move {
            db.run("reset role; deallocate all").await;
            db.run(&sql).await;
        }
    };
    let plan = async |role: &str| -> String {
        server.db.run(&format!("set role {role}")).await;
        server.db.one("select pg_temp.plan()").await
    };
    // Operators see the index behind their policies; sellers need the function, which sees it as its owner does.
    plans(
        capconduit::transcripts::store::views::sql::FOUND.text,
        "'seldom', null, 1001",
    )
    .await;
    let by_word = plan("capconduit_admin").await;
    assert!(by_word.contains("transcripts_search_idx"), "{by_word}");
    plans(
        "select call_id from transcripts
         where search @@ transcript_query($1) and user_id = $2 limit $3",
        "'seldom', 3, 1001",
    )
    .await;
    let by_word = plan("postgres").await;
    assert!(by_word.contains("transcripts_search_idx"), "{by_word}");

    let nothing = ["null"; 14].join(", ");
    for (found, by) in [
        (
            "'often', null",
            "user_id_timestamp_start_id_idx on call_logs_2",
        ),
        ("null, '{7,11,13}'", "Index Scan using call_logs_2"),
    ] {
        plans(
            capconduit::calls::store::logs::sql::LIST.text,
            &format!("3, {nothing}, {found}, '-timestamp_start', null, null, null, 51, 0"),
        )
        .await;
        let plan = plan("capconduit_api").await;
        assert!(plan.contains(by), "{plan}");
        // Partitions without rows are another matter.
        let read_through = plan.lines().find(|line| {
            line.contains("Seq Scan on call_logs") && !line.contains("rows=1 ")
                || line.contains("Seq Scan on transcripts")
        });
        assert_eq!(read_through, None, "{plan}");
    }
}

// --- looking after --------------------------------------------------------------------------------

#[tokio::test]
async fn recordings_are_listed_also_those_that_are_missing() {
    let server = ApiServer::start().await;
    let (first, stored) = recorded(&server, ALICE).await;
    let (_, held) = recorded(&server, BOB).await;
    let call = call(&server, ALICE).await;
    let missing = expected(&server, call, 1, ALICE).await;
    server
        .db
        .run(&format!(
            "update recordings set state = 'missing' where recording_id = {missing};
             update recordings set hold_reason = 'court' where recording_id = {held}"
        ))
        .await;
    let staff = server.login("staff").await;
    let list = async |query: &str| {
        let page = staff.get(&format!("/api/admin/recordings?{query}")).await;
        ids(&page.expect(200))
    };
    for (query, expected) in [
        ("", vec![missing, held, stored]),
        ("state=missing", vec![missing]),
        ("held=true", vec![held]),
        ("held=false", vec![missing, stored]),
        ("user_id=4", vec![held]),
        ("campaign_id=5", vec![]),
        ("start_date=2026-11-22", vec![]),
        (
            "start_date=2026-11-21&end_date=2026-11-21",
            vec![missing, held, stored],
        ),
    ] {
        assert_eq!(list(query).await, expected, "{query}");
    }
    assert_eq!(list(&format!("call_id={first}")).await, [stored]);
    let page = staff
        .get("/api/admin/recordings?per_page=2")
        .await
        .expect(200);
    assert_eq!(ids(&page), [missing, held]);
    let cursor = page["nextCursor"].as_str().expect("a cursor");
    let page = staff
        .get(&format!("/api/admin/recordings?per_page=2&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(ids(&page), [stored]);
    assert_eq!(page["nextCursor"], json!(null));
    let one = &page["items"][0];
    for (key, value) in [
        ("callId", json!(first)),
        ("userId", json!(ALICE)),
        ("username", json!("alice")),
        ("state", json!("stored")),
        ("durationMs", json!(18_750)),
        ("bytes", json!(3 * BYTES)),
        ("location", json!(server.storage.path())),
        ("holdReason", json!(null)),
        ("transcriptionState", json!("queued")),
    ] {
        assert_eq!(one[key], value, "{key}");
    }
    assert_eq!(one["files"].as_array().expect("files").len(), 3);
    assert_eq!(one["files"][1]["sha256"], json!(sha(&content("caller"))));
    for bad in ["state=gone", "held=yes", "call_id=x", "start_date=x"] {
        let refused = staff.get(&format!("/api/admin/recordings?{bad}")).await;
        assert_eq!(code(refused, 400), "bad_parameter", "{bad}");
    }
    // Of a seller that is gone it remains whose they were.
    server.db.run("delete from users where id = 3").await;
    assert_eq!(list("user_id=3").await, [missing, stored]);
    let any = format!("/api/admin/logs/{first}/recording");
    assert_eq!(hear(&staff, Method::GET, &any, &[]).await.status, 200);
}

#[tokio::test]
async fn what_is_held_is_not_deleted_until_it_is_released() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let staff = server.login("staff").await;
    let (call, recording) = recorded(&server, ALICE).await;
    said(&server, recording, &[("agent", "en", "our prices")]).await;
    let one = format!("/api/admin/recordings/{recording}");
    let hold = format!("{one}/hold");
    for bad in [
        json!({}),
        json!({"reason": ""}),
        json!({"reason": "x", "until": 1}),
    ] {
        staff.put(&hold, bad).await.expect(400);
    }
    let kept = staff
        .put(&hold, json!({"reason": "Complaint 7"}))
        .await
        .expect(200);
    assert_eq!(kept["holdReason"], "Complaint 7");
    assert_eq!(code(staff.delete(&one).await, 409), "recording_held");
    let released = staff.delete(&hold).await.expect(200);
    assert_eq!(released["holdReason"], json!(null));
    staff.delete(&hold).await.expect(200);

    let doomed = staff.delete(&one).await.expect(202);
    assert!(doomed["deleteAfter"].is_string());
    assert_eq!(
        code(alice.get(&audio(call)).await, 404),
        "recording_deleted"
    );
    let transcript = format!("/api/seller/logs/{call}/transcript");
    assert_eq!(
        code(alice.get(&transcript).await, 404),
        "transcript_not_found"
    );
    assert_eq!(
        staff.delete(&one).await.expect(202)["deleteAfter"],
        doomed["deleteAfter"]
    );
    server
        .db
        .run("update recordings set state = 'deleted', deleted_at = now()")
        .await;
    staff.delete(&one).await.expect(202);
    let refused = staff.put(&hold, json!({"reason": "too late"})).await;
    assert_eq!(code(refused, 409), "recording_deleted");

    let waiting = call_expected(&server).await;
    let refused = staff
        .delete(&format!("/api/admin/recordings/{waiting}"))
        .await;
    assert_eq!(code(refused, 409), "recording_not_stored");
    for path in [
        "/api/admin/recordings/999999",
        "/api/admin/recordings/x",
        "/api/admin/recordings/..%2F1",
    ] {
        assert_eq!(staff.delete(path).await.status, 404, "{path}");
        assert_eq!(staff.delete(&format!("{path}/hold")).await.status, 404);
    }
    staff
        .put("/api/admin/recordings/999999/hold", json!({"reason": "x"}))
        .await
        .expect(404);
    let audited: String = server
        .db
        .one(
            "select string_agg(concat_ws(' ', action, actor, user_id, before ->> 'holdReason',
                                         '>', after ->> 'holdReason', reason), ', ' order by audit_id)
             from audit_log where object_type = 'recording'",
        )
        .await;
    assert_eq!(
        audited,
        "hold staff > Complaint 7 Complaint 7, release staff Complaint 7 >, delete staff 3 >, delete staff 3 >"
    );
    for (method, path) in [
        (Method::DELETE, &one),
        (Method::PUT, &hold),
        (Method::DELETE, &hold),
    ] {
        let body = json!({"reason": "mine"});
        let refused = alice.send(method, path, Some(&body)).await;
        assert_eq!(refused.status, 403, "{path}");
    }
}

async fn call_expected(server: &ApiServer) -> i64 {
    let call = call(server, ALICE).await;
    expected(server, call, 1, ALICE).await
}

const FAILED: &str = "update transcription_jobs set state = 'failed', attempts = 3, node_name = 'n',
    finished_at = now(), started_at = now(), progress_ms = 5, error_code = 'crashed', error_message = 'gone'";

#[tokio::test]
async fn what_failed_is_tried_again_and_nothing_else() {
    let server = ApiServer::start().await;
    let staff = server.login("staff").await;
    let (call, recording) = recorded(&server, ALICE).await;
    let job: i64 = server.db.one("select job_id from transcription_jobs").await;
    let retry = format!("/api/admin/transcription-jobs/{job}/retry");
    let again = async |body: Value| staff.post(&retry, body).await;
    let set = |what: &'static str| async { server.db.run(&{ what.to_owned() }).await };
    assert_eq!(code(again(json!({})).await, 409), "transcription_under_way");
    set(FAILED).await;
    for bad in [
        json!({"language": "fr"}),
        json!({"priority": 1_001}),
        json!({"other": 1}),
    ] {
        again(bad).await.expect(400);
    }
    let page = staff
        .get("/api/admin/transcription-jobs?state=failed&language=en&user_id=3")
        .await
        .expect(200);
    assert_eq!(ids(&page), [job]);
    assert_eq!(page["items"][0]["error"]["code"], "crashed");
    assert_eq!(page["items"][0]["callId"], call);
    assert_eq!(page["items"][0]["node"], "n");
    for nobody in ["state=queued", "language=hi", "user_id=4", "call_id=999"] {
        let page = staff
            .get(&format!("/api/admin/transcription-jobs?{nobody}"))
            .await;
        assert_eq!(ids(&page.expect(200)), [0; 0], "{nobody}");
    }
    for bad in ["state=x", "language=x", "call_id=x"] {
        let refused = staff
            .get(&format!("/api/admin/transcription-jobs?{bad}"))
            .await;
        assert_eq!(code(refused, 400), "bad_parameter", "{bad}");
    }
    let queued = again(json!({"language": "hi", "priority": 10, "reason": "It was Hindi"})).await;
    let queued = queued.expect(200);
    for (key, value) in [
        ("state", json!("queued")),
        ("attempts", json!(3)),
        ("maxAttempts", json!(6)),
        ("language", json!("hi")),
        ("priority", json!(10)),
        ("error", json!(null)),
        ("progressMs", json!(null)),
        ("startedAt", json!(null)),
        ("finishedAt", json!(null)),
        ("node", json!(null)),
    ] {
        assert_eq!(queued[key], value, "{key}");
    }
    assert!(queued["nextAttemptAt"].is_string());
    // Without a body, what it was stays.
    set("update transcription_jobs set state = 'cancelled', finished_at = now()").await;
    let queued = staff.send(Method::POST, &retry, None).await.expect(200);
    assert_eq!(
        (&queued["language"], &queued["priority"]),
        (&json!("hi"), &json!(10))
    );

    set(FAILED).await;
    set("update recordings set delete_after = now() - interval '1 second'").await;
    assert_eq!(code(again(json!({})).await, 409), "recording_not_stored");
    set("update recordings set delete_after = null").await;
    said(&server, recording, &[("agent", "hi", "नमस्ते")]).await;
    assert_eq!(code(again(json!({})).await, 409), "transcription_done");
    let nobody = staff
        .post("/api/admin/transcription-jobs/999/retry", json!({}))
        .await;
    assert_eq!(code(nobody, 404), "not_found");
    let audited: String = server
        .db
        .one(
            "select concat_ws(' ', action, actor, user_id, before ->> 'state', after ->> 'state',
                              after ->> 'language', reason)
             from audit_log where object_type = 'transcription_job' order by audit_id limit 1",
        )
        .await;
    assert_eq!(audited, "retry staff 3 failed queued hi It was Hindi");
    let alice = server.login("alice").await;
    alice.post(&retry, json!({})).await.expect(403);
}

#[tokio::test]
async fn who_heard_and_read_a_call_is_noted_for_its_seller() {
    let server = ApiServer::start().await;
    let (alice, staff) = (server.login("alice").await, server.login("staff").await);
    let (call, recording) = recorded(&server, 3).await;
    said(&server, recording, &[("agent", "en", "good morning")]).await;
    let all = format!("/api/admin/logs/{call}");
    // A player asks for pieces; what sends nothing plays nothing.
    let path = format!("{all}/recording");
    hear(&staff, Method::HEAD, &path, &[]).await;
    for range in ["bytes=0-9", "bytes=10-19", "bytes=5-"] {
        hear(&staff, Method::GET, &path, &[("range", range)]).await;
    }
    hear(&alice, Method::GET, &audio(call), &[]).await;
    staff.get(&format!("{all}/transcript")).await.expect(200);
    let events = "select count(*) from security_events where event in ('recording_played', 'transcript_read')";
    eventually("three events", async || {
        server.db.one::<i64>(events).await == 3
    })
    .await;
    for (event, expected) in [
        ("recording_played", vec!["alice", "staff"]),
        ("transcript_read", vec!["staff"]),
    ] {
        let path = format!("/api/auth/security-events?event={event}");
        let seen = alice.get(&path).await.expect(200);
        let items = seen["items"].as_array().expect("events");
        let actors: Vec<&str> = items.iter().map(|e| e["actor"].as_str().unwrap()).collect();
        assert_eq!(actors, expected, "{event}");
        let id = json!(call.to_string());
        assert!(items.iter().all(|e| e["objectId"] == id), "{seen}");
        assert!(items.iter().all(|e| e["userId"] == 3), "{seen}");
    }
}
