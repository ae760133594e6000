//! A rust-libp2p node, for Weir to talk to.
//!
//! - `rust-peer listen STACK [large]`: prints `listening ADDRESS`, answers ping, identify, `/perf/1.0.0`, `/interop/echo/1`,
//!   `/interop/pattern/1`, `/interop/reset/1` and `/interop/identify/1` until its input ends;
//! - `rust-peer ping STACK ADDRESS`, `rust-peer identify …`, `rust-peer perf …`: dials, prints `ok` and what it found, and ends
//!   with 0; or says what failed and ends with 1; where another peer is there than the address names, prints `another peer` and ends
//!   with 3;
//! - `rust-peer echo|streams|reset|idle|hold|push|large STACK ADDRESS`: as Weir's example `interop` (`crates/cli/examples/interop.rs`).
//!
//! STACK is `noise`, `tls` or `both`, over TCP with yamux; `mplex`, which is Noise and mplex; `pnet`, a private network with Noise and
//! yamux; or `quic`, which is QUIC instead.

mod answers;
mod pattern;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, TryStreamExt};
use libp2p::core::Transport as _;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::swarm::{DialError, NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, tcp, tls, yamux,
};
use libp2p_stream::Control;
use tokio::sync::mpsc::{Receiver, channel};

use answers::{Known, Learned};

const PERF: StreamProtocol = StreamProtocol::new("/perf/1.0.0");
/// Bytes that the client of perf sends and asks for.
const BYTES: u64 = 16 * 1024 * 1024;
const ECHO: StreamProtocol = StreamProtocol::new("/interop/echo/1");
const RESET: StreamProtocol = StreamProtocol::new("/interop/reset/1");
const IDENTIFY: StreamProtocol = StreamProtocol::new("/interop/identify/1");
/// What long names begin with.
const LONG: &str = "/interop/long/";
/// The address that each side pushes.
const PUSHED: &str = "/ip4/127.0.0.1/tcp/7777";
/// Streams of a run where nothing else is said, how many at once, and the bytes that each carries each way.
const COUNT: u32 = 1_000;
const AT_ONCE: usize = 32;
const PAYLOAD: usize = 1_000;
/// The code that the listener shall reset with.
const CODE: u32 = 7;
/// Questions for what the other side saw or learned, 100 ms apart.
const QUESTIONS: u32 = 100;
/// How long all of it may take, and how long where it is idle.
const LIMIT: Duration = Duration::from_secs(60);
const PATIENT: Duration = Duration::from_secs(90);
/// How long nothing is done.
const PAUSE: Duration = Duration::from_secs(60);
/// How long a connection may have no stream that counts.
const IDLE: Duration = Duration::from_secs(120);
/// Between two pings of a node that only pings, which must be quick, and of others.
const QUICK: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_secs(15);

/// The key of the private network.
const KEY: [u8; 32] = [0x57; 32];

/// What is printed, and the code at the end, where another peer is there than the address names: no crash looks so.
const OTHER_PEER: (&str, u8) = ("another peer", 3);

type Failed = Box<dyn Error>;
/// Why a transport cannot be made.
type Unusable = Box<dyn Error + Send + Sync>;

#[derive(NetworkBehaviour)]
struct Behaviour {
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    stream: libp2p_stream::Behaviour,
    answers: answers::Behaviour,
}

/// A node, what its answers know, and whom it is to push to.
struct Node {
    swarm: Swarm<Behaviour>,
    known: Arc<Known>,
    pushes: Receiver<PeerId>,
}

impl Node {
    fn new(stack: &str, pings: Duration, large: bool) -> Result<Self, Failed> {
        let (push, pushes) = channel(1);
        let known = Known::new(push, large);
        Ok(Self { swarm: swarm(stack, pings, &known)?, known, pushes })
    }

    /// The next event, those of identify noted, and pushes done meanwhile.
    async fn next(&mut self) -> SwarmEvent<BehaviourEvent> {
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) = &event {
                        self.known.note(*peer_id, &info.protocols, &info.listen_addrs);
                    }
                    return event;
                }
                Some(peer) = self.pushes.recv() => {
                    if let Ok(address) = PUSHED.parse() {
                        self.swarm.add_external_address(address);
                    }
                    self.swarm.behaviour_mut().identify.push([peer]);
                }
            }
        }
    }
}

