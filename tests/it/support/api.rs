//! The API on a port of its own, and clients that are logged in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use capconduit::accounts::sealing::{SealingKey, SealingKeys};
use capconduit::domain::network::ForwardedHeader;
use capconduit::domain::weak_password::PasswordRule;
use capconduit::domain::{Claims, SecondFactor};
use capconduit::http;
pub use capconduit::http::api::Accounts;
use capconduit::http::api::Settings;
use capconduit::recordings::object_storage;
use capconduit::recordings::object_storage::Storage;
use capconduit::routing::Engine;
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::TestDb;
use super::world::engine;

/// Password of every account that [`ApiServer`] makes.
pub const PASSWORD: &str = "a long password";

pub const INTERNAL_TOKEN: &str = "internal-token-of-the-tests";

/// Hashing takes its time: once for all.
static HASH: LazyLock<String> =
    LazyLock::new(|| capconduit::accounts::password::hash(PASSWORD).expect("a hash"));

pub struct ApiServer {
    pub db: TestDb,
    pub address: SocketAddr,
    /// Its engine.
    pub engine: Engine,
    /// Where recordings are kept.
    pub storage: tempfile::TempDir,
    _end: DropGuard,
}

pub fn settings() -> Settings {
    Settings {
        internal_tokens: vec![SecretString::from(INTERNAL_TOKEN)],
        public_origin: None,
        cors_origins: vec![],
        require_if_match: false,
        node: "api".to_owned(),
        transcribes: false,
        secure_cookies: false,
        trusted_proxies: vec![],
        forwarded_header: ForwardedHeader::default(),
        untrusted_proxy: http::kit::address::UntrustedProxy::default(),
        contexts: vec!["agents".to_owned()],
        session_idle: Duration::from_secs(3_600),
        session_age: Duration::from_secs(86_400),
        remember: Duration::from_secs(864_000),
        login_attempts: 5,
        login_lock: Duration::from_secs(60),
        requests_per_minute: 100_000,
        anonymous_requests_per_minute: 100_000,
        internal_apart: false,
        quotas: capconduit::accounts::api::quotas::Quotas::default(),
        claims: Claims::Open,
        accounts: accounts(),
    }
}

pub const SEALING_KEY: &str = "a key of the tests, as long as one must be";

pub fn sealing_keys(current: &str, previous: Option<&str>) -> Arc<SealingKeys> {
    Arc::new(SealingKeys {
        current: SealingKey::new(current),
        previous: previous.map(SealingKey::new),
    })
}

pub fn accounts() -> Accounts {
    Accounts {
        key_default: Duration::from_secs(90 * 86_400),
        key_max: Duration::from_secs(365 * 86_400),
        password_rule: PasswordRule {
            min_length: 8,
            refuse_common: true,
        },
        second_factor: SecondFactor::Optional,
        sealing_key: Some(sealing_keys(SEALING_KEY, None)),
    }
}

async fn serve(
    db: &TestDb,
    storage: &Path,
    settings: Settings,
    engine: Engine,
) -> (SocketAddr, DropGuard) {
    let end = CancellationToken::new();
    let listener = http::bind("127.0.0.1:0".parse().expect("address"), "http.listen").await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let storage = object_storage::Settings::Directory(storage.to_owned());
    let storage = Storage::open(&storage).expect("a storage");
    let router = http::api::router(db.store(), engine, Some(storage), settings);
    tokio::spawn(http::serve(
        listener,
        router,
        http::Limits {
            // Every client of a test has the same address.
            from_one: 1_000,
            ..http::Limits::API
        },
        end.clone(),
    ));
    (address, end.drop_guard())
}

fn anonymous(address: SocketAddr) -> ApiClient {
    // As the daemon does; a second call would find it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ApiClient {
        http: reqwest::Client::new(),
        base: format!("http://{address}"),
        headers: vec![],
    }
}

impl ApiServer {
    /// On a database of its own, with accounts `admin` (1), `staff` (2), `alice` (3) and `bob` (4).
    pub async fn start() -> Self {
        Self::start_with(settings()).await
    }

    pub async fn start_with(settings: Settings) -> Self {
        let db = TestDb::new().await;
        for (name, role) in [
            ("admin", "admin"),
            ("staff", "staff"),
            ("alice", "user"),
            ("bob", "user"),
        ] {
            db.run(&format!(
                "insert into users (username, email, password_hash, role, status)
                 values ('{name}', '{name}@example.com', '{}', '{role}', 'active')",
                *HASH
            ))
            .await;
        }
        let storage = tempfile::tempdir().expect("a directory");
        let engine = engine(&db, "api");
        let (address, end) = serve(&db, storage.path(), settings, engine.clone()).await;
        Self {
            db,
            address,
            engine,
            storage,
            _end: end,
        }
    }

    /// A client nobody knows of a second daemon on the same database; it ends with the guard.
    pub async fn second(&self, settings: Settings) -> (ApiClient, DropGuard) {
        let engine = engine(&self.db, "api");
        let (address, end) = serve(&self.db, self.storage.path(), settings, engine).await;
        (anonymous(address), end)
    }

    /// A client nobody knows.
    pub fn anonymous(&self) -> ApiClient {
        anonymous(self.address)
    }

    /// A client logged in as one of the accounts.
    pub async fn login(&self, username: &str) -> ApiClient {
        let mut client = self.anonymous();
        let body = serde_json::json!({ "username": username, "password": PASSWORD });
        let answer = client
            .send(Method::POST, "/api/auth/login", Some(&body))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let session = answer.cookie("session").expect("a session cookie");
        client.headers = vec![("cookie".into(), format!("session={session}"))];
        client
    }

    /// A client with the internal token.
    pub fn internal(&self) -> ApiClient {
        let mut client = self.anonymous();
        client.headers = vec![("x-internal-api-token".into(), INTERNAL_TOKEN.into())];
        client
    }
}

#[derive(Clone)]
pub struct ApiClient {
    pub http: reqwest::Client,
    pub base: String,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    /// Null if there is none, or it is not JSON.
    pub body: Value,
    pub text: String,
}

impl ApiClient {
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request.send().await.expect("an answer")).await
    }

    /// Sends a body as it stands.
    pub async fn send_raw(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .body(body);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(kind) = content_type {
            request = request.header("content-type", kind);
        }
        Answer::of(request.send().await.expect("an answer")).await
    }
}

impl Answer {
    async fn of(response: reqwest::Response) -> Self {
        let status = response.status();
        let headers = response.headers().clone();
        let text = response.text().await.expect("a body");
        Self {
            status: StatusCode::as_u16(&status),
            headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The value of a cookie that is set.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .filter_map(|cookie| cookie.split(';').next()?.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Asserts the status and gives the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }
}
