//! Asterisk's events, read as far as they are needed: pure, no I/O, no clock.
//!
//! Unknown events and unknown fields are normal: Asterisk adds some with every release. Only four events
//! carry facts. `ChannelCreated` tells on which server a call is. `Dial` reports the progress of one dialled channel by `dialstatus`: empty when it begins,
//! `RINGING`, `PROGRESS` and `PROCEEDING` on the way, then one of [`DialStatus`] at its end. `ChannelHangupRequest`
//! tells which side wants the end. `ChannelDestroyed` is the last that is heard of a channel.
//!
//! The `dialstatus` of an event is that of one dialled channel, made from its hangup cause alone, and
//! need not be the `DIALSTATUS` of the caller: it says surely that the attempt is over, and only
//! roughly why. Of the two the dialplan's word is the better one.

use std::borrow::Cow;

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::fact::endpoint_of_channel;
use crate::domain::{
    CallFact, DialStatus, DialledOn, HangupCause, LiveChannel, ReservationId, SeenChannel,
    ServerIdentity, SystemName, UniqueId,
};

/// The events asked of Asterisk; everything else is noise, about a hundred messages per call.
pub const WANTED: [&str; 5] = [
    "ChannelCreated",
    "Dial",
    "ChannelHangupRequest",
    "ChannelDestroyed",
    "ApplicationReplaced",
];

/// The channel variable by which the dialplan says what it dials on. ARI shows it where its `channelvars` name it.
const DIALLED_ON: &str = "CC_RESERVATION";

/// What a message from Asterisk means to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something happened to a call.
    Fact(CallFact),
    /// Another connection has taken over our application name; nothing more will come on this one.
    Replaced,
    /// Nothing.
    Irrelevant,
}

/// The type of a message as a metric label: a closed set, whatever Asterisk sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ChannelCreated`.
    ChannelCreated,
    /// `Dial`.
    Dial,
    /// `ChannelHangupRequest`.
    ChannelHangupRequest,
    /// `ChannelDestroyed`.
    ChannelDestroyed,
    /// `ApplicationReplaced`.
    ApplicationReplaced,
    /// Any other.
    Other,
    /// Could not be read.
    Malformed,
}

impl Kind {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChannelCreated => "ChannelCreated",
            Self::Dial => "Dial",
            Self::ChannelHangupRequest => "ChannelHangupRequest",
            Self::ChannelDestroyed => "ChannelDestroyed",
            Self::ApplicationReplaced => "ApplicationReplaced",
            Self::Other => "other",
            Self::Malformed => "malformed",
        }
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Channel<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    state: Cow<'a, str>,
    #[serde(borrow)]
    creationtime: Option<Cow<'a, str>>,
    #[serde(borrow)]
    dialplan: Option<Dialplan<'a>>,
    #[serde(default)]
    channelvars: HashMap<String, serde_json::Value>,
}

impl Channel<'_> {
    fn seen(&self) -> Option<SeenChannel> {
        Some(SeenChannel {
            uniqueid: UniqueId::parse(&self.id)?,
            name: self.name.clone().into_owned(),
            created_at: self.creationtime.as_deref().and_then(parse_time),
        })
    }

    fn dialled_on(&self) -> Option<DialledOn> {
        match self.channelvars.get(DIALLED_ON)?.as_str()? {
            "fallback" => Some(DialledOn::Fallback),
            id => Some(DialledOn::Reservation(ReservationId(id.parse().ok()?))),
        }
    }
}

/// Where a channel is in the dialplan.
#[derive(Deserialize)]
struct Dialplan<'a> {
    #[serde(borrow, default)]
    app_name: Cow<'a, str>,
    #[serde(borrow, default)]
    app_data: Cow<'a, str>,
}

impl Dialplan<'_> {
    /// The first argument of `Dial()`.
    fn dials(&self) -> Option<String> {
        let target = self.app_data.split(',').next()?;
        (self.app_name == "Dial" && !target.is_empty()).then(|| target.to_owned())
    }
}

#[derive(Deserialize)]
struct Created<'a> {
    #[serde(borrow)]
    channel: Channel<'a>,
}

#[derive(Deserialize)]
struct Dial<'a> {
    /// Absent where nobody calls, as in an `Originate`.
    #[serde(borrow)]
    caller: Option<Channel<'a>>,
    #[serde(borrow)]
    peer: Channel<'a>,
    #[serde(borrow, default)]
    dialstatus: Cow<'a, str>,
    /// Where the target sent the call on to.
    #[serde(borrow)]
    forward: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct HangupRequest<'a> {
    #[serde(borrow)]
    channel: Channel<'a>,
    #[serde(default)]
    soft: bool,
}

