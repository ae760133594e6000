//! The first spike, kept: with a connection window of 64 KiB, a control stream, a pool stream, a stopped raw stream and an
//! item of 4 MiB, control advances and no credit is given that is not there, at every step.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Class, Goodbye};
use weir_base::{KIB, MIB, StreamKey};

use super::harness::{Net, Over, config};
use crate::DownReason;

const STEP: Duration = Duration::from_millis(5);

struct Streams {
    control: StreamKey,
    offers: StreamKey,
    raw: StreamKey,
    items: StreamKey,
}

/// Node 0 serves, node 1 reads: four streams opened by node 0.
fn open_all(net: &mut Net, over: Over) -> (Streams, Streams) {
    let (link, other) = net.join(over, 0, 1);
    let here = Streams {
        control: net.open(0, link, 0, Class::Control),
        offers: net.open(0, link, 8, Class::Pool),
        raw: net.open(0, link, 400, Class::Bulk),
        items: net.open(0, link, 9, Class::Pool),
    };
    let there = |key: StreamKey| StreamKey { link: other, stream: key.stream };
    let there = Streams {
        control: there(here.control),
        offers: there(here.offers),
        raw: there(here.raw),
        items: there(here.items),
    };
    net.write(0, here.raw, &Bytes::from_static(b"r"));
    net.run(Duration::from_millis(100));
    net.nodes[1].links.link(other).unwrap().mark_raw(there.raw.stream);
    (here, there)
}

#[test]
fn control_advances_beside_a_stopped_raw_stream_and_a_large_item() {
    for over in Over::ALL {
        let mut net = Net::pair();
        let (here, there) = open_all(&mut net, over);
        let item = Bytes::from(vec![5; 4 * MIB]);
        let flood = Bytes::from(vec![6; MIB]);
        let (mut sent, mut got, mut beats, mut last_read, mut offers) = (0, 0, 0, 0, 0);
        let mut worst = Duration::ZERO;
        let mut last = net.now;
        for turn in 0..2_000_u32 {
            net.write(0, here.raw, &flood); // nobody reads it
            sent += net.write(0, here.items, &item.slice(sent..));
            if turn % 10 == 0 {
                beats += net.write(0, here.control, &Bytes::from_static(b"beat"));
                net.write(0, here.offers, &Bytes::from_static(b"offer"));
            }
            let link = net.nodes[1].links.link(there.items.link).unwrap();
            link.expect(there.items.stream, (item.len() - got) as u64);
            net.run(STEP); // the harness checks the ledgers after every input
            let beat = net.read(1, there.control).0.len();
            if beat > 0 {
                worst = worst.max(net.now - last);
                last = net.now;
            }
            last_read += beat;
            offers += net.read(1, there.offers).0.len();
            got += net.read(1, there.items).0.len();
            if got == item.len() && turn > 400 {
                break;
            }
        }
        assert_eq!(got, item.len(), "the item completes over {over:?}");
        net.run(Duration::from_millis(300));
        last_read += net.read(1, there.control).0.len();
        assert_eq!(last_read, beats, "every beat of control arrives over {over:?}");
        assert!(offers > 0);
        assert!(worst < Duration::from_millis(400), "control waits at most {worst:?} over {over:?}");
        assert_eq!(net.nodes[1].links.stats().raw_resets, 0);
        let unread = net.nodes[1].links.stats().receive.lent;
        assert!(unread > 0, "the raw stream's bytes are lent");
    }
}

/// Node 1 has a little credit to lend. Nodes 0, 2 and 3 were lent all of it for one stream each; returns these: its node, its
/// name there and its name at node 1.
fn with_hoarders() -> (Net, Vec<(usize, StreamKey, StreamKey)>) {
    with_hoarders_of(&[2 * MIB; 3])
}

/// The same with so many bytes that are expected of nodes 0, 2 and 3, or of the first of them.
fn with_hoarders_of(expected: &[usize]) -> (Net, Vec<(usize, StreamKey, StreamKey)>) {
    let mut tight = config();
    tight.admission.max_links = 16;
    tight.admission.max_inbound = 12;
    tight.admission.dial_target = 4;
    tight.admission.max_half_open = 8;
    tight.dial.max_dials = 8;
    tight.budget.receive_total = (16 + 8 + 8) * 64 * 1024 + 4 * MIB as u64;
    tight.budget.max_lent = 2 * MIB as u64;
    tight.budget.max_raw = 2 * MIB as u64;
    let mut net = Net::new(vec![config(), tight, config(), config(), config()]);
    let mut hoards = Vec::new();
    for (hoarder, bytes) in [0, 2, 3].into_iter().zip(expected) {
        net.join_quic(hoarder, 1);
        let link = net.nodes[hoarder].up[0].0;
        let key = net.open(hoarder, link, 9, Class::Pool);
        net.write(hoarder, key, &Bytes::from_static(b"the first bytes, and no more"));
        net.run(Duration::from_millis(100));
        let (there, _) = *net.nodes[1].opened.last().unwrap();
        net.nodes[1].links.link(there.link).unwrap().expect(there.stream, *bytes as u64);
        net.read(1, there);
        net.run(Duration::from_millis(100));
        hoards.push((hoarder, key, there));
    }
    assert_eq!(net.nodes[1].links.stats().receive.lent, 4 * MIB as u64, "all is lent");
    (net, hoards)
}

