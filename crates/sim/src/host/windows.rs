//! Many nodes, node by node: no node can affect another sooner than the shortest latency between any two, so that each runs
//! through that window before the next, while its memory is near, and several threads share the nodes. At the end of a window
//! what nodes have for each other is exchanged.
//!
//! A node sees the same in the same order as with [`Host::step`], whatever the number of threads.

use std::time::Duration;

use weir_base::Instant;

use super::seat::Seat;
use super::world::World;
use super::{Host, Node, NodeId, index};
use crate::model::{LAN, Place, Region};

impl<N: Node + Send> Host<N> {
    /// Lets one window pass on so many threads, at most up to `limit`; then `on` is told of every node that had a turn, in the
    /// order of their numbers. False where nothing is due up to `limit`, or a node's turns never end: then time is `limit`.
    ///
    /// Timers of the driver are left alone: there are none in such runs.
    pub fn window(&mut self, limit: Instant, threads: usize, mut on: impl FnMut(NodeId, &mut N)) -> bool {
        let start = self.seats.iter().map(Seat::next).min().unwrap_or(Instant::FAR);
        if start > limit || self.seats.iter().any(|seat| seat.endless) {
            self.now = self.now.max(limit);
            return false;
        }
        let end = (start + self.shortest()).min(limit + Duration::from_nanos(1));
        let world = &self.world;
        let each = self.seats.len().div_ceil(threads.max(1)).max(1);
        if threads <= 1 {
            run(world, &mut self.seats, end);
        } else {
            std::thread::scope(|scope| {
                for seats in self.seats.chunks_mut(each) {
                    scope.spawn(move || run(world, seats, end));
                }
            });
        }
        self.now = self.now.max(end.min(limit));
        self.exchange();
        for seat in &mut self.seats {
            if std::mem::take(&mut seat.turned)
                && let Some(node) = seat.node.as_deref_mut()
            {
                on(seat.id, node);
            }
        }
        true
    }

    /// What nodes have for each other, and what the checker is to know, in the order of time.
    fn exchange(&mut self) {
        let mut changes = Vec::new();
        for from in 0..self.seats.len() {
            let mut out = std::mem::take(&mut self.seats[from].out);
            for parcel in out.drain(..) {
                if let Some(seat) = self.seats.get_mut(index(parcel.to)) {
                    seat.queue.push(parcel.key, parcel.due);
                }
            }
            let seat = &mut self.seats[from];
            seat.out = out; // its memory
            changes.append(&mut seat.changes);
        }
        if let Some(checker) = &mut self.checker {
            changes.sort_by_key(|(at, ..)| *at); // of one time in the order of nodes
            changes.iter().for_each(|(_, to, change)| checker.apply(*to, change));
        }
    }

    /// After windows, [`step`](Self::step) works again.
    pub fn end_windows(&mut self) {
        self.due.clear();
        self.due.extend(
            self.seats
                .iter()
                .filter(|seat| seat.next() != Instant::FAR)
                .map(|seat| std::cmp::Reverse((seat.next(), seat.id.0))),
        );
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
fn run<N: Node>(world: &World, seats: &mut [Seat<N>], end: Instant) {
    for seat in seats {
        while seat.next() < end && !seat.endless {
            seat.turned |= seat.advance(world);
        }
    }
}
