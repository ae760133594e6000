//! Scenario 11: who comes again and again, delivers and leaves, or only begins to come takes nothing from honest peers.

use crate::common::passes;

#[test]
fn comers_and_goers_over_frames_take_nothing() {
    passes("comers", weir_sim::Transport::Frames);
}

#[test]
fn comers_and_goers_over_quic_take_nothing() {
    passes("comers", weir_sim::Transport::Quic);
}
