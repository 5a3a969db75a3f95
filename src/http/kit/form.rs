//! What a request body may hold: one table per body, which checks bodies and describes them.
//!
//! The rules of conversion are those clients know: a string of digits passes for an integer, a number
//! with a fraction is cut, a number does not pass for a string, null passes only where it says something.
//! Pure: no I/O. A body that passed is normalised: every value has the JSON type its field declares.

use serde_json::{Map, Value, json};

/// The fields of an object.
#[derive(Debug)]
pub struct Form {
    /// Name of its schema in the API's document.
    pub name: &'static str,
    /// What it may hold.
    pub fields: &'static [Field],
    /// What becomes of others.
    pub unknown: Unknown,
    /// A change without any field is refused.
    pub at_least_one: bool,
}

/// What becomes of fields that a form does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Each is an error.
    Refuse,
    /// They are ignored.
    Drop,
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: &'static str,
    kind: Kind,
    required: bool,
    nullable: bool,
    /// JSON text of the value taken when the field is absent.
    default: Option<&'static str>,
    about: &'static str,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Characters, within a length, of a certain form.
    Text {
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
        /// Their form.
        rule: Rule,
    },
    /// A whole number within a range.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// True or false.
    Flag,
    /// An object with fields of its own.
    Object(&'static Form),
    /// A list of ids.
    Ids {
        /// Longest list.
        max: usize,
    },
    /// A list of objects.
    Objects {
        /// What each holds.
        form: &'static Form,
        /// Longest list.
        max: usize,
        /// The handler checks each of them, so that a wrong one does not spoil the others.
        one_by_one: bool,
    },
    /// A list of words.
    Words {
        /// Longest list.
        max: usize,
    },
    /// A point in time, RFC 3339; without offset it is UTC.
    Moment,
    /// Nothing: the field may not be there. The message says why.
    Refused(&'static str),
}

/// The form of a text.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// One line, not blank (unless it may be empty): no control characters.
    Line,
    /// Any text but NUL; line ends and tabs are fine.
    Lines,
    /// Anything without NUL, kept exactly: a password.
    Secret,
    /// A check with its name for the message and its pattern for the document.
    Check {
        /// What it must be, as in "must be …".
        expected: &'static str,
        /// JSON Schema `pattern` (ECMA 262) that says about the same.
        pattern: &'static str,
        /// The check.
        check: fn(&str) -> bool,
    },
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            required: false,
            nullable: false,
            default: None,
            about: "",
        }
    }

    /// One line of `min` to `max` characters.
    pub const fn line(name: &'static str, min: usize, max: usize) -> Self {
        Self::text(name, min, max, Rule::Line)
    }

    /// Text of `min` to `max` characters.
    pub const fn text(name: &'static str, min: usize, max: usize, rule: Rule) -> Self {
        Self::new(name, Kind::Text { min, max, rule })
    }

    /// A whole number.
    pub const fn integer(name: &'static str, min: i64, max: i64) -> Self {
        Self::new(name, Kind::Integer { min, max })
    }

    /// One of some words.
    pub const fn choice(name: &'static str, words: &'static [&'static str]) -> Self {
        Self::new(name, Kind::Choice(words))
    }

    /// True or false.
    pub const fn flag(name: &'static str) -> Self {
        Self::new(name, Kind::Flag)
    }

    /// An object.
    pub const fn object(name: &'static str, form: &'static Form) -> Self {
        Self::new(name, Kind::Object(form))
    }

    /// A list of at most `max` ids.
    pub const fn ids(name: &'static str, max: usize) -> Self {
        Self::new(name, Kind::Ids { max })
    }

    /// A list of at most `max` objects.
    pub const fn objects(name: &'static str, form: &'static Form, max: usize) -> Self {
        Self::new(
            name,
            Kind::Objects {
                form,
                max,
                one_by_one: false,
            },
        )
    }

    /// A list of 1 to `max` objects that the handler checks one by one.
    pub const fn rows(name: &'static str, form: &'static Form, max: usize) -> Self {
        Self::new(
            name,
            Kind::Objects {
                form,
                max,
                one_by_one: true,
            },
        )
    }

    /// A list of at most `max` words.
    pub const fn words(name: &'static str, max: usize) -> Self {
        Self::new(name, Kind::Words { max })
    }

    /// A point in time.
    pub const fn moment(name: &'static str) -> Self {
        Self::new(name, Kind::Moment)
    }

    /// A field that may not be there, though others that are not known may be.
    pub const fn refused(name: &'static str, why: &'static str) -> Self {
        Self::new(name, Kind::Refused(why))
    }

    /// Must be there.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// May be null.
    #[must_use]
    pub const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Taken when absent: JSON text.
    #[must_use]
    pub const fn default(mut self, json: &'static str) -> Self {
        self.default = Some(json);
        self
    }

    /// What it is for.
    #[must_use]
    pub const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }
}

