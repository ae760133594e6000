//! One run, from the first node's start to the comparison of the stores.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use weir::{Blame, Event};
use weir_chain::store::{Audit, Store};
use weir_chain::{AccountId, Genesis, SigningKey, Transfer, hex};
use weir_sim::Rng;

use super::fleet::{Plan, Running};
use super::load::{Load, Source};
use super::report::{Report, peak_rss};
use super::view::{Row, View};
use super::watch::Watch;
use super::{Options, graph};
use crate::error::Failure;

/// No progress for so long ends the run.
const STALL: Duration = Duration::from_secs(30);
/// How long a killed node stays away.
const AWAY: Duration = Duration::from_secs(3);
/// Blocks after a kill until what only the killed node held is submitted elsewhere.
const RESUBMIT_AFTER: u64 = 3;
/// Pause between two looks at the nodes.
const TICK: Duration = Duration::from_millis(5);
/// Transactions submitted in one tick, at most, so that the view keeps moving.
const BURST: u64 = 500;

/// Runs a devnet to its end.
pub(crate) fn run(options: &Options) -> Result<Report, Failure> {
    let source = match &options.txs {
        Some(path) => Source::from_file(path)?,
        None => Source::Made,
    };
    let folder = tempfile::Builder::new()
        .prefix("weir-devnet-")
        .tempdir()
        .map_err(|error| Failure::input(format!("cannot make a temporary folder: {error}; set TMPDIR")))?;
    let result = Devnet::start(options, source, folder.path()).and_then(Devnet::finish);
    let failed = match &result {
        Ok(report) => report.problem().is_some(),
        Err(failure) => failure.exit_code() != 2,
    };
    if options.keep || failed {
        let kept = folder.keep();
        crate::note(&format!("the stores are kept in {}", kept.display()));
    }
    result
}

/// What is going on with the node that is to be killed.
#[derive(Debug)]
enum Kill {
    Never,
    At { height: u64, node: usize },
    Away { node: usize, since: Duration, height: u64 },
    Back { node: usize, height: u64 },
    Done { node: usize },
}

struct Devnet<'a> {
    options: &'a Options,
    genesis: Genesis,
    begun: Instant,
    plans: Vec<Plan>,
    nodes: Vec<Option<Running>>,
    load: Load,
    loaded: bool,
    next_due: Duration,
    watch: Watch,
    kill: Kill,
    kept: Vec<(usize, Transfer)>, // what was submitted, while a node may still be killed
    resubmitted: usize,
    faults: u64,
    traffic: Traffic,
    view: View,
}

/// Counters of nodes that have stopped.
#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    bodies: u64,
    duplicates: u64,
    control: u64,
    wire: u64,
}

impl<'a> Devnet<'a> {
    fn start(options: &'a Options, source: Source, folder: &Path) -> Result<Self, Failure> {
        let begun = Instant::now();
        let mut rng = Rng::from_number(options.seed);
        let producer = SigningKey::from_bytes(&rng.bytes());
        // One set of accounts more than nodes: a node that was killed signs with fresh ones afterwards.
        let (keys, balances) = Load::balances(options.nodes + 1, &mut rng);
        let genesis = Genesis::new("devnet", AccountId::of(&producer), options.block_ms, &balances)
            .map_err(|error| Failure::run(format!("genesis: {error}")))?;
        let mut plans: Vec<Plan> = (0..options.nodes)
            .map(|node| {
                let port = options.port.map_or(0, |port| port + u16::try_from(node).unwrap_or(0));
                Plan::new(rng.bytes(), port, folder.join(format!("node-{node}.redb")))
            })
            .collect();
        for (plan, dials) in plans.iter_mut().zip(graph::random(options.nodes, options.degree, &mut rng)) {
            plan.dials = dials;
        }
        if let Some(first) = plans.first_mut() {
            first.producer = Some(producer);
        }
        let mut nodes = Vec::new();
        for plan in &mut plans {
            nodes.push(Some(plan.start(&genesis, begun)?));
        }
        let victim = 1 + rng.index(options.nodes - 1);
        let kill = if options.kill_one {
            Kill::At { height: options.blocks / 3, node: victim }
        } else {
            Kill::Never
        };
        let load = Load::new(source, genesis.id(), keys, rng.child("load"));
        let view = View::new(options);
        let devnet = Self {
            options,
            genesis,
            begun,
            plans,
            nodes,
            load,
            loaded: options.rate == 0,
            next_due: Duration::ZERO,
            watch: Watch::default(),
            kill,
            kept: Vec::new(),
            resubmitted: 0,
            faults: 0,
            traffic: Traffic::default(),
            view,
        };
        for node in 0..options.nodes {
            devnet.dial(node)?;
        }
        Ok(devnet)
    }

