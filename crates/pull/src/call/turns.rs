//! Whose request the application gets next: requests wait per link and are dealt by handling time (`docs/spec/fairness.md`).
//!
//! - a request is complete → [`wait`](Turns::wait);
//! - while few are handed over and not taken → [`next`](Turns::next) names one, then [`hand`](Turns::hand), or
//!   [`hold_back`](Turns::hold_back) where there is no memory for its answer;
//! - the application takes it → [`taken`](Turns::taken): from then on its time is shared with what is handled meanwhile;
//! - it is answered, or not wanted any more → [`done`](Turns::done): its link is charged.
//!
//! Where memory is short, the order is by memory: by the bytes that a link's requests and answers held, times how long. Else who
//! reads slowly would get as many answers into memory as who reads at once.
//!
//! A link is charged what its requests cost of late when one is handed over, and the rest when that is done: else a link with
//! many that wait would get several in a row before it paid for the first. What it owes stays in its account when it ends
//! (`accounts`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use weir_base::stream::LinkInfo;
use weir_base::{Dealer, Instant, LinkId, Numbered, StreamKey};

use super::accounts::{Account, Accounts, Joined};
use crate::machine::Ticket;
use crate::meter::{Begun, Meter};

/// Nanoseconds of one turn: none, so that a link that asks for less than its share is next.
const QUANTUM: u64 = 0;
/// Nanoseconds that a link keeps of what it leaves to others: tens of quick requests. Other links that all use theirs at once keep
/// a newcomer waiting for so long each.
const CREDIT: u64 = 2_000_000;
/// Nanoseconds that a link may be behind.
const DEBT: u64 = 10_000_000_000;
/// Microseconds for which a link may hold a 32nd of the memory before it has its turn, out of what it left to others.
const MEMORY_CREDIT: u64 = 100_000;
/// The part of the memory that this is about: the largest answer of a usual method is a 32nd of the usual memory.
const MEMORY_PART: u64 = 32;
/// Microseconds for which a link may hold all memory before the debt grows no more.
const MEMORY_DEBT: u64 = 10_000_000;
/// Nanoseconds of handling that requests handed over and not taken may stand for: what a newcomer waits for at most.
const AHEAD_TIME: u64 = 2_000_000;
/// Requests handed over and not taken, at least and at most.
const AHEAD: (u64, u64) = (2, 64);
/// Handling time of a request, in nanoseconds, until one was measured.
const FIRST_TIME: u64 = 125_000;

/// Requests of one method between their streams and the application.
#[derive(Debug)]
pub(super) struct Turns {
    accounts: Accounts,
    usual: BTreeMap<Account, Usual>,
    dealer: Dealer<Account>,
    by_memory: Dealer<Account>,                      // in bytes times microseconds
    waiting: BTreeMap<Account, VecDeque<StreamKey>>, // complete, not handed over: <= concurrency per link
    is_short: bool,                                  // of memory, since something began to wait
    held_back: BTreeSet<Account>,                    // of `waiting`: find no memory
    outstanding: Numbered<Ticket, Outstanding>,      // and not answered
    untaken: u64,
    meter: Meter,
    mean: u64, // nanoseconds that a request costs, moving
}

/// What a request of an account costs of late, moving.
#[derive(Debug, Default)]
struct Usual {
    nanos: u64,
    memory: u64, // bytes times microseconds
}

#[derive(Debug)]
struct Outstanding {
    account: Account,
    paid: u64,            // nanoseconds charged already
    begun: Option<Begun>, // since it was taken
}

/// What one request, and its answer, has used of the memory: bytes times microseconds.
#[derive(Debug)]
pub(super) struct Use {
    account: Account,
    paid: u64,
    used: u64,
}

