//! Many nodes, node by node: no node can affect another sooner than the shortest latency between any two, so that each runs
//! through that window before the next, while its memory is near, and several threads share the nodes. At the end of a window
//! what nodes have for each other is exchanged.
//!
//! A node sees the same in the same order as with [`Host::step`], whatever the number of threads.

use std::time::Duration;

use weir_base::Instant;

use super::computer::Computer;
use super::world::World;
use super::{Host, Node, NodeId, index};
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
        let world = &self.world;
        let each = self.computers.len().div_ceil(threads.max(1)).max(1);
        if threads <= 1 {
            run(world, &mut self.computers, end);
        } else {
            std::thread::scope(|scope| {
                for computers in self.computers.chunks_mut(each) {
                    scope.spawn(move || run(world, computers, end));
                }
            });
        }
        self.now = self.now.max(end.min(limit));
        self.exchange();
        for Computer { system, process } in &mut self.computers {
            if std::mem::take(&mut process.turned)
                && let Some(node) = process.node.as_deref_mut()
            {
                on(system.id, node);
            }
        }
        true
    }

    /// What nodes have for each other, and what the checker is to know, in the order of time.
    fn exchange(&mut self) {
        let mut changes = Vec::new();
        for from in 0..self.computers.len() {
            let mut out = self.computers[from].system.agenda.take_out();
            for parcel in out.drain(..) {
                if let Some(computer) = self.computers.get_mut(index(parcel.to)) {
                    computer.system.agenda.push(parcel.key, parcel.due);
                }
            }
            let system = &mut self.computers[from].system;
            system.agenda.put_back(out);
            changes.append(&mut system.record.changes);
        }
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

/// Each of these nodes runs through the window.
fn run<N: Node>(world: &World, computers: &mut [Computer<N>], end: Instant) {
    for computer in computers {
        while computer.next() < end && !computer.process.idle.endless {
            computer.process.turned |= computer.advance(world);
        }
    }
}
