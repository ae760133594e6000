//! A link over QUIC: what its parent drives it by.

use std::time::Duration;

use quinn_proto::Event as Quic;
use weir_base::stream::Goodbye;
use weir_base::{Fault, Instant, StreamKey};

use super::link::{Phase, QuicLink};
use super::stream::Stream;
use crate::carrier::{Carrier, Early, Lent, LinkStats, Report, Scope, SendDemand, Streams};
use crate::streams::ReceiveEnd;
use crate::window::Window;

/// Lent send memory goes back after so long without a write.
const SEND_IDLE: Duration = Duration::from_secs(1);

impl Carrier for QuicLink {
    fn streams(&mut self) -> &mut dyn Streams {
        self
    }

    /// Stream frames that came.
    fn activity(&self) -> u64 {
        self.conn.quic.stats().frame_rx.stream
    }

    /// Takes what QUIC reports until the parent must act.
    fn poll(&mut self, scope: &mut Scope<'_>) -> Option<Report> {
        self.naming.at(scope.now);
        let Scope { now, link, ref mut window, ref mut events } = *scope;
        while let Some(event) = self.conn.quic.poll() {
            let outcome = match event {
                Quic::Connected => return Some(self.connected()),
                Quic::ConnectionLost { reason } => return Some(self.lost(reason)),
                Quic::Stream(event) => {
                    self.detect_early(link, events);
                    self.stream_event(now, link, window, &event, events)
                }
                Quic::HandshakeDataReady | Quic::DatagramReceived | Quic::DatagramsUnblocked => Ok(()),
            };
            if let Err(fault) = outcome {
                return Some(Report::Fault(fault));
            }
        }
        self.settle_names(scope);
        let Scope { now, link, ref mut window, ref mut events } = *scope;
        self.deal(link, events);
        self.end(now);
        self.receiving.count_raw(&mut self.streams, window, self.config.streams.window);
        None
    }

    fn close(&mut self, reason: Goodbye) {
        if self.phase != Phase::Up {
            return;
        }
        self.phase = Phase::Flushing(reason);
        let streams = self.streams.keys();
        streams.into_iter().for_each(|stream| self.finish(stream));
    }

    /// Ends at once: what waits does not go out, but the reason does.
    fn abort(&mut self, reason: Goodbye) {
        if !matches!(self.phase, Phase::Closed { .. }) {
            self.phase = Phase::Cutting(reason);
        }
    }

    /// Whether nothing more will go out or be read.
    fn is_over(&self) -> bool {
        let unread = |entry: &Stream| entry.receive.notified && entry.receive.end != ReceiveEnd::Over;
        match self.phase {
            Phase::Closed { by_peer } => !by_peer || !self.streams.any(|entry| unread(entry)),
            _ => false,
        }
    }

    fn rtt(&self) -> Duration {
        self.conn.quic.rtt()
    }

    fn stats(&self) -> LinkStats {
        let stats = self.conn.quic.stats();
        LinkStats {
            bytes_in: stats.udp_rx.bytes,
            bytes_out: stats.udp_tx.bytes,
            datagrams_in: stats.udp_rx.datagrams,
            datagrams_out: stats.udp_tx.datagrams,
            lost: stats.path.lost_packets,
            mtu: self.conn.quic.current_mtu(),
            window: 0, // the link knows
        }
    }

    /// The link is up. Its user now hears of streams that came with the handshake, and what was written early is sent again
    /// if it was refused.
    fn confirmed(&mut self, scope: &mut Scope<'_>) -> Result<Early, Fault> {
        let Scope { now, link, ref mut window, ref mut events } = *scope;
        let was_early = self.is_early();
        self.phase = Phase::Up;
        if self.naming.by_name {
            self.hello_accepted(); // its peer may never say one, and shall have as many streams
        }
        let mut outcome = if was_early { Early::Accepted } else { Early::None };
        if was_early && self.conn.is_client() {
            let wrote = self.sending.early > 0;
            if !self.conn.quic.accepted_0rtt() {
                self.send_again();
                outcome = Early::Refused;
            }
            if !wrote {
                outcome = Early::None;
            }
            self.sending.early = 0;
            for stream in self.streams.keys() {
                if let Some(entry) = self.streams.get_mut(stream) {
                    entry.early = Vec::new();
                }
            }
        }
        let all = self.streams.keys();
        for stream in all.iter().copied().filter(|stream| !self.conn.is_ours(*stream)).collect::<Vec<_>>() {
            if let Some(entry) = self.streams.get_mut(stream)
                && let Some(protocol) = entry.held.take()
            {
                entry.tell_opened(StreamKey { link, stream }, protocol, events);
            }
            self.readable(now, link, window, stream, events)?;
        }
        for stream in all {
            self.writable(link, stream, events);
        }
        Ok(outcome)
    }

    /// Whether data may go along with the handshake that runs.
    fn is_early(&self) -> bool {
        self.phase == Phase::Handshake { early: true }
    }

    /// Whether [`Event::Early`] was told.
    fn was_early(&self) -> bool {
        self.notified_early
    }

    fn is_libp2p(&self) -> bool {
        self.naming.by_name
    }

    fn window_grew(&mut self, window: &Window) -> bool {
        self.receiving.credit.window_changed(&mut self.conn, window);
        false
    }

    fn lent(&self) -> Lent {
        let send = self.sending.window.saturating_sub(self.config.budget.base_send);
        Lent { receive: self.receiving.credit.debt(), send }
    }

    /// About two congestion windows while a writer waits, back to the base when nobody writes.
    fn send_demand(&mut self, now: Instant) -> SendDemand {
        let (base, window) = (self.config.budget.base_send, self.sending.window);
        if self.sending.outbox.queued() > 0 {
            self.sending.wrote = now;
            let want =
                self.conn.quic.congestion_state().window().saturating_mul(2).min(self.config.budget.max_send);
            // In steps of an eighth: a larger window is worth a change, a few bytes are not.
            if want > window + window / 8 {
                return SendDemand { more: want - window, back: 0 };
            }
        } else if window > base && now.since(self.sending.wrote) >= SEND_IDLE {
            self.sending.window = base;
            self.conn.quic.set_send_window(base);
            return SendDemand { more: 0, back: window - base };
        }
        SendDemand::default()
    }

    fn lend_send(&mut self, scope: &mut Scope<'_>, bytes: u64) {
        self.sending.window += bytes;
        self.conn.quic.set_send_window(self.sending.window);
        self.deal_all(scope.link, scope.events);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.conn.handle_timeout(now);
        self.heads_overdue(now);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let quic = self.conn.poll_timeout();
        let head = self.receiving.heads.next().map(|(due, _)| due);
        [quic, head, self.naming.next_due()].into_iter().flatten().min()
    }
}