fn swarm(stack: &str, pings: Duration, known: &Arc<Known>) -> Result<Swarm<Behaviour>, Failed> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let options = tcp::Config::default().nodelay(true);
    let behaviour = |key: &Keypair| Behaviour {
        ping: ping::Behaviour::new(ping::Config::new().with_interval(pings)),
        identify: identify::Behaviour::new(identify::Config::new("/interop/1".into(), key.public())),
        stream: libp2p_stream::Behaviour::new(),
        answers: answers::Behaviour::new(Arc::clone(known)),
    };
    let idle = |config: libp2p::swarm::Config| config.with_idle_connection_timeout(IDLE);
    // Each of these is a type of its own.
    macro_rules! built {
        ($builder:expr) => {
            $builder.with_behaviour(behaviour)?.with_swarm_config(idle).build()
        };
    }
    let muxer = yamux::Config::default;
    Ok(match stack {
        "noise" => built!(builder.with_tcp(options, noise::Config::new, muxer)?),
        "tls" => built!(builder.with_tcp(options, tls::Config::new, muxer)?),
        "both" => built!(builder.with_tcp(options, (tls::Config::new, noise::Config::new), muxer)?),
        "mplex" => built!(builder.with_other_transport(|key| {
            let security = noise::Config::new(key)?;
            let socket = tcp::tokio::Transport::new(options).upgrade(Version::V1);
            Ok::<_, Unusable>(socket.authenticate(security).multiplex(libp2p_mplex::Config::new()))
        })?),
        "pnet" => built!(builder.with_other_transport(|key| {
            let private = PnetConfig::new(PreSharedKey::new(KEY));
            let security = noise::Config::new(key)?;
            let socket = tcp::tokio::Transport::new(options)
                .and_then(move |socket, _| private.handshake(socket))
                .upgrade(Version::V1);
            Ok::<_, Unusable>(socket.authenticate(security).multiplex(muxer()))
        })?),
        "quic" => built!(builder.with_quic()),
        other => return Err(format!("no such stack: {other}").into()),
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["listen", stack] => listen(stack, false).await,
        ["listen", stack, "large"] => listen(stack, true).await,
        ["hold", stack, address] => dial("hold", stack, address, COUNT).await,
        [what, stack, address, ref rest @ ..] => {
            let count = rest.first().and_then(|count| count.parse().ok()).unwrap_or(COUNT);
            // Over mplex, what a dropped stream has to say goes out with the next ping.
            let limit = if matches!(what, "echo" | "idle" | "reset") { PATIENT } else { LIMIT };
            let dialled = tokio::time::timeout(limit, dial(what, stack, address, count)).await;
            dialled.unwrap_or_else(|_| Err("took too long".into()))
        }
        _ => Err("listen STACK [large] | ping|identify|perf|echo|streams|reset|idle|hold|push|large STACK ADDRESS [COUNT]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            if !matches!(error.downcast_ref(), Some(DialError::WrongPeerId { .. })) {
                return ExitCode::FAILURE;
            }
            println!("{}", OTHER_PEER.0);
            ExitCode::from(OTHER_PEER.1)
        }
    }
}

async fn listen(stack: &str, large: bool) -> Result<(), Failed> {
    let mut node = Node::new(stack, SLOW, large)?;
    let address = if stack == "quic" { "/ip4/127.0.0.1/udp/0/quic-v1" } else { "/ip4/127.0.0.1/tcp/0" };
    node.swarm.listen_on(address.parse()?)?;
    let own = *node.swarm.local_peer_id();
    // Whoever started this ends it by closing its input.
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let mut end = end;
    loop {
        tokio::select! {
            _ = &mut end => return Ok(()),
            event = node.next() => match event {
                SwarmEvent::NewListenAddr { address, .. } => println!("listening {address}/p2p/{own}"),
                SwarmEvent::IncomingConnectionError { error, .. } => eprintln!("incoming: {error}"),
                _ => {}
            }
        }
    }
}

async fn dial(what: &str, stack: &str, address: &str, count: u32) -> Result<(), Failed> {
    let mut node = Node::new(stack, if what == "ping" { QUICK } else { SLOW }, what == "large")?;
    let address: Multiaddr = address.parse()?;
    let control = node.swarm.behaviour().stream.new_control();
    node.swarm.dial(address)?;
    let mut pings = 0;
    loop {
        match node.next().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                let known = Arc::clone(&node.known);
                tokio::spawn(work(what.to_owned(), control.clone(), peer_id, count, known));
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            SwarmEvent::ConnectionClosed { cause, .. } => return Err(format!("closed: {cause:?}").into()),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) if what == "ping" => {
                let rtt = event.result?;
                pings += 1;
                if pings == 3 {
                    println!("ok {rtt:?}");
                    return Ok(());
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { info, .. }))
                if what == "identify" =>
            {
                println!(
                    "ok {} {} {:?} {}",
                    info.agent_version, info.protocol_version, info.protocols, info.observed_addr
                );
                return Ok(());
            }
            _ => {}
        }
    }
}

/// Does what it takes streams of its own for, and ends the program. What its behaviours do by themselves is not its own.
async fn work(what: String, mut control: Control, peer: PeerId, count: u32, known: Arc<Known>) {
    let done = match what.as_str() {
        "perf" => measure(&mut control, peer).await,
        "echo" => pattern::echo(&mut control, peer).await,
        "streams" => many(&control, peer, count).await,
        "reset" => both_resets(&mut control, peer).await,
        "idle" => idle(&mut control, peer).await,
        "push" => both_push(&mut control, peer, &known).await,
        "large" => both_are_large(&mut control, peer, &known).await,
        "hold" => {
            let echoed = one(&mut control, peer, 0).await;
            if echoed.is_ok() {
                println!("holding");
                return;
            }
            echoed
        }
        _ => return,
    };
    if let Err(error) = &done {
        eprintln!("{what}: {error}");
    }
    std::process::exit(i32::from(done.is_err()));
}

