//! Real sockets on loopback: QUIC, threads, executors, errors at start.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a test that fails says where

use std::future::Future as _;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use weir::{
    Builder, Bytes, CallError, Caller, Config, Event, Keypair, Malformed, Message, Method, Network,
    NetworkId, Node, PeerId, Pool, PoolItem, Raw, Requests, StartError, Stopped, Streams, Summary,
};

const ECHO: Method<Bytes, Bytes> = Method::new(1, "echo");
const BYTES: Raw = Raw::new(2, "bytes");
const LOCAL: &str = "127.0.0.1:0";

type Handles = (Requests<Bytes, Bytes>, Streams);

fn builder() -> Builder<Handles> {
    builder_at(LOCAL)
}

fn builder_at(listen: &str) -> Builder<Handles> {
    // Fresh keys: tests run side by side, and a second node with the same key would replace the first one's links.
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    Network::builder(Keypair::ed25519_from_seed(seed), NetworkId([1; 32]))
        .channels((ECHO.serve(), BYTES))
        .listen(listen)
}

async fn serve(requests: Requests<Bytes, Bytes>) {
    while let Some(request) = requests.next().await {
        request.answer(request.query().clone());
    }
}

/// A server whose requests a thread answers, a client linked to it, and the server's name.
fn served() -> (Network, (Network, Caller<Bytes, Bytes>), PeerId, Node) {
    let (server, _node, (requests, _)) = weir::start(builder()).unwrap();
    let (client, client_node, (echo, _)) = weir::start(builder()).unwrap();
    std::thread::spawn(move || weir::block_on(serve(requests)));
    let peer = weir::block_on(client.connect(&server.addresses()[0])).unwrap();
    (server, (client, echo.caller()), peer, client_node)
}

async fn ask(echo: Caller<Bytes, Bytes>, peer: PeerId) {
    for size in [0, 1, 1000, 60_000] {
        let answer = echo.call(peer, Bytes::from(vec![3; size])).await.unwrap();
        assert_eq!(answer.len(), size);
    }
}

#[test]
fn a_call_on_threads() {
    let (server, node, (requests, _)) = weir::start(builder()).unwrap();
    let (client, _client_node, (echo, _)) = weir::start(builder()).unwrap();
    let answering = std::thread::spawn(move || {
        while let Some(request) = requests.next_blocking() {
            request.answer(request.query().clone());
        }
    });
    let peer = weir::block_on(client.connect(&server.addresses()[0])).unwrap();
    assert_eq!(peer, server.peer_id());
    weir::block_on(ask(echo.caller(), peer));
    let report = weir::block_on(node.shutdown(Duration::from_secs(5)));
    assert_eq!((report.closed, report.unfinished), (1, 0));
    answering.join().unwrap();
    assert_eq!(weir::block_on(server.peers().list()).unwrap_err(), Stopped);
}

#[test]
fn a_node_without_time_to_end_tells_its_peers_all_the_same() {
    let (server, node, _) = weir::start(builder()).unwrap();
    let (client, _client_node, _) = weir::start(builder()).unwrap();
    weir::block_on(client.connect(&server.addresses()[0])).unwrap();
    let events = client.events();
    weir::block_on(node.shutdown(Duration::ZERO));
    let reason = loop {
        if let Some(Event::PeerDown { reason, .. }) = events.next_blocking() {
            break reason;
        }
    };
    assert_eq!(reason, weir::DownReason::ByPeer(weir::Goodbye::Shutdown));
}

#[test]
fn who_listens_everywhere_in_one_family_dials_the_other_too() {
    for (here, there) in [("[::]:0", LOCAL), ("0.0.0.0:0", "[::1]:0")] {
        let (one, other) = match (weir::start(builder_at(here)), weir::start(builder_at(there))) {
            (Ok(one), Ok(other)) => (one, other),
            (Err(StartError::Listen { .. }), _) | (_, Err(StartError::Listen { .. })) => return, // no IPv6 here
            (one, other) => panic!("{one:?} {other:?}"),
        };
        assert_eq!(one.0.addresses().len(), 1, "a port for dialling is not told");
        let peer = weir::block_on(one.0.connect(&other.0.addresses()[0])).unwrap();
        assert_eq!(peer, other.0.peer_id());
    }
}

#[test]
fn a_call_on_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (server, _node, (requests, _)) = weir::start(builder()).unwrap();
        let (client, _client_node, (echo, _)) = weir::start(builder()).unwrap();
        let serving = tokio::spawn(serve(requests));
        let peer = client.connect(&server.addresses()[0]).await.unwrap();
        tokio::join!(ask(echo.caller(), peer), ask(echo.caller(), peer));
        serving.abort();
    });
}

