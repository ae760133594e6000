//! Calls as weapons.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{LARGEST, ask};
use crate::peer::{Peer, next_message};
use crate::wire;

type Any = Box<dyn std::error::Error + Send + Sync>;

/// Calls at once on one link.
const AT_ONCE: usize = 64;

/// Asks for the largest answers and reads none.
pub(super) async fn unread(peer: &Peer) -> Result<(), Any> {
    let mut kept = Vec::new();
    for _ in 0..AT_ONCE {
        let (mut send, recv) = peer.open(wire::lane(wire::CALL, 0)).await?;
        send.write_all(&ask(LARGEST)).await?;
        send.finish()?;
        kept.push(recv);
    }
    peer.connection.closed().await;
    Ok(())
}

/// Requests of 64 KiB of which a byte comes each half second.
pub(super) async fn a_byte_at_a_time(peer: &Peer) -> Result<(), Any> {
    let mut streams = Vec::new();
    for _ in 0..AT_ONCE {
        let (mut send, recv) = peer.open(wire::lane(wire::CALL, 0)).await?;
        send.write_all(&wire::request(&vec![0; 60 * 1024])[..4]).await?;
        streams.push((send, recv));
    }
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut open = false;
        for (send, _) in &mut streams {
            open |= send.write_all(&[0]).await.is_ok();
        }
        if !open {
            return Ok(());
        }
    }
}

/// Small calls, the next one as soon as one is answered.
pub(super) async fn many(peer: &Peer) -> Result<(), Any> {
    let mut callers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let connection = peer.connection.clone();
        callers.spawn(async move {
            loop {
                let Ok((mut send, mut recv)) = connection.open_bi().await else { return };
                let mut call = Vec::new();
                wire::varint(wire::lane(wire::CALL, 0), &mut call);
                call.extend_from_slice(&ask(16_u32.to_le_bytes()));
                let sent = send.write_all(&call).await.is_ok() && send.finish().is_ok();
                if !sent || next_message(&mut recv, &mut Vec::new()).await.is_none() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
    }
    peer.connection.closed().await;
    Ok(())
}
