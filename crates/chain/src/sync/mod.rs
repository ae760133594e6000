//! Catching up: whom to ask for which blocks. A machine without network, store or clock; `node` carries out what it asks for.
//!
//! - A peer's accepted header is its *claim*: it has that block and all below it, or will soon.
//! - The next block is asked for by name of those who claim it; where more is missing, ranges of those who claim to be higher.
//!   Whoever does not answer soon gets a second source beside it; the first good answer counts.
//! - Each peer has a record that new headers do not clear: who failed is asked after those who did not, and pauses in between.
//! - Where a peer's blocks do not follow the head, the last common one is searched for in growing steps down; from there its
//!   branch is fetched upwards.
//!
//! Threat: a peer that announces and does not answer costs one short wait, once, then longer and longer pauses of its own. One
//! that answers with nothing loses its claim; one that answers with something else than was asked for is reported.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use weir::{Instant, PeerId};

use crate::channels::{RANGE_MAX, Range, Start};
use crate::store::Head;
use crate::{Block, Hash, Header};

/// How long, and how much.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long one block may take. Its server may have to wait for it first. Default: 2 s.
    pub body_deadline: Duration,
    /// How long a range may take. Default: 8 s.
    pub range_deadline: Duration,
    /// How long a peer that has served before is waited for until a second one is asked beside it. Default: 1 s.
    pub patience: Duration,
    /// As `patience`, for a peer that has not served yet, or failed since. Default: 250 ms.
    pub first_patience: Duration,
    /// The pause after a peer's first failure; it doubles with each. Default: 250 ms.
    pub pause: Duration,
    /// The longest pause. Default: 30 s.
    pub pause_max: Duration,
    /// Failures in a row after which a peer is reported as unreliable. Default: 4.
    pub failures_reported: u32,
    /// Peers with a record, at most; of more, those without a claim are forgotten. Default: 512.
    pub peers: usize,
    /// Hashes of blocks that proved invalid and are not asked for again, at most; the oldest are forgotten. Default: 64.
    pub invalid: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_deadline: Duration::from_secs(2),
            range_deadline: Duration::from_secs(8),
            patience: Duration::from_secs(1),
            first_patience: Duration::from_millis(250),
            pause: Duration::from_millis(250),
            pause_max: Duration::from_secs(30),
            failures_reported: 4,
            peers: 512,
            invalid: 64,
        }
    }
}

/// A request to a peer, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(u64);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The block with this hash, as soon as the peer has it.
    Body(Hash),
    /// Blocks of the peer's chain.
    Blocks(Range),
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Ask a peer; the outcome goes to [`Sync::answered`].
    Ask {
        /// Names it in the answer.
        ask: AskId,
        /// Whom.
        peer: PeerId,
        /// For what.
        request: Request,
        /// How long it may take.
        deadline: Duration,
    },
    /// The answer is not needed any more.
    Cancel(AskId),
    /// Add these blocks in order, until one fails; the outcome goes to [`Sync::added`]. Signatures are not checked yet.
    Add {
        /// Who sent them.
        peer: PeerId,
        /// Which.
        blocks: Vec<Block>,
    },
    /// A peer did something that it should answer for.
    Report {
        /// Who.
        peer: PeerId,
        /// What it did.
        misconduct: Misconduct,
    },
}

/// What a peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misconduct {
    /// It sent something else than it was asked for, or what cannot be valid.
    Invalid,
    /// It does not give what it announced.
    Useless,
}

/// What a peer answered.
#[derive(Debug)]
pub enum Answer {
    /// Blocks that read back, and whether the chain has each already, on it or beside it.
    Blocks(Vec<(Block, bool)>),
    /// Bytes that are no blocks.
    Malformed,
    /// Nothing in time, a refusal, or the link is gone.
    Nothing,
}

/// What came of [`Action::Add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All were added, or there already.
    Added,
    /// One does not follow anything that is here.
    Orphan,
    /// One is not signed as it must be: the sender's fault.
    Forged,
    /// One is signed and still invalid, or has no place here: not the sender's fault. It is not asked for again.
    Invalid(Hash),
}

#[derive(Debug, Default)]
struct Peer {
    claim: Option<Claim>,
    failures: u32, // in a row
    served: bool,  // since the last failure
    rests: Option<Instant>,
    asked: Option<AskId>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    height: u64,
    hash: Hash,
    parent: Hash,
    order: u64, // of announcements
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    peer: PeerId,
    request: Request,
    sent: Instant,
}

