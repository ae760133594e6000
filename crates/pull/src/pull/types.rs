//! What the user wants of the pull protocol, and is told.

use std::sync::Arc;
use std::time::Duration;

use weir_base::LinkId;
use weir_base::identity::PeerId;
use weir_base::stream::Goodbye;

use crate::channel::ChannelId;
use crate::control::{self, PeerHello, Service};
use crate::{call, pool, tip};

/// What the user wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// Of a pool.
    Pool(ChannelId, pool::Command),
    /// Of a tip.
    Tip(ChannelId, tip::Command),
    /// Of a call channel.
    Call(ChannelId, call::Command),
    /// Of control.
    Control(control::Command),
}

/// What the user should know.
#[derive(Clone, Debug)]
pub enum Event {
    /// Both hellos have come; matched channels work.
    Ready {
        /// The link.
        link: LinkId,
        /// Who is there.
        peer: PeerId,
        /// What it said.
        hello: Arc<PeerHello>,
    },
    /// No hello came in time, or the peer refused control: this protocol leaves the link alone. Whether it stays, because the
    /// peer speaks something else, is for others to say.
    NoHello {
        /// The link.
        link: LinkId,
    },
    /// A link that was ready, or whose peer said goodbye before, is down.
    Gone {
        /// The link.
        link: LinkId,
        /// Who was there.
        peer: PeerId,
        /// Why, where the peer said it.
        goodbye: Option<Goodbye>,
    },
    /// A round trip of control was measured.
    Rtt {
        /// The link.
        link: LinkId,
        /// Its round trip, writing and answering included.
        rtt: Duration,
    },
    /// The peer's services changed.
    Services {
        /// The link.
        link: LinkId,
        /// All of them.
        services: Vec<Service>,
    },
    /// Of a pool.
    Pool(ChannelId, pool::Event),
    /// Of a tip.
    Tip(ChannelId, tip::Event),
    /// Of a call channel.
    Call(ChannelId, call::Event),
}
