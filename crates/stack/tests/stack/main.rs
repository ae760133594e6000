//! Whole nodes in virtual time, joined by frames, by QUIC datagrams and by byte streams. One scenario a file.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the harness is as much a test as its callers

mod duo;
mod net;
mod pipes;

mod channels_work_between_nodes;
mod determinism;
mod first_bytes_in_any_order;
mod identify_says_who_a_peer_is;
mod known_peers_are_called_at_once;
mod links_are_measured;
mod nodes_end_well;
mod peers_are_dialled_and_judged;
mod peers_that_say_no_hello;
mod ping_measures_links;
mod raw_streams_carry_bytes;
mod targets_are_called;
mod what_one_act_breaks_counts_once;
