//! The time zone that a request reckons in.

use jiff::tz::TimeZone;

use super::code::Code;
use super::problem::Problem;
use super::query::{Parameter, ParameterKind, Query, parameter};

/// For operations whose days are those of a zone.
pub const TZ: Parameter = parameter(
    "tz",
    ParameterKind::Text,
    "The time zone of days and hours, by its IANA name as `Asia/Kolkata`; summer time is heeded. UTC unless given.",
);

/// The zone asked for: UTC unless given.
pub fn zone(query: &Query) -> Result<TimeZone, Problem> {
    let Some(name) = query.checked("tz", 64)? else {
        return Ok(TimeZone::UTC);
    };
    // Links and paths below the system's database are no names of zones.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    let known = name.chars().all(plain) && !name.starts_with('/');
    let zone = known.then(|| TimeZone::get(name).ok()).flatten();
    zone.filter(|zone| zone.iana_name().is_some())
        .ok_or_else(unknown)
}

/// The name as the database knows it.
pub fn name_of(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}

/// A zone that is not known here, or not to the database.
pub fn unknown() -> Problem {
    Problem::bad_request(
        Code::BadParameter,
        "`tz` must be the name of a time zone of the IANA database, such as Europe/Berlin or Asia/Kolkata.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        let zone = zone(&Query::parse(text)).ok()?;
        Some(name_of(&zone).to_owned())
    }

    #[test]
    fn zones_are_named_as_in_the_iana_database() {
        assert_eq!(read(""), Some("UTC".into()));
        assert_eq!(read("tz="), Some("UTC".into()));
        assert_eq!(read("tz=Asia/Kolkata"), Some("Asia/Kolkata".into()));
        assert_eq!(read("tz=UTC"), Some("UTC".into()));
        for wrong in [
            "Mars/Olympus",
            "../etc/passwd",
            "/etc/localtime",
            "CET-1CEST",
            "+01:00",
            "%00",
        ] {
            assert_eq!(read(&format!("tz={wrong}")), None, "{wrong}");
        }
    }
}
