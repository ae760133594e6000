//! Many nodes at once, on several threads: put in, or given something to do. What comes of it is the same as one by one, in the order
//! of their numbers: until it has a turn in time, no node is touched by another.

use weir_base::Instant;
use weir_base::identity::PeerId;

use super::Host;
use super::computer::Computer;
use super::node::{Birth, Node, Udp};
use super::windows::on_threads;
use super::world::{Public, World, udp_of};
use crate::id::NodeId;
use crate::model::Place;

/// A node that is given something to do: [`Host::with_all`].
pub struct Driven<'a, N> {
    world: &'a World,
    computer: &'a mut Computer<N>,
    now: Instant,
}

impl<N: Node> Driven<'_, N> {
    /// As [`Host::with`]. `None` where the node does not run.
    pub fn with<R>(&mut self, act: impl FnOnce(&mut N, Instant) -> R) -> Option<R> {
        let local = self.computer.process.clock.local(self.now);
        let done = act(self.computer.process.node.as_deref_mut()?, local);
        self.computer.system.now = self.now;
        self.computer.turn_now(self.world);
        Some(done)
    }
}

impl<N: Node + Send> Host<N> {
    /// Puts nodes in at these places, as [`add`](Self::add) does one by one, on so many threads. Returns their numbers.
    ///
    /// # Errors
    /// The first of `make`. Then nothing happened.
    pub fn add_all<E: Send>(
        &mut self,
        places: &[Place],
        udp: Udp,
        threads: usize,
        make: impl Fn(&Birth) -> Result<(N, PeerId), E> + Sync,
    ) -> Result<Vec<NodeId>, E> {
        let first = u32::try_from(self.computers.len()).unwrap_or(u32::MAX);
        let births: Vec<Birth> = (first..)
            .take(places.len())
            .map(|number| self.world.birth(NodeId(number), 0, self.now))
            .collect();
        self.world.places.extend(places);
        let (wall, checker) = (self.wall(), self.checker.as_ref());
        let (world, make) = (&self.world, &make);
        let each = births.len().div_ceil(threads.max(1)).max(1);
        let work = births.chunks(each).map(|births| {
            move || {
                let put_in = births.iter().map(|birth| {
                    let (node, peer) = make(birth)?;
                    let mut computer = Computer::new(world, birth.id, udp);
                    computer.watch(checker);
                    computer.begin(world, (birth.now, wall), node);
                    Ok((computer, peer))
                });
                put_in.collect::<Result<Vec<_>, E>>()
            }
        });
        let made: Result<Vec<_>, E> = on_threads(work.collect()).into_iter().collect();
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                self.world.places.truncate(first as usize);
                return Err(error);
            }
        };
        for (mut computer, peer) in made.into_iter().flatten() {
            let id = computer.system.id;
            computer.system.record.captured = self.capturing.then(Vec::new);
            self.world.peers.push(peer);
            self.world.public.push(Public::new(udp_of(id)));
            self.world.addresses.insert(udp_of(id), id);
            self.computers.push(computer);
            self.windows.next.push(self.now);
        }
        let ids: Vec<NodeId> = births.iter().map(|birth| birth.id).collect();
        ids.iter().for_each(|id| self.settle(*id));
        Ok(ids)
    }

    /// Gives each node something to do, on so many threads: as [`with`](Self::with), node by node.
    pub fn with_all(&mut self, threads: usize, act: impl Fn(NodeId, &mut Driven<'_, N>) + Sync) {
        let each = self.computers.len().div_ceil(threads.max(1)).max(1);
        let (world, now, act) = (&self.world, self.now, &act);
        let work = self.computers.chunks_mut(each).map(|computers| {
            move || {
                for computer in computers {
                    act(computer.system.id, &mut Driven { world, computer, now });
                }
            }
        });
        on_threads(work.collect());
        self.ids().for_each(|id| self.settle(id));
    }
}
