//! What each attack must be blamed for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Attack;

/// What the victim must blame its attackers for, and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// How long the victim may take to notice, by the specification.
    pub within: Duration,
    /// The faults, each as the victim tells it: how it weighs, and what happened. All of them must be told.
    pub faults: &'static [&'static str],
}

const YAMUX_STORM: &str = "misbehaved: storm of yamux frames that move nothing";

impl Attack {
    /// What it must be blamed for; `None` where it is no fault, for the reason beside it.
    pub const fn blame(self) -> Option<Blame> {
        let (seconds, faults): (u64, &[&str]) = match self {
            Self::HitAndRun => (0, &["invalid: an item that the application rejected"]),
            Self::SixFaults => (0, &["misbehaved: a message that does not follow its layout"]),
            Self::OddMessages => (0, &["misbehaved: too many messages of types that are skipped"]),
            // the 17th within 10 s
            Self::MovesBack => (8, &["misbehaved: the cursor was moved too often"]),
            // 10 s + size / 16 kB/s
            Self::SlowRequests => (15, &["unreliable: a message begun was not finished in time"]),
            Self::TcpOverrun | Self::TcpGone => (0, &["misbehaved: yamux data beyond the window"]),
            Self::TcpOpenings | Self::TcpResets | Self::TcpPings | Self::TcpUnknown => (2, &[YAMUX_STORM]),
            Self::TcpUseless => (2, &[YAMUX_STORM, "misbehaved: storm of empty records"]),
            Self::TcpTokens => (0, &["misbehaved: too many protocol proposals on one stream"]),
            Self::TcpFields => (
                2,
                &[
                    "misbehaved: unknown type of a yamux frame",
                    "misbehaved: yamux frame for a stream that cannot be",
                    "misbehaved: yamux frame for a stream that was never opened",
                    "misbehaved: yamux stream opened twice",
                    "misbehaved: yamux data after its end",
                ],
            ),
            Self::TcpCredit => (0, &["misbehaved: yamux window update beyond 32 bits"]),
            Self::TcpPushes => (2, &["misbehaved: storm of identify streams"]),
            Self::TcpIdentify => (0, &["misbehaved: malformed identify message"]),
            Self::TcpMplex => (2, &["misbehaved: storm of mplex messages that move nothing"]),
            // Nobody has proved who it is, and addresses that are not proved can be anybody's.
            Self::FirstPackets
            | Self::TcpSilent
            | Self::TcpCut
            | Self::TcpSlow
            | Self::TcpStops
            | Self::TcpForged => return None,
            // Who completes one and leaves has done what anybody may; that it does so often costs it its address's rate.
            Self::Handshakes | Self::TcpHandshakes => return None,
            // It asks for what is granted, and reads or uses it as it likes: it gives way to those who use less.
            Self::UnreadAnswers | Self::ManyItems | Self::ManyCalls | Self::RawStreams | Self::TcpUnread => {
                return None;
            }
            // An item that nobody else has offered may be gone by the time it is asked for.
            Self::GoneStorm => return None,
            // A stream may end before it has said what it is, by its own end or by its deadline: the path may be slow.
            Self::HalfHeads | Self::TcpNameless | Self::TcpDeaf => return None,
        };
        Some(Blame { within: Duration::from_secs(seconds), faults })
    }

    /// What the victim must blame it for in a window of this length; `None` where it may notice later, or need not.
    pub fn blame_due(self, window: Duration) -> Option<Blame> {
        self.blame().filter(|blame| blame.within < window)
    }
}

impl Blame {
    /// Those of its faults that were not told.
    pub fn missing(&self, told: &BTreeMap<String, u64>) -> Vec<&'static str> {
        self.faults.iter().copied().filter(|fault| !told.contains_key(*fault)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_that_is_expected_must_be_told() {
        let blame = Attack::TcpUseless.blame().unwrap();
        let told = |faults: &[&str]| faults.iter().map(|fault| ((*fault).to_owned(), 1)).collect();
        assert_eq!(blame.missing(&told(blame.faults)), Vec::<&str>::new());
        assert_eq!(blame.missing(&told(&["unreliable: something else"])), blame.faults);
        assert_eq!(blame.missing(&told(&[YAMUX_STORM])), ["misbehaved: storm of empty records"]);
    }

    #[test]
    fn nobody_is_blamed_who_has_not_proved_who_it_is() {
        for attack in <Attack as clap::ValueEnum>::value_variants() {
            assert!(!attack.is_unproven() || attack.blame().is_none(), "{attack:?}");
        }
    }
}
