//! `docs/spec/fairness.md`, "What leaves": of a node that cannot send as fast as its links could, links that it dialled get half,
//! the others equal parts, however many streams each has; and who sends little does not wait for those that always have something.

use std::time::Duration;

use bytes::Bytes;
use weir_base::StreamKey;
use weir_base::stream::Class;

use super::harness::{Net, Over, config};

/// What the host of node 0 can send each millisecond.
const SLOW: usize = 32 * 1024;

/// Node 0 has a link that it dialled, with one stream, and three inbound ones: with one stream, with a hundred, and with one that
/// carries little.
fn crowd(over: Over) -> (Net, [Vec<StreamKey>; 4]) {
    let mut config = config();
    config.budget.base_window = 1 << 20;
    config.budget.receive_total = 1 << 30;
    config.budget.send_total = 1 << 30;
    config.streams.max_inbound = 200;
    let mut net = Net::new(vec![config; 5]);
    net.delay = Duration::from_millis(1);
    let dialled = net.join(over, 0, 1);
    let mut links = vec![dialled.0];
    let mut ends = vec![(1, dialled.1)];
    for peer in 2..5 {
        let (theirs, mine) = net.join(over, peer, 0);
        links.push(mine);
        ends.push((peer, theirs));
    }
    for (peer, link) in ends {
        net.nodes[peer].links.link(link).unwrap().hello_accepted();
    }
    net.run(Duration::from_millis(50));
    let streams = [1, 1, 100, 1];
    let mut keys = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for ((link, count), keys) in links.into_iter().zip(streams).zip(&mut keys) {
        *keys = (0..count).map(|_| net.open(0, link, 8, Class::Bulk)).collect();
    }
    net.run(Duration::from_millis(50));
    (net, keys)
}

/// What the peers of node 0 got in two seconds, and the most milliseconds that something small took to one of them.
fn served(over: Over) -> ([usize; 3], u32) {
    let (mut net, keys) = crowd(over);
    let flood = Bytes::from(vec![6; 64 * 1024]);
    let small = Bytes::from_static(&[7; 200]);
    let (mut got, mut slowest, mut waits) = ([0; 3], 0, None);
    for step in 0..2_200_u32 {
        for key in keys.iter().take(3).flatten() {
            net.write(0, *key, &flood);
        }
        if step % 20 == 0 && waits.is_none() {
            net.write(0, keys[3][0], &small);
            waits = Some(step);
        }
        net.nodes[0].may_send = Some(SLOW);
        net.run(Duration::from_millis(1));
        for node in 1..5 {
            for key in std::mem::take(&mut net.nodes[node].readable) {
                let len = net.read(node, key).0.len();
                match got.get_mut(node - 1) {
                    Some(got) if step >= 200 => *got += len,
                    None if len > 0 => {
                        let since = waits.take().unwrap_or(step);
                        slowest = slowest.max(if step >= 200 { step - since } else { 0 });
                    }
                    Some(_) | None => {}
                }
            }
        }
    }
    assert!(waits.is_none_or(|since| since > 2_100), "the last small message did not come");
    (got, slowest)
}

fn each(over: Over) {
    let (got, slowest) = served(over);
    let all: usize = got.iter().sum();
    let parts = got.map(|bytes| bytes * 1000 / all);
    println!("{over:?}: {all} bytes, {parts:?} per mille, {slowest} ms");
    assert!(all > 2_000 * SLOW * 9 / 10, "{all} bytes");
    for (part, due) in parts.into_iter().zip([500, 250, 250]) {
        assert!(part.abs_diff(due) <= 20, "{over:?}: {parts:?}");
    }
    assert!(slowest <= 3, "{over:?}: {slowest} ms, 1 of them the way");
}

#[test]
fn a_slow_host_shares_what_leaves_by_sides_and_links_over_frames() {
    each(Over::Frames);
}

#[test]
fn a_slow_host_shares_what_leaves_by_sides_and_links_over_quic() {
    each(Over::Quic);
}

#[test]
fn a_slow_host_shares_what_leaves_by_sides_and_links_over_tcp() {
    each(Over::Tcp);
}
