//! What drives a cluster: tasks first, then nodes that their handles woke, then the network.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::ThreadId;

use weir_base::identity::PeerId;
use weir_base::{Instant, Rng};
use weir_node::host::Core;
use weir_stack::{Action, Stack};

use super::PATIENCE;
use super::executor::{Executor, lock};
use crate::host::{Host, Node, NodeId, Step};

/// A cluster, shared by it and by the handles of its nodes.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) world: Mutex<World>,
    pub(super) executor: Executor,
    pub(super) clock: Arc<AtomicU64>,
    pub(super) thread: ThreadId,
}

/// Nodes and the network between them.
pub(super) struct World {
    pub(super) host: Host<Core>,
    pub(super) woken: Woken,
    pub(super) peers: BTreeMap<PeerId, NodeId>,
    pub(super) places: Rng,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("nodes", &self.peers.len()).finish_non_exhaustive()
    }
}

impl Node for Core {
    fn stack(&mut self) -> &mut Stack {
        self.stack()
    }

    fn turned(&mut self, now: Instant) -> bool {
        let told = self.has_commands();
        self.commands(now, usize::MAX);
        self.wake_sleepers(now);
        self.settle(now) || told
    }

    fn action(&mut self, _: Instant, action: Action) {
        self.note(action); // what is left concerns wires, which the network sets up by itself
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.own_timeout()
    }
}

impl World {
    pub(super) fn new(host: Host<Core>, places: Rng) -> Self {
        Self { host, woken: Arc::default(), peers: BTreeMap::new(), places }
    }

    pub(super) fn id(&self, peer: PeerId) -> Option<NodeId> {
        self.peers.get(&peer).copied()
    }

    pub(super) fn is_running(&mut self, id: NodeId) -> bool {
        self.host.node(id).is_some_and(|core| !core.stopped())
    }

    /// A node had a turn: where it has ended, its handles end too; where it was aborted, it vanishes as in a crash.
    fn after_turn(&mut self, id: NodeId) {
        let Some(core) = self.host.node(id).filter(|core| core.stopped()) else { return };
        let aborted = core.aborted();
        core.close();
        if aborted {
            self.host.computer(id).crash();
        }
    }
}

impl Inner {
    /// Moves on by one task, one woken node, or one event of the network up to `limit`. False where there was none: then it is
    /// `limit`.
    pub(super) fn step(&self, limit: Instant) -> bool {
        if self.executor.run_one() {
            return true;
        }
        let mut world = lock(&self.world);
        let woken = lock(&world.woken).pop_front();
        if let Some(id) = woken {
            if let Some(core) = world.host.node(id) {
                core.listen();
            }
            world.host.turn(id);
            world.after_turn(id);
            return true;
        }
        let step = world.host.step(limit);
        self.clock.store(world.host.now().as_nanos(), Ordering::Relaxed);
        if let Some(Step::Turned(id)) = step {
            world.after_turn(id);
        }
        step.is_some()
    }

    pub(super) fn crash(&self, peer: PeerId) -> bool {
        let mut world = lock(&self.world);
        let Some(mut core) = world.id(peer).and_then(|id| world.host.computer(id).crash()) else {
            return false;
        };
        drop(world);
        core.close();
        true
    }

    /// The node whose turns never end, where there is one.
    fn endless(&self) -> Option<PeerId> {
        let world = lock(&self.world);
        world.host.endless().and_then(|id| world.host.world().peer(id))
    }

    /// Whether nothing will ever happen by itself.
    fn is_dead(&self) -> bool {
        lock(&self.world).host.next().is_none()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.executor.clear();
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Inner {
    /// Drives the cluster until `future` is ready.
    #[track_caller]
    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        assert!(
            self.thread == std::thread::current().id(),
            "a cluster is driven by the thread that made it; let that thread wait, or spawn a task"
        );
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        let limit = Instant::from_nanos(self.clock.load(Ordering::Relaxed)) + PATIENCE;
        loop {
            if flag.0.swap(false, Ordering::SeqCst)
                && let Poll::Ready(output) = future.as_mut().poll(&mut context)
            {
                return output;
            }
            if flag.0.load(Ordering::SeqCst) || self.step(limit) {
                continue;
            }
            if let Some(peer) = self.endless() {
                panic!("the node {peer} never came to an end of its turns");
            }
            assert!(!self.is_dead(), "nothing is left that could ever wake this wait");
            panic!("nothing woke this wait within {PATIENCE:?} of virtual time");
        }
    }
}

/// Nodes whose handles have something, in the order in which they were woken.
pub(super) type Woken = Arc<Mutex<VecDeque<NodeId>>>;

/// The cluster, as one node's handles know it.
#[derive(Debug)]
pub(super) struct NodeHost {
    node: NodeId,
    woken: Woken,
    clock: Arc<AtomicU64>,
    cluster: Weak<Inner>,
}

impl NodeHost {
    pub(super) fn new(node: NodeId, woken: Woken, cluster: &Arc<Inner>) -> Self {
        Self { node, woken, clock: Arc::clone(&cluster.clock), cluster: Arc::downgrade(cluster) }
    }
}

impl weir_node::host::Host for NodeHost {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.clock.load(Ordering::Relaxed))
    }

    fn wake(&self) {
        lock(&self.woken).push_back(self.node);
    }

    fn wakes_cheaply(&self) -> bool {
        true
    }

    fn block_on(&self, future: Pin<&mut dyn Future<Output = ()>>) {
        let Some(cluster) = self.cluster.upgrade() else {
            panic!("the cluster of this node is gone: nothing could ever wake this wait");
        };
        cluster.block_on(future);
    }
}
