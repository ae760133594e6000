//! Many nodes, node by node: no node can affect another sooner than the shortest latency between any two, so that each runs
//! through that window before the next, while its memory is near, and several threads share the nodes. At the end of a window
//! what nodes have for each other is exchanged, on the same threads.
//!
//! A node sees the same in the same order as with [`Host::step`], whatever the number of threads.

use std::panic::resume_unwind;
use std::time::Duration;

use weir_base::Instant;

use super::computer::Computer;
use super::world::{Parcel, World};
use super::{Host, Node, NodeId, index};
use crate::check::Change;
use crate::model::{LAN, Place, Region};

impl<N: Node + Send> Host<N> {
    /// Lets one window pass on so many threads, at most up to `limit`; then `on` is told of every node that had a turn, in the
    /// order of their numbers. False where nothing is due up to `limit`, or a node's turns never end: then time is `limit`.
    ///
    /// Timers of the driver are left alone: there are none in such runs.
    pub fn window(&mut self, limit: Instant, threads: usize, mut on: impl FnMut(NodeId, &mut N)) -> bool {
        let start = self.computers.iter().map(Computer::next).min().unwrap_or(Instant::FAR);
        if start > limit || self.computers.iter().any(|computer| computer.process.idle.endless) {
            self.now = self.now.max(limit);
            return false;
        }
        let end = (start + self.shortest()).min(limit + Duration::from_nanos(1));
        self.carry(end, threads);
        self.now = self.now.max(end.min(limit));
        for Computer { system, process } in &mut self.computers {
            if std::mem::take(&mut process.turned)
                && let Some(node) = process.node.as_deref_mut()
            {
                on(system.id, node);
            }
        }
        true
    }

    /// Runs every node through the window. Then each node gets what the others sent to it, and the checker gets its reports. Both are in
    /// the order of time.
    fn carry(&mut self, end: Instant, threads: usize) {
        let each = self.computers.len().div_ceil(threads.max(1)).max(1);
        let world = &self.world;
        let parts = self.computers.chunks_mut(each);
        let ran = on_threads(parts.map(|part| move || run(world, part, end, each)).collect());
        let (mut parcels, mut changes) = (Vec::new(), Vec::new());
        for part in ran {
            parcels.push(part.parcels.into_iter());
            changes.extend(part.changes);
        }
        let mut first = 0;
        let mut deliveries = Vec::new();
        for part in self.computers.chunks_mut(each) {
            let incoming: Vec<Vec<Parcel>> = parcels.iter_mut().filter_map(Iterator::next).collect();
            let begins = first;
            first += part.len();
            deliveries.push(move || deliver(part, begins, incoming));
        }
        on_threads(deliveries);
        if let Some(checker) = &mut self.checker {
            changes.sort_by_key(|(at, ..)| *at); // of one time in the order of nodes
            changes.iter().for_each(|(_, to, change)| checker.apply(*to, change));
        }
    }

    /// After windows, [`step`](Self::step) works again.
    pub fn end_windows(&mut self) {
        self.due.clear();
        let waiting = self.computers.iter().filter(|computer| computer.next() != Instant::FAR);
        self.due.extend(waiting.map(|computer| std::cmp::Reverse((computer.next(), computer.system.id.0))));
    }

    /// The shortest latency, one way, that the places of these nodes allow.
    fn shortest(&self) -> Duration {
        let places = &self.world.places;
        let lan = places.iter().any(|place| place.site.is_some());
        let near = Place { region: Region::Europe, ..Place::NEAR };
        (if lan { LAN } else { near.round_trip(near) }) / 2
    }
}

/// What a part of the nodes left after a window.
struct Ran {
    parcels: Vec<Vec<Parcel>>, // by the part of those who get them
    changes: Vec<(Instant, NodeId, Change)>,
}

/// Each of these nodes runs through the window; a part has `each` nodes.
fn run<N: Node>(world: &World, computers: &mut [Computer<N>], end: Instant, each: usize) -> Ran {
    let mut ran = Ran { parcels: Vec::new(), changes: Vec::new() };
    ran.parcels.resize_with(world.places.len().div_ceil(each), Vec::new);
    for computer in computers {
        while computer.next() < end && !computer.process.idle.endless {
            computer.process.turned |= computer.advance(world);
        }
        let mut out = computer.system.agenda.take_out();
        for parcel in out.drain(..) {
            if let Some(parcels) = ran.parcels.get_mut(index(parcel.to) / each) {
                parcels.push(parcel);
            }
        }
        computer.system.agenda.put_back(out);
        ran.changes.append(&mut computer.system.record.changes);
    }
    ran
}

/// These nodes, of which the first has the number `first`, get what others have for them. In whatever order: an agenda has one.
fn deliver<N>(computers: &mut [Computer<N>], first: usize, incoming: Vec<Vec<Parcel>>) {
    for parcel in incoming.into_iter().flatten() {
        if let Some(computer) = computers.get_mut(index(parcel.to) - first) {
            computer.system.agenda.push(parcel.key, parcel.due);
        }
    }
}

/// Does each piece of work on a thread of its own, one alone on this.
fn on_threads<R: Send, W: FnOnce() -> R + Send>(mut work: Vec<W>) -> Vec<R> {
    if work.len() == 1 {
        return work.pop().map(|only| vec![only()]).unwrap_or_default();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = work.into_iter().map(|one| scope.spawn(one)).collect();
        let ended =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|told| resume_unwind(told)));
        ended.collect()
    })
}
