//! The checker's part beside one sender: for each wire what it sent, and what the other end granted for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_base::Instant;
use weir_pull::ChannelId;
use weir_stack::Frame;

use super::cut::Cutter;
use super::pool::{ItemLane, OfferLane, Offered, PoolWatch};
use super::rules::{Declared, Rules};
use super::{Change, Credit, INITIAL, Offers, Served, Sums, signed};
use crate::id::NodeId;

/// Watches what one node sends.
#[derive(Debug)]
pub(crate) struct Watch {
    node: NodeId,
    declared: Arc<Declared>,
    wires: BTreeMap<u64, Box<Wire>>,
    offered: Option<Offers>,
}

/// One wire: data that this node sends, and credit for it that comes.
#[derive(Debug)]
struct Wire {
    peer: NodeId,
    link: Credit,
    // A map has room for 11, and a wire has a few streams, one pool: so what is large is boxed.
    outgoing: BTreeMap<u64, Box<Outgoing>>,
    incoming: BTreeMap<u64, Box<Cutter>>,       // of a pool's clients
    pools: BTreeMap<ChannelId, Box<PoolWatch>>, // of the peer as client
    rules: Rules,
}

/// What this node sends on a stream.
#[derive(Debug)]
struct Outgoing {
    credit: Credit, // its sums are left out of the node's held and granted: the link's cover them
    what: Sends,
    cutter: Cutter,
}

/// What one direction of a stream carries, as far as the checker reads it.
#[derive(Debug)]
enum Sends {
    Other,
    /// Of a pool's client: counted, and read where it arrives.
    Asks,
    Offers(ChannelId, OfferLane),
    Items(ChannelId, ItemLane),
}

impl Watch {
    /// Watches what is declared.
    pub(crate) const fn new(node: NodeId, declared: Arc<Declared>) -> Self {
        Self { node, declared, wires: BTreeMap::new(), offered: None }
    }

    /// Counts from now on how often each index of this node's log is offered to each peer.
    pub(crate) fn count_offers(&mut self) {
        self.offered.get_or_insert_default();
    }

    /// What was offered since it was last asked, where that is counted.
    pub(crate) fn take_offers(&mut self) -> Offers {
        self.offered.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How far the peer of each open wire was served.
    pub(crate) fn served(&self) -> impl Iterator<Item = Served> + '_ {
        self.wires.values().map(|wire| {
            let served = wire.pools.values().map(|pool| pool.served());
            let (covered, dry) = served.fold((0, false), |sum, one| (sum.0 + one.0, sum.1 | one.1));
            Served { from: self.node, to: wire.peer, covered, dry }
        })
    }

    /// A wire to `peer` is open.
    pub(crate) fn opened(&mut self, wire: u64, peer: NodeId) -> Change {
        let mut change = Change::default();
        let link = Credit::new(INITIAL);
        link.enter(&mut change.windows);
        let (outgoing, incoming, pools) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let rules = Rules::default();
        self.wires.insert(wire, Box::new(Wire { peer, link, outgoing, incoming, pools, rules }));
        change
    }

    /// A frame leaves this node: what it carries is held by the peer from now on.
    pub(crate) fn sent(&mut self, now: Instant, wire: u64, frame: &Frame) -> Change {
        let mut change = Change::default();
        let Self { node, declared, wires, offered } = self;
        let Some(wire) = wires.get_mut(&wire) else { return change };
        let (stream, bytes) = match frame {
            Frame::Open { stream, protocol } => {
                change.rules = wire.rules.open(declared, *stream, *protocol);
                change.checks += 1;
                let what = if declared.pool(*protocol).is_some() { Sends::Asks } else { Sends::Other };
                wire.outgoing.insert(*stream, Box::new(Outgoing::new(what)));
                return change;
            }
            Frame::Stop { stream, .. } => {
                wire.rules.answered(*stream);
                return change;
            }
            Frame::End { stream } | Frame::Reset { stream, .. } => {
                wire.rules.ended(*stream);
                if let Some(stream) = wire.outgoing.remove(stream) {
                    stream.leave(&mut change);
                }
                return change;
            }
            Frame::Data { stream, bytes } => (stream, bytes),
            _ => return change,
        };
        let len = bytes.len() as u64;
        match wire.rules.send(now, *stream, bytes) {
            Ok(over) => change.rules = over,
            Err(_) => change.unread += 1,
        }
        wire.link.come(len, 1, &mut change.windows);
        change.checks += 2;
        let Some(stream) = wire.outgoing.get_mut(stream) else { return change };
        let mut own = Sums::default();
        stream.credit.come(len, 1, &mut own);
        change.streams_over += own.over;
        if !matches!(stream.what, Sends::Other) {
            change.traffic.stream_bytes += len;
        }
        let Change { permits, traffic, checks, .. } = &mut change;
        let read = match &mut stream.what {
            Sends::Offers(channel, lane) => {
                let pool = wire.pools.entry(*channel).or_default();
                let (from, to) = (*node, wire.peer);
                let mut seen = |index| {
                    if let Some(offered) = offered {
                        *offered.entries.entry((from, to, index)).or_default() += 1;
                    }
                };
                *checks += 1;
                stream.cutter.messages(bytes, |kind, body, len| {
                    lane.offer(pool, Offered { kind, body, len }, permits, traffic, &mut seen)
                })
            }
            Sends::Items(_, lane) => {
                *checks += 1;
                stream.cutter.items(bytes, |part| lane.item(part, permits, traffic))
            }
            Sends::Other | Sends::Asks => Ok(()),
        };
        change.unread += u64::from(read.is_err());
        change
    }

