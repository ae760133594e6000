//! Nodes that know nobody but a seed, and hear of others by the books of their peers.
//!
//! The stack exchanges no addresses. Here the applications do, as a seed would: a node that wants more links asks one of its
//! peers, and has heard a round trip later of a few of those that this peer is linked to. The load comes once all have found enough
//! others.
//!
//! - In the first half of the load, in each second, one node in twenty leaves for good, and somebody else comes to its place who knows
//!   a seed only.
//! - Then all seeds lose their power, for good.
//! - In the second half one node in twenty leaves in each second, and comes back a second later with its key and the book that its
//!   application kept.
//!
//! Seeds submit nothing, and nobody waits for them. In the end all others are to hold everything, and to be linked with each other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Measured, Run, RunError};
use crate::dials::Dials;
use crate::flood::{Flood, Load, TXS, pool_channel};
use crate::host::{NodeId, Step};
use crate::load::{Graph, seeds_of};
use crate::network::Network;

/// Timers from here on are this scenario's: every half second, with its number.
const TICKS: u64 = 1 << 32;
/// Timers from here on are answers of peers, with their place in the list.
const ANSWERS: u64 = 1 << 33;

/// Pause between two ticks, at each of which a node that wants more links asks one of its peers.
const TICK: Duration = Duration::from_millis(500);
/// Of so many others a peer tells at once.
const TOLD: usize = 8;
/// How long nodes may take to find enough others.
const JOINING: Duration = Duration::from_secs(30);
/// In each second of the load one node in so many leaves.
const LEAVES: u32 = 20;

/// See the module.
struct Discovery {
    seeds: u32,
    wanted: usize,                       // links of a node that has found enough others
    asked: Vec<(NodeId, NodeId)>,        // who asked, and whom
    gone: Vec<NodeId>,                   // they come back in the next second
    kept: BTreeMap<NodeId, Vec<NodeId>>, // the books of these
}

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    let options = run.options;
    let mut setup = run.setup(run.nodes, options.links, vec![pool_channel()]);
    (setup.graph, setup.dials) = (Graph::Seeds, Dials::OneEnd); // seeds do not know who comes
    setup.config.peers.target = options.links;
    let load = Load {
        rate: options.rate.unwrap_or(Load::default().rate),
        seconds: options.seconds,
        deadline: options.deadline(),
        ..Load::default()
    };
    let mut flood = Flood::new(setup, load)?;
    let seeds = seeds_of(run.nodes);
    let others = run.nodes - seeds;
    let wanted = (options.links / 2).min(others.saturating_sub(1)).max(1) as usize;
    flood.hostile = (0..seeds).map(NodeId).collect();
    let mut discovery =
        Discovery { seeds, wanted, asked: Vec::new(), gone: Vec::new(), kept: BTreeMap::new() };
    let mut problems = Vec::new();
    if !flood.net.name_edges() {
        problems.push("some links to seeds did not come up".into());
    }
    let before = discovery.links(&mut flood.net);
    let joined = discovery.join(&mut flood.net);
    if joined.is_none() {
        problems.push("some nodes did not find enough others".into());
    }
    discovery.load(&mut flood, options.seconds)?;
    let (spread, after) = (flood.spread(), discovery.links(&mut flood.net));
    problems.extend(flood.problems());
    let reached = discovery.reached(&mut flood.net);
    if reached < others as usize {
        problems.push(format!("only {reached} of {others} nodes are linked with each other"));
    }
    let median = |links: &[usize]| links.get(links.len() / 2).copied().unwrap_or(0) as f64;
    let mut figures = vec![
        ("links_by_seeds_p50", median(&before)),
        ("links_p50", median(&after)),
        ("links_least", after.first().copied().unwrap_or(0) as f64),
    ];
    figures.extend(joined.map(|joined| ("joined_s", joined.as_secs_f64())));
    Ok(Measured { spread, figures, problems, ..Measured::of(flood.net) })
}

impl Discovery {
    /// The nodes that are no seeds.
    fn others(&self, net: &Network) -> impl Iterator<Item = NodeId> + use<> {
        let seeds = self.seeds;
        net.host.ids().filter(move |id| id.0 >= seeds)
    }

    /// How many links each node has that is no seed, the fewest first.
    fn links(&self, net: &mut Network) -> Vec<usize> {
        let mut links: Vec<usize> = self.others(net).map(|id| net.linked_to(id).len()).collect();
        links.sort_unstable();
        links
    }

