//! What goes in and out of [`Links`](crate::Links): inputs of the host, events for the stack.

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::{Goodbye, Group, LinkInfo};
use weir_base::{Fault, LinkId, ProtocolId, StreamKey, UnixTime};

use crate::gate::Refusal;

/// A UDP socket of the host; the host chooses the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// A wire that carries frames: a memory link, or a foreign host's. The host chooses the number and never reuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireId(pub u64);

/// A byte stream of the host: a TCP connection, or a simulated one. The node chooses even numbers for those that it dials
/// ([`Event::DialPipe`]), the host odd ones for those that it accepts. A number is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipeId(pub u64);

/// One dial of this node. Counts up from 1, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// Explicit congestion notification of a datagram (RFC 3168).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// ECT(0).
    Ect0,
    /// ECT(1).
    Ect1,
    /// Congestion experienced.
    Ce,
}

/// Received datagrams: one, or several of equal length (the last may be shorter) that the kernel joined.
#[derive(Debug)]
pub struct Datagrams {
    /// Where they came in.
    pub socket: SocketId,
    /// Who sent them.
    pub remote: SocketAddr,
    /// The address they were sent to, where the host knows it.
    pub local_ip: Option<IpAddr>,
    /// Their mark.
    pub ecn: Option<Ecn>,
    /// Bytes of each datagram but the last.
    pub stride: usize,
    /// Their bytes. Data that is read stays a slice of this buffer.
    pub data: BytesMut,
}

/// Datagrams to send; their bytes are in the buffer given to [`Links::poll_datagrams`](crate::Links::poll_datagrams).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// On which socket.
    pub socket: SocketId,
    /// To whom.
    pub remote: SocketAddr,
    /// From which address, where it matters.
    pub local_ip: Option<IpAddr>,
    /// Mark them so.
    pub ecn: Option<Ecn>,
    /// Bytes of each datagram but the last; `None`: it is one.
    pub segment: Option<usize>,
    /// Bytes in all.
    pub len: usize,
}

/// The next bytes of a byte stream; they are in the buffer given to [`Links::poll_pipe`](crate::Links::poll_pipe).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipeTransmit {
    /// Which byte stream.
    pub pipe: PipeId,
    /// How many; may be 0 where only the end is told.
    pub len: usize,
    /// This direction ends behind them (TCP: FIN). Nothing more is given for it.
    pub finish: bool,
}

/// What changed at the host.
#[derive(Clone, Copy, Debug)]
pub enum HostChange {
    /// A UDP socket is bound. Links can be dialled and accepted on it.
    Bound {
        /// The host's number for it.
        socket: SocketId,
        /// Its local address.
        local: SocketAddr,
        /// Whether the path may fragment its datagrams: then no path MTU discovery.
        may_fragment: bool,
    },
    /// A UDP socket is gone, and its links with it.
    Unbound(SocketId),
    /// The system takes no datagrams on a UDP socket now. None are made for it until it is writable; other sockets go on.
    Blocked(SocketId),
    /// The system takes datagrams again on a UDP socket that was blocked.
    Writable(SocketId),
    /// The host connects byte streams, and may accept some: TCP addresses can be dialled from now on.
    Pipes,
    /// Wall time now; only differences from what the start implies need to be told.
    Wall(UnixTime),
}

/// A frame wire's life, told by the host, which vouches for the identity at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireChange {
    /// It carries frames both ways, in order, without loss.
    Opened {
        /// Who is at the other end.
        peer: PeerId,
        /// The dial that asked for it; `None`: the peer opened it.
        dialled: Option<DialId>,
        /// Its address group.
        group: Group,
    },
    /// It is gone. Frames in flight are lost.
    Closed,
    /// A dial by [`Event::DialWire`] failed; the wire never was.
    Refused(DialId),
}

/// A byte stream's life, told by the host. Bytes come by [`Links::read_pipe`](crate::Links::read_pipe).
///
/// Of a stream that is not known, or not any more, nothing is an error: it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeChange {
    /// The peer connected. Where it is refused, [`Event::ClosePipe`] follows.
    Accepted {
        /// The peer's address.
        remote: SocketAddr,
    },
    /// What [`Event::DialPipe`] asked for is connected.
    Connected,
    /// It could not be connected. It is gone.
    Failed,
    /// The peer ended its direction: no more bytes come. This side's direction goes on.
    Finished,
    /// It is gone, both ways.
    Closed,
    /// The system takes no more now. The host keeps the rest of the last bytes it was given; no more are given until
    /// [`Writable`](Self::Writable).
    Blocked,
    /// The system takes bytes again, and the rest of the last ones is out.
    Writable,
}

