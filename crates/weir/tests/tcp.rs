//! Real TCP sockets on loopback: nodes that have nothing else, peers that vanish, strangers that say nothing.
#![allow(clippy::unwrap_used)] // a test that fails says where

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use weir::{
    Builder, Bytes, Event, Keypair, Malformed, Message, Method, Multiaddr, Network, NetworkId, Node, Pool,
    PoolHandle, PoolItem, Raw, Requests, StartError, Streams, Summary,
};

const NOTES: Pool<Note> = Pool::new(1, "notes");
const ECHO: Method<Bytes, Bytes> = Method::new(2, "echo");
const BYTES: Raw = Raw::new(3, "bytes");
/// Bytes of a long stream, each way.
const LEN: usize = 8 << 20;
const LOCAL: &str = "/ip4/127.0.0.1/tcp/0";
/// Whatever takes longer has failed.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Note(Bytes);

impl Message for Note {
    fn encode(&self) -> Bytes {
        self.0.clone()
    }
    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        Ok(Self(bytes))
    }
}

impl PoolItem for Note {
    fn summary(&self) -> Summary {
        Summary::default()
    }
    fn priority(_: &Summary) -> Option<u64> {
        Some(1)
    }
    fn summary_of(_: &Bytes) -> Result<Summary, Malformed> {
        Ok(Summary::default())
    }
}

type Handles = (PoolHandle<Note>, Requests<Bytes, Bytes>, Streams);

fn key() -> Keypair {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    Keypair::ed25519_from_seed(seed)
}

fn builder(key: Keypair, listen: &str) -> Builder<Handles> {
    Network::builder(key, NetworkId([1; 32])).channels((NOTES, ECHO.serve(), BYTES)).listen(listen)
}

fn started(listen: &str) -> (Network, Node, Handles) {
    weir::start(builder(key(), listen)).unwrap()
}

fn within<F: Future>(net: &Network, future: F) -> F::Output {
    weir::block_on(net.within(LIMIT, future)).unwrap()
}

/// The socket of a node that listens on TCP alone.
fn socket(net: &Network) -> SocketAddr {
    let [address] = net.addresses() else { panic!("{:?}", net.addresses()) };
    assert!(address.to_string().contains("/tcp/"), "{address}");
    address.socket_addr().unwrap().1
}

#[test]
fn two_nodes_pull_call_and_stream_over_tcp_alone() {
    let (server, node, (theirs, requests, accepted)) = started(LOCAL);
    let (client, _client, (ours, _, streams)) = started(LOCAL);
    let peer = within(&client, client.connect(&server.addresses()[0])).unwrap();
    assert_eq!(peer, server.peer_id());
    let link = within(&client, client.peers().list()).unwrap();
    assert!(link[0].address.as_ref().unwrap().to_string().contains("/tcp/"), "{link:?}");

    // Pools, both ways.
    for (from, to, net) in [(&ours, &theirs, &client), (&theirs, &ours, &server)] {
        let note = Note(Bytes::from(net.peer_id().to_string()));
        within(net, from.publish_wait(&note)).unwrap();
        let candidate = within(net, to.next()).unwrap();
        assert_eq!(candidate.item(), &note);
        candidate.accept();
    }
    // A call, of another client that has no address.
    let answering = std::thread::spawn(move || {
        while let Some(request) = requests.next_blocking() {
            request.answer(request.query().clone());
        }
    });
    let (third, _third, echo) =
        weir::start(Network::builder(key(), NetworkId([1; 32])).channels(ECHO)).unwrap();
    within(&third, third.connect(&server.addresses()[0])).unwrap();
    let answer = within(&third, echo.call(peer, Bytes::from(vec![5; 60_000]))).unwrap();
    assert_eq!(answer.len(), 60_000);
    // A raw stream: 8 MiB there, the end of this direction, 8 MiB back.
    let mut one = within(&client, streams.open(peer)).unwrap().blocking();
    let serving = std::thread::spawn(move || {
        let mut two = accepted.next_blocking().unwrap().blocking();
        let mut all = Vec::new();
        two.read_to_end(&mut all).unwrap();
        two.write_all(&all).unwrap();
        two.finish();
        all.len()
    });
    let sent: Vec<u8> = (0..LEN).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[2]).collect();
    one.write_all(&sent).unwrap();
    one.finish();
    let mut back = Vec::new();
    one.read_to_end(&mut back).unwrap();
    assert!(back == sent && serving.join().unwrap() == LEN);
    weir::block_on(node.shutdown(Duration::from_secs(5)));
    answering.join().unwrap();
}

