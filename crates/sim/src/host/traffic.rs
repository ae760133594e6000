//! What nodes carried.
//!
//! A *packet* on a line has headers beside its payload. Of QUIC every datagram is one, with IP's 20 bytes and UDP's 8. Beneath frames
//! and byte streams is TCP: 20 bytes of IP and 32 of TCP with timestamps for each packet of [`Model::packet`](crate::Model::packet)
//! bytes, which pieces that leave at one time share; for an acknowledgement of every second packet; and for each packet of a wire's
//! handshake, of its end, and of what a byte stream's reader tells. Frames stand for a secured byte stream: what encryption would add
//! is not counted, nor are Ethernet's headers, nor is what is sent again.

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
    /// Bytes of IP's, UDP's and TCP's headers that came in, acknowledgements included. They are not in `bytes_in`.
    pub headers_in: u64,
    /// The same that went out. They are not in `bytes_out`.
    pub headers_out: u64,
    /// Datagrams dropped because a queue before one of its lines or its socket's buffer was full, or because they were longer than the
    /// path carries, and frames that had to be sent again for a full queue. Why each was: [`Host::drops`](super::Host::drops).
    pub dropped: u64,
    /// Of these, datagrams longer than the path carries.
    pub too_long: u64,
    /// Datagrams that came in after one that the same node had sent later.
    pub overtaken: u64,
    /// Datagrams and pieces of byte streams that went out, of which the path turned a bit.
    pub altered: u64,
    /// Datagrams that came in marked (ECN): they waited long before a line.
    pub marked: u64,
    /// What the device before the node did.
    pub device: DeviceTraffic,
}

/// What the device before a node did with flows that were silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceTraffic {
    /// Flows to which it gave another port, as it had forgotten the one before.
    pub remapped: u64,
    /// Datagrams that it dropped, as it had forgotten the flow they came on.
    pub unmapped: u64,
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

    /// All bytes that the node's line carried to it.
    pub const fn wire_in(&self) -> u64 {
        self.bytes_in + self.headers_in
    }

    /// All bytes that it carried from it, lost ones included.
    pub const fn wire_out(&self) -> u64 {
        self.bytes_out + self.headers_out
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
