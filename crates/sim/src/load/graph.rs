//! Random graphs: who is linked to whom, and who dialled.

use std::collections::BTreeSet;

use weir_base::Rng;

/// What the graph of a network looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Graph {
    /// Every node has the same number of links, half of them dialled by itself: [`rings`].
    #[default]
    Expander,
    /// One node in twenty is a hub: to a hub go half of what every other node dials, so that hubs have many times as many links.
    Hubs,
    /// Nodes of ten are linked among each other, and each ten with the next by two links only, and with a random one by one.
    Clusters,
    /// The first twentieth of the nodes, two at least, are seeds: each dials the next one, and every other node dials one of them. What
    /// a network is before its nodes have heard of each other.
    Seeds,
}

/// One node in so many is a hub, or a seed.
const HUBS: u32 = 20;
/// Nodes of a cluster.
const CLUSTER: u32 = 10;

impl Graph {
    /// Who dials whom among so many nodes, of which each has about `links`.
    pub fn edges(self, nodes: u32, links: u32, rng: &mut Rng) -> Vec<(u32, u32)> {
        match self {
            Self::Expander => rings(nodes, links, rng),
            Self::Hubs => hubs(nodes, links, rng),
            Self::Clusters => clusters(nodes, links, rng),
            Self::Seeds => seeds(nodes, rng),
        }
    }
}

/// How many of so many nodes are seeds.
pub fn seeds_of(nodes: u32) -> u32 {
    nodes.div_ceil(HUBS).max(2).min(nodes)
}

fn seeds(nodes: u32, rng: &mut Rng) -> Vec<(u32, u32)> {
    let seeds = seeds_of(nodes);
    let between = (1..seeds).map(|seed| (seed - 1, seed));
    let own = (seeds..nodes).map(|node| (node, u32::try_from(rng.index(seeds as usize)).unwrap_or(0)));
    between.chain(own).collect()
}

fn hubs(nodes: u32, links: u32, rng: &mut Rng) -> Vec<(u32, u32)> {
    let mut edges = rings(nodes, links.div_ceil(2), rng);
    let mut known: BTreeSet<(u32, u32)> = edges.iter().map(|(one, other)| ordered(*one, *other)).collect();
    let hubs = nodes.div_ceil(HUBS);
    for node in hubs..nodes {
        for _ in 0..(links / 4).max(1) {
            let hub = u32::try_from(rng.index(hubs as usize)).unwrap_or(0);
            if known.insert(ordered(node, hub)) {
                edges.push((node, hub));
            }
        }
    }
    edges
}

fn clusters(nodes: u32, links: u32, rng: &mut Rng) -> Vec<(u32, u32)> {
    let mut edges = Vec::new();
    let firsts: Vec<u32> = (0..nodes).step_by(CLUSTER as usize).collect();
    for first in &firsts {
        let inside = rings(CLUSTER.min(nodes - first), links, rng);
        edges.extend(inside.into_iter().map(|(one, other)| (first + one, first + other)));
    }
    let mut known: BTreeSet<(u32, u32)> = edges.iter().map(|(one, other)| ordered(*one, *other)).collect();
    for (number, first) in firsts.iter().enumerate() {
        let next = firsts[(number + 1) % firsts.len()];
        let far = firsts[rng.index(firsts.len())];
        for (one, other) in [(first + 1, next), (first + 2, next + 3), (first + 4, far + 5)] {
            let apart = one / CLUSTER != other / CLUSTER && one.max(other) < nodes;
            if apart && known.insert(ordered(one, other)) {
                edges.push((one, other));
            }
        }
    }
    edges
}

fn ordered(one: u32, other: u32) -> (u32, u32) {
    (one.min(other), one.max(other))
}

