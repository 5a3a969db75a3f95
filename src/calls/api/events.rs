//! A stream of what happens to calls, of all daemons on the database.
//!
//! The source is the database: while somebody listens, one task looks at the calls under way twice a second
//! and tells what is different from the look before (`Calls::advance`, which is pure). Invariants: memory is
//! bounded, whoever does not read; nobody hears of another seller's calls; a stream ends soon after the
//! login it was opened with.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, http::HeaderName};
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::live::CallState;
use crate::accounts::callers::CallersShown;
use crate::accounts::guard::still_holds;
use crate::calls::store::live::{CatalogueChange, EndedCall, SeenAttempt, SeenCall};
use crate::db;
use crate::db::Store;
use crate::domain::{Role, UserId};
use crate::http::Ending;
use crate::http::api::Api;
use crate::http::kit::code::Code;
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::streams::LOGIN_LOOK;
use crate::http::kit::words;
use crate::runtime::clock;
use crate::runtime::telemetry::Chain;

mod own;

use own::Own;

/// The operation.
pub fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/events", "events", events)
            .tagged("calls", "Follow what happens to calls")
            .about(
                "Server-sent events; sellers get those of their calls, staff and administrators all. First \
                 `snapshot` with `calls` under way, then `call.started`, `call.offered`, `call.answered` and \
                 `call.ended`, each with JSON: `callId`, `did`, `callerNumber`, `campaignId`, `campaignName`, `clientId`, \
                 `clientName`, `linkId`, `endpoint`, `attempt`, `status`, `reason`, `at`, as far as they apply. \
                 `catalogue.changed` tells that a DID, campaign, link, client or account was changed, and by whom: read it \
                 again. Sellers get it of what is theirs. Events come within a second, from all daemons on the \
                 database.\n\n\
                 Who reads too slowly gets `lagged` with the number of events `missed`, then a new \
                 `snapshot`. The header Last-Event-ID is ignored: after a new connection the snapshot tells \
                 what is under way, the log what has ended. A comment every 15 seconds shows that the \
                 stream is alive; it ends within 5 seconds of the login, after an hour, and when the daemon ends. An \
                 account may have 10 streams open.",
            )
            .access(Access::SignedIn)
            .answers_events(
                200,
                "The stream.",
                &[
                    ("snapshot", SchemaGenerator::subschema_for::<Snapshot<'static>>),
                    ("call.started", SchemaGenerator::subschema_for::<Told<'static>>),
                    ("call.offered", SchemaGenerator::subschema_for::<Told<'static>>),
                    ("call.answered", SchemaGenerator::subschema_for::<Told<'static>>),
                    ("call.ended", SchemaGenerator::subschema_for::<Told<'static>>),
                    ("catalogue.changed", SchemaGenerator::subschema_for::<Changed<'static>>),
                    ("lagged", SchemaGenerator::subschema_for::<Lagged>),
                ],
            ),
    ]
}

/// How often the database is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Calls that ended so long before the last look are looked for again: their transaction may have been open
/// then, and daemons' clocks differ.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);

/// Comment that shows the stream is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a new stream waits for the first look.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Events kept for streams that are behind.
const KEPT: usize = 4_096;

/// Streams of one account.
const STREAMS_OF_ACCOUNT: usize = 10;

/// Streams in all.
const STREAMS: usize = 1_000;

/// Something that happened to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Happening {
    event: &'static str,
    user_id: Option<UserId>,
    data: Value,
}

/// What an event tells of a call.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CallEvent")]
struct Told<'a> {
    call_id: i64,
    /// The number dialled.
    did: &'a str,
    caller_number: Option<&'a str>,
    campaign_id: Option<i32>,
    /// Null once the campaign is deleted.
    campaign_name: Option<&'a str>,
    /// Whom it was offered to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32")]
    client_id: Option<i32>,
    /// Left out once the client is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    client_name: Option<&'a str>,
    /// The link of campaign and client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32")]
    link_id: Option<i32>,
    /// What is dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    endpoint: Option<&'a str>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32")]
    attempt: Option<i32>,
    /// With `call.ended`: how.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "words::CallStatus")]
    status: Option<&'a str>,
    /// With `call.ended`: why it was refused, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "words::RefusedFor")]
    reason: Option<&'a str>,
    /// When it happened; of a call under way, when it began.
    at: Moment,
}

/// A call under way, as a snapshot tells of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CallUnderWay")]
struct UnderWay<'a> {
    #[serde(flatten)]
    told: Told<'a>,
    state: CallState,
}

/// All calls under way.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventSnapshot")]
struct Snapshot<'a> {
    calls: Vec<UnderWay<'a>>,
    at: Moment,
}

