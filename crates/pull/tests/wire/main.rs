//! Control, tips and calls through [`weir_pull::Pull`], over a pipe in virtual time. One scenario a file.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may

mod a_call_does_not_bear_abuse;
mod a_call_is_one_request_and_one_response;
mod a_channel_exists_where_both_hellos_match;
mod a_tip_goes_to_whoever_wants_it;
mod a_tip_stream_does_not_bear_abuse;
mod all_shapes_at_once;
mod both_sides_start_in_any_order;
mod calls_share_one_memory;
mod common;
mod control_does_not_bear_abuse;
mod control_keeps_a_link_alive;
mod early_links_carry_only_what_may_be_replayed;
mod first_frames_in_any_order;
mod golden_vectors;
mod hello_is_taken_within_its_limits;
mod streams_wait_unread_for_hello;
