//! What the checker was blind to: each rule is broken on purpose, by one, and seen.

use std::time::Duration;

use weir_stack::{Channel, Config, Shape, call, tip};

use super::*;
use crate::check::{Grants, INITIAL};

const TIP: ChannelId = ChannelId(4);
const CALL: ChannelId = ChannelId(5);
const RAW: ChannelId = ChannelId(6);

/// Streams of the client.
const CONTROL_STREAM: u64 = 8;
const TIP_STREAM: u64 = 12;
const CALL_STREAM: u64 = 16;

fn config() -> Config {
    let channel = |id, shape| Channel { id, name: "channel".into(), version: 1, oldest: 1, shape };
    let mut config = Config::default();
    let call = call::Config { max_request: 30, max_response: 40, concurrency: 3, ..call::Config::default() };
    let mut pool = crate::flood::pool_config();
    (pool.in_flight, pool.max_item) = (100, 60);
    config.profile.channels = vec![
        channel(POOL, Shape::Pool(pool)),
        channel(TIP, Shape::Tip(tip::Config::default())),
        channel(CALL, Shape::Call(call)),
        channel(RAW, Shape::Raw),
    ];
    config.budget.receive_total = 200_000;
    config
}

fn over(act: impl FnOnce(&mut Pair)) -> u64 {
    let mut pair = opened_with(Checker::of(&config()));
    for (stream, protocol) in [
        (CONTROL_STREAM, ChannelId::CONTROL.protocol(0)),
        (TIP_STREAM, TIP.protocol(0)),
        (CALL_STREAM, CALL.protocol(0)),
    ] {
        pair.client(&Frame::Open { stream, protocol });
    }
    act(&mut pair);
    assert_eq!(pair.checker.found().unread, 0);
    pair.checker.found().peak_over
}

fn open_call(pair: &mut Pair, stream: u64) {
    pair.client(&Frame::Open { stream, protocol: CALL.protocol(0) });
}

#[test]
fn a_tip_without_a_want_is_seen() {
    let tips = |wants: usize, tips: usize| {
        over(|pair| {
            (0..wants).for_each(|_| client(pair, TIP_STREAM, message(&[0, 0])));
            (0..tips).for_each(|_| server(pair, TIP_STREAM, &message(&[2, 9, 9, 9]), 2));
        })
    };
    assert_eq!((tips(1, 1), tips(2, 2)), (0, 0));
    assert_eq!(tips(1, 2), 5, "the whole message");
    let other = over(|pair| {
        client(pair, TIP_STREAM, message(&[1, 0]));
        server(pair, TIP_STREAM, &message(&[2, 9, 9, 9]), 2);
    });
    assert_eq!(other, 5, "what is skipped permits nothing");
    let skipped = over(|pair| server(pair, TIP_STREAM, &message(&[7, 9]), 9));
    assert_eq!(skipped, 0, "what is skipped needs no permit");
}

#[test]
fn a_tip_longer_than_its_channel_has_it_is_seen() {
    let long = |size: usize| {
        over(|pair| {
            client(pair, TIP_STREAM, message(&[0, 0]));
            let mut tip = vec![2];
            tip.resize(1 + size, 9);
            server(pair, TIP_STREAM, &message(&tip), 100);
        })
    };
    assert_eq!((long(1_024), long(1_025)), (0, 1));
}

#[test]
fn a_request_or_response_that_is_too_long_is_seen() {
    let long = |size: usize| message(&vec![0; size]);
    for (size, excess) in [(30 + 16, 0), (30 + 17, 1)] {
        assert_eq!(over(|pair| client(pair, CALL_STREAM, long(size))), excess, "request of {size}");
    }
    for (size, excess) in [(40 + 16, 0), (40 + 18, 2)] {
        for piece in [1, 100] {
            assert_eq!(over(|pair| server(pair, CALL_STREAM, &long(size), piece)), excess, "{size}");
        }
    }
    let many = over(|pair| (0..6).for_each(|_| server(pair, CALL_STREAM, &message(&[1, 1, 1]), 9)));
    assert_eq!(many, 3, "after four that are skipped and the answer");
}

#[test]
fn a_call_too_many_at_once_is_seen_and_one_after_an_answer_is_not() {
    let calls = |finish: &dyn Fn(&mut Pair)| {
        over(|pair| {
            open_call(pair, 20);
            open_call(pair, 24);
            finish(pair);
            open_call(pair, 28);
        })
    };
    assert_eq!(calls(&|_| {}), 1);
    assert_eq!(calls(&|pair| pair.server(&Frame::End { stream: CALL_STREAM })), 0);
    assert_eq!(calls(&|pair| pair.client(&Frame::Stop { stream: CALL_STREAM, code: 0 })), 0);
}

#[test]
fn a_stream_too_many_is_seen() {
    let raw = |credit: Option<u64>| {
        over(|pair| {
            for number in 5..33 {
                pair.client(&Frame::Open { stream: 20 + number * 4, protocol: RAW.protocol(0) });
            }
            if let Some(total) = credit {
                pair.server(&Frame::StreamsCredit { total });
            }
        })
    };
    assert_eq!((raw(None), raw(Some(33))), (1, 1), "credit that comes later does not excuse it");
    let with_credit = over(|pair| {
        pair.server(&Frame::StreamsCredit { total: 33 });
        for number in 5..33 {
            pair.client(&Frame::Open { stream: 20 + number * 4, protocol: RAW.protocol(0) });
        }
    });
    assert_eq!(with_credit, 0);
    let with_less = over(|pair| {
        [33, 1].into_iter().for_each(|total| pair.server(&Frame::StreamsCredit { total }));
        for number in 5..33 {
            pair.client(&Frame::Open { stream: 20 + number * 4, protocol: RAW.protocol(0) });
        }
    });
    assert_eq!(with_less, 0, "a total never falls");
}

