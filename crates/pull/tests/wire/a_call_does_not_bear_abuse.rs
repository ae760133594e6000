use std::time::Duration;

use bytes::Bytes;
use weir_base::pair::{End, LINK, Pair, Pipe};
use weir_base::stream::Ask;
use weir_base::{Blame, ProtocolId};
use weir_pull::call::{CallError, Event};
use weir_pull::{Command, Pull, call};

use crate::common::*;

const LANE: ProtocolId = CALL.protocol(0);

fn blames(pair: &Pair<Script, Pull>) -> Vec<Blame> {
    pair.faults.iter().map(|(end, fault)| if *end == End::B { fault.blame } else { panic!() }).collect()
}

fn asking(body: &[u8]) -> Bytes {
    message(0, &[&varint(5_000), body].concat())
}

/// The peer asks in these words, then ends its direction if told so.
fn ask(words: impl Into<Bytes>, ending: bool) -> (Pair<Script, Pull>, u64) {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(1_000));
    let tag = pair.a.open(LANE, words);
    pair.settle();
    if ending {
        pair.a.finish(tag);
    }
    pair.run_until(at(2_000));
    (pair, tag)
}

/// The node asks; the peer answers in these words, then ends its direction.
fn reply(words: impl Into<Bytes>) -> (Pair<Script, Pull>, Vec<Event>) {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(1_000));
    request(&mut pair.b, pair.now, "ping").unwrap();
    pair.run_until(at(1_500));
    pair.a.reply(LANE, words);
    let key = pair.a.theirs.iter().rfind(|(of, _)| *of == LANE).unwrap().1;
    pair.run_until(at(2_000));
    pair.a.ask(Ask::Finish(key));
    pair.run_until(at(3_000));
    let events = calls(&mut pair.b);
    (pair, events)
}

#[test]
fn a_request_in_a_wrong_form_is_a_fault() {
    let (mut pair, _) = ask([message(7, b"skip"), asking(b"ping")].concat(), true);
    assert_eq!((blames(&pair), calls(&mut pair.b).len()), (vec![], 1));
    let mut zero = varint(0);
    zero.push(1);
    let mut long = varint(3_600_001);
    long.push(1);
    for bad in [
        message(0, &zero),
        message(0, &long),
        message(0, b""),
        Bytes::from_static(&[0]),
        Bytes::from([asking(b"ping"), Bytes::from_static(b"!")].concat()),
        Bytes::from([vec![message(7, b""); 5].concat(), asking(b"ping").to_vec()].concat()),
        asking(b"ping").slice(..5),
        Bytes::new(),
    ] {
        let (pair, tag) = ask(bad.clone(), true);
        assert_eq!(blames(&pair), [Blame::Misbehaved], "{bad:?}");
        assert_eq!(pair.a.ends.get(&pair.a.keys[&tag].stream), Some(&Some(2)), "{bad:?}");
    }
    assert_eq!(blames(&ask(message(4, b"new"), true).0), [Blame::Incompatible]);
}

#[test]
fn bytes_after_the_request_cancel_it() {
    let (mut pair, tag) = ask(asking(b"ping"), false);
    assert!(matches!(calls(&mut pair.b)[..], [Event::Request { .. }]));
    pair.a.write(tag, &b"!"[..]);
    pair.run_for(secs(1));
    assert!(matches!(calls(&mut pair.b)[..], [Event::Cancelled { .. }]));
    assert_eq!(blames(&pair), [Blame::Misbehaved]);
}

#[test]
fn a_request_must_come_whole_within_its_time() {
    for (words, faults) in [(Bytes::new(), vec![]), (asking(b"ping").slice(..3), vec![Blame::Unreliable])] {
        let (mut pair, tag) = ask(words, false);
        let stream = pair.a.keys[&tag].stream;
        pair.run_until(at(11_040));
        assert_eq!((blames(&pair), pair.a.stopped.get(&stream)), (vec![], None));
        pair.run_until(at(11_200));
        // a request of which nothing came was not begun
        assert_eq!((blames(&pair), pair.a.stopped.get(&stream)), (faults, Some(&3)));
    }
}

