//! A full mesh of native nodes on loopback: each names all others, as validators do.
//!
//! A round starts some or all of them at the same moment and waits until every pair has a link and nothing moves any more. What
//! any node holds against another is counted: they are all honest.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir::{Bytes, Event, Keypair, Method, Multiaddr, Network, NetworkId, Node, PeerId, Reaction};

/// A round that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// Every link must be there so long after the start of its round.
pub(crate) const IN_TIME: Duration = Duration::from_secs(2);

/// A round is over when no node reports anything for so long. Longer than what is left of a set-up after the last link.
const QUIET: Duration = Duration::from_millis(300);

/// Reports that wait to be looked at. A node whose listener waits drops its oldest events, and would be found by its links.
const REPORTS: usize = 10_000;

const ECHO: Method<Bytes, Bytes> = Method::new(1, "echo");

/// What some rounds showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Rounds run.
    pub(crate) rounds: u32,
    /// Faults that nodes reported of each other.
    pub(crate) faults: u32,
    /// Of these, those that ended in a ban.
    pub(crate) bans: u32,
    /// Pairs without a link at the end of a round, each end counted.
    pub(crate) missing: u32,
    /// The longest time from the start of a round to its last pair's link.
    pub(crate) slowest: Duration,
    /// The faults in words, at most 20.
    pub(crate) told: Vec<String>,
}

impl Tally {
    /// Whether nobody was blamed and every pair had its link, whenever it came.
    pub(crate) fn is_clean(&self) -> bool {
        (self.faults, self.bans, self.missing) == (0, 0, 0)
    }

    /// Whether every link was there within [`IN_TIME`].
    pub(crate) fn is_in_time(&self) -> bool {
        self.slowest < IN_TIME
    }
}

/// Which nodes a round stops and starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// All at the same moment.
    All,
    /// One.
    One(usize),
}

/// The nodes of one mesh, with their keys and addresses; they may be stopped.
pub(crate) struct Mesh {
    keys: Vec<[u8; 32]>,
    names: Vec<Multiaddr>,
    addresses: Vec<SocketAddr>,
    running: Vec<Option<Running>>,
    reports: (SyncSender<Report>, Receiver<Report>),
    tally: Tally,
}

struct Running {
    network: Network,
    node: Node,
    listener: JoinHandle<()>,
}

enum Report {
    /// A link came or went.
    Link,
    Fault(String, Reaction),
}