/// A wish to be connected.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Who must be at the other end; `None`: who the addresses say, or anyone.
    pub peer: Option<PeerId>,
    /// Where to look, best or not: they are ranked.
    pub addresses: Vec<Multiaddr>,
    /// Whether the operator named this peer.
    pub pinned: bool,
}

/// Why a dial was not even begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DialError {
    /// No address was given.
    #[error("no address to dial; give at least one")]
    NoAddress,
    /// More addresses than `dial.max_addresses`.
    #[error("more addresses than the configuration of dials allows (`max_addresses`)")]
    TooManyAddresses,
    /// `dial.max_dials` are under way.
    #[error(
        "too many dials at once; wait for one to end, or raise `max_dials` of the configuration of dials"
    )]
    TooManyDials,
    /// The peer is this node.
    #[error("this is the node's own peer id")]
    Myself,
    /// The addresses name different peers, or another than the dial.
    #[error("an address names another peer than the dial")]
    OtherPeer,
    /// All link slots are taken.
    #[error("all `admission.max_links` slots are taken")]
    Full,
}

/// Why a dial failed in the end. The last address tried says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DialFailure {
    /// `dial.timeout` passed.
    #[error("no link within the set-up deadline")]
    Timeout,
    /// No address is one this node can dial: wrong transport, family without a socket, or a name without addresses.
    #[error("no address that can be dialled from here")]
    NoRoute,
    /// Only TCP addresses were given, which this host does not dial.
    #[error("TCP addresses cannot be dialled here; use a QUIC address")]
    TcpUnsupported,
    /// No name could be resolved.
    #[error("the name has no address")]
    Unresolved,
    /// Nobody is there, or the host could not connect the wire.
    #[error("nobody answers at this address")]
    Unreachable,
    /// Someone else is there.
    #[error("another peer than expected is at this address")]
    OtherPeer,
    /// The peer refused, with its reason.
    #[error("the peer refused: {0:?}")]
    Refused(Goodbye),
    /// The handshake failed: version, certificate or protocol.
    #[error("the handshake failed")]
    Handshake,
    /// A link to this peer came up another way.
    #[error("a link to this peer came up another way")]
    Superseded,
    /// This node's own lists or rule refuse the address or the peer.
    #[error("this node's own rules refuse the address or the peer")]
    Gated,
}

