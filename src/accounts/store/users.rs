//! User accounts.

use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::db::Store;
use crate::db::request::{self, Reach, Request};
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "accounts/sql/users";
        CALLERS_SHOWN = "callers_shown",
        COUNT = "count",
        CREATE = "create",
        CREDENTIALS = "credentials",
        DELETE = "delete",
        LIST = "list",
        LOCK = "lock",
        LOCK_ALL = "lock_all",
        ONE = "one",
        OTHER_ADMINS = "other_admins",
        SET_PASSWORD = "set_password",
        TAKEN = "taken",
        UPDATE = "update",
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
    /// `active`, `inactive`, `pending_approval` or `suspended`.
    pub status: &'a str,
    /// Name of the person.
    pub full_name: Option<&'a str>,
    /// Name of the company.
    pub company_name: Option<&'a str>,
    /// The password is for one log-in only.
    pub must_change_password: bool,
}

impl NewUser<'_> {
    fn parameters(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.username,
            &self.email,
            &self.password_hash,
            &self.role,
            &self.status,
            &self.full_name,
            &self.company_name,
            &self.must_change_password,
        ]
    }
}

/// A change of an account; what is `None` stays.
#[derive(Debug)]
pub struct UserChange<'a> {
    /// New address.
    pub email: Option<&'a str>,
    /// New role.
    pub role: Option<&'a str>,
    /// New status.
    pub status: Option<&'a str>,
    /// New name of the person, which may be none.
    pub full_name: Option<Option<&'a str>>,
    /// New name of the company, which may be none.
    pub company_name: Option<Option<&'a str>>,
    /// Whether it sees callers' numbers and names.
    pub callers_shown: Option<bool>,
}

/// What of an account somebody else has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The name.
    Username,
    /// The e-mail address.
    Email,
}

impl Taken {
    fn from_row(sql: Sql, row: &Row) -> Result<Option<Self>, crate::db::Error> {
        let get = reader(sql, row);
        Ok(if get.column("username_taken")? {
            Some(Self::Username)
        } else {
            get.column::<bool>("email_taken")?.then_some(Self::Email)
        })
    }
}

