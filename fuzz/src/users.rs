//! Machines that use streams, each driven by a script in place of the pump: links come and go, peers open streams, send, end, break
//! off and stop at any moment, the application acts, and time passes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Ask, Group, Incoming, LinkChange, LinkInfo, OpenError, Origin, Side, StreamUser};
use weir_base::{Chunk, Instant, Keypair, LinkId, ProtocolId, Rng, Rope, StreamKey};
use weir_libp2p::identify::{Identify, Info};
use weir_libp2p::perf::Perf;
use weir_libp2p::ping::Ping;
use weir_libp2p::{identify, perf, ping};

use crate::script::Script;

/// Links that there are at once, and streams of each.
const LINKS: usize = 3;
const STREAMS: usize = 40;
/// No machine takes more at once than this, in bytes: the largest buffer of perf, and of a message below.
const ROOM_MAX: usize = 64 * 1024;
/// Wishes that one step may come to: a few for each stream, as when a link goes down.
const ASKS_MAX: usize = 8 * LINKS * STREAMS;
/// Deadlines that are gone through at the end.
const DEADLINES_MAX: usize = 10_000;

/// The two directions of a stream, as the pump sees them.
#[derive(Clone, Copy)]
pub(crate) struct Halves {
    pub(crate) reading: bool,
    writing: bool,
}

/// A machine, and what the pump would know.
pub(crate) struct Driver<U> {
    pub(crate) user: U,
    pub(crate) now: Instant,
    links: Vec<LinkId>,
    pub(crate) streams: BTreeMap<StreamKey, Halves>,
    made: u64,      // links and streams so far
    refuses: u64,   // every so many of this side's opens is refused; 0: none
    answered: bool, // it wrote something, or ended well
}

impl<U: StreamUser> Driver<U> {
    pub(crate) fn new(user: U, refuses: u64) -> Self {
        Self {
            user,
            now: Instant::ZERO,
            links: Vec::new(),
            streams: BTreeMap::new(),
            made: 0,
            refuses,
            answered: false,
        }
    }

