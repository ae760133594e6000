//! A body is in memory once, at whatever number of nodes: large ones are taken as they came, and small ones, which are copied on the
//! way, are the first node's.

use crate::common;

use std::collections::BTreeMap;

use weir_sim::Note;
use weir_sim::flood::Flood;

#[test]
fn bodies_at_all_nodes_are_one_buffer() {
    let mut flood = Flood::new(common::setup(20, 6, 7), common::load(50, 4, 10)).unwrap();
    let mut buffers = BTreeMap::new();
    let mut kept = Vec::new(); // or an address could be used again
    flood.run_with(|_, _, note| {
        let Note::Accepted { id, bytes } = note else { return };
        kept.push(bytes.clone());
        buffers.entry(*id).or_insert_with(Vec::new).push(bytes.as_ptr());
    });
    common::assert_well(&mut flood);
    assert_eq!(buffers.len(), 200);
    for pointers in buffers.values_mut() {
        assert_eq!(pointers.len(), 19);
        pointers.dedup();
    }
    let copied = buffers.values().filter(|pointers| pointers.len() > 1).count();
    assert_eq!(copied, 0, "of {}", buffers.len());
}
