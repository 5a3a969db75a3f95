//! Answers kept for requests that are sent again.

use std::time::Duration;

use jiff::Timestamp;

use crate::db::request::Reach;
use crate::db::rows::reader;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "http/kit/sql/idempotency";
        BEGIN = "begin",
        FORGET = "forget",
        FORGET_BEYOND = "forget_beyond",
        FREE = "free",
        KEEP = "keep",
        LOOK = "look",
    }
}

/// So long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Answers kept of one account; of more the oldest are forgotten.
pub const MOST_KEPT: i64 = 10_000;

/// A request that has been at work for so long died with its daemon. Longer than any request may take.
pub const DEAD: Duration = Duration::from_secs(60);

/// A key of an account.
#[derive(Debug, Clone)]
pub struct Key {
    /// Whose.
    pub user_id: UserId,
    /// SHA-256 of the key, in hex.
    pub hash: String,
    /// Hash of the request that came with it.
    pub request_hash: [u8; 32],
}

/// An answer.
#[derive(Debug)]
pub struct Kept {
    /// Its status.
    pub status: i32,
    /// Headers that belong to it.
    pub headers: serde_json::Value,
    /// Its body.
    pub body: Vec<u8>,
}

/// What is known of a key.
#[derive(Debug)]
pub enum Begun {
    /// Nothing: the request is to be carried out. Names this attempt.
    Fresh(Timestamp),
    /// The same request was answered.
    Answered(Kept),
    /// The same request is at work.
    AtWork,
    /// It came with another request.
    Other,
}

impl Store {
    /// Takes a key for a request, or says why not.
    pub async fn begin_idempotent(&self, key: &Key) -> Result<Begun, Error> {
        let parameters: crate::db::transaction::Parameters<'_> = &[
            &key.user_id.0,
            &key.hash,
            &&key.request_hash[..],
            &KEPT.as_secs_f64(),
            &DEAD.as_secs_f64(),
        ];
        let rows = self.once(Reach::Everything, sql::BEGIN, parameters).await?;
        if let Some(row) = rows.first() {
            return Ok(Begun::Fresh(reader(sql::BEGIN, row).column("created_at")?));
        }
        let rows = self
            .once(Reach::Everything, sql::LOOK, &parameters[..3])
            .await?;
        // It was freed meanwhile: the next attempt finds it so.
        let Some(row) = rows.first() else {
            return Ok(Begun::AtWork);
        };
        let get = reader(sql::LOOK, row);
        if !get.column::<bool>("same")? {
            return Ok(Begun::Other);
        }
        let Some(status) = get.column::<Option<i32>>("status")? else {
            return Ok(Begun::AtWork);
        };
        Ok(Begun::Answered(Kept {
            status,
            headers: get
                .column::<Option<serde_json::Value>>("headers")?
                .unwrap_or_default(),
            body: get.column::<Option<Vec<u8>>>("body")?.unwrap_or_default(),
        }))
    }

    /// Keeps the answer of an attempt.
    pub async fn keep_answer(
        &self,
        key: &Key,
        attempt: Timestamp,
        answer: &Kept,
    ) -> Result<(), Error> {
        self.once(
            Reach::Everything,
            sql::KEEP,
            &[
                &key.user_id.0,
                &key.hash,
                &attempt,
                &answer.status,
                &answer.headers,
                &answer.body,
            ],
        )
        .await?;
        Ok(())
    }

    /// Frees the key of an attempt that came to nothing.
    pub async fn free_key(&self, key: &Key, attempt: Timestamp) -> Result<(), Error> {
        self.once(
            Reach::Everything,
            sql::FREE,
            &[&key.user_id.0, &key.hash, &attempt],
        )
        .await?;
        Ok(())
    }
}
