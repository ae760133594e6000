//! Connecting over real sockets, while something else is on its way to the same peer; and to where nobody is.
#![allow(clippy::unwrap_used)] // a test that fails says where

use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::Duration;

use weir::{
    Builder, ConnectError, Event, Events, Keypair, Multiaddr, Network, NetworkId, Node, StartError, ToAddress,
};

const ROUNDS: usize = 40;

fn builder() -> Builder {
    // Fresh keys: tests run side by side, and a second node with the same key would replace the first one's links.
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    Network::builder(Keypair::ed25519_from_seed(seed), NetworkId([1; 32])).listen("127.0.0.1:0")
}

/// One that gives up soon where nobody answers.
fn hasty() -> Builder {
    let mut config = weir::Config::default();
    config.node.dial.timeout = Duration::from_secs(4);
    builder().config(config)
}

/// A node, and what happens at it from the start.
struct Running(Network, Node, Events);

impl Running {
    fn start(builder: Builder) -> Self {
        let (net, node, ()) = weir::start(builder).unwrap();
        let events = net.events();
        Self(net, node, events)
    }

    /// Where it is: with its name in even rounds, without in odd ones.
    fn address(&self, round: usize) -> Multiaddr {
        let address = self.0.addresses()[0].clone();
        if round.is_multiple_of(2) { address } else { address.without_p2p() }
    }

    /// Stops it; it has blamed nobody.
    fn stop(self) {
        let Self(net, node, events) = self;
        weir::block_on(node.shutdown(Duration::from_secs(5)));
        while let Some(event) = events.next_blocking() {
            let blames = matches!(event, Event::Fault { .. } | Event::KeyUsedTwice { .. });
            assert!(!blames, "{} says {event:?}", net.peer_id());
        }
    }
}

/// Runs both at the same moment.
fn at_once<T: Send>(one: impl FnOnce() -> T + Send, other: impl FnOnce() -> T + Send) -> (T, T) {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            barrier.wait();
            one()
        });
        barrier.wait();
        let other = other();
        (one.join().unwrap(), other)
    })
}

#[test]
fn connecting_to_a_peer_that_is_kept_takes_part_in_its_dial() {
    for round in 0..ROUNDS {
        let server = Running::start(builder());
        let address = server.address(round);
        let client = Running::start(builder().peer(&address));
        let id = server.0.peer_id();
        assert_eq!(weir::block_on(client.0.connect(&address)), Ok(id), "round {round}");
        assert_eq!(weir::block_on(client.0.connect(&address)), Ok(id), "a link that is there is the answer");
        assert_eq!(weir::block_on(client.0.wait_for_peers(1)).unwrap()[0].peer, id);
        client.stop();
        server.stop();
    }
}

#[test]
fn two_nodes_that_connect_to_each_other_at_once_both_succeed() {
    for round in 0..ROUNDS {
        let (one, other) = (Running::start(builder()), Running::start(builder()));
        let (to_one, to_other) = (one.address(round), other.address(round / 2));
        let connected =
            at_once(|| weir::block_on(one.0.connect(&to_other)), || weir::block_on(other.0.connect(&to_one)));
        assert_eq!(connected, (Ok(other.0.peer_id()), Ok(one.0.peer_id())), "round {round}");
        one.stop();
        other.stop();
    }
}

#[test]
fn two_tasks_that_connect_to_one_peer_at_once_share_a_dial() {
    for round in 0..ROUNDS {
        let (client, server) = (Running::start(builder()), Running::start(builder()));
        let (named, bare) = (server.address(0), server.address(1));
        let connected = at_once(
            || weir::block_on(client.0.connect(&named)),
            || weir::block_on(client.0.connect(if round.is_multiple_of(2) { &named } else { &bare })),
        );
        let id = server.0.peer_id();
        assert_eq!(connected, (Ok(id), Ok(id)), "round {round}");
        client.stop();
        server.stop();
    }
}

/// A port of loopback where nobody is.
fn nowhere() -> Multiaddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    Multiaddr::from_quic(socket.local_addr().unwrap())
}

#[test]
fn an_unreachable_peer_is_told_of_with_its_address_the_reason_and_the_next_try() {
    let mut config = weir::Config::default();
    config.node.dial.timeout = Duration::from_millis(300);
    let (named, bare) =
        (nowhere().with_p2p(Keypair::ed25519_from_seed([7; 32]).peer_id()).unwrap(), nowhere());
    let (net, _node, ()) = weir::start(builder().peers([&named, &bare]).config(config)).unwrap();
    let events = net.events();
    let mut told = Vec::new();
    while told.len() < 2 {
        let event = weir::block_on(net.within(Duration::from_secs(20), events.next())).unwrap();
        if let Some(Event::Unreachable { peer, addresses, next, .. }) = event {
            assert!(next.is_some_and(|next| next > weir::Instant::ZERO), "it is kept, so it is tried again");
            told.push((peer, addresses));
        }
    }
    told.sort();
    assert_eq!(told, [(None, vec![bare]), (named.peer_id(), vec![named])]);
}

