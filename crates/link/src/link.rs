//! One link, whatever its transport.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weir_base::multiaddr::{Multiaddr, Transport};
use weir_base::stream::{Class, Goodbye, LinkInfo, OpenError};
use weir_base::{Fault, Instant, LinkId, ProtocolId, Rope};

use crate::Event;
use crate::carrier::{Carrier, EndpointId, LinkStats, Read};
use crate::event::{DialId, DownReason};
use crate::named::{Named, Telling};
use crate::streams::NAMED;
use crate::window::Window;

/// One authenticated connection with byte streams.
#[derive(Debug)]
pub struct Link {
    id: LinkId,
    pub(crate) info: Option<LinkInfo>, // none while the handshake runs
    pub(crate) life: Life,
    pub(crate) window: Window,
    pub(crate) endpoint: EndpointId,
    pub(crate) carrier: Box<dyn Carrier>,
    pub(crate) origin: LinkOrigin,
    pub(crate) named: Named,
    linger: Duration,
    streamed: u64, // what had come on its streams with the handshake
}

/// How a link came to be.
#[derive(Debug)]
pub(crate) struct LinkOrigin {
    /// Whether this side dialled it.
    pub(crate) dialler: bool,
    /// The dial it is an attempt of, until that is given up.
    pub(crate) dial: Option<DialId>,
    /// Where the peer is; none for a wire.
    pub(crate) ip: Option<IpAddr>,
    /// The same as an address.
    pub(crate) address: Option<Multiaddr>,
    /// Where it counts as an inbound handshake under way.
    pub(crate) half_open: Option<(IpAddr, Source)>,
    /// Its user said goodbye before it was confirmed.
    pub(crate) goodbye: Option<Goodbye>,
}

/// Whether the sender of a first packet has shown that its address is its own, by a token that only its owner can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Unvalidated,
    Validated,
}

/// How far a link's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The handshake runs, until this deadline.
    HalfOpen(Instant),
    /// It can be used, since then.
    Up(Instant),
    /// It ends, at the latest then; the flag says whether it was up.
    Ending { reason: DownReason, deadline: Instant, was_up: bool },
}

impl Life {
    /// When it ends by itself.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::HalfOpen(deadline) | Self::Ending { deadline, .. } => Some(deadline),
            Self::Up(_) => None,
        }
    }
}

impl LinkOrigin {
    /// Of a link that this side dialled.
    pub(crate) fn dialled(dial: DialId) -> Self {
        Self { dialler: true, dial: Some(dial), ip: None, address: None, half_open: None, goodbye: None }
    }

    /// Of one that the peer dialled.
    pub(crate) fn inbound() -> Self {
        Self { dialler: false, dial: None, ip: None, address: None, half_open: None, goodbye: None }
    }

    /// The peer is at this address.
    #[must_use]
    pub(crate) fn at(self, transport: Transport, remote: SocketAddr) -> Self {
        let address = address_of(transport, remote);
        Self { ip: Some(remote.ip().to_canonical()), address: Some(address), ..self }
    }
}

/// A socket address over a transport.
pub(crate) fn address_of(transport: Transport, remote: SocketAddr) -> Multiaddr {
    match transport {
        Transport::Quic => Multiaddr::from_quic(remote),
        Transport::Tcp => Multiaddr::from_tcp(remote),
    }
}

