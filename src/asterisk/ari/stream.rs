//! The WebSocket on which Asterisk reports events.
//!
//! Asterisk cuts off a listener that does not read for 100 ms, so the reader only decodes and queues: it
//! waits for nothing but the socket. When the queue is full the fact is dropped, counted and remembered
//! as missed, and whoever drains the queue compares calls with channels instead. Nothing here knows
//! calls or reconnects.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use reqwest::header::AUTHORIZATION;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, http::StatusCode};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use tokio_util::sync::CancellationToken;

use super::event::{self, Event, Kind};
use super::rest::{self, Rest};
use crate::domain::CallFact;

/// A fact, and when it was heard.
pub type Heard = (CallFact, std::time::Instant);

const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
const MAX_FRAME_BYTES: usize = 256 * 1024;
const MAX_UNSENT_BYTES: usize = 1024 * 1024;
/// Pings that may go unanswered.
const MISSED_PONGS: u32 = 2;
/// For the few bytes of a ping or a close: a server that does not take these is gone.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);

/// A stream that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused it for a reason that REST knows too.
    #[error(transparent)]
    Refused(#[from] rest::Error),
    /// No connection.
    #[error("Asterisk cannot be reached at {host}:{port}")]
    Unreachable {
        /// Host of the server's address.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// Connected, but it is no WebSocket.
    #[error("Asterisk does not open the event stream")]
    Handshake {
        /// Why.
        source: Box<tungstenite::Error>,
    },
    /// No answer in time.
    #[error("Asterisk did not open the event stream within {} ms", after.as_millis())]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
}

/// Why a stream ended.
#[derive(Debug)]
pub enum Closed {
    /// Asterisk closed it in good order: still a disconnect, events are being missed.
    Cleanly,
    /// The connection broke, or carried what we do not accept.
    Broken(Box<tungstenite::Error>),
    /// Nothing was heard for several pings.
    Silent,
    /// Another connection listens under our name now.
    Replaced,
    /// We were asked to stop.
    Stopped,
}

/// Where the reader leaves its facts. Bounded; full means dropped and [`Self::missed`].
#[derive(Clone)]
pub struct FactQueue {
    facts: mpsc::Sender<Heard>,
    missed: Arc<Notify>,
    dropped: metrics::Counter,
}

impl FactQueue {
    /// A queue for `capacity` facts of `server`, and its other end.
    pub fn new(capacity: usize, server: &str) -> (Self, mpsc::Receiver<Heard>) {
        let (facts, receiver) = mpsc::channel(capacity);
        let dropped = metrics::counter!(crate::runtime::metrics::ARI_FACTS_DROPPED, "server" => server.to_owned());
        let missed = Arc::new(Notify::new());
        (
            Self {
                facts,
                missed,
                dropped,
            },
            receiver,
        )
    }

    fn offer(&self, fact: CallFact) {
        if self
            .facts
            .try_send((fact, std::time::Instant::now()))
            .is_err()
        {
            self.dropped.increment(1);
            self.missed.notify_one();
        }
    }

    /// As if nothing had been dropped so far.
    pub fn forget_missed(&self) {
        let _ = self.missed.notified().now_or_never();
    }

    /// Completes once after any number of dropped facts: calls must be compared with channels.
    pub async fn missed(&self) {
        self.missed.notified().await;
    }
}

/// An open event stream.
pub struct EventStream {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    app: String,
}

/// Opens the event stream of the server that `rest` asks.
pub async fn connect(rest: &Rest, within: Duration) -> Result<EventStream, Error> {
    timeout(within, open(rest))
        .await
        .unwrap_or(Err(Error::Timeout { after: within }))
}

async fn open(rest: &Rest) -> Result<EventStream, Error> {
    let server = rest.server();
    let handshake = |source| Error::Handshake {
        source: Box::new(source),
    };
    let mut request = server
        .events_url()
        .into_client_request()
        .map_err(handshake)?;
    request
        .headers_mut()
        .insert(AUTHORIZATION, rest.authorization().clone());

    // An IPv6 address stands in brackets in a URL, which the resolver does not know.
    let host = server.url().host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = server.url().port_or_known_default().unwrap_or(80);
    let tcp = TcpStream::connect((host, port))
        .await
        .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
        .map_err(|source| Error::Unreachable {
            host: host.to_owned(),
            port,
            source,
        })?;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES))
        .max_write_buffer_size(MAX_UNSENT_BYTES);
    let connector = Connector::Rustls(Arc::clone(rest.tls()));
    match client_async_tls_with_config(request, tcp, Some(limits), Some(connector)).await {
        Ok((socket, _)) => Ok(EventStream {
            socket,
            app: server.app().to_owned(),
        }),
        Err(tungstenite::Error::Http(response))
            if response.status() == StatusCode::UNAUTHORIZED =>
        {
            Err(rest.unauthorized().into())
        }
        Err(tungstenite::Error::Http(response)) => Err(rest::Error::Status {
            path: "/ari/events".to_owned(),
            status: response.status(),
        }
        .into()),
        Err(source) => Err(handshake(source)),
    }
}

impl EventStream {
    /// Reads until the stream ends, leaving facts in `queue` after `sight` has seen them.
    pub async fn read(
        mut self,
        queue: FactQueue,
        sight: impl Fn(&CallFact) + Send,
        ping_interval: Duration,
        stop: CancellationToken,
    ) -> Closed {
        let mut ping = interval_at(Instant::now() + ping_interval, ping_interval);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_heard = Instant::now();
        let mut malformed_before = false;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    let _ = timeout(SEND_TIMEOUT, self.socket.close(None)).await;
                    return Closed::Stopped;
                }
                _ = ping.tick() => {
                    // Whatever is heard is a sign of life, not only the pong.
                    if last_heard.elapsed() > ping_interval * MISSED_PONGS {
                        return Closed::Silent;
                    }
                    let sent = self.socket.send(Message::Ping(tungstenite::Bytes::new()));
                    match timeout(SEND_TIMEOUT, sent).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return closed_by(error),
                        Err(_) => return Closed::Silent,
                    }
                }
                message = self.socket.next() => {
                    last_heard = Instant::now();
                    let text = match message {
                        Some(Ok(Message::Text(text))) => text,
                        Some(Ok(Message::Close(_))) | None => return Closed::Cleanly,
                        Some(Ok(_)) => continue,
                        Some(Err(error)) => return closed_by(error),
                    };
                    match self.decode(&text, &mut malformed_before) {
                        Event::Fact(fact) => {
                            sight(&fact);
                            if !matches!(fact, CallFact::Dialled { .. }
                                    | CallFact::Made(_)
                                    | CallFact::HangupRequested { .. }) {
                                queue.offer(fact);
                            }
                        }
                        Event::Replaced => return Closed::Replaced,
                        Event::Irrelevant => {}
                    }
                }
            }
        }
    }

    /// A message that cannot be read is no reason to stop: if it was a fact, the sweep finds it.
    fn decode(&self, text: &str, malformed_before: &mut bool) -> Event {
        let (kind, event) = event::decode(text, &self.app);
        crate::runtime::metrics::ari_event(kind.as_str());
        event.unwrap_or_else(|error| {
            debug_assert_eq!(kind, Kind::Malformed);
            if !std::mem::replace(malformed_before, true) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Asterisk sent an event that cannot be read; more of them are only counted"
                );
            }
            Event::Irrelevant
        })
    }
}

fn closed_by(error: tungstenite::Error) -> Closed {
    match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => Closed::Cleanly,
        error => Closed::Broken(Box::new(error)),
    }
}
