//! What goes in and out of a [`Stack`](crate::Stack).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::LinkInfo;
use weir_base::{Fault, Instant, LinkId};
use weir_libp2p::{identify, perf, ping};
use weir_link::{
    Datagrams, DialId, DownReason, Family, Frame, HostChange, Network, PipeChange, PipeId, Refusal,
    WireChange, WireId,
};
use weir_pull::ChannelId;
use weir_pull::call::CallError;
use weir_pull::{Service, Ticket, call, pool, tip};

use crate::exchange;
use crate::peers::{Known, NetworkBan, Reaction, Record, Speaks};
use crate::raw;
pub use crate::refused::{DialProblem, Refused};

/// Something happened at the host.
#[derive(Debug)]
pub enum Input {
    /// Datagrams arrived on a socket.
    Datagrams(Datagrams),
    /// A frame arrived on a wire.
    Frame(WireId, Frame),
    /// A wire opened, closed, or could not be connected.
    Wire(WireId, WireChange),
    /// A byte stream was connected, accepted, ended, or can be written again.
    Pipe(PipeId, PipeChange),
    /// A name was resolved, as [`Action::Resolve`] asked; empty where it has no address.
    Resolved {
        /// Number of the question.
        query: u64,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// A socket was bound or is gone, or the wall clock was read. Needed once before tips with a slot time are relayed.
    Host(HostChange),
}

/// Whom a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This peer.
    Peer(PeerId),
    /// One peer with the service of this id, the one with the fewest calls of this kind under way.
    Any(u32),
    /// Every peer with the service of this id.
    All(u32),
    /// So many of the peers with the service of this id, or as many as there are.
    Some {
        /// The service.
        service: u32,
        /// How many.
        count: u32,
    },
}

/// What the user wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// Sets up a link, once. [`Event::PeerUp`], [`Event::Connected`] or [`Event::DialFailed`] with the ticket follows. A link that
    /// is there, or a dial under way to the same peer or addresses, is taken part in: nothing is dialled twice.
    Dial {
        /// Who must be there; `None`: who the addresses say, or anyone.
        peer: Option<PeerId>,
        /// Where to look.
        addresses: Vec<Multiaddr>,
    },
    /// Says goodbye to a peer. A persistent one is dialled again after its pause.
    Disconnect(PeerId),
    /// Asks a peer who it is, by libp2p's identify: [`Event::Identified`] follows, unless it does not speak it. On libp2p's
    /// connections every peer is asked once.
    Identify(PeerId),
    /// Where others reach this node, in place of what was said before: told by libp2p's identify, with a signed record. Peers on libp2p's
    /// connections are told at once, the others when they ask.
    Announce(Vec<Multiaddr>),
    /// Measures a link by libp2p's perf; [`Event::Measured`] with the ticket follows.
    Measure {
        /// Whose.
        peer: PeerId,
        /// Bytes to send.
        upload: u64,
        /// Bytes to ask for.
        download: u64,
    },
    /// Puts a peer into the address book, or gives a known one these addresses and this role.
    AddPeer(Known),
    /// Takes a peer out of the address book. Its link stays.
    RemovePeer(PeerId),
    /// Bans a peer and closes its link.
    Ban {
        /// Whom.
        peer: PeerId,
        /// For how long.
        duration: Duration,
    },
    /// Bans every peer whose address lies in a network, and closes their links; dialled ones too.
    BanNetwork {
        /// Which addresses.
        network: Network,
        /// For how long.
        duration: Duration,
    },
    /// Ends the ban of a network, whoever banned it, and forgets what counts against its addresses.
    UnbanNetwork(Network),
    /// Ends a ban.
    Unban(PeerId),
    /// Forgets everything against a peer.
    Forgive(PeerId),
    /// The application judged what a peer did: something wrong that only it can see. [`Event::Fault`] follows, and what standing
    /// makes of it. A peer without a link is reported just as well.
    Report {
        /// Whom.
        peer: PeerId,
        /// What it did. [`Invalid`](weir_base::Blame::Invalid) and [`Unreliable`](weir_base::Blame::Unreliable) are usual;
        /// [`Misbehaved`](weir_base::Blame::Misbehaved) is for the rules of an application's own protocol on raw streams.
        fault: Fault,
    },
    /// Takes a standing kept from an earlier run ([`Action::Persist`]).
    Restore(Record),
    /// Takes the ban of a network kept from an earlier run ([`Action::PersistNetwork`]). Links from there are closed.
    RestoreNetwork(NetworkBan),
    /// Of a channel or of control.
    Pull(weir_pull::Command),
    /// Calls one or several peers; [`Event::Answer`] follows for each.
    CallTarget {
        /// The call channel.
        channel: ChannelId,
        /// Whom.
        target: Target,
        /// The request, encoded once and shared.
        request: Bytes,
        /// How long it may take; `None`, or longer than the channel's: the channel's.
        deadline: Option<Duration>,
    },
    /// Gives up what is left of a [`Command::CallTarget`]. No event follows.
    CancelTarget(Ticket),
    /// Of a raw stream.
    Raw(raw::Command),
    /// Of requests by name.
    Exchange(exchange::Command),
    /// Says goodbye to all, delivers what was written, and ends: [`Event::Closed`] follows, at the latest after `deadline`.
    Shutdown {
        /// Counted from now.
        deadline: Duration,
    },
}

