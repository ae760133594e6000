use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use weir_base::Rng;
use weir_base::pair::{LINK, Pair, Pipe};
use weir_base::stream::{Goodbye, StreamUser as _};
use weir_pull::call::{CallError, Event, Refusal};
use weir_pull::{Command, Pull, Refused, Ticket, call, control};

use crate::common::*;

fn requests(pull: &mut Pull) -> Vec<(Ticket, Bytes)> {
    let all = calls(pull).into_iter();
    all.filter_map(|event| {
        if let Event::Request { ticket, request, .. } = event { Some((ticket, request)) } else { None }
    })
    .collect()
}

fn results(pull: &mut Pull) -> BTreeMap<Ticket, Result<Bytes, CallError>> {
    let all = calls(pull).into_iter();
    all.filter_map(
        |event| if let Event::Response { ticket, result } = event { Some((ticket, result)) } else { None },
    )
    .collect()
}

fn up(change: fn(&mut call::Config)) -> Pair<Pull, Pull> {
    let mut limits = config();
    change(call_config(&mut limits));
    let mut pair = two(limits.clone(), limits, Pipe::default(), 1);
    pair.run_until(at(300));
    pair
}

#[test]
fn the_request_may_share_the_first_flight() {
    let mut pair = two(config(), config(), Pipe::default(), 1);
    let ticket = request(&mut pair.a, at(0), "ping").unwrap();
    pair.run_until(at(50));
    let (asked, said) = requests(&mut pair.b).remove(0);
    assert_eq!(said, "ping");
    answer(&mut pair.b, pair.now, asked, Ok("pong".into())).unwrap();
    pair.run_until(at(100));
    assert_eq!(calls(&mut pair.a), [Event::Response { ticket, result: Ok("pong".into()) }]);
    assert_eq!(pair.faults, []);
}

#[test]
fn the_largest_come_whole_over_a_small_window_in_pieces_and_with_loss() {
    let pipe = Pipe { loss_per_mille: 50, window: 5_000, piece: 900, ..Pipe::default() };
    let mut limits = config();
    call_config(&mut limits).deadline = secs(60);
    let mut pair = two(limits.clone(), limits, pipe, 3);
    let body = |len: usize, seed: u64| {
        let mut bytes = vec![0; len];
        Rng::from_number(seed).fill(&mut bytes);
        Bytes::from(bytes)
    };
    let ticket = request(&mut pair.a, at(0), body(65_536, 1)).unwrap();
    pair.run_for(secs(8));
    let (asked, said) = requests(&mut pair.b).remove(0);
    assert!(said == body(65_536, 1));
    answer(&mut pair.b, pair.now, asked, Ok(body(200_000, 2))).unwrap();
    pair.run_for(secs(50));
    assert!(results(&mut pair.a).remove(&ticket) == Some(Ok(body(200_000, 2))));
    assert_eq!(pair.faults, []);
}

#[test]
fn many_at_once_in_both_directions_are_each_answered_once() {
    let pipe = Pipe { loss_per_mille: 100, piece: 40, ..Pipe::default() };
    let mut pair = two(config(), config(), pipe, 9);
    let (mut rng, mut asked, mut got) = (Rng::from_number(4), BTreeMap::new(), BTreeMap::new());
    for _ in 0..200 {
        for _ in 0..rng.below(4) {
            let query = rng.u64().to_string();
            if let Ok(ticket) = request(&mut pair.a, pair.now, query.clone()) {
                asked.insert((0, ticket), query.clone());
            }
            if let Ok(ticket) = request(&mut pair.b, pair.now, query.clone()) {
                asked.insert((1, ticket), query);
            }
        }
        let now = pair.now;
        for (end, pull) in [(0, &mut pair.a), (1, &mut pair.b)] {
            for event in calls(pull) {
                match event {
                    Event::Request { ticket, request, .. } => {
                        let reply = [&request[..], b"!"].concat();
                        answer(pull, now, ticket, Ok(reply.into())).unwrap();
                    }
                    Event::Response { ticket, result } => {
                        assert!(got.insert((end, ticket), result.unwrap()).is_none());
                    }
                    Event::Cancelled { .. } => panic!(),
                }
            }
        }
        pair.run_for(Duration::from_millis(rng.below(60)));
    }
    pair.run_for(secs(5));
    for (key, query) in asked.iter().filter(|(key, _)| got.contains_key(*key)) {
        assert_eq!(got[key], format!("{query}!"));
    }
    assert!(got.len() > 400 && asked.len() - got.len() < 40, "{} of {}", got.len(), asked.len());
    assert_eq!(pair.faults, []);
}

