//! One link of a tip channel: as client of the peer's tips, and as server of ours.

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_base::{Instant, Rope, StreamKey};

use super::codec::{MAX_WANT, OVERHEAD};
use super::relay::Relay;
use super::types::Config;
use crate::bucket::Bucket;
use crate::framing::Inbox;
use crate::machine::Ticket;

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) client: Client,
    pub(super) server: Server,
    pub(super) crossed: Crossed,
}

/// The last tip that went over the link in either direction, and the one before where the peer sent the last.
#[derive(Debug, Default)]
pub(super) struct Crossed {
    last: Option<Bytes>,
    before: Option<Bytes>,
}

impl Crossed {
    /// The peer told its tip.
    pub(super) fn heard(&mut self, value: Bytes) {
        self.before = self.last.replace(value);
    }

    /// We told ours: from now on the peer takes that for our tip, whatever it told us before.
    pub(super) fn told(&mut self, value: Bytes) {
        *self = Self { last: Some(value), before: None };
    }

    fn has(&self, value: &Bytes) -> bool {
        self.last.as_ref() == Some(value) || self.before.as_ref() == Some(value)
    }
}

/// This side wants the peer's tips.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: Option<StreamKey>,
    pub(super) inbox: Inbox,
    pub(super) pending: Rope,
    pub(super) wanting: Wanting,
    pub(super) processed: u64,
    pub(super) last_tip: Option<Bytes>,
    pub(super) last_evidence: Option<Bytes>,
    pub(super) bucket: Bucket,
    pub(super) reopen: Option<Instant>,
}

/// The permit this side gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanting {
    /// It is to be written.
    Due,
    /// The peer has it.
    Open,
    /// It came back as a value the application has not decided on.
    Undecided(Ticket),
}

/// The peer wants our tips.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) stream: Option<StreamKey>,
    pub(super) inbox: Inbox,
    pub(super) pending: Rope,
    pub(super) permit: bool,
    pub(super) max_value: usize,
    pub(super) sent: u64,
    pub(super) sent_tip: Option<Bytes>,
    pub(super) sent_evidence: Option<Bytes>,
    pub(super) evidence_from: u64,
    pub(super) bucket: Bucket,
    pub(super) skips: Bucket,           // messages that are skipped
    pub(super) paused: Option<Instant>, // by our own rate, until then
}

/// What a server has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Evidence(u64, Bytes),
    Tip(Bytes),
    Withdrawn,
}

impl Peer {
    pub(super) fn new(peer: PeerId, config: &Config, relay: &Relay) -> Self {
        let client = Client {
            stream: None,
            inbox: Inbox::new(config.max_value as usize + OVERHEAD),
            pending: Rope::new(),
            wanting: Wanting::Due,
            processed: 0,
            last_tip: None,
            last_evidence: None,
            bucket: Bucket::new(),
            reopen: None,
        };
        Self {
            id: peer,
            client,
            server: Server::new(config.max_value as usize, relay),
            crossed: Crossed::default(),
        }
    }

    /// What is due first, and when.
    pub(super) fn due(&self) -> Option<(Instant, Timer)> {
        let timers = [
            self.client.inbox.deadline().map(|due| (due, Timer::ClientMessage)),
            self.client.reopen.map(|due| (due, Timer::Reopen)),
            self.server.inbox.deadline().map(|due| (due, Timer::ServerMessage)),
            self.server.paused.map(|due| (due, Timer::Pace)),
        ];
        timers.into_iter().flatten().min_by_key(|(due, _)| *due)
    }
}

/// Why a link of this channel wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    ClientMessage,
    Reopen,
    ServerMessage,
    Pace,
}

impl Timer {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ClientMessage | Self::ServerMessage => "tip message overdue",
            Self::Reopen => "tip stream again",
            Self::Pace => "tip rate",
        }
    }
}

impl Client {
    /// The stream is gone; the next one starts afresh. The rate goes on.
    pub(super) fn reset(&mut self, max_value: usize) {
        self.stream = None;
        self.inbox = Inbox::new(max_value + OVERHEAD);
        self.pending = Rope::new();
        self.wanting = Wanting::Due;
        self.processed = 0;
        self.last_tip = None;
        self.last_evidence = None;
    }
}

impl Server {
    pub(super) fn new(max_value: usize, relay: &Relay) -> Self {
        Self {
            stream: None,
            inbox: Inbox::new(MAX_WANT),
            pending: Rope::new(),
            permit: false,
            max_value,
            sent: 0,
            sent_tip: None,
            sent_evidence: None,
            evidence_from: relay.evidence_end(),
            bucket: Bucket::new(),
            skips: Bucket::new(),
            paused: None,
        }
    }

    /// What the peer is not known to have, given what crossed the link. Evidence that it has is passed over for good.
    pub(super) fn next(&mut self, relay: &Relay, crossed: &Crossed) -> Option<Next> {
        while let Some((number, value)) = relay.evidence_from(self.evidence_from) {
            let known = crossed.has(value) || self.sent_evidence.as_ref() == Some(value);
            if !known && value.len() <= self.max_value {
                return Some(Next::Evidence(number, value.clone()));
            }
            self.evidence_from = number + 1;
        }
        let Some(current) = relay.current() else {
            let taken_back = self.sent_tip.is_some() && self.sent_tip.as_ref() == relay.withdrawn();
            return taken_back.then_some(Next::Withdrawn);
        };
        let known = crossed.has(current) || self.sent_tip.as_ref() == Some(current);
        (!known && current.len() <= self.max_value).then(|| Next::Tip(current.clone()))
    }
}
