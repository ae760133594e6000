//! Time as an argument: monotonic nanoseconds from an origin the host chose, and wall time beside it.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in monotonic time: nanoseconds since an origin that the host chose. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instant(u64);

impl Instant {
    /// The host's origin.
    pub const ZERO: Self = Self(0);
    /// Later than anything a host reaches (584 years after the origin).
    pub const FAR: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero where `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This or the next full second. Timers that may be that late are set to it, so that those of many links share a wake-up of
    /// the host.
    pub const fn on_tick(self) -> Self {
        Self(self.0.div_ceil(1_000_000_000).saturating_mul(1_000_000_000))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, pause: Duration) -> Self {
        Self(self.0.saturating_add(nanos(pause)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, pause: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(pause)))
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// A duration in whole nanoseconds, saturating at 584 years.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Wall time: milliseconds since 1970-01-01 UTC. Comes from the host; may step, so nothing is timed by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixTime(u64);

impl UnixTime {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }
    /// From seconds since 1970.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }
    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
    /// Whole seconds since 1970.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;
    fn add(self, pause: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::FAR + Duration::from_secs(1), Instant::FAR);
        assert_eq!(Instant::ZERO - Duration::from_secs(1), Instant::ZERO);
        assert_eq!(Instant::ZERO.since(Instant::FAR), Duration::ZERO);
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::FAR);
        assert_eq!(UnixTime::from_secs(u64::MAX) + Duration::MAX, UnixTime::from_millis(u64::MAX));
    }

    #[test]
    fn ticks_are_a_second_apart() {
        for (millis, tick) in [(0, 0), (1, 1000), (1000, 1000), (1001, 2000)] {
            assert_eq!(Instant::from_millis(millis).on_tick(), Instant::from_millis(tick));
        }
        assert_eq!(Instant::FAR.on_tick(), Instant::FAR);
    }
}