/// Messages by field, nested as the body is.
pub type Errors = Map<String, Value>;

impl Form {
    /// Checks and normalises an object.
    pub fn read(&self, mut body: Map<String, Value>) -> Result<Map<String, Value>, Errors> {
        let mut read = Map::new();
        let mut errors = Errors::new();
        for field in self.fields {
            match body.remove(field.name) {
                None => match field.default {
                    Some(json) => {
                        let value = serde_json::from_str(json);
                        read.insert(field.name.into(), value.unwrap_or(Value::Null));
                    }
                    None if field.required => {
                        errors.insert(field.name.into(), json!(["Is required."]));
                    }
                    None => {}
                },
                Some(Value::Null) if field.nullable => {
                    read.insert(field.name.into(), Value::Null);
                }
                Some(Value::Null) if !matches!(field.kind, Kind::Refused(_)) => {
                    errors.insert(field.name.into(), json!(["May not be null."]));
                }
                Some(value) => match field.kind.read(value) {
                    Ok(value) => {
                        read.insert(field.name.into(), value);
                    }
                    Err(problem) => {
                        errors.insert(field.name.into(), problem);
                    }
                },
            }
        }
        if self.unknown == Unknown::Refuse {
            for name in body.keys().take(20) {
                errors.insert(
                    name.chars().take(100).collect(),
                    json!([format!("Is not known here. Known: {}.", self.names())]),
                );
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        if self.at_least_one && read.is_empty() {
            errors.insert(
                "_schema".into(),
                json!([format!(
                    "There is nothing to change. It may hold: {}.",
                    self.names()
                )]),
            );
            return Err(errors);
        }
        Ok(read)
    }

    /// Fields that it drops, with dots between the levels.
    pub fn dropped(&self, body: &Map<String, Value>) -> Vec<String> {
        let mut dropped = Vec::new();
        for (name, value) in body {
            match self.fields.iter().find(|field| field.name == name) {
                None if self.unknown == Unknown::Drop => dropped.push(name.clone()),
                Some(Field {
                    kind: Kind::Object(form),
                    ..
                }) => {
                    let inner = value.as_object().map(|object| form.dropped(object));
                    let inner = inner.unwrap_or_default().into_iter();
                    dropped.extend(inner.map(|inner| format!("{name}.{inner}")));
                }
                _ => {}
            }
        }
        dropped
    }

    /// What is told of fields that would be dropped, where they may not be.
    pub fn refusal(&self, dropped: &[String]) -> Errors {
        let message = json!([format!("Is not known here. Known: {}.", self.names())]);
        let names = dropped.iter().take(20);
        names
            .map(|name| (name.chars().take(100).collect(), message.clone()))
            .collect()
    }

    /// Checks and normalises one of many objects.
    pub fn read_one(&self, value: Value) -> Result<Map<String, Value>, Errors> {
        if let Value::Object(object) = value {
            self.read(object)
        } else {
            let mut errors = Errors::new();
            errors.insert("_schema".into(), json!(["Must be a JSON object."]));
            Err(errors)
        }
    }

    /// Checks and normalises a list of objects; what is wrong stands under the position, from 0.
    fn read_list(&self, list: Vec<Value>) -> Result<Value, Value> {
        let mut read = Vec::with_capacity(list.len());
        let mut errors = Errors::new();
        for (position, value) in list.into_iter().enumerate() {
            match self.read_one(value) {
                Ok(object) => read.push(Value::Object(object)),
                Err(wrong) if errors.len() < 20 => {
                    errors.insert(position.to_string(), Value::Object(wrong));
                }
                Err(_) => {}
            }
        }
        if errors.is_empty() {
            Ok(Value::Array(read))
        } else {
            Err(Value::Object(errors))
        }
    }

    fn names(&self) -> String {
        let known = self.fields.iter();
        let names: Vec<&str> = known
            .filter(|field| !matches!(field.kind, Kind::Refused(_)))
            .map(|field| field.name)
            .collect();
        names.join(", ")
    }

    /// Its JSON Schema.
    pub fn schema(&self) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in self.fields {
            if field.required {
                required.push(field.name);
            }
            properties.insert(field.name.into(), field.schema());
        }
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if self.unknown == Unknown::Refuse {
            schema["additionalProperties"] = json!(false);
        }
        if self.at_least_one {
            schema["minProperties"] = json!(1);
        }
        schema
    }
}

impl Field {
    fn schema(&self) -> Value {
        let mut schema = self.kind.schema();
        if self.nullable {
            if let Some(kind) = schema.get("type").cloned() {
                schema["type"] = json!([kind, "null"]);
            }
            if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
                words.push(Value::Null);
            }
        }
        if !self.about.is_empty() {
            schema["description"] = json!(self.about);
        }
        if let Some(default) = self.default {
            schema["default"] = serde_json::from_str(default).unwrap_or(Value::Null);
        }
        schema
    }
}

