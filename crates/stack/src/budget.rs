//! Both ledgers: what channels may reserve, checked against what links can carry, at construction; and their counters.
//!
//! *Permits* bound decoded data and live in pull; *windows* bound bytes in transit and live in link. The one thing that joins
//! them: a message that a permit, get, next or call allows must fit what is left of the windows' total, or it could never
//! be drained. [`weir_link::Config::check`] compares; here is the number it compares with.

use weir_base::codec::varint_len;
#[doc(inline)]
pub use weir_link::{BudgetStats, Stats as LinkStats};
use weir_pull::{Channel, ChannelId, ChannelStats, Shape, pool};

/// A length, a type and an index before a body, each a varint of at most 10 bytes.
const HEAD: u64 = 30;

/// Bytes of the largest message that these channels allow, framing included. 0 without channels.
pub(crate) fn largest_message(channels: &[Channel]) -> u64 {
    let bodies = channels.iter().map(|channel| match &channel.shape {
        Shape::Tip(_) => u64::from(weir_pull::tip::MAX_VALUE),
        Shape::Pool(pool) => u64::from(pool.max_item),
        Shape::Call(call) => u64::from(call.max_request.max(call.max_response)),
        Shape::Raw => 0,
    });
    bodies.map(|body| body + HEAD + varint_len(body) as u64).max().unwrap_or(0)
}

/// What a node counts, for its host to export. Plain numbers; the counters only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Of links: the windows' ledgers, traffic, refusals.
    pub link: weir_link::Stats,
    /// Of channels, control (0) first.
    pub channels: Vec<(ChannelId, ChannelStats)>,
    /// Of each pool, with its ledger of permits.
    pub pools: Vec<(ChannelId, pool::Stats)>,
    /// Bytes that requests and answers of call channels hold, and their bound.
    pub call_memory: (u64, u64),
    /// Peers that are up.
    pub peers: u64,
    /// Raw streams that are open.
    pub raw_streams: u64,
    /// Streams that are open.
    pub streams: u64,
    /// Bytes handed to channels.
    pub bytes_read: u64,
    /// Bytes taken from channels.
    pub bytes_written: u64,
    /// Bytes of raw streams read by the host.
    pub raw_read: u64,
    /// Bytes of raw streams written by the host.
    pub raw_written: u64,
    /// Calls whose deadline was over while they waited for a link: dropped, never sent. Those that had one are in `expired` of
    /// their channel.
    pub expired: u64,
    /// Faults of peers.
    pub faults: u64,
    /// Bans, by standing or by the operator.
    pub bans: u64,
}

impl Stats {
    /// The invariant of the windows' ledgers: what was advertised or lent, and what is reserved, is never more than there is.
    pub fn windows_hold(&self) -> bool {
        let holds = |ledger: &BudgetStats| ledger.reserved.saturating_add(ledger.lent) <= ledger.total;
        holds(&self.link.receive) && holds(&self.link.send)
    }

    /// The invariant of the permits' ledgers: no peer sent more than it was granted.
    pub fn permits_hold(&self) -> bool {
        self.pools.iter().all(|(_, pool)| {
            pool.entries_held <= pool.entries_granted && pool.bytes_held <= pool.bytes_granted
        })
    }
}
