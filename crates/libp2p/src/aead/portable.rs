//! ChaCha20-Poly1305 (RFC 8439) in place, by RustCrypto: for targets that ring does not serve.

use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Tag};

/// A key. Whoever holds it counts the nonces.
pub(crate) struct Key(ChaCha20Poly1305);

impl Key {
    /// `None` where the library refuses the length, which is the right one.
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        ChaCha20Poly1305::new_from_slice(key).ok().map(Self)
    }

    /// Encrypts in place; the tag. `None` where there is more text than the cipher takes (256 GiB).
    pub(crate) fn seal(&self, nonce: [u8; 12], ad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        self.0.encrypt_inout_detached(&nonce.into(), ad, text.into()).ok().map(Into::into)
    }

    /// Decrypts text and tag in place: the length of the text, where the tag fits.
    pub(crate) fn open(&self, nonce: [u8; 12], ad: &[u8], sealed: &mut [u8]) -> Option<usize> {
        let (text, tag) = sealed.split_last_chunk_mut::<16>()?;
        let tag = Tag::from(*tag);
        let len = text.len();
        self.0.decrypt_inout_detached(&nonce.into(), ad, text.into(), &tag).ok()?;
        Some(len)
    }
}
