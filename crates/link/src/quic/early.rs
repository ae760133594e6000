//! A link over QUIC before it is confirmed: 0-RTT (`docs/spec/links.md`).
//!
//! - a client that has a session for the peer it expects may open streams of `streams.early` and write them, 8 KiB in all;
//!   what it wrote is kept until the handshake is complete, and sent again, on the same streams, where the server refused it;
//! - a server that took such data knows by the session who sends it. It reads the streams of `streams.early` at once and may
//!   answer on them, opens none itself, and leaves all others unread until the handshake is complete.
//!
//! Threat: who recorded a flight sends it again, from anywhere. A session is good for one use, so that only the first copy is
//! read; QUIC sends it at most three times its bytes; it can never complete the handshake.

use bytes::Bytes;

use super::stream::Stream;

/// What may be written before the handshake is confirmed, in bytes: a first flight with some permits.
const EARLY_MAX: usize = 8 * 1024;

/// What a client has written while its handshake runs. The bytes are with their streams.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    keeps: bool, // a client whose handshake runs
    bytes: usize,
}

impl Unconfirmed {
    pub(super) fn new(is_client: bool) -> Self {
        Self { keeps: is_client, bytes: 0 }
    }

    /// Bytes that may still be written; `None` where the handshake sets no limit.
    pub(super) fn room(&self) -> Option<usize> {
        self.keeps.then(|| EARLY_MAX.saturating_sub(self.bytes))
    }

    /// This part is written: it may have to be sent again.
    pub(super) fn keep(&mut self, entry: &mut Stream, part: &Bytes) {
        if self.keeps {
            self.bytes += part.len();
            entry.early.push(part.clone());
        }
    }

    /// The handshake is confirmed. Whether something was written while it ran.
    pub(super) fn confirmed(&mut self) -> bool {
        self.keeps = false;
        std::mem::take(&mut self.bytes) > 0
    }
}

#[cfg(test)]
mod tests {
    use weir_base::stream::Class;

    use super::*;
    use crate::streams::SendEnd;

    #[test]
    fn a_client_keeps_what_it_writes_until_it_is_confirmed() {
        let part = Bytes::from_static(&[1; 8_000]);
        let mut entry = Stream::ours(Class::Control, SendEnd::Open);
        let mut unconfirmed = Unconfirmed::new(true);
        assert!(!Unconfirmed::new(true).confirmed());
        (0..2).for_each(|_| unconfirmed.keep(&mut entry, &part));
        assert_eq!((unconfirmed.room(), entry.early.concat().len()), (Some(0), 16_000));
        assert!(unconfirmed.confirmed() && !unconfirmed.confirmed());
        unconfirmed.keep(&mut entry, &part);
        assert_eq!((unconfirmed.room(), entry.early.len()), (None, 2), "it cannot be refused any more");
    }
}
