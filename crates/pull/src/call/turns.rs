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
mod tests {
    use weir_base::identity::{Keypair, PeerId};
    use weir_base::stream::{Group, Side};

    use super::super::accounts::{MAX_DEPARTED, REMEMBERED};
    use super::*;

    const NOW: Instant = Instant::from_millis(1_000);

    fn turns(links: u64) -> Turns {
        let mut turns = Turns::new(32 << 20);
        for link in 0..links {
            turns.add(NOW, LinkId(link), &of_peer(u8::try_from(link).unwrap()));
        }
        turns
    }

    /// An inbound link of a peer, all of them in one group.
    fn of_peer(seed: u8) -> LinkInfo {
        let peer = PeerId::from_public_key(&Keypair::ed25519_from_seed([seed; 32]).public());
        LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(0) }
    }

    fn key(link: u64, stream: u64) -> StreamKey {
        StreamKey { link: LinkId(link), stream }
    }

    /// Serves for so many milliseconds, `cost` each, and returns how many of each link were served.
    fn serve(turns: &mut Turns, millis: u64, cost: u64) -> BTreeMap<LinkId, u64> {
        let (mut served, mut mailbox, mut number) = (BTreeMap::new(), VecDeque::new(), 0);
        let mut now = NOW;
        while now < NOW + Duration::from_millis(millis) {
            while let Some(key) = turns.next() {
                number += 1;
                turns.hand(now, key, Ticket(number));
                mailbox.push_back((key, Ticket(number)));
                turns.wait(key);
            }
            let Some((key, ticket)) = mailbox.pop_front() else { break };
            assert!(turns.taken(ticket, now));
            now = now + Duration::from_micros(cost);
            turns.done(now, ticket);
            *served.entry(key.link).or_default() += 1;
        }
        mailbox.into_iter().for_each(|(_, ticket)| turns.done(now, ticket));
        served
    }

    #[test]
    fn a_link_with_many_requests_gets_no_more_than_one_with_few() {
        let mut turns = turns(3);
        for stream in 0..500 {
            turns.wait(key(0, stream));
        }
        turns.wait(key(1, 0));
        turns.wait(key(2, 0));
        let served = serve(&mut turns, 3_000, 5_000);
        let counts: Vec<u64> = served.into_values().collect();
        assert!(counts.iter().all(|count| (180..=225).contains(count)), "{counts:?}");
    }

    #[test]
    fn who_gives_a_request_up_that_nobody_took_makes_room_for_the_next() {
        let mut turns = turns(1);
        (0..100).for_each(|stream| turns.wait(key(0, stream)));
        let mut handed = 0;
        while let Some(next) = turns.next() {
            handed += 1;
            turns.hand(NOW, next, Ticket(handed));
        }
        assert!(handed < 100);
        turns.done(NOW, Ticket(1));
        assert!(turns.next().is_some());
    }

    #[test]
    fn a_newcomer_waits_for_few_of_many_that_ask_without_end() {
        let mut turns = turns(30);
        for (link, stream) in (0..29).flat_map(|link| (0..50).map(move |stream| (link, stream))) {
            turns.wait(key(link, stream));
        }
        serve(&mut turns, 1_000, 5_000); // teaches it what a request costs
        let ahead = std::iter::from_fn(|| {
            turns.next().inspect(|key| _ = turns.hand(NOW, *key, Ticket(key.link.0 + 9_999)))
        });
        assert!(ahead.count() <= 2);
        turns.wait(key(29, 0));
        let (mut before, mut now) = (0, NOW + Duration::from_secs(10));
        loop {
            let ticket = *turns.outstanding.keys().first().unwrap();
            turns.taken(ticket, now);
            now = now + Duration::from_millis(5);
            turns.done(now, ticket);
            let next = turns.next().unwrap();
            if next == key(29, 0) {
                break;
            }
            turns.hand(NOW, next, Ticket(100_000 + before));
            before += 1;
        }
        assert!(before < 2, "{before} of 1,450 that wait"); // what was handed over is ahead of it
    }

    #[test]
    fn who_reads_at_once_is_first_where_memory_is_short() {
        let mut turns = turns(30);
        for (link, stream) in (1..30).flat_map(|link| (0..50).map(move |stream| (link, stream))) {
            turns.wait(key(link, stream));
        }
        let mut number = 0;
        // memory for one answer comes back, and whoever gets it holds it for so long
        let mut serve_one = |turns: &mut Turns| {
            while let Some(none) = turns.next() {
                turns.hold_back(none.link);
            }
            turns.try_again();
            let next = turns.next().unwrap();
            number += 1;
            let mut usage = turns.begin_use(next.link).unwrap();
            turns.hand(NOW, next, Ticket(number));
            turns.taken(Ticket(number), NOW + Duration::from_millis(number * 2));
            turns.done(NOW + Duration::from_millis(number * 2 + 2), Ticket(number)); // the same for all
            let held = if next.link == LinkId(0) { 2 } else { 80 };
            turns.used(&mut usage, 1 << 20, Duration::from_millis(held));
            turns.end_use(&usage);
            next.link
        };
        let mut longest = 0;
        for call in 0..40 {
            turns.wait(key(0, call));
            let before = (0..30).take_while(|_| serve_one(&mut turns) != LinkId(0)).count();
            if call >= 8 {
                longest = longest.max(before); // by now each of the others has had its turn
            }
            (0..6).for_each(|_| _ = serve_one(&mut turns)); // without it the others get all
        }
        assert_eq!(longest, 0, "others were served before it");
    }

    #[test]
    fn who_finds_no_memory_holds_up_nobody_else() {
        let mut turns = turns(2);
        turns.wait(key(0, 0));
        turns.wait(key(1, 0));
        assert_eq!(turns.next(), Some(key(0, 0)));
        turns.hold_back(LinkId(0));
        assert_eq!(turns.next(), Some(key(1, 0)));
        turns.hand(NOW, key(1, 0), Ticket(1));
        assert_eq!(turns.next(), None);
        turns.try_again();
        assert_eq!(turns.next(), Some(key(0, 0)));
        turns.leave(key(0, 0));
        assert_eq!(turns.next(), None);
    }
    #[test]
    fn time_that_nobody_used_is_taken_off_what_a_link_owes() {
        let mut turns = turns(2);
        let ms = |millis| NOW + Duration::from_millis(millis);
        turns.wait(key(0, 0));
        turns.hand(NOW, key(0, 0), Ticket(0));
        assert!(turns.taken(Ticket(0), NOW));
        (0..500).for_each(|stream| turns.wait(key(1, stream)));
        turns.wait(key(0, 1));
        turns.done(ms(50), Ticket(0));
        let mut now = ms(150); // of 100 ms in which nothing was handled each takes a half
        let mut before = 0;
        while let Some(next) = turns.next().filter(|next| next.link == LinkId(1)) {
            before += 1;
            turns.hand(now, next, Ticket(before));
            assert!(turns.taken(Ticket(before), now));
            now = now + Duration::from_micros(100);
            turns.done(now, Ticket(before));
        }
        assert_eq!(turns.next(), Some(key(0, 1)));
        assert!((19..25).contains(&before), "{before} of others first: 2 ms");
    }

    #[test]
    fn time_without_requests_is_not_taken_off_what_a_link_owes() {
        let mut turns = turns(2);
        let ms = |millis| NOW + Duration::from_millis(millis);
        turns.wait(key(0, 0));
        turns.hand(NOW, key(0, 0), Ticket(0));
        assert!(turns.taken(Ticket(0), NOW));
        turns.wait(key(1, 0));
        turns.done(ms(50), Ticket(0));
        turns.leave(key(1, 0)); // given up before it was handed over: nothing waits from here on
        (1..9).for_each(|stream| turns.wait(key(0, stream)));
        (1..500).for_each(|stream| turns.wait(key(1, stream)));
        let mut now = ms(1_000);
        for ticket in 1..400 {
            let next = turns.next().unwrap();
            assert_eq!(next.link, LinkId(1), "after {ticket} of 100 µs the other still owes more");
            turns.hand(now, next, Ticket(ticket));
            assert!(turns.taken(Ticket(ticket), now));
            now = now + Duration::from_micros(100);
            turns.done(now, Ticket(ticket));
        }
    }

    #[test]
    fn who_leaves_and_comes_back_owes_what_it_owed() {
        let mut turns = turns(2);
        turns.charge(LinkId(0), 1_000_000_000);
        turns.remove(NOW, LinkId(0));
        let later = NOW + Duration::from_secs(9);
        turns.add(later, LinkId(7), &of_peer(0));
        turns.add(later, LinkId(8), &of_peer(8));
        for link in [7, 8, 1] {
            turns.wait(key(link, 0));
        }
        let served = serve(&mut turns, 500, 1_000);
        assert_eq!(
            served.into_keys().collect::<Vec<_>>(),
            [LinkId(1), LinkId(8)],
            "it owes more than they get"
        );
    }

    #[test]
    fn who_comes_back_finds_what_it_held_of_the_memory_too() {
        let mut turns = turns(2);
        let mut usage = turns.begin_use(LinkId(0)).unwrap();
        turns.used(&mut usage, 1 << 20, Duration::from_secs(1));
        turns.end_use(&usage);
        turns.remove(NOW, LinkId(0));
        turns.add(NOW, LinkId(7), &of_peer(0));
        turns.wait(key(7, 0));
        turns.wait(key(1, 0));
        turns.is_short = true;
        assert_eq!(turns.next(), Some(key(1, 0)));
    }

    #[test]
    fn an_account_is_kept_for_10_s_and_1024_of_them_at_most() {
        let mut turns = turns(1);
        turns.remove(NOW, LinkId(0));
        turns.add(NOW + REMEMBERED, LinkId(1), &of_peer(1));
        assert_eq!(turns.usual.len(), 1, "that of the link alone");
        for number in 0..=MAX_DEPARTED as u64 {
            let info = LinkInfo { group: Group::Local(u32::try_from(number).unwrap() + 1), ..of_peer(1) };
            turns.add(NOW + REMEMBERED, LinkId(number + 2), &info);
            turns.remove(NOW + REMEMBERED, LinkId(number + 2));
        }
        assert_eq!(
            (turns.usual.len(), turns.dealer.members(), turns.by_memory.members()),
            (1_025, 1_025, 1_025)
        );
        let first = LinkInfo { group: Group::Local(1), ..of_peer(1) };
        turns.add(NOW + REMEMBERED, LinkId(9_999), &first);
        assert_eq!(turns.usual.len(), 1_026, "it was forgotten, and begins anew");
        let second = LinkInfo { group: Group::Local(2), ..of_peer(1) };
        turns.add(NOW + REMEMBERED, LinkId(10_000), &second);
        assert_eq!(turns.usual.len(), 1_026, "it was kept");
        turns.add(NOW + REMEMBERED, LinkId(10_001), &LinkInfo { side: Side::Dialled, ..first });
        assert_eq!(turns.usual.len(), 1_027, "on the other side it has another account");
    }

    #[test]
    fn what_a_request_costs_is_learnt_by_halves_and_by_eighths() {
        let mut turns = turns(1);
        let account = turns.accounts.of(LinkId(0)).unwrap();
        turns.wait(key(0, 0));
        turns.wait(key(0, 1));
        for (ticket, cost) in [(1, 8_000), (2, 16_001)] {
            turns.hand(NOW, turns.next().unwrap(), Ticket(ticket));
            let now = NOW + Duration::from_secs(ticket);
            assert!(turns.taken(Ticket(ticket), now) && !turns.taken(Ticket(ticket), now));
            turns.done(now + Duration::from_nanos(cost), Ticket(ticket));
        }
        assert_eq!(turns.usual[&account].nanos, 2_000 + 8_000);
        let first = FIRST_TIME / 8 * 7 + 1_000;
        assert_eq!(turns.mean, first / 8 * 7 + 2_000);
        let mut usage = turns.begin_use(LinkId(0)).unwrap();
        turns.used(&mut usage, 100, Duration::from_micros(7));
        turns.end_use(&usage);
        assert_eq!(turns.usual[&account].memory, 350);
        turns.end_use(&usage);
        assert_eq!(turns.usual[&account].memory, 175 + 350);
    }

    #[test]
    fn taking_one_is_told_at_once_where_others_wait_or_many_are_ahead() {
        let mut turns = turns(2);
        turns.wait(key(0, 0));
        assert!(!turns.hand(NOW, key(0, 0), Ticket(1)), "16 may be ahead, and nobody waits");
        turns.wait(key(0, 1));
        turns.wait(key(1, 0));
        assert!(turns.hand(NOW, key(0, 1), Ticket(2)), "another waits");
        assert!(!turns.hand(NOW, key(1, 0), Ticket(3)));
        for number in 4..=7 {
            turns.wait(key(0, number));
            assert!(!turns.hand(NOW, key(0, number), Ticket(number)));
        }
        turns.wait(key(0, 8));
        assert!(turns.hand(NOW, key(0, 8), Ticket(8)), "8 of 16");
    }

    #[test]
    fn memory_is_short_until_nothing_waits() {
        let mut turns = turns(2);
        turns.wait(key(0, 0));
        turns.hold_back(LinkId(1));
        assert!(!turns.is_short, "nothing of it waits");
        turns.hold_back(LinkId(0));
        turns.wait(key(1, 0));
        turns.leave(key(0, 0));
        assert!(turns.is_short);
        turns.leave(key(1, 0));
        assert!(!turns.is_short);
    }

    #[test]
    fn a_link_with_a_smaller_share_is_served_less() {
        let mut turns = turns(2);
        turns.set_share(LinkId(0), 1);
        for stream in 0..500 {
            turns.wait(key(0, stream));
            turns.wait(key(1, stream));
        }
        let served = serve(&mut turns, 2_000, 5_000);
        assert!(served[&LinkId(1)] > 3 * served[&LinkId(0)] && served[&LinkId(0)] > 40, "{served:?}");
    }
}
