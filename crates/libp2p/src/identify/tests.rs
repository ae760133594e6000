//! The message with the vectors, both protocols over a lossy pipe, then what a stranger may say.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use weir_base::codec::Malformed;
use weir_base::codec::proto::put_bytes_field;
use weir_base::codec::put_prefixed;
use weir_base::pair::{End, LINK, Pair, Pipe};
use weir_base::stream::{
    Ask, Class, Group, Incoming, LinkChange, LinkInfo, OpenError, Origin, Side, StreamUser,
};
use weir_base::{Instant, Keypair, LinkId, Multiaddr, PeerId, ProtocolId, Rope, StreamKey};

use super::*;
use crate::record::PeerRecord;

const FILE: &str = include_str!("../../../../vectors/identify.txt");
const IDS: (ProtocolId, ProtocolId) = (ProtocolId(7), ProtocolId(8));

fn vector(name: &str) -> Vec<u8> {
    let line = FILE.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    let text = line.split(' ').nth(1).unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn keypair(seed: u8) -> Keypair {
    Keypair::ed25519_from_seed([seed; 32])
}

fn peers() -> (PeerId, PeerId) {
    (keypair(1).peer_id(), keypair(2).peer_id())
}

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn own(seed: u8) -> Info {
    Info {
        key: Some(keypair(seed).public()),
        agent: Some("weir/0.1.0".into()),
        protocol_version: Some("/weir/1".into()),
        protocols: vec!["/ipfs/ping/1.0.0".into(), "/ipfs/id/1.0.0".into()],
        addresses: vec![address("/ip4/192.0.2.1/udp/4001/quic-v1"), address("/ip4/192.0.2.1/tcp/4001")],
        observed: None,
        record: None,
    }
}

fn record(seed: u8) -> Vec<u8> {
    PeerRecord::seal(&keypair(seed), 5, &own(seed).addresses).unwrap()
}

fn identify(seed: u8) -> Identify {
    Identify::new(Config::default(), IDS, own(seed), Some(record(seed)))
}

fn pair() -> Pair<Identify, Identify> {
    Pair::new(identify(1), identify(2), peers(), Pipe { loss_per_mille: 100, ..Pipe::default() }, 3)
}

/// In one: messages behind each other are one message.
fn encode(info: &Info, record: Option<&[u8]>) -> Vec<u8> {
    super::encode(info, record).concat()
}

fn events(identify: &mut Identify) -> Vec<Event> {
    std::iter::from_fn(|| identify.poll_event()).collect()
}

#[test]
fn the_vectors_are_made_and_read() {
    let observed = Some(address("/ip4/198.51.100.7/udp/50000/quic-v1"));
    let info = Info { observed, ..own(1) };
    assert_eq!(encode(&info, None), vector("plain"));
    assert_eq!(decode(&vector("plain")), Ok(info));
    let with_record = decode(&encode(&own(1), Some(&record(1)))).unwrap();
    assert_eq!(with_record.record.unwrap().peer, keypair(1).peer_id());
    assert_eq!(decode(&vector("unknown-fields")), Ok(Info::default()));
    for line in FILE.lines().filter(|line| line.starts_with("refused-")) {
        let name = line.split(' ').next().unwrap();
        let error = decode(&vector(name)).unwrap_err();
        let expected = match name {
            "refused-cut-short" => matches!(error, DecodeError::Malformed(Malformed::Truncated)),
            "refused-key-twice" | "refused-number-for-agent" => {
                matches!(error, DecodeError::Malformed(Malformed::Value))
            }
            "refused-protocols-1025" => matches!(error, DecodeError::Malformed(Malformed::TooLarge)),
            "refused-key-is-none" => matches!(error, DecodeError::Key(_)),
            "refused-damaged-address" => matches!(error, DecodeError::Address(_)),
            "refused-record-is-none" => matches!(error, DecodeError::Record(_)),
            _ => false,
        };
        assert!(expected, "{name}: {error}");
    }
}

#[test]
fn who_asks_is_told_and_both_may_ask() {
    let mut pair = pair();
    let seen = address("/ip4/198.51.100.7/udp/50000/quic-v1");
    pair.b.observed(LINK, seen.clone());
    pair.a.ask(LINK);
    pair.b.ask(LINK);
    pair.run_for(Duration::from_secs(5));
    for (identify, seed, observed) in [(&mut pair.a, 2, Some(seen)), (&mut pair.b, 1, None)] {
        let told = events(identify);
        let [Event::Identified { link: LINK, info, pushed: false }] = &told[..] else { panic!("{told:?}") };
        assert_eq!((info.agent.as_deref(), &info.observed), (Some("weir/0.1.0"), &observed));
        assert_eq!(info.key, Some(keypair(seed).public()));
        assert_eq!(info.record.as_ref().map(|record| record.seq), Some(5));
        assert_eq!((&info.protocols, &info.addresses), (&own(seed).protocols, &own(seed).addresses));
    }
    assert!(pair.faults.is_empty());
    assert_eq!(pair.a.poll_timeout(), None, "nothing is left");
}

#[test]
fn a_push_tells_what_is_new() {
    let mut pair = pair();
    pair.run_for(Duration::from_secs(1));
    pair.a.update(Info { agent: Some("weir/0.2.0".into()), ..Info::default() }, None);
    pair.a.push(LINK);
    pair.a.push(LINK); // one is on its way already
    pair.run_for(Duration::from_secs(5));
    let told = events(&mut pair.b);
    let [Event::Identified { info, pushed: true, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((info.agent.as_deref(), info.protocols.len()), (Some("weir/0.2.0"), 0));
    pair.a.push(LINK);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(events(&mut pair.b).len(), 1);
    assert!(pair.faults.is_empty());
}

#[test]
fn what_is_new_soon_after_a_push_is_told_later() {
    let mut pair = pair();
    for version in ["1", "2", "3"] {
        pair.a.update(Info { agent: Some(version.into()), ..Info::default() }, None);
        pair.a.push(LINK);
        pair.run_for(Duration::from_millis(300));
    }
    pair.run_for(Duration::from_secs(5));
    let told = events(&mut pair.b);
    let agents = told.iter().map(|event| match event {
        Event::Identified { info, pushed: true, .. } => info.agent.as_deref(),
        other => panic!("{other:?}"),
    });
    assert_eq!(agents.collect::<Vec<_>>(), [Some("1"), Some("3")], "the second is old by then");
    assert!(pair.faults.is_empty());
    assert_eq!(pair.a.poll_timeout(), None, "nothing is left");
}

#[test]
fn without_a_pause_a_push_that_finds_no_stream_keeps_nobody_busy() {
    let config = Config { pause: Duration::ZERO, ..Config::default() };
    let mut identify = Identify::new(config, IDS, own(1), None);
    let (_, peer) = peers();
    let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(0) };
    identify.handle_link(Instant::ZERO, LINK, &LinkChange::Up(info));
    identify.push(LINK);
    identify.handle_refused(Instant::ZERO, 0, OpenError::Limit);
    identify.handle_timeout(Instant::ZERO);
    assert_eq!(identify.poll_timeout().map(|(due, _)| due), Some(Instant::from_millis(100)));
}

#[test]
fn a_push_for_which_there_was_no_stream_is_tried_again() {
    let mut identify = identify(1);
    let (_, peer) = peers();
    let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(0) };
    identify.handle_link(Instant::ZERO, LINK, &LinkChange::Up(info));
    identify.push(LINK);
    assert!(matches!(identify.poll_ask(), Some(Ask::Open { tag: 0, .. })));
    identify.handle_refused(Instant::ZERO, 0, OpenError::Limit);
    identify.handle_timeout(Instant::from_millis(1_999));
    assert_eq!(identify.poll_ask(), None);
    identify.handle_timeout(Instant::from_millis(2_000));
    assert!(matches!(identify.poll_ask(), Some(Ask::Open { tag: 1, .. })));
    identify.handle_link(Instant::from_millis(2_001), LINK, &LinkChange::Down);
    assert_eq!(identify.poll_timeout(), None);
}

#[test]
fn what_is_too_much_for_one_message_goes_into_several() {
    let protocols: Vec<String> = (0..500).map(|n| format!("/protocol/{n}/1.0.0")).collect();
    let large = Info { protocols: protocols.clone(), agent: Some("é".repeat(1_000)), ..own(1) };
    let messages = super::encode(&large, Some(&record(1)));
    let lens: Vec<usize> = messages.iter().map(Vec::len).collect();
    assert!(
        lens.len() == 3 && lens[..2].iter().all(|len| (SENT_MAX - 30..=SENT_MAX).contains(len)),
        "{lens:?}"
    );
    let first = decode(&messages[0]).unwrap();
    assert!(first.record.is_some() && first.key.is_some(), "who reads one message knows this at least");
    assert_eq!(first.agent, Some("é".repeat(TEXT_MAX / 2)));
    let mut pair = pair();
    pair.b.update(Info { key: own(2).key, ..large }, Some(record(2)));
    pair.a.ask(LINK);
    pair.run_for(Duration::from_secs(5));
    let told = events(&mut pair.a);
    let [Event::Identified { info, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&info.protocols, &info.addresses), (&protocols, &own(1).addresses));
}

#[test]
fn what_does_not_fit_into_ten_messages_or_one_is_left_out() {
    let long = |n: u32| format!("/{n:04}{}", "x".repeat(1_000));
    let large = Info { protocols: (0..100).map(long).collect(), ..own(1) };
    let messages = super::encode(&large, Some(&vec![0; SENT_MAX]));
    assert_eq!(messages.len(), MESSAGES_MAX);
    assert!(messages.iter().all(|message| message.len() <= SENT_MAX && decode(message).is_ok()));
}

#[test]
fn counts_and_lengths_are_checked_before_anything_is_kept() {
    let many = |number: u32, count: usize, bytes: &[u8]| {
        let mut out = Vec::new();
        (0..count).for_each(|_| put_bytes_field(&mut out, number, bytes));
        out
    };
    assert!(decode(&many(3, PROTOCOLS_MAX, b"/a")).is_ok());
    let too_large = Err(DecodeError::Malformed(Malformed::TooLarge));
    assert_eq!(decode(&many(3, PROTOCOLS_MAX + 1, b"/a")), too_large);
    assert!(decode(&many(2, ADDRESSES_MAX, b"")).is_ok());
    assert_eq!(decode(&many(2, ADDRESSES_MAX + 1, b"")), too_large);
    assert_eq!(decode(&many(3, 1, &[b'a'; 1_024])), too_large);
    assert_eq!(decode(&vec![0; MESSAGE_MAX + 1]), too_large);
    for number in [1, 4, 5, 6, 8] {
        let twice = decode(&many(number, 2, b""));
        assert_eq!(twice, Err(DecodeError::Malformed(Malformed::Value)), "field {number}");
    }
}

/// A peer that says what it was made with on each stream that it opens or is asked on, and then ends or does not.
#[derive(Default)]
struct Peer {
    pushes: u64,
    every: Duration,
    says: Vec<u8>,
    stays: bool,
    next: Option<Instant>,
    left: u64,
    asks: VecDeque<Ask>,
    to_say: BTreeMap<StreamKey, Vec<u8>>,
    refused: usize,
}

impl StreamUser for Peer {
    fn handle_link(&mut self, now: Instant, _: LinkId, _: &LinkChange) {
        self.left = self.pushes;
        self.next = (self.left > 0).then_some(now);
    }
    fn handle_opened(&mut self, _: Instant, key: StreamKey, _: Origin) {
        self.to_say.insert(key, self.says.clone());
        self.asks.push_back(Ask::Write(key));
        if !self.stays {
            self.asks.push_back(Ask::Finish(key));
        }
    }
    fn handle_refused(&mut self, _: Instant, _: u64, _: OpenError) {}
    fn class(&self, _: ProtocolId) -> Class {
        Class::Bulk
    }
    fn room(&self, _: StreamKey) -> usize {
        1_000
    }
    fn handle_incoming(&mut self, _: Instant, _: StreamKey, input: Incoming) {
        self.refused += usize::from(matches!(input, Incoming::Stopped(_)));
    }
    fn poll_write(&mut self, _: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let says = self.to_say.entry(key).or_default();
        let rest = says.split_off(room.min(says.len()));
        out.put(&std::mem::replace(says, rest));
    }
    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }
    fn handle_timeout(&mut self, now: Instant) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.left -= 1;
        self.next = (self.left > 0).then_some(now + self.every);
        self.asks.push_back(Ask::Open { link: LINK, protocol: IDS.1, class: Class::Bulk, tag: self.left });
    }
    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.next.map(|next| (next, "push"))
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_prefixed(&mut out, message);
    out
}

