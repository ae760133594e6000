//! Dials that were commanded while a link, or another dial, was on its way to the same place: they take part in what becomes of
//! that, and nothing is dialled twice.
//!
//! A join waits for a peer to be up, or for a dial to say which peer that is. Where neither is on its way any more, it is
//! *stranded*: then its own addresses are dialled, once. Each ends by its deadline.

use std::collections::BTreeMap;

use weir_base::identity::PeerId;
use weir_base::{Deadlines, Instant};
use weir_link::{Dial, DialFailure, DialId};
use weir_pull::Ticket;

use crate::refused::DialProblem;

/// Joins at once, at most; a further dial is refused.
pub(crate) const MAX_JOINS: usize = 1024;

/// What a join waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// This dial, until it is a link or has failed.
    Dial(DialId),
    /// This peer, until it is up.
    Peer(PeerId),
}

/// A commanded dial that takes part in something else.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) on: On,
    /// What to dial where it is stranded; `None`: nothing more, it fails.
    pub(crate) dial: Option<Dial>,
    /// Why it fails then.
    pub(crate) reason: DialProblem,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    waiting: BTreeMap<Ticket, Join>, // <= MAX_JOINS
    due: Deadlines<Ticket>,
}

impl Joins {
    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_JOINS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn add(&mut self, ticket: Ticket, join: Join, due: Instant) {
        self.waiting.insert(ticket, join);
        self.due.set(ticket, Some(due));
    }

    /// A dial is a link to this peer: those that joined it wait for the peer.
    pub(crate) fn dial_is_up(&mut self, dial: DialId, peer: PeerId) {
        for join in self.waiting.values_mut().filter(|join| join.on == On::Dial(dial)) {
            join.on = On::Peer(peer);
        }
    }

    /// A dial has failed: so have those that joined it, but where it looked for one peer alone and another one is there.
    pub(crate) fn dial_failed(&mut self, dial: DialId, error: DialFailure) {
        for join in self.waiting.values_mut().filter(|join| join.on == On::Dial(dial)) {
            if error != DialFailure::OtherPeer {
                join.dial = None;
            }
            join.reason = error.into();
        }
    }

    /// Takes out those that fit.
    pub(crate) fn take(&mut self, fits: impl Fn(&On) -> bool) -> Vec<(Ticket, Join)> {
        let fitting: Vec<Ticket> =
            self.waiting.iter().filter(|(_, join)| fits(&join.on)).map(|(ticket, _)| *ticket).collect();
        let take = |ticket: Ticket| {
            self.due.set(ticket, None);
            self.waiting.remove(&ticket).map(|join| (ticket, join))
        };
        fitting.into_iter().filter_map(take).collect()
    }

    /// One whose deadline is over.
    pub(crate) fn pop_late(&mut self, now: Instant) -> Option<Ticket> {
        let ticket = self.due.pop_due(now)?;
        self.waiting.remove(&ticket);
        Some(ticket)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.next().map(|(due, _)| due)
    }
}
