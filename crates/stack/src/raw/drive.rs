//! How the application reads and writes raw streams: straight from and to the link, in its own calls.

use weir_base::{Instant, Rope, StreamKey};
use weir_link::{Links, Read};

use crate::pump::Pump;

/// Reads at most `max` bytes of a raw stream.
pub(crate) fn read(pump: &mut Pump, links: &mut Links, now: Instant, key: StreamKey, max: usize) -> Read {
    let raw = pump.users.raw();
    let Some(link) = links.link(key.link).filter(|_| raw.can_read(key)) else { return Read::Closed };
    let read = link.read(now, key.stream, max);
    match &read {
        Read::Data(chunk) => raw.counters.read += chunk.len() as u64,
        Read::Blocked => raw.note_blocked(key),
        Read::End | Read::Reset(_) | Read::Closed => {
            raw.ended(key, true);
            pump.read_to_end(key);
        }
    }
    read
}

/// Writes what there is room for off the front of `rope`; `None` where writing has ended.
pub(crate) fn write(
    pump: &mut Pump,
    links: &mut Links,
    now: Instant,
    key: StreamKey,
    rope: &mut Rope,
) -> Option<usize> {
    let raw = pump.users.raw();
    let link = links.link(key.link).filter(|_| raw.can_write(key))?;
    let before = rope.len();
    while !rope.is_empty() {
        // Bounded by what the link may hold; a room of 0 also asks it to tell when there is some.
        if link.room(key.stream) == 0 {
            raw.note_short(key);
            break;
        }
        let left = rope.len();
        link.write(now, key.stream, rope);
        if rope.len() == left {
            break;
        }
    }
    let written = before - rope.len();
    raw.counters.written += written as u64;
    Some(written)
}

/// Bytes that can be written; 0 where writing has ended. Where it is 0 otherwise, `Writable` tells.
pub(crate) fn room(pump: &mut Pump, links: &mut Links, key: StreamKey) -> usize {
    let raw = pump.users.raw();
    if !raw.can_write(key) {
        return 0;
    }
    let room = links.link(key.link).map_or(0, |link| link.room(key.stream));
    if room == 0 {
        raw.note_short(key);
    }
    room
}
