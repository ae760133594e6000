//! One error enum per operation. Each says whether to try again ([`Retry`]).
//!
//! | operation | error | worth trying again |
//! |---|---|---|
//! | starting: [`Builder::plan`](crate::Builder::plan), and what the host adds | [`StartError`] | after the configuration or the machine changed |
//! | [`Protocol::try_new`](crate::Protocol::try_new) | [`NameError`](crate::NameError) | never |
//! | `publish`, batches of a pool | [`PublishError`] | `Busy`, `Deadline`: soon |
//! | the other commands of a pool | [`CommandError`] | `Busy`: soon |
//! | [`Caller::call`](crate::Caller::call) | [`CallError`] | `Refused`: after the time it names; `Busy`: soon; `LinkDown`, `Deadline` and most others: elsewhere |
//! | [`Streams::open`](crate::Streams::open) | [`OpenError`] | `Busy`, `Deadline`: soon; `NotConnected`: once connected |
//! | [`Requester::request`](crate::Requester::request) | [`RequestError`] | `Busy`, `Late`: soon; else with another peer |
//! | reading and writing a raw stream | [`StreamError`] | on a new stream |
//! | [`Network::connect`](crate::Network::connect) | [`ConnectError`] | `Failed`: after a second; `Busy`: soon |
//! | [`Peers::keep`](crate::Peers::keep), `ban` and their like | [`PeerError`](crate::PeerError) | never, but for a limit: soon |
//! | [`Network::within`](crate::Network::within) | [`WithinError`] | as its future says |
//! | anything at a node that has stopped | [`Stopped`] | never |
//!
//! None of these enums is exhaustive: match the ones that you treat apart, and ask `retry` about the others.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use weir_base::LimitError;
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;

#[doc(inline)]
pub use weir_pull::Refused as ChannelRefused;
#[doc(inline)]
pub use weir_stack::exchange::Failure;
#[doc(inline)]
pub use weir_stack::{BookError, DialError, DialFailure, TooManyBans};

use crate::Malformed;

/// Whether the same operation may succeed later.
///
/// ```
/// # use weir::Method;
/// # const SQUARE: Method<u64, u64> = Method::new(5, "square");
/// # use weir::testing::Cluster;
/// # use weir::{Keypair, Network, NetworkId};
/// # let cluster = Cluster::new(7);
/// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
/// # let (alice, node, requests) = cluster.add(describe(1).channels(SQUARE.serve()))?;
/// # let (bob, _bobs_node, square) = cluster.add(describe(2).channels(SQUARE).peers(alice.addresses()))?;
/// # cluster.spawn(async move {
/// #     while let Some(request) = requests.next().await {
/// #         match request.query().checked_mul(*request.query()) {
/// #             Some(square) => request.answer(square),
/// #             None => request.refuse(std::time::Duration::from_secs(60)),
/// #         }
/// #     }
/// # });
/// # cluster.run_until(bob.wait_for_peers(1))?;
/// use weir::Retry;
///
/// let answer = cluster.run_until(async {
///     loop {
///         let error = match square.call(alice.peer_id(), 7).await {
///             Ok(answer) => return Ok(answer),
///             Err(error) => error,
///         };
///         match error.retry() {
///             Retry::Soon => bob.sleep(std::time::Duration::from_millis(10)).await?,
///             Retry::After(pause) => bob.sleep(pause).await?,
///             Retry::Elsewhere | Retry::Never => return Err(error), // another peer, or another question
///         }
///     }
/// })?;
/// assert_eq!(answer, 49);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No: something has to change first.
    Never,
    /// Yes, at once or soon, in the same place.
    Soon,
    /// Yes, in the same place, not before this time.
    After(Duration),
    /// Yes, with another peer, or once the link is back.
    Elsewhere,
}

/// The node has stopped, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// Why a future was not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WithinError {
    /// The time was up first.
    #[error("not within {0:?}")]
    Elapsed(Duration),
    /// The node has stopped, and its clock with it.
    #[error("the node has stopped")]
    Stopped,
}

/// A text that is no address, or an address that cannot be used for this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{address}`: {reason}")]
#[non_exhaustive]
pub struct AddressError {
    /// As given.
    pub address: String,
    /// What is wrong with it.
    pub reason: String,
}

impl AddressError {
    /// For implementations of [`ToAddress`](crate::ToAddress), and hosts that cannot use an address.
    pub fn new(address: impl std::fmt::Display, reason: impl std::fmt::Display) -> Self {
        Self { address: address.to_string(), reason: reason.to_string() }
    }
}

