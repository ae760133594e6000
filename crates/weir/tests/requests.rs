//! Requests by name: over every carrier, in virtual time and on sockets; and peers that do not keep to them.
#![allow(clippy::unwrap_used)] // a test that fails says where

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use weir::error::Failure;
use weir::exchange::{BadFrame, Measure, Rest};
use weir::testing::{Carrier, Cluster};
use weir::{
    Builder, Bytes, Event, Events, Framing, InboundRequest, Keypair, Network, NetworkId, Node, Protocol,
    RequestError, RequestResponse, Requester, Responder, StreamError, Streams,
};

const ASK: RequestResponse = RequestResponse::new(&["/ask/1"])
    .max_request(1000)
    .max_response(200_000)
    .deadline(Duration::from_secs(2))
    .concurrency(3, 5);
const VERSIONS: RequestResponse = RequestResponse::new(&["/versions/2", "/versions/1"]);
const OLD: RequestResponse = RequestResponse::new(&["/versions/1"]);
const ABSENT: RequestResponse = RequestResponse::new(&["/absent/1"]);
/// The same name as bytes: a peer that says what it likes.
const RAW: Protocol = Protocol::new(&["/ask/1"]);

/// Whatever takes longer has failed.
const LIMIT: Duration = Duration::from_secs(20);

fn describe<C: weir::Channels>(number: u8, channels: C) -> Builder<C::Handles> {
    Network::builder(Keypair::ed25519_from_seed([number; 32]), NetworkId([1; 32])).channels(channels)
}

fn within<F: Future>(net: &Network, future: F) -> F::Output {
    net.block_on(net.within(LIMIT, future)).unwrap()
}

fn server() -> Builder<(Responder, Responder)> {
    describe(1, (ASK.serve(), OLD.serve()))
}

fn client() -> Builder<(Requester, Requester, Requester)> {
    describe(2, (ASK, VERSIONS, ABSENT))
}

type Server = (Network, Node, (Responder, Responder));
type Client = (Network, Node, (Requester, Requester, Requester));

/// Both sides of one exchange, on one thread: what was asked, while the next request is given to `serve`.
async fn both<A>(
    asked: impl Future<Output = A>,
    served: impl Future<Output = Option<InboundRequest>>,
    serve: impl FnOnce(InboundRequest),
) -> A {
    let (mut asked, mut served, mut serve) = (pin!(asked), pin!(served), Some(serve));
    std::future::poll_fn(|cx| {
        if serve.is_some()
            && let Poll::Ready(Some(request)) = served.as_mut().poll(cx)
            && let Some(serve) = serve.take()
        {
            serve(request);
        }
        asked.as_mut().poll(cx)
    })
    .await
}

/// Answers the question.
fn with(answer: Bytes) -> impl FnOnce(InboundRequest) {
    move |request| {
        assert_eq!(&request.body()[..], b"question");
        request.respond(answer).unwrap();
    }
}

