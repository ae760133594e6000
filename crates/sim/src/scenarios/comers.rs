//! Comers and goers. One identity that comes again 140 times in three seconds takes at most two places. 200 candidates of a peer that leaves
//! delay an honest peer's next item no more than had it stayed. A second after 24 peers left that had delivered what takes ten seconds to
//! check, an honest peer has all that it asks for. And, over QUIC, first packets from 64 addresses of one group do not keep an honest peer out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use weir_stack::{Command, Event};

use super::{Measured, Run, RunError};
use crate::actor::{Checking, Note};
use crate::dials::Dials;
use crate::flood::{TXS, number_of, pool_channel, pool_of, transaction};
use crate::host::{Node as _, NodeId, Step};
use crate::model::Place;
use crate::network::{Network, Setup, Transport};

const NODE: NodeId = NodeId(0);
const COMER: NodeId = NodeId(1);
const HONEST: NodeId = NodeId(2);

/// How often the same identity comes, and how long after it came the last time.
const COMINGS: u32 = 140;
const AGAIN: Duration = Duration::from_millis(21);

/// What one that comes says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comer {
    /// Hello, as anybody: its newest link is used before the next one comes, and the one before ends.
    Speaks,
    /// Nothing: over frames it has its link, and hangs when it has asked for it. Then only a third link ends one of two.
    Hangs,
}

/// In this time a dial has left, and no wire is open.
const DIALLED: Duration = Duration::from_micros(100);

/// What the peer that leaves has delivered, what one check takes, and how far the checks are when it leaves.
const DELIVERED: u32 = 200;
const CHECK: Duration = Duration::from_millis(10);
const LEAVES_AFTER: Duration = Duration::from_secs(1);

/// Peers that deliver so many items each, and leave together.
const LEAVERS: u32 = 24;
const OF_EACH: u32 = 40;
/// An honest peer publishes an item so often: it asks for a fifth of the checking time.
const EVERY: Duration = Duration::from_millis(50);
/// A second after the others left, its items a second are counted for so many seconds.
const COUNTED: u32 = 2;

/// First packets of handshakes that never go on.
const FIRST_PACKETS: u16 = 64;

/// Three nodes in one local network, not linked.
fn setup(run: &Run<'_>) -> Setup {
    let mut setup = run.setup(3, 0, vec![pool_channel()]);
    setup.place = |_, _| Place { site: Some(1), ..Place::NEAR };
    setup.dials = Dials::OneEnd; // who comes is nobody that the node dials
    setup
}

/// The most places that one identity had at once, and whether an honest peer found one afterwards.
fn comings(run: &Run<'_>, comer: Comer) -> Result<(Network, u64, bool), RunError> {
    let mut network = Network::new(setup(run))?;
    let mut most = 0;
    for _ in 0..COMINGS {
        network.dial(COMER, NODE);
        if comer == Comer::Hangs {
            network.run(DIALLED, |_, _, _| {});
            network.host.computer(COMER).hang();
        }
        let limit = network.host.now() + AGAIN;
        while let Some(step) = network.host.step(limit) {
            network.notes(step);
            if step == Step::Turned(NODE)
                && let Some(actor) = network.host.node(NODE)
            {
                most = most.max(actor.stack().stats().link.links);
            }
        }
        network.host.computer(COMER).power_off();
        network.restart(COMER)?;
    }
    network.dial(HONEST, NODE);
    network.run(Duration::from_secs(2), |_, _, _| {});
    let found = network.linked(NODE, HONEST);
    Ok((network, most, found))
}

/// How long an honest peer's item takes after another has delivered 200, which stays or leaves.
fn after_delivery(
    run: &Run<'_>,
    leaves: bool,
    problems: &mut Vec<String>,
) -> Result<Option<Duration>, RunError> {
    let mut setup = setup(run);
    setup.checking = Checking::After(CHECK);
    if let Some(pool) = pool_of(&mut setup.config) {
        pool.checking = 1;
    }
    let mut network = Network::new(setup)?;
    network.edges = vec![(COMER, NODE), (HONEST, NODE)];
    if !network.link_up() {
        return Ok(None);
    }
    let seed = run.options.seed;
    for number in 0..DELIVERED {
        let bytes = transaction(number, seed);
        // a pool has room for all: the honest item alone is waited for
        network.host.with(COMER, |actor, now| actor.insert(now, TXS, bytes));
    }
    network.run(LEAVES_AFTER, |_, _, _| {});
    if leaves && let Some(peer) = network.host.world().peer(NODE) {
        let leave = Command::Disconnect(peer);
        network.host.with(COMER, |actor, now| drop(actor.stack().command(now, leave)));
        network.run(Duration::from_millis(50), |_, _, _| {});
    }
    let begun = network.host.now();
    let bytes = transaction(DELIVERED, seed);
    network.host.with(HONEST, |actor, now| actor.insert(now, TXS, bytes));
    let limit = begun + run.options.deadline();
    while let Some(step) = network.host.step(limit) {
        for (id, note) in network.notes(step) {
            let Note::Accepted { bytes, .. } = note else { continue };
            if id == NODE && number_of(&bytes) == Some(DELIVERED) {
                problems.extend(network.problems());
                return Ok(Some(network.host.now().since(begun)));
            }
        }
    }
    Ok(None)
}

