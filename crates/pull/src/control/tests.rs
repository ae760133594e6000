use bytes::Bytes;
use weir_base::identity::Keypair;
use weir_base::pair::refused_field;
use weir_base::stream::{Group, Incoming, LinkInfo, Side};
use weir_base::{Chunk, NetworkId, Rng, Rope, StreamKey};

use super::*;
use crate::machine::{Machine as _, Opened};

const NOW: Instant = Instant::from_millis(1_000);

fn control() -> Control {
    let config = crate::Config {
        network: NetworkId([7; 32]),
        agent: String::new(),
        services: Vec::new(),
        channels: Vec::new(),
        control: Config::default(),
        call_memory: crate::call::DEFAULT_MEMORY,
    };
    let mut rng = Rng::from_number(1);
    let mine = config.hello(NumberedKey::first(&mut rng));
    Control::new(config.control, mine, rng)
}

fn own_keys(control: &mut Control) -> Option<Keys> {
    let mut found = None;
    while let Some(notice) = control.poll_notice() {
        if let Notice::OwnKeys(keys) = notice {
            found = Some(keys);
        }
    }
    found
}

#[test]
fn the_key_before_stays_valid_for_a_minute() {
    let mut control = control();
    let first = control.keys().current;
    control.next_key = Some(Instant::ZERO + Duration::from_secs(3_600));
    control.handle_timeout(Instant::ZERO + Duration::from_secs(3_599));
    assert_eq!(own_keys(&mut control), None);
    control.handle_timeout(Instant::ZERO + Duration::from_secs(3_600));
    let rotated = own_keys(&mut control).unwrap();
    assert_eq!((rotated.previous, rotated.current.number), (Some(first), 2));
    assert_ne!(rotated.current.key, first.key);
    assert_eq!(control.poll_timeout().map(|(due, _)| due), Some(Instant::ZERO + Duration::from_secs(3_660)));
    control.handle_timeout(Instant::ZERO + Duration::from_secs(3_659));
    assert_eq!(own_keys(&mut control), None);
    control.handle_timeout(Instant::ZERO + Duration::from_secs(3_660));
    assert_eq!(own_keys(&mut control), Some(Keys { previous: None, ..rotated }));
    assert_eq!(control.poll_timeout().map(|(due, _)| due), Some(Instant::ZERO + Duration::from_secs(7_200)));
}

#[test]
fn the_largest_hello_fits_a_message() {
    let service =
        |id| Service { id: u32::MAX - id, version: u16::MAX, payload: vec![0; MAX_SERVICE_PAYLOAD].into() };
    let channel = |index: usize| codec::ChannelOffer {
        id: ChannelId(ChannelId::MAX.0 - u16::try_from(MAX_CHANNELS - index).unwrap()),
        name: "n".repeat(MAX_NAME),
        oldest: u16::MAX,
        newest: u16::MAX,
        shape: 3,
        max_request: u32::MAX,
        max_answer: u32::MAX,
        at_once: u32::MAX,
    };
    let mut hello = control().mine;
    hello.features = u64::MAX;
    hello.agent = "a".repeat(MAX_AGENT);
    hello.services = (0..16).rev().map(service).collect();
    hello.channels = (0..MAX_CHANNELS).map(channel).collect();
    let mut fields = bytes::BytesMut::new();
    hello.encode(&mut fields);
    assert!(fields.len() + codec::MAX_EXTENSION < codec::MAX_MESSAGE, "{}", fields.len());
    assert_eq!(Hello::decode(&fields), Ok(hello));
}

#[test]
fn the_dialler_takes_no_control_stream_of_the_peer_even_before_its_own_is_open() {
    let (mut control, link) = (control(), LinkId(1));
    let peer = Keypair::ed25519_from_seed([1; 32]).peer_id();
    let info = LinkInfo { peer, side: Side::Dialled, dialler: true, group: Group::Local(0) };
    control.link_up(Instant::ZERO, link, &info);
    control.handle_opened(Instant::ZERO, StreamKey { link, stream: 1 }, Opened::Peer { lane: 0 });
    let asks: Vec<Ask> = std::iter::from_fn(|| control.poll_ask()).collect();
    assert!(asks.contains(&Ask::Blame(link, SECOND_STREAM)), "{asks:?}");
}

