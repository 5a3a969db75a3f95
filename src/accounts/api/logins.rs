//! Who may try a password, and when.
//!
//! Nobody can lock another out. Failures are counted, in the database and so for all daemons:
//! - by account and network together: after too many that network waits at that account;
//! - by account: after too many each login takes longer, up to [`SLOWEST`], and none is refused;
//! - by network, how many accounts it failed at: after too many it waits at all of them;
//! - by browser that logged in to the account before (a cookie): it has a count of its own, and the others' do not
//!   concern it.
//!
//! Who guesses learns nothing: neither from what is answered, nor from how long it takes (`REFUSAL`,
//! [`password::verify_evenly`]), nor from who has to wait.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use super::auth::{append_cookie, new_token};
use crate::accounts::guard::cookie;
use crate::accounts::password::{self, Overloaded, Turn};
use crate::accounts::security::{Kind, of_stranger};
use crate::accounts::store::security::SecurityEvent;
use crate::accounts::store::throttle::{DEVICE_KEPT, LoginStanding, Subjects};
use crate::accounts::store::users::Credentials;
use crate::db::request::{Actor, Change, Reach};
use crate::domain::network::Network;
use crate::domain::{Role, UserId};
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::limits::too_many;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Ids;
use crate::http::kit::{Message, trace};
use crate::runtime::digest;
use crate::runtime::digest::hex;
use crate::runtime::metrics;
use crate::runtime::shares::Shares;
use crate::runtime::telemetry::Chain;

/// No wrong login is answered sooner after its turn began.
const REFUSAL: Duration = Duration::from_millis(400);

/// How long the first login waits that is slowed down; each failure more doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(250);

/// No login is slowed down by more.
pub const SLOWEST: Duration = Duration::from_secs(8);

/// Logins of one network that may be waiting because they are slowed down, and of all.
const SLOWED_OF_ONE: usize = 4;
const SLOWED: usize = 256;

/// Logins of one network that wait for their turn or are looked at: one that floods leaves room to the others.
const AT_WORK_OF_ONE: usize = 16;

/// How long it is remembered whether there are bcrypt hashes.
const KINDS_KEPT: Duration = Duration::from_secs(60);

/// A network may fail at so many times as many accounts as it may fail at one.
const ACCOUNTS_OF_NETWORK: u32 = 10;

const DEVICE: &str = "device";

/// The operations.
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/api/admin/users/{id}/unlock", "unlockUser", unlock)
            .tagged("users", "Let a user log in again after too many failures")
            .about(
                "Forgets the failed logins of this account from everywhere. A network that failed at many accounts still \
                 waits.",
            )
            .access(Access::Admin)
            .answers::<Message>(200, "Nobody has to wait at this account."),
    ]
}

/// Waits until a refusal may be answered to a login that began then.
pub async fn no_sooner(began: Instant) {
    tokio::time::sleep(REFUSAL.saturating_sub(began.elapsed())).await;
}

/// What this daemon knows of logins under way.
#[derive(Default)]
pub struct Logins {
    at_work: Shares<String>,
    slowed: Shares<String>,
    kinds: Mutex<Option<(Instant, Option<u32>)>>,
}

/// Where a password comes from.
pub struct Origin {
    address: IpAddr,
    device: Option<String>,
    /// By somebody who is logged in to the account: only that is counted.
    logged_in: bool,
}

impl Origin {
    /// A login.
    pub fn login(address: IpAddr, headers: &HeaderMap) -> Self {
        Self {
            address,
            device: cookie(headers, DEVICE).filter(|token| token.len() <= 100),
            logged_in: false,
        }
    }

    /// Somebody logged in who shows again who it is.
    pub fn session(address: IpAddr) -> Self {
        Self {
            address,
            device: None,
            logged_in: true,
        }
    }

    fn device_hash(&self) -> Option<[u8; 32]> {
        self.device.as_deref().map(digest::of_text)
    }

