//! A byte stream between two nodes, such as a TCP connection, made into an authenticated one with many streams.
//!
//! 1. where the network is private, [`pnet`](crate::pnet) encrypts all that follows;
//! 2. multistream-select agrees on [`noise`]: the dialler sends its first handshake message along;
//! 3. Noise proves who is there and agrees on the muxer; where a side sent no list, multistream-select does, encrypted;
//! 4. [`yamux`] carries the streams, as many frames in a record as fit.
//!
//! The dialler's first streams go out with its last handshake message: the first answer comes two round trips after the byte
//! stream is there. The caller hands in what arrived and takes what is to be sent, in pieces of any size.
//!
//! Threat: one deadline covers the whole set-up, and what arrived is bounded, decrypted or not: when streams are not read, no
//! further record is decrypted, and [`Connection::room`] falls to zero. No byte of an application moves before the peer is
//! the one that was expected.
//!
//! Source: libp2p specs `connections/README.md`; `docs/spec/connection.md`.

mod drive;
mod select;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use weir_base::{Fault, Instant, PeerId, PublicKey, Rng};

use crate::multistream::{NameError, Names};
use crate::noise::{self, Handshake, Identity, NoSuite, Opener, Sealer};
use crate::pnet::{Pnet, SharedKey};
use crate::yamux::{self, Yamux};
use select::Select;

/// How long the whole set-up may take.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// Bytes that arrived and wait for the rest of their record, or for a reader: two records.
pub const INPUT_MAX: usize = 128 * 1024;

/// The set-up took too long.
pub const LATE: Fault = Fault::unreliable("connection not set up in time");
/// The peer speaks no security of ours.
pub const NO_SECURITY: Fault = Fault::incompatible("no security protocol in common");

/// What all connections of a node share.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This node.
    pub identity: Arc<Identity>,
    /// The network's key, where it is private.
    pub private: Option<SharedKey>,
    /// Names of yamux, in order of preference: [`yamux::NAME`], or what the network calls it.
    pub muxers: Names,
    /// Whether the list of muxers goes along with the handshake, so that they cost no round trip.
    pub early_muxer: bool,
    /// Limits of each connection's streams.
    pub yamux: yamux::Config,
    /// Bytes by which the windows of one connection's streams may grow together.
    pub budget: u64,
}

impl Setup {
    /// The usual one: not private, yamux by its usual name, agreed on early, and no budget for windows.
    ///
    /// # Errors
    /// Never, as that name is one.
    pub fn new(identity: Arc<Identity>) -> Result<Self, NameError> {
        let muxers = Names::new([yamux::NAME])?;
        Ok(Self {
            identity,
            private: None,
            muxers,
            early_muxer: true,
            yamux: yamux::Config::default(),
            budget: 0,
        })
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer is known and streams can be opened.
    Up {
        /// Who is at the other end.
        peer: PeerId,
        /// Its host key.
        key: Box<PublicKey>,
    },
    /// A stream's, or the muxer's.
    Muxer(yamux::Event),
    /// The peer did something wrong, or speaks something else. What is left to send is the reason.
    Faulted(Fault),
}

/// How far a connection is.
enum Stage {
    /// Security is agreed on, or the handshake runs.
    Handshake(Box<Handshake>),
    /// The peer is known.
    Secured(Box<Secured>),
    Failed,
}

/// What encrypts, and what speaks inside.
struct Secured {
    sealer: Sealer,
    opener: Opener,
    muxer: Yamux,
    answer: BytesMut,                  // the last of a negotiation of the muxer
    peer: Option<(PeerId, PublicKey)>, // until it is told
}

/// One connection. After any call but `poll_*`, call [`poll_event`](Self::poll_event) until `None`, use the streams of
/// [`muxer`](Self::muxer), then call [`poll_transmit`](Self::poll_transmit) while the transport has room.
pub struct Connection {
    setup: Arc<Setup>,
    side: yamux::Side,
    private: Option<Pnet>,
    select: Option<Select>, // a negotiation that is not over: of security, or of the muxer
    stage: Stage,
    input: BytesMut,  // <= INPUT_MAX
    answer: BytesMut, // the last of a negotiation or handshake that is over, not encrypted by Noise
    due: Instant,
    events: VecDeque<Event>, // one or two
}

impl Connection {
    /// The side that connected. With `expected`, any other peer ends the set-up. `rng` must be unpredictable to the peer, and
    /// another one for each connection.
    ///
    /// # Errors
    /// [`NoSuite`], which the libraries in use never cause.
    pub fn dial(
        setup: Arc<Setup>,
        expected: Option<PeerId>,
        mut rng: Rng,
        now: Instant,
    ) -> Result<Self, NoSuite> {
        let (private, early) = parts(&setup, &mut rng);
        let identity = Arc::clone(&setup.identity);
        let handshake = Handshake::dialer(identity, expected, early, rng.child("noise"), now)?;
        Ok(Self::new(setup, yamux::Side::Dialler, private, handshake, now))
    }

