//! Raw streams on a cluster: bytes, backpressure, ends, acceptance.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a test that fails says where

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::pin::Pin;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use weir::testing::Cluster;
use weir::{
    Builder, Bytes, Config, Keypair, Network, NetworkId, Node, OpenError, Raw, RawStream, StreamError,
    Streams,
};

const BYTES: Raw = Raw::new(9, "bytes");

fn builder(number: u8) -> Builder<Streams> {
    Network::builder(Keypair::ed25519_from_seed([number; 32]), NetworkId([1; 32])).channels(BYTES)
}

fn pair(seed: u64) -> (Cluster, (Network, Node), (Network, Node), RawStream, RawStream) {
    let cluster = Cluster::new(seed);
    let (server, server_node, accepted) = cluster.add(builder(1)).unwrap();
    let (client, client_node, streams) = cluster.add(builder(2)).unwrap();
    let peer = cluster.run_until(client.connect(&server.addresses()[0])).unwrap();
    let mut ours = cluster.run_until(streams.open(peer)).unwrap();
    cluster.run_until(ours.write_bytes(Bytes::from_static(b"hello"))).unwrap();
    let mut theirs = accepted.next_blocking().unwrap();
    assert_eq!(theirs.peer(), client.peer_id());
    assert_eq!(cluster.run_until(theirs.read_chunk()).unwrap().unwrap(), "hello");
    (cluster, (server, server_node), (client, client_node), ours, theirs)
}

#[test]
fn bytes_arrive_in_order_both_ways_through_futures_io() {
    const TOTAL: usize = 3 << 20;
    let (cluster, _server, _client, mut ours, mut theirs) = pair(1);
    let writer = cluster.spawn(async move {
        let data: Vec<u8> = (0..TOTAL).map(|place| (place % 253) as u8).collect();
        let mut left = &data[..];
        while !left.is_empty() {
            let len = left.len().min(1000);
            let done = poll_fn(|cx| Pin::new(&mut ours).poll_write(cx, &left[..len])).await.unwrap();
            left = &left[done..];
        }
        poll_fn(|cx| Pin::new(&mut ours).poll_close(cx)).await.unwrap();
        ours
    });
    let total = cluster.run_until(async {
        let (mut total, mut buf) = (0, [0; 7000]);
        loop {
            let len = poll_fn(|cx| Pin::new(&mut theirs).poll_read(cx, &mut buf)).await.unwrap();
            if len == 0 {
                break total;
            }
            for byte in &buf[..len] {
                assert_eq!(*byte, (total % 253) as u8);
                total += 1;
            }
        }
    });
    assert_eq!(total, TOTAL);
    let mut ours = cluster.run_until(writer);
    cluster.run_until(theirs.write_bytes(Bytes::from_static(b"thanks"))).unwrap();
    theirs.finish();
    assert_eq!(cluster.run_until(ours.read_chunk()).unwrap().unwrap(), "thanks");
    assert_eq!(cluster.run_until(ours.read_chunk()).unwrap(), None);
}

#[test]
fn a_reader_that_stops_reading_stops_the_writer_at_a_bound() {
    let cluster = Cluster::new(2);
    let mut config = Config::default();
    config.mailboxes.stream_send = 64 * 1024;
    config.mailboxes.stream_receive = 64 * 1024;
    let (server, _node, accepted) = cluster.add(builder(1).config(config.clone())).unwrap();
    let (client, _client_node, streams) = cluster.add(builder(2).config(config)).unwrap();
    let peer = cluster.run_until(client.connect(&server.addresses()[0])).unwrap();
    let mut ours = cluster.run_until(streams.open(peer)).unwrap();
    let waiting = client.clone();
    let written = cluster.spawn(async move {
        let mut written = 0;
        let long = Duration::from_secs(20);
        while waiting.within(long, ours.write_bytes(Bytes::from(vec![0; 4096]))).await.is_ok() {
            written += 4096;
        }
        (written, ours)
    });
    let (written, ours) = cluster.run_until(written);
    assert!((64 * 1024..16 << 20).contains(&written), "{written} bytes went out unread");
    let mut theirs = accepted.next_blocking().unwrap();
    drop(ours); // finishes
    let mut read = 0;
    while let Some(chunk) = cluster.run_until(theirs.read_chunk()).unwrap() {
        read += chunk.len();
    }
    assert!(read >= written, "{read} of {written}");
}

#[test]
fn threads_use_std_io() {
    let (_cluster, _server, _client, ours, theirs) = pair(3);
    let (mut ours, mut theirs) = (ours.blocking(), theirs.blocking());
    ours.write_all(&vec![7; 100_000]).unwrap();
    ours.finish();
    let mut all = Vec::new();
    theirs.read_to_end(&mut all).unwrap();
    assert_eq!(all, vec![7; 100_000]);
}

#[test]
fn resets_and_stops_carry_their_codes() {
    let (cluster, _server, _client, ours, mut theirs) = pair(4);
    ours.reset(77);
    assert_eq!(cluster.run_until(theirs.read_chunk()), Err(StreamError::Reset(77)));

    let (cluster, _server, _client, mut ours, theirs) = pair(5);
    let (reader, _writer) = theirs.split();
    reader.stop(78);
    let error = cluster.run_until(async {
        loop {
            if let Err(error) = ours.write_bytes(Bytes::from(vec![0; 1000])).await {
                return error;
            }
        }
    });
    assert_eq!(error, StreamError::Stopped(78));
}

#[test]
fn a_lost_link_ends_its_streams() {
    let (cluster, server, _client, mut ours, _theirs) = pair(6);
    cluster.crash(server.0.peer_id());
    assert_eq!(cluster.run_until(ours.read_chunk()), Err(StreamError::Gone));
    assert_eq!(cluster.run_until(ours.write_bytes(Bytes::from_static(b"x"))), Err(StreamError::Gone));
}

#[test]
fn opening_says_why_not() {
    let cluster = Cluster::new(7);
    let (server, _node, ()) =
        cluster.add(Network::builder(Keypair::ed25519_from_seed([1; 32]), NetworkId([1; 32]))).unwrap();
    let (client, _client_node, streams) = cluster.add(builder(2)).unwrap();
    let nobody = Keypair::ed25519_from_seed([9; 32]).peer_id();
    assert_eq!(cluster.run_until(streams.open(nobody)).unwrap_err(), OpenError::NotConnected);
    let peer = cluster.run_until(client.connect(&server.addresses()[0])).unwrap();
    assert_eq!(cluster.run_until(streams.open(peer)).unwrap_err(), OpenError::Unsupported);
}

#[test]
fn what_was_written_is_delivered_before_a_shutdown() {
    let (cluster, _server, client, mut ours, mut theirs) = pair(8);
    cluster.run_until(ours.write_bytes(Bytes::from(vec![1; 300_000]))).unwrap();
    ours.finish();
    let report = cluster.spawn(client.1.shutdown(Duration::from_secs(20)));
    let mut read = 0;
    while let Some(chunk) = cluster.run_until(theirs.read_chunk()).unwrap() {
        read += chunk.len();
    }
    assert_eq!(read, 300_000);
    assert_eq!(cluster.run_until(report).unfinished, 0);
}
