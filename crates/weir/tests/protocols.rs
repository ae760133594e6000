//! Other people's protocols, by name: streams over every carrier, in virtual time and on sockets.
#![allow(clippy::unwrap_used)] // a test that fails says where

use std::future::Future;
use std::time::Duration;

use weir::testing::{Carrier, Cluster};
use weir::{
    Builder, Bytes, Keypair, Network, NetworkId, Node, OpenError, Protocol, StartError, StreamError, Streams,
};

const OLD: Protocol = Protocol::new(&["/echo/1.0.0"]);
const NEW: Protocol = Protocol::new(&["/echo/1.2.0", "/echo/1.1.0", "/echo/1.0.0"]);
const PLAIN: Protocol = Protocol::new(&["/plain/1"]);
/// The server only asks for it.
const ASKED: Protocol = Protocol::new(&["/asked/1"]);
const OTHER: Protocol = Protocol::new(&["/other/3", "/other/2"]);

/// Whatever takes longer has failed.
const LIMIT: Duration = Duration::from_secs(20);

fn key(number: u8) -> Keypair {
    Keypair::ed25519_from_seed([number; 32])
}

fn describe<C: weir::Channels>(number: u8, channels: C) -> Builder<C::Handles> {
    Network::builder(key(number), NetworkId([1; 32])).channels(channels)
}

fn within<F: Future>(net: &Network, future: F) -> F::Output {
    net.block_on(net.within(LIMIT, future)).unwrap()
}

fn server() -> Builder<(Streams, Streams, Streams)> {
    describe(1, (OLD, PLAIN, ASKED.outbound_only()))
}

fn client() -> Builder<(Streams, Streams, Streams, Streams)> {
    describe(2, (NEW, PLAIN, ASKED, OTHER))
}

/// What a server and a client see of each other.
fn scenario(
    (server_net, _server, (accepted, plain, _)): &(Network, Node, (Streams, Streams, Streams)),
    (net, _client, handles): &(Network, Node, (Streams, Streams, Streams, Streams)),
) {
    let (new, old, other, others) = handles;
    let peer = within(net, net.connect(&server_net.addresses()[0])).unwrap();

    // Of three names the peer has one; both sides are told which.
    let mut ours = within(net, new.open(peer)).unwrap();
    assert_eq!((ours.protocol(), ours.peer()), ("/echo/1.0.0", peer));
    let mut theirs = within(server_net, accepted.next()).unwrap();
    assert_eq!((theirs.protocol(), theirs.peer()), ("/echo/1.0.0", net.peer_id()));
    // Half-close: this direction ends, and the answer comes on the other one.
    within(net, ours.write_bytes(Bytes::from_static(b"question"))).unwrap();
    ours.finish();
    assert_eq!(within(server_net, theirs.read_chunk()).unwrap().unwrap(), "question");
    assert_eq!(within(server_net, theirs.read_chunk()).unwrap(), None);
    within(server_net, theirs.write_bytes(Bytes::from_static(b"answer"))).unwrap();
    theirs.finish();
    assert_eq!(within(net, ours.read_chunk()).unwrap().unwrap(), "answer");
    assert_eq!(within(net, ours.read_chunk()).unwrap(), None);

    // A code of the application's arrives as it is.
    let mut ours = within(net, old.open(peer)).unwrap();
    within(net, ours.write_bytes(Bytes::from_static(b"x"))).unwrap();
    let mut theirs = within(server_net, plain.next()).unwrap();
    assert_eq!(within(server_net, theirs.read_chunk()).unwrap().unwrap(), "x");
    theirs.reset(4711);
    assert_eq!(within(net, ours.read_chunk()), Err(StreamError::Reset(4711)));

    // What the peer does not speak is told by type: of several names at once, of one when it is used.
    assert_eq!(within(net, others.open(peer)).unwrap_err(), OpenError::Unsupported);
    let mut refused = within(net, other.open(peer)).unwrap();
    assert_eq!(within(net, refused.read_chunk()), Err(StreamError::Unsupported));
    assert_eq!(within(net, refused.write_bytes(Bytes::from_static(b"y"))), Err(StreamError::Unsupported));
    let mut ended = within(net, other.open(peer)).unwrap();
    ended.finish();
    assert_eq!(
        within(net, ended.read_chunk()),
        Err(StreamError::Unsupported),
        "its end was asked for before"
    );
}

#[test]
fn streams_by_name_are_the_same_over_every_carrier_of_a_cluster() {
    for carrier in [Carrier::Frames, Carrier::Quic] {
        let cluster = Cluster::over(carrier, 3);
        scenario(&cluster.add(server()).unwrap(), &cluster.add(client()).unwrap());
    }
}

#[test]
fn streams_by_name_work_on_sockets_over_tcp_and_over_quic() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        scenario(
            &weir::start(server().listen(listen)).unwrap(),
            &weir::start(client().listen(listen)).unwrap(),
        );
    }
}

#[test]
fn names_that_are_known_at_run_time_are_names_as_any() {
    let cluster = Cluster::new(4);
    let named =
        |chain: &str| Protocol::try_new([format!("/{chain}/echo/2"), format!("/{chain}/echo/1")]).unwrap();
    let (server, _server, accepted) = cluster.add(describe(1, named("plain"))).unwrap();
    let constant = Protocol::new(&["/plain/echo/1"]);
    let (client, _client, (streams, others)) = cluster.add(describe(2, (constant, named("fancy")))).unwrap();
    let peer = within(&client, client.connect(&server.addresses()[0])).unwrap();
    let mut ours = within(&client, streams.open(peer)).unwrap();
    within(&client, ours.write_bytes(Bytes::from_static(b"x"))).unwrap();
    assert_eq!(within(&server, accepted.next()).unwrap().protocol(), "/plain/echo/1");
    assert_eq!(within(&client, others.open(peer)).unwrap_err(), OpenError::Unsupported);
}

#[test]
fn a_name_of_two_protocols_is_refused_at_start() {
    let twice = weir::start(describe(1, (OLD, NEW)));
    let Err(error @ StartError::Config(_)) = twice else { panic!("{twice:?}") };
    assert!(error.to_string().contains("`/echo/1.0.0`"), "{error}");
}
