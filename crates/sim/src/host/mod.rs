//! The simulated host: nodes, the network between them, and virtual time, on one thread or several.
//!
//! - [`Host::add`] puts a node in; it gets its [`Birth`]: a seed derived from the run's, where time starts, its addresses;
//! - the driver gives a node's stack commands by [`Host::with`], which then lets the node have its turn;
//! - [`Host::step`] delivers what comes next: a frame, a datagram, a timeout, a change of a wire, or a timer of the driver;
//! - a **turn** drains the node: its events ([`Node::turned`]), then frames and datagrams into the network, then actions.
//!
//! A node costs work only when something happens to it: it has one entry for its next timeout in the queue, moved lazily.
//! Everything random comes from the run's seed, in the order of events, so that the same seed gives the same run.

mod bridge;
mod bridges;
mod by_hand;
mod carry;
mod clock;
mod computer;
mod datagrams;
mod driver;
mod drops;
mod end;
mod handshakes;
mod lane;
mod letters;
mod life;
mod many;
mod node;
mod operator;
mod paths;
mod pipes;
mod process;
mod system;
mod threads;
mod traffic;
mod windows;
mod wires;
mod world;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use weir_base::{Instant, UnixTime};
use weir_stack::{Anchor, Start};

use crate::check::{Checker, Offers, Served, Watch};
pub use crate::id::NodeId;
use crate::model::Model;
use crate::queue::{Key, Queue};
use crate::report::{Spent, Stopwatch};
use crate::trace::Trace;

pub use bridges::Inside;
pub use by_hand::{ByHand, Heard};
use computer::Computer;
pub use computer::Turned;
pub use drops::{Drops, Reason};
use letters::Windows;
use node::earliest;
pub use node::{Birth, Node, Outcome, Step, Tamper, Udp};
pub use operator::ComputerMut;
pub use paths::Path;
pub use process::Work;
pub use traffic::{Captured, DeviceTraffic, NodeTraffic};
pub use world::World;

/// Wall time at which every run starts: 2026-01-01 00:00 UTC.
pub const WALL: UnixTime = UnixTime::from_secs(1_767_225_600);

/// Nodes, the network between them, and virtual time.
pub struct Host<N> {
    now: Instant,
    world: World,
    computers: Vec<Computer<N>>,
    due: BinaryHeap<Reverse<(Instant, u32)>>, // when nodes have something to do; entries may be outdated
    timers: Queue<u64>,                       // of the driver
    planned: u64,                             // timers so far
    injected: u64,
    capturing: bool,
    checker: Option<Checker>,
    windows: Windows,
    is_endless: bool, // a node's turns never end
    spent: Spent,     // what watches took left out
}

/// The driver's timers come before everything that is due at the same time.
const DRIVER: u32 = 0;

impl<N: Node> Host<N> {
    /// No node yet. The same `seed` gives the same run.
    pub fn new(seed: u64, model: Model) -> Self {
        let start = Start { anchor: Anchor::now(), wall: WALL };
        Self {
            now: Instant::ZERO,
            world: World {
                seed,
                start,
                model,
                places: Vec::new(),
                peers: Vec::new(),
                addresses: BTreeMap::new(),
                public: Vec::new(),
                sample: 1,
                stopwatch: None,
            },
            computers: Vec::new(),
            due: BinaryHeap::new(),
            timers: Queue::new(),
            planned: 0,
            injected: 0,
            capturing: false,
            checker: None,
            windows: Windows::default(),
            is_endless: false,
            spent: Spent::default(),
        }
    }

    /// Watches every frame of nodes that are added from now on: see [`Checker`].
    pub fn check(&mut self, checker: Checker) {
        self.checker = Some(checker);
    }

    /// What is granted is checked at one node of so many only, from the next wire on.
    pub fn sample(&mut self, one_of: u32) {
        self.world.sample = one_of.max(1);
    }

    /// From now on it is measured on this clock what the checker takes.
    pub fn measure(&mut self, stopwatch: Stopwatch) {
        self.world.stopwatch = Some(stopwatch);
    }

