//! Who dials whom when a network's links are set up.

use std::time::Duration;

use weir_base::time::nanos;

use crate::host::{NodeId, World};
use crate::model::Draws;

/// From which ends the links of a network are dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dials {
    /// Of each pair of nodes either one dials, or both do, by chance: each at a time of its own within the first three round trips of
    /// their path. So some dials of both ends cross, and of two links one has to end.
    #[default]
    BothEnds,
    /// The first node of each edge dials, at once.
    OneEnd,
}

/// A dial of one node to another, so long after all begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dial {
    pub(crate) by: NodeId,
    pub(crate) whom: NodeId,
    pub(crate) after: Duration,
}

/// As many round trips apart dials of both ends are at most: after two the second end has heard of the first one's link.
const APART: u64 = 3;

/// What tells this chance from that of datagrams (0) and of wires (1 and their number).
const DIALS: u64 = u64::MAX;

impl Dials {
    /// The dials of one edge; always the same for one seed of the run.
    pub(crate) fn of(self, world: &World, seed: u64, edge: (NodeId, NodeId)) -> impl Iterator<Item = Dial> {
        let (one, other) = edge;
        let first = Dial { by: one, whom: other, after: Duration::ZERO };
        let dials = match self {
            Self::OneEnd => [Some(first), None],
            Self::BothEnds => {
                let mut draws = Draws::of(seed, [one.0.into(), other.0.into(), DIALS]);
                let who = draws.up_to(2);
                let span = APART * nanos(world.round_trip(one, other));
                let [sooner, later] = [(); 2].map(|()| Duration::from_nanos(draws.up_to(span)));
                let second = Dial { by: other, whom: one, after: later };
                [
                    Some(Dial { after: sooner, ..first }).filter(|_| who != 1),
                    Some(second).filter(|_| who != 0),
                ]
            }
        };
        dials.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flood::pool_channel;
    use crate::network::{Network, Setup};

    const ONE: NodeId = NodeId(0);
    const OTHER: NodeId = NodeId(1);

    fn dials(dials: Dials, seed: u64) -> Vec<Dial> {
        let network = Network::new(Setup::new(2, 1, 1, vec![pool_channel()])).unwrap();
        dials.of(network.host.world(), seed, (ONE, OTHER)).collect()
    }

    #[test]
    fn either_end_dials_or_both_do_up_to_three_round_trips_apart() {
        let network = Network::new(Setup::new(2, 1, 1, vec![pool_channel()])).unwrap();
        let (world, trip) = (network.host.world(), network.host.world().round_trip(ONE, OTHER));
        let (mut ways, mut longest, mut apart) = ([0; 3], Duration::ZERO, Duration::ZERO);
        for seed in 0..300 {
            let dials: Vec<Dial> = Dials::BothEnds.of(world, seed, (ONE, OTHER)).collect();
            longest = dials.iter().map(|dial| dial.after).max().unwrap().max(longest);
            match dials[..] {
                [Dial { by: ONE, whom: OTHER, .. }] => ways[0] += 1,
                [Dial { by: OTHER, whom: ONE, .. }] => ways[1] += 1,
                [Dial { by: ONE, after, .. }, Dial { by: OTHER, after: later, .. }] => {
                    ways[2] += 1;
                    apart = apart.max(after.abs_diff(later));
                }
                _ => panic!("{dials:?}"),
            }
        }
        assert!(ways.iter().all(|count| (70..130).contains(count)), "{ways:?}");
        assert!(longest <= trip * 3 && apart > trip * 2, "{longest:?} {apart:?} of {trip:?}");
    }

    #[test]
    fn one_end_dials_at_once_where_that_is_asked_for() {
        assert_eq!(dials(Dials::OneEnd, 7), [Dial { by: ONE, whom: OTHER, after: Duration::ZERO }]);
        assert_eq!(dials(Dials::BothEnds, 7), dials(Dials::BothEnds, 7));
        assert!((0..9).any(|seed| dials(Dials::BothEnds, seed) != dials(Dials::BothEnds, 7)));
    }
}
