//! A node, and a peer that is nothing but links: it says what a test writes, byte by byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_base::identity::{Keypair, PeerId};
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::{Class, Group};
use weir_base::{Instant, LinkId, ProtocolId, Rope};
use weir_link::{Dial, Drain, Links};
use weir_pull::ChannelId;
use weir_stack::{Action, Config, Event, Input, Stack, WireChange, WireId};

use crate::net::{config, start};

/// The names of the wire at both ends.
pub(crate) const NODES: WireId = WireId(1);
pub(crate) const PEERS: WireId = WireId(2);

/// A node, and a peer that is nothing but links. What one sends arrives at once.
pub(crate) struct Duo {
    pub(crate) node: Stack,
    pub(crate) peer: Links,
    pub(crate) id: PeerId,
    pub(crate) link: LinkId, // at the peer
    pub(crate) now: Instant,
    pub(crate) events: Vec<Event>,
    pub(crate) heard: Vec<weir_link::Event>,
}

impl Duo {
    pub(crate) fn linked() -> Self {
        Self::new(config())
    }

    /// A node with these limits, and a peer that is linked with it.
    pub(crate) fn new(config: Config) -> Self {
        let keypair = |seed| Keypair::ed25519_from_seed([seed; 32]);
        let node = Stack::new(Arc::new(config), keypair(1), [1; 32], start()).unwrap();
        let peer = Links::new(weir_link::Config::default(), Arc::new(keypair(2)), [2; 32], start()).unwrap();
        let id = PeerId::from_public_key(&keypair(2).public());
        let mut duo =
            Self { node, peer, id, link: LinkId(0), now: Instant::ZERO, events: vec![], heard: vec![] };
        duo.dial();
        duo
    }

    /// The peer dials the node, whatever became of the link before.
    pub(crate) fn dial(&mut self) {
        let (own, group) = (self.node.local_peer(), Group::Local(0));
        let dial = Dial { peer: Some(own), addresses: vec![Multiaddr::from_memory(0)], pinned: false };
        let dial = self.peer.dial(self.now, dial).unwrap();
        self.settle();
        self.peer.handle_wire(self.now, PEERS, WireChange::Opened { peer: own, dialled: Some(dial), group });
        let theirs = WireChange::Opened { peer: self.id, dialled: None, group };
        self.node.handle(self.now, Input::Wire(NODES, theirs));
        self.settle();
        let up = |event: &weir_link::Event| match event {
            weir_link::Event::Up { link, .. } => Some(*link),
            _ => None,
        };
        self.link = self.heard.iter().rev().find_map(up).unwrap();
    }

    pub(crate) fn settle(&mut self) {
        loop {
            let mut progress = false;
            while let Some(event) = self.peer.poll_event(Drain::All) {
                self.heard.push(event);
            }
            while let Some((_, frame)) = self.peer.poll_frame(self.now) {
                self.node.handle(self.now, Input::Frame(NODES, frame));
                progress = true;
            }
            while let Some(event) = self.node.poll_event() {
                self.events.push(event);
            }
            while let Some((_, frame)) = self.node.poll_frame(self.now) {
                self.peer.handle_frame(self.now, PEERS, frame);
                progress = true;
            }
            while let Some(action) = self.node.poll_action() {
                if let Action::CloseWire(_) = action {
                    self.peer.handle_wire(self.now, PEERS, WireChange::Closed);
                }
            }
            if !progress {
                return;
            }
        }
    }

    pub(crate) fn run_for(&mut self, pause: Duration) {
        let until = self.now + pause;
        while self.now < until {
            self.now = self.now + Duration::from_millis(50);
            self.node.handle_timeout(self.now);
            self.peer.handle_timeout(self.now);
            self.settle();
        }
    }

    /// The peer opens a stream and writes.
    pub(crate) fn say(&mut self, protocol: ProtocolId, bytes: &[u8]) -> u64 {
        let stream = self.open(protocol);
        self.write(stream, bytes);
        self.settle();
        stream
    }

    /// The peer opens a stream.
    pub(crate) fn open(&mut self, protocol: ProtocolId) -> u64 {
        self.peer.link(self.link).unwrap().open(self.now, protocol, Class::Bulk).unwrap()
    }

    /// The peer writes; it goes out with the next [`settle`](Self::settle).
    pub(crate) fn write(&mut self, stream: u64, bytes: &[u8]) {
        let mut rope = Rope::new();
        rope.push(Bytes::copy_from_slice(bytes));
        self.peer.link(self.link).unwrap().write(self.now, stream, &mut rope);
    }

    /// The peer says hello, with the call channel of the test network alone.
    pub(crate) fn say_hello(&mut self) {
        let mut body = vec![0, 1, 1]; // type, versions
        body.extend_from_slice(&[7; 32]); // network
        body.extend_from_slice(&[0, 3, b'd', b'u', b'o', 0, 100, 1]); // features, agent, services, streams, key's number
        body.extend_from_slice(&[9; 16]);
        body.extend_from_slice(&[1, 3, 4]); // one channel, its id, the length of its name
        body.extend_from_slice(b"echo");
        body.extend_from_slice(&[1, 1, 3, 100, 100, 100, 0]); // versions, shape, limits, extensions
        let mut message = vec![u8::try_from(body.len()).unwrap()];
        message.append(&mut body);
        self.say(ChannelId::CONTROL.protocol(0), &message);
    }

    pub(crate) fn up(&self) -> Option<weir_stack::Speaks> {
        self.events.iter().find_map(|event| match event {
            Event::PeerUp { speaks, .. } => Some(speaks.clone()),
            _ => None,
        })
    }
}
