//! The checker: was anything ever sent that was not granted? Counted from the frames the network carries and what is parsed
//! in them, never from a machine's own counters.
//!
//! Two ledgers, per node that receives:
//! - **windows**: data of a link and of each stream against the credit that the receiver's frames gave (`docs/spec/frames.md`);
//! - **permits**: offers against the totals of the receiver's wants, in bytes and in entries (an entry too many counts as the
//!   ten bytes it takes at least), and items against the sizes offered for the indices it asked for (`docs/spec/pool.md`).
//!
//! The strictest reading of both: what was granted counts once the receiver's frame has reached the sender, what is held as
//! soon as it leaves the sender, in transit or not. Totals on the wire are absolute, so *granted* and *held* are counted from
//! the receiver's last grant on each link: granted is what the peer might send after it, held what it has sent of that.
//! Their difference is exact, the excess is summed over a node's links (slack on one never hides an excess on another), and
//! the largest over all steps is reported.

mod cut;
mod pool;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use weir_base::codec::Malformed;
use weir_base::{Instant, ProtocolId};
use weir_pull::ChannelId;
use weir_stack::Frame;

use crate::host::NodeId;
use cut::Cutter;
use pool::{Offered, PoolWatch};

/// Credit of a link or stream before any credit frame, in bytes (`docs/spec/frames.md`).
const INITIAL: u64 = 64 * 1024;

/// A frame's way through the network.
#[derive(Clone, Copy, Debug)]
pub struct Passing {
    /// Number of the wire.
    pub wire: u64,
    /// 0 from the dialler, 1 from the listener.
    pub way: usize,
    /// Who sends.
    pub from: NodeId,
    /// Who receives.
    pub to: NodeId,
}

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
    /// Messages that could not be read; what follows them on their stream is not checked.
    pub unread: u64,
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

/// A ledger of one node: bytes held and granted since the last grant of each link, and the excess over all links.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    held: i64,
    granted: i64,
    over: u64,
    item_over: u64, // the largest of one item, also where the item has ended since
}

#[derive(Debug, Default)]
struct NodeWatch {
    windows: Sums,
    streams_over: u64, // of streams' own credit; the same bytes may be over the link's
    permits: Sums,
    traffic: PoolTraffic,
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
        sums.over -= self.over;
    }

    fn enter(&self, sums: &mut Sums) {
        sums.held += signed(self.come - self.base);
        sums.granted += signed(self.granted.saturating_sub(self.base));
        sums.over += self.over;
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// One direction of a wire: data that flows with it, and credit for it that flows against it.
#[derive(Debug)]
struct WayWatch {
    receiver: NodeId,
    link: Credit,
    // A map has room for 11, and a wire has a few streams, one pool: so what is large is boxed.
    streams: BTreeMap<u64, Box<StreamWatch>>,
    pools: BTreeMap<ChannelId, Box<PoolWatch>>, // of the receiver as client
}

#[derive(Debug)]
struct StreamWatch {
    credit: Credit, // its sums are left out of the node's held and granted: the link's cover them
    what: Speaks,
    cutter: Cutter,
}

/// What one direction of a stream carries, as far as the checker reads it.
#[derive(Clone, Copy, Debug)]
enum Speaks {
    Other,
    Wants(ChannelId),
    Offers(ChannelId),
    Gets(ChannelId),
    Items(ChannelId),
}

/// Watches every frame. See the module.
#[derive(Debug, Default)]
pub struct Checker {
    channels: BTreeSet<ChannelId>,
    wires: Vec<Option<Box<[WayWatch; 2]>>>,
    nodes: Vec<NodeWatch>,
    found: Found,
    offered: Option<Offers>,
}

/// How often entries were offered, and how often they were asked for again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// For each index of a node's log (first) and each peer (second): how often it was offered.
    pub entries: BTreeMap<(NodeId, NodeId, u64), u32>,
    /// For each node (first) and peer (second): how often the peer moved the node's cursor.
    pub moves: BTreeMap<(NodeId, NodeId), u64>,
}

impl Checker {
    /// Watches windows, and permits of these pool channels.
    pub fn new(pools: impl IntoIterator<Item = ChannelId>) -> Self {
        Self { channels: pools.into_iter().collect(), ..Self::default() }
    }

    /// Counts from now on how often each index of a node's log is offered to each peer.
    pub fn count_offers(&mut self) {
        self.offered.get_or_insert_default();
    }

