//! A network under a load of transactions, and what is measured of it.
//!
//! The load goes to random honest nodes at an even rate; every honest node is to have every transaction in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use weir_base::Instant;
use weir_base::codec::Malformed;
use weir_pull::ChannelId;
use weir_stack::pool::{self, Rules, Summary};
use weir_stack::{Channel, Config, ConfigError, Shape};

use crate::actor::{Note, Told};
use crate::check::PoolTraffic;
use crate::deliveries::Deliveries;
use crate::host::{NodeId, Step};
use crate::load::HEAD;
pub use crate::load::{invalid, is_invalid, number_of, transaction};
use crate::network::{Network, Setup};
use crate::report::{Percentiles, nearest_rank};

/// The pool channel of floods.
pub const TXS: ChannelId = ChannelId(1);

/// Between the last link and the first transaction.
const SETTLING: Duration = Duration::from_secs(1);

/// When transactions come, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// One after equal pauses, each at a random node.
    Even,
    /// Independently of each other (Poisson), half of them at the first tenth of the nodes.
    Bursts,
}

/// How much load, and how long to wait for all to have it.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Transactions per virtual second, over the whole network. Default: 100.
    pub rate: u32,
    /// Virtual seconds. Default: 10.
    pub seconds: u32,
    /// When they come. Default: evenly.
    pub arrivals: Arrivals,
    /// Virtual time after the last submission within which all honest pools should agree. Default: 60 s.
    pub deadline: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self { rate: 100, seconds: 10, arrivals: Arrivals::Even, deadline: Duration::from_secs(60) }
    }
}

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    at: Instant,
    pool: PoolTraffic,
    wire_in: u64,
}

/// A flood: a network, its load, and what came of it.
pub struct Flood {
    /// The network.
    pub net: Network,
    /// Nodes that are not honest: they get no load, and nobody waits for them.
    pub hostile: BTreeSet<NodeId>,
    load: Load,
    deliveries: Deliveries,
    first: Mark,
    last_submitted: Instant,
    converged: Option<Mark>,
}

/// What a flood came to.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// Transactions submitted.
    pub submitted: u64,
    /// Bodies received per pair.
    pub bodies_per_node: Option<f64>,
    /// Control bytes per transaction and node.
    pub control_bytes: Option<f64>,
    /// All bytes per transaction and node.
    pub wire_bytes: f64,
    /// From the last submission until all had all.
    pub converged: Option<Duration>,
    /// Over all pairs.
    pub latency: Option<Percentiles>,
    /// Pairs that are not.
    pub missing: u64,
}

/// The pool channel of floods: transactions as [`transaction`] makes them, the default limits of pools.
pub fn pool_channel() -> Channel {
    Channel { id: TXS, name: "tx".into(), version: 1, oldest: 1, shape: Shape::Pool(pool_config()) }
}

/// The limits of the pool of floods.
pub fn pool_config() -> pool::Config {
    pool::Config::new(Rules { summarize, judge })
}

fn summarize(bytes: &Bytes) -> Result<Summary, Malformed> {
    let priority = bytes.get(HEAD - 1..HEAD).ok_or(Malformed::Truncated)?;
    Summary::new(priority)
}

#[allow(clippy::unnecessary_wraps)] // the shape of a rule
fn judge(summary: &Summary) -> Option<u64> {
    summary.as_slice().first().map(|priority| u64::from(*priority))
}

impl Flood {
    /// A network of honest nodes, not yet linked.
    ///
    /// # Errors
    /// [`ConfigError`] of the stack's configuration.
    pub fn new(setup: Setup, load: Load) -> Result<Self, ConfigError> {
        let net = Network::new(setup)?;
        Ok(Self {
            net,
            hostile: BTreeSet::new(),
            load,
            deliveries: Deliveries::default(),
            first: Mark::default(),
            last_submitted: Instant::ZERO,
            converged: None,
        })
    }

    /// Links all nodes, runs the load, and waits until all agree or the deadline has passed.
    pub fn run(&mut self) {
        self.run_with(|_, _, _| {});
    }

    /// As [`run`](Self::run); `on` sees every step's notes, after they were counted.
    pub fn run_with(&mut self, mut on: impl FnMut(&mut Self, NodeId, &Note)) {
        self.net.link_up();
        self.start();
        let limit = self.last_submitted + self.load.deadline;
        while self.converged.is_none() {
            let Some(step) = self.net.host.step(limit) else { break };
            self.advance(step, &mut on);
        }
    }

    /// As [`run`](Self::run), node by node on the setup's threads: for thousands of nodes. The same for any number of threads.
    pub fn run_in_windows(&mut self) {
        self.net.link_up_in_windows();
        let seed = self.net.setup().seed;
        for id in self.net.host.ids() {
            if let Some(actor) = self.net.host.node(id) {
                actor.set_load(TXS, seed);
            }
        }
        for (number, (origin, at)) in self.schedule().into_iter().enumerate() {
            self.net.host.computer(origin).plan(at, number as u64);
        }
        self.first = self.mark();
        let limit = self.last_submitted + self.load.deadline;
        while self.converged.is_none() {
            let Some(told) = self.net.window(limit) else { break };
            for (id, notes) in told {
                self.hear(id, notes, &mut |_, _, _| {});
            }
            self.settle();
        }
        self.net.host.end_windows();
    }