/// Why an account could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has it, perhaps written with other capitals.
    #[error("the {0} is taken by another user")]
    Taken(&'static str),
    /// The database answered with an error.
    #[error("cannot store the user")]
    Database(#[source] tokio_postgres::Error),
    /// The database answered with something else than was asked.
    #[error("cannot store the user")]
    Store(#[from] crate::db::Error),
}

/// Makes an account, as the owner of the schema, and returns its id.
pub async fn create(client: &mut Client, user: &NewUser<'_>) -> Result<i32, Error> {
    let transaction = client.transaction().await.map_err(Error::Database)?;
    let alone = transaction.query(sql::LOCK_ALL.text, &[]).await;
    alone.map_err(Error::Database)?;
    let row = transaction
        .query_one(
            sql::TAKEN.text,
            &[&user.username, &user.email, &None::<i32>],
        )
        .await;
    match Taken::from_row(sql::TAKEN, &row.map_err(Error::Database)?)? {
        Some(Taken::Username) => return Err(Error::Taken("username")),
        Some(Taken::Email) => return Err(Error::Taken("email")),
        None => {}
    }
    let made = transaction
        .query_one(sql::CREATE.text, &user.parameters())
        .await;
    let id = UserRow::from_row(sql::CREATE, &made.map_err(Error::Database)?)?.id;
    let shown = serde_json::json!({
        "id": id.0, "username": user.username, "email": user.email, "role": user.role, "status": user.status,
    });
    let none = None::<&str>;
    let noted = transaction
        .query(
            request::sql::NOTE.text,
            &[
                &None::<i32>,
                &"command line",
                &"cli",
                &(user.role == "user").then_some(id.0),
                &"create",
                &"user",
                &id.0.to_string(),
                &None::<serde_json::Value>,
                &Some(shown),
                &none,
                &none,
                &none,
            ],
        )
        .await;
    noted.map_err(Error::Database)?;
    transaction.commit().await.map_err(Error::Database)?;
    Ok(id.0)
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
    /// It sees callers' numbers and names.
    pub callers_shown: bool,
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
    /// That password is for one log-in only.
    pub must_change_password: bool,
    /// It has a second factor.
    pub has_factor: bool,
}

impl UserRow {
    pub(crate) fn from_row(sql: Sql, row: &Row) -> Result<Self, crate::db::Error> {
        let get = reader(sql, row);
        Ok(Self {
            id: UserId(get.column("id")?),
            username: get.column("username")?,
            email: get.column("email")?,
            role: get.column("role")?,
            status: get.column("status")?,
            full_name: get.column("full_name")?,
            company_name: get.column("company_name")?,
            callers_shown: get.column("callers_shown")?,
            created_at: get.column("created_at")?,
            updated_at: get.column("updated_at")?,
        })
    }
}

impl Store {
    /// The account with a name, with its secret.
    pub async fn credentials(
        &self,
        username: &str,
    ) -> Result<Option<Credentials>, crate::db::Error> {
        let rows = self
            .authenticate_once(sql::CREDENTIALS, &[&username])
            .await?;
        rows.first()
            .map(|row| {
                let get = reader(sql::CREDENTIALS, row);
                Ok(Credentials {
                    user: UserRow::from_row(sql::CREDENTIALS, row)?,
                    password_hash: get.column("password_hash")?,
                    must_change_password: get.column("must_change_password")?,
                    has_factor: get.column("has_factor")?,
                })
            })
            .transpose()
    }

    /// Whether an account sees callers' numbers and names. One that is gone does not.
    pub async fn callers_shown(&self, reach: Reach, id: UserId) -> Result<bool, crate::db::Error> {
        let rows = self.once(reach, sql::CALLERS_SHOWN, &[&id.0]).await?;
        let read = |row| reader(sql::CALLERS_SHOWN, row).column("callers_shown");
        Ok(rows.first().map(read).transpose()?.unwrap_or(false))
    }

    /// An account.
    pub async fn user(
        &self,
        reach: Reach,
        id: UserId,
    ) -> Result<Option<UserRow>, crate::db::Error> {
        let rows = self.once(reach, sql::ONE, &[&id.0]).await?;
        let row = rows.first();
        row.map(|row| UserRow::from_row(sql::ONE, row)).transpose()
    }
}

/// Which accounts are listed; what is `None` does not matter.
#[derive(Debug, Default)]
pub struct UserFilter<'a> {
    /// Those with this role.
    pub role: Option<&'a str>,
    /// Those of this status.
    pub status: Option<&'a str>,
    /// Those with this text in names, company or e-mail address.
    pub text: Option<&'a str>,
}

impl Store {
    /// A part of the accounts in an order (`username`, `createdAt`, `updatedAt`; with a minus the other way round), and
    /// how many there are.
    pub async fn users(
        &self,
        filter: &UserFilter<'_>,
        sort: &str,
        (limit, offset): (i64, i64),
    ) -> Result<(Vec<UserRow>, i64), crate::db::Error> {
        let reach = Reach::Everything;
        let UserFilter { role, status, text } = filter;
        let counted = self
            .once_planned(reach, sql::COUNT, &[role, status, text])
            .await?;
        let total = counted.first().map_or(0, |row| row.get("total"));
        let rows = self
            .once_planned(
                reach,
                sql::LIST,
                &[role, status, text, &sort, &limit, &offset],
            )
            .await?;
        let users = rows.iter().map(|row| UserRow::from_row(sql::LIST, row));
        Ok((users.collect::<Result<_, _>>()?, total))
    }
}

impl Request {
    /// Waits until nobody else changes accounts; from then on what is true of all of them together stays true
    /// until the end of the transaction.
    pub async fn lock_users(&self) -> Result<(), crate::db::Error> {
        self.rows(sql::LOCK_ALL, &[]).await?;
        Ok(())
    }

    /// An account, which nobody else changes until the end of the transaction.
    pub async fn lock_user(&self, id: UserId) -> Result<Option<UserRow>, crate::db::Error> {
        let row = self.row(sql::LOCK, &[&id.0]).await?;
        row.map(|row| UserRow::from_row(sql::LOCK, &row))
            .transpose()
    }

    /// What of a name and an e-mail address another account than `but` has, in whatever case.
    pub async fn taken(
        &self,
        username: Option<&str>,
        email: Option<&str>,
        but: Option<UserId>,
    ) -> Result<Option<Taken>, crate::db::Error> {
        let row = self
            .one(sql::TAKEN, &[&username, &email, &but.map(|id| id.0)])
            .await?;
        Taken::from_row(sql::TAKEN, &row)
    }

    /// How many active administrators there are beside this account.
    pub async fn other_active_admins(&self, than: UserId) -> Result<i64, crate::db::Error> {
        let row = self.one(sql::OTHER_ADMINS, &[&than.0]).await?;
        reader(sql::OTHER_ADMINS, &row).column("others")
    }

    /// Makes an account.
    pub async fn create_user(&self, user: &NewUser<'_>) -> Result<UserRow, crate::db::Error> {
        let row = self.one(sql::CREATE, &user.parameters()).await?;
        UserRow::from_row(sql::CREATE, &row)
    }

    /// Changes an account that was locked.
    pub async fn update_user(
        &self,
        id: UserId,
        change: &UserChange<'_>,
    ) -> Result<UserRow, crate::db::Error> {
        let row = self
            .one(
                sql::UPDATE,
                &[
                    &id.0,
                    &change.email,
                    &change.role,
                    &change.status,
                    &change.full_name.is_some(),
                    &change.full_name.flatten(),
                    &change.company_name.is_some(),
                    &change.company_name.flatten(),
                    &change.callers_shown,
                ],
            )
            .await?;
        UserRow::from_row(sql::UPDATE, &row)
    }

    /// Gives an account that was locked another password, which may be for one log-in only.
    pub async fn set_password(
        &self,
        id: UserId,
        hash: &str,
        must_change: bool,
    ) -> Result<(), crate::db::Error> {
        self.rows(sql::SET_PASSWORD, &[&id.0, &hash, &must_change])
            .await?;
        Ok(())
    }

    /// Deletes an account that was locked, with all that is its own.
    pub async fn delete_user(&self, id: UserId) -> Result<(), crate::db::Error> {
        self.rows(sql::DELETE, &[&id.0]).await?;
        Ok(())
    }
}
