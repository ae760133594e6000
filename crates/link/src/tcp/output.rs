//! A connection over a byte stream: what goes out, one record at a time.

use bytes::BytesMut;
use weir_base::stream::Goodbye;

use super::goodbye::code_of;
use super::link::{FEED, Phase, TcpLink};
use super::stream::id;
use crate::carrier::Scope;
use crate::streams::{SendEnd, Writers};

/// Bytes that a stream is given at a time: one frame.
const PIECE: usize = weir_libp2p::yamux::FRAME_MAX;

impl TcpLink {
    /// Appends the next bytes for the peer to `out`. `None`: there are none now. The flag says that this direction ends behind
    /// them.
    pub(super) fn chunk(&mut self, scope: &mut Scope<'_>, out: &mut BytesMut) -> Option<bool> {
        self.now = scope.now;
        let before = out.len();
        let finish = self.put(scope, out)?;
        self.stats.carried.bytes_out += (out.len() - before) as u64;
        Some(finish)
    }

    fn put(&mut self, scope: &mut Scope<'_>, out: &mut BytesMut) -> Option<bool> {
        match self.phase {
            Phase::Connecting | Phase::Closed | Phase::Draining => None,
            Phase::Handshake | Phase::Proven => self.conn.poll_transmit(scope.now, out).then_some(false),
            Phase::Up => {
                self.feed();
                let any = self.conn.poll_transmit(scope.now, out);
                if any {
                    self.tell_unblocked(scope.link, scope.events);
                }
                any.then_some(false)
            }
            Phase::Flushing(reason) => {
                self.feed();
                if self.conn.poll_transmit(scope.now, out) {
                    return Some(false);
                }
                let written =
                    self.sending.backlog.outbox.queued() == 0 && self.sending.backlog.outbox.nobody_waits();
                if !written || self.opens.any_waits() {
                    return None;
                }
                Some(self.last_words(scope, reason, out))
            }
            Phase::Cutting(reason) => Some(self.last_words(scope, reason, out)),
        }
    }

    /// The reason of the end, and the end: nothing follows.
    fn last_words(&mut self, scope: &mut Scope<'_>, reason: Goodbye, out: &mut BytesMut) -> bool {
        if let Some(muxer) = self.conn.muxer() {
            muxer.close(code_of(reason));
        }
        self.conn.poll_transmit(scope.now, out);
        self.phase = Phase::Closed;
        self.pipe.said_end = true;
        true
    }

    /// Gives the muxer what goes into the next record, by class.
    fn feed(&mut self) {
        let mut left = FEED;
        while left > 0
            && let Some(stream) = self.sending.backlog.outbox.pop()
        {
            self.answer(stream);
            let (Some(entry), Some(muxer)) = (self.streams.get_mut(&stream), self.conn.muxer()) else {
                continue;
            };
            let send = &mut entry.send;
            send.scheduled = false;
            let most = left.min(PIECE).min(muxer.write_room(id(stream)));
            if let Some(mut bytes) = send.queue.pop(most) {
                let (len, class) = (bytes.len(), send.class);
                left -= len;
                self.sending.backlog.outbox.sub(class, len as u64);
                self.sending.backlog.outbox.served(class, len as u64);
                muxer.write(id(stream), &mut bytes);
            }
            if !send.queue.is_empty() {
                if most > 0 {
                    self.schedule(stream); // without credit the muxer tells when there is some
                }
                continue;
            }
            if send.end == SendEnd::Finishing {
                if let Some(due) = entry.ends_from.filter(|due| *due > self.now && self.phase == Phase::Up) {
                    self.sending.pausing.set(stream, Some(due));
                    continue;
                }
                muxer.finish(id(stream));
                send.end = SendEnd::Over;
                self.remove_if_over(stream);
            }
        }
    }
}
