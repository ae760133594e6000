//! Scenario 13: peers that call everything and read nothing, or send requests a byte at a time, hold at most the memory for calls;
//! an honest caller waits at most twice as long as without them.

use crate::common::{full, passes_for};

/// Of honest calls without an attack, and as many with it.
fn seconds() -> u32 {
    if full() { 60 } else { 10 }
}

#[test]
fn unread_answers_and_trickled_requests_over_frames_delay_no_honest_call() {
    passes_for("calls-as-weapons", weir_sim::Transport::Frames, seconds());
}

#[test]
fn callers_that_hang_over_quic_delay_no_honest_call() {
    passes_for("calls-as-weapons", weir_sim::Transport::Quic, seconds());
}
