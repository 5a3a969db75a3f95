//! User accounts, as far as the command line makes them.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

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