/// Sends so many bytes, ends its direction, and reads as many back.
async fn measure(control: &mut Control, peer: PeerId) -> Result<(), Failed> {
    let mut stream = control.open_stream(peer, PERF).await?;
    stream.write_all(&BYTES.to_be_bytes()).await?;
    let piece = vec![0; 65_536];
    for _ in 0..BYTES / piece.len() as u64 {
        stream.write_all(&piece).await?;
    }
    stream.close().await?;
    let mut got = 0;
    let mut memory = vec![0; 65_536];
    loop {
        match stream.read(&mut memory).await? {
            0 => break,
            len => got += len as u64,
        }
    }
    if got != BYTES {
        return Err(format!("{got} bytes of {BYTES}").into());
    }
    println!("ok {BYTES} bytes each way");
    Ok(())
}

/// One echo: a payload, the end of this direction, and the same back.
async fn one(control: &mut Control, peer: PeerId, number: u32) -> Result<(), Failed> {
    let mut stream = control.open_stream(peer, ECHO).await?;
    let mut sent = number.to_be_bytes().to_vec();
    sent.resize(PAYLOAD, b'.');
    stream.write_all(&sent).await?;
    stream.close().await?;
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await?;
    if got == sent { Ok(()) } else { Err(format!("stream {number}: {} bytes came back", got.len()).into()) }
}

async fn many(control: &Control, peer: PeerId, count: u32) -> Result<(), Failed> {
    let numbers = futures::stream::iter((0..count).map(Ok));
    numbers
        .try_for_each_concurrent(AT_ONCE, |number| {
            let mut control = control.clone();
            async move { one(&mut control, peer, number).await }
        })
        .await
}

async fn idle(control: &mut Control, peer: PeerId) -> Result<(), Failed> {
    one(control, peer, 0).await?;
    tokio::time::sleep(PAUSE).await;
    one(control, peer, 1).await
}

/// Prints how the listener's reset looks from here, and this side's from there. rust-libp2p has no codes: a stream is reset by
/// dropping it.
async fn both_resets(control: &mut Control, peer: PeerId) -> Result<(), Failed> {
    let mut stream = control.open_stream(peer, RESET).await?;
    stream.write_all(&word(0, CODE)).await?;
    let by = told(&mut stream).await;
    let mut stream = control.open_stream(peer, RESET).await?;
    stream.write_all(&word(1, 0)).await?;
    stream.read_exact(&mut [0]).await?;
    drop(stream);
    for _ in 0..QUESTIONS {
        let mut stream = control.open_stream(peer, RESET).await?;
        stream.write_all(&word(2, 0)).await?;
        stream.close().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        if text != "nothing" {
            println!("{by} {text}");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the listener saw no reset".into())
}

/// What the listener answers on `/interop/identify/1`.
async fn asked(control: &mut Control, peer: PeerId, what: u8) -> Result<String, Failed> {
    let mut stream = control.open_stream(peer, IDENTIFY).await?;
    stream.write_all(&[what]).await?;
    stream.close().await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// The first answer that is not this.
async fn asked_until(control: &mut Control, peer: PeerId, what: u8, not: &str) -> Result<String, Failed> {
    for _ in 0..QUESTIONS {
        let text = asked(control, peer, what).await?;
        if text != not {
            return Ok(text);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the listener has not learned it".into())
}

/// Waits until enough was learned of the peer by identify.
async fn learn(known: &Known, peer: PeerId, enough: fn(&Learned) -> bool) -> Result<Learned, Failed> {
    for _ in 0..QUESTIONS {
        let learned = known.learned(peer);
        if enough(&learned) {
            return Ok(learned);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("nothing of that was told".into())
}

/// Each side pushes a further address, and learns it of the other.
async fn both_push(control: &mut Control, peer: PeerId, known: &Known) -> Result<(), Failed> {
    asked(control, peer, 0).await?;
    learn(known, peer, |learned| learned.pushed).await?;
    known.push(peer).await;
    asked_until(control, peer, 1, "no").await?;
    Ok(())
}

/// Prints how many long names this side has learned, and the listener.
async fn both_are_large(control: &mut Control, peer: PeerId, known: &Known) -> Result<(), Failed> {
    let learned = learn(known, peer, |learned| learned.long_names > 0).await?;
    println!("{} {}", learned.long_names, asked_until(control, peer, 2, "0").await?);
    Ok(())
}

fn word(what: u8, code: u32) -> [u8; 5] {
    let [a, b, c, d] = code.to_be_bytes();
    [what, a, b, c, d]
}

/// How a stream ends.
async fn told(stream: &mut Stream) -> &'static str {
    let mut memory = [0; 64];
    loop {
        match stream.read(&mut memory).await {
            Ok(0) => return "ended",
            Ok(_) => {}
            Err(_) => return "reset",
        }
    }
}
