//! Login, logout, status, one's own password.
//!
//! Who guesses passwords learns nothing: neither from what is answered, nor from how long it takes, nor from
//! who is locked. Failures are counted in the database, by account and by network.

use std::net::IpAddr;
use std::time::{Duration, Instant};

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
use super::limits::too_many;
use super::operation::Operation;
use super::users::User;
use super::{Api, Message, Problem};
use crate::digest::hex;
use crate::domain::{Role, UserId};
use crate::password;
use crate::store::request::{Change, Reach};
use crate::store::sessions::{Lives, NewSession, Tokens};
use crate::store::users::Credentials;
use crate::telemetry::Chain;

/// No refused login is answered sooner: an unknown name, and hashes of every kind, take as long.
const REFUSAL: Duration = Duration::from_millis(400);

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
                 each is taken once, and a new one set. After too many failures an account, or a network, has to \
                 wait: 429 with Retry-After.",
            )
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
        Operation::put("/api/auth/password", "changePassword", change_password)
            .tagged("auth", "Change your password")
            .about("Ends your other sessions. API keys stay: revoke those you do not trust.")
            .access(Access::SignedIn)
            .session_only()
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
struct Login {
    username: String,
    password: String,
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
}

#[derive(Debug, Serialize, JsonSchema)]
struct Status {
    logged_in: bool,
    message: String,
    user: User,
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

/// What is kept of a token.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
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
    let user_agent = headers.get(header::USER_AGENT);
    let user_agent = user_agent.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let user_agent: String = user_agent.chars().take(200).collect();
    let (token, remember) = (new_token()?, new_token()?);
    // An account whose password changes, or is kept anew, while this one is looked at is looked at again.
    for _ in 0..3 {
        let account = match check_password(&api, &given.username, &given.password, address).await {
            Ok(account) => account,
            Err(refused) => {
                tokio::time::sleep(REFUSAL.saturating_sub(began.elapsed())).await;
                return Err(refused);
            }
        };
        let opened = api
            .store
            .open_session(&NewSession {
                user_id: account.user.id,
                password_hash: &account.password_hash,
                tokens: Tokens {
                    session: &digest(&token),
                    remember: &digest(&remember),
                },
                lives: lives(&api),
                address: &address.to_string(),
                user_agent: &user_agent,
            })
            .await?;
        if !opened {
            continue;
        }
        api.store
            .clear_failed_logins(&account_subject(&given.username))
            .await?;
        if password::is_outdated(&account.password_hash) {
            keep_anew(&api, &account, given.password).await;
        }
        tracing::info!(user.id = account.user.id.0, %address, "logged in");
        let body = LoggedIn {
            message: "Logged in.".into(),
            user: User::of(account.user),
        };
        let mut response = Json(body).into_response();
        let tokens = (token.as_str(), remember.as_str());
        set_cookies(&api, &mut response, tokens, api.settings.remember);
        return Ok(response);
    }
    Err(Problem::conflict(
        "changed_meanwhile",
        "The account was changed while you logged in. Try again.",
    ))
}

/// The active account with this name and password.
async fn check_password(
    api: &Api,
    username: &str,
    password: &str,
    address: IpAddr,
) -> Result<Credentials, Problem> {
    // Few at a time look whether they may, check and count: many guesses at once pass no limit by more.
    let turn = password::turn().await.ok_or_else(Problem::internal)?;
    let (account, network) = (account_subject(username), network_subject(address));
    check_lock(api, &[&account, &network]).await?;
    let found = api.store.credentials(username).await?;
    let given = password.to_owned();
    let hash = found.as_ref().map(|found| found.password_hash.clone());
    let right = turn
        .run(move || {
            if let Some(hash) = hash {
                password::verify(&given, &hash)
            } else {
                password::verify_nobodys(&given);
                false
            }
        })
        .await
        .ok_or_else(Problem::internal)?;
    let Some(found) = found.filter(|_| right) else {
        count_failure(api, &account, &network).await?;
        tracing::info!(%address, "a login failed");
        return Err(Problem::unauthorized(
            "wrong_login",
            "Username or password is wrong.",
        ));
    };
    if found.user.status != "active" {
        return Err(Problem::unauthorized(
            "account_not_active",
            format!("This account is {}.", found.user.status),
        ));
    }
    Ok(found)
}

/// Whether the name is one makes no difference.
fn account_subject(username: &str) -> String {
    format!("account:{}", hex(&digest(username)))
}

fn network_subject(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("network:{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let prefix = std::net::Ipv6Addr::from(v6.to_bits() >> 64 << 64);
            format!("network:{prefix}/64")
        }
    }
}

async fn check_lock(api: &Api, subjects: &[&str]) -> Result<(), Problem> {
    match api.store.login_wait(subjects).await? {
        None => Ok(()),
        Some(wait) => Err(too_many(
            "too_many_failed_logins",
            "Too many failed logins.",
            wait,
        )),
    }
}

async fn count_failure(api: &Api, account: &str, network: &str) -> Result<(), Problem> {
    let allowed = api.settings.login_attempts;
    for (subject, allowed) in [(account, allowed), (network, allowed.saturating_mul(10))] {
        api.store
            .count_failed_login(subject, allowed, api.settings.login_lock)
            .await?;
    }
    Ok(())
}

/// Keeps a password as new ones are kept. If that fails, the next login does it.
async fn keep_anew(api: &Api, account: &Credentials, password: String) {
    let hash = password::off_thread(move || password::hash(&password)).await;
    let Some(Ok(hash)) = hash else {
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
    }))
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
    let checked = check_password(
        &api,
        &caller.username,
        &given.current_password,
        caller.address,
    )
    .await;
    let account = checked.map_err(|problem| match problem.code() {
        // Whoever asks is logged in; a 401 would say otherwise.
        "wrong_login" => Problem::forbidden("wrong_password", "`currentPassword` is wrong."),
        _ => problem,
    })?;
    let new = given.new_password;
    let hash = password::off_thread(move || password::hash(&new)).await;
    let hash = hash.and_then(Result::ok).ok_or_else(|| {
        tracing::error!("a password cannot be hashed");
        Problem::internal()
    })?;
    let request = api.store.request(Reach::Everything).await?;
    let changed = request
        .change_password(caller.user_id, &account.password_hash, &hash)
        .await?;
    if !changed {
        return Err(Problem::conflict(
            "changed_meanwhile",
            "The password was changed meanwhile, by you elsewhere or by an administrator.",
        ));
    }
    let stays = match caller.via {
        Via::Session(id) => Some(id),
        Via::Key(_) => None,
    };
    let ended = request.end_sessions_but(caller.user_id, stays).await?;
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
    api.store
        .clear_failed_logins(&account_subject(&caller.username))
        .await?;
    Ok(Json(Message::new(format!(
        "The password is changed; {ended} other sessions have ended."
    ))))
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
fn append_cookie(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_for_a_name_and_a_network() {
        assert_eq!(account_subject("alice").len(), "account:".len() + 64);
        assert_ne!(account_subject("alice"), account_subject("Alice"));
        let network = |address: &str| network_subject(address.parse().expect("an address"));
        assert_eq!(network("192.0.2.7"), "network:192.0.2.0/24");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "network:2001:db8:1:2::/64");
    }
}
