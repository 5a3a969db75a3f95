//! The sweep: compares what the database believes with what Asterisk and the reservations say, and
//! repairs the difference. It has no input but the state, so it is the same after a lost event, a crash
//! or a restart.

use std::collections::HashMap;

use jiff::SignedDuration;
use tracing::{error, info, warn};

use super::{Engine, Error};
use crate::clock;
use crate::domain::{LiveChannel, ServerName, UniqueId};
use crate::metrics;
use crate::store::calls::Attempt;
use crate::store::sweep::OpenCall;

/// A channel made this long after the call of its unique id was first seen belongs to another call, of a
/// restarted Asterisk. Wide enough for clocks that differ.
const OTHER_CALL: SignedDuration = SignedDuration::from_secs(60);

/// How long a call whose end came before its question keeps its unique id: longer than a question lives.
const OVER: SignedDuration = SignedDuration::from_secs(30);

/// So many references to deleted rows are cleared in a sweep: a second's work or two.
const REFERENCES_A_SWEEP: u32 = 20_000;

/// Open calls as they stood before a list of live channels was taken.
#[derive(Debug)]
pub struct OpenCalls(Vec<OpenCall>);

/// What a reconciliation repaired.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Repairs {
    /// Calls ended because their channel is gone.
    pub lost: u32,
    /// Calls now known to be on the server.
    pub adopted: u32,
    /// Answers that had not been seen.
    pub answered: u32,
    /// Offers that never reached the dialplan while their call went elsewhere.
    pub undialled: u32,
}

impl Engine {
    /// The open calls that live on `server` or on no known server. Take this list **before** the list of
    /// channels: then a call in it that has no channel is really gone.
    pub async fn open_calls(&self, server: &ServerName) -> Result<OpenCalls, Error> {
        Ok(OpenCalls(self.store.open_calls(server).await?))
    }

    /// Settles the calls whose channels are gone and adopts those that live.
    pub async fn reconcile(
        &self,
        server: &ServerName,
        open: OpenCalls,
        live: &[LiveChannel],
    ) -> Result<Repairs, Error> {
        let channels: HashMap<&UniqueId, &LiveChannel> =
            live.iter().map(|c| (&c.uniqueid, c)).collect();
        let mut repairs = Repairs::default();
        let mut adopted = Vec::new();
        for call in open.0 {
            let channel = channels
                .get(&call.uniqueid)
                .filter(|channel| is_channel_of(channel, &call));
            match channel {
                Some(channel) => {
                    if !call.on_server {
                        adopted.push(call.call_id);
                    }
                    if channel.dials.is_some() {
                        self.legs.note_unknown(server, &call.uniqueid);
                    }
                    // A caller's channel is answered only when somebody it dialled answered: the target
                    // offered, or else a fallback that no offer of ours led to.
                    if let (true, Some((attempt, endpoint)), Some(dials)) =
                        (channel.answered, &call.held, &channel.dials)
                    {
                        if dials.strip_prefix("PJSIP/") == Some(endpoint) {
                            self.confirm_seen_answer(&call.uniqueid, *attempt).await?;
                            repairs.answered += 1;
                        } else {
                            warn!(call.id = %call.call_id, call.uniqueid = %call.uniqueid,
                                "call talks to somebody it was not offered to: its slot is freed");
                            self.release_undialled(&call.uniqueid, *attempt).await?;
                            repairs.undialled += 1;
                        }
                    }
                }
                None if call.on_server => {
                    warn!(call.id = %call.call_id, call.uniqueid = %call.uniqueid, server = %server,
                        "call has no channel any more and its end was not reported: ended now");
                    self.close_as_lost(call.call_id).await?;
                    repairs.lost += 1;
                }
                // Not on a server we know of: not ours to judge.
                None => {}
            }
        }
        if !adopted.is_empty() {
            repairs.adopted = adopted.len() as u32;
            self.store.adopt_calls(server, &adopted).await?;
        }
        for (kind, count) in [
            ("lost_call", repairs.lost),
            ("adopted_call", repairs.adopted),
            ("missed_answer", repairs.answered),
            ("undialled_offer", repairs.undialled),
        ] {
            metrics::reconcile_repairs(kind, u64::from(count));
        }
        Ok(repairs)
    }

    async fn confirm_seen_answer(&self, caller: &UniqueId, attempt: u32) -> Result<(), Error> {
        let same = |open: &Attempt| open.attempt == attempt;
        if let Some((settling, open)) = self.unanswered_attempt(caller, same).await? {
            info!(call.uniqueid = %caller, "answer was not seen; its channel is up: confirmed now");
            settling.confirm(open.attempt, clock::now()).await?;
        }
        Ok(())
    }

    /// Repairs that need no view of Asterisk, and the gauges.
    pub async fn sweep(&self) -> Result<(), Error> {
        self.settle_late_reports().await?;
        let now = clock::now();
        if let Ok(before) = now.checked_sub(OVER) {
            self.store.end_over_calls(before).await?;
        }
        for call_id in self.store.overdue_calls(now).await? {
            warn!(call.id = %call_id, "call outlived its hard time limit: ended now");
            self.close_as_lost(call_id).await?;
            metrics::reconcile_repairs("overdue_call", 1);
        }
        for call_id in self.store.orphaned_reservations().await? {
            error!(call.id = %call_id, "open reservation of a call that is not under way: taken back");
            self.store.expire_reservations(call_id, now).await?;
            metrics::reconcile_repairs("orphaned_reservation", 1);
        }
        let drift = self.store.usage_drift().await?;
        metrics::usage_drift(drift.len() as u64);
        for link in drift {
            error!(link.id = %link.link_id, counted = ?link.counted, open = ?link.open,
                "usage counters differ from the open reservations: recounted");
            self.store.recount_usage(link.link_id).await?;
            metrics::reconcile_repairs("usage_drift", 1);
        }
        let activity = self.store.activity().await?;
        metrics::calls_active(activity.calls.unsigned_abs());
        metrics::reservations_open("held", activity.held.unsigned_abs());
        metrics::reservations_open("confirmed", activity.confirmed.unsigned_abs());
        metrics::db_pool_in_use(self.store.connections_in_use());
        // Last, because it takes longest and nobody waits for it.
        self.store
            .clear_deleted_references(REFERENCES_A_SWEEP)
            .await?;
        Ok(())
    }
}

fn is_channel_of(channel: &LiveChannel, call: &OpenCall) -> bool {
    channel
        .created_at
        .is_none_or(|created| created.duration_since(call.started_at) < OTHER_CALL)
}
