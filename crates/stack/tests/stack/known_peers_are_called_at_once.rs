//! Calls to a peer that is being dialled: they wait for the link, and what may be replayed goes along with the handshake where
//! the peer is known (0-RTT).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use weir_base::multiaddr::Multiaddr;
use weir_pull::ChannelId;
use weir_stack::{
    Channel, Command, Config, DialProblem, Event, Profile, Refused, Shape, Target, Ticket, call,
};

use crate::net::{CALL, Carrier, Net, config, profile};

const SAFE: ChannelId = ChannelId(9);
const SECOND: Duration = Duration::from_secs(1);

fn node() -> Config {
    let method = call::Config { replay_safe: true, ..call::Config::default() };
    let mut profile: Profile = profile();
    profile.channels.push(Channel {
        id: SAFE,
        name: "safe".into(),
        version: 1,
        oldest: 1,
        shape: Shape::Call(method),
    });
    Config { profile, ..config() }
}

/// Node 0 was linked to node 1 and is gone again; both remember.
fn acquainted(client: Config, server: Config) -> Net {
    let mut net = Net::new(Carrier::Quic, 3);
    net.add(client);
    net.add(server);
    let addresses = vec![net.address(1)];
    dial(&mut net, addresses);
    net.run_for(SECOND);
    assert!(net.are_peers(0, 1));
    let peer = net.nodes[1].peer;
    net.command(0, Command::Disconnect(peer));
    net.run_for(SECOND * 8);
    net.nodes.iter_mut().for_each(|node| node.events.clear());
    net
}

fn dial(net: &mut Net, addresses: Vec<Multiaddr>) -> Ticket {
    let peer = Some(net.nodes[1].peer);
    net.command(0, Command::Dial { peer, addresses })
}

fn call(net: &mut Net, channel: ChannelId) -> Result<Ticket, Refused> {
    let target = Target::Peer(net.nodes[1].peer);
    let request = Bytes::from_static(b"?");
    net.try_command(0, Command::CallTarget { channel, target, request, deadline: None })
}

/// What became of calls: when each was answered, in round trips since the start, or why not; and how often each channel ran.
#[derive(Debug, Default)]
struct Outcome {
    answered: BTreeMap<Ticket, Result<u128, call::CallError>>,
    ran: BTreeMap<ChannelId, u32>,
}

/// Runs for a while; node 1 answers at once whatever comes.
fn watch(net: &mut Net, pause: Duration) -> Outcome {
    let (begun, trip) = (net.now, net.delay * 2);
    let mut outcome = Outcome::default();
    net.run_until(begun + pause, |net| {
        while let Some((channel, ticket)) = net.take(1, |event| match event {
            Event::Call(channel, call::Event::Request { ticket, .. }) => Some((*channel, *ticket)),
            _ => None,
        }) {
            *outcome.ran.entry(channel).or_default() += 1;
            let response = Ok(Bytes::from_static(b"!"));
            let answer = call::Command::Answer { ticket, at: net.now, response };
            net.pull(1, weir_pull::Command::Call(channel, answer));
        }
        while let Some((ticket, result)) = net.take(0, |event| match event {
            Event::Answer { ticket, result, left: 0, .. } => Some((*ticket, result.clone())),
            _ => None,
        }) {
            let trips = (net.now - begun).as_millis() / trip.as_millis();
            let before = outcome.answered.insert(ticket, result.map(|_| trips));
            assert!(before.is_none(), "answered twice");
        }
        false
    });
    outcome
}

/// Dials and calls both methods at once: round trips to the answers of the one that may be replayed, and of the other.
fn both(net: &mut Net, addresses: Vec<Multiaddr>) -> (u128, u128, Outcome) {
    dial(net, addresses);
    let (safe, other) = (call(net, SAFE).unwrap(), call(net, CALL).unwrap());
    let outcome = watch(net, SECOND * 3);
    let trips = |ticket: Ticket| outcome.answered[&ticket].unwrap();
    (trips(safe), trips(other), outcome)
}

