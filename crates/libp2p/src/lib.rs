//! libp2p's protocols, wire-compatible, one folder each, as pure machines and codecs.
//!
//! Nothing here knows a socket or a clock: bytes go in, bytes and events come out. What needs native cryptography (TLS) is
//! absent on wasm, where the browser has its own.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

// The cipher of records: ring where it is, RustCrypto elsewhere.
#[cfg(not(target_family = "wasm"))]
#[path = "aead/native.rs"]
mod aead;
#[cfg(target_family = "wasm")]
#[path = "aead/portable.rs"]
mod aead;
mod cipher;
pub mod connection;
pub mod identify;
pub mod mplex;
pub mod multistream;
pub mod noise;
pub mod perf;
pub mod ping;
pub mod pnet;
pub mod record;
mod setup;
mod storm;
#[cfg(not(target_family = "wasm"))]
pub mod tls;
mod unread;
mod unwanted;
pub mod yamux;

pub use cipher::Cipher;
