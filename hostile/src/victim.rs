//! The node under attack: a program of its own on the public API, so that its memory and processor time can be told from the
//! attackers'. What it is asked on standard input it answers on standard output, a line of JSON each.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use weir::multiaddr::Transport;
use weir::{
    Bytes, Config, Keypair, Method, Multiaddr, Network, NetworkId, Pool, PoolHandle, Raw, Requests, Streams,
};

use crate::wire;

type Any = Box<dyn std::error::Error + Send + Sync>;

pub const ITEMS: Pool<Bytes> = Pool::new(wire::POOL as u16, "items").offer_delay(Duration::ZERO);
pub const WORK: Method<Bytes, Bytes> = Method::new(wire::CALL as u16, "work");
pub const BYTES: Raw = Raw::new(wire::RAW as u16, "bytes");

/// First byte of an item that the application accepts, and of one it has no use for. All others it rejects.
pub const HONEST: u8 = b'h';
pub const USELESS: u8 = b'n';

/// What the victim is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Where it listens for QUIC, and for TCP where something is named.
    pub listen: String,
    /// See `listen`.
    pub listen_tcp: Option<String>,
    /// Whether it speaks mplex, too.
    pub mplex: bool,
    /// How long each item and each request takes to handle, in microseconds.
    pub handling_us: u64,
}

/// What it says first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listens {
    /// For QUIC.
    pub quic: std::net::SocketAddr,
    /// For TCP.
    pub tcp: std::net::SocketAddr,
    /// Who it is.
    pub id: String,
}

/// What it tells when asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Largest resident size so far, in bytes.
    pub rss_peak: u64,
    /// User and system time so far, in seconds.
    pub cpu_s: f64,
    /// Faults of all peers, by how they weigh and what happened.
    pub faults: BTreeMap<String, u64>,
    /// Address prefixes that were banned so far.
    pub prefixes_banned: u64,
    /// Peers with a fault.
    pub blamed: Vec<String>,
    /// The longest ban so far, in seconds.
    pub longest_ban_s: u64,
    /// Links now.
    pub links: u64,
}

/// The handles of items, work and raw streams.
pub type Handles = (PoolHandle<Bytes>, Requests<Bytes, Bytes>, Streams);

/// A node with the channels of victim and honest pair.
pub fn node(listen: &str, config: Config) -> Result<(Network, weir::Node, Handles), Any> {
    node_with(listen, None, config)
}

/// The same with an address for TCP.
pub fn node_with(
    listen: &str,
    listen_tcp: Option<&str>,
    config: Config,
) -> Result<(Network, weir::Node, Handles), Any> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let keypair = Keypair::ed25519_from_seed(seed);
    let address: std::net::SocketAddr = listen.parse()?;
    let mut builder = Network::builder(keypair, NetworkId(wire::NETWORK)).listen(address).config(config);
    if let Some(listen) = listen_tcp {
        let socket: std::net::SocketAddr = listen.parse()?;
        builder = builder.listen(Multiaddr::from_tcp(socket));
    }
    Ok(weir::start(builder.channels((ITEMS, WORK.serve(), BYTES)))?)
}

/// Loopback addresses count like any other here.
pub fn config() -> Config {
    let mut config = Config::default();
    config.node.admission.exempt.clear();
    config
}

/// Runs until standard input ends.
pub fn run(order: &Order) -> Result<(), Any> {
    let mut config = config();
    if order.mplex {
        config.node.tcp.mplex = vec!["/mplex/6.7.0".to_owned()];
    }
    let (net, _node, (pool, requests, streams)) =
        node_with(&order.listen, order.listen_tcp.as_deref(), config)?;
    let handling = Duration::from_micros(order.handling_us);
    let usage = Arc::new(std::sync::Mutex::new(Usage::default()));
    let handled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&handled);
    std::thread::spawn(move || {
        while let Some(candidate) = pool.next_blocking() {
            spin(handling);
            counter.fetch_add(1, Ordering::Relaxed);
            match candidate.item().first() {
                Some(&HONEST) => candidate.accept(),
                Some(&USELESS) => candidate.ignore(),
                _ => candidate.reject(),
            }
        }
    });
    std::thread::spawn(move || {
        while let Some(request) = requests.next_blocking() {
            spin(handling);
            let wanted = request.query().first_chunk().map_or(16, |bytes| u32::from_le_bytes(*bytes));
            request.answer(vec![0x5a; wanted.min(1 << 20) as usize].into());
        }
    });
    std::thread::spawn(move || {
        let mut kept = std::collections::VecDeque::new();
        while let Some(stream) = streams.next_blocking() {
            kept.push_back(stream);
            kept.truncate(4096);
        }
    });
    let events = net.events();
    let (seen, clock) = (Arc::clone(&usage), net.clone());
    std::thread::spawn(move || {
        while let Some(event) = events.next_blocking() {
            let Ok(mut usage) = seen.lock() else { return };
            if let weir::Event::PrefixBanned { .. } = event {
                usage.prefixes_banned += 1;
            }
            let weir::Event::Fault { peer, fault, reaction, .. } = event else { continue };
            let what = format!("{}: {}", fault.blame.as_str(), fault.what);
            *usage.faults.entry(what).or_default() += 1;
            let peer = peer.to_string();
            if usage.blamed.len() < 4096 && !usage.blamed.contains(&peer) {
                usage.blamed.push(peer);
            }
            if let weir::Reaction::Ban { until } = reaction {
                usage.longest_ban_s = usage.longest_ban_s.max(until.since(clock.now()).as_secs());
            }
        }
    });
    let at = |transport| {
        let all = || net.addresses().iter().filter_map(Multiaddr::socket_addr);
        all().find(|(of, _)| *of == transport).map(|(_, at)| at)
    };
    let quic = at(Transport::Quic).ok_or("no address")?;
    let listens = Listens { quic, tcp: at(Transport::Tcp).unwrap_or(quic), id: net.peer_id().to_string() };
    println!("{}", serde_json::to_string(&listens)?);
    std::io::stdout().flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if let Some(peer) = line.strip_prefix("dial ") {
            net.block_on(net.peers().keep(peer))?;
            println!("null");
        } else {
            let mut usage = usage.lock().map_err(|_| "a thread panicked")?.clone();
            usage.rss_peak = status("VmHWM:")? * 1024;
            usage.cpu_s = cpu_seconds()?;
            usage.links = net.block_on(net.stats())?.stack.link.links;
            println!("{}", serde_json::to_string(&usage)?);
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Uses the processor for so long, as checking a signature would.
fn spin(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// A line of `/proc/self/status`, in its unit.
fn status(name: &str) -> Result<u64, Any> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}

/// User and system time of this process; the kernel counts in hundredths of a second.
fn cpu_seconds() -> Result<f64, Any> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after = text.rsplit_once(')').ok_or("no name")?.1;
    let field =
        |at: usize| after.split_whitespace().nth(at).and_then(|word| word.parse::<u32>().ok()).unwrap_or(0);
    Ok(f64::from(field(11) + field(12)) / 100.0)
}