#[test]
fn giving_up_cancels_the_servers_work_and_a_late_answer_is_dropped() {
    let mut pair = up(|_| {});
    let ticket = request(&mut pair.a, pair.now, "ping").unwrap();
    pair.run_for(secs(1));
    let (asked, _) = requests(&mut pair.b).remove(0);
    pair.a.command(pair.now, Command::Call(CALL, call::Command::Cancel { ticket })).unwrap();
    pair.run_for(secs(1));
    assert_eq!(calls(&mut pair.b), [Event::Cancelled { ticket: asked }]);
    assert_eq!(answer(&mut pair.b, pair.now, asked, Ok("pong".into())), Err(Refused::UnknownTicket));
    pair.run_for(secs(60));
    assert_eq!(calls(&mut pair.a), []);
    let again = pair.a.command(pair.now, Command::Call(CALL, call::Command::Cancel { ticket }));
    assert_eq!((again, pair.faults.len()), (Err(Refused::UnknownTicket), 0));
}

#[test]
fn giving_up_before_the_stream_is_open_or_the_request_whole_works_too() {
    let mut pair = two(config(), config(), Pipe { window: 10, ..Pipe::default() }, 1);
    let ticket = request(&mut pair.a, at(0), vec![1; 1000]).unwrap();
    pair.a.command(at(0), Command::Call(CALL, call::Command::Cancel { ticket })).unwrap();
    let ticket = request(&mut pair.a, at(0), vec![1; 1000]).unwrap();
    pair.run_for(secs(1));
    pair.a.command(pair.now, Command::Call(CALL, call::Command::Cancel { ticket })).unwrap();
    pair.run_for(secs(30));
    assert_eq!((calls(&mut pair.a), calls(&mut pair.b), pair.faults.len()), (vec![], vec![], 0));
}

#[test]
fn over_the_limit_at_once_the_caller_is_busy_and_the_server_says_when_to_retry() {
    let mut pair = up(|limits| limits.concurrency = 2);
    for _ in 0..2 {
        request(&mut pair.a, pair.now, "ping").unwrap();
    }
    assert_eq!(request(&mut pair.a, pair.now, "ping"), Err(Refused::Busy));
    let (mut few, mut many) = (config(), config());
    call_config(&mut few).concurrency = 2;
    call_config(&mut many).concurrency = 9;
    let mut pair = two(many, few, Pipe::default(), 1);
    let tickets: Vec<_> = (0..8).map(|_| request(&mut pair.a, at(0), "ping").unwrap()).collect();
    pair.run_until(at(300));
    let (served, refused) = (requests(&mut pair.b), results(&mut pair.a));
    assert_eq!((served.len(), refused.len()), (2, 6));
    let retry_after = Duration::from_millis(100);
    assert!(
        tickets
            .iter()
            .filter_map(|ticket| refused.get(ticket))
            .all(|result| { *result == Err(CallError::Refused(Refusal { retry_after })) })
    );
    for (asked, _) in served {
        answer(&mut pair.b, pair.now, asked, Ok("pong".into())).unwrap();
    }
    pair.run_for(secs(1));
    assert_eq!(results(&mut pair.a).len(), 2);
    request(&mut pair.a, pair.now, "there is room again").unwrap();
    pair.run_for(secs(1));
    assert_eq!((requests(&mut pair.b).len(), pair.faults.len()), (1, 0));
}

