//! Requests and responses by other people's protocol names: one request a stream, one response.
//!
//! - This side asks (`Request`): it opens a stream, writes the framed request and ends its direction; the response is the first message
//!   that comes back, told by `Answered`.
//! - The peer asks: its request is read whole and told by `Requested`; `Respond` writes the response and ends the direction.
//! - What the peer does wrong is a [`Failure`]: in `Answered` where this side asked, else in `Failed`. A request that was told and needs
//!   no answer any more is `Cancelled`.
//!
//! **Memory.** Of one message at most its largest frame and 64 bytes are gathered, as they come. A protocol has at most [`Limits::total`]
//! exchanges in each direction at once, [`Limits::per_peer`] of them with one peer, and each ends at its deadline. What peers make this
//! node hold, of all protocols together, is at most [`Requests::memory`](crate::config::RequestsConfig::memory): requests and responses as they
//! come, requests that the application has, and responses that are not read. A response that came whole is the asker's.
//!
//! Threat: peers that send too much, too slowly, nothing, or go on after the end; that open many streams, or read no response; many
//! peers that together take all places, or all memory. Then the peer with the most loses its newest exchange, or its largest. Nobody is blamed here: what a protocol of others
//! allows is the application's to judge ([`Command::Report`](crate::Command::Report)).
//!
//! On the wire: `docs/spec/streams.md`, "Requests by name".

mod framing;
mod stream;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use litemap::LiteMap;
use weir_base::identity::PeerId;
use weir_base::stream::{Ask, Class, Incoming, LinkChange, OpenError, Origin, StreamUser};
use weir_base::{Deadlines, Instant, LinkId, ProtocolId, Rope, StreamKey};
use weir_pull::Ticket;
use weir_pull::framing::code;

pub use framing::{BadFrame, Framing, LengthPrefix, Measure, Rest, UntilEnd};
pub use types::{Command, Config, Event, Failure, Limits};

use crate::named::{self, NamedShape};
use crate::profile::Profile;
use crate::quotas::{Place, Quotas};
use crate::refused::Refused;
use framing::Reader;
use stream::{State, Stream};

/// A declared protocol, and who has exchanges of it under way.
#[derive(Debug)]
struct Protocol {
    served: bool,
    config: Arc<Config>,
    asked: Quotas,    // requests of this side's
    answered: Quotas, // of peers
}

#[derive(Clone, Copy, Debug)]
struct Link {
    peer: PeerId,
    known: bool, // what the peer speaks; until then its requests wait unread
}

/// A request whose stream the pump is about to open.
#[derive(Debug)]
struct Opening {
    link: LinkId,
    first: ProtocolId,
    due: Instant,
    frame: Rope,
}

/// All exchanges of a node. [`Stack`](crate::Stack) has one; by itself it is there for whoever tests it with bytes of strangers. See
/// [`StreamUser`] for when to call what; after any call drain [`poll_ask`](StreamUser::poll_ask) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Exchange {
    protocols: BTreeMap<ProtocolId, Protocol>, // by their first numbers
    firsts: BTreeMap<ProtocolId, ProtocolId>,  // of every number
    links: LiteMap<LinkId, Link>,
    streams: BTreeMap<StreamKey, Stream>, // each has a place, but for those of which only the end is to come
    tickets: BTreeMap<Ticket, StreamKey>, // of requests of this side's
    opening: BTreeMap<u64, Opening>,      // by tag; answered at once by the pump; each has a place
    deadlines: Deadlines<StreamKey>,
    memory: Quotas, // bytes
    asks: VecDeque<Ask>,
    events: VecDeque<Event>, // a few per stream
}

