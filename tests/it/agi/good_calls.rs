//! What a well-behaved Asterisk gets.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};

use capconduit::asterisk::agi::Limits;
use capconduit::domain::{DialStatus, HangupCause, LinkedId, ReservationId, Stem};
use capconduit::routing::{Dialled, EndReport, Offer, Recording, Verdict};

use crate::support::{
    agi_client::AgiCall,
    agi_daemon::AgiDaemon,
    eventually,
    scripted_router::{Script, ScriptedRouter, offer, refusal},
};

fn dial(offer: Offer) -> ScriptedRouter {
    ScriptedRouter::new(Script::Answer(Verdict::Dial(offer)))
}

#[tokio::test]
async fn an_offer_arrives_in_one_exchange_verdict_last() {
    let router = dial(Offer {
        caller_id: Some("+18005550199".to_owned()),
        recording: Some(Recording {
            stem: Stem::parse("20261121T081500Z-7-1").unwrap(),
            announcement: Some("consent".to_owned()),
        }),
        ..offer()
    });
    let daemon = AgiDaemon::start(router.clone(), Limits::default());
    let outcome = daemon.route().await;

    assert_eq!(outcome.commands.len(), 1, "{:?}", outcome.commands);
    assert_eq!(outcome.verdict(), "DIAL");
    assert_eq!(outcome.get("CAPCONDUIT_ENDPOINT"), "acme-west");
    assert_eq!(outcome.get("CAPCONDUIT_TIMEOUT"), "25");
    assert_eq!(outcome.get("CAPCONDUIT_CALL"), "7");
    assert_eq!(outcome.get("CAPCONDUIT_ATTEMPT"), "1");
    assert_eq!(outcome.get("CAPCONDUIT_RESERVATION"), "42");
    assert_eq!(outcome.get("CAPCONDUIT_CALLERID"), "+18005550199");
    assert_eq!(outcome.get("CAPCONDUIT_RECORDING"), "20261121T081500Z-7-1");
    assert_eq!(outcome.get("CAPCONDUIT_ANNOUNCEMENT"), "consent");
    assert_eq!(outcome.variables["CAPCONDUIT_REASON"], "");
    assert_eq!(outcome.variables["CAPCONDUIT_CAUSE"], "");
    assert_eq!(
        outcome.order.last().map(String::as_str),
        Some("CAPCONDUIT_VERDICT")
    );

    router.look(|asked| {
        let [request] = &asked.routes[..] else {
            panic!("asked once");
        };
        let arrival = &request.arrival;
        assert_eq!(arrival.uniqueid.as_str(), "1795206437.0");
        let linkedid = arrival.linkedid.as_ref().map(LinkedId::as_str);
        assert_eq!(linkedid, Some("1795206437.0"));
        assert_eq!(arrival.channel, "PJSIP/trunk-00000000");
        assert_eq!(arrival.did.as_str(), "18005550100");
        assert_eq!(arrival.caller.number.as_deref(), Some("4930555001"));
        assert_eq!(arrival.caller.name.as_deref(), Some("Caller: \"One\""));
        assert_eq!(arrival.peer, Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(request.previous, None);
    });
}

#[tokio::test]
async fn free_text_arrives_as_it_is_and_before_the_verdict() {
    let caller_id = r#""Müller, \ & Co" <+4930> ${EXTEN}"#;
    let router = dial(Offer {
        caller_id: Some(caller_id.to_owned()),
        ..offer()
    });
    let daemon = AgiDaemon::start(router, Limits::default());
    let outcome = daemon.route().await;
    assert_eq!(outcome.commands.len(), 2);
    assert_eq!(outcome.get("CAPCONDUIT_CALLERID"), caller_id);
    assert_eq!(outcome.get("CAPCONDUIT_ENDPOINT"), "acme-west");
    assert_eq!(outcome.order.len(), 11, "each variable once");
    assert_eq!(
        outcome.order.last().map(String::as_str),
        Some("CAPCONDUIT_VERDICT")
    );
}

#[tokio::test]
async fn a_refusal_leaves_nothing_of_an_offer() {
    let router = ScriptedRouter::new(Script::Answer(Verdict::Reject(refusal())));
    let daemon = AgiDaemon::start(router, Limits::default());
    let outcome = daemon.route().await;
    assert_eq!(outcome.commands.len(), 1);
    assert_eq!(outcome.verdict(), "REJECT");
    assert_eq!(
        outcome.get("CAPCONDUIT_REASON"),
        "no_eligible_clients_available"
    );
    assert_eq!(outcome.get("CAPCONDUIT_CAUSE"), "17");
    assert_eq!(outcome.get("CAPCONDUIT_CALL"), "7");
    for name in [
        "ENDPOINT",
        "TIMEOUT",
        "ATTEMPT",
        "RESERVATION",
        "CALLERID",
        "RECORDING",
        "ANNOUNCEMENT",
    ] {
        assert_eq!(
            outcome.variables[&format!("CAPCONDUIT_{name}")],
            "",
            "{name}"
        );
    }
    assert_eq!(
        outcome.order.last().map(String::as_str),
        Some("CAPCONDUIT_VERDICT")
    );
}

#[tokio::test]
async fn a_second_question_tells_of_the_first_target() {
    let router = ScriptedRouter::dialling();
    let daemon = AgiDaemon::start(router.clone(), Limits::default());
    let call = AgiCall::new("route?x=1", "1.0", &["+18005550107", "", "BUSY", "17"]);
    let outcome = call.run(daemon.address).await.expect("a session");
    assert_eq!(outcome.verdict(), "DIAL");
    router.look(|asked| {
        let request = &asked.routes[0];
        let previous = request.previous.expect("an attempt");
        assert_eq!(previous.status, DialStatus::Busy);
        assert_eq!(previous.cause, Some(HangupCause::USER_BUSY));
        assert_eq!(request.arrival.did.as_str(), "+18005550107");
        assert_eq!(request.arrival.linkedid, None);
    });
}

#[tokio::test]
async fn a_report_is_acknowledged_by_closing() {
    let router = ScriptedRouter::dialling();
    let daemon = AgiDaemon::start(router.clone(), Limits::default());
    let call = AgiCall::new("end", "1.0", &["ANSWER", "16", "61", "70", "42"]);
    let outcome = call.run(daemon.address).await.expect("a session");
    assert!(
        outcome.commands.is_empty(),
        "a dead channel is not talked to"
    );
    router.look(|asked| {
        assert_eq!(asked.finished, 1, "closed only when the engine has it");
        let report = &asked.ends[0];
        assert_eq!(report.arrival.uniqueid.as_str(), "1.0");
        assert_eq!(report.status, Some(DialStatus::Answer));
        assert_eq!(report.answered_seconds, Some(61));
        assert_eq!(report.dialled, Dialled::Reservation(ReservationId(42)));
    });
}

#[tokio::test]
async fn a_report_is_confirmed_where_the_dialplan_asks_for_it() {
    let router = ScriptedRouter::dialling();
    let daemon = AgiDaemon::start(router.clone(), Limits::default());
    let asked = [
        "ANSWER", "16", "61", "70", "42", "pbx1", "2.0", "x", "confirm",
    ];
    let outcome = AgiCall::new("end", "1.0", &asked).run(daemon.address).await;
    assert_eq!(outcome.expect("a session").verdict(), "HEARD");
    router.look(|asked| assert_eq!(asked.ends[0].arrival.uniqueid.as_str(), "2.0"));
}

#[tokio::test]
async fn a_report_whose_sender_has_left_is_of_unknown_age() {
    let router = ScriptedRouter::dialling();
    let daemon = AgiDaemon::start(router.clone(), Limits::default());
    let confirmed = [
        "ANSWER", "16", "61", "70", "42", "pbx1", "2.0", "x", "confirm",
    ];
    // Before the daemon, which runs on this thread, looks: as after a standstill.
    for arguments in [&confirmed[..], &confirmed[..5]] {
        let call = AgiCall::new("end", "1.0", arguments);
        let mut stream = TcpStream::connect(daemon.address).expect("listens");
        stream
            .write_all(&call.environment_bytes())
            .expect("room in the socket");
    }
    let heard = || router.look(|asked| asked.finished);
    eventually("both are heard", async || heard() == 2).await;
    // Whoever wants no confirmation does not wait for one.
    let overdue = |confirms: bool| {
        router.look(|asked| {
            let of = |report: &&EndReport| (report.arrival.uniqueid.as_str() == "2.0") == confirms;
            asked.ends.iter().find(of).expect("heard").overdue
        })
    };
    assert!(overdue(true));
    assert!(!overdue(false));
}

#[tokio::test]
async fn a_ping_is_answered() {
    let daemon = AgiDaemon::start(ScriptedRouter::dialling(), Limits::default());
    let outcome = daemon.ping().await.expect("a session");
    assert_eq!(outcome.verdict(), "PONG");
    assert_eq!(outcome.commands.len(), 1);
}

#[tokio::test]
async fn three_lines_are_environment_enough() {
    let daemon = AgiDaemon::start(ScriptedRouter::dialling(), Limits::default());
    let mut call = AgiCall::new("route", "1.0", &[]);
    let needed = ["agi_network_script", "agi_uniqueid", "agi_dnid"];
    call.environment
        .retain(|(name, _)| needed.contains(&&**name));
    let outcome = call.run(daemon.address).await.expect("a session");
    assert_eq!(outcome.verdict(), "DIAL");
}

#[tokio::test]
async fn text_that_is_not_utf8_is_read_as_far_as_it_can_be() {
    let router = ScriptedRouter::dialling();
    let daemon = AgiDaemon::start(router.clone(), Limits::default());
    let call = AgiCall::new("route", "1.0", &[])
        .with("agi_calleridname", b"M\xfcller\x00 \x1b[31m")
        .with("agi_dnid", b"1800\xff5550100");
    let outcome = call.run(daemon.address).await.expect("a session");
    assert_eq!(outcome.verdict(), "DIAL");
    router.look(|asked| {
        let arrival = &asked.routes[0].arrival;
        assert_eq!(arrival.caller.name.as_deref(), Some("M\u{fffd}ller [31m"));
        assert_eq!(arrival.did.as_str(), "18005550100");
    });
}

#[tokio::test]
async fn a_hangup_before_the_reply_is_not_the_reply() {
    let daemon = AgiDaemon::start(
        dial(Offer {
            caller_id: Some("A B".to_owned()),
            ..offer()
        }),
        Limits::default(),
    );
    let mut call = AgiCall::new("route", "1.0", &[]);
    call.before_reply = b"HANGUP\n".to_vec();
    let outcome = call.run(daemon.address).await.expect("a session");
    assert_eq!(
        outcome.commands.len(),
        2,
        "Asterisk still executes in dead mode"
    );
    assert_eq!(outcome.verdict(), "DIAL");
}

#[tokio::test]
async fn without_mset_variables_are_set_one_by_one() {
    for reply in [&b"200 result=-2\n"[..], b"510 Invalid or unknown command\n"] {
        let daemon = AgiDaemon::start(ScriptedRouter::dialling(), Limits::default());
        let mut call = AgiCall::new("route", "1.0", &[]);
        call.replies = vec![reply.to_vec()];
        let outcome = call.run(daemon.address).await.expect("a session");
        assert_eq!(outcome.commands.len(), 12);
        assert_eq!(outcome.get("CAPCONDUIT_ENDPOINT"), "acme-west");
        assert_eq!(outcome.verdict(), "DIAL");
        assert_eq!(
            outcome.order.last().map(String::as_str),
            Some("CAPCONDUIT_VERDICT")
        );
    }
}
