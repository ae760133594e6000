use weir_base::{NetworkId, Rng};

use super::*;
use crate::machine::Machine as _;

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
    use weir_base::stream::{Group, LinkInfo, Side};
    use weir_base::{StreamKey, identity::Keypair};

    use crate::machine::Opened;

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
    let field = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        config.validate().err().map(|(field, _)| field)
    };
    let second = Duration::from_secs(1);
    assert_eq!(field(|_| ()), None);
    assert_eq!(field(|config| config.interval = Duration::ZERO), Some("interval"));
    assert_eq!(field(|config| config.idle_timeout = config.interval), Some("idle_timeout"));
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