#[test]
fn hoarders_of_credit_are_closed_while_an_honest_link_waits() {
    let (mut net, _) = with_hoarders();
    net.join_quic(4, 1);
    let link = net.nodes[4].up[0].0;
    let key = net.open(4, link, 9, Class::Pool);
    let (begun, item) = (net.now, Bytes::from(vec![5; 32 * MIB]));
    let (mut sent, mut got) = (0, 0);
    while got < item.len() && net.now - begun < Duration::from_secs(40) {
        sent += net.write(4, key, &item.slice(sent..));
        net.run(STEP);
        let Some((there, _)) = net.nodes[1].opened.get(3).copied() else { continue };
        got += net.read(1, there).0.len();
        let link = net.nodes[1].links.link(there.link).unwrap();
        link.expect(there.stream, (item.len() - got) as u64);
    }
    assert_eq!(got, item.len());
    let closed =
        net.nodes[1].down.iter().filter(|(_, reason)| *reason == DownReason::Closed(Goodbye::Credit));
    assert!(closed.count() >= 1, "{:?}", net.nodes[1].down);
    assert!(net.nodes[1].blamed.is_empty(), "without a fault");
    // 10 s at the base window, then with what was lent in vain before.
    assert!(net.now - begun < Duration::from_secs(18), "{:?}", net.now - begun);
}

#[test]
fn who_owes_the_rest_of_an_answer_is_closed_before_who_has_credit_left_over() {
    let (mut net, hoards) = with_hoarders();
    let (_, _, surplus) = hoards[0]; // silent longest, but no answer of it is unfinished
    net.nodes[1].links.link(surplus.link).unwrap().expect(surplus.stream, 0);
    waits(&mut net);
    net.run(Duration::from_secs(11));
    let (_, _, answering) = hoards[1];
    assert_eq!(net.nodes[1].down.first(), Some(&(answering.link, DownReason::Closed(Goodbye::Credit))));
    assert!(net.nodes[1].links.link(surplus.link).is_some());
}

#[test]
fn who_trickles_does_not_keep_the_credit_that_others_wait_for() {
    let (mut net, hoards) = with_hoarders();
    net.join_quic(4, 1);
    let link = net.nodes[4].up[0].0;
    let key = net.open(4, link, 9, Class::Pool);
    net.write(4, key, &Bytes::from_static(b"x"));
    net.run(Duration::from_millis(200));
    let (there, _) = *net.nodes[1].opened.last().unwrap();
    net.nodes[1].links.link(there.link).unwrap().expect(there.stream, 32 * MIB as u64);
    for _ in 0..60 {
        for (hoarder, key, there) in hoards.clone() {
            net.write(hoarder, key, &Bytes::from_static(b"y"));
            net.run(Duration::from_millis(100));
            net.read(1, there);
        }
        net.run(Duration::from_millis(4_700));
        net.write(4, key, &Bytes::from_static(b"x"));
        net.run(Duration::from_millis(100));
        net.read(1, there);
    }
    let stats = net.nodes[1].links.stats();
    assert!(stats.credit_closed >= 1, "an honest link waits: {:?}", stats.receive);
}

/// Datagrams that both nodes sent in 400 rounds of a message of `there` bytes and one of `back` bytes on one stream.
fn rounds_of(there: usize, back: usize) -> u64 {
    let mut net = Net::pair();
    let (link, other) = net.join_quic(0, 1);
    let key = net.open(0, link, 8, Class::Pool);
    let answer = StreamKey { link: other, stream: key.stream };
    net.write(0, key, &Bytes::from_static(b"x"));
    net.run(Duration::from_secs(1)); // the path's MTU is known
    net.read(1, answer);
    let sent = |net: &mut Net| -> u64 {
        [(0, link), (1, other)]
            .map(|(node, link)| net.nodes[node].links.link(link).unwrap().stats().datagrams_out)
            .iter()
            .sum()
    };
    let before = sent(&mut net);
    for _ in 0..400 {
        for (from, to, len) in [((0, key), (1, answer), there), ((1, answer), (0, key), back)] {
            assert_eq!(net.write(from.0, from.1, &Bytes::from(vec![1; len])), len);
            let mut got = 0;
            while got < len {
                net.run(Duration::from_millis(5));
                got += net.read(to.0, to.1).0.len();
                net.drain();
            }
        }
    }
    sent(&mut net) - before
}

