//! Dials that were commanded: begun, or joined to what is on its way already; and what is told of them, and of dials of the book.

use std::collections::VecDeque;

use weir_base::Instant;
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_link::{Dial, DialError, DialFailure, Links};
use weir_pull::Ticket;

use crate::config::Config;
use crate::peers::joins::{Join, On};
use crate::peers::{Peers, Unreached, ways};
use crate::stack::Tickets;
use crate::types::{DialProblem, Event, Refused};

/// What dials need of a stack, borrowed for as long as one is dealt with.
pub(crate) struct Dials<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) links: &'a mut Links,
    pub(crate) peers: &'a mut Peers,
    pub(crate) tickets: &'a mut Tickets,
    pub(crate) events: &'a mut VecDeque<Event>,
}

impl Dials<'_> {
    /// Dials, or takes part in what leads to the same place.
    pub(crate) fn begin(
        &mut self,
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
    ) -> Result<Ticket, Refused> {
        let named = peer.or_else(|| addresses.iter().find_map(Multiaddr::peer_id));
        let banned = named.is_some_and(|peer| self.peers.standing().banned(self.now, &peer).is_some());
        if banned || self.peers.are_banned(self.now, &addresses) {
            return Err(Refused::Banned);
        }
        let dial = Dial { peer: named, addresses, pinned: false };
        let Some(on) = ways::way_to(self.peers, &dial) else {
            let id = self.links.dial(self.now, dial.clone())?;
            let ticket = self.tickets.next();
            self.peers.note_dial(id, ticket, dial);
            return Ok(ticket);
        };
        if !self.peers.joins.has_room() {
            return Err(DialError::TooManyDials.into());
        }
        let (ticket, reason) = (self.tickets.next(), DialFailure::Unreachable.into());
        self.join(ticket, Join { on, dial: Some(dial), reason });
        self.settle();
        Ok(ticket)
    }

    /// A commanded dial takes part in what is on its way already. It ends as late as a dial of its own would have.
    fn join(&mut self, ticket: Ticket, join: Join) {
        let patience = self.config.dial.timeout + self.config.control.hello_timeout;
        self.peers.joins.add(ticket, join, self.now + patience);
    }

    /// Ends the joins whose peer is up. Those that wait for nothing any more dial by themselves, or fail.
    pub(crate) fn settle(&mut self) {
        if self.peers.joins.is_empty() {
            return;
        }
        for (ticket, peer) in ways::take_connected(self.peers) {
            self.events.push_back(Event::Connected { ticket, peer });
        }
        for (ticket, Join { dial, reason, .. }) in ways::take_stranded(self.peers) {
            let dialled = dial.ok_or(reason).and_then(|dial| match self.links.dial(self.now, dial.clone()) {
                Ok(id) => Ok((id, dial)),
                Err(error) => Err(error.into()),
            });
            match dialled {
                Ok((id, dial)) => self.peers.note_dial(id, ticket, dial),
                Err(reason) => self.events.push_back(Event::DialFailed { ticket, reason }),
            }
        }
    }

    /// Those that have waited for too long.
    pub(crate) fn end_late(&mut self) {
        while let Some(ticket) = self.peers.joins.pop_late(self.now) {
            self.events.push_back(Event::DialFailed { ticket, reason: DialFailure::Timeout.into() });
        }
    }

    /// A commanded dial brought no link of its own: another link to the peer answers it, where there is one.
    pub(crate) fn failed(&mut self, ticket: Ticket, instead: Option<PeerId>, reason: DialProblem) {
        match instead {
            Some(peer) => self.join(ticket, Join { on: On::Peer(peer), dial: None, reason }),
            None => self.events.push_back(Event::DialFailed { ticket, reason }),
        }
    }

    /// An entry of the book could not be reached, where that is to be told.
    pub(crate) fn unreached(&mut self, unreached: Option<Unreached>, reason: DialProblem) {
        let Some(Unreached { peer, addresses, next }) = unreached else { return };
        self.events.push_back(Event::Unreachable { peer, addresses, reason, next });
    }
}
