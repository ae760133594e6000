//! One run, from the first node's start to the comparison of the stores.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use weir::{Blame, Event};
use weir_chain::{AccountId, Genesis, SigningKey, Transfer};
use weir_sim::Rng;

use super::blame::Blames;
use super::crash::{Crash, Step};
use super::feed::Feed;
use super::fleet::{Fleet, Plan, Reports};
use super::folder::Folder;
use super::load::Load;
use super::progress::{Progress, Reached};
use super::report::{Ended, Report};
use super::rows::{Row, Traffic};
use super::source::Source;
use super::view::{Picture, View};
use super::watch::Watch;
use super::{Options, folder, graph, hostile, interval};
use crate::error::Failure;
use crate::output::note;
use crate::signals::Signals;

/// Pause between two looks at the nodes.
const TICK: Duration = Duration::from_millis(5);
/// Transactions submitted in one tick, at most, so that the view keeps moving.
const BURST: usize = 500;

/// Runs a devnet to its end. A run that began has a report, also where it failed or was stopped.
pub(crate) fn run(options: &Options, signals: &Signals) -> Result<Report, Failure> {
    if let Some(left) = folder::left_behind() {
        note(&left);
    }
    let source = match &options.txs {
        Some(path) => Source::from_file(path, signals)?,
        None => Source::Made,
    };
    let (mean, rate) = (source.mean_len(), options.rate);
    let block_ms = options.block_ms.unwrap_or_else(|| interval::fitting(rate, mean));
    let options = &Options { block_ms: Some(block_ms), ..options.clone() };
    let overfull = interval::overfull(rate, mean, block_ms);
    if let Some(overfull) = &overfull {
        note(overfull);
    }
    let folder = Folder::make()?;
    let set = Set { options, block_ms, overfull };
    let result = Devnet::start(set, signals, source, folder.path()).map(Devnet::finish);
    let failure = match &result {
        Ok(report) => report.failure(),
        Err(failure) => Some(failure),
    };
    if options.keep || failure.is_some_and(|failure| matches!(failure, Failure::Run(_))) {
        note(&format!("the stores are kept in {}", folder.keep().display()));
    }
    result
}

/// What a run was told, and what follows from it.
struct Set<'a> {
    options: &'a Options,
    block_ms: u64,
    /// What to tell where blocks cannot hold the rate.
    overfull: Option<String>,
}

struct Devnet<'a> {
    set: Set<'a>,
    signals: &'a Signals,
    begun: Instant,
    fleet: Fleet,
    feed: Feed,
    crash: Crash,
    resubmission: Resubmission,
    watch: Watch,
    tally: Tally,
    blames: Blames,
    view: View,
    _hostile: Option<hostile::Running>, // runs until the run is over
}

/// What was submitted while a node may still be killed, and what of it was submitted again.
#[derive(Default)]
struct Resubmission {
    kept: Vec<(usize, Transfer)>,
    again: usize,
}

/// Counters beside those of running nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Fault events of every kind but *incompatible*.
    pub(crate) faults: u64,
    /// Observations and events of nodes that were lost before they were read.
    pub(crate) unobserved: u64,
    /// Bytes received by nodes that were killed.
    pub(crate) wire: u64,
    /// Their transaction channels.
    pub(crate) traffic: Traffic,
    /// Transactions submitted again elsewhere.
    pub(crate) resubmitted: usize,
}

