//! What encrypts a byte stream and proves who is at its other end: the part that Noise and TLS share.

use std::fmt;

use bytes::BytesMut;
use weir_base::{Fault, Instant, PeerId, PublicKey, Rng, UnixTime};

use crate::multistream::Names;

/// Bytes of text that are sealed at once, at most: those of the largest record of Noise. TLS cuts them into its own records.
pub const TEXT_MAX: usize = crate::noise::PLAINTEXT_MAX;

/// This node's own side cannot begin: its libraries lack the cryptography, or it has no security protocol at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no security protocol of this node can begin")]
pub struct CannotBegin;

/// One security protocol, as a node speaks it on all its connections.
pub trait Security: fmt::Debug + Send + Sync {
    /// Its name for multistream-select.
    fn name(&self) -> &str;

    /// Wall time now, for certificates. To be told before [`dial`](Self::dial) and [`accept`](Self::accept).
    fn set_time(&self, _wall: UnixTime) {}

    /// The side that connected. With `expected`, any other peer ends the handshake before this side shows who it is. `muxers`, in
    /// order of preference, go along with the handshake where there are any. `rng` must be unpredictable to the peer.
    ///
    /// # Errors
    /// [`CannotBegin`], which is no fault of the peer.
    fn dial(
        &self,
        expected: Option<PeerId>,
        muxers: Option<Names>,
        rng: Rng,
        now: Instant,
    ) -> Result<Box<dyn Session>, CannotBegin>;

    /// The side that was connected to; the rest as for [`dial`](Self::dial).
    ///
    /// # Errors
    /// [`CannotBegin`], which is no fault of the peer.
    fn accept(&self, muxers: Option<Names>, rng: Rng, now: Instant) -> Result<Box<dyn Session>, CannotBegin>;
}

/// What a handshake came to.
#[derive(Debug)]
pub struct Proven {
    /// Who is at the other end.
    pub peer: PeerId,
    /// Its host key.
    pub key: PublicKey,
    /// The muxer that both agree on, by its index in this side's list. `None`: it is to be negotiated.
    pub muxer: Option<usize>,
}

/// One connection's security: first its handshake, then what it encrypts.
pub trait Session: Send {
    /// Takes what it can of the peer's bytes off `input`; what is not whole may stay. Its outcome, once.
    ///
    /// # Errors
    /// The peer's fault. The session cannot go on, but what [`put`](Self::put) gives is the reason for the peer.
    fn handshake(&mut self, input: &mut BytesMut) -> Result<Option<Proven>, Fault>;

    /// Appends what the session has to send by itself to `out`.
    fn put(&mut self, out: &mut BytesMut);

    /// After the handshake: the length of the record that `input` begins with, its head included. `None` where `input` does not tell
    /// yet, or the session takes whatever there is.
    fn record_len(&self, _input: &[u8]) -> Option<usize> {
        None
    }

    /// After the handshake: takes the next text off `input` and decrypts it; `None` while it is not whole. Call until `None`.
    ///
    /// # Errors
    /// The peer's fault, as for [`handshake`](Self::handshake).
    fn open(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, Fault>;

    /// After the handshake: appends encrypted text to `out`. `fill` appends the text to the buffer that it is given, at most as many
    /// bytes as it is told; it may append nothing.
    fn seal(&mut self, out: &mut BytesMut, fill: &mut dyn FnMut(&mut BytesMut, usize));
}
