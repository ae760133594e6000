//! Fuzz targets: every decoder of bytes that a stranger chose, each as a plain function.
//!
//! A target returns for any input. It panics where the decoder does, and where what the decoder accepted breaks
//! one of its own promises (limits, one encoding per value, the same result for every fragmentation).
//! `tests/replay.rs` runs all of them on stable; `fuzz_targets/` hands them to libFuzzer.
#![forbid(unsafe_code)]

mod base;
mod chain;
mod exchange;
mod libp2p;
mod link;
pub mod mutate;
mod pool;
mod pull;
mod script;
pub mod seeds;
mod sessions;
mod tcp;
mod users;

/// A target: must return for any bytes, and says whether the decoder took them.
pub type Target = fn(&[u8]) -> bool;

/// All targets by name. Each has a folder `corpus/<name>/` and a program `fuzz_targets/<name>.rs`.
pub const TARGETS: &[(&str, Target)] = &[
    ("chain_answer", chain::answer),
    ("chain_block", chain::block),
    ("chain_genesis", chain::genesis),
    ("chain_header", chain::header),
    ("chain_request", chain::request),
    ("chain_transfer", chain::transfer),
    ("connection", tcp::connection),
    ("envelope", libp2p::envelope),
    ("exchange", exchange::machine),
    ("exchange_framing", exchange::framing),
    ("framer", base::framer),
    ("identify", libp2p::identify),
    ("identify_streams", users::identify_streams),
    ("keypair", base::keypair),
    ("link_frame", link::frame),
    ("mplex", tcp::mplex),
    ("mplex_session", sessions::mplex_session),
    ("multiaddr", base::multiaddr),
    ("multiaddr_text", base::multiaddr_text),
    ("multistream", tcp::multistream),
    ("noise", tcp::noise),
    ("peer_id", base::peer_id),
    ("peer_id_text", base::peer_id_text),
    ("peer_record", libp2p::peer_record),
    ("peer_record_payload", libp2p::peer_record_payload),
    ("perf", users::perf),
    ("ping", users::ping),
    ("pnet_key_file", libp2p::pnet_key_file),
    ("pool_answer", pool::answer),
    ("pool_indices", pool::indices),
    ("pool_offer", pool::offer),
    ("pool_want", pool::want),
    ("protobuf", base::protobuf),
    ("public_key", base::public_key),
    ("pull_call", pull::call),
    ("pull_control", pull::control),
    ("pull_hello", pull::hello),
    ("pull_message", pull::message),
    ("pull_tip", pull::tip),
    ("tls", tcp::tls),
    ("tls_certificate", libp2p::tls_certificate),
    ("varint", base::varint),
    ("yamux", tcp::yamux),
    ("yamux_session", sessions::yamux_session),
];

/// Runs the target of this name: whether its decoder took the bytes; `None` where there is no such target.
pub fn run(name: &str, data: &[u8]) -> Option<bool> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| target(data))
}
