//! Which machine stands behind a server's name: several may use the same name, and then nobody's calls are ended.

use std::fmt;

use super::store::sweep::OtherObserver;
use super::{Engine, Error};
use crate::domain::{CallId, ReservationId, ServerIdentity, ServerName};
use crate::runtime::metrics;

/// What is wrong with how the servers are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConflictKind {
    /// Two machines under one name: the calls of neither can be judged.
    Name,
    /// Two servers without a system name, or with the same: their unique ids may be the same.
    SystemName,
    /// Two names for one machine.
    Entity,
    /// Two servers on one address.
    Address,
}

impl ConflictKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Name, Self::SystemName, Self::Entity, Self::Address];

    /// As in the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::SystemName => "system_name",
            Self::Entity => "entity",
            Self::Address => "address",
        }
    }
}

/// Something that somebody should mend, with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What kind.
    pub kind: ConflictKind,
    /// In words.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Compares what we see under a server's name with what the other daemons see.
pub fn conflicts(
    server: &ServerName,
    identity: &ServerIdentity,
    others: &[OtherObserver],
) -> Vec<Warning> {
    let name = server.as_str();
    let mut found = Vec::new();
    let mut add = |kind, text: String| found.push(Warning { kind, text });
    if let Some(other) = others
        .iter()
        .find(|other| other.fresh && other.server == name && is_another(identity, &other.identity))
    {
        let node = &other.node;
        add(
            ConflictKind::Name,
            format!(
                "daemon {node} watches another Asterisk under the name {name}: give each [[asterisk]] that shares the \
                 database a name of its own; until then no call of either is ended by comparison"
            ),
        );
    }
    let mut elsewhere = others.iter().filter(|other| other.server != name);
    let same_system = |other: &&OtherObserver| match &identity.system_name {
        Some(own) => other.identity.system_name.as_ref() == Some(own),
        None => true,
    };
    if let Some(other) = elsewhere.clone().find(same_system) {
        let text = match &identity.system_name {
            Some(own) => format!(
                "{name} and {} both call themselves {own}: set another systemname in asterisk.conf of one",
                other.server
            ),
            None => format!(
                "{name} has no system name, and {} shares the database: set systemname in its asterisk.conf, or calls \
                 of two servers may have the same unique id",
                other.server
            ),
        };
        add(ConflictKind::SystemName, text);
    }
    if let Some(other) = elsewhere.find(|other| {
        other.fresh && identity.entity_id.is_some() && !is_another(identity, &other.identity)
    }) {
        add(
            ConflictKind::Entity,
            format!(
                "{name} and {} are the same Asterisk: use one name for it in every daemon",
                other.server
            ),
        );
    }
    found
}

/// Two descriptions that cannot be of the same running Asterisk.
fn is_another(a: &ServerIdentity, b: &ServerIdentity) -> bool {
    let differ = |a: Option<&String>, b: Option<&String>| a.zip(b).is_some_and(|(a, b)| a != b);
    differ(a.entity_id.as_ref(), b.entity_id.as_ref())
        || a.startup_time
            .zip(b.startup_time)
            .is_some_and(|(a, b)| a != b)
}

/// What came of declaring a server dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredDead {
    /// Its calls are ended and their slots taken back.
    Done {
        /// How many calls.
        calls: u32,
    },
    /// It lives: a daemon compared its calls a moment ago.
    Observed {
        /// Which daemon.
        observer: String,
        /// How many seconds ago.
        seconds_ago: i64,
    },
    /// There is no such server.
    Unknown,
}

impl Engine {
    /// Notes what a server says of itself, and what is wrong with its name. An error where another machine uses it:
    /// then nothing may be concluded from its channels.
    pub(super) async fn attend(
        &self,
        server: &ServerName,
        identity: &ServerIdentity,
    ) -> Result<Vec<Warning>, Error> {
        let node = &self.settings.node;
        let others = self.store.observe_server(server, node, identity).await?;
        let mut warnings = conflicts(server, identity, &others);
        if let Some(other) = self.shares_address(server) {
            warnings.push(Warning {
                kind: ConflictKind::Address,
                text: format!(
                    "{server} and {other} have the same address: which of them a call is on is known only once its \
                     channel is seen"
                ),
            });
        }
        let by_name = warnings.iter().find(|w| w.kind == ConflictKind::Name);
        let contested = match by_name {
            Some(warning) => Some(warning.text.clone()),
            None if self.store.keep_server(server, node, identity).await? => None,
            None => Some(format!(
                "the name {server} belongs to another Asterisk (another entity id), which still has calls or is \
                 watched: wait until they have ended, or say `capconduit server declare-dead {server}` if it is gone \
                 for good"
            )),
        };
        for kind in ConflictKind::ALL {
            let mut count = warnings.iter().filter(|w| w.kind == kind).count();
            if kind == ConflictKind::Name && contested.is_some() {
                count = 1;
            }
            metrics::server_conflicts(server.as_str(), kind.as_str(), count as u64);
        }
        self.store
            .contest_server(server, node, contested.is_some())
            .await?;
        match contested {
            Some(text) => Err(Error::Contested(text)),
            None => Ok(warnings),
        }
    }

