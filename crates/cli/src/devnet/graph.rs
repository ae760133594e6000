//! Who is linked to whom: a random connected graph.

use std::collections::BTreeSet;

use weir_sim::Rng;

/// For each node the nodes it dials. A random ring, so that all are connected, then random edges up to `degree` links a
/// node, as far as that can be met.
pub(crate) fn random(nodes: usize, degree: usize, rng: &mut Rng) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..nodes).collect();
    rng.shuffle(&mut order);
    let mut edges = BTreeSet::new();
    let mut links = vec![0_usize; nodes];
    let mut join = |a: usize, b: usize, links: &mut Vec<usize>| {
        let fresh = a != b && edges.insert((a.min(b), a.max(b)));
        if fresh {
            links[a] += 1;
            links[b] += 1;
        }
        fresh
    };
    for pair in order.windows(2) {
        join(pair[0], pair[1], &mut links);
    }
    if nodes > 2 && degree > 1 {
        join(order[0], order[nodes - 1], &mut links);
    }
    for _ in 0..nodes * degree * 8 {
        let open: Vec<usize> = (0..nodes).filter(|node| links[*node] < degree).collect();
        if open.len() < 2 {
            break;
        }
        let (a, b) = (open[rng.index(open.len())], open[rng.index(open.len())]);
        join(a, b, &mut links);
    }
    let mut dials = vec![Vec::new(); nodes];
    for (a, b) in edges {
        let (from, to) = if rng.chance(1, 2) { (a, b) } else { (b, a) };
        dials[from].push(to);
    }
    dials
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_graph_is_connected_and_keeps_the_degree() {
        for (nodes, degree) in [(2, 1), (2, 4), (3, 2), (7, 4), (30, 4), (16, 8)] {
            for seed in 0..20 {
                let dials = random(nodes, degree, &mut Rng::from_number(seed));
                let (mut seen, mut open) = (BTreeSet::from([0]), vec![0]);
                while let Some(node) = open.pop() {
                    for other in 0..nodes {
                        if (dials[node].contains(&other) || dials[other].contains(&node))
                            && seen.insert(other)
                        {
                            open.push(other);
                        }
                    }
                }
                assert_eq!(seen.len(), nodes, "{nodes} nodes, degree {degree}, seed {seed}");
                let links =
                    |node: usize| dials[node].len() + dials.iter().filter(|d| d.contains(&node)).count();
                assert!((0..nodes).all(|node| links(node) <= degree.max(2)));
            }
        }
    }
}
