//! The nodes of one case, as real nodes on loopback, all in this process.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir::{
    Bytes, Keypair, Malformed, Message, Multiaddr, Network, NetworkId, Node, Pool, PoolHandle, PoolItem,
    Summary,
};
use weir_sim::compare::{Case, Effort, Figures, Plan, plan};
use weir_sim::flood::{number_of, transaction};
use weir_sim::{Percentiles, Sample, Work};

use crate::Fallible;
use crate::usage::Usage;

const NETWORK: NetworkId = NetworkId([7; 32]);
const TXS: Pool<Tx> = Pool::new(1, "tx");
/// Where the byte is that a transaction's summary consists of.
const PRIORITY: usize = 8;

/// How long links may take to come up, and how long they are up before the load.
const LINKING: Duration = Duration::from_secs(20);
const SETTLING: Duration = Duration::from_secs(1);
/// How long all may take to have all, after the last was submitted.
const DEADLINE: Duration = Duration::from_secs(20);
/// Between two looks at whether something is so.
const LOOK: Duration = Duration::from_millis(20);
const GOODBYE: Duration = Duration::from_secs(1);
/// Bytes of a datagram's headers: IP (20) and UDP (8).
const HEADERS: u64 = 28;

/// A transaction of the simulator's load.
struct Tx(Bytes);

impl Message for Tx {
    fn encode(&self) -> Bytes {
        self.0.clone()
    }

    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        Ok(Self(bytes))
    }
}

impl PoolItem for Tx {
    fn summary(&self) -> Summary {
        let priority = self.0.get(PRIORITY..=PRIORITY).unwrap_or_default();
        Summary::new(priority).unwrap_or_default()
    }

    fn priority(summary: &Summary) -> Option<u64> {
        summary.as_slice().first().map(|priority| u64::from(*priority))
    }
}

struct Running {
    net: Network,
    node: Node,
    pool: PoolHandle<Tx>,
    port: u16,
}

/// When a node accepted which transaction.
type Accepted = Vec<(u32, Instant)>;

/// Reads a case, tells the nodes' ports, reads where to dial for each link, and tells what came of it: one line of JSON each.
pub(crate) fn serve() -> Fallible<()> {
    let mut lines = std::io::stdin().lock().lines();
    let mut next = || -> Fallible<String> { Ok(lines.next().ok_or("nobody says what to do")??) };
    let case: Case = serde_json::from_str(&next()?)?;
    let plan = plan(&case)?;
    let nodes = (0..case.nodes).map(start).collect::<Fallible<Vec<Running>>>()?;
    tell(&serde_json::to_string(&ports(&nodes))?)?;
    let dials: Vec<u16> = serde_json::from_str(&next()?)?;
    let ran = run(&plan, nodes, &dials, |number| transaction(number, case.seed))?;
    tell(&serde_json::to_string(&figures(&case, &plan, ran)?)?)
}

/// What nodes of this process had to do for a plan whose transactions are all of this size, and what that took.
pub(crate) fn measure(nodes: u32, plan: &Plan, seed: u64, size: usize) -> Fallible<Option<Sample>> {
    let nodes = (0..nodes).map(start).collect::<Fallible<Vec<Running>>>()?;
    let ports = ports(&nodes);
    let listener = |(_, listener): &(u32, u32)| ports.get(*listener as usize).copied();
    let dials: Option<Vec<u16>> = plan.edges.iter().map(listener).collect();
    let ran = run(plan, nodes, &dials.ok_or("no such node")?, |number| sized(number, seed, size))?;
    if ran.missing > 0 {
        return Err(
            format!("{} pairs are missing: this machine is too slow for the load", ran.missing).into()
        );
    }
    Ok(ran.used.network.map(|seconds| Sample { work: ran.work, seconds }))
}

/// A transaction of the simulator's load, and as many bytes more or less as make this size.
fn sized(number: u32, seed: u64, size: usize) -> Bytes {
    let mut bytes = transaction(number, seed).to_vec();
    bytes.resize(size.max(PRIORITY + 1), 0);
    bytes.into()
}

fn ports(nodes: &[Running]) -> Vec<u16> {
    nodes.iter().map(|node| node.port).collect()
}

/// What came of a run.
struct Ran {
    micros: Vec<u32>,
    missing: u64,
    came: u64, // bytes of datagrams received, with headers
    work: Work,
    used: Usage,
}

fn figures(case: &Case, plan: &Plan, mut ran: Ran) -> Fallible<Figures> {
    let pairs = f64::from(u32::try_from(plan.load.len())? * case.nodes);
    let each = |seconds: f64| seconds * 1e6 / pairs;
    Ok(Figures {
        latency_ms: Percentiles::of(&mut ran.micros, ran.missing).unwrap_or_default(),
        missing: ran.missing,
        wire_bytes: f64::from(u32::try_from(ran.came)?) / pairs,
        work: Effort::of(ran.work, pairs),
        network_cpu_us: ran.used.network.map(each),
        process_cpu_us: ran.used.process.map(each),
    })
}

