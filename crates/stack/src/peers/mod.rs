//! Who this node knows, who is linked, and how much each is trusted.
//!
//! - `book`: static peers and candidates, when each may be dialled next;
//! - the dialler, here: persistent peers always, candidates while links are fewer than wanted, or own ones too few;
//! - `reputation`: what is held against whom: [`standing`] by peer, `origins` by address; `acts`: which faults are one;
//! - links by peer, with what is known of each: a peer is one because its link is authenticated, whatever it speaks.
//!
//! The stack tells what happened and carries out what [`Peers`] returns; nothing here calls a link.

mod acts;
mod backoff;
mod book;
mod config;
mod heard;
pub(crate) mod joins;
mod known;
mod origins;
mod reputation;
pub mod standing;
mod trim;
pub(crate) mod ways;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use litemap::LiteMap;
use weir_base::identity::PeerId;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::{Goodbye, LinkInfo, Side};
use weir_base::{Blame, Fault, Instant, LinkId, ProtocolId, Rng, UnixTime};
use weir_link::{Dial, DialId, Network};
use weir_pull::{Channel, ChannelId, PeerHello, Service, Ticket};

use crate::budget::Stats;
use acts::Acts;
use book::Book;
pub use book::BookError;
pub(crate) use book::{BookId, Unreached};
pub use config::{Config, Trim};
pub use heard::Heard;
pub(crate) use heard::{hear, note_no_hello};
use joins::Joins;
pub use known::{Known, Role};
use origins::Inbound;
pub use origins::{BannedBy, MAX_BANS, NetworkBan, TooManyBans};
pub(crate) use reputation::Blamed;
use reputation::Reputation;
pub use standing::{Reaction, Record, Share, Standing};
pub(crate) use trim::Surplus;

/// Links that ended are remembered so many at a time, the oldest forgotten first: an item that one of them delivered may be
/// judged later. About 100 bytes each.
const MAX_ENDED: usize = 4096;

/// One link as the node sees it.
#[derive(Clone, Debug)]
pub struct Linked {
    /// Who, how, from where.
    pub info: LinkInfo,
    /// The address it was set up over; `None` for a wire.
    pub address: Option<Multiaddr>,
    /// When it came up.
    pub since: Instant,
    /// What is known of the peer; `None` until its hello has come, or has not come in time. Then it is up.
    pub known: Option<Speaks>,
    /// What the peer said by libp2p's identify.
    pub heard: Option<Heard>,
    /// The peer has said that it says no hello, or has not said it in time.
    pub(crate) no_hello: bool,
    /// What standing leaves of its share.
    pub share: Share,
    pub(crate) ticket: Option<Ticket>,
    /// Whether it is the one that stays, where its peer has two.
    stays: bool,
    acts: Acts,
    leaving: bool, // this node has said goodbye
}

impl Linked {
    fn ip(&self) -> Option<IpAddr> {
        self.address.as_ref().and_then(Multiaddr::socket_addr).map(|(_, socket)| socket.ip())
    }

    fn blamed(&self) -> Blamed {
        let inbound_from = self.ip().filter(|_| self.info.side == Side::Inbound);
        Blamed { peer: self.info.peer, inbound_from }
    }
}

const fn inbound(side: Side) -> Inbound {
    match side {
        Side::Inbound => Inbound::Yes,
        Side::Dialled | Side::Pinned => Inbound::No,
    }
}

/// Until when a dial should wait, because the operator has banned every one of its addresses.
fn banned_addresses(reputation: &Reputation, now: Instant, addresses: &[Multiaddr]) -> Option<Instant> {
    let until = |address: &Multiaddr| {
        address.socket_addr().and_then(|(_, socket)| reputation.banned_address(now, socket.ip(), Inbound::No))
    };
    let all: Option<Vec<Instant>> = addresses.iter().map(until).collect();
    all.and_then(|all| all.into_iter().min())
}

/// What is known of a peer on a link: from its hello, or, where it says none, from the streams that it opened or answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speaks {
    /// Its hello.
    pub hello: Option<Arc<PeerHello>>,
    /// The protocols that it is known to speak, in order. Those of a channel are all that the channel may have.
    pub protocols: Vec<ProtocolId>,
    /// Name and version of its program, as it says; empty where it does not.
    pub agent: String,
    /// What it can do for others, as last told.
    pub services: Vec<Service>,
}

