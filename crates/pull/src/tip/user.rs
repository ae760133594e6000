//! [`Tip`] as one of the parent's machines.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Ask, Class, Incoming, LinkInfo, OpenError};
use weir_base::{Chunk, Fault, Instant, LinkId, Rope, StreamKey, UnixTime};

use super::codec::{self, EVIDENCE, FromClient, FromServer, TIP, WANT, WITHDRAWN};
use super::peer::{Crossed, Next, Peer, Server, Timer, Wanting};
use super::{Event, MAX_ORPHANS, Tip, Undecided};
use crate::framing::{self, MALFORMED, Message, STALLED, UNKNOWN_TYPE, code};
use crate::machine::{Counters, Machine, Negotiated, Opened};

/// Pause before a stream that the peer broke off is opened again.
const REOPEN: Duration = Duration::from_secs(10);

/// A message that no `Want` permits.
const UNASKED: Fault = Fault::misbehaved("a tip that was not asked for");
/// A `Want` while one is open, or with a wrong count.
const WRONG_WANT: Fault = Fault::misbehaved("a want for a tip that does not follow from what was sent");
/// The same again.
const REPEATED: Fault = Fault::misbehaved("the same tip twice in a row");
/// `Withdrawn` without a `Tip`.
const NOTHING_WITHDRAWN: Fault = Fault::misbehaved("took back a tip it had not sent");
/// Messages of unknown types that a client may send per second, and at once.
const SKIPS: u64 = 16;
/// More of them.
const TOO_MANY_SKIPPED: Fault =
    Fault::misbehaved("more than 16 messages per second that a tip stream does not need");
/// Above the profile's rate.
const TOO_MANY: Fault = Fault::misbehaved("more tips than the channel's rate");

impl Machine for Tip {
    fn link_up(&mut self, _: Instant, link: LinkId, info: &LinkInfo) {
        self.links.insert(link, Peer::new(info.peer, &self.config, &self.relay));
        self.open(link);
    }

    fn link_ready(&mut self, _: Instant, link: LinkId, negotiated: &Negotiated) {
        if let Some(peer) = self.links.get_mut(&link) {
            peer.server.max_value = negotiated.max_answer as usize;
        }
    }

    fn link_down(&mut self, _: Instant, link: LinkId) {
        self.deadlines.set(link, None);
        let Some(peer) = self.links.remove(&link) else { return };
        if let Wanting::Undecided(ticket) = peer.client.wanting {
            self.orphaned(ticket);
        }
    }

    fn wall(&mut self, now: Instant, wall: UnixTime) {
        self.relay.set_wall(now, wall);
        self.spread(now);
    }

    fn handle_opened(&mut self, _: Instant, key: StreamKey, opened: Opened) {
        let Some(peer) = self.links.get_mut(&key.link) else { return };
        match opened {
            Opened::Local { .. } => {
                peer.client.stream = Some(key);
                self.asks.push_back(Ask::Write(key));
            }
            Opened::Peer { lane: 0 } => {
                let max_value = peer.server.max_value;
                let before = std::mem::replace(&mut peer.server, Server::new(max_value, &self.relay));
                peer.server.stream = Some(key);
                peer.server.bucket = before.bucket;
                if let Some(before) = before.stream {
                    self.break_off(before, code::REPLACED);
                }
                self.retime(key.link);
            }
            Opened::Peer { .. } => self.break_off(key, code::UNKNOWN_CHANNEL),
        }
    }

    fn handle_refused(&mut self, now: Instant, tag: u64, error: OpenError) {
        let link = LinkId(tag);
        if let (OpenError::Limit, Some(peer)) = (error, self.links.get_mut(&link)) {
            peer.client.reopen = Some(now + REOPEN);
            self.retime(link);
        }
    }

    fn class(&self, _: u8) -> Class {
        self.config.class
    }

