//! A socket on which the system takes nothing holds up its own links alone.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use weir_base::multiaddr::Multiaddr;
use weir_base::stream::Class;

use super::harness::Net;
use crate::{Dial, HostChange, SocketId};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn links_of_other_sockets_go_on_and_its_own_when_it_is_writable_again() {
    let mut net = Net::pair();
    let (link, _) = net.join_quic(0, 1);
    net.run(SECOND);
    let second: SocketAddr = "[2001:db8::1]:4001".parse().unwrap();
    let bound = HostChange::Bound { socket: SocketId(1), local: second, may_fragment: false };
    for change in [bound, HostChange::Blocked(SocketId(0))] {
        net.nodes[0].links.handle_host(net.now, change);
    }

    let key = net.open(0, link, 400, Class::Pool);
    assert!(net.write(0, key, &Bytes::from_static(b"waits")) > 0);
    net.run(SECOND * 5);
    assert_eq!(net.nodes[1].opened, [], "nothing goes out");

    let elsewhere: SocketAddr = "[2001:db8::2]:4001".parse().unwrap();
    let dial = Dial { peer: None, addresses: vec![Multiaddr::from_quic(elsewhere)], pinned: false };
    net.nodes[0].links.dial(net.now, dial).unwrap();
    let mut out = Vec::new();
    let transmit = net.nodes[0].links.poll_datagrams(net.now, 1, &mut out).expect("a first packet");
    assert_eq!((transmit.socket, transmit.remote), (SocketId(1), elsewhere));

    net.nodes[0].links.handle_host(net.now, HostChange::Writable(SocketId(0)));
    net.run(SECOND);
    let opened = net.nodes[1].opened.first().expect("it has come").0;
    assert_eq!(net.read(1, opened).0, b"waits");
    assert_eq!((net.nodes[0].down.len(), net.nodes[1].down.len()), (0, 0));
}

#[test]
fn a_link_whose_socket_stays_blocked_ends_by_its_idle_time() {
    let mut net = Net::pair();
    net.join_quic(0, 1);
    net.run(SECOND);
    net.nodes[0].links.handle_host(net.now, HostChange::Blocked(SocketId(0)));
    net.run(SECOND * 120);
    assert_eq!((net.nodes[0].down.len(), net.nodes[1].down.len()), (1, 1));
}
