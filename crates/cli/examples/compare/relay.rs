//! Delay between real nodes without privileges: a UDP socket for each link, to which the dialler dials, and which passes each
//! datagram on to the other end after a while.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Fallible;

/// Datagrams on their way, all links together; one more is lost.
const HELD: usize = 1 << 16;
/// The longest datagram.
const LONGEST: usize = 65_535;
/// How often a thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// A datagram on its way.
struct Held {
    due: Instant,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// A running relay; it ends when it is dropped.
pub(crate) struct Relay {
    ports: Vec<u16>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// One socket for each link between two ports of this machine, dialler and listener; `hold` is the latency of one way.
    pub(crate) fn start(links: &[[u16; 2]], hold: Duration) -> Fallible<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let (sender, held) = sync_channel(HELD);
        let mut relay = Self { ports: Vec::new(), over: over.clone(), threads: Vec::new() };
        for link in links {
            let ends = link.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
            socket.set_read_timeout(Some(LOOK))?;
            relay.ports.push(socket.local_addr()?.port());
            let (sender, over) = (sender.clone(), over.clone());
            relay.threads.push(std::thread::spawn(move || take(&socket, ends, hold, &sender, &over)));
        }
        relay.threads.push(std::thread::spawn(move || pass_on(&held)));
        Ok(relay)
    }

    /// Where to dial each link.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join()); // one that panicked has said so
        }
    }
}

/// Takes what comes from either end of a link, until the relay is over.
fn take(
    socket: &Arc<UdpSocket>,
    [dialler, listener]: [SocketAddr; 2],
    hold: Duration,
    sender: &SyncSender<Held>,
    over: &AtomicBool,
) {
    let mut buffer = vec![0; LONGEST];
    while !over.load(Ordering::Relaxed) {
        let (len, from) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            // a timeout, or a report that an end is not there any more
            Err(error) if is_passing(error.kind()) => continue,
            Err(_) => return,
        };
        let to = if from == listener { dialler } else { listener };
        let bytes = buffer.get(..len).unwrap_or_default().to_vec();
        let held = Held { due: Instant::now() + hold, socket: socket.clone(), to, bytes };
        if let Err(TrySendError::Disconnected(_)) = sender.try_send(held) {
            return;
        }
    }
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused)
}

/// Passes on what is due, in the order in which it came, until nobody takes anything any more.
fn pass_on(held: &Receiver<Held>) {
    while let Ok(Held { due, socket, to, bytes }) = held.recv() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        drop(socket.send_to(&bytes, to)); // a full buffer loses it, as a network may
    }
}
