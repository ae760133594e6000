//! Limits of the address book and the dialler.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_base::{LimitError, units};

use super::known::{Known, Role};

/// The address book and the dialler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Peers that are always dialled and never given up: addresses that end in `/p2p/…`. Default: none.
    pub persistent: Vec<String>,
    /// Links wanted; candidates are dialled below it. At least `min(8, target / 2)` are the node's own dials. Default: 16.
    pub target: u32,
    /// Peers of the book dialled at once. Default: 8. At most `dial.max_dials`.
    pub max_dials: u32,
    /// The largest pause after a first failure; doubled after each further one. Default: 500 ms.
    #[serde(with = "units::duration")]
    pub backoff: Duration,
    /// The largest pause at all. Default: 2 minutes.
    #[serde(with = "units::duration")]
    pub backoff_max: Duration,
    /// Peers in the book. Default: 1,024.
    pub max_known: u32,
    /// Addresses of one peer. Default: 8. At most `dial.max_addresses`.
    pub max_addresses: u32,
    /// Failures in a row after which a candidate is forgotten. Default: 8.
    pub candidate_tries: u32,
    /// Whether links are closed where there are many. Default: no; `admission` alone bounds them.
    pub trim: Option<Trim>,
}

/// When links are closed because there are many, and how many stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trim {
    /// Links that are up; with more, some are closed.
    pub above: u32,
    /// Links that stay then. At least `target`, at most `above`.
    pub to: u32,
    /// How long a link is up before it may be closed for this. Default: 1 minute.
    #[serde(default = "grace", with = "units::duration")]
    pub grace: Duration,
}

const fn grace() -> Duration {
    Duration::from_secs(60)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            persistent: Vec::new(),
            target: 16,
            max_dials: 8,
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(120),
            max_known: 1024,
            max_addresses: 8,
            candidate_tries: 8,
            trim: None,
        }
    }
}

impl Config {
    /// Links that the node itself should have dialled, at least.
    pub fn own_links(&self) -> u32 {
        (self.target / 2).min(8)
    }

    /// The persistent peers.
    pub(crate) fn known(&self) -> Result<Vec<Known>, LimitError> {
        let known = |text: &String| {
            let wrong = |reason: &dyn std::fmt::Display| {
                LimitError::new("persistent", format!("has `{text}`: {reason}"))
            };
            let address: weir_base::multiaddr::Multiaddr =
                text.parse().map_err(|error: weir_base::multiaddr::ParseMultiaddrError| wrong(&error))?;
            let peer = address.peer_id();
            if peer.is_none() {
                return Err(wrong(&"end the address in /p2p/ and the peer's id"));
            }
            Ok(Known { peer, addresses: vec![address], role: Role::Persistent })
        };
        self.persistent.iter().map(known).collect()
    }

    /// Checks every field.
    pub(crate) fn validate(&self) -> Result<(), LimitError> {
        let counts = [
            ("target", self.target),
            ("max_dials", self.max_dials),
            ("max_addresses", self.max_addresses),
            ("candidate_tries", self.candidate_tries),
        ];
        if let Some((field, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(LimitError::new(field, "must be at least 1"));
        }
        if self.backoff.is_zero() || self.backoff > self.backoff_max {
            return Err(LimitError::new("backoff", "must be above 0 and at most ").field("backoff_max"));
        }
        if let Some(trim) = self.trim
            && !(self.target..=trim.above).contains(&trim.to)
        {
            let error = LimitError::new("trim.to", "must be at least ").field("target");
            return Err(error.text(" and at most ").field("trim.above"));
        }
        if self.persistent.len() > self.max_known as usize {
            let remedy = format!("must be at least {}, the number of ", self.persistent.len());
            return Err(LimitError::new("max_known", remedy).field("persistent").text(" peers"));
        }
        self.known().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> Option<&'static str> {
        let mut config = Config::default();
        change(&mut config);
        config.validate().err().map(|error| error.name())
    }

    #[test]
    fn each_limit_is_checked_at_its_bound() {
        assert_eq!(refused(|_| ()), None);
        assert_eq!(refused(|config| config.target = 0), Some("target"));
        assert_eq!(refused(|config| config.max_dials = 0), Some("max_dials"));
        assert_eq!(refused(|config| config.backoff = Duration::ZERO), Some("backoff"));
        assert_eq!(refused(|config| config.backoff = config.backoff_max), None);
        assert_eq!(refused(|config| config.backoff = config.backoff_max * 2), Some("backoff"));
        assert_eq!(refused(|config| config.max_addresses = 0), Some("max_addresses"));
        assert_eq!(refused(|config| config.candidate_tries = 0), Some("candidate_tries"));
    }

    #[test]
    fn persistent_peers_must_find_room_in_the_book() {
        let key = weir_base::identity::Keypair::ed25519_from_seed([1; 32]);
        let address = format!("/memory/1/p2p/{}", key.peer_id());
        let with =
            |most| refused(|config| (config.persistent, config.max_known) = (vec![address.clone(); 2], most));
        assert_eq!([1, 2, 3].map(with), [Some("max_known"), None, None]);
        assert_eq!(refused(|config| config.persistent = vec!["/memory/1".into()]), Some("persistent"));
    }

    #[test]
    fn half_of_the_links_wanted_and_eight_at_most_are_its_own() {
        let own = |target| Config { target, ..Config::default() }.own_links();
        assert_eq!([1, 2, 7, 16, 18, 100].map(own), [0, 1, 3, 8, 8, 8]);
    }
}
