//! TLS of the daemon's own: a certificate that is taken up anew when its file changes.
//!
//! Invariant: there is always a certificate that works. A new one that cannot be used is told, and the old one stays; so
//! is one that is about to expire.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::runtime::clock;
use crate::runtime::metrics;
use crate::runtime::supervisor::Component;
use crate::runtime::telemetry::Chain;

mod expiry;

pub use expiry::{Expiry, Trouble};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// How long a peer may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Browsers come by TLS only, for a year.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Of the certificate.
    #[error("cannot read the certificate {}: it must be a PEM file, its chain in it", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// There is none in it.
    #[error("{} holds no certificate in PEM", .0.display())]
    Empty(PathBuf),
    /// Of the key.
    #[error("cannot read the key {}: it must be a PEM file without a password", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Of both.
    #[error("the key {} cannot be used with the certificate", path.display())]
    Unfit {
        /// The key's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Of TLS.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// Certificate and key, and whoever speaks TLS with them. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current {
    certificate: PathBuf,
    key: PathBuf,
    pair: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pair = self.pair.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&pair))
    }
}

/// What tells that a file is another one.
type Seen = [Option<(SystemTime, u64)>; 2];

impl Tls {
    /// Reads both files. Blocks for a moment.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = Arc::new(Current {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            pair: RwLock::new(Arc::new(read(certificate, key)?)),
        });
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            current,
        })
    }

    /// Agrees on keys with a peer, in time.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        match tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream)).await {
            Ok(accepted) => accepted,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }

    /// When the certificate that is served expires; none if that cannot be read.
    pub fn expiry(&self) -> Option<Expiry> {
        let pair = self.current.pair.read();
        let pair = pair.unwrap_or_else(PoisonError::into_inner);
        Expiry::of(pair.cert.first()?)
    }

    /// Takes up new files until `stop`, and tells when the certificate expires.
    pub async fn keep_current(self, component: Component, stop: CancellationToken) {
        let mut seen = self.seen();
        loop {
            self.tell(&component);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = self.seen();
            if now == seen {
                continue;
            }
            seen = now;
            match self.reload() {
                Ok(()) => tracing::info!(
                    certificate = %self.current.certificate.display(), "a new certificate is used from now on"),
                Err(error) => tracing::error!(
                    error = %Chain(&error),
                    "the new certificate cannot be used: the one before is used as long as the daemon runs"),
            }
        }
    }

    fn tell(&self, component: &Component) {
        let expiry = self.expiry();
        if let Some(expiry) = expiry {
            metrics::certificate_expiry("http", expiry.at().as_second());
        }
        // What an expired one keeps away are people and programs, not calls.
        match expiry.and_then(|expiry| expiry.trouble(clock::now())) {
            Some(trouble) => component.degraded(trouble.to_string()),
            None => component.ready(),
        }
    }

    /// Reads both files again. Where that fails nothing changes.
    pub fn reload(&self) -> Result<(), TlsError> {
        let pair = Arc::new(read(&self.current.certificate, &self.current.key)?);
        let mut current = self
            .current
            .pair
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = pair;
        Ok(())
    }

    fn seen(&self) -> Seen {
        [&self.current.certificate, &self.current.key].map(|file| {
            let found = std::fs::metadata(file).ok()?;
            Some((found.modified().ok()?, found.len()))
        })
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let unreadable = |source| TlsError::Certificate {
        path: certificate.to_owned(),
        source,
    };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(unreadable)?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::Empty(certificate.to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Key {
        path: key.to_owned(),
        source,
    })?;
    CertifiedKey::from_der(chain, secret, &ring::default_provider()).map_err(|source| {
        TlsError::Unfit {
            path: key.to_owned(),
            source,
        }
    })
}

/// Has browsers come by TLS only.
pub fn with_hsts(router: Router) -> Router {
    router.layer(map_response(|mut response: Response| async {
        let headers = response.headers_mut();
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
        response
    }))
}
