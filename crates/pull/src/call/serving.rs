//! The server's side: from the stream to the answer.

use bytes::Bytes;
use weir_base::stream::Ask;
use weir_base::{Chunk, Fault, Instant, LinkId, Rope, StreamKey};

use super::codec::{self, Millis, OVERHEAD, REFUSAL, RESPONSE};
use super::{
    BUSY_RETRY, CUT_SHORT, Call, CommandRefused, Due, Event, MAX_SKIPPED, Peer, Refusal, Stream,
    TOO_MANY_SKIPPED, TRAILING, Ticket,
};
use crate::framing::{self, Inbox, MALFORMED, MESSAGE_BASE, STALLED, UNKNOWN_TYPE, allowed, code};
use weir_base::codec::Malformed;

/// The stream of a request.
#[derive(Debug)]
pub(super) struct Serving {
    refused: bool, // without having been read
    state: State,
}

#[derive(Debug)]
enum State {
    /// The request is arriving.
    Receiving { inbox: Inbox, skipped: u8, pace: Pace },
    /// The application has it.
    Waiting { ticket: Ticket, deadline: Instant },
    /// There is an answer, not encoded yet.
    Answered { answer: Result<Bytes, Refusal>, pace: Pace },
    /// The rest of it.
    Writing { pending: Rope, pace: Pace },
}

/// When a message's time began. Messages of a link share its credit, so what the others moved since then counts for it too:
/// the peer must keep up a rate on all of them together, and none is late because it waits for its turn.
#[derive(Clone, Copy, Debug)]
struct Pace {
    since: Instant,
    moved: u64, // by the link's messages in the same direction until then, in bytes
}

impl Pace {
    /// When a message that lacks `rest` bytes is late, while the link's messages have moved `moved` bytes in all.
    fn due(self, rest: u64, moved: u64) -> Instant {
        self.since + allowed(rest.saturating_add(moved.saturating_sub(self.moved)))
    }
}

impl State {
    fn due(&self, peer: &Peer) -> Instant {
        match self {
            Self::Receiving { inbox, pace, .. } => {
                let since = inbox.begun().unwrap_or(pace.since);
                Pace { since, ..*pace }.due(inbox.missing(), peer.brought)
            }
            Self::Waiting { deadline, .. } => *deadline,
            Self::Answered { answer, pace } => {
                pace.due(answer.as_ref().map_or(0, |response| response.len() as u64), peer.took)
            }
            Self::Writing { pending, pace } => pace.due(pending.len() as u64, peer.took),
        }
    }
}

impl Call {
    pub(super) fn request_opened(&mut self, now: Instant, key: StreamKey) {
        let Some(peer) = self.links.get_mut(&key.link) else { return self.break_off(key, code::CANCELLED) };
        if peer.serving >= peer.at_once.saturating_mul(2).saturating_add(8) {
            return self.break_off(key, code::LIMIT);
        }
        let refusal = if peer.serving - peer.refusing >= peer.at_once {
            Some(BUSY_RETRY)
        } else {
            let (rate, burst) = (u64::from(self.config.rate), u64::from(self.config.burst));
            peer.bucket.take(now, 1, rate, burst).err()
        };
        peer.serving += 1;
        let state = if let Some(retry_after) = refusal {
            peer.refusing += 1;
            self.asks.extend([Ask::Stop(key, code::LIMIT), Ask::Write(key)]);
            let pace = Pace { since: now, moved: peer.took };
            State::Answered { answer: Err(Refusal { retry_after }), pace }
        } else {
            let inbox = Inbox::new(peer.max_request as usize + OVERHEAD);
            State::Receiving { inbox, skipped: 0, pace: Pace { since: now, moved: peer.brought } }
        };
        self.deadlines.set(Due::Stream(key), Some(now + MESSAGE_BASE));
        self.streams.insert(key, Stream::Serving(Serving { refused: refusal.is_some(), state }));
    }

    pub(super) fn read_request(&mut self, now: Instant, key: StreamKey, chunk: Chunk) {
        let Some(Stream::Serving(serving)) = self.streams.get_mut(key) else { return };
        let State::Receiving { inbox, skipped, .. } = &mut serving.state else {
            return self.bad_request(key, TRAILING);
        };
        if let Some(peer) = self.links.get_mut(&key.link) {
            peer.brought += chunk.len() as u64;
        }
        inbox.push(chunk);
        loop {
            let message = match inbox.next(now) {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(Malformed::TooLarge) => {
                    self.forget_stream(key); // the caller may not have known the limit: no fault
                    return self.break_off(key, code::TOO_LARGE);
                }
                Err(_) => return self.bad_request(key, MALFORMED),
            };
            self.counters.messages_in += 1;
            match codec::Ask::decode(message) {
                Ok(codec::Ask::Request { patience, request }) => {
                    if inbox.has_more() {
                        return self.bad_request(key, TRAILING);
                    }
                    let request = inbox.keep(request);
                    let deadline = now + patience.min(self.config.deadline);
                    let ticket = self.tickets.next();
                    serving.state = State::Waiting { ticket, deadline };
                    if self.deadlines.get(Due::Stream(key)).is_none_or(|set| set > deadline) {
                        self.deadlines.set(Due::Stream(key), Some(deadline));
                    }
                    self.incoming.insert(ticket, key);
                    let Some(peer) = self.links.get(&key.link).map(|peer| peer.id) else { return };
                    return self.events.push_back(Event::Request {
                        ticket,
                        link: key.link,
                        peer,
                        request,
                        deadline,
                    });
                }
                Ok(codec::Ask::Skipped) if *skipped < MAX_SKIPPED => *skipped += 1,
                Ok(codec::Ask::Skipped) => return self.bad_request(key, TOO_MANY_SKIPPED),
                Ok(codec::Ask::Unknown) => return self.bad_request(key, UNKNOWN_TYPE),
                Err(_) => return self.bad_request(key, MALFORMED),
            }
        }
    }

