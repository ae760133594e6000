use std::time::Duration;

use weir_base::pair::{LINK, Pair, Pipe};
use weir_base::stream::Ask;
use weir_base::{Blame, UnixTime};
use weir_pull::tip::{Event, Grounds, Verdict};
use weir_pull::{Command, Pull, Refused, tip};

use crate::common::*;

fn up() -> Pair<Pull, Pull> {
    let mut pair = two(config(), config(), Pipe::default(), 1);
    pair.run_until(at(300));
    pair
}

fn withdraw(pull: &mut Pull, now: weir_base::Instant) {
    pull.command(now, Command::Tip(TIP, tip::Command::Withdraw)).unwrap();
}

fn values(pull: &mut Pull) -> Vec<bytes::Bytes> {
    received(pull).into_iter().map(|(_, value)| value).collect()
}

#[test]
fn within_one_trip_and_the_first_flight_already_carries_the_permit() {
    let mut pair = two(config(), config(), Pipe::default(), 1);
    publish(&mut pair.b, at(0), "one", 1).unwrap();
    pair.run_until(at(100));
    assert_eq!(values(&mut pair.a), ["one"]);
}

#[test]
fn the_next_one_only_after_the_verdict_and_what_was_replaced_is_never_sent() {
    let mut pair = up();
    publish(&mut pair.a, pair.now, "one", 1).unwrap();
    pair.run_for(secs(1));
    let (ticket, one) = received(&mut pair.b).remove(0);
    assert_eq!(one, "one");
    for (value, slot) in [("two", 2), ("three", 3), ("four", 4)] {
        publish(&mut pair.a, pair.now, value, slot).unwrap();
        pair.run_for(secs(1));
    }
    assert!(tips(&mut pair.b).is_empty(), "no permit was given");
    decide(&mut pair.b, pair.now, ticket, Verdict::Ignore).unwrap();
    assert_eq!(decide(&mut pair.b, pair.now, ticket, Verdict::Ignore), Err(Refused::UnknownTicket));
    pair.run_for(secs(1));
    assert_eq!(values(&mut pair.b), ["four"]);
    assert_eq!(pair.faults, []);
}

#[test]
fn an_adopted_tip_does_not_go_back_to_where_it_came_from() {
    let mut pair = up();
    publish(&mut pair.a, pair.now, "one", 1).unwrap();
    pair.run_for(secs(1));
    let (ticket, _) = received(&mut pair.b).remove(0);
    decide(&mut pair.b, pair.now, ticket, Verdict::Adopt(grounds(1))).unwrap();
    pair.run_for(secs(1));
    assert!(tips(&mut pair.a).is_empty());
    publish(&mut pair.b, pair.now, "two", 2).unwrap();
    pair.run_for(secs(1));
    assert_eq!(values(&mut pair.a), ["two"]);
    assert!(tips(&mut pair.b).is_empty(), "its own tip has not changed");
}

#[test]
fn a_tip_that_goes_back_is_sent_and_no_fault() {
    let mut pair = up();
    for value in ["one", "two", "one", "two"] {
        publish(&mut pair.a, pair.now, value, if value == "one" { 1 } else { 2 }).unwrap();
        pair.run_for(secs(1));
        let (ticket, got) = received(&mut pair.b).remove(0);
        assert_eq!(got, value);
        decide(&mut pair.b, pair.now, ticket, Verdict::Ignore).unwrap();
        pair.run_for(secs(1));
    }
    assert_eq!(pair.faults, []);
}

#[test]
fn a_withdrawn_tip_is_taken_back_where_it_was_sent() {
    let mut pair = up();
    publish(&mut pair.a, pair.now, "one", 1).unwrap();
    pair.run_for(secs(1));
    let (ticket, value) = received(&mut pair.b).remove(0);
    withdraw(&mut pair.a, pair.now);
    decide(&mut pair.b, pair.now, ticket, Verdict::Ignore).unwrap();
    pair.run_for(secs(1));
    assert_eq!(tips(&mut pair.b), [Event::Withdrawn { link: LINK, peer: id(1), value }]);
    publish(&mut pair.a, pair.now, "one", 1).unwrap();
    pair.run_for(secs(1));
    assert_eq!(values(&mut pair.b), ["one"], "after it was taken back it may come again");
    assert_eq!(pair.faults, []);
}

#[test]
fn a_withdrawal_that_a_new_tip_overtakes_is_not_sent() {
    let mut pair = up();
    publish(&mut pair.a, pair.now, "one", 1).unwrap();
    pair.run_for(secs(1));
    let (ticket, _) = received(&mut pair.b).remove(0);
    withdraw(&mut pair.a, pair.now);
    publish(&mut pair.a, pair.now, "two", 2).unwrap();
    decide(&mut pair.b, pair.now, ticket, Verdict::Ignore).unwrap();
    pair.run_for(secs(1));
    assert_eq!(values(&mut pair.b), ["two"]);
}

