//! The second factor: setting it up, asking for it at a log-in, losing it.
//!
//! Invariants: a secret is shown once, before it holds; a code is taken once; attempts are counted before they are looked
//! at, so that many at once pass no limit.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::auth::tenant_of;
use crate::accounts::password;
use crate::accounts::sealing::SealingKeys;
use crate::accounts::security::{Kind, of_stranger};
use crate::accounts::totp;
use crate::db::request::{Change, Reach, Request};
use crate::domain::{Role, SecondFactor, UserId};
use crate::http::api::Api;
use crate::http::kit::body::Input;
use crate::http::kit::code::Code;
use crate::http::kit::form::{Field, Form, Rule, Unknown};
use crate::http::kit::idempotency::KeepInstead;
use crate::http::kit::limits::too_many;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller, Due, Via};
use crate::http::kit::problem::Problem;

/// The operations on one's own second factor.
pub fn operations() -> Vec<Operation> {
    const ONE: &str = "/api/auth/totp";
    let operations = vec![
        Operation::get(ONE, "getSecondFactor", read)
            .tagged("auth", "Read about your second factor")
            .also_when(&[Due::SecondFactor])
            .answers::<Factor>(200, "Whether you have one, and how many recovery codes are left."),
        Operation::post(ONE, "beginSecondFactor", begin)
            .tagged("auth", "Begin to set up a second factor")
            .about(
                "The answer holds the secret, this once: type it into an authenticator app, or let it read the address \
                 as a QR code. It holds when a code of it was sent to `/api/auth/totp/confirm`. Begun again, the secret \
                 before is forgotten. An answer repeated for an Idempotency-Key does not hold the secret.",
            )
            .also_when(&[Due::SecondFactor])
            .fresh()
            .answers::<Begun>(201, "The secret.")
            .problems(&[409]),
        Operation::post("/api/auth/totp/confirm", "confirmSecondFactor", confirm)
            .tagged("auth", "Confirm your second factor")
            .about(
                "Log-ins ask for a code from then on, and your other sessions end. The answer holds ten recovery codes, \
                 this once: each opens one log-in without the app. Print them.",
            )
            .also_when(&[Due::SecondFactor])
            .body(&CODE)
            .example(r#"{"code": "123456"}"#)
            .answers::<NewRecoveryCodes>(200, "The recovery codes.")
            .problems(&[403, 409]),
        Operation::post("/api/auth/totp/recovery-codes", "renewRecoveryCodes", renew)
            .tagged("auth", "Get other recovery codes")
            .about("Those before are worth nothing any more.")
            .fresh()
            .answers::<NewRecoveryCodes>(200, "The recovery codes.")
            .problems(&[409]),
        Operation::delete(ONE, "removeSecondFactor", remove)
            .tagged("auth", "Remove your second factor")
            .about("With its recovery codes. Where accounts must have one, only setting up another is possible then.")
            .fresh()
            .answers_nothing(204, "Log-ins ask for the password only.")
            .problems(&[404]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::SignedIn).session_only())
        .collect()
}

static CODE: Form = Form {
    name: "SecondFactorCode",
    fields: &[Field::text("code", 1, 20, Rule::Secret).required()],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Deserialize)]
struct GivenCode {
    code: String,
}

/// A second factor.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Factor {
    /// Log-ins ask for its codes.
    enabled: bool,
    /// The account must have one.
    required: bool,
    confirmed_at: Option<Moment>,
    /// Recovery codes that were not used.
    recovery_codes_left: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Begun {
    /// In base 32, as people type it; null where an answer is repeated.
    secret: Option<String>,
    /// `otpauth://…`, as apps read it from a QR code.
    uri: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NewRecoveryCodes {
    /// Shown only here; null where an answer is repeated.
    recovery_codes: Option<Vec<String>>,
}

/// What the name of the service is in the app.
const ISSUER: &str = "capconduit";

/// What a log-in gives beside the password.
#[derive(Debug, Default, Clone, Copy)]
pub struct Given<'a> {
    /// A code of the app.
    pub code: Option<&'a str>,
    /// A recovery code.
    pub recovery_code: Option<&'a str>,
}

/// Whose log-in it is.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// The account.
    pub id: UserId,
    /// Its name.
    pub name: &'a str,
    /// Its role.
    pub role: Option<Role>,
    /// Where it comes from.
    pub address: std::net::IpAddr,
}

/// How a log-in passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// No second factor is asked for.
    Password,
    /// With a code of the app.
    Code,
    /// With a recovery code.
    RecoveryCode,
}

impl Passed {
    /// As events tell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "none",
            Self::Code => "code",
            Self::RecoveryCode => "recovery_code",
        }
    }
}

/// Whether a log-in to this account needs a second factor.
pub async fn is_needed(api: &Api, user: UserId) -> Result<bool, Problem> {
    if api.settings.accounts.second_factor == SecondFactor::Off {
        return Ok(false);
    }
    let factor = api.store.factor(user).await?;
    Ok(factor.is_some_and(|factor| factor.confirmed_at.is_some()))
}

