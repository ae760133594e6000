//! The byte streams of a node as an endpoint: connected, accepted, carried, closed.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use weir_base::multiaddr::Transport;
use weir_base::stream::{Goodbye, Group, LinkInfo};
use weir_base::{Instant, LinkId, Rng};
use weir_libp2p::connection::{Connection, Setup};

use super::link;
use super::{Pipe, Tcp, TcpLink};
use crate::carrier::Carrier;
use crate::dial::Attempt;
use crate::endpoint::{Admitted, Context, Endpoint, Input};
use crate::event::{DialFailure, PipeChange, PipeId, PipeTransmit};
use crate::link::{LinkOrigin, Source};
use crate::{Event, HostChange};

/// Byte streams of links that are down whose peers have not ended them yet. For one more the one that waits longest is closed.
const CLOSING_MAX: usize = 64;

/// What may come on a byte stream whose link is down, at a time, in bytes. It is dropped.
const DROPPED: usize = 64 * 1024;

impl Tcp {
    /// A link begins its handshake on a byte stream.
    fn begin(
        &mut self,
        context: &mut Context<'_>,
        (pipe, remote): (PipeId, SocketAddr),
        origin: LinkOrigin,
        make: impl FnOnce(Arc<Setup>, Rng) -> Option<Connection>,
    ) -> Option<LinkId> {
        let (since, wall) = self.wall;
        let wall = wall + context.now.since(since);
        let setup = self.setup();
        setup.security.iter().for_each(|security| security.set_time(wall));
        let rng = Rng::new(self.rng.bytes());
        let conn = make(setup, rng)?;
        let below = link::Pipe {
            id: pipe,
            dialler: origin.dialler,
            group: Group::of(remote.ip()),
            inward: link::Inward::Open,
            said_end: false,
            was_up: false,
        };
        let carrier = TcpLink::new(conn, below, self.shared.clone(), context.now);
        let link = context.table.reserve_id();
        context.begin(link, (self.id, Box::new(carrier)), origin.at(Transport::Tcp, remote));
        self.pipes.insert(pipe, Pipe { link: Some(link), blocked: false, ending: false });
        Some(link)
    }

    fn accept(&mut self, context: &mut Context<'_>, pipe: PipeId, remote: SocketAddr) {
        if pipe.0.is_multiple_of(2) || self.pipes.contains_key(&pipe) {
            return; // not the host's to choose, or in use
        }
        // Whoever completes TCP's handshake has shown that the address is its own: it always finds a place.
        let ip = remote.ip().to_canonical();
        if context.first_packet(ip, Source::Validated) == Admitted::Refused {
            return context.events.push_back(Event::ClosePipe(pipe));
        }
        let origin = LinkOrigin { half_open: Some((ip, Source::Validated)), ..LinkOrigin::inbound() };
        let now = context.now;
        let accept = |setup, rng| Connection::accept(setup, rng, now).ok();
        if self.begin(context, (pipe, remote), origin, accept).is_none() {
            context.events.push_back(Event::ClosePipe(pipe));
        }
    }

    fn changed(&mut self, context: &mut Context<'_>, pipe: PipeId, change: PipeChange) {
        if let PipeChange::Accepted { remote } = change {
            return self.accept(context, pipe, remote);
        }
        let Some(found) = self.pipes.get_mut(&pipe) else { return };
        match change {
            PipeChange::Blocked => found.blocked = true,
            PipeChange::Writable => {
                found.blocked = false;
                match found.link {
                    Some(link) => self.outputs.mark(link),
                    None if found.ending => self.finishing.push_back(pipe),
                    None => {}
                }
            }
            _ => {}
        }
        let Some(link) = found.link else {
            if matches!(change, PipeChange::Finished | PipeChange::Closed | PipeChange::Failed) {
                self.forget(context, pipe);
            }
            return;
        };
        if let Some((carrier, scope)) = context.carrier::<TcpLink>(link) {
            carrier.handle_pipe(scope.now, change);
            context.table.touch_urgently(link);
        }
    }

    /// The host closes a byte stream.
    fn forget(&mut self, context: &mut Context<'_>, pipe: PipeId) {
        self.closing.set(pipe, None);
        if self.pipes.remove(&pipe).is_some() {
            context.events.push_back(Event::ClosePipe(pipe));
        }
    }

    /// The link of a byte stream is down: what was sent last may still be on its way, so it stays until the peer has ended it, too.
    fn linger(&mut self, context: &mut Context<'_>, pipe: PipeId, said_end: bool) {
        while self.closing.len() >= CLOSING_MAX
            && let Some((_, oldest)) = self.closing.next()
        {
            self.forget(context, oldest);
        }
        let Some(found) = self.pipes.get_mut(&pipe) else { return };
        (found.link, found.ending) = (None, !said_end);
        self.closing.set(pipe, Some(context.now + self.shared.config.dial.linger));
        if !said_end {
            self.finishing.push_back(pipe);
        }
    }
}