impl Speaks {
    fn offers(&self, service: u32) -> bool {
        self.services.iter().any(|offered| offered.id == service)
    }

    /// What a hello says.
    pub(crate) fn from_hello(hello: &Arc<PeerHello>, channels: &[Channel]) -> Self {
        let shared = channels.iter().map(|channel| channel.id).filter(|id| hello.negotiated(*id).is_some());
        let mut protocols: Vec<ProtocolId> =
            std::iter::once(ChannelId::CONTROL).chain(shared).flat_map(ChannelId::protocols).collect();
        protocols.sort_unstable();
        Self {
            protocols,
            agent: hello.agent.clone(),
            services: hello.services.clone(),
            hello: Some(Arc::clone(hello)),
        }
    }
}

/// How a peer can be reached now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It has a link, whether hello has come or not.
    Link(LinkId),
    /// A handshake runs that what is asked may go along with.
    Early(LinkId),
    /// It is being dialled.
    Dialling,
    /// There is no link, and none is on its way.
    Nowhere,
}

/// A handshake under way that data goes along with.
#[derive(Debug)]
struct EarlyLink {
    peer: PeerId,
    dialled: bool,
    fault: Option<Fault>, // the first; it counts once this is a link
}

/// See the module.
#[derive(Debug)]
pub struct Peers {
    config: Config,
    book: Book,
    pub(crate) reputation: Reputation,
    links: LiteMap<LinkId, Box<Linked>>,
    by_peer: BTreeMap<PeerId, LinkId>,           // of each the link to use
    early: BTreeMap<LinkId, EarlyLink>,          // <= admission.max_half_open and attempts of dials
    ended: BTreeMap<LinkId, Blamed>,             // <= MAX_ENDED
    own_dials: BTreeMap<DialId, (Ticket, Dial)>, // commanded, not the book's; <= dial.max_dials
    pub(crate) joins: Joins,
    book_dials: u32,
}

impl Peers {
    /// `exempt`: networks whose addresses are not judged.
    pub(crate) fn new(
        config: Config,
        standing: standing::Config,
        exempt: Vec<Network>,
        wall: UnixTime,
        mut rng: Rng,
    ) -> Self {
        Self {
            book: Book::new(&config, rng.child("book")),
            reputation: Reputation::new(standing, exempt, wall),
            config,
            links: LiteMap::new(),
            by_peer: BTreeMap::new(),
            early: BTreeMap::new(),
            ended: BTreeMap::new(),
            own_dials: BTreeMap::new(),
            joins: Joins::default(),
            book_dials: 0,
        }
    }

