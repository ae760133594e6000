//! What did not get through as it was sent, and why: counted and traced where it was lost.

use super::system::System;
use crate::trace::{Kind, Traced};

/// Why something did not get through as it was sent. The numbers are those of the trace (`docs/simulator.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The network lost it, by the model's chance. Frames and bytes come again later.
    Lost = 1,
    /// The queue before its sender's line was full. Frames and bytes come again later.
    Uplink = 2,
    /// The queue before its receiver's line was full. Frames and bytes come again later.
    Downlink = 3,
    /// The buffer of the receiver's socket was full, or as many frames waited for the node as may; then their wire is reset.
    Buffer = 4,
    /// A datagram was longer than the path carries.
    TooLong = 5,
    /// The path was silent or resetting. Of frames and bytes that wait for it the first is counted, once.
    Path = 6,
    /// Nobody has the address that a datagram was for.
    Nobody = 7,
    /// The device before the receiver had forgotten the flow.
    Forgotten = 8,
    /// The receiver had no power, or no process that listens.
    Down = 9,
    /// It came, with a wrong bit.
    Corrupted = 10,
}

/// How many there are.
const REASONS: usize = 10;

/// How much did not get through as it was sent, where it was lost: at its sender, or at its receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; REASONS]);

impl Drops {
    /// Datagrams, frames, pieces of byte streams, and what systems say to each other, for this reason.
    pub const fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize - 1]
    }
}

impl System {
    /// Something of `len` bytes does not get through as it was sent. `flow`: its wire; of a datagram the other node's number.
    pub(super) fn dropped(&mut self, reason: Reason, flow: u64, len: usize) {
        self.record.drops.0[reason as usize - 1] += 1;
        if matches!(reason, Reason::Uplink | Reason::Downlink | Reason::Buffer | Reason::TooLong) {
            self.record.traffic.dropped();
        }
        self.note(Traced { kind: Kind::Drop, link: flow, len: len as u64, payload: reason as u64 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{NodeId, Udp};
    use crate::trace::Trace;

    #[test]
    fn a_drop_is_traced_with_its_reason_flow_and_length() {
        let trace = |reason, flow, len| {
            let mut system = System::new(NodeId(1), Udp::None);
            system.dropped(reason, flow, len);
            assert_eq!((system.record.trace.events(), system.record.drops.of(reason)), (1, 1));
            Trace::hex([system.record.trace].iter())
        };
        let first = trace(Reason::Lost, 3, 40);
        assert_eq!(first, trace(Reason::Lost, 3, 40));
        for other in [(Reason::Path, 3, 40), (Reason::Lost, 4, 40), (Reason::Lost, 3, 41)] {
            assert_ne!(first, trace(other.0, other.1, other.2), "{other:?}");
        }
    }
}
