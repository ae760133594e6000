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

use quinn_proto::{Dir, VarInt};
use weir_base::stream::{Group, LinkInfo, Side as Dialled};
use weir_base::{LinkId, ProtocolId};

use super::link::{Phase, QuicLink};
use super::stream::priority;
use crate::Event;
use crate::carrier::Carrier;
use crate::event::DialId;
use crate::streams::{ReceiveEnd, SendEnd};

impl QuicLink {
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
        let waits = self.phase == (Phase::Handshake { early: false }) && !self.conn.is_client();
        if !waits {
            return;
        }
        self.naming.by_name = self.conn.is_libp2p();
        if self.naming.by_name || self.config.early().is_empty() {
            return; // it is read once the handshake is complete
        }
        if let Some(peer) = self.conn.peer() {
            self.phase = Phase::Handshake { early: true };
            let group = Group::of(self.conn.remote().ip());
            let info = LinkInfo { peer, side: Dialled::Inbound, dialler: false, group };
            self.notify_early(link, info, None, events);
        }
    }

    /// Whether this side may open such a stream before the handshake is complete.
    pub(super) fn may_open_early(&self, protocol: ProtocolId) -> bool {
        self.is_early() && self.conn.is_client() && self.config.early().contains(&protocol)
    }

    /// Notes a stream of the peer that came early and must wait. Returns whether it does.
    pub(super) fn hold_early(&mut self, stream: u64, protocol: ProtocolId) -> bool {
        let holds = self.is_early() && !self.config.early().contains(&protocol);
        if holds && let Some(entry) = self.streams.get_mut(stream) {
            entry.held = Some(protocol);
        }
        holds
    }

    /// QUIC forgot all early streams. They are opened again, in order, so that each has its number; those that ended since are
    /// broken off.
    pub(super) fn send_again(&mut self) {
        for stream in self.streams.keys() {
            let Some(entry) = self.streams.get_mut(stream) else { continue };
            let waits = std::mem::take(&mut entry.send.queue).len(); // it is kept, with what QUIC had taken
            self.sending.outbox.sub(entry.send.class, waits as u64);
        }
        for _ in 0..self.opens.begun() {
            let Some(name) = self.conn.quic.streams().open(Dir::Bi) else { return };
            let entry = self.streams.get_mut(u64::from(name));
            let unread = entry.as_ref().is_none_or(|entry| entry.receive.end == ReceiveEnd::Over);
            if unread {
                let _ = self.conn.quic.recv_stream(name).stop(VarInt::from_u32(0));
            }
            let Some(entry) = entry.filter(|entry| !entry.early.is_empty()) else {
                let _ = self.conn.quic.send_stream(name).reset(VarInt::from_u32(0)); // given up, or reset, meanwhile
                continue;
            };
            let _ = self.conn.quic.send_stream(name).set_priority(priority(entry.send.class));
            std::mem::take(&mut entry.early).into_iter().for_each(|part| entry.send.queue.push(part));
            let rest = entry.send.queue.len();
            self.sending.outbox.add(entry.send.class, rest as u64);
            if entry.send.end == SendEnd::Over {
                entry.send.end = SendEnd::Finishing;
            }
            self.give(name.into(), usize::MAX);
        }
    }
}
