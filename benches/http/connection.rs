//! HTTP/1.1 over one kept connection, made as cheap as can be: the generator shares the machine.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nobody waits longer for the next bytes; counted as an error.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request, as it is written.
pub struct Question(Vec<u8>);

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .chars()
            .take(300)
            .collect()
    }
}

impl Question {
    pub fn plain(method: &str, path: &str) -> Self {
        Self(format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes())
    }

    pub fn of_session(token: &str, method: &str, path: &str) -> Self {
        Self::plain(method, path).with_header(&format!("Cookie: session={token}"))
    }

    pub fn of_seller(seller: u32, path: &str) -> Self {
        Self::of_session(&format!("bench-session-{seller}"), "GET", path)
    }

    pub fn internal(token: &str, method: &str, path: &str) -> Self {
        Self::plain(method, path).with_header(&format!("X-Internal-API-Token: {token}"))
    }

    fn with_header(mut self, line: &str) -> Self {
        self.0.truncate(self.0.len() - 2);
        self.0.extend_from_slice(line.as_bytes());
        self.0.extend_from_slice(b"\r\n\r\n");
        self
    }

    pub fn with_json(self, body: &str) -> Self {
        let length = format!(
            "Content-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        let mut question = self.with_header(&length);
        question.0.extend_from_slice(body.as_bytes());
        question
    }
}

pub struct Connection {
    stream: TcpStream,
    /// What was received and not yet read.
    buffer: Vec<u8>,
}

/// How long a body is.
enum Length {
    Bytes(usize),
    Chunks,
}

impl Connection {
    pub async fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    pub async fn ask(&mut self, question: &Question) -> io::Result<Answer> {
        let mut body = Vec::new();
        let status = self
            .stream(question, |chunk| body.extend_from_slice(chunk))
            .await?;
        Ok(Answer { status, body })
    }

    /// Asks, and hands over the body as it arrives.
    pub async fn stream(
        &mut self,
        question: &Question,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<u16> {
        self.stream.write_all(&question.0).await?;
        let end = self.find(b"\r\n\r\n").await? + 4;
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        self.buffer.drain(..end);
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let value = |name: &str| {
            head.lines()
                .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let length = if status == 204 {
            Length::Bytes(0)
        } else if let Some(length) = value("content-length:") {
            Length::Bytes(length.parse().map_err(|_| io::ErrorKind::InvalidData)?)
        } else if value("transfer-encoding:").as_deref() == Some("chunked") {
            Length::Chunks
        } else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match length {
            Length::Bytes(length) => self.pass(length, &mut take).await?,
            Length::Chunks => loop {
                let end = self.find(b"\r\n").await?;
                let size = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                let size = usize::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16)
                    .map_err(|_| io::ErrorKind::InvalidData)?;
                self.pass(size, &mut take).await?;
                self.pass(2, &mut |_: &[u8]| {}).await?;
                if size == 0 {
                    break;
                }
            },
        }
        Ok(status)
    }

    async fn pass(&mut self, mut length: usize, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let now = length.min(self.buffer.len());
            take(&self.buffer[..now]);
            self.buffer.drain(..now);
            length -= now;
            if length == 0 {
                return Ok(());
            }
            self.receive().await?;
        }
    }

    async fn find(&mut self, pattern: &[u8]) -> io::Result<usize> {
        loop {
            let found = self
                .buffer
                .windows(pattern.len())
                .position(|window| window == pattern);
            if let Some(position) = found {
                return Ok(position);
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> io::Result<()> {
        let received = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
