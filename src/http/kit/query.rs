//! Query strings and path ids.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::code::Code;
use super::cursor::{self, Mark};
use super::ignored::Ignored;
use super::problem::Problem;
use super::trace;

/// A parameter of the query, for the API's document.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its form.
    pub kind: ParameterKind,
    /// What it does.
    pub about: &'static str,
}

/// The form of a query parameter, for the API's document. How strictly it is read is the handler's
/// business: the contract ignores some malformed values.
#[derive(Debug, Clone, Copy)]
pub enum ParameterKind {
    /// A whole number.
    Integer,
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `YYYY-MM-DD`, or a date and time.
    Moment,
}

impl Parameter {
    /// Its JSON Schema: what its kind allows, and what names that many lists have in common hold.
    pub fn schema(&self) -> Value {
        match (self.name, self.kind) {
            ("cursor", _) => json!({ "type": "string", "pattern": cursor::PATTERN }),
            ("per_page", _) => json!({ "type": "integer", "minimum": 1, "maximum": MAX_PER_PAGE }),
            ("page", _) => json!({ "type": "integer", "minimum": 1 }),
            ("call_id", _) => json!({ "type": "integer", "minimum": 1, "maximum": i64::MAX }),
            ("min_duration" | "max_duration", _) => {
                json!({ "type": "integer", "minimum": 0, "maximum": i32::MAX })
            }
            (name, ParameterKind::Integer) if name.ends_with("_id") => {
                json!({ "type": "integer", "minimum": 1, "maximum": i32::MAX })
            }
            (_, kind) => kind.schema(),
        }
    }
}

impl ParameterKind {
    /// Its JSON Schema.
    pub fn schema(self) -> Value {
        match self {
            Self::Integer => json!({ "type": "integer" }),
            Self::Text => json!({ "type": "string" }),
            Self::Moment => json!({
                "anyOf": [{ "type": "string", "format": "date" }, { "type": "string", "format": "date-time" }],
            }),
            Self::Choice(&["true", "false"]) => json!({ "type": "boolean" }),
            Self::Choice(words) => json!({ "type": "string", "enum": words }),
        }
    }
}

/// A parameter.
pub const fn parameter(name: &'static str, kind: ParameterKind, about: &'static str) -> Parameter {
    Parameter { name, kind, about }
}

/// The parameters of lists by page.
pub const PAGING: [Parameter; 3] = [
    parameter(
        "cursor",
        ParameterKind::Text,
        "`nextCursor` of the page before: it goes on after it, with as many items. Takes the place of `page`.",
    ),
    parameter(
        "page",
        ParameterKind::Integer,
        "Number of the page, from 1. Anything that is no number counts as 1.",
    ),
    parameter(
        "per_page",
        ParameterKind::Integer,
        "Items on a page, at most 200. Anything that is no number counts as the default.",
    ),
];

/// The parameters of a query string; of one that comes twice the first counts.
#[derive(Debug, Default)]
pub struct Query {
    parameters: HashMap<String, String>,
    /// What is no id is ignored, as the contract has it.
    drops_values: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut query = Self::parse(parts.uri.query().unwrap_or_default());
        query.drops_values = Ignored::in_parts(parts).drops_values();
        Ok(query)
    }
}

