//! Chains over sockets of this machine, one scenario a file: what virtual time can not show.
#![allow(clippy::unwrap_used)] // tests

mod rig;

mod a_transfer_that_could_not_be_published_in_time_leaves_no_gap;
mod every_block_that_is_due_is_made_whatever_a_neighbour_publishes;
