//! What one seller does to keep the API from the others: heavy requests on many connections, exports that are read as
//! slowly as can be. It is no measurement: what becomes of the others is measured beside it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Target;
use crate::connection::{Connection, Question};

const HEAVY: &str = "/api/seller/statistics?group_by=hour&start_date=2026-01-01&q=x";
const EXPORT: &str = "/api/seller/logs/export";

/// Bytes that a slow reader takes each second.
const SLOWLY: usize = 16 * 1024;

/// Floods as seller 1 for so long; prints how often what was answered.
pub async fn flood(
    target: &Target,
    heavy: usize,
    readers: usize,
    seconds: f64,
) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let addr = target.addr;
    let mut workers = JoinSet::new();
    for _ in 0..heavy {
        workers.spawn(async move {
            let mut answers = BTreeMap::<String, u32>::new();
            while Instant::now() < end {
                let Ok(mut connection) = Connection::open(addr).await else {
                    continue;
                };
                let question = Question::of_seller(1, HEAVY);
                while Instant::now() < end {
                    let Ok(answer) = connection.ask(&question).await else {
                        *answers.entry("heavy closed".to_owned()).or_default() += 1;
                        break;
                    };
                    *answers
                        .entry(format!("heavy {}", answer.status))
                        .or_default() += 1;
                    if answer.status != 200 {
                        // Faster than any client that reads Retry-After.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
            answers
        });
    }
    for _ in 0..readers {
        workers.spawn(async move {
            let mut answers = BTreeMap::<String, u32>::new();
            while Instant::now() < end {
                let kind = match read_slowly(addr, end).await {
                    Ok(status) => format!("export {status}"),
                    Err(_) => "export closed".to_owned(),
                };
                *answers.entry(kind).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            answers
        });
    }
    let mut all = BTreeMap::<String, u32>::new();
    while let Some(answers) = workers.join_next().await {
        for (kind, count) in answers? {
            *all.entry(kind).or_default() += count;
        }
    }
    let all: Vec<_> = all
        .into_iter()
        .map(|(kind, count)| format!("{}={count}", kind.replace(' ', "_")))
        .collect();
    println!("{}", all.join(" "));
    Ok(())
}

async fn read_slowly(addr: std::net::SocketAddr, end: Instant) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(addr).await?;
    let question = format!(
        "GET {EXPORT} HTTP/1.1\r\nHost: bench\r\nCookie: session=bench-session-1\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(question.as_bytes()).await?;
    let mut piece = vec![0; SLOWLY];
    let read = stream.read(&mut piece).await?;
    let head = String::from_utf8_lossy(&piece[..read]).into_owned();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    while Instant::now() < end && stream.read(&mut piece).await? > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(status.unwrap_or_default())
}
