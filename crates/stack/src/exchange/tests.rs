use weir_base::Chunk;
use weir_base::identity::Keypair;
use weir_base::stream::{Group, LinkInfo, Side};
use weir_link::NAMED;

use super::*;
use crate::named::NamedProtocol;

const LINK: LinkId = LinkId(1);

/// A machine with one served protocol of two names and limits of 100 bytes, 2 exchanges a peer and 3 in all; links 1 and 2 are known.
fn exchange() -> Exchange {
    with_memory(1 << 20)
}

/// The same, and peers make it hold at most so many bytes; a second protocol has one name.
fn with_memory(memory: u64) -> Exchange {
    let limits = Limits { max_request: 100, max_response: 100, per_peer: 2, total: 3, ..Limits::DEFAULT };
    let config = Config { framing: Arc::new(LengthPrefix), limits };
    let names = vec!["/a/2".to_owned(), "/a/1".to_owned()];
    let declared = |names| NamedProtocol { names, served: true, shape: NamedShape::Exchange(config.clone()) };
    let protocols = vec![declared(names), declared(vec!["/b".to_owned()])];
    let mut exchange = Exchange::new(&Profile { protocols, ..Profile::default() }, memory);
    for link in [1, 2] {
        let peer = Keypair::ed25519_from_seed([link; 32]).peer_id();
        let group = Group::Local(0);
        let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group };
        exchange.handle_link(Instant::ZERO, LinkId(link.into()), &LinkChange::Up(info));
        exchange.handle_known(LinkId(link.into()));
    }
    exchange
}

fn key(link: u64, stream: u64) -> StreamKey {
    StreamKey { link: LinkId(link), stream }
}

fn asks(exchange: &mut Exchange) -> Vec<Ask> {
    std::iter::from_fn(|| exchange.poll_ask()).collect()
}

fn events(exchange: &mut Exchange) -> Vec<Event> {
    std::iter::from_fn(|| exchange.poll_event()).collect()
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn data(exchange: &mut Exchange, now: u64, key: StreamKey, bytes: &[u8]) {
    assert!(bytes.len() <= exchange.room(key), "no more than there is room for");
    exchange.handle_incoming(at(now), key, Incoming::Data(Chunk::whole(Bytes::copy_from_slice(bytes))));
}

fn written(exchange: &mut Exchange, key: StreamKey) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut out = Rope::new();
        exchange.poll_write(at(0), key, 7, &mut out);
        if out.is_empty() {
            return all;
        }
        all.extend_from_slice(&out.into_bytes());
    }
}

/// Asks with `b"ask"` on a stream of its own.
fn ask(exchange: &mut Exchange, number: u64) -> StreamKey {
    exchange.request(at(0), (LINK, Ticket(number)), (NAMED, Bytes::from_static(b"ask")), None).unwrap();
    exchange.handle_opened(at(0), key(1, number), Origin::Local { tag: number });
    asks(exchange);
    key(1, number)
}

/// What a peer does on a stream.
type Deed = fn(&mut Exchange, StreamKey);

/// What is held of the quotas of requests of this side's and of peers, by link.
fn quotas(exchange: &Exchange) -> [Vec<u64>; 2] {
    let protocol = &exchange.protocols[&NAMED];
    [protocol.asked.held(), protocol.answered.held()]
}

fn is_idle(exchange: &Exchange) -> bool {
    let empty = exchange.streams.is_empty() && exchange.tickets.is_empty() && exchange.opening.is_empty();
    let held = exchange.memory.held().iter().sum::<u64>();
    empty
        && held == 0
        && exchange.poll_timeout().is_none()
        && quotas(exchange).concat().iter().all(|held| *held == 0)
}

fn ends(asks: &[Ask], key: StreamKey, code: u32) -> bool {
    asks.contains(&Ask::Reset(key, code)) && asks.contains(&Ask::Stop(key, code))
}

#[test]
fn a_request_goes_out_framed_and_its_response_comes_back() {
    let mut exchange = exchange();
    let key = ask(&mut exchange, 1);
    assert_eq!(written(&mut exchange, key), b"\x03ask");
    assert!(asks(&mut exchange).contains(&Ask::Finish(key)));
    exchange.handle_agreed(key, ProtocolId(NAMED.0 + 1));
    data(&mut exchange, 1, key, b"\x06ans");
    data(&mut exchange, 2, key, b"wer");
    let result = Ok((ProtocolId(NAMED.0 + 1), Bytes::from_static(b"answer")));
    assert_eq!(events(&mut exchange), [Event::Answered { ticket: Ticket(1), result }]);
    assert_eq!(quotas(&exchange), [[0, 0], [0, 0]], "the next may be asked at once");
    exchange.handle_incoming(at(3), key, Incoming::End);
    assert_eq!((asks(&mut exchange), is_idle(&exchange)), (vec![], true));
}

