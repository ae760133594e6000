//! One workload for pools: 16 nodes in one process, a ring plus random edges to degree 8, 1 KiB items from rotating nodes,
//! at most 50 not yet everywhere.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::figures::percentile;
use crate::job::Spread;
use crate::machine::cpu_seconds;

/// Nodes.
pub const NODES: usize = 16;
/// Links per node.
pub const DEGREE: usize = 8;
/// Items that may be under way.
pub const AT_ONCE: usize = 50;
/// Bytes of an item.
pub const ITEM: usize = 1024;

/// Pairs (dialler, listener) with the lower number dialling; the same for all sides.
pub fn edges() -> Vec<(usize, usize)> {
    let mut edges: std::collections::BTreeSet<_> =
        (0..NODES).map(|node| (node.min((node + 1) % NODES), node.max((node + 1) % NODES))).collect();
    let mut degree = [2; NODES];
    let mut state = 7_u64;
    for _ in 0..10_000 {
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % NODES
        };
        let (a, b) = (draw(), draw());
        if a != b && degree[a] < DEGREE && degree[b] < DEGREE && edges.insert((a.min(b), a.max(b))) {
            degree[a] += 1;
            degree[b] += 1;
        }
    }
    edges.into_iter().collect()
}

/// Item number `index`: distinct bytes.
pub fn item(index: usize) -> Vec<u8> {
    let mut bytes = vec![0x5a; ITEM];
    bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
    bytes
}

/// The number of an item's bytes.
pub fn index_of(bytes: &[u8]) -> Option<usize> {
    let index = u64::from_le_bytes(*bytes.first_chunk()?);
    usize::try_from(index).ok()
}

/// Who has what, and what may be published next.
#[derive(Debug)]
pub struct Progress {
    items: usize,
    next: usize,
    under_way: BTreeMap<usize, (Instant, usize)>,
    nanos: Vec<u64>,
    begun: Instant,
    cpu: f64,
}

impl Progress {
    /// Before the first of `items`.
    pub fn new(items: usize) -> Self {
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        Self { items, next: 0, under_way: BTreeMap::new(), nanos: Vec::new(), begun, cpu }
    }

    /// The next item to publish and where, while fewer than [`AT_ONCE`] are under way.
    pub fn publish(&mut self) -> Option<(usize, usize)> {
        if self.next == self.items || self.under_way.len() >= AT_ONCE {
            return None;
        }
        let index = self.next;
        self.next += 1;
        self.under_way.insert(index, (Instant::now(), 0));
        Some((index, index % NODES))
    }

    /// A node other than the origin has the item for the first time.
    pub fn delivered(&mut self, index: usize) {
        let Some((published, nodes)) = self.under_way.get_mut(&index) else { return };
        self.nanos.push(u64::try_from(published.elapsed().as_nanos()).unwrap_or(u64::MAX));
        *nodes += 1;
        if *nodes == NODES - 1 {
            self.under_way.remove(&index);
        }
    }

    /// Whether all have all.
    pub fn done(&self) -> bool {
        self.next == self.items && self.under_way.is_empty()
    }

    /// Stops the clocks.
    pub fn pause(self) -> Measured {
        let (seconds, cpu) = (self.begun.elapsed().as_secs_f64(), cpu_seconds() - self.cpu);
        Measured { items: self.items, nanos: self.nanos, seconds, cpu }
    }
}

/// A run that is over.
#[derive(Debug)]
pub struct Measured {
    items: usize,
    nanos: Vec<u64>,
    seconds: f64,
    cpu: f64,
}

impl Measured {
    /// The run's figures; `bodies` is the number of complete bodies received by all nodes.
    pub fn finish(mut self, bodies: u64) -> Spread {
        self.nanos.sort_unstable();
        let deliveries = self.nanos.len().max(1);
        let millis = |percent| percentile(&self.nanos, percent) as f64 / 1e6;
        Spread {
            cpu_per_1000: self.cpu * 1000.0 / deliveries as f64,
            copies: bodies as f64 / deliveries as f64,
            p50_ms: millis(50),
            p99_ms: millis(99),
            per_second: self.items as f64 / self.seconds,
        }
    }
}
