//! rust-libp2p on tokio: raw streams, request-response, gossipsub, ping.

use std::io;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, noise, ping, tcp, tls, yamux};

use crate::job::{Latencies, Over, Setup, Transfer};
use crate::machine::cpu_seconds;
use crate::process::serve_until_stdin_closes;
use crate::settings;
use crate::workload::calls::{CALL_BYTES, SHORT_BYTES, drive};

const UPLOAD: StreamProtocol = StreamProtocol::new("/bench/upload");
const CALL: StreamProtocol = StreamProtocol::new("/bench/call");
const SHORT: StreamProtocol = StreamProtocol::new("/bench/short");

/// A swarm: over QUIC with the windows of the other sides, over TCP with its defaults.
pub fn swarm<B: NetworkBehaviour>(
    over: Over,
    make: impl FnOnce(&libp2p::identity::Keypair) -> B,
) -> Swarm<B> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    macro_rules! finish {
        ($builder:expr) => {
            $builder
                .with_behaviour(|key| make(key))
                .unwrap_or_else(|never| match never {})
                .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
                .build()
        };
    }
    let nagle_off = || tcp::Config::default().nodelay(true);
    match over {
        Over::Quic => finish!(builder.with_quic_config(|mut config| {
            config.max_stream_data = settings::WINDOW;
            config.max_connection_data = settings::WINDOW;
            config.max_concurrent_stream_limit = 1024;
            config
        })),
        Over::Noise => {
            finish!(builder.with_tcp(nagle_off(), noise::Config::new, yamux::Config::default).expect("Noise"))
        }
        Over::Tls => {
            finish!(builder.with_tcp(nagle_off(), tls::Config::new, yamux::Config::default).expect("TLS"))
        }
    }
}

/// Listens on loopback and returns the address, peer id included.
pub async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>, over: Over) -> Multiaddr {
    let address = match over {
        Over::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        Over::Noise | Over::Tls => "/ip4/127.0.0.1/tcp/0",
    };
    swarm.listen_on(address.parse().expect("an address")).expect("listening");
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address.with_p2p(*swarm.local_peer_id()).expect("no other peer id");
        }
    }
}

/// Receives uploads, a one-byte receipt each.
pub async fn serve_upload(over: Over) {
    let mut swarm = swarm(over, |_| libp2p_stream::Behaviour::new());
    let address = listen(&mut swarm, over).await;
    let mut incoming = swarm.behaviour().new_control().accept(UPLOAD).expect("the only one");
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 256 << 10];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
                let _ = stream.write_all(&[1]).await;
                let _ = stream.close().await;
            });
        }
    });
    tokio::task::block_in_place(|| serve_until_stdin_closes(&address.to_string()));
}

/// Uploads `bytes` in writes of `write`.
pub async fn run_upload(over: Over, to: &str, bytes: u64, write: usize) -> Transfer {
    let mut swarm = swarm(over, |_| libp2p_stream::Behaviour::new());
    let peer = dial(&mut swarm, to).await;
    let mut control = swarm.behaviour().new_control();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    let mut stream = control.open_stream(peer, UPLOAD).await.expect("a stream");
    let buffer = vec![7_u8; write];
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut left = bytes;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(write).min(write);
        stream.write_all(&buffer[..len]).await.expect("written");
        left -= len as u64;
    }
    stream.close().await.expect("closed");
    let mut receipt = [0];
    stream.read_exact(&mut receipt).await.expect("a receipt");
    Transfer { seconds: begun.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu }
}

async fn dial<B: NetworkBehaviour>(swarm: &mut Swarm<B>, to: &str) -> libp2p::PeerId {
    swarm.dial(to.parse::<Multiaddr>().expect("an address")).expect("a dial");
    loop {
        if let SwarmEvent::ConnectionEstablished { peer_id, .. } = swarm.select_next_some().await {
            return peer_id;
        }
    }
}

/// 1 KiB each way, no framing: the substream's end is the message's.
#[derive(Clone, Default)]
pub struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: futures::AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io).await
    }
    async fn read_response<T: futures::AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io).await
    }
    async fn write_request<T: futures::AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&request).await
    }
    async fn write_response<T: futures::AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&response).await
    }
}

async fn read<T: futures::AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(CALL_BYTES);
    io.take(CALL_BYTES as u64).read_to_end(&mut out).await?;
    Ok(out)
}

fn caller(over: Over) -> Swarm<request_response::Behaviour<Codec>> {
    swarm(over, |_| {
        let config = request_response::Config::default().with_max_concurrent_streams(1024);
        request_response::Behaviour::with_codec(Codec, [(CALL, ProtocolSupport::Full)], config)
    })
}

