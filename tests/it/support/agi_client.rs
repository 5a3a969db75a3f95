//! A FastAGI client that behaves like Asterisk 20 and later: writes the environment line by line, takes
//! commands apart as `res_agi` does, answers one at a time, keeps the channel's variables.

use std::{collections::BTreeMap, io, net::SocketAddr};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::asterisk_args::{mset, parse_args};

pub use super::PATIENCE;

/// A call to `AGI()`: what is sent and how commands are answered.
#[derive(Debug, Clone)]
pub struct AgiCall {
    /// `name: value` pairs, in order; values are bytes.
    pub environment: Vec<(String, Vec<u8>)>,
    /// Written in front of the first reply.
    pub before_reply: Vec<u8>,
    /// Written instead of the usual replies, one for each command, while there are any.
    pub replies: Vec<Vec<u8>>,
}

/// What a call to `AGI()` left behind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AgiOutcome {
    /// The channel's variables.
    pub variables: BTreeMap<String, String>,
    /// Their names in the order they were set.
    pub order: Vec<String>,
    /// The commands received.
    pub commands: Vec<String>,
}

impl AgiOutcome {
    /// A variable; empty if it was not set, as in a dialplan.
    pub fn get(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// What the dialplan looks at.
    pub fn verdict(&self) -> &str {
        self.get("CAPCONDUIT_VERDICT")
    }

    /// Executes one command line and returns the reply.
    pub fn execute(&mut self, line: &str) -> &'static str {
        self.commands.push(line.to_owned());
        let words = parse_args(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let upper: Vec<String> = words.iter().take(2).map(|w| w.to_uppercase()).collect();
        match upper.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["SET", "VARIABLE"] => match words[2..] {
                [name, value] => {
                    self.set(name, value);
                    "200 result=1\n"
                }
                _ => {
                    "520-Invalid command syntax.  Proper usage follows:\n Usage: SET VARIABLE <variablename> <value>\n520 End of proper usage.\n"
                }
            },
            ["EXEC", "MSET"] => {
                // EXEC hands on its second word only.
                for (name, value) in mset(words.get(2).unwrap_or(&"")) {
                    self.set(&name, &value);
                }
                "200 result=0\n"
            }
            ["EXEC", _] => "200 result=-2\n",
            _ => "510 Invalid or unknown command\n",
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
        self.order.push(name.to_owned());
    }
}

impl AgiCall {
    /// The environment of `AGI(agi://127.0.0.1/SCRIPT,ARG,…)` from a trunk.
    pub fn new(script: &str, uniqueid: &str, arguments: &[&str]) -> Self {
        let mut environment: Vec<(String, Vec<u8>)> = [
            ("network", "yes"),
            ("network_script", script),
            ("request", &format!("agi://127.0.0.1:4573/{script}")),
            ("channel", "PJSIP/trunk-00000000"),
            ("language", "en"),
            ("type", "PJSIP"),
            ("uniqueid", uniqueid),
            ("version", "22.5.2"),
            ("callerid", "4930555001"),
            ("calleridname", "Caller: \"One\""),
            ("callingpres", "0"),
            ("callingani2", "0"),
            ("callington", "0"),
            ("callingtns", "0"),
            ("dnid", "18005550100"),
            ("rdnis", "unknown"),
            ("context", "capconduit-inbound"),
            ("extension", "18005550100"),
            ("priority", "7"),
            ("enhanced", "0.0"),
            ("accountcode", ""),
            ("threadid", "140230018766592"),
        ]
        .iter()
        .map(|(name, value)| (format!("agi_{name}"), value.as_bytes().to_vec()))
        .collect();
        for (i, argument) in arguments.iter().enumerate() {
            environment.push((format!("agi_arg_{}", i + 1), argument.as_bytes().to_vec()));
        }
        Self {
            environment,
            before_reply: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Changes or adds a variable of the environment.
    pub fn with(mut self, name: &str, value: &[u8]) -> Self {
        match self.environment.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.environment.push((name.to_owned(), value.to_vec())),
        }
        self
    }

    /// The environment as text, with its empty line.
    pub fn environment_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in &self.environment {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        bytes.push(b'\n');
        bytes
    }

    /// Connects, plays Asterisk until the daemon closes, and tells what was set.
    pub async fn run(&self, daemon: SocketAddr) -> io::Result<AgiOutcome> {
        timeout(PATIENCE, self.play(daemon))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn play(&self, daemon: SocketAddr) -> io::Result<AgiOutcome> {
        let stream = TcpStream::connect(daemon).await?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        for line in self.environment_bytes().split_inclusive(|&b| b == b'\n') {
            stream.write_all(line).await?;
        }
        let mut outcome = AgiOutcome::default();
        let mut replies = self.replies.iter();
        let mut before_reply = &self.before_reply[..];
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(outcome);
            }
            let reply = match replies.next() {
                Some(reply) => {
                    outcome.commands.push(line.trim_end().to_owned());
                    reply.clone()
                }
                None => outcome.execute(line.trim_end_matches('\n')).into(),
            };
            // One write, as Asterisk's writes of HANGUP and reply follow each other.
            stream
                .write_all(&[std::mem::take(&mut before_reply), &reply].concat())
                .await?;
        }
    }
}
