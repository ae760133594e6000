//! The caller's side: from the command to the response.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Ask, Incoming};
use weir_base::{Chunk, Deadlines, Fault, Instant, LinkId, Numbered, ProtocolId, Rope, StreamKey};

use super::codec::{Answer, Millis, OVERHEAD, REQUEST};
use super::types::{
    CUT_SHORT, CallError, Config, Event, MAX_SKIPPED, TOO_MANY_SKIPPED, TRAILING, blame, break_off,
};
use crate::framing::{self, Inbox, MALFORMED, MESSAGE_BASE, UNKNOWN_TYPE, code};
use crate::machine::{Counters, Negotiated, Refused, TAG_END, Ticket};

/// Calls of this node on one channel.
#[derive(Debug)]
pub(super) struct Caller {
    config: Arc<Config>,
    protocol: ProtocolId,
    links: BTreeMap<LinkId, Callee>,
    calls: Numbered<Ticket, Outgoing>, // under way: at most `concurrency` per link
    streams: Numbered<StreamKey, Calling>,
    events: VecDeque<Event>, // at most one per call under way
    asks: VecDeque<Ask>,
    deadlines: Deadlines<Due>,
    counters: Counters,
}

/// What a link's peer takes of calls, and how many are under way.
#[derive(Debug)]
struct Callee {
    max_request: u32,
    max_response: u32,
    at_once: u32,
    calls: u32,
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Call(Ticket),
    /// A stream that is answered, and whose end does not come.
    Stream(StreamKey),
}

/// A call under way.
#[derive(Debug)]
struct Outgoing {
    link: LinkId,
    deadline: Instant,
    request: Bytes, // until it is encoded
    stream: Option<StreamKey>,
}

/// Its stream.
#[derive(Debug)]
struct Calling {
    ticket: Option<Ticket>, // until it is answered
    encoded: bool,
    finished: bool,
    pending: Rope,
    inbox: Inbox,
    skipped: u8,
}

impl Caller {
    pub(super) fn new(config: Arc<Config>, protocol: ProtocolId) -> Self {
        Self {
            config,
            protocol,
            links: BTreeMap::new(),
            calls: Numbered::default(),
            streams: Numbered::default(),
            events: VecDeque::new(),
            asks: VecDeque::new(),
            deadlines: Deadlines::default(),
            counters: Counters::default(),
        }
    }

    pub(super) fn link_up(&mut self, link: LinkId) {
        let Config { max_request, max_response, concurrency, .. } = *self.config;
        self.links.insert(link, Callee { max_request, max_response, at_once: concurrency, calls: 0 });
    }

    pub(super) fn link_ready(&mut self, link: LinkId, negotiated: &Negotiated) {
        if let Some(server) = self.links.get_mut(&link) {
            server.max_request = negotiated.max_request;
            server.max_response = negotiated.max_answer;
            server.at_once = negotiated.at_once;
        }
    }

    /// All calls of a link end so, and it is forgotten.
    pub(super) fn link_ended(&mut self, link: LinkId, error: CallError) {
        let ended: Vec<Ticket> = self.calls.keys_where(|_, call| call.link == link);
        ended.into_iter().for_each(|ticket| self.conclude(ticket, Err(error)));
        for key in self.streams.of_link(link) {
            self.forget_stream(key);
        }
        self.links.remove(&link);
    }

    /// Calls the peer of a link under this ticket; how long it may take is at most the channel's deadline.
    pub(super) fn call(
        &mut self,
        now: Instant,
        ticket: Ticket,
        link: LinkId,
        (request, patience): (Bytes, Option<Duration>),
    ) -> Result<(), Refused> {
        let server = self.links.get_mut(&link).ok_or(Refused::NoLink)?;
        if request.len() > server.max_request as usize {
            return Err(Refused::TooLarge);
        }
        if server.calls >= server.at_once {
            return Err(Refused::Busy);
        }
        server.calls += 1;
        let deadline = now + patience.unwrap_or(self.config.deadline).min(self.config.deadline);
        self.calls.insert(ticket, Outgoing { link, deadline, request, stream: None });
        self.deadlines.set(Due::Call(ticket), Some(deadline));
        let (protocol, class) = (self.protocol, self.config.class);
        self.asks.push_back(Ask::Open { link, protocol, class, tag: ticket.0 % TAG_END });
        Ok(())
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) -> Result<(), Refused> {
        self.give_up(ticket, code::CANCELLED).ok_or(Refused::UnknownTicket)
    }