#[test]
fn each_limit_is_checked_at_its_bound() {
    let field = |change: fn(&mut Config)| refused_field(Config::default(), Config::validate, change);
    let second = Duration::from_secs(1);
    assert_eq!(field(|_| ()), None);
    assert_eq!(field(|config| config.interval = Duration::ZERO), Some("interval"));
    assert_eq!(field(|config| config.idle_timeout = config.interval), Some("idle_timeout"));
    let hardly = |config: &mut Config| config.idle_timeout = config.interval + Duration::from_millis(999);
    assert_eq!(field(hardly), Some("idle_timeout"), "a ping may be that late");
    assert_eq!(field(|config| config.hello_timeout = Duration::ZERO), Some("hello_timeout"));
    assert_eq!(field(|config| config.max_streams = 31), Some("max_streams"));
    assert_eq!(field(|config| config.max_streams = 32), None);
    assert_eq!(field(|config| config.key_life = config.key_grace), Some("key_life"));
    let longer = Config { key_life: Config::default().key_grace + second, ..Config::default() };
    assert_eq!(longer.validate(), Ok(()));
    let longer = Config { idle_timeout: Config::default().interval + second, ..Config::default() };
    assert_eq!(longer.validate(), Ok(()));
}

#[test]
fn each_timer_has_a_reason_of_its_own() {
    use line::Timer;
    let all = [
        Timer::Hello,
        Timer::Message,
        Timer::Idle,
        Timer::Ping,
        Timer::Pong,
        Timer::Services,
        Timer::Goodbye,
        Timer::End,
    ];
    let reasons: std::collections::BTreeSet<_> = all.map(Timer::as_str).into_iter().collect();
    assert_eq!(reasons.len(), all.len());
}

/// A control with one link that a peer dialled, or this node (`dialler`); its control stream is open, and this node's hello written.
fn linked(dialler: bool) -> (Control, StreamKey) {
    let (mut control, link) = (control(), LinkId(1));
    let peer = Keypair::ed25519_from_seed([1; 32]).peer_id();
    let side = if dialler { Side::Dialled } else { Side::Inbound };
    control.link_up(NOW, link, &LinkInfo { peer, side, dialler, group: Group::Local(0) });
    let key = StreamKey { link, stream: 1 };
    let opened = if dialler { Opened::Local { tag: 0 } } else { Opened::Peer { lane: 0 } };
    control.handle_opened(NOW, key, opened);
    control.poll_write(NOW, key, 10_000, &mut Rope::new());
    assert_eq!(control.counters().messages_out, 1);
    while control.poll_ask().is_some() {}
    (control, key)
}

/// A message as it is on the stream.
fn framed(kind: u64, fields: &[u8]) -> Bytes {
    let mut message = bytes::BytesMut::new();
    weir_base::codec::put_varint(&mut message, fields.len() as u64 + 1);
    weir_base::codec::put_varint(&mut message, kind);
    message.extend_from_slice(fields);
    message.freeze()
}

/// The hello of a peer of the same network.
fn hello() -> Bytes {
    let mut fields = bytes::BytesMut::new();
    control().mine.encode(&mut fields);
    framed(codec::HELLO, &fields)
}

fn receive(control: &mut Control, key: StreamKey, bytes: &Bytes) {
    control.handle_incoming(NOW, key, Incoming::Data(Chunk::whole(bytes.clone())));
}

fn asks(control: &mut Control) -> Vec<Ask> {
    std::iter::from_fn(|| control.poll_ask()).collect()
}

#[test]
fn a_peer_that_refuses_control_before_it_said_anything_has_no_control_and_no_blame() {
    for input in [Incoming::Reset(code::UNKNOWN_CHANNEL), Incoming::Stopped(code::UNKNOWN_CHANNEL)] {
        let (mut control, key) = linked(true);
        control.handle_incoming(NOW, key, input);
        let reset = Ask::Reset(key, code::UNKNOWN_CHANNEL);
        assert!(asks(&mut control).contains(&reset) && !control.lines.contains_key(&key.link));
    }
}

/// libp2p nodes that refuse a name over QUIC stop the stream with a code of their own, and the stop can overtake the refusal.
#[test]
fn a_stop_before_the_peer_was_heard_ends_only_what_is_written() {
    for code in [0, 7, u32::MAX] {
        let told = |control: &mut Control| std::iter::from_fn(|| control.poll_notice()).count();
        let stopped = || {
            let (mut control, key) = linked(true);
            control.handle_incoming(NOW, key, Incoming::Stopped(code));
            control.handle_timeout(NOW + GOODBYE_TIMEOUT - Duration::from_millis(1));
            let mut out = Rope::new();
            control.poll_write(NOW, key, 10_000, &mut out);
            assert_eq!((asks(&mut control).len(), told(&mut control), out.len()), (0, 0, 0));
            (control, key)
        };
        // The refusal comes.
        let (mut control, key) = stopped();
        control.handle_incoming(NOW, key, Incoming::Reset(code::UNKNOWN_CHANNEL));
        assert!(matches!(control.poll_notice(), Some(Notice::NoHello { .. })));
        // It does not: there was no hello in time, and control blames nobody for that.
        let (mut control, _) = stopped();
        control.handle_timeout(NOW + control.config.hello_timeout);
        assert!(matches!(control.poll_notice(), Some(Notice::NoHello { .. })));
        assert!(!asks(&mut control).iter().any(|ask| matches!(ask, Ask::Blame(..))));
        // The peer says hello after all: it speaks control and has ended it, which its link must follow in time.
        let (mut control, key) = stopped();
        receive(&mut control, key, &hello());
        assert!(matches!(control.poll_notice(), Some(Notice::Closing { heard: None, .. })));
        assert_eq!((asks(&mut control).len(), told(&mut control)), (0, 0));
        control.handle_timeout(NOW + GOODBYE_TIMEOUT);
        assert!(asks(&mut control).contains(&Ask::Blame(key.link, ENDED)));
    }
}

