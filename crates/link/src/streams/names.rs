//! What protocols are called where a stream's protocol is agreed on by name: multistream-select, on libp2p's connections.
//!
//! A protocol without a name is not spoken there. One with several is proposed by the first and taken by any.

use std::collections::{BTreeMap, BTreeSet};

use weir_base::ProtocolId;
use weir_libp2p::multistream::{NameError, Names};

use crate::ConfigError;

/// Both directions of the table.
#[derive(Debug)]
pub(crate) struct ProtocolNames {
    all: Option<Names>,      // none where nothing has a name
    owners: Vec<ProtocolId>, // of each name in `all`
    proposed: BTreeMap<ProtocolId, Names>,
}

impl ProtocolNames {
    /// # Errors
    /// [`ConfigError`]: a name that is none, or one of two protocols.
    pub(crate) fn new(table: &[(ProtocolId, Vec<String>)]) -> Result<Self, ConfigError> {
        let fail = |id: ProtocolId, remedy: String| ConfigError {
            field: "protocols",
            value: u64::from(id.0),
            remedy,
        };
        let (mut all, mut owners, mut proposed) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut seen = BTreeSet::new();
        for (id, names) in table {
            let checked = |error: NameError| fail(*id, format!("its names must be valid: {error}"));
            proposed.insert(*id, Names::new(names.iter().map(String::as_str)).map_err(checked)?);
            for name in names {
                if !seen.insert(name.as_str()) {
                    return Err(fail(*id, format!("another protocol is called `{name}`, too")));
                }
                all.push(name.as_str());
                owners.push(*id);
            }
        }
        let too_many = |error: NameError| fail(ProtocolId(0), format!("all names together: {error}"));
        let all = if all.is_empty() { None } else { Some(Names::new(all).map_err(too_many)?) };
        Ok(Self { all, owners, proposed })
    }

    /// What this node answers to; none: nothing.
    pub(crate) fn offered(&self) -> Option<Names> {
        self.all.clone()
    }

    /// What this node proposes for a protocol.
    pub(crate) fn of(&self, protocol: ProtocolId) -> Option<Names> {
        self.proposed.get(&protocol).cloned()
    }

    /// Whose the offered name with this index is.
    pub(crate) fn owner(&self, index: usize) -> Option<ProtocolId> {
        self.owners.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[(u32, &[&str])]) -> Result<ProtocolNames, ConfigError> {
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        ProtocolNames::new(&names.iter().map(|(id, list)| (ProtocolId(*id), owned(list))).collect::<Vec<_>>())
    }

    #[test]
    fn a_protocol_is_proposed_by_its_names_and_found_by_any() {
        let names = table(&[(4, &["/a/2", "/a/1"]), (8, &["/b"])]).unwrap();
        let proposed = names.of(ProtocolId(4)).unwrap();
        assert_eq!(proposed.iter().collect::<Vec<_>>(), ["/a/2", "/a/1"]);
        assert_eq!(names.offered().unwrap().get(2), Some("/b"));
        assert_eq!(
            [0, 1, 2, 3].map(|index| names.owner(index).map(|id| id.0)),
            [Some(4), Some(4), Some(8), None]
        );
        assert_eq!(names.of(ProtocolId(5)), None);
        assert_eq!(table(&[]).unwrap().offered(), None);
    }

    #[test]
    fn a_name_of_two_protocols_or_none_is_refused() {
        for wrong in [&[(4, &["/a"][..]), (8, &["/a"][..])][..], &[(4, &["na"][..])], &[(4, &[][..])]] {
            assert_eq!(table(wrong).unwrap_err().field, "protocols");
        }
    }
}
