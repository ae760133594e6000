//! What can be wrong with a peer's certificate, and who is to blame.

use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error, OtherError};
use weir_base::Fault;
use weir_base::identity::{PeerId, PublicKeyError};

use super::CERTIFICATE_MAX;

/// Why a peer's certificate is refused. The connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// A chain, or no certificate at all.
    #[error("{0} certificates instead of exactly one")]
    NotOne(usize),
    /// Longer than [`CERTIFICATE_MAX`].
    #[error("certificate of {0} bytes; at most {CERTIFICATE_MAX} are taken")]
    TooLong(usize),
    /// Not one DER X.509 certificate.
    #[error("certificate is not valid DER")]
    Encoding,
    /// It has one of the deprecated unique ids.
    #[error("certificate has a unique id")]
    UniqueId,
    /// Its first day is in the future of this node's clock.
    #[error("certificate is not valid yet")]
    NotYetValid,
    /// Its last day is in the past of this node's clock.
    #[error("certificate has expired")]
    Expired,
    /// A critical extension other than libp2p's.
    #[error("certificate has an unknown critical extension")]
    CriticalExtension,
    /// Without libp2p's extension.
    #[error("certificate without the libp2p extension")]
    NoExtension,
    /// With more than one of them.
    #[error("certificate with two libp2p extensions")]
    TwoExtensions,
    /// The extension is not key and signature in DER.
    #[error("libp2p extension is not valid DER")]
    ExtensionEncoding,
    /// The host key inside is none that Weir takes.
    #[error("host key: {0}")]
    HostKey(#[from] PublicKeyError),
    /// The certificate's own key or signature is of a kind other than P-256, P-384 and Ed25519.
    #[error("certificate key or signature algorithm is not supported")]
    Algorithm,
    /// The certificate is not signed by its own key.
    #[error("self-signature does not verify")]
    SelfSignature,
    /// The host key did not sign the certificate's key.
    #[error("host key's signature does not verify")]
    HostSignature,
    /// Another peer than the one that was dialled.
    #[error("peer is {0}, not the one expected")]
    WrongPeer(PeerId),
}

impl TlsFault {
    /// The fault in the terms of the peer's standing. What may be due to clocks, to an old address or to a choice that the
    /// specification leaves open is nobody's fault.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NotYetValid | Self::Expired => Fault::incompatible("certificate outside its validity"),
            Self::WrongPeer(_) => Fault::incompatible("another peer at this address"),
            Self::HostKey(
                PublicKeyError::RsaBits(_) | PublicKeyError::UnknownType(_) | PublicKeyError::Curve,
            ) => Fault::incompatible("host key of an unsupported kind"),
            Self::Algorithm => Fault::incompatible("certificate of an unsupported kind"),
            Self::CriticalExtension => Fault::incompatible("unknown critical extension in the certificate"),
            Self::HostKey(_) => Fault::misbehaved("malformed host key in the certificate"),
            Self::NotOne(_) => Fault::misbehaved("not exactly one certificate"),
            Self::SelfSignature | Self::HostSignature => Fault::misbehaved("forged certificate"),
            Self::TooLong(_)
            | Self::Encoding
            | Self::UniqueId
            | Self::NoExtension
            | Self::TwoExtensions
            | Self::ExtensionEncoding => Fault::misbehaved("malformed certificate"),
        }
    }
}

impl From<TlsFault> for Error {
    /// As the alert that fits; [`fault_of`] gets the fault back, but who a wrong peer was.
    fn from(fault: TlsFault) -> Self {
        Self::InvalidCertificate(match fault {
            TlsFault::WrongPeer(_) => CertificateError::ApplicationVerificationFailure,
            fault => CertificateError::Other(OtherError(Arc::new(fault))),
        })
    }
}

/// The alert of a dialler that finds another peer than it expects: a valid certificate, but not the one wanted (RFC 8446 §6.2).
/// No other fault of this module sends it.
pub const WRONG_PEER_ALERT: AlertDescription = AlertDescription::AccessDenied;

/// The fault inside an error of rustls, where this module's verifiers put one there.
pub fn fault_of(error: &Error) -> Option<TlsFault> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.downcast_ref::<TlsFault>().copied()
        }
        _ => None,
    }
}
