//! Measurements over a lossy pipe, then what a stranger may ask for.

use weir_base::pair::{End, LINK, Pair, Pipe};
use weir_base::{Keypair, PeerId};

use super::*;

const PERF: ProtocolId = ProtocolId(7);

fn peers() -> (PeerId, PeerId) {
    let peer = |seed| Keypair::ed25519_from_seed([seed; 32]).peer_id();
    (peer(1), peer(2))
}

fn perf(max_inbound: u32) -> Perf {
    Perf::new(Config { max_inbound, ..Config::default() }, PERF)
}

fn pair(server: Perf) -> Pair<Perf, Perf> {
    let pipe = Pipe { piece: 100_000, ..Pipe::default() };
    Pair::new(perf(0), server, peers(), pipe, 3)
}

fn events(perf: &mut Perf) -> Vec<Event> {
    std::iter::from_fn(|| perf.poll_event()).collect()
}

#[test]
fn both_directions_are_carried_whole_one_after_the_other() {
    for (upload, download) in [(0, 0), (1, 0), (0, 1), (1_000_000, 300_000)] {
        let mut pair = pair(perf(1));
        pair.a.measure(pair.now, LINK, 5, upload, download);
        pair.run_for(Duration::from_secs(60));
        let told = events(&mut pair.a);
        let [Event::Done { link: LINK, tag: 5, took }] = told[..] else { panic!("{told:?}") };
        assert!(took >= Duration::from_millis(100), "{took:?}: a round trip at least");
        assert_eq!(pair.carried, (8 + upload, download));
        assert!(pair.faults.is_empty() && pair.b.servers.is_empty());
    }
}

#[test]
fn nothing_comes_back_before_all_was_read() {
    let mut pair = pair(perf(1));
    pair.a.measure(pair.now, LINK, 5, 2_000_000, 10);
    while pair.carried.0 < 2_000_000 {
        pair.run_for(Duration::from_millis(10));
        assert!(pair.carried.0 == 2_000_008 || pair.carried.1 == 0);
    }
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.carried.1, 10);
}

#[test]
fn a_server_that_is_asked_to_write_early_writes_nothing() {
    let mut pair = pair(perf(1));
    pair.a.measure(pair.now, LINK, 5, 50_000_000, 10);
    pair.run_for(Duration::from_millis(300));
    let key = *pair.b.servers.keys().next().unwrap();
    let mut out = Rope::new();
    pair.b.poll_write(pair.now, key, 1_000, &mut out);
    assert!(out.is_empty() && pair.b.servers.contains_key(&key));
}

#[test]
fn a_node_serves_only_where_it_is_told_to_and_so_many_at_once() {
    assert!(perf(0).protocols().is_empty());
    let mut pair = pair(perf(2));
    for tag in 0..4 {
        pair.a.measure(pair.now, LINK, tag, 100_000, 100_000);
    }
    pair.run_for(Duration::from_secs(60));
    let told = events(&mut pair.a);
    let done = told.iter().filter(|event| matches!(event, Event::Done { .. })).count();
    assert_eq!((done, told.len()), (2, 4));
    assert!(pair.faults.is_empty());
    // The places are free again.
    pair.a.measure(pair.now, LINK, 9, 1, 1);
    pair.run_for(Duration::from_secs(60));
    assert!(matches!(events(&mut pair.a)[..], [Event::Done { tag: 9, .. }]));
}

#[test]
fn a_wish_above_the_limit_is_refused_without_blame() {
    let server = Perf::new(Config { max_inbound: 1, max_download: 1_000 }, PERF);
    let mut pair = pair(server);
    pair.a.measure(pair.now, LINK, 1, 0, 1_000);
    pair.run_for(Duration::from_secs(5));
    pair.a.measure(pair.now, LINK, 2, 0, 1_001);
    pair.run_for(Duration::from_secs(5));
    let told = events(&mut pair.a);
    assert!(matches!(told[..], [Event::Done { tag: 1, .. }, Event::Failed { tag: 2, .. }]), "{told:?}");
    assert!(pair.faults.is_empty() && pair.b.servers.is_empty());
}

#[test]
fn a_measurement_without_a_link_or_on_one_that_goes_fails() {
    let mut pair = pair(perf(1));
    pair.a.measure(pair.now, LinkId(99), 1, 0, 0);
    pair.a.measure(pair.now, LINK, 2, 10_000_000, 0);
    pair.a.measure(pair.now, LINK, 2, 0, 0);
    pair.run_for(Duration::from_millis(200));
    pair.a.handle_link(pair.now, LINK, &LinkChange::Down);
    let failed: Vec<u64> = events(&mut pair.a)
        .iter()
        .map(|event| match event {
            Event::Failed { tag, .. } => *tag,
            Event::Done { .. } => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(failed, [1, 2, 2]);
    assert!(pair.a.clients.is_empty() && pair.a.opening.is_empty());
}

/// A side that writes what it was made with on every stream, and ends.
#[derive(Default)]
struct Peer {
    opens: bool,
    says: Vec<u8>,
    asks: VecDeque<Ask>,
    said: bool,
}

impl StreamUser for Peer {
    fn handle_link(&mut self, _: Instant, link: LinkId, _: &LinkChange) {
        if self.opens {
            self.asks.push_back(Ask::Open { link, protocol: PERF, class: Class::Bulk, tag: 0 });
        }
    }
    fn handle_opened(&mut self, _: Instant, key: StreamKey, _: Origin) {
        self.asks.extend([Ask::Write(key), Ask::Finish(key)]);
    }
    fn handle_refused(&mut self, _: Instant, _: u64, _: OpenError) {}
    fn class(&self, _: ProtocolId) -> Class {
        Class::Bulk
    }
    fn room(&self, _: StreamKey) -> usize {
        PIECE
    }
    fn handle_incoming(&mut self, _: Instant, _: StreamKey, _: Incoming) {}
    fn poll_write(&mut self, _: Instant, _: StreamKey, _: usize, out: &mut Rope) {
        if !std::mem::replace(&mut self.said, true) {
            out.put(&self.says);
        }
    }
    fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }
    fn handle_timeout(&mut self, _: Instant) {}
    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}

#[test]
fn a_stream_that_ends_before_its_size_is_a_fault() {
    for len in 0..8 {
        let peer = Peer { opens: true, says: vec![0; len], ..Peer::default() };
        let mut pair = Pair::new(peer, perf(1), peers(), Pipe::default(), 3);
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.faults, [(End::B, NO_SIZE)]);
        assert!(pair.b.servers.is_empty());
    }
}

#[test]
fn a_server_that_sends_more_than_was_asked_for_is_blamed() {
    let peer = Peer { says: vec![0; 11], ..Peer::default() };
    let mut pair = Pair::new(perf(0), peer, peers(), Pipe::default(), 3);
    pair.a.measure(pair.now, LINK, 1, 0, 10);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.faults, [(End::A, TOO_MUCH)]);
    assert!(matches!(events(&mut pair.a)[..], [Event::Failed { tag: 1, .. }]));
}

#[test]
fn a_server_that_sends_less_is_a_failure_and_no_fault() {
    let peer = Peer { says: vec![0; 9], ..Peer::default() };
    let mut pair = Pair::new(perf(0), peer, peers(), Pipe::default(), 3);
    pair.a.measure(pair.now, LINK, 1, 0, 10);
    pair.run_for(Duration::from_secs(1));
    assert!(pair.faults.is_empty());
    assert!(matches!(events(&mut pair.a)[..], [Event::Failed { tag: 1, .. }]));
}
