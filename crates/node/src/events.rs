//! Queues of what happens at a node.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::event::Event;
use crate::mailbox::{Outbox, Queue, lock};
use crate::shared::Lease;

/// A queue of events of its own, and a [`Stream`](futures_core::Stream) of them. See
/// [`Network::events`](crate::Network::events).
#[derive(Debug)]
pub struct Events {
    lease: Arc<Lease>,
    queue: Queue<Event>,
}

impl Events {
    pub(crate) fn new(lease: &Arc<Lease>) -> Self {
        let shared = &lease.shared;
        let queue = Arc::new(Outbox::new(shared.limits.events as usize));
        let mut listeners = lock(&shared.listeners);
        if shared.inbox.is_closed() {
            queue.close(&mut Vec::new());
        } else {
            listeners.push(Arc::clone(&queue));
        }
        drop(listeners);
        Self { lease: Arc::clone(lease), queue: Queue::new(queue) }
    }

    /// Waits for the next event; `None` once the node has stopped.
    pub async fn next(&self) -> Option<Event> {
        self.queue.next().await
    }

    /// As [`next`](Self::next), on this thread. In a simulated cluster this drives the simulation.
    pub fn next_blocking(&self) -> Option<Event> {
        self.lease.shared.block_on(self.next())
    }

    /// The next event, if one waits.
    pub fn try_next(&self) -> Option<Event> {
        self.queue.take()
    }

    /// How many events were dropped since this was last asked, because the queue was full.
    ///
    /// ```
    /// # use weir::testing::Cluster;
    /// # use weir::{Keypair, Network, NetworkId};
    /// # let cluster = Cluster::new(7);
    /// # let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    /// # let (alice, node, ()) = cluster.add(describe(1))?;
    /// # let (bob, _bobs_node, ()) = cluster.add(describe(2).peers(alice.addresses()))?;
    /// let events = bob.events();
    /// cluster.run_until(bob.wait_for_peers(1))?;
    /// while let Some(event) = events.try_next() {
    ///     println!("{}", serde_json::to_string(&event)?); // each event is an object that names itself
    /// }
    /// assert_eq!(events.missed(), 0, "else look at `Peers::list`: a peer may have come or gone unseen");
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn missed(&self) -> u64 {
        self.queue.outbox().dropped()
    }
}

impl futures_core::Stream for Events {
    type Item = Event;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().queue.poll_next(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        lock(&self.lease.shared.listeners).retain(|listener| !Arc::ptr_eq(listener, self.queue.outbox()));
    }
}
