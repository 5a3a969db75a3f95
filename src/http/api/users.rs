//! Accounts, as administrators see them.

use schemars::JsonSchema;
use serde::Serialize;

use super::moment::Moment;
use super::operation::Operation;
use crate::store::users::UserRow;

/// The operations on accounts.
pub fn operations() -> Vec<Operation> {
    Vec::new()
}

/// An account.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    id: i32,
    username: String,
    email: String,
    role: String,
    status: String,
    full_name: Option<String>,
    company_name: Option<String>,
    created_at: Moment,
    updated_at: Moment,
}

impl User {
    /// As the API shows it.
    pub fn of(row: UserRow) -> Self {
        Self {
            id: row.id.0,
            username: row.username,
            email: row.email,
            role: row.role,
            status: row.status,
            full_name: row.full_name,
            company_name: row.company_name,
            created_at: Moment(row.created_at),
            updated_at: Moment(row.updated_at),
        }
    }
}