/// That something of the catalogue was changed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CatalogueChanged")]
struct Changed<'a> {
    #[schemars(with = "words::AuditObject")]
    object_type: &'a str,
    object_id: &'a str,
    #[schemars(with = "words::AuditAction")]
    action: &'a str,
    /// Account or program that changed it.
    actor: &'a str,
    at: Moment,
}

/// That events were left out; a snapshot follows.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventsMissed")]
struct Lagged {
    /// How many.
    missed: u64,
}

impl<'a> Told<'a> {
    fn of(call: &'a SeenCall, at: Timestamp) -> Self {
        Self {
            call_id: call.call_id.0,
            did: &call.did_number,
            caller_number: call.caller_number.as_deref(),
            campaign_id: call.campaign_id.map(|id| id.0),
            campaign_name: call.campaign_name.as_deref(),
            client_id: None,
            client_name: None,
            link_id: None,
            endpoint: None,
            attempt: None,
            status: None,
            reason: None,
            at: Moment(at),
        }
    }

    /// With whom it is, or was.
    fn with(self, attempt: &'a SeenAttempt) -> Self {
        Self {
            client_id: Some(attempt.client_id.0),
            client_name: attempt.client_name.as_deref(),
            link_id: Some(attempt.link_id.0),
            endpoint: Some(&attempt.endpoint),
            ..self
        }
    }

    fn happening(&self, event: &'static str, user_id: Option<UserId>) -> Happening {
        Happening {
            event,
            user_id,
            data: json!(self),
        }
    }
}

/// What was told of the calls so far.
#[derive(Debug, Default)]
struct Calls {
    under_way: BTreeMap<i64, SeenCall>,
    /// Calls whose end was told, or lies before the first look; with their end.
    ended: HashMap<i64, Timestamp>,
    /// Changes of the catalogue that were told, or lie before the first look; with their times.
    changed: HashMap<i64, Timestamp>,
}

impl Calls {
    /// Takes over a look and returns what is new in it.
    fn advance(&mut self, under_way: Vec<SeenCall>, ended: Vec<EndedCall>) -> Vec<Happening> {
        let mut news = Vec::new();
        let mut before = std::mem::take(&mut self.under_way);
        for call in under_way {
            let id = call.call_id.0;
            if self.ended.contains_key(&id) {
                continue;
            }
            changes(before.get(&id), &call, &mut news);
            self.under_way.insert(id, call);
        }
        for end in ended {
            let id = end.call.call_id.0;
            if self.ended.insert(id, end.ended_at).is_some() {
                continue;
            }
            // The end may have come after the look at those under way.
            let seen = self.under_way.remove(&id).or_else(|| before.remove(&id));
            changes(seen.as_ref(), &end.call, &mut news);
            let told = Told::of(&end.call, end.ended_at);
            let mut attempts = end.call.attempts.iter().rev();
            let told = match attempts.find(|a| Some(a.client_id) == end.client_id) {
                Some(last) => told.with(last),
                None => told,
            };
            let told = Told {
                client_id: end.client_id.map(|id| id.0),
                status: end.status.as_deref(),
                reason: end.reason.as_deref(),
                ..told
            };
            news.push(told.happening("call.ended", end.call.user_id));
        }
        news
    }

    /// Takes over changes of the catalogue and returns the news of them.
    fn changed(&mut self, changes: Vec<CatalogueChange>) -> Vec<Happening> {
        let news = changes.into_iter().filter_map(|change| {
            let known = self.changed.insert(change.audit_id, change.at).is_some();
            (!known).then(|| Happening {
                event: "catalogue.changed",
                user_id: change.user_id,
                data: json!(Changed {
                    object_type: &change.object_type,
                    object_id: &change.object_id,
                    action: &change.action,
                    actor: &change.actor,
                    at: Moment(change.at),
                }),
            })
        });
        news.collect()
    }

    /// Forgets ends and changes that no look finds any more.
    fn forget_before(&mut self, since: Timestamp) {
        self.ended.retain(|_, ended_at| *ended_at >= since);
        self.changed.retain(|_, at| *at >= since);
    }

