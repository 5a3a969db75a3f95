//! The comparison of calls with the channels of their Asterisk, and the repair of the difference.
//!
//! It has no input but what is stored and what Asterisk lists, so it is the same after a lost event, a crash or a
//! restart. It never concludes more than is seen: a call is somebody's once its channel was seen there, a target
//! has answered when its own channel is up and talks with the caller, and what it does not understand it leaves alone.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures_util::StreamExt;
use tracing::{error, info, warn};

use super::servers::Warning;
use super::sightings::is_of;
use super::store::calls::{ConfirmedBy, SlotEnd};
use super::store::sweep::{OpenAttempt, OpenCall, WaitingSlot};
use super::{ConflictKind, Engine, Error};
use crate::domain::{
    CallId, DialledOn, LiveChannel, LiveView, ServerIdentity, ServerName, UniqueId,
};
use crate::runtime::metrics;

/// Calls ended at the same time: fewer than there are connections for it.
const AT_ONCE: usize = 2;

/// So few open calls may all be gone at once without a second look.
const FEW: usize = 10;

/// What was open before a list of live channels was taken.
#[derive(Debug)]
pub struct OpenCalls {
    calls: Vec<OpenCall>,
    waiting: Vec<WaitingSlot>,
}

/// Calls that seemed to be gone in the last comparison, which was not believed.
pub(super) type Suspects = Mutex<HashMap<ServerName, HashSet<CallId>>>;

/// What a reconciliation repaired.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Repairs {
    /// Calls ended because their channel is gone.
    pub lost: u32,
    /// Calls now known to be on the server.
    pub adopted: u32,
    /// Answers that had not been seen.
    pub answered: u32,
    /// Offers that never reached the dialplan while their call went elsewhere.
    pub undialled: u32,
    /// Targets that had left a call which goes on.
    pub departed: u32,
    /// Slots whose target's channel was not seen to go.
    pub released: u32,
    /// What somebody should mend about the servers' names.
    pub warnings: Vec<Warning>,
}

/// What there is to do about one call.
enum Finding {
    Nothing,
    Answered(u32),
    Undialled(u32),
    Departed(u32),
}

impl Engine {
    /// What is open on `server` or on no known server. Take this list **before** the list of
    /// channels: then a call in it that has no channel is really gone.
    pub async fn open_calls(&self, server: &ServerName) -> Result<OpenCalls, Error> {
        self.sightings.begin_look(server);
        self.gate.begin(server);
        // What was reported says more of a call than that its channel is gone: it goes first.
        self.settle_late_reports().await?;
        Ok(OpenCalls {
            calls: (self.store.open_calls(server, &self.settings.node)).await?,
            waiting: self.store.waiting_slots(server).await?,
        })
    }

    /// Settles the calls whose channels are gone and adopts those that live.
    pub async fn reconcile(
        &self,
        server: &ServerName,
        identity: &ServerIdentity,
        open: OpenCalls,
        live: &LiveView,
    ) -> Result<Repairs, Error> {
        let restarted = self.sightings.was_restarted(server, identity);
        let attended = self.attend(server, identity).await;
        let contested = matches!(attended, Err(Error::Contested(_)));
        self.sightings.refresh(server, identity, contested, live);
        let mut repairs = Repairs {
            warnings: attended?,
            ..Repairs::default()
        };
        let comparison = Comparison {
            engine: self,
            server,
            identity,
            live,
            channels: (live.channels.iter())
                .map(|c| (&c.channel.uniqueid, c))
                .collect(),
            ambiguous: ambiguous(&open.calls),
            only_server: self.settings.servers.len() <= 1
                && !repairs
                    .warnings
                    .iter()
                    .any(|w| matches!(w.kind, ConflictKind::SystemName | ConflictKind::Address)),
        };
        let lost = comparison.lost(&open.calls);
        self.doubt(server, &open.calls, &lost, restarted)?;
        let mut failed = None;
        let mut remember = |error: Error| {
            warn!(%error, asterisk = %server, "a call could not be repaired; the others are");
            failed.get_or_insert(error);
        };
        self.close_lost(server, lost, &mut repairs, &mut remember)
            .await;
        let mut alive = Vec::new();
        let mut adopted = Vec::new();
        for call in &open.calls {
            let Some(channel) = comparison.channel_of(call) else {
                continue;
            };
            if !call.on_server {
                adopted.push((call.call_id, channel.channel.created_at));
            }
            if call.expires_soon {
                alive.push(call.call_id);
            }
            if let Err(error) = comparison.mend(call, channel, &mut repairs).await {
                remember(error);
            }
        }
        for slot in open.waiting {
            if self.sightings.has_leg(
                server,
                slot.leg.as_ref(),
                slot.caller.as_ref(),
                slot.endpoint.as_deref(),
            ) {
                continue;
            }
            let released = SlotEnd::Released;
            let given = self
                .store
                .release_reservation(slot.call_id, slot.attempt, released);
            match given.await {
                Ok(freed) => repairs.released += u32::from(freed),
                Err(error) => remember(error.into()),
            }
        }
        if !adopted.is_empty() {
            repairs.adopted = adopted.len() as u32;
            let node = &self.settings.node;
            self.store.adopt_calls(server, &adopted, node).await?;
        }
        if !alive.is_empty() {
            self.store.extend_calls(&alive).await?;
        }
        repairs.count();
        if let Some(error) = failed {
            return Err(error);
        }
        self.gate.done(server);
        Ok(repairs)
    }