impl Query {
    /// Reads a query string.
    pub fn parse(text: &str) -> Self {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            parameters
                .entry(name.into_owned())
                .or_insert_with(|| value.into_owned());
        }
        Self {
            parameters,
            drops_values: false,
        }
    }

    /// A parameter that is there and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.parameters.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// What was asked for, as events keep it: by name, each at most 200 characters.
    pub fn given(&self) -> BTreeMap<&str, String> {
        let shown = |text: &String| text.chars().filter(|c| *c != '\0').take(200).collect();
        let given = self
            .parameters
            .iter()
            .filter(|(name, _)| name.len() <= 50)
            .take(40);
        given
            .filter(|(name, _)| !name.contains('\0'))
            .map(|(name, value)| (name.as_str(), shown(value)))
            .collect()
    }

    /// Whether a parameter is there, empty perhaps.
    pub fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    /// As [`Self::text`]; what no column can hold is refused.
    pub fn checked(&self, name: &str, max: usize) -> Result<Option<&str>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        if text.chars().count() > max || text.contains('\0') {
            return Err(Problem::bad_request(
                Code::BadParameter,
                format!("`{name}` may have {max} characters at most and no NUL."),
            ));
        }
        Ok(Some(text))
    }

    /// One of some words, if it is there.
    pub fn choice<'a>(&'a self, name: &str, words: &[&str]) -> Result<Option<&'a str>, Problem> {
        match self.text(name) {
            None => Ok(None),
            Some(word) if words.contains(&word) => Ok(Some(word)),
            Some(_) => Err(Problem::bad_request(
                Code::BadParameter,
                format!("`{name}` must be one of: {}.", words.join(", ")),
            )),
        }
    }

    /// An id. On lists of the contract what is none, or 0, is ignored; elsewhere it is an error.
    pub fn id(&self, name: &str) -> Result<Option<i32>, Problem> {
        if !self.drops_values {
            return self.only_id(name);
        }
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let id: Option<i64> = text.trim().parse().ok().filter(|id| *id != 0);
        // An id that cannot be is one that nothing has.
        Ok(id.map(|id| i32::try_from(id).unwrap_or(-1)))
    }

    /// An id; what can be none is refused.
    pub fn only_id(&self, name: &str) -> Result<Option<i32>, Problem> {
        let Some(text) = self.text(name).map(str::trim) else {
            return Ok(None);
        };
        match text.parse::<i64>() {
            // An id that cannot be is one that nothing has.
            Ok(id) if id > 0 => Ok(Some(i32::try_from(id).unwrap_or(-1))),
            _ => Err(Problem::bad_request(
                Code::BadParameter,
                format!("`{name}` must be an id: a whole number from 1."),
            )),
        }
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name).map(str::trim) else {
            return Ok(None);
        };
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(None);
        }
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) if text.starts_with('-') => Ok(Some(-1)),
            Err(_) => Err(Problem::bad_request(
                Code::BadParameter,
                format!("`{name}` is too large."),
            )),
        }
    }

    /// How many items are asked for, of a list that goes on by a cursor of its own.
    pub fn per_page(&self, default: i64) -> Result<i64, Problem> {
        Ok(match self.number("per_page")?.unwrap_or(default) {
            ..1 => 20,
            asked => asked.min(MAX_PER_PAGE),
        })
    }

    /// `true` or `false`.
    pub fn maybe(&self, name: &str) -> Result<Option<bool>, Problem> {
        let word = self.choice(name, &["true", "false"])?;
        Ok(word.map(|word| word == "true"))
    }

    /// Whether a flag is set.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        Ok(self.maybe(name)? == Some(true))
    }

    /// The page asked for: by its number, or by the cursor that leads to it.
    pub fn page(&self, default_per_page: i64) -> Result<Page, Problem> {
        if let Some(place) = cursor::read::<16>(self, Mark::PAGES)? {
            return Page::read(place).ok_or_else(cursor::bad);
        }
        self.page_without_cursor(default_per_page)
    }

    /// The page asked for by its number, of a list with a cursor of its own.
    pub fn page_without_cursor(&self, default_per_page: i64) -> Result<Page, Problem> {
        self.page_of(default_per_page, MAX_PER_PAGE)
    }

    /// The page asked for by its number, of so many items at most.
    pub fn page_of(&self, default_per_page: i64, max_per_page: i64) -> Result<Page, Problem> {
        let page = self.number("page")?.unwrap_or(1).max(1);
        let per_page = match self.number("per_page")?.unwrap_or(default_per_page) {
            ..1 => 20,
            asked => asked.min(max_per_page),
        };
        if page > MAX_ROW / per_page {
            return Err(Problem::bad_request(
                Code::BadParameter,
                "`page` is too large.",
            ));
        }
        Ok(Page { page, per_page })
    }
}

/// Most items on a page.
pub const MAX_PER_PAGE: i64 = 200;

/// No list is longer.
const MAX_ROW: i64 = 1 << 53;

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub page: i64,
    /// 1 to [`MAX_PER_PAGE`].
    pub per_page: i64,
}

impl Page {
    /// Items before it.
    pub fn offset(self) -> i64 {
        (self.page - 1) * self.per_page
    }