/// Who dials whom: the union of `links / 2` random rings over `nodes`, each node dialling the next one, so that each has
/// `links` links, or fewer where two rings share an edge. Where `links` is `nodes` - 1 or more: everybody with everybody.
pub fn rings(nodes: u32, links: u32, rng: &mut Rng) -> Vec<(u32, u32)> {
    if links + 1 >= nodes {
        return (0..nodes)
            .flat_map(|one| (one + 1..nodes).map(move |other| (one, other)))
            .map(|(one, other)| if (one + other) % 2 == 0 { (one, other) } else { (other, one) })
            .collect();
    }
    let (mut edges, mut known) = (Vec::new(), BTreeSet::new());
    let mut order: Vec<u32> = (0..nodes).collect();
    let free = |known: &BTreeSet<(u32, u32)>, one: u32, other: u32| {
        one != other && !known.contains(&(one.min(other), one.max(other)))
    };
    for _ in 0..links.div_ceil(2) {
        rng.shuffle(&mut order);
        for at in 0..order.len() {
            // a node that is linked already changes places with a later one, where that helps
            let one = order[at];
            let next = (at + 1) % order.len();
            if let Some(other) = (next..order.len()).find(|at| free(&known, one, order[*at])) {
                order.swap(next, other);
            }
            let other = order[next];
            if free(&known, one, other) {
                known.insert((one.min(other), one.max(other)));
                edges.push((one, other));
            }
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_the_links_it_should_and_dials_about_half() {
        let edges = rings(200, 20, &mut Rng::from_number(7));
        let (mut dialled, mut all) = ([0; 200], [0; 200]);
        for (one, other) in &edges {
            dialled[*one as usize] += 1;
            all[*one as usize] += 1;
            all[*other as usize] += 1;
        }
        assert!(all.iter().all(|links| (18..=20).contains(links)), "{all:?}");
        assert!(dialled.iter().all(|links| (8..=10).contains(links)));
        assert!(edges.len() >= 1980, "{}", edges.len());
    }

    fn degrees(nodes: u32, edges: &[(u32, u32)]) -> Vec<usize> {
        (0..nodes).map(|id| edges.iter().filter(|(one, other)| *one == id || *other == id).count()).collect()
    }

    #[test]
    fn hubs_have_many_times_as_many_links_as_the_others() {
        let edges = Graph::Hubs.edges(200, 20, &mut Rng::from_number(7));
        let degrees = degrees(200, &edges);
        let (hubs, others) = degrees.split_at(10);
        assert!(others.iter().all(|links| (10..=20).contains(links)), "{degrees:?}");
        assert!(hubs.iter().min().unwrap() >= &(4 * others.iter().max().unwrap()), "{degrees:?}");
    }

    #[test]
    fn clusters_are_linked_by_few_and_all_are_reached() {
        let edges = Graph::Clusters.edges(95, 20, &mut Rng::from_number(7));
        let between = edges.iter().filter(|(one, other)| one / CLUSTER != other / CLUSTER).count();
        assert!((20..=30).contains(&between), "{between}");
        let mut reached = BTreeSet::from([0]);
        while let Some((one, other)) =
            edges.iter().find(|(one, other)| reached.contains(one) != reached.contains(other))
        {
            reached.extend([*one, *other]);
        }
        assert_eq!(reached.len(), 95);
        let unique: BTreeSet<_> = edges.iter().map(|(one, other)| ordered(*one, *other)).collect();
        assert_eq!(unique.len(), edges.len());
    }

    #[test]
    fn every_node_knows_one_seed_and_seeds_are_linked() {
        let edges = Graph::Seeds.edges(60, 20, &mut Rng::from_number(7));
        assert_eq!(edges[..2], [(0, 1), (1, 2)]);
        let own = &edges[2..];
        assert_eq!(own.len(), 57);
        assert!(own.iter().all(|(node, seed)| *node >= 3 && *seed < 3), "{own:?}");
        assert!((0..3).all(|seed| own.iter().any(|(_, of)| *of == seed)), "each is somebody's");
    }

    #[test]
    fn few_nodes_are_all_linked_once() {
        assert_eq!(rings(2, 20, &mut Rng::from_number(1)).len(), 1);
        assert_eq!(rings(21, 20, &mut Rng::from_number(1)).len(), 210);
    }
}
