//! ChaCha20-Poly1305 (RFC 8439) with Noise's nonces, in place: ring's natively, RustCrypto's on wasm.

/// Bytes of a tag.
pub(super) const TAG: usize = 16;

/// Four zeroes, then the counter, little-endian.
fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    for (slot, byte) in nonce.iter_mut().skip(4).zip(counter.to_le_bytes()) {
        *slot = byte;
    }
    nonce
}

#[cfg(not(target_family = "wasm"))]
pub(super) use native::Key;
#[cfg(target_family = "wasm")]
pub(super) use portable::Key;

#[cfg(not(target_family = "wasm"))]
mod native {
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    use super::{TAG, nonce};

    /// A key. Whoever holds it counts the nonces.
    pub(in super::super) struct Key(LessSafeKey);

    impl Key {
        /// `None` where the library refuses the length, which is the right one.
        pub(in super::super) fn new(key: &[u8; 32]) -> Option<Self> {
            Some(Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?)))
        }

        /// Encrypts in place; the tag. `None` where there is more text than the cipher takes (256 GiB).
        pub(in super::super) fn seal(&self, counter: u64, ad: &[u8], text: &mut [u8]) -> Option<[u8; TAG]> {
            let nonce = Nonce::assume_unique_for_key(nonce(counter));
            let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(ad), text).ok()?;
            tag.as_ref().try_into().ok()
        }

        /// Decrypts text and tag in place: the length of the text, where the tag fits.
        pub(in super::super) fn open(&self, counter: u64, ad: &[u8], sealed: &mut [u8]) -> Option<usize> {
            let nonce = Nonce::assume_unique_for_key(nonce(counter));
            self.0.open_in_place(nonce, Aad::from(ad), sealed).ok().map(|text| text.len())
        }
    }
}

#[cfg(any(target_family = "wasm", test))]
pub(super) mod portable {
    use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
    use chacha20poly1305::{ChaCha20Poly1305, Tag};

    use super::{TAG, nonce};

    /// A key. Whoever holds it counts the nonces.
    pub(in super::super) struct Key(ChaCha20Poly1305);

    impl Key {
        /// `None` where the library refuses the length, which is the right one.
        pub(in super::super) fn new(key: &[u8; 32]) -> Option<Self> {
            ChaCha20Poly1305::new_from_slice(key).ok().map(Self)
        }

        /// Encrypts in place; the tag. `None` where there is more text than the cipher takes (256 GiB).
        pub(in super::super) fn seal(&self, counter: u64, ad: &[u8], text: &mut [u8]) -> Option<[u8; TAG]> {
            let tag = self.0.encrypt_inout_detached(&nonce(counter).into(), ad, text.into()).ok()?;
            Some(tag.into())
        }

        /// Decrypts text and tag in place: the length of the text, where the tag fits.
        pub(in super::super) fn open(&self, counter: u64, ad: &[u8], sealed: &mut [u8]) -> Option<usize> {
            let (text, tag) = sealed.split_last_chunk_mut::<TAG>()?;
            let tag = Tag::from(*tag);
            let len = text.len();
            self.0.decrypt_inout_detached(&nonce(counter).into(), ad, text.into(), &tag).ok()?;
            Some(len)
        }
    }
}
