//! What the dialplan calls by name. Each script parses once, asks the engine once, answers once.

use std::borrow::Cow;

use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, info_span};

use super::Router;
use super::fault::{Fault, Faults};
use super::session::Session;
use super::wire::Environment;
use crate::domain::{CallerId, DialledNumber, LinkedId, SystemName, UniqueId};
use crate::routing::Arrival;

mod end;
mod ping;
mod route;

/// Longest channel name kept, in characters.
const MAX_CHANNEL_CHARS: usize = 80;

/// A script of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Route,
    End,
    Ping,
}

impl Script {
    /// Finds the script by `agi_network_script`, whose query string means nothing to us.
    fn find(path: &[u8]) -> Option<Self> {
        match path.split(|&b| b == b'?').next()? {
            b"route" => Some(Self::Route),
            b"end" => Some(Self::End),
            b"ping" => Some(Self::Ping),
            _ => None,
        }
    }
}

/// Runs the script that the session's environment names.
pub async fn run<R: Router>(
    session: &mut Session,
    router: &R,
    faults: &Faults,
) -> Result<(), Fault> {
    let environment = session.environment()?;
    match Script::find(environment.script).ok_or(Fault::UnknownScript)? {
        Script::Route => {
            let patience = session.limits().decision;
            let request = route::request(&environment, session.peer(), patience)?;
            let uniqueid = request.arrival.uniqueid.as_str();
            let span = info_span!("agi", script = "route", call.uniqueid = uniqueid);
            let answering = route::run(session, router, request, faults);
            answering.instrument(span).await
        }
        Script::End => {
            let report = end::report(&environment, session.peer())?;
            let confirm = end::wants_confirmation(&environment);
            let uniqueid = report.arrival.uniqueid.as_str();
            let span = info_span!("agi", script = "end", call.uniqueid = uniqueid);
            let settling = end::run(session, router, report, confirm, faults);
            settling.instrument(span).await
        }
        Script::Ping => ping::run(session).await,
    }
}

/// Waits for the engine until `deadline`. Then the connection is closed, so that the dialplan goes its
/// own way at once, but the engine's work is run to its end and not torn in the middle of a
/// transaction: what it decides is settled by the call's `end`. `None`: it came too late.
async fn in_time<T, E>(
    session: &Session,
    deadline: Instant,
    faults: &Faults,
    work: impl Future<Output = Result<T, E>>,
) -> Result<Option<T>, Fault>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let mut work = std::pin::pin!(work);
    let failed = |error: E| Fault::Engine(Box::new(error));
    if let Ok(answer) = timeout_at(deadline, &mut work).await {
        return answer.map(Some).map_err(failed);
    }
    session.close();
    faults.report(&Fault::EngineTimeout, Some(session.peer()));
    work.await.map(|_| None).map_err(failed)
}

/// What the dialplan says of a call in the arguments of a script.
#[derive(Debug, Default)]
struct Said<'a> {
    did: Option<Cow<'a, str>>,
    linkedid: Option<Cow<'a, str>>,
    system_name: Option<Cow<'a, str>>,
}

/// The call, as the environment tells it and the dialplan says.
fn arrival(
    environment: &Environment<'_>,
    peer: std::net::SocketAddr,
    said: &Said<'_>,
) -> Result<Arrival, Fault> {
    let did = said.did.as_deref();
    let uniqueid = UniqueId::parse(&text(environment.uniqueid)).ok_or(Fault::NoUniqueId)?;
    let dialled = match (did, environment.dnid) {
        (Some(did), _) if !did.is_empty() => Cow::Borrowed(did),
        (_, b"" | b"unknown") => text(environment.extension),
        (_, dialled) => text(dialled),
    };
    Ok(Arrival {
        uniqueid,
        linkedid: said.linkedid.as_deref().and_then(LinkedId::parse),
        channel: channel_name(&text(environment.channel)),
        did: DialledNumber::from_untrusted(&dialled),
        caller: CallerId::from_untrusted(
            &text(environment.caller_number),
            &text(environment.caller_name),
        ),
        system_name: said.system_name.as_deref().and_then(SystemName::parse),
        peer: Some(peer.ip().to_canonical()),
    })
}

fn channel_name(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_CHANNEL_CHARS)
        .collect()
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_by_path_without_query() {
        assert_eq!(Script::find(b"route"), Some(Script::Route));
        assert_eq!(Script::find(b"route?x=1&y=2"), Some(Script::Route));
        assert_eq!(Script::find(b"end"), Some(Script::End));
        assert_eq!(Script::find(b"ping?"), Some(Script::Ping));
        for path in [&b""[..], b"?", b"routes", b"route/1", b"../route", b"ROUTE"] {
            assert_eq!(Script::find(path), None, "{path:?}");
        }
    }

    fn did(environment: &Environment<'_>, said: Option<&str>) -> String {
        let peer = "[::ffff:192.0.2.7]:9".parse().expect("an address");
        let said = Said {
            did: said.map(Cow::Borrowed),
            ..Said::default()
        };
        let arrival = arrival(environment, peer, &said).expect("a call");
        assert_eq!(arrival.peer, Some("192.0.2.7".parse().expect("an address")));
        arrival.did.as_str().to_owned()
    }

    #[test]
    fn the_did_is_what_the_dialplan_says_or_else_was_dialled() {
        let text = "agi_uniqueid: 1.0\nagi_dnid: 18005550100\nagi_extension: s\n\n";
        let environment = Environment::parse(text.as_bytes()).expect("valid");
        assert_eq!(did(&environment, Some("+1800")), "+1800");
        assert_eq!(did(&environment, Some("")), "18005550100");
        assert_eq!(did(&environment, None), "18005550100");
        for dnid in ["unknown", ""] {
            let text = text.replace("18005550100", dnid);
            let environment = Environment::parse(text.as_bytes()).expect("valid");
            assert_eq!(did(&environment, None), "s");
        }
    }

    #[test]
    fn a_call_without_a_usable_unique_id_is_refused() {
        let too_long = "1".repeat(51);
        for uniqueid in ["", "1 2", "ü", &too_long] {
            let text = format!("agi_uniqueid: {uniqueid}\n\n");
            let environment = Environment::parse(text.as_bytes()).expect("valid");
            let peer = "192.0.2.7:9".parse().expect("an address");
            let arrival = arrival(&environment, peer, &Said::default());
            assert!(matches!(arrival, Err(Fault::NoUniqueId)));
        }
    }
}
