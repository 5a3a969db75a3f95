//! Opens listening sockets, apart from serving them: a port in use must be found before anything starts.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {hint}, or change `{key}`")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The key of the configuration it came from.
    pub key: &'static str,
    hint: &'static str,
    source: io::Error,
}

/// Listens on `address`, which is the value of the configuration's `key`.
pub async fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError {
            address,
            key,
            hint: match source.kind() {
                io::ErrorKind::AddrInUse => "end the other process that has this port",
                io::ErrorKind::AddrNotAvailable => "give this host that address",
                io::ErrorKind::PermissionDenied => "take a port above 1023",
                _ => "see the cause",
            },
            source,
        })
}