impl<'a> Devnet<'a> {
    fn start(set: Set<'a>, signals: &'a Signals, source: Source, folder: &Path) -> Result<Self, Failure> {
        let begun = Instant::now();
        let options = set.options;
        let mut rng = Rng::from_number(options.seed);
        let producer = SigningKey::from_bytes(&rng.bytes());
        // One set of accounts more than nodes: a node that was killed signs with fresh ones afterwards.
        let (keys, mut balances) = Load::balances(options.nodes + 1, &mut rng);
        let hostile = options.hostile.map(|what| hostile::Plan::new(what, &mut rng.child("hostile")));
        balances.extend(hostile.as_ref().map(hostile::Plan::balance));
        let genesis = Genesis::new("devnet", AccountId::of(&producer), set.block_ms, &balances)
            .map_err(|error| Failure::run(format!("genesis: {error}")))?;
        let mut plans: Vec<Plan> = (0..options.nodes)
            .map(|node| {
                let port = options.port.map_or(0, |port| port + u16::try_from(node).unwrap_or(0));
                let listens = (options.transport.of(node), port);
                Plan::new(rng.bytes(), listens, folder.join(format!("node-{node}.redb")))
            })
            .collect();
        for (plan, dials) in plans.iter_mut().zip(graph::random(options.nodes, options.degree, &mut rng)) {
            plan.dials = dials;
        }
        if let Some(first) = plans.first_mut() {
            first.producer = Some(producer);
        }
        let network = genesis.id();
        let fleet = Fleet::start(genesis, plans, begun)?;
        let hostile = hostile.map(|plan| plan.start(fleet.genesis(), fleet.addresses())).transpose()?;
        let blames = Blames::new(fleet.peers(), hostile.as_ref().map(hostile::Running::peer));
        let victim = 1 + rng.index(options.nodes - 1);
        let crash = if options.kill_one {
            Crash::Planned { node: victim, height: options.blocks / 3 }
        } else {
            Crash::Never
        };
        let load = Load::new(source, network, keys, rng.child("load"));
        Ok(Self {
            set,
            signals,
            begun,
            fleet,
            feed: Feed::new(load, options.rate),
            crash,
            resubmission: Resubmission::default(),
            watch: Watch::default(),
            tally: Tally::default(),
            blames,
            view: View::new(options),
            _hostile: hostile,
        })
    }

    fn finish(mut self) -> Report {
        let outcome = self.run_until_settled();
        let outcome = self.view.leave().and(outcome);
        let rows = self.rows();
        for (node, reports) in self.fleet.stop() {
            read(&mut self.watch, (&mut self.tally, &mut self.blames), node, &reports);
            self.tally.unobserved += reports.lost();
        }
        self.tally.resubmitted = self.resubmission.again;
        // Nodes that were stopped on the way need not agree.
        let stopped = matches!(outcome, Err(Failure::Stopped(_)));
        let ended = Ended {
            audits: (!stopped).then(|| self.fleet.audit()),
            outcome,
            rows,
            overfull: self.set.overfull.take(),
        };
        let wall = self.begun.elapsed();
        Report::new(self.set.options, ended, &self.watch, &self.feed, (self.tally, self.crash.killed(), wall))
    }

    fn run_until_settled(&mut self) -> Result<(), Failure> {
        let mut progress = Progress::new(Duration::from_millis(self.set.block_ms));
        loop {
            self.signals.check()?;
            let now = self.begun.elapsed();
            self.observe();
            if let Some((node, reason)) = self.fleet.failure() {
                return Err(Failure::run(format!("node {node} failed: {reason}")));
            }
            let height = self.height();
            self.submit(now, height)?;
            self.advance_crash(now, height)?;
            self.show(now, height);
            if self.settled(height) {
                return Ok(());
            }
            let (lowest, waiting, ending) = (self.lowest(), self.waiting(), self.ending(height));
            if progress.stalled(now, Reached { height, lowest, waiting, ending }) {
                return Err(Failure::run(format!(
                    "no progress for {} s: the producer is at block {height}, the last node at {lowest}, {waiting} \
                     transactions wait",
                    progress.limit().as_secs()
                )));
            }
            std::thread::sleep(TICK);
        }
    }

    fn height(&self) -> u64 {
        self.fleet.up().next().map_or(0, |(_, running)| running.node.head().height)
    }

    fn lowest(&self) -> u64 {
        self.fleet.up().map(|(_, running)| running.node.head().height).min().unwrap_or(0)
    }

    fn waiting(&self) -> usize {
        self.fleet.up().map(|(_, running)| running.node.waiting()).sum()
    }

    /// Whether load, blocks and crash are done, and only what waits is left.
    fn ending(&self, height: u64) -> bool {
        self.feed.over() && height >= self.set.options.blocks && self.crash.settled()
    }

    /// Whether all of the load is in blocks, and all nodes are at the same tip.
    fn settled(&self, height: u64) -> bool {
        if !(self.ending(height) && self.waiting() == 0 && self.heads() == 1) {
            return false;
        }
        if let Some((_, producer)) = self.fleet.up().next() {
            producer.node.stop_producing();
        }
        self.heads() == 1
    }

