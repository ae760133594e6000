//! Fuzz targets: every decoder of bytes that a stranger chose, each as a plain function.
//!
//! A target returns for any input. It panics where the decoder does, and where what the decoder accepted breaks
//! one of its own promises (limits, one encoding per value, the same result for every fragmentation).
//! `tests/replay.rs` runs all of them on stable; `fuzz_targets/` hands them to libFuzzer.
#![forbid(unsafe_code)]

mod base;
pub mod mutate;
pub mod seeds;

/// A target: must return for any bytes.
pub type Target = fn(&[u8]);

/// All targets by name. Each has a folder `corpus/<name>/` and a program `fuzz_targets/<name>.rs`.
pub const TARGETS: &[(&str, Target)] = &[
    ("framer", base::framer),
    ("keypair", base::keypair),
    ("peer_id", base::peer_id),
    ("peer_id_text", base::peer_id_text),
    ("protobuf", base::protobuf),
    ("public_key", base::public_key),
    ("varint", base::varint),
];

/// Runs the target of this name; `false` where there is none.
pub fn run(name: &str, data: &[u8]) -> bool {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    if let Some((_, target)) = target {
        target(data);
    }
    target.is_some()
}
