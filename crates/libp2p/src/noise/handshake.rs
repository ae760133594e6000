//! The three messages.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, BytesMut};
use snow::{Builder, HandshakeState};
use weir_base::identity::PublicKeyError;
use weir_base::{Fault, Instant, PeerId, PublicKey, Rng};

use super::identity::signed_bytes;
use super::payload::{Payload, listed};
use super::resolver::Resolver;
use super::{
    BAD_KEY, BAD_LENGTH, BAD_PAYLOAD, BAD_SIGNATURE, DEADLINE, FORGED, Identity, LATE, MESSAGE_MAX, NO_MUXER,
    OTHER_KEY, Opener, Sealer, TAG, WRONG_PEER,
};
use crate::multistream::Names;
use crate::setup::Setup;

/// The suite.
const SUITE: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
/// Bytes of a key.
const KEY: usize = 32;

/// What a handshake came to. After one of these the machine takes nothing more.
#[derive(Debug)]
pub enum Event {
    /// Both sides are who they say; what follows in the input are records.
    Done(Box<Secured>),
    /// The peer did something wrong, or is another one.
    Faulted(Fault),
}

/// An encrypted connection to a known peer.
#[derive(Debug)]
pub struct Secured {
    /// Who is at the other end.
    pub peer: PeerId,
    /// Its host key.
    pub key: PublicKey,
    /// The muxer that both lists agree on, by its index in this side's. `None`: one side sent no list, and the muxer is to be
    /// negotiated.
    pub muxer: Option<usize>,
    /// For what this side sends.
    pub sealer: Sealer,
    /// For what the peer sends.
    pub opener: Opener,
}

/// The cryptographic libraries do not offer the suite. A failure of this node, not of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic libraries do not offer {SUITE}")]
pub struct NoSuite;

/// Which message comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The listener waits for the first message.
    First,
    /// The dialler waits for the second.
    Second,
    /// The listener waits for the third.
    Third,
}

/// One handshake. After [`received`](Self::received) and [`handle_timeout`](Self::handle_timeout) call
/// [`poll_transmit`](Self::poll_transmit) until `false`, then [`poll_event`](Self::poll_event) once. What the dialler sends
/// first is ready when it is made.
pub struct Handshake {
    snow: HandshakeState,
    identity: Arc<Identity>,
    muxers: Option<Names>,
    expected: Option<PeerId>,
    step: Step,
    setup: Setup<Event>, // pending <= one message
}

impl Handshake {
    /// The side that connects. With `expected`, any other peer ends the handshake before this side shows who it is.
    /// `rng` must be unpredictable to the peer. `muxers` in order of preference; none: the muxer is negotiated afterwards.
    ///
    /// # Errors
    /// [`NoSuite`], which the libraries in use never cause.
    pub fn dialer(
        identity: Arc<Identity>,
        expected: Option<PeerId>,
        muxers: Option<Names>,
        rng: Rng,
        now: Instant,
    ) -> Result<Self, NoSuite> {
        let snow = builder(&identity, rng)?.build_initiator().map_err(|_| NoSuite)?;
        let mut handshake = Self::new(snow, identity, muxers, expected, Step::Second, now);
        handshake.send(&[]).map_err(|_| NoSuite)?;
        Ok(handshake)
    }

    /// The side that was connected to. `rng` must be unpredictable to the peer.
    ///
    /// # Errors
    /// [`NoSuite`], which the libraries in use never cause.
    pub fn listener(
        identity: Arc<Identity>,
        muxers: Option<Names>,
        rng: Rng,
        now: Instant,
    ) -> Result<Self, NoSuite> {
        let snow = builder(&identity, rng)?.build_responder().map_err(|_| NoSuite)?;
        Ok(Self::new(snow, identity, muxers, None, Step::First, now))
    }

    fn new(
        snow: HandshakeState,
        identity: Arc<Identity>,
        muxers: Option<Names>,
        expected: Option<PeerId>,
        step: Step,
        now: Instant,
    ) -> Self {
        Self {
            snow,
            identity,
            muxers,
            expected,
            step,
            setup: Setup::new(now + DEADLINE, "noise handshake", BytesMut::new()),
        }
    }

    /// Takes whole messages off `input`, which keeps what is not whole (at most [`MESSAGE_MAX`] + 1 bytes) and what comes after
    /// the handshake.
    pub fn received(&mut self, input: &mut BytesMut) {
        while !self.setup.is_over() {
            let Some(prefix) = input.first_chunk::<2>() else { return };
            let len = usize::from(u16::from_be_bytes(*prefix));
            if !self.lengths().contains(&len) {
                return self.setup.end(Event::Faulted(BAD_LENGTH));
            }
            if input.len() < 2 + len {
                return;
            }
            input.advance(2);
            let message = input.split_to(len);
            if let Err(fault) = self.message(&message) {
                self.setup.end(Event::Faulted(fault));
            }
        }
    }