    /// Those under way, as far as they are the business of a listener.
    fn snapshot(&self, listener: Option<UserId>) -> Value {
        let calls = self
            .under_way
            .values()
            .filter(|call| listener.is_none() || call.user_id == listener)
            .map(summary)
            .collect();
        let at = Moment(clock::now());
        json!(Snapshot { calls, at })
    }
}

/// What happened to a call between two looks.
fn changes(before: Option<&SeenCall>, call: &SeenCall, news: &mut Vec<Happening>) {
    if before.is_none() {
        news.push(Told::of(call, call.started_at).happening("call.started", call.user_id));
    }
    for attempt in &call.attempts {
        let known = before.and_then(|call| {
            let mut attempts = call.attempts.iter();
            attempts.find(|known| known.attempt == attempt.attempt)
        });
        let told = |event, at| {
            let told = Told {
                attempt: Some(attempt.attempt),
                ..Told::of(call, at).with(attempt)
            };
            told.happening(event, call.user_id)
        };
        if known.is_none() {
            news.push(told("call.offered", attempt.offered_at));
        }
        if let (Some(at), None) = (attempt.answered_at, known.and_then(|k| k.answered_at)) {
            news.push(told("call.answered", at));
        }
    }
}

fn summary(call: &SeenCall) -> UnderWay<'_> {
    let open: Option<&SeenAttempt> = call.attempts.iter().find(|a| a.ended_at.is_none());
    let state = match open {
        Some(attempt) if attempt.answered_at.is_some() => CallState::Talking,
        Some(_) => CallState::Offered,
        None if call.refused_at.is_some() => CallState::Refused,
        None => CallState::Routing,
    };
    let told = Told::of(call, call.started_at);
    let told = match open {
        Some(attempt) => Told {
            attempt: Some(attempt.attempt),
            ..told.with(attempt)
        },
        None => told,
    };
    UnderWay { told, state }
}

/// Where streams come together. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    store: Store,
    board: Mutex<Board>,
    /// Whether the first look was taken.
    ready: watch::Sender<bool>,
    news: broadcast::Sender<Arc<(String, Happening)>>,
}

#[derive(Default)]
struct Board {
    streams: HashMap<UserId, usize>,
    polling: bool,
    calls: Calls,
}

impl Hub {
    /// Nobody listens yet, so nothing is done.
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Inner {
            store,
            board: Mutex::default(),
            ready: watch::channel(false).0,
            news: broadcast::channel(KEPT).0,
        }))
    }

    /// A place for one more stream of an account.
    fn take_seat(&self, user_id: UserId) -> Result<Seat, Problem> {
        let mut board = self.0.board();
        let all: usize = board.streams.values().sum();
        let own = board.streams.get(&user_id).copied().unwrap_or_default();
        if own >= STREAMS_OF_ACCOUNT {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                Code::TooManyStreams,
                format!("You have {STREAMS_OF_ACCOUNT} streams of events open. Close one first."),
            )
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("60")));
        }
        if all >= STREAMS {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::TooManyStreams,
                format!("There are {STREAMS} streams of events open. Try again later."),
            )
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("60")));
        }
        board.streams.insert(user_id, own + 1);
        Ok(Seat {
            hub: self.clone(),
            user_id,
        })
    }

    /// Sees to it that somebody looks.
    fn keep_looking(&self) {
        let mut board = self.0.board();
        if !board.polling {
            board.polling = true;
            tokio::spawn(look_again_and_again(Arc::clone(&self.0)));
        }
    }

    /// Waits for the first look, then joins: what is under way, and what happens from there on.
    async fn join(&self, listener: Option<UserId>) -> Result<(Value, News), Problem> {
        self.keep_looking();
        let mut ready = self.0.ready.subscribe();
        let looked = timeout(FIRST_LOOK, ready.wait_for(|ready| *ready)).await;
        if !matches!(looked, Ok(Ok(_))) {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
                "The database does not answer. Try again in a moment.",
            )
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
        drop(looked);
        Ok(self.rejoin(listener))
    }

    fn rejoin(&self, listener: Option<UserId>) -> (Value, News) {
        let board = self.0.board();
        (board.calls.snapshot(listener), self.0.news.subscribe())
    }
}

type News = broadcast::Receiver<Arc<(String, Happening)>>;

impl Inner {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the board's lock.
    fn stop_looking(&self, board: &mut Board) {
        board.polling = false;
        board.calls = Calls::default();
        self.ready.send_replace(false);
    }
}

