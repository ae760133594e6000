use super::*;
use crate::actor::Actor;
use crate::flood::{TXS, pool_channel, transaction};
use crate::host::Host;
use crate::model::{Model, Place};
use crate::network::{Network, Setup};

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);

/// Two nodes near each other on a path of this model, linked or not.
fn pair(model: Model) -> Network {
    let mut setup = Setup::new(2, 1, 3, vec![pool_channel()]);
    setup.model = model;
    setup.place = |_, _| Place::NEAR;
    Network::new(setup).unwrap()
}

fn linked() -> Network {
    let mut network = pair(Model::calm());
    assert!(network.link_up());
    network.run(Duration::from_secs(1), |_, _, _| {});
    network
}

fn insert(network: &mut Network, items: u32) {
    for number in 0..items {
        let taken = network.host.with(A, |actor, now| actor.insert(now, TXS, transaction(number, 1)));
        assert_eq!(taken, Some(true));
    }
}

fn system(host: &mut Host<Actor>, id: NodeId) -> (&World, &mut System) {
    (&host.world, &mut host.computers[id.index()].system)
}

#[test]
fn what_waits_for_its_window_waits_for_the_path_once_that_is_silent() {
    let mut network = linked();
    insert(&mut network, 200);
    let limit = network.host.now() + Duration::from_secs(1);
    let wire = loop {
        let ends = &system(&mut network.host, A).1.wires.ends;
        let waits = ends.iter().find(|(_, end)| !end.sends.waiting.is_empty()).map(|(wire, _)| *wire);
        if let Some(wire) = waits {
            break wire;
        }
        assert!(network.host.step(limit).is_some(), "more than a window is sent");
    };
    let (world, system) = system(&mut network.host, A);
    assert_eq!(system.wires.ends.get(&wire).unwrap().sends.stuck, None);
    system.paths.set_to(B, Path::Silent);
    system.release(world, wire);
    assert_eq!(
        system.wires.ends.get(&wire).unwrap().sends.stuck,
        Some(system.now),
        "it is tried again from now on"
    );
    assert_eq!(system.record.drops.of(Reason::Path), 1);
    system.release(world, wire);
    assert_eq!(system.record.drops.of(Reason::Path), 1, "once");
}

#[test]
fn frames_beyond_what_may_wait_for_a_node_are_dropped_with_their_wire() {
    let mut network = linked();
    network.host.computer(B).hang();
    let full = bytes::Bytes::from(vec![0; 16 * 1024]);
    let (_, busy) = system(&mut network.host, B);
    let wire = *busy.wires.ends.keys().next().unwrap();
    for _ in 0..=16 * 1024 {
        busy.arrive(wire, Arrived::Frame(wire, Frame::Data { stream: 0, bytes: full.clone() }));
    }
    assert_eq!(busy.record.drops.of(Reason::Buffer), 0);
    insert(&mut network, 1);
    network.host.run(Duration::from_secs(1));
    let (_, busy) = system(&mut network.host, B);
    assert_eq!((busy.record.drops.of(Reason::Buffer), busy.wires.ends.len()), (1, 0));
}

#[test]
fn what_systems_say_about_a_wire_is_counted_where_it_is_lost() {
    let lossy = Model { loss_per_million: 500_000, ..Model::calm() }; // the most that the model loses: every second
    let mut network = pair(lossy);
    let (world, system) = system(&mut network.host, A);
    (0..100).for_each(|dial| system.dial_wire(world, weir_stack::DialId(dial), B.0.into()));
    let asked = system.record.drops.of(Reason::Lost);
    assert!((20..80).contains(&asked), "what asks for a wire, until it is said again: {asked} of 100");
    let wires: Vec<u64> = system.wires.ends.keys().copied().collect();
    wires.into_iter().for_each(|wire| system.signal(world, wire, Signal::Close));
    let closed = system.record.drops.of(Reason::Lost) - asked;
    assert!(closed > 20, "and an end, each time that it is said: {closed}");
}

#[test]
fn what_is_said_about_a_wire_to_a_node_without_power_is_counted_there() {
    let mut network = pair(Model::calm());
    network.host.computer(B).power_off();
    network.dial(A, B);
    network.host.run(Duration::from_millis(500));
    assert_eq!(network.host.drops(B).of(Reason::Down), 1);
}