#[test]
fn the_first_answer_of_a_known_peer_takes_one_round_trip_and_of_a_stranger_two() {
    let mut strangers = Net::new(Carrier::Quic, 3);
    strangers.add(node());
    strangers.add(node());
    let addresses = vec![strangers.address(1)];
    let (safe, other, _) = both(&mut strangers, addresses);
    assert_eq!((safe, other), (2, 2));

    let mut net = acquainted(node(), node());
    let addresses = vec![net.address(1)];
    let (safe, other, outcome) = both(&mut net, addresses);
    assert_eq!((safe, other), (1, 2), "what may not be replayed waits for the handshake");
    assert_eq!(outcome.ran, BTreeMap::from([(SAFE, 1), (CALL, 1)]));
    for node in [0, 1] {
        assert_eq!(net.nodes[node].stack.stats().link.early_accepted, 1);
        assert_eq!(net.nodes[node].stack.stats().faults, 0);
    }
    assert!(net.are_peers(0, 1));
}

#[test]
fn nothing_goes_along_with_a_handshake_where_either_side_does_not_want_it() {
    let without = || {
        let mut config = node();
        config.quic.early = false;
        config
    };
    for (client, server) in [(without(), node()), (node(), without())] {
        let mut net = acquainted(client, server);
        let addresses = vec![net.address(1)];
        let (safe, other, _) = both(&mut net, addresses);
        assert_eq!((safe, other), (2, 2));
        assert_eq!(net.nodes[1].stack.stats().link.early_accepted, 0);
    }
}

#[test]
fn what_a_server_refuses_early_is_sent_again_and_runs_once() {
    let mut net = acquainted(node(), node());
    net.restart(1, node()); // it has forgotten its sessions
    let addresses = vec![net.address(1)];
    let (safe, other, outcome) = both(&mut net, addresses);
    assert_eq!((safe, other), (2, 2));
    assert_eq!(outcome.ran, BTreeMap::from([(SAFE, 1), (CALL, 1)]));
    let link = net.nodes[0].stack.stats().link;
    assert_eq!((link.early_accepted, link.early_refused), (0, 1));
    assert!(net.are_peers(0, 1));
}

#[test]
fn what_went_along_with_a_handshake_that_came_to_nothing_goes_another_way() {
    let mut net = acquainted(node(), node());
    let addresses = vec![net.address(7), net.address(1)]; // nobody is at the first
    let (_, _, outcome) = both(&mut net, addresses);
    assert_eq!(outcome.ran, BTreeMap::from([(SAFE, 1), (CALL, 1)]));
    assert!(net.are_peers(0, 1));
}

#[test]
fn a_call_ends_with_a_dial_that_fails_and_one_to_nobody_is_refused() {
    let mut net = acquainted(node(), node());
    assert_eq!(call(&mut net, SAFE), Err(Refused::NoPeer));
    let addresses = vec![net.address(7)];
    let dialled = dial(&mut net, addresses);
    let (safe, other, late) =
        (call(&mut net, SAFE).unwrap(), call(&mut net, CALL).unwrap(), call(&mut net, CALL).unwrap());
    net.command(0, Command::CancelTarget(late));
    let outcome = watch(&mut net, SECOND * 15);
    let failed = net.take(0, |event| match event {
        Event::DialFailed { ticket, reason: DialProblem::Link(_) } => Some(*ticket),
        _ => None,
    });
    assert_eq!(failed, Some(dialled));
    let answer = |ticket| outcome.answered[&ticket];
    // A call's own deadline is as long as the dial's: either may come first.
    assert!(matches!(answer(safe), Err(call::CallError::LinkDown | call::CallError::Timeout)), "{outcome:?}");
    assert!(matches!(answer(other), Err(call::CallError::NoLink | call::CallError::Timeout)), "{outcome:?}");
    assert!(!outcome.answered.contains_key(&late));
    assert!(outcome.ran.is_empty());
}

#[test]
fn a_call_that_waits_too_long_for_a_link_is_dropped_and_counted() {
    let mut net = acquainted(node(), node());
    let (peer, addresses) = (net.nodes[1].peer, vec![net.address(7)]); // nobody is there
    dial(&mut net, addresses);
    let brief = |channel| {
        let (target, request) = (Target::Peer(peer), Bytes::from_static(b"?"));
        Command::CallTarget { channel, target, request, deadline: Some(SECOND) }
    };
    let calls = [net.command(0, brief(SAFE)), net.command(0, brief(CALL))];
    let outcome = watch(&mut net, SECOND * 2);
    for ticket in calls {
        assert_eq!(outcome.answered[&ticket], Err(call::CallError::Timeout));
    }
    assert_eq!(net.nodes[0].stack.stats().expired, 1, "the other went along with the handshake");
}