    /// The side that was connected to. `rng` as for [`dial`](Self::dial).
    ///
    /// # Errors
    /// [`NoSuite`], which the libraries in use never cause.
    pub fn accept(setup: Arc<Setup>, mut rng: Rng, now: Instant) -> Result<Self, NoSuite> {
        let (private, early) = parts(&setup, &mut rng);
        let identity = Arc::clone(&setup.identity);
        let handshake = Handshake::listener(identity, early, rng.child("noise"), now)?;
        Ok(Self::new(setup, yamux::Side::Listener, private, handshake, now))
    }

    fn new(
        setup: Arc<Setup>,
        side: yamux::Side,
        private: Option<Pnet>,
        handshake: Handshake,
        now: Instant,
    ) -> Self {
        let select = Names::new([noise::NAME]).ok().map(|names| Select::new(side, names, now));
        Self {
            setup,
            side,
            private,
            select,
            stage: Stage::Handshake(Box::new(handshake)),
            input: BytesMut::new(),
            answer: BytesMut::new(),
            due: now + DEADLINE,
            events: VecDeque::new(),
        }
    }

    /// Its streams; none before the peer is known, and after a fault.
    pub fn muxer(&mut self) -> Option<&mut Yamux> {
        match &mut self.stage {
            Stage::Secured(secured) => Some(&mut secured.muxer),
            Stage::Handshake(_) | Stage::Failed => None,
        }
    }

    /// Whether the peer is known, and so is what carries the streams.
    pub fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Secured(_)) && self.select.is_none()
    }

    /// Bytes that [`received`](Self::received) can take now. 0: the transport must wait until streams are read.
    pub fn room(&self) -> usize {
        INPUT_MAX.saturating_sub(self.input.len())
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        match self.muxer()?.poll_event()? {
            yamux::Event::Faulted(fault) => Some(Event::Faulted(fault)),
            event => Some(Event::Muxer(event)),
        }
    }

    /// Advances what is due; early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.is_up() && !matches!(self.stage, Stage::Failed) {
            if self.due <= now {
                self.fail(LATE);
            }
            return;
        }
        if let Some(muxer) = self.muxer() {
            muxer.handle_timeout(now);
        }
    }

    /// When it wants to be called next.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match &self.stage {
            Stage::Failed => None,
            Stage::Secured(secured) if self.select.is_none() => secured.muxer.poll_timeout(),
            Stage::Secured(_) | Stage::Handshake(_) => Some((self.due, "connection set-up")),
        }
    }

    fn fail(&mut self, fault: Fault) {
        self.last_words();
        self.stage = Stage::Failed;
        self.select = None;
        self.input = BytesMut::new();
        self.events.push_back(Event::Faulted(fault));
    }
}

/// What a connection draws first, and the muxers that go along with its handshake.
fn parts(setup: &Setup, rng: &mut Rng) -> (Option<Pnet>, Option<Names>) {
    let private = setup.private.clone().map(|key| Pnet::new(key, rng));
    (private, setup.early_muxer.then(|| setup.muxers.clone()))
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side)
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