/// A stream's place; free again when dropped.
struct Seat {
    hub: Hub,
    user_id: UserId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut board = self.hub.0.board();
        if let Some(own) = board.streams.get_mut(&self.user_id) {
            *own -= 1;
            if *own == 0 {
                board.streams.remove(&self.user_id);
            }
        }
    }
}

/// Should the task that looks die, the next stream or heartbeat starts another.
struct Looking {
    hub: Arc<Inner>,
    ended: AtomicBool,
}

impl Drop for Looking {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Relaxed) {
            let mut board = self.hub.board();
            self.hub.stop_looking(&mut board);
        }
    }
}

/// Looks until nobody listens.
async fn look_again_and_again(hub: Arc<Inner>) {
    let looking = Looking {
        hub,
        ended: AtomicBool::new(false),
    };
    let hub = &looking.hub;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Names the run of this task, so that ids of events are never the same again.
    let run = clock::now().as_millisecond();
    let mut number = 0_u64;
    let mut last_look = None;
    let mut failing = false;
    loop {
        ticks.tick().await;
        {
            let mut board = hub.board();
            if board.streams.is_empty() {
                hub.stop_looking(&mut board);
                looking.ended.store(true, Ordering::Relaxed);
                return;
            }
        }
        let now = clock::now();
        match look(hub, last_look, now, &mut |happening| {
            number += 1;
            (format!("{run}-{number}"), happening)
        })
        .await
        {
            Ok(()) => {
                last_look = Some(now);
                failing = false;
            }
            Err(error) if failing => {
                tracing::debug!(error = %Chain(&error), "still cannot look at the calls");
            }
            Err(error) => {
                failing = true;
                tracing::warn!(error = %Chain(&error), "cannot look at the calls for the streams of events");
            }
        }
    }
}

/// One look, and what is new in it to all that listen.
async fn look(
    hub: &Inner,
    last_look: Option<Timestamp>,
    now: Timestamp,
    number: &mut (dyn FnMut(Happening) -> (String, Happening) + Send),
) -> Result<(), db::Error> {
    let since = last_look.unwrap_or(now) - OVERLAP;
    let under_way = hub.store.calls_seen().await?;
    let (gone, known, changes) = {
        let mut board = hub.board();
        board.calls.forget_before(since);
        let calls = &board.calls;
        let is_there = |id: &i64| {
            under_way
                .binary_search_by_key(id, |call| call.call_id.0)
                .is_ok()
        };
        let gone: Vec<i64> = calls
            .under_way
            .keys()
            .copied()
            .filter(|id| !is_there(id))
            .collect();
        let known: Vec<i64> = calls.ended.keys().copied().collect();
        let changes: Vec<i64> = calls.changed.keys().copied().collect();
        (gone, known, changes)
    };
    let ended = hub.store.calls_ended(&gone, since, &known).await?;
    let changes = hub.store.catalogue_changes(since, &changes).await?;
    let mut board = hub.board();
    let mut news = board.calls.advance(under_way, ended);
    news.extend(board.calls.changed(changes));
    if last_look.is_none() {
        // All that was before anybody listened.
        hub.ready.send_replace(true);
        return Ok(());
    }
    for happening in news {
        // Without receivers there is nobody to tell.
        let _ = hub.news.send(Arc::new(number(happening)));
    }
    Ok(())
}

/// A stream.
struct Listener {
    api: Api,
    caller: Caller,
    callers: CallersShown,
    own: Own,
    news: News,
    next: VecDeque<Event>,
    heartbeat: Interval,
    login_look: Interval,
    ending: Option<Ending>,
    _seat: Seat,
}

impl Listener {
    /// Whose calls it is told of; none for everybody's.
    fn tenant(caller: &Caller) -> Option<UserId> {
        match caller.role {
            Role::User => Some(caller.user_id),
            Role::Admin | Role::Staff => None,
        }
    }

