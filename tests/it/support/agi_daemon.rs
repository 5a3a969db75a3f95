//! The FastAGI server in this process, on a free port.

use std::net::SocketAddr;

use capconduit::asterisk::agi::{Limits, Router, bind, serve};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::agi_client::{AgiCall, AgiOutcome};

/// A running server; stopped when dropped.
pub struct AgiDaemon {
    /// Where it listens.
    pub address: SocketAddr,
    /// Nothing new.
    pub drain: CancellationToken,
    /// Now.
    pub stop: CancellationToken,
    /// Ends when the server has ended.
    pub serving: JoinHandle<()>,
}

impl AgiDaemon {
    /// Starts one.
    pub fn start(router: impl Router, limits: Limits) -> Self {
        let listener = bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let serving = serve(vec![listener], router, limits, drain.clone(), stop.clone());
        Self {
            address,
            drain,
            stop,
            serving: tokio::spawn(serving),
        }
    }

    /// A `ping` as Asterisk sends it.
    pub async fn ping(&self) -> std::io::Result<AgiOutcome> {
        AgiCall::new("ping", "1.0", &[]).run(self.address).await
    }

    /// A call's first question.
    pub async fn route(&self) -> AgiOutcome {
        let call = AgiCall::new("route", "1795206437.0", &["", "1795206437.0", "", ""]);
        call.run(self.address).await.expect("a session")
    }
}

impl Drop for AgiDaemon {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
