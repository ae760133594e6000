//! Private networks: a key that all members share encrypts a connection below everything else.
//!
//! - each side sends 24 random bytes, its nonce, before its first byte;
//! - all that follows in a direction is XORed with XSalsa20 of the shared key and that direction's nonce.
//!
//! It says nothing about who is there and protects nothing from changes: whoever does not know the key sees noise, and what it
//! sends becomes noise, which the handshake above refuses.
//!
//! Threat: a stranger may connect and reflect what it is sent. A peer's nonce that equals this side's is a fault, so that no
//! side ever takes its own bytes for the other's. Nothing is kept but a nonce that is not whole.
//!
//! Source: libp2p specs, `pnet/Private-Networks-PSK-V1.md`; `docs/spec/pnet.md`.

use std::fmt;

use bytes::BytesMut;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use weir_base::{Fault, Rng};

/// Bytes of a nonce.
pub const NONCE: usize = 24;

/// The peer's nonce is this side's own.
pub const REFLECTED: Fault = Fault::misbehaved("reflected the nonce of a private network");

/// First and second line of a key file.
const FILE_HEAD: &str = "/key/swarm/psk/1.0.0/";
const FILE_BASE16: &str = "/base16/";

/// The key that all members of a network share. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey([u8; 32]);

/// Why a text is no key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The first line is another one.
    #[error("a key file of a private network begins with `{FILE_HEAD}`")]
    Head,
    /// The second line is not `/base16/`.
    #[error("the key must be in base16: `{FILE_BASE16}` in the second line")]
    Encoding,
    /// The third line is not 64 hexadecimal digits, or is not the last.
    #[error("the third and last line must be 64 hexadecimal digits")]
    Key,
}

impl SharedKey {
    /// A key from its 32 bytes.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Reads a key file (`swarm.key`) as go-libp2p and Kubo write it, in base16.
    ///
    /// # Errors
    /// [`KeyFileError`], which shows nothing of the key.
    pub fn from_file(text: &str) -> Result<Self, KeyFileError> {
        let mut lines = text.lines().map(str::trim_end);
        if lines.next() != Some(FILE_HEAD) {
            return Err(KeyFileError::Head);
        }
        if lines.next() != Some(FILE_BASE16) {
            return Err(KeyFileError::Encoding);
        }
        let digits = lines.next().ok_or(KeyFileError::Key)?;
        if lines.any(|line| !line.is_empty()) {
            return Err(KeyFileError::Key);
        }
        unhex(digits).map(Self).ok_or(KeyFileError::Key)
    }
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if digits.len() != 2 * key.len() {
        return None;
    }
    for (slot, pair) in key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let value = |digit: &u8| char::from(*digit).to_digit(16);
        *slot = u8::try_from(value(high)? << 4 | value(low)?).ok()?;
    }
    Some(key)
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(secret)")
    }
}

enum Receiving {
    Nonce { bytes: [u8; NONCE], filled: usize },
    Open(Box<XSalsa20>),
}

/// Both directions of one connection.
pub struct Pnet {
    key: SharedKey,
    nonce: [u8; NONCE],
    told: bool, // the nonce has gone out
    sending: Box<XSalsa20>,
    receiving: Receiving,
}

impl Pnet {
    /// Draws a nonce of `rng`, which must never draw the same for two connections.
    pub fn new(key: SharedKey, rng: &mut Rng) -> Self {
        let nonce = rng.bytes();
        let sending = Box::new(XSalsa20::new(&key.0.into(), &nonce.into()));
        let receiving = Receiving::Nonce { bytes: [0; NONCE], filled: 0 };
        Self { key, nonce, told: false, sending, receiving }
    }

    /// Call before bytes for the peer are appended to `out`: the nonce goes before the first. What is appended then is passed to
    /// [`encrypt`](Self::encrypt).
    pub fn begin(&mut self, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.told, true) {
            out.extend_from_slice(&self.nonce);
        }
    }

    /// Encrypts bytes for the peer in place, each once and in order.
    pub fn encrypt(&mut self, bytes: &mut [u8]) {
        self.sending.apply_keystream(bytes); // 2^70 bytes are never sent
    }

    /// Decrypts bytes of the peer in place. Its nonce is taken off the front.
    ///
    /// # Errors
    /// [`REFLECTED`].
    pub fn received(&mut self, input: &mut BytesMut) -> Result<(), Fault> {
        if let Receiving::Nonce { bytes, filled } = &mut self.receiving {
            let wanted = bytes.get_mut(*filled..).unwrap_or_default();
            let part = input.split_to(wanted.len().min(input.len()));
            wanted.iter_mut().zip(&part).for_each(|(slot, byte)| *slot = *byte);
            *filled += part.len();
            if *filled < NONCE {
                return Ok(());
            }
            if *bytes == self.nonce {
                return Err(REFLECTED);
            }
            let cipher = XSalsa20::new(&self.key.0.into(), &(*bytes).into());
            self.receiving = Receiving::Open(Box::new(cipher));
        }
        if let Receiving::Open(cipher) = &mut self.receiving {
            cipher.apply_keystream(input);
        }
        Ok(())
    }
}

impl fmt::Debug for Pnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pnet").field("told", &self.told).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
