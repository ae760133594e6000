use weir_base::identity::Keypair;

use super::*;

fn book() -> Book {
    Book::new(&Config::default(), Rng::from_number(1))
}

fn known(peer: Option<PeerId>, endpoint: u64, role: Role) -> Known {
    Known { peer, addresses: vec![Multiaddr::from_memory(endpoint)], role }
}

/// What is to be dialled now, in the order of the addresses.
fn due(book: &mut Book) -> Vec<Known> {
    book.handle_timeout(Instant::ZERO);
    let mut all = Vec::new();
    while let Some((_, known)) = book.pop(true) {
        all.push(known.clone());
    }
    all.sort_by_key(|known| known.addresses[0].to_string());
    all
}

#[test]
fn the_same_addresses_without_a_name_are_one_entry() {
    let mut book = book();
    for endpoint in [1, 2, 1] {
        book.add(Instant::ZERO, known(None, endpoint, Role::Persistent), None).unwrap();
    }
    assert_eq!(due(&mut book), [1, 2].map(|endpoint| known(None, endpoint, Role::Persistent)));
}

#[test]
fn an_entry_that_is_named_again_by_its_address_keeps_its_peer_and_its_role() {
    let mut book = book();
    let peer = Some(PeerId::from_public_key(&Keypair::ed25519_from_seed([1; 32]).public()));
    book.add(Instant::ZERO, known(peer, 1, Role::Pinned), None).unwrap();
    book.add(Instant::ZERO, known(None, 1, Role::Candidate), None).unwrap();
    assert_eq!(due(&mut book), [known(peer, 1, Role::Pinned)]);
}

fn peer(seed: u8) -> PeerId {
    PeerId::from_public_key(&Keypair::ed25519_from_seed([seed; 32]).public())
}

fn at(secs: u64) -> Instant {
    Instant::from_millis(secs * 1_000)
}

fn add(book: &mut Book, seed: u8, role: Role) -> Result<(), BookError> {
    book.add(Instant::ZERO, known(Some(peer(seed)), seed.into(), role), None)
}

#[test]
fn a_peer_has_one_address_at_least_and_as_many_as_the_limit() {
    let mut book = book();
    let mut add = |count: u64| {
        let addresses = (0..count).map(Multiaddr::from_memory).collect();
        book.add(Instant::ZERO, Known { peer: Some(peer(1)), addresses, role: Role::Candidate }, None)
    };
    assert_eq!(
        [0, 1, 8, 9].map(&mut add),
        [Err(BookError::Addresses), Ok(()), Ok(()), Err(BookError::Addresses)]
    );
}

#[test]
fn a_full_book_forgets_the_candidate_that_failed_most_and_nobody_else() {
    let mut book = Book::new(&Config { max_known: 3, ..Config::default() }, Rng::from_number(1));
    add(&mut book, 1, Role::Persistent).unwrap();
    add(&mut book, 2, Role::Candidate).unwrap();
    add(&mut book, 3, Role::Candidate).unwrap();
    book.fail(Instant::ZERO, BookId(1));
    add(&mut book, 4, Role::Candidate).unwrap();
    let roles = [1, 2, 3, 4].map(|seed| book.role(&peer(seed)));
    assert_eq!(roles, [Some(Role::Persistent), None, Some(Role::Candidate), Some(Role::Candidate)]);
    for (link, seed) in [(LinkId(1), 3), (LinkId(2), 4)] {
        book.handle_up(Instant::ZERO, peer(seed), link, None);
    }
    assert_eq!(add(&mut book, 5, Role::Candidate), Err(BookError::Full), "the others are up or persistent");
}

