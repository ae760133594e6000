//! A connection over a byte stream: what the peer sends.

use std::time::Duration;

use bytes::Bytes;
use weir_base::fault::Blame;
use weir_base::stream::Goodbye;
use weir_base::{Chunk, Fault, Instant, StreamKey};
use weir_libp2p::{connection, noise, yamux};

use super::goodbye::goodbye_of;
use super::link::{Inward, Phase, TcpLink};
use super::stream::{Stream, id, stream_of};
use crate::Event;
use crate::carrier::{Remote, Report, Scope};
use crate::event::{DownReason, PipeChange};
use crate::streams::negotiation::{LATE, READ, UNKNOWN};
use crate::streams::{NAMED, Negotiation, Outcome, Writers};

/// How long after a peer's stream was agreed on its end goes out at the earliest: js-libp2p loses what it is sent on a stream whose end
/// comes together with the answer to its proposal. Whoever speaks the pull protocol does not, so hello ends the pause.
const END_PAUSE: Duration = Duration::from_millis(5);

/// How long the answer to a name waits for what the stream's user writes, where the opener did not wait for it either. So an answer
/// that is there soon goes out in one record with it, and wakes the peer once.
const ANSWER_PAUSE: Duration = Duration::from_millis(2);

impl TcpLink {
    /// The byte stream changed.
    pub(super) fn handle_pipe(&mut self, now: Instant, change: PipeChange) {
        match change {
            PipeChange::Connected if self.phase == Phase::Connecting => self.phase = Phase::Handshake,
            PipeChange::Finished => {
                self.pipe.inward = Inward::Ended;
                self.pipe_ended();
            }
            PipeChange::Failed | PipeChange::Closed => {
                self.pipe.inward = Inward::Gone;
                self.pipe_ended();
            }
            PipeChange::Blocked => {
                let tcp = &self.shared.config.tcp;
                self.sending.stuck = Some(now + tcp.ping_interval + tcp.ping_timeout);
            }
            PipeChange::Writable => self.sending.stuck = None,
            PipeChange::Accepted { .. } | PipeChange::Connected => {}
        }
    }

    fn pipe_ended(&mut self) {
        match self.phase {
            Phase::Connecting => self.lost(DownReason::Lost, Phase::Closed),
            Phase::Handshake | Phase::Proven => self.lost(DownReason::Rejected, Phase::Closed),
            Phase::Up => self.lost(DownReason::Lost, Phase::Draining),
            Phase::Flushing(_) | Phase::Cutting(_) if self.pipe.inward == Inward::Gone => {
                self.phase = Phase::Closed;
            }
            Phase::Flushing(_) | Phase::Cutting(_) | Phase::Closed | Phase::Draining => {}
        }
    }

    /// The connection is gone. The first reason stays.
    fn lost(&mut self, reason: DownReason, phase: Phase) {
        self.report.get_or_insert(Report::Lost(reason));
        self.phase = phase;
        self.sending.backlog.unblock_all();
    }

    /// Has `read` fill in what has arrived, as far as there is room; how many bytes.
    pub(super) fn read(
        &mut self,
        scope: &mut Scope<'_>,
        lent: &mut [u8],
        read: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        self.now = scope.now;
        let room = self.receiving.room(&mut self.conn, scope.window);
        if room == 0 {
            return 0;
        }
        if matches!(self.phase, Phase::Connecting | Phase::Cutting(_) | Phase::Closed) {
            let len = read(lent); // dropped
            self.stats.carried.bytes_in += len as u64;
            return len;
        }
        let len = self.conn.read(scope.now, room, lent, read);
        self.stats.carried.bytes_in += len as u64;
        self.drain(scope);
        self.receiving.count_arrived(&mut self.conn, &mut self.streams, scope.window);
        len
    }

    /// Whether the parent has something to act on at once.
    pub(super) fn has_report(&self) -> bool {
        self.report.is_some()
    }

    /// Takes what the connection tells, up to what the parent must act on first.
    pub(super) fn drain(&mut self, scope: &mut Scope<'_>) {
        while self.report.is_none()
            && self.phase != Phase::Proven
            && let Some(event) = self.conn.poll_event()
        {
            match event {
                connection::Event::Up { peer, .. } => {
                    self.phase = Phase::Proven;
                    self.report = Some(Report::Connected(Remote { peer, group: self.pipe.group }));
                }
                connection::Event::Muxer(event) => self.muxer(scope, event),
                connection::Event::Faulted(fault) => self.faulted(fault),
            }
        }
    }

