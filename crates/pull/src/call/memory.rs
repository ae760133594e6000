//! The memory of requests and answers: one budget for all call channels of a node (`docs/spec/call.md`, "Memory").
//!
//! - a request begins to come → [`reserve`](Memory::reserve) what its stream may bring, and more once its length is known;
//! - it is handed to the application → `reserve` the request and the largest answer;
//! - the answer is there → [`keep`](Memory::keep) what it really holds, until it is written or its stream ends.
//!
//! A quarter is for requests on their way, the rest for what the application handles and for answers; of each part a channel is
//! guaranteed what its largest needs. Where nothing is free, room comes from the link that holds most of that part for its share
//! (sides, groups, links: `docs/spec/fairness.md`), if that is more than who asks has: of requests the newest, of answers the one
//! that is read most slowly. So a link that asks for little is refused nothing, whatever the others hoard.
//!
//! What is handled has the largest answer reserved, but it weighs what its link's answers took of late. An answer gives way at once
//! to a link that would weigh half as much or less, and only when it has not moved for a while to one that would hold as much.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_base::stream::{Group, Side};
use weir_base::{Dealer, Instant, LinkId, Numbered, StreamKey};

use super::part::Part;

/// The part of the budget that is for requests on their way: one in so many bytes.
const FOR_REQUESTS: u64 = 4;
/// An answer may be dropped for others when nothing of it has moved for so long: longer than most round trips.
const STALLED_AFTER: Duration = Duration::from_millis(200);
/// Nanoseconds for which an answer is not dropped, for each byte of it that has moved: a reader slower than 500 kB/s gives way
/// to links that hold less. Else a byte every 200 ms would keep its memory.
const NANOS_PER_BYTE: u64 = 2_000;
/// An answer is dropped at once for a link that would hold so many times less: else links that hold about the same would drop
/// each other's answers before they can be read.
const AT_ONCE: u64 = 2;

/// What a stream holds memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// A request that is coming, or waits for its turn. It may still be refused.
    Request,
    /// The application has the request; the largest answer is reserved. It counts as so many bytes where links are compared.
    Handling { weighs: u64 },
    /// An answer. It counts as moving until then, see [`moving_until`].
    Answer(Instant),
}

/// Until when an answer counts as moving of which `bytes` have moved by `now`, and nothing before `since`.
pub(crate) fn moving_until(now: Instant, since: Instant, bytes: u64) -> Instant {
    now.min(since + Duration::from_nanos(bytes.saturating_mul(NANOS_PER_BYTE)))
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// What may be dropped to make some: a stream of this machine. `None`: whoever asks holds the most for its share.
    pub(crate) victim: Option<(u16, StreamKey)>,
}

/// The budget. Bytes are those of messages; what streams hold is at most its total.
#[derive(Debug)]
pub(crate) struct Memory {
    total: u64,
    requests: Part,           // on their way
    answers: Part,            // and what is handled
    freed: bool,              // of `answers`
    richest: Option<Richest>, // `None` once anything has changed
    shares: Dealer<LinkId>,
    links: BTreeMap<LinkId, Account>,
    streams: Numbered<StreamKey, Holding>,
}

/// How much links hold of `answers` for their share: an answer is dropped only for a link that would hold less. While nothing changes all who
/// wait are told so by two comparisons, however many links there are.
#[derive(Clone, Copy, Debug)]
struct Richest {
    at: Instant,
    with_stalled: u64, // the most of a link that has an answer which has stalled
    with_any: u64,     // the most of a link that has an answer
}

#[derive(Debug)]
struct Holding {
    machine: u16,
    bytes: u64,
    hold: Hold,
}

impl Holding {
    /// The bytes it counts as where links are compared.
    const fn weighs(&self) -> u64 {
        if let Hold::Handling { weighs } = self.hold { weighs } else { self.bytes }
    }
}

#[derive(Debug, Default)]
struct Account {
    share: u64,         // of the total, in bytes, at least 1
    request_bytes: u64, // of `requests`
    answer_bytes: u64,  // of `answers`, and what is handled by what it weighs
    requests: BTreeSet<StreamKey>,
    answers: BTreeSet<(Instant, StreamKey)>,
}

impl Account {
    /// How much of that part it holds for its share, in thousandths, if it held so many bytes more.
    fn load(&self, hold: Hold, more: u64) -> u64 {
        let bytes = if let Hold::Request = hold { self.request_bytes } else { self.answer_bytes };
        bytes.saturating_add(more).saturating_mul(1000) / self.share.max(1)
    }

