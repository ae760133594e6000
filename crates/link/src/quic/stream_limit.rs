//! How many streams a peer may have open (`docs/spec/streams.md`, "Limits").

use crate::streams::BEFORE_HELLO;

/// Streams that a peer is told of after its hello, until it has half of them open.
const AFTER_HELLO: u32 = 48;

/// The limit that a peer is told. It grows with use: QUIC keeps an entry in two tables for each stream that is allowed, and most
/// peers need few.
#[derive(Debug)]
pub(super) struct StreamLimit {
    allowed: u32,
    most: u32,
}

impl StreamLimit {
    /// What the transport parameters say.
    pub(super) const fn new() -> Self {
        Self { allowed: BEFORE_HELLO, most: BEFORE_HELLO }
    }

    /// The peer said hello: from now on it may have up to `most`. The limit to tell it.
    pub(super) fn after_hello(&mut self, most: u32) -> u32 {
        self.most = most;
        self.allowed = most.min(self.allowed.max(AFTER_HELLO));
        self.allowed
    }

    /// The peer has `count` streams open. The limit to tell it, where that is a new one.
    pub(super) fn opened(&mut self, count: u64) -> Option<u32> {
        if self.allowed >= self.most || count.saturating_mul(2) < u64::from(self.allowed) {
            return None;
        }
        self.allowed = self.most.min(self.allowed.saturating_mul(2));
        Some(self.allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_when_half_of_it_is_open_up_to_the_most() {
        let mut peer = StreamLimit::new();
        assert_eq!(peer.opened(32), None, "before its hello nothing grows");
        assert_eq!(peer.after_hello(180), 48);
        assert_eq!(peer.opened(23), None);
        assert_eq!(peer.opened(24), Some(96));
        assert_eq!(peer.opened(47), None);
        assert_eq!(peer.opened(60), Some(180));
        assert_eq!(peer.opened(180), None);
    }

    #[test]
    fn a_low_limit_holds_at_once_and_what_grew_stays() {
        let mut peer = StreamLimit::new();
        assert_eq!(peer.after_hello(8), 8);
        assert_eq!(peer.opened(8), None);
        let mut peer = StreamLimit::new();
        assert_eq!((peer.after_hello(96), peer.opened(40)), (48, Some(96)));
        assert_eq!(peer.after_hello(96), 96, "a hello after that takes nothing back");
    }
}
