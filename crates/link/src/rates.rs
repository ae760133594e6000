//! How fast inbound handshakes may begin: from each address, prefix and group, and from all addresses that are not proven.
//!
//! - a handshake of a proven address takes from the buckets of its address, its prefix and its group, or is refused;
//! - one of an address that is not proven takes from a bucket of all of these, or its sender has to prove the address first. Once it is
//!   complete the address is proven, and it takes from the buckets of the address, too.
//!
//! Threat: a handshake costs this node a key exchange and signatures, up to a millisecond of its one network thread, and its sender
//! next to nothing. First packets in another's name take nothing from anybody's own buckets.

use std::time::Duration;

use weir_base::{Deadlines, Instant};

use crate::origins::Prefix;

/// Buckets that are not full, at most: of so many addresses, prefixes and groups, about 100 bytes each. For one more the one that is full
/// again first is forgotten, which gives its owner the least.
const BUCKETS: usize = 4096;

/// Of handshakes of addresses that are not proven, so many seconds' worth may begin at once: a network that starts.
const UNPROVEN_BURST: Duration = Duration::from_secs(4);

/// What one handshake takes from the bucket of a prefix, as the time in which that is filled again.
pub(crate) type Cost = (Prefix, Duration);

/// A bucket is the time at which it will be full again; those that are full need no entry.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    full_at: Deadlines<Prefix>, // <= BUCKETS
    unproven_full_at: Instant,
}

impl Rates {
    /// Takes from all three buckets, each of which holds `whole`. An address whose own bucket is full may overdraw those that it shares
    /// by as much again: it is not refused because its neighbours come fast.
    ///
    /// # Errors
    /// Whose bucket has too little left. Nothing is taken then.
    pub(crate) fn take(&mut self, now: Instant, costs: [Cost; 3], whole: Duration) -> Result<(), Prefix> {
        self.check(now, costs, whole)?;
        self.charge(now, costs, whole);
        Ok(())
    }

    /// Whether [`take`](Self::take) would succeed.
    ///
    /// # Errors
    /// Whose bucket has too little left.
    pub(crate) fn check(&self, now: Instant, costs: [Cost; 3], whole: Duration) -> Result<(), Prefix> {
        let [own, shared @ ..] = costs;
        let is_full = self.used(now, own.0).is_zero();
        let most = if is_full { whole.saturating_mul(2) } else { whole };
        let lacks = |(prefix, cost): &Cost, most: Duration| self.used(now, *prefix) + *cost > most;
        if lacks(&own, whole) {
            return Err(own.0);
        }
        shared.iter().find(|cost| lacks(cost, most)).map_or(Ok(()), |(prefix, _)| Err(*prefix))
    }

    /// Takes from all three buckets what is there.
    pub(crate) fn charge(&mut self, now: Instant, costs: [Cost; 3], whole: Duration) {
        while self.full_at.pop_due(now).is_some() {}
        let mut most = whole;
        for (prefix, cost) in costs {
            let used = (self.used(now, prefix) + cost).min(most);
            self.full_at.set(prefix, Some(now + used));
            most = whole.saturating_mul(2); // those after its own are shared
        }
        while self.full_at.len() > BUCKETS
            && let Some((_, first)) = self.full_at.next()
        {
            self.full_at.set(first, None);
        }
    }

    /// Takes one of a second's `places` handshakes of addresses that are not proven; whether there was one.
    pub(crate) fn take_unproven(&mut self, now: Instant, places: u32) -> bool {
        let Some(cost) = Duration::from_secs(1).checked_div(places) else { return false };
        let used = self.unproven_full_at.since(now) + cost;
        if used > UNPROVEN_BURST {
            return false;
        }
        self.unproven_full_at = now + used;
        true
    }

