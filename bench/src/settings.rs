//! What all sides share as far as their libraries let them: windows, buffers, cipher, certificates.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The most a stream and a connection may have in flight, of all QUIC sides, in bytes.
pub const WINDOW: u32 = 8 << 20;
/// UDP socket buffers of all sides that let them be set, in bytes. The system may grant less.
pub const SOCKET_BUFFER: usize = 4 << 20;
/// A link that is silent for so long asks for a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A UDP socket on loopback with [`SOCKET_BUFFER`].
pub fn socket() -> std::net::UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("loopback");
    socket.set_nonblocking(true).expect("non-blocking");
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    socket.into()
}

/// The transport parameters of the raw QUIC sides: quinn's own but for windows, streams and keep-alive.
fn transport() -> Arc<quinn_proto::TransportConfig> {
    let mut config = quinn_proto::TransportConfig::default();
    config
        .receive_window(WINDOW.into())
        .stream_receive_window(WINDOW.into())
        .send_window(u64::from(WINDOW))
        .max_concurrent_bidi_streams(1024_u32.into())
        .max_idle_timeout(Some(Duration::from_secs(30).try_into().expect("30 s fit")))
        .keep_alive_interval(Some(KEEP_ALIVE));
    Arc::new(config)
}

/// ring with AES-128-GCM alone, so that nothing else can be negotiated.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(provider)
}

/// TLS 1.3 with a self-signed certificate.
pub fn tls_server() -> rustls::ServerConfig {
    let made = rcgen::generate_simple_self_signed(vec!["bench".into()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a server configuration");
    tls.alpn_protocols = vec![b"bench".to_vec()];
    tls
}

/// A server configuration of QUIC with a self-signed certificate.
pub fn server_config() -> quinn_proto::ServerConfig {
    let crypto = quinn_proto::crypto::rustls::QuicServerConfig::try_from(tls_server()).expect("a QUIC suite");
    let mut config = quinn_proto::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport());
    config
}

/// TLS 1.3 that takes any certificate: these are benchmarks on loopback.
pub fn tls_client() -> rustls::ClientConfig {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"bench".to_vec()];
    tls
}

/// The same for QUIC.
pub fn client_config() -> quinn_proto::ClientConfig {
    let crypto = quinn_proto::crypto::rustls::QuicClientConfig::try_from(tls_client()).expect("a QUIC suite");
    let mut config = quinn_proto::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport());
    config
}

#[derive(Debug)]
struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
