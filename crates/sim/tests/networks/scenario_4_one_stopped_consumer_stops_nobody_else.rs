//! Scenario 4: the largest messages on the smallest windows, with one stopped consumer, over frames, QUIC and TCP: every
//! other channel advances, the messages complete, and what is buffered never exceeds what was granted.

use crate::common;

use std::time::Duration;

use bytes::Bytes;
use weir_base::stream::Class;
use weir_base::{KIB, MIB, Rope, StreamKey};
use weir_pull::ChannelId;
use weir_sim::flood::{TXS, pool_channel, pool_of};
use weir_sim::{Checking, Network, Node as _, NodeId, Note, Setup, Transport};
use weir_stack::{Channel, Command, Event, Shape, Target, call, pool, raw, tip};

const TIPS: ChannelId = ChannelId(2);
const CALLS: ChannelId = ChannelId(3);
const RAW: ChannelId = ChannelId(4);
const HELD: ChannelId = ChannelId(5);
/// Bytes of the largest item and response.
const LARGEST: usize = 4 * MIB;
const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);

/// Bytes of each request that the stopped server gets, as many as a method takes at once: together as much as the whole
/// receive window, or four times as much.
fn held_len() -> usize {
    if common::full() { 256 * KIB } else { 64 * KIB }
}

/// Requests that the stopped server takes and never answers: what the memory for calls holds beside one of another method.
const HELD_AT_MOST: usize = 64;

/// Memory for calls: of the three quarters that are for requests taken and for answers, `HELD_AT_MOST` of the stopped server
/// and one largest request and response of the other method fill all but half a response.
fn call_memory() -> u64 {
    let held = HELD_AT_MOST * (held_len() + LARGEST);
    ((held + 2 * LARGEST + LARGEST / 2) as u64).div_ceil(3) * 4
}

/// Who stops consuming what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// B never reads the raw stream that A writes.
    RawReader,
    /// B never answers the requests of a second method.
    Server,
    /// B never decides on A's candidates: the pool is stopped, all others are not.
    Pool,
}

fn setup(transport: Transport, stopped: Stopped) -> Setup {
    let calls = |max_request: usize, concurrency: u32| {
        Shape::Call(call::Config {
            max_request: max_request as u32,
            max_response: LARGEST as u32,
            concurrency,
            deadline: Duration::from_secs(600),
            ..call::Config::default()
        })
    };
    let channel = |id, name: &str, shape| Channel { id, name: name.into(), version: 1, oldest: 1, shape };
    let channels = vec![
        pool_channel(),
        channel(TIPS, "tip", Shape::Tip(tip::Config::default())),
        channel(CALLS, "call", calls(LARGEST, 64)),
        channel(RAW, "raw", Shape::Raw),
        channel(HELD, "held", calls(held_len(), 128)),
    ];
    let mut setup = Setup::new(2, 1, 7, channels);
    setup.transport = transport;
    let config = &mut setup.config;
    pool_of(config).unwrap().max_item = LARGEST as u32;
    // the smallest there are: base windows, and a total that holds one largest message beside them
    let slots = 4 + 4 + 4;
    config.admission.max_links = 4;
    config.admission.max_inbound = 2;
    config.admission.max_half_open = 4;
    config.dial.max_dials = 4;
    config.peers.target = 2;
    config.peers.max_dials = 2;
    config.streams.window = 64 * 1024;
    config.budget.base_window = 64 * 1024;
    config.budget.receive_total = slots * 64 * 1024 + LARGEST as u64 + 64 * 1024;
    config.budget.max_raw = 64 * 1024;
    config.calls.memory = call_memory();
    if stopped == Stopped::Pool {
        setup.checking = Checking::Never;
    }
    setup
}

/// What advanced so far.
#[derive(Debug, Default)]
struct Progress {
    items: usize,
    tips: usize,
    responses: Vec<usize>,
    accepted: Option<StreamKey>,
    opened: Option<StreamKey>,
    held: usize,
}

fn command(net: &mut Network, id: NodeId, command: Command) {
    let done = net.host.with(id, |actor, now| actor.stack().command(now, command));
    done.unwrap().unwrap();
}

fn insert(net: &mut Network, id: NodeId, number: u64, len: usize) {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(len, 7);
    let insert = pool::Command::Insert { bytes: bytes.into() };
    command(net, id, Command::Pull(weir_pull::Command::Pool(TXS, insert)));
}

fn ask(net: &mut Network, by: NodeId, of: NodeId, channel: ChannelId) {
    let target = Target::Peer(net.host.world().peer(of).unwrap());
    let request = Bytes::from(vec![4; LARGEST]);
    command(net, by, Command::CallTarget { channel, target, request, deadline: None });
}

