//! Who a peer says it is, by libp2p's identify: the second source, beside hello, of what it speaks.

use weir_base::LinkId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::Goodbye;
use weir_libp2p::identify;
use weir_link::Links;
use weir_pull::control;

use super::Stack;
use crate::peers::{Heard, Speaks, hear, note_no_hello};
use crate::protocols;
use crate::types::{Event, Refused};
use crate::users::Users;

/// This node is reached at these addresses from now on: its peers are told, once more.
pub(super) fn announce(stack: &mut Stack, addresses: Vec<Multiaddr>) -> Result<(), Refused> {
    let record = stack.own.record(&addresses)?;
    let identify = stack.pump.users.identify();
    identify.update(identify::Info { addresses, ..identify.own().clone() }, Some(record));
    for (link, _) in stack.peers.links().filter(|(link, _)| stack.links.is_libp2p(*link)) {
        identify.push(link);
    }
    Ok(())
}

/// A link is up. Its peer is told where it is seen, and asked who it is where libp2p's protocols are the rule.
pub(super) fn begin(users: &mut Users, links: &Links, link: LinkId, address: Option<Multiaddr>) {
    let Some(address) = address else { return };
    let ask = links.is_libp2p(link);
    let identify = users.identify();
    identify.observed(link, address);
    if ask {
        identify.ask(link);
    }
}

/// A peer has said who it is, or did not answer. One that does not speak the pull protocol is known by that, and need not be
/// waited for.
pub(super) fn told(stack: &mut Stack, event: identify::Event) {
    let (link, info, pushed) = match event {
        identify::Event::Identified { link, info, pushed } => (link, info, pushed),
        identify::Event::Unanswered { link } => return settle(stack, link),
    };
    let heard = Heard {
        agent: info.agent.clone().unwrap_or_default(),
        protocols: protocols::known(info.protocols.iter().map(String::as_str)),
        observed: info.observed.clone(),
    };
    let Some(linked) = hear(&mut stack.peers, link, heard) else { return };
    let (peer, known) = (linked.info.peer, linked.known.is_some());
    let speaks_pull = info.protocol_version.as_deref() == Some(protocols::VERSION);
    if !known && !speaks_pull && !info.protocols.is_empty() {
        stack.pump.users.known(link, None);
        stack.known(link, Speaks::default());
    }
    stack.events.push_back(Event::Identified { link, peer, info, pushed });
    settle(stack, link);
}

/// What was put off until the answer, if its peer said no hello meanwhile.
fn settle(stack: &mut Stack, link: LinkId) {
    if stack.peers.link(link).is_some_and(|linked| linked.no_hello) {
        no_hello(stack, link);
    }
}

/// A peer says no hello. Where it speaks something else it is a peer all the same; else there is nobody to talk to, which is
/// the peer's fault only where it is known to use a link of Weir's own. Who is being asked may still answer.
pub(super) fn no_hello(stack: &mut Stack, link: LinkId) {
    let Some(linked) = note_no_hello(&mut stack.peers, link) else { return };
    let libp2p = stack.links.is_libp2p(link); // there it is no surprise
    if linked.known.is_some() || stack.pump.users.named().identify.is_asking(link) {
        return;
    }
    let protocols = stack.pump.spoken(link);
    if protocols.is_empty() {
        if !libp2p && stack.links.is_in_use_by_peer(link) {
            stack.fault(link, control::NO_HELLO);
        }
        return stack.goodbye(link, Goodbye::Idle);
    }
    stack.pump.users.known(link, None);
    stack.known(link, Speaks { protocols, ..Speaks::default() });
}
