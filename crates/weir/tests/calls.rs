//! Calls: every end a call can have, targets, cancellation, local delivery.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a test that fails says where

use std::time::Duration;

use weir::testing::Cluster;
use weir::{
    Builder, Bytes, CallError, Caller, Event, Keypair, Malformed, Message, Method, Network, NetworkId, Node,
    PeerId, Requests, Retry, Service, Target, Targets,
};

const WORK: Method<Order, String> = Method::new(3, "work").max_request(1000).max_response(1000);
const OTHER: Method<String, String> = Method::new(4, "other");

/// What a server is to do.
#[derive(Debug, PartialEq)]
enum Order {
    Echo(String),
    Refuse,
    Drop,
    Never,
    TooLong,
}

impl Message for Order {
    fn encode(&self) -> Bytes {
        match self {
            Self::Echo(text) => Bytes::from(format!("e{text}")),
            Self::Refuse => Bytes::from_static(b"r"),
            Self::Drop => Bytes::from_static(b"d"),
            Self::Never => Bytes::from_static(b"n"),
            Self::TooLong => Bytes::from_static(b"l"),
        }
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        match bytes.split_first() {
            Some((b'e', text)) => Ok(Self::Echo(String::decode(Bytes::copy_from_slice(text))?)),
            Some((b'r', _)) => Ok(Self::Refuse),
            Some((b'd', _)) => Ok(Self::Drop),
            Some((b'n', _)) => Ok(Self::Never),
            Some((b'l', _)) => Ok(Self::TooLong),
            _ => Err(Malformed::new("no order")),
        }
    }
}

fn builder(number: u8) -> Builder<Requests<Order, String>> {
    bare(number).channels(WORK.serve())
}

fn bare(number: u8) -> Builder {
    Network::builder(Keypair::ed25519_from_seed([number; 32]), NetworkId([1; 32]))
}

/// Answers as ordered.
async fn serve(node: Node, requests: Requests<Order, String>) {
    let mut held = Vec::new();
    while let Some(request) = requests.next().await {
        match request.query() {
            Order::Echo(text) => request.answer(text.clone()),
            Order::Refuse => request.refuse(Duration::from_secs(7)),
            Order::Drop => drop(request),
            Order::TooLong => request.answer("x".repeat(1001)),
            Order::Never => held.push(request),
        }
    }
    drop(node);
}

/// A cluster, its server, its client, and the client's callers.
type Pair = (Cluster, (Network, PeerId), Network, (Caller<Order, String>, Caller<String, String>));

fn pair(seed: u64) -> Pair {
    let cluster = Cluster::new(seed);
    let (server, node, requests) = cluster.add(builder(1)).unwrap();
    let (client, _node, (work, other)) = cluster.add(builder(2).also(OTHER)).unwrap();
    cluster.spawn(serve(node, requests));
    let peer = cluster.run_until(client.connect(&server.addresses()[0])).unwrap();
    (cluster, (server, peer), client, (work.caller(), other))
}

#[test]
fn a_call_always_ends_and_says_whether_to_try_again() {
    let (cluster, (_server, peer), client, (work, other)) = pair(1);
    let ask = |order| cluster.run_until(work.call(peer, order));
    assert_eq!(ask(Order::Echo("hi".into())).unwrap(), "hi");
    let refused = ask(Order::Refuse).unwrap_err();
    assert_eq!(refused.retry(), Retry::After(Duration::from_secs(7)));
    assert_eq!(ask(Order::Drop).unwrap_err(), CallError::Refused { retry_after: Duration::from_secs(1) });
    assert_eq!(ask(Order::TooLong).unwrap_err(), CallError::Refused { retry_after: Duration::from_secs(1) });
    assert_eq!(ask(Order::Echo("x".repeat(1000))).unwrap_err(), CallError::TooLarge);
    let before = client.now();
    let late = cluster.run_until(work.call_within(peer, Order::Never, Duration::from_millis(700)));
    assert_eq!(late.unwrap_err(), CallError::Deadline);
    assert_eq!(client.now() - before, Duration::from_millis(700));
    let nobody = Keypair::ed25519_from_seed([9; 32]).peer_id();
    let error = cluster.run_until(work.call(nobody, Order::Drop)).unwrap_err();
    assert_eq!((error, error.retry()), (CallError::NotConnected, Retry::Elsewhere));
    let error = cluster.run_until(other.call(peer, String::new())).unwrap_err();
    assert_eq!(error, CallError::Unsupported);
}

#[test]
fn a_dropped_future_cancels_the_servers_work() {
    let cluster = Cluster::new(2);
    let (server, _node, requests) = cluster.add(builder(1)).unwrap();
    let (client, _client_node, work) = cluster.add(bare(2).channels(WORK)).unwrap();
    let peer = cluster.run_until(client.connect(&server.addresses()[0])).unwrap();
    let gone = cluster.spawn(async move {
        client.within(Duration::from_secs(1), work.call(peer, Order::Never)).await.map(|_| ())
    });
    let request = requests.next_blocking().unwrap();
    assert!(!request.is_cancelled());
    cluster.run_until(request.cancelled());
    assert!(request.is_cancelled());
    assert_eq!(cluster.run_until(gone), Err(weir::WithinError::Elapsed(Duration::from_secs(1))));
}