impl Mesh {
    /// `count` nodes on free ports of loopback, not started.
    pub(crate) fn new(count: usize) -> Self {
        let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let keys: Vec<[u8; 32]> = (0..count)
            .map(|_| {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).unwrap();
                seed
            })
            .collect();
        let name = |(seed, address): (&[u8; 32], &SocketAddr)| {
            let peer = Keypair::ed25519_from_seed(*seed).peer_id();
            Multiaddr::from_quic(*address).with_p2p(peer).unwrap()
        };
        Self {
            names: keys.iter().zip(&addresses).map(name).collect(),
            running: (0..count).map(|_| None).collect(),
            reports: sync_channel(REPORTS),
            tally: Tally::default(),
            keys,
            addresses,
        }
    }

    /// Starts all nodes at the same moment and waits for every link.
    pub(crate) fn start(&mut self) {
        let all: Vec<usize> = (0..self.keys.len()).collect();
        let begun = Instant::now();
        self.start_nodes(&all);
        self.settle(begun);
    }

    /// Stops nodes, starts them again, and waits for every link.
    pub(crate) fn restart(&mut self, restart: Restart) {
        let nodes = match restart {
            Restart::All => (0..self.keys.len()).collect(),
            Restart::One(node) => vec![node],
        };
        self.stop_nodes(&nodes);
        let begun = Instant::now();
        self.start_nodes(&nodes);
        self.settle(begun);
    }

    /// Stops all nodes; what all rounds showed.
    pub(crate) fn stop(mut self) -> Tally {
        let all: Vec<usize> = (0..self.keys.len()).collect();
        self.stop_nodes(&all);
        while let Ok(report) = self.reports.1.try_recv() {
            self.note(report);
        }
        self.tally
    }

    fn start_nodes(&mut self, nodes: &[usize]) {
        let barrier = Arc::new(Barrier::new(nodes.len()));
        let starting: Vec<_> = nodes
            .iter()
            .map(|node| {
                let others = self.names.iter().enumerate().filter(|(other, _)| other != node);
                let others: Vec<Multiaddr> = others.map(|(_, name)| name.clone()).collect();
                let builder =
                    Network::builder(Keypair::ed25519_from_seed(self.keys[*node]), NetworkId([7; 32]))
                        .channels(ECHO.serve())
                        .listen(self.addresses[*node])
                        .peers(others);
                let (barrier, reports, node) = (Arc::clone(&barrier), self.reports.0.clone(), *node);
                std::thread::spawn(move || {
                    barrier.wait();
                    let (network, running, _) = weir::start(builder).unwrap();
                    (node, listen(network, running, reports))
                })
            })
            .collect();
        for thread in starting {
            let (node, running) = thread.join().unwrap();
            self.running[node] = Some(running);
        }
    }

    fn stop_nodes(&mut self, nodes: &[usize]) {
        let running: Vec<Running> = nodes.iter().filter_map(|node| self.running[*node].take()).collect();
        let stopping: Vec<_> = running
            .into_iter()
            .map(|running| {
                std::thread::spawn(move || {
                    weir::block_on(running.node.shutdown(Duration::from_secs(3)));
                    running.listener.join().unwrap();
                    drop(running.network);
                })
            })
            .collect();
        stopping.into_iter().for_each(|thread| thread.join().unwrap());
        while let Ok(report) = self.reports.1.try_recv() {
            self.note(report);
        }
    }

    /// Waits until every pair has a link and no node reports anything.
    fn settle(&mut self, begun: Instant) {
        let mut complete = None;
        while begun.elapsed() < DEADLINE {
            if self.missing() > 0 {
                complete = None;
            } else {
                complete.get_or_insert_with(|| begun.elapsed());
            }
            match self.reports.1.recv_timeout(QUIET) {
                Ok(report) => self.note(report),
                Err(_) if complete.is_some() => break,
                Err(_) => {}
            }
        }
        self.tally.rounds += 1;
        self.tally.missing += self.missing();
        self.tally.slowest = self.tally.slowest.max(complete.unwrap_or(DEADLINE));
    }

    /// Pairs without a link now, each end counted.
    fn missing(&self) -> u32 {
        let of_node = |(node, running): (usize, &Option<Running>)| {
            let peers =
                running.as_ref().map(|running| weir::block_on(running.network.peers().list()).unwrap());
            let peers: Vec<PeerId> = peers.into_iter().flatten().map(|peer| peer.peer).collect();
            let others = self.names.iter().enumerate().filter(|(other, _)| *other != node);
            others.filter(|(_, name)| name.peer_id().is_none_or(|peer| !peers.contains(&peer))).count()
        };
        u32::try_from(self.running.iter().enumerate().map(of_node).sum::<usize>()).unwrap()
    }

    fn note(&mut self, report: Report) {
        if let Report::Fault(fault, reaction) = report {
            self.tally.faults += 1;
            self.tally.bans += u32::from(matches!(reaction, Reaction::Ban { .. }));
            if self.tally.told.len() < 20 {
                self.tally.told.push(fault);
            }
        }
    }
}

/// Passes on what a node reports until it stops.
fn listen(network: Network, node: Node, reports: SyncSender<Report>) -> Running {
    let events = network.events();
    let listener = std::thread::spawn(move || {
        while let Some(event) = events.next_blocking() {
            let report = match event {
                Event::PeerUp { .. } | Event::PeerDown { .. } => Report::Link,
                Event::Fault { fault, reaction, .. } => Report::Fault(fault.to_string(), reaction),
                Event::KeyUsedTwice { .. } => {
                    Report::Fault("its key is used twice".to_owned(), Reaction::None)
                }
                _ => continue,
            };
            let _ = reports.send(report);
        }
    });
    Running { network, node, listener }
}
