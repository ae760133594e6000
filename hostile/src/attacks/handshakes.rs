//! Handshakes over TCP that do not come to an end, or come to a wrong one. Whoever sends them has proved to be nobody, so nobody is blamed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stranger::{Handshake, Stranger, YAMUX, connect, payload};

type Any = Box<dyn std::error::Error + Send + Sync>;
/// What stands in the payload of a handshake, of the static key that it was made with.
type Forged = fn(&[u8]) -> Result<Vec<u8>, Any>;

/// Connections that each attacker holds at once.
const HELD: usize = 20;

/// Both flights of a handshake, the first cut at every byte, then the second.
pub(super) async fn cut(victim: SocketAddr, local: IpAddr) -> Result<(), Any> {
    for cut in 0.. {
        let mut handshake = Handshake::new()?;
        let mut stream = connect(victim, local).await?;
        if let Some(part) = handshake.first.get(..cut) {
            stream.write_all(part).await?;
            continue;
        }
        stream.write_all(&handshake.first).await?;
        let last = handshake.last(&mut stream, |key| payload(key, YAMUX)).await?;
        let Some(part) = last.get(..cut - handshake.first.len()) else { return Ok(()) };
        stream.write_all(part).await?;
    }
    Ok(())
}

/// A first flight a byte a second, on as many connections as it may have.
pub(super) async fn slow(victim: SocketAddr, local: IpAddr) -> Result<(), Any> {
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push((connect(victim, local).await?, Handshake::new()?.first));
    }
    for at in 0.. {
        let mut open = false;
        for (stream, first) in &mut held {
            let Some(byte) = first.get(at) else { return Ok(()) };
            open |= stream.write_all(&[*byte]).await.is_ok();
        }
        if !open {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Stops at each state: connected, having said the first flight, having said all, each time without reading.
pub(super) async fn stops(victim: SocketAddr, local: IpAddr) -> Result<(), Any> {
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(connect(victim, local).await?);
        let mut begun = connect(victim, local).await?;
        begun.write_all(&Handshake::new()?.first).await?;
        held.push(begun);
        let mut whole = Handshake::new()?;
        let mut stream = connect(victim, local).await?;
        stream.write_all(&whole.first).await?;
        let last = whole.last(&mut stream, |key| payload(key, YAMUX)).await?;
        stream.write_all(&last).await?;
        held.push(stream);
    }
    for stream in &mut held {
        stream.readable().await?; // an end counts, an answer is left where it is
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    Ok(())
}

/// Handshakes that are whole, and prove nothing: one after the other with each of these payloads, with a last message that was said
/// before, and with one that is changed.
pub(super) async fn forged(victim: SocketAddr, local: IpAddr) -> Result<(), Any> {
    let payloads: [Forged; 4] = [
        |_| payload(&[9; 32], YAMUX), // signed for another static key
        |key| Ok([&payload(key, YAMUX)?[..], &[0x12, 1, 0]].concat()), // two signatures
        |_| Ok(vec![0xff; 200]),      // no protobuf
        |key| Ok(payload(key, YAMUX)?[..20].to_vec()), // half a host key
    ];
    for wrong in payloads {
        Stranger::dial_with(victim, local, wrong).await?.until_closed().await;
    }
    let mut handshake = Handshake::new()?;
    let mut stream = connect(victim, local).await?;
    stream.write_all(&handshake.first).await?;
    let last = handshake.last(&mut stream, |key| payload(key, YAMUX)).await?;
    drop(stream);
    let mut changed = last.clone();
    if let Some(byte) = changed.last_mut() {
        *byte ^= 1;
    }
    for last in [last, changed] {
        let mut stream = connect(victim, local).await?;
        stream.write_all(&handshake.first).await?;
        stream.write_all(&last).await?;
        until_closed(&mut stream).await;
    }
    Ok(())
}

/// Reads and drops what comes until the victim ends the connection, for a while.
async fn until_closed(stream: &mut TcpStream) {
    let mut buffer = vec![0; 4096];
    let closed = async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
    drop(timeout(Duration::from_secs(5), closed).await);
}
