//! Chains of several nodes in virtual time, one scenario a file; hostile nodes among them.
#![allow(clippy::unwrap_used)] // tests

mod rig;

mod a_mute_neighbour_costs_a_follower_next_to_nothing;
mod a_node_far_behind_on_a_fork_comes_back;
mod a_node_that_crashed_catches_up_from_its_own_store;
mod a_restarted_node_says_what_it_has;
mod a_wall_clock_that_was_behind_stops_nobody_for_good;
mod every_node_ends_with_the_producers_chain_and_state;
mod false_blocks_count_against_their_sender;
mod forged_blocks_and_transfers_change_nothing;
mod one_peer_does_not_take_the_places_of_others;
mod spam_of_accounts_that_hold_nothing_costs_next_to_nothing;
mod the_same_seed_gives_the_same_run;
mod transfers_that_can_not_be_paid_leave_room_for_others;
