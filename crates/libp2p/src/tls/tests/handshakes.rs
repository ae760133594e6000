//! Whole handshakes between two configurations, in memory.

use std::io::{Read as _, Write as _};

use rustls::client::ClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnection, WebPkiClientVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, HandshakeKind, ProtocolVersion, RootCertStore,
    ServerConfig,
};
use weir_base::PeerId;

use super::*;
use crate::Cipher;

fn alpn() -> Vec<Vec<u8>> {
    vec![b"weir/1".to_vec(), b"libp2p".to_vec()]
}

fn server(identity: &TlsIdentity, clock: &WallClock, early_data: EarlyData) -> Arc<ServerConfig> {
    let options = ServerOptions { alpn: alpn(), sessions: 4, early_data, ..ServerOptions::default() };
    Arc::new(server_config(identity, clock, &options).unwrap())
}

fn client(identity: &TlsIdentity, clock: &WallClock, early_data: EarlyData) -> Arc<ClientConfig> {
    let options = ClientOptions { alpn: alpn(), session_peers: 4, early_data, ..ClientOptions::default() };
    Arc::new(client_config(identity, clock, &options).unwrap())
}

struct Pair {
    client: ClientConnection,
    server: ServerConnection,
}

impl Pair {
    fn dial(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, expected: Option<&PeerId>) -> Self {
        let name = ServerName::try_from(server_name(expected)).unwrap();
        Self {
            client: ClientConnection::new(Arc::clone(client), name).unwrap(),
            server: ServerConnection::new(Arc::clone(server)).unwrap(),
        }
    }

    /// Carries bytes to and fro until both are quiet; the first error ends it.
    fn run(&mut self) -> Result<(), Error> {
        loop {
            let mut wire = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut wire).unwrap();
            }
            let mut input = &wire[..];
            while !input.is_empty() {
                self.server.read_tls(&mut input).unwrap();
                self.server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut wire).unwrap();
            }
            if wire.is_empty() {
                return Ok(());
            }
            let mut input = &wire[..];
            while !input.is_empty() {
                self.client.read_tls(&mut input).unwrap();
                self.client.process_new_packets()?;
            }
        }
    }

    fn peers(&self) -> (PeerId, PeerId) {
        let of_client = peer_id_of(self.client.peer_certificates().unwrap()).unwrap();
        let of_server = peer_id_of(self.server.peer_certificates().unwrap()).unwrap();
        (of_client, of_server)
    }
}

/// AES in software is slow, and gives its key away by how long it takes.
#[test]
fn aes_is_used_where_both_processors_have_it() {
    use rustls::CipherSuite::{TLS13_AES_128_GCM_SHA256 as AES, TLS13_CHACHA20_POLY1305_SHA256 as CHACHA};
    let clock = WallClock::new(NOW);
    let (one, other) = (identity(1), identity(2));
    for (dialer, listener, chosen) in [
        (Cipher::AesGcm, Cipher::AesGcm, AES),
        (Cipher::AesGcm, Cipher::ChaCha20Poly1305, CHACHA),
        (Cipher::ChaCha20Poly1305, Cipher::AesGcm, CHACHA),
        (Cipher::ChaCha20Poly1305, Cipher::ChaCha20Poly1305, CHACHA),
    ] {
        let client = ClientOptions { alpn: alpn(), cipher: dialer, ..ClientOptions::default() };
        let server = ServerOptions { alpn: alpn(), cipher: listener, ..ServerOptions::default() };
        let client = Arc::new(client_config(&one, &clock, &client).unwrap());
        let server = Arc::new(server_config(&other, &clock, &server).unwrap());
        let mut pair = Pair::dial(&client, &server, None);
        pair.run().unwrap();
        let negotiated = pair.client.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(negotiated, chosen, "{dialer:?} dials {listener:?}");
    }
}

