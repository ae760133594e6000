//! [`Pull`] as a user of streams: each call goes to the machine whose stream it names.

use super::{
    Ask, CONTROL, Class, EARLY_STREAMS, Incoming, Instant, LinkChange, LinkId, OpenError, Opened, Origin,
    Phase, ProtocolId, Pull, Rope, Route, StreamKey, StreamUser, TAG_END, code,
};
use crate::machine::earlier;

/// Which machine asked to open.
pub(super) fn asker(ask: &Ask) -> u16 {
    match ask {
        Ask::Open { tag, .. } => split(*tag).0,
        _ => CONTROL,
    }
}

/// The machine's number and its own tag.
fn split(tag: u64) -> (u16, u64) {
    (u16::try_from(tag / TAG_END).unwrap_or(u16::MAX), tag % TAG_END)
}

impl StreamUser for Pull {
    fn protocols(&self) -> Vec<ProtocolId> {
        self.machines.protocols().collect()
    }

    fn handle_link(&mut self, now: Instant, link: LinkId, change: &LinkChange) {
        match change {
            LinkChange::Early(info) => self.link_early(now, link, info),
            LinkChange::Up(info) => self.link_up(now, link, info),
            LinkChange::Down => self.link_down(now, link),
        }
        self.notices(now);
    }

    fn handle_opened(&mut self, now: Instant, key: StreamKey, origin: Origin) {
        match origin {
            Origin::Peer(protocol) => self.opened_by_peer(now, key, protocol),
            Origin::Local { tag } => {
                let (index, tag) = split(tag);
                if !self.serves(key.link, index) {
                    return self.break_off(key, code::CANCELLED);
                }
                self.route(key, index, None);
                self.machines.with(index, |machine| machine.handle_opened(now, key, Opened::Local { tag }));
            }
        }
        self.notices(now);
    }

    fn handle_refused(&mut self, now: Instant, tag: u64, error: OpenError) {
        let (index, tag) = split(tag);
        self.machines.with(index, |machine| machine.handle_refused(now, tag, error));
        self.notices(now);
    }

    fn class(&self, protocol: ProtocolId) -> Class {
        let Some((index, lane)) = self.machines.lane(protocol) else { return Class::Bulk };
        self.machines.get(index).map_or(Class::Bulk, |child| child.seen().class(lane))
    }

    fn room(&self, key: StreamKey) -> usize {
        let Some(route) = self.routes.get(key).filter(|route| route.waiting.is_none()) else { return 0 };
        self.machines.get(route.child).map_or(0, |child| child.seen().room(key))
    }

    fn handle_incoming(&mut self, now: Instant, key: StreamKey, input: Incoming) {
        let Some(route) = self.routes.get_mut(key) else { return };
        match &input {
            Incoming::Data(_) => {}
            Incoming::End | Incoming::Reset(_) => route.read_ended = true,
            Incoming::Stopped(_) => route.write_ended = true,
        }
        let route = *route;
        if route.read_ended && route.write_ended {
            self.routes.remove(key);
        }
        if route.waiting.is_some() {
            return self.gone_before_hello(key, &input);
        }
        let Some(child) = self.machines.get_mut(route.child) else { return };
        if let Incoming::Data(chunk) = &input {
            child.stats.bytes_in += chunk.len() as u64;
        }
        self.machines.with(route.child, |machine| machine.handle_incoming(now, key, input));
        self.notices(now);
    }

    fn poll_write(&mut self, now: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(route) = self.routes.get(key).filter(|route| !route.write_ended && route.waiting.is_none())
        else {
            return;
        };
        let (index, before) = (route.child, out.len());
        self.machines.with(index, |machine| machine.poll_write(now, key, room, out));
        if let Some(child) = self.machines.get_mut(index) {
            child.stats.bytes_out += (out.len() - before) as u64;
        }
        self.notices(now);
    }

    fn poll_ask(&mut self) -> Option<Ask> {
        loop {
            if let Some(ask) = self.asks.pop_front() {
                return Some(ask);
            }
            let (index, ask) = self.machines.poll_ask()?;
            if let Some(ask) = self.pass(index, ask) {
                return Some(ask);
            }
        }
    }

    /// Control, permits, and calls that are declared replay-safe.
    fn replay_safe(&self) -> Vec<ProtocolId> {
        let all = self.machines.protocols();
        all.filter(|protocol| self.machines.may_go_early(*protocol)).collect()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.machines.handle_timeout(now);
        self.calls.handle_timeout(now, &mut self.machines);
        self.notices(now);
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        earlier(self.calls.poll_timeout(), self.machines.poll_timeout())
    }
}

