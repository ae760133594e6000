//! Messages for the peer, made when the transport asks.

use bytes::BytesMut;

use super::codec::{Head, Kind};
use super::session::{Mplex, Receiving, Sending};
use super::{DATA_MAX, Event};

/// Bytes of the longest head of ours: a number of 60 bits, and a length below 2^21.
const HEAD: usize = 9 + 3;

impl Mplex {
    /// Appends messages of at most `room` bytes together to `out`: resets first, then the streams in turn. `false`: there is nothing
    /// to send, or not enough room for it.
    pub fn poll_transmit(&mut self, out: &mut BytesMut, room: usize) -> bool {
        let start = out.len();
        while out.len() - start + 2 * HEAD < room && self.put_message(out, room - (out.len() - start)) {}
        out.len() > start
    }

    /// One message, or an opening and one.
    fn put_message(&mut self, out: &mut BytesMut, room: usize) -> bool {
        if let Some(stream) = self.output.resets.pop_front() {
            Head { kind: Kind::Reset, stream, len: 0 }.put(out);
            return true;
        }
        let Some(id) = self.output.ready.pop() else { return false };
        let before = out.len();
        let Some(stream) = self.streams.get_mut(&id) else { return true };
        if std::mem::take(&mut stream.to_open) {
            Head { kind: Kind::New, stream: id, len: 0 }.put(out);
        }
        let room = room.saturating_sub(out.len() - before + HEAD).min(DATA_MAX);
        let len = stream.queue.len().min(room);
        if len > 0 {
            Head { kind: Kind::Data, stream: id, len }.put(out);
            let mut left = len;
            while let Some(part) = stream.queue.pop(left) {
                left -= part.len();
                out.extend_from_slice(&part);
            }
        } else if stream.sending == Sending::Finishing && stream.queue.is_empty() {
            Head { kind: Kind::Close, stream: id, len: 0 }.put(out);
            stream.sending = Sending::Ended;
            match stream.receiving {
                Receiving::Insisted => self.output.resets.push_back(id),
                Receiving::Stopped => self.output.unwanted.add(id, ()),
                Receiving::Open | Receiving::Ended | Receiving::Over => {}
            }
        }
        if stream.has_output() {
            self.output.ready.mark(id);
        }
        if stream.unblocked() {
            self.events.push_back(Event::Writable(id));
        }
        self.remove_if_over(id);
        true
    }
}
