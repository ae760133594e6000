//! The caller's side: from the command to the response.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::Ask;
use weir_base::{Fault, Instant, LinkId, Rope, StreamKey};

use super::codec::{Answer, Millis, OVERHEAD, REQUEST};
use super::{
    CUT_SHORT, Call, CallError, CommandRefused, Due, Event, MAX_SKIPPED, Stream, TOO_MANY_SKIPPED, TRAILING,
    Ticket,
};
use crate::framing::{self, Inbox, MALFORMED, MESSAGE_BASE, UNKNOWN_TYPE, code};
use crate::machine::TAG_END;

/// A call under way.
#[derive(Debug)]
pub(super) struct Outgoing {
    link: LinkId,
    deadline: Instant,
    request: Bytes, // until it is encoded
    stream: Option<StreamKey>,
}

/// Its stream.
#[derive(Debug)]
pub(super) struct Calling {
    ticket: Option<Ticket>, // until it is answered
    encoded: bool,
    finished: bool,
    pending: Rope,
    inbox: Inbox,
    skipped: u8,
}

impl Call {
    pub(super) fn call(
        &mut self,
        now: Instant,
        link: LinkId,
        request: Bytes,
        patience: Option<Duration>,
    ) -> Result<Ticket, CommandRefused> {
        let peer = self.links.get_mut(&link).ok_or(CommandRefused::NoLink)?;
        if request.len() > peer.max_request as usize {
            return Err(CommandRefused::TooLarge);
        }
        if peer.calling >= peer.at_once {
            return Err(CommandRefused::Busy);
        }
        peer.calling += 1;
        let ticket = self.tickets.next();
        let deadline = now + patience.unwrap_or(self.config.deadline).min(self.config.deadline);
        self.outgoing.insert(ticket, Outgoing { link, deadline, request, stream: None });
        self.deadlines.set(Due::Call(ticket), Some(deadline));
        let (protocol, class) = (self.protocol, self.config.class);
        self.asks.push_back(Ask::Open { link, protocol, class, tag: ticket.0 % TAG_END });
        Ok(ticket)
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) -> Result<Ticket, CommandRefused> {
        self.give_up(ticket, code::CANCELLED).ok_or(CommandRefused::UnknownTicket)?;
        Ok(ticket)
    }

    /// The stream for a call is open.
    pub(super) fn call_opened(&mut self, key: StreamKey, ticket: Ticket) {
        let Some(call) = self.outgoing.get_mut(ticket) else {
            return self.break_off(key, code::CANCELLED); // given up meanwhile
        };
        call.stream = Some(key);
        let max = self.links.get(&key.link).map_or(0, |peer| peer.max_response as usize);
        let calling = Calling {
            ticket: Some(ticket),
            encoded: false,
            finished: false,
            pending: Rope::new(),
            inbox: Inbox::new(max + OVERHEAD),
            skipped: 0,
        };
        self.streams.insert(key, Stream::Calling(calling));
        self.asks.push_back(Ask::Write(key));
    }

    /// Ends a call without telling the user, and its stream where it is open.
    pub(super) fn give_up(&mut self, ticket: Ticket, code: u32) -> Option<()> {
        let call = self.forget_call(ticket)?;
        if let Some(key) = call.stream {
            self.streams.remove(key);
            self.break_off(key, code);
        }
        Some(())
    }

    /// Takes a call off the books; its slot is free again.
    fn forget_call(&mut self, ticket: Ticket) -> Option<Outgoing> {
        let call = self.outgoing.remove(ticket)?;
        self.deadlines.set(Due::Call(ticket), None);
        if let Some(peer) = self.links.get_mut(&call.link) {
            peer.calling = peer.calling.saturating_sub(1);
        }
        Some(call)
    }

    /// Ends a call with what the user is told.
    pub(super) fn conclude(&mut self, ticket: Ticket, result: Result<Bytes, CallError>) {
        if self.forget_call(ticket).is_some() {
            self.events.push_back(Event::Response { ticket, result });
        }
    }

    pub(super) fn call_overdue(&mut self, ticket: Ticket) {
        let stream = self.outgoing.get(ticket).and_then(|call| self.streams.get(call.stream?));
        let written = matches!(stream, Some(Stream::Calling(calling)) if calling.encoded);
        if self.give_up(ticket, code::TIMEOUT).is_some() {
            self.counters.expired += u64::from(!written);
            self.events.push_back(Event::Response { ticket, result: Err(CallError::Timeout) });
        }
    }

    /// All calls of a link end so.
    pub(super) fn calls_end(&mut self, link: LinkId, error: CallError) {
        let ended: Vec<Ticket> = self.outgoing.keys_where(|_, call| call.link == link);
        ended.into_iter().for_each(|ticket| self.conclude(ticket, Err(error)));
    }

    /// Writes the request, then ends the direction.
    pub(super) fn write_request(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(Stream::Calling(calling)) = self.streams.get_mut(key) else { return };
        if calling.encoded {
            framing::pour(&mut calling.pending, room, out);
        } else {
            let Some(call) = calling.ticket.and_then(|ticket| self.outgoing.get_mut(ticket)) else { return };
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
    pub(super) fn read_answer(&mut self, now: Instant, key: StreamKey, chunk: weir_base::Chunk) {
        let Some(Stream::Calling(calling)) = self.streams.get_mut(key) else { return };
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
        self.blame(key, fault);
        if let Some(ticket) = ticket {
            self.conclude(ticket, Err(CallError::Malformed));
        }
    }

    /// The server ended its direction (`None`), or broke it off.
    pub(super) fn answer_ended(&mut self, key: StreamKey, broken: Option<u32>) {
        let Some(Stream::Calling(calling)) = self.streams.get(key) else { return };
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
        self.break_off(key, code::CANCELLED);
        self.conclude(ticket, Err(error));
    }

    /// The server takes no more of the request; its answer may still come.
    pub(super) fn request_stopped(&mut self, key: StreamKey) {
        if let Some(Stream::Calling(calling)) = self.streams.get_mut(key) {
            calling.encoded = true;
            calling.finished = true;
            calling.pending = Rope::new();
        }
    }

    /// Bytes of the answer that can be taken: the response is reserved since the call was made.
    pub(super) fn answer_room(calling: &Calling) -> usize {
        if calling.ticket.is_some() { calling.inbox.room() } else { 1 } // one byte too many shows a fault
    }
}
