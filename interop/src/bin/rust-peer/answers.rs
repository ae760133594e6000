//! The listener's ends of the protocols that are not libp2p's own: each stream is a task. (The ready-made handler of incoming streams,
//! `libp2p_stream`'s, drops streams that come faster than one at a time is taken.)

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{DeniedUpgrade, InboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    SubstreamProtocol, THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use tokio::sync::mpsc::Sender;

use crate::pattern::{self, PATTERN};
use crate::{ECHO, IDENTIFY, LONG, PERF, PUSHED, RESET, told};

/// Long names of a node that has them.
const LONG_NAMES: usize = 80;
/// Bytes of a long name.
const LONG_BYTES: usize = 80;

/// What a node has learned of a peer by identify.
#[derive(Clone, Copy, Default)]
pub struct Learned {
    pub pushed: bool,
    pub long_names: usize,
}

/// What the answers know.
pub struct Known {
    /// What the last reset of a stream of `/interop/reset/1` looked like.
    seen: Mutex<&'static str>,
    learned: Mutex<BTreeMap<PeerId, Learned>>,
    /// Peers that want to be pushed to.
    pushes: Sender<PeerId>,
    names: Vec<StreamProtocol>,
}

impl Known {
    pub fn new(pushes: Sender<PeerId>, large: bool) -> Arc<Self> {
        let mut names = vec![PERF, ECHO, PATTERN, RESET, IDENTIFY];
        let long = |number| format!("{LONG}{number:03}/{:x<width$}", "", width = LONG_BYTES - LONG.len() - 4);
        let count = if large { LONG_NAMES } else { 0 };
        names.extend((0..count).filter_map(|number| StreamProtocol::try_from_owned(long(number)).ok()));
        Arc::new(Self { seen: Mutex::new("nothing"), learned: Mutex::new(BTreeMap::new()), pushes, names })
    }

    /// A peer said this by identify.
    pub fn note(&self, peer: PeerId, names: &[StreamProtocol], addresses: &[Multiaddr]) {
        let mut learned = self.learned.lock().unwrap();
        let of_peer = learned.entry(peer).or_default();
        of_peer.pushed |= addresses.iter().any(|address| address.to_string() == PUSHED);
        let long = names.iter().filter(|name| name.as_ref().starts_with(LONG)).count();
        of_peer.long_names = of_peer.long_names.max(long);
    }

    pub fn learned(&self, peer: PeerId) -> Learned {
        self.learned.lock().unwrap().get(&peer).copied().unwrap_or_default()
    }

    pub async fn push(&self, peer: PeerId) {
        let _ = self.pushes.send(peer).await; // the node ends where nobody listens
    }
}

/// Answers perf, both echoes, reset and identify on every connection.
pub struct Behaviour {
    known: Arc<Known>,
}

impl Behaviour {
    pub fn new(known: Arc<Known>) -> Self {
        Self { known }
    }

    fn handler(&self, peer: PeerId) -> Handler {
        Handler { known: Arc::clone(&self.known), peer }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// Of one connection.
pub struct Handler {
    known: Arc<Known>,
    peer: PeerId,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Names;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Names> {
        SubstreamProtocol::new(Names(self.known.names.clone()), ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Names, DeniedUpgrade>) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) = event {
            let (stream, name) = protocol;
            tokio::spawn(answer(stream, name, Arc::clone(&self.known), self.peer));
        }
    }
}

/// All that is answered.
pub struct Names(Vec<StreamProtocol>);

impl UpgradeInfo for Names {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Names {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

async fn answer(stream: Stream, name: StreamProtocol, known: Arc<Known>, peer: PeerId) {
    let done = match name.as_ref() {
        "/perf/1.0.0" => perf(stream).await,
        "/interop/echo/1" => echo(stream).await,
        "/interop/pattern/1" => pattern::answer(stream).await,
        "/interop/reset/1" => reset(stream, &known.seen).await,
        "/interop/identify/1" => tell(stream, &known, peer).await,
        _ => Ok(()), // a long name is there to be told
    };
    if let Err(error) = done {
        eprintln!("{name}: {error}");
    }
}

/// The server's side of perf: all is read before anything is written.
async fn perf(mut stream: Stream) -> io::Result<()> {
    let mut size = [0; 8];
    stream.read_exact(&mut size).await?;
    let mut memory = vec![0; 65_536];
    while stream.read(&mut memory).await? > 0 {}
    let mut left = u64::from_be_bytes(size);
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(memory.len());
        stream.write_all(&memory[..len]).await?;
        left -= len as u64;
    }
    stream.close().await
}

/// Returns what comes, and ends when it ends.
async fn echo(mut stream: Stream) -> io::Result<()> {
    let mut memory = vec![0; 65_536];
    loop {
        match stream.read(&mut memory).await? {
            0 => return stream.close().await,
            len => stream.write_all(&memory[..len]).await?,
        }
    }
}

/// The listener's end of `/interop/reset/1`. A stream is reset by dropping it.
async fn reset(mut stream: Stream, seen: &Mutex<&'static str>) -> io::Result<()> {
    let mut word = [0; 5];
    stream.read_exact(&mut word).await?;
    match word[0] {
        0 => {}
        1 => {
            stream.write_all(b"!").await?;
            let end = told(&mut stream).await;
            *seen.lock().unwrap() = end;
        }
        _ => {
            let text = *seen.lock().unwrap();
            stream.write_all(text.as_bytes()).await?;
            stream.close().await?;
        }
    }
    Ok(())
}

/// The listener's end of `/interop/identify/1`.
async fn tell(mut stream: Stream, known: &Known, peer: PeerId) -> io::Result<()> {
    let mut word = [0];
    stream.read_exact(&mut word).await?;
    let learned = known.learned(peer);
    let text = match word[0] {
        0 => {
            known.push(peer).await;
            "!".to_owned()
        }
        1 => if learned.pushed { "yes" } else { "no" }.to_owned(),
        _ => learned.long_names.to_string(),
    };
    stream.write_all(text.as_bytes()).await?;
    stream.close().await
}
