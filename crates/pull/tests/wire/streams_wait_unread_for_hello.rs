use weir_base::ProtocolId;
use weir_base::pair::{LINK, Pair, Pipe};
use weir_pull::{Event, call};

use crate::common::*;

fn call_message(request: &[u8]) -> bytes::Bytes {
    let mut fields = varint(9_000);
    fields.extend_from_slice(request);
    message(0, &fields)
}

#[test]
fn at_most_32_of_them_without_a_fault_and_are_served_after_it() {
    let mut script = Script::default();
    for _ in 0..40 {
        script.open(CALL.protocol(0), call_message(b"early"));
    }
    let mut pair = against(script, config());
    pair.run_until(at(4_000));
    assert!(calls(&mut pair.b).is_empty(), "read before hello");
    assert_eq!(pair.a.stopped.len(), 8);
    assert!(pair.a.stopped.values().all(|code| *code == 4));
    pair.a.open(ProtocolId(0), hello_bytes(&hello()));
    pair.run_until(at(5_000));
    let served =
        calls(&mut pair.b).into_iter().filter(|event| matches!(event, call::Event::Request { .. })).count();
    assert_eq!((served, pair.faults.len()), (32, 0));
    assert!(pair.closed.is_none());
}

#[test]
fn a_stream_that_ends_before_hello_frees_its_place() {
    let mut script = Script::default();
    let tags: Vec<u64> = (0..32).map(|_| script.open(CALL.protocol(0), call_message(b"early"))).collect();
    let mut pair = against(script, config());
    pair.run_until(at(100));
    for tag in tags {
        let key = pair.a.keys[&tag];
        pair.a.ask(weir_base::stream::Ask::Stop(key, 0));
        pair.a.ask(weir_base::stream::Ask::Reset(key, 0));
    }
    pair.run_until(at(300));
    pair.a.open(CALL.protocol(0), call_message(b"late"));
    pair.a.open(ProtocolId(0), hello_bytes(&hello()));
    pair.run_until(at(1_000));
    assert_eq!(calls(&mut pair.b).len(), 1);
    assert_eq!(pair.faults, []);
}

#[test]
fn a_hello_that_does_not_come_in_5_s_ends_the_part_of_pull_in_the_link() {
    let mut script = Script::default();
    script.open(CALL.protocol(0), call_message(b"early"));
    let mut pair = against(script, config());
    pair.run_until(at(4_999));
    assert!(events(&mut pair.b).is_empty());
    pair.run_until(at(5_200));
    let told = events(&mut pair.b);
    assert!(matches!(told[..], [Event::NoHello { link: LINK }]), "{told:?}");
    assert_eq!(pair.a.stopped.len(), 2, "the stream that waited and the node's own are broken off");
    // What comes late finds nobody, and whether the link stays is for others to say.
    pair.a.open(ProtocolId(0), hello_bytes(&hello()));
    pair.run_until(at(6_000));
    assert_eq!(pair.a.stopped.len(), 3);
    assert_eq!((pair.closed, pair.faults.len()), (None, 0));
}

/// A libp2p node refuses the name of control and resets the stream with a code of its own, which can overtake the refusal.
#[test]
fn a_control_stream_that_is_reset_before_hello_is_refused_and_nobody_is_blamed() {
    for code in [0, 1, 7, u32::MAX] {
        // The side that connected opens control: here the node.
        let mut pair = Pair::new(node(2, config()), Script::default(), (id(2), id(1)), Pipe::default(), 1);
        pair.run_until(at(100));
        let control = pair.b.theirs.iter().find(|(of, _)| *of == ProtocolId(0)).unwrap().1;
        pair.b.ask(weir_base::stream::Ask::Reset(control, code));
        pair.run_until(at(200));
        let told = events(&mut pair.a);
        assert!(matches!(told[..], [Event::NoHello { link: LINK }]), "{code}: {told:?}");
        pair.run_until(at(20_000));
        assert_eq!((pair.closed, pair.faults.len()), (None, 0), "{code}");
    }
}

/// Over QUIC such a node stops the stream, too, and the stop can be read first. Whether the refusal follows or not, nobody is blamed.
#[test]
fn a_control_stream_stopped_before_hello_waits_for_a_refusal_or_the_hello_timeout() {
    for (refusal, told_at) in [(Some(at(1_000)), at(1_100)), (None, at(5_100))] {
        let mut pair = Pair::new(node(2, config()), Script::default(), (id(2), id(1)), Pipe::default(), 1);
        pair.run_until(at(100));
        let control = pair.b.theirs.iter().find(|(of, _)| *of == ProtocolId(0)).unwrap().1;
        pair.b.ask(weir_base::stream::Ask::Stop(control, 0));
        pair.run_until(refusal.unwrap_or(at(4_900)));
        assert!(events(&mut pair.a).is_empty(), "the stop alone says nothing");
        if refusal.is_some() {
            pair.b.ask(weir_base::stream::Ask::Reset(control, 7));
        }
        pair.run_until(told_at);
        let told = events(&mut pair.a);
        assert!(matches!(told[..], [Event::NoHello { link: LINK }]), "{told:?}");
        pair.run_until(at(20_000));
        assert_eq!((pair.closed, pair.faults.len()), (None, 0));
    }
}

#[test]
fn this_side_opens_no_more_than_32_itself_and_the_rest_after_hello() {
    let mut pair = two(config(), config(), Pipe::default(), 1);
    for _ in 0..50 {
        request(&mut pair.a, at(0), "early").unwrap();
    }
    pair.run_until(at(60));
    let early = calls(&mut pair.b).len();
    assert_eq!(early, 30, "32 less control and tip");
    pair.run_until(at(300));
    assert_eq!(calls(&mut pair.b).len(), 20);
    assert_eq!(pair.faults, []);
}

#[test]
fn a_stream_of_an_unknown_channel_or_lane_is_broken_off_without_a_fault() {
    let mut script = Script::polite();
    let unknown = script.open(weir_pull::ChannelId(77).protocol(0), &b"?"[..]);
    let beyond = script.open(ProtocolId(u32::MAX), &b"?"[..]);
    let call = script.open(CALL.protocol(3), &b"?"[..]);
    let tip = script.open(TIP.protocol(1), &b"?"[..]);
    let control = script.open(weir_pull::ChannelId::CONTROL.protocol(2), &b"?"[..]);
    let mut pair = against(script, config());
    pair.run_until(at(1_000));
    for tag in [unknown, beyond, call, tip, control] {
        assert_eq!(pair.a.stopped.get(&pair.a.keys[&tag].stream), Some(&1));
    }
    assert_eq!(pair.faults, []);
}

#[test]
fn streams_of_a_channel_that_is_not_shared_are_broken_off_without_a_fault() {
    let mut theirs = hello();
    theirs.channels.retain(|channel| channel.id != CALL);
    let mut script = Script::default();
    let early = script.open(CALL.protocol(0), call_message(b"early"));
    let mut pair = against(script, config());
    pair.run_until(at(1_000));
    assert!(pair.a.stopped.is_empty(), "it waits");
    pair.a.open(ProtocolId(0), hello_bytes(&theirs));
    pair.run_until(at(2_000));
    let late = pair.a.open(CALL.protocol(0), call_message(b"late"));
    pair.run_until(at(3_000));
    for tag in [early, late] {
        let stream = pair.a.keys[&tag].stream;
        assert_eq!((pair.a.stopped.get(&stream), pair.a.ends.get(&stream)), (Some(&1), Some(&Some(1))));
    }
    assert_eq!((calls(&mut pair.b), pair.faults.len()), (vec![], 0));
}
