//! Strangers over TCP whose every byte is written by hand, at a whole node beside an honest peer: what they break is theirs, what they leave
//! unfinished ends in time, nothing grows, and the honest peer's items arrive all the while.

use crate::common;

use std::time::Duration;

use weir_base::{Fault, Rng};
use weir_libp2p::{identify, mplex, yamux};
use weir_sim::flood::{TXS, transaction};
use weir_sim::misbehave::{Conduct, Said, Stranger, broken_rules, named, opening};
use weir_sim::{Dials, Model, Network, Node as _, NodeId, Note, Place, Transport, keypair};

const VICTIM: NodeId = NodeId(0);
const HONEST: NodeId = NodeId(1);
/// Strangers have the numbers from here on.
const FIRST: u32 = 2;

struct Scene {
    net: Network,
    items: u32,
}

impl Scene {
    /// A victim that has one honest peer, and so many computers of strangers.
    fn new(strangers: u32) -> Self {
        let mut setup = common::setup(FIRST + strangers, 0, 3);
        setup.dials = Dials::OneEnd;
        (setup.transport, setup.model) = (Transport::Tcp, Model::calm());
        setup.place = |_, _| Place::NEAR;
        setup.config.tcp.mplex = vec![mplex::NAME.to_owned()];
        let mut net = Network::new(setup).unwrap();
        net.edges = vec![(HONEST, VICTIM)];
        assert!(net.link_up());
        Self { net, items: 0 }
    }

    /// A stranger connects to the victim, with the key that belongs to its computer.
    fn connect(&mut self, id: NodeId, conduct: Conduct) -> Said {
        self.items += 1;
        let stranger = Stranger::new(&keypair(id), conduct, Rng::from_number(self.items.into()));
        let said = stranger.said();
        self.net.host.computer(id).dial_by_hand(VICTIM, Box::new(stranger));
        said
    }

    /// Time passes; an item of the honest peer arrives meanwhile, and the victim holds no more than its ledgers say.
    fn pass(&mut self, seconds: u64) {
        self.items += 1;
        let bytes = transaction(self.items, 3);
        let inserted = self.net.host.with(HONEST, |actor, now| actor.insert(now, TXS, bytes.clone()));
        assert_eq!(inserted, Some(true));
        let mut arrived = false;
        let mut note = |_: &mut Network, id: NodeId, note: Note| {
            arrived |= id == VICTIM && matches!(&note, Note::Accepted { bytes: item, .. } if *item == bytes);
        };
        self.net.run(Duration::from_secs(1), &mut note);
        assert!(arrived, "an honest item took longer than a second");
        self.net.run(Duration::from_secs(seconds - 1), |_, _, _| {});
        assert_eq!(self.net.found().peak_over, 0);
        assert!(self.faults(HONEST).is_empty() && self.net.linked(VICTIM, HONEST));
    }

    /// What the victim blames a node for.
    fn faults(&self, id: NodeId) -> Vec<Fault> {
        let seen = self.net.faults.iter().filter(|seen| (seen.by, seen.whom) == (VICTIM, id));
        seen.map(|seen| seen.fault).collect()
    }

    /// Links of the victim, and handshakes under way.
    fn links(&mut self) -> (u64, u64) {
        let stats = self.net.host.node(VICTIM).unwrap().stack().stats().link;
        (stats.links, stats.half_open)
    }

    /// Each of these handshakes comes to nothing: no link, nobody is blamed, and after the deadline nothing is left.
    fn in_vain(&mut self, conducts: impl Iterator<Item = Conduct>) {
        let strangers = self.net.host.len() as u32 - FIRST;
        let conducts: Vec<Conduct> = conducts.collect();
        for some in conducts.chunks(strangers as usize) {
            for (conduct, number) in some.iter().zip(FIRST..) {
                self.connect(NodeId(number), conduct.clone());
            }
            self.pass(2);
            assert_eq!(self.links().0, 1, "{some:?}");
            self.pass(18);
            assert_eq!(self.links(), (1, 0), "{some:?}");
        }
        assert!(self.net.faults.is_empty(), "{:?}", self.net.faults);
    }
}

/// What a stranger says in a handshake that comes to a link.
fn whole_handshake() -> Vec<u8> {
    let mut scene = Scene::new(1);
    let said = scene.connect(NodeId(FIRST), says(Vec::new()));
    scene.pass(1);
    assert_eq!(scene.links(), (2, 0));
    let said = said.lock().unwrap().clone();
    assert!(said.len() > 200, "three messages: {}", said.len());
    said
}

