//! TCP: the stack's byte streams over sockets that never block.
//!
//! - a listener accepts a bounded number in a row, and never ends: where the process has no descriptor left it pauses;
//! - a connection is read only while the stack has room for its bytes;
//! - what the system does not take at once waits here, one chunk of a connection at most: the stack gives nothing more for it
//!   until that is out.
//!
//! Threat: whoever connects costs a descriptor until the stack has refused it, which is in the same turn: admission decides how
//! many strangers there may be. Readiness is told by the edge, so everything is asked until it would block.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use weir_base::multiaddr::{Multiaddr, Transport};
use weir_base::{Instant, KIB};
use weir_node::StartError;
use weir_node::host::Core;
use weir_stack::{Input, PipeChange, PipeId};

use crate::allowance::Allowance;
use crate::queue::WAKE;
use crate::read_queue::{ReadQueue, Served};

/// Connections accepted in a row from one listener before what they bring is handed over.
const ACCEPTS: usize = 16;
/// Reading system calls in a row, over all connections.
const READS: usize = 16;
/// How long connections are read in a row, and what a read may take: it may bring hundreds of frames, each of which makes work.
const READ_TIME: Duration = Duration::from_micros(500);
/// Bytes of one read, at least and at most, but for those of a long record, which the stack bounds.
const READ_MIN: usize = 4 * KIB;
const READ_MAX: usize = 64 * KIB;
/// Connections that wait to be accepted, in the system.
const BACKLOG: i32 = 1_024;
/// How long a listener pauses where the process, or the system, has no descriptor or memory left.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes that the system takes and has not sent (`TCP_NOTSENT_LOWAT`): what it has can no longer be overtaken by what is urgent.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 64 * 1024;

/// The tokens of listeners, and of connections, begin here; those of UDP sockets are below.
const LISTENERS: usize = 1 << 16;
const PIPES: usize = 1 << 17;

struct Listener {
    io: TcpListener,
    local: SocketAddr,
    readable: bool, // until it would block
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
    /// The peer has ended its direction.
    Ended,
}

struct Pipe {
    io: TcpStream,
    state: State,
    ended: bool,  // the system has told of the peer's end: it is read however few bytes come before
    queued: bool, // it stands in `to_read`
    served: Served, // how far it was read
    at_once: usize, // bytes of its next read, READ_MIN to READ_MAX
    unsent: BytesMut, // <= one chunk of the stack
    finish: bool, // behind what is unsent
}

/// All TCP sockets of a node.
pub(crate) struct Pipes {
    listeners: Vec<Listener>,
    all: BTreeMap<PipeId, Pipe>,
    to_read: ReadQueue<PipeId>, // readable, and the stack has room as far as is known
    to_write: VecDeque<PipeId>, // connecting, or blocked before, and the system says that something has changed
    next: u64,                  // of those that are accepted; odd
    paused: Option<Instant>,    // until then nothing is accepted
    registry: Registry,
    memory: Vec<u8>, // READ_MAX
    out: BytesMut,   // scratch
}

