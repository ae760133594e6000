//! What is looked at in a node after its turn: what its application has undecided, its counters, its tables, and what it has to tell.

use std::time::Duration;

use weir_stack::{Config, Shape};

use crate::actor::{Actor, Told, Undecided};
use crate::check::Found;
use crate::host::{Node as _, NodeId, Turned};
use crate::report::Stopwatch;

/// The most memory that a node's tables beside the ledgers may take, in bytes: those that grow with what peers offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableBound {
    /// For each link: its queues, which are bounded by themselves, and have room for twice that.
    pub link: u64,
    /// For each entry that was granted and not returned: its candidate, and what names it.
    pub entry: u64,
    /// Such entries of one link, and of all.
    pub entries: (u64, u64),
}

impl TableBound {
    /// What the limits of these pools come to.
    pub(crate) fn of(config: &Config) -> Self {
        let mut bound = Self::default();
        for channel in &config.profile.channels {
            if let Shape::Pool(pool) = &channel.shape {
                bound.link += 2 * LINK_QUEUES;
                bound.entry = CANDIDATE;
                bound.entries.0 += u64::from(pool.max_entries);
                bound.entries.1 += u64::from(pool.max_grants);
            }
        }
        bound
    }

    /// Of a node with so many links.
    fn most(self, links: u64) -> u64 {
        let (each, all) = self.entries;
        (links + 1) * self.link + self.entry * (links * each).min(all)
    }
}

/// A link's queues of undecided entries (8,192 of 16 bytes) and of candidates that wait there (8 bytes each), and what the node
/// remembers of the last 4,096 items of its log, a bit a link.
const LINK_QUEUES: u64 = 8_192 * (16 + 8) + 4_096;

/// A candidate (some 350 bytes), its place in the slab, two names, and its place in the reserve of links, with what growing tables
/// leave free.
const CANDIDATE: u64 = 1_024;

/// A node's tables are looked at after one in so many of its turns, as that takes as long as a turn.
const TABLES_EVERY: u32 = 16;

/// How nodes are looked at after their turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) most: Undecided, // that an application may have
    pub(crate) tables: TableBound,
    pub(crate) sample: u32,    // tables are looked at at one node of so many
    pub(crate) counters: bool, // compare the stack's after every turn: the checker cannot read this transport
    pub(crate) stopwatch: Option<Stopwatch>,
}

/// What was seen at a node after its turn.
pub(crate) struct Sight {
    pub(crate) found: Found,
    pub(crate) took: Duration, // real time that the comparisons took
    pub(crate) notes: Told,
}

/// What was seen at some nodes, in the order of their numbers.
#[derive(Default)]
pub(crate) struct Sights {
    pub(crate) found: Found,
    pub(crate) took: Duration,
    pub(crate) told: Vec<(NodeId, Told)>,
}

impl Sights {
    /// Adds what was seen at a node.
    pub(crate) fn add(&mut self, sight: Sight, turned: &Turned<'_, Actor>) {
        self.found.add(&sight.found);
        self.took += sight.took;
        if !sight.notes.is_empty() {
            self.told.push((turned.id, sight.notes));
        }
    }
}

impl Look {
    /// Looks at one node: what its application has undecided with what it may have, its counters, what it has to tell.
    pub(crate) fn at(self, turned: &mut Turned<'_, Actor>) -> Sight {
        let has = turned.node.undecided();
        let over = has.items.saturating_sub(self.most.items).max(has.bytes.saturating_sub(self.most.bytes));
        let mut found = Found { checks: 1, peak_over: over, ..Found::default() };
        let tables = turned.id.0.is_multiple_of(self.sample) && turned.node.looked(TABLES_EVERY);
        let mut took = Duration::ZERO;
        if self.counters || tables {
            let read = || self.stopwatch.map_or(Duration::ZERO, |read| read());
            let begun = read();
            let stats = turned.node.stack().stats();
            found.add(&self.counted(&stats));
            took = read().saturating_sub(begun);
        }
        let mut notes = turned.node.take_notes();
        notes.iter_mut().for_each(|(at, _)| *at = turned.time_of(*at));
        Sight { found, took, notes }
    }

