//! All that drives a node: the core, its sockets and the resolver.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_base::{Instant, UnixTime};
use weir_node::host::Core;
use weir_stack::{Action, HostChange, Input, WireChange, WireId};

use crate::allowance::Allowance;
use crate::backlog::Budget;
use crate::pipes::Pipes;
use crate::queue::WAKE;
use crate::resolver::Resolver;
use crate::socket::Sockets;

/// Receiving system calls in a row, over all sockets, before what came is handed over and acknowledged. With more, peers
/// wait for each other's whole bursts: both ends of a link would work in turns instead of at once.
const BATCHES: usize = 4;
/// Commands in a row before sockets have their turn.
const COMMANDS: usize = 256;
/// While calls come and go: datagrams, and commands, in a row before what they bring is handed over and sent. A burst of calls is
/// then at work in several places at once (both network threads, callers, handlers) instead of moving from one to the next.
const SLICE: usize = 16;
/// Datagrams of handshakes that are handed over in a turn: each may take half a millisecond.
const HANDSHAKES: usize = 2;
/// Calls come and go while the last one came or went so lately.
const LATELY: Duration = Duration::from_millis(10);
/// Turns of settling and sending in a row before the sockets are asked again.
const TURNS: usize = 16;
/// How often the wall clock is compared with what the monotonic one implies.
const WALL_EVERY: Duration = Duration::from_secs(10);
/// A step of the wall clock that is worth telling.
const WALL_STEP: u64 = 100; // milliseconds

/// See the module.
pub(super) struct Engine {
    sockets: Sockets,
    pipes: Pipes,
    resolver: Resolver,
    pub(super) core: Core, // behind the sockets: its end is told once their ports are free
    wall: (Instant, UnixTime), // when it was last compared, and the step told so far is in `origin`
    origin: UnixTime,      // wall time at the zero of the monotonic clock, as the stack knows it
    anchor: std::time::Instant, // the zero of the monotonic clock
}

impl Engine {
    pub(super) fn new(
        core: Core,
        (sockets, pipes): (Sockets, Pipes),
        resolver: Resolver,
        anchor: std::time::Instant,
        wall: UnixTime,
    ) -> Self {
        Self { core, sockets, pipes, resolver, anchor, wall: (Instant::ZERO, wall), origin: wall }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.anchor.elapsed()
    }

    /// The network thread is up, with what the system says of the sockets.
    pub(super) fn wake_up(&mut self, events: &mio::Events) {
        self.core.wake_up();
        for event in events.iter().filter(|event| event.token() != WAKE) {
            if !self.pipes.ready(event) {
                self.sockets.ready(event);
            }
        }
    }

    /// How long nothing has to be done; from here on, handles wake the network thread.
    pub(super) fn sleep_for(&mut self) -> Option<Duration> {
        let now = self.now();
        let due = [self.core.poll_timeout(now), self.pipes.due()].into_iter().flatten().min();
        if !self.core.sleep() {
            self.core.wake_up(); // a handle was quicker
            return Some(Duration::ZERO);
        }
        let pause = due.map(|due| due.since(now));
        self.core.counters().sleeps += u64::from(pause != Some(Duration::ZERO));
        pause
    }

