//! The few questions asked of ARI over HTTP.
//!
//! Every request has a timeout and a limit on its answer, goes straight to the server (no proxy, no
//! redirect: the password must not travel) and authenticates by header. Nothing here retries.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{Server, event};
use crate::domain::{LiveChannel, SeenChannel, ServerIdentity, ServerName, UniqueId};
use crate::routing::{Ordered, Switch};

/// Far more than any list of channels: 20,000 of them.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// A question that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 401.
    #[error(
        "Asterisk refuses user {username:?}: make `username` and `password` of the [[asterisk]] named \
         \"{server}\" match a user in its ari.conf"
    )]
    Unauthorized {
        /// The `[[asterisk]]` table to mend.
        server: ServerName,
        /// The user refused.
        username: String,
    },
    /// 403: the user may only read.
    #[error("Asterisk allows user {username:?} only to read: set `read_only = no` in ari.conf")]
    Forbidden {
        /// The user refused.
        username: String,
    },
    /// No connection, or it broke.
    #[error("Asterisk cannot be reached at {url}")]
    Unreachable {
        /// The server's address.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It answers, but not in TLS.
    #[error(
        "Asterisk does not speak TLS at {url}: write http:// there, or the port of `tlsbindaddr` in its http.conf"
    )]
    PlainPort {
        /// The server's address.
        url: String,
    },
    /// No answer in time.
    #[error("Asterisk did not answer {path} within {} ms", after.as_millis())]
    Timeout {
        /// What was asked.
        path: String,
        /// How long was waited.
        after: Duration,
    },
    /// An answer, but not one we know.
    #[error("Asterisk answered {path} with status {status}{}", hint(*status))]
    Status {
        /// What was asked.
        path: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// An answer too long to be true.
    #[error("Asterisk's answer to {path} is longer than {MAX_BODY_BYTES} bytes")]
    TooLarge {
        /// What was asked.
        path: String,
    },
    /// An answer we cannot read.
    #[error("Asterisk's answer to {path} cannot be read")]
    Malformed {
        /// What was asked.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Tls {
        /// Why.
        source: rustls::Error,
    },
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot be set up")]
    Client {
        /// Why.
        source: reqwest::Error,
    },
}

/// What comes from a port that speaks HTTP where TLS was expected.
fn is_no_tls(error: &reqwest::Error) -> bool {
    let not_tls = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
    let not_tls = not_tls.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if cause.to_string() == not_tls {
            return true;
        }
        next = cause.source();
    }
    false
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => {
            ": check that ari.conf and http.conf say `enabled = yes` and that `url` has their prefix"
        }
        StatusCode::SERVICE_UNAVAILABLE => ": it is still starting or shutting down",
        _ => "",
    }
}

#[derive(Deserialize)]
struct ModuleBody {
    name: String,
    status: String,
}

#[derive(Deserialize)]
struct VariableBody {
    value: String,
}

#[derive(Deserialize)]
struct ChannelBody {
    name: String,
    creationtime: Option<String>,
}

#[derive(Deserialize)]
struct PingBody {
    asterisk_id: String,
    timestamp: String,
}

/// What Asterisk answers to a ping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pong {
    /// Its entity id.
    pub entity_id: String,
    /// Its clock.
    pub at: Option<jiff::Timestamp>,
}

/// One setting of a configured object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Setting {
    /// Its name, as in `pjsip.conf`.
    pub attribute: String,
    /// Its value.
    pub value: String,
}

/// The REST side of one Asterisk server.
#[derive(Clone)]
pub struct Rest {
    client: Client,
    tls: Arc<ClientConfig>,
    server: Arc<Server>,
    authorization: HeaderValue,
    timeout: Duration,
}