impl Pipes {
    /// Listens at all of these addresses that are TCP's, or at none.
    pub(crate) fn bind(listen: &[Multiaddr], registry: &Registry) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        for address in listen {
            if let Some((Transport::Tcp, local)) = address.socket_addr() {
                listeners.push(Listener::bind(listeners.len(), local, registry)?);
            }
        }
        let registry =
            registry.try_clone().map_err(|source| StartError::System { what: "no event queue", source })?;
        Ok(Self {
            listeners,
            all: BTreeMap::new(),
            to_read: ReadQueue::default(),
            to_write: VecDeque::new(),
            next: 1,
            paused: None,
            registry,
            memory: vec![0; READ_MAX],
            out: BytesMut::new(),
        })
    }

    /// Where this node listens.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().map(|listener| listener.local)
    }

    /// The system says that something has changed. False where it is none of these.
    pub(crate) fn ready(&mut self, event: &mio::event::Event) -> bool {
        let token = event.token().0;
        if token < LISTENERS {
            return false;
        }
        let Some(number) = token.checked_sub(PIPES) else {
            if let Some(listener) = self.listeners.get_mut(token - LISTENERS) {
                listener.readable = true;
            }
            return true;
        };
        let id = PipeId(number as u64);
        let Some(pipe) = self.all.get_mut(&id) else { return true };
        if pipe.state == State::Open && (event.is_readable() || event.is_read_closed() || event.is_error()) {
            pipe.ended |= event.is_read_closed() || event.is_error();
            if !std::mem::replace(&mut pipe.queued, true) {
                self.to_read.push(id, pipe.served);
            }
        }
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            self.to_write.push_back(id);
        }
        true
    }

    /// When something has to be done without an event.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.paused.filter(|_| self.listeners.iter().any(|listener| listener.readable))
    }

    /// Whether there may be something to read that the stack has room for.
    pub(crate) fn wants_to_read(&self) -> bool {
        !self.to_read.is_empty()
    }

    /// Accepts, connects and reads, a bounded number of times. True where there may be more.
    pub(crate) fn receive(&mut self, now: Instant, core: &mut Core) -> bool {
        self.connect(now, core);
        let accepted = self.accept(now, core);
        let read = self.read(now, core);
        accepted || read
    }

    fn accept(&mut self, now: Instant, core: &mut Core) -> bool {
        if self.paused.is_some_and(|until| now < until) {
            return false;
        }
        self.paused = None;
        let mut more = false;
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS {
                let Some(listener) = self.listeners.get_mut(index).filter(|listener| listener.readable)
                else {
                    break;
                };
                match listener.io.accept() {
                    Ok((io, remote)) => self.accepted(now, io, remote, core),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.readable = false,
                    // Of one connection, which is gone: the next one may be well.
                    Err(error) if of_one(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept connections; trying again");
                        self.paused = Some(now + PAUSE);
                        return more;
                    }
                }
            }
            more |= self.listeners.get(index).is_some_and(|listener| listener.readable);
        }
        more
    }

    fn accepted(&mut self, now: Instant, io: TcpStream, remote: SocketAddr, core: &mut Core) {
        let id = PipeId(self.next);
        self.next += 2;
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        if self.add(id, io, State::Open) {
            core.handle(now, Input::Pipe(id, PipeChange::Accepted { remote }));
        }
    }

    /// Begins to connect a byte stream of the stack.
    pub(crate) fn dial(&mut self, now: Instant, id: PipeId, remote: SocketAddr, core: &mut Core) {
        let connecting = TcpStream::connect(remote);
        let begun = match connecting {
            Ok(io) => self.add(id, io, State::Connecting),
            Err(error) => {
                tracing::debug!(%error, "cannot connect");
                false
            }
        };
        if !begun {
            core.handle(now, Input::Pipe(id, PipeChange::Failed));
        }
    }

    fn add(&mut self, id: PipeId, mut io: TcpStream, state: State) -> bool {
        let token = usize::try_from(id.0).ok().and_then(|number| number.checked_add(PIPES)).map(Token);
        let Some(token) = token.filter(|token| *token != WAKE) else { return false };
        // The stack makes large writes of small ones, and decides what goes first.
        for result in [io.set_nodelay(true), keep_little(&io)] {
            if let Err(error) = result {
                tracing::debug!(%error, "the connection keeps its socket options");
            }
        }
        if let Err(error) = self.registry.register(&mut io, token, Interest::READABLE | Interest::WRITABLE) {
            tracing::warn!(%error, "the event queue cannot be told what to watch");
            return false;
        }
        let pipe = Pipe {
            io,
            state,
            ended: false,
            queued: false,
            served: self.to_read.newcomer(),
            at_once: READ_MIN,
            unsent: BytesMut::new(),
            finish: false,
        };
        self.all.insert(id, pipe);
        true
    }

    /// Those that were connecting, and blocked ones, as the system has told.
    fn connect(&mut self, now: Instant, core: &mut Core) {
        for _ in 0..self.to_write.len() {
            let Some(id) = self.to_write.pop_front() else { return };
            let Some(pipe) = self.all.get_mut(&id) else { continue };
            if pipe.state != State::Connecting {
                self.resend(now, id, core);
                continue;
            }
            match pipe.connected() {
                Some(true) => {
                    pipe.state = State::Open;
                    core.handle(now, Input::Pipe(id, PipeChange::Connected));
                    self.read_again(id);
                }
                Some(false) => {
                    self.all.remove(&id);
                    core.handle(now, Input::Pipe(id, PipeChange::Failed));
                }
                None => {}
            }
        }
    }

    /// The stack has room for this one's bytes again.
    pub(crate) fn read_again(&mut self, id: PipeId) {
        let Some(pipe) = self.all.get_mut(&id).filter(|pipe| pipe.state == State::Open) else { return };
        if !std::mem::replace(&mut pipe.queued, true) {
            self.to_read.push(id, pipe.served);
        }
    }

    fn read(&mut self, now: Instant, core: &mut Core) -> bool {
        let mut took = Duration::ZERO;
        for _ in 0..READS {
            if took >= READ_TIME {
                break;
            }
            let Some((id, started)) = self.to_read.pop() else { return false };
            let begun = std::time::Instant::now();
            let Some(pipe) = self.all.get_mut(&id) else { continue };
            pipe.queued = false;
            let (io, mut result) = (&mut pipe.io, None);
            let memory = self.memory.get_mut(..pipe.at_once).unwrap_or_default();
            core.stack().read_pipe(now, id, memory, &mut |memory| {
                let read = io.read(memory);
                let len = read.as_ref().map_or(0, |len| *len);
                result = Some((read, memory.len()));
                len
            });
            let one = begun.elapsed();
            took += one;
            pipe.served = started.until(one);
            pipe.at_once = next_read(pipe.at_once, one);
            let Some((read, room)) = result else { continue }; // the stack says when there is room
            core.counters().receives += 1;
            let change = match read {
                Ok(0) => {
                    pipe.state = State::Ended;
                    PipeChange::Finished
                }
                Ok(len) => {
                    // Fewer than asked for: more will be told of, unless the end was told of already.
                    if len == room || pipe.ended {
                        pipe.queued = true;
                        self.to_read.push(id, pipe.served);
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    pipe.queued = true;
                    self.to_read.push(id, pipe.served);
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection broke");
                    self.all.remove(&id);
                    PipeChange::Closed
                }
            };
            core.handle(now, Input::Pipe(id, change));
        }
        !self.to_read.is_empty()
    }

    /// Sends what the stack has, as much as is allowed. Whether there was anything.
    pub(crate) fn send(&mut self, now: Instant, allowance: &mut Allowance, core: &mut Core) -> bool {
        let mut any = false;
        while !allowance.is_spent() {
            self.out.clear();
            let Some(transmit) = core.stack().poll_pipe(now, &mut self.out) else { break };
            any = true;
            allowance.spend(transmit.len);
            let Some(pipe) = self.all.get_mut(&transmit.pipe) else { continue };
            pipe.finish |= transmit.finish;
            core.counters().sends += 1;
            match pipe.write(&self.out) {
                Ok(taken) if taken == self.out.len() => pipe.end_if_told(),
                Ok(taken) => {
                    pipe.unsent = std::mem::take(&mut self.out).split_off(taken);
                    core.handle(now, Input::Pipe(transmit.pipe, PipeChange::Blocked));
                }
                Err(error) => self.broke(now, transmit.pipe, &error, core),
            }
        }
        any
    }

    /// The system may take bytes again.
    fn resend(&mut self, now: Instant, id: PipeId, core: &mut Core) {
        let Some(pipe) = self.all.get_mut(&id).filter(|pipe| !pipe.unsent.is_empty()) else { return };
        let mut bytes = std::mem::take(&mut pipe.unsent);
        core.counters().sends += 1;
        match pipe.write(&bytes) {
            Ok(taken) if taken == bytes.len() => {
                pipe.end_if_told();
                core.handle(now, Input::Pipe(id, PipeChange::Writable));
            }
            Ok(taken) => pipe.unsent = bytes.split_off(taken),
            Err(error) => self.broke(now, id, &error, core),
        }
    }

    fn broke(&mut self, now: Instant, id: PipeId, error: &io::Error, core: &mut Core) {
        tracing::debug!(%error, "a connection broke");
        self.all.remove(&id);
        core.handle(now, Input::Pipe(id, PipeChange::Closed));
    }

    /// The stack has forgotten it: what the system still takes goes out.
    pub(crate) fn close(&mut self, id: PipeId) {
        let Some(mut pipe) = self.all.remove(&id) else { return };
        let bytes = std::mem::take(&mut pipe.unsent);
        if let Err(error) = pipe.write(&bytes) {
            tracing::debug!(%error, "a connection broke while it was closed");
        }
    }
}