    /// That most calls end in one moment without a word is more likely our mistake than theirs, unless Asterisk was
    /// restarted: it is asked again before it is believed.
    fn doubt(
        &self,
        server: &ServerName,
        open: &[OpenCall],
        lost: &[&OpenCall],
        restarted: bool,
    ) -> Result<(), Error> {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let known = suspects.remove(server).unwrap_or_default();
        let on_server = open.iter().filter(|call| call.on_server).count();
        // Those that the last list lacked too are believed; a few more may have ended since.
        let news = lost.iter().filter(|call| !known.contains(&call.call_id));
        let news = news.count();
        if restarted || news < FEW || news * 2 <= on_server {
            return Ok(());
        }
        let ids = lost.iter().map(|call| call.call_id).collect();
        suspects.insert(server.clone(), ids);
        Err(Error::Implausible {
            lost: lost.len(),
            open: on_server,
        })
    }

    async fn close_lost(
        &self,
        server: &ServerName,
        lost: Vec<&OpenCall>,
        repairs: &mut Repairs,
        remember: &mut impl FnMut(Error),
    ) {
        let mut closings = Vec::with_capacity(lost.len());
        for call in lost {
            warn!(call.id = %call.call_id, call.uniqueid = %call.uniqueid, server = %server,
                "call has no channel any more and its end was not reported: ended now");
            closings.push(self.close_as_lost(call.call_id));
        }
        let mut closed = futures_util::stream::iter(closings).buffer_unordered(AT_ONCE);
        while let Some(result) = closed.next().await {
            match result {
                Ok(_) => repairs.lost += 1,
                Err(error) => remember(error),
            }
        }
    }
}

impl Repairs {
    fn count(&self) {
        for (kind, count) in [
            ("lost_call", self.lost),
            ("adopted_call", self.adopted),
            ("missed_answer", self.answered),
            ("undialled_offer", self.undialled),
            ("departed_target", self.departed),
            ("waiting_slot", self.released),
        ] {
            metrics::reconcile_repairs(kind, u64::from(count));
        }
    }
}

/// Unique ids under which several calls wait to be seen on channels of the same name.
fn ambiguous(calls: &[OpenCall]) -> HashSet<UniqueId> {
    let mut seen = HashSet::new();
    calls
        .iter()
        .filter(|call| !call.on_server)
        .filter(|call| !seen.insert((&call.uniqueid, &call.channel)))
        .map(|call| call.uniqueid.clone())
        .collect()
}

/// The calls of one server beside what it lists.
struct Comparison<'a> {
    engine: &'a Engine,
    server: &'a ServerName,
    identity: &'a ServerIdentity,
    live: &'a LiveView,
    channels: HashMap<&'a UniqueId, &'a LiveChannel>,
    /// Unique ids of several calls that nobody has seen and that could be on the same channel.
    ambiguous: HashSet<UniqueId>,
    /// No other Asterisk is known that a call could be on.
    only_server: bool,
}

