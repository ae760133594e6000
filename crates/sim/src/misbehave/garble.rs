//! A peer, or somebody on all its paths, who damages what it sends over QUIC and TCP: packets and bytes in place of frames.

use std::time::Duration;

use bytes::BytesMut;
use weir_base::{Instant, Rng};
use weir_stack::{Frame, WireId};

use crate::host::{Outcome, Tamper};
use crate::model::turn_bit;

/// How long a datagram that is to be overtaken is held back: others follow within less on a busy link.
const HELD_BACK: Duration = Duration::from_millis(30);

/// What a [`Garbler`] does, to how many of a million. Default: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Datagrams of which one bit is turned.
    pub corrupted: u32,
    /// Datagrams that are sent twice.
    pub doubled: u32,
    /// Datagrams that are held back for 30 ms.
    pub overtaken: u32,
    /// Writes to a byte stream of which one bit is turned.
    pub flipped: u32,
}

/// Damages what it sends; frames are left alone.
#[derive(Debug)]
pub struct Garbler {
    damage: Damage,
    rng: Rng,
}

impl Garbler {
    /// What it does, and what decides when.
    pub fn new(damage: Damage, rng: Rng) -> Self {
        Self { damage, rng }
    }

    fn turn(&mut self, bytes: &mut [u8], of: u32) {
        if !bytes.is_empty() && self.rng.chance(of.into(), 1_000_000) {
            turn_bit(bytes, self.rng.below(bytes.len() as u64 * 8));
        }
    }
}

impl Tamper for Garbler {
    fn outgoing(&mut self, _now: Instant, _wire: WireId, frame: Frame, out: &mut Outcome) {
        out.send.push(frame);
    }

    fn incoming(&mut self, _now: Instant, _wire: WireId, frame: Frame, out: &mut Outcome) {
        out.receive.push(frame);
    }

    fn datagram(&mut self, _now: Instant, mut bytes: BytesMut) -> Vec<(Duration, BytesMut)> {
        let Damage { corrupted, doubled, overtaken, .. } = self.damage;
        let pause = if self.rng.chance(overtaken.into(), 1_000_000) { HELD_BACK } else { Duration::ZERO };
        let twice = self.rng.chance(doubled.into(), 1_000_000).then(|| (pause, bytes.clone()));
        self.turn(&mut bytes, corrupted);
        twice.into_iter().chain([(pause, bytes)]).collect()
    }

    fn stream(&mut self, _now: Instant, bytes: &mut [u8]) {
        self.turn(bytes, self.damage.flipped);
    }
}
