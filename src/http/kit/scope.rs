//! Whose objects an operation is about: the seller's own, or, for staff, any seller's.
//!
//! One handler serves both. What it may see and change follows from the [`Caller`]'s reach, in the statement and by row
//! level security; whose object it was comes from the row. The audit log names the caller as actor and the owner as
//! tenant, so that a seller finds what staff did.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::form::Field;
use super::principal::{Access, Caller};
use super::problem::Problem;
use super::query::{Parameter, ParameterKind, parameter};
use crate::db::request::{Change, Request};
use crate::domain::{Role, UserId};

/// Under which of its two addresses an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `/api/seller/…`: of the caller's own objects.
    Seller,
    /// `/api/admin/…`: of all sellers' objects.
    Staff,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Seller, Self::Staff];

    /// What differs between the two.
    pub fn pick<T>(self, seller: T, staff: T) -> T {
        match self {
            Self::Seller => seller,
            Self::Staff => staff,
        }
    }

    /// Who may use it.
    pub fn access(self) -> Access {
        self.pick(Access::Seller, Access::Staff)
    }

    /// The filter by seller, which only staff has.
    pub fn user_filter(self) -> &'static [Parameter] {
        self.pick(&[], &[USER_PARAMETER])
    }
}

/// For lists of all sellers' objects.
const USER_PARAMETER: Parameter = parameter(
    "user_id",
    ParameterKind::Integer,
    "Only those of this seller.",
);

/// The seller of a new object, in forms of staff.
const OWNER: Field = Field::integer("userId", 1, i32::MAX as i64)
    .required()
    .about("The seller.");

/// The fields of a new object, with its seller before them. `M` is `N + 1`.
pub const fn with_owner<const N: usize, const M: usize>(fields: [Field; N]) -> [Field; M] {
    let mut all = [OWNER; M];
    let mut at = 0;
    while at < N {
        all[at + 1] = fields[at];
        at += 1;
    }
    all
}

/// Whose a new object will be: the caller's own, or the seller's that staff names, who is then not deleted until the end
/// of the transaction.
pub async fn owner_of_new(
    request: &Request,
    caller: &Caller,
    named: Option<i32>,
) -> Result<UserId, Problem> {
    if caller.role == Role::User {
        return Ok(caller.user_id);
    }
    let owner = UserId(named.unwrap_or_default());
    if !request.lock_seller(owner).await? {
        return Err(Problem::field("userId", "There is no such seller."));
    }
    Ok(owner)
}

/// A seller, in few words.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserBrief {
    pub(crate) id: i32,
    pub(crate) username: String,
}

/// A seller's object, as staff sees it; without its seller, as the seller sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Owned{T}")]
pub struct Owned<T> {
    #[serde(flatten)]
    pub(crate) object: T,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    user: Option<UserBrief>,
}

impl<T> Owned<T> {
    /// As this caller sees it.
    pub fn seen_by(caller: &Caller, object: T, owner: UserId, username: &str) -> Self {
        let user = (caller.role != Role::User).then(|| UserBrief {
            id: owner.0,
            username: username.to_owned(),
        });
        Self { object, user }
    }
}

/// Notes in the audit log what the caller did to an object of this owner: of this kind, with this id.
pub async fn note(
    request: &Request,
    caller: &Caller,
    owner: UserId,
    action: &'static str,
    (object_type, id): (&'static str, i32),
    before: Option<Value>,
    after: Option<Value>,
) -> Result<(), Problem> {
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: Some(owner),
            action,
            object_type,
            object_id: id.to_string(),
            before,
            after,
            reason: None,
        })
        .await?;
    Ok(())
}
