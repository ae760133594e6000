//! No peer chooses how long others wait for an item: not by its round trip, nor its rate, nor bytes that trickle.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::StreamKey;

use super::super::*;
use super::fetching::{config, prove, with_strangers};
use super::mesh::{Mesh, item, ms};
use super::stranger::Stranger;

/// How long until the second, which announces an item 5 ms after the first, is asked.
fn asked_after(mesh: &mut Mesh, strangers: &mut [Stranger], bytes: &Bytes) -> Duration {
    let [first, second, ..] = strangers else { panic!() };
    let already = second.asked(mesh).len();
    first.offer(mesh, bytes);
    mesh.run_for(ms(5));
    second.offer(mesh, bytes);
    let begun = mesh.now;
    for _ in 0..2_000 {
        mesh.run_for(ms(100));
        if second.asked(mesh).len() > already {
            break;
        }
    }
    mesh.now.since(begun)
}

#[test]
fn a_round_trip_that_the_peer_chose_does_not_delay_an_item() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    prove(&mut mesh, &mut strangers[1], 20);
    let (now, link) = (mesh.now, strangers[0].link);
    mesh.pool(0).link_rtt(now, link, Duration::from_secs(40));
    let slot = mesh.pool(0).common.links.slot(link).unwrap();
    assert_eq!(
        mesh.pool(0).common.links.get(slot).unwrap().rtt(),
        Duration::from_secs(1),
        "as if it were no longer"
    );
    let waited = asked_after(&mut mesh, &mut strangers, &item(5, 1, 200));
    assert!(waited <= ms(2_300), "{waited:?}");
}

#[test]
fn a_rate_that_the_peer_chose_does_not_delay_an_item() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    for number in 0..3 {
        strangers[0].offer(&mut mesh, &item(9, 7_000_000 + number, 9));
    }
    mesh.run_for(ms(120));
    let mut waiting: VecDeque<u64> = strangers[0].asked(&mesh).into();
    let mut known = waiting.len();
    for number in 3..100_u64 {
        mesh.run_for(ms(200));
        if let Some(index) = waiting.pop_front() {
            strangers[0].deliver(&mut mesh, index); // 45 bytes a second
        }
        strangers[0].offer(&mut mesh, &item(9, 7_000_000 + number, 9));
        let all = strangers[0].asked(&mesh);
        waiting.extend(&all[known..]);
        known = all.len();
    }
    for _ in 0..4 {
        mesh.run_for(ms(200));
        let all = strangers[0].asked(&mesh);
        waiting.extend(&all[known..]);
        known = all.len();
        for index in waiting.drain(..) {
            strangers[0].deliver(&mut mesh, index);
        }
    }
    prove(&mut mesh, &mut strangers[1], 20);
    for _ in 0..8 {
        strangers[1].serve(&mut mesh);
        mesh.run_for(ms(150));
    }
    assert!(mesh.faults.is_empty(), "it did nothing wrong: {:?}", mesh.faults);
    let waited = asked_after(&mut mesh, &mut strangers, &item(5, 1, 2_000));
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

/// What a stranger writes to deliver the first item it is asked for, and on which stream.
fn delivery(mesh: &Mesh, stranger: &mut Stranger, item: &Bytes) -> (BytesMut, StreamKey) {
    let mut message = BytesMut::new();
    codec::encode_item_head(stranger.asked(mesh)[0], item.len(), &mut message);
    message.extend_from_slice(item);
    let opened = &mesh.nodes[stranger.node].opened;
    (message, opened.iter().find(|(_, lane)| *lane == 1).unwrap().0)
}

/// The first delivers an item of 60,000 bytes, so many of them every 100 ms. How long until the second is asked for it, where it
/// is at all.
fn trickled(bytes: usize) -> Option<Duration> {
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let large = item(5, 1, 60_000);
    let [first, second] = &mut strangers[..] else { panic!() };
    first.offer(&mut mesh, &large);
    mesh.run_for(ms(5));
    second.offer(&mut mesh, &large);
    mesh.run_for(ms(120));
    let (message, key) = delivery(&mesh, first, &large);
    let begun = mesh.now;
    for part in message.chunks(bytes) {
        mesh.send(1, key, part);
        mesh.run_for(ms(100));
        if !second.asked(&mesh).is_empty() {
            return Some(mesh.now.since(begun));
        }
    }
    assert_eq!(mesh.ids(0).len(), 1);
    None
}

#[test]
fn what_was_taken_back_is_late_however_fast_it_still_comes() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let large = item(5, 1, 60_000);
    strangers[0].offer(&mut mesh, &large);
    mesh.run_for(ms(120));
    let (message, key) = delivery(&mesh, &mut strangers[0], &large);
    let (link, mut overdue) = (strangers[0].link, Vec::new());
    for (number, part) in message.chunks(4_000).take(14).enumerate() {
        mesh.send(1, key, part);
        mesh.run_for(ms(100));
        if number == 4 {
            mesh.insert(0, &large); // the application has it from elsewhere
        }
        let links = &mesh.pool(0).common.links;
        overdue.push(links.get(links.slot(link).unwrap()).unwrap().gets.overdue);
    }
    assert_eq!(overdue[..5], [0; 5], "40 kB a second is progress");
    assert_eq!(overdue.last(), Some(&1));
}

#[test]
fn progress_is_bytes_of_the_item_itself_at_16_kb_per_second() {
    assert_eq!(trickled(4_000), None);
    let waited = trickled(800).unwrap();
    assert!(waited < ms(1_000), "{waited:?}");
}

#[test]
fn items_that_come_before_it_are_no_progress_of_an_item() {
    // The first of ten items never comes; the others do, one every 100 ms.
    let (mut mesh, mut strangers) = with_strangers(&config(), 2);
    let items: Vec<_> = (0..10).map(|number| item(5, number, 200)).collect();
    let [first, second] = &mut strangers[..] else { panic!() };
    items.iter().for_each(|item| first.offer(&mut mesh, item));
    mesh.run_for(ms(5));
    second.offer(&mut mesh, &items[0]);
    mesh.run_for(ms(120));
    for index in 1..5 {
        first.deliver(&mut mesh, index);
        mesh.run_for(ms(100));
    }
    assert_eq!(second.asked(&mesh), [0]);
}

#[test]
fn no_more_is_asked_of_a_link_than_it_delivers_in_2_s() {
    let (mut mesh, mut strangers) = with_strangers(&config(), 1);
    let stranger = &mut strangers[0];
    (0..200).for_each(|number| stranger.offer(&mut mesh, &item(5, number, 10_000)));
    mesh.run_for(ms(120));
    let asked = stranger.asked(&mesh).len();
    assert_eq!(asked, 25, "250 kB: a link of which nothing was measured is taken to deliver 125 kB a second");
}
