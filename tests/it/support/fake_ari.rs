//! A fake ARI server, driven by the test: the few REST paths and the event stream on one port, and all
//! the ways in which a real one can be rude.
//!
//! Its journal says what it was asked: `stream opened`, `GET /ari/channels`, `pong`, `stream closed` and
//! so on. A request that was refused ends with its status.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use capconduit::asterisk::ari;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::journal::Journal;

pub const INFO: &str = include_str!("../../fixtures/ari/info.json");

/// As Asterisk lists them, the ones that matter.
const MODULES: &str = r#"[{"name":"res_agi.so","status":"Running","support_level":"core","use_count":0},
    {"name":"chan_pjsip.so","status":"Running"},{"name":"app_dial.so","status":"Running"},
    {"name":"res_config_odbc.so","status":"Not Running"},{"name":"app_stack.so","status":"Running"}]"#;

/// `capconduit:secret`.
const RIGHT_PASSWORD: &str = "Basic Y2FwY29uZHVpdDpzZWNyZXQ=";

pub struct FakeAri {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Stopped, and all its connections cut, when the fake is dropped.
    _accepting: JoinSet<()>,
}

struct Shared {
    journal: Journal,
    behaviour: Mutex<Behaviour>,
    /// The newest stream.
    stream: Mutex<Option<mpsc::UnboundedSender<Order>>>,
}

struct Behaviour {
    channels: String,
    bridges: Option<String>,
    clock: Option<String>,
    info: String,
    refuses_password: bool,
    read_only: bool,
    /// Requests for this path are never answered.
    hangs_at: Option<&'static str>,
    filter: Option<serde_json::Value>,
}

enum Order {
    Send(Message),
    Close,
    Cut,
    GoSilent,
}

impl FakeAri {
    pub async fn start(journal: &Journal) -> Self {
        Self::start_on("127.0.0.1:0".parse().expect("address"), journal).await
    }

    /// For an Asterisk that appears, or returns, at a known address.
    pub async fn start_on(address: SocketAddr, journal: &Journal) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            journal: journal.clone(),
            behaviour: Mutex::new(Behaviour {
                channels: "[]".into(),
                bridges: Some("[]".into()),
                clock: None,
                info: INFO.into(),
                refuses_password: false,
                read_only: false,
                hangs_at: None,
                filter: None,
            }),
            stream: Mutex::new(None),
        });
        let mut accepting = JoinSet::new();
        let accepted = Arc::clone(&shared);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                connections.spawn(serve(tcp, Arc::clone(&accepted)));
            }
        });
        Self {
            address,
            shared,
            _accepting: accepting,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The settings of a daemon called `node` for this server.
    pub fn server(&self, node: &str) -> ari::Server {
        server_at(self.address, node)
    }

    pub fn set_channels(&self, json: &str) {
        json.clone_into(&mut self.shared.behaviour().channels);
    }

    /// `None`: as an Asterisk that does not say.
    pub fn set_bridges(&self, json: Option<&str>) {
        self.shared.behaviour().bridges = json.map(str::to_owned);
    }

    /// What its clock says, whenever it is asked.
    pub fn set_clock(&self, at: &str) {
        self.shared.behaviour().clock = Some(at.to_owned());
    }

    pub fn set_info(&self, json: &str) {
        json.clone_into(&mut self.shared.behaviour().info);
    }

    pub fn refuse_password(&self, refuse: bool) {
        self.shared.behaviour().refuses_password = refuse;
    }

    pub fn make_user_read_only(&self) {
        self.shared.behaviour().read_only = true;
    }

    pub fn hang_at(&self, path: Option<&'static str>) {
        self.shared.behaviour().hangs_at = path;
    }

    /// The filter of the present stream.
    pub fn filter(&self) -> Option<serde_json::Value> {
        self.shared.behaviour().filter.clone()
    }

    pub fn send(&self, event: &str) {
        self.order(Order::Send(Message::text(event)));
    }

    /// Sends each line as one event.
    pub fn replay(&self, recorded: &str) {
        recorded.lines().for_each(|event| self.send(event));
    }

    /// Notes `pong` when the peer has read everything sent before.
    pub fn ping(&self) {
        self.order(Order::Send(Message::Ping(Bytes::new())));
    }

    pub fn close_stream(&self) {
        self.order(Order::Close);
    }

    pub fn cut_stream(&self) {
        self.order(Order::Cut);
    }

    /// The stream stays open; nothing is read or answered on it any more.
    pub fn go_silent(&self) {
        self.order(Order::GoSilent);
    }

    fn order(&self, order: Order) {
        let stream = self.shared.stream.lock().expect("not poisoned");
        let stream = stream.as_ref().expect("a stream is open");
        assert!(stream.send(order).is_ok(), "the stream is open");
    }
}

impl Shared {
    fn behaviour(&self) -> std::sync::MutexGuard<'_, Behaviour> {
        self.behaviour.lock().expect("not poisoned")
    }
}