impl Pull {
    fn route(&mut self, key: StreamKey, child: u16, waiting: Option<u8>) {
        self.routes.insert(key, Route { child, waiting, read_ended: false, write_ended: false });
        if let Some(child) = self.machines.get_mut(child) {
            child.stats.streams += 1;
        }
    }

    /// Whether the machine may have streams on the link: hello has not come, or has matched its channel.
    fn serves(&self, link: LinkId, index: u16) -> bool {
        match self.links.get(&link).map(|state| &state.phase) {
            Some(Phase::Early { .. }) => true,
            Some(Phase::Ready { matched } | Phase::Closing { matched, .. }) => {
                index == CONTROL || matched.contains(&index)
            }
            None => false,
        }
    }

    fn opened_by_peer(&mut self, now: Instant, key: StreamKey, protocol: ProtocolId) {
        let Some((index, lane)) = self.machines.lane(protocol) else {
            return self.break_off(key, code::UNKNOWN_CHANNEL);
        };
        let early = self.serves_early(key, index);
        let Some(state) = self.links.get_mut(&key.link) else {
            return self.break_off(key, code::UNKNOWN_CHANNEL);
        };
        match &mut state.phase {
            _ if index == CONTROL || early => {}
            Phase::Early { waiting, .. } if *waiting < EARLY_STREAMS => {
                *waiting += 1;
                return self.route(key, index, Some(lane));
            }
            Phase::Early { .. } => return self.break_off(key, code::LIMIT),
            Phase::Ready { matched } if matched.contains(&index) => {}
            Phase::Ready { .. } => return self.break_off(key, code::UNKNOWN_CHANNEL),
            Phase::Closing { .. } => return self.break_off(key, code::CANCELLED),
        }
        self.route(key, index, None);
        self.machines.with(index, |machine| machine.handle_opened(now, key, Opened::Peer { lane }));
    }

    /// A stream that waited for hello ended first: it is forgotten, its other direction too.
    fn gone_before_hello(&mut self, key: StreamKey, input: &Incoming) {
        self.routes.remove(key);
        if let Some(Phase::Early { waiting, .. }) =
            self.links.get_mut(&key.link).map(|state| &mut state.phase)
        {
            *waiting = waiting.saturating_sub(1);
        }
        match input {
            Incoming::Stopped(_) => self.asks.push_back(Ask::Stop(key, code::CANCELLED)),
            _ => self.asks.push_back(Ask::Reset(key, code::CANCELLED)),
        }
    }

    /// What a machine asks, in the parent's terms; `None` where it is dropped or held back.
    fn pass(&mut self, index: u16, ask: Ask) -> Option<Ask> {
        match ask {
            Ask::Open { link, protocol, class, tag } => self
                .pass_open(index, Ask::Open { link, protocol, class, tag: u64::from(index) * TAG_END + tag }),
            Ask::Resume(key) | Ask::Write(key) => self.routes.contains(key).then_some(ask),
            Ask::Finish(key) | Ask::Reset(key, _) => self.end(key, false).then_some(ask),
            Ask::Stop(key, _) => self.end(key, true).then_some(ask),
            Ask::Blame(link, fault) => {
                let child = self.machines.get_mut(index)?;
                child.stats.faults += 1;
                Some(Ask::Blame(link, fault.within(child.channel.protocol(0))))
            }
            Ask::Close(..) => Some(ask),
        }
    }

    fn pass_open(&mut self, index: u16, ask: Ask) -> Option<Ask> {
        let Ask::Open { link, tag, .. } = ask else { return None };
        let waits = self.waits_for_proof(&ask);
        match &mut self.links.get_mut(&link)?.phase {
            Phase::Early { opened, held, .. } => {
                if waits || *opened >= EARLY_STREAMS {
                    held.push_back(ask);
                    return None;
                }
                *opened += 1;
            }
            Phase::Ready { matched } if index == CONTROL || matched.contains(&index) => {}
            Phase::Ready { .. } => return None,
            Phase::Closing { .. } => {
                let now = self.now;
                self.machines
                    .with(index, |machine| machine.handle_refused(now, split(tag).1, OpenError::Closed));
                return None;
            }
        }
        Some(ask)
    }

    /// Notes that one direction of a stream ends; whether it was open.
    fn end(&mut self, key: StreamKey, reading: bool) -> bool {
        let Some(route) = self.routes.get_mut(key) else { return false };
        let ended = if reading { &mut route.read_ended } else { &mut route.write_ended };
        let was_open = !std::mem::replace(ended, true);
        if route.read_ended && route.write_ended {
            self.routes.remove(key);
        }
        was_open
    }
}