impl Kind {
    fn read(&self, value: Value) -> Result<Value, Value> {
        let wrong = |message: String| Err(json!([message]));
        match self {
            Self::Text { min, max, rule } => match value {
                Value::String(text) => match read_text(&text, *min, *max, *rule) {
                    Ok(()) => Ok(Value::String(text)),
                    Err(message) => wrong(message),
                },
                _ => wrong("Must be a string.".into()),
            },
            Self::Integer { min, max } => match whole_number(&value) {
                Some(number) if (i128::from(*min)..=i128::from(*max)).contains(&number) => {
                    Ok(json!(number as i64))
                }
                Some(_) => wrong(format!("Must be from {min} to {max}.")),
                None => wrong("Must be a whole number.".into()),
            },
            Self::Choice(words) => match value.as_str() {
                Some(word) if words.contains(&word) => Ok(value),
                _ => wrong(format!("Must be one of: {}.", words.join(", "))),
            },
            Self::Flag => match value {
                Value::Bool(_) => Ok(value),
                _ => wrong("Must be true or false.".into()),
            },
            Self::Object(form) => match value {
                Value::Object(object) => form
                    .read(object)
                    .map(Value::Object)
                    .map_err(Value::Object),
                _ => wrong("Must be an object.".into()),
            },
            Self::Ids { max } => match value {
                Value::Array(list) if list.len() <= *max => {
                    let ids: Option<Vec<Value>> = list
                        .iter()
                        .map(|id| {
                            let id = i32::try_from(whole_number(id)?).ok()?;
                            Some(json!(id))
                        })
                        .collect();
                    ids.map(Value::Array)
                        .ok_or_else(|| json!(["Must be a list of ids: whole numbers."]))
                }
                Value::Array(_) => wrong(format!("May hold {max} ids at most.")),
                _ => wrong("Must be a list of ids.".into()),
            },
            Self::Objects {
                form,
                max,
                one_by_one,
            } => match value {
                Value::Array(list) if list.len() > *max => {
                    wrong(format!("May hold {max} objects at most."))
                }
                Value::Array(list) if *one_by_one && list.is_empty() => {
                    wrong("Must hold one object at least.".into())
                }
                Value::Array(list) if *one_by_one => Ok(Value::Array(list)),
                Value::Array(list) => form.read_list(list),
                _ => wrong("Must be a list of objects.".into()),
            },
            Self::Words { max } => match &value {
                Value::Array(list)
                    if list.len() <= *max
                        && list.iter().all(|word| {
                            word.as_str().is_some_and(|w| {
                                (1..=100).contains(&w.len()) && !w.chars().any(char::is_control)
                            })
                        }) =>
                {
                    Ok(value)
                }
                _ => wrong(format!("Must be a list of at most {max} words.")),
            },
            Self::Refused(why) => wrong((*why).into()),
            Self::Moment => match value.as_str().and_then(parse_moment) {
                Some(moment) => Ok(json!(moment.to_string())),
                None => wrong(
                    "Must be a date and time such as 2026-01-31T12:00:00Z, between the years 1970 and 9999."
                        .into(),
                ),
            },
        }
    }