impl Command {
    /// Whether it answers or ends what is under way: that may still be done while the node ends; nothing begins.
    pub(crate) fn ends_something(&self) -> bool {
        match self {
            Self::Pull(weir_pull::Command::Call(_, command)) => {
                matches!(command, call::Command::Answer { .. })
            }
            Self::Raw(command) => !matches!(command, raw::Command::Open { .. }),
            Self::Exchange(command) => !matches!(command, exchange::Command::Request { .. }),
            Self::CancelTarget(_) => true,
            _ => false,
        }
    }
}

/// What the host should do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Resolve a name and answer with [`Input::Resolved`].
    Resolve {
        /// Number of the question.
        query: u64,
        /// The name.
        name: String,
        /// Which addresses.
        family: Family,
    },
    /// Connect a wire to this endpoint and answer with [`Input::Wire`].
    DialWire {
        /// For which dial.
        dial: DialId,
        /// The endpoint of a `/memory/…` address.
        endpoint: u64,
    },
    /// Close a wire, once the frames for it are taken.
    CloseWire(WireId),
    /// Connect a byte stream (TCP) and answer with [`Input::Pipe`].
    DialPipe {
        /// Its number.
        pipe: PipeId,
        /// Where to.
        remote: SocketAddr,
    },
    /// A byte stream that had no room for bytes can be read again.
    ReadPipe(PipeId),
    /// Send what was given for a byte stream, as far as it leaves without waiting for the peer, and close it both ways. The
    /// stack forgets it now.
    ClosePipe(PipeId),
    /// Keep a peer's standing, or forget it (`None`). At most one per peer in a second.
    Persist {
        /// Whose.
        peer: PeerId,
        /// What to hand to [`Command::Restore`] in the next run.
        record: Option<Record>,
    },
    /// Keep the ban of a network, or forget it (`None`): it is over.
    PersistNetwork {
        /// Which.
        network: Network,
        /// What to hand to [`Command::RestoreNetwork`] in the next run.
        ban: Option<NetworkBan>,
    },
}

/// What came of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Links that delivered all they had, and were closed.
    pub closed: u32,
    /// Links that were lost meanwhile, or still had something to deliver at the deadline.
    pub unfinished: u32,
}

