//! What protocols are called where a stream's protocol is agreed on by name: multistream-select, on libp2p's connections, and for
//! other people's protocols on every link.
//!
//! A protocol without a name is not spoken there. One with several proposes all of them, best first, and is taken by any. Names of
//! other people's protocols are numbered from the protocol's number on, so that a number says which name was agreed on.

use std::collections::{BTreeMap, BTreeSet};

use weir_base::ProtocolId;
use weir_libp2p::multistream::{NameError, Names};

use crate::LimitError;

/// Protocols from here on are other people's: they have no number on the wire, and go by name on every link. The numbers are a
/// node's own; one protocol takes as many as it has names.
pub const NAMED: ProtocolId = ProtocolId(0x2_0000);

/// What a stream says in place of a number where its protocol is agreed on behind that, by name (`docs/spec/streams.md`, "By name").
pub const BY_NAME: ProtocolId = ProtocolId(0x1_0004);

/// The number of the name at `index` of a protocol's.
pub(crate) fn number(protocol: ProtocolId, index: u32) -> ProtocolId {
    if protocol < NAMED { protocol } else { ProtocolId(protocol.0.saturating_add(index)) }
}

/// Both directions of the table.
#[derive(Debug)]
pub(crate) struct ProtocolNames {
    offered: Option<Names>,   // none where nothing is offered
    numbers: Vec<ProtocolId>, // of each name in `offered`
    proposed: BTreeMap<ProtocolId, Names>,
}

impl ProtocolNames {
    /// Those of `unserved` are proposed and not offered.
    ///
    /// # Errors
    /// [`LimitError`]: a name that is none, or one of two protocols.
    pub(crate) fn new(
        table: &[(ProtocolId, Vec<String>)],
        unserved: &[ProtocolId],
    ) -> Result<Self, LimitError> {
        let fail = |id: ProtocolId, remedy: String| {
            LimitError::new("protocols", format!("has the protocol {}: {remedy}", id.0))
        };
        let (mut all, mut numbers, mut proposed) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut seen = BTreeSet::new();
        for (id, names) in table {
            let checked = |error: NameError| fail(*id, format!("its names must be valid: {error}"));
            proposed.insert(*id, Names::new(names.iter().map(String::as_str)).map_err(checked)?);
            for (index, name) in (0..).zip(names) {
                if !seen.insert(name.as_str()) {
                    return Err(fail(*id, format!("another protocol is called `{name}`, too")));
                }
                if !unserved.contains(id) {
                    all.push(name.as_str());
                    numbers.push(number(*id, index));
                }
            }
        }
        let too_many = |error: NameError| fail(ProtocolId(0), format!("all names together: {error}"));
        let offered = if all.is_empty() { None } else { Some(Names::new(all).map_err(too_many)?) };
        Ok(Self { offered, numbers, proposed })
    }

    /// What this node answers to; none: nothing.
    pub(crate) fn offered(&self) -> Option<Names> {
        self.offered.clone()
    }

    /// What this node proposes for a protocol.
    pub(crate) fn of(&self, protocol: ProtocolId) -> Option<Names> {
        self.proposed.get(&protocol).cloned()
    }

    /// Whether there are none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.proposed.is_empty()
    }

    /// The number of the offered name with this index.
    pub(crate) fn owner(&self, index: usize) -> Option<ProtocolId> {
        self.numbers.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[(u32, &[&str])]) -> Result<ProtocolNames, LimitError> {
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let table: Vec<_> = names.iter().map(|(id, list)| (ProtocolId(*id), owned(list))).collect();
        ProtocolNames::new(&table, &[ProtocolId(12)])
    }

    #[test]
    fn a_protocol_is_proposed_by_its_names_and_found_by_any() {
        let named = NAMED.0;
        let names = table(&[(4, &["/a/2", "/a/1"]), (12, &["/c"]), (named, &["/b/2", "/b/1"])]).unwrap();
        let proposed = names.of(ProtocolId(4)).unwrap();
        assert_eq!(proposed.iter().collect::<Vec<_>>(), ["/a/2", "/a/1"]);
        assert_eq!(names.offered().unwrap().get(2), Some("/b/2"));
        assert_eq!(
            [0, 1, 2, 3, 4].map(|index| names.owner(index).map(|id| id.0)),
            [Some(4), Some(4), Some(named), Some(named + 1), None],
            "what is not served is not offered"
        );
        assert_eq!(names.of(ProtocolId(12)).unwrap().get(0), Some("/c"));
        assert_eq!(names.of(ProtocolId(5)), None);
        assert_eq!(table(&[]).unwrap().offered(), None);
        assert!(table(&[]).unwrap().is_empty() && !names.is_empty());
    }

    #[test]
    fn a_name_of_two_protocols_or_none_is_refused() {
        for wrong in [&[(4, &["/a"][..]), (8, &["/a"][..])][..], &[(4, &["na"][..])], &[(4, &[][..])]] {
            assert_eq!(table(wrong).unwrap_err().path(), "protocols");
        }
    }
}
