//! Tests of the certificate and of whole handshakes, one subject a file.

use std::fmt::Write as _;
use std::sync::Arc;

use weir_base::{Keypair, UnixTime};

use super::*;

mod certificates;
mod connections;
mod handshakes;
mod mutations;
mod vectors;

/// A day in 2026.
const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn ed25519(seed: u8) -> Keypair {
    Keypair::ed25519_from_seed([seed; 32])
}

fn secp256k1(seed: u8) -> Keypair {
    Keypair::secp256k1_from_bytes([seed; 32]).unwrap()
}

fn identity(seed: u8) -> TlsIdentity {
    TlsIdentity::new(&ed25519(seed), CertificateKind::P256, [seed; 32]).unwrap()
}
