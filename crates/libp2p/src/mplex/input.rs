//! Messages of the peer.

use bytes::Bytes;
use weir_base::{Chunk, Fault, Instant};

use super::codec::{Head, Kind};
use super::session::{Mplex, Receiving, Sending, Stream, StreamId};
use super::{AFTER_END, Event, NUMBER_MAX, OPENED_TWICE, STORM, UNKNOWN_STREAM};

/// Resets that wait to be sent when a peer opens another stream.
const RESETS_MAX: usize = 512;

impl Mplex {
    /// Bytes of the peer, split anywhere; at most [`room`](Self::room) of them, where memory is to stay within its limit. Slices
    /// of `input` are kept by reference until the next call, and copied then where they would pin more than twice their length.
    pub fn received(&mut self, now: Instant, mut input: Bytes) {
        for id in std::mem::take(&mut self.fresh) {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.unread.settle();
            }
        }
        let pinned = input.len();
        while self.idle.is_some() && !input.is_empty() {
            if let Some((id, left)) = self.body.take() {
                let bytes = input.split_to(left.min(input.len()));
                self.body = Some((id, left - bytes.len())).filter(|(_, left)| *left > 0);
                self.data(id, Chunk::new(bytes, pinned));
                continue;
            }
            let taken = match self.heads.next(&mut input) {
                Ok(Some(head)) => self.message(now, head),
                Ok(None) => break,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = taken {
                self.fail(fault);
            }
        }
        self.watch(now);
    }

    /// A message, but for its bytes. Those of an opening are a name, and those of a close or reset nothing: they are dropped.
    fn message(&mut self, now: Instant, head: Head) -> Result<(), Fault> {
        let id = head.stream;
        if id.ours && (id.number >= self.next || self.streams.get(&id).is_some_and(|stream| stream.to_open)) {
            return Err(UNKNOWN_STREAM);
        }
        // The name of an opening goes to nobody: no stream of ours has this number.
        let nobody = StreamId { number: u64::MAX, ours: true };
        let reader = if head.kind == Kind::Data { id } else { nobody };
        if let Some(idle) = self.idle.as_mut().filter(|_| !self.streams.contains_key(&reader)) {
            idle.drop_bytes(now, head.len)?;
        }
        self.body = (head.len > 0).then_some((reader, head.len));
        let moves = match head.kind {
            Kind::New => self.opened(now, id).map(|()| true)?,
            Kind::Data if head.len > 0 => self.announced(id).map(|()| true)?,
            Kind::Data => false,
            Kind::Close => self.closed(id),
            Kind::Reset => self.reset_by_peer(now, id)?,
        };
        match &mut self.idle {
            Some(idle) if !moves => idle.take_stray(now),
            _ => Ok(()),
        }
    }

    /// Data follows. That of a stream which is gone is dropped; the peer is told where it has not ended.
    fn announced(&mut self, id: StreamId) -> Result<(), Fault> {
        let Some(stream) = self.streams.get_mut(&id) else {
            if self.output.unwanted.take(id).is_some() && self.output.resets.len() < RESETS_MAX {
                self.output.resets.push_back(id);
            }
            return Ok(());
        };
        match stream.receiving {
            Receiving::Ended | Receiving::Over => return Err(AFTER_END),
            Receiving::Stopped => stream.receiving = Receiving::Insisted,
            Receiving::Open | Receiving::Insisted => {}
        }
        Ok(())
    }

    fn opened(&mut self, now: Instant, id: StreamId) -> Result<(), Fault> {
        let is_taken = self.streams.contains_key(&id) || self.output.unwanted.holds(id);
        if is_taken || self.output.resets.contains(&id) {
            return Err(OPENED_TWICE); // the reset of the one before would be taken for one of this
        }
        if self.output.resets.len() >= RESETS_MAX {
            return Err(STORM); // it opens streams and does not read what becomes of them
        }
        if self.inbound >= self.config.max_inbound || id.number > NUMBER_MAX {
            self.output.resets.push_back(id);
            self.expect_rest();
            return self.take(now);
        }
        self.inbound += 1;
        self.streams.insert(id, Stream::new(false));
        self.events.push_back(Event::Opened(id));
        Ok(())
    }

    /// Counts one message that moves nothing.
    fn take(&mut self, now: Instant) -> Result<(), Fault> {
        self.idle.as_mut().map_or(Ok(()), |idle| idle.take(now))
    }

    fn data(&mut self, id: StreamId, chunk: Chunk) {
        let open = |stream: &&mut Stream| stream.receiving == Receiving::Open;
        let Some(stream) = self.streams.get_mut(&id).filter(open) else { return };
        self.unread += chunk.len();
        stream.unread.push(chunk);
        if std::mem::take(&mut stream.reader_waits) {
            self.events.push_back(Event::Readable(id));
        }
        if self.fresh.last() != Some(&id) {
            self.fresh.push(id);
        }
    }

    /// Whether the end of this direction was not known.
    fn closed(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else {
            return self.output.unwanted.take(id).is_some();
        };
        let news = !matches!(stream.receiving, Receiving::Ended | Receiving::Over);
        stream.receiving = match stream.receiving {
            Receiving::Open => Receiving::Ended,
            Receiving::Stopped | Receiving::Insisted => Receiving::Over,
            over @ (Receiving::Ended | Receiving::Over) => over,
        };
        if std::mem::take(&mut stream.reader_waits) {
            self.events.push_back(Event::Readable(id));
        }
        news
    }

    /// Whether there was anything to break off, or it is counted already.
    fn reset_by_peer(&mut self, now: Instant, id: StreamId) -> Result<bool, Fault> {
        if !id.ours {
            self.take(now)?;
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            // The peer may use the number again: it is told nothing more of this one.
            self.output.resets.retain(|other| *other != id);
            self.output.unwanted.take(id);
            return Ok(!id.ours);
        };
        if stream.receiving == Receiving::Ended && stream.sending == Sending::Ended {
            return Ok(!id.ours); // there is nothing left to break off, and nothing to tell
        }
        self.events.push_back(Event::Reset(id));
        if stream.receiving == Receiving::Ended {
            stream.sending = Sending::Ended; // what came whole stays
            stream.queue = weir_base::Rope::new();
        } else {
            self.end(now, id);
        }
        Ok(true)
    }
}
