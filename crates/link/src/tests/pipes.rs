//! A transport that the library has not, to prove the seam: plain byte pipes between nodes, each side vouched for by its own word alone.
//!
//! A pipe carries bytes in order, in pieces of any size. Each side first says who it is; then come frames. The network carries the
//! pieces as datagrams of a socket of its own, none of which is lost. A node with pipes has them in place of TCP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use weir_base::codec::{Framer, put_prefixed};
use weir_base::identity::PeerId;
use weir_base::multiaddr::Transport;
use weir_base::stream::{Goodbye, Group, LinkInfo};
use weir_base::{Fault, LinkId};

use crate::carrier::{Carrier, EndpointId, LinkStats, Remote, Report, Scope, Streams};
use crate::dial::Attempt;
use crate::endpoint::{Context, Endpoint, Input};
use crate::event::{DialFailure, SocketId, Transmit};
use crate::frames::{FRAME_MAX, Frame, FrameLink};
use crate::link::LinkOrigin;
use crate::outputs::Outputs;
use crate::{Datagrams, DownReason};

/// The socket whose datagrams are pieces of pipes.
pub(super) const PIPES: SocketId = SocketId(1);

/// Pieces are of all sizes up to this, in bytes.
const PIECE_MAX: usize = 1400;

/// One pipe: frames as bytes.
#[derive(Debug)]
struct Pipe {
    frames: FrameLink,
    remote: Option<Remote>, // known once the other end said who it is
    framer: Framer,
    out: Vec<u8>,
}

impl Carrier for Pipe {
    fn streams(&mut self) -> &mut dyn Streams {
        &mut self.frames
    }

    fn activity(&self) -> u64 {
        self.frames.activity()
    }

    fn poll(&mut self, scope: &mut Scope<'_>) -> Option<Report> {
        let remote = self.remote?;
        self.frames.poll(scope).map(|report| match report {
            Report::Connected(_) => Report::Connected(remote),
            other => other,
        })
    }

    fn close(&mut self, why: Goodbye) {
        self.frames.close(why);
    }

    fn abort(&mut self, why: Goodbye) {
        self.frames.abort(why);
    }

    fn is_over(&self) -> bool {
        self.frames.is_over() && self.out.is_empty()
    }

    fn rtt(&self) -> Duration {
        self.frames.rtt()
    }

    fn stats(&self) -> LinkStats {
        self.frames.stats()
    }
}

impl Pipe {
    /// The next bytes came. The first say who is there.
    fn arrived(&mut self, scope: &mut Scope<'_>, mut piece: Bytes, group: Group) -> Result<(), Fault> {
        const BROKEN: Fault = Fault::misbehaved("sent no frames");
        while let Some(body) = self.framer.next(&mut piece).map_err(|_| BROKEN)? {
            if self.remote.is_none() {
                let peer = PeerId::from_bytes(&body).map_err(|_| BROKEN)?;
                self.remote = Some(Remote { peer, group });
            } else if let Some(frame) = Frame::decode(&body).map_err(|_| BROKEN)? {
                self.frames.handle(scope, frame, body.len());
            }
        }
        Ok(())
    }
}

/// All pipes of a node, by the other end's address and the number that its dialler chose.
pub(super) struct Pipes {
    id: EndpointId,
    local: PeerId,
    links: BTreeMap<Name, LinkId>,
    names: BTreeMap<LinkId, Name>,
    outputs: Outputs,
    dials: u32,
    sent: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    remote: SocketAddr,
    number: u32,
    dialler: bool,
}

impl Pipes {
    pub(super) fn new(id: EndpointId, local: PeerId) -> Self {
        let (links, names) = (BTreeMap::new(), BTreeMap::new());
        Self { id, local, links, names, outputs: Outputs::default(), dials: 0, sent: 0 }
    }

    fn begin(&mut self, context: &mut Context<'_>, name: Name, origin: LinkOrigin) -> LinkId {
        let link = context.table.reserve_id();
        let nobody = Remote { peer: self.local, group: Group::of(name.remote.ip()) };
        let mut out = Vec::new();
        put_prefixed(&mut out, self.local.as_bytes());
        let frames = FrameLink::new(nobody, name.dialler, &context.config.streams);
        let pipe = Pipe { frames, remote: None, framer: Framer::new(FRAME_MAX), out };
        context.begin(link, (self.id, Box::new(pipe)), origin.at(Transport::Tcp, name.remote));
        self.links.insert(name, link);
        self.names.insert(link, name);
        link
    }
}

