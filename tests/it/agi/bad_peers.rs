//! Peers that are silent, slow, rude or broken: each is closed in time, none disturbs a good call.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use capconduit::asterisk::agi::{Limits, wire};
use capconduit::routing::{Offer, Verdict};
use socket2::SockRef;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::support::{
    agi_client::{AgiCall, PATIENCE},
    agi_daemon::AgiDaemon,
    scripted_router::{Script, ScriptedRouter, offer},
};

/// The contract: nobody stays longer.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
enum Bad {
    Silence,
    HalfAnEnvironment,
    HalfAnEnvironmentThenEnd,
    HalfAnEnvironmentThenReset,
    ALineForEver,
    LinesForEver,
    Garbage,
    Http,
    Drip,
    UnknownPath,
    NoCall,
    NoReply,
    ResetAfterTheFirstCommand,
    HangupAndNoReply,
    Nonsense,
    NonsenseForEver,
    Refused(&'static str),
}

const ALL: [Bad; 20] = [
    Bad::Silence,
    Bad::HalfAnEnvironment,
    Bad::HalfAnEnvironmentThenEnd,
    Bad::HalfAnEnvironmentThenReset,
    Bad::ALineForEver,
    Bad::LinesForEver,
    Bad::Garbage,
    Bad::Http,
    Bad::Drip,
    Bad::UnknownPath,
    Bad::NoCall,
    Bad::NoReply,
    Bad::ResetAfterTheFirstCommand,
    Bad::HangupAndNoReply,
    Bad::Nonsense,
    Bad::NonsenseForEver,
    Bad::Refused("511 Command Not Permitted on a dead channel or intercept routine\n"),
    Bad::Refused(
        "520-Invalid command syntax.  Proper usage follows:\n Usage: HANGUP\nHANGUP\n520 End of proper usage.\n",
    ),
    Bad::Refused("200 result=-1\n"),
    Bad::Refused("200 nothing\n"),
];

impl Bad {
    /// Misbehaves, then reads on until the daemon closes; an error of either kind is a close, too.
    async fn behave(self, daemon: SocketAddr) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(daemon).await?;
        let good = AgiCall::new("route", "1.0", &[]);
        match self {
            Self::Silence => {}
            Self::HalfAnEnvironment => stream.write_all(half()).await?,
            Self::HalfAnEnvironmentThenEnd => {
                stream.write_all(half()).await?;
                stream.shutdown().await?;
            }
            Self::HalfAnEnvironmentThenReset => {
                stream.write_all(half()).await?;
                return reset(&stream);
            }
            Self::ALineForEver => {
                stream.write_all(b"agi_request: ").await?;
                megabytes(&mut stream, &[b'x'; 4096]).await?;
            }
            Self::LinesForEver => megabytes(&mut stream, b"agi_x: y\n").await?,
            Self::Garbage => stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0xfc, 3, 3]).await?,
            Self::Http => stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?,
            Self::Drip => {
                for byte in good.environment_bytes().iter().cycle() {
                    stream.write_all(&[*byte]).await?;
                    sleep(Duration::from_millis(100)).await;
                }
            }
            Self::UnknownPath => {
                let call = AgiCall::new("admin", "1.0", &[]);
                stream.write_all(&call.environment_bytes()).await?;
            }
            Self::NoCall => {
                let call = good.with("agi_uniqueid", b"");
                stream.write_all(&call.environment_bytes()).await?;
            }
            _ => {
                stream.write_all(&good.environment_bytes()).await?;
                let mut stream = BufReader::new(stream);
                stream.read_line(&mut String::new()).await?;
                let mut stream = stream.into_inner();
                match self {
                    Self::ResetAfterTheFirstCommand => return reset(&stream),
                    Self::HangupAndNoReply => stream.write_all(b"HANGUP\nHANGUP\n").await?,
                    Self::Nonsense => stream.write_all(b"\xff\xfe\n\n201\nresult\n").await?,
                    Self::NonsenseForEver => megabytes(&mut stream, b"nonsense\n").await?,
                    Self::Refused(reply) => stream.write_all(reply.as_bytes()).await?,
                    _ => {}
                }
                return read_to_end(stream).await;
            }
        }
        read_to_end(stream).await
    }
}