    /// Links that are up, by id.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Linked)> {
        self.links.iter().map(|(link, linked)| (*link, linked.as_ref()))
    }

    /// One link.
    pub fn link(&self, link: LinkId) -> Option<&Linked> {
        self.links.get(&link).map(Box::as_ref)
    }

    /// The link of a peer that is up: it is known what it speaks.
    pub fn ready_link(&self, peer: &PeerId) -> Option<LinkId> {
        let link = *self.by_peer.get(peer)?;
        self.links.get(&link)?.known.as_ref().map(|_| link)
    }

    /// The link to use for a peer, whether hello has come or not.
    pub(crate) fn any_link(&self, peer: &PeerId) -> Option<LinkId> {
        self.by_peer.get(peer).copied()
    }

    /// The counters of this part.
    pub(crate) fn stats(&self) -> Stats {
        let peers = self.links.values().filter(|linked| linked.known.is_some()).count();
        let (faults, bans) = self.reputation.counters();
        Stats { peers: peers as u64, faults, bans, ..Stats::default() }
    }

    /// Ready links whose peer offers the service, by id.
    pub fn with_service(&self, service: u32) -> impl Iterator<Item = (LinkId, &Linked)> {
        self.links().filter(move |(link, linked)| {
            self.by_peer.get(&linked.info.peer) == Some(link)
                && linked.known.as_ref().is_some_and(|known| known.offers(service))
        })
    }

    /// Networks that are banned, and until when.
    pub fn banned_networks(&self) -> impl Iterator<Item = (Network, Instant)> + '_ {
        self.reputation.networks()
    }

    /// Everybody's standing.
    pub fn standing(&self) -> &Standing {
        self.reputation.standing()
    }

    /// Everybody's standing as it should be kept for the next run, by peer id.
    pub fn records(&self, now: Instant) -> impl Iterator<Item = Record> + '_ {
        self.reputation.records(now)
    }

    pub(crate) fn add(&mut self, now: Instant, known: Known) -> Result<(), BookError> {
        let up = known.peer.and_then(|peer| self.by_peer.get(&peer).copied());
        self.book.add(now, known, up)
    }

    /// Takes a peer out of the book; returns the dial to cancel.
    pub(crate) fn remove(&mut self, peer: &PeerId) -> Option<DialId> {
        let dial = self.book.remove(peer)?;
        self.book_dials = self.book_dials.saturating_sub(1);
        Some(dial)
    }

    /// A commanded dial has begun. `dial.peer` is who it is for, as far as is known.
    pub(crate) fn note_dial(&mut self, id: DialId, ticket: Ticket, dial: Dial) {
        self.own_dials.insert(id, (ticket, dial));
    }

    /// How to reach a peer with something that may be sent twice (`replay_safe`), or may not.
    pub(crate) fn reach(&self, peer: &PeerId, replay_safe: bool) -> Reach {
        if let Some(link) = self.any_link(peer) {
            return Reach::Link(link);
        }
        let early = self.early.iter().find(|(_, early)| early.dialled && early.peer == *peer);
        match early {
            Some((link, _)) if replay_safe => Reach::Early(*link),
            Some(_) => Reach::Dialling,
            None if self.own_dials.values().any(|(_, dial)| dial.peer == Some(*peer)) => Reach::Dialling,
            None if self.book.is_dialling(peer) => Reach::Dialling,
            None => Reach::Nowhere,
        }
    }

    /// A handshake runs that data can go along with. The info as fairness should see it; `None` where nothing should go along:
    /// the peer is banned, or another such handshake with it runs.
    pub(crate) fn handle_early(
        &mut self,
        now: Instant,
        link: LinkId,
        mut info: LinkInfo,
        ip: Option<IpAddr>,
    ) -> Option<LinkInfo> {
        let (peer, dialled) = (info.peer, info.dialler);
        let taken = dialled && self.early.values().any(|early| early.dialled && early.peer == peer);
        let banned = ip.and_then(|ip| self.reputation.banned_address(now, ip, inbound(info.side)));
        if taken || banned.is_some() || self.standing().banned(now, &peer).is_some() {
            return None;
        }
        if self.book.role(&peer) == Some(Role::Pinned) {
            info.side = Side::Pinned;
        }
        self.early.insert(link, EarlyLink { peer, dialled, fault: None });
        Some(info)
    }

    /// A peer did something wrong before its link was confirmed.
    pub(crate) fn note_early_fault(&mut self, link: LinkId, fault: Fault) {
        if let Some(early) = self.early.get_mut(&link) {
            early.fault.get_or_insert(fault);
        }
    }

    /// A handshake that data went along with is over; what the peer did wrong meanwhile.
    pub(crate) fn early_over(&mut self, link: LinkId) -> Option<Fault> {
        self.early.remove(&link)?.fault
    }

    /// The next peer of the book to dial; answer with [`dialled`](Self::dialled).
    pub(crate) fn next_dial(&mut self, now: Instant) -> Option<(BookId, Dial)> {
        loop {
            if self.book_dials >= self.config.max_dials {
                return None;
            }
            let candidates = self.book.has_candidates() && self.wants_more();
            let (id, known) = self.book.pop(candidates)?;
            let banned = known.peer.and_then(|peer| self.reputation.standing().banned(now, &peer));
            let banned = banned.or_else(|| banned_addresses(&self.reputation, now, &known.addresses));
            let dial = Dial {
                peer: known.peer,
                addresses: known.addresses.clone(),
                pinned: known.role == Role::Pinned,
            };
            match banned {
                Some(until) => self.book.hold(id, until),
                None => return Some((id, dial)),
            }
        }
    }

    /// Fewer links than wanted, or fewer of the node's own.
    fn wants_more(&self) -> bool {
        let dials = self.book_dials as usize + self.own_dials.len();
        let own = self.links.values().filter(|linked| linked.info.dialler).count();
        let (target, least) = (self.config.target as usize, self.config.own_links() as usize);
        self.links.len() + dials < target || own + dials < least
    }

    /// What became of [`next_dial`](Self::next_dial); `None` where it could not begin: then what is to be told of that.
    pub(crate) fn dialled(&mut self, now: Instant, id: BookId, dial: Option<DialId>) -> Option<Unreached> {
        self.book_dials += u32::from(dial.is_some());
        self.book.set_dial(now, id, dial)
    }

    /// A dial ended without a link: its ticket where it was commanded, else what is to be told of the book's entry.
    pub(crate) fn handle_failed(
        &mut self,
        now: Instant,
        dial: DialId,
    ) -> Result<(Ticket, Dial), Option<Unreached>> {
        if let Some(own) = self.own_dials.remove(&dial) {
            return Ok(own);
        }
        if !self.book.has_dial(dial) {
            return Err(None);
        }
        self.book_dials = self.book_dials.saturating_sub(1);
        let up = self.book.peer_of(dial).and_then(|peer| self.by_peer.get(&peer).copied());
        Err(self.book.handle_failed(now, dial, up))
    }

    /// A link is up; `preferred` is the one to use for this peer from now on. The info as fairness should see it; `None` where the peer is banned, and the link should be closed.
    pub(crate) fn handle_up(
        &mut self,
        now: Instant,
        link: LinkId,
        mut info: LinkInfo,
        address: Option<Multiaddr>,
        dial: Option<DialId>,
        preferred: LinkId,
    ) -> Option<LinkInfo> {
        let ticket = dial.and_then(|dial| self.own_dials.remove(&dial)).map(|(ticket, _)| ticket);
        if let Some(dial) = dial {
            self.joins.dial_is_up(dial, info.peer);
        }
        let ended = self.book.handle_up(now, info.peer, preferred, dial);
        self.book_dials = self.book_dials.saturating_sub(ended);
        if self.book.role(&info.peer) == Some(Role::Pinned) {
            info.side = Side::Pinned;
        }
        let stays = preferred == link;
        if stays {
            let others = self.links.iter_mut().filter(|(_, other)| other.info.peer == info.peer);
            others.for_each(|(_, other)| other.stays = false);
        }
        let share = Share::Full;
        let (known, heard, no_hello, acts) = (None, None, false, Acts::default());
        let leaving = false;
        let linked =
            Linked { info, address, since: now, known, heard, no_hello, share, ticket, stays, acts, leaving };
        let ip = linked.ip();
        self.links.insert(link, Box::new(linked));
        self.choose(&info.peer);
        let banned = ip.and_then(|ip| self.reputation.banned_address(now, ip, inbound(info.side)));
        (self.standing().banned(now, &info.peer).is_none() && banned.is_none()).then_some(info)
    }

    /// It is known what the peer of a link speaks: it is up.
    pub(crate) fn handle_known(&mut self, link: LinkId, mut known: Speaks) -> Option<&mut Linked> {
        let linked = self.links.get_mut(&link)?;
        linked.heard.iter().for_each(|heard| heard.add_to(&mut known));
        linked.known = Some(known);
        let peer = linked.info.peer;
        self.choose(&peer);
        self.links.get_mut(&link).map(Box::as_mut)
    }

    /// The link to use for a peer from now on: one that is known to be up before one that is not, then the one that stays.
    fn choose(&mut self, peer: &PeerId) -> Option<LinkId> {
        let of_peer = self.links.iter().filter(|(_, linked)| linked.info.peer == *peer);
        let best = of_peer.max_by_key(|(link, linked)| (linked.known.is_some(), linked.stays, **link));
        let best = best.map(|(link, _)| *link);
        match best {
            Some(best) => self.by_peer.insert(*peer, best),
            None => self.by_peer.remove(peer),
        };
        best
    }

    pub(crate) fn set_services(&mut self, link: LinkId, services: &[Service]) {
        if let Some(known) = self.links.get_mut(&link).and_then(|linked| linked.known.as_mut()) {
            known.services = services.to_vec();
        }
    }

    /// A link is gone.
    pub(crate) fn handle_down(&mut self, now: Instant, link: LinkId) -> Option<Linked> {
        let linked = self.links.remove(&link)?;
        let peer = linked.info.peer;
        let left = self.choose(&peer);
        self.book.handle_down(now, &peer, link, left);
        self.ended.insert(link, linked.blamed());
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_first();
        }
        Some(*linked)
    }

    /// Whether a fault that a protocol has seen on a link counts, or only follows from one that does. Of a link that has ended, what
    /// it delivered is judged; anything else was not seen to its end.
    pub(crate) fn counts(&mut self, now: Instant, link: LinkId, blame: Blame) -> bool {
        match self.links.get_mut(&link) {
            Some(linked) => linked.acts.count(now, blame),
            None => blame == Blame::Invalid,
        }
    }

    /// This node says goodbye on a link.
    pub(crate) fn leaving(&mut self, link: LinkId, reason: Goodbye) {
        let Some(linked) = self.links.get_mut(&link) else { return };
        linked.leaving = true;
        if matches!(reason, Goodbye::Fault | Goodbye::Banned) {
            linked.acts.send_away();
        }
    }

    /// Who pays for what a link did: one that is there, or has ended.
    pub(crate) fn blamed(&self, link: LinkId) -> Option<Blamed> {
        self.links.get(&link).map(|linked| linked.blamed()).or_else(|| self.ended.get(&link).copied())
    }

    /// Who pays for what a peer did: with its link, where it has one.
    pub(crate) fn blamed_peer(&self, peer: PeerId) -> Blamed {
        let link = self.any_link(&peer).and_then(|link| self.blamed(link));
        link.unwrap_or(Blamed { peer, inbound_from: None })
    }

    /// What standing leaves of a link's share, where that is not what it was when last asked.
    pub(crate) fn changed_share(&mut self, now: Instant, link: LinkId) -> Option<Share> {
        let linked = self.links.get_mut(&link)?;
        let share = self.reputation.share(now, &linked.blamed());
        let changed = std::mem::replace(&mut linked.share, share) != share;
        changed.then_some(share)
    }

    /// Links whose address is banned.
    pub(crate) fn banned_links(&self, now: Instant) -> Vec<LinkId> {
        let banned = |linked: &Linked| {
            linked
                .ip()
                .and_then(|ip| self.reputation.banned_address(now, ip, inbound(linked.info.side)))
                .is_some()
        };
        self.links().filter(|(_, linked)| banned(linked)).map(|(link, _)| link).collect()
    }

    pub(crate) fn unban_network(&mut self, now: Instant, network: Network) {
        self.reputation.unban_network(now, network);
        self.book.wake_at(now, |address| {
            address.socket_addr().is_some_and(|(_, socket)| network.contains(socket.ip()))
        });
    }

    /// Whether every address lies in a banned network.
    pub(crate) fn are_banned(&self, now: Instant, addresses: &[Multiaddr]) -> bool {
        banned_addresses(&self.reputation, now, addresses).is_some()
    }

    pub(crate) fn unban(&mut self, now: Instant, peer: PeerId) {
        self.reputation.unban(now, peer);
        self.book.wake(now, &peer);
    }

    pub(crate) fn forgive(&mut self, now: Instant, peer: PeerId) {
        self.reputation.forgive(now, peer);
        self.book.wake(now, &peer);
    }

    /// A dial of the book that takes too long, to be cancelled. Then [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn pop_slow_dial(&mut self, now: Instant) -> Option<(DialId, Option<Unreached>)> {
        let slow = self.book.pop_slow(now)?;
        self.book_dials = self.book_dials.saturating_sub(1);
        Some(slow)
    }

    /// Ends the pauses that are over; then [`next_dial`](Self::next_dial) until `None`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.book.handle_timeout(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let book = self.book.poll_timeout().map(|due| (due, "dial a peer again"));
        let joins = self.joins.poll_timeout().map(|due| (due, "a commanded dial takes too long"));
        let trim = Surplus::of(self).and_then(|surplus| surplus.poll_timeout());
        [book, joins, trim, self.reputation.poll_timeout()].into_iter().flatten().min()
    }

    /// Dials under way, to be cancelled when the node ends.
    pub(crate) fn dials(&self) -> Vec<DialId> {
        self.book.dials().chain(self.own_dials.keys().copied()).collect()
    }
}

#[cfg(test)]
mod tests;