#[test]
fn what_a_server_does_wrong_is_told_by_type_and_ends_the_stream() {
    let cases: [(Deed, Failure, u32); 7] = [
        (|exchange, key| data(exchange, 1, key, b"\x65"), Failure::TooLarge, 6),
        (|exchange, key| data(exchange, 1, key, b"\x80\x00"), Failure::Malformed, 2),
        (|exchange, key| data(exchange, 1, key, b"\x01xy"), Failure::Excess, 2),
        (
            |exchange, key| {
                data(exchange, 1, key, b"\x05x");
                exchange.handle_incoming(at(1), key, Incoming::End);
            },
            Failure::Unfinished,
            2,
        ),
        (|exchange, _| exchange.handle_timeout(at(10_000)), Failure::Late, 3),
        (|exchange, key| exchange.handle_incoming(at(1), key, Incoming::Reset(9)), Failure::Reset(9), 0),
        (|exchange, key| exchange.handle_incoming(at(1), key, Incoming::Stopped(1)), Failure::Unsupported, 0),
    ];
    for (does, reason, code) in cases {
        let mut exchange = exchange();
        let key = ask(&mut exchange, 1);
        does(&mut exchange, key);
        assert_eq!(events(&mut exchange), [Event::Answered { ticket: Ticket(1), result: Err(reason) }]);
        assert!(ends(&asks(&mut exchange), key, code), "{reason:?}");
        assert!(is_idle(&exchange));
    }
}

#[test]
fn a_server_that_goes_on_after_its_answer_or_never_ends_it_is_told_and_broken_off() {
    let mut exchange = exchange();
    for (number, does, code) in [(1, true, 2), (2, false, 3)] {
        let key = ask(&mut exchange, number);
        written(&mut exchange, key);
        data(&mut exchange, 1, key, b"\x01y");
        assert!(matches!(events(&mut exchange)[..], [Event::Answered { result: Ok(_), .. }]));
        assert_eq!(exchange.room(key), 1, "no more of it is held");
        if does {
            data(&mut exchange, 2, key, b"z");
        } else {
            exchange.handle_timeout(at(10_000));
        }
        let told = matches!(events(&mut exchange)[..], [Event::Failed { reason: Failure::Excess, .. }]);
        assert_eq!(told, does);
        assert!(ends(&asks(&mut exchange), key, code) && is_idle(&exchange));
    }
}

#[test]
fn a_server_that_wants_no_more_of_the_request_may_still_answer() {
    let mut exchange = exchange();
    let key = ask(&mut exchange, 1);
    exchange.handle_incoming(at(1), key, Incoming::Stopped(0));
    data(&mut exchange, 2, key, b"\x00");
    let result = Ok((NAMED, Bytes::new()));
    assert_eq!(events(&mut exchange), [Event::Answered { ticket: Ticket(1), result }]);
}

#[test]
fn a_peers_request_is_told_whole_and_answered() {
    let mut exchange = exchange();
    let (key, number) = (key(1, 4), ProtocolId(NAMED.0 + 1));
    exchange.handle_opened(at(0), key, Origin::Peer(number));
    data(&mut exchange, 1, key, b"\x03a");
    assert_eq!(events(&mut exchange), []);
    data(&mut exchange, 5, key, b"sk");
    exchange.handle_incoming(at(5), key, Incoming::End);
    let [Event::Requested { protocol, request, deadline, .. }] = &events(&mut exchange)[..] else { panic!() };
    assert_eq!((*protocol, &request[..], *deadline), (number, &b"ask"[..], at(10_005)));
    exchange.respond(at(6), key, Ok(Bytes::from_static(b"yes"))).unwrap();
    assert!(asks(&mut exchange).contains(&Ask::Write(key)));
    assert_eq!(written(&mut exchange, key), b"\x03yes");
    assert!(asks(&mut exchange).contains(&Ask::Finish(key)));
    assert!(is_idle(&exchange));
    assert_eq!(exchange.respond(at(7), key, Ok(Bytes::new())), Err(Refused::UnknownTicket));
}