    /// The bytes of that part.
    const fn part(&mut self, hold: Hold) -> &mut u64 {
        if let Hold::Request = hold { &mut self.request_bytes } else { &mut self.answer_bytes }
    }

    /// What may be dropped of that part, the first first.
    fn victims(&self, now: Instant, hold: Hold) -> impl Iterator<Item = StreamKey> + '_ {
        let (requests, answers) =
            if hold == Hold::Request { (Some(&self.requests), None) } else { (None, Some(&self.answers)) };
        let requests = requests.into_iter().flatten().rev().copied();
        let stalled = move |answer: &&(Instant, StreamKey)| answer.0 + STALLED_AFTER <= now;
        requests.chain(answers.into_iter().flatten().take_while(stalled).map(|(_, key)| *key))
    }
}

impl Memory {
    /// A budget of `total` bytes.
    pub(crate) fn new(total: u64) -> Self {
        let requests = total / FOR_REQUESTS;
        Self {
            total,
            requests: Part::new(requests),
            answers: Part::new(total - requests),
            freed: false,
            richest: None,
            shares: Dealer::new(1, 0),
            links: BTreeMap::new(),
            streams: Numbered::default(),
        }
    }

    /// The least total with which requests and answers of so many bytes can be handled.
    pub(crate) fn least(request: u64, answer: u64) -> u64 {
        let both = request.saturating_add(answer);
        both.saturating_add(both.div_ceil(FOR_REQUESTS - 1)).max(request.saturating_mul(FOR_REQUESTS))
    }

    /// A channel, by the number of its machine, with requests and answers of at most so many bytes: room for one of each is kept
    /// for it, where all channels' fit.
    pub(crate) fn guarantee(&mut self, machine: u16, request: u64, answer: u64) {
        self.requests.guarantee(machine, request);
        self.answers.guarantee(machine, request.saturating_add(answer));
    }

    /// A link joins, or its side is known better.
    pub(crate) fn add(&mut self, link: LinkId, side: Side, group: Group) {
        self.shares.add(link, side, group);
        self.links.entry(link).or_default();
        self.share_out();
    }

    /// Its peer's standing gives it so many quarters of its share.
    pub(crate) fn set_share(&mut self, link: LinkId, quarters: u8) {
        self.shares.set_share(link, quarters);
        self.share_out();
    }

    /// A link is gone, and all its streams hold.
    pub(crate) fn remove(&mut self, link: LinkId) {
        for key in self.streams.of_link(link) {
            self.free(key);
        }
        self.shares.remove(link);
        self.links.remove(&link);
        self.share_out();
    }

    fn share_out(&mut self) {
        self.richest = None;
        for (link, account) in &mut self.links {
            account.share = self.shares.part(*link, self.total).max(1);
        }
    }

    /// Lets a stream of `machine` hold `bytes` in all, if there is room.
    pub(crate) fn reserve(
        &mut self,
        now: Instant,
        machine: u16,
        key: StreamKey,
        (bytes, hold): (u64, Hold),
    ) -> Result<(), NoRoom> {
        let has =
            self.streams.get(key).filter(|held| (held.hold == Hold::Request) == (hold == Hold::Request));
        let more = bytes.saturating_sub(has.map_or(0, |held| held.bytes));
        if self.part(hold).has_room(machine, more) {
            self.keep(machine, key, bytes, hold);
            return Ok(());
        }
        Err(NoRoom { victim: self.victim(now, machine, key.link, (bytes, hold)) })
    }