#[test]
fn a_control_stream_that_ends_after_the_peer_said_something_must_end_with_its_link() {
    let hello = hello();
    for heard in [&hello[..], &hello[..10]] {
        let (mut control, key) = linked(true);
        receive(&mut control, key, &Bytes::copy_from_slice(heard));
        while control.poll_ask().is_some() {}
        control.handle_incoming(NOW, key, Incoming::Reset(code::UNKNOWN_CHANNEL));
        assert!(control.lines.contains_key(&key.link) && asks(&mut control).is_empty());
        control.handle_timeout(NOW + GOODBYE_TIMEOUT);
        assert!(asks(&mut control).contains(&Ask::Blame(key.link, ENDED)), "{} bytes", heard.len());
    }
}

#[test]
fn a_link_that_waits_for_its_proof_is_not_given_up_when_its_control_is_refused() {
    let (mut control, key) = linked(true);
    control.wait_for_proof(key.link);
    control.handle_incoming(NOW, key, Incoming::Reset(code::UNKNOWN_CHANNEL));
    assert!(control.lines.contains_key(&key.link), "who refused it is not known yet");
}

#[test]
fn before_its_proof_nothing_of_a_peer_is_read_but_its_hello() {
    let (mut control, key) = linked(false);
    control.wait_for_proof(key.link);
    assert!(control.room(key) > 0);
    let (kind, fields) = codec::Control::Goodbye(Goodbye::Idle).encode().unwrap();
    receive(&mut control, key, &[hello(), framed(kind, &fields)].concat().into());
    let heard = |control: &mut Control| {
        let notices = std::iter::from_fn(|| control.poll_notice());
        notices.filter(|notice| matches!(notice, Notice::Closing { heard: Some(_), .. })).count()
    };
    assert_eq!((control.room(key), heard(&mut control)), (0, 0));
    control.proven(NOW, key.link);
    assert_eq!(heard(&mut control), 1, "what stayed is read now");
}

#[test]
fn what_comes_after_goodbye_is_thrown_away_and_the_end_of_the_stream_is_no_fault() {
    let (mut control, key) = linked(false);
    let (kind, fields) = codec::Control::Goodbye(Goodbye::Idle).encode().unwrap();
    receive(&mut control, key, &[hello(), framed(kind, &fields)].concat().into());
    while control.poll_ask().is_some() || control.poll_notice().is_some() {}
    let before = control.counters().messages_in;
    (0..3).for_each(|_| receive(&mut control, key, &Bytes::from_static(&[200; 100])));
    assert_eq!(control.lines.get(&key.link).unwrap().inbox.held(), 0);
    control.handle_incoming(NOW, key, Incoming::End);
    assert_eq!((control.counters().messages_in, control.poll_notice().is_none()), (before, true));
    control.handle_timeout(NOW + GOODBYE_TIMEOUT);
    assert_eq!(asks(&mut control), [Ask::Close(key.link, Goodbye::Idle)], "nobody is blamed");
}

#[test]
fn control_is_written_on_its_own_stream_as_long_as_the_peer_reads_it() {
    let (mut control, key) = linked(false);
    receive(&mut control, key, &hello());
    let mut out = Rope::new();
    control.poll_write(NOW, StreamKey { stream: 2, ..key }, 10_000, &mut out);
    assert!(out.is_empty());
    control.poll_write(NOW, key, 10_000, &mut out);
    assert!(!out.is_empty(), "a ping");
    let (mut control, key) = linked(false);
    control.handle_incoming(NOW, key, Incoming::Stopped(0));
    let mut out = Rope::new();
    control.poll_write(NOW, key, 10_000, &mut out);
    assert!(out.is_empty());
}

#[test]
fn a_hello_of_the_fewest_streams_is_taken_and_one_of_fewer_is_not() {
    for (streams, taken) in [(codec::MIN_STREAMS, true), (codec::MIN_STREAMS - 1, false)] {
        let mut hello = control().mine;
        hello.max_streams = streams;
        let mut fields = bytes::BytesMut::new();
        hello.encode(&mut fields);
        assert_eq!(Hello::decode(&fields).is_ok(), taken, "{streams}");
    }
}
