//! Other people's protocols on links whose streams have numbers: agreed on by name behind the number [`BY_NAME`].
//!
//! - This side opens a protocol from [`NAMED`](crate::NAMED) on: the carrier opens `BY_NAME`, and the names are proposed with the
//!   stream's first bytes. With a single name the user's bytes follow at once.
//! - The peer opens `BY_NAME`: nobody above hears of the stream before a name is agreed on; then it is told as opened, by that
//!   name's number.
//! - Events of such streams pass through here ([`Telling::pass`]); reading, writing and ends of undecided ones do, too.
//!
//! On libp2p's connections, whose carriers agree on names by themselves, none of this has a part.
//!
//! Threat: streams that never say what they are. Undecided ones of the peer are counted against `streams.max_negotiating`, each has a
//! deadline, and the next token is read once the answer to the one before has left.
//!
//! Source: `docs/spec/streams.md`, "By name".

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use weir_base::stream::{Class, OpenError};
use weir_base::{Chunk, Fault, Instant, LinkId, ProtocolId, Rope, StreamKey};

use crate::Event;
use crate::carrier::{Read, Streams};
use crate::streams::negotiation::{LATE, READ, UNKNOWN};
use crate::streams::{BY_NAME, Negotiating, Negotiation, Outcome, ProtocolNames};
use crate::window::Window;

/// Too many at once (`docs/spec/streams.md`, "Codes").
const LIMIT: u32 = 4;

/// The streams of one link that are not like others yet: their protocol is not agreed on, or something of the negotiation is left.
#[derive(Debug, Default)]
pub(crate) struct Named {
    names: Option<Arc<ProtocolNames>>, // once the link is up
    max_negotiating: u32,
    streams: BTreeMap<u64, Entry>, // <= own streams, and `max_negotiating` of the peer's with what they leave
    negotiating: Negotiating,
}

#[derive(Debug, Default)]
struct Entry {
    negotiation: Option<Negotiation>, // until it is decided
    out: Rope,                        // what it says and the carrier did not take; of one answer
    kept: Bytes,                      // came behind the answer, <= READ
    failed: Option<u32>,              // the reader is told so
    own: Own,                         // this side's direction
    unread: bool,                     // the reader wants no more
    blocked: bool,                    // the writer found no room
}

/// What the user made of this side's direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Own {
    #[default]
    Open,
    /// It ends once what the negotiation has to say has left.
    Finishing,
    /// It was broken off, by either side.
    Over,
}

impl Entry {
    fn of(mut negotiation: Negotiation) -> Self {
        let mut out = Rope::new();
        out.push(negotiation.output());
        Self { negotiation: Some(negotiation), out, ..Self::default() }
    }

    fn is_theirs(&self) -> bool {
        self.negotiation.as_ref().is_some_and(Negotiation::is_theirs)
    }

    /// Whether what the user writes may go out.
    fn may_write(&self) -> bool {
        self.out.is_empty() && self.negotiation.as_ref().is_none_or(Negotiation::may_write)
    }

    /// Whether the stream is like others from now on.
    fn is_over(&self) -> bool {
        let read = self.unread || self.kept.is_empty() && self.failed.is_none();
        let decided = self.negotiation.is_none() || self.unread && self.own == Own::Over;
        decided && self.out.is_empty() && read
    }
}

/// What a user of the link does.
impl Named {
    /// The link is up.
    pub(crate) fn up(&mut self, names: &Arc<ProtocolNames>, max_negotiating: u32) {
        (self.names, self.max_negotiating) = (Some(Arc::clone(names)), max_negotiating);
    }

    /// Whether an event of the carrier's may concern a negotiation: most do not.
    pub(crate) fn may_take(&self, event: &Event) -> bool {
        match event {
            Event::Opened { protocol, .. } => *protocol == BY_NAME,
            _ => self.has_streams(),
        }
    }