impl Turns {
    /// For a node whose calls may hold `memory` bytes.
    pub(super) fn new(memory: u64) -> Self {
        let by_memory = Dealer::new(QUANTUM, memory.saturating_mul(MEMORY_DEBT));
        Self {
            by_memory: by_memory.with_credit((memory / MEMORY_PART).saturating_mul(MEMORY_CREDIT)),
            accounts: Accounts::default(),
            usual: BTreeMap::new(),
            is_short: false,
            dealer: Dealer::new(QUANTUM, DEBT).with_credit(CREDIT),
            waiting: BTreeMap::new(),
            held_back: BTreeSet::new(),
            outstanding: Numbered::default(),
            untaken: 0,
            meter: Meter::default(),
            mean: FIRST_TIME,
        }
    }

    /// A link joins. A peer that comes back from where it was owes what it owed when it left.
    pub(super) fn add(&mut self, now: Instant, link: LinkId, info: &LinkInfo) {
        self.forget(now);
        if let Joined::New(account) = self.accounts.join(link, info) {
            self.dealer.add(account, info.side, info.group);
            self.by_memory.add(account, info.side, info.group);
            self.usual.insert(account, Usual::default());
        }
    }

    pub(super) fn set_share(&mut self, link: LinkId, quarters: u8) {
        let Some(account) = self.accounts.of(link) else { return };
        self.dealer.set_share(account, quarters);
        self.by_memory.set_share(account, quarters);
    }

    /// A link has ended, and nothing of it is handed over any more.
    pub(super) fn remove(&mut self, now: Instant, link: LinkId) {
        let Some(account) = self.accounts.of(link) else { return };
        self.waiting.remove(&account);
        self.note_work(account);
        self.accounts.depart(now, link);
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some(account) = self.accounts.forget(now) {
            self.dealer.remove(account);
            self.by_memory.remove(account);
            self.usual.remove(&account);
        }
    }

    /// A request is complete.
    pub(super) fn wait(&mut self, key: StreamKey) {
        let Some(account) = self.accounts.of(key.link) else { return };
        self.waiting.entry(account).or_default().push_back(key);
        self.note_work(account);
    }

    /// A request does not wait any more: given up, late, or refused for want of memory.
    pub(super) fn leave(&mut self, key: StreamKey) {
        let Some(account) = self.accounts.of(key.link) else { return };
        let Some(queue) = self.waiting.get_mut(&account) else { return };
        queue.retain(|waiting| *waiting != key);
        self.note_work(account);
    }

    /// Whether a request waits, held back or not.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The request to hand over next; `None` where none waits that may, or enough are ahead of the application.
    pub(super) fn next(&self) -> Option<StreamKey> {
        if self.untaken >= self.ahead() || self.held_back.len() >= self.waiting.len() {
            return None;
        }
        self.in_turn().next()
    }