#[test]
fn over_the_rate_the_answer_says_when_to_retry() {
    let mut pair = up(|limits| limits.rate = Some((2, 1)));
    let first = request(&mut pair.a, pair.now, "one").unwrap();
    let second = request(&mut pair.a, pair.now, "two").unwrap();
    pair.run_for(Duration::from_millis(200));
    let retry_after = Duration::from_millis(500);
    assert_eq!(results(&mut pair.a).remove(&second), Some(Err(CallError::Refused(Refusal { retry_after }))));
    request(&mut pair.a, pair.now, "three").unwrap();
    pair.run_for(Duration::from_millis(500));
    assert!(results(&mut pair.a).values().all(Result::is_err));
    request(&mut pair.a, pair.now, "four").unwrap();
    pair.run_for(Duration::from_millis(200));
    assert_eq!(requests(&mut pair.b).len(), 2);
    assert!(first < second && pair.faults.is_empty());
}

#[test]
fn the_application_may_refuse() {
    let mut pair = up(|_| {});
    let ticket = request(&mut pair.a, pair.now, "ping").unwrap();
    pair.run_for(secs(1));
    let (asked, _) = requests(&mut pair.b).remove(0);
    let refusal = Refusal { retry_after: secs(3) };
    answer(&mut pair.b, pair.now, asked, Err(refusal)).unwrap();
    pair.run_for(secs(1));
    assert_eq!(results(&mut pair.a).remove(&ticket), Some(Err(CallError::Refused(refusal))));
}

#[test]
fn both_sides_give_up_at_the_deadline() {
    let mut pair = up(|limits| limits.deadline = secs(4));
    let sent = pair.now;
    let call = |deadline| call::Command::Call { link: LINK, request: "ping".into(), deadline };
    let short = pair.a.command(sent, Command::Call(CALL, call(Some(secs(2))))).unwrap();
    let long = pair.a.command(sent, Command::Call(CALL, call(Some(secs(900))))).unwrap();
    pair.run_for(secs(1));
    let deadlines: Vec<_> = calls(&mut pair.b)
        .into_iter()
        .map(|event| if let Event::Request { deadline, .. } = event { deadline - sent } else { panic!() })
        .collect();
    assert_eq!(deadlines, [Duration::from_millis(2_050), Duration::from_millis(4_050)]);
    pair.run_until(sent + Duration::from_millis(2_100));
    assert_eq!(results(&mut pair.a), [(short, Err(CallError::Timeout))].into());
    assert!(matches!(calls(&mut pair.b)[..], [Event::Cancelled { .. }]));
    pair.run_until(sent + secs(5));
    assert_eq!(results(&mut pair.a), [(long, Err(CallError::Timeout))].into());
    assert!(matches!(calls(&mut pair.b)[..], [Event::Cancelled { .. }]));
    assert_eq!(pair.faults, []);
}

#[test]
fn what_expires_before_it_is_written_is_dropped_and_counted() {
    let counts = |pull: &Pull| {
        let (_, stats) = pull.stats().find(|(channel, _)| *channel == CALL).unwrap();
        (stats.expired, stats.messages_out)
    };
    let mut pair = up(|limits| limits.deadline = secs(4));
    let ticket = request(&mut pair.a, pair.now, "ping").unwrap();
    pair.a.handle_timeout(pair.now + secs(4)); // nothing could be written meanwhile
    assert_eq!(results(&mut pair.a), [(ticket, Err(CallError::Timeout))].into());
    assert_eq!(counts(&pair.a), (1, 0));
    pair.run_for(secs(5));
    assert_eq!((calls(&mut pair.b), counts(&pair.a)), (vec![], (1, 0)));

    let ticket = request(&mut pair.a, pair.now, "ping").unwrap();
    pair.run_for(secs(1));
    let (asked, _) = requests(&mut pair.b).remove(0);
    answer(&mut pair.b, pair.now, asked, Ok("pong".into())).unwrap();
    pair.b.handle_timeout(pair.now + secs(11)); // likewise
    assert_eq!(counts(&pair.b), (1, 0));
    pair.run_for(secs(5));
    assert_eq!(results(&mut pair.a), [(ticket, Err(CallError::Timeout))].into());
    assert_eq!((counts(&pair.a), counts(&pair.b), pair.faults.len()), ((1, 1), (1, 0), 0));

    request(&mut pair.a, pair.now, "ping").unwrap();
    pair.run_for(secs(5));
    assert_eq!(counts(&pair.a), (1, 2), "one that was sent and not answered is no such one");
}

