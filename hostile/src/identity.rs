//! A fresh libp2p identity for each hostile peer, by hand from `identity.md` §4: a certificate of a throw-away key that carries
//! the host key and its signature.

use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use quinn::crypto::rustls::QuicClientConfig;
use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

type Any = Box<dyn std::error::Error + Send + Sync>;

/// Everything one identity needs to dial.
pub fn client() -> Result<quinn::ClientConfig, Any> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let host = SigningKey::from_bytes(&seed);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut public = vec![0x08, 1, 0x12, 32];
    public.extend_from_slice(host.verifying_key().as_bytes());
    let mut signed = b"libp2p-tls-handshake:".to_vec();
    signed.extend_from_slice(&key.subject_public_key_info());
    let signature = host.sign(&signed).to_bytes();
    let mut body = vec![4, public.len() as u8];
    body.extend_from_slice(&public);
    body.extend_from_slice(&[4, 64]);
    body.extend_from_slice(&signature);
    let mut extension = vec![0x30, body.len() as u8];
    extension.extend_from_slice(&body);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.custom_extensions =
        vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 53594, 1, 1], extension)];
    let certificate = params.self_signed(&key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_auth_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    tls.alpn_protocols = vec![b"weir/1".to_vec()];
    tls.enable_sni = false;
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = quinn::TransportConfig::default();
    transport.max_concurrent_uni_streams(0_u8.into()).max_concurrent_bidi_streams(1024_u16.into());
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Takes any server: whom a hostile peer attacks is not verified.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
            SignatureScheme::ECDSA_NISTP384_SHA384,
        ]
    }
}