    /// Those that would be next one after the other if each were held back.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = StreamKey> + '_ {
        let order = if self.is_short { &self.by_memory } else { &self.dealer };
        let free = order.in_turn().filter(|account| !self.held_back.contains(account));
        free.filter_map(|account| self.waiting.get(&account)?.front().copied())
    }

    /// There is no memory for the answer to what [`next`](Self::next) named: other links may go first until
    /// [`try_again`](Self::try_again). It keeps its place, so that it is the first to find memory.
    pub(super) fn hold_back(&mut self, link: LinkId) {
        if let Some(account) = self.accounts.of(link).filter(|account| self.waiting.contains_key(account)) {
            self.is_short = true;
            self.held_back.insert(account);
        }
    }

    /// There may be memory again.
    pub(super) fn try_again(&mut self) {
        self.held_back.clear();
    }

    /// What [`next`](Self::next) named is handed over. Returns whether the application should say at once that it took it:
    /// others wait behind it, or many were handed over.
    pub(super) fn hand(&mut self, now: Instant, key: StreamKey, ticket: Ticket) -> bool {
        let Some(account) = self.accounts.of(key.link) else { return false };
        if let Some(queue) = self.waiting.get_mut(&account) {
            queue.pop_front();
        }
        let paid = self.usual.get(&account).map_or(1, |usual| usual.nanos.max(1));
        let _first = self.dealer.whose_turn(); // something is served: all that wait rise
        self.dealer.charge(account, paid);
        self.note_work(account);
        self.outstanding.insert(ticket, Outstanding { account, paid, begun: None });
        self.meter.waits(now);
        self.untaken += 1;
        self.untaken * 2 >= self.ahead() || !self.waiting.is_empty()
    }

    /// A request is handed over: from now on it uses memory. It pays at once what one of its link used of late.
    pub(super) fn begin_use(&mut self, link: LinkId) -> Option<Use> {
        let account = self.accounts.of(link)?;
        let paid = self.usual.get(&account).map_or(1, |usual| usual.memory.max(1));
        let _first = self.by_memory.whose_turn();
        self.by_memory.charge(account, paid);
        Some(Use { account, paid, used: 0 })
    }

    /// It has held so many bytes for so long.
    pub(super) fn used(&mut self, usage: &mut Use, bytes: u64, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let before = usage.used.max(usage.paid);
        usage.used = usage.used.saturating_add(bytes.saturating_mul(micros));
        self.by_memory.charge(usage.account, usage.used.saturating_sub(before));
    }

    /// It holds nothing any more.
    pub(super) fn end_use(&mut self, usage: &Use) {
        if let Some(usual) = self.usual.get_mut(&usage.account) {
            usual.memory = usual.memory / 2 + usage.used / 2;
        }
    }

    /// The application has taken a request out of its mailbox. False where it is not handed over, or was taken before.
    pub(super) fn taken(&mut self, ticket: Ticket, at: Instant) -> bool {
        let Some(outstanding) =
            self.outstanding.get_mut(ticket).filter(|outstanding| outstanding.begun.is_none())
        else {
            return false;
        };
        outstanding.begun = Some(self.meter.begin(at));
        if let Some(unused) = self.meter.take_unused() {
            self.dealer.leave_over(unused);
        }
        self.untaken -= 1;
        true
    }

    /// A request was answered at this time, or needs no answer from then on.
    pub(super) fn done(&mut self, at: Instant, ticket: Ticket) {
        let Some(Outstanding { account, paid, begun }) = self.outstanding.remove(ticket) else { return };
        self.note_rest();
        let Some(begun) = begun else {
            self.untaken -= 1;
            return;
        };
        let cost = self.meter.end(at, begun);
        self.mean = self.mean / 8 * 7 + cost / 8;
        if let Some(usual) = self.usual.get_mut(&account) {
            usual.nanos = usual.nanos / 2 + cost / 2;
        }
        self.dealer.charge(account, cost.saturating_sub(paid));
    }

    /// A link has cost so much besides, in nanoseconds.
    pub(super) fn charge(&mut self, link: LinkId, cost: u64) {
        if let Some(account) = self.accounts.of(link) {
            self.dealer.charge(account, cost);
        }
    }

    /// How many may be handed over and not taken: a short time's worth.
    fn ahead(&self) -> u64 {
        (AHEAD_TIME / self.mean.max(1)).clamp(AHEAD.0, AHEAD.1)
    }

    fn note_work(&mut self, account: Account) {
        let empty = self.waiting.get(&account).is_none_or(VecDeque::is_empty);
        if empty {
            self.waiting.remove(&account);
            self.held_back.remove(&account);
        }
        self.dealer.set_waiting(account, !empty);
        self.by_memory.set_waiting(account, !empty);
        self.is_short &= !self.waiting.is_empty();
        self.note_rest();
    }

    /// Where no request waits or is handled, no time is left over.
    fn note_rest(&mut self) {
        if self.outstanding.is_empty() && self.waiting.is_empty() {
            self.meter.rests();
        }
    }
}

#[cfg(test)]
mod tests;