/// Why a node could not start. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration does not hold. The message names the field by its path in [`Config`](crate::Config), which is that in a file,
    /// or what the builder was given; and the remedy.
    ///
    /// ```
    /// # use weir_node as weir;
    /// # let keypair = weir::Keypair::ed25519_from_seed([1; 32]);
    /// let mut config = weir::Config::default();
    /// config.node.dial.max_dials = 0;
    /// let refused = weir::Network::builder(keypair, weir::NetworkId([1; 32])).config(config).plan().unwrap_err();
    /// assert_eq!(refused.to_string(), "configuration: `node.dial.max_dials` must be at least 1; 64 is usual");
    /// ```
    #[error("configuration: {0}")]
    Config(#[source] weir_stack::ConfigError),
    /// A channel was given to the builder twice, or two share an id or a name.
    #[error(
        "channel {id} (`{name}`) has the id or the name of channel {other} (`{other_name}`); give each its own, and once"
    )]
    DuplicateChannel {
        /// The id of the second.
        id: u16,
        /// The name of the second.
        name: &'static str,
        /// The id of the first.
        other: u16,
        /// The name of the first.
        other_name: &'static str,
    },
    /// What the node should listen on is no address, or none that this host can bind.
    #[error(
        "cannot listen on {0}; use IP:PORT, /ip4/…/udp/…/quic-v1 or /ip4/…/tcp/…, with ip6 for the other family"
    )]
    ListenAddress(#[source] AddressError),
    /// A peer to dial has no address, or none that this node can dial.
    #[error(
        "cannot dial the peer {0}; use IP:PORT, /…/udp/…/quic-v1 or /…/tcp/…, better with /p2p/… and the peer's id"
    )]
    PeerAddress(#[source] AddressError),
    /// The address book does not take a peer.
    #[error("the address book does not take {peer}: {source}")]
    Book {
        /// The peer's address.
        peer: Multiaddr,
        /// Why.
        source: weir_stack::BookError,
    },
    /// A node with the same key runs already, in the same cluster. Each node needs a key of its own.
    #[error("a node with the key of {peer} is running; stop it, or give this one a key of its own")]
    DuplicateKey {
        /// Who it would be.
        peer: PeerId,
    },
    /// The port belongs to another program.
    #[error("cannot listen on {address}: the port is in use; stop the other program or choose another port")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system refused the socket.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread, poll or randomness.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl StartError {
    /// Of the part of the configuration that is the stack's.
    pub(crate) fn stack(error: weir_stack::ConfigError) -> Self {
        Self::Config(declared(error.within("node")))
    }
}

impl From<LimitError> for StartError {
    fn from(limit: LimitError) -> Self {
        Self::Config(weir_stack::ConfigError::Limit(limit))
    }
}

/// A limit of a channel has the name by which it was declared.
fn declared(error: weir_stack::ConfigError) -> weir_stack::ConfigError {
    use weir_pull::ConfigError::Channel;
    match error {
        weir_stack::ConfigError::Channels(Channel { channel, limit }) => {
            let name = match limit.name() {
                "max_items" => "keep(items, …)",
                "max_bytes" => "keep(…, bytes)",
                "checking" => "candidates",
                _ => return weir_stack::ConfigError::Channels(Channel { channel, limit }),
            };
            let limit = LimitError::new(name, limit.remedy());
            weir_stack::ConfigError::Channels(Channel { channel, limit })
        }
        other => other,
    }
}

