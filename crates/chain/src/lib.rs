//! A small, real leader-based chain on Weir's public API: signed transfers, a mempool, one producer, full nodes that verify
//! and execute, and a durable store. Formats and rules: `docs/spec/chain.md`.
//!
//! The same code runs natively and in virtual time: everything it knows of the world comes through
//! [`weir::Network`]'s handles, its clock included.
#![forbid(unsafe_code)]

pub mod audit;
pub mod block;
pub mod chain;
pub mod channels;
pub mod consensus;
pub mod genesis;
pub mod hostile;
pub mod ledger;
pub mod mempool;
pub mod node;
pub mod store;
pub mod sync;
pub mod transfer;

pub mod codec;
mod signature;

pub use block::{Block, Header};
pub use ed25519_dalek::SigningKey;
pub use genesis::Genesis;
pub use node::{ChainNode, Options, Wall};
pub use transfer::{AccountId, Transfer};

/// SHA-256 of something, also its name.
pub type Hash = [u8; 32];

/// Lower-case hexadecimal, for people and files.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        out.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('?')));
        out
    })
}

/// Reads 32 bytes from hexadecimal.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let digit =
            |at: usize| char::from(*pair.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_round_trips_and_refuses_what_is_none() {
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap());
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!(unhex(&"zz".repeat(32)), None);
        assert_eq!(unhex("00"), None);
    }
}
