//! Byte streams between nodes, as TCP gives them to a host: on the wires' paths, at their pace, in pieces of any size. What a
//! node has not read waits in its system; what its system has not got rid of lets the other node wait.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use weir_base::Instant;
use weir_stack::{Input, PipeChange, PipeId, Stack};

use super::by_hand::Hands;
use super::drops::Reason;
use super::end::{End, Pipe, Purpose, State};
use super::system::{Arrived, System};
use super::world::{Cargo, Signal, World};
use crate::model::{Draws, Model, turn_bit};

/// Bytes that the systems of both ends and the path between them hold for one direction; then the node that sends has to wait.
const HELD: u64 = 1 << 20;
/// A node that has to wait goes on when so few are left.
const LOW: u64 = HELD / 2;
/// Bytes on their way in one piece.
const PIECE: usize = 16 * 1024;
/// The system tells the other one what was read once it is so much, in bytes.
const TELL: u64 = 64 * 1024;

/// How a node that accepts a byte stream calls it, by the wire's number at its dialler.
pub(super) const fn accepted(wire: u64) -> PipeId {
    PipeId(wire * 2 + 1)
}

/// A piece of which the path turns a bit; `None` where it does not.
fn damaged(model: &Model, draws: &mut Draws, piece: &[u8]) -> Option<Bytes> {
    if !draws.per_million(model.flipped_per_million.into()) {
        return None;
    }
    let mut other = BytesMut::from(piece);
    turn_bit(&mut other, draws.up_to(piece.len() as u64 * 8 - 1));
    Some(other.freeze())
}

impl System {
    /// The node wants a byte stream to an address.
    pub(super) fn dial_pipe(&mut self, world: &World, pipe: PipeId, remote: SocketAddr) {
        let peer = world.addresses.get(&remote).copied();
        self.connect(world, peer, Purpose::Bytes(Pipe::new(pipe)));
    }

    /// The node sends bytes.
    pub(super) fn send_bytes(&mut self, world: &World, pipe: PipeId, mut bytes: Bytes, finish: bool) {
        let Some(wire) = self.wires.pipes.get(&pipe).copied() else { return };
        while !bytes.is_empty() {
            let mut piece = bytes.split_to(bytes.len().min(PIECE));
            let draws = self.wires.ends.get_mut(&wire).map(|end| &mut end.sends.draws);
            if let Some(other) = draws.and_then(|draws| damaged(&world.model, draws, &piece)) {
                self.record.traffic.altered += 1;
                self.dropped(Reason::Corrupted, wire, piece.len());
                piece = other;
            }
            self.send_cargo(world, wire, Cargo::Bytes(piece));
        }
        if finish {
            self.send_cargo(world, wire, Cargo::End);
        }
    }

    /// The node wants no more of a byte stream, connected or not.
    pub(super) fn close_pipe(&mut self, world: &World, pipe: PipeId) {
        let Some(wire) = self.wires.pipes.get(&pipe).copied() else { return };
        if self.wires.ends.get(&wire).is_some_and(|end| end.state == State::Open) {
            self.close_wire(world, wire);
        } else {
            self.remove(wire); // the other end hears of it when it says anything
        }
    }

    /// The node has read bytes.
    pub(super) fn read_bytes(&mut self, pipe: PipeId, len: u64) {
        let Some(wire) = self.wires.pipes.get(&pipe).copied() else { return };
        let Some(Purpose::Bytes(own)) = self.wires.ends.get_mut(&wire).map(|end| &mut end.carries) else {
            return;
        };
        own.read += len;
        if own.read - own.told >= TELL {
            self.tell_read(wire);
        }
    }

    pub(super) fn tell_read(&mut self, wire: u64) {
        let Some(End { carries: Purpose::Bytes(own), peer, one_way, .. }) =
            self.wires.ends.get_mut(&wire).map(Box::as_mut)
        else {
            return;
        };
        own.told = own.read;
        let (total, to) = (own.read, *peer);
        let due = self.now + Duration::from_nanos(*one_way);
        self.signal_at(wire, to, due, Signal::Read(total));
    }

