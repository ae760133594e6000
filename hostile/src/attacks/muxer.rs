//! Frames of muxers that are wrong, or that cost their sender next to nothing.

use std::net::{IpAddr, SocketAddr};

use crate::stranger::{DATA, FIN, HEADER, MPLEX, PING, RST, SYN, Stranger, WINDOW, frame, payload, token};
use crate::wire;

type Any = Box<dyn std::error::Error + Send + Sync>;

/// Frames in one write.
const AT_ONCE: usize = 64;

/// The window of a stream at birth (`yamux.md`).
const BIRTH: u32 = 256 << 10;

/// Proposals without end on one stream, each of a name that nobody serves.
pub(super) async fn tokens(mut peer: Stranger) -> Result<(), Any> {
    peer.say(&frame(DATA, SYN, 1, token(HEADER).len() as u32, &token(HEADER))).await?;
    for number in 0_u32.. {
        let name = token(&format!("/no/{number}"));
        peer.say(&frame(DATA, 0, 1, name.len() as u32, &name)).await?;
        peer.drop_arrived()?;
    }
    Ok(())
}

/// A frame with one field that cannot be, and the same again as somebody else.
pub(super) async fn fields(mut peer: Stranger) -> Result<(), Any> {
    let open = frame(WINDOW, SYN, 1, 0, &[]);
    let wrong = [
        frame(9, 0, 1, 0, &[]),                // no type
        frame(DATA, SYN, 0, 0, &[]),           // the connection is no stream
        frame(PING, SYN, 1, 0, &[]),           // and a stream not the connection
        frame(WINDOW, SYN, 2, 0, &[]),         // the victim's own number
        frame(DATA, 0, 77, 1, b"x"),           // never opened
        [open.clone(), open.clone()].concat(), // opened twice
        [open.clone(), frame(DATA, FIN, 1, 0, &[]), frame(DATA, 0, 1, 1, b"x")].concat(), // behind its end
    ];
    let chosen = getrandom::u32()? as usize % wrong.len();
    peer.say(&wrong[chosen]).await?;
    peer.until_closed().await;
    Ok(())
}

/// Credit beyond 32 bits.
pub(super) async fn credit(mut peer: Stranger) -> Result<(), Any> {
    peer.say(&frame(WINDOW, SYN, 1, u32::MAX, &[])).await?;
    peer.until_closed().await;
    Ok(())
}

/// Bytes without end for a stream that it has broken off itself: frames as long as they can be.
pub(super) async fn gone(mut peer: Stranger) -> Result<(), Any> {
    peer.say(&[frame(WINDOW, SYN, 1, 0, &[]), frame(WINDOW, RST, 1, 0, &[])].concat()).await?;
    let filler = vec![0; 60 << 10];
    loop {
        peer.say(&frame(DATA, 0, 1, u32::MAX, &filler)).await?;
        for _ in 0..u32::MAX as usize / filler.len() {
            peer.say(&filler).await?;
        }
    }
}

/// Frames that change nothing, or records without a byte.
pub(super) async fn useless(mut peer: Stranger) -> Result<(), Any> {
    peer.say(&frame(WINDOW, SYN, 1, 0, &[])).await?;
    let frames = [
        frame(DATA, 0, 1, 0, &[]),
        frame(WINDOW, 0, 1, 0, &[]),
        frame(WINDOW, 0, 1, 1, &[]),
        frame(WINDOW, FIN, 1, 0, &[]),
        frame(PING, 2, 0, 7, &[]), // the answer to no ping
    ];
    let chosen = getrandom::u32()? as usize % (2 * frames.len()); // every other one sends records
    loop {
        match frames.get(chosen) {
            Some(frame) => peer.say(&frame.repeat(AT_ONCE)).await?,
            None => peer.say_nothing(AT_ONCE).await?,
        }
        peer.drop_arrived()?;
    }
}

/// Streams without end, each for a protocol that nobody serves.
pub(super) async fn unknown(mut peer: Stranger) -> Result<(), Any> {
    let ask = [token(HEADER), token("/no/such/protocol")].concat();
    for first in (1..).step_by(2 * AT_ONCE) {
        let many = (first..).step_by(2).take(AT_ONCE);
        let many = many.map(|stream| frame(DATA, SYN | FIN, stream, ask.len() as u32, &ask));
        peer.say(&many.collect::<Vec<_>>().concat()).await?;
        peer.drop_arrived()?;
    }
    Ok(())
}

/// Reads everything and answers nothing: no ping, no stream, no proposal.
pub(super) async fn deaf(mut peer: Stranger) -> Result<(), Any> {
    peer.until_closed().await;
    Ok(())
}

/// An identify of a gigabyte, pushed.
pub(super) async fn identify(mut peer: Stranger) -> Result<(), Any> {
    let mut push = [token(HEADER), token("/ipfs/id/push/1.0.0")].concat();
    wire::varint(1 << 30, &mut push);
    peer.say(&frame(DATA, SYN, 1, push.len() as u32, &push)).await?;
    let part = vec![0; 16 << 10];
    for _ in 0..(BIRTH as usize - push.len()) / part.len() {
        peer.say(&frame(DATA, 0, 1, part.len() as u32, &part)).await?;
    }
    peer.until_closed().await;
    Ok(())
}

/// Pushes of identify without end, each on a stream of its own.
pub(super) async fn pushes(mut peer: Stranger) -> Result<(), Any> {
    let mut push = [token(HEADER), token("/ipfs/id/push/1.0.0")].concat();
    push.extend_from_slice(&[8, 0x32, 6]); // 8 bytes: the agent
    push.extend_from_slice(b"nobody");
    for first in (1..).step_by(2 * AT_ONCE) {
        let many = (first..).step_by(2).take(AT_ONCE);
        let many = many.map(|stream| frame(DATA, SYN | FIN, stream, push.len() as u32, &push));
        peer.say(&many.collect::<Vec<_>>().concat()).await?;
        peer.drop_arrived()?;
    }
    Ok(())
}

/// Over mplex: streams without end, with a name that is not read and messages that move nothing.
pub(super) async fn mplex(victim: SocketAddr, local: IpAddr) -> Result<(), Any> {
    let mut peer = Stranger::dial_with(victim, local, |key| payload(key, MPLEX)).await?;
    let mut messages = Vec::new();
    for number in 0_u64.. {
        for (flag, bytes) in [(0, &[b'n'; 100][..]), (2, &[]), (4, &[]), (6, &[])] {
            wire::varint(number << 3 | flag, &mut messages);
            wire::varint(bytes.len() as u64, &mut messages);
            messages.extend_from_slice(bytes);
        }
        if messages.len() > AT_ONCE * 100 {
            peer.say(&messages).await?;
            peer.drop_arrived()?;
            messages.clear();
        }
    }
    Ok(())
}