/// What a node that asks blames a peer for that says this, and what it learns.
fn asked(says: Vec<u8>, stays: bool) -> (Vec<(End, Fault)>, Vec<Event>) {
    let peer = Peer { says, stays, ..Peer::default() };
    let mut pair = Pair::new(identify(1), peer, peers(), Pipe::default(), 3);
    pair.a.ask(LINK);
    pair.run_for(Duration::from_secs(30));
    assert_eq!(pair.a.poll_timeout(), None);
    (pair.faults, events(&mut pair.a))
}

#[test]
fn too_much_nonsense_or_no_end_is_blamed_and_nothing_is_learned() {
    let good = framed(&encode(&own(2), None));
    assert_eq!(asked(good.clone(), false).1.len(), 1);
    assert_eq!(asked(good.repeat(10), false).0, []);
    for (says, stays, fault) in [
        (good.repeat(11), false, MALFORMED),
        (vec![0x81, 0x40], false, MALFORMED), // 8,193 bytes
        (vec![0xff; 10], false, MALFORMED),   // 1 GiB and more
        (framed(&[0x0b]), false, MALFORMED),
        (good, true, LATE), // it never ends
    ] {
        let (faults, told) = asked(says, stays);
        assert_eq!((faults, told), (vec![(End::A, fault)], vec![Event::Unanswered { link: LINK }]));
    }
}

