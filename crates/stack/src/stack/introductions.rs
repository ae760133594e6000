//! Who a peer says it is, by libp2p's identify: the second source, beside hello, of what it speaks.

use weir_base::multiaddr::Multiaddr;
use weir_base::{Fault, LinkId};
use weir_libp2p::identify;
use weir_link::Links;
use weir_pull::control;

use super::own::Own;
use crate::peers::{Heard, Peers, Speaks, hear, note_no_hello};
use crate::protocols;
use crate::pump::Pump;
use crate::types::Refused;
use crate::users::Users;

/// This node is reached at these addresses from now on: its peers are told, once more.
pub(super) fn announce(
    own: &mut Own,
    users: &mut Users,
    (peers, links): (&Peers, &Links),
    addresses: Vec<Multiaddr>,
) -> Result<(), Refused> {
    let record = own.record(&addresses)?;
    let identify = users.identify();
    identify.update(identify::Info { addresses, ..identify.own().clone() }, Some(record));
    for (link, _) in peers.links().filter(|(link, _)| links.is_libp2p(*link)) {
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

/// Notes what the peer of a link has said of itself. Whether it is a peer by that: one that does not speak the pull protocol need not
/// be waited for.
pub(super) fn told(peers: &mut Peers, link: LinkId, info: &identify::Info) -> bool {
    let heard = Heard {
        agent: info.agent.clone().unwrap_or_default(),
        protocols: protocols::known(info.protocols.iter().map(String::as_str)),
        observed: info.observed.clone(),
    };
    let unknown = hear(peers, link, heard).is_some_and(|linked| linked.known.is_none());
    let speaks_pull = info.protocol_version.as_deref() == Some(protocols::VERSION);
    unknown && !speaks_pull && !info.protocols.is_empty()
}

/// What a peer is that says no hello.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WithoutHello {
    /// It is known by something else, or is still being asked who it is.
    Settled,
    /// It speaks something else, and is a peer all the same.
    Peer(Speaks),
    /// There is nobody to talk to, which is the peer's fault only where it is known to use a link of Weir's own.
    Nobody(Option<Fault>),
}

/// Notes that the peer of a link says no hello.
pub(super) fn no_hello(peers: &mut Peers, pump: &Pump, links: &Links, link: LinkId) -> WithoutHello {
    let Some(linked) = note_no_hello(peers, link) else { return WithoutHello::Settled };
    if linked.known.is_some() || pump.users.named().identify.is_asking(link) {
        return WithoutHello::Settled;
    }
    let protocols = pump.spoken(link);
    if protocols.is_empty() {
        let to_blame = !links.is_libp2p(link) && links.is_in_use_by_peer(link); // over libp2p it is no surprise
        return WithoutHello::Nobody(to_blame.then_some(control::NO_HELLO));
    }
    WithoutHello::Peer(Speaks { protocols, ..Speaks::default() })
}
