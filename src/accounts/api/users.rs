//! Accounts, as administrators manage them.
//!
//! Invariants: there is always an active administrator, and no account made here has a name or an e-mail address that
//! differs from another's in case only. Both are about all accounts together, so changes wait for each other.

#![allow(
    clippy::option_option,
    reason = "in a change, absent, null and a value are three things"
)]

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::auth::{confirm_password, refuse_weak};
use super::recovery::take_access;
use crate::accounts::password;
use crate::accounts::security::{Kind, of_caller};
use crate::accounts::store::users::{NewUser, Taken, UserChange, UserFilter, UserRow};
use crate::db::request::{Change, Request};
use crate::domain::account::{EMAIL_MAX, is_email, is_of_erased, is_username};
use crate::domain::{Role, UserId};
use crate::http::api::Api;
use crate::http::kit::body::{Input, given};
use crate::http::kit::code::Code;
use crate::http::kit::etag::{Tag, Tagged, created_below};
use crate::http::kit::form::{Field, Form, Rule, Unknown};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Id, Listed, PAGING, Parameter, ParameterKind, Query, parameter};
use crate::http::kit::{Message, shown, words};

/// The operations on accounts.
pub fn operations() -> Vec<Operation> {
    const ALL: &str = "/api/admin/users";
    const ONE: &str = "/api/admin/users/{id}";
    let operations = vec![
        Operation::get(ALL, "listUsers", list)
            .tagged("users", "List accounts")
            .query(&PAGING)
            .query(&FILTERS)
            .answers::<Listed<User>>(200, "Accounts, by name unless sorted otherwise.")
            .problems(&[400]),
        Operation::post(ALL, "createUser", create)
            .tagged("users", "Add an account")
            .about(
                "Names and e-mail addresses that differ from another account's in case only are taken. An API key, or a \
                 session that has not just logged in, makes sellers only.",
            )
            .body(&NEW_USER)
            .example(
                r#"{"username": "seller_carol", "email": "carol@leads.example", "password": "a long password", "role": "user"}"#,
            )
            .answers::<User>(201, "The new account.")
            .problems(&[403, 409]),
        Operation::get(ONE, "getUser", read)
            .tagged("users", "Read an account")
            .answers::<User>(200, "The account."),
        Operation::put(ONE, "updateUser", update)
            .tagged("users", "Change an account")
            .about(
                "The name cannot be changed; the password has an address of its own. Another role, or a status other \
                 than active, ends the account's sessions and revokes its API keys for good. Another role needs a session \
                 that has just logged in (403 `fresh_login_required`). The last active administrator stays one.",
            )
            .body(&USER_CHANGE)
            .example(r#"{"status": "suspended"}"#)
            .answers::<User>(200, "The changed account.")
            .problems(&[403, 409, 412]),
        Operation::put("/api/admin/users/{id}/password", "setUserPassword", set_password)
            .tagged("users", "Set an account's password")
            .about(
                "Ends all sessions of the account and revokes its API keys. With `mustChangePassword` the password is for \
                 one log-in, which can do nothing but change it. For your own account `currentPassword` is needed; PUT \
                 /api/auth/password is the usual way, and keeps your keys.",
            )
            .fresh()
            .body(&NEW_PASSWORD)
            .example(r#"{"password": "another long password"}"#)
            .answers::<Message>(200, "The password is changed.")
            .problems(&[403, 409, 412]),
        Operation::delete(ONE, "deleteUser", delete)
            .tagged("users", "Delete an account")
            .about(
                "Deletes its DIDs, campaigns, links, sessions and API keys with it. Calls stay in the log, and clients \
                 it made stay, without its name. Your own account and the last active administrator cannot be deleted.",
            )
            .answers_nothing(204, "It is gone.")
            .problems(&[403, 412]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::Admin))
        .collect()
}

const ROLES: &[&str] = &["admin", "staff", "user"];
const STATUSES: &[&str] = &["active", "inactive", "pending_approval", "suspended"];

const USERNAME: Rule = Rule::Check {
    expected: "a name: letters A to Z, digits and . _ -, beginning with a letter or digit, not with `erased-`",
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$",
    check: is_username,
};

const EMAIL: Field = Field::text(
    "email",
    3,
    EMAIL_MAX,
    Rule::Check {
        expected: "an e-mail address, such as alice@leads.example",
        pattern: r"^[^\s@,;<>]{1,64}@[^\s@.,;<>]{1,63}(\.[^\s@.,;<>]{1,63})+$",
        check: is_email,
    },
);
const PASSWORD: Field = Field::text("password", 8, 1_000, Rule::Secret);
const FULL_NAME: Field = Field::line("fullName", 0, 100).nullable();
const COMPANY_NAME: Field = Field::line("companyName", 0, 100).nullable();

const MUST_CHANGE: Field = Field::flag("mustChangePassword")
    .default("false")
    .about("The password is for one log-in, and must be changed there.");
const SORTS: &[&str] = &[
    "username",
    "-username",
    "createdAt",
    "-createdAt",
    "updatedAt",
    "-updatedAt",
];

const FILTERS: [Parameter; 4] = [
    parameter(
        "role",
        ParameterKind::Choice(ROLES),
        "Only accounts with this role.",
    ),
    parameter(
        "status",
        ParameterKind::Choice(STATUSES),
        "Only accounts of this status.",
    ),
    parameter(
        "q",
        ParameterKind::Text,
        "Only accounts with this text in their names, company or e-mail address, at most 100 characters.",
    ),
    parameter(
        "sort",
        ParameterKind::Choice(SORTS),
        "The order; with a minus the other way round. By name unless given.",
    ),
];

static NEW_USER: Form = Form {
    name: "NewUser",
    fields: &[
        Field::text("username", 3, 80, USERNAME).required(),
        EMAIL.required(),
        PASSWORD.required(),
        Field::choice("role", ROLES).required(),
        Field::choice("status", STATUSES).default("\"active\""),
        FULL_NAME,
        COMPANY_NAME,
        MUST_CHANGE,
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static USER_CHANGE: Form = Form {
    name: "UserChange",
    fields: &[
        EMAIL,
        Field::choice("role", ROLES),
        Field::choice("status", STATUSES),
        FULL_NAME,
        COMPANY_NAME,
        Field::flag("callersShown").about(
            "Whether it sees callers' numbers and names. Without, it is shown `+141•••01` and no name, and finds \
             callers by the whole number only.",
        ),
    ],
    unknown: Unknown::Drop,
    at_least_one: true,
};

static NEW_PASSWORD: Form = Form {
    name: "NewPassword",
    fields: &[
        PASSWORD.required(),
        MUST_CHANGE,
        Field::text("currentPassword", 0, 1_000, Rule::Secret)
            .nullable()
            .about("Yours, where the account is your own."),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenUser {
    username: String,
    email: String,
    password: String,
    role: String,
    status: String,
    full_name: Option<String>,
    company_name: Option<String>,
    must_change_password: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangedUser {
    email: Option<String>,
    role: Option<String>,
    status: Option<String>,
    #[serde(default, deserialize_with = "given")]
    full_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    company_name: Option<Option<String>>,
    callers_shown: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewPassword {
    password: String,
    must_change_password: bool,
    current_password: Option<String>,
}

/// An account.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    id: i32,
    username: String,
    email: String,
    #[schemars(with = "words::Role")]
    role: String,
    #[schemars(with = "words::AccountStatus")]
    status: String,
    full_name: Option<String>,
    company_name: Option<String>,
    /// It sees callers' numbers and names.
    callers_shown: bool,
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
            callers_shown: row.callers_shown,
            created_at: Moment(row.created_at),
            updated_at: Moment(row.updated_at),
        }
    }

    fn tag(&self) -> Tag {
        Tag::of(&[i64::from(self.id), self.updated_at.0.as_microsecond()])
    }

    fn is_active_admin(&self) -> bool {
        self.role == "admin" && self.status == "active"
    }
}

async fn list(State(api): State<Api>, query: Query) -> Result<Json<Listed<User>>, Problem> {
    let page = query.page(20)?;
    let filter = UserFilter {
        role: query.choice("role", ROLES)?,
        status: query.choice("status", STATUSES)?,
        text: query.checked("q", 100)?,
    };
    let sort = query.choice("sort", SORTS)?.unwrap_or("username");
    let (users, total) = api.store.users(&filter, sort, page.bounds()).await?;
    Ok(Json(
        page.of(users.into_iter().map(User::of).collect(), total),
    ))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    Input(new): Input<GivenUser>,
) -> Result<Response, Problem> {
    if new.role != Role::User.as_str() {
        // Else a key, or a stolen cookie, would make itself an administrator.
        caller.check_fresh()?;
    }
    refuse_weak(&api, "password", &new.password, (&new.username, &new.email))?;
    let hash = hashed(new.password).await?;
    let request = api.store.request(caller.reach()).await?;
    request.lock_users().await?;
    refuse_taken(&request, Some(&new.username), Some(&new.email), None).await?;
    let row = request
        .create_user(&NewUser {
            username: &new.username,
            email: &new.email,
            password_hash: &hash,
            role: &new.role,
            status: &new.status,
            full_name: new.full_name.as_deref(),
            company_name: new.company_name.as_deref(),
            must_change_password: new.must_change_password,
        })
        .await?;
    let user = User::of(row);
    note(&request, &caller, "create", None, Some(&user)).await?;
    request.commit().await?;
    Ok(created_below(user.id, Tagged(user.tag(), user)))
}

async fn read(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<Tagged<User>, Problem> {
    let row = api.store.user(caller.reach(), UserId(id)).await?;
    let user = User::of(row.ok_or_else(|| Problem::not_found("user"))?);
    Ok(Tagged(user.tag(), user))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(change): Input<ChangedUser>,
) -> Result<Tagged<User>, Problem> {
    let id = UserId(id);
    let request = api.store.request(caller.reach()).await?;
    let before = lock(&request, id, &headers).await?;
    if change
        .role
        .as_ref()
        .is_some_and(|role| *role != before.role)
    {
        caller.check_fresh()?;
    }
    let email = change.email.as_deref();
    if email.is_some_and(|email| email != before.email) {
        refuse_taken(&request, None, email, Some(id)).await?;
    }
    let row = request
        .update_user(
            id,
            &UserChange {
                email,
                role: change.role.as_deref(),
                status: change.status.as_deref(),
                full_name: change.full_name.as_ref().map(Option::as_deref),
                company_name: change.company_name.as_ref().map(Option::as_deref),
                callers_shown: change.callers_shown,
            },
        )
        .await?;
    let user = User::of(row);
    if before.is_active_admin() && !user.is_active_admin() {
        keep_an_admin(&request, id).await?;
    }
    if user.role != before.role || (user.status != before.status && user.status != "active") {
        take_access(&request, id).await?;
    }
    note(&request, &caller, "update", Some(&before), Some(&user)).await?;
    request.commit().await?;
    Ok(Tagged(user.tag(), user))
}

async fn set_password(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(new): Input<NewPassword>,
) -> Result<Json<Message>, Problem> {
    let id = UserId(id);
    // Hashed before the lock is taken, and only for an account that is there and as expected.
    let found = api.store.user(caller.reach(), id).await?;
    let found = User::of(found.ok_or_else(|| Problem::not_found("user"))?);
    found.tag().check(&headers)?;
    if id == caller.user_id {
        let Some(current) = &new.current_password else {
            return Err(Problem::forbidden(
                Code::CurrentPasswordRequired,
                "This is your own account: give `currentPassword` too, or use PUT /api/auth/password.",
            ));
        };
        confirm_password(&api, &caller, "currentPassword", current).await?;
    }
    let of = (found.username.as_str(), found.email.as_str());
    refuse_weak(&api, "password", &new.password, of)?;
    let hash = hashed(new.password).await?;
    let request = api.store.request(caller.reach()).await?;
    let user = lock(&request, id, &headers).await?;
    request
        .set_password(id, &hash, new.must_change_password)
        .await?;
    let (sessions, keys) = take_access(&request, id).await?;
    note(&request, &caller, "set_password", Some(&user), Some(&user)).await?;
    request.commit().await?;
    let event = of_caller(Kind::PasswordSet, &caller).about("user", id.0);
    api.security.note(event.with(
        json!({ "username": user.username, "mustChangePassword": new.must_change_password }),
    ));
    Ok(Json(Message::new(format!(
        "The password of {} is changed; {sessions} sessions have ended, {keys} API keys are revoked.",
        user.username
    ))))
}

async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let id = UserId(id);
    if id == caller.user_id {
        return Err(Problem::forbidden(
            Code::OwnAccount,
            "You cannot delete your own account; another administrator can.",
        ));
    }
    let request = api.store.request(caller.reach()).await?;
    let user = lock(&request, id, &headers).await?;
    // Rows are found by their account: without it the rest would stay.
    if request.is_being_erased(id).await? {
        return Err(Problem::conflict(
            Code::ErasureUnderWay,
            "The account is being erased. Delete it when that is done.",
        ));
    }
    if user.is_active_admin() {
        keep_an_admin(&request, id).await?;
    }
    note(&request, &caller, "delete", Some(&user), None).await?;
    request.delete_user(id).await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An account to change, while nobody changes accounts.
async fn lock(request: &Request, id: UserId, headers: &HeaderMap) -> Result<User, Problem> {
    request.lock_users().await?;
    let row = request.lock_user(id).await?;
    let user = User::of(row.ok_or_else(|| Problem::not_found("user"))?);
    user.tag().check(headers)?;
    Ok(user)
}

async fn refuse_taken(
    request: &Request,
    username: Option<&str>,
    email: Option<&str>,
    but: Option<UserId>,
) -> Result<(), Problem> {
    if email.is_some_and(is_of_erased) {
        return Err(Problem::field(
            "email",
            "Addresses at erased.invalid are those of erased accounts. Choose another.",
        ));
    }
    match request.taken(username, email, but).await? {
        None => Ok(()),
        Some(Taken::Username) => Err(Problem::conflict(
            Code::UsernameTaken,
            format!(
                "Another account has the name {}, perhaps with other capitals. Choose another.",
                username.unwrap_or_default()
            ),
        )),
        Some(Taken::Email) => Err(Problem::conflict(
            Code::EmailTaken,
            format!(
                "Another account has the address {}, perhaps with other capitals. Choose another.",
                email.unwrap_or_default()
            ),
        )),
    }
}

async fn keep_an_admin(request: &Request, than: UserId) -> Result<(), Problem> {
    if request.other_active_admins(than).await? > 0 {
        return Ok(());
    }
    Err(Problem::forbidden(
        Code::LastAdmin,
        "This is the last active administrator. Make another account one first.",
    ))
}

async fn hashed(password: String) -> Result<String, Problem> {
    let hashed = password::off_thread(move || password::hash(&password)).await?;
    hashed.map_err(|error| {
        tracing::error!(%error, "a password could not be hashed");
        Problem::internal()
    })
}

async fn note(
    request: &Request,
    caller: &Caller,
    action: &'static str,
    before: Option<&User>,
    after: Option<&User>,
) -> Result<(), Problem> {
    let id = after.or(before).map(|user| user.id.to_string());
    request
        .audit(&Change {
            actor: &caller.actor(),
            // What administrators do to accounts is not the accounts' business.
            tenant: None,
            action,
            object_type: "user",
            object_id: id.unwrap_or_default(),
            before: before.and_then(shown),
            after: after.and_then(shown),
            reason: None,
        })
        .await?;
    Ok(())
}
