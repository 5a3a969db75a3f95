//! One FastAGI connection: its environment, then commands one at a time, each under a deadline.
//!
//! It knows nothing of calls. What it holds for a peer is bounded: nothing before the first byte, then
//! a buffer that grows with what arrives up to [`MAX_ENVIRONMENT_BYTES`]. A `HANGUP` line is remembered
//! and never taken for a reply: Asterisk goes on executing commands after it.

use std::{io, net::SocketAddr, sync::Arc};

use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::Limits;
use super::fault::Fault;
use super::wire::{
    self, Environment, Line, MAX_ENVIRONMENT_BYTES, MAX_LINE_BYTES, Reply, ReplyReader,
};

/// Room for Asterisk's usual environment, so that the buffer seldom grows.
const FIRST_BUFFER_BYTES: usize = 1024;

/// One connection.
pub struct Session {
    stream: Arc<TcpStream>,
    peer: SocketAddr,
    opened_at: Instant,
    limits: Arc<Limits>,
    /// `buffer[..filled]` has been received, `buffer[..environment]` is the environment and
    /// `buffer[..read]` needs no second look.
    buffer: Vec<u8>,
    filled: usize,
    environment: usize,
    read: usize,
    line: Vec<u8>,
    hung_up: bool,
}

impl Session {
    /// A session on a connection just accepted.
    pub fn new(stream: Arc<TcpStream>, peer: SocketAddr, limits: Arc<Limits>) -> Self {
        Self {
            stream,
            peer,
            opened_at: Instant::now(),
            limits,
            buffer: Vec::new(),
            filled: 0,
            environment: 0,
            read: 0,
            line: Vec::new(),
            hung_up: false,
        }
    }

    /// The other side.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The limits it keeps to.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads up to the environment's empty line.
    pub async fn read_environment(&mut self) -> Result<(), Fault> {
        let deadline = self.opened_at + self.limits.environment.min(self.limits.session);
        timeout_at(deadline, self.receive_environment())
            .await
            .unwrap_or(Err(Fault::EnvironmentTimeout))
    }

    async fn receive_environment(&mut self) -> Result<(), Fault> {
        let mut scanner = wire::Scanner::default();
        loop {
            let received = self.receive(MAX_ENVIRONMENT_BYTES).await;
            if received.map_err(|_| Fault::ClosedEarly)? == 0 {
                return Err(Fault::ClosedEarly);
            }
            if let Some(end) = scanner.advance(&self.buffer[..self.filled])? {
                self.environment = end;
                self.read = end;
                return Ok(());
            }
        }
    }

