//! What makes links of one transport: the sockets, listeners or wires below it.
//!
//! An endpoint routes what the host hands in to the carriers of its links, begins links, inbound and dialled, and gives the
//! host what its links have to send. It keeps what no link owns: tokens, resets, connections that say their last words.

use std::any::Any;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;
use weir_base::identity::PeerId;
use weir_base::multiaddr::{Multiaddr, Transport};
use weir_base::stream::{Goodbye, LinkInfo};
use weir_base::{Fault, Instant, LinkId};

use crate::admission::{self, Admission, Verdict};
use crate::carrier::{Carrier, EndpointId, Scope};
use crate::dial::{Attempt, Dialler};
use crate::event::{DialFailure, DownReason, PipeChange, PipeId, PipeTransmit, Transmit, WireId};
use crate::gate::{Attempt as Asked, Refusal};
use crate::link::{Life, Link, LinkOrigin, Source, address_of};
use crate::table::Table;
use crate::window::Window;
use crate::{Config, Datagrams, Event, Frame, HostChange, Stats, WireChange};

/// What the host hands in for one endpoint. A transport over another kind of input adds a variant.
#[derive(Debug)]
pub(crate) enum Input {
    Datagrams(Datagrams),
    Wire(WireId, WireChange),
    /// And its bytes on a wire.
    Frame(WireId, Frame, usize),
    Pipe(PipeId, PipeChange),
}

impl Input {
    /// Bytes that came in with it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Datagrams(datagrams) => datagrams.data.len(),
            Self::Frame(_, _, len) => *len,
            Self::Wire(..) | Self::Pipe(..) => 0,
        }
    }
}

/// All sockets, listeners or wires of one transport.
pub(crate) trait Endpoint: Send {
    /// The kind of address that it dials; none where links come otherwise.
    fn transport(&self) -> Option<Transport> {
        None
    }

