//! Whole networks in virtual time, one scenario a file.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_possible_truncation)]

mod a_sender_over_its_credit_is_seen;
mod bodies_are_one_buffer;
mod common;
mod early;
mod faults_on_a_bare_pair;
mod faults_over_tcp;
mod honest_nodes_blame_nobody_whatever_goes_wrong;
mod known_peers_answer_after_one_round_trip;
mod newcomers_hear_of_others_by_books;
mod nodes_on_a_bare_pair;
mod pair;
mod paths_on_a_bare_pair;
mod processors_are_chosen;
mod same_seed_same_trace;
mod scenario_11_comers_and_goers;
mod scenario_12_slow_but_honest;
mod scenario_13_calls_as_weapons;
mod scenario_1_slow_verdicts_delay_nobody_else;
mod scenario_2_withholders_cost_little_time;
mod scenario_3_headers_without_bodies;
mod scenario_4_one_stopped_consumer_stops_nobody_else;
mod scenario_5_hoarders_keep_no_credit;
mod scenario_6_pools_agree_after_anything;
mod scenario_7_poisoned_offers_hide_nothing;
mod scenario_9_replayed_flights_do_nothing;
mod scenario_9_start_up_in_any_order;
mod strangers_over_tcp;
mod threads_and_windows_change_nothing;
mod what_a_slow_application_holds_is_bounded;
mod what_checking_takes_is_measured;
mod what_tables_hold_is_bounded;