    /// The environment, once it has been read.
    pub fn environment(&self) -> Result<Environment<'_>, Fault> {
        Ok(Environment::parse(&self.buffer[..self.environment])?)
    }

    /// Sets one variable to any text.
    pub async fn set_variable(&mut self, name: &'static str, value: &str) -> Result<(), Fault> {
        wire::set_variable(&mut self.line, name, value).map_err(Fault::Unsendable)?;
        self.exchange().await.and_then(Answer::taken)
    }

    /// Sets variables to plain values, in this order, in one exchange.
    pub async fn set_variables(&mut self, values: &[(&'static str, &str)]) -> Result<(), Fault> {
        wire::set_variables(&mut self.line, values).map_err(Fault::Unsendable)?;
        if !matches!(self.exchange().await?, Answer::NoApplication) {
            return Ok(());
        }
        // An Asterisk without MSet: the slow way.
        for (name, value) in values {
            self.set_variable(name, value).await?;
        }
        Ok(())
    }

    /// Ends the connection now, whoever else still holds it.
    pub fn close(&self) {
        close(&self.stream);
    }

    /// Writes `self.line` and waits for its reply.
    async fn exchange(&mut self) -> Result<Answer, Fault> {
        let now = Instant::now();
        let deadline = (now + self.limits.reply).min(self.opened_at + self.limits.session);
        timeout_at(deadline, async {
            self.look_behind()?;
            self.send().await.map_err(|_| self.left())?;
            self.receive_reply().await
        })
        .await
        .unwrap_or(Err(Fault::ReplyTimeout))
    }

    /// Looks at what came since, without waiting. Lines of an environment behind its end mean that a value
    /// of it, as a caller's name, held an empty line, and that what we have read was the caller's choice.
    fn look_behind(&mut self) -> Result<(), Fault> {
        if self.filled < self.buffer.len() {
            // Whether the peer has left shows in the exchange.
            let received = self.stream.try_read(&mut self.buffer[self.filled..]);
            self.filled += received.unwrap_or(0);
        }
        let mut behind = self.buffer[self.read..self.filled].split(|&b| b == b'\n');
        if behind.any(|line| line.starts_with(b"agi_")) {
            return Err(wire::EnvironmentError::TwoEnds.into());
        }
        Ok(())
    }

    /// Whether the peer still waits for an answer, as far as can be seen without waiting.
    pub fn refuse_if_left(&mut self) -> Result<(), Fault> {
        if self.filled < self.buffer.len() {
            match self.stream.try_read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(Fault::Gone),
                Ok(received) => self.filled += received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Fault::Gone),
            }
        }
        let mut behind = self.buffer[self.read..self.filled].split(|&b| b == b'\n');
        if behind.any(|line| line == b"HANGUP") {
            return Err(Fault::HungUp);
        }
        Ok(())
    }

    async fn send(&self) -> io::Result<()> {
        let mut rest = &self.line[..];
        while !rest.is_empty() {
            match self.stream.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn receive_reply(&mut self) -> Result<Answer, Fault> {
        let mut reader = ReplyReader::default();
        // What a reply may take, with the usage text of a 520 and whatever nonsense comes before it.
        let mut room = MAX_ENVIRONMENT_BYTES;
        loop {
            while let Some(length) = newline(&self.buffer[self.read..self.filled]) {
                let line = &self.buffer[self.read..self.read + length];
                self.read += length + 1;
                room = room.checked_sub(length + 1).ok_or(Fault::ReplyTooLong)?;
                match reader.line(line) {
                    Line::Hangup => self.hung_up = true,
                    Line::Skip => {}
                    Line::Reply(reply) => return Answer::of(reply),
                }
            }
            if self.filled - self.read > MAX_LINE_BYTES {
                return Err(Fault::ReplyTooLong);
            }
            self.make_room();
            let received = self.receive(MAX_ENVIRONMENT_BYTES).await;
            if received.map_err(|_| self.left())? == 0 {
                return Err(self.left());
            }
        }
    }

    fn left(&self) -> Fault {
        if self.hung_up {
            Fault::HungUp
        } else {
            Fault::Gone
        }
    }

    /// Forgets what was read; the environment, too, has served by now.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.read..self.filled, 0);
        self.filled -= self.read;
        self.read = 0;
        self.environment = 0;
    }

    /// Waits for bytes and appends them, growing the buffer up to `most`. 0 is the end of the stream.
    async fn receive(&mut self, most: usize) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            if self.filled == self.buffer.len() {
                let larger = (2 * self.buffer.len()).clamp(FIRST_BUFFER_BYTES, most);
                self.buffer.resize(larger, 0);
            }
            match self.stream.try_read(&mut self.buffer[self.filled..]) {
                Ok(received) => {
                    self.filled += received;
                    return Ok(received);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A reply, apart from the buffer it stood in.
enum Answer {
    Taken,
    NoApplication,
}

impl Answer {
    fn of(reply: Reply<'_>) -> Result<Self, Fault> {
        match reply {
            Reply::Success { result: -2, .. } | Reply::UnknownCommand => Ok(Self::NoApplication),
            Reply::Success { result: -1, .. } => Err(Fault::HungUp),
            Reply::Success { .. } => Ok(Self::Taken),
            Reply::DeadChannel => Err(Fault::Refused("511 dead channel")),
            Reply::WrongSyntax => Err(Fault::Refused("520 wrong syntax")),
            Reply::Strange => Err(Fault::Refused("a status of unknown form")),
        }
    }

    fn taken(self) -> Result<(), Fault> {
        match self {
            Self::Taken => Ok(()),
            Self::NoApplication => Err(Fault::Refused("510 unknown command")),
        }
    }
}

/// Ends a connection that its session may still be waiting on.
pub(super) fn close(stream: &TcpStream) {
    // It fails only where the peer was quicker.
    let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Both);
}

fn newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&b| b == b'\n')
}
