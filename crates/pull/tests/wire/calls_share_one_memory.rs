//! Scenario 13, the part above links: peers that call everything and read nothing, or send requests a byte at a time, hold at
//! most the memory for calls, and others are served all the while.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::{Ask, Group, Incoming, LinkChange, LinkInfo, Origin, Side, StreamUser};
use weir_base::{Chunk, Instant, LinkId, Rope, StreamKey};
use weir_pull::call::{self, Command as CallCommand};
use weir_pull::framing::code;
use weir_pull::{ChannelId, Command, Config, Event, Pull, Refused, Shape, Ticket};

use crate::common::*;

/// The budget of these tests.
const MEMORY: u64 = 8 << 20;
const MIB: usize = 1 << 20;

/// A server and what its callers do, written by hand; every link is of another peer, all in one group of addresses.
struct Server {
    pull: Pull,
    now: Instant,
    streams: u64,
    written: BTreeMap<StreamKey, usize>,
    reads: fn(LinkId) -> bool,
    ended: BTreeMap<StreamKey, (bool, Option<u32>)>, // finished, and the code of a reset or stop
    requests: Vec<(LinkId, Ticket)>,
}

impl Server {
    fn new(links: u64, config: Config) -> Self {
        let mut server = Self {
            pull: node(2, config),
            now: at(1),
            streams: 0,
            written: BTreeMap::new(),
            reads: |_| true,
            ended: BTreeMap::new(),
            requests: Vec::new(),
        };
        for link in 0..links {
            server.link(LinkId(link), u8::try_from(link % 8).unwrap());
        }
        server
    }

    fn link(&mut self, link: LinkId, peer: u8) {
        let info = LinkInfo { peer: id(peer), side: Side::Inbound, dialler: false, group: Group::Local(0) };
        self.pull.handle_link(self.now, link, &LinkChange::Up(info));
        self.open(link, ChannelId::CONTROL, &hello_bytes(&hello()));
    }

    /// A peer opens a stream of a channel and writes these bytes.
    fn open(&mut self, link: LinkId, channel: ChannelId, bytes: &Bytes) -> StreamKey {
        self.streams += 1;
        let key = StreamKey { link, stream: self.streams };
        self.pull.handle_opened(self.now, key, Origin::Peer(channel.protocol(0)));
        self.write(key, bytes);
        key
    }

    fn write(&mut self, key: StreamKey, bytes: &Bytes) {
        let mut bytes = bytes.clone();
        while !bytes.is_empty() && !self.ended.contains_key(&key) {
            let room = self.pull.room(key).min(bytes.len());
            if room == 0 {
                break;
            }
            let part = Chunk::whole(bytes.split_to(room));
            self.pull.handle_incoming(self.now, key, Incoming::Data(part));
            self.settle();
        }
        self.settle();
    }

    fn call(&mut self, link: LinkId) -> StreamKey {
        self.open(link, CALL, &request_bytes(1))
    }

    /// Carries what the server writes where its link reads, a MiB a turn, and notes how streams end.
    fn settle(&mut self) {
        while let Some(ask) = self.pull.poll_ask() {
            match ask {
                Ask::Write(key) if key.stream > 0 && (self.reads)(key.link) => {
                    let mut out = Rope::new();
                    self.pull.poll_write(self.now, key, 2 * MIB, &mut out);
                    *self.written.entry(key).or_default() += out.len();
                }
                Ask::Finish(key) => self.ended.entry(key).or_default().0 = true,
                Ask::Reset(key, code) => self.ended.entry(key).or_default().1 = Some(code),
                Ask::Open { tag, .. } => {
                    self.pull.handle_refused(self.now, tag, weir_base::stream::OpenError::Limit);
                }
                _ => {}
            }
        }
        while let Some(event) = self.pull.poll_event() {
            match event {
                Event::Call(CALL, call::Event::Request { ticket, link, .. }) => {
                    self.requests.push((link, ticket));
                }
                Event::Call(CALL, call::Event::Cancelled { ticket }) => {
                    self.requests.retain(|(_, open)| *open != ticket);
                }
                _ => {}
            }
        }
        let (used, total) = self.pull.call_memory();
        assert!(used <= total, "{used} of {total}");
    }

    /// The application takes and answers what it was handed; returns whose requests these were.
    fn answer(&mut self, response: &Bytes) -> Vec<LinkId> {
        self.answer_each(|_| response.clone())
    }

    fn answer_each(&mut self, response: impl Fn(LinkId) -> Bytes) -> Vec<LinkId> {
        let mut answered = Vec::new();
        while let Some((link, ticket)) = self.requests.pop() {
            take(&mut self.pull, self.now, CALL, ticket);
            let command = CallCommand::Answer { ticket, at: self.now, response: Ok(response(link)) };
            self.pull.command(self.now, Command::Call(CALL, command)).unwrap();
            answered.push(link);
            self.settle();
        }
        answered
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.pull.handle_timeout(self.now);
        self.settle();
    }
}

