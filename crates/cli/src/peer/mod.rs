//! `weir ping`, `weir identify` and `weir listen`: one node, and what libp2p's small protocols say about the other one. They speak
//! with each other and with every libp2p node.

pub(crate) mod identify;
pub(crate) mod listen;
pub(crate) mod ping;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use weir::config::{Security, SharedKey};
use weir::{ConnectError, Event, Events, Multiaddr, Network, NetworkId, Node, PeerId};

use crate::error::Failure;
use crate::signals::Signals;
use crate::{addresses, keys};

/// The network of these nodes, so that they say hello to each other. Nodes of libp2p say none.
const NETWORK: NetworkId = NetworkId(*b"weir listen, a net of its own. .");
/// mplex by its usual name.
const MPLEX: &str = "/mplex/6.7.0";
/// How long the farewell may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A node that has connected to one peer.
pub(crate) struct Connected {
    pub(crate) net: Network,
    node: Node,
    events: Events, // since before the dial
    pub(crate) peer: PeerId,
}

/// What encrypts TCP, and proves who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Securing {
    /// Noise alone.
    Noise,
    /// TLS 1.3 alone.
    Tls,
    /// TLS where the other side has it, else Noise: costs a round trip.
    Both,
}

impl Securing {
    /// As the configuration has it, the best first.
    fn list(self) -> Vec<Security> {
        match self {
            Self::Noise => vec![Security::Noise],
            Self::Tls => vec![Security::Tls],
            Self::Both => vec![Security::Tls, Security::Noise],
        }
    }
}

/// How TCP carries streams.
#[derive(Args, Clone, Debug)]
pub(crate) struct Over {
    /// What secures TCP.
    #[arg(long, value_enum, default_value_t = Securing::Noise, value_name = "WHAT")]
    security: Securing,
    /// Over TCP, speak mplex, too, with a node that has no yamux.
    #[arg(long)]
    mplex: bool,
    /// Over TCP, be in the private network of this key file (`swarm.key`): nodes without it cannot connect.
    #[arg(long, value_name = "FILE")]
    private: Option<PathBuf>,
}

impl Over {
    /// The configuration of these nodes: pings as often as that, 0 for never.
    fn config(&self, interval: Duration) -> Result<weir::Config, Failure> {
        let mut config = weir::Config::default();
        config.node.ping.interval = interval;
        config.node.tcp.security = self.security.list();
        if self.mplex {
            config.node.tcp.mplex = vec![MPLEX.to_owned()];
        }
        if let Some(path) = &self.private {
            let unusable = |error: &dyn std::fmt::Display| {
                Failure::input(format!("--private: {}: {error}", path.display()))
            };
            let text = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
            config.node.tcp.private = Some(SharedKey::from_file(&text).map_err(|error| unusable(&error))?);
        }
        Ok(config)
    }
}

/// Starts a node with a key of its own, connects, and hands over to `then` on a thread that a signal does not wait for. The node
/// says goodbye whatever comes of it.
pub(crate) fn with_peer<T: Send + 'static>(
    to: &str,
    (interval, over): (Duration, &Over),
    then: impl FnOnce(&Connected) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let address = addresses::parse("ADDR", to, addresses::Transport::Quic)?;
    let signals = Signals::watch()?;
    let builder = Network::builder(keys::fresh()?, NETWORK).config(over.config(interval)?);
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
        error => Failure::run(format!("cannot connect to {to}: {error}")),
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