    fn subjects(&self, username: &str) -> Subjects {
        let account = account(username);
        let network = Network::around(self.address);
        Subjects {
            device: self
                .device_hash()
                .map(|hash| format!("device:{}", hex(&hash))),
            pair: if self.logged_in {
                pairs(&account) + "session"
            } else {
                format!("{}{network}", pairs(&account))
            },
            network: format!("network:{network}"),
            account: format!("account:{account}"),
        }
    }
}

/// Whether the name is one makes no difference.
fn account(username: &str) -> String {
    hex(&digest::of_text(username))
}

/// What the subjects of an account together with a network begin with.
fn pairs(account: &str) -> String {
    format!("pair:{account}@")
}

impl std::convert::From<Overloaded> for Problem {
    fn from(_: Overloaded) -> Self {
        metrics::http_refused("password");
        Self::overloaded()
    }
}

/// The active account with this name and password.
pub async fn check(
    api: &Api,
    username: &str,
    given: &str,
    origin: &Origin,
) -> Result<Credentials, Problem> {
    let subjects = origin.subjects(username);
    let _share = api
        .logins
        .at_work
        .take(subjects.network.clone(), AT_WORK_OF_ONE)
        .ok_or(Overloaded)?;
    let (turn, trusted) = admit(api, username, origin, &subjects).await?;
    let began = turn.began();
    let found = api.store.credentials(username).await?;
    let bcrypt_cost = highest_bcrypt_cost(api).await;
    let given = given.to_owned();
    let hash = found.as_ref().map(|found| found.password_hash.clone());
    let (right, turn) = turn
        .run(move || password::verify_evenly(&given, hash.as_deref(), bcrypt_cost))
        .await?;
    let refused = match found {
        Some(found) if right && found.user.status == "active" => return Ok(found),
        Some(found) if right => {
            note_failure(api, origin.address, Some(&found), Code::AccountNotActive);
            Problem::unauthorized(
                Code::AccountNotActive,
                format!("This account is {}.", found.user.status),
            )
        }
        found => {
            // Still in its turn: many guesses at once pass no limit by more.
            count(api, origin, &subjects, trusted, found.as_ref()).await?;
            Problem::unauthorized(Code::WrongLogin, "Username or password is wrong.")
        }
    };
    drop(turn);
    tokio::time::sleep(REFUSAL.saturating_sub(began.elapsed())).await;
    Err(refused)
}

/// Waits for the turn of a login, if it may be tried; and whether its browser is known.
async fn admit(
    api: &Api,
    username: &str,
    origin: &Origin,
    subjects: &Subjects,
) -> Result<(Turn, bool), Problem> {
    let device = origin.device_hash();
    let mut slowed = false;
    loop {
        let turn = password::turn().await?;
        let standing = api
            .store
            .login_standing(username, device.as_ref(), subjects, api.settings.login_lock)
            .await?;
        let trusted = standing.known_device && standing.device_wait.is_zero();
        if trusted {
            return Ok((turn, true));
        }
        check_waits(&standing, origin)?;
        let delay = delay_after(standing.failures, api.settings.login_attempts);
        if slowed || origin.logged_in || delay.is_zero() {
            return Ok((turn, false));
        }
        drop(turn);
        let share = api
            .logins
            .slowed
            .take(subjects.network.clone(), SLOWED_OF_ONE);
        let place = api.logins.slowed.take(String::new(), SLOWED);
        let (Some(_share), Some(_place)) = (share, place) else {
            return Err(wait_for("of this account", delay));
        };
        tokio::time::sleep(delay).await;
        slowed = true;
    }
}

fn check_waits(standing: &LoginStanding, origin: &Origin) -> Result<(), Problem> {
    if !standing.pair_wait.is_zero() {
        return Err(wait_for("of this account", standing.pair_wait));
    }
    if !standing.network_wait.is_zero() && !origin.logged_in {
        return Err(wait_for("from your network", standing.network_wait));
    }
    Ok(())
}

fn wait_for(what: &str, wait: Duration) -> Problem {
    too_many(
        Code::TooManyFailedLogins,
        format!(
            "Too many failed logins {what}. A browser that logged in before need not wait, and an administrator can \
             unlock an account."
        ),
        wait,
    )
}

