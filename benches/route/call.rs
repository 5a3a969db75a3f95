//! One session, as Asterisk holds it, made as cheap as can be: the generator shares the machine.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{Target, Writes};

/// Nobody waits longer; counted as an error.
const PATIENCE: Duration = Duration::from_secs(10);

static NEXT: AtomicU64 = AtomicU64::new(0);

/// What a dialplan would see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Dial,
    Reject,
    Pong,
    /// The server closed without one; all that the raw server does.
    None,
}

/// A call's unique id, never used before. 50 characters at most.
pub fn unique_id() -> String {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let second = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_secs());
    format!("bench{}-{second}.{number}", std::process::id())
}

/// `AGI(agi://…/SCRIPT,DID,LINKEDID,,)` for this call.
pub async fn ask(target: &Target, did: &str, uniqueid: &str) -> io::Result<Verdict> {
    let arguments = [did, uniqueid, "", ""];
    session(target, &target.script, did, uniqueid, &arguments).await
}

/// Reports the call's end.
pub async fn end(target: &Target, did: &str, uniqueid: &str) -> io::Result<()> {
    let arguments = ["CANCEL", "16", "", ""];
    session(target, "end", did, uniqueid, &arguments).await?;
    Ok(())
}

async fn session(
    target: &Target,
    script: &str,
    did: &str,
    uniqueid: &str,
    arguments: &[&str],
) -> io::Result<Verdict> {
    let environment = environment(script, did, uniqueid, arguments);
    timeout(PATIENCE, play(target, environment.as_bytes()))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn play(target: &Target, environment: &[u8]) -> io::Result<Verdict> {
    let mut stream = TcpStream::connect(target.addr).await?;
    stream.set_nodelay(true)?;
    match target.env_writes {
        Writes::One => stream.write_all(environment).await?,
        Writes::Line => {
            for line in environment.split_inclusive(|&b| b == b'\n') {
                stream.write_all(line).await?;
            }
        }
    }
    let mut buffer = [0; 2048];
    let mut filled = 0;
    let mut verdict = Verdict::None;
    loop {
        let received = match stream.read(&mut buffer[filled..]).await {
            Ok(0) => return Ok(verdict),
            Ok(received) => received,
            // A server that closes with a HANGUP unread resets; a dialplan does not see the difference.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(verdict),
            Err(error) => return Err(error),
        };
        filled += received;
        if buffer[filled - 1] != b'\n' {
            if filled == buffer.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            continue;
        }
        let line = &buffer[..filled];
        filled = 0;
        let reply: &[u8] = match line[0] {
            b'G' => b"200 result=1 (value)\n",
            b'E' => {
                verdict = verdict_in(line).unwrap_or(verdict);
                b"200 result=0\n"
            }
            _ => {
                verdict = verdict_in(line).unwrap_or(verdict);
                b"200 result=1\n"
            }
        };
        stream.write_all(reply).await?;
    }
}

fn verdict_in(line: &[u8]) -> Option<Verdict> {
    let line = std::str::from_utf8(line).ok()?;
    let (_, value) = line.rsplit_once("CAPCONDUIT_VERDICT")?;
    let value = value.trim_matches(|c: char| !c.is_ascii_uppercase());
    match value {
        "DIAL" => Some(Verdict::Dial),
        "REJECT" => Some(Verdict::Reject),
        "PONG" => Some(Verdict::Pong),
        _ => None,
    }
}

fn environment(script: &str, did: &str, uniqueid: &str, arguments: &[&str]) -> String {
    use std::fmt::Write as _;

    let mut text = format!(
        "agi_network: yes\nagi_network_script: {script}\nagi_request: agi://127.0.0.1:4573/{script}\n\
         agi_channel: PJSIP/trunk-00000000\nagi_language: en\nagi_type: PJSIP\n\
         agi_uniqueid: {uniqueid}\nagi_version: 22.5.2\nagi_callerid: 4930555001\n\
         agi_calleridname: Caller One\nagi_callingpres: 0\nagi_callingani2: 0\nagi_callington: 0\n\
         agi_callingtns: 0\nagi_dnid: {did}\nagi_rdnis: unknown\nagi_context: capconduit-inbound\n\
         agi_extension: {did}\nagi_priority: 7\nagi_enhanced: 0.0\nagi_accountcode: \n\
         agi_threadid: 140230018766592\n"
    );
    for (i, argument) in arguments.iter().enumerate() {
        let _ = writeln!(text, "agi_arg_{}: {argument}", i + 1);
    }
    text.push('\n');
    text
}