#[test]
fn a_server_keeps_to_its_own_deadline_where_the_caller_would_wait_longer() {
    let (patient, mut quick) = (config(), config());
    call_config(&mut quick).deadline = secs(1);
    let mut pair = two(patient, quick, Pipe::default(), 1);
    let ticket = request(&mut pair.a, at(0), "ping").unwrap();
    pair.run_until(at(900));
    assert_eq!(requests(&mut pair.b).len(), 1);
    pair.run_until(at(1_100));
    assert!(matches!(calls(&mut pair.b)[..], [Event::Cancelled { .. }]));
    assert_eq!(results(&mut pair.a).remove(&ticket), Some(Err(CallError::Timeout)));
    assert_eq!(pair.faults, []);
}

#[test]
fn what_is_too_large_is_refused_where_it_arises() {
    let mut pair = up(|limits| (limits.max_request, limits.max_response) = (100, 100));
    assert_eq!(request(&mut pair.a, pair.now, vec![0; 101]), Err(Refused::TooLarge));
    let ticket = request(&mut pair.a, pair.now, vec![0; 100]).unwrap();
    pair.run_for(secs(1));
    let (asked, _) = requests(&mut pair.b).remove(0);
    assert_eq!(answer(&mut pair.b, pair.now, asked, Ok(vec![0; 101].into())), Err(Refused::TooLarge));
    answer(&mut pair.b, pair.now, asked, Ok(vec![0; 100].into())).unwrap();
    pair.run_for(secs(1));
    assert_eq!(results(&mut pair.a).remove(&ticket), Some(Ok(vec![0; 100].into())));
}

#[test]
fn a_first_flight_over_the_servers_limit_is_no_fault() {
    let mut small = config();
    call_config(&mut small).max_request = 100;
    let mut pair = two(config(), small, Pipe::default(), 1);
    let ticket = request(&mut pair.a, at(0), vec![0; 1_000]).unwrap();
    pair.run_until(at(1_000));
    assert_eq!(results(&mut pair.a).remove(&ticket), Some(Err(CallError::TooLarge)));
    assert_eq!(pair.faults, []);
}

#[test]
fn a_link_that_goes_down_ends_calls_and_requests() {
    let mut pair = up(|_| {});
    let ticket = request(&mut pair.a, pair.now, "ping").unwrap();
    pair.run_for(secs(1));
    let (asked, _) = requests(&mut pair.b).remove(0);
    let goodbye = control::Command::Goodbye { link: LINK, reason: Goodbye::Asked };
    pair.b.command(pair.now, Command::Control(goodbye)).unwrap();
    pair.run_for(secs(1));
    assert_eq!(results(&mut pair.a).remove(&ticket), Some(Err(CallError::LinkDown)));
    assert_eq!(calls(&mut pair.b), [Event::Cancelled { ticket: asked }]);
    assert_eq!(request(&mut pair.a, pair.now, "ping"), Err(Refused::NoLink));
}

#[test]
fn no_more_streams_is_told() {
    let mut pair = two(config(), config(), Pipe { streams: 3, ..Pipe::default() }, 1);
    let first = request(&mut pair.a, at(0), "ping").unwrap();
    let second = request(&mut pair.a, at(0), "ping").unwrap();
    pair.run_until(at(1_000));
    assert_eq!(results(&mut pair.a), [(second, Err(CallError::NoStream))].into());
    assert!(first < second);
}
