//! The accept loop: connections in, requests to a router, nothing held for ever.
//!
//! Our own because `axum::serve` has no header timeout, no connection limit and no bounded drain: one
//! silent peer would keep a connection as long as it likes. Invariant: each connection ends within
//! [`Limits`], whatever the peer does, and the loop survives every accept error.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::tls::Tls;
use crate::domain::network::Network;
use crate::runtime::shares::{Share, Shares};

/// What a peer may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; the others wait in the kernel's queue.
    pub connections: usize,
    /// Of these: from one address, or of IPv6 from one /64. More are closed at once.
    pub from_one: usize,
    /// From here there may be as many as there are: reverse proxies, which bring everybody.
    pub exempt: Vec<Network>,
    /// Who may connect; empty: everybody. Others are closed at once.
    pub allowed: Vec<Network>,
    /// Time for the head of a request to arrive, and for which an idle connection is kept.
    pub header_timeout: Duration,
    /// Age at which a connection is asked to end: a peer that reads nothing may not hold it for ever.
    pub age: Duration,
    /// Time a connection has to end after it was asked to.
    pub drain: Duration,
}

impl Limits {
    /// For clients of the API.
    pub const API: Self = Self {
        connections: 1_000,
        from_one: 64,
        exempt: Vec::new(),
        allowed: Vec::new(),
        header_timeout: Duration::from_secs(5),
        // Streams and long exports live no longer; clients of streams come again by themselves.
        age: Duration::from_secs(3_600),
        drain: Duration::from_secs(5),
    };

    /// For scrapers and load balancers: few, quick and on an inner network.
    pub const OPS: Self = Self {
        connections: 64,
        from_one: 64,
        exempt: Vec::new(),
        allowed: Vec::new(),
        header_timeout: Duration::from_secs(5),
        age: Duration::from_secs(300),
        drain: Duration::from_secs(1),
    };
}

/// How long what was sent may go unread before the connection is given up.
const UNREAD_LIMIT: Duration = Duration::from_secs(30);

/// Largest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Among the extensions of a request: cancelled when its connection is asked to end. An answer that would
/// go on for ever ends then.
#[derive(Debug, Clone)]
pub struct Ending(pub CancellationToken);

/// Among the extensions of a request: cancel it, and its connection ends at once, whatever is still to be sent.
#[derive(Debug, Clone)]
pub struct Cut(pub CancellationToken);

/// What the kernel keeps of what was sent and not yet read: a slow peer is soon seen as one, and what it will not read
/// takes little memory.
const SEND_BUFFER: usize = 256 * 1024;

/// Wait after an accept error: out of file descriptors, it would come again at once.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `end`, then lets begun requests finish within the drain limit. The
/// peer's address is there for handlers as [`ConnectInfo`].
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, end: CancellationToken) {
    serve_with(listener, None, router, limits, end).await;
}

/// As [`serve()`], with TLS where there is some.
pub async fn serve_with(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    end: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let limits = Arc::new(limits);
    let peers: Shares<Network> = Shares::default();
    let mut connections = JoinSet::new();
    loop {
        // The slot first: a connection that was accepted must be served.
        let (slot, accepted) = tokio::select! {
            () = end.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
            Some(ended) = connections.join_next() => {
                note_panic(ended);
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(share) = share_of(peer.ip(), &limits, &peers) else {
                    crate::runtime::metrics::http_refused("connection");
                    tracing::debug!(%peer, "an HTTP connection too many of this address");
                    continue;
                };
                let router = router.clone();
                let (tls, end) = (tls.clone(), end.clone());
                let limits = Arc::clone(&limits);
                connections.spawn(async move {
                    greet(stream, tls, peer, router, &limits, end).await;
                    drop((slot, share));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        note_panic(ended);
    }
}

/// A connection's share among those of its address; `None`: there are too many, or none may be.
fn share_of(
    address: IpAddr,
    limits: &Limits,
    peers: &Shares<Network>,
) -> Option<Option<Share<Network>>> {
    let address = address.to_canonical();
    let is_in = |networks: &[Network]| networks.iter().any(|n| n.contains(address));
    if !limits.allowed.is_empty() && !is_in(&limits.allowed) {
        return None;
    }
    if is_in(&limits.exempt) {
        return Some(None);
    }
    let holder = match address {
        IpAddr::V4(_) => Network::from(address),
        IpAddr::V6(_) => Network::around(address),
    };
    peers.take(holder, limits.from_one).map(Some)
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (
    Option<OwnedSemaphorePermit>,
    std::io::Result<(TcpStream, SocketAddr)>,
) {
    // The semaphore is never closed, so there is always a permit.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    (slot, listener.accept().await)
}

/// Sees to what lies below HTTP.
async fn greet(
    stream: TcpStream,
    tls: Option<Tls>,
    peer: SocketAddr,
    router: Router,
    limits: &Limits,
    end: CancellationToken,
) {
    // Set for what it is worth: without it a peer that reads nothing is only found by the connection's age.
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_LIMIT));
    let _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return connection(stream, peer, router, limits, end).await;
    };
    match tls.accept(stream).await {
        Ok(stream) => connection(stream, peer, router, limits, end).await,
        // The peer's business: it does not speak TLS, does not trust us, or was too slow.
        Err(error) => tracing::debug!(%peer, %error, "no TLS with a peer"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    router: Router,
    limits: &Limits,
    end: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let ending = Ending(CancellationToken::new());
    let told = ending.clone();
    let cut = Cut(CancellationToken::new());
    let to_cut = cut.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(told.clone());
        request.extensions_mut().insert(to_cut.clone());
        router.call(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let asked_to_end = async {
        let _ = tokio::time::timeout(limits.age, end.cancelled()).await;
    };
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = cut.0.cancelled() => return,
        () = asked_to_end => {
            ending.0.cancel();
            connection.as_mut().graceful_shutdown();
            let Ok(result) = tokio::time::timeout(limits.drain, connection).await else {
                tracing::debug!(%peer, "dropping an HTTP connection that does not end");
                return;
            };
            result
        }
    };
    if let Err(error) = result {
        // The peer's business: it went away, was too slow or does not speak HTTP.
        tracing::debug!(%peer, error = %crate::runtime::telemetry::Chain(&error), "HTTP connection ended");
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of an HTTP connection died");
    }
}