/// What a client and a server see of each other.
fn scenario((server, _server, (asked, old)): &Server, (net, _client, (ask, versions, absent)): &Client) {
    let peer = within(net, net.connect(&server.addresses()[0])).unwrap();
    let question = Bytes::from_static(b"question");
    for len in [0, 1, 200_000] {
        let answer = Bytes::from(vec![7; len]);
        let asking = both(ask.request(peer, question.clone()), asked.next(), with(answer.clone()));
        let response = within(net, asking).unwrap();
        assert!(response.protocol == "/ask/1" && response.body == answer, "{len}");
    }
    let asking = both(versions.request(peer, question.clone()), old.next(), with(question.clone()));
    assert_eq!(within(net, asking).unwrap().protocol, "/versions/1");
    let failure = |result: Result<weir::Response, RequestError>| result.unwrap_err();
    let unsupported = RequestError::Failed(Failure::Unsupported);
    assert_eq!(failure(within(net, absent.request(peer, question.clone()))), unsupported);
    let large = Bytes::from(vec![0; 1001]);
    assert_eq!(failure(within(net, ask.request(peer, large))), RequestError::TooLarge);
    // A response may be too large, a request refused or dropped.
    let refuses: [(fn(InboundRequest), u32); 3] = [
        (|request| assert_eq!(request.respond(vec![0; 200_001].into()), Err(RequestError::TooLarge)), 0),
        (|request| request.refuse(77), 77),
        (drop, 0),
    ];
    for (refuse, code) in refuses {
        let asking = both(ask.request(peer, question.clone()), asked.next(), refuse);
        assert_eq!(failure(within(net, asking)), RequestError::Failed(Failure::Reset(code)));
    }
    // Nobody answers: the deadline is the request's own, and the server hears that nobody waits any more.
    let soon = Duration::from_millis(200);
    let asking = both(ask.request_within(peer, question.clone(), soon), std::future::pending(), drop);
    assert_eq!(failure(within(net, asking)), RequestError::Failed(Failure::Late));
    // One that is given up is cancelled at the server.
    let mut gave_up = Box::pin(ask.request(peer, question));
    let begun = std::future::poll_fn(|cx| Poll::Ready(gave_up.as_mut().poll(cx).is_pending()));
    assert!(within(net, begun));
    let request = within(server, asked.next()).unwrap();
    drop(gave_up);
    within(server, request.cancelled());
}

#[test]
fn requests_by_name_are_the_same_over_every_carrier_of_a_cluster() {
    for carrier in [Carrier::Frames, Carrier::Quic] {
        let cluster = Cluster::over(carrier, 3);
        scenario(&cluster.add(server()).unwrap(), &cluster.add(client()).unwrap());
    }
}

#[test]
fn requests_by_name_work_on_sockets_over_tcp_and_over_quic() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let (server, client) = (server().listen(listen), client().listen(listen));
        scenario(&weir::start(server).unwrap(), &weir::start(client).unwrap());
    }
}

/// A server of [`ASK`], and a peer that opens its streams as bytes.
fn hostile(cluster: &Cluster) -> (Server, (Network, Node, Streams)) {
    let server = cluster.add(server()).unwrap();
    let peer = cluster.add(describe(2, RAW)).unwrap();
    within(&peer.0, peer.0.connect(&server.0.addresses()[0])).unwrap();
    (server, peer)
}

/// What a client is told to have done next.
fn failed(server: &Network, events: &Events, client: &Network) -> Failure {
    within(server, async {
        loop {
            if let Some(Event::RequestFailed { peer, protocol, failure }) = events.next().await {
                assert_eq!((peer, protocol.as_str()), (client.peer_id(), "/ask/1"));
                return failure;
            }
        }
    })
}

#[test]
fn each_wrong_request_is_told_by_type_and_broken_off_with_its_code() {
    let cluster = Cluster::new(5);
    let ((server, _server, (asked, _)), (net, _node, streams)) = hostile(&cluster);
    let events = server.events();
    let failed = || failed(&server, &events, &net);
    for (said, failure, code) in [
        (&[0xff, 0xff, 0x7f][..], Failure::TooLarge, 6),
        (&[0x80, 0x00], Failure::Malformed, 2),
        (b"\x02abcd", Failure::Excess, 2),
        (b"\x05slow", Failure::Late, 3),
        (b"", Failure::Late, 3),
    ] {
        let mut stream = within(&net, streams.open(server.peer_id())).unwrap();
        within(&net, stream.write_bytes(Bytes::copy_from_slice(said))).unwrap();
        assert_eq!(failed(), failure);
        assert_eq!(within(&net, stream.read_chunk()), Err(StreamError::Reset(code)), "{failure:?}");
    }
    let mut stream = within(&net, streams.open(server.peer_id())).unwrap();
    within(&net, stream.write_bytes(Bytes::from_static(b"\x02ab"))).unwrap();
    let request = within(&server, asked.next()).unwrap();
    within(&net, stream.write_bytes(Bytes::from_static(b"more"))).unwrap();
    within(&server, request.cancelled());
    assert_eq!(failed(), Failure::Excess);
}

