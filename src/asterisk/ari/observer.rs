//! Who is told what ARI saw: the engine, or a recorder in tests.

use std::future::Future;
use std::time::Instant;

use crate::domain::{CallFact, LiveView, ServerIdentity, ServerName};
use crate::routing;

/// What a watcher needs of the engine. Every verb may be repeated with the same facts.
pub trait CallObserver: Send + Sync + 'static {
    /// Open calls as they stood before a list of channels was taken.
    type Open: Send;
    /// A verb that failed; it may be tried again.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Settles what was seen on `server`, when it was heard.
    fn observe(
        &self,
        server: &ServerName,
        fact: CallFact,
        heard: Instant,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Takes note of what was seen on `server`, before it is queued to be settled. Called by the reader of
    /// the event stream: must not block.
    fn sight(&self, server: &ServerName, fact: &CallFact);

    /// Nothing is seen of `server` any more until the next comparison.
    fn lose_sight(&self, server: &ServerName);

    /// The open calls of `server`, taken **before** the list of its channels.
    fn open_calls(
        &self,
        server: &ServerName,
    ) -> impl Future<Output = Result<Self::Open, Self::Error>> + Send;

    /// Settles the open calls whose channels are not in `live`, adopts those that are. Returns what somebody should
    /// mend, in words.
    fn reconcile(
        &self,
        server: &ServerName,
        identity: &ServerIdentity,
        open: Self::Open,
        live: &LiveView,
    ) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;

    /// The server is not watched any more.
    fn leave(&self, server: &ServerName) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl CallObserver for routing::Engine {
    type Open = routing::OpenCalls;
    type Error = routing::Error;

    async fn observe(
        &self,
        server: &ServerName,
        fact: CallFact,
        heard: Instant,
    ) -> Result<(), Self::Error> {
        routing::Engine::observe(self, server, fact, heard).await
    }

    fn sight(&self, server: &ServerName, fact: &CallFact) {
        routing::Engine::sight(self, server, fact);
    }

    fn lose_sight(&self, server: &ServerName) {
        routing::Engine::lose_sight(self, server);
    }

    async fn open_calls(&self, server: &ServerName) -> Result<Self::Open, Self::Error> {
        routing::Engine::open_calls(self, server).await
    }

    async fn reconcile(
        &self,
        server: &ServerName,
        identity: &ServerIdentity,
        open: Self::Open,
        live: &LiveView,
    ) -> Result<Vec<String>, Self::Error> {
        // What was repaired is counted and logged where it is repaired.
        let repairs = routing::Engine::reconcile(self, server, identity, open, live).await?;
        Ok(repairs.warnings.iter().map(ToString::to_string).collect())
    }

    async fn leave(&self, server: &ServerName) -> Result<(), Self::Error> {
        routing::Engine::leave(self, server).await
    }
}