/// The settings of a daemon called `node` for a server that may not be there.
pub fn server_at(address: SocketAddr, node: &str) -> ari::Server {
    ari::Server::new(
        "pbx1",
        &format!("http://{address}"),
        "capconduit",
        "secret".into(),
        node,
    )
    .expect("valid settings")
}

struct Request {
    line: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map_or("", |(_, value)| value)
    }
}

/// `None` when the peer is gone. Peers do not pipeline, so nothing is read beyond the request.
async fn read_request(tcp: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?, first.next()?);
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut request = Request {
        line: format!("{method} {target}"),
        path: target.split('?').next()?.to_owned(),
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length").parse().unwrap_or(0);
    request.body.resize(length, 0);
    tcp.read_exact(&mut request.body).await.ok()?;
    Some(request)
}

async fn serve(mut tcp: TcpStream, shared: Arc<Shared>) {
    while let Some(request) = read_request(&mut tcp).await {
        let hangs = shared.behaviour().hangs_at == Some(request.path.as_str());
        if hangs {
            shared.journal.note(format!("{} hangs", request.line));
            std::future::pending::<()>().await;
        }
        if request.path == "/ari/events" && authorized(&request, &shared) {
            return serve_stream(tcp, &request, &shared).await;
        }
        let (status, body) = answer(&request, &shared);
        let note = match status {
            200..300 => request.line,
            status => format!("{} {status}", request.line),
        };
        let response = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        shared.journal.note(note);
        if tcp.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn authorized(request: &Request, shared: &Shared) -> bool {
    let refuses = shared.behaviour().refuses_password;
    !refuses && request.header("authorization") == RIGHT_PASSWORD
}

fn answer(request: &Request, shared: &Shared) -> (u16, String) {
    let refusal = |status| (status, r#"{"message":"no"}"#.to_owned());
    if !authorized(request, shared) {
        return refusal(401);
    }
    let mut behaviour = shared.behaviour();
    match request.line.as_str() {
        "GET /ari/asterisk/info" => (200, behaviour.info.clone()),
        "GET /ari/asterisk/ping" => match &behaviour.clock {
            Some(at) => (
                200,
                format!(r#"{{"asterisk_id":"aa:01","ping":"pong","timestamp":"{at}"}}"#),
            ),
            None => refusal(404),
        },
        "GET /ari/asterisk/modules" => (200, MODULES.to_owned()),
        "GET /ari/channels" => (200, behaviour.channels.clone()),
        "GET /ari/bridges" => match &behaviour.bridges {
            Some(bridges) => (200, bridges.clone()),
            None => refusal(404),
        },
        line if line.starts_with("GET /ari/channels/") => {
            match channel_of(&behaviour.channels, line) {
                Some(channel) => (200, channel.to_string()),
                None => refusal(404),
            }
        }
        line if line.starts_with("DELETE /ari/channels/") => {
            if behaviour.read_only {
                return refusal(403);
            }
            match channel_of(&behaviour.channels, line) {
                Some(_) => (204, String::new()),
                None => refusal(404),
            }
        }
        line if line.starts_with("PUT /ari/applications/") => {
            if behaviour.read_only {
                return refusal(403);
            }
            // As in Asterisk, there is no application without its stream.
            if shared.stream.lock().expect("not poisoned").is_none() {
                return refusal(404);
            }
            behaviour.filter = serde_json::from_slice(&request.body).ok();
            (200, "{}".into())
        }
        _ => refusal(404),
    }
}

/// The channel that a request names, of those in the list.
fn channel_of(channels: &str, line: &str) -> Option<serde_json::Value> {
    let id = line.rsplit('/').next()?.split('?').next()?;
    let channels: Vec<serde_json::Value> = serde_json::from_str(channels).ok()?;
    channels.into_iter().find(|channel| channel["id"] == id)
}

async fn serve_stream(mut tcp: TcpStream, request: &Request, shared: &Shared) {
    let accept = derive_accept_key(request.header("sec-websocket-key").as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    let (orders, mut ordered) = mpsc::unbounded_channel();
    *shared.stream.lock().expect("not poisoned") = Some(orders);
    shared.behaviour().filter = None;
    shared.journal.note("stream opened");
    shared.journal.note(request.line.clone());
    if tcp.write_all(response.as_bytes()).await.is_err() {
        return;
    }
    let mut socket = WebSocketStream::from_raw_socket(tcp, Role::Server, None).await;
    loop {
        tokio::select! {
            biased;
            message = socket.next() => match message {
                Some(Ok(Message::Ping(_))) => shared.journal.note("ping"),
                Some(Ok(Message::Pong(_))) => shared.journal.note("pong"),
                Some(Ok(Message::Close(_))) => shared.journal.note("stream closed"),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return shared.journal.note("stream gone"),
            },
            order = ordered.recv() => match order {
                Some(Order::Send(message)) => {
                    if socket.send(message).await.is_err() {
                        return shared.journal.note("stream gone");
                    }
                }
                Some(Order::Close) => {
                    let _ = socket.close(None).await;
                }
                Some(Order::GoSilent) => std::future::pending().await,
                Some(Order::Cut) | None => return,
            },
        }
    }
}
