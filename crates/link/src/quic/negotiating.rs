//! The streams of a link on libp2p's terms whose protocol is not agreed on: what they say, and how that ends.

use bytes::Bytes;
use weir_base::{Chunk, Fault, Rope, StreamKey};

use super::connection::Piece;
use super::muxer::Muxer;
use crate::Event;
use crate::carrier::{Scope, Streams};
use crate::streams::negotiation::{LATE, READ, UNKNOWN};
use crate::streams::{NAMED, Outcome, ReceiveEnd, SendEnd};

/// A stream that ended before it said what it is (`docs/spec/streams.md`, "Codes").
const SILENT: u32 = 0;

impl Muxer {
    /// Tells the readers of streams that were refused here, and ends negotiations that took too long.
    pub(super) fn settle_names(&mut self, scope: &mut Scope<'_>) {
        self.naming.at(scope.now);
        for stream in self.naming.take_refused() {
            scope.events.push_back(Event::Readable(StreamKey { link: scope.link, stream }));
        }
        while let Some(stream) = self.naming.pop_late(scope.now) {
            self.break_off(scope, stream, LATE);
        }
    }

    /// What has come on a stream whose protocol is not agreed on.
    pub(super) fn negotiate(&mut self, scope: &mut Scope<'_>, stream: u64) -> Result<(), Fault> {
        let key = StreamKey { link: scope.link, stream };
        loop {
            let came = self.conn.next_piece(stream, READ);
            let taken = if let Piece::Bytes(bytes) = &came { bytes.len() as u64 } else { 0 };
            let windows = self.receiving.credit.returned(scope.now, scope.window, taken);
            self.conn.set_receive_windows(windows);
            let Some(entry) = self.streams.get_mut(stream) else { return Ok(()) };
            let Some(negotiation) = entry.negotiation.as_deref_mut() else { return Ok(()) };
            let (outcome, rest) = match came {
                Piece::Nothing => return Ok(()),
                Piece::Reset(code) => {
                    // The answer may be lost with what the peer broke off, so that this side's direction goes on where it can.
                    let (theirs, writes) = (negotiation.is_theirs(), negotiation.may_write());
                    if writes {
                        self.naming.over(stream, entry);
                        entry.break_reading(key, code, scope.events);
                        self.remove_if_over(stream);
                    } else {
                        self.break_off(scope, stream, if theirs { SILENT } else { code });
                    }
                    return Ok(());
                }
                Piece::End => (negotiation.handle_end(), Bytes::new()),
                Piece::Bytes(mut bytes) => (negotiation.received(&mut bytes), bytes),
            };
            let mut answer = Rope::new();
            answer.push(negotiation.output());
            if !answer.is_empty() {
                self.take(stream, &mut answer);
            }
            if let Some(outcome) = outcome {
                return self.negotiated(scope, stream, outcome, &rest);
            }
        }
    }

    fn negotiated(
        &mut self,
        scope: &mut Scope<'_>,
        stream: u64,
        outcome: Outcome,
        rest: &Bytes,
    ) -> Result<(), Fault> {
        let key = StreamKey { link: scope.link, stream };
        let Some(entry) = self.streams.get_mut(stream) else { return Ok(()) };
        match outcome {
            Outcome::Opened(index) => {
                self.naming.over(stream, entry);
                let Some(protocol) = self.naming.table.owner(index) else { return Ok(()) };
                entry.tell_opened(key, protocol, scope.events);
                self.begun(scope, stream, rest);
            }
            Outcome::Agreed(protocol) => {
                self.naming.over(stream, entry);
                if entry.is_over() {
                    self.remove(stream);
                    return Ok(());
                }
                if protocol >= NAMED {
                    scope.events.push_back(Event::Agreed { key, protocol });
                }
                self.writable(scope, stream);
                self.end_send(stream); // where its user asked for that meanwhile
                self.begun(scope, stream, rest);
            }
            Outcome::Declined => {
                // The answer goes out first.
                self.naming.over(stream, entry);
                if entry.receive.end == ReceiveEnd::Open {
                    entry.receive.end = ReceiveEnd::Over;
                    self.conn.stop(stream, UNKNOWN);
                }
                self.finish(stream);
                self.remove_if_over(stream); // its opener may have stopped it before
            }
            Outcome::Refused => self.break_off(scope, stream, UNKNOWN),
            Outcome::Faulted(fault) => return Err(fault),
        }
        Ok(())
    }

    /// The protocol is agreed on; `rest` came behind the answer.
    fn begun(&mut self, scope: &mut Scope<'_>, stream: u64, rest: &Bytes) {
        let Some(entry) = self.streams.get_mut(stream) else { return };
        if let Some(code) = entry.receive.stop.take() {
            self.conn.stop(stream, code); // its user wanted no more before
            return;
        }
        if !rest.is_empty() {
            entry.receive.push(Chunk::whole(Bytes::copy_from_slice(rest)));
        }
        // Whether more is there only QUIC knows: its reader looks.
        if entry.receive.end != ReceiveEnd::Over && entry.receive.notify() {
            scope.events.push_back(Event::Readable(StreamKey { link: scope.link, stream }));
        }
    }

    /// Breaks an undecided stream off, both ways. Its user hears of it, where there is one.
    fn break_off(&mut self, scope: &mut Scope<'_>, stream: u64, code: u32) {
        let key = StreamKey { link: scope.link, stream };
        let Some(entry) = self.streams.get_mut(stream) else { return };
        let (hidden, writing) = (entry.is_hidden(), entry.send.end == SendEnd::Open);
        self.naming.over(stream, entry);
        self.conn.stop(stream, code);
        if hidden {
            self.reset(stream, code);
            self.streams.remove(stream);
            return;
        }
        entry.break_reading(key, code, scope.events);
        self.reset(stream, code);
        if writing && self.conn.phase.is_up() {
            scope.events.push_back(Event::Stopped(key, code));
        }
    }
}
