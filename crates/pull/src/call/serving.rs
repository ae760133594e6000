//! The server's side: from the stream to the answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_base::codec::Malformed;
use weir_base::identity::PeerId;
use weir_base::stream::{Ask, Incoming, LinkInfo};
use weir_base::time::nanos;
use weir_base::{Chunk, Deadlines, Fault, Instant, LinkId, Numbered, Rope, StreamKey};

use super::codec::{self, Millis, OVERHEAD, REFUSAL, RESPONSE};
use super::memory::{Hold, moving_until};
use super::turns::{Turns, Use};
use super::types::{
    BUSY_RETRY, CUT_SHORT, Config, Event, MAX_SKIPPED, Refusal, TOO_MANY_SKIPPED, TRAILING, blame, break_off,
};
use crate::bucket::Bucket;
use crate::framing::{self, Inbox, MALFORMED, MESSAGE_BASE, STALLED, UNKNOWN_TYPE, allowed, code};
use crate::machine::{Counters, Negotiated, Refused, Ticket};

/// What a request's stream may bring before the length of its message is known.
const FIRST: usize = 4 * 1024;

/// Requests of peers on one channel.
#[derive(Debug)]
pub(super) struct Server {
    config: Arc<Config>,
    memory: u64, // the budget that all call channels share, in bytes
    links: BTreeMap<LinkId, Client>,
    outstanding: Numbered<Ticket, StreamKey>, // over to the application and not answered: at most `concurrency` per link
    turns: Turns,
    claims: VecDeque<Claim>, // what changed since the parent asked: a few per input
    streams: Numbered<StreamKey, Serving>,
    events: VecDeque<Event>, // at most one per request under way, and one for its end
    asks: VecDeque<Ask>,
    deadlines: Deadlines<StreamKey>, // may fire early: then it is set again
    counters: Counters,
}

/// What a stream's memory does. The parent, which keeps the budget of all call channels, takes these in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It wants to hold `bytes` of a request. Where there is no room, the parent calls
    /// [`refuse_for_memory`](super::Call::refuse_for_memory).
    Reserve { key: StreamKey, bytes: u64 },
    /// It holds so much, not more than it had.
    Keep { key: StreamKey, bytes: u64, hold: Hold },
    /// It holds nothing any more.
    Free(StreamKey),
}

/// What a link's peer may ask, and what of it is under way.
#[derive(Debug)]
struct Client {
    id: PeerId,
    max_request: u32,
    max_response: u32,
    at_once: u32,
    answers: u64, // bytes of its answers of late: the largest at first, then at least the last, moving down by half
    serving: u32, // streams of requests, refused ones too
    refusing: u32, // of those, refused
    bucket: Bucket,
}

/// The stream of a request.
#[derive(Debug)]
struct Serving {
    refused: bool,      // without having reached the application
    usage: Option<Use>, // of memory, since it was handed over
    state: State,
}

#[derive(Debug)]
enum State {
    /// The request is arriving; `reserved` bytes of it may come.
    Receiving { inbox: Inbox, skipped: u8, since: Instant, reserved: usize },
    /// It is complete and waits for its turn.
    Queued { request: Bytes, deadline: Instant },
    /// The application has it.
    Handling { ticket: Ticket, deadline: Instant, since: Instant, bytes: u64 },
    /// There is an answer, not encoded yet.
    Answered { answer: Result<Bytes, Refusal>, since: Instant },
    /// The rest of it.
    Writing { pending: Rope, size: u64, since: Instant },
}

impl State {
    /// When it is late. A message has 10 s and a second more for every 16 kB of its own, whatever the link moves besides.
    fn due(&self) -> Instant {
        match self {
            Self::Receiving { inbox, since, .. } => inbox.deadline().unwrap_or(*since + MESSAGE_BASE),
            Self::Queued { deadline, .. } | Self::Handling { deadline, .. } => *deadline,
            Self::Answered { answer, since } => *since + allowed(len(answer)),
            Self::Writing { size, since, .. } => *since + allowed(*size),
        }
    }
}

impl State {
    /// Bytes of the answer, and since when there is one.
    fn answer(&self) -> Option<(u64, Instant)> {
        match self {
            Self::Answered { answer, since } => Some((len(answer), *since)),
            Self::Writing { size, since, .. } => Some((*size, *since)),
            Self::Receiving { .. } | Self::Queued { .. } | Self::Handling { .. } => None,
        }
    }
}

