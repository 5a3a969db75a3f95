//! `ping`: the daemon answers. For checks; it says nothing of database or ARI.

use crate::agi::{fault::Fault, session::Session, vars};

pub(super) async fn run(session: &mut Session) -> Result<(), Fault> {
    session.set_variable(vars::VERDICT, "PONG").await
}
