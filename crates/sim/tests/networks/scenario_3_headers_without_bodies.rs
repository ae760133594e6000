//! Scenario 3: one signer's ten thousand headers of one height go over no link between honest nodes more than twice, blame nobody
//! honest, and do not keep the next block.

use crate::common::passes;

#[test]
fn ten_thousand_headers_over_frames_go_two_a_link() {
    passes("headers", weir_sim::Transport::Frames);
}

#[test]
fn ten_thousand_headers_over_quic_go_two_a_link() {
    passes("headers", weir_sim::Transport::Quic);
}
