//! Many nodes, node by node: no node can affect another sooner than the shortest latency between any two, so that each runs
//! through that window before the next, while its memory is near, and several threads share the nodes. What nodes have for each
//! other is exchanged between two windows: it waits in letter boxes, side by side, and each node takes its own at its next visit. A
//! node that has nothing to do in a window is not looked at.
//!
//! A node sees the same in the same order as with [`Host::step`], whatever the number of threads.

use std::time::Duration;

use weir_base::Instant;

use super::Host;
use super::computer::{Computer, Turned};
use super::letters::{Sent, Windows};
use super::node::Node;
use super::world::{Parcel, World};
use crate::check::Change;
use crate::id::NodeId;
use crate::model::{LAN, Place, Region};
use crate::report::Spent;

impl<N: Node + Send> Host<N> {
    /// Lets one window pass on so many threads, at most up to `limit`. `see` is called for every node that had a turn, on the thread
    /// that carried it out, with what that thread has seen of others: what each saw, in the order of nodes. `None` where nothing is
    /// due up to `limit`, or a node's turns never end: then time is `limit`.
    ///
    /// Timers of the driver are left alone: there are none in such runs.
    pub fn window<S: Default + Send>(
        &mut self,
        limit: Instant,
        threads: usize,
        see: impl Fn(&mut S, Turned<'_, N>) + Sync,
    ) -> Option<Vec<S>> {
        let Windows { next, sent, .. } = &self.windows;
        let start = next.iter().copied().chain(sent.earliest).min().unwrap_or(Instant::FAR);
        if start > limit || self.is_endless {
            self.now = self.now.max(limit);
            return None;
        }
        let end = (start + self.world.shortest()).min(limit + Duration::from_nanos(1));
        let seen = self.carry(end, threads, &see);
        self.now = self.now.max(end.min(limit));
        Some(seen)
    }

    /// Runs every node through the window, after it got what the others had sent to it before. Then the checker gets its reports, in the
    /// order of time.
    fn carry<S: Default + Send>(
        &mut self,
        end: Instant,
        threads: usize,
        see: &(impl Fn(&mut S, Turned<'_, N>) + Sync),
    ) -> Vec<S> {
        let each = self.computers.len().div_ceil(threads.max(1)).max(1);
        if self.windows.sent.each != each {
            self.windows.deliver(&mut self.computers);
        }
        self.windows.boxes.resize_with(self.computers.len(), Vec::new);
        let (world, Windows { next, boxes, sent, threads: carriers }) = (&self.world, &mut self.windows);
        let parts = self.computers.chunks_mut(each).zip(next.chunks_mut(each)).zip(boxes.chunks_mut(each));
        let mut work = Vec::new();
        for (number, ((computers, next), boxes)) in parts.enumerate() {
            let incoming = sent.parcels.iter_mut().filter_map(|from| from.get_mut(number));
            let incoming: Vec<Vec<Parcel>> = incoming.map(std::mem::take).collect();
            let part = Part { first: number * each, each, computers, next, boxes };
            work.push(move || part.run(world, end, incoming, see));
        }
        let ran = carriers.each(work);
        *sent = Sent { each, ..Sent::default() };
        let (mut seen, mut changes) = (Vec::new(), Vec::new());
        for part in ran {
            self.spent.all += part.took;
            sent.parcels.push(part.parcels);
            sent.earliest = sent.earliest.into_iter().chain(part.earliest).min();
            self.is_endless |= part.endless;
            seen.push(part.seen);
            changes.extend(part.changes);
        }
        if let Some(checker) = &mut self.checker {
            let begun = self.world.stopwatch();
            changes.sort_by_key(|(at, ..)| *at); // of one time in the order of nodes
            changes.iter().for_each(|(_, to, change)| checker.apply(*to, change));
            let took = self.world.since(begun);
            self.spent.add(Spent { all: took, checking: took });
        }
        seen
    }

    /// After windows, [`step`](Self::step) works again.
    pub fn end_windows(&mut self) {
        self.windows.deliver(&mut self.computers);
        self.due.clear();
        let waiting = self.computers.iter().filter(|computer| computer.next() != Instant::FAR);
        self.due.extend(waiting.map(|computer| std::cmp::Reverse((computer.next(), computer.system.id.0))));
    }
}

impl World {
    /// The shortest latency, one way, that the places of these nodes allow.
    fn shortest(&self) -> Duration {
        let places = &self.places;
        let lan = places.iter().any(|place| place.site.is_some());
        let near = Place { region: Region::Europe, ..Place::NEAR };
        (if lan { LAN } else { near.round_trip(near) }) / 2
    }
}

/// The nodes that one thread carries out.
struct Part<'a, N> {
    first: usize, // the number of its first node
    each: usize,  // nodes of a part
    computers: &'a mut [Computer<N>],
    next: &'a mut [Instant],
    boxes: &'a mut [Vec<Parcel>],
}

/// What a part of the nodes left after a window.
struct Ran<S> {
    parcels: Vec<Vec<Parcel>>, // by the part of those who get them
    earliest: Option<Instant>, // of these
    changes: Vec<(Instant, NodeId, Change)>,
    seen: S,
    endless: bool,
    took: Duration, // real time
}

impl<N: Node> Part<'_, N> {
    /// Each of these nodes gets what others have for it, in whatever order: an agenda has one. Then it runs through the window.
    fn run<S: Default>(
        self,
        world: &World,
        end: Instant,
        incoming: Vec<Vec<Parcel>>,
        see: impl Fn(&mut S, Turned<'_, N>),
    ) -> Ran<S> {
        let begun = world.stopwatch();
        let Self { first, each, computers, next, boxes } = self;
        for parcel in incoming.into_iter().flatten() {
            let to = parcel.to.index() - first;
            if let (Some(next), Some(came)) = (next.get_mut(to), boxes.get_mut(to)) {
                *next = (*next).min(parcel.key.due);
                came.push(parcel);
            }
        }
        let parts = world.places.len().div_ceil(each);
        let parcels = std::iter::repeat_with(Vec::new).take(parts).collect();
        let (earliest, changes, seen, took) = (None, Vec::new(), S::default(), Duration::ZERO);
        let mut ran = Ran { parcels, earliest, changes, seen, endless: false, took };
        let mut out = Vec::new(); // one for all: it stays in the processor's caches
        for ((computer, next), came) in computers.iter_mut().zip(next).zip(boxes) {
            if *next >= end {
                continue;
            }
            let came = std::mem::take(came); // memory that is given back is near, that of a box is not
            came.into_iter().for_each(|parcel| computer.system.agenda.push(parcel.key, parcel.due));
            computer.system.agenda.lend(std::mem::take(&mut out));
            while computer.next() < end && !computer.process.idle.endless {
                computer.process.turned |= computer.advance(world);
            }
            *next = computer.next();
            out = computer.system.agenda.take_out();
            ran.take(computer, &mut out, each, &see);
        }
        ran.took = world.since(begun);
        ran
    }
}

impl<S> Ran<S> {
    /// Takes what a node left.
    fn take<N: Node>(
        &mut self,
        computer: &mut Computer<N>,
        out: &mut Vec<Parcel>,
        each: usize,
        see: impl Fn(&mut S, Turned<'_, N>),
    ) {
        self.endless |= computer.process.idle.endless;
        for parcel in out.drain(..) {
            self.earliest = self.earliest.into_iter().chain([parcel.key.due]).min();
            if let Some(parcels) = self.parcels.get_mut(parcel.to.index() / each) {
                parcels.push(parcel);
            }
        }
        self.changes.append(&mut computer.system.record.changes);
        if std::mem::take(&mut computer.process.turned)
            && let Some(turned) = computer.turned()
        {
            see(&mut self.seen, turned);
        }
    }
}