    /// A turn. True where work is left.
    pub(super) fn turn(&mut self) -> bool {
        self.core.counters().rounds += 1;
        let now = self.now();
        self.compare_clocks(now);
        for (query, addresses) in self.resolver.answers() {
            self.core.handle(now, Input::Resolved { query, addresses });
        }
        let (datagrams, commands) =
            if self.core.has_called(now, LATELY) { (SLICE, SLICE) } else { (usize::MAX, COMMANDS) };
        let budget = Budget { datagrams, handshakes: HANDSHAKES };
        let unread = self.sockets.receive(now, BATCHES, budget, &mut self.core);
        let unread = self.pipes.receive(now, &mut self.core) || unread;
        let uncommanded = self.core.commands(now, commands);
        self.core.handle_timeout(now);
        self.drain(now, Allowance::of_turn(unread)) || unread || uncommanded || self.pipes.wants_to_read()
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

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use weir_base::NetworkId;
    use weir_base::identity::Keypair;
    use weir_base::multiaddr::Multiaddr;
    use weir_node::{Config, Network};

    use super::*;
    use crate::allowance::{EACH, UNREAD_BYTES};
    use crate::driver::Driver;
    use crate::prepare::{Parts, prepare};

    /// Peers that never answer: a socket for each.
    fn silent_peers(count: usize) -> Vec<UdpSocket> {
        let bind = |_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        (0..count).map(bind).collect()
    }

    /// A node that dials all of them in its next turn, and the address of its socket.
    fn node(peers: &[UdpSocket]) -> (Parts<Driver, ()>, Multiaddr) {
        let mut config = Config::default();
        config.node.peers.max_dials = u32::try_from(peers.len()).unwrap();
        config.node.dial.max_dials = peers.len();
        let named = peers.iter().zip(1..).map(|(socket, number): (_, u64)| {
            let mut seed = [9; 32];
            seed.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
            let peer = Keypair::ed25519_from_seed(seed).peer_id();
            Multiaddr::from_quic(socket.local_addr().unwrap()).with_p2p(peer).unwrap()
        });
        let builder = Network::builder(Keypair::ed25519_from_seed([8; 32]), NetworkId([7; 32]))
            .listen("/ip4/127.0.0.1/udp/0/quic-v1")
            .peers(named)
            .config(config);
        let parts = prepare(builder, Driver::new).unwrap();
        let address = parts.application.0.addresses()[0].clone();
        (parts, address)
    }

    /// How many of them were sent something since this was last asked, and how many bytes to all.
    fn reached(peers: &[UdpSocket]) -> (usize, usize) {
        let mut buffer = [0; 2_048];
        let come = |socket: &UdpSocket| {
            let mut bytes = 0;
            while let Ok(more) = socket.recv(&mut buffer) {
                bytes += more;
            }
            bytes
        };
        let bytes: Vec<usize> = peers.iter().map(come).collect();
        (bytes.iter().filter(|bytes| **bytes > 0).count(), bytes.iter().sum())
    }

    #[test]
    fn a_drain_stops_after_the_call_that_sends_the_last_byte_allowed() {
        let peers = silent_peers(8);
        let (mut parts, _) = node(&peers);
        let now = parts.engine.now();
        parts.engine.core.handle_timeout(now);
        assert!(parts.engine.drain(now, Allowance::of(1)), "something is left");
        let (one, bytes) = reached(&peers);
        assert_eq!(one, 1);
        assert!(parts.engine.drain(now, Allowance::of(bytes + EACH + 1)));
        assert_eq!(reached(&peers).0, 2);
        assert!(!parts.engine.drain(now, Allowance::of(1 << 20)));
        assert_eq!(reached(&peers).0, 5);
    }

    #[test]
    fn a_turn_that_leaves_datagrams_unread_sends_64_kib_and_the_next_one_the_rest() {
        let peers = silent_peers(150);
        let (mut parts, address) = node(&peers);
        let (_, listening) = address.socket_addr().unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        for size in 0..200 {
            stranger.send_to(&vec![0; 20 + size], listening).unwrap(); // of different sizes, so that the kernel joins none
        }
        let mut events = mio::Events::with_capacity(64);
        parts.poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        parts.engine.wake_up(&events);
        assert!(parts.engine.turn());
        let (some, bytes) = reached(&peers);
        let calls = usize::try_from(parts.engine.core.counters().sends).unwrap(); // some answer the stranger
        let spent = bytes + calls * EACH;
        assert!(
            (UNREAD_BYTES..UNREAD_BYTES + EACH + 1_500).contains(&spent),
            "{bytes} bytes to {some}, {calls} calls"
        );
        let mut turns = 1;
        while parts.engine.turn() {
            turns += 1;
        }
        assert!(turns > 1 && reached(&peers).0 >= 150 - some);
    }

    #[test]
    fn nobody_waits_behind_a_burst_of_another() {
        let (mut parts, address) = node(&silent_peers(1));
        let (_, listening) = address.socket_addr().unwrap();
        let mut unknown_version = vec![0; 1_200]; // which is answered at once (RFC 9000, section 6)
        unknown_version[..6].copy_from_slice(&[0xc0, 0x0a, 0x0a, 0x0a, 0x0a, 8]);
        let senders = silent_peers(2);
        for _ in 0..80 {
            senders[0].send_to(&unknown_version, listening).unwrap();
        }
        senders[1].send_to(&unknown_version, listening).unwrap();
        let mut events = mio::Events::with_capacity(64);
        parts.poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        let engine = &mut parts.engine;
        engine.wake_up(&events);
        let now = engine.now();
        let mut buffer = [0; 2_048];
        let budget = Budget { datagrams: SLICE, handshakes: HANDSHAKES };
        for _ in 0..6 {
            assert!(engine.sockets.receive(now, BATCHES, budget, &mut engine.core), "more is left");
            engine.drain(now, Allowance::of_turn(true));
        }
        senders[1].recv(&mut buffer).expect("an answer");
        let answered = (0..80).take_while(|_| senders[0].recv(&mut buffer).is_ok()).count();
        assert!((2..20).contains(&answered), "{answered}");
        while engine.sockets.receive(now, BATCHES, budget, &mut engine.core) {
            engine.drain(now, Allowance::of_turn(true));
        }
        assert_eq!(engine.core.counters().datagrams_in, 81);
    }

    #[test]
    fn nothing_overtakes_a_handshake_of_its_sender() {
        let (mut parts, address) = node(&silent_peers(1));
        let (_, listening) = address.socket_addr().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (size, first) in [0xc0, 0xc0, 0xc0, 0x40, 0x40].into_iter().enumerate() {
            let mut datagram = vec![0; 40 + size]; // of different sizes, so that the kernel joins none
            datagram[0] = first;
            sender.send_to(&datagram, listening).unwrap();
        }
        let mut events = mio::Events::with_capacity(64);
        parts.poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        let engine = &mut parts.engine;
        engine.wake_up(&events);
        let (now, budget) = (engine.now(), Budget { datagrams: usize::MAX, handshakes: 2 });
        for (more, handed_over) in [(true, 2), (false, 5)] {
            assert_eq!(engine.sockets.receive(now, BATCHES, budget, &mut engine.core), more);
            assert_eq!(engine.core.counters().datagrams_in, handed_over);
        }
    }
}
