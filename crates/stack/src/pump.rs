//! The pump: the only place that knows both links and the users of streams, and joins them. It knows users as `dyn StreamUser`
//! alone, from the registry ([`Users`]).
//!
//! - what links tell ([`weir_link::Event`]) becomes calls of the stream's owner, found by its protocol; a stream whose protocol
//!   nobody takes is refused;
//! - what owners ask ([`Ask`]) becomes calls of the link;
//! - bytes are read when both sides can: the link has some and the owner has room. The room is told to the link first, so
//!   that credit for it is lent;
//! - bytes are written when both sides can: the owner asked to write, and the link has room. Owners are asked in turn, a
//!   bounded number of bytes each, so that nothing is encoded before it can go and nobody waits for another's bulk;
//! - what concerns no stream goes up as a [`Notice`].
//!
//! Bytes pass through without a copy and without an allocation: a chunk in, one rope that is used again out.
//! Streams that the application drives ([`Driver::Application`]) are read and written by its own calls; here they only have
//! their ends.

use std::collections::VecDeque;

use weir_base::stream::{Ask, Driver, Goodbye, Incoming, LinkChange, LinkInfo, OpenError, Origin};
use weir_base::{Fault, Instant, LinkId, Numbered, ProtocolId, Rope, StreamKey};
use weir_link::{Drain, Link, Links, Read};
use weir_pull::framing::code;

use crate::users::{UserId, Users};

/// Bytes that one stream may read or write before the next one's turn.
const TURN: usize = 256 * 1024;

/// Bytes of a turn of writing while streams wait for their first one. So the first bytes of many messages go out together, and
/// with their lengths known the peer lends credit for all of them at once, instead of a round trip for each.
const OPENING: usize = 4 * 1024;

/// Reads and writes of one stream before the next one's turn.
const CALLS: usize = 64;

/// What the pump knows of a stream, while one of its directions is open.
#[derive(Clone, Copy, Debug)]
struct Stream {
    owner: UserId,
    driver: Driver,
    protocol: ProtocolId,
    heard: bool,     // the peer opened it, or has written on it
    expected: usize, // told to the link, less what came since
    inward: Inward,
    outward: Outward,
    wrote: bool,     // it has had its first turn of writing
    finishing: bool, // writing ends once poll_write comes back empty
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inward {
    /// The link has nothing.
    Idle,
    /// The link has something that the owner had no room for.
    Held,
    /// Waits for its turn in `reading`.
    Queued,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outward {
    /// The owner has nothing to write.
    Idle,
    /// It wants to write, and the link has no room.
    Held,
    /// It wants to write, and waits for its turn in `writing`.
    Queued,
    Ended,
}

impl Stream {
    fn new(owner: UserId, driver: Driver, protocol: ProtocolId) -> Self {
        Self {
            owner,
            driver,
            protocol,
            heard: false,
            expected: 0,
            inward: Inward::Idle,
            outward: Outward::Idle,
            wrote: false,
            finishing: false,
        }
    }

    fn wants_write(&self) -> bool {
        matches!(self.outward, Outward::Held | Outward::Queued)
    }
}

/// What concerns the stack, not a stream.
#[derive(Debug)]
pub(crate) enum Notice {
    /// An event of links that concerns no stream. `Up` and `Down` are told to users by the stack, through the pump.
    Link(weir_link::Event),
    /// A user blames a peer.
    Blame(LinkId, Fault),
    /// Something was read: its owner may have events. They go to the application before anything else is done.
    Read,
}

/// Bytes moved between links and users. Plain counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) users: Users,
    pub(crate) counters: Counters,
    streams: Numbered<StreamKey, Stream>, // bounded by the links' stream limits
    reading: VecDeque<StreamKey>,         // each stream at most once
    writing: VecDeque<StreamKey>,         // each stream at most once, here or in `opening`
    opening: VecDeque<StreamKey>,         // of those that want to write, the ones that never did
    opens: bool,                          // the next turn of writing is one of `opening`
    wanting: usize,                       // streams that want to write
    rope: Rope,                           // empty between calls
}

impl Pump {
    pub(crate) fn new(users: Users) -> Self {
        Self {
            users,
            counters: Counters::default(),
            streams: Numbered::default(),
            reading: VecDeque::new(),
            writing: VecDeque::new(),
            opening: VecDeque::new(),
            opens: true,
            wanting: 0,
            rope: Rope::new(),
        }
    }

