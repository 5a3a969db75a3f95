//! User accounts.

use jiff::Timestamp;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::Store;
use super::request::Reach;
use super::rows::reader;
use super::sql::Sql;
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::store::sql::statements! { "api/users";
        CREDENTIALS = "credentials",
        ONE = "one",
    }
}

/// A new account.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// 3 to 80 characters.
    pub username: &'a str,
    /// At most 120 characters.
    pub email: &'a str,
    /// PHC string.
    pub password_hash: &'a str,
    /// `admin`, `staff` or `user`.
    pub role: &'a str,
}

/// Why an account could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has it.
    #[error("the {0} is taken by another user")]
    Taken(&'static str),
    /// The database answered with an error.
    #[error("cannot store the user")]
    Database(#[source] tokio_postgres::Error),
}

/// Makes an active account and returns its id.
pub async fn create(client: &Client, user: &NewUser<'_>) -> Result<i32, Error> {
    let row = client
        .query_one(
            "insert into users (username, email, password_hash, role, status)
             values ($1, $2, $3, $4, 'active') returning id",
            &[&user.username, &user.email, &user.password_hash, &user.role],
        )
        .await;
    row.map(|row| row.get("id")).map_err(|error| {
        let violated = error
            .as_db_error()
            .filter(|e| *e.code() == SqlState::UNIQUE_VIOLATION)
            .and_then(|e| e.constraint());
        match violated {
            Some("users_username_key") => Error::Taken("username"),
            Some("users_email_key") => Error::Taken("email"),
            _ => Error::Database(error),
        }
    })
}

/// An account, without its secret.
#[derive(Debug, Clone)]
pub struct UserRow {
    /// Its id.
    pub id: UserId,
    /// Name to log in with.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// `admin`, `staff` or `user`.
    pub role: String,
    /// `active`, `inactive`, `pending_approval` or `suspended`.
    pub status: String,
    /// Name of the person.
    pub full_name: Option<String>,
    /// Name of the company.
    pub company_name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// An account with its secret.
pub struct Credentials {
    /// The account.
    pub user: UserRow,
    /// Hash of its password.
    pub password_hash: String,
}

impl UserRow {
    pub(super) fn from_row(sql: Sql, row: &Row) -> Result<Self, super::Error> {
        let get = reader(sql, row);
        Ok(Self {
            id: UserId(get.column("id")?),
            username: get.column("username")?,
            email: get.column("email")?,
            role: get.column("role")?,
            status: get.column("status")?,
            full_name: get.column("full_name")?,
            company_name: get.column("company_name")?,
            created_at: get.column("created_at")?,
            updated_at: get.column("updated_at")?,
        })
    }
}

impl Store {
    /// The account with a name, with its secret.
    pub async fn credentials(&self, username: &str) -> Result<Option<Credentials>, super::Error> {
        let rows = self
            .once(Reach::Everything, sql::CREDENTIALS, &[&username])
            .await?;
        rows.first()
            .map(|row| {
                Ok(Credentials {
                    user: UserRow::from_row(sql::CREDENTIALS, row)?,
                    password_hash: reader(sql::CREDENTIALS, row).column("password_hash")?,
                })
            })
            .transpose()
    }

    /// An account.
    pub async fn user(&self, reach: Reach, id: UserId) -> Result<Option<UserRow>, super::Error> {
        let rows = self.once(reach, sql::ONE, &[&id.0]).await?;
        let row = rows.first();
        row.map(|row| UserRow::from_row(sql::ONE, row)).transpose()
    }
}