/// What the user does.
impl Exchange {
    /// Of the protocols by name that are for requests. Peers make it hold at most `memory` bytes.
    pub fn new(profile: &Profile, memory: u64) -> Self {
        let (mut protocols, mut firsts) = (BTreeMap::new(), BTreeMap::new());
        for (first, declared) in named::numbered(&profile.protocols) {
            let NamedShape::Exchange(config) = &declared.shape else { continue };
            let quotas = || Quotas::new(config.limits.per_peer.into(), config.limits.total.into());
            let (asked, answered) = (quotas(), quotas());
            let config = Arc::new(config.clone());
            protocols.insert(first, Protocol { served: declared.served, config, asked, answered });
            firsts.extend(named::numbers(first, declared).map(|number| (number, first)));
        }
        Self {
            protocols,
            firsts,
            links: LiteMap::new(),
            streams: BTreeMap::new(),
            tickets: BTreeMap::new(),
            opening: BTreeMap::new(),
            deadlines: Deadlines::default(),
            memory: Quotas::new(u64::MAX, memory),
            asks: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Begins to ask the peer of a link, which [`Event::Answered`] ends. The protocol by its first number.
    ///
    /// # Errors
    /// [`Refused`]: nothing has begun.
    pub fn request(
        &mut self,
        now: Instant,
        (link, ticket): (LinkId, Ticket),
        (first, request): (ProtocolId, Bytes),
        deadline: Option<Duration>,
    ) -> Result<(), Refused> {
        let protocol = self.protocols.get_mut(&first).ok_or(Refused::NotRaw)?;
        let Config { framing, limits } = protocol.config.as_ref();
        if request.len() > limits.max_request as usize {
            return Err(Refused::TooLarge);
        }
        if !self.links.contains_key(&link) {
            return Err(Refused::NoPeer);
        }
        if protocol.asked.find(link) != Place::Free {
            return Err(Refused::Limit);
        }
        let frame = framed(framing.as_ref(), request)?;
        protocol.asked.take(link);
        let due = now + deadline.map_or(limits.deadline, |asked| asked.min(limits.deadline));
        self.opening.insert(ticket.0, Opening { link, first, due, frame });
        self.asks.push_back(Ask::Open { link, protocol: first, class: limits.class, tag: ticket.0 });
        Ok(())
    }

    /// Gives up what the user does not wait for any more. No event follows.
    ///
    /// # Errors
    /// [`Refused::UnknownTicket`]: it is over.
    pub fn cancel(&mut self, ticket: Ticket) -> Result<(), Refused> {
        if let Some(opening) = self.opening.remove(&ticket.0) {
            self.not_opened(&opening); // its stream is broken off as soon as it is there
            return Ok(());
        }
        let key = self.tickets.get(&ticket).copied().ok_or(Refused::UnknownTicket)?;
        self.break_off(key, code::CANCELLED);
        Ok(())
    }

    /// Answers a request that was told, or refuses it with a code.
    ///
    /// # Errors
    /// [`Refused`]: it is over, or is broken off, for there is no such response.
    pub fn respond(
        &mut self,
        now: Instant,
        key: StreamKey,
        answer: Result<Bytes, u32>,
    ) -> Result<(), Refused> {
        let told = |stream: &&mut Stream| matches!(stream.state, State::Told(_));
        let stream = self.streams.get_mut(&key).filter(told).ok_or(Refused::UnknownTicket)?;
        let Config { framing, limits } = stream.config.as_ref();
        let response = match answer {
            Ok(response) if response.len() > limits.max_response as usize => Err(Refused::TooLarge),
            Ok(response) => framed(framing.as_ref(), response),
            Err(code) => {
                self.break_off(key, code);
                return Ok(());
            }
        };
        match response {
            Ok(frame) => {
                self.deadlines.set(key, Some(now + limits.deadline));
                stream.state = State::Answering(frame.len() as u64, frame);
                self.asks.push_back(Ask::Write(key));
                self.count(key);
                Ok(())
            }
            Err(refused) => {
                self.break_off(key, code::CANCELLED);
                Err(refused)
            }
        }
    }

    /// The next thing to tell; `None` when there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

/// What happens.
impl Exchange {
    /// It is known what a link's peer speaks: its requests are read now.
    pub fn handle_known(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.known = true;
        self.asks.extend(self.streams_of(link).into_iter().map(Ask::Resume));
    }

    /// The peer took one of the names that were proposed on a stream.
    pub fn handle_agreed(&mut self, key: StreamKey, protocol: ProtocolId) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        stream.spoken = protocol;
        if let State::Asking { agreed, .. } = &mut stream.state {
            *agreed = true;
        }
    }

    fn opened_by_us(&mut self, key: StreamKey, tag: u64) {
        let opening = self.opening.remove(&tag);
        let Some((protocol, opening)) =
            opening.and_then(|opening| Some((self.protocols.get(&opening.first)?, opening)))
        else {
            return self.break_off(key, code::CANCELLED); // given up meanwhile
        };
        let (ticket, response) = (Ticket(tag), Reader::default());
        let state = State::Asking { ticket, agreed: false, request: Some(opening.frame), response };
        let (config, first) = (Arc::clone(&protocol.config), opening.first);
        self.tickets.insert(ticket, key);
        self.deadlines.set(key, Some(opening.due));
        self.streams.insert(key, Stream { config, first, spoken: first, state, held: 0 });
        self.asks.push_back(Ask::Write(key));
    }

    fn opened_by_peer(&mut self, now: Instant, key: StreamKey, spoken: ProtocolId) {
        let first = self.firsts.get(&spoken).copied().filter(|_| self.links.contains_key(&key.link));
        let Some((first, protocol)) = first.and_then(|first| Some((first, self.protocols.get(&first)?)))
        else {
            return self.break_off(key, code::UNKNOWN_CHANNEL);
        };
        let config = Arc::clone(&protocol.config);
        match protocol.answered.find(key.link) {
            Place::Free => {}
            Place::Of(most) => {
                let newest = |key: &StreamKey| {
                    self.streams.get(key).is_some_and(|stream| stream.first == first && !stream.is_ours())
                };
                if let Some(newest) = self.streams_of(most).into_iter().rfind(newest) {
                    self.fail(newest, Failure::Displaced);
                }
            }
            Place::Full => return self.break_off(key, code::LIMIT),
        }
        if let Some(protocol) = self.protocols.get_mut(&first) {
            protocol.answered.take(key.link);
        }
        self.deadlines.set(key, Some(now + config.limits.deadline));
        let state = State::Reading(Reader::default());
        self.streams.insert(key, Stream { config, first, spoken, state, held: 0 });
    }

    /// More has come of the peer's direction, or its end.
    fn came(&mut self, now: Instant, key: StreamKey, bytes: &[u8], rest: Rest) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        match stream.came(bytes, rest) {
            Err(reason) => return self.fail(key, reason),
            Ok(None) => {}
            Ok(Some(message)) => self.message(now, key, message),
        }
        self.count(key);
        let answered = |stream: &Stream| matches!(stream.state, State::Answered);
        if rest == Rest::Nothing && self.streams.get(&key).is_some_and(answered) {
            self.forget(key);
        }
    }

    /// The peer's message is whole.
    fn message(&mut self, now: Instant, key: StreamKey, message: Bytes) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let spoken = stream.spoken;
        if let State::Asking { ticket, request, .. } = &stream.state {
            let (ticket, unread) = (*ticket, request.is_some());
            self.give_back(key);
            self.make_place_to_end(key);
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.state = State::Answered;
            }
            // What the peer has not read of the request it does not need.
            self.asks.extend(unread.then_some(Ask::Reset(key, code::CANCELLED)));
            self.events.push_back(Event::Answered { ticket, result: Ok((spoken, message)) });
            return;
        }
        stream.state = State::Told(message.len() as u64);
        let deadline = now + stream.config.limits.deadline;
        self.deadlines.set(key, Some(deadline));
        if let Some(Link { peer, .. }) = self.links.get(&key.link).copied() {
            let request = Event::Requested { key, protocol: spoken, peer, request: message, deadline };
            self.events.push_back(request);
        }
    }

    /// An exchange came to nothing, or ended otherwise than it should.
    fn fail(&mut self, key: StreamKey, reason: Failure) {
        let Some(stream) = self.forget(key) else { return };
        if reason != Failure::Gone {
            self.asks.extend([Ask::Reset(key, reason.code()), Ask::Stop(key, reason.code())]);
        }
        let by_peer = !matches!(reason, Failure::Gone | Failure::Reset(_) | Failure::Displaced);
        let failed = match stream.state {
            State::Asking { ticket, .. } => {
                self.events.push_back(Event::Answered { ticket, result: Err(reason) });
                false
            }
            State::Told(_) => {
                self.events.push_back(Event::Cancelled(key));
                reason == Failure::Excess // it is the application that was late
            }
            State::Answered => reason == Failure::Excess,
            State::Reading(_) | State::Answering(..) => by_peer,
        };
        if let Some(link) = self.links.get(&key.link).filter(|_| failed) {
            let (peer, protocol) = (link.peer, stream.spoken);
            self.events.push_back(Event::Failed { peer, protocol, reason });
        }
    }
}

