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
use weir_sim::Percentiles;
use weir_sim::compare::{Case, Figures, Plan, plan};
use weir_sim::flood::{number_of, transaction};

use crate::Fallible;

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
    let ports: Vec<u16> = nodes.iter().map(|node| node.port).collect();
    tell(&serde_json::to_string(&ports)?)?;
    let dials: Vec<u16> = serde_json::from_str(&next()?)?;
    let figures = run(&case, &plan, nodes, &dials)?;
    tell(&serde_json::to_string(&figures)?)
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

fn run(case: &Case, plan: &Plan, nodes: Vec<Running>, dials: &[u16]) -> Fallible<Figures> {
    link(plan, &nodes, dials)?;
    std::thread::sleep(SETTLING);
    let pairs = plan.load.len() as u64 * u64::from(case.nodes - 1);
    let count = Arc::new(AtomicU64::new(0));
    let accepting: Vec<JoinHandle<Accepted>> = nodes
        .iter()
        .map(|node| {
            let (pool, count) = (node.pool.clone(), Arc::clone(&count));
            std::thread::spawn(move || accept(&pool, &count))
        })
        .collect();
    let (cpu, bytes, begun) = (cpu_seconds(), bytes_in(&nodes), Instant::now());
    let mut submitted = Vec::new();
    for (number, (origin, at)) in (0..).zip(&plan.load) {
        std::thread::sleep((begun + *at).saturating_duration_since(Instant::now()));
        let node = nodes.get(*origin as usize).ok_or("no such node")?;
        submitted.push(Instant::now());
        node.pool.publish(&Tx(transaction(number, case.seed)))?;
    }
    until(DEADLINE, || count.load(Ordering::Relaxed) >= pairs);
    let (cpu_after, bytes_after) = (cpu_seconds(), bytes_in(&nodes));
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
    let each = f64::from(u32::try_from(plan.load.len())? * case.nodes);
    Ok(Figures {
        latency_ms: Percentiles::of(&mut micros, missing).unwrap_or_default(),
        missing,
        wire_bytes: f64::from(u32::try_from(bytes_after - bytes)?) / each,
        cpu_us: cpu.zip(cpu_after).map(|(before, after)| (after - before) * 1e6 / each),
    })
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

/// Payload of datagrams received.
fn bytes_in(nodes: &[Running]) -> u64 {
    nodes.iter().map(|node| stats(node).stack.link.bytes_in).sum()
}

fn stats(node: &Running) -> weir::Stats {
    node.net.block_on(node.net.stats()).unwrap_or_default()
}

/// User and system time of this process, where the system tells (`/proc/self/stat`, fields 14 and 15, in hundredths).
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // the second is a name, which may hold anything
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    Some(f64::from(ticks.next()?.ok()? + ticks.next()?.ok()?) / 100.0)
}