#[derive(Deserialize)]
struct Destroyed<'a> {
    #[serde(borrow)]
    channel: Channel<'a>,
    cause: Option<i64>,
}

#[derive(Deserialize)]
struct Replaced<'a> {
    #[serde(borrow)]
    application: Cow<'a, str>,
}

/// Reads one message. `app` is our application name.
pub fn decode(text: &str, app: &str) -> (Kind, Result<Event, serde_json::Error>) {
    let kind = match serde_json::from_str::<Head>(text) {
        Ok(head) => match &*head.kind {
            "ChannelCreated" => Kind::ChannelCreated,
            "Dial" => Kind::Dial,
            "ChannelHangupRequest" => Kind::ChannelHangupRequest,
            "ChannelDestroyed" => Kind::ChannelDestroyed,
            "ApplicationReplaced" => Kind::ApplicationReplaced,
            _ => Kind::Other,
        },
        Err(error) => return (Kind::Malformed, Err(error)),
    };
    let event = match kind {
        Kind::ChannelCreated => serde_json::from_str(text)
            .map(|created: Created| created.channel.seen().map(CallFact::Made).map(Event::Fact)),
        Kind::Dial => serde_json::from_str(text).map(|dial| dial_fact(&dial)),
        Kind::ChannelHangupRequest => serde_json::from_str(text).map(|asked: HangupRequest| {
            Some(Event::Fact(CallFact::HangupRequested {
                channel: asked.channel.seen()?,
                soft: asked.soft,
            }))
        }),
        Kind::ChannelDestroyed => serde_json::from_str(text).map(|destroyed| gone_fact(&destroyed)),
        Kind::ApplicationReplaced => serde_json::from_str(text)
            // One socket may serve several applications; only ours concerns us.
            .map(|replaced: Replaced| (replaced.application == app).then_some(Event::Replaced)),
        Kind::Other | Kind::Malformed => Ok(None),
    };
    match event {
        Ok(event) => (kind, Ok(event.unwrap_or(Event::Irrelevant))),
        Err(error) => (Kind::Malformed, Err(error)),
    }
}

fn dial_fact(dial: &Dial) -> Option<Event> {
    // A forwarded dial ends with CANCEL for the first channel while the call goes on: not an end.
    if dial.forward.as_ref().is_some_and(|to| !to.is_empty()) {
        return None;
    }
    let caller = dial.caller.as_ref()?.seen()?;
    if matches!(&*dial.dialstatus, "" | "RINGING") {
        let leg = dial.peer.seen()?;
        return Some(Event::Fact(CallFact::Dialled { caller, leg }));
    }
    let status = DialStatus::parse(&dial.dialstatus)?;
    let endpoint = endpoint_of_channel(&dial.peer.name)?.to_owned();
    Some(Event::Fact(if status == DialStatus::Answer {
        CallFact::Answered { caller, endpoint }
    } else {
        CallFact::AttemptFailed {
            caller,
            endpoint,
            status,
        }
    }))
}

fn gone_fact(destroyed: &Destroyed) -> Option<Event> {
    Some(Event::Fact(CallFact::Gone {
        channel: destroyed.channel.seen()?,
        cause: destroyed
            .cause
            .and_then(|cause| u8::try_from(cause).ok())
            .and_then(HangupCause::new),
    }))
}

/// Reads the answer to `GET /ari/channels`.
///
/// An entry without an id makes the whole list unreadable: a list that silently lacks a live channel
/// would free its slot. An entry whose id cannot be a [`UniqueId`] of ours is left out.
pub fn decode_channels(body: &[u8]) -> Result<Vec<LiveChannel>, serde_json::Error> {
    let channels: Vec<Channel> = serde_json::from_slice(body)?;
    Ok(channels
        .into_iter()
        .filter_map(|channel| {
            Some(LiveChannel {
                channel: channel.seen()?,
                up: channel.state == "Up",
                dials: channel.dialplan.as_ref().and_then(Dialplan::dials),
                reservation: channel.dialled_on(),
            })
        })
        .collect())
}

#[derive(Deserialize)]
struct Bridge<'a> {
    #[serde(borrow)]
    channels: Vec<Cow<'a, str>>,
}