    /// The other node has read so many bytes in all.
    pub(super) fn was_taken(&mut self, wire: u64, total: u64) {
        let Some(Purpose::Bytes(own)) = self.wires.ends.get_mut(&wire).map(|end| &mut end.carries) else {
            return;
        };
        let more = total.saturating_sub(own.taken);
        own.taken += more;
        let told = Arrived::Taken(own.id, more);
        if more > 0 {
            self.arrive(wire, told);
        }
    }
}

/// The byte streams of a process, as its host keeps them.
#[derive(Default)]
pub(super) struct Flows {
    list: BTreeMap<PipeId, Flow>,
    pub(super) hands: Hands, // those that the stack does not hold
}

/// One of them.
#[derive(Debug, Default)]
struct Flow {
    unread: VecDeque<Unread>,
    outstanding: u64, // given to the system and not read at the other end
    blocked: bool,
}

#[derive(Debug)]
enum Unread {
    Bytes(Bytes),
    Change(PipeChange),
}

impl Flows {
    pub(super) fn arrived(&mut self, pipe: PipeId, bytes: Bytes) {
        if let Some(flow) = self.list.get_mut(&pipe) {
            flow.unread.push_back(Unread::Bytes(bytes));
        }
    }

    pub(super) fn changed(&mut self, pipe: PipeId, change: PipeChange) {
        let flow = match change {
            PipeChange::Accepted { .. } | PipeChange::Connected | PipeChange::Failed => {
                Some(self.list.entry(pipe).or_default())
            }
            _ => self.list.get_mut(&pipe),
        };
        if let Some(flow) = flow {
            flow.unread.push_back(Unread::Change(change));
        }
    }

    /// The node reads what it has room for.
    pub(super) fn give(&mut self, system: &mut System, stack: &mut Stack, now: Instant, pipe: PipeId) {
        while let Some(flow) = self.list.get_mut(&pipe)
            && let Some(next) = flow.unread.pop_front()
        {
            let mut bytes = match next {
                Unread::Bytes(bytes) => bytes,
                Unread::Change(change) => {
                    if matches!(change, PipeChange::Failed | PipeChange::Closed) {
                        self.list.remove(&pipe);
                    }
                    stack.handle(now, Input::Pipe(pipe, change));
                    continue;
                }
            };
            let mut len = 0;
            stack.read_pipe(now, pipe, &mut vec![0; bytes.len()], &mut |memory| {
                len = bytes.len().min(memory.len());
                memory.iter_mut().zip(bytes.split_to(len)).for_each(|(to, from)| *to = from);
                len
            });
            if !bytes.is_empty() {
                flow.unread.push_front(Unread::Bytes(bytes));
            }
            if len == 0 {
                return;
            }
            system.read_bytes(pipe, len as u64);
        }
    }

    /// The node gave bytes: it has to wait where the system has too many.
    pub(super) fn given(&mut self, stack: &mut Stack, now: Instant, pipe: PipeId, len: usize) {
        let Some(flow) = self.list.get_mut(&pipe) else { return };
        flow.outstanding += len as u64;
        if flow.outstanding >= HELD && !std::mem::replace(&mut flow.blocked, true) {
            stack.handle(now, Input::Pipe(pipe, PipeChange::Blocked));
        }
    }

    /// The other node has read bytes.
    pub(super) fn taken(&mut self, stack: &mut Stack, now: Instant, pipe: PipeId, len: u64) {
        let Some(flow) = self.list.get_mut(&pipe) else { return };
        flow.outstanding = flow.outstanding.saturating_sub(len);
        if flow.blocked && flow.outstanding <= LOW {
            flow.blocked = false;
            stack.handle(now, Input::Pipe(pipe, PipeChange::Writable));
        }
    }

    pub(super) fn forget(&mut self, pipe: PipeId) {
        self.list.remove(&pipe);
    }
}