/// What the user should know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer is there: its link is authenticated, and it is known what it speaks. With a hello, matched channels work.
    PeerUp {
        /// The dial this answers, if one was commanded.
        ticket: Option<Ticket>,
        /// Its link.
        link: LinkId,
        /// Who, how, from where.
        info: LinkInfo,
        /// The address the link was set up over; `None` for a wire.
        address: Option<Multiaddr>,
        /// What is known of it.
        speaks: Speaks,
    },
    /// A peer that was up is gone, or its link was replaced by a newer one.
    PeerDown {
        /// Its link.
        link: LinkId,
        /// Who.
        peer: PeerId,
        /// The address the link was set up over; `None` for a wire.
        address: Option<Multiaddr>,
        /// Why.
        reason: DownReason,
    },
    /// A link ended before it was known what its peer speaks: nobody to talk to.
    Refused {
        /// Who it was.
        peer: PeerId,
        /// The address the link was set up over; `None` for a wire.
        address: Option<Multiaddr>,
        /// Why, whichever side said so.
        reason: DownReason,
    },
    /// This node refused a connection: a ban, its limits, its lists or its own rule. At most sixteen of these come in a second.
    ConnectionRefused {
        /// Who it was with, where that is known.
        peer: Option<PeerId>,
        /// Where the other end is; without a port where it was not answered at all. `None` for a wire.
        address: Option<Multiaddr>,
        /// Why.
        refusal: Refusal,
        /// How many refusals since the last such event had none of their own, because there were too many.
        suppressed: u64,
    },
    /// Peers end this node's only link with them in favour of others with the same key: another process uses the key.
    KeyUsedTwice {
        /// The peer that did so last.
        peer: PeerId,
    },
    /// A commanded dial is over: its peer is up, by a link that came another way or was there before.
    Connected {
        /// The dial.
        ticket: Ticket,
        /// Who.
        peer: PeerId,
    },
    /// A commanded dial brought nothing.
    DialFailed {
        /// The dial.
        ticket: Ticket,
        /// Why.
        reason: DialProblem,
    },
    /// A dial of the address book brought nothing. Of one entry of the book at most once a minute.
    Unreachable {
        /// Who, where the book names one.
        peer: Option<PeerId>,
        /// Where it was looked for: at least one address.
        addresses: Vec<Multiaddr>,
        /// Why.
        reason: DialProblem,
        /// When it will be tried again; `None` where it was forgotten.
        next: Option<Instant>,
    },
    /// A round trip was measured.
    Rtt {
        /// The link.
        link: LinkId,
        /// Writing and answering included.
        rtt: Duration,
    },
    /// A peer said who it is, by libp2p's identify. Texts come from the peer: do not trust them, and escape them before printing.
    Identified {
        /// Its link.
        link: LinkId,
        /// Who.
        peer: PeerId,
        /// What it said.
        info: Box<identify::Info>,
        /// Whether it pushed by itself: what it left out is as before.
        pushed: bool,
    },
    /// A measurement is over.
    Measured {
        /// Names the command.
        ticket: Ticket,
        /// From the opening to the last byte; `None` where the peer does not serve it, or it ended early.
        took: Option<Duration>,
    },
    /// A peer's services changed.
    Services {
        /// Its link.
        link: LinkId,
        /// All of them.
        services: Vec<Service>,
    },
    /// A peer did something wrong.
    Fault {
        /// Its link; `None` where it has none any more.
        link: Option<LinkId>,
        /// The address of that link; `None` for a wire, and without a link.
        address: Option<Multiaddr>,
        /// Who.
        peer: PeerId,
        /// What.
        fault: Fault,
        /// What followed.
        reaction: Reaction,
    },
    /// A ban is over.
    Released(PeerId),
    /// Peers of one address prefix, whatever their identities, did so much wrong that the prefix is banned. It holds for links that
    /// peers dial; persistent and pinned peers there are dialled as before.
    NetworkBanned {
        /// The prefix.
        network: Network,
        /// When the ban ends.
        until: Instant,
    },
    /// The ban of a network is over.
    NetworkReleased(Network),
    /// Of a pool.
    Pool(ChannelId, pool::Event),
    /// Of a tip.
    Tip(ChannelId, tip::Event),
    /// Of a call channel: requests to answer, and ends of calls by link.
    Call(ChannelId, call::Event),
    /// One answer to a [`Command::CallTarget`].
    Answer {
        /// Names the command.
        ticket: Ticket,
        /// Who answered.
        from: PeerId,
        /// The response, or why there is none.
        result: Result<Bytes, CallError>,
        /// Answers still to come.
        left: u32,
    },
    /// Of raw streams.
    Raw(raw::Event),
    /// Of requests by name.
    Exchange(exchange::Event),
    /// The shutdown has ended; nothing follows.
    Closed(Report),
}

impl From<ping::Event> for Event {
    fn from(event: ping::Event) -> Self {
        let ping::Event::Rtt { link, rtt } = event;
        Self::Rtt { link, rtt }
    }
}

impl From<perf::Event> for Event {
    fn from(event: perf::Event) -> Self {
        let (tag, took) = match event {
            perf::Event::Done { tag, took, .. } => (tag, Some(took)),
            perf::Event::Failed { tag, .. } => (tag, None),
        };
        Self::Measured { ticket: Ticket(tag), took }
    }
}

/// When the stack wants to be called back, and why.
pub type Timeout = (Instant, &'static str);
