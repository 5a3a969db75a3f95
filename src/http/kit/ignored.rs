//! Mistakes are told: query parameters and body fields that an operation does not know.
//!
//! Where the contract of earlier clients says that they are dropped, they are, and the header `X-Ignored` lists them; a
//! client that sends `Prefer: handling=strict` (RFC 7240) gets an error instead. Everywhere else they are an error that
//! names the known ones.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use super::code::Code;
use super::operation::Meta;
use super::problem::Problem;

/// Lists of the contract: what they do not know they drop.
const LENIENT: [&str; 7] = [
    "listUsers",
    "listClients",
    "listDids",
    "listCampaigns",
    "listAvailableClients",
    "listEndedCalls",
    "getRouteInfo",
];

/// Most names told, and most characters of each.
const MOST_NAMES: usize = 20;
const MOST_CHARS: usize = 60;

/// What a request said that was dropped. In the request's extensions.
#[derive(Debug, Clone, Default)]
pub struct Ignored {
    names: Arc<Mutex<Vec<String>>>,
    /// The client wants to be told of mistakes as errors.
    asked_strict: bool,
    /// Values of filters that mean nothing are dropped.
    drops_values: bool,
}

impl Ignored {
    /// For one request of an operation.
    pub fn of(headers: &HeaderMap, operation: &Meta) -> Self {
        let asked_strict = prefers_strict(headers);
        Self {
            names: Arc::default(),
            asked_strict,
            drops_values: LENIENT.contains(&operation.id) && !asked_strict,
        }
    }

    /// That of a request; none in tests of parts.
    pub fn in_parts(parts: &Parts) -> Self {
        parts.extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Whether unknown body fields that the form would drop are errors.
    pub fn is_strict(&self) -> bool {
        self.asked_strict
    }

    /// Whether values of filters that mean nothing are dropped, as the contract has it.
    pub fn drops_values(&self) -> bool {
        self.drops_values
    }

    /// Takes note of what is dropped.
    pub fn note(&self, names: Vec<String>) {
        let mut noted = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        noted.extend(names);
    }

    /// Looks for query parameters that the operation does not know.
    pub fn check_query(&self, request: &Request, operation: &Meta) -> Result<(), Problem> {
        let known = |name: &str| operation.parameters.iter().any(|p| p.name == name);
        let query = request.uri().query().unwrap_or_default();
        let mut unknown: Vec<String> = form_urlencoded::parse(query.as_bytes())
            .map(|(name, _)| name.into_owned())
            .filter(|name| !known(name))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        let is_list = !operation.parameters.is_empty();
        let lenient = !is_list || LENIENT.contains(&operation.id);
        if lenient && !self.asked_strict {
            self.note(unknown);
            return Ok(());
        }
        let known: Vec<_> = operation.parameters.iter().map(|p| p.name).collect();
        let known = if known.is_empty() {
            "there are none".to_owned()
        } else {
            known.join(", ")
        };
        let told: Vec<_> = unknown
            .iter()
            .take(MOST_NAMES)
            .map(|name| format!("`{}`", plain(name)))
            .collect();
        Err(Problem::bad_request(
            Code::UnknownParameter,
            format!(
                "There is no parameter {} here. Known: {known}.",
                told.join(", ")
            ),
        ))
    }

    /// Tells what was dropped.
    pub fn put_on(&self, response: &mut Response) {
        let noted = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<_> = noted
            .iter()
            .take(MOST_NAMES)
            .map(|name| plain(name))
            .collect();
        if let Ok(value) = HeaderValue::from_str(&names.join(", "))
            && !names.is_empty()
        {
            response.headers_mut().insert("x-ignored", value);
        }
    }
}

/// A name as far as it can stand in a header and a sentence.
fn plain(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "_-.[]".contains(c) {
            c
        } else {
            '?'
        }
    };
    name.chars().take(MOST_CHARS).map(plain).collect()
}

/// `Prefer: handling=strict`, alone or among other preferences.
fn prefers_strict(headers: &HeaderMap) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .any(|preference| {
            let preference: String = preference.chars().filter(|c| !c.is_whitespace()).collect();
            preference.to_ascii_lowercase().trim_matches('"') == "handling=strict"
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_stands_alone_or_among_others() {
        let strict = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("prefer", HeaderValue::from_static(value));
            }
            prefers_strict(&headers)
        };
        assert!(strict(&["handling=strict"]));
        assert!(strict(&["return=minimal, Handling = strict"]));
        assert!(strict(&["wait=10", "handling=strict; x"]));
        for other in [&[][..], &["handling=lenient"], &["strict"]] {
            assert!(!strict(other), "{other:?}");
        }
    }
}