fn len(answer: &Result<Bytes, Refusal>) -> u64 {
    answer.as_ref().map_or(0, |response| response.len() as u64)
}

impl Server {
    pub(super) fn new(config: Arc<Config>, memory: u64) -> Self {
        Self {
            config,
            memory,
            links: BTreeMap::new(),
            outstanding: Numbered::default(),
            turns: Turns::new(memory),
            claims: VecDeque::new(),
            streams: Numbered::default(),
            events: VecDeque::new(),
            asks: VecDeque::new(),
            deadlines: Deadlines::default(),
            counters: Counters::default(),
        }
    }

    pub(super) fn link_up(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        let client = Client {
            id: info.peer,
            max_request: self.config.max_request,
            max_response: self.config.max_response,
            at_once: self.config.concurrency,
            answers: self.config.max_response.into(),
            serving: 0,
            refusing: 0,
            bucket: Bucket::new(),
        };
        self.links.insert(link, client);
        self.turns.add(now, link, info);
    }

    pub(super) fn link_share(&mut self, link: LinkId, quarters: u8) {
        self.turns.set_share(link, quarters);
    }

    pub(super) fn link_ready(&mut self, link: LinkId, negotiated: &Negotiated) {
        if let Some(client) = self.links.get_mut(&link) {
            client.max_request = negotiated.max_request;
            client.max_response = negotiated.max_answer;
            client.at_once = negotiated.at_once;
        }
    }

    pub(super) fn opened(&mut self, now: Instant, key: StreamKey, lane: u8) {
        if lane == 0 {
            self.request_opened(now, key);
        } else {
            break_off(&mut self.asks, key, code::UNKNOWN_CHANNEL);
        }
    }

