//! Bytes that cost their sender nothing.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::Field;
use crate::peer::Peer;
use crate::{identity, wire};

type Any = Box<dyn std::error::Error + Send + Sync>;

/// First packets a second: eight sufficed to lock a /24 out.
const PACKETS: u32 = 100;

/// Handshakes of which only the first datagram is ever sent, from 200 addresses of the honest pair's own /24. The kernel lets
/// any of 127.0.0.0/8 be bound, so nothing has to be forged.
pub(super) async fn first_packets(field: Field) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PACKETS);
    for number in 0_u32.. {
        ticks.tick().await;
        drop(first_packet(field.victim, (number % 200) as u8 + 20));
    }
}

fn first_packet(victim: SocketAddr, host: u8) -> Result<(), Any> {
    let mut endpoint = quinn_proto::Endpoint::new(Default::default(), None, true, None);
    let (_, mut connection) = endpoint.connect(Instant::now(), identity::client()?, victim, "victim")?;
    let mut packet = Vec::new();
    let transmit = connection.poll_transmit(Instant::now(), 1, &mut packet).ok_or("nothing to send")?;
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, 1, host), 0))?;
    socket.send_to(&packet, transmit.destination)?;
    Ok(())
}

/// A stream of permits that is nothing but messages to be skipped.
pub(super) async fn odd_messages(peer: &Peer) -> Result<(), Any> {
    let (mut send, mut recv) = peer.open(wire::lane(wire::POOL, 0)).await?;
    tokio::spawn(async move { while let Ok(Some(_)) = recv.read_chunk(1 << 20, true).await {} });
    let many = wire::message(9_999, &[0; 40]).repeat(1_000);
    loop {
        send.write_all(&many).await?;
    }
}
