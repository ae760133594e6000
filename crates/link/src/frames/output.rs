//! A link over frames: what goes out, one frame at a time.

use std::collections::VecDeque;

use weir_base::Instant;
use weir_base::stream::Class;

use super::link::{CONTROL_RESERVE, Ending, FrameLink};
use super::{DATA_MAX, Frame};
use crate::carrier::Scope;
use crate::streams::{SendEnd, Writers};
use crate::window::Window;

/// An idle link keeps room for so many frames of control, some 400 bytes, so that short streams do not allocate it each time.
const CONTROL_KEPT: usize = 8;

/// The round trip is measured again after so long, while data goes out.
const PING_EVERY: std::time::Duration = std::time::Duration::from_secs(15);

impl FrameLink {
    /// The next frame for the peer, and its bytes on a wire; `None` when there is none now.
    pub(crate) fn next_frame(&mut self, scope: &mut Scope<'_>) -> Option<(Frame, usize)> {
        let now = scope.now;
        let frame = self.next(now, scope.window)?;
        let len = frame.wire_len();
        self.stats.bytes_out += len as u64;
        if matches!(frame, Frame::Data { .. }) {
            self.echo.due |= now.since(self.echo.at) >= PING_EVERY;
            self.tell_unblocked(scope.link, scope.events);
        }
        Some((frame, len))
    }

    fn next(&mut self, now: Instant, window: &Window) -> Option<Frame> {
        if matches!(self.ending, Ending::Closed | Ending::Draining) {
            return None;
        }
        if let Some(nonce) = self.echo.answer.take() {
            return Some(Frame::Pong { nonce });
        }
        if std::mem::take(&mut self.echo.due) {
            self.echo.nonce += 1;
            self.echo.sent = Some((self.echo.nonce, now));
            self.echo.at = now;
            return Some(Frame::Ping { nonce: self.echo.nonce });
        }
        if let Some(frame) = self.link_credit(window) {
            return Some(frame);
        }
        while let Some(frame) = self.control.pop_front() {
            if self.control.is_empty() && self.control.capacity() > CONTROL_KEPT {
                self.control = VecDeque::new(); // a burst leaves no buffer behind
            }
            if let Some(frame) = self.fill(frame) {
                return Some(frame);
            }
        }
        if let Some(frame) = self.data() {
            return Some(frame);
        }
        self.close_frame()
    }

    /// The link's credit, when a quarter of the window is new.
    fn link_credit(&mut self, window: &Window) -> Option<Frame> {
        let read = self.receiving.received - self.receiving.unread;
        let total = read + window.granted();
        if total < self.receiving.advertised + window.granted() / 4 {
            return None;
        }
        self.receiving.advertised = total;
        Some(Frame::LinkCredit { total })
    }

    /// A stream's credit is what it is when the frame goes out; of a stream that ended none is told.
    fn fill(&mut self, frame: Frame) -> Option<Frame> {
        if let Frame::StreamsCredit { .. } = frame {
            let total = self.numbers.over + self.numbers.limit;
            self.numbers.granted = total;
            return Some(Frame::StreamsCredit { total });
        }
        let Frame::StreamCredit { stream, .. } = frame else { return Some(frame) };
        let entry = self.streams.get_mut(stream)?;
        entry.credit.due = false;
        let total = entry.credit_to_tell(self.limits.window)?;
        entry.credit.advertised = total;
        Some(Frame::StreamCredit { stream, total })
    }

    fn data(&mut self) -> Option<Frame> {
        let credit = self.sending.credit.saturating_sub(self.sending.sent);
        let most = |credit: u64| usize::try_from(credit).map_or(DATA_MAX, |credit| credit.min(DATA_MAX));
        let (control, others) = (most(credit), most(credit.saturating_sub(CONTROL_RESERVE)));
        loop {
            let outbox = &mut self.sending.backlog.outbox;
            let stream = match (control, others) {
                (0, _) => return None,
                (_, 0) => outbox.pop_control()?,
                _ => outbox.pop()?,
            };
            let Some(entry) = self.streams.get_mut(stream) else { continue };
            let send = &mut entry.send;
            send.scheduled = false;
            let most = if send.class == Class::Control { control } else { others };
            if let Some(bytes) = send.queue.pop(most) {
                let (len, class) = (bytes.len() as u64, send.class);
                entry.credit.sent += len;
                self.sending.sent += len;
                self.sending.backlog.outbox.sub(class, len);
                self.sending.backlog.outbox.served(class, len);
                if send.queue.is_empty() && send.end == SendEnd::Finishing {
                    self.control.push_back(Frame::End { stream }); // needs no credit
                    send.end = SendEnd::Over;
                    self.remove_if_over(stream);
                } else {
                    self.sending.backlog.schedule(stream, send);
                }
                return Some(Frame::Data { stream, bytes });
            }
            if send.end == SendEnd::Finishing {
                send.end = SendEnd::Over;
                self.remove_if_over(stream);
                return Some(Frame::End { stream });
            }
        }
    }

    fn close_frame(&mut self) -> Option<Frame> {
        let Ending::Flushing(goodbye) = self.ending else { return None };
        if self.sending.backlog.outbox.queued() > 0 {
            return None;
        }
        self.ending = Ending::Closed;
        Some(Frame::Close { goodbye })
    }
}