#[test]
fn what_a_client_does_wrong_is_told_by_type_before_and_after_its_request() {
    for (sent, reason, code) in [
        (&b"\x65"[..], Failure::TooLarge, 6),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Failure::Malformed, 2),
        (b"\x01xy", Failure::Excess, 2),
    ] {
        let mut exchange = exchange();
        let key = key(1, 4);
        exchange.handle_opened(at(0), key, Origin::Peer(NAMED));
        data(&mut exchange, 1, key, sent);
        let [Event::Failed { reason: told, protocol: NAMED, .. }] = events(&mut exchange)[..] else {
            panic!()
        };
        assert_eq!(told, reason);
        assert!(ends(&asks(&mut exchange), key, code));
    }
    // One byte at a time, without end: its deadline does not move.
    let mut exchange = exchange();
    let slow = key(1, 4);
    exchange.handle_opened(at(0), slow, Origin::Peer(NAMED));
    data(&mut exchange, 1, slow, b"\x64");
    for millis in 1..99 {
        data(&mut exchange, millis * 100, slow, b"x");
    }
    exchange.handle_timeout(at(10_000));
    assert!(matches!(events(&mut exchange)[..], [Event::Failed { reason: Failure::Late, .. }]));
    assert!(ends(&asks(&mut exchange), slow, 3));
    // It goes on behind its request.
    let key = key(1, 8);
    exchange.handle_opened(at(0), key, Origin::Peer(NAMED));
    data(&mut exchange, 1, key, b"\x01x");
    assert_eq!(exchange.room(key), 1, "no more of it is held");
    events(&mut exchange);
    data(&mut exchange, 2, key, b"y");
    let [Event::Cancelled(of), Event::Failed { reason: Failure::Excess, .. }] = events(&mut exchange)[..]
    else {
        panic!()
    };
    assert_eq!(of, key);
}

#[test]
fn an_unread_answer_and_one_that_is_not_given_end_at_their_deadlines() {
    let mut exchange = exchange();
    for stream in [4, 8] {
        exchange.handle_opened(at(0), key(1, stream), Origin::Peer(NAMED));
        data(&mut exchange, 0, key(1, stream), b"\x00");
    }
    events(&mut exchange);
    exchange.respond(at(9_000), key(1, 4), Ok(Bytes::from_static(b"unread"))).unwrap();
    exchange.handle_timeout(at(10_000));
    assert_eq!(events(&mut exchange), [Event::Cancelled(key(1, 8))]);
    exchange.handle_timeout(at(19_000));
    assert!(matches!(events(&mut exchange)[..], [Event::Failed { reason: Failure::Late, .. }]));
    assert!(ends(&asks(&mut exchange), key(1, 4), 3) && is_idle(&exchange));
}

/// A peer begins a request; whether it was refused for the limits.
fn open(exchange: &mut Exchange, key: StreamKey) -> bool {
    exchange.handle_opened(at(0), key, Origin::Peer(NAMED));
    ends(&asks(exchange), key, code::LIMIT)
}

#[test]
fn exchanges_are_bounded_with_each_peer_and_in_all_and_each_way_by_itself() {
    let mut exchange = exchange();
    assert_eq!([0, 1, 2].map(|stream| open(&mut exchange, key(1, stream))), [false, false, true]);
    assert_eq!([0, 1].map(|stream| open(&mut exchange, key(2, stream))), [false, true], "three in all");
    ask(&mut exchange, 11);
    ask(&mut exchange, 12);
    let third = exchange.request(at(0), (LINK, Ticket(13)), (NAMED, Bytes::new()), None);
    assert_eq!(third, Err(Refused::Limit));
    // Places come back however an exchange ends.
    exchange.cancel(Ticket(11)).unwrap();
    exchange.handle_link(at(1), LINK, &LinkChange::Down);
    let result = Err(Failure::Gone);
    assert_eq!(events(&mut exchange), [Event::Answered { ticket: Ticket(12), result }]);
    assert!(!open(&mut exchange, key(2, 2)));
}

#[test]
fn where_all_places_are_taken_the_newest_of_who_has_most_gives_way() {
    let mut exchange = exchange();
    assert!(!open(&mut exchange, key(2, 0)));
    for stream in [0, 1] {
        assert!(!open(&mut exchange, key(1, stream)));
        data(&mut exchange, 0, key(1, stream), b"\x00");
    }
    let peer = Keypair::ed25519_from_seed([3; 32]).peer_id();
    let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(1) };
    exchange.handle_link(at(0), LinkId(3), &LinkChange::Up(info));
    events(&mut exchange);
    exchange.handle_opened(at(0), key(3, 0), Origin::Peer(NAMED));
    assert!(ends(&asks(&mut exchange), key(1, 1), code::LIMIT));
    assert_eq!(events(&mut exchange), [Event::Cancelled(key(1, 1))]);
    assert_eq!(quotas(&exchange)[1], [1, 1, 1]);
}