impl Endpoint for Tcp {
    fn transport(&self) -> Option<Transport> {
        Some(Transport::Tcp)
    }

    fn handle_host(&mut self, context: &mut Context<'_>, change: HostChange) {
        match change {
            HostChange::Pipes => self.hosted = true,
            HostChange::Wall(wall) => self.wall = (context.now, wall),
            _ => {}
        }
    }

    fn handle(&mut self, context: &mut Context<'_>, input: Input) -> Option<Input> {
        match input {
            Input::Pipe(pipe, change) => self.changed(context, pipe, change),
            other => return Some(other),
        }
        None
    }

    fn dial(&mut self, context: &mut Context<'_>, attempt: Attempt) -> Result<LinkId, DialFailure> {
        if !self.hosted {
            return Err(DialFailure::TcpUnsupported);
        }
        let Attempt { dial, remote, peer, .. } = attempt;
        self.dials += 1;
        let pipe = PipeId(self.dials * 2);
        let now = context.now;
        let connect = |setup, rng| Connection::dial(setup, peer, rng, now).ok();
        let link = self.begin(context, (pipe, remote), LinkOrigin::dialled(dial), connect);
        let link = link.ok_or(DialFailure::Handshake)?;
        context.events.push_back(Event::DialPipe { pipe, remote });
        Ok(link)
    }

    fn join(&mut self, link: LinkId, info: &LinkInfo) {
        self.outputs.join(link, info);
    }

    fn mark(&mut self, link: LinkId) {
        self.outputs.mark(link);
    }

    fn remove(
        &mut self,
        context: &mut Context<'_>,
        link: LinkId,
        carrier: Box<dyn Carrier>,
        _reason: Goodbye,
    ) {
        self.outputs.remove(link);
        let carrier: Box<dyn Any> = carrier;
        let Ok(carrier) = carrier.downcast::<TcpLink>() else { return };
        let link::Pipe { id, inward, said_end, was_up, .. } = carrier.pipe;
        if inward == link::Inward::Gone {
            self.pipes.remove(&id);
        } else if inward == link::Inward::Ended || !was_up {
            self.forget(context, id);
        } else {
            self.linger(context, id, said_end);
        }
    }

    fn read_pipe(
        &mut self,
        context: &mut Context<'_>,
        pipe: PipeId,
        lent: &mut [u8],
        read: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Option<usize> {
        let Some(link) = self.pipes.get(&pipe)?.link else {
            let most = lent.len().min(DROPPED);
            return Some(read(lent.get_mut(..most).unwrap_or_default()));
        };
        let (carrier, mut scope) = context.carrier::<TcpLink>(link)?;
        let len = carrier.read(&mut scope, lent, read);
        if carrier.has_report() {
            context.table.touch_urgently(link);
        } else {
            context.table.touch(link);
        }
        Some(len)
    }

    fn poll_pipe(&mut self, context: &mut Context<'_>, out: &mut BytesMut) -> Option<PipeTransmit> {
        while let Some(pipe) = self.finishing.pop_front() {
            if let Some(found) = self.pipes.get_mut(&pipe).filter(|found| found.ending && !found.blocked) {
                found.ending = false;
                return Some(PipeTransmit { pipe, len: 0, finish: true });
            }
        }
        while let Some(link) = self.outputs.next() {
            let Some((carrier, mut scope)) = context.carrier::<TcpLink>(link) else {
                self.outputs.idle(link);
                continue;
            };
            let pipe = carrier.pipe.id;
            if self.pipes.get(&pipe).is_none_or(|found| found.blocked) {
                self.outputs.idle(link);
                context.table.sent_all(context.now, link); // it is marked again once it is writable
                continue;
            }
            let before = out.len();
            let Some(finish) = carrier.chunk(&mut scope, out) else {
                self.outputs.idle(link);
                context.table.sent_all(context.now, link);
                continue;
            };
            context.table.touch(link); // what took the bytes may have ended, or made room
            self.outputs.sent(link, out.len() - before);
            return Some(PipeTransmit { pipe, len: out.len() - before, finish });
        }
        None
    }

    fn handle_timeout(&mut self, context: &mut Context<'_>) {
        while let Some(pipe) = self.closing.pop_due(context.now) {
            self.forget(context, pipe);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.closing.next().map(|(due, _)| due)
    }
}
