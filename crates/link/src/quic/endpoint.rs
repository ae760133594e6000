//! QUIC's sockets as an endpoint: datagrams in and out, handshakes that begin, connections that end.

use std::any::Any;

use quinn_proto::{DatagramEvent, Incoming};
use weir_base::multiaddr::Transport;
use weir_base::stream::{Goodbye, Group, LinkInfo, Side};
use weir_base::{Instant, LinkId};

use super::connection::Connection;
use super::pins::Buffer;
use super::{Quic, QuicLink, source, to_mark};
use crate::carrier::Carrier;
use crate::dial::Attempt;
use crate::endpoint::{Admitted, Context, Endpoint, Input};
use crate::event::{DialFailure, DownReason, SocketId, Transmit};
use crate::link::{LinkOrigin, Source};
use crate::{Datagrams, HostChange};

impl Quic {
    fn datagrams(&mut self, context: &mut Context<'_>, batch: Datagrams) {
        let Datagrams { socket, remote, local_ip, ecn, stride, mut data } = batch;
        let (at, mark) = (self.clock.to_quic(context.now), ecn.map(to_mark));
        let buffer = Buffer::of(&mut data, stride);
        let pinned = data.capacity();
        let mut before = None; // the link of the datagram before: most of a batch are of one
        while !data.is_empty() {
            let len = if stride == 0 { data.len() } else { stride.min(data.len()) };
            let mut datagram = data.split_to(len);
            if !self.hoarders.is_empty() && buffer.is_some() {
                datagram = Buffer::copy(&datagram);
                context.stats.copied += 1;
            }
            context.stats.datagrams_in += 1;
            self.scratch.clear();
            let Some(found) = self.sockets.get_mut(&socket) else { return };
            match found.endpoint.handle(at, remote, local_ip, mark, datagram, &mut self.scratch) {
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    let Some(id) = found.link_of(handle) else { continue };
                    let Some((carrier, _)) = context.carrier::<QuicLink>(id) else {
                        if let Some(carrier) = self.closing.links.get_mut(&id) {
                            carrier.handle_datagram(event, len, pinned);
                            self.exchange_closing(context.now, id);
                        }
                        continue;
                    };
                    carrier.handle_datagram(event, len, pinned);
                    if before == Some(id) {
                        continue; // it is touched, and has the buffer
                    }
                    before = Some(id);
                    if let Some(buffer) = buffer.as_ref().filter(|_| self.hoarders.is_empty())
                        && carrier.muxer.receiving.keeps(buffer)
                    {
                        self.hoarders.insert(id);
                    }
                    context.table.touch(id);
                }
                Some(DatagramEvent::NewConnection(incoming)) => self.first_packet(context, socket, incoming),
                Some(DatagramEvent::Response(answer)) => self.answer(socket, &answer),
                None => {}
            }
        }
    }

    /// The first packet of an inbound handshake.
    fn first_packet(&mut self, context: &mut Context<'_>, socket: SocketId, incoming: Incoming) {
        let ip = source(&incoming);
        let validated = !incoming.may_retry() || incoming.remote_address_validated();
        let proof = if validated { Source::Validated } else { Source::Unvalidated };
        let admitted = context.first_packet(ip, proof);
        self.advance_wall(context.now);
        let at = self.clock.to_quic(context.now);
        let Some((endpoint, scratch)) = self.endpoint(socket) else { return };
        if admitted == Admitted::Refused {
            return endpoint.ignore(incoming); // as if nobody were here
        }
        if admitted == Admitted::Retry {
            match endpoint.retry(incoming, scratch) {
                Ok(answer) => self.answer(socket, &answer),
                Err(error) => endpoint.ignore(error.into_incoming()),
            }
            return;
        }
        match endpoint.accept(incoming, at, scratch, None) {
            Ok((handle, quic)) => {
                let conn = Connection::new(quic, (socket, handle), self.clock);
                let origin = LinkOrigin::inbound().at(Transport::Quic, conn.remote());
                let origin = LinkOrigin { half_open: Some((ip, proof)), ..origin };
                let id = context.table.reserve_id();
                self.remember(socket, handle, id);
                let carrier = QuicLink::new(conn, context.config.clone(), self.configs.names.clone());
                context.begin(id, (self.id, Box::new(carrier)), origin);
            }
            Err(error) => {
                if let Some(answer) = error.response {
                    self.answer(socket, &answer);
                }
            }
        }
    }

    /// A connection of a link that is down and its endpoint talk; gone when it is over.
    fn exchange_closing(&mut self, now: Instant, id: LinkId) {
        let Some(mut link) = self.closing.take(id) else { return };
        if !self.talk(id, &mut link) {
            self.closing.keep(now, id, link);
            self.outputs.mark(id);
        }
    }

    /// What the connection of a link that is down has to send.
    fn closing_output(
        &mut self,
        now: Instant,
        id: LinkId,
        segments: usize,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let Some(mut link) = self.closing.take(id) else {
            self.outputs.idle(id);
            return None;
        };
        let held = self.hold(link.muxer.conn.socket, id);
        let transmit = if held { None } else { link.muxer.conn.poll_transmit(now, segments, out) };
        self.closing.keep(now, id, link);
        match &transmit {
            Some(transmit) => self.outputs.sent(id, transmit.len),
            None => self.outputs.idle(id),
        }
        transmit
    }
}

