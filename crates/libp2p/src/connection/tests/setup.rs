//! How long the set-up takes, and what it agrees on.

use super::*;

/// Half round trips until the dialler has the answer to a request that it sends as early as it may, and until the listener has
/// the request.
pub(crate) fn half_trips(a: Setup, b: Setup) -> (u32, u32) {
    let mut pair = Pair::new(dialer(a, Some(keypair(2).peer_id())), listener(b));
    let (mut stream, mut at_listener) = (None, None);
    for trips in 0..20 {
        pair.a.settle(pair.now);
        if stream.is_none() && pair.a.peer().is_some() {
            let id = pair.a.muxer().open(Instant::ZERO).unwrap();
            pair.a.muxer().write(id, &mut Bytes::from_static(b"request"));
            stream = Some(id);
        }
        if let Some(id) = stream
            && read_all(&mut pair.a, id).0 == b"response"
        {
            return (trips, at_listener.unwrap());
        }
        if let Some(id) = pair.b.opened().first().copied()
            && at_listener.is_none()
        {
            assert_eq!(read_all(&mut pair.b, id).0, b"request");
            pair.b.muxer().write(id, &mut Bytes::from_static(b"response"));
            at_listener = Some(trips);
        }
        pair.cross();
    }
    panic!("no answer: {:?} {:?}", pair.a.told, pair.b.told);
}

#[test]
fn the_first_answer_comes_two_round_trips_after_the_byte_stream_is_there() {
    assert_eq!(half_trips(setup(1), setup(2)), (4, 3));
}

#[test]
fn a_peer_without_early_muxer_costs_no_round_trip_where_one_muxer_is_proposed() {
    let late = Setup { early_muxer: false, ..setup(2) };
    assert_eq!(half_trips(setup(1), late), (4, 3));
    let late = Setup { early_muxer: false, ..setup(1) };
    assert_eq!(half_trips(late, setup(2)), (4, 3));
}

#[test]
fn several_muxers_that_are_not_agreed_on_early_cost_one_round_trip() {
    let two = || Names::new(["/coda/yamux/1.0.0", yamux::NAME]).unwrap();
    let late = Setup { early_muxer: false, muxers: two(), ..setup(1) };
    assert_eq!(half_trips(late, setup(2)), (8, 7), "the first name is refused, which costs another");
    let late = Setup { early_muxer: false, muxers: two(), ..setup(1) };
    let same = Setup { muxers: two(), ..setup(2) };
    assert_eq!(half_trips(late, same), (6, 5));
}

#[test]
fn a_private_network_costs_no_round_trip() {
    let private = |seed| Setup { private: Some(SharedKey::new([9; 32])), ..setup(seed) };
    assert_eq!(half_trips(private(1), private(2)), (4, 3));
}

#[test]
fn both_ends_know_each_other_in_pieces_of_any_length() {
    for piece in [1, 2, 3, 7, 100, 1_000] {
        for (private, early_muxer) in [(None, true), (Some(SharedKey::new([9; 32])), false)] {
            let with = |seed| Setup { private: private.clone(), early_muxer, ..setup(seed) };
            let mut pair = Pair::new(dialer(with(1), None), listener(with(2)));
            pair.piece = piece;
            pair.run();
            assert!(pair.a.connection.is_up() && pair.b.connection.is_up());
            let peers = (pair.a.peer(), pair.b.peer());
            assert_eq!(peers, (Some(keypair(2).peer_id()), Some(keypair(1).peer_id())), "pieces of {piece}");
            assert_eq!((pair.a.fault(), pair.b.fault()), (None, None));
        }
    }
}

#[test]
fn the_same_seeds_give_the_same_bytes() {
    let wires = || {
        let mut pair = Pair::usual();
        let mut all = Vec::new();
        for _ in 0..4 {
            pair.a.settle(pair.now);
            pair.b.settle(pair.now);
            all.push((pair.a.wire.clone(), pair.b.wire.clone()));
            pair.cross();
        }
        all
    };
    assert_eq!(wires(), wires());
}

#[test]
fn another_peer_than_expected_ends_the_set_up_before_it_is_told_anything() {
    let mut pair = Pair::new(dialer(setup(1), Some(keypair(3).peer_id())), listener(setup(2)));
    pair.run();
    assert_eq!((pair.a.fault(), pair.a.peer(), pair.b.peer()), (Some(noise::WRONG_PEER), None, None));
    assert!(pair.a.connection.muxer().is_none());
}

#[test]
fn without_a_common_muxer_both_end_however_it_is_negotiated() {
    let coda = Names::new(["/coda/yamux/1.0.0"]).unwrap();
    for early_muxer in [true, false] {
        let other = Setup { muxers: coda.clone(), early_muxer, ..setup(2) };
        let mut pair = Pair::new(dialer(setup(1), None), listener(other));
        pair.run();
        assert_eq!(pair.a.fault(), Some(noise::NO_MUXER), "early: {early_muxer}");
        assert!(!pair.b.connection.is_up());
        assert!(pair.b.fault().is_none_or(|fault| fault.blame != weir_base::Blame::Misbehaved));
    }
    let with_coda = |seed| Setup { muxers: coda.clone(), ..setup(seed) };
    let mut pair = Pair::new(dialer(with_coda(1), None), listener(with_coda(2)));
    pair.run();
    assert!(pair.a.connection.is_up() && pair.b.connection.is_up());
}