    /// Lengths that the next message can have.
    fn lengths(&self) -> std::ops::RangeInclusive<usize> {
        match self.step {
            Step::First => KEY..=MESSAGE_MAX,
            Step::Second => 2 * KEY + 2 * TAG..=MESSAGE_MAX,
            Step::Third => KEY + 2 * TAG..=MESSAGE_MAX,
        }
    }

    fn message(&mut self, message: &[u8]) -> Result<(), Fault> {
        let mut payload = [0; MESSAGE_MAX];
        let len = self.snow.read_message(message, &mut payload).map_err(|_| FORGED)?;
        let payload = payload.get(..len).ok_or(FORGED)?;
        if self.step == Step::First {
            // Nothing in it is authenticated yet: nothing may be there.
            if !payload.is_empty() {
                return Err(BAD_PAYLOAD);
            }
            let own = self.own_payload();
            self.step = Step::Third;
            return self.send(&own);
        }
        let payload = Payload::decode(payload).map_err(|_| BAD_PAYLOAD)?;
        let key = self.verified(&payload)?;
        let muxer = self.muxer(&payload.muxers)?;
        if self.step == Step::Second {
            let own = self.own_payload();
            self.send(&own)?;
        }
        self.finish(key, muxer)
    }

    /// The peer's host key, if it signed the static key and is the one expected.
    fn verified(&self, payload: &Payload<'_>) -> Result<PublicKey, Fault> {
        let key = PublicKey::from_protobuf(payload.key).map_err(|error| match error {
            PublicKeyError::RsaBits(_) | PublicKeyError::UnknownType(_) | PublicKeyError::Curve => OTHER_KEY,
            _ => BAD_KEY,
        })?;
        if self.expected.is_some_and(|expected| !expected.is_of(&key)) {
            return Err(WRONG_PEER);
        }
        let shown = self.snow.get_remote_static().ok_or(FORGED)?;
        key.verify(&signed_bytes(shown), payload.signature).map_err(|_| BAD_SIGNATURE)?;
        Ok(key)
    }

    /// The first of the dialler's muxers that the listener has, too; `None` where a side sent no list.
    fn muxer(&self, theirs: &[&[u8]]) -> Result<Option<usize>, Fault> {
        let Some(ours) = self.muxers.as_ref().map(listed).filter(|_| !theirs.is_empty()) else {
            return Ok(None);
        };
        let common = if self.step == Step::Second {
            ours.iter().position(|name| theirs.contains(name))
        } else {
            theirs.iter().find_map(|name| ours.iter().position(|own| own == name))
        };
        common.map(Some).ok_or(NO_MUXER)
    }

    fn own_payload(&self) -> Vec<u8> {
        let muxers = self.muxers.as_ref().map(listed).unwrap_or_default();
        Payload { key: self.identity.key(), signature: self.identity.signature(), muxers }.encode()
    }

    fn send(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let mut message = [0; MESSAGE_MAX];
        let len = self.snow.write_message(payload, &mut message).map_err(|_| FORGED)?;
        let prefix = u16::try_from(len).unwrap_or(0); // <= MESSAGE_MAX
        self.setup.pending.put_u16(prefix);
        self.setup.pending.extend_from_slice(message.get(..len).unwrap_or_default());
        Ok(())
    }

    fn finish(&mut self, key: PublicKey, muxer: Option<usize>) -> Result<(), Fault> {
        let (from_dialer, from_listener) = self.snow.dangerously_get_raw_split();
        let dialled = self.step == Step::Second;
        let (ours, theirs) =
            if dialled { (from_dialer, from_listener) } else { (from_listener, from_dialer) };
        let sealer = Sealer::new(&ours).ok_or(FORGED)?;
        let opener = Opener::new(&theirs).ok_or(FORGED)?;
        let secured = Secured { peer: key.peer_id(), key, muxer, sealer, opener };
        self.setup.end(Event::Done(Box::new(secured)));
        Ok(())
    }

    /// Advances what is due; early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.setup.is_late(now) {
            self.setup.end(Event::Faulted(LATE));
        }
    }

    /// When the handshake is late.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.setup.poll_timeout()
    }

    /// Appends the next message for the peer to `out`.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        self.setup.poll_transmit(out)
    }

    /// What it came to, once.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.setup.poll_event()
    }
}

fn builder(identity: &Identity, rng: Rng) -> Result<Builder<'_>, NoSuite> {
    let suite = SUITE.parse().map_err(|_| NoSuite)?;
    Builder::with_resolver(suite, Box::new(Resolver { rng }))
        .local_private_key(identity.secret())
        .map_err(|_| NoSuite)
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("step", &self.step).finish_non_exhaustive()
    }
}