impl Endpoint for Quic {
    fn transport(&self) -> Option<Transport> {
        Some(Transport::Quic)
    }

    fn handle_host(&mut self, context: &mut Context<'_>, change: HostChange) {
        match change {
            HostChange::Bound { socket, local, may_fragment } => self.bind(socket, local, may_fragment),
            HostChange::Unbound(socket) => {
                for id in self.unbind(socket) {
                    let Some(found) = context.table.get_mut(id) else { continue };
                    found.abort(context.now, Goodbye::Shutdown, DownReason::Lost);
                    context.table.touch(id);
                }
            }
            HostChange::Blocked(socket) => self.block(socket),
            HostChange::Writable(socket) => self.unblock(socket),
            HostChange::Wall(wall) => self.set_wall(context.now, wall),
            HostChange::Pipes => {}
        }
    }

    fn handle(&mut self, context: &mut Context<'_>, input: Input) -> Option<Input> {
        match input {
            Input::Datagrams(batch) if self.sockets.contains_key(&batch.socket) => {
                self.datagrams(context, batch);
            }
            other => return Some(other),
        }
        None
    }

    fn dial(&mut self, context: &mut Context<'_>, attempt: Attempt) -> Result<LinkId, DialFailure> {
        let Attempt { dial, remote, peer, .. } = attempt;
        let id = context.table.reserve_id();
        let conn = self.connect(context.now, id, remote, peer)?;
        let mut carrier = QuicLink::new(conn, context.config.clone(), self.configs.names.clone());
        if let Some(peer) = peer.filter(|_| carrier.is_early()) {
            let side = if attempt.pinned { Side::Pinned } else { Side::Dialled };
            let info = LinkInfo { peer, side, dialler: true, group: Group::of(remote.ip()) };
            carrier.notify_early(id, info, Some(dial), context.events);
        }
        let origin = LinkOrigin::dialled(dial).at(Transport::Quic, remote);
        context.begin(id, (self.id, Box::new(carrier)), origin);
        Ok(id)
    }

    fn exchange(&mut self, link: LinkId, carrier: &mut dyn Carrier) {
        if let Some(carrier) = QuicLink::of(carrier) {
            carrier.muxer.write_heads();
            self.talk(link, carrier);
            if !carrier.muxer.receiving.keeps_too_much() && !self.hoarders.is_empty() {
                self.hoarders.remove(&link);
            }
        }
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
        reason: Goodbye,
    ) {
        self.hoarders.remove(&link);
        self.outputs.remove(link);
        let carrier: Box<dyn Any> = carrier;
        if let Ok(mut carrier) = carrier.downcast::<QuicLink>() {
            carrier.abandon(context.now, reason);
            self.closing.keep(context.now, link, carrier);
            self.exchange_closing(context.now, link);
        }
    }

    fn poll_datagrams(
        &mut self,
        context: &mut Context<'_>,
        max_segments: usize,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if let Some(answer) = self.next_answer(out) {
            return Some(answer);
        }
        while let Some(id) = self.outputs.next() {
            let Some((carrier, scope)) = context.carrier::<QuicLink>(id) else {
                if let Some(transmit) = self.closing_output(context.now, id, max_segments, out) {
                    return Some(transmit);
                }
                continue;
            };
            if self.hold(carrier.muxer.conn.socket, id) {
                self.outputs.idle(id);
                context.table.sent_all(context.now, id); // its timers run all the same
                continue;
            }
            if let Some(transmit) = carrier.muxer.conn.poll_transmit(scope.now, max_segments, out) {
                self.outputs.sent(id, transmit.len);
                return Some(transmit);
            }
            self.outputs.idle(id);
            context.table.sent_all(context.now, id);
        }
        None
    }

    fn handle_timeout(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        while let Some(id) = self.closing.due.pop_due(now) {
            if let Some(carrier) = self.closing.links.get_mut(&id) {
                carrier.handle_timeout(now);
                self.exchange_closing(now, id);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.closing.due.next().map(|(due, _)| due)
    }
}
