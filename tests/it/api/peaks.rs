//! Waveforms of recordings, made of real ones.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::recordings::{call, code, expected, sha};
use crate::support::api::{ApiClient, ApiServer};

const ALICE: i32 = 3;

fn fixture(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/vosk")
        .join(name);
    std::fs::read(file).expect("a fixture")
}

/// Puts a leg's file where the daemon stored it.
fn put(server: &ApiServer, recording: i64, leg: &str, content: &[u8]) {
    let file = format!("{recording}-{leg}.wav");
    std::fs::write(server.storage.path().join(file), content).expect("writes");
}

/// A stored recording of a call with these legs; the id of the call and the recording's.
async fn stored(server: &ApiServer, legs: &[(&str, &[u8])]) -> (i64, i64) {
    let call = call(server, ALICE).await;
    let recording = expected(server, call, 1, ALICE).await;
    for (leg, content) in legs {
        put(server, recording, leg, content);
        let (sha256, bytes) = (sha(content), content.len());
        server
            .db
            .run(&format!(
                "insert into recording_files (recording_id, leg, user_id, object_key, bytes, sha256)
                 values ({recording}, '{leg}', {ALICE}, '{recording}-{leg}.wav', {bytes}, '\\x{sha256}')"
            ))
            .await;
    }
    server
        .db
        .run(&format!(
            "update recordings set state = 'stored', stored_at = now(), location = '{}'
             where recording_id = {recording}",
            server.storage.path().display()
        ))
        .await;
    (call, recording)
}

fn path(call: i64) -> String {
    format!("/api/seller/calls/{call}/recording/peaks")
}

fn points(peaks: &Value, leg: &str) -> Vec<u8> {
    let text = peaks["legs"][leg].as_str().expect("base64");
    STANDARD.decode(text).expect("base64")
}

/// The level of each tenth of a second of a file of 8,000 samples a second, plainly reckoned.
fn levels(file: &[u8], channels: usize) -> Vec<u8> {
    let samples: Vec<u32> = file[44..]
        .chunks_exact(2)
        .map(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs().into())
        .collect();
    let tenths = samples.chunks(800 * channels);
    let loudest = tenths.map(|tenth| tenth.iter().max().copied().unwrap_or_default());
    loudest
        .map(|level| (level * 255).div_ceil(32_768) as u8)
        .collect()
}

async fn ask(client: &ApiClient, path: &str) -> Value {
    client.get(path).await.expect(200)
}

#[tokio::test]
async fn a_player_is_given_the_loudest_of_each_tenth_of_a_second_of_each_leg() {
    let server = ApiServer::start().await;
    let (digits, words) = (fixture("en_digits.wav"), fixture("en_words.wav"));
    let stereo = fixture("en_call_stereo.wav");
    let (call, _) = stored(
        &server,
        &[("caller", &digits), ("agent", &words), ("mix", &stereo)],
    )
    .await;
    let alice = server.login("alice").await;
    let peaks = ask(&alice, &path(call)).await;
    assert_eq!(points(&peaks, "caller"), levels(&digits, 1));
    assert_eq!(points(&peaks, "agent"), levels(&words, 1));
    assert!(peaks["legs"].get("mix").is_none(), "{peaks}");
    assert_eq!(peaks["perSecond"], 10.0);
    let longest = digits.len().max(words.len()) as u64 - 44;
    assert_eq!(peaks["durationMs"], longest * 1_000 / 16_000);
    let loudest = levels(&words, 1).into_iter().max().expect("sound");
    assert!((20..=255).contains(&loudest), "somebody speaks: {loudest}");

    let mix = ask(&alice, &format!("{}?leg=mix", path(call))).await;
    assert_eq!(points(&mix, "mix"), levels(&stereo, 2));

    // Fewer points, none lost: each is the loudest of several tenths.
    let few = ask(&alice, &format!("{}?points=5&leg=caller", path(call))).await;
    let all = levels(&digits, 1);
    let together = all.len().div_ceil(5);
    let expected: Vec<u8> = all
        .chunks(together)
        .map(|some| some.iter().copied().max().unwrap_or_default())
        .collect();
    assert!(expected.len() <= 5);
    assert_eq!(points(&few, "caller"), expected);
    let per_second = few["perSecond"].as_f64().expect("a number");
    assert!((per_second - 10.0 / together as f64).abs() < 1e-9);
    for bad in ["points=0", "points=36001", "points=x", "leg=both"] {
        let refused = alice.get(&format!("{}?{bad}", path(call))).await;
        assert_eq!(code(refused, 400), "bad_parameter", "{bad}");
    }
    // The other address, and staff.
    let logged = format!("/api/seller/logs/{call}/recording/peaks");
    assert_eq!(ask(&alice, &logged).await, peaks);
    let staff = server.login("staff").await;
    let any = format!("/api/admin/calls/{call}/recording/peaks");
    assert_eq!(ask(&staff, &any).await, peaks);
    // Nobody else.
    let bob = server.login("bob").await;
    assert_eq!(code(bob.get(&path(call)).await, 404), "not_found");
}