    fn bad_request(&mut self, key: StreamKey, fault: Fault) {
        self.cancel_work(key);
        self.forget_stream(key);
        self.blame(key, fault);
    }

    /// Tells the application that nobody waits for its answer any more.
    fn cancel_work(&mut self, key: StreamKey) {
        if let Some(Stream::Serving(Serving { state: State::Waiting { ticket, .. }, .. })) =
            self.streams.get(key)
        {
            let ticket = *ticket;
            self.incoming.remove(ticket);
            self.events.push_back(Event::Cancelled { ticket });
        }
    }

    pub(super) fn request_ended(&mut self, key: StreamKey) {
        if let Some(Stream::Serving(Serving { state: State::Receiving { .. }, .. })) = self.streams.get(key) {
            self.bad_request(key, CUT_SHORT);
        }
    }

    /// The caller broke off one of the directions: the call is given up.
    pub(super) fn caller_gave_up(&mut self, key: StreamKey) {
        self.cancel_work(key);
        self.forget_stream(key);
        self.break_off(key, code::CANCELLED);
    }

    pub(super) fn answer(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: Result<Bytes, Refusal>,
    ) -> Result<Ticket, CommandRefused> {
        let key = *self.incoming.get(ticket).ok_or(CommandRefused::UnknownTicket)?;
        let (max, took) = self.links.get(&key.link).map_or((0, 0), |peer| (peer.max_response, peer.took));
        if answer.as_ref().map_or(0, Bytes::len) > max as usize {
            return Err(CommandRefused::TooLarge);
        }
        self.incoming.remove(ticket);
        if let Some(Stream::Serving(serving)) = self.streams.get_mut(key) {
            serving.state = State::Answered { answer, pace: Pace { since: now, moved: took } };
            self.asks.push_back(Ask::Write(key));
        }
        Ok(ticket)
    }

    pub(super) fn write_answer(&mut self, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(Stream::Serving(serving)) = self.streams.get_mut(key) else { return };
        let before = out.len();
        match &mut serving.state {
            State::Receiving { .. } | State::Waiting { .. } => return,
            State::Answered { answer, pace } => {
                let (mut pending, pace) = (Rope::new(), *pace);
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
                serving.state = State::Writing { pending, pace };
            }
            State::Writing { pending, .. } => {
                framing::pour(pending, room, out);
            }
        }
        if let Some(peer) = self.links.get_mut(&key.link) {
            peer.took += (out.len() - before) as u64;
        }
        if matches!(&serving.state, State::Writing { pending, .. } if pending.is_empty()) {
            self.forget_stream(key);
            self.asks.extend([Ask::Finish(key), Ask::Stop(key, code::CANCELLED)]);
        }
    }

    pub(super) fn stream_overdue(&mut self, now: Instant, key: StreamKey) {
        let Some(Stream::Serving(serving)) = self.streams.get(key) else {
            self.forget_stream(key); // a caller's stream that is answered, and whose end does not come
            return self.break_off(key, code::TIMEOUT);
        };
        let due = self.links.get(&key.link).map_or(now, |peer| serving.state.due(peer));
        if due > now {
            return self.deadlines.set(Due::Stream(key), Some(due));
        }
        match &serving.state {
            State::Receiving { inbox, .. } if inbox.is_partial() => {
                self.asks.push_back(Ask::Blame(key.link, STALLED));
            }
            State::Answered { .. } => self.counters.expired += 1,
            _ => {}
        }
        self.cancel_work(key);
        self.forget_stream(key);
        self.break_off(key, code::TIMEOUT);
    }

    /// Takes a stream off the books; a request's slot is free again.
    pub(super) fn forget_stream(&mut self, key: StreamKey) {
        self.deadlines.set(Due::Stream(key), None);
        let Some(Stream::Serving(serving)) = self.streams.remove(key) else { return };
        if let Some(peer) = self.links.get_mut(&key.link) {
            peer.serving = peer.serving.saturating_sub(1);
            peer.refusing = peer.refusing.saturating_sub(u32::from(serving.refused));
        }
    }

    /// All requests of a link are off.
    pub(super) fn requests_end(&mut self, link: LinkId) {
        for key in self.streams.of_link(link) {
            self.cancel_work(key);
            self.forget_stream(key);
        }
    }

    /// Bytes of the request that can be taken; they are reserved by `concurrency`.
    pub(super) fn request_room(serving: &Serving) -> usize {
        match &serving.state {
            State::Receiving { inbox, .. } => inbox.room(),
            _ => 1, // one byte too many shows a fault
        }
    }
}