fn request_bytes(len: usize) -> Bytes {
    message(0, &[varint(10_000), vec![7; len]].concat())
}

fn small_memory() -> Config {
    let mut config = config();
    config.call_memory = MEMORY;
    config
}

/// The link that behaves.
const HONEST: LinkId = LinkId(0);

#[test]
fn answers_that_nobody_reads_are_bounded_and_others_are_answered_all_the_while() {
    let mut server = Server::new(97, small_memory());
    server.reads = |link| link == HONEST;
    let large = Bytes::from(vec![1; MIB]);
    let (mut kept, mut calls) = (0, 0);
    let mut honest: Option<(StreamKey, Instant)> = None;
    while calls < 20 {
        for link in (1..97).map(LinkId) {
            let _ = server.call(link);
        }
        if honest.is_none() {
            honest = Some((server.call(HONEST), server.now));
        }
        for _ in 0..10 {
            kept = kept.max(server.pull.call_memory().0);
            server.answer_each(|link| large.slice(5_000 * usize::try_from(link.0).unwrap()..));
            server.pass(Duration::from_millis(10)); // an answer that stalls gives way after 200 ms
        }
        let Some((key, since)) = honest else { continue };
        // At first one turn for each of 96 peers, five to seven answers of which fit at once: 200 ms each. From then on it has left
        // memory to all of them, and gets the next that comes back.
        let longest = if calls < 2 { 4_500 } else { 300 };
        assert!(server.now.since(since) <= Duration::from_millis(longest), "call {calls}");
        if server.written.get(&key).is_some_and(|len| *len > MIB / 2) {
            (calls, honest) = (calls + 1, None);
        }
    }
    assert!(kept > MEMORY / 2, "the budget was in use: {kept}");
}

#[test]
fn a_link_whose_answers_are_small_is_answered_at_once_however_many_are_not_read() {
    let mut server = Server::new(33, small_memory());
    server.reads = |link| link == HONEST;
    let (large, small) = (Bytes::from(vec![1; MIB]), Bytes::from(vec![1; 4_000]));
    server.call(HONEST);
    server.answer(&small);
    for round in 0..20 {
        (1..33).for_each(|link| _ = server.call(LinkId(link)));
        let calls: Vec<StreamKey> = (0..4).map(|_| server.call(HONEST)).collect();
        server.answer_each(|link| if link == HONEST { small.clone() } else { large.clone() });
        assert!(server.pull.call_memory().0 > MEMORY / 2, "the others hold what there is");
        for key in calls {
            assert_eq!(server.ended.get(&key), Some(&(true, None)), "round {round}: no time has passed");
            assert!(server.written.get(&key).is_some_and(|len| *len > small.len()));
        }
        server.pass(Duration::from_millis(50));
    }
}

#[test]
fn one_small_answer_after_a_large_one_drops_no_answer_of_others() {
    let mut server = Server::new(33, small_memory());
    server.reads = |link| link == HONEST;
    let (large, small) = (Bytes::from(vec![1; MIB]), Bytes::from(vec![1; 4_000]));
    for answer in [&large, &small] {
        server.call(HONEST);
        server.answer(answer);
    }
    let large = large.slice(100_000..); // less than twice what half of its largest answer is
    let at_once = |server: &mut Server| {
        (1..33).for_each(|link| _ = server.call(LinkId(link)));
        server.answer_each(|_| large.clone());
        let key = server.call(HONEST);
        server.answer_each(|link| if link == HONEST { small.clone() } else { large.clone() });
        let done = server.ended.contains_key(&key);
        while !server.ended.contains_key(&key) {
            server.pass(Duration::from_millis(200)); // what the others hold has not moved
            server.answer_each(|link| if link == HONEST { small.clone() } else { large.clone() });
        }
        done
    };
    assert!(!at_once(&mut server), "its answers may still be half as large as theirs");
    assert!(at_once(&mut server));
}

#[test]
fn who_leaves_an_answer_unread_and_comes_back_pays_for_the_time_it_was_kept() {
    let mut server = Server::new(3, small_memory());
    server.reads = |link| link != LinkId(1);
    server.call(LinkId(1));
    server.answer(&Bytes::from(vec![1; MIB])); // an eighth of the memory
    server.call(LinkId(2));
    let (_, ticket) = server.requests.pop().unwrap();
    take(&mut server.pull, server.now, CALL, ticket);
    server.pass(Duration::from_millis(400)); // handling
    let command = CallCommand::Answer { ticket, at: server.now, response: Ok(Bytes::new()) };
    server.pull.command(server.now, Command::Call(CALL, command)).unwrap();
    server.pass(Duration::from_millis(4_600));
    server.pull.handle_link(server.now, LinkId(1), &LinkChange::Down);
    server.link(LinkId(3), 1);
    (0..8).for_each(|_| _ = server.call(HONEST)); // as many as are handed over ahead
    server.call(LinkId(3));
    server.call(LinkId(2));
    let mut order = Vec::new();
    while !server.requests.is_empty() {
        let (link, ticket) = server.requests.remove(0);
        order.push(link);
        take(&mut server.pull, server.now, CALL, ticket);
        let command = CallCommand::Answer { ticket, at: server.now, response: Ok(Bytes::new()) };
        server.pull.command(server.now, Command::Call(CALL, command)).unwrap();
        server.settle();
    }
    let place = |link| order.iter().position(|other| *other == LinkId(link));
    assert!(place(2) < place(3), "400 ms are less than an eighth of 5 s: {order:?}");
}