/// How long a login waits after so many failures at its account, from everywhere.
fn delay_after(failures: u32, attempts: u32) -> Duration {
    let Some(beyond) = failures.checked_sub(attempts) else {
        return Duration::ZERO;
    };
    SLOWEST.min(FIRST_DELAY.saturating_mul(2_u32.saturating_pow(beyond)))
}

async fn highest_bcrypt_cost(api: &Api) -> Option<u32> {
    let known = *api
        .logins
        .kinds
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some((at, cost)) = known
        && at.elapsed() < KINDS_KEPT
    {
        return cost;
    }
    match api.store.bcrypt_cost().await {
        Ok(cost) => {
            let mut kinds = api
                .logins
                .kinds
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *kinds = Some((Instant::now(), cost));
            cost
        }
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "cannot see whether accounts have bcrypt hashes");
            known.and_then(|(_, cost)| cost)
        }
    }
}

/// Counts a wrong password where it counts.
async fn count(
    api: &Api,
    origin: &Origin,
    subjects: &Subjects,
    trusted: bool,
    found: Option<&Credentials>,
) -> Result<(), Problem> {
    let settings = &api.settings;
    let (attempts, lock) = (settings.login_attempts, settings.login_lock);
    let user = found.map(|found| found.user.id.0);
    tracing::info!(address = %origin.address, user.id = user, "a login failed");
    note_failure(api, origin.address, found, Code::WrongLogin);
    let own = match &subjects.device {
        Some(device) if trusted => device,
        _ => &subjects.pair,
    };
    let counted = api.store.count_failed_login(own, attempts, lock).await?;
    if counted.locks {
        note_lock(api, origin, Locked::Account(found), counted.failures).await;
    }
    if trusted || origin.logged_in {
        return Ok(());
    }
    api.store
        .count_failed_login(&subjects.account, u32::MAX, lock)
        .await?;
    let tried = api
        .store
        .count_accounts_tried(&subjects.network, &subjects.account, lock)
        .await?;
    if tried >= attempts.saturating_mul(ACCOUNTS_OF_NETWORK) {
        let counted = api
            .store
            .count_failed_login(&subjects.network, 1, lock)
            .await?;
        if counted.locks {
            note_lock(api, origin, Locked::Network, tried).await;
        }
    }
    Ok(())
}

/// Notes a log-in that failed. Of a name that is none nothing is kept: it may be a password in the wrong field.
pub fn note_failure(api: &Api, address: IpAddr, account: Option<&Credentials>, reason: Code) {
    let event = of_stranger(Kind::LoginFailed, address)
        .with(json!({ "reason": reason.as_str(), "knownAccount": account.is_some() }));
    api.security.note(of_account(event, account));
}

fn of_account(event: SecurityEvent, account: Option<&Credentials>) -> SecurityEvent {
    match account {
        Some(Credentials { user, .. }) => {
            event.by_account(user.id, &user.username, Role::parse(&user.role))
        }
        None => event,
    }
}

/// What has to wait.
enum Locked<'a> {
    /// An account, from this network or browser; none: there is no such account.
    Account(Option<&'a Credentials>),
    /// The whole network.
    Network,
}

/// Tells the log and the audit log that somebody has to wait.
async fn note_lock(api: &Api, origin: &Origin, locked: Locked<'_>, count: u32) {
    let network = Network::around(origin.address).to_string();
    let minutes = api.settings.login_lock.as_secs() / 60;
    let (kind, account) = match &locked {
        Locked::Account(account) => ("account", *account),
        Locked::Network => ("network", None),
    };
    let event = of_stranger(Kind::LoginLocked, origin.address).with(json!({ "locked": kind }));
    api.security.note(of_account(event, account));
    let (tenant, object_type, object_id) = match &locked {
        Locked::Account(Some(found)) => {
            tracing::warn!(
                user.id = found.user.id.0,
                user.name = found.user.username,
                address = %origin.address,
                failures = count,
                minutes,
                "too many failed logins: this network has to wait at this account"
            );
            let tenant = (found.user.role == "user").then_some(found.user.id);
            (tenant, "user", found.user.id.0.to_string())
        }
        // What was given as a name may have been a password: it is neither logged nor kept.
        Locked::Account(None) => {
            tracing::warn!(address = %origin.address, failures = count, minutes,
                "too many failed logins to an account that does not exist: this network has to wait at it");
            return;
        }
        Locked::Network => {
            tracing::warn!(
                network,
                accounts = count,
                minutes,
                "failed logins to too many accounts: this network has to wait at all of them"
            );
            (None, "network", network.clone())
        }
    };
    let noted = async {
        let request = api.store.request(Reach::Everything).await?;
        request
            .audit(&Change {
                actor: &Actor {
                    user_id: None,
                    name: "login".to_owned(),
                    via: "login".to_owned(),
                    request_id: trace::request_id(),
                    address: origin.address.to_string(),
                },
                tenant,
                action: "lock",
                object_type,
                object_id,
                before: None,
                after: Some(json!({ "network": network, "count": count, "minutes": minutes })),
                reason: Some("too many failed logins"),
            })
            .await?;
        request.commit().await
    };
    if let Err(error) = noted.await {
        tracing::error!(error = %Chain(&error), "a lock is not in the audit log");
    }
}