fn half() -> &'static [u8] {
    b"agi_network: yes\nagi_network_script: route\nagi_req"
}

fn reset(stream: &TcpStream) -> std::io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Writes 8 MiB or until the daemon has had enough.
async fn megabytes(stream: &mut TcpStream, piece: &[u8]) -> std::io::Result<()> {
    let block = piece.repeat(65_536 / piece.len());
    for _ in 0..128 {
        stream.write_all(&block).await?;
    }
    Ok(())
}

async fn read_to_end(mut stream: TcpStream) -> std::io::Result<()> {
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

/// A daemon whose answer to `route` takes two commands.
fn daemon(limits: Limits) -> AgiDaemon {
    let offer = Offer {
        caller_id: Some("A B".to_owned()),
        ..offer()
    };
    let router = ScriptedRouter::new(Script::Answer(Verdict::Dial(offer)));
    AgiDaemon::start(router, limits)
}

#[tokio::test]
async fn every_bad_peer_is_closed_in_time_while_good_calls_are_answered() {
    const OF_EACH: usize = 12;
    let daemon = daemon(Limits::default());
    let mut peers = JoinSet::new();
    let closed = std::sync::Arc::new(AtomicUsize::new(0));
    for bad in ALL.into_iter().cycle().take(OF_EACH * ALL.len()) {
        let (address, closed) = (daemon.address, closed.clone());
        peers.spawn(async move {
            let begun = Instant::now();
            let end = timeout(PATIENCE, bad.behave(address)).await;
            assert!(end.is_ok(), "{bad:?} was never closed");
            assert!(
                begun.elapsed() < CLOSED_WITHIN,
                "{bad:?}: {:?}",
                begun.elapsed()
            );
            closed.fetch_add(1, Ordering::Relaxed);
        });
    }
    let mut probes = 0;
    while closed.load(Ordering::Relaxed) < OF_EACH * ALL.len() {
        let begun = Instant::now();
        assert_eq!(daemon.ping().await.expect("answered").verdict(), "PONG");
        assert_eq!(daemon.route().await.verdict(), "DIAL");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        probes += 1;
        if let Some(peer) = peers.try_join_next() {
            peer.expect("closed in time");
        }
    }
    assert!(probes > 10, "{probes}");
    while let Some(peer) = peers.join_next().await {
        peer.expect("closed in time");
    }
}

#[tokio::test]
async fn five_times_more_silent_peers_than_slots_do_not_stop_a_good_call() {
    let limits = Limits {
        sessions: 80,
        // So long that only eviction can make room.
        environment: Duration::from_secs(600),
        session: Duration::from_secs(600),
        ..Limits::default()
    };
    let daemon = daemon(limits);
    let mut silent = Vec::new();
    for i in 0..400 {
        let mut stream = TcpStream::connect(daemon.address).await.expect("accepted");
        if i % 2 == 0 {
            stream.write_all(half()).await.expect("taken");
        }
        silent.push(stream);
        if i % 40 == 39 {
            assert_eq!(daemon.route().await.verdict(), "DIAL");
        }
    }
    let mut oldest = silent.swap_remove(0);
    let end = timeout(PATIENCE, oldest.read_u8()).await;
    assert!(end.expect("put out").is_err());
}

#[test]
fn a_bad_peer_can_hold_64_kib_at_most() {
    // The one buffer of a session cannot grow beyond an environment, its line beyond a command; the
    // rest of it is measured in `agi::server`.
    const { assert!(wire::MAX_ENVIRONMENT_BYTES + 2 * wire::MAX_COMMAND_BYTES <= 48 * 1024) };
}
