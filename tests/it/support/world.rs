//! Rows to route calls with, and calls as the dialplan would ask about them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use capconduit::domain::{
    CallFact, CallerId, DialStatus, DialledNumber, HangupCause, LinkedId, LiveChannel, LiveView,
    SeenChannel, ServerIdentity, ServerName, SystemName, UniqueId,
};
use capconduit::routing::{
    Arrival, Dialled, EndReport, Engine, Offer, PreviousAttempt, Refusal, Repairs, RouteRequest,
    Settings, Verdict,
};

use super::TestDb;

static NEXT_CALL: AtomicU32 = AtomicU32::new(1);

/// A database with one seller and one DID, and engines over it.
pub struct World {
    pub db: TestDb,
}

/// A link to make: client number, concurrency cap, total cap, tier, weight.
#[derive(Clone, Copy)]
pub struct LinkSpec {
    pub client: i32,
    pub max_concurrency: i32,
    pub total: Option<i32>,
    pub tier: i32,
    pub weight: i32,
}

/// A link of client `client` with room for everybody.
pub fn link(client: i32) -> LinkSpec {
    LinkSpec {
        client,
        max_concurrency: 1_000_000,
        total: None,
        tier: 0,
        weight: 1,
    }
}

pub const DID: &str = "+18005550100";

impl World {
    /// A campaign for [`DID`] with these links; link ids count from 1.
    pub async fn new(strategy: &str, links: &[LinkSpec]) -> Self {
        Self::on(TestDb::new().await, strategy, links).await
    }

    /// The same in a database that is there already.
    pub async fn on(db: TestDb, strategy: &str, links: &[LinkSpec]) -> Self {
        db.run(&format!(
            "insert into users (username, email, password_hash, role, status)
                 values ('seller', 'seller@example.com', 'x', 'user', 'active');
             insert into dids (number, user_id, status) values ('{DID}', 1, 'active');
             insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
                 values (1, 'campaign', 'active', '{strategy}', 20);
             insert into campaign_dids values (1, 1);"
        ))
        .await;
        for spec in links {
            let LinkSpec {
                client,
                max_concurrency,
                total,
                tier,
                weight,
            } = spec;
            let total = total.map_or("null".to_owned(), |t| t.to_string());
            db.run(&format!(
                "insert into clients (id, client_identifier, name, status)
                     values ({client}, 'client{client}', 'Client {client}', 'active')
                     on conflict do nothing;
                 insert into pjsip_endpoints (id, client_id, context)
                     values ('client{client}', {client}, 'none') on conflict do nothing;
                 insert into pjsip_aors (id, client_id, contact)
                     values ('client{client}', {client}, 'sip:127.0.0.1:5999')
                     on conflict do nothing;
                 insert into campaign_client_settings (campaign_id, client_id, status,
                     max_concurrency, total_calls_allowed, forwarding_priority, weight)
                     values (1, {client}, 'active', {max_concurrency}, {total}, {tier}, {weight})"
            ))
            .await;
        }
        Self { db }
    }

    /// An engine as a daemon of its own, with its own connections.
    pub fn engine(&self, node: &str) -> Engine {
        engine(&self.db, node)
    }

    /// Open slots of all links: held and confirmed.
    pub async fn usage(&self) -> (i64, i64) {
        (
            self.db.one("select sum(held) from link_usage").await,
            self.db.one("select sum(confirmed) from link_usage").await,
        )
    }

    /// What must hold at any time: counters equal open reservations, caps are kept.
    pub async fn assert_sound(&self) {
        let drift = self.db.store().usage_drift().await.expect("reads");
        assert!(drift.is_empty(), "{drift:?}");
        let over: i64 = self
            .db
            .one(
                "select count(*) from campaign_client_settings s join link_usage u on u.link_id = s.id
                 where u.held + u.confirmed > s.max_concurrency
                    or s.current_total_calls + u.held > s.total_calls_allowed",
            )
            .await;
        assert_eq!(over, 0, "links over their caps");
    }

    /// What must hold when all calls are over.
    pub async fn assert_quiet(&self) {
        self.assert_sound().await;
        assert_eq!(self.usage().await, (0, 0), "slots left over");
        let open: i64 = self
            .db
            .one("select count(*) from calls where ended_at is null")
            .await;
        assert_eq!(open, 0, "calls still under way");
    }
}

pub fn engine(db: &TestDb, node: &str) -> Engine {
    Engine::new(
        db.store(),
        Settings {
            node: node.to_owned(),
            ring_budget_seconds: 120,
            max_call_seconds: 14_400,
            records: true,
            servers: vec![(server(), vec![[127, 0, 0, 1].into()])],
        },
    )
}

/// The server that calls from loopback are on.
pub fn server() -> ServerName {
    ServerName::parse("pbx").expect("a name")
}

/// A caller of one call.
#[derive(Clone)]
pub struct Caller {
    pub uniqueid: UniqueId,
    pub did: String,
    pub number: String,
    pub channel: String,
    /// What the dialplan says its Asterisk calls itself.
    pub system_name: Option<SystemName>,
}

/// What a running Asterisk says of itself.
pub fn identity(entity_id: &str, system_name: &str) -> ServerIdentity {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ServerIdentity {
        entity_id: some(entity_id),
        system_name: some(system_name),
        startup_time: "2026-11-21T02:17:13.510Z".parse().ok(),
        version: "22.10.1".to_owned(),
    }
}

