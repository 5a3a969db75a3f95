//! FastAGI, where calls are decided: Asterisk asks by path, waits, and gets its answer in one exchange.
//!
//! [`wire`] is bytes only, [`session`] one connection with its deadlines, [`server`] all of them;
//! `scripts` holds what the dialplan calls by name. A script parses once, asks the [`Router`] once and
//! answers once. Nothing here knows SQL or ARI, and nothing decides: without an answer in time the
//! connection is closed without a verdict and the dialplan goes its own way.

use std::time::Duration;

use crate::routing::{self, EndReport, RouteRequest, Verdict};

mod fault;
pub mod probe;
mod scripts;
pub mod server;
pub mod session;
mod slots;
pub mod vars;
pub mod wire;

pub use server::{bind, serve};

/// The questions that scripts put to the engine.
pub trait Router: Clone + Send + Sync + 'static {
    /// Why there is no answer.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Answers where a call goes.
    fn route(
        &self,
        request: RouteRequest,
    ) -> impl Future<Output = Result<Verdict, Self::Error>> + Send;

    /// Settles and closes a call.
    fn end(&self, report: EndReport) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl Router for routing::Engine {
    type Error = routing::Error;

    async fn route(&self, request: RouteRequest) -> Result<Verdict, Self::Error> {
        Self::route(self, request).await
    }

    async fn end(&self, report: EndReport) -> Result<(), Self::Error> {
        Self::end(self, report).await
    }
}

/// How long and how much a peer may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From accept to the environment's empty line.
    pub environment: Duration,
    /// For the engine to decide; with the exchange it stays below the dialplan's patience.
    pub decision: Duration,
    /// For the engine to take an `end` report.
    pub end: Duration,
    /// For each command's reply.
    pub reply: Duration,
    /// From accept to close, whatever happens.
    pub session: Duration,
    /// Sessions at once.
    pub sessions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            environment: Duration::from_secs(2),
            decision: Duration::from_millis(1_200),
            end: Duration::from_millis(1_500),
            reply: Duration::from_secs(2),
            session: Duration::from_secs(5),
            sessions: 2_000,
        }
    }
}
