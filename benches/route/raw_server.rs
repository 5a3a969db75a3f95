//! The yardstick: three exchanges as plainly as tokio allows, one task a connection.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub async fn serve(addr: SocketAddr) -> anyhow::Result<()> {
    let listener: TcpListener = capconduit::asterisk::agi::bind(addr)?;
    println!("listening={}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A peer that goes away is none of its business.
            let _ = session(stream).await;
        });
    }
}

async fn session(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 2048];
    let mut filled = 0;
    while !buffer[..filled].ends_with(b"\n\n") {
        let received = stream.read(&mut buffer[filled..]).await?;
        if received == 0 {
            return Ok(());
        }
        filled += received;
    }
    for command in [
        &b"GET VARIABLE CHANNEL(linkedid)\n"[..],
        b"SET VARIABLE CAPCONDUIT_ENDPOINT \"acme-west\"\n",
        b"SET VARIABLE CAPCONDUIT_VERDICT \"DIAL\"\n",
    ] {
        stream.write_all(command).await?;
        filled = 0;
        while !buffer[..filled].ends_with(b"\n") {
            let received = stream.read(&mut buffer[filled..]).await?;
            if received == 0 {
                return Ok(());
            }
            filled += received;
        }
    }
    Ok(())
}