    fn faulted(&mut self, fault: Fault) {
        let unknown = matches!(self.phase, Phase::Connecting | Phase::Handshake | Phase::Proven);
        let cut = Phase::Cutting(Goodbye::Fault);
        if fault == noise::WRONG_PEER {
            self.lost(DownReason::OtherPeer, cut);
        } else if fault.blame == Blame::Unreliable {
            self.lost(DownReason::Lost, cut);
        } else if unknown && fault.blame == Blame::Incompatible {
            self.lost(DownReason::Rejected, cut);
        } else {
            self.report = Some(Report::Fault(fault));
        }
    }

    fn muxer(&mut self, scope: &mut Scope<'_>, event: yamux::Event) {
        match event {
            yamux::Event::Opened(id) => self.opened(scope, stream_of(id)),
            yamux::Event::Readable(id) => self.readable(scope, stream_of(id)),
            yamux::Event::Writable(id) => {
                self.schedule(stream_of(id));
                self.tell_unblocked(scope.link, scope.events);
            }
            yamux::Event::Reset(id, code) => {
                self.stats.heard += 1;
                let keep = self.conn.muxer().is_some_and(|muxer| muxer.has_ended(id));
                self.tell_broken(scope, stream_of(id), code, keep);
            }
            yamux::Event::Openable => {
                self.open_waiting();
                self.tell_unblocked(scope.link, scope.events);
            }
            yamux::Event::Rtt(_) => self.stats.rtt = self.conn.muxer().and_then(|muxer| muxer.rtt()),
            yamux::Event::Away(code) => {
                if matches!(self.phase, Phase::Up | Phase::Flushing(_)) {
                    self.lost(DownReason::ByPeer(goodbye_of(code)), Phase::Draining);
                }
            }
            yamux::Event::Faulted(fault) => self.faulted(fault),
        }
    }

    fn opened(&mut self, scope: &mut Scope<'_>, stream: u64) {
        self.stats.heard += 1;
        let Some(muxer) = self.conn.muxer() else { return };
        let offered = self.shared.names.offered().filter(|_| self.phase == Phase::Up);
        let full = self.negotiating.theirs() >= self.shared.config.streams.max_negotiating;
        match offered {
            None => muxer.reset(id(stream), yamux::code::CLOSING),
            Some(_) if full => {
                muxer.reset(id(stream), yamux::code::LIMIT);
                muxer.count_useless(scope.now);
            }
            Some(names) => {
                let negotiation = Negotiation::theirs(names, scope.now);
                self.negotiating.add(stream, &negotiation);
                self.streams.insert(stream, Box::new(Stream::theirs(negotiation)));
            }
        }
    }

    fn readable(&mut self, scope: &mut Scope<'_>, stream: u64) {
        self.stats.heard += 1;
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        if entry.negotiation.is_some() {
            return self.negotiate(scope, stream);
        }
        self.tell_readable(scope, stream);
    }

