//! Weir through its public handles, on multi-thread tokio, as its users write it.

use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use weir::config::Security;
use weir::{Builder, Bytes, Config, Keypair, Method, Multiaddr, Network, NetworkId, Node, PeerId, Raw};

use crate::job::{Latencies, Over, Setup, Transfer};
use crate::machine::cpu_seconds;
use crate::process::serve_until_stdin_closes;
use crate::settings;
use crate::workload::calls::{CALL_BYTES, SHORT_BYTES, drive};

const UPLOAD: Raw = Raw::new(1, "upload");
const ECHO: Method<Bytes, Bytes> = Method::new(2, "echo")
    .max_request(CALL_BYTES as u32)
    .max_response(CALL_BYTES as u32)
    .concurrency(1024)
    .replay_safe();
const SHORT: Raw = Raw::new(3, "short");

/// The limits of the other sides, where they are not the defaults: windows and socket buffers.
pub fn config(over: Over) -> Config {
    let mut config = secured(over);
    config.node.streams.window = settings::WINDOW.into();
    config.node.budget.max_raw = settings::WINDOW.into();
    config.node.budget.max_send = settings::WINDOW.into();
    config.node.streams.max_inbound = 1024;
    config.sockets.send_buffer = u32::try_from(settings::SOCKET_BUFFER).expect("megabytes");
    config.sockets.receive_buffer = config.sockets.send_buffer;
    config
}

/// The defaults, and of the ways to secure TCP one.
fn secured(over: Over) -> Config {
    let mut config = Config::default();
    config.node.tcp.security = match over {
        Over::Quic => Vec::new(),
        Over::Noise => vec![Security::Noise],
        Over::Tls => vec![Security::Tls],
    };
    config
}

/// A node with a new key on loopback; declare its channels, then start it.
pub fn builder(config: Config, over: Over) -> Builder {
    let listen = match over {
        Over::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        Over::Noise | Over::Tls => "/ip4/127.0.0.1/tcp/0",
    };
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).expect("randomness");
    Network::builder(Keypair::ed25519_from_seed(secret), NetworkId([7; 32])).config(config).listen(listen)
}

fn start<H>(builder: Builder<H>) -> (Network, Node, H) {
    Host::Thread.start(builder)
}

/// Who drives a node.
#[derive(Clone, Copy, Debug)]
pub enum Host {
    /// A network thread of its own.
    Thread,
    /// A task of the application's runtime.
    Task,
}

impl Host {
    fn start<H>(self, builder: Builder<H>) -> (Network, Node, H) {
        match self {
            Self::Thread => weir::start(builder).expect("a node"),
            Self::Task => super::weir_loop::start(builder),
        }
    }
}

/// Where `net` listens.
pub fn address(net: &Network) -> String {
    net.addresses().first().expect("a listener").to_string()
}

/// Receives uploads, a one-byte receipt each.
pub async fn serve_upload(over: Over) {
    let (net, node, streams) = start(builder(config(over), over).channels(UPLOAD));
    tokio::spawn(async move {
        while let Some(mut stream) = streams.next().await {
            tokio::spawn(async move {
                while let Ok(Some(_)) = stream.read_chunk().await {}
                let _ = stream.write_all(&[1]).await;
                stream.finish();
                let _ = stream.read_chunk().await;
            });
        }
    });
    tokio::task::block_in_place(|| serve_until_stdin_closes(&address(&net)));
    drop(node);
}

/// Uploads `bytes` in writes of `write`.
pub async fn run_upload(over: Over, to: &str, bytes: u64, write: usize) -> Transfer {
    let (net, _node, uploads) = start(builder(config(over), over).channels(UPLOAD));
    let peer = net.connect(to).await.expect("connected");
    let mut stream = uploads.open(peer).await.expect("a stream");
    let buffer = vec![7_u8; write];
    let (begun, cpu) = (std::time::Instant::now(), cpu_seconds());
    let mut left = bytes;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(write).min(write);
        stream.write_all(&buffer[..len]).await.expect("written");
        left -= len as u64;
    }
    stream.finish();
    let mut receipt = [0];
    stream.read_exact(&mut receipt).await.expect("a receipt");
    Transfer { seconds: begun.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu }
}

