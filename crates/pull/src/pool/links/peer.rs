//! What a link's peer has said, since when it is heard from, and what it may send that is skipped.

use std::time::Duration;

use weir_base::time::nanos;
use weir_base::{Fault, Instant};

use crate::bucket::Bucket;
use crate::keys::NumberedKey;
use crate::pool::faults::CHATTY;

/// A link from which nothing came for so long is silent: perhaps its path does not carry, and nothing that was asked of it can
/// come. It is well below the time of an answer (10 s), so that a shorter silence leaves enough of that time.
const SILENCE: Duration = Duration::from_secs(6);

/// Since when a link is heard from without a silence, and what is known of its hearing this node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    since: Instant,
    last: Instant,
    pinged: Option<Instant>, // when the last ping was sent that it answered
}

impl Heard {
    /// Something was read from the link.
    pub(crate) fn read(&mut self, now: Instant) {
        if now.since(self.last) > SILENCE {
            self.since = now;
        }
        self.last = now;
    }

    /// It answered a ping.
    pub(crate) fn pong(&mut self, now: Instant, rtt: Duration) {
        let sent = Instant::from_nanos(now.as_nanos().saturating_sub(nanos(rtt)));
        self.pinged = self.pinged.max(Some(sent));
    }

    /// Whether it heard this node after `asked`, as far as its pongs tell.
    fn hears(&self, asked: Instant) -> bool {
        self.pinged.is_none_or(|sent| sent >= asked)
    }

    /// Whether what was asked of it reached it, and it was heard from, after `asked` and without a silence, for at least `time` up to now.
    pub(crate) fn throughout(&self, now: Instant, asked: Instant, time: Duration) -> bool {
        let silent = now.since(self.last) > SILENCE;
        !silent && self.hears(asked) && self.last > asked && now.since(self.since.max(asked)) >= time
    }
}

/// Bounds what a peer may send that this node skips.
#[derive(Debug)]
pub(crate) struct Skipped {
    messages: Bucket,
    bytes: Bucket,
}

/// Messages a second, and at once, that are skipped without blame: as many as control takes of all its messages.
const SKIPPED: u64 = 64;
/// Bytes of them a second.
const SKIPPED_BYTES: u64 = 16_000;
/// Bytes of them at once: one of the largest item's size by default.
const SKIPPED_BURST: u64 = 65_536 + 64;

impl Skipped {
    pub(crate) const fn new() -> Self {
        Self { messages: Bucket::new(), bytes: Bucket::new() }
    }

    /// A message of so many bytes is skipped, without its head. A fault where that is too much.
    pub(crate) fn take(&mut self, now: Instant, bytes: u64) -> Result<(), Fault> {
        let messages = self.messages.take(now, 1, SKIPPED, SKIPPED);
        let bytes = self.bytes.take(now, bytes, SKIPPED_BYTES, SKIPPED_BURST);
        messages.and(bytes).map_err(|_| CHATTY)
    }
}

/// What the peer's hello said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) max_item: u32,
    pub(crate) key: NumberedKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    const TIME: Duration = Duration::from_secs(10);

    #[test]
    fn a_silence_is_longer_than_six_seconds() {
        for (pause, since) in [(6_000, 7_000), (6_001, 13_001)] {
            let mut heard = Heard::default();
            heard.read(at(7_000));
            heard.read(at(7_000 + pause));
            assert_eq!(heard.since, at(since));
        }
    }

    #[test]
    fn a_link_was_heard_from_throughout_where_it_spoke_all_the_time() {
        let mut heard = Heard::default();
        for second in 7..=20 {
            heard.read(at(second * 1_000));
        }
        assert!(heard.throughout(at(20_000), at(10_000), TIME));
        assert!(!heard.throughout(at(19_999), at(10_000), TIME), "not for that long");
        assert!(!heard.throughout(at(20_000), at(10_001), TIME));
        assert!(heard.throughout(at(26_000), at(10_000), TIME));
        assert!(!heard.throughout(at(26_001), at(10_000), TIME), "it is silent now");
        assert!(heard.throughout(at(17_000), at(1_000), TIME), "from 7 s on");
        assert!(!heard.throughout(at(16_999), at(1_000), TIME));
        assert!(!heard.throughout(at(24_000), at(20_000), Duration::ZERO), "nothing came since");
    }

    #[test]
    fn what_was_asked_after_the_last_answered_ping_may_not_have_reached_it() {
        let mut heard = Heard::default();
        for second in 7..=20 {
            heard.read(at(second * 1_000));
        }
        heard.pong(at(10_300), Duration::from_millis(300));
        assert!(heard.throughout(at(20_000), at(10_000), TIME));
        assert!(!heard.throughout(at(21_000), at(10_001), TIME), "the ping was sent at 10 s");
        heard.pong(at(10_400), Duration::from_millis(900));
        assert!(heard.throughout(at(20_000), at(10_000), TIME), "an older ping takes nothing back");
    }

    #[test]
    fn so_many_messages_and_bytes_are_skipped() {
        let mut skipped = Skipped::new();
        let taken = (0..100).take_while(|_| skipped.take(at(1_000), 0).is_ok()).count();
        assert_eq!(taken, 64);
        let mut skipped = Skipped::new();
        assert_eq!(skipped.take(at(1_000), 65_536 + 64), Ok(()));
        assert_eq!(skipped.take(at(1_000), 1), Err(CHATTY));
        assert_eq!(skipped.take(at(2_000), 16_000), Ok(()), "a second later");
    }
}