    fn tell_readable(&mut self, scope: &mut Scope<'_>, stream: u64) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        if entry.raw {
            self.receiving.unread_raws.insert(stream);
        }
        if entry.receive.notify() {
            scope.events.push_back(Event::Readable(StreamKey { link: scope.link, stream }));
        }
    }

    /// What has come on a stream whose protocol is not agreed on.
    fn negotiate(&mut self, scope: &mut Scope<'_>, stream: u64) {
        loop {
            let (Some(entry), Some(muxer)) = (self.streams.get_mut(&stream), self.conn.muxer()) else {
                return;
            };
            let Some(negotiation) = entry.negotiation.as_deref_mut() else { return };
            let (outcome, rest) = match muxer.read(id(stream), READ) {
                // What is gone was broken off: its event is still to come, and has the code.
                yamux::Read::Blocked | yamux::Read::Gone => return,
                yamux::Read::End => (negotiation.handle_end(), Bytes::new()),
                yamux::Read::Data(chunk) => {
                    scope.window.read(scope.now, chunk.len() as u64);
                    let mut bytes = chunk.into_bytes();
                    (negotiation.received(&mut bytes), bytes)
                }
            };
            let mut answer = negotiation.output();
            let more = !rest.is_empty() || muxer.unread_of(id(stream)) > 0 || muxer.has_ended(id(stream));
            if more && self.sending.greeted && matches!(outcome, Some(Outcome::Opened(_))) {
                entry.answer = std::mem::take(&mut answer);
            } else {
                muxer.write(id(stream), &mut answer);
            }
            if let Some(outcome) = outcome {
                return self.negotiated(scope, stream, outcome, &rest);
            }
            if !answer.is_empty() {
                return self.refuse(scope, stream, yamux::code::LIMIT); // it asks for more than it reads
            }
        }
    }

    fn negotiated(&mut self, scope: &mut Scope<'_>, stream: u64, outcome: Outcome, rest: &Bytes) {
        match outcome {
            Outcome::Opened(index) => {
                self.negotiation_over(stream);
                let Some(protocol) = self.shared.names.owner(index) else { return };
                let (Some(entry), Some(muxer)) = (self.streams.get_mut(&stream), self.conn.muxer()) else {
                    return;
                };
                if entry.answer.is_empty() {
                    muxer.accept(id(stream));
                } else {
                    self.sending.pausing.set(stream, Some(scope.now + ANSWER_PAUSE));
                }
                entry.ends_from = (!self.sending.greeted).then(|| scope.now + END_PAUSE);
                let key = StreamKey { link: scope.link, stream };
                scope.events.push_back(Event::Opened { key, protocol });
                self.begun(scope, stream, rest);
            }
            Outcome::Agreed(protocol) => {
                self.negotiation_over(stream);
                if self.streams.get(&stream).is_some_and(|entry| entry.is_over()) {
                    return self.forget(stream);
                }
                if protocol >= NAMED {
                    let key = StreamKey { link: scope.link, stream };
                    scope.events.push_back(Event::Agreed { key, protocol });
                }
                self.schedule(stream);
                self.tell_unblocked(scope.link, scope.events);
                self.begun(scope, stream, rest);
            }
            Outcome::Declined => {
                // The answer goes out first.
                if let Some(muxer) = self.conn.muxer() {
                    muxer.finish(id(stream));
                    muxer.stop(id(stream), UNKNOWN);
                    muxer.count_useless(scope.now);
                }
                self.break_off(None, stream, UNKNOWN, false);
            }
            Outcome::Refused => {
                let negotiation = self.streams.get(&stream).and_then(|entry| entry.negotiation.as_deref());
                let is_theirs = negotiation.is_some_and(Negotiation::is_theirs);
                self.refuse(scope, stream, UNKNOWN);
                if let Some(muxer) = self.conn.muxer().filter(|_| is_theirs) {
                    muxer.count_useless(scope.now);
                }
            }
            Outcome::Faulted(fault) => self.report = Some(Report::Fault(fault)),
        }
    }

    /// The protocol is agreed on; `rest` came behind the answer.
    fn begun(&mut self, scope: &mut Scope<'_>, stream: u64, rest: &Bytes) {
        let (Some(entry), Some(muxer)) = (self.streams.get_mut(&stream), self.conn.muxer()) else { return };
        if let Some(code) = entry.receive.stop.take() {
            return muxer.stop(id(stream), code); // its user wanted no more before
        }
        if !rest.is_empty() {
            entry.receive.push(Chunk::whole(Bytes::copy_from_slice(rest)));
            self.receiving.kept += rest.len() as u64;
        }
        let waits = muxer.unread_of(id(stream)) > 0 || muxer.has_ended(id(stream));
        if !waits {
            muxer.read(id(stream), 1); // finds nothing, so that the muxer tells of what comes
        }
        if waits || !rest.is_empty() {
            self.tell_readable(scope, stream);
        }
    }

    fn negotiation_over(&mut self, stream: u64) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let Some(negotiation) = entry.negotiation.take() else { return };
        self.negotiating.remove(stream, &negotiation);
    }

    /// Breaks a stream off, at both ends.
    fn refuse(&mut self, scope: &mut Scope<'_>, stream: u64, code: u32) {
        if let Some(muxer) = self.conn.muxer() {
            muxer.reset(id(stream), code);
        }
        self.tell_broken(scope, stream, code, false);
    }

    /// The answer to a stream's name that has waited, if it has, goes out.
    pub(super) fn answer(&mut self, stream: u64) {
        let (Some(entry), Some(muxer)) = (self.streams.get_mut(&stream), self.conn.muxer()) else { return };
        if !entry.answer.is_empty() {
            self.sending.pausing.set(stream, None);
            muxer.accept(id(stream));
            muxer.write(id(stream), &mut std::mem::take(&mut entry.answer));
        }
    }

    /// Ends negotiations that took too long; answers and ends have waited long enough.
    pub(super) fn expire(&mut self, scope: &mut Scope<'_>) {
        while let Some(stream) = self.sending.pausing.pop_due(scope.now) {
            self.answer(stream);
            self.schedule(stream);
        }
        while let Some(stream) = self.negotiating.pop_late(scope.now) {
            self.refuse(scope, stream, LATE);
        }
    }

    /// Whether the peer reads too little for too long: not even a ping goes out.
    pub(super) fn find_stuck(&mut self, now: Instant) {
        if self.sending.stuck.is_some_and(|due| due <= now) && self.phase != Phase::Draining {
            self.sending.stuck = None;
            self.lost(DownReason::Lost, Phase::Closed);
        }
    }

    /// When the first negotiation must be over, or the first answer or end that waits is due.
    pub(super) fn negotiations_due(&self) -> Option<Instant> {
        [self.negotiating.next_due(), self.sending.pausing.next().map(|(due, _)| due)]
            .into_iter()
            .flatten()
            .min()
    }
}