    fn schema(&self) -> Value {
        match self {
            Self::Text { min, max, rule } => {
                let mut schema = json!({ "type": "string", "maxLength": max });
                if *min > 0 {
                    schema["minLength"] = json!(min);
                }
                match rule {
                    Rule::Check { pattern, .. } => schema["pattern"] = json!(pattern),
                    Rule::Line if *min > 0 => {
                        schema["pattern"] = json!(
                            r"^[^\u0000-\u001F\u007F]*[^\s\u0000-\u001F\u007F][^\u0000-\u001F\u007F]*$"
                        );
                    }
                    Rule::Line => schema["pattern"] = json!(r"^[^\u0000-\u001F\u007F]*$"),
                    Rule::Lines | Rule::Secret => schema["pattern"] = json!(r"^[^\u0000]*$"),
                }
                schema
            }
            Self::Integer { min, max } => {
                json!({ "type": "integer", "minimum": min, "maximum": max })
            }
            Self::Choice(words) => json!({ "type": "string", "enum": words }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Object(form) => form.schema(),
            Self::Ids { max } => json!({
                "type": "array",
                "maxItems": max,
                "items": { "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX },
            }),
            Self::Objects {
                form,
                max,
                one_by_one,
            } => json!({
                "type": "array",
                "minItems": usize::from(*one_by_one),
                "maxItems": max,
                "items": form.schema(),
            }),
            Self::Words { max } => json!({
                "type": "array",
                "maxItems": max,
                "items": { "type": "string", "minLength": 1, "maxLength": 100 },
            }),
            Self::Moment => json!({ "type": "string", "format": "date-time" }),
            Self::Refused(why) => json!({ "not": {}, "description": why }),
        }
    }
}

fn read_text(text: &str, min: usize, max: usize, rule: Rule) -> Result<(), String> {
    let length = text.chars().count();
    if text.contains('\0') {
        return Err("May not hold a NUL character.".into());
    }
    if length < min {
        return Err(match min {
            1 => "May not be empty.".into(),
            min => format!("Must have at least {min} characters."),
        });
    }
    if length > max {
        return Err(format!("May have {max} characters at most, not {length}."));
    }
    match rule {
        Rule::Line if text.chars().any(char::is_control) => {
            Err("May not hold control characters or line ends.".into())
        }
        Rule::Line if min > 0 && text.trim().is_empty() => Err("May not be blank.".into()),
        Rule::Lines
            if text
                .chars()
                .any(|c| c.is_control() && !"\n\r\t".contains(c)) =>
        {
            Err("May not hold control characters other than line ends and tabs.".into())
        }
        Rule::Check {
            expected, check, ..
        } if !check(text) => Err(format!("Must be {expected}.")),
        Rule::Line | Rule::Lines | Rule::Secret | Rule::Check { .. } => Ok(()),
    }
}

/// A whole number, also from a string of digits; a fraction is cut.
fn whole_number(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .or_else(|| {
                let number = number.as_f64()?;
                (number.abs() < 1e30).then_some(number.trunc() as i128)
            }),
        Value::String(text) if text.len() <= 40 => text.trim().parse().ok(),
        _ => None,
    }
}

/// RFC 3339, a blank for the `T` allowed; UTC where no offset is given. Years that every column, and every
/// client, can hold.
pub fn parse_moment(text: &str) -> Option<jiff::Timestamp> {
    if text.len() > 64 {
        return None;
    }
    let moment: jiff::Timestamp = text.parse().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(zoned.timestamp())
    })?;
    let year = moment.to_zoned(jiff::tz::TimeZone::UTC).year();
    (1970..=9999).contains(&year).then_some(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    static INNER: Form = Form {
        name: "Inner",
        fields: &[Field::line("contact", 1, 10).required()],
        unknown: Unknown::Drop,
        at_least_one: false,
    };
    static FORM: Form = Form {
        name: "Outer",
        fields: &[
            Field::line("name", 1, 5).required(),
            Field::integer("weight", 1, 100),
            Field::choice("status", &["on", "off"]).default("\"on\""),
            Field::text("notes", 0, 20, Rule::Lines).nullable(),
            Field::object("inner", &INNER),
            Field::ids("ids", 2),
            Field::moment("at"),
            Field::flag("loud"),
        ],
        unknown: Unknown::Refuse,
        at_least_one: false,
    };

    fn read(body: Value) -> Result<Value, Value> {
        let Value::Object(body) = body else {
            panic!("an object")
        };
        FORM.read(body).map(Value::Object).map_err(Value::Object)
    }

    #[test]
    fn values_are_converted_as_clients_know_it() {
        let body =
            json!({"name": "a b", "weight": " 10 ", "ids": [1, "2"], "notes": null, "loud": true});
        assert_eq!(
            read(body).expect("valid"),
            json!({"name": "a b", "weight": 10, "ids": [1, 2], "notes": null, "status": "on", "loud": true})
        );
        assert_eq!(
            read(json!({"name": "a", "weight": 10.7})).expect("valid")["weight"],
            10
        );
        assert_eq!(
            read(json!({"name": "a", "at": "2026-01-31 12:00:00"})).expect("valid")["at"],
            "2026-01-31T12:00:00Z"
        );
    }

    #[test]
    fn each_wrong_field_is_named_where_it_stands() {
        let errors = read(json!({
            "weight": "10.5", "status": "so", "notes": 7, "inner": {"contact": ""}, "ids": [1, 2, 3],
            "at": "yesterday", "other": 1,
        }))
        .expect_err("all wrong");
        for field in ["name", "weight", "status", "notes", "ids", "at", "other"] {
            assert!(errors[field][0].is_string(), "{field}: {errors}");
        }
        assert!(errors["inner"]["contact"][0].is_string());
    }

    #[test]
    fn nothing_beyond_a_column_passes() {
        for body in [
            json!({"name": "abcdef"}),
            json!({"name": " "}),
            json!({"name": "a\u{0}"}),
            json!({"name": "a\n"}),
            json!({"name": "a", "weight": 101}),
            json!({"name": "a", "weight": 1e300}),
            json!({"name": "a", "weight": u64::MAX}),
            json!({"name": "a", "weight": true}),
            json!({"name": "a", "weight": null}),
            json!({"name": "a", "ids": [2_147_483_648_u64]}),
            json!({"name": "a", "at": "0001-01-01T00:00:00Z"}),
            json!({"name": "a", "at": 1_700_000_000}),
            json!({"name": "a", "loud": "true"}),
            json!({"name": "a", "loud": 1}),
        ] {
            assert!(read(body.clone()).is_err(), "{body}");
        }
    }
}