    async fn next(&mut self) -> Option<Event> {
        let ending = self.ending.clone();
        loop {
            if let Some(event) = self.next.pop_front() {
                return Some(event);
            }
            let ended = async {
                match &ending {
                    Some(ending) => ending.0.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ended => return None,
                _ = self.login_look.tick() => {
                    if !self.is_still_admitted().await {
                        return None;
                    }
                }
                _ = self.heartbeat.tick() => {
                    self.api.events.keep_looking();
                    return Some(Event::default().comment(""));
                }
                news = self.news.recv() => {
                    let taken = match news {
                        Ok(news) => self.take(news).await,
                        Err(broadcast::error::RecvError::Lagged(missed)) => self.catch_up(missed).await,
                        // The sender lives as long as the API.
                        Err(broadcast::error::RecvError::Closed) => return None,
                    };
                    if let Err(error) = taken {
                        // Whoever listens comes again, and finds what it missed in the snapshot.
                        tracing::warn!(error = %Chain(&error), "a stream of events ends");
                        return None;
                    }
                }
            }
        }
    }

    /// Takes an event, with those that came with it.
    async fn take(&mut self, first: Arc<(String, Happening)>) -> Result<(), db::Error> {
        let mut news = vec![first];
        let mut missed = 0;
        while news.len() < KEPT {
            match self.news.try_recv() {
                Ok(next) => news.push(next),
                Err(broadcast::error::TryRecvError::Lagged(lost)) => {
                    missed = lost;
                    break;
                }
                Err(_) => break,
            }
        }
        let tenant = Self::tenant(&self.caller);
        news.retain(|news| tenant.is_none() || news.1.user_id == tenant);
        self.own
            .keep(&self.api.store, &mut news, |news| &news.1.data)
            .await?;
        for news in news {
            let (id, happening) = &*news;
            self.next.push_back(
                Event::default()
                    .id(id)
                    .event(happening.event)
                    .data(self.callers.event(happening.data.clone()).to_string()),
            );
        }
        if missed > 0 {
            self.catch_up(missed).await?;
        }
        Ok(())
    }

    async fn catch_up(&mut self, missed: u64) -> Result<(), db::Error> {
        let (snapshot, news) = self.api.events.rejoin(Self::tenant(&self.caller));
        self.news = news;
        let snapshot = self.seen(snapshot).await?;
        let lagged = json!(Lagged { missed });
        self.next
            .push_back(Event::default().event("lagged").data(lagged.to_string()));
        self.next.push_back(snapshot_event(&snapshot));
        Ok(())
    }

    /// What is under way, as far as it may be seen.
    async fn seen(&mut self, mut snapshot: Value) -> Result<Value, db::Error> {
        if let Some(calls) = snapshot.get_mut("calls").and_then(Value::as_array_mut) {
            self.own.keep(&self.api.store, calls, |call| call).await?;
        }
        Ok(self.callers.event(snapshot))
    }

    /// The login is as it was. A database that does not answer ends no stream.
    async fn is_still_admitted(&self) -> bool {
        let holds = still_holds(&self.api, &self.caller).await.unwrap_or(true);
        let callers = CallersShown::to(&self.api, &self.caller).await;
        holds && callers.map_or(true, |callers| callers == self.callers)
    }
}

fn snapshot_event(snapshot: &Value) -> Event {
    Event::default()
        .event("snapshot")
        .data(snapshot.to_string())
}

async fn events(
    State(api): State<Api>,
    caller: Caller,
    ending: Option<Extension<Ending>>,
) -> Result<Response, Problem> {
    let callers = CallersShown::to(&api, &caller).await?;
    let seat = api.events.take_seat(caller.user_id)?;
    let (snapshot, news) = api.events.join(Listener::tenant(&caller)).await?;
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat.reset();
    let mut login_look = interval(LOGIN_LOOK);
    login_look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    login_look.reset();
    let mut listener = Listener {
        own: Own::of(Listener::tenant(&caller)),
        caller,
        callers,
        news,
        next: VecDeque::new(),
        heartbeat,
        login_look,
        ending: ending.map(|Extension(ending)| ending),
        _seat: seat,
        api,
    };
    let snapshot = listener.seen(snapshot).await?;
    listener.next.push_back(snapshot_event(&snapshot));
    let stream = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    let mut response = Sse::new(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that collects the answer before it passes it on would hold every event back.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CallId, ClientId, LinkId};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn call(id: i64, owner: i32) -> SeenCall {
        SeenCall {
            call_id: CallId(id),
            user_id: Some(UserId(owner)),
            did_number: "+18005550100".to_owned(),
            caller_number: None,
            campaign_id: None,
            campaign_name: None,
            started_at: at(id),
            refused_at: None,
            attempts: vec![],
        }
    }

    fn offered(mut call: SeenCall, attempt: i32) -> SeenCall {
        for before in &mut call.attempts {
            before.ended_at = Some(at(attempt.into()));
        }
        call.attempts.push(SeenAttempt {
            attempt,
            link_id: LinkId(attempt + 10),
            client_id: ClientId(attempt),
            client_name: Some(format!("Client {attempt}")),
            endpoint: format!("client{attempt}"),
            offered_at: at(attempt.into()),
            answered_at: None,
            ended_at: None,
        });
        call
    }

    fn answered(mut call: SeenCall) -> SeenCall {
        if let Some(last) = call.attempts.last_mut() {
            last.answered_at = Some(at(9));
        }
        call
    }

    fn ended(call: SeenCall) -> EndedCall {
        EndedCall {
            call,
            ended_at: at(20),
            status: Some("ANSWERED".to_owned()),
            reason: None,
            client_id: Some(ClientId(2)),
        }
    }

    fn names(news: &[Happening]) -> Vec<&'static str> {
        news.iter().map(|h| h.event).collect()
    }

