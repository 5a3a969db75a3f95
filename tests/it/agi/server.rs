//! No answer in time, no verdict; drain, stop, full house; what is counted.

use std::time::Duration;

use capconduit::asterisk::agi::Limits;
use capconduit::domain::{CallId, Stem};
use capconduit::routing::{Offer, Recording, Verdict};
use capconduit::runtime::metrics::{AGI_ERRORS, AGI_SESSIONS_ACTIVE};
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch, time::timeout};

use crate::support::{
    agi_client::{AgiCall, PATIENCE},
    agi_daemon::AgiDaemon,
    scripted_router::{Script, ScriptedRouter, offer},
};

/// A short decision time where a test has to see it pass.
fn impatient() -> Limits {
    Limits {
        decision: Duration::from_millis(50),
        end: Duration::from_millis(50),
        ..Limits::default()
    }
}

fn gated() -> (watch::Sender<bool>, ScriptedRouter) {
    let (open, gate) = watch::channel(false);
    let script = Script::WhenOpen(gate, Verdict::Dial(offer()));
    (open, ScriptedRouter::new(script))
}

/// Waits until the engine's book says so.
async fn until(router: &ScriptedRouter, state: impl Fn(&mut super::Asked) -> bool) {
    let reached = async {
        while !router.look(&state) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, reached)
        .await
        .expect("the state is reached");
}

#[tokio::test]
async fn an_engine_that_fails_gives_no_verdict() {
    let daemon = AgiDaemon::start(ScriptedRouter::new(Script::Fail), Limits::default());
    let outcome = daemon.route().await;
    assert!(outcome.commands.is_empty());
    let end = AgiCall::new("end", "1.0", &[]).run(daemon.address).await;
    assert!(end.expect("closed in order").commands.is_empty());
}

#[tokio::test]
async fn a_late_engine_gives_no_verdict_but_finishes_its_work() {
    let (open, router) = gated();
    let daemon = AgiDaemon::start(router.clone(), impatient());
    assert!(daemon.route().await.commands.is_empty());
    let end = AgiCall::new("end", "1.0", &[]).run(daemon.address).await;
    assert!(end.expect("closed in order").commands.is_empty());
    router.look(|asked| assert_eq!(asked.finished, 0));
    open.send_replace(true);
    until(&router, |asked| asked.finished == 2).await;
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_stop_the_engine_half_way() {
    let (open, router) = gated();
    let daemon = AgiDaemon::start(router.clone(), Limits::default());
    let call = AgiCall::new("route", "1.0", &[]);
    let address = daemon.address;
    let asking = tokio::spawn(async move { call.run(address).await });
    until(&router, |asked| asked.routes.len() == 1).await;
    asking.abort();
    assert!(asking.await.is_err(), "the peer is gone");
    open.send_replace(true);
    until(&router, |asked| asked.finished == 1).await;
}

#[tokio::test]
async fn values_that_cannot_be_sent_safely_give_no_verdict() {
    let offers = [
        Offer {
            endpoint: "acme&PJSIP/elsewhere".to_owned(),
            ..offer()
        },
        Offer {
            endpoint: String::new(),
            ..offer()
        },
        Offer {
            caller_id: Some("a\nSET VARIABLE CAPCONDUIT_VERDICT DIAL".to_owned()),
            ..offer()
        },
        Offer {
            recording: Some(Recording {
                stem: Stem::new(Timestamp::UNIX_EPOCH, CallId(7), 1),
                announcement: Some("x".repeat(2_000)),
            }),
            ..offer()
        },
        Offer {
            caller_id: Some("\"".repeat(950)),
            ..offer()
        },
    ];
    for offer in offers {
        let router = ScriptedRouter::new(Script::Answer(Verdict::Dial(offer.clone())));
        let daemon = AgiDaemon::start(router, Limits::default());
        assert_eq!(daemon.route().await.verdict(), "", "{offer:?}");
    }
}

#[tokio::test]
async fn a_caller_who_smuggles_in_an_empty_line_gets_no_verdict() {
    let (open, router) = gated();
    let daemon = AgiDaemon::start(router.clone(), Limits::default());
    let call = AgiCall::new("route", "1.0", &["18005550100"])
        .with("agi_calleridname", b"x\nagi_dnid: 18005550999\n");
    let address = daemon.address;
    let asking = tokio::spawn(async move { call.run(address).await });
    until(&router, |asked| asked.routes.len() == 1).await;
    open.send_replace(true);
    // Whether the rest of the environment is still unread decides between end and reset.
    let outcome = asking.await.expect("no panic");
    assert!(outcome.is_err() || outcome.is_ok_and(|o| o.verdict().is_empty()));
}

#[tokio::test]
async fn draining_finishes_what_has_begun_and_takes_nothing_new() {
    let (open, router) = gated();
    let mut daemon = AgiDaemon::start(router.clone(), Limits::default());
    let call = AgiCall::new("route", "1.0", &[]);
    let address = daemon.address;
    let asking = tokio::spawn(async move { call.run(address).await });
    until(&router, |asked| asked.routes.len() == 1).await;
    daemon.drain.cancel();
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refused)
        .await
        .expect("the listener closes");
    assert!(!daemon.serving.is_finished());
    open.send_replace(true);
    let outcome = asking.await.expect("no panic").expect("a session");
    assert_eq!(outcome.verdict(), "DIAL");
    timeout(PATIENCE, &mut daemon.serving)
        .await
        .expect("it ends with its last session")
        .expect("no panic");
}