#[test]
fn a_node_that_dials_over_ipv6_and_one_that_listens_on_both_meet() {
    let both = builder(key(), LOCAL).listen("/ip6/::1/tcp/0");
    let (server, _server, _handles) = match weir::start(both) {
        Err(StartError::Listen { .. }) => return, // no IPv6 here
        started => started.unwrap(),
    };
    for address in server.addresses() {
        let (client, _client, _handles) = started(LOCAL);
        assert_eq!(within(&client, client.connect(address)).unwrap(), server.peer_id(), "{address}");
    }
}

#[test]
fn a_peer_that_vanishes_is_dialled_until_it_is_back() {
    let identity = || Keypair::ed25519_from_seed([77; 32]);
    let (server, node, handles) = weir::start(builder(identity(), LOCAL)).unwrap();
    let (address, again) = (server.addresses()[0].clone(), socket(&server));
    let (client, _client, (ours, ..)) = started(LOCAL);
    let events = client.events();
    within(&client, client.peers().keep(&address)).unwrap();
    let up = |events: &weir::Events| {
        within(&client, async { while !matches!(events.next().await, Some(Event::PeerUp { .. })) {} });
    };
    up(&events);
    // All of it at once: its sockets close, and what was under way is lost.
    drop((server, node, handles));
    within(&client, async { while !matches!(events.next().await, Some(Event::PeerDown { .. })) {} });
    let listen = Multiaddr::from_tcp(again).to_string();
    let (_server, _node, (theirs, ..)) = weir::start(builder(identity(), &listen)).unwrap();
    up(&events);
    let note = Note(Bytes::from_static(b"after"));
    within(&client, ours.publish_wait(&note)).unwrap();
    let candidate = within(&client, theirs.next()).unwrap();
    assert_eq!(candidate.item(), &note);
}

#[test]
fn a_dial_to_where_nobody_listens_fails_soon() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // not any more
    let (client, _client, _handles) = started(LOCAL);
    let begun = Instant::now();
    let failed = within(&client, client.connect(Multiaddr::from_tcp(closed)));
    assert!(matches!(failed, Err(weir::ConnectError::Failed(_))), "{failed:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "it waits for its deadline");
}

#[test]
fn a_port_of_another_program_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let refused = weir::start(builder(key(), &Multiaddr::from_tcp(port).to_string()));
    let Err(StartError::InUse { address }) = refused else { panic!("{refused:?}") };
    assert_eq!(address, port);
}

#[test]
fn five_thousand_strangers_that_say_nothing_stay_within_the_bound() {
    const STRANGERS: usize = 5_000;
    const OPEN: usize = 200; // descriptors of this process
    let (server, _server, _handles) = started(LOCAL);
    let most = u64::from(weir::Config::default().node.admission.max_half_open);
    let at = socket(&server);
    let mut open = VecDeque::new();
    for number in 0..STRANGERS {
        if open.len() == OPEN {
            open.pop_front();
        }
        let mut stranger = TcpStream::connect(at).unwrap();
        if number % 2 == 0 {
            // It may be closed already.
            let _ = stranger.write_all(b"\x13/multistream/1.0.0\n\x07/no");
        }
        open.push_back(stranger);
        if number % 250 == 0 {
            let stats = within(&server, server.stats()).unwrap();
            assert!(stats.stack.link.half_open <= most, "{}", stats.stack.link.half_open);
        }
    }
    let stats = within(&server, server.stats()).unwrap().stack.link;
    assert!(stats.half_open <= most && stats.links == 0, "{stats:?}");
    // Once they are gone an honest node finds its place.
    drop(open);
    let (client, _client, _handles) = started(LOCAL);
    let connected = within(&client, async {
        loop {
            if let Ok(peer) = client.connect(&server.addresses()[0]).await {
                return peer;
            }
        }
    });
    assert_eq!(connected, server.peer_id());
}
