//! `docs/spec/streams.md`, "Classes": of a link that has less room than its writers want, every class gets its guaranteed
//! share, and the first of them the rest; over every transport.

use std::time::Duration;

use bytes::Bytes;
use weir_base::StreamKey;
use weir_base::stream::Class;

use super::harness::{Net, Over, config};

const CLASSES: [(Class, u64); 5] =
    [(Class::Consensus, 20), (Class::Tip, 10), (Class::Block, 15), (Class::Pool, 10), (Class::Bulk, 5)];

/// What the path is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Short {
    /// The receiver's credit, 64 KiB a round trip.
    Credit,
    /// The congestion window of a path that loses 1 packet in 50.
    Path,
}

/// Two writers of each class write whatever there is room for: per mille of what arrived in the last nine tenths of the time,
/// by class. One alone would be short of its stream's credit.
fn shares(over: Over, short: Short, classes: &[(Class, u64)]) -> Vec<u64> {
    let mut config = config();
    if short == Short::Path {
        config.budget.base_window = 1 << 20;
        config.budget.receive_total = 1 << 30;
    }
    let mut net = Net::new(vec![config.clone(), config]);
    let (link, other) = net.join(over, 0, 1);
    net.loss = if short == Short::Path { 20 } else { 0 };
    // the least first, so that the order of opening helps nobody
    let twice = classes.iter().rev().flat_map(|(class, _)| [*class; 2]);
    let keys: Vec<StreamKey> = twice.map(|class| net.open(0, link, 8, class)).collect();
    let flood = Bytes::from(vec![6; 256 * 1024]);
    let (mut sums, steps) = (vec![0; keys.len()], 4_000);
    for step in 0..steps {
        for key in &keys {
            net.write(0, *key, &flood);
        }
        net.run(Duration::from_millis(5));
        for (key, sum) in keys.iter().zip(&mut sums) {
            let there = StreamKey { link: other, stream: key.stream };
            let len = net.read(1, there).0.len() as u64;
            *sum += if step >= steps / 10 { len } else { 0 };
        }
    }
    sums.reverse();
    let total: u64 = sums.iter().sum();
    assert!(total > 4 << 20, "{total} bytes");
    sums.chunks(2).map(|pair| pair.iter().sum::<u64>() * 1000 / total).collect()
}

fn each(classes: &[(Class, u64)], first: u64) {
    let credit = Over::ALL.map(|over| (over, Short::Credit));
    for (over, short) in credit.into_iter().chain([(Over::Quic, Short::Path)]) {
        let shares = shares(over, short, classes);
        println!("{over:?} {short:?} {shares:?}");
        for (share, (class, least)) in shares.iter().zip(classes) {
            assert!(share + 10 >= *least * 10, "{class:?} of {shares:?} ({over:?}, short of {short:?})");
        }
        assert!(shares[0] >= first, "the first gets the rest: {shares:?} ({over:?}, {short:?})");
    }
}

#[test]
fn every_class_gets_its_share_and_the_first_the_rest() {
    each(&CLASSES, 500);
}

#[test]
fn bulk_gets_its_share_beside_consensus() {
    each(&[(Class::Consensus, 20), (Class::Bulk, 5)], 850);
}
