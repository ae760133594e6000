//! A method's two machines without a transport: limits, deadlines, counters, and who pays for memory.

use std::time::Duration;

use crate::ShortKey;
use bytes::Bytes;
use weir_base::identity::Keypair;
use weir_base::stream::{Group, Side};
use weir_base::{Chunk, Rng};

use super::codec::REQUEST;
use super::*;
use crate::channel::ChannelId;
use crate::framing::code;
use crate::keys::{Keys, NumberedKey};

const NOW: Instant = Instant::from_millis(1_000);
const KEY: NumberedKey = NumberedKey { number: 1, key: ShortKey([1; 16]) };

fn at(millis: u64) -> Instant {
    NOW + Duration::from_millis(millis)
}

fn config() -> Config {
    Config { max_request: 1_000, max_response: 2_000, concurrency: 4, ..Config::default() }
}

/// A method with so much memory, and links 1 to `links`, each with a peer of its own in one group.
fn call(config: Config, memory: u64, links: u64) -> Call {
    let keys = Keys { current: KEY, previous: None };
    let setup =
        MachineSetup { channel: ChannelId(3), tickets: Tickets::new(1), keys, rng: Rng::from_number(1) };
    let mut call = Call::new(config, memory, setup);
    for link in 1..=links {
        let peer = Keypair::ed25519_from_seed([u8::try_from(link).unwrap(); 32]).peer_id();
        let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(1) };
        call.link_up(NOW, LinkId(link), &info);
    }
    call
}

fn key(link: u64, stream: u64) -> StreamKey {
    StreamKey { link: LinkId(link), stream }
}

fn asks(call: &mut Call) -> Vec<Ask> {
    std::iter::from_fn(|| call.poll_ask()).collect()
}

fn claims(call: &mut Call) -> Vec<Claim> {
    std::iter::from_fn(|| call.poll_claim()).collect()
}

/// A request of so many bytes, with 5 s of patience.
fn request(bytes: usize) -> Bytes {
    let mut out = bytes::BytesMut::new();
    let patience = codec::Millis::new(Duration::from_secs(5));
    weir_base::codec::put_varint(&mut out, (1 + patience.as_slice().len() + bytes) as u64);
    weir_base::codec::put_varint(&mut out, REQUEST);
    out.extend_from_slice(patience.as_slice());
    out.resize(out.len() + bytes, 7);
    out.freeze()
}

/// A peer opens a stream and sends its request.
fn ask(call: &mut Call, now: Instant, key: StreamKey, bytes: usize) {
    call.handle_opened(now, key, Opened::Peer { lane: 0 });
    call.handle_incoming(now, key, Incoming::Data(Chunk::whole(request(bytes))));
}

/// The application gets the next request, and takes it. Whose it is, and its ticket.
fn take(call: &mut Call, now: Instant) -> (StreamKey, Ticket) {
    let key = call.next_request().unwrap();
    call.hand_over(now, key);
    let Some(Event::Request { ticket, .. }) = call.poll_event() else { panic!() };
    call.command(now, Command::Taken { ticket, at: now }).unwrap();
    (key, ticket)
}

fn answer(call: &mut Call, now: Instant, ticket: Ticket, bytes: usize) -> Result<Ticket, Refused> {
    call.command(now, Command::Answer { ticket, at: now, response: Ok(Bytes::from(vec![7; bytes])) })
}

/// What is written into so much room.
fn write(call: &mut Call, now: Instant, key: StreamKey, room: usize) -> usize {
    let mut out = Rope::new();
    call.poll_write(now, key, room, &mut out);
    out.len()
}

#[test]
fn messages_of_requests_and_answers_are_counted() {
    let mut call = call(config(), 1 << 20, 1);
    for stream in 1..=3 {
        ask(&mut call, NOW, key(1, stream), 10);
        let (key, ticket) = take(&mut call, NOW);
        answer(&mut call, NOW, ticket, 10).unwrap();
        assert!(write(&mut call, NOW, key, 1_000) > 10);
    }
    assert_eq!((call.counters().messages_in, call.counters().messages_out), (3, 3));
}