    /// Who submits which transaction when.
    pub(crate) fn schedule(&mut self) -> Vec<(NodeId, Instant)> {
        let honest: Vec<NodeId> = self.net.host.ids().filter(|id| !self.hostile.contains(id)).collect();
        let begin = self.net.host.now() + SETTLING;
        let count = self.load.rate * self.load.seconds;
        let pause = Duration::from_secs(1) / self.load.rate.max(1);
        let mut plan: Vec<(NodeId, Instant)> = Vec::new();
        for number in 0..count {
            let (range, at) = match self.load.arrivals {
                Arrivals::Even => (honest.len(), begin + pause * number),
                Arrivals::Bursts => {
                    let few = self.net.rng.chance(1, 2);
                    let whole = Duration::from_secs(self.load.seconds.into());
                    let at = begin + self.net.rng.up_to(whole);
                    (if few { honest.len().div_ceil(10) } else { honest.len() }, at)
                }
            };
            plan.push((honest[self.net.rng.index(range)], at));
        }
        plan.sort_by_key(|(_, at)| *at);
        self.last_submitted = plan.last().map_or(begin, |(_, at)| *at);
        self.deliveries = Deliveries::new(plan.iter().map(|(origin, _)| *origin), self.net.host.len());
        plan
    }

    /// Plans the load from now on, by timers of the driver.
    pub fn start(&mut self) {
        for (number, (_, at)) in self.schedule().into_iter().enumerate() {
            self.net.host.timer(at, number as u64);
        }
        self.first = self.mark();
    }

    /// Counts what a step brought.
    pub fn advance(&mut self, step: Step, on: &mut impl FnMut(&mut Self, NodeId, &Note)) {
        if let Step::Timer(number) = step {
            let Some(id) = u32::try_from(number).ok().and_then(|number| self.submit(number)) else { return };
            return self.told(id, on);
        }
        if let Step::Turned(id) = step {
            self.told(id, on);
        }
    }

    /// When all had all, once they have.
    pub fn spread_done(&self) -> Option<Instant> {
        self.converged.map(|mark| mark.at)
    }

    /// The transactions that a node has had so far: what its application would have kept.
    pub fn held(&self, id: NodeId) -> Vec<Bytes> {
        let numbers = self.deliveries.numbers();
        let held = numbers.filter(|number| self.deliveries.has(id, *number));
        held.map(|number| self.transaction(number)).collect()
    }

    /// A node crashed and its application kept nothing: it is to get everything once more, but for what no other node had yet.
    pub fn lost(&mut self, id: NodeId) {
        self.deliveries.lost(id);
    }

    /// When the run ends though not all have all.
    pub fn deadline(&self) -> Instant {
        self.last_submitted + self.load.deadline
    }

    /// Whether transactions are still to come.
    pub fn loading(&self) -> bool {
        self.net.host.now() < self.last_submitted
    }

    /// The transaction that is submitted when this number's timer is advanced: always the same bytes.
    pub fn transaction(&self, number: u32) -> Bytes {
        transaction(number, self.net.setup().seed)
    }

    fn told(&mut self, id: NodeId, on: &mut impl FnMut(&mut Self, NodeId, &Note)) {
        let notes = self.net.notes_at(id);
        self.hear(id, notes, on);
    }

    fn hear(&mut self, id: NodeId, notes: Told, on: &mut impl FnMut(&mut Self, NodeId, &Note)) {
        for (at, note) in notes {
            match &note {
                Note::Accepted { bytes, .. } => {
                    if let Some(number) = number_of(bytes) {
                        self.accepted(id, at, number);
                    }
                }
                Note::Planned { number, inserted } => {
                    self.was_due(id, at, u32::try_from(*number).unwrap_or(u32::MAX), *inserted);
                }
                _ => {}
            }
            on(self, id, &note);
        }
    }

    fn submit(&mut self, number: u32) -> Option<NodeId> {
        let now = self.net.host.now();
        if number == 0 {
            self.first = self.mark();
        }
        let bytes = self.transaction(number);
        let origin = self.deliveries.origin(number)?;
        self.net.host.computer(origin).trace_driver(&bytes);
        let inserted = self.net.host.with(origin, |actor, now| actor.insert(now, TXS, bytes));
        self.was_due(origin, now, number, inserted == Some(true));
        self.settle();
        Some(origin)
    }

    fn was_due(&mut self, origin: NodeId, at: Instant, number: u32, inserted: bool) {
        self.deliveries.was_due(origin, number, inserted.then_some(at));
    }

    fn accepted(&mut self, id: NodeId, now: Instant, number: u32) {
        if self.hostile.contains(&id) {
            return;
        }
        let checked = self.net.host.world().checks(id);
        self.deliveries.accepted(id, now, number, u64::from(checked));
        self.settle();
    }

