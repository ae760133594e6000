//! What a build for a browser has instead.

use std::sync::Arc;

use weir_base::identity::Keypair;
use weir_base::{Rng, UnixTime};
use weir_libp2p::Cipher;
use weir_libp2p::connection::Security;
use weir_libp2p::multistream::Names;

use super::Endpoints;
use crate::{Config, LimitError, Start};

/// A host without QUIC needs no clock of the standard library.
pub type Anchor = ();

/// There is no QUIC.
pub(super) fn add_quic(
    _: &mut Endpoints,
    _: &Arc<Config>,
    _: &Arc<Keypair>,
    _: [u8; 32],
    _: Start,
) -> Result<(), LimitError> {
    Ok(())
}

/// There is no TLS for byte streams.
pub(super) fn make_tls(
    _: &Keypair,
    _: &mut Rng,
    _: UnixTime,
    _: &Names,
    _: Cipher,
) -> Result<Arc<dyn Security>, LimitError> {
    Err(LimitError::new("tcp.security", "must not name `tls` here: this build has `noise` alone"))
}
