//! What QUIC is told: every limit on purpose, every random choice from the node's seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    NoneTokenLog, NoneTokenStore, ServerConfig, TransportConfig, ValidationTokenConfig, VarInt,
};
use ring::{hkdf, hmac};
use weir_base::identity::Keypair;
use weir_base::{ProtocolId, Rng};
use weir_libp2p::tls::{
    CertificateKind, ClientOptions, EarlyData, ServerOptions, TlsIdentity, WallClock, client_config,
    server_config,
};

use super::time::WallTime;
use crate::streams::{BEFORE_HELLO, ProtocolNames};
use crate::{Alpn, Config, LimitError};

/// Handshake bytes that arrived out of order, per space: three certificates of the largest kind.
const CRYPTO_BUFFER: usize = 16 * 1024;

/// Bytes kept for a handshake between its first packet and the decision on it, which is made at once.
const INCOMING_BUFFER: u64 = 4 * 1024;

/// A round trip before one was measured (RFC 9002 §6.2.2).
const RTT_UNKNOWN: Duration = Duration::from_millis(333);

/// How long a retry token is good for. It comes back after one round trip.
const RETRY_LIFETIME: Duration = Duration::from_secs(15);

/// Bytes of a connection id: enough that none can be guessed or met twice.
const CID_LEN: usize = 8;

/// What is signed for the key of stateless resets, so that a node that restarts ends its old links at once. Nobody sees the
/// signature, and no other use signs these bytes.
const RESET_CONTEXT: &[u8] = b"weir/1 key of stateless resets";

/// QUIC's configurations, shared by all sockets.
pub(crate) struct Configs {
    pub(crate) names: Arc<ProtocolNames>,
    config: Arc<Config>,
    keypair: Arc<Keypair>,
    secured: Option<Secured>, // with the first socket
}

/// What has this node's keys in it. Made with the first socket, so that a node without one has none of it: it takes six
/// signatures and key pairs, and some kilobytes.
struct Secured {
    server: Arc<ServerConfig>,
    client: ClientConfig,
    reset_key: hmac::Key, // of which every socket's is made
}

impl Config {
    /// What may be written and read before a handshake is confirmed: nothing where that is switched off.
    pub(super) fn early(&self) -> &[ProtocolId] {
        if self.quic.early { &self.streams.early } else { &[] }
    }
}

impl Configs {
    pub(crate) fn new(config: &Arc<Config>, keypair: &Arc<Keypair>) -> Result<Self, LimitError> {
        let names = Arc::new(ProtocolNames::new(&config.protocols, &config.unserved)?);
        Ok(Self { names, config: Arc::clone(config), keypair: Arc::clone(keypair), secured: None })
    }

    /// The configurations of one socket, as a listener and in common. Its key of stateless resets is its own, so that no socket gives
    /// the token of another's connection away (RFC 9000 §21.11), and the same after a restart.
    ///
    /// The first socket draws this node's keys of `rng`.
    ///
    /// # Errors
    /// [`LimitError`] of the libraries below, for a key or limits that they do not take.
    pub(crate) fn endpoint(
        &mut self,
        local: SocketAddr,
        rng: &mut Rng,
        wall: &WallClock,
    ) -> Result<(EndpointConfig, Arc<ServerConfig>), LimitError> {
        let secured = match &mut self.secured {
            Some(secured) => secured,
            none => none.insert(Secured::new(&self.config, &self.keypair, rng, wall)?),
        };
        let own = hmac::sign(&secured.reset_key, local.to_string().as_bytes());
        let mut endpoint = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref())));
        let seed = rng.bytes();
        endpoint.cid_generator(move || Box::new(Cids { rng: Rng::new(seed) })).supported_versions(vec![1]);
        // Within its range: the configuration was checked.
        let _ = endpoint.max_udp_payload_size(self.config.quic.max_mtu.max(1472));
        Ok((endpoint, Arc::clone(&secured.server)))
    }

    /// The configuration of one dial; `None` before there is a socket.
    pub(crate) fn dial(&self, rng: &mut Rng) -> Option<ClientConfig> {
        let mut client = self.secured.as_ref()?.client.clone();
        let first: [u8; 16] = rng.bytes();
        client.initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&first)));
        Some(client)
    }
}