#[test]
fn a_call_on_smol() {
    smol::block_on(async {
        let (server, _node, (requests, _)) = weir::start(builder()).unwrap();
        let (client, _client_node, (echo, _)) = weir::start(builder()).unwrap();
        let serving = smol::spawn(serve(requests));
        let peer = client.connect(&server.addresses()[0]).await.unwrap();
        ask(echo.caller(), peer).await;
        serving.cancel().await;
    });
}

#[test]
fn raw_streams_carry_megabytes_with_large_and_small_writes() {
    const TOTAL: usize = 16 << 20;
    let (server, _node, (_, accepted)) = weir::start(builder()).unwrap();
    let (client, _client_node, (_, streams)) = weir::start(builder()).unwrap();
    let peer = weir::block_on(client.connect(&server.addresses()[0])).unwrap();
    for write in [64 * 1024, 1024, 77] {
        let total = if write < 1024 { TOTAL / 16 } else { TOTAL };
        let mut ours = weir::block_on(streams.open(peer)).unwrap().blocking();
        let writer = std::thread::spawn(move || {
            let block: Vec<u8> = (0..write).map(|place| (place % 251) as u8).collect();
            for _ in 0..total / write {
                ours.write_all(&block).unwrap();
            }
            ours.finish();
            let mut receipt = Vec::new();
            ours.read_to_end(&mut receipt).unwrap();
            receipt
        });
        let mut theirs = accepted.next_blocking().unwrap().blocking();
        let (mut read, mut buf) = (0, vec![0; 50_000]);
        loop {
            let len = theirs.read(&mut buf).unwrap();
            if len == 0 {
                break;
            }
            for (place, byte) in buf[..len].iter().enumerate().step_by(97) {
                assert_eq!(*byte, ((read + place) % write % 251) as u8);
            }
            read += len;
        }
        assert_eq!(read, total / write * write);
        theirs.write_all(b"thanks").unwrap();
        theirs.finish();
        assert_eq!(writer.join().unwrap(), b"thanks");
    }
}

#[test]
fn an_idle_node_sleeps() {
    let (server, _node, _) = weir::start(builder()).unwrap();
    let (client, _client_node, _) = weir::start(builder()).unwrap();
    weir::block_on(client.connect(&server.addresses()[0])).unwrap();
    weir::block_on(client.sleep(Duration::from_millis(500))).unwrap();
    let before = weir::block_on(client.stats()).unwrap().host;
    weir::block_on(client.sleep(Duration::from_secs(2))).unwrap();
    let after = weir::block_on(client.stats()).unwrap().host;
    assert!(after.rounds - before.rounds < 100, "{} rounds in 2 s", after.rounds - before.rounds);
}

