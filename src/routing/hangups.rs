//! Ends of calls that other daemons ask this one for, because it watches the Asterisk that the call is on.

use futures_util::future::join_all;
use tracing::{debug, warn};

use super::{Engine, Error, NoHangUp};
use crate::db::request::Reach;
use crate::domain::CallId;

impl Engine {
    /// Carries out the orders that wait for the Asterisks this daemon gives orders to. Returns how many were taken. Each
    /// ends within the time that a request to Asterisk may take.
    pub async fn carry_out_orders(&self) -> Result<usize, Error> {
        let servers = self.switches.names();
        if servers.is_empty() {
            return Ok(0);
        }
        let taken = self
            .store
            .take_hang_ups(&self.settings.node, &servers)
            .await?;
        let each = taken.iter().map(|&(order, call)| async move {
            let hung_up = match self.hang_up(call).await {
                Ok(Ok(hung_up)) => Some(hung_up),
                // It has ended meanwhile.
                Ok(Err(NoHangUp::NotLive)) => Some(false),
                Ok(Err(why)) => {
                    warn!(call.id = %call, reason = ?why, "a call cannot be ended for another daemon");
                    None
                }
                Err(error) => {
                    warn!(call.id = %call, %error, "a call cannot be ended for another daemon");
                    None
                }
            };
            // Who asked is told that it is not known, after a while.
            if let Err(error) = self.store.answer_hang_up(order, hung_up).await {
                debug!(call.id = %call, %error, "what came of an order is not told");
            }
        });
        join_all(each).await;
        Ok(taken.len())
    }

    async fn hang_up(&self, call: CallId) -> Result<Result<bool, NoHangUp>, Error> {
        match self.find_to_hang_up(Reach::Everything, call).await? {
            Ok(order) => order.carry_out(self).await,
            Err(why) => Ok(Err(why)),
        }
    }
}
