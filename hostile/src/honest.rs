//! An honest pair that exchanges items through the victim and calls it, and how well it is served.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use weir::multiaddr::Transport;
use weir::{Bytes, Multiaddr, Network, Node, PeerId};

use crate::victim::{self, HONEST, Handles};

type Any = Box<dyn std::error::Error + Send + Sync>;

/// What an honest pair saw in a window of time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Served {
    /// Items that arrived at the other end, a second.
    pub items_per_s: f64,
    /// Nearest rank over those published in the window; infinite (null) where more than one in a hundred did not arrive.
    pub items_p99_ms: Option<f64>,
    /// Calls answered, a second.
    pub calls_per_s: f64,
    /// As for items.
    pub calls_p99_ms: Option<f64>,
}

/// One thing that was tried: when, and how long it took if it came through.
type Sample = (Instant, Option<Duration>);

/// The pair, at work.
pub struct Pair {
    pub ids: [PeerId; 2],
    pub addresses: [Multiaddr; 2],
    items: mpsc::Receiver<Sample>,
    calls: mpsc::Receiver<Sample>,
    failed: Arc<Mutex<BTreeMap<String, u64>>>,
    running: Arc<AtomicBool>,
    nodes: Vec<(Network, Node, Handles)>,
}

impl Pair {
    /// Two nodes at these addresses, whose own ones are those of this transport.
    pub fn start(at: [&str; 2], over: Transport) -> Result<Self, Any> {
        let node = |at| victim::node_with(at, (over == Transport::Tcp).then_some(at), victim::config());
        let nodes = vec![node(at[0])?, node(at[1])?];
        let address = |net: &Network| -> Result<Multiaddr, Any> {
            let of = |address: &&Multiaddr| address.socket_addr().is_some_and(|(of, _)| of == over);
            let address = net.addresses().iter().find(of).cloned().ok_or("no address")?;
            Ok(address.with_p2p(net.peer_id())?)
        };
        let addresses = [address(&nodes[0].0)?, address(&nodes[1].0)?];
        let ids = [nodes[0].0.peer_id(), nodes[1].0.peer_id()];
        let (_, nothing) = mpsc::channel(1);
        let (_, no_calls) = mpsc::channel(1);
        Ok(Self {
            ids,
            addresses,
            items: nothing,
            calls: no_calls,
            failed: Arc::default(),
            running: Arc::new(AtomicBool::new(true)),
            nodes,
        })
    }

    /// Dials the victim from both ends.
    pub async fn connect(&self, victim: &Multiaddr) -> Result<(), Any> {
        for (net, ..) in &self.nodes {
            net.connect(victim).await?;
        }
        Ok(())
    }

