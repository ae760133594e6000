//! Native nodes that all name each other, as validators do, blame nobody and keep a link for each pair.
#![allow(clippy::unwrap_used)] // a test that fails says where

#[path = "support/mesh.rs"]
mod mesh;

use std::time::Duration;

use mesh::{Mesh, Restart, Tally};

/// Nobody is blamed, and every pair has its link in time.
fn check(tally: &Tally) {
    assert_eq!((tally.faults, tally.bans, tally.missing), (0, 0, 0), "{tally:?}");
    assert!(tally.slowest < Duration::from_secs(2), "{tally:?}");
}

#[test]
fn nodes_that_start_at_once_keep_every_link_and_blame_nobody() {
    for _ in 0..6 {
        let mut mesh = Mesh::new(6);
        mesh.start();
        check(&mesh.stop());
    }
}

#[test]
fn nodes_that_restart_keep_every_link_and_blame_nobody() {
    let mut mesh = Mesh::new(5);
    mesh.start();
    for node in 0..5 {
        mesh.restart(Restart::One(node));
        mesh.restart(Restart::All);
    }
    check(&mesh.stop());
}
