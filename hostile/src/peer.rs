//! One hostile peer: a QUIC connection, a control stream that answers pings, and whatever an attack does beside it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{identity, wire};

type Any = Box<dyn std::error::Error + Send + Sync>;

/// How long the victim may take for each step of the set-up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A peer that has said and heard hello.
pub struct Peer {
    pub connection: Connection,
    /// Number and key of the victim's short ids.
    pub key: (u64, [u8; 16]),
    endpoint: Endpoint,
}

impl Peer {
    /// Dials `victim` from `local` under a fresh identity and says hello.
    pub async fn dial(victim: SocketAddr, local: IpAddr) -> Result<Self, Any> {
        let mut endpoint = Endpoint::client(SocketAddr::new(local, 0))?;
        endpoint.set_default_client_config(identity::client()?);
        let connection = timeout(PATIENCE, endpoint.connect(victim, "victim")?).await??;
        let (mut send, mut recv) = connection.open_bi().await?;
        let mut first = Vec::new();
        wire::varint(wire::lane(wire::CONTROL, 0), &mut first);
        first.extend_from_slice(&wire::hello());
        send.write_all(&first).await?;
        let mut buffer = Vec::new();
        let hello = timeout(PATIENCE, next_message(&mut recv, &mut buffer)).await?.ok_or("no hello")?.1;
        let key = wire::key_of(&hello).ok_or("a hello without key")?;
        tokio::spawn(answer_pings(send, recv, buffer));
        Ok(Self { connection, key, endpoint })
    }

    /// Closes its connection, and waits until that is said: a process that ends at once says nothing, and the victim would believe the peer there
    /// until its idle timeout.
    pub async fn leave(self) {
        self.connection.close(0_u8.into(), b"");
        self.endpoint.wait_idle().await;
    }

    /// Opens a stream that begins with a protocol number.
    pub async fn open(&self, protocol: u64) -> Result<(SendStream, RecvStream), Any> {
        let (mut send, recv) = self.connection.open_bi().await?;
        let mut head = Vec::new();
        wire::varint(protocol, &mut head);
        send.write_all(&head).await?;
        Ok((send, recv))
    }

    /// Offers items one after the other, and answers each get as `answer` says, until the link ends.
    pub async fn serve(&self, items: Items, answer: Answer) -> Result<(), Any> {
        loop {
            let (send, mut recv) = self.connection.accept_bi().await?;
            let mut head = Vec::new();
            let protocol = loop {
                let mut byte = [0];
                if recv.read_exact(&mut byte).await.is_err() {
                    break None;
                }
                head.push(byte[0]);
                if byte[0] & 0x80 == 0 {
                    break wire::take_varint(&mut head.as_slice());
                }
            };
            match protocol {
                Some(protocol) if protocol == wire::lane(wire::POOL, 0) => {
                    tokio::spawn(offer(send, recv, self.key, items));
                }
                Some(protocol) if protocol == wire::lane(wire::POOL, 1) => {
                    tokio::spawn(deliver(send, recv, items, answer));
                }
                _ => drop((send, recv)),
            }
        }
    }
}

/// A run of items that nobody has made before.
#[derive(Clone, Copy, Debug)]
pub struct Items {
    /// The first byte: what the victim's application thinks of them.
    pub kind: u8,
    salt: u64,
}

impl Items {
    /// Items of a kind.
    pub fn new(kind: u8) -> Result<Self, getrandom::Error> {
        Ok(Self { kind, salt: getrandom::u64()? })
    }

    fn make(self, index: u64) -> Vec<u8> {
        let mut item = vec![self.kind; 300];
        item[8..16].copy_from_slice(&self.salt.to_le_bytes());
        item[16..24].copy_from_slice(&index.to_le_bytes());
        item
    }
}

/// How gets are answered.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// With the item.
    Item,
    /// With `Gone`.
    Gone,
}

/// The next message of a stream; `None` where it ends.
pub async fn next_message(recv: &mut RecvStream, buffer: &mut Vec<u8>) -> Option<(u64, Vec<u8>)> {
    loop {
        if let Some(message) = wire::take_message(buffer) {
            return Some(message);
        }
        let chunk = recv.read_chunk(64 * 1024, true).await.ok()??;
        buffer.extend_from_slice(&chunk.bytes);
    }
}

async fn answer_pings(mut send: SendStream, mut recv: RecvStream, mut buffer: Vec<u8>) {
    while let Some((kind, nonce)) = next_message(&mut recv, &mut buffer).await {
        if kind == 2 && send.write_all(&wire::message(4, &nonce)).await.is_err() {
            return;
        }
    }
}

/// Uses every permit at once.
async fn offer(mut send: SendStream, mut recv: RecvStream, key: (u64, [u8; 16]), items: Items) {
    let (grants, mut granted) = watch::channel((0, 0));
    tokio::spawn(async move {
        let mut buffer = Vec::new();
        while let Some((kind, fields)) = next_message(&mut recv, &mut buffer).await {
            if let (0, Some(grant)) = (kind, wire::granted(&fields)) {
                grants.send_replace(grant);
            }
        }
    });
    let (mut entries, mut bytes) = (0_u64, 0_u64);
    loop {
        let (most, most_bytes) = *granted.borrow_and_update();
        let count = (most - entries).min(256);
        let made: Vec<_> = (entries..entries + count)
            .map(|index| {
                let item = items.make(index);
                (wire::short_id(&key.1, &item), item.len())
            })
            .collect();
        let message = wire::offer(entries == 0, key.0, entries, &made);
        if count == 0 || bytes + message.len() as u64 > most_bytes {
            if granted.changed().await.is_err() {
                return;
            }
            continue;
        }
        if send.write_all(&message).await.is_err() {
            return;
        }
        entries += count;
        bytes += message.len() as u64;
    }
}

async fn deliver(mut send: SendStream, mut recv: RecvStream, items: Items, answer: Answer) {
    let mut buffer = Vec::new();
    while let Some((kind, fields)) = next_message(&mut recv, &mut buffer).await {
        if kind != 0 {
            continue;
        }
        for index in wire::indices(&fields) {
            let message = match answer {
                Answer::Item => wire::item(index, &items.make(index)),
                Answer::Gone => wire::gone(index),
            };
            if send.write_all(&message).await.is_err() {
                return;
            }
        }
    }
}
