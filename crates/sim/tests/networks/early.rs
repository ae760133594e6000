//! Two nodes over QUIC with a method that is replay-safe and one that is not.

use std::time::Duration;

use bytes::Bytes;
use weir_base::Instant;
use weir_pull::ChannelId;
use weir_sim::flood::pool_channel;
use weir_sim::{Dials, Model, Network, Node as _, NodeId, Note, Setup, Transport};
use weir_stack::{Channel, Command, Event, Shape, Target, call};

pub(crate) const SAFE: ChannelId = ChannelId(5);
pub(crate) const UNSAFE: ChannelId = ChannelId(6);
pub(crate) const CLIENT: NodeId = NodeId(0);
pub(crate) const SERVER: NodeId = NodeId(1);

/// What a while brought: requests at the server, responses at the client, links that came and went anywhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) requests: Vec<ChannelId>,
    pub(crate) answers: Vec<Instant>,
    pub(crate) up: usize,
    pub(crate) down: usize,
}

impl Seen {
    pub(crate) fn add(&mut self, other: Self) {
        self.requests.extend(other.requests);
        self.answers.extend(other.answers);
        self.up += other.up;
        self.down += other.down;
    }
}

fn method(id: ChannelId, name: &str, replay_safe: bool) -> Channel {
    let config = call::Config { replay_safe, ..call::Config::default() };
    Channel { id, name: name.into(), version: 1, oldest: 1, shape: Shape::Call(config) }
}

/// Both nodes, which never met. `early`: data may go along with handshakes.
pub(crate) fn strangers(seed: u64, early: bool) -> Network {
    let channels = vec![pool_channel(), method(SAFE, "safe", true), method(UNSAFE, "unsafe", false)];
    let mut setup = Setup::new(2, 1, seed, channels);
    (setup.transport, setup.model, setup.dials) = (Transport::Quic, Model::calm(), Dials::OneEnd);
    setup.config.quic.early = early;
    Network::new(setup).unwrap()
}

/// They were linked, and are no more.
pub(crate) fn acquainted(seed: u64, early: bool) -> Network {
    let mut net = strangers(seed, early);
    net.edges = vec![(CLIENT, SERVER)];
    assert!(net.link_up());
    let second = Duration::from_secs(1);
    watch(&mut net, second);
    let target = net.host.world().peer(SERVER).unwrap();
    net.host.with(CLIENT, |actor, now| actor.stack().command(now, Command::Disconnect(target)).unwrap());
    assert_eq!(watch(&mut net, second * 8).down, 2);
    net
}

/// The client calls; whether its stack took it.
pub(crate) fn call(net: &mut Network, channel: ChannelId) -> bool {
    let server = net.host.world().peer(SERVER).unwrap();
    let called = net.host.with(CLIENT, |actor, now| {
        let (request, target) = (Bytes::from_static(b"request"), Target::Peer(server));
        actor.stack().command(now, Command::CallTarget { channel, target, request, deadline: None })
    });
    matches!(called, Some(Ok(_)))
}

/// Lets time pass; the server answers what comes.
pub(crate) fn watch(net: &mut Network, pause: Duration) -> Seen {
    let mut seen = Seen::default();
    net.run(pause, |net, id, note| match note {
        Note::Told(Event::Call(channel, call::Event::Request { ticket, .. })) => {
            seen.requests.push(channel);
            net.host.with(id, |actor, now| {
                let response = Ok(Bytes::from_static(b"response"));
                let answer = call::Command::Answer { ticket, at: now, response };
                let command = weir_pull::Command::Call(channel, answer);
                actor.stack().command(now, Command::Pull(command)).unwrap();
            });
        }
        Note::Told(Event::Answer { result: Ok(_), .. }) => seen.answers.push(net.host.now()),
        Note::Told(Event::PeerUp { .. }) => seen.up += 1,
        Note::Told(Event::PeerDown { .. }) => seen.down += 1,
        _ => {}
    });
    seen
}