    /// Tells a node whom to keep a link to.
    fn dial(&self, node: usize) -> Result<(), Failure> {
        let (Some(plan), Some(Some(running))) = (self.plans.get(node), self.nodes.get(node)) else {
            return Ok(());
        };
        let net = running.node.network();
        for peer in plan.dials.iter().filter_map(|peer| self.plans.get(*peer)) {
            net.block_on(net.keep(peer.multiaddr()))
                .map_err(|error| Failure::run(format!("node {node}: {error}")))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Report, Failure> {
        self.run_until_settled()?;
        self.view.clear();
        let audits = self.stop()?;
        self.report(&audits)
    }

    fn run_until_settled(&mut self) -> Result<(), Failure> {
        let mut progress = (0, 0, Duration::ZERO);
        loop {
            let now = self.begun.elapsed();
            self.observe();
            let height = self.height();
            self.submit(now, height)?;
            self.advance_kill(now, height)?;
            self.show(now, height);
            if self.settled(height) {
                return Ok(());
            }
            let state = (height, self.watch.submissions());
            if state != (progress.0, progress.1) {
                progress = (state.0, state.1, now);
            }
            if now.saturating_sub(progress.2) > STALL {
                let (least, waiting) = (self.lowest(), self.waiting());
                return Err(Failure::run(format!(
                    "no progress for {} s: the producer is at block {height}, the last node at {least}, {waiting} \
                     transactions wait",
                    STALL.as_secs()
                )));
            }
            std::thread::sleep(TICK);
        }
    }

    fn up(&self) -> impl Iterator<Item = (usize, &Running)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| Some((index, node.as_ref()?)))
    }

    fn height(&self) -> u64 {
        self.up().next().map_or(0, |(_, running)| running.node.head().height)
    }

    fn lowest(&self) -> u64 {
        self.up().map(|(_, running)| running.node.head().height).min().unwrap_or(0)
    }

    fn waiting(&self) -> usize {
        self.up().map(|(_, running)| running.node.waiting()).sum()
    }

    /// Whether the load is over, all of it is in blocks, and all nodes are at the same tip.
    fn settled(&self, height: u64) -> bool {
        let quiet = self.loaded && height >= self.options.blocks && self.waiting() == 0;
        let back = matches!(self.kill, Kill::Never | Kill::Done { .. });
        let heads: BTreeSet<_> = self.up().map(|(_, running)| running.node.head().hash).collect();
        if !(quiet && back && heads.len() == 1) {
            return false;
        }
        if let Some((_, producer)) = self.up().next() {
            producer.node.stop_producing();
        }
        let heads: BTreeSet<_> = self.up().map(|(_, running)| running.node.head().hash).collect();
        heads.len() == 1
    }

    fn observe(&mut self) {
        for (index, running) in self.nodes.iter().enumerate() {
            let Some(running) = running else { continue };
            while let Ok(observation) = running.observations.try_recv() {
                let at = running.zero + Duration::from_nanos(observation.at.as_nanos());
                self.watch.observed(index, at, observation.what);
            }
            while let Some(event) = running.events.try_next() {
                if let Event::Fault { fault, peer, .. } = event
                    && fault.blame != Blame::Incompatible
                {
                    self.faults += 1;
                    crate::note(&format!("node {index} blames {peer}: {fault}"));
                }
            }
        }
    }

