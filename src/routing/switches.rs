//! The hands of the engine: what it can have an Asterisk do, through whoever watches that Asterisk.
//!
//! Nothing else in the engine changes a call that Asterisk carries. What becomes of the call is settled as always, by
//! what is reported and seen afterwards.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use tracing::info;

use super::{Engine, Error};
use crate::calls::store::live::LiveChannelRow;
use crate::db::request::Reach;
use crate::domain::{CallId, SeenChannel, ServerName};

/// What an order to Asterisk gives: whether there was such a channel, or why that is not known.
pub type Ordered<'a> = Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'a>>;

/// Orders to one Asterisk.
pub trait Switch: Send + Sync {
    /// Hangs up a channel, if there is one of this id and name. Ends within the time a request may take.
    fn hang_up<'a>(&'a self, channel: &'a SeenChannel) -> Ordered<'a>;
}

/// The Asterisks that take orders from this daemon.
#[derive(Default)]
pub(super) struct Switches(RwLock<HashMap<ServerName, Arc<dyn Switch>>>);

impl Switches {
    /// Names of those Asterisks.
    pub(super) fn names(&self) -> Vec<ServerName> {
        let switches = self.0.read().unwrap_or_else(PoisonError::into_inner);
        switches.keys().cloned().collect()
    }

    fn of(&self, server: &ServerName) -> Option<Arc<dyn Switch>> {
        let switches = self.0.read().unwrap_or_else(PoisonError::into_inner);
        switches.get(server).cloned()
    }
}

/// The order to end a call under way.
pub struct HangUpOrder {
    call: CallId,
    server: ServerName,
    channel: SeenChannel,
    switch: Arc<dyn Switch>,
}

/// Why a call is not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoHangUp {
    /// There is no such call within reach, or it has ended.
    NotLive,
    /// On which Asterisk it is has not been seen yet.
    NotSeen,
    /// This daemon does not watch the Asterisk it is on.
    Elsewhere {
        /// The Asterisk.
        server: ServerName,
        /// Names of the daemons that watch it now: one of them can be asked.
        nodes: Vec<String>,
    },
    /// Several Asterisks use the name, and the call may be another one's: so may its unique id.
    Contested {
        /// The name.
        server: ServerName,
    },
    /// Asterisk did not do it.
    Failed {
        /// The Asterisk.
        server: ServerName,
        /// Why.
        reason: String,
    },
}

impl Engine {
    /// From now on this daemon gives orders to a server.
    pub fn attach(&self, server: ServerName, switch: Arc<dyn Switch>) {
        let mut switches = self
            .switches
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        switches.insert(server, switch);
    }

    /// Finds the channel of a call under way, if it is within reach, to end it by [`HangUpOrder::carry_out`].
    pub async fn find_to_hang_up(
        &self,
        reach: Reach,
        call: CallId,
    ) -> Result<Result<HangUpOrder, NoHangUp>, Error> {
        let Some(live) = self.store.live_channel(reach, call).await? else {
            return Ok(Err(NoHangUp::NotLive));
        };
        let Some(server) = live.server else {
            return Ok(Err(NoHangUp::NotSeen));
        };
        let Some(switch) = self.switches.of(&server) else {
            let nodes = self.store.watchers(&server).await?;
            return Ok(Err(NoHangUp::Elsewhere { server, nodes }));
        };
        let (system_name, contested) = self.sightings.standing(&server);
        let seen_here = live.seen_by.as_ref() == Some(&self.settings.node);
        let is_another = live
            .system_name
            .zip(system_name)
            .is_some_and(|(call, seen)| call != seen);
        if (contested && !seen_here) || is_another {
            return Ok(Err(NoHangUp::Contested { server }));
        }
        Ok(Ok(HangUpOrder {
            call,
            server,
            channel: live.channel,
            switch,
        }))
    }
}

impl HangUpOrder {
    /// Ends the call. False: its channel has gone already, and its end is about to be settled. Looks at the call again
    /// before: it may have ended since it was found, and its channel may carry the next one.
    pub async fn carry_out(self, engine: &Engine) -> Result<Result<bool, NoHangUp>, Error> {
        let live = engine
            .store
            .live_channel(Reach::Everything, self.call)
            .await?;
        let is_it = |live: LiveChannelRow| {
            live.channel.uniqueid == self.channel.uniqueid
                && live.channel.name == self.channel.name
                && live.server.as_ref() == Some(&self.server)
        };
        if !live.is_some_and(is_it) {
            return Ok(Ok(false));
        }
        Ok(match self.switch.hang_up(&self.channel).await {
            Ok(done) => {
                info!(call.id = %self.call, call.uniqueid = %self.channel.uniqueid, server = %self.server, done,
                    "a call was ended by order");
                Ok(done)
            }
            Err(reason) => Err(NoHangUp::Failed {
                server: self.server,
                reason,
            }),
        })
    }
}
