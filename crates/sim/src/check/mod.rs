//! The checker: was anything ever sent that was not granted? Counted from the frames the network carries and what is parsed
//! in them, never from a machine's own counters.
//!
//! Two ledgers, per node that receives:
//! - **windows**: data of a link and of each stream against the credit that the receiver's frames gave (`docs/spec/frames.md`);
//! - **permits**: offers against the totals of the receiver's wants, in bytes and in entries (an entry too many counts as the
//!   ten bytes it takes at least), and items against the sizes offered for the indices it asked for (`docs/spec/pool.md`), each stream by itself.
//!
//! And, per link, what the other streams may carry: tips against the client's wants, calls against their channel's largest request
//! and response and against how many may be under way, control against its rate, streams against their credit. Per node, over all
//! its links: windows that peers have and did not use against the budget, what was advertised beyond base windows against what the
//! base windows of all links that may exist leave of it, and items asked for against `in_flight`.
//!
//! All but one are counted where the data is sent: a `Watch` stands beside each sender, sees what leaves it and which grants reach
//! it, and tells the [`Checker`] what that changes for the receiver. What a node advertised is counted where it says so (`Grants`): it
//! takes it back by closing a link, of which the sender hears later.
//!
//! The strictest reading of both: what was granted counts once the receiver's frame has reached the sender, what is held as
//! soon as it leaves the sender, in transit or not. Totals on the wire are absolute, so *granted* and *held* are counted from
//! the receiver's last grant on each link: granted is what the peer might send after it, held what it has sent of that.
//! Their difference is exact, the excess is summed over a node's links (slack on one never hides an excess on another), and
//! the largest over all steps is reported.

mod cut;
mod grants;
mod pool;
mod rules;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_pull::ChannelId;
use weir_stack::Config;

use crate::id::NodeId;
pub(crate) use grants::Grants;
use rules::Declared;
pub(crate) use watch::Watch;

/// Credit of a link or stream before any credit frame, in bytes (`docs/spec/frames.md`).
const INITIAL: u64 = 64 * 1024;

/// What a checker found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Comparisons made.
    pub checks: u64,
    /// The largest excess of held over granted of one node in one ledger, in bytes.
    pub peak_over: u64,
    /// The most one node held, both ledgers together, in bytes.
    pub peak_held: u64,
    /// The most one node had granted, both ledgers together, in bytes.
    pub peak_granted: u64,
    /// The most that tables beside the ledgers took at one node, in bytes: what its pools keep of offers.
    pub peak_tables: u64,
    /// Messages that could not be read; what follows them on their stream is not checked.
    pub unread: u64,
}

impl Found {
    /// Adds what was found elsewhere, or later.
    pub(crate) fn add(&mut self, other: &Self) {
        self.checks += other.checks;
        self.peak_over = self.peak_over.max(other.peak_over);
        self.peak_held = self.peak_held.max(other.peak_held);
        self.peak_granted = self.peak_granted.max(other.peak_granted);
        self.peak_tables = self.peak_tables.max(other.peak_tables);
        self.unread += other.unread;
    }
}

/// What a node received on the pool channels, counted on the wire, when it left its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolTraffic {
    /// Complete bodies, repeats included.
    pub bodies: u64,
    /// Their bytes.
    pub body_bytes: u64,
    /// Bytes of streams, bodies included.
    pub stream_bytes: u64,
    /// Entries in offers.
    pub entries: u64,
}

impl PoolTraffic {
    /// Adds what another node received.
    pub fn add(&mut self, other: &Self) {
        self.bodies += other.bodies;
        self.body_bytes += other.body_bytes;
        self.stream_bytes += other.stream_bytes;
        self.entries += other.entries;
    }
}

/// A ledger of one node: bytes held and granted since the last grant of each link, and the excess over all links. Also what
/// one event changes of it.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    held: i64,
    granted: i64,
    over: i64,
    asked: i64,     // bytes of items asked for and not come
    item_over: u64, // the largest of one item, also where the item has ended since
}

impl Sums {
    fn apply(&mut self, change: &Self) {
        self.held += change.held;
        self.granted += change.granted;
        self.over += change.over;
        self.asked += change.asked;
        self.item_over = self.item_over.max(change.item_over);
    }
}

#[derive(Debug, Default)]
struct NodeWatch {
    windows: Sums,
    streams_over: i64, // of streams' own credit; the same bytes may be over the link's
    lent: i64,         // advertised beyond base windows, and not come
    permits: Sums,
    traffic: PoolTraffic,
}

