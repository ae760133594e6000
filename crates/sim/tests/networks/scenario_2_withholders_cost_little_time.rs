//! Scenario 2: 7 of 20 links offer everything first and deliver nothing, with new identities again and again: p95 is at
//! most 0.3 s × the graph's mean hops above the baseline, bodies at most 1.05 per node, and no honest link runs out of credit.

use crate::common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use weir_sim::flood::{Flood, TXS};
use weir_sim::misbehave::Withholder;
use weir_sim::report::nearest_rank;
use weir_sim::{Node as _, NodeId, Note, Place, Step};
use weir_stack::{Command, pool};

const HONEST: u32 = 50;
/// 27 of 77 nodes: 7 of 20 links.
const HOSTILE: u32 = 27;

fn flood() -> Flood {
    Flood::new(common::setup(HONEST + HOSTILE, 20, 5), common::load(100, 3, 180)).unwrap()
}

fn p95(flood: &Flood) -> f64 {
    let honest = flood.latencies(|id, _| id.0 < HONEST);
    f64::from(nearest_rank(&honest, 95).unwrap()) / 1000.0
}

/// Links between two honest nodes on the shortest path, on average over all pairs.
fn mean_hops(flood: &Flood) -> f64 {
    let mut near: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (one, other) in flood.net.edges.iter().filter(|(one, other)| one.0 < HONEST && other.0 < HONEST) {
        near.entry(one.0).or_default().push(other.0);
        near.entry(other.0).or_default().push(one.0);
    }
    let mut sum = 0_u32;
    for start in 0..HONEST {
        let mut hops = BTreeMap::from([(start, 0)]);
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for next in &near[&node] {
                if !hops.contains_key(next) {
                    hops.insert(*next, hops[&node] + 1);
                    queue.push_back(*next);
                }
            }
        }
        sum += hops.values().sum::<u32>();
    }
    f64::from(sum) / f64::from(HONEST * (HONEST - 1))
}

/// All hostile nodes stop; as many new ones take their places and links.
fn change_identities(flood: &mut Flood, hostile: &mut BTreeMap<NodeId, NodeId>) {
    let edges = flood.net.edges.clone();
    for now in hostile.values_mut() {
        flood.net.host.computer(*now).crash();
        let id = flood.net.add(Place::NEAR).unwrap();
        flood.net.host.computer(id).tamper(Box::new(Withholder::new(TXS)));
        flood.hostile.insert(id);
        *now = id;
    }
    for (one, other) in edges {
        let place = |id: NodeId| hostile.get(&id).copied().unwrap_or(id);
        if hostile.contains_key(&one) || hostile.contains_key(&other) {
            flood.net.dial(place(one), place(other));
        }
    }
}

#[test]
fn withholders_that_offer_first_cost_little_time_and_no_copies() {
    let mut honest = flood();
    honest.run();
    common::assert_well(&mut honest);
    let (baseline, hops) = (p95(&honest), mean_hops(&honest));

    let mut flood = flood();
    let mut hostile: BTreeMap<NodeId, NodeId> =
        (HONEST..HONEST + HOSTILE).map(NodeId).map(|id| (id, id)).collect();
    for id in hostile.keys() {
        flood.hostile.insert(*id);
        flood.net.host.computer(*id).tamper(Box::new(Withholder::new(TXS)));
    }
    flood.net.link_up();
    flood.start();
    let each = if common::full() { 60_000 } else { 1_000 };
    let mut next = flood.net.host.now() + Duration::from_millis(each);
    let limit = flood.net.host.now() + Duration::from_secs(if common::full() { 260 } else { 30 });
    while flood.spread_done().is_none() {
        let Some(step) = flood.net.host.step(limit) else { break };
        if let Step::Timer(number) = step {
            // those who withhold know everything at once
            let bytes = flood.transaction(u32::try_from(number).unwrap());
            for id in hostile.values().copied().collect::<BTreeSet<_>>() {
                let command = pool::Command::Insert { bytes: bytes.clone() };
                flood.net.host.with(id, |actor, now| {
                    drop(actor.stack().command(now, Command::Pull(weir_pull::Command::Pool(TXS, command))));
                });
            }
        }
        flood.advance(step, &mut |_, _, _: &Note| {});
        if flood.net.host.now() >= next && flood.loading() {
            change_identities(&mut flood, &mut hostile);
            next = flood.net.host.now() + Duration::from_millis(each);
        }
    }
    let spread = flood.spread();
    let p95 = p95(&flood);
    let bodies = spread.bodies_per_node.unwrap();
    println!("p95 {p95:.1} ms, baseline {baseline:.1} ms, mean hops {hops:.2}, bodies {bodies:.4}");
    assert!(spread.converged.is_some(), "missing, at first: {:?}", flood.missing(5));
    assert!(p95 <= baseline + 300.0 * hops, "p95 {p95:.1} ms, baseline {baseline:.1} ms, hops {hops:.2}");
    assert!(bodies <= 1.05, "{bodies}");
    let everybody: BTreeSet<NodeId> = flood.hostile.clone();
    let dry = flood.net.host.served().filter(|served| {
        let honest = ![served.from, served.to].iter().any(|id| everybody.contains(id));
        honest && served.dry
    });
    assert_eq!(dry.count(), 0, "honest links that ran out of credit");
    assert_eq!(flood.net.faults_between_honest(&everybody).count(), 0);
}