    /// Runs a script. What the machine itself offers is done by `own`, with a link that is up; `told` drains its events.
    pub(crate) fn run(
        &mut self,
        script: &mut Script<'_>,
        mut own: impl FnMut(&mut U, Instant, LinkId, &mut Script<'_>, &[StreamKey]),
        mut told: impl FnMut(&mut U),
    ) {
        let protocols = self.user.protocols();
        while let Some(step) = script.step() {
            self.step(step, script, &protocols, &mut own);
            self.carry_out();
            told(&mut self.user);
        }
    }

    fn step(
        &mut self,
        step: u8,
        script: &mut Script<'_>,
        protocols: &[ProtocolId],
        own: &mut impl FnMut(&mut U, Instant, LinkId, &mut Script<'_>, &[StreamKey]),
    ) {
        let keys: Vec<StreamKey> = self.streams.keys().copied().collect();
        match step % 10 {
            0 if self.links.len() < LINKS => self.link_up(),
            1 => {
                if let Some(link) = script.pick(&self.links) {
                    self.link_down(link);
                }
            }
            2 => {
                let (Some(link), Some(protocol)) = (script.pick(&self.links), script.pick(protocols)) else {
                    return;
                };
                if keys.iter().filter(|key| key.link == link).count() < STREAMS {
                    let key = self.add(link);
                    self.user.handle_opened(self.now, key, Origin::Peer(protocol));
                }
            }
            3 => {
                let (key, len) = (script.pick(&keys), script.byte());
                let bytes = script.bytes(len.into());
                if let Some(key) = key {
                    self.data(key, bytes);
                }
            }
            4..=6 => {
                let (Some(key), code) = (script.pick(&keys), script.byte()) else { return };
                let Some(halves) = self.streams.get_mut(&key) else { return };
                let (open, input) = match step % 10 {
                    4 => (std::mem::take(&mut halves.reading), Incoming::End),
                    5 => (std::mem::take(&mut halves.reading), Incoming::Reset(code.into())),
                    _ => (std::mem::take(&mut halves.writing), Incoming::Stopped(code.into())),
                };
                if open {
                    self.user.handle_incoming(self.now, key, input);
                }
                self.forget_over(key);
            }
            7 => {
                let millis = u64::from(script.byte()) * 100;
                self.now = self.now + Duration::from_millis(millis);
                self.wake();
            }
            8 => {
                let (Some(key), room) = (script.pick(&keys), script.byte()) else { return };
                self.write(key, usize::from(room));
            }
            _ => {
                if let Some(link) = script.pick(&self.links) {
                    own(&mut self.user, self.now, link, script, &keys);
                }
            }
        }
    }

    pub(crate) fn link_up(&mut self) {
        self.made += 1;
        let link = LinkId(self.made);
        let seed = u8::try_from(self.made % 3).unwrap_or(0);
        let info = LinkInfo {
            peer: Keypair::ed25519_from_seed([seed; 32]).peer_id(),
            side: if self.made.is_multiple_of(2) { Side::Dialled } else { Side::Inbound },
            dialler: self.made.is_multiple_of(2),
            group: Group::Local(seed.into()),
        };
        self.links.push(link);
        self.user.handle_link(self.now, link, &LinkChange::Up(info));
    }

    fn link_down(&mut self, link: LinkId) {
        self.links.retain(|up| *up != link);
        self.streams.retain(|key, _| key.link != link);
        self.user.handle_link(self.now, link, &LinkChange::Down);
    }

    pub(crate) fn add(&mut self, link: LinkId) -> StreamKey {
        self.made += 1;
        let key = StreamKey { link, stream: self.made };
        self.streams.insert(key, Halves { reading: true, writing: true });
        key
    }

    /// Bytes of the peer, never more than there is room for.
    pub(crate) fn data(&mut self, key: StreamKey, mut bytes: &[u8]) {
        while self.streams.get(&key).is_some_and(|halves| halves.reading) && !bytes.is_empty() {
            let room = self.user.room(key);
            assert!(room <= ROOM_MAX, "room for {room} bytes");
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            if taken.is_empty() {
                return; // the transport keeps it
            }
            bytes = rest;
            self.user.handle_incoming(
                self.now,
                key,
                Incoming::Data(Chunk::whole(Bytes::copy_from_slice(taken))),
            );
            self.carry_out();
        }
    }

    fn write(&mut self, key: StreamKey, room: usize) {
        if !self.streams.get(&key).is_some_and(|halves| halves.writing) {
            return;
        }
        let mut out = Rope::new();
        self.user.poll_write(self.now, key, room, &mut out);
        assert!(out.len() <= room, "{} bytes in a room of {room}", out.len());
        self.answered |= !out.is_empty();
    }

    /// Time has come for what is due: afterwards nothing is.
    fn wake(&mut self) {
        self.user.handle_timeout(self.now);
        self.carry_out();
        let due = self.user.poll_timeout();
        assert!(due.is_none_or(|(due, _)| due > self.now), "{due:?} is due for ever at {:?}", self.now);
    }

    /// Does what the machine wants, as the pump would.
    pub(crate) fn carry_out(&mut self) {
        let mut asks = 0;
        while let Some(ask) = self.user.poll_ask() {
            asks += 1;
            assert!(asks <= ASKS_MAX, "wishes without end");
            match ask {
                Ask::Open { link, tag, .. } if self.links.contains(&link) => {
                    if self.refuses > 0 && self.made.is_multiple_of(self.refuses) {
                        self.made += 1;
                        self.user.handle_refused(self.now, tag, OpenError::Limit);
                    } else {
                        let key = self.add(link);
                        self.user.handle_opened(self.now, key, Origin::Local { tag });
                    }
                }
                Ask::Open { tag, .. } => self.user.handle_refused(self.now, tag, OpenError::Closed),
                Ask::Finish(key) | Ask::Reset(key, _) => {
                    if let Some(halves) = self.streams.get_mut(&key) {
                        halves.writing = false;
                    }
                    self.forget_over(key);
                }
                Ask::Stop(key, _) => {
                    if let Some(halves) = self.streams.get_mut(&key) {
                        halves.reading = false;
                    }
                    self.forget_over(key);
                }
                Ask::Blame(link, _) | Ask::Close(link, _) => assert!(link.0 <= self.made),
                Ask::Resume(_) | Ask::Write(_) => {}
            }
        }
    }

    fn forget_over(&mut self, key: StreamKey) {
        if self.streams.get(&key).is_some_and(|halves| !halves.reading && !halves.writing) {
            self.streams.remove(&key);
        }
    }

    /// Peers do nothing more: every stream comes to its end by the machine's own deadlines.
    pub(crate) fn wait_for_deadlines(&mut self) {
        for _ in 0..DEADLINES_MAX {
            let Some((due, _)) = self.user.poll_timeout() else {
                assert!(self.streams.is_empty(), "{} streams stay open for ever", self.streams.len());
                return;
            };
            self.now = self.now.max(due);
            self.wake();
        }
        panic!("deadlines without end");
    }

    /// All links go down: nothing is waited for any more.
    pub(crate) fn end(&mut self) {
        while let Some(link) = self.links.first().copied() {
            self.link_down(link);
        }
        self.carry_out();
        assert_eq!(self.user.poll_timeout(), None, "it waits for links that are gone");
    }
}

/// Ping, both sides. Taken: a ping or an echo was written.
pub(crate) fn ping(data: &[u8]) -> bool {
    let mut script = Script::new(data);
    let config = ping::Config {
        interval: Duration::from_secs(u64::from(script.byte() % 4)),
        ..ping::Config::default()
    };
    let mut driver = Driver::new(Ping::new(config, ProtocolId(1), Rng::from_number(1)), 5);
    driver.run(&mut script, |_, _, _, _, _| {}, |user| while user.poll_event().is_some() {});
    driver.end();
    driver.answered
}

/// perf, both sides. Taken: a measurement was written, or answered.
pub(crate) fn perf(data: &[u8]) -> bool {
    let config = perf::Config { max_inbound: 2, max_download: 1 << 20 };
    let (mut driver, mut tag, mut over) = (Driver::new(Perf::new(config, ProtocolId(1)), 7), 0, 0);
    driver.run(
        &mut Script::new(data),
        |user, now, link, script, _| {
            let (upload, download) = (script.number(), script.number());
            tag += 1;
            user.measure(now, link, tag, upload.into(), download.into());
        },
        |user| {
            while user.poll_event().is_some() {
                over += 1;
            }
        },
    );
    driver.end();
    while driver.user.poll_event().is_some() {
        over += 1;
    }
    assert_eq!(over, tag, "each measurement ends once");
    driver.answered
}

/// identify and push, both sides: what a stranger says at length, in pieces, of others, or never. Taken: a peer was identified.
pub(crate) fn identify_streams(data: &[u8]) -> bool {
    let own = Info { agent: Some("weir-fuzz".into()), protocols: vec!["/a".into()], ..Info::default() };
    let user = Identify::new(identify::Config::default(), (ProtocolId(1), ProtocolId(2)), own, None);
    let (mut driver, mut known) = (Driver::new(user, 6), false);
    driver.run(
        &mut Script::new(data),
        |user, _, link, script, _| {
            if script.byte().is_multiple_of(2) { user.ask(link) } else { user.push(link) }
        },
        |user| {
            while let Some(event) = user.poll_event() {
                if let identify::Event::Identified { info, .. } = event {
                    assert!(info.protocols.len() <= identify::PROTOCOLS_MAX);
                    assert!(info.addresses.len() <= identify::ADDRESSES_MAX);
                    known = true;
                }
            }
        },
    );
    driver.wait_for_deadlines();
    driver.end();
    known
}