/// Answers in a task of its own.
pub async fn serve_call(host: Host, over: Over, config: Config) {
    let (net, node, requests) = host.start(builder(config, over).channels(ECHO.serve()));
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            request.answer(request.query().clone());
        }
    });
    tokio::task::block_in_place(|| serve_until_stdin_closes(&address(&net)));
    drop(node);
}

/// Calls `calls` times with `at_once` in flight.
pub async fn run_call(host: Host, config: Config, to: &str, calls: u64, at_once: u64) -> Latencies {
    let (net, _node, echo) = host.start(builder(config, Over::Quic).channels(ECHO));
    let peer = net.connect(to).await.expect("connected");
    drive(calls, at_once, move || {
        let echo = echo.clone();
        async move {
            let request = Bytes::from_static(&[7; CALL_BYTES]);
            let answer = echo.call(peer, request).await.expect("an answer");
            assert_eq!(answer.len(), CALL_BYTES);
        }
    })
    .await
}

/// Connects and calls at once, leaves, and does so again.
pub async fn run_setup(over: Over, to: &str) -> Setup {
    let (net, _node, echo) = start(builder(config(over), over).channels(ECHO));
    let peer: PeerId = to.parse().ok().and_then(|to: Multiaddr| to.peer_id()).expect("whom to expect");
    let answered = async || {
        let begun = std::time::Instant::now();
        let request = Bytes::from_static(&[7; CALL_BYTES]);
        let (connected, answer) = tokio::join!(net.connect(to), echo.call(peer, request));
        connected.expect("connected");
        assert_eq!(answer.expect("an answer").len(), CALL_BYTES);
        begun.elapsed().as_secs_f64() * 1e3
    };
    let first_ms = answered().await;
    let events = net.events();
    net.peers().disconnect(peer).await.expect("said goodbye");
    while !matches!(events.next().await.expect("it runs"), weir::Event::PeerDown { .. }) {}
    Setup { first_ms, again_ms: Some(answered().await) }
}

/// Echoes short streams, each in a task of its own.
pub async fn serve_streams(over: Over) {
    let (net, node, streams) = start(builder(config(over), over).channels(SHORT));
    tokio::spawn(async move {
        while let Some(mut stream) = streams.next().await {
            tokio::spawn(async move {
                while let Ok(Some(chunk)) = stream.read_chunk().await {
                    let _ = stream.write_bytes(chunk).await;
                }
                stream.finish();
            });
        }
    });
    tokio::task::block_in_place(|| serve_until_stdin_closes(&address(&net)));
    drop(node);
}

/// Opens `count` streams, `at_once` at a time.
pub async fn run_streams(over: Over, to: &str, count: u64, at_once: u64) -> Latencies {
    let (net, _node, streams) = start(builder(config(over), over).channels(SHORT));
    let peer = net.connect(to).await.expect("connected");
    let streams = std::sync::Arc::new(streams);
    drive(count, at_once, move || {
        let streams = streams.clone();
        async move {
            let mut stream = streams.open(peer).await.expect("a stream");
            stream.write_bytes(Bytes::from_static(&[7; SHORT_BYTES])).await.expect("written");
            stream.finish();
            let mut read = 0;
            while let Some(chunk) = stream.read_chunk().await.expect("an echo") {
                read += chunk.len();
            }
            assert_eq!(read, SHORT_BYTES);
        }
    })
    .await
}

/// Default limits but for the number of links.
fn crowded(links: u32, over: Over) -> Config {
    let mut config = secured(over);
    config.node.admission.max_links = links + 64;
    config.node.admission.max_inbound = links;
    config
}

/// Accepts links and keeps them idle.
pub async fn serve_idle(over: Over) {
    let (net, node, _) = start(builder(crowded(512, over), over).channels(ECHO));
    tokio::task::block_in_place(|| serve_until_stdin_closes(&address(&net)));
    drop(node);
}

/// Holds `links` idle links, each from a node of its own, until standard input closes.
pub async fn run_idle(over: Over, to: &str, links: usize) {
    let mut held = Vec::new();
    for _ in 0..links {
        let (net, node, _) = start(builder(secured(over), over).channels(ECHO));
        net.connect(to).await.expect("connected");
        held.push((net, node));
    }
    tokio::task::block_in_place(|| serve_until_stdin_closes("connected"));
    let goodbyes = held.into_iter().map(|(_, node)| node.shutdown(Duration::from_secs(1)));
    futures::future::join_all(goodbyes).await;
}