/// Bytes of the next read, after one of so many took so long.
fn next_read(bytes: usize, took: Duration) -> usize {
    match took {
        _ if took > READ_TIME => (bytes / 2).max(READ_MIN),
        _ if took < READ_TIME / 2 => (bytes * 2).min(READ_MAX),
        _ => bytes,
    }
}

impl Listener {
    fn bind(index: usize, address: SocketAddr, registry: &Registry) -> Result<Self, StartError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::InUse { address },
            _ => StartError::Listen { address, source },
        };
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))
            .map_err(failed)?;
        if address.is_ipv6() {
            // Both families may have the same port; IPv4 peers never appear as mapped IPv6 addresses.
            socket.set_only_v6(true).map_err(failed)?;
        }
        // Connections of an earlier run that the system still remembers keep nobody from listening. On Windows the option would
        // let two programs share a port.
        #[cfg(unix)]
        socket.set_reuse_address(true).map_err(failed)?;
        socket.bind(&address.into()).map_err(failed)?;
        socket.listen(BACKLOG).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let mut io = TcpListener::from_std(socket.into());
        let local = io.local_addr().map_err(failed)?;
        registry.register(&mut io, Token(LISTENERS + index), Interest::READABLE).map_err(failed)?;
        Ok(Self { io, local, readable: true })
    }
}