#[test]
fn a_request_is_late_whatever_its_link_moves_besides() {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(1_000));
    let request = asking(&vec![7; 60_000]);
    pair.a.open(LANE, request.slice(..100));
    for _ in 0..4 {
        pair.run_for(secs(1));
        pair.a.open(LANE, request.clone());
    }
    pair.run_until(at(14_500)); // 10 s, and 3.75 s for its 60,000 bytes
    assert_eq!(blames(&pair), []);
    pair.run_until(at(15_000));
    assert_eq!(blames(&pair), [Blame::Unreliable]);
}

#[test]
fn a_request_longer_than_the_limit_is_not_read() {
    let mut length = varint(65_536 + 17);
    length.push(0);
    let (pair, tag) = ask(length, false);
    assert_eq!(pair.a.stopped.get(&pair.a.keys[&tag].stream), Some(&6));
    assert_eq!(blames(&pair), []);
}

#[test]
fn an_answer_in_a_wrong_form_is_a_fault_and_ends_the_call() {
    let (pair, events) = reply([message(9, b"skip"), message(0, b"pong")].concat());
    assert_eq!(blames(&pair), []);
    assert!(matches!(&events[..], [Event::Response { result: Ok(pong), .. }] if pong == "pong"));
    for bad in [
        Bytes::new(),
        Bytes::from_static(&[0]),
        message(0, b"pong").slice(..3),
        message(2, b""),
        message(2, &[1, 1]),
        message(2, &varint(3_600_001)),
        Bytes::from([message(0, b"pong"), Bytes::from_static(b"!")].concat()),
        Bytes::from([vec![message(9, b""); 5].concat(), message(0, b"pong").to_vec()].concat()),
    ] {
        let (pair, events) = reply(bad.clone());
        assert_eq!(blames(&pair), [Blame::Misbehaved], "{bad:?}");
        assert!(matches!(events[..], [Event::Response { .. }]), "{bad:?} {events:?}");
    }
    let (pair, events) = reply(message(4, b"new"));
    assert_eq!(blames(&pair), [Blame::Incompatible]);
    assert!(matches!(events[..], [Event::Response { result: Err(CallError::Malformed), .. }]));
}

#[test]
fn an_answer_before_the_request_is_written_ends_it() {
    let pipe = Pipe { window: 300, ..Pipe::default() };
    let mut pair = Pair::new(Script::polite(), node(2, config()), (id(1), id(2)), pipe, 1);
    pair.run_until(at(1_000));
    request(&mut pair.b, pair.now, vec![0; 60_000]).unwrap(); // 20 s, at a window a round trip
    pair.run_until(at(1_500));
    pair.a.reply(LANE, message(0, b"no need"));
    let stream = pair.a.theirs.iter().rfind(|(of, _)| *of == LANE).unwrap().1.stream;
    pair.run_until(at(2_000));
    assert!(matches!(calls(&mut pair.b)[..], [Event::Response { result: Ok(_), .. }]));
    assert_eq!((pair.a.ends.get(&stream), blames(&pair)), (Some(&Some(0)), vec![]));
}

#[test]
fn an_answer_longer_than_the_limit_is_a_fault_before_it_arrives() {
    for (over, faults) in [(0, vec![]), (1, vec![Blame::Misbehaved])] {
        let mut pair = against(Script::polite(), config());
        pair.run_until(at(1_000));
        request(&mut pair.b, pair.now, "ping").unwrap();
        pair.run_until(at(1_500));
        pair.a.reply(LANE, [varint(1_048_576 + 16 + over), varint(0)].concat());
        pair.run_until(at(2_000));
        assert_eq!((blames(&pair), calls(&mut pair.b).len()), (faults.clone(), faults.len()));
    }
}

#[test]
fn bytes_after_the_answer_are_a_fault_even_if_they_come_later() {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(1_000));
    request(&mut pair.b, pair.now, "ping").unwrap();
    pair.run_until(at(1_500));
    pair.a.reply(LANE, message(0, b"pong"));
    pair.run_until(at(2_000));
    assert_eq!((blames(&pair), calls(&mut pair.b).len()), (vec![], 1));
    pair.a.reply(LANE, &b"!"[..]);
    pair.run_until(at(2_500));
    assert_eq!((blames(&pair), calls(&mut pair.b).len()), (vec![Blame::Misbehaved], 0));
}

