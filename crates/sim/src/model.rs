//! The network as it is modelled: where nodes are, how fast their lines are, what a path does to what it carries.
//!
//! Latencies are the round trips that IBM publishes each month for its regions, October to November 2025
//! (<https://github.com/ibm-cloud-docs/vpc>, `network-latency.md`), rounded to 5 ms. Nodes are homes and offices rather than
//! machines beside a backbone: within a region a round trip is 20 ms, and so it is for the part of a path between regions
//! that the table leaves out (it is small against the table's own variance, and not added).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::{Instant, Rng};

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Region {
    /// Dallas.
    NorthAmericaCentral,
    /// Washington.
    NorthAmericaEast,
    /// Frankfurt.
    Europe,
    /// Tokyo.
    Asia,
    /// São Paulo.
    SouthAmerica,
}

impl Region {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NorthAmericaCentral, Self::NorthAmericaEast, Self::Europe, Self::Asia, Self::SouthAmerica];

    /// A round trip to `other` without queues and jitter.
    pub const fn round_trip(self, other: Self) -> Duration {
        const MILLIS: [[u64; 5]; 5] = [
            [20, 30, 120, 140, 145],
            [30, 20, 85, 140, 115],
            [120, 85, 20, 225, 195],
            [140, 140, 225, 20, 280],
            [145, 115, 195, 280, 20],
        ];
        Duration::from_millis(MILLIS[self as usize][other as usize])
    }
}

/// The rates of a node's line, in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Towards the node.
    pub down: u64,
    /// From the node.
    pub up: u64,
}

impl Line {
    /// A home: 50 Mbit/s down, 25 up.
    pub const HOME: Self = Self { down: 50_000_000, up: 25_000_000 };
    /// A data centre: 1 Gbit/s both ways.
    pub const CENTRE: Self = Self { down: 1_000_000_000, up: 1_000_000_000 };
}

/// Where a node is and how it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its region.
    pub region: Region,
    /// Its line.
    pub line: Line,
}

impl Place {
    /// A place drawn from `rng`: each region as likely as the others, four of five nodes at home, one in a data centre.
    pub fn random(rng: &mut Rng) -> Self {
        let region = Region::ALL[rng.index(Region::ALL.len())];
        let line = if rng.chance(1, 5) { Line::CENTRE } else { Line::HOME };
        Self { region, line }
    }

    /// In a data centre of Europe.
    pub const NEAR: Self = Self { region: Region::Europe, line: Line::CENTRE };
}

/// What paths do to what they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Packets lost, of a million. Default: 500.
    pub loss_per_million: u32,
    /// The most that a packet is later than its path's latency, in percent of it, evenly spread. Default: 5.
    pub jitter_percent: u32,
    /// Datagrams, of a million, that may be overtaken by those behind them. Default: 5,000.
    pub reordered_per_million: u32,
    /// Bytes of a packet. Default: 1,400.
    pub packet: u64,
    /// Packets that a new path carries in its first round trip. Default: 10 (RFC 6928).
    pub initial_window: u64,
    /// A datagram that would wait longer than this before a line is dropped there. Default: 250 ms.
    pub queue: Duration,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            loss_per_million: 500,
            jitter_percent: 5,
            reordered_per_million: 5_000,
            packet: 1_400,
            initial_window: 10,
            queue: Duration::from_millis(250),
        }
    }
}

impl Model {
    /// No loss, no jitter, nothing out of order.
    pub fn calm() -> Self {
        Self { loss_per_million: 0, jitter_percent: 0, reordered_per_million: 0, ..Self::default() }
    }

    /// What happens to one packet, or to the `packets` of one frame: how much later it comes, and whether one is lost.
    pub(crate) fn draw(&self, rng: &mut Rng, one_way: u64, packets: u64) -> (u64, bool) {
        let draw = rng.u64();
        let most = one_way / 100 * u64::from(self.jitter_percent);
        let jitter = ((u128::from(most) * u128::from(draw >> 32)) >> 32) as u64;
        let chance = (u128::from(draw & 0xffff_ffff) * 1_000_000) >> 32;
        (jitter, chance < u128::from(self.loss_per_million) * u128::from(packets))
    }
}

/// Nanoseconds that `bytes` take on a line of `rate` bits per second.
pub(crate) fn line_time(bytes: u64, rate: u64) -> u64 {
    (bytes * 8).saturating_mul(1_000_000_000) / rate.max(1)
}

/// How fast one direction of a wire may go: at most a window of bytes per round trip, 10 packets at first, up to twice as
/// many after each round trip that made use of it, as slow start does. A loss halves it for one round trip.
///
/// It is a leaky bucket (ITU-T I.371) whose depth is the window and whose rate is the window per round trip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    window: u64,
    drained: u64, // when everything sent so far has passed, in nanoseconds
    round_ends: u64,
    sent: u64, // in this round
    halved_until: u64,
}

impl Pace {
    pub(crate) const fn new(model: &Model) -> Self {
        Self {
            window: model.packet * model.initial_window,
            drained: 0,
            round_ends: 0,
            sent: 0,
            halved_until: 0,
        }
    }

    /// The earliest time at which the next frame may leave.
    pub(crate) const fn opens(&self, rtt: u64) -> Instant {
        Instant::from_nanos(self.drained.saturating_sub(rtt))
    }

    /// A frame of `len` bytes leaves at `now`; `most` is the window that fills the sender's line.
    pub(crate) fn take(&mut self, now: Instant, len: u64, rtt: u64, most: u64) {
        let now = now.as_nanos();
        if now >= self.round_ends {
            if self.sent * 2 >= self.window {
                self.window = (self.window + self.sent.min(self.window)).min(most.max(self.window));
            }
            (self.sent, self.round_ends) = (0, now + rtt);
        }
        self.sent += len;
        let window = if now < self.halved_until { self.window / 2 } else { self.window };
        self.drained = self.drained.max(now) + len.saturating_mul(rtt) / window.max(1);
    }

    /// A loss was felt at `now`.
    pub(crate) const fn halve(&mut self, now: Instant, rtt: u64) {
        self.halved_until = now.as_nanos() + rtt;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_symmetric() {
        for a in Region::ALL {
            assert!(Region::ALL.iter().all(|b| a.round_trip(*b) == b.round_trip(a)));
        }
    }

    #[test]
    fn a_path_carries_ten_packets_in_its_first_round_trip_and_twice_as_many_in_the_next() {
        let (model, rtt) = (Model::default(), 100_000_000);
        let mut pace = Pace::new(&model);
        let mut carried = [0_u64; 4];
        let mut now = Instant::ZERO;
        loop {
            now = now.max(pace.opens(rtt));
            let round = usize::try_from(now.as_nanos() / rtt).unwrap();
            let Some(carried) = carried.get_mut(round) else { break };
            pace.take(now, 1_400, rtt, u64::MAX);
            *carried += 1;
        }
        assert!((10..=20).contains(&carried[0]), "{carried:?}");
        assert!(carried[2] >= 2 * carried[0] && carried[3] > carried[2], "{carried:?}");
    }

    #[test]
    fn losses_come_as_often_as_the_model_says() {
        let (model, mut rng) = (Model { loss_per_million: 10_000, ..Model::default() }, Rng::from_number(1));
        let lost = (0..100_000).filter(|_| model.draw(&mut rng, 1, 1).1).count();
        assert!((800..1200).contains(&lost), "{lost}");
        let latest = (0..1000).map(|_| model.draw(&mut rng, 100_000, 1).0).max();
        assert!(latest.is_some_and(|latest| (4_900..=5_000).contains(&latest)), "{latest:?}");
    }
}
