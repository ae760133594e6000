//! What may come in answer, at its bounds, and what is found again when this node's key for short ids has changed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::codec::put_varint;

use super::super::codec::{Entry, Epoch, OfferHead};
use super::super::faults::{FALSE_ITEM, WITHHELD};
use super::super::*;
use super::counts::want;
use super::fetching::{config, with_strangers};
use super::mesh::{Mesh, id, item, ms};
use super::stranger::Stranger;
use crate::framing::MALFORMED;

/// A stranger has offered an item of this size and was asked for it.
fn asked(config: &Config, size: usize) -> (Mesh, Stranger) {
    let (mut mesh, mut strangers) = with_strangers(config, 1);
    let mut stranger = strangers.remove(0);
    stranger.offer(&mut mesh, &item(5, 1, size));
    mesh.run_for(ms(120));
    (mesh, stranger)
}

/// The score of a stranger's record.
fn score(mesh: &mut Mesh) -> u32 {
    mesh.pool(0).common.links.score(links::Slot(0))
}

/// The stranger answers with these bytes as the item of index 0.
fn answer(mesh: &mut Mesh, stranger: &Stranger, bytes: usize) {
    let mut fields = BytesMut::new();
    put_varint(&mut fields, 0);
    fields.resize(1 + bytes, 7);
    stranger.send(mesh, 1, codec::ITEM, &fields);
    mesh.run_for(ms(200));
}

#[test]
fn the_largest_item_is_asked_for_and_taken() {
    let (mut mesh, mut stranger) = asked(&Config { max_item: 20_000, ..config() }, 20_000);
    assert_eq!(stranger.asked(&mesh), [0]);
    stranger.serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!((mesh.ids(0).len(), mesh.faults.len()), (1, 0));
}

#[test]
fn an_answer_longer_than_the_largest_item_is_malformed() {
    let (mut mesh, stranger) = asked(&Config { max_item: 20_000, ..config() }, 20_000);
    let before = score(&mut mesh);
    answer(&mut mesh, &stranger, 20_100);
    assert_eq!(mesh.faults.iter().map(|fault| fault.2).collect::<Vec<_>>(), [MALFORMED]);
    assert_eq!(score(&mut mesh), before, "it is no false item");
}

#[test]
fn an_item_of_another_size_than_was_offered_makes_a_record_worse() {
    let (mut mesh, stranger) = asked(&config(), 200);
    let before = score(&mut mesh);
    answer(&mut mesh, &stranger, 100);
    assert_eq!(mesh.faults.iter().map(|fault| fault.2).collect::<Vec<_>>(), [FALSE_ITEM]);
    assert_eq!(score(&mut mesh), before / 4);
}

#[test]
fn who_is_heard_and_does_not_answer_is_blamed_once() {
    let (mut mesh, stranger) = asked(&config(), 200);
    for _ in 0..30 {
        stranger.send(&mut mesh, 0, 1, &[]); // heard from, with a message of an unknown odd type
        mesh.rtt(0, stranger.link, ms(50)); // and it hears what is asked of it
        mesh.run_for(ms(1_000));
    }
    assert_eq!(mesh.faults.iter().map(|fault| fault.2).collect::<Vec<_>>(), [WITHHELD]);
}

#[test]
fn who_is_heard_only_in_the_second_time_for_an_answer_is_blamed_then() {
    let (mut mesh, stranger) = asked(&config(), 200);
    mesh.run_for(ms(9_000)); // the path is down
    for _ in 0..15 {
        stranger.send(&mut mesh, 0, 1, &[]);
        mesh.rtt(0, stranger.link, ms(50));
        mesh.run_for(ms(1_000));
    }
    assert_eq!(mesh.faults.iter().map(|fault| fault.2).collect::<Vec<_>>(), [WITHHELD]);
}

