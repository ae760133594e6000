//! Counters of a node.

#[doc(inline)]
pub use weir_pull::{ChannelStats, pool::Stats as PoolStats};
#[doc(inline)]
pub use weir_stack::{
    Stats as NodeStats,
    budget::{BudgetStats, LinkStats},
};

/// What a node counts. Plain numbers, since the start; they only grow, but for those that are called *now*.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// Of links, channels and pools: traffic, windows, permits, bodies, faults.
    pub stack: weir_stack::Stats,
    /// Of the host: system calls, wake-ups and commands. In a cluster all zero but `commands` and `expired`.
    pub host: HostStats,
}

/// What a host counts. The network thread is whatever drives the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct HostStats {
    /// Times the network thread looked for work.
    pub rounds: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Times another thread had to wake it.
    pub rings: u64,
    /// Receiving system calls.
    pub receives: u64,
    /// Sending system calls.
    pub sends: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams dropped because more came than could be worked off, of the sender that had most waiting. Those that the system drops
    /// before are not counted. The protocol treats them as lost.
    pub overrun: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams that the system refused to send: no route, for example. The protocol treats them as lost.
    pub unsent: u64,
    /// Commands of handles.
    pub commands: u64,
    /// Calls whose deadline was over before the network thread came to them: dropped, never sent. Those that expired later are
    /// in `expired` of the stack or of their channel.
    pub expired: u64,
}
