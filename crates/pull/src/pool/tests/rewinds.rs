//! What a peer can make this node do for a few bytes: moves back, permits, messages to be skipped, offers of what is known.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::codec::put_varint;
use weir_base::stream::{Ask, Group, Side};
use weir_base::{Chunk, Rope};

use super::super::*;
use super::fetching::{config, with_strangers};
use super::mesh::{Mesh, item, ms, pool};
use crate::machine::Opened;

/// A permit for everything, with this move to 0 where it is above 0.
fn want(number: u64) -> BytesMut {
    let (mut body, mut out) = (BytesMut::new(), BytesMut::new());
    put_varint(&mut body, codec::WANT);
    let from = (number > 0).then_some(codec::Move { number, epoch: codec::Epoch([0; 8]), index: 0 });
    let want = codec::Want { entries: 1 << 60, bytes: 1 << 60, through: 0, floor: 0, from };
    codec::encode_want(&want, &mut body);
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(&body);
    out
}

/// Asks for these items.
fn get(indices: std::ops::Range<u64>) -> BytesMut {
    let (mut body, mut out) = (BytesMut::new(), BytesMut::new());
    put_varint(&mut body, codec::GET);
    codec::encode_indices(indices, &mut body);
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(&body);
    out
}

/// A node with 5,000 items and two peers that dialled it; the keys of their streams of permits.
fn scene() -> (Mesh, [StreamKey; 2]) {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, config(), 1)));
    let keys = [1, 2].map(|node| {
        mesh.add(None);
        mesh.set_group(node, Side::Inbound, Group::Local(1));
        StreamKey { link: mesh.link(node, 0, 50), stream: 77 }
    });
    mesh.run_for(ms(10));
    for number in 0..5_000 {
        mesh.insert(0, &item(5, number, 100));
    }
    let now = mesh.now;
    keys.iter().for_each(|key| mesh.pool(0).handle_opened(now, *key, Opened::Peer { lane: 0 }));
    (mesh, keys)
}

/// The peer sends this; the bytes that the node then writes at once.
fn answer(mesh: &mut Mesh, now: Instant, key: StreamKey, message: BytesMut) -> u64 {
    let server = mesh.pool(0);
    server.handle_timeout(now);
    server.handle_incoming(now, key, Incoming::Data(Chunk::whole(message.freeze())));
    let mut bytes = 0;
    loop {
        let mut out = Rope::new();
        server.poll_write(now, key, 65_536, &mut out);
        while server.poll_ask().is_some() {}
        bytes += out.len() as u64;
        let due = server.poll_timeout().is_some_and(|(due, _)| due <= now);
        if due {
            server.handle_timeout(now);
        }
        if out.is_empty() && !due {
            return bytes;
        }
    }
}

#[test]
fn all_is_offered_again_at_most_once_in_10_s_on_a_link() {
    let (mut mesh, keys) = scene();
    let begun = mesh.now;
    let whole = answer(&mut mesh, begun, keys[0], want(0));
    assert!(whole > 50_000, "{whole}");
    let at = |number: u64| begun + ms(650 * number);
    let again: u64 = (1..=15).map(|number| answer(&mut mesh, at(number), keys[0], want(number))).sum();
    assert!(again > whole / 2 && again <= whole + whole / 10, "{again} of {whole} in 9 s");
    let later: u64 = (16..=30).map(|number| answer(&mut mesh, at(number), keys[0], want(number))).sum();
    assert!(later > whole / 2 && later <= whole + whole / 10, "{later} of {whole} in 10 s more");
    assert_eq!(mesh.pool(0).stats().faults, 0);
}

#[test]
fn what_is_offered_again_is_paid_as_upload() {
    let (mut mesh, keys) = scene();
    let now = mesh.now;
    let slots = keys.map(|key| mesh.pool(0).common.links.slot(key.link).unwrap());
    keys.iter().for_each(|key| assert!(answer(&mut mesh, now, *key, want(0)) > 50_000));
    assert_eq!(
        mesh.pool(0).uploads.first_of(slots),
        slots[0],
        "both offered for the first time: the lower slot"
    );
    answer(&mut mesh, now, keys[0], want(1));
    assert_eq!(mesh.pool(0).uploads.first_of(slots), slots[1]);
}