/// A channel in Asterisk's list.
pub fn live(channel: SeenChannel, up: bool) -> LiveChannel {
    LiveChannel {
        channel,
        up,
        dials: None,
        reservation: None,
    }
}

/// Compares the open calls with a list of channels, and of bridges where there is one.
pub async fn compare_on(
    engine: &Engine,
    server: &ServerName,
    identity: &ServerIdentity,
    channels: &[LiveChannel],
    bridges: Option<Vec<Vec<UniqueId>>>,
) -> Result<Repairs, capconduit::routing::Error> {
    let open = engine.open_calls(server).await.expect("reads");
    let view = LiveView {
        channels: channels.to_vec(),
        bridges,
    };
    engine.reconcile(server, identity, open, &view).await
}

/// As [`compare_on`] for the one server there is.
pub async fn compare(engine: &Engine, channels: &[LiveChannel]) -> Repairs {
    let bridges = None;
    let identity = ServerIdentity::default();
    compare_on(engine, &server(), &identity, channels, bridges)
        .await
        .expect("compares")
}

impl Caller {
    /// A new call to [`DID`].
    pub fn new() -> Self {
        let n = NEXT_CALL.fetch_add(1, Ordering::Relaxed);
        Self::with_uniqueid(&format!("1795206437.{n}"))
    }

    pub fn with_uniqueid(uniqueid: &str) -> Self {
        Self {
            uniqueid: UniqueId::parse(uniqueid).expect("a unique id"),
            did: DID.to_owned(),
            number: "+15550001111".to_owned(),
            channel: format!("PJSIP/trunk-{uniqueid}"),
            system_name: None,
        }
    }

    /// On an Asterisk that calls itself `name`.
    pub fn on(mut self, name: &str) -> Self {
        self.system_name = SystemName::parse(name);
        self
    }

    /// The caller's channel, as an observer sees it.
    pub fn seen(&self) -> SeenChannel {
        SeenChannel {
            uniqueid: self.uniqueid.clone(),
            name: self.channel.clone(),
            created_at: None,
        }
    }

    /// A channel of the target, dialled for this caller.
    pub fn leg(&self, endpoint: &str) -> SeenChannel {
        let uniqueid = format!("{}9", self.uniqueid);
        SeenChannel {
            name: format!("PJSIP/{endpoint}-0{:07}", uniqueid.len()),
            uniqueid: UniqueId::parse(&uniqueid).expect("a unique id"),
            created_at: None,
        }
    }

    /// Its channel was made, and seen.
    pub fn appears(&self, engine: &Engine) {
        engine.sight(&server(), &CallFact::Made(self.seen()));
    }

    /// Its target is being dialled, and that was seen.
    pub fn dials(&self, engine: &Engine, endpoint: &str) {
        let fact = CallFact::Dialled {
            caller: self.seen(),
            leg: self.leg(endpoint),
        };
        engine.sight(&server(), &fact);
    }

    pub fn dialling(mut self, did: &str) -> Self {
        did.clone_into(&mut self.did);
        self
    }

    pub fn arrival(&self) -> Arrival {
        Arrival {
            uniqueid: self.uniqueid.clone(),
            linkedid: LinkedId::parse(self.uniqueid.as_str()),
            channel: self.channel.clone(),
            did: DialledNumber::from_untrusted(&self.did),
            caller: CallerId::from_untrusted(&self.number, "Test Caller"),
            system_name: self.system_name.clone(),
            peer: Some([127, 0, 0, 1].into()),
        }
    }

    /// The call's first question, asked now.
    pub fn question(&self) -> RouteRequest {
        RouteRequest {
            arrival: self.arrival(),
            previous: None,
            about: None,
            asked: Instant::now(),
            deadline: Instant::now() + Duration::from_secs(5),
        }
    }

    /// The first question of the call.
    pub async fn route(&self, engine: &Engine) -> Verdict {
        self.ask(engine, None).await
    }

    /// The question after an attempt ended with `status`.
    pub async fn route_after(&self, engine: &Engine, status: DialStatus) -> Verdict {
        let previous = PreviousAttempt {
            status,
            cause: Some(HangupCause::USER_BUSY),
        };
        self.ask(engine, Some(previous)).await
    }

    async fn ask(&self, engine: &Engine, previous: Option<PreviousAttempt>) -> Verdict {
        let request = RouteRequest {
            previous,
            ..self.question()
        };
        engine.route(request).await.expect("answers")
    }

    /// The dialplan's report at the end.
    pub fn report(&self, status: Option<DialStatus>, dialled: Dialled) -> EndReport {
        let answered = status == Some(DialStatus::Answer);
        EndReport {
            arrival: self.arrival(),
            status,
            cause: Some(HangupCause::NORMAL),
            answered_seconds: answered.then_some(7),
            dialed_seconds: Some(9),
            dialled,
            overdue: false,
        }
    }

    pub async fn end(&self, engine: &Engine, status: Option<DialStatus>) {
        let report = self.report(status, Dialled::Unsaid);
        engine.end(report).await.expect("settles or keeps it");
        // What a busy machine did not let it settle in time waits for the comparison with Asterisk, or for this.
        engine.settle_late_reports().await.expect("settles");
    }
}

pub trait VerdictExt {
    fn offer(self) -> Offer;
    fn refusal(self) -> Refusal;
}

impl VerdictExt for Verdict {
    fn offer(self) -> Offer {
        match self {
            Verdict::Dial(offer) => offer,
            Verdict::Reject(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Verdict::Reject(refusal) => refusal,
            Verdict::Dial(offer) => panic!("offered: {offer:?}"),
        }
    }
}
