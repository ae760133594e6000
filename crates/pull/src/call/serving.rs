//! The server's side: from the stream to the answer.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::Ask;
use weir_base::time::nanos;
use weir_base::{Chunk, Fault, Instant, LinkId, Rope, StreamKey};

use super::codec::{self, Millis, OVERHEAD, REFUSAL, RESPONSE};
use super::{
    BUSY_RETRY, CUT_SHORT, Call, Claim, CommandRefused, Due, Event, Hold, MAX_SKIPPED, Refusal, Stream,
    TOO_MANY_SKIPPED, TRAILING, Ticket,
};
use crate::framing::{self, Inbox, MALFORMED, MESSAGE_BASE, STALLED, UNKNOWN_TYPE, allowed, code};
use weir_base::codec::Malformed;

/// What a request's stream may bring before the length of its message is known.
const FIRST: usize = 4 * 1024;

/// The stream of a request.
#[derive(Debug)]
pub(super) struct Serving {
    refused: bool, // without having reached the application
    state: State,
}

#[derive(Debug)]
enum State {
    /// The request is arriving; `reserved` bytes of it may come.
    Receiving { inbox: Inbox, skipped: u8, since: Instant, reserved: usize },
    /// It is complete and waits for its turn.
    Queued { request: Bytes, deadline: Instant },
    /// The application has it.
    Handling { ticket: Ticket, deadline: Instant },
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

fn len(answer: &Result<Bytes, Refusal>) -> u64 {
    answer.as_ref().map_or(0, |response| response.len() as u64)
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
        let inbox = Inbox::new(peer.max_request as usize + OVERHEAD);
        let reserved = inbox.room().min(FIRST);
        let state = State::Receiving { inbox, skipped: 0, since: now, reserved };
        self.deadlines.set(Due::Stream(key), Some(now + MESSAGE_BASE));
        self.streams.insert(key, Stream::Serving(Serving { refused: false, state }));
        match refusal {
            Some(retry_after) => self.refuse(now, key, retry_after),
            None => self.claims.push_back(Claim::Reserve { key, bytes: reserved as u64 }),
        }
    }

    /// Answers a request that has not reached the application: not now.
    fn refuse(&mut self, now: Instant, key: StreamKey, retry_after: Duration) {
        let Some(Stream::Serving(serving)) = self.streams.get_mut(key) else { return };
        serving.refused = true;
        serving.state = State::Answered { answer: Err(Refusal { retry_after }), since: now };
        if let Some(peer) = self.links.get_mut(&key.link) {
            peer.refusing += 1;
        }
        self.deadlines.set(Due::Stream(key), Some(now + MESSAGE_BASE));
        self.asks.extend([Ask::Stop(key, code::LIMIT), Ask::Write(key)]);
        self.claims.push_back(Claim::Free(key));
    }

    /// There is no memory for a stream, or others need it more: its request is refused, its answer broken off.
    /// What the application is handling stays.
    pub(crate) fn refuse_for_memory(&mut self, now: Instant, key: StreamKey) {
        let Some(Stream::Serving(serving)) = self.streams.get(key) else { return };
        match serving.state {
            State::Receiving { .. } | State::Queued { .. } => {
                self.turns.leave(key);
                self.refuse(now, key, BUSY_RETRY);
            }
            State::Handling { .. } => {}
            State::Answered { .. } | State::Writing { .. } => {
                self.charge_unread(now, key);
                self.forget_stream(key);
                self.break_off(key, code::LIMIT);
            }
        }
    }

    pub(super) fn read_request(&mut self, now: Instant, key: StreamKey, chunk: Chunk) {
        let Some(Stream::Serving(serving)) = self.streams.get_mut(key) else { return };
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
                    return self.break_off(key, code::TOO_LARGE);
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
        let Some(Stream::Serving(serving)) = self.streams.get_mut(key) else { return };
        self.claims.push_back(Claim::Keep { key, bytes: request.len() as u64, hold: Hold::Request });
        serving.state = State::Queued { request, deadline };
        if self.deadlines.get(Due::Stream(key)).is_none_or(|set| set > deadline) {
            self.deadlines.set(Due::Stream(key), Some(deadline));
        }
        self.turns.wait(key);
    }

    /// The next change of what streams hold.
    pub(crate) fn poll_claim(&mut self) -> Option<Claim> {
        self.claims.pop_front()
    }

    /// The request to hand over next, and what it and its largest answer hold. Where there is room, the parent calls
    /// [`hand_over`](Self::hand_over), else [`hold_back`](Self::hold_back).
    pub(crate) fn next_request(&mut self) -> Option<(StreamKey, u64)> {
        let key = self.turns.next()?;
        let Some(Stream::Serving(Serving { state: State::Queued { request, .. }, .. })) =
            self.streams.get(key)
        else {
            self.turns.leave(key);
            return None;
        };
        let answer = self.links.get(&key.link).map_or(0, |peer| peer.max_response);
        Some((key, request.len() as u64 + u64::from(answer)))
    }

    /// There is no memory for what [`next_request`](Self::next_request) named.
    pub(crate) fn hold_back(&mut self, key: StreamKey) {
        self.turns.hold_back(key.link);
    }

    /// There may be memory again for what was held back.
    pub(crate) fn try_again(&mut self) {
        self.turns.try_again();
    }