    pub(super) fn incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        match input {
            Incoming::Data(chunk) => self.read_request(now, key, chunk),
            Incoming::End => self.request_ended(now, key),
            Incoming::Reset(_) | Incoming::Stopped(_) => self.caller_gave_up(now, key),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.pop_due(now) {
            self.overdue(now, key);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.next().map(|(due, _)| (due, "request deadline"))
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    pub(super) const fn counters(&self) -> Counters {
        self.counters
    }

    /// The application has taken a request out of its mailbox.
    pub(super) fn taken(&mut self, ticket: Ticket, at: Instant) -> Result<(), Refused> {
        if self.turns.taken(ticket, at) { Ok(()) } else { Err(Refused::UnknownTicket) }
    }

    fn request_opened(&mut self, now: Instant, key: StreamKey) {
        let Some(peer) = self.links.get_mut(&key.link) else {
            return break_off(&mut self.asks, key, code::CANCELLED);
        };
        if peer.serving >= peer.at_once.saturating_mul(2).saturating_add(8) {
            return break_off(&mut self.asks, key, code::LIMIT);
        }
        let refusal = if peer.serving - peer.refusing >= peer.at_once {
            Some(BUSY_RETRY)
        } else {
            let rate = self.config.rate;
            rate.and_then(|(rate, burst)| peer.bucket.take(now, 1, rate.into(), burst.into()).err())
        };
        peer.serving += 1;
        let inbox = Inbox::new(peer.max_request as usize + OVERHEAD);
        let reserved = inbox.room().min(FIRST);
        let state = State::Receiving { inbox, skipped: 0, since: now, reserved };
        self.deadlines.set(key, Some(now + MESSAGE_BASE));
        self.streams.insert(key, Serving { refused: false, usage: None, state });
        match refusal {
            Some(retry_after) => self.refuse(now, key, retry_after),
            None => self.claims.push_back(Claim::Reserve { key, bytes: reserved as u64 }),
        }
    }

    /// Answers a request that has not reached the application: not now.
    fn refuse(&mut self, now: Instant, key: StreamKey, retry_after: Duration) {
        let Some(serving) = self.streams.get_mut(key) else { return };
        serving.refused = true;
        serving.state = State::Answered { answer: Err(Refusal { retry_after }), since: now };
        if let Some(peer) = self.links.get_mut(&key.link) {
            peer.refusing += 1;
        }
        self.deadlines.set(key, Some(now + MESSAGE_BASE));
        self.asks.extend([Ask::Stop(key, code::LIMIT), Ask::Write(key)]);
        self.claims.push_back(Claim::Free(key));
    }

    /// There is no memory for a stream, or others need it more: its request is refused, its answer broken off.
    /// What the application is handling stays.
    pub(super) fn refuse_for_memory(&mut self, now: Instant, key: StreamKey) {
        let Some(serving) = self.streams.get(key) else { return };
        match serving.state {
            State::Receiving { .. } | State::Queued { .. } => {
                self.turns.leave(key);
                self.refuse(now, key, BUSY_RETRY);
            }
            State::Handling { .. } => {}
            State::Answered { .. } | State::Writing { .. } => {
                self.charge_unread(now, key);
                self.forget_stream(key);
                break_off(&mut self.asks, key, code::LIMIT);
            }
        }
    }

    fn read_request(&mut self, now: Instant, key: StreamKey, chunk: Chunk) {
        let Some(serving) = self.streams.get_mut(key) else { return };
        if serving.refused {
            return; // it was on its way when it was refused
        }
        let State::Receiving { inbox, skipped, reserved, .. } = &mut serving.state else {
            return self.bad_request(now, key, TRAILING);
        };
        inbox.push(chunk);
        loop {
            let message = match inbox.next(now) {
                Ok(Some(message)) => message,
                Ok(None) => {
                    let all = inbox.message_len();
                    if all > *reserved {
                        *reserved = all;
                        self.claims.push_back(Claim::Reserve { key, bytes: all as u64 });
                    }
                    return;
                }
                Err(Malformed::TooLarge) => {
                    self.forget_stream(key); // the caller may not have known the limit: no fault
                    return break_off(&mut self.asks, key, code::TOO_LARGE);
                }
                Err(_) => return self.bad_request(now, key, MALFORMED),
            };
            self.counters.messages_in += 1;
            match codec::Ask::decode(message) {
                Ok(codec::Ask::Request { patience, request }) => {
                    if inbox.has_more() {
                        return self.bad_request(now, key, TRAILING);
                    }
                    let request = inbox.keep(request);
                    return self.queue(now + patience.min(self.config.deadline), key, request);
                }
                Ok(codec::Ask::Skipped) if *skipped < MAX_SKIPPED => *skipped += 1,
                Ok(codec::Ask::Skipped) => return self.bad_request(now, key, TOO_MANY_SKIPPED),
                Ok(codec::Ask::Unknown) => return self.bad_request(now, key, UNKNOWN_TYPE),
                Err(_) => return self.bad_request(now, key, MALFORMED),
            }
        }
    }

    /// A request is complete: it waits for its turn.
    fn queue(&mut self, deadline: Instant, key: StreamKey, request: Bytes) {
        let Some(serving) = self.streams.get_mut(key) else { return };
        self.claims.push_back(Claim::Keep { key, bytes: request.len() as u64, hold: Hold::Request });
        serving.state = State::Queued { request, deadline };
        if self.deadlines.get(key).is_none_or(|set| set > deadline) {
            self.deadlines.set(key, Some(deadline));
        }
        self.turns.wait(key);
    }

    /// Whether the parent has something to do: what streams hold has changed, or requests wait for their turn.
    pub(super) fn has_claims(&self) -> bool {
        !self.claims.is_empty() || self.turns.has_waiting()
    }

    /// The next change of what streams hold.
    pub(super) fn poll_claim(&mut self) -> Option<Claim> {
        self.claims.pop_front()
    }

    /// The request to hand over next. Where there is room for what it [`wants`](Self::wants), the parent calls
    /// [`hand_over`](Self::hand_over), else [`hold_back`](Self::hold_back).
    pub(super) fn next_request(&self) -> Option<StreamKey> {
        self.turns.next()
    }

    /// The requests that would be next one after the other if each were held back.
    pub(super) fn requests_in_turn(&self) -> Vec<StreamKey> {
        self.turns.in_turn().collect()
    }

    /// What a request that waits for its turn and its largest answer hold; it weighs what the link's answers took of late.
    pub(super) fn wants(&mut self, key: StreamKey) -> Option<(u64, Hold)> {
        let Some(Serving { state: State::Queued { request, .. }, .. }) = self.streams.get(key) else {
            self.turns.leave(key);
            return None;
        };
        let (request, client) = (request.len() as u64, self.links.get(&key.link));
        let largest = client.map_or(0, |client| u64::from(client.max_response));
        let weighs = client.map_or(largest, |client| client.answers.min(largest)) + request;
        Some((request + largest, Hold::Handling { weighs }))
    }

    /// There is no memory for what a request [`wants`](Self::wants).
    pub(super) fn hold_back(&mut self, key: StreamKey) {
        self.turns.hold_back(key.link);
    }

    /// There may be memory again for what was held back.
    pub(super) fn try_again(&mut self) {
        self.turns.try_again();
    }

    /// The application gets a request that waited for its turn.
    pub(super) fn hand_over(&mut self, now: Instant, key: StreamKey, ticket: Ticket) {
        let Some(client) = self.links.get(&key.link) else { return };
        let (peer, max_response) = (client.id, u64::from(client.max_response));
        let Some(serving) = self.streams.get_mut(key) else { return };
        let State::Queued { request, deadline } = &mut serving.state else { return };
        let (request, deadline) = (std::mem::take(request), *deadline);
        let bytes = request.len() as u64 + max_response;
        serving.state = State::Handling { ticket, deadline, since: now, bytes };
        serving.usage = self.turns.begin_use(key.link);
        self.outstanding.insert(ticket, key);
        let others_wait = self.turns.hand(now, key, ticket);
        self.events.push_back(Event::Request {
            ticket,
            link: key.link,
            peer,
            request,
            deadline,
            others_wait,
        });
    }

    fn bad_request(&mut self, now: Instant, key: StreamKey, fault: Fault) {
        self.cancel_work(now, key);
        self.forget_stream(key);
        blame(&mut self.asks, key, fault);
    }

    /// The caller does not wait any more: a request is not handed over, or the application need not answer it.
    fn cancel_work(&mut self, now: Instant, key: StreamKey) {
        let Some(serving) = self.streams.get(key) else { return };
        match serving.state {
            State::Queued { .. } => self.turns.leave(key),
            State::Handling { ticket, .. } => {
                self.outstanding.remove(ticket);
                self.turns.done(now, ticket);
                self.charge_memory(now, key);
                self.events.push_back(Event::Cancelled { ticket });
            }
            State::Receiving { .. } | State::Answered { .. } | State::Writing { .. } => {}
        }
    }

    fn request_ended(&mut self, now: Instant, key: StreamKey) {
        if let Some(Serving { state: State::Receiving { .. }, .. }) = self.streams.get(key) {
            self.bad_request(now, key, CUT_SHORT);
        }
    }

    /// The caller broke off one of the directions: the call is given up.
    fn caller_gave_up(&mut self, now: Instant, key: StreamKey) {
        self.cancel_work(now, key);
        self.charge_unread(now, key);
        self.forget_stream(key);
        break_off(&mut self.asks, key, code::CANCELLED);
    }

    /// The application has answered, at a time not after now.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        ticket: Ticket,
        at: Instant,
        answer: Result<Bytes, Refusal>,
    ) -> Result<(), Refused> {
        let key = *self.outstanding.get(ticket).ok_or(Refused::UnknownTicket)?;
        let Some(client) = self.links.get_mut(&key.link) else { return Err(Refused::UnknownTicket) };
        if len(&answer) > u64::from(client.max_response) {
            return Err(Refused::TooLarge);
        }
        client.answers = len(&answer).max(client.answers / 2);
        self.outstanding.remove(ticket);
        self.turns.done(at, ticket);
        self.charge_memory(now, key);
        if let Some(serving) = self.streams.get_mut(key) {
            self.claims.push_back(Claim::Keep { key, bytes: len(&answer), hold: Hold::Answer(now) });
            serving.state = State::Answered { answer, since: now };
            self.asks.push_back(Ask::Write(key));
        }
        Ok(())
    }

    pub(super) fn write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(serving) = self.streams.get_mut(key) else { return };
        let before = out.len();
        match &mut serving.state {
            State::Receiving { .. } | State::Queued { .. } | State::Handling { .. } => return,
            State::Answered { answer, since } => {
                let (mut pending, size, since) = (Rope::new(), len(answer), *since);
                match answer {
                    Ok(response) => {
                        framing::send(&mut pending, room, out, RESPONSE, &[], std::mem::take(response));
                    }
                    Err(refusal) => {
                        let millis = Millis::new(refusal.retry_after);
                        framing::send(&mut pending, room, out, REFUSAL, millis.as_slice(), Bytes::new());
                    }
                }
                self.counters.messages_out += 1;
                serving.state = State::Writing { pending, size, since };
            }
            State::Writing { pending, .. } => {
                framing::pour(pending, room, out);
            }
        }
        let State::Writing { pending, size, since } = &serving.state else { return };
        if pending.is_empty() {
            self.charge_unread(now, key);
            self.forget_stream(key);
            return self.asks.extend([Ask::Finish(key), Ask::Stop(key, code::CANCELLED)]);
        }
        if out.len() > before {
            // All of it is held until the last byte has gone: its parts share one allocation.
            let until = moving_until(now, *since, size.saturating_sub(pending.len() as u64));
            self.claims.push_back(Claim::Keep { key, bytes: *size, hold: Hold::Answer(until) });
        }
    }

