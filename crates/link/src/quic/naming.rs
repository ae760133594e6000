//! A link over QUIC on libp2p's terms: each stream's protocol is agreed on by name (ALPN `libp2p`).
//!
//! - which of the two a connection speaks, its handshake has agreed on: [`Naming::by_name`] is known once that is complete;
//! - a stream of this side's begins with its proposal; what its user writes follows at once where there is one name;
//! - a stream of the peer's is read until its protocol is known, and only then told of (`negotiating`).
//!
//! Threat: `docs/spec/libp2p-links.md`, "Names". What a negotiation holds is a token each way and the answers, whose number it
//! bounds; how many of a peer's may be undecided is `streams.max_negotiating`, and for how long its deadline.

use std::sync::Arc;

use weir_base::stream::Class;
use weir_base::{Instant, Numbered, ProtocolId, Rope};
use weir_libp2p::multistream::Names;

use super::stream::Stream;
use crate::streams::negotiation::UNKNOWN;
use crate::streams::{Negotiating, Negotiation, ProtocolNames, ReceiveEnd, SendEnd};

/// Where the numbers of streams begin that exist at this side alone: above all of QUIC's.
const UNNAMED: u64 = 1 << 62;

/// So many streams of the peer are undecided already (`docs/spec/streams.md`, "Codes").
const TOO_MANY: u32 = 4;

/// Protocols by name.
#[derive(Debug)]
pub(crate) struct Naming {
    pub(super) table: Arc<ProtocolNames>,
    pub(super) by_name: bool, // ALPN `libp2p`
    now: Instant,             // of the last call that told it
    negotiating: Negotiating,
    unnamed: u64,   // streams that were opened for protocols without a name
    told: Vec<u64>, // of these, whose reader is still to be told
}

impl Naming {
    pub(super) fn new(table: Arc<ProtocolNames>) -> Self {
        Self {
            table,
            by_name: false,
            now: Instant::ZERO,
            negotiating: Negotiating::default(),
            unnamed: 0,
            told: Vec::new(),
        }
    }

    /// Time as last told. Opens have none of their own.
    pub(super) fn at(&mut self, now: Instant) {
        self.now = now;
    }

    /// When the first negotiation must be over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.negotiating.next_due()
    }

    /// A stream of a protocol that has no name here: as one that the peer refused.
    pub(super) fn open_unnamed(&mut self, streams: &mut Numbered<u64, Box<Stream>>, class: Class) -> u64 {
        let stream = UNNAMED | self.unnamed;
        self.unnamed += 1;
        let mut entry = Stream::ours(class, SendEnd::Over);
        entry.receive.end = ReceiveEnd::Reset(UNKNOWN);
        streams.insert(stream, Box::new(entry));
        self.told.push(stream);
        stream
    }

    /// QUIC has opened a stream of this side's: its proposal, with which it begins.
    pub(super) fn propose(
        &mut self,
        (stream, entry): (u64, &mut Stream),
        protocol: ProtocolId,
        names: Names,
    ) -> Rope {
        let mut negotiation = Negotiation::ours(protocol, names, self.now);
        self.negotiating.add(stream, &negotiation);
        let mut proposal = Rope::new();
        proposal.push(negotiation.output());
        entry.negotiation = Some(Box::new(negotiation));
        proposal
    }

    /// The peer opened a stream, which may now say what it is.
    ///
    /// # Errors
    /// The code with which it is refused where `most` of the peer's are undecided already, or nothing is offered here.
    pub(super) fn hear(&mut self, (stream, entry): (u64, &mut Stream), most: u32) -> Result<(), u32> {
        if self.negotiating.theirs() >= most {
            return Err(TOO_MANY);
        }
        let names = self.table.offered().ok_or(UNKNOWN)?;
        let negotiation = Negotiation::theirs(names, self.now);
        self.negotiating.add(stream, &negotiation);
        entry.negotiation = Some(Box::new(negotiation));
        Ok(())
    }

    /// The next stream whose negotiation took too long.
    pub(super) fn pop_late(&mut self, now: Instant) -> Option<u64> {
        self.negotiating.pop_late(now)
    }

    /// Streams that were refused here and whose readers are to be told.
    pub(super) fn take_refused(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.told)
    }

    /// A stream's negotiation is over, if it had one.
    pub(super) fn over(&mut self, stream: u64, entry: &mut Stream) {
        if let Some(negotiation) = entry.negotiation.take() {
            self.negotiating.remove(stream, &negotiation);
        }
    }

    /// What the peer opens is taken as on `weir/1`, so that a test can answer what it likes.
    #[cfg(test)]
    pub(crate) fn hear_numbers(&mut self) {
        self.by_name = false;
    }

    /// All streams are gone.
    pub(super) fn forget_all(&mut self) {
        self.negotiating = Negotiating::default();
    }
}