#[test]
fn messages_of_calls_and_responses_are_counted_beside_them() {
    let mut call = call(config(), 1 << 20, 1);
    for stream in [2, 4] {
        let command = Command::Call { link: LinkId(1), request: Bytes::from_static(b"?"), deadline: None };
        let tag = call.command(NOW, command).unwrap().0 % TAG_END;
        call.handle_opened(NOW, key(1, stream), Opened::Local { tag });
        assert!(write(&mut call, NOW, key(1, stream), 1_000) > 1);
        let response = Chunk::whole(Bytes::from_static(&[2, 0, b'!']));
        call.handle_incoming(NOW, key(1, stream), Incoming::Data(response));
        assert!(matches!(call.poll_event(), Some(Event::Response { result: Ok(_), .. })));
    }
    ask(&mut call, NOW, key(1, 1), 10);
    assert_eq!((call.counters().messages_in, call.counters().messages_out), (3, 2));
}

#[test]
fn its_parent_has_something_to_do_while_claims_or_requests_wait() {
    let mut call = call(config(), 1 << 20, 1);
    assert!(!call.has_claims());
    ask(&mut call, NOW, key(1, 1), 10);
    assert!(call.has_claims() && !claims(&mut call).is_empty());
    assert!(call.has_claims(), "the request waits");
    take(&mut call, NOW);
    claims(&mut call);
    assert!(!call.has_claims());
}

#[test]
fn a_caller_ends_its_direction_once_when_its_request_is_written() {
    let mut call = call(config(), 1 << 20, 1);
    let command = Command::Call { link: LinkId(1), request: Bytes::from(vec![7; 100]), deadline: None };
    let tag = call.command(NOW, command).unwrap().0 % TAG_END;
    call.handle_opened(NOW, key(1, 2), Opened::Local { tag });
    asks(&mut call);
    assert_eq!((write(&mut call, NOW, key(1, 2), 50), asks(&mut call)), (50, vec![]));
    assert!(write(&mut call, NOW, key(1, 2), 100) > 50);
    assert_eq!(asks(&mut call), [Ask::Finish(key(1, 2))]);
    assert_eq!((write(&mut call, NOW, key(1, 2), 100), asks(&mut call)), (0, vec![]));
}

#[test]
fn a_request_that_the_server_stopped_is_written_no_further() {
    let mut call = call(config(), 1 << 20, 1);
    let command = Command::Call { link: LinkId(1), request: Bytes::from(vec![7; 100]), deadline: None };
    let tag = call.command(NOW, command).unwrap().0 % TAG_END;
    call.handle_opened(NOW, key(1, 2), Opened::Local { tag });
    write(&mut call, NOW, key(1, 2), 50);
    asks(&mut call);
    call.handle_incoming(NOW, key(1, 2), Incoming::Stopped(0));
    assert_eq!((write(&mut call, NOW, key(1, 2), 100), asks(&mut call)), (0, vec![]));
    let response = Chunk::whole(Bytes::from_static(&[2, 0, b'!']));
    call.handle_incoming(NOW, key(1, 2), Incoming::Data(response));
    assert!(
        matches!(call.poll_event(), Some(Event::Response { result: Ok(_), .. })),
        "its answer still comes"
    );
}

#[test]
fn the_stream_of_a_bad_answer_is_forgotten() {
    let mut call = call(config(), 1 << 20, 1);
    let command = Command::Call { link: LinkId(1), request: Bytes::from_static(b"?"), deadline: None };
    let tag = call.command(NOW, command).unwrap().0 % TAG_END;
    call.handle_opened(NOW, key(1, 2), Opened::Local { tag });
    write(&mut call, NOW, key(1, 2), 100);
    assert!(call.room(key(1, 2)) > 1);
    let unknown = Chunk::whole(Bytes::from_static(&[1, 4]));
    call.handle_incoming(NOW, key(1, 2), Incoming::Data(unknown));
    assert!(matches!(call.poll_event(), Some(Event::Response { result: Err(CallError::Malformed), .. })));
    assert_eq!(call.room(key(1, 2)), 0);
}

#[test]
fn the_end_of_an_answered_stream_is_waited_for_ten_seconds_at_most() {
    let mut call = call(config(), 1 << 20, 1);
    let command = Command::Call { link: LinkId(1), request: Bytes::from_static(b"?"), deadline: None };
    let tag = call.command(NOW, command).unwrap().0 % TAG_END;
    call.handle_opened(NOW, key(1, 2), Opened::Local { tag });
    write(&mut call, NOW, key(1, 2), 100);
    let response = Chunk::whole(Bytes::from_static(&[2, 0, b'!']));
    call.handle_incoming(NOW, key(1, 2), Incoming::Data(response));
    assert_eq!(call.poll_timeout().map(|(due, _)| due), Some(at(10_000)));
    call.handle_incoming(NOW, key(1, 2), Incoming::End);
    assert_eq!((call.poll_timeout(), call.room(key(1, 2))), (None, 0));
}