/// Lets time pass, answers requests but those of the stopped method, and checks both ledgers after every step.
fn run(net: &mut Network, pause: Duration, progress: &mut Progress) {
    net.run(pause, |net, id, note| {
        match note {
            Note::Accepted { .. } => progress.items += 1,
            Note::Tip { .. } => progress.tips += 1,
            Note::Told(Event::Call(CALLS, call::Event::Request { ticket, .. })) => {
                let response = Ok(Bytes::from(vec![9; LARGEST]));
                let answer = call::Command::Answer { ticket, at: net.host.now(), response };
                command(net, id, Command::Pull(weir_pull::Command::Call(CALLS, answer)));
            }
            Note::Told(Event::Call(HELD, call::Event::Request { ticket, .. })) => {
                progress.held += 1;
                let taken = call::Command::Taken { ticket, at: net.host.now() };
                command(net, id, Command::Pull(weir_pull::Command::Call(HELD, taken)));
            }
            Note::Told(Event::Answer { result, .. }) => {
                progress.responses.push(result.map_or(0, |response| response.len()));
            }
            Note::Told(Event::Raw(raw::Event::Opened { key, .. })) => progress.opened = Some(key),
            Note::Told(Event::Raw(raw::Event::Accepted { key, .. })) => progress.accepted = Some(key),
            _ => {}
        }
        for id in [A, B] {
            let stats = net.host.node(id).unwrap().stack().stats();
            assert!(stats.windows_hold() && stats.permits_hold(), "node {id:?}: {stats:?}");
        }
    });
}

/// Writes what the link takes, and returns how much that was.
fn fill(net: &mut Network, key: StreamKey) -> usize {
    let written = net.host.with(A, |actor, now| {
        let mut rope = Rope::new();
        rope.push(Bytes::from(vec![5; 16 * MIB]));
        actor.stack().raw_streams(now).write(key, &mut rope).unwrap_or(0)
    });
    written.unwrap()
}

fn stop(net: &mut Network, stopped: Stopped, progress: &mut Progress) {
    let second = Duration::from_secs(1);
    match stopped {
        Stopped::RawReader => {
            let peer = net.host.world().peer(B).unwrap();
            let open = raw::Command::Open { peer, protocol: RAW.protocol(0), class: Class::Bulk };
            command(net, A, Command::Raw(open));
            run(net, second, progress);
            let key = progress.opened.unwrap();
            let mut written = 0;
            for _ in 0..20 {
                written += fill(net, key);
                run(net, second, progress);
            }
            assert!(written > 0 && progress.accepted.is_some());
            assert_eq!(fill(net, key), 0, "it stalls");
        }
        Stopped::Server => {
            (0..HELD_AT_MOST + 6).for_each(|_| {
                let target = Target::Peer(net.host.world().peer(B).unwrap());
                let request = Bytes::from(vec![3; held_len()]);
                let call = Command::CallTarget { channel: HELD, target, request, deadline: None };
                command(net, A, call);
            });
            run(net, second * if common::full() { 120 } else { 20 }, progress);
            // the others wait until there is memory for their answers
            assert_eq!(progress.held, HELD_AT_MOST);
        }
        Stopped::Pool => {
            (0..40).for_each(|number| insert(net, A, number, 100_000));
            run(net, second * 20, progress);
        }
    }
}

fn advances(transport: Transport, stopped: Stopped) {
    let mut net = Network::new(setup(transport, stopped)).unwrap();
    assert!(net.link_up());
    let mut progress = Progress::default();
    stop(&mut net, stopped, &mut progress);
    progress.responses.clear();
    let (items, second) = (progress.items, Duration::from_secs(1));
    if stopped != Stopped::Pool {
        insert(&mut net, A, 1000, LARGEST);
        insert(&mut net, B, 1001, LARGEST);
    }
    ask(&mut net, B, A, CALLS);
    ask(&mut net, A, B, CALLS);
    for (id, value) in [(A, "higher"), (B, "highest!")] {
        let done =
            net.host.with(id, |actor, now| actor.publish(now, TIPS, Bytes::from_static(value.as_bytes())));
        done.unwrap().unwrap();
        run(&mut net, second, &mut progress);
    }
    run(&mut net, second * 60, &mut progress);
    assert_eq!(net.host.node(A).unwrap().best(), &b"highest!"[..], "tips advance");
    assert_eq!(progress.responses, vec![LARGEST; 2], "calls complete");
    if stopped != Stopped::Pool {
        assert_eq!(progress.items - items, 2, "items complete");
    }
    let found = net.found();
    assert_eq!((found.peak_over, found.unread), (0, 0), "{found:?}");
    assert!(found.checks > 0 && net.faults.is_empty(), "{found:?} {:?}", net.faults);
    assert_eq!(net.up(), 2, "the link stays");
}

#[test]
fn a_stopped_raw_reader_over_frames_stops_nobody_else() {
    advances(Transport::Frames, Stopped::RawReader);
}

#[test]
fn a_stopped_raw_reader_over_quic_stops_nobody_else() {
    advances(Transport::Quic, Stopped::RawReader);
}

#[test]
fn a_stopped_server_over_frames_stops_nobody_else() {
    advances(Transport::Frames, Stopped::Server);
}

#[test]
fn a_stopped_server_over_quic_stops_nobody_else() {
    advances(Transport::Quic, Stopped::Server);
}

#[test]
fn a_stopped_pool_over_frames_stops_nobody_else() {
    advances(Transport::Frames, Stopped::Pool);
}

#[test]
fn a_stopped_pool_over_quic_stops_nobody_else() {
    advances(Transport::Quic, Stopped::Pool);
}

#[test]
fn a_stopped_raw_reader_over_tcp_stops_nobody_else() {
    advances(Transport::Tcp, Stopped::RawReader);
}

#[test]
fn a_stopped_server_over_tcp_stops_nobody_else() {
    advances(Transport::Tcp, Stopped::Server);
}

#[test]
fn a_stopped_pool_over_tcp_stops_nobody_else() {
    advances(Transport::Tcp, Stopped::Pool);
}