#[test]
fn a_client_has_so_many_requests_at_once_and_holds_up_no_other() {
    let cluster = Cluster::new(6);
    let ((server, _server, (asked, _)), (net, _node, streams)) = hostile(&cluster);
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = within(&net, streams.open(server.peer_id())).unwrap();
        within(&net, stream.write_bytes(Bytes::from_static(b"\x7f"))).unwrap(); // and no more
        open.push(stream);
    }
    let mut fourth = within(&net, streams.open(server.peer_id())).unwrap();
    within(&net, fourth.write_bytes(Bytes::from_static(b"\x01x"))).unwrap();
    assert_eq!(within(&net, fourth.read_chunk()), Err(StreamError::Reset(4)));
    let (honest, _honest, ask) = cluster.add(describe(3, ASK)).unwrap();
    let peer = within(&honest, honest.connect(&server.addresses()[0])).unwrap();
    let question = || Bytes::from_static(b"question");
    let asking = both(ask.request(peer, question()), asked.next(), with(Bytes::new()));
    assert_eq!(within(&honest, asking).unwrap().body, Bytes::new());
}

#[test]
fn requests_that_are_withdrawn_before_they_are_taken_leave_the_queue() {
    let cluster = Cluster::new(9);
    let ((server, _server, (asked, _)), (net, _node, streams)) = hostile(&cluster);
    for _ in 0..20 {
        let mut stream = within(&net, streams.open(server.peer_id())).unwrap();
        within(&net, stream.write_bytes(Bytes::from_static(b"\x03bad"))).unwrap();
        within(&net, stream.write_bytes(Bytes::from_static(b"more"))).unwrap();
        assert_eq!(within(&net, stream.read_chunk()), Err(StreamError::Reset(2)));
    }
    let (honest, _honest, ask) = cluster.add(describe(3, ASK)).unwrap();
    let peer = within(&honest, honest.connect(&server.addresses()[0])).unwrap();
    let asking = both(ask.request(peer, Bytes::from_static(b"question")), asked.next(), with(Bytes::new()));
    assert_eq!(within(&honest, asking).unwrap().body, Bytes::new());
}

#[test]
fn a_client_that_does_not_read_its_response_is_told_and_broken_off() {
    const LARGE: u32 = 16 << 20; // far more than lies in windows and buffers
    let cluster = Cluster::new(10);
    let (server, _server, asked) = cluster.add(describe(1, ASK.max_response(LARGE).serve())).unwrap();
    let (net, _node, streams) = cluster.add(describe(2, RAW)).unwrap();
    within(&net, net.connect(&server.addresses()[0])).unwrap();
    let events = server.events();
    let mut stream = within(&net, streams.open(server.peer_id())).unwrap();
    within(&net, stream.write_bytes(Bytes::from_static(b"\x08question"))).unwrap();
    let request = within(&server, asked.next()).unwrap();
    with(vec![0; LARGE as usize].into())(request);
    assert_eq!(failed(&server, &events, &net), Failure::Late);
    let broken = within(&net, async {
        loop {
            if let Err(error) = stream.read_chunk().await {
                return error;
            }
        }
    });
    assert_eq!(broken, StreamError::Reset(3));
}

/// A framing with an error in it.
#[derive(Debug)]
struct Panics;

impl Framing for Panics {
    fn frame(&self, _: Bytes) -> Result<(Bytes, Bytes), BadFrame> {
        panic!("no such message")
    }
    fn most(&self, max: usize) -> usize {
        max
    }
    fn measure(&self, _: &[u8], _: usize, _: Rest) -> Result<Measure, BadFrame> {
        panic!("no such frame")
    }
    fn unframe(&self, frame: Bytes, _: usize) -> Result<Bytes, BadFrame> {
        Ok(frame)
    }
}