    /// A frame of the peer reaches this node: what it grants is granted from now on.
    pub(crate) fn received(&mut self, wire: u64, frame: &Frame) -> Change {
        let mut change = Change::default();
        let Self { node, declared, wires, offered } = self;
        let Some(wire) = wires.get_mut(&wire) else { return change };
        match frame {
            Frame::Open { stream, protocol } => {
                wire.rules.opened(declared, *stream, *protocol);
                let lane = declared.pool(*protocol);
                let what = match lane {
                    Some((channel, 0)) => Sends::Offers(channel, OfferLane::default()),
                    Some((channel, _)) => Sends::Items(channel, ItemLane::default()),
                    None => Sends::Other,
                };
                wire.outgoing.insert(*stream, Box::new(Outgoing::new(what)));
                if lane.is_some() {
                    wire.incoming.insert(*stream, Box::default());
                }
            }
            Frame::StreamsCredit { total } => wire.rules.may_open(*total),
            Frame::LinkCredit { total } => wire.link.grant(*total, &mut change.windows),
            Frame::StreamCredit { stream, total } => {
                if let Some(stream) = wire.outgoing.get_mut(stream) {
                    stream.credit.granted = stream.credit.granted.max(*total);
                }
            }
            Frame::Data { stream, bytes } => {
                change.unread += u64::from(wire.rules.receive(*stream, bytes).is_err());
                let Some(cutter) = wire.incoming.get_mut(stream) else { return change };
                let Some(answers) = wire.outgoing.get_mut(stream) else { return change };
                let sums = &mut change.permits;
                let read = match &mut answers.what {
                    Sends::Offers(channel, lane) => {
                        let pool = wire.pools.entry(*channel).or_default();
                        let before = lane.last_move();
                        let read =
                            cutter.messages(bytes, |kind, body, _| lane.want(pool, (kind, body), sums));
                        if let Some(offered) = offered
                            && lane.last_move() > before
                        {
                            *offered.moves.entry((*node, wire.peer)).or_default() +=
                                lane.last_move() - before;
                        }
                        read
                    }
                    Sends::Items(channel, lane) => {
                        let pool = wire.pools.entry(*channel).or_default();
                        cutter.messages(bytes, |kind, body, _| lane.get(pool, (kind, body), sums))
                    }
                    Sends::Other | Sends::Asks => Ok(()),
                };
                change.unread += u64::from(read.is_err());
            }
            Frame::End { stream } | Frame::Reset { stream, .. } => {
                wire.rules.answered(*stream);
                wire.incoming.remove(stream);
            }
            _ => {}
        }
        change
    }

    /// A wire is gone, and what was granted on it.
    pub(crate) fn closed(&mut self, wire: u64) -> Option<(NodeId, Change)> {
        let wire = self.wires.remove(&wire)?;
        let mut change = Change::default();
        wire.link.leave(&mut change.windows);
        wire.outgoing.values().for_each(|stream| stream.leave(&mut change));
        Some((wire.peer, change))
    }
}

impl Outgoing {
    fn new(what: Sends) -> Self {
        Self { credit: Credit::new(INITIAL), what, cutter: Cutter::default() }
    }

    /// The stream has ended: takes its bytes, held and granted, out of the ledgers.
    fn leave(&self, change: &mut Change) {
        change.streams_over -= signed(self.credit.over);
        match &self.what {
            Sends::Offers(_, lane) => lane.leave(&mut change.permits),
            Sends::Items(_, lane) => lane.leave(&mut change.permits),
            Sends::Other | Sends::Asks => {}
        }
    }
}