#[test]
fn a_peer_address_that_cannot_be_dialled_fails_at_start_as_what_it_is() {
    let key = Keypair::ed25519_from_seed([5; 32]);
    let own = nowhere().with_p2p(key.peer_id()).unwrap();
    let refused = |address: &dyn Fn(Builder) -> Builder, says: &str| {
        let builder = Network::builder(Keypair::ed25519_from_seed([5; 32]), NetworkId([1; 32]));
        let error = weir::start(address(builder)).map(|_| ()).unwrap_err();
        assert!(matches!(error, StartError::PeerAddress(_)), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    };
    refused(&|builder| builder.peer("nonsense"), "`nonsense`");
    refused(&|builder| builder.peer("/ip4/127.0.0.1"), "/ip4/127.0.0.1");
    refused(&|builder| builder.peer("/ip4/127.0.0.1/udp/1"), "/udp/1");
    refused(&|builder| builder.peer("/memory/7"), "outside a cluster");
    refused(&|builder| builder.peer(&own), "this node's own");
    let v6 = "/ip6/2001:db8::1/udp/1/quic-v1";
    refused(&|builder| builder.listen("127.0.0.1:0").peer(v6), "no IPv6 socket");
    let both = Running::start(builder().listen("0.0.0.0:0").peer(v6)); // this system may have no IPv6: then it is told
    both.stop();
    let error = weir::start(builder().listen("nonsense")).map(|_| ()).unwrap_err();
    assert!(matches!(error, StartError::ListenAddress(_)), "{error:?}");

    let (net, _node, ()) = weir::start(builder()).unwrap();
    let kept = weir::block_on(net.peers().keep("/ip4/127.0.0.1/udp/1"));
    assert!(matches!(kept, Err(weir::PeerError::Address(_))), "{kept:?}");
    let connected = weir::block_on(net.connect("nonsense"));
    assert!(matches!(connected, Err(weir::ConnectError::Address(_))), "{connected:?}");
}

#[test]
fn a_socket_address_can_stand_for_an_address() {
    let server = Running::start(builder());
    let (_, socket): (_, SocketAddr) = server.0.addresses()[0].socket_addr().unwrap();
    assert_eq!(socket.to_address(), socket.to_string().to_address());
    let client = Running::start(builder());
    assert_eq!(weir::block_on(client.0.connect(socket)), Ok(server.0.peer_id()));
    client.stop();
    server.stop();
}

#[test]
fn a_ban_of_a_prefix_is_told_and_holds_in_the_next_run() {
    let server = || {
        let mut config = weir::Config::default();
        config.node.admission.exempt.clear();
        Running::start(builder().config(config))
    };
    let (first, client) = (server(), Running::start(hasty()));
    let prefix: weir::Prefix = "127.0.0.0/8".parse().unwrap();
    let told = || loop {
        match first.2.next_blocking() {
            Some(Event::PrefixBan { prefix: whose, ban }) => break (whose, ban),
            event => assert!(event.is_some(), "the node has stopped"),
        }
    };
    weir::block_on(first.0.peers().ban(prefix, Duration::from_secs(3600))).unwrap();
    let (whose, ban) = told();
    assert_eq!((whose, ban.map(|ban| ban.network)), (prefix, Some(prefix)));
    weir::block_on(first.0.peers().unban(prefix)).unwrap();
    assert_eq!(told(), (prefix, None));
    first.stop();

    let next = server();
    assert_eq!(weir::block_on(client.0.connect(next.address(0))), Ok(next.0.peer_id()));
    weir::block_on(next.0.peers().restore_ban(ban.unwrap())).unwrap();
    let life = || loop {
        match client.2.next_blocking() {
            Some(Event::Rtt { .. }) => {} // it may be measured before the link ends
            event => break event,
        }
    };
    assert!(matches!(life(), Some(Event::PeerUp { .. })));
    assert!(matches!(life(), Some(Event::PeerDown { .. })));
    let refused = weir::block_on(client.0.connect(next.address(0)));
    assert!(matches!(refused, Err(ConnectError::Failed(_))), "{refused:?}");
}

#[test]
fn bans_are_listed_while_they_hold() {
    let (node, peer) = (Running::start(builder()), Keypair::ed25519_from_seed([9; 32]).peer_id());
    let prefix: weir::Prefix = "192.0.2.0/24".parse().unwrap();
    let bans = || weir::block_on(node.0.peers().bans()).unwrap();
    assert_eq!(bans(), []);
    let hour = Duration::from_secs(3600);
    for whom in [weir::Banned::from(prefix), peer.into()] {
        weir::block_on(node.0.peers().ban(whom, hour)).unwrap();
    }
    let all: Vec<_> = bans().iter().map(|ban| ban.whom).collect();
    assert_eq!(all, [weir::Banned::Peer(peer), weir::Banned::Prefix(prefix)]);
    assert!(bans().iter().all(|ban| ban.until > node.0.now() && ban.until <= node.0.now() + hour));
    weir::block_on(node.0.peers().unban(peer)).unwrap();
    assert_eq!(bans().len(), 1);
    weir::block_on(node.0.peers().unban(prefix)).unwrap();
    assert_eq!(bans(), []);
    node.stop();
}

#[test]
fn bans_hold_for_addresses_and_prefixes_too() {
    let mut config = weir::Config::default();
    config.node.admission.exempt.clear();
    let (server, client) = (Running::start(builder().config(config)), Running::start(hasty()));
    let address = server.address(0);
    let hour = Duration::from_secs(3600);
    let ip: std::net::IpAddr = "127.0.0.1".parse().unwrap();
    for whom in [weir::Banned::from(ip), "127.0.0.0/8".parse::<weir::Prefix>().unwrap().into()] {
        assert_eq!(weir::block_on(client.0.connect(&address)), Ok(server.0.peer_id()));
        weir::block_on(server.0.peers().ban(whom, hour)).unwrap();
        loop {
            match client.2.next_blocking() {
                Some(Event::PeerDown { .. }) => break,
                event => assert!(event.is_some(), "the node has stopped"),
            }
        }
        let refused = weir::block_on(client.0.connect(&address));
        assert!(matches!(refused, Err(ConnectError::Failed(_))), "{whom:?}: {refused:?}");
        weir::block_on(server.0.peers().unban(whom)).unwrap();
    }
    assert_eq!(weir::block_on(client.0.connect(&address)), Ok(server.0.peer_id()));
}
