//! The stream contract: the one interface between protocols and links.
//!
//! A protocol is a node-wide machine that implements [`StreamUser`]. It knows [`LinkId`] and [`StreamKey`], never a link.
//! The pump joins both sides:
//! - a link comes up or goes down → [`StreamUser::handle_link`];
//! - the user asks ([`StreamUser::poll_ask`]) to open, read, write, finish, reset, stop, blame or close;
//! - a stream opens (by the peer, or as asked) → [`StreamUser::handle_opened`]; an open that fails → `handle_refused`;
//! - bytes arrive: the pump asks [`StreamUser::room`], takes at most that much off the link, and hands it over. A room of 0
//!   leaves the rest in the transport, whose window then stops the peer; the pump comes back after [`Ask::Resume`];
//! - after [`Ask::Write`] the pump calls [`StreamUser::poll_write`] whenever link and peer can take bytes, until a call
//!   appends nothing. Nothing is encoded early.
//!
//! **Memory.** `room` is what the user has already reserved for that stream: a permit, a get, a call, a `Next`. Where it
//! is more than the link's base window, the link borrows the difference from the node's budget when the first bytes come.
//! A user that returns 0 for long on a stream stalls it; only raw streams may.
//!
//! **Ends.** Each direction ends once: by `End` or `Reset` for reading, by finish, reset or the peer's `Stopped` for writing.
//! When both have ended the key is gone and no call names it again. A link that goes down ends all its streams without
//! further calls: `handle_link` is the only notice.

use std::net::IpAddr;

use crate::identity::PeerId;
use crate::{Chunk, Fault, Instant, LinkId, ProtocolId, Rope, StreamKey};

/// Who serves first where bytes compete. Control goes before all; the others get their guaranteed shares first and the
/// rest in this order (`docs/spec/streams.md`, "Classes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Hello, permits, keep-alive, goodbye.
    Control,
    /// Votes and the like.
    Consensus,
    /// Tips.
    Tip,
    /// Headers' bodies.
    Block,
    /// Pool offers and items, calls by default.
    Pool,
    /// Everything large and late: feeds, raw streams by default.
    Bulk,
}

/// Which side set a link up, as fairness sees it: half of every dealt resource goes to the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// This node dialled it.
    Dialled,
    /// The operator named this peer, whoever dialled.
    Pinned,
    /// The peer dialled.
    Inbound,
}

/// The address group a peer counts for: IPv4 /16, IPv6 /32, or one group for memory links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The first two bytes of an IPv4 address.
    V4([u8; 2]),
    /// The first four bytes of an IPv6 address.
    V6([u8; 4]),
    /// A link without an IP address; the number is the host's own (0 where it gives none).
    Local(u32),
}

impl Group {
    /// A number of its own, below 2^34: a key that is compared with one instruction.
    #[inline]
    pub const fn number(self) -> u64 {
        match self {
            Self::V4(bytes) => u16::from_be_bytes(bytes) as u64,
            Self::V6(bytes) => 1 << 32 | u32::from_be_bytes(bytes) as u64,
            Self::Local(number) => 2 << 32 | number as u64,
        }
    }

    /// Leading bits of an IPv4 address that make its group. Admission and fairness both count by it.
    pub const V4_BITS: u8 = 16;
    /// Leading bits of an IPv6 address that make its group: what one provider is given. One customer of it has many longer prefixes.
    pub const V6_BITS: u8 = 32;

    /// The group of `ip`; an IPv4-mapped IPv6 address counts as IPv4.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                Self::V4([a, b])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.octets();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// What a protocol may know about a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Who is at the other end, authenticated.
    pub peer: PeerId,
    /// Who set it up.
    pub side: Side,
    /// Whether this end dialled at transport level: it opens the control stream.
    pub dialler: bool,
    /// The address group.
    pub group: Group,
}

/// A link's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// A handshake with a known peer runs, and what may be replayed can go along with it (0-RTT). It is no link yet:
    /// [`Up`](Self::Up) for the same id follows, or [`Down`](Self::Down). Who does nothing before `Up` loses nothing.
    Early(LinkInfo),
    /// It is authenticated and confirmed; streams can be opened.
    Up(LinkInfo),
    /// It is gone, and all its streams with it.
    Down,
}

/// Who opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The peer, for this protocol.
    Peer(ProtocolId),
    /// This user, by [`Ask::Open`] with this tag.
    Local {
        /// The user's own number for the request.
        tag: u64,
    },
}

/// What arrives on a stream.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// The next bytes; never more than the room given.
    Data(Chunk),
    /// The peer finished its direction; all its bytes were delivered.
    End,
    /// The peer broke off its direction.
    Reset(u32),
    /// The peer wants no more of ours: our writing has ended.
    Stopped(u32),
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The link is gone or closing.
    #[error("the link is gone or closing")]
    Closed,
    /// The peer's stream limit is reached and so many opens wait already.
    #[error("too many streams wait to be opened on this link")]
    Limit,
}

