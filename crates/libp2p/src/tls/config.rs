//! Configurations for rustls.

use std::sync::Arc;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption,
    Tls13ClientSessionValue,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, Error, NamedGroup, ServerConfig};

use super::verifier::PeerVerifier;
use super::{TlsIdentity, WallClock, names};
use crate::Cipher;

/// Tickets that rustls' client store keeps for one server.
const TICKETS_PER_SERVER: usize = 8;

/// Whether data may travel before the handshake is done (0-RTT). Only for QUIC, and only what may be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EarlyData {
    /// Neither offered nor taken.
    #[default]
    Off,
    /// Offered and taken; each session once.
    On,
}

/// What a listener offers.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Application protocols, the preferred first. A client that offers none of them is turned away.
    pub alpn: Vec<Vec<u8>>,
    /// Sessions kept for resumption, of up to about 5 KiB each ([`CERTIFICATE_MAX`](super::CERTIFICATE_MAX) and secrets); the
    /// oldest goes first. 0: no resumption.
    pub sessions: usize,
    /// Early data. Needs `sessions`.
    pub early_data: EarlyData,
    /// The cipher that is chosen.
    pub cipher: Cipher,
}

/// What a dialler offers.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Application protocols, the preferred first.
    pub alpn: Vec<Vec<u8>>,
    /// Peers whose sessions are remembered, with up to 8 tickets each; the oldest goes first. 0: no resumption.
    pub session_peers: usize,
    /// Early data. Needs `session_peers`, and a dial that expects a peer.
    pub early_data: EarlyData,
    /// The cipher that is offered first.
    pub cipher: Cipher,
}

/// The configuration of a listener: TLS 1.3, a certificate demanded from every client.
///
/// # Errors
/// rustls' own, where its parts do not fit together; no argument here causes one.
pub fn server_config(
    identity: &TlsIdentity,
    clock: &WallClock,
    options: &ServerOptions,
) -> Result<ServerConfig, Error> {
    let provider = Arc::new(provider(options.cipher));
    let verifier = Arc::new(PeerVerifier::new(provider.signature_verification_algorithms));
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(clock.clone()))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols.clone_from(&options.alpn);
    config.ignore_client_order = options.cipher == Cipher::ChaCha20Poly1305;
    // TLS 1.3 takes a stored session out of the store when it is used: single-use, as early data needs it.
    let store: Arc<dyn StoresServerSessions> = match options.sessions {
        0 => Arc::new(NoServerSessionStorage {}),
        most => ServerSessionMemoryCache::new(most),
    };
    config.session_storage = store;
    config.send_tls13_tickets = options.sessions.min(1);
    // The only values that QUIC knows (RFC 9001 §4.6.1); the transport limits how much.
    config.max_early_data_size = match options.early_data {
        EarlyData::On if options.sessions > 0 => u32::MAX,
        _ => 0,
    };
    Ok(config)
}

/// The configuration of all dials: TLS 1.3, this node's certificate shown on demand, no server name sent. The server name of a
/// dial must come from [`server_name`](super::server_name), which is how the expected peer is enforced.
///
/// # Errors
/// rustls' own, where its parts do not fit together; no argument here causes one.
pub fn client_config(
    identity: &TlsIdentity,
    clock: &WallClock,
    options: &ClientOptions,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(provider(options.cipher));
    let verifier = Arc::new(PeerVerifier::new(provider.signature_verification_algorithms));
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(clock.clone()))
        .with_protocol_versions(&[&TLS13])?
        .dangerous() // rustls' word for any verifier but its own
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols.clone_from(&options.alpn);
    config.enable_sni = false;
    config.resumption = match options.session_peers {
        0 => Resumption::disabled(),
        peers => Resumption::store(Arc::new(KnownPeers::new(peers))),
    }
    .tls12_resumption(Tls12Resumption::Disabled);
    config.enable_early_data = options.early_data == EarlyData::On && options.session_peers > 0;
    Ok(config)
}

/// ring, with this cipher first.
fn provider(first: Cipher) -> CryptoProvider {
    let mut cipher_suites =
        vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    if first == Cipher::ChaCha20Poly1305 {
        cipher_suites.rotate_right(1);
    }
    CryptoProvider { cipher_suites, ..rustls::crypto::ring::default_provider() }
}

/// Sessions by expected peer. A dial that takes whoever answers stores and uses none: early data would go to the wrong peer.
#[derive(Debug)]
struct KnownPeers(ClientSessionMemoryCache);

impl KnownPeers {
    fn new(peers: usize) -> Self {
        Self(ClientSessionMemoryCache::new(peers.saturating_mul(TICKETS_PER_SERVER)))
    }
}

impl ClientSessionStore for KnownPeers {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        if !names::is_any(&server_name) {
            self.0.set_kx_hint(server_name, group);
        }
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(server_name)
    }

    fn set_tls12_session(&self, _server_name: ServerName<'static>, _value: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server_name: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        if !names::is_any(&server_name) {
            self.0.insert_tls13_ticket(server_name, value);
        }
    }

    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(server_name)
    }
}