#[test]
fn an_end_too_early_says_nothing_and_is_nobodys_fault() {
    let whole = framed(&encode(&own(2), None));
    for says in [vec![], whole[..whole.len() - 1].to_vec()] {
        assert_eq!(asked(says, false), (vec![], vec![Event::Unanswered { link: LINK }]));
    }
}

/// go-libp2p kept records of as many peers as one peer liked to make up.
#[test]
fn cve_2023_40583_a_key_or_a_record_of_another_peer_is_a_fault() {
    for bytes in [encode(&own(3), None), encode(&Info::default(), Some(&record(3)))] {
        let (faults, told) = asked(framed(&bytes), false);
        assert_eq!((faults, told), (vec![(End::A, NOT_ITS_OWN)], vec![Event::Unanswered { link: LINK }]));
    }
    let mut forged = record(2);
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(asked(framed(&encode(&own(2), Some(&forged))), false).0, [(End::A, MALFORMED)]);
}

#[test]
fn several_messages_are_one_as_go_libp2p_splits_them() {
    let first = Info { protocols: vec!["/a".into()], ..Info::default() };
    let second = Info { protocols: vec!["/b".into()], agent: Some("x".into()), ..Info::default() };
    let says = [&first, &second].map(|info| framed(&encode(info, None))).concat();
    let says = [says, framed(&encode(&Info::default(), Some(&record(2))))].concat();
    let (faults, told) = asked(says, false);
    let [Event::Identified { info, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (info.protocols.join(" "), info.agent.as_deref(), faults.len()),
        ("/a /b".into(), Some("x"), 0)
    );
    assert!(info.record.is_some());
}

#[test]
fn the_lists_of_all_messages_of_a_stream_are_bounded_together() {
    let many = Info { protocols: vec!["/a".into(); 600], ..Info::default() };
    assert_eq!(asked(framed(&encode(&many, None)).repeat(2), false).0, [(End::A, MALFORMED)]);
}

#[test]
fn pushes_in_a_storm_are_refused_but_for_one_a_pause() {
    let says = framed(&encode(&own(2), None));
    let storm = Peer { pushes: 200, every: Duration::from_millis(50), says, ..Peer::default() };
    let mut pair = Pair::new(identify(1), storm, peers(), Pipe::default(), 3);
    pair.run_for(Duration::from_secs(60));
    let told = events(&mut pair.a).len();
    assert!((9..=11).contains(&told), "{told} in ten seconds");
    assert_eq!(pair.a.poll_timeout(), None);
    assert!(pair.faults.is_empty());
}

#[test]
fn a_peer_that_is_refused_streams_without_end_is_blamed() {
    let says = framed(&encode(&own(2), None));
    let storm = Peer { pushes: 150, every: Duration::from_millis(10), says, stays: true, ..Peer::default() };
    let mut pair = Pair::new(identify(1), storm, peers(), Pipe::default(), 3);
    pair.run_for(Duration::from_millis(1_100));
    assert!(pair.faults.is_empty(), "100 at once and ten a second are refused");
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.faults.first(), Some(&(End::A, STORM)));
    assert_eq!(pair.b.refused, 148, "but for one a second each is refused");
}