#[test]
fn small_messages_both_ways_cost_no_datagrams_for_the_window() {
    let sent = rounds_of(1_000, 1_000);
    assert!((800..=840).contains(&sent), "{sent} datagrams for 800 messages");
}

#[test]
fn the_whole_window_comes_back_after_small_messages_both_ways() {
    let mut net = Net::pair();
    let (link, other) = net.join_quic(0, 1);
    let key = net.open(0, link, 8, Class::Pool);
    let answer = StreamKey { link: other, stream: key.stream };
    // Reads of all sizes between writes of this side, so that room is left unadvertised in every state.
    for size in (1..60).chain([700; 60]) {
        net.write(0, key, &Bytes::from(vec![1; size * 20]));
        net.run(Duration::from_millis(100));
        net.read(1, answer);
        net.write(1, answer, &Bytes::from_static(b"."));
        net.run(Duration::from_millis(100));
        net.read(0, key);
    }
    // At most a quarter of 64 KiB is unadvertised; the rest, and no more, arrives without being read.
    net.write(0, key, &Bytes::from(vec![1; 64 * KIB]));
    net.run(Duration::from_secs(2));
    let arrived = net.read(1, answer).0.len();
    assert!((48 * KIB..=64 * KIB).contains(&arrived), "{arrived} bytes");
    // And once they are read, all that a window carries: nothing stays unadvertised behind a quarter of it, but for the eighth
    // that QUIC itself waits for.
    net.run(Duration::from_secs(2));
    net.read(1, answer);
    net.write(0, key, &Bytes::from(vec![1; 64 * KIB]));
    net.run(Duration::from_secs(2));
    let arrived = net.read(1, answer).0.len();
    assert!((56 * KIB..=64 * KIB).contains(&arrived), "{arrived} bytes");
}

/// Node 4 expects 32 MiB of a stream and finds no credit. The stream at both ends.
fn waits(net: &mut Net) -> (StreamKey, StreamKey) {
    net.join_quic(4, 1);
    let link = net.nodes[4].up[0].0;
    let key = net.open(4, link, 9, Class::Pool);
    net.write(4, key, &Bytes::from_static(b"x"));
    net.run(Duration::from_millis(200));
    let (there, _) = *net.nodes[1].opened.last().unwrap();
    let before = net.nodes[1].links.stats().receive.waiting;
    net.nodes[1].links.link(there.link).unwrap().expect(there.stream, 32 * MIB as u64);
    net.read(1, there);
    net.run(Duration::from_millis(100));
    assert_eq!(net.nodes[1].links.stats().receive.waiting, before + 1);
    (key, there)
}

#[test]
fn credit_that_comes_back_is_lent_and_advertised_at_once_to_who_waits_for_it() {
    let (mut net, hoards) = with_hoarders_of(&[3 * MIB; 2]);
    let (key, there) = waits(&mut net);
    let flood = Bytes::from(vec![1; MIB]);
    for _ in 0..20 {
        net.write(4, key, &flood); // nobody reads it: what its window carries, and what waits behind that
        net.run(Duration::from_millis(100));
    }
    let (now, (_, _, hoard)) = (net.now, hoards[0]);
    net.nodes[1].links.link(hoard.link).unwrap().close(now, Goodbye::Shutdown);
    net.run(Duration::from_secs(6)); // the goodbye, and what lingers
    let receive = net.nodes[1].links.stats().receive;
    assert!(receive.waiting == 0 && receive.lent == 4 * MIB as u64, "{receive:?}");
    assert_eq!(net.nodes[1].links.stats().credit_closed, 0);
    net.write(4, key, &flood);
    net.run(Duration::from_millis(100));
    let arrived = net.read(1, there).0.len();
    assert!(arrived > 80 * KIB, "{arrived} bytes came, more than the base window, before anything was read");
}

#[test]
fn who_was_silent_before_others_wait_has_ten_seconds_from_then() {
    let (mut net, _) = with_hoarders_of(&[3 * MIB; 2]);
    net.run(Duration::from_secs(30));
    assert_eq!(net.nodes[1].links.stats().receive.waiting, 0);
    waits(&mut net);
    net.run(Duration::from_secs(9));
    assert_eq!(net.nodes[1].links.stats().credit_closed, 0);
    net.run(Duration::from_secs(2));
    assert_eq!(net.nodes[1].links.stats().credit_closed, 1);
}