    /// What was offered since it was last asked, where that is counted.
    pub fn take_offers(&mut self) -> Offers {
        self.offered.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// For each open wire, and for each of its ways: who receives, how far the sender's log was offered to it, and whether
    /// its permit was ever used up.
    pub fn served(&self) -> impl Iterator<Item = [(NodeId, u64, bool); 2]> + '_ {
        let way = |way: &WayWatch| {
            let served = way.pools.values().map(|pool| pool.served());
            let (covered, dry) = served.fold((0, false), |sum, one| (sum.0 + one.0, sum.1 | one.1));
            (way.receiver, covered, dry)
        };
        self.wires.iter().flatten().map(move |ways| [way(&ways[0]), way(&ways[1])])
    }

    /// What it found so far.
    pub fn found(&self) -> Found {
        self.found
    }

    /// What a node received on the pool channels.
    pub fn traffic(&self, id: NodeId) -> PoolTraffic {
        self.nodes.get(id.0 as usize).map(|node| node.traffic).unwrap_or_default()
    }

    /// A frame leaves its sender: what it carries is held by the receiver from now on.
    pub fn sent(&mut self, _now: Instant, passing: Passing, frame: &Frame) {
        let Self { channels, nodes, found, offered, .. } = self;
        let Some(ways) = watched(&mut self.wires, nodes, passing) else { return };
        let (stream, bytes) = match frame {
            Frame::Open { stream, protocol } => return open(ways, channels, passing.way, *stream, *protocol),
            Frame::Data { stream, bytes } => (stream, bytes),
            _ => return,
        };
        let node = at(nodes, passing.to);
        let way = &mut ways[passing.way];
        way.link.come(bytes.len() as u64, 1, &mut node.windows);
        found.checks += 2;
        let Some(stream) = way.streams.get_mut(stream) else { return note(found, node) };
        let mut sums = Sums { over: stream.credit.over, ..Sums::default() };
        node.streams_over -= stream.credit.over;
        stream.credit.come(bytes.len() as u64, 1, &mut sums);
        node.streams_over += stream.credit.over;
        if !matches!(stream.what, Speaks::Other) {
            node.traffic.stream_bytes += bytes.len() as u64;
        }
        let NodeWatch { permits, traffic, .. } = node;
        let read = match stream.what {
            Speaks::Offers(channel) => {
                let pool = way.pools.entry(channel).or_default();
                found.checks += 1;
                let seen = |index| {
                    if let Some(offered) = offered {
                        *offered.entries.entry((passing.from, passing.to, index)).or_default() += 1;
                    }
                };
                stream.cutter.messages(bytes, read_offers(pool, permits, traffic, seen))
            }
            Speaks::Items(channel) => {
                let pool = way.pools.entry(channel).or_default();
                found.checks += 1;
                stream.cutter.items(bytes, |part| pool.item(part, permits, traffic))
            }
            Speaks::Other | Speaks::Wants(_) | Speaks::Gets(_) => Ok(()),
        };
        found.unread += u64::from(read.is_err());
        note(found, node);
    }

    /// A frame arrives: what it grants is granted from now on.
    pub fn delivered(&mut self, _now: Instant, passing: Passing, frame: &Frame) {
        let back = 1 - passing.way;
        let Self { nodes, found, offered, .. } = self;
        let Some(ways) = watched(&mut self.wires, nodes, passing) else { return };
        let node = at(nodes, passing.from);
        match frame {
            Frame::LinkCredit { total } => ways[back].link.grant(*total, &mut node.windows),
            Frame::StreamCredit { stream, total } => {
                if let Some(stream) = ways[back].streams.get_mut(stream) {
                    stream.credit.granted = stream.credit.granted.max(*total);
                }
            }
            Frame::Data { stream, bytes } => {
                let [one, other] = ways.as_mut();
                let (with, against) = if passing.way == 0 { (one, other) } else { (other, one) };
                let Some(stream) = with.streams.get_mut(stream) else { return };
                let (Speaks::Wants(channel) | Speaks::Gets(channel)) = stream.what else { return };
                let gets = matches!(stream.what, Speaks::Gets(_));
                let pool = against.pools.entry(channel).or_default();
                let (sums, before) = (&mut node.permits, pool.moved());
                let read = stream.cutter.messages(bytes, |kind, body, _| {
                    if gets { pool.get(kind, body, sums) } else { pool.want(kind, body, sums) }
                });
                if let Some(offered) = offered
                    && pool.moved() > before
                {
                    *offered.moves.entry((passing.to, passing.from)).or_default() += pool.moved() - before;
                }
                found.unread += u64::from(read.is_err());
                note(found, node);
            }
            Frame::End { stream } | Frame::Reset { stream, .. } => {
                if let Some(stream) = ways[passing.way].streams.remove(stream) {
                    let receiver = ways[passing.way].receiver;
                    at(nodes, receiver).streams_over -= stream.credit.over;
                }
            }
            _ => {}
        }
    }