    #[test]
    fn each_change_is_told_once_and_none_is_left_out() {
        let mut calls = Calls::default();
        let first = call(1, 3);
        assert_eq!(
            names(&calls.advance(vec![first.clone()], vec![])),
            ["call.started"]
        );
        // Two attempts and an answer between two looks.
        let later = answered(offered(offered(first, 1), 2));
        let news = calls.advance(vec![later.clone()], vec![]);
        assert_eq!(
            names(&news),
            ["call.offered", "call.offered", "call.answered"]
        );
        assert_eq!(news[2].data["clientId"], 2);
        assert_eq!(names(&calls.advance(vec![later.clone()], vec![])), [""; 0]);
        let end = ended(later.clone());
        let news = calls.advance(vec![], vec![end.clone()]);
        assert_eq!(names(&news), ["call.ended"]);
        assert_eq!(news[0].data["status"], "ANSWERED");
        for (name, value) in [
            ("clientId", json!(2)),
            ("clientName", json!("Client 2")),
            ("linkId", json!(12)),
            ("endpoint", json!("client2")),
        ] {
            assert_eq!(news[0].data[name], value, "{name}");
        }
        assert_eq!(names(&calls.advance(vec![], vec![end])), [""; 0]);
        // A look that was taken before the end comes late.
        assert_eq!(names(&calls.advance(vec![later], vec![])), [""; 0]);
    }

    #[test]
    fn a_change_of_the_catalogue_is_told_once_however_often_it_is_seen() {
        let mut calls = Calls::default();
        let change = CatalogueChange {
            audit_id: 7,
            at: at(1),
            actor: "admin".to_owned(),
            user_id: Some(UserId(3)),
            action: "update".to_owned(),
            object_type: "did".to_owned(),
            object_id: "12".to_owned(),
        };
        let news = calls.changed(vec![change.clone()]);
        assert_eq!(names(&news), ["catalogue.changed"]);
        assert_eq!(news[0].user_id, Some(UserId(3)));
        assert_eq!(news[0].data["objectId"], "12");
        assert_eq!(names(&calls.changed(vec![change])), [""; 0]);
        calls.forget_before(at(2));
        assert!(calls.changed.is_empty());
    }

    #[test]
    fn a_call_that_came_and_went_between_two_looks_is_told_whole() {
        let mut calls = Calls::default();
        let whole = answered(offered(call(1, 3), 1));
        let news = calls.advance(vec![], vec![ended(whole)]);
        assert_eq!(
            names(&news),
            [
                "call.started",
                "call.offered",
                "call.answered",
                "call.ended"
            ]
        );
        calls.forget_before(at(21));
        assert!(calls.ended.is_empty());
    }

    #[test]
    fn a_call_that_ends_during_a_look_is_not_under_way_any_more() {
        let mut calls = Calls::default();
        let whole = offered(call(1, 3), 1);
        let news = calls.advance(vec![whole.clone()], vec![ended(whole)]);
        assert_eq!(names(&news), ["call.started", "call.offered", "call.ended"]);
        assert!(calls.under_way.is_empty());
    }

    #[test]
    fn snapshots_show_a_listeners_calls_only() {
        let mut calls = Calls::default();
        calls.advance(vec![call(1, 3), offered(call(2, 4), 1)], vec![]);
        let of = |listener| {
            let snapshot = calls.snapshot(listener);
            let ids = snapshot["calls"].as_array().expect("a list").clone();
            ids.iter()
                .map(|call| (call["callId"].clone(), call["state"].clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Some(UserId(3))), [(json!(1), json!("routing"))]);
        assert_eq!(of(Some(UserId(4))), [(json!(2), json!("offered"))]);
        assert_eq!(of(None).len(), 2);
        assert_eq!(of(Some(UserId(5))).len(), 0);
    }
}
