use bytes::Bytes;
use weir_base::pair::{End, Pair, Pipe};
use weir_base::stream::Goodbye;
use weir_base::{Blame, ProtocolId};

use crate::common::*;

/// What a node makes of a peer that says hello and then this.
fn after_hello(bytes: impl Into<Bytes>) -> Pair<Script, weir_pull::Pull> {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(2_000));
    assert_eq!((pair.faults.len(), pair.closed), (0, None));
    pair.a.write(0, bytes);
    pair.run_until(at(2_500));
    pair
}

fn blames(pair: &Pair<Script, weir_pull::Pull>) -> Vec<Blame> {
    pair.faults.iter().map(|(end, fault)| if *end == End::B { fault.blame } else { panic!() }).collect()
}

#[test]
fn more_than_64_messages_a_second_are_a_fault() {
    let burst = |count: usize| vec![message(101, b""); count].concat();
    assert_eq!(blames(&after_hello(burst(64))), []);
    assert_eq!(blames(&after_hello(burst(65))), [Blame::Misbehaved]);
}

#[test]
fn more_than_16_kb_a_second_are_a_fault() {
    let burst = |count: usize| vec![message(101, &[0; 7_900]); count].concat();
    assert_eq!(blames(&after_hello(burst(2))), []);
    assert_eq!(blames(&after_hello(burst(3))), [Blame::Misbehaved]);
}

#[test]
fn a_message_over_8_kib_is_a_fault_before_it_arrives() {
    let mut length = varint(8_193);
    length.push(101);
    assert_eq!(blames(&after_hello(length)), [Blame::Misbehaved]);
}

#[test]
fn an_unknown_even_type_is_incompatible() {
    let pair = after_hello(message(100, b"new"));
    assert_eq!(blames(&pair), [Blame::Incompatible]);
    assert_eq!(pair.closed.map(|closed| closed.1), Some(Goodbye::WrongVersion));
}

#[test]
fn a_second_hello_an_empty_message_and_fields_left_over_are_faults() {
    for bad in [hello_bytes(&hello()), Bytes::from_static(&[0]), message(10, &[0, 0]), message(2, &[0; 9])] {
        let pair = after_hello(bad);
        assert_eq!(
            (blames(&pair), pair.closed.map(|c| c.1)),
            (vec![Blame::Misbehaved], Some(Goodbye::Fault))
        );
    }
}

#[test]
fn a_first_message_other_than_hello_is_a_fault() {
    for first in [message(2, &[0; 8]), message(101, b"")] {
        let mut pair = against(Script::saying(first), config());
        pair.run_until(at(500));
        assert_eq!(blames(&pair), [Blame::Misbehaved]);
    }
}

#[test]
fn a_second_control_stream_is_a_fault() {
    let mut pair = against(Script::polite().on_up(ProtocolId(0), hello_bytes(&hello())), config());
    pair.run_until(at(500));
    assert_eq!(blames(&pair), [Blame::Misbehaved]);
    assert_eq!(pair.a.ends.get(&pair.a.keys[&1].stream), Some(&Some(2)));
}

#[test]
fn a_control_stream_of_the_listener_is_a_fault() {
    let mut pair = Pair::new(node(1, config()), Script::polite(), (id(1), id(2)), Pipe::default(), 1);
    pair.run_until(at(500));
    assert_eq!(
        pair.faults.iter().map(|(end, fault)| (*end, fault.blame)).collect::<Vec<_>>(),
        [(End::A, Blame::Misbehaved)]
    );
}