impl Endpoint for Pipes {
    fn transport(&self) -> Option<Transport> {
        Some(Transport::Tcp)
    }

    fn handle(&mut self, context: &mut Context<'_>, input: Input) -> Option<Input> {
        let Input::Datagrams(Datagrams { socket: PIPES, remote, mut data, .. }) = input else {
            return Some(input);
        };
        let head = data.split_to(4);
        let number = u32::from_be_bytes(head[..].try_into().unwrap());
        let name = Name { remote, number: number >> 1, dialler: number & 1 == 0 };
        let known = self.links.get(&name).copied();
        let link = match known {
            Some(link) => link,
            None if name.dialler => return None, // a piece for a pipe that is gone
            None => self.begin(context, name, LinkOrigin::inbound()),
        };
        let (pipe, mut scope) = context.carrier::<Pipe>(link).unwrap();
        if let Err(fault) = pipe.arrived(&mut scope, data.freeze(), Group::of(remote.ip())) {
            context.fault(link, fault);
        }
        context.table.touch_urgently(link);
        None
    }

    fn dial(&mut self, context: &mut Context<'_>, attempt: Attempt) -> Result<LinkId, DialFailure> {
        self.dials += 1;
        let name = Name { remote: attempt.remote, number: self.dials, dialler: true };
        Ok(self.begin(context, name, LinkOrigin::dialled(attempt.dial)))
    }

    fn join(&mut self, link: LinkId, info: &LinkInfo) {
        self.outputs.join(link, info);
    }

    fn mark(&mut self, link: LinkId) {
        self.outputs.mark(link);
    }

    fn remove(
        &mut self,
        _context: &mut Context<'_>,
        link: LinkId,
        _carrier: Box<dyn Carrier>,
        _why: Goodbye,
    ) {
        self.outputs.remove(link);
        let name = self.names.remove(&link).unwrap();
        self.links.remove(&name);
    }

    fn poll_datagrams(
        &mut self,
        context: &mut Context<'_>,
        _max_segments: usize,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        while let Some(link) = self.outputs.next() {
            let name = self.names.get(&link).copied();
            let Some((name, (pipe, mut scope))) = name.zip(context.carrier::<Pipe>(link)) else {
                self.outputs.idle(link);
                continue;
            };
            while pipe.out.len() < PIECE_MAX
                && pipe.remote.is_some()
                && let Some((frame, _)) = pipe.frames.next_frame(&mut scope)
            {
                frame.encode(&mut pipe.out);
            }
            if pipe.out.is_empty() {
                self.outputs.idle(link);
                context.table.sent_all(context.now, link);
                continue;
            }
            self.sent += 1;
            let len = pipe.out.len().min(1 + self.sent * 577 % PIECE_MAX);
            out.extend_from_slice(&(name.number << 1 | u32::from(name.dialler)).to_be_bytes());
            out.extend(pipe.out.drain(..len));
            if pipe.is_over() {
                context.table.touch(link);
            }
            self.outputs.sent(link, len);
            let (remote, len) = (name.remote, out.len());
            return Some(Transmit { socket: PIPES, remote, local_ip: None, ecn: None, segment: None, len });
        }
        None
    }
}

#[test]
fn whoever_says_no_frames_is_blamed() {
    let mut net = super::harness::Net::pair();
    let (_, other) = net.join(super::harness::Over::Pipes, 0, 1);
    net.piece(1, 0, &[2, 255, 255]);
    assert_eq!(net.nodes[1].blamed.len(), 1);
    net.run(Duration::from_secs(1));
    let fault = net.nodes[1].blamed[0].1;
    assert_eq!(net.nodes[1].down, vec![(other, DownReason::Fault(fault))]);
    assert_eq!(net.nodes[0].down[0].1, DownReason::ByPeer(Goodbye::Fault));
}
