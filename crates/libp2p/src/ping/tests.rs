use weir_base::pair::{End, LINK, Pair, Pipe};
use weir_base::stream::{Group, LinkInfo, Side};
use weir_base::{Chunk, Keypair, PeerId};

use super::*;

const PING: ProtocolId = ProtocolId(7);

/// What a peer makes of a ping.
type Answer = fn(&[u8]) -> Vec<u8>;

fn peers() -> (PeerId, PeerId) {
    let peer = |seed| PeerId::from_public_key(&Keypair::ed25519_from_seed([seed; 32]).public());
    (peer(1), peer(2))
}

fn ping(interval: u64) -> Ping {
    let config = Config { interval: Duration::from_secs(interval), ..Config::default() };
    Ping::new(config, PING, Rng::from_number(5))
}

fn events(ping: &mut Ping) -> Vec<Event> {
    std::iter::from_fn(|| ping.poll_event()).collect()
}

/// A peer that does as it likes.
#[derive(Default)]
struct Peer {
    /// Streams to open at once.
    opens: u64,
    /// What it writes on each of those.
    says: Vec<u8>,
    /// It says that again whenever so much came back.
    again: bool,
    /// What it makes of a ping.
    answer: Option<Answer>,
    /// It refuses streams.
    refuses: bool,
    /// It answers the first ping of a stream, and none after it.
    once: bool,
    out: BTreeMap<StreamKey, Vec<u8>>,
    got: usize,
    stopped: Vec<u32>,
    ended: usize,
    asks: VecDeque<Ask>,
}

impl StreamUser for Peer {
    fn handle_link(&mut self, _: Instant, link: LinkId, _: &LinkChange) {
        let open = |tag| Ask::Open { link, protocol: PING, class: Class::Bulk, tag };
        self.asks.extend((0..self.opens).map(open));
    }
    fn handle_opened(&mut self, _: Instant, key: StreamKey, origin: Origin) {
        if let Origin::Local { .. } = origin {
            self.out.insert(key, self.says.clone());
            self.asks.push_back(Ask::Write(key));
        } else if self.refuses {
            self.asks.extend([Ask::Reset(key, 1), Ask::Stop(key, 1)]);
        }
    }
    fn handle_refused(&mut self, _: Instant, _: u64, _: OpenError) {}
    fn class(&self, _: ProtocolId) -> Class {
        Class::Bulk
    }
    fn room(&self, _: StreamKey) -> usize {
        1000
    }
    fn handle_incoming(&mut self, _: Instant, key: StreamKey, input: Incoming) {
        match input {
            Incoming::Data(chunk) => {
                self.got += chunk.len();
                let first = !self.out.contains_key(&key);
                let bytes = if self.again { chunk.to_vec() } else { Vec::new() };
                self.out.entry(key).or_default().extend(bytes);
                if let Some(answer) = self.answer.filter(|_| first || !self.once) {
                    self.out.entry(key).or_default().extend(answer(&chunk));
                }
                self.asks.push_back(Ask::Write(key));
            }
            Incoming::Stopped(code) => self.stopped.push(code),
            Incoming::End => self.ended += 1,
            Incoming::Reset(_) => {}
        }
    }
    fn poll_write(&mut self, _: Instant, key: StreamKey, room: usize, out: &mut Rope) {
        let Some(bytes) = self.out.get_mut(&key) else { return };
        let len = bytes.len().min(room);
        out.put(&bytes.drain(..len).collect::<Vec<_>>());
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
fn two_nodes_measure_their_round_trip_again_and_again() {
    for (seed, loss_per_mille) in [(1, 0), (2, 0), (3, 100)] {
        let pipe = Pipe { piece: 5, loss_per_mille, ..Pipe::default() };
        let mut pair = Pair::new(ping(15), ping(20), peers(), pipe, seed);
        pair.run_for(Duration::from_secs(63));
        for (ping, rounds) in [(&mut pair.a, 5), (&mut pair.b, 4)] {
            let measured = events(ping);
            assert_eq!(measured.len(), rounds, "{measured:?}");
            for Event::Rtt { link, rtt } in measured {
                assert_eq!(link, LINK);
                assert!(rtt >= Duration::from_millis(100) && rtt <= Duration::from_millis(500), "{rtt:?}");
                assert!(loss_per_mille > 0 || rtt == Duration::from_millis(100));
            }
        }
        assert_eq!(pair.faults, []);
        assert_eq!(pair.carried.0, 32 * 9, "one payload each way and round");
    }
}

#[test]
fn each_ping_has_a_stream_of_its_own_which_ends_with_its_echo() {
    let peer = Peer { answer: Some(<[u8]>::to_vec), once: true, ..Peer::default() };
    let mut pair = Pair::new(ping(1), peer, peers(), Pipe::default(), 1);
    pair.run_for(Duration::from_secs(5));
    assert_eq!((events(&mut pair.a).len(), pair.faults.len()), (5, 0), "one at once, then one every 1.1 s");
    assert_eq!((pair.b.out.len(), pair.b.ended, &pair.b.stopped[..]), (5, 5, &[DONE; 5][..]));
}

#[test]
fn a_node_that_does_not_ping_still_answers() {
    let mut pair = Pair::new(ping(0), ping(10), peers(), Pipe::default(), 1);
    pair.run_for(Duration::from_secs(5));
    assert_eq!((events(&mut pair.a).len(), events(&mut pair.b).len()), (0, 1));
}

#[test]
fn a_wrong_echo_is_a_fault_once_and_nothing_is_sent_to_that_peer_again() {
    let wrongs: [Answer; 3] = [
        |bytes| bytes.iter().map(|byte| byte ^ 1).collect(),
        |bytes| bytes.iter().rev().copied().collect(),
        |_| vec![0; 1],
    ];
    for wrong in wrongs {
        let peer = Peer { answer: Some(wrong), ..Peer::default() };
        let mut pair = Pair::new(ping(1), peer, peers(), Pipe::default(), 1);
        pair.run_for(Duration::from_secs(60));
        assert_eq!(pair.faults, [(End::A, WRONG_ECHO)]);
        assert_eq!((pair.carried.0, events(&mut pair.a)), (32, vec![]));
        assert_eq!(pair.b.stopped, [FAULT]);
    }
}

#[test]
fn bytes_that_nothing_asked_for_are_a_fault() {
    let more: Answer = |bytes| [bytes, b"and more"].concat();
    let peer = Peer { answer: Some(more), ..Peer::default() };
    let mut pair = Pair::new(ping(1), peer, peers(), Pipe::default(), 1);
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.faults, [(End::A, UNASKED)]);
}

#[test]
fn a_peer_that_does_not_echo_in_time_is_unreliable_and_is_asked_again() {
    let mut pair = Pair::new(ping(5), Peer::default(), peers(), Pipe::default(), 1);
    pair.run_for(Duration::from_secs(29));
    assert_eq!(pair.faults, [(End::A, SILENT), (End::A, SILENT)], "at 10 s and at 25 s");
    assert_eq!(pair.b.stopped, [TIMEOUT, TIMEOUT]);
    pair.b.answer = Some(<[u8]>::to_vec);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(events(&mut pair.a).len(), 1);
}

#[test]
fn a_peer_that_does_not_speak_ping_is_nobodys_fault_and_is_left_alone() {
    let mut pair = Pair::new(ping(1), Peer { refuses: true, ..Peer::default() }, peers(), Pipe::default(), 1);
    pair.run_for(Duration::from_secs(60));
    assert_eq!((pair.faults.len(), pair.carried.0), (0, 32));
}

#[test]
fn a_peer_has_two_streams_and_pings_on_them_at_a_pace() {
    let peer = Peer { opens: 5, says: vec![9; 96], again: true, ..Peer::default() };
    let pipe = Pipe { delay: Duration::from_millis(1), ..Pipe::default() };
    let mut pair = Pair::new(peer, ping(0), peers(), pipe, 1);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.a.stopped, [LIMIT; 3]);
    assert_eq!(
        pair.a.got,
        20 * PAYLOAD,
        "ten at once, then one every 100 ms, and one that the second stream had begun"
    );
    assert_eq!(pair.faults, []);
}

