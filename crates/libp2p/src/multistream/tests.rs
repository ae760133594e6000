//! Both sides against the vectors and each other, then what a stranger may send.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use weir_base::{Fault, Instant};

use super::token::{Tokens, put};
use super::*;

const FILE: &str = include_str!("../../../../vectors/multistream.txt");

fn vector(name: &str) -> Bytes {
    let line = FILE.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    let text = line.split(' ').nth(1).unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn names(list: &[&str]) -> Names {
    Names::new(list.iter().copied()).unwrap()
}

fn tokens(list: &[&str]) -> BytesMut {
    let mut out = BytesMut::new();
    list.iter().for_each(|text| put(&mut out, text));
    out
}

/// What a machine has to send, whole.
macro_rules! sent {
    ($machine:expr) => {{
        let mut out = BytesMut::new();
        while $machine.poll_transmit(&mut out) {}
        out.freeze()
    }};
}

/// Runs both sides to their end, in pieces of `piece` bytes. The bytes that each sent.
fn negotiate(dialer: &mut Dialer, listener: &mut Listener, piece: usize) -> (Bytes, Bytes) {
    let (mut from_dialer, mut from_listener) = (BytesMut::new(), BytesMut::new());
    loop {
        let (mut out, mut back) = (sent!(dialer), sent!(listener));
        if out.is_empty() && back.is_empty() {
            return (from_dialer.freeze(), from_listener.freeze());
        }
        from_dialer.extend_from_slice(&out);
        from_listener.extend_from_slice(&back);
        while !out.is_empty() {
            listener.received(&mut out.split_to(piece.min(out.len())));
        }
        while !back.is_empty() {
            dialer.received(&mut back.split_to(piece.min(back.len())));
        }
    }
}

fn listener(list: &[&str]) -> Listener {
    Listener::new(names(list), Instant::ZERO)
}

fn dialer(list: &[&str]) -> Dialer {
    Dialer::new(names(list), Instant::ZERO)
}

/// What a listener makes of `input`: what it came to, and the rest of the input.
fn heard(mut input: Bytes) -> (Option<Event>, Bytes) {
    let mut listener = listener(&["/a", "/b"]);
    listener.received(&mut input);
    (listener.poll_event(), input)
}

/// What a dialler of `/a` and `/b` makes of `input`.
fn answered(mut input: Bytes) -> Option<Event> {
    let mut dialer = dialer(&["/a", "/b"]);
    dialer.received(&mut input);
    dialer.poll_event()
}

#[test]
fn the_vectors_are_made_and_read() {
    let (mut d, mut l) = (dialer(&["/noise"]), listener(&["/noise"]));
    let (from_dialer, from_listener) = negotiate(&mut d, &mut l, 1_000);
    assert_eq!((from_dialer, from_listener), (vector("one-dialer"), vector("one-listener")));
    assert_eq!((d.poll_event(), l.poll_event()), (Some(Event::Selected(0)), Some(Event::Selected(0))));

    let (mut d, mut l) = (dialer(&["/tls/1.0.0", "/noise"]), listener(&["/noise"]));
    let (from_dialer, from_listener) = negotiate(&mut d, &mut l, 1_000);
    assert_eq!((from_dialer, from_listener), (vector("two-dialer"), vector("two-listener")));
    assert_eq!((d.poll_event(), l.poll_event()), (Some(Event::Selected(1)), Some(Event::Selected(0))));

    let (mut d, mut l) = (Dialer::list(Instant::ZERO), listener(&["/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"]));
    let (from_dialer, from_listener) = negotiate(&mut d, &mut l, 1_000);
    assert_eq!((from_dialer, from_listener), (vector("list-dialer"), vector("list-listener")));
    let listed = ["/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"].map(str::to_owned).to_vec();
    assert_eq!((d.poll_event(), l.poll_event()), (Some(Event::Listed(listed)), None));
}

#[test]
fn the_diallers_first_common_name_is_selected_in_pieces_of_any_length() {
    for piece in 1..70 {
        let (mut d, mut l) = (dialer(&["/a", "/b", "/c"]), listener(&["/c", "/b"]));
        negotiate(&mut d, &mut l, piece);
        assert_eq!(d.poll_event(), Some(Event::Selected(1)), "pieces of {piece}");
        assert_eq!(l.poll_event(), Some(Event::Selected(1)));
        assert_eq!((d.poll_timeout(), l.poll_timeout()), (None, None));
    }
}

#[test]
fn a_dialler_of_one_name_sends_all_at_once_and_may_write_behind_it() {
    let (mut d, mut l) = (dialer(&["/a"]), listener(&["/a"]));
    assert!(d.may_write() && !dialer(&["/a", "/b"]).may_write() && !Dialer::list(Instant::ZERO).may_write());
    let mut flight = BytesMut::from(&sent!(d)[..]);
    assert_eq!(flight, tokens(&[HEADER, "/a"]));
    flight.extend_from_slice(b"request");
    let mut flight = flight.freeze();
    l.received(&mut flight);
    assert_eq!(l.poll_event(), Some(Event::Selected(0)));
    assert_eq!(flight, b"request"[..], "what is the protocol's stays");
    let mut back = BytesMut::from(&sent!(l)[..]);
    assert_eq!(back, tokens(&[HEADER, "/a"]));
    back.extend_from_slice(b"response");
    let mut back = back.freeze();
    d.received(&mut back);
    assert_eq!(d.poll_event(), Some(Event::Selected(0)));
    assert_eq!(back, b"response"[..]);
    // Nothing more is taken.
    d.received(&mut back);
    assert_eq!((&back[..], d.poll_event()), (&b"response"[..], None));
}

#[test]
fn a_listener_sends_its_header_once_the_diallers_has_come() {
    let mut l = listener(&["/a"]);
    assert!(sent!(l).is_empty());
    l.received(&mut tokens(&[HEADER]).freeze());
    assert_eq!(sent!(l), tokens(&[HEADER]));
}

#[test]
fn without_a_common_name_the_dialler_is_refused_and_nobody_is_to_blame() {
    let (mut d, mut l) = (dialer(&["/a", "/b"]), listener(&["/c"]));
    negotiate(&mut d, &mut l, 7);
    assert_eq!((d.poll_event(), l.poll_event()), (Some(Event::Refused), None));
    l.handle_end();
    assert_eq!(l.poll_event(), Some(Event::Refused));
    let mut early = dialer(&["/a"]);
    early.handle_end();
    assert_eq!(early.poll_event(), Some(Event::Refused));
}

#[test]
fn what_a_lazy_dialler_wrote_behind_a_refused_name_is_no_fault() {
    let mut l = listener(&["/a"]);
    let flight = [&tokens(&[HEADER, "/x"])[..], &[0, 1, 2, 3]].concat();
    l.received(&mut Bytes::from(flight));
    assert_eq!(l.poll_event(), Some(Event::Refused));
    assert_eq!(sent!(l), tokens(&[HEADER, "na"]), "it is told");
}

#[test]
fn a_token_without_end_is_a_fault_before_it_is_kept() {
    let mut l = listener(&["/a"]);
    let announced = [&tokens(&[HEADER])[..], &[0x81, 0x08]].concat(); // 1,025 bytes
    l.received(&mut Bytes::from(announced));
    assert_eq!(l.poll_event(), Some(Event::Faulted(BAD_TOKEN)));
    let mut endless = Tokens::new(TOKEN_MAX);
    endless.next(&mut Bytes::from([&[0x80, 0x08][..], &[b'x'; 900]].concat())).unwrap();
    assert!(endless.held() <= TOKEN_MAX + 2);
    let largest = "x".repeat(TOKEN_MAX - 1);
    assert_eq!(heard(tokens(&[HEADER, &largest]).freeze()).0, None, "the longest is taken, and refused");
}

#[test]
fn malformed_tokens_are_faults_of_whoever_sent_them() {
    let after_header = |bytes: &[u8]| Bytes::from([&tokens(&[HEADER])[..], bytes].concat());
    for bad in [&[0][..], &[3, b'/', b'a', b'b'], &[0x83, 0x00, b'/', b'a', b'\n'], &[0xff; 10]] {
        let fault = Some(Event::Faulted(BAD_TOKEN));
        assert_eq!(heard(after_header(bad)).0, fault, "{bad:?}");
        assert_eq!(answered(after_header(bad)), fault, "{bad:?}");
    }
    let other = Some(Event::Faulted(OTHER_HEADER));
    for header in ["/multistream/2.0.0", "/multistream/1.0.0 ", "", "GET / HTTP/1.1"] {
        assert_eq!(heard(tokens(&[header]).freeze()).0, other);
        assert_eq!(answered(tokens(&[header]).freeze()), other);
    }
    for answer in ["/b", "/A", "/a ", "ls", HEADER] {
        assert_eq!(
            answered(tokens(&[HEADER, answer]).freeze()),
            Some(Event::Faulted(OTHER_ANSWER)),
            "{answer}"
        );
    }
}

#[test]
fn proposals_without_end_are_a_fault() {
    let most = [HEADER].into_iter().chain(["/x"; PROPOSALS_MAX]).collect::<Vec<_>>();
    assert_eq!(heard(tokens(&most).freeze()).0, None);
    let more = [&most[..], &["/x"]].concat();
    assert_eq!(heard(tokens(&more).freeze()).0, Some(Event::Faulted(TOO_MANY)));
    assert_eq!(heard(tokens(&[HEADER, "ls", "/a"]).freeze()).0, Some(Event::Selected(0)));
    assert_eq!(heard(tokens(&[HEADER, "ls", "ls"]).freeze()).0, Some(Event::Faulted(TOO_MANY)));
}

#[test]
fn a_list_is_bounded_in_bytes_and_names_both_ways() {
    let many: Vec<String> = (0..NAMES_MAX).map(|n| format!("/{n}/{}", "x".repeat(200))).collect();
    let mut l = Listener::new(Names::new(many.iter().map(String::as_str)).unwrap(), Instant::ZERO);
    let mut d = Dialer::list(Instant::ZERO);
    let (_, back) = negotiate(&mut d, &mut l, 1_000);
    assert!(back.len() <= LIST_MAX + HEADER.len() + 8, "{}", back.len());
    let Some(Event::Listed(listed)) = d.poll_event() else { panic!("no list") };
    assert_eq!(listed, many[..listed.len()]);
    assert!(listed.len() > 300);

    let list = |tokens: &[u8]| {
        let mut answer = super::tests::tokens(&[HEADER]);
        weir_base::codec::put_varint(&mut answer, tokens.len() as u64 + 1);
        answer.extend_from_slice(tokens);
        answer.extend_from_slice(b"\n");
        let mut d = Dialer::list(Instant::ZERO);
        d.received(&mut answer.freeze());
        d.poll_event()
    };
    assert_eq!(list(&tokens(&["/a"; 1_001])), Some(Event::Faulted(BAD_LIST)));
    assert_eq!(list(&[5, b'/']), Some(Event::Faulted(BAD_LIST)));
    assert_eq!(list(&[]), Some(Event::Listed(vec![])));
    let endless = [&tokens(&[HEADER])[..], &[0x81, 0x80, 0x04]].concat(); // 65,537 bytes
    let mut d = Dialer::list(Instant::ZERO);
    d.received(&mut Bytes::from(endless));
    assert_eq!(d.poll_event(), Some(Event::Faulted(BAD_TOKEN)));
}

#[test]
fn a_peer_that_says_nothing_or_little_is_late_once() {
    let due = Instant::ZERO + DEADLINE;
    let (mut d, mut l) = (dialer(&["/a"]), listener(&["/a"]));
    d.received(&mut tokens(&[HEADER]).freeze());
    l.received(&mut Bytes::from_static(b"\x13/multi"));
    for (poll, before, after) in [
        (
            d.poll_timeout(),
            {
                d.handle_timeout(due - std::time::Duration::from_nanos(1));
                d.poll_event()
            },
            {
                d.handle_timeout(due);
                (d.poll_event(), d.poll_timeout())
            },
        ),
        (
            l.poll_timeout(),
            {
                l.handle_timeout(due - std::time::Duration::from_nanos(1));
                l.poll_event()
            },
            {
                l.handle_timeout(due);
                (l.poll_event(), l.poll_timeout())
            },
        ),
    ] {
        assert_eq!(poll.map(|(due, _)| due), Some(due));
        assert_eq!(before, None);
        assert_eq!(after, (Some(Event::Faulted(LATE)), None));
    }
}

#[test]
fn texts_that_are_no_names_say_why() {
    let refused = |list: &[&str]| Names::new(list.iter().copied()).unwrap_err();
    assert_eq!(refused(&[]), NameError::Count(0));
    assert_eq!(refused(&vec!["/a"; NAMES_MAX + 1]), NameError::Count(NAMES_MAX + 1));
    assert_eq!(refused(&["/a", ""]), NameError::Length(0));
    assert_eq!(refused(&[&"x".repeat(TOKEN_MAX)]), NameError::Length(TOKEN_MAX));
    assert_eq!(refused(&["/a\n"]), NameError::Newline);
    for word in ["na", "ls", HEADER] {
        assert_eq!(refused(&[word]), NameError::Reserved);
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_come_to_the_same(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            proptest::collection::vec(prop_oneof![Just(HEADER), Just("/a"), Just("/x"), Just("ls"), Just("na")], 0..80)
                .prop_map(|list| tokens(&list).to_vec()),
        ],
        piece in 1_usize..40,
    ) {
        let run = |piece: usize| {
            let (mut l, mut d) = (listener(&["/a", "/b"]), dialer(&["/x", "/a"]));
            let mut rest = (0, 0);
            for part in bytes.chunks(piece) {
                let (mut one, mut other) = (Bytes::copy_from_slice(part), Bytes::copy_from_slice(part));
                l.received(&mut one);
                d.received(&mut other);
                rest = (rest.0 + one.len(), rest.1 + other.len());
            }
            let faulted = |event: &Option<Event>| matches!(event, Some(Event::Faulted(Fault { .. })));
            let ended = (l.poll_event(), d.poll_event());
            // Where a fault is seen, what was left of the input says nothing.
            let rest = (!faulted(&ended.0)).then_some(rest.0).zip((!faulted(&ended.1)).then_some(rest.1));
            (ended, sent!(l), sent!(d), rest)
        };
        prop_assert_eq!(run(piece), run(bytes.len().max(1)));
    }
}
