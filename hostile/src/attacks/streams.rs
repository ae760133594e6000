//! Streams that are opened and misused.

use std::time::Duration;

use crate::peer::Peer;
use crate::wire;

type Any = Box<dyn std::error::Error + Send + Sync>;

/// As many as the victim allows after hello, control left out.
const STREAMS: usize = 95;

/// The first byte of a head of two, and nothing more.
pub(super) async fn half_heads(peer: &Peer) -> Result<(), Any> {
    let mut kept = Vec::new();
    for _ in 0..STREAMS {
        let (mut send, recv) = peer.connection.open_bi().await?;
        send.write_all(&[0x90]).await?;
        kept.push((send, recv));
    }
    peer.connection.closed().await;
    Ok(())
}

/// Permits for everything, again and again from 0 on.
pub(super) async fn moves_back(peer: &Peer) -> Result<(), Any> {
    let (mut send, mut recv) = peer.open(wire::lane(wire::POOL, 0)).await?;
    tokio::spawn(async move { while let Ok(Some(_)) = recv.read_chunk(1 << 20, true).await {} });
    for turn in 1_u64.. {
        let granted = turn * 1_000_000;
        send.write_all(&wire::want(granted, granted * 32, Some(turn))).await?;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    Ok(())
}

/// Six calls whose messages are broken, finished together.
pub(super) async fn six_faults(peer: &Peer) -> Result<(), Any> {
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(peer.open(wire::lane(wire::CALL, 0)).await?);
    }
    for (send, _) in &mut streams {
        send.write_all(&[2, 0, 0, 7, 7, 7]).await?; // a request without its deadline, and bytes after it
        send.finish()?;
    }
    peer.connection.closed().await;
    Ok(())
}

/// Raw streams with a few bytes each, never read or ended.
pub(super) async fn raw(peer: &Peer) -> Result<(), Any> {
    let mut kept = Vec::new();
    for _ in 0..STREAMS {
        let (mut send, recv) = peer.open(wire::lane(wire::RAW, 0)).await?;
        send.write_all(b"hello").await?;
        kept.push((send, recv));
    }
    peer.connection.closed().await;
    Ok(())
}