#[test]
fn what_both_hellos_agree_on_bounds_answers_and_requests() {
    let mut call = call(config(), 1 << 20, 1);
    let negotiated = Negotiated { version: 1, max_request: 50, max_answer: 20, at_once: 1, peer_key: KEY };
    call.link_ready(NOW, LinkId(1), &negotiated);
    ask(&mut call, NOW, key(1, 1), 50);
    asks(&mut call);
    let (_, ticket) = take(&mut call, NOW);
    call.handle_opened(NOW, key(1, 3), Opened::Peer { lane: 0 });
    assert!(asks(&mut call).contains(&Ask::Stop(key(1, 3), code::LIMIT)), "one at once");
    assert_eq!(answer(&mut call, NOW, ticket, 21), Err(Refused::TooLarge));
    assert!(answer(&mut call, NOW, ticket, 20).is_ok());
}

#[test]
fn requests_that_were_refused_take_no_place_of_others() {
    let mut call = call(Config { concurrency: 2, ..config() }, 1 << 20, 1);
    let refused = |call: &mut Call, stream: u64| {
        call.handle_opened(NOW, key(1, stream), Opened::Peer { lane: 0 });
        asks(call).contains(&Ask::Stop(key(1, stream), code::LIMIT))
    };
    let first: Vec<bool> = (1..=4).map(|stream| refused(&mut call, stream)).collect();
    assert_eq!(first, [false, false, true, true]);
    assert_eq!(call.room(key(1, 3)), 0, "what comes of a refused one is thrown away");
    call.handle_incoming(NOW, key(1, 1), Incoming::Reset(0));
    asks(&mut call);
    assert!(!refused(&mut call, 5), "one of two is under way");
    assert!(refused(&mut call, 6));
}

#[test]
fn a_request_and_a_refusal_have_ten_seconds() {
    let mut call = call(Config { concurrency: 1, ..config() }, 1 << 20, 1);
    call.handle_opened(NOW, key(1, 1), Opened::Peer { lane: 0 });
    assert_eq!(call.poll_timeout().map(|(due, _)| due), Some(at(10_000)));
    call.handle_incoming(NOW, key(1, 1), Incoming::Reset(0));
    assert_eq!(call.poll_timeout(), None);
    call.handle_opened(at(5), key(1, 3), Opened::Peer { lane: 0 });
    call.handle_opened(at(5), key(1, 5), Opened::Peer { lane: 0 });
    call.handle_incoming(at(5), key(1, 3), Incoming::Reset(0));
    assert_eq!(call.poll_timeout().map(|(due, _)| due), Some(at(10_005)), "of the refusal");
    asks(&mut call);
    call.handle_timeout(at(10_005));
    assert!(asks(&mut call).contains(&Ask::Reset(key(1, 5), code::TIMEOUT)));
}

#[test]
fn a_request_weighs_its_own_bytes_and_those_of_answers_of_late() {
    let mut call = call(config(), 1 << 20, 1);
    ask(&mut call, NOW, key(1, 1), 100);
    assert_eq!(call.next_request(), Some(key(1, 1)));
    assert_eq!(call.wants(key(1, 1)), Some((2_100, Hold::Handling { weighs: 2_100 })));
    let (_, ticket) = take(&mut call, NOW);
    answer(&mut call, NOW, ticket, 10).unwrap();
    ask(&mut call, NOW, key(1, 3), 100);
    let weighs = 1_000 + 100; // half of the largest, as the last was small
    assert_eq!(call.next_request(), Some(key(1, 3)));
    assert_eq!(call.wants(key(1, 3)), Some((2_100, Hold::Handling { weighs })));
}

#[test]
fn an_answer_holds_its_memory_longer_only_when_some_of_it_is_written() {
    let mut call = call(config(), 1 << 20, 1);
    ask(&mut call, NOW, key(1, 1), 10);
    let (key, ticket) = take(&mut call, NOW);
    answer(&mut call, NOW, ticket, 1_000).unwrap();
    claims(&mut call);
    assert_eq!(write(&mut call, at(1), key, 500), 500);
    assert!(matches!(claims(&mut call)[..], [Claim::Keep { bytes: 1_000, hold: Hold::Answer(_), .. }]));
    assert_eq!((write(&mut call, at(2), key, 0), claims(&mut call)), (0, vec![]));
}

