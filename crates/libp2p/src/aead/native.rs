//! ChaCha20-Poly1305 (RFC 8439) in place, by ring.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// A key. Whoever holds it counts the nonces.
pub(crate) struct Key(LessSafeKey);

impl Key {
    /// `None` where the library refuses the length, which is the right one.
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        Some(Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?)))
    }

    /// Encrypts in place; the tag. `None` where there is more text than the cipher takes (256 GiB).
    pub(crate) fn seal(&self, nonce: [u8; 12], ad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(ad), text).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Decrypts text and tag in place: the length of the text, where the tag fits.
    pub(crate) fn open(&self, nonce: [u8; 12], ad: &[u8], sealed: &mut [u8]) -> Option<usize> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(ad), sealed).ok().map(|text| text.len())
    }
}
