//! Scenario 12: a slow honest server is never blamed and delivers everything; who is slow on purpose delays nobody.

use crate::common::{full, passes_for};

/// Ten minutes, as the scenario says; a minute unless all of it is asked for.
fn seconds() -> u32 {
    if full() { 600 } else { 60 }
}

#[test]
fn slow_servers_over_frames_are_not_blamed_and_delay_nobody() {
    passes_for("slow", weir_sim::Transport::Frames, seconds());
}

#[test]
fn slow_servers_over_tcp_are_not_blamed_and_delay_nobody() {
    passes_for("slow", weir_sim::Transport::Tcp, seconds());
}

#[test]
fn slow_servers_over_quic_are_not_blamed_and_delay_nobody() {
    passes_for("slow", weir_sim::Transport::Quic, seconds());
}
