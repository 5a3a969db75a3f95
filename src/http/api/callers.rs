//! Who may see callers' numbers and names: an account whose `callersShown` is false is shown `+1415•••0001` and no name.
//!
//! It still finds a caller by the whole number. What would lead to numbers piece by piece is refused.

use serde_json::{Value, json};

use super::access::Caller;
use super::code::Code;
use super::query::Query;
use super::{Api, Problem};
use crate::domain::number::shorten;

/// Whether somebody sees callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallersShown(bool);

impl CallersShown {
    /// As administrators said of this account.
    pub async fn to(api: &Api, caller: &Caller) -> Result<Self, Problem> {
        let shown = api.store.callers_shown(caller.reach(), caller.user_id);
        Ok(Self(shown.await?))
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

    /// Refuses searches by parts of numbers and by names.
    pub fn check_search(self, query: &Query) -> Result<(), Problem> {
        let by_part = query.text("caller").is_some_and(|text| text.contains('*'));
        if self.0 || !(by_part || query.text("q").is_some_and(|q| !q.trim().is_empty())) {
            return Ok(());
        }
        Err(Problem::forbidden(
            Code::CallersHidden,
            "Your account does not see callers: it finds them by the whole number only (`caller`), not with `*` or `q`.",
        ))
    }
}

fn hide(event: &mut Value) {
    if let Some(number) = event.get("callerNumber").and_then(Value::as_str) {
        let shortened = shorten(number);
        event["callerNumber"] = json!(shortened);
    }
}