    /// Lets nodes ask until each has enough links; how long that took, `None` where it took too long.
    fn join(&mut self, net: &mut Network) -> Option<Duration> {
        let begin = net.host.now();
        net.host.timer(begin, TICKS);
        loop {
            match net.host.step(begin + JOINING)? {
                Step::Timer(number) if number >= ANSWERS => self.answer(net, number - ANSWERS),
                Step::Timer(number) => {
                    if self.links(net).first().is_some_and(|least| *least >= self.wanted) {
                        return Some(net.host.now().since(begin));
                    }
                    self.ask(net);
                    net.host.timer(net.host.now() + TICK, number + 1);
                }
                step => drop(net.notes(step)),
            }
        }
    }

    /// The load, while nodes leave and come.
    fn load(&mut self, flood: &mut Flood, seconds: u32) -> Result<(), RunError> {
        flood.start();
        let begin = flood.net.host.now() + Duration::from_secs(1);
        let limit = flood.deadline();
        flood.net.host.timer(begin, TICKS);
        while flood.spread_done().is_none() {
            let Some(step) = flood.net.host.step(limit) else { break };
            match step {
                Step::Timer(number) if number >= ANSWERS => self.answer(&mut flood.net, number - ANSWERS),
                Step::Timer(number) if number >= TICKS => {
                    let tick = number - TICKS;
                    if tick.is_multiple_of(2) {
                        self.second(flood, u32::try_from(tick / 2).unwrap_or(u32::MAX), seconds)?;
                    }
                    self.ask(&mut flood.net);
                    flood.net.host.timer(flood.net.host.now() + TICK, number + 1);
                }
                other => flood.advance(other, &mut |_, _, _| {}),
            }
        }
        Ok(())
    }

    /// A second of the load begins: who left comes back, and others leave.
    fn second(&mut self, flood: &mut Flood, second: u32, seconds: u32) -> Result<(), RunError> {
        for id in std::mem::take(&mut self.gone) {
            if let Some(book) = self.kept.remove(&id) {
                flood.net.restart_with(id, TXS, Vec::new())?;
                drop(flood.net.learn(id, &book)); // its book is empty
            } else {
                flood.net.replace(id)?;
                flood.net.name_of(id);
            }
        }
        if second == seconds / 2 {
            for seed in 0..self.seeds {
                flood.net.host.computer(NodeId(seed)).power_off();
            }
        }
        if second >= seconds {
            return Ok(());
        }
        let leaves: Vec<NodeId> =
            self.others(&flood.net).filter(|id| id.0 % LEAVES == second % LEAVES).collect();
        for id in &leaves {
            // who comes in the next second finds no seed any more where they are gone by then
            if second + 1 >= seconds / 2 {
                self.kept.insert(*id, flood.net.linked_to(*id));
            }
            flood.net.host.computer(*id).crash();
            flood.lost(*id);
        }
        self.gone = leaves;
        Ok(())
    }

    /// Who wants more links asks one of its peers, by chance.
    fn ask(&mut self, net: &mut Network) {
        for id in net.host.ids() {
            let peers = net.linked_to(id);
            if peers.is_empty() || peers.len() >= 2 * self.wanted {
                continue;
            }
            let peer = peers[net.rng.index(peers.len())];
            let answered = net.host.now() + net.host.world().round_trip(id, peer);
            net.host.timer(answered, ANSWERS + self.asked.len() as u64);
            self.asked.push((id, peer));
        }
    }

    /// An answer has come: a few of those that the peer is linked to, by chance.
    fn answer(&mut self, net: &mut Network, number: u64) {
        let asked = usize::try_from(number).ok().and_then(|number| self.asked.get(number));
        let Some((id, peer)) = asked.copied() else { return };
        if !net.linked(id, peer) {
            return;
        }
        let mut told = net.linked_to(peer);
        told.retain(|other| *other != id);
        net.rng.shuffle(&mut told);
        told.truncate(TOLD);
        drop(net.learn(id, &told)); // a full book forgets who did not answer
    }

    /// How many nodes, of those that are no seeds, are reached from one of them over links among them: the most there are.
    fn reached(&self, net: &mut Network) -> usize {
        let Some(first) = self.others(net).next() else { return 0 };
        let (mut reached, mut next) = (std::collections::BTreeSet::from([first]), vec![first]);
        while let Some(id) = next.pop() {
            let linked = net.linked_to(id).into_iter().filter(|other| other.0 >= self.seeds);
            next.extend(linked.filter(|other| reached.insert(*other)));
        }
        reached.len()
    }
}