    /// Submits what is due.
    fn submit(&mut self, now: Duration, height: u64) -> Result<(), Failure> {
        if self.loaded {
            return Ok(());
        }
        if !self.load.ends() && height + 2 >= self.options.blocks {
            self.loaded = true;
            return Ok(());
        }
        let gap = Duration::from_secs(1) / self.options.rate.max(1);
        if self.next_due.is_zero() {
            self.next_due = now;
        }
        let sets = self.account_sets();
        for _ in 0..BURST {
            if self.next_due > now {
                break;
            }
            self.next_due += gap;
            let Some((set, transfer)) = self.load.next(&sets) else {
                self.loaded = true;
                break;
            };
            let node = self.node_of(set);
            self.submit_at(node, &transfer)?;
            if !matches!(self.kill, Kill::Never | Kill::Done { .. }) {
                self.kept.push((node, transfer));
            }
        }
        Ok(())
    }

    /// The account sets in use: one per running node; a node that was killed uses the spare one when it is back.
    fn account_sets(&self) -> Vec<usize> {
        let killed = match self.kill {
            Kill::Never | Kill::At { .. } => None,
            Kill::Away { node, .. } | Kill::Back { node, .. } | Kill::Done { node } => Some(node),
        };
        let spare = matches!(self.kill, Kill::Done { .. }).then_some(self.options.nodes);
        (0..self.options.nodes).filter(|node| Some(*node) != killed).chain(spare).collect()
    }

    fn node_of(&self, set: usize) -> usize {
        match self.kill {
            Kill::Done { node } if set == self.options.nodes => node,
            _ => set,
        }
    }

    fn submit_at(&mut self, node: usize, transfer: &Transfer) -> Result<(), Failure> {
        let Some(Some(running)) = self.nodes.get(node) else { return Ok(()) };
        let net = running.node.network();
        let at = self.begun.elapsed();
        self.watch.submitted(*transfer.id(), node, at);
        net.block_on(running.node.submit(transfer))
            .map_err(|error| Failure::run(format!("node {node} did not take a transaction: {error}")))
    }

    fn advance_kill(&mut self, now: Duration, height: u64) -> Result<(), Failure> {
        match self.kill {
            Kill::At { height: due, node } if height >= due => {
                self.observe();
                if let Some(running) = self.nodes.get_mut(node).and_then(Option::take) {
                    self.count(&running);
                    running.kill();
                }
                self.watch.exclude(node);
                self.kill = Kill::Away { node, since: now, height };
            }
            Kill::Away { node, since, height: killed_at } if now >= since + AWAY => {
                let Some(plan) = self.plans.get_mut(node) else { return Ok(()) };
                let running = plan.start(&self.genesis, self.begun)?;
                if let Some(slot) = self.nodes.get_mut(node) {
                    *slot = Some(running);
                }
                self.dial(node)?;
                self.kill = Kill::Back { node, height: killed_at };
            }
            Kill::Back { node, height: killed_at } if height >= killed_at + RESUBMIT_AFTER => {
                self.resubmit(node)?;
                self.kill = Kill::Done { node };
            }
            _ => {}
        }
        Ok(())
    }

    /// Submits elsewhere what only the killed node held, in each account's order.
    fn resubmit(&mut self, killed: usize) -> Result<(), Failure> {
        let lost = self.watch.only_at(killed);
        let other = self.up().map(|(node, _)| node).find(|node| *node != killed).unwrap_or(0);
        for (_, transfer) in std::mem::take(&mut self.kept).iter().filter(|(node, _)| *node == killed) {
            if lost.contains(transfer.id()) {
                let Some(Some(running)) = self.nodes.get(other) else { continue };
                let net = running.node.network();
                match net.block_on(running.node.submit(transfer)) {
                    Ok(()) => self.resubmitted += 1,
                    Err(error) => {
                        return Err(Failure::run(format!("a transaction could not be resubmitted: {error}")));
                    }
                }
            }
        }
        Ok(())
    }

