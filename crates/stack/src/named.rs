//! Other people's protocols: those that this node speaks by name on every link.
//!
//! - Each is declared with its names, best first, before the node starts; a node of its own numbers them from
//!   [`NAMED`] on, one number a name, in the order of their declaration.
//! - What its streams are for is its [`NamedShape`]: bytes of the application's, or requests and responses.
//!
//! On the wire: `docs/spec/streams.md`, "By name"; `docs/spec/libp2p-links.md`, "Names".

use std::collections::BTreeSet;

use weir_base::{LimitError, ProtocolId};
use weir_link::NAMED;

use crate::config_error::ConfigError;
use crate::exchange::Config as ExchangeConfig;

/// Names of all protocols of a node together: identify has to tell them all, and peers keep them.
pub const NAMES_MAX: usize = 64;

/// Bytes of one name: twice the longest that is in use anywhere, and far below what multistream's tokens can carry.
pub const NAME_MAX: usize = 128;

/// Bytes of all names of a node together: one of the ten messages that identify may have.
pub const NAMES_BYTES_MAX: usize = 4096;

/// A protocol by name.
#[derive(Clone, Debug)]
pub struct NamedProtocol {
    /// What it is called, in the order of preference; versions of one protocol, say. At least one.
    pub names: Vec<String>,
    /// Whether this node takes streams that peers open for it. Else it only opens them.
    pub served: bool,
    /// What its streams are for.
    pub shape: NamedShape,
}

/// What the streams of a protocol by name are for.
#[derive(Clone, Debug)]
pub enum NamedShape {
    /// The application reads and writes bytes ([`raw`](crate::raw)).
    Stream,
    /// One request, one response ([`exchange`](crate::exchange)).
    Exchange(ExchangeConfig),
}

/// Each with the number of its first name.
pub fn numbered(protocols: &[NamedProtocol]) -> impl Iterator<Item = (ProtocolId, &NamedProtocol)> {
    protocols.iter().scan(NAMED.0, |next, protocol| {
        let first = ProtocolId(*next);
        *next = next.saturating_add(count(protocol));
        Some((first, protocol))
    })
}

/// The numbers of a protocol's names.
pub(crate) fn numbers(first: ProtocolId, protocol: &NamedProtocol) -> impl Iterator<Item = ProtocolId> {
    (first.0..first.0.saturating_add(count(protocol))).map(ProtocolId)
}

fn count(protocol: &NamedProtocol) -> u32 {
    u32::try_from(protocol.names.len()).unwrap_or(u32::MAX)
}

/// Whether the names of all of them are within bounds, and their largest messages within the memory for requests. Links check the form of
/// names, and that none comes twice.
pub(crate) fn check(protocols: &[NamedProtocol], memory: u64) -> Result<(), ConfigError> {
    let fail = |remedy: String| Err(ConfigError::Protocols(remedy));
    let names = || protocols.iter().flat_map(|protocol| &protocol.names);
    if protocols.iter().any(|protocol| protocol.names.is_empty()) {
        return fail("need at least one name each".to_owned());
    }
    if let Some(long) = names().find(|name| name.len() > NAME_MAX) {
        return fail(format!("have names of at most {NAME_MAX} bytes, unlike `{long}`"));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = names().find(|name| !seen.insert(name.as_str())) {
        return fail(format!("have each name once, unlike `{twice}`"));
    }
    let holds = |protocol: &NamedProtocol| match &protocol.shape {
        NamedShape::Stream => true,
        NamedShape::Exchange(ExchangeConfig { limits, .. }) => {
            limits.per_peer > 0 && limits.total > 0 && !limits.deadline.is_zero()
        }
    };
    if let Some(idle) = protocols.iter().find(|protocol| !holds(protocol)) {
        let name = idle.names.first().map_or("", String::as_str);
        return fail(format!("have a deadline and a concurrency above 0, unlike `{name}`"));
    }
    let too_large = |protocol: &NamedProtocol| match &protocol.shape {
        NamedShape::Exchange(config) if config.largest() > memory => {
            Some((protocol.names.first().cloned().unwrap_or_default(), config.largest()))
        }
        _ => None,
    };
    if let Some((name, largest)) = protocols.iter().find_map(too_large) {
        let remedy =
            format!("must be at least {largest} bytes, the largest message of `{name}` in its frame");
        return Err(LimitError::new("requests.memory", remedy).into());
    }
    let (count, bytes) = (names().count(), names().map(String::len).sum::<usize>());
    if count > NAMES_MAX || bytes > NAMES_BYTES_MAX {
        return fail(format!(
            "have at most {NAMES_MAX} names of {NAMES_BYTES_MAX} bytes together, not {count} of {bytes}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(names: &[String]) -> NamedProtocol {
        NamedProtocol { names: names.to_vec(), served: true, shape: NamedShape::Stream }
    }

    #[test]
    fn every_name_has_a_number_of_its_own() {
        let protocols =
            [protocol(&["/a/2".into(), "/a/1".into()]), protocol(&["/b".into()]), protocol(&["/c".into()])];
        let firsts: Vec<u32> = numbered(&protocols).map(|(first, _)| first.0 - NAMED.0).collect();
        assert_eq!(firsts, [0, 2, 3]);
        let all: Vec<u32> = numbered(&protocols)
            .flat_map(|(first, protocol)| numbers(first, protocol))
            .map(|number| number.0 - NAMED.0)
            .collect();
        assert_eq!(all, [0, 1, 2, 3]);
    }

    #[test]
    fn names_are_bounded_in_length_in_count_and_in_bytes_together() {
        let name = |number: usize, len: usize| format!("/{number:0len$}", len = len - 1);
        let holds = |names: &[String]| check(&[protocol(names)], 0).is_ok();
        assert!(!holds(&["/a".into(), "/a".into()]));
        assert!(holds(&[name(1, NAME_MAX)]) && !holds(&[name(1, NAME_MAX + 1)]) && !holds(&[]));
        let many: Vec<String> = (0..=NAMES_MAX).map(|number| name(number, 8)).collect();
        assert!(holds(&many[1..]) && !holds(&many));
        let long: Vec<String> =
            (0..=NAMES_BYTES_MAX / NAME_MAX).map(|number| name(number, NAME_MAX)).collect();
        assert!(holds(&long[1..]) && !holds(&long));
    }
}
