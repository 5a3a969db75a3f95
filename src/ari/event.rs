//! Asterisk's events, read as far as they are needed: pure, no I/O, no clock.
//!
//! Unknown events and unknown fields are normal: Asterisk adds some with every release. Only two events
//! carry facts. `Dial` reports the progress of one dialled channel by `dialstatus`: empty when it begins,
//! `RINGING`, `PROGRESS` and `PROCEEDING` on the way, then one of [`DialStatus`] at its end. `ChannelDestroyed` is
//! the last that is heard of a channel.
//!
//! The `dialstatus` of an event is that of one dialled channel, made from its hangup cause alone, and
//! need not be the `DIALSTATUS` of the caller: it says surely that the attempt is over, and only
//! roughly why. Of the two the dialplan's word is the better one.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::{CallFact, DialStatus, HangupCause, LiveChannel, UniqueId};

/// The events asked of Asterisk; everything else is noise, about a hundred messages per call.
pub const WANTED: [&str; 3] = ["Dial", "ChannelDestroyed", "ApplicationReplaced"];

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
    /// `Dial`.
    Dial,
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
            Self::Dial => "Dial",
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
struct Dial<'a> {
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
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
struct Destroyed<'a> {
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    channel: Channel<'a>,
    cause: Option<i64>,
}

#[derive(Deserialize)]
struct Replaced<'a> {
    #[serde(borrow)]
    application: Cow<'a, str>,
}

/// Reads one message. `app` is our application name, `received_at` stands in for a missing time.
pub fn decode(
    text: &str,
    app: &str,
    received_at: Timestamp,
) -> (Kind, Result<Event, serde_json::Error>) {
    let kind = match serde_json::from_str::<Head>(text) {
        Ok(head) => match &*head.kind {
            "Dial" => Kind::Dial,
            "ChannelDestroyed" => Kind::ChannelDestroyed,
            "ApplicationReplaced" => Kind::ApplicationReplaced,
            _ => Kind::Other,
        },
        Err(error) => return (Kind::Malformed, Err(error)),
    };
    let event = match kind {
        Kind::Dial => serde_json::from_str(text).map(|dial| dial_fact(&dial, received_at)),
        Kind::ChannelDestroyed => {
            serde_json::from_str(text).map(|destroyed| gone_fact(&destroyed, received_at))
        }
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

fn dial_fact(dial: &Dial, received_at: Timestamp) -> Option<Event> {
    // A forwarded dial ends with CANCEL for the first channel while the call goes on: not an end.
    if dial.forward.as_ref().is_some_and(|to| !to.is_empty()) {
        return None;
    }
    let caller = UniqueId::parse(&dial.caller.as_ref()?.id)?;
    if matches!(&*dial.dialstatus, "" | "RINGING") {
        let leg = UniqueId::parse(&dial.peer.id)?;
        return Some(Event::Fact(CallFact::Dialled { caller, leg }));
    }
    let status = DialStatus::parse(&dial.dialstatus)?;
    let endpoint = endpoint_of(&dial.peer.name)?.to_owned();
    let at = time_or(dial.timestamp.as_deref(), received_at);
    Some(Event::Fact(if status == DialStatus::Answer {
        CallFact::Answered {
            caller,
            endpoint,
            at,
        }
    } else {
        CallFact::AttemptFailed {
            caller,
            endpoint,
            status,
            at,
        }
    }))
}

fn gone_fact(destroyed: &Destroyed, received_at: Timestamp) -> Option<Event> {
    Some(Event::Fact(CallFact::Gone {
        channel: UniqueId::parse(&destroyed.channel.id)?,
        cause: destroyed
            .cause
            .and_then(|cause| u8::try_from(cause).ok())
            .and_then(HangupCause::new),
        at: time_or(destroyed.timestamp.as_deref(), received_at),
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
                uniqueid: UniqueId::parse(&channel.id)?,
                answered: channel.state == "Up",
                dials: channel.dialplan.as_ref().and_then(Dialplan::dials),
                created_at: channel.creationtime.as_deref().and_then(parse_time),
                name: channel.name.into_owned(),
            })
        })
        .collect())
}

/// The endpoint in a channel's name, `PJSIP/<endpoint>-0000002a`. The endpoint may contain dashes, the
/// number of the channel does not. Channels of other technologies have no endpoint.
fn endpoint_of(channel_name: &str) -> Option<&str> {
    let (endpoint, _) = channel_name.strip_prefix("PJSIP/")?.rsplit_once('-')?;
    (!endpoint.is_empty()).then_some(endpoint)
}

/// `2026-11-21T01:02:03.456+0000`: Asterisk's offset has no colon.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

fn time_or(text: Option<&str>, received_at: Timestamp) -> Timestamp {
    text.and_then(parse_time).unwrap_or(received_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn event(text: &str) -> Event {
        decode(text, "capconduit-a", NOW).1.expect("readable")
    }

    fn dial(peer: &str, status: &str) -> Event {
        event(&format!(
            r#"{{"type":"Dial","timestamp":"2026-11-21T02:02:03.456+0100","dialstatus":"{status}",
                "caller":{{"id":"1795206437.0","name":"PJSIP/trunk-00000000"}},
                "peer":{{"id":"1795206437.1","name":"{peer}"}},"later":[1,{{}}]}}"#
        ))
    }

    #[test]
    fn an_answer_names_caller_endpoint_and_time() {
        assert_eq!(
            dial("PJSIP/call-centre-7-0000002a", "ANSWER"),
            Event::Fact(CallFact::Answered {
                caller: UniqueId::parse("1795206437.0").expect("id"),
                endpoint: "call-centre-7".into(),
                at: "2026-11-21T01:02:03.456Z".parse().expect("time"),
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
                    caller: UniqueId::parse("1795206437.0").expect("id"),
                    leg: UniqueId::parse("1795206437.1").expect("id"),
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
                    channel: UniqueId::parse("1.0").expect("id"),
                    cause: expected,
                    at: NOW,
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
        let (kind, event) = decode(r#"{"type":"FromTheFuture","x":null}"#, "a", NOW);
        assert_eq!((kind, event.ok()), (Kind::Other, Some(Event::Irrelevant)));
        for text in ["", "{", "[]", "{}", r#"{"type":7}"#, r#"{"type":"Dial"}"#] {
            let (kind, event) = decode(text, "a", NOW);
            assert_eq!(kind, Kind::Malformed, "{text}");
            assert!(event.is_err());
        }
    }

    #[test]
    fn the_channel_list_is_read_whole_or_not_at_all() {
        let body = br#"[
            {"id":"1795206437.0","name":"PJSIP/trunk-0","state":"Ring",
             "creationtime":"2026-11-21T01:02:03.456+0000","new":1},
            {"id":"1795206437.1","name":"PJSIP/a\u002d1","state":"Up"},
            {"id":"made by another application","name":"x","state":"Up"}]"#;
        let channels = decode_channels(body).expect("readable");
        assert_eq!(channels.len(), 2);
        assert!(!channels[0].answered);
        assert_eq!(
            channels[0].created_at,
            "2026-11-21T01:02:03.456Z".parse().ok()
        );
        assert!(channels[1].answered);
        assert_eq!(channels[1].name, "PJSIP/a-1");
        assert!(decode_channels(br#"[{"id":"1.0"},{"name":"x"}]"#).is_err());
        assert!(decode_channels(br#"{"message":"no"}"#).is_err());
    }
}