#[test]
fn what_is_offered_again_costs_as_much_as_bodies_of_so_many_bytes() {
    let (mut mesh, keys) = scene();
    mesh.insert(0, &item(5, 5_000, 20_000));
    mesh.run_for(ms(200)); // every clock strikes
    let now = mesh.now;
    let slots = keys.map(|key| mesh.pool(0).common.links.slot(key.link).unwrap());
    keys.iter().for_each(|key| assert!(answer(&mut mesh, now, *key, want(0)) > 50_000));
    let gets = StreamKey { link: keys[1].link, stream: 99 };
    mesh.pool(0).handle_opened(now, gets, Opened::Peer { lane: 1 });
    assert!(answer(&mut mesh, now, gets, get(5_000..5_001)) > 20_000);
    assert_eq!(mesh.pool(0).uploads.first_of(slots), slots[0], "the other one has paid for a body");
    assert!(answer(&mut mesh, now, keys[0], want(1)) > 50_000);
    assert_eq!(mesh.pool(0).uploads.first_of(slots), slots[1]);
}

#[test]
fn what_is_offered_again_waits_for_a_turn_of_upload() {
    let (mut mesh, busy) = scene();
    (5_000..5_008).for_each(|number| mesh.insert(0, &item(5, number, 60_000)));
    mesh.add(None);
    mesh.set_group(3, Side::Inbound, Group::Local(2));
    let key = StreamKey { link: mesh.link(3, 0, 50), stream: 77 };
    mesh.run_for(ms(10));
    let now = mesh.now;
    mesh.pool(0).handle_opened(now, key, Opened::Peer { lane: 0 });
    assert!(answer(&mut mesh, now, key, want(0)) > 50_000);
    for StreamKey { link, .. } in busy {
        // 480 kB each: as many turns as a link may have at once
        let key = StreamKey { link, stream: 99 };
        mesh.pool(0).handle_opened(now, key, Opened::Peer { lane: 1 });
        let gets = Chunk::whole(get(5_000..5_008).freeze());
        mesh.pool(0).handle_incoming(now, key, Incoming::Data(gets));
    }
    assert_eq!(mesh.pool(0).uploads.open_turns(), 8);
    assert_eq!(answer(&mut mesh, now, key, want(1)), 0, "others have all turns");
    let later = now + ms(20); // they have not used them
    assert!(answer(&mut mesh, later, key, want(1)) > 50_000);
}

#[test]
fn a_get_is_answered_in_the_turn_that_offers_have() {
    let (mut mesh, [key, _]) = scene();
    let now = mesh.now;
    assert!(answer(&mut mesh, now, key, want(0)) > 50_000);
    let gets = StreamKey { stream: 99, ..key };
    let server = mesh.pool(0);
    server.handle_opened(now, gets, Opened::Peer { lane: 1 });
    server.handle_incoming(now, key, Incoming::Data(Chunk::whole(want(1).freeze())));
    while server.poll_ask().is_some() {}
    server.poll_write(now, key, 1_000, &mut Rope::new()); // the first of what is offered again; then the stream is blocked
    assert_eq!(server.uploads.open_turns(), 1);
    server.handle_incoming(now, gets, Incoming::Data(Chunk::whole(Bytes::from_static(&[2, 0, 7]))));
    let asked: Vec<Ask> = std::iter::from_fn(|| server.poll_ask()).collect();
    assert!(asked.contains(&Ask::Write(gets)), "{asked:?}");
    let mut out = Rope::new();
    server.poll_write(now, gets, 65_536, &mut out);
    assert!(out.len() > 100, "the item");
}

#[test]
fn a_new_stream_does_not_make_moves_cheaper() {
    let (mut mesh, [key, _]) = scene();
    let begun = mesh.now;
    let whole = answer(&mut mesh, begun, key, want(0));
    let mut again = 0;
    for number in 1..16 {
        let (now, stream) = (begun + ms(600 * number), 77 + number);
        let before = StreamKey { stream: stream - 1, ..key };
        mesh.pool(0).handle_incoming(now, before, Incoming::Reset(0));
        let key = StreamKey { stream, ..key };
        mesh.pool(0).handle_opened(now, key, Opened::Peer { lane: 0 });
        again += answer(&mut mesh, now, key, want(0));
    }
    assert!(again <= whole + whole / 10, "{again} of {whole}");
}