#[test]
fn who_waits_for_more_credit_and_is_not_read_from_is_silent_all_the_same() {
    let (mut net, hoards) = with_hoarders_of(&[2 * MIB, MIB, 2 * MIB]);
    let (node, key, wants_more) = hoards[2];
    for second in 0..12 {
        net.run(Duration::from_secs(1));
        net.write(node, key, &Bytes::from_static(b"y")); // arrives, and stays unread
        if second == 4 {
            for (node, key, there) in &hoards[..2] {
                net.write(*node, *key, &Bytes::from_static(b"y"));
                net.run(Duration::from_millis(100));
                net.read(1, *there); // later than the third
            }
        }
    }
    let closed = (wants_more.link, DownReason::Closed(Goodbye::Credit));
    assert_eq!(net.nodes[1].down.first(), Some(&closed));
}

#[test]
fn a_raw_stream_is_reset_beyond_what_may_be_left_unread_and_not_before() {
    let mut small = config();
    (small.streams.window, small.budget.max_raw) = (128 * KIB as u64, 128 * KIB as u64);
    let mut net = Net::new(vec![config(), small]);
    let (link, other) = net.join_wire(0, 1);
    let leave_unread = |net: &mut Net, len: usize| {
        let key = net.open(0, link, 400, Class::Bulk);
        assert_eq!(net.write(0, key, &Bytes::from_static(b"r")), 1);
        net.run(STEP * 10);
        net.nodes[1].links.link(other).unwrap().mark_raw(key.stream);
        assert_eq!(net.write(0, key, &Bytes::from(vec![6; len - 1])), len - 1);
        net.run(Duration::from_secs(1));
        net.nodes[1].links.stats().raw_resets
    };
    assert_eq!(leave_unread(&mut net, 64 * KIB), 0);
    assert_eq!(leave_unread(&mut net, 64 * KIB), 0);
    assert_eq!(leave_unread(&mut net, 2), 1);
}

#[test]
fn who_reads_on_keeps_its_credit_and_who_has_none_is_not_closed_for_it() {
    let (mut net, hoards) = with_hoarders();
    // Expects what the base window holds: it is lent nothing. Silent the longest of all.
    net.add(config());
    net.join_quic(5, 1);
    let link = net.nodes[5].up[0].0;
    let small = net.open(5, link, 9, Class::Pool);
    net.write(5, small, &Bytes::from_static(b"x"));
    net.run(Duration::from_millis(200));
    let (small, _) = *net.nodes[1].opened.last().unwrap();
    net.nodes[1].links.link(small.link).unwrap().expect(small.stream, 1_000);
    net.read(1, small);
    let (key, there) = waits(&mut net);
    let begun = net.now;
    for _ in 0..26 {
        for (hoarder, key, there) in hoards.iter().copied().chain([(4, key, there)]) {
            net.write(hoarder, key, &Bytes::from(vec![1; 9_500]));
            net.run(Duration::from_millis(125));
            net.read(1, there);
        }
    }
    assert!(net.now - begun > Duration::from_secs(12));
    assert_eq!(net.nodes[1].links.stats().credit_closed, 0, "each is read from at 19 kB a second");
    net.run(Duration::from_secs(12));
    assert!(net.nodes[1].links.stats().credit_closed > 0, "all are silent now");
    assert!(net.nodes[1].links.link(small.link).is_some(), "who was lent nothing has nothing to give back");
}

#[test]
fn what_a_link_was_lent_comes_back_when_it_ends_in_the_middle_of_an_answer() {
    let mut net = Net::pair();
    let (link, other) = net.join_quic(0, 1);
    let key = net.open(0, link, 8, Class::Pool);
    let there = StreamKey { link: other, stream: key.stream };
    let answer = Bytes::from(vec![5; 4 * MIB]);
    let (mut sent, mut got) = (0, 0);
    while got < MIB {
        sent += net.write(0, key, &answer.slice(sent..));
        net.nodes[1].links.link(other).unwrap().expect(there.stream, (answer.len() - got) as u64);
        net.run(STEP);
        got += net.read(1, there).0.len();
    }
    assert!(net.nodes[1].links.stats().receive.lent > 0);
    let now = net.now;
    net.nodes[1].links.link(other).unwrap().close(now, Goodbye::Shutdown);
    net.run(Duration::from_secs(10));
    assert_eq!(net.nodes[1].links.stats().receive.lent, 0);
}