/// Why a link ends, told to the peer (`docs/spec/control.md`, "Goodbye").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goodbye {
    /// This node stops.
    Shutdown,
    /// A newer link to the same peer took over.
    Replaced,
    /// Of two simultaneous dials the other was kept.
    Duplicate,
    /// No slot is free.
    Full,
    /// Another network.
    WrongNetwork,
    /// No common version.
    WrongVersion,
    /// The peer is banned.
    Banned,
    /// The peer broke the protocol.
    Fault,
    /// Nothing was heard for too long.
    Idle,
    /// Lent credit was taken back while others waited.
    Credit,
    /// The user or operator asked for it.
    Asked,
    /// A code this version does not know.
    Other(u16),
}

impl Goodbye {
    /// The code on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Shutdown => 0,
            Self::Replaced => 1,
            Self::Duplicate => 2,
            Self::Full => 3,
            Self::WrongNetwork => 4,
            Self::WrongVersion => 5,
            Self::Banned => 6,
            Self::Fault => 7,
            Self::Idle => 8,
            Self::Credit => 9,
            Self::Asked => 10,
            Self::Other(code) => code,
        }
    }

    /// The reason for a code; any number has one.
    pub const fn from_code(code: u16) -> Self {
        match code {
            0 => Self::Shutdown,
            1 => Self::Replaced,
            2 => Self::Duplicate,
            3 => Self::Full,
            4 => Self::WrongNetwork,
            5 => Self::WrongVersion,
            6 => Self::Banned,
            7 => Self::Fault,
            8 => Self::Idle,
            9 => Self::Credit,
            10 => Self::Asked,
            other => Self::Other(other),
        }
    }
}

/// What a user wants of the pump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A new stream; answered by `handle_opened` with the tag, or `handle_refused`. Its first bytes may go out at once.
    Open {
        /// On which link.
        link: LinkId,
        /// What it speaks.
        protocol: ProtocolId,
        /// How what this side writes on it ranks.
        class: Class,
        /// The user's own number for the request.
        tag: u64,
    },
    /// There is room again on a stream: its reading goes on.
    Resume(StreamKey),
    /// There is something to write on a stream.
    Write(StreamKey),
    /// This direction ends after what was written.
    Finish(StreamKey),
    /// This direction breaks off; what was not sent yet is dropped.
    Reset(StreamKey, u32),
    /// The peer should send no more.
    Stop(StreamKey, u32),
    /// The peer did something wrong. Standing decides what follows.
    Blame(LinkId, Fault),
    /// Close the link: no new streams, deliver what was written, then end.
    Close(LinkId, Goodbye),
}

/// Who moves the bytes of a user's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The pump, as the module says.
    Pump,
    /// The application, which reads and writes by calls of its own. The pump tells the user when it can
    /// ([`StreamUser::handle_readable`], [`StreamUser::handle_writable`]), and calls neither `room` nor `poll_write`. What is left
    /// unread is lent on top of the link's base window.
    Application,
}

/// One protocol of one node: see the module for how and when each is called.
pub trait StreamUser {
    /// The protocols whose streams this user takes when a peer opens them. Asked once, at start. Default: none.
    fn protocols(&self) -> Vec<ProtocolId> {
        Vec::new()
    }
    /// Who moves the bytes of its streams. Default: the pump.
    fn driver(&self) -> Driver {
        Driver::Pump
    }
    /// A link came up or is gone.
    fn handle_link(&mut self, now: Instant, link: LinkId, change: &LinkChange);
    /// A stream opened. Streams of the peer that this user does not want are answered by `Reset` and `Stop`.
    fn handle_opened(&mut self, now: Instant, key: StreamKey, origin: Origin);
    /// An open failed.
    fn handle_refused(&mut self, now: Instant, tag: u64, reason: OpenError);
    /// The class of what this side writes on a stream that the peer opened for `protocol`.
    fn class(&self, protocol: ProtocolId) -> Class;
    /// The protocols whose streams may be opened, and read, before the handshake is confirmed (0-RTT), when whoever recorded
    /// the bytes can send them again. Asked once, at start. Default: none.
    fn replay_safe(&self) -> Vec<ProtocolId> {
        Vec::new()
    }
    /// Bytes this stream can take now, already reserved; 0 until [`Ask::Resume`].
    fn room(&self, key: StreamKey) -> usize;
    /// Something waits to be read on a stream that the application drives. Comes again only after a read found nothing.
    fn handle_readable(&mut self, _key: StreamKey) {}
    /// There is room again on a stream that the application drives, after there was none.
    fn handle_writable(&mut self, _key: StreamKey) {}
    /// Bytes, or an end.
    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming);
    /// Appends at most `room` bytes to `out`. Called again later until it appends nothing; then only after [`Ask::Write`].
    fn poll_write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope);
    /// The next wish; `None` when there is none.
    fn poll_ask(&mut self) -> Option<Ask>;
    /// Advances what is due. Early and repeated calls do nothing.
    fn handle_timeout(&mut self, now: Instant);
    /// The next time [`handle_timeout`](Self::handle_timeout) has work, and why.
    fn poll_timeout(&self) -> Option<(Instant, &'static str)>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goodbye_keeps_its_code() {
        for code in 0..20 {
            assert_eq!(Goodbye::from_code(code).code(), code);
        }
    }

    #[test]
    fn mapped_addresses_count_as_ipv4() {
        assert_eq!(Group::of("::ffff:10.1.2.3".parse().unwrap()), Group::V4([10, 1]));
        assert_eq!(Group::of("2001:db8:1::1".parse().unwrap()), Group::V6([0x20, 1, 0x0d, 0xb8]));
    }
}
