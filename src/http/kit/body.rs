//! Reads request bodies: right type, bounded in size, depth and time, no key twice.

use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::code::Code;
use super::form::Form;
use super::ignored::Ignored;
use super::problem::Problem;

/// No body of this API comes near it.
pub const MAX_BYTES: usize = 256 * 1024;

/// Time for a body to arrive.
const DEADLINE: Duration = Duration::from_secs(10);

/// The body of a request, checked against the operation's form and read into `T`.
#[derive(Debug)]
pub struct Input<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let form = request.extensions().get::<&'static Form>().copied();
        let ignored = request.extensions().get::<Ignored>().cloned();
        let object = read_object(request).await?;
        let Some(form) = form else {
            tracing::error!("an operation reads a body but declares no form");
            return Err(Problem::internal());
        };
        if let Some(ignored) = ignored {
            let dropped = form.dropped(&object);
            if ignored.is_strict() && !dropped.is_empty() {
                return Err(Problem::fields(form.refusal(&dropped)));
            }
            ignored.note(dropped);
        }
        let read = form.read(object).map_err(Problem::fields)?;
        serde_json::from_value(Value::Object(read))
            .map(Self)
            .map_err(|error| {
                tracing::error!(%error, form = form.name, "a checked body does not fit its type");
                Problem::internal()
            })
    }
}

/// The body of an operation that does without one; an empty object counts as none.
pub async fn read_optional<T: DeserializeOwned>(
    request: Request,
    form: &Form,
) -> Result<Option<T>, Problem> {
    let json = is_json(request.headers());
    let bytes = read_bytes(request).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if !json {
        return Err(not_json());
    }
    let object = match parse_object(&bytes) {
        Ok(object) => object,
        Err(problem) if problem.code() == Code::EmptyBody => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let read = form.read(object).map_err(Problem::fields)?;
    serde_json::from_value(Value::Object(read))
        .map(Some)
        .map_err(|error| {
            tracing::error!(%error, form = form.name, "a checked body does not fit its type");
            Problem::internal()
        })
}

/// Any JSON object.
pub async fn read_object(request: Request) -> Result<Map<String, Value>, Problem> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    parse_object(&read_bytes(request).await?)
}

fn not_json() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::NotJson,
        "Send the body as JSON, with `Content-Type: application/json`.",
    )
}

/// A JSON object from its bytes.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::bad_request(
            Code::EmptyBody,
            "The body is empty. Send a JSON object.",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(Value::Object(object)) if object.is_empty() => Err(Problem::bad_request(
            Code::EmptyBody,
            "The object is empty: there is nothing to do.",
        )),
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Err(Problem::bad_request(
            Code::EmptyBody,
            "The body is null. Send a JSON object.",
        )),
        Ok(_) => {
            let mut errors = Map::new();
            errors.insert("_schema".into(), json!(["Must be a JSON object."]));
            Err(Problem::fields(errors))
        }
        Err(error) => Err(Problem::bad_request(
            Code::MalformedJson,
            format!("The body is not JSON: {error}."),
        )),
    }
}

/// The body, if it is small enough and comes in time.
pub async fn read_bytes(request: Request) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::TooLarge,
            format!("The body is larger than {} KiB.", MAX_BYTES / 1024),
        )
    };
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BYTES as u64) {
        return Err(too_large());
    }
    let bytes = axum::body::to_bytes(request.into_body(), MAX_BYTES);
    match tokio::time::timeout(DEADLINE, bytes).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(error) = cause {
                // Anything else is a peer that went away, whom no answer reaches.
                if error.to_string().contains("length limit") {
                    return Err(too_large());
                }
                cause = error.source();
            }
            Err(Problem::bad_request(
                Code::IncompleteBody,
                "The body ended too early.",
            ))
        }
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            Code::SlowBody,
            format!(
                "The body did not arrive within {} seconds.",
                DEADLINE.as_secs()
            ),
        )),
    }
}

/// `application/json`, with or without parameters.
pub fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads a field that may be absent, null or a value, as `Option<Option<T>>`: use with
/// `#[serde(default, deserialize_with = "given")]`.
pub fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: de::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A JSON value in which no object has a key twice: readers differ in which one they take.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Strict)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                let shown: String = key.chars().take(50).collect();
                return Err(de::Error::custom(format!("the key {shown:?} comes twice")));
            }
            object.insert(key, entries.next_value_seed(Strict)?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> &'static str {
        parse_object(body.as_bytes()).map_or_else(|problem| problem.code().as_str(), |_| "ok")
    }

    #[test]
    fn only_an_object_with_something_in_it_is_a_body() {
        assert_eq!(code(r#"{"a": [1, {"b": null}]}"#), "ok");
        for empty in ["", " \n", "{}", "null"] {
            assert_eq!(code(empty), "empty_body", "{empty:?}");
        }
        for other in ["[]", "[{}]", "7", "\"a\"", "true"] {
            assert_eq!(code(other), "invalid_fields", "{other}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(20_000));
        for broken in [
            "{",
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"a":1e999}"#,
            r#"{"a":1} x"#,
            &deep,
        ] {
            assert_eq!(code(broken), "malformed_json");
        }
    }
}
