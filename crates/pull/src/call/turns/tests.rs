use weir_base::identity::{Keypair, PeerId};
use weir_base::stream::{Group, Side};

use super::*;
use crate::call::accounts::{MAX_DEPARTED, REMEMBERED};

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
    // memory for one answer becomes free; the link that gets it holds it for 2 or 80 ms
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
    assert_eq!(served.into_keys().collect::<Vec<_>>(), [LinkId(1), LinkId(8)], "it owes more than they get");
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
    assert_eq!((turns.usual.len(), turns.dealer.members(), turns.by_memory.members()), (1_025, 1_025, 1_025));
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
