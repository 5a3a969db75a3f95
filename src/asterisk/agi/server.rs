//! All FastAGI connections: accepting them, bounding them, ending them.
//!
//! Invariants: no peer, silent, slow or hostile, delays another's decision or outlives
//! [`Limits::session`]; accepting never stops for good. `drain` takes nothing new and lets sessions
//! finish, `stop` ends them now.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::{FutureExt, join_all};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::fault::{Fault, Faults};
use super::session::{self, Session};
use super::slots::{Admission, Slot, Slots};
use super::{Limits, Router, scripts};
use crate::runtime::metrics::{AGI_SESSIONS_ACTIVE, agi_sessions_limit};

/// Connections the kernel holds ready: a full backlog costs each caller two seconds.
const BACKLOG: i32 = 4096;
/// First and longest pause when accepting fails for want of something.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// Listens on `address`.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves `listeners`, our own or inherited ones, until `drain` or `stop` and all sessions have ended.
pub async fn serve<R: Router>(
    listeners: Vec<TcpListener>,
    router: R,
    limits: Limits,
    drain: CancellationToken,
    stop: CancellationToken,
) {
    agi_sessions_limit(limits.sessions);
    let server = Server {
        slots: Slots::new(limits.sessions, metrics::gauge!(AGI_SESSIONS_ACTIVE)),
        faults: Arc::new(Faults::default()),
        limits: Arc::new(limits),
        tasks: TaskTracker::new(),
        router,
        stop,
    };
    let over = async {
        tokio::select! {
            () = drain.cancelled() => {}
            () = server.stop.cancelled() => {}
        }
    }
    .shared();
    let accepting = listeners
        .into_iter()
        .map(|l| server.accept(l, over.clone()));
    join_all(accepting).await;
    server.tasks.close();
    server.tasks.wait().await;
}

struct Server<R> {
    router: R,
    limits: Arc<Limits>,
    slots: Slots<Arc<TcpStream>>,
    faults: Arc<Faults>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<R: Router> Server<R> {
    async fn accept(&self, listener: TcpListener, over: impl Future<Output = ()>) {
        // Accepted sockets inherit it.
        let _ = SockRef::from(&listener).set_tcp_nodelay(true);
        let mut over = std::pin::pin!(over);
        let mut pause = PAUSES[0];
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut over => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = PAUSES[0];
                    self.admit(stream, peer);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    // Most likely out of descriptors: someone silent may hold one.
                    if let Some(oldest) = self.slots.displace() {
                        session::close(&oldest);
                    }
                    self.faults.report(&Fault::Accept(error), None);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = &mut over => break,
                    }
                    pause = (2 * pause).min(PAUSES[1]);
                }
            }
        }
        // Closing the listener would reset those who wait in its backlog.
        while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
            self.admit(stream, peer);
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let stream = Arc::new(stream);
        let slot = match self.slots.admit(Arc::clone(&stream)) {
            Admission::Admitted(slot) => slot,
            Admission::InPlaceOf(oldest, slot) => {
                session::close(&oldest);
                slot
            }
            Admission::Full => return self.faults.report(&Fault::Full, Some(peer)),
        };
        let session = Session::new(stream, peer, Arc::clone(&self.limits));
        let work = run(session, slot, self.router.clone(), Arc::clone(&self.faults));
        let stop = self.stop.clone();
        self.tasks.spawn(stop.run_until_cancelled_owned(work));
    }
}

/// One session from accept to close.
async fn run<R: Router>(
    mut session: Session,
    mut slot: Slot<Arc<TcpStream>>,
    router: R,
    faults: Arc<Faults>,
) {
    let read = session.read_environment().await;
    let outcome = if !slot.begin_work() {
        Err(Fault::Evicted)
    } else if let Err(fault) = read {
        Err(fault)
    } else {
        // Boxed, so that the thousands who never come this far stay small.
        Box::pin(scripts::run(&mut session, &router, &faults)).await
    };
    if let Err(fault) = outcome {
        faults.report(&fault, Some(session.peer()));
    }
}

/// Errors of `accept` that say nothing of the next call.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Nobody;

    impl Router for Nobody {
        type Error = crate::routing::Error;

        async fn route(
            &self,
            _request: crate::routing::RouteRequest,
        ) -> Result<crate::routing::Verdict, Self::Error> {
            std::future::pending().await
        }

        async fn end(&self, _report: crate::routing::EndReport) -> Result<(), Self::Error> {
            std::future::pending().await
        }
    }

    /// With the first buffer, of 1 KiB, that is what a silent or slow peer costs us beside the kernel's
    /// own buffers; the most it can grow to is bounded by the environment's limit.
    #[tokio::test]
    async fn a_waiting_session_is_small() {
        let listener = bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let address = listener.local_addr().expect("bound");
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_peer, (stream, peer)) = (stream.expect("connected"), accepted.expect("accepted"));
        let slots = Slots::new(1, metrics::Gauge::noop());
        let stream = Arc::new(stream);
        let Admission::Admitted(slot) = slots.admit(Arc::clone(&stream)) else {
            panic!("free");
        };
        let session = Session::new(stream, peer, Arc::new(Limits::default()));
        let task = run(session, slot, Nobody, Arc::new(Faults::default()));
        assert!(size_of_val(&task) <= 2048, "{} bytes", size_of_val(&task));
    }
}