    /// Whether any stream is not like others yet.
    pub(crate) fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    /// When the first negotiation must be over.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.negotiating.next_due()
    }

    /// Undecided streams of the peer's.
    #[cfg(test)]
    pub(crate) fn undecided(&self) -> u32 {
        self.negotiating.theirs()
    }

    /// Bytes of answers that the carrier did not take.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.streams.values().map(|entry| entry.out.len()).sum()
    }

    /// Opens a stream for a protocol that goes by name, where the carrier has numbers.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        streams: &mut dyn Streams,
        protocol: ProtocolId,
        class: Class,
    ) -> Result<u64, OpenError> {
        let proposed = self.names.as_ref().and_then(|names| names.of(protocol)).ok_or(OpenError::Closed)?;
        let stream = streams.open(now, BY_NAME, class)?;
        self.insert(stream, Negotiation::ours(protocol, proposed, now));
        self.flush(streams, stream);
        Ok(stream)
    }

    /// What a stream has for its reader that is not the carrier's to give.
    pub(crate) fn read(&mut self, stream: u64, max: usize) -> Option<Read> {
        let entry = self.streams.get_mut(&stream)?;
        if let Some(code) = entry.failed.take() {
            self.forget_if_over(stream);
            return Some(Read::Reset(code));
        }
        if entry.negotiation.is_some() {
            return Some(Read::Blocked);
        }
        if entry.kept.is_empty() {
            return None;
        }
        let part = entry.kept.split_to(max.min(entry.kept.len()));
        self.forget_if_over(stream);
        Some(if part.is_empty() { Read::Blocked } else { Read::Data(Chunk::whole(part)) })
    }

    /// Whether the user of a stream has to wait before it writes; it is told when it may.
    pub(crate) fn holds_writer(&mut self, stream: u64) -> bool {
        let entry = self.streams.get_mut(&stream).filter(|entry| !entry.may_write());
        entry.is_some_and(|entry| {
            entry.blocked = true;
            true
        })
    }

    /// Notes an end for a stream that may not end yet. Whether it was noted.
    pub(crate) fn finish(&mut self, stream: u64) -> bool {
        let entry = self.streams.get_mut(&stream).filter(|entry| !entry.may_write());
        entry.is_some_and(|entry| {
            entry.own = Own::Finishing;
            true
        })
    }

    /// This side breaks its direction off: nothing more of the negotiation goes out.
    pub(crate) fn reset(&mut self, stream: u64) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        (entry.out, entry.own) = (Rope::new(), Own::Over);
        self.forget_if_over(stream);
    }

    /// The reader wants no more. The answer is still needed where it decides whether this side may write.
    pub(crate) fn stop(&mut self, stream: u64) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        entry.unread = true;
        (entry.kept, entry.failed) = (Bytes::new(), None);
        if entry.negotiation.as_ref().is_some_and(Negotiation::may_write) {
            self.decide(stream);
        }
        self.forget_if_over(stream);
    }

    fn insert(&mut self, stream: u64, negotiation: Negotiation) {
        self.negotiating.add(stream, &negotiation);
        self.streams.insert(stream, Entry::of(negotiation));
    }

    /// Gives the carrier what the negotiation has to say. Whether all of it has left.
    fn flush(&mut self, streams: &mut dyn Streams, stream: u64) -> bool {
        let Some(entry) = self.streams.get_mut(&stream) else { return true };
        while !entry.out.is_empty() {
            let before = entry.out.len();
            if streams.room(stream) > 0 {
                streams.write(stream, &mut entry.out);
            }
            if entry.out.len() == before {
                return false; // `Writable` follows
            }
        }
        if entry.own == Own::Finishing && entry.may_write() {
            entry.own = Own::Open; // the carrier's from now on
            streams.finish(stream);
        }
        true
    }

    /// The negotiation of a stream is over.
    fn decide(&mut self, stream: u64) {
        if let Some(negotiation) = self.streams.get_mut(&stream).and_then(|entry| entry.negotiation.take()) {
            self.negotiating.remove(stream, &negotiation);
        }
    }

    fn forget(&mut self, stream: u64) {
        self.decide(stream);
        self.streams.remove(&stream);
    }

    fn forget_if_over(&mut self, stream: u64) {
        if self.streams.get(&stream).is_some_and(Entry::is_over) {
            self.forget(stream);
        }
    }
}

/// What the carrier tells of a link's streams, on its way to those above.
pub(crate) struct Telling<'a> {
    pub(crate) now: Instant,
    pub(crate) link: LinkId,
    pub(crate) is_libp2p: bool,
    pub(crate) named: &'a mut Named,
    pub(crate) streams: &'a mut dyn Streams,
    pub(crate) window: &'a mut Window,
    pub(crate) events: &'a mut VecDeque<Event>, // what is to be told before all else goes to its front
}