    fn overdue(&mut self, now: Instant, key: StreamKey) {
        let Some(serving) = self.streams.get(key) else { return };
        let due = serving.state.due();
        if due > now {
            return self.deadlines.set(key, Some(due));
        }
        match &serving.state {
            State::Receiving { inbox, .. } if inbox.is_partial() => {
                self.asks.push_back(Ask::Blame(key.link, STALLED));
            }
            State::Answered { .. } => self.counters.expired += 1,
            _ => {}
        }
        self.cancel_work(now, key);
        self.charge_unread(now, key);
        self.forget_stream(key);
        break_off(&mut self.asks, key, code::TIMEOUT);
    }

    /// An answer that is read late costs its link as if it had been handled meanwhile, by the part of the memory it held.
    fn charge_unread(&mut self, now: Instant, key: StreamKey) {
        let Some((size, since)) = self.streams.get(key).and_then(|serving| serving.state.answer()) else {
            return;
        };
        let time = u128::from(nanos(now.since(since))) * u128::from(size) / u128::from(self.memory.max(1));
        self.turns.charge(key.link, u64::try_from(time).unwrap_or(u64::MAX));
        self.charge_memory(now, key);
    }

    /// What a stream has held since it was handed over or answered.
    fn charge_memory(&mut self, now: Instant, key: StreamKey) {
        let Some(serving) = self.streams.get_mut(key) else { return };
        let (bytes, since) = match (&serving.state, serving.state.answer()) {
            (State::Handling { since, bytes, .. }, _) => (*bytes, *since),
            (_, Some(answer)) => answer,
            _ => return,
        };
        if let Some(usage) = &mut serving.usage {
            self.turns.used(usage, bytes, now.since(since));
        }
    }