    /// What may be dropped so that `link` can have `bytes`.
    fn victim(
        &mut self,
        now: Instant,
        machine: u16,
        link: LinkId,
        (bytes, hold): (u64, Hold),
    ) -> Option<(u16, StreamKey)> {
        if let Hold::Handling { weighs } = hold {
            let Richest { with_stalled, with_any, .. } = self.richest(now, hold);
            let account = self.links.get(&link)?;
            let at_once = account.load(hold, weighs).saturating_mul(AT_ONCE);
            if with_stalled <= account.load(hold, 0) && with_any < at_once {
                return None;
            }
        }
        let load_with = |more| self.links.get(&link).map_or(u64::MAX, |account| account.load(hold, more));
        let part = self.part(hold);
        let of = |key: StreamKey| self.streams.get(key).map(|held| (held.machine, key));
        let helps = |(of, _): &(u16, StreamKey)| *of == machine || part.can_lend(*of);
        let richer = |than: u64| self.links.values().filter(move |account| account.load(hold, 0) > than);
        // A request must not cost others more than it brings; an answer is as large as it may become for everybody.
        let asks = load_with(if hold == Hold::Request { bytes } else { 0 });
        let stalled = richer(asks).filter_map(|account| {
            let (_, key) = account.victims(now, hold).filter_map(of).find(helps)?;
            Some((account.load(hold, 0), key))
        });
        if let Some((_, key)) = stalled.max() {
            return of(key);
        }
        let Hold::Handling { weighs } = hold else { return None };
        let at_once =
            richer(load_with(weighs).saturating_mul(AT_ONCE).saturating_sub(1)).filter_map(|account| {
                let (last_progress, key) =
                    account.answers.iter().find(|(_, key)| of(*key).is_some_and(|victim| helps(&victim)))?;
                Some((account.load(hold, 0), Reverse(*last_progress), *key))
            });
        at_once.max().and_then(|(_, _, key)| of(key))
    }

    fn richest(&mut self, now: Instant, hold: Hold) -> Richest {
        if let Some(known) = self.richest.filter(|known| known.at == now) {
            return known;
        }
        let mut richest = Richest { at: now, with_stalled: 0, with_any: 0 };
        for account in self.links.values().filter(|account| !account.answers.is_empty()) {
            let load = account.load(hold, 0);
            richest.with_any = richest.with_any.max(load);
            if account.victims(now, hold).next().is_some() {
                richest.with_stalled = richest.with_stalled.max(load);
            }
        }
        self.richest = Some(richest);
        richest
    }

    /// A stream holds `bytes` in all, which is no more than it has reserved.
    pub(crate) fn keep(&mut self, machine: u16, key: StreamKey, bytes: u64, hold: Hold) {
        let had = self.take_off(key);
        let frees = |had: Holding| had.hold != Hold::Request && (had.bytes > bytes || hold == Hold::Request);
        self.freed |= had.is_some_and(frees);
        let Some(account) = self.links.get_mut(&key.link) else { return };
        match hold {
            Hold::Request => _ = account.requests.insert(key),
            Hold::Handling { .. } => {}
            Hold::Answer(last_progress) => _ = account.answers.insert((last_progress, key)),
        }
        let holding = Holding { machine, bytes, hold };
        *account.part(hold) += holding.weighs();
        self.part_mut(hold).take(machine, bytes);
        self.streams.insert(key, holding);
    }

    /// A stream holds nothing any more.
    pub(crate) fn free(&mut self, key: StreamKey) {
        self.freed |= self.take_off(key).is_some_and(|had| had.hold != Hold::Request);
    }

    fn take_off(&mut self, key: StreamKey) -> Option<Holding> {
        self.richest = None;
        let held = self.streams.remove(key)?;
        self.part_mut(held.hold).give_back(held.machine, held.bytes);
        let Some(account) = self.links.get_mut(&key.link) else { return Some(held) };
        *account.part(held.hold) -= held.weighs();
        match held.hold {
            Hold::Request => _ = account.requests.remove(&key),
            Hold::Handling { .. } => {}
            Hold::Answer(last_progress) => _ = account.answers.remove(&(last_progress, key)),
        }
        Some(held)
    }

    const fn part(&self, hold: Hold) -> &Part {
        if let Hold::Request = hold { &self.requests } else { &self.answers }
    }

    const fn part_mut(&mut self, hold: Hold) -> &mut Part {
        if let Hold::Request = hold { &mut self.requests } else { &mut self.answers }
    }

    /// When another answer may be dropped at the latest, if it does not move.
    pub(crate) fn next_stalled(&self, now: Instant) -> Instant {
        let oldest = self.links.values().filter_map(|account| account.answers.first());
        let stalls = oldest.map(|(last_progress, _)| *last_progress + STALLED_AFTER).filter(|at| *at > now);
        stalls.min().unwrap_or(now + STALLED_AFTER)
    }

    /// Whether room for answers was given back since last asked. Nobody waits for room for requests.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Bytes that streams hold, at most [`total`](Self::total).
    pub(crate) const fn used(&self) -> u64 {
        self.requests.used() + self.answers.used()
    }

    /// The budget.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests;
