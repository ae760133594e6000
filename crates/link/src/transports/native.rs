//! What a build with sockets has more.

use std::sync::Arc;

use weir_base::identity::Keypair;
use weir_base::{Rng, UnixTime};
use weir_libp2p::Cipher;
use weir_libp2p::connection::Security;
use weir_libp2p::multistream::Names;
use weir_libp2p::tls::{CertificateKind, Tls, TlsIdentity, WallClock};

use super::Endpoints;
use crate::quic::Quic;
pub use crate::quic::time::Anchor;
use crate::{Config, LimitError, Start};

/// QUIC.
pub(super) fn add_quic(
    all: &mut Endpoints,
    config: &Arc<Config>,
    keypair: &Arc<Keypair>,
    seed: [u8; 32],
    start: Start,
) -> Result<(), LimitError> {
    all.add(Quic::new(all.next_id(), config, keypair, seed, start)?);
    Ok(())
}

/// TLS for byte streams, with a certificate of its own.
pub(super) fn make_tls(
    keypair: &Keypair,
    rng: &mut Rng,
    wall: UnixTime,
    muxers: &Names,
    cipher: Cipher,
) -> Result<Arc<dyn Security>, LimitError> {
    let unusable =
        |error: String| LimitError::new("tcp.security", format!("must not name `tls` here: {error}"));
    let identity = TlsIdentity::new(keypair, CertificateKind::P256, rng.child("tls").bytes())
        .map_err(|error| unusable(error.to_string()))?;
    let tls = Tls::new(&identity, &WallClock::new(wall), Some(muxers), cipher);
    Ok(Arc::new(tls.map_err(|error| unusable(error.to_string()))?))
}