/// What one event at a sender changes in the ledgers of the node that receives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    windows: Sums,
    streams_over: i64,
    lent: i64,
    permits: Sums,
    traffic: PoolTraffic,
    rules: u64, // bytes, messages, calls or streams beyond what a rule allows
    checks: u64,
    unread: u64,
}

/// An absolute total granted, how much of it has come, and where both stood at the last grant.
#[derive(Clone, Copy, Debug)]
struct Credit {
    granted: u64,
    come: u64,
    base: u64,
    over: u64,
}

impl Credit {
    const fn new(granted: u64) -> Self {
        Self { granted, come: 0, base: 0, over: 0 }
    }

    fn grant(&mut self, total: u64, sums: &mut Sums) {
        self.leave(sums);
        self.granted = self.granted.max(total);
        self.base = self.come;
        self.enter(sums);
    }

    fn come(&mut self, more: u64, weight: u64, sums: &mut Sums) {
        self.leave(sums);
        self.come += more;
        self.over = self.come.saturating_sub(self.granted) * weight;
        self.enter(sums);
    }

    fn leave(&self, sums: &mut Sums) {
        sums.held -= signed(self.come - self.base);
        sums.granted -= signed(self.granted.saturating_sub(self.base));
        sums.over -= signed(self.over);
    }

    fn enter(&self, sums: &mut Sums) {
        sums.held += signed(self.come - self.base);
        sums.granted += signed(self.granted.saturating_sub(self.base));
        sums.over += signed(self.over);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// How often entries were offered, and how often they were asked for again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// For each index of a node's log (first) and each peer (second): how often it was offered.
    pub entries: BTreeMap<(NodeId, NodeId, u64), u32>,
    /// For each node (first) and peer (second): how often the peer moved the node's cursor.
    pub moves: BTreeMap<(NodeId, NodeId), u64>,
}

/// How far a node was served by a peer on the pool channels of one wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Who serves.
    pub from: NodeId,
    /// Who is served.
    pub to: NodeId,
    /// How far the server's log was offered.
    pub covered: u64,
    /// Whether the permit was ever used up.
    pub dry: bool,
}

/// The ledgers of all nodes. See the module.
#[derive(Debug, Default)]
pub struct Checker {
    pub(crate) declared: Arc<Declared>,
    nodes: Vec<NodeWatch>,
    found: Found,
}

impl Checker {
    /// Watches windows, and permits of these pool channels.
    pub fn new(pools: impl IntoIterator<Item = ChannelId>) -> Self {
        Self { declared: Arc::new(Declared::pools(pools)), ..Self::default() }
    }

    /// Watches everything that this configuration declares and bounds, the same at all nodes.
    pub fn of(config: &Config) -> Self {
        Self { declared: Arc::new(Declared::of(config)), ..Self::default() }
    }

    /// What it found so far.
    pub fn found(&self) -> Found {
        self.found
    }

    /// What a node received on the pool channels.
    pub fn traffic(&self, id: NodeId) -> PoolTraffic {
        self.nodes.get(id.0 as usize).map(|node| node.traffic).unwrap_or_default()
    }

    /// Something happened at a sender to what `to` receives.
    pub(crate) fn apply(&mut self, to: NodeId, change: &Change) {
        let index = to.0 as usize;
        if self.nodes.len() <= index {
            self.nodes.resize_with(index + 1, NodeWatch::default);
        }
        let (node, found) = (&mut self.nodes[index], &mut self.found);
        node.windows.apply(&change.windows);
        node.permits.apply(&change.permits);
        node.streams_over += change.streams_over;
        node.lent += change.lent;
        node.traffic.add(&change.traffic);
        found.checks += change.checks;
        found.unread += change.unread;
        let limits = self.declared.limits;
        let windows = positive(node.windows.granted - node.windows.held).saturating_sub(limits.windows);
        let lent = positive(node.lent).saturating_sub(limits.lendable);
        let asked = positive(node.permits.asked).saturating_sub(limits.asked);
        let over = positive(node.streams_over.max(node.windows.over).max(node.permits.over));
        let over = over.max(windows).max(lent).max(asked).max(change.rules).max(node.permits.item_over);
        found.peak_over = found.peak_over.max(over);
        found.peak_held = found.peak_held.max(positive(node.windows.held + node.permits.held));
        found.peak_granted = found.peak_granted.max(positive(node.windows.granted + node.permits.granted));
    }
}

fn positive(sum: i64) -> u64 {
    u64::try_from(sum).unwrap_or(0)
}
