//! The real program as a child process, on ports of its own choosing.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::agi_client::{AgiCall, AgiOutcome};
use super::{DID, PATIENCE, eventually};

/// How a daemon is to be started.
#[derive(Clone)]
pub struct DaemonSettings {
    variables: Vec<(String, String)>,
    state_directory: Option<std::path::PathBuf>,
}

impl DaemonSettings {
    pub fn new(node: &str, database: &str) -> Self {
        let settings = Self {
            variables: vec![],
            state_directory: None,
        };
        settings
            .with("NODE__NAME", node)
            .with("DATABASE__URL", database)
            .with("AGI__LISTEN", "127.0.0.1:0")
            .with("HTTP__LISTEN", "127.0.0.1:0")
            .with("OPS__LISTEN", "127.0.0.1:0")
            .with("ROUTING__SWEEP_INTERVAL_SECONDS", "1")
            .with("LOG__FORMAT", "json")
            .with("LOG__LEVEL", "info")
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.variables.retain(|(k, _)| k != key);
        self.variables.push((key.to_owned(), value.to_owned()));
        self
    }

    /// As systemd names it to a unit.
    pub fn with_state_directory(mut self, directory: &std::path::Path) -> Self {
        self.state_directory = Some(directory.to_owned());
        self
    }

    pub fn with_asterisk(self, address: SocketAddr) -> Self {
        self.with("ASTERISK__0__NAME", "pbx")
            .with("ASTERISK__0__URL", &format!("http://{address}"))
            .with("ASTERISK__0__USERNAME", "capconduit")
            .with("ASTERISK__0__PASSWORD", "secret")
    }

    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capconduit"));
        command.env_clear();
        for (key, value) in &self.variables {
            command.env(format!("CAPCONDUIT_{key}"), value);
        }
        if let Some(directory) = &self.state_directory {
            command.env("STATE_DIRECTORY", directory);
        }
        command.arg(subcommand);
        command
    }

    pub fn start(&self) -> Daemon {
        Self::run(self.command("serve"))
    }

    /// As systemd starts it with a socket unit: the listening socket is handed over and stays open when the
    /// daemon ends.
    pub fn start_on(&self, socket: &std::net::TcpListener, more: &[(&str, &str)]) -> Daemon {
        let socket = socket.try_clone().expect("can be handed over");
        let serve = self.command("serve");
        let mut command = Command::new("sh");
        command.env_clear();
        for (key, value) in serve.get_envs() {
            command.env(key, value.expect("is set"));
        }
        command
            .envs(more.iter().copied())
            .args([
                "-c",
                "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve 3<&0 </dev/null",
            ])
            .arg(serve.get_program())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(std::os::fd::OwnedFd::from(socket));
        Self::run(command)
    }

    fn run(mut command: Command) -> Daemon {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("starts");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = BufReader::new(child.stderr.take().expect("has a pipe"));
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                sink.lock().expect("not poisoned").push(line);
            }
        });
        let mut daemon = Daemon {
            child,
            log,
            agi: ([127, 0, 0, 1], 0).into(),
            http: ([127, 0, 0, 1], 0).into(),
            ops: ([127, 0, 0, 1], 0).into(),
        };
        let deadline = Instant::now() + PATIENCE;
        let up = loop {
            if let Some(line) = daemon.logged("capconduit is up") {
                break line;
            }
            let ended = daemon.child.try_wait().expect("can be asked");
            assert!(ended.is_none(), "ended at once: {}", daemon.whole_log());
            assert!(Instant::now() < deadline, "not up: {}", daemon.whole_log());
            std::thread::sleep(Duration::from_millis(5));
        };
        let up: serde_json::Value = serde_json::from_str(&up).expect("JSON");
        daemon.agi = up["agi"].as_str().expect("an address").parse().unwrap();
        daemon.http = up["http"].as_str().expect("an address").parse().unwrap();
        daemon.ops = up["ops"].as_str().expect("an address").parse().unwrap();
        daemon
    }
}

/// A running daemon. Killed when dropped.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub agi: SocketAddr,
    pub http: SocketAddr,
    pub ops: SocketAddr,
}

impl Daemon {
    /// The first line of its log with this text.
    pub fn logged(&self, text: &str) -> Option<String> {
        let log = self.log.lock().expect("not poisoned");
        log.iter().find(|line| line.contains(text)).cloned()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn whole_log(&self) -> String {
        self.log.lock().expect("not poisoned").join("\n")
    }

    pub fn kill(mut self) {
        self.child.kill().expect("can be killed");
        self.child.wait().expect("ends");
    }

    pub fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        kill_process(process, signal).expect("takes signals");
    }

    /// Waits for its end and returns the exit code.
    pub async fn ended(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("can be asked") {
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "does not end: {}",
                self.whole_log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        // The client wants to know one even for plain HTTP; a second call would find it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer = reqwest::get(format!("http://{}{path}", self.ops)).await;
        let answer = answer.expect("answers");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("a text"))
    }

    pub async fn wait_ready(&self) {
        eventually("ready", async || self.get("/readyz").await.0 == 200).await;
    }

    /// Waits until readiness says this of a component.
    pub async fn wait_component(&self, name: &str, text: &str) {
        eventually(&format!("{name}: {text}"), async || {
            let (_, body) = self.get("/readyz").await;
            let report: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            report["components"][name].to_string().contains(text)
        })
        .await;
    }

    /// Asks for a call to [`DID`] as the dialplan does.
    pub async fn route(&self, uniqueid: &str, previous: &[&str]) -> std::io::Result<AgiOutcome> {
        route_at(self.agi, uniqueid, previous).await
    }

    pub async fn end(&self, uniqueid: &str, arguments: &[&str]) -> std::io::Result<AgiOutcome> {
        call("end", uniqueid, arguments).run(self.agi).await
    }
}

pub async fn route_at(
    address: SocketAddr,
    uniqueid: &str,
    previous: &[&str],
) -> std::io::Result<AgiOutcome> {
    let mut arguments = vec![DID, uniqueid];
    arguments.extend(previous);
    call("route", uniqueid, &arguments).run(address).await
}

pub fn call(script: &str, uniqueid: &str, arguments: &[&str]) -> AgiCall {
    AgiCall::new(script, uniqueid, arguments)
        .with("agi_channel", format!("PJSIP/trunk-{uniqueid}").as_bytes())
        .with("agi_dnid", DID.as_bytes())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
