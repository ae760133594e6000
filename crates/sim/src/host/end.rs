//! One node's end of a wire: what its system keeps of both directions.

use std::collections::VecDeque;

use weir_base::Instant;
use weir_base::time::nanos;
use weir_stack::{DialId, PipeId};

use super::world::{Cargo, Carries, Echo, World};
use crate::id::NodeId;
use crate::model::{Draws, Losses, Pace, jitter};

/// The least time after which something unacknowledged is sent again, in nanoseconds (Linux).
pub(super) const RESEND: u64 = 200_000_000;

/// The longest pause between two such attempts, in nanoseconds.
pub(super) const RESEND_MOST: u64 = 60_000_000_000;

/// This bit of a wire's number marks the listener's end: a node may dial itself.
pub(super) const LISTENER: u64 = 1 << 63;

/// One node's end of a wire.
#[derive(Debug)]
pub(super) struct End {
    pub(super) peer: NodeId,
    pub(super) state: State,
    pub(super) carries: Purpose,
    pub(super) one_way: u64,
    pub(super) sends: Sends,
    pub(super) receives: Receives,
}

/// What an end is for, to its node.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Frames; the dial is its dialler's.
    Frames(Option<DialId>),
    /// Bytes.
    Bytes(Pipe),
}

impl Purpose {
    pub(super) const fn carries(&self) -> Carries {
        match self {
            Self::Frames(_) => Carries::Frames,
            Self::Bytes(_) => Carries::Bytes,
        }
    }
}

/// The direction from this end.
#[derive(Debug)]
pub(super) struct Sends {
    pub(super) pace: Pace,
    pub(super) draws: Draws,
    pub(super) losses: Losses,
    pub(super) waiting: VecDeque<Cargo>, // for the window, or for a path that is silent
    pub(super) releasing: bool,          // a `Due::Release` stands for the first of `waiting`
    pub(super) stuck: Option<Instant>,   // since when the path swallows what is sent
    pub(super) beyond: u64,              // bytes sent while no acknowledgement can come
    pub(super) last_due: Instant,        // what is sent next arrives no sooner
    pub(super) packet: (Instant, u64),   // the last packet: when it left, and bytes it has room for
    pub(super) unacknowledged: u64,      // packets sent since the last that is acknowledged
    pub(super) queue: u32,               // microseconds before the peer's line, as it told
}

/// The direction to this end.
#[derive(Debug, Default)]
pub(super) struct Receives {
    pub(super) echo: Echo,          // to tell the peer
    pub(super) resume: Instant,     // what arrives before waits for something that was dropped
    pub(super) unacknowledged: u64, // packets received since the last acknowledgement
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The dialler asked.
    Asked,
    /// The listener accepted.
    Accepted,
    Open,
    /// This node has closed it; what waits is still sent.
    Closing,
    /// Everything was sent; what still comes is swallowed.
    Closed,
}

/// One system's end of a byte stream.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) id: PipeId,
    pub(super) read: u64,  // by this node
    pub(super) told: u64,  // of that, to the other system
    pub(super) taken: u64, // by the other node, as its system told
}

impl Pipe {
    pub(super) const fn new(id: PipeId) -> Self {
        Self { id, read: 0, told: 0, taken: 0 }
    }
}

impl Sends {
    /// How many acknowledgements come back for so many packets more.
    pub(super) const fn acknowledgements(&mut self, packets: u64) -> u64 {
        every_second(&mut self.unacknowledged, packets)
    }
}

/// A system acknowledges every second packet: how many acknowledgements that is for so many more, where `waiting` are not acknowledged.
pub(super) const fn every_second(waiting: &mut u64, packets: u64) -> u64 {
    let all = *waiting + packets;
    *waiting = all % 2;
    all / 2
}

impl End {
    pub(super) fn new(
        world: &World,
        (node, peer): (NodeId, NodeId),
        wire: u64,
        state: State,
        carries: Purpose,
    ) -> Self {
        Self {
            peer,
            state,
            carries,
            one_way: nanos(world.round_trip(node, peer)) / 2,
            sends: Sends {
                pace: Pace::new(&world.model),
                draws: world.draws(node, peer, 1 + wire),
                losses: Losses::default(),
                waiting: VecDeque::new(),
                releasing: false,
                stuck: None,
                beyond: 0,
                last_due: Instant::ZERO,
                packet: (Instant::ZERO, 0),
                unacknowledged: 0,
                queue: 0,
            },
            receives: Receives::default(),
        }
    }

    /// A round trip as its sender would measure it, queues included.
    pub(super) const fn rtt(&self) -> u64 {
        2 * self.one_way + self.sends.queue as u64 * 1_000
    }

    /// Packets that a frame of `len` bytes adds at `now`: frames that leave together share packets.
    pub(super) fn packets(&mut self, packet: u64, now: Instant, len: u64) -> u64 {
        if self.sends.packet.0 != now {
            self.sends.packet = (now, 0);
        }
        let more = len.saturating_sub(self.sends.packet.1);
        let packets = more.div_ceil(packet);
        self.sends.packet.1 = self.sends.packet.1 + packets * packet - len;
        packets
    }

    /// How much later something arrives that crosses the network now: jitter, and a resending for each loss in a row. And how many
    /// these were.
    pub(super) fn delay(&mut self, world: &World, now: Instant, packets: u64) -> (u64, u32) {
        let (model, rtt) = (&world.model, self.rtt());
        let mut late = jitter(model, &mut self.sends.draws, self.one_way);
        let (mut packets, mut pause, mut resent, mut lost) = (packets, rtt, 0, 0);
        while pause <= RESEND_MOST
            && self.sends.losses.lost(model, &mut self.sends.draws, now.as_nanos() + resent, packets)
        {
            if resent == 0 {
                self.sends.pace.lost(model, now, rtt);
            } else {
                self.sends.pace.lost_all(model);
            }
            resent += pause;
            lost += 1;
            (packets, pause) = (1, (2 * pause).max(RESEND));
        }
        late += resent;
        (late, lost)
    }
}
