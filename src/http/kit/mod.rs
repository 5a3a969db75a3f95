//! What operations of the API are made of: the table of operations, forms, queries, answers, problems, limits.
//!
//! It knows no capability: who asks is a [`principal::Caller`], whatever found that out.

pub mod accept;
pub mod address;
pub mod body;
pub mod code;
pub mod compression;
pub mod cors;
pub mod cursor;
pub mod etag;
pub mod examples;
pub mod form;
pub mod gates;
pub mod idempotency;
pub mod ignored;
pub mod limits;
pub mod moment;
pub mod openapi;
pub mod operation;
pub mod period;
pub mod principal;
pub mod problem;
pub mod query;
pub mod range;
pub mod recent;
pub mod responses;
pub mod scope;
pub mod store;
pub mod streams;
pub mod trace;
pub mod words;
pub mod zone;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// A sentence and nothing else.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Message {
    /// The sentence.
    pub message: String,
}

impl Message {
    /// A sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// What the audit log keeps of a thing: what the API shows of it.
pub fn shown(thing: &impl Serialize) -> Option<Value> {
    serde_json::to_value(thing).ok()
}
