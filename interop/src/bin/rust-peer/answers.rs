//! The listener's ends of the protocols that are not libp2p's own: each stream is a task. (The ready-made handler of incoming streams,
//! `libp2p_stream`'s, drops streams that come faster than one at a time is taken.)

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

use crate::{ECHO, PERF, RESET, told};

/// What the last reset of a stream of `/interop/reset/1` looked like.
type Seen = Arc<Mutex<&'static str>>;

/// Answers perf, echo and reset on every connection.
pub struct Behaviour {
    seen: Seen,
}

impl Behaviour {
    pub fn new() -> Self {
        Self { seen: Arc::new(Mutex::new("nothing")) }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler { seen: Arc::clone(&self.seen) })
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler { seen: Arc::clone(&self.seen) })
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
    seen: Seen,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Names;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Names> {
        SubstreamProtocol::new(Names, ())
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
            tokio::spawn(answer(stream, name, Arc::clone(&self.seen)));
        }
    }
}

/// All that is answered.
pub struct Names;

impl UpgradeInfo for Names {
    type Info = StreamProtocol;
    type InfoIter = std::array::IntoIter<StreamProtocol, 3>;

    fn protocol_info(&self) -> Self::InfoIter {
        [PERF, ECHO, RESET].into_iter()
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

async fn answer(stream: Stream, name: StreamProtocol, seen: Seen) {
    let done = match name.as_ref() {
        "/perf/1.0.0" => perf(stream).await,
        "/interop/echo/1" => echo(stream).await,
        _ => reset(stream, &seen).await,
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
