//! The large echo, `/interop/pattern/1`: 16 MiB of a pattern that both sides know, there and back at the same time. Each side
//! compares what it reads; the listener returns it while it reads, and ends where the whole pattern came and ended.

use std::io;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::Control;

use crate::Failed;

pub const PATTERN: StreamProtocol = StreamProtocol::new("/interop/pattern/1");
/// Bytes of the pattern.
const SIZE: usize = 16 << 20;
/// The first of its words: "Weir".
const SEED: u32 = 0x5765_6972;
/// Bytes that are read or written at once.
const PIECE: usize = 65_536;

/// Words of four bytes, little-endian, each made of the one before.
fn pattern() -> Vec<u8> {
    let (mut bytes, mut word) = (Vec::with_capacity(SIZE), SEED);
    while bytes.len() < SIZE {
        bytes.extend_from_slice(&word.to_le_bytes());
        word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    }
    bytes
}

/// How much of the pattern has come.
struct Compared {
    pattern: Vec<u8>,
    at: usize,
}

impl Compared {
    fn new() -> Self {
        Self { pattern: pattern(), at: 0 }
    }

    fn next(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.at + bytes.len();
        if self.pattern.get(self.at..end) != Some(bytes) {
            return Err(io::Error::other(format!("other bytes than were sent, after {}", self.at)));
        }
        self.at = end;
        Ok(())
    }

    fn end(&self) -> io::Result<()> {
        if self.at == SIZE {
            return Ok(());
        }
        Err(io::Error::other(format!("it ends after {} of {SIZE} bytes", self.at)))
    }
}

/// The listener's end. Where it is not the pattern, the stream is dropped, and the dialler misses what is left.
pub async fn answer(mut stream: Stream) -> io::Result<()> {
    let (mut compared, mut memory) = (Compared::new(), vec![0; PIECE]);
    loop {
        match stream.read(&mut memory).await? {
            0 => {
                compared.end()?;
                return stream.close().await;
            }
            len => {
                compared.next(&memory[..len])?;
                stream.write_all(&memory[..len]).await?;
            }
        }
    }
}

/// The dialler's end. Its last piece waits for the first bytes that come back: a listener that returns nothing before the end
/// never gets it.
pub async fn echo(control: &mut Control, peer: PeerId) -> Result<(), Failed> {
    let (mut reader, mut writer) = control.open_stream(peer, PATTERN).await?.split();
    let (came, comes) = tokio::sync::oneshot::channel();
    let writing = async {
        let all = pattern();
        let (first, last) = all.split_at(SIZE - PIECE);
        for piece in first.chunks(PIECE) {
            writer.write_all(piece).await?;
        }
        writer.flush().await?;
        comes.await.map_err(io::Error::other)?;
        writer.write_all(last).await?;
        writer.close().await
    };
    let reading = async {
        let (mut compared, mut memory, mut came) = (Compared::new(), vec![0; PIECE], Some(came));
        loop {
            match reader.read(&mut memory).await? {
                0 => return compared.end(),
                len => compared.next(&memory[..len])?,
            }
            if let Some(came) = came.take() {
                let _ = came.send(()); // whoever waited may have failed
            }
        }
    };
    tokio::try_join!(writing, reading)?;
    println!("ok {SIZE} bytes there and back");
    Ok(())
}
