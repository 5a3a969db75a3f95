//! Repairs that need no view of Asterisk, and the gauges.
//!
//! One call that cannot be repaired does not keep the others waiting: each is tried, and what failed is tried again.

use tracing::{error, warn};

use super::reconcile::go_on;
use super::store::calls::SlotEnd;
use super::{Engine, Error};
use crate::runtime::metrics;

/// So many references to deleted rows are cleared in a sweep: a second's work or two.
const REFERENCES_A_SWEEP: u32 = 20_000;

impl Engine {
    /// Repairs that need no view of Asterisk, and the gauges.
    pub async fn sweep(&self) -> Result<(), Error> {
        let late = self.settle_late_reports().await;
        let own = self.show_activity().await;
        // What concerns all daemons one of them does.
        let shared = match self.store.take_sweep().await? {
            Some(turn) => {
                let done = self.sweep_for_all().await;
                turn.finish().await;
                done
            }
            None => Ok(()),
        };
        late.and(own).and(shared)
    }

    async fn show_activity(&self) -> Result<(), Error> {
        let activity = self.store.activity().await?;
        metrics::calls_active(activity.calls.unsigned_abs());
        metrics::reservations_open("held", activity.held.unsigned_abs());
        metrics::reservations_open("confirmed", activity.confirmed.unsigned_abs());
        metrics::db_pool_in_use(self.store.connections_in_use());
        Ok(())
    }

    async fn sweep_for_all(&self) -> Result<(), Error> {
        self.store.end_over_calls().await?;
        for call_id in self.store.overdue_calls().await? {
            warn!(call.id = %call_id, "call outlived its hard time limit, watched by nobody: ended now");
            match self.close_as_lost(call_id).await {
                Ok(_) => metrics::reconcile_repairs("overdue_call", 1),
                Err(error) => go_on("an overdue call cannot be ended", &error),
            }
        }
        for (call_id, attempt) in self.store.unwatched_slots().await? {
            let expired = SlotEnd::Expired;
            match self
                .store
                .release_reservation(call_id, attempt, expired)
                .await
            {
                Ok(_) => metrics::reconcile_repairs("unwatched_slot", 1),
                Err(error) => go_on("a slot that nobody watches cannot be freed", &error.into()),
            }
        }
        for call_id in self.store.orphaned_reservations().await? {
            error!(call.id = %call_id, "open reservation of a call that is not under way: taken back");
            match self.store.expire_reservations(call_id).await {
                Ok(_) => metrics::reconcile_repairs("orphaned_reservation", 1),
                Err(error) => go_on("an orphaned slot cannot be taken back", &error.into()),
            }
        }
        let drift = self.store.usage_drift().await?;
        metrics::usage_drift(drift.len() as u64);
        for link in drift {
            error!(link.id = %link.link_id, counted.held = link.counted.0, counted.confirmed = link.counted.1,
                open.held = link.open.0, open.confirmed = link.open.1,
                "usage counters differ from the open reservations: recounted");
            match self.store.recount_usage(link.link_id).await {
                Ok(()) => metrics::reconcile_repairs("usage_drift", 1),
                Err(error) => go_on("a link's use cannot be recounted", &error.into()),
            }
        }
        // Last, because it takes longest and nobody waits for it.
        self.store
            .clear_deleted_references(REFERENCES_A_SWEEP)
            .await?;
        Ok(())
    }
}
