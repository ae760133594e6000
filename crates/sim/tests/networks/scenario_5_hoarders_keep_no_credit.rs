//! Scenario 5: peers that have credit lent and trickle, or are silent, do not keep an honest transfer from its share.

use crate::common::passes;

#[test]
fn hoarders_over_frames_keep_no_credit_from_an_honest_transfer() {
    passes("hoarders", weir_sim::Transport::Frames);
}

#[test]
fn hoarders_over_quic_keep_no_credit_from_an_honest_transfer() {
    passes("hoarders", weir_sim::Transport::Quic);
}
