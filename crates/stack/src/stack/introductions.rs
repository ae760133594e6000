//! Who a peer says it is, by libp2p's identify: the second source, beside hello, of what it speaks.

use weir_base::LinkId;
use weir_base::multiaddr::{Multiaddr, Transport};
use weir_libp2p::identify;

use super::Stack;
use crate::peers::{Heard, Speaks, hear};
use crate::protocols;
use crate::types::Event;
use crate::users::Users;

/// A link is up. Its peer is told where it is seen, and asked who it is where libp2p's protocols are the rule.
pub(super) fn begin(users: &mut Users, link: LinkId, address: Option<Multiaddr>) {
    let Some(address) = address else { return };
    let libp2p = address.target().is_some_and(|target| target.transport == Transport::Tcp);
    let identify = users.identify();
    identify.observed(link, address);
    if libp2p {
        identify.ask(link);
    }
}

/// A peer has said who it is. One that does not speak the pull protocol is known by that, and need not be waited for.
pub(super) fn told(stack: &mut Stack, event: identify::Event) {
    let identify::Event::Identified { link, info, pushed } = event;
    let heard = Heard {
        agent: info.agent.clone().unwrap_or_default(),
        protocols: protocols::known(info.protocols.iter().map(String::as_str)),
        observed: info.observed.clone(),
    };
    let Some(linked) = hear(&mut stack.peers, link, heard) else { return };
    let (peer, known) = (linked.info.peer, linked.known.is_some());
    let speaks_pull = info.protocol_version.as_deref() == Some(protocols::VERSION);
    if !known && !speaks_pull && !info.protocols.is_empty() {
        stack.pump.users.raw().handle_known(link, None);
        stack.known(link, Speaks::default());
    }
    stack.events.push_back(Event::Identified { link, peer, info, pushed });
}
