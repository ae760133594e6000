use std::time::Duration;

use weir_base::pair::{LINK, Pipe};
use weir_base::stream::Goodbye;
use weir_base::{Blame, Instant};
use weir_pull::control::Service;
use weir_pull::{Command, Event, Pull, Refused, control};

use crate::common::*;

fn rtts(pull: &mut Pull) -> Vec<Duration> {
    let all = events(pull).into_iter();
    all.filter_map(|event| if let Event::Rtt { rtt, .. } = event { Some(rtt) } else { None }).collect()
}

fn kinds(script: &Script, kind: u64) -> usize {
    script.control().iter().filter(|(of, _)| *of == kind).count()
}

#[test]
fn the_round_trip_is_measured_right_after_hello_and_every_15_s() {
    let mut pair = two(config(), config(), Pipe::default(), 1);
    pair.run_until(at(300));
    assert_eq!(rtts(&mut pair.a), [Duration::from_millis(100)]);
    assert_eq!(rtts(&mut pair.b), [Duration::from_millis(100)]);
    pair.run_until(at(15_000));
    assert!(rtts(&mut pair.a).is_empty());
    pair.run_until(at(100_000));
    assert_eq!(rtts(&mut pair.a).len(), 6);
    assert_eq!((pair.closed, pair.faults.len()), (None, 0));
}

#[test]
fn a_ping_that_is_due_soon_goes_with_the_pong() {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(200));
    let first = pair.a.control().into_iter().find(|(kind, _)| *kind == 2).unwrap().1;
    pair.a.write(0, message(4, &first));
    pair.run_until(at(5_000));
    pair.a.write(0, message(2, &[1; 8])); // its own ping is 10 s away
    pair.run_until(at(10_000));
    assert_eq!((kinds(&pair.a, 4), kinds(&pair.a, 2)), (1, 1));
    pair.a.write(0, message(2, &[2; 8])); // 5 s
    pair.run_until(at(10_101));
    assert_eq!((kinds(&pair.a, 4), kinds(&pair.a, 2)), (2, 2));
}

#[test]
fn pings_go_out_at_full_seconds_so_that_many_links_share_a_wake_up() {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(230));
    let first = pair.a.control().into_iter().find(|(kind, _)| *kind == 2).unwrap().1;
    pair.a.write(0, message(4, &first)); // heard at 280 ms: 15 s later is 15,280 ms
    pair.run_until(at(16_049));
    assert_eq!(kinds(&pair.a, 2), 1);
    pair.run_until(at(16_051));
    assert_eq!(kinds(&pair.a, 2), 2);
}

#[test]
fn a_silent_peer_is_left_after_45_s_without_a_fault() {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(45_049));
    assert!(pair.closed.is_none());
    pair.run_until(at(45_051));
    assert_eq!(pair.closed.map(|closed| closed.1), Some(Goodbye::Idle));
    assert_eq!(pair.faults, []);
}

#[test]
fn a_peer_that_talks_and_never_answers_a_ping_is_left_after_45_s() {
    let mut pair = against(Script::polite(), config());
    for second in 1..45 {
        pair.run_until(at(second * 1_000));
        pair.a.write(0, message(0x1_0001, b"still here"));
    }
    assert!(pair.closed.is_none());
    pair.run_until(at(45_500));
    assert_eq!(pair.closed.map(|closed| closed.1), Some(Goodbye::Idle));
    let blames: Vec<Blame> = pair.faults.iter().map(|(_, fault)| fault.blame).collect();
    assert_eq!(blames, [Blame::Unreliable]);
}

#[test]
fn a_pong_that_answers_no_ping_is_a_fault() {
    for pong in [vec![9; 8], vec![9; 7]] {
        let mut pair = against(Script::polite(), config());
        pair.run_until(at(200));
        pair.a.write(0, message(4, &pong));
        pair.run_until(at(400));
        assert_eq!((pair.faults.len(), pair.closed.map(|closed| closed.1)), (1, Some(Goodbye::Fault)));
    }
}

#[test]
fn a_second_pong_to_one_ping_is_a_fault() {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(200));
    let nonce = pair.a.control().into_iter().find(|(kind, _)| *kind == 2).unwrap().1;
    pair.a.write(0, message(4, &nonce));
    pair.run_until(at(400));
    assert_eq!(pair.faults, []);
    pair.a.write(0, message(4, &nonce));
    pair.run_until(at(600));
    assert_eq!((pair.faults.len(), pair.closed.map(|closed| closed.1)), (1, Some(Goodbye::Fault)));
}