#[test]
fn more_control_than_its_rate_is_seen() {
    let pings = |count: usize, pause: Duration| {
        over(|pair| {
            for _ in 0..count {
                client(pair, CONTROL_STREAM, message(&[3, 1]));
                pair.now = pair.now + pause;
            }
        })
    };
    assert_eq!((pings(64, Duration::ZERO), pings(65, Duration::ZERO)), (0, 1));
    assert_eq!(pings(1_000, Duration::from_micros(15_625)), 0);
    let after_silence = over(|pair| {
        pair.now = pair.now + Duration::from_secs(60);
        (0..66).for_each(|_| client(pair, CONTROL_STREAM, message(&[3, 1])));
    });
    assert_eq!(after_silence, 1, "each one too many by itself: a second's worth is saved, no more");
    let long = over(|pair| client(pair, CONTROL_STREAM, message(&vec![3; 16_001 - 2])));
    assert_eq!(long, 1, "16,000 bytes a second");
}

#[test]
fn windows_over_the_budget_of_the_node_are_seen() {
    let credit = |total| over(|pair| pair.client(&Frame::LinkCredit { total }));
    assert_eq!((credit(200_000), credit(200_001)), (0, 1));
    let spent = over(|pair| {
        pair.client(&Frame::Open { stream: 20, protocol: RAW.protocol(0) });
        server(pair, 20, &[1; 10], 10);
        pair.client(&Frame::LinkCredit { total: 200_010 });
    });
    assert_eq!(spent, 0, "what has come is not open any more");
}

#[test]
fn more_items_asked_for_than_may_be_in_flight_are_seen() {
    let ask = |indices: &[u8]| {
        over(|pair| {
            client(pair, 0, want(9, 100));
            server(pair, 0, &offer(&[60, 60, 41]), 100);
            for index in indices {
                client(pair, 4, message(&[0, *index]));
            }
        })
    };
    assert_eq!((ask(&[0, 1]), ask(&[0, 1, 2])), (0, 1));
    let answered = over(|pair| {
        client(pair, 0, want(9, 100));
        server(pair, 0, &offer(&[60, 60, 41]), 100);
        client(pair, 4, message(&[0, 0]));
        client(pair, 4, message(&[0, 1]));
        let mut item = vec![0, 1];
        item.resize(62, 9);
        server(pair, 4, &message(&item), 100);
        client(pair, 4, message(&[0, 2]));
    });
    assert_eq!(answered, 0);
}

/// Base windows of this configuration's links, of which as many may exist.
const BASES: u64 = (128 + 64 + 64) * INITIAL;

/// What a node has advertised on two wires, where base windows leave 1,000 bytes.
struct Advertising {
    checker: Checker,
    grants: Grants,
}

impl Advertising {
    fn new() -> Self {
        let mut config = config();
        config.budget.receive_total = BASES + 1_000;
        let checker = Checker::of(&config);
        let mut grants = Grants::new(&checker.declared);
        [1, 2].into_iter().for_each(|wire| grants.opened(wire));
        Self { checker, grants }
    }

    /// Frames that the node sends in one turn; what they come to.
    fn sends(&mut self, frames: &[(u64, Frame)]) -> u64 {
        frames.iter().for_each(|(wire, frame)| self.grants.sent(*wire, frame));
        if let Some(change) = self.grants.take() {
            self.checker.apply(CLIENT, &change);
        }
        self.checker.found().peak_over
    }

    /// Bytes of its peer come.
    fn hears(&mut self, wire: u64, len: usize) {
        self.grants.received(wire, &Frame::Data { stream: 0, bytes: vec![0; len].into() });
    }
}

fn credit(wire: u64, beyond: u64) -> (u64, Frame) {
    (wire, Frame::LinkCredit { total: INITIAL + beyond })
}

#[test]
fn advertised_beyond_what_base_windows_leave_of_the_budget_is_seen() {
    let mut node = Advertising::new();
    assert_eq!(node.sends(&[credit(1, 600), credit(2, 400)]), 0);
    assert_eq!(node.sends(&[credit(2, 401)]), 1);
    assert_eq!(node.checker.found().checks, 2);
}

#[test]
fn what_has_come_or_was_closed_is_advertised_no_more_and_less_takes_nothing_back() {
    let mut node = Advertising::new();
    node.hears(1, 50);
    assert_eq!(node.sends(&[credit(1, 650), credit(2, 400)]), 0, "50 of these have come");
    assert_eq!(node.sends(&[credit(1, 0), credit(2, 401)]), 1, "a total never falls");
    let mut node = Advertising::new();
    assert_eq!(node.sends(&[credit(1, 600)]), 0);
    let close = Frame::Close { goodbye: weir_base::stream::Goodbye::from_code(0) };
    assert_eq!(node.sends(&[credit(2, 1_000), (1, close)]), 0, "in whatever order within a turn");
    assert_eq!(node.sends(&[credit(1, 900)]), 0, "that wire is closed");
    node.grants.closed(2);
    node.grants.opened(3);
    assert_eq!(node.sends(&[credit(3, 1_001)]), 1);
}
