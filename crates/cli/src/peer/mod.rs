//! `weir ping`, `weir identify` and `weir listen`: one node, and what libp2p's small protocols say about the other one. They speak
//! with each other and with every libp2p node.

pub(crate) mod identify;
pub(crate) mod listen;
pub(crate) mod ping;

use std::time::Duration;

use weir::{ConnectError, Event, Events, Multiaddr, Network, NetworkId, Node, PeerId};

use crate::error::Failure;
use crate::keys;
use crate::over::Over;
use crate::signals::Signals;

/// The network of these nodes, so that they say hello to each other. Nodes of libp2p say none.
const NETWORK: NetworkId = NetworkId(*b"weir listen, a net of its own. .");
/// How long the farewell may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A node that has connected to one peer.
pub(crate) struct Connected {
    pub(crate) net: Network,
    node: Node,
    events: Events, // since before the dial
    pub(crate) peer: PeerId,
}

/// The configuration of these nodes: pings as often as that, 0 for never.
fn config(over: &Over, interval: Duration) -> Result<weir::Config, Failure> {
    let mut config = weir::Config::default();
    config.node.ping.interval = interval;
    over.apply(&mut config)?;
    Ok(config)
}

/// Starts a node with a key of its own, connects, and hands over to `then` on a thread that a signal does not wait for. The node
/// says goodbye whatever comes of it.
pub(crate) fn with_peer<T: Send + 'static>(
    to: &str,
    (interval, over): (Duration, &Over),
    then: impl FnOnce(&Connected) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let address = over.address("ADDR", to)?;
    over.check(std::slice::from_ref(&address))?;
    let config = config(over, interval)?;
    let signals = Signals::watch()?;
    let builder = Network::builder(keys::fresh()?, NETWORK).config(config);
    let (net, node, ()) = weir::start(builder).map_err(Failure::run)?;
    let (client, to) = (net.clone(), to.to_owned());
    let working = signals.run(move || {
        let (peer, events) = connect(&client, address, &to)?;
        let connected = Connected { net: client, node, events, peer };
        let done = then(&connected);
        connected.net.block_on(connected.node.shutdown(GOODBYE));
        done
    })?;
    loop {
        if let Some(done) = working.wait(Duration::from_secs(3600))? {
            return done;
        }
    }
}

fn connect(net: &Network, address: Multiaddr, to: &str) -> Result<(PeerId, Events), Failure> {
    let events = net.events();
    let peer = net.block_on(net.connect(address)).map_err(|error| match error {
        ConnectError::Address(_) => Failure::input(format!("ADDR: {error}")),
        error => Failure::connect(format!("cannot connect to {to}: {error}"), &error),
    })?;
    Ok((peer, events))
}

/// The next event that `wanted` takes something of; `None` where none comes within `limit`, an error where the peer goes.
fn next<T>(
    connected: &Connected,
    limit: Duration,
    mut wanted: impl FnMut(Event) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let Connected { net, events, peer, .. } = connected;
    let search = async {
        while let Some(event) = events.next().await {
            match event {
                Event::PeerDown { peer: gone, reason, .. } if gone == *peer => {
                    return Err(Failure::run(format!("{peer} is gone: {reason:?}")));
                }
                Event::Fault { peer: whose, fault, .. } if whose == *peer => {
                    return Err(Failure::run(format!("{peer} did wrong: {fault}")));
                }
                event => {
                    if let Some(found) = wanted(event) {
                        return Ok(found);
                    }
                }
            }
        }
        Err(Failure::run("the node has stopped"))
    };
    match net.block_on(net.within(limit, search)) {
        Ok(found) => found.map(Some),
        Err(_) => Ok(None),
    }
}
