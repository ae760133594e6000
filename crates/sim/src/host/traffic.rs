//! What nodes carried.

use std::net::SocketAddr;

use weir_base::Instant;

use crate::id::NodeId;

/// What a node's lines carried, as the network counted it: payload of UDP, or frames with their length prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeTraffic {
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out, lost ones included.
    pub bytes_out: u64,
    /// Frames and datagrams that came in.
    pub packets_in: u64,
    /// Frames and datagrams that went out.
    pub packets_out: u64,
    /// Bytes of IP's, UDP's and TCP's headers that went out, acknowledgements of frames included. They are not in `bytes_out`.
    pub headers_out: u64,
    /// Datagrams dropped because a queue before one of its lines or its socket's buffer was full, and frames that had to be
    /// sent again for that.
    pub dropped: u64,
    /// Datagrams that came in after one that the same node had sent later.
    pub overtaken: u64,
    /// Datagrams and pieces of byte streams that went out, of which the path turned a bit.
    pub altered: u64,
    /// Flows to which the device before the node gave another port, as it had forgotten the one before.
    pub remapped: u64,
    /// Datagrams that this device dropped, as it had forgotten the flow they came on.
    pub unmapped: u64,
    /// Datagrams that came in marked (ECN): they waited long before a line.
    pub marked: u64,
}

impl NodeTraffic {
    pub(super) const fn sent(&mut self, len: usize) {
        self.bytes_out += len as u64;
        self.packets_out += 1;
    }

    pub(super) const fn received(&mut self, len: usize) {
        self.bytes_in += len as u64;
        self.packets_in += 1;
    }

    pub(super) const fn headers(&mut self, bytes: u64) {
        self.headers_out += bytes;
    }

    pub(super) const fn dropped(&mut self) {
        self.dropped += 1;
    }
}

/// A datagram as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When.
    pub at: Instant,
    /// From which address.
    pub from: SocketAddr,
    /// To which node.
    pub to: NodeId,
    /// What.
    pub bytes: Vec<u8>,
}
