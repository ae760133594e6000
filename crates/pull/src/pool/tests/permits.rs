//! When a permit is sent: at once, within a round trip, or once other links have given back the credit that was lent to them.

use bytes::BytesMut;
use weir_base::Chunk;
use weir_base::codec::put_varint;

use super::super::*;
use super::fetching::{config, with_strangers};
use super::mesh::{Mesh, item, ms, peer, pool};
use super::stranger::Stranger;
use crate::machine::Opened;

/// A message that is skipped: the link's credit is looked at.
fn touch(mesh: &mut Mesh, stranger: &Stranger) {
    stranger.send(mesh, 0, 3, &[]);
}

/// Runs for so many times 10 ms, and says after which of them a further permit had gone out first.
fn next_permit(mesh: &mut Mesh, mut each: impl FnMut(&mut Mesh, u64)) -> Option<u64> {
    let before = mesh.stats(0).wants_sent;
    (1..=150).find(|step| {
        each(mesh, *step);
        mesh.run_for(ms(10));
        mesh.stats(0).wants_sent > before
    })
}

/// Entries granted to a stranger and not used.
fn open(mesh: &mut Mesh, stranger: &Stranger) -> u64 {
    let links = &mesh.pool(0).common.links;
    links.get(links.slot(stranger.link).unwrap()).unwrap().intake.grant.open()
}

fn items(first: u64, count: u64) -> Vec<bytes::Bytes> {
    (first..first + count).map(|number| item(5, number, 100)).collect()
}

#[test]
fn who_has_nothing_left_gets_a_permit_a_round_trip_later_whatever_else_it_sends() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    let known = items(0, 56);
    known.iter().for_each(|item| mesh.insert(0, item));
    stranger.offer_all(&mut mesh, &known); // these cost nothing
    stranger.offer_all(&mut mesh, &items(100, 200)); // and these are charged
    mesh.run_for(ms(49));
    assert_eq!(open(&mut mesh, stranger), 256);
    let after = next_permit(&mut mesh, |mesh, step| {
        if step % 3 == 0 {
            touch(mesh, stranger);
        }
    });
    assert_eq!((after, open(&mut mesh, stranger)), (Some(11), 56), "a millisecond, and a round trip of 100");
}

/// All that may be granted is: to the first 196 entries that it has not used, to the second the 60 that were left.
fn all_lent() -> (Mesh, Vec<Stranger>) {
    let config = Config { max_grants: 512, entries: 256, max_entries: 256, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, 1);
    let known = items(0, 60);
    known.iter().for_each(|item| mesh.insert(0, item));
    strangers[0].offer_all(&mut mesh, &known);
    mesh.run_for(ms(200));
    let node = mesh.add(None);
    mesh.set_group(node, weir_base::stream::Side::Inbound, weir_base::stream::Group::Local(9));
    let second = Stranger::dial(&mut mesh, node, 0);
    mesh.run_for(ms(200));
    strangers.push(second);
    let granted = [0, 1].map(|at| open(&mut mesh, &strangers[at]));
    assert_eq!(granted, [196, 60]);
    (mesh, strangers)
}

#[test]
fn while_all_is_lent_a_due_permit_waits_a_second_and_never_longer() {
    let (mut mesh, strangers) = all_lent();
    let after = next_permit(&mut mesh, |mesh, step| {
        if step % 40 == 1 {
            touch(mesh, &strangers[1]);
        }
    });
    assert!(matches!(after, Some(105..=107)), "50 ms there, and a second: {after:?}");
}

#[test]
fn a_window_grows_with_new_items_of_two_round_trips_below_three_quarters_lent() {
    let config = Config { max_grants: 8_192, entries: 256, max_entries: 4_096, ..config() };
    let (mut mesh, mut strangers) = with_strangers(&config, 6);
    let stranger = &mut strangers[0];
    mesh.rtt(0, stranger.link, ms(1_000));
    stranger.offer_all(&mut mesh, &items(0, 200));
    mesh.run_for(ms(120));
    stranger.serve(&mut mesh);
    mesh.run_for(ms(120));
    let window = open(&mut mesh, stranger);
    assert!((500..=683).contains(&window), "{window}: up to its part of the half of its side");
}

#[test]
fn a_paused_node_sends_no_permits_when_it_decides() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    stranger.offer_all(&mut mesh, &items(0, 200));
    mesh.run_for(ms(120));
    let before = mesh.stats(0).wants_sent;
    mesh.command(0, Command::Pause(true));
    stranger.serve(&mut mesh);
    mesh.run_for(ms(500));
    assert_eq!((mesh.ids(0).len(), mesh.stats(0).wants_sent), (200, before));
}

#[test]
fn a_peer_whose_permit_is_used_up_is_named_until_it_grants_more() {
    let mut mesh = Mesh::new(1);
    mesh.add(Some(pool(0, config(), 1)));
    mesh.add(None);
    let key = StreamKey { link: mesh.link(1, 0, 50), stream: 77 };
    mesh.run_for(ms(10));
    items(0, 5).iter().for_each(|item| mesh.insert(0, item));
    let now = mesh.now;
    mesh.pool(0).handle_opened(now, key, Opened::Peer { lane: 0 });
    let granted = |mesh: &mut Mesh, entries: u64| {
        let (mut body, mut message) = (BytesMut::new(), BytesMut::new());
        put_varint(&mut body, codec::WANT);
        codec::encode_want(
            &codec::Want { entries, bytes: 1 << 20, through: 0, floor: 0, from: None },
            &mut body,
        );
        put_varint(&mut message, body.len() as u64);
        message.extend_from_slice(&body);
        let server = mesh.pool(0);
        server.handle_timeout(now + ms(1_000));
        server.handle_incoming(now + ms(1_000), key, Incoming::Data(Chunk::whole(message.freeze())));
        server.poll_write(now + ms(1_000), key, 1 << 16, &mut Rope::new());
        used_up(server).collect::<Vec<_>>()
    };
    assert_eq!(used_up(mesh.pool(0)).count(), 0, "it has granted nothing yet");
    assert_eq!(granted(&mut mesh, 3), [peer(1)]);
    assert!(granted(&mut mesh, 6).is_empty(), "five items, and room for one more");
}
