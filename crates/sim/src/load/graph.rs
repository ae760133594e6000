//! A random graph in which every node has the same number of links, half of them dialled by itself.

use std::collections::BTreeSet;

use weir_base::Rng;

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

    #[test]
    fn few_nodes_are_all_linked_once() {
        assert_eq!(rings(2, 20, &mut Rng::from_number(1)).len(), 1);
        assert_eq!(rings(21, 20, &mut Rng::from_number(1)).len(), 210);
    }
}
