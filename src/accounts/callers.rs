//! Who may see callers' numbers and names: an account whose `callersShown` is false is shown `+141•••01` and no name.
//!
//! It still finds a caller by the whole number. What would lead to numbers piece by piece is refused, and so is trying
//! number after number. Invariant: what is shown of a number leaves more possibilities than can be tried.

use serde_json::{Value, json};

use crate::db::request::Reach;
use crate::domain::UserId;
use crate::domain::number::shorten;
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::limits::{NUMBERS_PER_HOUR, too_many};
use crate::http::kit::principal::Caller;
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Query;

/// Whether somebody sees callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallersShown(bool);

impl CallersShown {
    /// As administrators said of this account.
    pub async fn to(api: &Api, caller: &Caller) -> Result<Self, Problem> {
        let shown = api.store.callers_shown(caller.reach(), caller.user_id);
        Ok(Self(shown.await?))
    }

    /// Whether this still is what administrators say of an account.
    pub async fn holds(self, api: &Api, reach: Reach, account: UserId) -> Result<bool, Problem> {
        Ok(self.0 == api.store.callers_shown(reach, account).await?)
    }

    /// A number, as far as it may be seen.
    pub fn number(self, number: Option<String>) -> Option<String> {
        if self.0 {
            return number;
        }
        number.as_deref().map(shorten)
    }

    /// A name, if it may be seen.
    pub fn name(self, name: Option<String>) -> Option<String> {
        name.filter(|_| self.0)
    }

    /// An event's data, or the calls in it.
    pub fn event(self, mut data: Value) -> Value {
        if self.0 {
            return data;
        }
        hide(&mut data);
        if let Some(calls) = data.get_mut("calls").and_then(Value::as_array_mut) {
            calls.iter_mut().for_each(hide);
        }
        data
    }

    /// Refuses searches by parts of numbers and by names, and by more whole numbers than somebody knows who does not
    /// guess.
    pub fn check_search(self, api: &Api, caller: &Caller, query: &Query) -> Result<(), Problem> {
        if self.0 {
            return Ok(());
        }
        let number = query.text("caller").filter(|text| !text.is_empty());
        let by_part = number.is_some_and(|text| text.contains('*'));
        if by_part || query.text("q").is_some_and(|q| !q.trim().is_empty()) {
            return Err(Problem::forbidden(
                Code::CallersHidden,
                "Your account does not see callers: it finds them by the whole number only (`caller`), not with `*` or `q`.",
            ));
        }
        let wait = number.and_then(|number| api.limits.number_sought(caller.user_id, number));
        match wait {
            None => Ok(()),
            Some(wait) => Err(too_many(
                Code::TooManyCallers,
                format!(
                    "Your account does not see callers: it looks for {NUMBERS_PER_HOUR} different numbers an hour at most."
                ),
                wait,
            )),
        }
    }

    /// What somebody looked for or changed, as lists of that keep it.
    pub fn kept(self, kept: Option<Value>) -> Option<Value> {
        let mut kept = kept?;
        if !self.0 {
            hide_kept(&mut kept);
        }
        Some(kept)
    }
}

/// Numbers and names of callers, as filters and answers call them; also in words that were looked for.
fn hide_kept(kept: &mut Value) {
    match kept {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value.as_str()) {
                    ("caller" | "callerId" | "callerNumber" | "callerIdNum", Some(number)) => {
                        *value = json!(shorten(number));
                    }
                    ("q" | "callerName" | "callerIdName", Some(_)) => *value = json!("•••"),
                    ("transcript", Some(words)) if words.contains(|c: char| c.is_numeric()) => {
                        *value = json!("•••");
                    }
                    _ => hide_kept(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide_kept),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn hide(event: &mut Value) {
    if let Some(number) = event.get("callerNumber").and_then(Value::as_str) {
        let shortened = shorten(number);
        event["callerNumber"] = json!(shortened);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_for_shows_no_caller() {
        let hidden = CallersShown(false);
        let kept = json!({
            "filter": {"caller": "+14155550001", "q": "Carla", "transcript": "my number is 4155550001", "did": "+18005550100"},
            "list": [{"callerIdNum": "+1415555*", "callerIdName": "Carla", "transcript": "refund"}],
        });
        assert_eq!(
            hidden.kept(Some(kept.clone())),
            Some(json!({
                "filter": {"caller": "+141•••01", "q": "•••", "transcript": "•••", "did": "+18005550100"},
                "list": [{"callerIdNum": "+•••5", "callerIdName": "•••", "transcript": "refund"}],
            }))
        );
        assert_eq!(CallersShown(true).kept(Some(kept.clone())), Some(kept));
        assert_eq!(hidden.kept(None), None);
    }
}