#[test]
fn messages_to_be_skipped_are_not_taken_without_end() {
    for lane in [0, 1] {
        for (size, many) in [(1, 200), (60_000, 4)] {
            let (mut mesh, mut strangers) = with_strangers(&config(), 1);
            let stranger = &mut strangers[0];
            stranger.offer(&mut mesh, &item(5, 1, 100));
            mesh.run_for(ms(150));
            stranger.serve(&mut mesh);
            mesh.run_for(ms(150));
            let size = if lane == 0 { size.min(2_000) } else { size };
            let some = if size == 1 { 60 } else { 1 };
            (0..some).for_each(|_| stranger.send(&mut mesh, lane, 0x1_0001, &vec![7; size]));
            mesh.run_for(ms(100));
            assert!(mesh.faults.is_empty(), "a few are what grease is: {:?}", mesh.faults);
            let many = if lane == 0 { 200 } else { many };
            let size = if lane == 0 { 1 } else { size };
            (0..many).for_each(|_| stranger.send(&mut mesh, lane, 0x1_0001, &vec![7; size]));
            mesh.run_for(ms(200));
            let faults: Vec<_> = mesh.faults.iter().map(|fault| fault.2).collect();
            assert_eq!(faults, [CHATTY], "lane {lane}, {many} of {size} bytes");
        }
    }
}

#[test]
fn clients_messages_to_be_skipped_are_not_taken_without_end() {
    for lane in [0, 1] {
        let (mut mesh, strangers) = with_strangers(&config(), 1);
        let key = mesh.open(1, strangers[0].link, lane).unwrap();
        (0..200).for_each(|_| mesh.send(1, key, &[2, 0x7f, 0]));
        mesh.run_for(ms(200));
        let faults: Vec<_> = mesh.faults.iter().map(|fault| fault.2).collect();
        assert_eq!(faults, [CHATTY], "lane {lane}");
    }
}

/// For 10 s at a round trip of 100 ms the stranger uses all that it is granted for offers of items from `items`, numbered from 0.
/// How many entries came.
fn entries_offered(
    mesh: &mut Mesh,
    stranger: &mut super::stranger::Stranger,
    items: &dyn Fn(u64) -> bytes::Bytes,
    answer: fn(&mut super::stranger::Stranger, &mut Mesh),
) -> u64 {
    let begun = mesh.now;
    let mut number = 0;
    while mesh.now.since(begun) < Duration::from_secs(10) {
        let slot = mesh.pool(0).common.links.slot(stranger.link).unwrap();
        let (granted, used, granted_bytes, used_bytes) =
            mesh.pool(0).common.links.get(slot).unwrap().intake.grant.totals();
        let left = (granted - used).min((granted_bytes - used_bytes) / 40);
        for _ in 0..left {
            stranger.offer(mesh, &items(number));
            number += 1;
        }
        mesh.run_for(ms(50));
        answer(stranger, mesh);
        mesh.run_for(ms(50));
    }
    assert!(mesh.faults.is_empty(), "{:?}", mesh.faults);
    mesh.stats(0).entries
}

#[test]
fn offers_that_bring_nothing_make_no_window_larger() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let known = item(5, 1, 100);
    mesh.insert(0, &known);
    let entries = entries_offered(&mut mesh, &mut strangers[0], &|_| known.clone(), |_, _| {});
    assert!(entries < 10 * 2_560 + 256, "{entries}: at most a window in a round trip");
}

#[test]
fn who_offers_what_it_has_not_got_offers_a_window_of_it_in_a_second() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let entries =
        entries_offered(&mut mesh, &mut strangers[0], &|number| item(5, number, 100), |stranger, mesh| {
            stranger.gone(mesh);
        });
    assert!(entries <= 12 * 256 * 2, "{entries}");
    assert!(entries > 256, "it is not shut out");
}

#[test]
fn gone_storms_are_blamed_also_where_the_item_comes_from_others_later() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let [storm, honest] = &mut strangers[..] else { panic!() };
    for number in 0..60 {
        let bytes = item(5, number, 100);
        storm.offer(&mut mesh, &bytes);
        mesh.run_for(ms(120));
        storm.gone(&mut mesh);
        mesh.run_for(ms(120)); // the candidate is given up
        honest.offer(&mut mesh, &bytes);
        mesh.run_for(ms(120));
        honest.serve(&mut mesh);
        mesh.run_for(ms(60));
    }
    assert_eq!(mesh.ids(0).len(), 60);
    let blamed: Vec<_> = mesh.faults.iter().map(|fault| (fault.1, fault.2)).collect();
    assert_eq!(blamed, [(storm.link, MOSTLY_GONE)]);
}

#[test]
fn who_called_an_item_gone_and_delivers_it_later_is_not_judged_by_it() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    for number in 0..60 {
        let bytes = item(5, number, 100);
        stranger.offer(&mut mesh, &bytes);
        mesh.run_for(ms(120));
        stranger.gone(&mut mesh);
        mesh.run_for(ms(120));
        stranger.offer(&mut mesh, &bytes);
        mesh.run_for(ms(120));
        stranger.serve(&mut mesh);
        mesh.run_for(ms(60));
    }
    assert_eq!((mesh.ids(0).len(), mesh.faults.len()), (60, 0));
}
