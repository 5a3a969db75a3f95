//! The database's own wall behind a seller's stream: of each call it is asked once, as that seller, whether it may be
//! seen.
//!
//! One look of the daemon serves all streams, so row level security does not stand behind that. Invariant: a seller is
//! told of no call that its own role does not find.

use std::collections::HashSet;

use serde_json::Value;

use crate::db::request::Reach;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// Calls remembered; beyond so many they are asked about again.
const MOST: usize = 10_000;

/// Calls that a listener was found to see.
#[derive(Debug)]
pub struct Own {
    /// None: it sees everybody's.
    tenant: Option<UserId>,
    calls: HashSet<i64>,
}

impl Own {
    /// Of a seller, or of somebody who sees everybody's.
    pub fn of(tenant: Option<UserId>) -> Self {
        Self {
            tenant,
            calls: HashSet::new(),
        }
    }

    /// Leaves those that it may be told of; each is an event, or a call of a snapshot. What names no call is a change of the
    /// catalogue, chosen by its owner.
    pub async fn keep<T>(
        &mut self,
        store: &Store,
        told: &mut Vec<T>,
        data: impl Fn(&T) -> &Value,
    ) -> Result<(), Error> {
        let Some(tenant) = self.tenant else {
            return Ok(());
        };
        let id = |one: &T| data(one)["callId"].as_i64();
        if self.calls.len() > MOST {
            self.calls.clear();
        }
        let ids = told.iter().filter_map(id);
        let new: Vec<i64> = ids.filter(|id| !self.calls.contains(id)).collect();
        if !new.is_empty() {
            let seen = store.visible_calls(Reach::Tenant(tenant), &new).await?;
            self.calls.extend(seen);
        }
        told.retain(|one| {
            let own = id(one).is_none_or(|id| self.calls.contains(&id));
            if !own {
                tracing::warn!(
                    user.id = tenant.0,
                    call.id = id(one),
                    "a stream of events is not told of a call, which its seller does not find"
                );
            }
            own
        });
        Ok(())
    }
}
