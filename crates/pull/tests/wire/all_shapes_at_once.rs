use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use weir_base::Rng;
use weir_base::pair::{LINK, Pair, Pipe};
use weir_base::stream::Goodbye;
use weir_base::stream::StreamUser;
use weir_pull::{Channel, ChannelId, Command, Config, Event, Pull, Shape, call, control, pool, tip};

use crate::common::*;

const POOL: ChannelId = ChannelId(3);

fn with_pool() -> Config {
    let mut config = config();
    let rules = pool::Rules { summarize: |_| Ok(pool::Summary::EMPTY), judge: |_| Some(1) };
    let shape = Shape::Pool(pool::Config::new(rules));
    config.channels.push(Channel { id: POOL, name: "pool".into(), version: 1, oldest: 1, shape });
    config
}

/// What one node has seen.
#[derive(Default)]
struct Seen {
    items: BTreeMap<[u8; 32], Bytes>,
    responses: u64,
    tip: Option<Bytes>,
    ready: bool,
}

/// Accepts every item, adopts every tip that is larger than its own, echoes every request.
fn serve(pull: &mut Pull, now: weir_base::Instant, seen: &mut Seen) {
    while let Some(event) = pull.poll_event() {
        let command = match event {
            Event::Pool(_, pool::Event::Candidate { ticket, id, bytes, .. }) => {
                assert!(seen.items.insert(id, bytes).is_none(), "handed over twice");
                Command::Pool(
                    POOL,
                    pool::Command::Verdict { ticket, at: now, verdict: pool::Verdict::Accept },
                )
            }
            Event::Tip(_, tip::Event::Received { ticket, value, .. }) => {
                let mut slot = grounds(0);
                slot.slot.0[..value.len().min(32)].copy_from_slice(&value[..value.len().min(32)]);
                let better = seen.tip.as_ref().is_none_or(|own| value > *own);
                let verdict = if better { tip::Verdict::Adopt(slot) } else { tip::Verdict::Ignore };
                seen.tip = if better { Some(value) } else { seen.tip.take() };
                Command::Tip(TIP, tip::Command::Verdict { ticket, verdict })
            }
            Event::Call(_, call::Event::Request { ticket, request, .. }) => {
                Command::Call(CALL, call::Command::Answer { ticket, at: now, response: Ok(request) })
            }
            Event::Call(_, call::Event::Response { result, .. }) => {
                assert!(result.is_ok(), "{result:?}");
                seen.responses += 1;
                continue;
            }
            Event::Ready { .. } => {
                seen.ready = true;
                continue;
            }
            _ => continue,
        };
        pull.command(now, command).unwrap();
    }
}

fn run(pipe: Pipe, seed: u64) -> (Pair<Pull, Pull>, [Seen; 2], [u64; 2]) {
    let mut pair = two(with_pool(), with_pool(), pipe, seed);
    let (mut rng, mut seen, mut asked) = (Rng::from_number(seed), [Seen::default(), Seen::default()], [0; 2]);
    for round in 0..120_u32 {
        let now = pair.now;
        for (end, pull) in [&mut pair.a, &mut pair.b].into_iter().enumerate() {
            if rng.chance(1, 2) {
                let mut item = vec![0; 40 + rng.index(3_000)];
                rng.fill(&mut item);
                pull.command(now, Command::Pool(POOL, pool::Command::Insert { bytes: item.into() })).unwrap();
            }
            if request(pull, now, vec![7; 1 + rng.index(5_000)]).is_ok() {
                asked[end] += 1;
            }
            if rng.chance(1, 10) {
                let value = Bytes::copy_from_slice(
                    &[&round.to_be_bytes()[..], &[u8::try_from(end).unwrap()]].concat(),
                );
                let mut slot = grounds(0);
                slot.slot.0[..5].copy_from_slice(&value);
                seen[end].tip = seen[end].tip.take().max(Some(value.clone()));
                let publish = tip::Command::Publish { value, grounds: slot };
                pull.command(now, Command::Tip(TIP, publish)).unwrap();
            }
        }
        pair.run_for(Duration::from_millis(50));
        let now = pair.now;
        serve(&mut pair.a, now, &mut seen[0]);
        serve(&mut pair.b, now, &mut seen[1]);
        pair.settle();
    }
    for _ in 0..200 {
        pair.run_for(Duration::from_millis(100));
        let now = pair.now;
        serve(&mut pair.a, now, &mut seen[0]);
        serve(&mut pair.b, now, &mut seen[1]);
        pair.settle();
    }
    (pair, seen, asked)
}

