//! Calls to one peer, any, some and all with a service.

use std::time::Duration;

use bytes::Bytes;
use weir_base::identity::PeerId;
use weir_stack::{Command, Config, Event, Profile, Refused, Role, Service, Target, call};

use crate::net::{CALL, Carrier, Net, config, profile};

const ARCHIVE: u32 = 9;

fn archive() -> Config {
    let service = Service { id: ARCHIVE, version: 1, payload: Bytes::from_static(b"from 0") };
    Config { profile: Profile { services: vec![service], ..profile() }, ..config() }
}

/// Node 0 knows three peers, of which 1 and 2 offer the service.
fn net(seed: u64) -> Net {
    let mut net = Net::new(Carrier::Frames, seed);
    for config in [config(), archive(), archive(), config()] {
        net.add(config);
    }
    (1..4).for_each(|peer| net.know(0, peer, Role::Persistent));
    net.run_for(Duration::from_secs(2));
    net
}

/// Calls, and answers whatever arrives anywhere with the node's number; who answered what.
fn call(net: &mut Net, target: Target) -> Result<Vec<(PeerId, Bytes)>, Refused> {
    let request = Bytes::from_static(b"who?");
    let command = Command::CallTarget { channel: CALL, target, request, deadline: None };
    let asked = net.try_command(0, command)?;
    net.run_for(Duration::from_secs(1));
    for node in 0..net.nodes.len() {
        while let Some(ticket) = net.take(node, |event| match event {
            Event::Call(CALL, call::Event::Request { ticket, .. }) => Some(*ticket),
            _ => None,
        }) {
            let response = Ok(Bytes::from(vec![u8::try_from(node).unwrap()]));
            let answer = call::Command::Answer { ticket, at: net.now, response };
            net.pull(node, weir_pull::Command::Call(CALL, answer));
        }
    }
    net.run_for(Duration::from_secs(1));
    let (mut answers, mut last) = (Vec::new(), false);
    while let Some((from, result, left)) = net.take(0, |event| match event {
        Event::Answer { ticket, from, result, left } if *ticket == asked => {
            Some((*from, result.clone(), *left))
        }
        _ => None,
    }) {
        assert!(!last, "an answer after the last one");
        last = left == 0;
        answers.push((from, result.unwrap()));
    }
    assert!(last, "the last answer came");
    answers.sort();
    Ok(answers)
}

fn expected(net: &Net, nodes: &[u8]) -> Vec<(PeerId, Bytes)> {
    let answer = |node: &u8| (net.nodes[usize::from(*node)].peer, Bytes::from(vec![*node]));
    let mut all: Vec<_> = nodes.iter().map(answer).collect();
    all.sort();
    all
}

#[test]
fn each_target_reaches_whom_it_names() {
    let mut net = net(1);
    let third = net.nodes[3].peer;
    assert_eq!(call(&mut net, Target::Peer(third)), Ok(expected(&net, &[3])));
    assert_eq!(call(&mut net, Target::All(ARCHIVE)), Ok(expected(&net, &[1, 2])));
    assert_eq!(call(&mut net, Target::Some { service: ARCHIVE, count: 5 }), Ok(expected(&net, &[1, 2])));
    assert_eq!(call(&mut net, Target::Some { service: ARCHIVE, count: 1 }).unwrap().len(), 1);
    assert_eq!(call(&mut net, Target::Any(1234)), Err(Refused::NoPeer));
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..12 {
        reached.extend(call(&mut net, Target::Any(ARCHIVE)).unwrap().into_iter().map(|(peer, _)| peer));
    }
    assert_eq!(reached.len(), 2, "ties are drawn");
}

#[test]
fn what_is_left_of_a_call_can_be_given_up() {
    let mut net = net(3);
    let (target, request) = (Target::All(ARCHIVE), Bytes::from_static(b"?"));
    let asked = net.command(0, Command::CallTarget { channel: CALL, target, request, deadline: None });
    net.run_for(Duration::from_secs(1));
    assert_eq!(net.command(0, Command::CancelTarget(asked)), asked);
    assert_eq!(net.try_command(0, Command::CancelTarget(asked)), Err(Refused::UnknownTicket));
    net.run_for(Duration::from_secs(1));
    for node in [1, 2] {
        let cancelled = net.take(node, |event| match event {
            Event::Call(CALL, call::Event::Cancelled { .. }) => Some(()),
            _ => None,
        });
        assert!(cancelled.is_some(), "node {node} should know");
    }
    net.run_for(Duration::from_secs(20));
    let answer = net.take(0, |event| matches!(event, Event::Answer { .. }).then_some(()));
    assert!(answer.is_none(), "no event follows");
}