/// Reads the answer to `GET /ari/bridges`: the channels of each bridge.
pub fn decode_bridges(body: &[u8]) -> Result<Vec<Vec<UniqueId>>, serde_json::Error> {
    let bridges: Vec<Bridge> = serde_json::from_slice(body)?;
    let members = |bridge: Bridge| {
        let ids = bridge.channels.iter();
        ids.filter_map(|id| UniqueId::parse(id)).collect()
    };
    Ok(bridges.into_iter().map(members).collect())
}

#[derive(Deserialize)]
struct Info<'a> {
    #[serde(borrow)]
    status: InfoStatus<'a>,
    #[serde(borrow)]
    system: InfoSystem<'a>,
    #[serde(borrow)]
    config: Option<InfoConfig<'a>>,
}

#[derive(Deserialize)]
struct InfoStatus<'a> {
    #[serde(borrow)]
    startup_time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct InfoSystem<'a> {
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow, default)]
    entity_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct InfoConfig<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

/// Reads the answer to `GET /ari/asterisk/info`.
pub fn decode_info(body: &[u8]) -> Result<ServerIdentity, serde_json::Error> {
    let info: Info = serde_json::from_slice(body)?;
    // Where no network interface has an address, Asterisk's entity id is all zeros and names nothing.
    let names_something = |id: &str| id.bytes().any(|b| !matches!(b, b'0' | b':'));
    let config = info.config.as_ref();
    Ok(ServerIdentity {
        entity_id: Some(info.system.entity_id.to_ascii_lowercase())
            .filter(|id| names_something(id)),
        system_name: config
            .and_then(|config| SystemName::parse(&config.name))
            .map(|name| name.as_str().to_owned()),
        startup_time: parse_time(&info.status.startup_time),
        version: info.system.version.into_owned(),
    })
}