    /// What part of the run's time was checking so far, in the host; `None` without a clock.
    pub(crate) fn spent(&self) -> Option<Spent> {
        self.world.stopwatch?;
        let watches = self.computers.iter().map(|computer| computer.system.record.checking).sum();
        let mut spent = self.spent;
        spent.add(Spent { all: Duration::ZERO, checking: watches });
        Some(spent)
    }

    /// The checker.
    pub fn checker(&self) -> Option<&Checker> {
        self.checker.as_ref()
    }

    /// Counts from now on how often each index of a node's log is offered to each peer.
    pub fn count_offers(&mut self) {
        watches(&mut self.computers).for_each(Watch::count_offers);
    }

    /// What was offered since it was last asked, where that is counted.
    pub fn take_offers(&mut self) -> Offers {
        let mut all = Offers::default();
        for watch in watches(&mut self.computers) {
            let offers = watch.take_offers();
            all.entries.extend(offers.entries);
            all.moves.extend(offers.moves);
        }
        all
    }

    /// For each open wire, and for each of its ways, how far the receiver was served.
    pub fn served(&self) -> impl Iterator<Item = Served> + '_ {
        let watches = self.computers.iter().filter_map(|computer| computer.system.record.watch.as_ref());
        watches.flat_map(Watch::served)
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Wall time that goes with virtual time.
    pub fn wall(&self) -> UnixTime {
        self.world.start.wall + self.now.since(Instant::ZERO)
    }

    /// The trace hash so far (`docs/simulator.md`), 64 hexadecimal digits.
    pub fn trace_hash(&self) -> String {
        Trace::hex(self.computers.iter().map(|computer| &computer.system.record.trace))
    }

    /// Events delivered so far.
    pub fn events(&self) -> u64 {
        self.computers.iter().map(|computer| computer.system.record.trace.events()).sum()
    }

    /// What all nodes' turns had to do so far.
    pub fn work(&self) -> Work {
        self.computers.iter().map(|computer| computer.process.work).fold(Work::default(), |sum, one| Work {
            turns: sum.turns + one.turns,
            packets: sum.packets + one.packets,
            bytes: sum.bytes + one.bytes,
        })
    }

    /// How many nodes there are, running or not.
    pub fn len(&self) -> usize {
        self.computers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.computers.is_empty()
    }

