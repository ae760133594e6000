//! The figures of each node.

use std::time::Duration;

use serde::Serialize;
use weir_chain::hex;

use super::fleet::Running;

/// One node, now or when it stopped.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    /// Its number.
    pub(crate) node: usize,
    /// Whether it runs.
    pub(crate) up: bool,
    /// Its chain's height.
    pub(crate) height: u64,
    /// Its tip, in hexadecimal.
    pub(crate) tip: String,
    /// Links that are up.
    pub(crate) links: u64,
    /// Transactions that wait for a block.
    pub(crate) waiting: usize,
    /// UDP payload received.
    pub(crate) bytes_in: u64,
    /// UDP payload sent.
    pub(crate) bytes_out: u64,
    /// Faults of its peers.
    pub(crate) faults: u64,
    /// Peers it banned.
    pub(crate) bans: u64,
    /// The median of its links' round trips, as last measured.
    pub(crate) rtt_ms: Option<f64>,
    /// Its permits on the transaction channel.
    pub(crate) permits: Permits,
    #[serde(skip)]
    pub(crate) rtts: Vec<Duration>,
    #[serde(skip)]
    pub(crate) traffic: Traffic,
}

/// Permits that a node has given its peers, totals over the links that are up.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Permits {
    /// Offers that peers may send, or have sent.
    pub(crate) entries_granted: u64,
    /// Of these, sent.
    pub(crate) entries_used: u64,
    /// Bytes of items that peers may offer, or have offered.
    pub(crate) bytes_granted: u64,
    /// Of these, offered.
    pub(crate) bytes_used: u64,
}

impl Permits {
    pub(crate) fn add(&mut self, other: Self) {
        self.entries_granted += other.entries_granted;
        self.entries_used += other.entries_used;
        self.bytes_granted += other.bytes_granted;
        self.bytes_used += other.bytes_used;
    }
}

/// Counters of the transaction channel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    /// Complete bodies received.
    pub(crate) bodies: u64,
    /// Of these, repeats.
    pub(crate) duplicates: u64,
    /// Bytes received less bodies.
    pub(crate) control: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, other: Self) {
        self.bodies += other.bodies;
        self.duplicates += other.duplicates;
        self.control += other.control;
    }
}

impl Row {
    /// A node that does not run.
    pub(crate) fn down(node: usize) -> Self {
        Self { node, ..Self::default() }
    }

    /// A running node. Where it stops meanwhile, its counters are zero.
    pub(crate) fn of(node: usize, running: &Running) -> Self {
        let net = running.node.network();
        let stats = net.block_on(net.stats()).unwrap_or_default().stack;
        let peers = net.block_on(net.peers().list()).unwrap_or_default();
        let mut rtts: Vec<Duration> = peers.iter().filter_map(|peer| peer.rtt).collect();
        rtts.sort_unstable();
        let (head, mut permits, mut traffic) = (running.node.head(), Permits::default(), Traffic::default());
        for (_, pool) in &stats.pools {
            permits.add(Permits {
                entries_granted: pool.entries_granted,
                entries_used: pool.entries_held,
                bytes_granted: pool.bytes_granted,
                bytes_used: pool.bytes_held,
            });
            traffic.add(Traffic {
                bodies: pool.bodies,
                duplicates: pool.duplicates,
                control: pool.control_bytes,
            });
        }
        Self {
            node,
            up: true,
            height: head.height,
            tip: hex(&head.hash),
            links: stats.link.links,
            waiting: running.node.waiting(),
            bytes_in: stats.link.bytes_in,
            bytes_out: stats.link.bytes_out,
            faults: stats.faults,
            bans: stats.bans,
            rtt_ms: rtts.get(rtts.len().saturating_sub(1) / 2).map(|rtt| rtt.as_secs_f64() * 1e3),
            permits,
            rtts,
            traffic,
        }
    }
}
