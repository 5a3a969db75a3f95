//! References of call records to rows that were deleted: cleared afterwards, a few at a time.
//!
//! A delete clears the first few itself and leaves a note of the row; until the rest is cleared it leads nowhere and
//! nobody sees it. Invariant: a note goes only when no record refers to its row and none can come.

use super::sql;
use crate::db::rows::reader;
use crate::db::{Error, Store};

/// Notes looked at in one go.
const NOTES: i64 = 500;

/// Records cleared by one statement, so that none holds its locks for long.
const BATCH: u32 = 2_000;

impl Store {
    /// Clears references to deleted rows, `at_most` so many; returns how many. What is left, the next one clears.
    pub async fn clear_deleted_references(&self, at_most: u32) -> Result<u64, Error> {
        let client = self.for_background().await?;
        let notes = crate::db::pool::rows(&client, sql::DELETED_REFERENCES, &[&NOTES]).await?;
        let mut room = at_most;
        let mut batch = BATCH;
        for note in notes {
            let get = reader(sql::DELETED_REFERENCES, &note);
            let (column, id): (String, i32) = (get.column("column_name")?, get.column("id")?);
            loop {
                let few = batch.min(room);
                if few == 0 {
                    return Ok(u64::from(at_most));
                }
                let few_i32 = i32::try_from(few).unwrap_or(i32::MAX);
                let parameters: crate::db::transaction::Parameters = &[&column, &id, &few_i32];
                let cleared =
                    crate::db::pool::rows(&client, sql::CLEAR_REFERENCES, parameters).await;
                let cleared: i32 = match cleared {
                    Ok(rows) => rows.first().map_or(0, |row| row.get("cleared")),
                    // A slow disk: fewer at once, while there is anything to halve.
                    Err(error) if error.is_overload() && batch > 50 => {
                        batch /= 4;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                room -= cleared.unsigned_abs().min(room);
                if cleared == 0 {
                    crate::db::pool::rows(&client, sql::FORGET_DELETED, &[&column, &id]).await?;
                    break;
                }
            }
        }
        Ok(u64::from(at_most - room))
    }
}
