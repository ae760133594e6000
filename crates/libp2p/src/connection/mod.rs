//! A byte stream between two nodes, such as a TCP connection, made into an authenticated one with many streams.
//!
//! 1. where the network is private, [`pnet`](crate::pnet) encrypts all that follows;
//! 2. multistream-select agrees on the [`Security`]: a dialler that proposes a single one sends its first handshake message along;
//! 3. that ([`noise`](crate::noise), or TLS where it is built in) proves who is there and agrees on the muxer; where a side sent
//!    no list, multistream-select does, encrypted;
//! 4. [`yamux`] carries the streams, as many frames in a record as fit; or [`mplex`], where this node takes it and the peer has
//!    nothing better.
//!
//! The dialler's first streams go out with its last handshake message: the first answer comes two round trips after the byte
//! stream is there. The caller hands in what arrived and takes what is to be sent, in pieces of any size.
//!
//! Threat: one deadline covers the whole set-up, and what arrived is bounded, decrypted or not: when streams are not read, no
//! further record is decrypted, and [`Connection::room`] falls to zero. No byte of an application moves before the peer is
//! the one that was expected.
//!
//! Source: libp2p specs `connections/README.md`; `docs/spec/connection.md`.

mod alive;
mod drive;
mod input;
mod muxer;
mod security;
mod select;

pub use alive::SILENT;
pub use muxer::{Adapted, Muxer};
pub use security::{CannotBegin, Proven, Security, Session, TEXT_MAX};

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use weir_base::{Fault, Instant, PeerId, PublicKey, Rng};

use crate::mplex;
use crate::multistream::{NameError, Names};
use crate::noise::{Identity, Noise};
use crate::pnet::{Pnet, SharedKey};
use crate::storm::Storm;
use crate::yamux::{self, Yamux};
use alive::Pace;
use input::Input;
use select::Select;

/// How long the whole set-up may take.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// Bytes that arrived and wait for the rest of their record, or for a reader: two records.
pub const INPUT_MAX: usize = 128 * 1024;

/// The set-up took too long.
pub const LATE: Fault = Fault::unreliable("connection not set up in time");
/// The peer speaks no security of ours.
pub const NO_SECURITY: Fault = Fault::incompatible("no security protocol in common");

/// Records of the security without any byte, without end.
pub const EMPTY: Fault = Fault::misbehaved("storm of empty records");

/// What all connections of a node share.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The security protocols, in order of preference: a dialler proposes them in this order, and a listener takes whichever of
    /// them comes first. With a single one the dialler's handshake goes along with its proposal; each more costs a dialler that
    /// is refused a round trip, and the first one, too.
    pub security: Vec<Arc<dyn Security>>,
    /// The network's key, where it is private.
    pub private: Option<SharedKey>,
    /// Names of yamux, in order of preference: [`yamux::NAME`], or what the network calls it.
    pub muxers: Names,
    /// Whether the list of muxers goes along with the handshake, so that they cost no round trip.
    pub early_muxer: bool,
    /// Limits of each connection's streams.
    pub yamux: yamux::Config,
    /// Limits of mplex; none: it is not spoken. It is the last in preference, for a peer that reads slowly there stalls all streams.
    /// Signs of life are asked for at yamux's interval, and with its timeout.
    pub mplex: Option<mplex::Config>,
    /// Names of mplex, in order of preference, where it is spoken: [`mplex::NAME`], or what the network calls it.
    pub mplex_names: Names,
    /// Bytes by which the windows of one connection's streams may grow together.
    pub budget: u64,
}

impl Setup {
    /// The usual one: not private, Noise alone, yamux by its usual name, agreed on early, and no budget for windows.
    ///
    /// # Errors
    /// Never, as these names are some.
    pub fn new(identity: Arc<Identity>) -> Result<Self, NameError> {
        let muxers = Names::new([yamux::NAME])?;
        Ok(Self {
            security: vec![Arc::new(Noise(identity))],
            private: None,
            muxers,
            early_muxer: true,
            yamux: yamux::Config::default(),
            mplex: None,
            mplex_names: Names::new([mplex::NAME])?,
            budget: 0,
        })
    }

    /// The names of all muxers, in order of preference.
    pub fn muxer_names(&self) -> Names {
        let with_mplex = self.mplex.as_ref().map(|_| self.muxers.iter().chain(self.mplex_names.iter()));
        // A list that is full has no place for it.
        with_mplex.and_then(|names| Names::new(names).ok()).unwrap_or_else(|| self.muxers.clone())
    }