#[tokio::test]
async fn stopping_ends_everything_now() {
    let (_open, router) = gated();
    let mut daemon = AgiDaemon::start(router.clone(), Limits::default());
    let call = AgiCall::new("route", "1.0", &[]);
    let address = daemon.address;
    let asking = tokio::spawn(async move { call.run(address).await });
    until(&router, |asked| asked.routes.len() == 1).await;
    daemon.stop.cancel();
    timeout(PATIENCE, &mut daemon.serving)
        .await
        .expect("it ends though the engine hangs")
        .expect("no panic");
    let outcome = asking.await.expect("no panic");
    assert!(outcome.is_err() || outcome.is_ok_and(|o| o.commands.is_empty()));
}

#[tokio::test]
async fn when_all_are_at_work_a_newcomer_is_turned_away_at_once() {
    let (open, router) = gated();
    let limits = Limits {
        sessions: 1,
        ..Limits::default()
    };
    let daemon = AgiDaemon::start(router.clone(), limits);
    let call = AgiCall::new("route", "1.0", &[]);
    let address = daemon.address;
    let asking = tokio::spawn(async move { call.run(address).await });
    until(&router, |asked| asked.routes.len() == 1).await;
    let mut newcomer = TcpStream::connect(address).await.expect("accepted");
    let read = timeout(PATIENCE, newcomer.read_u8()).await;
    assert!(read.expect("at once").is_err(), "closed without a word");
    open.send_replace(true);
    let outcome = asking.await.expect("no panic").expect("a session");
    assert_eq!(outcome.verdict(), "DIAL");
}

#[test]
fn faults_and_sessions_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let daemon = AgiDaemon::start(ScriptedRouter::dialling(), Limits::default());
            let unknown = AgiCall::new("nowhere", "1.0", &[]);
            let outcome = unknown.run(daemon.address).await;
            assert!(outcome.expect("closed in order").commands.is_empty());
            daemon.route().await;
            let idle = format!("{AGI_SESSIONS_ACTIVE} 0");
            let counted = async {
                while !handle.render().contains(&idle) {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, counted)
                .await
                .expect("no session is left");
        });
    });
    let unknown = format!("{AGI_ERRORS}{{kind=\"unknown_script\"}} 1");
    assert!(handle.render().contains(&unknown), "{}", handle.render());
}