    fn heads(&self) -> usize {
        self.fleet.up().map(|(_, running)| running.node.head().hash).collect::<BTreeSet<_>>().len()
    }

    fn observe(&mut self) {
        for (node, running) in self.fleet.up() {
            read(&mut self.watch, (&mut self.tally, &mut self.blames), node, &running.reports);
        }
    }

    /// Submits what is due.
    fn submit(&mut self, now: Duration, height: u64) -> Result<(), Failure> {
        if height + 2 >= self.set.options.blocks {
            self.feed.stop_endless();
        }
        let sets = self.crash.account_sets(self.fleet.len());
        for _ in 0..BURST {
            let Some((due, set, transfer)) = self.feed.next(now, &sets)? else { break };
            let node = self.crash.node_of(set, self.fleet.len());
            self.watch.submitted(*transfer.id(), node, due);
            self.submit_at(node, &transfer)?;
            let at = self.begun.elapsed();
            self.feed.accepted(at);
            self.watch.accepted(at.saturating_sub(due));
            if !self.crash.settled() {
                self.resubmission.kept.push((node, transfer));
            }
        }
        Ok(())
    }

    fn submit_at(&mut self, node: usize, transfer: &Transfer) -> Result<(), Failure> {
        let Some(running) = self.fleet.get(node) else { return Ok(()) };
        let net = running.node.network();
        let Err(error) = net.block_on(running.node.submit(transfer)) else { return Ok(()) };
        Err(match self.fleet.failure() {
            Some((node, reason)) => Failure::run(format!("node {node} failed: {reason}")),
            None => Failure::run(format!("node {node} did not take a transaction: {error}")),
        })
    }

    fn advance_crash(&mut self, now: Duration, height: u64) -> Result<(), Failure> {
        match self.crash.step(now, height) {
            Some(Step::Kill(node)) => {
                if let Some(running) = self.fleet.get(node) {
                    let row = Row::of(node, running);
                    self.tally.wire += row.bytes_in;
                    self.tally.traffic.add(row.traffic);
                }
                if let Some(reports) = self.fleet.kill(node) {
                    read(&mut self.watch, (&mut self.tally, &mut self.blames), node, &reports);
                    self.tally.unobserved += reports.lost();
                }
                self.watch.exclude(node);
                Ok(())
            }
            Some(Step::Restart(node)) => self.fleet.restart(node),
            Some(Step::Resubmit(node)) => self.resubmit(node),
            None => Ok(()),
        }
    }

    /// Submits elsewhere what only the killed node held, in each account's order.
    fn resubmit(&mut self, killed: usize) -> Result<(), Failure> {
        let lost = self.watch.only_at(killed);
        let other = self.fleet.up().map(|(node, _)| node).find(|node| *node != killed).unwrap_or(0);
        for (_, transfer) in
            std::mem::take(&mut self.resubmission.kept).iter().filter(|(node, _)| *node == killed)
        {
            if lost.contains(transfer.id()) {
                self.submit_at(other, transfer)?;
                self.resubmission.again += 1;
            }
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let row =
            |node| self.fleet.get(node).map_or_else(|| Row::down(node), |running| Row::of(node, running));
        (0..self.fleet.len()).map(row).collect()
    }

    fn show(&mut self, now: Duration, height: u64) {
        if !self.view.due(now) {
            return;
        }
        let rows = self.rows();
        self.view.show(&Picture {
            now,
            height,
            submitted: self.watch.submissions(),
            committed: self.watch.commits(),
            left: self.feed.left(),
            committed_per_s: self.watch.committed_per_s(),
            block_age: self.watch.last_block().map(|at| now.saturating_sub(at)),
            rows: &rows,
        });
    }
}

/// Reads what a node reported since the last time.
fn read(watch: &mut Watch, (tally, blames): (&mut Tally, &mut Blames), node: usize, reports: &Reports) {
    while let Ok(observation) = reports.observations.try_recv() {
        let at = reports.zero + Duration::from_nanos(observation.at.as_nanos());
        watch.observed(node, at, observation.what);
    }
    while let Some(event) = reports.events.try_next() {
        if let Event::Fault { fault, peer, .. } = event
            && fault.blame != Blame::Incompatible
        {
            tally.faults += 1;
            if let Some(text) = blames.tell(node, peer, &fault) {
                note(&text);
            }
        }
    }
}
