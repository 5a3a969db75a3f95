//! Identifiers as types of their own, so that a link id never stands where a client id belongs.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

row_id!(
    /// One call: `call_logs.id`, given out when the call is first seen.
    CallId(i64)
);
row_id!(
    /// One attempt's hold on a link's caps: `reservations.reservation_id`.
    ReservationId(i64)
);
row_id!(
    /// A link of campaign and client: `campaign_client_settings.id`.
    LinkId(i32)
);
row_id!(
    /// `campaigns.id`.
    CampaignId(i32)
);
row_id!(
    /// `clients.id`, a call centre.
    ClientId(i32)
);
row_id!(
    /// `dids.id`.
    DidId(i32)
);
row_id!(
    /// `users.id`; as the owner of DIDs and campaigns, the tenant.
    UserId(i32)
);

row_id!(
    /// `recordings.recording_id`.
    RecordingId(i64)
);
row_id!(
    /// `transcription_jobs.job_id`.
    JobId(i64)
);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        /// The same as its [`Display`](fmt::Display): no word of the program stands in a log.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl $name {
            /// Longest value kept, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// `None` unless `text` is 1 to [`Self::MAX_BYTES`] bytes of printable ASCII without blanks.
            pub fn parse(text: &str) -> Option<Self> {
                let fits = !text.is_empty() && text.len() <= Self::MAX_BYTES;
                (fits && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Self(text.to_owned()))
            }

            /// The identifier as Asterisk writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Asterisk's channel unique id of the caller, `[systemname-]epoch.sequence`. It names a call, but
    /// may come again after a restart of Asterisk.
    UniqueId,
    50
);
text_id!(
    /// Asterisk's linked id, shared by all channels of one conversation.
    LinkedId,
    50
);
text_id!(
    /// Name of an Asterisk server in the configuration (`[[asterisk]] name`).
    ServerName,
    64
);

text_id!(
    /// What an Asterisk server calls itself (`systemname` in its `asterisk.conf`): its unique ids begin with it.
    SystemName,
    64
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_ids_are_printable_and_short() {
        assert_eq!(
            UniqueId::parse("pbx1-1795206437.0").map(|id| id.to_string()),
            Some("pbx1-1795206437.0".to_owned())
        );
        assert_eq!(UniqueId::parse(""), None);
        assert_eq!(UniqueId::parse("1.0\n"), None);
        assert_eq!(UniqueId::parse(&"1".repeat(51)), None);
    }
}