#[test]
fn streams_that_stay_open_take_a_bounded_number_of_places_and_end() {
    let stays = Peer { pushes: 20, every: Duration::from_secs(1), stays: true, ..Peer::default() };
    let mut pair = Pair::new(identify(1), stays, peers(), Pipe::default(), 3);
    pair.run_for(Duration::from_secs(9));
    assert!(pair.b.refused >= 4, "{} beyond four places", pair.b.refused);
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.a.poll_timeout(), None, "all are over");
}

#[test]
fn a_peer_that_leaves_its_own_direction_open_keeps_no_half_of_a_stream() {
    let mut identify = identify(1);
    let (_, peer) = peers();
    let info = LinkInfo { peer, side: Side::Inbound, dialler: false, group: Group::Local(0) };
    identify.handle_link(Instant::ZERO, LINK, &LinkChange::Up(info));
    identify.push(LINK);
    let told = |identify: &mut Identify, stream, origin| {
        let key = StreamKey { link: LINK, stream };
        identify.handle_opened(Instant::ZERO, key, origin);
        identify.poll_write(Instant::ZERO, key, 64 * 1024, &mut Rope::new());
        let asks: Vec<Ask> = std::iter::from_fn(|| identify.poll_ask()).collect();
        asks.ends_with(&[Ask::Finish(key), Ask::Stop(key, 0)])
    };
    assert!(told(&mut identify, 4, Origin::Peer(IDS.0)), "an answer");
    assert!(told(&mut identify, 1, Origin::Local { tag: 0 }), "a push");
    let (next, reason) = identify.poll_timeout().unwrap();
    assert_eq!((next, reason), (Instant::from_millis(2_000), "the next identify push may go out"));
    identify.handle_timeout(next);
    assert_eq!((identify.poll_ask(), identify.poll_timeout()), (None, None), "and there is none");
}

#[test]
fn a_link_that_goes_takes_its_streams_with_it() {
    let mut pair = pair();
    pair.a.ask(LINK);
    pair.a.push(LINK);
    pair.settle();
    pair.a.handle_link(pair.now, LINK, &LinkChange::Down);
    assert_eq!(pair.a.poll_timeout(), None);
    pair.a.ask(LINK);
    pair.a.push(LINK);
    pair.a.observed(LINK, address("/ip4/192.0.2.1/tcp/1"));
    assert!(pair.a.poll_ask().is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn what_is_read_is_written_again(protocols in proptest::collection::vec("/[a-z]{1,20}", 0..20), agent in ".{0,40}") {
        let info = Info { protocols, agent: Some(agent), ..own(1) };
        let bytes = Bytes::from(encode(&info, None));
        prop_assert_eq!(decode(&bytes), Ok(info));
    }
}