#[test]
fn calls_of_many_threads_all_end() {
    let (_server, (_client, echo), peer, _client_node) = served();
    for callers in [1, 2, 8] {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                let echo = echo.clone();
                std::thread::spawn(move || (0..50).for_each(|_| weir::block_on(ask(echo.clone(), peer))))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn sleeps_and_deadlines_keep_time() {
    let (net, _node, (echo, _)) = weir::start(builder()).unwrap();
    let before = std::time::Instant::now();
    weir::block_on(net.sleep(Duration::from_millis(50))).unwrap();
    assert!(before.elapsed() >= Duration::from_millis(50));
    let limit = Duration::from_millis(30);
    let late = weir::block_on(net.within(limit, std::future::pending::<()>()));
    assert_eq!(late, Err(weir::WithinError::Elapsed(limit)));
    let nobody = Keypair::ed25519_from_seed([9; 32]).peer_id();
    assert_eq!(
        weir::block_on(echo.caller().call(nobody, Bytes::new())).unwrap_err(),
        CallError::NotConnected
    );
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::UdpSocket::bind(LOCAL).unwrap();
    let address = taken.local_addr().unwrap();
    let error = weir::start(builder().listen(address)).unwrap_err();
    assert!(matches!(error, StartError::InUse { address: named } if named == address), "{error}");
    assert!(error.to_string().contains("in use"));
    let taken = std::net::TcpListener::bind(LOCAL).unwrap();
    let address = taken.local_addr().unwrap();
    let error = weir::start(builder().listen(weir::Multiaddr::from_tcp(address))).unwrap_err();
    assert!(matches!(error, StartError::InUse { address: named } if named == address), "{error}");
    let error = weir::start(builder().listen("nonsense")).unwrap_err();
    assert!(error.to_string().contains("nonsense"), "{error}");
    let error = weir::start(builder().also(ECHO)).unwrap_err();
    assert!(matches!(error, StartError::DuplicateChannel { id: 1, other: 1, .. }), "{error}");
    let mut config = Config::default();
    config.mailboxes.commands = 0;
    let error = weir::start(builder().config(config)).unwrap_err();
    assert!(error.to_string().contains("mailboxes.commands"), "{error}");
}

#[test]
fn a_port_is_free_once_the_node_was_dropped_or_aborted() {
    let (net, node, _) = weir::start(builder()).unwrap();
    let address = net.addresses()[0].socket_addr().unwrap().1;
    drop(net);
    node.abort();
    let (net, node, _) = weir::start(builder().listen(address)).unwrap();
    drop((net, node));
    assert!(std::net::UdpSocket::bind(address).is_ok());
}

/// An item whose type panics on the network thread, where its text says so.
#[derive(Debug)]
struct Fragile(Bytes);

impl Message for Fragile {
    fn encode(&self) -> Bytes {
        self.0.clone()
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        Ok(Self(bytes))
    }
}

impl PoolItem for Fragile {
    fn summary_of(bytes: &Bytes) -> Result<Summary, Malformed> {
        assert!(!bytes.starts_with(b"panic"), "this panic is part of the test");
        Ok(Summary::EMPTY)
    }
    fn priority(_: &Summary) -> Option<u64> {
        Some(0)
    }
}

#[test]
fn an_item_on_which_the_application_panics_is_dropped_and_the_node_lives() {
    const PLAIN: Pool<Vec<u8>> = Pool::new(3, "items").offer_delay(Duration::ZERO);
    const FRAGILE: Pool<Fragile> = Pool::new(3, "items").offer_delay(Duration::ZERO);
    let (net, _node, (_, pool)) = weir::start(builder().also(FRAGILE)).unwrap();
    let (peer, _peer_node, (_, plain)) = weir::start(builder().also(PLAIN).peers(net.addresses())).unwrap();
    let events = net.events();
    plain.publish(&b"panic".to_vec()).unwrap();
    let fault = weir::block_on(async {
        loop {
            match events.next().await {
                Some(Event::Fault { peer, .. }) => break peer,
                event => assert!(event.is_some(), "the node lives"),
            }
        }
    });
    assert_eq!(fault, peer.peer_id(), "it cannot be told from an item that is malformed");
    plain.publish(&b"fine".to_vec()).unwrap();
    assert_eq!(pool.next_blocking().unwrap().item().0, b"fine"[..]);
}

/// The waker of an executor that is broken.
struct PanickingWaker;

impl std::task::Wake for PanickingWaker {
    fn wake(self: std::sync::Arc<Self>) {
        panic!("this panic is part of the test");
    }
}

#[test]
fn a_panic_on_the_network_thread_ends_every_handle_and_closes_the_sockets() {
    const ITEMS: Pool<Vec<u8>> = Pool::new(3, "items");
    let (net, node, ((echo, streams), pool)) = weir::start(builder().also(ITEMS)).unwrap();
    let (peer, peer_node, _) = weir::start(builder()).unwrap();
    let address = net.addresses()[0].socket_addr().unwrap().1;
    let connected = weir::block_on(net.connect(&peer.addresses()[0])).unwrap();
    let stream = weir::block_on(streams.open(connected)).unwrap();
    let waiting = std::thread::spawn({
        let pool = pool.clone();
        move || pool.next_blocking().is_none()
    });
    let reading = std::thread::spawn(move || stream.blocking().read(&mut [0]).is_err());
    let waker = std::task::Waker::from(std::sync::Arc::new(PanickingWaker));
    let mut context = std::task::Context::from_waker(&waker);
    let mut short = Box::pin(net.sleep(Duration::from_millis(1)));
    assert!(short.as_mut().poll(&mut context).is_pending());
    weir::block_on(net.sleep(Duration::from_millis(20))).unwrap(); // a task that cannot be woken ends nothing but itself
    drop(short);
    let mut sleep = Box::pin(net.sleep(Duration::from_secs(3_600)));
    assert!(sleep.as_mut().poll(&mut context).is_pending());
    drop(sleep); // a waker dropped with its promise, deep inside the node, does
    assert!(waiting.join().unwrap(), "who waits for an item hears of the end");
    assert!(reading.join().unwrap(), "and who reads a stream");
    assert_eq!(weir::block_on(net.stats()).unwrap_err(), Stopped);
    assert_eq!(
        weir::block_on(echo.caller().call(weir::Target::Local, Bytes::new())).unwrap_err(),
        CallError::Stopped
    );
    assert_eq!(pool.publish(&vec![1]), Err(weir::PublishError::Stopped));
    assert_eq!(pool.pause(), Err(weir::CommandError::Stopped));
    assert_eq!(weir::block_on(net.connect(&peer.addresses()[0])), Err(weir::ConnectError::Stopped));
    assert_eq!(weir::block_on(streams.open(connected)).unwrap_err(), weir::OpenError::Stopped);
    assert_eq!(weir::block_on(net.wait_for_peers(1)).unwrap_err(), Stopped);
    assert_eq!(weir::block_on(net.peers().forget(connected)), Err(weir::PeerError::Stopped));
    let limit = Duration::from_secs(3_600);
    let within = weir::block_on(net.within(limit, std::future::pending::<()>()));
    assert_eq!(within, Err(weir::WithinError::Stopped), "not too late: stopped");
    drop((pool, echo, streams, node, net)); // the last of them waits for the thread
    drop((peer, peer_node));
    assert!(std::net::UdpSocket::bind(address).is_ok());
}

/// The waker of a task on an executor that takes wakes one by one: whoever wakes waits until it is taken.
struct TakenWake(std::sync::mpsc::SyncSender<()>);

impl std::task::Wake for TakenWake {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.send(()).unwrap();
    }
}

#[test]
fn a_shutdown_never_blocks_the_executor_that_waits_for_it() {
    let (net, node, (requests, _)) = weir::start(builder()).unwrap();
    let address = net.addresses()[0].socket_addr().unwrap().1;
    let (wake, wakes) = std::sync::mpsc::sync_channel(0);
    let waker = std::task::Waker::from(std::sync::Arc::new(TakenWake(wake)));
    let mut context = std::task::Context::from_waker(&waker);
    let mut waiting = Box::pin(requests.next());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    let mut shutdown = Box::pin(node.shutdown(Duration::from_secs(5)));
    // The network thread can end only while this thread takes wakes: were it joined in a poll, neither would go on.
    while shutdown.as_mut().poll(&mut context).is_pending() {
        wakes.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    assert!(std::net::UdpSocket::bind(address).is_ok(), "the port is free when it is over");
    drop(waiting);
    assert_eq!(weir::block_on(net.stats()).unwrap_err(), Stopped);
}

#[test]
fn a_kept_peer_is_dialled_again_by_name_and_events_tell() {
    let (server, node, _) = weir::start(builder()).unwrap();
    let port = server.addresses()[0].socket_addr().unwrap().1.port();
    let name = format!("/dns4/localhost/udp/{port}/quic-v1/p2p/{}", server.peer_id());
    let (client, _client_node, _) = weir::start(builder().peer(name.as_str())).unwrap();
    let events = client.events();
    let next_up = || {
        weir::block_on(client.within(Duration::from_secs(20), async {
            loop {
                match events.next().await {
                    Some(Event::PeerUp { peer, .. }) => return peer,
                    Some(_) => {}
                    None => panic!("the node has stopped"),
                }
            }
        }))
        .unwrap()
    };
    let peers = weir::block_on(client.peers().list()).unwrap();
    if peers.is_empty() {
        assert_eq!(next_up(), server.peer_id());
    }
    weir::block_on(client.peers().disconnect(server.peer_id())).unwrap();
    assert_eq!(next_up(), server.peer_id());
    drop(node);
}

#[test]
fn a_banned_peer_stays_away_until_unbanned() {
    let (server, _node, _) = weir::start(builder()).unwrap();
    let (client, _client_node, _) = weir::start(builder()).unwrap();
    let address = server.addresses()[0].clone();
    weir::block_on(client.connect(&address)).unwrap();
    let events = client.events();
    weir::block_on(server.peers().ban(client.peer_id(), Duration::from_secs(600))).unwrap();
    while !matches!(events.next_blocking(), Some(weir::Event::PeerDown { .. })) {}
    let refused = weir::block_on(client.connect(&address));
    assert!(matches!(refused, Err(weir::ConnectError::Failed(_))), "{refused:?}");
    weir::block_on(server.peers().unban(client.peer_id())).unwrap();
    weir::block_on(client.connect(&address)).unwrap();
}

#[test]
fn what_the_application_reports_counts_against_the_peer() {
    let (server, _node, _) = weir::start(builder()).unwrap();
    let (client, _client_node, _) = weir::start(builder()).unwrap();
    weir::block_on(client.connect(&server.addresses()[0])).unwrap();
    let events = server.events();
    let forged = weir::Fault::invalid("a forged block");
    let mut reports = 0;
    loop {
        weir::block_on(server.peers().report(client.peer_id(), forged)).unwrap();
        reports += 1;
        let reaction = loop {
            if let Some(weir::Event::Fault { peer, fault, reaction, .. }) = events.next_blocking() {
                assert_eq!((peer, fault), (client.peer_id(), forged));
                break reaction;
            }
        };
        if reaction == weir::Reaction::Disconnect {
            break;
        }
    }
    assert_eq!(reports, 5, "50 points");
    while !matches!(events.next_blocking(), Some(weir::Event::PeerDown { .. })) {}
}