impl Link {
    /// The IP address of the peer; `None` for a wire.
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        self.origin.ip
    }

    pub(crate) fn new(
        id: LinkId,
        life: Life,
        window: Window,
        (endpoint, carrier): (EndpointId, Box<dyn Carrier>),
        origin: LinkOrigin,
        linger: Duration,
    ) -> Self {
        let named = Named::default();
        Self { id, info: None, life, window, endpoint, carrier, origin, named, linger, streamed: 0 }
    }

    /// Its id.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Who, how, from where. Known for every link that is up.
    pub fn info(&self) -> Option<&LinkInfo> {
        self.info.as_ref()
    }

    /// Opens a stream. It can be written at once; what the peer's stream limit holds back waits.
    ///
    /// # Errors
    /// [`OpenError`] where the link is closing or too many opens wait.
    pub fn open(&mut self, now: Instant, protocol: ProtocolId, class: Class) -> Result<u64, OpenError> {
        if !self.is_up() && !self.is_early() {
            return Err(OpenError::Closed);
        }
        if protocol >= NAMED && !self.carrier.is_libp2p() {
            return self.named.open(now, self.carrier.streams(), protocol, class);
        }
        self.carrier.streams().open(now, protocol, class)
    }

    /// How what this side writes on a stream ranks, from now on.
    pub fn set_class(&mut self, stream: u64, class: Class) {
        self.carrier.streams().set_class(stream, class);
    }

    /// Takes at most `max` bytes off a stream. With a `max` of 0 only an end is reported; where bytes wait before it, the
    /// reader must come back by itself when it has room.
    pub fn read(&mut self, now: Instant, stream: u64, max: usize) -> Read {
        if self.named.has_streams()
            && let Some(own) = self.named.read(stream, max)
        {
            return own;
        }
        self.carrier.streams().read(now, &mut self.window, stream, max)
    }

    /// Bytes that can be written on a stream now. Where it is 0, [`Event::Writable`](crate::Event::Writable) follows.
    pub fn room(&mut self, stream: u64) -> usize {
        if self.named.holds_writer(stream) {
            return 0;
        }
        self.carrier.streams().room(stream)
    }

    /// Writes all of `rope`, which is at most [`room`](Self::room); what is longer stays in it.
    pub fn write(&mut self, _now: Instant, stream: u64, rope: &mut Rope) {
        if !self.named.holds_writer(stream) {
            self.carrier.streams().write(stream, rope);
        }
    }

    /// This direction ends after what was written.
    pub fn finish(&mut self, _now: Instant, stream: u64) {
        if !self.named.finish(stream) {
            self.carrier.streams().finish(stream);
        }
    }

    /// This direction breaks off; what was not sent yet is dropped.
    pub fn reset(&mut self, _now: Instant, stream: u64, code: u32) {
        self.named.reset(stream);
        self.carrier.streams().reset(stream, code);
    }

    /// The peer should send no more; what it sent is dropped.
    pub fn stop(&mut self, now: Instant, stream: u64, code: u32) {
        self.named.stop(stream);
        self.carrier.streams().stop(now, &mut self.window, stream, code);
    }

    /// The owner of a stream has reserved memory for `bytes` more of it, counted from what was read: credit is lent from
    /// the node's budget when the first of them arrive. Replaces what was expected before.
    pub fn expect(&mut self, stream: u64, bytes: u64) {
        self.carrier.streams().expect(&mut self.window, stream, bytes);
    }

    /// This stream's reader may stall: what it leaves unread is lent on top of the base window.
    pub fn mark_raw(&mut self, stream: u64) {
        self.carrier.streams().mark_raw(stream);
    }

    /// The peer's hello is accepted: it speaks the pull protocol. It may open as many streams as configured, instead of 32, and over TCP
    /// the ends of its streams no longer wait.
    pub fn hello_accepted(&mut self) {
        self.carrier.streams().hello_accepted();
    }

    /// Says goodbye: no new streams; what was written is delivered; then the link ends, at the latest after `dial.linger`.
    /// One that is not confirmed yet does so as soon as it is.
    pub fn close(&mut self, now: Instant, reason: Goodbye) {
        match self.life {
            Life::Up(_) => {
                self.end(now, DownReason::Closed(reason));
                self.carrier.close(reason);
            }
            Life::HalfOpen(_) => {
                self.origin.goodbye.get_or_insert(reason);
            }
            Life::Ending { .. } => {}
        }
    }

    /// Ends it at once: what was written and has not arrived is lost. The peer is told why.
    pub fn cut(&mut self, now: Instant, reason: Goodbye) {
        self.abort(now, reason, DownReason::Closed(reason));
    }

    /// The round-trip time, estimated.
    pub fn rtt(&self) -> Duration {
        self.carrier.rtt()
    }

    /// What it carried.
    pub fn stats(&self) -> LinkStats {
        LinkStats { window: self.window.granted(), ..self.carrier.stats() }
    }

    /// What its carrier tells, on its way to those above.
    pub(crate) fn telling<'a>(&'a mut self, now: Instant, events: &'a mut VecDeque<Event>) -> Telling<'a> {
        Telling {
            now,
            link: self.id,
            is_libp2p: self.carrier.is_libp2p(),
            named: &mut self.named,
            streams: self.carrier.streams(),
            window: &mut self.window,
            events,
        }
    }

    /// Ends it without waiting for what was written.
    pub(crate) fn abort(&mut self, now: Instant, goodbye: Goodbye, reason: DownReason) {
        self.end(now, reason);
        self.carrier.abort(goodbye);
    }

    /// The peer broke the transport's rules.
    pub(crate) fn fail(&mut self, now: Instant, fault: Fault) {
        self.abort(now, Goodbye::Fault, DownReason::Fault(fault));
    }

    /// The handshake is complete, and the link was admitted.
    pub(crate) fn up(&mut self, now: Instant) {
        self.life = Life::Up(now);
        // What came with the handshake (0-RTT) shows nothing: it may be a copy, or the peer gave this attempt up meanwhile.
        self.streamed = if self.carrier.was_early() { self.carrier.activity() } else { 0 };
    }

    /// Since when it is up.
    pub(crate) fn up_since(&self) -> Option<Instant> {
        match self.life {
            Life::Up(since) => Some(since),
            Life::HalfOpen(_) | Life::Ending { .. } => None,
        }
    }

    /// Whether the peer uses it: something came on a stream after it was up here. Its handshake alone does not show that the
    /// peer took it up: the peer may have given it up for another attempt.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_up() && self.carrier.activity() > self.streamed
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.life, Life::Up(_))
    }

    /// Whether it was reported as up and not yet as down.
    pub(crate) fn was_up(&self) -> bool {
        matches!(self.life, Life::Up(_) | Life::Ending { was_up: true, .. })
    }

    /// Whether data may go along with its handshake.
    pub(crate) fn is_early(&self) -> bool {
        matches!(self.life, Life::HalfOpen(_)) && self.carrier.is_early()
    }

    /// Marks the end. The first reason stays.
    pub(crate) fn end(&mut self, now: Instant, reason: DownReason) {
        let was_up = match self.life {
            Life::Ending { .. } => return,
            Life::Up(_) => true,
            Life::HalfOpen(_) => false,
        };
        self.life = Life::Ending { reason, deadline: now + self.linger, was_up };
    }
}