#[test]
fn both_sides_learn_who_the_other_is() {
    let clock = WallClock::new(NOW);
    for kind in [CertificateKind::P256, CertificateKind::Ed25519] {
        let one = TlsIdentity::new(&secp256k1(1), kind, [1; 32]).unwrap();
        let two = TlsIdentity::new(&ed25519(2), kind, [2; 32]).unwrap();
        for expected in [Some(two.peer_id()), None] {
            let client = client(&one, &clock, EarlyData::Off);
            let server = server(&two, &clock, EarlyData::Off);
            let mut pair = Pair::dial(&client, &server, expected.as_ref());
            pair.run().unwrap();
            assert_eq!(pair.peers(), (two.peer_id(), one.peer_id()));
            assert_eq!(pair.client.alpn_protocol(), Some(&b"weir/1"[..]));
            assert_eq!(pair.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            assert_eq!(pair.server.server_name(), None, "no name is sent");
        }
    }
}

#[test]
fn a_dial_that_finds_another_peer_fails() {
    let clock = WallClock::new(NOW);
    let (one, two, three) = (identity(1), identity(2), identity(3));
    let client = client(&one, &clock, EarlyData::Off);
    let server = server(&two, &clock, EarlyData::Off);
    let error = Pair::dial(&client, &server, Some(&three.peer_id())).run().unwrap_err();
    assert_eq!(error, wrong_peer());
    let name = ServerName::try_from("example.org").unwrap();
    let mut pair = Pair::dial(&client, &server, None);
    pair.client = ClientConnection::new(client, name).unwrap();
    let error = pair.run().unwrap_err();
    assert_eq!(error, wrong_peer(), "a foreign name expects nobody");
}

/// The error that is told apart from all others: alone it sends its alert.
fn wrong_peer() -> Error {
    let error = CertificateError::ApplicationVerificationFailure;
    assert_eq!(AlertDescription::from(error.clone()), WRONG_PEER_ALERT);
    Error::InvalidCertificate(error)
}

#[test]
fn a_client_without_certificate_is_turned_away() {
    let clock = WallClock::new(NOW);
    let bare = ClientConfig::builder_with_details(
        Arc::new(rustls::crypto::ring::default_provider()),
        Arc::new(clock.clone()),
    )
    .with_protocol_versions(&[&rustls::version::TLS13])
    .unwrap()
    .dangerous()
    .with_custom_certificate_verifier(Arc::new(verifier::PeerVerifier::new(
        rustls::crypto::ring::default_provider().signature_verification_algorithms,
    )))
    .with_no_client_auth();
    let mut bare = bare;
    bare.alpn_protocols = alpn();
    let server = server(&identity(2), &clock, EarlyData::Off);
    let error = Pair::dial(&Arc::new(bare), &server, None).run().unwrap_err();
    assert_eq!(error, Error::NoCertificatesPresented);
}

#[test]
fn a_server_with_the_certificate_of_a_web_site_is_refused() {
    let clock = WallClock::new(NOW);
    let key = super::mutations::certificate_key(5);
    let web = rcgen::CertificateParams::new(vec!["example.org".into()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(web.der().clone()).unwrap();
    let any = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let secret = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(clock.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(any)
        .with_single_cert(vec![web.der().clone()], secret.into())
        .unwrap();
    config.alpn_protocols = alpn();
    let client = client(&identity(1), &clock, EarlyData::Off);
    let error = Pair::dial(&client, &Arc::new(config), None).run().unwrap_err();
    assert_eq!(fault_of(&error), Some(TlsFault::NoExtension));
}

#[test]
fn no_common_protocol_ends_the_handshake() {
    let clock = WallClock::new(NOW);
    let options = ClientOptions { alpn: vec![b"other".to_vec()], ..ClientOptions::default() };
    let client = Arc::new(client_config(&identity(1), &clock, &options).unwrap());
    let server = server(&identity(2), &clock, EarlyData::Off);
    let error = Pair::dial(&client, &server, None).run().unwrap_err();
    assert_eq!(error, Error::NoApplicationProtocol);
}

#[test]
fn the_hosts_clock_decides_whether_a_certificate_is_valid() {
    let clock = WallClock::new(UnixTime::from_secs(0));
    let (one, two) = (identity(1), identity(2));
    let client = client(&one, &clock, EarlyData::Off);
    let server = server(&two, &WallClock::new(NOW), EarlyData::Off);
    let error = Pair::dial(&client, &server, None).run().unwrap_err();
    assert_eq!(fault_of(&error), Some(TlsFault::NotYetValid));
    clock.set(NOW);
    assert_eq!(clock.now(), NOW);
    Pair::dial(&client, &server, None).run().unwrap();
}

/// Writes early data on the next dial and returns what the server read of it.
fn early(pair: &mut Pair) -> Vec<u8> {
    let accepted = pair.client.early_data().is_some_and(|mut early| early.write_all(b"hello").is_ok());
    let mut wire = Vec::new();
    pair.client.write_tls(&mut wire).unwrap();
    let mut input = &wire[..];
    while !input.is_empty() {
        pair.server.read_tls(&mut input).unwrap();
        pair.server.process_new_packets().unwrap();
    }
    let mut read = Vec::new();
    if let Some(mut early) = pair.server.early_data() {
        early.read_to_end(&mut read).unwrap();
    }
    assert!(accepted || read.is_empty());
    pair.run().unwrap();
    read
}

#[test]
fn a_session_is_resumed_once_and_only_with_its_peer() {
    let clock = WallClock::new(NOW);
    let (one, two, three) = (identity(1), identity(2), identity(3));
    let client = client(&one, &clock, EarlyData::On);
    let server_two = server(&two, &clock, EarlyData::On);
    let server_three = server(&three, &clock, EarlyData::On);
    let two = two.peer_id();
    let mut first = Pair::dial(&client, &server_two, Some(&two));
    assert_eq!(early(&mut first), b"", "nothing to resume");
    assert_eq!(first.client.handshake_kind(), Some(HandshakeKind::Full));

    let mut other = Pair::dial(&client, &server_three, Some(&three.peer_id()));
    assert_eq!(early(&mut other), b"", "another peer's session is not used");
    let mut any = Pair::dial(&client, &server_two, None);
    assert_eq!(early(&mut any), b"", "nor by a dial that takes whoever answers");
    assert_eq!(any.client.handshake_kind(), Some(HandshakeKind::Full));

    let mut second = Pair::dial(&client, &server_two, Some(&two));
    assert_eq!(early(&mut second), b"hello");
    assert_eq!(second.client.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(second.peers(), (two, one.peer_id()), "a resumed session still says who it is");
}

#[test]
fn a_replayed_first_flight_is_not_read_twice() {
    let clock = WallClock::new(NOW);
    let (one, two) = (identity(1), identity(2));
    let client = client(&one, &clock, EarlyData::On);
    let server = server(&two, &clock, EarlyData::On);
    Pair::dial(&client, &server, Some(&two.peer_id())).run().unwrap();
    let mut pair = Pair::dial(&client, &server, Some(&two.peer_id()));
    pair.client.early_data().unwrap().write_all(b"pay").unwrap();
    let mut flight = Vec::new();
    pair.client.write_tls(&mut flight).unwrap();
    let read = |flight: &[u8]| {
        let mut server = ServerConnection::new(Arc::clone(&server)).unwrap();
        let mut input = flight;
        while !input.is_empty() {
            server.read_tls(&mut input).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut read = Vec::new();
        if let Some(mut early) = server.early_data() {
            early.read_to_end(&mut read).unwrap();
        }
        read
    };
    assert_eq!(read(&flight), b"pay");
    assert_eq!(read(&flight), b"", "the session is gone");
}

#[test]
fn without_early_data_or_sessions_there_is_none() {
    let clock = WallClock::new(NOW);
    let (one, two) = (identity(1), identity(2));
    let peer = two.peer_id();
    let options =
        ServerOptions { alpn: alpn(), sessions: 0, early_data: EarlyData::On, ..ServerOptions::default() };
    let stateless = Arc::new(server_config(&two, &clock, &options).unwrap());
    assert_eq!(stateless.max_early_data_size, 0);
    let client = client(&one, &clock, EarlyData::On);
    for server in [stateless, server(&two, &clock, EarlyData::Off)] {
        Pair::dial(&client, &server, Some(&peer)).run().unwrap();
        assert_eq!(early(&mut Pair::dial(&client, &server, Some(&peer))), b"");
    }
}

#[test]
fn the_server_forgets_the_oldest_session() {
    let clock = WallClock::new(NOW);
    let two = identity(2);
    let server = server(&two, &clock, EarlyData::On); // keeps 4
    let clients: Vec<_> = (10..16).map(|seed| client(&identity(seed), &clock, EarlyData::On)).collect();
    for client in &clients {
        Pair::dial(client, &server, Some(&two.peer_id())).run().unwrap();
    }
    let resumed: Vec<bool> = clients
        .iter()
        .map(|client| {
            let mut pair = Pair::dial(client, &server, Some(&two.peer_id()));
            pair.run().unwrap();
            pair.client.handshake_kind() == Some(HandshakeKind::Resumed)
        })
        .collect();
    assert!(!resumed[0], "the first of six is gone");
    assert!(resumed.iter().filter(|kept| **kept).count() <= 4);
}