#[test]
fn a_call_that_comes_too_late_is_dropped_and_counted() {
    let (cluster, (_server, peer), client, (work, _)) = pair(9);
    let late = work.call_within(peer, Order::Drop, Duration::ZERO);
    assert_eq!(cluster.run_until(late).unwrap_err(), CallError::Deadline);
    let stats = cluster.run_until(client.stats()).unwrap();
    let sent = stats.stack.channels.iter().find(|(channel, _)| channel.0 == 3).unwrap().1.messages_out;
    assert_eq!((stats.host.expired, sent), (1, 0));
}

#[test]
fn a_lost_link_ends_its_calls() {
    let (cluster, (server, peer), _client, (work, _)) = pair(3);
    let call = cluster.spawn(async move { work.call(peer, Order::Never).await });
    cluster.run_for(Duration::from_secs(1));
    cluster.crash(server.peer_id());
    assert_eq!(cluster.run_until(call).unwrap_err(), CallError::LinkDown);
}

/// Refuses to be encoded.
#[derive(Debug)]
struct Here(std::thread::ThreadId);

impl Message for Here {
    fn encode(&self) -> Bytes {
        panic!("encoded")
    }
    fn decode(_: Bytes) -> Result<Self, Malformed> {
        panic!("decoded")
    }
}

#[test]
fn a_local_call_is_not_encoded() {
    const LOCAL: Method<Here, Here> = Method::new(8, "local");
    let cluster = Cluster::new(4);
    let (net, _node, requests) = cluster.add(bare(1).channels(LOCAL.serve())).unwrap();
    let (own, local) = (net.peer_id(), requests.caller());
    cluster.spawn(async move {
        while let Some(request) = requests.next().await {
            assert_eq!(request.peer(), own);
            request.answer(Here(request.query().0));
        }
    });
    let id = std::thread::current().id();
    assert_eq!(cluster.run_until(local.call(Target::Local, Here(id))).unwrap().0, id);
    let (_other, _node, local) = cluster.add(bare(2).channels(LOCAL)).unwrap();
    let error = cluster.run_until(local.call(Target::Local, Here(id))).unwrap_err();
    assert_eq!(error, CallError::NotServed);
}

#[test]
fn capabilities_are_targets() {
    const ARCHIVE: u32 = 5;
    let archive = || Service { id: ARCHIVE, version: 1, payload: Bytes::new() };
    let cluster = Cluster::new(5);
    let (client, _node, work) = cluster.add(bare(1).channels(WORK)).unwrap();
    let mut archives = Vec::new();
    for number in 2..6 {
        let with = if number == 2 { builder(number) } else { builder(number).service(archive()) };
        let (net, node, requests) = cluster.add(with).unwrap();
        cluster.run_until(client.connect(&net.addresses()[0])).unwrap();
        archives.extend((number != 2).then(|| net.peer_id()));
        cluster.spawn(serve(node, requests));
    }
    archives.sort();
    let echo = || Order::Echo("x".into());
    assert_eq!(cluster.run_until(work.call(Target::Any(ARCHIVE), echo())).unwrap(), "x");
    let all = cluster.run_until(work.call_many(Targets::All(ARCHIVE), echo())).unwrap();
    let mut asked: Vec<_> = all.iter().map(|answer| answer.peer).collect();
    asked.sort();
    assert_eq!(asked, archives);
    assert!(all.iter().all(|answer| answer.result.as_deref() == Ok("x")));
    let two = Targets::Some { service: ARCHIVE, count: 2 };
    assert_eq!(cluster.run_until(work.call_many(two, echo())).unwrap().len(), 2);
    let error = cluster.run_until(work.call(Target::Any(77), echo())).unwrap_err();
    assert_eq!(error, CallError::NotConnected);
    let peers = cluster.run_until(client.peers().list()).unwrap();
    assert_eq!(peers.iter().filter(|peer| peer.services == [archive()]).count(), 3);
}

/// One byte.
#[derive(Debug)]
struct OneByte;

impl Message for OneByte {
    fn encode(&self) -> Bytes {
        Bytes::from_static(b"8")
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.len() == 1 { Ok(Self) } else { Err(Malformed::new("one byte")) }
    }
}