    fn shares_address(&self, server: &ServerName) -> Option<&ServerName> {
        let servers = &self.settings.servers;
        let (_, own) = servers.iter().find(|(name, _)| name == server)?;
        let shares = |(name, addresses): &&(ServerName, Vec<std::net::IpAddr>)| {
            name != server
                && addresses
                    .iter()
                    .any(|a| own.iter().any(|b| super::same_host(*a, *b)))
        };
        servers.iter().find(shares).map(|(name, _)| name)
    }

    /// A daemon that goes does not watch any more: others need not wait for what it would say.
    pub async fn leave(&self, server: &ServerName) -> Result<(), Error> {
        Ok(self.store.leave_server(server, &self.settings.node).await?)
    }

    /// Ends all calls of a server that will not come back, and takes their slots back. `by`: who says so.
    pub async fn declare_server_dead(
        &self,
        server: &ServerName,
        by: &str,
    ) -> Result<DeclaredDead, Error> {
        use super::store::sweep::Declared;
        match self.store.declare_dead(server, by).await? {
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
            Declared::Dead => {}
        }
        let mut calls = 0;
        for call in self.store.open_calls(server, "").await? {
            let is_its = call.on_server || call.likely_server.as_deref() == Some(server.as_str());
            if is_its && self.close_as_lost(call.call_id).await? {
                calls += 1;
            }
        }
        for slot in self.store.waiting_slots(server).await? {
            self.store.expire_reservations(slot.call_id).await?;
        }
        metrics::reconcile_repairs("declared_dead", u64::from(calls));
        Ok(DeclaredDead::Done { calls })
    }

    /// Whether there is something to release by hand: the call is under way, or a slot of it is open.
    pub async fn is_releasable(&self, call_id: CallId) -> Result<bool, Error> {
        Ok(self.store.is_releasable(call_id).await?)
    }

    /// Whether a slot is open.
    pub async fn is_open(&self, reservation: ReservationId) -> Result<bool, Error> {
        Ok(self.store.find_open_slot(reservation).await?.is_some())
    }

    /// Ends a call by hand, or takes back what is left of its slots. `false`: there is nothing to release.
    pub async fn release_call(&self, call_id: CallId) -> Result<bool, Error> {
        let ended = self.close_as_lost(call_id).await?;
        let slots = self.store.expire_reservations(call_id).await?;
        Ok(ended || slots > 0)
    }

    /// Takes one slot back by hand. Its call goes on: what becomes of that, its own end says.
    pub async fn release_reservation(&self, reservation: ReservationId) -> Result<bool, Error> {
        let Some((call_id, attempt, waits)) = self.store.find_open_slot(reservation).await? else {
            return Ok(false);
        };
        if waits {
            let expired = super::store::calls::SlotEnd::Expired;
            return Ok(self
                .store
                .release_reservation(call_id, attempt, expired)
                .await?);
        }
        self.release_attempt(call_id, attempt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(entity: &str, system: &str, started: &str) -> ServerIdentity {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ServerIdentity {
            entity_id: some(entity),
            system_name: some(system),
            startup_time: started.parse().ok(),
            version: String::new(),
        }
    }

    fn other(server: &str, identity: ServerIdentity, fresh: bool) -> OtherObserver {
        OtherObserver {
            server: server.to_owned(),
            node: "b".to_owned(),
            identity,
            fresh,
        }
    }

    const T1: &str = "2026-11-21T10:00:00Z";
    const T2: &str = "2026-11-21T11:00:00Z";

    fn kinds(own: &ServerIdentity, others: &[OtherObserver]) -> Vec<ConflictKind> {
        let name = ServerName::parse("pbx1").expect("a name");
        conflicts(&name, own, others)
            .iter()
            .map(|w| w.kind)
            .collect()
    }

    #[test]
    fn two_daemons_on_one_asterisk_are_no_conflict() {
        let own = identity("aa", "pbx1", T1);
        assert_eq!(kinds(&own, &[other("pbx1", own.clone(), true)]), []);
    }

    #[test]
    fn another_machine_or_another_start_under_one_name_is_a_conflict_while_it_is_seen() {
        let own = identity("aa", "x", T1);
        for them in [identity("bb", "x", T1), identity("aa", "x", T2)] {
            let seen = other("pbx1", them.clone(), true);
            assert_eq!(kinds(&own, &[seen]), [ConflictKind::Name]);
            assert_eq!(kinds(&own, &[other("pbx1", them, false)]), []);
        }
    }

    #[test]
    fn missing_or_equal_system_names_of_two_servers_are_told() {
        let none = identity("aa", "", T1);
        let them = other("pbx2", identity("bb", "two", T2), false);
        assert_eq!(
            kinds(&none, std::slice::from_ref(&them)),
            [ConflictKind::SystemName]
        );
        let same = identity("aa", "two", T1);
        assert_eq!(
            kinds(&same, std::slice::from_ref(&them)),
            [ConflictKind::SystemName]
        );
        assert_eq!(kinds(&identity("aa", "one", T1), &[them]), []);
    }

    #[test]
    fn two_names_for_one_machine_are_told() {
        let own = identity("aa", "one", T1);
        let them = other("pbx2", identity("aa", "two", T1), true);
        assert_eq!(kinds(&own, &[them]), [ConflictKind::Entity]);
    }
}
