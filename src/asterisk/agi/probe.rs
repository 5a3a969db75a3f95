//! Asks a FastAGI port as the dialplan's `ping` does: the daemon's look at itself.
//!
//! That a connection can be made says nothing: the kernel, or systemd, makes it without the daemon.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::vars;

/// What Asterisk would send; the script needs no more.
const QUESTION: &[u8] = b"agi_network: yes\nagi_network_script: ping\nagi_uniqueid: self-check\n\n";

/// Why there was no pong.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// The port takes no connections, or cuts them off.
    #[error("the AGI port cannot be asked")]
    Connection(#[source] io::Error),
    /// Closed without a word: all sessions are taken.
    #[error("the AGI port closed the connection without an answer: all sessions are taken")]
    Closed,
    /// Something else answers there.
    #[error("the AGI port answered {0:?} to a ping")]
    Strange(String),
}

/// Waits for `PONG`, without a limit: the caller has one.
pub async fn ping(address: SocketAddr) -> Result<(), PingError> {
    let asked = async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.write_all(QUESTION).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if !line.is_empty() {
            // So that the session ends in good order; it may be gone already.
            let _ = stream.write_all(b"200 result=1\n").await;
        }
        Ok(line)
    };
    let line = asked.await.map_err(PingError::Connection)?;
    if line.is_empty() {
        return Err(PingError::Closed);
    }
    if line.contains(vars::VERDICT) && line.contains("PONG") {
        return Ok(());
    }
    Err(PingError::Strange(line.chars().take(80).collect()))
}
