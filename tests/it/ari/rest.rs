//! What the REST side says when it is refused, ignored or lied to.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use capconduit::asterisk::ari::Server;
use capconduit::asterisk::ari::rest::{Error, Rest};

use crate::support::fake_ari::FakeAri;
use crate::support::journal::{Journal, PATIENCE};

fn rest(asterisk: &FakeAri, timeout: Duration) -> Rest {
    Rest::new(Arc::new(asterisk.server("a")), timeout).expect("a client")
}

#[tokio::test]
async fn asterisk_says_who_it_is() {
    let asterisk = FakeAri::start(&Journal::new()).await;
    let info = rest(&asterisk, PATIENCE).info().await.expect("an answer");
    assert!(info.version.starts_with("22.10.1"), "{info:?}");
    assert_eq!(info.startup_time, "2026-11-21T02:17:13.510Z".parse().ok());
}

#[tokio::test]
async fn a_refusal_names_the_keys_to_mend_and_no_secret() {
    let asterisk = FakeAri::start(&Journal::new()).await;
    asterisk.refuse_password(true);
    let error = rest(&asterisk, PATIENCE).channels().await.expect_err("401");
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    let text = format!("{error} {error:?}");
    for word in [
        "`username`",
        "`password`",
        "[[asterisk]]",
        "pbx1",
        "capconduit",
    ] {
        assert!(text.contains(word), "{text}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_user_who_may_only_read_cannot_set_a_filter() {
    let asterisk = FakeAri::start(&Journal::new()).await;
    asterisk.make_user_read_only();
    let error = rest(&asterisk, PATIENCE).set_event_filter().await;
    assert!(matches!(error, Err(Error::Forbidden { .. })), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let asterisk = FakeAri::start(&Journal::new()).await;
    let rest = rest(&asterisk, PATIENCE);
    let address = asterisk.address().to_string();
    drop(asterisk);
    let error = rest.info().await.expect_err("nobody listens");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn https_to_a_port_without_tls_says_so() {
    // Asterisk's web server answers what it cannot read as HTTP.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let mut hello = [0; 1];
            let _ = peer.read_exact(&mut hello).await;
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            let _ = peer.write_all(answer).await;
        }
    });
    let url = format!("https://{address}");
    let server = Server::new("pbx1", &url, "capconduit", "secret".into(), "a").expect("valid");
    let rest = Rest::new(Arc::new(server), PATIENCE).expect("a client");
    let error = rest.info().await.expect_err("no TLS");
    assert!(matches!(error, Error::PlainPort { .. }), "{error:?}");
    assert!(error.to_string().contains("write http://"), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_is_left_in_time() {
    let asterisk = FakeAri::start(&Journal::new()).await;
    asterisk.hang_at(Some("/ari/channels"));
    let rest = rest(&asterisk, Duration::from_millis(50));
    let error = rest.channels().await.expect_err("no answer");
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_wrong_prefix_is_hinted_at() {
    let asterisk = FakeAri::start(&Journal::new()).await;
    let url = format!("http://{}/prefix", asterisk.address());
    let server = Server::new("pbx1", &url, "capconduit", "secret".into(), "a").expect("valid");
    let rest = Rest::new(Arc::new(server), PATIENCE).expect("a client");
    let error = rest.info().await.expect_err("404");
    assert!(matches!(error, Error::Status { .. }), "{error:?}");
    assert!(error.to_string().contains("prefix"), "{error}");
}

#[tokio::test]
async fn answers_too_long_or_unreadable_are_refused() {
    let asterisk = FakeAri::start(&Journal::new()).await;
    let rest = rest(&asterisk, PATIENCE);
    asterisk.set_info("{}");
    let error = rest.info().await.expect_err("no version");
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    asterisk.set_channels(&" ".repeat(33 * 1024 * 1024));
    let error = rest.channels().await.expect_err("too long");
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}