#[test]
fn pings_are_answered_and_no_more_than_four_pongs_are_kept() {
    let pipe = Pipe { piece: 1_000_000, ..Pipe::default() };
    let mut pair = weir_base::pair::Pair::new(Script::polite(), node(2, config()), (id(1), id(2)), pipe, 1);
    pair.run_until(at(200));
    let pings: Vec<_> = (0..20_u64).map(|nonce| message(2, &nonce.to_be_bytes())).collect();
    pair.a.write(0, pings.concat());
    pair.run_until(at(500));
    let pongs: Vec<_> =
        pair.a.control().into_iter().filter(|(kind, _)| *kind == 4).map(|(_, body)| body).collect();
    let expected: Vec<_> = (16..20_u64).map(|nonce| nonce.to_be_bytes().to_vec()).collect();
    assert!(pongs.iter().eq(&expected), "{pongs:?}");
    assert_eq!(pair.faults, []);
}

#[test]
fn services_are_told_when_they_change_and_not_faster_than_once_a_second() {
    let service =
        |payload: u32| Service { id: 7, version: 1, payload: payload.to_be_bytes().to_vec().into() };
    let mut pair = two(config(), config(), Pipe::default(), 1);
    pair.run_until(at(300));
    for round in 0..200 {
        let command = Command::Control(control::Command::Services(vec![service(round)]));
        pair.a.command(pair.now, command).unwrap();
        pair.run_for(Duration::from_millis(10));
    }
    pair.run_for(secs(2));
    let told: Vec<_> = events(&mut pair.b)
        .into_iter()
        .filter_map(|event| if let Event::Services { services, .. } = event { Some(services) } else { None })
        .collect();
    assert!((2..5).contains(&told.len()), "{}", told.len());
    assert_eq!(told.last(), Some(&vec![service(199)]));
    let too_many = (0..17).map(|id| Service { id, ..service(0) }).collect();
    let refused = pair.a.command(pair.now, Command::Control(control::Command::Services(too_many)));
    assert_eq!((refused, pair.faults.len()), (Err(Refused::Invalid), 0));
}

#[test]
fn the_short_id_key_changes_every_hour() {
    let mut calm = config();
    calm.control.idle_timeout = secs(100_000);
    let mut pair = against(Script::polite(), calm);
    pair.run_until(Instant::ZERO + secs(3_600));
    assert_eq!(kinds(&pair.a, 8), 0);
    pair.run_until(Instant::ZERO + secs(3_601));
    let (_, first) = pair.a.control().into_iter().find(|(kind, _)| *kind == 8).unwrap();
    assert_eq!((first.len(), first[0]), (17, 2), "number and key");
    pair.run_until(Instant::ZERO + secs(7_201));
    let keys: Vec<_> =
        pair.a.control().into_iter().filter(|(kind, _)| *kind == 8).map(|(_, body)| body).collect();
    assert_eq!((keys.len(), keys[1][0]), (2, 3));
    assert_ne!(keys[0][1..], keys[1][1..]);
}

#[test]
fn a_key_whose_number_does_not_grow_is_a_fault() {
    for (number, faults) in [(1, 1), (2, 0)] {
        let mut pair = against(Script::polite(), config());
        pair.run_until(at(200));
        let mut fields = varint(number);
        fields.extend([5; 16]);
        pair.a.write(0, message(8, &fields));
        pair.run_until(at(400));
        assert_eq!(pair.faults.len(), faults);
    }
}

#[test]
fn goodbye_ends_the_link_with_its_reason_and_no_stream_is_opened_after_it() {
    let mut pair = two(config(), config(), Pipe::default(), 1);
    pair.run_until(at(300));
    events(&mut pair.b);
    let goodbye = control::Command::Goodbye { link: LINK, reason: Goodbye::Shutdown };
    pair.a.command(pair.now, Command::Control(goodbye)).unwrap();
    pair.run_for(secs(1));
    let gone = events(&mut pair.b);
    assert!(
        matches!(gone[..], [Event::Gone { link: LINK, goodbye: Some(Goodbye::Shutdown), .. }]),
        "{gone:?}"
    );
    assert!(matches!(events(&mut pair.a).last(), Some(Event::Gone { goodbye: None, .. })));
    assert_eq!(request(&mut pair.b, pair.now, "late"), Err(Refused::NoLink));
    assert_eq!((pair.closed.map(|closed| closed.1), pair.faults.len()), (Some(Goodbye::Shutdown), 0));
}

