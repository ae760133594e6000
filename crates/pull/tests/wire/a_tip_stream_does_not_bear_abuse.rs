use bytes::Bytes;
use weir_base::pair::Pair;
use weir_base::{Blame, ProtocolId};
use weir_pull::tip::Verdict;
use weir_pull::{Pull, tip};

use crate::common::*;

const LANE: ProtocolId = TIP.protocol(0);

fn blames(pair: &Pair<Script, Pull>) -> Vec<Blame> {
    pair.faults.iter().map(|(_, fault)| fault.blame).collect()
}

/// The peer answers the node's permit with these, one after each verdict.
fn serve(replies: &[Bytes]) -> Pair<Script, Pull> {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(300));
    for reply in replies {
        pair.a.reply(LANE, reply.clone());
        pair.run_for(secs(1));
        for (ticket, _) in received(&mut pair.b) {
            decide(&mut pair.b, pair.now, ticket, Verdict::Ignore).unwrap();
        }
        pair.run_for(secs(1));
    }
    pair
}

#[test]
fn a_value_that_was_not_asked_for_is_a_fault() {
    let two = [message(2, b"one"), message(2, b"two")];
    assert_eq!(blames(&serve(&two)), []);
    assert_eq!(blames(&serve(&[Bytes::from(two.concat())])), [Blame::Misbehaved]);
}

#[test]
fn the_same_value_twice_in_a_row_is_a_fault() {
    let [one, two, back] = [message(2, b"one"), message(2, b"two"), message(6, b"")];
    assert_eq!(blames(&serve(&[one.clone(), two, one.clone()])), []);
    assert_eq!(blames(&serve(&[one.clone(), one.clone()])), [Blame::Misbehaved]);
    assert_eq!(blames(&serve(&[one.clone(), back.clone(), one])), []);
    assert_eq!(blames(&serve(&[message(4, b"e"), message(2, b"e"), message(4, b"e")])), [Blame::Misbehaved]);
    assert_eq!(blames(&serve(&[back])), [Blame::Misbehaved], "there was none to take back");
}

#[test]
fn values_that_are_empty_too_large_or_of_an_unknown_even_type_are_faults() {
    assert_eq!(blames(&serve(&[message(2, &[1; 1024])])), []);
    for bad in [message(2, b""), message(2, &[1; 1025]), message(6, b"x"), Bytes::from_static(&[0])] {
        assert_eq!(blames(&serve(&[bad])), [Blame::Misbehaved]);
    }
    assert_eq!(blames(&serve(&[message(2, b"one"), message(6, b"x")])), [Blame::Misbehaved]);
    assert_eq!(blames(&serve(&[message(8, b"x")])), [Blame::Incompatible]);
    let pair = serve(&[message(9, b"x"), message(2, b"one")]);
    assert_eq!(blames(&pair), []);
}

/// The peer tells so many values, each as soon as it may.
fn tell(pair: &mut Pair<Script, Pull>, values: std::ops::Range<u8>) {
    for value in values {
        pair.a.reply(LANE, message(2, &[value]));
        pair.run_for(std::time::Duration::from_millis(60));
        for (ticket, _) in received(&mut pair.b) {
            decide(&mut pair.b, pair.now, ticket, Verdict::Ignore).unwrap();
        }
        pair.run_for(std::time::Duration::from_millis(60));
    }
}

#[test]
fn more_values_than_the_rate_allows_are_a_fault() {
    let mut slow = config();
    *tip_config(&mut slow) = tip::Config { rate: 1, burst: 2, ..tip::Config::default() };
    let mut pair = against(Script::polite(), slow);
    pair.run_until(at(300));
    for round in 0..5_u8 {
        assert_eq!(blames(&pair), [], "{round}");
        tell(&mut pair, round..round + 1);
    }
    assert_eq!(blames(&pair), [Blame::Misbehaved]);
}

