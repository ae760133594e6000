//! The checker's part beside a node that receives: what it has advertised on all its links beyond their base windows. With the base
//! windows of all links that may exist that is never more than its budget (`docs/spec/links.md`, "Windows": reserved + lent ≤ total).

use std::collections::BTreeMap;

use weir_stack::Frame;

use super::rules::Declared;
use super::{Change, INITIAL, signed};

/// What one node has advertised.
#[derive(Debug)]
pub(crate) struct Grants {
    base: u64,
    wires: BTreeMap<u64, Granted>,
    lent: i64, // that the checker was not told of
}

/// Bytes since the wire began.
#[derive(Clone, Copy, Debug)]
struct Granted {
    advertised: u64,
    came: u64,
}

impl Granted {
    /// What the peer may still send, beyond the base window.
    fn lent(self, base: u64) -> i64 {
        signed(self.advertised.saturating_sub(self.came).saturating_sub(base))
    }
}

impl Grants {
    /// Of a node with this configuration.
    pub(crate) const fn new(declared: &Declared) -> Self {
        Self { base: declared.limits.base, wires: BTreeMap::new(), lent: 0 }
    }

    /// A wire is open.
    pub(crate) fn opened(&mut self, wire: u64) {
        self.wires.insert(wire, Granted { advertised: INITIAL, came: 0 });
    }

    /// The node sends a frame.
    pub(crate) fn sent(&mut self, wire: u64, frame: &Frame) {
        match frame {
            Frame::LinkCredit { total } => {
                self.change(wire, |granted| granted.advertised = granted.advertised.max(*total));
            }
            Frame::Close { .. } => self.closed(wire),
            _ => {}
        }
    }

    /// The node reads a frame.
    pub(crate) fn received(&mut self, wire: u64, frame: &Frame) {
        if let Frame::Data { bytes, .. } = frame {
            self.change(wire, |granted| granted.came += bytes.len() as u64);
        }
    }

    /// The node has no more to do with a wire.
    pub(crate) fn closed(&mut self, wire: u64) {
        if let Some(granted) = self.wires.remove(&wire) {
            self.lent -= granted.lent(self.base);
        }
    }

    fn change(&mut self, wire: u64, change: impl FnOnce(&mut Granted)) {
        let Some(granted) = self.wires.get_mut(&wire) else { return };
        self.lent -= granted.lent(self.base);
        change(granted);
        self.lent += granted.lent(self.base);
    }

    /// What has changed since the last call. A turn takes back and grants in any order, so this is asked when it has ended.
    pub(crate) fn take(&mut self) -> Option<Change> {
        let lent = std::mem::take(&mut self.lent);
        (lent != 0).then(|| Change { lent, checks: 1, ..Change::default() })
    }
}