#[test]
fn an_end_without_goodbye_is_a_fault_and_one_after_it_is_none() {
    let mut pair = after_hello(Bytes::new());
    pair.a.finish(0);
    pair.run_until(at(7_500));
    assert_eq!(blames(&pair), [], "its link may be ending, and tell why");
    pair.run_until(at(7_600));
    assert_eq!(blames(&pair), [Blame::Misbehaved]);
    assert_eq!(pair.closed.map(|closed| closed.1), Some(Goodbye::Fault));
    let mut pair = after_hello(message(10, &[0]));
    pair.a.finish(0);
    pair.run_until(at(7_000));
    assert!(pair.closed.is_none(), "who said goodbye closes");
    pair.run_until(at(7_100));
    assert_eq!((blames(&pair), pair.closed.map(|c| c.1)), (vec![], Some(Goodbye::Shutdown)));
}

#[test]
fn a_peer_that_takes_no_more_control_without_goodbye_is_at_fault() {
    let mut pair = after_hello(Bytes::new());
    pair.a.ask(weir_base::stream::Ask::Stop(pair.a.keys[&0], 0));
    pair.run_until(at(7_500));
    assert_eq!(blames(&pair), []);
    pair.run_until(at(7_600));
    assert_eq!(blames(&pair), [Blame::Misbehaved]);
    assert_eq!(pair.closed.map(|closed| closed.1), Some(Goodbye::Fault));
}

#[test]
fn a_link_that_ends_right_after_its_control_stream_blames_nobody() {
    for stop in [false, true] {
        let mut pair = after_hello(Bytes::new());
        if stop {
            pair.a.ask(weir_base::stream::Ask::Stop(pair.a.keys[&0], 0));
        } else {
            pair.a.finish(0);
        }
        pair.run_until(at(6_000));
        pair.a.ask(weir_base::stream::Ask::Close(pair.a.keys[&0].link, Goodbye::Duplicate));
        pair.run_until(at(20_000));
        assert_eq!((blames(&pair), pair.closed.map(|closed| closed.1)), (vec![], Some(Goodbye::Duplicate)));
    }
}

#[test]
fn a_message_begun_must_end_in_10_s_and_its_size_over_16_kb_a_second() {
    let whole = message(101, &[0; 8_000]);
    let mut pair = after_hello(whole.slice(..4_000)); // 10.5 s from when it began to arrive, 2.05 s
    pair.run_until(at(12_540));
    assert_eq!(blames(&pair), []);
    pair.run_until(at(12_570));
    assert_eq!(blames(&pair), [Blame::Unreliable]);
    let mut pair = after_hello(whole.slice(..4_000));
    pair.run_until(at(12_400));
    pair.a.write(0, whole.slice(4_000..));
    pair.run_until(at(14_000));
    assert_eq!(blames(&pair), []);
}

#[test]
fn hello_in_all_its_wrong_forms_is_a_fault() {
    type Change = fn(&mut weir_pull::control::codec::Hello);
    let changes: [Change; 8] = [
        |hello| hello.max_streams = 31,
        |hello| hello.agent = "x".repeat(65),
        |hello| hello.channels.reverse(),
        |hello| hello.channels[1].id = hello.channels[0].id,
        |hello| hello.channels[0].id = weir_pull::ChannelId(0),
        |hello| hello.channels[0].name = "Upper".into(),
        |hello| hello.channels = vec![hello.channels[0].clone(); 65],
        |hello| hello.preamble.oldest = 2,
    ];
    for change in changes {
        let mut wrong = hello();
        change(&mut wrong);
        let mut pair = against(Script::saying(hello_bytes(&wrong)), config());
        pair.run_until(at(500));
        assert_eq!(blames(&pair), [Blame::Misbehaved], "{wrong:?}");
    }
}

#[test]
fn extensions_of_hello_follow_the_rule_of_odd_and_even() {
    for (kind, expected) in [(9, None), (8, Some(Blame::Incompatible))] {
        let mut fields = bytes::BytesMut::new();
        hello().encode(&mut fields);
        fields.extend_from_slice(&[kind, 2, 1, 2]);
        let mut pair = against(Script::saying(message(0, &fields)), config());
        pair.run_until(at(500));
        assert_eq!(blames(&pair).first().copied(), expected);
        assert_eq!(is_ready(&events(&mut pair.b)), expected.is_none());
    }
}
