//! What people end because nobody else can: the calls of a server that does not come back, one call, one slot.
//!
//! Nothing here hangs anybody up. Who frees the slot of a call that still talks lets its cap be passed.

use tracing::warn;

use super::{Engine, Error};
use crate::clock;
use crate::domain::{CallId, ReservationId, ServerName};
use crate::store::calls::{AttemptEnd, Outcome};
use crate::store::servers::Declared;

/// A server that an observer saw within this time is not dead.
const UNSEEN_SECONDS: i64 = 60;

/// What became of a declaration that a server is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredDead {
    /// It is noted, and its calls have ended.
    Done {
        /// How many those were.
        calls: u32,
    },
    /// Nothing was done: a daemon sees it.
    Observed {
        /// The daemon.
        observer: String,
        /// How long ago it saw it.
        seconds_ago: i64,
    },
    /// Nothing was done: there is no such server.
    Unknown,
}

impl Engine {
    /// Ends the calls of a server that does not come back, as lost. Declared twice, the second time ends what
    /// became known of it since.
    pub async fn declare_server_dead(
        &self,
        server: &ServerName,
        by: &str,
    ) -> Result<DeclaredDead, Error> {
        let declared = self
            .store
            .declare_server_dead(server, by, UNSEEN_SECONDS)
            .await?;
        match declared {
            Declared::Unknown => return Ok(DeclaredDead::Unknown),
            Declared::Observed {
                observer,
                seconds_ago,
            } => {
                return Ok(DeclaredDead::Observed {
                    observer,
                    seconds_ago,
                });
            }
            Declared::Noted => {}
        }
        let open = self.store.open_calls(server).await?;
        let mut calls = 0;
        for call in open.iter().filter(|call| call.on_server) {
            if self.release_call(call.call_id).await? {
                calls += 1;
            }
        }
        warn!(server = %server, by, calls, "server declared dead: its calls have ended");
        Ok(DeclaredDead::Done { calls })
    }

    /// Ends a call as lost and frees its slot. `false`: it is not under way, and no slot of it is open.
    pub async fn release_call(&self, call_id: CallId) -> Result<bool, Error> {
        if !self.store.is_call_open(call_id).await? {
            return Ok(false);
        }
        self.close_as_lost(call_id).await?;
        // A slot may outlive its call.
        self.store
            .expire_reservations(call_id, clock::now())
            .await?;
        warn!(call.id = %call_id, "call ended by hand");
        Ok(true)
    }

    /// Frees one slot; its call goes on. `false`: it is not open.
    pub async fn release_reservation(&self, reservation: ReservationId) -> Result<bool, Error> {
        let Some(call_id) = self.store.call_of_open_reservation(reservation).await? else {
            return Ok(false);
        };
        match self.store.settle_by_id(call_id).await? {
            Some(settling) => {
                let open = settling
                    .open_attempt()
                    .filter(|attempt| attempt.reservation_id == reservation)
                    .cloned();
                let Some(open) = open else {
                    // Settled this moment.
                    settling.leave().await;
                    return Ok(false);
                };
                let end = AttemptEnd {
                    outcome: match open.answered_at {
                        Some(_) => Outcome::Answered,
                        None => Outcome::Lost,
                    },
                    status: open.status,
                    cause: None,
                    answered_at: open.answered_at,
                    at: clock::now().max(open.offered_at),
                };
                settling.end_attempt(&end).await?;
            }
            None => {
                self.store
                    .expire_reservations(call_id, clock::now())
                    .await?;
            }
        }
        warn!(call.id = %call_id, reservation.id = %reservation, "slot freed by hand");
        Ok(true)
    }
}
