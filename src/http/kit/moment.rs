//! Points in time as the API writes them.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// A point in time, written in UTC with microseconds: `2026-01-31T12:00:00.123456+00:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_and_offset_are_always_written() {
        let written = |text: &str| {
            let moment: Timestamp = text.parse().expect("a time");
            serde_json::to_string(&Moment(moment)).expect("text")
        };
        assert_eq!(
            written("2026-01-31T12:00:00.123456Z"),
            "\"2026-01-31T12:00:00.123456+00:00\""
        );
        assert_eq!(
            written("2026-01-31T13:00:00+01:00"),
            "\"2026-01-31T12:00:00.000000+00:00\""
        );
    }
}