    /// Streams with an open direction.
    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// What the peer of a link speaks, in order, as its open streams show: it opened them, or has written on them.
    pub(crate) fn spoken(&self, link: LinkId) -> Vec<ProtocolId> {
        let streams = self.streams.of_link(link).into_iter().filter_map(|key| self.streams.get(key));
        let mut spoken: Vec<_> =
            streams.filter(|stream| stream.heard).map(|stream| stream.protocol).collect();
        spoken.sort_unstable();
        spoken.dedup();
        spoken
    }

    /// Streams whose owner has more to write than the link takes now.
    pub(crate) fn wanting(&self) -> usize {
        self.wanting
    }

    /// Moves what can be moved, at most `steps` steps, until something concerns the stack. `None`: nothing is left, or no
    /// steps are.
    pub(crate) fn turn(&mut self, now: Instant, links: &mut Links, steps: &mut usize) -> Option<Notice> {
        while *steps > 0 {
            *steps -= 1;
            if let Some((user, ask)) = self.users.poll_ask() {
                if let Some(notice) = self.ask(now, links, user, ask) {
                    return Some(notice);
                }
            } else if let Some(key) = self.reading.pop_front() {
                self.read(now, links, key);
                return Some(Notice::Read);
            } else if let Some(event) = links.poll_event(Drain::Queued) {
                if let Some(notice) = self.event(now, links, event) {
                    return Some(notice);
                }
            } else if let Some(key) = self.next_writer() {
                self.write(now, links, key);
            } else if let Some(event) = links.poll_event(Drain::All) {
                if let Some(notice) = self.event(now, links, event) {
                    return Some(notice);
                }
            } else {
                return None;
            }
        }
        None
    }

    /// A handshake with a known peer runs: users may use it for what may be replayed.
    pub(crate) fn link_early(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        let change = LinkChange::Early(*info);
        self.users.each(|user| user.handle_link(now, link, &change));
    }

    /// A link is up and not refused: users may use it.
    pub(crate) fn link_up(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        let change = LinkChange::Up(*info);
        self.users.each(|user| user.handle_link(now, link, &change));
    }

    /// A link is gone, and all its streams.
    pub(crate) fn link_down(&mut self, now: Instant, link: LinkId) {
        self.streams.of_link(link).into_iter().for_each(|key| self.forget(key));
        self.users.each(|user| user.handle_link(now, link, &LinkChange::Down));
    }

    /// Carries out what links tell; what concerns no stream goes up.
    pub(crate) fn event(
        &mut self,
        now: Instant,
        links: &mut Links,
        event: weir_link::Event,
    ) -> Option<Notice> {
        match event {
            weir_link::Event::Opened { key, protocol } => self.opened(now, links, key, protocol),
            weir_link::Event::Readable(key) => self.readable(key),
            weir_link::Event::Writable(key) => self.writable(key),
            weir_link::Event::Stopped(key, code) => {
                let owner = self.streams.get(key).filter(|stream| stream.outward != Outward::Ended)?.owner;
                self.ended(key, false);
                self.users.call(owner).handle_incoming(now, key, Incoming::Stopped(code));
            }
            other => return Some(Notice::Link(other)),
        }
        None
    }

    fn opened(&mut self, now: Instant, links: &mut Links, key: StreamKey, protocol: ProtocolId) {
        let Some(link) = links.link(key.link) else { return };
        let Some(owner) = self.users.owner(protocol) else {
            link.reset(now, key.stream, code::UNKNOWN_CHANNEL);
            link.stop(now, key.stream, code::UNKNOWN_CHANNEL);
            return;
        };
        let user = self.users.call(owner);
        link.set_class(key.stream, user.class(protocol));
        let driver = user.driver();
        if driver == Driver::Application {
            link.mark_raw(key.stream);
        }
        self.streams.insert(key, Stream { heard: true, ..Stream::new(owner, driver, protocol) });
        self.users.call(owner).handle_opened(now, key, Origin::Peer(protocol));
    }

