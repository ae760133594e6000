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
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// use std::time::Duration;
    ///
    /// cluster.run_until(alice.wait_for_peers(1))?;
    /// let report = cluster.run_until(node.shutdown(Duration::from_secs(5)));
    /// assert_eq!((report.closed, report.unfinished), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub async fn shutdown(self, deadline: Duration) -> ShutdownReport {
        let (report, pending) = promise();
        self.lease.shared.inbox.post(Op::Shutdown { deadline, report: Some(report) });
        pending.await.unwrap_or_default()
    }

    /// Stops at once, without goodbye or flush, as a crash would; ports are free when this returns. For tests.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// let events = alice.events();
    /// node.abort();
    /// while events.try_next().is_some() {} // what had happened until then
    /// assert!(events.next_blocking().is_none(), "the node has stopped");
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn abort(self) {
        self.lease.shared.inbox.post(Op::Abort);
        self.lease.shared.host().join();
    }
}
