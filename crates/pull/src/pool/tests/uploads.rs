//! How answers are written: a message at a time where little room is left, and in turns that are given back.

use std::time::Duration;

use bytes::BytesMut;
use weir_base::codec::put_varint;
use weir_base::stream::{Group, Side};
use weir_base::{Chunk, Rope, StreamKey};

use super::super::codec::{MAX_INDICES, MAX_ITEM_HEAD};
use super::super::links::Role;
use super::super::*;
use super::fetching::config;
use super::mesh::{Mesh, item, ms, pool};
use crate::machine::Opened;

/// Bytes of a turn.
const QUANTUM: usize = 64 * 1024;

/// A node with items of these sizes, and so many peers in one group that dialled it and have opened their streams of gets.
fn scene(sizes: &[usize], peers: usize) -> (Mesh, Vec<StreamKey>) {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, config(), 1)));
    for (size, number) in sizes.iter().zip(0..) {
        mesh.insert(0, &item(5, number, *size));
    }
    let keys = (1..=peers).map(|node| {
        mesh.add(None);
        mesh.set_group(node, Side::Inbound, Group::Local(1));
        let key = StreamKey { link: mesh.link(node, 0, 50), stream: 99 };
        let now = mesh.now;
        mesh.pool(0).handle_opened(now, key, Opened::Peer { lane: 1 });
        key
    });
    let keys: Vec<StreamKey> = keys.collect();
    mesh.run_for(ms(10));
    (mesh, keys)
}

/// The peer asks for these items, or takes them back.
fn send(mesh: &mut Mesh, key: StreamKey, kind: u64, indices: impl Iterator<Item = u64>) {
    let (mut body, mut out) = (BytesMut::new(), BytesMut::new());
    put_varint(&mut body, kind);
    codec::encode_indices(indices, &mut body);
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(&body);
    let now = mesh.now;
    mesh.pool(0).handle_incoming(now, key, Incoming::Data(Chunk::whole(out.freeze())));
    while mesh.pool(0).poll_ask().is_some() {}
}

/// What the node writes on a stream into so much room, behind what is there already.
fn write(mesh: &mut Mesh, key: StreamKey, room: usize, before: usize) -> usize {
    let mut out = Rope::new();
    out.put(&vec![0; before]);
    let now = mesh.now;
    mesh.pool(0).poll_write(now, key, room, &mut out);
    while mesh.pool(0).poll_ask().is_some() {}
    out.len() - before
}

/// What is encoded for a peer's gets and not written.
fn unsent(mesh: &mut Mesh, key: StreamKey) -> usize {
    let links = &mesh.pool(0).common.links;
    links.get(links.slot(key.link).unwrap()).unwrap().lane(Role::Serving).unsent.len()
}

#[test]
fn one_answer_at_a_time_is_encoded_where_less_than_that_fits() {
    let (mut mesh, keys) = scene(&[1_000; 4], 1);
    send(&mut mesh, keys[0], codec::GET, 0..4);
    assert_eq!(write(&mut mesh, keys[0], 10, 0), 10);
    let rest = unsent(&mut mesh, keys[0]);
    assert!((990..1_000 + MAX_ITEM_HEAD).contains(&rest), "{rest} bytes of the first one");
    assert_eq!(write(&mut mesh, keys[0], rest, 0), rest);
    assert_eq!(unsent(&mut mesh, keys[0]), 0, "no room is left, so the next is not encoded yet");
}

#[test]
fn what_is_written_goes_behind_what_is_there_and_is_counted_once() {
    let (mut mesh, keys) = scene(&[1_000; 4], 1);
    send(&mut mesh, keys[0], codec::GET, 0..4);
    for room in [700, 2_000] {
        let before = mesh.stats(0);
        assert_eq!(write(&mut mesh, keys[0], room, 5_000), room);
        let after = mesh.stats(0);
        let control = after.control_bytes_sent - before.control_bytes_sent;
        assert!(control < 100, "{control} bytes of heads");
    }
}

#[test]
fn what_is_gone_is_told_in_as_many_bytes_as_there_is_room_for() {
    let (mut mesh, keys) = scene(&[1_000], 1);
    let many = || (1_000..1_000_000_000).step_by(1_000_000).take(MAX_INDICES / 2);
    send(&mut mesh, keys[0], codec::GET, many());
    send(&mut mesh, keys[0], codec::CANCEL, many());
    let whole = 1_500; // 512 gaps of three bytes
    for room in [1, 3, 1_000] {
        assert_eq!(write(&mut mesh, keys[0], room, 0), room);
    }
    let rest = write(&mut mesh, keys[0], 100_000, 0);
    assert!((whole - 1_004..whole).contains(&rest), "{rest}");
}