    fn readable(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match (stream.driver, stream.inward) {
            (_, Inward::Ended) | (Driver::Pump, Inward::Queued) => {}
            (Driver::Application, _) => self.users.call(stream.owner).handle_readable(key),
            (Driver::Pump, Inward::Idle | Inward::Held) => {
                stream.inward = Inward::Queued;
                self.reading.push_back(key);
            }
        }
    }

    fn writable(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match (stream.driver, stream.outward) {
            (_, Outward::Ended) => {}
            (Driver::Application, _) => self.users.call(stream.owner).handle_writable(key),
            (Driver::Pump, Outward::Held) => {
                stream.outward = Outward::Queued;
                self.queue_writer(key);
            }
            (Driver::Pump, _) => {}
        }
    }

    fn ask(&mut self, now: Instant, links: &mut Links, owner: UserId, ask: Ask) -> Option<Notice> {
        match ask {
            Ask::Open { link, protocol, class, tag } => {
                let driver = self.users.get(owner).driver();
                let opened = links.link(link).ok_or(OpenError::Closed).and_then(|link| {
                    let stream = link.open(now, protocol, class)?;
                    if driver == Driver::Application {
                        link.mark_raw(stream);
                    }
                    Ok(stream)
                });
                match opened {
                    Ok(stream) => {
                        let key = StreamKey { link, stream };
                        self.streams.insert(key, Stream::new(owner, driver, protocol));
                        self.users.call(owner).handle_opened(now, key, Origin::Local { tag });
                    }
                    Err(error) => self.users.call(owner).handle_refused(now, tag, error),
                }
            }
            Ask::Resume(key) => {
                if self.streams.get(key).is_some_and(|stream| stream.inward == Inward::Held) {
                    self.readable(key);
                }
            }
            Ask::Write(key) => {
                let idle = |stream: &&mut Stream| stream.outward == Outward::Idle;
                if let Some(stream) = self.streams.get_mut(key).filter(idle) {
                    stream.outward = Outward::Queued;
                    self.wanting += 1;
                    self.queue_writer(key);
                }
            }
            Ask::Finish(key) => self.finish(now, links, key),
            Ask::Reset(key, code) => {
                if let Some(link) = self.open_direction(links, key, false) {
                    link.reset(now, key.stream, code);
                    self.ended(key, false);
                }
            }
            Ask::Stop(key, code) => {
                if let Some(link) = self.open_direction(links, key, true) {
                    link.stop(now, key.stream, code);
                    self.ended(key, true);
                }
            }
            Ask::Blame(link, fault) => return Some(Notice::Blame(link, fault)),
            Ask::Close(link, reason) => self.close(now, links, link, reason),
        }
        None
    }

    /// Ends a link. What its streams' owners have not finished ends with it; an application's stream is reset, because its end would
    /// look like the end of all that was to be said.
    pub(crate) fn close(&mut self, now: Instant, links: &mut Links, id: LinkId, reason: Goodbye) {
        let Some(link) = links.link(id) else { return };
        for key in self.streams.of_link(id) {
            let unfinished =
                |stream: &Stream| stream.driver == Driver::Application && stream.outward != Outward::Ended;
            if self.streams.get(key).is_some_and(unfinished) {
                link.reset(now, key.stream, code::CANCELLED);
                self.ended(key, false);
            }
        }
        link.close(now, reason);
    }

    fn finish(&mut self, now: Instant, links: &mut Links, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match stream.outward {
            Outward::Ended => {}
            Outward::Held | Outward::Queued => stream.finishing = true, // after what it still wants to write
            Outward::Idle => {
                if let Some(link) = links.link(key.link) {
                    link.finish(now, key.stream);
                }
                self.ended(key, false);
            }
        }
    }