impl DialFailure {
    /// What the end of an attempt means for its dial.
    pub(crate) fn of(end: DownReason) -> Self {
        match end {
            DownReason::OtherPeer => Self::OtherPeer,
            DownReason::ByPeer(reason) => Self::Refused(reason),
            DownReason::Lost | DownReason::Closed(_) => Self::Unreachable,
            DownReason::Reset | DownReason::Rejected | DownReason::Fault(_) => Self::Handshake,
        }
    }
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DownReason {
    /// This side closed it.
    Closed(Goodbye),
    /// The peer closed it.
    ByPeer(Goodbye),
    /// Nothing was heard for longer than the idle timeout, or the wire is gone.
    Lost,
    /// The peer restarted and knows the connection no more.
    Reset,
    /// The peer's transport ended it with an error of its own, or the handshake failed.
    Rejected,
    /// Another peer than the dial expected answered. Never the end of a link that was up.
    OtherPeer,
    /// The peer broke the transport's rules; an [`Event::Blame`] was sent before.
    Fault(Fault),
}

/// Which addresses of a name are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Both.
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What the stack should know or do.
#[derive(Clone, Debug)]
pub enum Event {
    /// A handshake with a known peer runs, and data goes along with it (0-RTT). It is no link yet: [`Event::Up`] follows, or
    /// [`Event::Down`]. The dialler may open streams of `streams.early` and write them; the other side reads those that the
    /// dialler opened, and may answer on them. Who does not care waits for `Up`.
    Early {
        /// The id that the link will have.
        link: LinkId,
        /// Who is there: expected by the dialler, known by its session to the other side.
        info: LinkInfo,
        /// The dial it is an attempt of; `None` where the peer dialled.
        dial: Option<DialId>,
    },
    /// A link is authenticated and confirmed; streams can be opened.
    Up {
        /// Its id.
        link: LinkId,
        /// Who, how, from where.
        info: LinkInfo,
        /// The address, without the peer's id; `None` for a wire.
        address: Option<Multiaddr>,
        /// The dial that led to it.
        dial: Option<DialId>,
        /// The link to use for this peer from now on: this one, or the other one of the same peer where that will stay.
        preferred: LinkId,
    },
    /// The peer has another link that stays, and both sides use that. Say goodbye on this one and close it; where that is not
    /// done within `dial.timeout`, [`Links`](crate::Links) closes it.
    Superseded {
        /// The link that should end.
        link: LinkId,
        /// Why.
        goodbye: Goodbye,
    },
    /// Peers end this node's only link with them in favour of other links with the same key: another process uses the key.
    /// Nobody is to blame but who runs both. Comes at most once in ten minutes.
    KeyUsedTwice {
        /// The peer that ended its link last.
        peer: PeerId,
    },
    /// This node refused a connection. At most sixteen of these come in a second.
    Refused {
        /// Who it was with, where that is known.
        peer: Option<PeerId>,
        /// Where the other end is; of an accepted one that was not answered without a port. `None` for a wire.
        address: Option<Multiaddr>,
        /// Why.
        refusal: Refusal,
        /// How many refusals since the last such event had none of their own, because there were too many.
        suppressed: u64,
    },
    /// A link is gone with all its streams. Comes once for each `Up`, and for each `Early` that no `Up` followed.
    Down {
        /// Its id.
        link: LinkId,
        /// Why.
        reason: DownReason,
    },
    /// A dial ended without a link. Comes at most once for each dial, and not after [`Links::cancel`](crate::Links::cancel).
    DialFailed {
        /// Which.
        dial: DialId,
        /// Why.
        error: DialFailure,
    },
    /// The peer opened a stream.
    Opened {
        /// Its name.
        key: StreamKey,
        /// What it says it speaks; of a protocol that goes by name the number of the name that was agreed on.
        protocol: ProtocolId,
    },
    /// The peer speaks what this side proposed on a stream for a protocol that goes by name on every link
    /// ([`NAMED`](crate::NAMED)).
    Agreed {
        /// The stream.
        key: StreamKey,
        /// The number of the name that the peer took: the protocol's own, and how many of its names come before.
        protocol: ProtocolId,
    },
    /// Bytes or an end wait on a stream. Comes again only after a read returned [`Read::Blocked`](crate::Read::Blocked).
    Readable(StreamKey),
    /// A stream that had no room to write has some.
    Writable(StreamKey),
    /// The peer wants no more of what this side writes on a stream.
    Stopped(StreamKey, u32),
    /// Resolve a name; answer with [`Links::handle_resolved`](crate::Links::handle_resolved), empty where it has no address.
    Resolve {
        /// Number of the question.
        query: u64,
        /// The name.
        name: String,
        /// Which addresses.
        family: Family,
    },
    /// Connect a wire to this endpoint; answer with [`Links::handle_wire`](crate::Links::handle_wire).
    DialWire {
        /// For which dial.
        dial: DialId,
        /// The endpoint of a `/memory/…` address.
        endpoint: u64,
    },
    /// Close this wire, once the frames for it are taken.
    CloseWire(WireId),
    /// Connect a byte stream; answer with [`PipeChange::Connected`] or [`PipeChange::Failed`].
    DialPipe {
        /// Its number.
        pipe: PipeId,
        /// Where to.
        remote: SocketAddr,
    },
    /// A byte stream for which there was no [room](crate::Links::read_pipe) can be read again.
    ReadPipe(PipeId),
    /// Send what was given for a byte stream, as far as it leaves without waiting for the peer, and close it both ways. The
    /// node forgets it now.
    ClosePipe(PipeId),
    /// A peer did something wrong. Standing decides what follows; where the transport's rules are broken the link ends too.
    Blame {
        /// Whose link.
        link: LinkId,
        /// What.
        fault: Fault,
    },
}
