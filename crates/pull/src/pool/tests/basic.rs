use super::super::*;
use super::mesh::{Mesh, RULES, id, item, ms};

#[test]
fn an_item_travels_between_two_nodes() {
    let mut mesh = Mesh::full(1, 2, &Config::new(RULES));
    let bytes = item(5, 1, 300);
    mesh.insert(0, &bytes);
    mesh.run_for(ms(1_000));
    assert_eq!(mesh.ids(1), [id(&bytes)]);
    let stats = mesh.stats(1);
    assert_eq!((stats.bodies, stats.duplicates, stats.body_bytes), (1, 0, 300));
    assert!(mesh.faults.is_empty(), "{:?}", mesh.faults);
    assert_eq!(mesh.stats(1).entries_sent, 0, "what the peer has is not offered back");
}

#[test]
fn many_items_of_many_nodes_reach_all_once() {
    let mut mesh = Mesh::full(2, 6, &Config::new(RULES));
    for number in 0..600 {
        let node = usize::try_from(number % 6).unwrap();
        mesh.insert(node, &item(5, number, 20 + usize::try_from(number * 7 % 3_000).unwrap()));
        if number % 5 == 0 {
            mesh.run_for(ms(10));
        }
    }
    mesh.run_for(ms(5_000));
    assert!(mesh.faults.is_empty(), "{:?}", mesh.faults);
    for node in 0..6 {
        assert_eq!(mesh.ids(node).len(), 600, "node {node}: {:?}", mesh.stats(node));
        let stats = mesh.stats(node);
        assert_eq!((stats.bodies, stats.duplicates), (500, 0));
    }
}