    /// The page that a cursor leads to, with as many items as those before it.
    fn read(place: [u8; 16]) -> Option<Self> {
        let (page, per_page) = place.split_at(8);
        let page = i64::from_be_bytes(page.try_into().ok()?);
        let per_page = i64::from_be_bytes(per_page.try_into().ok()?);
        let sane =
            (1..=MAX_PER_PAGE).contains(&per_page) && (1..=MAX_ROW / per_page).contains(&page);
        sane.then_some(Self { page, per_page })
    }

    /// What leads to the page after this one.
    fn next(self) -> String {
        let place = [(self.page + 1).to_be_bytes(), self.per_page.to_be_bytes()];
        cursor::write(Mark::PAGES, &place.concat())
    }

    /// How many items, beginning after how many.
    pub fn bounds(self) -> (i64, i64) {
        (self.per_page, self.offset())
    }

    /// The answer with these items of `total`.
    pub fn of<T>(self, items: Vec<T>, total: i64) -> Listed<T> {
        let has_more = self.offset() + (items.len() as i64) < total && !items.is_empty();
        let next_cursor = has_more.then(|| self.next());
        if let Some(next) = &next_cursor {
            trace::note_next(next);
        }
        Listed {
            next_cursor,
            has_more,
            items,
            page: self.page,
            per_page: self.per_page,
            total,
            pages: (total + self.per_page - 1) / self.per_page,
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}List")]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// Number of this page, from 1.
    pub page: i64,
    /// Items on a full page.
    pub per_page: i64,
    /// Items on all pages.
    pub total: i64,
    /// Number of pages.
    pub pages: i64,
    /// Sent as `cursor`, it leads to the next page; null on the last one.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// The ids in the path, in their order. What is no id is not found.
#[derive(Debug, Clone, Copy)]
pub struct Ids<const N: usize>(pub [i64; N]);

/// The one id in the path.
#[derive(Debug, Clone, Copy)]
pub struct Id(pub i32);

async fn path_ids<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Vec<i64>, Problem> {
    let nothing = || Problem::not_found("page or object");
    let parameters = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| nothing())?;
    parameters
        .iter()
        .map(|(_, value)| {
            let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let id = digits.then(|| value.parse().ok()).flatten();
            id.ok_or_else(nothing)
        })
        .collect()
}

impl<S: Send + Sync, const N: usize> FromRequestParts<S> for Ids<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let ids = path_ids(parts, state).await?;
        let ids = ids.try_into().map_err(|_| Problem::internal())?;
        Ok(Self(ids))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ids([id]) = Ids::<1>::from_request_parts(parts, state).await?;
        let id = i32::try_from(id).map_err(|_| Problem::not_found("object"))?;
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Option<(i64, i64)> {
        let page = Query::parse(query).page(50).ok()?;
        Some((page.page, page.per_page))
    }

    #[test]
    fn pages_are_read_as_the_contract_has_it() {
        assert_eq!(page(""), Some((1, 50)));
        assert_eq!(page("page=3&per_page=10&page=4"), Some((3, 10)));
        assert_eq!(page("page=x&per_page=1.5"), Some((1, 50)));
        assert_eq!(page("page=-2&per_page=0"), Some((1, 20)));
        assert_eq!(page("per_page=100000"), Some((1, 200)));
        assert_eq!(page("page=99999999999999999999"), None);
        assert_eq!(page("page=-99999999999999999999"), Some((1, 50)));
        assert_eq!(page("page=9223372036854775807"), None);
    }

    #[test]
    fn a_number_of_pages_counts_the_last_one() {
        let page = Page {
            page: 1,
            per_page: 20,
        };
        assert_eq!(page.of(Vec::<()>::new(), 0).pages, 0);
        assert_eq!(page.of(Vec::<()>::new(), 20).pages, 1);
        assert_eq!(page.of(Vec::<()>::new(), 21).pages, 2);
    }

    #[test]
    fn ids_that_are_none_are_errors_or_ignored_and_ids_that_cannot_be_match_nothing() {
        let mut query = Query::parse("a=7&b=0&c=x&d=99999999999&e=");
        let ids = |query: &Query| ["a", "b", "c", "d", "e"].map(|name| query.id(name).ok());
        let (some, none) = (|id| Some(Some(id)), Some(None));
        assert_eq!(ids(&query), [some(7), None, None, some(-1), none]);
        query.drops_values = true;
        assert_eq!(ids(&query), [some(7), none, none, some(-1), none]);
    }
}
