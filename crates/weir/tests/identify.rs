//! What a node says of itself by libp2p's identify, on sockets.
#![allow(clippy::unwrap_used)] // a test that fails says where

use std::future::Future;
use std::time::Duration;

use weir::{Builder, Event, Events, Keypair, Multiaddr, Network, NetworkId, Pool, Protocol, RequestResponse};

const TXS: Pool<String> = Pool::new(4, "tx");
const ECHO: Protocol = Protocol::new(&["/echo/2", "/echo/1"]);
const ASKED: Protocol = Protocol::new(&["/asked/1"]);
const SIZE: RequestResponse = RequestResponse::new(&["/size/1"]);
const WANTED: RequestResponse = RequestResponse::new(&["/wanted/1"]);

/// Whatever takes longer has failed.
const LIMIT: Duration = Duration::from_secs(20);

fn describe<C: weir::Channels>(number: u8, channels: C) -> Builder<C::Handles> {
    Network::builder(Keypair::ed25519_from_seed([number; 32]), NetworkId([1; 32])).channels(channels)
}

fn within<F: Future>(net: &Network, future: F) -> F::Output {
    net.block_on(net.within(LIMIT, future)).unwrap()
}

/// What the next peer says: its protocols and addresses.
fn said(net: &Network, events: &Events) -> (Vec<String>, Vec<Multiaddr>) {
    within(net, async {
        loop {
            if let Some(Event::Identified { protocols, addresses, .. }) = events.next().await {
                return (protocols, addresses);
            }
        }
    })
}

#[test]
fn a_node_says_what_it_serves_and_where_it_listens_and_what_is_new() {
    let served = (TXS, ECHO, ASKED.outbound_only(), SIZE.serve(), WANTED);
    let server = describe(1, served).listen("/ip4/127.0.0.1/tcp/0").listen("/ip4/127.0.0.1/udp/0/quic-v1");
    let (server, _server, _handles) = weir::start(server).unwrap();
    let (client, _client, ()) = weir::start(describe(2, ()).listen("/ip4/127.0.0.1/tcp/0")).unwrap();
    let events = client.events();
    let tcp = server.addresses().iter().find(|address| address.to_string().contains("/tcp/")).unwrap();
    within(&client, client.connect(tcp)).unwrap();
    let (protocols, addresses) = said(&client, &events);
    let own = ["/ipfs/id/push/1.0.0", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"];
    let channels = ["/weir/tx/1/1", "/weir/tx/0/1", "/weir/control/1"];
    let named = ["/echo/2", "/echo/1", "/size/1"];
    assert_eq!(protocols, [own, channels, named].concat());
    let listens: Vec<Multiaddr> =
        server.addresses().iter().map(|address| address.clone().without_p2p()).collect();
    assert_eq!((listens.len(), addresses), (2, listens));

    within(&server, server.announce(["/dns4/node.example/tcp/4001"])).unwrap();
    let (protocols, addresses) = said(&client, &events);
    assert_eq!(addresses, ["/dns4/node.example/tcp/4001".parse().unwrap()]);
    assert_eq!(protocols.len(), 9);
}

#[test]
fn a_node_that_listens_everywhere_says_an_address_that_leads_somewhere() {
    let (server, _server, ()) = weir::start(describe(1, ()).listen("/ip4/0.0.0.0/tcp/0")).unwrap();
    let (client, _client, ()) = weir::start(describe(2, ()).listen("/ip4/127.0.0.1/tcp/0")).unwrap();
    let events = client.events();
    let everywhere = server.addresses()[0].to_string();
    let port = everywhere.split('/').nth(4).unwrap();
    within(&client, client.connect(format!("/ip4/127.0.0.1/tcp/{port}").as_str())).unwrap();
    let (_, addresses) = said(&client, &events);
    // None where this computer has no way to others.
    for address in &addresses {
        let (_, socket) = address.socket_addr().unwrap();
        assert!(!socket.ip().is_unspecified() && socket.port().to_string() == port, "{address}");
    }
    assert!(addresses.len() <= 1);
}