    fn room(&self, key: StreamKey) -> usize {
        let Some(peer) = self.links.get(&key.link) else { return 0 };
        if peer.client.stream == Some(key) {
            peer.client.inbox.room()
        } else if peer.server.stream == Some(key) {
            peer.server.inbox.room()
        } else {
            0
        }
    }

    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        let Some(peer) = self.links.get_mut(&key.link) else { return };
        let ours = peer.client.stream == Some(key);
        if !ours && peer.server.stream != Some(key) {
            return;
        }
        match input {
            Incoming::Data(chunk) => {
                let read = if ours {
                    self.read_tips(now, key.link, chunk)
                } else {
                    self.read_wants(now, key.link, chunk)
                };
                if let Err(fault) = read {
                    self.blame(now, key, fault);
                }
            }
            Incoming::Reset(code::UNKNOWN_CHANNEL) | Incoming::Stopped(code::UNKNOWN_CHANNEL) if ours => {
                self.close(key);
                self.drop_client(key.link, None);
            }
            Incoming::End | Incoming::Reset(_) | Incoming::Stopped(_) => {
                self.close(key);
                if ours {
                    self.drop_client(key.link, Some(now + REOPEN));
                } else {
                    self.drop_server(key.link);
                }
            }
        }
        self.retime(key.link);
    }

    fn poll_write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(peer) = self.links.get_mut(&key.link) else { return };
        if peer.client.stream == Some(key) {
            let client = &mut peer.client;
            let left = room - framing::pour(&mut client.pending, room, out);
            if client.wanting == Wanting::Due && client.pending.is_empty() && left > 0 {
                let (fields, len) = codec::want(client.processed);
                framing::send(
                    &mut client.pending,
                    left,
                    out,
                    WANT,
                    fields.get(..len).unwrap_or_default(),
                    Bytes::new(),
                );
                client.wanting = Wanting::Open;
                self.counters.messages_out += 1;
            }
        } else if peer.server.stream == Some(key) {
            let left = room - framing::pour(&mut peer.server.pending, room, out);
            if peer.server.permit && peer.server.pending.is_empty() && left > 0 {
                self.write_next(now, key.link, left, out);
                self.retime(key.link);
            }
        }
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.relay.due().is_some_and(|due| due <= now) {
            self.spread(now);
        }
        while let Some(link) = self.deadlines.pop_due(now) {
            self.due(now, link);
            self.retime(link);
        }
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let link = self.deadlines.next().and_then(|(due, link)| {
            let (_, timer) = self.links.get(&link)?.due()?;
            Some((due, timer.as_str()))
        });
        let slot = self.relay.due().map(|due| (due, "slot begins"));
        [link, slot].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Tip {
    fn open(&mut self, link: LinkId) {
        self.asks.push_back(Ask::Open {
            link,
            protocol: self.protocol,
            class: self.config.class,
            tag: link.0,
        });
    }

    fn break_off(&mut self, key: StreamKey, code: u32) {
        self.asks.extend([Ask::Reset(key, code), Ask::Stop(key, code)]);
    }

    fn close(&mut self, key: StreamKey) {
        self.break_off(key, code::CANCELLED);
    }

    /// The peer broke the protocol on a stream: it is over, and opened again later where it is ours.
    fn blame(&mut self, now: Instant, key: StreamKey, fault: Fault) {
        self.asks.push_back(Ask::Blame(key.link, fault));
        self.break_off(key, code::FAULT);
        if self.links.get(&key.link).is_some_and(|peer| peer.client.stream == Some(key)) {
            self.drop_client(key.link, Some(now + REOPEN));
        } else {
            self.drop_server(key.link);
        }
    }

    fn drop_client(&mut self, link: LinkId, reopen: Option<Instant>) {
        let Some(peer) = self.links.get_mut(&link) else { return };
        let wanting = peer.client.wanting;
        peer.client.reset(self.config.max_value as usize);
        peer.client.reopen = reopen;
        if let Wanting::Undecided(ticket) = wanting {
            self.orphaned(ticket);
        }
    }

    fn drop_server(&mut self, link: LinkId) {
        let Some(peer) = self.links.get_mut(&link) else { return };
        let (bucket, skips) = (peer.server.bucket, peer.server.skips);
        peer.server = Server::new(peer.server.max_value, &self.relay);
        (peer.server.bucket, peer.server.skips) = (bucket, skips);
    }

    /// A value may still be decided on though its stream is gone.
    pub(super) fn orphaned(&mut self, ticket: crate::Ticket) {
        self.orphans.push_back(ticket);
        if self.orphans.len() > MAX_ORPHANS
            && let Some(oldest) = self.orphans.pop_front()
        {
            self.undecided.remove(&oldest);
        }
    }

    fn due(&mut self, now: Instant, link: LinkId) {
        let Some(peer) = self.links.get_mut(&link) else { return };
        match peer.due().filter(|(due, _)| *due <= now) {
            Some((_, Timer::Pace)) => {
                peer.server.paused = None;
                self.asks.extend(peer.server.stream.map(Ask::Write));
            }
            Some((_, Timer::Reopen)) => {
                peer.client.reopen = None;
                self.open(link);
            }
            Some((_, Timer::ClientMessage)) => {
                if let Some(key) = peer.client.stream {
                    self.blame(now, key, STALLED);
                }
            }
            Some((_, Timer::ServerMessage)) => {
                if let Some(key) = peer.server.stream {
                    self.blame(now, key, STALLED);
                }
            }
            None => {}
        }
    }

    /// The peer's tips.
    fn read_tips(&mut self, now: Instant, link: LinkId, chunk: Chunk) -> Result<(), Fault> {
        let Some(peer) = self.links.get_mut(&link) else { return Ok(()) };
        peer.client.inbox.push(chunk);
        while let Some(message) = self.next_tip(now, link)? {
            self.counters.messages_in += 1;
            let Some(peer) = self.links.get_mut(&link) else { return Ok(()) };
            let client = &mut peer.client;
            let (rate, burst) = (u64::from(self.config.rate), u64::from(self.config.burst));
            client.bucket.take(now, 1, rate, burst * 2).map_err(|_| TOO_MANY)?;
            let message = FromServer::decode(message).map_err(|_| MALFORMED)?;
            let asked = client.wanting == Wanting::Open;
            let (value, is_tip) = match message {
                FromServer::Skipped => continue,
                FromServer::Unknown => return Err(UNKNOWN_TYPE),
                _ if !asked => return Err(UNASKED),
                FromServer::Withdrawn => {
                    let value = client.last_tip.take().ok_or(NOTHING_WITHDRAWN)?;
                    client.processed += 1;
                    client.wanting = Wanting::Due;
                    peer.crossed = Crossed::default();
                    self.asks.extend(client.stream.map(Ask::Write));
                    if peer.server.permit && peer.server.next(&self.relay, &peer.crossed).is_some() {
                        self.asks.extend(peer.server.stream.map(Ask::Write)); // we may have what it lost
                    }
                    self.events.push_back(Event::Withdrawn { link, peer: peer.id, value });
                    continue;
                }
                FromServer::Tip(value) => (client.inbox.keep(value), true),
                FromServer::Evidence(value) => (client.inbox.keep(value), false),
            };
            let last = if is_tip { &mut client.last_tip } else { &mut client.last_evidence };
            if last.as_ref() == Some(&value) {
                return Err(REPEATED);
            }
            *last = Some(value.clone());
            if is_tip {
                peer.crossed.heard(value.clone());
            }
            let ticket = self.tickets.next();
            client.processed += 1;
            client.wanting = Wanting::Undecided(ticket);
            self.undecided.insert(ticket, Undecided { link, value: value.clone() });
            self.events.push_back(Event::Received { ticket, link, peer: peer.id, value });
        }
        Ok(())
    }

    fn next_tip(&mut self, now: Instant, link: LinkId) -> Result<Option<Message>, Fault> {
        let Some(peer) = self.links.get_mut(&link) else { return Ok(None) };
        peer.client.inbox.next(now).map_err(|_| MALFORMED)
    }

    /// The peer's permits.
    fn read_wants(&mut self, now: Instant, link: LinkId, chunk: Chunk) -> Result<(), Fault> {
        let Some(peer) = self.links.get_mut(&link) else { return Ok(()) };
        let server = &mut peer.server;
        server.inbox.push(chunk);
        while let Some(message) = server.inbox.next(now).map_err(|_| MALFORMED)? {
            self.counters.messages_in += 1;
            match FromClient::decode(&message).map_err(|_| MALFORMED)? {
                FromClient::Want { processed } => {
                    if server.permit || processed != server.sent {
                        return Err(WRONG_WANT);
                    }
                    server.permit = true;
                }
                FromClient::Skipped => {
                    server.skips.take(now, 1, SKIPS, SKIPS).map_err(|_| TOO_MANY_SKIPPED)?;
                }
                FromClient::Unknown => return Err(UNKNOWN_TYPE),
            }
        }
        if server.permit && server.next(&self.relay, &peer.crossed).is_some() {
            self.asks.extend(server.stream.map(Ask::Write));
        }
        Ok(())
    }

    /// Spends the peer's permit, where there is something new and our own rate allows it.
    fn write_next(&mut self, now: Instant, link: LinkId, room: usize, out: &mut Rope) {
        let Some(peer) = self.links.get_mut(&link) else { return };
        let server = &mut peer.server;
        let Some(next) = server.next(&self.relay, &peer.crossed) else { return };
        let (rate, burst) = (u64::from(self.config.rate), u64::from(self.config.burst));
        if let Err(wait) = server.bucket.take(now, 1, rate, burst) {
            server.paused = Some(now + wait);
            return;
        }
        let (kind, value) = match next {
            Next::Evidence(number, value) => {
                server.evidence_from = number + 1;
                server.sent_evidence = Some(value.clone());
                (EVIDENCE, value)
            }
            Next::Tip(value) => {
                server.sent_tip = Some(value.clone());
                peer.crossed.told(value.clone());
                (TIP, value)
            }
            Next::Withdrawn => {
                server.sent_tip = None;
                peer.crossed = Crossed::default();
                (WITHDRAWN, Bytes::new())
            }
        };
        framing::send(&mut server.pending, room, out, kind, &[], value);
        server.permit = false;
        server.sent += 1;
        self.counters.messages_out += 1;
    }
}