#[test]
fn persistent_ones_are_dialled_in_order_and_are_on_their_way_once_they_are_due() {
    let mut book = book();
    for seed in [3, 1, 2] {
        add(&mut book, seed, Role::Persistent).unwrap();
    }
    add(&mut book, 4, Role::Candidate).unwrap();
    assert!(!book.is_dialling(&peer(3)) && !book.has_candidates());
    book.handle_timeout(Instant::ZERO);
    assert!(book.is_dialling(&peer(3)) && !book.is_dialling(&peer(4)) && book.has_candidates());
    let order: Vec<BookId> = std::iter::from_fn(|| book.pop(false).map(|(id, _)| id)).collect();
    assert_eq!(order, [BookId(0), BookId(1), BookId(2)]);
    book.set_dial(Instant::ZERO, BookId(0), Some(DialId(7)));
    assert!(book.is_dialling(&peer(3)) && book.has_dial(DialId(7)) && !book.has_dial(DialId(8)));
    assert_eq!((book.peer_of(DialId(7)), book.peer_of(DialId(8))), (Some(peer(3)), None));
    assert_eq!(book.dial_to(|known| known.peer == Some(peer(3))), Some(DialId(7)));
    assert_eq!(book.dial_to(|known| known.peer == Some(peer(1))), None);
    assert_eq!(book.remove(&peer(3)), Some(DialId(7)), "to be cancelled");
    assert_eq!((book.remove(&peer(4)), book.has_candidates(), book.role(&peer(4))), (None, false, None));
}

#[test]
fn entries_that_become_due_out_of_order_are_dialled_in_order() {
    let mut book = book();
    for seed in 1..=3 {
        add(&mut book, seed, Role::Persistent).unwrap();
    }
    for id in [BookId(2), BookId(0), BookId(1)] {
        book.hold(id, at(1 + id.0 * 7 % 5)); // 1, 5 and 3 seconds are 0, 2 and 1
    }
    (1..9).for_each(|second| book.handle_timeout(at(second)));
    let order: Vec<BookId> = std::iter::from_fn(|| book.pop(false).map(|(id, _)| id)).collect();
    assert_eq!(order, [BookId(0), BookId(1), BookId(2)]);
}

#[test]
fn that_an_entry_is_not_reached_is_told_once_a_minute() {
    let mut book = book();
    add(&mut book, 1, Role::Persistent).unwrap();
    let mut told = |secs: u64| book.fail(at(secs), BookId(0)).is_some();
    assert_eq!([0, 1, 59, 60, 119, 120].map(&mut told), [true, false, false, true, false, true]);
}

#[test]
fn a_candidate_is_forgotten_after_eight_failures_and_no_persistent_one_ever() {
    let mut book = book();
    add(&mut book, 1, Role::Candidate).unwrap();
    add(&mut book, 2, Role::Persistent).unwrap();
    for minute in 0..8 {
        assert_eq!(
            (book.role(&peer(1)), book.role(&peer(2))),
            (Some(Role::Candidate), Some(Role::Persistent))
        );
        let next = book.fail(at(minute * 60), BookId(0)).and_then(|unreached| unreached.next);
        assert_eq!(next.is_none(), minute == 7);
        assert!(book.fail(at(minute * 60), BookId(1)).unwrap().next.is_some());
    }
    assert_eq!((book.role(&peer(1)), book.role(&peer(2))), (None, Some(Role::Persistent)));
}

fn failures(book: &Book) -> u32 {
    book.entries.get(&BookId(0)).unwrap().failures
}

/// A link that this side dialled was there for so many seconds and ended then.
fn linked_for(book: &mut Book, secs: u64) {
    book.handle_up(at(0), peer(1), LinkId(1), Some(DialId(1)));
    book.handle_down(at(secs), &peer(1), LinkId(1), None);
}

#[test]
fn a_persistent_peer_that_was_linked_for_10_s_is_tried_quickly_for_30() {
    let mut book = book();
    add(&mut book, 1, Role::Persistent).unwrap();
    linked_for(&mut book, 10);
    let mut after = |secs: u64| {
        book.fail(at(secs), BookId(0));
        failures(&book)
    };
    assert_eq!([11, 39, 40, 41].map(&mut after), [1, 1, 2, 3]);
}

#[test]
fn a_link_that_ends_within_10_s_is_one_more_failure() {
    let mut book = book();
    add(&mut book, 1, Role::Persistent).unwrap();
    linked_for(&mut book, 9);
    book.fail(at(10), BookId(0));
    assert_eq!(failures(&book), 2);
}

