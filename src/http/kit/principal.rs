//! Who asks the API, how it showed that, and what it may use.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;

use super::code::Code;
use super::problem::Problem;
use super::trace;
use crate::db::request::{Actor, Reach};
use crate::domain::{Role, SecondFactor, UserId};

/// Who may use an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Whoever is logged in.
    SignedIn,
    /// Sellers only; administrators and staff have no objects of their own.
    Seller,
    /// Staff and administrators.
    Staff,
    /// Administrators only.
    Admin,
    /// Programs with the internal token.
    Internal,
}

impl Access {
    /// The roles that have it; none where it is not by role.
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::Public | Self::Internal => &[],
            Self::SignedIn => &Role::ALL,
            Self::Seller => &[Role::User],
            Self::Staff => &[Role::Admin, Role::Staff],
            Self::Admin => &[Role::Admin],
        }
    }

    /// Whether a role has it, and the names of those that do.
    pub fn allows(self, role: Role) -> Result<(), String> {
        let roles = self.roles();
        if roles.is_empty() || roles.contains(&role) {
            return Ok(());
        }
        let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        Err(names.join(", "))
    }
}

/// How a caller showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The session with this id.
    Session(i64),
    /// The API key with this id.
    Key(i64),
}

/// What a session must do before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Change a password that was for one log-in only.
    Password,
    /// Set up a second factor.
    SecondFactor,
}

impl Due {
    /// What is due first, of an account that logged in.
    pub fn of(
        mode: SecondFactor,
        role: Option<Role>,
        must_change: bool,
        has_factor: bool,
    ) -> Option<Self> {
        if must_change {
            return Some(Self::Password);
        }
        let required = role.is_some_and(|role| mode.is_required_of(role));
        (required && !has_factor).then_some(Self::SecondFactor)
    }

    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password_change",
            Self::SecondFactor => "second_factor_setup",
        }
    }

    /// The answer to any other request of the session.
    pub fn problem(self) -> Problem {
        match self {
            Self::Password => Problem::forbidden(
                Code::PasswordChangeRequired,
                "Your password was for one log-in only. Change it first: PUT /api/auth/password with \
                 `currentPassword` and `newPassword`.",
            ),
            Self::SecondFactor => Problem::forbidden(
                Code::SecondFactorSetupRequired,
                "Accounts of your role log in with a second factor. Set it up first: POST /api/auth/totp, then POST \
                 /api/auth/totp/confirm.",
            ),
        }
    }
}

/// Who asks. Active, and allowed to.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The account.
    pub user_id: UserId,
    /// Its name.
    pub username: String,
    /// Its role.
    pub role: Role,
    /// How it showed that.
    pub via: Via,
    /// Where it asks from.
    pub address: IpAddr,
    /// What its API key may do, if it showed one.
    pub scopes: Option<Vec<String>>,
    /// What its session must do first.
    pub due: Option<Due>,
    /// Its session gave the password within the last minutes.
    pub fresh: bool,
}

impl Caller {
    /// Whose things it sees; `None`: everybody's.
    pub fn owner(&self) -> Option<i32> {
        (self.role == Role::User).then_some(self.user_id.0)
    }

    /// Refuses an API key that does not go so far, for what an operation shows of another group.
    pub fn check_scope(&self, group: &str, method: &Method) -> Result<(), Problem> {
        match &self.scopes {
            Some(scopes) => check_scopes(group, method, scopes),
            None => Ok(()),
        }
    }

    /// Refuses API keys, and sessions that did not give their password within the last minutes: for what a stolen cookie
    /// must not be enough.
    pub fn check_fresh(&self) -> Result<(), Problem> {
        match self.via {
            Via::Key(_) => Err(Problem::forbidden(
                Code::SessionOnly,
                "This is not for API keys. Log in.",
            )),
            Via::Session(_) if self.fresh => Ok(()),
            Via::Session(_) => Err(Problem::forbidden(
                Code::FreshLoginRequired,
                "Show first that it is still you: send your password to POST /api/auth/reauthenticate, or log in anew. \
                 Then repeat this within 5 minutes.",
            )),
        }
    }

    /// What its requests may see.
    pub fn reach(&self) -> Reach {
        match self.role {
            Role::User => Reach::Tenant(self.user_id),
            Role::Admin | Role::Staff => Reach::Everything,
        }
    }

    /// As the audit log names it.
    pub fn actor(&self) -> Actor {
        Actor {
            user_id: Some(self.user_id),
            name: self.username.clone(),
            via: match self.via {
                Via::Session(id) => format!("session:{id}"),
                Via::Key(id) => format!("key:{id}"),
            },
            request_id: trace::request_id(),
            address: self.address.to_string(),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            tracing::error!("an operation without login asks who the caller is");
            Problem::internal()
        })
    }
}

/// The scope that an operation of a group needs, and the wider one that does as well.
pub fn scope(group: &str, method: &Method) -> (String, &'static str) {
    let action = if is_safe(method) { "read" } else { "write" };
    (format!("{group}:{action}"), action)
}

fn check_scopes(group: &str, method: &Method, scopes: &[String]) -> Result<(), Problem> {
    let (needed, action) = scope(group, method);
    if scopes
        .iter()
        .any(|scope| scope == action || *scope == needed)
    {
        return Ok(());
    }
    Err(Problem::forbidden(
        Code::ScopeMissing,
        format!("This needs an API key with the scope `{needed}` or `{action}`."),
    ))
}

/// Whether a method changes nothing.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