#[test]
fn a_link_has_as_many_turns_as_it_has_work_for_and_four_at_most() {
    for (items, turns) in [(1, 1), (2, 2), (4, 4), (5, 4), (8, 4)] {
        let (mut mesh, keys) = scene(&[QUANTUM; 8], 1);
        send(&mut mesh, keys[0], codec::GET, 0..items);
        assert_eq!(mesh.pool(0).uploads.open_turns(), turns, "{items}");
    }
}

#[test]
fn who_asks_for_less_than_its_share_has_the_next_turn() {
    let (mut mesh, keys) = scene(&[60_000; 20], 21);
    let (newcomer, others) = keys.split_last().unwrap();
    others.iter().for_each(|key| send(&mut mesh, *key, codec::GET, 0..20));
    let writes = |mesh: &mut Mesh, key: &StreamKey| write(mesh, *key, 20 * QUANTUM, 0) > 0;
    assert!(others.iter().all(|key| writes(&mut mesh, key)), "each has had a turn");
    send(&mut mesh, *newcomer, codec::GET, 0..1);
    assert!(!writes(&mut mesh, newcomer), "all turns are others'");
    assert!(others.iter().any(|key| writes(&mut mesh, key)), "one of them has ended");
    assert!(writes(&mut mesh, newcomer));
}

#[test]
fn one_more_turn_costs_what_is_left_of_it_and_not_what_was_used_before() {
    let (mut mesh, keys) = scene(&[60_000; 20], 3);
    let [whole, single, parts] = keys[..] else { panic!() };
    send(&mut mesh, whole, codec::GET, 0..20);
    send(&mut mesh, single, codec::GET, 0..1);
    send(&mut mesh, parts, codec::GET, 0..20);
    let turn = |mesh: &mut Mesh| {
        let links = &mesh.pool(0).common.links;
        links.get(links.slot(parts.link).unwrap()).unwrap().serving.turn.unwrap()
    };
    assert_eq!(
        (turn(&mut mesh).turns, turn(&mut mesh).charged),
        (3, 240_000),
        "four items begin within 192 KiB"
    );
    assert!(write(&mut mesh, parts, 61_000, 0) > 60_000, "a part of its three");
    assert!(write(&mut mesh, single, QUANTUM, 0) > 60_000, "its end gives the other a fourth");
    assert_eq!((turn(&mut mesh).turns, turn(&mut mesh).charged), (4, 300_000), "five within 256 KiB");
}

#[test]
fn a_turn_that_is_used_up_to_its_last_byte_is_over() {
    let (mut mesh, keys) = scene(&[QUANTUM; 2], 1);
    send(&mut mesh, keys[0], codec::GET, 0..1); // it gets a turn of just as many bytes
    send(&mut mesh, keys[0], codec::GET, 1..2);
    assert!(write(&mut mesh, keys[0], 10 * QUANTUM, 0) > 2 * QUANTUM);
    assert_eq!(mesh.pool(0).uploads.open_turns(), 0);
}

#[test]
fn the_turns_of_a_link_that_ended_are_free_and_those_of_others_stay() {
    let (mut mesh, keys) = scene(&[QUANTUM; 8], 3);
    send(&mut mesh, keys[0], codec::GET, 0..2);
    send(&mut mesh, keys[1], codec::GET, 0..3);
    assert_eq!(mesh.pool(0).uploads.open_turns(), 5);
    mesh.unlink(keys[0].link);
    assert_eq!(mesh.pool(0).uploads.open_turns(), 3);
    mesh.run_for(ms(30)); // nobody used them: they are not waited for
    send(&mut mesh, keys[2], codec::GET, 0..4);
    assert_eq!(mesh.pool(0).uploads.open_turns(), 7);
}

#[test]
fn an_account_that_is_forgotten_leaves_every_dealer() {
    let (mut mesh, keys) = scene(&[100], 3);
    for key in &keys[..2] {
        mesh.unlink(key.link);
    }
    let members =
        |mesh: &mut Mesh| (mesh.pool(0).uploads.members(), mesh.pool(0).client.asking.fetch.members());
    assert_eq!(members(&mut mesh), (3, 3), "what they owe stays");
    mesh.run_for(Duration::from_secs(11));
    mesh.unlink(keys[2].link); // accounts are looked at when a link comes or ends
    assert_eq!(members(&mut mesh), (1, 1));
}

#[test]
fn a_peer_has_one_stream_of_gets_at_a_time() {
    let (mut mesh, keys) = scene(&[1_000; 2], 1);
    let second = StreamKey { stream: 101, ..keys[0] };
    let now = mesh.now;
    mesh.pool(0).handle_opened(now, second, Opened::Peer { lane: 1 });
    let asks: Vec<Ask> = std::iter::from_fn(|| mesh.pool(0).poll_ask()).collect();
    let code = crate::framing::code::LIMIT;
    assert_eq!(asks, [Ask::Reset(second, code), Ask::Stop(second, code)]);
    send(&mut mesh, keys[0], codec::GET, 0..1);
    assert!(write(&mut mesh, keys[0], 10_000, 0) > 1_000, "the first goes on");
}
