//! [`Call`] as one of the parent's machines.

use weir_base::stream::{Ask, Class, Incoming, LinkInfo, OpenError};
use weir_base::{Instant, LinkId, Rope, StreamKey};

use super::{Bucket, Call, CallError, Due, Peer, Stream, Ticket};
use crate::framing::code;
use crate::machine::{Counters, Machine, Negotiated, Opened};

impl Machine for Call {
    fn link_up(&mut self, _: Instant, link: LinkId, info: &LinkInfo) {
        let peer = Peer {
            id: info.peer,
            max_request: self.config.max_request,
            max_response: self.config.max_response,
            at_once: self.config.concurrency,
            calling: 0,
            serving: 0,
            refusing: 0,
            bucket: Bucket::new(),
        };
        self.links.insert(link, peer);
        self.turns.add(link, info.side, info.group);
    }

    fn link_share(&mut self, link: LinkId, quarters: u8) {
        self.turns.set_share(link, quarters);
    }

    fn link_ready(&mut self, _: Instant, link: LinkId, negotiated: &Negotiated) {
        if let Some(peer) = self.links.get_mut(&link) {
            peer.max_request = negotiated.max_request;
            peer.max_response = negotiated.max_answer;
            peer.at_once = negotiated.at_once;
        }
    }

    fn link_unmatched(&mut self, now: Instant, link: LinkId) {
        self.calls_end(link, CallError::Unsupported);
        self.link_ended(now, link);
    }

    fn link_down(&mut self, now: Instant, link: LinkId) {
        self.calls_end(link, CallError::LinkDown);
        self.link_ended(now, link);
    }

    fn handle_opened(&mut self, now: Instant, key: StreamKey, opened: Opened) {
        match opened {
            Opened::Local { tag } => self.call_opened(key, self.tickets.of(tag)),
            Opened::Peer { lane: 0 } => self.request_opened(now, key),
            Opened::Peer { .. } => self.break_off(key, code::UNKNOWN_CHANNEL),
        }
    }

    fn handle_refused(&mut self, _: Instant, tag: u64, why: OpenError) {
        let error = match why {
            OpenError::Closed => CallError::LinkDown,
            OpenError::Limit => CallError::NoStream,
        };
        self.conclude(self.tickets.of(tag), Err(error));
    }

    fn class(&self, _: u8) -> Class {
        self.config.class
    }

    fn room(&self, key: StreamKey) -> usize {
        match self.streams.get(key) {
            Some(Stream::Calling(calling)) => Self::answer_room(calling),
            Some(Stream::Serving(serving)) => Self::request_room(serving),
            None => 0,
        }
    }

    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        let calling = match self.streams.get(key) {
            Some(Stream::Calling(_)) => true,
            Some(Stream::Serving(_)) => false,
            None => return,
        };
        match (input, calling) {
            (Incoming::Data(chunk), true) => self.read_answer(now, key, chunk),
            (Incoming::Data(chunk), false) => self.read_request(now, key, chunk),
            (Incoming::End, true) => self.answer_ended(key, None),
            (Incoming::End, false) => self.request_ended(now, key),
            (Incoming::Reset(code), true) => self.answer_ended(key, Some(code)),
            (Incoming::Stopped(_), true) => self.request_stopped(key),
            (Incoming::Reset(_) | Incoming::Stopped(_), false) => self.caller_gave_up(now, key),
        }
    }

    fn poll_write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        match self.streams.get(key) {
            Some(Stream::Calling(_)) => self.write_request(now, key, room, out),
            Some(Stream::Serving(_)) => self.write_answer(now, key, room, out),
            None => {}
        }
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.deadlines.pop_due(now) {
            match due {
                Due::Call(ticket) => self.call_overdue(ticket),
                Due::Stream(key) => self.stream_overdue(now, key),
            }
        }
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (due, whose) = self.deadlines.next()?;
        Some((due, if let Due::Call(Ticket(_)) = whose { "call deadline" } else { "request deadline" }))
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
