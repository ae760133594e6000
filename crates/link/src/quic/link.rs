//! A link over QUIC: what its parent drives it by. Its streams are the [`Muxer`]'s.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::{ConnectionEvent, Event as Quic};
use weir_base::stream::{Goodbye, Group, LinkInfo, Side};
use weir_base::{Fault, Instant, LinkId};

use super::connection::Connection;
use super::muxer::Muxer;
use super::phase::Phase;
use super::send_memory::SendMemory;
use crate::Config;
use crate::carrier::{Carrier, Early, Lent, LinkStats, Remote, Report, Scope, SendDemand, Streams};
use crate::event::{DialId, DownReason, Event};
use crate::streams::ProtocolNames;
use crate::window::Window;

/// One QUIC connection.
#[derive(Debug)]
pub(crate) struct QuicLink {
    pub(crate) muxer: Muxer,
    send_memory: SendMemory,
    notified_early: bool, // `Event::Early` was told
}

impl QuicLink {
    pub(super) fn new(mut conn: Connection, config: Arc<Config>, names: Arc<ProtocolNames>) -> Self {
        let early = conn.is_client() && conn.quic.has_0rtt() && !config.early().is_empty();
        conn.phase = Phase::Handshake { early };
        let send_memory = SendMemory::new(&config.budget);
        Self { muxer: Muxer::new(conn, config, names), send_memory, notified_early: false }
    }

    /// The carrier of a link, where it is one over QUIC.
    pub(super) fn of(carrier: &mut dyn Carrier) -> Option<&mut Self> {
        let carrier: &mut dyn Any = carrier;
        carrier.downcast_mut()
    }

    /// A datagram of `len` bytes in a buffer of `pinned`.
    pub(super) fn handle_datagram(&mut self, event: ConnectionEvent, len: usize, pinned: usize) {
        self.muxer.receiving.came(len, pinned);
        self.muxer.conn.quic.handle_event(event);
    }

    /// The link is down: nothing is kept but what the connection's end needs.
    pub(super) fn abandon(&mut self, now: Instant, reason: Goodbye) {
        if !matches!(self.muxer.conn.phase, Phase::Closed { .. }) {
            self.muxer.conn.close(now, reason);
        }
        self.muxer.abandon();
    }

    /// Tells that data may go along with the handshake.
    pub(super) fn notify_early(
        &mut self,
        link: LinkId,
        info: LinkInfo,
        dial: Option<DialId>,
        events: &mut VecDeque<Event>,
    ) {
        self.notified_early = true;
        events.push_back(Event::Early { link, info, dial });
    }

    /// The first stream of an inbound handshake: only 0-RTT data can be there before the handshake is complete.
    fn detect_early(&mut self, scope: &mut Scope<'_>) {
        let Muxer { conn, naming, config, .. } = &mut self.muxer;
        if !conn.phase.is_silent() || conn.is_client() {
            return;
        }
        naming.by_name = conn.is_libp2p();
        if naming.by_name || config.early().is_empty() {
            return; // it is read once the handshake is complete
        }
        if let Some(peer) = conn.peer() {
            conn.phase = Phase::Handshake { early: true };
            let group = Group::of(conn.remote().ip());
            let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group };
            self.notify_early(scope.link, info, None, scope.events);
        }
    }

    /// The handshake is complete: both sides know who is at the other end.
    fn connected(&mut self) -> Report {
        let Muxer { conn, naming, .. } = &mut self.muxer;
        let group = Group::of(conn.remote().ip());
        naming.by_name = conn.is_libp2p();
        let failed = if naming.by_name && conn.phase.is_early() && conn.is_client() {
            // What went along was meant for `weir/1`, which the peer speaks no more. The session is used up: the next dial is plain.
            DownReason::Rejected
        } else if let Some(peer) = conn.peer() {
            return Report::Connected(Remote { peer, group });
        } else {
            DownReason::Closed(Goodbye::Fault)
        };
        conn.phase.cut(Goodbye::Fault);
        Report::Lost(failed)
    }
}

impl Carrier for QuicLink {
    fn streams(&mut self) -> &mut dyn Streams {
        &mut self.muxer
    }

    /// Stream frames that came.
    fn activity(&self) -> u64 {
        self.muxer.conn.quic.stats().frame_rx.stream
    }

