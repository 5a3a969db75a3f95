//! Login, logout, status, one's own password.
//!
//! Who may try a password, and when, is `logins`' business.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::logins::{self, Origin};
use super::second_factor;
use super::users::User;
use crate::accounts::guard::check_origin;
use crate::accounts::password;
use crate::accounts::security::{Kind, of_caller, of_stranger};
use crate::accounts::store::sessions::{Lives, NewSession, Tokens};
use crate::accounts::store::users::Credentials;
use crate::db::request::{Change, Reach};
use crate::domain::weak_password::weakness;
use crate::domain::{Role, UserId};
use crate::http::api::Api;
use crate::http::kit::Message;
use crate::http::kit::address::From;
use crate::http::kit::body::Input;
use crate::http::kit::code::Code;
use crate::http::kit::form::{Field, Form, Rule, Unknown};
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller, Due, Via};
use crate::http::kit::problem::Problem;
use crate::runtime::digest;
use crate::runtime::telemetry::Chain;

/// The operations of logging in and out.
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/api/auth/login", "login", login)
            .tagged("auth", "Log in")
            .access(Access::Public)
            .body(&LOGIN)
            .example(r#"{"username": "seller_alice", "password": "a long password"}"#)
            .about(
                "Sets the cookies `session` and `remember_token`. The second renews a session that has ended; \
                 each is taken once, and a new one set. The cookie `device` shows later that this browser logged in \
                 before: failures of others do not concern it. After too many failures at an account a network has to \
                 wait, at that account or, if it failed at many, at all: 429 with Retry-After. While too many log in \
                 at once: 503 `overloaded` with Retry-After. Of an account with a second factor, 401 `second_factor_required` asks for \
                 `code` or `recoveryCode` too. `required` in the answer says what the session must do before anything \
                 else.",
            )
            .answers::<LoggedIn>(200, "Logged in; the cookies hold the session.")
            .problems(&[401, 403, 409, 429, 503]),
        Operation::post("/api/auth/reauthenticate", "reauthenticate", reauthenticate)
            .tagged("auth", "Show that it is still you")
            .about(
                "For what needs a log-in of the last 5 minutes: setting passwords and roles, making keys, changing second \
                 factors. Takes the password, and the second factor where the account has one.",
            )
            .access(Access::SignedIn)
            .session_only()
            .also_when(&[Due::Password, Due::SecondFactor])
            .body(&REAUTHENTICATION)
            .example(r#"{"password": "a long password"}"#)
            .answers::<Message>(200, "The session counts as just logged in.")
            .problems(&[403, 409]),
        Operation::post("/api/auth/logout", "logout", logout)
            .tagged("auth", "Log out")
            .access(Access::SignedIn)
            .session_only()
            .also_when(&[Due::Password, Due::SecondFactor])
            .answers::<Message>(200, "The session has ended."),
        Operation::get("/api/auth/status", "authStatus", status)
            .tagged("auth", "Who is logged in")
            .access(Access::SignedIn)
            .also_when(&[Due::Password, Due::SecondFactor])
            .answers::<Status>(200, "The account."),
        Operation::put("/api/auth/password", "changePassword", change_password)
            .tagged("auth", "Change your password")
            .about(
                "Ends your other sessions. API keys stay: revoke those you do not trust. Passwords that everybody tries are \
                 refused.",
            )
            .access(Access::SignedIn)
            .session_only()
            .also_when(&[Due::Password, Due::SecondFactor])
            .body(&PASSWORD_CHANGE)
            .example(r#"{"currentPassword": "a long password", "newPassword": "another long password"}"#)
            .answers::<Message>(200, "The password is changed.")
            .problems(&[409]),
    ]
}

static LOGIN: Form = Form {
    name: "Login",
    fields: &[
        Field::text("username", 0, 500, Rule::Secret).required(),
        Field::text("password", 0, 1000, Rule::Secret).required(),
        CODE,
        RECOVERY_CODE,
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

const CODE: Field = Field::text("code", 0, 20, Rule::Secret)
    .nullable()
    .about("What the authenticator app shows, of an account with a second factor.");
const RECOVERY_CODE: Field = Field::text("recoveryCode", 0, 40, Rule::Secret)
    .nullable()
    .about("In place of `code`, once.");

static REAUTHENTICATION: Form = Form {
    name: "Reauthentication",
    fields: &[
        Field::text("password", 0, 1000, Rule::Secret).required(),
        CODE,
        RECOVERY_CODE,
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static PASSWORD_CHANGE: Form = Form {
    name: "PasswordChange",
    fields: &[
        Field::text("currentPassword", 0, 1000, Rule::Secret).required(),
        Field::text("newPassword", 8, 1000, Rule::Secret).required(),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    username: String,
    password: String,
    code: Option<String>,
    recovery_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reauthentication {
    password: String,
    code: Option<String>,
    recovery_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PasswordChange {
    current_password: String,
    new_password: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct LoggedIn {
    message: String,
    user: User,
    /// What this session must do before anything else: `password_change` or `second_factor_setup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<&'static str>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Status {
    logged_in: bool,
    message: String,
    user: User,
    /// What this session must do before anything else: `password_change` or `second_factor_setup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<&'static str>,
}

/// 256 random bits, as a cookie can hold them.
pub fn new_token() -> Result<String, Problem> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the kernel gives no randomness");
        Problem::internal()
    })?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// How long sessions live.
pub fn lives(api: &Api) -> Lives {
    Lives {
        idle: api.settings.session_idle,
        age: api.settings.session_age,
        remember: api.settings.remember,
    }
}

async fn login(
    State(api): State<Api>,
    From(address): From,
    headers: HeaderMap,
    Input(given): Input<Login>,
) -> Result<Response, Problem> {
    check_origin(&api, &headers)?;
    let began = Instant::now();
    let origin = Origin::login(address, &headers);
    let user_agent = headers.get(header::USER_AGENT);
    let user_agent = user_agent.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let user_agent: String = user_agent.chars().take(200).collect();
    let (token, remember) = (new_token()?, new_token()?);
    // An account whose password changes, or is kept anew, while this one is looked at is looked at again.
    for _ in 0..3 {
        let account = logins::check(&api, &given.username, &given.password, &origin).await?;
        let proof = second_factor::Given {
            code: given.code.as_deref(),
            recovery_code: given.recovery_code.as_deref(),
        };
        let passed = match second_step(&api, &account, address, proof).await {
            Ok(passed) => passed,
            Err(refused) => {
                logins::no_sooner(began).await;
                return Err(refused);
            }
        };
        let opened = api
            .store
            .open_session(&NewSession {
                user_id: account.user.id,
                password_hash: &account.password_hash,
                tokens: Tokens {
                    session: &digest::of_text(&token),
                    remember: &digest::of_text(&remember),
                },
                lives: lives(&api),
                address: &address.to_string(),
                user_agent: &user_agent,
            })
            .await?;
        let Some(session) = opened else {
            if passed != second_factor::Passed::Password {
                // Its code is used: the next round would find it wrong.
                break;
            }
            continue;
        };
        // Confirmed while this log-in looked at the password: then it needs a code, too.
        if passed == second_factor::Passed::Password
            && second_factor::is_needed(&api, account.user.id).await?
        {
            api.store.end_session(account.user.id, session).await?;
            continue;
        }
        if password::is_outdated(&account.password_hash) {
            keep_anew(&api, &account, given.password).await;
        }
        tracing::info!(user.id = account.user.id.0, %address, "logged in");
        let user = account.user.id;
        let role = Role::parse(&account.user.role);
        api.security.note(
            of_stranger(Kind::Login, address)
                .by_account(account.user.id, &account.user.username, role)
                .from_program(&user_agent)
                .with(json!({ "secondFactor": passed.as_str() })),
        );
        let due = Due::of(
            api.settings.accounts.second_factor,
            role,
            account.must_change_password,
            account.has_factor,
        );
        let body = LoggedIn {
            message: "Logged in.".into(),
            user: User::of(account.user),
            required: due.map(Due::as_str),
        };
        let mut response = Json(body).into_response();
        let tokens = (token.as_str(), remember.as_str());
        set_cookies(&api, &mut response, tokens, api.settings.remember);
        logins::succeeded(&api, &given.username, user, &origin, &mut response).await?;
        return Ok(response);
    }
    Err(Problem::conflict(
        Code::ChangedMeanwhile,
        "The account was changed while you logged in. Try again.",
    ))
}

/// Asks for the second factor of an account whose password was right. What is wrong is an event.
async fn second_step(
    api: &Api,
    account: &Credentials,
    address: IpAddr,
    given: second_factor::Given<'_>,
) -> Result<second_factor::Passed, Problem> {
    let whose = second_factor::Whose {
        id: account.user.id,
        name: &account.user.username,
        role: Role::parse(&account.user.role),
        address,
    };
    let checked = second_factor::check(api, whose, account.has_factor, given).await;
    if let Err(refused) = &checked
        && refused.code() != Code::SecondFactorRequired
    {
        logins::note_failure(api, address, Some(account), refused.code());
    }
    checked
}

/// Keeps a password as new ones are kept. If that fails, the next login does it.
async fn keep_anew(api: &Api, account: &Credentials, password: String) {
    let hash = password::off_thread(move || password::hash(&password)).await;
    let Ok(Ok(hash)) = hash else {
        tracing::warn!(
            user.id = account.user.id.0,
            "a password cannot be hashed anew"
        );
        return;
    };
    let (id, old) = (account.user.id, &account.password_hash);
    match api.store.rehash(id, old, &hash).await {
        Ok(_) => tracing::info!(user.id = id.0, "a password is kept as Argon2id now"),
        Err(error) => {
            tracing::warn!(user.id = id.0, error = %Chain(&error), "a password cannot be kept anew");
        }
    }
}

async fn logout(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    if let Via::Session(id) = caller.via {
        api.store.end_session(caller.user_id, id).await?;
        api.security.note(of_caller(Kind::Logout, &caller));
    }
    let mut response = Json(Message::new("Logged out.")).into_response();
    for name in ["session", "remember_token"] {
        append_cookie(&api, &mut response, name, "", Some(Duration::ZERO));
    }
    Ok(response)
}

async fn status(State(api): State<Api>, caller: Caller) -> Result<Json<Status>, Problem> {
    let user = api.store.user(caller.reach(), caller.user_id).await?;
    let user = user.ok_or_else(|| Problem::not_found("user"))?;
    Ok(Json(Status {
        logged_in: true,
        message: format!("Logged in as {}.", user.username),
        user: User::of(user),
        required: caller.due.map(Due::as_str),
    }))
}

async fn reauthenticate(
    State(api): State<Api>,
    caller: Caller,
    Input(given): Input<Reauthentication>,
) -> Result<Json<Message>, Problem> {
    let account = confirm_password(&api, &caller, "password", &given.password).await?;
    let proof = second_factor::Given {
        code: given.code.as_deref(),
        recovery_code: given.recovery_code.as_deref(),
    };
    let checked = second_step(&api, &account, caller.address, proof).await;
    // Whoever asks is logged in; a 401 would say otherwise.
    checked.map_err(|problem| match problem.status() {
        StatusCode::UNAUTHORIZED => problem.with_status(StatusCode::FORBIDDEN),
        _ => problem,
    })?;
    let Via::Session(id) = caller.via else {
        return Err(Problem::internal());
    };
    let refreshed = api
        .store
        .refresh_session(caller.user_id, id, &account.password_hash)
        .await?;
    if !refreshed {
        return Err(Problem::conflict(
            Code::ChangedMeanwhile,
            "The account was changed while you did this. Try again.",
        ));
    }
    api.security.note(of_caller(Kind::Reauthenticated, &caller));
    Ok(Json(Message::new(
        "For 5 minutes this session counts as just logged in.",
    )))
}

/// The account of the caller, if this is its password. `field` names it in the message.
pub async fn confirm_password(
    api: &Api,
    caller: &Caller,
    field: &str,
    password: &str,
) -> Result<Credentials, Problem> {
    let origin = Origin::session(caller.address);
    let checked = logins::check(api, &caller.username, password, &origin).await;
    checked.map_err(|problem| match problem.code() {
        // Whoever asks is logged in; a 401 would say otherwise.
        Code::WrongLogin => Problem::forbidden(Code::WrongPassword, format!("`{field}` is wrong.")),
        _ => problem,
    })
}

async fn change_password(
    State(api): State<Api>,
    caller: Caller,
    Input(given): Input<PasswordChange>,
) -> Result<Json<Message>, Problem> {
    if given.new_password == given.current_password {
        return Err(Problem::field(
            "newPassword",
            "Must be another than the current one.",
        ));
    }
    let account =
        confirm_password(&api, &caller, "currentPassword", &given.current_password).await?;
    let of = (account.user.username.as_str(), account.user.email.as_str());
    refuse_weak(&api, "newPassword", &given.new_password, of)?;
    let new = given.new_password;
    let hash = password::off_thread(move || password::hash(&new)).await?;
    let hash = hash.map_err(|error| {
        tracing::error!(%error, "a password cannot be hashed");
        Problem::internal()
    })?;
    let request = api.store.request(Reach::Everything).await?;
    let changed = request
        .change_password(caller.user_id, &account.password_hash, &hash)
        .await?;
    if !changed {
        return Err(Problem::conflict(
            Code::ChangedMeanwhile,
            "The password was changed meanwhile, by you elsewhere or by an administrator.",
        ));
    }
    let stays = match caller.via {
        Via::Session(id) => Some(id),
        Via::Key(_) => None,
    };
    let ended = request.end_sessions_but(caller.user_id, stays).await?;
    // Whoever knew the old password may have made some.
    request.end_links_of(caller.user_id).await?;
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: tenant_of(&caller),
            action: "change_password",
            object_type: "user",
            object_id: caller.user_id.0.to_string(),
            before: None,
            after: None,
            reason: None,
        })
        .await?;
    request.commit().await?;
    api.security.note(of_caller(Kind::PasswordChanged, &caller));
    logins::forget(&api, &caller.username, &Origin::session(caller.address)).await?;
    Ok(Json(Message::new(format!(
        "The password is changed; {ended} other sessions have ended."
    ))))
}

/// Refuses a password that is too short, or that everybody tries for an account of this name and e-mail address.
pub fn refuse_weak(
    api: &Api,
    field: &str,
    password: &str,
    (username, email): (&str, &str),
) -> Result<(), Problem> {
    let rule = api.settings.accounts.password_rule;
    match weakness(password, rule, username, email) {
        None => Ok(()),
        Some(why) => Err(Problem::field(field, why)),
    }
}

/// The tenant of what belongs to the caller itself.
pub fn tenant_of(caller: &Caller) -> Option<UserId> {
    (caller.role == Role::User).then_some(caller.user_id)
}

/// Gives the browser the tokens of a session: to use, and to renew it with.
pub fn set_cookies(
    api: &Api,
    response: &mut Response,
    (session, remember): (&str, &str),
    remember_for: Duration,
) {
    append_cookie(api, response, "session", session, None);
    append_cookie(
        api,
        response,
        "remember_token",
        remember,
        Some(remember_for),
    );
}

/// A cookie for so long; without `age` until the browser ends.
pub fn append_cookie(
    api: &Api,
    response: &mut Response,
    name: &str,
    value: &str,
    age: Option<Duration>,
) {
    let age = age.map_or(String::new(), |age| format!("; Max-Age={}", age.as_secs()));
    let secure = if api.settings.secure_cookies {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}");
    match HeaderValue::from_str(&cookie) {
        Ok(value) => {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        Err(error) => tracing::error!(%error, name, "a cookie cannot be written"),
    }
}