impl Telling<'_> {
    /// Takes an event of the carrier's, and returns it where it is for those above.
    ///
    /// # Errors
    /// The peer broke the rules of the negotiation.
    pub(crate) fn pass(&mut self, event: Event) -> Result<Option<Event>, Fault> {
        match event {
            Event::Opened { key, protocol: BY_NAME } if !self.is_libp2p => {
                self.opened(key.stream);
            }
            Event::Readable(key) if self.is_undecided(key.stream) => self.negotiate(key.stream)?,
            Event::Writable(key) if self.named.streams.contains_key(&key.stream) => {
                return self.writable(key);
            }
            Event::Stopped(key, code) if self.named.streams.contains_key(&key.stream) => {
                return Ok(self.stopped(key.stream, code).then_some(event));
            }
            event => return Ok(Some(event)),
        }
        Ok(None)
    }

    /// Ends negotiations that took too long.
    pub(crate) fn expire(&mut self) {
        while let Some(stream) = self.named.negotiating.pop_late(self.now) {
            self.fail(stream, LATE);
        }
    }

    fn is_undecided(&self, stream: u64) -> bool {
        self.named.streams.get(&stream).is_some_and(|entry| entry.negotiation.is_some())
    }

    fn opened(&mut self, stream: u64) {
        let offered = self.named.names.as_ref().and_then(|names| names.offered());
        match offered {
            None => self.break_off(stream, UNKNOWN),
            Some(_) if self.named.negotiating.theirs() >= self.named.max_negotiating => {
                self.break_off(stream, LIMIT);
            }
            Some(offered) => self.named.insert(stream, Negotiation::theirs(offered, self.now)),
        }
    }

    /// There is room to write: for what the negotiation has to say, and then for the user.
    fn writable(&mut self, key: StreamKey) -> Result<Option<Event>, Fault> {
        let flushed = self.named.flush(self.streams, key.stream);
        if flushed && self.named.streams.get(&key.stream).is_some_and(Entry::is_theirs) {
            self.negotiate(key.stream)?; // what came meanwhile
        }
        let Some(entry) = self.named.streams.get_mut(&key.stream) else { return Ok(None) };
        let told = entry.may_write() && std::mem::take(&mut entry.blocked);
        self.named.forget_if_over(key.stream);
        Ok(told.then_some(Event::Writable(key)))
    }

    /// The peer wants no more of what this side writes. Whether those above are to be told.
    fn stopped(&mut self, stream: u64, code: u32) -> bool {
        let Some(entry) = self.named.streams.get_mut(&stream) else { return true };
        let undecided = entry.negotiation.as_ref();
        let (theirs, waits) = (entry.is_theirs(), undecided.is_some() && !entry.may_write());
        (entry.out, entry.own) = (Rope::new(), Own::Over);
        if theirs {
            self.break_off(stream, code); // its opener does not want to know
        } else if waits {
            self.fail(stream, code); // no other name can be proposed
        } else {
            self.named.forget_if_over(stream);
            return true;
        }
        false
    }

    /// What has come on an undecided stream.
    fn negotiate(&mut self, stream: u64) -> Result<(), Fault> {
        while self.named.flush(self.streams, stream) {
            let Some(entry) = self.named.streams.get_mut(&stream) else { return Ok(()) };
            let Some(negotiation) = &mut entry.negotiation else { return Ok(()) };
            let (outcome, rest) = match self.streams.read(self.now, self.window, stream, READ) {
                Read::Blocked | Read::Closed => return Ok(()), // the deadline ends one that is closed
                Read::Data(chunk) => {
                    let mut bytes = chunk.into_bytes();
                    (negotiation.received(&mut bytes), bytes)
                }
                Read::End => (negotiation.handle_end(), Bytes::new()),
                Read::Reset(code) => {
                    self.fail(stream, code);
                    return Ok(());
                }
            };
            let answer = negotiation.output();
            entry.out.push(answer);
            if let Some(outcome) = outcome {
                return self.decided(stream, outcome, &rest);
            }
        }
        Ok(())
    }

    fn decided(&mut self, stream: u64, outcome: Outcome, rest: &[u8]) -> Result<(), Fault> {
        let key = StreamKey { link: self.link, stream };
        let names = self.named.names.as_ref();
        let agreed = match outcome {
            Outcome::Opened(index) => {
                names.and_then(|names| names.owner(index)).map(|protocol| Event::Opened { key, protocol })
            }
            Outcome::Agreed(protocol) => Some(Event::Agreed { key, protocol }),
            Outcome::Declined => {
                self.decline(stream);
                return Ok(());
            }
            Outcome::Refused => {
                self.fail(stream, UNKNOWN);
                return Ok(());
            }
            Outcome::Faulted(fault) => return Err(fault),
        };
        self.named.decide(stream);
        self.named.flush(self.streams, stream);
        self.events.push_front(Event::Readable(key));
        if let Some(entry) = self.named.streams.get_mut(&stream) {
            if !entry.unread {
                entry.kept = Bytes::copy_from_slice(rest); // so that it does not hold a receive buffer
            }
            if entry.may_write() && std::mem::take(&mut entry.blocked) {
                self.events.push_front(Event::Writable(key));
            }
        }
        agreed.into_iter().for_each(|event| self.events.push_front(event));
        self.named.forget_if_over(stream);
        Ok(())
    }

    /// Nothing that the peer proposed is spoken here. The answer goes out first.
    fn decline(&mut self, stream: u64) {
        self.named.decide(stream);
        if let Some(entry) = self.named.streams.get_mut(&stream) {
            (entry.own, entry.unread) = (Own::Finishing, true);
        }
        self.named.flush(self.streams, stream);
        self.streams.stop(self.now, self.window, stream, UNKNOWN);
        self.named.forget_if_over(stream);
    }

    /// A negotiation came to nothing. Those above hear of a stream of their own; of one of the peer's they never knew.
    fn fail(&mut self, stream: u64, code: u32) {
        let entry = self.named.streams.get(&stream);
        let (theirs, unread) = entry.map_or((true, true), |entry| (entry.is_theirs(), entry.unread));
        self.break_off(stream, code);
        if theirs {
            return;
        }
        let key = StreamKey { link: self.link, stream };
        if !unread {
            let entry = Entry { failed: Some(code), ..Entry::default() };
            self.named.streams.insert(stream, entry);
            self.events.push_front(Event::Readable(key));
        }
        self.events.push_front(Event::Stopped(key, code));
    }

    /// Breaks both directions of a stream off, and forgets the negotiation.
    fn break_off(&mut self, stream: u64, code: u32) {
        self.named.forget(stream);
        self.streams.reset(stream, code);
        self.streams.stop(self.now, self.window, stream, code);
    }
}
