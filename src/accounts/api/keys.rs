//! API keys: programs that act for an account, as far as their scopes go.
//!
//! A key is `cck_<prefix>_<secret>`: the prefix finds its row, of the whole only the SHA-256 is kept.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::tenant_of;
use super::quotas;
use crate::accounts::password;
use crate::accounts::store::keys::{KeyRow, NewKey};
use crate::accounts::store::quotas::Kind;
use crate::db::request::Change;
use crate::http::api::Api;
use crate::http::kit::body::Input;
use crate::http::kit::code::Code;
use crate::http::kit::etag::created_below;
use crate::http::kit::form::{Field, Form, Unknown};
use crate::http::kit::idempotency::KeepInstead;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller, Via};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Ids;
use crate::http::kit::shown;
use crate::runtime::clock;
use crate::runtime::digest;

/// More keys than any account has programs.
const MOST: i64 = 100;

/// The operations on API keys.
pub fn operations() -> Vec<Operation> {
    let operations = vec![
        Operation::get("/api/auth/keys", "listKeys", list)
            .tagged("auth", "List your API keys")
            .about("Revoked and ended ones too, for a year; at most the 1000 newest.")
            .answers::<Vec<Key>>(200, "Your keys, the newest first."),
        Operation::post("/api/auth/keys", "createKey", create)
            .tagged("auth", "Make an API key")
            .about(
                "The answer holds the key, this once. A program sends it as `Authorization: Bearer <key>` and \
                 acts for your account as far as the scopes go: `read` for everything that is read (GET), \
                 `write` for everything that changes something (POST, PUT, DELETE), `<group>:read` and \
                 `<group>:write` for one group of operations, such as `dids:read`. Sessions and keys are not \
                 for keys. Each key ends: after 90 days unless `expiresAt` says otherwise, a year at most \
                 (`accounts.key_default_days`, `accounts.key_max_days`). It is good for the role that your account has now: \
                 it is revoked when that changes, when staff sets your password, and when the account is suspended. An \
                 answer repeated for an Idempotency-Key does not hold the key.",
            )
            .fresh()
            .body(&NEW_KEY)
            .example(r#"{"name": "Nightly report", "scopes": ["logs:read"], "expiresAt": null}"#)
            .answers::<MadeKey>(201, "The new key.")
            .problems(&[409]),
        Operation::delete("/api/auth/keys/{id}", "revokeKey", revoke)
            .tagged("auth", "Revoke an API key")
            .answers_nothing(204, "It opens nothing any more."),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::SignedIn).session_only())
        .collect()
}

static NEW_KEY: Form = Form {
    name: "NewKey",
    fields: &[
        Field::line("name", 1, 100).required(),
        Field::words("scopes", 100)
            .required()
            .about("`read`, `write`, `<group>:read`, `<group>:write`."),
        Field::moment("expiresAt")
            .nullable()
            .about("Not given, or null: after `accounts.key_default_days`, 90 unless configured."),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenKey {
    name: String,
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
}

/// An API key, without what makes it one.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    id: i64,
    name: String,
    /// The part of the key that names it: `cck_<prefix>_…`.
    prefix: String,
    scopes: Vec<String>,
    created_at: Moment,
    /// When it ends. Null: never, because it was made before keys had to end.
    expires_at: Option<Moment>,
    /// It is usable and never ends: make another one in its place, and revoke it.
    endless: bool,
    /// To the minute.
    last_used_at: Option<Moment>,
    revoked_at: Option<Moment>,
    /// Networks that it was used from, the latest new one first; 20 at most.
    networks: Vec<String>,
}

/// An API key that was just made.
#[derive(Debug, Serialize, JsonSchema)]
struct MadeKey {
    #[serde(flatten)]
    about: Key,
    /// The key itself. It is shown only here; null where an answer is repeated.
    key: Option<String>,
}

impl Key {
    /// As its owner and staff see it.
    pub fn of(row: KeyRow) -> Self {
        Self {
            endless: row.expires_at.is_none() && row.revoked_at.is_none(),
            id: row.key_id,
            name: row.name,
            prefix: row.prefix,
            scopes: row.scopes,
            created_at: Moment(row.created_at),
            expires_at: row.expires_at.map(Moment),
            last_used_at: row.last_used_at.map(Moment),
            revoked_at: row.revoked_at.map(Moment),
            networks: row.networks,
        }
    }
}

/// Every scope there is.
static SCOPES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let operations = crate::http::api::operations();
    let groups = operations.iter().map(|operation| &operation.meta);
    groups
        .filter(|meta| {
            !meta.session_only && !matches!(meta.access, Access::Public | Access::Internal)
        })
        .flat_map(|meta| ["read", "write"].map(|action| format!("{}:{action}", meta.tag)))
        .chain(["read", "write"].map(str::to_owned))
        .collect()
});

/// The part of a key that finds it, if it has the form of one.
pub fn prefix_of(key: &str) -> Option<&str> {
    let (prefix, secret) = key.strip_prefix("cck_")?.split_once('_')?;
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
    let fits = prefix.len() == PREFIX && secret.len() == SECRET && plain(prefix) && plain(secret);
    fits.then_some(prefix)
}

/// 60 bits: two alike are as good as never made, and the table allows none.
const PREFIX: usize = 12;

/// 200 bits.
const SECRET: usize = 40;

fn letters(count: usize) -> Result<String, Problem> {
    password::random_letters(count).map_err(|error| {
        tracing::error!(%error, "the kernel gives no randomness");
        Problem::internal()
    })
}