fn tell(line: &str) -> Fallible<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn start(number: u32) -> Fallible<Running> {
    let mut seed = [7; 32];
    seed.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
    let builder =
        Network::builder(Keypair::ed25519_from_seed(seed), NETWORK).channels(TXS).listen("127.0.0.1:0");
    let (net, node, pool) = weir::start(builder)?;
    let socket = net.addresses().iter().find_map(Multiaddr::socket_addr);
    let port = socket.ok_or("a node listens nowhere")?.1.port();
    Ok(Running { net, node, pool, port })
}

/// Links nodes, publishes the plan's transactions, and waits until all have all.
fn run(plan: &Plan, nodes: Vec<Running>, dials: &[u16], make: impl Fn(u32) -> Bytes) -> Fallible<Ran> {
    link(plan, &nodes, dials)?;
    std::thread::sleep(SETTLING);
    let pairs = plan.load.len() as u64 * (nodes.len() as u64 - 1);
    let count = Arc::new(AtomicU64::new(0));
    let accepting: Vec<JoinHandle<Accepted>> = nodes
        .iter()
        .map(|node| {
            let (pool, count) = (node.pool.clone(), Arc::clone(&count));
            std::thread::spawn(move || accept(&pool, &count))
        })
        .collect();
    let ((before, came), used, begun) = (work(&nodes), Usage::now(), Instant::now());
    let mut submitted = Vec::new();
    for (number, (origin, at)) in (0..).zip(&plan.load) {
        std::thread::sleep((begun + *at).saturating_duration_since(Instant::now()));
        let node = nodes.get(*origin as usize).ok_or("no such node")?;
        submitted.push(Instant::now());
        node.pool.publish(&Tx(make(number)))?;
    }
    until(DEADLINE, || count.load(Ordering::Relaxed) >= pairs);
    let (used, (done, all)) = (Usage::now().since(used), work(&nodes));
    for Running { net, node, .. } in nodes {
        net.block_on(node.shutdown(GOODBYE));
    }
    let mut micros = Vec::new();
    for thread in accepting {
        for (number, at) in thread.join().map_err(|_| "a thread of an application panicked")? {
            let submitted = submitted.get(number as usize).ok_or("a transaction of nobody")?;
            micros.push(u32::try_from(at.saturating_duration_since(*submitted).as_micros())?);
        }
    }
    let missing = pairs.saturating_sub(micros.len() as u64);
    Ok(Ran { micros, missing, came: all - came, work: done.since(before), used })
}

/// Dials all links, and waits until they are up.
fn link(plan: &Plan, nodes: &[Running], dials: &[u16]) -> Fallible<()> {
    for ((dialler, listener), port) in plan.edges.iter().zip(dials) {
        let node = |number: u32| nodes.get(number as usize).ok_or("no such node");
        let peer = node(*listener)?.net.peer_id();
        let address: Multiaddr = format!("/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{peer}").parse()?;
        let net = &node(*dialler)?.net;
        net.block_on(net.peers().keep(address))?;
    }
    let wanted = 2 * plan.edges.len() as u64;
    if until(LINKING, || links(nodes) >= wanted) { Ok(()) } else { Err("some links did not come up".into()) }
}

/// Accepts everything, until the node stops.
fn accept(pool: &PoolHandle<Tx>, count: &AtomicU64) -> Accepted {
    let mut accepted = Vec::new();
    while let Some(candidate) = pool.next_blocking() {
        let number = number_of(&candidate.item().0);
        candidate.accept();
        if let Some(number) = number {
            accepted.push((number, Instant::now()));
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    accepted
}

/// Whether something came to be so in time.
fn until(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if is_so() {
            return true;
        }
        std::thread::sleep(LOOK);
    }
    is_so()
}

/// Links that are up, each counted at both ends.
fn links(nodes: &[Running]) -> u64 {
    nodes.iter().map(|node| stats(node).stack.link.links).sum()
}

/// What all nodes' network threads had to do so far, and the bytes of datagrams received.
fn work(nodes: &[Running]) -> (Work, u64) {
    nodes.iter().map(stats).fold((Work::default(), 0), |(sum, came), stats| {
        let (host, link) = (stats.host, stats.stack.link);
        let work = Work {
            turns: sum.turns + host.rounds,
            packets: sum.packets + host.datagrams_in + host.datagrams_out,
            bytes: sum.bytes + link.bytes_in + link.bytes_out,
        };
        (work, came + link.bytes_in + HEADERS * host.datagrams_in)
    })
}

fn stats(node: &Running) -> weir::Stats {
    node.net.block_on(node.net.stats()).unwrap_or_default()
}
