//! Peers that offer everything first and deliver nothing: 7 of 20 links of each honest node, with new identities three times in the load.
//! An item is late by 0.3 s for each hop at most, no item comes twice, and no link between honest nodes runs out of credit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use weir_stack::permits_used_up;

use super::{Measured, Run, RunError};
use crate::actor::Note;
use crate::flood::{Flood, Load, TXS, pool_channel};
use crate::host::{Node as _, NodeId, Step};
use crate::misbehave::{Withholder, tamper};
use crate::model::Place;
use crate::network::Transport;
use crate::report::nearest_rank;

/// Bodies that a node may get for each transaction.
const BODIES: f64 = 1.05;

/// How much later an item may be for each hop of the graph, in milliseconds.
const LATE_A_HOP: f64 = 300.0;

/// Hostile nodes beside so many honest ones: 7 of 20 links.
const fn hostile_beside(honest: u32) -> u32 {
    (honest * 7).div_ceil(13)
}

fn flood(run: &Run<'_>, honest: u32) -> Result<Flood, RunError> {
    let options = run.options;
    let setup = run.setup(honest + hostile_beside(honest), options.links, vec![pool_channel()]);
    let load = Load {
        rate: options.rate.unwrap_or(Load::default().rate),
        seconds: options.seconds,
        deadline: options.deadline(),
        ..Load::default()
    };
    Ok(Flood::new(setup, load)?)
}

/// When 95 % of honest nodes have an item, in milliseconds.
fn p95(flood: &Flood, honest: u32) -> f64 {
    let latencies = flood.latencies(|id, _| id.0 < honest);
    nearest_rank(&latencies, 95).map_or(f64::INFINITY, |micros| f64::from(micros) / 1000.0)
}

/// Links between two honest nodes on the shortest path, on average over all pairs.
fn mean_hops(flood: &Flood, honest: u32) -> f64 {
    let mut near: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (one, other) in flood.net.edges.iter().filter(|(one, other)| one.0 < honest && other.0 < honest) {
        near.entry(one.0).or_default().push(other.0);
        near.entry(other.0).or_default().push(one.0);
    }
    let mut sum = 0_u32;
    for start in 0..honest {
        let mut hops = BTreeMap::from([(start, 0)]);
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            let next = near.get(&node).into_iter().flatten();
            let so_far = hops.get(&node).copied().unwrap_or(0);
            for next in next {
                if !hops.contains_key(next) {
                    hops.insert(*next, so_far + 1);
                    queue.push_back(*next);
                }
            }
        }
        sum += hops.values().sum::<u32>();
    }
    f64::from(sum) / f64::from(honest * (honest - 1))
}

/// Those who withhold.
struct Hostile {
    now: BTreeMap<NodeId, NodeId>,   // by the places that they took first
    dry: BTreeSet<(NodeId, NodeId)>, // whose permits were used up, and to whom they offer
}

impl Hostile {
    fn new(flood: &mut Flood, honest: u32) -> Self {
        let places: Vec<NodeId> = flood.net.host.ids().filter(|id| id.0 >= honest).collect();
        for id in &places {
            flood.hostile.insert(*id);
            tamper(&mut flood.net, *id, Box::new(Withholder::new(TXS)));
        }
        Self { now: places.into_iter().map(|id| (id, id)).collect(), dry: BTreeSet::new() }
    }

    /// All of them stop; as many new ones take their places and links.
    fn change_identities(&mut self, flood: &mut Flood) -> Result<(), RunError> {
        let edges = flood.net.edges.clone();
        for now in self.now.values_mut() {
            flood.net.host.computer(*now).crash();
            let id = flood.net.add(Place::NEAR)?;
            tamper(&mut flood.net, id, Box::new(Withholder::new(TXS)));
            flood.hostile.insert(id);
            *now = id;
        }
        for (one, other) in edges {
            let place = |id: NodeId| self.now.get(&id).copied().unwrap_or(id);
            if self.now.contains_key(&one) || self.now.contains_key(&other) {
                flood.net.dial(place(one), place(other));
            }
        }
        Ok(())
    }

    /// They know everything at once.
    fn know(&self, flood: &mut Flood, number: u64) {
        let bytes = flood.transaction(u32::try_from(number).unwrap_or(u32::MAX));
        for id in self.now.values() {
            // Refused only where the pool is full: whoever is not offered an item by them gains nothing.
            flood.net.host.with(*id, |actor, now| actor.insert(now, TXS, bytes.clone()));
        }
    }

    /// A node had a turn: to whom can it offer nothing more?
    fn look(&mut self, flood: &mut Flood, id: NodeId) {
        if flood.hostile.contains(&id) {
            return;
        }
        let Some(actor) = flood.net.host.node(id) else { return };
        let peers: Vec<_> = permits_used_up(actor.stack(), TXS).collect();
        self.dry.extend(peers.iter().filter_map(|peer| Some((id, flood.net.of_peer(peer)?))));
    }
}

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    if run.options.transport == Transport::Quic {
        let transport = run.options.transport.as_str();
        return Err(RunError::Sealed { scenario: "withholders", transport });
    }
    let honest = run.nodes;
    let mut alone = flood(run, honest)?;
    alone.run();
    let mut problems: Vec<String> =
        alone.problems().into_iter().map(|problem| format!("without them: {problem}")).collect();
    let (usual, hops) = (p95(&alone, honest), mean_hops(&alone, honest));

    let mut flood = flood(run, honest)?;
    let mut hostile = Hostile::new(&mut flood, honest);
    flood.net.link_up();
    flood.start();
    let each = Duration::from_secs(run.options.seconds.into()) / 3;
    let mut next = flood.net.host.now() + each;
    let limit = flood.deadline();
    while flood.spread_done().is_none() {
        let Some(step) = flood.net.host.step(limit) else { break };
        match step {
            Step::Timer(number) => hostile.know(&mut flood, number),
            Step::Turned(id) => hostile.look(&mut flood, id),
            Step::Network => {}
        }
        flood.advance(step, &mut |_, _, _: &Note| {});
        if flood.net.host.now() >= next && flood.loading() {
            hostile.change_identities(&mut flood)?;
            next = flood.net.host.now() + each;
        }
    }
    problems.extend(flood.problems());
    let (spread, p95) = (flood.spread(), p95(&flood, honest));
    // over frames the checker has counted it, too
    hostile.dry.extend(flood.net.host.served().filter(|served| served.dry).map(|one| (one.from, one.to)));
    let honest_only =
        |(from, to): &&(NodeId, NodeId)| ![from, to].iter().any(|id| flood.hostile.contains(id));
    let dry = hostile.dry.iter().filter(honest_only).count();
    let faults = flood.net.faults_between_honest(&flood.hostile).count();
    if p95 > usual + LATE_A_HOP * hops {
        problems.push(format!("p95 {p95:.1} ms, without them {usual:.1} ms, over {hops:.2} hops"));
    }
    if let Some(bodies) = spread.bodies_per_node.filter(|bodies| *bodies > BODIES) {
        problems.push(format!("{bodies:.3} bodies a transaction and node, at most {BODIES}"));
    }
    if dry > 0 {
        problems.push(format!("{dry} links between honest nodes ran out of credit"));
    }
    if faults > 0 {
        problems.push(format!("honest nodes blamed each other {faults} times"));
    }
    let figures = vec![
        ("p95_ms", p95),
        ("p95_ms_without_them", usual),
        ("mean_hops", hops),
        ("honest_links_out_of_credit", dry as f64),
        ("faults_between_honest", faults as f64),
    ];
    Ok(Measured { spread, figures, problems, ..Measured::of(flood.net) })
}
