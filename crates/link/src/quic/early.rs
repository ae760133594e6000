//! A link over QUIC before it is confirmed: 0-RTT (`docs/spec/links.md`).
//!
//! - a client that has a session for the peer it expects may open streams of `streams.early` and write them, 8 KiB in all;
//!   what it wrote is kept until the handshake is complete, and sent again, on the same streams, where the server refused it;
//! - a server that took such data knows by the session who sends it. It reads the streams of `streams.early` at once and may
//!   answer on them, opens none itself, and leaves all others unread until the handshake is complete.
//!
//! Threat: who recorded a flight sends it again, from anywhere. A session is good for one use, so that only the first copy is
//! read; QUIC sends it at most three times its bytes; it can never complete the handshake.

use std::collections::VecDeque;

use quinn_proto::{Dir, Side, VarInt};
use weir_base::stream::{Group, LinkInfo, Side as Dialled};
use weir_base::{Fault, Instant, LinkId, ProtocolId, Rope, StreamKey};

use super::link::{Phase, QuicLink};
use super::output::Rests;
use super::stream::{ReceiveEnd, SendEnd, priority};
use crate::Event;
use crate::event::DialId;
use crate::window::Window;

/// What became of data that went along with a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    /// There was none.
    None,
    /// It was taken, by whichever side was the server.
    Accepted,
    /// The peer did not take this side's; it is sent again.
    Refused,
}

impl QuicLink {
    /// Whether data may go along with the handshake that runs.
    pub(crate) fn is_early(&self) -> bool {
        self.phase == Phase::Handshake { early: true }
    }

    /// Whether [`Event::Early`] was told.
    pub(crate) fn was_early(&self) -> bool {
        self.notified_early
    }

    pub(crate) fn notify_early(
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
    pub(super) fn detect_early(&mut self, link: LinkId, events: &mut VecDeque<Event>) {
        let waits = self.phase == (Phase::Handshake { early: false }) && self.conn.side() == Side::Server;
        if !waits || self.config.streams.early.is_empty() {
            return;
        }
        if let Some(peer) = self.peer() {
            self.phase = Phase::Handshake { early: true };
            let group = Group::of(self.remote().ip());
            let info = LinkInfo { peer, side: Dialled::Inbound, dialler: false, group };
            self.notify_early(link, info, None, events);
        }
    }

    /// Whether this side may open such a stream before the handshake is complete.
    pub(super) fn may_open_early(&self, protocol: ProtocolId) -> bool {
        self.is_early() && self.conn.side() == Side::Client && self.config.streams.early.contains(&protocol)
    }

    /// Notes a stream of the peer that came early and must wait. Returns whether it does.
    pub(super) fn hold_early(&mut self, stream: u64, protocol: ProtocolId) -> bool {
        let holds = self.is_early() && !self.config.streams.early.contains(&protocol);
        if holds && let Some(entry) = self.streams.get_mut(stream) {
            entry.receive.held = Some(protocol);
        }
        holds
    }

    /// The link is up: streams that came with the handshake and waited are told of, and what was written early is sent again
    /// if it was refused.
    pub(crate) fn confirmed(
        &mut self,
        now: Instant,
        link: LinkId,
        window: &mut Window,
        events: &mut VecDeque<Event>,
    ) -> Result<Early, Fault> {
        let was_early = self.is_early();
        self.phase = Phase::Up;
        let mut outcome = if was_early { Early::Accepted } else { Early::None };
        if was_early && self.conn.side() == Side::Client {
            let wrote = self.sending.early > 0;
            if !self.conn.accepted_0rtt() {
                self.send_again();
                outcome = Early::Refused;
            }
            if !wrote {
                outcome = Early::None;
            }
            self.sending.early = 0;
            for stream in self.streams.keys() {
                if let Some(entry) = self.streams.get_mut(stream) {
                    entry.send.early = Vec::new();
                }
            }
        }
        let all = self.streams.keys();
        for stream in all.iter().copied().filter(|stream| !self.is_ours(*stream)).collect::<Vec<_>>() {
            if let Some(protocol) = self.streams.get_mut(stream).and_then(|entry| entry.receive.held.take()) {
                events.push_back(Event::Opened { key: StreamKey { link, stream }, protocol });
            }
            self.readable(now, link, window, stream, events)?;
        }
        for stream in all {
            self.writable(link, stream, events);
        }
        Ok(outcome)
    }

    /// QUIC forgot all early streams. They are opened again, in order, so that each has its number; those that ended since are
    /// broken off.
    fn send_again(&mut self) {
        self.sending.rest = 0;
        self.sending.rests = Rests::default();
        for _ in self.numbers.waiting.len() as u64..self.numbers.opened {
            let Some(name) = self.conn.streams().open(Dir::Bi) else { return };
            let entry = self.streams.get_mut(u64::from(name));
            let unread = entry.as_ref().is_none_or(|entry| entry.receive.end == ReceiveEnd::Over);
            if unread {
                let _ = self.conn.recv_stream(name).stop(VarInt::from_u32(0));
            }
            let Some(entry) = entry.filter(|entry| !entry.send.early.is_empty()) else {
                let _ = self.conn.send_stream(name).reset(VarInt::from_u32(0)); // given up, or reset, meanwhile
                continue;
            };
            let _ = self.conn.send_stream(name).set_priority(priority(entry.send.class));
            entry.send.rest = Rope::new();
            std::mem::take(&mut entry.send.early).into_iter().for_each(|part| entry.send.rest.push(part));
            let rest = entry.send.rest.len();
            self.sending.rest += rest;
            self.sending.rests.add(entry.send.class, rest);
            if entry.send.end == SendEnd::Over {
                entry.send.end = SendEnd::Finishing;
            }
            self.give(name.into(), usize::MAX);
        }
    }
}
