//! A socket does not give away the stateless reset token of a connection on another socket of the node (RFC 9000 §21.11).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::stream::Class;

use super::harness::Net;
use crate::{Datagrams, HostChange, SocketId};

/// Links a pair over QUIC whose second node has two sockets; sends a packet with the connection id of the link to one of them,
/// from elsewhere, and the answer to the first node. Whether the link ended.
fn ends_by_reset_of(bait_socket: SocketId, restart: bool) -> bool {
    let mut net = Net::pair();
    let second: SocketAddr = "[2001:db8::1]:4001".parse().unwrap();
    let bound = HostChange::Bound { socket: SocketId(1), local: second, may_fragment: false };
    net.nodes[1].links.handle_host(net.now, bound);
    let (link, _) = net.join_quic(0, 1);
    net.run(Duration::from_secs(2));
    net.sniff = true;
    let key = net.open(0, link, 9, Class::Pool);
    net.write(0, key, &Bytes::from(vec![7; 200]));
    net.run(Duration::from_millis(100));
    let seen = net.sniffed.iter().find(|(from, _, bytes)| *from == 0 && bytes.len() > 100).unwrap().2.clone();
    assert_eq!(seen[0] & 0x80, 0, "a short header: the connection id stands in the clear");
    if restart {
        net.restart(1);
        net.nodes[1].links.handle_host(net.now, bound);
    }
    let mut bait = [0x40_u8; 60];
    bait[1..9].copy_from_slice(&seen[1..9]);
    let attacker: SocketAddr = "[2001:db8:bad::1]:666".parse().unwrap();
    let data = BytesMut::from(&bait[..]);
    let batch =
        Datagrams { socket: bait_socket, remote: attacker, local_ip: None, ecn: None, stride: 60, data };
    net.nodes[1].links.handle_datagrams(net.now, batch);
    let (mut out, mut answers) = (Vec::new(), Vec::new());
    while let Some(transmit) = net.nodes[1].links.poll_datagrams(net.now, 1, &mut out) {
        if transmit.remote == attacker {
            answers.push(out.clone());
        }
        out.clear();
    }
    let server = net.nodes[1].address;
    answers.iter().for_each(|answer| net.spoof(0, server, answer));
    net.run(Duration::from_millis(50));
    !net.nodes[0].down.is_empty()
}

#[test]
fn another_socket_does_not_give_the_token_away() {
    assert!(!ends_by_reset_of(SocketId(1), false));
}

#[test]
fn a_node_that_restarts_with_its_key_and_address_ends_its_old_links() {
    assert!(ends_by_reset_of(SocketId(0), true));
}
