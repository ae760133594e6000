//! Frames of the peer.

use bytes::Bytes;
use weir_base::{Chunk, Fault, Instant};

use super::frame::{HEADER, Header, Kind, flag};
use super::session::Yamux;
use super::stream::{Opening, Sending, Stream};
use super::{ACK_BACKLOG, Event, OPENED_TWICE, STORM, UNKNOWN_STREAM, WINDOW_MIN, WRONG_STREAM, away, code};

/// Resets that wait to be sent when a peer opens another stream.
const RESETS_MAX: usize = 1_024;

/// What has come of the frame that is not complete.
#[derive(Debug, Default)]
pub(super) struct Input {
    header: [u8; HEADER],
    filled: usize, // of the header, < HEADER between inputs
    body: Option<Body>,
}

/// The data that follows a header.
#[derive(Clone, Copy, Debug)]
struct Body {
    stream: u32,
    left: u32,
    ends: bool, // FIN was in the header
}

impl Input {
    /// Takes a header off `input`; `None` where it is not complete.
    fn header(&mut self, input: &mut Bytes) -> Option<[u8; HEADER]> {
        let wanted = self.header.get_mut(self.filled..)?;
        let part = input.split_to(wanted.len().min(input.len()));
        for (slot, byte) in wanted.iter_mut().zip(&part) {
            *slot = *byte;
        }
        self.filled += part.len();
        if self.filled < HEADER {
            return None;
        }
        self.filled = 0;
        Some(self.header)
    }
}