    /// Begins to publish and to call, so often a second each.
    pub fn work(&mut self, victim: PeerId, items: u32, calls: u32) -> Result<(), Any> {
        let (sent, items_seen) = mpsc::channel(1 << 16);
        let (called, calls_seen) = mpsc::channel(1 << 16);
        self.items = items_seen;
        self.calls = calls_seen;
        let begun = Instant::now();
        let (from, to) = (self.nodes[0].2.0.clone(), self.nodes[1].2.0.clone());
        let running = Arc::clone(&self.running);
        std::thread::spawn(move || {
            for number in 0_u64.. {
                if !running.load(Ordering::Relaxed) {
                    return;
                }
                pace(begun, number, items);
                let mut item = vec![HONEST; 300];
                item[8..16].copy_from_slice(&(begun.elapsed().as_nanos() as u64).to_le_bytes());
                item[16..24].copy_from_slice(&number.to_le_bytes());
                let _ = from.publish(&Bytes::from(item)); // what is refused does not arrive, and is counted so
            }
        });
        std::thread::spawn(move || {
            while let Some(candidate) = to.next_blocking() {
                let sent_at = candidate
                    .item()
                    .get(8..16)
                    .and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
                if let (Some(&HONEST), Some(nanos)) = (candidate.item().first(), sent_at) {
                    let at = begun + Duration::from_nanos(nanos);
                    let _ = sent.try_send((at, Some(at.elapsed())));
                }
                candidate.accept();
            }
        });
        let work = self.nodes[0].2.1.caller();
        let running = Arc::clone(&self.running);
        let failed = Arc::clone(&self.failed);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / calls);
            while running.load(Ordering::Relaxed) {
                ticks.tick().await;
                let (work, called, failed) = (work.clone(), called.clone(), Arc::clone(&failed));
                tokio::spawn(async move {
                    let at = Instant::now();
                    let call =
                        work.call_within(victim, Bytes::from_static(&[64, 0, 0, 0]), Duration::from_secs(5));
                    let answer = call.await;
                    let answered = answer.is_ok();
                    if let Err(error) = answer {
                        *failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .entry(error.to_string())
                            .or_default() += 1;
                    }
                    let _ = called.send((at, answered.then(|| at.elapsed()))).await;
                });
            }
        });
        Ok(())
    }

    /// What was tried between two instants, of `items` and `calls` a second.
    pub fn served(
        &mut self,
        from: Instant,
        to: Instant,
        items: u32,
        calls: u32,
        kept: &mut (Vec<Sample>, Vec<Sample>),
    ) -> Served {
        while let Ok(sample) = self.items.try_recv() {
            kept.0.push(sample);
        }
        while let Ok(sample) = self.calls.try_recv() {
            kept.1.push(sample);
        }
        let seconds = (to - from).as_secs_f64();
        let within = |samples: &[Sample]| -> Vec<Duration> {
            samples.iter().filter(|(at, _)| (from..to).contains(at)).filter_map(|(_, took)| *took).collect()
        };
        // rates count what came through within the window, whenever it was sent
        let rate = |samples: &[Sample]| {
            let through = samples
                .iter()
                .filter(|(at, took)| took.is_some_and(|took| (from..to).contains(&(*at + took))));
            through.count() as f64 / seconds
        };
        Served {
            items_per_s: rate(&kept.0),
            items_p99_ms: p99(within(&kept.0), f64::from(items) * seconds),
            calls_per_s: rate(&kept.1),
            calls_p99_ms: p99(within(&kept.1), f64::from(calls) * seconds),
        }
    }

    /// Why calls failed so far, and how many.
    pub fn failed(&self) -> BTreeMap<String, u64> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a newcomer at this address gets in.
    pub async fn newcomer(at: &str, victim: &Multiaddr) -> Result<bool, Any> {
        let (net, node, _handles) = victim::node(at, victim::config())?;
        // The system gives all that is dialled over TCP on this machine one address: the connection goes on from the newcomer's own.
        let mut to = victim.clone();
        if let Some((Transport::Tcp, remote)) = victim.socket_addr() {
            let relay = TcpListener::bind(at).await?;
            let peer = victim.peer_id().ok_or("the victim's address names no peer")?;
            to = Multiaddr::from_tcp(relay.local_addr()?).with_p2p(peer)?;
            tokio::spawn(from_own_address(relay, at.parse()?, remote)); // it ends with the node
        }
        let linked = net.connect(&to).await.is_ok();
        node.shutdown(Duration::from_millis(200)).await;
        Ok(linked)
    }

    /// Stops the pair.
    pub async fn stop(self) {
        self.running.store(false, Ordering::Relaxed);
        for (_, node, _) in self.nodes {
            node.shutdown(Duration::from_millis(500)).await;
        }
    }
}

/// Carries one connection on to `remote`, which sees it come from `own`.
async fn from_own_address(relay: TcpListener, own: SocketAddr, remote: SocketAddr) -> std::io::Result<()> {
    let (mut near, _) = relay.accept().await?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(own)?;
    let mut far = socket.connect(remote).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}

/// Sleeps until the time of number `number`, of `rate` a second.
fn pace(begun: Instant, number: u64, rate: u32) {
    let due = begun + Duration::from_secs_f64(number as f64 / f64::from(rate));
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// Nearest rank over `tried`, those that never came last.
fn p99(mut took: Vec<Duration>, tried: f64) -> Option<f64> {
    took.sort_unstable();
    let rank = (tried * 0.99).floor() as usize;
    let at = took.get(rank.saturating_sub(1))?;
    Some(at.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_counts_as_infinite() {
        let took: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(p99(took.clone(), 100.0), Some(99.0));
        assert_eq!(p99(took[..98].to_vec(), 100.0), None);
    }
}
