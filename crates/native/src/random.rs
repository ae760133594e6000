//! The system's randomness.

use std::io;

use weir_base::identity::Keypair;
use weir_node::StartError;

/// A new identity, Ed25519, from the system's randomness, for a node whose peers need not know it again. One that they should
/// is kept in a file: [`KeyFile::load_or_create`](crate::KeyFile::load_or_create).
///
/// # Errors
/// [`StartError::System`] where the system has no randomness.
pub fn random_keypair() -> Result<Keypair, StartError> {
    random_seed().map(Keypair::ed25519_from_seed)
}

pub(crate) fn random_seed() -> Result<[u8; 32], StartError> {
    random_bytes().map_err(|source| StartError::System { what: "no randomness", source })
}

pub(crate) fn random_bytes<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
