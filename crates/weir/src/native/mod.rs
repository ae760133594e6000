//! The native host: one thread per node, `mio` and UDP sockets with segmentation offload.
//!
//! A round: look for work (sleeping until the next timeout where there is none) → receive, at most [`BATCHES`] batches →
//! carry out at most [`COMMANDS`] commands → timeouts → events into mailboxes, tasks woken → actions → send until the sockets
//! block. Where a budget ran out the next round begins without sleeping. No lock is held across a system call.

mod resolver;
mod socket;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_base::identity::Keypair;
use weir_base::multiaddr::Multiaddr;
use weir_base::{Instant, UnixTime};
use weir_stack::{Action, Command, HostChange, Input, Stack, Start, WireChange, WireId};

use crate::builder::Plan;
use crate::core::Core;
use crate::error::StartError;
use crate::mailbox::Bell;
use crate::shared::{Clock, Driver, Lease, Shared};
use crate::{Network, Node};
use resolver::Resolver;
use socket::Sockets;

/// Receiving system calls in a row, over all sockets, before what came is handed over and acknowledged. With more, peers
/// wait for each other's whole bursts: both ends of a link would work in turns instead of at once.
const BATCHES: usize = 4;
/// Commands in a row before sockets have their turn.
const COMMANDS: usize = 256;
/// While calls come and go: datagrams, and commands, in a row before what they bring is handed over and sent. A burst of calls is
/// then at work in several places at once (both network threads, callers, handlers) instead of moving from one to the next.
const SLICE: usize = 16;
/// Calls come and go while the last one came or went so lately.
const LATELY: Duration = Duration::from_millis(10);
/// Turns of settling and sending in a row before the sockets are asked again.
const TURNS: usize = 16;
/// While a socket is blocked the stack has output that cannot go; it is not asked more often than this.
const BLOCKED: Duration = Duration::from_millis(5);
/// How often the wall clock is compared with what the monotonic one implies.
const WALL_EVERY: Duration = Duration::from_secs(10);
/// A step of the wall clock that is worth telling.
const WALL_STEP: u64 = 100; // milliseconds

/// The token of the waker; sockets have their numbers.
const WAKE: mio::Token = mio::Token(usize::MAX);

/// A new identity, Ed25519, from the system's randomness. Keep [`Keypair::to_protobuf`] secret and safe: peers know the node
/// by it.
///
/// # Errors
/// [`StartError::System`] where the system has no randomness.
pub fn random_keypair() -> Result<Keypair, StartError> {
    random_seed().map(Keypair::ed25519_from_seed)
}

fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    let failed = |error| StartError::System { what: "no randomness", source: io::Error::other(error) };
    getrandom::fill(&mut seed).map_err(failed)?;
    Ok(seed)
}

/// Binds, and starts the thread.
pub(crate) fn start(mut plan: Plan) -> Result<(Network, Node), StartError> {
    let system = |what| move |source| StartError::System { what, source };
    let poll = mio::Poll::new().map_err(system("no event queue"))?;
    let waker = Arc::new(mio::Waker::new(poll.registry(), WAKE).map_err(system("no waker"))?);
    let sockets = Sockets::bind(&plan.listen, &plan.config, poll.registry())?;
    let me = plan.keypair.peer_id();
    let addresses =
        sockets.addresses().map(Multiaddr::from_quic).filter_map(|address| address.with_p2p(me).ok());
    let addresses = addresses.collect();

    let anchor = std::time::Instant::now();
    let wall = wall_time();
    let seed = random_seed()?;
    let bell = Bell::native(Arc::clone(&waker));
    let shared = plan.share(bell, Clock::Native(anchor), Driver::Thread, addresses);
    let mut stack = Stack::new(plan.stack, plan.keypair, seed, Start { anchor, wall })?;
    for bound in sockets.bound() {
        stack.handle(Instant::ZERO, Input::Host(bound));
    }
    for known in plan.peers {
        stack
            .command(Instant::ZERO, Command::AddPeer(known))
            .map_err(|refused| StartError::Address { address: refused.to_string() })?;
    }
    let resolver = Resolver::new(plan.config.sockets.max_queries as usize, waker);
    let core = Core::new(stack, Arc::clone(&shared));
    let host = Host { poll, sockets, resolver, core, wall: (Instant::ZERO, wall), origin: wall };
    let guard = CloseOnDrop(Arc::clone(&shared));
    let thread = std::thread::Builder::new()
        .name("weir-net".into())
        .spawn(move || {
            let guard = guard; // also after a panic: no handle may wait for ever
            host.run();
            drop(guard);
        })
        .map_err(system("no thread"))?;
    let lease = Arc::new(Lease { shared, thread: Mutex::new(Some(thread)) });
    Ok((Network::of(&lease), Node::new(lease)))
}

struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn wall_time() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

struct Host {
    poll: mio::Poll,
    sockets: Sockets,
    resolver: Resolver,
    core: Core,
    wall: (Instant, UnixTime), // when it was last compared, and the step told so far is in `origin`
    origin: UnixTime,          // wall time at the zero of the monotonic clock, as the stack knows it
}

impl Host {
    fn run(mut self) {
        let mut events = mio::Events::with_capacity(64);
        let mut busy = true;
        loop {
            if let Err(error) = self.look(&mut events, busy) {
                tracing::error!(%error, "the event queue failed; the node stops");
                break;
            }
            busy = self.round();
            if self.core.stopped() {
                break;
            }
        }
        self.core.close();
    }

    /// Asks the system for readiness. Sleeps until the next timeout, unless there is work left.
    fn look(&mut self, events: &mut mio::Events, busy: bool) -> io::Result<()> {
        let timeout = if busy { Some(Duration::ZERO) } else { self.sleep_for() };
        let sleeping = timeout != Some(Duration::ZERO);
        self.core.host().sleeps += u64::from(sleeping);
        let polled = self.poll.poll(events, timeout);
        self.core.shared().inbox.bell().rise();
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in events.iter().filter(|event| event.token() != WAKE) {
            self.sockets.ready(event);
        }
        Ok(())
    }

    /// How long nothing has to be done; from here on, whoever has something rings.
    fn sleep_for(&mut self) -> Option<Duration> {
        let inbox = &self.core.shared().inbox;
        inbox.bell().doze();
        if !inbox.is_empty() {
            inbox.bell().rise();
            return Some(Duration::ZERO);
        }
        let now = self.core.shared().clock.now();
        let pause = self.core.poll_timeout(now).map(|due| due.since(now));
        match pause {
            Some(pause) if self.sockets.is_blocked() => Some(pause.max(BLOCKED)),
            pause => pause,
        }
    }

    /// One round. True where work is left.
    fn round(&mut self) -> bool {
        self.core.host().rounds += 1;
        let now = self.core.shared().clock.now();
        self.compare_clocks(now);
        for (query, addresses) in self.resolver.answers() {
            self.core.handle(now, Input::Resolved { query, addresses });
        }
        let (datagrams, commands) =
            if self.core.has_called(now, LATELY) { (SLICE, SLICE) } else { (usize::MAX, COMMANDS) };
        let unread = self.sockets.receive(now, BATCHES, datagrams, &mut self.core);
        let uncommanded = self.core.commands(now, commands);
        self.core.handle_timeout(now);
        let mut turns = 0;
        loop {
            let handed = self.core.settle(now);
            self.act(now);
            let sent = self.sockets.send(now, &mut self.core);
            turns += 1;
            if !handed && !sent {
                return unread || uncommanded;
            }
            if turns == TURNS {
                return true;
            }
        }
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.core.machine().poll_action() {
            match action {
                Action::Resolve { query, name, family } => {
                    if !self.resolver.ask(query, name, family) {
                        self.core.handle(now, Input::Resolved { query, addresses: Vec::new() });
                    }
                }
                // Memory addresses lead nowhere outside a simulation.
                Action::DialWire { dial, .. } => {
                    self.core.handle(now, Input::Wire(WireId(0), WireChange::Refused(dial)));
                }
                other => self.core.note(other),
            }
        }
    }

    /// Tells the stack where the wall clock was set.
    fn compare_clocks(&mut self, now: Instant) {
        if now.since(self.wall.0) < WALL_EVERY {
            return;
        }
        let wall = wall_time();
        let implied = self.origin + now.since(Instant::ZERO);
        self.wall = (now, wall);
        if wall.as_millis().abs_diff(implied.as_millis()) > WALL_STEP {
            self.core.handle(now, Input::Host(HostChange::Wall(wall)));
            let up = u64::try_from(now.since(Instant::ZERO).as_millis()).unwrap_or(u64::MAX);
            self.origin = UnixTime::from_millis(wall.as_millis().saturating_sub(up));
        }
    }
}
