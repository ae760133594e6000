//! Throughput of links: libp2p's `/perf/1.0.0`, both sides of it.
//!
//! - the client opens a stream, writes how many bytes it wants back (8 bytes, big-endian), then its upload, and ends its
//!   direction;
//! - the server reads to the end, writes so many bytes, and ends its direction. It writes nothing before it has read all.
//!
//! Threat: a server does whatever work a stranger asks for. It serves only where the configuration says so, so many streams a
//! link, and no more bytes than a limit; the bytes that it sends are one shared buffer, and those it reads are dropped.
//!
//! Source: libp2p specs, `perf/perf.md`; `docs/spec/perf.md`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_base::stream::{Ask, Class, Incoming, LinkChange, OpenError, Origin, StreamUser};
use weir_base::{Fault, Instant, LinkId, ProtocolId, Rope, StreamKey};

/// The protocol's name on libp2p.
pub const NAME: &str = "/perf/1.0.0";

/// More bytes than were asked for.
pub const TOO_MUCH: Fault = Fault::misbehaved("more bytes than the measurement asked for");
/// A stream that ends before it said how much it wants.
pub const NO_SIZE: Fault = Fault::misbehaved("a measurement without its size");

/// The code of a stream that breaks the rules.
const FAULT: u32 = 2;
/// The code of a stream above a limit.
const LIMIT: u32 = 4;
/// The code of a measurement that its user ended.
const ASKED: u32 = 0;

/// Bytes that are read at once, and of the buffer that is written again and again.
const PIECE: usize = 64 * 1024;
static ZEROES: [u8; PIECE] = [0; PIECE];

/// Whom to serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Measurements that one peer may have running here at once. 0: this node serves none. Default: 0, for each costs as much
    /// as a stranger wants.
    pub max_inbound: u32,
    /// The most bytes that are sent back in one measurement; a larger wish is refused. Default: 1 TiB.
    pub max_download: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_inbound: 0, max_download: 1 << 40 }
    }
}

/// What the machine tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A measurement of this side is complete.
    Done {
        /// On which link.
        link: LinkId,
        /// The number that the user gave.
        tag: u64,
        /// From the opening to the last byte.
        took: Duration,
    },
    /// A measurement of this side ended early.
    Failed {
        /// On which link.
        link: LinkId,
        /// The number that the user gave.
        tag: u64,
    },
}

/// A measurement of this side.
#[derive(Clone, Copy, Debug)]
struct Client {
    link: LinkId,
    since: Instant,
    download: u64,
    head: Option<[u8; 8]>, // until it is written
    upload: u64,           // bytes still to write
    got: u64,              // <= download
    ended: bool,           // all is written
}

/// A measurement of a peer.
#[derive(Clone, Copy, Debug, Default)]
struct Server {
    size: [u8; 8],
    filled: usize, // of the size
    left: u64,     // bytes still to write, <= Config::max_download
    reading: bool, // the peer has not ended
}

/// Measurements on all links of a node. See [`StreamUser`] for when to call what; after any call drain
/// [`poll_ask`](StreamUser::poll_ask) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Perf {
    config: Config,
    protocol: ProtocolId,
    links: BTreeMap<LinkId, u32>, // that are up, and the measurements served on each, <= max_inbound
    opening: BTreeMap<u64, Client>,
    clients: BTreeMap<StreamKey, (u64, Client)>,
    servers: BTreeMap<StreamKey, Server>,
    asks: VecDeque<Ask>,     // a few per input
    events: VecDeque<Event>, // at most one per measurement
}

