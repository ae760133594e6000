//! A link before its handshake is complete: what may be replayed goes along with it (0-RTT, `docs/spec/control.md`, "Before the
//! link is up").
//!
//! Nothing here brings more than a replay may: at the side that did not dial only control hears of the link, and calls that
//! are replay-safe. Whoever dialled opens what may be replayed and keeps the rest for later.

use super::{
    Arc, Ask, BTreeSet, CONTROL, EARLY_STREAMS, Instant, LinkId, LinkInfo, LinkState, PeerHello, Phase,
    Proof, Pull, StreamKey, VecDeque,
};

impl Pull {
    /// A handshake runs, and data can go along with it.
    pub(super) fn link_early(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        self.calls.add_link(link, info.side, info.group);
        let phase = Phase::Early { opened: 0, waiting: 0, held: VecDeque::new() };
        let proof = Proof::Early { hello: None, serving: BTreeSet::new() };
        self.links.insert(link, Box::new(LinkState { info: *info, phase, goodbye: None, proof }));
        for index in self.machines.early(info.dialler) {
            self.machines.with(index, |machine| machine.link_up(now, link, info));
        }
        self.control(|control| control.wait_for_proof(link));
    }

    /// The handshake is complete: everybody hears of the link, what was held goes out, and what control learnt counts.
    pub(super) fn link_confirmed(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        let heard = self.machines.early(info.dialler);
        let Some(state) = self.links.get_mut(&link) else { return };
        let Proof::Early { hello, .. } = std::mem::replace(&mut state.proof, Proof::Confirmed) else {
            return;
        };
        state.info = *info;
        let begins = matches!(state.phase, Phase::Early { .. });
        if let Phase::Early { opened, held, .. } = &mut state.phase {
            let free = EARLY_STREAMS.saturating_sub(*opened).min(held.len());
            *opened += free;
            self.asks.extend(held.drain(..free));
            for index in self.machines.numbers().filter(|index| !heard.contains(index)) {
                self.machines.with(index, |machine| machine.link_up(now, link, info));
            }
        }
        if let Some(hello) = hello.filter(|_| begins) {
            self.ready(now, link, hello);
        }
        self.control(|control| control.proven(now, link));
    }

    /// Hello came along with the handshake: it is kept, and calls that may be replayed are served.
    pub(super) fn greeted_early(&mut self, now: Instant, link: LinkId, hello: &Arc<PeerHello>) {
        let shared: Vec<_> = self
            .machines
            .iter()
            .filter(|(index, child)| *index != CONTROL && child.joins_early())
            .filter_map(|(index, child)| Some((index, hello.negotiated(child.channel)?)))
            .collect();
        let joined: BTreeSet<u16> = shared.iter().map(|(index, _)| *index).collect();
        let Some(Proof::Early { hello: kept, serving }) =
            self.links.get_mut(&link).map(|state| &mut state.proof)
        else {
            return;
        };
        *kept = Some(Arc::clone(hello));
        serving.clone_from(&joined);
        for (index, negotiated) in shared {
            self.machines.with(index, |machine| machine.link_ready(now, link, &negotiated));
        }
        for key in self.keys_of(link) {
            if self.routes.get(key).is_some_and(|route| joined.contains(&route.child)) {
                self.release(now, key, &joined);
            }
        }
    }

    /// Whether streams of the peer go to this machine though the handshake is not complete.
    pub(super) fn serves_early(&self, key: StreamKey, index: u16) -> bool {
        match self.links.get(&key.link).map(|state| &state.proof) {
            Some(Proof::Early { serving, .. }) => serving.contains(&index),
            _ => false,
        }
    }

    /// Whether an open must wait for the end of the handshake.
    pub(super) fn waits_for_proof(&self, ask: &Ask) -> bool {
        let Ask::Open { link, protocol, .. } = ask else { return false };
        let Some(state) = self.links.get(link) else { return false };
        let early = matches!(state.proof, Proof::Early { .. });
        early && !(state.info.dialler && self.machines.may_go_early(*protocol))
    }

    fn control(&mut self, act: impl FnOnce(&mut super::Control)) {
        if let Some(control) = self.machines.control() {
            act(control);
            self.machines.touched(CONTROL);
        }
    }
}
