//! TLS of the daemon's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use capconduit::http::{self, Tls, TlsError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

/// A place for certificate and key, as a program that renews them would leave them.
struct Pair(tempfile::TempDir);

impl Pair {
    fn of(name: &str) -> Self {
        let pair = Self(tempfile::tempdir().unwrap());
        pair.put(name, name);
        pair
    }

    fn put(&self, certificate: &str, key: &str) {
        std::fs::copy(fixture(&format!("{certificate}.crt")), self.certificate()).unwrap();
        std::fs::copy(fixture(&format!("{key}.key")), self.key()).unwrap();
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    fn open(&self) -> Result<Tls, TlsError> {
        Tls::open(&self.certificate(), &self.key())
    }
}

async fn serve(tls: Tls) -> (SocketAddr, DropGuard) {
    let end = CancellationToken::new();
    let listener = http::bind("127.0.0.1:0".parse().unwrap(), "http.listen")
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let router = http::with_hsts(Router::new().route("/", get(async || "hello")));
    tokio::spawn(http::serve_with(
        listener,
        Some(tls),
        router,
        http::Limits::API,
        end.clone(),
    ));
    (address, end.drop_guard())
}

/// Asks as a browser that trusts one certificate.
async fn ask(address: SocketAddr, trusted: &str) -> Result<reqwest::Response, reqwest::Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pem = std::fs::read(fixture(&format!("{trusted}.crt"))).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
        .build()
        .unwrap();
    client
        .get(format!("https://localhost:{}/", address.port()))
        .send()
        .await
}

#[tokio::test]
async fn the_api_is_served_with_tls_and_browsers_are_told_to_stay_with_it() {
    let (address, _end) = serve(Pair::of("first").open().unwrap()).await;
    let answer = ask(address, "first").await.unwrap();
    let hsts = answer.headers()["strict-transport-security"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(hsts.starts_with("max-age="), "{hsts}");
    assert_eq!(answer.text().await.unwrap(), "hello");
    assert!(
        ask(address, "second").await.is_err(),
        "it is that certificate"
    );
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_broken_one_changes_nothing() {
    let pair = Pair::of("first");
    let tls = pair.open().unwrap();
    let (address, _end) = serve(tls.clone()).await;
    ask(address, "first").await.unwrap();
    // Half renewed: the key is another's.
    pair.put("second", "first");
    assert!(matches!(tls.reload(), Err(TlsError::Unfit { .. })));
    ask(address, "first").await.unwrap();
    std::fs::write(pair.certificate(), "").unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Empty(_))));
    ask(address, "first").await.unwrap();
    pair.put("second", "second");
    tls.reload().unwrap();
    ask(address, "second").await.unwrap();
    assert!(ask(address, "first").await.is_err());
}

#[tokio::test]
async fn who_does_not_speak_tls_is_let_go_of_and_disturbs_nobody() {
    let (address, _end) = serve(Pair::of("first").open().unwrap()).await;
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.windows(5).any(|w| w == b"hello"));
    // One says nothing at all: its connection ends within the time for agreeing on keys.
    let mut silent = TcpStream::connect(address).await.unwrap();
    ask(address, "first").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), silent.read(&mut [0; 1])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}

#[test]
fn what_cannot_be_a_certificate_is_named() {
    let pair = Pair::of("first");
    std::fs::remove_file(pair.key()).unwrap();
    let error = pair.open().err().unwrap();
    assert!(error.to_string().contains("key.pem"), "{error}");
    std::fs::remove_file(pair.certificate()).unwrap();
    let error = pair.open().err().unwrap();
    assert!(error.to_string().contains("certificate.pem"), "{error}");
}