/// Quotas and streams.
impl Exchange {
    fn streams_of(&self, link: LinkId) -> Vec<StreamKey> {
        let (first, last) = (StreamKey { link, stream: 0 }, StreamKey { link, stream: u64::MAX });
        self.streams.range(first..=last).map(|(key, _)| *key).collect()
    }

    fn not_opened(&mut self, opening: &Opening) {
        if let Some(protocol) = self.protocols.get_mut(&opening.first) {
            protocol.asked.give_back(opening.link);
        }
    }

    /// The exchange of a stream is over: its place and its ticket are free.
    fn give_back(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get(&key) else { return };
        let Some(protocol) = self.protocols.get_mut(&stream.first) else { return };
        match stream.state {
            State::Asking { ticket, .. } => {
                self.tickets.remove(&ticket);
                protocol.asked.give_back(key.link);
            }
            State::Answered => {}
            State::Reading(_) | State::Told(_) | State::Answering(..) => {
                protocol.answered.give_back(key.link);
            }
        }
    }

    fn forget(&mut self, key: StreamKey) -> Option<Stream> {
        self.give_back(key);
        self.deadlines.set(key, None);
        let stream = self.streams.remove(&key)?;
        self.memory.change(key.link, stream.held, 0);
        Some(stream)
    }

    /// What a stream holds may have changed. While all together hold too much, the largest exchange of the link with the most ends,
    /// of equals the newest.
    fn count(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key) {
            let (before, after) = (stream.held, stream.bytes());
            stream.held = after;
            self.memory.change(key.link, before, after);
        }
        while let Some(most) = self.memory.over() {
            let held = |key: &StreamKey| self.streams.get(key).map(|stream| stream.held);
            let Some(largest) = self.streams_of(most).into_iter().max_by_key(held) else { return };
            self.fail(largest, Failure::Displaced);
        }
    }

    /// One more exchange of this side's is answered, and only its end is to come. A peer may leave as many ends out as it may have
    /// exchanges: then the oldest is broken off.
    fn make_place_to_end(&mut self, key: StreamKey) {
        let Some(Stream { config, first, .. }) = self.streams.get(&key) else { return };
        let (first, most) = (*first, config.limits.per_peer as usize);
        let ending = |key: &StreamKey| {
            self.streams
                .get(key)
                .is_some_and(|stream| stream.first == first && matches!(stream.state, State::Answered))
        };
        let ending: Vec<StreamKey> = self.streams_of(key.link).into_iter().filter(ending).collect();
        if ending.len() >= most
            && let Some(oldest) = ending.first()
        {
            self.break_off(*oldest, code::LIMIT);
        }
    }

    fn break_off(&mut self, key: StreamKey, code: u32) {
        self.forget(key);
        self.asks.extend([Ask::Reset(key, code), Ask::Stop(key, code)]);
    }
}