impl<'a> Comparison<'a> {
    /// The call's channel in the list. A channel of the same unique id may be another call's: of another server, or
    /// made by a restarted one.
    fn channel_of(&self, call: &OpenCall) -> Option<&'a LiveChannel> {
        let found = *self.channels.get(&call.uniqueid)?;
        let its_own = if call.on_server {
            let made = call.channel_created_at.zip(found.channel.created_at);
            made.is_none_or(|(ours, listed)| ours == listed)
        } else {
            let system_fits = (call.system_name.as_ref())
                .is_none_or(|name| self.identity.system_name.as_ref() == Some(name));
            let sighting = (self.engine.sightings).find(&call.uniqueid, &call.channel);
            system_fits
                && !self.ambiguous.contains(&call.uniqueid)
                && sighting.is_some_and(|s| s.server == *self.server)
        };
        its_own.then_some(found)
    }

    /// The calls that have no channel any more.
    fn lost<'c>(&self, calls: &'c [OpenCall]) -> Vec<&'c OpenCall> {
        let gone = |call: &&OpenCall| {
            self.channel_of(call).is_none()
                && self.may_judge(call)
                && !self.engine.late.is_about(&call.uniqueid)
        };
        calls.iter().filter(gone).collect()
    }

    /// Whether it is for us to say that a call is gone. It is where its channel was seen, unless another daemon saw it
    /// and still watches. A call that nobody has seen belongs to the server whose system name the dialplan told, or
    /// else to the only server there is.
    fn may_judge(&self, call: &OpenCall) -> bool {
        if call.watched_elsewhere || !call.on_server && self.ambiguous.contains(&call.uniqueid) {
            return false;
        }
        if call.on_server {
            return true;
        }
        match &call.system_name {
            Some(name) => self.identity.system_name.as_ref() == Some(name) && self.name_is_unique(),
            None => self.only_server && call.likely_server.as_deref() == Some(self.server.as_str()),
        }
    }

    fn name_is_unique(&self) -> bool {
        let (_, contested) = self.engine.sightings.standing(self.server);
        !contested
    }

    /// What the list says of a call that is there.
    fn look_at(&self, channel: &LiveChannel, open: &OpenAttempt) -> Finding {
        let caller = &channel.channel.uniqueid;
        let sightings = &self.engine.sightings;
        if open.confirmed {
            let by_channel = open.confirmed_by != Some(ConfirmedBy::Report);
            let nothing_left = || {
                by_channel
                    && sightings.leg_of(self.server, caller).is_none()
                    && !sightings.has_channel_of(self.server, &open.endpoint)
            };
            let target_is_gone = sightings
                .has_departed(self.server, caller)
                .unwrap_or_else(nothing_left);
            return if target_is_gone {
                Finding::Departed(open.attempt)
            } else {
                Finding::Nothing
            };
        }
        if self.talks_with(caller, &open.endpoint) {
            return Finding::Answered(open.attempt);
        }
        // What a dialplan dials is understood only where it says itself that it is its fallback.
        if channel.up && channel.reservation == Some(DialledOn::Fallback) {
            return Finding::Undialled(open.attempt);
        }
        Finding::Nothing
    }

    /// Whether the caller is in one bridge with a channel of this endpoint that is up. Where Asterisk does not say who is
    /// in which bridge, whether the channel dialled for the caller is up.
    fn talks_with(&self, caller: &UniqueId, endpoint: &str) -> bool {
        let is_target = |id: &UniqueId| {
            let channel = self.channels.get(id);
            channel.is_some_and(|c| c.up && is_of(&c.channel.name, &[endpoint]))
        };
        match &self.live.bridges {
            Some(bridges) => bridges
                .iter()
                .filter(|bridge| bridge.contains(caller))
                .any(|bridge| bridge.iter().any(|id| id != caller && is_target(id))),
            None => (self.engine.sightings.leg_of(self.server, caller))
                .is_some_and(|leg| is_target(&leg)),
        }
    }

    async fn mend(
        &self,
        call: &OpenCall,
        channel: &LiveChannel,
        repairs: &mut Repairs,
    ) -> Result<(), Error> {
        let Some(open) = &call.open else {
            return Ok(());
        };
        let (engine, server, caller) = (self.engine, self.server, &channel.channel);
        match self.look_at(channel, open) {
            Finding::Nothing => {}
            Finding::Answered(attempt) => {
                let same = |a: &super::store::calls::Attempt| a.attempt == attempt;
                let by = ConfirmedBy::Bridge;
                let heard = Instant::now();
                if engine.confirm_seen(server, caller, same, by, heard).await? {
                    info!(call.id = %call.call_id, call.uniqueid = %call.uniqueid,
                        "answer was not seen; caller and target talk: confirmed now");
                    repairs.answered += 1;
                }
            }
            Finding::Undialled(attempt) => {
                warn!(call.id = %call.call_id, call.uniqueid = %call.uniqueid,
                    "call talks to the dialplan's fallback, not to the target it was offered: its slot is freed");
                engine.release_undialled(server, caller, attempt).await?;
                repairs.undialled += 1;
            }
            Finding::Departed(attempt) => {
                engine.release_departed(server, caller, attempt).await?;
                repairs.departed += 1;
            }
        }
        Ok(())
    }
}

/// Says an error of one repair and goes on with the others.
pub(super) fn go_on(what: &str, error: &Error) {
    error!(%error, "{what}: it is tried again in the next sweep");
}
