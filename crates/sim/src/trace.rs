//! The trace hash: one number for everything that happened in a run.
//!
//! Each node has one: SHA-256 over a version byte and then, for each event there, 45 bytes: time (8, nanoseconds), node (4),
//! sequence (8), kind (1), link (8), length (8), payload (8). All little-endian, nothing of the host in it. The hash of the run
//! is SHA-256 over theirs in the order of nodes, so that it does not depend on which node was carried out first. The payload
//! is SipHash-1-3 under a zero key of what was delivered; for QUIC's datagrams, whose cryptography draws from the system, it
//! is 0. Two runs with the same hash delivered the same events in the same order (`docs/simulator.md`).

use std::hash::Hasher as _;

use sha2::{Digest as _, Sha256};
use siphasher::sip::SipHasher13;
use weir_base::Instant;
use weir_stack::{Frame, PipeChange, WireChange};

/// The version of the layout above.
const VERSION: u8 = 3;

/// What kind of event was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Frame = 1,
    Datagram = 2,
    Timeout = 3,
    Wire = 4,
    Driver = 5,
    /// A node stopped, was started, or hung.
    Life = 6,
    /// A path changed.
    Path = 7,
    /// Something did not get through as it was sent: the payload is the number of the reason.
    Drop = 8,
    /// Verdicts of an application.
    Verdicts = 9,
    /// Bytes of a byte stream, or a change of it.
    Bytes = 10,
}

/// One event: which wire and how long where it has either, and the hash of what it carried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traced {
    pub(crate) kind: Kind,
    pub(crate) link: u64,
    pub(crate) len: u64,
    pub(crate) payload: u64,
}

impl Traced {
    pub(crate) fn frame(wire: u64, frame: &Frame) -> Self {
        let mut head = Vec::new();
        let payload = if let Frame::Data { stream, bytes } = frame {
            let mut hasher = SipHasher13::new();
            hasher.write(&stream.to_le_bytes());
            hasher.write(bytes);
            hasher.finish()
        } else {
            frame.encode(&mut head);
            hash(&head)
        };
        Self { kind: Kind::Frame, link: wire, len: frame.wire_len() as u64, payload }
    }

    pub(crate) const fn datagram(len: usize) -> Self {
        Self { kind: Kind::Datagram, link: 0, len: len as u64, payload: 0 }
    }

    pub(crate) fn bytes(pipe: u64, bytes: &[u8]) -> Self {
        Self { kind: Kind::Bytes, link: pipe, len: bytes.len() as u64, payload: hash(bytes) }
    }

    pub(crate) const fn pipe(pipe: u64, change: PipeChange) -> Self {
        let payload = match change {
            PipeChange::Accepted { .. } => 1,
            PipeChange::Connected => 2,
            PipeChange::Failed => 3,
            PipeChange::Finished => 4,
            PipeChange::Closed => 5,
            PipeChange::Blocked => 6,
            PipeChange::Writable => 7,
        };
        Self { kind: Kind::Bytes, link: pipe, len: 0, payload }
    }

    pub(crate) const fn timeout() -> Self {
        Self { kind: Kind::Timeout, link: 0, len: 0, payload: 0 }
    }

    pub(crate) fn wire(wire: u64, change: &WireChange) -> Self {
        let payload = match change {
            WireChange::Opened { dialled: Some(_), .. } => 1,
            WireChange::Opened { .. } => 2,
            WireChange::Closed => 3,
            WireChange::Refused(_) => 4,
        };
        Self { kind: Kind::Wire, link: wire, len: 0, payload }
    }

    /// Of a kind that needs a number and nothing else.
    pub(crate) const fn number(kind: Kind, number: u64) -> Self {
        Self { kind, link: number, len: 0, payload: 0 }
    }

    pub(crate) fn driver(bytes: &[u8]) -> Self {
        Self { kind: Kind::Driver, link: 0, len: bytes.len() as u64, payload: hash(bytes) }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The hash of what happened at a node so far.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    hash: Sha256,
    events: u64,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { hash: Sha256::new_with_prefix([VERSION]), events: 0 }
    }

    pub(crate) fn add(&mut self, now: Instant, node: u32, event: Traced) {
        let mut bytes = [0; 45];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        put(&now.as_nanos().to_le_bytes());
        put(&node.to_le_bytes());
        put(&self.events.to_le_bytes());
        put(&[event.kind as u8]);
        put(&event.link.to_le_bytes());
        put(&event.len.to_le_bytes());
        put(&event.payload.to_le_bytes());
        self.hash.update(bytes);
        self.events += 1;
    }

    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// The hash of a run: 64 hexadecimal digits.
    pub(crate) fn hex<'a>(all: impl Iterator<Item = &'a Self>) -> String {
        use std::fmt::Write as _;
        let mut hash = Sha256::new_with_prefix([VERSION]);
        all.for_each(|trace| hash.update(trace.digest()));
        hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_counts() {
        let event = Traced::driver(b"one");
        let of = |now, node, event| {
            let mut trace = Trace::new();
            trace.add(Instant::from_nanos(now), node, event);
            Trace::hex([trace].iter())
        };
        let first = of(1, 1, event);
        assert_eq!(first, of(1, 1, event));
        assert_eq!(first.len(), 64);
        for other in [
            of(2, 1, event),
            of(1, 2, event),
            of(1, 1, Traced::driver(b"two")),
            of(1, 1, Traced { link: 1, ..event }),
            of(1, 1, Traced { kind: Kind::Frame, ..event }),
        ] {
            assert_ne!(first, other);
        }
    }
}
