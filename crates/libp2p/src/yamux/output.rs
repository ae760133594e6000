//! Frames for the peer, made when the transport asks.

use std::collections::VecDeque;

use bytes::BytesMut;
use weir_base::{Instant, Ready};

use super::frame::{HEADER, Header, Kind, flag};
use super::session::Yamux;
use super::stream::{Opening, Stream};
use super::{Event, FRAME_MAX};
use crate::unwanted::Unwanted;

/// Refusals that wait to be sent. A peer that opens more than it reads answers to is breaking the protocol.
const REFUSALS_MAX: usize = 256;

/// Data is not cut into pieces below this, in bytes, only because little room is left in the transport's record.
const PIECE_MIN: usize = 1_024;

/// What waits to be sent, but for the streams' own bytes.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) away: Option<u32>,
    pub(super) resets: VecDeque<(u32, u32)>, // of streams that were open: a peer that does not read opens no more
    refusals: VecDeque<(u32, u32)>,          // <= REFUSALS_MAX
    pub(super) control: Ready<u32>,          // streams with flags or a window to send
    pub(super) data: Ready<u32>,             // streams with bytes or an end to send
    pub(super) unwanted: Unwanted<u32, u32>, // with the code that each was stopped with
}

impl Output {
    /// A stream that is not taken; `false` where too many such answers wait.
    pub(super) fn refuse(&mut self, id: u32, code: u32) -> bool {
        self.refusals.push_back((id, code));
        self.refusals.len() <= REFUSALS_MAX
    }

    /// Whether the peer is still to be told that a stream of this number has ended.
    pub(super) fn ends(&self, id: u32) -> bool {
        self.resets.iter().chain(&self.refusals).any(|(other, _)| *other == id)
    }

    /// The peer has ended a stream itself, and may use its number again: it is told nothing more of it.
    pub(super) fn ended(&mut self, id: u32) {
        self.resets.retain(|(other, _)| *other != id);
        self.refusals.retain(|(other, _)| *other != id);
        self.unwanted.take(id);
    }

    pub(super) fn forget(&mut self, id: u32) {
        self.control.remove(id);
        self.data.remove(id);
    }
}

impl Yamux {
    /// Appends frames of at most `room` bytes together to `out`: answers, resets and windows first, then the streams' bytes in
    /// turn. `false`: there is nothing to send, or not enough room for it.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut, room: usize) -> bool {
        let start = out.len();
        loop {
            let left = room.saturating_sub(out.len() - start);
            if left < HEADER || !self.put_frame(now, out, left) {
                return out.len() > start;
            }
        }
    }

    /// One frame; `left` holds a header at least.
    fn put_frame(&mut self, now: Instant, out: &mut BytesMut, left: usize) -> bool {
        let header = |kind, flags, stream, length| Header { kind, flags, stream, length };
        if let Some(code) = self.output.away.take() {
            header(Kind::Away, 0, 0, code).put(out);
            return true;
        }
        if self.life.failed {
            return false;
        }
        if let Some(value) = self.pings.next_pong() {
            header(Kind::Ping, flag::ACK, 0, value).put(out);
            return true;
        }
        if let Some(value) = self.pings.send(now) {
            header(Kind::Ping, flag::SYN, 0, value).put(out);
            return true;
        }
        let reset = self.output.resets.pop_front().or_else(|| self.output.refusals.pop_front());
        if let Some((id, code)) = reset {
            header(Kind::Window, flag::RST, id, code).put(out);
            return true;
        }
        while let Some(id) = self.output.control.pop() {
            if let Some((flags, delta)) = self.control_of(now, id) {
                header(Kind::Window, flags, id, delta).put(out);
                return true;
            }
        }
        self.put_data(out, left)
    }

    /// Flags and window of a stream; `None` where a data frame will carry the flags, and the window is as it should be.
    fn control_of(&mut self, now: Instant, id: u32) -> Option<(u16, u32)> {
        let rtt = self.pings.rtt();
        let stream = self.streams.get_mut(&id)?;
        let delta = stream.receiver.update(now, rtt, self.config.window_max, &mut self.budget);
        if delta == 0 && stream.sender.has_output() {
            return None;
        }
        let flags = self.flags_of(id);
        (delta > 0 || flags != 0).then_some((flags, delta))
    }

    /// SYN or ACK, once.
    fn flags_of(&mut self, id: u32) -> u16 {
        let Some(stream) = self.streams.get_mut(&id) else { return 0 };
        match stream.opening {
            Opening::ToOpen => {
                stream.opening = Opening::Opened;
                flag::SYN
            }
            Opening::Offered => {
                stream.opening = Opening::Done;
                self.counts.offered -= 1;
                flag::ACK
            }
            Opening::ToAccept => {
                stream.opening = Opening::Done;
                flag::ACK
            }
            Opening::Opened | Opening::Done => 0,
        }
    }

    /// The next bytes or end of a stream, in turn.
    fn put_data(&mut self, out: &mut BytesMut, left: usize) -> bool {
        while let Some(id) = self.output.data.first() {
            let room = (left - HEADER).min(FRAME_MAX);
            let Some(stream) = self.streams.get(&id).filter(|stream| stream.sender.has_output()) else {
                self.output.data.pop();
                continue;
            };
            let len = stream.sender.sendable().min(room);
            if len < stream.sender.sendable().min(PIECE_MIN) {
                return false;
            }
            self.output.data.pop();
            let mut flags = self.flags_of(id);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            // The end has a frame of its own: js-libp2p acts on it before the bytes of the same frame.
            if len == 0 && stream.sender.take_end() {
                flags |= flag::FIN;
            }
            let length = u32::try_from(len).unwrap_or(0); // <= FRAME_MAX
            Header { kind: Kind::Data, flags, stream: id, length }.put(out);
            put_bytes(stream, len, out);
            self.idle.expect_updates(length);
            if stream.sender.has_output() {
                self.output.data.mark(id);
            }
            if stream.sender.unblocked() {
                self.events.push_back(Event::Writable(id));
            }
            self.remove_if_over(id);
            return true;
        }
        false
    }
}

/// Takes `len` bytes that are there off the stream, and its end with the last of them.
fn put_bytes(stream: &mut Stream, len: usize, out: &mut BytesMut) {
    out.reserve(len);
    let mut left = len;
    while let Some(part) = stream.sender.pop(left) {
        left -= part.len();
        out.extend_from_slice(&part);
    }
}