impl Perf {
    /// `protocol` is the number under which streams are opened and come.
    pub fn new(config: Config, protocol: ProtocolId) -> Self {
        Self {
            config,
            protocol,
            links: BTreeMap::new(),
            opening: BTreeMap::new(),
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            asks: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Sends `upload` bytes and asks for `download`. `tag` is the user's own number, not in use.
    pub fn measure(&mut self, now: Instant, link: LinkId, tag: u64, upload: u64, download: u64) {
        if !self.links.contains_key(&link) || self.opening.contains_key(&tag) {
            return self.events.push_back(Event::Failed { link, tag });
        }
        let head = Some(download.to_be_bytes());
        self.opening.insert(tag, Client { link, since: now, download, head, upload, got: 0, ended: false });
        self.asks.push_back(Ask::Open { link, protocol: self.protocol, class: Class::Bulk, tag });
    }

    /// The next thing to tell; `None` when there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A measurement of this side is over.
    fn end(&mut self, key: StreamKey, now: Instant) {
        let Some((tag, client)) = self.clients.remove(&key) else { return };
        let link = client.link;
        let complete = client.got == client.download && client.ended;
        self.events.push_back(if complete {
            Event::Done { link, tag, took: now.since(client.since) }
        } else {
            self.asks.extend([Ask::Reset(key, ASKED), Ask::Stop(key, ASKED)]);
            Event::Failed { link, tag }
        });
    }

    fn client_incoming(&mut self, now: Instant, key: StreamKey, input: &Incoming) {
        let Some((_, client)) = self.clients.get_mut(&key) else { return };
        let Incoming::Data(chunk) = input else { return self.end(key, now) };
        client.got = client.got.saturating_add(chunk.len() as u64);
        if client.got > client.download {
            client.got = 0; // it is not complete
            self.asks.extend([Ask::Blame(key.link, TOO_MUCH), Ask::Reset(key, FAULT), Ask::Stop(key, FAULT)]);
            self.end(key, now);
        }
    }

    fn server_incoming(&mut self, key: StreamKey, input: &Incoming) {
        let Some(server) = self.servers.get_mut(&key) else { return };
        match input {
            Incoming::Data(chunk) => {
                let wanted = server.size.get_mut(server.filled..).unwrap_or_default();
                let taken = wanted.len().min(chunk.len());
                wanted.iter_mut().zip(chunk.iter()).for_each(|(slot, byte)| *slot = *byte);
                server.filled += taken;
                server.left = u64::from_be_bytes(server.size);
                if server.filled == server.size.len() && server.left > self.config.max_download {
                    self.asks.extend([Ask::Reset(key, LIMIT), Ask::Stop(key, LIMIT)]);
                    self.forget(key);
                }
            }
            Incoming::End if server.filled < server.size.len() => {
                self.asks.extend([Ask::Blame(key.link, NO_SIZE), Ask::Reset(key, FAULT)]);
                self.forget(key);
            }
            Incoming::End => {
                server.reading = false;
                self.asks.push_back(Ask::Write(key));
            }
            Incoming::Reset(_) | Incoming::Stopped(_) => {
                self.asks.extend([Ask::Reset(key, ASKED), Ask::Stop(key, ASKED)]);
                self.forget(key);
            }
        }
    }

    fn forget(&mut self, key: StreamKey) {
        if self.servers.remove(&key).is_some()
            && let Some(served) = self.links.get_mut(&key.link)
        {
            *served -= 1;
        }
    }
}

/// Appends of `left` bytes as many as there is room for.
fn put_zeroes(left: &mut u64, mut room: usize, out: &mut Rope) {
    while *left > 0 && room > 0 {
        let len = room.min(PIECE).min(usize::try_from(*left).unwrap_or(PIECE));
        out.push(Bytes::from_static(&ZEROES).slice(..len));
        room -= len;
        *left -= len as u64;
    }
}

impl StreamUser for Perf {
    fn protocols(&self) -> Vec<ProtocolId> {
        if self.config.max_inbound == 0 { Vec::new() } else { vec![self.protocol] }
    }

    fn handle_link(&mut self, now: Instant, link: LinkId, change: &LinkChange) {
        match change {
            LinkChange::Early(_) => {}
            LinkChange::Up(_) => drop(self.links.insert(link, 0)),
            LinkChange::Down => {
                self.links.remove(&link);
                self.servers.retain(|key, _| key.link != link);
                let of_link: Vec<StreamKey> =
                    self.clients.keys().filter(|key| key.link == link).copied().collect();
                of_link.into_iter().for_each(|key| self.end(key, now));
                let waiting: Vec<u64> = self
                    .opening
                    .iter()
                    .filter(|(_, client)| client.link == link)
                    .map(|(tag, _)| *tag)
                    .collect();
                waiting.into_iter().for_each(|tag| self.handle_refused(now, tag, OpenError::Closed));
            }
        }
    }

    fn handle_opened(&mut self, _: Instant, key: StreamKey, origin: Origin) {
        match origin {
            Origin::Local { tag } => {
                let Some(client) = self.opening.remove(&tag) else { return };
                self.clients.insert(key, (tag, client));
                self.asks.push_back(Ask::Write(key));
            }
            Origin::Peer(_) => {
                let served =
                    self.links.get_mut(&key.link).filter(|served| **served < self.config.max_inbound);
                let Some(served) = served else {
                    return self.asks.extend([Ask::Reset(key, LIMIT), Ask::Stop(key, LIMIT)]);
                };
                *served += 1;
                self.servers.insert(key, Server { reading: true, ..Server::default() });
            }
        }
    }

    fn handle_refused(&mut self, _: Instant, tag: u64, _: OpenError) {
        if let Some(client) = self.opening.remove(&tag) {
            self.events.push_back(Event::Failed { link: client.link, tag });
        }
    }

    fn class(&self, _: ProtocolId) -> Class {
        Class::Bulk
    }

    fn room(&self, key: StreamKey) -> usize {
        let known = self.clients.contains_key(&key) || self.servers.contains_key(&key);
        if known { PIECE } else { 0 }
    }

    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        if self.clients.contains_key(&key) {
            self.client_incoming(now, key, &input);
        } else {
            self.server_incoming(key, &input);
        }
    }

    fn poll_write(&mut self, _: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        if let Some((_, client)) = self.clients.get_mut(&key) {
            let head = client.head.take_if(|head| head.len() <= room);
            head.iter().for_each(|head| out.put(head));
            if client.head.is_none() {
                put_zeroes(&mut client.upload, room - out.len(), out);
                if client.upload == 0 && !std::mem::replace(&mut client.ended, true) {
                    self.asks.push_back(Ask::Finish(key));
                }
            }
            return;
        }
        let Some(server) = self.servers.get_mut(&key).filter(|server| !server.reading) else { return };
        put_zeroes(&mut server.left, room, out);
        if server.left == 0 {
            self.asks.push_back(Ask::Finish(key));
            self.forget(key);
        }
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}

#[cfg(test)]
mod tests;
