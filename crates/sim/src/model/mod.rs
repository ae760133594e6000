//! The network as it is modelled: where nodes are, how fast their lines are, what a path does to what it carries.
//!
//! Latencies are the round trips that IBM publishes each month for its regions, October to November 2025
//! (<https://github.com/ibm-cloud-docs/vpc>, `network-latency.md`), rounded to 5 ms. Nodes are homes and offices rather than
//! machines beside a backbone: within a region a round trip is 20 ms, and so it is for the part of a path between regions
//! that the table leaves out (it is small against the table's own variance, and not added).

mod draws;
mod pace;
mod processor;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::Rng;

pub(crate) use draws::{Draws, Losses, jitter};
pub(crate) use pace::Pace;
pub use processor::{Processor, Processors};

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
    /// The local network it is in, within its region; two nodes of one are [`LAN`] apart. Default: none.
    pub site: Option<u32>,
}

/// A round trip between two nodes of one local network.
pub const LAN: Duration = Duration::from_micros(500);

impl Place {
    /// A place drawn from `rng`: each region as likely as the others, four of five nodes at home, one in a data centre.
    pub fn random(rng: &mut Rng) -> Self {
        Self::weighted(rng, [1; 5])
    }

    /// As [`random`](Self::random), with regions in these proportions, in the order of [`Region::ALL`].
    pub fn weighted(rng: &mut Rng, weights: [u32; 5]) -> Self {
        let sum = weights.iter().map(|weight| *weight as usize).sum::<usize>().max(1);
        let mut drawn = rng.index(sum);
        let mut region = Region::Europe;
        for (weight, one) in weights.into_iter().zip(Region::ALL) {
            if drawn < weight as usize {
                region = one;
                break;
            }
            drawn -= weight as usize;
        }
        let line = if rng.chance(1, 5) { Line::CENTRE } else { Line::HOME };
        Self { region, line, site: None }
    }

    /// In a data centre of Europe.
    pub const NEAR: Self = Self { region: Region::Europe, line: Line::CENTRE, site: None };

    /// A round trip to `other` without queues and jitter.
    pub fn round_trip(self, other: Self) -> Duration {
        if self.site.is_some() && (self.site, self.region) == (other.site, other.region) {
            return LAN;
        }
        self.region.round_trip(other.region)
    }
}

/// What paths do to what they carry, and what nodes' processors take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Packets lost, of a million. Default: 500.
    pub loss_per_million: u32,
    /// Packets that a burst of losses lasts on average; about every second of them is lost. Default: 4.
    pub burst: u32,
    /// The most that a packet is later than its path's latency, in percent of it, evenly spread. Default: 5.
    pub jitter_percent: u32,
    /// Packets, of a million, that are later by up to a hundred times that, with a heavy tail. Default: 1,000.
    pub tail_per_million: u32,
    /// Datagrams, of a million, that may be overtaken by those behind them. Default: 5,000.
    pub reordered_per_million: u32,
    /// Datagrams, of a million, that arrive twice. Default: 10.
    pub duplicated_per_million: u32,
    /// Datagrams, of a million, of which one bit is turned though the checksum agrees. Default: 1.
    pub corrupted_per_million: u32,
    /// Pieces of byte streams, of a million, of which one bit is turned though the checksum agrees. Default: 0.
    pub flipped_per_million: u32,
    /// Bytes of a packet of frames. Default: 1,400.
    pub packet: u64,
    /// The longest datagram that gets through, in bytes. Default: 1,472, that of Ethernet.
    pub mtu: usize,
    /// Packets that a new path carries in its first round trip. Default: 10 (RFC 6928).
    pub initial_window: u64,
    /// What would wait longer than this before a line is dropped there; a frame is sent again. Default: 250 ms.
    pub queue: Duration,
    /// The device before a node forgets a flow that the node began and has sent nothing on for so long: what comes to its port is
    /// dropped from then on, and what the node sends next leaves from another one (RFC 4787, sections 4.3 and 5). Default: none does.
    pub mapping: Option<Duration>,
    /// What nodes' processors take.
    pub processor: Processor,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            loss_per_million: 500,
            burst: 4,
            jitter_percent: 5,
            tail_per_million: 1_000,
            reordered_per_million: 5_000,
            duplicated_per_million: 10,
            corrupted_per_million: 1,
            flipped_per_million: 0,
            packet: 1_400,
            mtu: 1_472,
            initial_window: 10,
            queue: Duration::from_millis(250),
            mapping: None,
            processor: Processor::default(),
        }
    }
}

impl Model {
    /// No loss, no jitter, nothing out of order, and processors that take no time.
    pub fn calm() -> Self {
        Self {
            loss_per_million: 0,
            jitter_percent: 0,
            tail_per_million: 0,
            reordered_per_million: 0,
            duplicated_per_million: 0,
            corrupted_per_million: 0,
            flipped_per_million: 0,
            processor: Processor::INSTANT,
            ..Self::default()
        }
    }
}

/// Turns one of these bits, numbered from the lowest of the first byte; none where there are not so many.
pub(crate) fn turn_bit(bytes: &mut [u8], bit: u64) {
    let place = usize::try_from(bit / 8).ok().and_then(|at| bytes.get_mut(at));
    if let Some(byte) = place {
        *byte ^= 1 << (bit % 8);
    }
}

/// Nanoseconds that `bytes` take on a line of `rate` bits per second.
pub(crate) fn line_time(bytes: u64, rate: u64) -> u64 {
    (bytes * 8).saturating_mul(1_000_000_000) / rate.max(1)
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
    fn neighbours_of_one_local_network_are_less_than_a_millisecond_apart() {
        let home = Place { site: Some(1), ..Place::NEAR };
        assert_eq!(home.round_trip(home), LAN);
        let elsewhere = Place { region: Region::Asia, ..home };
        assert_eq!(home.round_trip(elsewhere), Duration::from_millis(225));
        assert_eq!(home.round_trip(Place::NEAR), Duration::from_millis(20));
    }

    #[test]
    fn regions_come_in_their_proportions() {
        let mut rng = Rng::from_number(1);
        let places = (0..1_000).map(|_| Place::weighted(&mut rng, [0, 1, 3, 0, 0]));
        let europe = places.filter(|place| place.region == Region::Europe).count();
        assert!((700..800).contains(&europe), "{europe}");
        assert_eq!(Place::weighted(&mut rng, [0, 0, 0, 1, 0]).region, Region::Asia);
    }
}