    /// Whether all is over.
    fn settle(&mut self) {
        if self.converged.is_none() && self.deliveries.are_all(self.receivers()) {
            self.converged = Some(self.mark());
        }
    }

    /// Nodes that are to get what one of them submits.
    fn receivers(&self) -> u64 {
        (self.net.host.len() - self.hostile.len()) as u64 - 1
    }

    fn mark(&mut self) -> Mark {
        let honest: Vec<NodeId> = self.net.host.ids().filter(|id| !self.hostile.contains(id)).collect();
        let checked: Vec<NodeId> =
            honest.into_iter().filter(|id| self.net.host.world().checks(*id)).collect();
        let pool = self.net.pool_traffic(checked.into_iter());
        let host = &self.net.host;
        Mark { at: host.now(), pool, wire_in: host.ids().map(|id| host.traffic(id).wire_in()).sum() }
    }

    /// Latencies of all pairs for whose transaction and node `which` holds, sorted, in microseconds.
    pub fn latencies(&self, which: impl FnMut(NodeId, u32) -> bool) -> Vec<u32> {
        self.deliveries.latencies(which)
    }

    /// A percentile of the latency of all pairs, in milliseconds; nearest rank.
    pub fn latency(&self, percent: usize) -> Option<f64> {
        nearest_rank(&self.latencies(|_, _| true), percent).map(|micros| f64::from(micros) / 1000.0)
    }

    /// What came of it.
    pub fn spread(&mut self) -> Spread {
        let end = match self.converged {
            Some(mark) => mark,
            None => self.mark(),
        };
        let (bodies, stream) =
            (end.pool.bodies - self.first.pool.bodies, end.pool.stream_bytes - self.first.pool.stream_bytes);
        let body_bytes = end.pool.body_bytes - self.first.pool.body_bytes;
        let honest = self.net.host.ids().filter(|id| !self.hostile.contains(id));
        let (nodes, checked) = honest.fold((0_u64, 0_u64), |(nodes, checked), id| {
            (nodes + 1, checked + u64::from(self.net.host.world().checks(id)))
        });
        let per = |bytes: u64, nodes: u64| {
            let count = u64::from(self.deliveries.submitted()) * nodes;
            bytes as f64 / count.max(1) as f64
        };
        let (readable, pairs) = (stream > 0, self.deliveries.checked());
        let missing = self.deliveries.missing(self.receivers());
        Spread {
            submitted: self.deliveries.submitted().into(),
            bodies_per_node: (readable && pairs > 0).then(|| bodies as f64 / pairs as f64),
            control_bytes: readable.then(|| per(stream - body_bytes, checked)),
            wire_bytes: per(end.wire_in - self.first.wire_in, nodes),
            converged: self.converged.map(|mark| mark.at.since(self.last_submitted)),
            latency: Percentiles::of(&mut self.latencies(|_, _| true), missing),
            missing,
        }
    }

    /// What went wrong, in sentences: those of [`Network::problems`], and where the nodes do not agree.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.net.problems();
        if self.converged.is_none() {
            problems.push("the nodes did not agree by the deadline".into());
        }
        problems
    }

    /// The pairs that are still missing, at most `most` of them.
    pub fn missing(&self, most: usize) -> Vec<(NodeId, u32)> {
        let honest = self.net.host.ids().filter(|id| !self.hostile.contains(id));
        let pairs = honest.flat_map(|id| self.deliveries.numbers().map(move |number| (id, number)));
        pairs.filter(|(id, number)| self.deliveries.lacks(*id, *number)).take(most).collect()
    }
}

/// The configuration of a flood's nodes, to change before [`Flood::new`].
pub fn pool_of(config: &mut Config) -> Option<&mut pool::Config> {
    config.profile.channels.iter_mut().find_map(|channel| match &mut channel.shape {
        Shape::Pool(pool) => Some(pool),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses between transactions, the shortest first.
    fn pauses(arrivals: Arrivals) -> Vec<Duration> {
        let load = Load { arrivals, rate: 100, seconds: 5, ..Load::default() };
        let mut flood = Flood::new(Setup::new(2, 1, 1, vec![pool_channel()]), load).unwrap();
        let plan = flood.schedule();
        let mut pauses: Vec<Duration> = plan.windows(2).map(|pair| pair[1].1.since(pair[0].1)).collect();
        pauses.sort_unstable();
        pauses
    }

    #[test]
    fn transactions_in_bursts_come_independently_of_each_other() {
        let even = pauses(Arrivals::Even);
        assert_eq!((even.len(), even[0], even[498]), (499, even[498], Duration::from_millis(10)));
        // of a Poisson process 39 % of all pauses are below half of the mean, and 5 % above three times the mean
        let bursts = pauses(Arrivals::Bursts);
        let count =
            |least, most| bursts.iter().filter(|pause| (least..most).contains(&pause.as_micros())).count();
        let (short, long) = (count(0, 5_000), count(30_000, u128::MAX));
        assert!(
            (150..250).contains(&short) && (10..50).contains(&long),
            "{short} and {long} of {}",
            bursts.len()
        );
    }
}