    /// Reads for the owner while it has room: one stream's turn.
    fn read(&mut self, now: Instant, links: &mut Links, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.inward != Inward::Queued {
            return;
        }
        stream.inward = Inward::Idle;
        let owner = stream.owner;
        let Some(link) = links.link(key.link) else { return };
        let mut left = TURN;
        for _ in 0..CALLS {
            let room = self.users.get(owner).room(key);
            if room != stream.expected {
                link.expect(key.stream, room as u64); // after the first bytes a message's own length is known
                stream.expected = room;
            }
            // Without room only an end can come: a finished or broken stream never waits for room.
            match link.read(now, key.stream, room) {
                Read::Data(chunk) => {
                    let len = chunk.len();
                    stream.expected = stream.expected.saturating_sub(len);
                    stream.heard = true;
                    self.counters.bytes_read += len as u64;
                    self.users.call(owner).handle_incoming(now, key, Incoming::Data(chunk));
                    left = left.saturating_sub(len);
                    if left == 0 {
                        break;
                    }
                }
                Read::Blocked => {
                    if room == 0 {
                        stream.inward = Inward::Held;
                    }
                    return;
                }
                Read::End => return self.read_ended(now, owner, key, Incoming::End),
                Read::Reset(code) => return self.read_ended(now, owner, key, Incoming::Reset(code)),
                Read::Closed => return self.ended(key, true),
            }
        }
        self.readable(key); // its next turn, after the others
    }

    fn read_ended(&mut self, now: Instant, owner: UserId, key: StreamKey, end: Incoming) {
        self.ended(key, true);
        self.users.call(owner).handle_incoming(now, key, end);
    }

    /// Asks the owner for bytes while the link takes them: one stream's turn.
    fn write(&mut self, now: Instant, links: &mut Links, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.outward != Outward::Queued {
            return;
        }
        let Some(link) = links.link(key.link) else { return };
        let owner = stream.owner;
        let mut left = if self.opening.is_empty() { TURN } else { OPENING };
        for _ in 0..CALLS {
            let room = link.room(key.stream).min(left);
            if room == 0 {
                if left == 0 {
                    break;
                }
                stream.outward = Outward::Held; // `Writable` tells
                return;
            }
            self.users.call(owner).poll_write(now, key, room, &mut self.rope);
            let len = self.rope.len();
            debug_assert!(len <= room, "an owner wrote {len} bytes into a room of {room}");
            if len == 0 {
                stream.outward = Outward::Idle;
                self.wanting -= 1;
                if stream.finishing {
                    link.finish(now, key.stream);
                    self.ended(key, false);
                }
                return;
            }
            stream.wrote = true;
            self.counters.bytes_written += len as u64;
            link.write(now, key.stream, &mut self.rope);
            left -= len.min(left);
        }
        self.writing.push_back(key); // its next turn, after the others
    }

    /// Whose turn of writing it is: by turns a stream that never wrote and one that did.
    fn next_writer(&mut self) -> Option<StreamKey> {
        let queues = (&mut self.opening, &mut self.writing);
        let (first, second) = if self.opens { queues } else { (queues.1, queues.0) };
        self.opens = !self.opens;
        first.pop_front().or_else(|| second.pop_front())
    }

    fn queue_writer(&mut self, key: StreamKey) {
        let wrote = self.streams.get(key).is_some_and(|stream| stream.wrote);
        if wrote { self.writing.push_back(key) } else { self.opening.push_back(key) }
    }

    /// The application has read a stream of its own to the end.
    pub(crate) fn read_to_end(&mut self, key: StreamKey) {
        self.ended(key, true);
    }

    /// The link of a stream, where this direction is open. An owner's own record of its ends may run ahead of this one.
    fn open_direction<'a>(
        &self,
        links: &'a mut Links,
        key: StreamKey,
        reading: bool,
    ) -> Option<&'a mut Link> {
        let stream = self.streams.get(key)?;
        let open = if reading { stream.inward != Inward::Ended } else { stream.outward != Outward::Ended };
        open.then(|| links.link(key.link)).flatten()
    }

    /// One direction has ended; with both the key is gone.
    fn ended(&mut self, key: StreamKey, reading: bool) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if reading {
            stream.inward = Inward::Ended;
        } else {
            self.wanting -= usize::from(stream.wants_write());
            stream.outward = Outward::Ended;
        }
        if (stream.inward, stream.outward) == (Inward::Ended, Outward::Ended) {
            self.streams.remove(key);
        }
    }

    fn forget(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.remove(key) {
            self.wanting -= usize::from(stream.wants_write());
        }
    }
}
