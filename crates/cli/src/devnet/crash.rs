//! What becomes of the node that `--kill-one` kills: where the run is with it.

use std::time::Duration;

/// How long a killed node stays away.
const AWAY: Duration = Duration::from_secs(3);
/// Blocks after a kill until what only the killed node held is submitted elsewhere.
const RESUBMIT_AFTER: u64 = 3;

/// Stages of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// None was asked for.
    Never,
    /// At this height this node will be killed.
    Planned { node: usize, height: u64 },
    /// It is down.
    Away { node: usize, since: Duration, height: u64 },
    /// It runs again; what only it held is missing still.
    Back { node: usize, height: u64 },
    /// What only it held was submitted elsewhere.
    Over { node: usize },
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Kill this node.
    Kill(usize),
    /// Start it again.
    Restart(usize),
    /// Submit elsewhere what only it held.
    Resubmit(usize),
}

impl Crash {
    /// What is due; the stage is the one after it then.
    pub(crate) fn step(&mut self, now: Duration, height: u64) -> Option<Step> {
        let (next, step) = match *self {
            Self::Planned { node, height: due } if height >= due => {
                (Self::Away { node, since: now, height }, Step::Kill(node))
            }
            Self::Away { node, since, height } if now >= since + AWAY => {
                (Self::Back { node, height }, Step::Restart(node))
            }
            Self::Back { node, height: killed_at } if height >= killed_at + RESUBMIT_AFTER => {
                (Self::Over { node }, Step::Resubmit(node))
            }
            _ => return None,
        };
        *self = next;
        Some(step)
    }

    /// Whether nothing more will happen.
    pub(crate) fn settled(&self) -> bool {
        matches!(self, Self::Never | Self::Over { .. })
    }

    /// The node that was killed, from then on.
    pub(crate) fn killed(&self) -> Option<usize> {
        match *self {
            Self::Never | Self::Planned { .. } => None,
            Self::Away { node, .. } | Self::Back { node, .. } | Self::Over { node } => Some(node),
        }
    }

    /// The sets of accounts in use: one per node; a node that was killed uses the spare one (`nodes`) at the end.
    pub(crate) fn account_sets(&self, nodes: usize) -> Vec<usize> {
        let spare = matches!(self, Self::Over { .. }).then_some(nodes);
        (0..nodes).filter(|node| Some(*node) != self.killed()).chain(spare).collect()
    }

    /// The node at which transfers of this set are submitted.
    pub(crate) fn node_of(&self, set: usize, nodes: usize) -> usize {
        match *self {
            Self::Over { node } if set == nodes => node,
            _ => set,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_killed_comes_back_and_signs_with_fresh_accounts() {
        let at = Duration::from_secs;
        let mut crash = Crash::Planned { node: 2, height: 5 };
        assert_eq!(crash.step(at(4), 4), None);
        assert_eq!(crash.account_sets(4), [0, 1, 2, 3]);
        assert_eq!(crash.step(at(5), 5), Some(Step::Kill(2)));
        assert_eq!((crash.killed(), crash.account_sets(4)), (Some(2), vec![0, 1, 3]));
        assert_eq!(crash.step(at(7), 7), None);
        assert_eq!(crash.step(at(8), 7), Some(Step::Restart(2)));
        assert_eq!(crash.step(at(8), 7), None);
        assert_eq!(crash.step(at(9), 8), Some(Step::Resubmit(2)));
        assert!(crash.settled());
        assert_eq!(crash.account_sets(4), [0, 1, 3, 4]);
        assert_eq!((crash.node_of(4, 4), crash.node_of(3, 4)), (2, 3));
    }
}