/// How many items a second of an honest peer are accepted, from a second after many peers left whose items wait for checks of 10 ms.
fn after_many_left(run: &Run<'_>, problems: &mut Vec<String>) -> Result<f64, RunError> {
    let mut setup = run.setup(2 + LEAVERS, 0, vec![pool_channel()]);
    setup.place = |_, _| Place { site: Some(1), ..Place::NEAR };
    setup.checking = Checking::After(CHECK);
    if let Some(pool) = pool_of(&mut setup.config) {
        pool.checking = 1;
    }
    let mut network = Network::new(setup)?;
    let others = (1..2 + LEAVERS).map(NodeId);
    network.edges = others.clone().map(|other| (other, NODE)).collect();
    if !network.link_up() {
        return Ok(0.0);
    }
    let (seed, leavers) = (run.options.seed, others.filter(|other| *other != HONEST));
    for (leaver, first) in leavers.clone().zip((0..).step_by(OF_EACH as usize)) {
        for number in first..first + OF_EACH {
            let bytes = transaction(number, seed);
            network.host.with(leaver, |actor, now| actor.insert(now, TXS, bytes));
        }
    }
    network.run(LEAVES_AFTER, |_, _, _| {});
    if let Some(peer) = network.host.world().peer(NODE) {
        for leaver in leavers {
            let leave = Command::Disconnect(peer);
            network.host.with(leaver, |actor, now| drop(actor.stack().command(now, leave)));
        }
    }
    let (left, first) = (network.host.now(), LEAVERS * OF_EACH);
    let (from, until) = (left + Duration::from_secs(1), left + Duration::from_secs(1 + u64::from(COUNTED)));
    let (mut number, mut accepted) = (first, 0);
    while network.host.now() < until {
        let bytes = transaction(number, seed);
        network.host.with(HONEST, |actor, now| actor.insert(now, TXS, bytes));
        number += 1;
        network.run(EVERY, |network, id, note| {
            let Note::Accepted { bytes, .. } = note else { return };
            let counts = id == NODE && network.host.now() >= from;
            accepted += u32::from(counts && number_of(&bytes).is_some_and(|number| number >= first));
        });
    }
    problems.extend(network.problems());
    Ok(f64::from(accepted) / f64::from(COUNTED))
}

/// First packets of as many handshakes, as the network saw them.
fn first_packets(network: &mut Network) -> Result<Vec<Vec<u8>>, RunError> {
    network.host.capture();
    for _ in 0..FIRST_PACKETS {
        network.dial(COMER, NODE);
        network.run(Duration::from_micros(100), |_, _, _| {});
        network.host.computer(COMER).power_off();
        network.restart(COMER)?;
    }
    let all = network.host.capture();
    Ok(all
        .into_iter()
        .filter(|sent| sent.to == NODE && sent.bytes.len() >= 1200)
        .map(|sent| sent.bytes)
        .collect())
}

/// While first packets come from one group of addresses, in how long an honest peer of another is linked.
fn flooded(run: &Run<'_>, problems: &mut Vec<String>) -> Result<Option<Duration>, RunError> {
    let mut network = Network::new(setup(run))?;
    let packets = first_packets(&mut network)?;
    network.run(Duration::from_secs(15), |_, _, _| {}); // nothing is left of these
    let mut round = 0_u16;
    let mut dialled = None;
    while round < 300 {
        for (packet, index) in packets.iter().zip(0_u8..) {
            let from = IpAddr::V4(Ipv4Addr::new(198, 18, index, 1));
            network.host.inject(SocketAddr::new(from, 1024 + round), NODE, packet);
        }
        if round == 50 {
            network.dial(HONEST, NODE);
            dialled = Some(network.host.now());
        }
        let mut up = false;
        network.run(Duration::from_millis(10), |network, id, note| {
            let hello = matches!(&note, Note::Told(Event::PeerUp { info, .. }) if network.of_peer(&info.peer) == Some(HONEST));
            up |= id == NODE && hello;
        });
        if up {
            problems.extend(network.problems());
            return Ok(dialled.map(|dialled| network.host.now().since(dialled)));
        }
        round += 1;
    }
    Ok(None)
}

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    let (network, most, found) = comings(run, Comer::Speaks)?;
    let (hanging, silent, silent_found) = comings(run, Comer::Hangs)?;
    let mut problems = hanging.problems();
    for (most, found) in [(most, found), (silent, silent_found)] {
        if most > 2 {
            problems.push(format!("one identity took {most} places"));
        }
        if !found {
            problems.push("an honest peer found no place".into());
        }
    }
    let [stays, leaves] = [false, true].map(|leaves| after_delivery(run, leaves, &mut problems));
    let (stays, leaves) = (stays?, leaves?);
    let millis = |pause: Option<Duration>| pause.map_or(f64::INFINITY, |pause| pause.as_secs_f64() * 1000.0);
    if millis(leaves) > millis(stays) + 50.0 || stays.is_none() {
        problems.push(format!(
            "an item took {leaves:?} after a delivery and a leave, {stays:?} had the peer stayed"
        ));
    }
    let served = after_many_left(run, &mut problems)?;
    if served < 0.9 / EVERY.as_secs_f64() {
        problems.push(format!("an honest peer had {served} items a second after {LEAVERS} peers left"));
    }
    let mut figures = vec![
        ("places_of_one_identity", most as f64),
        ("places_of_one_silent_identity", silent as f64),
        ("item_ms_after_a_delivery", millis(stays)),
        ("item_ms_after_a_leave", millis(leaves)),
        ("items_per_s_after_many_left", served),
    ];
    if run.options.transport == Transport::Quic {
        let linked = flooded(run, &mut problems)?;
        figures.push(("linked_ms_under_first_packets", millis(linked)));
        if linked.is_none_or(|linked| linked > Duration::from_secs(2)) {
            problems
                .push(format!("an honest peer was linked after {linked:?} under a flood of first packets"));
        }
    }
    Ok(Measured { figures, problems, ..Measured::of(network) })
}
