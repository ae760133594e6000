//! A connection over a byte stream as its parent drives it.

use std::time::Duration;

use weir_base::stream::Goodbye;
use weir_base::{Fault, Instant, StreamKey};

use super::link::{Inward, Phase, TcpLink};
use crate::Event;
use crate::carrier::{Carrier, Early, LinkStats, Report, Scope, Streams};
use crate::streams::{ReceiveEnd, SendEnd};
use crate::window::Window;

/// A round trip before one was measured.
const RTT_UNKNOWN: Duration = Duration::from_millis(100);

impl Carrier for TcpLink {
    fn streams(&mut self) -> &mut dyn Streams {
        self
    }

    fn activity(&self) -> u64 {
        self.stats.heard
    }

    fn poll(&mut self, scope: &mut Scope<'_>) -> Option<Report> {
        self.now = scope.now;
        if let Some(report) = self.report.take() {
            return Some(report);
        }
        let readable = self.receiving.go_on(&mut self.conn, scope);
        self.expire(scope);
        self.drain(scope);
        self.receiving.count_arrived(&mut self.conn, &mut self.streams, scope.window);
        for stream in std::mem::take(&mut self.receiving.told) {
            scope.events.push_back(Event::Readable(StreamKey { link: scope.link, stream }));
        }
        if readable {
            scope.events.push_back(Event::ReadPipe(self.pipe.id));
        }
        self.report.take()
    }

    fn close(&mut self, reason: Goodbye) {
        if self.phase != Phase::Up {
            return;
        }
        self.phase = Phase::Flushing(reason);
        let writing = |end: SendEnd| matches!(end, SendEnd::Open | SendEnd::Waiting(_));
        let all = self.streams.iter().filter(|(_, entry)| writing(entry.send.end));
        let open: Vec<u64> = all.map(|(stream, _)| *stream).collect();
        open.into_iter().for_each(|stream| self.finish(stream));
        // Answers and ends that wait go out before the link's.
        while let Some((_, stream)) = self.sending.pausing.next() {
            self.sending.pausing.set(stream, None);
            self.answer(stream);
            self.schedule(stream);
        }
    }

    fn abort(&mut self, reason: Goodbye) {
        self.phase = match self.phase {
            Phase::Connecting | Phase::Closed | Phase::Draining => Phase::Closed,
            _ if self.pipe.inward == Inward::Gone => Phase::Closed,
            Phase::Handshake | Phase::Proven | Phase::Up | Phase::Flushing(_) | Phase::Cutting(_) => {
                Phase::Cutting(reason)
            }
        };
    }

    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Closed => true,
            // What a reader was told of, and has not seen the end of, it may still want.
            Phase::Draining => !self
                .streams
                .values()
                .any(|entry| entry.receive.notified && entry.receive.end != ReceiveEnd::Over),
            _ => false,
        }
    }

    fn rtt(&self) -> Duration {
        self.stats.rtt.unwrap_or(RTT_UNKNOWN)
    }

    fn stats(&self) -> LinkStats {
        self.stats.carried
    }

    fn confirmed(&mut self, _scope: &mut Scope<'_>) -> Result<Early, Fault> {
        if self.phase == Phase::Proven {
            (self.phase, self.pipe.was_up) = (Phase::Up, true);
        }
        Ok(Early::None)
    }

    fn window_grew(&mut self, _window: &Window) -> bool {
        self.receiving.waits_for_room(&self.conn)
    }

    fn is_libp2p(&self) -> bool {
        true
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.conn.handle_timeout(now);
        self.find_stuck(now);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        if matches!(self.phase, Phase::Connecting | Phase::Closed | Phase::Draining) {
            return None;
        }
        let due = self.conn.poll_timeout().map(|(due, _)| due);
        [due, self.negotiations_due(), self.sending.stuck].into_iter().flatten().min()
    }
}