/// What is missing between the head and the highest claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// What follows the head, of anyone.
    Forward,
    /// This peer is on another branch; its block of this height may be known, and the next step down is this long.
    Search { peer: PeerId, height: u64, step: u64 },
    /// This peer's branch, from this height up.
    Branch { peer: PeerId, height: u64 },
}

/// The machine. After any call that may change something, [`poll_action`](Self::poll_action) until `None`, then ask
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Sync {
    config: Config,
    head: Head,
    peers: BTreeMap<PeerId, Peer>,
    asks: BTreeMap<AskId, Asked>, // at most two
    mode: Mode,
    adding: Option<PeerId>,
    invalid: VecDeque<Hash>,
    actions: VecDeque<Action>, // at most a few per call
    numbers: u64,
}

impl Sync {
    /// For a chain with this head.
    pub fn new(config: Config, head: Head) -> Self {
        Self {
            config,
            head,
            peers: BTreeMap::new(),
            asks: BTreeMap::new(),
            mode: Mode::Forward,
            adding: None,
            invalid: VecDeque::new(),
            actions: VecDeque::new(),
            numbers: 0,
        }
    }

    /// A peer announced this header, which is signed and above the head.
    pub fn announced(&mut self, now: Instant, peer: PeerId, header: &Header) {
        let order = self.number();
        let claim =
            Claim { height: header.draft.height, hash: *header.hash(), parent: header.draft.parent, order };
        self.peers.entry(peer).or_default().claim = Some(claim);
        if self.peers.len() > self.config.peers {
            let idle = |peer: &Peer| peer.claim.is_none() && peer.asked.is_none();
            let forgotten = self.peers.iter().find(|(_, peer)| idle(peer)).map(|(id, _)| *id);
            forgotten.map(|id| self.peers.remove(&id));
        }
        self.plan(now);
    }

    /// A peer's link is gone. Its record stays.
    pub fn gone(&mut self, now: Instant, peer: PeerId) {
        self.forget(peer);
        self.plan(now);
    }

    /// The chain has this head now, whoever brought it.
    pub fn advanced(&mut self, now: Instant, head: Head) {
        if head == self.head {
            return;
        }
        self.head = head;
        self.mode = Mode::Forward;
        self.plan(now);
    }

    /// A request came to this. Answers to requests that were cancelled change nothing.
    pub fn answered(&mut self, now: Instant, ask: AskId, answer: Answer) {
        let Some(asked) = self.close(ask) else { return };
        match answer {
            Answer::Nothing => self.failed(now, asked.peer),
            Answer::Malformed => self.reported(now, asked.peer, Misconduct::Invalid),
            Answer::Blocks(blocks) => self.blocks(now, asked, blocks),
        }
        self.plan(now);
    }