/// Asks for the second factor of an account whose password was right, if it has one.
pub async fn check(
    api: &Api,
    whose: Whose<'_>,
    has_factor: bool,
    given: Given<'_>,
) -> Result<Passed, Problem> {
    if !has_factor || api.settings.accounts.second_factor == SecondFactor::Off {
        return Ok(Passed::Password);
    }
    if let Some(code) = given.recovery_code {
        let hash = totp::recovery_hash(code);
        if api.store.use_recovery_code(whose.id, &hash).await? {
            api.security.note(
                of_stranger(Kind::RecoveryCodeUsed, whose.address)
                    .by_account(whose.id, whose.name, whose.role),
            );
            return Ok(Passed::RecoveryCode);
        }
        return Err(wrong("This recovery code is wrong, or was used before."));
    }
    let Some(code) = given.code else {
        return Err(Problem::unauthorized(
            Code::SecondFactorRequired,
            "This account has a second factor: send the log-in again with `code`, the six digits that the \
             authenticator app shows, or with `recoveryCode`.",
        ));
    };
    take_code(api, whose, code, false).await?;
    Ok(Passed::Code)
}

fn wrong(message: &str) -> Problem {
    Problem::unauthorized(Code::SecondFactorWrong, message)
}

/// Takes a code of the app. `unconfirmed`: the first one.
async fn take_code(
    api: &Api,
    whose: Whose<'_>,
    code: &str,
    unconfirmed: bool,
) -> Result<(), Problem> {
    let key = api.settings.accounts.sealing_key.as_deref();
    let key = key.ok_or_else(|| cannot_open("accounts.sealing_key is not set"))?;
    let (allowed, lock) = (api.settings.login_attempts, api.settings.login_lock);
    let attempt = api
        .store
        .attempt_factor(whose.id, allowed, lock, unconfirmed)
        .await?;
    let Some(attempt) = attempt else {
        let state = api.store.factor(whose.id).await?;
        return Err(match state {
            Some(state) if !state.wait.is_zero() => too_many(
                Code::TooManyWrongCodes,
                "Too many wrong codes. A recovery code works meanwhile.",
                state.wait,
            ),
            // Removed meanwhile, or free again this moment.
            _ => Problem::conflict(
                Code::ChangedMeanwhile,
                "The second factor was changed meanwhile. Try again.",
            ),
        });
    };
    let (secret, outdated) = key
        .open(&purpose(whose.id), &attempt.sealed)
        .map_err(|error| cannot_open(&error.to_string()))?;
    let step = totp::step_of(&secret, code, attempt.now, attempt.last_step);
    if let Some(step) = step
        && api.store.accept_code(whose.id, step).await?
    {
        if outdated && let Ok(sealed) = key.seal(&purpose(whose.id), &secret) {
            api.store
                .reseal_factor(whose.id, &attempt.sealed, &sealed)
                .await?;
        }
        return Ok(());
    }
    if attempt.last_one {
        api.security.note(
            of_stranger(Kind::SecondFactorLocked, whose.address)
                .by_account(whose.id, whose.name, whose.role),
        );
    }
    Err(wrong(
        "This code is wrong, too old, or was used before. Wait for the next one; should none be right, set the clock \
         of the phone.",
    ))
}

/// What a sealed secret is bound to.
fn purpose(user: UserId) -> String {
    format!("totp of user {}", user.0)
}

fn cannot_open(why: &str) -> Problem {
    tracing::error!(why, "codes of second factors cannot be checked");
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Code::SecondFactorUnavailable,
        "Codes cannot be checked now; the log of the daemon says why. A recovery code works.",
    )
}

/// What seals secrets; without it there can be no second factor.
fn sealing_key(api: &Api) -> Result<&SealingKeys, Problem> {
    if api.settings.accounts.second_factor == SecondFactor::Off {
        return Err(Problem::conflict(
            Code::SecondFactorOff,
            "Second factors are switched off (accounts.second_factor).",
        ));
    }
    api.settings.accounts.sealing_key.as_deref().ok_or_else(|| {
        Problem::conflict(
            Code::SealingKeyMissing,
            "Second factors are kept sealed, and no key to seal them with is configured: ask the operator to set \
             accounts.sealing_key.",
        )
    })
}

async fn read(State(api): State<Api>, caller: Caller) -> Result<Json<Factor>, Problem> {
    let state = api.store.factor(caller.user_id).await?;
    let confirmed = state.and_then(|state| Some((state.confirmed_at?, state.codes_left)));
    let mode = api.settings.accounts.second_factor;
    Ok(Json(Factor {
        enabled: confirmed.is_some() && mode != SecondFactor::Off,
        required: mode.is_required_of(caller.role),
        confirmed_at: confirmed.map(|(at, _)| Moment(at)),
        recovery_codes_left: confirmed.map_or(0, |(_, left)| left),
    }))
}

