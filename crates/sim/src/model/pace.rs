//! How fast one direction of a wire may go: TCP's congestion window (RFC 5681), as a leaky bucket.
//!
//! At most a window of bytes per round trip: 10 packets at first, twice as many after each round trip that made use of it
//! (slow start), half after a loss, and from then on one packet more per round trip. A window that was not used is halved for
//! each second of idleness, down to the initial one (RFC 2861).
//!
//! The bucket (ITU-T I.371) is as deep as the window and drains a window per round trip.

use weir_base::Instant;

use super::Model;

/// A window is halved for each such time without a frame: the least retransmission timeout, in nanoseconds (RFC 6298).
const IDLE: u64 = 1_000_000_000;

/// The smallest window after losses, in packets (RFC 5681).
const LEAST: u64 = 2;

/// The congestion window of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    window: u64,
    threshold: u64, // below it the window doubles, above it it grows by a packet per round trip
    drained: u64,   // when everything sent so far has passed, in nanoseconds
    round_ends: u64,
    sent: u64,     // in this round
    last: u64,     // when the last frame left
    recovers: u64, // losses before this belong to the last one
}

impl Pace {
    pub(crate) const fn new(model: &Model) -> Self {
        Self {
            window: model.packet * model.initial_window,
            threshold: u64::MAX,
            drained: 0,
            round_ends: 0,
            sent: 0,
            last: 0,
            recovers: 0,
        }
    }

    /// Bytes that may be unacknowledged.
    pub(crate) const fn window(&self) -> u64 {
        self.window
    }

    /// The earliest time at which the next frame may leave.
    pub(crate) const fn opens(&self, rtt: u64) -> Instant {
        Instant::from_nanos(self.drained.saturating_sub(rtt))
    }

    /// A frame of `len` bytes leaves at `now`; `most` is the window that fills the sender's line.
    pub(crate) fn take(&mut self, model: &Model, now: Instant, len: u64, rtt: u64, most: u64) {
        let now = now.as_nanos();
        let idle = now.saturating_sub(self.last) / IDLE;
        if self.last > 0 && idle > 0 {
            let initial = model.packet * model.initial_window;
            self.window = (self.window >> idle.min(32)).max(initial.min(self.window));
        }
        self.last = now;
        if now >= self.round_ends {
            if self.sent * 2 >= self.window {
                let more =
                    if self.window < self.threshold { self.sent.min(self.window) } else { model.packet };
                self.window = (self.window + more).min(most.max(self.window));
            }
            (self.sent, self.round_ends) = (0, now + rtt);
        }
        self.sent += len;
        self.drained = self.drained.max(now) + len.saturating_mul(rtt) / self.window.max(1);
    }

    /// A loss was noticed; those within a round trip count once.
    pub(crate) fn lost(&mut self, model: &Model, now: Instant, rtt: u64) {
        if now.as_nanos() < self.recovers {
            return;
        }
        self.recovers = now.as_nanos() + rtt;
        self.window = (self.window / 2).max(model.packet * LEAST);
        self.threshold = self.window;
    }

    /// Nothing got through for a while: slow start again, up to half of what worked before.
    pub(crate) fn lost_all(&mut self, model: &Model) {
        self.threshold = self.threshold.min((self.window / 2).max(model.packet * LEAST));
        self.window = model.packet * LEAST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: u64 = 100_000_000;

    /// Packets that leave in each of the next `N` round trips from `start` on.
    fn carried<const N: usize>(pace: &mut Pace, start: Instant) -> [u64; N] {
        let model = Model::default();
        let mut carried = [0; N];
        let mut now = start;
        loop {
            now = now.max(pace.opens(RTT));
            let round = usize::try_from((now.as_nanos() - start.as_nanos()) / RTT).unwrap();
            let Some(carried) = carried.get_mut(round) else { break };
            pace.take(&model, now, 1_400, RTT, u64::MAX);
            *carried += 1;
        }
        carried
    }

    #[test]
    fn a_path_carries_ten_packets_in_its_first_round_trip_and_twice_as_many_in_the_next() {
        let carried: [u64; 4] = carried(&mut Pace::new(&Model::default()), Instant::ZERO);
        assert!((10..=20).contains(&carried[0]), "{carried:?}");
        assert!(carried[2] >= 2 * carried[0] && carried[3] > carried[2], "{carried:?}");
    }

    #[test]
    fn a_loss_halves_the_window_for_good_and_it_grows_by_a_packet_per_round_trip() {
        let mut pace = Pace::new(&Model::default());
        let _: [u64; 6] = carried(&mut pace, Instant::ZERO);
        let before = pace.window();
        pace.lost(&Model::default(), Instant::from_millis(700), RTT);
        pace.lost(&Model::default(), Instant::from_millis(750), RTT);
        assert_eq!(pace.window(), before / 2);
        let _: [u64; 3] = carried(&mut pace, Instant::from_millis(700));
        let grown = pace.window() - before / 2;
        assert!((1_400..=4 * 1_400).contains(&grown), "{grown}");
    }

    #[test]
    fn an_idle_path_loses_its_window_but_for_the_initial_one() {
        let mut pace = Pace::new(&Model::default());
        let _: [u64; 6] = carried(&mut pace, Instant::ZERO);
        let before = pace.window();
        pace.take(&Model::default(), Instant::from_millis(2_700), 1_400, RTT, u64::MAX);
        assert!(pace.window() <= before / 2, "{} of {before}", pace.window());
        pace.take(&Model::default(), Instant::from_millis(60_000), 1_400, RTT, u64::MAX);
        assert_eq!(pace.window(), 14_000);
    }
}
