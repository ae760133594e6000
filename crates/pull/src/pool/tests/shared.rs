//! Bodies are held once: what arrives whole is shared, not copied.

use std::time::Duration;

use bytes::Bytes;

use super::super::*;
use super::fetching::config;
use super::mesh::{Mesh, RULES, item, ms};

/// Where the one item of a node's pool lies.
fn place(mesh: &mut Mesh, node: usize) -> *const u8 {
    mesh.pool(node).common.inventory.log.next_from(0).unwrap().1.0.bytes.as_ptr()
}

#[test]
fn pools_of_nodes_in_one_process_hold_one_buffer() {
    // Pieces are not cut, as over frames: the head of a message comes in a piece of its own, the body in the next.
    let mut mesh = Mesh::full(1, 3, &config());
    (mesh.window, mesh.piece) = (1 << 20, usize::MAX >> 1);
    let bytes = item(5, 1, 60_000);
    mesh.insert(0, &bytes);
    mesh.run_for(ms(1_000));
    assert_eq!([0, 1, 2].map(|node| place(&mut mesh, node)), [bytes.as_ptr(); 3]);
}

#[test]
fn a_body_that_comes_in_pieces_is_put_together_once() {
    let mut mesh = Mesh::full(1, 2, &config());
    let bytes = item(5, 1, 60_000);
    mesh.insert(0, &bytes);
    mesh.run_for(ms(1_000));
    assert_ne!(place(&mut mesh, 1), bytes.as_ptr());
    assert_eq!(mesh.pool(1).common.inventory.log.next_from(0).unwrap().1.0.bytes, bytes);
}

#[test]
fn the_pool_shares_the_item_that_the_application_has_already() {
    let mut mesh = Mesh::full(1, 2, &config());
    mesh.app = Box::new(|_, _| (Duration::ZERO, None));
    let bytes = item(5, 1, 100);
    mesh.insert(0, &bytes);
    mesh.run_for(ms(1_000));
    let ((ticket, _), now) = (mesh.pool(1).checking_now()[0], mesh.now);
    let summary = (RULES.summarize)(&bytes).unwrap();
    let own = Item::new(Bytes::copy_from_slice(&bytes), summary, (RULES.judge)(&summary).unwrap());
    let others = [
        Item::new(item(5, 2, 100), summary, own.0.priority),
        Item::new(bytes.clone(), Summary::EMPTY, own.0.priority),
        Item::new(bytes, summary, own.0.priority + 1),
    ];
    for other in others {
        let refused = mesh.pool(1).command(now, Command::Share { ticket, item: other });
        assert_eq!(refused.err(), Some(Refused::Invalid));
    }
    mesh.command(1, Command::Share { ticket, item: own.clone() });
    mesh.command(1, Command::Verdict { ticket, at: mesh.now, verdict: Verdict::Accept });
    assert_eq!(place(&mut mesh, 1), own.bytes().as_ptr());
    let late = mesh.pool(1).command(now, Command::Share { ticket, item: own });
    assert_eq!(late.err(), Some(Refused::UnknownTicket));
}