impl Secured {
    fn new(config: &Config, keypair: &Keypair, rng: &mut Rng, wall: &WallClock) -> Result<Self, LimitError> {
        let kind = if config.quic.deterministic { CertificateKind::Ed25519 } else { CertificateKind::P256 };
        let identity = TlsIdentity::new(keypair, kind, rng.bytes()).map_err(|error| unusable(&error))?;
        let alpn: Vec<Vec<u8>> = config.quic.alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
        let sessions = config.quic.sessions;
        let numbered = config.quic.alpn.contains(&Alpn::Weir); // only what streams on it begin with may be replayed
        let wanted = sessions > 0 && numbered && !config.early().is_empty();
        let early_data = if wanted { EarlyData::On } else { EarlyData::Off };
        let cipher = config.cipher;
        let server = ServerOptions { alpn: alpn.clone(), sessions, early_data, cipher };
        let client = ClientOptions { alpn, session_peers: sessions, early_data, cipher };
        let server = server_config(&identity, wall, &server).map_err(|error| unusable(&error))?;
        let client = client_config(&identity, wall, &client).map_err(|error| unusable(&error))?;
        let server = QuicServerConfig::try_from(server).map_err(|error| unusable(&error))?;
        let client = QuicClientConfig::try_from(client).map_err(|error| unusable(&error))?;

        let transport = Arc::new(transport(config));
        let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&rng.bytes::<32>());
        let mut server = ServerConfig::new(Arc::new(server), Arc::new(token_key));
        let mut validation = ValidationTokenConfig::default();
        validation.sent(0).log(Arc::new(NoneTokenLog));
        server
            .transport_config(transport.clone())
            .retry_token_lifetime(RETRY_LIFETIME)
            .migration(true) // addresses change behind NATs; the peer is who it is by its key
            .max_incoming(usize::try_from(config.admission.max_half_open).unwrap_or(usize::MAX))
            .incoming_buffer_size(INCOMING_BUFFER)
            .incoming_buffer_size_total(INCOMING_BUFFER.saturating_mul(config.admission.max_half_open.into()))
            .validation_token_config(validation)
            .time_source(Arc::new(WallTime(wall.clone())));
        let mut client = ClientConfig::new(Arc::new(client));
        client.transport_config(transport).token_store(Arc::new(NoneTokenStore));
        let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &keypair.sign(RESET_CONTEXT));
        Ok(Self { server: Arc::new(server), client, reset_key })
    }
}

fn unusable(error: &dyn std::fmt::Display) -> LimitError {
    LimitError::new("quic", format!("makes no TLS with this key and these limits: {error}"))
}

fn transport(config: &Config) -> TransportConfig {
    let clamp = |value: u64| VarInt::from_u64(value).unwrap_or(VarInt::MAX);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(config.quic.max_mtu);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(BEFORE_HELLO))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(IdleTimeout::try_from(config.quic.idle_timeout).ok())
        .keep_alive_interval(Some(config.quic.keep_alive))
        .stream_receive_window(clamp(config.streams.window))
        .receive_window(clamp(config.budget.base_window))
        .send_window(config.budget.base_send)
        .send_fairness(true)
        .initial_rtt(RTT_UNKNOWN)
        .mtu_discovery_config(Some(discovery))
        .crypto_buffer_size(CRYPTO_BUFFER)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .allow_spin(false)
        .enable_segmentation_offload(true);
    transport
}

/// Connection ids from the node's seed.
struct Cids {
    rng: Rng,
}

impl ConnectionIdGenerator for Cids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.rng.bytes::<CID_LEN>())
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use weir_base::UnixTime;

    use super::*;
    use crate::tests::harness;

    #[test]
    fn keys_are_made_with_the_first_socket_and_kept_for_the_next() {
        let mut configs = Configs::new(&Arc::new(harness::config()), &Arc::new(harness::keypair(1))).unwrap();
        let (mut rng, wall) = (Rng::from_number(1), WallClock::new(UnixTime::from_secs(1_800_000_000)));
        assert!(configs.secured.is_none() && configs.dial(&mut rng).is_none(), "no socket, no keys");
        let mut bind = |port| {
            let local = SocketAddr::from(([127, 0, 0, 1], port));
            configs.endpoint(local, &mut rng, &wall).unwrap().1
        };
        assert!(Arc::ptr_eq(&bind(1), &bind(2)), "one certificate for all sockets");
        assert!(configs.dial(&mut rng).is_some());
    }
}