#[test]
fn of_one_slot_two_values_are_relayed_the_second_as_evidence() {
    let mut pair = up();
    publish(&mut pair.a, pair.now, "one", 1).unwrap();
    pair.run_for(secs(1));
    let (ticket, _) = received(&mut pair.b).remove(0);
    decide(&mut pair.b, pair.now, ticket, Verdict::Adopt(grounds(1))).unwrap();
    publish(&mut pair.a, pair.now, "two", 1).unwrap();
    assert_eq!(publish(&mut pair.a, pair.now, "three", 1), Err(Refused::SlotTaken));
    pair.run_for(secs(1));
    let (ticket, two) = received(&mut pair.b).remove(0);
    assert_eq!(two, "two");
    decide(&mut pair.b, pair.now, ticket, Verdict::Evidence(grounds(1))).unwrap();
    pair.run_for(secs(1));
    assert!(tips(&mut pair.a).is_empty(), "it came from there");
    assert_eq!(pair.faults, []);
}

#[test]
fn evidence_goes_on_to_others_as_such_and_the_tip_stays() {
    let mut script = Script::polite();
    let stream = script.open(TIP.protocol(0), message(0, &[0]));
    let mut pair = against(script, config());
    pair.run_until(at(300));
    publish(&mut pair.b, pair.now, "one", 1).unwrap();
    pair.run_for(secs(1));
    pair.a.write(stream, message(0, &[1]));
    for value in ["two", "three"] {
        pair.a.reply(TIP.protocol(0), message(2, value.as_bytes()));
        pair.run_for(secs(1));
        let (ticket, _) = received(&mut pair.b).remove(0);
        decide(&mut pair.b, pair.now, ticket, Verdict::Evidence(grounds(1))).unwrap();
        pair.run_for(secs(1));
    }
    assert_eq!(messages(&pair.a.heard(stream)), [(2, "one".into())], "the peer has it: it sent it");
    publish(&mut pair.b, pair.now, "four", 4).unwrap();
    pair.run_for(secs(1));
    assert_eq!(messages(&pair.a.heard(stream)).len(), 2);
    assert_eq!(pair.faults, []);
}

#[test]
fn a_value_whose_ancestors_are_not_validated_is_kept_back() {
    let mut pair = up();
    let command = |unvalidated| {
        let grounds = Grounds { unvalidated, ..grounds(1) };
        Command::Tip(TIP, tip::Command::Publish { value: "one".into(), grounds })
    };
    assert_eq!(pair.a.command(pair.now, command(3)), Err(Refused::Unvalidated));
    pair.run_for(secs(1));
    assert!(tips(&mut pair.b).is_empty());
    pair.a.command(pair.now, command(2)).unwrap();
    pair.run_for(secs(1));
    assert_eq!(tips(&mut pair.b).len(), 1);
}

#[test]
fn a_value_is_not_sent_before_its_slot_begins() {
    let mut pair = up();
    let grounds = Grounds { begins: Some(UnixTime::from_millis(20_000)), ..grounds(1) };
    pair.a
        .command(pair.now, Command::Tip(TIP, tip::Command::Publish { value: "one".into(), grounds }))
        .unwrap();
    pair.a.handle_wall(pair.now, UnixTime::from_millis(17_000));
    pair.run_for(Duration::from_millis(2_540));
    assert!(tips(&mut pair.b).is_empty());
    pair.run_for(Duration::from_millis(20));
    assert_eq!(values(&mut pair.b), ["one"], "half a second before, and one trip");
}

#[test]
fn a_rejected_value_is_the_peers_fault() {
    let mut pair = up();
    publish(&mut pair.a, pair.now, "one", 1).unwrap();
    pair.run_for(secs(1));
    let (ticket, _) = received(&mut pair.b).remove(0);
    decide(&mut pair.b, pair.now, ticket, Verdict::Reject).unwrap();
    pair.run_for(secs(1));
    assert_eq!(pair.faults.iter().map(|(_, fault)| fault.blame).collect::<Vec<_>>(), [Blame::Invalid]);
}

#[test]
fn a_sender_keeps_within_its_rate() {
    let (mut slow, mut pair) = (config(), up());
    tip_config(&mut slow).rate = 2;
    tip_config(&mut slow).burst = 3;
    let mut limited = two(slow.clone(), slow, Pipe { delay: Duration::from_millis(1), ..Pipe::default() }, 1);
    limited.run_until(at(300));
    let mut got = 0;
    for round in 0..1_000_u32 {
        let name: &'static str = Box::leak(round.to_string().into_boxed_str());
        let mut key = grounds(0);
        key.slot.0[..4].copy_from_slice(&round.to_be_bytes());
        let command = tip::Command::Publish { value: name.into(), grounds: key };
        limited.a.command(limited.now, Command::Tip(TIP, command)).unwrap();
        limited.run_for(Duration::from_millis(10));
        for (ticket, _) in received(&mut limited.b) {
            got += 1;
            decide(&mut limited.b, limited.now, ticket, Verdict::Ignore).unwrap();
        }
    }
    assert!((20..=24).contains(&got), "{got} in 10 s");
    assert_eq!(limited.faults, []);
    assert_eq!(publish(&mut pair.a, at(0), "", 1), Err(Refused::Invalid));
    let large = tip::Command::Publish { value: vec![0; 1025].into(), grounds: grounds(1) };
    assert_eq!(pair.a.command(at(0), Command::Tip(TIP, large)), Err(Refused::TooLarge));
}