#[test]
fn failures_are_forgotten_once_a_link_has_lasted_a_minute() {
    for (secs, left) in [(59, 4), (60, 1)] {
        let mut book = book();
        add(&mut book, 1, Role::Candidate).unwrap();
        (0..3).for_each(|_| drop(book.fail(at(0), BookId(0))));
        linked_for(&mut book, secs);
        assert_eq!(failures(&book), left, "its end counts");
    }
}

#[test]
fn only_the_end_of_the_link_that_is_used_counts() {
    let mut book = book();
    add(&mut book, 1, Role::Persistent).unwrap();
    book.handle_up(at(0), peer(1), LinkId(2), None);
    assert_eq!(book.poll_timeout(), None);
    book.handle_down(at(9), &peer(1), LinkId(1), None);
    assert_eq!(book.poll_timeout(), None, "another one ended");
    book.handle_down(at(9), &peer(1), LinkId(2), Some(LinkId(3)));
    assert_eq!(book.poll_timeout(), None, "one is left");
    book.handle_down(at(9), &peer(1), LinkId(3), None);
    assert!(book.poll_timeout().is_some_and(|due| due > at(9)));
}

#[test]
fn who_answers_at_an_address_without_a_name_gives_the_entry_its_name() {
    let mut book = book();
    book.add(at(0), known(None, 1, Role::Persistent), None).unwrap();
    book.add(at(0), known(None, 2, Role::Pinned), None).unwrap();
    for (id, dial) in [(BookId(0), DialId(1)), (BookId(1), DialId(2))] {
        book.set_dial(at(0), id, Some(dial));
    }
    assert_eq!(book.handle_up(at(0), peer(1), LinkId(1), Some(DialId(1))), 1);
    assert_eq!((book.role(&peer(1)), book.entries.len()), (Some(Role::Persistent), 2));
    assert_eq!(book.handle_up(at(0), peer(1), LinkId(2), Some(DialId(2))), 1);
    assert_eq!((book.role(&peer(1)), book.entries.len()), (Some(Role::Pinned), 1), "both are one");
    assert_eq!(book.handle_up(at(0), peer(1), LinkId(3), Some(DialId(9))), 0);
}

#[test]
fn who_has_an_address_like_that_and_waits_is_tried_now() {
    let mut book = book();
    for seed in 1..=3 {
        add(&mut book, seed, Role::Persistent).unwrap();
        book.hold(BookId(u64::from(seed) - 1), at(100));
    }
    book.handle_up(at(0), peer(3), LinkId(1), None);
    book.wake_at(at(5), |address| *address != Multiaddr::from_memory(1));
    assert_eq!(book.poll_timeout(), Some(at(5)));
    book.handle_timeout(at(5));
    assert_eq!(std::iter::from_fn(|| book.pop(true).map(|(id, _)| id)).collect::<Vec<_>>(), [BookId(1)]);
    assert_eq!(book.poll_timeout(), Some(at(100)));
}

#[test]
fn a_peer_that_is_put_in_again_has_its_new_addresses_and_is_due_at_once() {
    let mut book = book();
    add(&mut book, 1, Role::Candidate).unwrap();
    book.fail(Instant::ZERO, BookId(0));
    assert_eq!(due(&mut book), [], "after a pause");
    book.add(Instant::ZERO, known(Some(peer(1)), 9, Role::Persistent), None).unwrap();
    assert_eq!(due(&mut book), [known(Some(peer(1)), 9, Role::Persistent)]);
}

#[test]
fn addresses_name_their_peer_and_only_one() {
    let mut book = book();
    let at = |seed| Multiaddr::from_memory(1).with_p2p(peer(seed)).unwrap();
    let mut add = |names: &[u8]| {
        let addresses = names.iter().copied().map(at).collect();
        book.add(Instant::ZERO, Known { peer: None, addresses, role: Role::Candidate }, None)
    };
    assert_eq!(add(&[1, 2]), Err(BookError::OtherPeer));
    assert_eq!(add(&[1, 1]), Ok(()));
    assert_eq!(book.role(&peer(1)), Some(Role::Candidate));
}