    /// Takes what QUIC reports until the parent must act.
    fn poll(&mut self, scope: &mut Scope<'_>) -> Option<Report> {
        self.muxer.naming.at(scope.now);
        while let Some(event) = self.muxer.conn.quic.poll() {
            match event {
                Quic::Connected => return Some(self.connected()),
                Quic::ConnectionLost { reason } => return Some(self.muxer.conn.phase.lost(reason)),
                Quic::Stream(event) => {
                    self.detect_early(scope);
                    if let Err(fault) = self.muxer.stream_event(scope, &event) {
                        return Some(Report::Fault(fault));
                    }
                }
                Quic::HandshakeDataReady | Quic::DatagramReceived | Quic::DatagramsUnblocked => {}
            }
        }
        self.muxer.settle(scope);
        let Muxer { conn, sending, .. } = &mut self.muxer;
        let goodbye = conn.phase.due(|| sending.queued() == 0 && conn.quic.streams().send_streams() == 0);
        if let Some(reason) = goodbye {
            conn.close(scope.now, reason);
        }
        None
    }

    fn close(&mut self, reason: Goodbye) {
        if self.muxer.conn.phase.flush(reason) {
            self.muxer.finish_all();
        }
    }

    /// Ends at once: what waits does not go out, but the reason does.
    fn abort(&mut self, reason: Goodbye) {
        self.muxer.conn.phase.cut(reason);
    }

    /// Whether nothing more will go out or be read.
    fn is_over(&self) -> bool {
        match self.muxer.conn.phase {
            Phase::Closed { by_peer } => !by_peer || !self.muxer.any_unread(),
            _ => false,
        }
    }

    fn rtt(&self) -> Duration {
        self.muxer.conn.quic.rtt()
    }

    fn stats(&self) -> LinkStats {
        let quic = &self.muxer.conn.quic;
        let stats = quic.stats();
        LinkStats {
            bytes_in: stats.udp_rx.bytes,
            bytes_out: stats.udp_tx.bytes,
            datagrams_in: stats.udp_rx.datagrams,
            datagrams_out: stats.udp_tx.datagrams,
            lost: stats.path.lost_packets,
            mtu: quic.current_mtu(),
            window: 0, // the link knows
        }
    }

    /// The link is up. Its user now hears of streams that came with the handshake, and what was written early is sent again
    /// if it was refused.
    fn confirmed(&mut self, scope: &mut Scope<'_>) -> Result<Early, Fault> {
        let was_early = self.is_early();
        let muxer = &mut self.muxer;
        muxer.conn.phase = Phase::Up;
        if muxer.naming.by_name {
            muxer.hello_accepted(); // its peer may never say one, and shall have as many streams
        }
        let wrote = muxer.sending.unconfirmed.confirmed();
        let mut outcome = if was_early { Early::Accepted } else { Early::None };
        if was_early && muxer.conn.is_client() {
            if !muxer.conn.quic.accepted_0rtt() {
                muxer.send_again();
                outcome = Early::Refused;
            }
            if !wrote {
                outcome = Early::None;
            }
        }
        muxer.confirmed(scope)?;
        Ok(outcome)
    }

    /// Whether data may go along with the handshake that runs.
    fn is_early(&self) -> bool {
        self.muxer.conn.phase.is_early()
    }

    /// Whether [`Event::Early`] was told.
    fn was_early(&self) -> bool {
        self.notified_early
    }

    fn is_libp2p(&self) -> bool {
        self.muxer.naming.by_name
    }

    fn window_grew(&mut self, window: &Window) -> bool {
        let windows = self.muxer.receiving.credit.window_changed(window);
        self.muxer.conn.set_receive_windows(windows);
        false
    }

    fn lent(&self) -> Lent {
        Lent { receive: self.muxer.receiving.credit.debt(), send: self.send_memory.lent() }
    }

    fn send_demand(&mut self, now: Instant) -> SendDemand {
        let Muxer { conn, sending, .. } = &mut self.muxer;
        let congestion_window = || conn.quic.congestion_state().window();
        let demand = self.send_memory.demand(now, sending.queued() > 0, congestion_window);
        if demand.back > 0 {
            conn.quic.set_send_window(self.send_memory.window());
        }
        demand
    }

    fn lend_send(&mut self, scope: &mut Scope<'_>, bytes: u64) {
        self.send_memory.lend(bytes);
        self.muxer.conn.quic.set_send_window(self.send_memory.window());
        self.muxer.deal_all(scope);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.muxer.conn.handle_timeout(now);
        self.muxer.end_late_heads(now);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        [self.muxer.conn.poll_timeout(), self.muxer.next_due()].into_iter().flatten().min()
    }
}
