//! Many nodes at once, put in on several threads. What comes of it is the same as one by one, in the order of their numbers: until it
//! has a turn in time, no node is touched by another.

use weir_base::identity::PeerId;

use super::Host;
use super::computer::Computer;
use super::node::{Birth, Node, Udp};
use super::world::{Public, udp_of};
use crate::id::NodeId;
use crate::model::Place;

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
        let made: Result<Vec<_>, E> = self.windows.threads.each(work.collect()).into_iter().collect();
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
            self.world.public.push(Public::new(udp_of(id), id));
            self.world.addresses.insert(udp_of(id), id);
            self.computers.push(computer);
            self.windows.next.push(self.now);
        }
        let ids: Vec<NodeId> = births.iter().map(|birth| birth.id).collect();
        ids.iter().for_each(|id| self.settle(*id));
        Ok(ids)
    }
}
