//! A host of one's own: two nodes that a loop of this program drives, on its own clock, over frames that it carries as bytes.
//! No socket, no thread, no simulator: what a browser, a kernel or another language would do, against `weir::host` alone.
//!
//! `cargo run -p weir-net --no-default-features --example own_host`
#![allow(clippy::print_stdout)]

use std::collections::VecDeque;
use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use weir::codec::Reader;
use weir::host::{
    Action, Core, FRAME_MAX, Frame, Group, Host, Input, Setup, Start, WireChange, WireId, assemble,
};
use weir::{Bytes, Instant, Keypair, Method, Multiaddr, Network, NetworkId, PeerId, UnixTime};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SQUARE: Method<u64, u64> = Method::new(5, "square");

/// The one wire of this program, by the same number at both ends.
const WIRE: WireId = WireId(1);

/// What handles ask of the loop: the time. The loop looks at each node in every round, so nobody has to wake it.
#[derive(Debug)]
struct Ticks(Arc<AtomicU64>);

impl Host for Ticks {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn wake(&self) {}

    fn block_on(&self, _: Pin<&mut dyn Future<Output = ()>>) {
        panic!("this program polls its futures between two rounds");
    }
}

/// A node, and what is on its way to it.
struct Driven {
    core: Core,
    id: PeerId,
    arriving: VecDeque<Vec<u8>>,
}

/// The host: two nodes and the time.
struct Lab {
    nodes: [Driven; 2],
    ticks: Arc<AtomicU64>,
}

impl Lab {
    /// One round: each node takes what has arrived, does its work, and gives what it has to send.
    fn round(&mut self) -> Outcome<()> {
        let now = Instant::from_millis(self.ticks.fetch_add(1, Ordering::Relaxed) + 1);
        for here in [0, 1] {
            while let Some(bytes) = self.nodes[here].arriving.pop_front() {
                let body = Bytes::copy_from_slice(Reader::new(&bytes).prefixed(FRAME_MAX)?);
                if let Some(frame) = Frame::decode(&body)? {
                    self.nodes[here].core.handle(now, Input::Frame(WIRE, frame));
                }
            }
            self.nodes[here].core.commands(now, usize::MAX);
            self.nodes[here].core.handle_timeout(now);
            while self.nodes[here].core.settle(now) | self.act(now, here) | self.send(now, here) {}
        }
        Ok(())
    }

    /// Carries out what a node asks for: here, connecting the wire.
    fn act(&mut self, now: Instant, here: usize) -> bool {
        let mut any = false;
        while let Some(action) = self.nodes[here].core.poll_action() {
            any = true;
            let (ours, theirs) = (self.nodes[here].id, self.nodes[1 - here].id);
            match action {
                Action::DialWire { dial, .. } => {
                    for (node, peer, dialled) in [(here, theirs, Some(dial)), (1 - here, ours, None)] {
                        let opened = WireChange::Opened { peer, dialled, group: Group::Local(0) };
                        self.nodes[node].core.handle(now, Input::Wire(WIRE, opened));
                    }
                }
                Action::CloseWire(_) => {
                    self.nodes[1 - here].core.handle(now, Input::Wire(WIRE, WireChange::Closed));
                }
                other => println!("not for this host: {other:?}"),
            }
        }
        any
    }

    /// Puts what a node has to send on the way to the other one.
    fn send(&mut self, now: Instant, here: usize) -> bool {
        let mut any = false;
        while let Some((_, frame)) = self.nodes[here].core.stack().poll_frame(now) {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            self.nodes[1 - here].arriving.push_back(bytes);
            any = true;
        }
        any
    }
}

/// Builds a node for this host: the part to be driven, and what its application holds.
fn join<H>(n: u8, ticks: &Arc<AtomicU64>, builder: weir::Builder<H>) -> Outcome<(Driven, Network, H)> {
    let plan = builder.plan()?;
    let id = plan.peer_id();
    let start = Start { anchor: std::time::Instant::now(), wall: UnixTime::from_secs(1_700_000_000) };
    let addresses = vec![Multiaddr::from_memory(n.into())];
    // The seed of a real node is random, and secret.
    let setup = Setup { seed: [n; 32], start, now: Instant::ZERO, addresses, bound: Vec::new() };
    let (core, net, _node, handles) = assemble(plan, Arc::new(Ticks(Arc::clone(ticks))), setup)?;
    Ok((Driven { core, id, arriving: VecDeque::new() }, net, handles))
}

/// Runs the example.
pub fn main() -> Outcome<()> {
    let ticks = Arc::new(AtomicU64::new(0));
    let describe = |n| Network::builder(Keypair::ed25519_from_seed([n; 32]), NetworkId([1; 32]));
    let (server, at, requests) = join(1, &ticks, describe(1).channels(SQUARE.serve()))?;
    let (client, net, square) = join(2, &ticks, describe(2).channels(SQUARE))?;
    let mut lab = Lab { nodes: [server, client], ticks };

    let mut asking = pin!(async {
        let peer = net.connect(&at.addresses()[0]).await?;
        Outcome::Ok(square.call(peer, 12).await?)
    });
    let answer = loop {
        lab.round()?;
        if let Some(request) = requests.try_next() {
            request.answer(request.query() * request.query());
        }
        if let Poll::Ready(answer) = asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            break answer?;
        }
    };
    println!("12 * 12 = {answer}, after {} ticks", lab.ticks.load(Ordering::Relaxed));
    assert_eq!(answer, 144);
    Ok(())
}
