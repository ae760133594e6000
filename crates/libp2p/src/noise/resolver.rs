//! The primitives that snow's handshake runs on. Randomness is the host's seed.

use sha2::{Digest as _, Sha256};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use weir_base::Rng;
use x25519_dalek::{PublicKey, StaticSecret};

use super::{TAG, nonce};
use crate::aead::Key;

/// Hands the primitives to snow. `rng` is drawn from once, for the ephemeral key.
pub(super) struct Resolver {
    pub(super) rng: Rng,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Seeded(self.rng.clone())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(X25519::of([0; 32])) as _)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        matches!(choice, HashChoice::SHA256).then(|| Box::new(Sha(Sha256::new())) as _)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        matches!(choice, CipherChoice::ChaChaPoly).then(|| Box::new(ChaChaPoly(None)) as _)
    }
}

struct Seeded(Rng);

impl Random for Seeded {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.0.fill(out);
        Ok(())
    }
}

struct X25519 {
    secret: StaticSecret,
    public: [u8; 32],
}

impl X25519 {
    fn of(secret: [u8; 32]) -> Self {
        let secret = StaticSecret::from(secret);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        if let Ok(secret) = <[u8; 32]>::try_from(secret) {
            *self = Self::of(secret);
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut secret = [0; 32];
        rng.try_fill_bytes(&mut secret)?;
        *self = Self::of(secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    /// A point of low order makes a secret that everybody knows: refused.
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public = public.first_chunk::<32>().ok_or(Error::Dh)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(*public));
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        out.get_mut(..32).ok_or(Error::Dh)?.copy_from_slice(shared.as_bytes());
        Ok(())
    }
}

struct Sha(Sha256);

impl Hash for Sha {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Sha256::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let hash = std::mem::take(&mut self.0).finalize();
        for (slot, byte) in out.iter_mut().zip(hash) {
            *slot = byte;
        }
    }
}

/// Without a key it refuses everything, which snow never asks for.
struct ChaChaPoly(Option<Key>);

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = Key::new(key);
    }

    /// Zero bytes where it cannot: the message is too short then, and the other side refuses it.
    fn encrypt(&self, nonce: u64, ad: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let sealed = |out: &mut [u8]| {
            let (text, rest) = out.split_at_mut_checked(plaintext.len())?;
            text.copy_from_slice(plaintext);
            let tag = self.0.as_ref()?.seal(self::nonce(nonce), ad, text)?;
            rest.first_chunk_mut::<TAG>()?.copy_from_slice(&tag);
            Some(plaintext.len() + TAG)
        };
        sealed(out).unwrap_or(0)
    }

    fn decrypt(&self, nonce: u64, ad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let key = self.0.as_ref().ok_or(Error::Decrypt)?;
        let mut copy = sealed.to_vec(); // a handshake message, at most
        let len = key.open(self::nonce(nonce), ad, &mut copy).ok_or(Error::Decrypt)?;
        let text = copy.get(..len).ok_or(Error::Decrypt)?;
        out.get_mut(..len).ok_or(Error::Decrypt)?.copy_from_slice(text);
        Ok(len)
    }
}
