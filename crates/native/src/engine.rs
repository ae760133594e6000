//! All that drives a node: the core, its sockets and the resolver. Whoever holds it may carry out a turn.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_base::{Instant, KIB, UnixTime};
use weir_node::host::Core;
use weir_stack::{Action, HostChange, Input, WireChange, WireId};

use super::pipes::Pipes;
use super::resolver::Resolver;
use super::socket::Sockets;

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
/// How often the wall clock is compared with what the monotonic one implies.
const WALL_EVERY: Duration = Duration::from_secs(10);
/// A step of the wall clock that is worth telling.
const WALL_STEP: u64 = 100; // milliseconds

/// Bytes that a turn sends before the sockets are asked again: some milliseconds of sealing. What came meanwhile waits no longer,
/// however much all links have to send.
const TURN_BYTES: usize = 2 << 20;
/// Bytes that a turn sends while a socket still has what was not read: everybody's next request waits behind that. So
/// the socket empties faster than acknowledgements of what is sent fill it.
const UNREAD_BYTES: usize = 128 * KIB;
/// What an inline turn sends. The rest is the network thread's.
const INLINE: Allowance = Allowance { calls: 4, bytes: TURN_BYTES };

/// What may still be sent in a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    calls: usize, // of the system
    bytes: usize,
}

impl Allowance {
    /// Of a turn of the network thread.
    const fn of_turn(unread: bool) -> Self {
        Self { calls: usize::MAX, bytes: if unread { UNREAD_BYTES } else { TURN_BYTES } }
    }

    /// One call has sent so much. The last one may send more than was left.
    pub(super) const fn spend(&mut self, bytes: usize) {
        self.calls = self.calls.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether nothing more may be sent.
    pub(super) const fn is_spent(&self) -> bool {
        self.calls == 0 || self.bytes == 0
    }
}

/// See the module.
pub(super) struct Engine {
    sockets: Sockets,
    pipes: Pipes,
    resolver: Resolver,
    pub(super) core: Core, // behind the sockets: its end is told once their ports are free
    wall: (Instant, UnixTime), // when it was last compared, and the step told so far is in `origin`
    origin: UnixTime,      // wall time at the zero of the monotonic clock, as the stack knows it
    anchor: std::time::Instant, // the zero of the monotonic clock
    until: Option<Instant>, // when the network thread wakes by itself, while it sleeps; `None` for never
}

impl Engine {
    pub(super) fn new(
        core: Core,
        (sockets, pipes): (Sockets, Pipes),
        resolver: Resolver,
        anchor: std::time::Instant,
        wall: UnixTime,
    ) -> Self {
        Self {
            core,
            sockets,
            pipes,
            resolver,
            anchor,
            wall: (Instant::ZERO, wall),
            origin: wall,
            until: None,
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.anchor.elapsed()
    }

    /// The network thread is up, with what the system says of the sockets.
    pub(super) fn wake_up(&mut self, events: &mio::Events) {
        self.core.wake_up();
        for event in events.iter().filter(|event| event.token() != super::WAKE) {
            if !self.pipes.ready(event) {
                self.sockets.ready(event);
            }
        }
    }

    /// How long nothing has to be done; from here on, handles wake the network thread.
    pub(super) fn sleep_for(&mut self) -> Option<Duration> {
        let now = self.now();
        let due = [self.core.poll_timeout(now), self.pipes.due()].into_iter().flatten().min();
        if !self.sleep() {
            return Some(Duration::ZERO);
        }
        self.until = due;
        let pause = self.until.map(|until| until.since(now));
        self.core.counters().sleeps += u64::from(pause != Some(Duration::ZERO));
        pause
    }

    /// Lets handles wake the network thread. False where one was quicker: then nothing has changed.
    fn sleep(&self) -> bool {
        let asleep = self.core.sleep();
        if !asleep {
            self.core.wake_up();
        }
        asleep
    }

    /// A turn of the network thread. True where work is left.
    pub(super) fn turn(&mut self) -> bool {
        self.core.counters().rounds += 1;
        let now = self.now();
        self.compare_clocks(now);
        for (query, addresses) in self.resolver.answers() {
            self.core.handle(now, Input::Resolved { query, addresses });
        }
        let (datagrams, commands) =
            if self.core.has_called(now, LATELY) { (SLICE, SLICE) } else { (usize::MAX, COMMANDS) };
        let unread = self.sockets.receive(now, BATCHES, datagrams, &mut self.core);
        let unread = self.pipes.receive(now, &mut self.core) || unread;
        let uncommanded = self.core.commands(now, commands);
        self.core.handle_timeout(now);
        self.drain(now, Allowance::of_turn(unread)) || unread || uncommanded || self.pipes.wants_to_read()
    }

    /// A turn on the thread of a handle that has something urgent, while the network thread sleeps. False where the network
    /// thread has to wake: something is left, or due before it would.
    pub(super) fn inline_turn(&mut self) -> bool {
        self.core.counters().inline_turns += 1;
        let now = self.now();
        let uncommanded = self.core.commands(now, SLICE);
        let left = self.drain(now, INLINE) || uncommanded || self.pipes.wants_to_read();
        if left || self.core.is_ending() {
            return false;
        }
        let due = self.core.poll_timeout(now);
        let in_time = due.is_none_or(|due| self.until.is_some_and(|until| until <= due));
        in_time && self.sleep()
    }

    /// Hands over, acts and sends, as much as is allowed, until nothing comes of it. True where there may be more.
    fn drain(&mut self, now: Instant, mut allowance: Allowance) -> bool {
        for _ in 0..TURNS {
            let handed = self.core.settle(now);
            self.act(now);
            let sent = self.sockets.send(now, &mut allowance, &mut self.core);
            let sent = self.pipes.send(now, &mut allowance, &mut self.core) || sent;
            if !handed && (!sent || allowance.is_spent()) {
                return allowance.is_spent();
            }
        }
        true
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.core.poll_action() {
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
                Action::DialPipe { pipe, remote } => self.pipes.dial(now, pipe, remote, &mut self.core),
                Action::ReadPipe(pipe) => self.pipes.read_again(pipe),
                Action::ClosePipe(pipe) => self.pipes.close(pipe),
                other => tracing::debug!(?other, "an action that this host does not know"),
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

/// The wall clock.
pub(super) fn wall_time() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