#[test]
fn what_is_held_is_not_asked_for_again_under_a_new_key() {
    for delivered_before in [true, false] {
        let (mut mesh, mut strangers) = with_strangers(&config(), 2);
        mesh.app = Box::new(|_, _| (Duration::ZERO, None));
        let [first, second] = &mut strangers[..] else { panic!() };
        let bytes = item(5, 1, 200);
        first.offer(&mut mesh, &bytes);
        mesh.run_for(ms(120));
        if delivered_before {
            first.serve(&mut mesh);
            mesh.run_for(ms(120));
        }
        mesh.rotate(0, 2, false);
        first.serve(&mut mesh);
        mesh.run_for(ms(120));
        second.offer(&mut mesh, &bytes);
        mesh.run_for(ms(300));
        assert_eq!((second.asked(&mesh).len(), mesh.stats(0).bodies), (0, 1), "{delivered_before}");
        assert_eq!(mesh.pool(0).client.asking.candidates.len(), 1);
        let (ticket, _) = mesh.pool(0).checking_now()[0];
        mesh.command(0, Command::Verdict { ticket, at: mesh.now, verdict: Verdict::Accept });
        mesh.command(0, Command::Remove { id: id(&bytes) });
        assert_eq!(mesh.pool(0).client.asking.candidates.len(), 0);
    }
}

#[test]
fn an_item_that_turns_out_to_be_here_is_no_candidate_and_not_offered_back() {
    let (mut mesh, mut stranger) = asked(&config(), 200);
    mesh.rotate(0, 2, false);
    mesh.insert(0, &item(5, 1, 200)); // the offer was under another key: nobody sees that it is the same
    stranger.serve(&mut mesh);
    mesh.run_for(ms(120));
    let stats = mesh.stats(0);
    assert_eq!((stats.bodies, stats.duplicates, stats.candidates, stats.faults), (1, 1, 0, 0));
    assert_eq!(mesh.pool(0).client.asking.candidates.len(), 0);
    let key = mesh.open(1, stranger.link, 0).unwrap();
    mesh.run_for(ms(60));
    mesh.send(1, key, &want());
    mesh.run_for(ms(300));
    assert_eq!(mesh.stats(0).entries_sent, 0);
}

#[test]
fn an_accepted_item_that_finds_no_place_is_told_as_evicted_and_no_other() {
    let (mut mesh, mut strangers) = with_strangers(&Config { max_items: 1, ..config() }, 1);
    let stranger = &mut strangers[0];
    let deliver = |mesh: &mut Mesh, stranger: &mut Stranger, bytes: &Bytes| {
        stranger.offer(mesh, bytes);
        mesh.run_for(ms(120));
        stranger.serve(mesh);
        mesh.run_for(ms(120));
    };
    let (high, low) = (item(9, 1, 100), item(5, 2, 100));
    deliver(&mut mesh, stranger, &high);
    assert!(mesh.nodes[0].evicted.is_empty());
    deliver(&mut mesh, stranger, &low);
    assert_eq!((&mesh.nodes[0].evicted[..], mesh.ids(0)), (&[id(&low)][..], vec![id(&high)]));
}

#[test]
fn what_changes_nothing_that_is_wanted_is_told_nobody() {
    let (mut mesh, _) = with_strangers(&config(), 1);
    mesh.insert(0, &item(5, 1, 100));
    mesh.command(0, Command::Floor(3));
    mesh.run_for(ms(120));
    let before = mesh.stats(0).wants_sent;
    mesh.command(0, Command::Floor(3));
    mesh.command(0, Command::Remove { id: id(&item(5, 1, 100)) });
    mesh.run_for(ms(120));
    assert_eq!(mesh.stats(0).wants_sent, before, "the floor is as it was, and the pool was never full");
}

#[test]
fn all_begin_anew_a_second_time_ten_seconds_after_the_first() {
    let (mut mesh, _) = with_strangers(&config(), 1);
    mesh.command(0, Command::Resync);
    mesh.run_for(ms(1_000));
    let before = mesh.stats(0).wants_sent;
    mesh.command(0, Command::Resync);
    mesh.run_for(ms(8_000));
    assert_eq!(mesh.stats(0).wants_sent, before);
    mesh.run_for(ms(2_000));
    assert_eq!(mesh.stats(0).wants_sent, before + 1);
}

/// The stream of offers that a stranger has.
fn offers_key(mesh: &Mesh) -> StreamKey {
    mesh.nodes[1].opened.iter().rev().find(|(_, lane)| *lane == 0).unwrap().0
}

/// The stream of offers ends. How many seconds until it is opened again.
fn pause(mesh: &mut Mesh) -> u64 {
    let (now, key, before) = (mesh.now, offers_key(mesh), mesh.nodes[1].opened.len());
    mesh.pool(0).handle_incoming(now, key, Incoming::End);
    for seconds in 0..100 {
        mesh.run_for(ms(1_000));
        if mesh.nodes[1].opened.len() > before {
            return seconds;
        }
    }
    panic!("it is not opened again");
}