impl Rest {
    /// Sets up the client; nothing is sent. `timeout` is for each request as a whole.
    pub fn new(server: Arc<Server>, timeout: Duration) -> Result<Self, Error> {
        let tls = tls_config(&server)?;
        let client = Client::builder()
            // An explicit configuration: without it the client asks for a process-wide provider and
            // panics where there is none.
            .tls_backend_preconfigured(ClientConfig::clone(&tls))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(timeout)
            .timeout(timeout)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|source| Error::Client { source })?;
        // The client knows how to write the header; the stream needs the same one.
        let sample = client
            .get(server.url.clone())
            .basic_auth(&server.username, Some(server.password.expose_secret()))
            .build()
            .map_err(|source| Error::Client { source })?;
        let authorization = sample.headers()[AUTHORIZATION].clone();
        Ok(Self {
            client,
            tls,
            server,
            authorization,
            timeout,
        })
    }

    /// The server asked.
    pub fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }

    pub(super) fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    pub(super) fn unauthorized(&self) -> Error {
        Error::Unauthorized {
            server: self.server.name.clone(),
            username: self.server.username.clone(),
        }
    }

    /// What the server says of itself.
    pub async fn info(&self) -> Result<ServerIdentity, Error> {
        let path = "/ari/asterisk/info";
        let body = self.send(path, self.request(Method::GET, path)).await?;
        event::decode_info(&body).map_err(|source| Error::Malformed {
            path: path.to_owned(),
            source,
        })
    }

    /// Names of the modules that run, as `res_agi.so`.
    pub async fn running_modules(&self) -> Result<Vec<String>, Error> {
        let path = "/ari/asterisk/modules";
        let body = self.send(path, self.request(Method::GET, path)).await?;
        let modules: Vec<ModuleBody> =
            serde_json::from_slice(&body).map_err(|source| Error::Malformed {
                path: path.to_owned(),
                source,
            })?;
        let running = modules.into_iter().filter(|m| m.status == "Running");
        Ok(running.map(|m| m.name).collect())
    }

    /// All channels there are.
    pub async fn channels(&self) -> Result<Vec<LiveChannel>, Error> {
        let path = "/ari/channels";
        let body = self.send(path, self.request(Method::GET, path)).await?;
        event::decode_channels(&body).map_err(|source| Error::Malformed {
            path: path.to_owned(),
            source,
        })
    }

    /// The channels of each bridge: who talks to whom.
    pub async fn bridges(&self) -> Result<Vec<Vec<UniqueId>>, Error> {
        let path = "/ari/bridges";
        let body = self.send(path, self.request(Method::GET, path)).await?;
        event::decode_bridges(&body).map_err(|source| Error::Malformed {
            path: path.to_owned(),
            source,
        })
    }

    /// Asks Asterisk to send only the events in [`event::WANTED`]. The application exists only while its
    /// stream is open, and the filter with it: to be asked after every connect.
    pub async fn set_event_filter(&self) -> Result<(), Error> {
        let path = format!("/ari/applications/{}/eventFilter", self.server.app);
        let allowed: Vec<_> = event::WANTED
            .iter()
            .map(|kind| serde_json::json!({ "type": kind }))
            .collect();
        let request = self
            .request(Method::PUT, &path)
            .json(&serde_json::json!({ "allowed": allowed }));
        self.send(&path, request).await.map(drop)
    }

    /// A global variable of the dialplan. `None`: it is not set.
    pub async fn variable(&self, name: &str) -> Result<Option<String>, Error> {
        let path = "/ari/asterisk/variable";
        let mut url = self.server.http_url(path);
        url.query_pairs_mut().append_pair("variable", name);
        let request = self.client.get(url);
        let request = request.header(AUTHORIZATION, self.authorization.clone());
        let body: Option<VariableBody> = self.found(path, request).await?;
        Ok(body
            .map(|body| body.value)
            .filter(|value| !value.is_empty()))
    }

    /// Settings of an endpoint as Asterisk uses them, wherever it has them from. `None`: there is no such endpoint.
    pub async fn endpoint(&self, id: &str) -> Result<Option<Vec<Setting>>, Error> {
        let path = format!("/ari/asterisk/config/dynamic/res_pjsip/endpoint/{id}");
        self.found(&path, self.request(Method::GET, &path)).await
    }

    /// Whether Asterisk finds the address of that id.
    pub async fn has_aor(&self, id: &str) -> Result<bool, Error> {
        let path = format!("/ari/asterisk/config/dynamic/res_pjsip/aor/{id}");
        let found: Option<Vec<Setting>> =
            self.found(&path, self.request(Method::GET, &path)).await?;
        Ok(found.is_some())
    }

    /// Hangs up a channel, if there is one of this id and name, made when it was: unique ids come again after a restart.
    /// Whether there was.
    pub async fn hang_up(&self, channel: &SeenChannel) -> Result<bool, Error> {
        let path = format!("/ari/channels/{}", channel.uniqueid);
        let live: Option<ChannelBody> = self.found(&path, self.request(Method::GET, &path)).await?;
        let is_it = |live: ChannelBody| {
            let made = live.creationtime.as_deref().and_then(event::parse_time);
            let is_other = made.zip(channel.created_at).is_some_and(|(a, b)| a != b);
            (channel.name.is_empty() || live.name == channel.name) && !is_other
        };
        if !live.is_some_and(is_it) {
            return Ok(false);
        }
        let mut url = self.server.http_url(&path);
        url.query_pairs_mut().append_pair("reason", "normal");
        let request = self.client.delete(url);
        let request = request.header(AUTHORIZATION, self.authorization.clone());
        match self.send(&path, request).await {
            Ok(_) => Ok(true),
            Err(Error::Status {
                status: StatusCode::NOT_FOUND,
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Who this Asterisk is and what its clock says.
    pub async fn ping(&self) -> Result<Pong, Error> {
        let path = "/ari/asterisk/ping";
        let body = self.send(path, self.request(Method::GET, path)).await?;
        let body: PingBody = serde_json::from_slice(&body).map_err(|source| Error::Malformed {
            path: path.to_owned(),
            source,
        })?;
        Ok(Pong {
            entity_id: body.asterisk_id,
            at: event::parse_time(&body.timestamp),
        })
    }

    /// The answer, if there is what was asked for.
    async fn found<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        request: RequestBuilder,
    ) -> Result<Option<T>, Error> {
        match self.send(path, request).await {
            Ok(body) => {
                serde_json::from_slice(&body)
                    .map(Some)
                    .map_err(|source| Error::Malformed {
                        path: path.to_owned(),
                        source,
                    })
            }
            Err(Error::Status {
                status: StatusCode::NOT_FOUND,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, self.server.http_url(path))
            .header(AUTHORIZATION, self.authorization.clone())
    }

    async fn send(&self, path: &str, request: RequestBuilder) -> Result<Vec<u8>, Error> {
        let failed = |source: reqwest::Error| {
            if source.is_timeout() {
                Error::Timeout {
                    path: path.to_owned(),
                    after: self.timeout,
                }
            } else if is_no_tls(&source) {
                Error::PlainPort {
                    url: self.server.url.to_string(),
                }
            } else {
                Error::Unreachable {
                    url: self.server.url.to_string(),
                    source: source.without_url(),
                }
            }
        };
        let mut response = request.send().await.map_err(failed)?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED => return Err(self.unauthorized()),
            StatusCode::FORBIDDEN => {
                return Err(Error::Forbidden {
                    username: self.server.username.clone(),
                });
            }
            status => {
                return Err(Error::Status {
                    path: path.to_owned(),
                    status,
                });
            }
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(Error::TooLarge {
                    path: path.to_owned(),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl Switch for Rest {
    fn hang_up<'a>(&'a self, channel: &'a SeenChannel) -> Ordered<'a> {
        Box::pin(async move {
            Self::hang_up(self, channel).await.map_err(|error| {
                let mut text = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(error) = cause {
                    text = format!("{text}: {error}");
                    cause = error.source();
                }
                text
            })
        })
    }
}

/// The ring provider by name, so that neither order of start nor tests depend on process-wide state.
fn tls_config(server: &Server) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    if server.is_tls() {
        // Certificates that cannot be read are left out; a server signed by one is then refused.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Tls { source })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