#[test]
fn a_new_stream_does_not_renew_the_rate() {
    let mut slow = config();
    *tip_config(&mut slow) = tip::Config { rate: 1, burst: 10, ..tip::Config::default() };
    let mut pair = against(Script::polite(), slow);
    pair.run_until(at(300));
    tell(&mut pair, 0..18); // of 20 at once
    let key = pair.a.theirs.iter().rfind(|(of, _)| *of == LANE).unwrap().1;
    pair.a.ask(weir_base::stream::Ask::Stop(key, 0));
    pair.a.ask(weir_base::stream::Ask::Reset(key, 0));
    pair.run_for(secs(11)); // 13 more in all; another stream after 10 s
    tell(&mut pair, 20..30);
    assert_eq!(blames(&pair), []);
    tell(&mut pair, 30..39);
    assert_eq!(blames(&pair), [Blame::Misbehaved]);
}

/// The peer wants the node's tips in these words; the node has one.
fn want(words: &[Bytes]) -> (Pair<Script, Pull>, Vec<(u64, Bytes)>) {
    let mut script = Script::polite();
    let stream = script.open(LANE, Bytes::new());
    let mut pair = against(script, config());
    publish(&mut pair.b, at(0), "one", 1).unwrap();
    pair.run_until(at(300));
    for word in words {
        pair.a.write(stream, word.clone());
        pair.run_for(secs(1));
    }
    let heard = messages(&pair.a.heard(stream));
    (pair, heard)
}

#[test]
fn a_permit_that_does_not_follow_from_what_was_sent_is_a_fault() {
    let (pair, heard) = want(&[message(0, &[0]), message(0, &[1])]);
    assert_eq!((blames(&pair), heard), (vec![], vec![(2, "one".into())]));
    for wrong in [
        vec![message(0, &[1])],
        vec![message(0, &[0]), message(0, &[0])],
        vec![message(0, &[0]), message(0, &[2])],
        vec![message(0, &[0]), message(0, &[1]), message(0, &[1])],
        vec![message(0, &[])],
        vec![message(0, &[0, 0])],
        vec![message(0, &[0; 65])],
    ] {
        assert_eq!(blames(&want(&wrong).0), [Blame::Misbehaved], "{wrong:?}");
    }
    assert_eq!(blames(&want(&[message(2, b"x")]).0), [Blame::Incompatible]);
    assert_eq!(blames(&want(&[message(1, b"x"), message(0, &[0])]).0), []);
}

#[test]
fn messages_to_be_skipped_do_not_come_without_end_on_the_stream_of_permits() {
    for (count, faults) in [(16, vec![]), (18, vec![Blame::Misbehaved])] {
        let words = vec![message(0x1_0001, b"noise"); count].concat();
        let (pair, _) = want(&[words.into()]);
        assert_eq!(blames(&pair), faults, "{count} at once");
    }
}

#[test]
fn a_permit_begun_must_end_in_10_s() {
    let (mut pair, _) = want(&[message(0, &[0]).slice(..1)]);
    pair.run_until(at(10_300));
    assert_eq!(blames(&pair), []);
    pair.run_until(at(10_400));
    assert_eq!(blames(&pair), [Blame::Unreliable]);
}

#[test]
fn a_value_begun_must_end_in_10_s() {
    let mut pair = serve(&[message(2, b"one").slice(..2)]);
    pair.run_until(at(10_300));
    assert_eq!(blames(&pair), []);
    pair.run_until(at(10_400));
    assert_eq!(blames(&pair), [Blame::Unreliable]);
    pair.run_until(at(10_500));
    assert_eq!(pair.a.stopped.len(), 1);
}

#[test]
fn a_newer_stream_takes_the_place_of_the_older() {
    let mut script = Script::polite();
    let first = script.open(LANE, message(0, &[0]));
    let mut pair = against(script, config());
    pair.run_until(at(300));
    let second = pair.a.open(LANE, message(0, &[0]));
    pair.run_for(secs(1));
    publish(&mut pair.b, pair.now, "one", 1).unwrap();
    pair.run_for(secs(1));
    assert_eq!(pair.a.ends.get(&pair.a.keys[&first].stream), Some(&Some(5)));
    assert_eq!(messages(&pair.a.heard(second)), [(2, "one".into())]);
    assert_eq!(blames(&pair), []);
}