#[tokio::test]
async fn peaks_are_not_sent_nor_reckoned_again_to_who_has_them() {
    let server = ApiServer::start().await;
    let ringback = fixture("ringback.wav");
    let (call, recording) = stored(&server, &[("mix", &ringback)]).await;
    let alice = server.login("alice").await;
    let answer = alice.get(&path(call)).await;
    let tag = answer.header("etag").expect("a version").to_owned();
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
    let peaks = answer.expect(200);
    // Where there is nothing but the mix, that is it.
    assert_eq!(points(&peaks, "mix"), levels(&ringback, 1));

    // What is not there any more does not matter to who has it; the daemon has kept it too.
    let file = server.storage.path().join(format!("{recording}-mix.wav"));
    std::fs::remove_file(file).expect("removes");
    let knows = alice.clone().with_header("if-none-match", &tag);
    let answer = knows.get(&path(call)).await;
    assert_eq!((answer.status, answer.text.as_str()), (304, ""));
    assert_eq!(ask(&alice, &path(call)).await, peaks);
    // Other points are another version.
    let fewer = knows.get(&format!("{}?points=2", path(call))).await;
    assert_eq!(fewer.status, 200);

    // Deleted is deleted, also for who had it.
    let expire =
        format!("update recordings set delete_after = now() where recording_id = {recording}");
    server.db.run(&expire).await;
    assert_eq!(code(knows.get(&path(call)).await, 404), "recording_deleted");
}

#[tokio::test]
async fn a_broken_recording_has_no_waveform_and_says_why() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let whole = fixture("hi_digits.wav");

    // A beginning that is no header, as after a fault of the disk.
    let mut broken = whole.clone();
    broken[..12].fill(0);
    let (call, recording) = stored(&server, &[("caller", &broken)]).await;
    assert_eq!(
        code(alice.get(&path(call)).await, 422),
        "recording_unreadable"
    );
    // Cut off in the storage: it is not what was stored.
    put(&server, recording, "caller", &broken[..1_000]);
    assert_eq!(
        code(alice.get(&path(call)).await, 503),
        "recording_unavailable"
    );
    let (call, recording) = stored(&server, &[("caller", &whole[..whole.len() - 2])]).await;
    let file = server
        .storage
        .path()
        .join(format!("{recording}-caller.wav"));
    std::fs::remove_file(file).expect("removes");
    assert_eq!(
        code(alice.get(&path(call)).await, 503),
        "recording_unavailable"
    );
    let agent = format!("{}?leg=agent", path(call));
    assert_eq!(code(alice.get(&agent).await, 404), "leg_not_found");

    // Cut off while Asterisk wrote it: what is there is shown, though the header tells more.
    let cut = &whole[..whole.len() / 2 / 2 * 2];
    let (call, _) = stored(&server, &[("caller", cut)]).await;
    assert_eq!(
        points(&ask(&alice, &path(call)).await, "caller"),
        levels(cut, 1)
    );
    // Nothing but a header: nothing was said.
    let (call, _) = stored(&server, &[("caller", &whole[..44])]).await;
    let nothing = ask(&alice, &path(call)).await;
    assert_eq!(points(&nothing, "caller"), [0; 0]);
    assert_eq!(nothing["durationMs"], 0);
    // Shorter than a header.
    let (call, _) = stored(&server, &[("caller", b"hello")]).await;
    assert_eq!(
        code(alice.get(&path(call)).await, 422),
        "recording_unreadable"
    );

    server
        .db
        .run("update recordings set state = 'missing', stored_at = null")
        .await;
    assert_eq!(code(alice.get(&path(call)).await, 404), "recording_missing");
}
