//! A link's life: up, hello, goodbye, down.

use super::{
    Arc, Ask, BTreeSet, CONTROL, ChannelId, Event, Goodbye, Instant, LinkId, LinkInfo, LinkState, Notice,
    Opened, PeerHello, Phase, Proof, Pull, StreamKey, VecDeque, code,
};
use crate::machine::Negotiated;

impl Pull {
    pub(super) fn link_up(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        self.calls.add_link(link, info.side, info.group);
        if self.links.contains_key(&link) {
            return self.link_confirmed(now, link, info);
        }
        let phase = Phase::Early { opened: 0, waiting: 0, held: VecDeque::new() };
        let state = LinkState { info: *info, phase, goodbye: None, proof: Proof::Confirmed };
        self.links.insert(link, Box::new(state));
        self.machines.each(|machine| machine.link_up(now, link, info));
    }

    pub(super) fn link_down(&mut self, now: Instant, link: LinkId) {
        let Some(state) = self.links.remove(&link) else { return };
        let all = self.machines.early(state.info.dialler || matches!(state.proof, Proof::Confirmed));
        let (open, was_ready) = match state.phase {
            Phase::Early { .. } => (all, false),
            Phase::Ready { matched } => (matched, true),
            Phase::Closing { was_ready, matched } => (matched, was_ready),
        };
        for key in self.keys_of(link) {
            self.routes.remove(key);
        }
        for index in open.into_iter().filter(|index| *index != CONTROL) {
            self.machines.with(index, |machine| machine.link_down(now, link));
        }
        self.machines.with(CONTROL, |machine| machine.link_down(now, link));
        self.calls.remove_link(link);
        if matches!(state.proof, Proof::Confirmed) && (was_ready || state.goodbye.is_some()) {
            self.events.push_back(Event::Gone { link, peer: state.info.peer, goodbye: state.goodbye });
        }
    }

    /// Passes on what control has learnt. Ends every call that has a time.
    pub(super) fn notices(&mut self, now: Instant) {
        self.now = now;
        while let Some(notice) = self.machines.control().and_then(super::Control::poll_notice) {
            match notice {
                Notice::Ready { link, hello } => self.ready(now, link, hello),
                Notice::NoHello { link } => self.no_hello(now, link),
                Notice::Rtt { link, rtt } => {
                    self.each_matched(link, |machine| machine.link_rtt(now, link, rtt));
                    self.events.push_back(Event::Rtt { link, rtt });
                }
                Notice::Services { link, services } => {
                    self.events.push_back(Event::Services { link, services });
                }
                Notice::PeerKey { link, key } => {
                    self.each_matched(link, |machine| machine.link_key(now, link, key));
                }
                Notice::OwnKeys(keys) => self.machines.each(|machine| machine.own_keys(now, &keys)),
                Notice::Closing { link, heard } => self.closing(link, heard),
            }
        }
        self.calls.serve(now, &mut self.machines);
    }

    fn each_matched(&mut self, link: LinkId, mut call: impl FnMut(&mut dyn super::Machine)) {
        let Some(Phase::Ready { matched }) = self.links.get(&link).map(|state| &state.phase) else { return };
        for index in matched.clone() {
            self.machines.with(index, &mut call);
        }
    }

    pub(super) fn ready(&mut self, now: Instant, link: LinkId, hello: Arc<PeerHello>) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if let Proof::Early { .. } = state.proof {
            return self.greeted_early(now, link, &hello);
        }
        let shared: Vec<(u16, ChannelId, Option<Negotiated>)> = self
            .machines
            .iter()
            .skip(1)
            .map(|(index, child)| (index, child.channel, hello.negotiated(child.channel)))
            .collect();
        let matched: BTreeSet<u16> =
            shared.iter().filter(|entry| entry.2.is_some()).map(|entry| entry.0).collect();
        let Phase::Early { held, .. } =
            std::mem::replace(&mut state.phase, Phase::Ready { matched: matched.clone() })
        else {
            return;
        };
        self.events.push_back(Event::Ready { link, peer: state.info.peer, hello });
        self.asks.extend(held.into_iter().filter(|ask| matched.contains(&super::user::asker(ask))));
        let streams = self.keys_of(link);
        for (index, _, negotiated) in shared {
            match negotiated {
                Some(negotiated) => {
                    self.machines.with(index, |machine| machine.link_ready(now, link, &negotiated))
                }
                None => self.machines.with(index, |machine| machine.link_unmatched(now, link)),
            };
        }
        for key in streams {
            self.release(now, key, &matched);
        }
    }

    /// The peer does not speak this protocol: no machine has a part in the link, and their streams are broken off.
    fn no_hello(&mut self, now: Instant, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.phase = Phase::Closing { was_ready: false, matched: BTreeSet::new() };
        for index in self.machines.numbers().skip(1) {
            self.machines.with(index, |machine| machine.link_unmatched(now, link));
        }
        for key in self.keys_of(link) {
            self.release(now, key, &BTreeSet::new());
        }
        self.events.push_back(Event::NoHello { link });
    }

    /// A stream from before hello: given to its machine where the channel is shared, else broken off.
    pub(super) fn release(&mut self, now: Instant, key: StreamKey, matched: &BTreeSet<u16>) {
        let Some(route) = self.routes.get_mut(key) else { return };
        let index = route.child;
        let waited = route.waiting.take();
        if index == CONTROL {
            return;
        }
        if !matched.contains(&index) {
            self.routes.remove(key);
            return self.break_off(key, code::UNKNOWN_CHANNEL);
        }
        if let Some(lane) = waited {
            self.machines.with(index, |machine| machine.handle_opened(now, key, Opened::Peer { lane }));
            self.asks.push_back(Ask::Resume(key));
        }
    }

    fn closing(&mut self, link: LinkId, heard: Option<Goodbye>) {
        let Some(state) = self.links.get(&link) else { return };
        let all = self.machines.early(state.info.dialler || matches!(state.proof, Proof::Confirmed));
        let Some(state) = self.links.get_mut(&link) else { return };
        state.goodbye = state.goodbye.or(heard);
        state.phase = match std::mem::replace(&mut state.phase, Phase::Ready { matched: BTreeSet::new() }) {
            Phase::Early { .. } => Phase::Closing { was_ready: false, matched: all },
            Phase::Ready { matched } => Phase::Closing { was_ready: true, matched },
            closing @ Phase::Closing { .. } => closing,
        };
        for key in self.keys_of(link) {
            if self.routes.get(key).is_some_and(|route| route.waiting.is_some()) {
                self.routes.remove(key);
                self.break_off(key, code::CANCELLED);
            }
        }
    }

    pub(super) fn break_off(&mut self, key: StreamKey, code: u32) {
        self.asks.extend([Ask::Reset(key, code), Ask::Stop(key, code)]);
    }

    pub(super) fn keys_of(&self, link: LinkId) -> Vec<StreamKey> {
        self.routes.of_link(link)
    }
}
