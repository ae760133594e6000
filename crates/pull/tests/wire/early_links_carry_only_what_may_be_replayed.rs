//! A link before its handshake is complete (0-RTT): the dialler opens what may be replayed, the other side serves calls that are
//! replay-safe, and all else waits for the link to be up.

use std::collections::BTreeMap;

use bytes::Bytes;
use weir_base::pair::LINK;
use weir_base::stream::{Ask, Group, Incoming, LinkChange, LinkInfo, Origin, Side, StreamUser};
use weir_base::{Chunk, Instant, ProtocolId, Rope, StreamKey};
use weir_pull::{Channel, ChannelId, Command, Config, Event, Pull, Shape, call};

use crate::common::*;

const UNSAFE: ChannelId = ChannelId(3);
const NOW: Instant = Instant::ZERO;

/// One side of the link, and what it opened, wrote and blamed.
struct End {
    pull: Pull,
    dialler: bool,
    opened: Vec<(StreamKey, ProtocolId)>,
    streams: u64,
    written: BTreeMap<StreamKey, Rope>,
    arrived: BTreeMap<StreamKey, Bytes>,
    other: Vec<Ask>,
}

impl End {
    fn new(dialler: bool) -> Self {
        let mut config: Config = config();
        call_config(&mut config).replay_safe = true;
        let shape = Shape::Call(call::Config::default());
        config.channels.push(Channel { id: UNSAFE, name: "unsafe".into(), version: 1, oldest: 1, shape });
        Self {
            pull: node(u8::from(dialler), config),
            dialler,
            opened: Vec::new(),
            streams: u64::from(!dialler),
            written: BTreeMap::new(),
            arrived: BTreeMap::new(),
            other: Vec::new(),
        }
    }

    fn info(&self) -> LinkInfo {
        let side = if self.dialler { Side::Dialled } else { Side::Inbound };
        LinkInfo { peer: id(3), side, dialler: self.dialler, group: Group::Local(0) }
    }

    fn link(&mut self, change: LinkChange) {
        self.pull.handle_link(NOW, LINK, &change);
        self.settle();
    }

    fn call(&mut self, channel: ChannelId) {
        let command = call::Command::Call { link: LINK, request: "?".into(), deadline: None };
        self.pull.command(NOW, Command::Call(channel, command)).unwrap();
        self.settle();
    }

    /// Does all that is asked, as far as there is room.
    fn settle(&mut self) {
        while let Some(ask) = self.pull.poll_ask() {
            match ask {
                Ask::Open { protocol, tag, .. } => {
                    let key = StreamKey { link: LINK, stream: self.streams };
                    self.streams += 4;
                    self.opened.push((key, protocol));
                    self.pull.handle_opened(NOW, key, Origin::Local { tag });
                }
                Ask::Write(key) => {
                    let out = self.written.entry(key).or_default();
                    self.pull.poll_write(NOW, key, 10_000, out);
                }
                Ask::Resume(key) => self.read(key),
                other => self.other.push(other),
            }
        }
    }

    fn read(&mut self, key: StreamKey) {
        let room = self.pull.room(key);
        let Some(waits) = self.arrived.get_mut(&key).filter(|waits| room > 0 && !waits.is_empty()) else {
            return;
        };
        let part = waits.split_to(room.min(waits.len()));
        let pinned = part.len();
        self.pull.handle_incoming(NOW, key, Incoming::Data(Chunk::new(part, pinned)));
        self.settle();
    }

    /// Everything that the other side has opened and written arrives.
    fn take(&mut self, from: &mut Self) {
        for (key, protocol) in std::mem::take(&mut from.opened) {
            self.pull.handle_opened(NOW, key, Origin::Peer(protocol));
            self.settle();
        }
        for (key, bytes) in std::mem::take(&mut from.written) {
            let waits = self.arrived.entry(key).or_default();
            *waits = [waits.as_ref(), bytes.into_bytes().as_ref()].concat().into();
            self.read(key);
        }
    }

    fn requests(events: &[Event]) -> Vec<ChannelId> {
        let requests = events.iter().filter_map(|event| match event {
            Event::Call(channel, call::Event::Request { .. }) => Some(*channel),
            _ => None,
        });
        requests.collect()
    }
}

fn protocols(end: &End) -> Vec<ProtocolId> {
    end.opened.iter().map(|(_, protocol)| *protocol).collect()
}

/// Both ends of an early link; the dialler has called both methods, and the other side took what it sent.
fn early() -> (End, End) {
    let (mut client, mut server) = (End::new(true), End::new(false));
    client.link(LinkChange::Early(client.info()));
    client.call(UNSAFE);
    client.call(CALL);
    let lane = |channel: ChannelId| channel.protocol(0);
    assert_eq!(protocols(&client), vec![lane(ChannelId::CONTROL), lane(TIP), lane(CALL)]);
    server.link(LinkChange::Early(server.info()));
    server.take(&mut client);
    (client, server)
}

#[test]
fn the_other_side_serves_what_may_be_replayed_and_nothing_else() {
    let (_, mut server) = early();
    let told = events(&mut server.pull);
    assert_eq!(End::requests(&told), vec![CALL]);
    assert!(!is_ready(&told), "it is no link yet: {told:?}");
    assert!(server.opened.is_empty(), "it opens nothing: {:?}", server.opened);
    assert_eq!(server.written.len(), 1, "hello is answered");
    assert!(server.other.is_empty(), "{:?}", server.other);
}

#[test]
fn what_waited_goes_on_once_the_link_is_up() {
    let (mut client, mut server) = early();
    events(&mut server.pull);
    client.link(LinkChange::Up(client.info()));
    assert_eq!(protocols(&client), vec![UNSAFE.protocol(0)]);
    server.link(LinkChange::Up(server.info()));
    let told = events(&mut server.pull);
    assert!(is_ready(&told), "{told:?}");
    client.take(&mut server);
    assert!(is_ready(&events(&mut client.pull)));
    let harm = |end: &End| end.other.iter().any(|ask| !matches!(ask, Ask::Finish(_)));
    assert!(!harm(&server) && !harm(&client), "{:?} {:?}", server.other, client.other);
}

#[test]
fn an_early_link_that_comes_to_nothing_leaves_nothing() {
    let (mut client, mut server) = early();
    let asked = events(&mut server.pull);
    server.link(LinkChange::Down);
    let told = events(&mut server.pull);
    assert!(
        matches!(told.as_slice(), [Event::Call(CALL, call::Event::Cancelled { .. })]),
        "{told:?} {asked:?}"
    );
    client.link(LinkChange::Down);
    let ended = calls(&mut client.pull);
    let down = |event: &call::Event| {
        matches!(event, call::Event::Response { result: Err(call::CallError::LinkDown), .. })
    };
    assert!(ended.len() == 2 && ended.iter().all(down), "{ended:?}");
}

#[test]
fn who_waits_for_a_handshake_is_not_blamed_for_a_late_hello() {
    let mut client = End::new(true);
    client.link(LinkChange::Early(client.info()));
    client.pull.handle_timeout(NOW + secs(9));
    client.settle();
    assert!(client.other.is_empty(), "{:?}", client.other);
    client.pull.handle_link(NOW + secs(9), LINK, &LinkChange::Up(client.info()));
    client.pull.handle_timeout(NOW + secs(13));
    client.settle();
    assert!(client.other.is_empty(), "counted from when the link is up: {:?}", client.other);
    client.pull.handle_timeout(NOW + secs(15));
    client.settle();
    let told = std::iter::from_fn(|| client.pull.poll_event());
    assert!(told.into_iter().any(|event| matches!(event, Event::NoHello { link: LINK })));
}