#[test]
fn an_entry_makes_the_pause_of_offers_short_again_and_an_empty_offer_does_not() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    let bytes = item(5, 1, 100);
    stranger.offer(&mut mesh, &bytes);
    mesh.run_for(ms(120));
    stranger.serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!(pause(&mut mesh), 10);
    let first = |entry: bool| {
        let to = 1 + u64::from(entry);
        let head = OfferHead { first: Some((1, Epoch([7; 8]))), key: 1, from: 1, to };
        let mut out = BytesMut::new();
        codec::encode_offer_head(&head, &mut out);
        if entry {
            let other = item(5, 2, 100);
            let short = super::mesh::key(0, 1).key.short(&id(&other));
            let entry = Entry { index: 1, short, size: 100, summary: Summary::new(&[5]).unwrap() };
            codec::encode_entry(&entry, 1, &mut out);
        }
        out
    };
    stranger.send(&mut mesh, 0, codec::FIRST, &first(false));
    mesh.run_for(ms(120));
    assert_eq!(pause(&mut mesh), 20);
    stranger.send(&mut mesh, 0, codec::FIRST, &first(true));
    mesh.run_for(ms(120));
    assert_eq!((pause(&mut mesh), mesh.faults.len()), (10, 0));
}

#[test]
fn a_paused_node_opens_no_stream_of_offers_until_it_goes_on() {
    let (mut mesh, _) = with_strangers(&config(), 1);
    let (now, key) = (mesh.now, offers_key(&mesh));
    mesh.pool(0).handle_incoming(now, key, Incoming::End);
    mesh.command(0, Command::Pause(true));
    let opened = mesh.nodes[1].opened.len();
    mesh.run_for(ms(15_000));
    assert_eq!(mesh.nodes[1].opened.len(), opened);
    mesh.command(0, Command::Pause(false));
    mesh.run_for(ms(100));
    assert_eq!(mesh.nodes[1].opened.len(), opened + 1);
}

#[test]
fn gets_are_written_into_as_little_room_as_there_is() {
    let (mut mesh, mut stranger) = asked(&config(), 200);
    let key = mesh.nodes[1].opened.iter().find(|(_, lane)| *lane == 1).unwrap().0;
    mesh.stuck.insert(key);
    (2..40).for_each(|number| stranger.offer(&mut mesh, &item(5, number, 100)));
    mesh.run_for(ms(60));
    let now = mesh.now;
    let mut whole = 0;
    for room in [1, 2, 1_000] {
        let mut out = weir_base::Rope::new();
        mesh.pool(0).poll_write(now, key, room, &mut out);
        assert!(out.len() <= room && !out.is_empty());
        whole += out.len();
    }
    assert_eq!(whole, 2 + 38, "a length, a type and 38 gaps");
}

#[test]
fn a_stream_of_gets_that_finds_no_place_is_tried_again_after_a_second() {
    use weir_base::stream::{Ask, OpenError};

    let (mut mesh, _) = with_strangers(&config(), 1);
    let bytes = item(5, 1, 100);
    let (now, key) = (mesh.now, offers_key(&mesh));
    let (mut body, mut message) = (BytesMut::new(), BytesMut::new());
    put_varint(&mut body, codec::FIRST);
    let head = OfferHead { first: Some((0, Epoch([7; 8]))), key: 1, from: 0, to: 1 };
    codec::encode_offer_head(&head, &mut body);
    let short = super::mesh::key(0, 1).key.short(&id(&bytes));
    let entry = Entry { index: 0, short, size: 100, summary: Summary::new(&[5]).unwrap() };
    codec::encode_entry(&entry, 0, &mut body);
    put_varint(&mut message, body.len() as u64);
    message.extend_from_slice(&body);
    let opens = |mesh: &mut Mesh| -> Vec<u64> {
        let asks = std::iter::from_fn(|| mesh.pool(0).poll_ask());
        asks.filter_map(|ask| if let Ask::Open { tag, .. } = ask { Some(tag) } else { None }).collect()
    };
    mesh.pool(0).handle_incoming(now, key, Incoming::Data(weir_base::Chunk::whole(message.freeze())));
    let tag = key.link.0 * 2 + 1;
    assert_eq!(opens(&mut mesh), [tag]);
    mesh.pool(0).handle_refused(now, tag, OpenError::Limit);
    mesh.pool(0).handle_timeout(now + ms(1_000));
    assert_eq!(opens(&mut mesh), [tag]);
}