/// `2026-11-21T01:02:03.456+0000`: Asterisk's offset has no colon.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        decode(text, "capconduit-a").1.expect("readable")
    }

    fn seen(uniqueid: &str, name: &str) -> SeenChannel {
        SeenChannel {
            uniqueid: UniqueId::parse(uniqueid).expect("id"),
            name: name.to_owned(),
            created_at: None,
        }
    }

    fn dial(peer: &str, status: &str) -> Event {
        event(&format!(
            r#"{{"type":"Dial","dialstatus":"{status}",
                "caller":{{"id":"1795206437.0","name":"PJSIP/trunk-00000000"}},
                "peer":{{"id":"1795206437.1","name":"{peer}"}},"later":[1,{{}}]}}"#
        ))
    }

    #[test]
    fn an_answer_names_caller_and_endpoint() {
        assert_eq!(
            dial("PJSIP/call-centre-7-0000002a", "ANSWER"),
            Event::Fact(CallFact::Answered {
                caller: seen("1795206437.0", "PJSIP/trunk-00000000"),
                endpoint: "call-centre-7".into(),
            })
        );
    }

    #[test]
    fn every_end_without_an_answer_is_a_failed_attempt() {
        for (text, expected) in [
            ("BUSY", DialStatus::Busy),
            ("NOANSWER", DialStatus::NoAnswer),
            ("CONGESTION", DialStatus::Congestion),
            ("CHANUNAVAIL", DialStatus::ChanUnavail),
            ("CANCEL", DialStatus::Cancel),
        ] {
            let Event::Fact(CallFact::AttemptFailed { status, .. }) = dial("PJSIP/a-1", text)
            else {
                panic!("{text}");
            };
            assert_eq!(status, expected);
        }
    }

    #[test]
    fn a_dial_names_the_leg_that_must_go_before_its_slot_is_free() {
        for text in ["", "RINGING"] {
            assert_eq!(
                dial("PJSIP/a-1", text),
                Event::Fact(CallFact::Dialled {
                    caller: seen("1795206437.0", "PJSIP/trunk-00000000"),
                    leg: seen("1795206437.1", "PJSIP/a-1"),
                })
            );
        }
    }

    #[test]
    fn progress_is_no_fact() {
        for text in ["PROGRESS", "PROCEEDING", "ABORT", "GOTO", "new"] {
            assert_eq!(dial("PJSIP/a-1", text), Event::Irrelevant, "{text:?}");
        }
    }

    #[test]
    fn dials_of_nobody_or_of_no_endpoint_are_no_fact() {
        assert_eq!(dial("Local/1@x-00000001;1", "ANSWER"), Event::Irrelevant);
        assert_eq!(dial("PJSIP/-00000001", "ANSWER"), Event::Irrelevant);
        assert_eq!(
            event(
                r#"{"type":"Dial","dialstatus":"ANSWER","peer":{"id":"1.1","name":"PJSIP/a-1"}}"#
            ),
            Event::Irrelevant
        );
    }

    #[test]
    fn a_forwarded_dial_has_not_ended() {
        assert_eq!(
            event(
                r#"{"type":"Dial","dialstatus":"CANCEL","forward":"Local/2@x",
                    "caller":{"id":"1.0","name":"PJSIP/t-0"},
                    "peer":{"id":"1.1","name":"PJSIP/a-1"}}"#
            ),
            Event::Irrelevant
        );
    }

    #[test]
    fn a_destroyed_channel_is_gone_even_with_an_absurd_cause() {
        for (cause, expected) in [
            ("16", Some(HangupCause::NORMAL)),
            ("-1", None),
            ("4711", None),
        ] {
            let text = format!(
                r#"{{"type":"ChannelDestroyed","cause":{cause},"timestamp":"soon",
                    "channel":{{"id":"1.0"}}}}"#
            );
            assert_eq!(
                event(&text),
                Event::Fact(CallFact::Gone {
                    channel: seen("1.0", ""),
                    cause: expected,
                })
            );
        }
    }

    #[test]
    fn only_our_own_replacement_concerns_us() {
        let replaced = |app| {
            event(&format!(
                r#"{{"type":"ApplicationReplaced","application":"{app}"}}"#
            ))
        };
        assert_eq!(replaced("capconduit-a"), Event::Replaced);
        assert_eq!(replaced("capconduit-b"), Event::Irrelevant);
    }

    #[test]
    fn unknown_and_malformed_messages_are_told_apart() {
        let (kind, event) = decode(r#"{"type":"FromTheFuture","x":null}"#, "a");
        assert_eq!((kind, event.ok()), (Kind::Other, Some(Event::Irrelevant)));
        for text in ["", "{", "[]", "{}", r#"{"type":7}"#, r#"{"type":"Dial"}"#] {
            let (kind, event) = decode(text, "a");
            assert_eq!(kind, Kind::Malformed, "{text}");
            assert!(event.is_err());
        }
    }

    #[test]
    fn the_channel_list_is_read_whole_or_not_at_all() {
        let body = br#"[
            {"id":"1795206437.0","name":"PJSIP/trunk-0","state":"Ring",
             "creationtime":"2026-11-21T01:02:03.456+0000","new":1},
            {"id":"1795206437.1","name":"PJSIP/a\u002d1","state":"Up",
             "channelvars":{"CC_RESERVATION":"17","OTHER":""}},
            {"id":"made by another application","name":"x","state":"Up"}]"#;
        let channels = decode_channels(body).expect("readable");
        assert_eq!(channels.len(), 2);
        assert!(!channels[0].up);
        assert_eq!(
            channels[0].channel.created_at,
            "2026-11-21T01:02:03.456Z".parse().ok()
        );
        assert_eq!(channels[0].reservation, None);
        assert!(channels[1].up);
        assert_eq!(channels[1].channel.name, "PJSIP/a-1");
        let on = DialledOn::Reservation(ReservationId(17));
        assert_eq!(channels[1].reservation, Some(on));
        assert!(decode_channels(br#"[{"id":"1.0"},{"name":"x"}]"#).is_err());
        assert!(decode_channels(br#"{"message":"no"}"#).is_err());
    }

    #[test]
    fn a_server_is_known_by_what_it_says_of_itself() {
        let body = br#"{"status":{"startup_time":"2026-11-21T01:02:03.456+0000"},
            "system":{"version":"22.5.2","entity_id":"AA:00:00:00:00:01"},"config":{"name":"pbx1"}}"#;
        let identity = decode_info(body).expect("readable");
        assert_eq!(identity.entity_id.as_deref(), Some("aa:00:00:00:00:01"));
        assert_eq!(identity.system_name.as_deref(), Some("pbx1"));
        assert_eq!(
            identity.startup_time,
            "2026-11-21T01:02:03.456Z".parse().ok()
        );
        let body = br#"{"status":{"startup_time":"soon"},
            "system":{"version":"20","entity_id":"00:00:00:00:00:00"},"config":{"name":""}}"#;
        let identity = decode_info(body).expect("readable");
        assert_eq!((identity.entity_id, identity.system_name), (None, None));
    }

    #[test]
    fn a_channel_made_is_a_fact() {
        assert_eq!(
            event(r#"{"type":"ChannelCreated","channel":{"id":"1.0","name":"PJSIP/t-1"}}"#),
            Event::Fact(CallFact::Made(seen("1.0", "PJSIP/t-1")))
        );
    }
}
