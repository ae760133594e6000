//! The shape that every channel's machine has, and what [`Pull`](crate::Pull) gives it.
//!
//! The parent calls a method, then drains: `poll_ask` until `None`, the machine's own `poll_event` until `None`, and asks
//! `poll_timeout` once. Rules on both sides:
//! - `link_up` first; `link_ready` once both hellos matched the channel; `link_down` last, once. Where the hellos do not
//!   match, `link_unmatched` comes instead of both. Before `link_ready` a machine may open streams and send what needs
//!   nothing of the peer's hello (permits, calls); streams of the peer come only after it.
//! - After `link_down` and `link_unmatched` the parent has dropped the link's streams: no resets, no asks about them.
//! - A machine's tags are below [`TAG_END`]; the parent adds the machine's number above them.
//! - `Ask::Finish` is asked after the last byte was appended in `poll_write`, never before.
//! - After `Ask::Stop` or `Incoming::{End, Reset}` nothing is read, after `Ask::{Finish, Reset}` or `Incoming::Stopped`
//!   nothing is written; when both have ended the key is forgotten and no call names it again.

use std::time::Duration;

use crate::channel::ChannelId;
use weir_base::stream::{Ask, Class, Incoming, LinkInfo, OpenError};
use weir_base::{Instant, LinkId, Rng, Rope, StreamKey, UnixTime};

use crate::keys::{Keys, NumberedKey};

/// Names a call, request, candidate or received tip in later commands and events. Never reused within a node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

impl weir_base::Counted for Ticket {}

/// Tags and ticket counters of one machine are below this; its number stands above.
pub(crate) const TAG_END: u64 = 1 << 48;

/// What both hellos agree on for one channel of one link, and what the peer told about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The version of the channel's messages: the highest that both speak.
    pub version: u16,
    /// The largest request or permit body of a client, in bytes: the smaller of both sides' limits. 0 where the shape has none.
    pub max_request: u32,
    /// The largest value, item or response, in bytes: the smaller of both sides' limits.
    pub max_answer: u32,
    /// Calls at once per link: the smaller of both sides' limits. 0 where the shape has none.
    pub at_once: u32,
    /// The key under which this peer wants short ids.
    pub peer_key: NumberedKey,
}

/// Why a command was refused: misuse, or over a limit. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No channel with this id is declared.
    #[error("no such channel is declared")]
    UnknownChannel,
    /// The channel has another shape than the command.
    #[error("the channel has another shape")]
    WrongShape,
    /// The link is not up, or its peer does not have the channel.
    #[error("the link is gone, or its peer does not have the channel")]
    NoLink,
    /// As many as allowed are under way; retry when one has ended.
    #[error("as many as the limit allows are under way")]
    Busy,
    /// The bytes exceed the channel's limit.
    #[error("larger than the channel's limit")]
    TooLarge,
    /// The ticket names nothing that still waits: decided, answered or cancelled before.
    #[error("the ticket names nothing that still waits")]
    UnknownTicket,
    /// The value's slot key has two other values already.
    #[error("two other values of this slot are known already")]
    SlotTaken,
    /// Too many ancestors of the value are not validated; publish it again once they are.
    #[error("too many ancestors are not validated yet")]
    Unvalidated,
    /// The bytes are not an item of this channel, or a list is too long.
    #[error("not a valid value for this channel")]
    Invalid,
}

/// Counts the tickets of one machine, so that they are unique in the node.
#[derive(Clone, Debug)]
pub(crate) struct Tickets {
    next: u64,
}

impl Tickets {
    /// Tickets of machine number `index`.
    pub(crate) const fn new(index: u16) -> Self {
        Self { next: index as u64 * TAG_END }
    }

    /// A ticket no other call has returned.
    pub(crate) const fn next(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    /// The ticket of this machine whose number below [`TAG_END`] is `tag`.
    pub(crate) const fn of(&self, tag: u64) -> Ticket {
        Ticket(self.next / TAG_END * TAG_END + tag)
    }
}

/// What a channel's machine starts with.
#[derive(Debug)]
pub(crate) struct MachineSetup {
    /// The channel the machine serves; its streams are `channel.protocol(lane)`.
    pub(crate) channel: ChannelId,
    /// Its tickets.
    pub(crate) tickets: Tickets,
    /// This node's short-id keys at the start.
    pub(crate) keys: Keys,
    /// Its own randomness.
    pub(crate) rng: Rng,
}

/// Who opened a stream of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The peer, on this lane (0 to 3).
    Peer {
        /// The lane.
        lane: u8,
    },
    /// This machine asked for it with this tag.
    Local {
        /// Its own number.
        tag: u64,
    },
}

/// Messages a machine has read and written, on all links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Whole messages read.
    pub(crate) messages_in: u64,
    /// Messages begun to be written.
    pub(crate) messages_out: u64,
    /// Messages dropped before that, because their time was over.
    pub(crate) expired: u64,
}

/// One channel's machine. See the module for the rules; the methods mean what they mean on
/// [`StreamUser`](weir_base::stream::StreamUser) where they bear the same name.
pub(crate) trait Machine {
    fn link_up(&mut self, now: Instant, link: LinkId, info: &LinkInfo);
    fn link_ready(&mut self, now: Instant, link: LinkId, negotiated: &Negotiated);
    /// The hellos do not match this channel. The link is up, but not for this machine.
    fn link_unmatched(&mut self, now: Instant, link: LinkId) {
        self.link_down(now, link);
    }
    fn link_down(&mut self, now: Instant, link: LinkId);
    /// A round trip was measured (control's keep-alive); about every 15 s.
    fn link_rtt(&mut self, _now: Instant, _link: LinkId, _rtt: Duration) {}
    /// The peer's standing gives it so many quarters of its share, 1 to 4.
    fn link_share(&mut self, _link: LinkId, _quarters: u8) {}
    /// The peer wants short ids under a new key from now on.
    fn link_key(&mut self, _now: Instant, _link: LinkId, _key: NumberedKey) {}
    /// This node's keys were rotated, or the previous one has expired.
    fn own_keys(&mut self, _now: Instant, _keys: &Keys) {}
    /// The wall clock reads `wall` at `now`.
    fn wall(&mut self, _now: Instant, _wall: UnixTime) {}
    fn handle_opened(&mut self, now: Instant, key: StreamKey, opened: Opened);
    fn handle_refused(&mut self, now: Instant, tag: u64, error: OpenError);
    fn class(&self, lane: u8) -> Class;
    fn room(&self, key: StreamKey) -> usize;
    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming);
    fn poll_write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope);
    fn poll_ask(&mut self) -> Option<Ask>;
    fn handle_timeout(&mut self, now: Instant);
    fn poll_timeout(&self) -> Option<(Instant, &'static str)>;
    fn counters(&self) -> Counters;
}

/// A deadline and its reason.
type Due = Option<(Instant, &'static str)>;

/// The earlier of two deadlines; of equal ones the first.
pub(crate) fn earlier(first: Due, second: Due) -> Due {
    match (first, second) {
        (Some(first), Some(second)) => Some(if second.0 < first.0 { second } else { first }),
        (first, second) => first.or(second),
    }
}