    /// All nodes' numbers, running or not.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<N> {
        (0..u32::try_from(self.computers.len()).unwrap_or(u32::MAX)).map(NodeId)
    }

    /// A node; `None` where it is not running. What it is given so has no effect until it has a turn: see [`with`](Self::with).
    pub fn node(&mut self, id: NodeId) -> Option<&mut N> {
        self.computers.get_mut(id.index())?.process.node.as_deref_mut()
    }

    /// Gives a node something to do, and then a turn, as soon as it has time. `None` where it is not running.
    pub fn with<R>(&mut self, id: NodeId, act: impl FnOnce(&mut N, Instant) -> R) -> Option<R> {
        let now = self.computers.get(id.index())?.process.clock.local(self.now);
        let done = act(self.node(id)?, now);
        self.turn(id);
        Some(done)
    }

    /// [`Step::Timer`] with this number comes at `due`.
    pub fn timer(&mut self, due: Instant, number: u64) {
        self.planned += 1;
        let key = Key { due: due.max(self.now), from: DRIVER, sequence: self.planned };
        self.timers.push(key, number);
    }

    /// When the next thing comes; `None` where nothing ever will.
    pub fn next(&self) -> Option<Instant> {
        let node = self.due.peek().map(|Reverse((due, _))| *due);
        earliest(node, self.timers.peek().map(|key| key.due))
    }

    /// What all nodes of this host have in common: where they are, and who.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What a node's lines carried so far.
    pub fn traffic(&self, id: NodeId) -> NodeTraffic {
        self.computers.get(id.index()).map(|computer| computer.system.record.traffic).unwrap_or_default()
    }

    /// What did not get through to or from a node so far, and why.
    pub fn drops(&self, id: NodeId) -> Drops {
        self.computers.get(id.index()).map(|computer| computer.system.record.drops).unwrap_or_default()
    }

    /// The node that never came to an end of its turns, where there is one: then nothing happens any more.
    pub fn endless(&self) -> Option<NodeId> {
        let mut computers = self.computers.iter();
        computers.find(|computer| computer.process.idle.endless).map(|computer| computer.system.id)
    }

    /// Lets the next thing happen, at its time. `None` where nothing is due up to `limit`; then time is `limit`. `None` as well
    /// once a node's turns never end: see [`endless`](Self::endless).
    pub fn step(&mut self, limit: Instant) -> Option<Step> {
        loop {
            let node = self.due.peek().map(|Reverse((due, _))| *due);
            let timer = self.timers.peek().map(|key| key.due);
            if earliest(node, timer).is_none_or(|due| due > limit) {
                self.now = self.now.max(limit);
                return None;
            }
            if timer.is_some_and(|timer| node.is_none_or(|node| timer <= node)) {
                let (key, number) = self.timers.pop()?;
                self.now = self.now.max(key.due);
                return Some(Step::Timer(number));
            }
            let Reverse((due, node)) = self.due.pop()?;
            let id = NodeId(node);
            let Some(computer) = self.computers.get_mut(node as usize) else { continue };
            if computer.next() != due {
                continue; // another entry stands for what it has to do now, or it has nothing
            }
            self.now = self.now.max(due);
            computer.system.now = self.now;
            let begun = self.world.stopwatch();
            let turned = computer.advance(&self.world);
            self.settle(id);
            self.spent.all += self.world.since(begun);
            if self.is_endless {
                return None;
            }
            return Some(if turned { Step::Turned(id) } else { Step::Network });
        }
    }

    /// Lets everything happen that comes within `pause`, timers of the driver left out.
    pub fn run(&mut self, pause: Duration) {
        let limit = self.now + pause;
        while self.step(limit).is_some() {}
    }

    /// A turn of one node, outside of events: after a command was given to it directly. Where the node is busy, when it is done.
    pub fn turn(&mut self, id: NodeId) {
        let now = self.now;
        let Some(computer) = self.computers.get_mut(id.index()) else { return };
        computer.system.now = now;
        computer.turn_now(&self.world);
        self.settle(id);
    }

    /// A node was carried out: others get what it has for them, and it is noted when it is to be looked at next.
    fn settle(&mut self, id: NodeId) {
        self.windows.deliver(&mut self.computers);
        let Some(computer) = self.computers.get_mut(id.index()) else { return };
        computer.arrived();
        let mut out = computer.system.agenda.take_out();
        let next = computer.next();
        self.windows.next[id.index()] = next;
        self.is_endless |= computer.process.idle.endless;
        if let Some(checker) = &mut self.checker {
            let begun = self.world.stopwatch();
            let changes = computer.system.record.changes.drain(..);
            changes.for_each(|(_, to, change)| checker.apply(to, &change));
            self.spent.checking += self.world.since(begun);
        }
        if next != Instant::FAR {
            self.due.push(Reverse((next, id.0)));
        }
        for parcel in out.drain(..) {
            let Some(computer) = self.computers.get_mut(parcel.to.index()) else { continue };
            let (before, due) = (computer.next(), parcel.key.due);
            computer.system.agenda.push(parcel.key, parcel.due);
            if due < before {
                self.windows.next[parcel.to.index()] = due;
                self.due.push(Reverse((due, parcel.to.0)));
            }
        }
        if let Some(computer) = self.computers.get_mut(id.index()) {
            computer.system.agenda.lend(out);
        }
    }
}

fn watches<N>(computers: &mut [Computer<N>]) -> impl Iterator<Item = &mut Watch> {
    computers.iter_mut().filter_map(|computer| computer.system.record.watch.as_mut())
}