    /// The muxer with this index among all names.
    fn muxer(&self, index: usize, side: yamux::Side, now: Instant) -> Muxer {
        match &self.mplex {
            Some(config) if self.muxers.get(index).is_none() => {
                let pace = Pace { interval: self.yamux.interval, timeout: self.yamux.timeout };
                Muxer::Mplex(Box::new(Adapted::new(config.clone(), pace, side, now)))
            }
            _ => Muxer::Yamux(Box::new(Yamux::new(self.yamux.clone(), side, self.budget, now))),
        }
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
    /// Security is agreed on. Of a single one the session exists, for a dialler's goes along with the proposal.
    Choice(Box<Choice>),
    /// The handshake runs.
    Handshake(Box<dyn Session>),
    /// The peer is known.
    Secured(Box<Secured>),
    Failed,
}

/// What is needed to begin a session.
struct Choice {
    expected: Option<PeerId>,
    rng: Rng,
    session: Option<Box<dyn Session>>,
}

/// What encrypts, and what speaks inside.
struct Secured {
    session: Box<dyn Session>,
    muxer: Muxer,
    answer: BytesMut,                  // the last of a negotiation of the muxer
    peer: Option<(PeerId, PublicKey)>, // until it is told
    empty: Storm,                      // records without bytes
}

/// One connection. After any call but `poll_*`, call [`poll_event`](Self::poll_event) until `None`, use the streams of
/// [`muxer`](Self::muxer), then call [`poll_transmit`](Self::poll_transmit) while the transport has room.
pub struct Connection {
    setup: Arc<Setup>,
    side: yamux::Side,
    private: Option<Pnet>,
    select: Option<Select>, // a negotiation that is not over: of security, or of the muxer
    stage: Stage,
    input: Input,     // <= INPUT_MAX
    answer: BytesMut, // the last of a negotiation or handshake that is over, not encrypted by Noise
    due: Instant,
    events: VecDeque<Event>, // one or two
}

impl Connection {
    /// The side that connected. With `expected`, any other peer ends the set-up. `rng` must be unpredictable to the peer, and
    /// another one for each connection.
    ///
    /// # Errors
    /// [`CannotBegin`]: no security protocol is configured, or the libraries in use lack its cryptography, which they never do.
    pub fn dial(
        setup: Arc<Setup>,
        expected: Option<PeerId>,
        rng: Rng,
        now: Instant,
    ) -> Result<Self, CannotBegin> {
        Self::new(setup, yamux::Side::Dialler, expected, rng, now)
    }

    /// The side that was connected to. `rng` as for [`dial`](Self::dial).
    ///
    /// # Errors
    /// As for [`dial`](Self::dial).
    pub fn accept(setup: Arc<Setup>, rng: Rng, now: Instant) -> Result<Self, CannotBegin> {
        Self::new(setup, yamux::Side::Listener, None, rng, now)
    }

    fn new(
        setup: Arc<Setup>,
        side: yamux::Side,
        expected: Option<PeerId>,
        mut rng: Rng,
        now: Instant,
    ) -> Result<Self, CannotBegin> {
        let private = setup.private.clone().map(|key| Pnet::new(key, &mut rng));
        let names = Names::new(setup.security.iter().map(|security| security.name()));
        let select = Select::new(side, names.map_err(|_| CannotBegin)?, now);
        let mut choice = Choice { expected, rng, session: None };
        if setup.security.len() == 1 {
            choice.session = Some(choice.begin(0, &setup, side, now)?);
        }
        Ok(Self {
            setup,
            side,
            private,
            select: Some(select),
            stage: Stage::Choice(Box::new(choice)),
            input: Input::default(),
            answer: BytesMut::new(),
            due: now + DEADLINE,
            events: VecDeque::new(),
        })
    }

    /// Its streams; none before the peer is known, and after a fault.
    pub fn muxer(&mut self) -> Option<&mut Muxer> {
        match &mut self.stage {
            Stage::Secured(secured) => Some(&mut secured.muxer),
            Stage::Choice(_) | Stage::Handshake(_) | Stage::Failed => None,
        }
    }

    /// Whether the peer is known, and so is what carries the streams.
    pub fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Secured(_)) && self.select.is_none()
    }

    /// Bytes that [`received`](Self::received) and [`read`](Self::read) can take now. 0: the transport must wait until streams are read.
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
            Stage::Choice(_) | Stage::Secured(_) | Stage::Handshake(_) => {
                Some((self.due, "connection set-up"))
            }
        }
    }

    fn fail(&mut self, fault: Fault) {
        self.last_words();
        self.stage = Stage::Failed;
        self.select = None;
        self.input = Input::default();
        self.events.push_back(Event::Faulted(fault));
    }
}

impl Choice {
    fn begin(
        &mut self,
        index: usize,
        setup: &Setup,
        side: yamux::Side,
        now: Instant,
    ) -> Result<Box<dyn Session>, CannotBegin> {
        let security = setup.security.get(index).ok_or(CannotBegin)?;
        let muxers = setup.early_muxer.then(|| setup.muxer_names());
        let rng = self.rng.child(security.name().trim_start_matches('/'));
        match side {
            yamux::Side::Dialler => security.dial(self.expected, muxers, rng, now),
            yamux::Side::Listener => security.accept(muxers, rng, now),
        }
    }
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
pub(crate) mod tests;
