//! [`Control`] as one of the parent's machines.

use weir_base::stream::{Ask, Class, Incoming, LinkInfo, OpenError};
use weir_base::{Instant, LinkId, Rope, StreamKey};

use super::line::{Line, Stage};
use super::{Control, Keys, MALFORMED, Notice, PROTOCOL, SECOND_STREAM, codec};
use crate::framing::{code, pour};
use crate::machine::{Counters, Machine, Negotiated, Opened};

/// Room for what is thrown away on a link that is closing, in bytes.
const DISCARD: usize = codec::MAX_MESSAGE;

impl Machine for Control {
    fn link_up(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        self.next_key.get_or_insert(now + self.config.key_life);
        self.lines.insert(link, Box::new(Line::new(now, info)));
        if info.dialler {
            self.asks.push_back(Ask::Open { link, protocol: PROTOCOL, class: Class::Control, tag: 0 });
        }
        self.retime(link);
    }

    fn link_ready(&mut self, _: Instant, _: LinkId, _: &Negotiated) {}

    fn link_down(&mut self, _: Instant, link: LinkId) {
        self.lines.remove(&link);
        self.deadlines.set(link, None);
    }

    fn handle_opened(&mut self, _: Instant, key: StreamKey, opened: Opened) {
        let Some(line) = self.lines.get_mut(&key.link) else {
            let late = code::CANCELLED; // its link has gone on without control
            return self.asks.extend([Ask::Reset(key, late), Ask::Stop(key, late)]);
        };
        match opened {
            Opened::Local { .. } => {}
            Opened::Peer { lane: 0 } if !line.dialler && line.stream.is_none() => {}
            Opened::Peer { lane: 0 } => {
                self.asks.push_back(Ask::Blame(key.link, SECOND_STREAM));
                return self.asks.extend([Ask::Reset(key, code::FAULT), Ask::Stop(key, code::FAULT)]);
            }
            Opened::Peer { .. } => {
                let unknown = code::UNKNOWN_CHANNEL;
                return self.asks.extend([Ask::Reset(key, unknown), Ask::Stop(key, unknown)]);
            }
        }
        line.stream = Some(key);
        line.writable = true;
        self.asks.push_back(Ask::Write(key));
    }

    /// The link is closing, or the hello deadline ends it.
    fn handle_refused(&mut self, _: Instant, _: u64, _: OpenError) {}

    fn class(&self, _: u8) -> Class {
        Class::Control
    }

    fn room(&self, key: StreamKey) -> usize {
        let line = self.lines.get(&key.link).filter(|line| line.stream == Some(key));
        line.map_or(0, |line| match line.stage {
            Stage::Open { .. } if line.up.is_none() => 0,
            Stage::Hello | Stage::Open { .. } => line.inbox.room(),
            Stage::Leaving { .. } | Stage::Heard { .. } | Stage::Ended { .. } | Stage::Closed => DISCARD,
        })
    }

    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        let link = key.link;
        let Some(line) = self.lines.get_mut(&link).filter(|line| line.stream == Some(key)) else { return };
        let over = !matches!(line.stage, Stage::Hello | Stage::Open { .. });
        match input {
            Incoming::Data(chunk) if !over => {
                line.inbox.push(chunk);
                self.read(now, link);
            }
            Incoming::Data(_) => {}
            // Whatever the code of a reset is: the answer of a libp2p node to the name can be lost beside it.
            Incoming::Reset(_) | Incoming::Stopped(code::UNKNOWN_CHANNEL) if line.is_unheard() => {
                self.give_up(link, code::UNKNOWN_CHANNEL);
            }
            Incoming::End | Incoming::Reset(_) => self.ended(now, link),
            // A libp2p node that refuses the name over QUIC stops the stream too, and the stop may be read first. Where no refusal
            // follows, the time for hello decides.
            Incoming::Stopped(_) if line.is_silent() => line.writable = false,
            Incoming::Stopped(_) => {
                line.writable = false;
                self.ended(now, link);
            }
        }
        self.retime(link);
    }

    fn poll_write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(line) =
            self.lines.get_mut(&key.link).filter(|line| line.stream == Some(key) && line.writable)
        else {
            return;
        };
        let mut left = room;
        loop {
            left -= pour(&mut line.outgoing.pending, left, out);
            if !line.outgoing.pending.is_empty() {
                break;
            }
            let written = line.encode_next(now, &self.mine, &mut self.rng);
            self.counters.messages_out += written;
            if written == 0 {
                break;
            }
        }
        if let Stage::Leaving { reason, encoded: true, .. } = line.stage
            && line.outgoing.pending.is_empty()
        {
            line.stage = Stage::Closed;
            self.asks.extend([Ask::Finish(key), Ask::Close(key.link, reason)]);
        }
        self.retime(key.link);
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.next_key.is_some_and(|due| due <= now) {
            self.rotate(now);
        }
        if self.key_expiry().is_some_and(|due| due <= now) {
            self.keys = Keys { previous: None, ..self.keys };
            self.notices.push_back(Notice::OwnKeys(self.keys));
        }
        while let Some(link) = self.deadlines.pop_due(now) {
            self.due(now, link);
        }
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let line = self.deadlines.next().and_then(|(due, link)| {
            let (_, timer) = self.lines.get(&link)?.due(&self.config)?;
            Some((due, timer.as_str()))
        });
        let rotation = self.next_key.map(|due| (due, "short-id key rotation"));
        let expiry = self.key_expiry().map(|due| (due, "short-id key expiry"));
        [line, rotation, expiry].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Control {
    /// Handles the messages that are complete.
    pub(super) fn read(&mut self, now: Instant, link: LinkId) {
        loop {
            let Some(line) = self.lines.get_mut(&link) else { return };
            match line.stage {
                Stage::Leaving { .. } | Stage::Heard { .. } | Stage::Ended { .. } | Stage::Closed => return,
                Stage::Open { .. } if line.up.is_none() => return, // the rest stays until the peer is proven
                Stage::Hello | Stage::Open { .. } => {}
            }
            match line.inbox.next(now) {
                Ok(Some(message)) => {
                    if let Err(leave) = self.message(now, link, &message) {
                        self.leave(now, link, &leave);
                    }
                }
                Ok(None) => return,
                Err(_) => return self.leave(now, link, &MALFORMED.into()),
            }
        }
    }
}
