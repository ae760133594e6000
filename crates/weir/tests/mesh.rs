//! Native nodes that all name each other, as validators do, blame nobody and keep a link for each pair.
#![allow(clippy::unwrap_used)] // a test that fails says where

#[path = "support/mesh.rs"]
mod mesh;

use std::time::Duration;

use mesh::{IN_TIME, Mesh, Restart, Tally};

/// Nobody is blamed, and every pair has its link in time.
fn check(tally: &Tally) {
    assert!(tally.is_clean() && tally.is_in_time(), "{tally:?}");
}

#[test]
fn what_is_blamed_missing_or_late_is_told_from_what_is_well() {
    let well = Tally { rounds: 50, slowest: Duration::from_millis(1_999), ..Tally::default() };
    assert!(well.is_clean() && well.is_in_time());
    assert!(!Tally { slowest: IN_TIME, ..well.clone() }.is_in_time());
    for wrong in [
        Tally { faults: 1, ..well.clone() },
        Tally { bans: 1, ..well.clone() },
        Tally { missing: 1, ..well.clone() },
    ] {
        assert!(!wrong.is_clean(), "{wrong:?}");
    }
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
