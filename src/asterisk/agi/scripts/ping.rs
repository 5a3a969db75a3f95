//! `ping`: the daemon answers. For checks; it says nothing of database or ARI.

use crate::asterisk::agi::fault::Fault;
use crate::asterisk::agi::session::Session;
use crate::asterisk::agi::vars;

pub(super) async fn run(session: &mut Session) -> Result<(), Fault> {
    session.set_variable(vars::VERDICT, "PONG").await
}