    fn show(&mut self, now: Duration, height: u64) {
        if !self.view.due(now) {
            return;
        }
        let rows: Vec<Row> = self
            .nodes
            .iter()
            .map(|running| {
                let Some(running) = running else { return Row::down() };
                let net = running.node.network();
                let stats = net.block_on(net.stats()).unwrap_or_default();
                let head = running.node.head();
                Row {
                    up: true,
                    height: head.height,
                    tip: hex(head.hash.get(..4).unwrap_or_default()),
                    links: stats.stack.link.links,
                    pool: running.node.waiting(),
                    bytes_in: stats.stack.link.bytes_in,
                    bytes_out: stats.stack.link.bytes_out,
                    faults: stats.stack.faults,
                }
            })
            .collect();
        self.view.show(now, height, self.watch.submissions(), &rows);
    }

    /// Adds a node's counters to the run's, before it stops.
    fn count(&mut self, running: &Running) {
        let net = running.node.network();
        let Ok(stats) = net.block_on(net.stats()) else { return };
        for (_, pool) in &stats.stack.pools {
            self.traffic.bodies += pool.bodies;
            self.traffic.duplicates += pool.duplicates;
            self.traffic.control += pool.control_bytes;
        }
        self.traffic.wire += stats.stack.link.bytes_in;
    }

    /// Stops all nodes and reads their stores back.
    fn stop(&mut self) -> Result<Vec<Audit>, Failure> {
        self.observe();
        let nodes = std::mem::take(&mut self.nodes);
        for running in nodes.iter().flatten() {
            self.count(running);
        }
        for running in nodes.into_iter().flatten() {
            running.stop();
        }
        let audit = |plan: &Plan| Store::open(&plan.store, &self.genesis)?.audit();
        self.plans.iter().map(audit).collect::<Result<_, _>>().map_err(Failure::run)
    }

    fn report(&self, audits: &[Audit]) -> Result<Report, Failure> {
        let first = audits.first().ok_or_else(|| Failure::run("no node"))?;
        let stores = sets(audits);
        let committed = self.watch.ids().filter(|id| stores.iter().all(|set| set.contains(*id))).count();
        let pairs = (self.watch.submissions() * audits.len()).max(1);
        let (bodies, duplicates) = (self.traffic.bodies, self.traffic.duplicates);
        Ok(Report {
            nodes: audits.len(),
            blocks: first.head.height,
            tips_agree: audits.iter().all(|audit| audit.head == first.head),
            state_agree: audits.iter().all(|audit| audit.state_root == first.state_root),
            tip: hex(&first.head.hash),
            txs_submitted: self.watch.submissions(),
            txs_committed: committed,
            txs_resubmitted: self.resubmitted,
            txs_first_seen_in_block: self.watch.first_seen_in_block,
            tx_bodies_per_node: ratio(bodies, bodies.saturating_sub(duplicates)),
            control_bytes_per_tx_per_node: ratio(self.traffic.control, pairs as u64),
            wire_bytes_per_tx_per_node: ratio(self.traffic.wire, pairs as u64),
            pairs_excluded: self.watch.pairs_excluded(),
            latencies: self.watch.latencies(),
            faults: self.faults,
            rss_bytes: peak_rss(),
            wall_s: self.begun.elapsed().as_secs_f64(),
            killed: match self.kill {
                Kill::Done { node } => Some(node),
                _ => None,
            },
            seed: self.options.seed,
        })
    }
}

fn sets(audits: &[Audit]) -> Vec<BTreeSet<[u8; 32]>> {
    audits.iter().map(|audit| audit.transfers.iter().copied().collect()).collect()
}

#[allow(clippy::cast_precision_loss)] // counters of a run, far below 2^52
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