fn check(pair: &Pair<Pull, Pull>, seen: &[Seen; 2], asked: [u64; 2]) {
    assert_eq!((pair.faults.as_slice(), pair.closed), (&[][..], None));
    assert!(seen.iter().all(|seen| seen.ready));
    assert_eq!(asked, [seen[0].responses, seen[1].responses]);
    assert!(asked[0] > 80, "{asked:?}");
    assert_eq!(seen[0].tip, seen[1].tip);
    let stats = [pair.a.pool_stats(POOL).unwrap(), pair.b.pool_stats(POOL).unwrap()];
    assert_eq!(stats[0].items, stats[1].items);
    assert_eq!(stats[0].items, (seen[0].items.len() + seen[1].items.len()) as u64);
    assert_eq!((stats[0].duplicates, stats[1].duplicates), (0, 0));
    for (channel, stats) in pair.a.stats() {
        assert!(stats.bytes_in > 0 && stats.bytes_out > 0 && stats.messages_in > 0, "{channel:?} {stats:?}");
        assert_eq!(stats.faults, 0);
    }
}

#[test]
fn all_is_carried_and_nobody_blamed() {
    let (pair, seen, asked) = run(Pipe::default(), 1);
    check(&pair, &seen, asked);
}

#[test]
fn all_is_carried_over_small_windows_in_small_pieces_with_loss() {
    for seed in 2..5 {
        let pipe = Pipe { loss_per_mille: 30, window: 8_192, piece: 300, ..Pipe::default() };
        let (pair, seen, asked) = run(pipe, seed);
        check(&pair, &seen, asked);
    }
}

#[test]
fn a_link_that_ends_in_the_middle_leaves_nothing_behind() {
    let mut pair = two(with_pool(), with_pool(), Pipe::default(), 7);
    let (mut seen, mut rng) = ([Seen::default(), Seen::default()], Rng::from_number(7));
    for _ in 0..40 {
        for pull in [&mut pair.a, &mut pair.b] {
            let item = rng.bytes::<200>().to_vec();
            pull.command(pair.now, Command::Pool(POOL, pool::Command::Insert { bytes: item.into() }))
                .unwrap();
            request(pull, pair.now, vec![7; 2_000]).unwrap();
        }
        pair.run_for(Duration::from_millis(10));
    }
    let goodbye = control::Command::Goodbye { link: LINK, reason: Goodbye::Asked };
    pair.a.command(pair.now, Command::Control(goodbye)).unwrap();
    pair.run_for(secs(30));
    for (pull, seen) in [&mut pair.a, &mut pair.b].into_iter().zip(&mut seen) {
        while let Some(event) = pull.poll_event() {
            if let Event::Call(_, call::Event::Response { result, .. }) = &event {
                seen.responses += 1;
                assert_eq!(*result, Err(call::CallError::LinkDown));
            }
        }
        assert_eq!(seen.responses, 40, "each call ends once");
        let stats = pull.pool_stats(POOL).unwrap();
        assert_eq!((stats.entries_held, stats.bytes_held, stats.in_flight), (0, 0, 0), "{stats:?}");
    }
    assert_eq!(pair.faults, []);
}

#[test]
fn before_a_link_is_confirmed_only_permits_and_replay_safe_calls_may_go() {
    for declared in [false, true] {
        let mut limits = with_pool();
        call_config(&mut limits).replay_safe = declared;
        let pull = node(1, limits);
        let safe = pull.replay_safe();
        let may_go = |channel: ChannelId, lane| safe.contains(&channel.protocol(lane));
        assert_eq!(may_go(CALL, 0), declared);
        assert!(may_go(ChannelId::CONTROL, 0) && may_go(TIP, 0) && may_go(POOL, 0), "hello, and permits");
        assert!(!may_go(POOL, 1), "gets depend on offers");
        assert!(!may_go(ChannelId(9), 0), "nobody speaks it");
    }
}
