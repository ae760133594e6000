//! A process is killed (`SIGKILL`) at seeded moments, again and again, once as the producer and once as a follower, both under
//! load. After each kill its store opens and passes a full audit, nothing that it had said to be durable is lost, and no
//! height has a second block; then it goes on from there.
//!
//! A program of its own: `crashes child ROLE STORE ADDRESS` is the process that is killed. `WEIR_CRASHES` is how many kills
//! of each there are, 5 by default; the moments are drawn from `WEIR_SEED`, 1 by default.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test program

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use weir::{Keypair, Multiaddr, Network, NetworkId};
use weir_chain::chain::Chain;
use weir_chain::node::{What, declare};
use weir_chain::store::Store;
use weir_chain::{AccountId, ChainNode, Genesis, Options, SigningKey, Transfer, audit, hex};

/// Milliseconds between blocks.
const BLOCK_MS: u64 = 40;
/// How long a child may take until it tells of a block.
const PATIENCE: Duration = Duration::from_secs(60);
/// Accounts that sign the load.
const ACCOUNTS: u8 = 16;

fn producer() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn account(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[100 + number; 32])
}

fn genesis() -> Genesis {
    let balances = (0..ACCOUNTS).map(|number| (AccountId::of(&account(number)), 1 << 40)).collect();
    Genesis::new("crashes", AccountId::of(&producer()), BLOCK_MS, &balances).unwrap()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["child", role, store, address] = words[..] {
        return child(role, Path::new(store), address);
    }
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (crashes, seed) = (number("WEIR_CRASHES", 5), number("WEIR_SEED", 1));
    let folder = tempfile::tempdir().unwrap();
    crash(folder.path(), "producer", "", crashes, seed);
    let (node, address) = start(&folder.path().join("steady"), None, Some(producer()), None);
    load(&node);
    crash(folder.path(), "follower", &address, crashes, seed + 1);
    node.abort();
    println!(
        "{crashes} kills of a producer and of a follower (seed {seed}): nothing was lost, no height signed twice"
    );
}

/// A node in this process, on loopback.
fn start(
    store: &Path,
    dial: Option<&str>,
    producer: Option<SigningKey>,
    observer: Option<std::sync::mpsc::SyncSender<weir_chain::node::Observation>>,
) -> (ChainNode, String) {
    let genesis = genesis();
    let identity = if dial.is_some() { [11; 32] } else { [10; 32] };
    let mut builder =
        declare(Network::builder(Keypair::ed25519_from_seed(identity), NetworkId(genesis.id())))
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)));
    if let Some(address) = dial {
        builder = builder.peer(address);
    }
    let chain = Chain::open(genesis.clone(), Store::open(store, &genesis).unwrap()).unwrap();
    let (net, node, handles) = weir::start(builder).unwrap();
    let (_, socket) = net.addresses().iter().find_map(Multiaddr::socket_addr).unwrap();
    let address = Multiaddr::from_quic(socket).with_p2p(net.peer_id()).unwrap().to_string();
    let options = Options { producer, observer, listen_first: Duration::ZERO, ..Options::default() };
    let node = ChainNode::new((net, node, handles), chain, options);
    let runner = node.clone();
    std::thread::spawn(move || runner.network().clone().block_on(runner.run()).unwrap());
    (node, address)
}

/// Submits transfers without end.
fn load(node: &ChainNode) {
    let node = node.clone();
    std::thread::spawn(move || {
        let (net, id) = (node.network().clone(), genesis().id());
        for number in (0..ACCOUNTS).cycle() {
            let key = account(number);
            let mut nonce = node.account(&AccountId::of(&key)).nonce;
            let burst = nonce + 20;
            while nonce < burst {
                let payload = [number; 300];
                let transfer = Transfer::sign(
                    &key,
                    &id,
                    nonce,
                    (AccountId([nonce.to_le_bytes()[0]; 32]), 1),
                    1,
                    &payload,
                );
                let _ = net.block_on(node.submit(&transfer.unwrap())); // those of the last round may wait still
                nonce += 1;
            }
            if net.block_on(net.sleep(Duration::from_millis(2))).is_err() {
                return;
            }
        }
    });
}

/// The process that is killed: tells of each durable block on a line of its own.
fn child(role: &str, store: &Path, address: &str) {
    let (observer, observations) = sync_channel(1 << 16);
    let (node, _) = match role {
        "producer" => start(store, None, Some(producer()), Some(observer)),
        _ => start(store, Some(address), None, Some(observer)),
    };
    if role == "producer" {
        load(&node);
    }
    while let Ok(observation) = observations.recv() {
        if let What::Executed(hash, height, _) = observation.what {
            let mut out = std::io::stdout().lock();
            if writeln!(out, "{height} {}", hex(&hash)).and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    }
}

fn spawn(store: &Path, role: &str, address: &str) -> (Child, Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", role, store.to_str().unwrap(), address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (to, lines) = sync_channel(1 << 16);
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    (child, lines)
}

/// Kills a process of this role so many times.
fn crash(folder: &Path, role: &str, address: &str, crashes: u64, seed: u64) {
    let (store, scratch) = (folder.join(role), folder.join("scratch"));
    std::fs::create_dir_all(&scratch).unwrap();
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut told: BTreeMap<u64, String> = BTreeMap::new();
    let mut height = 0;
    for crash in 0..crashes {
        let (mut child, lines) = spawn(&store, role, address);
        let mut note = |line: String| {
            let (height, hash) = line.split_once(' ').unwrap();
            let before = told.insert(height.parse().unwrap(), hash.to_owned());
            assert!(before.is_none_or(|before| before == hash), "{role}: height {height} has two blocks");
        };
        // so many blocks, then a moment within a block's time
        for _ in 0..=draw(8) {
            note(lines.recv_timeout(PATIENCE).expect("the chain goes on"));
        }
        let moment = Duration::from_micros(draw(BLOCK_MS * 1000));
        if let Ok(line) = lines.recv_timeout(moment) {
            note(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.iter().for_each(&mut note);
        let found =
            audit::file(&store, &scratch).unwrap_or_else(|error| panic!("{role}, kill {crash}: {error}"));
        assert!(!found.closed, "{role}, kill {crash}: a process that was killed closes nothing");
        let store = Store::open(&store, &genesis()).unwrap();
        for (height, hash) in &told {
            let kept = store.hash_at(*height).unwrap().map(|kept| hex(&kept));
            assert_eq!(kept.as_ref(), Some(hash), "{role}, kill {crash}: block {height} is lost");
        }
        assert!(found.audit.head.height > height, "{role}: nothing came after kill {crash}");
        height = found.audit.head.height;
        if role == "producer" {
            assert_eq!(store.signed().unwrap(), height, "what is signed is in the chain");
        }
    }
}
