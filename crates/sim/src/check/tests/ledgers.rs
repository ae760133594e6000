//! What the ledgers come to after each kind of event, and once it has ended.

use super::*;

/// Permits of the client: held, granted, over, asked.
fn permits(pair: &Pair) -> (i64, i64, i64, i64) {
    let sums = &pair.checker.nodes[0].permits;
    (sums.held, sums.granted, sums.over, sums.asked)
}

/// The client's windows in bytes: held, granted, the excess over the link's credit, and the excess over the credit of single streams.
fn windows(pair: &Pair) -> (i64, i64, i64, i64) {
    let node = &pair.checker.nodes[0];
    (node.windows.held, node.windows.granted, node.windows.over, node.streams_over)
}

/// `Item{index, size bytes}`, or its beginning.
fn item(index: u8, size: usize, part: usize) -> Vec<u8> {
    let mut fields = vec![0, index];
    fields.resize(2 + size, 9);
    let mut whole = message(&fields).to_vec();
    whole.truncate(3 + part);
    whole
}

/// Two items were offered, of 50 and 60 bytes, in 25 bytes of 100 that were granted.
fn offered() -> Pair {
    let mut pair = opened();
    client(&mut pair, 0, want(9, 100));
    server(&mut pair, 0, &offer(&[50, 60]), 100);
    pair
}

#[test]
fn what_is_offered_asked_for_and_come_is_held_granted_and_asked() {
    let mut pair = offered();
    assert_eq!(permits(&pair), (25, 100, 0, 0));
    client(&mut pair, 4, message(&[0, 1]));
    assert_eq!(permits(&pair), (25, 160, 0, 60));
    server(&mut pair, 4, &item(1, 60, 20), 7);
    assert_eq!(permits(&pair), (45, 160, 0, 60), "a part of it has come");
    server(&mut pair, 4, &[9; 40], 7);
    assert_eq!(permits(&pair), (25, 100, 0, 0), "all of it");
    let found = pair.checker.found();
    assert_eq!(found.peak_over, 0);
    client(&mut pair, 0, want(9, 110));
    assert_eq!(permits(&pair), (0, 85, 0, 0), "counted from the last grant");
    let traffic = pair.checker.traffic(CLIENT);
    assert_eq!((traffic.bodies, traffic.body_bytes, traffic.entries), (1, 60, 2));
    assert_eq!(traffic.stream_bytes, 25 + 63);
}

#[test]
fn an_item_that_is_longer_than_offered_is_over_until_it_has_ended() {
    let mut pair = offered();
    client(&mut pair, 4, message(&[0, 0]));
    server(&mut pair, 4, &item(0, 70, 60), 7);
    assert_eq!(permits(&pair), (25 + 60, 150, 10, 50));
    server(&mut pair, 4, &[9; 10], 7);
    assert_eq!(permits(&pair), (25, 100, 0, 0));
    assert_eq!(pair.checker.found().peak_over, 20, "and is remembered");
}

#[test]
fn an_item_asked_for_twice_before_it_came_is_asked_for_once() {
    let mut pair = offered();
    (0..2).for_each(|_| client(&mut pair, 4, message(&[0, 1])));
    assert_eq!(permits(&pair), (25, 160, 0, 60));
    client(&mut pair, 4, message(&[1, 1]));
    assert_eq!(permits(&pair), (25, 160, 0, 60), "a cancelled one keeps what is reserved");
    client(&mut pair, 4, message(&[1, 0]));
    assert_eq!(permits(&pair), (25, 160, 0, 60), "and to cancel one is not to ask for it");
}

#[test]
fn what_is_skipped_on_the_lane_of_wants_grants_nothing() {
    let mut pair = opened();
    client(&mut pair, 0, message(&[1, 9, 100, 0, 0]));
    assert_eq!(permits(&pair), (0, 0, 0, 0));
    server(&mut pair, 0, &offer(&[50, 60]), 100);
    assert_eq!(pair.checker.found().peak_over, 25 + 20);
}

#[test]
fn what_streams_with_credit_are_over_that_of_their_link_is_seen() {
    let mut pair = opened();
    for stream in [8, 12] {
        pair.client(&Frame::Open { stream, protocol: ProtocolId(40) });
        server(&mut pair, stream, &vec![1; 40_000], 10_000);
    }
    assert_eq!(windows(&pair), (80_000, 65_536, 80_000 - 65_536, 0));
    assert_eq!(pair.checker.found().peak_over, 80_000 - 65_536);
}

#[test]
fn an_item_that_is_gone_is_asked_for_no_more() {
    let mut pair = offered();
    client(&mut pair, 4, message(&[0, 0, 0])); // 0 and 1
    assert_eq!(permits(&pair), (25, 210, 0, 110));
    server(&mut pair, 4, &message(&[2, 0]), 9);
    assert_eq!(permits(&pair), (25, 160, 0, 60));
    server(&mut pair, 4, &message(&[2, 7]), 9);
    assert_eq!(permits(&pair), (25, 160, 0, 60), "nobody asked for that one");
}

#[test]
fn an_item_whose_size_nobody_knows_any_more_is_taken_as_it_comes() {
    let mut pair = opened();
    client(&mut pair, 4, message(&[0, 9]));
    assert_eq!(permits(&pair), (0, 0, 0, 0));
    server(&mut pair, 4, &item(9, 80, 40), 7);
    assert_eq!(permits(&pair), (40, 80, 0, 0));
    let mut decided = offered();
    let through_one = message(&[0, 9, 100, 1, 0]);
    client(&mut decided, 0, through_one);
    client(&mut decided, 4, message(&[0, 0, 0]));
    assert_eq!(permits(&decided), (0, 75 + 60, 0, 60), "of the first the size is forgotten");
}