/// Why a command to a pool was not taken. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The node's mailbox is full: the network thread has not caught up. Try again soon.
    #[error("the mailbox is full; try again soon")]
    Busy,
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why an item or a value was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The node's mailbox is full: the network thread has not caught up. Wait with `publish_wait`, or try again soon.
    #[error("the mailbox is full; try again soon")]
    Busy,
    /// There was no room within the deadline.
    #[error("the mailbox stayed full until the deadline")]
    Deadline,
    /// More bytes than the channel allows.
    #[error("{size} bytes encoded, and the channel allows {max}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest, in bytes.
        max: u32,
    },
    /// A batch of more items than one command may name.
    #[error("more than {max} items in one batch; send several")]
    TooMany {
        /// The most.
        max: usize,
    },
    /// The item's type gives it no priority: this node would not take it from others either.
    #[error("an item without a priority is not wanted here")]
    Unwanted,
    /// The item's type refuses what it wrote itself.
    #[error("the item cannot be read back: {0}")]
    Malformed(#[from] Malformed),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a call brought no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server does not serve it now: it has too much to do, or said so.
    #[error("refused; retry after {retry_after:?}")]
    Refused {
        /// When it may, counted from the answer; an hour at most.
        retry_after: Duration,
    },
    /// No response within the deadline. The request may have been served.
    #[error("no response within the deadline")]
    Deadline,
    /// The link went down meanwhile. The request may have been served.
    #[error("the link went down")]
    LinkDown,
    /// There is no link to this peer and no dial under way that brings one, or nobody with the service is connected.
    #[error("not connected to such a peer")]
    NotConnected,
    /// The peer does not have the channel.
    #[error("the peer does not have this channel")]
    Unsupported,
    /// The request is larger than the channel, or the peer, allows.
    #[error("the request is too large")]
    TooLarge,
    /// The server broke the call off, without a reason that this node could tell.
    #[error("the server broke the call off")]
    Aborted,
    /// As many calls as allowed are under way: with this peer, or at this node; or its own requests' mailbox is full.
    #[error("as many calls as allowed are under way")]
    Busy,
    /// What came is no response of this method: the peer's fault.
    #[error("the response is malformed")]
    Malformed,
    /// The node itself does not serve this method.
    #[error("this node does not serve the method")]
    NotServed,
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a raw stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no link to this peer.
    #[error("not connected to this peer")]
    NotConnected,
    /// The peer does not have the channel, or none of the protocol's names.
    #[error("the peer does not have this channel or protocol")]
    Unsupported,
    /// As many streams as allowed are open, or wait to be.
    #[error("as many streams as allowed are open")]
    Busy,
    /// Not within the deadline.
    #[error("not opened within the deadline")]
    Deadline,
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a request by a protocol's name brought no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no link to this peer.
    #[error("not connected to this peer")]
    NotConnected,
    /// As many requests as the protocol allows are under way, with this peer or in all.
    #[error("as many requests as allowed are under way")]
    Busy,
    /// The message is larger than the protocol allows.
    #[error("the message is larger than the protocol allows")]
    TooLarge,
    /// The framing of the protocol refuses the message.
    #[error("the framing of the protocol refuses the message")]
    Unframed,
    /// What the peer did, or did not.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a raw stream can no longer be read or written. Converts to [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer broke off its direction, with this code.
    #[error("the peer reset the stream with code {0}")]
    Reset(u32),
    /// The peer wants no more of ours, with this code.
    #[error("the peer stopped the stream with code {0}")]
    Stopped(u32),
    /// The peer does not speak the protocol by whose only name the stream was opened.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// This side finished writing before.
    #[error("this side has finished writing")]
    Finished,
    /// The link went down, or the node stopped.
    #[error("the link is gone")]
    Gone,
}

/// Why no link came up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address cannot be parsed, or this node has no transport for it.
    #[error("cannot dial {0}")]
    Address(#[source] AddressError),
    /// The peer is banned here.
    #[error("the peer is banned here; unban it first")]
    Banned,
    /// The peer is this node itself.
    #[error("that is this node")]
    Myself,
    /// Too many dials are under way, or all link slots are taken.
    #[error("too many dials or links; wait for one to end")]
    Busy,
    /// Every address failed, or the dial's deadline (`node.dial.timeout`) passed; the last failure.
    #[error("no address answered: {0}")]
    Failed(weir_stack::DialProblem),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

impl CommandError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy => Retry::Soon,
            Self::Stopped => Retry::Never,
        }
    }
}

impl From<CommandError> for PublishError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Busy => Self::Busy,
            CommandError::Stopped => Self::Stopped,
        }
    }
}

impl PublishError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy | Self::Deadline => Retry::Soon,
            Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Unwanted
            | Self::Malformed(_)
            | Self::Stopped => Retry::Never,
        }
    }
}

impl CallError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused { retry_after } => Retry::After(*retry_after),
            Self::Busy => Retry::Soon,
            Self::Deadline
            | Self::LinkDown
            | Self::NotConnected
            | Self::Unsupported
            | Self::Aborted
            | Self::Malformed => Retry::Elsewhere,
            Self::TooLarge | Self::NotServed | Self::Stopped => Retry::Never,
        }
    }
}

impl OpenError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy | Self::Deadline => Retry::Soon,
            Self::NotConnected | Self::Unsupported => Retry::Elsewhere,
            Self::Stopped => Retry::Never,
        }
    }
}

impl RequestError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy | Self::Failed(Failure::Busy | Failure::Late | Failure::Reset(_)) => Retry::Soon,
            Self::NotConnected | Self::Failed(_) => Retry::Elsewhere,
            Self::TooLarge | Self::Unframed | Self::Stopped => Retry::Never,
        }
    }
}

impl ConnectError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy => Retry::Soon,
            Self::Failed(_) => Retry::After(Duration::from_secs(1)),
            Self::Address(_) | Self::Banned | Self::Myself | Self::Stopped => Retry::Never,
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::Reset(_) => io::ErrorKind::ConnectionReset,
            StreamError::Stopped(_) | StreamError::Finished => io::ErrorKind::BrokenPipe,
            StreamError::Unsupported => io::ErrorKind::Unsupported,
            StreamError::Gone => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, error)
    }
}

impl From<Stopped> for CallError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}