/// Links 1 and 2 have asked 20 times each; those of link 1 among the first 20 that were handled, for 10 ms each. What `before` does
/// with the method comes first.
fn of_the_first_link(memory: u64, before: impl FnOnce(&mut Call)) -> usize {
    let mut call = call(Config { concurrency: 64, ..config() }, memory, 2);
    before(&mut call);
    for link in [1, 2] {
        (0..20).for_each(|stream| ask(&mut call, at(2_000), key(link, 101 + 2 * stream), 10));
    }
    let of_first = (0..20).filter(|turn| {
        let (key, ticket) = take(&mut call, at(2_000 + 10 * turn));
        answer(&mut call, at(2_010 + 10 * turn), ticket, 1).unwrap();
        write(&mut call, at(2_010 + 10 * turn), key, 1_000);
        key.link == LinkId(1)
    });
    of_first.count()
}

#[test]
fn a_lowered_share_of_handling_time_is_a_quarter_of_its_equals() {
    assert_eq!(of_the_first_link(1 << 20, |_| ()), 10);
    let lowered = of_the_first_link(1 << 20, |call| call.link_share(LinkId(1), 1));
    assert!((3..=5).contains(&lowered), "{lowered}");
}

#[test]
fn a_request_costs_the_time_until_its_answer_not_until_the_method_hears_of_it() {
    let first = |answered, heard| {
        of_the_first_link(1 << 20, |call| {
            ask(call, NOW, key(1, 1), 10);
            let (key, ticket) = take(call, NOW);
            let response = Ok(Bytes::from_static(b"yes"));
            call.command(heard, Command::Answer { ticket, at: answered, response }).unwrap();
            write(call, heard, key, 1_000);
        })
    };
    let at_once = first(at(100), at(100)); // ten requests' time
    assert!((2..=6).contains(&at_once), "{at_once}");
    assert_eq!(first(at(100), at(1_000)), at_once);
    assert_eq!(first(at(1_900), at(100)), at_once, "nothing is answered later than it is heard of");
}

#[test]
fn an_answer_that_is_read_late_costs_the_part_of_the_memory_that_it_held() {
    // 2,000 bytes for a second: of 20,000 bytes they are 100 ms of handling, ten requests; of 2 MB a millisecond.
    let late = |memory| {
        of_the_first_link(memory, |call| {
            ask(call, NOW, key(1, 1), 10);
            let (key, ticket) = take(call, NOW);
            answer(call, NOW, ticket, 2_000).unwrap();
            assert!(write(call, at(1_000), key, 3_000) > 2_000);
        })
    };
    let (large, little) = (late(20_000), late(2_000_000));
    assert!((4..=6).contains(&large) && (9..=10).contains(&little), "{large} and {little}");
}

/// Two links wait while memory is short, each with requests of so many bytes, which are handled and whose answers stay unread for so
/// many milliseconds. Of 20 turns, those of the first.
fn of_the_first_link_while_short(links: [(usize, u64, u64); 2]) -> usize {
    let mut call = call(Config { concurrency: 64, ..config() }, 1 << 40, 2);
    for (link, (size, ..)) in (1..).zip(links) {
        (0..20).for_each(|stream| ask(&mut call, NOW, key(link, 1 + 2 * stream), size));
    }
    let of_first = (0..20).filter(|turn| {
        let start = 200 * turn;
        let without_room = call.next_request().unwrap();
        call.hold_back(without_room);
        call.try_again();
        let (key, ticket) = take(&mut call, at(start));
        let is_first = key.link == LinkId(1);
        let (_, handled, unread) = links[usize::from(!is_first)];
        answer(&mut call, at(start + handled), ticket, 2_000).unwrap();
        assert!(write(&mut call, at(start + handled + unread), key, 3_000) > 2_000);
        is_first
    });
    of_first.count()
}

#[test]
fn while_memory_is_short_who_held_it_longer_is_served_less() {
    let beside = |first| of_the_first_link_while_short([first, (10, 1, 1)]);
    assert_eq!(beside((10, 1, 1)), 10);
    let (slowly_handled, slowly_read) = (beside((10, 100, 1)), beside((10, 1, 100)));
    assert!(slowly_handled <= 3 && slowly_read <= 3, "{slowly_handled} and {slowly_read}");
    // What is handled holds its request and the largest answer: 3,000 bytes beside 2,010.
    let large = of_the_first_link_while_short([(1_000, 100, 0), (10, 100, 0)]);
    assert!((7..=9).contains(&large), "{large}");
}