    /// The application gets what [`next_request`](Self::next_request) named.
    pub(crate) fn hand_over(&mut self, key: StreamKey) {
        let Some(peer) = self.links.get(&key.link).map(|peer| peer.id) else { return };
        let Some(Stream::Serving(serving)) = self.streams.get_mut(key) else { return };
        let State::Queued { request, deadline } = &mut serving.state else { return };
        let (request, deadline) = (std::mem::take(request), *deadline);
        let ticket = self.tickets.next();
        serving.state = State::Handling { ticket, deadline };
        self.incoming.insert(ticket, key);
        let others_wait = self.turns.hand(key, ticket);
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
        self.blame(key, fault);
    }

    /// The caller does not wait any more: a request is not handed over, or the application need not answer it.
    fn cancel_work(&mut self, now: Instant, key: StreamKey) {
        let Some(Stream::Serving(serving)) = self.streams.get(key) else { return };
        match serving.state {
            State::Queued { .. } => self.turns.leave(key),
            State::Handling { ticket, .. } => {
                self.incoming.remove(ticket);
                self.turns.done(now, ticket);
                self.events.push_back(Event::Cancelled { ticket });
            }
            State::Receiving { .. } | State::Answered { .. } | State::Writing { .. } => {}
        }
    }

    pub(super) fn request_ended(&mut self, now: Instant, key: StreamKey) {
        if let Some(Stream::Serving(Serving { state: State::Receiving { .. }, .. })) = self.streams.get(key) {
            self.bad_request(now, key, CUT_SHORT);
        }
    }

    /// The caller broke off one of the directions: the call is given up.
    pub(super) fn caller_gave_up(&mut self, now: Instant, key: StreamKey) {
        self.cancel_work(now, key);
        self.charge_unread(now, key);
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
        let max = self.links.get(&key.link).map_or(0, |peer| peer.max_response);
        if len(&answer) > u64::from(max) {
            return Err(CommandRefused::TooLarge);
        }
        self.incoming.remove(ticket);
        self.turns.done(now, ticket);
        if let Some(Stream::Serving(serving)) = self.streams.get_mut(key) {
            self.claims.push_back(Claim::Keep { key, bytes: len(&answer), hold: Hold::Answer(now) });
            serving.state = State::Answered { answer, since: now };
            self.asks.push_back(Ask::Write(key));
        }
        Ok(ticket)
    }

    pub(super) fn write_answer(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(Stream::Serving(serving)) = self.streams.get_mut(key) else { return };
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
        let State::Writing { pending, size, .. } = &serving.state else { return };
        if pending.is_empty() {
            self.charge_unread(now, key);
            self.forget_stream(key);
            return self.asks.extend([Ask::Finish(key), Ask::Stop(key, code::CANCELLED)]);
        }
        if out.len() > before {
            // All of it is held until the last byte has gone: its parts share one allocation.
            self.claims.push_back(Claim::Keep { key, bytes: *size, hold: Hold::Answer(now) });
        }
    }

    pub(super) fn stream_overdue(&mut self, now: Instant, key: StreamKey) {
        let Some(Stream::Serving(serving)) = self.streams.get(key) else {
            self.forget_stream(key); // a caller's stream that is answered, and whose end does not come
            return self.break_off(key, code::TIMEOUT);
        };
        let due = serving.state.due();
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
        self.cancel_work(now, key);
        self.charge_unread(now, key);
        self.forget_stream(key);
        self.break_off(key, code::TIMEOUT);
    }

    /// An answer that is read late costs its link as if it had been handled meanwhile, by the part of the memory it held.
    fn charge_unread(&mut self, now: Instant, key: StreamKey) {
        let Some(Stream::Serving(serving)) = self.streams.get(key) else { return };
        let (size, since) = match &serving.state {
            State::Answered { answer, since } => (len(answer), *since),
            State::Writing { size, since, .. } => (*size, *since),
            State::Receiving { .. } | State::Queued { .. } | State::Handling { .. } => return,
        };
        let time = u128::from(nanos(now.since(since))) * u128::from(size) / u128::from(self.memory.max(1));
        self.turns.charge(key.link, u64::try_from(time).unwrap_or(u64::MAX));
    }

    /// Takes a stream off the books; a request's slot is free again.
    pub(super) fn forget_stream(&mut self, key: StreamKey) {
        self.deadlines.set(Due::Stream(key), None);
        let Some(Stream::Serving(serving)) = self.streams.remove(key) else { return };
        self.claims.push_back(Claim::Free(key));
        if let Some(peer) = self.links.get_mut(&key.link) {
            peer.serving = peer.serving.saturating_sub(1);
            peer.refusing = peer.refusing.saturating_sub(u32::from(serving.refused));
        }
    }

    /// All requests of a link are off, and it is forgotten.
    pub(super) fn link_ended(&mut self, now: Instant, link: LinkId) {
        for key in self.streams.of_link(link) {
            self.cancel_work(now, key);
            self.forget_stream(key);
        }
        self.turns.remove(link);
        self.links.remove(&link);
    }

    /// Bytes of the request that can be taken; they are reserved.
    pub(super) fn request_room(serving: &Serving) -> usize {
        match &serving.state {
            State::Receiving { inbox, reserved, .. } => {
                inbox.room().min(reserved.saturating_sub(inbox.held()))
            }
            _ if serving.refused => 0,
            _ => 1, // one byte too many shows a fault
        }
    }
}
