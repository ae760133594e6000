//! [`Node`]: what its one owner does with a node.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Op;
use crate::mailbox::promise;
use crate::network::Network;
use crate::report::ShutdownReport;
use crate::shared::Lease;

/// The owner's end of a node: it stops the node.
#[derive(Debug)]
pub struct Node {
    lease: Arc<Lease>,
}

impl Node {
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self { lease }
    }

    /// A handle to the network.
    pub fn network(&self) -> Network {
        Network::of(&self.lease)
    }

    /// Says goodbye to all, delivers what was written, and stops, at the latest after `deadline`. All other handles end:
    /// their queues give what is in them, then nothing. Its ports are free when it is over. It never blocks the executor.
    pub async fn shutdown(self, deadline: Duration) -> ShutdownReport {
        let (report, pending) = promise();
        self.lease.shared.inbox.post(Op::Shutdown { deadline, report: Some(report) });
        pending.await.unwrap_or_default()
    }

    /// Stops at once, without goodbye or flush, as a crash would; ports are free when this returns. For tests.
    pub fn abort(self) {
        self.lease.shared.inbox.post(Op::Abort);
        self.lease.shared.host().join();
    }
}