/// Forgets what was counted of a login that came to a good end, and knows its browser from now on.
pub async fn succeeded(
    api: &Api,
    username: &str,
    user: UserId,
    origin: &Origin,
    response: &mut Response,
) -> Result<(), Problem> {
    forget(api, username, origin).await?;
    if let Some(hash) = origin.device_hash()
        && api.store.see_device(user, &hash).await?
    {
        return Ok(());
    }
    let token = new_token()?;
    api.store.add_device(user, &digest::of_text(&token)).await?;
    append_cookie(api, response, DEVICE, &token, Some(DEVICE_KEPT));
    Ok(())
}

/// Forgets what was counted at an account, for who has shown its password.
pub async fn forget(api: &Api, username: &str, origin: &Origin) -> Result<(), Problem> {
    let subjects = origin.subjects(username);
    let mut own = vec![subjects.pair.as_str(), subjects.account.as_str()];
    own.extend(subjects.device.as_deref());
    api.store.clear_failed_logins(&own).await?;
    Ok(())
}

async fn unlock(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
) -> Result<Json<Message>, Problem> {
    let id = i32::try_from(id).map_err(|_| Problem::not_found("user"))?;
    let user = api.store.user(caller.reach(), UserId(id)).await?;
    let user = user.ok_or_else(|| Problem::not_found("user"))?;
    let hash = account(&user.username);
    let request = api.store.request(caller.reach()).await?;
    let locks = request
        .unlock_logins(user.id, &format!("account:{hash}"), &pairs(&hash))
        .await?;
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: (Role::parse(&user.role) == Some(Role::User)).then_some(user.id),
            action: "unlock",
            object_type: "user",
            object_id: id.to_string(),
            before: Some(json!({ "locks": locks })),
            after: None,
            reason: None,
        })
        .await?;
    request.commit().await?;
    Ok(Json(Message::new(match locks {
        0 => "Nobody had to wait at this account; its failed logins are forgotten.".to_owned(),
        1 => "Unlocked; one network or browser had to wait.".to_owned(),
        many => format!("Unlocked; {many} networks or browsers had to wait."),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_become_slower_up_to_a_bound() {
        let delays = [0, 4, 5, 6, 7, 9, 10, 1_000].map(|f| delay_after(f, 5).as_millis());
        assert_eq!(delays, [0, 0, 250, 500, 1_000, 4_000, 8_000, 8_000]);
    }

    #[test]
    fn failures_count_for_a_name_and_a_network() {
        let origin = |address: &str| Origin {
            address: address.parse().expect("an address"),
            device: None,
            logged_in: false,
        };
        let one = origin("192.0.2.7").subjects("alice");
        let other = origin("192.0.2.8").subjects("alice");
        assert_eq!(one.pair, other.pair);
        assert_eq!(one.network, "network:192.0.2.0/24");
        assert_ne!(one.pair, origin("198.51.100.1").subjects("alice").pair);
        assert_ne!(one.account, origin("192.0.2.7").subjects("Alice").account);
        assert!(one.pair.starts_with(&pairs(&account("alice"))));
    }
}
