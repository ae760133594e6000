//! What is counted, and what may come on each stream.

use bytes::BytesMut;
use weir_base::StreamKey;
use weir_base::codec::put_varint;

use super::super::codec::{MAX_ITEM_HEAD, MAX_LIST, MAX_WANT, Want};
use super::super::*;
use super::fetching::{config, with_strangers};
use super::mesh::{Mesh, id, item, ms};

/// A permit for a hundred entries.
pub(super) fn want() -> Vec<u8> {
    let (mut body, mut out) = (BytesMut::new(), BytesMut::new());
    put_varint(&mut body, codec::WANT);
    codec::encode_want(&Want { entries: 100, bytes: 10_000, through: 0, floor: 0, from: None }, &mut body);
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(&body);
    out.to_vec()
}

#[test]
fn both_ends_count_the_same() {
    let mut mesh = Mesh::full(1, 2, &config());
    for number in 0..20 {
        mesh.insert(0, &item(5, number, 300));
    }
    mesh.run_for(ms(1_000));
    let late = item(5, 99, 300);
    mesh.insert(0, &late);
    mesh.run_for(ms(60)); // it is offered, and asked for
    mesh.command(0, Command::Remove { id: id(&late) });
    mesh.run_for(ms(1_000));
    let (from, to) = (mesh.stats(0), mesh.stats(1));
    assert_eq!((from.items_sent, to.bodies, to.gets_sent, to.gone), (20, 20, 21, 1));
    assert_eq!((from.accepted, to.accepted, to.candidates), (21, 20, 20));
    assert_eq!((from.entries_sent, to.entries, to.entries_held), (21, 21, 21));
    assert!(from.offers_sent > 0 && from.offers_sent == to.offers);
    assert_eq!((from.body_bytes_sent, to.body_bytes), (6_000, 6_000));
    for (one, other) in [(from, to), (to, from)] {
        assert!(one.control_bytes_sent > 0 && one.control_bytes_sent == other.control_bytes);
    }
    assert!(to.bytes_held > 21 * 11 && to.bytes_held < to.bytes_granted && to.wants_sent > 0);
    let sent: u64 = mesh.pool(0).common.links.iter().map(|(_, link)| link.outlet.sent_bytes()).sum();
    assert_eq!(sent, to.bytes_held, "of offers, with their lengths and types");
    let [one, other] = [0, 1].map(|node| mesh.pool(node).counters());
    assert_eq!((one.messages_out, one.messages_in), (other.messages_in, other.messages_out));
    assert_eq!(
        one.messages_out,
        from.offers_sent + from.items_sent + from.wants_sent + 1,
        "and one that is gone"
    );
}

#[test]
fn what_is_late_taken_back_and_twice_delivered_is_counted() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let [slow, quick] = &mut strangers[..] else { panic!() };
    let bytes = item(5, 1, 200);
    slow.offer(&mut mesh, &bytes);
    mesh.run_for(ms(20));
    quick.offer(&mut mesh, &bytes);
    mesh.run_for(ms(500));
    assert_eq!(mesh.stats(0).late, 1);
    quick.serve(&mut mesh);
    mesh.run_for(ms(150));
    let stats = mesh.stats(0);
    assert_eq!((stats.cancels_sent, stats.bodies, stats.duplicates), (1, 1, 0));
    slow.serve(&mut mesh);
    mesh.run_for(ms(150));
    let stats = mesh.stats(0);
    assert_eq!((stats.bodies, stats.duplicates, stats.faults), (2, 1, 0));
}

#[test]
fn each_fault_is_counted() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    mesh.app = Box::new(|_, _| (ms(0), Some(Verdict::Reject)));
    strangers[0].offer(&mut mesh, &item(5, 1, 200));
    mesh.run_for(ms(120));
    strangers[0].serve(&mut mesh);
    mesh.run_for(ms(120));
    assert_eq!((mesh.stats(0).faults, mesh.faults.len()), (1, 1), "an item that was rejected");
    strangers[1].send(&mut mesh, 0, 12, &[]);
    mesh.run_for(ms(120));
    assert_eq!((mesh.stats(0).faults, mesh.faults.len()), (2, 2), "a message of an unknown type");
}

#[test]
fn on_each_stream_as_much_may_come_as_its_messages_take() {
    let (mut mesh, strangers) = with_strangers(&config(), 1);
    let link = strangers[0].link;
    let [wants, gets] = [0, 1].map(|lane| mesh.open(1, link, lane).unwrap());
    mesh.run_for(ms(120));
    assert_eq!(mesh.pool(0).room(wants), MAX_WANT + 2);
    assert_eq!(mesh.pool(0).room(gets), MAX_LIST + 2);
    let offers = mesh.nodes[1].opened.iter().find(|(_, lane)| *lane == 0).unwrap().0;
    assert_eq!(mesh.pool(0).room(offers), 256 * 32 + 1);
    assert_eq!(mesh.pool(0).room(StreamKey { link, stream: 999 }), 0);
    let mut stranger = strangers.into_iter().next().unwrap();
    stranger.offer(&mut mesh, &item(5, 1, 200));
    mesh.run_for(ms(120));
    let items = mesh.nodes[1].opened.iter().find(|(_, lane)| *lane == 1).unwrap().0;
    assert_eq!(mesh.pool(0).room(items), 200 + 2 * MAX_ITEM_HEAD + 1);
}

#[test]
fn timers_of_gets_that_were_answered_are_forgotten() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let [silent, quick] = &mut strangers[..] else { panic!() };
    silent.offer(&mut mesh, &item(5, 1_000, 100));
    mesh.run_for(ms(60));
    for number in 0..200 {
        quick.offer(&mut mesh, &item(5, number, 100));
    }
    mesh.run_for(ms(110));
    quick.serve(&mut mesh);
    mesh.run_for(ms(60));
    assert_eq!(mesh.stats(0).bodies, 200);
    let fetch = &mesh.pool(0).client.asking.fetch;
    assert_eq!(fetch.gets(), 1);
    assert!((1..=64 + 4).contains(&fetch.late.len()), "{}", fetch.late.len());
}

#[test]
fn a_stream_that_finds_no_place_is_tried_again_after_a_second() {
    use weir_base::stream::{Ask, OpenError};

    for (error, again) in [(OpenError::Limit, true), (OpenError::Closed, false)] {
        let (mut mesh, _) = with_strangers(&config(), 0);
        mesh.add(None);
        let (now, info) = (
            mesh.now,
            weir_base::stream::LinkInfo {
                peer: super::mesh::peer(1),
                side: weir_base::stream::Side::Inbound,
                dialler: false,
                group: weir_base::stream::Group::Local(1),
            },
        );
        let link = weir_base::LinkId(7);
        mesh.pool(0).link_up(now, link, &info);
        let opens = |mesh: &mut Mesh| -> Vec<u64> {
            let asks = std::iter::from_fn(|| mesh.pool(0).poll_ask());
            asks.filter_map(|ask| if let Ask::Open { tag, .. } = ask { Some(tag) } else { None }).collect()
        };
        assert_eq!(opens(&mut mesh), [14]);
        mesh.pool(0).handle_refused(now, 14, error);
        let due = mesh.pool(0).poll_timeout().map(|(due, _)| due);
        assert_eq!(due, again.then(|| now + ms(1_000)));
        mesh.pool(0).handle_timeout(now + ms(1_000));
        assert_eq!(opens(&mut mesh), if again { vec![14] } else { vec![] });
    }
}
