use std::time::Duration;

use capconduit::asterisk::agi::Limits;
use capconduit::asterisk::agi::probe::{PingError, ping};

use crate::support::agi_daemon::AgiDaemon;
use crate::support::scripted_router::ScriptedRouter;

#[tokio::test]
async fn a_port_that_nobody_serves_does_not_answer_though_it_can_be_connected_to() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_ok());
    let waited = tokio::time::timeout(Duration::from_millis(300), ping(address)).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn a_served_port_answers_and_a_full_one_says_nothing() {
    let daemon = AgiDaemon::start(ScriptedRouter::dialling(), Limits::default());
    ping(daemon.address).await.unwrap();
    let full = AgiDaemon::start(
        ScriptedRouter::dialling(),
        Limits {
            sessions: 0,
            ..Limits::default()
        },
    );
    let answer = ping(full.address).await;
    assert!(
        matches!(answer, Err(PingError::Closed | PingError::Connection(_))),
        "{answer:?}"
    );
}
