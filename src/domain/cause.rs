//! Hangup causes (ITU-T Q.850, table 1, as Asterisk's `HANGUPCAUSE` reports them).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A Q.850 cause value, 0 to 127. Asterisk uses 0 for "not known".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HangupCause(u8);

impl HangupCause {
    /// Unallocated (unassigned) number; SIP 404.
    pub const UNALLOCATED: Self = Self(1);
    /// Normal call clearing.
    pub const NORMAL: Self = Self(16);
    /// User busy; SIP 486.
    pub const USER_BUSY: Self = Self(17);
    /// No answer from user; SIP 480.
    pub const NO_ANSWER: Self = Self(19);
    /// Subscriber absent; SIP 480.
    pub const SUBSCRIBER_ABSENT: Self = Self(20);
    /// Call rejected; SIP 403 or 603.
    pub const CALL_REJECTED: Self = Self(21);
    /// No circuit or channel available; SIP 503.
    pub const NO_CIRCUIT: Self = Self(34);

    /// `None` outside 0..=127.
    pub fn new(value: u8) -> Option<Self> {
        (value <= 127).then_some(Self(value))
    }

    /// Reads the text of a channel variable; empty, negative or absurd values are `None`.
    pub fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok().and_then(Self::new)
    }

    /// The number.
    pub fn value(self) -> u8 {
        self.0
    }

    /// A short name in words, at most 50 characters (`call_logs.hangup_cause_text`).
    pub fn text(self) -> &'static str {
        match self.0 {
            0 => "Unknown",
            1 => "Unallocated number",
            2 => "No route to transit network",
            3 => "No route to destination",
            6 => "Channel unacceptable",
            16 => "Normal call clearing",
            17 => "User busy",
            18 => "No user responding",
            19 => "No answer from user",
            20 => "Subscriber absent",
            21 => "Call rejected",
            22 => "Number changed",
            26 => "Answered elsewhere",
            27 => "Destination out of order",
            28 => "Invalid number format",
            29 => "Facility rejected",
            31 => "Normal, unspecified",
            34 => "No circuit available",
            38 => "Network out of order",
            41 => "Temporary failure",
            42 => "Switching equipment congestion",
            44 => "Requested channel not available",
            50 => "Facility not subscribed",
            57 => "Bearer capability not authorised",
            58 => "Bearer capability not available",
            63 => "Service not available",
            65 => "Bearer capability not implemented",
            66 => "Channel type not implemented",
            69 => "Facility not implemented",
            88 => "Incompatible destination",
            95 => "Invalid message",
            96 => "Mandatory information missing",
            102 => "Recovery on timer expiry",
            111 => "Protocol error",
            127 => "Interworking, unspecified",
            _ => "Other cause",
        }
    }
}

impl fmt::Display for HangupCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_read_from_channel_variables() {
        assert_eq!(HangupCause::parse("17"), Some(HangupCause::USER_BUSY));
        assert_eq!(HangupCause::parse(" 16 "), Some(HangupCause::NORMAL));
        for text in ["", "-1", "128", "999999", "busy"] {
            assert_eq!(HangupCause::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_text_fits_its_column() {
        for value in 0..=127 {
            let cause = HangupCause::new(value).expect("in range");
            assert!(cause.text().len() <= 50);
        }
    }
}