#[test]
fn an_answer_is_broken_off_when_it_is_not_read_at_16_kb_a_second() {
    let mut server = Server::new(1, small_memory());
    server.reads = |_| false;
    let key = server.call(HONEST);
    server.answer(&Bytes::from(vec![1; 160_000]));
    server.pass(Duration::from_millis(19_900));
    assert_eq!(server.ended.get(&key), None);
    server.pass(Duration::from_millis(200));
    assert_eq!(server.ended.get(&key), Some(&(false, Some(code::TIMEOUT))));
    assert_eq!(server.pull.call_memory().0, 0);
}

#[test]
fn requests_sent_a_byte_at_a_time_are_bounded_and_refuse_nobody_who_asks_for_little() {
    let mut server = Server::new(97, small_memory());
    let large = request_bytes(65_000);
    let part = large.slice(..4_000);
    let mut answered = 0;
    for second in 0..25 {
        for link in 1..97 {
            for _ in 0..2 {
                server.open(LinkId(link), CALL, &part);
            }
        }
        server.call(HONEST);
        answered += server.answer(&Bytes::from_static(b"yes")).iter().filter(|link| **link == HONEST).count();
        assert_eq!(answered, second + 1);
        server.pass(Duration::from_secs(1));
    }
    server.pass(Duration::from_secs(15));
    assert_eq!(server.pull.call_memory().0, 0, "all were late");
}

#[test]
fn what_had_to_give_way_is_told_to_come_again() {
    let mut config = config();
    config.call_memory = 24 << 20; // a quarter of it: 96 requests of 65 kB
    let mut server = Server::new(3, config);
    let long = request_bytes(65_000);
    let streams: Vec<_> = (0..64).map(|_| server.open(LinkId(1), CALL, &long.slice(..64_000))).collect();
    let others: Vec<_> = (0..64).map(|_| server.open(LinkId(2), CALL, &long.slice(..64_000))).collect();
    let all = || streams.iter().chain(&others);
    let refused = all().filter(|key| server.ended.get(key) == Some(&(true, None))).count();
    assert_eq!(refused, 32);
    let share = |of: &[StreamKey]| of.iter().filter(|key| !server.ended.contains_key(key)).count();
    assert_eq!((share(&streams), share(&others)), (48, 48), "the first had all of it");
    let answers: Vec<usize> = all().filter_map(|key| server.written.get(key).copied()).collect();
    assert_eq!(answers, vec![message(2, &varint(100)).len(); refused], "busy: again in 100 ms");
}

#[test]
fn the_memory_for_calls_must_hold_the_largest_request_and_answer() {
    let mut config = config();
    config.call_memory = 1_485_503; // 65,536 + 1,048,576 + 16 are three quarters of one byte more
    let error = config.validate().unwrap_err().to_string();
    assert!(error.contains("call_memory") && error.contains("`call`"), "{error}");
    config.call_memory = 1_485_504;
    assert_eq!(config.validate(), Ok(()));
    let Shape::Call(_) = config.channels[1].shape else { panic!("no call channel") };
}

#[test]
fn calls_of_5_ms_from_24_peers_leave_an_honest_caller_its_share() {
    let mut server = Server::new(25, config());
    let yes = Bytes::from_static(b"yes");
    let (mut honest_waits, mut longest, mut served) = (Vec::new(), Duration::ZERO, 0);
    for link in 1..25 {
        for _ in 0..64 {
            server.call(LinkId(link));
        }
    }
    let end = server.now + Duration::from_secs(10);
    while server.now < end {
        if honest_waits.is_empty() {
            server.call(HONEST);
            honest_waits.push(server.now);
        }
        // one worker: it takes the oldest, works 5 ms, answers; who was answered asks again
        let Some(ticket) = (!server.requests.is_empty()).then(|| server.requests.remove(0)) else {
            panic!("idle")
        };
        let (link, ticket) = ticket;
        take(&mut server.pull, server.now, CALL, ticket);
        server.pass(Duration::from_millis(5));
        let command = CallCommand::Answer { ticket, at: server.now, response: Ok(yes.clone()) };
        let done: Result<Ticket, Refused> = server.pull.command(server.now, Command::Call(CALL, command));
        if done.is_ok() && link == HONEST {
            let since = honest_waits.remove(0);
            longest = longest.max(server.now.since(since));
            served += 1;
        }
        server.settle();
        if link != HONEST {
            server.call(link);
        }
    }
    assert!(served >= 72, "{served} of the 80 that are its share of 2,000");
    assert!(longest <= Duration::from_millis(250), "{longest:?}: two rounds of 25 peers");
}