fn framed(framing: &dyn Framing, message: Bytes) -> Result<Rope, Refused> {
    let (head, body) = framing.frame(message).map_err(|bad| match bad {
        BadFrame::TooLarge => Refused::TooLarge,
        BadFrame::Malformed => Refused::Unframed,
    })?;
    let mut frame = Rope::new();
    frame.push(head);
    frame.push(body);
    Ok(frame)
}

impl StreamUser for Exchange {
    fn protocols(&self) -> Vec<ProtocolId> {
        let served = |first| self.protocols.get(first).is_some_and(|protocol| protocol.served);
        self.firsts.iter().filter(|(_, first)| served(*first)).map(|(number, _)| *number).collect()
    }

    fn handle_link(&mut self, _: Instant, link: LinkId, change: &LinkChange) {
        let quotas = self.protocols.values_mut().flat_map(|of| [&mut of.asked, &mut of.answered]);
        match change {
            LinkChange::Early(_) => {} // a request may do anything: it waits
            LinkChange::Up(info) => {
                quotas.for_each(|quotas| quotas.link_up(link, info));
                self.memory.link_up(link, info);
                self.links.insert(link, Link { peer: info.peer, known: false });
            }
            LinkChange::Down => {
                quotas.for_each(|quotas| quotas.link_down(link));
                self.memory.link_down(link);
                self.streams_of(link).into_iter().for_each(|key| self.fail(key, Failure::Gone));
                self.links.remove(&link);
            }
        }
    }

