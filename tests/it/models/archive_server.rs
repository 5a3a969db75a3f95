//! A web server with one file, that can be cut off, changed and robbed of its abilities.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What is served, and how.
#[derive(Clone)]
pub struct Served {
    pub bytes: Vec<u8>,
    pub etag: Option<&'static str>,
    pub ranges: bool,
    /// How many bytes of the next answers' bodies are sent before the connection is cut.
    pub cuts: Vec<usize>,
    /// Status of the next answers instead.
    pub statuses: Vec<u16>,
    /// Without a length, the end of the connection is that of the file.
    pub length: bool,
    /// Sends what is to be sent and then nothing more, with the connection open.
    pub stalls: bool,
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub status: u16,
    pub sent: usize,
}

/// It ends with the test's runtime.
pub struct ArchiveServer {
    pub address: SocketAddr,
    served: Arc<Mutex<Served>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl ArchiveServer {
    pub async fn start(bytes: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(Mutex::new(Served {
            bytes,
            etag: Some("\"one\""),
            ranges: true,
            cuts: Vec::new(),
            statuses: Vec::new(),
            length: true,
            stalls: false,
        }));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (of_task, asked_of_task) = (Arc::clone(&served), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (served, asked) = (Arc::clone(&of_task), Arc::clone(&asked_of_task));
                tokio::spawn(answer(stream, served, asked));
            }
        });
        Self {
            address,
            served,
            asked,
        }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/models/{name}.zip", self.address)
    }

    pub fn change(&self, change: impl FnOnce(&mut Served)) {
        change(&mut self.served.lock().unwrap());
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn sent(&self) -> usize {
        self.asked().iter().map(|asked| asked.sent).sum()
    }
}

async fn answer(mut stream: TcpStream, served: Arc<Mutex<Served>>, asked: Arc<Mutex<Vec<Asked>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    };
    let (now, cut, status) = {
        let mut served = served.lock().unwrap();
        let first = |list: &mut Vec<usize>| (!list.is_empty()).then(|| list.remove(0));
        let cut = first(&mut served.cuts);
        let status = (!served.statuses.is_empty()).then(|| served.statuses.remove(0));
        (served.clone(), cut, status)
    };
    let (range, if_range) = (header("range"), header("if-range"));
    let start = range
        .as_deref()
        .filter(|_| now.ranges && (if_range.is_none() || if_range.as_deref() == now.etag))
        .map(|range| range.trim_start_matches("bytes=").trim_end_matches('-'))
        .map(|start| start.parse::<usize>().unwrap());
    let total = now.bytes.len();
    let (status, extra, body) = match (status, start) {
        (Some(status), _) => (status, String::new(), &b"no"[..]),
        (None, Some(start)) if start >= total => {
            let extra = format!("content-range: bytes */{total}\r\n");
            (416, extra, &b""[..])
        }
        (None, Some(start)) => {
            let extra = format!("content-range: bytes {start}-{}/{total}\r\n", total - 1);
            (206, extra, &now.bytes[start..])
        }
        (None, None) => (200, String::new(), &now.bytes[..]),
    };
    let mut text = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{extra}");
    if now.length {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    if let Some(etag) = now.etag {
        text.push_str(&format!("etag: {etag}\r\n"));
    }
    text.push_str("\r\n");
    let body = &body[..cut.unwrap_or(body.len()).min(body.len())];
    asked.lock().unwrap().push(Asked {
        path,
        range,
        if_range,
        status,
        sent: body.len(),
    });
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.write_all(body).await;
    if now.stalls {
        // Until the other side has had enough.
        let _ = stream.read_u8().await;
    }
    let _ = stream.shutdown().await;
}