impl Pipe {
    /// What came of connecting; `None`: it goes on.
    fn connected(&self) -> Option<bool> {
        match self.io.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => {
                tracing::debug!(%error, "cannot connect");
                return Some(false);
            }
        }
        match self.io.peer_addr() {
            Ok(_) => Some(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(_) => Some(false),
        }
    }

    /// Writes until all is out or the system takes no more; how many bytes it took.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.io.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => taken += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Ends this side's direction, where all is out that was to go before.
    fn end_if_told(&mut self) {
        if std::mem::take(&mut self.finish)
            && let Err(error) = self.io.shutdown(Shutdown::Write)
        {
            tracing::debug!(%error, "a connection broke before its end");
        }
    }
}

/// Whether an error of accepting concerns one connection alone.
fn of_one(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::Interrupted
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}

/// Lets the system keep little that is not sent.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn keep_little(io: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(io).set_tcp_notsent_lowat(UNSENT)
}

/// Here the system has no such option.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn keep_little(_: &TcpStream) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_took_long_makes_the_next_one_shorter() {
        let micros = Duration::from_micros;
        assert_eq!(next_read(32 * KIB, micros(501)), 16 * KIB);
        assert_eq!(next_read(READ_MIN, micros(501)), READ_MIN);
        assert_eq!([500, 250].map(|took| next_read(32 * KIB, micros(took))), [32 * KIB; 2]);
        assert_eq!(next_read(32 * KIB, micros(249)), READ_MAX);
        assert_eq!(next_read(READ_MAX, micros(249)), READ_MAX);
    }
}