#[test]
fn a_framing_that_panics_costs_its_message_and_the_node_lives() {
    let cluster = Cluster::new(11);
    let panics = ASK.framing(&Panics);
    let (server, _server, asked) = cluster.add(describe(1, panics.serve())).unwrap();
    let (net, _node, ask) = cluster.add(describe(2, ASK)).unwrap();
    let peer = within(&net, net.connect(&server.addresses()[0])).unwrap();
    let failure = within(&net, ask.request(peer, Bytes::from_static(b"question"))).unwrap_err();
    assert_eq!(failure, RequestError::Failed(Failure::Reset(2)));
    let own = within(&server, asked.requester().request(net.peer_id(), Bytes::new())).unwrap_err();
    assert_eq!(own, RequestError::Unframed);
}

#[test]
fn what_does_not_hold_is_refused_at_start() {
    for protocol in [ASK.concurrency(0, 1), ASK.concurrency(1, 0), ASK.deadline(Duration::ZERO)] {
        let refused = Cluster::new(1).add(describe(1, protocol)).unwrap_err();
        assert!(refused.to_string().contains("/ask/1"), "{refused}");
    }
}

#[test]
fn a_server_that_answers_too_much_too_late_or_goes_on_is_told_by_type() {
    for (said, failure) in [
        (&[0xff, 0xff, 0x7f][..], Failure::TooLarge),
        (&[0x80, 0x00], Failure::Malformed),
        (b"\x02abcd", Failure::Excess),
        (b"\x05slow", Failure::Late),
    ] {
        let cluster = Cluster::new(7);
        let (server, _server, accepted) = cluster.add(describe(1, RAW)).unwrap();
        let (client, _client, ask) = cluster.add(describe(2, ASK)).unwrap();
        let serving = cluster.spawn(async move {
            let mut stream = accepted.next().await.unwrap();
            while stream.read_chunk().await.unwrap().is_some() {}
            stream.write_bytes(Bytes::copy_from_slice(said)).await.unwrap();
            let _broken_off = stream.read_chunk().await;
            std::future::pending::<()>().await;
            drop(stream);
        });
        let peer = within(&client, client.connect(&server.addresses()[0])).unwrap();
        let failed = within(&client, ask.request(peer, Bytes::from_static(b"?"))).unwrap_err();
        assert_eq!(failed, RequestError::Failed(failure));
        drop(serving);
    }
    // It goes on once the response is whole.
    let cluster = Cluster::new(8);
    let (server, _server, accepted) = cluster.add(describe(1, RAW)).unwrap();
    let (client, _client, ask) = cluster.add(describe(2, ASK)).unwrap();
    let events = client.events();
    let peer = within(&client, client.connect(&server.addresses()[0])).unwrap();
    let mut asking = Box::pin(ask.request(peer, Bytes::from_static(b"?")));
    let begun = std::future::poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_pending()));
    assert!(within(&client, begun));
    let mut stream = within(&server, accepted.next()).unwrap();
    within(&server, stream.write_bytes(Bytes::from_static(b"\x01y"))).unwrap();
    assert_eq!(&within(&client, asking).unwrap().body[..], b"y");
    within(&server, stream.write_bytes(Bytes::from_static(b"more"))).unwrap();
    assert_eq!(failed(&client, &events, &server), Failure::Excess);
    // It ends without an answer.
    let cluster = Cluster::new(8);
    let (server, _server, accepted) = cluster.add(describe(1, RAW)).unwrap();
    let (client, _client, ask) = cluster.add(describe(2, ASK)).unwrap();
    cluster.spawn(async move { while accepted.next().await.is_some() {} });
    let peer = within(&client, client.connect(&server.addresses()[0])).unwrap();
    let failed = within(&client, ask.request(peer, Bytes::from_static(b"?"))).unwrap_err();
    assert_eq!(failed, RequestError::Failed(Failure::Unfinished));
}
