//! `end,<DIALSTATUS>,<HANGUPCAUSE>,<ANSWEREDTIME>,<DIALEDTIME>,<dialled>,<server>,<uniqueid>,<channel>,<confirm>`:
//! the call is over.
//!
//! It may run in a hangup handler and hold the channel until it closes, so it closes as soon as the engine has
//! the report. `<dialled>` is optional: the reservation the dialplan last
//! dialled on, or `fallback`, or empty for nothing. `<server>` too: what the Asterisk calls itself; and `<uniqueid>`
//! and `<channel>`: whose call it is, when another channel than its own reports. Asked to with `<confirm>` = `confirm`,
//! it says as its last act that the report is kept: a connection that merely closes may be that of a daemon that died.

use std::net::SocketAddr;

use tokio::time::Instant;

use crate::asterisk::agi::fault::{Fault, Faults};
use crate::asterisk::agi::session::Session;
use crate::asterisk::agi::wire::Environment;
use crate::asterisk::agi::{Router, vars};
use crate::domain::{DialStatus, HangupCause, ReservationId, UniqueId};
use crate::routing::{Dialled, EndReport};

/// Whether the dialplan wants to hear that its report is kept.
pub(super) fn wants_confirmation(environment: &Environment<'_>) -> bool {
    environment.argument(9).as_deref() == Some("confirm")
}

pub(super) fn report(environment: &Environment<'_>, peer: SocketAddr) -> Result<EndReport, Fault> {
    let argument = |number| environment.argument(number).unwrap_or_default();
    let said = super::Said {
        system_name: environment.argument(6),
        ..super::Said::default()
    };
    let mut arrival = super::arrival(environment, peer, &said)?;
    let of = argument(7);
    if !of.is_empty() {
        arrival.uniqueid = UniqueId::parse(&of).ok_or(Fault::NoUniqueId)?;
        // The channel of the environment is the messenger's.
        arrival.channel = super::channel_name(&argument(8));
    }
    Ok(EndReport {
        arrival,
        status: DialStatus::parse(&argument(1)),
        cause: HangupCause::parse(&argument(2)),
        answered_seconds: argument(3).parse().ok(),
        dialed_seconds: argument(4).parse().ok(),
        dialled: dialled(environment.argument(5).as_deref()),
        overdue: false,
    })
}

fn dialled(argument: Option<&str>) -> Dialled {
    match argument {
        None => Dialled::Unsaid,
        Some("") => Dialled::Nothing,
        Some("fallback") => Dialled::Fallback,
        // What is no number of ours says nothing we could rely on.
        Some(id) => id.parse().map_or(Dialled::Unsaid, |id| {
            Dialled::Reservation(ReservationId(id))
        }),
    }
}

pub(super) async fn run<R: Router>(
    session: &mut Session,
    router: &R,
    mut report: EndReport,
    confirm: bool,
    faults: &Faults,
) -> Result<(), Fault> {
    // After a standstill of ours. Who wants no confirmation may leave as soon as it has said what there is to say.
    report.overdue = confirm && session.refuse_if_left().is_err();
    let deadline = Instant::now() + session.limits().end;
    let kept = super::in_time(session, deadline, faults, router.end(report)).await?;
    if confirm && kept.is_some() {
        return session.set_variable(vars::VERDICT, "HEARD").await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &str) -> EndReport {
        let mut lines = vec!["agi_uniqueid: 1.0".to_owned()];
        for (i, argument) in arguments.split(',').enumerate() {
            lines.push(format!("agi_arg_{}: {argument}", i + 1));
        }
        let text = lines.join("\n") + "\n\n";
        let environment = Environment::parse(text.as_bytes()).expect("valid");
        report(&environment, "192.0.2.7:9".parse().expect("an address")).expect("a call")
    }

    #[test]
    fn the_arguments_are_read() {
        let report = read("ANSWER,16,61,70,42");
        assert_eq!(report.status, Some(DialStatus::Answer));
        assert_eq!(report.cause, Some(HangupCause::NORMAL));
        assert_eq!(report.answered_seconds, Some(61));
        assert_eq!(report.dialed_seconds, Some(70));
        assert_eq!(report.dialled, Dialled::Reservation(ReservationId(42)));
    }

    #[test]
    fn another_channel_may_report_the_end_of_a_call() {
        let uniqueid = |arguments| read(arguments).arrival.uniqueid.as_str().to_owned();
        assert_eq!(
            uniqueid("ANSWER,16,61,70,42,pbx1,pbx1-1795206437.7"),
            "pbx1-1795206437.7"
        );
        for arguments in [
            "ANSWER,16,61,70,42,pbx1,",
            "ANSWER,16,61,70,42,pbx1",
            "ANSWER",
        ] {
            assert_eq!(uniqueid(arguments), "1.0", "{arguments}");
        }
    }

    #[test]
    fn missing_and_absurd_arguments_say_nothing() {
        for arguments in ["", ",,,", "nonsense,-1,-5,x"] {
            let report = read(arguments);
            assert_eq!(report.status, None, "{arguments}");
            assert_eq!(report.cause, None, "{arguments}");
            assert_eq!(report.answered_seconds, None, "{arguments}");
            assert_eq!(report.dialed_seconds, None, "{arguments}");
            assert_eq!(report.dialled, Dialled::Unsaid, "{arguments}");
        }
        assert_eq!(read(",,,,").dialled, Dialled::Nothing);
        assert_eq!(read(",,,,fallback").dialled, Dialled::Fallback);
        assert_eq!(read(",,,,1x").dialled, Dialled::Unsaid);
    }
}
