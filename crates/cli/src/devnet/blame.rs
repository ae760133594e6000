//! Which faults are told: the first of each kind that a peer is blamed for. All of them are counted.

use std::collections::{BTreeMap, BTreeSet};

use weir::{Fault, PeerId};

/// Names of the run's nodes, and what they were blamed for so far.
#[derive(Debug, Default)]
pub(crate) struct Blames {
    names: BTreeMap<PeerId, String>,
    told: BTreeSet<(PeerId, String)>, // at most one for each node and kind of fault
}

impl Blames {
    /// For nodes with these identities, in the order of their numbers, and one that misbehaves.
    pub(crate) fn new(nodes: impl IntoIterator<Item = PeerId>, hostile: Option<PeerId>) -> Self {
        let nodes = nodes.into_iter().enumerate().map(|(node, peer)| (peer, format!("node {node}")));
        let hostile = hostile.map(|peer| (peer, "the hostile node".to_owned()));
        Self { names: nodes.chain(hostile).collect(), told: BTreeSet::new() }
    }

    /// What to tell of a fault that `node` blames `peer` for; `None` where one of its kind was told.
    pub(crate) fn tell(&mut self, node: usize, peer: PeerId, fault: &Fault) -> Option<String> {
        let fault = fault.to_string();
        let name = self.names.get(&peer).cloned().unwrap_or_else(|| peer.to_string());
        let text = format!("node {node} blames {name}: {fault}");
        self.told.insert((peer, fault)).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use weir::Keypair;

    use super::*;

    #[test]
    fn the_first_fault_of_each_kind_is_told_with_the_nodes_name() {
        let [first, hostile, stranger] =
            [1, 2, 3].map(|seed| Keypair::ed25519_from_seed([seed; 32]).peer_id());
        let mut blames = Blames::new([first], Some(hostile));
        let (false_item, late) = (Fault::invalid("a false item"), Fault::unreliable("late"));
        assert_eq!(
            blames.tell(4, hostile, &false_item).unwrap(),
            "node 4 blames the hostile node: invalid: a false item"
        );
        assert_eq!(blames.tell(5, hostile, &false_item), None);
        assert_eq!(
            blames.tell(5, hostile, &late).unwrap(),
            "node 5 blames the hostile node: unreliable: late"
        );
        assert_eq!(blames.tell(5, first, &late).unwrap(), "node 5 blames node 0: unreliable: late");
        assert!(blames.tell(5, stranger, &late).unwrap().contains(&stranger.to_string()));
    }
}
