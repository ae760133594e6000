//! Plain counters that the host exports.

/// One ledger of credit, in bytes. `reserved + lent <= total`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BudgetStats {
    /// All there is.
    pub total: u64,
    /// Reserved at start for the base windows of every link.
    pub reserved: u64,
    /// Lent to links on top of their base windows, and not yet spent.
    pub lent: u64,
    /// Links that wait for more than could be lent.
    pub waiting: u64,
}

/// Counters of [`Links`](crate::Links) since the start, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Links that are up.
    pub links: u64,
    /// Of these, inbound ones.
    pub inbound: u64,
    /// Inbound handshakes under way.
    pub half_open: u64,
    /// Dials under way.
    pub dials: u64,
    /// The receive ledger.
    pub receive: BudgetStats,
    /// The send ledger.
    pub send: BudgetStats,
    /// Bytes of datagrams and frames that came in.
    pub bytes_in: u64,
    /// Bytes of datagrams and frames that went out.
    pub bytes_out: u64,
    /// Datagrams that came in.
    pub datagrams_in: u64,
    /// Datagrams that went out.
    pub datagrams_out: u64,
    /// Datagrams copied out of the buffer they came in, because unread bytes kept too many buffers alive.
    pub copied: u64,
    /// Inbound handshakes that were told to prove their address first.
    pub retries: u64,
    /// Inbound handshakes given up for newer ones, because too many were under way in all or from one place.
    pub half_open_replaced: u64,
    /// Links refused because no slot was free, in all or for one place.
    pub refused: u64,
    /// Inbound links closed for a newcomer of a less crowded group, or a pinned peer.
    pub gave_way: u64,
    /// Links that came up with 0-RTT data accepted, of this side or of the peer.
    pub early_accepted: u64,
    /// Links this side dialled whose 0-RTT data the peer refused; it was sent again.
    pub early_refused: u64,
    /// Links replaced by a newer one of the same peer.
    pub replaced: u64,
    /// Raw streams reset because their reader stalled past the cap.
    pub raw_resets: u64,
    /// Links closed to take lent credit back.
    pub credit_closed: u64,
    /// Peers that broke the transport's rules.
    pub faults: u64,
}