    /// What is missing in a bucket, as the time until it is full.
    pub(crate) fn used(&self, now: Instant, prefix: Prefix) -> Duration {
        self.full_at.get(prefix).map_or(Duration::ZERO, |full| full.since(now))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::origins::prefixes;

    const SECOND: Duration = Duration::from_secs(1);
    const WHOLE: Duration = Duration::from_secs(8);

    fn costs(number: u32, cost: Duration) -> [Cost; 3] {
        prefixes(IpAddr::from(number.to_be_bytes())).map(|prefix| (prefix, cost))
    }

    #[test]
    fn a_bucket_holds_so_much_and_fills_again_with_time() {
        let mut rates = Rates::default();
        let (first, begin) = (costs(0x0102_0304, SECOND), Instant::from_millis(500));
        for _ in 0..8 {
            assert_eq!(rates.take(begin, first, WHOLE), Ok(()));
        }
        assert_eq!(rates.take(begin, first, WHOLE), Err(first[0].0));
        assert_eq!(rates.check(begin + SECOND / 2, first, WHOLE), Err(first[0].0));
        assert_eq!(rates.check(begin + SECOND, first, WHOLE), Ok(()));
        assert_eq!(rates.take(begin + SECOND, first, WHOLE), Ok(()));
        assert_eq!(rates.take(begin + SECOND, first, WHOLE), Err(first[0].0), "only that one");
        rates.charge(begin + SECOND, first, WHOLE);
        assert_eq!(rates.used(begin + SECOND, first[0].0), WHOLE, "no bucket is emptier than empty");
    }

    #[test]
    fn who_has_begun_none_lately_is_not_refused_for_its_neighbours() {
        let mut rates = Rates::default();
        let one = costs(0x0102_0300, SECOND);
        for _ in 0..8 {
            rates.take(Instant::ZERO, one, WHOLE).unwrap();
        }
        for neighbour in 1..=8 {
            let neighbour = costs(0x0102_0300 + neighbour, SECOND);
            assert_eq!(rates.take(Instant::ZERO, neighbour, WHOLE), Ok(()));
            assert_eq!(rates.take(Instant::ZERO, neighbour, WHOLE), Err(neighbour[1].0), "the second time");
            assert_eq!(rates.used(Instant::ZERO, neighbour[0].0), SECOND, "what is refused takes nothing");
        }
        let last = costs(0x0102_0309, SECOND);
        assert_eq!(rates.take(Instant::ZERO, last, WHOLE), Err(last[1].0), "the /24 has overdrawn its own");
        assert_eq!(rates.used(Instant::ZERO, last[1].0), WHOLE * 2);
        assert_eq!(
            rates.take(Instant::ZERO, costs(0x0102_0400, SECOND), WHOLE),
            Err(last[2].0),
            "the /16, too"
        );
    }

    #[test]
    fn so_many_buckets_are_kept_and_the_fullest_is_forgotten() {
        let mut rates = Rates::default();
        let much = costs(0xfffe_0000, WHOLE);
        rates.charge(Instant::ZERO, much, WHOLE);
        for number in 0..20_000_u32 {
            rates.charge(Instant::ZERO, costs(number << 16, SECOND), WHOLE);
            assert!(rates.full_at.len() <= BUCKETS);
        }
        assert_eq!(rates.full_at.len(), BUCKETS);
        assert_eq!(rates.used(Instant::ZERO, much[0].0), WHOLE);
        rates.charge(Instant::ZERO + WHOLE, costs(1, SECOND), WHOLE);
        assert_eq!(rates.full_at.len(), 3, "those that are full again are forgotten");
    }

    #[test]
    fn of_unproven_addresses_a_second_brings_as_many_as_there_are_places() {
        let mut rates = Rates::default();
        let count = |rates: &mut Rates, now| (0..1_000).filter(|_| rates.take_unproven(now, 16)).count();
        assert_eq!(count(&mut rates, Instant::ZERO), 64);
        assert_eq!(count(&mut rates, Instant::from_millis(1_000)), 16);
        assert!(!rates.take_unproven(Instant::from_millis(60_000), 0), "there are none");
    }
}
