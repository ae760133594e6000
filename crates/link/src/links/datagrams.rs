//! Links over QUIC: datagrams in and out, handshakes, what connections report.

use std::net::SocketAddr;

use quinn_proto::DatagramEvent;
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::{Goodbye, Group, LinkInfo, Side};
use weir_base::{Fault, Instant, LinkId};

use super::life::Confirmed;
use super::{Links, Timer};
use crate::admission::{Source, Verdict};
use crate::event::{DialFailure, DialId, DownReason, SocketId, Transmit};
use crate::link::{Life, LinkOrigin, Transport};
use crate::quic::{Early, QuicLink, Turn, source, to_mark};
use crate::{Datagrams, Event, HostChange};

impl Links {
    pub(super) fn host_changed(&mut self, now: Instant, change: HostChange) {
        match change {
            HostChange::Bound { socket, local, may_fragment } => self.quic.bind(socket, local, may_fragment),
            HostChange::Unbound(socket) => {
                for id in self.quic.unbind(socket) {
                    if let Some(link) = self.links.get_mut(&id) {
                        link.abort(now, Goodbye::Shutdown, DownReason::Lost);
                        self.work.touched.mark(id);
                    }
                }
            }
            HostChange::Wall(wall) => self.quic.set_wall(now, wall),
        }
    }