/// Answers in a task of its own, as an application would.
pub async fn serve_call(over: Over) {
    let mut swarm = caller(over);
    let address = listen(&mut swarm, over).await;
    let (answers, mut answered) = tokio::sync::mpsc::channel(1024);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                event = swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(request_response::Event::Message {
                        message: request_response::Message::Request { request, channel, .. }, ..
                    }) = event {
                        let answers = answers.clone();
                        tokio::spawn(async move { let _ = answers.send((channel, request)).await; });
                    }
                }
                Some((channel, response)) = answered.recv() => {
                    let _ = swarm.behaviour_mut().send_response(channel, response);
                }
            }
        }
    });
    tokio::task::block_in_place(|| serve_until_stdin_closes(&address.to_string()));
}

/// Calls `calls` times with `at_once` in flight.
pub async fn run_call(over: Over, to: &str, calls: u64, at_once: u64) -> Latencies {
    let mut swarm = caller(over);
    let peer = dial(&mut swarm, to).await;
    let (asks, mut asked) = tokio::sync::mpsc::channel::<tokio::sync::oneshot::Sender<Vec<u8>>>(1024);
    tokio::spawn(async move {
        let mut waiting = std::collections::HashMap::new();
        loop {
            tokio::select! {
                event = swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(request_response::Event::Message {
                        message: request_response::Message::Response { request_id, response }, ..
                    }) = event
                        && let Some(waiter) = waiting.remove(&request_id)
                    {
                        let _: Result<(), Vec<u8>> = tokio::sync::oneshot::Sender::send(waiter, response);
                    }
                }
                Some(waiter) = asked.recv() => {
                    waiting.insert(swarm.behaviour_mut().send_request(&peer, vec![7; CALL_BYTES]), waiter);
                }
            }
        }
    });
    drive(calls, at_once, move || {
        let asks = asks.clone();
        async move {
            let (answer, answered) = tokio::sync::oneshot::channel();
            asks.send(answer).await.expect("the swarm runs");
            assert_eq!(answered.await.expect("an answer").len(), CALL_BYTES);
        }
    })
    .await
}

/// Connects and calls, once.
pub async fn run_setup(over: Over, to: &str) -> Setup {
    let mut swarm = caller(over);
    let begun = Instant::now();
    let peer = dial(&mut swarm, to).await;
    swarm.behaviour_mut().send_request(&peer, vec![7; CALL_BYTES]);
    loop {
        if let SwarmEvent::Behaviour(request_response::Event::Message {
            message: request_response::Message::Response { response, .. },
            ..
        }) = swarm.select_next_some().await
        {
            assert_eq!(response.len(), CALL_BYTES);
            return Setup { first_ms: begun.elapsed().as_secs_f64() * 1e3, again_ms: None };
        }
    }
}

/// Echoes short streams, each in a task of its own.
pub async fn serve_streams(over: Over) {
    let mut swarm = swarm(over, |_| libp2p_stream::Behaviour::new());
    let address = listen(&mut swarm, over).await;
    let mut incoming = swarm.behaviour().new_control().accept(SHORT).expect("the only one");
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            tokio::spawn(async move {
                let mut all = Vec::with_capacity(SHORT_BYTES);
                let _ = stream.read_to_end(&mut all).await;
                let _ = stream.write_all(&all).await;
                let _ = stream.close().await;
            });
        }
    });
    tokio::task::block_in_place(|| serve_until_stdin_closes(&address.to_string()));
}

/// Opens `count` streams, `at_once` at a time.
pub async fn run_streams(over: Over, to: &str, count: u64, at_once: u64) -> Latencies {
    let mut swarm = swarm(over, |_| libp2p_stream::Behaviour::new());
    let peer = dial(&mut swarm, to).await;
    let control = swarm.behaviour().new_control();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    drive(count, at_once, move || {
        let control = control.clone();
        async move { while !short(control.clone(), peer).await {} }
    })
    .await
}

/// One stream there and back. False where it was dropped: the acceptor of libp2p-stream takes one at a time and drops what comes meanwhile.
async fn short(mut control: libp2p_stream::Control, peer: libp2p::PeerId) -> bool {
    let mut all = Vec::with_capacity(SHORT_BYTES);
    let Ok(mut stream) = control.open_stream(peer, SHORT).await else { return false };
    stream.write_all(&[7; SHORT_BYTES]).await.is_ok()
        && stream.close().await.is_ok()
        && stream.read_to_end(&mut all).await.is_ok()
        && all.len() == SHORT_BYTES
}

/// Accepts links and keeps them idle.
pub async fn serve_idle(over: Over) {
    let mut swarm = swarm(over, |_| ping::Behaviour::default());
    let address = listen(&mut swarm, over).await;
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    tokio::task::block_in_place(|| serve_until_stdin_closes(&address.to_string()));
}

/// Holds `links` idle links, each from a swarm of its own, until standard input closes.
pub async fn run_idle(over: Over, to: &str, links: usize) {
    for _ in 0..links {
        let mut swarm = swarm(over, |_| ping::Behaviour::default());
        dial(&mut swarm, to).await;
        tokio::spawn(async move { while swarm.next().await.is_some() {} });
    }
    tokio::task::block_in_place(|| serve_until_stdin_closes("connected"));
}