#[test]
fn a_stream_that_was_broken_off_is_opened_again_after_10_s() {
    let mut pair = up();
    let mut script = against(Script::polite(), config());
    script.run_until(at(300));
    let key = script.a.theirs[0].1;
    script.a.ask(Ask::Stop(key, 0));
    script.a.ask(Ask::Reset(key, 0));
    script.run_until(at(10_200));
    assert_eq!(script.a.theirs.len(), 1);
    script.run_until(at(11_000));
    assert_eq!(script.a.theirs.len(), 2);
    assert_eq!(messages(&script.a.heard_on(TIP.protocol(0))), [(0, bytes::Bytes::from_static(&[0]))]);
    script.a.ask(Ask::Reset(script.a.theirs[1].1, 1));
    script.run_until(at(44_000));
    assert_eq!(script.a.theirs.len(), 2, "the peer does not have the channel");
    assert_eq!(script.faults, []);
    pair.run_until(at(400));
}

#[test]
fn the_last_verdict_counts_even_where_the_link_is_gone() {
    let mut pair = up();
    publish(&mut pair.a, pair.now, "one", 1).unwrap();
    pair.run_for(secs(1));
    let (ticket, _) = received(&mut pair.b).remove(0);
    let goodbye =
        weir_pull::control::Command::Goodbye { link: LINK, reason: weir_base::stream::Goodbye::Asked };
    pair.b.command(pair.now, Command::Control(goodbye)).unwrap();
    pair.run_for(secs(1));
    decide(&mut pair.b, pair.now, ticket, Verdict::Reject).unwrap();
    pair.settle();
    let blamed: Vec<_> = pair.faults.iter().map(|(end, fault)| (*end, fault.blame)).collect();
    assert_eq!(blamed, [(weir_base::pair::End::B, weir_base::Blame::Invalid)], "who has left pays, too");
}

#[test]
fn a_peer_that_took_its_value_back_is_told_ours_though_it_is_the_same() {
    let lane = TIP.protocol(0);
    let mut script = Script::polite();
    let stream = script.open(lane, message(0, &[0]));
    let mut pair = against(script, config());
    pair.run_until(at(300));
    pair.a.reply(lane, message(2, b"one"));
    pair.run_for(secs(1));
    let (ticket, _) = received(&mut pair.b).remove(0);
    decide(&mut pair.b, pair.now, ticket, Verdict::Adopt(grounds(1))).unwrap();
    pair.run_for(secs(1));
    assert_eq!(messages(&pair.a.heard(stream)), [], "it came from there");
    pair.a.reply(lane, message(6, b""));
    pair.run_for(secs(1));
    assert_eq!(messages(&pair.a.heard(stream)), [(2, "one".into())]);
    assert_eq!(pair.faults, []);
}

#[test]
fn a_new_stream_does_not_renew_the_senders_rate() {
    for broken in [false, true] {
        let lane = TIP.protocol(0);
        let mut slow = config();
        *tip_config(&mut slow) = tip::Config { rate: 1, burst: 1, ..tip::Config::default() };
        let mut script = Script::polite();
        let first = script.open(lane, message(0, &[0]));
        let mut pair = against(script, slow);
        pair.run_until(at(300));
        publish(&mut pair.b, pair.now, "one", 1).unwrap(); // the next may go at 1.3 s
        pair.run_until(at(500));
        assert_eq!(messages(&pair.a.heard(first)).len(), 1);
        if broken {
            pair.a.ask(Ask::Stop(pair.a.keys[&first], 0));
            pair.a.ask(Ask::Reset(pair.a.keys[&first], 0));
            pair.run_until(at(600));
        }
        let second = pair.a.open(lane, message(0, &[0]));
        pair.run_until(at(800));
        publish(&mut pair.b, pair.now, "two", 2).unwrap();
        pair.run_until(at(1_300));
        assert_eq!(messages(&pair.a.heard(second)), []);
        pair.run_until(at(1_400));
        assert_eq!(messages(&pair.a.heard(second)), [(2, "two".into())]);
        assert_eq!(pair.faults, []);
    }
}

#[test]
fn a_value_larger_than_the_peer_takes_is_not_sent() {
    let mut theirs = hello();
    theirs.channels[0].max_answer = 3;
    let lane = TIP.protocol(0);
    let mut script = Script::saying(hello_bytes(&theirs));
    let stream = script.open(lane, message(0, &[0]));
    let mut pair = against(script, config());
    pair.run_until(at(300));
    publish(&mut pair.b, pair.now, "four", 1).unwrap();
    pair.run_for(secs(1));
    assert_eq!(messages(&pair.a.heard(stream)), []);
    publish(&mut pair.b, pair.now, "one", 2).unwrap();
    pair.run_for(secs(1));
    assert_eq!(messages(&pair.a.heard(stream)), [(2, "one".into())]);
    assert_eq!(pair.faults, []);
}
