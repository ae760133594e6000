//! The time that a node's processor takes, and how punctual it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::time::nanos;

use super::draws::Draws;

/// A node handles what arrived, and sends what follows, in *turns*, one after the other. A turn takes
/// `turn + packet × packets in and out + kilobyte × bytes in and out + what the application asked for`, and what it sends
/// leaves at its end. What arrives meanwhile waits for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Of each turn. Default: 5 µs.
    pub turn: Duration,
    /// Of each frame or datagram, in or out. Default: 2 µs.
    pub packet: Duration,
    /// Of each 1,000 bytes, in or out. Default: 1 µs.
    pub kilobyte: Duration,
    /// Of each verdict of an application. Default: 50 µs, about a signature.
    pub verdict: Duration,
    /// The most that a turn takes longer than that, in percent of it, evenly spread. Default: 30.
    pub jitter_percent: u32,
    /// Turns, of a million, before which the system runs something else. Default: 200.
    pub stalls_per_million: u32,
    /// The most that this takes, evenly spread. Default: 20 ms.
    pub stall: Duration,
    /// The most that a timer is late, evenly spread. Default: 1 ms, what waiting by whole milliseconds costs.
    pub timer: Duration,
    /// Bytes of datagrams that wait for a turn; more are dropped, as by a socket's buffer. Default: 4 MiB.
    pub receive_buffer: usize,
}

impl Default for Processor {
    fn default() -> Self {
        Self::MACHINES
    }
}

/// Constants of processors that a run may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Processors {
    /// What machines take, without system calls: [`Processor::default`].
    #[default]
    Machines,
    /// What a native host takes: [`Processor::NATIVE`].
    Native,
    /// Nothing: [`Processor::INSTANT`].
    Instant,
}

impl Processors {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Machines, Self::Native, Self::Instant];

    /// Its name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machines => "machines",
            Self::Native => "native",
            Self::Instant => "instant",
        }
    }

    /// What it says.
    pub fn constants(self) -> Processor {
        match self {
            Self::Machines => Processor::default(),
            Self::Native => Processor::NATIVE,
            Self::Instant => Processor::INSTANT,
        }
    }
}

impl Processor {
    /// Infinitely fast and always on time.
    pub const INSTANT: Self = Self {
        turn: Duration::ZERO,
        packet: Duration::ZERO,
        kilobyte: Duration::ZERO,
        verdict: Duration::ZERO,
        jitter_percent: 0,
        stalls_per_million: 0,
        stall: Duration::ZERO,
        timer: Duration::ZERO,
        receive_buffer: 4 << 20,
    };

    /// What machines take, without system calls: the default.
    pub const MACHINES: Self = Self {
        turn: Duration::from_micros(5),
        packet: Duration::from_micros(2),
        kilobyte: Duration::from_micros(1),
        verdict: Duration::from_micros(50),
        jitter_percent: 30,
        stalls_per_million: 200,
        stall: Duration::from_millis(20),
        timer: Duration::from_millis(1),
        receive_buffer: 4 << 20,
    };

    /// What a native host's network thread takes, system calls and sleeping included: turns, packets and bytes as
    /// `cargo xtask calibrate` printed them (`docs/simulator.md`), the rest as by default.
    pub const NATIVE: Self = Self {
        turn: Duration::from_micros(70),
        packet: Duration::from_nanos(2_800),
        kilobyte: Duration::ZERO, // what bytes take cannot be told from what their packets take
        ..Self::MACHINES
    };

    /// What a turn takes that moved so much.
    pub(crate) fn cost(&self, draws: &mut Draws, packets: u64, bytes: u64, verdicts: u64) -> Duration {
        let whole = nanos(self.turn)
            + packets * nanos(self.packet)
            + bytes * nanos(self.kilobyte) / 1_000
            + verdicts * nanos(self.verdict);
        let jitter = draws.up_to(whole * u64::from(self.jitter_percent) / 100);
        let stall = if draws.per_million(self.stalls_per_million.into()) {
            draws.up_to(nanos(self.stall))
        } else {
            0
        };
        Duration::from_nanos(whole + jitter + stall)
    }

    /// How late a timer is.
    pub(crate) fn late(&self, draws: &mut Draws) -> Duration {
        Duration::from_nanos(draws.up_to(nanos(self.timer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_costs_by_packets_bytes_and_verdicts() {
        let steady = Processor { jitter_percent: 0, stalls_per_million: 0, ..Processor::default() };
        let mut draws = Draws::of(1, [0; 3]);
        assert_eq!(steady.cost(&mut draws, 0, 0, 0), Duration::from_micros(5));
        assert_eq!(steady.cost(&mut draws, 10, 2_000, 3), Duration::from_micros(5 + 20 + 2 + 150));
        assert_eq!(Processor::INSTANT.cost(&mut draws, 10, 2_000, 3), Duration::ZERO);
    }

    #[test]
    fn stalls_come_as_often_as_they_should() {
        let processor = Processor { stalls_per_million: 10_000, ..Processor::default() };
        let mut draws = Draws::of(1, [0; 3]);
        let long = |_: &u32| processor.cost(&mut draws, 0, 0, 0) > Duration::from_micros(7);
        let count = (0..100_000).filter(long).count();
        assert!((800..1_200).contains(&count), "{count}");
    }
}
