//! A rust-libp2p node, for Weir to talk to.
//!
//! - `rust-peer listen SECURITY`: prints `listening ADDRESS`, answers ping, identify and `/perf/1.0.0` until its input ends;
//! - `rust-peer ping SECURITY ADDRESS`, `rust-peer identify …`, `rust-peer perf …`: dials, prints `ok` and what it found, and ends
//!   with 0; or says what failed and ends with 1.
//!
//! SECURITY is `noise`, `tls` or `both`, over TCP with yamux; or `quic`, which is QUIC instead.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, tcp, tls, yamux,
};
use libp2p_stream::Control;

const PERF: StreamProtocol = StreamProtocol::new("/perf/1.0.0");
/// Bytes that the client of perf sends and asks for.
const BYTES: u64 = 16 * 1024 * 1024;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a connection may have no stream that counts.
const IDLE: Duration = Duration::from_secs(60);

type Failed = Box<dyn Error>;

#[derive(NetworkBehaviour)]
struct Behaviour {
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    stream: libp2p_stream::Behaviour,
}

fn swarm(security: &str) -> Result<Swarm<Behaviour>, Failed> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let options = tcp::Config::default().nodelay(true);
    let behaviour = |key: &libp2p::identity::Keypair| Behaviour {
        ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_millis(100))),
        identify: identify::Behaviour::new(identify::Config::new("/interop/1".into(), key.public())),
        stream: libp2p_stream::Behaviour::new(),
    };
    let idle = |config: libp2p::swarm::Config| config.with_idle_connection_timeout(IDLE);
    Ok(match security {
        "noise" => builder
            .with_tcp(options, noise::Config::new, yamux::Config::default)?
            .with_behaviour(behaviour)?
            .with_swarm_config(idle)
            .build(),
        "tls" => builder
            .with_tcp(options, tls::Config::new, yamux::Config::default)?
            .with_behaviour(behaviour)?
            .with_swarm_config(idle)
            .build(),
        "both" => builder
            .with_tcp(options, (tls::Config::new, noise::Config::new), yamux::Config::default)?
            .with_behaviour(behaviour)?
            .with_swarm_config(idle)
            .build(),
        "quic" => builder.with_quic().with_behaviour(behaviour)?.with_swarm_config(idle).build(),
        other => return Err(format!("no such security: {other}").into()),
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["listen", security] => listen(security).await,
        [what, security, address] => {
            let dialled = tokio::time::timeout(LIMIT, dial(what, security, address)).await;
            dialled.unwrap_or_else(|_| Err("took too long".into()))
        }
        _ => Err("listen SECURITY | ping SECURITY ADDRESS | identify … | perf …".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn listen(security: &str) -> Result<(), Failed> {
    let mut swarm = swarm(security)?;
    let mut control = swarm.behaviour().stream.new_control();
    let mut incoming = control.accept(PERF)?;
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tokio::spawn(async move {
                if let Err(error) = serve(stream).await {
                    eprintln!("perf: {error}");
                }
            });
        }
    });
    let address = if security == "quic" { "/ip4/127.0.0.1/udp/0/quic-v1" } else { "/ip4/127.0.0.1/tcp/0" };
    swarm.listen_on(address.parse()?)?;
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
            event = swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { address, .. } => {
                    println!("listening {address}/p2p/{}", swarm.local_peer_id());
                }
                SwarmEvent::IncomingConnectionError { error, .. } => eprintln!("incoming: {error}"),
                _ => {}
            }
        }
    }
}

async fn dial(what: &str, security: &str, address: &str) -> Result<(), Failed> {
    let mut swarm = swarm(security)?;
    let address: Multiaddr = address.parse()?;
    let control = swarm.behaviour().stream.new_control();
    swarm.dial(address)?;
    let mut pings = 0;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } if what == "perf" => {
                tokio::spawn(measure(control.clone(), peer_id));
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

/// Sends so many bytes, ends its direction, and reads as many back.
async fn measure(mut control: Control, peer: PeerId) {
    let exchange = async {
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
        if got == BYTES { Ok(()) } else { Err::<(), Failed>(format!("{got} bytes of {BYTES}").into()) }
    };
    let code = match exchange.await {
        Ok(()) => {
            println!("ok {BYTES} bytes each way");
            0
        }
        Err(error) => {
            eprintln!("perf: {error}");
            1
        }
    };
    std::process::exit(code);
}

/// The server's side of perf: all is read before anything is written.
async fn serve(mut stream: Stream) -> Result<(), Failed> {
    let mut size = [0; 8];
    stream.read_exact(&mut size).await?;
    let mut memory = vec![0; 65_536];
    while stream.read(&mut memory).await? > 0 {}
    let mut left = u64::from_be_bytes(size);
    while left > 0 {
        let len = left.min(memory.len() as u64);
        stream.write_all(&memory[..usize::try_from(len)?]).await?;
        left -= len;
    }
    stream.close().await?;
    Ok(())
}
