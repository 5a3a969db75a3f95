//! What an observer of Asterisk has seen, in the words of calls rather than of channels and events.

use jiff::Timestamp;

use super::{DialStatus, HangupCause, ReservationId, UniqueId};

/// A channel, as Asterisk names it. Unique ids come again on other servers and after restarts; with its name and the
/// time it was made a channel is told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenChannel {
    /// Its unique id.
    pub uniqueid: UniqueId,
    /// Its name, as `PJSIP/trunk-00000007`. Empty where Asterisk did not say.
    pub name: String,
    /// When it was made, by its own Asterisk's clock. To be compared with the same Asterisk's times only.
    pub created_at: Option<Timestamp>,
}

/// One observed fact. Facts may arrive late, twice, out of order or not at all; settling the same one
/// twice is harmless. When it was heard is told beside it, by the daemon's own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFact {
    /// A channel was made.
    Made(SeenChannel),
    /// A channel was made for a target dialled for this caller. It is there until it is [`Self::Gone`].
    Dialled {
        /// The caller's channel.
        caller: SeenChannel,
        /// The target's channel.
        leg: SeenChannel,
    },
    /// The endpoint dialled for this caller answered.
    Answered {
        /// The caller's channel.
        caller: SeenChannel,
        /// Endpoint id of the answering channel, as in `PJSIP/<endpoint>-0000002a`.
        endpoint: String,
    },
    /// A dial of this endpoint ended without an answer. The status is ARI's, which differs from the
    /// dialplan's `DIALSTATUS` in places and may be about one of several contacts: it is noted until the
    /// dialplan has its say, and frees nothing.
    AttemptFailed {
        /// The caller's channel.
        caller: SeenChannel,
        /// Endpoint id of the dialled channel.
        endpoint: String,
        /// Its outcome; never [`DialStatus::Answer`].
        status: DialStatus,
    },
    /// A side of a call asked for its end: the far end by its signalling, or (`soft`) this Asterisk itself, as for an
    /// operator or a limit.
    HangupRequested {
        /// The channel that is to go.
        channel: SeenChannel,
        /// Asterisk itself asked.
        soft: bool,
    },
    /// A channel no longer exists.
    Gone {
        /// The channel, a caller's or any other.
        channel: SeenChannel,
        /// Why it went.
        cause: Option<HangupCause>,
    },
}

/// A channel in Asterisk's own list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveChannel {
    /// Which channel.
    pub channel: SeenChannel,
    /// It is up. Of a caller's channel this says nothing about a target: an announcement may have answered it.
    pub up: bool,
    /// What its dialplan is dialling or talking to, as `PJSIP/<endpoint>`; `None` when it is not in
    /// `Dial()`, or Asterisk did not say.
    pub dials: Option<String>,
    /// What the dialplan says it dials on: its variable `CC_RESERVATION`, where ARI was told to show it.
    pub reservation: Option<DialledOn>,
}

/// What a dialplan dials on, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialledOn {
    /// The target of this reservation.
    Reservation(ReservationId),
    /// Its own fallback destination, which no cap knows.
    Fallback,
}

/// What Asterisk lists at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveView {
    /// All channels.
    pub channels: Vec<LiveChannel>,
    /// The channels of each bridge: who talks to whom. `None` where Asterisk did not say.
    pub bridges: Option<Vec<Vec<UniqueId>>>,
}

/// What an Asterisk server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerIdentity {
    /// Its entity id, a MAC address as a rule. `None` where it has none, which Asterisk writes as zeros.
    pub entity_id: Option<String>,
    /// `systemname` of its `asterisk.conf`: what its unique ids begin with.
    pub system_name: Option<String>,
    /// When it started, by its own clock: another value means that it was restarted.
    pub startup_time: Option<Timestamp>,
    /// Its version, as `22.5.2`.
    pub version: String,
}

/// Endpoint ids in a dial string: `PJSIP/a`, `PJSIP/5551234@a`, `PJSIP/a/sip:x@host` and lists of them joined by `&`.
/// `None` if any part of it is something else, so that nothing can be said.
pub fn dialled_endpoints(dial_string: &str) -> Option<Vec<&str>> {
    dial_string
        .split('&')
        .map(|part| {
            let resource = part.trim().strip_prefix("PJSIP/")?;
            let endpoint = match resource.split_once('@') {
                // A URI after the endpoint holds an @ of its own.
                Some((number, endpoint)) if !number.contains('/') => endpoint,
                _ => resource,
            };
            let endpoint = endpoint.split('/').next()?;
            (!endpoint.is_empty()).then_some(endpoint)
        })
        .collect()
}

/// The endpoint in a channel's name, `PJSIP/<endpoint>-0000002a`. The endpoint may contain dashes, the
/// number of the channel does not. Channels of other technologies have no endpoint.
pub fn endpoint_of_channel(name: &str) -> Option<&str> {
    let (endpoint, _) = name.strip_prefix("PJSIP/")?.rsplit_once('-')?;
    (!endpoint.is_empty()).then_some(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_found_in_every_form_of_a_dial_string() {
        for (text, expected) in [
            ("PJSIP/client1", vec!["client1"]),
            ("PJSIP/18005550100@client1", vec!["client1"]),
            ("PJSIP/client1/sip:1800@host:5060", vec!["client1"]),
            ("PJSIP/a&PJSIP/2@b", vec!["a", "b"]),
        ] {
            assert_eq!(dialled_endpoints(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "PJSIP/",
            "Local/1@x",
            "PJSIP/a&Local/1@x/n",
            "SIP/a",
            "PJSIP/1@",
        ] {
            assert_eq!(dialled_endpoints(text), None, "{text}");
        }
    }
}