    /// Takes a stream off the books; a request's slot is free again.
    fn forget_stream(&mut self, key: StreamKey) {
        self.deadlines.set(key, None);
        let Some(serving) = self.streams.remove(key) else { return };
        self.claims.push_back(Claim::Free(key));
        if let Some(usage) = &serving.usage {
            self.turns.end_use(usage);
        }
        if let Some(peer) = self.links.get_mut(&key.link) {
            peer.serving = peer.serving.saturating_sub(1);
            peer.refusing = peer.refusing.saturating_sub(u32::from(serving.refused));
        }
    }

    /// All requests of a link are off, and it is forgotten.
    pub(super) fn link_ended(&mut self, now: Instant, link: LinkId) {
        for key in self.streams.of_link(link) {
            self.cancel_work(now, key);
            self.charge_unread(now, key);
            self.forget_stream(key);
        }
        self.turns.remove(now, link);
        self.links.remove(&link);
    }

    /// Bytes of the request that can be taken; they are reserved. `None` where it is no stream of a request.
    pub(super) fn room(&self, key: StreamKey) -> Option<usize> {
        let serving = self.streams.get(key)?;
        Some(match &serving.state {
            State::Receiving { inbox, reserved, .. } => {
                inbox.room().min(reserved.saturating_sub(inbox.held()))
            }
            _ if serving.refused => 0,
            _ => 1, // one byte too many shows a fault
        })
    }
}