#[test]
fn goodbye_waits_no_longer_than_5_s_for_a_peer_that_does_not_read() {
    let pipe = Pipe { window: 8, ..Pipe::default() };
    let mut script = Script::polite();
    script.deaf = true;
    let mut pair = weir_base::pair::Pair::new(script, node(2, config()), (id(1), id(2)), pipe, 1);
    pair.run_until(at(3_000));
    let goodbye = control::Command::Goodbye { link: LINK, reason: Goodbye::Asked };
    pair.b.command(pair.now, Command::Control(goodbye)).unwrap();
    pair.run_until(at(7_999));
    assert!(pair.closed.is_none());
    pair.run_until(at(8_001));
    assert_eq!(pair.closed.map(|closed| closed.1), Some(Goodbye::Asked));
}

#[test]
fn messages_that_no_version_defines_are_sent_now_and_then_and_skipped() {
    let mut quick = config();
    quick.control.interval = secs(1);
    quick.control.idle_timeout = secs(30);
    let mut pair = two(quick.clone(), quick, Pipe::default(), 1);
    pair.run_until(at(300_000));
    assert_eq!((pair.closed, pair.faults.len()), (None, 0));
    let mut calm = config();
    calm.control.idle_timeout = secs(100_000);
    calm.control.interval = Duration::from_millis(250); // a ping a second
    let mut pair = against(Script::polite(), calm);
    let mut answered = 0;
    while pair.now < at(300_000) {
        pair.run_for(Duration::from_millis(500));
        for (_, nonce) in pair.a.control().into_iter().filter(|(kind, _)| *kind == 2).skip(answered) {
            pair.a.write(0, message(4, &nonce));
            answered += 1;
        }
    }
    let odd = pair.a.control().iter().filter(|(kind, _)| kind % 2 == 1).count();
    assert!(answered > 150 && odd > answered / 32 && odd < answered / 2, "{odd} of {answered}");
}

#[test]
fn who_has_heard_goodbye_opens_no_stream_while_the_link_lasts() {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(1_000));
    pair.a.write(0, message(10, &[0]));
    pair.run_until(at(2_000));
    assert!(pair.closed.is_none(), "the other side closes");
    let (opened, _) = (pair.a.theirs.len(), events(&mut pair.b));
    let ticket = request(&mut pair.b, pair.now, "late").unwrap();
    pair.run_until(at(3_000));
    let result = Err(weir_pull::call::CallError::LinkDown);
    assert_eq!(calls(&mut pair.b), [weir_pull::call::Event::Response { ticket, result }]);
    assert_eq!((pair.a.theirs.len(), pair.faults.len()), (opened, 0));
}

#[test]
fn a_stream_that_is_opened_after_goodbye_is_broken_off_without_a_fault() {
    let mut pair = against(Script::polite(), config());
    pair.run_until(at(1_000));
    pair.a.write(0, message(10, &[0]));
    pair.run_until(at(2_000));
    let late = pair.a.open(CALL.protocol(0), message(0, &[&varint(9_000)[..], b"late"].concat()));
    pair.run_until(at(3_000));
    let stream = pair.a.keys[&late].stream;
    assert_eq!((pair.a.stopped.get(&stream), pair.a.ends.get(&stream)), (Some(&0), Some(&Some(0))));
    assert_eq!((calls(&mut pair.b), pair.faults.len()), (vec![], 0));
}

#[test]
fn some_hellos_end_in_an_extension_that_no_version_defines() {
    let mut extended = 0;
    for seed in 0..40 {
        let peers = (id(1), id(2));
        let mut pair =
            weir_base::pair::Pair::new(Script::polite(), node(seed, config()), peers, Pipe::default(), 1);
        pair.run_until(at(200));
        let said = pair.a.control().remove(0).1;
        let mut plain = bytes::BytesMut::new();
        control::codec::Hello::decode(&said).unwrap().encode(&mut plain);
        extended += u32::from(said.len() > plain.len());
    }
    assert!((3..20).contains(&extended), "{extended} of 40, one in four is meant");
}