    /// The stream for a call is open.
    pub(super) fn opened(&mut self, key: StreamKey, ticket: Ticket) {
        let Some(call) = self.calls.get_mut(ticket) else {
            return break_off(&mut self.asks, key, code::CANCELLED); // given up meanwhile
        };
        call.stream = Some(key);
        let max = self.links.get(&key.link).map_or(0, |server| server.max_response as usize);
        let calling = Calling {
            ticket: Some(ticket),
            encoded: false,
            finished: false,
            pending: Rope::new(),
            inbox: Inbox::new(max + OVERHEAD),
            skipped: 0,
        };
        self.streams.insert(key, calling);
        self.asks.push_back(Ask::Write(key));
    }

    /// Whether it is the stream of a call of this node.
    pub(super) fn has(&self, key: StreamKey) -> bool {
        self.streams.contains(key)
    }

    pub(super) fn incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        match input {
            Incoming::Data(chunk) => self.read_answer(now, key, chunk),
            Incoming::End => self.answer_ended(key, None),
            Incoming::Reset(code) => self.answer_ended(key, Some(code)),
            Incoming::Stopped(_) => self.request_stopped(key),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.deadlines.pop_due(now) {
            match due {
                Due::Call(ticket) => self.call_overdue(ticket),
                Due::Stream(key) => {
                    self.forget_stream(key);
                    break_off(&mut self.asks, key, code::TIMEOUT);
                }
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.next().map(|(due, _)| (due, "call deadline"))
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

    fn forget_stream(&mut self, key: StreamKey) {
        self.deadlines.set(Due::Stream(key), None);
        self.streams.remove(key);
    }

    /// Ends a call without telling the user, and its stream where it is open.
    fn give_up(&mut self, ticket: Ticket, code: u32) -> Option<()> {
        let call = self.forget_call(ticket)?;
        if let Some(key) = call.stream {
            self.streams.remove(key);
            break_off(&mut self.asks, key, code);
        }
        Some(())
    }

    /// Takes a call off the books; its slot is free again.
    fn forget_call(&mut self, ticket: Ticket) -> Option<Outgoing> {
        let call = self.calls.remove(ticket)?;
        self.deadlines.set(Due::Call(ticket), None);
        if let Some(server) = self.links.get_mut(&call.link) {
            server.calls = server.calls.saturating_sub(1);
        }
        Some(call)
    }

    /// Ends a call with what the user is told.
    pub(super) fn conclude(&mut self, ticket: Ticket, result: Result<Bytes, CallError>) {
        if self.forget_call(ticket).is_some() {
            self.events.push_back(Event::Response { ticket, result });
        }
    }

    fn call_overdue(&mut self, ticket: Ticket) {
        let stream = self.calls.get(ticket).and_then(|call| self.streams.get(call.stream?));
        let written = stream.is_some_and(|calling| calling.encoded);
        if self.give_up(ticket, code::TIMEOUT).is_some() {
            self.counters.expired += u64::from(!written);
            self.events.push_back(Event::Response { ticket, result: Err(CallError::Timeout) });
        }
    }

    /// Writes the request, then ends the direction.
    pub(super) fn write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(calling) = self.streams.get_mut(key) else { return };
        if calling.encoded {
            framing::pour(&mut calling.pending, room, out);
        } else {
            let Some(call) = calling.ticket.and_then(|ticket| self.calls.get_mut(ticket)) else { return };
            let patience = Millis::patience(now, call.deadline);
            let request = std::mem::take(&mut call.request);
            framing::send(&mut calling.pending, room, out, REQUEST, patience.as_slice(), request);
            calling.encoded = true;
            self.counters.messages_out += 1;
        }
        if calling.pending.is_empty() && !calling.finished {
            calling.finished = true;
            self.asks.push_back(Ask::Finish(key));
        }
    }

    /// Bytes of the answer.
    fn read_answer(&mut self, now: Instant, key: StreamKey, chunk: Chunk) {
        let Some(calling) = self.streams.get_mut(key) else { return };
        let Some(ticket) = calling.ticket else { return self.bad_answer(key, None, TRAILING) };
        calling.inbox.push(chunk);
        loop {
            let message = match calling.inbox.next(now) {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(_) => return self.bad_answer(key, Some(ticket), MALFORMED),
            };
            self.counters.messages_in += 1;
            let result = match Answer::decode(message) {
                Ok(Answer::Response(response)) => Ok(calling.inbox.keep(response)),
                Ok(Answer::Refusal(refusal)) => Err(CallError::Refused(refusal)),
                Ok(Answer::Skipped) if calling.skipped < MAX_SKIPPED => {
                    calling.skipped += 1;
                    continue;
                }
                Ok(Answer::Skipped) => return self.bad_answer(key, Some(ticket), TOO_MANY_SKIPPED),
                Ok(Answer::Unknown) => return self.bad_answer(key, Some(ticket), UNKNOWN_TYPE),
                Err(_) => return self.bad_answer(key, Some(ticket), MALFORMED),
            };
            if calling.inbox.has_more() {
                return self.bad_answer(key, Some(ticket), TRAILING);
            }
            calling.ticket = None;
            if !calling.finished {
                calling.finished = true;
                calling.pending = Rope::new();
                self.asks.push_back(Ask::Reset(key, code::CANCELLED)); // answered early: the rest is not wanted
            }
            self.deadlines.set(Due::Stream(key), Some(now + MESSAGE_BASE)); // for the end of the stream
            return self.conclude(ticket, result);
        }
    }

    fn bad_answer(&mut self, key: StreamKey, ticket: Option<Ticket>, fault: Fault) {
        self.forget_stream(key);
        blame(&mut self.asks, key, fault);
        if let Some(ticket) = ticket {
            self.conclude(ticket, Err(CallError::Malformed));
        }
    }

    /// The server ended its direction (`None`), or broke it off.
    fn answer_ended(&mut self, key: StreamKey, broken: Option<u32>) {
        let Some(calling) = self.streams.get(key) else { return };
        let Some(ticket) = calling.ticket else { return self.forget_stream(key) };
        let error = match broken {
            None => return self.bad_answer(key, Some(ticket), CUT_SHORT),
            Some(code::UNKNOWN_CHANNEL) => CallError::Unsupported,
            Some(code::TIMEOUT) => CallError::Timeout,
            Some(code::LIMIT) => CallError::NoStream,
            Some(code::TOO_LARGE) => CallError::TooLarge,
            Some(_) => CallError::Aborted,
        };
        self.forget_stream(key);
        break_off(&mut self.asks, key, code::CANCELLED);
        self.conclude(ticket, Err(error));
    }

    /// The server takes no more of the request; its answer may still come.
    fn request_stopped(&mut self, key: StreamKey) {
        if let Some(calling) = self.streams.get_mut(key) {
            calling.encoded = true;
            calling.finished = true;
            calling.pending = Rope::new();
        }
    }

    /// Bytes of the answer that can be taken: the response is reserved since the call was made. `None` where it is no stream of
    /// a call of this node.
    pub(super) fn room(&self, key: StreamKey) -> Option<usize> {
        let calling = self.streams.get(key)?;
        Some(if calling.ticket.is_some() { calling.inbox.room() } else { 1 }) // one byte too many shows a fault
    }
}
