//! libp2p's TLS 1.3 handshake: who is at the other end of a QUIC or TLS connection.
//!
//! Each side shows one self-signed certificate. Its key is a throw-away; an extension inside carries the host's public key and
//! that key's signature over the throw-away, so that any kind of host key works with any TLS library.
//!
//! - [`TlsIdentity`] makes this node's certificate from its [`Keypair`](weir_base::Keypair) and a seed.
//! - [`verify_certificate`] checks a peer's; [`peer_id_of`] reads who it was after a handshake.
//! - [`server_config`] and [`client_config`] put both into rustls: TLS 1.3 only, authentication both ways always. A dial
//!   expects a peer by the server name that [`server_name`] gives; the name is never sent.
//! - [`Tls`] is all this as the [`Security`](crate::connection::Security) of a connection over a byte stream.
//! - [`WallClock`] is the only time that rustls sees: the host sets it.
//!
//! Threat: a certificate is the first thing a stranger sends and is parsed before anybody knows who they are. It is bounded
//! ([`CERTIFICATE_MAX`]), there is exactly one, and each defect is a [`TlsFault`]. Session tickets are single-use and their
//! number is bounded, because early data can be replayed otherwise.
//!
//! The certificate itself is a function of key pair and seed. rustls draws its ephemeral keys, and ring the nonces of P-256
//! signatures, from the system.
//!
//! Source: libp2p specs, `tls/tls.md` r0; `docs/spec/identity.md`.

mod certificate;
mod clock;
mod config;
mod der;
mod fault;
mod names;
mod session;
#[cfg(test)]
mod tests;
mod verifier;
mod verify;

pub use certificate::{CertificateKind, TlsIdentity, TlsIdentityError};
pub use clock::WallClock;
pub use config::{ClientOptions, EarlyData, ServerOptions, client_config, server_config};
pub use fault::{TlsFault, WRONG_PEER_ALERT, fault_of};
pub use names::server_name;
pub use session::{BAD_RECORD, BROKEN, NAME, NOTHING_IN_COMMON, REFUSED, Tls};
pub use verify::{CERTIFICATE_MAX, PeerCertificate, peer_id_of, verify_certificate, verify_chain};

/// The extension that carries host key and signature: `1.3.6.1.4.1.53594.1.1`.
const EXTENSION_OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 53594, 1, 1];

/// What stands before the certificate's key in the bytes that the host key signs.
const SIGNATURE_PREFIX: &[u8] = b"libp2p-tls-handshake:";

/// The bytes that the host key signs: the prefix, then the certificate's key as DER `SubjectPublicKeyInfo`.
fn signed_bytes(certificate_key: &[u8]) -> Vec<u8> {
    [SIGNATURE_PREFIX, certificate_key].concat()
}