#[test]
fn a_new_stream_for_each_ping_does_not_go_around_the_pause() {
    let mut ping = ping(0);
    let info = LinkInfo { peer: peers().0, side: Side::Inbound, dialler: false, group: Group::Local(0) };
    ping.handle_link(Instant::ZERO, LINK, &LinkChange::Up(info));
    for begun in [0, 20_000] {
        let mut answered = 0;
        for millis in begun..begun + 1_000 {
            let now = Instant::from_millis(millis);
            let key = StreamKey { link: LINK, stream: millis };
            ping.handle_timeout(now);
            ping.handle_opened(now, key, Origin::Peer(PING));
            let len = ping.room(key);
            if len > 0 {
                ping.handle_incoming(now, key, Incoming::Data(Chunk::whole(vec![9; len].into())));
                ping.handle_incoming(now, key, Incoming::End);
                let mut echo = Rope::new();
                ping.poll_write(now, key, PAYLOAD, &mut echo);
                answered += echo.len();
            }
            // The peer gives up the stream, and opens another.
            ping.handle_incoming(now, key, Incoming::Reset(0));
            while ping.poll_ask().is_some() {}
        }
        assert_eq!(answered, 19 * PAYLOAD, "ten at once, then one every 100 ms, however long it rested");
    }
    assert!(ping.responders.is_empty());
}

#[test]
fn half_a_ping_waits_and_its_stream_is_forgotten_with_the_link() {
    let peer = Peer { opens: 2, says: vec![9; 20], ..Peer::default() };
    let mut pair = Pair::new(peer, ping(0), peers(), Pipe::default(), 1);
    pair.run_for(Duration::from_secs(100));
    assert_eq!((pair.a.got, pair.b.responders.len()), (0, 2));
    pair.b.handle_link(pair.now, LINK, &LinkChange::Down);
    assert_eq!((pair.b.responders.len(), pair.b.poll_timeout()), (0, None));
}
