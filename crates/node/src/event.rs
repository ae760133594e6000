//! What happens at a node, for logs and operators.

use std::time::Duration;

use serde::Serialize;
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::Side;
use weir_base::{Fault, Instant, ProtocolId};
use weir_pull::{ChannelId, Service};
use weir_stack::{DialProblem, DownReason, Network as Prefix, NetworkBan as PrefixBan, Reaction, Record};

use crate::error::Failure;
use crate::message::ItemId;
use crate::peer::SharedChannel;

/// One thing that happened. With serde it is written as an object whose `event` names the variant; times are nanoseconds of the
/// host's clock.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A peer is there: its link is authenticated, and it is known what it speaks. The channels among that work.
    PeerUp {
        /// Who.
        peer: PeerId,
        /// Who set the link up.
        side: Side,
        /// The address, where there is one.
        address: Option<Multiaddr>,
        /// What it speaks. A channel `c` stands here with its numbers `4 × c` to `4 × c + 3`, libp2p's protocols from 65,536 on
        /// (`docs/spec/streams.md`).
        protocols: Vec<ProtocolId>,
        /// Name and version of its program, as it says; empty where it does not.
        agent: String,
        /// What it can do for others, as it says.
        services: Vec<Service>,
        /// The channels that both have, by id.
        channels: Vec<SharedChannel>,
    },
    /// A peer did not keep to a protocol of requests: its request was too large or malformed, ended early or did not come whole in time, it
    /// went on after its request or response, or did not take the response in time. The stream was broken off, and nothing else followed.
    RequestFailed {
        /// Who.
        peer: PeerId,
        /// The name that was agreed on.
        protocol: String,
        /// What it did.
        failure: Failure,
    },
    /// A peer is gone, or its link was replaced by a newer one.
    PeerDown {
        /// Who.
        peer: PeerId,
        /// The address of its link; `None` for a wire, and without a link.
        address: Option<Multiaddr>,
        /// Why.
        reason: DownReason,
    },
    /// A link ended before both sides had said hello: another network or version, no slot, a ban.
    Refused {
        /// Who it was.
        peer: PeerId,
        /// The address of its link; `None` for a wire.
        address: Option<Multiaddr>,
        /// Why, whichever side said so.
        reason: DownReason,
    },
    /// This node refused a connection: a ban, its limits, `node.admission.allow` and `node.admission.deny`, or its own rule
    /// ([`Builder::gate`](crate::Builder::gate)). At most sixteen of these come in a second.
    ConnectionRefused {
        /// Who it was with, where that is known.
        peer: Option<PeerId>,
        /// Where the other end is; without a port where it was not answered at all. `None` for a wire.
        address: Option<Multiaddr>,
        /// Why, with its figure: `refused: 8 of 8 inbound links from 10.1.0.0/16`.
        reason: String,
        /// How many refusals since the last such event had none of their own, because there were too many.
        suppressed: u64,
    },
    /// A peer that this node should dial could not be reached. Of one peer at most once a minute; a warning is logged with it.
    Unreachable {
        /// Who, where it was named: at start, to [`Peers::keep`](crate::Peers::keep), or by who answered there before.
        peer: Option<PeerId>,
        /// Where it was looked for: at least one address.
        addresses: Vec<Multiaddr>,
        /// Why it was not found: of the last address tried.
        reason: DialProblem,
        /// When it is tried again, on the clock of [`Network::now`](crate::Network::now); `None` where it was forgotten, as
        /// a suggested peer that never answered.
        next: Option<Instant>,
    },
    /// Peers end this node's only link with them in favour of others with the same key: another process uses the key. Stop one
    /// of the two. Comes at most once in ten minutes.
    KeyUsedTwice {
        /// The peer that did so last.
        peer: PeerId,
    },
    /// A peer did something wrong.
    Fault {
        /// Who.
        peer: PeerId,
        /// The address of its link; `None` for a wire, and without a link.
        address: Option<Multiaddr>,
        /// In which channel, where it was one.
        channel: Option<ChannelId>,
        /// What.
        fault: Fault,
        /// What followed.
        reaction: Reaction,
    },
    /// Peers of one address prefix, whatever their identities, did so much wrong that the prefix is banned. It holds for links
    /// that peers dial; kept peers there are dialled as before.
    PrefixBanned {
        /// The prefix.
        prefix: Prefix,
        /// When the ban ends, on the clock of [`Network::now`](crate::Network::now).
        until: Instant,
    },
    /// The ban of a prefix is over.
    PrefixUnbanned {
        /// The prefix.
        prefix: Prefix,
    },
    /// A ban is over.
    Unbanned {
        /// Whose.
        peer: PeerId,
    },
    /// A peer said who it is, by libp2p's identify: as an answer, or in a push. Texts and addresses come from the peer: do not trust
    /// them, and escape them before printing. A field that is absent has not changed.
    Identified {
        /// Who.
        peer: PeerId,
        /// Name and version of its program.
        agent: Option<String>,
        /// The family of protocols that it speaks.
        protocol_version: Option<String>,
        /// The names of the protocols on which it takes streams.
        protocols: Vec<String>,
        /// Where it listens.
        addresses: Vec<Multiaddr>,
        /// Where it sees this node.
        observed: Option<Multiaddr>,
    },
    /// A peer's services changed.
    Services {
        /// Who.
        peer: PeerId,
        /// All of them now.
        services: Vec<Service>,
    },
    /// A round trip to a peer was measured.
    Rtt {
        /// Who.
        peer: PeerId,
        /// Writing and answering included.
        #[serde(serialize_with = "weir_base::units::duration::serialize")]
        rtt: Duration,
    },
    /// A peer's standing changed: to be kept, and given to [`Peers::restore`](crate::Peers::restore) in the next run.
    Standing {
        /// Whose.
        peer: PeerId,
        /// What to keep; `None`: nothing is held against it any more.
        record: Option<Record>,
    },
    /// The ban of a prefix changed: to be kept, and given to [`Peers::restore_ban`](crate::Peers::restore_ban) in the next run.
    PrefixBan {
        /// Which addresses.
        prefix: Prefix,
        /// What to keep; `None`: it is over.
        ban: Option<PrefixBan>,
    },
    /// An item left a pool because others are wanted more.
    Evicted {
        /// The pool's channel.
        channel: ChannelId,
        /// The item.
        id: ItemId,
    },
}
