//! The same seed gives the same run; draining after every input or after many gives the same results.

use std::time::Duration;

use bytes::Bytes;
use weir_base::{Instant, MIB};
use weir_stack::{Event, Role, call, pool};

use crate::net::{CALL, Carrier, Net, POOL, config};

/// What an application saw, without the times.
type Seen = Vec<Vec<String>>;

/// A busy network of five: items from everyone, calls, a raw transfer. What was carried, and what was seen.
fn run(carrier: Carrier, seed: u64, batch: usize) -> (Vec<(Instant, usize, usize, String)>, Seen) {
    let mut net = Net::new(carrier, seed);
    net.batch = batch;
    net.logging = true;
    for _ in 0..5 {
        net.add(config());
    }
    for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2)] {
        net.know(a, b, Role::Persistent);
    }
    net.run_for(Duration::from_secs(3));
    for node in 0..5_u8 {
        for number in 0..6_u8 {
            let bytes = Bytes::from(vec![node * 16 + number; 2000]);
            let insert = pool::Command::Insert { bytes };
            net.pull(usize::from(node), weir_pull::Command::Pool(POOL, insert));
        }
    }
    let mut seen: Seen = vec![Vec::new(); 5];
    let until = net.now + Duration::from_secs(10);
    let mut next_call = net.now;
    net.run_until(until, |net| {
        for (node, seen) in seen.iter_mut().enumerate() {
            answer(net, node, seen);
        }
        if net.now >= next_call {
            next_call = net.now + Duration::from_millis(500);
            let link = net.nodes[0].stack.peers().ready_link(&net.nodes[2].peer).unwrap();
            let call = call::Command::Call { link, request: Bytes::from(vec![1; 5000]), deadline: None };
            net.pull(0, weir_pull::Command::Call(CALL, call));
        }
        false
    });
    let (ours, theirs) = net.raw_stream(0, 1);
    let sent = net.write(0, ours, &vec![9; MIB]);
    net.run_for(Duration::from_secs(2));
    let mut read = 0;
    while read < sent {
        read += net.read(1, theirs).0.len();
        net.run_for(Duration::from_millis(100));
    }
    seen.iter_mut().for_each(|seen| seen.sort());
    (net.log, seen)
}

fn answer(net: &mut Net, node: usize, seen: &mut Vec<String>) {
    while let Some((ticket, id)) = net.take(node, |event| match event {
        Event::Pool(POOL, pool::Event::Candidate { ticket, id, .. }) => Some((*ticket, *id)),
        _ => None,
    }) {
        seen.push(format!("item {id:?}"));
        let verdict = pool::Command::Verdict { ticket, at: net.now, verdict: pool::Verdict::Accept };
        net.pull(node, weir_pull::Command::Pool(POOL, verdict));
    }
    while let Some((ticket, request)) = net.take(node, |event| match event {
        Event::Call(CALL, call::Event::Request { ticket, request, .. }) => Some((*ticket, request.clone())),
        _ => None,
    }) {
        seen.push(format!("request of {} bytes", request.len()));
        let answer = call::Command::Answer { ticket, at: net.now, response: Ok(request) };
        net.pull(node, weir_pull::Command::Call(CALL, answer));
    }
    while let Some(result) = net.take(node, |event| match event {
        Event::Call(CALL, call::Event::Response { result, .. }) => Some(result.clone()),
        _ => None,
    }) {
        seen.push(format!("response {:?}", result.map(|bytes| bytes.len())));
    }
}

#[test]
fn the_same_seed_gives_the_same_transcript() {
    for carrier in Carrier::ALL {
        let (first, second, other) = (run(carrier, 1, 1), run(carrier, 1, 1), run(carrier, 2, 1));
        // a byte stream carries many of what would be frames at once
        let least = if carrier == Carrier::Tcp { 300 } else { 500 };
        assert!(first.0.len() > least, "{} times {carrier:?}", first.0.len());
        assert_eq!(first.0, second.0);
        assert_eq!(first.1, second.1);
        assert_ne!(first.0, other.0);
    }
}

#[test]
fn draining_after_each_input_or_after_many_gives_the_same_results() {
    for carrier in Carrier::ALL {
        let (each, many) = (run(carrier, 3, 1), run(carrier, 3, 64));
        assert_eq!(each.1, many.1);
    }
}
