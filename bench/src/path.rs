//! A path with a round trip: a relay on loopback that holds what goes through it.
//!
//! UDP: one dialler, every datagram held for the same time. TCP: the system ends the dialler's handshake at the relay at once, where
//! over a real path it takes a round trip. So the relay counts that in: it connects to the listener, and what the dialler says
//! reaches the listener, no sooner than the last part of the handshake would have come.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the relay takes at once.
const BUFFER: usize = 64 << 10;
/// Parts that it holds in one direction; beyond it, what comes stays with the system, and is late.
const HELD: usize = 4_096;

/// A relay in front of a listener. Its threads end with the program.
#[derive(Debug)]
pub struct Path {
    address: String,
}

impl Path {
    /// In front of the multiaddr or socket address `to`, on the same transport; each way takes `one_way`.
    pub fn to(to: &str, one_way: Duration) -> io::Result<Self> {
        let (target, is_tcp) =
            parse(to).ok_or_else(|| io::Error::other(format!("`{to}` is no address of loopback")))?;
        let port = if is_tcp { tcp(target, one_way)? } else { udp(target, one_way)? };
        Ok(Self { address: to.replacen(&target.port().to_string(), &port.to_string(), 1) })
    }

    /// The listener's address with the relay's port.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The port of `/ip4/127.0.0.1/tcp/PORT…` or `/ip4/127.0.0.1/udp/PORT…`.
fn parse(to: &str) -> Option<(SocketAddr, bool)> {
    let mut parts = to.strip_prefix("/ip4/127.0.0.1/")?.split('/');
    let is_tcp = match parts.next()? {
        "tcp" => true,
        "udp" => false,
        _ => return None,
    };
    Some(((Ipv4Addr::LOCALHOST, parts.next()?.parse().ok()?).into(), is_tcp))
}

/// What is held, and until when. Its end closes the channel.
type Held = (Instant, Vec<u8>);

/// Calls `give` with each once it is due.
fn deliver(held: &Receiver<Held>, mut give: impl FnMut(&[u8]) -> io::Result<()>) {
    while let Ok((due, bytes)) = held.recv() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if give(&bytes).is_err() {
            return;
        }
    }
}

fn udp(target: SocketAddr, one_way: Duration) -> io::Result<u16> {
    let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    far.connect(target)?;
    let port = near.local_addr()?.port();
    let dialler = Arc::new(Mutex::new(None));
    let (there, going) = sync_channel::<Held>(HELD);
    let (back, coming) = sync_channel::<Held>(HELD);
    let (from, to) = (near.try_clone()?, far.try_clone()?);
    let seen = Arc::clone(&dialler);
    std::thread::spawn(move || {
        let mut buffer = vec![0; BUFFER];
        while let Ok((len, source)) = from.recv_from(&mut buffer) {
            *seen.lock().expect("no panic") = Some(source);
            if there.send((Instant::now() + one_way, buffer[..len].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || deliver(&going, |bytes| to.send(bytes).map(drop)));
    std::thread::spawn(move || {
        let mut buffer = vec![0; BUFFER];
        while let Ok(len) = far.recv(&mut buffer) {
            if back.send((Instant::now() + one_way, buffer[..len].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        deliver(&coming, |bytes| {
            let to = *dialler.lock().expect("no panic");
            to.map_or(Ok(0), |to| near.send_to(bytes, to)).map(drop)
        });
    });
    Ok(port)
}

fn tcp(target: SocketAddr, one_way: Duration) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let Ok(near) = near else { return };
            let accepted = Instant::now() + one_way * 3;
            std::thread::spawn(move || {
                std::thread::sleep(accepted.saturating_duration_since(Instant::now()));
                let Ok(far) = TcpStream::connect(target) else { return };
                let _ = carry(near, far, one_way, accepted);
            });
        }
    });
    Ok(port)
}

/// Both directions of one connection.
fn carry(near: TcpStream, far: TcpStream, one_way: Duration, accepted: Instant) -> io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    // What the dialler said while the relay waited is there already, and due now: its first flight left a round trip later.
    pass(near.try_clone()?, far.try_clone()?, one_way, Some(accepted));
    pass(far, near, one_way, None);
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream, one_way: Duration, first: Option<Instant>) {
    let (held, due) = sync_channel::<Held>(HELD);
    std::thread::spawn(move || {
        let mut first = first;
        let mut buffer = vec![0; BUFFER];
        while let Ok(len) = from.read(&mut buffer) {
            let at = first.take().unwrap_or_else(|| Instant::now() + one_way);
            if len == 0 || held.send((at, buffer[..len].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        deliver(&due, |bytes| to.write_all(bytes));
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_takes_half_a_round_trip_each_way_and_a_tcp_handshake_takes_one() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() {
                stream.write_all(&byte).unwrap();
            }
        });
        let one_way = Duration::from_millis(10);
        let path = Path::to(&to, one_way).unwrap();
        let begun = Instant::now();
        let mut stream = TcpStream::connect(parse(path.address()).unwrap().0).unwrap();
        let mut echo = |byte: u8| {
            stream.write_all(&[byte]).unwrap();
            let mut read = [0];
            stream.read_exact(&mut read).unwrap();
            assert_eq!(read, [byte]);
        };
        echo(1);
        assert!(begun.elapsed() >= one_way * 4, "the handshake, and there and back");
        let second = Instant::now();
        echo(2);
        assert!(second.elapsed() >= one_way * 2, "there and back");
    }

    #[test]
    fn other_addresses_are_refused() {
        for other in ["/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/ws/1"] {
            let refused = Path::to(other, Duration::ZERO).err().unwrap().to_string();
            assert_eq!(refused, format!("`{other}` is no address of loopback"));
        }
    }
}
