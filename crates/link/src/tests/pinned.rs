//! Bytes that nobody reads do not keep the buffers alive that they came in.

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::Class;
use weir_base::{LinkId, MIB, StreamKey};

use super::flow::{pattern, transfer};
use super::harness::{Net, Over};

/// Nobody reads what comes on 30 streams, in writes of `size` bytes, each datagram joined with 63 others.
fn flood(net: &mut Net, size: usize) -> (LinkId, Vec<StreamKey>) {
    let (link, other) = net.join(Over::Quic, 0, 1);
    let keys: Vec<StreamKey> = (0..30).map(|_| net.open(0, link, 9, Class::Pool)).collect();
    keys.iter().for_each(|key| assert_eq!(net.write(0, *key, &Bytes::from_static(b"x")), 1));
    net.run(Duration::from_secs(1));
    net.joined = 63;
    for key in keys.iter().cycle().take(1_000) {
        net.write(0, *key, &pattern(size));
        net.run(Duration::from_millis(1));
    }
    net.joined = 0;
    net.run(Duration::from_millis(100));
    (other, keys)
}

#[test]
fn buffers_are_let_go_of() {
    for size in [1, 50, 900] {
        let mut net = Net::pair();
        net.buffers = Some(Vec::new());
        let (other, _) = flood(&mut net, size);
        net.quic(1, other).receiving.forget_buffers();
        let buffers = net.buffers.take().unwrap();
        let alive: usize = buffers.iter().filter(|(handle, _)| !handle.is_unique()).map(|(_, len)| len).sum();
        let all: usize = buffers.iter().map(|(_, len)| len).sum();
        assert!(alive <= 4 * 64 * 1024 + 64 * 1500, "{alive} of {all} bytes for writes of {size}");
        assert!(all > MIB, "{all}");
    }
}

#[test]
fn unread_bytes_keep_four_windows_of_receive_buffers_at_most() {
    for size in [1, 50, 900] {
        let mut net = Net::pair();
        let (other, keys) = flood(&mut net, size);
        let (pinned, copied) = (net.quic(1, other).receiving.pinned(), net.nodes[1].links.stats().copied);
        assert!(pinned <= 4 * 64 * 1024 + 64 * 1500, "{pinned} bytes for writes of {size}");
        assert!(copied > 40, "{copied}");
        let there = |key: &StreamKey| StreamKey { link: other, ..*key };
        let read: usize = keys.iter().map(|key| net.read(1, there(key)).0.len()).sum();
        assert!(read >= 1_000);
        net.run(Duration::from_millis(100));
        assert_eq!(net.quic(1, other).receiving.pinned(), 0, "once they are read");
        net.joined = 63;
        net.write(0, keys[0], &pattern(1));
        net.run(Duration::from_millis(100));
        assert_eq!(net.nodes[1].links.stats().copied, copied, "and then no more is copied");
    }
}

#[test]
fn bulk_that_is_read_is_not_copied() {
    let mut net = Net::pair();
    let (link, other) = net.join(Over::Quic, 0, 1);
    let key = net.open(0, link, 9, Class::Pool);
    net.joined = 2;
    let (read, _) = transfer(&mut net, key, other, &pattern(4 * MIB), true);
    assert_eq!(read.len(), 4 * MIB);
    assert_eq!(net.nodes[1].links.stats().copied, 0);
}
