//! A node without a host: the stack, and what joins it to the handles.

mod calls;
mod contacts;
mod ending;
mod events;
mod exchanges;
mod op;
mod pools;
mod refusals;
mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use weir_base::{Deadlines, Instant};
use weir_pull::{ChannelId, call};
use weir_stack::{Command, Input, Stack};

use crate::event::Event;
use crate::mailbox::{Promise, lock};
use crate::shared::Shared;
use crate::stats::{HostStats, Stats};
use crate::stream::Pipe;
use calls::Calls;
use contacts::Contacts;
use ending::Ending;
use exchanges::Exchanges;
pub(crate) use op::{
    CallOp, EncodedCandidate, EncodedInbound, EncodedRequest, EncodedValue, EncodedWithdrawal, ExchangeOp,
    Op, PoolOp, Replies, RequestBody, Slot,
};
use pools::Pools;
use refusals::note_refusal;
use streams::Streams;

/// While candidates are without a verdict, the host looks into the inbox at least this often: that a candidate was taken is
/// reported without waking the host.
const QUIET: Duration = Duration::from_secs(1);

/// Up to this many calls and requests in progress are served one by one.
const UNBATCHED: usize = 2;

/// A node without a host: the stack, and what joins it to the handles. [`host`](crate::host) says in what order a host calls
/// it.
#[derive(Debug)]
pub struct Core {
    stack: Stack,
    shared: Arc<Shared>,
    taken: Taken,
    calls: Calls,
    streams: Streams,
    exchanges: Exchanges,
    contacts: Contacts,
    sleepers: Sleepers,
    pools: Pools,
    ending: Ending,
    wakers: Vec<Waker>,
    host: HostStats,
}

/// What is taken from the handles in one go; kept for its memory.
#[derive(Debug, Default)]
struct Taken {
    ops: VecDeque<Op>,
    streams: Vec<Arc<Pipe>>, // with something to do
}

/// Futures that wait for a time. Bounded by the user's own futures.
#[derive(Debug, Default)]
struct Sleepers {
    due: Deadlines<u64>,
    promises: BTreeMap<u64, Promise<()>>,
}

impl Core {
    pub(crate) fn new(stack: Stack, shared: Arc<Shared>) -> Self {
        Self {
            stack,
            shared,
            taken: Taken::default(),
            calls: Calls::default(),
            streams: Streams::default(),
            exchanges: Exchanges::default(),
            contacts: Contacts::default(),
            sleepers: Sleepers::default(),
            pools: Pools::default(),
            ending: Ending::default(),
            wakers: Vec::new(),
            host: HostStats::default(),
        }
    }

    /// The stack, for its datagrams, socket bytes and frames. Input goes through [`handle`](Self::handle), actions come out of
    /// [`poll_action`](Self::poll_action).
    pub fn stack(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// What the host counts.
    pub fn counters(&mut self) -> &mut HostStats {
        &mut self.host
    }

    /// Whether a call ended, or a request came, within the last `period`.
    pub fn has_called(&self, now: Instant, period: Duration) -> bool {
        self.calls.last().is_some_and(|last| now.since(last) <= period)
    }

    /// Something happened at the host.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.stack.handle(now, input);
    }

    /// Whether the node has ended: nothing more will come of it. The host closes and drops it.
    pub fn stopped(&self) -> bool {
        self.ending.stopped()
    }

    /// Whether it ended without goodbye ([`Node::abort`](crate::Node::abort)).
    pub fn aborted(&self) -> bool {
        self.ending.aborted()
    }

    /// From here on handles wake the host, once, when they have something.
    pub fn listen(&self) {
        self.shared.inbox.bell().sleep();
    }

    /// As [`listen`](Self::listen), for a host that is about to sleep. False where handles have something already: then the
    /// host goes on with [`commands`](Self::commands) instead.
    #[must_use]
    pub fn sleep(&self) -> bool {
        self.listen();
        !self.has_commands()
    }

    /// The host is awake: handles need not wake it.
    pub fn wake_up(&self) {
        self.shared.inbox.bell().wake_up();
    }

    /// Whether handles have something.
    pub fn has_commands(&self) -> bool {
        !self.shared.inbox.is_empty() || !self.shared.listed.is_empty()
    }

    /// Carries out at most `most` commands of handles, and moves what raw streams have to write. True where commands are left.
    pub fn commands(&mut self, now: Instant, most: usize) -> bool {
        let mut taken = std::mem::take(&mut self.taken);
        self.shared.inbox.take(most, &mut taken.ops, &mut self.wakers);
        self.shared.listed.take(&mut taken.streams);
        let full = taken.ops.len() >= most;
        self.host.commands += taken.ops.len() as u64;
        for op in taken.ops.drain(..) {
            self.carry_out(now, op);
        }
        for pipe in taken.streams.drain(..) {
            self.streams.service(now, &mut self.stack, &pipe, &mut self.wakers);
        }
        self.taken = taken;
        full
    }