impl Yamux {
    /// Bytes of the peer, split anywhere; at most [`room`](Self::room) of them, where memory is to stay within its limit. Slices
    /// of `input` are kept by reference until the next call, and copied then where they would pin more than twice their length.
    pub fn received(&mut self, now: Instant, mut input: Bytes) {
        for id in std::mem::take(&mut self.fresh) {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.receiver.settle();
            }
        }
        let pinned = input.len();
        while !self.life.failed && !input.is_empty() {
            if let Some(body) = self.input.body.take() {
                self.data(body, &mut input, pinned);
                continue;
            }
            let Some(header) = self.input.header(&mut input) else { return };
            if let Err(fault) = Header::decode(header).and_then(|header| self.frame(now, header)) {
                self.fail(fault, away::PROTOCOL);
            }
        }
    }

    fn frame(&mut self, now: Instant, header: Header) -> Result<(), Fault> {
        match header.kind {
            Kind::Data | Kind::Window => self.stream_frame(now, header),
            Kind::Ping | Kind::Away if header.stream != 0 => Err(WRONG_STREAM),
            Kind::Ping if header.has(flag::ACK) => {
                let Some(rtt) = self.pings.answered(now, &self.config, header.length) else {
                    return self.idle.take(now);
                };
                self.events.push_back(Event::Rtt(rtt));
                Ok(())
            }
            Kind::Ping => {
                self.idle.take(now)?;
                if self.pings.asked(header.length) { Ok(()) } else { Err(STORM) }
            }
            Kind::Away => {
                if std::mem::replace(&mut self.life.away_heard, true) {
                    return self.idle.take(now);
                }
                self.events.push_back(Event::Away(header.length));
                Ok(())
            }
        }
    }

    /// The user had no use for a stream of the peer. Peers that open such streams faster than the rate for frames that move nothing are
    /// to blame.
    pub fn count_useless(&mut self, now: Instant) {
        if self.life.failed {
            return;
        }
        if let Err(fault) = self.idle.take(now) {
            self.fail(fault, away::PROTOCOL);
        }
    }

    /// A frame of one stream, without the bytes of its data.
    fn stream_frame(&mut self, now: Instant, header: Header) -> Result<(), Fault> {
        let id = header.stream;
        if id == 0 {
            return Err(WRONG_STREAM);
        }
        let mut moves = header.has(flag::SYN); // a refusal is counted as such
        if moves {
            self.opened_by_peer(now, id)?;
        }
        if !self.ids.was_opened(id) {
            return Err(UNKNOWN_STREAM);
        }
        if header.has(flag::ACK) {
            moves |= self.acknowledged(id)?;
        }
        if header.kind == Kind::Data {
            moves |= self.announced(header)?;
        } else if !header.has(flag::RST) {
            self.credited(id, header.length)?;
            moves |= header.has(flag::FIN) && self.ended(id);
        }
        if header.has(flag::RST) {
            let code = if header.kind == Kind::Window { header.length } else { code::NONE };
            moves |= self.reset_by_peer(now, id, code)?;
        }
        if moves { Ok(()) } else { self.idle.take_stray(now) }
    }

    fn opened_by_peer(&mut self, now: Instant, id: u32) -> Result<(), Fault> {
        if self.ids.is_ours(id) {
            return Err(WRONG_STREAM);
        }
        let is_taken = self.streams.contains_key(&id) || self.output.unwanted.holds(id);
        if is_taken || self.output.ends(id) {
            return Err(OPENED_TWICE); // the end of the one before would be taken for the end of this one
        }
        if self.output.resets.len() >= RESETS_MAX {
            return Err(STORM); // it opens streams and does not read what becomes of them
        }
        self.ids.highest = self.ids.highest.max(id);
        let full = self.counts.inbound >= self.config.max_inbound || self.counts.offered >= ACK_BACKLOG;
        if full || self.life.away_said {
            let code = if full { code::LIMIT } else { code::CLOSING };
            self.idle.take(now)?;
            self.idle.expect_rest(WINDOW_MIN);
            return if self.output.refuse(id, code) { Ok(()) } else { Err(STORM) };
        }
        self.streams.insert(id, Box::new(Stream::new(Opening::Offered, now)));
        self.counts.inbound += 1;
        self.counts.offered += 1;
        self.events.push_back(Event::Opened(id));
        Ok(())
    }

    /// Whether this is the first time that the peer says so.
    fn acknowledged(&mut self, id: u32) -> Result<bool, Fault> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(false) };
        match stream.opening {
            Opening::ToOpen => Err(UNKNOWN_STREAM), // not yet told
            Opening::Opened => {
                stream.opening = Opening::Done;
                self.counts.unacked -= 1;
                self.tell_openable();
                Ok(true)
            }
            Opening::Offered | Opening::ToAccept | Opening::Done => Ok(false),
        }
    }

    /// Data follows. That of a stream which is gone is dropped. Returns whether the frame moves anything: bytes, or an end.
    fn announced(&mut self, header: Header) -> Result<bool, Fault> {
        let (stream, left) = (header.stream, header.length);
        let ends = header.has(flag::FIN);
        if let Some(stream) = self.streams.get_mut(&stream) {
            if stream.opening == Opening::ToOpen {
                return Err(UNKNOWN_STREAM);
            }
            stream.receiver.announced(left)?;
        } else {
            self.idle.take_late(left)?;
        }
        if left > 0 {
            if let Some(code) =
                self.output.unwanted.take(stream).filter(|_| self.output.resets.len() < RESETS_MAX)
            {
                self.output.resets.push_back((stream, code));
            }
            self.input.body = Some(Body { stream, left, ends });
            return Ok(true);
        }
        Ok(ends && self.ended(stream))
    }

    fn credited(&mut self, id: u32, delta: u32) -> Result<(), Fault> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.opening == Opening::ToOpen {
            return Err(UNKNOWN_STREAM);
        }
        stream.sender.add_credit(delta)?;
        if stream.sender.unblocked() {
            self.events.push_back(Event::Writable(id));
        }
        if stream.sender.has_output() {
            self.output.data.mark(id);
        }
        Ok(())
    }

    /// Bytes of the body that the last header announced.
    fn data(&mut self, mut body: Body, input: &mut Bytes, pinned: usize) {
        let wanted = usize::try_from(body.left).unwrap_or(usize::MAX);
        let bytes = input.split_to(wanted.min(input.len()));
        body.left -= u32::try_from(bytes.len()).unwrap_or(body.left); // no more than is left was taken
        if let Some(stream) = self.streams.get_mut(&body.stream) {
            let before = stream.receiver.unread();
            if stream.receiver.take(Chunk::new(bytes, pinned)) {
                self.events.push_back(Event::Readable(body.stream));
            }
            self.counts.unread += stream.receiver.unread() - before;
            if self.fresh.last() != Some(&body.stream) {
                self.fresh.push(body.stream);
            }
        }
        if body.left > 0 {
            self.input.body = Some(body);
        } else if body.ends {
            self.ended(body.stream);
        }
    }

    /// FIN: the peer's direction has ended. Whether that was not known.
    fn ended(&mut self, id: u32) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else {
            return self.output.unwanted.take(id).is_some();
        };
        let news = !stream.receiver.has_ended();
        if stream.receiver.end() {
            self.events.push_back(Event::Readable(id));
        }
        self.remove_if_over(id);
        news
    }

    /// Whether there was anything to break off, or it is counted already.
    fn reset_by_peer(&mut self, now: Instant, id: u32, code: u32) -> Result<bool, Fault> {
        // what the peer opens and resets costs this node more than the peer
        let counted = !self.ids.is_ours(id);
        if counted {
            self.idle.take(now)?;
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            self.output.ended(id);
            return Ok(counted);
        };
        if stream.opening == Opening::ToOpen {
            return Err(UNKNOWN_STREAM);
        }
        if stream.receiver.has_ended() && stream.sender.state == Sending::Ended {
            return Ok(counted); // there is nothing left to break off, and nothing to tell
        }
        let before = stream.receiver.unread();
        stream.receiver.reset();
        self.counts.unread -= before - stream.receiver.unread();
        stream.sender.end();
        self.events.push_back(Event::Reset(id, code));
        self.remove_if_over(id);
        Ok(true)
    }
}