    /// Blocks of [`Action::Add`] came to this. The head is told by [`advanced`](Self::advanced), before or after.
    pub fn added(&mut self, now: Instant, outcome: Outcome) {
        let Some(peer) = self.adding.take() else { return };
        match outcome {
            Outcome::Added => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    (peer.failures, peer.served, peer.rests) = (0, true, None);
                }
            }
            Outcome::Orphan => self.empty(now, peer),
            Outcome::Forged => self.reported(now, peer, Misconduct::Invalid),
            Outcome::Invalid(hash) => {
                self.invalid.push_back(hash);
                if self.invalid.len() > self.config.invalid {
                    self.invalid.pop_front();
                }
                self.mode = Mode::Forward;
                self.forget(peer); // what builds on it is no better; a later announcement counts again
            }
        }
        self.plan(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.plan(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work next: a second source, or the end of a pause.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.adding.is_some() || self.asks.len() > 1 {
            return None;
        }
        let (_, sources) = self.wanted()?;
        let others = sources.iter().filter_map(|id| self.peers.get(id)).filter(|peer| peer.asked.is_none());
        others.filter_map(|peer| peer.rests.max(self.second_at(peer))).min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether the block with this hash is one that an accepted header names and that may come soon.
    pub fn awaits(&self, hash: &Hash) -> bool {
        self.claims().any(|(_, claim)| claim.hash == *hash)
    }

    // ---- what to ask ----

    fn claims(&self) -> impl Iterator<Item = (PeerId, Claim)> + '_ {
        let claim = |(id, peer): (&PeerId, &Peer)| peer.claim.map(|claim| (*id, claim));
        let wanted = |(_, claim): &(PeerId, Claim)| {
            claim.height > self.head.height && !self.invalid.contains(&claim.hash)
        };
        self.peers.iter().filter_map(claim).filter(wanted)
    }

    /// The block to get next by name, where a claim names one that follows the head; else the highest claim.
    fn target(&self) -> Option<Claim> {
        let next = self.claims().map(|(_, claim)| claim).find(|claim| claim.parent == self.head.hash);
        next.or_else(|| self.claims().map(|(_, claim)| claim).max_by_key(|claim| claim.height))
    }

    /// What is asked for now, and whom it can be asked of.
    fn wanted(&self) -> Option<(Request, BTreeSet<PeerId>)> {
        let target = self.target()?;
        let range = |height, count| Request::Blocks(Range { start: Start::Height(height), count });
        if target.parent == self.head.hash {
            let named = self.claims().filter(|(_, claim)| claim.hash == target.hash);
            return Some((Request::Body(target.hash), named.map(|(peer, _)| peer).collect()));
        }
        Some(match self.mode {
            Mode::Forward => {
                let next = self.head.height.checked_add(1)?;
                (range(next, RANGE_MAX), self.claims().map(|(peer, _)| peer).collect())
            }
            Mode::Search { peer, height, .. } => (range(height, 1), BTreeSet::from([peer])),
            Mode::Branch { peer, height } => (range(height, RANGE_MAX), BTreeSet::from([peer])),
        })
    }

    /// When `other` may be asked beside the request that is open: at once where it is the better one, else when the peer that
    /// was asked has had its time. `None` where no request is open.
    fn second_at(&self, other: &Peer) -> Option<Instant> {
        let asked = self.asks.values().next()?;
        let failures = self.peers.get(&asked.peer).map_or(0, |peer| peer.failures);
        if other.failures == 0 && failures > 0 {
            return Some(asked.sent);
        }
        Some(asked.sent + self.patience(asked.peer))
    }

    fn patience(&self, peer: PeerId) -> Duration {
        let served = self.peers.get(&peer).is_some_and(|peer| peer.served);
        if served { self.config.patience } else { self.config.first_patience }
    }

    /// Brings the requests in line with what is wanted.
    fn plan(&mut self, now: Instant) {
        if self.adding.is_some() {
            return;
        }
        let wanted = self.wanted();
        self.cancel_all_but(now, wanted.as_ref().map(|(request, _)| *request));
        let Some((request, sources)) = wanted else { return };
        for peer in self.peers.values_mut() {
            peer.rests = peer.rests.filter(|until| *until > now);
        }
        if self.asks.len() > 1 {
            return;
        }
        let known = sources.iter().filter_map(|id| self.peers.get(id).map(|peer| (*id, peer)));
        let free = known.filter(|(_, peer)| {
            peer.asked.is_none() && peer.rests.is_none() && self.second_at(peer).is_none_or(|due| due <= now)
        });
        let rank = |peer: &Peer| (peer.failures, peer.claim.map_or(u64::MAX, |claim| claim.order));
        let best = free.min_by_key(|(_, peer)| rank(peer)).map(|(id, _)| id);
        match best {
            Some(peer) => self.ask(now, peer, request),
            // The peer whose branch is searched pauses: others may know better.
            None if self.asks.is_empty() && self.mode != Mode::Forward => {
                self.mode = Mode::Forward;
                self.plan(now);
            }
            None => {}
        }
    }

    /// Gives up what is not wanted any more. Who had its time and was outrun by others has failed.
    fn cancel_all_but(&mut self, now: Instant, request: Option<Request>) {
        let stale = self.asks.iter().filter(|(_, asked)| Some(asked.request) != request);
        let stale: Vec<(AskId, Asked)> = stale.map(|(ask, asked)| (*ask, *asked)).collect();
        for (ask, asked) in stale {
            let slow = asked.sent + self.patience(asked.peer) <= now;
            self.close(ask);
            self.actions.push_back(Action::Cancel(ask));
            if slow {
                self.penalise(now, asked.peer);
            }
        }
    }

    fn ask(&mut self, now: Instant, peer: PeerId, request: Request) {
        let ask = AskId(self.number());
        let deadline = match request {
            Request::Body(_) => self.config.body_deadline,
            Request::Blocks(_) => self.config.range_deadline,
        };
        self.asks.insert(ask, Asked { peer, request, sent: now });
        self.peers.entry(peer).or_default().asked = Some(ask);
        self.actions.push_back(Action::Ask { ask, peer, request, deadline });
    }

    fn close(&mut self, ask: AskId) -> Option<Asked> {
        let asked = self.asks.remove(&ask)?;
        if let Some(peer) = self.peers.get_mut(&asked.peer) {
            peer.asked = None;
        }
        Some(asked)
    }

    // ---- what came ----

    fn blocks(&mut self, now: Instant, asked: Asked, blocks: Vec<(Block, bool)>) {
        let peer = asked.peer;
        let Some((first, known)) = blocks.first().map(|(block, known)| (block.header.draft, *known)) else {
            return self.empty(now, peer);
        };
        let right = match asked.request {
            Request::Body(hash) => {
                blocks.len() == 1 && blocks.iter().all(|(block, _)| *block.header.hash() == hash)
            }
            Request::Blocks(range) => {
                range.start == Start::Height(first.height)
                    && blocks.len() <= usize::from(range.count)
                    && linked(&blocks)
            }
        };
        if !right {
            return self.reported(now, peer, Misconduct::Invalid);
        }
        if blocks.iter().any(|(block, _)| self.invalid.contains(block.header.hash())) {
            return self.forget(peer);
        }
        let ranged = matches!(asked.request, Request::Blocks(_));
        match self.mode {
            Mode::Search { height, step, .. } if ranged => {
                if known {
                    self.mode = Mode::Branch { peer, height: height.saturating_add(1) };
                } else {
                    self.search(peer, step.saturating_mul(2));
                }
                return;
            }
            Mode::Branch { .. } if ranged => {
                let next = first.height.saturating_add(blocks.len() as u64);
                self.mode = Mode::Branch { peer, height: next };
            }
            _ if first.parent != self.head.hash => return self.search(peer, 1),
            _ => {}
        }
        self.adding = Some(peer);
        let blocks = blocks.into_iter().map(|(block, _)| block).collect();
        self.actions.push_back(Action::Add { peer, blocks });
    }

    /// The peer has nothing where it claims to have something.
    fn empty(&mut self, now: Instant, peer: PeerId) {
        self.forget(peer);
        self.failed(now, peer);
    }

    fn forget(&mut self, peer: PeerId) {
        if let Some(record) = self.peers.get_mut(&peer) {
            record.claim = None;
        }
    }

    /// Looks for the last common block so far below the head.
    fn search(&mut self, peer: PeerId, step: u64) {
        let height = self.head.height.saturating_sub(step.saturating_sub(1));
        self.mode = match height {
            0 => Mode::Branch { peer, height: 1 },
            _ => Mode::Search { peer, height, step },
        };
    }

    fn failed(&mut self, now: Instant, peer: PeerId) {
        self.mode = Mode::Forward;
        self.penalise(now, peer);
    }

    fn penalise(&mut self, now: Instant, peer: PeerId) {
        let Some(record) = self.peers.get_mut(&peer) else { return };
        record.failures = record.failures.saturating_add(1);
        record.served = false;
        let factor = 1_u32.checked_shl(record.failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.config.pause.saturating_mul(factor).min(self.config.pause_max);
        record.rests = Some(now + pause);
        if record.failures == self.config.failures_reported {
            self.actions.push_back(Action::Report { peer, misconduct: Misconduct::Useless });
        }
    }

    fn reported(&mut self, now: Instant, peer: PeerId, misconduct: Misconduct) {
        self.actions.push_back(Action::Report { peer, misconduct });
        self.empty(now, peer);
    }

    fn number(&mut self) -> u64 {
        self.numbers = self.numbers.saturating_add(1);
        self.numbers
    }
}

/// Whether each block is the parent of the next.
fn linked(blocks: &[(Block, bool)]) -> bool {
    blocks.windows(2).all(|pair| match pair {
        [(one, _), (next, _)] => {
            next.header.draft.parent == *one.header.hash()
                && Some(next.header.draft.height) == one.header.draft.height.checked_add(1)
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests;