    /// A wire is gone, and what was granted on it.
    pub fn closed(&mut self, wire: u64) {
        let slot = usize::try_from(wire).ok().and_then(|wire| self.wires.get_mut(wire));
        let Some(ways) = slot.and_then(Option::take) else { return };
        for way in *ways {
            let node = at(&mut self.nodes, way.receiver);
            way.link.leave(&mut node.windows);
            node.streams_over -= way.streams.values().map(|stream| stream.credit.over).sum::<u64>();
            way.pools.values().for_each(|pool| pool.leave(&mut node.permits));
        }
    }
}

/// Hands whole messages of lane 0 to the pool's watch; `seen` hears of each index.
fn read_offers<'a>(
    pool: &'a mut PoolWatch,
    sums: &'a mut Sums,
    traffic: &'a mut PoolTraffic,
    mut seen: impl FnMut(u64) + 'a,
) -> impl FnMut(u64, &[u8], u64) -> Result<(), Malformed> + 'a {
    move |kind, body, len| pool.offer(Offered { kind, body, len }, sums, traffic, &mut seen)
}

/// After a change: the peaks.
fn note(found: &mut Found, node: &NodeWatch) {
    let positive = |sum: i64| u64::try_from(sum).unwrap_or(0);
    found.peak_over = found
        .peak_over
        .max(node.streams_over)
        .max(node.windows.over)
        .max(node.permits.over)
        .max(node.permits.item_over);
    found.peak_held = found.peak_held.max(positive(node.windows.held + node.permits.held));
    found.peak_granted = found.peak_granted.max(positive(node.windows.granted + node.permits.granted));
}

fn at(nodes: &mut Vec<NodeWatch>, id: NodeId) -> &mut NodeWatch {
    let index = id.0 as usize;
    if nodes.len() <= index {
        nodes.resize_with(index + 1, NodeWatch::default);
    }
    &mut nodes[index]
}

/// What is known of a wire. Where it was never seen, it is new, with the credit that every link starts with.
fn watched<'a>(
    wires: &'a mut Vec<Option<Box<[WayWatch; 2]>>>,
    nodes: &mut Vec<NodeWatch>,
    passing: Passing,
) -> Option<&'a mut Box<[WayWatch; 2]>> {
    let index = usize::try_from(passing.wire).ok()?;
    if wires.len() <= index {
        wires.resize_with(index + 1, || None);
    }
    let mut way = |receiver| {
        let link = Credit::new(INITIAL);
        link.enter(&mut at(nodes, receiver).windows);
        WayWatch { receiver, link, streams: BTreeMap::new(), pools: BTreeMap::new() }
    };
    let ends = if passing.way == 0 { (passing.from, passing.to) } else { (passing.to, passing.from) };
    Some(wires.get_mut(index)?.get_or_insert_with(|| Box::new([way(ends.1), way(ends.0)])))
}

/// `client` opens a stream: both directions are watched, and read where they are a pool's.
fn open(
    ways: &mut [WayWatch; 2],
    pools: &BTreeSet<ChannelId>,
    client: usize,
    stream: u64,
    protocol: ProtocolId,
) {
    let lane = ChannelId::of(protocol).filter(|(channel, _)| pools.contains(channel));
    let (asks, answers) = match lane {
        Some((channel, 0)) => (Speaks::Wants(channel), Speaks::Offers(channel)),
        Some((channel, 1)) => (Speaks::Gets(channel), Speaks::Items(channel)),
        _ => (Speaks::Other, Speaks::Other),
    };
    for (way, what) in [(client, asks), (1 - client, answers)] {
        let watch = StreamWatch { credit: Credit::new(INITIAL), what, cutter: Cutter::default() };
        ways[way].streams.insert(stream, Box::new(watch));
    }
}
