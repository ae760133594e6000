//! Handshakes without end, under ever new identities, from addresses that their senders have: half of them are completed and dropped,
//! half begin and never end. Each that the victim answers costs it a key exchange and signatures; how many it may answer is in
//! `links.md`, "Admission".

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::{ClientConfig, DatagramEvent};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Arrangement, Field};
use crate::identity;
use crate::stranger::{Handshake, Stranger, YAMUX, connect, payload};

type Any = Box<dyn std::error::Error + Send + Sync>;

/// Handshakes that one attacker makes at once, of each kind.
const AT_ONCE: usize = 4;
/// Handshakes that it leaves unfinished at once, for each of these.
const HELD: usize = 32;
/// A first packet that the victim has not answered for so long is one that it does not answer.
const ANSWER: Duration = Duration::from_millis(100);
/// How long a handshake may take that is to be completed, with a packet that is lost.
const COMPLETE: Duration = Duration::from_secs(2);
/// Between two connections over TCP: those that are refused end at once.
const PAUSE: Duration = Duration::from_millis(1);

/// Handshakes that the victim has answered.
pub(super) type Answered = Arc<AtomicU64>;

/// How many it may answer in such a time: an address begins 16 at once and one in 2 s, a group 128 and four a second, and each address
/// of it one more, because one that has begun none lately is not refused for its neighbours. Over QUIC 64 at once and 16 a second more may
/// begin that are not told to retry: until they are complete they count for no address.
pub fn most_answered(over_tcp: bool, arrangement: Arrangement, peers: u32, time: Duration) -> u64 {
    let seconds = time.as_secs_f64();
    let (peers, own) = (f64::from(peers), 16.0 + seconds / 2.0);
    let most = match arrangement {
        Arrangement::Apart => peers * own,
        Arrangement::Together | Arrangement::Dialled => (peers * own).min(128.0 + 4.0 * seconds + peers),
    };
    let unproven = if over_tcp { 0.0 } else { 64.0 + 16.0 * seconds };
    (most + unproven).ceil() as u64
}

/// One attacker's, over what the attack goes over.
pub(super) async fn run(field: Field, local: IpAddr, answered: &Answered) {
    if field.attack.is_tcp() {
        over_tcp(field, local, answered).await;
    } else {
        over_quic(field, local, answered).await;
    }
}

/// Over QUIC: whoever is told to prove its address does.
async fn over_quic(field: Field, local: IpAddr, answered: &Answered) {
    let mut work = JoinSet::new();
    for _ in 0..AT_ONCE {
        let count = Arc::clone(answered);
        work.spawn(async move {
            loop {
                if complete(field.victim, local).await.is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let count = Arc::clone(answered);
        work.spawn(async move {
            let Ok(config) = identity::client() else { return }; // nobody learns whose it is
            let mut held = VecDeque::new();
            loop {
                if let Ok(socket) = begin(field.victim, local, config.clone()).await {
                    count.fetch_add(1, Ordering::Relaxed);
                    held.push_back(socket);
                    if held.len() > HELD {
                        held.pop_front();
                    }
                }
            }
        });
    }
    while work.join_next().await.is_some() {}
}

/// A whole handshake, and its end.
async fn complete(victim: SocketAddr, local: IpAddr) -> Result<(), Any> {
    let mut endpoint = quinn::Endpoint::client(SocketAddr::new(local, 0))?;
    endpoint.set_default_client_config(identity::client()?);
    let connection = timeout(COMPLETE, endpoint.connect(victim, "victim")?).await??;
    connection.close(0_u8.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}

/// A handshake that stops when the victim has answered with its part. Its socket is kept, so that nothing tells the victim.
async fn begin(victim: SocketAddr, local: IpAddr, config: ClientConfig) -> Result<UdpSocket, Any> {
    let socket = UdpSocket::bind((local, 0)).await?;
    let mut endpoint = quinn_proto::Endpoint::new(Default::default(), None, true, None);
    let (_, mut connection) = endpoint.connect(Instant::now(), config, victim, "victim")?;
    loop {
        let mut packet = Vec::new();
        let _sent = connection.poll_transmit(Instant::now(), 1, &mut packet).ok_or("nothing to send")?;
        socket.send_to(&packet, victim).await?;
        let mut answer = vec![0; 2048];
        let (len, _) = timeout(ANSWER, socket.recv_from(&mut answer)).await??;
        answer.truncate(len);
        let is_retry = answer.first().is_some_and(|first| first & 0xf0 == 0xf0); // RFC 9000 §17.2.5
        if !is_retry {
            return Ok(socket);
        }
        let answer = BytesMut::from(answer.as_slice());
        let event = endpoint.handle(Instant::now(), victim, None, None, answer, &mut packet);
        let Some(DatagramEvent::ConnectionEvent(_, event)) = event else { return Err("no answer".into()) };
        connection.handle_event(event);
    }
}

/// Over TCP, with Noise.
async fn over_tcp(field: Field, local: IpAddr, answered: &Answered) {
    let mut work = JoinSet::new();
    let count = Arc::clone(answered);
    work.spawn(async move {
        loop {
            let done = Stranger::dial(field.victim, local).await;
            count.fetch_add(u64::from(done.is_ok()), Ordering::Relaxed);
            drop(done);
            tokio::time::sleep(PAUSE).await;
        }
    });
    let count = Arc::clone(answered);
    work.spawn(async move {
        let mut held = VecDeque::new();
        loop {
            let begun = begin_over_tcp(field.victim, local).await;
            count.fetch_add(u64::from(begun.is_ok()), Ordering::Relaxed);
            held.extend(begun);
            if held.len() > HELD {
                held.pop_front();
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    while work.join_next().await.is_some() {}
}

/// A handshake whose last message is never sent.
async fn begin_over_tcp(victim: SocketAddr, local: IpAddr) -> Result<tokio::net::TcpStream, Any> {
    let mut handshake = Handshake::new()?;
    let mut stream = connect(victim, local).await?;
    stream.write_all(&handshake.first).await?;
    handshake.last(&mut stream, |key| payload(key, YAMUX)).await?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_less_than_its_addresses_together() {
        let time = Duration::from_secs(10);
        for (over_tcp, unproven) in [(true, 0), (false, 64 + 160)] {
            let most = |arrangement, peers| most_answered(over_tcp, arrangement, peers, time);
            assert_eq!(most(Arrangement::Apart, 24), 24 * 21 + unproven);
            assert_eq!(most(Arrangement::Together, 24), 128 + 40 + 24 + unproven);
            assert_eq!(most(Arrangement::Dialled, 1), 21 + unproven, "one address has its own limit");
        }
    }
}
