//! Which cipher TLS prefers.

/// The fastest cipher of TLS on this node's processor. A dialler offers it first, a listener chooses it of what the dialler offers. All
/// ciphers of TLS 1.3 are spoken, whichever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cipher {
    /// AES-GCM, where the processor has instructions for AES. A listener takes the dialler's first choice.
    #[default]
    AesGcm,
    /// ChaCha20-Poly1305, on any other processor. A listener chooses it even where the dialler prefers another.
    ChaCha20Poly1305,
}
