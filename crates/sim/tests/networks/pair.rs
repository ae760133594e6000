//! Two bare nodes, and what tests of faults do with them.

use std::time::Duration;

use weir_base::Instant;
use weir_sim::flood::{TXS, transaction};
use weir_sim::{Dials, Model, Network, NodeId, Note, Path, Place};

use crate::common;

pub(crate) const A: NodeId = NodeId(0);
pub(crate) const B: NodeId = NodeId(1);

/// Two nodes, 20 ms apart, on a path without chance, of which A dials; `change` the rest.
pub(crate) fn pair(change: impl FnOnce(&mut weir_sim::Setup)) -> Network {
    let mut setup = common::setup(2, 1, 3);
    (setup.model, setup.dials) = (Model::calm(), Dials::OneEnd);
    setup.place = |_, _| Place::NEAR;
    change(&mut setup);
    Network::new(setup).unwrap()
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn linked_after(net: &mut Network, pause: u64) -> bool {
    net.run(millis(pause), |_, _, _| {});
    net.linked(A, B) && net.linked(B, A)
}

pub(crate) fn both(net: &mut Network, path: Path) {
    net.host.set_path(A, B, path);
    net.host.set_path(B, A, path);
}

/// When a node accepted items, within `pause`.
pub(crate) fn accepted(net: &mut Network, pause: u64, by: NodeId) -> Vec<Instant> {
    let mut times = Vec::new();
    net.run(millis(pause), |net, id, note| {
        if id == by && matches!(note, Note::Accepted { .. }) {
            times.push(net.host.now());
        }
    });
    times
}

pub(crate) fn insert(net: &mut Network, id: NodeId, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let taken = net.host.with(id, |actor, now| actor.insert(now, TXS, transaction(number, 1)));
        assert_eq!(taken, Some(true));
    }
}