    /// The host's sockets or wall clock changed. Every endpoint is told.
    fn handle_host(&mut self, _context: &mut Context<'_>, _change: HostChange) {}

    /// Takes an input, or returns it where it is for another endpoint.
    fn handle(&mut self, context: &mut Context<'_>, input: Input) -> Option<Input>;

    /// Starts a handshake; returns the id of the link that it may become.
    fn dial(&mut self, _context: &mut Context<'_>, _attempt: Attempt) -> Result<LinkId, DialFailure> {
        Err(DialFailure::NoRoute)
    }

    /// Lets a carrier and its endpoint talk, before the carrier is polled.
    fn exchange(&mut self, _link: LinkId, _carrier: &mut dyn Carrier) {}

    /// A link is up: what it sends is dealt by its side and group.
    fn join(&mut self, link: LinkId, info: &LinkInfo);

    /// A link may have something to send.
    fn mark(&mut self, link: LinkId);

    /// A link is down. Its connection may have last words to say.
    fn remove(&mut self, context: &mut Context<'_>, link: LinkId, carrier: Box<dyn Carrier>, reason: Goodbye);

    /// The next datagrams to send, appended to `out`; links are served as `Outputs` says.
    fn poll_datagrams(
        &mut self,
        _context: &mut Context<'_>,
        _max_segments: usize,
        _out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        None
    }

    /// The next frame to send, and its bytes on a wire; links are served as `Outputs` says.
    fn poll_frame(&mut self, _context: &mut Context<'_>) -> Option<(WireId, Frame, usize)> {
        None
    }

    /// Has `read` fill in what has arrived on a byte stream, where there is room for it; how many bytes. `None` where it is not one of
    /// this endpoint's. See [`Links::read_pipe`](crate::Links::read_pipe).
    fn read_pipe(
        &mut self,
        _context: &mut Context<'_>,
        _pipe: PipeId,
        _lent: &mut [u8],
        _read: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Option<usize> {
        None
    }

    /// The next bytes for a byte stream, appended to `out`; links are served as `Outputs` says.
    fn poll_pipe(&mut self, _context: &mut Context<'_>, _out: &mut BytesMut) -> Option<PipeTransmit> {
        None
    }

    /// What is due of its own, beside its links. Early and repeated calls do nothing.
    fn handle_timeout(&mut self, _context: &mut Context<'_>) {}

    /// When it wants to be called next.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// What an endpoint may touch of its parent.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Arc<Config>,
    pub(crate) table: &'a mut Table,
    pub(crate) admission: &'a mut Admission,
    pub(crate) dialler: &'a mut Dialler,
    pub(crate) events: &'a mut VecDeque<Event>,
    pub(crate) stats: &'a mut Stats,
}

impl Context<'_> {
    /// Whether a handshake from `ip` may go on, or its sender must prove the address first.
    pub(crate) fn first_packet(&mut self, ip: IpAddr, source: Source) -> Admitted {
        let attempt = Asked::Accept { from: ip };
        if let Err(refusal) = self.check(Some(ip), &attempt) {
            return self.refuse_address(ip, refusal);
        }
        match self.admission.first_packet(self.now, &self.config.admission, ip, source) {
            Verdict::Retry => {
                self.stats.retries += 1;
                return Admitted::Retry;
            }
            Verdict::TooFast(network) => return self.refuse_address(ip, Refusal::TooFast { network }),
            Verdict::Accept => {}
            Verdict::Replace(victim) => {
                self.stats.half_open_replaced += 1;
                self.refuse(victim, Goodbye::Full);
                self.half_open_over(victim);
                self.table.touch_urgently(victim); // it is gone before the next input
            }
        }
        Admitted::Accept
    }

    /// Tells that nobody at an address was answered.
    fn refuse_address(&mut self, ip: IpAddr, refusal: Refusal) -> Admitted {
        let address = match ip.to_canonical() {
            IpAddr::V4(ip) => format!("/ip4/{ip}"),
            IpAddr::V6(ip) => format!("/ip6/{ip}"),
        };
        self.tell_refusal(None, address.parse().ok(), refusal);
        Admitted::Refused
    }

    /// What bans and this node's own lists and rule say of a connection.
    fn check(&self, ip: Option<IpAddr>, attempt: &Asked<'_>) -> Result<(), Refusal> {
        let (bans, now) = (&self.admission, self.now);
        match (*attempt, ip) {
            (Asked::Secured { peer, dialler, .. }, _) => bans.check_peer(now, peer, ip, dialler)?,
            (Asked::Dial { .. }, Some(ip)) => bans.check_address(now, ip, true)?,
            (Asked::Accept { .. }, Some(ip)) => bans.check_address(now, ip, false)?,
            (_, None) => {}
        }
        admission::check(&self.config.admission, self.config.gate.as_ref(), ip, attempt)
    }

    /// Whether bans and this node's own lists and rule let it dial an address. A refusal is told.
    pub(crate) fn may_dial(&mut self, transport: Transport, attempt: &Attempt) -> Result<(), DialFailure> {
        let asked = Asked::Dial { peer: attempt.peer.as_ref(), remote: attempt.remote };
        self.check(Some(attempt.remote.ip()), &asked).map_err(|refusal| {
            let address = address_of(transport, attempt.remote);
            self.tell_refusal(attempt.peer, Some(address), refusal);
            DialFailure::Gated
        })
    }

    /// What bans and this node's own lists and rule say of a link whose peer has proven who it is.
    pub(crate) fn may_use(&self, link: LinkId, peer: &PeerId) -> Result<(), Refusal> {
        let Some(origin) = self.table.get(link).map(|link| &link.origin) else { return Ok(()) };
        let address = origin.address.as_ref();
        self.check(origin.ip, &Asked::Secured { peer, dialler: origin.dialler, address })
    }

    /// Tells that a link was refused whose peer has proven who it is.
    pub(crate) fn tell_refused(&mut self, link: LinkId, peer: PeerId, refusal: Refusal) {
        let address = self.table.get(link).and_then(|link| link.origin.address.clone());
        self.tell_refusal(Some(peer), address, refusal);
    }

    /// Tells of a refusal, where not too many were told of lately.
    pub(crate) fn tell_refusal(
        &mut self,
        peer: Option<PeerId>,
        address: Option<Multiaddr>,
        refusal: Refusal,
    ) {
        self.stats.refused += 1;
        tracing::debug!(?peer, %refusal, "connection refused");
        if let Some(suppressed) = self.admission.tell_refusal(self.now) {
            self.events.push_back(Event::Refused { peer, address, refusal, suppressed });
        }
    }

    /// A link begins its handshake, under an id that was reserved for it.
    pub(crate) fn begin(&mut self, id: LinkId, carrier: (EndpointId, Box<dyn Carrier>), origin: LinkOrigin) {
        let (now, budget) = (self.now, &self.config.budget);
        let window = Window::new(budget.base_window, budget.max_lent, budget.patience, now);
        if let Some((ip, source)) = origin.half_open {
            self.admission.begin(id, ip, source);
            self.stats.half_open = self.admission.half_open() as u64;
        }
        let life = Life::HalfOpen(now + self.config.dial.timeout);
        let linger = self.config.dial.linger;
        self.table.insert(Link::new(id, life, window, carrier, origin, linger));
    }

    /// A link's carrier, where it is one of this kind, and what it may touch.
    pub(crate) fn carrier<C: Carrier>(&mut self, link: LinkId) -> Option<(&mut C, Scope<'_>)> {
        let found = self.table.get_mut(link)?;
        let carrier: &mut dyn Any = found.carrier.as_mut();
        let carrier = carrier.downcast_mut()?;
        Some((carrier, Scope { now: self.now, link, window: &mut found.window, events: self.events }))
    }

    /// The peer broke the transport's rules. It is blamed where it is known who it is.
    pub(crate) fn fault(&mut self, link: LinkId, fault: Fault) {
        let Some(found) = self.table.get_mut(link) else { return };
        let known = found.info.is_some();
        found.fail(self.now, fault);
        if known {
            self.stats.faults += 1;
            self.events.push_back(Event::Blame { link, fault });
        }
    }

    /// Ends a link without waiting, and tells its peer why.
    pub(crate) fn refuse(&mut self, link: LinkId, reason: Goodbye) {
        tracing::debug!(link = link.0, ?reason, "link refused");
        if let Some(found) = self.table.get_mut(link) {
            found.origin.dial = None; // the dial knows already
            found.abort(self.now, reason, DownReason::Closed(reason));
        }
    }

    /// A handshake is complete, so the address of its peer is proven.
    pub(crate) fn note_proven(&mut self, link: LinkId) {
        let found = self.table.get(link).and_then(|found| found.origin.half_open);
        if let Some((ip, Source::Unvalidated)) = found {
            self.admission.note_proven(self.now, &self.config.admission, ip);
        }
    }

    /// An inbound handshake is over, one way or the other.
    pub(crate) fn half_open_over(&mut self, link: LinkId) {
        if let Some(found) = self.table.get_mut(link)
            && found.origin.half_open.take().is_some()
        {
            self.admission.end(link);
            self.stats.half_open = self.admission.half_open() as u64;
        }
    }
}

/// What to do with the first packet of an inbound handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Go on with it.
    Accept,
    /// Let it prove its address first.
    Retry,
    /// This node does not want it.
    Refused,
}