fn says(texts: Vec<Vec<u8>>) -> Conduct {
    Conduct::Says { muxer: yamux::NAME, texts, reads: true }
}

#[test]
fn handshakes_cut_at_every_byte_leave_nothing() {
    let whole = whole_handshake();
    Scene::new(40).in_vain((0..whole.len()).map(Conduct::Cut));
}

#[test]
fn handshakes_with_a_wrong_bit_in_any_byte_come_to_nothing() {
    let whole = whole_handshake();
    Scene::new(40).in_vain((0..whole.len()).map(Conduct::Damaged));
}

#[test]
fn slow_and_replayed_handshakes_come_to_nothing() {
    let whole = whole_handshake();
    Scene::new(2).in_vain([Conduct::Slow, Conduct::Recorded(whole)].into_iter());
}

#[test]
fn each_rule_of_streams_that_is_broken_ends_its_link_with_its_own_blame() {
    let rules = broken_rules();
    let mut scene = Scene::new(rules.len() as u32);
    for (broken, number) in rules.iter().zip(FIRST..) {
        scene.connect(NodeId(number), says(vec![broken.says.clone()]));
    }
    scene.pass(3);
    for (broken, number) in rules.iter().zip(FIRST..) {
        assert_eq!(scene.faults(NodeId(number)), [broken.fault], "{}", broken.rule);
    }
    assert_eq!(scene.links(), (1, 0));
}

#[test]
fn another_version_of_yamux_is_turned_away_without_blame() {
    let mut scene = Scene::new(1);
    scene.connect(NodeId(FIRST), says(vec![vec![1; 12]]));
    scene.pass(3);
    assert_eq!((scene.links(), scene.faults(NodeId(FIRST))), ((1, 0), vec![]));
}

#[test]
fn floods_over_mplex_end_their_link_with_blame() {
    let (new, reset) = (0, 6);
    let message = |number: u64, kind: u64| {
        let mut message = Vec::new();
        weir_base::codec::put_varint(&mut message, number << 3 | kind);
        message.push(0);
        message
    };
    let openings: Vec<u8> = (0..5_000).flat_map(|number| message(number, new)).collect();
    let resets: Vec<u8> =
        (0..5_000).flat_map(|number| [message(number, new), message(number, reset)].concat()).collect();
    let mut scene = Scene::new(2);
    for (texts, number) in [openings, resets].into_iter().zip(FIRST..) {
        let conduct = Conduct::Says { muxer: mplex::NAME, texts: vec![texts], reads: true };
        scene.connect(NodeId(number), conduct);
    }
    scene.pass(3);
    assert_eq!(scene.faults(NodeId(FIRST)), [mplex::STORM]);
    assert_eq!(scene.faults(NodeId(FIRST + 1)), [mplex::STORM]);
    assert_eq!(scene.links(), (1, 0));
}

/// Pushes of identify on a hundred streams, of which each is begun and none ends.
#[test]
fn pushes_in_a_storm_are_refused_and_harm_nobody() {
    let mut scene = Scene::new(1);
    let pushes = (0..100).map(|number| opening(2 * number + 1, &named(identify::PUSH_NAME))).collect();
    scene.connect(NodeId(FIRST), says(pushes));
    scene.pass(3);
    let streams = scene.net.host.node(VICTIM).unwrap().stack().stats().streams;
    assert!(streams < 40, "{streams} streams: the honest peer's, and a few pushes");
}

/// The victim's pings, its questions and its streams are left alone: neither answered nor acknowledged.
#[test]
fn a_peer_that_answers_nothing_is_given_up_once_a_ping_was_not_answered() {
    let mut scene = Scene::new(1);
    scene.connect(NodeId(FIRST), says(vec![]));
    scene.pass(2);
    assert_eq!(scene.links(), (2, 0));
    scene.pass(40);
    assert_eq!(scene.links(), (1, 0));
}

#[test]
fn a_reader_that_stops_is_given_up_and_what_waits_for_it_is_bounded() {
    let mut scene = Scene::new(1);
    let asks = (0..400).map(|number| opening(2 * number + 1, &named(identify::NAME))).collect();
    scene.connect(NodeId(FIRST), Conduct::Says { muxer: yamux::NAME, texts: asks, reads: false });
    scene.pass(2);
    scene.pass(90);
    assert_eq!(scene.links(), (1, 0));
}