#[test]
fn an_empty_offer_counts_as_an_entry_and_so_does_one_that_begins_a_log() {
    let over = |offers: &[&[u8]]| {
        let mut pair = opened();
        client(&mut pair, 0, want(1, 100));
        offers.iter().for_each(|fields| server(&mut pair, 0, &message(fields), 100));
        pair.checker.found().peak_over
    };
    let empty: &[u8] = &[0, 1, 0, 5];
    assert_eq!((over(&[empty]), over(&[empty, empty])), (0, 10));
    let first: Vec<u8> = [&[2, 1][..], &[7; 8], &[1, 0, 1, 0], &[7; 8], &[50]].concat();
    assert_eq!((over(&[&first]), over(&[&first, empty])), (0, 10));
    let skipped: &[u8] = &[9, 1, 0, 5];
    assert_eq!(over(&[skipped, skipped, skipped]), 0, "what is skipped is no offer");
}

#[test]
fn totals_that_fall_take_nothing_back() {
    let mut pair = opened();
    pair.client(&Frame::Open { stream: 8, protocol: ProtocolId(40) });
    for (link, stream) in [(65_538, 65_538), (1, 1)] {
        pair.client(&Frame::LinkCredit { total: link });
        pair.client(&Frame::StreamCredit { stream: 8, total: stream });
    }
    client(&mut pair, 0, want(2, 30));
    client(&mut pair, 0, want(1, 10));
    server(&mut pair, 8, &vec![1; 65_538 - 25], 10_000);
    server(&mut pair, 0, &offer(&[50, 60]), 100);
    assert_eq!(pair.checker.found().peak_over, 0);
    assert_eq!(windows(&pair), (65_538, 65_538, 0, 0));
    server(&mut pair, 8, &[1], 1);
    assert_eq!(windows(&pair), (65_539, 65_538, 1, 0));
}

#[test]
fn what_a_stream_is_over_ends_with_it() {
    for end in [Frame::End { stream: 8 }, Frame::Reset { stream: 8, code: 1 }] {
        let mut pair = opened();
        pair.client(&Frame::Open { stream: 8, protocol: ProtocolId(40) });
        pair.client(&Frame::LinkCredit { total: 200_000 });
        server(&mut pair, 8, &vec![1; 65_540], 10_000);
        assert_eq!(windows(&pair), (65_540, 200_000, 0, 4));
        pair.server(&end);
        assert_eq!(windows(&pair), (65_540, 200_000, 0, 0));
        assert_eq!(pair.checker.found().peak_over, 4);
    }
}

#[test]
fn everything_that_was_counted_of_a_wire_goes_with_it() {
    let mut pair = offered();
    pair.client(&Frame::Open { stream: 8, protocol: ProtocolId(40) });
    pair.client(&Frame::LinkCredit { total: 66_000 });
    client(&mut pair, 4, message(&[0, 0, 0]));
    server(&mut pair, 4, &item(0, 70, 60), 7);
    server(&mut pair, 0, &offer(&[9; 9]), 200);
    server(&mut pair, 8, &vec![1; 66_100], 10_000);
    let (held, granted, over, asked) = permits(&pair);
    assert!(held > 0 && granted > 0 && over > 10 && asked == 110, "{:?}", permits(&pair));
    let (held, granted, over, streams) = windows(&pair);
    assert!(held > 0 && granted > 0 && over > 0 && streams > 0, "{:?}", windows(&pair));
    let (to, change) = pair.server.closed(WIRE).unwrap();
    pair.note(to, &change);
    assert_eq!((permits(&pair), windows(&pair)), ((0, 0, 0, 0), (0, 0, 0, 0)));
    assert!(pair.server.closed(WIRE).is_none());
}

#[test]
fn the_most_that_was_held_and_granted_is_told_with_both_ledgers_together() {
    let found = found(|pair| {
        client(pair, 0, want(9, 100));
        server(pair, 0, &offer(&[50, 60]), 100);
    });
    assert_eq!((found.peak_held, found.peak_granted), (25 + 25, 65_536 + 100));
}

#[test]
fn how_far_a_log_was_offered_and_whether_its_permit_was_used_up_is_told() {
    let served = |entries: u8| {
        let mut pair = opened();
        pair.server.count_offers();
        client(&mut pair, 0, want(entries, 100));
        server(&mut pair, 0, &offer(&[50, 60]), 100);
        let offers = pair.server.take_offers();
        assert_eq!(
            offers.entries.into_iter().collect::<Vec<_>>(),
            [((SERVER, CLIENT, 0), 1), ((SERVER, CLIENT, 1), 1)]
        );
        let served: Vec<_> = pair.server.served().collect();
        assert_eq!(served.len(), 1);
        assert_eq!((served[0].from, served[0].to), (SERVER, CLIENT));
        (served[0].covered, served[0].dry)
    };
    assert_eq!((served(3), served(2)), ((2, false), (2, true)));
    let mut pair = opened();
    pair.server.count_offers();
    for number in [0, 3, 3, 4] {
        client(&mut pair, 0, message(&[0, 9, 100, 0, 0, number]));
    }
    assert_eq!(pair.server.take_offers().moves[&(SERVER, CLIENT)], 4);
}
