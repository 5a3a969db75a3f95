//! After a failover of PostgreSQL nothing is claimed until calls were compared with Asterisk again.
//!
//! A new primary may lack what the old one had committed last: ends and answers that are lost, slots that look taken or
//! free and are not. The comparison mends what can be seen. Until each server has been compared, questions get no
//! verdict, and the dialplan goes its own way; a server that cannot be reached is not waited for without end.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use crate::db::Cluster;
use crate::domain::ServerName;

/// How long a server that cannot be compared keeps the gate shut. A connection that was lost is back before that, or
/// the server is down and has no calls.
const PATIENCE: Duration = Duration::from_secs(35);

pub(super) struct Gate {
    cluster: watch::Receiver<Option<Cluster>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: Option<Cluster>,
    /// Servers to compare, and when their present comparison was begun.
    to_compare: HashMap<ServerName, Option<Instant>>,
    shut_at: Option<Instant>,
}

impl Gate {
    pub(super) fn new(cluster: watch::Receiver<Option<Cluster>>) -> Self {
        Self {
            cluster,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether slots may be claimed on the cluster as it is now.
    pub(super) fn is_open<'a>(&self, servers: impl Iterator<Item = &'a ServerName>) -> bool {
        let mut state = self.lock();
        let now = *self.cluster.borrow();
        if now.is_some() && state.seen != now {
            let first = state.seen.is_none();
            state.seen = now;
            if !first {
                state.to_compare = servers.map(|server| (server.clone(), None)).collect();
                state.shut_at = Some(Instant::now());
                warn!(
                    "PostgreSQL has another primary: nothing is claimed until calls are compared with Asterisk"
                );
            }
        }
        match state.shut_at {
            None => true,
            Some(shut_at) if state.to_compare.is_empty() || shut_at.elapsed() >= PATIENCE => {
                info!(
                    not_compared = state.to_compare.len(),
                    "slots are claimed again"
                );
                state.shut_at = None;
                state.to_compare.clear();
                true
            }
            Some(_) => false,
        }
    }

    /// A comparison of a server begins.
    pub(super) fn begin(&self, server: &ServerName) {
        if let Some(began) = self.lock().to_compare.get_mut(server) {
            *began = Some(Instant::now());
        }
    }

    /// It is done. One that was begun before the gate was shut does not count.
    pub(super) fn done(&self, server: &ServerName) {
        let mut state = self.lock();
        let shut_at = state.shut_at;
        let began = state.to_compare.get(server).copied().flatten();
        if began >= shut_at {
            state.to_compare.remove(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_timeline_shuts_the_gate_until_every_server_was_compared() {
        let cluster = |timeline| {
            Some(Cluster {
                system: 1,
                timeline,
            })
        };
        let (tell, told) = watch::channel(None);
        let gate = Gate::new(told);
        let servers = ["pbx1", "pbx2"].map(|name| ServerName::parse(name).expect("a name"));
        let open = || gate.is_open(servers.iter());
        assert!(open());
        tell.send_replace(cluster(1));
        assert!(open(), "the first is no change");
        gate.begin(&servers[0]);
        tell.send_replace(cluster(2));
        assert!(!open());
        gate.done(&servers[0]);
        assert!(!open(), "that one was begun before");
        for server in &servers {
            assert!(!open());
            gate.begin(server);
            gate.done(server);
        }
        assert!(open());
        tell.send_replace(cluster(2));
        assert!(open());
    }
}
