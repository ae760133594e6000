//! How many streams a peer may have open.

/// Streams before the peer's hello.
pub(super) const INITIAL: u32 = 32;

/// Streams after the hello, until the peer has half of them.
const SETTLED: u32 = 48;

/// Grows with use: QUIC keeps entries in two tables for every stream that is allowed, and most peers need few.
#[derive(Debug)]
pub(super) struct Allowance {
    allowed: u32,
    most: u32,
}

impl Allowance {
    /// What the transport parameters say.
    pub(super) const fn new() -> Self {
        Self { allowed: INITIAL, most: INITIAL }
    }

    /// From now on the peer may have up to `most`; how many to tell it.
    pub(super) fn settle(&mut self, most: u32) -> u32 {
        self.most = most;
        self.allowed = most.min(self.allowed.max(SETTLED));
        self.allowed
    }

    /// The peer has so many open. How many to tell it, where that is news.
    pub(super) fn open(&mut self, count: u64) -> Option<u32> {
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
        let mut peer = Allowance::new();
        assert_eq!(peer.open(32), None, "before its hello nothing grows");
        assert_eq!(peer.settle(180), 48);
        assert_eq!(peer.open(23), None);
        assert_eq!(peer.open(24), Some(96));
        assert_eq!(peer.open(47), None);
        assert_eq!(peer.open(60), Some(180));
        assert_eq!(peer.open(180), None);
    }

    #[test]
    fn a_low_limit_holds_at_once_and_what_grew_stays() {
        let mut peer = Allowance::new();
        assert_eq!(peer.settle(8), 8);
        assert_eq!(peer.open(8), None);
        let mut peer = Allowance::new();
        assert_eq!((peer.settle(96), peer.open(40)), (48, Some(96)));
        assert_eq!(peer.settle(96), 96, "a hello after that takes nothing back");
    }
}
