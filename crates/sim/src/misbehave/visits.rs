//! Peers that come and go: they dial, stay for a while, leave, and come again, also as somebody else and from another address of their
//! network. Each has times of its own, which the others' do not touch.

use std::time::Duration;

use weir_base::Rng;
use weir_stack::{Command, ConfigError};

use crate::host::{Node as _, NodeId};
use crate::model::Place;
use crate::network::Network;

/// Timers of a driver from this number on are [`Visitors`]'.
const TIMERS: u64 = 1 << 48;

/// How a visitor leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It ends its links with a goodbye.
    Disconnect,
    /// Its process ends, and its system resets its links.
    Crash,
    /// It is gone, and nobody is told.
    PowerOff,
}

/// As whom a visitor comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// As who it was, from where it was.
    Same,
    /// With another key, from where it was.
    SomebodyElse,
    /// With another key, from another address of the same network.
    SomebodyElseNearby,
}

/// What a visitor does.
#[derive(Clone, Debug)]
pub struct Visits {
    /// Whom it dials each time.
    pub whom: Vec<NodeId>,
    /// How long it stays from its dials on, about: up to a quarter longer or shorter each time.
    pub stays: Duration,
    /// How long it is away, about.
    pub away: Duration,
    /// How it leaves.
    pub leaves: Leave,
    /// As whom it comes again.
    pub again: Again,
}

/// A visitor has come or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// It is there under its new identity, for the `times`th time from 1 on, and has not dialled yet: now its pool can be filled.
    /// [`Visitors::dial`] follows.
    Came {
        /// Who.
        id: NodeId,
        /// How often it has come.
        times: u32,
    },
    /// It has left.
    Left {
        /// Who.
        id: NodeId,
    },
}

/// See the module. They act where the driver hands them its timers.
#[derive(Debug, Default)]
pub struct Visitors {
    list: Vec<Visitor>,
}

#[derive(Debug)]
struct Visitor {
    id: NodeId,
    visits: Visits,
    rng: Rng,
    times: u32,
    there: bool,
}

impl Visitors {
    /// Puts one more visitor in, in the network of `beside` where there is one. It comes for the first time after it was away once.
    ///
    /// # Errors
    /// [`ConfigError`] of the stack's configuration.
    pub fn add(
        &mut self,
        network: &mut Network,
        place: Place,
        beside: Option<NodeId>,
        visits: Visits,
    ) -> Result<NodeId, ConfigError> {
        let id = network.add(place)?;
        if let Some(beside) = beside {
            // where no address is free it keeps its own
            network.host.computer(id).move_beside(beside);
        }
        let mut rng = network.rng.child("visitor");
        let first = network.host.now() + about(visits.away, &mut rng);
        network.host.timer(first, TIMERS + self.list.len() as u64);
        self.list.push(Visitor { id, visits, rng, times: 0, there: false });
        Ok(id)
    }

    /// All of them.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.list.iter().map(|visitor| visitor.id)
    }

    /// A timer of the driver is due; `None` where it is none of theirs.
    ///
    /// # Errors
    /// [`ConfigError`] of the stack's configuration.
    pub fn timer(&mut self, network: &mut Network, number: u64) -> Result<Option<Visit>, ConfigError> {
        let index = number.checked_sub(TIMERS).and_then(|index| usize::try_from(index).ok());
        let Some(visitor) = index.and_then(|index| self.list.get_mut(index)) else { return Ok(None) };
        let visit = if visitor.there { visitor.leave(network) } else { visitor.come(network)? };
        let Visits { stays, away, .. } = visitor.visits;
        let pause = about(if visitor.there { stays } else { away }, &mut visitor.rng);
        network.host.timer(network.host.now() + pause, number);
        Ok(Some(visit))
    }

    /// A visitor that has come dials.
    pub fn dial(&self, network: &mut Network, id: NodeId) {
        let visitor = self.list.iter().find(|visitor| visitor.id == id);
        visitor.into_iter().flat_map(|visitor| &visitor.visits.whom).for_each(|whom| network.dial(id, *whom));
    }
}

impl Visitor {
    fn come(&mut self, network: &mut Network) -> Result<Visit, ConfigError> {
        let Self { id, ref visits, .. } = *self;
        if self.times > 0 {
            network.host.computer(id).power_off(); // what is left of it since it disconnected
            match visits.again {
                Again::Same => network.restart(id)?,
                Again::SomebodyElse => network.replace(id)?,
                Again::SomebodyElseNearby => {
                    network.host.computer(id).move_beside(id);
                    network.replace(id)?;
                }
            }
        }
        (self.there, self.times) = (true, self.times + 1);
        Ok(Visit::Came { id, times: self.times })
    }

    fn leave(&mut self, network: &mut Network) -> Visit {
        let id = self.id;
        self.there = false;
        match self.visits.leaves {
            Leave::Disconnect => {
                let peers: Vec<_> =
                    self.visits.whom.iter().filter_map(|whom| network.host.world().peer(*whom)).collect();
                network.host.with(id, |actor, now| {
                    // refused where they are not linked
                    peers.into_iter().for_each(|peer| {
                        drop(actor.stack().command(now, Command::Disconnect(peer)));
                    });
                });
            }
            Leave::Crash => drop(network.host.computer(id).crash()),
            Leave::PowerOff => drop(network.host.computer(id).power_off()),
        }
        Visit::Left { id }
    }
}

/// Up to a quarter longer or shorter.
fn about(pause: Duration, rng: &mut Rng) -> Duration {
    pause * 3 / 4 + rng.up_to(pause / 2)
}