    pub(super) fn datagrams_arrived(&mut self, now: Instant, batch: Datagrams) {
        let Datagrams { socket, remote, local_ip, ecn, stride, mut data } = batch;
        let (at, mark, pinned) = (self.quic.clock().to_quic(now), ecn.map(to_mark), data.capacity());
        while !data.is_empty() {
            let len = if stride == 0 { data.len() } else { stride.min(data.len()) };
            let datagram = data.split_to(len);
            self.stats.datagrams_in += 1;
            let Some((endpoint, scratch)) = self.quic.endpoint(socket) else { return };
            match endpoint.handle(at, remote, local_ip, mark, datagram, scratch) {
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    let Some(id) = self.quic.link_of(socket, handle) else { continue };
                    if let Some(Transport::Quic(carrier)) =
                        self.links.get_mut(&id).map(|link| &mut link.transport)
                    {
                        carrier.handle_datagram(event, len, pinned);
                    } else if let Some(carrier) = self.quic.closing(id) {
                        carrier.handle_datagram(event, len, pinned);
                    }
                    self.work.touched.mark(id);
                }
                Some(DatagramEvent::NewConnection(incoming)) => self.first_packet(now, socket, incoming),
                Some(DatagramEvent::Response(answer)) => self.quic.answer(socket, &answer),
                None => {}
            }
        }
    }

    /// The first packet of an inbound handshake.
    fn first_packet(&mut self, now: Instant, socket: SocketId, incoming: quinn_proto::Incoming) {
        let ip = source(&incoming);
        let validated = !incoming.may_retry() || incoming.remote_address_validated();
        let proof = if validated { Source::Validated } else { Source::Unvalidated };
        let verdict = self.admission.first_packet(&self.config.admission, ip, proof);
        if let Verdict::Replace(victim) = verdict {
            self.stats.half_open_replaced += 1;
            self.refuse(now, victim, Goodbye::Full);
            self.settle_link(now, victim); // its place is free at once
        }
        self.quic.advance_wall(now);
        let at = self.quic.clock().to_quic(now);
        let Some((endpoint, scratch)) = self.quic.endpoint(socket) else { return };
        let accepted = match verdict {
            Verdict::Retry => {
                match endpoint.retry(incoming, scratch) {
                    Ok(answer) => {
                        self.quic.answer(socket, &answer);
                        self.stats.retries += 1;
                    }
                    Err(error) => endpoint.ignore(error.into_incoming()),
                }
                return;
            }
            Verdict::Accept | Verdict::Replace(_) => endpoint.accept(incoming, at, scratch, None),
        };
        match accepted {
            Ok((handle, conn)) => {
                let id = self.work.next_link();
                let remote = conn.remote_address();
                let clock = self.quic.clock();
                let carrier = QuicLink::new(conn, handle, socket, clock, self.config.clone());
                self.quic.remember(socket, handle, id);
                self.admission.begin(id, ip, proof);
                self.stats.half_open = self.admission.half_open() as u64;
                self.half_open(now, id, carrier, remote, None);
            }
            Err(error) => {
                if let Some(answer) = error.response {
                    self.quic.answer(socket, &answer);
                }
            }
        }
    }

    fn half_open(
        &mut self,
        now: Instant,
        id: LinkId,
        carrier: QuicLink,
        remote: SocketAddr,
        dial: Option<DialId>,
    ) {
        let life = Life::HalfOpen(now + self.config.dial.timeout);
        let mut link = self.new_link(now, id, life, Transport::Quic(Box::new(carrier)));
        link.origin = LinkOrigin {
            dial,
            ip: Some(remote.ip().to_canonical()),
            address: Some(Multiaddr::from_quic(remote)),
            half_open: dial.is_none(),
            goodbye: None,
        };
        self.links.insert(id, link);
        self.work.touched.mark(id);
    }

    /// Starts an attempt of a dial.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        dial: DialId,
        remote: SocketAddr,
        peer: Option<PeerId>,
    ) -> Result<LinkId, DialFailure> {
        let id = self.work.next_link();
        let mut carrier = self.quic.connect(now, id, remote, peer, &self.config)?;
        if let Some(peer) = peer.filter(|_| carrier.is_early()) {
            let side = if self.dialler.is_pinned(dial) { Side::Pinned } else { Side::Dialled };
            let info = LinkInfo { peer, side, dialler: true, group: Group::of(remote.ip()) };
            carrier.notify_early(id, info, Some(dial), &mut self.work.events);
        }
        self.half_open(now, id, carrier, remote, Some(dial));
        Ok(id)
    }

    /// Takes what a connection reports.
    pub(super) fn quic_events(&mut self, now: Instant, id: LinkId) {
        if !self.links.contains_key(&id) {
            let due = self.quic.exchange_closing(now, id);
            self.work.timers.set(Timer::Link(id), due);
            return self.quic.mark(id);
        }
        loop {
            let Some(link) = self.links.get_mut(&id) else { return };
            let Transport::Quic(carrier) = &mut link.transport else { return };
            carrier.write_heads();
            self.quic.exchange(id, carrier);
            let Some(turn) = carrier.poll(now, id, &mut link.window, &mut self.work.events) else { break };
            match turn {
                Turn::Connected => self.connected(now, id),
                Turn::Lost(DownReason::Fault(fault)) | Turn::Fault(fault) => self.quic_fault(now, id, fault),
                Turn::Lost(why) => link.end(now, why),
            }
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let Transport::Quic(carrier) = &mut link.transport else { return };
        carrier.count_raw(&mut link.window);
        carrier.settle_send(now, id, &mut self.credit.send, &mut self.work.events);
    }

    fn connected(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        let Transport::Quic(carrier) = &link.transport else { return };
        let dialler = link.origin.dial.is_some() || !link.origin.half_open;
        let Some(peer) = carrier.peer() else { return self.refuse(now, id, Goodbye::Fault) };
        let group = Group::of(carrier.remote().ip());
        self.confirm(now, id, Confirmed { peer, dialler, group });
        let Some(link) = self.links.get_mut(&id).filter(|link| link.is_up()) else { return };
        let Transport::Quic(carrier) = &mut link.transport else { return };
        match carrier.confirmed(now, id, &mut link.window, &mut self.work.events) {
            Ok(early) => {
                self.stats.early_accepted += u64::from(early == Early::Accepted);
                self.stats.early_refused += u64::from(early == Early::Refused);
            }
            Err(fault) => self.quic_fault(now, id, fault),
        }
    }

    fn quic_fault(&mut self, now: Instant, id: LinkId, fault: Fault) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let known = link.info.is_some();
        link.fail(now, fault);
        if known {
            self.stats.faults += 1;
            self.work.events.push_back(Event::Blame { link: id, fault });
        }
    }

    pub(super) fn datagrams_out(
        &mut self,
        now: Instant,
        max_segments: usize,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if let Some(answer) = self.quic.next_answer(out) {
            return Some(answer);
        }
        while let Some(id) = self.quic.next_ready() {
            let Some(link) = self.links.get_mut(&id) else {
                if let Some(transmit) = self.closing_output(now, id, max_segments, out) {
                    return Some(transmit);
                }
                continue;
            };
            let life = Self::life_deadline(link.life);
            let Transport::Quic(carrier) = &mut link.transport else { continue };
            if let Some(transmit) = carrier.poll_transmit(now, max_segments, out) {
                self.quic.mark(id);
                return Some(transmit);
            }
            let due = [life, carrier.poll_timeout()].into_iter().flatten().min();
            self.work.timers.set(Timer::Link(id), due.map(|due| due.max(now)));
        }
        None
    }

    /// What the connection of a link that is down has to send.
    fn closing_output(
        &mut self,
        now: Instant,
        id: LinkId,
        max_segments: usize,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let transmit = self.quic.closing(id)?.poll_transmit(now, max_segments, out);
        if transmit.is_some() {
            self.quic.mark(id);
        } else {
            let due = self.quic.exchange_closing(now, id);
            self.work.timers.set(Timer::Link(id), due);
        }
        transmit
    }

    pub(super) fn quic_timeout(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            if let Transport::Quic(carrier) = &mut link.transport {
                carrier.handle_timeout(now);
            }
        } else if let Some(carrier) = self.quic.closing(id) {
            carrier.handle_timeout(now);
        }
        self.work.touched.mark(id);
    }
}