#[test]
fn memory_of_all_protocols_is_bounded_and_who_holds_most_loses_its_largest() {
    let (mut exchange, second) = (with_memory(200), ProtocolId(NAMED.0 + 2));
    for (stream, protocol) in [(0, NAMED), (1, second)] {
        exchange.handle_opened(at(0), key(1, stream), Origin::Peer(protocol));
        data(&mut exchange, 0, key(1, stream), &[&[99][..], &[7; 60]].concat());
    }
    assert_eq!(
        (exchange.memory.held(), exchange.streams.len()),
        (vec![122, 0], 2),
        "what has come, and no more"
    );
    // A request that the application has, and its answer that is not read, are held as well.
    exchange.handle_opened(at(0), key(2, 0), Origin::Peer(NAMED));
    data(&mut exchange, 0, key(2, 0), b"\x03ask");
    assert_eq!(exchange.memory.held(), [122, 3]);
    asks(&mut exchange);
    exchange.respond(at(0), key(2, 0), Ok(vec![7; 80].into())).unwrap();
    assert!(ends(&asks(&mut exchange), key(1, 1), code::LIMIT), "of equals the newest");
    assert_eq!(exchange.memory.held(), [61, 81]);
    // The response to a request of this side's counts for whom it asked, and the asker is told.
    let asked = ask(&mut exchange, 9);
    events(&mut exchange);
    data(&mut exchange, 1, asked, &[&[100][..], &[7; 60]].concat());
    let result = Err(Failure::Displaced);
    assert_eq!(events(&mut exchange), [Event::Answered { ticket: Ticket(9), result }]);
    assert_eq!(exchange.memory.held(), [61, 81]);
}

#[test]
fn answers_that_never_end_keep_no_more_streams_open_than_requests_at_once() {
    let mut exchange = exchange();
    let keys: Vec<StreamKey> = (1..=3)
        .map(|number| {
            let key = ask(&mut exchange, number);
            written(&mut exchange, key);
            data(&mut exchange, 1, key, b"\x01y");
            key
        })
        .collect();
    let ended = asks(&mut exchange);
    assert!(ends(&ended, keys[0], code::LIMIT) && !ends(&ended, keys[1], code::LIMIT));
    assert_eq!(exchange.streams.keys().copied().collect::<Vec<_>>(), keys[1..]);
    let answered = |event: &Event| matches!(event, Event::Answered { result: Ok(_), .. });
    assert_eq!(events(&mut exchange).iter().filter(|event| answered(event)).count(), 3, "all were answered");
}

#[test]
fn a_request_that_is_given_up_before_its_stream_is_open_is_not_sent() {
    let mut exchange = exchange();
    exchange.request(at(0), (LINK, Ticket(1)), (NAMED, Bytes::new()), None).unwrap();
    exchange.cancel(Ticket(1)).unwrap();
    asks(&mut exchange);
    exchange.handle_opened(at(0), key(1, 1), Origin::Local { tag: 1 });
    assert!(ends(&asks(&mut exchange), key(1, 1), 0) && is_idle(&exchange));
    // One that the link refuses is told, and has no place any more.
    exchange.request(at(0), (LINK, Ticket(2)), (NAMED, Bytes::new()), None).unwrap();
    exchange.handle_refused(at(0), 2, OpenError::Limit);
    let result = Err(Failure::Busy);
    assert_eq!(events(&mut exchange), [Event::Answered { ticket: Ticket(2), result }]);
    assert!(is_idle(&exchange));
}

#[test]
fn own_messages_above_the_limits_are_refused_and_those_of_strangers_wait_unread() {
    let mut exchange = exchange();
    let large = Bytes::from(vec![0; 101]);
    let asked = exchange.request(at(0), (LINK, Ticket(1)), (NAMED, large.clone()), None);
    assert_eq!(asked, Err(Refused::TooLarge));
    let key = key(1, 4);
    exchange.handle_opened(at(0), key, Origin::Peer(NAMED));
    data(&mut exchange, 0, key, b"\x00");
    assert_eq!(exchange.respond(at(0), key, Ok(large)), Err(Refused::TooLarge));
    assert!(ends(&asks(&mut exchange), key, 0));
    // A link whose peer is not known yet.
    let peer = Keypair::ed25519_from_seed([9; 32]).peer_id();
    let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(0) };
    exchange.handle_link(at(0), LinkId(3), &LinkChange::Up(info));
    let early = StreamKey { link: LinkId(3), stream: 0 };
    exchange.handle_opened(at(0), early, Origin::Peer(NAMED));
    assert_eq!(exchange.room(early), 0);
    exchange.handle_known(LinkId(3));
    assert!(asks(&mut exchange).contains(&Ask::Resume(early)) && exchange.room(early) > 0);
}