async fn begin(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let key = sealing_key(&api)?;
    let secret = totp::new_secret().map_err(no_randomness)?;
    let sealed = key
        .seal(&purpose(caller.user_id), &secret)
        .map_err(|error| {
            tracing::error!(%error, "a secret cannot be sealed");
            Problem::internal()
        })?;
    if !api.store.begin_factor(caller.user_id, &sealed).await? {
        return Err(Problem::conflict(
            Code::SecondFactorExists,
            "You have a second factor. Remove it first: DELETE /api/auth/totp.",
        ));
    }
    let begun = Begun {
        secret: Some(totp::base32(&secret)),
        uri: Some(totp::uri(ISSUER, &caller.username, &secret)),
    };
    let instead = Begun {
        secret: None,
        uri: None,
    };
    Ok(once((StatusCode::CREATED, Json(begun)), &instead))
}

/// An answer that is not kept as it is for a repeated request.
fn once(answer: impl IntoResponse, instead: &impl Serialize) -> Response {
    let instead = serde_json::to_vec(instead).unwrap_or_default();
    let mut response = answer.into_response();
    response.extensions_mut().insert(KeepInstead(instead));
    response
}

fn no_randomness(error: getrandom::Error) -> Problem {
    tracing::error!(%error, "the kernel gives no randomness");
    Problem::internal()
}

async fn confirm(
    State(api): State<Api>,
    caller: Caller,
    Input(given): Input<GivenCode>,
) -> Result<Response, Problem> {
    sealing_key(&api)?;
    match api.store.factor(caller.user_id).await? {
        None => {
            return Err(Problem::conflict(
                Code::SecondFactorNotBegun,
                "Begin first: POST /api/auth/totp.",
            ));
        }
        Some(state) if state.confirmed_at.is_some() => {
            return Err(Problem::conflict(
                Code::SecondFactorExists,
                "Your second factor is confirmed already.",
            ));
        }
        Some(_) => {}
    }
    let whose = Whose {
        id: caller.user_id,
        name: &caller.username,
        role: Some(caller.role),
        address: caller.address,
    };
    take_code(&api, whose, &given.code, true)
        .await
        .map_err(|problem| match problem.code() {
            // Whoever asks is logged in; a 401 would say otherwise.
            Code::SecondFactorWrong => Problem::forbidden(
                Code::SecondFactorWrong,
                "This code is wrong or too old. See that the clock of the phone is right.",
            ),
            _ => problem,
        })?;
    let request = api.store.request(Reach::Everything).await?;
    // A log-in under way waits for this, and then looks whether there is a factor.
    request.lock_user(caller.user_id).await?;
    if !request.confirm_factor(caller.user_id).await? {
        return Err(Problem::conflict(
            Code::ChangedMeanwhile,
            "The second factor was changed meanwhile. Try again.",
        ));
    }
    let codes = give_codes(&request, caller.user_id).await?;
    let stays = match caller.via {
        Via::Session(id) => Some(id),
        Via::Key(_) => None,
    };
    request.end_sessions_but(caller.user_id, stays).await?;
    note(&request, &caller, "confirm").await?;
    request.commit().await?;
    Ok(codes)
}

async fn renew(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    sealing_key(&api)?;
    let state = api.store.factor(caller.user_id).await?;
    if state.is_none_or(|state| state.confirmed_at.is_none()) {
        return Err(Problem::conflict(
            Code::NoSecondFactor,
            "You have no second factor: POST /api/auth/totp begins one.",
        ));
    }
    let request = api.store.request(Reach::Everything).await?;
    let codes = give_codes(&request, caller.user_id).await?;
    note(&request, &caller, "renew_recovery_codes").await?;
    request.commit().await?;
    Ok(codes)
}

/// Other recovery codes, as the answer shows them.
async fn give_codes(request: &Request, user: UserId) -> Result<Response, Problem> {
    let codes = (0..totp::RECOVERY_CODES)
        .map(|_| totp::new_recovery_code(password::random_letters))
        .collect::<Result<Vec<_>, _>>()
        .map_err(no_randomness)?;
    let hashes: Vec<Vec<u8>> = codes
        .iter()
        .map(|code| totp::recovery_hash(code).to_vec())
        .collect();
    request.set_recovery_codes(user, &hashes).await?;
    let given = NewRecoveryCodes {
        recovery_codes: Some(codes),
    };
    let instead = NewRecoveryCodes {
        recovery_codes: None,
    };
    Ok(once(Json(given), &instead))
}

async fn remove(State(api): State<Api>, caller: Caller) -> Result<StatusCode, Problem> {
    let request = api.store.request(Reach::Everything).await?;
    if !request.remove_factor(caller.user_id).await? {
        return Err(Problem::not_found("second factor"));
    }
    note(&request, &caller, "remove").await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn note(request: &Request, caller: &Caller, action: &'static str) -> Result<(), Problem> {
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: tenant_of(caller),
            action,
            object_type: "second_factor",
            object_id: caller.user_id.0.to_string(),
            before: None,
            after: Some(json!({ "secondFactor": action != "remove" })),
            reason: None,
        })
        .await?;
    Ok(())
}
