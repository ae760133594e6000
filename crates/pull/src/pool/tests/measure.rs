//! What a transaction costs a node in control bytes and bodies, at the offer delay of transactions.

use weir_base::Rng;

use super::super::*;
use super::mesh::{Mesh, RULES, item, ms, pool};

/// `nodes` nodes with `degree` links each, half of them dialled, at 20 to 60 ms.
fn graph(seed: u64, nodes: usize, degree: usize, config: &Config) -> Mesh {
    let mut mesh = Mesh::new(seed);
    let mut rng = Rng::from_number(seed);
    for node in 0..nodes {
        mesh.add(Some(pool(node, config.clone(), seed)));
    }
    for node in 0..nodes {
        for step in 1..=degree / 2 {
            let delay = 20 + rng.below(41);
            mesh.link(node, (node + step * step) % nodes, delay); // no two are the same link, as `nodes` is a prime, 3 over a multiple of 4
        }
    }
    mesh
}

/// Control bytes, entries (both in hundredths per transaction and node) and bodies received, at `rate` transactions a second.
fn measure(nodes: usize, degree: usize, rate: u32, count: u64) -> (u64, u64, u64) {
    let mut mesh = graph(7, nodes, degree, &Config::new(RULES));
    mesh.app = Box::new(|_, _| (ms(2), Some(Verdict::Accept)));
    let mut rng = Rng::from_number(9);
    mesh.run_for(ms(500));
    let sum = |mesh: &Mesh, field: fn(&Stats) -> u64| -> u64 {
        (0..nodes).map(|node| field(&mesh.stats(node))).sum()
    };
    let before = sum(&mesh, |stats| stats.control_bytes);
    for number in 0..count {
        let size = 100 + rng.index(500);
        mesh.insert(rng.index(nodes), &item(5, number, size));
        mesh.run_for(ms(1_000) / rate);
    }
    mesh.run_for(ms(3_000));
    assert!((0..nodes).all(|node| mesh.ids(node).len() as u64 == count) && mesh.faults.is_empty());
    let pairs = count * nodes as u64;
    let control = (sum(&mesh, |stats| stats.control_bytes) - before) * 100 / pairs;
    (control, sum(&mesh, |stats| stats.entries) * 100 / pairs, sum(&mesh, |stats| stats.bodies))
}

#[test]
fn control_bytes_follow_the_links_and_bodies_come_once() {
    // Each link carries an item's entry (12 bytes here) once at least: 2 and 6 entries a node are the least possible.
    let (control, entries, bodies) = measure(11, 4, 100, 100);
    assert!(control < 5_000 && entries < 300 && bodies == 1_000, "{control} {entries} {bodies}");
    let (control, entries, bodies) = measure(31, 12, 100, 40);
    assert!(control < 12_000 && entries < 900 && bodies == 1_200, "{control} {entries} {bodies}");
}