    /// Advances what is due. Early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.stack.handle_timeout(now);
        self.wake_sleepers(now);
    }

    /// Ends the sleeps of handles that are over; part of [`handle_timeout`](Self::handle_timeout), for hosts that drive the
    /// stack's timeouts by themselves.
    pub fn wake_sleepers(&mut self, now: Instant) {
        while let Some(id) = self.sleepers.due.pop_due(now) {
            if let Some(promise) = self.sleepers.promises.remove(&id) {
                promise.fill((), &mut self.wakers);
            }
        }
    }

    /// Hands events to the handles, goes on with a shutdown, and wakes whoever got something. True where there was an event.
    pub fn settle(&mut self, now: Instant) -> bool {
        let mut any = self.hand_over(now);
        if self.ending.is_asked() {
            self.say_goodbye(now);
            any |= self.hand_over(now);
        }
        self.wake();
        any
    }

    /// Whether each call waits for nothing but threads to wake. With more calls in progress, what they have to send goes out
    /// together, which costs less.
    fn is_quiet(&self) -> bool {
        self.calls.len() <= UNBATCHED
    }

    /// Says goodbye once raw streams have handed over what was written, or at the deadline.
    fn say_goodbye(&mut self, now: Instant) {
        let Some(due) = self.ending.due() else { return };
        if now < due && !self.streams.drained() {
            return;
        }
        self.ending.said();
        if let Err(refused) = self.stack.command(now, Command::Shutdown { deadline: due.since(now) }) {
            tracing::debug!(%refused, "the stack had been told to end before");
        }
    }

    /// Wakes whoever got something.
    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            // An executor that panics loses its own task, and takes no wake from those behind it.
            if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
                tracing::error!("a waker of the application has panicked");
            }
        }
    }

    /// When the host should come back at the latest; `None`: when something happens.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let stack = self.stack.poll_timeout().map(|(due, _)| due);
        let quiet = self.pools.has_undecided().then(|| now + QUIET);
        [stack, quiet, self.own_timeout()].into_iter().flatten().min()
    }

    /// The same without the stack's timeouts.
    pub fn own_timeout(&self) -> Option<Instant> {
        let sleeper = self.sleepers.due.next().map(|(due, _)| due);
        [sleeper, self.ending.due()].into_iter().flatten().min()
    }

    /// The node is gone: every handle ends, and last of all hears whoever waits for the [shutdown](crate::Node::shutdown). So the
    /// host frees what the node holds, ports say, before it calls this, or drops the core, which does the same.
    pub fn close(&mut self) {
        self.streams.lose_all(&mut self.wakers);
        self.calls.cancel_requests(&mut self.wakers);
        self.exchanges.close(&mut self.wakers);
        // Dropped promises end whoever waits for them: a stopped node may be kept for long.
        (self.sleepers, self.calls) = (Sleepers::default(), Calls::default());
        self.contacts = Contacts::default();
        self.shared.close();
        self.ending.close(&mut self.wakers);
        self.wake();
    }

    fn carry_out(&mut self, now: Instant, op: Op) {
        match op {
            Op::Pool(channel, op) => {
                if let Some(id) = self.pools.carry_out(now, &mut self.stack, channel, op) {
                    self.announce(&Event::Evicted { channel, id });
                }
            }
            Op::Tip(channel, command) => {
                let told = self.stack.command(now, Command::Pull(weir_pull::Command::Tip(channel, command)));
                note_refusal("tip", channel, told);
            }
            Op::Call(op) => self.calls.begin(now, &mut self.stack, *op, &mut self.wakers),
            Op::CancelCall(id) => self.calls.cancel(now, &mut self.stack, id),
            Op::TookRequest(channel, ticket, at) => {
                self.request(now, channel, call::Command::Taken { ticket, at });
            }
            Op::Answer(channel, ticket, at, response) => {
                self.calls.request_over(ticket);
                self.request(now, channel, call::Command::Answer { ticket, at, response });
            }
            Op::Exchange(op) => self.exchanges.begin(now, &mut self.stack, *op, &mut self.wakers),
            Op::CancelExchange(id) => self.exchanges.cancel(now, &mut self.stack, id),
            Op::Respond(key, answer) => self.exchanges.respond(now, &mut self.stack, key, answer),
            Op::Open(protocol, class, peer, reply) => {
                self.streams.open(now, &mut self.stack, (protocol, class, peer), reply, &mut self.wakers);
            }
            Op::Connect(peer, addresses, reply) => {
                self.contacts.dial(now, &mut self.stack, (peer, addresses), reply, &mut self.wakers);
            }
            Op::Measure { peer, upload, download, reply } => {
                let command = Command::Measure { peer, upload, download };
                self.contacts.measure(now, &mut self.stack, command, reply, &mut self.wakers);
            }
            Op::Stack(command, reply) => {
                let told = self.stack.command(now, *command).map(|_| ());
                reply.fill(told, &mut self.wakers);
            }
            Op::Peers(reply) => reply.fill(self.contacts.list(&self.stack), &mut self.wakers),
            Op::Bans(reply) => reply.fill(Contacts::bans(now, &self.stack), &mut self.wakers),
            Op::Stats(reply) => reply.fill(self.stats(), &mut self.wakers),
            Op::Sleep(id, due, promise) => {
                self.sleepers.due.set(id, Some(due));
                self.sleepers.promises.insert(id, promise);
            }
            Op::CancelSleep(id) => {
                self.sleepers.due.set(id, None);
                self.sleepers.promises.remove(&id);
            }
            Op::Shutdown { deadline, report } => self.ending.ask(now + deadline, report),
            Op::Abort => self.ending.abort(),
        }
    }

    /// Says what became of a peer's request.
    fn request(&mut self, now: Instant, channel: ChannelId, command: call::Command) {
        let told = self.stack.command(now, Command::Pull(weir_pull::Command::Call(channel, command)));
        note_refusal("call", channel, told);
    }

    fn stats(&self) -> Stats {
        let mut host = self.host;
        host.rings = self.shared.inbox.bell().rings();
        host.expired = self.calls.expired();
        Stats { stack: self.stack.stats(), host }
    }

    /// Tells every listener.
    fn announce(&mut self, event: &Event) {
        for listener in lock(&self.shared.listeners).iter() {
            listener.push_newest(event.clone(), &mut self.wakers);
        }
    }
}

/// However a host loses its node, also by a panic: no handle waits for ever.
impl Drop for Core {
    fn drop(&mut self) {
        self.close();
    }
}