#[test]
fn a_response_that_is_none_is_an_error_of_that_call_alone() {
    const STRICT: Method<String, OneByte> = Method::new(6, "strict");
    const LOOSE: Method<String, Bytes> = Method::new(6, "strict");
    let cluster = Cluster::new(7);
    let (server, _node, requests) = cluster.add(bare(1).channels(LOOSE.serve())).unwrap();
    let (client, _client_node, strict) = cluster.add(bare(2).channels(STRICT)).unwrap();
    cluster.spawn(async move {
        while let Some(request) = requests.next().await {
            request.answer(Bytes::copy_from_slice(request.query().as_bytes()));
        }
    });
    let events = client.events();
    let peer = cluster.run_until(client.connect(&server.addresses()[0])).unwrap();
    assert!(cluster.run_until(strict.call(peer, "1".into())).is_ok());
    let error = cluster.run_until(strict.call(peer, "12".into())).unwrap_err();
    assert_eq!(error, CallError::Malformed);
    assert!(cluster.run_until(strict.call(peer, "2".into())).is_ok());
    while let Some(event) = events.try_next() {
        assert!(!matches!(event, Event::PeerDown { .. }), "{event:?}");
    }
}

#[test]
fn many_tasks_share_a_queue_of_requests() {
    let cluster = Cluster::new(8);
    let (server, node, requests) = cluster.add(builder(1)).unwrap();
    let (client, _client_node, work) = cluster.add(bare(2).channels(WORK)).unwrap();
    let mut workers = Vec::new();
    for _ in 0..4 {
        let (requests, server) = (requests.clone(), server.clone());
        workers.push(cluster.spawn(async move {
            let mut served = 0;
            while let Some(request) = requests.next().await {
                server.sleep(Duration::from_millis(100)).await.unwrap();
                request.answer(String::new());
                served += 1;
            }
            served
        }));
    }
    let peer = cluster.run_until(client.connect(&server.addresses()[0])).unwrap();
    let before = client.now();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let work = work.clone();
            cluster.spawn(async move { work.call(peer, Order::Never).await })
        })
        .collect();
    for call in calls {
        cluster.run_until(call).unwrap();
    }
    assert!(
        client.now() - before < Duration::from_millis(1200),
        "four at a time: {:?}",
        client.now() - before
    );
    cluster.run_until(node.shutdown(Duration::from_secs(1)));
    let served: Vec<i32> = workers.into_iter().map(|worker| cluster.run_until(worker)).collect();
    assert_eq!(served.iter().sum::<i32>(), 20);
    assert!(served.iter().all(|served| *served >= 4), "{served:?}");
}

#[test]
fn requests_beyond_the_rate_are_refused_with_the_time_to_retry() {
    const LIMITED: Method<String, String> = Method::new(7, "limited").rate(1, 2);
    let cluster = Cluster::new(10);
    let (server, _node, requests) = cluster.add(bare(1).channels(LIMITED.serve())).unwrap();
    let (client, _client_node, limited) = cluster.add(bare(2).channels(LIMITED)).unwrap();
    cluster.spawn(async move {
        while let Some(request) = requests.next().await {
            request.answer(request.query().clone());
        }
    });
    let peer = cluster.run_until(client.connect(&server.addresses()[0])).unwrap();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let limited = limited.clone();
            cluster.spawn(async move { limited.call(peer, "x".into()).await })
        })
        .collect();
    let results: Vec<_> = calls.into_iter().map(|call| cluster.run_until(call)).collect();
    let served = results.iter().filter(|result| result.is_ok()).count();
    assert!((2..=3).contains(&served), "{results:?}");
    let Some(Err(CallError::Refused { retry_after })) = results.last() else { panic!("{results:?}") };
    cluster.run_for(*retry_after);
    assert!(cluster.run_until(limited.call(peer, "x".into())).is_ok(), "after {retry_after:?}");
}

#[test]
fn a_network_changes_a_channel_node_by_node() {
    let cluster = Cluster::new(6);
    let add = |number, oldest, newest| {
        let served = WORK.versions(oldest, newest).serve();
        let (net, node, requests) = cluster.add(bare(number).channels(served)).unwrap();
        let caller = requests.caller();
        cluster.spawn(serve(node, requests));
        (net, caller)
    };
    let (old, both, new) = (add(1, 1, 1), add(2, 1, 2), add(3, 2, 2));
    // What the first uses with the second: the version that both say, and what comes of a call.
    let between = |from: &(Network, Caller<Order, String>), to: &(Network, Caller<Order, String>)| {
        let peer = cluster.run_until(from.0.connect(&to.0.addresses()[0])).unwrap();
        let peers = cluster.run_until(from.0.peers().list()).unwrap();
        let channels = &peers.iter().find(|known| known.peer == peer).unwrap().channels;
        let version = channels.iter().find(|shared| shared.id == WORK.id()).map(|shared| shared.version);
        (version, cluster.run_until(from.1.call(peer, Order::Echo("hi".into()))))
    };
    assert_eq!(between(&old, &both), (Some(1), Ok("hi".into())));
    assert_eq!(between(&both, &new), (Some(2), Ok("hi".into())));
    assert_eq!(between(&old, &new), (None, Err(CallError::Unsupported)));
}
