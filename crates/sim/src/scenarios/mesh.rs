//! Nodes that all name each other, as validators do: they dial at once, or up to three round trips apart, so that most pairs
//! set up two links. Then all of them restart at once, and one after the other, with goodbye. One link of each pair stays,
//! and nobody did anything wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_base::Instant;
use weir_stack::{Command, Event};

use super::{Measured, Run, RunError};
use crate::actor::Note;
use crate::flood::pool_channel;
use crate::host::{Node as _, NodeId, Step};
use crate::network::Network;

/// Rounds: in each all nodes start, and stop in the end.
const ROUNDS: u32 = 12;

/// Of the longest round trip of the model, how far apart nodes start: 0, 1, 2, 3, in turn over the rounds.
const ROUND_TRIP: Duration = Duration::from_millis(280);

/// Within this time every link is to be there.
const LINKED: Duration = Duration::from_secs(10);

/// After that, what is left of second links may end.
const SETTLED: Duration = Duration::from_secs(8);

/// What a node may take for its goodbyes.
const GOODBYES: Duration = Duration::from_secs(2);

/// A mesh and what is seen of it.
struct Mesh {
    network: Network,
    all: Vec<NodeId>,
    up: BTreeMap<(NodeId, NodeId), Instant>, // since when one is linked to another
    slowest: Duration,
    missing: u64,
}

pub(super) fn run(run: &Run<'_>) -> Result<Measured, RunError> {
    let network = Network::new(run.setup(run.nodes, 0, vec![pool_channel()]))?;
    let all: Vec<NodeId> = network.host.ids().collect();
    let mut mesh = Mesh { network, all, up: BTreeMap::new(), slowest: Duration::ZERO, missing: 0 };
    for round in 0..ROUNDS {
        mesh.start(ROUND_TRIP * (round % 4));
        mesh.settle(SETTLED);
        if round % 2 == 1 {
            mesh.restart_each()?;
        }
        mesh.stop(&mesh.all.clone());
        for id in mesh.all.clone() {
            mesh.network.restart(id)?;
        }
    }
    let faults = mesh.network.faults.len();
    let bans = mesh.network.faults.iter().filter(|seen| seen.banned).count();
    let mut problems = Vec::new();
    if let Some(first) = mesh.network.faults.first() {
        problems
            .push(format!("honest nodes blamed each other {faults} times, at first for: {}", first.fault));
    }
    if bans > 0 {
        problems.push(format!("honest nodes banned each other {bans} times"));
    }
    if mesh.missing > 0 {
        problems.push(format!("{} links were missing", mesh.missing));
    }
    Ok(Measured {
        figures: vec![
            ("bans", bans as f64),
            ("links_missing", mesh.missing as f64),
            ("slowest_link_ms", mesh.slowest.as_secs_f64() * 1000.0),
        ],
        problems,
        ..Measured::of(mesh.network)
    })
}

impl Mesh {
    /// All nodes learn of each other, each at a random time within `spread`, and link.
    fn start(&mut self, spread: Duration) {
        let begin = self.network.host.now();
        for id in self.all.clone() {
            let later = self.network.rng.up_to(spread);
            self.network.host.timer(begin + later, id.0.into());
        }
        self.watch(spread + LINKED, Self::is_whole);
        let last = self.up.values().max().copied().unwrap_or(begin);
        self.slowest = self.slowest.max(last.since(begin + spread));
    }

    /// One after the other stops and comes back.
    fn restart_each(&mut self) -> Result<(), RunError> {
        for id in self.all.clone() {
            self.stop(&[id]);
            self.network.restart(id)?;
            let now = self.network.host.now();
            self.network.host.timer(now, id.0.into());
            self.watch(LINKED, Self::is_whole);
            self.slowest = self.slowest.max(self.network.host.now().since(now));
        }
        self.settle(SETTLED);
        Ok(())
    }

    /// These say goodbye at once, and end.
    fn stop(&mut self, which: &[NodeId]) {
        for id in which {
            self.network.host.with(*id, |actor, now| {
                // refused where it is ending already
                drop(actor.stack().command(now, Command::Shutdown { deadline: GOODBYES }));
            });
        }
        self.watch(GOODBYES, |_| false);
        for id in which {
            self.network.host.computer(*id).crash();
            self.up.retain(|(one, other), _| one != id && other != id);
        }
    }

    /// Lets time pass, and counts the links that are not there at its end.
    fn settle(&mut self, pause: Duration) {
        self.watch(pause, |_| false);
        let pairs = self.all.len() * (self.all.len() - 1);
        self.missing += (pairs - self.up.len()) as u64;
    }

    fn is_whole(&self) -> bool {
        self.up.len() == self.all.len() * (self.all.len() - 1)
    }

    /// Lets time pass until `done`, and notes who is linked.
    fn watch(&mut self, pause: Duration, done: impl Fn(&Self) -> bool) {
        let limit = self.network.host.now() + pause;
        while !done(self) {
            let Some(step) = self.network.host.step(limit) else { return };
            if let Step::Timer(number) = step {
                let id = NodeId(u32::try_from(number).unwrap_or(u32::MAX));
                let others: Vec<NodeId> = self.all.iter().copied().filter(|other| *other != id).collect();
                // its book has room for all: `missing` would tell otherwise
                drop(self.network.name(id, &others));
                continue;
            }
            for (id, note) in self.network.notes(step) {
                self.note(id, &note);
            }
        }
    }

    fn note(&mut self, id: NodeId, note: &Note) {
        let now = self.network.host.now();
        match note {
            Note::Told(Event::PeerUp { info, .. }) => {
                if let Some(other) = self.network.of_peer(&info.peer) {
                    self.up.entry((id, other)).or_insert(now);
                }
            }
            Note::Told(Event::PeerDown { peer, .. }) => {
                if let Some(other) = self.network.of_peer(peer)
                    && !self.network.linked(id, other)
                {
                    self.up.remove(&(id, other));
                }
            }
            _ => {}
        }
    }
}