    /// Compares a node's counters, and its tables with their bound. Over frames the checker has counted what is held and granted.
    fn counted(self, stats: &weir_stack::Stats) -> Found {
        let mut found = compare(stats);
        if !self.counters {
            (found.peak_held, found.peak_granted) = (0, 0);
        }
        found.peak_tables = stats.pools.iter().map(|(_, pool)| pool.table_bytes).sum::<u64>();
        let most = self.tables.most(stats.link.links);
        found.peak_over = found.peak_over.max(found.peak_tables.saturating_sub(most));
        found
    }
}

/// Compares a stack's exported counters: windows advertised or lent and reserved with their total, offers held with
/// those granted.
fn compare(stats: &weir_stack::Stats) -> Found {
    let (mut held, mut granted, mut over) = (0, 0, 0);
    for ledger in [&stats.link.receive, &stats.link.send] {
        let used = ledger.reserved + ledger.lent;
        (held, granted) = (held + ledger.lent, granted + ledger.total - ledger.reserved);
        over = over.max(used.saturating_sub(ledger.total));
    }
    for (_, pool) in &stats.pools {
        (held, granted) = (held + pool.bytes_held, granted + pool.bytes_granted);
        over = over.max(pool.bytes_held.saturating_sub(pool.bytes_granted));
        over = over.max(pool.entries_held.saturating_sub(pool.entries_granted));
    }
    let checks = 2 + 2 * stats.pools.len() as u64;
    Found { checks, peak_over: over, peak_held: held, peak_granted: granted, ..Found::default() }
}

/// What the pools of this configuration may hand over and have no verdict on: so many candidates, and the bytes that may be in
/// flight, above one item.
pub(crate) fn most_undecided(config: &Config) -> Undecided {
    let mut most = Undecided::default();
    for channel in &config.profile.channels {
        if let Shape::Pool(pool) = &channel.shape {
            most.items += u64::from(pool.checking);
            most.bytes += pool.in_flight + u64::from(pool.max_item);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flood::pool_channel;
    use crate::network::{Network, Setup, Transport};

    /// The counters of a node once it is linked, changed, over this transport; and what is seen of them.
    fn seen(transport: Transport, change: impl FnOnce(&mut weir_stack::Stats)) -> Found {
        let setup = Setup { transport, ..Setup::new(2, 1, 1, vec![pool_channel()]) };
        let mut network = Network::new(setup).unwrap();
        assert!(network.link_up());
        let mut stats = network.host.with(NodeId(0), |actor, _| actor.stack().stats()).unwrap();
        assert!(stats.pools[0].1.entries_granted > 0 && stats.link.receive.reserved > 0);
        change(&mut stats);
        network.look().counted(&stats)
    }

    #[test]
    fn counters_that_do_not_add_up_are_seen_by_one_over_each_transport() {
        for transport in [Transport::Frames, Transport::Quic, Transport::Tcp] {
            sums_are_seen(|change| seen(transport, change).peak_over);
            let usual = seen(transport, |_| {});
            let told = (usual.checks, usual.peak_granted > 0);
            assert_eq!(told, (4, transport != Transport::Frames), "over frames the checker tells it");
        }
    }

    fn sums_are_seen(over: impl Fn(&dyn Fn(&mut weir_stack::Stats)) -> u64) {
        assert_eq!(over(&|_| {}), 0);
        for one_more in [0, 1] {
            let receive = over(&|stats| {
                let ledger = &mut stats.link.receive;
                ledger.lent = ledger.total - ledger.reserved + one_more;
            });
            let send = over(&|stats| {
                let ledger = &mut stats.link.send;
                ledger.lent = ledger.total - ledger.reserved + one_more;
            });
            let bytes =
                over(&|stats| stats.pools[0].1.bytes_held = stats.pools[0].1.bytes_granted + one_more);
            let entries =
                over(&|stats| stats.pools[0].1.entries_held = stats.pools[0].1.entries_granted + one_more);
            assert_eq!([receive, send, bytes, entries], [one_more; 4]);
        }
    }
}