#[test]
fn an_answer_whose_stream_never_ends_is_stopped() {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(1_000));
    request(&mut pair.b, pair.now, "ping").unwrap();
    pair.run_until(at(1_500));
    pair.a.reply(LANE, message(0, b"pong"));
    pair.run_until(at(2_000));
    assert_eq!(calls(&mut pair.b).len(), 1);
    let stream = pair.a.theirs.iter().rfind(|(of, _)| *of == LANE).unwrap().1.stream;
    pair.run_until(at(11_500));
    assert!(!pair.a.stopped.contains_key(&stream));
    pair.run_until(at(12_000));
    assert_eq!((pair.a.stopped.get(&stream), blames(&pair)), (Some(&3), vec![]));
}

#[test]
fn an_answer_that_is_not_taken_is_given_up() {
    let mut script = Script::polite();
    script.deaf = true;
    let pipe = Pipe { window: 1_000, ..Pipe::default() };
    let mut limits = config();
    limits.control.idle_timeout = secs(500);
    let mut pair = Pair::new(script, node(2, limits), (id(1), id(2)), pipe, 1);
    pair.a.open(LANE, asking(b"ping"));
    pair.run_until(at(1_000));
    let Event::Request { ticket, .. } = calls(&mut pair.b).remove(0) else { panic!() };
    answer(&mut pair.b, pair.now, ticket, Ok(vec![0; 160_000].into())).unwrap();
    pair.run_until(at(20_900)); // 10 s, and 10 s for 160 kB
    assert!(pair.a.stopped.is_empty());
    pair.run_until(at(21_200));
    assert_eq!(pair.a.stopped.values().collect::<Vec<_>>(), [&3]);
    assert_eq!(blames(&pair), []);
}

#[test]
fn streams_far_beyond_the_limit_are_reset() {
    let mut limits = config();
    call_config(&mut limits).concurrency = 2;
    let mut script = Script::polite();
    script.deaf = true;
    let pipe = Pipe { delay: Duration::from_millis(1), window: 2, ..Pipe::default() };
    let mut pair = Pair::new(script, node(2, limits), (id(1), id(2)), pipe, 1);
    pair.run_until(at(1_000));
    for _ in 0..20 {
        pair.a.open(LANE, Bytes::new());
    }
    pair.run_until(at(1_500));
    assert_eq!(
        pair.a.ends.values().collect::<Vec<_>>(),
        [&Some(4); 8],
        "2 wait for requests, 10 for their refusal"
    );
    assert_eq!(pair.a.stopped.len(), 18);
    assert_eq!(blames(&pair), []);
}

#[test]
fn a_server_that_never_answers_is_left_at_the_callers_deadline() {
    let mut limits = config();
    call_config(&mut limits).deadline = secs(4);
    let mut pair = against(Script::polite(), limits);
    pair.run_until(at(1_000));
    let call = |deadline| call::Command::Call { link: LINK, request: "ping".into(), deadline };
    let short = pair.b.command(pair.now, Command::Call(CALL, call(Some(secs(2))))).unwrap();
    let long = pair.b.command(pair.now, Command::Call(CALL, call(Some(secs(900))))).unwrap();
    let timeout = |ticket| Event::Response { ticket, result: Err(CallError::Timeout) };
    pair.run_until(at(2_999));
    assert_eq!(calls(&mut pair.b), []);
    pair.run_until(at(3_001));
    assert_eq!(calls(&mut pair.b), [timeout(short)]);
    pair.run_until(at(4_999));
    assert_eq!(calls(&mut pair.b), []);
    pair.run_until(at(5_100));
    assert_eq!(calls(&mut pair.b), [timeout(long)]);
    assert_eq!((pair.a.stopped.values().collect::<Vec<_>>(), blames(&pair)), (vec![&3, &3], vec![]));
}
