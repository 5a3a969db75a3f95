//! The daemon's FastAGI side over an engine that knows the answer: what the protocol alone costs.

use std::{convert::Infallible, net::SocketAddr};

use capconduit::asterisk::agi::{Limits, Router, bind, serve};
use capconduit::domain::{CallId, ReservationId};
use capconduit::routing::{EndReport, Offer, RouteRequest, Verdict};
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct Instantly;

impl Router for Instantly {
    type Error = Infallible;

    async fn route(&self, _request: RouteRequest) -> Result<Verdict, Infallible> {
        Ok(Verdict::Dial(Offer {
            call_id: CallId(1_234_567),
            attempt: 1,
            reservation_id: ReservationId(7_654_321),
            endpoint: "acme-west".to_owned(),
            ring_timeout_seconds: 30,
            caller_id: None,
            recording: None,
        }))
    }

    async fn end(&self, _report: EndReport) -> Result<(), Infallible> {
        Ok(())
    }
}

pub async fn run(addr: SocketAddr) -> anyhow::Result<()> {
    let listener = bind(addr)?;
    println!("listening={}", listener.local_addr()?);
    let never = CancellationToken::new();
    let limits = Limits::default();
    serve(vec![listener], Instantly, limits, never.clone(), never).await;
    Ok(())
}