async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<Key>>, Problem> {
    let keys = api.store.keys(caller.reach(), caller.user_id).await?;
    Ok(Json(keys.into_iter().map(Key::of).collect()))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    Input(given): Input<GivenKey>,
) -> Result<Response, Problem> {
    let scopes: BTreeSet<String> = given.scopes.into_iter().collect();
    check(&scopes, given.expires_at)?;
    let expires_at = end_of(&api, given.expires_at)?;
    let scopes: Vec<String> = scopes.into_iter().collect();
    let prefix = letters(PREFIX)?;
    let key = format!("cck_{prefix}_{}", letters(SECRET)?);
    let request = api.store.request(caller.reach()).await?;
    let usable = request.lock_and_count_keys(caller.user_id).await?;
    // Access that was taken back while this waited for the account makes no key any more.
    let role = caller.role.as_str();
    if let Via::Session(id) = caller.via
        && !request.session_holds(caller.user_id, role, id).await?
    {
        return Err(Problem::unauthorized(
            Code::SessionEnded,
            "This session has ended. Log in again.",
        ));
    }
    if usable >= MOST {
        return Err(Problem::conflict(
            Code::TooManyKeys,
            format!("You have {MOST} keys. Revoke one that is not needed any more."),
        ));
    }
    quotas::admit(&api, &request, caller.user_id, Kind::Keys).await?;
    let row = request
        .create_key(&NewKey {
            user_id: caller.user_id,
            name: &given.name,
            prefix: &prefix,
            hash: &digest::of_text(&key),
            scopes: &scopes,
            expires_at,
            role,
        })
        .await?;
    let id = row.key_id;
    let about = Key::of(row);
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: tenant_of(&caller),
            action: "create",
            object_type: "key",
            object_id: id.to_string(),
            before: None,
            after: shown(&about),
            reason: None,
        })
        .await?;
    request.commit().await?;
    let mut made = MadeKey { about, key: None };
    let instead = serde_json::to_vec(&made).unwrap_or_default();
    made.key = Some(key);
    let mut response = created_below(made.about.id, Json(made));
    response.extensions_mut().insert(KeepInstead(instead));
    Ok(response)
}

/// When a key ends that shall end then.
fn end_of(api: &Api, asked: Option<Timestamp>) -> Result<Timestamp, Problem> {
    let accounts = &api.settings.accounts;
    let after = |life: Duration| clock::now().saturating_add(life).unwrap_or(Timestamp::MAX);
    let Some(asked) = asked else {
        return Ok(after(accounts.key_default));
    };
    // Whoever counts a year of days from now is not refused for the seconds between.
    let latest = after(accounts.key_max + Duration::from_secs(3_600));
    if asked > latest {
        return Err(Problem::field(
            "expiresAt",
            format!(
                "Must be within {} days from now (accounts.key_max_days).",
                accounts.key_max.as_secs() / 86_400
            ),
        ));
    }
    Ok(asked)
}

fn check(scopes: &BTreeSet<String>, expires_at: Option<Timestamp>) -> Result<(), Problem> {
    if scopes.is_empty() {
        return Err(Problem::field(
            "scopes",
            "Must hold at least one scope, such as read.",
        ));
    }
    if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.contains(*scope)) {
        let known: Vec<&str> = SCOPES.iter().map(String::as_str).collect();
        return Err(Problem::field(
            "scopes",
            format!("{unknown:?} is no scope. There are: {}.", known.join(", ")),
        ));
    }
    if expires_at.is_some_and(|moment| moment <= clock::now()) {
        return Err(Problem::field("expiresAt", "Must lie in the future."));
    }
    Ok(())
}

async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Ids([id]): Ids<1>,
) -> Result<StatusCode, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let revoked = request.revoke_key(caller.user_id, id).await?;
    let key = Key::of(revoked.ok_or_else(|| Problem::not_found("key that is not revoked"))?);
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: tenant_of(&caller),
            action: "revoke",
            object_type: "key",
            object_id: id.to_string(),
            before: None,
            after: shown(&key),
            reason: None,
        })
        .await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_form() {
        let secret = letters(SECRET).expect("random");
        let key = format!("cck_abcdefghijkm_{secret}");
        assert_eq!(prefix_of(&key), Some("abcdefghijkm"));
        let longer = format!("{key}x");
        let strange = key.replace('m', "\0");
        for other in [
            "",
            "cck_",
            "cck__",
            "cck_abcdefghijkm_",
            &key[1..],
            &longer,
            &strange,
        ] {
            assert_eq!(prefix_of(other), None, "{other:?}");
        }
        assert_ne!(secret, letters(SECRET).expect("random"));
    }

    #[test]
    fn scopes_are_those_of_operations_that_keys_may_use() {
        let scopes = |list: &[&str]| list.iter().map(|&scope| scope.to_owned()).collect();
        assert!(check(&scopes(&["read", "write", "dids:read", "dids:write"]), None).is_ok());
        for wrong in [
            "all",
            "dids",
            "dids:delete",
            "other:read",
            "internal:read",
            "",
        ] {
            assert!(check(&scopes(&[wrong]), None).is_err(), "{wrong}");
        }
        assert!(check(&scopes(&[]), None).is_err());
        let past = "2020-01-01T00:00:00Z".parse().expect("a time");
        assert!(check(&scopes(&["read"]), Some(past)).is_err());
    }
}
