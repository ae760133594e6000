//! How the application reads and writes raw streams: straight from and to the link, in its own calls.

use weir_base::{Instant, Rope, StreamKey};
use weir_link::{Links, Read};

use crate::pump::Pump;
use crate::refused::Refused;

/// The raw streams of a stack, for the application to read and write. Dropping it ends nothing.
pub struct Streams<'a> {
    pub(crate) pump: &'a mut Pump,
    pub(crate) links: &'a mut Links,
    pub(crate) now: Instant,
}

impl Streams<'_> {
    /// Takes at most `max` bytes off a stream, as a slice of the receive buffer.
    pub fn read(&mut self, key: StreamKey, max: usize) -> Read {
        let raw = self.pump.users.raw();
        let Some(link) = self.links.link(key.link).filter(|_| raw.can_read(key)) else { return Read::Closed };
        let read = link.read(self.now, key.stream, max);
        if let Read::Reset(code) = read
            && raw.is_unspoken(key, code)
        {
            raw.unspoken(key); // its event says more
            return Read::Blocked;
        }
        match &read {
            Read::Data(chunk) => raw.counters.read += chunk.len() as u64,
            Read::Blocked => raw.note_read_blocked(key),
            Read::End | Read::Reset(_) | Read::Closed => {
                raw.ended(key, true);
                self.pump.read_to_end(key);
            }
        }
        read
    }

    /// Writes what there is room for, off the front of `rope`, large parts by reference. Returns how much; what is left stays in
    /// the rope, and [`raw::Event::Writable`](crate::raw::Event::Writable) tells when there is room again.
    ///
    /// # Errors
    /// [`Refused::NoStream`] where writing has ended.
    pub fn write(&mut self, key: StreamKey, rope: &mut Rope) -> Result<usize, Refused> {
        let raw = self.pump.users.raw();
        let link = self.links.link(key.link).filter(|_| raw.can_write(key)).ok_or(Refused::NoStream)?;
        let before = rope.len();
        while !rope.is_empty() {
            // Bounded by what the link may hold; a room of 0 also asks it to tell when there is some.
            if link.room(key.stream) == 0 {
                raw.note_write_blocked(key);
                break;
            }
            let left = rope.len();
            link.write(self.now, key.stream, rope);
            if rope.len() == left {
                break;
            }
        }
        let written = before - rope.len();
        raw.counters.written += written as u64;
        Ok(written)
    }

    /// Bytes that can be written now. Where it is 0, [`raw::Event::Writable`](crate::raw::Event::Writable) tells, unless writing
    /// has ended.
    pub fn room(&mut self, key: StreamKey) -> usize {
        let raw = self.pump.users.raw();
        if !raw.can_write(key) {
            return 0;
        }
        let room = self.links.link(key.link).map_or(0, |link| link.room(key.stream));
        if room == 0 {
            raw.note_write_blocked(key);
        }
        room
    }
}

impl std::fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}
