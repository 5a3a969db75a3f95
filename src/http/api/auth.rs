//! Login, logout, status.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::access::{Access, Caller, From, Via, check_origin};
use super::body::Input;
use super::form::{Field, Form, Rule, Unknown};
use super::operation::Operation;
use super::users::User;
use super::{Api, Message, Problem};
use crate::password;
use crate::store::sessions::NewSession;

/// The operations of logging in and out.
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/api/auth/login", "login", login)
            .tagged("auth", "Log in")
            .access(Access::Public)
            .body(&LOGIN)
            .example(r#"{"username": "seller_alice", "password": "a long password"}"#)
            .answers::<LoggedIn>(200, "Logged in; the cookies hold the session.")
            .problems(&[401, 403]),
        Operation::post("/api/auth/logout", "logout", logout)
            .tagged("auth", "Log out")
            .access(Access::SignedIn)
            .session_only()
            .answers::<Message>(200, "The session has ended."),
        Operation::get("/api/auth/status", "authStatus", status)
            .tagged("auth", "Who is logged in")
            .access(Access::SignedIn)
            .answers::<Status>(200, "The account."),
    ]
}

static LOGIN: Form = Form {
    name: "Login",
    fields: &[
        Field::text("username", 0, 500, Rule::Secret).required(),
        Field::text("password", 0, 1000, Rule::Secret).required(),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Debug, Deserialize)]
struct Login {
    username: String,
    password: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct LoggedIn {
    message: String,
    user: User,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Status {
    logged_in: bool,
    message: String,
    user: User,
}

/// 256 random bits, as a cookie can hold them.
fn new_token() -> Result<String, Problem> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the kernel gives no randomness");
        Problem::internal()
    })?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// What is kept of a token.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

async fn login(
    State(api): State<Api>,
    From(address): From,
    headers: HeaderMap,
    Input(given): Input<Login>,
) -> Result<Response, Problem> {
    check_origin(&api, &headers)?;
    let found = api.store.credentials(&given.username).await?;
    let wrong = || Problem::unauthorized("wrong_login", "Username or password is wrong.");
    let Some(account) = found else {
        return Err(wrong());
    };
    let (password, hash) = (given.password, account.password_hash);
    let right = password::off_thread(move || password::verify(&password, &hash)).await;
    if right != Some(true) {
        return Err(wrong());
    }
    if account.user.status != "active" {
        return Err(Problem::unauthorized(
            "account_not_active",
            format!("This account is {}.", account.user.status),
        ));
    }
    let (token, remember) = (new_token()?, new_token()?);
    let user_agent = headers.get(header::USER_AGENT);
    let user_agent = user_agent.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let settings = &api.settings;
    api.store
        .open_session(&NewSession {
            user_id: account.user.id,
            token_hash: &digest(&token),
            remember_hash: &digest(&remember),
            idle: settings.session_idle,
            age: settings.session_age,
            remember: settings.remember,
            address: &address.to_string(),
            user_agent: &user_agent.chars().take(200).collect::<String>(),
        })
        .await?;
    let body = LoggedIn {
        message: "Logged in.".into(),
        user: User::of(account.user),
    };
    let mut response = Json(body).into_response();
    set_cookies(&api, &mut response, &token, &remember)?;
    Ok(response)
}

async fn logout(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    if let Via::Session(id) = caller.via {
        api.store.end_session(caller.user_id, id).await?;
    }
    let mut response = Json(Message::new("Logged out.")).into_response();
    for name in ["session", "remember_token"] {
        let cookie = format!("{name}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
        append_cookie(&mut response, &cookie)?;
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
    }))
}

fn set_cookies(
    api: &Api,
    response: &mut Response,
    token: &str,
    remember: &str,
) -> Result<(), Problem> {
    let secure = if api.settings.secure_cookies {
        "; Secure"
    } else {
        ""
    };
    let days = api.settings.remember.as_secs();
    append_cookie(
        response,
        &format!("session={token}; Path=/; HttpOnly; SameSite=Lax{secure}"),
    )?;
    append_cookie(
        response,
        &format!(
            "remember_token={remember}; Path=/; HttpOnly; SameSite=Lax; Max-Age={days}{secure}"
        ),
    )
}

fn append_cookie(response: &mut Response, cookie: &str) -> Result<(), Problem> {
    let value = HeaderValue::from_str(cookie).map_err(|_| Problem::internal())?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(())
}