    fn handle_opened(&mut self, now: Instant, key: StreamKey, origin: Origin) {
        match origin {
            Origin::Local { tag } => self.opened_by_us(key, tag),
            Origin::Peer(spoken) => self.opened_by_peer(now, key, spoken),
        }
    }

    fn handle_refused(&mut self, _: Instant, tag: u64, reason: OpenError) {
        let Some(opening) = self.opening.remove(&tag) else { return };
        self.not_opened(&opening);
        let reason = match reason {
            OpenError::Closed => Failure::Gone,
            OpenError::Limit => Failure::Busy,
        };
        self.events.push_back(Event::Answered { ticket: Ticket(tag), result: Err(reason) });
    }

    fn class(&self, number: ProtocolId) -> Class {
        let protocol = self.firsts.get(&number).and_then(|first| self.protocols.get(first));
        protocol.map_or(Class::Bulk, |protocol| protocol.config.limits.class)
    }

    fn room(&self, key: StreamKey) -> usize {
        let known = self.links.get(&key.link).is_some_and(|link| link.known);
        self.streams.get(&key).filter(|_| known).map_or(0, Stream::room)
    }

    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        let failure = match input {
            Incoming::Data(chunk) => return self.came(now, key, &chunk, Rest::ToCome),
            Incoming::End => return self.came(now, key, &[], Rest::Nothing),
            Incoming::Reset(code) => self.streams.get(&key).map(|stream| stream.reset(code)),
            Incoming::Stopped(code) => self.streams.get_mut(&key).and_then(|stream| stream.stopped(code)),
        };
        if let Some(reason) = failure {
            self.fail(key, reason);
        }
    }

    fn poll_write(&mut self, _: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if !stream.write(room, out) {
            return;
        }
        let ours = stream.is_ours();
        self.asks.push_back(Ask::Finish(key));
        if !ours {
            self.forget(key);
            self.asks.push_back(Ask::Stop(key, code::CANCELLED)); // where it has not ended its direction
        }
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.pop_due(now) {
            self.fail(key, Failure::Late);
        }
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.next().map(|(due, _)| (due, "an exchange is overdue"))
    }
}
